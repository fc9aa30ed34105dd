//! Stand-ins: images that replace an upstream base image on a machine without
//! access to a registry. This module decides which references can be replaced, by
//! what, and under which name.
//!
//! A stand-in is made from packages of Debian, PyPI and npm. It is good enough to
//! build and test the project's images. It never carries the name of the upstream
//! image, so everybody who lists images sees what it is.

use std::fmt;

use docker_context::dockerfile::BaseConfig;

use crate::model::diagnostic::Diagnostic;
use crate::model::platform::Platform;

/// The registry in the name of a stand-in: a loopback port where nothing listens.
/// BuildKit asks the registry even for an image that the engine has. This
/// registry fails at once: it needs no DNS, which is slow on a machine without
/// network, and no proxy is used for loopback. And nobody can push the image.
pub const DOMAIN: &str = "127.0.0.1:1/stand-in";

/// Where base images come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bases {
    /// Upstream, unless `cargo xtask setup` found that no registry answers.
    #[default]
    Auto,
    /// The original images, from their registries.
    Upstream,
    /// Stand-ins made on this machine.
    Local,
}

/// A base image: the name in the Dockerfile, and the image that the build gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The name in the Dockerfile.
    pub reference: String,
    /// The image that replaces it.
    pub stand_in: Option<String>,
    /// The id of the image that the engine has under this name, if it has one.
    pub id: Option<String>,
    /// Its configuration, if it is known. Every build on it inherits that.
    pub config: Option<BaseConfig>,
}

impl Base {
    /// The upstream image itself.
    pub fn upstream(reference: &str) -> Self {
        Self { reference: reference.to_owned(), stand_in: None, id: None, config: None }
    }

    /// Whether the registry may serve another image under this name tomorrow.
    pub fn can_move(&self) -> bool {
        self.stand_in.is_none() && !self.reference.contains("@sha256:") && self.reference != "scratch"
    }
}

/// The kind of a stand-in: a target of `bases/Dockerfile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandInKind {
    /// `debian:bookworm-slim`.
    Debian,
    /// `python:3.11`.
    Python,
    /// `node:20`.
    Node,
    /// `nginx`, as root on port 80.
    Nginx,
    /// `nginxinc/nginx-unprivileged`, on port 8080.
    NginxUnprivileged,
    /// `ghcr.io/astral-sh/uv`: two binaries and nothing else.
    Uv,
    /// `ghcr.io/astral-sh/uv:python3.11-…`: Python with uv.
    UvPython,
    /// `postgres:15`.
    Postgres,
    /// `redis:7`.
    Redis,
}

impl StandInKind {
    /// The name of the target.
    pub fn target(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Python => "python",
            Self::Node => "node",
            Self::Nginx => "nginx",
            Self::NginxUnprivileged => "nginx-unprivileged",
            Self::Uv => "uv",
            Self::UvPython => "uv-python",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}

impl fmt::Display for StandInKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.target())
    }
}

/// The stand-in for one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The reference in the Dockerfile.
    pub reference: String,
    /// Its kind.
    pub kind: StandInKind,
    /// The version of its program, where there are several: complete, or its
    /// beginning, or empty for the newest.
    pub version: String,
    /// Its name in the engine.
    pub image: String,
    /// How it differs from the original image.
    pub note: Option<String>,
    /// The platforms that it is made for beside the engine's own.
    pub foreign: Vec<Platform>,
}

impl StandIn {
    /// The same for all that an image is needed for, on an engine of this platform.
    pub fn for_platforms(mut self, needed: &[String], own: &str) -> Result<Self, Diagnostic> {
        for name in needed.iter().filter(|name| *name != own) {
            if !FOREIGN.contains(&name.as_str()) {
                let what = format!("there is no stand-in for `{}` on {name}", self.reference);
                return Err(format!("{what}; they are made for linux/amd64 and {}", FOREIGN.join(", ")).into());
            }
            self.foreign.push(name.parse()?);
        }
        Ok(self)
    }
}

/// What stand-ins are made for without running anything of it.
const FOREIGN: [&str; 1] = ["linux/arm64"];

/// The images for which there is a stand-in.
pub const AVAILABLE: &str = "debian:bookworm or 12, python:3.11, node:18, 20, 22 or 24, nginx, \
nginxinc/nginx-unprivileged, ghcr.io/astral-sh/uv, postgres:15, redis:7";

