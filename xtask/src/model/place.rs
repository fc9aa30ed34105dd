//! Where in a configuration file something stands, for the faults that name it.

use camino::Utf8Path;

use crate::fault::{self, Fault};

/// A file and where its lines begin.
pub struct Place<'a> {
    /// The file, as a person types it.
    pub file: &'a Utf8Path,
    breaks: Vec<usize>,
}

impl<'a> Place<'a> {
    /// Counts the lines once, so that a file of many thousands stays one look each.
    pub fn new(file: &'a Utf8Path, text: &str) -> Self {
        Self { file, breaks: text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect() }
    }

    /// The line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.breaks.partition_point(|at| *at < offset)
    }

    /// What is wrong at an offset.
    pub fn fault(&self, offset: usize, message: impl std::fmt::Display) -> Fault {
        fault::usage(format!("{}:{}: {message}", self.file, self.line(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_its_break() {
        let place = Place::new("f".into(), "a\n\nbc\n");
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 99].map(|at| place.line(at)), [1, 1, 2, 3, 3, 3, 4, 4]);
        assert_eq!(Place::new("f".into(), "").line(0), 1);
    }
}
