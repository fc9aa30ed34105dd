//! What to type next after a failed build, by what buildx and the engine say.

use crate::exec::engine::Engine;
use crate::fault;
use crate::model::build_failure::{self, BuildFailure};
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
    let complaint = BuildFailure::of(&said).or_else(|| (!engine.answers()).then_some(BuildFailure::EngineGone));
    let help = match complaint {
        Some(complaint) => complaint.help(),
        None if has_no_buildx(engine) => "`docker buildx` is missing: `cargo xtask setup --yes` gets it".into(),
        None => build_failure::unknown(&said).into(),
    };
    fault.help(help).into()
}

fn has_no_buildx(engine: &Engine) -> bool {
    engine.probe(&Step::new("docker").args(["buildx", "version"])).is_none()
}
