//! The fingerprint of real working trees: real git repositories, no engine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use docker_context::dockerfile::Recipe;
use docker_context::dockerignore::Dockerignore;
use xtask::ctx::{Ctx, Env, Format};
use xtask::exec::{file_stats, worktree};
use xtask::model::config::Project;
use xtask::model::doubt::Doubt;
use xtask::model::fingerprint::{File, FingerprintInputs, fingerprint};

/// A repository of its own, gone afterwards.
struct Repo {
    top: PathBuf,
    /// Below it, the folder that is looked at.
    root: PathBuf,
    project: Project,
    ignore: Dockerignore,
    exports: Vec<(String, String)>,
    /// Where it may be remembered what files held.
    cache: Option<String>,
}

impl Repo {
    fn new(name: &str) -> Self {
        let mut repo = Self::bare_folder(name);
        repo.git(&["init", "--quiet"]);
        repo.filter(&["**"]);
        repo
    }

    /// A folder without git, below one with a space and a letter outside ASCII.
    fn bare_folder(name: &str) -> Self {
        let top = std::env::temp_dir().join("xtask trëe").join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(&top).unwrap();
        let pinned = [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CEILING_DIRECTORIES", "/tmp"),
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
            ("GIT_ALLOW_PROTOCOL", "file"),
        ];
        let exports = pinned.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let ignore = Dockerignore::parse("").unwrap();
        Self { root: top.clone(), top, project: project(&["**"]), ignore, exports, cache: None }
    }

    fn filter(&mut self, paths: &[&str]) {
        self.project = project(paths);
    }

    fn includes(&self, path: &str) -> bool {
        self.project.service("api").unwrap().paths.includes(path)
    }

    fn git(&self, args: &[&str]) {
        let output = self.try_git(args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn try_git(&self, args: &[&str]) -> std::process::Output {
        let exports = self.exports.iter().map(|(name, value)| (name, value));
        Command::new("git").args(args).current_dir(&self.top).envs(exports).output().unwrap()
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "m"]);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.top.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.top.join(path)).unwrap();
    }

    fn ctx(&self) -> Ctx {
        Ctx {
            root: self.root.to_str().unwrap().into(),
            env: self.cache.iter().map(|dir| ("XDG_CACHE_HOME", dir.clone())).collect::<Env>(),
            format: Format::Text,
            dry_run: false,
            verbose: false,
            terminal: false,
            exports: self.exports.clone(),
        }
    }

    fn files(&self) -> Result<Vec<File>, Doubt> {
        let tree = worktree::look(&self.ctx(), &|path: &str| match path.strip_suffix('/') {
            Some(dir) => !self.ignore.excludes_below(dir),
            None => !self.ignore.excludes(path),
        })?;
        Ok(tree.of_filters().map_or(tree.lying, |files| files.into_iter().map(|(file, _)| file).collect()))
    }

    fn print(&self) -> String {
        self.print_of(&self.files().unwrap())
    }

    fn print_of(&self, files: &[File]) -> String {
        let (service, build_args) = (self.project.service("api").unwrap(), BTreeMap::new());
        let files: Vec<_> = files.iter().map(Cow::Borrowed).collect();
        let inputs = FingerprintInputs {
            service,
            target: None,
            recipe: &Recipe::default(),
            is_read: &|_| true,
            is_emptied: &|_| false,
            build_args: &build_args,
            platforms: &[],
            bases: &[],
            files: &files,
            folders: &[],
        };
        fingerprint(&inputs).to_string()
    }

    /// Whether `change` changes the fingerprint; that it is the old one again
    /// after `revert`, and that staging and committing never matter.
    fn changes(&self, change: impl FnOnce(), revert: impl FnOnce()) -> bool {
        let before = self.print();
        change();
        let after = self.print();
        revert();
        assert_eq!(self.print(), before, "what was taken back is still seen");
        after != before
    }

    /// The same after `git add` and after `git commit`.
    fn is_kept_by_committing(&self) {
        let before = self.print();
        self.git(&["add", "--all"]);
        assert_eq!(self.print(), before, "staging changed it");
        self.commit();
        assert_eq!(self.print(), before, "committing changed it");
    }

    fn why(&self) -> String {
        self.files().expect_err("this is a doubt").to_string()
    }
}

