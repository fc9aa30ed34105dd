//! Images for a platform that is not this machine's: built with no emulator, and
//! proved under one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::engine::emulator;
use xtask::model::platform::Platform;

use super::common::demo::Demo;
use super::common::{self, docker, exit, left_out, stderr};

/// The platforms, with what an ELF header calls them.
const PLATFORMS: [(&str, u16); 2] = [("linux/amd64", 62), ("linux/arm64", 183)];
const IMAGES: [&str; 2] = ["infinite-scribe-backend", "infinite-scribe-web"];

/// An image's files, gone in the end.
struct Tree(PathBuf);

impl Tree {
    fn of(image: &str, platform: &str) -> Self {
        let name = image.replace([':', '/'], "-");
        let tree = Self(std::env::temp_dir().join(format!("xtask-tree-{name}-{}", platform.replace('/', "-"))));
        std::fs::create_dir_all(&tree.0).unwrap();
        let container = docker(&["create", "--platform", platform, image]);
        let container = container.trim();
        let mut export = Command::new("docker");
        export.args(["export", container]).envs(common::engine().ctx.exports).stdout(Stdio::piped());
        let mut export = export.spawn().unwrap();
        let mut tar = Command::new("tar");
        // Devices and owners are root's to make, and nobody looks at them.
        tar.args(["--extract", "--no-same-owner", "--exclude=dev/*", "--directory"]).arg(&tree.0);
        assert!(tar.stdin(export.stdout.take().unwrap()).status().unwrap().success());
        assert!(export.wait().unwrap().success());
        docker(&["rm", container]);
        tree
    }

    /// What the ELF header of each program and library says it is for.
    fn machines(&self) -> Vec<(PathBuf, u16)> {
        let mut found = Vec::new();
        collect(&self.0, &mut found);
        found
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn collect(dir: &Path, found: &mut Vec<(PathBuf, u16)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
        } else if path.is_dir() {
            collect(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.starts_with(b"\x7fELF")
        {
            found.push((path, u16::from_le_bytes([bytes[18], bytes[19]])));
        }
    }
}

/// One after the other: an emulator is the whole machine's.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn both_platforms_are_built_with_no_emulator_and_proved_under_one() {
    let arm: Platform = "linux/arm64".parse().unwrap();
    let before = emulator::registered(&arm);
    if let Some(entry) = &before {
        left_out("that a build needs no emulator", &format!("a machine without one: {entry}"));
    }
    let tag = format!("platforms-{}", std::process::id());
    let built = common::xtask(&["docker", "all", "--multi-arch", "--tag", &tag]).output().unwrap();
    exit(&built, 0);
    for image in IMAGES {
        let name = format!("{image}:{tag}");
        for (platform, machine) in PLATFORMS {
            let tree = Tree::of(&name, platform);
            let found = tree.machines();
            let wrong: Vec<_> = found.iter().filter(|(_, of)| *of != machine).take(5).collect();
            assert!(wrong.is_empty() && found.len() > 100, "{name} {platform}: {} of {wrong:?}", found.len());
            if image.ends_with("backend") {
                let modules = found.iter().filter(|(path, _)| path.starts_with(tree.0.join("opt/venv/lib"))).count();
                assert!(modules > 3, "{modules} extension modules");
                let python = std::fs::read_link(tree.0.join("opt/venv/bin/python")).unwrap();
                let python = tree.0.join(python.strip_prefix("/").unwrap());
                assert!(python.symlink_metadata().is_ok(), "the interpreter that the venv names is not there");
            }
        }
    }
    let programs = common::programs();
    if before.is_none() && programs.is_none() {
        left_out("the proof of another platform's images", "root, and the private engine's programs");
        return;
    }
    if before.is_none() {
        let registered = common::xtask(&["setup", "--emulator", "--format", "json"]).output().unwrap();
        assert!(emulator::registered(&arm).is_some(), "{}", stderr(&registered));
    }
    let args = ["docker", "test", "--platform", "linux/arm64", "--no-build", "--tag", &tag];
    let proved = [&args[..], &["web"]].concat();
    let gateway = [&args[..], &["backend", "--role", "api-gateway"]].concat();
    let proved = [proved, gateway].map(|args| common::xtask(&args).output().unwrap());
    if let (None, Some((ctx, folder))) = (before, programs) {
        assert_eq!(emulator::down(&ctx, &folder), [""; 0]);
        assert_eq!(emulator::registered(&arm), None);
    }
    for output in &proved {
        exit(output, 0);
    }
    IMAGES.iter().for_each(|image| _ = docker(&["image", "rm", &format!("{image}:{tag}")]));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_step_that_takes_an_emulator_is_named_before_anything_is_built() {
    let demo = Demo::new("foreign").simple("");
    let build = |text: &str| {
        std::fs::write(demo.dir.join("Dockerfile"), text).unwrap();
        demo.run(&["docker", "app", "--platform", "linux/riscv64", "--bases", "upstream"])
    };
    // Nobody has an emulator for this one.
    let refused = build("FROM scratch AS app\nCOPY server.py /\n\nRUN chmod 0755 /server.py\n");
    exit(&refused, 1);
    let words = "Dockerfile:4: stage `app` runs something on linux/riscv64, which this builder can't: `RUN chmod 0755 /server.py`";
    assert!(stderr(&refused).contains(words), "{}", stderr(&refused));
    exit(&build("FROM scratch AS app\nCOPY server.py /\n"), 0);
    let proof = demo.run(&["docker", "test", "--platform", "linux/riscv64", "--bases", "upstream"]);
    exit(&proof, 1);
    assert!(stderr(&proof).contains("this engine can't run linux/riscv64"), "{}", stderr(&proof));
}
