//! `docker test`: proves the image, not the code.
//!
//! A container is started as strictly as production may run it, and asked what
//! a load balancer and an orchestrator would ask: does it answer, does it say
//! what it misses, does it end when told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;

use crate::cli::docker::ProveArgs;
use crate::cmd;
use crate::cmd::image::Image;
use crate::cmd::image::request::hold_images;
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::scene::Stage;
use crate::exec::{ask, checkout, interrupt};
use crate::fault;
use crate::model::bytes::Bytes;
use crate::model::config::{Project, Run, Service};
use crate::model::reference::{Tag, reference};
use crate::plan::container::{self, Container, Scene};
use crate::plan::step::{Plan, Secret, Step};
use crate::standin;

/// How many containers are proved at a time.
const WORKERS: usize = 2;

/// The one check that has nothing to do with the container's log.
const SIZE: &str = "size";

#[derive(Clone, Debug, Serialize)]
struct Check {
    name: String,
    passed: bool,
    detail: String,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Proof {
    service: String,
    role: Option<String>,
    checks: Vec<Check>,
    seconds_to_ready: Option<f64>,
    passed: bool,
    /// What a failed container wrote.
    #[serde(skip)]
    log: String,
}

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &ProveArgs) -> anyhow::Result<()> {
    let services = chosen(project, args)?;
    if ctx.dry_run {
        return cmd::print(ctx, &dry_plan(ctx, project, &services, args)?);
    }
    let engine = cmd::engine(ctx, project, args.setup.wanted)?;
    let _images = hold_images(ctx, project)?;
    let images =
        services.iter().map(|service| image(&engine, project, service, args)).collect::<Result<Vec<_>, _>>()?;
    prove(&engine, project, &services, &images, args)
}

