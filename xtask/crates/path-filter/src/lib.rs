//! One dialect of path filters, on its own: no crate for globs speaks it.
#![doc = include_str!("../README.md")]

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

/// The most patterns of one list. Each file of a repository is held against all.
const PATTERNS: usize = 1000;

/// One checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    negated: bool,
    automaton: Automaton,
}

/// Why a text is not a pattern.
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

    /// Whether a hit excludes.
    pub fn negated(&self) -> bool {
        self.negated
    }

    /// What each path begins with that is described.
    pub fn head(&self) -> &str {
        self.automaton.prefix()
    }

    /// Whether the whole of `path` is described; `!` is not looked at.
    pub fn hits(&self, path: &str) -> bool {
        self.automaton.matches(path)
    }
}

/// An ordered list of patterns: the last that hits decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFilter(Vec<Pattern>);

impl PathFilter {
    /// A list with at least one pattern that includes.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, String> {
        Self::may_hold(patterns.len())?;
        if patterns.iter().all(Pattern::negated) {
            return Err("the list has no pattern that includes; put one such as `**` before the `!` patterns".into());
        }
        Ok(Self(patterns))
    }

    /// Whether a list may hold so many, before each of them is read.
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

    /// What paths begin with that are included: one of these.
    pub fn heads(&self) -> Vec<String> {
        self.0.iter().filter(|pattern| !pattern.negated).map(|pattern| pattern.head().to_owned()).collect()
    }

    /// All patterns that hit `path`, by their places in the list, the last
    /// first: that one decides.
    pub fn hits(&self, path: &str) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().rev().filter_map(move |(at, pattern)| pattern.hits(path).then_some(at))
    }

    /// The pattern that decides about `path`, by its place in the list.
    pub fn decider(&self, path: &str) -> Option<usize> {
        self.0.iter().rposition(|pattern| pattern.hits(path))
    }

    /// Whether `path` is included.
    pub fn includes(&self, path: &str) -> bool {
        self.decider(path).is_some_and(|at| !self.0[at].negated)
    }
}
