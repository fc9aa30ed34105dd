//! What `ci plan` compared. Its steps pass this on and add to it.

use crate::model::affected::ChangeSet;

/// The two sides of the comparison, and the changes.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The older commit, where there is one.
    pub base: Option<String>,
    /// The newer commit; `None`: the working tree, or a list of files.
    pub head: Option<String>,
    /// Whether the older side is the merge base of both.
    pub three_dots: bool,
    /// Both sides, for people.
    pub range: Option<String>,
    /// The changes.
    pub scope: ChangeSet,
}
