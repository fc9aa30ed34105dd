//! What a service depends on besides the files in its `paths`: its workflow and
//! everything that calls, its tables in services.toml, and this program.
//!
//! Pure: callers pass the texts of both sides. A file that can't be read counts
//! as changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::model::config::{FILE, Service};
use crate::model::doubt::Doubt;
use crate::model::event::Cause;
use crate::model::yaml::{self, YamlNode, YamlValue};

/// The folder of the workflows.
pub const WORKFLOWS: &str = ".github/workflows";

/// Reads a file on one side of a comparison: its text, `None` if it does not
/// exist, or why it can't be read.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>, Doubt>;

/// Both sides of a comparison.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// The older side; `None` if only names of files are known.
    pub old: Option<Read<'a>>,
    /// The newer side.
    pub new: Read<'a>,
}

/// The changes outside a service's own files.
pub struct DefinitionChanges<'a> {
    sides: Sides<'a>,
    tables: Option<Tables>,
    is_tool_here: bool,
    /// What each workflow and action calls. Each is read once for all services.
    calls: RefCell<BTreeMap<String, Rc<Calls>>>,
}

/// The local workflows and actions that a file calls, or why they are unknown.
type Calls = Result<Vec<String>, Doubt>;

/// The tables of services.toml that changed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tables {
    /// Why the change concerns all services, if it does.
    all: Option<Cause>,
    services: BTreeSet<String>,
    needs: BTreeSet<String>,
}

impl<'a> DefinitionChanges<'a> {
    /// Reads only what the changed files make necessary.
    pub fn look<'p, P: Iterator<Item = &'p str>>(sides: Sides<'a>, paths: impl Fn() -> P) -> Self {
        let is_tool_here = || match (sides.new)("xtask/Cargo.toml") {
            Ok(text) => text.is_some_and(|text| is_the_tool(&text)),
            Err(_) => true,
        };
        Self {
            tables: paths().any(|path| path == FILE).then(|| Tables::compare(sides)),
            is_tool_here: paths().any(is_of_the_tool) && is_tool_here(),
            sides,
            calls: RefCell::default(),
        }
    }

    /// Why the change of this file concerns all services, if it does.
    pub fn of_all(&self, path: &str) -> Option<Cause> {
        match path {
            FILE => self.tables.as_ref()?.all.clone(),
            path if self.is_tool_here && is_of_the_tool(path) => {
                Some(Cause::rule(format!("{path} changed, which is a source of this tool")))
            }
            _ => None,
        }
    }

    /// The first of these files whose change concerns the service, and why.
    pub fn of<'p>(&self, service: &Service, paths: impl Iterator<Item = &'p str>) -> Option<(&'p str, Cause)> {
        let workflow = Workflow::read(self, service);
        paths.into_iter().find_map(|path| {
            let cause = if path == FILE { self.tables.as_ref()?.of(service) } else { workflow.of(path) };
            Some((path, cause?))
        })
    }

    fn calls(&self, file: &str) -> Rc<Calls> {
        if let Some(known) = self.calls.borrow().get(file) {
            return Rc::clone(known);
        }
        let calls = Rc::new(match (self.sides.new)(file) {
            Ok(Some(text)) => calls(&text),
            Ok(None) => Err("it does not exist".into()),
            Err(why) => Err(why),
        });
        self.calls.borrow_mut().insert(file.to_owned(), Rc::clone(&calls));
        calls
    }
}

/// Whether this Cargo.toml is the one of this program. Many repositories have an
/// xtask of their own. If it can't be parsed, it may be ours.
pub fn is_the_tool(text: &str) -> bool {
    let Ok(manifest) = text.parse::<toml::Table>() else { return true };
    let is = |key: &str, value: &str| {
        manifest.get("package").and_then(|package| package.get(key)).and_then(toml::Value::as_str) == Some(value)
    };
    is("name", env!("CARGO_PKG_NAME")) && is("description", env!("CARGO_PKG_DESCRIPTION"))
}

/// Whether the program is compiled from this file.
fn is_of_the_tool(path: &str) -> bool {
    let files = ["Cargo.toml", "Cargo.lock", "rust-toolchain", "rust-toolchain.toml"];
    let is_below = |folder: &str| path.starts_with(folder);
    files.contains(&path) || is_below(".cargo/") || is_below("xtask/") && !is_below("xtask/tests/")
}

