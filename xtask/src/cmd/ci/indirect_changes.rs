//! How a change affects a service other than by files in its `paths`. It uses the
//! same code as a build that checks whether its image is up to date.
//!
//! A stage may read files outside `paths`. A tree may contain files that git does
//! not list, or lack files that git has. A change of attributes alone may change
//! what a checkout makes of a file.

use std::collections::BTreeSet;

use docker_context::dockerfile::inputs::Inputs;

use crate::cli::ci::PlanArgs;
use crate::cmd::ci::comparison::Comparison;
use crate::cmd::definition::{BuildSettings, Definition};
use crate::cmd::image::current::{git_that_goes_in, is_folder_read};
use crate::cmd::shared_scan::{ServiceView, SharedScan};
use crate::ctx::Ctx;
use crate::exec::drift::Drift;
use crate::exec::file_stats;
use crate::exec::revision::{self, Snapshot};
use crate::exec::worktree::WorkTree;
use crate::model::affected::{Reason, Verdict, shown};
use crate::model::config::Service;
use crate::model::coverage::InputReader;
use crate::model::diagnostic::Diagnostic;
use crate::model::dockerfile_changes::candidates;
use crate::model::doubt::{Answer, Doubt};
use crate::model::event::Cause;

/// The newer side of a comparison, as a build would find it.
#[derive(Default)]
pub struct IndirectChanges<'a, 'l> {
    definitions: Vec<Result<Definition<'a>, Diagnostic>>,
    links: Vec<(String, String)>,
    side: Side<'l>,
    /// The view of each service.
    seen: Vec<Option<ServiceView<'l>>>,
}

#[derive(Default)]
enum Side<'l> {
    /// Everything is affected, so nobody has to look.
    #[default]
    None,
    Commit(Snapshot),
    Tree(&'l WorkTree, Drift),
    /// The changed files come from a list; the tree tells how services are built.
    List,
}

/// Whether a build here would find what a fresh checkout of a commit contains.
pub fn lies_here(ctx: &Ctx, look: &SharedScan<'_>, commit: &str) -> Answer<bool> {
    is_a_checkout_of(ctx, look, commit).into()
}

fn is_a_checkout_of(ctx: &Ctx, look: &SharedScan<'_>, commit: &str) -> Result<bool, Doubt> {
    if !revision::is_staged(ctx, commit)? {
        return Ok(false);
    }
    Ok(Drift::of(ctx, look.tree()?)? == Drift::default())
}

