//! The two daemons: they start in their own session, are found again by their
//! program, and are stopped in steps.

use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use super::network::EngineNetwork;
use super::{EngineFolder, mounts, removal};
use crate::ctx::Ctx;
use crate::exec::api::{self, Endpoint};
use crate::exec::signal::{self, Signal};
use crate::exec::spawn::{self, Call, Process};
use crate::exec::{interrupt, proc, run};
use crate::fault;
use crate::plan::step::Step;

/// Only a broken machine takes longer to start a daemon.
const PATIENCE: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(20);

/// One of the two daemons of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// It serves the API.
    Dockerd,
    /// It stores images and runs containers for dockerd.
    Containerd,
}

impl Daemon {
    /// In the order in which they stop: each needs the ones behind it.
    const ALL: [Self; 2] = [Self::Dockerd, Self::Containerd];

    /// The name of its program, its pid file and its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dockerd => "dockerd",
            Self::Containerd => "containerd",
        }
    }

    fn socket(self, folder: &EngineFolder) -> Utf8PathBuf {
        match self {
            Self::Dockerd => folder.socket(),
            Self::Containerd => folder.dir.join("ctd.sock"),
        }
    }

    /// How long it may take to end: dockerd stops its containers first.
    fn stop_patience(self) -> Duration {
        match self {
            Self::Dockerd => Duration::from_secs(20),
            Self::Containerd => Duration::from_secs(10),
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Starts containerd and dockerd and waits until the engine answers.
pub fn start(ctx: &Ctx, folder: &EngineFolder, network: &EngineNetwork) -> anyhow::Result<()> {
    for (name, mode) in [
        ("data", 0o710),
        ("exec", 0o711),
        ("ctd-root", 0o711),
        ("ctd-state", 0o711),
        ("log", 0o755),
        ("etc", 0o755),
        ("cli", 0o755),
        ("tmp", 0o700),
    ] {
        let dir = folder.dir.join(name);
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(&dir);
        made.with_context(|| format!("could not create {dir}"))?;
    }
    configure(folder, network)?;
    logins(ctx, &folder.dir)?;

    let mut containerd = Starting(Some(spawn(ctx, folder, Daemon::Containerd, &containerd(folder))?));
    fs::write(folder.pid_file(Daemon::Containerd.name()), format!("{}\n", containerd.id()))?;
    let socket = Daemon::Containerd.socket(folder);
    wait(folder, Daemon::Containerd, &containerd, || socket.exists())?;
    let mut dockerd = Starting(Some(spawn(ctx, folder, Daemon::Dockerd, &dockerd(folder, network))?));
    let endpoint = Endpoint::Socket(folder.socket());
    wait(folder, Daemon::Dockerd, &dockerd, || api::ping(ctx, &endpoint).is_ok())?;
    (containerd.0, dockerd.0) = (None, None);
    Ok(())
}

fn containerd(folder: &EngineFolder) -> Step {
    let config = folder.dir.join("etc/containerd.toml");
    Step::new(folder.bin().join(Daemon::Containerd.name())).args(["--config", config.as_str()])
}

fn dockerd(folder: &EngineFolder, network: &EngineNetwork) -> Step {
    let dir = &folder.dir;
    Step::new(folder.bin().join(Daemon::Dockerd.name()))
        .args(["--config-file".to_owned(), format!("{dir}/etc/daemon.json")])
        .args(["--containerd".to_owned(), format!("{dir}/ctd.sock")])
        .args(["--data-root".to_owned(), format!("{dir}/data")])
        .args(["--exec-root".to_owned(), format!("{dir}/exec")])
        .args(["--pidfile".to_owned(), format!("{dir}/dockerd.pid")])
        .args(["--host".to_owned(), format!("unix://{dir}/docker.sock")])
        .arg(format!("--bridge={}", network.bridge))
        .arg(format!("--fixed-cidr={}", network.first()))
        // We set the rules and forwarding: see `network`.
        .args(["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false"])
}

/// A daemon that is starting. If this is dropped, it is killed: until it runs its
/// own program, only this knows that it is ours.
struct Starting(Option<Process>);

impl Starting {
    fn id(&self) -> u32 {
        self.0.as_ref().and_then(|process| process.pids().first().copied()).unwrap_or_default()
    }

    fn ended(&self) -> std::io::Result<Option<std::process::ExitStatus>> {
        self.0.as_ref().map_or(Ok(None), |process| process.ended(Duration::ZERO))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            process.end();
        }
    }
}

fn configure(folder: &EngineFolder, network: &EngineNetwork) -> anyhow::Result<()> {
    let dir = &folder.dir;
    let containerd = format!(
        "version = 2\nroot = \"{dir}/ctd-root\"\nstate = \"{dir}/ctd-state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\n  address = \"{dir}/ctd.sock\"\n[ttrpc]\n  address = \"{dir}/ctd.sock.ttrpc\"\n"
    );
    fs::write(dir.join("etc/containerd.toml"), containerd)?;
    let dockerd = serde_json::json!({
        // For several platforms, attestations and all exporters without a second
        // builder.
        "features": { "containerd-snapshotter": true },
        // A registry on loopback has no certificate.
        "insecure-registries": ["127.0.0.0/8"],
        "builder": { "gc": { "enabled": true, "defaultKeepStorage": "10GB" } },
        "log-driver": "json-file",
        "log-opts": { "max-size": "10m", "max-file": "2" },
        "default-address-pools": [{ "base": network.pool(), "size": 24 }],
        "shutdown-timeout": 5,
    });
    fs::write(dir.join("etc/daemon.json"), serde_json::to_string_pretty(&dockerd)?)?;
    Ok(())
}

/// The client's configuration folder is ours, because of its plugin, but the
/// logins are the user's.
fn logins(ctx: &Ctx, dir: &Utf8Path) -> anyhow::Result<()> {
    let link = dir.join("cli/config.json");
    // Inside `engine env` this is our own folder.
    let target = match ctx.docker_config() {
        config if config == dir.join("cli") => ctx.default_docker_config(),
        config => config,
    };
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(target.join("config.json"), &link).with_context(|| format!("could not link {link}"))
}

/// Starts a daemon with its own log. containerd's new folders belong to
/// containers and must be readable for everybody, which `spawn` takes care of.
fn spawn(ctx: &Ctx, folder: &EngineFolder, daemon: Daemon, step: &Step) -> anyhow::Result<Process> {
    let log = folder.log(daemon.name());
    if log.exists() {
        let _ = fs::rename(&log, folder.dir.join(format!("log/{daemon}.log.1")));
    }
    if ctx.verbose {
        ctx.show(step);
    }
    let mut step = step.clone();
    step.env.extend(folder.env(ctx));
    // A killed daemon leaves its temporary mounts; here `down` finds them.
    step.env.push(("TMPDIR".to_owned(), folder.dir.join("tmp").into_string()));
    // These would lead dockerd elsewhere.
    step.unset.extend(["DOCKER_HOST", "DOCKER_TMPDIR", "NOTIFY_SOCKET"].map(str::to_owned));
    let out = File::create(&log).with_context(|| format!("could not write {log}"))?;
    spawn::detached(&Call::of(ctx, &step).within(&folder.dir), out).with_context(|| format!("could not start {daemon}"))
}

fn wait(folder: &EngineFolder, daemon: Daemon, child: &Starting, ready: impl Fn() -> bool) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        if ready() {
            return Ok(());
        }
        interrupt::check()?;
        let why = match child.ended()? {
            Some(status) => format!("{daemon} did not start: {status}"),
            None if since.elapsed() > PATIENCE => format!("{daemon} did not answer within {PATIENCE:?}"),
            None => {
                sleep(BEAT);
                continue;
            }
        };
        let log = folder.log(daemon.name());
        let text = fs::read_to_string(&log).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().rev().take(8).collect();
        lines.reverse();
        return Err(fault::failed(format!("{why}\n{}", lines.join("\n")))
            .help(format!("the whole log is in {log}"))
            .into());
    }
}

