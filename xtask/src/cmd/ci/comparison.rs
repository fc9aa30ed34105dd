//! What `ci plan` compared: its steps pass it on and add to it.

use crate::model::affected::ChangeSet;

/// What was compared, and what came out.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The older commit, where there is one.
    pub base: Option<String>,
    /// The newer commit; none: the working tree, or a list of files.
    pub head: Option<String>,
    /// Whether the older side is the merge base of both.
    pub three_dots: bool,
    /// Both, for people.
    pub range: Option<String>,
    /// What changed.
    pub scope: ChangeSet,
}
