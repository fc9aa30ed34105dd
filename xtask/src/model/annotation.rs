//! Lines that GitHub's runner obeys, and text on its pages that is nothing but
//! text.

use std::fmt;

use crate::model::text::{harmless, is_obeyed};

/// A line that a runner obeys. Only this module makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(String);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The line that makes a runner show a warning on the run's page.
pub fn warning(text: &str) -> Command {
    Command(format!("::warning::{}", one_line(text)))
}

/// The line that makes a runner show an error beside a line of a file.
pub fn error_at(file: &str, line: usize, text: &str) -> Command {
    let file = one_line(file).replace(':', "%3A").replace(',', "%2C");
    Command(format!("::error file={file},line={line}::{}", one_line(text)))
}

fn one_line(text: &str) -> String {
    harmless(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text in a cell of a Markdown table, where nothing of it is markup.
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
