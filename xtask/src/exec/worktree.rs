//! What the working tree holds, file by file, as a build would find it.
//!
//! Git says which paths there are, and nothing else: what it calls unchanged
//! was perhaps checked out under other rules, or is a file that it was told not
//! to look at. What a file holds is read here, and remembered as long as the
//! kernel says that nothing about the file has changed. Where nobody can tell,
//! that is a doubt, and a doubt means a build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::Duration;

use crate::ctx::Ctx;
use crate::exec::git::git;
use crate::exec::{clock, contents, run};
use crate::fault;
use crate::model::fingerprint::File;
use crate::model::remembered::{self, Stat};

/// Of a symbolic link and of a submodule, as git writes their modes.
pub(super) const LINK: &str = "120000";
pub(super) const SUBMODULE: &str = "160000";

/// All that was looked at, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The files below the root, in the order of their paths: those that git
    /// tracks, those that it does not ignore, and all those, folders ending in
    /// `/` among them, that a build can see. Each goes by its own name.
    pub lying: Vec<File>,
    /// When each of them was last touched.
    pub moment: Moment,
    /// What git lists.
    pub listing: Listing,
    /// The submodules, with their commits.
    modules: Vec<File>,
    /// Files that changed and look to BuildKit as they did.
    pub unseen: Vec<String>,
}

impl Tree {
    /// The same files as filters know them, those of a submodule by its path;
    /// and when they were touched.
    pub fn into_files(self) -> (Vec<File>, Moment) {
        let Self { lying, moment, modules, .. } = self;
        if modules.is_empty() {
            return (lying, moment);
        }
        let mut files: Vec<File> = lying.iter().map(|file| of_module(file, &modules)).collect();
        files.extend(modules);
        (files, moment)
    }
}

/// Every file and folder that a build can see, and the folders that were looked
/// into for them, with what the kernel says of it. Two moments are equal:
/// nothing was touched in between.
pub type Moment = Vec<(String, Stat)>;

/// What git lists, from the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is in the index: mode and id by path, one of several where a merge
    /// is not done.
    pub index: BTreeMap<String, (String, String)>,
    /// What is neither there nor ignored.
    pub new: BTreeSet<String>,
}

impl Listing {
    /// The paths of submodules.
    pub fn modules(&self) -> Vec<String> {
        self.index.iter().filter(|(_, (mode, _))| mode == SUBMODULE).map(|(path, _)| path.clone()).collect()
    }
}

/// Looks at the tree. `holds` says whether a build can see a file or a folder,
/// and of `FOLDER/` whether it may see anything below. `Err` is why nobody
/// knows.
pub fn look(ctx: &Ctx, holds: impl Fn(&str) -> bool) -> Result<Tree, String> {
    let (listing, seen) = thread::scope(|scope| {
        let listing = scope.spawn(|| listing(ctx));
        let seen = moment(ctx, &holds);
        (listing.join().map_err(|_| "a question to git ended in a panic".to_owned()), seen)
    });
    let (listing, moment) = (listing??, seen?);
    let all = all(ctx, &moment, &listing);
    settle(ctx, all.iter().chain(&moment))?;
    let ids = contents::ids(ctx, &all)?;
    let (mut lying, mut names) = (Vec::with_capacity(all.len()), BTreeMap::new());
    let (mut last, mut unseen) = ((0, String::new()), Vec::new());
    for ((path, stat), id) in all.iter().zip(ids) {
        if last.0 != stat.mode {
            last = (stat.mode, format!("{:o}", stat.mode));
        }
        let mode = last.1.clone();
        let kind = stat.mode & 0o170_000;
        if kind == 0o120_000 {
            let target = ctx.root.join(path).read_link_utf8().map_err(|error| format!("{path}: {error}"))?;
            lying.push(File { path: path.clone(), mode: LINK.into(), id: format!("-> {target}") });
        } else if kind == 0o040_000 {
            // A file's path that is a folder now: what is in it is listed.
            lying.extend(path.ends_with('/').then(|| File { path: path.clone(), mode, id: String::new() }));
        } else if kind != 0o100_000 {
            return Err(format!("{path} is neither a file nor a link"));
        } else {
            let id = id.ok_or_else(|| format!("{path} was not read"))?;
            let (id, is_unseen) = remembered::unmarked(&id);
            unseen.extend(is_unseen.then(|| path.clone()));
            let mut id = id.to_owned();
            if stat.names > 1 {
                // Of one file with two names an image has one file with two names.
                let first = names.entry((stat.dev, stat.ino)).or_insert(path);
                if *first != path {
                    id = format!("{id} = {first}");
                }
            }
            lying.push(File { path: path.clone(), mode, id });
        }
    }
    let module = |path: String| File { id: head(ctx, &path), mode: SUBMODULE.into(), path };
    let modules = listing.modules().into_iter().map(module).collect();
    Ok(Tree { lying, moment, listing, modules, unseen })
}

