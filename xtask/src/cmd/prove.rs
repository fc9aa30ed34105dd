//! `docker test`: tests the image, not the code.
//!
//! A container starts with strict restrictions, and is asked what a load balancer
//! and an orchestrator would ask: does it answer, does it name missing
//! dependencies, does it end when asked to?

mod checks;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;

use crate::cli::docker::ProveArgs;
use crate::cmd;
use crate::cmd::image::BuiltImage;
use crate::cmd::image::request::hold_images;
use crate::cmd::objects::docker::{Check, CheckName, Checked, Proof, Proved};
use crate::ctx::{Ctx, Object};
use crate::exec::container_guard::ContainerGuard;
use crate::exec::engine::Engine;
use crate::exec::{checkout, container_checks, interrupt};
use crate::fault;
use crate::model::bytes::Bytes;
use crate::model::config::{Project, Run, Service};
use crate::model::emulation;
use crate::model::platform::Platform;
use crate::model::reference::{Tag, reference};
use crate::plan::container::{ContainerGroup, ContainerSpec};
use crate::plan::step::{Plan, Step};
use crate::plan::system;
use crate::standin;

/// How many containers are tested at a time.
const WORKERS: usize = 2;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &ProveArgs) -> anyhow::Result<()> {
    let services = chosen(project, args)?;
    if ctx.dry_run {
        let engine = cmd::asked(ctx)?;
        return cmd::print(ctx, engine.as_ref(), &plans(ctx, engine.as_ref(), project, &services, args)?);
    }
    let engine = cmd::connect(ctx, project, args.setup.wanted)?;
    if let Some(platform) = &args.platform {
        runs(&engine, platform)?;
    }
    let _images = hold_images(&engine.ctx, project)?;
    let images =
        services.iter().map(|service| image(&engine, project, service, args)).collect::<Result<Vec<_>, _>>()?;
    prove(&engine, project, &services, &images, args, |proved| proved)
}

/// Whether containers of this platform run here: an image that is only built proves
/// nothing.
fn runs(engine: &Engine, platform: &Platform) -> anyhow::Result<()> {
    if engine.version()?.platform().parse() == Ok(platform.clone()) {
        return Ok(());
    }
    let inspected = engine.read(&Step::new("docker").args(["buildx", "inspect", "default"]))?;
    let runs = emulation::runs(&inspected);
    if runs.contains(&platform.as_str()) {
        return Ok(());
    }
    Err(fault::failed(format!("this engine can't run {platform}: it runs {}", runs.join(", ")))
        .help("an emulator: `cargo xtask setup --emulator`; or a runner of that platform")
        .into())
}

/// Tests the images of services on a running engine, and prints the result. For a
/// program it becomes a part of `object`.
pub fn prove<T: Object>(
    engine: &Engine,
    project: &Project,
    services: &[&Service],
    images: &[BuiltImage],
    args: &ProveArgs,
    object: impl FnOnce(Proved) -> T,
) -> anyhow::Result<()> {
    let proved = proved(engine, project, services, images, args)?;
    let (failed, total) = (proved.failed(), proved.results.len());
    let object = object(proved);
    let delivered = engine.ctx.result(&object, || format!("{} passed, {failed} failed", total - failed));
    // What failed is told, whether anybody reads the results or not.
    match failed {
        0 => delivered,
        _ => Err(fault::failed(format!("{failed} of {total} containers failed the proof of their image"))
            .help("the expected and the actual values are above; `--keep` keeps the container")
            .into()),
    }
}

/// Proves the images of services, and tells people of each container.
pub fn proved(
    engine: &Engine,
    project: &Project,
    services: &[&Service],
    images: &[BuiltImage],
    args: &ProveArgs,
) -> anyhow::Result<Proved> {
    let mut jobs = Vec::new();
    let own = engine.version()?.platform();
    for (service, image) in services.iter().zip(images) {
        let Some(run) = &service.run else { continue };
        let is_foreign = image.platform.as_deref().is_some_and(|platform| platform != own);
        let run = if is_foreign { run.emulated() } else { run.clone() };
        // The size belongs to the image, so it is checked with the first role.
        let mut size = size(engine, service, image)?;
        for role in system::roles(&run, args.role.as_deref()) {
            jobs.push((*service, run.clone(), role.map(str::to_owned), image, size.take()));
        }
    }
    let guard = ContainerGuard::new(engine, project, args.keep)?;
    if args.with_deps {
        let needs = standin::images_for(engine, project, &needs(services), args.bases.mode)?;
        guard.perform(&Plan { steps: system::needs(&guard.group, &needs, false), finally: Vec::new() })?;
    }
    let next = AtomicUsize::new(0);
    let proofs = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((service, run, role, image, size)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let proof = one(&guard, service, run, role.as_deref(), image, size.clone(), args.with_deps);
                    if let Ok(proof) = &proof {
                        engine.ctx.say(proof.line());
                    }
                    if let Ok(mut proofs) = proofs.lock() {
                        proofs.push(proof);
                    }
                }
            });
        }
    });
    drop(guard);
    interrupt::check()?;
    Ok(Proved::of(proofs.into_inner().unwrap_or_default().into_iter().collect::<anyhow::Result<_>>()?))
}

