//! GitHub's dialect of path filters. No existing glob crate implements it.
#![doc = include_str!("../README.md")]
#![warn(clippy::missing_errors_doc)]

mod automaton;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
mod syntax;
#[cfg(test)]
mod tests;

use std::fmt;

use automaton::Automaton;

/// The most patterns in one list. Every file of a repository is compared with all
/// of them.
const PATTERNS: usize = 1000;

/// One checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    negated: bool,
    automaton: Automaton,
}

/// Why a text is not a valid pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// The column, from 1, counted in characters.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl Pattern {
    /// Reads a pattern, with its leading `!` if it has one.
    ///
    /// # Errors
    ///
    /// If GitHub refuses the pattern, or its documentation does not say what it means.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let described = text.strip_prefix('!');
        let negated = described.is_some();
        let chars: Vec<char> = described.unwrap_or(text).chars().collect();
        match syntax::read(&chars) {
            Ok(tokens) => Ok(Self { text: text.to_owned(), negated, automaton: Automaton::new(&tokens) }),
            Err((at, message)) => Err(PatternError { column: at + 1 + usize::from(negated), message }),
        }
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a match excludes.
    pub fn negated(&self) -> bool {
        self.negated
    }

    /// The literal beginning of every path that matches.
    pub fn head(&self) -> &str {
        self.automaton.prefix()
    }

    /// Whether the pattern matches all of `path`, ignoring its `!`.
    pub fn hits(&self, path: &str) -> bool {
        self.automaton.matches(path)
    }
}

/// An ordered list of patterns. The last one that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFilter(Vec<Pattern>);

impl PathFilter {
    /// A list with at least one pattern that includes.
    ///
    /// # Errors
    ///
    /// If every pattern excludes, or if there are more than 1,000 patterns.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, String> {
        Self::may_hold(patterns.len())?;
        if patterns.iter().all(Pattern::negated) {
            return Err("the list has no pattern that includes; put one such as `**` before the `!` patterns".into());
        }
        Ok(Self(patterns))
    }

    /// Whether a list may hold so many patterns; callers ask before they parse them.
    ///
    /// # Errors
    ///
    /// If there are more than 1,000.
    pub fn may_hold(patterns: usize) -> Result<(), String> {
        if patterns > PATTERNS {
            return Err(format!(
                "{patterns} patterns, of at most {PATTERNS}; name folders (`src/**`) instead of files"
            ));
        }
        Ok(())
    }

    /// The patterns, in their order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Every included path begins with one of these.
    pub fn heads(&self) -> Vec<String> {
        self.0.iter().filter(|pattern| !pattern.negated).map(|pattern| pattern.head().to_owned()).collect()
    }

    /// All patterns that match `path`, by position. The last one comes first,
    /// because it decides.
    pub fn hits(&self, path: &str) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().rev().filter_map(move |(at, pattern)| pattern.hits(path).then_some(at))
    }

    /// The position of the pattern that decides about `path`.
    pub fn decider(&self, path: &str) -> Option<usize> {
        self.0.iter().rposition(|pattern| pattern.hits(path))
    }

    /// Whether `path` is included.
    pub fn includes(&self, path: &str) -> bool {
        self.decider(path).is_some_and(|at| !self.0[at].negated)
    }
}
