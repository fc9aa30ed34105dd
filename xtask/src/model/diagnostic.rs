//! What is wrong, where, and what to write instead: one type for all checks.

use std::fmt;

use serde::Serialize;

/// An error in something that a person wrote: a file, an option, a name. In a
/// chain of errors it means exit code 2, and that nothing was tried.
///
/// `ci check` lists these as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// The file, from the root; `None` if the check knew of no file.
    pub file: Option<String>,
    /// The line, from 1; `None` if it concerns the whole file.
    pub line: Option<usize>,
    /// The column, from 1. `ci check` puts it into the message.
    #[serde(skip)]
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write or to type instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// Sets the file.
    #[must_use]
    pub fn of(self, file: impl Into<String>) -> Self {
        Self { file: Some(file.into()), ..self }
    }

    /// Sets the line; 0 means none.
    #[must_use]
    pub fn line(self, line: usize) -> Self {
        Self { line: Some(line).filter(|line| *line > 0), ..self }
    }

    /// Sets the column; 0 means none.
    #[must_use]
    pub fn column(self, column: usize) -> Self {
        Self { column: Some(column).filter(|column| *column > 0), ..self }
    }

    /// Sets what to write or to type instead.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl From<String> for Diagnostic {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Diagnostic {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// `file:line:column: message`, as far as these are known.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}")?,
            (Some(file), None) => write!(f, "{file}")?,
            (None, Some(line)) => write!(f, "line {line}")?,
            (None, None) => return f.write_str(&self.message),
        }
        if let (Some(column), Some(_)) = (self.column, self.line) {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// The offsets at which lines start, to find the line of an offset.
#[derive(Debug)]
pub struct LineIndex<'a> {
    /// The path of the file, as a person types it.
    pub file: &'a str,
    breaks: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// Finds all line starts once, so that each lookup is fast even in a large
    /// file.
    pub fn new(file: &'a str, text: &str) -> Self {
        Self { file, breaks: text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect() }
    }

    /// The line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.breaks.partition_point(|at| *at < offset)
    }

    /// An error at an offset.
    pub fn diagnostic(&self, offset: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).of(self.file).line(self.line(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_far_as_it_is_known() {
        let wrong = || Diagnostic::new("it is wrong").help("not shown here");
        for (diagnostic, expected) in [
            (wrong(), "it is wrong"),
            (wrong().of("f"), "f: it is wrong"),
            (wrong().of("f").line(0).column(7), "f: it is wrong"),
            (wrong().of("f").line(3), "f:3: it is wrong"),
            (wrong().of("f").line(3).column(0), "f:3: it is wrong"),
            (wrong().of("f").line(3).column(7), "f:3:7: it is wrong"),
            (wrong().line(3), "line 3: it is wrong"),
        ] {
            assert_eq!(diagnostic.to_string(), expected);
        }
    }

    #[test]
    fn a_program_reads_what_ci_check_lists() {
        let wrong = Diagnostic::new("it is wrong").of("f").line(3).column(7).help("right it");
        let expected = r#"{"file":"f","line":3,"message":"it is wrong","help":"right it"}"#;
        assert_eq!(serde_json::to_string(&wrong).unwrap(), expected);
    }

    #[test]
    fn a_line_ends_with_its_break() {
        let index = LineIndex::new("f", "a\n\nbc\n");
        let lines: Vec<usize> = (0..6).map(|offset| index.line(offset)).collect();
        assert_eq!(lines, [1, 1, 2, 3, 3, 3]);
        assert_eq!(LineIndex::new("f", "").line(0), 1);
        assert_eq!(index.diagnostic(3, "no").to_string(), "f:3: no");
    }
}
