//! `docker up` and `docker down`: the whole system on loopback, for people to
//! try.

use std::collections::BTreeMap;
use std::fs::File;

use camino::Utf8PathBuf;

use crate::cli::docker::UpArgs;
use crate::cmd;
use crate::cmd::image::request::{cache_root, hold_images};
use crate::cmd::objects::docker::{Down, Up};
use crate::ctx::Ctx;
use crate::engine::search;
use crate::exec::container_guard::{self, ContainerGuard};
use crate::exec::engine::Engine;
use crate::exec::{checkout, files, interrupt};
use crate::model::config::{Project, Run, Service};
use crate::model::reference::Tag;
use crate::plan::clean::EngineObject;
use crate::plan::container::{ContainerGroup, ContainerSpec};
use crate::plan::step::{Action, Plan, Secret, Step, quote};
use crate::plan::system;
use crate::standin;

/// Runs `docker up`.
pub fn up(ctx: &Ctx, project: &Project, args: &UpArgs) -> anyhow::Result<()> {
    if ctx.dry_run {
        let engine = cmd::asked(ctx)?;
        return cmd::print(ctx, engine.as_ref(), &plans(ctx, engine.as_ref(), project, args)?);
    }
    let engine = cmd::connect(ctx, project, args.setup.wanted)?;
    let ctx = &engine.ctx;
    let _images = hold_images(ctx, project)?;
    let images = images(&engine, project, args)?;
    let needs = standin::images_for(&engine, project, &names(project), args.bases.mode)?;
    let _lock = lock(ctx, project)?;
    remove(&engine, project)?;
    let containers = containers(ctx, project, &images);
    let mut guard = ContainerGuard::up(&engine, project, first(project, &containers))?;
    guard.perform(&system::up(&guard.group, &needs, &containers, args.publish_needs))?;
    // All containers exist and have their final names.
    guard.group.first = None;
    let mut addresses = Vec::new();
    for container in &containers {
        if let Some(port) = guard.port(container.what(), container.run.port)? {
            addresses.push((container.what().to_owned(), format!("http://127.0.0.1:{port}")));
        }
    }
    let mut published = BTreeMap::new();
    if args.publish_needs {
        for (name, need) in &project.needs {
            if let Some(port) = guard.port(name, need.port)? {
                addresses.push((name.clone(), format!("127.0.0.1:{port}")));
                published.insert(name.as_str(), port);
            }
        }
    }
    let file = args.publish_needs.then(|| credentials(ctx, project));
    if let Some(file) = &file {
        files::write(file, variables(project, &published, &guard.group.password))?;
    }
    let width = addresses.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let up = Up { addresses: addresses.iter().cloned().collect(), credentials: file.as_ref().map(ToString::to_string) };
    // Until its addresses are printed, nobody can use it, so a failure removes it.
    let told = ctx.result(&up, || {
        let mut lines = addresses.iter().map(|(name, at)| format!("{name:width$}  {at}")).collect::<Vec<_>>();
        lines.extend(file.iter().map(|file| format!("their passwords: `. {}`", quote(file.as_str()))));
        format!("{}\nstop it: cargo xtask docker down", lines.join("\n"))
    });
    match (&told, &file) {
        (Ok(()), _) => guard.leave(),
        (Err(_), Some(file)) => drop(std::fs::remove_file(file)),
        (Err(_), None) => {}
    }
    told
}

/// Runs `docker down`.
pub fn down(ctx: &Ctx, project: &Project) -> anyhow::Result<()> {
    if ctx.dry_run {
        let engine = cmd::asked(ctx)?;
        return cmd::print(ctx, engine.as_ref(), &[removal(ctx, engine.as_ref(), project)?]);
    }
    let engine = search::connect(ctx)?;
    let ctx = &engine.ctx;
    let _lock = lock(ctx, project)?;
    let count = remove(&engine, project)?;
    ctx.result(&Down { removed: count }, || format!("{count} containers and networks removed"))
}

/// Removes what this checkout's `up` has on the engine, complete or not, and the
/// file with its passwords. Returns how many objects there were.
fn remove(engine: &Engine, project: &Project) -> anyhow::Result<usize> {
    let there = running(engine, project)?;
    let removed = container_guard::remove(engine, &there);
    interrupt::check()?;
    removed?;
    let _ = std::fs::remove_file(credentials(&engine.ctx, project));
    Ok(there.len())
}

/// The plan of [`remove`].
fn removal(ctx: &Ctx, engine: Option<&Engine>, project: &Project) -> anyhow::Result<Plan> {
    let there = engine.map(|engine| running(engine, project)).transpose()?.unwrap_or_default();
    let file = credentials(ctx, project);
    let file = file.exists().then(|| Step::new("rm").args(["-f", "--", file.as_str()]));
    let mut plan = cmd::removal(&there);
    plan.steps.extend(file.map(Action::Run));
    Ok(plan)
}

/// The objects of this checkout's `up` on the engine.
fn running(engine: &Engine, project: &Project) -> anyhow::Result<Vec<EngineObject>> {
    let held = container_guard::held(engine, project, Some(&checkout::identity(&engine.ctx.root)), false)?;
    Ok(held.into_iter().filter(|one| one.mark.is_up()).collect())
}

