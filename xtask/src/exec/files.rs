//! Our own files: locks, records and temporary files.
//!
//! They are in folders where others may write, too (a shared temporary folder, a
//! cache folder that a person chose), and we may be root. So there is only one
//! way to open such a file: no link is followed, it is a regular file with a
//! single name, it belongs to us, and nobody else may open it.

pub mod removal;
mod temporary;
pub mod trouble;
pub mod trust;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8Path;

pub use self::temporary::{Temporary, random, sweep_dead};
use self::trouble::Helped as _;
use crate::ctx::Ctx;
use crate::exec::spawn::Call;
use crate::exec::{child, interrupt};
use crate::fault;

/// None of our records is larger. A larger file is not ours.
const RECORD: u64 = 64 << 20;

/// The user that we run as. Without unsafe code only the owner of a file of ours
/// tells: our entry in /proc, or `id` where there is no /proc.
pub fn user() -> u32 {
    static USER: OnceLock<u32> = OnceLock::new();
    *USER.get_or_init(|| match fs::metadata("/proc/self") {
        Ok(entry) => entry.uid(),
        Err(_) => {
            let output = child::quick(&Call::new("id", &["-u".as_ref()])).map(|output| output.stdout);
            let text = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
            // No user: then nothing is ours, and everything is refused.
            text.trim().parse().unwrap_or(u32::MAX)
        }
    })
}

/// Creates a folder that only we can open, and its missing parents. An existing
/// one is left as it is.
pub fn folder(path: &Utf8Path) -> anyhow::Result<()> {
    folder_by(path, None)
}

fn folder_by(path: &Utf8Path, variable: Option<&str>) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("could not create {path}")).map_err(|error| trouble::helped(error, path, variable))
}

/// Opens one of our files to read, write and lock it. It is created if it is
/// missing, and never truncated.
pub fn open(path: &Utf8Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    checked(path, &mut options)?.with_context(|| format!("could not create {path}"))
}

/// Reads one of our records. `None`: it does not exist, or it is not trusted.
pub fn read(path: &Utf8Path) -> Option<String> {
    let mut text = String::new();
    let file = checked(path, OpenOptions::new().read(true)).ok()??;
    (&file).take(RECORD).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Replaces one of our records atomically: readers see the old one or the new
/// one, even after a crash.
pub fn write(path: &Utf8Path, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_str().is_empty()).unwrap_or(".".into());
    folder(dir)?;
    let name = format!(".{}.{:016x}", path.file_name().unwrap_or("record"), random());
    let new = dir.join(name);
    let written = write_new(&new, bytes.as_ref()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.helped(path, None)
}

fn write_new(path: &Utf8Path, bytes: &[u8]) -> std::io::Result<()> {
    // A new file follows no link, because its name does not exist yet.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// `None`: the file does not exist and must not be created.
fn checked(path: &Utf8Path, options: &mut OpenOptions) -> anyhow::Result<Option<File>> {
    // Without O_NONBLOCK, opening a named pipe would wait for its other end.
    let file = options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) if path.is_symlink() => return Err(refused(path, "a link")),
        Err(error) => return Err(error).with_context(|| format!("could not open {path}")),
    };
    let found = file.metadata()?;
    if let Some(why) = strange(found.is_file(), found.uid(), found.nlink(), user()) {
        return Err(refused(path, &why));
    }
    if found.mode() & 0o077 != 0 {
        // Anybody who can open a lock can hold it for ever.
        file.set_permissions(fs::Permissions::from_mode(0o600)).with_context(|| format!("could not close {path}"))?;
    }
    Ok(Some(file))
}

fn refused(path: &Utf8Path, why: &str) -> anyhow::Error {
    let fault = fault::failed(format!("{path} is {why}; a file of xtask is expected there"));
    fault.help(format!("look at it (`ls -l {path}`), and remove it if nobody needs it")).into()
}

/// Why an open file is not one of ours, if it is not.
fn strange(is_file: bool, uid: u32, names: u64, user: u32) -> Option<String> {
    match (is_file, uid == user, names) {
        (false, ..) => Some("no file".to_owned()),
        (_, false, _) => Some(format!("user {uid}'s")),
        // Here somebody may give another person's file a second name.
        (_, _, 2..) => Some("a file with several names".to_owned()),
        _ => None,
    }
}

