//! Folders for one run. They are removed when the run ends; what a killed run
//! left, the next one removes.
//!
//! A process id is not enough: it is reused, and means another process in another
//! container. So each folder has a file that its run has locked. The kernel
//! releases the lock when the run ends, and the lock is visible from everywhere
//! where the folder is.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink};
use std::sync::Once;

use camino::{Utf8Path, Utf8PathBuf};

use super::trouble::Helped as _;
use super::{removal, trouble};

/// The beginning of a folder's name; sixteen random letters follow.
const PREFIX: &str = "xtask-";
/// The file that is locked while the run lives.
const RUN: &str = ".run";
/// The content of the lock file. A folder without it is not ours to remove.
const MARK: &str = "a folder of one run of cargo xtask; the next run removes it\n";

/// A folder of our own with one file in it. It is removed when this is dropped.
#[derive(Debug)]
pub struct Temporary {
    dir: Utf8PathBuf,
    file: Utf8PathBuf,
    _alive: File,
}

impl Temporary {
    /// Creates the folder in the temporary folder; the caller writes the file.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let base = Utf8PathBuf::from_path_buf(std::env::temp_dir())
            .map_err(|dir| anyhow::anyhow!("the temporary folder {} is not UTF-8", dir.display()))?;
        sweep_dead();
        Self::make(&base, "", name)
    }

    /// Creates the folder next to `target`, on the same file system, so that the
    /// complete file can be moved to `target`. Its name is hidden from listings.
    pub fn beside(target: &Utf8Path) -> anyhow::Result<Self> {
        let base = target.parent().filter(|dir| !dir.as_str().is_empty()).unwrap_or(".".into());
        sweep(base, ".");
        Self::make(base, ".", target.file_name().unwrap_or("file"))
    }

    fn make(base: &Utf8Path, hidden: &str, name: &str) -> anyhow::Result<Self> {
        // Nobody chose the folder of a target by a variable.
        let variable = hidden.is_empty().then_some("TMPDIR");
        loop {
            let dir = base.join(format!("{hidden}{PREFIX}{:016x}", random()));
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                error => error.helped(&dir, variable)?,
            }
            // Another run may sweep the folder before it is locked; then the next
            // name is tried.
            let claimed = claim(&dir).map_err(|error| trouble::helped(error, &dir, variable))?;
            if let Some(alive) = claimed {
                return Ok(Self { file: dir.join(name), dir, _alive: alive });
            }
        }
    }

    /// Creates the folder in the temporary folder, with a link to `target` in it.
    pub fn link(name: &str, target: &Utf8Path) -> anyhow::Result<Self> {
        let link = Self::new(name)?;
        symlink(target, link.path()).helped(link.path(), Some("TMPDIR"))?;
        Ok(link)
    }

    /// The path of the file.
    pub fn path(&self) -> &Utf8Path {
        &self.file
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = removal::folder(&self.dir);
    }
}

/// Removes what killed runs left in the temporary folder; once per run.
pub fn sweep_dead() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        if let Ok(base) = Utf8PathBuf::from_path_buf(std::env::temp_dir()) {
            sweep(&base, "");
        }
    });
}

fn claim(dir: &Utf8Path) -> anyhow::Result<Option<File>> {
    let path = dir.join(RUN);
    let claimed = super::open(&path).and_then(|mut file| {
        file.try_lock()?;
        file.write_all(MARK.as_bytes())?;
        Ok(file)
    });
    match claimed {
        Ok(file) if super::is_at(&file, &path) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(_) if !dir.exists() => Ok(None),
        Err(error) => {
            let _ = removal::folder(dir);
            Err(error)
        }
    }
}

/// Removes the folders of ended runs in `base`.
fn sweep(base: &Utf8Path, hidden: &str) {
    // As bytes: names of other people's files need not be text.
    let Ok(entries) = fs::read_dir(base) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for dir in names.filter(|name| is_name(name, hidden)).map(|name| base.join(name)) {
        let is_ours = dir.symlink_metadata().is_ok_and(|it| it.is_dir() && it.uid() == super::user());
        let run = dir.join(RUN);
        if is_ours && super::read(&run).as_deref() == Some(MARK) {
            let Ok(file) = super::open(&run) else { continue };
            if file.try_lock().is_ok() {
                let _ = removal::folder(&dir);
            }
        }
    }
}

fn is_name(name: &str, hidden: &str) -> bool {
    let chance = name.strip_prefix(hidden).and_then(|rest| rest.strip_prefix(PREFIX));
    chance.is_some_and(|it| it.len() == 16 && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A unique number: the standard library seeds its hash tables with random
/// numbers of the system.
pub fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder of a killed run: complete, but not locked.
    fn killed(base: &Utf8Path) -> Utf8PathBuf {
        let dir = base.join(format!("{PREFIX}{:016x}", random()));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(RUN), MARK).unwrap();
        fs::write(dir.join("half"), "a cache").unwrap();
        dir
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_lives_or_is_not_ours_stays() {
        let place = Temporary::new("place").unwrap();
        let base = place.path().to_owned();
        fs::create_dir(&base).unwrap();
        let living = Temporary::make(&base, "", "it").unwrap();
        let dead = killed(&base);
        let mut others = Vec::new();
        // Another tool's folder with such a name, and another name with our
        // marker.
        let other = killed(&base);
        fs::write(other.join(RUN), "something else").unwrap();
        others.push(other);
        let other = killed(&base);
        let named = base.join("xtask-1234-0");
        fs::rename(other, &named).unwrap();
        others.push(named);
        // A link to a folder that would be removed.
        let elsewhere = base.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let target = killed(&elsewhere);
        let link = base.join(target.file_name().unwrap());
        symlink(&target, &link).unwrap();
        others.extend([link, target]);

        sweep(&base, "");
        assert!(!dead.exists());
        assert!(living.path().parent().unwrap().exists());
        for other in others {
            assert!(other.exists(), "{other} went");
        }
    }

    #[test]
    fn a_folder_is_ours_alone_and_goes_with_its_run() {
        let it = Temporary::new("x.json").unwrap();
        let dir = it.path().parent().unwrap().to_owned();
        assert_eq!(dir.symlink_metadata().unwrap().mode() & 0o777, 0o700);
        fs::write(it.path(), "{}").unwrap();
        assert_ne!(Temporary::new("x.json").unwrap().path(), it.path());
        drop(it);
        assert!(!dir.exists());
    }

    #[test]
    fn beside_a_target_is_hidden_and_swept_by_the_next() {
        let place = Temporary::new("place").unwrap();
        let base = place.path().to_owned();
        fs::create_dir(&base).unwrap();
        let dead = killed(&base);
        let hidden = base.join(format!(".{}", dead.file_name().unwrap()));
        fs::rename(dead, &hidden).unwrap();
        let it = Temporary::beside(&base.join("out.tar")).unwrap();
        assert!(!hidden.exists());
        assert!(it.path().parent().unwrap().file_name().unwrap().starts_with(".xtask-"));
        assert!(it.path().ends_with("out.tar"));
        fs::write(it.path(), "whole").unwrap();
        fs::rename(it.path(), base.join("out.tar")).unwrap();
        drop(it);
        assert_eq!(base.read_dir_utf8().unwrap().count(), 1);
    }
}
