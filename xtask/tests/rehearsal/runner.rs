//! A workflow, read and run: triggers, jobs in the order of `needs`, calls of
//! other workflows, steps. A key that is not known here panics.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};
use xtask::model::yaml::{self, YamlNode};

use crate::actions;
use crate::expression::{Scope, Status, condition, evaluate, string, template};
use crate::world::{Event, World};

/// A job that ran, or was skipped.
#[derive(Debug)]
pub struct Ran {
    pub name: String,
    pub result: &'static str,
    pub outputs: Map<String, Value>,
    /// What its steps printed.
    pub log: String,
    /// What it put on the run's page.
    pub summary: String,
}

/// The jobs that a workflow ran for an event; none: the event does not start it.
pub fn run(world: &World, event: &Event, file: &str) -> Option<Vec<Ran>> {
    let root = read(world, event, file);
    only(&root, &["name", "on", "concurrency", "permissions", "env", "jobs"]);
    let inputs = starts(root.get("on").unwrap(), event)?;
    println!("━━ {file}: {}", event.name);
    let mut scope = Scope::default();
    scope.contexts.insert("github", event.context(text(&root, "name")));
    scope.contexts.insert("inputs", inputs);
    if let Some(concurrency) = root.get("concurrency") {
        only(concurrency, &["group", "cancel-in-progress"]);
        concurrency.map().iter().for_each(|(_, node)| assert_ne!(string(&value(node, &scope)), ""));
    }
    Some(Workflow { world, event, root, scope }.jobs(None))
}

fn read(world: &World, event: &Event, file: &str) -> YamlNode {
    yaml::parse(&world.show(&event.sha, file)).unwrap().unwrap()
}

/// The inputs with which an event starts a workflow, if it does.
fn starts(on: &YamlNode, event: &Event) -> Option<Value> {
    let known = ["push", "pull_request", "merge_group", "schedule", "workflow_dispatch"];
    only(on, &known);
    let settings = on.get(&event.name)?;
    match event.name.as_str() {
        "push" => {
            only(settings, &["branches", "tags"]);
            let (kind, name) = match event.reference.strip_prefix("refs/tags/") {
                Some(tag) => ("tags", tag),
                None => ("branches", event.reference.strip_prefix("refs/heads/").unwrap()),
            };
            let hits = |pattern: &YamlNode| match pattern.text().unwrap().strip_suffix('*') {
                Some(start) => name.starts_with(start) && !name.contains('/'),
                None => pattern.text() == Some(name),
            };
            settings.get(kind)?.list().iter().any(hits).then(|| json!({}))
        }
        "workflow_dispatch" => {
            let declared = settings.get("inputs").map(YamlNode::map).unwrap_or_default();
            Some(inputs(declared, &event.inputs))
        }
        "schedule" => (!settings.list().is_empty()).then(|| json!({})),
        _ => {
            assert!(["", "~", "null"].contains(&settings.text().unwrap_or("settings")), "settings of `{}`", event.name);
            Some(json!({}))
        }
    }
}

/// What is given, by what is declared.
fn inputs(declared: &[(YamlNode, YamlNode)], given: &Map<String, Value>) -> Value {
    let unknown = given.keys().find(|name| declared.iter().all(|(known, _)| known.text() != Some(name)));
    assert!(unknown.is_none(), "the input {unknown:?} is not declared");
    let one = |(name, node): &(YamlNode, YamlNode)| {
        only(node, &["description", "required", "type", "default", "options"]);
        let name = name.text().unwrap();
        let is_boolean = text(node, "type") == "boolean";
        let value = match (given.get(name), node.get("default").and_then(YamlNode::text)) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) if is_boolean => json!(default == "true"),
            (None, default) => {
                assert_ne!(text(node, "required"), "true", "the input `{name}` is required");
                json!(default.unwrap_or_default())
            }
        };
        // GitHub puts null where an expression gives nothing.
        let value = if value.is_null() && !is_boolean { json!("") } else { value };
        assert_eq!(value.is_boolean(), is_boolean, "the input `{name}` is {value}");
        let options = node.get("options").map(YamlNode::list).unwrap_or_default();
        assert!(options.is_empty() || options.iter().any(|it| it.text() == value.as_str()), "`{name}`: {value}");
        (name.to_owned(), value)
    };
    Value::Object(declared.iter().map(one).collect())
}

struct Workflow<'a> {
    world: &'a World,
    event: &'a Event,
    root: YamlNode,
    scope: Scope,
}

