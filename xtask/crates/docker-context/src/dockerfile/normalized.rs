//! Instructions as an image depends on them: by their words, however they are
//! cut into lines, and kept as written where that ends in the image.

use super::heredoc::Heredoc;
use super::lines::Statement;
use super::words::{at_blanks, words};

/// The words of an instruction, as far as an image depends on them.
#[derive(Clone, Debug)]
pub struct Normalized {
    keyword: String,
    flags: Vec<String>,
    is_list: bool,
    words: Vec<String>,
    heredocs: Vec<Heredoc>,
}

impl Normalized {
    /// Of a statement.
    pub fn of(read: &Statement, escape: char) -> Self {
        let keyword = read.keyword.to_lowercase();
        let raw = || (false, vec![read.rest.clone()]);
        let at_blanks = || (false, at_blanks(&read.rest).into_iter().map(str::to_owned).collect());
        // Text behind a list is passed over by BuildKit, not by everybody.
        let list = || serde_json::from_str::<Vec<String>>(&read.rest).ok();
        let listed = |list: Vec<String>| (true, list);
        let (is_list, words) = match keyword.as_str() {
            "copy" | "add" | "volume" => list().map_or_else(at_blanks, listed),
            "expose" | "from" => at_blanks(),
            "run" | "cmd" | "entrypoint" | "shell" => list().map_or_else(raw, listed),
            "arg" | "env" | "label" => {
                let words = words(&read.rest, escape);
                // The old form: one name, and all the rest.
                let is_old = keyword != "arg" && words.first().is_some_and(|first| !first.contains('='));
                if is_old { raw() } else { (false, words) }
            }
            _ => raw(),
        };
        Self { keyword, flags: read.flags.clone(), is_list, words, heredocs: read.heredocs.clone() }
    }

    /// All of it as one text, with the stages and images that it takes from.
    pub fn text(&self, origins: &[String]) -> String {
        // A stage is the same one under another name or number.
        let is_from = |flag: &&String| self.keyword == "copy" && flag.starts_with("--from=");
        let flags: Vec<&String> = self.flags.iter().filter(|flag| !is_from(flag)).collect();
        let heredocs: Vec<_> = self.heredocs.iter().map(|it| (&it.name, it.chomp, &it.content)).collect();
        let Self { keyword, is_list, words, .. } = self;
        format!("{keyword} {flags:?} {origins:?} {is_list} {words:?} {heredocs:?}")
    }
}

/// An ARG before the first FROM: one of its words.
#[derive(Clone, Debug)]
pub struct MetaArg {
    /// Its line, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value, as written.
    pub default: Option<String>,
}