fn chosen<'a>(project: &'a Project, args: &ProveArgs) -> anyhow::Result<Vec<&'a Service>> {
    let named = project.select(&args.services)?;
    let services: Vec<&Service> = named.into_iter().filter(|service| service.run.is_some()).collect();
    if services.is_empty() {
        return Err(fault::usage("no `run` table says how to prove this")
            .help("write one: `[services.NAME.run]` with `port` and `health` (docs/services-toml.md)")
            .into());
    }
    if let Some(role) = &args.role {
        let known: Vec<&str> = services
            .iter()
            .filter_map(|service| service.run.as_ref())
            .flat_map(|run| &run.roles)
            .map(String::as_str)
            .collect();
        if !known.contains(&role.as_str()) {
            return Err(fault::usage(format!("no role `{role}`"))
                .help(format!("the roles are: {}", known.join(", ")))
                .into());
        }
    }
    Ok(services)
}

fn image(engine: &Engine, project: &Project, service: &Service, args: &ProveArgs) -> anyhow::Result<BuiltImage> {
    if !args.no_build {
        return cmd::image::ensure(engine, project, service, None, &args.tag, args.platform.as_ref(), args.bases.mode);
    }
    Ok(find_image(engine, service, &args.tag)?.on(args.platform.as_ref()))
}

/// The image of a service that exists already.
pub fn find_image(engine: &Engine, service: &Service, tag: &Tag) -> anyhow::Result<BuiltImage> {
    let name = reference(None, &service.image, tag);
    cmd::image::find(engine, &name, name.as_str())?.ok_or_else(|| {
        fault::failed(format!("the engine has no image {name}"))
            .help(format!("`cargo xtask docker {} --tag {tag}` builds it", service.name))
            .into()
    })
}

/// The name or id by which a printed plan runs such an image.
pub fn named(engine: Option<&Engine>, service: &Service, tag: &Tag) -> anyhow::Result<String> {
    match engine {
        Some(engine) => Ok(find_image(engine, service, tag)?.id),
        None => Ok(reference(None, &service.image, tag).to_string()),
    }
}

/// The check of the size against the limit, once per service.
#[derive(Clone)]
enum SizeCheck {
    /// Done.
    Done(Check),
    /// To be asked of a container: the engine tells the size of one platform of
    /// several only there.
    OfContainer(Bytes),
}

fn size(engine: &Engine, service: &Service, image: &BuiltImage) -> anyhow::Result<Option<SizeCheck>> {
    Ok(match (service.size_budget, &image.platform) {
        (None, _) => None,
        (Some(budget), Some(_)) => Some(SizeCheck::OfContainer(budget)),
        (Some(budget), None) => Some(SizeCheck::Done(checks::of_size(Bytes(engine.image_bytes(&image.id)?), budget))),
    })
}

#[allow(clippy::too_many_arguments)]
fn one(
    guard: &ContainerGuard<'_>,
    service: &Service,
    run: &Run,
    role: Option<&str>,
    image: &BuiltImage,
    size: Option<SizeCheck>,
    with_deps: bool,
) -> anyhow::Result<Proof> {
    let mut proof = Proof {
        service: service.name.clone(),
        role: role.map(str::to_owned),
        platform: image.platform.clone(),
        ..Proof::default()
    };
    let mut budget = None;
    match size {
        Some(SizeCheck::Done(check)) => proof.checks.push(check),
        Some(SizeCheck::OfContainer(most)) => budget = Some(most),
        None => {}
    }
    for container in system::rounds(service, run, role, &image.id, image.platform.as_deref(), with_deps) {
        let what = container.what();
        let mut result = round(guard, &container, what, &mut proof);
        if result.is_ok()
            && let Some(most) = budget.take()
        {
            result = guard.image_bytes(what).map(|bytes| proof.checks.push(checks::of_size(Bytes(bytes), most)));
        }
        if proof.asks_the_log() {
            proof.log = match guard.log(what) {
                log if log.is_empty() => "(the container wrote nothing)".into(),
                log => log,
            };
        }
        guard.remove(what);
        result?;
    }
    proof.passed = proof.holds();
    Ok(proof)
}

