//! Writes an archive or a cache next to its final path and moves it there when it
//! is complete. One run at a time can do so for a path. At any moment the path
//! holds the old output or the new one, and nothing incomplete is left.

use std::fs::{self, File};
use std::io::ErrorKind;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::files::{self, Temporary};
use crate::fault;

/// The suffix of a lock's name.
const LOCK: &str = ".xtask-lock";

/// The exclusive right to write an output, and where to write it.
#[derive(Debug)]
pub struct AtomicOutput {
    place: Utf8PathBuf,
    beside: Temporary,
    lock: Utf8PathBuf,
    _held: File,
}

impl AtomicOutput {
    /// Waits until no other run writes the same output, and removes what killed
    /// runs left.
    pub fn new(ctx: &Ctx, place: &Utf8Path) -> anyhow::Result<Self> {
        let place = ctx.root.join(place);
        let name = place.file_name().ok_or_else(|| fault::usage(format!("{place} is not a file name")))?;
        let lock = place.with_file_name(format!(".{name}{LOCK}"));
        let held = files::lock(ctx, &lock, &format!("another run writes {place}"))?;
        sweep(&lock);
        match Temporary::beside(&place) {
            Ok(beside) => Ok(Self { place, beside, lock, _held: held }),
            Err(error) => {
                let _ = fs::remove_file(&lock);
                Err(error)
            }
        }
    }

    /// The path to write to.
    pub fn new_path(&self) -> &Utf8Path {
        self.beside.path()
    }

    /// Moves the complete output to its path. A directory can't replace another
    /// one atomically, so the old one is moved away first, and moved back if the
    /// new one can't be moved in.
    pub fn put(&self) -> anyhow::Result<()> {
        let (new, place) = (self.new_path(), &self.place);
        let failed = || format!("could not move {new} to {place}");
        if !new.is_dir() {
            return fs::rename(new, place).with_context(failed);
        }
        let aside = new.with_file_name("the old one");
        let had_old = match fs::rename(place, &aside) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(failed),
        };
        let moved = fs::rename(new, place);
        if had_old && moved.is_err() {
            let _ = fs::rename(&aside, place);
        }
        moved.with_context(failed)
    }
}

impl Drop for AtomicOutput {
    fn drop(&mut self) {
        // Still locked: a waiting run sees that the file is gone and creates a
        // new one.
        let _ = fs::remove_file(&self.lock);
    }
}

/// Removes the locks beside ours that nobody holds: those of killed runs.
fn sweep(own: &Utf8Path) {
    let entries = own.parent().map(Utf8Path::read_dir_utf8).into_iter().flatten().flatten().flatten();
    let is_lock = |name: &str| name.starts_with('.') && name.ends_with(LOCK);
    for entry in entries.filter(|entry| is_lock(entry.file_name()) && entry.path() != own) {
        let path = entry.path();
        let is_word = |text: &str| text.trim().parse::<u32>().is_ok();
        // What says something else is not ours, whatever it is called.
        if files::read(path).is_none_or(|text| !text.is_empty() && !is_word(&text)) {
            continue;
        }
        let held = files::open(path).ok().filter(|file| file.try_lock().is_ok());
        if held.is_some_and(|file| files::is_at(&file, path)) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn ctx() -> Ctx {
        Ctx { root: "/".into(), ..Ctx::default() }
    }

    fn names(dir: &Utf8Path) -> Vec<String> {
        let entries = dir.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned());
        let mut names: Vec<String> = entries.filter(|name| name != ".run").collect();
        names.sort();
        names
    }

    #[test]
    fn locks_of_killed_runs_go_with_the_next_and_no_other_file_does() {
        let folder = Temporary::new("out.tar").unwrap();
        let at = |name: &str| folder.path().with_file_name(name);
        let held = AtomicOutput::new(&ctx(), &at("held")).unwrap();
        for (name, text) in [(".dead.xtask-lock", "123\n"), (".empty.xtask-lock", ""), (".mine.xtask-lock", "thesis")] {
            fs::write(at(name), text).unwrap();
        }
        fs::write(at("no.xtask-lock"), "123\n").unwrap();
        std::os::unix::fs::symlink(at("no.xtask-lock"), at(".link.xtask-lock")).unwrap();
        drop(AtomicOutput::new(&ctx(), folder.path()).unwrap());
        let mut left = names(folder.path().parent().unwrap());
        left.retain(|name| !name.starts_with(".xtask-"));
        assert_eq!(left, [".held.xtask-lock", ".link.xtask-lock", ".mine.xtask-lock", "no.xtask-lock"]);
        drop(held);
    }

    #[test]
    fn runs_that_make_the_same_do_it_one_after_the_other() {
        let folder = Temporary::new("out.tar").unwrap();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..5 {
                        let output = AtomicOutput::new(&ctx(), folder.path()).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        fs::write(output.new_path(), format!("{round}")).unwrap();
                        output.put().unwrap();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(names(folder.path().parent().unwrap()), ["out.tar"]);
    }

    #[test]
    fn what_is_not_put_in_its_place_leaves_nothing() {
        let folder = Temporary::new("out.tar").unwrap();
        fs::write(folder.path(), "old").unwrap();
        let output = AtomicOutput::new(&ctx(), folder.path()).unwrap();
        fs::write(output.new_path(), "half").unwrap();
        drop(output);
        assert_eq!(names(folder.path().parent().unwrap()), ["out.tar"]);
        assert_eq!(fs::read_to_string(folder.path()).unwrap(), "old");
        assert!(AtomicOutput::new(&ctx(), "/".into()).is_err());
    }

    #[test]
    fn a_folder_takes_the_place_of_another_or_leaves_it() {
        let folder = Temporary::new("cache").unwrap();
        let (place, dir) = (folder.path(), folder.path().parent().unwrap());
        let make = |name: &str| {
            let output = AtomicOutput::new(&ctx(), place).unwrap();
            fs::create_dir_all(output.new_path().join(name)).unwrap();
            output
        };
        make("first").put().unwrap();
        assert_eq!((names(dir), names(place)), (vec!["cache".to_owned()], vec!["first".to_owned()]));
        make("second").put().unwrap();
        assert_eq!((names(dir), names(place)), (vec!["cache".to_owned()], vec!["second".to_owned()]));
        // If the new one can't be moved in, the old one stays.
        let output = make("third");
        fs::create_dir_all(output.new_path().with_file_name("the old one").join("full")).unwrap();
        assert!(output.put().is_err());
        drop(output);
        assert_eq!((names(dir), names(place)), (vec!["cache".to_owned()], vec!["second".to_owned()]));
    }
}
