//! Whether anybody else could have put something where we are about to run it.
//!
//! A folder is as safe as the weakest one above it: who may rename a folder can
//! put his own in its place, with programs that we would run as root, or with a
//! socket that we would hand our sources to. So each step of the way is looked
//! at, and what links lead to.

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

/// As many links as the kernel follows.
const LINKS: usize = 40;
const STICKY: u32 = 0o1000;

/// What one step of a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Its permissions say nothing: who owns it can change where it leads.
    Link,
    /// Who may write in it can put something else in the place of what is below.
    Folder,
    /// Who may write to it only talks to who listens.
    Socket,
    /// A file, or anything else.
    File,
}

/// One step of the way to a file, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: FileKind,
    /// Whose.
    pub uid: u32,
    /// Permissions.
    pub mode: u32,
    /// Whether its group is the owner alone.
    pub private_group: bool,
}

/// Whom we believe: ourselves, root, and who became root by `sudo`, whose
/// program this is.
pub fn believed(ctx: &Ctx) -> Vec<u32> {
    let mut users = vec![0, super::user()];
    if super::user() == 0 {
        users.extend(ctx.env.get("SUDO_UID").and_then(|uid| uid.parse::<u32>().ok()));
    }
    users
}

/// Why the last of these steps can't be relied upon, if so.
pub fn doubt(way: &[PathStep], believed: &[u32]) -> Option<String> {
    way.iter().enumerate().find_map(|(at, seen)| {
        let path = seen.path.display();
        if !believed.contains(&seen.uid) {
            return Some(format!("{path} belongs to user {}", seen.uid));
        }
        if matches!(seen.kind, FileKind::Link | FileKind::Socket) {
            return None;
        }
        // In a shared folder such as /tmp nobody can rename what is another's.
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

/// Whether a record of ours lies where nobody else could have put it, or an
/// older one back; said once if not. Of one that is not there, yes: it says
/// nothing.
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
                "note: what earlier runs wrote down is not used: {why} (`XDG_CACHE_HOME=DIR` names a folder that is yours alone)"
            ));
        });
    }
    why.is_none()
}

/// All steps from `/` to a path, through all links; it ends where nothing is.
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

/// One step; `None` where there is nothing.
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

/// Whether it matters who is in the group: to know that, two files are read and
/// a program is run.
fn group_decides(kind: FileKind, mode: u32) -> bool {
    !matches!(kind, FileKind::Link | FileKind::Socket) && mode & 0o022 == 0o020
}

/// Where users have groups of their own, `umask 002` lets the group write, and
/// that is nobody else. An access list shows as the group's permissions, too.
fn owner_alone(found: &fs::Metadata, path: &Path) -> bool {
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
    is_owner_alone(found.uid(), found.gid(), &text("/etc/passwd"), &text("/etc/group")) && !has_list(path)
}

/// Whether a group has no member but its owner, by the texts of the files.
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

/// `ls` marks an access list by a plus; the standard library can't see it.
fn has_list(path: &Path) -> bool {
    let args = ["-ldn".as_ref(), "--".as_ref(), path.as_os_str()];
    let output = child::quick(&Call::new("ls", &args).env("LC_ALL", "C"));
    let line = output.map(|output| output.stdout).unwrap_or_default();
    // `drwxrwxr-x+ 2 …`; what can't be told counts as a list.
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
        // What follows `/`, as user 1000; whether it is fine.
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
            // Shared folders: what is ours in one is, the folder itself is not.
            (&[tmp.clone(), step(Folder, 1000, 0o700)], None),
            (&[tmp.clone(), step(Folder, 1001, 0o700)], Some("belongs to user 1001")),
            (&[tmp.clone(), step(Folder, 1000, 0o777)], Some("by every user")),
            (&shared, Some("by every user")),
            (&[step(Folder, 1001, 0o1777), step(Folder, 1000, 0o700)], Some("belongs to user 1001")),
            // Links count by their owner, sockets too, files by all.
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
