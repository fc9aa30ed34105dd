//! Asks git what changed: only names, unquoted, and both names of a renamed file.
//! Two commits are compared from their merge base or not at all. Missing history
//! is fetched once.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::{interrupt, run};
use crate::fault;
use crate::model::affected::Paths;
use crate::model::doubt::Answer;
use crate::model::event::{Range, is_commit};
use crate::plan::git::Git;
use crate::plan::step::Step;

/// The changes between two commits, or since one.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The older side as it was given. With [`Names::Commits`]: the commit that
    /// was compared with, which is the merge base if three dots are meant.
    pub base: String,
    /// The newer side, likewise; `None`: the working tree.
    pub head: Option<String>,
    /// Whether the older side is the merge base of both.
    pub three_dots: bool,
    /// Both in git's notation, for people.
    pub range: String,
    /// The files, from the root.
    pub paths: Paths,
    /// A note if something else was compared than was asked for.
    pub note: Option<String>,
}

/// How the sides are reported. Commits cost one more process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As given.
    Given,
    /// As commit ids.
    Commits,
}

/// Two sides to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    names: Names,
    base: String,
    /// `None`: the working tree, whose commit is HEAD.
    head: Option<String>,
    three_dots: bool,
}

/// Git's answer about a pair.
enum GitAnswer {
    Changes(Changes),
    Missing(Missing),
}

/// Why git can't compare a pair, for people.
enum Missing {
    /// A commit does not exist here; its name.
    Commit(String, String),
    /// No common ancestor exists here.
    History(String),
    /// Another reason, which no fetch removes.
    Other(String),
}

/// The commands to run if nothing is missing.
pub fn steps(ctx: &Ctx, range: &Range, default_branch: &str, names: Names) -> Vec<Step> {
    let base = range.base.clone().unwrap_or_else(|| remote(default_branch));
    pair(base, range, names).steps(&git(ctx))
}

/// What changed, or why that is unknown. With `fetch`, missing history is fetched
/// first. Outside of a CI job we only use the network if somebody asked for it.
pub fn changes(
    ctx: &Ctx,
    range: &Range,
    default_branch: &str,
    names: Names,
    fetch: bool,
) -> anyhow::Result<Answer<Changes>> {
    let fetch = fetch || ctx.env.get("CI").is_some();
    let from_default = |range: &Range| compare(ctx, &pair(default_base(ctx, default_branch), range, names), fetch);
    let Some(base) = &range.base else { return from_default(range) };
    match compare(ctx, &pair(base.clone(), range, names), fetch)? {
        // A force push: the old commit may be gone for good.
        Answer::Doubt(cause) if range.replaceable => {
            let told = from_default(&Range { three_dots: true, ..range.clone() })?;
            let note = format!("{cause}; compared from the merge base with `{default_branch}` instead");
            Ok(told.map(|changes| Changes { note: Some(note), ..changes }))
        }
        told => Ok(told),
    }
}

fn pair(base: String, range: &Range, names: Names) -> Pair {
    // Two full commit ids with two dots stay as they are.
    let known = !range.three_dots && is_commit(&base) && range.head.as_deref().is_some_and(is_commit);
    let names = if known { Names::Given } else { names };
    Pair { names, base, head: range.head.clone(), three_dots: range.three_dots }
}

fn remote(branch: &str) -> String {
    format!("origin/{branch}")
}

/// The default branch of the remote, else the local one. If neither exists, the
/// remote's, because it can be fetched.
fn default_base(ctx: &Ctx, branch: &str) -> String {
    let names = [remote(branch), branch.to_owned()];
    names.into_iter().find(|name| exists(ctx, name)).unwrap_or_else(|| remote(branch))
}

/// Git with its options, at the root.
pub fn git(ctx: &Ctx) -> Git {
    // Git itself ignores a folder that is not a repository.
    let is_top = |dir: &&Utf8Path| {
        let git = dir.join(".git");
        git.is_file() || git.join("HEAD").symlink_metadata().is_ok()
    };
    Git::new(ctx.root.ancestors().position(|dir| is_top(&dir)), variables(ctx))
}

/// The same in a folder of our own, which the command names by `-C`.
pub fn elsewhere(ctx: &Ctx) -> Git {
    Git::new(None, variables(ctx))
}

fn variables(ctx: &Ctx) -> impl Iterator<Item = &str> {
    ctx.env.names().chain(ctx.exports.iter().map(|(name, _)| name.as_str()))
}

