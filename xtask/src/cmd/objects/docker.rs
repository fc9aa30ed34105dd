//! The objects of `docker …`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::ctx::Object;
use crate::model::platform::Platform;

/// Printed by `docker SERVICE`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageObject {
    /// Its name in services.toml.
    pub service: String,
    /// The name of its image, without registry and tag.
    pub image: String,
    /// All its tags, as complete references.
    pub tags: Vec<String>,
    /// The digest of the index or manifest.
    pub digest: Option<String>,
    /// Its platforms.
    pub platforms: Vec<Platform>,
    /// Its unpacked size, the base included; `None`: it is not in the engine.
    pub size_bytes: Option<u64>,
    /// How long the build took.
    pub seconds: f64,
    /// The result of the build.
    pub outcome: BuildOutcome,
    /// Its fingerprint, if it is known.
    pub fingerprint: Option<String>,
    /// Problems that did not stop the build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// With `--test` or `--push`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Proved>,
    /// With `--push`: the platforms that were not proved, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_proved: Vec<NotProved>,
}

/// A platform that nothing was proved of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotProved {
    /// Which.
    pub platform: String,
    /// For people.
    pub why: String,
}

/// The result of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildOutcome {
    /// BuildKit built it.
    Built,
    /// The image existed already.
    UpToDate,
    /// It was in the registry already.
    Promoted,
    /// There is no image.
    Failed,
}

impl fmt::Display for BuildOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Built => "built",
            Self::UpToDate => "up-to-date",
            Self::Promoted => "promoted",
            Self::Failed => "failed",
        })
    }
}

/// Printed by `docker all`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Images {
    /// One per service.
    pub results: Vec<OneOfAll>,
    /// With `--test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Proved>,
}

/// The result for one service of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OneOfAll {
    /// An image.
    Image(Box<ImageObject>),
    /// A failure.
    Failed {
        /// Its name in services.toml.
        service: String,
        /// [`BuildOutcome::Failed`].
        outcome: BuildOutcome,
        /// The error.
        error: String,
    },
}

/// Printed by `docker test`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proved {
    /// Whether all checks passed.
    pub passed: bool,
    /// One per role of each service.
    pub results: Vec<Proof>,
}

/// The checks of one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Proof {
    /// Its name in services.toml.
    pub service: String,
    /// Its role, if the service has roles.
    pub role: Option<String>,
    /// Its platform, of an image that a registry holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The checks.
    pub checks: Vec<Check>,
    /// How long it took until the first answer.
    pub seconds_to_ready: Option<f64>,
    /// Whether all checks passed.
    pub passed: bool,
    /// The log of a failed container, for people.
    #[serde(skip)]
    pub log: String,
}

/// One check of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The check, and the servers that ran.
    pub name: CheckName,
    /// Whether it passed.
    pub passed: bool,
    /// The expected and the actual value.
    pub detail: String,
}

/// The name of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckName {
    /// What is checked.
    pub what: Checked,
    /// The servers that ran next to the container, if it needs any.
    pub servers: Servers,
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The size of the image.
    Size,
    /// The start of the container.
    Start,
    /// An answer in time.
    Ready,
    /// The status of the answer.
    Health,
    /// Whether the answer names the missing servers.
    NamesMissing,
    /// The users of its processes.
    NotRoot,
    /// Whether the root file system is read-only.
    ReadOnly,
    /// How it ends after SIGTERM.
    Stops,
}

/// The servers next to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// It needs none.
    Nothing,
    /// All servers that it needs.
    Needs,
    /// None of the servers that it needs.
    NoNeeds,
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.what {
            Checked::Size => "size",
            Checked::Start => "start",
            Checked::Ready => "ready",
            Checked::Health => "health",
            Checked::NamesMissing => "names what is missing",
            Checked::NotRoot => "not root",
            Checked::ReadOnly => "read-only",
            Checked::Stops => "stops",
        })?;
        f.write_str(match self.servers {
            Servers::Nothing => "",
            Servers::Needs => " with dependencies",
            Servers::NoNeeds => " without dependencies",
        })
    }
}

impl Serialize for CheckName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Printed by `docker clean`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// The items that were removed, or would be.
    pub removed: Vec<CleanItem>,
    /// The items of ours that stay.
    pub left: Vec<CleanItem>,
    /// How many bytes were freed.
    pub freed_bytes: u64,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanItem {
    /// Its kind.
    pub kind: CleanKind,
    /// Its id in the engine, or its path.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its own size.
    pub bytes: u64,
    /// Why it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The kinds of things that can be cleaned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CleanKind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// An image, or one of its names.
    Image,
    /// A folder of `--cache local`.
    Cache,
}

impl fmt::Display for CleanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Image => "image",
            Self::Cache => "cache",
        })
    }
}

/// Printed by `docker up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Up {
    /// The addresses, by name.
    pub addresses: BTreeMap<String, String>,
    /// The file with the passwords of published servers.
    pub credentials: Option<String>,
}

/// Printed by `docker down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Down {
    /// How many containers and networks were removed.
    pub removed: usize,
}

impl Object for ImageObject {}
impl Object for Images {}
impl Object for Proved {}
impl Object for Cleaned {}
impl Object for Up {}
impl Object for Down {}
