//! The tree as a test input: imports run one way, every file says why it is
//! there, and none grows into two.

#![allow(clippy::unwrap_used)]

mod circles;
#[path = "../common/mod.rs"]
mod common;
mod imports;

use std::path::{Path, PathBuf};

use circles::{Arrow, Crate};

/// What each layer may import from the crate. `cmd` sees everything.
const MAY: [(&str, &[&str]); 8] = [
    ("model", &["model"]),
    ("fault", &["model"]),
    ("ctx", &["fault", "model"]),
    ("cli", &["cli", "ctx", "model"]),
    ("plan", &["plan", "model"]),
    ("exec", &["exec", "plan", "model", "ctx", "fault"]),
    ("engine", &["engine", "exec", "plan", "model", "ctx", "fault"]),
    ("standin", &["standin", "engine", "exec", "plan", "model", "ctx", "fault"]),
];

/// The same of docker-context; between crates the compiler holds the direction.
const MAY_IN_CONTEXT: [(&str, &[&str]); 3] = [
    ("glob", &["glob"]),
    ("dockerignore", &["dockerignore", "glob"]),
    ("dockerfile", &["dockerfile", "dockerignore", "glob"]),
];

fn source() -> PathBuf {
    common::root().join("xtask/src")
}

/// The folder of the leaf crates.
fn crates() -> PathBuf {
    common::root().join("xtask/crates")
}

/// The `src` of each crate of the workspace.
fn all_sources() -> Vec<PathBuf> {
    let crates = std::fs::read_dir(crates()).unwrap().flatten();
    crates.map(|entry| entry.path().join("src")).chain([source()]).collect()
}

/// Every file that the program is compiled from.
fn sources() -> Vec<PathBuf> {
    all_sources().iter().flat_map(|source| common::files(source, "rs")).collect()
}

fn read(source: &Path) -> Crate {
    let files = common::files(source, "rs");
    let text = |file: &Path| std::fs::read_to_string(file).unwrap();
    let is_module = |file: &&PathBuf| !file.ends_with("main.rs");
    let below = files.iter().filter(is_module).map(|file| (file.strip_prefix(source).unwrap(), text(file)));
    Crate::read(below)
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (source, layers) in [(source(), &MAY[..]), (crates().join("docker-context/src"), &MAY_IN_CONTEXT)] {
        let arrows = read(&source).arrows();
        assert!(arrows.len() > 20, "{} imports in {}", arrows.len(), source.display());
        let layer = |module: &[String]| module.first().cloned().unwrap_or_default();
        let is_wrong = |arrow: &&Arrow| {
            let (from, to) = (layer(&arrow.from), layer(&arrow.to));
            layers.iter().any(|(name, may)| *name == from && !may.contains(&to.as_str()))
        };
        wrong.extend(arrows.iter().filter(is_wrong).map(Arrow::to_string));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_goes_in_a_circle() {
    let mut wrong = Vec::new();
    for source in all_sources() {
        for circle in read(&source).circles() {
            let arrows = circle.iter().map(|arrow| format!("\n  {arrow}")).collect::<String>();
            wrong.push(format!("{}:{arrows}", source.display()));
        }
    }
    assert!(wrong.is_empty(), "these name each other:\n{}", wrong.join("\n"));
}

/// What others can use takes nothing of ours with it, and says what it is.
#[test]
fn the_leaf_crates_are_leaves() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(crates()).unwrap() {
        let folder = entry.unwrap().path();
        let manifest: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        for (kind, table) in manifest.iter().filter(|(kind, _)| kind.ends_with("dependencies")) {
            for (name, dependency) in table.as_table().unwrap() {
                assert!(dependency.is_str(), "{}: {kind}: {name} is not from the registry", folder.display());
            }
        }
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains("```rust\n"), "{}: its README shows no use", folder.display());
        names.push(folder.file_name().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["docker-context", "path-filter"]);
}

#[test]
fn every_file_says_why_it_is_there_and_none_is_a_hall() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: does not open with `//!`", file.display()));
        }
        // A line that only names a module of tests ends nothing.
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        if lines > 420 {
            wrong.push(format!("{}: {lines} lines; has it still one reason to change?", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a checkout's configuration or a hook's environment would do to git is
/// shut out in one place.
#[test]
fn git_is_called_in_one_place() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let calls = |line: &&str| {
            ["Step::new(\"git\")", "Command::new(\"git\")", "cmd(\"git\""].iter().any(|call| line.contains(call))
        };
        let outside = |line: &&str| !line.contains(".arg(\"--version\")");
        let lines = text.lines().filter(calls).filter(outside);
        wrong
            .extend(lines.filter(|_| !file.ends_with("plan/git.rs")).map(|line| format!("{}: {line}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// So that one rule for stdin, streams, groups and ends holds for every process.
#[test]
fn processes_start_in_one_place() {
    let mut wrong = Vec::new();
    for file in common::files(&source(), "rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let ways = ["xshell::", "duct::", "process::Command", "process::{"];
        let names = |line: &&str| {
            let starts = !line.contains("process::{") || line.contains("Command") || line.contains("Stdio");
            !line.trim_start().starts_with("//") && ways.iter().any(|way| line.contains(way)) && starts
        };
        let lines = code.lines().filter(names).filter(|_| !file.ends_with("exec/spawn.rs"));
        wrong.extend(lines.map(|line| format!("{}: {line}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The engine's own surroundings lead a child to it; with the others beside them
/// somebody would take the wrong ones one day.
#[test]
fn who_has_an_engine_has_no_other_surroundings() {
    let mut wrong = Vec::new();
    for file in common::files(&source(), "rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        for signature in text.split("fn ").skip(1).filter_map(|text| text.split('{').next()) {
            if signature.contains("ctx: &Ctx") && signature.contains("engine: &Engine") {
                wrong.push(format!("{}: fn {signature}", file.display()));
            }
        }
        let by_hand = |line: &&str| line.contains("run::") && line.contains("engine.ctx");
        wrong.extend(text.lines().filter(by_hand).map(|line| format!("{}: {line}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two spellings of one build differ sooner or later, and so do their images.
#[test]
fn images_are_built_in_one_place() {
    let mut wrong = Vec::new();
    for file in common::files(&source(), "rs").iter().filter(|file| !file.ends_with("plan/build.rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().filter(|line| line.contains("\"buildx\", \"build\""));
        wrong.extend(lines.map(|line| format!("{}: {line}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn services_toml_is_right_and_its_stages_are_there() {
    let text = std::fs::read_to_string(common::root().join("services.toml")).unwrap();
    let project = xtask::model::config::Project::parse("services.toml".into(), &text).unwrap();
    for service in project.services.values() {
        let dockerfile = std::fs::read_to_string(common::root().join(&service.dockerfile)).unwrap();
        let targets = service.target.iter().chain(service.test.iter().map(|test| &test.target));
        for target in targets {
            let images = docker_context::dockerfile::base_images(
                dockerfile.as_bytes(),
                Some(target),
                &docker_context::dockerfile::BuildOptions::NOTHING,
            );
            assert!(!images.unwrap().is_empty(), "{target} is built on nothing");
        }
    }
}
