//! `lint`: formats and lints of the xtask. The applications' linters run in
//! their test stages, where their tools are.

use crate::cmd;
use crate::ctx::Ctx;
use crate::exec::run;
use crate::plan::step::{Plan, Step};

/// Runs the verb.
pub fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let plan = plan();
    if ctx.dry_run {
        return cmd::print(ctx, &plan);
    }
    plan.steps.iter().try_for_each(|step| run::run(ctx, step))
}

/// What it runs.
pub fn plan() -> Plan {
    let cargo = |args: &str| Step::new("cargo").args(args.split(' '));
    let steps = vec![
        cargo("fmt --all --check").hint("`cargo fmt --all` writes it as it should be"),
        cargo("clippy --quiet --workspace --all-targets -- --deny warnings"),
    ];
    Plan { steps, finally: Vec::new() }
}
