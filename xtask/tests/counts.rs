//! `cargo xtask test` on the real engine: what a report counts, and what must
//! never be green. Each part is a stage whose command is a line of shell.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Write as _;
use std::path::PathBuf;

use self::common::{docker, json, stderr};

const REPORT: &str =
    "<testsuites><testsuite><testcase/><testcase/><testcase><skipped/></testcase></testsuite></testsuites>";

/// A project with a part for each command.
struct Project {
    dir: PathBuf,
    name: String,
}

impl Project {
    fn new(parts: &[(&str, &str, bool)]) -> Self {
        let name = format!("counts-{}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let mut dockerfile =
            format!("FROM python:3.11-slim-bookworm AS base\nRUN echo '{REPORT}' >/old.xml && touch -d @0 /old.xml\n");
        let mut toml = format!("[project]\nname = \"{name}\"\nregistry = \"localhost\"\nowner = \"nobody\"\n");
        for (part, command, has_report) in parts {
            writeln!(dockerfile, "FROM base AS {part}-test\nCMD [\"sh\", \"-c\", \"{command}\"]\nFROM base AS {part}")
                .unwrap();
            write!(
                toml,
                "\n[services.{part}]\nimage = \"{name}-{part}\"\ntarget = \"{part}\"\npaths = [\"Dockerfile\"]\n"
            )
            .unwrap();
            writeln!(toml, "\n[services.{part}.test]\ntarget = \"{part}-test\"").unwrap();
            if *has_report {
                toml += "report = \"/old.xml\"\n";
            }
        }
        std::fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
        std::fs::write(dir.join("services.toml"), toml).unwrap();
        Self { dir, name }
    }

    fn test(&self, part: &str) -> (Option<i32>, u64, u64, String) {
        let root = self.dir.to_str().unwrap();
        let output = common::xtask(&["test", part, "--root", root, "--format", "json"]).output().unwrap();
        let sums = json(&output);
        (output.status.code(), sums["passed"].as_u64().unwrap(), sums["failed"].as_u64().unwrap(), stderr(&output))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        common::forget_images(&self.name);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_run_is_counted_by_the_report_that_it_wrote_and_by_no_other() {
    let failing = REPORT.replacen("<testcase/>", "<testcase><failure/></testcase>", 1);
    let write = |report: &str| format!("echo '{report}' >/old.xml");
    let parts = [
        ("good", write(REPORT), true),
        ("loud", format!("{}; echo '4 failed, 80 passed in 74.03s (0:01:14)'", write(REPORT)), true),
        ("stale", "echo 5 passed in 0.01s".to_owned(), true),
        ("gone", "rm /old.xml".to_owned(), true),
        ("link", format!("echo '{REPORT}' >/r; ln -sf /r /old.xml"), true),
        ("half", write(&REPORT[..60]), true),
        ("empty", write("<testsuites/>"), true),
        ("swallowed", write(&failing), true),
        ("red", format!("{}; exit 1", write(&failing)), true),
        ("crashed", format!("{}; exit 137", write(REPORT)), true),
        ("lines", "echo '=== 80 passed in 74.03s (0:01:14) ==='".to_owned(), false),
        ("silent", "true".to_owned(), false),
    ];
    let parts: Vec<(&str, &str, bool)> =
        parts.iter().map(|(name, line, report)| (*name, line.as_str(), *report)).collect();
    let project = Project::new(&parts);
    for (part, passed, failed, words) in [
        ("good", 2, 0, ""),
        ("loud", 2, 0, ""),
        ("stale", 0, 1, "the tests wrote no /old.xml"),
        ("gone", 0, 1, "the tests wrote no /old.xml"),
        ("link", 0, 1, "/old.xml is not a regular file"),
        ("half", 0, 1, "/old.xml is not a JUnit report: line 1: a tag without an end"),
        ("empty", 0, 1, "the run counted no test"),
        ("swallowed", 1, 1, "1 failed, but the command succeeded"),
        ("red", 1, 1, "exit status: 1"),
        ("crashed", 2, 1, "exit status: 137"),
        ("lines", 80, 0, ""),
        ("silent", 0, 1, "the run counted no test"),
    ] {
        let (code, was_passed, was_failed, said) = project.test(part);
        let expected = (Some(i32::from(failed > 0)), passed, failed);
        assert_eq!((code, was_passed, was_failed), expected, "{part}: {said}");
        assert!(said.contains(words), "{part}: {said}");
    }
    assert!(!docker(&["ps", "--all"]).contains(&project.name), "containers were left behind");
}
