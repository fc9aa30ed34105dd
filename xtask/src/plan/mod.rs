//! What will be run, as plain data, before anything is.

pub mod step;
