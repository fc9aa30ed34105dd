//! `ci sync`: writes the workflows that services.toml describes.

use anyhow::Context as _;
use camino::Utf8Path;

use crate::cmd::ci::workflows;
use crate::ctx::Ctx;
use crate::fault;
use crate::model::config::{FILE, Project};
use crate::plan::workflow::callers;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    if project.ci.is_none() {
        return Err(fault::usage(format!("{FILE} has no `[ci]` table: no workflow is generated"))
            .help("`[ci]` with `branches = [\"main\"]` (docs/services-toml.md)")
            .into());
    }
    let stale = workflows::stale(ctx, project)?;
    let orphans = workflows::orphans(ctx, project)?;
    if !ctx.dry_run {
        for (file, text) in callers(project).iter().filter(|(file, _)| stale.contains(file)) {
            write(&ctx.root.join(file), text).with_context(|| format!("could not write {file}"))?;
        }
        for file in &orphans {
            std::fs::remove_file(ctx.root.join(file)).with_context(|| format!("could not remove {file}"))?;
        }
    }
    ctx.result(&serde_json::json!({ "written": stale, "removed": orphans }), || {
        let would = if ctx.dry_run { "would be " } else { "" };
        let line = |file: &str, what: &str| format!("{file}: {would}{what}");
        let lines: Vec<String> = stale
            .iter()
            .map(|file| line(file, "written"))
            .chain(orphans.iter().map(|file| line(file, "removed")))
            .collect();
        if lines.is_empty() { "all workflows are as services.toml has it".into() } else { lines.join("\n") }
    })
}

fn write(file: &Utf8Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(file, text)
}