/// What a build can see and what git lists, in the order of their paths.
fn all(ctx: &Ctx, moment: &Moment, listing: &Listing) -> Moment {
    let mut all: Moment = moment.iter().filter(|(path, _)| holds_itself(path)).cloned().collect();
    let (seen, mut at, mut folders) = (all.len(), 0, BTreeMap::new());
    for path in listing.index.keys().chain(&listing.new) {
        // Both lists begin anew with what is new.
        if at > 0 && all[at - 1].0 >= *path {
            at = 0;
        }
        while at < seen && all[at].0 < *path {
            at += 1;
        }
        let is_seen = at < seen && all[at].0 == *path;
        if !is_seen
            && is_below_folders(ctx, path, &mut folders)
            && let Ok(metadata) = ctx.root.join(path).symlink_metadata()
        {
            all.push((path.clone(), stat(&metadata)));
        }
    }
    if all.len() > seen {
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }
    all
}

/// The files alone.
pub fn files(ctx: &Ctx, holds: impl Fn(&str) -> bool) -> Result<Vec<File>, String> {
    Ok(look(ctx, holds)?.into_files().0)
}

/// All that a build can see, as it lies there, without reading it.
pub fn moment(ctx: &Ctx, holds: impl Fn(&str) -> bool) -> Result<Moment, String> {
    let mut found = Vec::new();
    walk(ctx, "", &holds, &mut found)?;
    found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// What is not the same at another moment, for people; none: nothing.
pub fn touched(before: &Moment, after: &Moment) -> Option<String> {
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (
        before.iter().map(|(path, stat)| (path, stat)).collect(),
        after.iter().map(|(path, stat)| (path, stat)).collect(),
    );
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).copied().collect();
    let mut touched: Vec<&String> = paths.into_iter().filter(|path| old.get(path) != new.get(path)).collect();
    // A file says more than the folders that it is in.
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

/// A folder that was only looked into goes by `FOLDER//`.
fn holds_itself(path: &str) -> bool {
    !path.ends_with("//") && !path.is_empty()
}

/// Whether a path leads through folders alone: behind a link lies another file.
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

/// The paths that git tracks, from the root.
pub fn tracked(ctx: &Ctx) -> Result<Vec<String>, String> {
    let bytes = run::bytes(ctx, &git(ctx).look(&["ls-files", "-z"])).map_err(why)?;
    Ok(String::from_utf8_lossy(&bytes).split_terminator('\0').map(str::to_owned).collect())
}

/// Where the links among these files lead, as they say it.
pub fn links(ctx: &Ctx, files: &[File]) -> Vec<(String, String)> {
    let links = files.iter().filter(|file| file.mode == LINK);
    links
        .filter_map(|file| Some((file.path.clone(), ctx.root.join(&file.path).read_link_utf8().ok()?.into())))
        .collect()
}

/// The same of all that was looked at.
pub fn links_of(ctx: &Ctx, moment: &Moment) -> Vec<(String, String)> {
    let links = moment.iter().filter(|(_, stat)| stat.mode & 0o170_000 == 0o120_000);
    links.filter_map(|(path, _)| Some((path.clone(), ctx.root.join(path).read_link_utf8().ok()?.into()))).collect()
}

pub(super) fn listing(ctx: &Ctx) -> Result<Listing, String> {
    let step = git(ctx).look(&["ls-files", "-t", "--stage", "--others", "--exclude-standard", "-z"]);
    let bytes = run::bytes(ctx, &step).map_err(why)?;
    let text = String::from_utf8(bytes).map_err(|_| "a file's name is not UTF-8".to_owned())?;
    listed(&text)
}

/// `? PATH`, or `TAG MODE ID STAGE⇥PATH`; paths from the root.
fn listed(text: &str) -> Result<Listing, String> {
    // What is in order already makes a map at once.
    let (mut index, mut new) = (Vec::new(), Vec::new());
    for entry in text.split_terminator('\0') {
        match entry.strip_prefix("? ") {
            // A repository of its own; what a build sees of it is walked.
            Some(path) if path.ends_with('/') => {}
            Some(path) => new.push(path.to_owned()),
            None => {
                let odd = || format!("`git ls-files` says {entry:?}");
                let (words, path) = entry.split_once('\t').ok_or_else(odd)?;
                let (_tag, rest) = words.split_once(' ').ok_or_else(odd)?;
                let (mode, rest) = rest.split_once(' ').ok_or_else(odd)?;
                let (id, stage) = rest.split_once(' ').ok_or_else(odd)?;
                if stage.contains(' ') {
                    return Err(odd());
                }
                index.push((path.to_owned(), (mode.to_owned(), id.to_owned())));
            }
        }
    }
    Ok(Listing { index: index.into_iter().collect(), new: new.into_iter().collect() })
}

/// Git's last words, or that there is no git.
pub(super) fn why(error: anyhow::Error) -> String {
    match fault::said(&error).lines().find(|line| !line.is_empty()) {
        Some(line) => line.trim_start_matches("fatal: ").to_owned(),
        None => format!("{error:#}"),
    }
}

/// Adds all that the context holds below a folder, and the folders themselves:
/// those that it holds, those on the way to what it holds, and as `FOLDER//`
/// those that had nothing for it.
fn walk(ctx: &Ctx, dir: &str, holds: &impl Fn(&str) -> bool, found: &mut Moment) -> Result<bool, String> {
    let unreadable = |error: std::io::Error| format!("./{dir}: {error}");
    let at = ctx.root.join(dir);
    let mut any = false;
    let not_text = || format!("./{dir}: a file's name is not UTF-8");
    if dir.is_empty() {
        found.push((String::new(), stat(&at.symlink_metadata().map_err(unreadable)?)));
    }
    for entry in at.as_std_path().read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().into_string().map_err(|_| not_text())?;
        let mut path = String::with_capacity(dir.len() + name.len() + 2);
        path.push_str(dir);
        path.push_str(&name);
        let mut held = holds(&path);
        let is_dir = entry.file_type().map_err(unreadable)?.is_dir();
        let mut walked = false;
        if is_dir {
            path.push('/');
            // Git's own folder changes with every command: whether it matters
            // is for others to say.
            match holds(&path) {
                true if name == ".git" => held = true,
                true => {
                    walked = true;
                    held |= walk(ctx, &path, holds, found)?;
                }
                false => {}
            }
        }
        any |= held;
        if held || walked {
            // What is gone again was touched: the folder says so.
            let Ok(metadata) = entry.metadata() else { continue };
            if !held {
                path.push('/');
            }
            let stat = stat(&metadata);
            let of_git = is_dir && name == ".git";
            found.push((path, if of_git { Stat { mode: stat.mode, ..Stat::default() } } else { stat }));
        }
    }
    Ok(any)
}

