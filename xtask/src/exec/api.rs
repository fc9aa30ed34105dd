//! Reads from the Docker Engine's API.
//!
//! Reads go straight to the socket and take about a millisecond; each `docker`
//! process takes thirty. Changes are always made by a `docker` command line that
//! a person can paste. An endpoint that is not a local socket (ssh, TLS, a
//! context) is reached through `docker system dial-stdio`, so there is one
//! protocol and one code path.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;

use crate::ctx::Ctx;
use crate::exec::http::{self, Response, ResponseLimits, Route};
use crate::exec::interrupt;
use crate::exec::spawn::{self, Call};
use crate::fault;
use crate::plan::step::Step;

/// How the engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket on this machine.
    Socket(Utf8PathBuf),
    /// The endpoint of the docker client's own configuration.
    Client,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => write!(f, "unix://{socket}"),
            Self::Client => f.write_str("`docker system dial-stdio`"),
        }
    }
}

/// Only a hung engine takes longer to answer, and no answer is larger.
const QUESTION: ResponseLimits = ResponseLimits { time: Duration::from_secs(30), bytes: 64 * 1024 * 1024 };
/// A ping takes the engine no time.
const PING: ResponseLimits = ResponseLimits { time: Duration::from_secs(10), bytes: 64 * 1024 };

/// Sends `GET route`; `None` means a 404. Clean-up code passes a `stop` that
/// ignores the interrupt.
pub fn get<T: DeserializeOwned>(
    ctx: &Ctx,
    endpoint: &Endpoint,
    route: &Route,
    cleans_up: bool,
) -> anyhow::Result<Option<T>> {
    let answer = request(ctx, endpoint, route, QUESTION, cleans_up).map_err(|error| {
        let told = fault::failed(format!("the engine at {endpoint} was asked for GET {}: {error}", route.path()));
        if error.kind() == io::ErrorKind::Interrupted { fault::interrupted() } else { told }
    })?;
    match answer.status {
        404 => Ok(None),
        _ => understood(endpoint, route, &answer).map(Some).map_err(Into::into),
    }
}

fn understood<T: DeserializeOwned>(endpoint: &Endpoint, route: &Route, answer: &Response) -> Result<T, fault::Fault> {
    if answer.status != 200 {
        let words = start(&answer.text(), 300);
        let fault = fault::failed(format!(
            "the engine at {endpoint} answered GET {} with status {}: {words}",
            route.path(),
            answer.status
        ));
        // dockerd still answers a ping if its containerd is gone.
        return Err(match answer.status {
            503 => fault.help("does its containerd run? `sudo systemctl restart containerd docker` restarts both"),
            _ => fault,
        });
    }
    serde_json::from_slice(&answer.body).map_err(|why| {
        if why.is_data() {
            return fault::failed(format!(
                "the engine at {endpoint} gave an unexpected answer to GET {}: {}",
                route.path(),
                misfit(&answer.text(), &why)
            ))
            .help("is it a Docker Engine, or only a similar one? `docker version` asks the same engine");
        }
        let words = match answer.text() {
            text if text.is_empty() => "nothing".to_owned(),
            text => format!("{:?}", start(&text, 80)),
        };
        fault::failed(format!(
            "the engine at {endpoint} did not answer GET {} with JSON ({why}); the answer begins {words}",
            route.path()
        ))
        .help("is a Docker Engine there? `docker version` asks the same engine")
    })
}

