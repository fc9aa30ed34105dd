//! End to end, on the real engine: `cargo xtask test images`.
//!
//! Ignored for `cargo test` alone, which says so and passes without Docker. The
//! wrong images come from `fixtures/demo`, each test in a copy of its own with a
//! project name of its own, below a folder with a space and a letter outside
//! ASCII: a checkout may stand anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "engine/builds.rs"]
mod builds;
mod common;
#[path = "engine/interrupts.rs"]
mod interrupts;
#[path = "engine/platforms.rs"]
mod platforms;
#[path = "engine/same.rs"]
mod same;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::common::demo::Demo;
use self::common::registry::Registry;
use self::common::{docker, exit, json, stderr, until_it_says};

fn interrupt(child: &std::process::Child) {
    xtask::exec::signal::send(xtask::exec::signal::Signal::Interrupt, [child.id()]);
}

fn ask(at: &str, what: &str, body: &str) -> String {
    common::ask(at, what, "Content-Type: application/json\r\n", body)
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_system_whose_addresses_nobody_reads_does_not_stay() {
    let demo = Demo::new("unread");
    // Of its services two can be built.
    let services = std::fs::read_to_string(demo.dir.join("services.toml")).unwrap();
    let (good, _) = services.split_once("[services.fails]").unwrap();
    std::fs::write(demo.dir.join("services.toml"), good).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let up = demo.command(&["docker", "up"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    exit(&up, 1);
    assert!(!stderr(&up).contains("error:"), "{}", stderr(&up));
    let images = [":local", " local ", " checkout-"];
    let run = |line: &&String| !images.iter().any(|tag| line.contains(tag));
    assert_eq!(demo.left().iter().filter(run).count(), 0, "{:?}", demo.left());
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn both_images_are_built_and_every_role_proves_them() {
    let built = common::xtask(&["docker", "all", "--format", "json"]).output().unwrap();
    exit(&built, 0);
    let built = json(&built);
    let services: Vec<&str> =
        built["results"].as_array().unwrap().iter().map(|one| one["service"].as_str().unwrap()).collect();
    assert_eq!(services, ["backend", "web"]);
    for one in built["results"].as_array().unwrap() {
        assert!(one["digest"].as_str().unwrap().starts_with("sha256:"), "{one}");
        assert!(one["size_bytes"].as_u64().unwrap() > 10_000_000, "{one}");
    }

    let proved = common::xtask(&["docker", "test", "--no-build", "--with-deps", "--format", "json"]).output().unwrap();
    exit(&proved, 0);
    let proved = json(&proved);
    assert_eq!(proved["passed"], true);
    let results = proved["results"].as_array().unwrap();
    let roles: BTreeSet<&str> = results.iter().filter_map(|one| one["role"].as_str()).collect();
    assert_eq!((results.len(), roles.len()), (12, 11), "{proved}");
    let sizes = |one: &&Value| one["checks"][0]["name"] == "size";
    assert_eq!(results.iter().filter(sizes).count(), 2, "each image's size is checked once");
    for one in results.iter().filter(|one| one["service"] == "backend") {
        let names: Vec<&str> =
            one["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
        for name in
            ["health with dependencies", "names what is missing without dependencies", "stops with dependencies"]
        {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
    }
    // A person's own `docker up` may well be running meanwhile.
    let names = docker(&["ps", "--all", "--format", "{{.Names}}"]);
    let left = names.lines().filter(|name| name.starts_with("infinite-scribe-") && !name.contains("-up-"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<&str>::new(), "containers were left behind");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn the_web_image_serves_without_a_gateway_and_with_its_headers() {
    let ours = "demo-web-headers";
    exit(&common::xtask(&["docker", "web", "--tag", ours]).output().unwrap(), 0);
    let image = format!("infinite-scribe-web:{ours}");
    docker(&[
        "run",
        "--detach",
        "--name",
        ours,
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--publish",
        "127.0.0.1::8080",
        &image,
    ]);
    let at = docker(&["port", ours, "8080"]).trim().to_owned();
    let get = |path: &str| ask(&at, &format!("GET {path}"), "");
    let page = get("/");
    let asset = page.split("/assets/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let answers = [
        ("/", page.clone()),
        ("asset", get(&format!("/assets/{asset}"))),
        ("/nope.js", get("/assets/nope.js")),
        ("/api", get("/api/v1/novels")),
    ];
    docker(&["rm", "--force", ours]);
    docker(&["image", "rm", &image]);
    for (what, answer) in &answers {
        for header in ["content-security-policy:", "x-content-type-options: nosniff", "referrer-policy:"] {
            assert!(answer.to_lowercase().contains(header), "{what} has no {header}: {answer}");
        }
    }
    let status = |at: usize| answers[at].1.split(' ').nth(1).unwrap().to_owned();
    assert_eq!([status(0), status(1), status(2), status(3)], ["200", "200", "404", "503"]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn the_whole_system_comes_up_and_a_task_goes_all_the_way_through_it() {
    exit(&common::xtask(&["docker", "all"]).output().unwrap(), 0);
    // The same system under another name: a person's own may be up.
    let name = format!("demo-up-{}", std::process::id());
    let dir = std::env::temp_dir().join("xtask tëst").join(&name);
    std::fs::create_dir_all(&dir).unwrap();
    let services = std::fs::read_to_string(common::root().join("services.toml")).unwrap();
    let renamed = services.replace("name = \"infinite-scribe\"", &format!("name = \"{name}\""));
    std::fs::write(dir.join("services.toml"), renamed).unwrap();
    let root = dir.to_str().unwrap().to_owned();
    let run = |args: &[&str]| common::xtask(args).args(["--root", &root, "--format", "json"]).output().unwrap();

    let up = run(&["docker", "up", "--no-build"]);
    let ended = std::panic::catch_unwind(|| {
        exit(&up, 0);
        let addresses = &json(&up)["addresses"];
        assert_eq!(addresses.as_object().unwrap().len(), 12, "{addresses}");
        let web = addresses["web"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let body = |answer: String| -> Value {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {head} {body}"))
        };
        let started = Instant::now();
        while !ask(&web, "GET /api/v1/health", "").contains(" 200 ") {
            assert!(started.elapsed() < Duration::from_secs(30), "the gateway never got healthy");
            std::thread::sleep(Duration::from_millis(100));
        }
        let novel = body(ask(&web, "POST /api/v1/novels", r#"{"title":"Up"}"#));
        let tasks = format!("POST /api/v1/novels/{}/tasks", novel["id"].as_str().unwrap());
        let task = body(ask(&web, &tasks, r#"{"agent":"writer","instruction":"Begin."}"#));
        let path = format!("GET /api/v1/tasks/{}", task["id"].as_str().unwrap());
        let ended = loop {
            let task = body(ask(&web, &path, ""));
            if task["status"] != "queued" && task["status"] != "running" {
                break task;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{task}");
            std::thread::sleep(Duration::from_millis(100));
        };
        assert_eq!(ended["status"], "failed");
        assert!(ended["error"].as_str().unwrap().contains("set LLM_BASE_URL"), "{ended}");
    });
    let down = run(&["docker", "down"]);
    std::fs::remove_dir_all(&dir).unwrap();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    exit(&down, 0);
    assert_eq!(json(&down)["removed"], 15, "14 containers and their network");
    assert!(!docker(&["ps", "--all"]).contains(&name) && !docker(&["network", "ls"]).contains(&name));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_wrong_container_is_told_by_what_is_wrong_and_is_gone() {
    let demo = Demo::new("wrong");
    exit(&demo.run(&["docker", "app"]), 0);
    for (role, expected) in [
        ("good", ""),
        ("dies", "ended with exit code 1"),
        ("deaf", "expected an answer on port 8000 within 6 s"),
        ("sick", "expected 200 from /health within 6 s, got 500 sick"),
        ("stubborn", "it still runs after 10 s"),
    ] {
        let output = demo.run(&["docker", "test", "app", "--no-build", "--role", role, "--format", "json"]);
        exit(&output, i32::from(role != "good"));
        let text = json(&output).to_string();
        assert!(text.contains(expected), "{role}: {text}");
        if role == "dies" {
            assert!(stderr(&output).contains("the flux capacitor is missing"), "no log: {}", stderr(&output));
        }
    }
    let rooted = demo.run(&["docker", "test", "rooted", "--format", "json"]);
    exit(&rooted, 1);
    let result = &json(&rooted)["results"][0];
    let failed: Vec<&str> = result["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["passed"] == false)
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["size", "not root"], "{result}");
    let built = demo.run(&["docker", "rooted", "--test", "--format", "json"]);
    exit(&built, 1);
    let built = json(&built);
    assert_eq!((&built["service"], &built["test"]["passed"]), (&"rooted".into(), &false.into()), "{built}");
    assert_eq!(
        built["test"]["results"][0]["checks"].as_array().map(Vec::len),
        result["checks"].as_array().map(Vec::len)
    );
    for service in ["alias", "zeros"] {
        let output = demo.run(&["docker", "test", service, "--format", "json"]);
        exit(&output, 1);
        let text = json(&output)["results"][0]["checks"].to_string();
        assert!(text.contains("expected no process of root's, got python"), "{service}: {text}");
    }
    assert!(!docker(&["ps", "--all"]).contains(&demo.name), "containers were left behind");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_failing_build_shows_the_step_and_does_not_lose_the_others() {
    let demo = Demo::new("fails");
    let output = demo.run(&["docker", "fails"]);
    exit(&output, 1);
    for words in ["the last words of the step", "exit code: 7", "error: the build of `fails` failed", "help: "] {
        assert!(stderr(&output).contains(words), "no {words:?} in {}", stderr(&output));
    }
    let output = demo.run(&["docker", "nowhere", "--bases", "upstream"]);
    exit(&output, 1);
    assert!(stderr(&output).contains("a base image is not available"), "{}", stderr(&output));

    // Without the slow one: `all` of a project with one good and one bad image.
    let services = std::fs::read_to_string(demo.dir.join("services.toml")).unwrap();
    let cut = services.split("[services.slow]").next().unwrap();
    std::fs::write(demo.dir.join("services.toml"), cut).unwrap();
    let output = demo.run(&["docker", "all", "--format", "json"]);
    std::fs::write(demo.dir.join("services.toml"), &services).unwrap();
    exit(&output, 1);
    let outcomes: Vec<String> = json(&output)["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["service"].as_str().unwrap(), one["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, ["alias built", "app built", "fails failed", "rooted built", "zeros built"]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn ctrl_c_ends_a_build_and_a_test_with_130_and_leaves_nothing() {
    let demo = Demo::new("stop");
    let when = format!("WHEN={}", std::process::id());
    let mut build = demo.command(&["docker", "slow", "--build-arg", &when]).stderr(Stdio::piped()).spawn().unwrap();
    until_it_says(&mut build, "the slow step began");
    interrupt(&build);
    let started = Instant::now();
    assert_eq!(build.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(9), "the build was not ended but killed");

    exit(&demo.run(&["docker", "app"]), 0);
    let mut test = demo
        .command(&["docker", "test", "app", "--no-build", "--role", "deaf", "--verbose"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_it_says(&mut test, "docker run");
    while !docker(&["ps", "--format", "{{.Names}}"]).contains(&demo.name) {
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupt(&test);
    assert_eq!(test.wait().unwrap().code(), Some(130));
    let left: Vec<String> = demo.left().into_iter().filter(|line| !line.contains("-app")).collect();
    assert_eq!(left, Vec::<String>::new());
    let images = demo.left();
    assert_eq!(images.len(), 2, "the image by its two names and nothing else: {images:?}");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_killed_test_is_swept_by_the_next_and_clean_leaves_nothing_of_ours() {
    let demo = Demo::new("swept");
    exit(&demo.run(&["docker", "app"]), 0);
    let mut test =
        demo.command(&["docker", "test", "app", "--no-build", "--role", "deaf"]).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !docker(&["ps", "--format", "{{.Names}}"]).contains(&demo.name) {
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    test.kill().unwrap();
    test.wait().unwrap();
    assert!(docker(&["ps"]).contains(&demo.name), "SIGKILL leaves the container");
    exit(&demo.run(&["docker", "test", "app", "--no-build", "--role", "good"]), 0);
    assert!(!docker(&["ps", "--all"]).contains(&demo.name), "the next run sweeps it away");

    let others: BTreeSet<String> = docker(&["image", "ls", "--format", "{{.ID}} {{.Repository}}"])
        .lines()
        .filter(|line| !line.contains("demo-"))
        .map(str::to_owned)
        .collect();
    let listed = demo.run(&["docker", "clean", "--dry-run", "--format", "json", "app"]);
    exit(&listed, 0);
    assert_eq!(json(&listed)["removed"].as_array().unwrap().len(), 1);
    assert_eq!(demo.left().len(), 2, "a dry run removes nothing");
    let cleaned = demo.run(&["docker", "clean", "--format", "json", "app"]);
    exit(&cleaned, 0);
    assert_eq!(json(&cleaned)["removed"], json(&listed)["removed"], "what was listed is what went");
    assert_eq!(demo.left(), Vec::<String>::new());
    let after: BTreeSet<String> =
        docker(&["image", "ls", "--format", "{{.ID}} {{.Repository}}"]).lines().map(str::to_owned).collect();
    assert!(others.is_subset(&after), "others' images are gone: {:?}", others.difference(&after));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn two_runs_at_once_in_one_checkout_both_succeed() {
    let demo = Demo::new("twice");
    exit(&demo.run(&["docker", "app"]), 0);
    let start = || {
        demo.command(&["docker", "test", "app", "--role", "good"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut runs = [start(), start()];
    for run in &mut runs {
        assert_eq!(run.wait().unwrap().code(), Some(0));
    }
    assert!(!docker(&["ps", "--all"]).contains(&demo.name));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn an_image_is_pushed_to_a_plain_registry_and_trusted_as_a_base_for_a_day() {
    let demo = Demo::new("push");
    let registry = Registry::new(&demo);
    let at = registry.at.clone();
    let push = ["docker", "app", "--registry", &at, "--tag", "v1", "--tag", "v2", "--push", "--no-test"];
    let pushed = demo.run(&[&push[..], &["--format", "json"]].concat());
    exit(&pushed, 0);
    let labels = docker(&[
        "buildx",
        "imagetools",
        "inspect",
        &format!("{at}/{}-app:v1", demo.name),
        "--format",
        "{{json .Image}}",
    ]);
    let stands_on = format!("\"{}.stand-ins\": \"python:3.11-slim-bookworm\"", demo.name);
    // Where registries answer it stands on upstream's.
    assert_eq!(labels.contains(&stands_on), stderr(&pushed).contains("note: stand-ins"), "{labels}");
    let digest = json(&pushed)["digest"].as_str().unwrap().to_owned();
    for tag in ["v1", "v2"] {
        let inspected = docker(&["buildx", "imagetools", "inspect", &format!("{at}/{}-app:{tag}", demo.name)]);
        assert!(inspected.contains(&digest), "{tag}: {inspected}");
    }
    // Only the registry knows what this name is.
    let dockerfile = format!("FROM {at}/{}-app:v1 AS app\nCOPY server.py /other\n", demo.name);
    std::fs::write(demo.dir.join("Dockerfile"), dockerfile).unwrap();
    assert!(Command::new("git").args(["init", "--quiet"]).current_dir(&demo.dir).status().unwrap().success());
    // Nobody gets it from there in another wrapping.
    let output = demo.run(&["docker", "app", "--bases", "upstream", "--output", "oci=out.tar"]);
    exit(&output, if labels.contains(&stands_on) { 2 } else { 0 });
    assert_eq!(stderr(&output).contains("must not leave"), labels.contains(&stands_on), "{}", stderr(&output));
    let _ = std::fs::remove_file(demo.dir.join("out.tar"));
    let cache = demo.dir.join(".cache");
    let outcome = || {
        let mut command = demo.command(&["docker", "app", "--bases", "upstream", "--format", "json"]);
        let output = command.env("XDG_CACHE_HOME", &cache).output().unwrap();
        exit(&output, 0);
        json(&output)["outcome"].as_str().unwrap().to_owned()
    };
    std::fs::write(demo.dir.join(".gitignore"), ".cache\n").unwrap();
    std::fs::write(demo.dir.join(".dockerignore"), ".cache\n.git\n").unwrap();
    assert_eq!([outcome(), outcome()], ["built", "up-to-date"]);
    let record = cache.join("xtask").join(&demo.name).join("builds");
    let text = std::fs::read_to_string(&record).unwrap();
    let older = |line: &str| {
        let (second, rest) = line.split_once(' ').unwrap();
        format!("{} {rest}\n", second.parse::<u64>().unwrap() - 25 * 3600)
    };
    std::fs::write(&record, text.lines().map(older).collect::<String>()).unwrap();
    assert_eq!([outcome(), outcome()], ["built", "up-to-date"]);
    docker(&["image", "rm", &format!("{at}/{}-app:v1", demo.name)]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_test_that_fails_leaves_no_image_whatever_its_name() {
    let name = std::sync::Mutex::<String>::default();
    let failed = std::panic::catch_unwind(|| {
        let demo = Demo::new("leaves-none").simple("");
        name.lock().unwrap().clone_from(&demo.name);
        let built = format!("{}-app:local", demo.name);
        exit(&demo.run(&["docker", "app"]), 0);
        docker(&["tag", &built, &format!("127.0.0.1:9/a/{built}")]);
        // What clean-up goes by is gone.
        std::fs::remove_file(demo.dir.join("services.toml")).unwrap();
        docker(&["image", "inspect", "nothing/of/that/name:1"]);
    });
    assert!(failed.is_err());
    let name = name.into_inner().unwrap();
    assert!(name.starts_with("demo-leaves-none-"));
    assert_eq!(common::left(&name), Vec::<String>::new());
}
