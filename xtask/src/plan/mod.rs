//! What will be run, as plain data, before anything is.

pub mod build;
pub mod clean;
pub mod container;
pub mod git;
pub mod lint;
pub mod setup;
pub mod step;
pub mod system;
pub mod workflow;