pub(super) fn stat(metadata: &Metadata) -> Stat {
    Stat {
        mode: metadata.mode(),
        names: metadata.nlink(),
        dev: metadata.dev(),
        ino: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Waits until whatever is touched from now on has another time than now.
fn settle<'a>(ctx: &Ctx, all: impl Iterator<Item = &'a (String, Stat)>) -> Result<(), String> {
    let now = clock::now();
    let mut longest = Duration::ZERO;
    for (path, stat) in all {
        let wait = stat
            .settles_in(now)
            .ok_or_else(|| format!("{path} was changed at a time to come, by the clock of {}", ctx.root))?;
        longest = longest.max(wait);
    }
    thread::sleep(longest);
    Ok(())
}

/// The commit that lies in a submodule's folder; nothing where none does.
pub(super) fn head(ctx: &Ctx, module: &str) -> String {
    let dir = ctx.root.join(module);
    if dir.join(".git").symlink_metadata().is_err() {
        return String::new();
    }
    let at = Ctx { root: dir, ..ctx.clone() };
    run::probe(&at, &git(&at).look(&["rev-parse", "--verify", "--quiet", "HEAD"])).unwrap_or_default()
}

/// A file of a submodule goes by the submodule's path: that is what filters know.
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
        assert_eq!(listing.modules(), ["lib"]);
        assert_eq!(listing.index.into_keys().collect::<Vec<_>>(), ["a\tb", "lib", "x"]);
        assert_eq!(listing.new.into_iter().collect::<Vec<_>>(), ["new"]);
        assert!(listed("H 100644\0").is_err());
    }
}
