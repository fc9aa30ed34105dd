//! Builds, proves and cleans up the images of a monorepo, from one
//! `services.toml`. See `docs/` for the guide and `main.rs` for the verbs.
//!
//! Imports run one way: `cmd` → `plan` → `model`, with `exec` at the edge.

pub mod cli;
pub mod cmd;
pub mod ctx;
pub mod exec;
pub mod fault;
pub mod model;
pub mod plan;
pub mod start;
