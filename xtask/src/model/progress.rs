//! How a build shows its progress.

use std::fmt;

/// `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Progress {
    /// The terminal decides.
    Auto,
    /// Plain lines.
    Plain,
    /// No progress.
    Quiet,
    /// JSON objects.
    Rawjson,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Quiet => "quiet",
            Self::Rawjson => "rawjson",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildx_gets_the_word_that_was_typed() {
        use clap::ValueEnum as _;
        for progress in Progress::value_variants() {
            assert_eq!(progress.to_possible_value().unwrap().get_name(), progress.to_string());
        }
        assert_eq!(Progress::Rawjson.to_string(), "rawjson");
    }
}
