//! Finds files on which git would wait, or which it would read for ever.
//!
//! Git opens the files of a repository without checking. A named pipe in a tree
//! that somebody sent blocks it until our time limit, once per question; a device
//! never ends. So we check the files that git opens by name.
//! Any folder below the root may hold one more. To look into all of them takes as
//! long as git itself, so we do that only when git takes long.

use std::cell::Cell;
use std::fs::FileType;
use std::os::unix::fs::FileTypeExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::exec::input;

/// The files of a repository that git opens by name, and that exist.
const REPOSITORY: [&str; 12] = [
    "HEAD",
    "commondir",
    "config",
    "config.worktree",
    "index",
    "info/attributes",
    "info/exclude",
    "info/grafts",
    "info/sparse-checkout",
    "objects/info/alternates",
    "packed-refs",
    "shallow",
];
/// The files in a tree that configure git for other files.
const FILES: [&str; 3] = [".gitattributes", ".gitignore", ".gitmodules"];
/// A `.git` that is a file names the repository in one line.
const POINTER: u64 = 8192;

/// One question has used up its time, so the next one would, too.
static HANGS: AtomicBool = AtomicBool::new(false);

/// What git was found to wait for: it would wait again.
static WAITS_FOR: OnceLock<String> = OnceLock::new();

/// How long git may take before somebody looks for what it waits for. It tells
/// of a hundred thousand files in less.
pub const SLOW: Duration = Duration::from_secs(2);

/// A look into all folders, beside git. Nobody waits for its end.
#[derive(Debug, Default)]
pub struct Search {
    begun: Cell<bool>,
}

impl Search {
    /// Begins, once.
    pub fn begin(&self, root: &Utf8Path) {
        if !self.begun.replace(true) {
            let root = root.to_owned();
            thread::spawn(move || below(&root).map(|path| WAITS_FOR.set(told(&path))));
        }
    }

    /// What it has found so far.
    pub fn found(&self) -> Option<&'static str> {
        WAITS_FOR.get().filter(|_| self.begun.get()).map(String::as_str)
    }
}

/// The first file that git opens in a folder below, and would wait for. It
/// follows no link to one there.
fn below(root: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        // What has no name in UTF-8 is none of these, nor is what lies in it.
        for entry in folder.read_dir_utf8().into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && entry.file_name() != ".git" => folders.push(entry.into_path()),
                Ok(kind) if is_odd(kind) && FILES.contains(&entry.file_name()) => return Some(entry.into_path()),
                _ => {}
            }
        }
    }
    None
}

/// Remembers that git did not answer in time.
pub fn hangs() {
    HANGS.store(true, Ordering::Relaxed);
}

/// Why git must not be asked, for people.
pub fn found(root: &Utf8Path) -> Option<String> {
    if let Some(why) = WAITS_FOR.get() {
        return Some(why.clone());
    }
    if HANGS.load(Ordering::Relaxed) {
        return Some("git did not answer in time, and is not asked again".into());
    }
    let top = root.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok())?;
    let of_tree = root.ancestors().take_while(|dir| dir.starts_with(top));
    let of_tree = of_tree.flat_map(|dir| FILES.map(|name| dir.join(name)));
    let of_git = repositories(top).into_iter().flat_map(|dir| REPOSITORY.map(|name| dir.join(name)));
    let path = of_tree.chain(of_git).find(|path| waits(path))?;
    Some(told(&path))
}

fn told(path: &Utf8Path) -> String {
    format!("{path} is a pipe or a device, and a file is expected there: git would wait for it")
}

/// The folders with git's own files. A linked worktree has its own one and the
/// shared one.
fn repositories(top: &Utf8Path) -> Vec<Utf8PathBuf> {
    let git = top.join(".git");
    let Some(own) = pointer(&git).and_then(|text| Some(top.join(text.strip_prefix("gitdir: ")?))) else {
        return vec![git];
    };
    let shared = pointer(&own.join("commondir")).map(|shared| own.join(shared));
    [Some(own), shared].into_iter().flatten().collect()
}

fn pointer(file: &Utf8Path) -> Option<String> {
    Some(input::text(file, POINTER).ok()?.trim_end().to_owned())
}

/// Whether it is a named pipe or a device, even behind links. Git can't open a
/// socket anyway, and has one of its own there.
fn waits(path: &Utf8Path) -> bool {
    path.metadata().is_ok_and(|found| is_odd(found.file_type()))
        && path.canonicalize_utf8().is_ok_and(|real| real != "/dev/null")
}

fn is_odd(kind: FileType) -> bool {
    kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;
    use crate::exec::files::Temporary;

    fn pipe(path: &Utf8Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn a_pipe_or_a_device_where_git_opens_files_is_named() {
        let place = Temporary::new("tree").unwrap();
        let top = place.path();
        let root = top.join("deep/root");
        for dir in ["deep/root", ".git/info", ".git/objects/info", "deep/other", "deep/odd"] {
            fs::create_dir_all(top.join(dir)).unwrap();
        }
        fs::write(top.join(".git/HEAD"), "ref: refs/heads/main").unwrap();
        symlink("/dev/null", top.join(".gitattributes")).unwrap();
        symlink("/nowhere", top.join(".git/gone")).unwrap();
        assert_eq!(found(&root), None);
        for name in [
            ".git/index",
            ".git/config",
            ".git/packed-refs",
            ".git/info/exclude",
            ".git/objects/info/alternates",
            ".gitignore",
            "deep/.gitignore",
            "deep/root/.gitattributes",
            "deep/root/.gitmodules",
        ] {
            let file = top.join(name);
            pipe(&file);
            let said = found(&root).unwrap();
            assert!(said.starts_with(file.as_str()), "{said}");
            fs::remove_file(&file).unwrap();
            symlink("/dev/zero", &file).unwrap();
            assert!(found(&root).is_some(), "{name}");
            fs::remove_file(&file).unwrap();
        }
        // Git does not read what is outside of the root and its parents.
        pipe(&top.join("deep/other/.gitignore"));
        assert_eq!(found(&root), None);
    }

    #[test]
    fn a_pipe_in_a_folder_below_is_found_and_neither_a_link_nor_what_git_passes_over() {
        let place = Temporary::new("tree").unwrap();
        let top = place.path();
        for dir in ["a/b/c", ".git/d", "e"] {
            fs::create_dir_all(top.join(dir)).unwrap();
        }
        pipe(&top.join(".git/d/.gitignore"));
        pipe(&top.join("a/fifo"));
        symlink("/dev/zero", top.join("e/.gitignore")).unwrap();
        symlink("/", top.join("a/b/root")).unwrap();
        assert_eq!(below(top), None);
        pipe(&top.join("a/b/c/.gitignore"));
        assert_eq!(below(top), Some(top.join("a/b/c/.gitignore")));
    }

    #[test]
    fn a_linked_worktree_has_two_folders() {
        let place = Temporary::new("tree").unwrap();
        let base = place.path();
        for dir in ["main/.git/worktrees/it", "it"] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        let (tree, own) = (base.join("it"), base.join("main/.git/worktrees/it"));
        fs::write(tree.join(".git"), format!("gitdir: {own}\n")).unwrap();
        fs::write(own.join("commondir"), "../..\n").unwrap();
        assert_eq!(found(&tree), None);
        for file in [own.join("index"), base.join("main/.git/config")] {
            pipe(&file);
            assert!(found(&tree).is_some(), "{file}");
            fs::remove_file(&file).unwrap();
        }
    }
}
