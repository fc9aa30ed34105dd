//! Readers that go away, devices that are full: no command panics, a result that
//! nobody gets is a failure, and people who don't listen are none.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use xtask::exec::signal::Signal;

/// Command lines where no engine answers, each of which says something, with
/// their exit code.
const LINES: &[(&[&str], i32)] = &[
    (&["--help"], 0),
    (&["docker", "--help"], 0),
    (&["docker", "backend", "--help"], 0),
    (&["docker", "all", "--dry-run"], 0),
    (&["docker", "web", "--dry-run", "--format", "json"], 0),
    (&["docker", "backend"], 1),
    (&["docker", "all"], 1),
    (&["docker", "test", "--dry-run", "--with-deps"], 0),
    (&["docker", "test"], 1),
    (&["docker", "up", "--dry-run"], 0),
    (&["docker", "up"], 1),
    (&["docker", "down", "--dry-run"], 0),
    (&["docker", "down"], 1),
    (&["docker", "verify", "--help"], 0),
    (&["docker", "verify", "web", "--key", "cosign.pub"], 2),
    (&["docker", "clean"], 1),
    (&["docker", "clean", "--dry-run"], 1),
    (&["setup", "--check"], 1),
    (&["setup", "--dry-run"], 0),
    (&["test", "--dry-run"], 0),
    (&["lint", "--dry-run"], 0),
    (&["bench", "--help"], 0),
    (&["bench"], 1),
    (&["ci", "plan", "--files-from", "Cargo.toml", "--explain"], 0),
    (&["ci", "plan", "--files-from", "Cargo.toml", "--format", "json"], 0),
    (&["ci", "check", "--help"], 0),
    (&["ci", "check"], 0),
    (&["ci", "sync", "--dry-run"], 0),
    (&["ci", "verdict"], 2),
    (&["ci", "install", "--dry-run"], 0),
    (&["engine", "status"], 0),
    (&["engine", "env"], 0),
    (&["engine", "with-builder", "--help"], 0),
    (&["engine", "up", "--dry-run"], 0),
    (&["engine", "down", "--dry-run"], 0),
    (&["docker", "nope"], 2),
    (&["docker", "web", "--nope"], 2),
    (&["docker"], 2),
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
fn every_command_is_among_them() {
    fn walk(command: &clap::Command, above: &[&str], missing: &mut Vec<String>) {
        let verbs: Vec<_> = command.get_subcommands().collect();
        for verb in &verbs {
            walk(verb, &[above, &[verb.get_name()]].concat(), missing);
        }
        if verbs.is_empty() && !LINES.iter().any(|(args, _)| args.starts_with(above)) {
            missing.push(above.join(" "));
        }
    }
    let mut missing = Vec::new();
    let services = [("backend".to_owned(), String::new()), ("web".to_owned(), String::new())];
    walk(&xtask::cli::command(Some(&services)), &[], &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn a_result_that_nobody_reads_is_a_quiet_failure() {
    for &(args, code) in LINES {
        let whole = command(args).output().unwrap();
        ended(&whole, code, args);
        let output = command(args).stdout(closed()).stderr(Stdio::piped()).output().unwrap();
        let has_result = !whole.stdout.is_empty();
        ended(&output, if has_result { 1 } else { code }, args);
        if code == 0 || !has_result {
            assert_eq!(common::stderr(&output), common::stderr(&whole), "{args:?}");
        }
        assert!(code != 0 || has_result, "{args:?} says nothing");
        // `2>&1 | head -1`
        ended(
            &command(args).stdout(closed()).stderr(closed()).output().unwrap(),
            if has_result { 1 } else { code },
            args,
        );
    }
}

/// The one object on stdout.
fn object(output: &Output, args: &[&str]) -> serde_json::Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{args:?}: {text}");
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(object.is_object(), "{args:?}: {text}");
    object
}

/// Before that an interrupt would end it on the spot.
fn until_it_catches_interrupts(pid: u32) {
    let catches = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & 0b10 != 0
    };
    while !catches() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program_gets_one_object_however_it_ends() {
    let asked = |args: &[&str]| args.contains(&"--help") || args.contains(&"--format");
    for &(args, code) in LINES.iter().filter(|(args, _)| !asked(args)) {
        let args = [args, &["--format", "json"]].concat();
        let output = command(&args).output().unwrap();
        ended(&output, code, &args);
        let object = object(&output, &args);
        match code {
            0 => assert!(object.get("error").is_none(), "{args:?}: {object}"),
            // The result itself says what is wrong.
            _ if args[0] == "setup" => assert_eq!(object["ready"], false, "{object}"),
            code => {
                assert_eq!(object["error"]["exit_code"], code, "{args:?}");
                let message = object["error"]["message"].as_str().unwrap();
                assert!(common::stderr(&output).contains(&format!("error: {message}")), "{args:?}: {message}");
            }
        }
    }
    // It waits for a list that never ends.
    let args = ["ci", "plan", "--files-from", "-", "--format", "json"];
    let mut waiting = command(&args);
    let mut waiting = waiting.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = waiting.stdin.take();
    until_it_catches_interrupts(waiting.id());
    xtask::exec::signal::send(Signal::Interrupt, [waiting.id()]);
    let output = waiting.wait_with_output().unwrap();
    drop(stdin);
    ended(&output, 130, &args);
    assert_eq!(object(&output, &args)["error"]["message"], "interrupted");
}

#[test]
fn a_result_that_can_not_be_written_is_told() {
    for &(args, code) in LINES.iter().filter(|(_, code)| *code == 0) {
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
    for &(args, code) in LINES {
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
    let run = |stderr| {
        let mut command = command(&["test", "rust"]);
        command.env("PATH", &path).stdout(closed()).stderr(stderr).output().unwrap()
    };
    let output = run(closed());
    let ran = std::fs::read_to_string(dir.join("ran")).unwrap_or_default();
    // What failed is told, though nobody reads the result.
    assert!(common::stderr(&run(Stdio::piped())).contains("error: failed: rust\n"));
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(ran.lines().count() > 3, "formats, lints and tests: {ran}");
}
