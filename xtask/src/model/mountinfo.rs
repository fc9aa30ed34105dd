//! What the kernel says is mounted, and whether that forbids to remove a folder.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One line of mountinfo. Its paths are bytes, not text.
#[derive(Debug)]
pub struct MountPoint {
    /// The device number of the file system.
    pub device: Vec<u8>,
    /// The folder of the file system that is mounted.
    pub root: PathBuf,
    /// The mount point.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: Vec<u8>,
    /// The options of the file system.
    pub options: Vec<u8>,
}

/// All mount points of a table.
pub fn points(mountinfo: &[u8]) -> Vec<PathBuf> {
    parse(mountinfo).into_iter().map(|mount| mount.point).collect()
}

/// The first mount point at a path or below it. To remove the path would remove
/// what is mounted there. Device numbers don't help: a bind mount from the same
/// disk has the same number.
pub fn at_or_below(mountinfo: &[u8], path: &Path) -> Option<PathBuf> {
    points(mountinfo).into_iter().find(|point| point.starts_with(path))
}

/// All lines of a table: `ID PARENT DEVICE ROOT POINT OPTIONS [MORE…] - KIND SOURCE OPTIONS`
pub fn parse(mountinfo: &[u8]) -> Vec<MountPoint> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(unescape(bytes)));
    let line = |line: &[u8]| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = words.iter().position(|word| *word == b"-")?;
        Some(MountPoint {
            device: words.get(2)?.to_vec(),
            root: path(words.get(3)?),
            point: path(words.get(4)?),
            kind: words.get(dash + 1)?.to_vec(),
            options: unescape(words.get(dash + 3).unwrap_or(&&b""[..])),
        })
    };
    mountinfo.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// The kernel escapes blanks, tabs, newlines and backslashes, as in `\040`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
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
    bytes
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_is_mounted_at_or_below_is_in_the_way_whatever_it_is_called() {
        let table = b"1 0 254:0 / / rw - ext4 /dev/vda rw\n\
            2 1 254:0 /x /e/data/\xff\xfe rw - ext4 /dev/vda rw\n\
            3 1 0:9 / /e/a\\040b rw - tmpfs none rw\n";
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        for (bytes, is_in_the_way) in [
            (&b"/e"[..], true),
            (b"/e/data", true),
            (b"/e/data/\xff\xfe", true),
            (b"/e/data/\xff\xfe/inner", false),
            (b"/e/data/\xff", false),
            (b"/e/a b", true),
            (b"/e/a", false),
            (b"/e/dat", false),
        ] {
            assert_eq!(at_or_below(table, &path(bytes)).is_some(), is_in_the_way, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_is_read_by_its_places_and_by_its_dash() {
        for (line, expected) in [
            ("1 0 254:0 /x / rw - ext4 /dev/vda rw,a", Some(["254:0", "/x", "/", "ext4", "rw,a"])),
            ("2 1 0:9 / /e rw shared:1 master:2 - tmpfs none size=1k", Some(["0:9", "/", "/e", "tmpfs", "size=1k"])),
            (
                "3 1 0:9 / /e rw - overlay none rw,lowerdir=/a\\040b",
                Some(["0:9", "/", "/e", "overlay", "rw,lowerdir=/a b"]),
            ),
            ("4 1 0:9 / /e rw - proc none", Some(["0:9", "/", "/e", "proc", ""])),
            ("5 1 0:9 / /e rw", None),
            ("6 1 0:9 / /e rw -", None),
            ("", None),
        ] {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let found = parse(line.as_bytes()).first().map(|mount| {
                let paths = [&mount.root, &mount.point].map(|path| path.to_str().unwrap().to_owned());
                let [root, point] = paths;
                [text(&mount.device), root, point, text(&mount.kind), text(&mount.options)]
            });
            assert_eq!(found, expected.map(|words| words.map(str::to_owned)), "{line}");
        }
    }
}
