//! The tree as a test input: imports run one way, every file says why it is
//! there, and none grows into two.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

/// What each layer may import from the crate. `cmd` sees everything.
const MAY: [(&str, &[&str]); 5] = [
    ("model", &["model", "fault"]),
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

fn crates() -> PathBuf {
    common::root().join("xtask/crates")
}

/// Every file that the program is compiled from.
fn sources() -> Vec<PathBuf> {
    [common::files(&source(), "rs"), common::files(&crates(), "rs")].concat()
}

/// What of the crate a file imports that it may not.
fn not_allowed(layer: &str, may: &[&str], file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut wrong = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for import in line.split("crate::").skip(1) {
            let module: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !module.is_empty() && !may.contains(&module.as_str()) {
                wrong.push(format!("{}:{}: {layer} imports {module}", file.display(), at + 1));
            }
        }
    }
    wrong
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (layer, may) in MAY {
        for file in common::files(&source().join(layer), "rs") {
            wrong.extend(not_allowed(layer, may, &file));
        }
    }
    let context = crates().join("docker-context/src");
    for file in common::files(&context, "rs") {
        let name = file.strip_prefix(&context).unwrap().iter().next().unwrap().to_str().unwrap();
        let layer = MAY_IN_CONTEXT.iter().find(|(layer, _)| *layer == name.trim_end_matches(".rs"));
        match layer {
            Some((layer, may)) => wrong.extend(not_allowed(layer, may, &file)),
            None => assert_eq!(name, "lib.rs", "no layer is named for it"),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
        let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
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
                &docker_context::dockerfile::Given::NOTHING,
            );
            assert!(!images.unwrap().is_empty(), "{target} is built on nothing");
        }
    }
}
