//! Builds, proves and cleans up the images of a monorepo, from one
//! `services.toml`. See `docs/` for the guide and `main.rs` for the verbs.

pub mod ctx;
pub mod exec;
pub mod fault;
pub mod model;
pub mod plan;
