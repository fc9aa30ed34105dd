//! An answer, or why nobody can give it.
//!
//! A doubt is no failure: what can't be told counts as changed, and is built.

use std::fmt;

use crate::model::diagnostic::Diagnostic;

/// Why something can't be told, for people. It is no `Error`, so that it ends no
/// command by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt(String);

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Doubt {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl From<&str> for Doubt {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl From<Diagnostic> for Doubt {
    fn from(wrong: Diagnostic) -> Self {
        Self(wrong.to_string())
    }
}

impl From<Doubt> for String {
    fn from(doubt: Doubt) -> Self {
        doubt.0
    }
}

/// What was found out, beside errors that end the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer.
    Known(T),
    /// Nobody can tell.
    Doubt(Doubt),
}

impl<T> Answer<T> {
    /// A doubt, by its reason.
    pub fn doubt(why: impl Into<Doubt>) -> Self {
        Self::Doubt(why.into())
    }

    /// The answer, where there is one.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(it) => Some(it),
            Self::Doubt(_) => None,
        }
    }

    /// The answer, made into another.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Known(it) => Answer::Known(make(it)),
            Self::Doubt(why) => Answer::Doubt(why),
        }
    }
}

impl<T> From<Result<T, Doubt>> for Answer<T> {
    fn from(result: Result<T, Doubt>) -> Self {
        match result {
            Ok(it) => Self::Known(it),
            Err(why) => Self::Doubt(why),
        }
    }
}
