//! What can be wrong before an engine is needed: each has one clear error. No
//! Docker is needed here.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A folder that is gone afterwards.
struct EngineFolder(PathBuf);

impl EngineFolder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for EngineFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn in_dir(dir: &Path, args: &[&str]) -> Command {
    let mut command = common::pinned(args);
    command.current_dir(dir).env("HOME", dir);
    command
}

fn refused(command: &mut Command, code: i32, expected: &[&str]) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "stdout is for results");
    for words in expected {
        assert!(stderr.contains(words), "no {words:?} in {stderr}");
    }
}

/// clap looks at itself in debug builds only; `cargo install` and CI make others.
#[test]
#[ignore = "compiles: cargo xtask test images"]
fn a_build_without_debug_assertions_says_the_same() {
    let cargo = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(args).args(["--quiet", "--package", "xtask"]).current_dir(common::root());
        command
    };
    common::exit(&cargo(&["build", "--profile", "plain"]).output().unwrap(), 0);
    let target = Path::new(env!("CARGO_BIN_EXE_xtask")).ancestors().nth(2).unwrap();
    let mut tests = cargo(&["test", "--test", "refusals", "--test", "plans", "--test", "pipes"]);
    let output = tests.env("XTASK_TEST_BINARY", target.join("plain/xtask")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.matches("test result: ok.").count() == 3, "{said}");
}

#[test]
fn without_services_toml_it_says_where_it_looked() {
    let folder = EngineFolder::new("none");
    refused(&mut in_dir(&folder.0, &["docker", "backend"]), 2, &["services.toml: No such file", "--root DIR"]);
    refused(&mut in_dir(&folder.0, &["docker", "test"]), 2, &["services.toml: No such file"]);
}

#[test]
fn a_wrong_services_toml_is_told_before_an_unknown_service() {
    let folder = EngineFolder::new("wrong");
    std::fs::write(folder.0.join("services.toml"), "[project]\nname = \"x\"\nnope = 1\n").unwrap();
    let expected = "services.toml:3: unknown field `nope`";
    refused(&mut in_dir(&folder.0, &["docker", "backend"]), 2, &[expected]);
    // Behind a name that nobody knows options are words; a program gets its object.
    for args in [["docker", "backend", "--format", "json"], ["docker", "--format=json", "backend", "--push"]] {
        let output = in_dir(&folder.0, &args).output().unwrap();
        common::exit(&output, 2);
        assert!(common::json(&output)["error"]["message"].as_str().unwrap().starts_with(expected), "{args:?}");
    }
}

/// It would be another engine, or another checkout, that a command is about.
#[test]
fn a_place_that_is_not_utf_8_is_refused_and_not_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    for name in ["DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST", "XTASK_ENGINE_DIR", "XTASK_ROOT"] {
        let mut command = in_dir(&common::root(), &["engine", "down", "--purge"]);
        command.env("HOME", "/nowhere").env(name, std::ffi::OsStr::from_bytes(b"/nowhere/\xff"));
        refused(&mut command, 2, &[&format!("{name} is not UTF-8")]);
    }
}

#[test]
fn a_context_that_is_no_folder_is_told_at_its_line() {
    let folder = EngineFolder::new("context");
    let with = |context: &str| {
        let text = format!("{PROJECT}[services.api]\nimage = \"x\"\npaths = [\"**\"]\n{context}");
        std::fs::write(folder.0.join("services.toml"), text).unwrap();
    };
    std::fs::write(folder.0.join("Dockerfile"), "FROM scratch\n").unwrap();
    let engine = FakeEngine::new(&folder.0);
    with("context = \"gone\"\n");
    refused(
        &mut engine.xtask(&["docker", "api"]),
        2,
        &["services.toml:8: `services.api.context`: `gone` is not there"],
    );
    with("context = \"Dockerfile\"\n");
    refused(
        &mut engine.xtask(&["docker", "api"]),
        2,
        &["services.toml:8: `services.api.context`: `Dockerfile` is no folder"],
    );
}

