//! Which files of a tree builds can see: during a walk, and in one scan that
//! serves many builds.

use crate::model::fingerprint::File;

/// Decides which paths are visible.
pub trait Visibility: Sync {
    /// Whether a file or a folder is visible. For `FOLDER/`: whether anything
    /// below may be.
    fn holds(&self, path: &str) -> bool;

    /// Whether everything below `FOLDER/` is visible, so that nobody has to ask
    /// for each path. Conservative: `false` may be wrong, `true` never is.
    fn holds_all(&self, _folder: &str) -> bool {
        false
    }
}

impl<F: Fn(&str) -> bool + Sync> Visibility for F {
    fn holds(&self, path: &str) -> bool {
        self(path)
    }
}

/// Whether this is git's own folder. It changes with every git command, so no
/// walk enters it, and others decide whether it matters.
pub fn is_of_git(name: &str) -> bool {
    name == ".git"
}

/// Which entries of a shared scan one build sees.
#[derive(Debug, Default)]
pub struct View {
    /// The index at which its context starts, and what it sees from there on.
    start: usize,
    seen: Vec<bool>,
    /// The parent folders of the context.
    above: Vec<usize>,
}

impl View {
    /// Goes through a scan like a walk would. `files` are in the order of their
    /// paths. `sight` sees nothing outside `context`, and nothing that the scan
    /// did not see.
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

    /// Whether it sees the entry at this index.
    pub fn sees(&self, at: usize) -> bool {
        let own = at.checked_sub(self.start).and_then(|at| self.seen.get(at));
        own.is_some_and(|seen| *seen) || self.above.contains(&at)
    }
}

/// The index of a path in a list that is sorted by path.
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
    /// Marks the visible ones of these entries, all of which are below `dir`.
    /// Returns whether there are any.
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
                // A folder that was scanned precedes its content.
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
