//! Sends signals to other processes: to single ones, to a whole tree, and one
//! after the other to end a process.

use std::fmt;
use std::time::{Duration, Instant};

use crate::exec::proc::{self, ProcessStat};
use crate::exec::spawn;

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Like Ctrl-C.
    Interrupt,
    /// Asks it to end.
    Terminate,
    /// Ends it.
    Kill,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
        })
    }
}

/// Sends a signal to processes. It is fine if they are gone by now.
pub fn send(signal: Signal, pids: impl IntoIterator<Item = u32>) {
    let pids: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    if !pids.is_empty() {
        spawn::kill(&signal.to_string(), &pids.join(" "));
    }
}

/// A process and all its descendants. On a terminal, docker relies on the
/// terminal to signal its plugins, and elsewhere nobody does. A process whose
/// parent has ended is nobody's child any more, so the tree is remembered.
#[derive(Debug, Default)]
pub struct ProcessTree {
    known: Vec<ProcessStat>,
}

impl ProcessTree {
    /// Sends a signal to every process of the tree that still exists.
    pub fn send(&mut self, signal: Signal, roots: impl IntoIterator<Item = u32>) {
        let there: Vec<ProcessStat> = proc::all().filter_map(proc::of).collect();
        self.known.retain(|one| there.iter().any(|other| (one.pid, one.started) == (other.pid, other.started)));
        let mut pids: Vec<u32> = roots.into_iter().chain(self.known.iter().map(|one| one.pid)).collect();
        pids.sort_unstable();
        pids.dedup();
        let mut at = 0;
        while let Some(pid) = pids.get(at).copied() {
            for child in there.iter().filter(|one| one.parent == pid) {
                if !pids.contains(&child.pid) {
                    pids.push(child.pid);
                }
            }
            at += 1;
        }
        self.known = there.into_iter().filter(|one| pids.contains(&one.pid)).collect();
        send(signal, pids);
    }
}

/// Sends a signal to the process group that a process leads.
pub fn send_group(signal: Signal, leader: u32) {
    spawn::kill(&signal.to_string(), &format!("-{leader}"));
}

/// A process and its descendants on their way out: first SIGINT, then SIGTERM,
/// then SIGKILL.
#[derive(Debug)]
pub struct Ending {
    after: [Duration; 3],
    since: Instant,
    sent: usize,
    tree: ProcessTree,
}

impl Ending {
    const SIGNALS: [Signal; 3] = [Signal::Interrupt, Signal::Terminate, Signal::Kill];

    /// Starts now, with the time of each signal.
    pub fn new(after: [Duration; 3]) -> Self {
        Self { after, since: Instant::now(), sent: 0, tree: ProcessTree::default() }
    }

    /// Sends the signal that is due, if one is, and returns it.
    pub fn forward(&mut self, pids: impl IntoIterator<Item = u32>) -> Option<Signal> {
        let due = Self::SIGNALS.get(self.sent).filter(|_| self.since.elapsed() >= self.after[self.sent])?;
        self.sent += 1;
        self.tree.send(*due, pids);
        Some(*due)
    }

    /// Kills the rest of the tree if any signal was sent.
    pub fn clear(&mut self) {
        if self.sent > 0 {
            self.tree.send(Signal::Kill, None);
        }
    }

    /// Whether the given time has passed since the last signal.
    pub fn is_over(&self, patience: Duration) -> bool {
        self.since.elapsed() > self.after[2] + patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn who_has_lost_its_parent_is_still_of_the_tree() {
        // It prints its process id once it ignores the first signal.
        let script = "sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait; true";
        let mut root = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let deaf: u32 = line.trim().parse().unwrap();
        let is_there = || proc::is_alive(deaf);
        let mut tree = ProcessTree::default();
        tree.send(Signal::Terminate, [root.id()]);
        root.wait().unwrap();
        assert!(is_there());
        tree.send(Signal::Kill, None);
        for _ in 0..1000 {
            if !is_there() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!is_there());
        // The process ids that are known by now belong to nobody.
        tree.send(Signal::Kill, None);
        assert_eq!(tree.known.iter().filter(|one| one.pid == deaf).count(), usize::from(proc::of(deaf).is_some()));
    }
}
