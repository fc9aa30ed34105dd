//! `ci verdict`: the last job, which checks the results of all others.

use crate::cmd::objects::ci::Judged;
use crate::ctx::Ctx;
use crate::fault;
use crate::model::verdict;

/// Runs the verb.
pub fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let json = ctx.env.get("NEEDS").ok_or_else(|| {
        fault::usage("NEEDS is not set: there is nothing to judge")
            .help("in the last job's step: `env:` with `NEEDS: ${{ toJSON(needs) }}`")
    })?;
    let needs = verdict::needs(json)
        .map_err(|why| fault::usage(format!("NEEDS: {why}")).help("the unchanged output of `toJSON(needs)`"))?;
    let may_skip: Vec<&str> = ctx.env.get("MAY_SKIP").unwrap_or_default().split_whitespace().collect();
    let lines = verdict::verdict(&needs, &may_skip);
    let judged = Judged { passed: lines.iter().all(|line| line.right), jobs: lines };
    let lines = &judged.jobs;
    ctx.result(&judged, || {
        let row = |line: &verdict::JobVerdict| {
            let mark = if line.right { "ok " } else { "NOT" };
            format!("{mark} {}: {} ({})", line.job, line.result, line.why)
        };
        lines.iter().map(row).collect::<Vec<_>>().join("\n")
    })?;
    if judged.passed {
        return Ok(());
    }
    let wrong: Vec<&str> = lines.iter().filter(|line| !line.right).map(|line| line.job.as_str()).collect();
    Err(fault::failed(format!("some jobs did not succeed: {}", wrong.join(", ")))
        .help("the logs of those jobs say why")
        .into())
}