/// The process id of a daemon, if it runs: a pid file may name an ended process,
/// a zombie, or a process of somebody else.
pub fn running(folder: &EngineFolder, daemon: Daemon) -> Option<u32> {
    pid(folder, daemon).filter(|pid| is(*pid, folder, daemon))
}

/// Whether nobody listens on the daemon's socket. The process id can't tell that
/// for another user or another container with the same folder.
pub fn dead(folder: &EngineFolder, daemon: Daemon) -> bool {
    is_silent(UnixStream::connect(daemon.socket(folder)).err().map(|error| error.kind()))
}

/// Only the kernel's answer proves that nobody listens. If it denies access, that
/// is unknown.
fn is_silent(refused: Option<ErrorKind>) -> bool {
    matches!(refused, Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound))
}

fn pid(folder: &EngineFolder, daemon: Daemon) -> Option<u32> {
    let text = fs::read_to_string(folder.pid_file(daemon.name())).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 1)
}

fn is(pid: u32, folder: &EngineFolder, daemon: Daemon) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    let ours = fs::canonicalize(folder.bin().join(daemon.name()));
    let same = matches!((exe, ours), (Ok(exe), Ok(ours)) if exe == ours);
    same && proc::is_alive(pid)
}

/// Stops both daemons: asks, waits, kills. Returns the remaining ones.
pub fn stop(folder: &EngineFolder) -> Vec<String> {
    for daemon in Daemon::ALL {
        if let Some(pid) = running(folder, daemon) {
            end(&[pid], Signal::Terminate, daemon.stop_patience());
            end(&[pid], Signal::Kill, Duration::from_secs(5));
        }
    }
    let left = Daemon::ALL.into_iter().filter(|daemon| running(folder, *daemon).is_some() || !dead(folder, *daemon));
    left.map(|daemon| match running(folder, daemon) {
        Some(pid) => format!("{daemon} (process {pid})"),
        None => format!("{daemon}, which answers, but is not visible here: does it run in another container?"),
    })
    .collect()
}

