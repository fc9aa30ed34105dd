//! Images on their way into a registry: a real one on loopback, and somebody on
//! the way who does wrong.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use xtask::exec::signal::{self, Signal};

use self::common::demo::Demo;
use self::common::registry::{Between, Registry, Treatment};
use self::common::{docker, exit, json, paste, stderr};

/// A project with one service whose image is of a few hundred bytes, and a
/// registry.
struct World {
    demo: Demo,
    registry: Registry,
}

impl World {
    fn new(name: &str) -> Self {
        let demo = Demo::new(name);
        let registry = Registry::new(&demo);
        let demo = demo.simple("");
        let world = Self { demo, registry };
        world.git(&["init", "--quiet"]);
        world.commit(1_700_000_000);
        world
    }

    fn git(&self, args: &[&str]) {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(args).current_dir(&self.demo.dir);
        assert!(command.status().unwrap().success(), "{args:?}");
    }

    /// Everything as a commit of that moment.
    fn commit(&self, when: u64) {
        self.git(&["add", "--all"]);
        let date = format!("{when} +0000");
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--allow-empty", "-mx"]);
        command.env("GIT_COMMITTER_DATE", &date).env("GIT_AUTHOR_DATE", &date).current_dir(&self.demo.dir);
        assert!(command.status().unwrap().success());
    }

    /// Another image from now on.
    fn change(&self, line: &str, when: u64) {
        let file = self.demo.dir.join("server.py");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{line}\n{text}")).unwrap();
        self.commit(when);
    }

    fn image(&self) -> String {
        format!("{}-app", self.demo.name)
    }

    fn digest(&self, tag: &str) -> Option<String> {
        self.registry.digest(&self.image(), tag)
    }

    fn command(&self, at: &str, tags: &[&str], more: &[&str]) -> Command {
        let mut command = self.demo.command(&["docker", "app", "--push", "--registry", at]);
        tags.iter().for_each(|tag| _ = command.args(["--tag", tag]));
        command.args(more);
        command
    }

    fn push(&self, tags: &[&str], more: &[&str]) -> Output {
        self.command(&self.registry.at, tags, more).output().unwrap()
    }

    /// Pushes, and returns the digest.
    fn pushed(&self, tags: &[&str], more: &[&str]) -> String {
        let output = self.push(tags, &[more, &["--format", "json"]].concat());
        exit(&output, 0);
        json(&output)["digest"].as_str().unwrap().to_owned()
    }

