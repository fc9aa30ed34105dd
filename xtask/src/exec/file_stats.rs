//! Walks the tree: which files and folders a build can see, and when each of
//! them last changed. It reads no file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::Duration;

use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::clock;
use crate::model::content_cache::FileStat;
use crate::model::doubt::Doubt;
use crate::model::visibility::{Visibility, is_of_git};

/// Every file and folder that a build can see, and the folders that were
/// searched for them, with the kernel's data about each. If two of these are
/// equal, nothing changed in between.
pub type FileStats = Vec<(String, FileStat)>;

/// A file or folder from the walk or from git's list.
#[derive(Clone, Copy, Debug)]
pub struct WalkedFile<'a> {
    /// The path. A folder's path ends in `/`.
    pub path: &'a str,
    /// The kernel's data about it.
    pub stat: FileStat,
    /// Whether a build can see it. Otherwise only git lists it.
    pub walked: bool,
    /// Whether git lists it.
    pub listed: bool,
}

/// Lists everything that a build can see, without reading it.
pub fn walk(ctx: &Ctx, sight: &dyn Visibility) -> Result<FileStats, Doubt> {
    let root = ctx.root.symlink_metadata().map_err(|error| format!("./: {error}"))?;
    let mut found = vec![(String::new(), stat(&root))];
    let threads = thread::available_parallelism().map_or(1, usize::from);
    TreeWalk { root: &ctx.root, sight }.folder("", false, threads, &mut found)?;
    // The list is usually sorted already, but `F/!` comes before `F//`.
    if !found.is_sorted_by(|(a, _), (b, _)| a < b) {
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }
    Ok(found)
}

/// A message about the differences between two walks. `None` if there are none.
pub fn touched(before: &FileStats, after: &FileStats) -> Option<String> {
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (
        before.iter().map(|(path, stat)| (path, stat)).collect(),
        after.iter().map(|(path, stat)| (path, stat)).collect(),
    );
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).copied().collect();
    let mut touched: Vec<&String> = paths.into_iter().filter(|path| old.get(path) != new.get(path)).collect();
    // Name a file first: it says more than its folders.
    touched.sort_by_key(|path| path.is_empty() || path.ends_with('/'));
    let name = |path: &str| match path.trim_end_matches('/') {
        "" => "./".to_owned(),
        name if path.ends_with('/') => format!("{name}/"),
        name => name.to_owned(),
    };
    match touched[..] {
        [] => None,
        [path] => Some(format!("{} was touched", name(path))),
        [path, ..] => Some(format!("{} and {} more were touched", name(path), touched.len() - 1)),
    }
}

/// Whether the entry itself is seen. A folder that was only searched ends in
/// `//`.
pub fn holds_itself(path: &str) -> bool {
    !path.ends_with("//") && !path.is_empty()
}

/// The symbolic links in the walk, and their targets as written in the link.
pub fn links_of(ctx: &Ctx, stats: &FileStats) -> Vec<(String, String)> {
    let links = stats.iter().filter(|(_, stat)| stat.mode & 0o170_000 == 0o120_000);
    links.filter_map(|(path, _)| Some((path.clone(), ctx.root.join(path).read_link_utf8().ok()?.into()))).collect()
}

struct TreeWalk<'a> {
    root: &'a Utf8Path,
    sight: &'a dyn Visibility,
}

/// A file or folder that is seen, or a folder to search.
struct Entry {
    path: String,
    held: bool,
    stat: FileStat,
    walked: bool,
}

