//! A Docker Engine in one folder, for a machine without one: with its own
//! programs, socket, images and network.
//!
//! Outside of the folder there are only a bridge, some iptables and routing
//! rules, the kernel's forwarding, and an emulator where one was asked for, which
//! `down` takes back. It never touches
//! an existing engine, and two private engines in two folders don't affect each
//! other.

pub mod apt;
pub mod archive;
pub mod daemon;
pub mod emulator;
pub mod firewall;
pub mod folder;
pub mod forwarding;
pub mod mounts;
pub mod network;
pub mod packages;
pub mod removal;
pub mod search;

use std::fs;

use serde::Serialize;

use self::daemon::Daemon;
pub use self::folder::EngineFolder;
use self::network::EngineNetwork;
use crate::ctx::Ctx;
use crate::exec::api::{self, Endpoint};
use crate::exec::engine::exports;
use crate::fault;
use crate::model::mountinfo;

/// The state of the private engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether it answers.
    pub running: bool,
    /// Whether its programs are installed.
    pub installed: bool,
    /// Its folder.
    pub folder: String,
    /// Its socket.
    pub socket: String,
    /// The process id of dockerd.
    pub pid: Option<u32>,
    /// Its packages, such as `docker.io 26.1.5+…`.
    pub packages: Vec<String>,
    /// The address range of its containers.
    pub range: Option<String>,
    /// Whether containers have network access; if not, builds need
    /// `--network=host`.
    pub connected: bool,
    /// The size of the folder.
    pub bytes: u64,
}

/// The state of the engine's daemons.
#[derive(Debug, PartialEq, Eq)]
pub enum Health {
    /// Both work.
    Well,
    /// One has ended, and does not restart by itself.
    Dead(String),
    /// Both run, but dockerd does not answer.
    Mute(std::io::ErrorKind, String),
}

/// Asks both daemons, because dockerd still answers a ping if its containerd is
/// gone.
pub fn health(ctx: &Ctx, folder: &EngineFolder) -> Health {
    let ended = |daemon| daemon::dead(folder, daemon);
    let ping = || api::ping(ctx, &Endpoint::Socket(folder.socket()));
    match (ended(Daemon::Dockerd), ended(Daemon::Containerd)) {
        // A daemon that answers runs, even if its process id is not visible in
        // this namespace.
        (true, _) if ping().is_ok() => Health::Well,
        (true, true) => Health::Dead("its dockerd and its containerd have ended".to_owned()),
        (true, false) => Health::Dead("its dockerd has ended".to_owned()),
        (false, true) => Health::Dead("its containerd has ended".to_owned()),
        (false, false) => match ping() {
            Ok(()) => Health::Well,
            Err(error) => Health::Mute(error.kind(), format!("its dockerd does not answer: {error}")),
        },
    }
}

/// Whether an engine was started here and not stopped.
pub fn was_up(folder: &EngineFolder) -> bool {
    packages::installed(folder) && network::remembered(folder).is_some()
}

/// Installs the engine if necessary, and starts it if it is not running. Returns
/// whether it was started.
pub fn up(ctx: &Ctx) -> anyhow::Result<bool> {
    let folder = EngineFolder::of(ctx)?;
    if health(ctx, &folder) == Health::Well {
        return Ok(false);
    }
    // Before the lock: if no engine can be installed here, no folder is created.
    packages::release()?;
    packages::can_lie_in(&folder)?;
    let _lock = folder.lock(ctx, "engine")?;
    // Another run may have started it while we waited for the lock.
    let folder = EngineFolder::of(ctx)?;
    match health(ctx, &folder) {
        Health::Well => return Ok(false),
        Health::Dead(why) if was_up(&folder) => {
            ctx.say(format!("note: the private engine had died ({why}, see {}/log); starting it again", folder.dir));
        }
        _ => {}
    }
    packages::install(ctx, &folder)?;
    // What the last engine left, however it ended.
    let mut left = daemon::stop(&folder);
    if left.is_empty() {
        left = daemon::sweep(&folder);
    }
    if !left.is_empty() {
        return Err(
            fault::failed(format!("the remains of an earlier engine can't be removed: {}", left.join("; "))).into()
        );
    }
    let started = network::up(ctx, &folder).and_then(|network| daemon::start(ctx, &folder, &network));
    if let Err(error) = started {
        let left = quiet(ctx, &folder);
        if !left.is_empty() {
            ctx.say(format!(
                "note: these parts of it remain: {}; `cargo xtask engine down` tries again",
                left.join("; ")
            ));
        }
        return Err(error);
    }
    ctx.say(format!("The private engine is up: {}", exports(&search::within_private(ctx, &folder.dir))));
    Ok(true)
}

/// Stops the engine and removes what it left on the machine; with `purge` also
/// its folder. Returns how many bytes that freed.
pub fn down(ctx: &Ctx, purge: bool) -> anyhow::Result<u64> {
    let folder = EngineFolder::of(ctx)?;
    if !folder.dir.exists() {
        return Ok(0);
    }
    let _lock = folder.lock(ctx, "engine")?;
    let (dir, data) = (folder.dir.as_std_path(), folder.dir.join("data"));
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut others = mounts::others(&table, dir);
    // dockerd bind-mounts its data folder onto itself. When it ends, it unmounts
    // that, and everything mounted below.
    let is_bound = mountinfo::points(&table).iter().any(|point| *point == data);
    others.retain(|point| purge || (is_bound && point.starts_with(&data) && *point != data));
    if let Some(point) = others.first() {
        return Err(fault::failed(format!(
            "{} is mounted below the engine's folder, but not by the engine",
            point.display()
        ))
        .help("unmount it, then try again")
        .into());
    }
    let left = quiet(ctx, &folder);
    if !left.is_empty() {
        return Err(fault::failed(format!(
            "the private engine is not completely removed; these parts remain:\n  {}",
            left.join("\n  ")
        ))
        .help("cargo xtask engine down")
        .into());
    }
    if !purge {
        return Ok(0);
    }
    let bytes = daemon::disk(ctx, &folder.dir);
    removal::folder(&folder.dir, &folder::NAMES)?;
    Ok(bytes)
}

/// Stops everything and restores the machine. Returns what remains. It ignores
/// the interrupt.
fn quiet(ctx: &Ctx, folder: &EngineFolder) -> Vec<String> {
    let left = daemon::stop(folder);
    if !left.is_empty() {
        // What still works needs all of it.
        return left;
    }
    let mut left = daemon::sweep(folder);
    left.extend(network::down(ctx, folder));
    left.extend(emulator::down(ctx, folder));
    left
}

/// The state of the engine.
pub fn status(ctx: &Ctx) -> anyhow::Result<Status> {
    let folder = EngineFolder::of(ctx)?;
    let packages = fs::read_to_string(folder.dir.join("tree/packages")).unwrap_or_default();
    let network = network::remembered(&folder);
    Ok(Status {
        running: health(ctx, &folder) == Health::Well,
        installed: packages::installed(&folder),
        pid: daemon::running(&folder, Daemon::Dockerd),
        packages: packages.lines().map(package).collect(),
        range: network.as_ref().map(EngineNetwork::range),
        connected: network.is_some_and(|network: EngineNetwork| network.iptables.is_some()),
        bytes: if folder.dir.exists() { daemon::disk(ctx, &folder.dir) } else { 0 },
        socket: folder.socket().into_string(),
        folder: folder.dir.into_string(),
    })
}

/// The name and the version in `name_version_arch.deb`.
fn package(file: &str) -> String {
    let mut parts = file.split('_');
    let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{name} {}", version.replace("%3a", ":"))
}
