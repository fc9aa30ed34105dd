//! `ci check`: everything that is wrong, with file and line, in one run.

use crate::cmd::ci::workflows;
use crate::ctx::Ctx;
use crate::fault;
use crate::model::config::Project;
use crate::model::workflow::Finding;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    let found = workflows::check(ctx, project)?;
    ctx.result(&serde_json::json!({ "findings": found }), || {
        let row = |Finding { file, line, message, help }: &Finding| format!("{file}:{line}: {message}\n  help: {help}");
        let lines: Vec<String> = found.iter().map(row).collect();
        if lines.is_empty() { "nothing is wrong".into() } else { lines.join("\n") }
    })?;
    match found.len() {
        0 => Ok(()),
        n => Err(fault::failed(format!("{n} findings")).into()),
    }
}
