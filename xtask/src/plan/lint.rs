//! Formats and lints, as commands.

use crate::model::config::Service;
use crate::plan::container::Scene;
use crate::plan::step::{Plan, Step};

/// Those of the xtask.
pub fn rust() -> Plan {
    let cargo = |args: &str| Step::new("cargo").args(args.split(' '));
    Plan::of([
        cargo("fmt --all --check").hint("`cargo fmt --all` writes it as it should be"),
        cargo("clippy --quiet --locked --workspace --all-targets -- --deny warnings"),
    ])
}

/// A linter of workflows, of the image of its stage.
pub fn stage(scene: &Scene<'_>, linter: &Service, image: &str) -> Step {
    scene.run_alone(linter, image).hint("what it found is above; `file:line` is a file below the root")
}
