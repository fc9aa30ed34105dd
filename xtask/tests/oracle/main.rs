//! BuildKit as the oracle: what `.dockerignore` leaves in a context and what a
//! target reads from it, by random files on the real engine, beside what the
//! model says. `cargo test --test oracle -- --ignored`; `ORACLE_CASES=1000` asks
//! for more, `ORACLE_SEED=2` for others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod platforms;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use docker_context::dockerfile::inputs::CopySource;
use docker_context::dockerfile::{BaseConfig, BuildOptions, inputs};
use docker_context::dockerignore::Dockerignore;
use random::{Random, dockerfile, ignore_file};

/// Every file name is there once, so that nothing that is copied hides another.
const FILES: [&str; 27] = [
    "r1.txt",
    "r2.md",
    "ab1",
    "a/a1.txt",
    "a/a2.md",
    "a/b/b1.txt",
    "a/b/b2.md",
    "a/b/c/c1.txt",
    "a/b/c/c2",
    "a/ab/d1",
    "b/e1.txt",
    "b/a/f1.md",
    "b/a/f2.txt",
    "b/b/g1",
    "c/h1",
    "c/b/a/i1.txt",
    "c/b/a/i2.md",
    "aa/j1.txt",
    "aa/b/k1",
    ".hid/l1",
    ".hid/a/m1.txt",
    "sp ace/n1",
    "bin-amd64/o1",
    "linux/amd64",
    "a|b",
    "{a,b}/p1",
    "[c]/q1",
];

/// And links, by where they lead.
const LINKS: [(&str, &str); 5] =
    [("to-a", "a"), ("c/up", "../b/a"), ("rooted", "/a/b/"), ("chain", "to-a/ab"), ("to-file", "./b/e1.txt")];

/// In the base image that some stages are on.
const ENV: [(&str, &str); 2] = [("BASE", "b/a"), ("B", "c")];
const ONBUILD: [&str; 3] = ["COPY $BASE* /on1/", "ARG A=aa", "ADD r1* /on2/"];
/// Its registry is a port where nothing listens, so that BuildKit is not kept waiting.
const IMAGE: &str = "127.0.0.1:1/oracle/base:1";

/// A context, and the engine that is asked about it.
struct Oracle {
    dir: PathBuf,
    exports: Vec<(String, String)>,
    seed: u64,
}

impl Oracle {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("oracle-{name}-{}", std::process::id()));
        for file in FILES {
            let path = dir.join("context").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        for (link, target) in LINKS {
            std::os::unix::fs::symlink(target, dir.join("context").join(link)).unwrap();
        }
        let seed = std::env::var("ORACLE_SEED").map_or(1, |seed| seed.parse().unwrap());
        println!("seed {seed}");
        Self { dir, exports: common::engine().ctx.exports, seed }
    }

    /// The base image, for as long as it is held; there is one of it, whatever the seed.
    fn base(&self) -> Base {
        let env: String = ENV.iter().map(|(name, value)| format!("ENV {name}={value}\n")).collect();
        let onbuild: String = ONBUILD.iter().map(|trigger| format!("ONBUILD {trigger}\n")).collect();
        std::fs::write(self.dir.join("base.Dockerfile"), format!("FROM scratch\nCOPY ab1 /base/\n{env}{onbuild}"))
            .unwrap();
        let built = Command::new("docker")
            .args(["buildx", "build", "--quiet", "--load", "--provenance=false", "--tag", IMAGE, "--file"])
            .arg(self.dir.join("base.Dockerfile"))
            .arg(self.dir.join("context"))
            .envs(self.exports.iter().map(|(k, v)| (k, v)))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Base
    }

    fn random(&self, at: usize) -> Random {
        let seed = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Random(seed ^ (at as u64 + 1).wrapping_mul(0x1234_5678_9ABC_DEF1))
    }

    /// The result's files with what they hold, or BuildKit's error.
    fn build(&self, at: usize, dockerfile: &[u8], ignore: &str) -> Result<BTreeMap<String, String>, String> {
        let file = self.dir.join(format!("{at}.Dockerfile"));
        let out = self.dir.join(format!("{at}.out"));
        std::fs::write(&file, dockerfile).unwrap();
        std::fs::write(self.dir.join(format!("{at}.Dockerfile.dockerignore")), ignore).unwrap();
        // BuildKit's cache takes a copy of an empty stage for one of another's.
        let output = Command::new("docker")
            .args(["buildx", "build", "--quiet", "--no-cache", "--output"])
            .arg(format!("type=local,dest={}", out.display()))
            .arg("--file")
            .arg(&file)
            .args(["--build-context", &format!("base=docker-image://{IMAGE}")])
            .arg(self.dir.join("context"))
            .envs(self.exports.iter().map(|(k, v)| (k, v)))
            // BuildKit has a copy of another folder of that name.
            .env("BUILDX_CONFIG", self.dir.join("buildx"))
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut found = BTreeMap::new();
        contents(&out, &out, &mut found);
        Ok(found)
    }

    /// Asks about `count` cases, some at a time; an answer names what is wrong.
    fn ask(&self, count: usize, case: impl Fn(usize) -> Result<bool, String> + Sync) {
        let count = std::env::var("ORACLE_CASES").map_or(count, |count| count.parse().unwrap());
        let (next, built) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            let mut wrong = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return wrong;
                }
                match case(at) {
                    Ok(was_built) => _ = built.fetch_add(usize::from(was_built), Ordering::Relaxed),
                    Err(what) => wrong.push(what),
                }
            }
        };
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let built = built.into_inner();
        println!("{count} cases, {built} of them built, {} wrong", wrong.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert!(built * 2 > count, "too many cases don't build: they prove little");
    }
}

