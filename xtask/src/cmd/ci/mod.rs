//! `ci`: one file per verb. What workflows run, and what keeps workflows correct.

pub mod check;
mod comparison;
pub mod dockerfile_changes;
mod indirect_changes;
mod install;
pub mod plan;
pub mod report;
mod sides;
mod sync;
mod verdict;
pub mod workflows;

use crate::cli::ci::CiVerb;
use crate::ctx::Ctx;
use crate::model::config::Project;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: anyhow::Result<Project>, verb: &CiVerb) -> anyhow::Result<()> {
    match verb {
        CiVerb::Plan(args) => plan::run(ctx, &project?, args),
        CiVerb::Check => check::run(ctx, &project?),
        CiVerb::Sync => sync::run(ctx, &project?),
        // These two verbs don't read services.toml, so a broken one does not
        // matter.
        CiVerb::Install => install::run(ctx),
        CiVerb::Verdict => verdict::run(ctx),
    }
}