/// Waits for a lock, and says who holds it. The kernel releases it when we end.
pub fn lock(ctx: &Ctx, path: &Utf8Path, held: &str) -> anyhow::Result<File> {
    take(ctx, path, held, File::try_lock)
}

/// The same for a shared lock, which many can hold if nobody holds the exclusive
/// one.
pub fn share(ctx: &Ctx, path: &Utf8Path, held: &str) -> anyhow::Result<File> {
    take(ctx, path, held, File::try_lock_shared)
}

type Try = fn(&File) -> Result<(), fs::TryLockError>;

fn take(ctx: &Ctx, path: &Utf8Path, held: &str, attempt: Try) -> anyhow::Result<File> {
    let is_cached = ctx.cache_dir().is_some_and(|dir| path.starts_with(dir));
    let variable = is_cached.then_some("XDG_CACHE_HOME");
    if let Some(dir) = path.parent() {
        folder_by(dir, variable)?;
    }
    let mut file = open(path).map_err(|error| trouble::helped(error, path, variable))?;
    let mut told = false;
    loop {
        match attempt(&file) {
            Ok(()) if is_at(&file, path) => {
                sign(&mut file);
                return Ok(file);
            }
            // The locked file was removed meanwhile, perhaps with its folder.
            Ok(()) => {
                path.parent().map_or(Ok(()), folder)?;
                file = open(path)?;
            }
            Err(fs::TryLockError::WouldBlock) => {
                if !told {
                    let who = read(path).unwrap_or_default();
                    let who = who.trim().parse::<u32>().map_or(String::new(), |pid| format!(", process {pid}"));
                    ctx.say(format!("waiting: {held}{who} ({path})"));
                    told = true;
                }
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(fs::TryLockError::Error(error)) => return Err(error).context(format!("could not lock {path}")),
        }
    }
}

/// Whether a path still leads to this open file.
pub fn is_at(file: &File, path: &Utf8Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), path.symlink_metadata()), (Ok(open), Ok(there)) if same(&open, &there))
}

/// Writes down who we are, for those who wait. A full disk does not matter here.
fn sign(file: &mut File) {
    let _ = file.set_len(0);
    let _ = file.rewind();
    let _ = writeln!(file, "{}", std::process::id());
}

