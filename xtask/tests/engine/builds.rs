//! What a build leaves beside the image, and what it leaves when it fails.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::common::{exit, json, stderr, until_it_says};
use super::{Demo, interrupt};

/// A project whose image holds `megabytes` that nobody has, and stands on
/// nothing.
fn scratch(name: &str, megabytes: usize) -> Demo {
    let demo = Demo::new(name);
    std::fs::write(demo.dir.join("Dockerfile"), "FROM scratch AS app\nCOPY payload /\n").unwrap();
    payload(&demo, megabytes * 1024);
    demo
}

fn payload(demo: &Demo, kilobytes: usize) {
    let chance = format!("head -c {} /dev/urandom > payload", kilobytes * 1024);
    assert!(Command::new("sh").args(["-c", &chance]).current_dir(&demo.dir).status().unwrap().success());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every blob of an archive is what its name says.
fn is_whole(archive: &Path) -> bool {
    let script = r#"set -e; d=$(mktemp -d); trap 'rm -rf "$d"' EXIT; tar -xf "$1" -C "$d"; test -s "$d/index.json"
        cd "$d/blobs/sha256"; for f in *; do test "$(sha256sum < "$f")" = "$f  -"; done"#;
    Command::new("sh").args(["-c", script, "sh"]).arg(archive).status().unwrap().success()
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn two_archives_to_one_file_are_both_whole() {
    let demo = scratch("archives", 30);
    let before = names(&demo.dir);
    for _ in 0..2 {
        let run = || demo.command(&["docker", "app", "--output", "oci=out.tar"]).stderr(Stdio::null()).spawn().unwrap();
        let mut runs = [run(), run()];
        for run in &mut runs {
            assert_eq!(run.wait().unwrap().code(), Some(0));
        }
        assert!(is_whole(&demo.dir.join("out.tar")));
        std::fs::remove_file(demo.dir.join("out.tar")).unwrap();
    }
    assert_eq!(names(&demo.dir), before);
    let folder = demo.run(&["docker", "app", "--output", "oci=."]);
    exit(&folder, 2);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_cache_that_can_not_be_written_leaves_the_good_one_and_is_a_warning() {
    let demo = scratch("fulldisk", 1);
    let small = demo.dir.join("small");
    std::fs::create_dir(&small).unwrap();
    std::fs::write(demo.dir.join(".dockerignore"), "small\n").unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&small).status().unwrap();
    assert!(mounted.success(), "mounting needs root, as the private engine does");
    let result = std::panic::catch_unwind(|| {
        let args = ["docker", "app", "--force", "--cache", "local", "--cache-dir", "small", "--format", "json"];
        let first = demo.run(&args);
        exit(&first, 0);
        assert!(json(&first)["warnings"].is_null(), "{}", json(&first));
        let [cache] = &names(&small)[..] else { panic!("{:?}", names(&small)) };
        let cache = small.join(cache);
        let good = names(&cache.join("blobs/sha256"));
        payload(&demo, 2500);
        let second = demo.run(&args);
        exit(&second, 0);
        let said = json(&second)["warnings"][0].as_str().unwrap().to_owned();
        assert!(said.contains("no space left on device"), "{said}");
        assert!(stderr(&second).contains("warning: the layer cache of `app` was not kept"), "{}", stderr(&second));
        assert_eq!(names(&cache.join("blobs/sha256")), good);
        assert_eq!(names(&small), [cache.file_name().unwrap().to_str().unwrap()]);
        // With room enough the next one takes its place.
        payload(&demo, 100);
        exit(&demo.run(&args), 0);
        assert_ne!(names(&cache.join("blobs/sha256")), good);
    });
    assert!(Command::new("umount").arg(&small).status().unwrap().success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    // A registry that is not there.
    let lost =
        demo.run(&["docker", "app", "--force", "--cache", "registry", "--registry", "127.0.0.1:9", "--format", "json"]);
    exit(&lost, 0);
    assert!(json(&lost)["warnings"][0].as_str().unwrap().contains("connection refused"), "{}", json(&lost));
    // Somebody's folder is no cache.
    std::fs::create_dir_all(demo.dir.join("mine/app@linux-amd64")).unwrap();
    let refused = demo.run(&["docker", "app", "--force", "--cache", "local", "--cache-dir", "mine"]);
    exit(&refused, 2);
    assert!(demo.dir.join("mine/app@linux-amd64").is_dir());
}

/// The processes that a run has started.
fn children(of: &Child) -> Vec<u32> {
    let list = Command::new("pgrep").args(["--parent", &of.id().to_string()]).output().unwrap();
    String::from_utf8(list.stdout).unwrap().lines().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_a_killed_build_leaves_goes_with_the_next_and_an_interrupted_one_leaves_nothing() {
    let demo = Demo::new("killed");
    let slow = "FROM python:3.11-slim-bookworm AS slow\nARG WHEN\nRUN echo the slow step began $WHEN && sleep 600\n";
    std::fs::write(demo.dir.join("Dockerfile"), format!("{slow}FROM scratch AS app\nCOPY server.py /\n")).unwrap();
    let before = names(&demo.dir);
    let when = format!("WHEN={}", std::process::id());
    let args = ["--cache", "local", "--cache-dir", "."];
    let start = || {
        let mut command = demo.command(&["docker", "slow", "--build-arg", &when, "--progress", "plain"]);
        let mut run = command.args(args).stderr(Stdio::piped()).spawn().unwrap();
        until_it_says(&mut run, "the slow step began");
        run
    };
    let mut run = start();
    interrupt(&run);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(names(&demo.dir), before);

    let mut run = start();
    let builders = children(&run);
    run.kill().unwrap();
    run.wait().unwrap();
    xtask::exec::signal::send("KILL", builders.iter().copied());
    assert_ne!(names(&demo.dir), before, "SIGKILL leaves what is half-made");
    let next = demo.command(&["docker", "app"]).args(args).output().unwrap();
    exit(&next, 0);
    let left: Vec<String> = names(&demo.dir).into_iter().filter(|name| !before.contains(name)).collect();
    assert!(
        matches!(&left[..], [cache, lock] if cache == ".slow@linux-amd64.xtask-lock" && lock.starts_with("app@")),
        "{left:?}"
    );
}
