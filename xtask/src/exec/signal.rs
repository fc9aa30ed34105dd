//! Signals to other processes, by the shell's own `kill`: the one thing that
//! every Unix has and that needs neither a crate nor unsafe code.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::exec::proc::{self, Stat};

/// Sends `INT`, `TERM` or `KILL` to processes. They may be gone by now; then
/// there is nothing to do.
pub fn send(signal: &str, pids: impl IntoIterator<Item = u32>) {
    let pids: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    if !pids.is_empty() {
        kill(signal, &pids.join(" "));
    }
}

/// Processes and all that they have started. On a terminal docker leaves it to
/// the terminal to tell its plugins, and nobody else does; and whose parent has
/// ended is nobody's child any more, so the tree is remembered.
#[derive(Debug, Default)]
pub struct Tree {
    known: Vec<Stat>,
}

impl Tree {
    /// Sends a signal to all of it that is there.
    pub fn send(&mut self, signal: &str, roots: impl IntoIterator<Item = u32>) {
        let there: Vec<Stat> = proc::all().filter_map(proc::of).collect();
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
pub fn send_group(signal: &str, leader: u32) {
    kill(signal, &format!("-{leader}"));
}

fn kill(signal: &str, whom: &str) {
    let line = format!("kill -{signal} {whom}");
    let mut kill = Command::new("sh");
    // The terminal's own signal, which may be why we do this, passes by.
    kill.args(["-c", &line]).process_group(0);
    let _ = kill.stdin(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};

    #[test]
    fn who_has_lost_its_parent_is_still_of_the_tree() {
        // It says its number when it is deaf to the first signal.
        let script = "sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait; true";
        let mut root = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let deaf: u32 = line.trim().parse().unwrap();
        let is_there = || proc::is_alive(deaf);
        let mut tree = Tree::default();
        tree.send("TERM", [root.id()]);
        root.wait().unwrap();
        assert!(is_there());
        tree.send("KILL", None);
        for _ in 0..1000 {
            if !is_there() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(!is_there());
        // What is known now is nobody.
        tree.send("KILL", None);
        assert_eq!(tree.known.iter().filter(|one| one.pid == deaf).count(), usize::from(proc::of(deaf).is_some()));
    }
}