impl Workflow<'_> {
    /// All jobs. `most`: the permissions that the calling job has.
    fn jobs(&self, most: Option<&YamlNode>) -> Vec<Ran> {
        let jobs = self.root.get("jobs").unwrap().map();
        let mut done: Vec<Ran> = Vec::new();
        while done.len() < jobs.len() {
            let is_done = |name: &str| done.iter().any(|ran| ran.name == name);
            let is_next = |(name, job): &&(YamlNode, YamlNode)| {
                !is_done(name.text().unwrap()) && needs(job).iter().all(|need| is_done(need))
            };
            let (name, job) = jobs.iter().find(is_next).expect("jobs that need each other, or what is not there");
            may(job.get("permissions").or(self.root.get("permissions")), most);
            let ran = self.job(name.text().unwrap(), job, &done);
            println!("── {}: {}", ran.name, ran.result);
            done.push(ran);
        }
        done
    }

    fn job(&self, name: &str, job: &YamlNode, done: &[Ran]) -> Ran {
        only(
            job,
            &[
                "name",
                "needs",
                "if",
                "runs-on",
                "timeout-minutes",
                "permissions",
                "outputs",
                "env",
                "steps",
                "strategy",
                "uses",
                "with",
            ],
        );
        let mut scope = self.scope.clone();
        let before = |need: &String| done.iter().find(|ran| ran.name == *need).unwrap();
        let tell = |need: &String| {
            let ran = before(need);
            (need.clone(), json!({ "result": ran.result, "outputs": ran.outputs }))
        };
        scope.contexts.insert("needs", Value::Object(needs(job).iter().map(tell).collect()));
        scope.status = self.status(job, done);
        let mut ran = Ran {
            name: name.into(),
            result: "skipped",
            outputs: Map::new(),
            log: String::new(),
            summary: String::new(),
        };
        if !condition(job.get("if").and_then(YamlNode::text).unwrap_or("success()"), &scope) {
            return ran;
        }
        scope.status = Status::Success;
        if let Some(uses) = job.get("uses") {
            return self.call(name, job, uses.text().unwrap(), &scope);
        }
        scope.contexts.insert("secrets", json!({ "GITHUB_TOKEN": "a token" }));
        scope.contexts.insert("runner", json!({ "os": "Linux", "arch": "X64" }));
        ran.result = "success";
        for matrix in matrices(job) {
            scope.contexts.insert("matrix", matrix);
            let mut machine = Machine::new(self, job, scope.clone());
            machine.steps(job.get("steps").unwrap());
            if machine.failed {
                ran.result = "failure";
            }
            for (name, node) in job.get("outputs").map(YamlNode::map).unwrap_or_default() {
                let value = string(&value(node, &machine.scope));
                ran.outputs.insert(name.text().unwrap().into(), json!(value));
            }
            ran.summary += &machine.read("GITHUB_STEP_SUMMARY");
            ran.log += &machine.end();
        }
        ran
    }

    /// How all ended that a job hangs on, however far back: what GitHub means
    /// by `success()`.
    fn status(&self, job: &YamlNode, done: &[Ran]) -> Status {
        let mut status = Status::Success;
        let mut open = needs(job);
        while let Some(name) = open.pop() {
            let ran = done.iter().find(|ran| ran.name == name).unwrap();
            match ran.result {
                "failure" => return Status::Failure,
                "skipped" => status = Status::Skipped,
                _ => {}
            }
            open.extend(needs(self.root.get("jobs").unwrap().get(&name).unwrap()));
        }
        status
    }

    /// A reusable workflow of this repository: of the same commit.
    fn call(&self, name: &str, job: &YamlNode, uses: &str, scope: &Scope) -> Ran {
        let root = read(self.world, self.event, uses.strip_prefix("./").unwrap());
        only(&root, &["name", "on", "permissions", "env", "jobs"]);
        let declared = root.get("on").and_then(|on| on.get("workflow_call")).unwrap();
        only(declared, &["inputs"]);
        let with = job.get("with").map(YamlNode::map).unwrap_or_default();
        let given = with.iter().map(|(name, node)| (name.text().unwrap().to_owned(), value(node, scope))).collect();
        let mut inner = Scope::default();
        inner.contexts.insert("github", self.scope.contexts["github"].clone());
        inner.contexts.insert("inputs", inputs(declared.get("inputs").unwrap().map(), &given));
        let called = Workflow { root, scope: inner, ..*self };
        let jobs = called.jobs(Some(job.get("permissions").unwrap()));
        let failed = jobs.iter().any(|ran| ran.result == "failure");
        let log: Vec<String> = jobs.iter().map(|ran| format!("{}={}", ran.name, ran.result)).collect();
        self.world.called.borrow_mut().extend(jobs);
        let result = if failed { "failure" } else { "success" };
        Ran { name: name.into(), result, outputs: Map::new(), log: log.join(" "), summary: String::new() }
    }
}

