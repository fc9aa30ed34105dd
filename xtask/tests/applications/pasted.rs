//! The lines of a dry run, pasted into a shell: they do what the command would
//! have done, and the dry run itself has done nothing.

use super::Copy;
use super::common::{self, docker, exit, paste, stderr};

/// All that the engine has of a project: other tests have theirs.
fn state(name: &str) -> Vec<String> {
    let lists = [
        docker(&["ps", "--all", "--format", "{{.ID}} {{.Names}}"]),
        docker(&["network", "ls", "--format", "{{.ID}} {{.Name}}"]),
        docker(&["image", "ls", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]),
    ];
    let mut of_project: Vec<String> =
        lists.iter().flat_map(|list| list.lines()).filter(|line| line.contains(name)).map(str::to_owned).collect();
    of_project.sort();
    of_project
}

/// The plan of a command; nothing is made, written or removed for it.
fn planned(copy: &Copy, args: &[&str]) -> String {
    let cache = copy.dir.join("no-cache");
    let (before, mut command) = (state(&copy.name), common::xtask(args));
    let output = command.args(["--dry-run", "--root", copy.dir.to_str().unwrap()]).env("XDG_CACHE_HOME", &cache);
    let output = output.output().unwrap();
    exit(&output, 0);
    assert_eq!(state(&copy.name), before, "{args:?}");
    assert!(!cache.exists(), "{args:?} wrote to the user's cache");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn the_lines_of_a_dry_run_do_what_the_command_does() {
    let copy = Copy::new("pasted");
    let run = |args: &[&str]| {
        let lines = planned(&copy, args);
        let output = paste(&lines, &copy.dir);
        assert!(output.status.success(), "{args:?}: {lines}\n{}", stderr(&output));
        lines
    };
    let there =
        || docker(&["ps", "--all", "--format", "{{.Names}}"]).lines().filter(|n| n.contains(&copy.name)).count();
    run(&["docker", "backend"]);
    let pinned = docker(&["image", "inspect", "--format", "{{.RepoTags}}", &format!("{}-backend:local", copy.name)]);
    assert!(pinned.contains(":checkout-"), "{pinned}");
    run(&["docker", "test", "web"]);
    run(&["docker", "test", "backend", "--role", "api-gateway", "--with-deps", "--no-build"]);
    run(&["test", "frontend"]);
    assert_eq!(there(), 0, "what the lines made, they removed");

    run(&["docker", "up"]);
    assert_eq!(there(), 14);
    let gateway = format!("{}-up-{}-api-gateway", copy.name, copy.checkout());
    let at = docker(&["port", &gateway, "8000"]).trim().to_owned();
    let started = std::time::Instant::now();
    while !common::ask(&at, "GET /health", "", "").contains(" 200 ") {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "the gateway never reached its servers");
    }
    // It is what `docker up` would have made, and knows itself again.
    assert!(run(&["docker", "up", "--no-build"]).contains("docker network rm "), "the old one goes first");
    assert_eq!(there(), 14);
    run(&["docker", "down"]);
    assert_eq!(there(), 0);
    assert!(!docker(&["network", "ls"]).contains(&copy.name));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn the_lines_of_lint_are_lint() {
    let output = common::xtask(&["lint", "--dry-run"]).output().unwrap();
    exit(&output, 0);
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().filter(|line| line.contains(" docker buildx build ")).count(), 2, "{lines}");
    let output = paste(&lines, &common::root());
    assert!(output.status.success(), "{lines}\n{}", stderr(&output));
}
