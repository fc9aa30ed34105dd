//! What a rehearsal happens in: a bare remote with a project in it, commits,
//! events as GitHub tells them, and a registry. All of it goes at the end.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::common::{self, docker, exit};
use crate::runner::{self, Ran};

const ZERO: &str = "0000000000000000000000000000000000000000";

/// What starts workflows.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub name: String,
    pub reference: String,
    pub sha: String,
    /// `GITHUB_BASE_REF` and `GITHUB_HEAD_REF`: of pull requests alone.
    pub base: String,
    pub head: String,
    pub inputs: Map<String, Value>,
    pub payload: Value,
    pub run_number: u32,
    owner: String,
    repository: String,
}

impl Event {
    /// The context `github`, as far as it is made up here.
    pub fn context(&self, workflow: &str) -> Value {
        json!({
            "actor": "somebody",
            "event": self.payload,
            "event_name": self.name,
            "ref": self.reference,
            "repository": self.repository,
            "repository_owner": self.owner,
            "run_number": self.run_number,
            "sha": self.sha,
            "workflow": workflow,
        })
    }
}

/// The registry, the remote, and a clone in which people commit.
pub struct World {
    pub project: String,
    /// Jobs of called workflows, until they are asked for.
    pub called: RefCell<Vec<Ran>>,
    /// Whether each job found the compiled program.
    pub hits: RefCell<Vec<bool>>,
    dir: PathBuf,
    registry: Registry,
    runs: RefCell<u32>,
}

impl World {
    /// The small project: two services, one without tests.
    pub fn small(name: &str) -> Self {
        let world = Self::empty(name);
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rehearsal/project");
        for file in ["Dockerfile", "readme.md", "api/server.py", "api/test.py", "site/index.html"] {
            world.write(file, &std::fs::read_to_string(project.join(file)).unwrap());
        }
        let services = std::fs::read_to_string(project.join("services.toml")).unwrap();
        world
            .write("services.toml", &services.replace("PROJECT", &world.project).replace("REGISTRY", world.registry()));
        for file in ["Cargo.lock", ".github/workflows/docker-image.yml", ".github/actions/xtask/action.yml"] {
            world.write(file, &std::fs::read_to_string(common::root().join(file)).unwrap());
        }
        world.begin()
    }

    /// This repository as it lies here, under another name, for one platform:
    /// stand-ins have no other.
    pub fn whole(name: &str) -> Self {
        let world = Self::empty(name);
        let files = git(&common::root(), &["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
        for file in files.split_terminator('\0').filter(|file| common::root().join(file).is_file()) {
            let to = world.work().join(file);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(common::root().join(file), to).unwrap();
        }
        world.edit("services.toml", |text| {
            text.replace("\"infinite-scribe", &format!("\"{}", world.project))
                .replace("\"ghcr.io\"", &format!("\"{}\"", world.registry()))
                .replace(", \"linux/arm64\"", "")
        });
        world.begin()
    }

    fn empty(name: &str) -> Self {
        let project = format!("rehearsal-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().canonicalize().unwrap().join(&project);
        std::fs::create_dir_all(dir.join("work")).unwrap();
        std::fs::create_dir_all(dir.join("cache")).unwrap();
        let registry = Registry::new(&dir.join("registry"), name);
        let world = Self {
            project,
            called: RefCell::default(),
            hits: RefCell::default(),
            dir,
            registry,
            runs: RefCell::default(),
        };
        git(&world.work(), &["init", "--quiet", "--initial-branch=main"]);
        world
    }

    /// The first commit, with the workflows that belong to its services.toml.
    fn begin(self) -> Self {
        exit(&common::xtask(&["ci", "sync", "--root", self.work().to_str().unwrap()]).output().unwrap(), 0);
        git(&self.dir, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
        for option in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
            git(&self.dir.join("remote.git"), &["config", option, "true"]);
        }
        git(&self.work(), &["remote", "add", "origin", &self.url()]);
        self.commit("first");
        git(&self.work(), &["push", "--quiet", "origin", "main"]);
        self
    }

    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    pub fn registry(&self) -> &str {
        &self.registry.at
    }

    /// With capitals, which a registry refuses: they must have been lowered.
    pub fn owner(&self) -> &str {
        "Some-Body"
    }

    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner(), self.project)
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.dir.join("remote.git").display())
    }

