//! Compares docs/json.md with the types: for each object there is an example, as
//! the guide shows it. Struct literals need every field, so a field that is
//! added, removed or renamed either is in the guide or makes this fail.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ci::*;
use super::docker::*;
use super::signature::VerifiedObject;
use super::*;
use crate::fault::{ErrorReport, Failure, Location};
use crate::model::diagnostic::Diagnostic;
use crate::model::verdict::{JobResult, JobVerdict};

/// An object: its heading in the guide, its type, and an example.
struct Example(&'static str, String, Value);

fn example<T: Object>(heading: &'static str, object: &T) -> Example {
    let name = std::any::type_name::<T>().split('<').next().unwrap_or_default();
    let name = name.rsplit("::").next().unwrap_or_default();
    Example(heading, name.to_owned(), serde_json::to_value(object).unwrap())
}

/// Every value of an enum, from a function that must match each of them.
fn all<T: Copy>(next: impl Fn(Option<T>) -> Option<T>) -> Vec<T> {
    std::iter::successors(next(None), |one| next(Some(*one))).collect()
}

fn checked() -> Vec<Checked> {
    all(|one| match one {
        None => Some(Checked::Size),
        Some(Checked::Size) => Some(Checked::Start),
        Some(Checked::Start) => Some(Checked::Ready),
        Some(Checked::Ready) => Some(Checked::Health),
        Some(Checked::Health) => Some(Checked::NamesMissing),
        Some(Checked::NamesMissing) => Some(Checked::NotRoot),
        Some(Checked::NotRoot) => Some(Checked::ReadOnly),
        Some(Checked::ReadOnly) => Some(Checked::Stops),
        Some(Checked::Stops) => None,
    })
}

fn servers() -> Vec<Servers> {
    all(|one| match one {
        None => Some(Servers::Nothing),
        Some(Servers::Nothing) => Some(Servers::Needs),
        Some(Servers::Needs) => Some(Servers::NoNeeds),
        Some(Servers::NoNeeds) => None,
    })
}

fn kinds() -> Vec<CleanKind> {
    all(|one| match one {
        None => Some(CleanKind::Container),
        Some(CleanKind::Container) => Some(CleanKind::Network),
        Some(CleanKind::Network) => Some(CleanKind::Image),
        Some(CleanKind::Image) => Some(CleanKind::Cache),
        Some(CleanKind::Cache) => None,
    })
}

fn outcomes() -> Vec<BuildOutcome> {
    all(|one| match one {
        None => Some(BuildOutcome::Built),
        Some(BuildOutcome::Built) => Some(BuildOutcome::UpToDate),
        Some(BuildOutcome::UpToDate) => Some(BuildOutcome::Promoted),
        Some(BuildOutcome::Promoted) => Some(BuildOutcome::Failed),
        Some(BuildOutcome::Failed) => None,
    })
}

fn units() -> Vec<Unit> {
    all(|one| match one {
        None => Some(Unit::Seconds),
        Some(Unit::Seconds) => Some(Unit::Bytes),
        Some(Unit::Bytes) => None,
    })
}

fn image() -> ImageObject {
    ImageObject {
        service: "web".into(),
        image: "infinite-scribe-web".into(),
        tags: vec!["infinite-scribe-web:local".into()],
        digest: Some("sha256:df31…".into()),
        platforms: vec!["linux/amd64".parse().unwrap()],
        size_bytes: Some(46_501_291),
        seconds: 4.213,
        outcome: BuildOutcome::Built,
        fingerprint: Some("zyxwvutsrqponmlkzyxwvutsrqponmlk".into()),
        warnings: vec!["the layer cache of `web` was not kept: …".into()],
        test: Some(proved_of(Some("linux/amd64"))),
        not_proved: vec![NotProved { platform: "linux/arm64".into(), why: "this machine does not run it".into() }],
    }
}

fn proved() -> Proved {
    proved_of(None)
}

fn proved_of(platform: Option<&str>) -> Proved {
    let check = Check {
        name: CheckName { what: Checked::Health, servers: Servers::NoNeeds },
        passed: false,
        detail: "expected 503 from /health, got 200 ok".into(),
    };
    let proof = Proof {
        service: "web".into(),
        role: None,
        platform: platform.map(str::to_owned),
        checks: vec![check],
        seconds_to_ready: Some(0.342),
        passed: false,
        log: String::new(),
    };
    Proved { passed: false, results: vec![proof] }
}

fn clean_item(kind: CleanKind, why: Option<&str>) -> CleanItem {
    CleanItem { kind, id: "7719…".into(), name: "web".into(), bytes: 4096, why: why.map(str::to_owned) }
}

fn planned() -> ServicePlan<'static> {
    let planning = |name, affected, reason| Planning { name, affected, reason, fingerprint: None, explain: None };
    let (path, pattern, line) = ("apps/web/README.md", "!**/*.md", 12);
    let hit = HitObject { pattern: "apps/web/**", line: 11, files: vec!["apps/web/src/a.ts"] };
    let reason = ReasonObject::Path { path: "apps/web/src/a.ts", pattern: "apps/web/**", line: 11 };
    ServicePlan {
        base: Some("8fef1d8…"),
        head: None,
        services: vec![
            Planning {
                name: "web",
                affected: true,
                reason,
                fingerprint: Some("zyxwvutsrqponmlkzyxwvutsrqponmlk".into()),
                explain: Some(vec![hit]),
            },
            planning("a", true, ReasonObject::Rule { path: ".github/workflows/a.yml", cause: "the workflow of `a`" }),
            planning("b", true, ReasonObject::Everything { path: None, cause: "started by hand" }),
            planning(
                "c",
                true,
                ReasonObject::Everything { path: Some("services.toml"), cause: "it can't be compared" },
            ),
            planning("d", false, ReasonObject::Nothing { cause: "3 files against 4 patterns".into(), left_out: None }),
            planning(
                "e",
                false,
                ReasonObject::Nothing {
                    cause: "3 files against 4 patterns; … is left out by …".into(),
                    left_out: Some(LeftOut { path, pattern, line }),
                },
            ),
        ],
        matrix: Matrix {
            include: vec![MatrixRow {
                service: "web",
                image: "infinite-scribe-web",
                target: Some("web"),
                dockerfile: "Dockerfile",
                context: ".",
                platforms: "linux/amd64,linux/arm64".into(),
            }],
        },
    }
}

