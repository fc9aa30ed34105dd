//! What the verbs print with `--format json`, as docs/json.md shows it: the
//! test beside this compares them field by field.

pub mod ci;
pub mod docker;

use serde::Serialize;

use crate::ctx::Object;
use crate::engine::Status;

/// Of any that starts programs, with `--dry-run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanObject {
    /// Its lines.
    pub plan: Vec<String>,
}

/// Of `setup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setup {
    /// Whether all that is needed is there.
    pub ready: bool,
    /// What was looked for.
    pub items: Vec<SetupItem>,
}

/// One thing that is needed or good to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetupItem {
    /// What it is.
    pub name: String,
    /// Whether it is there.
    pub found: bool,
    /// Its version, or what there is to say.
    pub version: Option<String>,
    /// Where it is.
    pub place: Option<String>,
    /// Whether commands fail without it.
    pub needed: bool,
    /// The line that gets it.
    pub fix: Option<String>,
}

/// Of `test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// How many tests.
    pub passed: u64,
    /// How many tests.
    pub failed: u64,
    /// The parts with one that failed.
    pub parts_failed: Vec<String>,
}

/// Of `lint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Linted {
    /// Always: what fails is an error.
    pub passed: bool,
}

/// Of `bench`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Benched {
    /// How often each was measured.
    pub runs: usize,
    /// What came out.
    pub figures: Vec<Figure>,
}

/// One thing that is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// Our median.
    pub ours: f64,
    /// That of the raw tool, where there is one.
    pub raw: Option<f64>,
    /// Ours by that.
    pub ratio: Option<f64>,
    /// Of both.
    pub unit: Unit,
}

/// What a figure is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Time.
    #[serde(rename = "s")]
    Seconds,
    /// Size.
    #[serde(rename = "bytes")]
    Bytes,
}

/// Of `engine up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineUp {
    /// Whether it was down before.
    pub started: bool,
    /// How it is.
    pub engine: Status,
}

/// Of `engine down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineDown {
    /// Whether its folder is gone as well.
    pub purged: bool,
    /// What that freed.
    pub freed_bytes: u64,
}

/// Of `engine status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Engines {
    /// The engine that commands would use.
    pub used: Option<String>,
    /// The private one.
    pub private: Status,
}

/// Of `engine env`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineEnv {
    /// The line for a shell.
    pub export: String,
}

impl Object for PlanObject {}
impl Object for Setup {}
impl Object for Tested {}
impl Object for Linted {}
impl Object for Benched {}
impl Object for EngineUp {}
impl Object for EngineDown {}
impl Object for Engines {}
impl Object for EngineEnv {}

#[cfg(test)]
mod tests;
