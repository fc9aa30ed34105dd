//! Several builds side by side, with one view of their progress.

use serde_json::Value;

use crate::cmd::build::explain::last_lines;
use crate::cmd::build::job::{Built, Job};
use crate::exec::board::Board;
use crate::exec::engine::Engine;
use crate::exec::{interrupt, run};
use crate::fault;

/// Runs them all; one failure does not lose the others' results.
pub fn run(engine: &Engine, jobs: &[Job<'_>]) -> anyhow::Result<()> {
    let names: Vec<&str> = jobs.iter().map(|job| job.service.name.as_str()).collect();
    let board = Board::new(&engine.ctx, &names);
    let results: Vec<anyhow::Result<Built>> = std::thread::scope(|scope| {
        let builds: Vec<_> = jobs
            .iter()
            .map(|job| {
                let board = &board;
                scope.spawn(move || {
                    let name = job.service.name.as_str();
                    let result = job.run(|step| {
                        board.line(name, &format!("$ {step}"));
                        run::stream(&engine.ctx, step, |line| board.line(name, line))
                    });
                    board.done(name, result.as_ref().map_or_else(|_| "failed".into(), Built::line));
                    result
                })
            })
            .collect();
        builds
            .into_iter()
            .map(|build| build.join().unwrap_or_else(|_| Err(fault::failed("a build ended in a panic").into())))
            .collect()
    });
    drop(board);
    interrupt::check()?;
    let json: Vec<Value> = results
        .iter()
        .zip(&names)
        .map(|(result, name)| match result {
            Ok(built) => serde_json::to_value(built),
            Err(error) => Ok(serde_json::json!({ "service": name, "outcome": "failed", "error": error.to_string() })),
        })
        .collect::<Result<_, _>>()?;
    let lines = results.iter().flatten().map(Built::line).collect::<Vec<_>>().join("\n");
    engine.ctx.result(&serde_json::json!({ "results": json }), || lines)?;
    let failed: Vec<_> =
        results.into_iter().zip(&names).filter_map(|(result, name)| Some((name, result.err()?))).collect();
    for (name, error) in &failed {
        if !fault::said(error).is_empty() && engine.ctx.terminal {
            engine.ctx.say(format!("── {name}: the last lines\n{}", last_lines(fault::said(error), 40)));
        }
        engine.ctx.say(fault::render(error));
    }
    match failed.len() {
        0 => Ok(()),
        n => Err(fault::failed(format!("{n} of {} builds failed", names.len())).into()),
    }
}
