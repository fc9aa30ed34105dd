//! `engine up|down|status|env`: the private engine, for a person.

use crate::cli::EngineVerb;
use crate::cmd;
use crate::cmd::objects::{EngineDown, EngineEnv, EngineUp, Engines};
use crate::ctx::Ctx;
use crate::engine::{self, search};
use crate::exec::engine::exports;
use crate::exec::lent_builder::{LentBuilder, builder_of};
use crate::fault;
use crate::model::bytes::Bytes;
use crate::plan::step::{Plan, Step};
use crate::plan::{self, publish};

/// Runs the verb.
pub fn run(ctx: &Ctx, verb: &EngineVerb) -> anyhow::Result<()> {
    match verb {
        EngineVerb::Up if ctx.dry_run => {
            let runs = engine::health(ctx, &engine::EngineFolder::of(ctx)?) == engine::Health::Well;
            cmd::print(ctx, None, &[plan::setup::engine_up(runs)])
        }
        EngineVerb::Down { purge } if ctx.dry_run => {
            let is_there = engine::EngineFolder::of(ctx)?.dir.exists();
            cmd::print(ctx, None, &[plan::setup::engine_down(is_there, *purge)])
        }
        EngineVerb::Up => {
            let started = engine::up(ctx)?;
            let status = engine::status(ctx)?;
            let how = if started { "started" } else { "is running" };
            let text = format!("the private engine {how} at unix://{}", status.socket);
            ctx.result(&EngineUp { started, engine: status }, || text)
        }
        EngineVerb::Down { purge } => {
            let freed = engine::down(ctx, *purge)?;
            ctx.result(&EngineDown { purged: *purge, freed_bytes: freed }, || {
                if *purge {
                    format!("the private engine is gone; freed {}", Bytes(freed))
                } else {
                    "the private engine is down; its images and programs stay (--purge deletes them)".to_owned()
                }
            })
        }
        EngineVerb::Status => status(ctx),
        EngineVerb::WithBuilder { command } => with_builder(ctx, command),
        EngineVerb::Env => {
            let dir = engine::EngineFolder::of(ctx)?.dir;
            let line = exports(&search::within_private(ctx, &dir));
            ctx.result(&EngineEnv { export: line.clone() }, || line)
        }
    }
}

/// Runs a command with the engine's BuildKit as a builder that pushes by digest,
/// unless the one that it has does.
fn with_builder(ctx: &Ctx, command: &[String]) -> anyhow::Result<()> {
    let (tool, args) = command.split_first().ok_or_else(|| fault::usage("no command"))?;
    let step = Step::new(tool).args(args);
    if ctx.dry_run {
        return cmd::print(ctx, None, &[Plan::of([step.through(publish::WITH_BUILDER)])]);
    }
    let engine = search::connect(ctx)?;
    match LentBuilder::instead_of(&engine, builder_of(args))? {
        Some(lent) => engine.run(&lent.lend(step)),
        None => engine.run(&step),
    }
}

fn status(ctx: &Ctx) -> anyhow::Result<()> {
    let private = engine::status(ctx)?;
    let used = search::find(ctx)?.engine().map(|engine| engine.origin.clone());
    let engines = Engines { used, private };
    ctx.result(&engines, || {
        let Engines { used, private: status } = &engines;
        let yes = |it: bool| if it { "yes" } else { "no" };
        let mut lines = vec![
            format!("engine in use    {}", used.as_deref().unwrap_or("none")),
            format!("private engine   {}", status.folder),
            format!("  installed      {}", yes(status.installed)),
            format!("  running        {}", yes(status.running)),
            format!("  disk           {}", Bytes(status.bytes)),
        ];
        if status.running {
            lines.push(format!("  socket         {}", status.socket));
            let range = status.range.as_deref().unwrap_or("none");
            lines.push(format!(
                "  addresses      {range}, network {}",
                if status.connected { "bridged" } else { "host only" }
            ));
        }
        for package in &status.packages {
            lines.push(format!("  package        {package}"));
        }
        lines.join("\n")
    })
}