impl Tables {
    fn compare(sides: Sides<'_>) -> Self {
        let all = |cause: Cause| Self { all: Some(cause), ..Self::default() };
        let Some(old) = sides.old else {
            return all(Cause::rule(format!("{FILE} changed, and a list of files does not contain the older version")));
        };
        let read =
            |read: Read<'_>, what: &str| match read(FILE).map_err(|why| format!("{what} can't be read: {why}"))? {
                None => Ok(None),
                Some(text) => text.parse::<toml::Table>().map(Some).map_err(|_| format!("{what} is not TOML")),
            };
        match (read(old, "the older one"), read(sides.new, "the newer one")) {
            (Err(why), _) | (_, Err(why)) => all(Cause::doubt(format!("{FILE} changed, and {why}"))),
            (Ok(Some(old)), Ok(Some(new))) => Self::between(&old, &new),
            (Ok(None), Ok(_)) => all(Cause::rule(format!("{FILE} is new"))),
            (Ok(_), Ok(None)) => all(Cause::rule(format!("{FILE} is gone"))),
        }
    }

    fn between(old: &toml::Table, new: &toml::Table) -> Self {
        let mut tables = Self::default();
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys.into_iter().filter(|key| old.get(*key) != new.get(*key)) {
            let names = |side: &toml::Table| side.get(key).and_then(toml::Value::as_table).cloned();
            let part = match key.as_str() {
                "services" => &mut tables.services,
                "needs" => &mut tables.needs,
                _ => {
                    tables.all = Some(Cause::rule(format!("`[{key}]` of {FILE} changed")));
                    continue;
                }
            };
            let (old, new) = (names(old).unwrap_or_default(), names(new).unwrap_or_default());
            part.extend(old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).cloned());
        }
        tables
    }

    fn of(&self, service: &Service) -> Option<Cause> {
        let name = &service.name;
        if self.services.contains(name) {
            return Some(Cause::rule(format!("`[services.{name}]` changed")));
        }
        let run = service.run.iter().flat_map(|run| &run.needs);
        let mut needs = run.chain(service.test.iter().flat_map(|test| &test.needs));
        let need = needs.find(|need| self.needs.contains(*need))?;
        Some(Cause::rule(format!("`[needs.{need}]` changed")))
    }
}

/// The workflow of one service, with everything that it calls.
#[derive(Debug, Default)]
struct Workflow {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
    unread: Option<(String, Doubt)>,
}

impl Workflow {
    /// The newer side is enough: if the older side called another file, then the
    /// calling file changed, and it is on both sides.
    fn read(changes: &DefinitionChanges<'_>, service: &Service) -> Self {
        let names = ["yml", "yaml"].map(|end| format!("{WORKFLOWS}/{}.{end}", service.workflow));
        let mut workflow = Self::default();
        workflow.files.extend(names.clone());
        let is_here = |name: &&String| !matches!((changes.sides.new)(name), Ok(None));
        let mut open: Vec<String> = names.iter().filter(is_here).cloned().collect();
        let mut seen: BTreeSet<String> = open.iter().cloned().collect();
        while let Some(file) = open.pop() {
            match &*changes.calls(&file) {
                Err(why) => workflow.unread = Some((file, why.clone())),
                Ok(calls) => {
                    let more = calls.iter().filter_map(|call| workflow.call(changes, &file, call));
                    let more: Vec<String> = more.filter(|file| seen.insert(file.clone())).collect();
                    open.extend(more);
                }
            }
        }
        workflow
    }

    /// The file behind a call, if its own calls must be read, too.
    fn call(&mut self, changes: &DefinitionChanges<'_>, from: &str, call: &str) -> Option<String> {
        let place = docker_context::clean(call.trim_start_matches('$').trim_start_matches('/'));
        if place == "." || place.starts_with("..") || call.contains("${{") {
            self.unread = Some((from.to_owned(), format!("it calls `{call}`").into()));
            return None;
        }
        if place.ends_with(".yml") || place.ends_with(".yaml") {
            self.files.insert(place.clone());
            return Some(place);
        }
        self.folders.insert(format!("{place}/"));
        let files = ["action.yml", "action.yaml", "Dockerfile"].map(|name| format!("{place}/{name}"));
        let Some(file) = files.into_iter().find(|file| !matches!((changes.sides.new)(file), Ok(None))) else {
            self.unread = Some((from.to_owned(), format!("it calls `{call}`, but there is no action").into()));
            return None;
        };
        Some(file).filter(|file| !file.ends_with("Dockerfile"))
    }

