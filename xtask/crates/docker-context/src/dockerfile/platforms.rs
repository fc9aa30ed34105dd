//! For which platform each stage is: BuildKit takes what FROM says, else what the
//! stage is built on is for, else what is built for. What a step runs is for that
//! platform, and foreign where the builder is another.

use std::collections::{BTreeSet, HashMap};

use super::graph::{Graph, Origin, Stage};
use super::instruction::InstructionKind;

use super::stages::shortened;
use super::variables::Budget;
use super::{BuildOptions, DockerfileError, ParsedDockerfile};

/// What a target needs of platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platforms {
    /// The images that it is made from, in order, each with what they are needed for.
    pub images: Vec<(String, Vec<String>)>,
    /// The first step of each stage that runs something foreign.
    pub foreign: Vec<Foreign>,
}

/// A step that needs an emulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The stage, by its name or its number.
    pub stage: String,
    /// The line, from 1.
    pub line: usize,
    /// The instruction, shortened.
    pub instruction: String,
    /// What it runs on.
    pub platform: String,
}

/// For which platforms `target` needs what, on a builder of this platform. A
/// variable without a value stands for the platform that is built for.
///
/// # Errors
///
/// If BuildKit would refuse the Dockerfile, or if it has no such target.
pub fn platforms(
    text: &[u8],
    target: Option<&str>,
    given: &BuildOptions<'_>,
    builder: &str,
) -> Result<Platforms, DockerfileError> {
    let mut given = given.clone();
    given.builder = Some(builder);
    if given.platforms.is_empty() {
        given.platforms.push(builder);
    }
    let mut found = Platforms::default();
    ParsedDockerfile::new(text, &given).for_each_platform(target, |graph, reached, platform, budget| {
        found.add(graph, reached, platform.unwrap_or(builder), builder, budget);
        Ok(())
    })?;
    found.foreign.sort_by_key(|it| it.line);
    Ok(found)
}

impl Platforms {
    fn add(&mut self, graph: &Graph, reached: &BTreeSet<usize>, target: &str, builder: &str, budget: &Budget) {
        let mut stages: HashMap<usize, String> = HashMap::new();
        for at in reached {
            let stage = &graph.stages[*at];
            let platform = match &stage.base.origin {
                // The flag is passed over there, and so it is with nothing below.
                Origin::Stage(below) => stages.get(below).cloned(),
                Origin::Image(image) if image == "scratch" => None,
                _ => flag(graph, stage, builder, budget),
            };
            let platform = platform.unwrap_or_else(|| target.to_owned());
            for it in stage.origins() {
                let Origin::Image(image) = &it.origin else { continue };
                // What a stage only takes from has no FROM that could say something.
                self.image(image, if std::ptr::eq(it, &stage.base) { &platform } else { target });
            }
            let first = stage.steps.iter().find(|step| matches!(step.kind, InstructionKind::Run(_)));
            if let Some(step) = first.filter(|_| platform != builder) {
                let foreign = Foreign {
                    stage: stage.name.clone().unwrap_or_else(|| at.to_string()),
                    line: step.line,
                    instruction: shortened(&step.text),
                    platform: platform.clone(),
                };
                if !self.foreign.contains(&foreign) {
                    self.foreign.push(foreign);
                }
            }
            stages.insert(*at, platform);
        }
    }

    fn image(&mut self, image: &str, platform: &str) {
        if image == "scratch" {
            return;
        }
        let at = self.images.iter().position(|(known, _)| known == image).unwrap_or_else(|| {
            self.images.push((image.to_owned(), Vec::new()));
            self.images.len() - 1
        });
        let platforms = &mut self.images[at].1;
        if !platforms.iter().any(|known| known == platform) {
            platforms.push(platform.to_owned());
        }
    }
}

/// What FROM says, if it says anything that has a value here.
fn flag(graph: &Graph, stage: &Stage, builder: &str, budget: &Budget) -> Option<String> {
    let word = stage.flags.iter().rev().find_map(|flag| flag.strip_prefix("--platform="))?;
    let value = graph.meta_args.expand(word, budget).ok().filter(|value| !value.is_empty())?;
    Some(normal(&value, builder))
}

