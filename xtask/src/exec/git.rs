//! What changed, asked of git: names only, never quoted, and with both names of
//! what was renamed. Two commits are compared from their merge base or not at
//! all; history that is missing is fetched once.

use std::thread;

use crate::ctx::Ctx;
use crate::exec::{interrupt, run};
use crate::fault;
use crate::model::affected::Paths;
use crate::model::event::{Range, is_commit};
use crate::plan::step::Step;

/// What changed between two commits, or since one.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The commit that was compared with: the merge base where one is meant.
    pub base: String,
    /// The newer commit; none: the working tree.
    pub head: Option<String>,
    /// The files, from the root.
    pub paths: Paths,
    /// What else was done than was asked for.
    pub note: Option<String>,
}

/// Two sides to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    base: String,
    /// None: the working tree, whose own commit is HEAD.
    head: Option<String>,
    three_dots: bool,
}

/// What git says about a pair.
struct Found {
    changes: Changes,
    shallow: bool,
}

/// Why git can't compare a pair, for people.
enum Lack {
    /// A commit is not here; and its name.
    Commit(String, String),
    /// No common ancestor is here.
    History(String),
    /// No fetch will help.
    Other(String),
}

/// The commands that answer where nothing is missing.
pub fn steps(range: &Range, default_branch: &str) -> Vec<Step> {
    let base = range.base.clone().unwrap_or_else(|| remote(default_branch));
    pair(base, range).steps()
}

/// The same for the working tree.
pub fn steps_of_working_tree(base: Option<&str>, default_branch: &str) -> Vec<Step> {
    working_tree(base.map_or_else(|| remote(default_branch), Into::into)).steps()
}

/// What changed between two commits, or why nobody can tell.
pub fn changes(ctx: &Ctx, range: &Range, default_branch: &str) -> anyhow::Result<Result<Changes, String>> {
    let default = || compare(ctx, &pair(default_base(ctx, default_branch), range));
    let Some(base) = &range.base else { return default() };
    let told = compare(ctx, &pair(base.clone(), range))?;
    match told {
        // A forced push: the old commit may be gone for good.
        Err(cause) if range.replaceable => {
            let range = Range { base: None, three_dots: true, ..range.clone() };
            let told = compare(ctx, &pair(default_base(ctx, default_branch), &range))?;
            let note = format!("{cause}; compared from the merge base with `{default_branch}` instead");
            Ok(told.map(|changes| Changes { note: Some(note), ..changes }))
        }
        told => Ok(told),
    }
}

/// What is different in the working tree, or why nobody can tell.
pub fn changes_of_working_tree(
    ctx: &Ctx,
    base: Option<&str>,
    default_branch: &str,
) -> anyhow::Result<Result<Changes, String>> {
    let base = base.map_or_else(|| default_base(ctx, default_branch), Into::into);
    compare(ctx, &working_tree(base))
}

fn pair(base: String, range: &Range) -> Pair {
    Pair { base, head: Some(range.head.clone()), three_dots: range.three_dots }
}

fn working_tree(base: String) -> Pair {
    Pair { base, head: None, three_dots: true }
}

fn remote(branch: &str) -> String {
    format!("origin/{branch}")
}

/// The default branch as the remote has it, else as it is here. Neither: the
/// remote's, for it can be fetched.
fn default_base(ctx: &Ctx, branch: &str) -> String {
    let names = [remote(branch), branch.to_owned()];
    names.into_iter().find(|name| exists(ctx, name)).unwrap_or_else(|| remote(branch))
}

fn git(args: &[&str]) -> Step {
    Step::new("git").args(args.iter().copied())
}

impl Pair {
    fn range(&self) -> String {
        let dots = if self.three_dots { "..." } else { ".." };
        format!("{}{dots}{}", self.base, self.head())
    }

    fn head(&self) -> &str {
        self.head.as_deref().unwrap_or("HEAD")
    }

    /// The names of the commits; the changed files; the untracked ones.
    fn steps(&self) -> Vec<Step> {
        let names = git(&["rev-parse", "--is-shallow-repository", &self.range(), "--"]);
        let diff = git(&["diff", "--name-only", "--no-renames", "--relative", "--ignore-submodules=none", "-z"]);
        match self.head {
            Some(_) => vec![names, diff.args([&self.range(), "--"])],
            None => vec![
                names,
                diff.args(["--merge-base", &self.base, "--"]),
                git(&["ls-files", "--others", "--exclude-standard", "-z"]),
            ],
        }
    }

    /// Gets the history of both sides, without the contents: names need none.
    fn fetch(&self, shallow: bool) -> Step {
        let names = [self.base.as_str(), self.head()];
        let mut wanted: Vec<String> = names.into_iter().filter_map(on_remote).collect();
        if wanted.len() < names.len() && shallow {
            // Where a name of ours grows from, the remote's branches know.
            wanted.push("+refs/heads/*:refs/remotes/origin/*".into());
        }
        let depth = shallow.then_some("--unshallow");
        git(&["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--filter=blob:none"])
            .args(depth)
            .arg("origin")
            .args(wanted)
            .env("GIT_TERMINAL_PROMPT", "0")
    }
}

