//! A private engine on its bad days: interrupted, killed, deleted with somebody
//! else's files below it, put there by somebody else. What starts one does so in
//! a network and a mount namespace of its own, so that nothing of this machine
//! is touched.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use xtask::engine::EngineFolder;
use xtask::exec::files::{Temporary, removal};
use xtask::exec::signal;

use self::common::{exit, stderr};

const INSIDE: &str = "XTASK_TEST_INSIDE";

/// Runs a test again in namespaces of its own; whether this is the inner one.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        // `/sys` shows the namespace in which it was mounted.
        sh("mount -t sysfs sysfs /sys && ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_forward");
        return true;
    }
    if common::programs().is_none() {
        common::left_out(test, "as root, with a private engine's programs");
        return false;
    }
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]).arg(exe).args(["--ignored", "--exact", test, "--nocapture"]);
    let output = command.env(INSIDE, "1").output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    false
}

fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with the programs of the engine that is there, and nothing else of it.
struct Own {
    folder: EngineFolder,
    _place: Temporary,
}

impl Own {
    fn new() -> Self {
        let (ctx, real) = common::programs().unwrap();
        let place = Temporary::new("e").unwrap();
        let folder = EngineFolder { dir: Utf8PathBuf::from(place.path()) };
        // Its first lock says whose it is.
        drop(folder.lock(&ctx, "engine").unwrap());
        let (from, to) = (&real.dir, &folder.dir);
        sh(&format!(
            "umask 022; mkdir -p {to}/cli && cd {from} && for it in tree bin sbin cli/cli-plugins; do
             cp -al $it {to}/$it 2>/dev/null || {{ rm -rf {to}/$it; cp -a $it {to}/$it; }}; done"
        ));
        Self { folder, _place: place }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = common::xtask(args);
        command
            .env("XTASK_ENGINE_DIR", &self.folder.dir)
            .env("DOCKER_HOST", format!("unix://{}", self.folder.socket()));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What is left of it on the machine.
    fn traces(&self) -> Vec<String> {
        let dir = &self.folder.dir;
        let libraries = format!("{dir}/tree/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let own = format!("{dir}/sbin/xtables-nft-multi");
        let tool = if std::path::Path::new(&own).exists() {
            format!("LD_LIBRARY_PATH={libraries} XTABLES_LIBDIR={libraries}/xtables {own} iptables")
        } else {
            "iptables".to_owned()
        };
        let mut all = String::new();
        for table in ["filter", "nat", "mangle"] {
            all += &sh(&format!("{tool} -t {table} -S | grep -e '^-A' || true"));
        }
        all += &sh("ip rule show | grep -v 'from all lookup' || true");
        all += &sh("ip -br link show type bridge | cut -d' ' -f1");
        all += &sh("grep -v '^0$' /proc/sys/net/ipv4/ip_forward || true");
        all += &sh(&format!("grep {dir} /proc/self/mountinfo || true"));
        for name in ["network.json", "docker.sock", "exec", "ctd-state", "tmp"] {
            all += &sh(&format!("ls -d {dir}/{name} 2>/dev/null || true"));
        }
        all += &sh(&format!("for it in /proc/[0-9]*/exe; do readlink $it; done 2>/dev/null | grep {dir} || true"));
        all.lines().map(str::to_owned).collect()
    }

    fn kill(&self, daemon: &str) {
        let pid = std::fs::read_to_string(self.folder.pid_file(daemon)).unwrap();
        signal::send(signal::Signal::Kill, [pid.trim().parse().unwrap()]);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let output = self.run(&["engine", "down"]);
        if !std::thread::panicking() {
            exit(&output, 0);
        }
    }
}

/// As a terminal sends it: to all of the group.
fn interrupted(mut command: Command, after: Duration) -> Output {
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    for _ in 0..2 {
        sh(&format!("kill -INT -{} 2>/dev/null || true", child.id()));
        std::thread::sleep(Duration::from_millis(30));
    }
    child.wait_with_output().unwrap()
}

/// A folder that anybody could have written, with programs and a socket that
/// tell when they are used.
fn strange(place: &Temporary, spoil: impl Fn(&Utf8Path)) -> (Utf8PathBuf, UnixListener) {
    let dir = Utf8PathBuf::from(place.path());
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    for name in ["docker", "dockerd", "containerd", "runc"] {
        let program = dir.join("bin").join(name);
        std::fs::write(&program, format!("#!/bin/sh\ntouch {dir}/used\n")).unwrap();
        sh(&format!("chmod 755 {program}"));
    }
    std::fs::write(dir.join("network.json"), r#"{"bridge":"xt","octet":220,"iptables":null,"forwarded":true}"#)
        .unwrap();
    // Our own words, as anybody can read them.
    let (ctx, own) = (common::ctx(), EngineFolder { dir: place.path().with_file_name("own") });
    drop(own.lock(&ctx, "engine").unwrap());
    std::fs::copy(own.dir.join("xtask-engine"), dir.join("xtask-engine")).unwrap();
    let listener = UnixListener::bind(dir.join("docker.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    spoil(&dir);
    (dir, listener)
}

#[test]
fn a_folder_that_somebody_else_could_have_written_is_neither_run_nor_connected_to_nor_locked() {
    type Spoil<'a> = &'a dyn Fn(&Utf8Path);
    let open = |path: &Utf8Path| drop(sh(&format!("chmod go+w {path}")));
    let rows: [(&str, Spoil<'_>); 4] = [
        ("the folder", &open),
        ("one above", &|dir| open(dir.parent().unwrap())),
        ("a program", &|dir| open(&dir.join("bin/docker"))),
        ("the programs", &|dir| open(&dir.join("bin"))),
    ];
    for (what, spoil) in rows {
        let place = Temporary::new("e").unwrap();
        let (dir, listener) = strange(&place, spoil);
        for verb in
            [&["engine", "up"][..], &["engine", "down"], &["engine", "status"], &["docker", "down"], &["docker", "web"]]
        {
            for named in [false, true] {
                let mut command = common::xtask(verb);
                command.env("XTASK_ENGINE_DIR", &dir).env_remove("DOCKER_HOST");
                if named {
                    command.env("DOCKER_HOST", format!("unix://{dir}/docker.sock"));
                } else if verb[0] == "docker" {
                    continue; // another engine may well answer
                }
                let output = command.output().unwrap();
                exit(&output, 2);
                assert!(stderr(&output).contains("can't be trusted"), "{what}: {}", stderr(&output));
            }
        }
        assert!(listener.accept().is_err(), "{what}: its socket was connected to");
        assert!(!dir.join("used").exists(), "{what}: its programs were run");
        assert!(!dir.join("engine.lock").exists(), "{what}: it was locked");
    }
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn ctrl_c_while_it_starts_or_stops_leaves_nothing_and_the_next_start_works() {
    if !inside("ctrl_c_while_it_starts_or_stops_leaves_nothing_and_the_next_start_works") {
        return;
    }
    let own = Own::new();
    let mut ended = Vec::new();
    for millis in [20, 60, 100, 140, 180, 220, 260, 320] {
        let output = interrupted(own.command(&["engine", "up"]), Duration::from_millis(millis));
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 130)), "{millis}: {code:?} {}", stderr(&output));
        if code == Some(130) {
            assert_eq!(own.traces(), Vec::<String>::new(), "{millis}");
        }
        ended.push(code);
    }
    assert!(ended.contains(&Some(130)), "{ended:?}");

    for millis in [10, 40, 80, 120] {
        exit(&own.run(&["engine", "up"]), 0);
        let output = interrupted(own.command(&["engine", "down"]), Duration::from_millis(millis));
        // What was begun is finished: then there is nothing to be interrupted.
        assert!(matches!(output.status.code(), Some(0 | 130)), "{}", stderr(&output));
        if output.status.code() == Some(0) {
            assert_eq!(own.traces(), Vec::<String>::new(), "{millis}");
        }
    }
    exit(&own.run(&["engine", "down"]), 0);
    assert_eq!(own.traces(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn a_test_run_stops_the_engine_that_it_started_whatever_happens_to_it() {
    if !inside("a_test_run_stops_the_engine_that_it_started_whatever_happens_to_it") {
        return;
    }
    if std::path::Path::new("/var/run/docker.sock").exists() {
        return common::left_out("a test run with a private engine", "a machine without another engine");
    }
    let own = Own::new();
    let command = || {
        let mut command = own.command(&["test", "workflows", "--setup"]);
        command.env_remove("DOCKER_HOST");
        command
    };
    for millis in [150, 400, 800] {
        let output = interrupted(command(), Duration::from_millis(millis));
        assert_eq!(output.status.code(), Some(130), "{millis}: {}", stderr(&output));
        assert_eq!(own.traces(), Vec::<String>::new(), "{millis}: {}", stderr(&output));
    }
    // Nothing is reached from here: the images can't be made.
    let output = command().output().unwrap();
    exit(&output, 1);
    assert_eq!(own.traces(), Vec::<String>::new(), "{}", stderr(&output));
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn what_a_killed_start_left_is_healed_and_what_can_not_be_undone_is_said() {
    if !inside("what_a_killed_start_left_is_healed_and_what_can_not_be_undone_is_said") {
        return;
    }
    let own = Own::new();
    let record = own.folder.dir.join("network.json");
    for millis in [40, 80, 120, 160, 200] {
        let mut child = own.command(&["engine", "up"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = std::fs::remove_file(&record);
    }
    exit(&own.run(&["engine", "up"]), 0);
    std::fs::remove_file(&record).unwrap();
    exit(&own.run(&["engine", "down"]), 0);
    assert_eq!(own.traces(), Vec::<String>::new());

    // A bridge that `ip` may not remove: as if it were another's doing.
    exit(&own.run(&["engine", "up"]), 0);
    let fake = own.folder.dir.join("sbin/ip");
    let real = sh("command -v ip").trim().to_owned();
    let _ = std::fs::remove_file(&fake);
    std::fs::write(&fake, format!("#!/bin/sh\n[ \"$1 $2\" = 'link del' ] && exit 1\nexec {real} \"$@\"\n")).unwrap();
    sh(&format!("chmod 755 {fake}"));
    let output = own.run(&["engine", "down"]);
    exit(&output, 1);
    assert!(stderr(&output).contains("the bridge xt"), "{}", stderr(&output));
    assert!(record.exists(), "the record goes last");
    std::fs::remove_file(&fake).unwrap();
    exit(&own.run(&["engine", "down"]), 0);
    assert_eq!(own.traces(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn an_engine_that_is_started_under_a_careful_umask_makes_containers_that_can_be_read() {
    if !inside("an_engine_that_is_started_under_a_careful_umask_makes_containers_that_can_be_read") {
        return;
    }
    let own = Own::new();
    let mut careful = Command::new("sh");
    let up = own.command(&["engine", "up"]);
    careful.args(["-c", "umask 077; exec \"$0\" engine up"]).arg(up.get_program());
    careful.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(common::root());
    exit(&careful.output().unwrap(), 0);
    for daemon in ["containerd", "dockerd"] {
        let pid = std::fs::read_to_string(own.folder.pid_file(daemon)).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        assert!(status.contains("\nUmask:\t0022\n"), "{daemon}: {status}");
    }
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn an_engine_that_died_is_started_again_by_the_next_command_which_says_so() {
    if !inside("an_engine_that_died_is_started_again_by_the_next_command_which_says_so") {
        return;
    }
    let own = Own::new();
    exit(&own.run(&["engine", "up"]), 0);
    for (daemon, words) in [("dockerd", "its dockerd has ended"), ("containerd", "its containerd has ended")] {
        own.kill(daemon);
        // The kernel closes a socket with the last thread that has it, which is
        // after the process shows as ended.
        let socket = if daemon == "dockerd" { own.folder.socket() } else { own.folder.dir.join("ctd.sock") };
        let started = Instant::now();
        while UnixStream::connect(&socket).is_ok() {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = own.run(&["engine", "status", "--format", "json"]);
        assert_eq!(common::json(&status)["private"]["running"], false);
        let output = own.run(&["docker", "down"]);
        exit(&output, 0);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert!(stderr(&output).contains("starting it again"), "{}", stderr(&output));
    }
    // Who takes it down wants it down.
    exit(&own.run(&["engine", "down"]), 0);
    let output = own.run(&["docker", "down"]);
    exit(&output, 1);
    assert!(stderr(&output).contains("cargo xtask engine up"), "{}", stderr(&output));
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn an_engine_that_runs_where_it_can_not_be_seen_is_used_and_not_taken_for_dead() {
    if !inside("an_engine_that_runs_where_it_can_not_be_seen_is_used_and_not_taken_for_dead") {
        return;
    }
    let own = Own::new();
    exit(&own.run(&["engine", "up"]), 0);
    // As from a container that has the folder: other processes, the same socket.
    let elsewhere = |args: &[&str]| {
        let there = own.command(args);
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]).arg(there.get_program()).args(there.get_args());
        command.current_dir(there.get_current_dir().unwrap());
        for (name, value) in there.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().unwrap()
    };
    let before = std::fs::read_to_string(own.folder.pid_file("dockerd")).unwrap();
    let used = elsewhere(&["docker", "down"]);
    exit(&used, 0);
    assert!(!stderr(&used).contains("died"), "{}", stderr(&used));
    let output = elsewhere(&["engine", "down"]);
    exit(&output, 1);
    assert!(stderr(&output).contains("is not visible here"), "{}", stderr(&output));
    exit(&own.run(&["docker", "down"]), 0);
    assert_eq!(std::fs::read_to_string(own.folder.pid_file("dockerd")).unwrap(), before, "it was started anew");
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn purge_takes_nothing_that_somebody_mounted_below() {
    if !inside("purge_takes_nothing_that_somebody_mounted_below") {
        return;
    }
    let own = Own::new();
    exit(&own.run(&["engine", "up"]), 0);
    let disk = own.folder.dir.join("data").as_std_path().join(OsStr::from_bytes(b"ann\xff"));
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&disk).status().unwrap();
    assert!(mounted.success());
    std::fs::write(disk.join("thesis"), "three years").unwrap();
    for args in [&["engine", "down", "--purge"][..], &["engine", "down"]] {
        let output = own.run(args);
        exit(&output, 1);
        assert!(stderr(&output).contains("but not by the engine"), "{}", stderr(&output));
        assert_eq!(std::fs::read_to_string(disk.join("thesis")).unwrap(), "three years");
        assert!(own.folder.socket().exists() && own.folder.bin().join("dockerd").exists(), "half of it went");
    }
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    exit(&own.run(&["engine", "down", "--purge"]), 0);
    assert!(!own.folder.dir.exists());
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn what_is_bound_into_a_folder_of_ours_outlives_it() {
    if !inside("what_is_bound_into_a_folder_of_ours_outlives_it") {
        return;
    }
    // On the same disk: no device tells that it is not ours.
    let home = Temporary::new("home").unwrap();
    std::fs::create_dir(home.path()).unwrap();
    let thesis = home.path().join("thesis");
    std::fs::write(&thesis, "three years").unwrap();
    let stays = |what: &str| assert!(thesis.exists(), "{what} took what is mounted");
    let bind = |at: &Utf8Path| sh(&format!("mkdir -p {at} && mount --bind {} {at}", home.path()));

    let run = Temporary::new("run").unwrap();
    let dir = run.path().parent().unwrap().to_owned();
    bind(&dir.join("deep/disk"));
    drop(run);
    stays("the end of a run");
    // Now it is what a killed run has left, and the next one sweeps.
    let hidden = dir.with_file_name(format!(".{}", dir.file_name().unwrap()));
    std::fs::rename(&dir, &hidden).unwrap();
    drop(Temporary::beside(&dir.with_file_name("it")).unwrap());
    stays("the next run");
    let why = removal::folder(&hidden).unwrap_err().to_string();
    assert!(why.contains("something is mounted at"), "{why}");
    stays("a removal");

    let tree = dir.with_file_name("tree");
    bind(&tree.join("usr"));
    assert!(xtask::engine::packages::remove(&tree).is_err());
    stays("a removal of programs");
    sh(&format!("umount {hidden}/deep/disk {tree}/usr"));
    removal::folder(&hidden).unwrap();
    xtask::engine::packages::remove(&tree).unwrap();
    assert!(!hidden.exists() && !tree.exists());
}

/// A project of one image that is as large as an export takes some time for.
fn large(place: &Temporary) -> Utf8PathBuf {
    let dir = place.path().to_owned();
    std::fs::create_dir(&dir).unwrap();
    let services = "[project]\nname = \"large\"\nregistry = \"ghcr.io\"\nowner = \"x\"\n\
                    [services.app]\nimage = \"large-app\"\npaths = [\"**\"]\n";
    std::fs::write(dir.join("services.toml"), services).unwrap();
    std::fs::write(dir.join("Dockerfile"), "FROM scratch\nCOPY blob salt /\n").unwrap();
    sh(&format!("cd {dir} && git init --quiet && touch salt && head -c 64M /dev/urandom > blob"));
    dir
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn a_dockerd_that_is_killed_while_it_exports_leaves_no_mount_and_purge_says_true_numbers() {
    if !inside("a_dockerd_that_is_killed_while_it_exports_leaves_no_mount_and_purge_says_true_numbers") {
        return;
    }
    let (own, place, tmp) = (Own::new(), Temporary::new("large").unwrap(), Temporary::new("tmp").unwrap());
    let dir = large(&place);
    std::fs::create_dir(tmp.path()).unwrap();
    let names = || {
        let entries = dir.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    };
    let before = names();
    let killed = |salt: u64, more: &[&str]| {
        std::fs::write(dir.join("salt"), salt.to_string()).unwrap();
        exit(&own.command(&["engine", "up"]).env("TMPDIR", tmp.path()).output().unwrap(), 0);
        let args = [&["docker", "app", "--force", "--progress", "plain"], more].concat();
        let mut child = own.command(&args).current_dir(&dir).stderr(Stdio::piped()).spawn().unwrap();
        common::until_it_says(&mut child, "exporting layers");
        std::thread::sleep(Duration::from_millis(salt * 40));
        own.kill("dockerd");
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 1)), "{more:?} {salt}: {code:?}");
        code
    };
    let dir_of_engine = own.folder.dir.clone();
    let is_mounted = || !sh(&format!("grep {dir_of_engine}/ctd-root /proc/self/mountinfo || true")).is_empty();
    let mut in_the_middle = 0;
    for salt in 0..4 {
        for more in [&["--output", "oci=out.tar"][..], &[]] {
            let code = killed(salt, more);
            in_the_middle += usize::from(code == Some(1) && is_mounted());
            if more.is_empty() {
                // What it left is the next one's to heal.
                exit(&own.run(&["engine", "up"]), 0);
            }
            exit(&own.run(&["engine", "down"]), 0);
            assert_eq!(own.traces(), Vec::<String>::new(), "{more:?} {salt}");
            assert_eq!(tmp.path().read_dir_utf8().unwrap().count(), 0, "the temporary folder is not the daemons'");
            let archive = dir.join("out.tar");
            assert!(code == Some(1) || more.is_empty() || archive.exists());
            let _ = std::fs::remove_file(archive);
            assert_eq!(names(), before);
        }
    }
    // Otherwise this was about nothing.
    assert!(in_the_middle > 0, "no dockerd was killed while it had a layer mounted");

    let disk = || sh(&format!("du --summarize --one-file-system --block-size=1 {dir_of_engine} | cut -f1"));
    let purge = || own.run(&["engine", "down", "--purge", "--format", "json"]);
    let is_true = |said: u64, counted: &str| said.abs_diff(counted.trim().parse().unwrap()) < 1 << 20;
    let said = |output: &Output| {
        exit(output, 0);
        common::json(output)["freed_bytes"].as_u64().unwrap()
    };
    // Right after a kill, with all that it left.
    killed(4, &[]);
    sh(&format!("kill -9 $(cat {})", own.folder.pid_file("containerd")));
    let counted = disk();
    assert!(is_true(said(&purge()), &counted), "{counted}");
    assert!(!dir_of_engine.exists());
    assert_eq!(own.traces(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a private engine's programs and root: cargo xtask test images"]
fn a_full_disk_is_told_as_one_and_nothing_half_made_is_left_on_it() {
    if !inside("a_full_disk_is_told_as_one_and_nothing_half_made_is_left_on_it") {
        return;
    }
    let (own, place, small) = (Own::new(), Temporary::new("large").unwrap(), Temporary::new("small").unwrap());
    let (dir, small) = (large(&place), small.path().to_owned());
    std::fs::create_dir_all(&small).unwrap();
    let full = || {
        sh(&format!("umount {small} 2>/dev/null; mount -t tmpfs -o mode=755,size=64k none {small}"));
        sh(&format!("dd if=/dev/zero of={small}/fill bs=4k 2>/dev/null || true"));
    };
    // The locks of what is remembered stay, and are empty.
    let left = || sh(&format!("find {small} -mindepth 1 -type f ! -name fill ! -name lock ! -name '*.lock'"));

    full();
    let engine = small.join("x");
    let mut up = own.command(&["engine", "up"]);
    let output = up.env("XTASK_ENGINE_DIR", &engine).env_remove("DOCKER_HOST").output().unwrap();
    exit(&output, 1);
    let words = stderr(&output);
    assert!(words.contains("is full\nhelp: `df -h ") && words.contains("export XTASK_ENGINE_DIR=DIR"), "{words}");
    assert!(!engine.exists(), "half a folder of an engine was left");
    // What a killed one could not finish is still to be an engine's.
    std::fs::create_dir(&engine).unwrap();
    std::fs::write(engine.join("xtask-engine"), "").unwrap();
    std::fs::remove_file(small.join("fill")).unwrap();
    let status = own.command(&["engine", "down"]).env("XTASK_ENGINE_DIR", &engine).output().unwrap();
    exit(&status, 0);

    exit(&own.run(&["engine", "up"]), 0);
    let build = |variable: &str, more: &[&str]| {
        full();
        let args = [&["docker", "app"], more].concat();
        own.command(&args).current_dir(&dir).env(variable, &small).output().unwrap()
    };
    for (variable, more) in [("TMPDIR", &["--force"][..]), ("XDG_CACHE_HOME", &["--cache", "local"])] {
        let output = build(variable, more);
        exit(&output, 1);
        assert!(stderr(&output).contains("its disk is full"), "{}", stderr(&output));
        assert!(stderr(&output).contains("help: `df -h "), "{}", stderr(&output));
        assert_eq!(left(), "", "{variable}");
    }
    // What is only remembered is not worth a failure.
    exit(&build("XDG_CACHE_HOME", &[]), 0);
    sh(&format!("umount {small}"));
}
