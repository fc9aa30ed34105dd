//! What the files of a tree hold: read once, by git's own hash, and remembered
//! as long as the kernel says that nothing about a file has changed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::file_stats::{WalkedFile, stat};
use crate::exec::files::trust;
use crate::exec::git::{git, why};
use crate::exec::{checkout, clock, files, run};
use crate::model::content_cache::{self, ContentCache};
use crate::model::doubt::Doubt;

/// No record of ours is larger: what does not fit is read again.
const RECORD: usize = 64 << 20;

/// The id of what each regular file holds, and the mode of each folder.
pub fn ids(ctx: &Ctx, all: &[WalkedFile<'_>]) -> Result<Vec<Option<String>>, Doubt> {
    let began = clock::now();
    let file = record(ctx);
    let bytes = file.as_deref().and_then(read_record).unwrap_or_default();
    let (mut known, mut ids, mut unknown) = (ContentCache::of(&bytes), Vec::with_capacity(all.len()), Vec::new());
    let mut is_new = false;
    for (at, WalkedFile { path, stat, .. }) in all.iter().enumerate() {
        let (is_file, is_folder) = (stat.mode & 0o170_000 == 0o100_000, path.ends_with('/'));
        let id = if is_file || is_folder { known.id(path, stat, &mut Vec::new()).map(str::to_owned) } else { None };
        is_new |= (is_file || is_folder) && id.is_none();
        if is_file && id.is_none() {
            unknown.push((at, known.as_buildkit_sees_it(stat)));
        }
        let mode = || content_cache::marked(&format!("{:o}", stat.mode), known.as_buildkit_sees_it(stat));
        ids.push(id.or_else(|| is_folder.then(mode)));
    }
    if !is_new {
        return Ok(ids);
    }
    let paths: Vec<&str> = unknown.iter().map(|(at, _)| all[*at].path).collect();
    let hashed: BTreeMap<&str, String> = hash(ctx, &paths)?.into_iter().collect();
    for (at, seen) in unknown {
        let WalkedFile { path, stat: before, .. } = &all[at];
        let after = ctx.root.join(path).symlink_metadata().map_err(|error| format!("{path}: {error}"))?;
        if stat(&after) != *before {
            return Err(format!("{path} changed while it was read").into());
        }
        ids[at] = hashed.get(path).map(|id| content_cache::marked(id, seen));
    }
    if let Some(file) = file.filter(|_| !ctx.dry_run) {
        remember(&file, &bytes, all, &ids, began);
    }
    Ok(ids)
}

/// Writes a new record; where that fails, files are read again.
fn remember(file: &Utf8Path, old: &[u8], all: &[WalkedFile<'_>], ids: &[Option<String>], began: Duration) {
    let (mut known, mut record) = (ContentCache::of(old), content_cache::begin());
    for (WalkedFile { path, stat, .. }, id) in all.iter().zip(ids) {
        if let Some(id) = id {
            // What lies before it in the old record is another service's.
            known.id(path, stat, &mut record);
            content_cache::add(&mut record, path, stat, id, began);
        }
    }
    known.end(&mut record);
    match record.len() {
        // Too many that are gone, or of another service: begin anew.
        RECORD.. if !old.is_empty() => remember(file, &[], all, ids, began),
        RECORD.. => {}
        _ if record != old => _ = files::write(file, record),
        _ => {}
    }
}

/// Where it is remembered what the files of this checkout held: outside of it.
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

/// Gives each file git's own id for what is in it, as it is.
pub fn hash<'p>(ctx: &Ctx, files: &[&'p str]) -> Result<Vec<(&'p str, String)>, Doubt> {
    // Paths of the list are from git's own top, so they are whole; one a line,
    // and what can't stand in a line is an argument.
    let root = ctx.root.canonicalize_utf8().map_err(|error| format!("{}: {error}", ctx.root))?;
    let paths = |files: &[&str]| -> Vec<String> { files.iter().map(|path| root.join(path).into()).collect() };
    let is_odd = |path: &&str| root.as_str().contains('\n') || path.contains('\n') || path.ends_with('\r');
    let (odd, plain): (Vec<&str>, Vec<&str>) = files.iter().partition(|path| is_odd(path));
    let git = |last: &str| git(ctx).look(&["hash-object", "--no-filters", last]);
    let list: String = paths(&plain).iter().map(|path| format!("{path}\n")).collect();
    let mut steps = vec![(plain, git("--stdin-paths").stdin(list))];
    // As many as a command line takes.
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
