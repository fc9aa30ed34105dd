//! The texts of a tree: of a commit, as git has them, or as they lie here. Also
//! the commit that a comparison begins at.

use std::time::Duration;

use crate::ctx::Ctx;
use crate::exec::{git, input, run};
use crate::fault;

/// What is larger than this is no table, workflow or manifest.
const LIMIT: u64 = 1 << 20;

/// The text of a file as it lies here; none where it is not there. What lies
/// behind a link is not told by the changes of its path.
pub fn here(ctx: &Ctx, path: &str) -> Result<Option<String>, String> {
    let file = ctx.root.join(path);
    let found = match file.canonicalize_utf8() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.is_symlink() => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if found != ctx.root.canonicalize_utf8().map_err(|error| error.to_string())?.join(path) {
        return Err("it lies behind a symbolic link".into());
    }
    input::text(&file, LIMIT).map(Some).map_err(|error| error.to_string())
}

/// The text of a file in a commit; none where it has no such file. `fetch`: in a
/// clone without contents, git may get it.
pub fn at(ctx: &Ctx, commit: &str, path: &str, fetch: bool) -> Result<Option<String>, String> {
    let git = git::git(ctx);
    let why =
        |error: anyhow::Error| fault::said(&error).lines().next().map_or_else(|| error.to_string(), str::to_owned);
    let listed = run::bytes(ctx, &git.look(&["ls-tree", "-z", commit, "--", path])).map_err(why)?;
    let listed = String::from_utf8_lossy(&listed);
    // `100644 blob ID\tPATH`: what is no file is a folder, a link, a submodule.
    let Some((mode, rest)) = listed.split_once(" blob ") else {
        return if listed.is_empty() { Ok(None) } else { Err("it is no file there".into()) };
    };
    if mode == "120000" {
        return Err("it is a symbolic link there".into());
    }
    let blob = rest.split('\t').next().unwrap_or_default();
    let words = ["cat-file", "blob", blob];
    let shown = if fetch { git.contents(&words) } else { git.look(&words) }.within(Duration::from_secs(30));
    let bytes = run::bytes(ctx, &shown).map_err(why)?;
    if bytes.len() as u64 > LIMIT {
        return Err("it is larger than 1 MiB there".into());
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8 there".into())
}

/// The commit that two sides have in common, as `git diff A...B` takes it.
pub fn merge_base(ctx: &Ctx, one: &str, other: &str) -> Result<String, String> {
    let step = git::git(ctx).look(&["merge-base", one, other]);
    run::read(ctx, &step).map_err(|_| format!("`{one}` and `{other}` have no common ancestor here"))
}
