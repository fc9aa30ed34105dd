//! Commands that take back what was done.
//!
//! Ctrl-C must not stop them: half of it undone is worse than none. So they
//! never ask for the interrupt, and are in a group of their own, which the
//! terminal's signal does not reach. Since nobody can end them, they end by
//! themselves.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use crate::ctx::Ctx;
use crate::plan::step::Step;

/// No undoing takes longer, but that of whole trees.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a step; what it printed, or why it failed.
pub fn run(ctx: &Ctx, step: &Step) -> Result<String, String> {
    if ctx.verbose {
        ctx.show(step);
    }
    let args = step.args.iter().map(OsString::from);
    ended(std::iter::once(OsString::from(&step.tool)).chain(args).collect(), &step.env, PATIENCE)
}

/// The same where an argument need not be text.
pub fn of(program: &str, args: &[&OsStr], patience: Duration) -> Result<String, String> {
    let words = std::iter::once(OsStr::new(program)).chain(args.iter().copied());
    ended(words.map(OsStr::to_owned).collect(), &[], patience)
}

fn ended(words: Vec<OsString>, env: &[(String, String)], patience: Duration) -> Result<String, String> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let mut expression = duct::cmd(program, words).stdin_null().before_spawn(|command| {
        command.process_group(0);
        Ok(())
    });
    for (name, value) in env {
        expression = expression.env(name, value);
    }
    let handle = expression.stdout_capture().stderr_capture().unchecked().start().map_err(|error| error.to_string())?;
    match handle.wait_timeout(patience).map_err(|error| error.to_string())? {
        Some(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Some(output) => Err(format!("{} ({})", String::from_utf8_lossy(&output.stderr).trim(), output.status)),
        None => {
            let _ = handle.kill();
            Err(format!("it did not end within {patience:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_undoes_is_out_of_the_terminals_reach_and_says_why_it_failed() {
        let group = "read -r _ _ _ _ group _ < /proc/$$/stat; [ \"$group\" = \"$$\" ] && echo alone";
        assert_eq!(of("sh", &["-c".as_ref(), group.as_ref()], PATIENCE).as_deref(), Ok("alone\n"));
        assert!(of("sh", &["-c".as_ref(), "echo why >&2; exit 3".as_ref()], PATIENCE).unwrap_err().contains("why"));
        assert!(of("sleep", &["9".as_ref()], Duration::from_millis(20)).unwrap_err().contains("did not end"));
        assert!(of("no-such-program", &[], PATIENCE).is_err());
    }
}
