//! BuildKit as the oracle: what `.dockerignore` leaves in a context and what a
//! target reads from it, by random files on the real engine, beside what the
//! model says. `cargo test --test oracle -- --ignored`; the seed is fixed, and
//! `ORACLE_CASES=1000` asks for more.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use xtask::model::dockerfile::{Given, inputs};
use xtask::model::dockerignore::Dockerignore;

/// Every file name is there once, so that nothing that is copied hides another.
const FILES: [&str; 22] = [
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
];

/// xorshift: the same cases on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A context, and the engine that is asked about it.
struct Oracle {
    dir: PathBuf,
    exports: Vec<(String, String)>,
}

impl Oracle {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("oracle-{name}-{}", std::process::id()));
        for file in FILES {
            let path = dir.join("context").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        Self { dir, exports: common::engine().ctx.exports }
    }

    /// The result's files with what they hold, or BuildKit's error.
    fn build(&self, at: usize, dockerfile: &str, ignore: &str) -> Result<BTreeMap<String, String>, String> {
        let file = self.dir.join(format!("{at}.Dockerfile"));
        let out = self.dir.join(format!("{at}.out"));
        std::fs::write(&file, dockerfile).unwrap();
        std::fs::write(self.dir.join(format!("{at}.Dockerfile.dockerignore")), ignore).unwrap();
        let output = Command::new("docker")
            .args(["buildx", "build", "--quiet", "--output"])
            .arg(format!("type=local,dest={}", out.display()))
            .arg("--file")
            .arg(&file)
            .arg(self.dir.join("context"))
            .envs(self.exports.iter().map(|(k, v)| (k, v)))
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

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn contents(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
}

fn ignore_file(random: &mut Random) -> String {
    const PARTS: [&str; 24] = [
        "a", "b", "c", "ab", "aa", "*", "*", "**", "**", "?", "a*", "*b", "?b", "[ab]", "[^a]", "*.txt", "*.md",
        "a1.txt", "..", ".", ".hid", "b?.*", "[a-c]1.*", "**a",
    ];
    let mut text = String::new();
    for _ in 0..=random.below(5) {
        text.push_str(random.pick(&["", "", "", "!", "!", "/", "!/", " ", "# ", "! "]));
        for at in 0..=random.below(3) {
            text.push_str(if at == 0 { "" } else { random.pick(&["/", "/", "/", "//", ""]) });
            text.push_str(random.pick(&PARTS));
        }
        text.push_str(random.pick(&["\n", "\n", "\n", "/\n", "\r\n", " \n", "/**\n"]));
    }
    text
}

#[test]
#[ignore = "needs a Docker Engine: cargo test --test oracle -- --ignored"]
fn an_ignore_file_leaves_what_buildkit_leaves() {
    let oracle = Oracle::new("ignore");
    oracle.ask(50, |at| {
        let text =
            ignore_file(&mut Random(0x9E37_79B9_7F4A_7C15 ^ (at as u64 + 1).wrapping_mul(0x1234_5678_9ABC_DEF1)));
        // An empty context has nothing to copy, which is an error of its own.
        let built = oracle.build(at, "FROM scratch\nCOPY . /\n", &text);
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
            (built, parsed) => Err(format!("{text:?}: BuildKit {built:?}, here {:?}", parsed.err())),
        }
    });
}

const SOURCES: [&str; 46] = [
    "a",
    "b",
    "c/b",
    "a/b",
    "./a/",
    "/b/a",
    "a/../b",
    "../c",
    ".",
    "./",
    "*",
    "*.txt",
    "a/*",
    "a/*/*",
    "*/b",
    "**/b",
    "a*",
    "?",
    "[ab]",
    "[^a]*",
    "a/[ab]*",
    "*/[a-c]*.md",
    "r1.txt",
    "a/a1.txt",
    "a/b/c/c2",
    "nothing*",
    "aa/j*",
    ".hid",
    ".h*/a",
    "\"a\"",
    "'b'/a",
    "\\a",
    "$A",
    "${A}",
    "$A/b",
    "${B}/a",
    "${C:-aa}",
    "${C:+x}a",
    "$A*",
    "${E:-c}",
    "${A}${E}",
    "$G",
    "${B:+c/b}",
    "[[]a",
    "missing",
    "a/missing",
];

