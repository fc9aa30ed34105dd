//! Why a build failed, according to the messages of buildx and the tools in it. A
//! registry that refuses a push needs another remedy than one that does not
//! deliver a base image.

/// The cause of a failed build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildFailure {
    /// A disk is full.
    DiskFull,
    /// The registry requires a login with write access.
    PushDenied(String),
    /// The registry for the push can't be reached.
    PushUnreached(String),
    /// The registry refused the pushed image.
    PushRefused(String),
    /// The registry of a base image requires a login.
    PullDenied(String),
    /// The registry has no such base image.
    PullMissing(String),
    /// The registry of a base image can't be reached.
    PullUnreached,
    /// The base image does not exist for the platform.
    NoPlatform,
    /// A step could not verify a TLS certificate.
    Certificate,
    /// A step could not download packages from Debian's mirror.
    Mirror,
    /// The engine has gone.
    EngineGone,
}

const DENIED: [&str; 7] =
    ["401 ", "403 ", "unauthorized", "forbidden", "denied", "insufficient_scope", "failed to authorize"];
const UNREACHED: [&str; 9] = [
    "failed to do request",
    "no such host",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "deadline exceeded",
    "x509:",
    "tls:",
    "network is unreachable",
];
const MISSING: [&str; 3] = [": not found", "manifest unknown", "404 "];

impl BuildFailure {
    /// The cause of a failed build; `None` if a step of the Dockerfile failed, or
    /// if the cause is unknown.
    pub fn of(said: &str) -> Option<Self> {
        let all = said.to_lowercase();
        let any = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
        if all.contains("no space left on device") {
            return Some(Self::DiskFull);
        }
        // Everything before is the output of steps, which may say anything.
        let last = all.lines().rev().find(|line| line.starts_with("error: ")).unwrap_or_default();
        if any(last, &["cannot connect to the docker daemon", "error during connect"]) {
            return Some(Self::EngineGone);
        }
        if let Some((_, rest)) = last.split_once("failed to push ") {
            let host = host(rest);
            return Some(if any(rest, &DENIED) {
                Self::PushDenied(host)
            } else if any(rest, &UNREACHED) {
                Self::PushUnreached(host)
            } else {
                Self::PushRefused(host)
            });
        }
        if last.contains("no match for platform") {
            return Some(Self::NoPlatform);
        }
        let base = ["failed to resolve source metadata for ", "failed to copy: ", "failed to do request"];
        if any(last, &base) || last.contains("pull access denied") {
            let name = last.split_once(base[0]).map_or("", |(_, rest)| rest);
            return Some(if any(last, &MISSING) {
                Self::PullMissing(name.split(": ").next().unwrap_or_default().to_owned())
            } else if any(last, &DENIED) {
                Self::PullDenied(host(name))
            } else {
                Self::PullUnreached
            });
        }
        if any(&all, &["certificate verify failed", "self-signed certificate", "unable_to_get_issuer_cert"]) {
            return Some(Self::Certificate);
        }
        let apt = |line: &str| {
            let line = line.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            ["e: failed to fetch", "w: failed to fetch", "e: unable to fetch"].iter().any(|said| line.starts_with(said))
        };
        all.lines().any(apt).then_some(Self::Mirror)
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::DiskFull => {
                "the disk is full: `cargo xtask docker clean`, `docker builder prune`, or free some space".into()
            }
            Self::PushDenied(host) => {
                format!("{host} does not accept an image from this login: `docker login {host}` with one that may write there")
            }
            Self::PushUnreached(host) => format!(
                "the image was built, and the engine does not reach {host}: is it the right `--registry`, does it run, does the engine know its certificate?"
            ),
            Self::PushRefused(host) => {
                format!("the image was built, and {host} did not take it: its answer is above, the reason in its log")
            }
            Self::PullDenied(host) => format!(
                "a base image is not available: {host} does not give it to this login: `docker login {host}`; or there is none of that name"
            ),
            Self::PullMissing(name) => {
                format!("a base image is not available: its registry has no {name}; is it spelled right in the Dockerfile?")
            }
            Self::PullUnreached => {
                "a base image is not available; without a reachable registry: `cargo xtask setup --yes`, or `--bases local`"
                    .into()
            }
            Self::NoPlatform => {
                "a base image is not made for this platform: another `--platform`, or another base".into()
            }
            Self::Certificate => "a step does not trust the certificate of the other side; behind a proxy with its own: `SSL_CERT_FILE` (docs/troubleshooting.md)".into(),
            Self::Mirror => "a step did not get packages from Debian's mirror: can apt in that image reach it?".into(),
            Self::EngineGone => "the engine is gone: `cargo xtask engine status`, then `cargo xtask setup`".into(),
        }
    }
}