impl Drop for Repo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
        let _ = fs::remove_dir(self.top.parent().unwrap());
    }
}

fn project(paths: &[&str]) -> Project {
    let text = format!(
        "[project]\nname = \"demo\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
         [services.api]\nimage = \"demo-api\"\npaths = {paths:?}\n"
    );
    Project::parse("services.toml".into(), &text).unwrap()
}

/// A generator with a fixed seed: the same changes on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// design: for every tracked path, the filter includes it if and only if
/// changing its bytes or its mode changes the fingerprint.
#[test]
fn a_random_change_counts_if_and_only_if_the_filter_includes_it() {
    const FOLDERS: [&str; 4] = ["", "a/", "a/t/", "b é/"];
    const NAMES: [&str; 9] = ["x", "y.md", "é", "new\nline", "\"quoted\"", "cr\r", " space ", "-dash", "tab\t*?[x]"];
    let mut repo = Repo::new("random");
    repo.filter(&["a/**", "!a/t/**", "**/*.md", "b é/**", "!b é/x"]);
    let mut dice = Dice(17);
    for folder in FOLDERS {
        for name in NAMES {
            repo.write(&format!("{folder}{name}"), &format!("{folder}{name}"));
        }
        symlink("x", repo.top.join(format!("{folder}link"))).unwrap();
    }
    repo.commit();
    let (mut counted, mut left_out) = (0, 0);
    for round in 0..80 {
        let before = repo.print();
        let tracked: Vec<String> = repo.files().unwrap().into_iter().map(|file| file.path).collect();
        let tracked: Vec<&String> =
            tracked.iter().filter(|path| !path.ends_with('/') && repo.top.join(path).exists()).collect();
        let path = tracked[dice.below(tracked.len())].clone();
        let other = format!("{}{}-{round}", FOLDERS[dice.below(FOLDERS.len())], NAMES[dice.below(NAMES.len())]);
        let at = repo.top.join(&path);
        let is_link = at.is_symlink();
        let mode = at.metadata().unwrap().permissions().mode() & 0o777;
        let what = match dice.below(7) {
            0 if !is_link => {
                repo.write(&path, &format!("{round}"));
                "edit"
            }
            1 if !is_link => {
                repo.chmod(&path, mode ^ 0o111);
                "chmod x"
            }
            2 if !is_link => {
                repo.chmod(&path, mode ^ 0o044);
                "chmod go-r"
            }
            3 => {
                fs::remove_file(&at).unwrap();
                "delete"
            }
            4 => {
                fs::rename(&at, repo.top.join(&other)).unwrap();
                "rename"
            }
            5 => {
                repo.write(&other, "new");
                "new"
            }
            _ => {
                fs::remove_file(&at).unwrap();
                symlink(format!("to {round}"), &at).unwrap();
                "retarget"
            }
        };
        let touched = match what {
            "rename" => vec![path.clone(), other],
            "new" => vec![other],
            _ => vec![path.clone()],
        };
        let includes = touched.iter().any(|path| repo.includes(path));
        let after = repo.print();
        assert_eq!(after != before, includes, "round {round}: {what} {touched:?}");
        match includes {
            true => counted += 1,
            false => left_out += 1,
        }
        match dice.below(3) {
            0 => repo.git(&["add", "--all"]),
            1 => repo.git(&["add", "--intent-to-add", "."]),
            _ => {}
        }
        assert_eq!(repo.print(), after, "round {round}: staging {what} {touched:?}");
        if dice.below(2) == 0 {
            repo.commit();
            assert_eq!(repo.print(), after, "round {round}: committing {what} {touched:?}");
        } else {
            repo.git(&["reset", "--quiet", "--hard"]);
            repo.git(&["clean", "--quiet", "--force", "-d"]);
            if what == "chmod go-r" {
                repo.chmod(&path, mode);
            }
            assert_eq!(repo.print(), before, "round {round}: taking {what} {touched:?} back");
        }
    }
    assert!(counted > 20 && left_out > 20, "{counted} {left_out}");
}

