//! What is still mounted below a folder, and how it is let go.
//!
//! A folder with a mount in it can't be deleted, and an engine that was killed
//! leaves its containers' file systems and network namespaces mounted.

use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::run;
use crate::plan::step::Step;

/// Unmounts everything below `dir`, deepest first.
pub fn release(ctx: &Ctx, dir: &Utf8Path) {
    // A mount may lie on another one, and is then seen only afterwards.
    for _ in 0..3 {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = below(&table, dir);
        if points.is_empty() {
            return;
        }
        for point in points {
            // Lazily: what a dying process still holds must not stop us.
            let _ = run::probe(ctx, &Step::new("umount").args(["--lazy", point.as_str()]));
        }
    }
}

/// The mount points below `dir` in a `/proc/PID/mountinfo`, deepest first.
pub fn below(mountinfo: &str, dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<_> = points.map(|point| Utf8PathBuf::from(unescape(point))).collect();
    points.retain(|point| point.starts_with(dir) && point != dir);
    points.sort();
    points.reverse();
    points
}

/// Whether the root file system of a `/proc/PID/mountinfo` is made of layers
/// below `dir`: then the process is in a container of that engine.
pub fn rooted_below(mountinfo: &str, dir: &Utf8Path) -> bool {
    let root = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    root.is_some_and(|line| {
        let line = unescape(line);
        ["lowerdir=", "upperdir="].iter().any(|key| line.contains(&format!("{key}{dir}/")))
    })
}

/// The kernel writes blanks, tabs, newlines and backslashes as `\040`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        rest = match (first, code) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                &tail[3..]
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:30 / /e/data/overlay/a\\040b/merged rw - overlay overlay rw
41 22 0:4 net:[4026532228] /e/exec/netns/1 rw - nsfs nsfs rw
42 40 0:31 / /e/data/overlay/a\\040b/merged/proc rw - proc proc rw
43 22 0:32 / /engine rw - tmpfs tmpfs rw
44 22 0:32 / /e rw - tmpfs tmpfs rw
rubbish
";

    #[test]
    fn mounts_below_come_deepest_first_and_neighbours_do_not() {
        assert_eq!(
            below(TABLE, "/e".into()),
            ["/e/exec/netns/1", "/e/data/overlay/a b/merged/proc", "/e/data/overlay/a b/merged"]
        );
    }

    #[test]
    fn a_container_is_told_by_the_layers_of_its_root() {
        let inside = "50 49 0:40 / / rw - overlay overlay rw,lowerdir=/e/c/1/fs:/e/c/2/fs,upperdir=/e/c/3/fs\n";
        assert!(rooted_below(inside, "/e".into()));
        assert!(!rooted_below(inside, "/engine".into()));
        assert!(!rooted_below(TABLE, "/e".into()));
    }
}
