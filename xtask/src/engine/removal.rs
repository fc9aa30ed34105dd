//! Deletes our own files in a folder, and nothing else that is in it.
//!
//! Somebody may have mounted something below: those files are not ours, whatever
//! their path is. So mounts are checked again before each removal, and no removal
//! crosses to another device.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::Context as _;
use camino::Utf8Path;

use crate::exec::files::removal::mounted;
use crate::exec::{interrupt, run};
use crate::fault;

/// Deletes these names in a folder, in order, and then the folder, unless
/// something else is in it.
pub fn folder(dir: &Utf8Path, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        let path = dir.as_std_path().join(name);
        // Large folders are deleted in parts, each checked by itself.
        if path.symlink_metadata().is_ok_and(|it| it.is_dir()) {
            for entry in fs::read_dir(&path)?.flatten() {
                interrupt::check()?;
                tree(&entry.path())?;
            }
        }
        tree(&path)?;
    }
    let left: Vec<_> = fs::read_dir(dir)?.flatten().map(|entry| entry.file_name()).collect();
    let is_known = |name: &OsStr| name == "lost+found" || names.iter().any(|own| name == OsStr::new(own));
    let others: Vec<_> = left.iter().filter(|name| !is_known(name)).collect();
    if let Some(first) = others.first() {
        return Err(fault::failed(format!(
            "{dir} stays: it contains files that the engine did not create: {}",
            PathBuf::from(first).display()
        ))
        .into());
    }
    match fs::remove_dir(dir) {
        // Another run that waited for the lock has started again; or the folder
        // is the empty mount point of a disk.
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => Ok(()),
        other => other.with_context(|| format!("could not remove {dir}")),
    }
}

/// Deletes a file or a folder with its content, if it exists.
pub fn tree(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    if let Some(why) = mounted(path) {
        let why = format!("{} stays: {why}", path.display());
        return Err(fault::failed(why).help(format!("unmount it if nobody needs it; then {AGAIN}")).into());
    }
    // `rm` can delete paths that are longer than a path may be.
    let words = ["-rf".as_ref(), "--one-file-system".as_ref(), "--".as_ref(), path.as_os_str()];
    match run::undo("rm", &words, PATIENCE) {
        Ok(_) if path.symlink_metadata().is_err() => Ok(()),
        other => {
            let why = other.err().map_or_else(|| "it exists again".to_owned(), |error| error.to_string());
            Err(fault::failed(format!("could not remove all of {}: {why}", path.display())).help(AGAIN).into())
        }
    }
}

/// Only a hung removal takes longer.
const PATIENCE: Duration = Duration::from_secs(600);
const AGAIN: &str = "cargo xtask engine down --purge";

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::exec::files::Temporary;

    #[test]
    fn what_is_not_ours_stays_and_keeps_the_folder() {
        let place = Temporary::new("it").unwrap();
        let dir = place.path();
        fs::create_dir_all(dir.join("data/deep")).unwrap();
        fs::write(dir.join("data").as_std_path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
        fs::write(dir.join("engine.lock"), "").unwrap();
        std::os::unix::fs::symlink(place.path().with_file_name("other"), dir.join("exec")).unwrap();
        fs::create_dir(place.path().with_file_name("other")).unwrap();
        fs::write(place.path().with_file_name("other").join("precious"), "").unwrap();
        let thesis = dir.as_std_path().join(OsStr::from_bytes(b"thesis\xff"));
        fs::write(&thesis, "").unwrap();
        let names = ["data", "exec", "engine.lock"];
        let error = folder(dir, &names).unwrap_err();
        assert!(error.to_string().contains("thesis"), "{error}");
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
        assert!(place.path().with_file_name("other").join("precious").exists());
        fs::remove_file(thesis).unwrap();
        folder(dir, &names).unwrap();
        assert!(!dir.exists());
    }
}