fn dockerfile(random: &mut Random) -> String {
    let mut text = random.pick(&["ARG G=aa\nARG P=s0\n", "ARG G=\"b\" P='s1'\n", "ARG P=s1 G=${P:+a}\n"]).to_owned();
    let last = random.below(4);
    for stage in 0..=last {
        let base = match random.below(4) {
            0 | 1 if stage > 0 => format!("s{}", random.below(stage)),
            2 if stage > 1 => "$P".into(),
            _ => "scratch".into(),
        };
        text.push_str(&format!("FROM {base} AS s{stage}\n"));
        for step in 0..=random.below(4) {
            text.push_str(&instruction(random, stage, step));
        }
    }
    text
}

fn instruction(random: &mut Random, stage: usize, step: usize) -> String {
    let source = |random: &mut Random| random.pick(&SOURCES);
    let to = format!("/s{stage}-{step}/");
    match random.below(16) {
        0 => random.pick(&["ENV A=a\n", "ENV A=b B=c\n", "ENV A a/b\n", "ENV B=$A\n", "ENV E=\n"]).into(),
        1 => random.pick(&["ARG A=a\n", "ARG A=b B=$A\n", "ARG G\n", "ARG C\n", "ARG B=\"b\"\n"]).into(),
        2 if stage > 0 => format!("COPY --from=s{} / /from{step}/\n", random.below(stage)),
        3 if stage > 0 => format!("COPY --from={} / /from{step}/\n", random.below(stage)),
        4 | 14 => format!("ONBUILD COPY {} {to}\n", source(random)),
        15 => random.pick(&["ONBUILD ARG A=c\n", "ONBUILD ENV B=aa\n"]).into(),
        5 => format!("ADD {} {to}\n", source(random)),
        6 => format!("COPY <<x {} {to}\nCOPY b /no/\nx\n", source(random)),
        7 => format!("COPY [\"{}\", \"{to}\"]\n", random.pick(&["a", "sp ace", "*", "$A", "b/a/f1.md", "[ab]"])),
        8 => format!("COPY --link {} \\\n # a comment\n {} {to}\n", source(random), source(random)),
        _ => format!("COPY {} {} {to}\n", source(random), source(random)),
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo test --test oracle -- --ignored"]
fn a_target_reads_what_buildkit_reads() {
    let oracle = Oracle::new("inputs");
    oracle.ask(60, |at| {
        let mut random = Random(0xD1B5_4A32_D192_ED03 ^ (at as u64 + 1).wrapping_mul(0x1234_5678_9ABC_DEF1));
        let text = dockerfile(&mut random);
        let ignore = if random.below(3) == 0 { random.pick(&["b", "**/*.md", "a/b\n!a/b/c", "*\n!a"]) } else { "" };
        let ignored = Dockerignore::parse(ignore).unwrap();
        let files: Vec<&str> = FILES.into_iter().filter(|file| !ignored.excludes(file)).collect();
        let wrong = |what: String| Err(format!("{what}\n{ignore:?}\n{text}"));
        let inputs = match inputs(text.as_bytes(), None, &Given::NOTHING) {
            Ok(inputs) => inputs,
            Err(error) => return wrong(format!("here: {error}")),
        };
        let read: BTreeSet<String> =
            files.iter().filter(|file| inputs.reads(file).is_some()).map(|file| file.to_string()).collect();
        // Each file of the context holds its own path.
        let found: BTreeSet<String> = match oracle.build(at, &text, ignore) {
            Ok(found) => found.into_values().filter(|content| files.contains(&content.as_str())).collect(),
            Err(error) if error.contains(": not found") || error.contains("no such file") => {
                let named = !inputs.missing(&files).is_empty() || !inputs.warnings.is_empty();
                return if named { Ok(false) } else { wrong(format!("not seen to be missing: {error}")) };
            }
            // A name that is empty, or that is taken for an image.
            Err(_) => return Ok(false),
        };
        if inputs.warnings.is_empty() && found != read {
            return wrong(format!("BuildKit {found:?}, here {read:?}"));
        }
        if !found.is_subset(&read) {
            return wrong(format!("BuildKit {found:?}, here only {read:?}, {:?}", inputs.warnings));
        }
        Ok(true)
    });
}
