//! The few functions that run commands. Each has fixed rules for what it shows,
//! for stdin and for the status. Every error contains the command and how it
//! ended.
//!
//! | verb    | shown   | stdout         | failure, and after Ctrl-C             | at most |
//! |---------|---------|----------------|---------------------------------------|---------|
//! | `read`  | with -v | returned       | error with the command's stderr       | a minute, or what the step says |
//! | `bytes` | with -v | returned as it is | as `read`                          | as `read` |
//! | `make`  | with -v | dropped        | as `read`; after Ctrl-C it has five seconds to end by itself | as `read` |
//! | `probe` | with -v | returned       | `None`                                | as `read` |
//! | `tidy`  | with -v | returned       | error as `read`; runs after Ctrl-C    | half a minute |
//! | `words` | with -v | with stderr, for people | what it said; runs after Ctrl-C | half a minute |
//! | `undo`  | no      | returned       | what it said; runs after Ctrl-C       | what the caller says |
//! | `run`   | yes     | to stderr      | error; its last lines came with it    | what the step says |
//! | `stream`| no      | to a sink      | as `run`                              | what the step says |
//!
//! Stdin is the text of the step, or nothing. `make`, and everything that runs
//! after Ctrl-C, has a process group of its own, which the terminal's signal does
//! not reach. After Ctrl-C a question has two seconds to end by itself, and a
//! command that people watch has less. `spawn` starts all of them.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{ErrorKind, IsTerminal as _};
use std::process::{ExitStatus, Output};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::ctx::Ctx;
use crate::exec::child::{self, ChildLimits};
use crate::exec::signal::Ending;
use crate::exec::spawn::{self, Call};
use crate::exec::special_files::Search;
use crate::exec::{interrupt, special_files};
use crate::fault;
use crate::plan::git::{is_look, is_of_checkout};
use crate::plan::step::Step;

/// How many of a command's last lines are kept to explain a failure.
const TAIL: usize = 200;
/// How often a silent command that people watch is checked.
const BEAT: Duration = Duration::from_millis(50);

/// How long a question may take if its step sets no time.
const QUESTION: Duration = Duration::from_secs(60);
/// How long a clean-up may take: somebody has pressed Ctrl-C and waits.
const CLEAN_UP: Duration = Duration::from_secs(30);
/// How long a quick command may take after Ctrl-C to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// The same for a command that makes something in the engine.
const TO_MAKE: Duration = Duration::from_secs(5);
/// What to do about a file on which git would wait.
const REPAIR: &str = "remove it, or work in a fresh clone";
/// No answer that we read is larger, unless a tool misbehaves.
const ANSWER: usize = 256 * 1024 * 1024;

/// Runs a quick command and returns its output without the final newline.
pub fn read(ctx: &Ctx, step: &Step) -> anyhow::Result<String> {
    Ok(text(&bytes(ctx, step)?))
}

/// Runs a quick command and returns its exact output, because not every list of
/// files is valid text.
pub fn bytes(ctx: &Ctx, step: &Step) -> anyhow::Result<Vec<u8>> {
    quick(ctx, step, Purpose::Asks)
}

/// Runs a quick command that makes something in the engine, where the terminal's
/// Ctrl-C does not reach it. If the client ended half-way, the engine would go on
/// and finish after every clean-up.
pub fn make(ctx: &Ctx, step: &Step) -> anyhow::Result<()> {
    quick(ctx, step, Purpose::Makes).map(drop)
}

fn quick(ctx: &Ctx, step: &Step, kind: Purpose) -> anyhow::Result<Vec<u8>> {
    interrupt::check()?;
    if is_of_checkout(step)
        && let Some(why) = special_files::found(&ctx.root)
    {
        return Err(fault::failed(why).help(REPAIR).into());
    }
    let (search, started) = (Search::default(), Instant::now());
    let waits = || {
        if is_look(step) && started.elapsed() > special_files::SLOW {
            search.begin(&ctx.root);
        }
        search.found().is_some()
    };
    let output = collect_until(ctx, step, kind, waits);
    if let Some(why) = search.found() {
        return Err(fault::failed(why).help(REPAIR).into());
    }
    if is_look(step) && output.as_ref().is_err_and(|error| error.kind() == ErrorKind::TimedOut) {
        special_files::hangs();
    }
    interrupt::check().or_else(|fault| if output.is_ok() { Ok(()) } else { Err(fault) })?;
    let output = output.with_context(|| format!("could not run `{step}`"))?;
    if !output.status.success() {
        interrupt::check()?;
        return Err(ended(step, output.status, &text(&output.stderr)).into());
    }
    Ok(output.stdout)
}

