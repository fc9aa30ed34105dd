//! Signals to other processes: to some, to a tree of them, and in the order in
//! which a process is brought to its end.

use std::fmt;
use std::time::{Duration, Instant};

use crate::exec::proc::{self, ProcessStat};
use crate::exec::spawn;

/// What a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To end, as by Ctrl-C.
    Interrupt,
    /// To end.
    Terminate,
    /// Nothing: it is ended.
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

/// Sends a signal to processes. They may be gone by now; then there is nothing
/// to do.
pub fn send(signal: Signal, pids: impl IntoIterator<Item = u32>) {
    let pids: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    if !pids.is_empty() {
        spawn::kill(&signal.to_string(), &pids.join(" "));
    }
}

/// Processes and all that they have started. On a terminal docker leaves it to
/// the terminal to tell its plugins, and nobody else does; and whose parent has
/// ended is nobody's child any more, so the tree is remembered.
#[derive(Debug, Default)]
pub struct ProcessTree {
    known: Vec<ProcessStat>,
}

impl ProcessTree {
    /// Sends a signal to all of it that is there.
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

/// Sends a signal to all of the process group that a process leads.
pub fn send_group(signal: Signal, leader: u32) {
    spawn::kill(&signal.to_string(), &format!("-{leader}"));
}

/// A process on its way out, with all that it has started: first asked, then
/// told, then killed.
#[derive(Debug)]
pub struct Ending {
    after: [Duration; 3],
    since: Instant,
    sent: usize,
    tree: ProcessTree,
}

impl Ending {
    const SIGNALS: [Signal; 3] = [Signal::Interrupt, Signal::Terminate, Signal::Kill];

    /// Begins now; each signal has its time.
    pub fn new(after: [Duration; 3]) -> Self {
        Self { after, since: Instant::now(), sent: 0, tree: ProcessTree::default() }
    }

    /// Sends the signal that is due, if one is: which.
    pub fn forward(&mut self, pids: impl IntoIterator<Item = u32>) -> Option<Signal> {
        let due = Self::SIGNALS.get(self.sent).filter(|_| self.since.elapsed() >= self.after[self.sent])?;
        self.sent += 1;
        self.tree.send(*due, pids);
        Some(*due)
    }

    /// Kills what is left of the tree, if anything was sent to it.
    pub fn clear(&mut self) {
        if self.sent > 0 {
            self.tree.send(Signal::Kill, None);
        }
    }

    /// Whether nothing more can be done: that long after the last signal.
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
        // It says its number when it is deaf to the first signal.
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
        // What is known now is nobody.
        tree.send(Signal::Kill, None);
        assert_eq!(tree.known.iter().filter(|one| one.pid == deaf).count(), usize::from(proc::of(deaf).is_some()));
    }
}