/// A fresh machine that runs one job.
pub struct Machine<'a> {
    pub world: &'a World,
    pub event: &'a Event,
    pub dir: PathBuf,
    /// What all further steps get.
    pub env: BTreeMap<String, String>,
    /// Whether its token can write.
    pub can_write: bool,
    /// What the cache gets when the job has ended well: from, to.
    pub to_cache: Vec<(PathBuf, PathBuf)>,
    scope: Scope,
    failed: bool,
    log: String,
}

impl<'a> Machine<'a> {
    fn new(workflow: &Workflow<'a>, job: &YamlNode, scope: Scope) -> Self {
        let dir = workflow.world.folder("machine");
        for folder in ["work", "cargo/bin", "tmp", "files"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let mut env = actions::environment(workflow.world, workflow.event, &dir);
        for node in [workflow.root.get("env"), job.get("env")].into_iter().flatten() {
            env.extend(variables(node, &scope));
        }
        let scope = Scope { workspace: dir.join("work"), hash: Some(actions::hash_files), ..scope };
        let (world, event) = (workflow.world, workflow.event);
        let permissions = job.get("permissions").or(workflow.root.get("permissions")).map(YamlNode::map);
        let can_write = permissions.unwrap_or_default().iter().any(|(_, level)| level.text() == Some("write"));
        Self { world, event, dir, env, can_write, to_cache: Vec::new(), scope, failed: false, log: String::new() }
    }

    /// Steps of a job or of an action; what they are called is known among them.
    fn steps(&mut self, steps: &YamlNode) {
        let outside = self.scope.contexts.insert("steps", json!({}));
        steps.list().iter().for_each(|step| self.step(step));
        if let Some(outside) = outside {
            self.scope.contexts.insert("steps", outside);
        }
    }

    fn step(&mut self, step: &YamlNode) {
        only(step, &["id", "name", "if", "env", "run", "shell", "uses", "with"]);
        self.scope.status = if self.failed { Status::Failure } else { Status::Success };
        if !condition(step.get("if").and_then(YamlNode::text).unwrap_or("success()"), &self.scope) {
            return;
        }
        let mut env = self.env.clone();
        env.extend(step.get("env").map(|node| variables(node, &self.scope)).unwrap_or_default());
        let mut outputs = match (step.get("run"), step.get("uses")) {
            (Some(run), None) => self.run(run.text().unwrap(), text(step, "shell"), &env),
            (None, Some(uses)) => {
                let with = step.get("with").map(|node| variables(node, &self.scope)).unwrap_or_default();
                self.uses(uses.text().unwrap(), &with, &env)
            }
            _ => panic!("a step has `run` or `uses`"),
        };
        outputs.extend(self.take_files());
        if let Some(id) = step.get("id").and_then(YamlNode::text) {
            let steps = self.scope.contexts.get_mut("steps").unwrap();
            steps[id] = json!({ "outputs": outputs });
        }
    }

    fn uses(
        &mut self,
        uses: &str,
        with: &BTreeMap<String, String>,
        env: &BTreeMap<String, String>,
    ) -> Map<String, Value> {
        let Some(own) = uses.strip_prefix("./") else {
            return actions::action(self, uses.split('@').next().unwrap(), with, env);
        };
        assert!(with.is_empty(), "inputs of our own action");
        let file = self.scope.workspace.join(own).join("action.yml");
        let root = yaml::parse(&std::fs::read_to_string(&file).expect("it is in the checkout")).unwrap().unwrap();
        only(&root, &["name", "description", "runs"]);
        let runs = root.get("runs").unwrap();
        only(runs, &["using", "steps"]);
        assert_eq!(text(runs, "using"), "composite");
        assert!(
            runs.get("steps")
                .unwrap()
                .list()
                .iter()
                .all(|step| step.get("run").is_none() || step.get("shell").is_some())
        );
        self.steps(runs.get("steps").unwrap());
        Map::new()
    }

    fn run(&mut self, script: &str, shell: &str, env: &BTreeMap<String, String>) -> Map<String, Value> {
        let script = actions::script(self, script, env);
        println!("$ {}", script.trim());
        let file = self.dir.join("files/script.sh");
        std::fs::write(&file, &script).unwrap();
        let mut command = Command::new("bash");
        match shell {
            "" => command.arg("-e"),
            "bash" => command.args(["--noprofile", "--norc", "-eo", "pipefail"]),
            other => panic!("the shell `{other}`"),
        };
        let output = command.arg(&file).current_dir(&self.scope.workspace).env_clear().envs(env).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        println!("{said}");
        self.failed |= !output.status.success();
        actions::check(self);
        self.log += &format!("$ {}\n{said}", script.trim());
        Map::new()
    }

    /// What the files say that a step was given; the outputs.
    fn take_files(&mut self) -> Map<String, Value> {
        let added = pairs(&self.take("GITHUB_ENV"));
        self.env.extend(added);
        for folder in self.take("GITHUB_PATH").lines() {
            let path = format!("{folder}:{}", self.env["PATH"]);
            self.env.insert("PATH".into(), path);
        }
        pairs(&self.take("GITHUB_OUTPUT")).into_iter().map(|(name, value)| (name, json!(value))).collect()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(&self.env[name]).unwrap_or_default()
    }

    fn take(&self, name: &str) -> String {
        let text = self.read(name);
        let _ = std::fs::remove_file(&self.env[name]);
        text
    }

    /// The machine is gone; the log.
    fn end(self) -> String {
        if !self.failed {
            for (from, to) in &self.to_cache {
                std::fs::copy(from, to).unwrap();
            }
        }
        let left: Vec<_> = std::fs::read_dir(self.dir.join("tmp")).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(left.is_empty(), "files were left behind: {left:?}");
        std::fs::remove_dir_all(&self.dir).unwrap();
        self.log
    }
}

/// `name=value` lines, and `name<<END` blocks.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match (line.split_once("<<"), line.split_once('=')) {
            (Some((name, end)), _) => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                pairs.insert(name.to_owned(), value.join("\n"));
            }
            (None, Some((name, value))) => {
                pairs.insert(name.to_owned(), value.to_owned());
            }
            (None, None) => panic!("neither `name=value` nor `name<<END`: {line:?}"),
        }
    }
    pairs
}

