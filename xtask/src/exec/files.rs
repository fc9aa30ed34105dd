//! Files that must not outlive us, and locks that end with us.

use std::fs::File;
use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::interrupt;

/// A folder of our own with one file in it, removed on every way out.
#[derive(Debug)]
pub struct Temporary {
    dir: Utf8PathBuf,
    file: Utf8PathBuf,
}

impl Temporary {
    /// Makes the folder; the file is whoever's who writes it.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let base = Utf8PathBuf::from_path_buf(std::env::temp_dir())
            .map_err(|dir| anyhow::anyhow!("the temporary folder {} is not UTF-8", dir.display()))?;
        let dir = base.join(format!("xtask-{}-{count}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| format!("could not make {dir}"))?;
        Ok(Self { file: dir.join(name), dir })
    }

    /// The file's path.
    pub fn path(&self) -> &Utf8Path {
        &self.file
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Waits for a lock, saying so; the kernel releases it when we end, however.
pub fn lock(ctx: &Ctx, path: &Utf8PathBuf, held: &str) -> anyhow::Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("could not make {dir}"))?;
    }
    let file = File::create(path).with_context(|| format!("could not make {path}"))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                if !told {
                    ctx.say(format!("waiting: {held} ({path})"));
                    told = true;
                }
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(error).context(format!("could not lock {path}")),
        }
    }
}

/// The bytes of all files below a folder, or of a file.
pub fn bytes_below(path: &Utf8Path) -> anyhow::Result<u64> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut bytes = 0;
    for entry in path.read_dir_utf8()? {
        bytes += bytes_below(entry?.path())?;
    }
    Ok(bytes)
}
