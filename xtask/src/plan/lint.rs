//! Formats and lints, as commands.

use crate::model::config::Service;
use crate::plan::container::ContainerGroup;
use crate::plan::step::{Plan, Step};

/// The lints of the xtask.
pub fn rust() -> Plan {
    let cargo = |args: &str| Step::new("cargo").args(args.split(' '));
    Plan::of([
        cargo("fmt --all --check").hint("`cargo fmt --all` formats it"),
        cargo("clippy --quiet --locked --workspace --all-targets -- --deny warnings"),
        cargo("doc --quiet --locked --workspace --no-deps").env("RUSTDOCFLAGS", "--deny warnings"),
    ])
}

/// Compiles the xtask with the oldest supported Rust.
pub fn msrv(version: &str) -> Plan {
    Plan::of([
        Step::new("rustup").args(["toolchain", "install", version, "--profile", "minimal", "--no-self-update"]),
        Step::new("rustup")
            .args(["run", version, "cargo", "check", "--quiet", "--locked", "--workspace", "--all-targets"])
            .hint("write it in an older way, or raise `rust-version` in Cargo.toml"),
    ])
}

/// Runs a linter of workflows in its image.
pub fn stage(group: &ContainerGroup<'_>, linter: &Service, image: &str) -> Step {
    group.run_alone(linter, image).hint("what it found is above; `file:line` is a file below the root")
}