#[test]
fn a_services_toml_that_is_no_text_is_told_as_that_and_never_waited_for() {
    let folder = EngineFolder::new("no-text");
    let file = folder.0.join("services.toml");
    let utf16: Vec<u8> = "[project]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&file, [&[0xff, 0xfe], &utf16[..]].concat()).unwrap();
    for args in [&["ci", "plan"][..], &["docker", "backend"], &["docker", "all"]] {
        refused(&mut in_dir(&folder.0, args), 2, &["services.toml:1: it is UTF-16", "iconv"]);
    }
    std::fs::write(&file, b"[project]\nname = \"\xe9\"\n").unwrap();
    refused(&mut in_dir(&folder.0, &["ci", "plan"]), 2, &["services.toml:2: the byte 0xE9 is not UTF-8"]);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    refused(&mut in_dir(&folder.0, &["ci", "plan"]), 2, &["services.toml: neither a file nor a link to one"]);
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    refused(&mut in_dir(&folder.0, &["ci", "plan"]), 2, &["services.toml: neither a file nor a link to one"]);
}

#[test]
fn a_dockerfile_that_is_not_there_or_has_no_such_stage_is_named() {
    let folder = EngineFolder::new("stage");
    let text = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"x\"\n[services.api]\nimage = \"x\"\ntarget = \"api\"\npaths = [\"**\"]\n";
    std::fs::write(folder.0.join("services.toml"), text).unwrap();
    let engine = FakeEngine::new(&folder.0);
    refused(&mut engine.xtask(&["docker", "api"]), 2, &["Dockerfile: No such file", "`services.api.dockerfile`"]);
    std::fs::write(folder.0.join("Dockerfile"), "FROM scratch AS app\n").unwrap();
    refused(&mut engine.xtask(&["docker", "api"]), 2, &["Dockerfile: no stage `api`; the stages are: app"]);
    std::fs::write(folder.0.join("Dockerfile"), "FROM scratch AS api\nCOPY x\n").unwrap();
    refused(&mut engine.xtask(&["docker", "api"]), 2, &["Dockerfile:2:1: COPY"]);
}

#[test]
fn a_client_without_an_engine_is_not_enough() {
    let folder = EngineFolder::new("client");
    let engine = FakeEngine::new(&folder.0);
    let mut command = common::pinned(&["docker", "backend"]);
    command.env("PATH", folder.0.join("bin")).env("DOCKER_HOST", "unix:///nowhere.sock").env("HOME", &folder.0);
    refused(&mut command, 1, &["no Docker Engine answers at DOCKER_HOST=unix:///nowhere.sock", "cargo xtask setup"]);
    // An engine without a client is no better.
    let mut command = engine.xtask(&["docker", "backend"]);
    command.current_dir(common::root()).env("PATH", "/nowhere");
    refused(&mut command, 1, &["there is no `docker` client on the PATH", "docker-cli"]);
}

#[test]
fn an_engine_that_can_not_hold_two_platforms_is_told_before_anything_runs() {
    let folder = EngineFolder::new("platforms");
    let engine = FakeEngine::new(&folder.0);
    let mut command = engine.xtask(&["docker", "backend", "--multi-arch", "--bases", "upstream"]);
    command.current_dir(common::root());
    refused(&mut command, 2, &["holds one platform a name", "--push", "containerd image store"]);
}

#[test]
fn a_missing_buildx_is_told_as_that() {
    let folder = EngineFolder::new("buildx");
    let engine = FakeEngine::new(&folder.0);
    let mut command = engine.xtask(&["docker", "backend", "--bases", "upstream"]);
    command.current_dir(common::root());
    refused(&mut command, 1, &["`docker buildx` is missing", "cargo xtask setup --yes"]);
}