/// The size of a file, or of all files below a folder, whatever their names are.
/// It is for people, so files that disappear or can't be read don't count.
pub fn bytes_below(path: &Path) -> u64 {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| bytes_below(&entry.path())).sum()
        }
        found => found.map_or(0, |found| found.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn place() -> (Temporary, camino::Utf8PathBuf) {
        let place = Temporary::new("it").unwrap();
        let path = place.path().to_owned();
        (place, path)
    }

    fn mode(path: &Utf8Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_of_ours_is_made_for_us_alone_and_never_cut() {
        let (_place, path) = place();
        open(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "words").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        open(&path).unwrap();
        assert_eq!((read(&path).as_deref(), mode(&path)), (Some("words"), 0o600));
    }

    #[test]
    fn no_link_is_followed_to_read_to_write_or_to_lock() {
        let (place, path) = place();
        let victim = place.path().with_file_name("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        let error = open(&path).unwrap_err();
        let words = fault::render(&error);
        assert!(words.contains("is a link") && words.contains("help: "), "{words}");
        assert_eq!(read(&path), None);
        write(&path, "ours").unwrap();
        assert!(!path.is_symlink());
        assert_eq!(read(&path).as_deref(), Some("ours"));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

        // The link's target does not matter: nothing is created there either.
        fs::remove_file(&path).unwrap();
        let nowhere = place.path().with_file_name("nowhere");
        symlink(&nowhere, &path).unwrap();
        assert!(open(&path).is_err());
        assert!(!nowhere.exists());
    }

    #[test]
    fn another_name_for_a_file_a_folder_and_a_pipe_are_refused() {
        let (place, path) = place();
        fs::write(place.path().with_file_name("victim"), "precious").unwrap();
        fs::hard_link(place.path().with_file_name("victim"), &path).unwrap();
        assert!(open(&path).unwrap_err().to_string().contains("several names"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(open(&path).is_err());
        fs::remove_dir(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(open(&path).unwrap_err().to_string().contains("no file"));
        assert_eq!(read(&path), None, "and nobody waits for it");
    }

    #[test]
    fn files_are_measured_whatever_their_names_and_what_is_gone_is_nothing() {
        use std::os::unix::ffi::OsStrExt as _;
        let (_place, path) = place();
        fs::create_dir_all(path.join("deep")).unwrap();
        fs::write(path.join("deep/a"), "12345").unwrap();
        fs::write(path.as_std_path().join(std::ffi::OsStr::from_bytes(b"n\xff")), "123").unwrap();
        assert_eq!(bytes_below(path.as_std_path()), 8);
        assert_eq!(bytes_below(path.join("deep/a").as_std_path()), 5);
        assert_eq!(bytes_below(path.join("nothing").as_std_path()), 0);
    }

    #[test]
    fn whose_file_it_is_decides() {
        for (is_file, uid, names, user, is_ours) in [
            (true, 1000, 1, 1000, true),
            (true, 0, 1, 0, true),
            (true, 1000, 1, 0, false),
            (true, 0, 1, 1000, false),
            (true, 1000, 2, 1000, false),
            (true, 1000, 0, 1000, true),
            (false, 1000, 1, 1000, false),
        ] {
            assert_eq!(strange(is_file, uid, names, user).is_none(), is_ours, "{is_file} {uid} {names} {user}");
        }
    }

    #[test]
    fn a_lock_says_who_holds_it_and_one_that_went_away_is_made_again() {
        let (place, path) = place();
        let ctx = Ctx { root: ".".into(), ..Ctx::default() };
        let path = path.join("below/a.lock");
        let held = lock(&ctx, &path, "a test").unwrap();
        assert_eq!(read(&path).unwrap().trim(), std::process::id().to_string());
        assert!(matches!(open(&path).unwrap().try_lock(), Err(fs::TryLockError::WouldBlock)));

        // Somebody waits, and the folder they wait for is removed.
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || lock(&ctx, &path, "a test"))
        };
        std::thread::sleep(Duration::from_millis(150));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        drop(held);
        let second = waiting.join().unwrap().unwrap();
        assert!(is_at(&second, &path));
        drop(place);
    }

    #[test]
    fn a_cache_folder_that_is_of_no_use_is_told_with_a_way_out() {
        let (_place, path) = place();
        fs::write(&path, "a file").unwrap();
        let env = [("XDG_CACHE_HOME", path.as_str())].into_iter().collect();
        let ctx = Ctx { root: ".".into(), env, ..Ctx::default() };
        let told = |at: &Utf8Path| fault::render(&lock(&ctx, at, "a test").unwrap_err());
        let words = told(&path.join("xtask/demo/images.lock"));
        let dir = path.join("xtask/demo");
        let help = format!("help: expected a folder that we can write in: `ls -ld {path}`");
        let other = ", or name another one: export XDG_CACHE_HOME=DIR";
        assert_eq!(words, format!("error: could not create {dir}: Not a directory (os error 20)\n{help}{other}"));
        // A variable that is not set moves nothing.
        let elsewhere = path.with_file_name("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        let words = told(&elsewhere.join("below/a.lock"));
        assert!(words.ends_with(&format!("`ls -ld {elsewhere}`")), "{words}");
    }

    #[test]
    fn half_a_record_is_never_seen_and_nothing_lies_beside_it() {
        let (place, path) = place();
        for text in ["one", "two"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path).as_deref(), Some(text));
        }
        let names: Vec<_> = place.path().parent().unwrap().read_dir_utf8().unwrap().flatten().collect();
        assert_eq!(names.iter().filter(|entry| !entry.file_name().starts_with(".run")).count(), 1);
        assert!(write(Utf8Path::new("/proc/self/nothing/here"), "x").is_err());
    }
}
