//! What `docker …` prints.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::ctx::Object;
use crate::model::platform::Platform;

/// Of `docker SERVICE`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageObject {
    /// Its name in services.toml.
    pub service: String,
    /// The image's, without registry and tag.
    pub image: String,
    /// The whole names that it has now.
    pub tags: Vec<String>,
    /// That of the index or manifest that was made.
    pub digest: Option<String>,
    /// What it is for.
    pub platforms: Vec<Platform>,
    /// As unpacked, the base included; none: it is not in the engine.
    pub size_bytes: Option<u64>,
    /// How long it took.
    pub seconds: f64,
    /// What became of it.
    pub outcome: BuildOutcome,
    /// What it was made of, where that is known.
    pub fingerprint: Option<String>,
    /// What went wrong beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// With `--test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Proved>,
}

/// What became of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildOutcome {
    /// BuildKit made it.
    Built,
    /// It was there already.
    UpToDate,
    /// There is none.
    Failed,
}

impl fmt::Display for BuildOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Built => "built",
            Self::UpToDate => "up-to-date",
            Self::Failed => "failed",
        })
    }
}

/// Of `docker all`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Images {
    /// One for each service.
    pub results: Vec<OneOfAll>,
    /// With `--test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Proved>,
}

/// What became of one service of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OneOfAll {
    /// An image.
    Image(Box<ImageObject>),
    /// None.
    Failed {
        /// Its name in services.toml.
        service: String,
        /// [`BuildOutcome::Failed`].
        outcome: BuildOutcome,
        /// Why.
        error: String,
    },
}

/// Of `docker test`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proved {
    /// Whether all were.
    pub passed: bool,
    /// One for each role of each service.
    pub results: Vec<Proof>,
}

/// What a container proved of its image.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Proof {
    /// Its name in services.toml.
    pub service: String,
    /// Its role, where it has several.
    pub role: Option<String>,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// How long it took until it answered.
    pub seconds_to_ready: Option<f64>,
    /// Whether all of them passed.
    pub passed: bool,
    /// What a failed container wrote: for people.
    #[serde(skip)]
    pub log: String,
}

/// One thing that a container is held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which, and with which servers beside it.
    pub name: CheckName,
    /// Whether it is as it must be.
    pub passed: bool,
    /// What was expected, and what came.
    pub detail: String,
}

/// The name of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckName {
    /// What is looked at.
    pub what: Checked,
    /// What was beside it, where it needs something.
    pub servers: Servers,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The image against its budget.
    Size,
    /// Whether it starts.
    Start,
    /// Whether it answers in time.
    Ready,
    /// The status of its answer.
    Health,
    /// Whether the answer names the servers that are not there.
    NamesMissing,
    /// Whose its processes are.
    NotRoot,
    /// Its root file system.
    ReadOnly,
    /// How it ends when told to.
    Stops,
}

/// The servers beside a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// It needs none.
    Nothing,
    /// All that it needs.
    Needs,
    /// None of those that it needs.
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

/// Of `docker clean`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// What went, or would.
    pub removed: Vec<CleanItem>,
    /// What is ours and stays.
    pub left: Vec<CleanItem>,
    /// What that freed.
    pub freed_bytes: u64,
}

/// One thing that goes, or stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanItem {
    /// What it is.
    pub kind: CleanKind,
    /// The engine's, or a path.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it takes alone.
    pub bytes: u64,
    /// Why it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What can be cleaned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CleanKind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// An image, or a name of one.
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

/// Of `docker up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Up {
    /// Where each is, by its name.
    pub addresses: BTreeMap<String, String>,
    /// The file with the passwords of what is published.
    pub credentials: Option<String>,
}

/// Of `docker down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Down {
    /// How many containers and networks.
    pub removed: usize,
}

impl Object for ImageObject {}
impl Object for Images {}
impl Object for Proved {}
impl Object for Cleaned {}
impl Object for Up {}
impl Object for Down {}
