//! The few verbs that run things. Each has fixed rules for what is shown, for
//! stdin and for the status; every error carries the command and how it ended.
//!
//! | verb    | shown | stdout       | failure                         |
//! |---------|-------|--------------|---------------------------------|
//! | `read`  | with -v | returned   | error with the command's stderr |
//! | `bytes` | with -v | returned as it is | as `read`                |
//! | `probe` | with -v | returned   | `None`                          |
//! | `output`| with -v | returned with stderr | what there is  |
//! | `tidy`  | with -v | dropped    | ignored; runs after Ctrl-C too  |
//! | `run`   | yes   | to stderr    | error; its last lines came with it |

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::ctx::Ctx;
use crate::exec::{interrupt, signal};
use crate::fault;
use crate::plan::step::{Plan, Step};

/// How many of a command's last lines are kept to tell why it failed.
const TAIL: usize = 200;

/// Runs a quick command and returns what it wrote, without the last newline.
pub fn read(ctx: &Ctx, step: &Step) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&bytes(ctx, step)?).trim_end().to_owned())
}

/// Runs a quick command and returns exactly what it wrote: not every list of
/// files is text.
pub fn bytes(ctx: &Ctx, step: &Step) -> anyhow::Result<Vec<u8>> {
    interrupt::check()?;
    if ctx.verbose {
        ctx.show(step);
    }
    let output = match step.stdin {
        // xshell takes it for an error when a program ends before it has read
        // all; what the program says of it is then lost.
        Some(_) => expression(ctx, step).stdout_capture().stderr_capture().run(),
        None => quietly(ctx, step),
    };
    let output = output.with_context(|| format!("could not run `{step}`"))?;
    if !output.status.success() {
        interrupt::check()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(ended(step, output.status, stderr.trim()).into());
    }
    Ok(output.stdout)
}

fn quietly(ctx: &Ctx, step: &Step) -> std::io::Result<std::process::Output> {
    let sh = xshell::Shell::new().map_err(std::io::Error::other)?;
    sh.change_dir(&ctx.root);
    let mut cmd = sh.cmd(&step.tool).args(&step.args).quiet().ignore_status();
    for (name, value) in ctx.exports.iter().chain(&step.env) {
        cmd = cmd.env(name, value);
    }
    cmd.output().map_err(std::io::Error::other)
}

/// Runs a quick command that may well fail.
pub fn probe(ctx: &Ctx, step: &Step) -> Option<String> {
    read(ctx, step).ok()
}

/// Runs a command for what it prints on both streams, for people; also after
/// an interrupt.
pub fn output(ctx: &Ctx, step: &Step) -> String {
    if ctx.verbose {
        ctx.show(step);
    }
    let output = expression(ctx, step).stderr_to_stdout().stdout_capture().run();
    output
        .map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Cleans up: nothing that goes wrong here may hide what went wrong before,
/// and an interrupt does not stop it.
pub fn tidy(ctx: &Ctx, step: &Step) {
    let _ = output(ctx, step);
}

/// Where the lines of a running command go.
pub trait Sink: Fn(&str) + Sync {}
impl<F: Fn(&str) + Sync> Sink for F {}

/// Runs a command whose output people watch. On a terminal it has the terminal
/// itself, so that its own progress display works.
pub fn run(ctx: &Ctx, step: &Step) -> anyhow::Result<()> {
    ctx.show(step);
    if ctx.terminal && std::io::stderr().is_terminal() {
        interrupt::check()?;
        let handle =
            expression(ctx, step).stdout_to_stderr().start().with_context(|| format!("could not run `{step}`"))?;
        let mut stop = Stop::default();
        let status = loop {
            if let Some(output) = handle.wait_timeout(Duration::from_millis(50))? {
                break output.status;
            }
            stop.forward(&handle.pids());
        };
        return finish(step, status, "");
    }
    stream(ctx, step, |line| eprintln!("{line}"))
}

/// Runs a command and hands each line of its output to `sink`, stdout and
/// stderr in the order they came.
pub fn stream(ctx: &Ctx, step: &Step, sink: impl Sink) -> anyhow::Result<()> {
    interrupt::check()?;
    let reader =
        expression(ctx, step).stderr_to_stdout().reader().with_context(|| format!("could not run `{step}`"))?;
    let mut tail = VecDeque::new();
    let status = thread::scope(|scope| -> anyhow::Result<ExitStatus> {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let reader_ref = &reader;
        // The read below blocks; only another thread can pass a signal on.
        scope.spawn(move || {
            let mut stop = Stop::default();
            while is_done.recv_timeout(Duration::from_millis(50)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                stop.forward(&reader_ref.pids());
            }
        });
        let mut lines = BufReader::new(&reader);
        let mut bytes = Vec::new();
        // By bytes: a tool may print what is not UTF-8.
        while lines.read_until(b'\n', &mut bytes)? > 0 {
            let text = String::from_utf8_lossy(&bytes);
            let line = text.trim_end_matches(['\n', '\r']);
            sink(line);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
            bytes.clear();
        }
        drop(done);
        let output = reader.try_wait()?.context("the output ended before the command did")?;
        Ok(output.status)
    })?;
    finish(step, status, Vec::from(tail).join("\n").trim())
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
    for (name, value) in ctx.exports.iter().chain(&step.env) {
        expression = expression.env(name, value);
    }
    match &step.stdin {
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
}

impl Stop {
    const LADDER: [(Duration, &'static str); 3] =
        [(Duration::from_millis(200), "INT"), (Duration::from_secs(5), "TERM"), (Duration::from_secs(10), "KILL")];

    fn forward(&mut self, pids: &[u32]) {
        if !interrupt::raised() {
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if let Some((after, signal)) = Self::LADDER.get(self.sent)
            && since.elapsed() >= *after
        {
            self.sent += 1;
            signal::send(signal, pids.iter().copied());
        }
    }
}
