//! `docker up` and `docker down`: the whole system on loopback, to look at.

use serde_json::json;

use crate::cli::UpArgs;
use crate::cmd;
use crate::ctx::Ctx;
use crate::exec::checkout;
use crate::exec::engine::Engine;
use crate::exec::scene::{self, Held, Stage};
use crate::model::config::Project;
use crate::plan::container::{Container, Scene};
use crate::plan::step::{Plan, Step};

/// Runs `docker up`.
pub fn up(ctx: &Ctx, project: &Project, args: &UpArgs) -> anyhow::Result<()> {
    if ctx.dry_run {
        return cmd::print(ctx, &plan(ctx, project, args)?);
    }
    let engine = cmd::engine(ctx, project, args.setup)?;
    let tag = "local".parse().map_err(crate::fault::usage)?;
    if !args.no_build {
        for service in project.services.values() {
            cmd::build::image(&engine, project, service, None, &tag, args.bases)?;
        }
    }
    scene::strike(&engine, &all_up(&engine, project)?)?;
    let stage = Stage::up(&engine, project);
    stage.provide(&project.needs.keys().cloned().collect::<Vec<_>>(), args.bases, true)?;
    let mut addresses = Vec::new();
    for container in containers(ctx, project) {
        let what = container.role.unwrap_or(&container.service.name);
        stage.run(&stage.scene.start(&container))?;
        if let Some(port) = stage.port(what, container.run.port)? {
            addresses.push((what.to_owned(), format!("http://127.0.0.1:{port}")));
        }
    }
    for (name, need) in &project.needs {
        if let Some(port) = stage.port(name, need.port)? {
            addresses.push((name.clone(), format!("127.0.0.1:{port}")));
        }
    }
    let width = addresses.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let json: serde_json::Map<_, _> = addresses.iter().map(|(name, at)| (name.clone(), json!(at))).collect();
    ctx.result(&json!({ "addresses": json }), || {
        let lines = addresses.iter().map(|(name, at)| format!("{name:width$}  {at}")).collect::<Vec<_>>();
        format!("{}\nstop it: cargo xtask docker down", lines.join("\n"))
    })?;
    // Only now: a system whose addresses nobody has got is nobody's.
    stage.leave();
    Ok(())
}

/// Runs `docker down`.
pub fn down(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    if ctx.dry_run {
        let scene = dry_scene(ctx, project);
        return cmd::print(ctx, &Plan { steps: vec![scene.list("container"), scene.list("network")], finally: vec![] });
    }
    let engine = Engine::connect(ctx)?;
    let up = all_up(&engine, project)?;
    scene::strike(&engine, &up)?;
    let count = up.len();
    ctx.result(&json!({ "removed": count }), || format!("{count} containers and networks are gone"))
}

/// What this checkout's `up` has on the engine, half-made or whole.
fn all_up(engine: &Engine, project: &Project) -> anyhow::Result<Vec<Held>> {
    let held = scene::held(engine, project, &checkout::identity(&engine.ctx.root))?;
    Ok(held.into_iter().filter(|one| one.mark.is_up()).collect())
}

fn dry_scene<'a>(ctx: &Ctx, project: &'a Project) -> Scene<'a> {
    Scene::up(project, checkout::identity(&ctx.root), None)
}

fn containers<'a>(ctx: &Ctx, project: &'a Project) -> Vec<Container<'a>> {
    let mut containers = Vec::new();
    for service in project.services.values() {
        let Some(run) = &service.run else { continue };
        let roles: Vec<Option<&str>> =
            if run.roles.is_empty() { vec![None] } else { run.roles.iter().map(|role| Some(role.as_str())).collect() };
        for role in roles {
            containers.push(Container {
                service,
                run,
                role,
                image: format!("{}:local", service.image),
                with_needs: true,
                env: run.up_env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
                pass: run.pass_env.iter().filter(|name| ctx.env.get(name).is_some()).cloned().collect(),
            });
        }
    }
    containers
}

fn plan(ctx: &Ctx, project: &Project, args: &UpArgs) -> anyhow::Result<Plan> {
    let scene = dry_scene(ctx, project);
    let mut plan = Plan::default();
    if args.setup {
        plan.steps.push(Step::new("cargo").args(["xtask", "setup", "--yes"]));
    }
    if !args.no_build {
        plan.steps.push(Step::new("cargo").args(["xtask", "docker", "all"]));
    }
    plan.steps.push(scene.create_network());
    plan.steps.extend(project.needs.iter().map(|(name, need)| scene.start_need(name, need, need.image.as_str(), true)));
    plan.steps.extend(containers(ctx, project).iter().map(|container| scene.start(container)));
    Ok(plan)
}
