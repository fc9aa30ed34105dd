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

use crate::cli::docker::{AllArgs, BuildArgs, ProveArgs};
use crate::cmd;
use crate::cmd::definition::{Definition, Setting};
use crate::cmd::look::Look;
use crate::cmd::objects::docker as objects;
use crate::ctx::{Ctx, Format, Object};
use crate::exec::engine::Engine;
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service};
use crate::model::reference::{Reference, Tag, reference};
use crate::plan::build::{Request, plan};
use crate::plan::step::{Plan, Step};

use self::job::{Built, Job};

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
        return dry_run(ctx, project, names, args, requests);
    }
    let engine = cmd::engine(ctx, project, args.setup.wanted)?;
    let ctx = &engine.ctx;
    let look = Look::new(ctx, &services);
    let _images = args.test.then(|| request::hold_images(ctx, project)).transpose()?;
    let mut prepared: Vec<several::Prepared<'_>> = requests
        .into_iter()
        .map(|(service, request)| {
            (service.name.as_str(), Job::new(&engine, project, service, request, args.bases.mode, &look))
        })
        .collect();
    match prepared.pop() {
        Some((_, job)) if !names.is_empty() && prepared.is_empty() => {
            let built = job?.run(|step| engine.run(step))?;
            // A program gets one object: that of the proof to come.
            if !args.test || ctx.format != Format::Json {
                ctx.result(&built.object, || built.line())?;
            }
            let image = built.object.clone();
            let object = |proved| objects::Image { test: Some(proved), ..image };
            proved(&engine, project, args, &services, &[built], object)
        }
        last => {
            prepared.extend(last);
            let (images, built) = several::run(&engine, prepared, jobs, args.test)?;
            let object = |proved| objects::Images { test: Some(proved), ..images };
            proved(&engine, project, args, &services, &built, object)
        }
    }
}

/// With `--test`: proves what was built. A program gets the object of both.
fn proved<T: Object>(
    engine: &Engine,
    project: &Project,
    args: &BuildArgs,
    services: &[&Service],
    built: &[Built],
    object: impl FnOnce(objects::Proved) -> T,
) -> anyhow::Result<()> {
    if !args.test {
        return Ok(());
    }
    let images = built.iter().map(|built| built.held(engine)).collect::<anyhow::Result<Vec<_>>>()?;
    cmd::prove::prove(engine, project, services, &images, &after_build(args), object)
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
    let request = request_for(&engine.ctx, project, service, target, tag)?;
    let look = Look::new(&engine.ctx, &[service]);
    let job = Job::new(engine, project, service, request, bases, &look)?;
    job.run(|step| engine.run(step))?.held(engine)
}

/// What [`image`] would do, and what its image is called then.
pub fn planned(
    ctx: &Ctx,
    engine: Option<&Engine>,
    project: &Project,
    service: &Service,
    target: Option<&str>,
    tag: &Tag,
    bases: Bases,
) -> anyhow::Result<Planned> {
    let look = Look::new(engine.map_or(ctx, |engine| &engine.ctx), &[service]);
    plan_of(ctx, engine, project, service, request_for(ctx, project, service, target, tag)?, bases, &look)
}

fn request_for(
    ctx: &Ctx,
    project: &Project,
    service: &Service,
    target: Option<&str>,
    tag: &Tag,
) -> anyhow::Result<Request> {
    let args = BuildArgs { tags: vec![tag.clone()], ..BuildArgs::default() };
    let mut request = request::request(ctx, project, service, &args)?;
    if let Some(target) = target {
        request.target = Some(target.to_owned());
        let name = format!("{}-test", service.image).parse().map_err(fault::usage)?;
        request.tags = vec![reference(None, &name, tag), reference(None, &name, &request::pin(ctx)?)];
        // The service's filter is about its image, not about its tests.
        request.reuse = false;
    }
    Ok(request)
}

/// What a build would do.
pub struct Planned {
    /// Its steps.
    pub plan: Plan,
    /// What its image is run by.
    pub image: String,
}

/// What a request would do, as far as the engine tells.
fn plan_of<'a>(
    ctx: &Ctx,
    engine: Option<&'a Engine>,
    project: &'a Project,
    service: &'a Service,
    request: Request,
    bases: Bases,
    look: &'a Look<'a>,
) -> anyhow::Result<Planned> {
    let Some(engine) = engine else {
        check(ctx, service, &request)?;
        return Ok(Planned { plan: plan(&request), image: named(&request) });
    };
    Job::new(engine, project, service, request, bases, look)?.planned()
}

/// What the image of a request is run by before anybody knows its id: the name
/// that is this checkout's alone comes last.
fn named(request: &Request) -> String {
    request.tags.last().map(ToString::to_string).unwrap_or_default()
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

fn dry_run(
    ctx: &Ctx,
    project: &Project,
    names: &[String],
    args: &BuildArgs,
    requests: Vec<(&Service, Request)>,
) -> anyhow::Result<()> {
    let engine = cmd::asked(ctx)?;
    let mut plans: Vec<Plan> = args.setup.wanted.then(|| Plan::of([Step::setup()])).into_iter().collect();
    let services: Vec<&Service> = requests.iter().map(|(service, _)| *service).collect();
    let look = Look::new(engine.as_ref().map_or(ctx, |engine| &engine.ctx), &services);
    let (mut results, mut names_of) = (Vec::new(), Vec::new());
    for (service, request) in requests {
        // A Dockerfile that can't be built is no plan.
        let planned = plan_of(ctx, engine.as_ref(), project, service, request, args.bases.mode, &look);
        results.push(planned.map(|planned| plans.push(planned.plan)));
        names_of.push(service.name.clone());
    }
    if let (false, 1) = (names.is_empty(), results.len()) {
        results.pop().unwrap_or(Ok(()))?;
    }
    if args.test {
        let test = Step::new("cargo")
            .args(["xtask", "docker", "test", "--no-build"])
            .each("--tag", args.tags.first().map(Tag::as_str))
            .args(names);
        plans.push(Plan::of([test]));
    }
    cmd::print(ctx, engine.as_ref(), &plans)?;
    several::verdict(ctx, &several::failed(&results, &names_of), names_of.len())
}

fn check(ctx: &Ctx, service: &Service, request: &Request) -> anyhow::Result<()> {
    let setting = Setting::new(ctx, &request.build_args, &request.platforms, &[]);
    Definition::read(ctx, service)?.images(request.target.as_deref(), &setting)?;
    Ok(())
}
