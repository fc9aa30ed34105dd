//! Reads the working tree, file by file, as a build would find it.
//!
//! Git only tells us the paths. A file that git calls unchanged may have been
//! checked out under other rules, or git may have been told not to look at it.
//! So we read the contents ourselves, and remember them as long as the kernel
//! reports no change of the file. If we can't tell, that is a doubt, and a doubt
//! means a build.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use crate::ctx::Ctx;
use crate::exec::file_stats::{self, FileStats, WalkedFile};
use crate::exec::git::{git, why};
use crate::exec::{contents, run};
use crate::model::doubt::Doubt;
use crate::model::fingerprint::File;
use crate::model::visibility::Visibility;

/// Git's modes of a symbolic link and of a submodule.
pub const LINK: &str = "120000";
pub(super) const SUBMODULE: &str = "160000";
/// The modes that git's index knows.
const MODES: [&str; 4] = ["100644", "100755", LINK, SUBMODULE];

/// The working tree at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkTree {
    /// The files below the root, sorted by path: tracked files, files that git
    /// does not ignore, and everything that a build can see, including folders
    /// (ending in `/`). Each file has its own path, also in a submodule.
    pub lying: Vec<File>,
    /// For each of them, whether a build can see it. Otherwise only git lists
    /// it.
    pub walked: Vec<bool>,
    /// For each of them, whether git lists it.
    pub listed: Vec<bool>,
    /// The kernel's data about everything that a build can see.
    pub stats: FileStats,
    /// The files that git lists.
    pub listing: Listing,
    /// The submodules and their commits.
    modules: Vec<File>,
    /// The key of BuildKit's copy of the tree, see [`contents`].
    pub copy: u64,
    /// Files with several names, sorted by path.
    pub twins: Vec<HardLink>,
}

/// One name of a file that has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardLink {
    /// The index in `lying`.
    pub at: usize,
    /// The device and inode, which all names of the file share.
    pub file: (u64, u64),
    /// The id of the contents.
    pub id: String,
}

impl WorkTree {
    /// The files under the names that filters use: a file in a submodule has the
    /// submodule's path. Each has its index in `lying`; the submodule itself has
    /// none. `None`: `lying` is this list already.
    pub fn of_filters(&self) -> Option<Vec<(File, Option<usize>)>> {
        if self.modules.is_empty() {
            return None;
        }
        let lying = self.lying.iter().enumerate().map(|(at, file)| (self.of_filter(file), Some(at)));
        let mut files: Vec<_> = lying.chain(self.modules.iter().map(|module| (module.clone(), None))).collect();
        files.sort();
        Some(files)
    }

    /// One file under the name that filters use.
    pub fn of_filter(&self, file: &File) -> File {
        of_module(file, &self.modules)
    }

    /// The `.git` folders of this repository and of repositories inside it, as
    /// indexes in `lying`.
    pub fn gits(&self) -> impl Iterator<Item = usize> {
        let is_of_git = |at: &usize| self.lying[*at].path == ".git/" || self.lying[*at].path.ends_with("/.git/");
        (0..self.lying.len()).filter(is_of_git)
    }

    /// The ids of files with several names if only these names are seen. In an
    /// image, two names of one file stay two names of one file.
    pub fn twins_as_seen(&self, sees: impl Fn(usize) -> bool) -> Vec<(usize, String)> {
        let mut names = BTreeMap::new();
        let seen = self.twins.iter().filter(|twin| sees(twin.at));
        seen.map(|HardLink { at, file, id }| match names.entry(*file).or_insert(*at) {
            first if first == at => (*at, id.clone()),
            first => (*at, format!("{id} = {}", self.lying[*first].path)),
        })
        .collect()
    }
}

/// The files that git lists, by their paths from the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The index: mode and id by path. In an unfinished merge, one of the
    /// entries of a path.
    pub index: BTreeMap<String, (&'static str, String)>,
    /// The paths of the submodules, in order.
    pub modules: Vec<String>,
    /// Files that are neither in the index nor ignored.
    pub new: BTreeSet<String>,
}

