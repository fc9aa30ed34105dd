//! `[needs.NAME]`: a server that runs next to services.

use toml::Spanned;

use super::Checker;
use crate::model::config::raw::{RawNeed, Text, Texts};
use crate::model::config::{Need, values};
use crate::model::reference::Image;

impl Checker<'_> {
    pub(super) fn need(&self, name: Text, raw: RawNeed) -> Option<(String, Need)> {
        let RawNeed { image, port, env, command, ready, provides } = raw;
        let key = |field: &str| format!("needs.{}.{field}", name.get_ref());
        let image = self.read::<Image>(&key("image"), &image);
        let port = self.port(&key("port"), &port);
        let env = self.pairs(&key("env"), env);
        let provides = self.pairs(&key("provides"), provides);
        let command = match command {
            Some(words) => self.command(&key("command"), words, true),
            None => Some(Vec::new()),
        };
        let ready = self.command(&key("ready"), ready, false);
        let key = format!("needs.{}", name.get_ref());
        let name = self.text(&key, name, |name| values::no_verb(name).and_then(|()| values::host(name)));
        Some((
            name?,
            Need { image: image?, port: port?, env: env?, command: command?, ready: ready?, provides: provides? },
        ))
    }

    /// A command. For an image with an entry point it may be options alone.
    fn command(&self, key: &str, words: Texts, has_entry: bool) -> Option<Vec<String>> {
        let first = self.filled(key, &words, "[\"redis-cli\", \"ping\"]")?.first()?;
        if first.get_ref().trim().is_empty() || (first.get_ref().starts_with('-') && !has_entry) {
            self.refuse(first.span().start, key, "expected a command, such as [\"redis-cli\", \"ping\"]");
            return None;
        }
        Some(words.into_inner().into_iter().map(Spanned::into_inner).collect())
    }
}
