//! `docker SERVICE` and `docker all`: an image from services.toml.

pub mod current;
mod explain;
mod job;
mod leaves;
mod places;
pub mod record;
pub mod request;
mod several;

use std::num::NonZeroUsize;

use crate::cli::BasesFrom;
use crate::cli::docker::{AllArgs, BuildArgs, ProveArgs};
use crate::cmd;
use crate::cmd::definition::{Definition, Setting};
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::run;
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service};
use crate::model::reference::{Reference, Tag, reference};
use crate::plan::build::{Request, plan};
use crate::plan::step::{Plan, Step};

use self::job::Job;

/// Runs `docker all`.
pub fn all(ctx: &Ctx, project: &Project, args: &AllArgs) -> anyhow::Result<()> {
    run(ctx, project, &[], &args.build, args.jobs)
}

/// Runs `docker SERVICE`.
pub fn one(ctx: &Ctx, project: &Project, name: String, args: &BuildArgs) -> anyhow::Result<()> {
    run(ctx, project, &[name], args, None)
}

/// Builds these, so many at once; no names are all services.
fn run(
    ctx: &Ctx,
    project: &Project,
    names: &[String],
    args: &BuildArgs,
    jobs: Option<NonZeroUsize>,
) -> anyhow::Result<()> {
    let services = project.select(names)?;
    let requests = services
        .iter()
        .map(|service| Ok((*service, request::request(ctx, project, service, args)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    several::check(&requests.iter().map(|(service, request)| (service.name.as_str(), request)).collect::<Vec<_>>())?;
    if ctx.dry_run {
        return dry_run(ctx, names, args, &requests);
    }
    let engine = cmd::engine(ctx, project, args.setup.wanted)?;
    let _images = args.test.then(|| request::hold_images(ctx, project)).transpose()?;
    let mut prepared: Vec<several::Prepared<'_>> = requests
        .into_iter()
        .map(|(service, request)| {
            (service.name.as_str(), Job::new(&engine, project, service, request, args.bases.mode))
        })
        .collect();
    let built = match prepared.pop() {
        Some((_, job)) if !names.is_empty() && prepared.is_empty() => {
            let built = job?.run(|step| run::run(&engine.ctx, step))?;
            ctx.result(&built, || built.line())?;
            vec![built]
        }
        last => {
            prepared.extend(last);
            several::run(&engine, prepared, jobs)?
        }
    };
    if args.test {
        let images = built.iter().map(|built| built.held(&engine)).collect::<anyhow::Result<Vec<_>>>()?;
        cmd::prove::prove(&engine, project, &services, &images, &after_build(args))?;
    }
    Ok(())
}

/// An image that the engine holds. Its name may be another image's by the time
/// it is run: another checkout builds under the same. Its id may not.
#[derive(Clone, Debug)]
pub struct Image {
    /// For people.
    pub name: Reference,
    /// What is run.
    pub id: String,
}

/// What the engine has under a name, or has built by that digest: found once.
pub fn held(engine: &Engine, name: &Reference, by: &str) -> anyhow::Result<Option<Image>> {
    Ok(engine.image(by)?.map(|image| Image { name: name.clone(), id: image.id }))
}

/// The build alone, for verbs that need an image first.
pub fn image(
    engine: &Engine,
    project: &Project,
    service: &Service,
    target: Option<&str>,
    tag: &Tag,
    bases: Bases,
) -> anyhow::Result<Image> {
    let args = BuildArgs { tags: vec![tag.clone()], bases: BasesFrom { mode: bases }, ..BuildArgs::default() };
    let mut request = request::request(&engine.ctx, project, service, &args)?;
    if let Some(target) = target {
        request.target = Some(target.to_owned());
        let name = format!("{}-test", service.image).parse().map_err(fault::usage)?;
        request.tags = vec![reference(None, &name, tag), reference(None, &name, &request::pin(&engine.ctx)?)];
        // The service's filter is about its image, not about its tests.
        request.reuse = false;
    }
    let job = Job::new(engine, project, service, request, bases)?;
    job.run(|step| run::run(&engine.ctx, step))?.held(engine)
}

/// The request of `docker SERVICE` without options.
pub fn plain(ctx: &Ctx, project: &Project, service: &Service) -> anyhow::Result<Request> {
    request::request(ctx, project, service, &BuildArgs::default())
}

fn after_build(args: &BuildArgs) -> ProveArgs {
    ProveArgs {
        tag: args.tags.first().cloned().unwrap_or_default(),
        no_build: true,
        bases: args.bases,
        ..Default::default()
    }
}

fn dry_run(ctx: &Ctx, names: &[String], args: &BuildArgs, requests: &[(&Service, Request)]) -> anyhow::Result<()> {
    let mut whole = Plan::default();
    if args.setup.wanted {
        whole.steps.push(Step::setup());
    }
    let mut results = Vec::new();
    for (service, request) in requests {
        results.push(check(ctx, service, request));
        // A Dockerfile that can't be built is no plan.
        if let Some(Ok(())) = results.last() {
            let Plan { steps, finally } = plan(request);
            whole.steps.extend(steps);
            whole.finally.extend(finally);
        }
    }
    if let (false, 1) = (names.is_empty(), results.len()) {
        results.pop().unwrap_or(Ok(()))?;
    }
    if args.test {
        whole.steps.push(
            Step::new("cargo")
                .args(["xtask", "docker", "test", "--no-build"])
                .each("--tag", args.tags.first().map(Tag::as_str))
                .args(names),
        );
    }
    cmd::print(ctx, &whole)?;
    let names: Vec<String> = requests.iter().map(|(service, _)| service.name.clone()).collect();
    several::verdict(ctx, &several::failed(&results, &names), names.len())
}

fn check(ctx: &Ctx, service: &Service, request: &Request) -> anyhow::Result<()> {
    let setting = Setting::new(ctx, &request.build_args, &request.platforms, &[]);
    Definition::read(ctx, service)?.images(request.target.as_deref(), &setting)?;
    Ok(())
}
