//! Signals to other processes, by the shell's own `kill`: the one thing that
//! every Unix has and that needs neither a crate nor unsafe code.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Sends `INT`, `TERM` or `KILL` to processes. They may be gone by now; then
/// there is nothing to do.
pub fn send(signal: &str, pids: impl IntoIterator<Item = u32>) {
    let pids: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    if !pids.is_empty() {
        kill(signal, &pids.join(" "));
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
