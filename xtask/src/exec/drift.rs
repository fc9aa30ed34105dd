//! Finds the files that differ from a fresh checkout of git's index.
//!
//! We ask git what the index holds, and read the tree ourselves. Git's own
//! comparison does not count, because times, `assume-unchanged` and
//! `core.fileMode` can hide a change. We run no program that the checkout
//! configures. So we can't tell what a filter makes of a file, and the file
//! counts as changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::git::{git, why};
use crate::exec::worktree::{self, LINK, Listing, SUBMODULE, WorkTree};
use crate::exec::{contents, files, revision, run};
use crate::model::doubt::Doubt;
use crate::model::fingerprint::File;

/// Selects the files that git converts at checkout, whatever line ends are
/// configured.
const CONVERTED: &str = ":(exclude,attr:!eol !ident !filter !working-tree-encoding)";
/// Selects the files that a program converts at checkout.
const FILTERED: &str = ":(exclude,attr:!filter)";

/// The files that differ from git's index.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Tracked files that differ, and new files.
    pub listed: BTreeSet<String>,
    /// Paths that a build sees and git does not list: ignored files, nested
    /// repositories, and folders (ending in `/`) that are empty or unreadable.
    pub seen: BTreeSet<String>,
}

impl Drift {
    /// Finds all differences.
    pub fn of(ctx: &Ctx, tree: &WorkTree) -> Result<Self, Doubt> {
        let modules = &tree.listing.modules;
        let is_of_module = |path: &str| modules.iter().find(|module| is_below(path, module));
        let mut drift = between(ctx, &tree.lying, &tree.listing, |path| is_of_module(path).is_none(), true)?;
        for module in modules {
            if is_module_changed(ctx, tree, module)? {
                drift.listed.insert(module.clone());
            }
        }
        drift.listed.extend(tree.listing.new.iter().cloned());
        Ok(drift)
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a submodule is at another commit than the index says, or has other
/// contents.
fn is_module_changed(ctx: &Ctx, tree: &WorkTree, module: &str) -> Result<bool, Doubt> {
    let head = worktree::head(ctx, module);
    if tree.listing.index.get(module).is_none_or(|(_, id)| *id != head) {
        return Ok(true);
    }
    let at = Ctx { root: ctx.root.join(module), ..ctx.clone() };
    let listing = worktree::listing(&at)?;
    if !revision::is_staged(&at, "HEAD")? || !listing.new.is_empty() || !listing.modules.is_empty() {
        return Ok(true);
    }
    let own = |file: &File| {
        let path = file.path.strip_prefix(module)?.strip_prefix('/')?.to_owned();
        (!path.is_empty()).then(|| File { path, ..file.clone() })
    };
    let lying: Vec<File> = tree.lying.iter().filter_map(own).collect();
    let drift = between(&at, &lying, &listing, |path| path != ".git", false)?;
    Ok(drift != Drift::default())
}

/// Compares files with the index. It checks only the paths that `counts`
/// accepts. If `all` is set, a tracked file that is not in `lying` is deleted.
fn between(
    ctx: &Ctx,
    lying: &[File],
    listing: &Listing,
    counts: impl Fn(&str) -> bool,
    all: bool,
) -> Result<Drift, Doubt> {
    let mut drift = Drift::default();
    let (plain, executable, folder) = modes(umask());
    let converted = Converted::look(ctx, listing)?;
    let made = converted.as_checked_out(ctx, listing)?;
    let (mut links, mut gone) = (Vec::new(), Vec::new());
    // Both lists are sorted by path. If they were not, we would only find too
    // many differences.
    let mut index = listing.index.iter().peekable();
    for File { path, mode, id } in lying.iter().filter(|file| counts(&file.path)) {
        if path.ends_with('/') {
            let is_git = path == ".git/" || path.ends_with("/.git/");
            let is_as_made = *mode == folder && is_folder(listing, path);
            drift.seen.extend((!is_as_made && !is_git).then(|| path.clone()));
            continue;
        }
        while let Some(passed) = index.next_if(|(tracked, _)| *tracked < path) {
            gone.push(passed);
        }
        let Some((_, (wanted, blob))) = index.next_if(|(tracked, _)| *tracked == path) else {
            drift.seen.extend((!listing.new.contains(path)).then(|| path.clone()));
            continue;
        };
        let same = match *wanted {
            LINK if mode == LINK => {
                links.push((path, blob, id));
                true
            }
            "100644" => *mode == plain && !converted.is_unclear(path) && id == made.get(path).unwrap_or(blob),
            "100755" => *mode == executable && !converted.is_unclear(path) && id == made.get(path).unwrap_or(blob),
            _ => false,
        };
        drift.listed.extend((!same).then(|| path.clone()));
    }
    let is_gone = |path: &str| counts(path) && (all || !is_there(ctx, path));
    let gone = gone.into_iter().chain(index).filter(|(path, (mode, _))| *mode != SUBMODULE && is_gone(path));
    drift.listed.extend(gone.map(|(path, _)| path.clone()));
    drift.listed.extend(retargeted(ctx, &links)?);
    Ok(drift)
}

/// Whether git tracks a file in this folder. The path ends in `/`.
fn is_folder(listing: &Listing, path: &str) -> bool {
    let mut rest = listing.index.range::<str, _>((Bound::Included(path), Bound::Unbounded));
    rest.next().is_some_and(|(tracked, _)| tracked.starts_with(path))
}

fn is_there(ctx: &Ctx, path: &str) -> bool {
    ctx.root.join(path).symlink_metadata().is_ok()
}

/// The modes that git gives to a new file, a new executable and a new folder.
fn modes(umask: u32) -> (String, String, String) {
    let mode = |kind: u32, bits: u32| format!("{:o}", kind | bits & !umask);
    (mode(0o100_000, 0o666), mode(0o100_000, 0o777), mode(0o040_000, 0o777))
}

fn umask() -> u32 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|bits| u32::from_str_radix(bits.trim(), 8).ok()).unwrap_or(0o022)
}

