//! `ci`: one file a verb.

pub mod plan;
pub mod report;

use crate::cli::ci::CiVerb;
use crate::ctx::Ctx;
use crate::model::config::Project;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, verb: &CiVerb) -> anyhow::Result<()> {
    match verb {
        CiVerb::Plan(args) => plan::run(ctx, project, args),
    }
}
