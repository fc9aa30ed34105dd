//! Whether anybody else could have put something where we are about to run it.
//!
//! A folder is as safe as its least safe parent: anybody who may rename a folder
//! can replace it, with programs that we would run as root, or with a socket to
//! which we would send our sources. So each step of the path is checked, and the
//! targets of links, too.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Once;

use anyhow::Context as _;
use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::child;
use crate::exec::spawn::Call;

/// The kernel follows as many links.
const LINKS: usize = 40;
const STICKY: u32 = 0o1000;

/// The type of one step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Its permissions mean nothing; its owner can change its target.
    Link,
    /// Anybody who may write in it can replace what is below.
    Folder,
    /// Anybody who may write to it can only talk to the listener.
    Socket,
    /// A regular file, or anything else.
    File,
}

/// One step of the path to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// Its path.
    pub path: PathBuf,
    /// Its type.
    pub kind: FileKind,
    /// Its owner.
    pub uid: u32,
    /// Its permissions.
    pub mode: u32,
    /// Whether its group contains only the owner.
    pub private_group: bool,
}

/// The users that we trust: ourselves, root, and whoever became root by `sudo`,
/// because this program is theirs.
pub fn believed(ctx: &Ctx) -> Vec<u32> {
    let mut users = vec![0, super::user()];
    if super::user() == 0 {
        users.extend(ctx.env.get("SUDO_UID").and_then(|uid| uid.parse::<u32>().ok()));
    }
    users
}

/// Why the last of these steps can't be trusted, if it can't.
pub fn doubt(way: &[PathStep], believed: &[u32]) -> Option<String> {
    way.iter().enumerate().find_map(|(at, seen)| {
        let path = seen.path.display();
        if !believed.contains(&seen.uid) {
            return Some(format!("{path} belongs to user {}", seen.uid));
        }
        if matches!(seen.kind, FileKind::Link | FileKind::Socket) {
            return None;
        }
        // In a shared folder such as /tmp nobody can rename another person's
        // files.
        let is_shared = at + 1 < way.len() && seen.kind == FileKind::Folder && seen.mode & STICKY != 0;
        let others = seen.mode & 0o002 != 0;
        let group = seen.mode & 0o020 != 0 && !seen.private_group;
        match (is_shared, others, group) {
            (true, ..) | (_, false, false) => None,
            (_, true, _) => Some(format!("{path} can be written by every user")),
            (_, _, true) => Some(format!("{path} can be written by its group")),
        }
    })
}

/// Whether nobody else could have written one of our records, or put back an
/// older one. If somebody could, that is said once. A missing record is fine,
/// because it says nothing.
pub fn is_record_ours(ctx: &Ctx, record: &Utf8Path) -> bool {
    static SAID: Once = Once::new();
    let absolute = std::path::absolute(record).unwrap_or_else(|_| record.into());
    let why = match way(&absolute) {
        _ if record.symlink_metadata().is_err() => return true,
        Ok(way) => doubt(&way, &believed(ctx)),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = &why {
        SAID.call_once(|| {
            ctx.say(format!(
                "note: records of earlier runs are not used: {why} (`XDG_CACHE_HOME=DIR` names a folder that is yours alone)"
            ));
        });
    }
    why.is_none()
}

/// All steps from `/` to a path, through all links, up to the first that does not
/// exist.
pub fn way(path: &Path) -> anyhow::Result<Vec<PathStep>> {
    let mut ahead: VecDeque<OsString> = parts(path);
    let mut at = PathBuf::from("/");
    let mut way = vec![look(&at)?.context("there is no /")?];
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let Some(seen) = look(&at.join(&part))? else { break };
        if seen.kind == FileKind::Link {
            links += 1;
            anyhow::ensure!(links <= LINKS, "{} leads through too many links", path.display());
            let to = fs::read_link(&seen.path)?;
            if to.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&to).into_iter().rev() {
                ahead.push_front(part);
            }
        } else {
            at.push(part);
        }
        way.push(seen);
    }
    Ok(way)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(part).collect()
}

