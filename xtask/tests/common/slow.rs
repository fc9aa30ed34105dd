//! The engine that we use, behind a socket that keeps some questions waiting:
//! an engine under load, whose client may be gone before it has begun.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The socket, and how many questions wait or have waited.
pub struct Slow {
    socket: PathBuf,
    came: Arc<AtomicUsize>,
    passed: Arc<AtomicUsize>,
}

impl Slow {
    /// Keeps what is posted to `path` waiting for so long.
    pub fn new(dir: &Path, path: &'static str, wait: Duration) -> Self {
        let socket = dir.join("slow.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let slow = Self { socket, came: Arc::default(), passed: Arc::default() };
        let (came, passed) = (Arc::clone(&slow.came), Arc::clone(&slow.passed));
        let real = real();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let engine = UnixStream::connect(&real).unwrap();
                let (mut asked, mut asks) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
                let (came, passed) = (Arc::clone(&came), Arc::clone(&passed));
                thread::spawn(move || {
                    copy(&mut asks, |bytes| {
                        let line =
                            String::from_utf8_lossy(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default());
                        let waits = line.starts_with("POST ") && line.contains(path);
                        if waits {
                            came.fetch_add(1, Ordering::SeqCst);
                            thread::sleep(wait);
                        }
                        let sent = asked.write_all(bytes).is_ok();
                        passed.fetch_add(usize::from(waits), Ordering::SeqCst);
                        sent
                    });
                });
                thread::spawn(move || {
                    let (mut engine, mut client) = (engine, client);
                    // The engine never learns that the client has gone.
                    copy(&mut engine, |bytes| {
                        let _ = client.write_all(bytes);
                        true
                    });
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        slow
    }

    /// A command that reaches the engine through it.
    pub fn lead(&self, command: &mut Command) {
        command.envs(super::engine().ctx.exports).env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
    }

    /// Waits until a question has come.
    pub fn until_one_waits(&self) {
        until(|| self.came.load(Ordering::SeqCst) > 0);
    }

    /// Waits until the engine has all that came, and some time to answer it.
    pub fn until_all_passed(&self) {
        until(|| self.passed.load(Ordering::SeqCst) == self.came.load(Ordering::SeqCst));
        thread::sleep(Duration::from_secs(2));
    }
}

fn until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "what was waited for never came");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Where the engine itself listens.
fn real() -> String {
    let exports = super::engine().ctx.exports;
    let host = exports.into_iter().find(|(name, _)| name == "DOCKER_HOST").map(|(_, host)| host);
    let host = host.or_else(|| std::env::var("DOCKER_HOST").ok()).unwrap_or("unix:///var/run/docker.sock".into());
    host.trim_start_matches("unix://").to_owned()
}

/// Hands on what is read until there is no more, or nobody takes it.
fn copy(from: &mut UnixStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !take(&buffer[..count]) {
            break;
        }
    }
}
