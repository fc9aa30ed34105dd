//! Removes one of our folders with its content, but nothing that somebody mounted
//! in it: those files are not ours, whatever their path is.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::{fs, io};

use camino::Utf8Path;

use crate::model::mountinfo;

/// Removes the folder, unless something is mounted at it or below it.
pub fn folder(path: &Utf8Path) -> io::Result<()> {
    match mounted(path.as_std_path()) {
        Some(why) => Err(Error::new(ErrorKind::ResourceBusy, format!("{path} stays: {why}"))),
        None => fs::remove_dir_all(path),
    }
}

/// Why a path can't be deleted, if something is mounted at it or below it. The
/// kernel lists mount points without links.
pub fn mounted(path: &Path) -> Option<String> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path,
    };
    let point = mountinfo::at_or_below(&table, &real)?;
    Some(format!("something is mounted at {}", point.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::files::Temporary;

    #[test]
    fn what_is_mounted_is_found_through_a_link_to_the_folder_above_and_a_link_itself_is_free() {
        let place = Temporary::new("link").unwrap();
        std::os::unix::fs::symlink("/", place.path()).unwrap();
        let link = place.path().as_std_path();
        assert_eq!(mounted(&link.join("proc")).as_deref(), Some("something is mounted at /proc"));
        assert_eq!(mounted(link), None);
        assert_eq!(mounted(&link.join("proc/self")), None);
    }
}