impl Pair {
    fn range(&self) -> String {
        let dots = if self.three_dots { "..." } else { ".." };
        format!("{}{dots}{}", self.base, self.head())
    }

    fn head(&self) -> &str {
        self.head.as_deref().unwrap_or("HEAD")
    }

    /// The changed files (for the working tree, the staged ones), and the commit
    /// ids.
    fn steps(&self, git: &Git) -> Vec<Step> {
        // Configuration must not choose what is compared, or by which program.
        let diff = git.look(&["diff", "--name-only", "--no-renames", "--relative", "--ignore-submodules=none"]).args([
            "--no-ext-diff",
            "--no-textconv",
            "-O/dev/null",
            "-z",
        ]);
        let mut steps = match self.head {
            Some(_) => vec![diff.args([&self.range(), "--"])],
            // We look at the working tree ourselves.
            None => vec![diff.args(["--cached", "--merge-base", &self.base, "--"])],
        };
        if self.names == Names::Commits {
            steps.push(git.look(&["rev-parse", &self.range(), "--"]));
        }
        steps
    }

    /// For people: hashes are abbreviated.
    fn shown(&self) -> String {
        let short = |name: &str| if is_commit(name) { name[..12].to_owned() } else { name.to_owned() };
        let dots = if self.three_dots { "..." } else { ".." };
        format!("{}{dots}{}", short(&self.base), self.head.as_deref().map_or("the working tree".into(), short))
    }

    /// Fetches the history of both sides. Names need no file contents, but a
    /// fetch without them turns the clone into a partial one for good, so that is
    /// only done in a CI job.
    fn fetch(&self, ctx: &Ctx, shallow: bool) -> Step {
        let names = [self.base.as_str(), self.head()];
        let mut wanted: Vec<String> = names.into_iter().filter_map(on_remote).collect();
        if wanted.len() < names.len() && shallow {
            // The remote's branches show where one of our branches starts.
            wanted.push("+refs/heads/*:refs/remotes/origin/*".into());
        }
        let options = ctx.env.get("CI").map(|_| "--filter=blob:none").into_iter();
        let options = options.chain(shallow.then_some("--unshallow")).chain(["origin"]);
        git(ctx).fetch(options.map(str::to_owned).chain(wanted)).within(Duration::from_secs(600))
    }
}

/// Compares, and first fetches missing history.
fn compare(ctx: &Ctx, pair: &Pair, fetch: bool) -> anyhow::Result<Answer<Changes>> {
    let shallow = is_shallow(ctx);
    let (cause, can_fetch) = match ask(ctx, pair)? {
        // In a shallow clone the merge base that git finds need not be the last
        // one.
        GitAnswer::Changes(_) if shallow && pair.three_dots => ("the clone is shallow".into(), true),
        GitAnswer::Changes(changes) => return Ok(Answer::Known(changes)),
        GitAnswer::Missing(Missing::Other(cause)) => (cause, false),
        GitAnswer::Missing(Missing::History(cause)) => (cause, shallow),
        GitAnswer::Missing(Missing::Commit(cause, name)) => (cause, shallow || on_remote(&name).is_some()),
    };
    if !can_fetch {
        return Ok(Answer::doubt(cause));
    }
    if !fetch {
        return Ok(Answer::doubt(format!("{cause} (`--fetch` gets what is missing from the remote)")));
    }
    if let Answer::Doubt(why) = twice(ctx, &pair.fetch(ctx, shallow))? {
        return Ok(Answer::doubt(format!("{cause}, and git could not fetch what is missing: {why}")));
    }
    Ok(match ask(ctx, pair)? {
        GitAnswer::Changes(changes) => Answer::Known(changes),
        GitAnswer::Missing(Missing::Other(cause) | Missing::History(cause) | Missing::Commit(cause, _)) => {
            Answer::doubt(cause)
        }
    })
}

/// Runs a fetch, and once more if it fails, because networks fail.
fn twice(ctx: &Ctx, step: &Step) -> anyhow::Result<Answer<()>> {
    ctx.show(step);
    let mut why = String::new();
    for _ in 0..2 {
        match run::bytes(ctx, step) {
            Ok(_) => return Ok(Answer::Known(())),
            Err(error) => why = first_words(&error),
        }
        interrupt::check()?;
    }
    Ok(Answer::doubt(why))
}

/// The refspec for a name: a commit id itself, or a branch of the remote under
/// its own name.
fn on_remote(name: &str) -> Option<String> {
    if is_commit(name) {
        return Some(name.to_owned());
    }
    let branch = name.strip_prefix("origin/")?;
    let is_plain = !branch.contains(|c: char| "^~:@{?*[\\ ".contains(c));
    is_plain.then(|| format!("+refs/heads/{branch}:refs/remotes/origin/{branch}"))
}

