//! One file per verb: the only layer that uses both the plan and the edge.

pub mod bench;
pub mod ci;
pub mod clean;
pub mod definition;
pub mod docker;
pub mod engine;
pub mod image;
pub mod lint;
pub mod objects;
pub mod prove;
pub mod setup;
pub mod shared_scan;
pub mod test;
pub mod tool;
pub mod up;
pub mod verify;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::cmd::definition::{BuildSettings, Definition};
use crate::ctx::Ctx;
use crate::engine::search::{self, EngineSearch};
use crate::exec::engine::{Engine, exports};
use crate::exec::{container_guard, interrupt};
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service};
use crate::model::platform::Platform;
use crate::plan::clean::EngineObject;
use crate::plan::step::{self, Plan};
use crate::plan::system;
use crate::standin::{self, Loans};

/// `--dry-run`: prints the plan, and does nothing else. The environment for the
/// engine comes first, so that the lines work in a shell.
fn print(ctx: &Ctx, engine: Option<&Engine>, plans: &[Plan]) -> anyhow::Result<()> {
    let exports = engine.filter(|engine| !engine.ctx.exports.is_empty()).map(|engine| exports(&engine.ctx));
    let lines: Vec<String> = exports.into_iter().chain(step::lines(plans)).collect();
    let text = lines.join("\n");
    ctx.result(&objects::PlanObject { plan: lines }, || text)
}

/// The engine that a dry run asks. If there is none, a note says what is
/// therefore missing from the plan.
fn asked(ctx: &Ctx) -> anyhow::Result<Option<Engine>> {
    Ok(match search::find(ctx)? {
        EngineSearch::Engine(engine) => Some(*engine),
        EngineSearch::Nothing(why) => {
            ctx.say(format!("note: {why}; so the plan assumes an empty engine and registries that answer"));
            None
        }
    })
}

/// Removes what ended runs of this checkout left.
fn sweep(engine: Option<&Engine>, project: &Project) -> anyhow::Result<Plan> {
    let left = engine.map(|engine| container_guard::left(engine, project)).transpose()?.unwrap_or_default();
    Ok(removal(&left))
}

/// Removes objects from the engine.
fn removal(held: &[EngineObject]) -> Plan {
    Plan::of(system::removal(held).into_iter().map(|(step, _)| step))
}

/// The image of each of these servers of `[needs.*]`, by name.
fn need_images(
    engine: Option<&Engine>,
    project: &Project,
    names: &[String],
    bases: Bases,
) -> anyhow::Result<BTreeMap<String, String>> {
    match engine {
        Some(engine) => standin::images_for(engine, project, names, bases),
        None => {
            let needs =
                names.iter().filter_map(|name| Some((name.clone(), project.needs.get(name)?.image.to_string())));
            Ok(needs.collect())
        }
    }
}

/// What builds need from elsewhere.
#[derive(Default)]
pub struct Sources {
    /// Every image that this project's commands download.
    pub images: Vec<String>,
    /// The platforms that images are needed for, where that is more than this
    /// machine's.
    pub needed: Vec<(String, Vec<String>)>,
    /// The other platforms that images are built for.
    pub foreign: Vec<Platform>,
    /// What builds on stand-ins are lent, ready to be written.
    pub loans: Vec<Loans>,
}

/// Everything that this project's commands need from elsewhere.
pub fn sources(ctx: &Ctx, project: &Project) -> anyhow::Result<Sources> {
    known_sources(ctx, project, Err)
}

/// What `setup` looks at; with what builds of all platforms need, if that is asked
/// for.
pub fn sources_of_setup(ctx: &Ctx, project: &Project, multi_arch: bool) -> anyhow::Result<Sources> {
    let mut sources = sources(ctx, project)?;
    sources.foreign = Platform::foreign(project.services.values().flat_map(|service| &service.platforms));
    for service in project.services.values().filter(|_| multi_arch) {
        let (definition, own) = (Definition::read(ctx, service)?, Platform::of_this_machine());
        let found = definition.platforms(service.target.as_deref(), &BuildSettings::published(service), &own)?;
        for (image, platforms) in found.images {
            match sources.needed.iter_mut().find(|(known, _)| *known == image) {
                Some((_, known)) => known.extend(platforms),
                None => sources.needed.push((image, platforms)),
            }
        }
    }
    Ok(sources)
}

/// The same; `broken` decides what happens if a definition can't be read.
fn known_sources(
    ctx: &Ctx,
    project: &Project,
    broken: impl Fn(anyhow::Error) -> anyhow::Result<()>,
) -> anyhow::Result<Sources> {
    let of = |service: &Service, targets: &[Option<&str>]| -> anyhow::Result<(Vec<String>, Loans)> {
        let definition = Definition::read(ctx, service)?;
        let mut images = Vec::new();
        for target in targets {
            images.extend(definition.images(*target, &BuildSettings::plain())?);
        }
        Ok((images, definition.loans(ctx)?))
    };
    let of_service = |service: &Service| {
        let test = service.test.as_ref().map(|test| Some(test.target.as_str()));
        of(service, &[service.target.as_deref()].into_iter().chain(test).collect::<Vec<_>>())
    };
    let of_linter = |stage: &String| of(&lint::linter(project, stage)?, &[Some(stage)]);
    let images = project.needs.values().map(|need| need.image.to_string()).collect();
    let mut sources = Sources { images, ..Sources::default() };
    for found in project.services.values().map(of_service).chain(lint::stages(project).iter().map(of_linter)) {
        match found {
            Ok((images, loans)) => {
                sources.images.extend(images);
                sources.loans.push(loans);
            }
            Err(error) => broken(error)?,
        }
    }
    sources.images.sort();
    sources.images.dedup();
    Ok(sources)
}

/// The CA bundle of this machine, if one is set. Behind a proxy with its own CA,
/// which many companies have, no stage could reach a package registry without it.
/// It is passed as a secret, so it is in no layer.
fn ca_bundle(ctx: &Ctx) -> Option<Utf8PathBuf> {
    ctx.env.get("SSL_CERT_FILE").map(Utf8PathBuf::from).filter(|file| file.is_file())
}

/// Connects to the engine, and runs the setup first if `--setup` was given. An
/// error in one service is reported by its own build, and does not stop others.
fn connect(ctx: &Ctx, project: &Project, with_setup: bool) -> anyhow::Result<Engine> {
    if with_setup && let Err(error) = setup::ensure(ctx, &known_sources(ctx, project, |_| Ok(()))?) {
        interrupt::check()?;
        return match search::connect(ctx) {
            Ok(engine) => {
                ctx.say(format!("note: the set-up is incomplete\n{}", fault::render(&error)));
                Ok(engine)
            }
            Err(_) => Err(error),
        };
    }
    search::connect(ctx)
}