/// The stand-in for a reference, or why there is none.
pub fn stand_in(reference: &str) -> Result<StandIn, Diagnostic> {
    let none = |why: &str| Err(format!("there is no stand-in for `{reference}`{why}; there are: {AVAILABLE}").into());
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let (path, tag) = match name.rsplit_once(':') {
        // A colon before a slash belongs to the port of a registry.
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (name, "latest"),
    };
    if digest.is_some() && path == name {
        return none(" (a digest alone does not tell its version)");
    }
    let Some((name, project)) = project(path) else {
        return none("");
    };
    let words: Vec<&str> = tag.split('-').collect();
    let first = words.first().copied().unwrap_or_default();
    let number = first.starts_with(|c: char| c.is_ascii_digit());
    let within = |version: &str| first == version || first.strip_prefix(version).is_some_and(|r| r.starts_with('.'));
    let (kind, version) = match project {
        Upstream::Debian if within("12") || ["bookworm", "latest", "stable", "slim"].contains(&first) => {
            (StandInKind::Debian, "")
        }
        Upstream::Debian => return none(" (Debian 12 is the only one)"),
        Upstream::Python if within("3.11") || !number || first == "3" => (StandInKind::Python, ""),
        Upstream::Python => return none(" (Python 3.11 is the only one)"),
        Upstream::Node => match first {
            _ if ["18", "20", "22", "24"].into_iter().any(within) => (StandInKind::Node, first),
            "latest" | "current" | "alpine" | "slim" | "bookworm" => (StandInKind::Node, "24"),
            "lts" => (StandInKind::Node, "22"),
            _ => return none(" (Node 18, 20, 22 and 24 are the only ones)"),
        },
        Upstream::Nginx => (StandInKind::Nginx, ""),
        Upstream::NginxUnprivileged => (StandInKind::NginxUnprivileged, ""),
        Upstream::Uv => match words.iter().find_map(|word| word.strip_prefix("python")) {
            Some("3.11" | "3") => (StandInKind::UvPython, if number { first } else { "" }),
            Some(_) => return none(" (Python 3.11 is the only one)"),
            None if number => (StandInKind::Uv, first),
            None if words.len() == 1 && first == "latest" => (StandInKind::Uv, ""),
            None => return none(" (a uv image of another base)"),
        },
        Upstream::Postgres if within("15") || !number => (StandInKind::Postgres, ""),
        Upstream::Postgres => return none(" (Postgres 15 is the only one)"),
        Upstream::Redis if within("7") || !number => (StandInKind::Redis, ""),
        Upstream::Redis => return none(" (Redis 7 is the only one)"),
    };
    let plain = version.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !plain {
        return none(" (its version is no number)");
    }
    let mut notes = Vec::new();
    if words.iter().any(|word| word.starts_with("alpine")) {
        notes.push("Debian instead of Alpine: no apk");
    }
    if digest.is_some() {
        notes.push("not the image of that digest");
    }
    Ok(StandIn {
        reference: reference.to_owned(),
        kind,
        version: version.to_owned(),
        image: format!("{DOMAIN}/{name}:{tag}"),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        foreign: Vec::new(),
    })
}

enum Upstream {
    Debian,
    Python,
    Node,
    Nginx,
    NginxUnprivileged,
    Uv,
    Postgres,
    Redis,
}

