//! services.toml: read as it stands, then checked; only the checked form is
//! public, so whoever holds a [`Project`] holds a right one.

mod check;
mod cross_checks;
mod raw;
mod read;
pub(super) mod values;

pub use self::read::text;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use path_filter::PathFilter;

use crate::model::age::Age;
use crate::model::bytes::Bytes;
use crate::model::ci::Ci;
use crate::model::diagnostic::Diagnostic;
use crate::model::junit::ReportPath;
use crate::model::platform::Platform;
use crate::model::reference::{Image, Name, Registry};

/// The file's name.
pub const FILE: &str = "services.toml";

/// Words that are already verbs of `cargo xtask docker`.
pub const RESERVED: [&str; 6] = ["all", "clean", "down", "help", "test", "up"];

/// Words that are to be verbs of it: a service of such a name would be gone from
/// the command line one day, or the verb would.
pub const PROMISED: [&str; 11] =
    ["inspect", "logs", "promote", "restart", "sbom", "scan", "sh", "sign", "stats", "status", "verify"];

/// The largest file that is read, in bytes. One of 3,000 services has a part of it.
pub const LIMIT: u64 = 1 << 20;

/// Outputs of `ci plan` in a job, beside those that services name.
pub const OUTPUTS: [&str; 2] = ["any", "matrix"];

/// A whole, right services.toml.
#[derive(Clone, Debug)]
pub struct Project {
    /// Prefix of labels and containers.
    pub name: String,
    /// The registry's host, such as `ghcr.io`.
    pub registry: Registry,
    /// The owner below the registry.
    pub owner: String,
    /// The branch that releases come from.
    pub default_branch: String,
    /// How long a base image that is named by a tag alone is taken to be what
    /// it was, before a build asks its registry again.
    pub trust_bases: Age,
    /// What the workflows are made of, where they are ours to make.
    pub ci: Option<Ci>,
    /// What services can need, by name.
    pub needs: BTreeMap<String, Need>,
    /// The services, by name.
    pub services: BTreeMap<String, Service>,
}

/// One image.
#[derive(Clone, Debug)]
pub struct Service {
    /// The subcommand of `docker`.
    pub name: String,
    /// For people and for the image's title label.
    pub title: String,
    /// The image's name, without registry and tag.
    pub image: Name,
    /// The Dockerfile, from the root.
    pub dockerfile: Utf8PathBuf,
    /// The stage; none is the last.
    pub target: Option<String>,
    /// The line that names it.
    pub target_line: Option<usize>,
    /// The build context, from the root.
    pub context: Utf8PathBuf,
    /// What the image is built from.
    pub paths: PathFilter,
    /// The line in services.toml of each of these patterns.
    pub path_lines: Vec<usize>,
    /// What CI publishes.
    pub platforms: Vec<Platform>,
    /// The name of its workflow.
    pub workflow: String,
    /// The largest uncompressed size that is still right.
    pub size_budget: Option<Bytes>,
    /// How `docker test` proves the image.
    pub run: Option<Run>,
    /// How the application's own tests run.
    pub test: Option<Test>,
    /// Where it stands.
    pub lines: ServiceLines,
}

/// Lines of a service in services.toml, for what only the tree can refuse.
#[derive(Clone, Debug, Default)]
pub struct ServiceLines {
    /// Its table.
    pub table: usize,
    /// The context, where it is written.
    pub context: Option<usize>,
    /// The workflow, where it is written.
    pub workflow: Option<usize>,
}

/// How a container of the image is proved.
#[derive(Clone, Debug)]
pub struct Run {
    /// The port it listens on.
    pub port: u16,
    /// The path that answers 200 when all is well.
    pub health: String,
    /// The first argument of the container; none: it takes no argument.
    pub roles: Vec<String>,
    /// What it needs to be healthy, names of `[needs.*]`.
    pub needs: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its environment in `docker up` only: how it finds other services.
    pub up_env: BTreeMap<String, String>,
    /// Variables that `docker up` passes on from its own environment.
    pub pass_env: Vec<String>,
    /// How long it may take to answer.
    pub ready_seconds: u64,
}

/// A stage whose command runs the application's tests.
#[derive(Clone, Debug)]
pub struct Test {
    /// The stage.
    pub target: String,
    /// What runs beside it.
    pub needs: Vec<String>,
    /// The part of `cargo xtask test` that runs it.
    pub part: String,
    /// The JUnit report that its command writes.
    pub report: Option<ReportPath>,
}

/// A server that services need, run beside them.
#[derive(Clone, Debug)]
pub struct Need {
    /// Its image.
    pub image: Image,
    /// Its port.
    pub port: u16,
    /// Its environment; `{password}` is the run's.
    pub env: BTreeMap<String, String>,
    /// What it runs instead of the image's own command.
    pub command: Vec<String>,
    /// The command that succeeds in its container as soon as it serves.
    pub ready: Vec<String>,
    /// What services get to find it; `{password}` is the run's.
    pub provides: BTreeMap<String, String>,
}

impl Project {
    /// Reads and checks a file's text; `file` names it in errors.
    pub fn parse(file: &Utf8Path, text: &str) -> Result<Self, Diagnostic> {
        read::project(file, text)
    }

    /// A service by name, or the diagnostic that lists and suggests.
    pub fn service(&self, name: &str) -> Result<&Service, Diagnostic> {
        self.services.get(name).ok_or_else(|| {
            let names = self.services.keys().map(String::as_str).collect::<Vec<_>>();
            Diagnostic::new(format!("no service `{name}` in {FILE}"))
                .help(format!("the services are: {}", names.join(", ")))
        })
    }

    /// The services of these names, or all of them.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Service>, Diagnostic> {
        if names.is_empty() {
            Ok(self.services.values().collect())
        } else {
            names.iter().map(|name| self.service(name)).collect()
        }
    }

    /// The key of a label of ours.
    pub fn label(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// Where pushed images go when nobody says otherwise.
    pub fn published(&self, owner: Option<&str>) -> Result<Registry, Diagnostic> {
        let owner = owner.unwrap_or(&self.owner).to_ascii_lowercase();
        format!("{}/{owner}", self.registry).parse()
    }
}

#[cfg(test)]
mod tests;