impl TreeWalk<'_> {
    /// Adds everything that is seen below a folder, and the folders themselves.
    /// A folder without anything seen in it becomes `FOLDER//`. If `all` is set,
    /// everything below is seen and needs no check. Returns whether anything is
    /// seen.
    fn folder(&self, dir: &str, all: bool, threads: usize, found: &mut FileStats) -> Result<bool, Doubt> {
        let (entries, mut any) = self.entries(dir, all)?;
        let all_below = |entry: &Entry| all || self.sight.holds_all(&entry.path);
        let walked: Vec<&Entry> = entries.iter().filter(|entry| entry.walked).collect();
        let mut apart = Vec::new();
        if threads > 1 && walked.len() > 1 {
            let several = |first: usize| {
                let own = walked.iter().skip(first).step_by(threads);
                own.map(|entry| {
                    let mut found = FileStats::new();
                    let any = self.folder(&entry.path, all_below(entry), 1, &mut found)?;
                    Ok((any, found))
                })
                .collect::<Result<Vec<_>, Doubt>>()
            };
            let of_thread = thread::scope(|scope| {
                let threads: Vec<_> = (0..threads).map(|first| scope.spawn(move || several(first))).collect();
                let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join();
                threads.into_iter().map(join).collect::<Vec<_>>()
            });
            for told in of_thread {
                apart.push(told.map_err(|_| "a walk through the tree panicked".to_owned())??.into_iter());
            }
        }
        let mut turn = (0..apart.len()).cycle();
        for Entry { path, mut held, stat, walked } in entries {
            let (own, all) = (found.len(), all || walked && apart.is_empty() && self.sight.holds_all(&path));
            found.push((path, stat));
            if walked {
                held |= match turn.next().and_then(|thread| apart[thread].next()) {
                    Some((any, below)) => {
                        found.extend(below);
                        any
                    }
                    None => {
                        let path = found[own].0.clone();
                        self.folder(&path, all, threads, found)?
                    }
                };
                if !held {
                    found[own].0.push('/');
                }
            }
            any |= held;
        }
        Ok(any)
    }

    /// The entries of a folder, sorted by path, and whether something that is
    /// seen was deleted meanwhile.
    fn entries(&self, dir: &str, all: bool) -> Result<(Vec<Entry>, bool), Doubt> {
        let unreadable = |error: std::io::Error| format!("./{dir}: {error}");
        let not_text = || format!("./{dir}: a file's name is not UTF-8");
        let (mut entries, mut any) = (Vec::new(), false);
        for entry in self.root.join(dir).as_std_path().read_dir().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().into_string().map_err(|_| not_text())?;
            let mut path = String::with_capacity(dir.len() + name.len() + 2);
            path.push_str(dir);
            path.push_str(&name);
            let mut held = all || self.sight.holds(&path);
            let is_dir = entry.file_type().map_err(unreadable)?.is_dir();
            let (mut walked, is_of_git) = (false, is_dir && is_of_git(&name));
            if is_dir {
                path.push('/');
                let holds = all || self.sight.holds(&path);
                held |= holds && is_of_git;
                walked = holds && !is_of_git;
            }
            if held || walked {
                // Read the times before the folder's contents: what is created
                // meanwhile changes them. If the entry was deleted meanwhile,
                // its folder's times changed.
                let Ok(metadata) = entry.metadata() else {
                    any |= held;
                    continue;
                };
                let stat = stat(&metadata);
                let stat = if is_of_git { FileStat { mode: stat.mode, ..FileStat::default() } } else { stat };
                entries.push(Entry { path, held, stat, walked });
            }
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok((entries, any))
    }
}

/// The kernel's data about a file.
pub fn stat(metadata: &Metadata) -> FileStat {
    FileStat {
        mode: metadata.mode(),
        names: metadata.nlink(),
        dev: metadata.dev(),
        ino: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Waits until every later change gets another time than the changes so far.
pub fn settle<'a>(ctx: &Ctx, all: impl Iterator<Item = (&'a str, &'a FileStat)>) -> Result<(), Doubt> {
    let now = clock::now();
    let mut longest = Duration::ZERO;
    for (path, stat) in all {
        let wait = stat
            .settles_in(now)
            .ok_or_else(|| format!("{path} has a change time in the future, by the clock of {}", ctx.root))?;
        longest = longest.max(wait);
    }
    thread::sleep(longest);
    Ok(())
}
