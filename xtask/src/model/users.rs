//! Which users the processes of a container run as. The user in an image's
//! configuration may be any word (`toor`, `00`, `+0`), so the kernel is asked.

/// The columns of `ps` that [`of_top`] reads: the effective, the real and the
/// saved user.
pub const COLUMNS: &str = "-eo pid,euid,ruid,suid,comm";

/// The users that a process is, or can become again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessUsers {
    users: Vec<String>,
    command: String,
}

impl ProcessUsers {
    /// Reads `/proc/PID/status`.
    pub fn of_status(text: &str) -> Option<Self> {
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let users: Vec<String> = line("Uid:")?.split_whitespace().map(str::to_owned).collect();
        (users.len() == 4).then_some(())?;
        Some(Self { users, command: line("Name:")?.to_owned() })
    }
}

/// Reads a table of `ps`, with [`COLUMNS`] or, if the engine's `ps` does not know
/// these, with its default columns. `None` if the table does not tell.
pub fn of_top(titles: &[String], rows: &[Vec<String>]) -> Option<Vec<ProcessUsers>> {
    let at = |names: &[&str]| -> Vec<usize> {
        (0..titles.len()).filter(|at| names.contains(&titles[*at].to_uppercase().as_str())).collect()
    };
    let users = at(&["UID", "USER", "EUID", "RUID", "SUID"]);
    let command = *at(&["COMMAND", "CMD", "COMM"]).first()?;
    if users.is_empty() || rows.is_empty() {
        return None;
    }
    rows.iter()
        .map(|row| {
            let cell = |at: usize| row.get(at).filter(|cell| !cell.is_empty()).cloned();
            Some(ProcessUsers {
                users: users.iter().map(|at| cell(*at)).collect::<Option<_>>()?,
                command: cell(command)?,
            })
        })
        .collect()
}

/// Whether none of the processes is root, and a text that says so.
pub fn verdict(processes: &[ProcessUsers]) -> (bool, String) {
    let is_root = |user: &String| user == "root" || user.parse() == Ok(0_u64);
    let roots: Vec<&str> = processes
        .iter()
        .filter(|process| process.users.iter().any(is_root))
        .map(|process| process.command.as_str())
        .collect();
    if !roots.is_empty() {
        return (false, format!("expected no process of root's, got {}", roots.join(", ")));
    }
    let mut users: Vec<&str> = processes.iter().flat_map(|process| &process.users).map(String::as_str).collect();
    users.sort_unstable();
    users.dedup();
    // No process proves nothing.
    (!users.is_empty(), format!("{} processes of user {}", processes.len(), users.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_the_kernel_tells_all_four_users() {
        let of = |text: &str| ProcessUsers::of_status(text).map(|process| verdict(&[process]));
        let users = |line: &str| format!("Name:\tpython\nPid:\t7\nUid:\t{line}\nGid:\t0\t0\t0\t0\n");
        assert_eq!(of(&users("9\t9\t9\t9")), Some((true, "1 processes of user 9".into())));
        for line in ["0\t9\t9\t9", "9\t0\t9\t9", "9\t9\t0\t9", "9\t9\t9\t0"] {
            assert_eq!(of(&users(line)).map(|(passed, _)| passed), Some(false), "{line}");
        }
        assert_eq!(of("Name:\tpython\n"), None);
    }

    #[test]
    fn root_is_root_by_whatever_name_and_in_whatever_process() {
        let numbers = ["PID", "EUID", "RUID", "SUID", "COMMAND"];
        let names = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
        type Case<'a> = (&'a [&'a str], &'a [&'a [&'a str]], Option<(bool, &'a str)>);
        let cases: [Case<'_>; 8] = [
            (&numbers, &[&["7", "1000", "1000", "1000", "python"]], Some((true, "1 processes of user 1000"))),
            (
                &numbers,
                &[&["7", "1000", "1000", "1000", "python"], &["8", "0", "0", "0", "sh"]],
                Some((false, "expected no process of root's, got sh")),
            ),
            // It has dropped root, but can take it back.
            (&numbers, &[&["7", "1000", "1000", "0", "su"]], Some((false, "expected no process of root's, got su"))),
            (
                &names,
                &[&["root", "7", "1", "0", "11:11", "?", "00:00:00", "nginx: master"]],
                Some((false, "expected no process of root's, got nginx: master")),
            ),
            (
                &names,
                &[&["systemd+", "7", "1", "0", "11:11", "?", "00:00:00", "nginx"]],
                Some((true, "1 processes of user systemd+")),
            ),
            (&numbers, &[], None),
            (&numbers, &[&["7", "1000"]], None),
            (&["PID", "COMMAND"], &[&["7", "python"]], None),
        ];
        for (titles, rows, expected) in cases {
            let words = |row: &[&str]| row.iter().map(ToString::to_string).collect::<Vec<_>>();
            let found = of_top(&words(titles), &rows.iter().map(|row| words(row)).collect::<Vec<_>>());
            let found = found.map(|processes| verdict(&processes));
            assert_eq!(found, expected.map(|(passed, detail)| (passed, detail.to_owned())), "{rows:?}");
        }
        assert!(!verdict(&[]).0);
    }
}