    fn of(&self, path: &str) -> Option<Cause> {
        if self.files.contains(path) || self.folders.iter().any(|folder| path.starts_with(folder.as_str())) {
            return Some(Cause::rule("its workflow uses it"));
        }
        let (file, why) = self.unread.as_ref().filter(|_| path.starts_with(".github/"))?;
        Some(Cause::doubt(format!("{file} may use it, but can't be followed: {why}")))
    }
}

/// The local workflows and actions that a workflow or an action calls.
fn calls(text: &str) -> Calls {
    let root = yaml::parse(text).map_err(|error| error.to_string())?;
    let root =
        root.filter(|root| matches!(root.value, YamlValue::Map(_))).ok_or("it is neither a workflow nor an action")?;
    let mut found = Vec::new();
    walk(&root, &mut found);
    Ok(found)
}

/// Every `uses` of a local path, anywhere in the file: this may be more than
/// GitHub calls, but never less.
fn walk(node: &YamlNode, found: &mut Vec<String>) {
    let uses = node.get("uses").and_then(YamlNode::text);
    found.extend(
        uses.filter(|uses| ["./", "$/", "../"].iter().any(|own| uses.starts_with(own)) || *uses == ".")
            .map(str::to_owned),
    );
    node.list().iter().for_each(|node| walk(node, found));
    node.map().iter().for_each(|(_, node)| walk(node, found));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Project;

    const TOML: &str = r#"
[project]
name = "demo"
registry = "ghcr.io"
owner = "demo"
[ci]
branches = ["main"]
[needs.redis]
image = "redis:7"
port = 6379
ready = ["redis-cli"]
[needs.postgres]
image = "postgres:15"
port = 5432
ready = ["pg_isready"]
[services.api]
image = "api"
paths = ["api/**"]
[services.api.run]
port = 80
health = "/"
needs = ["redis"]
[services.api.test]
target = "t"
needs = ["postgres"]
[services.web]
image = "web"
paths = ["web/**"]
workflow = "site"
"#;

    type Tree<'a> = &'a [(&'a str, &'a str)];

    /// `service: cause` for every service that the change of the paths concerns.
    fn told(old: Option<Tree<'_>>, new: Tree<'_>, paths: &[&str]) -> Vec<String> {
        let read = |tree: Tree<'_>, path: &str| match tree.iter().find(|(name, _)| *name == path) {
            Some((_, "?")) => Err("no".into()),
            found => Ok(found.map(|(_, text)| (*text).to_owned())),
        };
        let (old, new) = (old.map(|tree| move |path: &str| read(tree, path)), |path: &str| read(new, path));
        let old = old.as_ref().map(|old| old as Read<'_>);
        let changes = DefinitionChanges::look(Sides { old, new: &new }, || paths.iter().copied());
        if let Some(cause) = paths.iter().find_map(|path| changes.of_all(path)) {
            return vec![format!("all{}: {}", if cause.doubt { "?" } else { "" }, cause.text)];
        }
        let project = Project::parse("services.toml".into(), TOML).unwrap();
        let of = |service: &Service| {
            let (path, cause) = changes.of(service, paths.iter().copied())?;
            Some(format!("{}{} {path}: {}", service.name, if cause.doubt { "?" } else { "" }, cause.text))
        };
        project.services.values().filter_map(of).collect()
    }

    fn tables(from: &str, to: &str) -> Vec<String> {
        assert!(TOML.contains(from), "{from}");
        told(Some(&[(FILE, TOML)]), &[(FILE, &TOML.replace(from, to))], &[FILE])
    }

    #[test]
    fn a_table_of_services_toml_counts_for_what_is_made_of_it() {
        assert_eq!(tables("demo", "other"), ["all: `[project]` of services.toml changed"]);
        assert_eq!(tables("\"main\"", "\"trunk\""), ["all: `[ci]` of services.toml changed"]);
        assert_eq!(tables("[ci]\nbranches = [\"main\"]\n", ""), ["all: `[ci]` of services.toml changed"]);
        assert_eq!(tables("redis:7", "redis:8"), ["api services.toml: `[needs.redis]` changed"]);
        assert_eq!(tables("5432", "5433"), ["api services.toml: `[needs.postgres]` changed"]);
        assert_eq!(tables("\"web/**\"", "\"web/**\", \"x\""), ["web services.toml: `[services.web]` changed"]);
        assert_eq!(tables("port = 80\n", "port = 81\n"), ["api services.toml: `[services.api]` changed"]);
        // Another service that is new or gone; comments and blanks.
        for to in ["[services.b]\nimage = \"b\"\npaths = [\"b\"]\n[ci]", "[needs.b]\nport = 1\n[ci]", "# more\n\n[ci]"]
        {
            assert_eq!(tables("[ci]", to), [""; 0], "{to}");
        }
        let order = ("[\"web/**\"]\nworkflow = \"site\"", "[\n  'web/**' ]\nworkflow = \"site\" # x");
        assert_eq!(tables(order.0, order.1), [""; 0]);
    }

    #[test]
    fn what_services_toml_was_and_can_not_be_told_counts_for_all() {
        let new: Tree<'_> = &[(FILE, TOML)];
        let list = ["all: services.toml changed, and a list of files does not contain the older version"];
        assert_eq!(told(None, new, &["x", FILE]), list);
        assert_eq!(told(Some(&[]), new, &[FILE]), ["all: services.toml is new"]);
        assert_eq!(told(Some(new), &[], &[FILE]), ["all: services.toml is gone"]);
        let unread = ["all?: services.toml changed, and the older one can't be read: no"];
        assert_eq!(told(Some(&[(FILE, "?")]), new, &[FILE]), unread);
        assert_eq!(
            told(Some(&[(FILE, "[")]), new, &[FILE]),
            ["all?: services.toml changed, and the older one is not TOML"]
        );
        assert_eq!(
            told(Some(new), &[(FILE, "[")], &[FILE]),
            ["all?: services.toml changed, and the newer one is not TOML"]
        );
        assert_eq!(told(Some(&[(FILE, "?")]), new, &["x"]), [""; 0], "it did not change, and nobody asks");
        // If there was no such table before, everything in it is new.
        let before = TOML.split("[services.api]").next().unwrap();
        let expected = ["api services.toml: `[services.api]` changed", "web services.toml: `[services.web]` changed"];
        for before in [before.to_owned(), format!("services = 1\n{before}")] {
            assert_eq!(told(Some(&[(FILE, &before)]), new, &[FILE]), expected);
        }
    }

    const API: &str = ".github/workflows/api-docker-build.yml";
    const CALLED: &str = ".github/workflows/docker-image.yml";
    const TREE: Tree<'static> = &[
        (API, "jobs:\n  api:\n    uses: ./.github/workflows/docker-image.yml\n"),
        (CALLED, "jobs:\n  a:\n    steps: [{uses: ./.github/actions/one}, {uses: actions/checkout@v4}]\n"),
        (".github/actions/one/action.yml", "runs:\n  using: composite\n  steps:\n    - uses: ./ci/two/\n"),
        ("ci/two/action.yaml", "runs: {using: node20, main: x.js}\n"),
        (".github/workflows/site.yml", "jobs: {a: {steps: [{uses: ./.github/actions/three}]}}\n"),
        (".github/actions/three/Dockerfile", "FROM scratch\n"),
    ];

    /// The services that the change of one file concerns.
    fn whose(tree: Tree<'_>, path: &str) -> Vec<String> {
        let told = told(Some(tree), tree, &[path]);
        told.into_iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_workflow_counts_with_all_that_it_calls_and_no_other_file_does() {
        for path in [
            API,
            CALLED,
            ".github/actions/one/action.yml",
            ".github/actions/one/run.sh",
            "ci/two/x.js",
            "ci/two/action.yaml",
        ] {
            assert_eq!(whose(TREE, path), ["api"], "{path}");
        }
        for path in [".github/workflows/site.yml", ".github/workflows/site.yaml", ".github/actions/three/entry.sh"] {
            assert_eq!(whose(TREE, path), ["web"], "{path}");
        }
        for path in [
            ".github/workflows/README.md",
            ".github/workflows/ci.yml",
            ".github/actions/other/action.yml",
            ".github/actions/one.md",
            ".github/CODEOWNERS",
            "ci/twofold",
            "x",
        ] {
            assert_eq!(whose(TREE, path), [""; 0], "{path}");
        }
        // A file that is gone, or never existed, counts only by its name.
        assert_eq!(whose(&[], API), ["api"]);
        assert_eq!(whose(&[], CALLED), [""; 0]);
    }

    #[test]
    fn what_can_not_be_followed_counts_for_whom_it_may_be_part_of() {
        for text in
            ["?", "a: [", "- a", "", "jobs: {a: {uses: './../x.yml'}}", "uses: ./", "uses: $/", "uses: ./a${{ x }}"]
        {
            let tree: Tree<'_> = &[(API, text)];
            assert_eq!(whose(tree, ".github/actions/one/run.sh"), ["api?"], "{text}");
            assert_eq!(whose(tree, "docs/x"), [""; 0], "{text}");
        }
        let gone: Tree<'_> = &[(API, "a: {uses: ./src/.github/actions/one}"), ("web", "")];
        let expected = "api? .github/actions/one/x: .github/workflows/api-docker-build.yml may use it, but can't be \
                        followed: it calls `./src/.github/actions/one`, but there is no action";
        assert_eq!(told(None, gone, &[".github/actions/one/x"]), [expected]);
        for call in ["./../x.yml", "./a${{ x }}", "./"] {
            let tree = &[(API, &*format!("a: {{uses: '{call}'}}"))];
            assert!(told(None, tree, &[".github/x"])[0].ends_with(&format!("followed: it calls `{call}`")), "{call}");
        }
        let circle: Tree<'_> = &[(API, "a: {uses: ./.github/workflows/api-docker-build.yml}")];
        assert_eq!(whose(circle, CALLED), [""; 0]);
    }

    #[test]
    fn the_tool_is_told_by_its_manifest_and_its_tests_are_not_of_it() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(is_the_tool(manifest) && is_the_tool("["), "one that does not parse may be ours");
        for other in ["", "[package]\nname = \"xtask\"\n", &manifest.replace("monorepo", "robot")] {
            assert!(!is_the_tool(other), "{other}");
        }
        let told = |tree: Tree<'_>, path| told(Some(tree), tree, &[path]);
        let ours: Tree<'_> = &[("xtask/Cargo.toml", manifest)];
        let expected = "all: xtask/src/main.rs changed, which is a source of this tool";
        assert_eq!(told(ours, "xtask/src/main.rs"), [expected]);
        assert_eq!(told(&[("xtask/Cargo.toml", "?")], "xtask/src/main.rs"), [expected]);
        for path in ["xtask/tests/tree.rs", "docs/xtask/a", "x/Cargo.toml", "Cargo.tomlx"] {
            assert_eq!(told(ours, path), [""; 0], "{path}");
        }
        assert_eq!(told(&[("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n")], "Cargo.lock"), [""; 0]);
    }

    /// The result is the same from either side, as [`Workflow::read`] says.
    #[test]
    fn the_newer_side_alone_tells_what_the_older_one_called() {
        let files = [API, CALLED, ".github/workflows/b.yml", ".github/actions/one/action.yml", "a/action.yml"];
        let calls = [
            "./.github/workflows/docker-image.yml",
            "./.github/workflows/b.yml",
            "./.github/actions/one",
            "./a",
            "x/y@v1",
        ];
        crate::model::cases::cases(300, |u| {
            let mut tree = || -> Result<Vec<(&str, String)>, arbtest::arbitrary::Error> {
                let mut tree = Vec::new();
                for file in files {
                    if file == API || u.ratio(3, 4)? {
                        tree.push((
                            file,
                            format!("a: [{{uses: {}}}, {{uses: {}}}]", u.choose(&calls)?, u.choose(&calls)?),
                        ));
                    }
                }
                Ok(tree)
            };
            let (old, new) = (tree()?, tree()?);
            let old: Vec<(&str, &str)> = old.iter().map(|(file, text)| (*file, text.as_str())).collect();
            let new: Vec<(&str, &str)> = new.iter().map(|(file, text)| (*file, text.as_str())).collect();
            let changed: Vec<&str> = files
                .into_iter()
                .filter(|file| old.iter().find(|it| it.0 == *file) != new.iter().find(|it| it.0 == *file))
                .collect();
            let of = |tree: &[(&str, &str)]| {
                let told = told(Some(tree), tree, &changed);
                told.iter().any(|line| line.starts_with("api"))
            };
            assert_eq!(of(&old), of(&new), "{old:?} {new:?}");
            Ok(())
        });
    }
}
