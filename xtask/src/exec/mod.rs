//! The edge: everything that touches a process, a socket or a file.

pub mod api;
pub mod engine;
pub mod http;
pub mod interrupt;
pub mod run;
