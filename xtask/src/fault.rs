//! The error that people read: what is wrong, and what to type next.
//!
//! All other errors are `anyhow::Error`. A `Fault` in the chain decides the exit
//! code and adds the help line.

use std::fmt;

use serde::Serialize;

use crate::model::diagnostic::Diagnostic;

/// The exit code for an error that reaches `main`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Code {
    /// Something that was tried failed.
    #[default]
    Failed = 1,
    /// The command line or the configuration is wrong: nothing was tried.
    Usage = 2,
    /// Ctrl-C, SIGTERM or SIGHUP. Everything was cleaned up.
    Interrupted = 130,
}

/// What is wrong, with an exit code.
#[derive(Debug, Default)]
pub struct Fault {
    /// The exit code.
    pub code: Code,
    /// Boxed, to keep `Result` small.
    what: Box<Diagnostic>,
    said: String,
    quiet: bool,
}

/// A wrong command line or configuration.
pub fn usage(what: impl Into<Diagnostic>) -> Fault {
    Fault { code: Code::Usage, what: Box::new(what.into()), ..Fault::default() }
}

/// Something that failed.
pub fn failed(what: impl Into<Diagnostic>) -> Fault {
    Fault { code: Code::Failed, what: Box::new(what.into()), ..Fault::default() }
}

/// A signal asked us to stop.
pub fn interrupted() -> Fault {
    Fault { code: Code::Interrupted, what: Box::new("interrupted".into()), ..Fault::default() }
}

/// The reader of the result closed the pipe, so there is nobody to tell.
pub fn unheard() -> Fault {
    Fault { code: Code::Failed, what: Box::new("nobody reads the result".into()), quiet: true, ..Fault::default() }
}

/// The error is on stderr already, printed by another program.
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

    /// Keeps the output of a failed command, so that a caller who knows the tool
    /// can find the cause. It is not part of the message.
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

/// The exit code of an error: that of the first `Fault` in its chain. A
/// [`Diagnostic`] without one is an error in what a person wrote.
pub fn code(error: &anyhow::Error) -> Code {
    let of = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<Fault>() {
        Some(fault) => Some(fault.code),
        None => cause.is::<Diagnostic>().then_some(Code::Usage),
    };
    error.chain().find_map(of).unwrap_or_default()
}

/// The output of the command that failed, if one did.
pub fn said(error: &anyhow::Error) -> &str {
    first(error).map_or("", |fault| &fault.said)
}

/// Whether nothing must be printed for an error.
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

/// The object of `--format json` for a command without any other result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The error.
    pub error: Failure,
}

/// An error, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// Its causes, the nearest first.
    pub because: Vec<String>,
    /// Its place in a file, if it has one.
    pub place: Option<Location>,
    /// What to type next.
    pub help: Option<String>,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The path from the root.
    pub file: String,
    /// From 1; `None`: the whole file is meant.
    pub line: Option<usize>,
    /// From 1, if it is known.
    pub column: Option<usize>,
}

impl ErrorReport {
    /// Describes an error.
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

/// The advice of the error.
pub fn help(error: &anyhow::Error) -> Option<&str> {
    diagnostics(error).next()?.help.as_deref()
}

/// The messages of all causes.
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
