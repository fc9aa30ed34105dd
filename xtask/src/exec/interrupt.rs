//! Ctrl-C, SIGTERM and SIGHUP as a flag.
//!
//! The default action would end the process on the spot and leave containers
//! behind. With a flag every loop at the edge looks at it, unwinds with an
//! error, and the guards on the way clean up.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::fault;

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Turns the signals into the flag. A second Ctrl-C does not kill us: what
/// waits on the way out is bounded in time.
pub fn install() -> anyhow::Result<()> {
    let flag = FLAG.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Whether we were asked to stop.
pub fn raised() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An error as soon as we were asked to stop.
pub fn check() -> Result<(), fault::Fault> {
    if raised() { Err(fault::interrupted()) } else { Ok(()) }
}
