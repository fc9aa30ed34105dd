//! The objects of `ci …`.

use serde::Serialize;

use crate::ctx::Object;
use crate::model::diagnostic::Diagnostic;
use crate::model::verdict::JobVerdict;

/// Printed by `ci plan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePlan<'a> {
    /// The older commit.
    pub base: Option<&'a str>,
    /// The newer commit; `None`: the working tree.
    pub head: Option<&'a str>,
    /// The result for each service.
    pub services: Vec<Planning<'a>>,
    /// The affected services, as a job matrix.
    pub matrix: Matrix<'a>,
}

/// The result for one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planning<'a> {
    /// Its name in services.toml.
    pub name: &'a str,
    /// Whether it must be built.
    pub affected: bool,
    /// Why.
    pub reason: ReasonObject<'a>,
    /// Its fingerprint, if it is known.
    pub fingerprint: Option<String>,
    /// With `--explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Vec<HitObject<'a>>>,
}

/// Why a service is affected, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ReasonObject<'a> {
    /// The first changed file in its `paths`.
    Path {
        /// The file.
        path: &'a str,
        /// The pattern that includes it.
        pattern: &'a str,
        /// Its line in services.toml.
        line: usize,
    },
    /// A changed file outside `paths` that the service depends on anyway.
    Rule {
        /// The file.
        path: &'a str,
        /// How the service depends on it.
        cause: &'a str,
    },
    /// Everything is affected.
    Everything {
        /// The file that caused it, if it was a file.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        /// Why.
        cause: &'a str,
    },
    /// None of the changed files concerns it.
    #[serde(rename = "none")]
    Nothing {
        /// How many files were compared.
        cause: String,
        /// The first file that a `!` pattern excluded.
        #[serde(flatten)]
        left_out: Option<LeftOut<'a>>,
    },
}

/// A file that a `!` pattern excluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut<'a> {
    /// The file.
    pub path: &'a str,
    /// The pattern.
    pub pattern: &'a str,
    /// Its line in services.toml.
    pub line: usize,
}

/// The changed files that a pattern includes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HitObject<'a> {
    /// The pattern.
    pub pattern: &'a str,
    /// Its line in services.toml.
    pub line: usize,
    /// All these files.
    pub files: Vec<&'a str>,
}

/// A GitHub job matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix<'a> {
    /// One row per job.
    pub include: Vec<MatrixRow<'a>>,
}

/// A service as one row of a job matrix. All values are texts, because an
/// expression can only pass texts to an action's inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatrixRow<'a> {
    /// Its name in services.toml.
    pub service: &'a str,
    /// The name of its image.
    pub image: &'a str,
    /// The target stage, unless it is the last stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// The Dockerfile, from the root.
    pub dockerfile: &'a str,
    /// The context, from the root.
    pub context: &'a str,
    /// The platforms, joined by `,`.
    pub platforms: String,
}

/// Printed by `ci check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The errors.
    pub findings: Vec<Diagnostic>,
}

/// Printed by `ci sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// Files, from the root.
    pub written: Vec<String>,
    /// Files, from the root.
    pub removed: Vec<String>,
}

/// Printed by `ci verdict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The verdict on each job.
    pub jobs: Vec<JobVerdict>,
    /// Whether all are right.
    pub passed: bool,
}

/// Printed by `ci install`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The path of the program.
    pub installed: String,
}

impl Object for ServicePlan<'_> {}
impl Object for Findings {}
impl Object for Synced {}
impl Object for Judged {}
impl Object for Installed {}
