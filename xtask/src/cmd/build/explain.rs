//! What to type next after a failed build, by what buildx and the engine say.

use crate::exec::engine::Engine;
use crate::exec::run;
use crate::fault;
use crate::model::config::Service;
use crate::plan::step::Step;

/// The end of a log.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The error with a way out.
pub fn explain(engine: &Engine, service: &Service, error: anyhow::Error) -> anyhow::Error {
    if fault::code(&error) != fault::Code::Failed {
        return error;
    }
    let said = fault::said(&error).to_owned();
    let fault = fault::failed(format!("the build of `{}` failed: {error}", service.name)).said(&said);
    let help = if said.contains("no space left on device") {
        "the disk is full: `cargo xtask docker clean`, `docker builder prune`, or free some space".to_owned()
    } else if run::probe(&engine.ctx, &Step::new("docker").args(["buildx", "version"])).is_none() {
        "`docker buildx` is missing: `cargo xtask setup --yes` gets it".into()
    } else if [
        "failed to resolve source metadata",
        "failed to do request",
        "pull access denied",
        "no match for platform",
    ]
    .iter()
    .any(|words| said.contains(words))
    {
        "a base image can't be had; without a reachable registry: `cargo xtask setup --yes`, or `--bases local`".into()
    } else if api_is_gone(engine) {
        "the engine is gone: `cargo xtask engine status`, then `cargo xtask setup`".into()
    } else {
        "the failing step and its last lines are above; `--progress plain` shows the whole log".into()
    };
    fault.help(help).into()
}

fn api_is_gone(engine: &Engine) -> bool {
    engine.platform().is_err()
}
