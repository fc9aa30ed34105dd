//! One look at the tree serves all services: each must see of it what a build
//! of its own would, however the others look at the same files.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

const CONTEXTS: [&str; 4] = [".", "a", "a/b", "c"];
const FILES: [&str; 14] = [
    "a/x",
    "a/x.log",
    "a/b/x",
    "a/b/y.log",
    "a/b/c/x",
    "a-b/x",
    "a!/x",
    "c/x",
    "c/d/x",
    "c/d/e/y",
    "x",
    "x.log",
    "a/b/c/new",
    "c/new",
];
const RULES: [&str; 12] = ["*", "!a", "!b", "**/*.log", "a/b", "b", "!a/b/c", "d", "!d/e", "!**/x", "x", "c"];
const COPIED: [&str; 8] = [".", "x", "a", "b", "d", "b/c", "*", "**"];
const PATTERNS: [&str; 8] = ["**", "a/**", "!a/b/**", "c/**", "**/x", "a/b/c/*", "!**/*.log", "a*/**"];

struct World {
    root: PathBuf,
    seed: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let root = std::env::temp_dir().canonicalize().unwrap();
        let root = root.join(format!("xtask-together-{}-{seed}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        Self { root, seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn below(&mut self, end: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as usize % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn some(&mut self, all: &[&'static str], most: usize) -> Vec<&'static str> {
        (0..=self.below(most)).map(|_| self.one_of(all)).collect()
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn git(&self, args: &[&str]) {
        let mut git = std::process::Command::new("git");
        git.current_dir(&self.root).args(["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "gc.auto=0"]);
        let output = git.args(args).output().unwrap();
        assert!(output.status.success(), "{}", common::stderr(&output));
    }

    fn services(&mut self) -> Vec<String> {
        let mut toml = "[project]\nname = \"demo\"\nregistry = \"localhost\"\nowner = \"demo\"\n".to_owned();
        let names: Vec<String> = (0..4).map(|number| format!("s{number}")).collect();
        for name in &names {
            let context = self.one_of(&CONTEXTS);
            let dockerfile = ["Dockerfile", "a/Dockerfile", "c/d/Dockerfile"][self.below(3)];
            let mut patterns = vec!["**/Dockerfile"];
            patterns.extend(self.some(&PATTERNS, 4));
            write!(toml, "[services.{name}]\nimage = \"{name}\"\ndockerfile = \"{dockerfile}\"\n").unwrap();
            writeln!(toml, "context = \"{context}\"\npaths = {patterns:?}").unwrap();
        }
        self.write("services.toml", &toml);
        for dockerfile in ["Dockerfile", "a/Dockerfile", "c/d/Dockerfile"] {
            let copied: Vec<String> =
                self.some(&COPIED, 3).iter().map(|source| format!("COPY {source} /to/\n")).collect();
            self.write(dockerfile, &format!("FROM scratch\n{}", copied.concat()));
        }
        for folder in ["", "a/", "a/b/", "c/"] {
            if self.below(3) > 0 {
                let rules = self.some(&RULES, 4).join("\n");
                self.write(&format!("{folder}.dockerignore"), &rules);
            }
        }
        names
    }

    fn plan(&self, names: &[String]) -> Vec<Value> {
        let mut args = vec!["--root", self.root.to_str().unwrap(), "ci", "plan", "--format", "json"];
        args.extend(names.iter().map(String::as_str));
        let output = common::xtask(&args).output().unwrap();
        assert!(output.status.success(), "{}", common::stderr(&output));
        common::json(&output)["services"].as_array().unwrap().clone()
    }
}

fn link(original: &Path, link: &Path) {
    let _ = std::fs::hard_link(original, link);
}

#[test]
fn each_of_many_sees_what_it_sees_alone() {
    let (mut prints, mut differ) = (0, 0);
    for seed in 1..40 {
        let mut world = World::new(seed);
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        let names = world.services();
        world.write("a/b/c/x", "x");
        world.write("c/d/x", "x");
        for file in FILES {
            if world.below(3) > 0 {
                world.write(file, file);
            }
        }
        world.git(&["add", "--all"]);
        world.git(&["commit", "--quiet", "--message=all"]);
        // What git does not list, and what has several names.
        world.write(".gitignore", "*.log\n**/new*\nignored/\nDockerfile\n");
        for file in ["a/b/c/newer", "c/newer", "ignored/x", "a/ignored/x", "c/d/ignored/y.log", "a/b/new.log"] {
            if world.below(2) > 0 {
                world.write(file, file);
            }
        }
        for folder in ["a/empty", "c/d/empty", "a/b/.git"] {
            if world.below(4) == 0 {
                std::fs::create_dir_all(world.root.join(folder)).unwrap();
            }
        }
        let original = world.root.join("a/b/c/x");
        for name in ["a/a.log", "c/new-name", "z"] {
            if world.below(3) == 0 {
                link(&original, &world.root.join(name));
            }
        }
        if world.below(3) == 0 {
            symlink("../c/d", world.root.join("a/link")).unwrap();
        }
        let together = world.plan(&names);
        for (of_all, name) in together.iter().zip(&names) {
            let alone = world.plan(std::slice::from_ref(name));
            assert_eq!(of_all["fingerprint"], alone[0]["fingerprint"], "{seed} {name} in {}", world.root.display());
            prints += usize::from(of_all["fingerprint"].is_string());
            let affected = (of_all["affected"].as_bool().unwrap(), alone[0]["affected"].as_bool().unwrap());
            // Of a file with several names another service may see the first.
            assert!(affected.0 || !affected.1, "{seed} {name}: {} {}", of_all["reason"], alone[0]["reason"]);
            differ += usize::from(affected.0 != affected.1);
        }
    }
    assert!(prints > 100 && differ < 10, "{prints} {differ}");
}