/// The well-known image that a path names, on any mirror. A suffix that the
/// project chose stays in the name.
fn project(path: &str) -> Option<(&'static str, Upstream)> {
    let mirrored = path.rsplit_once("library/").filter(|(host, _)| host.is_empty() || host.ends_with('/'));
    let short = match mirrored {
        Some((_, name)) => name,
        None => path.strip_prefix("docker.io/").unwrap_or(path),
    };
    Some(match short {
        "debian" => ("debian", Upstream::Debian),
        "python" => ("python", Upstream::Python),
        "node" => ("node", Upstream::Node),
        "nginx" => ("nginx", Upstream::Nginx),
        "postgres" => ("postgres", Upstream::Postgres),
        "redis" => ("redis", Upstream::Redis),
        _ if short.ends_with("nginxinc/nginx-unprivileged") => ("nginx-unprivileged", Upstream::NginxUnprivileged),
        _ if short.ends_with("astral-sh/uv") => ("uv", Upstream::Uv),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_a_registry_answers_for_can_move() {
        assert!(Base::upstream("python:3.11").can_move());
        // The engine's copy says nothing about the registry's.
        assert!(Base { id: Some("1".into()), ..Base::upstream("python:3.11") }.can_move());
        assert!(!Base::upstream("python:3.11@sha256:00").can_move());
        assert!(!Base::upstream("scratch").can_move());
        assert!(!Base { stand_in: Some("s".into()), ..Base::upstream("python:3.11") }.can_move());
    }

    fn row(reference: &str) -> String {
        match stand_in(reference) {
            Ok(it) => format!("{} {:?} {} {}", it.kind, it.version, it.image, it.note.unwrap_or_default()),
            Err(why) => format!("- {}", why.message.split(';').next().unwrap_or_default()),
        }
    }

    #[test]
    fn each_reference_has_its_stand_in_or_its_reason() {
        for (reference, expected) in [
            ("debian:bookworm-slim", "debian \"\" 127.0.0.1:1/stand-in/debian:bookworm-slim "),
            ("debian:12.9", "debian \"\" 127.0.0.1:1/stand-in/debian:12.9 "),
            ("debian:trixie", "- there is no stand-in for `debian:trixie` (Debian 12 is the only one)"),
            ("debian:120", "- there is no stand-in for `debian:120` (Debian 12 is the only one)"),
            ("python:3.11-slim-bookworm", "python \"\" 127.0.0.1:1/stand-in/python:3.11-slim-bookworm "),
            (
                "docker.io/library/python:3.11.9-alpine",
                "python \"\" 127.0.0.1:1/stand-in/python:3.11.9-alpine Debian instead of Alpine: no apk",
            ),
            ("python:3.12", "- there is no stand-in for `python:3.12` (Python 3.11 is the only one)"),
            ("python:3.110", "- there is no stand-in for `python:3.110` (Python 3.11 is the only one)"),
            ("python", "python \"\" 127.0.0.1:1/stand-in/python:latest "),
            (
                "node:20-alpine3.20",
                "node \"20\" 127.0.0.1:1/stand-in/node:20-alpine3.20 Debian instead of Alpine: no apk",
            ),
            ("node:20.20.2-slim", "node \"20.20.2\" 127.0.0.1:1/stand-in/node:20.20.2-slim "),
            ("node:21", "- there is no stand-in for `node:21` (Node 18, 20, 22 and 24 are the only ones)"),
            ("node", "node \"24\" 127.0.0.1:1/stand-in/node:latest "),
            ("node:lts", "node \"22\" 127.0.0.1:1/stand-in/node:lts "),
            ("mirror.example:5000/library/node", "node \"24\" 127.0.0.1:1/stand-in/node:latest "),
            ("mirror.example:5000/library/node:22", "node \"22\" 127.0.0.1:1/stand-in/node:22 "),
            (
                "nginx:1.27-alpine@sha256:00",
                "nginx \"\" 127.0.0.1:1/stand-in/nginx:1.27-alpine Debian instead of Alpine: no apk; not the image of that digest",
            ),
            (
                "nginx@sha256:00",
                "- there is no stand-in for `nginx@sha256:00` (a digest alone does not tell its version)",
            ),
            (
                "nginxinc/nginx-unprivileged:stable",
                "nginx-unprivileged \"\" 127.0.0.1:1/stand-in/nginx-unprivileged:stable ",
            ),
            ("ghcr.io/astral-sh/uv:0.13.9", "uv \"0.13.9\" 127.0.0.1:1/stand-in/uv:0.13.9 "),
            ("ghcr.io/astral-sh/uv", "uv \"\" 127.0.0.1:1/stand-in/uv:latest "),
            (
                "ghcr.io/astral-sh/uv:0.13-python3.11-bookworm",
                "uv-python \"0.13\" 127.0.0.1:1/stand-in/uv:0.13-python3.11-bookworm ",
            ),
            (
                "ghcr.io/astral-sh/uv:alpine",
                "- there is no stand-in for `ghcr.io/astral-sh/uv:alpine` (a uv image of another base)",
            ),
            (
                "postgres:15-alpine",
                "postgres \"\" 127.0.0.1:1/stand-in/postgres:15-alpine Debian instead of Alpine: no apk",
            ),
            ("postgres:16", "- there is no stand-in for `postgres:16` (Postgres 15 is the only one)"),
            ("redis", "redis \"\" 127.0.0.1:1/stand-in/redis:latest "),
            ("redis:6", "- there is no stand-in for `redis:6` (Redis 7 is the only one)"),
            ("localhost:5000/mine", "- there is no stand-in for `localhost:5000/mine`"),
            ("notlibrary/node:20", "- there is no stand-in for `notlibrary/node:20`"),
            ("", "- there is no stand-in for ``"),
        ] {
            assert_eq!(row(reference), expected);
        }
    }

    #[test]
    fn a_stand_in_is_made_for_another_platform_where_one_can_be() {
        let of = |needed: &[&str]| {
            let needed: Vec<String> = needed.iter().map(ToString::to_string).collect();
            let made = stand_in("python:3.11").unwrap().for_platforms(&needed, "linux/amd64");
            made.map(|it| it.foreign.iter().map(Platform::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(of(&[]), Ok(String::new()));
        assert_eq!(of(&["linux/amd64"]), Ok(String::new()));
        assert_eq!(of(&["linux/amd64", "linux/arm64"]), Ok("linux/arm64".into()));
        assert_eq!(of(&["linux/arm64"]), Ok("linux/arm64".into()));
        let refused = of(&["linux/arm64", "linux/riscv64"]).unwrap_err().message;
        assert!(refused.starts_with("there is no stand-in for `python:3.11` on linux/riscv64; "), "{refused}");
    }

    #[test]
    fn a_stand_in_never_has_an_upstreams_name_and_rubbish_no_panic() {
        crate::model::cases::cases(1000, |u| {
            let text: String = u.arbitrary()?;
            if let Ok(it) = stand_in(&text) {
                assert!(it.image.starts_with(DOMAIN));
            }
            Ok(())
        });
    }
}
