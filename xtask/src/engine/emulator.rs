//! An emulator for another platform's programs: QEMU out of Debian's packages,
//! registered with the kernel. It is asked for explicitly, because the kernel knows
//! it for the whole machine; it is taken back by `engine down`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::{fs, io};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use super::folder::EngineFolder;
use super::{packages, removal};
use crate::ctx::Ctx;
use crate::exec::{files, run};
use crate::fault;
use crate::model::emulator;
use crate::model::identity::short_hash;
use crate::model::platform::Platform;
use crate::plan::step::Step;

/// Where the kernel keeps its entries.
const ENTRIES: &str = "/proc/sys/fs/binfmt_misc";
/// The same where we can't.
pub const BY_HAND: &str = "sudo apt-get install qemu-user-static binfmt-support";
/// The file in our folder that says that we mounted that.
const MOUNTED: &str = "mounted";

/// The entry that runs a platform's programs on this machine.
pub fn registered(platform: &Platform) -> Option<Utf8PathBuf> {
    entries().into_iter().find(|(_, text)| emulator::runs(text, platform)).map(|(path, _)| path)
}

/// All entries, with what each says.
fn entries() -> Vec<(Utf8PathBuf, String)> {
    let files = Utf8Path::new(ENTRIES).read_dir_utf8().into_iter().flatten().flatten();
    let entry = |path: Utf8PathBuf| Some((path.clone(), fs::read_to_string(path).ok()?));
    let own = |path: &Utf8PathBuf| !matches!(path.file_name(), Some("register" | "status"));
    files.map(|file| file.into_path()).filter(own).filter_map(entry).collect()
}

/// What an entry of ours is called: two folders are not in each other's way.
fn name(folder: &EngineFolder, arch: &str) -> String {
    format!("{}{:08x}-{arch}", emulator::PREFIX, short_hash(&[folder.dir.as_str()]) >> 32)
}

fn home(folder: &EngineFolder) -> Utf8PathBuf {
    folder.dir.join("emulator")
}

/// Registers an emulator for a platform, unless somebody has.
pub fn register(ctx: &Ctx, platform: &Platform) -> anyhow::Result<()> {
    if let Some(entry) = registered(platform) {
        ctx.say(format!("this machine runs {platform} already: {entry}"));
        return Ok(());
    }
    let folder = EngineFolder::of(ctx)?;
    // Before the lock: who can't have one gets no folder either.
    let release = packages::release().map_err(|why| {
        let why = format!("no emulator can be installed here: {why}");
        fault::failed(why).help(format!("{BY_HAND}, where that is Debian's or Ubuntu's"))
    })?;
    packages::can_lie_in(&folder)?;
    let _lock = folder.lock(ctx, "engine")?;
    let arch = platform.emulator();
    let program = home(&folder).join(format!("{arch}-binfmt-P"));
    let name = name(&folder, arch);
    let line = emulator::registration(&name, platform, program.as_str())
        .ok_or_else(|| fault::usage(format!("there is no emulator for {platform}")))?;
    if !program.exists() {
        program_of(ctx, &folder, release.old, arch, &program)?;
    }
    mount(ctx, &folder)?;
    let register = Utf8Path::new(ENTRIES).join("register");
    write(&register, &line).with_context(|| format!("the kernel takes no emulator for {platform} ({register})"))?;
    match registered(platform) {
        Some(entry) => {
            ctx.say(format!(
                "this machine runs {platform} now, by QEMU: {entry}; `cargo xtask engine down` takes it back"
            ));
            Ok(())
        }
        None => Err(fault::failed(format!("the kernel took the emulator for {platform}, and does not use it"))
            .help(format!("cat {ENTRIES}/status"))
            .into()),
    }
}

/// Gets QEMU's one program out of the package that has all of them.
fn program_of(ctx: &Ctx, folder: &EngineFolder, old: bool, arch: &str, program: &Utf8Path) -> anyhow::Result<()> {
    let unpacked = folder.dir.join("emulator.new");
    // Until Debian 12 the static programs are a package of their own.
    let (package, name) = match old {
        true => ("qemu-user-static", format!("usr/bin/qemu-{arch}-static")),
        false => ("qemu-user", format!("usr/bin/qemu-{arch}")),
    };
    let done = packages::fetch(ctx, folder, &[package], false, "emulator.new").and_then(|()| {
        fs::create_dir_all(home(folder))?;
        fs::rename(unpacked.join(&name), program).with_context(|| format!("{package} has no {name}"))
    });
    done.and(removal::tree(unpacked.as_std_path()))
}

/// Mounts the kernel's entries, unless they are.
fn mount(ctx: &Ctx, folder: &EngineFolder) -> anyhow::Result<()> {
    if Utf8Path::new(ENTRIES).join("register").exists() {
        return Ok(());
    }
    // First, so that whoever takes it back knows.
    files::write(&home(folder).join(MOUNTED), "")?;
    let step = Step::new("mount").args(["-t", "binfmt_misc", "binfmt_misc", ENTRIES]);
    ctx.show(&step);
    run::read(ctx, &step).map(drop).map_err(|error| {
        let _ = fs::remove_file(home(folder).join(MOUNTED));
        fault::failed(format!("this kernel runs no other platform's programs (binfmt_misc): {error}"))
            .said(fault::said(&error))
            .help("`sudo modprobe binfmt_misc`, on the host where this is a container; or a builder on such a machine: `--builder NAME`")
            .into()
    })
}

/// Takes back what was registered from this folder, and nobody else's. Returns what
/// remains.
pub fn down(ctx: &Ctx, folder: &EngineFolder) -> Vec<String> {
    let mut left = Vec::new();
    let ours = |path: &Utf8Path, text: &str| {
        emulator::is_ours(path.file_name().unwrap_or_default(), text, folder.dir.as_str())
    };
    for (path, _) in entries().iter().filter(|(path, text)| ours(path, text)) {
        if let Err(error) = write(path, "-1") {
            left.push(format!("the emulator {path}: {error}"));
        }
    }
    let mounted = home(folder).join(MOUNTED);
    // What others have registered since then needs it.
    if mounted.exists() && left.is_empty() && entries().is_empty() {
        let step = Step::new("umount").arg(ENTRIES);
        match run::tidy(ctx, &step) {
            Ok(_) => _ = fs::remove_file(mounted),
            Err(error) => left.push(format!("{ENTRIES} is mounted: {error}")),
        }
    }
    left
}

/// The kernel's files take one write and can't be truncated.
fn write(path: &Utf8Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}