/// The links whose target differs from the one in git.
fn retargeted(ctx: &Ctx, links: &[(&String, &String, &String)]) -> Result<Vec<String>, Doubt> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let asked: String = links.iter().map(|(_, blob, _)| format!("{blob}\n")).collect();
    let answer = run::bytes(ctx, &git(ctx).look(&["cat-file", "--batch"]).stdin(asked)).map_err(why)?;
    let (mut rest, mut changed) = (&answer[..], Vec::new());
    for (path, _, lies) in links {
        let target = revision::blob(&mut rest).ok_or("`git cat-file` did not answer for each link")?;
        changed.extend((format!("-> {}", String::from_utf8_lossy(target)) != **lies).then(|| (*path).clone()));
    }
    Ok(changed)
}

/// The files that git converts at checkout.
#[derive(Default)]
struct Converted {
    files: BTreeSet<String>,
    filtered: BTreeSet<String>,
}

impl Converted {
    fn look(ctx: &Ctx, listing: &Listing) -> Result<Self, Doubt> {
        let git = git(ctx);
        let list = |pathspec: &str| -> Result<BTreeSet<String>, Doubt> {
            let bytes = run::bytes(ctx, &git.look(&["ls-files", "-z", "--", ".", pathspec])).map_err(why)?;
            let text = String::from_utf8(bytes).map_err(|_| "a file's name is not UTF-8".to_owned())?;
            Ok(text.split_terminator('\0').map(str::to_owned).collect())
        };
        let settings = run::probe(ctx, &git.look(&["config", "--get-regexp", "^core\\.(autocrlf|eol)$"]));
        let by_rule = settings.unwrap_or_default().lines().any(|line| {
            let (key, value) = line.split_once(' ').unwrap_or((line, "true"));
            let is_off = ["false", "no", "off", "0", "input"].contains(&value.to_lowercase().as_str());
            if key == "core.eol" { value.to_lowercase() == "crlf" } else { !is_off }
        });
        let files = if by_rule { listing.index.keys().cloned().collect() } else { list(CONVERTED)? };
        // Filtered files are a part of the converted files.
        let filtered = if files.is_empty() { BTreeSet::new() } else { list(FILTERED)? };
        Ok(Self { files, filtered })
    }

    /// Whether only a program of the checkout could tell what git would write.
    fn is_unclear(&self, path: &str) -> bool {
        self.filtered.contains(path)
    }

    /// The ids of the other converted files after a checkout into our own
    /// folder.
    fn as_checked_out(&self, ctx: &Ctx, listing: &Listing) -> Result<BTreeMap<String, String>, Doubt> {
        let is_file = |path: &&String| listing.index.get(*path).is_some_and(|(mode, _)| mode.starts_with("100"));
        let paths: Vec<&String> = self.files.difference(&self.filtered).filter(is_file).collect();
        if paths.is_empty() {
            return Ok(BTreeMap::new());
        }
        let failed = |error: anyhow::Error| format!("{error:#}");
        let folder = files::Temporary::new("checkout").map_err(failed)?;
        let git = git(ctx);
        let to = format!("--prefix={}/", folder.path());
        let list: String = paths.iter().map(|path| format!("{path}\0")).collect();
        let step = git.look(&["checkout-index", "--quiet", "--force", &to, "-z", "--stdin"]).stdin(list);
        run::bytes(ctx, &step).map_err(why)?;
        // Git resolves these paths from the top of its repository.
        let up = git.top().map_or(0, |top| top.split('/').filter(|part| *part == "..").count());
        let below: Vec<&str> = ctx.root.components().rev().take(up).map(|part| part.as_str()).collect();
        let root = below.iter().rev().fold(folder.path().to_owned(), |dir, part| dir.join(part));
        let at = Ctx { root, ..ctx.clone() };
        let is_made = |path: &&&String| Utf8Path::new(&at.root).join(path.as_str()).is_file();
        let made: Vec<&str> = paths.iter().filter(is_made).map(|path| path.as_str()).collect();
        let ids = contents::hash(&at, &made)?;
        Ok(ids.into_iter().map(|(path, id)| (path.to_owned(), id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_makes_files_and_folders_as_the_mask_lets_it() {
        let told = |umask| {
            let (plain, executable, folder) = modes(umask);
            format!("{plain} {executable} {folder}")
        };
        assert_eq!(told(0o022), "100644 100755 40755");
        assert_eq!(told(0o002), "100664 100775 40775");
        assert_eq!(told(0o077), "100600 100700 40700");
    }
}