/// Reads the tree. `Err` says why we can't tell.
pub fn look(ctx: &Ctx, sight: &dyn Visibility) -> Result<WorkTree, Doubt> {
    let (listing, seen) = thread::scope(|scope| {
        let listing = scope.spawn(|| listing(ctx));
        let seen = file_stats::walk(ctx, sight);
        (listing.join().map_err(|_| "a question to git panicked".to_owned()), seen)
    });
    let (listing, stats) = (listing??, seen?);
    let all = all(ctx, &stats, &listing);
    let of_git = all.iter().filter(|found| !found.walked).map(|found| (found.path, &found.stat));
    file_stats::settle(ctx, stats.iter().map(|(path, stat)| (path.as_str(), stat)).chain(of_git))?;
    let contents::Contents { ids, copy } = contents::contents(ctx, &all)?;
    let mut tree = WorkTree { lying: Vec::with_capacity(all.len()), copy, ..WorkTree::default() };
    let mut last = (0, String::new());
    for (WalkedFile { path, stat, walked, listed }, id) in all.iter().zip(ids) {
        if last.0 != stat.mode {
            last = (stat.mode, format!("{:o}", stat.mode));
        }
        let mut file = File { path: (*path).to_owned(), mode: last.1.clone(), id: String::new() };
        match stat.mode & 0o170_000 {
            0o120_000 => {
                let target = ctx.root.join(path).read_link_utf8().map_err(|error| format!("{path}: {error}"))?;
                LINK.clone_into(&mut file.mode);
                file.id = format!("-> {target}");
            }
            // A folder has replaced this file. Its contents are listed.
            0o040_000 if !path.ends_with('/') => continue,
            0o040_000 => {}
            0o100_000 => {
                file.id = id.ok_or_else(|| format!("{path} was not read"))?;
                if stat.names > 1 {
                    let id = file.id.clone();
                    tree.twins.push(HardLink { at: tree.lying.len(), file: (stat.dev, stat.ino), id });
                }
            }
            _ => return Err(format!("{path} is neither a file nor a link").into()),
        }
        tree.lying.push(file);
        tree.walked.push(*walked);
        tree.listed.push(*listed);
    }
    drop(all);
    for (at, id) in tree.twins_as_seen(|_| true) {
        tree.lying[at].id = id;
    }
    let module = |path: String| File { id: head(ctx, &path), mode: SUBMODULE.into(), path };
    let modules = listing.modules.iter().cloned().map(module).collect();
    Ok(WorkTree { stats, listing, modules, ..tree })
}

/// Everything that a build can see or that git lists, sorted by path.
fn all<'a>(ctx: &Ctx, stats: &'a FileStats, listing: &'a Listing) -> Vec<WalkedFile<'a>> {
    let seen = stats.iter().filter(|(path, _)| file_stats::holds_itself(path));
    let mut all: Vec<WalkedFile<'_>> =
        seen.map(|(path, stat)| WalkedFile { path, stat: *stat, walked: true, listed: false }).collect();
    let (seen, mut at, mut folders) = (all.len(), 0, BTreeMap::new());
    for path in listing.index.keys().chain(&listing.new) {
        // Both lists are sorted, and the second begins from the start.
        if at > 0 && all[at - 1].path >= path.as_str() {
            at = 0;
        }
        while at < seen && all[at].path < path.as_str() {
            at += 1;
        }
        if at < seen && all[at].path == path {
            all[at].listed = true;
        } else if is_below_folders(ctx, path, &mut folders)
            && let Ok(metadata) = ctx.root.join(path).symlink_metadata()
        {
            all.push(WalkedFile { path, stat: file_stats::stat(&metadata), walked: false, listed: true });
        }
    }
    if all.len() > seen {
        all.sort_unstable_by(|a, b| a.path.cmp(b.path));
    }
    all
}

/// Whether all parents of a path are folders. Behind a link the path would name
/// another file.
fn is_below_folders(ctx: &Ctx, path: &str, known: &mut BTreeMap<String, bool>) -> bool {
    let Some((dir, _)) = path.rsplit_once('/') else { return true };
    if let Some(known) = known.get(dir) {
        return *known;
    }
    let is_folder = ctx.root.join(dir).symlink_metadata().is_ok_and(|it| it.is_dir());
    let all = is_folder && is_below_folders(ctx, dir, known);
    known.insert(dir.to_owned(), all);
    all
}