/// What git ignores counts if and only if the context holds it.
#[test]
fn an_ignored_file_counts_if_and_only_if_the_context_holds_it() {
    let mut repo = Repo::new("ignored");
    repo.ignore = Dockerignore::parse("**/node_modules\n*.log\n").unwrap();
    repo.write(".gitignore", ".env\nnode_modules/\n*.log\nbuilt/\n");
    repo.write("src/a", "a");
    repo.commit();
    assert!(repo.changes(|| repo.write("src/.env", "1"), || repo.remove("src/.env")));
    repo.write("src/.env", "1");
    assert!(repo.changes(|| repo.write("src/.env", "2"), || repo.write("src/.env", "1")));
    repo.write("built/deep/x", "1");
    assert!(repo.changes(|| repo.write("built/deep/x", "2"), || repo.write("built/deep/x", "1")));
    assert!(!repo.changes(|| repo.write("a.log", "1"), || repo.remove("a.log")));
    // Not even looked into: a pipe would be a doubt.
    fs::create_dir(repo.top.join("node_modules")).unwrap();
    let before = repo.print();
    fifo(&repo, "node_modules/pipe");
    assert_eq!(repo.print(), before);
}

fn fifo(repo: &Repo, path: &str) {
    assert!(Command::new("mkfifo").arg(repo.top.join(path)).status().unwrap().success());
}

#[test]
fn a_build_sees_folders_and_permissions_that_git_does_not_record() {
    let repo = Repo::new("folders");
    repo.write("a/b", "b");
    repo.commit();
    let dir = repo.top.join("a/empty");
    assert!(repo.changes(|| fs::create_dir(&dir).unwrap(), || fs::remove_dir(&dir).unwrap()));
    assert!(repo.changes(|| repo.chmod("a", 0o700), || repo.chmod("a", 0o755)));
    assert!(repo.changes(|| repo.chmod("a/b", 0o600), || repo.chmod("a/b", 0o644)));
    repo.git(&["config", "core.fileMode", "false"]);
    assert!(repo.changes(|| repo.chmod("a/b", 0o755), || repo.chmod("a/b", 0o644)));
    fifo(&repo, "a/pipe");
    assert!(repo.why().contains("a/pipe is neither a file nor a link"), "{}", repo.why());
}

/// BuildKit makes the folders on the way to a file that a rule takes back, and
/// no others.
#[test]
fn a_folder_on_the_way_to_what_the_context_holds_counts() {
    let mut repo = Repo::new("way");
    repo.ignore = Dockerignore::parse("*\n!src/**/*.py").unwrap();
    repo.write("src/x/a.py", "a");
    repo.write("src/y/a.md", "a");
    repo.commit();
    assert!(repo.changes(|| repo.chmod("src/x", 0o700), || repo.chmod("src/x", 0o755)));
    assert!(!repo.changes(|| repo.chmod("src/y", 0o700), || repo.chmod("src/y", 0o755)));
    let dir = repo.top.join("src/empty");
    assert!(!repo.changes(|| fs::create_dir(&dir).unwrap(), || fs::remove_dir(&dir).unwrap()));
}

#[test]
fn what_git_was_told_not_to_look_at_is_looked_at() {
    let repo = Repo::new("told");
    for name in ["assumed", "skipped", "gone"] {
        repo.write(name, name);
    }
    repo.commit();
    let before = repo.print();
    repo.git(&["update-index", "--assume-unchanged", "assumed"]);
    repo.git(&["update-index", "--skip-worktree", "skipped", "gone"]);
    assert_eq!(repo.print(), before);
    assert!(repo.changes(|| repo.write("assumed", "2"), || repo.write("assumed", "assumed")));
    assert!(repo.changes(|| repo.write("skipped", "2"), || repo.write("skipped", "skipped")));
    assert!(repo.changes(|| repo.remove("gone"), || repo.write("gone", "gone")));
}

#[test]
fn an_intent_to_add_is_the_file_and_not_its_empty_entry() {
    let repo = Repo::new("intent");
    repo.commit();
    repo.write("a", "a");
    let before = repo.print();
    repo.git(&["add", "--intent-to-add", "a"]);
    assert_eq!(repo.print(), before);
    assert!(repo.changes(|| repo.write("a", "b"), || repo.write("a", "a")));
    repo.is_kept_by_committing();
}

