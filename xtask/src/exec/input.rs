//! Reads files that somebody else wrote: files of a checkout, or named on a
//! command line.
//!
//! A named pipe would block us for ever, and a device would fill the memory. So
//! only regular files are read, up to the size that the caller needs.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use camino::Utf8Path;

use crate::exec::child::TICK;
use crate::exec::interrupt;

/// The bytes of a file of at most `limit` bytes.
pub fn read(path: &Utf8Path, limit: u64) -> Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    bytes(&file, limit)
}

/// The text of such a file.
pub fn text(path: &Utf8Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| Error::new(ErrorKind::InvalidData, "not UTF-8"))
}

/// Reads everything from what may be a pipe, such as stdin or `<(…)`. Its writer
/// may take time, so a thread reads, and an interrupt ends the wait.
pub fn piped<R: Read>(open: impl FnOnce() -> Result<R> + Send + 'static, limit: u64) -> Result<Vec<u8>> {
    wait(move || {
        let mut bytes = Vec::new();
        open()?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit { Err(too_large(limit)) } else { Ok(bytes) }
    })
}

/// A line that a person types.
pub fn typed() -> Result<String> {
    wait(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    })
}

fn wait<T: Send + 'static>(read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (to, from) = channel();
    thread::spawn(move || to.send(read()));
    loop {
        match from.recv_timeout(TICK) {
            Ok(read) => return read,
            Err(RecvTimeoutError::Timeout) if interrupt::raised() => return Err(ErrorKind::Interrupted.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::other("the thread that read it ended")),
        }
    }
}

fn too_large(limit: u64) -> Error {
    let size = match limit >> 20 {
        0 => format!("{limit} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    };
    Error::new(ErrorKind::FileTooLarge, format!("larger than {size}, the limit"))
}

fn bytes(mut file: &File, limit: u64) -> Result<Vec<u8>> {
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "neither a file nor a link to one"));
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.by_ref().take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::files::Temporary;

    fn told(path: &str, limit: u64) -> String {
        read(path.into(), limit).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_file_or_has_no_end_is_refused_at_once() {
        assert_eq!(told("/dev/zero", 9), "neither a file nor a link to one");
        assert_eq!(told("/dev", 9), "is a directory");
        assert!(told("/proc/nowhere", 9).starts_with("No such file"));
        let pipe = Temporary::new("pipe").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(pipe.path()).status().unwrap().success());
        assert_eq!(told(pipe.path().as_str(), 9), "neither a file nor a link to one");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_or_its_limit() {
        assert_eq!(piped(|| Ok(&b"12345"[..]), 5).unwrap(), b"12345");
        assert_eq!(piped(|| Ok(&b"12345"[..]), 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(piped(|| Ok(std::io::repeat(0)), 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(piped(|| File::open("/proc/nowhere"), 9).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_has_its_limit() {
        let file = Temporary::new("file").unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(text(file.path(), 5).unwrap(), "12345");
        assert_eq!(told(file.path().as_str(), 4), "larger than 4 bytes, the limit");
        std::fs::write(file.path(), b"\xff").unwrap();
        assert_eq!(text(file.path(), 5).unwrap_err().to_string(), "not UTF-8");
    }
}
