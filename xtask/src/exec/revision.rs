//! The texts of a tree: of a commit from git, or of the working tree. Also finds
//! the merge base of a comparison.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ctx::Ctx;
use crate::exec::{git, input, run};
use crate::fault;
use crate::model::doubt::Doubt;

/// A larger file is not a table, a workflow or a manifest.
const LIMIT: u64 = 1 << 20;

/// The text of a file in the working tree; `None` if it does not exist. A file
/// behind a link is refused, because changes of its path do not tell about it.
pub fn here(ctx: &Ctx, path: &str) -> Result<Option<String>, Doubt> {
    let file = ctx.root.join(path);
    let found = match file.canonicalize_utf8() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.is_symlink() => return Ok(None),
        Err(error) => return Err(error.to_string().into()),
    };
    if found != ctx.root.canonicalize_utf8().map_err(|error| error.to_string())?.join(path) {
        return Err("it lies behind a symbolic link".into());
    }
    input::text(&file, LIMIT).map(Some).map_err(|error| error.to_string().into())
}

/// The text of a file in a commit; `None` if the commit has no such file. With
/// `fetch`, git may download it in a partial clone.
pub fn at(ctx: &Ctx, commit: &str, path: &str, fetch: bool) -> Result<Option<String>, Doubt> {
    let git = git::git(ctx);
    let listed = run::bytes(ctx, &git.look(&["ls-tree", "-z", commit, "--", path])).map_err(why)?;
    let listed = String::from_utf8_lossy(&listed);
    // `100644 blob ID\tPATH`; an entry that is not a file is a folder, a link or
    // a submodule.
    let Some((mode, rest)) = listed.split_once(" blob ") else {
        return if listed.is_empty() { Ok(None) } else { Err("it is not a file there".into()) };
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

/// Whether git's index equals a commit, file by file.
pub fn is_staged(ctx: &Ctx, commit: &str) -> Result<bool, Doubt> {
    let names = ["diff", "--cached", "--name-only", "--no-ext-diff", "-O/dev/null", "-z", commit, "--"];
    Ok(run::bytes(ctx, &git::git(ctx).look(&names)).map_err(why)?.is_empty())
}

/// All paths of a commit, from the root.
#[derive(Debug, Default)]
pub struct Snapshot(BTreeMap<String, (String, String)>);

impl Snapshot {
    /// Lists it.
    pub fn of(ctx: &Ctx, commit: &str) -> Result<Self, Doubt> {
        let listed = run::bytes(ctx, &git::git(ctx).look(&["ls-tree", "-r", "-z", commit])).map_err(why)?;
        let mut files = BTreeMap::new();
        for entry in String::from_utf8_lossy(&listed).split_terminator('\0') {
            // `100644 blob ID\tPATH`
            let odd = || format!("`git ls-tree` says {entry:?}");
            let (words, path) = entry.split_once('\t').ok_or_else(odd)?;
            let [mode, _, id] = words.split(' ').collect::<Vec<_>>()[..] else { return Err(odd().into()) };
            files.insert(path.to_owned(), (mode.to_owned(), id.to_owned()));
        }
        Ok(Self(files))
    }

    /// Its paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The paths of its symbolic links.
    pub fn links(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, (mode, _))| mode == "120000").map(|(path, _)| path.as_str()).collect()
    }

    /// Whether a path is a link or leads through one.
    pub fn is_behind_link(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.into_iter().any(|end| self.0.get(&path[..end]).is_some_and(|(mode, _)| mode == "120000"))
    }

    /// The texts of those of these files that exist. With `fetch`, git may
    /// download them in a partial clone.
    pub fn contents(&self, ctx: &Ctx, paths: &[&str], fetch: bool) -> Result<BTreeMap<String, Vec<u8>>, Doubt> {
        let there: Vec<(&str, &str)> =
            paths.iter().filter_map(|path| Some((*path, self.0.get(*path)?.1.as_str()))).collect();
        if there.is_empty() {
            return Ok(BTreeMap::new());
        }
        let git = git::git(ctx);
        let words = ["cat-file", "--batch"];
        let asked: String = there.iter().map(|(_, id)| format!("{id}\n")).collect();
        let step = if fetch { git.contents(&words) } else { git.look(&words) }.stdin(asked);
        let answer = run::bytes(ctx, &step.within(Duration::from_secs(30))).map_err(why)?;
        let (mut rest, mut found) = (&answer[..], BTreeMap::new());
        for (path, _) in there {
            let bytes = blob(&mut rest).ok_or_else(|| format!("git has no contents of {path}"))?;
            found.insert(path.to_owned(), bytes.to_vec());
        }
        Ok(found)
    }
}

/// `ID blob SIZE⏎BYTES⏎`, as `git cat-file --batch` answers.
pub fn blob<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&rest[..end]).ok()?.rsplit(' ').next()?.parse().ok()?;
    let (bytes, behind) = rest[end + 1..].split_at_checked(size)?;
    *rest = behind.strip_prefix(b"\n")?;
    Some(bytes)
}

fn why(error: anyhow::Error) -> Doubt {
    fault::said(&error).lines().next().map_or_else(|| error.to_string(), str::to_owned).into()
}

/// The merge base of two commits that `git diff A...B` uses.
pub fn merge_base(ctx: &Ctx, one: &str, other: &str) -> Result<String, Doubt> {
    let step = git::git(ctx).look(&["merge-base", one, other]);
    run::read(ctx, &step).map_err(|_| format!("`{one}` and `{other}` have no common ancestor here").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_git_is_read_object_by_object() {
        let mut rest = &b"aa blob 3\na\nb\nbb blob 0\n\ncc missing\n"[..];
        assert_eq!(blob(&mut rest), Some(&b"a\nb"[..]));
        assert_eq!(blob(&mut rest), Some(&b""[..]));
        assert_eq!(blob(&mut rest), None);
    }

    #[test]
    fn a_path_through_a_link_lies_behind_it() {
        let entry = |mode: &str| (mode.to_owned(), String::new());
        let all = [("a/b".to_owned(), entry("120000")), ("c".to_owned(), entry("100644"))];
        let snapshot = Snapshot(BTreeMap::from(all));
        assert_eq!(
            ["a/b", "a/b/c", "a", "a/bc", "c"].map(|path| snapshot.is_behind_link(path)),
            [true, true, false, false, false]
        );
    }
}
