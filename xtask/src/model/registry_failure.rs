//! Why a registry did not do what it was asked for, by what buildx and the
//! engine say of it.

use std::fmt;

/// What a registry, or the way to it, answered instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryFailure {
    /// It has nothing of that name.
    Missing,
    /// It wants a login, or another one.
    Denied,
    /// Too many requests.
    Busy,
    /// It has a fault of its own.
    Broken,
    /// The connection ended in the middle.
    Cut,
    /// There was no answer in time.
    Late,
    /// Nobody is there, or nobody whom we trust.
    Unreached,
    /// Something else.
    Other,
}

use RegistryFailure::{Broken, Busy, Cut, Denied, Late, Missing, Other, Unreached};

/// The words that tell; the first that is found counts.
const WORDS: [(&str, RegistryFailure); 25] = [
    ("429 too many", Busy),
    ("toomanyrequests", Busy),
    ("500 internal", Broken),
    ("502 bad", Broken),
    ("503 service", Broken),
    ("504 gateway", Broken),
    ("401 ", Denied),
    ("403 ", Denied),
    ("unauthorized", Denied),
    ("forbidden", Denied),
    ("denied", Denied),
    ("insufficient_scope", Denied),
    ("failed to authorize", Denied),
    (": not found", Missing),
    ("manifest unknown", Missing),
    ("404 not found", Missing),
    ("connection reset", Cut),
    ("broken pipe", Cut),
    ("unexpected eof", Cut),
    (": eof", Cut),
    ("i/o timeout", Late),
    ("deadline exceeded", Late),
    ("timeout awaiting", Late),
    ("handshake timeout", Late),
    ("failed to do request", Unreached),
];

impl RegistryFailure {
    /// What a command's last error says.
    pub fn of(said: &str) -> Self {
        let lower = said.to_lowercase();
        let last = lower.lines().rev().find(|line| line.starts_with("error")).or_else(|| lower.lines().last());
        let last = last.unwrap_or_default();
        WORDS.iter().find(|(words, _)| last.contains(words)).map_or(Other, |(_, failure)| *failure)
    }

    /// Whether it may be another answer in a moment.
    pub fn may_pass(self) -> bool {
        matches!(self, Busy | Broken | Cut)
    }

    /// What to do about it.
    pub fn help(self, host: &str) -> String {
        match self {
            Missing => {
                format!("{host} has nothing with that name, or shows it only after a login: `docker login {host}`")
            }
            Denied => format!("{host} needs a login with that permission: `docker login {host}`"),
            Busy => format!("{host} got too many requests: wait a while, or log in: `docker login {host}`"),
            Broken => format!("{host} has failed: see its log and its status page"),
            Cut => format!("the connection to {host} ended in the middle, several times: is there a proxy on the way?"),
            Late => format!("{host} was reached, but does not answer: see its status page or its log"),
            Unreached => format!(
                "the engine does not reach {host}: is it the right `--registry`, does it run, does the engine know its certificate?"
            ),
            Other => format!("the answer of {host} is above"),
        }
    }
}

impl fmt::Display for RegistryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing => "it does not exist",
            Denied => "access is denied",
            Busy => "too many requests",
            Broken => "the registry is broken",
            Cut => "the connection was cut",
            Late => "no answer in time",
            Unreached => "the host was not reached",
            Other => "an unexpected answer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_registry_tells_what_to_do() {
        for (said, expected, may_pass) in [
            ("ERROR: 127.0.0.1:5055/w:nope: not found", Missing, false),
            ("ERROR: unexpected status from HEAD request to http://r/v2/x/manifests/1: 404 Not Found", Missing, false),
            ("manifest unknown: manifest unknown", Missing, false),
            (
                "ERROR: unexpected status from HEAD request to http://r/v2/x/manifests/1: 401 Unauthorized",
                Denied,
                false,
            ),
            (
                "ERROR: failed to authorize: failed to fetch anonymous token: unexpected status: 403 Forbidden",
                Denied,
                false,
            ),
            ("ERROR: pull access denied, repository does not exist: insufficient_scope", Denied, false),
            (
                "ERROR: unexpected status from HEAD request to http://r/v2/x/manifests/1: 429 Too Many Requests",
                Busy,
                true,
            ),
            ("ERROR: toomanyrequests: You have reached your pull rate limit", Busy, true),
            (
                "ERROR: failed to solve: failed to push r/x: unexpected status from POST request to http://r/v2/: 500 Internal Server Error",
                Broken,
                true,
            ),
            ("ERROR: unexpected status: 502 Bad Gateway", Broken, true),
            ("ERROR: failed to do request: Head \"http://r/v2/x/manifests/1\": EOF", Cut, true),
            ("ERROR: failed to do request: Put \"http://r/v2/\": write tcp: connection reset by peer", Cut, true),
            ("ERROR: failed to copy: unexpected EOF", Cut, true),
            ("ERROR: failed to do request: Head \"http://r/v2/\": dial tcp 10.0.0.1:5000: i/o timeout", Late, false),
            (
                "ERROR: failed to do request: Head \"http://127.0.0.1:9/v2/\": dial tcp 127.0.0.1:9: connect: connection refused",
                Unreached,
                false,
            ),
            (
                "ERROR: failed to do request: Head \"https://r/v2/\": x509: certificate signed by unknown authority",
                Unreached,
                false,
            ),
            // A step of the build says anything.
            (
                "#5 500 Internal Server Error\nERROR: failed to solve: process \"/bin/sh -c false\" did not complete",
                Other,
                false,
            ),
            ("", Other, false),
        ] {
            let found = RegistryFailure::of(said);
            assert_eq!((found, found.may_pass()), (expected, may_pass), "{said}");
            assert!(found.help("r.io").contains("r.io") && !found.to_string().is_empty(), "{said}");
        }
    }
}
