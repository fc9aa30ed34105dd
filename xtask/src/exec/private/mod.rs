//! A Docker Engine in one folder, for a machine that has none: its own
//! programs, socket, images and network.
//!
//! Nothing of it is outside of the folder but a bridge and three iptables
//! rules, and `down` removes those. It never touches an engine that is there,
//! and two of them in two folders don't meet.

pub mod apt;
pub mod daemon;
pub mod mounts;
pub mod network;
pub mod packages;

use std::fs::{self, File};

use camino::Utf8PathBuf;
use serde::Serialize;

use self::network::Network;
use crate::ctx::Ctx;
use crate::exec::api::{self, Endpoint};
use crate::exec::{engine, files};
use crate::fault;
use crate::plan::step::Step;

/// The path of a Unix socket ends here: 108 bytes with the final zero.
const SOCKET_PATH: usize = 107;
/// Made first and never removed: they also tell that a folder is ours.
const LOCKS: [&str; 2] = ["engine.lock", "bases.lock"];

/// The folder and what is where in it.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder, absolute and without links.
    pub dir: Utf8PathBuf,
}

impl Folder {
    /// The folder of this run. It need not exist.
    pub fn of(ctx: &Ctx) -> anyhow::Result<Self> {
        let dir = ctx.engine_dir();
        let dir = if dir.is_absolute() { dir } else { ctx.root.join(dir) };
        let dir = dir.canonicalize_utf8().unwrap_or(dir);
        let longest = dir.join("ctd.sock.ttrpc");
        if longest.as_str().len() > SOCKET_PATH {
            return Err(fault::usage(format!(
                "{dir} is too long for an engine's folder: the path of a socket in it has {} bytes, and the most is {SOCKET_PATH}",
                longest.as_str().len()
            ))
            .help("name a shorter one: export XTASK_ENGINE_DIR=/var/lib/xtask-engine")
            .into());
        }
        if dir.as_str().contains(['"', '\\', '\n', ':']) {
            return Err(fault::usage(format!("an engine's folder can't be named {dir:?}"))
                .help("name another one: export XTASK_ENGINE_DIR=/var/lib/xtask-engine")
                .into());
        }
        let folder = Self { dir };
        if !folder.ours() {
            return Err(fault::usage(format!("{} holds something else than an engine", folder.dir))
                .help("name an empty folder, or one that is not there yet, by XTASK_ENGINE_DIR")
                .into());
        }
        Ok(folder)
    }

    /// Whether the folder is empty or was made here: `down` unmounts and
    /// deletes what is in it.
    fn ours(&self) -> bool {
        let Ok(entries) = self.dir.read_dir_utf8() else { return true };
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_owned()).collect();
        let strange = |name: &String| name != "lost+found";
        LOCKS.iter().any(|lock| names.iter().any(|name| name == lock)) || !names.iter().any(strange)
    }

    /// The client, buildx and the daemons' programs.
    pub fn bin(&self) -> Utf8PathBuf {
        self.dir.join("bin")
    }

    /// The engine's socket.
    pub fn socket(&self) -> Utf8PathBuf {
        self.dir.join("docker.sock")
    }

    fn pid_file(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(format!("{name}.pid"))
    }

    fn log(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(format!("log/{name}.log"))
    }

    /// What the daemons and the network tools need: our programs first, and
    /// the libraries that the host lacked.
    fn env(&self, ctx: &Ctx) -> Vec<(String, String)> {
        let path = ctx.env.get("PATH").unwrap_or_default();
        let (bin, sbin) = (self.bin(), self.dir.join("sbin"));
        let mut env =
            vec![("PATH".to_owned(), format!("{bin}:{sbin}:{path}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"))];
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries: Vec<_> = ["usr/lib", "lib"]
            .iter()
            .map(|dir| self.dir.join("tree").join(dir).join(&triplet))
            .filter(|dir| dir.exists())
            .collect();
        if !libraries.is_empty() {
            let all: Vec<_> = libraries.iter().map(|dir| dir.as_str()).collect();
            env.push(("LD_LIBRARY_PATH".to_owned(), all.join(":")));
        }
        if let Some(dir) = libraries.iter().map(|dir| dir.join("xtables")).find(|dir| dir.exists()) {
            env.push(("XTABLES_LIBDIR".to_owned(), dir.into_string()));
        }
        env
    }

    fn containerd(&self) -> Step {
        let config = self.dir.join("etc/containerd.toml");
        Step::new(self.bin().join("containerd")).args(["--config", config.as_str()])
    }

    fn dockerd(&self, network: &Network) -> Step {
        let dir = &self.dir;
        Step::new(self.bin().join("dockerd"))
            .args(["--config-file".to_owned(), format!("{dir}/etc/daemon.json")])
            .args(["--containerd".to_owned(), format!("{dir}/ctd.sock")])
            .args(["--data-root".to_owned(), format!("{dir}/data")])
            .args(["--exec-root".to_owned(), format!("{dir}/exec")])
            .args(["--pidfile".to_owned(), format!("{dir}/dockerd.pid")])
            .args(["--host".to_owned(), format!("unix://{dir}/docker.sock")])
            .arg(format!("--bridge={}", network.bridge))
            .arg(format!("--fixed-cidr={}", network.first()))
            .args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"])
    }

    /// One at a time. Held until it is dropped; the kernel lets go of it when
    /// the process dies.
    pub fn lock(&self, ctx: &Ctx, name: &str) -> anyhow::Result<File> {
        let path = self.dir.join(format!("{name}.lock"));
        files::lock(ctx, &path, "another xtask works there")
    }

    /// Both daemons: dockerd answers a ping without its containerd, and
    /// nothing else.
    fn answers(&self, ctx: &Ctx) -> bool {
        daemon::running(self, "containerd").is_some() && api::ping(ctx, &Endpoint::Socket(self.socket())).is_ok()
    }
}

