//! What a step leaves for the steps after it and for whoever opens the run: the
//! files that GitHub names in the environment.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;

use crate::ctx::Ctx;
use crate::fault;
use crate::model::text::{harmless, is_obeyed};

/// Appends to the file that GITHUB_OUTPUT names.
pub fn output(ctx: &Ctx, pairs: &[(String, String)]) -> anyhow::Result<()> {
    let file = ctx.env.get("GITHUB_OUTPUT").ok_or_else(|| {
        fault::usage("`--format github` writes to the file that GITHUB_OUTPUT names, and it is not set")
            .help("outside of a GitHub job: `--format text` or `--format json`")
    })?;
    let text: String = pairs.iter().map(|(name, value)| entry(name, value)).collect();
    append(file, &text)
}

/// Appends Markdown to the run's page, where there is one.
pub fn summary(ctx: &Ctx, markdown: &str) -> anyhow::Result<()> {
    ctx.env.get("GITHUB_STEP_SUMMARY").map_or(Ok(()), |file| append(file, markdown))
}

fn append(file: &str, text: &str) -> anyhow::Result<()> {
    let mut to =
        // Not a pipe that nobody reads.
        OpenOptions::new().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(file).with_context(|| format!("could not open {file}"))?;
    to.write_all(text.as_bytes()).with_context(|| format!("could not write to {file}"))
}

/// One output, between delimiters that the value does not hold: no value can
/// end itself and begin another output.
fn entry(name: &str, value: &str) -> String {
    let mut end = "END".to_owned();
    while value.contains(&end) {
        end.push('_');
    }
    format!("{name}<<{end}\n{value}\n{end}\n")
}

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
    fn a_value_can_not_end_itself() {
        assert_eq!(entry("any", "true"), "any<<END\ntrue\nEND\n");
        assert_eq!(entry("x", "a\nEND\ny=1\nEND_"), "x<<END__\na\nEND\ny=1\nEND_\nEND__\n");
    }

    #[test]
    fn markup_and_new_lines_stay_text() {
        assert_eq!(cell("a|b <img> `x`\n"), "a\\|b \\<img\\> \\`x\\` ");
        assert_eq!(warning("50%\nmore").to_string(), "::warning::50%25%0Amore");
        assert_eq!(error_at("a,b:c", 3, "x\n::y").to_string(), "::error file=a%2Cb%3Ac,line=3::x%0A\\::y");
    }
}
