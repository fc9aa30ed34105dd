//! One engine, several checkouts: what is whose, end to end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::common::demo::Demo;
use self::common::{docker, engine, exit, json, stderr};
use xtask::exec::checkout;
use xtask::model::base::Bases;
use xtask::standin;

fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn containers(of: &str) -> Vec<String> {
    docker(&["ps", "--all", "--format", "{{.Names}}"])
        .lines()
        .filter(|name| name.contains(of))
        .map(str::to_owned)
        .collect()
}

fn word(demo: &Demo) -> String {
    checkout::identity(camino::Utf8Path::from_path(&demo.dir).unwrap())
}

fn quietly(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a server that may only just be starting answers to a line.
fn ask(at: &str, line: &str) -> String {
    let attempt = || {
        let mut stream = std::net::TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(line.as_bytes())?;
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes[..count]).into_owned())
    };
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(answer) if !answer.is_empty() => return answer,
            other => assert!(started.elapsed() < Duration::from_secs(30), "{at}: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn two_checkouts_have_each_their_own_system_and_images() {
    let one = Demo::new("clones").simple("");
    let two = one.again();
    std::fs::write(two.dir.join("other"), "another file, another image").unwrap();
    let ups = [&one, &two].map(|demo| quietly(demo.command(&["docker", "up", "--format", "json"])));
    let addresses: Vec<String> = ups
        .into_iter()
        .map(|up| {
            let output = up.wait_with_output().unwrap();
            exit(&output, 0);
            json(&output)["addresses"]["good"].as_str().unwrap().trim_start_matches("http://").to_owned()
        })
        .collect();
    let good = |at: &String| assert!(ask(at, "GET /health HTTP/1.0\r\n\r\n").contains(" 200 "));
    addresses.iter().for_each(good);
    assert_eq!(containers(&one.name).len(), 2);

    // Nothing that one of them does is the other's.
    exit(&one.run(&["docker", "test", "app", "--no-build"]), 0);
    let cleaned = two.run(&["docker", "clean", "--all", "--containers", "--images", "--format", "json"]);
    exit(&cleaned, 0);
    let names = json(&cleaned)["removed"].to_string();
    assert!(names.contains(&word(&two)) && !names.contains(&word(&one)), "{names}");
    good(&addresses[0]);
    assert_eq!(containers(&one.name).len(), 1);
    let pins = docker(&["image", "ls", "--format", "{{.Tag}}", &format!("{}-app", one.name)]);
    assert!(pins.contains(&word(&one)) && !pins.contains(&word(&two)), "{pins}");

    // A checkout that is gone can't clean up; another one can, if it is asked to.
    let gone = word(&one);
    std::fs::rename(&one.dir, two.dir.join("gone")).unwrap();
    std::fs::remove_dir_all(two.dir.join("gone")).unwrap();
    let left = two.run(&["docker", "clean", "--all-checkouts", "--containers", "--format", "json"]);
    assert_eq!(json(&left)["removed"], Value::Array(Vec::new()), "it is up");
    assert!(json(&left)["left"].to_string().contains(&gone), "{}", stderr(&left));
    exit(&two.run(&["docker", "clean", "--all-checkouts", "--all", "--containers", "--images"]), 0);
    assert_eq!(two.left(), Vec::<String>::new());
    std::fs::create_dir_all(&one.dir).unwrap();
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn two_ups_of_one_checkout_wait_for_each_other_and_one_system_is_left() {
    let demo = Demo::new("ups").simple("");
    exit(&demo.run(&["docker", "app"]), 0);
    let ups = [(); 3].map(|()| quietly(demo.command(&["docker", "up", "--no-build"])));
    for up in ups {
        exit(&up.wait_with_output().unwrap(), 0);
    }
    assert_eq!(containers(&demo.name).len(), 1);

    // Nor does it help to have a cache of one's own.
    assert!(Command::new("git").args(["init", "--quiet"]).current_dir(&demo.dir).status().unwrap().success());
    let ups = ["a", "b", "c"].map(|name| {
        let mut up = demo.command(&["docker", "up", "--no-build"]);
        up.env("XDG_CACHE_HOME", demo.dir.join(format!("../{}-{name}", demo.name)));
        quietly(up)
    });
    let said = ups.map(|up| {
        let output = up.wait_with_output().unwrap();
        exit(&output, 0);
        stderr(&output)
    });
    assert_eq!(containers(&demo.name).len(), 1);
    assert!(said.iter().any(|said| said.contains("waiting: another `docker up`")), "{said:?}");
    for name in ["a", "b", "c"] {
        let _ = std::fs::remove_dir_all(demo.dir.join(format!("../{}-{name}", demo.name)));
    }

    // Nobody learns where it is: then it is not there.
    let mut up = demo.command(&["docker", "up", "--no-build"]);
    let mut up = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(up.stdout.take());
    up.wait_with_output().unwrap();
    assert_eq!(containers(&demo.name), Vec::<String>::new());

    // Killed half-way: the next run of this checkout sweeps it.
    exit(&demo.run(&["docker", "up", "--no-build"]), 0);
    let [name] = &containers(&demo.name)[..] else { panic!("one") };
    docker(&["rename", name, &format!("{name}.starting")]);
    exit(&demo.run(&["docker", "test", "app", "--no-build"]), 0);
    assert_eq!(containers(&demo.name), Vec::<String>::new());

    let cleans = [(); 3].map(|()| quietly(demo.command(&["docker", "clean", "app"])));
    for clean in cleans {
        exit(&clean.wait_with_output().unwrap(), 0);
    }
    assert_eq!(demo.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn clean_spares_what_a_test_needs_and_sweeps_what_killed_runs_left() {
    let demo = Demo::new("held").simple("ready-seconds = 600\n");
    let services = demo.dir.join("services.toml");
    let text = std::fs::read_to_string(&services).unwrap();
    std::fs::write(&services, text.replace("\"good\"", "\"good\", \"deaf\"")).unwrap();
    let cache = demo.dir.join("cache");
    let command = |args: &[&str]| {
        let mut command = demo.command(args);
        command.env("XDG_CACHE_HOME", &cache);
        command
    };
    exit(&command(&["docker", "app"]).output().unwrap(), 0);
    let mut tested = quietly(command(&["docker", "test", "app", "--no-build", "--role", "deaf"]));
    until("it has a container", || containers(&demo.name).len() == 1);

    // As a killed run leaves it; `clean` makes no temporary folder itself.
    let temporary = demo.dir.join("temporary");
    let dead = temporary.join("xtask-0123456789abcdef");
    std::fs::create_dir_all(&dead).unwrap();
    std::fs::write(dead.join(".run"), "a folder of one run of cargo xtask; the next run removes it\n").unwrap();
    let spared = command(&["docker", "clean", "--images", "app"]).env("TMPDIR", &temporary).output().unwrap();
    exit(&spared, 0);
    assert!(stderr(&spared).contains(" uses it"), "{}", stderr(&spared));
    assert!(!dead.exists());

    let pid = tested.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(tested.wait().unwrap().code(), Some(130));
    assert_eq!(containers(&demo.name), Vec::<String>::new());

    // Between a build and its container, the test has only its lock.
    let folder = cache.join("xtask").join(&demo.name);
    let held = std::fs::File::open(folder.join(format!("images-{}.lock", word(&demo)))).unwrap();
    held.lock_shared().unwrap();
    let said = demo.dir.join("said");
    let mut clean = command(&["docker", "clean", "--images", "app"]);
    let mut clean = clean.stderr(std::fs::File::create(&said).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    until("it waits", || {
        std::fs::read_to_string(&said).unwrap().contains("a command that needs images is still running")
    });
    assert!(docker(&["image", "ls"]).contains(&demo.name));
    drop(held);
    assert!(clean.wait().unwrap().success());
    assert_eq!(demo.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_run_of_another_pid_namespace_is_nobodys_to_end() {
    let demo = Demo::new("spaces").simple("ready-seconds = 600\n");
    let services = demo.dir.join("services.toml");
    let text = std::fs::read_to_string(&services).unwrap();
    std::fs::write(&services, text.replace("\"good\"", "\"good\", \"deaf\"")).unwrap();
    exit(&demo.run(&["docker", "app"]), 0);
    let mut inner = Command::new("unshare");
    inner.args(["--pid", "--fork", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_xtask")]);
    inner.args(["docker", "test", "app", "--no-build", "--role", "deaf"]).current_dir(&demo.dir);
    let mut inner = quietly(inner);
    until("the other run has a container", || containers(&demo.name).len() == 1);
    let before = containers(&demo.name);

    exit(&demo.run(&["docker", "test", "app", "--no-build", "--role", "good"]), 0);
    let cleaned = demo.run(&["docker", "clean", "--format", "json"]);
    exit(&cleaned, 0);
    assert_eq!(json(&cleaned)["removed"].as_array().unwrap().len(), 0, "{}", stderr(&cleaned));
    assert_eq!(containers(&demo.name), before);

    inner.kill().unwrap();
    inner.wait().unwrap();
    exit(&demo.run(&["docker", "clean", "--all", "--containers", "app"]), 0);
    assert_eq!(containers(&demo.name), Vec::<String>::new());
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn clean_takes_nothing_that_only_says_or_inherits_that_it_is_ours() {
    let demo = Demo::new("inherits").simple("");
    exit(&demo.run(&["docker", "app"]), 0);
    let theirs = format!("otherteam/{}", demo.name);
    let ours = format!("{}-app:local", demo.name);
    let dockerfile = demo.dir.join("Theirs");
    std::fs::write(&dockerfile, format!("FROM {ours}\nENV A=b\n")).unwrap();
    let dir = demo.dir.to_str().unwrap();
    docker(&["buildx", "build", "--load", "--file", dockerfile.to_str().unwrap(), "--tag", &theirs, dir]);
    let named = format!("{}-named", demo.name);
    let label = format!("{}.run=made-up", demo.name);
    docker(&["run", "--detach", "--name", &named, "--label", &label, &ours, "good"]);
    // A commit of a container of a run has all the labels that a run has.
    let run = checkout::this_run().to_string();
    let labels = [format!("{}.run={run}", demo.name), format!("{}.checkout={}", demo.name, word(&demo))];
    let copied = format!("{theirs}:committed");
    let changes = labels.clone().map(|label| format!("LABEL {}", label.replace('=', " ")));
    docker(&["commit", "--change", &changes[0], "--change", &changes[1], &named, &copied]);
    let heir = format!("{}-heir", demo.name);
    docker(&["run", "--detach", "--name", &heir, &copied, "good"]);

    let cleaned = demo.run(&["docker", "clean", "--all", "--format", "json", "--containers", "--images"]);
    exit(&cleaned, 0);
    let cleaned = json(&cleaned);
    assert_eq!(cleaned["removed"].as_array().unwrap().len(), 0, "{cleaned}");
    assert!(cleaned["left"].to_string().contains(&format!("{named} uses it")), "in use: {cleaned}");
    assert_eq!(containers(&demo.name).len(), 2);

    docker(&["rm", "--force", &named]);
    let cleaned = demo.run(&["docker", "clean", "--all", "--format", "json", "--containers", "--images"]);
    exit(&cleaned, 0);
    assert_eq!(json(&cleaned)["removed"].as_array().unwrap().len(), 1);
    let images = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(images.contains(&format!("{theirs}:latest")) && images.contains(&copied), "{images}");
    assert!(!images.contains(&ours), "{images}");
    docker(&["rm", "--force", &heir]);
    docker(&["image", "rm", &theirs, &copied]);
    assert_eq!(demo.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_proof_is_of_the_image_that_was_built_whoever_takes_its_name() {
    let demo = Demo::new("swap").simple("");
    exit(&demo.run(&["docker", "app"]), 0);
    let other = format!("{}-other:1", demo.name);
    let dir = demo.dir.to_str().unwrap();
    let file = demo.dir.join("Other");
    std::fs::write(&file, format!("FROM {}-app:local\nENTRYPOINT [\"false\"]\n", demo.name)).unwrap();
    docker(&["buildx", "build", "--load", "--file", file.to_str().unwrap(), "--tag", &other, dir]);
    // The first thing that is run finds the name taken by another image.
    let bin = demo.dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let engine = engine();
    let exports: Vec<(String, String)> = engine.ctx.exports.clone();
    let real = Command::new("sh").args(["-c", "command -v docker"]).envs(exports.clone()).output().unwrap();
    let real = String::from_utf8(real.stdout).unwrap().trim().to_owned();
    let fake = format!(
        "#!/bin/sh\n[ \"$1\" != run ] || {real} tag {other} {}-app:local >>{dir:?}/swapped 2>&1 || exit 9\nexec {real} \"$@\"\n",
        demo.name
    );
    std::fs::write(bin.join("docker"), fake).unwrap();
    std::fs::set_permissions(bin.join("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // By another name: the private engine brings its own client.
    let host = exports.iter().find(|(name, _)| name == "DOCKER_HOST").map(|(_, host)| host.clone());
    let host = host.or_else(|| std::env::var("DOCKER_HOST").ok()).unwrap_or("unix:///var/run/docker.sock".into());
    std::os::unix::fs::symlink(host.trim_start_matches("unix://"), demo.dir.join("s")).unwrap();
    let path = exports.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
    let path = format!("{}:{}", bin.display(), path.unwrap_or_else(|| std::env::var("PATH").unwrap()));
    for args in [&["docker", "test", "app"][..], &["docker", "app", "--test"], &["docker", "test", "app", "--no-build"]]
    {
        exit(&demo.run(&["docker", "app", "--force"]), 0);
        let mut command = demo.command(args);
        command.envs(exports.clone());
        command.env("PATH", &path).env("DOCKER_HOST", format!("unix://{}", demo.dir.join("s").display()));
        let proved = command.args(["--format", "json"]).output().unwrap();
        assert!(demo.dir.join("swapped").exists(), "{args:?} ran nothing");
        std::fs::remove_file(demo.dir.join("swapped")).unwrap();
        assert_eq!(proved.status.code(), Some(0), "{args:?}: {}", stderr(&proved));
    }
    docker(&["image", "rm", &other]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_services_need_is_reached_by_nobody_without_the_password_of_the_run() {
    let services = std::fs::read_to_string(common::root().join("services.toml")).unwrap();
    let needs = &services[services.find("[needs.postgres]").unwrap()..services.find("[services.backend]").unwrap()];
    let demo = Demo::new("needs").simple(needs);
    let up = demo.run(&["docker", "up", "--format", "json"]);
    exit(&up, 0);
    let up = json(&up);
    assert_eq!(up["addresses"].as_object().unwrap().len(), 1, "{up}");
    let engine = engine();
    let image = standin::image_for(&engine, Bases::Auto, "postgres:15-bookworm").unwrap();
    // As any user of this machine: by the address of the container itself.
    let psql = |url: &str| {
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--network", "host", &image, "psql", "--no-password", url, "-tAc", "select 40+2"]);
        let output = command.envs(engine.ctx.exports.clone()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let address = |need: &str| {
        let name = format!("{}-up-{}-{need}", demo.name, word(&demo));
        docker(&["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &name])
            .trim()
            .to_owned()
    };
    assert!(!psql(&format!("postgresql://scribe@{}:5432/scribe", address("postgres"))).0);
    let redis = format!("{}:6379", address("redis"));
    assert!(ask(&redis, "PING\r\n").starts_with("-NOAUTH"));

    let up = demo.run(&["docker", "up", "--no-build", "--publish-needs", "--format", "json"]);
    exit(&up, 0);
    let up = json(&up);
    let file = std::path::PathBuf::from(up["credentials"].as_str().unwrap());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let variables = std::fs::read_to_string(&file).unwrap();
    let of = |key: &str| {
        variables.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap_or_default().to_owned()
    };
    assert_eq!(psql(&of("DATABASE_URL")), (true, "42".into()));
    let at = up["addresses"]["postgres"].as_str().unwrap();
    assert!(!psql(&format!("postgresql://scribe@{at}/scribe")).0);
    assert!(!psql(&format!("postgresql://scribe:scribe@{at}/scribe")).0);
    let at = up["addresses"]["redis"].as_str().unwrap();
    assert!(ask(at, "PING\r\n").starts_with("-NOAUTH"));
    let password = of("REDISCLI_AUTH");
    assert!(ask(at, &format!("AUTH {password}\r\nPING\r\n")).starts_with("+OK"), "{variables}");
    assert_eq!(password.len(), 32);

    // No process of the machine has it on its command line.
    let mut shown = String::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        shown.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default()));
    }
    assert!(!shown.contains(&password));
    exit(&demo.run(&["docker", "down"]), 0);
    assert!(!file.exists());
}
