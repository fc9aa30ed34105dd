//! Names, values and outputs of somebody who wants our terminal, or the log of
//! our job: whatever the verb, nothing of them is obeyed.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A repository in which nothing has a harmless name.
struct Hostile(PathBuf);

const FILES: [&str; 6] =
    ["::error::file", "a\u{1b}[2J", "b\u{202e}txt.exe", "n\n::warning::line", "c##[error]d", "r\r::notice::e"];

const SERVICES: &str = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"x\"\n\
    [services.api]\nimage = \"x\"\npaths = [\"**\"]\n";

const WORKFLOW: &str = "on: push\njobs:\n  \"a\\u001b[2J\":\n    runs-on: x\n    steps:\n\
    \x20     - uses: \"x\\u202e\\n::error::y@v1\"\n      - run: \"echo ##[error]z\"\n";

impl Hostile {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xtask-hostile-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join(".github/workflows")).unwrap();
        let repository = Self(dir);
        for (file, text) in [("services.toml", SERVICES), ("Dockerfile", "FROM scratch\nCOPY c* /\n")] {
            repository.write(file, text);
        }
        FILES.iter().for_each(|file| repository.write(file, "x"));
        repository.write(".github/workflows/x.yml", WORKFLOW);
        for args in [&["init", "--quiet"][..], &["add", "--all"]] {
            assert!(Command::new("git").arg("-C").arg(&repository.0).args(args).status().unwrap().success());
        }
        repository
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }

    fn run(&self, args: &[&str], path: &Path) -> Output {
        let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
        let mut command = common::pinned(args);
        // Its own tests are only what a checkout of the tool has.
        let dir = if args[0] == "test" { common::root() } else { self.0.clone() };
        command.current_dir(dir).env("PATH", path).env("DOCKER_HOST", "unix:///nowhere.sock").output().unwrap()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What of it a terminal or a runner would obey.
fn obeyed(output: &Output) -> Vec<String> {
    let text = String::from_utf8([output.stdout.as_slice(), b"\n", &output.stderr].concat()).unwrap();
    let bad = |line: &&str| {
        let control = line.contains(|c: char| c.is_control() && c != '\t' || c == '\u{202e}');
        control || line.trim_start().starts_with("::") || line.contains("##[")
    };
    text.split('\n').filter(bad).map(|line| format!("{line:?}")).collect()
}

#[test]
fn no_name_and_no_value_is_obeyed_in_any_verb() {
    let hostile = Hostile::new("verbs");
    let list = hostile.0.join("list");
    std::fs::write(&list, FILES.join("\0") + "\0").unwrap();
    let list = list.to_str().unwrap();
    let mut said = String::new();
    for args in [
        &["ci", "plan", "--files-from", list, "--explain"][..],
        &["ci", "plan", "--files-from", list, "--explain", "--format", "json"],
        &["ci", "plan", "--base", "\u{1b}[2J\n::error::x"],
        &["ci", "check"],
        &["ci", "check", "--format", "json"],
        &["docker", "\u{1b}[2J::error::x"],
        &["docker", "api", "--tag", "\u{202e}\n::error::x"],
        &["docker", "api", "--dry-run", "--build-arg", "A=\u{1b}[2J\n::error::##[x]"],
        &["docker", "test", "\u{9b}31m"],
        &["--root", "/nowhere/\u{1b}[2J", "ci", "check"],
    ] {
        let output = hostile.run(args, Path::new("/nowhere"));
        assert_eq!(obeyed(&output), Vec::<String>::new(), "{args:?}");
        said += &(String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr));
    }
    // It was all there, and is shown.
    for shown in ["\\u{1b}[2J", "\\u{202e}", "\\u202e", "\\::error", "#\\u{23}[error]", "##\\u005berror]"] {
        assert!(said.contains(shown), "no {shown} in {said}");
    }
}

#[test]
fn annotations_are_the_only_commands() {
    let hostile = Hostile::new("annotations");
    let output = hostile.run(&["ci", "check", "--format", "github"], Path::new("/nowhere"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() > 2 && text.lines().all(|line| line.starts_with("::error file=")), "{text}");
    assert!(text.contains("\\u{1b}[2J") && !text.contains(['\u{1b}', '\u{202e}']), "{text}");
}

#[test]
fn no_line_of_a_child_is_obeyed() {
    let hostile = Hostile::new("child");
    let words =
        "::set-output name=a::b\\n  ::error::c\\n\\033[2J\\033]0;t\\007\\033[31mred\\033[0m ##[error]x\\r::error::d\\n";
    hostile.write("cargo", &format!("#!/bin/sh\nprintf '{words}'\nprintf '{words}' >&2\necho '1 passed'\n"));
    Command::new("chmod").arg("+x").arg(hostile.0.join("cargo")).status().unwrap();
    let output = hostile.run(&["test", "rust"], &hostile.0);
    assert_eq!(obeyed(&output), Vec::<String>::new());
    let shown = "\\::set-output name=a::b\n  \\::error::c\n\\u{1b}[2J\\u{1b}]0;t\\u{7}red ##\\[error]x\\r::error::d\n";
    assert!(common::stderr(&output).matches(shown).count() > 2, "{}", common::stderr(&output));
}