#[test]
fn a_merge_conflict_is_what_lies_in_the_tree() {
    let repo = Repo::new("conflict");
    for name in ["a", "deleted"] {
        repo.write(name, "base");
    }
    repo.commit();
    repo.git(&["checkout", "--quiet", "-b", "other"]);
    repo.write("a", "theirs");
    repo.write("deleted", "theirs");
    repo.commit();
    repo.git(&["checkout", "--quiet", "-b", "mine", "HEAD~"]);
    repo.write("a", "mine");
    repo.remove("deleted");
    repo.commit();
    assert!(!repo.try_git(&["merge", "other"]).status.success());
    let marked = fs::read_to_string(repo.top.join("a")).unwrap();
    assert!(marked.contains("<<<<<<<"));
    assert!(repo.changes(|| repo.write("a", "solved"), || repo.write("a", &marked)));
    repo.write("a", "solved");
    repo.is_kept_by_committing();
}

#[test]
fn a_submodule_is_what_lies_in_it() {
    let lib = Repo::new("lib");
    lib.write("l", "1");
    lib.write(".gitignore", "ignored");
    lib.commit();
    let repo = Repo::new("super");
    repo.write("a", "a");
    repo.git(&["submodule", "--quiet", "add", lib.top.to_str().unwrap(), "lib/sub"]);
    repo.commit();
    let clean = repo.print();
    repo.git(&["config", "submodule.lib/sub.ignore", "all"]);
    assert!(repo.changes(|| repo.write("lib/sub/l", "2"), || repo.write("lib/sub/l", "1")));
    // Its own ignored files are in the context, as everybody's.
    for name in ["ignored", "untracked"] {
        let path = format!("lib/sub/{name}");
        assert!(repo.changes(|| repo.write(&path, "1"), || repo.remove(&path)));
    }
    // Another commit is a state like any other, staged or not.
    lib.write("l", "3");
    lib.commit();
    repo.git(&["-C", "lib/sub", "pull", "--quiet"]);
    let other = repo.print();
    assert_ne!(other, clean);
    repo.git(&["add", "--force", "lib/sub"]);
    assert_eq!(repo.print(), other);
    repo.commit();
    assert_eq!(repo.print(), other);
    // Not checked out: git calls that clean, and nothing is there.
    repo.git(&["submodule", "--quiet", "deinit", "--force", "--all"]);
    assert_ne!(repo.print(), other);
    repo.git(&["submodule", "--quiet", "update", "--init"]);
    assert_eq!(repo.print(), other);
}

#[test]
fn a_submodule_goes_by_its_own_path() {
    let lib = Repo::new("lib-path");
    lib.write("l", "1");
    lib.commit();
    let mut repo = Repo::new("super-path");
    repo.git(&["submodule", "--quiet", "add", lib.top.to_str().unwrap(), "sub"]);
    repo.commit();
    repo.filter(&["sub"]);
    let counted = repo.print();
    assert_ne!(counted, repo.print_of(&[]));
    let paths: Vec<String> = repo.files().unwrap().into_iter().map(|file| file.path).collect();
    assert!(paths.iter().all(|path| !path.starts_with("sub/")), "{paths:?}");
    repo.git(&["submodule", "--quiet", "deinit", "--force", "--all"]);
    assert_ne!(repo.print(), counted);
}

#[test]
fn a_repository_inside_is_seen_if_the_context_holds_it() {
    let mut repo = Repo::new("nested");
    repo.write("a", "a");
    repo.commit();
    repo.write("in/x", "1");
    repo.git(&["init", "--quiet", "in"]);
    assert!(repo.changes(|| repo.write("in/x", "2"), || repo.write("in/x", "1")));
    let has = |repo: &Repo, path: &str| repo.files().unwrap().iter().any(|file| file.path == path);
    assert!(has(&repo, "in/.git/") && has(&repo, ".git/"), "what git has is named, not listed");
    assert!(!has(&repo, "in/.git/HEAD"));
    repo.ignore = Dockerignore::parse("in").unwrap();
    assert!(!repo.changes(|| repo.write("in/x", "2"), || repo.write("in/x", "1")));
}

