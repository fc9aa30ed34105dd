//! An answer, or the reason why there is none.
//!
//! A doubt is not a failure: an unknown thing counts as changed, so it is built.

use std::fmt;

use crate::model::diagnostic::Diagnostic;

/// Why an answer is unknown, for people. It does not implement `Error`, so that
/// it can't end a command by accident.
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

/// An answer, or a doubt. Errors that end the command are separate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer is known.
    Known(T),
    /// The answer is unknown.
    Doubt(Doubt),
}

impl<T> Answer<T> {
    /// A doubt with this reason.
    pub fn doubt(why: impl Into<Doubt>) -> Self {
        Self::Doubt(why.into())
    }

    /// The answer, if it is known.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(it) => Some(it),
            Self::Doubt(_) => None,
        }
    }

    /// Converts the answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_an_answer() {
        assert_eq!(Answer::Known(1).known(), Some(1));
        assert_eq!(Answer::<u8>::doubt("nobody looked").known(), None);
        assert_eq!(Answer::Known(1).map(|it| it + 1).known(), Some(2));
    }
}
