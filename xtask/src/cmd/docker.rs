//! `docker SERVICE` and `docker all`: builds images, and tests them if asked to.

use std::num::NonZeroUsize;

use crate::cli::docker::{AllArgs, BuildArgs, ProveArgs};
use crate::cmd::image::BuiltImage;
use crate::cmd::image::job::{Built, Job};
use crate::cmd::image::{parallel, plan_of, request};
use crate::cmd::objects::docker as objects;
use crate::cmd::shared_scan::SharedScan;
use crate::cmd::{self, prove};
use crate::ctx::{Ctx, Format, Object};
use crate::exec::engine::Engine;
use crate::model::config::{Project, Service};
use crate::model::reference::Tag;
use crate::plan::build::Request;
use crate::plan::step::{Plan, Step};

/// Runs `docker all`.
pub fn all(ctx: &Ctx, project: &Project, args: &AllArgs) -> anyhow::Result<()> {
    run(ctx, project, &[], &args.build, args.jobs)
}

/// Runs `docker SERVICE`.
pub fn one(ctx: &Ctx, project: &Project, name: String, args: &BuildArgs) -> anyhow::Result<()> {
    run(ctx, project, &[name], args, None)
}

/// Builds these services, or all if there are no names, so many in parallel.
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
        .map(|service| Ok((*service, request::resolve(ctx, project, service, args)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    parallel::check(&requests.iter().map(|(service, request)| (service.name.as_str(), request)).collect::<Vec<_>>())?;
    if ctx.dry_run {
        return dry_run(ctx, project, names, args, requests);
    }
    let engine = cmd::connect(ctx, project, args.setup.wanted)?;
    let ctx = &engine.ctx;
    let look = SharedScan::new(ctx, &services);
    let _images = (args.test || args.push).then(|| request::hold_images(ctx, project)).transpose()?;
    let mut prepared: Vec<parallel::Prepared<'_>> = requests
        .into_iter()
        .map(|(service, request)| {
            (service.name.as_str(), Job::new(&engine, project, service, request, args.bases.mode, &look))
        })
        .collect();
    let prover = |service: &Service, image: BuiltImage| {
        prove::proved(&engine, project, &[service], &[image], &ProveArgs::default())
    };
    match prepared.pop() {
        Some((_, job)) if !names.is_empty() && prepared.is_empty() => {
            let built = job?.run(|step| engine.run(step), &prover)?;
            // A program gets one object: that of the proof to come.
            if !args.test || ctx.format != Format::Json {
                ctx.result(&built.object, || built.line())?;
            }
            let image = built.object.clone();
            let object = |proved| objects::ImageObject { test: Some(proved), ..image };
            proved(&engine, project, args, &services, &[built], object)
        }
        last => {
            prepared.extend(last);
            let (images, built) = parallel::run(&engine, prepared, jobs, args.test, &prover)?;
            let object = |proved| objects::Images { test: Some(proved), ..images };
            proved(&engine, project, args, &services, &built, object)
        }
    }
}

/// With `--test`: tests the images that were built. A program gets both results
/// in one object.
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
    // Of several it is this machine's.
    let platform = if let [one] = args.platforms.as_slice() { Some(one) } else { None };
    let image = |built: &Built| Ok(built.image(engine)?.on(platform));
    let images = built.iter().map(image).collect::<anyhow::Result<Vec<_>>>()?;
    prove::prove(engine, project, services, &images, &after_build(args), object)
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
    let look = SharedScan::new(engine.as_ref().map_or(ctx, |engine| &engine.ctx), &services);
    let (mut results, mut names_of) = (Vec::new(), Vec::new());
    for (service, request) in requests {
        // A Dockerfile that can't be built has no plan.
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
    parallel::verdict(ctx, &parallel::failed(&results, &names_of), names_of.len())
}