fn status() -> Status {
    Status {
        running: true,
        installed: true,
        folder: "/home/you/.local/share/xtask-engine".into(),
        socket: "/home/you/.local/share/xtask-engine/docker.sock".into(),
        pid: Some(1117),
        packages: vec!["docker.io 26.1.5+…".into()],
        range: Some("10.239.0.0/16".into()),
        connected: true,
        bytes: 264_000_000,
    }
}

fn examples() -> Vec<Example> {
    let failed = OneOfAll::Failed {
        service: "backend".into(),
        outcome: BuildOutcome::Failed,
        error: "the build of `backend` failed: …".into(),
    };
    let up_to_date = ImageObject {
        outcome: BuildOutcome::UpToDate,
        warnings: Vec::new(),
        test: None,
        not_proved: Vec::new(),
        ..image()
    };
    let figure = |name: &str, raw, ratio, unit| Figure { name: name.into(), ours: 0.052, raw, ratio, unit };
    vec![
        example("docker SERVICE", &image()),
        example(
            "docker all",
            &Images { results: vec![failed, OneOfAll::Image(Box::new(up_to_date))], test: Some(proved()) },
        ),
        example("docker test", &proved()),
        example(
            "docker clean",
            &Cleaned {
                removed: kinds().into_iter().map(|kind| clean_item(kind, None)).collect(),
                left: vec![clean_item(CleanKind::Image, Some("demo-x uses it"))],
                freed_bytes: 16_384,
            },
        ),
        example(
            "docker up",
            &Up {
                addresses: BTreeMap::from([("web".into(), "http://127.0.0.1:32768".into())]),
                credentials: Some("/home/you/.cache/…/up-….env".into()),
            },
        ),
        example("docker down", &Down { removed: 14 }),
        example(
            "docker verify",
            &VerifiedObject {
                image: "ghcr.io/infinite-scribe/infinite-scribe-web:latest".into(),
                digest: "sha256:df31…".into(),
                verified: false,
                signatures: 0,
                key: Some("cosign.pub".into()),
                identity: Some("https://github.com/…".into()),
                issuer: Some("https://token.actions.githubusercontent.com".into()),
                why: Some("there is an attestation (https://spdx.dev/Document) and no signature".into()),
            },
        ),
        example("ci plan", &planned()),
        example(
            "ci check",
            &Findings {
                findings: vec![Diagnostic {
                    file: Some("services.toml".into()),
                    line: Some(12),
                    column: None,
                    message: "`apps/x/**` includes no file".into(),
                    help: Some("remove the pattern".into()),
                }],
            },
        ),
        example(
            "ci sync",
            &Synced {
                written: vec![".github/workflows/web.yml".into()],
                removed: vec![".github/workflows/gone.yml".into()],
            },
        ),
        example(
            "ci verdict",
            &Judged {
                passed: true,
                jobs: vec![JobVerdict {
                    job: "build".into(),
                    result: JobResult::Skipped,
                    right: true,
                    why: "the plan: not affected",
                }],
            },
        ),
        example("ci install", &Installed { installed: "/home/you/.cargo/bin/cargo-built".into() }),
        example(
            "setup",
            &Setup {
                ready: false,
                items: vec![SetupItem {
                    name: "buildx".into(),
                    found: false,
                    version: Some("no plugin of docker".into()),
                    place: None,
                    needed: true,
                    fix: Some("cargo xtask setup --yes".into()),
                }],
            },
        ),
        example("engine up", &EngineUp { started: true, engine: status() }),
        example("engine down", &EngineDown { purged: true, freed_bytes: 264_000_000 }),
        example("engine status", &Engines { used: Some("unix:///var/run/docker.sock".into()), private: status() }),
        example("engine env", &EngineEnv { export: "export DOCKER_HOST=unix:///…".into() }),
        example("test", &Tested { passed: 84, failed: 1, parts_failed: vec!["backend".into()] }),
        example("lint", &Linted { passed: true }),
        example(
            "bench",
            &Benched {
                runs: 5,
                figures: vec![
                    figure("web: nothing changed", Some(0.73), Some(0.07), Unit::Seconds),
                    figure("web: pushed after one changed line", None, None, Unit::Bytes),
                ],
            },
        ),
        example("--dry-run", &PlanObject { plan: vec!["docker buildx build …".into()] }),
        example(
            "Errors",
            &ErrorReport {
                error: Failure {
                    message: "services.toml:3: unknown field `nope`".into(),
                    because: Vec::new(),
                    place: Some(Location { file: "services.toml".into(), line: Some(3), column: Some(1) }),
                    help: Some("docs/services-toml.md has all keys".into()),
                    exit_code: 2,
                },
            },
        ),
    ]
}

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The JSON below each heading of the guide.
fn documented() -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(root().join("docs/json.md")).unwrap();
    let sections = text.split("\n## ").skip(1);
    let block = |section: &str| -> Option<Value> {
        let json = section.split("```json\n").nth(1)?.split("```").next()?;
        Some(serde_json::from_str(json).unwrap_or_else(|why| panic!("{why}: {json}")))
    };
    let heading = |section: &str| section.lines().next().unwrap_or_default().replace('`', "");
    sections.filter_map(|section| Some((heading(section), block(section)?))).collect()
}

