//! Questions to the engine's API.
//!
//! Reads go straight to the socket: an answer takes about a millisecond, where
//! each `docker` process costs thirty. What changes something is always a
//! `docker` command line that a person can paste. An endpoint that is not a
//! local socket (ssh, TLS, a context) is reached through `docker system
//! dial-stdio`, so that there is one protocol and one code path.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8PathBuf;
use serde_json::Value;

use crate::ctx::Ctx;
use crate::exec::http;
use crate::fault;

/// How the engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket of this machine.
    Socket(Utf8PathBuf),
    /// Whatever the docker client makes of its configuration.
    Client,
}

/// No answer of the engine takes longer, short of a hung engine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for `path`; `None` is the engine's 404.
pub fn get(ctx: &Ctx, endpoint: &Endpoint, path: &str) -> anyhow::Result<Option<Value>> {
    let answer = request(ctx, endpoint, path).with_context(|| format!("the engine did not answer GET {path}"))?;
    match answer.status {
        200 => Ok(Some(serde_json::from_slice(&answer.body)?)),
        404 => Ok(None),
        status => Err(fault::failed(format!("the engine answered GET {path} with {status}: {}", answer.text())).into()),
    }
}

/// Whether an engine answers; the error says why not.
pub fn ping(ctx: &Ctx, endpoint: &Endpoint) -> io::Result<()> {
    match request(ctx, endpoint, "/_ping")? {
        answer if answer.status == 200 => Ok(()),
        answer => Err(io::Error::other(format!("status {}: {}", answer.status, answer.text()))),
    }
}

fn request(ctx: &Ctx, endpoint: &Endpoint, path: &str) -> io::Result<http::Response> {
    match endpoint {
        Endpoint::Socket(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            http::get(stream, "docker", path)
        }
        Endpoint::Client => {
            let mut child = Command::new("docker")
                .args(["system", "dial-stdio"])
                .envs(ctx.exports.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let answer = http::get(Pipes(&mut child), "docker", path);
            let _ = child.kill();
            let output = child.wait_with_output()?;
            answer.map_err(|error| match String::from_utf8_lossy(&output.stderr).trim() {
                "" => error,
                words => io::Error::other(words.to_owned()),
            })
        }
    }
}

/// A child's stdin and stdout as one stream.
struct Pipes<'a>(&'a mut Child);

impl Read for Pipes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.stdout.as_mut().map_or(Ok(0), |stdout| stdout.read(buffer))
    }
}

impl Write for Pipes<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.stdin.as_mut().map_or(Ok(0), |stdin| stdin.write(buffer))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}
