//! Explains why one of our files can't be written, and what to do about it: the
//! disk is full, or the folder is not writable.

use std::io::{self, ErrorKind};

use anyhow::Context as _;
use camino::Utf8Path;

use crate::fault;

/// The same error with advice, if the file system is the reason. The variable
/// `variable` chooses another folder.
pub fn helped(error: anyhow::Error, path: &Utf8Path, variable: Option<&str>) -> anyhow::Error {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    let Some(kind) = io.map(io::Error::kind).filter(|_| fault::help(&error).is_none()) else { return error };
    let there = path.ancestors().find(|above| above.symlink_metadata().is_ok()).unwrap_or(path);
    let (what, help) = match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            (format!("could not write {path}: its disk is full"), format!("`df -h {there}`; free some space"))
        }
        ErrorKind::TimedOut | ErrorKind::Interrupted => return error,
        ErrorKind::PermissionDenied => {
            (format!("{error:#}"), format!("see who may write there: `ls -ld {there}`; work as that user"))
        }
        _ => (format!("{error:#}"), format!("expected a folder that we can write in: `ls -ld {there}`")),
    };
    let other = variable.map(|name| format!(", or name another one: export {name}=DIR")).unwrap_or_default();
    fault::failed(what).help(help + &other).into()
}

/// The same for an error while a result is written.
pub trait Helped<T> {
    /// Adds the advice.
    fn helped(self, path: &Utf8Path, variable: Option<&str>) -> anyhow::Result<T>;
}

impl<T, E> Helped<T> for Result<T, E>
where
    Self: anyhow::Context<T, E>,
{
    fn helped(self, path: &Utf8Path, variable: Option<&str>) -> anyhow::Result<T> {
        self.with_context(|| format!("could not write {path}")).map_err(|error| helped(error, path, variable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_system_refuses_comes_with_a_way_out() {
        let told = |kind: ErrorKind, variable| {
            let failed: io::Result<()> = Err(kind.into());
            fault::render(&failed.helped("/proc/nowhere/it".into(), variable).unwrap_err())
        };
        for (kind, variable, what, help) in [
            (
                ErrorKind::StorageFull,
                Some("TMPDIR"),
                "error: could not write /proc/nowhere/it: its disk is full",
                "`df -h /proc`; free some space, or name another one: export TMPDIR=DIR",
            ),
            (
                ErrorKind::QuotaExceeded,
                None,
                "error: could not write /proc/nowhere/it: its disk is full",
                "`df -h /proc`; free some space",
            ),
            (
                ErrorKind::NotADirectory,
                Some("XDG_CACHE_HOME"),
                "error: could not write /proc/nowhere/it: not a directory",
                "expected a folder that we can write in: `ls -ld /proc`, or name another one: export XDG_CACHE_HOME=DIR",
            ),
            (
                ErrorKind::PermissionDenied,
                None,
                "error: could not write /proc/nowhere/it: permission denied",
                "see who may write there: `ls -ld /proc`; work as that user",
            ),
        ] {
            assert_eq!(told(kind, variable), format!("{what}\nhelp: {help}"));
        }
        // An error that has another reason, and one that has advice already.
        assert!(!told(ErrorKind::Interrupted, None).contains("help"));
        let helped = helped(fault::failed("x").help("y").into(), "/z".into(), None);
        assert_eq!(fault::render(&helped), "error: x\nhelp: y");
    }
}
