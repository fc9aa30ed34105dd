//! `ci sync`: writes the workflows that services.toml describes.

use std::fs::File;
use std::io::Write as _;

use anyhow::Context as _;

use crate::cmd::ci::workflows::{self, WorkflowFile};
use crate::cmd::objects::ci::Synced;
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
    let mut stale = Vec::new();
    for (service, file, text) in callers(project) {
        match workflows::find(ctx, &file) {
            WorkflowFile::Ours(there) if there == text => {}
            WorkflowFile::Ours(_) | WorkflowFile::Nothing => stale.push((file, text)),
            // All files are checked before the first one is written.
            WorkflowFile::Theirs(why) => return Err(workflows::taken(service, &file, &why).into()),
        }
    }
    let orphans = workflows::orphans(ctx, project)?;
    if !ctx.dry_run {
        for (file, text) in &stale {
            write(ctx, file, text).with_context(|| format!("could not write {file}"))?;
        }
        for file in &orphans {
            std::fs::remove_file(ctx.root.join(file)).with_context(|| format!("could not remove {file}"))?;
        }
    }
    let synced = Synced { written: stale.into_iter().map(|(file, _)| file).collect(), removed: orphans };
    ctx.result(&synced, || {
        let would = if ctx.dry_run { "would be " } else { "" };
        let line = |file: &str, what: &str| format!("{file}: {would}{what}");
        let lines: Vec<String> = synced
            .written
            .iter()
            .map(|file| line(file, "written"))
            .chain(synced.removed.iter().map(|file| line(file, "removed")))
            .collect();
        if lines.is_empty() { "all workflows match services.toml".into() } else { lines.join("\n") }
    })
}

/// Writes a file atomically, and never through a link, which may lead out of the
/// checkout or to another file.
fn write(ctx: &Ctx, file: &str, text: &str) -> anyhow::Result<()> {
    let file = ctx.root.join(file);
    let dir = file.parent().unwrap_or(&ctx.root);
    if let Some(link) = dir.ancestors().take_while(|dir| **dir != ctx.root).find(|dir| dir.is_symlink()) {
        return Err(fault::failed(format!("{link} is a symbolic link")).help("replace it with a folder").into());
    }
    std::fs::create_dir_all(dir)?;
    let new = dir.join(format!(".{}.{}", file.file_name().unwrap_or_default(), std::process::id()));
    let written = File::create_new(&new).and_then(|mut new| new.write_all(text.as_bytes()));
    let written = written.and_then(|()| std::fs::rename(&new, &file));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    Ok(written?)
}
