//! `ci plan` on real repositories with real remotes: whatever history a job or
//! a person has, the answer is right, or it is everything and says why.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const SERVICES: &str = r#"[project]
name = "demo"
registry = "ghcr.io"
owner = "demo"

[services.api]
image = "demo-api"
target = "api"
paths = ["api/**", "!api/docs/**", "Dockerfile"]
platforms = ["linux/amd64", "linux/arm64"]

[services.web]
image = "demo-web"
paths = ["web/**", "vendor/ui", "Dockerfile"]
platforms = ["linux/amd64"]
"#;

const ZERO: &str = "0000000000000000000000000000000000000000";

/// A folder with repositories in it, gone afterwards.
struct World(PathBuf);

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl World {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().canonicalize().unwrap().join(format!("xtask-plan-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A repository with the services and one commit on main.
    fn repository(&self) -> Repo {
        let repo = Repo(self.0.join("work"));
        std::fs::create_dir_all(&repo.0).unwrap();
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo.write("services.toml", SERVICES);
        repo.write("Dockerfile", "FROM scratch AS api\n");
        repo.write("api/a.py", "a = 1\n");
        repo.write("web/a.ts", "1;\n");
        repo.commit("first");
        repo
    }

    /// The same, with a bare remote that main was pushed to.
    fn with_remote(&self) -> Repo {
        let repo = self.repository();
        repo.git(&["init", "--quiet", "--bare", "--initial-branch=main", &self.remote()]);
        repo.git(&["--git-dir", &self.remote(), "config", "uploadpack.allowFilter", "true"]);
        repo.git(&["remote", "add", "origin", &self.url()]);
        repo.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        repo
    }

    fn remote(&self) -> String {
        self.0.join("remote.git").to_str().unwrap().to_owned()
    }

    /// By URL: git would copy a path's whole history, however shallow the clone.
    fn url(&self) -> String {
        format!("file://{}", self.remote())
    }

    /// What actions/checkout leaves: one commit, and nothing else of the remote.
    fn checkout(&self, name: &str, branch: &str) -> Repo {
        let repo = Repo(self.0.join(name));
        Repo(self.0.clone()).git(&["clone", "--quiet", "--depth=1", "--branch", branch, &self.url(), name]);
        repo
    }

    /// The environment of a job with this event.
    fn event(&self, name: &str, payload: &Value) -> Vec<(&'static str, String)> {
        let file = self.0.join("event.json");
        std::fs::write(&file, payload.to_string()).unwrap();
        vec![
            ("CI", "true".into()),
            ("GITHUB_EVENT_NAME", name.into()),
            ("GITHUB_EVENT_PATH", file.to_str().unwrap().into()),
        ]
    }

    fn pushed(&self, name: &str, before: &str, after: &str) -> Vec<(&'static str, String)> {
        self.event("push", &json!({ "ref": name, "before": before, "after": after }))
    }

    fn pull_request(&self, base: &str, head: &str) -> Vec<(&'static str, String)> {
        self.event("pull_request", &json!({ "pull_request": { "base": { "sha": base }, "head": { "sha": head } } }))
    }
}

struct Repo(PathBuf);

impl Repo {
    fn write(&self, path: impl AsRef<OsStr>, text: &str) {
        let path = self.0.join(Path::new(path.as_ref()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        let output = pinned(Command::new("git").args(args), &self.0).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Commits all there is; its name.
    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.head()
    }

    /// Writes a file and commits it.
    fn change(&self, path: &str) -> String {
        self.write(path, &format!("{path} after {}\n", self.head()));
        self.commit(path)
    }

    fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    fn xtask(&self, args: &[&str], env: &[(&str, String)]) -> Command {
        let mut command = common::pinned(&[&["ci", "plan"], args].concat());
        pinned(&mut command, &self.0).envs(env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn plan(&self, args: &[&str], env: &[(&str, String)]) -> Planned {
        let output = self.xtask(&[args, &["--format", "json"]].concat(), env).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        Planned { json: serde_json::from_slice(&output.stdout).unwrap(), stderr }
    }
}

/// Neither this machine's configuration nor its clock.
fn pinned<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    let config = [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "protocol.file.allow"),
        ("GIT_CONFIG_VALUE_0", "always"),
    ];
    let people = ["AUTHOR", "COMMITTER"].map(|who| {
        [
            (format!("GIT_{who}_NAME"), "n"),
            (format!("GIT_{who}_EMAIL"), "n@example.org"),
            (format!("GIT_{who}_DATE"), "1700000000 +0000"),
        ]
    });
    command
        .current_dir(dir)
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(config)
        .envs(people.into_iter().flatten())
}

struct Planned {
    json: Value,
    stderr: String,
}

impl Planned {
    fn affected(&self) -> Vec<&str> {
        let services = self.json["services"].as_array().unwrap().iter();
        services
            .filter(|service| service["affected"] == true)
            .map(|service| service["name"].as_str().unwrap())
            .collect()
    }

    /// Everything is affected, for this reason, and nobody can miss it.
    fn is_everything(&self, cause: &str) {
        for service in self.json["services"].as_array().unwrap() {
            assert_eq!(service["affected"], true);
            assert_eq!(service["reason"]["kind"], "everything");
            let told = service["reason"]["cause"].as_str().unwrap();
            assert!(told.contains(cause), "no {cause:?} in {told:?}");
        }
        assert!(self.stderr.contains("note: everything is affected: "), "{}", self.stderr);
    }

    /// The file that made the service affected.
    fn path(&self, service: &str) -> &str {
        let mut services = self.json["services"].as_array().unwrap().iter();
        services.find(|found| found["name"] == service).unwrap()["reason"]["path"].as_str().unwrap()
    }
}

fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn ended(command: &mut Command, code: i32, words: &str) {
    let (actual, _, stderr) = text(&command.output().unwrap());
    assert_eq!(actual, code, "{stderr}");
    assert!(stderr.contains(words), "no {words:?} in {stderr}");
}

#[test]
fn a_commit_has_its_own_fingerprint_or_none() {
    let world = World::new("fingerprint-of-head");
    let repo = world.repository();
    repo.write(".gitignore", "api/cache\n");
    repo.commit("ignored");
    let first = repo.head();
    let of = |args: &[&str]| repo.plan(args, &[]).json["services"][0]["fingerprint"].clone();
    let clean = of(&[]);
    assert!(clean.is_string());
    let same = ["HEAD", "main", &first].map(|head| of(&["--head", head]));
    assert_eq!(same, [clean.clone(), clean.clone(), clean.clone()]);

    // What a build would find is another thing than the commit.
    for (path, text) in [("api/a.py", "a = 2\n"), ("api/new.py", ""), ("api/cache", "")] {
        let before = std::fs::read_to_string(repo.0.join(path)).ok();
        repo.write(path, text);
        assert_eq!(of(&["--head", "HEAD"]), Value::Null, "{path}");
        repo.git(&["add", "--all"]);
        assert_eq!(of(&["--head", "HEAD"]), Value::Null, "{path}, staged");
        repo.git(&["reset", "--quiet"]);
        match before {
            Some(text) => repo.write(path, &text),
            None => std::fs::remove_file(repo.0.join(path)).unwrap(),
        }
        assert_eq!(of(&["--head", "HEAD"]), clean, "{path}, back again");
    }
    repo.write("api/a.py", "a = 2\n");
    repo.git(&["update-index", "--assume-unchanged", "api/a.py"]);
    assert_eq!(of(&["--head", "HEAD"]), Value::Null, "whatever git was told");
    repo.git(&["update-index", "--no-assume-unchanged", "api/a.py"]);
    repo.commit("second");
    let of_second = of(&["--head", "HEAD"]);
    assert_eq!((&of_second, of(&["--head", &first])), (&of(&[]), Value::Null));
    assert_ne!(of_second, clean);
}

#[test]
fn the_working_tree_counts_with_what_is_not_committed_and_not_tracked() {
    let world = World::new("working-tree");
    let repo = world.repository();
    let first = repo.head();
    repo.write(".gitignore", "ignored\nunseen\n");
    repo.write(".dockerignore", "**/unseen\n");
    repo.commit("ignore");
    assert_eq!(repo.plan(&["--base", "HEAD"], &[]).affected(), [""; 0]);
    repo.write("api/unseen", "");
    repo.write("api/docs/a.md", "");
    repo.write("docs/ignored", "");
    assert_eq!(repo.plan(&["--base", "HEAD"], &[]).affected(), [""; 0]);
    // What git ignores and a build sees.
    repo.write("api/ignored", "");
    let planned = repo.plan(&["--base", "HEAD"], &[]);
    assert_eq!((planned.affected(), planned.path("api")), (vec!["api"], "api/ignored"));
    std::fs::remove_file(repo.0.join("api/ignored")).unwrap();
    repo.write("web/new.ts", "");
    assert_eq!(repo.plan(&[], &[]).affected(), ["web"]);
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    repo.write("web/new.ts", "2");
    repo.git(&["add", "web"]);
    repo.write("api/a.py", "a = 2\n");
    assert_eq!(repo.plan(&[], &[]).affected(), ["api", "web"]);
    repo.commit("both");
    let planned = repo.plan(&[], &[]);
    assert_eq!(planned.affected(), ["api", "web"], "what is committed on the branch counts too");
    assert_eq!(planned.json["base"], repo.git(&["rev-parse", "main"]));
    assert_eq!(planned.json["head"], Value::Null);
    assert_eq!(repo.plan(&["web"], &[]).json["services"].as_array().unwrap().len(), 1);
    assert_eq!(
        repo.plan(&["--head", &first], &[]).affected(),
        [""; 0],
        "with a head, the working tree is not looked at"
    );
    ended(&mut repo.xtask(&["nope"], &[]), 2, "the services are: api, web");
}

#[test]
fn what_the_base_did_since_then_does_not_count() {
    let world = World::new("moved");
    let repo = world.with_remote();
    let fork = repo.head();
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    let head = repo.change("api/b.py");
    repo.git(&["checkout", "--quiet", "main"]);
    let base = repo.change("web/b.ts");
    for planned in [
        repo.plan(&["--base", "main", "--head", "topic"], &[]),
        repo.plan(&[], &world.pull_request(&base, &head)),
        repo.plan(&["--head", "topic"], &[]),
    ] {
        assert_eq!(planned.affected(), ["api"]);
        assert_eq!(planned.json["base"], fork);
        assert_eq!(planned.json["head"], head);
    }
    repo.git(&["checkout", "--quiet", "topic"]);
    repo.write("web/untracked.ts", "");
    assert_eq!(repo.plan(&["--base", "main"], &[]).affected(), ["api", "web"]);
}

#[test]
fn branches_that_were_merged_into_each_other_have_an_answer() {
    let world = World::new("crossed");
    let repo = world.repository();
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    repo.change("api/topic");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.change("docs/main");
    repo.git(&["merge", "--quiet", "--no-edit", "topic"]);
    repo.git(&["checkout", "--quiet", "topic"]);
    repo.git(&["merge", "--quiet", "--no-edit", "main~1"]);
    assert_eq!(repo.git(&["merge-base", "--all", "main", "topic"]).lines().count(), 2);
    repo.write("web/new", "");
    let main = repo.git(&["rev-parse", "main"]);
    for args in [&["--strict"][..], &["--strict", "--base", "main"], &["--strict", "--base", &main]] {
        assert_eq!(repo.plan(args, &[]).path("web"), "web/new");
    }
    repo.commit("new");
    assert_eq!(repo.plan(&["--strict", "--base", "main", "--head", "topic"], &[]).path("web"), "web/new");
}

#[test]
fn a_rename_a_deletion_and_a_new_mode_count() {
    let world = World::new("rename");
    let repo = world.repository();
    repo.git(&["config", "diff.renames", "copies"]);
    repo.git(&["mv", "api/a.py", "web/moved.py"]);
    repo.commit("move");
    assert_eq!(repo.plan(&["--base", "HEAD~1", "--head", "HEAD"], &[]).affected(), ["api", "web"]);
    repo.git(&["rm", "--quiet", "web/a.ts"]);
    repo.commit("remove");
    assert_eq!(repo.plan(&["--base", "HEAD~1", "--head", "HEAD"], &[]).affected(), ["web"]);
    // No image is made of the Dockerfile's own mode.
    for (path, services) in [("web/moved.py", vec!["web"]), ("Dockerfile", vec![])] {
        repo.git(&["update-index", "--chmod=+x", path]);
        repo.git(&["commit", "--quiet", "--message", "mode"]);
        assert_eq!(repo.plan(&["--base", "HEAD~1", "--head", "HEAD"], &[]).affected(), services, "{path}");
    }
}

#[test]
fn a_name_of_a_file_is_whatever_it_is() {
    let world = World::new("names");
    let repo = world.repository();
    for (name, shown) in [
        (&b"api/\xc3\xbc \xe6\xbc\xa2.py"[..], "ü 漢.py"),
        (b"api/a\nb.py", "\"api/a\\nb.py\""),
        (b"api/\"quoted\".py", "api/\"quoted\".py"),
        (b"api/x\n::stop-commands::x", "\"api/x\\n::stop-commands::x\""),
        (b"api/\xff\xfe.py", "api/\u{fffd}\u{fffd}.py"),
    ] {
        repo.write(OsStr::from_bytes(name), "");
        let untracked = text(&repo.xtask(&["--base", "HEAD"], &[]).output().unwrap()).1;
        let is_text = std::str::from_utf8(name).is_ok();
        let told = if is_text { shown } else { "everything: a file's name is not UTF-8" };
        assert!(untracked.contains(told), "{untracked}");
        repo.commit("name");
        let range = ["--base", "HEAD~1", "--head", "HEAD"];
        let committed = text(&repo.xtask(&[&range[..], &["--explain"]].concat(), &[]).output().unwrap()).1;
        assert!(
            committed.contains(&format!("      ← {}", shown.trim_start_matches("ü "))) || committed.contains(shown)
        );
        assert!(committed.lines().all(|line| !line.trim_start().starts_with("::")), "{committed}");
        assert_eq!(repo.plan(&range, &[]).affected(), ["api"]);
        assert_eq!(repo.plan(&range, &[]).path("api"), String::from_utf8_lossy(name));
    }
}

#[test]
fn a_push_compares_what_was_with_what_is_and_a_new_branch_its_fork() {
    let world = World::new("push");
    let repo = world.with_remote();
    let before = repo.head();
    repo.change("web/b.ts");
    let after = repo.change("docs/x");
    let planned = repo.plan(&[], &world.pushed("refs/heads/main", &before, &after));
    assert_eq!(planned.affected(), ["web"]);
    assert_eq!((planned.json["base"].as_str(), planned.json["head"].as_str()), (Some(&*before), Some(&*after)));
    repo.git(&["push", "--quiet", "origin", "main"]);
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    repo.change("api/b.py");
    let head = repo.change("docs/y");
    repo.git(&["push", "--quiet", "origin", "topic"]);
    let new = world.pushed("refs/heads/topic", ZERO, &head);
    assert_eq!(repo.plan(&[], &new).affected(), ["api"]);
    // Nothing of the default branch is here; it is fetched.
    let shallow = world.checkout("shallow", "topic");
    let planned = shallow.plan(&["--strict"], &new);
    assert_eq!(planned.affected(), ["api"]);
    assert_eq!(planned.json["base"], after);
    assert!(planned.stderr.contains(" fetch --quiet "), "{}", planned.stderr);
    repo.plan(&[], &world.pushed("refs/heads/main", ZERO, &head)).is_everything("the default branch `main` is new");
}

#[test]
fn a_tag_the_clock_and_a_hand_are_everything_and_no_failure() {
    let world = World::new("tag");
    let repo = world.with_remote();
    let head = repo.head();
    let strict = |env: &[(&str, String)]| repo.plan(&["--strict"], env);
    strict(&world.pushed("refs/tags/v1", ZERO, &head)).is_everything("the tag `v1` was pushed");
    strict(&[("GITHUB_EVENT_NAME", "schedule".into())]).is_everything("scheduled");
    let inputs = json!({ "inputs": { "force_rebuild": "true", "suffix": "dev" } });
    strict(&world.event("workflow_dispatch", &inputs)).is_everything("`force_rebuild`");
    let after = repo.change("web/x");
    let group = json!({ "merge_group": { "base_sha": head, "head_sha": after } });
    assert_eq!(strict(&world.event("merge_group", &group)).affected(), ["web"]);
}

#[test]
fn after_a_forced_push_the_old_commit_is_fetched_or_the_merge_base_stands_in() {
    let world = World::new("forced");
    let repo = world.with_remote();
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    let before = repo.change("web/gone.ts");
    repo.git(&["push", "--quiet", "origin", "topic"]);
    repo.git(&["reset", "--quiet", "--hard", "main"]);
    let after = repo.change("api/b.py");
    repo.git(&["push", "--quiet", "--force", "origin", "topic"]);
    let event = world.pushed("refs/heads/topic", &before, &after);
    // The remote still has it: both what came and what went counts.
    assert_eq!(world.checkout("one", "topic").plan(&["--strict"], &event).affected(), ["api", "web"]);
    repo.git(&["--git-dir", &world.remote(), "gc", "--quiet", "--prune=now"]);
    let planned = world.checkout("two", "topic").plan(&["--strict"], &event);
    assert_eq!(planned.affected(), ["api"]);
    assert!(planned.stderr.contains(&format!("note: there is no commit `{before}` here")), "{}", planned.stderr);
    assert!(planned.stderr.contains("from the merge base with `main` instead"), "{}", planned.stderr);
    // The merge base of the default branch with itself would hide everything.
    let main = world.pushed("refs/heads/main", &before, &repo.git(&["rev-parse", "main"]));
    let clone = world.checkout("three", "main");
    clone.plan(&[], &main).is_everything(&before);
    ended(&mut clone.xtask(&["--strict"], &main), 1, "the changes are unknown: there is no commit");
}

#[test]
fn a_clone_of_depth_one_is_deepened_or_it_is_everything() {
    let world = World::new("shallow");
    let repo = world.with_remote();
    let fork = repo.head();
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    let head = repo.change("api/b.py");
    repo.git(&["checkout", "--quiet", "main"]);
    let base = repo.change("web/b.ts");
    repo.git(&["push", "--quiet", "origin", "main", "topic"]);
    let event = world.pull_request(&base, &head);
    let planned = world.checkout("pull", "topic").plan(&["--strict"], &event);
    assert_eq!((planned.affected(), planned.json["base"].as_str()), (vec!["api"], Some(&*fork)));
    let typed = world.checkout("typed", "topic").plan(&["--strict", "--fetch", "--base", "origin/main"], &[]);
    assert_eq!((typed.affected(), typed.json["base"].as_str()), (vec!["api"], Some(&*fork)));
    let clone = world.checkout("parent", "topic");
    let parent = ["--base", "HEAD~1", "--head", "HEAD"];
    // Outside of a job only who asks for it goes to the network.
    clone.plan(&parent, &[]).is_everything("(`--fetch` gets what is missing from the remote)");
    assert_eq!(clone.plan(&[&parent[..], &["--strict", "--fetch"]].concat(), &[]).affected(), ["api"]);
    // GitHub checks the merge of a pull request out, which no branch holds.
    repo.git(&["checkout", "--quiet", "--detach", &base]);
    repo.git(&["merge", "--quiet", "--no-edit", "topic"]);
    repo.git(&["push", "--quiet", "origin", "HEAD:refs/pull/1/merge"]);
    let merge = Repo(world.0.join("merge"));
    repo.git(&["init", "--quiet", merge.0.to_str().unwrap()]);
    merge.git(&["remote", "add", "origin", &world.url()]);
    merge.git(&["fetch", "--quiet", "--depth=1", "origin", "+refs/pull/1/merge:refs/remotes/pull/1/merge"]);
    merge.git(&["checkout", "--quiet", "--detach", "refs/remotes/pull/1/merge"]);
    let planned = merge.plan(&["--strict"], &event);
    assert_eq!((planned.affected(), planned.json["base"].as_str()), (vec!["api"], Some(&*fork)));
    // A push needs no merge base, but the commit that was.
    let push = world.pushed("refs/heads/main", &fork, &base);
    assert_eq!(world.checkout("push", "main").plan(&["--strict"], &push).affected(), ["web"]);

    let clone = world.checkout("alone", "topic");
    clone.git(&["remote", "set-url", "origin", "file:///nowhere"]);
    let event = world.pull_request(&base, &head);
    let planned = clone.plan(&[], &event);
    planned
        .is_everything("git could not fetch what is missing: fatal: '/nowhere' does not appear to be a git repository");
    ended(&mut clone.xtask(&["--strict"], &event), 1, "without `--strict` everything counts as changed");
    // A merge base that is found in a cut history proves nothing.
    clone.plan(&["--base", "HEAD", "--head", "HEAD"], &[]).is_everything("the clone is shallow");
}

#[test]
fn a_fetch_that_fails_is_tried_once_more() {
    let world = World::new("retry");
    let repo = world.with_remote();
    let base = repo.head();
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    let head = repo.change("api/b.py");
    repo.git(&["push", "--quiet", "origin", "topic"]);
    let event = world.pull_request(&base, &head);
    let tries = world.0.join("tries");
    let serves_from = |at_try: usize| {
        let clone = world.checkout(&format!("try-{at_try}"), "topic");
        let script = world.0.join("serve");
        let text = format!(
            "#!/bin/sh\necho >>{0}\n[ $(wc -l <{0}) -ge {at_try} ] && exec git upload-pack \"$@\"\nexit 1\n",
            tries.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        clone.git(&["config", "remote.origin.uploadpack", script.to_str().unwrap()]);
        let _ = std::fs::remove_file(&tries);
        let planned = clone.plan(&[], &event);
        (planned, std::fs::read_to_string(&tries).unwrap().len())
    };
    let (planned, tried) = serves_from(2);
    assert_eq!((planned.affected(), tried), (vec!["api"], 2));
    let (planned, tried) = serves_from(3);
    planned.is_everything("git could not fetch what is missing");
    assert_eq!(tried, 2);
}

#[test]
fn tips_without_a_common_ancestor_are_everything() {
    let world = World::new("unrelated");
    let repo = world.repository();
    repo.git(&["checkout", "--quiet", "--orphan", "other"]);
    repo.commit("another beginning");
    for args in [&["--base", "main", "--head", "other"][..], &["--base", "main"], &[]] {
        repo.plan(args, &[]).is_everything("have no common ancestor");
        ended(&mut repo.xtask(&[args, &["--strict"]].concat(), &[]), 1, "have no common ancestor");
    }
}

#[test]
fn a_submodule_is_its_own_path() {
    let world = World::new("submodule");
    let repo = world.with_remote();
    repo.git(&["config", "diff.ignoreSubmodules", "all"]);
    repo.git(&["submodule", "--quiet", "add", &world.url(), "vendor/ui"]);
    repo.git(&["submodule", "--quiet", "add", &world.url(), "api/sub"]);
    repo.commit("submodules");
    let inner = Repo(repo.0.join("vendor/ui"));
    inner.write("src/x", "");
    assert_eq!(repo.plan(&[], &[]).affected(), ["api", "web"], "the submodules are not pushed yet");
    assert_eq!(repo.plan(&["--base", "HEAD"], &[]).affected(), ["web"], "and one of them has work in it");
    inner.commit("inside");
    repo.commit("bump");
    let planned = repo.plan(&["--base", "HEAD~1", "--head", "HEAD"], &[]);
    assert_eq!((planned.affected(), planned.path("web")), (vec!["web"], "vendor/ui"));
}

#[test]
fn a_base_that_does_not_exist_is_everything() {
    let world = World::new("base");
    let repo = world.with_remote();
    for base in ["nope", "origin/nope", &"1".repeat(40)] {
        repo.plan(&["--base", base], &[]).is_everything(&format!("there is no commit `{base}` here"));
        ended(&mut repo.xtask(&["--strict", "--base", base, "--head", "HEAD"], &[]), 1, base);
    }
    repo.plan(&["--head", "nope"], &[]).is_everything("there is no commit `nope` here");
    ended(&mut repo.xtask(&["--base=--output=x"], &[]), 2, "expected one commit");
    assert!(!repo.0.join("x").exists());
}

#[test]
fn an_event_file_that_is_not_the_events_is_everything() {
    let world = World::new("event");
    let repo = world.repository();
    let file = world.0.join("event.json");
    let name = ("GITHUB_EVENT_NAME", "push".to_owned());
    let path = ("GITHUB_EVENT_PATH", file.to_str().unwrap().to_owned());
    let is_everything = |env: &[(&str, String)], cause: &str| {
        repo.plan(&[], env).is_everything(cause);
        ended(&mut repo.xtask(&["--strict"], env), 1, cause);
    };
    is_everything(std::slice::from_ref(&name), "GITHUB_EVENT_PATH, which names the event file, is not set");
    let env = [name, path];
    is_everything(&env, "can't be read: No such file");
    for (text, cause) in [
        ("", "the event file is empty"),
        ("{", "the event file is not JSON"),
        ("{\"pull_request\":{}}", "the event file is not that of a `push`: it has no `ref`"),
    ] {
        std::fs::write(&file, text).unwrap();
        is_everything(&env, cause);
    }
}

#[test]
fn where_there_is_no_history_it_is_everything() {
    let world = World::new("empty");
    let repo = Repo(world.0.join("work"));
    repo.write("services.toml", SERVICES);
    repo.plan(&[], &[]).is_everything("not a git repository");
    repo.git(&["init", "--quiet", "--initial-branch=main"]);
    for args in [&[][..], &["--base", "main"]] {
        repo.plan(args, &[]).is_everything("the repository has no commit yet");
        ended(&mut repo.xtask(&[args, &["--strict"]].concat(), &[]), 1, "no commit yet");
    }
    repo.commit("first");
    repo.git(&["branch", "--quiet", "--move", "trunk"]);
    repo.plan(&[], &[]).is_everything("there is no commit `origin/main` here");
}

#[test]
fn the_tool_and_what_all_services_share_are_everything_and_no_failure() {
    let world = World::new("all");
    let repo = world.repository();
    let range = ["--strict", "--base", "HEAD~1", "--head", "HEAD"];
    repo.write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n");
    for path in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "xtask/src/main.rs", "xtask/crates/a/src/lib.rs"] {
        repo.change(path);
        assert_eq!(repo.plan(&range, &[]).affected(), [""; 0], "{path} is this project's own affair");
    }
    repo.write("xtask/Cargo.toml", include_str!("../Cargo.toml"));
    repo.commit("ours");
    repo.plan(&range, &[]).is_everything("xtask/Cargo.toml changed");
    repo.change("Cargo.lock");
    repo.plan(&range, &[]).is_everything("Cargo.lock changed");
    repo.write("services.toml", &SERVICES.replace("ghcr.io", "quay.io"));
    repo.plan(&["--strict", "--base", "HEAD"], &[]).is_everything("`[project]` of services.toml changed");
    repo.write("list", "services.toml\n");
    repo.plan(&["--strict", "--files-from", "list"], &[])
        .is_everything("a list of files does not contain the older version");
}

#[test]
fn a_table_of_services_toml_is_its_own_services_affair_on_whatever_sides() {
    let world = World::new("tables");
    let repo = world.repository();
    let first = repo.head();
    let changed = SERVICES.replace("\"web/**\",", "\"web/**\", \"site/**\",");
    repo.write("services.toml", &format!("# more\n{SERVICES}"));
    assert_eq!(repo.plan(&["--strict"], &[]).affected(), [""; 0], "a comment is nobody's");
    repo.write("services.toml", &changed);
    let planned = repo.plan(&["--strict"], &[]);
    assert_eq!((planned.affected(), planned.path("web")), (vec!["web"], "services.toml"));
    let reason = &planned.json["services"][1]["reason"];
    assert_eq!(*reason, json!({ "kind": "rule", "path": "services.toml", "cause": "`[services.web]` changed" }));
    let second = repo.commit("web");
    let main = repo.plan(&["--base", &first, "--head", &second], &[]);
    assert_eq!(main.affected(), ["web"]);
    // The merge base is what was, whatever the other side has become.
    repo.git(&["checkout", "--quiet", "-b", "topic", &first]);
    repo.write("services.toml", &SERVICES.replace("\"api/**\",", "\"api/**\", \"lib/**\","));
    let topic = repo.commit("api");
    assert_eq!(repo.plan(&["--base", "main", "--head", "topic"], &[]).affected(), ["api"]);
    assert_eq!(repo.plan(&["--base", "main"], &[]).affected(), ["api"]);
    let event = world.pull_request(&second, &topic);
    assert_eq!(repo.plan(&[], &event).affected(), ["api"]);
    // What it was can't be read: it is a link in the older commit.
    std::fs::remove_file(repo.0.join("services.toml")).unwrap();
    std::os::unix::fs::symlink("elsewhere", repo.0.join("services.toml")).unwrap();
    repo.commit("link");
    std::fs::remove_file(repo.0.join("services.toml")).unwrap();
    repo.write("services.toml", SERVICES);
    repo.plan(&["--base", "HEAD"], &[]).is_everything("the older one can't be read: it is a symbolic link there");
    ended(&mut repo.xtask(&["--base", "HEAD", "--strict"], &[]), 1, "the changes are unknown");
}

#[test]
fn a_workflow_is_the_affair_of_the_services_that_it_is_part_of() {
    let world = World::new("workflows");
    let repo = world.repository();
    repo.write(".github/workflows/api-docker-build.yml", "jobs: {a: {uses: ./.github/workflows/image.yml}}\n");
    repo.write(".github/workflows/image.yml", "jobs: {a: {steps: [{uses: ./.github/actions/one}]}}\n");
    repo.write(".github/actions/one/action.yml", "runs: {using: composite, steps: []}\n");
    repo.commit("workflows");
    let range = ["--strict", "--base", "HEAD~1", "--head", "HEAD"];
    for path in [".github/workflows/README.md", ".github/workflows/ci.yml", ".github/actions/other/action.yml"] {
        repo.change(path);
        assert_eq!(repo.plan(&range, &[]).affected(), [""; 0], "{path}");
    }
    for path in [".github/actions/one/run.sh", ".github/workflows/image.yml", ".github/workflows/api-docker-build.yml"]
    {
        repo.write(path, &format!("# more\n{}", std::fs::read_to_string(repo.0.join(path)).unwrap_or_default()));
        let here = repo.plan(&["--strict", "--base", "HEAD"], &[]);
        repo.commit(path);
        let there = repo.plan(&range, &[]);
        for planned in [here, there] {
            assert_eq!((planned.affected(), planned.path("api")), (vec!["api"], path));
        }
        let (_, text, _) = text(&repo.xtask(&[&range[..], &["--explain"]].concat(), &[]).output().unwrap());
        assert!(text.contains(&format!("affected      its workflow uses it ← {path}")), "{text}");
    }
    repo.write(".github/workflows/image.yml", "jobs: [");
    repo.commit("torn");
    repo.change(".github/actions/other/action.yml");
    ended(&mut repo.xtask(&range, &[]), 1, ".github/workflows/image.yml may use it, but can't be followed");
}

#[test]
fn a_project_in_a_folder_of_the_repository_sees_that_folder() {
    let world = World::new("folder");
    let repo = world.repository();
    repo.write("sub/services.toml", SERVICES);
    repo.write("sub/Dockerfile", "FROM scratch AS api\n");
    repo.write("sub/api/b.py", "");
    repo.commit("sub");
    let sub = Repo(repo.0.join("sub"));
    repo.change("api/outside.py");
    repo.change(".github/workflows/outside.yml");
    repo.write("web/untracked", "");
    assert_eq!(sub.plan(&["--base", "HEAD~2"], &[]).affected(), [""; 0]);
    repo.change("sub/web/x");
    sub.write("api/untracked", "");
    let planned = sub.plan(&["--base", "HEAD~1"], &[]);
    assert_eq!((planned.affected(), planned.path("web")), (vec!["api", "web"], "web/x"));
    let elsewhere = repo.plan(&["--root", "sub", "--base", "HEAD~1", "--head", "HEAD"], &[]);
    assert_eq!(elsewhere.affected(), ["web"]);
}

#[test]
fn a_list_of_files_needs_no_history() {
    let world = World::new("list");
    let repo = Repo(world.0.join("work"));
    repo.write("services.toml", SERVICES);
    repo.write("Dockerfile", "FROM scratch AS api\nCOPY shared /\n");
    for (list, affected) in [
        ("", vec![]),
        ("README.md\napi/docs/x\n", vec![]),
        ("./api/a.py\r\nREADME.md", vec!["api"]),
        ("README\napi/a\0web/x\0", vec!["web"]),
        ("Dockerfile\n", vec!["api", "web"]),
        ("\"api/\\303\\274.py\"\n", vec!["api"]),
        ("\"docs/\\303\\274.py\"\n", vec![]),
        // No path of theirs, and a stage reads it all the same.
        ("shared/a\n", vec!["api", "web"]),
        (".dockerignore\n", vec!["api", "web"]),
    ] {
        repo.write("list", list);
        assert_eq!(repo.plan(&["--files-from", "list"], &[]).affected(), affected, "{list:?}");
        let mut command = repo.xtask(&["--files-from", "-", "--format", "json"], &[]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
        let json = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(Planned { json, stderr: String::new() }.affected(), affected, "{list:?}");
    }
    ended(&mut repo.xtask(&["--files-from", "nope"], &[]), 2, "--files-from nope: No such file");
    repo.write("list", "a\n\"api/a\n");
    ended(&mut repo.xtask(&["--files-from", "list"], &[]), 2, "line 2 begins with a quote");
    ended(&mut repo.xtask(&["--files-from", "list", "--base", "x"], &[]), 2, "cannot be used with");
}

#[test]
fn a_hundred_thousand_changed_paths_are_all_looked_at() {
    let world = World::new("many");
    let repo = world.repository();
    let blob = repo.git(&["hash-object", "-w", "Dockerfile"]);
    let mut index: String = (0..100_000).map(|at| format!("100644 {blob}\tdocs/{}/{at}\n", at % 100)).collect();
    index.push_str(&format!("100644 {blob}\tweb/zzz\n"));
    let mut command = Command::new("git");
    pinned(command.args(["update-index", "--index-info"]), &repo.0).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(index.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    repo.git(&["commit", "--quiet", "--message", "many"]);
    let planned = repo.plan(&["--base", "HEAD~1", "--head", "HEAD"], &[]);
    assert_eq!((planned.affected(), planned.path("web")), (vec!["web"], "web/zzz"));
    let cause = planned.json["services"][0]["reason"]["cause"].as_str().unwrap();
    assert!(cause.contains("100001 files against 3 patterns"), "{cause}");
    repo.write("list", &repo.git(&["diff", "--name-only", "HEAD~1", "HEAD"]));
    assert_eq!(repo.plan(&["--files-from", "list"], &[]).affected(), ["web"]);
}

#[test]
fn a_changed_stage_counts_for_whom_it_makes_and_a_rule_for_whose_files_it_is_about() {
    let world = World::new("stages");
    let repo = world.repository();
    let paths = SERVICES.replace("\"Dockerfile\"]", "\"Dockerfile\", \".dockerignore\"]");
    repo.write("services.toml", &paths);
    let dockerfile = "FROM scratch AS base\nFROM base AS api\nCOPY api /\nFROM base AS web\nCOPY web /\n";
    repo.write("Dockerfile", dockerfile);
    repo.write(".dockerignore", "docs\n");
    repo.commit("stages");
    let range = ["--strict", "--base", "HEAD~1", "--head", "HEAD"];
    for (file, text, services) in [
        ("Dockerfile", dockerfile.replace("COPY web", "COPY --link web"), vec!["web"]),
        ("Dockerfile", dockerfile.replace("COPY api /\n", "COPY api /\nENV A=1\n"), vec!["api"]),
        ("Dockerfile", dockerfile.replace("scratch", "a"), vec!["api", "web"]),
        ("Dockerfile", format!("# why\n\n{}", dockerfile.replace("COPY web", "COPY \\\n  # more\n  web")), vec![]),
        ("Dockerfile", dockerfile.replace("FROM base AS api", "FROM scratch AS more\nFROM base AS api"), vec![]),
        (".dockerignore", "docs\n# more\n**/nothing\n".into(), vec![]),
        (".dockerignore", "docs\nweb/*.ts\n".into(), vec!["web"]),
        (".dockerignore", "*\n!api\n".into(), vec!["web"]),
        (".dockerignore", "*\n!api\n!web\n".into(), vec![]),
    ] {
        repo.write(file, &text);
        assert_eq!(repo.plan(&["--strict", "--base", "HEAD"], &[]).affected(), services, "{text}");
        // A list does not say what was there.
        repo.write("../list", &format!("{file}\n"));
        let list = world.0.join("list");
        assert_eq!(repo.plan(&["--files-from", list.to_str().unwrap()], &[]).affected(), ["api", "web"], "{text}");
        repo.commit("edited");
        assert_eq!(repo.plan(&range, &[]).affected(), services, "{text}");
        repo.git(&["revert", "--no-edit", "HEAD"]);
        assert_eq!(repo.plan(&range, &[]).affected(), services, "back from {text}");
    }
    repo.write("Dockerfile", &format!("{dockerfile}# more\n"));
    let told = text(&repo.xtask(&["--base", "HEAD"], &[]).output().unwrap()).1;
    let line = "1 file against 4 patterns; the change of Dockerfile does not concern it";
    assert!(told.contains(line), "{told}");
}

#[test]
fn explained_is_every_file_under_its_pattern_and_line() {
    let world = World::new("explain");
    let repo = world.repository();
    for path in ["api/b.py", "api/docs/x.md", "README.md"] {
        repo.write(path, "changed\n");
    }
    repo.write("Dockerfile", "# changed\nFROM scratch AS api\nFROM scratch AS web\nCOPY web /web\n");
    let (_, all, _) = text(&repo.xtask(&["--explain"], &[]).output().unwrap());
    expect_test::expect![[r#"
        main...the working tree: 4 changed files
        api  affected      api/** (services.toml:9) ← api/b.py
          ← api/** (services.toml:9), 1 file
              ← api/b.py
        web  affected      Dockerfile (services.toml:14) ← Dockerfile
          ← Dockerfile (services.toml:14), 1 file
              ← Dockerfile: stage web, line 4
    "#]]
    .assert_eq(&all);
    repo.commit("all");
    repo.change("api/docs/y.md");
    let range = ["--explain", "--base", "HEAD~1", "--head", "HEAD"];
    let (_, none, _) = text(&repo.xtask(&range, &[]).output().unwrap());
    expect_test::expect![[r#"
        HEAD~1...HEAD: 1 changed file
        api  not affected  1 file against 3 patterns; api/docs/y.md is left out by !api/docs/** (services.toml:9)
        web  not affected  1 file against 3 patterns
    "#]]
    .assert_eq(&none);
}

#[test]
fn a_job_gets_its_outputs_its_summary_and_the_reason_in_its_log() {
    let world = World::new("job");
    let repo = world.repository();
    let before = repo.head();
    let after = repo.change("api/b|c.py");
    let (output, summary) = (world.0.join("output"), world.0.join("summary"));
    std::fs::write(&output, "before=1\n").unwrap();
    let mut env = world.pushed("refs/heads/main", &before, &after);
    env.push(("GITHUB_OUTPUT", output.to_str().unwrap().into()));
    env.push(("GITHUB_STEP_SUMMARY", summary.to_str().unwrap().into()));
    let (code, log, _) = text(&repo.xtask(&["--format", "github"], &env).output().unwrap());
    assert_eq!(code, 0);
    assert!(log.contains("api  affected      api/** (services.toml:9) ← api/b|c.py\n"), "{log}");
    expect_test::expect![[r#"
        before=1
        api<<END
        true
        END
        web<<END
        false
        END
        any<<END
        true
        END
        matrix<<END
        {"include":[{"service":"api","image":"demo-api","target":"api","dockerfile":"Dockerfile","context":".","platforms":"linux/amd64,linux/arm64"}]}
        END
    "#]]
    .assert_eq(&std::fs::read_to_string(&output).unwrap());
    let page = std::fs::read_to_string(&summary).unwrap();
    assert!(page.contains("| api | affected | api/\\*\\* \\(services.toml:9\\) ← api/b\\|c.py |"), "{page}");
    // What nobody could tell is on the run's page, too.
    let (_, log, _) = text(&repo.xtask(&["--format", "github", "--base", "nope"], &env).output().unwrap());
    assert!(log.starts_with("::warning::everything is affected: there is no commit `nope` here\n"), "{log}");
    let page = std::fs::read_to_string(&summary).unwrap();
    assert!(page.contains("everything: there is no commit"), "{page}");
    ended(&mut repo.xtask(&["--format", "github"], &env[..2]), 2, "GITHUB_OUTPUT");
    let mut other = common::pinned(&["docker", "down", "--format", "github"]);
    ended(other.current_dir(&repo.0), 2, "`--format github` is for `ci plan` and `ci check` only");
}

/// A generator that repeats itself: a failure can be looked at.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// The files of a commit with all that a change can change, as git lists them.
fn files(repo: &Repo, commit: &str) -> BTreeMap<String, String> {
    let list = repo.git(&["ls-tree", "-r", "--full-tree", commit]);
    let entries = list.lines().map(|line| line.split_once('\t').unwrap());
    entries.map(|(object, path)| (path.to_owned(), object.to_owned())).collect()
}

#[test]
fn on_a_random_history_the_answer_is_the_naive_one() {
    const PATHS: [&str; 9] =
        ["api/a", "api/b/c", "api/docs/a", "web/a", "web/docs/a", "Dockerfile", "README.md", "x/api/a", "apis"];
    let world = World::new("random");
    let repo = world.repository();
    let mut dice = Dice(7);
    let mut commits = vec![repo.head()];
    for step in 0..40 {
        repo.git(&["checkout", "--quiet", "--detach", &commits[dice.below(commits.len())]]);
        if step % 5 == 4 {
            // Whichever side wins: only its files matter here.
            let other = commits[dice.below(commits.len())].clone();
            repo.git(&["merge", "--quiet", "--strategy=ours", "--no-edit", &other]);
        }
        let path = repo.0.join(PATHS[dice.below(PATHS.len())]);
        match path.is_file() && dice.below(3) == 0 {
            true => std::fs::remove_file(&path).unwrap(),
            false => repo.write(&path, &dice.below(3).to_string()),
        }
        commits.push(repo.commit(&step.to_string()));
    }
    let mut ancestors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for commit in &commits {
        let list = repo.git(&["rev-list", commit]);
        ancestors.insert(commit.clone(), list.lines().map(ToOwned::to_owned).collect());
    }
    let mut seen = BTreeSet::new();
    for _ in 0..150 {
        let [base, head] = [(); 2].map(|()| commits[dice.below(commits.len())].clone());
        let common: Vec<_> = ancestors[&base].intersection(&ancestors[&head]).collect();
        let is_best = |one: &&&String| common.iter().all(|other| other == *one || !ancestors[*other].contains(**one));
        let best: Vec<_> = common.iter().filter(is_best).collect();
        let expected = best.iter().map(|best| {
            let (old, new) = (files(&repo, best), files(&repo, &head));
            let changed: Vec<_> =
                old.keys().chain(new.keys()).filter(|path| old.get(*path) != new.get(*path)).collect();
            let api = changed
                .iter()
                .any(|path| path.starts_with("api/") && !path.starts_with("api/docs/") || *path == "Dockerfile");
            let web = changed.iter().any(|path| path.starts_with("web/") || *path == "Dockerfile");
            [("api", api), ("web", web)].into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect::<Vec<_>>()
        });
        let planned = repo.plan(&["--base", &base, "--head", &head], &[]);
        let affected = planned.affected();
        assert!(expected.into_iter().any(|expected| expected == affected), "{base}...{head}: {affected:?}");
        assert!(best.iter().any(|best| planned.json["base"] == ***best), "{base}...{head}");
        seen.insert(affected.join(" "));
    }
    assert_eq!(seen.len(), 4, "every answer there is was among them: {seen:?}");
}

/// What a build finds in the tree and git does not tell.
#[test]
fn a_tree_that_git_calls_clean_is_looked_at() {
    let world = World::new("clean");
    let repo = world.repository();
    repo.write("Dockerfile", "FROM scratch AS api\nCOPY api /api\n");
    repo.write(".gitattributes", "*.bat text eol=crlf\n*.f filter=f\n");
    repo.write(".dockerignore", ".git\n");
    repo.write("api/x.bat", "a\r\n");
    repo.write("api/sub/a", "");
    std::os::unix::fs::symlink("a.py", repo.0.join("api/link")).unwrap();
    repo.commit("all");
    let affected = || repo.plan(&["api", "--base", "HEAD"], &[]).affected().join(" ");
    assert_eq!(affected(), "", "a file that git converts is as it makes it");
    let file = repo.0.join("api/a.py");
    // Git was told not to look.
    for bit in ["assume-unchanged", "skip-worktree"] {
        repo.git(&["update-index", &format!("--{bit}"), "api/a.py"]);
        repo.write("api/a.py", "a = 2\n");
        assert_eq!(affected(), "api", "{bit}");
        repo.write("api/a.py", "a = 1\n");
        assert_eq!(affected(), "", "{bit}");
        repo.git(&["update-index", &format!("--no-{bit}"), "api/a.py"]);
    }
    // Modes that git does not look at, or does not record.
    repo.git(&["config", "core.fileMode", "false"]);
    // Those that no umask gives.
    for (path, mode) in [(&file, 0o755), (&file, 0o640), (&repo.0.join("api/sub"), 0o711)] {
        let before = path.metadata().unwrap().permissions();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(affected(), "api", "{mode:o}");
        std::fs::set_permissions(path, before).unwrap();
    }
    std::fs::create_dir(repo.0.join("api/empty")).unwrap();
    assert_eq!(affected(), "api");
    std::fs::remove_dir(repo.0.join("api/empty")).unwrap();
    // Checked out under other rules.
    repo.write("api/x.bat", "a\n");
    repo.git(&["add", "api/x.bat"]);
    assert!(repo.git(&["status", "--porcelain"]).is_empty());
    assert_eq!(affected(), "api");
    repo.write("api/x.bat", "a\r\n");
    repo.git(&["config", "core.autocrlf", "true"]);
    assert_eq!(affected(), "api");
    repo.git(&["config", "core.autocrlf", "false"]);
    // A link that leads elsewhere, and a file that a program would convert.
    std::fs::remove_file(repo.0.join("api/link")).unwrap();
    std::os::unix::fs::symlink("b.py", repo.0.join("api/link")).unwrap();
    assert_eq!(affected(), "api");
    repo.git(&["checkout", "--quiet", "api/link"]);
    assert_eq!(affected(), "");
    // A repository of its own in the context.
    repo.write("api/own/x", "");
    repo.git(&["init", "--quiet", "api/own"]);
    assert_eq!(affected(), "api");
    std::fs::remove_dir_all(repo.0.join("api/own")).unwrap();
    assert_eq!(affected(), "");
    repo.write("api/x.f", "f");
    repo.commit("filtered");
    assert_eq!(affected(), "api", "what a filter makes of it can't be told");
}

/// The head that somebody asks about is not what lies here.
#[test]
fn a_head_is_asked_with_its_own_services_and_its_own_dockerfile() {
    let world = World::new("of-head");
    let repo = world.repository();
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    repo.write("services.toml", &SERVICES.replace("\"web/**\"", "\"site/**\""));
    repo.write("Dockerfile", "FROM scratch AS api\nCOPY shared /\n");
    repo.commit("other services");
    repo.change("site/a");
    repo.change("shared/a");
    repo.git(&["checkout", "--quiet", "main"]);
    let plan = |range: [&str; 2]| repo.plan(&["--base", range[0], "--head", range[1]], &[]);
    assert_eq!(plan(["topic~2", "topic~1"]).path("web"), "site/a");
    let shared = plan(["topic~1", "topic"]);
    assert_eq!((shared.affected(), shared.path("api")), (vec!["api", "web"], "shared/a"));
    let cause = shared.json["services"][0]["reason"]["cause"].as_str().unwrap();
    assert!(cause.contains("Dockerfile:2 `COPY shared /` reads it"), "{cause}");
    // The other way round: what lies here does not count.
    repo.git(&["checkout", "--quiet", "topic"]);
    repo.change("site/b");
    repo.git(&["branch", "--quiet", "--force", "old", "main"]);
    repo.git(&["checkout", "--quiet", "old"]);
    let docs = repo.change("docs/x");
    repo.git(&["checkout", "--quiet", "topic"]);
    assert_eq!(plan([&format!("{docs}~1"), &docs]).affected(), [""; 0]);
    repo.write("services.toml", "[project]\n");
    repo.commit("broken");
    repo.git(&["checkout", "--quiet", "main"]);
    plan(["topic~1", "topic"]).is_everything("can't be read: services.toml:1");
}

#[test]
fn attributes_alone_change_what_a_checkout_makes() {
    let world = World::new("attributes");
    let repo = world.repository();
    let range = ["--base", "HEAD~1", "--head", "HEAD"];
    repo.write("api/.gitattributes", "*.py eol=crlf\n");
    repo.write("docs/.gitattributes", "*.md eol=crlf\n");
    repo.commit("folders");
    let planned = repo.plan(&range, &[]);
    assert_eq!((planned.affected(), planned.path("api")), (vec!["api"], "api/.gitattributes"));
    repo.write(".gitattributes", "* eol=crlf\n");
    repo.commit("root");
    let planned = repo.plan(&range, &[]);
    assert_eq!((planned.affected(), planned.path("web")), (vec!["api", "web"], ".gitattributes"));
}

/// What git gives its hooks, and more: all of it leads to another repository.
#[test]
fn the_environment_of_a_hook_leads_nowhere_else() {
    let world = World::new("hook");
    let repo = world.repository();
    let other = Repo(world.0.join("other"));
    repo.git(&["clone", "--quiet", ".", other.0.to_str().unwrap()]);
    let linked = Repo(world.0.join("linked"));
    repo.git(&["worktree", "add", "--quiet", "-b", "topic", linked.0.to_str().unwrap()]);
    linked.write("sub/services.toml", SERVICES);
    linked.write("sub/Dockerfile", "FROM scratch AS api\n");
    linked.commit("sub");
    linked.change("sub/api/b.py");
    let sub = Repo(linked.0.join("sub"));
    let gitdir = PathBuf::from(repo.git(&["rev-parse", "--absolute-git-dir"])).join("worktrees/linked");
    let other_git = other.0.join(".git");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for env in [
        vec![("GIT_DIR", text(&gitdir))],
        vec![("GIT_DIR", text(&gitdir)), ("GIT_WORK_TREE", text(&linked.0)), ("GIT_PREFIX", "".into())],
        vec![("GIT_INDEX_FILE", text(&other_git.join("index")))],
        vec![("GIT_DIR", text(&other_git)), ("GIT_WORK_TREE", text(&other.0))],
        vec![("GIT_COMMON_DIR", text(&other_git)), ("GIT_OBJECT_DIRECTORY", text(&other_git.join("objects")))],
        vec![("GIT_CONFIG_PARAMETERS", "'core.worktree'='/'".into()), ("GIT_LITERAL_PATHSPECS", "1".into())],
        vec![("GIT_NAMESPACE", "x".into()), ("GIT_EXTERNAL_DIFF", "false".into())],
    ] {
        let planned = sub.plan(&["--strict", "--base", "HEAD~1", "--head", "HEAD"], &env);
        assert_eq!(planned.path("api"), "api/b.py", "{env:?}");
        sub.write("web/new", "");
        assert_eq!(sub.plan(&["--strict", "--base", "HEAD"], &env).path("web"), "web/new", "{env:?}");
        std::fs::remove_dir_all(sub.0.join("web")).unwrap();
        assert_eq!(sub.plan(&["--strict", "--base", "HEAD"], &env).affected(), [""; 0], "{env:?}");
    }
}

/// A tree that somebody sent: all that its `.git/config` would run.
#[test]
fn a_checkouts_own_configuration_runs_nothing_and_moves_nothing() {
    let world = World::new("trap");
    let repo = world.with_remote();
    repo.write(".gitattributes", "*.py filter=trap diff=trap\n");
    repo.commit("attributes");
    let marks = world.0.join("marks");
    let trap = world.0.join("trap.sh");
    std::fs::write(&trap, format!("#!/bin/sh\necho \"$0 $*\" >>{}\nexit 1\n", marks.display())).unwrap();
    std::fs::set_permissions(&trap, std::fs::Permissions::from_mode(0o755)).unwrap();
    let trap = trap.to_str().unwrap();
    let hooks = world.0.join("hooks");
    std::fs::create_dir(&hooks).unwrap();
    for hook in ["post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout"] {
        std::fs::copy(trap, hooks.join(hook)).unwrap();
    }
    for (key, value) in [
        ("core.hooksPath", hooks.to_str().unwrap()),
        ("core.fsmonitor", trap),
        ("core.pager", trap),
        ("core.askPass", trap),
        ("core.sshCommand", trap),
        ("core.gitProxy", trap),
        ("core.alternateRefsCommand", trap),
        ("core.worktree", "/"),
        ("credential.helper", trap),
        ("diff.external", trap),
        ("diff.trap.command", trap),
        ("diff.trap.textconv", trap),
        ("diff.orderFile", "/nowhere"),
        ("filter.trap.clean", trap),
        ("filter.trap.smudge", trap),
        ("filter.trap.process", trap),
        ("gpg.program", trap),
        ("pager.diff", trap),
        ("remote.origin.uploadpack", trap),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "ssh://host.invalid/x"),
        ("uploadpack.packObjectsHook", trap),
    ] {
        repo.git(&["config", key, value]);
    }
    // Times that git takes for a change, and for a race.
    repo.write("api/a.py", "a = 1\n");
    let gone = "1".repeat(40);
    for args in [&[][..], &["--base", "HEAD~1", "--head", "HEAD"], &["--base", &gone], &["--base", "origin/gone"]] {
        repo.plan(args, &[]);
    }
    assert!(!marks.exists(), "{}", std::fs::read_to_string(&marks).unwrap_or_default());
    assert_eq!(repo.plan(&["--strict", "--base", "HEAD~1", "--head", "HEAD"], &[]).path("api"), ".gitattributes");
    // The trap works: who asks for the network takes the checkout's own way there.
    repo.plan(&["--fetch", "--base", &gone], &[]);
    assert!(marks.exists());
}

#[test]
fn a_dry_run_needs_no_git() {
    let world = World::new("dry");
    let repo = world.repository();
    let env = [("PATH", "/nowhere".to_owned())];
    let (code, plan, _) = text(&repo.xtask(&["--dry-run", "--base", "a", "--head", "b"], &env).output().unwrap());
    let line = "git diff --name-only --no-renames --relative --ignore-submodules=none \
                --no-ext-diff --no-textconv -O/dev/null -z a...b --\n";
    let (before, after) = plan.split_once("git --no-pager").unwrap();
    assert_eq!(code, 0);
    assert!(before.starts_with("GIT_OPTIONAL_LOCKS=0"), "{plan}");
    assert_eq!(format!("git{}", after.split_once("--work-tree=.").unwrap().1), line);
    repo.plan(&[], &env).is_everything("command not found: `git`");
}
