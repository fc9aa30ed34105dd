//! The edge: everything that touches a process, a socket or a file.

pub mod api;
pub mod ask;
pub mod beside;
pub mod board;
pub mod checkout;
pub mod child;
pub mod contents;
pub mod drift;
pub mod engine;
pub mod files;
pub mod git;
pub mod github;
pub mod http;
pub mod input;
pub mod interrupt;
pub mod layers;
pub mod oci;
pub mod proc;
pub mod program;
pub mod revision;
pub mod run;
pub mod runner;
pub mod scene;
pub mod signal;
pub mod spawn;
pub mod worktree;