/// The advice if the cause is unknown. On a terminal buildx writes to the screen
/// itself, so we don't see whether a push failed or a base image.
pub fn unknown(said: &str) -> &'static str {
    match said {
        "" => "the reason is above; `--progress plain` shows the whole log, and a hint for it",
        _ => "the failing step and its last lines are above; `--progress plain` shows the whole log",
    }
}

/// The registry of a reference, as `docker login` expects it.
fn host(reference: &str) -> String {
    let reference = reference.split(": ").next().unwrap_or_default();
    let host = reference.split_once('/').map(|(host, _)| host);
    let host = host.filter(|host| host.contains(['.', ':']) || *host == "localhost");
    host.unwrap_or("docker.io").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of buildx 0.13 on Docker 26 and of the tools, each provoked once:
    /// closed ports, names that don't exist, Debian's docker-registry with a
    /// login, read-only and on a disk of 3 MB, a 403 response, small disks. The
    /// last two come from the documentation of Docker Hub and ghcr.io.
    #[test]
    fn what_buildx_says_tells_why_a_build_failed() {
        use BuildFailure::{
            Certificate, DiskFull, EngineGone, Mirror, NoPlatform, PullDenied, PullMissing, PullUnreached, PushDenied,
            PushRefused, PushUnreached,
        };
        let at = |port: &str| format!("127.0.0.1:{port}");
        for (said, expected) in [
            (
                "failed to solve: failed to push 127.0.0.1:9/x:1: failed to do request: Head \"https://127.0.0.1:9/v2/x/blobs/sha256:a1d8\": dial tcp 127.0.0.1:9: connect: connection refused",
                Some(PushUnreached(at("9"))),
            ),
            (
                "failed to solve: failed to push nowhere.invalid/x:1: failed to do request: Head \"https://nowhere.invalid/v2/x/blobs/sha256:08b7\": dial tcp: lookup nowhere.invalid on 10.0.0.53:53: no such host",
                Some(PushUnreached("nowhere.invalid".into())),
            ),
            (
                "failed to solve: failed to push 10.0.0.1:5000/x:1: failed to do request: Head \"https://10.0.0.1:5000/v2/x/blobs/sha256:a1d8\": tls: failed to verify certificate: x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
                Some(PushUnreached("10.0.0.1:5000".into())),
            ),
            (
                "failed to solve: failed to push 127.0.0.1:32774/x:1: unexpected status from HEAD request to http://127.0.0.1:32774/v2/x/blobs/sha256:a1d8: 401 Unauthorized",
                Some(PushDenied(at("32774"))),
            ),
            (
                "failed to solve: failed to push 127.0.0.1:32774/x:1: unexpected status from HEAD request to http://127.0.0.1:32774/v2/x/blobs/sha256:a1d8: 403 Forbidden",
                Some(PushDenied(at("32774"))),
            ),
            (
                "failed to solve: failed to push 127.0.0.1:32775/x:1: unexpected status from POST request to http://127.0.0.1:32775/v2/x/blobs/uploads/: 405 Method Not Allowed",
                Some(PushRefused(at("32775"))),
            ),
            (
                "failed to solve: failed to push 127.0.0.1:32773/x:1: unexpected status from POST request to http://127.0.0.1:32773/v2/x/blobs/uploads/: 500 Internal Server Error",
                Some(PushRefused(at("32773"))),
            ),
            (
                "failed to solve: 127.0.0.1:9/b:1: failed to resolve source metadata for 127.0.0.1:9/b:1: failed to do request: Head \"https://127.0.0.1:9/v2/b/manifests/1\": dial tcp 127.0.0.1:9: connect: connection refused",
                Some(PullUnreached),
            ),
            (
                "failed to solve: nowhere.invalid/b:1: failed to resolve source metadata for nowhere.invalid/b:1: failed to do request: Head \"https://nowhere.invalid/v2/b/manifests/1\": dial tcp: lookup nowhere.invalid on 10.0.0.53:53: no such host",
                Some(PullUnreached),
            ),
            (
                "failed to solve: 127.0.0.1:32773/none:1: failed to resolve source metadata for 127.0.0.1:32773/none:1: 127.0.0.1:32773/none:1: not found",
                Some(PullMissing("127.0.0.1:32773/none:1".into())),
            ),
            (
                "failed to solve: 127.0.0.1:32774/b:1: failed to resolve source metadata for 127.0.0.1:32774/b:1: unexpected status from HEAD request to http://127.0.0.1:32774/v2/b/manifests/1: 401 Unauthorized",
                Some(PullDenied(at("32774"))),
            ),
            (
                "failed to solve: 127.0.0.1:47812/b:1: failed to resolve source metadata for 127.0.0.1:47812/b:1: unexpected status from HEAD request to http://127.0.0.1:47812/v2/b/manifests/1: 403 Forbidden",
                Some(PullDenied(at("47812"))),
            ),
            ("failed to solve: python:3.11: no match for platform in manifest: not found", Some(NoPlatform)),
            (
                "failed to solve: failed to copy to tar: rpc error: code = Unknown desc = write small/o.tar: no space left on device",
                Some(DiskFull),
            ),
            (
                "failed to solve: error writing layer blob: failed to copy: failed to send write: write small/c/ingest/9a5c/data: no space left on device: unknown",
                Some(DiskFull),
            ),
            ("Cannot connect to the Docker daemon at unix:///nope. Is the docker daemon running?", Some(EngineGone)),
            ("failed to solve: process \"/bin/sh -c false\" did not complete successfully: exit code: 1", None),
            ("failed to solve: push access denied, repository does not exist or may require authorization", None),
            (
                "failed to solve: x/y: failed to resolve source metadata for docker.io/x/y:latest: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Some(PullDenied("docker.io".into())),
            ),
            ("failed to solve: failed to push localhost/x:1: 401 Unauthorized", Some(PushDenied("localhost".into()))),
            ("failed to solve: failed to push o/x:1: 401 Unauthorized", Some(PushDenied("docker.io".into()))),
            (
                "failed to solve: failed to push ghcr.io/o/x:1: denied: permission_denied: write_package",
                Some(PushDenied("ghcr.io".into())),
            ),
        ] {
            let log = format!("#4 [1/2] RUN make\n#4 0.1 failed to push 1.2.3.4/x: 401 Unauthorized\nERROR: {said}");
            assert_eq!(BuildFailure::of(&log), expected, "{said}");
        }
        let step = "ERROR: failed to solve: process \"/bin/sh -c apt-get install -y hello\" did not complete successfully: exit code: 100";
        for (log, expected) in [
            (
                "#5 7.292 W: Failed to fetch http://127.0.0.1:9/debian/dists/bookworm/InRelease  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)",
                Some(Mirror),
            ),
            (
                "#5 7.2 E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
                Some(Mirror),
            ),
            (
                "#5 0.668 urllib.error.URLError: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:992)>",
                Some(Certificate),
            ),
            ("#5 1.2 head: error writing '/t/x': No space left on device", Some(DiskFull)),
            ("#5 7.320 E: Unable to locate package hello", None),
            ("#5 7.2 cache: failed to fetch http://a.example/x", None),
            ("#5 1.0 error: failed to push 1.2.3.4/x: 401", None),
        ] {
            assert_eq!(BuildFailure::of(&format!("{log}\n{step}")), expected, "{log}");
        }
        assert_eq!(BuildFailure::of(""), None);
    }

    #[test]
    fn a_push_is_never_helped_with_base_images() {
        for complaint in [
            BuildFailure::PushDenied("r".into()),
            BuildFailure::PushUnreached("r".into()),
            BuildFailure::PushRefused("r".into()),
        ] {
            assert!(!complaint.help().contains("base image") && complaint.help().contains(" r"), "{complaint:?}");
        }
        // With no message, or none that is understood, there is no advice.
        for said in ["", "ERROR: failed to solve: x"] {
            let help = unknown(said);
            assert_eq!(BuildFailure::of(said), None);
            assert!(help.contains("`--progress plain`") && !help.contains("base") && !help.contains("push"), "{help}");
        }
        assert!(unknown("").contains("hint") && !unknown("").contains("step"), "buildx may have had no step to fail");
    }
}
