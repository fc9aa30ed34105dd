//! Commands to GitHub's runner, and plain text for its pages.

use std::fmt;

use crate::model::text::{harmless, is_obeyed};

/// A line that the runner takes as a command. Only this module creates one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(String);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The command that shows a warning on the page of the run.
pub fn warning(text: &str) -> Command {
    Command(format!("::warning::{}", one_line(text)))
}

/// The command that shows an error next to a line of a file.
pub fn error_at(file: &str, line: usize, text: &str) -> Command {
    let file = one_line(file).replace(':', "%3A").replace(',', "%2C");
    Command(format!("::error file={file},line={line}::{}", one_line(text)))
}

fn one_line(text: &str) -> String {
    harmless(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text for a cell of a Markdown table, with all markup escaped.
pub fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars().filter(|c| !is_obeyed(*c) || c.is_control()) {
        if c.is_ascii_punctuation() && !"./-,:".contains(c) {
            cell.push('\\');
        }
        cell.push(if c.is_control() { ' ' } else { c });
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_new_lines_stay_text() {
        assert_eq!(cell("a|b <img> `x`\n"), "a\\|b \\<img\\> \\`x\\` ");
        assert_eq!(warning("50%\nmore").to_string(), "::warning::50%25%0Amore");
        assert_eq!(error_at("a,b:c", 3, "x\n::y").to_string(), "::error file=a%2Cb%3Ac,line=3::x%0A\\::y");
    }
}
