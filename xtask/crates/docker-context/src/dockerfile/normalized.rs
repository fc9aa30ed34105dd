//! Instructions without the differences that no image depends on: how they are
//! cut into lines, for example. Text that ends in the image is kept as written.

use super::heredoc::Heredoc;
use super::lines::Statement;
use super::words::{at_blanks, words};

/// The words of an instruction that an image depends on.
#[derive(Clone, Debug)]
pub struct Normalized {
    keyword: String,
    flags: Vec<String>,
    is_list: bool,
    words: Vec<String>,
    heredocs: Vec<Heredoc>,
}

impl Normalized {
    /// Reads a statement.
    pub fn of(read: &Statement, escape: char) -> Self {
        let keyword = read.keyword.to_lowercase();
        let raw = || (false, vec![read.rest.clone()]);
        let at_blanks = || (false, at_blanks(&read.rest).into_iter().map(str::to_owned).collect());
        // BuildKit ignores text after a list, but other frontends may not.
        let list = || serde_json::from_str::<Vec<String>>(&read.rest).ok();
        let listed = |list: Vec<String>| (true, list);
        let (is_list, words) = match keyword.as_str() {
            "copy" | "add" | "volume" => list().map_or_else(at_blanks, listed),
            "expose" | "from" => at_blanks(),
            "run" | "cmd" | "entrypoint" | "shell" => list().map_or_else(raw, listed),
            "arg" | "env" | "label" => {
                let words = words(&read.rest, escape);
                // The old form: one name, and the rest of the line is its value.
                let is_old = keyword != "arg" && words.first().is_some_and(|first| !first.contains('='));
                if is_old { raw() } else { (false, words) }
            }
            _ => raw(),
        };
        Self { keyword, flags: read.flags.clone(), is_list, words, heredocs: read.heredocs.clone() }
    }

    /// The whole instruction as one text, with the stages and images it takes
    /// files from.
    pub fn text(&self, origins: &[String]) -> String {
        // A stage stays the same if its name or number changes.
        let is_from = |flag: &&String| self.keyword == "copy" && flag.starts_with("--from=");
        let flags: Vec<&String> = self.flags.iter().filter(|flag| !is_from(flag)).collect();
        let heredocs: Vec<_> = self.heredocs.iter().map(|it| (&it.name, it.chomp, &it.content)).collect();
        let Self { keyword, is_list, words, .. } = self;
        format!("{keyword} {flags:?} {origins:?} {is_list} {words:?} {heredocs:?}")
    }
}

/// One word of an ARG before the first FROM.
#[derive(Clone, Debug)]
pub struct MetaArg {
    /// Its line, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value, as written.
    pub default: Option<String>,
}
