//! What the working tree holds, file by file, as git would record it.
//!
//! Contents that git knows are not read again: the index names them. What is
//! changed, new or ignored is hashed as git would, so that committing what was
//! built changes nothing. Where git can't tell, nobody can: that is a doubt,
//! and a doubt means a build.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::run;
use crate::model::fingerprint::File;
use crate::plan::step::Step;

/// What git says of the tree.
#[derive(Debug, Default)]
struct Listing {
    /// As the index has it, by path.
    tracked: BTreeMap<String, File>,
    /// In the index, and otherwise in the tree.
    changed: BTreeSet<String>,
    /// Not in the index.
    new: BTreeSet<String>,
    /// Not in the index and not to be; folders end in `/`.
    ignored: BTreeSet<String>,
}

/// The files below the root; `counts` says which of those that git ignores
/// matter, and of which folders the contents may. `Err` is why nobody knows.
pub fn files(ctx: &Ctx, counts: impl Fn(&str) -> bool) -> Result<Vec<File>, String> {
    let Listing { mut tracked, changed, mut new, ignored } = listing(ctx)?;
    for path in ignored {
        collect(ctx, &path, &counts, &mut new)?;
    }
    let mut plain = Vec::new();
    for path in changed.into_iter().chain(new) {
        let Ok(metadata) = ctx.root.join(&path).symlink_metadata() else {
            tracked.remove(&path);
            continue;
        };
        if metadata.is_symlink() {
            let target = ctx.root.join(&path).read_link_utf8().map_err(|error| format!("{path}: {error}"))?;
            tracked.insert(path.clone(), File { path, mode: "120000".into(), id: format!("-> {target}") });
        } else if metadata.is_file() {
            let mode = if metadata.permissions().mode() & 0o111 == 0 { "100644" } else { "100755" };
            plain.push(File { path, mode: mode.into(), id: String::new() });
        } else {
            return Err(format!("{path} is neither a file nor a link"));
        }
    }
    let hashed = hash(ctx, plain)?;
    tracked.extend(hashed.into_iter().map(|file| (file.path.clone(), file)));
    Ok(tracked.into_values().collect())
}

/// The paths that git tracks, from the root.
pub fn tracked(ctx: &Ctx) -> Result<Vec<String>, String> {
    let bytes = run::bytes(ctx, &Step::new("git").args(["ls-files", "-z"])).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8_lossy(&bytes).split_terminator('\0').map(str::to_owned).collect())
}

/// Where the links among these files lead, as they say it.
pub fn links(ctx: &Ctx, files: &[File]) -> Vec<(String, String)> {
    let links = files.iter().filter(|file| file.mode == "120000");
    links
        .filter_map(|file| Some((file.path.clone(), ctx.root.join(&file.path).read_link_utf8().ok()?.into())))
        .collect()
}

fn listing(ctx: &Ctx) -> Result<Listing, String> {
    let answers = thread::scope(|scope| {
        let asked = [
            "ls-files -v --stage -z",
            "status --porcelain=v2 -z --no-renames --untracked-files=all --ignored=matching -- .",
            "rev-parse --show-prefix",
        ]
        .map(|args| scope.spawn(move || run::bytes(ctx, &Step::new("git").args(args.split(' ')))));
        asked.map(thread::ScopedJoinHandle::join)
    });
    let [index, status, prefix] = answers.map(|answer| {
        let bytes = answer.map_err(|_| "a question to git ended in a panic")?.map_err(|error| format!("{error:#}"))?;
        String::from_utf8(bytes).map_err(|_| "a file's name is not UTF-8".to_owned())
    });
    let mut listing = Listing::default();
    read_index(&index?, &mut listing)?;
    read_status(&status?, prefix?.trim_end_matches('\n'), &mut listing)?;
    Ok(listing)
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
            Some(b'1') => 9,
            Some(b'u') => 11,
            Some(b'?' | b'!') => 2,
            _ => return Err(odd()),
        };
        let words: Vec<&str> = entry.splitn(count, ' ').collect();
        let Some(path) = words.get(count - 1).ok_or_else(odd)?.strip_prefix(prefix) else { continue };
        match words[0] {
            "?" if path.ends_with('/') => return Err(format!("{path} is a repository of its own")),
            "?" => _ = listing.new.insert(path.to_owned()),
            "!" => _ = listing.ignored.insert(path.to_owned()),
            _ if words[2].starts_with('S') => return Err(format!("the submodule {path} has changes")),
            // The second letter tells the tree from the index.
            "1" if words[1].ends_with('.') => {}
            _ => _ = listing.changed.insert(path.to_owned()),
        }
    }
    Ok(())
}

/// Adds an ignored file, or those of an ignored folder, that count.
fn collect(ctx: &Ctx, path: &str, counts: &impl Fn(&str) -> bool, found: &mut BTreeSet<String>) -> Result<(), String> {
    if !counts(path) {
        return Ok(());
    }
    let Some(dir) = path.strip_suffix('/') else {
        found.insert(path.to_owned());
        return Ok(());
    };
    let unreadable = |error: std::io::Error| format!("{dir}: {error}");
    for entry in ctx.root.join(Utf8Path::new(dir)).read_dir_utf8().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let end = if entry.file_type().map_err(unreadable)?.is_dir() { "/" } else { "" };
        collect(ctx, &format!("{dir}/{}{end}", entry.file_name()), counts, found)?;
    }
    Ok(())
}

/// Gives each file git's own id for its contents.
fn hash(ctx: &Ctx, files: Vec<File>) -> Result<Vec<File>, String> {
    // The list has a path a line; a name with a newline in it is an argument.
    let (odd, plain): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.path.contains('\n'));
    let git = |args: [&str; 2]| Step::new("git").args(args);
    let list: String = plain.iter().map(|file| format!("{}\n", file.path)).collect();
    let names: Vec<String> = odd.iter().map(|file| file.path.clone()).collect();
    let mut hashed = Vec::new();
    for (files, step) in
        [(plain, git(["hash-object", "--stdin-paths"]).stdin(list)), (odd, git(["hash-object", "--"]).args(names))]
    {
        if files.is_empty() {
            continue;
        }
        let ids = run::read(ctx, &step).map_err(|error| format!("{error:#}"))?;
        if ids.lines().count() != files.len() {
            return Err("`git hash-object` did not answer for each file".into());
        }
        hashed.extend(files.into_iter().zip(ids.lines()).map(|(file, id)| File { id: id.to_owned(), ..file }));
    }
    Ok(hashed)
}
