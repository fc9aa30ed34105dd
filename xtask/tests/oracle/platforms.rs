//! For which platform a stage is, by what BuildKit calls its steps: `[linux/arm64
//! name 1/2] RUN …`. What is run is this machine's own in every base image, so
//! that nothing needs an emulator.

use std::collections::BTreeSet;
use std::process::Command;

use docker_context::dockerfile::BuildOptions;
use docker_context::dockerfile::platforms::platforms;

use super::Oracle;
use super::random::Random;

/// One image for two platforms.
const IMAGE: &str = "127.0.0.1:1/oracle/platforms:1";
const AMD: &str = "linux/amd64";
const ARM: &str = "linux/arm64";

/// A few stages on each other and on images, in every way that FROM has.
fn dockerfile(random: &mut Random) -> String {
    const FLAGS: [&str; 9] = [
        "",
        "",
        "",
        "--platform=$BUILDPLATFORM ",
        "--platform=${BUILDPLATFORM} ",
        "--platform=$TARGETPLATFORM ",
        "--platform=linux/arm64/v8 ",
        "--platform=linux/$BUILDARCH ",
        "--platform=$PINNED ",
    ];
    let mut text = "ARG PINNED=amd64\n".to_owned();
    let count = 2 + random.below(4);
    for stage in 0..count {
        let base = match random.below(4) {
            0 if stage > 0 => format!("s{}", random.below(stage)),
            1 => "scratch".to_owned(),
            _ => "base".to_owned(),
        };
        text.push_str(&format!("FROM {}{base} AS s{stage}\n", random.pick(&FLAGS)));
        if base == "scratch" {
            text.push_str("COPY true /true\n");
        }
        for _ in 0..random.below(3) {
            // No two the same: a step that is there already has the name of the first.
            match random.below(3) {
                0 if stage > 0 => {
                    text.push_str(&format!("COPY --from=s{} /true /t{}\n", random.below(stage), text.len()));
                }
                _ => text.push_str(&format!("RUN [\"/true\", \"{}\"]\n", text.len())),
            }
        }
        if random.below(4) == 0 {
            text.push_str(&format!("ONBUILD RUN [\"/true\", \"{}\"]\n", text.len()));
        }
    }
    text
}

impl Oracle {
    fn docker(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new("docker");
        let output = command.args(args).envs(self.exports.iter().map(|(k, v)| (k, v))).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(text) } else { Err(text) }
    }

    /// The stages in which BuildKit runs something on another platform, as
    /// `NAME PLATFORM`.
    fn foreign(&self, at: usize, text: &str, platforms: &str) -> Result<BTreeSet<String>, String> {
        let file = self.dir.join(format!("{at}.Dockerfile"));
        std::fs::write(&file, text).unwrap();
        let context = self.dir.join("programs");
        let bound = format!("base=docker-image://{IMAGE}");
        let args = ["buildx", "build", "--no-cache", "--progress=plain", "--output=type=cacheonly", "--platform"];
        let rest = [platforms, "--file", file.to_str().unwrap(), "--build-context", &bound, context.to_str().unwrap()];
        let said = self.docker(&[&args[..], &rest].concat())?;
        // `#7 [linux/amd64->arm64 s1 2/3] RUN …`
        let step = |line: &str| {
            let (head, rest) = line.split_once(" [")?.1.split_once("] ")?;
            let mut words = head.split(' ');
            let platform = words.next()?.split("->").next()?;
            let runs = rest.starts_with("RUN ") || rest.starts_with("ONBUILD RUN ");
            (runs && platform.starts_with("linux/") && platform != AMD)
                .then(|| format!("{} {platform}", words.next().unwrap_or_default()))
        };
        Ok(said.lines().filter_map(step).collect())
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo test --test oracle -- --ignored"]
fn a_step_runs_on_the_platform_that_buildkit_names() {
    let oracle = Oracle::new("platforms");
    let programs = oracle.dir.join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    // A program without libraries: it ends, and that is all.
    std::fs::write(programs.join("true.rs"), "fn main() {}").unwrap();
    let mut rustc = Command::new("rustc");
    let built = rustc.args(["-C", "target-feature=+crt-static", "-o", "true", "true.rs"]).current_dir(&programs);
    assert!(built.status().unwrap().success());
    std::fs::write(programs.join("base.Dockerfile"), "FROM scratch\nCOPY true /true\n").unwrap();
    let dir = programs.to_str().unwrap();
    let file = programs.join("base.Dockerfile");
    let both = format!("{AMD},{ARM}");
    let args = ["buildx", "build", "--load", "--provenance=false", "--platform", &both, "--tag", IMAGE, "--file"];
    oracle.docker(&[&args[..], &[file.to_str().unwrap(), dir]].concat()).unwrap();
    oracle.ask(40, |at| {
        let mut random = oracle.random(at);
        let text = dockerfile(&mut random);
        let found = match oracle.foreign(at, &text, &both) {
            Ok(found) => found,
            // A stage of one platform under two: the same step twice, or nothing to copy.
            Err(said) if said.contains("not found") || said.contains("no such file") => return Ok(false),
            Err(said) => return Err(format!("{at}: {said}\n{text}")),
        };
        let given = BuildOptions { platforms: vec![AMD, ARM], ..BuildOptions::NOTHING };
        let ours = platforms(text.as_bytes(), None, &given, AMD).map_err(|error| error.to_string())?.foreign;
        let ours: BTreeSet<String> = ours.iter().map(|it| format!("{} {}", it.stage, it.platform)).collect();
        // BuildKit gives what has no base no platform in the name of its steps.
        let named = |set: &BTreeSet<String>| -> BTreeSet<String> {
            set.iter().filter(|it| !on_nothing(&text, it.split(' ').next().unwrap_or_default())).cloned().collect()
        };
        match named(&found) == named(&ours) {
            true => Ok(true),
            false => Err(format!("{at}: BuildKit {found:?}, here {ours:?}\n{text}")),
        }
    });
}

/// Whether a stage is built on `scratch` in the end.
fn on_nothing(text: &str, stage: &str) -> bool {
    let from = text.lines().find(|line| line.starts_with("FROM ") && line.ends_with(&format!(" AS {stage}")));
    let words: Vec<&str> = from.unwrap_or_default().split(' ').collect();
    match words.iter().rev().nth(2).copied().unwrap_or_default() {
        "scratch" => true,
        base => base.starts_with('s') && on_nothing(text, base),
    }
}
