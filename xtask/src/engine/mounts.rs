//! Finds and releases mounts below a folder.
//!
//! A folder with a mount in it can't be deleted, and a killed engine leaves the
//! file systems and network namespaces of its containers mounted. But somebody
//! may have mounted their own disk there, and that must stay.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exec::run;
use crate::model::mountinfo::{MountPoint, parse};

/// Only a hung unmount takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Unmounts what the engine in `dir` has mounted, deepest first. Returns what
/// remains.
pub fn release(dir: &Path) -> Vec<PathBuf> {
    let table = || fs::read("/proc/self/mountinfo").unwrap_or_default();
    // A mount may be on top of another one, which only becomes visible
    // afterwards.
    for _ in 0..3 {
        for point in ours(&table(), dir) {
            // Lazily, because a dying process may still use it.
            let _ = run::undo("umount", &["--lazy".as_ref(), "--".as_ref(), point.as_os_str()], PATIENCE);
            if !point.starts_with(dir) {
                // A temporary folder that the builder created for it.
                let _ = fs::remove_dir(&point);
            }
        }
    }
    ours(&table(), dir)
}

/// The mount points of the engine in `dir`, deepest first: layers of its images
/// wherever they are mounted, everything in them, its namespaces, and bind mounts
/// of its own folders. A mount point with somebody else's mount in it is left
/// out, because that one would go with it.
pub fn ours(mountinfo: &[u8], dir: &Path) -> Vec<PathBuf> {
    let mounts = parse(mountinfo);
    let (made, copies) = made(&mounts, dir);
    let is_ours = |point: &PathBuf| made.contains(point) || copies.contains(point);
    let others: Vec<_> = mounts.iter().map(|mount| &mount.point).filter(|point| !is_ours(point)).collect();
    let is_free = |copy: &&PathBuf| !others.iter().any(|other| other.starts_with(copy));
    // In the order of mounting: the outer before the inner.
    let mut ours: Vec<_> = mounts.iter().map(|mount| &mount.point).filter(|point| is_ours(point)).collect();
    ours.retain(|point| made.contains(point) || is_free(point));
    ours.into_iter().rev().cloned().collect()
}

/// The mount points below `dir` that belong to somebody else.
pub fn others(mountinfo: &[u8], dir: &Path) -> Vec<PathBuf> {
    let mounts = parse(mountinfo);
    let (made, copies) = made(&mounts, dir);
    let points = mounts.into_iter().map(|mount| mount.point);
    points.filter(|it| it.starts_with(dir) && it != dir && !made.contains(it) && !copies.contains(it)).collect()
}

/// What the engine mounted, and the bind mounts of its own folders.
fn made(mounts: &[MountPoint], dir: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let home = home(mounts, dir);
    let (mut made, mut copies): (Vec<PathBuf>, Vec<PathBuf>) = Default::default();
    for mount in mounts {
        let is_below = mount.point.starts_with(dir) && mount.point != dir;
        let of_engine = match mount.kind.as_slice() {
            b"overlay" => layered(&mount.options, dir) && (is_below || is_builders(&mount.point)),
            b"nsfs" => is_below,
            b"tmpfs" => is_below && is_shm(&mount.point, dir),
            _ => false,
        };
        let is_at_home = |(device, root): &(Vec<u8>, PathBuf)| mount.device == *device && mount.root.starts_with(root);
        let is_copy = home.as_ref().is_some_and(is_at_home) && (is_below || is_builders(&mount.point));
        if of_engine || made.iter().any(|outer| mount.point.starts_with(outer)) {
            made.push(mount.point.clone());
        } else if is_copy {
            copies.push(mount.point.clone());
        }
    }
    (made, copies)
}

/// The device of `dir`, and its path on the device. If mounts are on top of each
/// other, the last one counts.
fn home(mounts: &[MountPoint], dir: &Path) -> Option<(Vec<u8>, PathBuf)> {
    let around = mounts.iter().filter(|mount| dir.starts_with(&mount.point));
    let mount = around.max_by_key(|mount| mount.point.components().count())?;
    let rest = dir.strip_prefix(&mount.point).ok()?;
    Some((mount.device.clone(), mount.root.join(rest)))
}

/// The folders where BuildKit and containerd mount layers temporarily.
fn is_builders(point: &Path) -> bool {
    let name = point.file_name().unwrap_or_default().as_bytes();
    name.starts_with(b"buildkit-mount") || name.starts_with(b"containerd-mount")
}

/// `data/containers/ID/mounts/shm`, and the secrets next to it.
fn is_shm(point: &Path, dir: &Path) -> bool {
    let parent = point.parent().and_then(Path::parent).and_then(Path::parent);
    let names = [b"shm".as_slice(), b"secrets"];
    parent == Some(&dir.join("data/containers"))
        && point.parent().and_then(Path::file_name) == Some(OsStr::new("mounts"))
        && names.contains(&point.file_name().unwrap_or_default().as_bytes())
}

/// Whether an overlay consists of layers below `dir`.
fn layered(options: &[u8], dir: &Path) -> bool {
    let below = [dir.as_os_str().as_bytes(), b"/"].concat();
    options.split(|byte| *byte == b',').any(|option| {
        [b"lowerdir=".as_slice(), b"upperdir="].iter().any(|key| {
            option.strip_prefix(*key).is_some_and(|layers| {
                layers.split(|byte| *byte == b':').next().is_some_and(|first| first.starts_with(&below))
            })
        })
    })
}

