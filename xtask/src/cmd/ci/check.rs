//! `ci check`: reports all errors, with file and line, in one run.

use std::collections::BTreeSet;

use crate::cmd::ci::workflows;
use crate::cmd::definition::{BuildSettings, Definition};
use crate::cmd::objects::ci::Findings;
use crate::cmd::shared_scan::{ServiceView, SharedScan};
use crate::ctx::{Ctx, Format};
use crate::exec::{interrupt, worktree};
use crate::fault;
use crate::model::annotation::{Command, error_at};
use crate::model::config::{FILE, Project, Service};
use crate::model::coverage;
use crate::model::diagnostic::Diagnostic;
use crate::model::emulation;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    let found = findings(ctx, project)?;
    if ctx.format == Format::Github && !found.is_empty() {
        ctx.commands(&found.iter().map(annotation).collect::<Vec<_>>())?;
    } else {
        ctx.result(&Findings { findings: found.clone() }, || match lines(&found) {
            lines if lines.is_empty() => "no problems found".into(),
            lines => lines.join("\n"),
        })?;
    }
    none(&found)
}

/// The same as a test: errors go to stderr.
pub fn nothing_is_wrong(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    let found = findings(ctx, project)?;
    lines(&found).iter().for_each(|line| ctx.say(line));
    none(&found)
}

fn findings(ctx: &Ctx, project: &Project) -> anyhow::Result<Vec<Diagnostic>> {
    let tracked = worktree::tracked(ctx).map_err(|why| {
        fault::failed(format!("git does not say which files are tracked: {why}"))
            .help("run it in a git checkout; `git init && git add --all` makes one")
    })?;
    let mut found = workflows::check(ctx, project, &tracked)?;
    let mut tracked: Vec<&str> = tracked.iter().map(String::as_str).collect();
    tracked.sort_unstable();
    tracked.dedup();
    let services: Vec<&Service> = project.services.values().collect();
    let mut held = Checks { ctx, tracked, look: SharedScan::new(ctx, &services), said: BTreeSet::new() };
    for service in services {
        interrupt::check()?;
        found.extend(held.filter(service));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn annotation(found: &Diagnostic) -> Command {
    let Diagnostic { file, line, message, help, .. } = found;
    let help = help.as_deref().unwrap_or_default();
    error_at(file.as_deref().unwrap_or_default(), line.unwrap_or(1), &format!("{message}\nhelp: {help}"))
}

fn lines(found: &[Diagnostic]) -> Vec<String> {
    found.iter().map(|found| format!("{found}\n  help: {}", found.help.as_deref().unwrap_or_default())).collect()
}

fn none(found: &[Diagnostic]) -> anyhow::Result<()> {
    match found.len() {
        0 => Ok(()),
        1 => Err(fault::failed("1 finding").into()),
        n => Err(fault::failed(format!("{n} findings")).into()),
    }
}

/// What all services are compared with. It is read once.
struct Checks<'a> {
    ctx: &'a Ctx,
    tracked: Vec<&'a str>,
    look: SharedScan<'a>,
    /// Why a part can't be checked.
    said: BTreeSet<String>,
}

impl<'a> Checks<'a> {
    /// Compares a service's filter with its Dockerfile.
    fn filter(&mut self, service: &'a Service) -> Vec<Diagnostic> {
        let ctx = self.ctx;
        let definition = match self.look.definition(service) {
            Ok(definition) => definition,
            Err(broken) => return vec![finding(service, broken)],
        };
        if let Some(path) = definition.linked(ctx) {
            let what = format!("`{path}` lies behind a symbolic link: filters don't see changes of its target");
            let help = format!("name the target itself in {FILE}, or put the file there");
            return vec![Diagnostic::new(what).of(path.as_str()).line(1).help(help)];
        }
        let seen = match self.look.seen_by(&definition) {
            Ok(seen) => Some(seen),
            Err(why) => {
                if self.said.insert(why.to_string()) {
                    ctx.say(format!("warning: {why}: only tracked files are checked"));
                }
                None
            }
        };
        let links = seen.as_ref().map(ServiceView::links).unwrap_or_default();
        let inputs = match definition.inputs(service.target.as_deref(), &BuildSettings::of_service(service), &links) {
            Ok(inputs) => inputs,
            Err(broken) => return vec![finding(service, broken)],
        };
        for warning in &inputs.warnings {
            ctx.say(format!("warning: {}:{}: {}", service.dockerfile, warning.line, warning.message));
        }
        let coverage = definition.coverage(&inputs);
        let files = seen.map(|seen| seen.files(&coverage.heads())).unwrap_or_default();
        let is_new = |path: &&str| self.tracked.binary_search(path).is_err();
        let here: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(is_new).collect();
        let mut found = coverage::findings(&coverage, &self.tracked, &here);
        found.extend(emulated(&definition));
        found
    }
}

/// Platforms that need an emulator or a builder of their own. Probably nobody
/// wants that, unless services.toml asks for it.
fn emulated(definition: &Definition<'_>) -> Vec<Diagnostic> {
    let service = definition.service;
    let [builder, _, ..] = service.platforms.as_slice() else { return Vec::new() };
    if service.emulate {
        return Vec::new();
    }
    let setting = BuildSettings::published(service);
    // A Dockerfile that can't be read is reported already.
    let found = definition.platforms(service.target.as_deref(), &setting, builder).unwrap_or_default();
    found.foreign.iter().map(|it| emulation::finding(service, builder, it)).collect()
}

/// A broken file among the findings, each of which has a line. An error without a
/// line (a missing stage, a missing file) is reported at its line in
/// services.toml.
fn finding(service: &Service, broken: Diagnostic) -> Diagnostic {
    let help = broken.help.unwrap_or_else(|| "nothing that is built from it can be checked, or built".into());
    let (file, message) = (broken.file.unwrap_or_default(), broken.message);
    match (broken.line, broken.column, service.target_line) {
        (None, _, Some(line)) => Diagnostic::new(format!("{file}: {message}")).of(FILE).line(line),
        (line, Some(column), _) => {
            Diagnostic::new(format!("column {column}: {message}")).of(file).line(line.unwrap_or(1))
        }
        (line, None, _) => Diagnostic::new(message).of(file).line(line.unwrap_or(1)),
    }
    .help(help)
}
