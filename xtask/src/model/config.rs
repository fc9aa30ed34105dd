//! services.toml: first parsed as it is, then checked. Only the checked form is
//! public, so every [`Project`] is valid.

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

/// Names that are verbs of `cargo xtask docker`.
pub const RESERVED: [&str; 7] = ["all", "clean", "down", "help", "test", "up", "verify"];

/// Names that will be verbs. A service with such a name would hide the verb, or
/// the verb would hide it.
pub const PROMISED: [&str; 10] =
    ["inspect", "logs", "promote", "restart", "sbom", "scan", "sh", "sign", "stats", "status"];

/// The largest file that is read, in bytes. A file with 3,000 services is much
/// smaller.
pub const LIMIT: u64 = 1 << 20;

/// The outputs of `ci plan` in a job, besides those named after services.
pub const OUTPUTS: [&str; 2] = ["any", "matrix"];

/// A complete, valid services.toml.
#[derive(Clone, Debug)]
pub struct Project {
    /// The prefix of labels and containers.
    pub name: String,
    /// The host name of the registry, such as `ghcr.io`.
    pub registry: Registry,
    /// The owner of the images on the registry.
    pub owner: String,
    /// The branch that is released.
    pub default_branch: String,
    /// How long a base image named only by a tag counts as unchanged before a
    /// build asks its registry again.
    pub trust_bases: Age,
    /// The settings of the workflows, if we generate them.
    pub ci: Option<Ci>,
    /// The servers that services can need, by name.
    pub needs: BTreeMap<String, Need>,
    /// The services, by name.
    pub services: BTreeMap<String, Service>,
}

/// One image.
#[derive(Clone, Debug)]
pub struct Service {
    /// The subcommand of `docker`.
    pub name: String,
    /// A title for people, and for a label of the image.
    pub title: String,
    /// The name of the image, without registry and tag.
    pub image: Name,
    /// The path of the Dockerfile, from the root.
    pub dockerfile: Utf8PathBuf,
    /// The target stage; `None`: the last one.
    pub target: Option<String>,
    /// The line in services.toml that names it.
    pub target_line: Option<usize>,
    /// The build context, from the root.
    pub context: Utf8PathBuf,
    /// The filter: which files the image is built from.
    pub paths: PathFilter,
    /// The line of each pattern in services.toml.
    pub path_lines: Vec<usize>,
    /// The platforms that CI publishes.
    pub platforms: Vec<Platform>,
    /// Whether its stages are meant to run under an emulator.
    pub emulate: bool,
    /// The name of its workflow.
    pub workflow: String,
    /// The limit for its uncompressed size.
    pub size_budget: Option<Bytes>,
    /// How `docker test` runs a container of it.
    pub run: Option<Run>,
    /// How the application's own tests run.
    pub test: Option<Test>,
    /// Its lines in services.toml.
    pub lines: ServiceLines,
}

/// The lines of a service in services.toml, for errors that only show in the
/// tree.
#[derive(Clone, Debug, Default)]
pub struct ServiceLines {
    /// Its table.
    pub table: usize,
    /// The line of the context, if it is written.
    pub context: Option<usize>,
    /// The line of the workflow, if it is written.
    pub workflow: Option<usize>,
}

/// How `docker test` runs a container of the image.
#[derive(Clone, Debug)]
pub struct Run {
    /// The port it listens on.
    pub port: u16,
    /// The path that answers 200 when the service is healthy.
    pub health: String,
    /// The first arguments with which containers are started; empty: one
    /// container without an argument.
    pub roles: Vec<String>,
    /// The servers without which it is not healthy, by their names in
    /// `[needs.*]`.
    pub needs: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Environment variables for `docker up` only: how it finds other services.
    pub up_env: BTreeMap<String, String>,
    /// Variables that `docker up` passes on from its own environment.
    pub pass_env: Vec<String>,
    /// How long it may take to become healthy.
    pub ready_seconds: u64,
}

/// A stage whose command runs the application's tests.
#[derive(Clone, Debug)]
pub struct Test {
    /// The target stage.
    pub target: String,
    /// The servers it needs.
    pub needs: Vec<String>,
    /// The argument of `cargo xtask test` that selects it.
    pub part: String,
    /// The JUnit report that its command writes.
    pub report: Option<ReportPath>,
}

/// A server that services need. It runs next to them.
#[derive(Clone, Debug)]
pub struct Need {
    /// Its image.
    pub image: Image,
    /// Its port.
    pub port: u16,
    /// Its environment; `{password}` is replaced by the password of the run.
    pub env: BTreeMap<String, String>,
    /// The command to run instead of the image's own.
    pub command: Vec<String>,
    /// The command that succeeds in its container as soon as it is ready.
    pub ready: Vec<String>,
    /// The variables with which services find it; `{password}` is replaced by the
    /// password of the run.
    pub provides: BTreeMap<String, String>,
}

impl Run {
    /// The same where an emulator runs it: nothing is as fast as it says there.
    #[must_use]
    pub fn emulated(&self) -> Self {
        Self { ready_seconds: self.ready_seconds.saturating_mul(10), ..self.clone() }
    }
}

impl Project {
    /// Parses and checks the text of a file; errors call it `file`.
    pub fn parse(file: &Utf8Path, text: &str) -> Result<Self, Diagnostic> {
        read::project(file, text)
    }

    /// The service of this name, or a diagnostic that lists all and suggests one.
    pub fn service(&self, name: &str) -> Result<&Service, Diagnostic> {
        self.services.get(name).ok_or_else(|| {
            let names = self.services.keys().map(String::as_str).collect::<Vec<_>>();
            Diagnostic::new(format!("no service `{name}` in {FILE}"))
                .help(format!("the services are: {}", names.join(", ")))
        })
    }

    /// The services of these names; all if there are none.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Service>, Diagnostic> {
        if names.is_empty() {
            Ok(self.services.values().collect())
        } else {
            names.iter().map(|name| self.service(name)).collect()
        }
    }

    /// The key of one of our labels.
    pub fn label(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// The prefix of pushed images by default.
    pub fn published(&self, owner: Option<&str>) -> Result<Registry, Diagnostic> {
        let owner = owner.unwrap_or(&self.owner).to_ascii_lowercase();
        format!("{}/{owner}", self.registry).parse()
    }
}

#[cfg(test)]
mod tests;
