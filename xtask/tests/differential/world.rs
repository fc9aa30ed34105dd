//! A repository, and the three that are asked about it: `docker app`,
//! `ci plan`, and a raw build.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{self, Dice, json, stderr};
use crate::dockerfile;

/// Where its files are at first.
pub const FILES: [&str; 14] = [
    "r1.txt",
    "r2.md",
    "run.sh",
    "a/a1.txt",
    "a/a2.md",
    "a/b/b1.txt",
    "a/b/b2.txt",
    "b/e1.txt",
    "b/a/f1.md",
    "c/h1",
    ".hid/l1",
    "sp ace/n1",
    "é/x1.txt",
    "docs/d1.md",
];

/// A repository on a disk.
pub struct World {
    /// All that is there, the caches too.
    dir: PathBuf,
    /// The top of the repository.
    pub top: PathBuf,
    /// The folder of services.toml.
    pub root: PathBuf,
    /// The images' name.
    pub name: String,
    /// More environment.
    pub env: Vec<(String, String)>,
    /// More options of the build.
    pub args: Vec<String>,
    /// How many changes there were: makes new words.
    pub round: usize,
    /// The first commit, and what a build of it gave.
    first: (String, Option<Image>),
    narrow: bool,
    exports: Vec<(String, String)>,
}

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(String);

/// What one look found.
#[derive(Debug, Default)]
pub struct Seen {
    pub reused: bool,
    pub unaffected: bool,
    pub failed: bool,
    pub wrong: Vec<String>,
}