    fn refused(&self, tags: &[&str], more: &[&str], words: &[&str]) {
        let output = self.push(tags, more);
        exit(&output, 1);
        words.iter().for_each(|words| assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output)));
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_is_pushed_is_proved_by_its_digest_and_then_gets_its_tags() {
    let world = World::new("publish");
    let images = |name: &str| docker(&["image", "ls", "--format", "{{.Repository}}"]).matches(name).count();
    let output = world.push(&["v1", "main"], &["--format", "json"]);
    exit(&output, 0);
    let object = json(&output);
    let digest = object["digest"].as_str().unwrap();
    assert_eq!((object["outcome"].as_str(), object["platforms"].as_array().map(Vec::len)), (Some("built"), Some(1)));
    let name = format!("{}/{}", world.registry.at, world.image());
    assert_eq!(object["tags"], serde_json::json!([format!("{name}:v1"), format!("{name}:main")]));
    assert_eq!(object["test"]["passed"], true);
    assert_eq!(object["test"]["results"][0]["platform"], object["platforms"][0]);
    assert_eq!(world.registry.tags(&world.image()), ["main", "v1"]);
    assert_eq!([world.digest("v1"), world.digest("main")], [Some(digest.to_owned()), Some(digest.to_owned())]);
    // An index, also of one platform; it names what was proved.
    let index = world.registry.manifest(&world.image(), digest);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
    let said = stderr(&output);
    assert!(said.contains("docker pull --quiet --platform linux/"), "{said}");
    assert!(said.contains(&format!("{name}@{digest}")), "{said}");
    assert_eq!(
        (
            images(&name),
            docker(&["ps", "--all", "--format", "{{.Names}}"]).matches(&format!("{}-", world.demo.name)).count()
        ),
        (0, 1)
    );

    // What it proves is what it pushed: one that ends at once gets no tag.
    world.change("import sys; sys.exit(3)", 1_700_000_001);
    world.refused(&["v1", "new"], &[], &["the container ended with exit code 3", "so it gets no tag"]);
    assert_eq!(world.registry.tags(&world.image()), ["main", "v1"]);
    assert_eq!(world.digest("v1").as_deref(), Some(digest));
    // And without a proof it does.
    let output = world.push(&["v1"], &["--no-test", "--format", "json"]);
    exit(&output, 0);
    assert_eq!(json(&output)["not_proved"][0]["why"], "`--no-test`");
    assert!(json(&output).get("test").is_none() && stderr(&output).contains("is not proved: `--no-test`"));
    assert_ne!(world.digest("v1").as_deref(), Some(digest));

    // The lines that it would run do the same.
    let output = world.push(&["pasted"], &["--no-test", "--dry-run"]);
    exit(&output, 0);
    let lines = String::from_utf8(output.stdout).unwrap();
    let pasted = paste(&lines, Path::new(&world.demo.dir));
    assert!(pasted.status.success(), "{lines}\n{}", stderr(&pasted));
    assert_eq!(world.digest("pasted"), world.digest("v1"));
    assert_eq!(images(&name), 0);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_tag_keeps_what_it_promises() {
    let world = World::new("promises");
    let first = world.pushed(&["1.2.3", "1.2", "latest", "main"], &["--no-test"]);
    // The same again moves nothing and is no error, in one repository and in two.
    assert_eq!(world.pushed(&["1.2.3", "1.2", "latest"], &["--no-test"]), first);
    world.change("x = 1", 1_700_000_100);
    world.refused(&["1.2.3"], &["--no-test"], &["`1.2.3` is a published release", &first, "--force-tags"]);
    world.refused(&["1.2.2", "1.2"], &["--no-test"], &["`1.2` is on 1.2.3 now, and 1.2.2 is older"]);
    world.refused(&["1.1.9", "latest"], &["--no-test"], &["`latest` is on 1.2.3 now, and 1.1.9 is older"]);
    assert_eq!(world.registry.tags(&world.image()), ["1.2", "1.2.3", "latest", "main"]);
    let second = world.pushed(&["1.2.4", "1.2", "latest", "main"], &["--no-test"]);
    for (tag, digest) in
        [("1.2.3", &first), ("1.2.4", &second), ("1.2", &second), ("latest", &second), ("main", &second)]
    {
        assert_eq!(world.digest(tag).as_ref(), Some(digest), "{tag}");
    }
    // Without releases it is the commit's time that tells.
    let newer = world.pushed(&["edge", "v2"], &["--no-test"]);
    world.change("x = 2", 1_700_000_050);
    world.refused(
        &["edge", "v2"],
        &["--no-test"],
        &["`v2` is on an image of 2023-11-14T22:15:00Z now, and one of 2023-11-14T22:14:10Z is older"],
    );
    assert_eq!(world.digest("edge"), Some(newer));
    let forced = world.pushed(&["1.2.3", "v2"], &["--no-test", "--force-tags"]);
    assert_eq!([world.digest("1.2.3"), world.digest("v2")], [Some(forced.clone()), Some(forced)]);
    let output = world.push(&["-x"], &[]);
    exit(&output, 2);
    let output = world.push(&[&"a".repeat(129)], &[]);
    exit(&output, 2);
    assert!(stderr(&output).contains("1 to 128 letters"), "{}", stderr(&output));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_may_pass_is_tried_again_and_what_does_not_is_said() {
    let world = World::new("faults");
    let is_question = |line: &str| line.contains("/manifests/");
    let is_tag = |line: &str| line.starts_with("PUT") && line.contains("/manifests/v");
    let is_blob = |line: &str| line.starts_with("POST") && line.contains("/uploads/");
    let busy = Treatment::Is("429 Too Many Requests");
    // What is done to which requests and how often, how it ends, and the words.
    type Case<'a> = (&'a str, fn(&str) -> bool, Treatment, usize, i32, &'a [&'a str]);
    let cases: [Case<'_>; 9] = [
        (
            "denied",
            is_question,
            Treatment::Is("401 Unauthorized"),
            99,
            1,
            &["access is denied", "`docker login 127.0.0.1:"],
        ),
        ("busy", is_question, busy, 99, 1, &["too many requests", "trying again in 4 s"]),
        ("a moment", is_tag, busy, 6, 0, &["note: too many requests; trying again in 1 s"]),
        (
            "broken",
            is_question,
            Treatment::Is("500 Internal Server Error"),
            99,
            1,
            &["the registry is broken", "has failed: see its log"],
        ),
        ("cut", is_question, Treatment::IsCut, 99, 1, &["the connection was cut"]),
        (
            "no blob",
            is_blob,
            Treatment::Is("401 Unauthorized"),
            99,
            1,
            &["the build of `app` failed", "`docker login 127.0.0.1:"],
        ),
        ("busy blobs", is_blob, busy, 1, 0, &[]),
        ("no tag", is_tag, Treatment::Is("403 Forbidden"), 99, 1, &["access is denied", "`docker login 127.0.0.1:"]),
        ("hangs", is_question, Treatment::Hangs, 99, 1, &["no answer in time"]),
    ];
    for (what, is_it, treatment, times, code, words) in cases {
        let done = AtomicUsize::new(0);
        let between = Between::new(&world.registry.at, move |line| {
            let wrong = is_it(line) && done.fetch_add(1, Ordering::Relaxed) < times;
            if wrong { treatment } else { Treatment::Passes }
        });
        // A registry is not sent what it has.
        world.change(&format!("# {what}"), 1_700_000_000);
        let tag = format!("v-{}", what.replace(' ', "-"));
        let output = world.command(&between.at, &[&tag], &["--no-test"]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{what}: {}", stderr(&output));
        words.iter().for_each(|words| assert!(stderr(&output).contains(words), "{what}, {words}: {}", stderr(&output)));
        assert_eq!(world.digest(&tag).is_some(), code == 0, "{what}");
    }
    let output = world.command("127.0.0.1:9", &["v1"], &[]).output().unwrap();
    exit(&output, 1);
    assert!(stderr(&output).contains("the engine does not reach 127.0.0.1:9"), "{}", stderr(&output));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_push_that_hangs_is_ended_and_one_that_was_interrupted_is_done_again() {
    let world = World::new("hangs");
    let hangs = |line: &str| match line.starts_with("POST") && line.contains("/uploads/") {
        true => Treatment::Hangs,
        false => Treatment::Passes,
    };
    let between = Between::new(&world.registry.at, hangs);
    let temporary = std::env::temp_dir().join(format!("push-{}", std::process::id()));
    std::fs::create_dir(&temporary).unwrap();
    let started = Instant::now();
    let output = world.command(&between.at, &["v1"], &["--timeout", "5s"]).env("TMPDIR", &temporary).output().unwrap();
    exit(&output, 1);
    assert!(stderr(&output).contains("`docker buildx build` did not end within 5 s"), "{}", stderr(&output));
    assert!(started.elapsed() >= Duration::from_secs(5));

    let mut child = world
        .command(&between.at, &["v1"], &[])
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    common::until_it_says(&mut child, "pushing layers");
    signal::send(Signal::Interrupt, [child.id()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(world.digest("v1"), None);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    std::fs::remove_dir(&temporary).unwrap();
    let digest = world.pushed(&["v1"], &[]);
    assert_eq!(world.digest("v1"), Some(digest));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn of_two_pushes_of_one_tag_one_wins_and_nobody_is_told_what_is_not_so() {
    let world = World::new("two");
    let again = world.demo.again();
    for file in ["Dockerfile", "server.py"] {
        std::fs::copy(world.demo.dir.join(file), again.dir.join(file)).unwrap();
    }
    std::fs::write(again.dir.join("server.py"), "x = 1\n").unwrap();
    let mut other =
        again.command(&["docker", "app", "--push", "--no-test", "--tag", "v", "--registry", &world.registry.at]);
    let start = |command: &mut Command| {
        command.args(["--format", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(&mut world.command(&world.registry.at, &["v"], &["--no-test"])), start(&mut other)];
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    let is_on = world.digest("v").unwrap();
    let mut digests = Vec::new();
    for output in &outputs {
        match output.status.code() {
            Some(0) => digests.push(json(output)["digest"].as_str().unwrap().to_owned()),
            _ => assert!(stderr(output).contains("did somebody else push the same tag"), "{}", stderr(output)),
        }
    }
    assert!(digests.contains(&is_on), "{is_on} {digests:?}");
    // Who puts a tag sees when it is not there afterwards.
    let is_put = std::sync::atomic::AtomicBool::new(false);
    let between = Between::new(&world.registry.at, move |line| {
        if line.starts_with("PUT") && line.contains("/manifests/gone") {
            is_put.store(true, Ordering::Relaxed);
        } else if line.contains("/manifests/gone") && is_put.load(Ordering::Relaxed) {
            return Treatment::Is("404 Not Found");
        }
        Treatment::Passes
    });
    let output = world.command(&between.at, &["gone"], &["--no-test"]).output().unwrap();
    exit(&output, 1);
    assert!(stderr(&output).contains("and is on nothing now"), "{}", stderr(&output));
}
