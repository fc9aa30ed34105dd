//! What the kernel says about processes on this machine or in this container.

use std::fs;
use std::time::Duration;

/// A process, from `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// Its process id.
    pub pid: u32,
    /// `R`, `S`, `Z` and so on.
    state: char,
    /// The id of its parent.
    pub parent: u32,
    /// When it started, in clock ticks since the boot. A process id alone may be
    /// reused.
    pub started: u64,
}

impl ProcessStat {
    /// Whether it still runs. A zombie has ended, and only waits for its parent.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The process with this id, if there is one.
pub fn of(pid: u32) -> Option<ProcessStat> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process with this id exists and still runs.
pub fn is_alive(pid: u32) -> bool {
    of(pid).is_some_and(|stat| stat.is_alive())
}

/// The ids of all processes; none if there is no /proc.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Our own process id as /proc has it, which may be that of an outer namespace.
pub fn own() -> Option<u32> {
    fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()
}

/// The processor time of all our children that have ended, and of theirs.
pub fn of_children() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Linux tells all programs a hundredth of a second for a tick.
    Some(Duration::from_millis(10 * (ticks(13)? + ticks(14)?)))
}

fn parse(pid: u32, stat: &str) -> Option<ProcessStat> {
    // A name may contain anything, so the fields start after the last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(ProcessStat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let rest = "7 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4711 1000 200";
        for (text, expected) in [
            (format!("42 (sleep) S {rest}"), Some(('S', 7, 4711, true))),
            (format!("42 (a) Z (b) R {rest}"), Some(('R', 7, 4711, true))),
            (format!("42 (sh) Z {rest}"), Some(('Z', 7, 4711, false))),
            (format!("42 (sh) X {rest}"), Some(('X', 7, 4711, false))),
            ("42 (sh) S 7 7".to_owned(), None),
            (String::new(), None),
        ] {
            let found = parse(42, &text).map(|it| (it.state, it.parent, it.started, it.is_alive()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_a_child_has_computed_is_counted_when_it_has_ended() {
        let before = of_children().unwrap();
        let step = ["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"];
        assert!(std::process::Command::new("sh").args(step).status().unwrap().success());
        assert!(of_children().unwrap() > before);
    }

    #[test]
    fn a_child_that_nobody_waited_for_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let since = std::time::Instant::now();
        while is_alive(child.id()) {
            assert!(since.elapsed().as_secs() < 20);
        }
        assert!(of(child.id()).is_some_and(|zombie| Some(zombie.parent) == own()));
        child.wait().unwrap();
        assert!(is_alive(std::process::id()));
    }
}
