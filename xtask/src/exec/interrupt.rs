//! Ctrl-C, SIGTERM and SIGHUP as a flag.
//!
//! The default action would end the process at once and leave containers behind.
//! With a flag, every loop in `exec` checks it and returns an error, and the
//! guards clean up on the way.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::fault;

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Installs the handlers. A second Ctrl-C does not kill us, because every wait
/// during clean-up has a time limit.
pub fn install() -> anyhow::Result<()> {
    let flag = FLAG.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Whether a signal has arrived.
pub fn raised() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An error if a signal has arrived.
pub fn check() -> Result<(), fault::Fault> {
    if raised() { Err(fault::interrupted()) } else { Ok(()) }
}
