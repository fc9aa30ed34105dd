//! The one error that people read: what is wrong, and what to type next.
//!
//! Everything else travels as `anyhow::Error`; a `Fault` anywhere in the chain
//! decides the exit code and adds the help line.

use std::fmt;

use serde::Serialize;

use crate::model::diagnostic::Diagnostic;

/// What the process ends with when this error reaches `main`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Code {
    /// Something that was tried did not work.
    #[default]
    Failed = 1,
    /// The command line or the configuration is wrong: nothing was tried.
    Usage = 2,
    /// Ctrl-C, SIGTERM or SIGHUP, after everything was cleaned up.
    Interrupted = 130,
}

/// What is wrong, with an exit code.
#[derive(Debug, Default)]
pub struct Fault {
    /// The exit code.
    pub code: Code,
    /// In a box, so that what may fail stays small.
    what: Box<Diagnostic>,
    said: String,
    quiet: bool,
}

/// A wrong command line or configuration.
pub fn usage(what: impl Into<Diagnostic>) -> Fault {
    Fault { code: Code::Usage, what: Box::new(what.into()), ..Fault::default() }
}

/// Something that did not work.
pub fn failed(what: impl Into<Diagnostic>) -> Fault {
    Fault { code: Code::Failed, what: Box::new(what.into()), ..Fault::default() }
}

/// The person, or the runner, asked us to stop.
pub fn interrupted() -> Fault {
    Fault { code: Code::Interrupted, what: Box::new("interrupted".into()), ..Fault::default() }
}

/// Whoever read the result went away before all of it was written: there is
/// nobody to tell it to.
pub fn unheard() -> Fault {
    Fault { code: Code::Failed, what: Box::new("nobody reads the result".into()), quiet: true, ..Fault::default() }
}

/// The error is on stderr already, in words that are not ours.
pub fn told(code: Code, what: impl Into<Diagnostic>) -> Fault {
    Fault { code, what: Box::new(what.into()), quiet: true, ..Fault::default() }
}

impl Fault {
    /// Adds what to type next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.what.help = Some(help.into());
        self
    }

    /// Keeps what a failed command printed, so that a caller who knows the tool
    /// can tell why it failed. Not part of the message.
    #[must_use]
    pub fn said(mut self, words: &str) -> Self {
        self.said = words.into();
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl std::error::Error for Fault {}

/// The exit code of an error: that of the first `Fault` in its chain; a
/// [`Diagnostic`] alone is of what a person wrote.
pub fn code(error: &anyhow::Error) -> Code {
    let of = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<Fault>() {
        Some(fault) => Some(fault.code),
        None => cause.is::<Diagnostic>().then_some(Code::Usage),
    };
    error.chain().find_map(of).unwrap_or_default()
}

/// What the command that failed had printed, if one did.
pub fn said(error: &anyhow::Error) -> &str {
    first(error).map_or("", |fault| &fault.said)
}

/// Whether an error is not worth a word.
pub fn is_quiet(error: &anyhow::Error) -> bool {
    first(error).is_some_and(|fault| fault.quiet)
}

/// `error: …`, its causes, then `help: …`, as printed on stderr.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  because: {cause}"));
    }
    if let Some(help) = help(error) {
        text.push_str(&format!("\nhelp: {help}"));
    }
    text
}

/// What `--format json` prints where a command comes to no other object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The error.
    pub error: Failure,
}

/// An error, as a program reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// Its causes, the nearest first.
    pub because: Vec<String>,
    /// Where it is, where that is a place in a file.
    pub place: Option<Location>,
    /// What to type next.
    pub help: Option<String>,
    /// What the process ends with.
    pub exit_code: u8,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// From the root.
    pub file: String,
    /// From 1; none: it is about the whole file.
    pub line: Option<usize>,
    /// From 1, where it is known.
    pub column: Option<usize>,
}

impl ErrorReport {
    /// That of an error.
    pub fn of(error: &anyhow::Error) -> Self {
        let place =
            |told: &Diagnostic| Some(Location { file: told.file.clone()?, line: told.line, column: told.column });
        Self {
            error: Failure {
                message: error.to_string(),
                because: error.chain().skip(1).map(ToString::to_string).collect(),
                place: diagnostics(error).find_map(place),
                help: help(error).map(str::to_owned),
                exit_code: code(error) as u8,
            },
        }
    }
}

/// The way out that the error knows.
pub fn help(error: &anyhow::Error) -> Option<&str> {
    diagnostics(error).next()?.help.as_deref()
}

/// What is wrong, in each of the causes that say so.
fn diagnostics(error: &anyhow::Error) -> impl Iterator<Item = &Diagnostic> {
    error.chain().filter_map(|cause| {
        cause.downcast_ref::<Fault>().map(|fault| &*fault.what).or_else(|| cause.downcast_ref::<Diagnostic>())
    })
}

fn first(error: &anyhow::Error) -> Option<&Fault> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_fault_below_a_context_still_decides_code_and_help() {
        let error =
            Err::<(), _>(usage("no such service `x`").help("one of: web")).context("in services.toml").unwrap_err();
        assert_eq!(code(&error), Code::Usage);
        assert_eq!(render(&error), "error: in services.toml\n  because: no such service `x`\nhelp: one of: web");
        let told = Failure {
            message: "in services.toml".into(),
            because: vec!["no such service `x`".into()],
            place: None,
            help: Some("one of: web".into()),
            exit_code: 2,
        };
        assert_eq!(ErrorReport::of(&error), ErrorReport { error: told });
        let error = anyhow::Error::from(Diagnostic::new("unknown field").of("services.toml").line(3)).context("no");
        let place = Location { file: "services.toml".into(), line: Some(3), column: None };
        assert_eq!(ErrorReport::of(&error).error.place, Some(place));
    }
}
