//! Readers that go away, devices that are full: no command panics, a result that
//! nobody gets is a failure, and people who don't listen are none.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::process::{Command, Output, Stdio};

/// Command lines that need no engine and print something, with their exit code.
const LINES: [(&[&str], i32); 16] = [
    (&["--help"], 0),
    (&["docker", "--help"], 0),
    (&["docker", "backend", "--help"], 0),
    (&["docker", "all", "--dry-run"], 0),
    (&["docker", "web", "--dry-run", "--format", "json"], 0),
    (&["docker", "test", "--dry-run", "--with-deps"], 0),
    (&["docker", "up", "--dry-run"], 0),
    (&["test", "--dry-run"], 0),
    (&["lint", "--dry-run"], 0),
    (&["ci", "plan", "--files-from", "Cargo.toml", "--explain"], 0),
    (&["ci", "plan", "--files-from", "Cargo.toml", "--format", "json"], 0),
    (&["engine", "status"], 0),
    (&["docker", "nope"], 2),
    (&["docker", "web", "--nope"], 2),
    (&["docker"], 2),
    (&["docker", "down"], 1),
];

fn command(args: &[&str]) -> Command {
    let mut command = common::pinned(args);
    let path = std::env::var_os("PATH").unwrap();
    command.env("PATH", path).env("DOCKER_HOST", "unix:///nowhere.sock").env("XTASK_ENGINE_DIR", "/nowhere");
    command
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn ended(output: &Output, code: i32, args: &[&str]) {
    let said = common::stderr(output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{args:?}: {said}");
}

#[test]
fn a_result_that_nobody_reads_is_a_quiet_failure() {
    for (args, code) in LINES {
        let whole = command(args).output().unwrap();
        ended(&whole, code, args);
        let output = command(args).stdout(closed()).stderr(Stdio::piped()).output().unwrap();
        let has_result = !whole.stdout.is_empty();
        ended(&output, if has_result { 1 } else { code }, args);
        assert_eq!(common::stderr(&output), common::stderr(&whole), "{args:?}");
        assert!(code != 0 || has_result, "{args:?} says nothing");
        // `2>&1 | head -1`
        ended(
            &command(args).stdout(closed()).stderr(closed()).output().unwrap(),
            if has_result { 1 } else { code },
            args,
        );
    }
}

#[test]
fn a_result_that_can_not_be_written_is_told() {
    for (args, code) in LINES.into_iter().filter(|(_, code)| *code == 0) {
        let output = command(args).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        ended(&output, 1, args);
        let said = common::stderr(&output);
        assert!(
            said.contains("error: the result could not be written to stdout: No space left"),
            "{args:?} {code}: {said}"
        );
    }
}

#[test]
fn that_nobody_listens_changes_nothing() {
    for (args, code) in LINES {
        let whole = command(args).output().unwrap();
        for stderr in [closed(), full()] {
            let output = command(args).stdout(Stdio::piped()).stderr(stderr).output().unwrap();
            ended(&output, code, args);
            assert_eq!(output.stdout, whole.stdout, "{args:?}");
        }
    }
}

#[test]
fn a_build_goes_on_when_nobody_watches() {
    let dir = std::env::temp_dir().join(format!("xtask-pipes-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&dir);
    // Lines of a child on both streams, more than a pipe holds.
    let cargo = dir.join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\nseq 1 30000\nseq 1 30000 >&2\necho ran >> \"${0%/*}/ran\"\n").unwrap();
    Command::new("chmod").arg("+x").arg(&cargo).status().unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = command(&["test", "rust"]);
    let output = command.env("PATH", path).stdout(closed()).stderr(closed()).output().unwrap();
    let ran = std::fs::read_to_string(dir.join("ran")).unwrap_or_default();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(ran.lines().count() > 3, "formats, lints and tests: {ran}");
}