/// Runs the commands in parallel. To start a process costs about as much as to
/// compare a thousand files.
fn ask(ctx: &Ctx, pair: &Pair) -> anyhow::Result<GitAnswer> {
    let steps = pair.steps(&git(ctx));
    let answers: anyhow::Result<Vec<Vec<u8>>> = thread::scope(|scope| {
        let (first, others) = steps.split_first().context("nothing to ask")?;
        let others: Vec<_> = others.iter().map(|step| scope.spawn(|| run::bytes(ctx, step))).collect();
        let first = run::bytes(ctx, first);
        let others = others.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread ended"))));
        std::iter::once(first).chain(others).collect()
    });
    interrupt::check()?;
    let mut answers = match answers {
        Ok(answers) => answers,
        Err(error) => match one_of_several(ctx, pair) {
            Some(base) => return ask(ctx, &Pair { base, ..pair.clone() }),
            None => return Ok(GitAnswer::Missing(lack(ctx, pair, &error))),
        },
    };
    let (mut base, mut head) = (pair.base.clone(), pair.head.clone());
    if pair.names == Names::Commits
        && let Some(names) = answers.pop()
    {
        // The output: the head; with three dots the other side; `^` and the base.
        let names = String::from_utf8_lossy(&names);
        base = names.lines().find_map(|line| line.strip_prefix('^')).unwrap_or(&base).to_owned();
        head = head.and_then(|_| names.lines().next()).map(ToOwned::to_owned);
    }
    let paths = answers.into_iter().fold(Paths::default(), Paths::and);
    let three_dots = pair.three_dots;
    Ok(GitAnswer::Changes(Changes { base, head, three_dots, range: pair.shown(), paths, note: None }))
}

/// Branches that were merged into each other may have several merge bases. Any
/// will do. Git takes the first one for two commits, and refuses for the working
/// tree.
fn one_of_several(ctx: &Ctx, pair: &Pair) -> Option<String> {
    if pair.head.is_some() {
        return None;
    }
    run::probe(ctx, &git(ctx).look(&["merge-base", &pair.base, "HEAD"])).filter(|base| *base != pair.base)
}

/// What is missing, after git has failed.
fn lack(ctx: &Ctx, pair: &Pair, error: &anyhow::Error) -> Missing {
    // Checked first: outside of a repository `git diff` is another command.
    if let Err(error) = run::read(ctx, &git(ctx).look(&["rev-parse", "--show-toplevel"])) {
        return Missing::Other(first_words(&error));
    }
    if pair.head.is_none() && !exists(ctx, "HEAD") {
        return Missing::Other("the repository has no commit yet".into());
    }
    match [pair.base.as_str(), pair.head()].into_iter().find(|name| !exists(ctx, name)) {
        Some(name) => Missing::Commit(format!("there is no commit `{name}` here"), name.into()),
        None if run::probe(ctx, &git(ctx).look(&["merge-base", &pair.base, pair.head()])).is_none() => unrelated(pair),
        None => Missing::Other(first_words(error)),
    }
}

fn unrelated(pair: &Pair) -> Missing {
    Missing::History(format!("`{}` and `{}` have no common ancestor", pair.base, pair.head()))
}

/// The first line of git's error, or else its status.
fn first_words(error: &anyhow::Error) -> String {
    fault::said(error).lines().next().map_or_else(|| format!("{error:#}"), ToOwned::to_owned)
}

/// Git's last words, or that git is not installed.
pub fn why(error: anyhow::Error) -> String {
    match fault::said(&error).lines().find(|line| !line.is_empty()) {
        Some(line) => line.trim_start_matches("fatal: ").to_owned(),
        None => format!("{error:#}"),
    }
}

fn exists(ctx: &Ctx, name: &str) -> bool {
    run::probe(ctx, &git(ctx).look(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])).is_some()
}

/// Whether the clone is shallow, which a file of git tells. A process is only
/// needed if the repository's folder is elsewhere.
fn is_shallow(ctx: &Ctx) -> bool {
    let git = git(ctx);
    if let Some(folder) = git.top().map(|top| ctx.root.join(top).join(".git")).filter(|folder| folder.is_dir()) {
        return folder.join("shallow").exists();
    }
    run::probe(ctx, &git.look(&["rev-parse", "--is-shallow-repository"])).as_deref() == Some("true")
}