impl World {
    pub fn new(seed: u64, dice: &mut Dice) -> Self {
        let name = format!("differential-{}-{seed}", std::process::id());
        let dir = std::env::temp_dir().join("xtask differential").join(&name);
        let _ = fs::remove_dir_all(&dir);
        let top = dir.join("repo");
        let root = if dice.once_in(4) { top.join("sub/project") } else { top.clone() };
        fs::create_dir_all(&root).unwrap();
        let mut world = Self {
            dir,
            top,
            root,
            name,
            env: Vec::new(),
            args: Vec::new(),
            round: 0,
            first: (String::new(), None),
            narrow: dice.once_in(4),
            exports: common::engine().ctx.exports,
        };
        for file in FILES {
            world.write(file, &format!("{file} of {}\n", world.name));
        }
        world.write("run.sh", "#!/bin/sh\n");
        fs::set_permissions(world.root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        world.write(".gitignore", "*.log\n/out/\n");
        world.services();
        world.define(dice);
        world.git_at(&world.top, &["init", "--quiet", "--initial-branch", "main"]);
        for (key, value) in [("user.name", "a"), ("user.email", "a@b"), ("protocol.file.allow", "always")] {
            world.git(&["config", key, value]);
        }
        world.commit();
        world.first.0 = world.git(&["rev-parse", "HEAD"]);
        world
    }

    /// A Dockerfile and an ignore file with which it builds, at this moment.
    fn define(&self, dice: &mut Dice) {
        for _ in 0..8 {
            self.write("Dockerfile", &dockerfile::dockerfile(dice));
            self.write(".dockerignore", &dockerfile::ignore_file(dice));
            if self.docker(&["buildx", "build", "--quiet", "--output", "type=cacheonly", "."]).status.success() {
                return;
            }
        }
        self.simplify();
    }

    /// The definition that always builds.
    pub fn simplify(&self) {
        self.write("Dockerfile", "FROM scratch\nCOPY . /\n");
        self.write(".dockerignore", ".git\n");
        let _ = fs::remove_file(self.root.join("Dockerfile.dockerignore"));
    }

    fn services(&self) {
        let name = &self.name;
        let paths = if self.narrow { r#"["a/**", "b/**", "Dockerfile", ".dockerignore"]"# } else { r#"["**"]"# };
        self.write(
            "services.toml",
            &format!(
                "[project]\nname = \"{name}\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
                 [services.app]\nimage = \"{name}\"\npaths = {paths}\n"
            ),
        );
    }

    /// What makes this case special, for whoever reads of it.
    pub fn told(&self) -> String {
        let read = |file: &str| fs::read_to_string(self.root.join(file)).unwrap_or_default();
        let place = if self.root == self.top { "" } else { ", in a subfolder" };
        let narrow = if self.narrow { ", narrow paths" } else { "" };
        format!("{:?} {:?}{place}{narrow}", read("Dockerfile"), read(".dockerignore"))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        let _ = fs::create_dir_all(path.parent().unwrap());
        // A folder may have taken its place, or its parent's.
        let _ = fs::write(path, text);
    }

    /// The regular files of the tree, git's own apart, from the root.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.root, &self.root, &mut found);
        found.sort();
        found.retain(|file| !["services.toml", "Dockerfile", ".dockerignore", ".gitignore"].contains(&file.as_str()));
        found
    }

    /// A file that a change may be made to.
    pub fn some_file(&self, dice: &mut Dice) -> Option<PathBuf> {
        let files = self.files();
        (!files.is_empty()).then(|| self.root.join(&files[dice.below(files.len())]))
    }

    /// Runs git at the root; what it printed. It may fail: a change is then none.
    pub fn git(&self, args: &[&str]) -> String {
        self.git_at(&self.root, args)
    }

    pub fn git_at(&self, dir: &Path, args: &[&str]) -> String {
        if !dir.is_dir() {
            return String::new();
        }
        let output = Command::new("git")
            .args(args)
            .current_dir(dir)
            .env("GIT_CONFIG_GLOBAL", self.dir.join("gitconfig"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn commit(&self) {
        self.git(&["add", "--all", ":/"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "m"]);
    }

    /// A folder of its own beside the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = match program {
            "xtask" => common::xtask(args),
            other => {
                let mut command = Command::new(other);
                command.args(args).envs(self.exports.iter().map(|(key, value)| (key, value)));
                command
            }
        };
        command.current_dir(&self.root).env("XDG_CACHE_HOME", self.dir.join("cache"));
        for name in ["GITHUB_EVENT_NAME", "GITHUB_ACTIONS", "CI", "SOURCE_DATE_EPOCH"] {
            command.env_remove(name);
        }
        command.env("GIT_CONFIG_GLOBAL", self.dir.join("gitconfig")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Runs `docker ARGS`.
    pub fn docker(&self, args: &[&str]) -> Output {
        self.command("docker", args).output().unwrap()
    }

    /// `docker buildx build ARGS` into the engine, of what lies there and nothing
    /// else: by the place of its configuration, and the folder's last name,
    /// BuildKit finds the copy that it has of a context.
    fn raw(&self, args: &[&str]) -> Output {
        let place = self.beside("buildx");
        let _ = fs::remove_dir_all(&place);
        let mut command = self.command("docker", &["buildx", "build", "--quiet", "--provenance=false", "--load"]);
        command.args(args).env("BUILDX_CONFIG", place).output().unwrap()
    }

    /// Builds another checkout: by hand, which leaves a copy of it to whoever
    /// builds in a folder of that name, and by ours.
    pub fn build_at(&self, root: &Path) {
        let by_hand = ["buildx", "build", "--quiet", "--output", "type=cacheonly", "."];
        for (program, args) in [("docker", &by_hand[..]), ("xtask", &["docker", "app"])] {
            self.command(program, args).current_dir(root).output().unwrap();
        }
    }

    fn image(&self, tag: &str) -> Option<Image> {
        let format = "{{json .RootFS.Layers}} {{.Architecture}} {{json .Config.Env}} {{json .Config.Cmd}} \
                      {{json .Config.WorkingDir}} {{json .Config.User}}";
        let output = self.docker(&["image", "inspect", "--format", format, &format!("{}:{tag}", self.name)]);
        output.status.success().then(|| Image(String::from_utf8(output.stdout).unwrap()))
    }

    /// What an image says of itself, our labels apart, and how each layer was made.
    fn config(&self, tag: &str) -> String {
        let image = format!("{}:{tag}", self.name);
        let output = self.docker(&["image", "inspect", "--format", "{{json .Config}}", &image]);
        let mut config: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if let Some(labels) = config["Labels"].as_object_mut() {
            // `BUILDX_GIT_LABELS` is set aside, and a raw build heeds it.
            let others = [self.name.as_str(), "org.opencontainers.image.", "com.docker.image.source."];
            labels.retain(|name, _| !others.iter().any(|start| name.starts_with(start)));
        }
        let labels = config["Labels"].as_object().is_some_and(serde_json::Map::is_empty);
        if labels {
            config["Labels"] = Value::Null;
        }
        let history = self.docker(&["history", "--no-trunc", "--format", "{{json .CreatedBy}}", &image]);
        let config = config.as_object().into_iter().flatten().map(|(key, value)| format!("{key} {value}\n"));
        config.collect::<String>() + &String::from_utf8(history.stdout).unwrap()
    }

    /// The files of an image, whatever their times: path, mode, content.
    fn contents(&self, tag: &str) -> String {
        let (out, image) = (self.dir.join(format!("{tag}.tar")), format!("{}:{tag}", self.name));
        let created = self.docker(&["create", &image, "x"]);
        let id = String::from_utf8(created.stdout).unwrap().trim().to_owned();
        self.docker(&["export", "--output", out.to_str().unwrap(), &id]);
        self.docker(&["rm", &id]);
        let script = "tar --numeric-owner --to-command 'echo \"$TAR_MODE $TAR_FILENAME $(sha256sum)\"' -xf \"$0\" | sort; \
                      tar -tvf \"$0\" --numeric-owner | grep -v '^-' | sed -E 's/ +[0-9]+ [0-9-]+ [0-9:]+//' | sort";
        let output = Command::new("bash").args(["-c", script]).arg(&out).output().unwrap();
        let _ = fs::remove_file(out);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asks all three; the first time it only remembers.
    pub fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        let base = self.first.0.clone();
        let plan = self.command("xtask", &["ci", "plan", "--format", "json", "--base", &base]).output().unwrap();
        let args = self.args.clone();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ours = [&["docker", "app", "--format", "json"], &args[..]].concat();
        let ours = self.command("xtask", &ours).output().unwrap();
        let tag = format!("{}:raw", self.name);
        let raw = self.raw(&[&["--tag", &tag], &args[..], &["."]].concat());
        if !raw.status.success() {
            seen.failed = true;
            if ours.status.success() {
                let outcome = &json(&ours)["outcome"];
                seen.wrong.push(format!("it is {outcome}, and a build fails: {}", stderr(&raw)));
            }
            return seen;
        }
        let theirs = self.image("raw");
        if self.round == 0 {
            self.first.1.clone_from(&theirs);
            self.docker(&["tag", &tag, &format!("{}:first", self.name)]);
        }
        match ours.status.code() {
            Some(0) => self.compare(&json(&ours), &plan, theirs.as_ref(), &mut seen),
            _ => {
                let error = stderr(&ours).lines().filter(|line| !line.starts_with("$ ")).collect::<Vec<_>>().join("\n");
                seen.wrong.push(format!("it builds, and is refused: {error}"));
            }
        }
        self.affected(&plan, theirs.as_ref(), &mut seen);
        seen
    }

    fn compare(&self, built: &Value, plan: &Output, theirs: Option<&Image>, seen: &mut Seen) {
        seen.reused = built["outcome"] == "up-to-date";
        let same = self.image("local").as_ref() == theirs;
        let contents = |tag: &str| if same { String::new() } else { self.contents(tag) };
        let [local, raw] = ["local", "raw"].map(|tag| contents(tag) + &self.config(tag));
        if local != raw {
            let (outcome, apart) = (&built["outcome"], apart(&local, &raw));
            seen.wrong.push(format!("{outcome}, and a build gives another image:\n{apart}"));
        }
        let planned = &service(plan)["fingerprint"];
        // With options it is another request.
        if self.args.is_empty() && plan.status.success() && *planned != built["fingerprint"] {
            seen.wrong.push(format!("`ci plan` says {planned}, `docker app` {}", built["fingerprint"]));
        }
    }

    fn affected(&self, plan: &Output, theirs: Option<&Image>, seen: &mut Seen) {
        if !plan.status.success() {
            seen.wrong.push(format!("`ci plan` failed: {}", stderr(plan)));
            return;
        }
        let service = service(plan);
        seen.unaffected = service["affected"] == false;
        // What narrow paths leave out is for `ci check` to say.
        let is_asked = !self.narrow && self.args.is_empty() && self.first.1.is_some();
        let is_other = || self.first.1.as_ref() != theirs && self.contents("first") != self.contents("raw");
        if seen.unaffected && is_asked && (is_other() || self.config("first") != self.config("raw")) {
            // By the rules that hold now, the first commit may be checked out otherwise.
            self.build_first();
            let [first, now] = ["first", "raw"].map(|tag| self.contents(tag) + &self.config(tag));
            if first != now {
                let (reason, apart) = (&service["reason"], apart(&first, &now));
                seen.wrong.push(format!("not affected ({reason}), and a build gives another image:\n{apart}"));
            }
        }
    }

    /// Builds the first commit anew, as this clone checks it out.
    fn build_first(&self) {
        let place = self.beside("first");
        let _ = fs::remove_dir_all(&place);
        self.git(&["worktree", "prune"]);
        self.git(&["worktree", "add", "--quiet", "--detach", place.to_str().unwrap(), &self.first.0]);
        let root = self.root.strip_prefix(&self.top).map_or(place.clone(), |rest| place.join(rest));
        let tag = format!("{}:first", self.name);
        self.raw(&["--tag", &tag, root.to_str().unwrap()]);
    }
}

/// The first lines that only one of two texts has.
fn apart(one: &str, other: &str) -> String {
    let only = |mark: &str, of: &str, not: &str| {
        let has: std::collections::BTreeSet<&str> = not.lines().collect();
        of.lines().filter(|line| !has.contains(line)).take(6).map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    format!("{}{}", only("-", one, other), only("+", other, one))
}

fn service(plan: &Output) -> Value {
    serde_json::from_slice::<Value>(&plan.stdout).map(|plan| plan["services"][0].clone()).unwrap_or_default()
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && entry.file_name() != ".git" {
            walk(root, &path, found);
        } else if kind.is_file() {
            found.extend(path.strip_prefix(root).unwrap().to_str().map(str::to_owned));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.env.clear();
        let _ = self.command("xtask", &["docker", "clean", "--all"]).output();
        common::forget_images(&self.name);
        let _ = fs::remove_dir_all(&self.dir);
        let _ = self.dir.parent().map(fs::remove_dir);
    }
}
