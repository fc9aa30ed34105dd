//! Which files of a build context a stage of a Dockerfile can read.
#![doc = include_str!("../README.md")]
#![warn(clippy::missing_errors_doc)]

#[cfg(test)]
mod cases;
pub mod dockerfile;
pub mod dockerignore;
mod glob;

pub use glob::clean;
