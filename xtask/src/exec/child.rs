//! Runs a child process whose whole output we need, with limits for its time and
//! its output. No process that it started can block us.
//!
//! A pipe can't be read with a time limit, so threads read and this side waits
//! for what they send. A thread whose pipe never closes is abandoned.

use std::io::{self, Read, Write as _};
use std::process::Output;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::exec::signal::{self, Ending};
use crate::exec::spawn::{self, Call};

/// How often we check the clock and the interrupt if there is no output.
pub const TICK: Duration = Duration::from_millis(20);
/// How long processes started by the child may hold the output open after the
/// child has ended.
const LINGER: Duration = Duration::from_millis(500);
/// How much of the end of stderr is kept.
const WORDS: usize = 64 * 1024;
/// How long a killed child may take to disappear.
const LAST: Duration = Duration::from_secs(1);

/// The limits for a child.
#[derive(Clone, Copy, Debug)]
pub struct ChildLimits {
    /// How long it may run.
    pub time: Duration,
    /// How much it may write to stdout.
    pub bytes: usize,
    /// How long it may take after an interrupt to end by itself, so that its work
    /// is complete.
    pub grace: Duration,
}

/// Why a child must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopReason {
    Interrupt,
    Time,
    Size,
}

impl StopReason {
    /// When each signal is sent.
    fn ending(self, bounds: ChildLimits) -> Ending {
        let after = match self {
            Self::Interrupt => [0, 2000, 4000].map(|millis| bounds.grace + Duration::from_millis(millis)),
            _ => [0, 300, 1000].map(Duration::from_millis),
        };
        Ending::new(after)
    }

    fn error(self, bounds: ChildLimits) -> io::Error {
        match self {
            Self::Interrupt => io::ErrorKind::Interrupted.into(),
            Self::Time => {
                let what = format!("it did not end within {} s", bounds.time.as_secs_f32());
                io::Error::new(io::ErrorKind::TimedOut, what)
            }
            Self::Size => {
                let what = format!("it wrote more than {} bytes", bounds.bytes);
                io::Error::new(io::ErrorKind::FileTooLarge, what)
            }
        }
    }
}

/// Runs a command to its end and returns its output. If `stop` returns true, the
/// error is `Interrupted`; after the time limit it is `TimedOut`, and above the
/// size limit `FileTooLarge`.
pub fn collect(call: &Call<'_>, bounds: ChildLimits, stop: impl Fn() -> bool) -> io::Result<Output> {
    let started = Instant::now();
    let mut child = spawn::answering(call)?;
    if let (Some(text), Some(mut stdin)) = (call.input(), child.stdin.take()) {
        // A program that ends before it has read its stdin reports that itself.
        thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    }
    let (sender, receiver) = sync_channel(16);
    pump(child.stdout.take(), true, sender.clone());
    pump(child.stderr.take(), false, sender);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut ended, mut open): (Option<(_, Instant)>, bool) = (None, true);
    let mut ending: Option<(StopReason, Ending)> = None;
    loop {
        let mut quiet = false;
        match receiver.recv_timeout(TICK) {
            Ok((true, chunk)) if stdout.len() <= bounds.bytes => stdout.extend(chunk),
            Ok((true, _)) => {}
            Ok((false, chunk)) => keep_end(&mut stderr, chunk),
            Err(RecvTimeoutError::Timeout) => quiet = true,
            // The output is closed, so the status is available at once.
            Err(RecvTimeoutError::Disconnected) => open = false,
        }
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        match ended {
            Some((status, since)) if !open || (quiet && since.elapsed() > LINGER) => {
                let Some((reason, mut ending)) = ending else { return Ok(Output { status, stdout, stderr }) };
                ending.clear();
                return match reason {
                    StopReason::Interrupt => Ok(Output { status, stdout, stderr }),
                    reason => Err(reason.error(bounds)),
                };
            }
            None if !open => thread::sleep(Duration::from_millis(1)),
            _ => {}
        }
        let reason = if stdout.len() > bounds.bytes {
            Some(StopReason::Size)
        } else if started.elapsed() > bounds.time {
            Some(StopReason::Time)
        } else {
            stop().then_some(StopReason::Interrupt)
        };
        if ending.is_none() {
            ending = reason.map(|reason| (reason, reason.ending(bounds)));
        }
        if let Some((reason, ending)) = &mut ending {
            // An ended child may have left processes behind, but its process id
            // may be used again.
            let root = ended.is_none().then(|| child.id());
            if let (Some(signal), Some(leader)) = (ending.forward(root), root.filter(|_| call.is_apart())) {
                signal::send_group(signal, leader);
            }
            if ending.is_over(LAST) {
                return Err(reason.error(bounds));
            }
        }
    }
}

/// Runs a fast command that needs nothing of a checkout.
pub fn quick(call: &Call<'_>) -> io::Result<Output> {
    collect(call, ChildLimits { time: Duration::from_secs(10), bytes: 1 << 20, grace: Duration::ZERO }, || false)
}