#[test]
fn the_root_may_be_a_folder_of_the_repository() {
    let mut repo = Repo::new("below");
    repo.write("pro ject/a", "a");
    repo.write("pro ject/é/b", "b");
    repo.write("beside", "1");
    repo.commit();
    repo.root = repo.top.join("pro ject");
    let paths: Vec<String> = repo.files().unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(paths, ["a", "é/", "é/b"]);
    assert!(repo.changes(|| repo.write("pro ject/a", "2"), || repo.write("pro ject/a", "a")));
    assert!(repo.changes(|| repo.write("pro ject/new", "2"), || repo.remove("pro ject/new")));
    assert!(!repo.changes(|| repo.write("beside", "2"), || repo.write("beside", "1")));
    repo.write("pro ject/é/b", "2");
    repo.is_kept_by_committing();
}

#[test]
fn a_repository_without_commits_has_files_too() {
    for format in ["sha1", "sha256"] {
        let repo = Repo::bare_folder(&format!("empty-{format}"));
        repo.git(&["init", "--quiet", "--object-format", format]);
        let nothing = repo.print();
        repo.write("a", "a");
        assert_ne!(repo.print(), nothing);
        repo.is_kept_by_committing();
        assert!(repo.changes(|| repo.write("a", "b"), || repo.write("a", "a")));
    }
}

#[test]
fn without_a_working_tree_nobody_knows() {
    let repo = Repo::bare_folder("none");
    assert!(repo.why().contains("not a git repository"), "{}", repo.why());
    repo.git(&["init", "--quiet", "--bare"]);
    assert!(repo.why().contains("must be run in a work tree"), "{}", repo.why());
}

#[test]
fn without_git_it_says_so() {
    let mut repo = Repo::new("no-git");
    repo.exports.push(("PATH".into(), repo.top.to_str().unwrap().into()));
    assert!(repo.why().contains("git") && repo.why().contains("not found"), "{}", repo.why());
}

/// Root reads everything, so git is one that can't.
#[test]
fn a_file_that_can_not_be_read_is_a_doubt() {
    let mut repo = Repo::new("unreadable");
    repo.write("a", "a");
    repo.ignore = Dockerignore::parse("bin").unwrap();
    let real = which("git");
    let deny = "case \"$*\" in *hash-object*) cat >/dev/null; echo 'fatal: could not open a: Permission denied' >&2; exit 128;; esac";
    repo.write("bin/git", &format!("#!/bin/sh\n{deny}\nexec '{real}' \"$@\"\n"));
    repo.chmod("bin/git", 0o755);
    let path = format!("{}:{}", repo.top.join("bin").display(), std::env::var("PATH").unwrap());
    repo.exports.push(("PATH".into(), path));
    assert_eq!(repo.why(), "could not open a: Permission denied");
}

