//! What builds can see of a tree: while it is walked, and of one look at it
//! that serves many.

use crate::model::fingerprint::File;

/// What somebody can see of a tree.
pub trait Visibility: Sync {
    /// Whether a file or a folder is seen, or of `FOLDER/` whether anything
    /// below may be.
    fn holds(&self, path: &str) -> bool;

    /// Whether all that is below `FOLDER/` is seen, so that nobody has to ask
    /// about each. `false` may be wrong, `true` never is.
    fn holds_all(&self, _folder: &str) -> bool {
        false
    }
}

impl<F: Fn(&str) -> bool + Sync> Visibility for F {
    fn holds(&self, path: &str) -> bool {
        self(path)
    }
}

/// Git's own folder changes with every command: whether it matters is for
/// others to say, and nobody looks into it.
pub fn is_of_git(name: &str) -> bool {
    name == ".git"
}

/// What one build sees of a look that others have had too.
#[derive(Debug, Default)]
pub struct View {
    /// Where its context begins in the list, and what of it is seen.
    start: usize,
    seen: Vec<bool>,
    /// The folders above.
    above: Vec<usize>,
}

impl View {
    /// Goes through what was walked as a walk would. `files` are in the order of
    /// their paths; `sight` sees nothing outside of `context`, and no more than
    /// those who walked.
    pub fn of(files: &[File], walked: &[bool], context: &str, sight: &dyn Visibility) -> Self {
        let context = if context == "." { "" } else { context.trim_end_matches('/') };
        let dir = if context.is_empty() { String::new() } else { format!("{context}/") };
        let start = files.partition_point(|file| *file.path < *dir);
        let end = start + files[start..].partition_point(|file| file.path.starts_with(&dir));
        let mut replay = Replay { files, walked, sight, start, seen: vec![false; end - start] };
        let any = replay.folder(start, end, &dir, false);
        let mut above = Vec::new();
        if any && !dir.is_empty() {
            let ends = dir.match_indices('/').map(|(at, _)| &dir[..=at]);
            above = ends.filter_map(|dir| position(files, dir)).filter(|at| walked[*at]).collect();
        }
        Self { start, seen: replay.seen, above }
    }

    /// Whether it sees the file or the folder at this place in the list.
    pub fn sees(&self, at: usize) -> bool {
        let own = at.checked_sub(self.start).and_then(|at| self.seen.get(at));
        own.is_some_and(|seen| *seen) || self.above.contains(&at)
    }
}

/// Where a path stands among files in the order of their paths.
pub fn position(files: &[File], path: &str) -> Option<usize> {
    files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()
}

struct Replay<'a> {
    files: &'a [File],
    walked: &'a [bool],
    sight: &'a dyn Visibility,
    start: usize,
    seen: Vec<bool>,
}

impl Replay<'_> {
    /// Marks what is seen of these, which are all below `dir`; whether anything is.
    fn folder(&mut self, start: usize, end: usize, dir: &str, all: bool) -> bool {
        let (mut at, mut any) = (start, false);
        while at < end {
            let path = &self.files[at].path;
            let rest = &path[dir.len()..];
            let Some(name) = rest.find('/') else {
                if self.walked[at] && (all || self.sight.holds(path)) {
                    self.seen[at - self.start] = true;
                    any = true;
                }
                // The folder itself comes first where it is looked into.
                at += 1;
                continue;
            };
            let name = &rest[..name];
            let below = &path[..=dir.len() + name.len()];
            let next = at + self.files[at..end].partition_point(|file| file.path.starts_with(below));
            if let Some(own) =
                position(&self.files[at..next], below).map(|own| at + own).filter(|own| self.walked[*own])
            {
                let folder = &below[..below.len() - 1];
                let mut held = all || self.sight.holds(folder);
                if all || self.sight.holds(below) {
                    held |= is_of_git(name) || {
                        let all = all || self.sight.holds_all(below);
                        self.folder(own + 1, next, below, all)
                    };
                }
                self.seen[own - self.start] = held;
                any |= held;
            }
            at = next;
        }
        any
    }
}