/// One step; `None` if it does not exist.
pub fn look(path: &Path) -> anyhow::Result<Option<PathStep>> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("could not look at {}", path.display())),
    };
    let kind = match found.file_type() {
        it if it.is_symlink() => FileKind::Link,
        it if it.is_dir() => FileKind::Folder,
        it if it.is_socket() => FileKind::Socket,
        _ => FileKind::File,
    };
    let private_group = group_decides(kind, found.mode()) && owner_alone(&found, path);
    Ok(Some(PathStep { path: path.to_owned(), kind, uid: found.uid(), mode: found.mode() & 0o7777, private_group }))
}

/// Whether the group's members matter. To know them, two files are read and a
/// program is run.
fn group_decides(kind: FileKind, mode: u32) -> bool {
    !matches!(kind, FileKind::Link | FileKind::Socket) && mode & 0o022 == 0o020
}

/// Where each user has a group of their own, `umask 002` lets the group write,
/// and that is nobody else. An access control list also shows as permissions of
/// the group.
fn owner_alone(found: &fs::Metadata, path: &Path) -> bool {
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
    is_owner_alone(found.uid(), found.gid(), &text("/etc/passwd"), &text("/etc/group")) && !has_list(path)
}

/// Whether a group has no member but its owner, from the texts of the two files.
fn is_owner_alone(uid: u32, gid: u32, passwd: &str, group: &str) -> bool {
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let users: Vec<_> = passwd.lines().map(fields).filter(|user| user.len() > 3).collect();
    let Some(owner) = users.iter().find(|user| user[2] == uid) else { return false };
    let mut groups = group.lines().map(fields).filter(|group| group.len() > 3 && group[2] == gid).peekable();
    groups.peek().is_some()
        && owner[3] == gid
        && users.iter().all(|user| user[3] != gid || user[2] == uid)
        && groups.all(|group| group[3].split(',').all(|name| name.is_empty() || name == owner[0]))
}

