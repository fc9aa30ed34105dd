//! What the working tree holds, file by file, as a build would find it.
//!
//! Contents that git knows are not read again: the index names them. What is
//! changed, new or ignored is hashed as it lies there, which is git's own id
//! unless git converts it, so that committing what was built changes nothing.
//! What no index holds matters to a build too: it sees permissions, folders and
//! the files of submodules. Where nobody can tell, that is a doubt, and a doubt
//! means a build.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::thread;

use crate::ctx::Ctx;
use crate::exec::git::git;
use crate::exec::run;
use crate::fault;
use crate::model::fingerprint::File;

/// Of a symbolic link and of a submodule, as git writes their modes.
const LINK: &str = "120000";
const SUBMODULE: &str = "160000";

/// Leaves only files that git may convert on their way to or from the tree, by
/// attributes: what the index has of them is not what a build reads.
const CONVERTED: &str = ":(exclude,attr:!text !eol !crlf !ident !filter !working-tree-encoding)";

/// What git says of the tree.
#[derive(Debug, Default)]
struct Listing {
    /// As the index has it, by path.
    tracked: BTreeMap<String, File>,
    /// In the index, and otherwise in the tree.
    changed: BTreeSet<String>,
    /// Not in the index.
    new: BTreeSet<String>,
}

/// The files below the root: those of the index, those that are not ignored,
/// and all those, folders ending in `/` among them, that a build can see.
/// `holds` says whether the build context has a file or a folder, and of
/// `FOLDER/` whether it may have anything below. `Err` is why nobody knows.
pub fn files(ctx: &Ctx, holds: impl Fn(&str) -> bool) -> Result<Vec<File>, String> {
    let Listing { mut tracked, changed, new } = listing(ctx)?;
    let mut paths: BTreeSet<String> = tracked.keys().cloned().chain(new).collect();
    walk(ctx, "", &holds, &mut paths)?;
    let modules: Vec<String> =
        tracked.values().filter(|file| file.mode == SUBMODULE).map(|file| file.path.clone()).collect();
    let (mut files, mut unknown) = (Vec::new(), Vec::new());
    for path in paths {
        let Ok(metadata) = ctx.root.join(&path).symlink_metadata() else { continue };
        let id = tracked.remove(&path).filter(|_| !changed.contains(&path));
        let mode = format!("{:o}", metadata.permissions().mode());
        if metadata.is_symlink() {
            let target = ctx.root.join(&path).read_link_utf8().map_err(|error| format!("{path}: {error}"))?;
            files.push(File { path, mode: LINK.into(), id: format!("-> {target}") });
        } else if metadata.is_dir() {
            // A file's path that is a folder now: what is in it is listed.
            let module = id.filter(|file| file.mode == SUBMODULE);
            files.extend(module.or_else(|| path.ends_with('/').then(|| File { path, mode, id: String::new() })));
        } else if !metadata.is_file() {
            return Err(format!("{path} is neither a file nor a link"));
        } else if let Some(File { id, .. }) = id {
            files.push(File { path, mode, id });
        } else {
            unknown.push(File { path, mode, id: String::new() });
        }
    }
    files.extend(hash(ctx, unknown)?);
    Ok(files.into_iter().map(|file| of_module(file, &modules)).collect())
}

/// Every file and folder with the time of its last change, its inode and its
/// size. Two moments are equal: nothing was touched in between.
pub type Moment = Vec<(String, (i64, i64), u64, u64)>;