/// Proves the images of services on an engine that is there; prints the result.
pub fn prove(
    engine: &Engine,
    project: &Project,
    services: &[&Service],
    images: &[Image],
    args: &ProveArgs,
) -> anyhow::Result<()> {
    let mut jobs = Vec::new();
    for (service, image) in services.iter().zip(images) {
        let Some(run) = &service.run else { continue };
        // The size is the image's: it is proved with its first role.
        let mut size = size(engine, service, image)?;
        for role in roles(run, args) {
            jobs.push((*service, run, role, image, size.take()));
        }
    }
    let stage = Stage::new(engine, project, args.keep)?;
    if args.with_deps {
        let mut needs: Vec<String> = jobs.iter().flat_map(|(_, run, ..)| run.needs.clone()).collect();
        needs.sort();
        needs.dedup();
        stage.provide(&standin::images_for(engine, project, &needs, args.bases.mode)?, false)?;
    }
    let next = AtomicUsize::new(0);
    let proofs = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((service, run, role, image, size)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let proof = one(&stage, service, run, *role, &image.id, size.clone(), args.with_deps);
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
    drop(stage);
    interrupt::check()?;
    let mut proofs: Vec<Proof> = proofs.into_inner().unwrap_or_default().into_iter().collect::<anyhow::Result<_>>()?;
    proofs.sort_by(|a, b| (&a.service, &a.role).cmp(&(&b.service, &b.role)));
    let failed = proofs.iter().filter(|proof| !proof.passed).count();
    let total = proofs.len();
    engine.ctx.result(&json!({ "results": proofs, "passed": failed == 0 }), || {
        format!("{} passed, {failed} failed", total - failed)
    })?;
    match failed {
        0 => Ok(()),
        _ => Err(fault::failed(format!("{failed} of {total} containers did not prove their image"))
            .help("what was expected and what came is above; `--keep` leaves the container for a look")
            .into()),
    }
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

fn roles<'a>(run: &'a Run, args: &'a ProveArgs) -> Vec<Option<&'a str>> {
    match &args.role {
        Some(role) => run.roles.iter().filter(|known| *known == role).map(|role| Some(role.as_str())).collect(),
        None if run.roles.is_empty() => vec![None],
        None => run.roles.iter().map(|role| Some(role.as_str())).collect(),
    }
}

fn image(engine: &Engine, project: &Project, service: &Service, args: &ProveArgs) -> anyhow::Result<Image> {
    if !args.no_build {
        return cmd::image::image(engine, project, service, None, &args.tag, args.bases.mode);
    }
    there(engine, service, &args.tag)
}

/// The image of a service that somebody has built already.
pub fn there(engine: &Engine, service: &Service, tag: &Tag) -> anyhow::Result<Image> {
    let name = reference(None, &service.image, tag);
    cmd::image::held(engine, &name, name.as_str())?.ok_or_else(|| {
        fault::failed(format!("the engine has no image {name}"))
            .help(format!("`cargo xtask docker {} --tag {tag}` builds it", service.name))
            .into()
    })
}

/// The size against its budget, once a service.
fn size(engine: &Engine, service: &Service, image: &Image) -> anyhow::Result<Option<Check>> {
    let Some(budget) = service.size_budget else { return Ok(None) };
    let bytes = Bytes(engine.image_bytes(&image.id)?);
    Ok(Some(Check { name: SIZE.into(), passed: bytes <= budget, detail: format!("{bytes} of at most {budget}") }))
}

#[allow(clippy::too_many_arguments)]
fn one(
    stage: &Stage<'_>,
    service: &Service,
    run: &Run,
    role: Option<&str>,
    image: &str,
    size: Option<Check>,
    with_deps: bool,
) -> anyhow::Result<Proof> {
    let mut proof = Proof { service: service.name.clone(), role: role.map(str::to_owned), ..Proof::default() };
    proof.checks.extend(size);
    let rounds: &[bool] = match (run.needs.is_empty(), with_deps) {
        (true, _) => &[false],
        (false, false) => &[false],
        (false, true) => &[false, true],
    };
    for with_needs in rounds {
        let container = Container {
            service,
            run,
            role,
            image: image.to_owned(),
            with_needs: *with_needs,
            env: Vec::new(),
            pass: Vec::new(),
        };
        let what = role.unwrap_or(&service.name);
        let result = round(stage, &container, what, &mut proof);
        if proof.checks.iter().any(|check| !check.passed && check.name != SIZE) && proof.log.is_empty() {
            proof.log = match stage.log(what) {
                log if log.is_empty() => "(the container wrote nothing)".into(),
                log => log,
            };
        }
        stage.remove(what);
        result?;
    }
    proof.passed = !proof.checks.is_empty() && proof.checks.iter().all(|check| check.passed);
    Ok(proof)
}

/// One container from start to end.
fn round(stage: &Stage<'_>, container: &Container<'_>, what: &str, proof: &mut Proof) -> anyhow::Result<()> {
    let (run, with_needs) = (container.run, container.with_needs);
    let suffix = match (run.needs.is_empty(), with_needs) {
        (true, _) => "",
        (_, true) => " with dependencies",
        (_, false) => " without dependencies",
    };
    let mut check = |name: &str, passed: bool, detail: String| {
        proof.checks.push(Check { name: format!("{name}{suffix}"), passed, detail });
        passed
    };
    let started = Instant::now();
    if let Err(error) = stage.run(&stage.scene.start(container)) {
        interrupt::check()?;
        check("start", false, format!("{error:#}"));
        return Ok(());
    }
    // With all that it needs, or with no needs at all, it must come to 200.
    let healthy = with_needs || run.needs.is_empty();
    let answer = match ask::wait(stage, container, what, healthy)? {
        Ok(answer) => answer,
        Err(why) => {
            check("ready", false, why);
            return Ok(());
        }
    };
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    check("ready", true, format!("in {seconds:.2} s"));
    let expected = if healthy { 200 } else { 503 };
    check(
        "health",
        answer.status == expected,
        format!("expected {expected} from {}, got {} {}", run.health, answer.status, answer.text()),
    );
    if !healthy {
        let text = answer.text();
        let unnamed: Vec<&str> = run.needs.iter().map(String::as_str).filter(|need| !text.contains(need)).collect();
        check(
            "names what is missing",
            unnamed.is_empty(),
            match unnamed.as_slice() {
                [] => run.needs.join(", "),
                unnamed => format!("expected {} in the answer, got {text}", unnamed.join(", ")),
            },
        );
    }
    let inspected = stage.inspect(what)?.context("the container is gone")?;
    let (passed, detail) = ask::not_root(stage, what)?;
    check("not root", passed, detail);
    check("read-only", inspected.is_read_only(), "root file system, /tmp apart".into());
    let (passed, detail) = ask::stop(stage, what)?;
    check("stops", passed, detail);
    proof.seconds_to_ready = Some(seconds);
    Ok(())
}

impl Proof {
    /// One line when all is well; otherwise every failed check and the log.
    fn line(&self) -> String {
        let name = format!("{} {}", self.service, self.role.as_deref().unwrap_or_default());
        if self.passed {
            let seconds = self.seconds_to_ready.unwrap_or_default();
            return format!("✓ {}: {} checks, ready in {seconds:.2} s", name.trim(), self.checks.len());
        }
        let failed = self.checks.iter().filter(|check| !check.passed);
        let lines: Vec<String> = failed.map(|check| format!("  {}: {}", check.name, check.detail)).collect();
        let log: String = self.log.lines().map(|line| format!("\n  │ {line}")).collect();
        format!("✗ {}\n{}{log}", name.trim(), lines.join("\n"))
    }
}

/// The lines that can be known beforehand; what is asked in between is not one.
fn dry_plan(ctx: &Ctx, project: &Project, services: &[&Service], args: &ProveArgs) -> anyhow::Result<Plan> {
    let scene = Scene::of_run(project, checkout::identity(&ctx.root), "test".into(), Secret::new(""));
    let mut plan = Plan::default();
    if args.setup.wanted {
        plan.steps.push(Step::setup());
    }
    if !args.no_build {
        let build = |service: &&Service| {
            Step::new("cargo").args(["xtask", "docker", &service.name, "--tag", args.tag.as_str()])
        };
        plan.steps.extend(services.iter().map(build));
    }
    if args.with_deps {
        plan.steps.push(scene.create_network());
        plan.finally.push(container::remove_networks([scene.network()]));
        for (name, need) in &project.needs {
            plan.steps.push(scene.start_need(name, need, need.image.as_str(), false));
            plan.finally.insert(0, container::remove_containers([scene.name(name)]));
        }
    }
    for service in services {
        let Some(run) = &service.run else { continue };
        let image = reference(None, &service.image, &args.tag);
        for role in roles(run, args) {
            let container = Container {
                service,
                run,
                role,
                image: image.to_string(),
                with_needs: args.with_deps && !run.needs.is_empty(),
                env: Vec::new(),
                pass: Vec::new(),
            };
            let what = role.unwrap_or(&service.name);
            plan.steps.extend([
                scene.start(&container),
                scene.terminate(what),
                container::remove_containers([scene.name(what)]),
            ]);
        }
    }
    Ok(plan)
}