/// Removes what a killed engine left: shims, containers, mounts, sockets. On
/// other systems the state folders are in memory and don't survive a reboot, so
/// they may be deleted here. Returns what remains.
pub fn sweep(folder: &EngineFolder) -> Vec<String> {
    let left = leftovers(folder);
    end(&left, Signal::Kill, Duration::from_secs(5));
    let mut left: Vec<_> =
        left.iter().filter(|pid| proc::is_alive(**pid)).map(|pid| format!("process {pid}")).collect();
    left.extend(
        mounts::release(folder.dir.as_std_path()).iter().map(|point| format!("a mount at {}", point.display())),
    );
    for name in ["dockerd.pid", "containerd.pid", "docker.sock", "ctd.sock", "ctd.sock.ttrpc"] {
        let _ = fs::remove_file(folder.dir.join(name));
    }
    for name in ["exec", "ctd-state", "tmp"] {
        left.extend(removal::tree(folder.dir.join(name).as_std_path()).err().map(|error| error.to_string()));
    }
    left
}

fn end(pids: &[u32], signal: Signal, patience: Duration) {
    let since = Instant::now();
    let mut told = Duration::ZERO;
    signal::send(signal, pids.iter().copied().filter(|pid| proc::is_alive(*pid)));
    // An interrupt does not shorten this, because half a stop helps nobody.
    while pids.iter().any(|pid| proc::is_alive(*pid)) && since.elapsed() < patience {
        sleep(BEAT);
        // The `kill` process itself may have been ended by the terminal's signal.
        if since.elapsed() > told + Duration::from_secs(1) {
            told = since.elapsed();
            signal::send(signal, pids.iter().copied().filter(|pid| proc::is_alive(*pid)));
        }
    }
}

/// The processes that run one of our programs or are in one of our containers.
fn leftovers(folder: &EngineFolder) -> Vec<u32> {
    let tree = folder.dir.join("tree");
    let own = std::process::id();
    let ours = |pid: &u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let table = || fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let is_inside = || mounts::rooted_below(&table(), folder.dir.as_std_path());
        *pid != own && *pid > 1 && (exe.starts_with(&tree) || is_inside())
    };
    proc::all().filter(ours).collect()
}

/// The size of the folder, without mounts in it.
pub fn disk(ctx: &Ctx, dir: &Utf8Path) -> u64 {
    // `du` fails if a file disappears meanwhile, but its sum is right.
    let script = "du --summarize --one-file-system --block-size=1 \"$0\" 2>/dev/null || true";
    let step = Step::new("sh").args(["-c", script, dir.as_str()]);
    let text = run::probe(ctx, &step).unwrap_or_default();
    text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_dead_only_if_the_kernel_says_so() {
        for (refused, expected) in [
            (None, false),
            (Some(ErrorKind::ConnectionRefused), true),
            (Some(ErrorKind::NotFound), true),
            (Some(ErrorKind::PermissionDenied), false),
            (Some(ErrorKind::WouldBlock), false),
        ] {
            assert_eq!(is_silent(refused), expected, "{refused:?}");
        }
    }
}
