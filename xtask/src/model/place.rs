//! Where in a configuration file something stands, for the faults that name it.

use std::str::FromStr;

use camino::Utf8Path;
use toml::Spanned;

use crate::fault::{self, Fault};

/// A file and its text.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The file, as a person types it.
    pub file: &'a Utf8Path,
    /// What it holds.
    pub text: &'a str,
}

impl Place<'_> {
    /// The line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count()
    }

    /// What is wrong at an offset.
    pub fn fault(&self, offset: usize, message: impl std::fmt::Display) -> Fault {
        fault::usage(format!("{}:{}: {message}", self.file, self.line(offset)))
    }

    /// Reads a spanned text as a `T`, naming the key.
    pub fn read<T: FromStr<Err = String>>(&self, key: &str, text: &Spanned<String>) -> Result<T, Fault> {
        text.get_ref().parse().map_err(|why: String| self.fault(text.span().start, format!("`{key}`: {why}")))
    }
}