impl<'a, 'l> IndirectChanges<'a, 'l> {
    /// Scans the commit or the tree. Files in the tree that differ from git are
    /// added to the changes; in doubt, everything counts as changed.
    pub fn look(
        ctx: &Ctx,
        look: &'l SharedScan<'a>,
        services: &[&'a Service],
        args: &PlanArgs,
        outcome: &mut Comparison,
    ) -> Self {
        if outcome.scope.everything.is_some() {
            return Self::default();
        }
        let looked = match &outcome.head {
            Some(head) => Self::of_commit(ctx, services, head, args.fetch || ctx.env.get("CI").is_some()),
            None => Self::of_tree(ctx, look, services, args.files_from.is_none()),
        };
        match looked {
            Ok(beside) => {
                if let Side::Tree(_, drift) = &beside.side {
                    let paths = std::mem::take(&mut outcome.scope.paths);
                    outcome.scope.paths = paths.with(drift.listed.iter().cloned());
                }
                beside
            }
            Err(why) => {
                outcome.scope.everything = Some(Cause::doubt(why));
                Self::default()
            }
        }
    }

    fn of_commit(ctx: &Ctx, services: &[&'a Service], head: &str, fetch: bool) -> Result<Self, Doubt> {
        let snapshot = Snapshot::of(ctx, head)?;
        let files = services.iter().flat_map(|service| {
            let [first, second] = candidates(service);
            [service.dockerfile.to_string(), first.into(), second.into()]
        });
        let files: BTreeSet<String> = files.collect();
        let links = snapshot.links();
        let paths: BTreeSet<&str> = files.iter().map(String::as_str).chain(links.iter().copied()).collect();
        let texts = snapshot.contents(ctx, &paths.into_iter().collect::<Vec<_>>(), fetch)?;
        let links = links
            .into_iter()
            .filter_map(|path| Some((path.to_owned(), String::from_utf8_lossy(texts.get(path)?).into_owned())))
            .collect();
        let definitions = services.iter().map(|service| Definition::at(service, |path| texts.get(path).cloned()));
        Ok(Self { definitions: definitions.collect(), links, side: Side::Commit(snapshot), seen: Vec::new() })
    }

    fn of_tree(ctx: &Ctx, look: &'l SharedScan<'a>, services: &[&'a Service], whole: bool) -> Result<Self, Doubt> {
        let definitions: Vec<_> = services.iter().map(|service| look.definition(service)).collect();
        if whole {
            let tree = look.tree()?;
            let sees = |it: &Result<Definition<'a>, Diagnostic>| look.seen_by(it.as_ref().ok()?).ok();
            let seen = definitions.iter().map(sees).collect();
            return Ok(Self { definitions, links: Vec::new(), side: Side::Tree(tree, Drift::of(ctx, tree)?), seen });
        }
        let links = file_stats::links_of(ctx, &look.stats()?);
        Ok(Self { definitions, links, side: Side::List, seen: Vec::new() })
    }

    /// The symbolic links of that side, and their targets.
    pub fn links(&self) -> &[(String, String)] {
        &self.links
    }

    /// The files that git knows there, from the root; `None` if nobody looked.
    pub fn tracked(&self) -> Option<Vec<&str>> {
        match &self.side {
            Side::Commit(snapshot) => Some(snapshot.paths().collect()),
            Side::Tree(tree, _) => Some(tree.listing.index.keys().map(String::as_str).collect()),
            Side::None | Side::List => None,
        }
    }

    /// Why each of these services is affected although no changed file is in its
    /// `paths`, and the file that is the reason.
    pub fn complete(&self, ctx: &Ctx, outcome: &Comparison, verdicts: &[Verdict<'_>]) -> Vec<Option<(String, Cause)>> {
        let paths: Vec<&str> = outcome.scope.paths.iter().collect();
        let of = |(at, verdict): (usize, &Verdict<'_>)| match &verdict.reason {
            Reason::Nothing { .. } => self.of(ctx, verdict.service, at, &paths),
            _ => None,
        };
        if matches!(self.side, Side::None) {
            return Vec::new();
        }
        verdicts.iter().enumerate().map(of).collect()
    }

    fn of(&self, ctx: &Ctx, service: &Service, at: usize, paths: &[&str]) -> Option<(String, Cause)> {
        let dockerfile = || service.dockerfile.to_string();
        let broken = |broken: &Diagnostic| {
            Some((dockerfile(), Cause::doubt(format!("its build definition can't be read: {broken}"))))
        };
        let definition = match self.definitions.get(at)? {
            Ok(definition) => definition,
            Err(error) => return broken(error),
        };
        let setting = BuildSettings::of_service(service);
        let seen = self.seen.get(at).and_then(Option::as_ref);
        let of_seen = seen.map(ServiceView::links);
        let links = of_seen.as_ref().unwrap_or(&self.links);
        let inputs = match definition.inputs(service.target.as_deref(), &setting, links) {
            Ok(inputs) => inputs,
            Err(error) => return broken(&error),
        };
        if let Some(path) = self.linked(ctx, definition) {
            return Some((path, Cause::rule("it lies behind a symbolic link, so its changes are not seen")));
        }
        if let Some(it) = inputs.moving.first() {
            return Some((dockerfile(), Cause::rule(format!("line {}: {}", it.line, it.message))));
        }
        let coverage = definition.coverage(&inputs);
        let read = |path: &str| match coverage.reader(path) {
            _ if definition.says(path) => Some("it defines the build".to_owned()),
            Some(InputReader::Definition) => Some("it defines the build".to_owned()),
            Some(InputReader::Instruction(input)) => {
                Some(format!("{}:{} `{}` reads it", service.dockerfile, input.line, input.instruction))
            }
            None => None,
        };
        // Files in `paths` were checked before.
        let left_out = |path: &&str| {
            if service.paths.includes(path) {
                return None;
            }
            let why = read(path)?;
            Some(((*path).to_owned(), Cause::rule(format!("{why}, and its `paths` leave it out"))))
        };
        let counts = |path: &str| service.paths.includes(path) || coverage.reader(path).is_some();
        paths
            .iter()
            .find_map(left_out)
            .or_else(|| self.attributes(paths, counts))
            .or_else(|| self.unlisted(ctx, definition, seen?, &inputs, counts))
    }

    fn linked(&self, ctx: &Ctx, definition: &Definition<'a>) -> Option<String> {
        let Side::Commit(snapshot) = &self.side else { return definition.linked(ctx).map(ToString::to_string) };
        let Service { dockerfile, context, .. } = definition.service;
        let all = [Some(dockerfile), definition.ignore_file(), Some(context)];
        let path = all.into_iter().flatten().find(|path| snapshot.is_behind_link(path.as_str()))?;
        Some(path.to_string())
    }

    /// A change of attributes may change what a checkout makes of any file next
    /// to or below them.
    fn attributes(&self, paths: &[&str], counts: impl Fn(&str) -> bool) -> Option<(String, Cause)> {
        let mut changed = paths.iter().filter(|path| path.rsplit('/').next() == Some(".gitattributes"));
        let any = |dir: &str| {
            let is_meant = |path: &str| path.starts_with(dir) && counts(path);
            match &self.side {
                Side::Commit(snapshot) => snapshot.paths().any(is_meant),
                Side::Tree(tree, _) => tree.listing.index.keys().any(|path| is_meant(path)),
                Side::None | Side::List => true,
            }
        };
        let path = changed.find(|path| any(path.strip_suffix(".gitattributes").unwrap_or_default()))?;
        Some(((*path).to_owned(), Cause::rule("a checkout may write other bytes for the files that it covers")))
    }

    /// A file that a build sees in the tree, but that git does not list.
    fn unlisted(
        &self,
        ctx: &Ctx,
        definition: &Definition<'a>,
        seen: &ServiceView<'_>,
        inputs: &Inputs,
        counts: impl Fn(&str) -> bool,
    ) -> Option<(String, Cause)> {
        let Side::Tree(_, drift) = &self.side else { return None };
        if let Some(why) = git_that_goes_in(ctx, &definition.coverage(inputs), seen.git_folders()) {
            return Some((".git".into(), Cause::rule(why)));
        }
        let is_seen = |path: &&String| match path.ends_with('/') {
            true => is_folder_read(definition, inputs, path),
            false => counts(path),
        };
        let path = drift.seen.iter().filter(|path| seen.has(path)).find(is_seen)?;
        let what = if path.ends_with('/') {
            "a folder that a checkout would not create like this"
        } else {
            "git does not list it"
        };
        Some((path.clone(), Cause::rule(format!("a build sees it: {what} ({})", shown(path)))))
    }
}