/// Allows one `up` or `down` per checkout at a time, even for users with
/// different caches.
fn lock(ctx: &Ctx, project: &Project) -> anyhow::Result<File> {
    let name = format!("xtask-up-{}.lock", checkout::identity(&ctx.root));
    let file = checkout::meeting_place(ctx, &name).unwrap_or_else(|| of_checkout(ctx, project, "lock"));
    files::lock(ctx, &file, "another `docker up` or `docker down` of this checkout is running")
}

fn credentials(ctx: &Ctx, project: &Project) -> Utf8PathBuf {
    of_checkout(ctx, project, "env")
}

fn of_checkout(ctx: &Ctx, project: &Project, end: &str) -> Utf8PathBuf {
    cache_root(ctx, project).join(format!("up-{}.{end}", checkout::identity(&ctx.root)))
}

/// The image of each service, looked up once.
fn images(engine: &Engine, project: &Project, args: &UpArgs) -> anyhow::Result<BTreeMap<String, String>> {
    let tag = Tag::local();
    let image = |service: &Service| {
        let image = match args.no_build {
            true => cmd::prove::find_image(engine, service, &tag)?,
            false => cmd::image::ensure(engine, project, service, None, &tag, None, args.bases.mode)?,
        };
        Ok((service.name.clone(), image.id))
    };
    built(project, args).map(image).collect()
}

/// The services that are started.
fn built<'a>(project: &'a Project, args: &UpArgs) -> impl Iterator<Item = &'a Service> {
    let no_build = args.no_build;
    project.services.values().filter(move |service| service.run.is_some() || !no_build)
}

fn names(project: &Project) -> Vec<String> {
    project.needs.keys().cloned().collect()
}

/// The container that starts first and gets its final name last.
fn first(project: &Project, containers: &[ContainerSpec<'_>]) -> Option<String> {
    let what = |container: &ContainerSpec<'_>| container.what().to_owned();
    project.needs.keys().next().cloned().or_else(|| containers.first().map(what))
}

/// The shell variables with which this machine reaches the published servers:
/// what the servers provide, with their addresses on this machine.
fn variables(project: &Project, published: &BTreeMap<&str, u16>, password: &Secret) -> String {
    let mut lines = String::new();
    for (name, need) in &project.needs {
        let Some(port) = published.get(name.as_str()) else { continue };
        for (key, value) in need.env.iter().chain(&need.provides) {
            let value = value.replace(&format!("{name}:{}", need.port), &format!("127.0.0.1:{port}"));
            lines.push_str(&format!("{key}={}\n", quote(&password.fill(&value))));
        }
    }
    lines
}

fn containers<'a>(ctx: &Ctx, project: &'a Project, images: &BTreeMap<String, String>) -> Vec<ContainerSpec<'a>> {
    let running = project.services.values().filter_map(|service| Some((service, service.run.as_ref()?)));
    let roles =
        running.flat_map(|(service, run)| system::roles(run, None).into_iter().map(move |role| (service, run, role)));
    let container = |(service, run, role): (&'a Service, &'a Run, Option<&'a str>)| ContainerSpec {
        service,
        run,
        role,
        image: images.get(&service.name).cloned().unwrap_or_default(),
        platform: None,
        with_needs: true,
        env: run.up_env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        pass: run.pass_env.iter().filter(|name| ctx.env.get(name).is_some()).cloned().collect(),
    };
    roles.map(container).collect()
}

/// The plan of `docker up`.
fn plans(ctx: &Ctx, engine: Option<&Engine>, project: &Project, args: &UpArgs) -> anyhow::Result<Vec<Plan>> {
    let tag = Tag::local();
    let mut plans: Vec<Plan> = args.setup.wanted.then(|| Plan::of([Step::setup()])).into_iter().collect();
    let mut images = BTreeMap::new();
    for service in built(project, args) {
        let image = match args.no_build {
            true => cmd::prove::named(engine, service, &tag)?,
            false => {
                let planned =
                    cmd::image::plan_ensure(ctx, engine, project, service, None, &tag, None, args.bases.mode)?;
                plans.push(planned.plan);
                planned.image
            }
        };
        images.insert(service.name.clone(), image);
    }
    let needs = cmd::need_images(engine, project, &names(project), args.bases.mode)?;
    let containers = containers(ctx, project, &images);
    let checkout = checkout::identity(&ctx.root);
    let group = ContainerGroup::up(project, checkout, None, first(project, &containers), Secret::new(""));
    plans.push(removal(ctx, engine, project)?);
    plans.push(system::up(&group, &needs, &containers, args.publish_needs));
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_credentials_tells_this_machines_addresses_of_what_is_published() {
        let text = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"o\"\n\
            [needs.db]\nimage = \"db:1\"\nport = 54\nready = [\"true\"]\nenv = { PW = \"{password}\" }\n\
            provides = { URL = \"db://u:{password}@db:54/x y\" }\n\
            [needs.other]\nimage = \"o:1\"\nport = 63\nready = [\"true\"]\nprovides = { O = \"{password}\" }\n\
            [services.app]\nimage = \"app\"\npaths = [\"**\"]\n";
        let project = Project::parse("services.toml".into(), text).unwrap();
        let found = variables(&project, &BTreeMap::from([("db", 49153)]), &Secret::new("hunter2"));
        assert_eq!(found, "PW=hunter2\nURL='db://u:hunter2@127.0.0.1:49153/x y'\n");
    }
}
