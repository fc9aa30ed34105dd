//! The tree as a test input: imports run one way, every file says why it is
//! there, and none grows into two.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

/// What each layer may import from the crate. `cmd` sees everything.
const MAY: [(&str, &[&str]); 5] = [
    ("model", &["model", "fault"]),
    ("plan", &["plan", "model"]),
    ("exec", &["exec", "plan", "model", "ctx", "fault"]),
    ("engine", &["engine", "exec", "plan", "model", "ctx", "fault"]),
    ("standin", &["standin", "engine", "exec", "plan", "model", "ctx", "fault"]),
];

fn source() -> PathBuf {
    common::root().join("xtask/src")
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (layer, may) in MAY {
        for file in common::files(&source().join(layer), "rs") {
            let text = std::fs::read_to_string(&file).unwrap();
            for (at, line) in text.lines().enumerate() {
                for import in line.split("crate::").skip(1) {
                    let module: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if !module.is_empty() && !may.contains(&module.as_str()) {
                        wrong.push(format!("{}:{}: {layer} imports {module}", file.display(), at + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_why_it_is_there_and_none_is_a_hall() {
    let mut wrong = Vec::new();
    for file in common::files(&source(), "rs") {
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
    for file in common::files(&source(), "rs") {
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

#[test]
fn services_toml_is_right_and_its_stages_are_there() {
    let text = std::fs::read_to_string(common::root().join("services.toml")).unwrap();
    let project = xtask::model::config::Project::parse("services.toml".into(), &text).unwrap();
    for service in project.services.values() {
        let dockerfile = std::fs::read_to_string(common::root().join(&service.dockerfile)).unwrap();
        let targets = service.target.iter().chain(service.test.iter().map(|test| &test.target));
        for target in targets {
            let images = xtask::model::dockerfile::base_images(
                dockerfile.as_bytes(),
                Some(target),
                &xtask::model::dockerfile::Given::NOTHING,
            );
            assert!(!images.unwrap().is_empty(), "{target} is built on nothing");
        }
    }
}