fn which(tool: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A build reads what lies there, not what git would commit.
#[test]
fn line_ends_and_filters_count_as_the_tree_has_them() {
    for (name, config, attributes) in [
        ("autocrlf", "core.autocrlf", ""),
        ("attributes", "core.eol", "* text=auto\n"),
        ("clean", "x.x", "a filter=f\n"),
    ] {
        let repo = Repo::new(name);
        let value = if name == "autocrlf" { "true" } else { "lf" };
        repo.git(&["config", config, value]);
        repo.git(&["config", "filter.f.clean", "tr -d '\\r'"]);
        repo.git(&["config", "filter.f.smudge", "cat"]);
        repo.write(".gitattributes", attributes);
        repo.write("a", "one\ntwo\n");
        repo.commit();
        let before = repo.print();
        repo.write("a", "one\r\ntwo\r\n");
        repo.git(&["add", "a"]);
        assert!(repo.try_git(&["status", "--porcelain"]).stdout.is_empty(), "{name}: to git it is unchanged");
        assert_ne!(repo.print(), before, "{name}: to a build it is not");
        repo.is_kept_by_committing();
        repo.write("a", "one\ntwo\n");
        assert_eq!(repo.print(), before, "{name}");
    }
}

/// What git calls clean is what its index says of times and sizes, under the
/// rules of when it was written.
#[test]
fn what_git_calls_clean_is_read_all_the_same() {
    let is_clean = |repo: &Repo| {
        assert!(repo.try_git(&["status", "--porcelain"]).stdout.is_empty(), "git sees it");
    };
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    // As after a while: git compares contents of what changed when its index did.
    let later = |repo: &Repo| {
        fs::File::open(repo.top.join("a")).unwrap().set_modified(long_ago).unwrap();
        repo.git(&["update-index", "--refresh"]);
    };
    // Checked out under other rules.
    let repo = Repo::new("rules");
    repo.write("a", "one\ntwo\n");
    repo.commit();
    let lf = repo.print();
    repo.git(&["config", "core.autocrlf", "true"]);
    repo.remove("a");
    repo.git(&["checkout", "--quiet", "a"]);
    later(&repo);
    repo.git(&["config", "core.autocrlf", "false"]);
    is_clean(&repo);
    assert_ne!(repo.print(), lf);
    // A filter that went.
    repo.git(&["config", "filter.f.smudge", "tr a-z A-Z"]);
    repo.git(&["config", "filter.f.clean", "tr A-Z a-z"]);
    repo.write(".git/info/attributes", "a filter=f\n");
    repo.remove("a");
    repo.git(&["checkout", "--quiet", "a"]);
    later(&repo);
    repo.git(&["config", "--unset", "filter.f.smudge"]);
    repo.remove(".git/info/attributes");
    is_clean(&repo);
    assert_ne!(repo.print(), lf);
    // The same length and the same time, and git looks at nothing else.
    let repo = Repo::new("minimal");
    repo.git(&["config", "core.checkStat", "minimal"]);
    repo.git(&["config", "core.trustctime", "false"]);
    repo.write("a", "1");
    fs::File::open(repo.top.join("a")).unwrap().set_modified(long_ago).unwrap();
    repo.commit();
    let before = repo.print();
    repo.write("a", "2");
    fs::File::open(repo.top.join("a")).unwrap().set_modified(long_ago).unwrap();
    is_clean(&repo);
    assert_ne!(repo.print(), before);
}

/// The record is no part of the answer.
#[test]
fn what_is_remembered_is_what_lies_there() {
    let mut repo = Repo::new("remembered");
    let cache = repo.top.with_file_name(format!("cache-{}", std::process::id()));
    for name in ["a", "b é", "c\nd", "d/e"] {
        repo.write(name, name);
    }
    repo.commit();
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let plain = repo.print();
    repo.cache = Some(cache.to_str().unwrap().to_owned());
    let record = || {
        let dir = cache.join("xtask/files");
        let is_record = |path: &PathBuf| !path.ends_with("lock");
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(is_record).unwrap()
    };
    let print = |repo: &Repo| {
        let (print, remembered) = (repo.print(), repo.cache.as_ref().map(|_| fs::read(record()).unwrap()));
        let without = Repo {
            top: repo.top.clone(),
            root: repo.root.clone(),
            project: project(&["**"]),
            ignore: Dockerignore::parse("").unwrap(),
            exports: repo.exports.clone(),
            cache: None,
        };
        assert_eq!(print, without.print());
        std::mem::forget(without);
        (print, remembered)
    };
    let (first, remembered) = print(&repo);
    assert_eq!(first, plain);
    assert!(remembered.unwrap().len() > 4 * 100, "four files are remembered");
    // Nothing is read: git could not even be asked.
    let denied = "case \"$*\" in *hash-object*) echo no >&2; exit 1;; esac";
    let real = which("git");
    let bin = cache.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("git"), format!("#!/bin/sh\n{denied}\nexec '{real}' \"$@\"\n")).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    repo.exports.push(("PATH".into(), path));
    assert_eq!(repo.print(), plain);
    // Where others could put an old record, none is believed.
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(repo.why(), "no");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
    // The same length, the same time of change as the file tells it, the same inode.
    let file = repo.top.join("a");
    let modified = file.metadata().unwrap().modified().unwrap();
    fs::write(&file, "b").unwrap();
    fs::File::open(&file).unwrap().set_modified(modified).unwrap();
    assert_eq!(repo.why(), "no");
    repo.exports.pop();
    assert_ne!(print(&repo).0, plain);
    // What is broken, cut or somebody's own invention is read again.
    fs::write(&file, "a").unwrap();
    for bytes in [&b""[..], b"xtask files 1\n", b"xtask files 1\nx", b"{}"] {
        fs::write(record(), bytes).unwrap();
        assert_eq!(print(&repo).0, plain);
    }
    fs::remove_dir_all(cache).unwrap();
}

