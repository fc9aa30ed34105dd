//! Starts processes. No other module names xshell, duct or `Command`, so what
//! holds here holds for every process that we start.
//!
//! | start      | by     | stdin             | output                    | ends |
//! |------------|--------|-------------------|---------------------------|------|
//! | `answering`| xshell | the text, or none | piped, for `child`        | within the bounds of `child` |
//! | `watched`  | duct   | the text, or none | both on our stderr        | by itself, or by an interrupt |
//! | `lines`    | duct   | the text, or none | both as one, line by line | as `watched` |
//! | `talking`  | duct   | ours to write     | ours to read              | by `Process::end` |
//! | `bridged`  | duct   | a stream          | the same stream           | with the stream, or by `Process::end` |
//! | `detached` | duct   | none              | a log file                | by `Process::end`, or never |
//! | `kill`     | duct   | none              | none                      | at once |
//!
//! xshell treats a command as a value and can't stop it, so it starts commands
//! that `child` reads and limits. duct joins two streams into one, and lets
//! several threads wait for a process and kill it. But its own captures wait for
//! every grandchild that holds the pipe, and keep the whole output in memory, so
//! we don't read answers with it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::plan::step::Step;

/// A longer line is split.
const LINE: u64 = 64 * 1024;

/// A command, with its environment, folder and stdin.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    tool: &'a OsStr,
    args: Vec<&'a OsStr>,
    /// If two entries set the same variable, the later one counts.
    env: Vec<(&'a str, &'a str)>,
    unset: Vec<&'a str>,
    /// `None`: our own working directory.
    dir: Option<&'a Utf8Path>,
    stdin: Option<Cow<'a, str>>,
    apart: bool,
}

impl<'a> Call<'a> {
    /// A command that needs nothing of a checkout or an engine, and whose
    /// arguments need not be text.
    pub fn new(tool: &'a str, args: &[&'a OsStr]) -> Self {
        Self { tool: tool.as_ref(), args: args.to_vec(), ..Self::default() }
    }

    /// A step that runs at the root.
    pub fn of(ctx: &'a Ctx, step: &'a Step) -> Self {
        let pairs = ctx.exports.iter().chain(&step.env).chain(&step.own_env);
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

    /// Puts it into its own process group, where the terminal's Ctrl-C does not
    /// reach it: for clean-up.
    #[must_use]
    pub fn apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }

    /// Whether it has its own process group.
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// Sets one more variable.
    #[must_use]
    pub fn env(mut self, name: &'a str, value: &'a str) -> Self {
        self.env.push((name, value));
        self
    }

    /// Runs it in another folder.
    #[must_use]
    pub fn within(self, dir: &'a Utf8Path) -> Self {
        Self { dir: Some(dir), ..self }
    }

    /// The text for its stdin.
    pub fn input(&self) -> Option<String> {
        self.stdin.as_ref().map(|text| text.clone().into_owned())
    }

    fn expression(&self) -> duct::Expression {
        let mut expression = duct::cmd(self.tool, &self.args).unchecked();
        if let Some(dir) = self.dir {
            expression = expression.dir(dir);
        }
        // If two entries set the same variable, duct uses the first one.
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

    /// The same with stdin. If two set it, duct uses the first one.
    fn fed(&self) -> duct::Expression {
        match &self.stdin {
            Some(text) => self.expression().stdin_bytes(text.as_bytes()),
            None => self.expression().stdin_null(),
        }
    }

    /// The kernel reports a missing folder and a missing program with the same
    /// error.
    fn understood(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::NotFound if self.dir.is_none_or(Utf8Path::is_dir) => {
                io::Error::new(error.kind(), format!("command not found: `{}`", self.tool.display()))
            }
            _ => error,
        }
    }
}

/// Starts a command whose answer we read.
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

/// xshell always asks for the working directory, even if nothing depends on it.
fn shell() -> io::Result<xshell::Shell> {
    xshell::Shell::new().or_else(|_| {
        // The directory was removed, so no relative path works any more.
        std::env::set_current_dir("/")?;
        xshell::Shell::new().map_err(io::Error::other)
    })
}

/// Starts a command with access to the terminal, so that its own progress display
/// works. Its stdout is not a result of ours, so it goes to stderr.
pub fn watched(call: &Call<'_>) -> io::Result<Process> {
    let started = call.fed().stdout_to_stderr().start();
    started.map(Process).map_err(|error| call.understood(error))
}