/// `ls` marks an access control list with a plus; the standard library can't see
/// it.
fn has_list(path: &Path) -> bool {
    let args = ["-ldn".as_ref(), "--".as_ref(), path.as_os_str()];
    let output = child::quick(&Call::new("ls", &args).env("LC_ALL", "C"));
    let line = output.map(|output| output.stdout).unwrap_or_default();
    // `drwxrwxr-x+ 2 …`; unreadable output counts as a list.
    !matches!(line.get(10), Some(b' ' | b'.' | b'@'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::Temporary;
    use super::*;

    fn step(kind: FileKind, uid: u32, mode: u32) -> PathStep {
        PathStep { path: "/x".into(), kind, uid, mode, private_group: false }
    }

    #[test]
    fn a_way_is_as_safe_as_its_weakest_step() {
        use FileKind::{File, Folder, Link, Socket};
        let root = step(Folder, 0, 0o755);
        let tmp = step(Folder, 0, 0o1777);
        let shared = [tmp.clone()];
        // The path after `/`, seen by user 1000, and whether it is trusted.
        let rows: [(&[PathStep], Option<&str>); 19] = [
            (&[], None),
            (&[step(Folder, 1000, 0o700)], None),
            (&[step(Folder, 0, 0o755)], None),
            (&[step(Folder, 1001, 0o755)], Some("belongs to user 1001")),
            (&[step(Folder, 1001, 0o755), step(Folder, 1000, 0o700)], Some("belongs to user 1001")),
            (&[step(Folder, 1000, 0o777)], Some("by every user")),
            (&[step(Folder, 1000, 0o757), step(Folder, 1000, 0o700)], Some("by every user")),
            (&[step(Folder, 1000, 0o775)], Some("by its group")),
            (&[step(Folder, 1000, 0o775), step(Folder, 1000, 0o700)], Some("by its group")),
            // In a shared folder our own files are trusted, but the folder itself
            // is not.
            (&[tmp.clone(), step(Folder, 1000, 0o700)], None),
            (&[tmp.clone(), step(Folder, 1001, 0o700)], Some("belongs to user 1001")),
            (&[tmp.clone(), step(Folder, 1000, 0o777)], Some("by every user")),
            (&shared, Some("by every user")),
            (&[step(Folder, 1001, 0o1777), step(Folder, 1000, 0o700)], Some("belongs to user 1001")),
            // For links the owner counts, for sockets too; for files everything
            // counts.
            (&[step(Link, 1000, 0o777), step(Folder, 1000, 0o700)], None),
            (&[tmp, step(Link, 1001, 0o777), step(Folder, 1000, 0o700)], Some("belongs to user 1001")),
            (&[step(Socket, 0, 0o660)], None),
            (&[step(Socket, 1001, 0o600)], Some("belongs to user 1001")),
            (&[step(File, 1000, 0o666)], Some("by every user")),
        ];
        for (rest, expected) in rows {
            let way: Vec<_> = std::iter::once(&root).chain(rest).cloned().collect();
            let found = doubt(&way, &[0, 1000]);
            match expected {
                None => assert_eq!(found, None, "{rest:?}"),
                Some(words) => assert!(found.clone().is_some_and(|it| it.contains(words)), "{found:?}: {rest:?}"),
            }
        }
        let mut own = step(Folder, 1000, 0o775);
        own.private_group = true;
        assert_eq!(doubt(&[root.clone(), own.clone()], &[0, 1000]), None);
        own.mode = 0o777;
        assert!(doubt(&[root, own], &[0, 1000]).is_some());
    }

    #[test]
    fn who_is_in_a_group_is_asked_only_where_it_decides() {
        use FileKind::{File, Folder, Link, Socket};
        assert!(!group_decides(Socket, 0o660) && !group_decides(Folder, 0o1777) && group_decides(Folder, 0o775));
        for kind in [Link, Folder, Socket, File] {
            for mode in 0..=0o7777 {
                let mut alone = step(kind, 1000, mode);
                alone.private_group = true;
                let [with, without] = [alone, step(kind, 1000, mode)].map(|it| doubt(&[it], &[1000]));
                assert_eq!(with != without, group_decides(kind, mode), "{kind:?} {mode:o}");
            }
        }
    }

    #[test]
    fn a_group_is_private_only_without_anybody_else() {
        let passwd = "root:x:0:0:r:/root:/bin/sh\nann:x:1000:1000::/h:/s\nbob:x:1001:1001::/h:/s\nrubbish\n";
        let group = "root:x:0:\nann:x:1000:ann\nbob:x:1001:ann\nall:x:50:\n";
        for (uid, gid, expected) in [
            (1000, 1000, true),
            (0, 0, true),
            (1001, 1001, false), // ann is in it
            (1000, 50, false),   // not her own
            (1000, 1001, false),
            (7, 7, false),
        ] {
            assert_eq!(is_owner_alone(uid, gid, passwd, group), expected, "{uid} {gid}");
        }
        let shared = format!("{passwd}eve:x:1002:1000::/h:/s\n");
        assert!(!is_owner_alone(1000, 1000, &shared, group), "eve has ann's group as her own");
        assert!(!is_owner_alone(1000, 1000, passwd, "root:x:0:\n"), "unknown: from elsewhere");
    }

    #[test]
    fn the_way_goes_through_all_links_and_ends_where_nothing_is() {
        let place = Temporary::new("it").unwrap();
        let base = place.path().as_std_path().to_owned();
        fs::create_dir_all(base.join("real/inner")).unwrap();
        symlink("real/../real", base.join("near")).unwrap();
        symlink(base.join("near"), base.join("far")).unwrap();
        symlink("round", base.join("round")).unwrap();
        let way_to =
            |path: &str| way(&base.join(path)).map(|way| way.into_iter().map(|it| it.path).collect::<Vec<_>>());
        let found = way_to("far/inner/not/there").unwrap();
        let names: Vec<_> = found.iter().filter_map(|path| path.strip_prefix(&base).ok()?.to_str()).collect();
        assert_eq!(names, ["", "far", "", "near", "real", "real", "real/inner"], "{found:?}");
        assert!(found.starts_with(&[PathBuf::from("/")]));
        assert!(way_to("round").is_err());

        fs::set_permissions(base.join("real"), fs::Permissions::from_mode(0o757)).unwrap();
        let me = [0, super::super::user()];
        assert!(doubt(&way(&base.join("far/inner")).unwrap(), &me).is_some_and(|it| it.contains("by every user")));
    }
}
