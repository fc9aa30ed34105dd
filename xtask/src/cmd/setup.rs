//! `setup`: what the commands need on a machine, what is missing, and the one
//! command that installs it; `--yes` runs it.
//!
//! Existing tools are used as they are. Missing things are installed into one
//! folder: see `engine`.
//! happen, and then in one folder: see `engine`.

mod requirements;

use std::cell::Cell;
use std::io::IsTerminal as _;

use camino::Utf8PathBuf;

use crate::cli::SetupArgs;
use crate::cmd::objects::{Setup, SetupItem};
use crate::cmd::{self, Sources};
use crate::ctx::{Ctx, Format};
use crate::engine::search::{self, EngineSearch};
use crate::engine::{self, emulator, packages};
use crate::exec::engine::Engine;
use crate::exec::{input, interrupt};
use crate::fault;
use crate::model::base::Bases;
use crate::plan;
use crate::standin::{self, Loans};

/// Runs the verb for the images that the project downloads.
pub fn run(ctx: &Ctx, args: &SetupArgs, sources: &Sources) -> anyhow::Result<()> {
    if ctx.dry_run {
        return cmd::print(ctx, None, &[plan::setup::emulator(args.emulator), requirements::plan(ctx, sources)?]);
    }
    if args.emulator {
        sources.foreign.iter().try_for_each(|platform| emulator::register(ctx, platform))?;
    }
    if args.yes {
        ensure(ctx, sources)?;
        return print(ctx, sources).and_then(|report| verdict(&report, true));
    }
    let report = print(ctx, sources)?;
    if report.ready || args.check {
        return verdict(&report, args.check);
    }
    // A program gets one object.
    if ctx.terminal && ctx.format == Format::Text && std::io::stdin().is_terminal() {
        ctx.ask("Install the missing parts now? [y/N] ");
        let answer = input::typed();
        interrupt::check()?;
        let answer = answer?;
        if answer.trim().eq_ignore_ascii_case("y") {
            ensure(ctx, sources)?;
            return print(ctx, sources).and_then(|report| verdict(&report, true));
        }
    } else {
        ctx.say("`cargo xtask setup --yes` installs the missing parts");
    }
    Ok(())
}

fn print(ctx: &Ctx, sources: &Sources) -> anyhow::Result<Setup> {
    let report = Setup::of(requirements::items(ctx, &sources.images, &sources.foreign)?);
    ctx.result(&report, || requirements::table(&report.items))?;
    Ok(report)
}

impl Setup {
    /// A machine is ready if everything that is required exists. Optional things
    /// don't count.
    fn of(items: Vec<SetupItem>) -> Self {
        Self { ready: items.iter().all(|item| item.found || !item.needed), items }
    }
}

fn verdict(report: &Setup, strict: bool) -> anyhow::Result<()> {
    if report.ready || !strict {
        return Ok(());
    }
    let missing: Vec<_> = report.items.iter().filter(|item| item.needed && !item.found).collect();
    let names: Vec<_> = missing.iter().map(|item| item.name.as_str()).collect();
    let fix = missing.first().and_then(|item| item.fix.clone()).unwrap_or_default();
    Err(fault::failed(format!("not ready: {}", names.join(", "))).help(fix).into())
}

/// Installs whatever is missing, and prints nothing if nothing is.
pub fn ensure(ctx: &Ctx, sources: &Sources) -> anyhow::Result<()> {
    let started = Cell::new(false);
    let done = ensure_telling(ctx, sources, &started);
    if done.is_err() && started.get() {
        ctx.say("note: the private engine was started and keeps running; `cargo xtask engine down` stops it");
    }
    done
}

/// The same. `started` is set as soon as the private engine is started, so that
/// the caller can stop it again even if something else fails.
pub fn ensure_telling(ctx: &Ctx, sources: &Sources, started: &Cell<bool>) -> anyhow::Result<()> {
    let engine = start_engine(ctx, started)?;
    finish(&engine, sources)
}

fn finish(engine: &Engine, sources: &Sources) -> anyhow::Result<()> {
    let ctx = &engine.ctx;
    if requirements::buildx(ctx).is_none() {
        buildx(ctx)?;
    }
    if let Some(why) = requirements::too_old(engine)? {
        return Err(fault::failed(why).help(requirements::BESIDE).into());
    }
    let local = match standin::fresh(ctx) {
        Some(record) => record.mode == Bases::Local,
        None => match standin::probe_registry(engine, &sources.images) {
            Ok(()) => {
                standin::remember(ctx, Bases::Upstream, "the registries answered")?;
                false
            }
            Err(why) => {
                ctx.say(format!("note: no registry answered ({why}): stand-ins are made instead of upstream images"));
                standin::remember(ctx, Bases::Local, &why.to_string())?;
                true
            }
        },
    };
    if local {
        standin::provide(engine, &standin::stand_ins_for(engine, &sources.images, &sources.needed)?)?;
        sources.loans.iter().try_for_each(Loans::write)?;
    }
    Ok(())
}

/// The engine that answers; otherwise the private one, which is installed and
/// started.
fn start_engine(ctx: &Ctx, started: &Cell<bool>) -> anyhow::Result<Engine> {
    let missing = match search::find(ctx)? {
        EngineSearch::Engine(engine) => return Ok(*engine),
        EngineSearch::Nothing(fault) => fault,
    };
    // Somebody chose an engine, or must not use the existing one; another engine
    // is not what they want.
    let chosen = ["DOCKER_HOST", "DOCKER_CONTEXT"].iter().any(|name| ctx.env.get(name).is_some());
    if chosen || (Utf8PathBuf::from("/var/run/docker.sock").exists() && packages::release().is_err()) {
        return Err(missing.into());
    }
    started.set(engine::up(ctx)?);
    match search::find(ctx)? {
        EngineSearch::Engine(engine) => Ok(*engine),
        EngineSearch::Nothing(fault) => {
            if started.replace(false) {
                engine::down(ctx, false)?;
            }
            Err(fault.into())
        }
    }
}

/// Unpacks buildx as a plugin of the user's own client.
fn buildx(ctx: &Ctx) -> anyhow::Result<()> {
    let folder = engine::EngineFolder::of(ctx)?;
    let _lock = folder.lock(ctx, "engine")?;
    packages::fetch(ctx, &folder, &["docker-buildx"], true, "buildx")?;
    let plugins = ctx.docker_config().join("cli-plugins");
    let plugin = plugins.join("docker-buildx");
    std::fs::create_dir_all(&plugins)?;
    packages::remove(&plugin)?;
    let target = folder.dir.join("buildx/usr/libexec/docker/cli-plugins/docker-buildx");
    std::os::unix::fs::symlink(&target, &plugin)?;
    ctx.say(format!("buildx is now a plugin of docker: {plugin}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_has_all_that_is_needed() {
        let item = |needed, found| SetupItem { name: "x".into(), needed, found, ..SetupItem::default() };
        let (there, missing, extra) = (item(true, true), item(true, false), item(false, false));
        for (items, ready) in [
            (vec![], true),
            (vec![there.clone(), extra.clone(), item(false, true)], true),
            (vec![there, missing.clone()], false),
            (vec![missing, extra], false),
        ] {
            let report = Setup::of(items);
            assert_eq!(report.ready, ready, "{report:?}");
            assert!(verdict(&report, false).is_ok());
            let strictly = verdict(&report, true).map_err(|error| (fault::code(&error), error.to_string()));
            let not_ready = (fault::Code::Failed, "not ready: x".to_owned());
            assert_eq!(strictly, if ready { Ok(()) } else { Err(not_ready) }, "{report:?}");
        }
    }
}
