//! Where a process begins. No other room names xshell, duct or `Command`, so
//! what is true here is true of every process that we start.
//!
//! | start      | by     | stdin             | output                    | ends |
//! |------------|--------|-------------------|---------------------------|------|
//! | `answering`| xshell | the text, or none | piped, for `child`        | within the bounds of `child` |
//! | `watched`  | duct   | the text, or none | both on our stderr        | by itself, or by an interrupt |
//! | `lines`    | duct   | the text, or none | both as one, line by line | as `watched` |
//! | `talking`  | duct   | ours to write     | ours to read              | by `Process::end` |
//! | `detached` | duct   | none              | a log file                | by `Process::end`, or never |
//! | `kill`     | duct   | none              | none                      | at once |
//!
//! xshell takes a command as a value and has no way to stop it, so it starts
//! what `child` then reads and bounds. duct joins two streams into one, and
//! hands out a process that can be waited for and killed from several threads;
//! but its own captures wait for every grandchild that holds the pipe, and keep
//! all of it in memory, so answers are not read by duct.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::plan::step::Step;

/// What is longer is several lines.
const LINE: u64 = 64 * 1024;

/// A command with all that it is given.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    tool: &'a OsStr,
    args: Vec<&'a OsStr>,
    /// Of two that set one variable the later one counts.
    env: Vec<(&'a str, &'a str)>,
    unset: Vec<&'a str>,
    /// None: where we are ourselves.
    dir: Option<&'a Utf8Path>,
    stdin: Option<Cow<'a, str>>,
    apart: bool,
}

impl<'a> Call<'a> {
    /// A command that needs nothing of a checkout or of an engine, and whose
    /// arguments need not be text.
    pub fn new(tool: &'a str, args: &[&'a OsStr]) -> Self {
        Self { tool: tool.as_ref(), args: args.to_vec(), ..Self::default() }
    }

    /// A step as it runs at the root.
    pub fn of(ctx: &'a Ctx, step: &'a Step) -> Self {
        let pairs = ctx.exports.iter().chain(&step.env);
        Self {
            tool: step.tool.as_ref(),
            args: step.argv().iter().map(OsStr::new).collect(),
            env: pairs.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            unset: step.unset.iter().map(String::as_str).collect(),
            dir: Some(&ctx.root),
            stdin: step.input(),
            apart: false,
        }
    }

    /// In a process group of its own, where the terminal's Ctrl-C does not
    /// reach it: for what cleans up.
    #[must_use]
    pub fn apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }

    /// Whether it is.
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// With a variable more.
    #[must_use]
    pub fn env(mut self, name: &'a str, value: &'a str) -> Self {
        self.env.push((name, value));
        self
    }

    /// In another folder.
    #[must_use]
    pub fn within(self, dir: &'a Utf8Path) -> Self {
        Self { dir: Some(dir), ..self }
    }

    /// What it reads, for whoever starts it to write.
    pub fn input(&self) -> Option<String> {
        self.stdin.as_ref().map(|text| text.clone().into_owned())
    }

    fn expression(&self) -> duct::Expression {
        let mut expression = duct::cmd(self.tool, &self.args).unchecked();
        if let Some(dir) = self.dir {
            expression = expression.dir(dir);
        }
        // Of two that name one variable, duct takes the first.
        for name in &self.unset {
            expression = expression.env_remove(name);
        }
        for (name, value) in self.env.iter().rev() {
            expression = expression.env(name, value);
        }
        if self.apart {
            expression = expression.before_spawn(|command| {
                command.process_group(0);
                Ok(())
            });
        }
        expression
    }

    /// The same with what it reads: of two that say that, too, duct takes the first.
    fn fed(&self) -> duct::Expression {
        match &self.stdin {
            Some(text) => self.expression().stdin_bytes(text.as_bytes()),
            None => self.expression().stdin_null(),
        }
    }

    /// A missing folder and a missing program are one error to the kernel.
    fn understood(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::NotFound if self.dir.is_none_or(Utf8Path::is_dir) => {
                io::Error::new(error.kind(), format!("command not found: `{}`", self.tool.display()))
            }
            _ => error,
        }
    }
}

