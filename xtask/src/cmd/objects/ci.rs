//! What `ci …` prints.

use serde::Serialize;

use crate::ctx::Object;
use crate::model::diagnostic::Diagnostic;
use crate::model::verdict::JobVerdict;

/// Of `ci plan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePlan<'a> {
    /// The commit that was compared with.
    pub base: Option<&'a str>,
    /// The newer one; none: the working tree.
    pub head: Option<&'a str>,
    /// What came of it for each.
    pub services: Vec<Planning<'a>>,
    /// Those that are affected, for a job.
    pub matrix: Matrix<'a>,
}

/// What a change means to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planning<'a> {
    /// Its name in services.toml.
    pub name: &'a str,
    /// Whether its image is another one now.
    pub affected: bool,
    /// Why.
    pub reason: ReasonObject<'a>,
    /// What it would be made of, where that is known.
    pub fingerprint: Option<String>,
    /// With `--explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Vec<HitObject<'a>>>,
}

/// Why a service is affected, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ReasonObject<'a> {
    /// The first file that it is made from.
    Path {
        /// The file.
        path: &'a str,
        /// The pattern that includes it.
        pattern: &'a str,
        /// Its line in services.toml.
        line: usize,
    },
    /// A file that is none of its `paths`, and that it is made of all the same.
    Rule {
        /// The file.
        path: &'a str,
        /// What it is to the service.
        cause: &'a str,
    },
    /// Everything is affected.
    Everything {
        /// The file that did it, if one did.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        /// Why.
        cause: &'a str,
    },
    /// It is made from none of the files.
    #[serde(rename = "none")]
    Nothing {
        /// What was looked at.
        cause: String,
        /// What a `!` pattern left out.
        #[serde(flatten)]
        left_out: Option<LeftOut<'a>>,
    },
}

/// A file that a `!` pattern left out.
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
    /// All of them.
    pub files: Vec<&'a str>,
}

/// What GitHub calls a job's matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix<'a> {
    /// A job for each.
    pub include: Vec<MatrixRow<'a>>,
}

/// A service as a row of a job's matrix. Texts only: that is all an expression
/// can put into an action's input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatrixRow<'a> {
    /// Its name in services.toml.
    pub service: &'a str,
    /// The image's.
    pub image: &'a str,
    /// The stage, where it is not the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// From the root.
    pub dockerfile: &'a str,
    /// From the root.
    pub context: &'a str,
    /// Joined by `,`.
    pub platforms: String,
}

/// Of `ci check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What is wrong.
    pub findings: Vec<Diagnostic>,
}

/// Of `ci sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// Files, from the root.
    pub written: Vec<String>,
    /// Files, from the root.
    pub removed: Vec<String>,
}

/// Of `ci verdict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// What is to be said of each.
    pub jobs: Vec<JobVerdict>,
    /// Whether all went well.
    pub passed: bool,
}

/// Of `ci install`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The program.
    pub installed: String,
}

impl Object for ServicePlan<'_> {}
impl Object for Findings {}
impl Object for Synced {}
impl Object for Judged {}
impl Object for Installed {}
