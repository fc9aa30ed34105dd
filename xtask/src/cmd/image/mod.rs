//! An image from services.toml: what it is made of, whether it is there already,
//! and its build.

pub mod current;
mod explain;
pub(super) mod job;
mod outputs;
pub(super) mod parallel;
pub mod publish;
mod publish_guard;
pub mod record;
pub mod request;

use crate::cli::docker::BuildArgs;
use crate::cmd::definition::{BuildSettings, Definition};
use crate::cmd::shared_scan::SharedScan;
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service};
use crate::model::platform::Platform;
use crate::model::reference::{Reference, Tag, reference};
use crate::plan::build::{Output, Request, image as build_of, plan};
use crate::plan::step::Plan;

use self::job::Job;

/// An image that the engine holds. Its name may be another image's by the time
/// it is run: another checkout builds under the same. Its id may not.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// For people.
    pub name: Reference,
    /// What is run.
    pub id: String,
    /// Which of several platforms.
    pub platform: Option<String>,
}

impl BuiltImage {
    /// The same, run on this platform where one is asked for.
    #[must_use]
    pub fn on(self, platform: Option<&Platform>) -> Self {
        Self { platform: platform.map(Platform::to_string).or(self.platform), ..self }
    }
}

/// What the engine has under a name, or has built by that digest: found once.
pub fn find(engine: &Engine, name: &Reference, by: &str) -> anyhow::Result<Option<BuiltImage>> {
    Ok(engine.image(by)?.map(|image| BuiltImage { name: name.clone(), id: image.id, platform: None }))
}

/// The build alone, for verbs that need an image first.
pub fn ensure(
    engine: &Engine,
    project: &Project,
    service: &Service,
    target: Option<&str>,
    tag: &Tag,
    platform: Option<&Platform>,
    bases: Bases,
) -> anyhow::Result<BuiltImage> {
    let request = request_for(&engine.ctx, project, service, target, tag, platform)?;
    let look = SharedScan::new(&engine.ctx, &[service]);
    let job = Job::new(engine, project, service, request, bases, &look)?;
    job.run(|step| engine.run(step), &|_, _| Err(fault::failed("only what is pushed is proved here").into()))?
        .image(engine)
        .map(|image| image.on(platform))
}

/// What [`ensure`] would do, and what its image is called then.
#[allow(clippy::too_many_arguments)]
pub fn plan_ensure(
    ctx: &Ctx,
    engine: Option<&Engine>,
    project: &Project,
    service: &Service,
    target: Option<&str>,
    tag: &Tag,
    platform: Option<&Platform>,
    bases: Bases,
) -> anyhow::Result<PlannedBuild> {
    let look = SharedScan::new(engine.map_or(ctx, |engine| &engine.ctx), &[service]);
    let request = request_for(ctx, project, service, target, tag, platform)?;
    plan_of(ctx, engine, project, service, request, bases, &look)
}

fn request_for(
    ctx: &Ctx,
    project: &Project,
    service: &Service,
    target: Option<&str>,
    tag: &Tag,
    platform: Option<&Platform>,
) -> anyhow::Result<Request> {
    let platforms = platform.into_iter().cloned().collect();
    let args = BuildArgs { tags: vec![tag.clone()], platforms, ..BuildArgs::default() };
    let mut request = request::resolve(ctx, project, service, &args)?;
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
pub struct PlannedBuild {
    /// Its steps.
    pub plan: Plan,
    /// What its image is run by.
    pub image: String,
}

/// What a request would do, as far as the engine tells.
pub(super) fn plan_of<'a>(
    ctx: &Ctx,
    engine: Option<&'a Engine>,
    project: &'a Project,
    service: &'a Service,
    request: Request,
    bases: Bases,
    look: &'a SharedScan<'a>,
) -> anyhow::Result<PlannedBuild> {
    let Some(engine) = engine else {
        check(ctx, service, &request)?;
        return Ok(PlannedBuild { plan: whole(ctx, project, service, &request), image: named(&request) });
    };
    Job::new(engine, project, service, request, bases, look)?.planned()
}

/// The build, and with a push what comes after it.
fn whole(ctx: &Ctx, project: &Project, service: &Service, request: &Request) -> Plan {
    let mut whole = plan(request);
    if request.output == Output::Push {
        let Plan { steps, finally } = publish::plan(ctx, project, service, request);
        let built = build_of(request).steps.len();
        whole.steps.splice(built..built, steps);
        whole.finally.extend(finally);
    }
    whole
}

/// What the image of a request is run by before anybody knows its id: the name
/// that is this checkout's alone comes last.
fn named(request: &Request) -> String {
    request.tags.last().map(ToString::to_string).unwrap_or_default()
}

/// The request of `docker SERVICE` without options.
pub fn default_request(ctx: &Ctx, project: &Project, service: &Service) -> anyhow::Result<Request> {
    request::resolve(ctx, project, service, &BuildArgs::default())
}

fn check(ctx: &Ctx, service: &Service, request: &Request) -> anyhow::Result<()> {
    let setting = BuildSettings::new(ctx, &request.build_args, &request.platforms, &[]);
    Definition::read(ctx, service)?.images(request.target.as_deref(), &setting)?;
    Ok(())
}
