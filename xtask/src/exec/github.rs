//! Writes outputs for later steps and a summary for people, into the files that
//! GitHub names in the environment.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;

use crate::ctx::Ctx;
use crate::fault;

/// Appends to the file in GITHUB_OUTPUT.
pub fn output(ctx: &Ctx, pairs: &[(String, String)]) -> anyhow::Result<()> {
    let file = ctx.env.get("GITHUB_OUTPUT").ok_or_else(|| {
        fault::usage("`--format github` writes to the file that GITHUB_OUTPUT names, and it is not set")
            .help("outside of a GitHub job: `--format text` or `--format json`")
    })?;
    let text: String = pairs.iter().map(|(name, value)| entry(name, value)).collect();
    append(file, &text)
}

/// Appends Markdown to the page of the run, if there is one.
pub fn summary(ctx: &Ctx, markdown: &str) -> anyhow::Result<()> {
    ctx.env.get("GITHUB_STEP_SUMMARY").map_or(Ok(()), |file| append(file, markdown))
}

fn append(file: &str, text: &str) -> anyhow::Result<()> {
    let mut to =
        // Not a named pipe, which would block us.
        OpenOptions::new().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(file).with_context(|| format!("could not open {file}"))?;
    to.write_all(text.as_bytes()).with_context(|| format!("could not write to {file}"))
}

/// One output, between delimiters that its value does not contain, so that no
/// value can end itself and start another output.
fn entry(name: &str, value: &str) -> String {
    let mut end = "END".to_owned();
    while value.contains(&end) {
        end.push('_');
    }
    format!("{name}<<{end}\n{value}\n{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_not_end_itself() {
        assert_eq!(entry("any", "true"), "any<<END\ntrue\nEND\n");
        assert_eq!(entry("x", "a\nEND\ny=1\nEND_"), "x<<END__\na\nEND\ny=1\nEND_\nEND__\n");
    }
}
