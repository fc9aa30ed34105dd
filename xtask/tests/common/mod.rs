//! What the tests share: the binary, in surroundings that are pinned.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

pub mod demo;
pub mod registry;
pub mod slow;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::ctx::{Ctx, Env, Format};
use xtask::engine::{EngineFolder, packages};
use xtask::exec::checkout;
use xtask::exec::engine::Engine;
use xtask::exec::files as own;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `xtask ARGS` in the repository, with the environment as it is.
pub fn xtask(args: &[&str]) -> Command {
    // Another build of it, where a test is about that.
    let binary = std::env::var_os("XTASK_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_xtask").into());
    let mut command = Command::new(binary);
    command.args(args).current_dir(root()).env_remove("XTASK_ROOT");
    command
}

/// The same with no environment but what is said: a plan depends on nothing else.
pub fn pinned(args: &[&str]) -> Command {
    let mut command = xtask(args);
    command.env_clear().env("HOME", "/home/dev");
    command
}

/// What a command printed and how it ended, as the snapshots hold it.
pub fn transcript(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().map_or("a signal".into(), |code| code.to_string());
    let mut transcript = text(&output.stdout);
    if code != "0" {
        transcript.push_str(&format!("{}exit {code}\n", text(&output.stderr)));
    }
    // A snapshot holds for machines of either kind, and in every checkout.
    let root = camino::Utf8PathBuf::from_path_buf(root()).unwrap();
    let transcript = ["linux-", "--quiet --platform linux/"]
        .iter()
        .fold(transcript, |text, before| text.replace(&format!("{before}arm64"), &format!("{before}amd64")))
        .replace("--platform linux/arm64 --publish", "--platform linux/amd64 --publish")
        .replace(&checkout::identity(&root), "thischeckout");
    let date = Command::new("git").args(["show", "--no-patch", "--format=%ct", "HEAD"]).current_dir(&root).output();
    let date = String::from_utf8(date.unwrap().stdout).unwrap();
    match date.trim() {
        "" => transcript,
        date => transcript.replace(&format!("SOURCE_DATE_EPOCH={date} "), "SOURCE_DATE_EPOCH=thiscommit "),
    }
}

/// Surroundings as they are.
pub fn ctx() -> Ctx {
    Ctx {
        root: ".".into(),
        env: Env::of_process(),
        format: Format::Text,
        dry_run: false,
        verbose: false,
        terminal: false,
        exports: Vec::new(),
    }
}

/// The engine that we use.
pub fn engine() -> Engine {
    xtask::engine::search::connect(&ctx()).expect("an engine: cargo xtask setup --yes")
}

/// The folder of a private engine whose programs are there, for root.
pub fn programs() -> Option<(Ctx, EngineFolder)> {
    let folder = EngineFolder::of(&ctx()).ok()?;
    (own::user() == 0 && packages::installed(&folder)).then(|| (ctx(), folder))
}

/// Says what a test did not do here, past the test's own capture: somebody
/// should see it.
pub fn left_out(what: &str, for_want_of: &str) {
    let _ = writeln!(std::io::stderr(), "left out: {what}; it needs: {for_want_of}");
}

/// What `docker ARGS` prints, on the engine that we use.
pub fn docker(args: &[&str]) -> String {
    let run = || Command::new("docker").args(args).envs(engine().ctx.exports).output().unwrap();
    let mut output = run();
    // As in `Engine::labelled`: a list fails when another test removes an image
    // while the engine makes the list.
    for _ in 0..20 {
        if output.status.success() || !args.starts_with(&["image", "ls"]) || !stderr(&output).contains("not found") {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        output = run();
    }
    assert!(output.status.success(), "docker {args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Removes all images that the engine holds of a test's own project, under
/// whatever name and from whatever checkout. It is for `Drop`: a test that fails
/// leaves none either, and nothing in here may fail.
pub fn forget_images(project: &str) {
    let Ok(engine) = xtask::engine::search::connect(&ctx()) else { return };
    let docker = |args: &[&str]| {
        let output = Command::new("docker").args(args).envs(engine.ctx.exports.clone()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    // Twice: a list may fail when another test removes an image meanwhile.
    for _ in 0..2 {
        let named = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
        for name in named.lines().filter(|line| is_of(line, project)) {
            docker(&["image", "rm", "--force", name]);
        }
        for id in docker(&["image", "ls", "--quiet", "--filter", &format!("label={project}.service")]).lines() {
            docker(&["image", "rm", "--force", id]);
        }
    }
}

/// Whether a name has a project's as a whole word: `demo-1` is not in `demo-12`.
fn is_of(name: &str, project: &str) -> bool {
    let goes_on = |at: usize| name[at + project.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
    name.match_indices(project).any(|(at, _)| !goes_on(at))
}

/// What the engine holds of a project, by its name.
pub fn left(project: &str) -> Vec<String> {
    let lists = [["ps", "--all"], ["image", "ls"], ["network", "ls"], ["volume", "ls"]];
    let lines = lists.iter().flat_map(|list| docker(list).lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.contains(project)).collect()
}

/// Runs lines in `sh`, each of which must succeed. `cargo xtask` is the program
/// that is tested.
pub fn paste(lines: &str, dir: &Path) -> Output {
    let ours = xtask(&[]).get_program().to_str().unwrap().to_owned();
    let cargo = format!("cargo() {{ case $1 in xtask) shift; '{ours}' \"$@\";; *) command cargo \"$@\";; esac; }}");
    Command::new("sh").args(["-ec", &format!("{cargo}\n{lines}")]).current_dir(dir).output().unwrap()
}

/// The lines that a command has shown while it ran.
pub fn shown(output: &Output) -> Vec<String> {
    stderr(output).lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// All files below a folder whose names end so.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found
}

/// What a command told people.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command printed for programs.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: stdout {:?}, stderr {}", String::from_utf8_lossy(&output.stdout), stderr(output))
    })
}

/// Makes sure of how a command ended.
pub fn exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

/// Waits for a line that contains `words`, then goes on reading in the back.
pub fn until_it_says(child: &mut std::process::Child, words: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let found = lines.by_ref().map_while(Result::ok).any(|line| line.contains(words));
    assert!(found, "it ended without saying {words:?}");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
}

/// Dice with a seed: the same throws on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Neighbouring seeds give unlike throws.
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_add(0x9E37_79B9_7F4A_7C15));
        (0..4).for_each(|_| _ = dice.below(2));
        dice
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// What a server that may only just be starting answers to `METHOD PATH`.
pub fn ask(at: &str, what: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let request = format!("{what} HTTP/1.0\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    let started = Instant::now();
    loop {
        let answer = std::net::TcpStream::connect(at).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        });
        match answer {
            Ok(answer) if !answer.is_empty() => return answer,
            answer => assert!(started.elapsed() < Duration::from_secs(20), "{answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