    pub fn services(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.work().join("services.toml")).unwrap();
        let tables = text.lines().filter_map(|line| line.strip_prefix("[services.")?.strip_suffix(']'));
        tables.filter(|name| !name.contains('.')).map(str::to_owned).collect()
    }

    /// A new folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        *self.runs.borrow_mut() += 1;
        self.dir.join(format!("{name}-{}", self.runs.borrow()))
    }

    /// A file of a commit.
    pub fn show(&self, sha: &str, file: &str) -> String {
        git(&self.work(), &["show", &format!("{sha}:{file}")])
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.work().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn edit(&self, file: &str, edit: impl Fn(&str) -> String) {
        let before = std::fs::read_to_string(self.work().join(file)).unwrap();
        let after = edit(&before);
        assert_ne!(before, after, "{file} is as it was");
        self.write(file, &after);
    }

    pub fn commit(&self, subject: &str) -> String {
        git(&self.work(), &["add", "--all"]);
        git(&self.work(), &["commit", "--quiet", "--message", subject]);
        self.head()
    }

    pub fn head(&self) -> String {
        git(&self.work(), &["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn event(&self, name: &str, reference: &str, mut payload: Value) -> Event {
        *self.runs.borrow_mut() += 1;
        payload["repository"] = json!({ "default_branch": "main", "full_name": self.repository() });
        Event {
            name: name.into(),
            reference: reference.into(),
            sha: self.head(),
            payload,
            run_number: *self.runs.borrow(),
            owner: self.owner().into(),
            repository: self.repository(),
            ..Event::default()
        }
    }

    /// Commits what lies here and pushes it to a branch.
    pub fn push(&self, branch: &str, subject: &str) -> Event {
        self.commit(subject);
        self.push_head(branch)
    }

    /// Pushes to a branch what is committed.
    pub fn push_head(&self, branch: &str) -> Event {
        let name = format!("refs/heads/{branch}");
        let known = git(&self.work(), &["ls-remote", "origin", &name]);
        let before = known.split_whitespace().next().unwrap_or(ZERO).to_owned();
        let after = self.head();
        git(&self.work(), &["push", "--quiet", "origin", &format!("HEAD:{name}")]);
        self.event("push", &name, json!({ "ref": name, "before": before, "after": after }))
    }

    pub fn tag(&self, tag: &str) -> Event {
        let name = format!("refs/tags/{tag}");
        git(&self.work(), &["push", "--quiet", "origin", &format!("HEAD:{name}")]);
        self.event("push", &name, json!({ "ref": name, "before": ZERO, "after": self.head() }))
    }

    /// What lies here as a pull request into main, merged as GitHub does it to
    /// try it out. The clone is back on main afterwards.
    pub fn pull_request(&self, number: u32) -> Event {
        let base = self.head();
        git(&self.work(), &["add", "--all"]);
        git(&self.work(), &["commit", "--quiet", "--allow-empty", "--message", "Change something"]);
        let head = self.head();
        git(&self.work(), &["push", "--quiet", "origin", &format!("HEAD:refs/pull/{number}/head")]);
        git(&self.work(), &["reset", "--quiet", "--hard", &base]);
        git(&self.work(), &["merge", "--quiet", "--no-ff", "--message", "Merge", &head]);
        let name = format!("refs/pull/{number}/merge");
        git(&self.work(), &["push", "--quiet", "origin", &format!("HEAD:{name}")]);
        let payload = json!({ "number": number, "pull_request": { "base": { "sha": base }, "head": { "sha": head } } });
        let event = Event { base: "main".into(), head: "topic".into(), ..self.event("pull_request", &name, payload) };
        git(&self.work(), &["reset", "--quiet", "--hard", &base]);
        event
    }

    /// What lies here in the queue in front of main.
    pub fn merge_group(&self) -> Event {
        let base = self.head();
        let head = self.commit("Queue something");
        let name = format!("refs/heads/gh-readonly-queue/main/pr-1-{base}");
        git(&self.work(), &["push", "--quiet", "origin", &format!("HEAD:{name}")]);
        let payload = json!({ "merge_group": { "base_sha": base, "head_sha": head, "head_ref": name } });
        let event = self.event("merge_group", &name, payload);
        git(&self.work(), &["reset", "--quiet", "--hard", &base]);
        event
    }

    pub fn schedule(&self) -> Event {
        self.event("schedule", "refs/heads/main", json!({ "schedule": "17 3 * * 1" }))
    }

    /// The event file has texts where the context has booleans.
    pub fn dispatch(&self, tag_suffix: &str, force_rebuild: bool) -> Event {
        let told = json!({ "tag_suffix": tag_suffix, "force_rebuild": force_rebuild.to_string() });
        let mut event = self.event("workflow_dispatch", "refs/heads/main", json!({ "inputs": told }));
        event.inputs.insert("tag_suffix".into(), json!(tag_suffix));
        event.inputs.insert("force_rebuild".into(), json!(force_rebuild));
        event
    }

    /// The jobs of a workflow that calls `docker-image.yml`, as `NAME=RESULT`
    /// words, and each by itself; nothing where the event starts none.
    pub fn run(&self, event: &Event, workflow: &str) -> (String, Vec<Ran>) {
        let started = Instant::now();
        let ran = runner::run(self, event, &format!(".github/workflows/{workflow}.yml"));
        println!("━━ {workflow}: {} s", started.elapsed().as_secs());
        let Some(ran) = ran else { return ("not started".into(), Vec::new()) };
        let called = self.called.take();
        let jobs = if called.is_empty() { ran } else { called };
        let results = jobs.iter().map(|ran| format!("{}={}", ran.name, ran.result)).collect::<Vec<_>>().join(" ");
        (results, jobs)
    }

    /// The tags of a service's image, without that of the cache.
    pub fn tags(&self, service: &str) -> Vec<String> {
        let mut tags = self.registry.tags(&self.image(service));
        tags.retain(|tag| !tag.starts_with("buildcache"));
        tags
    }

    /// The digest behind a tag.
    pub fn digest(&self, service: &str, tag: &str) -> Option<String> {
        self.registry.digest(&self.image(service), tag)
    }

    /// The manifest, or the index, behind a tag.
    pub fn manifest(&self, service: &str, tag: &str) -> Value {
        let (_, body) = self.registry.get(&format!("{}/manifests/{tag}", self.image(service)));
        serde_json::from_str(&body).unwrap()
    }

    /// A service's image, without the registry.
    pub fn image(&self, service: &str) -> String {
        format!("{}/{}-{service}", self.owner().to_lowercase(), self.project)
    }

    /// What the engine holds of this project.
    pub fn left(&self) -> Vec<String> {
        common::left(&self.project)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let root = self.work().to_str().unwrap_or_default().to_owned();
            let names = self.services();
            let mut clean = common::xtask(&["docker", "clean", "--all", "--root", &root]);
            let _ = clean.env("XDG_CACHE_HOME", self.dir.join("cache")).args(names).output();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Debian's docker-registry on a loopback port, out of the demo project.
struct Registry {
    at: String,
    dir: PathBuf,
    container: String,
}

impl Registry {
    fn new(dir: &Path, name: &str) -> Self {
        let project = format!("registry-of-{name}-{}", std::process::id());
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/demo");
        std::fs::create_dir_all(dir).unwrap();
        for file in ["Dockerfile", "services.toml", "registry.yml"] {
            let text = std::fs::read_to_string(demo.join(file)).unwrap();
            let text = text.replace("\"demo-", &format!("\"{project}-")).replace("\"demo\"", &format!("\"{project}\""));
            std::fs::write(dir.join(file), text).unwrap();
        }
        let mut registry = Self { at: String::new(), dir: dir.to_owned(), container: format!("{project}-server") };
        exit(&registry.xtask(&["docker", "registry"]), 0);
        let label = format!("{project}.run=up");
        let image = format!("{project}-registry:local");
        let container = registry.container.clone();
        docker(&["run", "--detach", "--name", &container, "--label", &label, "--publish", "127.0.0.1::5000", &image]);
        registry.at = docker(&["port", &container, "5000"]).trim().to_owned();
        let started = Instant::now();
        while std::net::TcpStream::connect(&registry.at).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", docker(&["logs", &container]));
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }

    fn xtask(&self, args: &[&str]) -> std::process::Output {
        common::xtask(args)
            .args(["--root", self.dir.to_str().unwrap()])
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .output()
            .unwrap()
    }

    fn get(&self, path: &str) -> (String, String) {
        let mut stream = std::net::TcpStream::connect(&self.at).unwrap();
        let kinds = ["oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.v2"];
        let accept = kinds.map(|kind| format!("application/vnd.{kind}+json")).join(", ");
        let request = format!("GET /v2/{path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.at);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn tags(&self, image: &str) -> Vec<String> {
        let (head, body) = self.get(&format!("{image}/tags/list"));
        if head.contains(" 404 ") {
            return Vec::new();
        }
        let answer: Value = serde_json::from_str(&body).unwrap();
        let mut tags: Vec<String> = serde_json::from_value(answer["tags"].clone()).unwrap();
        tags.sort();
        tags
    }

    fn digest(&self, image: &str, tag: &str) -> Option<String> {
        let (head, _) = self.get(&format!("{image}/manifests/{tag}"));
        assert!(head.contains(" 200 ") || head.contains(" 404 "), "{head}");
        head.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: ")).map(str::to_owned)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.container]);
        let image = self.container.replace("-server", "-registry:local");
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", &image]);
        docker(&["image", "rm", "--force", id.trim()]);
    }
}

/// What a git command prints; nobody's own settings change what it does.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env("TZ", "UTC");
    for (name, value) in [("NAME", "Somebody"), ("EMAIL", "somebody@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", common::stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}