/// Runs a quick command that is allowed to fail.
pub fn probe(ctx: &Ctx, step: &Step) -> Option<String> {
    read(ctx, step).ok()
}

/// Cleans up, or finds out what to clean up. An interrupt does not stop it,
/// whether it comes earlier or meanwhile. If nothing can be done about a failure,
/// drop the error, so that it does not hide an earlier one.
pub fn tidy(ctx: &Ctx, step: &Step) -> anyhow::Result<String> {
    let output = collect(ctx, step, Purpose::CleansUp).with_context(|| format!("could not run `{step}`"))?;
    if !output.status.success() {
        return Err(ended(step, output.status, &text(&output.stderr)).into());
    }
    Ok(text(&output.stdout))
}

/// The output of a command on both streams, for people and never as data. It also
/// runs after an interrupt.
pub fn words(ctx: &Ctx, step: &Step) -> String {
    match collect(ctx, step, Purpose::CleansUp) {
        Ok(output) => text(&[output.stdout, output.stderr].concat()),
        Err(error) => error.to_string(),
    }
}

/// Undoes something, with a system command that needs nothing of a checkout and
/// whose arguments need not be text. Half an undo is worse than none, so no
/// interrupt ends it.
pub fn undo(tool: &str, args: &[&OsStr], limit: Duration) -> std::io::Result<String> {
    let bounds = ChildLimits { time: limit, bytes: ANSWER, grace: GRACE };
    let output = child::collect(&Call::new(tool, args).apart(true), bounds, || false)?;
    if !output.status.success() {
        return Err(std::io::Error::other(format!("{} ({})", text(&output.stderr), output.status)));
    }
    Ok(text(&output.stdout))
}

/// The purpose of a quick command, which decides its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Asks,
    Makes,
    CleansUp,
}

fn collect(ctx: &Ctx, step: &Step, kind: Purpose) -> std::io::Result<Output> {
    collect_until(ctx, step, kind, || false)
}