/// All that a build can see, as it lies there: a look at each file, where
/// [`files`] needs git's answers as well.
pub fn moment(ctx: &Ctx, holds: impl Fn(&str) -> bool) -> Result<Moment, String> {
    let mut paths = BTreeSet::new();
    walk(ctx, "", &holds, &mut paths)?;
    let moment = |path: String| {
        let it = ctx.root.join(&path).symlink_metadata().map_err(|error| format!("{path}: {error}"))?;
        Ok((path, (it.ctime(), it.ctime_nsec()), it.ino(), it.size()))
    };
    paths.into_iter().map(moment).collect()
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

fn listing(ctx: &Ctx) -> Result<Listing, String> {
    let asks = &git(ctx);
    let (answers, line_ends) = thread::scope(|scope| {
        let asked = [
            &["ls-files", "-v", "--stage", "-z"][..],
            &["ls-files", "-z", "--", ".", CONVERTED],
            // Whatever is configured, submodules are looked into.
            &[
                "status",
                "--porcelain=v2",
                "-z",
                "--no-renames",
                "--untracked-files=all",
                "--ignore-submodules=none",
                ".",
            ],
            &["rev-parse", "--show-prefix"],
        ]
        .map(|args| {
            let step = asks.look(args);
            scope.spawn(move || run::bytes(ctx, &step))
        });
        let line_ends = run::probe(ctx, &asks.look(&["config", "--get", "core.autocrlf"]));
        (asked.map(thread::ScopedJoinHandle::join), line_ends)
    });
    let [index, converted, status, prefix] = answers.map(|answer| {
        let bytes = answer.map_err(|_| "a question to git ended in a panic")?.map_err(why)?;
        String::from_utf8(bytes).map_err(|_| "a file's name is not UTF-8".to_owned())
    });
    let mut listing = Listing::default();
    read_index(&index?, &mut listing)?;
    match line_ends.as_deref() {
        None | Some("false" | "no" | "off" | "0") => {
            listing.changed.extend(converted?.split_terminator('\0').map(str::to_owned));
        }
        Some(_) => listing.changed.extend(listing.tracked.keys().cloned()),
    }
    read_status(&status?, prefix?.trim_end_matches('\n'), &mut listing)?;
    Ok(listing)
}

/// Git's last words, or that there is no git.
fn why(error: anyhow::Error) -> String {
    match fault::said(&error).lines().find(|line| !line.is_empty()) {
        Some(line) => line.trim_start_matches("fatal: ").to_owned(),
        None => format!("{error:#}"),
    }
}

/// `TAG MODE ID STAGE⇥PATH`, paths from the root.
fn read_index(text: &str, listing: &mut Listing) -> Result<(), String> {
    for entry in text.split_terminator('\0') {
        let odd = || format!("`git ls-files` says {entry:?}");
        let (words, path) = entry.split_once('\t').ok_or_else(odd)?;
        let [tag, mode, id, _stage] = words.split(' ').collect::<Vec<_>>()[..] else { return Err(odd()) };
        // Git was told not to look (assume-unchanged, skip-worktree): then we do.
        if tag != "H" {
            listing.changed.insert(path.to_owned());
        }
        let file = File { path: path.to_owned(), mode: mode.to_owned(), id: id.to_owned() };
        listing.tracked.insert(path.to_owned(), file);
    }
    Ok(())
}

/// `KIND FIELDS… PATH`, paths from the top of the repository.
fn read_status(text: &str, prefix: &str, listing: &mut Listing) -> Result<(), String> {
    for entry in text.split_terminator('\0') {
        let odd = || format!("`git status` says {entry:?}");
        let count = match entry.as_bytes().first() {
            Some(b'#') => continue, // of branch or stash, as configured
            Some(b'1') => 9,
            Some(b'u') => 11,
            Some(b'?') => 2,
            _ => return Err(odd()),
        };
        let words: Vec<&str> = entry.splitn(count, ' ').collect();
        let Some(path) = words.get(count - 1).ok_or_else(odd)?.strip_prefix(prefix) else { continue };
        match words[0] {
            // A repository of its own; what a build sees of it is walked.
            "?" if path.ends_with('/') => {}
            "?" => _ = listing.new.insert(path.to_owned()),
            // The second letter tells the tree from the index.
            "1" if words[1].ends_with('.') => {}
            _ if words[2].starts_with('S') => return Err(format!("the submodule {path} has changes")),
            "1" if words[1].ends_with('D') => _ = listing.tracked.remove(path),
            _ => _ = listing.changed.insert(path.to_owned()),
        }
    }
    Ok(())
}

/// Adds all that the context holds below a folder, and the folders themselves:
/// those that it holds, and those on the way to what it holds.
fn walk(ctx: &Ctx, dir: &str, holds: &impl Fn(&str) -> bool, found: &mut BTreeSet<String>) -> Result<bool, String> {
    let unreadable = |error: std::io::Error| format!("./{dir}: {error}");
    let mut any = false;
    for entry in ctx.root.join(dir).read_dir_utf8().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let mut path = format!("{dir}{}", entry.file_name());
        let mut held = holds(&path);
        if entry.file_type().map_err(unreadable)?.is_dir() {
            path.push('/');
            // Git's own folder changes with every command: whether it matters
            // is for others to say.
            if entry.file_name() != ".git" && holds(&path) {
                held |= walk(ctx, &path, holds, found)?;
            }
        }
        any |= held;
        found.extend(held.then_some(path));
    }
    Ok(any)
}

/// A file of a submodule goes by the submodule's path: that is what filters know.
fn of_module(file: File, modules: &[String]) -> File {
    let below = |module: &String| Some((module.clone(), file.path.strip_prefix(module)?.strip_prefix('/')?.to_owned()));
    match modules.iter().find_map(below) {
        Some((path, rest)) => File { path, mode: file.mode, id: format!("{rest} {}", file.id) },
        None => file,
    }
}

/// Gives each file git's own id for what is in it, as it is.
fn hash(ctx: &Ctx, files: Vec<File>) -> Result<Vec<File>, String> {
    // Paths of the list are from git's own top, so they are whole; one a line,
    // and what can't stand in a line is an argument.
    let root = ctx.root.canonicalize_utf8().map_err(|error| format!("{}: {error}", ctx.root))?;
    let paths = |files: &[File]| -> Vec<String> { files.iter().map(|file| root.join(&file.path).into()).collect() };
    let odd = |file: &File| root.as_str().contains('\n') || file.path.contains('\n') || file.path.ends_with('\r');
    let (odd, plain): (Vec<_>, Vec<_>) = files.into_iter().partition(odd);
    let git = |last: &str| git(ctx).look(&["hash-object", "--no-filters", last]);
    let list: String = paths(&plain).iter().map(|path| format!("{path}\n")).collect();
    let names = paths(&odd);
    let mut hashed = Vec::new();
    for (files, step) in [(plain, git("--stdin-paths").stdin(list)), (odd, git("--").args(names))] {
        if files.is_empty() {
            continue;
        }
        let ids = run::read(ctx, &step).map_err(why)?;
        if ids.lines().count() != files.len() {
            return Err("`git hash-object` did not answer for each file".into());
        }
        hashed.extend(files.into_iter().zip(ids.lines()).map(|(file, id)| File { id: id.to_owned(), ..file }));
    }
    Ok(hashed)
}
