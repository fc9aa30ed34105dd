//! Dockerfiles and ignore files that nobody should be asked to build, or shown:
//! each is refused before anything runs. No Docker is needed here.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

const SERVICES: &str = "[project]\nname = \"demo\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
    [services.web]\nimage = \"demo-web\"\npaths = [\"**\"]\n";

/// A checkout that is gone afterwards, with a secret beside it and one in it.
struct Checkout(PathBuf);

impl Checkout {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("root")).unwrap();
        std::fs::write(dir.join("secret"), "TOKEN=hunter2\n").unwrap();
        std::fs::write(dir.join("root/.env"), "TOKEN=hunter2\n[hunter2\n").unwrap();
        std::fs::write(dir.join("root/services.toml"), SERVICES).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("root").join(name)
    }

    /// What `docker web --dry-run` says; it never gets further than that.
    fn refused(&self) -> String {
        let mut command = common::pinned(&["docker", "web", "--dry-run"]);
        let output = command.current_dir(self.0.join("root")).env("HOME", &self.0).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{stderr}");
        assert!(!stderr.contains("hunter2") && !stderr.contains("TOKEN"), "{stderr}");
        stderr
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_link_to_a_secret_shows_none_of_its_words() {
    let checkout = Checkout::new("secret");
    symlink("../secret", checkout.file("Dockerfile")).unwrap();
    assert!(checkout.refused().contains("Dockerfile: it leads out of the root"));
    std::fs::remove_file(checkout.file("Dockerfile")).unwrap();
    symlink(".env", checkout.file("Dockerfile")).unwrap();
    assert!(checkout.refused().contains("Dockerfile:1:1: this can't be read, and lies behind a symbolic link"));
    std::fs::remove_file(checkout.file("Dockerfile")).unwrap();
    std::fs::write(checkout.file("Dockerfile"), "FROM scratch\n").unwrap();
    symlink(".env", checkout.file(".dockerignore")).unwrap();
    assert!(checkout.refused().contains(".dockerignore:2: this can't be read, and lies behind a symbolic link"));
    std::fs::remove_file(checkout.file(".dockerignore")).unwrap();
    symlink(checkout.0.join("secret"), checkout.file("Dockerfile.dockerignore")).unwrap();
    assert!(checkout.refused().contains("Dockerfile.dockerignore: it leads out of the root"));
}

#[test]
fn what_never_ends_is_not_read_to_its_end() {
    let checkout = Checkout::new("endless");
    assert!(Command::new("mkfifo").arg(checkout.file("Dockerfile")).status().unwrap().success());
    assert!(checkout.refused().contains("Dockerfile: it is not a file"));
    std::fs::remove_file(checkout.file("Dockerfile")).unwrap();
    std::fs::write(checkout.file("Dockerfile"), "# a comment\n".repeat(1 << 17)).unwrap();
    assert!(checkout.refused().contains("more than 1048576 bytes"));
    std::fs::write(checkout.file("Dockerfile"), "FROM scratch\n").unwrap();
    std::fs::write(checkout.file(".dockerignore"), "**/a\n".repeat(2_001)).unwrap();
    assert!(checkout.refused().contains(".dockerignore:2001: more than 2000 rules"));
    std::fs::write(checkout.file(".dockerignore"), "a{999}{9}*\n").unwrap();
    assert!(checkout.refused().contains(".dockerignore:1: `a{999}{9}*`: a repetition of a repetition"));
    std::fs::write(checkout.file(".dockerignore"), "a{999}*\n".repeat(300)).unwrap();
    assert!(checkout.refused().contains("more than 200000 steps"));
}

#[test]
fn what_ends_the_engine_is_not_given_to_it() {
    let checkout = Checkout::new("circle");
    for (text, expected) in [
        (
            "FROM a AS x\nCOPY --from=y a /\nFROM x AS y\n",
            "Dockerfile:2:1: `COPY --from=y`: a stage can't be made from itself: `x` → `y` → `x`",
        ),
        (
            "FROM scratch\nCOPY --from=0 a /\n",
            "Dockerfile:2:1: `COPY --from=0`: a stage can't be made from itself: 0 → 0",
        ),
    ] {
        std::fs::write(checkout.file("Dockerfile"), text).unwrap();
        assert!(checkout.refused().contains(expected), "{}", checkout.refused());
    }
}
