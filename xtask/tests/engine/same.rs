//! The plan that is printed is the plan that runs: both as lines, side by side.

use super::common::demo::Demo;
use super::common::{exit, shown, stderr};

const NEED: &str = "needs = [\"redis\"]\n[needs.redis]\nimage = \"redis:7-bookworm\"\nport = 6379\n\
    env = { REDISCLI_AUTH = \"{password}\" }\n\
    command = [\"sh\", \"-c\", 'echo \"requirepass $REDISCLI_AUTH\" | docker-entrypoint.sh redis-server -']\n\
    ready = [\"redis-cli\", \"ping\"]\nprovides = { REDIS_URL = \"redis://:{password}@redis:6379/0\" }\n";

/// What is done to containers and networks, as far as both can know it: a plan
/// names what it removes, and the guard of a run goes by ids.
fn done(lines: &[String], run: &str) -> Vec<String> {
    let verbs = ["network create", "run", "exec", "rename", "kill"].map(|verb| format!("docker {verb} "));
    let mut done: Vec<String> = Vec::new();
    for line in lines {
        let waits =
            line.strip_prefix("timeout 60 sh -c 'until ").and_then(|line| line.strip_suffix("; do sleep 1; done'"));
        let mut words: Vec<&str> = waits.unwrap_or(line).split(' ').collect();
        // A run says that it made what outlives it.
        if let Some(by) = words.iter().position(|word| word.contains(".by=")) {
            words.drain(by - 1..=by);
        }
        let line = words.join(" ").replace(run, "RUN");
        // What is waited for is tried again.
        if verbs.iter().any(|verb| line.contains(verb)) && done.last() != Some(&line) {
            done.push(line);
        }
    }
    done
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn the_plan_that_is_printed_is_the_plan_that_runs() {
    let demo = Demo::new("same").simple(NEED);
    for args in [&["init", "--quiet"][..], &["add", "--all"]] {
        let git = std::process::Command::new("git").args(args).current_dir(&demo.dir).status();
        assert!(git.unwrap().success());
    }
    std::fs::write(demo.dir.join(".dockerignore"), ".git\n").unwrap();
    // What is there already is run by its id, by both.
    exit(&demo.run(&["docker", "app"]), 0);
    for (args, code, count) in [
        (&["docker", "up"][..], 0, 5),
        (&["docker", "up", "--no-build"], 0, 5),
        // It answers 200 without its server, which proves nothing good.
        (&["docker", "test", "--with-deps"], 1, 7),
        (&["docker", "test", "--no-build"], 1, 2),
    ] {
        let planned = demo.command(args).arg("--dry-run").output().unwrap();
        exit(&planned, 0);
        let ran = demo.command(args).arg("--verbose").output().unwrap();
        exit(&ran, code);
        let planned: Vec<String> = String::from_utf8(planned.stdout).unwrap().lines().map(str::to_owned).collect();
        let ran = shown(&ran);
        let label = format!("{}.run=", demo.name);
        let run = ran.iter().flat_map(|line| line.split(' ')).find_map(|word| word.strip_prefix(&label)).unwrap();
        let (planned, ran) = (done(&planned, "pasted-0-0-0"), done(&ran, run));
        let planned: Vec<String> = planned.iter().map(|line| line.replace(run, "RUN")).collect();
        assert_eq!(planned, ran, "{args:?}");
        assert_eq!(ran.len(), count, "{args:?}: {ran:#?}");
    }
    let down = demo.run(&["docker", "down"]);
    exit(&down, 0);
    assert!(!stderr(&down).contains("error"), "{}", stderr(&down));
}
