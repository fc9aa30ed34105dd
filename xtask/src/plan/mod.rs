//! What will run, as plain data.

pub mod build;
pub mod clean;
pub mod container;
pub mod git;
pub mod lint;
pub mod prune;
pub mod publish;
pub mod setup;
pub mod signature;
pub mod step;
pub mod system;
pub mod tool;
pub mod workflow;