/// Starts a command whose answer somebody waits for.
pub fn answering(call: &Call<'_>) -> io::Result<Child> {
    let sh = shell()?;
    if let Some(dir) = call.dir {
        sh.change_dir(dir);
    }
    let mut cmd = sh.cmd(call.tool).args(&call.args);
    for (name, value) in &call.env {
        cmd = cmd.env(name, value);
    }
    for name in &call.unset {
        cmd = cmd.env_remove(name);
    }
    let mut command = Command::from(cmd);
    command.stdin(if call.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if call.apart {
        command.process_group(0);
    }
    command.spawn().map_err(|error| call.understood(error))
}

/// xshell asks where we are, also where nothing depends on it.
fn shell() -> io::Result<xshell::Shell> {
    xshell::Shell::new().or_else(|_| {
        // Somebody has removed that folder: no relative path leads anywhere any more.
        std::env::set_current_dir("/")?;
        xshell::Shell::new().map_err(io::Error::other)
    })
}

/// Starts a command that has the terminal, so that its own progress display
/// works; what it writes to stdout is no result of ours.
pub fn watched(call: &Call<'_>) -> io::Result<Process> {
    let started = call.fed().stdout_to_stderr().start();
    started.map(Process).map_err(|error| call.understood(error))
}

/// A process that goes on beside us.
#[derive(Debug)]
pub struct Process(duct::Handle);

impl Process {
    /// Its number.
    pub fn pids(&self) -> Vec<u32> {
        self.0.pids()
    }

    /// How it ended, if it does within that time.
    pub fn ended(&self, within: Duration) -> io::Result<Option<ExitStatus>> {
        Ok(self.0.wait_timeout(within)?.map(|output| output.status))
    }

    /// Kills it, and waits until it is gone.
    pub fn end(&self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command whose output is taken line by line, both streams in the
/// order they came.
pub fn lines(call: &Call<'_>) -> io::Result<OutputLines> {
    let reader = call.fed().stderr_to_stdout().reader().map_err(|error| call.understood(error))?;
    let reader = Arc::new(reader);
    Ok(OutputLines { lines: read_lines(Arc::clone(&reader)), reader })
}

/// A running command and what it says.
#[derive(Debug)]
pub struct OutputLines {
    /// Line by line, until nobody holds the output any more.
    pub lines: Receiver<String>,
    reader: Arc<duct::ReaderHandle>,
}

impl OutputLines {
    /// The number of the process.
    pub fn pids(&self) -> Vec<u32> {
        self.reader.pids()
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        Ok(self.reader.try_wait()?.map(|output| output.status))
    }
}

/// Reads lines on a thread of its own: the other side must see an interrupt
/// while nothing comes.
fn read_lines(reader: Arc<duct::ReaderHandle>) -> Receiver<String> {
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

/// Starts a command that we talk to, by its stdin and stdout; its stderr comes
/// as a third stream.
pub fn talking(call: &Call<'_>) -> io::Result<(Process, ChildStream, PipeReader)> {
    let (stdin, to) = io::pipe()?;
    let (from, stdout) = io::pipe()?;
    let (words, stderr) = io::pipe()?;
    let started = call.expression().stdin_file(stdin).stdout_file(stdout).stderr_file(stderr).start();
    let process = started.map(Process).map_err(|error| call.understood(error))?;
    Ok((process, ChildStream { to, from }, words))
}

/// A child's stdin and stdout as one stream.
#[derive(Debug)]
pub struct ChildStream {
    to: PipeWriter,
    from: PipeReader,
}

impl Read for ChildStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.from.read(buffer)
    }
}

impl Write for ChildStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.to.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Starts a daemon: in a session of its own, with a log, and with none of our
/// open files, since whoever reads our output would wait for the daemon's end.
/// The files that it makes are for everybody to read, as under root's usual
/// umask.
pub fn detached(call: &Call<'_>, log: File) -> io::Result<Process> {
    let close = (3..10).map(|fd| format!(" {fd}>&-")).collect::<String>();
    let script = format!("umask 022; exec setsid \"$0\" \"$@\"{close}");
    let mut args: Vec<&OsStr> = vec!["-c".as_ref(), script.as_ref(), call.tool];
    args.extend(&call.args);
    let shell = Call { tool: "sh".as_ref(), args, ..call.clone() };
    let started = shell.fed().stdout_file(log.try_clone()?).stderr_file(log).start();
    started.map(Process).map_err(|error| shell.understood(error))
}

/// Sends a signal by the shell's own `kill`: the one thing that every Unix has
/// and that needs neither a crate nor unsafe code. Whom it does not reach is
/// gone.
pub fn kill(signal: &str, whom: &str) {
    let line = format!("kill -{signal} {whom}");
    let args: [&OsStr; 2] = ["-c".as_ref(), line.as_ref()];
    // The terminal's own signal, which may be why we do this, passes by.
    let _ = Call::new("sh", &args).apart(true).fed().stdout_null().stderr_null().run();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_talked_to_hears_us_and_answers_on_both_streams() {
        let script = "read -r word; echo \"$word!\"; echo why >&2; read -r more; exit 3";
        let args: [&OsStr; 2] = ["-c".as_ref(), script.as_ref()];
        let (process, talk, mut words) = talking(&Call::new("sh", &args)).unwrap();
        let mut talk = BufReader::new(talk);
        let mut answer = String::new();
        talk.get_mut().write_all(b"hello\n").unwrap();
        talk.read_line(&mut answer).unwrap();
        assert_eq!(answer, "hello!\n");
        assert_eq!(process.ended(Duration::ZERO).unwrap(), None);
        // Nothing of ours keeps its streams open: it sees the end, and so do we.
        drop(talk);
        answer.clear();
        words.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "why\n");
        assert_eq!(process.ended(Duration::from_secs(60)).unwrap().and_then(|status| status.code()), Some(3));
    }
}
