//! Builds, proves and cleans up the images of a monorepo, from one
//! `services.toml`. See `docs/` for the guide and `main.rs` for the verbs.
//!
//! Imports run one way: `cmd` → `standin` → `engine` → `exec` → `plan` → `model`.

// These panic if the reader has closed the pipe, and pass terminal codes on.
// `Ctx` prints instead.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod cmd;
pub mod ctx;
pub mod engine;
pub mod exec;
pub mod fault;
pub mod model;
pub mod plan;
pub mod standin;
pub mod start;
