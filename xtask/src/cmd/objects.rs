//! The JSON objects that verbs print. A test compares them with docs/json.md,
//! field by field.

pub mod ci;
pub mod docker;
pub mod signature;

use serde::Serialize;

use crate::ctx::Object;
use crate::engine::Status;

/// Printed with `--dry-run` by every verb that starts programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanObject {
    /// The lines of the plan.
    pub plan: Vec<String>,
}

/// Printed by `setup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setup {
    /// Whether everything that is required exists.
    pub ready: bool,
    /// The items that were checked.
    pub items: Vec<SetupItem>,
}

/// An item that is required or optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetupItem {
    /// Its name.
    pub name: String,
    /// Whether it exists.
    pub found: bool,
    /// Its version, or another detail.
    pub version: Option<String>,
    /// Its path.
    pub place: Option<String>,
    /// Whether commands fail without it.
    pub needed: bool,
    /// The command that installs it.
    pub fix: Option<String>,
}

/// Printed by `test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// How many tests passed.
    pub passed: u64,
    /// How many tests failed.
    pub failed: u64,
    /// The suites with a failure.
    pub parts_failed: Vec<String>,
}

/// Printed by `lint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Linted {
    /// Always true: a failure is an error object.
    pub passed: bool,
}

/// Printed by `bench`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Benched {
    /// How often each figure was measured.
    pub runs: usize,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Our median.
    pub ours: f64,
    /// The median of the raw tool, if there is one.
    pub raw: Option<f64>,
    /// Our median divided by the raw tool's.
    pub ratio: Option<f64>,
    /// The unit of both.
    pub unit: Unit,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Time.
    #[serde(rename = "s")]
    Seconds,
    /// Size.
    #[serde(rename = "bytes")]
    Bytes,
}

/// Printed by `engine up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineUp {
    /// Whether it was down before.
    pub started: bool,
    /// The state of the engine.
    pub engine: Status,
}

/// Printed by `engine down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineDown {
    /// Whether its folder was deleted, too.
    pub purged: bool,
    /// How many bytes that freed.
    pub freed_bytes: u64,
}

/// Printed by `engine status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Engines {
    /// The engine that commands would use.
    pub used: Option<String>,
    /// The private engine.
    pub private: Status,
}

/// Printed by `engine env`.
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
