//! `ci plan`: which services a change affects, and why. In doubt a service counts
//! as changed, and the output says so.

use std::mem::ManuallyDrop;
use std::thread;

use camino::Utf8Path;

use crate::cli::ci::PlanArgs;
use crate::cmd;
use crate::cmd::ci::comparison::Comparison;
use crate::cmd::ci::indirect_changes::{self, IndirectChanges};
use crate::cmd::ci::{dockerfile_changes, report, sides};
use crate::cmd::image::current;
use crate::cmd::objects::ci::{Matrix, MatrixRow, Planning, ServicePlan};
use crate::cmd::shared_scan::SharedScan;
use crate::ctx::{Ctx, Format};
use crate::exec::git::{self, Names};
use crate::exec::{github, input, interrupt, revision};
use crate::fault;
use crate::model::affected::{ChangeSet, Paths, Reason, Verdict, verdicts};
use crate::model::annotation;
use crate::model::config::{FILE, Project, Service};
use crate::model::doubt::{Answer, Doubt};
use crate::model::event::{self, Cause, Compare, Range};
use crate::model::fingerprint::Fingerprint;
use crate::plan::step::Plan;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &PlanArgs) -> anyhow::Result<()> {
    if ctx.dry_run {
        project.select(&args.services)?;
        return dry_run(ctx, project, args);
    }
    let mut outcome = match &args.files_from {
        Some(file) => {
            Comparison { scope: ChangeSet { paths: listed(file)?, everything: None }, ..Comparison::default() }
        }
        None => look(ctx, project, compare(ctx, project, args), args.fetch)?,
    };
    let of_head = of_head(ctx, args, &mut outcome);
    let project = of_head.as_ref().unwrap_or(project);
    let mut services = project.select(&args.services)?;
    services.sort_by_key(|service| &service.name);
    services.dedup_by_key(|service| &service.name);
    // The process ends soon, and the kernel takes all memory back at once.
    let tree = ManuallyDrop::new(SharedScan::new(ctx, &services));
    let beside = IndirectChanges::look(ctx, &tree, &services, args, &mut outcome);
    let (outcome, services) = (&outcome, &services[..]);
    let mut verdicts = sides::with(ctx, outcome, args, |sides| {
        dockerfile_changes::with(&beside, sides, |it| verdicts(services, &outcome.scope, sides, it, args.explain))
    });
    let found = beside.complete(ctx, outcome, &verdicts);
    for (verdict, found) in verdicts.iter_mut().zip(&found) {
        if let Some((path, cause)) = found {
            verdict.reason = Reason::Indirect { path, cause: cause.clone() };
        }
    }
    if let Some(cause) = verdicts.iter().find_map(Verdict::doubt).filter(|_| args.strict) {
        return Err(fault::failed(format!("the changes are unknown: {}", cause.text))
            .help("without `--strict` everything counts as changed")
            .into());
    }
    if let Some(cause) = verdicts.iter().find_map(everything) {
        ctx.say(format!("note: everything is affected: {}", cause.text));
    }
    // The fingerprint costs more than all the rest, so it is only computed for
    // readers of the JSON object.
    let asks = ctx.format == Format::Json && lies_here(ctx, &tree, args, outcome);
    let fingerprints = if asks { fingerprints(ctx, &tree, project, services) } else { vec![None; services.len()] };
    let result = planned(outcome, &verdicts, args.explain, fingerprints);
    if ctx.format == Format::Github {
        to_github(ctx, outcome, &verdicts, &result)?;
    }
    ctx.result(&result, || report::text(outcome, &verdicts, args.explain))
}

/// services.toml in the requested commit.
fn of_head(ctx: &Ctx, args: &PlanArgs, outcome: &mut Comparison) -> Option<Project> {
    let (Some(_), Some(head), None) = (&args.head, &outcome.head, &outcome.scope.everything) else { return None };
    let fetch = args.fetch || ctx.env.get("CI").is_some();
    let text = revision::at(ctx, head, FILE, fetch).and_then(|text| text.ok_or("it does not exist".into()));
    match text.and_then(|text| Project::parse(FILE.into(), &text).map_err(Doubt::from)) {
        Ok(project) => Some(project),
        Err(why) => {
            let cause = Cause::doubt(format!("{FILE} of {head} can't be read: {why}"));
            outcome.scope.everything = Some(cause);
            None
        }
    }
}

/// Whether the working tree is what was asked about. It is without `--head`.
fn lies_here(ctx: &Ctx, tree: &SharedScan<'_>, args: &PlanArgs, outcome: &Comparison) -> bool {
    let is_like = |head: &String| indirect_changes::lies_here(ctx, tree, head) == Answer::Known(true);
    args.head.is_none() || outcome.head.as_ref().is_some_and(is_like)
}

/// On all processors, because all services read the same tree.
fn fingerprints<'a>(
    ctx: &Ctx,
    tree: &SharedScan<'a>,
    project: &Project,
    services: &[&'a Service],
) -> Vec<Option<Fingerprint>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let of_some = |some: &[&'a Service]| -> Vec<_> {
        some.iter().map(|service| current::of_service(ctx, tree, project, service)).collect()
    };
    thread::scope(|scope| {
        let chunks = services.chunks(services.len().div_ceil(threads).max(1));
        let threads: Vec<_> = chunks.map(|some| (some.len(), scope.spawn(move || of_some(some)))).collect();
        let join = |(count, thread): (usize, thread::ScopedJoinHandle<'_, Vec<_>>)| {
            thread.join().unwrap_or_else(|_| vec![None; count])
        };
        threads.into_iter().flat_map(join).collect()
    })
}

fn everything<'a>(verdict: &'a Verdict<'_>) -> Option<&'a Cause> {
    match &verdict.reason {
        Reason::Everything { cause, .. } => Some(cause),
        _ => None,
    }
}