/// It goes when this does.
struct Base;

impl Drop for Base {
    fn drop(&mut self) {
        common::forget_images(IMAGE);
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn contents(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        // A link in a folder that is copied stays one.
        if path.is_symlink() {
        } else if path.is_dir() {
            contents(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo test --test oracle -- --ignored"]
fn an_ignore_file_leaves_what_buildkit_leaves() {
    let oracle = Oracle::new("ignore");
    oracle.ask(50, |at| {
        let text = ignore_file(&mut oracle.random(at));
        // An empty context has nothing to copy, which is an error of its own.
        let built = oracle.build(at, b"FROM scratch\nCOPY . /\n", &text);
        match (built, Dockerignore::parse(text.as_bytes())) {
            (Ok(found), Ok(ignore)) => {
                // Names alone: below a folder that is left out, this BuildKit
                // delivers some files without their bytes.
                let found: BTreeSet<String> = found.into_keys().collect();
                let left: BTreeSet<String> =
                    FILES.iter().filter(|file| !ignore.excludes(file)).map(|file| file.to_string()).collect();
                if found == left { Ok(true) } else { Err(format!("{text:?}: BuildKit {found:?}, here {left:?}")) }
            }
            (Err(_), Err(_)) => Ok(false),
            // BuildKit does not look at an exception that nothing needs, and never at the end of some.
            (_, Err((_, why))) if text.contains('!') || why.contains("at the end") => Ok(false),
            (built, parsed) => Err(format!("{text:?}: BuildKit {built:?}, here {:?}", parsed.err())),
        }
    });
}

#[test]
#[ignore = "needs a Docker Engine: cargo test --test oracle -- --ignored"]
fn a_target_reads_what_buildkit_reads() {
    let oracle = Oracle::new("inputs");
    let _base = oracle.base();
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let config = BaseConfig { env: ENV.map(pair).to_vec(), onbuild: ONBUILD.map(str::to_owned).to_vec() };
    let bases = BTreeMap::from([("base".to_owned(), config)]);
    oracle.ask(60, |at| {
        let mut random = oracle.random(at);
        let text = dockerfile(&mut random);
        let ignore = if random.below(5) == 0 { random.pick(&["b", "**/*.md", "a/b/c", "*\n!a"]) } else { "" };
        let ignored = Dockerignore::parse(ignore).unwrap();
        let files: Vec<&str> = FILES.into_iter().filter(|file| !ignored.excludes(file)).collect();
        let wrong = |what: String| Err(format!("{at}: {what}\n{ignore:?}\n{}", String::from_utf8_lossy(&text)));
        let given = BuildOptions { platforms: vec!["linux/amd64"], bases: &bases, ..BuildOptions::NOTHING };
        let built = oracle.build(at, &text, ignore);
        let mut inputs = match inputs(&text, None, &given) {
            Ok(inputs) => inputs,
            Err(_) if built.is_err() => return Ok(false),
            Err(error) => return wrong(format!("here: {error}")),
        };
        let links: Vec<(&str, &str)> = LINKS.into_iter().filter(|(link, _)| !ignored.excludes(link)).collect();
        inputs.follow(&links);
        let read: BTreeSet<String> =
            files.iter().filter(|file| inputs.reads(file).is_some()).map(|file| file.to_string()).collect();
        // Each file of the context holds its own path; the base image has one of them.
        let found: BTreeSet<String> = match built {
            Ok(found) => found
                .into_iter()
                .filter(|(path, content)| !path.ends_with("base/ab1") && files.contains(&content.as_str()))
                .map(|(_, content)| content)
                .collect(),
            Err(error) if error.contains(": not found") || error.contains("no such file") => {
                // A link whose target is ignored ends a build wherever it lies.
                let is_there = |source: &CopySource| files.iter().any(|file| source.reads(file));
                let named = !ignore.is_empty() || !inputs.missing(is_there).is_empty() || !inputs.warnings.is_empty();
                return if named { Ok(false) } else { wrong(format!("not seen to be missing: {error}")) };
            }
            // A name that is empty, or that is taken for an image.
            Err(_) => return Ok(false),
        };
        // BuildKit goes through a link once; what else is behind it may be missing in the result.
        let words = String::from_utf8_lossy(&text);
        let linked = words.split_whitespace().filter(|word| {
            ["to-", "c/up", "rooted", "chain", "*"].iter().any(|start| word.trim_matches('"').starts_with(start))
        });
        if inputs.warnings.is_empty() && linked.count() < 2 && found != read {
            return wrong(format!("BuildKit {found:?}, here {read:?}"));
        }
        if !found.is_subset(&read) {
            return wrong(format!("BuildKit {found:?}, here only {read:?}, {:?}", inputs.warnings));
        }
        Ok(true)
    });
}
