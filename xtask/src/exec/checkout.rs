//! Identifies the checkout and the run that things on an engine belong to.
//!
//! Several clones of a repository, several users, and containers with the
//! engine's socket can share one engine. The project's name is the same for all
//! of them, and their process ids can be equal. So everything that we create is
//! labelled with the checkout and the run.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::git::git;
use crate::exec::{files, proc, run};
use crate::model::identity::{Liveness, RunId, checkout};
use crate::plan::step::Secret;

/// The identity of the checkout at `root`, from the folder's inode and time of
/// birth. It is the same in every namespace and under every name, and a copy of
/// the folder has another one.
pub fn identity(root: &Utf8Path) -> String {
    let Ok(folder) = root.metadata() else { return checkout(&[root.as_str()]) };
    let inode = folder.ino().to_string();
    let born =
        folder.created().ok().and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos().to_string()));
    match born {
        Some(born) => checkout(&[&inode, &born]),
        // This file system stores no time of birth and reuses inodes.
        None => checkout(&[&folder.dev().to_string(), &inode, root.as_str()]),
    }
}

/// A file in git's own folder. All users of the checkout find it there, whatever
/// their HOME is. `None` if there is no git or we can't write there.
pub fn meeting_place(ctx: &Ctx, name: &str) -> Option<Utf8PathBuf> {
    let dir = run::probe(ctx, &git(ctx).look(&["rev-parse", "--absolute-git-dir"]))?;
    let file = Utf8PathBuf::from(dir).join(name);
    files::open(&file).is_ok().then_some(file)
}

/// The run of this process.
pub fn this_run() -> RunId {
    let pid = proc::own().unwrap_or_else(std::process::id);
    RunId { space: space(), pid, start: started(pid).unwrap_or_default() }
}

/// Whether the process of a run still exists. Only `/proc` of the same boot and
/// namespace can answer this.
pub fn life(run: &RunId) -> Liveness {
    run.life(&space(), started)
}

/// A new random password.
pub fn password() -> anyhow::Result<Secret> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("could not read /dev/urandom")?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// `BOOT-NAMESPACE`: this boot of the machine, and this process's pid namespace.
/// If `/proc` shows another namespace, we can't tell which processes its numbers
/// mean, and the namespace is `0`.
fn space() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok().filter(|_| proc::own() == Some(std::process::id()));
    let number = namespace.and_then(|link| {
        let text = link.to_str()?;
        text.strip_prefix("pid:[")?.strip_suffix(']')?.parse::<u64>().ok()
    });
    format!("{}-{:x}", boot.get(..8).unwrap_or("unknown"), number.unwrap_or(0))
}

/// The start time of a process in the kernel's ticks. The process id alone is
/// not enough, because ids are reused.
fn started(pid: u32) -> Option<u64> {
    proc::of(pid).filter(proc::ProcessStat::is_alive).map(|stat| stat.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives() {
        let run = this_run();
        assert_eq!(life(&run), Liveness::Lives);
        assert_eq!(life(&RunId { start: run.start - 1, ..run }), Liveness::Ended);
    }

    #[test]
    fn a_checkout_keeps_its_identity_when_it_moves_and_no_copy_has_it() {
        let base = Utf8Path::from_path(&std::env::temp_dir()).unwrap().join(format!("checkout-{}", this_run()));
        let [one, moved, copy] = ["one", "moved", "copy"].map(|name| base.join(name));
        std::fs::create_dir_all(&one).unwrap();
        std::fs::create_dir_all(&copy).unwrap();
        let before = identity(&one);
        assert_ne!(before, identity(&copy));
        std::fs::write(one.join("file"), "").unwrap();
        std::fs::rename(&one, &moved).unwrap();
        assert_eq!(identity(&moved), before);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
