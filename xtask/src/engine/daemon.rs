//! The two daemons: they start in their own session, are found again by their
//! program, and are stopped in steps.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use camino::Utf8Path;

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
        made.with_context(|| format!("could not make {dir}"))?;
    }
    configure(folder, network)?;
    logins(ctx, &folder.dir)?;

    let mut containerd = Starting(Some(spawn(ctx, folder, &containerd(folder))?));
    fs::write(folder.pid_file("containerd"), format!("{}\n", containerd.id()))?;
    let socket = folder.dir.join("ctd.sock");
    wait(folder, "containerd", &containerd, || socket.exists())?;
    let mut dockerd = Starting(Some(spawn(ctx, folder, &dockerd(folder, network))?));
    let endpoint = Endpoint::Socket(folder.socket());
    wait(folder, "dockerd", &dockerd, || api::ping(ctx, &endpoint).is_ok())?;
    (containerd.0, dockerd.0) = (None, None);
    Ok(())
}

fn containerd(folder: &EngineFolder) -> Step {
    let config = folder.dir.join("etc/containerd.toml");
    Step::new(folder.bin().join("containerd")).args(["--config", config.as_str()])
}

fn dockerd(folder: &EngineFolder, network: &EngineNetwork) -> Step {
    let dir = &folder.dir;
    Step::new(folder.bin().join("dockerd"))
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
fn spawn(ctx: &Ctx, folder: &EngineFolder, step: &Step) -> anyhow::Result<Process> {
    let name = Utf8Path::new(&step.tool).file_name().unwrap_or("daemon").to_owned();
    let log = folder.log(&name);
    if log.exists() {
        let _ = fs::rename(&log, folder.dir.join(format!("log/{name}.log.1")));
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
    spawn::detached(&Call::of(ctx, &step).within(&folder.dir), out).with_context(|| format!("could not start {name}"))
}

fn wait(folder: &EngineFolder, name: &str, child: &Starting, ready: impl Fn() -> bool) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        if ready() {
            return Ok(());
        }
        interrupt::check()?;
        let why = match child.ended()? {
            Some(status) => format!("{name} did not start: {status}"),
            None if since.elapsed() > PATIENCE => format!("{name} did not answer within {PATIENCE:?}"),
            None => {
                sleep(BEAT);
                continue;
            }
        };
        let log = folder.log(name);
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
pub fn running(folder: &EngineFolder, name: &str) -> Option<u32> {
    pid(folder, name).filter(|pid| is(*pid, folder, name))
}

/// Whether nobody listens on the daemon's socket. The process id can't tell that
/// for another user or another container with the same folder.
pub fn dead(folder: &EngineFolder, name: &str) -> bool {
    let socket = match name {
        "dockerd" => folder.socket(),
        _ => folder.dir.join("ctd.sock"),
    };
    is_silent(UnixStream::connect(socket).err().map(|error| error.kind()))
}

/// Only the kernel's answer proves that nobody listens. If it denies access, that
/// is unknown.
fn is_silent(refused: Option<ErrorKind>) -> bool {
    matches!(refused, Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound))
}

fn pid(folder: &EngineFolder, name: &str) -> Option<u32> {
    let text = fs::read_to_string(folder.pid_file(name)).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 1)
}

fn is(pid: u32, folder: &EngineFolder, name: &str) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    let ours = fs::canonicalize(folder.bin().join(name));
    let same = matches!((exe, ours), (Ok(exe), Ok(ours)) if exe == ours);
    same && proc::is_alive(pid)
}

/// Stops both daemons: asks, waits, kills. Returns the remaining ones.
pub fn stop(folder: &EngineFolder) -> Vec<String> {
    for (name, patience) in [("dockerd", 20), ("containerd", 10)] {
        if let Some(pid) = running(folder, name) {
            end(&[pid], Signal::Terminate, Duration::from_secs(patience));
            end(&[pid], Signal::Kill, Duration::from_secs(5));
        }
    }
    let names = ["dockerd", "containerd"].iter();
    let left = names.filter(|name| running(folder, name).is_some() || !dead(folder, name));
    left.map(|name| match running(folder, name) {
        Some(pid) => format!("{name} (process {pid})"),
        None => format!("{name}, which answers and can't be seen from here: is it in another container?"),
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