/// Reads to the end on a thread of its own, as long as somebody listens.
fn pump(from: Option<impl Read + Send + 'static>, is_stdout: bool, to: SyncSender<(bool, Vec<u8>)>) {
    let Some(mut from) = from else { return };
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) if to.send((is_stdout, buffer[..n].to_vec())).is_err() => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
    });
}

fn keep_end(text: &mut Vec<u8>, more: Vec<u8>) {
    text.extend(more);
    if text.len() > 2 * WORDS {
        text.drain(..text.len() - WORDS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::Step;

    const BOUNDS: ChildLimits =
        ChildLimits { time: Duration::from_secs(60), bytes: 1 << 20, grace: Duration::from_secs(2) };

    fn sh(
        script: &str,
        input: Option<&str>,
        bounds: ChildLimits,
        stop: bool,
    ) -> Result<(Option<i32>, String), io::ErrorKind> {
        sh_with(script, input, bounds, stop, false)
    }

    fn sh_with(
        script: &str,
        input: Option<&str>,
        bounds: ChildLimits,
        stop: bool,
        apart: bool,
    ) -> Result<(Option<i32>, String), io::ErrorKind> {
        let ctx = crate::ctx::Ctx { root: "/".into(), ..crate::ctx::Ctx::default() };
        let step = Step { stdin: input.map(str::to_owned), ..Step::new("sh").args(["-c", script]) };
        match collect(&Call::of(&ctx, &step).apart(apart), bounds, || stop) {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                Ok((output.status.code(), String::from_utf8_lossy(&text).trim_end().to_owned()))
            }
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn what_a_child_writes_comes_whole_with_its_status() {
        assert_eq!(sh("echo out; echo err >&2; exit 3", None, BOUNDS, false), Ok((Some(3), "out\nerr".into())));
        assert_eq!(sh("cat", Some("typed"), BOUNDS, false), Ok((Some(0), "typed".into())));
        let (_, text) = sh("head -c 300000 /dev/zero | tr '\\0' x", None, BOUNDS, false).unwrap();
        assert_eq!(text.len(), 300_000);
        // It ends before it reads; that is not an error.
        let long = "x".repeat(1 << 20);
        assert_eq!(sh("true", Some(&long), BOUNDS, false), Ok((Some(0), String::new())));
        assert!(sh("yes err | head -c 900000 >&2", None, BOUNDS, false).unwrap().1.len() <= 2 * WORDS);
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let short = ChildLimits { time: Duration::from_millis(100), ..BOUNDS };
        for apart in [false, true] {
            // No grandchildren here: one that outlives the test would hold what
            // the test inherited, such as the lock of the test runner.
            assert_eq!(sh_with("exec sleep 1000", None, short, false, apart), Err(io::ErrorKind::TimedOut));
            let deaf = "trap '' INT TERM; exec sleep 1000";
            assert_eq!(sh_with(deaf, None, short, false, apart), Err(io::ErrorKind::TimedOut));
            let drip = "while echo x; do sleep 0.01; done";
            assert_eq!(sh_with(drip, None, short, false, apart), Err(io::ErrorKind::TimedOut));
        }
    }

    #[test]
    fn a_child_that_writes_for_ever_is_ended() {
        assert_eq!(sh("exec yes", None, BOUNDS, false), Err(io::ErrorKind::FileTooLarge));
    }

    #[test]
    fn an_interrupt_lets_a_quick_child_end_by_itself_and_no_other() {
        assert_eq!(sh("sleep 0.1; echo done", None, BOUNDS, true), Ok((Some(0), "done".into())));
        // The status of a process that a signal ended is for the caller to judge.
        assert_eq!(sh("exec sleep 1000", None, BOUNDS, true), Ok((None, String::new())));
    }

    #[test]
    fn what_a_child_has_started_ends_with_it() {
        let dir = crate::exec::files::Temporary::new("pid").unwrap();
        let script = format!("sh -c 'sleep 1000 & echo $! > {}; wait'; true", dir.path());
        let short = ChildLimits { time: Duration::from_millis(300), ..BOUNDS };
        for apart in [false, true] {
            assert_eq!(sh_with(&script, None, short, false, apart), Err(io::ErrorKind::TimedOut));
            let pid = std::fs::read_to_string(dir.path()).unwrap();
            let lives = || crate::exec::proc::is_alive(pid.trim().parse().unwrap());
            for _ in 0..1000 {
                if !lives() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
            assert!(!lives(), "apart: {apart}");
        }
    }

    #[test]
    fn what_a_child_leaves_behind_does_not_hold_us() {
        let (code, pid) = sh("sleep 1000 & echo $!", None, BOUNDS, false).unwrap();
        assert_eq!(code, Some(0));
        signal::send(signal::Signal::Kill, [pid.parse().unwrap()]);
    }
}