#[test]
fn an_image_that_would_be_a_request_of_its_own_is_refused_at_its_line() {
    let folder = EngineFolder::new("smuggled");
    let smuggled = r#"redis:7 HTTP/1.1\r\nHost: x\r\n\r\nPOST /containers/create HTTP/1.1\r\n\r\n"#;
    let text = format!(
        "{PROJECT}[needs.redis]\nimage = \"{smuggled}\"\nport = 1\nready = [\"x\"]\n[services.api]\nimage = \"x\"\npaths = [\"**\"]\n"
    );
    std::fs::write(folder.0.join("services.toml"), text).unwrap();
    for verb in [&["docker", "up"][..], &["docker", "test"], &["setup", "--check"], &["ci", "plan"]] {
        refused(
            &mut in_dir(&folder.0, verb),
            2,
            &["services.toml:6: `needs.redis.image`: ", "it contains a line break"],
        );
    }
}

const PROJECT: &str = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"x\"\n";

/// A socket that is served by a closure, a client a thread.
fn socket(dir: &Path, serve: impl Fn(UnixStream) + Send + Copy + 'static) -> String {
    let socket = dir.join("any.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(std::thread::spawn(move || serve(stream))));
    });
    format!("unix://{}", socket.display())
}

type Serve = fn(UnixStream);

fn answer(mut to: UnixStream, bytes: &[u8]) {
    let _ = to.read(&mut [0; 1024]);
    let _ = to.write_all(bytes);
}

#[test]
fn what_is_no_engine_is_told_as_that() {
    let folder = EngineFolder::new("no-engine");
    let answers: [(Serve, &str); 4] = [
        (|to| answer(to, b"HTTP/1.1 200 OK\r\n\r\n<html>"), "is no Docker Engine: expected `OK`, got \"<html>\""),
        (|to| answer(to, b"SSH-2.0-x\r\n"), "the answer is not HTTP; it begins \"SSH-2.0-x"),
        (|to| answer(to, b"HTTP/1.1 503 No\r\n\r\nlater"), "status 503: later"),
        (|to| answer(to, &[b'x'; 100_000]), "the answer has more than 65536 bytes"),
    ];
    for (serve, expected) in answers {
        let host = socket(&folder.0, serve);
        let mut command = in_dir(&common::root(), &["docker", "down"]);
        let named = format!("no Docker Engine answers at DOCKER_HOST={host}: ");
        refused(command.env("DOCKER_HOST", &host), 1, &[&named, expected]);
    }
}

/// An engine that hangs: it takes every question, and has no end of an answer
/// to any that is not in `knows`.
struct Hung {
    host: String,
    bin: PathBuf,
    asked: Arc<AtomicUsize>,
}

impl Hung {
    fn new(dir: &Path, knows: &'static str, drips: bool) -> Self {
        let (socket, bin) = (dir.join("hung.sock"), dir.join("bin"));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    let mut request = [0; 1024];
                    let length = stream.read(&mut request).unwrap_or(0);
                    if !knows.is_empty() && String::from_utf8_lossy(&request[..length]).contains(knows) {
                        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nOK");
                        return;
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(if drips { b"HTTP/1.0 200 OK\r\n\r\n[" } else { b"" });
                    // Until nobody listens any more.
                    while !drips || stream.write_all(b" ").is_ok() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                });
            }
        });
        // Its client hangs with it.
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("docker"), "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(bin.join("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { host: format!("unix://{}", socket.display()), bin, asked }
    }

    fn xtask(&self, args: &[&str]) -> Command {
        let mut command = in_dir(&common::root(), args);
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        command.env("DOCKER_HOST", &self.host).env("XTASK_ENGINE_DIR", "/nowhere").env("PATH", path);
        command.env("HOME", self.bin.parent().unwrap());
        command
    }
}

const ASK: [&[&str]; 9] = [
    &["docker", "down"],
    &["docker", "clean"],
    &["docker", "clean", "--dry-run", "--format", "json"],
    &["docker", "test"],
    &["docker", "test", "--no-build", "--with-deps"],
    &["docker", "up"],
    &["docker", "up", "--no-build"],
    &["docker", "web"],
    &["docker", "all"],
];

