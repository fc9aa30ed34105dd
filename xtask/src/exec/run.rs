//! The few verbs that run things. Each has fixed rules for what is shown, for
//! stdin and for the status; every error carries the command and how it ended.
//!
//! | verb    | shown   | stdout         | failure, and after Ctrl-C             | at most |
//! |---------|---------|----------------|---------------------------------------|---------|
//! | `read`  | with -v | returned       | error with the command's stderr       | a minute, or what the step says |
//! | `bytes` | with -v | returned as it is | as `read`                          | as `read` |
//! | `make`  | with -v | dropped        | as `read`; after Ctrl-C it has five seconds to end by itself | as `read` |
//! | `probe` | with -v | returned       | `None`                                | as `read` |
//! | `tidy`  | with -v | returned       | error as `read`; runs after Ctrl-C    | half a minute |
//! | `words` | with -v | with stderr, for people | what it said; runs after Ctrl-C | half a minute |
//! | `run`   | yes     | to stderr      | error; its last lines came with it    | as long as it takes |

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read as _};
use std::process::{ExitStatus, Output};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::ctx::Ctx;
use crate::exec::child::{self, Bounds};
use crate::exec::interrupt;
use crate::exec::signal::Tree;
use crate::fault;
use crate::plan::step::{Plan, Step};

/// How many of a command's last lines are kept to tell why it failed.
const TAIL: usize = 200;
/// What is longer is several lines.
const LINE: u64 = 64 * 1024;

/// How long a question may take that says nothing of it.
const QUESTION: Duration = Duration::from_secs(60);
/// How long a clean-up may take: somebody has pressed Ctrl-C and waits.
const CLEAN_UP: Duration = Duration::from_secs(30);
/// How long a quick command has after Ctrl-C to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// The same for what makes something in the engine.
const TO_MAKE: Duration = Duration::from_secs(5);
/// No answer that we read is larger, short of a tool gone wild.
const ANSWER: usize = 256 * 1024 * 1024;

/// Runs a quick command and returns what it wrote, without the last newline.
pub fn read(ctx: &Ctx, step: &Step) -> anyhow::Result<String> {
    Ok(text(&bytes(ctx, step)?))
}

/// Runs a quick command and returns exactly what it wrote: not every list of
/// files is text.
pub fn bytes(ctx: &Ctx, step: &Step) -> anyhow::Result<Vec<u8>> {
    quick(ctx, step, Bounds { time: step.limit.unwrap_or(QUESTION), bytes: ANSWER, apart: false, grace: GRACE })
}

/// Runs a quick command that makes something in the engine, where the
/// terminal's Ctrl-C does not reach it: a client that ends half-way leaves the
/// engine at work on what comes after every clean-up.
pub fn make(ctx: &Ctx, step: &Step) -> anyhow::Result<()> {
    let time = step.limit.unwrap_or(QUESTION);
    quick(ctx, step, Bounds { time, bytes: ANSWER, apart: true, grace: TO_MAKE }).map(drop)
}

fn quick(ctx: &Ctx, step: &Step, bounds: Bounds) -> anyhow::Result<Vec<u8>> {
    interrupt::check()?;
    let output = collect(ctx, step, bounds, interrupt::raised);
    interrupt::check().or_else(|fault| if output.is_ok() { Ok(()) } else { Err(fault) })?;
    let output = output.with_context(|| format!("could not run `{step}`"))?;
    if !output.status.success() {
        interrupt::check()?;
        return Err(ended(step, output.status, &text(&output.stderr)).into());
    }
    Ok(output.stdout)
}

/// Runs a quick command that may well fail.
pub fn probe(ctx: &Ctx, step: &Step) -> Option<String> {
    read(ctx, step).ok()
}

/// Cleans up, or finds out what there is to clean up: an interrupt, before or
/// meanwhile, does not stop it. Where nothing can be done about a failure, drop
/// it: it may not hide what went wrong before.
pub fn tidy(ctx: &Ctx, step: &Step) -> anyhow::Result<String> {
    let output = collect(ctx, step, cleaning(step), || false).with_context(|| format!("could not run `{step}`"))?;
    if !output.status.success() {
        return Err(ended(step, output.status, &text(&output.stderr)).into());
    }
    Ok(text(&output.stdout))
}

/// What a command prints on both streams, for people and never as data; also
/// after an interrupt.
pub fn words(ctx: &Ctx, step: &Step) -> String {
    match collect(ctx, step, cleaning(step), || false) {
        Ok(output) => text(&[output.stdout, output.stderr].concat()),
        Err(error) => error.to_string(),
    }
}

fn cleaning(step: &Step) -> Bounds {
    Bounds { time: step.limit.unwrap_or(CLEAN_UP), bytes: ANSWER, apart: true, grace: GRACE }
}