/// A platform as BuildKit writes it itself.
fn normal(text: &str, builder: &str) -> String {
    let text = text.to_lowercase();
    let mut parts: Vec<&str> = text.split('/').collect();
    if let [one] = parts[..] {
        // One word is a system or an architecture.
        parts = match one {
            "linux" | "windows" | "darwin" | "freebsd" => [one].into_iter().chain(builder.split('/').skip(1)).collect(),
            _ => vec!["linux", one],
        };
    }
    let [system, architecture, variant @ ..] = parts.as_slice() else { return text };
    let (architecture, variant) = match (*architecture, variant.first().copied().unwrap_or_default()) {
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", String::new()),
        ("aarch64" | "arm64", other) => ("arm64", other.to_owned()),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", String::new()),
        ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other.to_owned()),
        ("i386", _) => ("386", String::new()),
        ("armhf", _) | ("arm", "" | "7" | "v7") => ("arm", "v7".to_owned()),
        ("armel", _) | ("arm", "6" | "v6") => ("arm", "v6".to_owned()),
        ("arm", "5" | "8") => ("arm", format!("v{}", variant[0])),
        (other, variant) => (other, variant.to_owned()),
    };
    let end = if variant.is_empty() { variant } else { format!("/{variant}") };
    format!("{system}/{architecture}{end}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dockerfile::BaseConfig;

    const TEXT: &str = "ARG OTHER=linux/arm64/v8\nARG NONE\n\
        FROM --platform=$BUILDPLATFORM python AS tools\nRUN here\n\
        FROM tools AS more\nRUN here\nRUN again\n\
        FROM --platform=$BUILDPLATFORM python AS unused\nRUN here\n\
        FROM python AS base\nENV A=b\n\
        FROM base AS copies\nCOPY --from=more /a /a\nCOPY --from=uv /uv /uv\n\
        FROM base AS runs\nENV B=c\nRUN there\nRUN once more\n\
        FROM --platform=$BUILDPLATFORM base AS flagged\nRUN --mount=from=tools,target=/x there\n\
        FROM --platform=$BUILDPLATFORM scratch AS nothing\nCOPY --from=tools /x /x\nRUN there\n\
        FROM --platform=${OTHER} node AS pinned\nRUN pinned\n\
        FROM --platform=$NONE node AS empty\nRUN there\n\
        FROM pinned AS all\nCOPY --from=runs / /\nCOPY --from=copies / /\n";

    fn of(target: &str, built: &[&str], builder: &str) -> Platforms {
        let given = BuildOptions { platforms: built.to_vec(), ..BuildOptions::NOTHING };
        platforms(TEXT.as_bytes(), Some(target), &given, builder).unwrap()
    }

    fn foreign(target: &str, platforms: &[&str], builder: &str) -> Vec<String> {
        let line = |it: Foreign| format!("{}:{} {} {}", it.stage, it.line, it.platform, it.instruction);
        of(target, platforms, builder).foreign.into_iter().map(line).collect()
    }

    #[test]
    fn a_step_is_foreign_where_its_stage_is_for_another_platform_than_the_builder() {
        const AMD: &str = "linux/amd64";
        const ARM: &str = "linux/arm64";
        for (target, expected) in [
            ("tools", &[][..]),
            ("more", &[]),
            ("base", &[]),
            ("copies", &[]),
            ("runs", &["runs:17 linux/arm64 RUN there"]),
            // BuildKit passes over the flag of a stage on a stage, and on nothing.
            ("flagged", &["flagged:20 linux/arm64 RUN --mount=from=tools,target=/x there"]),
            ("nothing", &["nothing:23 linux/arm64 RUN there"]),
            ("pinned", &["pinned:25 linux/arm64 RUN pinned"]),
            ("empty", &["empty:27 linux/arm64 RUN there"]),
            ("all", &["runs:17 linux/arm64 RUN there", "pinned:25 linux/arm64 RUN pinned"]),
        ] {
            assert_eq!(foreign(target, &[ARM], AMD), expected, "{target}");
            assert_eq!(foreign(target, &[AMD, ARM], AMD), expected, "{target}");
            // On a builder of the other platform the same target runs all by itself.
            let own = foreign(target, &[ARM], ARM);
            assert!(own.is_empty(), "{target}: {own:?}");
            // What is pinned is foreign whatever is built for.
            let pinned = foreign(target, &[], AMD);
            let expected: Vec<&str> = expected.iter().filter(|it| it.starts_with("pinned")).copied().collect();
            assert_eq!(pinned, expected, "{target}");
        }
    }

    #[test]
    fn each_platform_that_is_built_for_has_its_own_steps() {
        let both = foreign("runs", &["linux/arm64", "linux/riscv64"], "linux/amd64");
        assert_eq!(both, ["runs:17 linux/arm64 RUN there", "runs:17 linux/riscv64 RUN there"]);
    }

    #[test]
    fn an_image_is_needed_for_the_platforms_of_the_stages_on_it() {
        let images = |target: &str, platforms: &[&str]| -> Vec<String> {
            let images = of(target, platforms, "linux/amd64").images;
            images.into_iter().map(|(image, platforms)| format!("{image} {}", platforms.join(","))).collect()
        };
        assert_eq!(images("tools", &["linux/arm64"]), ["python linux/amd64"]);
        assert_eq!(images("copies", &["linux/arm64"]), ["python linux/amd64,linux/arm64", "uv linux/arm64"]);
        assert_eq!(
            images("copies", &["linux/amd64", "linux/arm64"]),
            ["python linux/amd64,linux/arm64", "uv linux/amd64,linux/arm64"]
        );
        assert_eq!(images("pinned", &[]), ["node linux/arm64"]);
        assert!(images("nothing", &[]) == ["python linux/amd64"], "nothing is no image");
    }

    #[test]
    fn a_trigger_that_runs_something_counts() {
        let bases = BTreeMap::from([("b".to_owned(), BaseConfig { env: vec![], onbuild: vec!["RUN trigger".into()] })]);
        let given = BuildOptions { platforms: vec!["linux/arm64"], bases: &bases, ..BuildOptions::NOTHING };
        let found = |text: &str| platforms(text.as_bytes(), None, &given, "linux/amd64").unwrap().foreign;
        let of_base = found("FROM scratch AS x\n\nFROM b\n");
        assert!(
            matches!(of_base.as_slice(), [it] if it.line == 3 && it.stage == "1" && it.instruction == "ONBUILD RUN trigger")
        );
        assert_eq!(found("FROM --platform=$BUILDPLATFORM b\n"), []);
        assert_eq!(found("FROM c AS below\nONBUILD RUN x\n"), []);
        assert!(matches!(found("FROM c AS below\nONBUILD RUN x\nFROM below\n").as_slice(), [it] if it.line == 2));
    }

    #[test]
    fn the_builders_own_platform_is_a_variable_and_an_argument_wins() {
        let text = b"FROM a AS on-amd64\nFROM b AS on-arm64\nRUN x\nFROM on-$BUILDARCH\n";
        let images = |given: &BuildOptions<'_>| platforms(text, None, given, "linux/amd64").unwrap().images;
        assert_eq!(images(&BuildOptions::NOTHING), [("a".to_owned(), vec!["linux/amd64".to_owned()])]);
        let args = BTreeMap::from([("BUILDARCH".to_owned(), "arm64".to_owned())]);
        assert_eq!(images(&BuildOptions { build_args: &args, ..BuildOptions::NOTHING })[0].0, "b");
    }

    #[test]
    fn a_platform_has_one_name() {
        for (text, expected) in [
            ("linux/arm64/v8", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/x86_64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux", "linux/riscv64"),
            ("windows", "windows/riscv64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/arm/8", "linux/arm/v8"),
            ("armel", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("i386", "linux/386"),
            ("linux/s390x", "linux/s390x"),
            ("linux/mips/x", "linux/mips/x"),
        ] {
            assert_eq!(normal(text, "linux/riscv64"), expected, "{text}");
        }
    }
}