/// The same; `or` is one more reason to stop.
fn collect_until(ctx: &Ctx, step: &Step, kind: Purpose, or: impl Fn() -> bool) -> std::io::Result<Output> {
    if ctx.verbose {
        ctx.show(step);
    }
    let (time, grace) = match kind {
        Purpose::Asks => (QUESTION, GRACE),
        Purpose::Makes => (QUESTION, TO_MAKE),
        Purpose::CleansUp => (CLEAN_UP, GRACE),
    };
    let bounds = ChildLimits { time: step.limit.unwrap_or(time), bytes: ANSWER, grace };
    let stop = || (kind != Purpose::CleansUp && interrupt::raised()) || or();
    child::collect(&Call::of(ctx, step).apart(kind != Purpose::Asks), bounds, stop)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// Runs a command whose output people watch. On a terminal it gets the terminal
/// itself, so that its own progress display works.
pub fn run(ctx: &Ctx, step: &Step) -> anyhow::Result<()> {
    ctx.show(step);
    // A container can print anything, so its output is filtered line by line.
    let is_ours = step.tool != "docker" || step.args.first().is_some_and(|verb| verb == "buildx");
    if is_ours && ctx.terminal && std::io::stderr().is_terminal() {
        interrupt::check()?;
        let process = spawn::watched(&Call::of(ctx, step)).with_context(|| format!("could not run `{step}`"))?;
        let mut stop = Stop::of(step);
        let status = loop {
            if let Some(status) = process.ended(BEAT)? {
                break status;
            }
            stop.forward(|| process.pids());
        };
        return finish(step, &stop, status, "");
    }
    if step.writes_json {
        return stream(ctx, step, |line| ctx.json_line(line));
    }
    stream(ctx, step, |line| ctx.line(line))
}

/// Runs a command and passes each line of stdout and stderr to `sink`, in order.
pub fn stream(ctx: &Ctx, step: &Step, sink: impl Fn(&str)) -> anyhow::Result<()> {
    interrupt::check()?;
    let running = spawn::lines(&Call::of(ctx, step)).with_context(|| format!("could not run `{step}`"))?;
    let mut tail = VecDeque::new();
    let mut stop = Stop::of(step);
    loop {
        match running.lines.recv_timeout(BEAT) {
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
        stop.forward(|| running.pids());
        // It was killed, and a process that it started still holds the output
        // open.
        if stop.is_over() {
            interrupt::check()?;
            stop.check(step)?;
        }
    }
    let status = running.ended()?.context("the output ended before the command did")?;
    finish(step, &stop, status, Vec::from(tail).join("\n").trim())
}

fn finish(step: &Step, stop: &Stop, status: ExitStatus, tail: &str) -> anyhow::Result<()> {
    interrupt::check()?;
    stop.check(step)?;
    if status.success() { Ok(()) } else { Err(ended(step, status, tail).into()) }
}

/// What people call a command.
fn name(step: &Step) -> String {
    let verb = step.args.iter().take_while(|arg| !arg.starts_with('-')).take(2);
    std::iter::once(&step.tool).chain(verb).map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// The error for a command that failed. It includes the command's own last lines
/// for `cmd`, which prints them only if nobody has seen them yet.
fn ended(step: &Step, status: ExitStatus, words: &str) -> fault::Fault {
    let fault = fault::failed(format!("`{}` ended with {status}", name(step))).said(words);
    match &step.hint {
        Some(hint) => fault.help(hint),
        None => fault,
    }
}

/// Passes an interrupt on to a child that people watch: first the time to notice
/// Ctrl-C by itself, then SIGTERM, then SIGKILL. The same where its time is over.
struct Stop {
    until: Option<Instant>,
    is_late: bool,
    ending: Option<Ending>,
}

impl Stop {
    fn of(step: &Step) -> Self {
        Self { until: step.limit.map(|limit| Instant::now() + limit), is_late: false, ending: None }
    }

    fn forward(&mut self, pids: impl Fn() -> Vec<u32>) {
        self.is_late = self.is_late || self.until.is_some_and(|until| Instant::now() > until);
        if interrupt::raised() || self.is_late {
            let steps = [200, 5_000, 10_000].map(Duration::from_millis);
            self.ending.get_or_insert_with(|| Ending::new(steps)).forward(pids());
        }
    }

    /// Whether all signals have been sent in vain.
    fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.is_over(Duration::from_secs(2)))
    }

    /// An error where its time was over.
    fn check(&self, step: &Step) -> Result<(), fault::Fault> {
        if !self.is_late {
            return Ok(());
        }
        let seconds = step.limit.unwrap_or_default().as_secs();
        Err(fault::failed(format!("`{}` did not end within {seconds} s", name(step)))
            .help("`--timeout` gives it more; its last output is above: does the registry answer?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_undoes_is_out_of_the_terminals_reach_and_says_why_it_failed() {
        let patience = Duration::from_secs(20);
        let group = "read -r _ _ _ _ group _ < /proc/$$/stat; [ \"$group\" = \"$$\" ] && echo alone";
        assert_eq!(undo("sh", &["-c".as_ref(), group.as_ref()], patience).unwrap(), "alone");
        assert!(
            undo("sh", &["-c".as_ref(), "echo why >&2; exit 3".as_ref()], patience)
                .unwrap_err()
                .to_string()
                .contains("why")
        );
        assert!(
            undo("sleep", &["9".as_ref()], Duration::from_millis(20)).unwrap_err().to_string().contains("did not end")
        );
        assert!(undo("no-such-program", &[], patience).is_err());
    }
}