/// Whether the root file system in a `/proc/PID/mountinfo` consists of layers
/// below `dir`: then the process is in one of this engine's containers.
pub fn rooted_below(mountinfo: &[u8], dir: &Path) -> bool {
    let mounts = parse(mountinfo);
    let root = mounts.iter().find(|mount| mount.point == Path::new("/"));
    root.is_some_and(|mount| mount.kind == b"overlay" && layered(&mount.options, dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
39 22 254:0 /e/data /e/data rw - ext4 /dev/vda rw
40 39 0:30 / /e/data/overlay/a\\040b/merged rw shared:1 - overlay overlay rw,lowerdir=/e/ctd-root/1/fs:/e/ctd-root/2/fs
41 22 0:4 net:[4026532228] /e/exec/netns/1 rw - nsfs nsfs rw
42 40 0:31 / /e/data/overlay/a\\040b/merged/pr\xffoc rw - proc proc rw
43 22 0:32 / /engine rw - tmpfs tmpfs rw
44 22 0:33 / /e rw - tmpfs tmpfs rw
45 39 0:34 / /e/data/containers/1/mounts/shm rw - tmpfs shm rw
46 22 0:35 / /tmp/buildkit-mount123 rw - overlay overlay rw,lowerdir=/e/ctd-root/2/fs,upperdir=/e/ctd-root/3/fs
rubbish
";

    fn stays(point: &[u8], root: &str, kind: &str, device: &str) -> bool {
        let home = "22 1 254:0 / / rw - ext4 /dev/vda rw\n".as_bytes();
        let line =
            [b"50 22 ", device.as_bytes(), b" ", root.as_bytes(), b" ", point, b" rw - ", kind.as_bytes(), b"\n"]
                .concat();
        ours(&[home, &line].concat(), Path::new("/e")).is_empty()
    }

    #[test]
    fn what_the_engine_mounted_is_found_wherever_it_is_the_deepest_first() {
        let table = TABLE.to_vec();
        // A disk mounted at the folder itself hides the old content; it is not
        // one of our mounts.
        let found = ours(&table, Path::new("/e"));
        let found: Vec<_> = found.iter().map(|point| String::from_utf8_lossy(point.as_os_str().as_bytes())).collect();
        assert_eq!(
            found,
            [
                "/tmp/buildkit-mount123",
                "/e/data/containers/1/mounts/shm",
                "/e/data/overlay/a b/merged/pr\u{fffd}oc",
                "/e/exec/netns/1",
                "/e/data/overlay/a b/merged",
            ]
        );
        let without = TABLE.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"44 "));
        let without = without.collect::<Vec<_>>().join(&b'\n');
        assert!(ours(&without, Path::new("/e")).contains(&"/e/data".into()), "bound to itself by dockerd");
        assert_eq!(others(&without, Path::new("/e")), Vec::<PathBuf>::new());
        let disk = b"60 39 0:60 / /e/data/ann\xff rw - tmpfs tmpfs rw";
        let with = [&without[..], disk].join(&b'\n');
        assert!(!ours(&with, Path::new("/e")).contains(&"/e/data".into()), "it would take the disk with it");
        assert_eq!(others(&with, Path::new("/e")), [PathBuf::from(OsStr::from_bytes(b"/e/data/ann\xff"))]);
    }

    #[test]
    fn what_somebody_else_mounted_is_not_ours_wherever_it_is() {
        for (point, root, kind, device) in [
            (&b"/e/data"[..], "/", "ext4 /dev/vdb rw", "254:16"),
            (b"/e/data/\xff", "/", "tmpfs tmpfs rw", "0:50"),
            (b"/e/data/\xff", "/home/ann", "ext4 /dev/vda rw", "254:0"),
            (b"/e/mnt", "/", "overlay overlay rw,lowerdir=/home/ann:/e/x,upperdir=/home/u", "0:50"),
            (b"/home/ann/look", "/", "overlay overlay rw,lowerdir=/e/ctd-root/1/fs", "0:50"),
            (b"/home/ann/e", "/e", "ext4 /dev/vda rw", "254:0"),
            (b"/e/data/containers/1/mounts/other", "/", "tmpfs tmpfs rw", "0:50"),
            (b"/e", "/", "ext4 /dev/vdb rw", "254:16"),
            (b"/engine/data", "/engine", "ext4 /dev/vda rw", "254:0"),
            (b"/run/docker/netns/1", "net:[1]", "nsfs nsfs rw", "0:4"),
        ] {
            assert!(stays(point, root, kind, device), "{:?}", String::from_utf8_lossy(point));
        }
        assert!(!stays(b"/e/data", "/e/data", "ext4 /dev/vda rw", "254:0"));
        assert_eq!(others(b"1 0 254:16 / /e rw - ext4 /dev/vdb rw", Path::new("/e")), Vec::<PathBuf>::new());
        assert!(!stays(b"/e/exec/netns/x", "net:[1]", "nsfs nsfs rw", "0:4"));
    }

    #[test]
    fn a_container_is_told_by_the_layers_of_its_root() {
        let inside = b"50 49 0:40 / / rw - overlay overlay rw,lowerdir=/e/c/1/fs:/e/c/2/fs,upperdir=/e/c/3/fs\n";
        assert!(rooted_below(inside, Path::new("/e")));
        assert!(!rooted_below(inside, Path::new("/engine")));
        assert!(!rooted_below(TABLE, Path::new("/e")));
    }
}