/// Which field of a JSON answer is missing or has the wrong type: serde only
/// reports where a value ends, so the name is searched before that position.
fn misfit(text: &str, why: &serde_json::Error) -> String {
    let says = why.to_string();
    let says = says.split(" at line ").next().unwrap_or_default();
    let before = text.split_inclusive('\n').take(why.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let read = text.get(..before + why.column()).unwrap_or_default();
    let name = read.rmatch_indices("\":").find_map(|(end, _)| read[..end].rsplit('"').next());
    match name.filter(|_| !says.starts_with("missing field")) {
        Some(name) => format!("`{name}`: {says}"),
        None => says.to_owned(),
    }
}

fn start(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether an engine answers; the error says why not. An interrupt ends the ping,
/// because callers shut an engine down afterwards.
pub fn ping(ctx: &Ctx, endpoint: &Endpoint) -> io::Result<()> {
    let answer = request(ctx, endpoint, &Route::new(&["_ping"]), PING, interrupt::raised())?;
    match (answer.status, answer.text().as_str()) {
        (200, "OK") => Ok(()),
        (200, text) => {
            let what = format!("what answers there is no Docker Engine: expected `OK`, got {:?}", start(text, 80));
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
        (status, text) => Err(io::Error::other(format!("status {status}: {}", start(text, 300)))),
    }
}

fn request(
    ctx: &Ctx,
    endpoint: &Endpoint,
    route: &Route,
    bounds: ResponseLimits,
    cleans_up: bool,
) -> io::Result<Response> {
    let stop = || !cleans_up && interrupt::raised();
    match endpoint {
        Endpoint::Socket(socket) => {
            let socket = socket.clone();
            let open = move || {
                let stream = UnixStream::connect(socket)?;
                // So that the thread ends soon after its request.
                stream.set_read_timeout(Some(bounds.time))?;
                stream.set_write_timeout(Some(bounds.time))?;
                Ok(stream)
            };
            http::get(open, "docker", route, bounds, stop)
        }
        Endpoint::Client => {
            let step = Step::new("docker").args(["system", "dial-stdio"]);
            let (process, talk, stderr) = spawn::talking(&Call::of(ctx, &step))?;
            let words = words(stderr);
            let answer = http::get(|| Ok(talk), "docker", route, bounds, stop);
            // It prints the reason for a failure before it exits.
            let words = answer.is_err().then(|| words.recv_timeout(Duration::from_millis(500)).ok()).flatten();
            process.end();
            answer.map_err(|error| match words.as_deref().map(str::trim) {
                None | Some("") => error,
                Some(words) => io::Error::new(error.kind(), words.to_owned()),
            })
        }
    }
}

/// The stderr of a child, read to its end; or its beginning, if it never ends.
fn words(stderr: impl Read + Send + 'static) -> Receiver<String> {
    let (to, words) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.take(16 * 1024).read_to_end(&mut bytes);
        let _ = to.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::engine::answers::Version;

    #[test]
    fn an_answer_that_is_not_the_engines_says_who_was_asked_and_what_came() {
        let said = |status, body: &str| {
            let answer = Response { status, body: body.as_bytes().to_vec() };
            let endpoint = Endpoint::Socket("/x.sock".into());
            understood::<Version>(&endpoint, &Route::new(&["info"]), &answer).map_err(|fault| fault.to_string())
        };
        assert!(said(200, r#"{"Version":"26.1.5","Os":"linux","Arch":"amd64"}"#).is_ok());
        for (status, body, expected) in [
            (
                200,
                "<html>",
                "did not answer GET /info with JSON (expected value at line 1 column 1); the answer begins \"<html>\"",
            ),
            (
                200,
                "",
                "did not answer GET /info with JSON (EOF while parsing a value at line 1 column 0); the answer begins nothing",
            ),
            (200, "{}", "gave an unexpected answer to GET /info: missing field `Version`"),
            (
                200,
                "{\n  \"Version\": null,\n  \"Os\":\"linux\"}",
                "gave an unexpected answer to GET /info: `Version`: invalid type: null, expected a string",
            ),
            (
                200,
                "{\"Version\":\"ü\",\"Os\":[\"linux\"]}",
                "gave an unexpected answer to GET /info: `Os`: invalid type: sequence, expected a string",
            ),
            (
                200,
                "\"x\"",
                "gave an unexpected answer to GET /info: invalid type: string \"x\", expected struct Version",
            ),
            (503, "no\n", "answered GET /info with status 503: no"),
        ] {
            assert_eq!(said(status, body).unwrap_err(), format!("the engine at unix:///x.sock {expected}"));
        }
        assert!(said(500, &"x".repeat(5000)).unwrap_err().len() < 400);
    }
}
