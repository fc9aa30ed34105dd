//! Reads the contents of a tree's files once, as git object ids. The ids stay
//! valid as long as the kernel reports no change of the file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::file_stats::{WalkedFile, stat};
use crate::exec::files::trust;
use crate::exec::git::{git, why};
use crate::exec::{checkout, clock, files, run};
use crate::model::content_cache::{self, Before, ContentCache, Copies, FileStat};
use crate::model::doubt::Doubt;

/// The maximum size of a record. We read the files again if their record would
/// be larger.
const RECORD: usize = 512 << 20;

/// The contents of a tree's files.
pub struct Contents {
    /// The git id of each regular file, and the mode of each folder.
    pub ids: Vec<Option<String>>,
    /// The key of BuildKit's copies. In copies under this key, BuildKit does not
    /// mistake an old file for one of these.
    pub copy: u64,
}

/// Looks up or reads the contents of the files.
pub fn contents(ctx: &Ctx, all: &[WalkedFile<'_>]) -> Result<Contents, Doubt> {
    let began = clock::now();
    let file = record(ctx);
    let bytes = file.as_deref().and_then(read_record).unwrap_or_default();
    let (mut known, mut ids, mut unknown) = (ContentCache::of(&bytes), Vec::with_capacity(all.len()), Vec::new());
    let (old, mut is_new) = (known.copies, false);
    let is_taken =
        |before: Before<'_>, stat: &FileStat, id: &str| old.is_some_and(|old| before.is_taken_for(&old, stat, id));
    let mut is_mistaken = false;
    for (at, WalkedFile { path, stat, .. }) in all.iter().enumerate() {
        let (is_file, is_folder) = (stat.mode & 0o170_000 == 0o100_000, path.ends_with('/'));
        let mut id = if is_file || is_folder { known.id(path, stat, &mut Vec::new()).map(str::to_owned) } else { None };
        is_new |= (is_file || is_folder) && id.is_none();
        if is_file && id.is_none() {
            unknown.push((at, known.before()));
        } else if is_folder && id.is_none() {
            let mode = format!("{:o}", stat.mode);
            is_mistaken |= is_taken(known.before(), stat, &mode);
            id = Some(mode);
        }
        ids.push(id);
    }
    if let Some(old) = old.filter(|_| !is_new) {
        return Ok(Contents { ids, copy: old.word });
    }
    let paths: Vec<&str> = unknown.iter().map(|(at, _)| all[*at].path).collect();
    let hashed: BTreeMap<&str, String> = hash(ctx, &paths)?.into_iter().collect();
    for (at, before) in unknown {
        let WalkedFile { path, stat: seen, .. } = &all[at];
        let after = ctx.root.join(path).symlink_metadata().map_err(|error| format!("{path}: {error}"))?;
        if stat(&after) != *seen {
            return Err(format!("{path} changed while it was read").into());
        }
        ids[at] = hashed.get(path).cloned();
        is_mistaken |= ids[at].as_ref().is_some_and(|id| is_taken(before, seen, id));
    }
    let copies = old.filter(|_| !is_mistaken);
    let written = file.filter(|_| !ctx.dry_run).and_then(|file| remember(ctx, &file, &bytes, copies, all, &ids, began));
    // Without a record, later runs can't compare, so this key is used only once.
    Ok(Contents { ids, copy: written.unwrap_or_else(files::random) })
}

/// Writes a new record. If that fails, the next run reads the files again.
/// Returns the key of the copies: the old key, if the old copies are still
/// valid.
fn remember(
    ctx: &Ctx,
    file: &Utf8Path,
    old: &[u8],
    copies: Option<Copies>,
    all: &[WalkedFile<'_>],
    ids: &[Option<String>],
    began: Duration,
) -> Option<u64> {
    let is_file = |found: &&WalkedFile<'_>| !found.path.ends_with('/');
    let with_all = |copies: Copies| all.iter().filter(is_file).fold(copies, |copies, found| copies.with(&found.stat));
    let none = || Copies::none(files::random());
    let made = |old: &[u8], copies: Copies| {
        let (mut known, mut record) = (ContentCache::of(old), content_cache::begin(copies));
        for (WalkedFile { path, stat, .. }, id) in all.iter().zip(ids) {
            if let Some(id) = id {
                // Earlier entries in the old record belong to other services.
                // Copy them.
                known.id(path, stat, &mut record);
                content_cache::add(&mut record, path, stat, id, began);
            }
        }
        known.end(&mut record);
        record
    };
    let mut copies = with_all(copies.unwrap_or_else(none));
    let mut record = made(old, copies);
    if record.len() >= RECORD {
        // The record has too many entries of deleted files or of other services.
        // Start an empty one.
        copies = with_all(none());
        record = made(&[], copies);
    }
    let is_kept = record.len() < RECORD && replace(ctx, file, |now| (now == old).then_some(record));
    is_kept.then_some(copies.word)
}

/// Call this after a build if a file changed during the build: BuildKit's copy
/// may hold contents that we have not seen.
pub fn forget_copies(ctx: &Ctx) {
    if let Some(file) = record(ctx) {
        replace(ctx, &file, |now| content_cache::renewed(now, files::random()));
    }
}

/// Replaces the record with the result of `new`, if there is one. Returns
/// whether it was replaced.
fn replace(ctx: &Ctx, file: &Utf8Path, new: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> bool {
    let lock = file.with_file_name("lock");
    let Ok(_lock) = files::lock(ctx, &lock, "another run records file contents") else { return false };
    let new = new(&read_record(file).unwrap_or_default());
    trust::is_record_ours(ctx, &lock) && new.is_some_and(|new| files::write(file, new).is_ok())
}

/// The record of this checkout's files. It is outside the checkout.
fn record(ctx: &Ctx) -> Option<Utf8PathBuf> {
    let file = ctx.cache_dir()?.join("xtask/files").join(checkout::identity(&ctx.root));
    let is_ours = file.is_absolute() && !file.starts_with(&ctx.root) && trust::is_record_ours(ctx, &file);
    is_ours.then_some(file)
}

fn read_record(file: &Utf8Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.exists().then_some(())?;
    files::open(file).ok()?.take(RECORD as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Computes git's id of each file from the bytes on disk.
pub fn hash<'p>(ctx: &Ctx, files: &[&'p str]) -> Result<Vec<(&'p str, String)>, Doubt> {
    // Git resolves the paths in the list from the top of its repository, so we
    // pass absolute paths, one per line. A path that doesn't fit in a line
    // becomes an argument.
    let root = ctx.root.canonicalize_utf8().map_err(|error| format!("{}: {error}", ctx.root))?;
    let paths = |files: &[&str]| -> Vec<String> { files.iter().map(|path| root.join(path).into()).collect() };
    let is_odd = |path: &&str| root.as_str().contains('\n') || path.contains('\n') || path.ends_with('\r');
    let (odd, plain): (Vec<&str>, Vec<&str>) = files.iter().partition(|path| is_odd(path));
    let git = |last: &str| git(ctx).look(&["hash-object", "--no-filters", last]);
    let list: String = paths(&plain).iter().map(|path| format!("{path}\n")).collect();
    let mut steps = vec![(plain, git("--stdin-paths").stdin(list))];
    // A command line has room for this many.
    steps.extend(odd.chunks(200).map(|some| (some.to_vec(), git("--").args(paths(some)))));
    let mut hashed = Vec::new();
    for (files, step) in steps.into_iter().filter(|(files, _)| !files.is_empty()) {
        let ids = run::read(ctx, &step.within(Duration::from_secs(600))).map_err(why)?;
        if ids.lines().count() != files.len() {
            return Err("`git hash-object` did not answer for each file".into());
        }
        hashed.extend(files.into_iter().zip(ids.lines().map(str::to_owned)));
    }
    Ok(hashed)
}
