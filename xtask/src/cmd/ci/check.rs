//! `ci check`: everything that is wrong, with file and line, in one run.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use camino::Utf8Path;

use crate::cmd::ci::workflows;
use crate::cmd::definition::{Broken, Definition, Setting};
use crate::ctx::{Ctx, Format};
use crate::exec::{github, interrupt, worktree};
use crate::fault;
use crate::model::config::{FILE, Project, Service};
use crate::model::coverage;
use crate::model::finding::Finding;
use crate::model::fingerprint::File;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    let found = findings(ctx, project)?;
    if ctx.format == Format::Github && !found.is_empty() {
        ctx.commands(&found.iter().map(annotation).collect::<Vec<_>>())?;
    } else {
        ctx.result(&serde_json::json!({ "findings": found }), || match lines(&found) {
            lines if lines.is_empty() => "nothing is wrong".into(),
            lines => lines.join("\n"),
        })?;
    }
    none(&found)
}

/// The same as a test: what is wrong goes to stderr.
pub fn nothing_is_wrong(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    let found = findings(ctx, project)?;
    lines(&found).iter().for_each(|line| ctx.say(line));
    none(&found)
}

fn findings(ctx: &Ctx, project: &Project) -> anyhow::Result<Vec<Finding>> {
    let tracked = worktree::tracked(ctx).map_err(|why| {
        fault::failed(format!("git does not say which files are tracked: {why}"))
            .help("run it in a git checkout; `git init && git add --all` makes one")
    })?;
    let mut found = workflows::check(ctx, project, &tracked)?;
    let tracked = tracked.iter().map(String::as_str).collect();
    let mut look = Look { ctx, tracked, contexts: BTreeMap::new() };
    for service in project.services.values() {
        interrupt::check()?;
        found.extend(look.filter(service));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn annotation(found: &Finding) -> github::Command {
    github::error_at(&found.file, found.line, &format!("{}\nhelp: {}", found.message, found.help))
}

fn lines(found: &[Finding]) -> Vec<String> {
    let line = |Finding { file, line, message, help }: &Finding| format!("{file}:{line}: {message}\n  help: {help}");
    found.iter().map(line).collect()
}

fn none(found: &[Finding]) -> anyhow::Result<()> {
    match found.len() {
        0 => Ok(()),
        1 => Err(fault::failed("1 finding").into()),
        n => Err(fault::failed(format!("{n} findings")).into()),
    }
}

/// What all services are held against, and looked at once.
struct Look<'a> {
    ctx: &'a Ctx,
    tracked: BTreeSet<&'a str>,
    /// What builds may see, by their Dockerfile and their context.
    contexts: BTreeMap<(&'a Utf8Path, &'a Utf8Path), Rc<Vec<File>>>,
}

impl<'a> Look<'a> {
    /// Whether a service's filter says the truth about its Dockerfile.
    fn filter(&mut self, service: &'a Service) -> Vec<Finding> {
        let ctx = self.ctx;
        let definition = match Definition::look(ctx, service) {
            Ok(definition) => definition,
            Err(broken) => return vec![finding(service, broken)],
        };
        if let Some(path) = definition.linked(ctx) {
            return vec![Finding {
                file: path.to_string(),
                line: 1,
                message: format!("`{path}` lies behind a symbolic link: no filter sees a change of what it leads to"),
                help: format!("name the place itself, in {FILE}, or put the file there"),
            }];
        }
        let files = self.files(&definition);
        let inputs = match definition.inputs(ctx, service.target.as_deref(), &Setting::of_service(service), &files) {
            Ok(inputs) => inputs,
            Err(broken) => return vec![finding(service, broken)],
        };
        for warning in &inputs.warnings {
            ctx.say(format!("warning: {}:{}: {}", service.dockerfile, warning.line, warning.message));
        }
        let is_new = |path: &&str| !self.tracked.contains(path);
        let here: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(is_new).collect();
        let coverage = definition.coverage(&inputs);
        coverage::findings(&coverage, &self.tracked.iter().copied().collect::<Vec<_>>(), &here)
    }

    fn files(&mut self, definition: &Definition<'a>) -> Rc<Vec<File>> {
        let Service { dockerfile, context, .. } = definition.service;
        let known = self.contexts.entry((dockerfile, context)).or_insert_with(|| {
            Rc::new(definition.files(self.ctx).unwrap_or_else(|why| {
                self.ctx.say(format!("warning: {why}: only what git tracks is looked at"));
                Vec::new()
            }))
        });
        Rc::clone(known)
    }
}

/// A broken file as a finding. A stage or a whole file that is not there is only
/// named: in services.toml.
fn finding(service: &Service, broken: Broken) -> Finding {
    let Broken { file, at: (line, column), message, help } = broken;
    let help = help.unwrap_or_else(|| "nothing that is built from it can be checked, or built".into());
    match (line, service.target_line) {
        (0, Some(line)) => Finding { file: FILE.into(), line, message: format!("{file}: {message}"), help },
        (line, _) => {
            let message = if column > 0 { format!("column {column}: {message}") } else { message };
            Finding { file: file.into(), line: line.max(1), message, help }
        }
    }
}