fn dry_run(ctx: &Ctx, project: &Project, args: &PlanArgs) -> anyhow::Result<()> {
    let branch = &project.default_branch;
    let steps = match compare(ctx, project, args) {
        _ if args.files_from.is_some() => Vec::new(),
        Compare::Range(range) => git::steps(ctx, &range, branch, names(ctx)),
        Compare::Everything(cause) => {
            ctx.say(format!("note: nothing is compared: {}", cause.text));
            Vec::new()
        }
    };
    cmd::print(ctx, None, &[Plan::of(steps)])
}

/// What to compare: the options, else the event, else the working tree.
fn compare(ctx: &Ctx, project: &Project, args: &PlanArgs) -> Compare {
    let (base, head) = (args.base.clone(), args.head.clone());
    match (&base, &head, ctx.env.get("GITHUB_EVENT_NAME")) {
        (None, None, Some(event)) => event::compare(event, payload(ctx), &project.default_branch),
        _ => Compare::Range(Range { base, head, three_dots: true, replaceable: false }),
    }
}

/// Only programs want commit ids.
fn names(ctx: &Ctx) -> Names {
    if ctx.format == Format::Json { Names::Commits } else { Names::Given }
}

fn payload(ctx: &Ctx) -> Result<String, Doubt> {
    let file = ctx.env.get("GITHUB_EVENT_PATH").ok_or("GITHUB_EVENT_PATH, which names the event file, is not set")?;
    // GitHub limits events to 25 MB.
    input::text(file.into(), 32 << 20).map_err(|error| format!("the event file {file} can't be read: {error}").into())
}

fn listed(file: &Utf8Path) -> anyhow::Result<Paths> {
    /// A path of 100 bytes for each of two million files.
    const LIMIT: u64 = 200 << 20;
    let read = match file.as_str() {
        "-" => input::piped(|| Ok(std::io::stdin()), LIMIT),
        name => {
            let name = name.to_owned();
            input::piped(|| std::fs::File::open(name), LIMIT)
        }
    };
    interrupt::check()?;
    let bytes = read.map_err(|error| fault::usage(format!("--files-from {file}: {error}")))?;
    Ok(Paths::of_list(bytes).map_err(|why| {
        fault::usage(format!("--files-from {file}: {why}"))
            .help("a list with `-z`, where NUL ends each path, needs no quotes")
    })?)
}

fn look(ctx: &Ctx, project: &Project, compare: Compare, fetch: bool) -> anyhow::Result<Comparison> {
    let branch = &project.default_branch;
    let told = match compare {
        Compare::Range(range) => git::changes(ctx, &range, branch, names(ctx), fetch)?,
        Compare::Everything(cause) => return Ok(all(cause)),
    };
    Ok(match told {
        Answer::Doubt(why) => all(Cause::doubt(why)),
        Answer::Known(git::Changes { base, head, three_dots, range, paths, note }) => {
            if let Some(note) = note {
                ctx.say(format!("note: {note}"));
            }
            let scope = ChangeSet { paths, everything: None };
            Comparison { base: Some(base), head, three_dots, range: Some(range), scope }
        }
    })
}

fn all(cause: Cause) -> Comparison {
    Comparison { scope: ChangeSet { everything: Some(cause), ..ChangeSet::default() }, ..Comparison::default() }
}

/// The object for `--format json`.
fn planned<'a>(
    outcome: &'a Comparison,
    verdicts: &'a [Verdict<'a>],
    explain: bool,
    fingerprints: Vec<Option<Fingerprint>>,
) -> ServicePlan<'a> {
    let affected = verdicts.iter().filter(|verdict| verdict.affected());
    let service = |(verdict, fingerprint): (&'a Verdict<'a>, Option<Fingerprint>)| Planning {
        name: &verdict.service.name,
        affected: verdict.affected(),
        reason: report::reason(verdict),
        fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()),
        explain: explain.then(|| report::hits(verdict)),
    };
    ServicePlan {
        base: outcome.base.as_deref(),
        head: outcome.head.as_deref(),
        services: verdicts.iter().zip(fingerprints).map(service).collect(),
        matrix: Matrix { include: affected.map(|verdict| row(verdict.service)).collect() },
    }
}

fn row(service: &Service) -> MatrixRow<'_> {
    let platforms: Vec<_> = service.platforms.iter().map(ToString::to_string).collect();
    MatrixRow {
        service: &service.name,
        image: service.image.as_str(),
        target: service.target.as_deref(),
        dockerfile: service.dockerfile.as_str(),
        context: service.context.as_str(),
        platforms: platforms.join(","),
    }
}

/// The outputs and the summary of the job, and a prominent warning if something
/// is in doubt.
fn to_github(
    ctx: &Ctx,
    outcome: &Comparison,
    verdicts: &[Verdict<'_>],
    result: &ServicePlan<'_>,
) -> anyhow::Result<()> {
    let mut outputs: Vec<_> =
        verdicts.iter().map(|verdict| (verdict.service.name.clone(), verdict.affected().to_string())).collect();
    outputs.push(("any".into(), verdicts.iter().any(Verdict::affected).to_string()));
    outputs.push(("matrix".into(), serde_json::to_string(&result.matrix)?));
    github::output(ctx, &outputs)?;
    github::summary(ctx, &report::markdown(outcome, verdicts))?;
    if let Some(verdict) = verdicts.iter().find(|verdict| verdict.doubt().is_some())
        && let Some(cause) = verdict.doubt()
    {
        let what = if everything(verdict).is_some() { "everything" } else { &verdict.service.name };
        ctx.commands(&[annotation::warning(&format!("{what} is affected: {}", cause.text))])?;
    }
    Ok(())
}