fn collect(ctx: &Ctx, step: &Step, bounds: Bounds, stop: fn() -> bool) -> std::io::Result<Output> {
    if ctx.verbose {
        ctx.show(step);
    }
    let sh = xshell::Shell::new().map_err(std::io::Error::other)?;
    sh.change_dir(&ctx.root);
    let mut cmd = sh.cmd(&step.tool).args(&step.args);
    for (name, value) in ctx.exports.iter().chain(&step.env) {
        cmd = cmd.env(name, value);
    }
    for name in &step.unset {
        cmd = cmd.env_remove(name);
    }
    child::collect(cmd.into(), step.input().as_deref(), bounds, stop).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound if ctx.root.is_dir() => {
            std::io::Error::new(error.kind(), format!("command not found: `{}`", step.tool))
        }
        _ => error,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// Runs a command whose output people watch. On a terminal it has the terminal
/// itself, so that its own progress display works.
pub fn run(ctx: &Ctx, step: &Step) -> anyhow::Result<()> {
    ctx.show(step);
    // What runs in a container writes what it likes: line by line, then.
    let is_ours = step.tool != "docker" || step.args.first().is_some_and(|verb| verb == "buildx");
    if is_ours && ctx.terminal && std::io::stderr().is_terminal() {
        interrupt::check()?;
        let handle =
            expression(ctx, step).stdout_to_stderr().start().with_context(|| format!("could not run `{step}`"))?;
        let mut stop = Stop::default();
        let status = loop {
            if let Some(output) = handle.wait_timeout(Duration::from_millis(50))? {
                break output.status;
            }
            stop.forward(|| handle.pids());
        };
        return finish(step, status, "");
    }
    if step.args.windows(2).any(|pair| pair == ["--progress", "rawjson"]) {
        return stream(ctx, step, |line| ctx.json_line(line));
    }
    stream(ctx, step, |line| ctx.line(line))
}

/// Runs a command and hands each line of its output to `sink`, stdout and
/// stderr in the order they came.
pub fn stream(ctx: &Ctx, step: &Step, sink: impl Fn(&str)) -> anyhow::Result<()> {
    interrupt::check()?;
    let reader = expression(ctx, step).stderr_to_stdout().reader();
    let reader = Arc::new(reader.with_context(|| format!("could not run `{step}`"))?);
    let lines = lines(Arc::clone(&reader));
    let mut tail = VecDeque::new();
    let mut stop = Stop::default();
    loop {
        match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => {
                sink(&line);
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        stop.forward(|| reader.pids());
        // Killed, and something that it started still holds the output.
        if stop.is_over() {
            return Err(fault::interrupted().into());
        }
    }
    let output = reader.try_wait()?.context("the output ended before the command did")?;
    finish(step, output.status, Vec::from(tail).join("\n").trim())
}

/// Reads lines on a thread of its own: this side must see an interrupt while
/// nothing comes.
fn lines(reader: Arc<duct::ReaderHandle>) -> Receiver<String> {
    let (to, lines) = sync_channel(64);
    thread::spawn(move || {
        let mut from = BufReader::new(&*reader);
        let mut bytes = Vec::new();
        // By bytes: a tool may print what is not UTF-8, and no end of a line.
        while matches!(from.by_ref().take(LINE).read_until(b'\n', &mut bytes), Ok(1..)) {
            let text = String::from_utf8_lossy(&bytes);
            if to.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    lines
}

/// Runs a plan's steps by `act` until one fails, then `finally` by `clean`,
/// whatever happened.
pub fn plan(plan: &Plan, act: impl Fn(&Step) -> anyhow::Result<()>, clean: impl Fn(&Step)) -> anyhow::Result<()> {
    let result = plan.steps.iter().try_for_each(act);
    plan.finally.iter().for_each(clean);
    result
}

fn expression(ctx: &Ctx, step: &Step) -> duct::Expression {
    let mut expression = duct::cmd(&step.tool, &step.args).dir(&ctx.root).unchecked();
    // Of two that name one variable, duct takes the first.
    for name in &step.unset {
        expression = expression.env_remove(name);
    }
    for (name, value) in step.env.iter().chain(&ctx.exports) {
        expression = expression.env(name, value);
    }
    match step.input() {
        Some(text) => expression.stdin_bytes(text.as_bytes()),
        None => expression.stdin_null(),
    }
}

fn finish(step: &Step, status: ExitStatus, tail: &str) -> anyhow::Result<()> {
    interrupt::check()?;
    if status.success() { Ok(()) } else { Err(ended(step, status, tail).into()) }
}

/// How a command ended that should have succeeded. Its own words come along,
/// for `cmd` to look at; they are printed only where nobody has seen them yet.
fn ended(step: &Step, status: ExitStatus, words: &str) -> fault::Fault {
    let verb = step.args.iter().take_while(|arg| !arg.starts_with('-')).take(2);
    let name = std::iter::once(&step.tool).chain(verb).map(String::as_str).collect::<Vec<_>>().join(" ");
    let fault = fault::failed(format!("`{name}` ended with {status}")).said(words);
    match &step.hint {
        Some(hint) => fault.help(hint),
        None => fault,
    }
}

/// Passes an interrupt on to a child: first the time to notice Ctrl-C by
/// itself, then SIGTERM, then SIGKILL.
#[derive(Default)]
struct Stop {
    since: Option<Instant>,
    sent: usize,
    tree: Tree,
}

impl Stop {
    const LADDER: [(Duration, &'static str); 3] =
        [(Duration::from_millis(200), "INT"), (Duration::from_secs(5), "TERM"), (Duration::from_secs(10), "KILL")];

    fn forward(&mut self, pids: impl Fn() -> Vec<u32>) {
        if !interrupt::raised() {
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if let Some((after, signal)) = Self::LADDER.get(self.sent)
            && since.elapsed() >= *after
        {
            self.sent += 1;
            self.tree.send(signal, pids());
        }
    }

    /// Whether nothing more can be done.
    fn is_over(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > Self::LADDER[2].0 + Duration::from_secs(2))
    }
}