/// Compares; what is missing for that is fetched first.
fn compare(ctx: &Ctx, pair: &Pair) -> anyhow::Result<Result<Changes, String>> {
    let (cause, step) = match ask(ctx, pair)? {
        // In a cut history the merge base that is found need not be the last one.
        Ok(found) if found.shallow && pair.three_dots => ("the clone is shallow".into(), Some(pair.fetch(true))),
        Ok(found) => return Ok(Ok(found.changes)),
        Err(Lack::Other(cause)) => (cause, None),
        Err(Lack::History(cause)) if is_shallow(ctx) => (cause, Some(pair.fetch(true))),
        Err(Lack::Commit(cause, name)) if is_shallow(ctx) || on_remote(&name).is_some() => {
            (cause, Some(pair.fetch(is_shallow(ctx))))
        }
        Err(Lack::History(cause) | Lack::Commit(cause, _)) => (cause, None),
    };
    let Some(step) = step else { return Ok(Err(cause)) };
    if let Err(why) = twice(ctx, &step)? {
        return Ok(Err(format!("{cause}, and git could not fetch what is missing: {why}")));
    }
    Ok(match ask(ctx, pair)? {
        Ok(found) => Ok(found.changes),
        Err(Lack::Other(cause) | Lack::History(cause) | Lack::Commit(cause, _)) => Err(cause),
    })
}

/// Runs a fetch, and once more if it fails: networks do.
fn twice(ctx: &Ctx, step: &Step) -> anyhow::Result<Result<(), String>> {
    ctx.show(step);
    let mut why = String::new();
    for _ in 0..2 {
        match run::bytes(ctx, step) {
            Ok(_) => return Ok(Ok(())),
            Err(error) => why = first_words(&error),
        }
        interrupt::check()?;
    }
    Ok(Err(why))
}

/// What fetches a name: a commit by itself, a branch of the remote's by its
/// own name there.
fn on_remote(name: &str) -> Option<String> {
    if is_commit(name) {
        return Some(name.to_owned());
    }
    let branch = name.strip_prefix("origin/")?;
    let is_plain = !branch.contains(|c: char| "^~:@{?*[\\ ".contains(c));
    is_plain.then(|| format!("+refs/heads/{branch}:refs/remotes/origin/{branch}"))
}

/// Runs the commands side by side: a process costs about what the comparison
/// of a thousand files does.
fn ask(ctx: &Ctx, pair: &Pair) -> anyhow::Result<Result<Found, Lack>> {
    let steps = pair.steps();
    let answers: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = steps.iter().map(|step| scope.spawn(|| run::bytes(ctx, step))).collect();
        running.into_iter().map(|thread| thread.join()).collect()
    });
    interrupt::check()?;
    let mut told = Vec::new();
    for answer in answers {
        match answer {
            Ok(Ok(bytes)) => told.push(bytes),
            Ok(Err(error)) => return Ok(Err(lack(ctx, pair, &error))),
            Err(_) => return Ok(Err(Lack::Other("asking git failed".into()))),
        }
    }
    let mut told = told.into_iter();
    let names = String::from_utf8_lossy(&told.next().unwrap_or_default()).into_owned();
    let paths = told.fold(Paths::default(), Paths::and);
    // `true` or `false`; the head; with three dots the other side; `^` and the base.
    let base = names.lines().find_map(|line| line.strip_prefix('^'));
    let Some(base) = base.map(ToOwned::to_owned) else {
        return Ok(Err(unrelated(pair)));
    };
    let head = pair.head.as_ref().and_then(|_| names.lines().nth(1)).map(ToOwned::to_owned);
    let changes = Changes { base, head, paths, note: None };
    Ok(Ok(Found { changes, shallow: names.starts_with("true") }))
}

/// What is missing, after git has refused.
fn lack(ctx: &Ctx, pair: &Pair, error: &anyhow::Error) -> Lack {
    if run::probe(ctx, &git(&["rev-parse", "--is-inside-work-tree"])).as_deref() != Some("true") {
        return Lack::Other(first_words(error));
    }
    if pair.head.is_none() && !exists(ctx, "HEAD") {
        return Lack::Other("the repository has no commit yet".into());
    }
    match [pair.base.as_str(), pair.head()].into_iter().find(|name| !exists(ctx, name)) {
        Some(name) => Lack::Commit(format!("there is no commit `{name}` here"), name.into()),
        None if run::probe(ctx, &git(&["merge-base", &pair.base, pair.head()])).is_none() => unrelated(pair),
        None => Lack::Other(first_words(error)),
    }
}

fn unrelated(pair: &Pair) -> Lack {
    Lack::History(format!("`{}` and `{}` have no common ancestor", pair.base, pair.head()))
}

/// What git said first, else how it ended.
fn first_words(error: &anyhow::Error) -> String {
    fault::said(error).lines().next().map_or_else(|| format!("{error:#}"), ToOwned::to_owned)
}

fn exists(ctx: &Ctx, name: &str) -> bool {
    run::probe(ctx, &git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])).is_some()
}

fn is_shallow(ctx: &Ctx) -> bool {
    run::probe(ctx, &git(&["rev-parse", "--is-shallow-repository"])).as_deref() == Some("true")
}