/// Tests one container from start to end.
fn round(
    guard: &ContainerGuard<'_>,
    container: &ContainerSpec<'_>,
    what: &str,
    proof: &mut Proof,
) -> anyhow::Result<()> {
    let (run, with_needs) = (container.run, container.with_needs);
    let servers = checks::servers(&run.needs, with_needs);
    let mut check = |what: Checked, passed: bool, detail: String| {
        proof.checks.push(Check { name: CheckName { what, servers }, passed, detail });
    };
    let started = Instant::now();
    if let Err(error) = guard.run(&guard.group.start(container)) {
        interrupt::check()?;
        check(Checked::Start, false, format!("{error:#}"));
        return Ok(());
    }
    let healthy = checks::must_serve(&run.needs, with_needs);
    let answer = match container_checks::wait(guard, container, what, healthy)? {
        container_checks::Readiness::Ready(answer) => answer,
        container_checks::Readiness::Not(why) => {
            check(Checked::Ready, false, why);
            return Ok(());
        }
    };
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    check(Checked::Ready, true, format!("in {seconds:.2} s"));
    for (what, passed, detail) in checks::of_answer(&run.health, &run.needs, healthy, (answer.status, &answer.text())) {
        check(what, passed, detail);
    }
    let inspected = guard.inspect(what)?.context("the container is gone")?;
    let (passed, detail) = container_checks::not_root(guard, what)?;
    check(Checked::NotRoot, passed, detail);
    check(Checked::ReadOnly, inspected.is_read_only(), "root file system, /tmp apart".into());
    let (passed, detail) = container_checks::stop(guard, what)?;
    check(Checked::Stops, passed, detail);
    proof.seconds_to_ready = Some(seconds);
    Ok(())
}

impl Proof {
    /// One line if all checks passed; otherwise every failed check and the log.
    fn line(&self) -> String {
        let parts = [Some(self.service.as_str()), self.role.as_deref(), self.platform.as_deref()];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if self.passed {
            let seconds = self.seconds_to_ready.unwrap_or_default();
            return format!("✓ {}: {} checks, ready in {seconds:.2} s", name, self.checks.len());
        }
        let failed = self.checks.iter().filter(|check| !check.passed);
        let lines: Vec<String> = failed.map(|check| format!("  {}: {}", check.name, check.detail)).collect();
        let log: String = self.log.lines().map(|line| format!("\n  │ {line}")).collect();
        format!("✗ {}\n{}{log}", name, lines.join("\n"))
    }
}

/// The plan of `docker test`. The questions between the start and the end of a
/// container are not steps.
fn plans(
    ctx: &Ctx,
    engine: Option<&Engine>,
    project: &Project,
    services: &[&Service],
    args: &ProveArgs,
) -> anyhow::Result<Vec<Plan>> {
    let mut plans: Vec<Plan> = args.setup.wanted.then(|| Plan::of([Step::setup()])).into_iter().collect();
    let mut containers = Vec::new();
    let platform = args.platform.as_ref().map(Platform::as_str);
    for service in services {
        let Some(run) = &service.run else { continue };
        let image = match args.no_build {
            true => named(engine, service, &args.tag)?,
            false => {
                let planned = cmd::image::plan_ensure(
                    ctx,
                    engine,
                    project,
                    service,
                    None,
                    &args.tag,
                    args.platform.as_ref(),
                    args.bases.mode,
                )?;
                plans.push(planned.plan);
                planned.image
            }
        };
        let roles = system::roles(run, args.role.as_deref());
        containers.extend(
            roles.into_iter().flat_map(|role| system::rounds(service, run, role, &image, platform, args.with_deps)),
        );
    }
    let names = needs(services);
    let needs = args.with_deps.then(|| cmd::need_images(engine, project, &names, args.bases.mode)).transpose()?;
    let group = ContainerGroup::of_line(project, checkout::identity(&ctx.root));
    plans.push(cmd::sweep(engine, project)?);
    plans.push(system::proof(&group, needs.as_ref(), &containers));
    Ok(plans)
}

/// The servers that any of these services needs.
fn needs(services: &[&Service]) -> Vec<String> {
    let runs = services.iter().filter_map(|service| service.run.as_ref());
    let names: BTreeSet<String> = runs.flat_map(|run| run.needs.iter().cloned()).collect();
    names.into_iter().collect()
}