/// The tracked paths, from the root.
pub fn tracked(ctx: &Ctx) -> Result<Vec<String>, Doubt> {
    let bytes = run::bytes(ctx, &git(ctx).look(&["ls-files", "-z"])).map_err(why)?;
    Ok(String::from_utf8_lossy(&bytes).split_terminator('\0').map(str::to_owned).collect())
}

/// The symbolic links among these files, and their targets as written in the
/// link.
pub fn links(files: &[File]) -> Vec<(String, String)> {
    let links = files.iter().filter(|file| file.mode == LINK);
    links.filter_map(|link| Some((link.path.clone(), link.id.strip_prefix("-> ")?.to_owned()))).collect()
}

pub(super) fn listing(ctx: &Ctx) -> Result<Listing, Doubt> {
    let step = git(ctx).look(&["ls-files", "-t", "--stage", "--others", "--exclude-standard", "-z"]);
    let bytes = run::bytes(ctx, &step).map_err(why)?;
    let text = String::from_utf8(bytes).map_err(|_| "a file's name is not UTF-8".to_owned())?;
    listed(&text)
}

/// Parses `? PATH` or `TAG MODE ID STAGE⇥PATH`. Paths are from the root.
fn listed(text: &str) -> Result<Listing, Doubt> {
    // Collecting a sorted list into a map is fast.
    let (mut index, mut new, mut modules) = (Vec::new(), Vec::new(), Vec::new());
    for entry in text.split_terminator('\0') {
        match entry.strip_prefix("? ") {
            // A nested repository. The walk finds the files that a build sees in
            // it.
            Some(path) if path.ends_with('/') => {}
            Some(path) => new.push(path.to_owned()),
            None => {
                let odd = || format!("`git ls-files` says {entry:?}");
                let (words, path) = entry.split_once('\t').ok_or_else(odd)?;
                let (_tag, rest) = words.split_once(' ').ok_or_else(odd)?;
                let (mode, rest) = rest.split_once(' ').ok_or_else(odd)?;
                let (id, stage) = rest.split_once(' ').ok_or_else(odd)?;
                if stage.contains(' ') {
                    return Err(odd().into());
                }
                let mode = MODES.into_iter().find(|known| *known == mode).ok_or_else(odd)?;
                modules.extend((mode == SUBMODULE).then(|| path.to_owned()));
                index.push((path.to_owned(), (mode, id.to_owned())));
            }
        }
    }
    modules.dedup();
    Ok(Listing { index: index.into_iter().collect(), new: new.into_iter().collect(), modules })
}

/// The commit in a submodule's folder, or an empty string if there is none.
pub(super) fn head(ctx: &Ctx, module: &str) -> String {
    let dir = ctx.root.join(module);
    if dir.join(".git").symlink_metadata().is_err() {
        return String::new();
    }
    let at = Ctx { root: dir, ..ctx.clone() };
    run::probe(&at, &git(&at).look(&["rev-parse", "--verify", "--quiet", "HEAD"])).unwrap_or_default()
}

/// Gives a file of a submodule the submodule's path, which is the path that
/// filters know.
fn of_module(file: &File, modules: &[File]) -> File {
    let below = |module: &File| {
        let rest = file.path.strip_prefix(&module.path)?.strip_prefix('/')?;
        Some((module.path.clone(), rest.to_owned()))
    };
    match modules.iter().find_map(below) {
        Some((path, rest)) => File { path, mode: file.mode.clone(), id: format!("{rest} {}", file.id) },
        None => file.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_lists_is_read_exactly() {
        let id = "d00491fd7e5bb6fa28c517a0bb32b8b506539d4d";
        let text = format!(
            "? in/\0? new\0H 100644 {id} 0\ta\tb\0S 160000 {id} 0\tlib\0M 100644 {id} 1\tx\0M 100644 {id} 2\tx\0"
        );
        let listing = listed(&text).unwrap();
        assert_eq!(listing.modules, ["lib"]);
        assert_eq!(listing.index.into_keys().collect::<Vec<_>>(), ["a\tb", "lib", "x"]);
        assert_eq!(listing.new.into_iter().collect::<Vec<_>>(), ["new"]);
        assert!(listed("H 100644\0").is_err());
        assert!(listed(&format!("H 040000 {id} 0\ta\0")).is_err());
    }
}