#[test]
fn what_was_touched_between_two_moments_is_told() {
    let repo = Repo::new("moments");
    repo.write("d/a", "a");
    repo.write("b", "b");
    let sight = |path: &str| !repo.ignore.excludes(path);
    let look = || worktree::look(&repo.ctx(), &sight).unwrap().stats;
    let told = |change: &dyn Fn()| {
        let before = look();
        change();
        file_stats::touched(&before, &file_stats::walk(&repo.ctx(), &sight).unwrap())
    };
    assert_eq!(told(&|| {}), None);
    // There and back, and with the time that it says it has put back, too.
    let back = || {
        let modified = repo.top.join("b").metadata().unwrap().modified().unwrap();
        repo.write("b", "c");
        repo.write("b", "b");
        fs::File::open(repo.top.join("b")).unwrap().set_modified(modified).unwrap();
    };
    assert_eq!(told(&back).as_deref(), Some("b was touched"));
    let comes_and_goes = || {
        repo.write("d/new", "");
        repo.remove("d/new");
    };
    assert_eq!(told(&comes_and_goes).as_deref(), Some("d/ was touched"));
    let at_the_root = || {
        repo.write("new", "");
        repo.remove("new");
    };
    assert_eq!(told(&at_the_root).as_deref(), Some("./ was touched"));
    let permissions = || {
        repo.chmod("d/a", 0o600);
        repo.chmod("d/a", 0o644);
    };
    assert_eq!(told(&permissions).as_deref(), Some("d/a was touched"));
    assert_eq!(told(&|| repo.write("d/new", "")).as_deref(), Some("d/new and 1 more were touched"));
    // As soon as a file was looked at: not one of many is missed.
    for round in 0..30 {
        let text = ["x", "y"][round % 2];
        repo.write("b", text);
        assert!(told(&|| repo.write("b", text)).is_some(), "round {round}");
    }
}

#[test]
fn two_names_of_one_file_are_two_names_of_one_file() {
    let repo = Repo::new("names");
    repo.write("a", "1");
    repo.write("b", "1");
    repo.commit();
    let link = || {
        repo.remove("b");
        fs::hard_link(repo.top.join("a"), repo.top.join("b")).unwrap();
    };
    let unlink = || {
        repo.remove("b");
        repo.write("b", "1");
    };
    assert!(repo.changes(link, unlink));
}

#[test]
fn a_file_becomes_a_folder_and_a_folder_a_file_or_a_link() {
    let repo = Repo::new("becomes");
    repo.write("a", "a");
    repo.write("d/x", "x");
    repo.write("e/x", "x");
    repo.commit();
    let before = repo.print();
    repo.remove("a");
    repo.write("a/b", "a");
    let folder = repo.print();
    assert_ne!(folder, before);
    repo.is_kept_by_committing();
    fs::remove_dir_all(repo.top.join("d")).unwrap();
    repo.write("d", "x");
    assert_ne!(repo.print(), folder);
    repo.is_kept_by_committing();
    // The same names answer behind the link.
    let file = repo.print();
    fs::remove_dir_all(repo.top.join("e")).unwrap();
    repo.write("elsewhere/x", "x");
    symlink("elsewhere", repo.top.join("e")).unwrap();
    assert_ne!(repo.print(), file);
    repo.is_kept_by_committing();
}

#[test]
fn configured_headers_of_git_status_are_no_doubt() {
    let repo = Repo::new("headers");
    repo.write("a", "a");
    repo.commit();
    let before = repo.print();
    for key in ["status.showStash", "status.branch", "status.relativePaths"] {
        repo.git(&["config", key, "true"]);
    }
    repo.git(&["config", "status.showUntrackedFiles", "no"]);
    repo.write("a", "stashed");
    repo.git(&["stash", "--quiet"]);
    assert_eq!(repo.print(), before);
    assert!(repo.changes(|| repo.write("new", "1"), || repo.remove("new")));
}

#[test]
fn a_name_that_is_not_utf_8_is_a_doubt() {
    use std::os::unix::ffi::OsStrExt as _;
    let repo = Repo::new("bytes");
    fs::write(repo.top.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    assert!(repo.why().contains("UTF-8"), "{}", repo.why());
}