/// Refuses keys that nobody here would honour.
fn only(node: &YamlNode, known: &[&str]) {
    let unknown = node.map().iter().find(|(key, _)| !known.contains(&key.text().unwrap()));
    assert!(unknown.is_none(), "the rehearsal does not know this key: {:?}", unknown.map(|(key, _)| key));
}

/// A called job that asks for more than its caller has is refused by GitHub.
fn may(asked: Option<&YamlNode>, most: Option<&YamlNode>) {
    let rank = |text: &str| ["none", "read", "write"].iter().position(|it| *it == text).expect("a permission");
    for (name, level) in asked.expect("permissions").map() {
        let Some(most) = most else { return };
        let has = text(most, name.text().unwrap());
        let has = if has.is_empty() { "none" } else { has };
        assert!(rank(level.text().unwrap()) <= rank(has), "{name:?}: more than the caller's `{has}`");
    }
}

fn needs(job: &YamlNode) -> Vec<String> {
    let Some(needs) = job.get("needs") else { return Vec::new() };
    let several = needs.list().iter().filter_map(YamlNode::text).map(str::to_owned).collect();
    needs.text().map_or(several, |one| vec![one.to_owned()])
}

/// The values of a matrix with one key.
fn matrices(job: &YamlNode) -> Vec<Value> {
    let Some(strategy) = job.get("strategy") else { return vec![json!({})] };
    only(strategy, &["fail-fast", "matrix"]);
    let [(key, values)] = strategy.get("matrix").unwrap().map() else { panic!("a matrix with one key") };
    let row = |value: &YamlNode| json!({ key.text().unwrap(): value.text().unwrap() });
    values.list().iter().map(row).collect()
}

fn variables(node: &YamlNode, scope: &Scope) -> BTreeMap<String, String> {
    node.map().iter().map(|(name, node)| (name.text().unwrap().to_owned(), string(&value(node, scope)))).collect()
}

fn value(node: &YamlNode, scope: &Scope) -> Value {
    template(node.text().expect("a scalar"), scope)
}

fn text<'a>(node: &'a YamlNode, key: &str) -> &'a str {
    node.get(key).and_then(YamlNode::text).unwrap_or_default()
}

/// Whether an expression of GitHub's is true: for actions that take some.
pub fn is_true(text: &str) -> bool {
    evaluate(text, &Scope::default()) == json!(true)
}