/// What is known about the private engine.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether it answers.
    pub running: bool,
    /// Whether its programs are there.
    pub installed: bool,
    /// Where it is.
    pub folder: String,
    /// Its socket.
    pub socket: String,
    /// The process of dockerd.
    pub pid: Option<u32>,
    /// The packages it is made of, `docker.io 26.1.5+…`.
    pub packages: Vec<String>,
    /// The addresses of its containers.
    pub range: Option<String>,
    /// Whether containers reach the network; where not, builds need
    /// `--network=host`.
    pub connected: bool,
    /// What the folder takes on disk.
    pub bytes: u64,
}

/// Installs the engine where it is not there and starts it where it does not
/// run. Whether it was started now.
pub fn up(ctx: &Ctx) -> anyhow::Result<bool> {
    let folder = Folder::of(ctx)?;
    if folder.answers(ctx) {
        return Ok(false);
    }
    // Before the lock: somebody who can't have one gets no folder either.
    packages::release()?;
    let _lock = folder.lock(ctx, "engine")?;
    let folder = Folder::of(ctx)?;
    if folder.answers(ctx) {
        return Ok(false);
    }
    packages::install(ctx, &folder)?;
    daemon::stop(&folder);
    daemon::sweep(ctx, &folder);
    let network = network::up(ctx, &folder)?;
    let started = daemon::start(ctx, &folder, &network);
    if started.is_err() {
        quiet(ctx, &folder);
    }
    started?;
    ctx.say(format!("The private engine is up: {}", engine::exports(&engine::within_private(ctx, &folder.dir))));
    Ok(true)
}

/// Stops the engine and removes what it left on the machine; with `purge` the
/// folder as well. How many bytes that freed.
pub fn down(ctx: &Ctx, purge: bool) -> anyhow::Result<u64> {
    let folder = Folder::of(ctx)?;
    if !folder.dir.exists() {
        return Ok(0);
    }
    let _lock = folder.lock(ctx, "engine")?;
    quiet(ctx, &folder);
    if !purge {
        return Ok(0);
    }
    if !mounts::below(&fs::read_to_string("/proc/self/mountinfo")?, &folder.dir).is_empty() {
        return Err(fault::failed(format!("something below {} is still mounted", folder.dir))
            .help(format!("grep {} /proc/self/mountinfo", folder.dir))
            .into());
    }
    let bytes = daemon::disk(ctx, &folder.dir);
    packages::remove(&folder.dir)?;
    Ok(bytes)
}

/// Everything stops; the machine is as it was.
fn quiet(ctx: &Ctx, folder: &Folder) {
    daemon::stop(folder);
    daemon::sweep(ctx, folder);
    network::down(ctx, folder);
}

/// What there is.
pub fn status(ctx: &Ctx) -> anyhow::Result<Status> {
    let folder = Folder::of(ctx)?;
    let packages = fs::read_to_string(folder.dir.join("tree/packages")).unwrap_or_default();
    let network = network::remembered(&folder);
    Ok(Status {
        running: folder.answers(ctx),
        installed: packages::installed(&folder),
        pid: daemon::running(&folder, "dockerd"),
        packages: packages.lines().map(package).collect(),
        range: network.as_ref().map(Network::range),
        connected: network.is_some_and(|network| network.iptables.is_some()),
        bytes: if folder.dir.exists() { daemon::disk(ctx, &folder.dir) } else { 0 },
        socket: folder.socket().into_string(),
        folder: folder.dir.into_string(),
    })
}

/// `name_version_arch.deb` as a name and a version.
fn package(file: &str) -> String {
    let mut parts = file.split('_');
    let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{name} {}", version.replace("%3a", ":"))
}
