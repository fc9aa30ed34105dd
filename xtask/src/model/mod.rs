//! The things of this program and all rules about them: services, references,
//! platforms. Pure: text goes in, checked values or a diagnostic come out.

pub mod affected;
pub mod age;
pub mod annotation;
pub mod archive;
pub mod base;
pub mod build_failure;
pub mod bytes;
#[cfg(test)]
pub mod cases;
pub mod ci;
pub mod config;
pub mod content_cache;
pub mod coverage;
pub mod definition_changes;
pub mod diagnostic;
pub mod dockerfile_changes;
pub mod doubt;
pub mod emulation;
pub mod emulator;
pub mod environment;
pub mod event;
pub mod fingerprint;
pub mod heads;
pub mod identity;
pub mod junit;
pub mod manifest;
pub mod mountinfo;
pub mod option;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod registry_failure;
pub mod release;
pub mod signature;
pub mod tally;
pub mod text;
pub mod tool;
pub mod users;
pub mod verdict;
pub mod visibility;
pub mod workflow;
pub mod yaml;