/// A process that runs next to us.
#[derive(Debug)]
pub struct Process(duct::Handle);

impl Process {
    /// Its process id.
    pub fn pids(&self) -> Vec<u32> {
        self.0.pids()
    }

    /// Its status, if it ends within this time.
    pub fn ended(&self, within: Duration) -> io::Result<Option<ExitStatus>> {
        Ok(self.0.wait_timeout(within)?.map(|output| output.status))
    }

    /// Kills it and waits until it is gone.
    pub fn end(&self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command whose output is read line by line, stdout and stderr in
/// order.
pub fn lines(call: &Call<'_>) -> io::Result<OutputLines> {
    let reader = call.fed().stderr_to_stdout().reader().map_err(|error| call.understood(error))?;
    let reader = Arc::new(reader);
    Ok(OutputLines { lines: read_lines(Arc::clone(&reader)), reader })
}

/// A running command and its output.
#[derive(Debug)]
pub struct OutputLines {
    /// Its lines, until nobody holds the output open any more.
    pub lines: Receiver<String>,
    reader: Arc<duct::ReaderHandle>,
}

impl OutputLines {
    /// The process ids.
    pub fn pids(&self) -> Vec<u32> {
        self.reader.pids()
    }

    /// Its status, if it has ended.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        Ok(self.reader.try_wait()?.map(|output| output.status))
    }
}

/// Reads lines on a thread of its own, so that the other side sees an interrupt
/// while there is no output.
fn read_lines(reader: Arc<duct::ReaderHandle>) -> Receiver<String> {
    let (to, lines) = sync_channel(64);
    thread::spawn(move || {
        let mut from = BufReader::new(&*reader);
        let mut bytes = Vec::new();
        // As bytes: a tool may print text that is not UTF-8, and lines without an
        // end.
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

/// Starts a command whose stdin and stdout we use as a stream. Its stderr is a
/// third one.
pub fn talking(call: &Call<'_>) -> io::Result<(Process, ChildStream, PipeReader)> {
    let (stdin, to) = io::pipe()?;
    let (from, stdout) = io::pipe()?;
    let (words, stderr) = io::pipe()?;
    let started = call.expression().stdin_file(stdin).stdout_file(stdout).stderr_file(stderr).start();
    let process = started.map(Process).map_err(|error| call.understood(error))?;
    Ok((process, ChildStream { to, from }, words))
}

/// Starts a command that talks to whoever is at the other end of a stream.
pub fn bridged(call: &Call<'_>, stream: UnixStream) -> io::Result<Process> {
    let started = call.expression().stdin_file(stream.try_clone()?).stdout_file(stream).stderr_null().start();
    started.map(Process).map_err(|error| call.understood(error))
}

/// The stdin and stdout of a child as one stream.
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

/// Starts a daemon in its own session, with a log. It gets none of our open
/// files, since readers of our output would wait until the daemon ends. Its new
/// files are readable for everybody, as with root's usual umask.
pub fn detached(call: &Call<'_>, log: File) -> io::Result<Process> {
    let close = (3..10).map(|fd| format!(" {fd}>&-")).collect::<String>();
    let script = format!("umask 022; exec setsid \"$0\" \"$@\"{close}");
    let mut args: Vec<&OsStr> = vec!["-c".as_ref(), script.as_ref(), call.tool];
    args.extend(&call.args);
    let shell = Call { tool: "sh".as_ref(), args, ..call.clone() };
    let started = shell.fed().stdout_file(log.try_clone()?).stderr_file(log).start();
    started.map(Process).map_err(|error| shell.understood(error))
}

/// Sends a signal with the shell's own `kill`, which every Unix has and which
/// needs neither a crate nor unsafe code. A process that it does not reach is
/// gone.
pub fn kill(signal: &str, whom: &str) {
    let line = format!("kill -{signal} {whom}");
    let args: [&OsStr; 2] = ["-c".as_ref(), line.as_ref()];
    // The terminal's own signal, which may be why we send one, does not reach it.
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
        // Nothing of ours keeps its streams open, so it sees the end, and so do
        // we.
        drop(talk);
        answer.clear();
        words.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "why\n");
        assert_eq!(process.ended(Duration::from_secs(60)).unwrap().and_then(|status| status.code()), Some(3));
    }
}