#[test]
fn the_guide_shows_every_object_field_by_field() {
    let mut documented = documented();
    let mut wrong = Vec::new();
    for Example(heading, _, value) in examples() {
        if documented.remove(heading).as_ref() != Some(&value) {
            wrong.push(format!("`{heading}` is not:\n{}", serde_json::to_string_pretty(&value).unwrap()));
        }
    }
    wrong.extend(documented.keys().map(|heading| format!("`{heading}` is the object of nothing")));
    assert!(wrong.is_empty(), "docs/json.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_object_has_its_example() {
    let mut types = BTreeSet::new();
    let mut folders = vec![root().join("xtask/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let names = text.lines().filter_map(|line| line.strip_prefix("impl Object for "));
            types.extend(
                names.map(|rest| rest.split([' ', '<']).next().unwrap().trim_start_matches("fault::").to_owned()),
            );
        }
    }
    let shown: BTreeSet<String> = examples().into_iter().map(|Example(_, name, _)| name).collect();
    assert_eq!(shown, types);
}

#[test]
fn the_guide_names_every_word_that_a_field_may_be() {
    let text = std::fs::read_to_string(root().join("docs/json.md")).unwrap();
    let json = |value: Value| value.as_str().unwrap().to_owned();
    let mut words: Vec<String> = Vec::new();
    words.extend(outcomes().into_iter().map(|it| json(serde_json::to_value(it).unwrap())));
    words.extend(kinds().into_iter().map(|it| json(serde_json::to_value(it).unwrap())));
    words.extend(units().into_iter().map(|it| json(serde_json::to_value(it).unwrap())));
    words.extend(checked().into_iter().map(|what| CheckName { what, servers: Servers::Nothing }.to_string()));
    for word in words {
        assert!(text.contains(&format!("`{word}`")), "docs/json.md does not say `{word}`");
    }
    for servers in servers() {
        let end = CheckName { what: Checked::Stops, servers }.to_string();
        assert!(text.contains(end.trim_start_matches("stops")), "{end}");
    }
}

#[test]
fn people_and_programs_read_the_same_words() {
    for outcome in outcomes() {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.to_string());
    }
    for kind in kinds() {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
    }
}