/// Nothing is on stdout, or the error that a program reads there.
fn has_no_result(output: &Output, args: &[&str]) -> bool {
    let read = || serde_json::from_slice::<serde_json::Value>(&output.stdout);
    if args.contains(&"json") {
        read().is_ok_and(|object| object["error"].is_object())
    } else {
        output.stdout.is_empty()
    }
}

#[test]
fn an_interrupt_ends_a_question_that_nobody_answers() {
    let folder = EngineFolder::new("hung");
    for (knows, drips) in [("", false), ("/_ping", false), ("/_ping", true)] {
        let hung = Hung::new(&folder.0, knows, drips);
        for (at, args) in ASK.iter().enumerate() {
            hung.asked.store(0, Ordering::SeqCst);
            let mut child = hung.xtask(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            while hung.asked.load(Ordering::SeqCst) == 0 {
                assert_eq!(child.try_wait().unwrap().and_then(|status| status.code()), None, "{args:?} {knows}");
                std::thread::sleep(Duration::from_millis(5));
            }
            let (signal, told) = (["INT", "TERM", "HUP"][at % 3], Instant::now());
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
            let output = child.wait_with_output().unwrap();
            common::exit(&output, 130);
            assert!(told.elapsed() < Duration::from_secs(10), "{args:?} {knows} {signal}");
            assert!(has_no_result(&output, args) && common::stderr(&output).contains("interrupted"), "{args:?}");
        }
    }
}

#[test]
fn an_engine_that_never_answers_is_waited_for_no_longer_than_ten_seconds() {
    let folder = EngineFolder::new("mute");
    let hung = Hung::new(&folder.0, "", false);
    let started = Instant::now();
    let children = ASK.map(|args| hung.xtask(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    for (child, args) in children.into_iter().zip(ASK) {
        let output = child.wait_with_output().unwrap();
        common::exit(&output, 1);
        let said = common::stderr(&output);
        assert!(said.contains(&hung.host) && said.contains("no answer within 10 s"), "{args:?}: {said}");
        assert!(has_no_result(&output, args), "{args:?} has a result");
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn an_interrupt_ends_a_wait_for_what_somebody_types_or_writes() {
    let folder = EngineFolder::new("typed");
    let pipe = folder.0.join("pipe");
    Command::new("mkfifo").arg(&pipe).status().unwrap();
    interrupted(&mut in_dir(&common::root(), &["ci", "plan", "--files-from", "-"]), "INT");
    interrupted(&mut in_dir(&common::root(), &["ci", "plan", "--files-from", pipe.to_str().unwrap()]), "INT");
}

/// Starts a command that waits, and interrupts it.
fn interrupted(command: &mut Command, signal: &str) {
    let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The signals are ours from the first line of `main` on.
    let handled = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&caught, 16).unwrap() & 0b11 == 0b11
    };
    while !handled() {
        std::thread::yield_now();
    }
    Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    let mut child = child;
    // Dropped, it would end the wait.
    let _stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    common::exit(&output, 130);
    assert_eq!(common::stderr(&output), "error: interrupted\n");
}

#[test]
fn what_never_ends_is_refused_where_it_is_named() {
    let folder = EngineFolder::new("endless");
    let root = &folder.0;
    let path = |file: &str| root.join(file).to_str().unwrap().to_owned();
    let services = format!("{PROJECT}[services.api]\nimage = \"x\"\npaths = [\"**\"]\n");
    std::fs::create_dir_all(root.join(".github/workflows")).unwrap();
    for args in [&["init", "--quiet"][..], &["config", "user.name", "x"], &["config", "user.email", "x"]] {
        Command::new("git").arg("-C").arg(root).args(args).status().unwrap();
    }
    let path_to_git = std::env::var("PATH").unwrap();
    let no_file = "neither a file nor a link to one";
    for (at, args, code, expected) in [
        ("services.toml", &["docker", "api", "--dry-run"][..], 2, &["services.toml: ", no_file][..]),
        ("Dockerfile", &["docker", "api", "--dry-run"], 2, &["Dockerfile: "]),
        (".docker/config.json", &["docker", "down"], 2, &[".docker/config.json: ", no_file]),
        ("event.json", &["ci", "plan", "--strict"], 1, &["event.json can't be read: ", no_file]),
        (".github/workflows/x.yml", &["ci", "check"], 1, &[".github/workflows/x.yml:1: it can't be read: "]),
        (".gitignore", &["ci", "check"], 1, &["/.gitignore is a pipe or a device"]),
        // Found only where git takes long.
        ("sub/.gitignore", &["ci", "check"], 1, &["/sub/.gitignore is a pipe or a device"]),
        (".git/index", &["ci", "plan", "--strict"], 1, &["/.git/index is a pipe or a device"]),
        (".git/config", &["ci", "check"], 1, &["/.git/config is a pipe or a device", "help: "]),
    ] {
        for endless in ["fifo", "zero"] {
            if (at, endless) == ("sub/.gitignore", "zero") {
                continue; // git follows no link to one below the top
            }
            std::fs::write(root.join("services.toml"), &services).unwrap();
            std::fs::write(root.join("Dockerfile"), "FROM scratch\n").unwrap();
            std::fs::create_dir_all(root.join(".docker")).unwrap();
            std::fs::create_dir_all(root.join("sub")).unwrap();
            let _ = std::fs::remove_file(root.join(at));
            match endless {
                "fifo" => drop(Command::new("mkfifo").arg(root.join(at)).status().unwrap()),
                _ => std::os::unix::fs::symlink("/dev/zero", root.join(at)).unwrap(),
            }
            let mut command = in_dir(root, args);
            command.env("PATH", &path_to_git).env("XTASK_ENGINE_DIR", path("engine"));
            if at == "event.json" {
                command.env("GITHUB_EVENT_NAME", "push").env("GITHUB_EVENT_PATH", path(at));
            }
            let output = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(code), "{at} {endless}: {said}");
            for words in expected {
                assert!(said.contains(words), "{at} {endless}: no {words:?} in {said}");
            }
            std::fs::remove_file(root.join(at)).unwrap();
        }
    }
}

/// What the real engine can't be made to say: an old image store, and a client
/// that has no buildx. Only for errors.
struct FakeEngine {
    dir: PathBuf,
    socket: PathBuf,
}

impl FakeEngine {
    fn new(dir: &Path) -> Self {
        let socket = dir.join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                let count = stream.read(&mut request).unwrap_or(0);
                let info = r#"{"DriverStatus":[["Backing Filesystem","extfs"]],"DockerRootDir":"/nowhere"}"#;
                let version = r#"{"Version":"26.1.5","Os":"linux","Arch":"amd64"}"#;
                let asked = String::from_utf8_lossy(&request[..count]);
                let (status, body) = match asked.split(' ').nth(1) {
                    Some("/_ping") => ("200 OK", "OK"),
                    Some("/info") => ("200 OK", info),
                    Some("/version") => ("200 OK", version),
                    _ => ("404 Not Found", "{}"),
                };
                let _ = write!(stream, "HTTP/1.0 {status}\r\n\r\n{body}");
            }
        });
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let client = bin.join("docker");
        std::fs::write(&client, "#!/bin/sh\necho \"docker: 'buildx' is not a docker command.\" >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir: dir.to_owned(), socket }
    }

    fn xtask(&self, args: &[&str]) -> Command {
        let mut command = in_dir(&self.dir, args);
        command
            .env("PATH", format!("{}:/usr/bin:/bin", self.dir.join("bin").display()))
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
    }
}

/// The shell's folder may be one that a clean-up has removed.
#[test]
fn a_folder_that_is_gone_is_no_reason_to_know_nothing_of_a_checkout() {
    let folder = EngineFolder::new("gone");
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_xtask"), "--root"]).arg(common::root());
    command.args(["ci", "plan", "--base", "HEAD", "--head", "HEAD", "--strict"]).current_dir(&folder.0);
    let output = command.output().unwrap();
    common::exit(&output, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("HEAD..."), "{}", common::stderr(&output));
}
