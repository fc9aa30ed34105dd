//! services.toml: read as it stands, then checked; only the checked form is
//! public, so whoever holds a [`Project`] holds a right one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use toml::Spanned;

use crate::fault::{self, Fault};
use crate::model::age::Age;
use crate::model::bytes::Bytes;
use crate::model::ci::{self, Ci, WorkflowName};
use crate::model::glob;
use crate::model::pattern::{PathFilter, Pattern};
use crate::model::place::Place;
use crate::model::platform::Platform;
use crate::model::reference::{Image, Name, Registry};

/// The file's name.
pub const FILE: &str = "services.toml";

/// Words that are already verbs of `cargo xtask docker`.
pub const RESERVED: [&str; 6] = ["all", "clean", "down", "help", "test", "up"];

/// A whole, right services.toml.
#[derive(Clone, Debug)]
pub struct Project {
    /// Prefix of labels and containers.
    pub name: String,
    /// The registry's host, such as `ghcr.io`.
    pub registry: Registry,
    /// The owner below the registry.
    pub owner: String,
    /// The branch that releases come from.
    pub default_branch: String,
    /// How long a base image that is named by a tag alone is taken to be what
    /// it was, before a build asks its registry again.
    pub trust_bases: Age,
    /// What the workflows are made of, where they are ours to make.
    pub ci: Option<Ci>,
    /// What services can need, by name.
    pub needs: BTreeMap<String, Need>,
    /// The services, by name.
    pub services: BTreeMap<String, Service>,
}

/// One image.
#[derive(Clone, Debug)]
pub struct Service {
    /// The subcommand of `docker`.
    pub name: String,
    /// For people and for the image's title label.
    pub title: String,
    /// The image's name, without registry and tag.
    pub image: Name,
    /// The Dockerfile, from the root.
    pub dockerfile: Utf8PathBuf,
    /// The stage; none is the last.
    pub target: Option<String>,
    /// The line that names it.
    pub target_line: Option<usize>,
    /// The build context, from the root.
    pub context: Utf8PathBuf,
    /// What the image is built from.
    pub paths: PathFilter,
    /// The line in services.toml of each of these patterns.
    pub path_lines: Vec<usize>,
    /// What CI publishes.
    pub platforms: Vec<Platform>,
    /// The name of its workflow.
    pub workflow: String,
    /// The largest uncompressed size that is still right.
    pub size_budget: Option<Bytes>,
    /// How `docker test` proves the image.
    pub run: Option<Run>,
    /// How the application's own tests run.
    pub test: Option<Test>,
}

/// How a container of the image is proved.
#[derive(Clone, Debug)]
pub struct Run {
    /// The port it listens on.
    pub port: u16,
    /// The path that answers 200 when all is well.
    pub health: String,
    /// The first argument of the container; none: it takes no argument.
    pub roles: Vec<String>,
    /// What it needs to be healthy, names of `[needs.*]`.
    pub needs: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its environment in `docker up` only: how it finds other services.
    pub up_env: BTreeMap<String, String>,
    /// Variables that `docker up` passes on from its own environment.
    pub pass_env: Vec<String>,
    /// How long it may take to answer.
    pub ready_seconds: u64,
}

/// A stage whose command runs the application's tests.
#[derive(Clone, Debug)]
pub struct Test {
    /// The stage.
    pub target: String,
    /// What runs beside it.
    pub needs: Vec<String>,
    /// The part of `cargo xtask test` that runs it.
    pub part: String,
}

/// A server that services need, run beside them.
#[derive(Clone, Debug)]
pub struct Need {
    /// Its image.
    pub image: Image,
    /// Its port.
    pub port: u16,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// The command that succeeds in its container as soon as it serves.
    pub ready: Vec<String>,
    /// What services get to find it.
    pub provides: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawFile {
    project: RawProject,
    ci: Option<Ci>,
    #[serde(default)]
    needs: BTreeMap<String, RawNeed>,
    services: BTreeMap<Spanned<String>, RawService>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawProject {
    name: Spanned<String>,
    registry: Spanned<String>,
    owner: Spanned<String>,
    #[serde(default = "main_branch")]
    default_branch: String,
    trust_bases: Option<Spanned<String>>,
}

fn main_branch() -> String {
    "main".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNeed {
    image: Spanned<String>,
    port: u16,
    #[serde(default)]
    env: BTreeMap<String, String>,
    ready: Spanned<Vec<String>>,
    #[serde(default)]
    provides: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawService {
    title: Option<String>,
    image: Spanned<String>,
    dockerfile: Option<Spanned<String>>,
    target: Option<Spanned<String>>,
    context: Option<Spanned<String>>,
    paths: Spanned<Vec<Spanned<String>>>,
    platforms: Option<Vec<Spanned<String>>>,
    workflow: Option<Spanned<String>>,
    size_budget: Option<Spanned<String>>,
    run: Option<RawRun>,
    test: Option<RawTest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRun {
    port: u16,
    health: Spanned<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    up_env: BTreeMap<String, String>,
    #[serde(default)]
    pass_env: Vec<String>,
    #[serde(default = "half_a_minute")]
    ready_seconds: u64,
}

fn half_a_minute() -> u64 {
    30
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTest {
    target: String,
    part: Option<String>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
}

impl Project {
    /// Reads and checks a file's text; `file` names it in errors.
    pub fn parse(file: &Utf8Path, text: &str) -> Result<Self, Fault> {
        let at = Place { file, text };
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            at.fault(offset, error.message().trim())
        })?;
        let checked = Checker { at, needs: raw.needs.keys().cloned().collect() };
        checked.project(raw)
    }

    /// A service by name, or the fault that lists and suggests.
    pub fn service(&self, name: &str) -> Result<&Service, Fault> {
        self.services.get(name).ok_or_else(|| {
            let names = self.services.keys().map(String::as_str).collect::<Vec<_>>();
            fault::usage(format!("no service `{name}` in {FILE}"))
                .help(format!("the services are: {}", names.join(", ")))
        })
    }

    /// The services of these names, or all of them.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Service>, Fault> {
        if names.is_empty() {
            Ok(self.services.values().collect())
        } else {
            names.iter().map(|name| self.service(name)).collect()
        }
    }

    /// The key of a label of ours.
    pub fn label(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// Where pushed images go when nobody says otherwise.
    pub fn published(&self, owner: Option<&str>) -> Result<Registry, Fault> {
        let owner = owner.unwrap_or(&self.owner).to_ascii_lowercase();
        format!("{}/{owner}", self.registry).parse().map_err(fault::usage)
    }
}

struct Checker<'a> {
    at: Place<'a>,
    needs: BTreeSet<String>,
}

impl Checker<'_> {
    fn project(&self, raw: RawFile) -> Result<Project, Fault> {
        let at = self.at;
        let RawFile { project, ci, needs, services } = raw;
        let name: Name = at.read("project.name", &project.name)?;
        let owner: Name = at.read("project.owner", &project.owner)?;
        if services.is_empty() {
            return Err(at.fault(0, "no service; write at least one `[services.NAME]` table"));
        }
        let mut images: BTreeMap<String, String> = BTreeMap::new();
        let mut checked = BTreeMap::new();
        for (key, service) in services {
            let offset = key.span().start;
            let key = key.into_inner();
            if let Some(other) = images.insert(service.image.get_ref().clone(), key.clone()) {
                let message =
                    format!("`services.{key}.image`: `{}` is the image of `{other}` already", service.image.get_ref());
                return Err(at.fault(service.image.span().start, message));
            }
            checked.insert(key.clone(), self.service(key, offset, service)?);
        }
        ci::no_two_share_a_workflow(&checked)?;
        Ok(Project {
            name: name.to_string(),
            registry: at.read("project.registry", &project.registry)?,
            owner: owner.to_string(),
            default_branch: project.default_branch,
            trust_bases: match project.trust_bases {
                Some(text) => at.read("project.trust-bases", &text)?,
                None => Age(Duration::from_secs(24 * 3600)),
            },
            ci,
            needs: needs.into_iter().map(|(name, need)| self.need(name, need)).collect::<Result<_, Fault>>()?,
            services: checked,
        })
    }

    fn need(&self, name: String, raw: RawNeed) -> Result<(String, Need), Fault> {
        let RawNeed { image, port, env, ready, provides } = raw;
        if ready.get_ref().is_empty() {
            return Err(self
                .at
                .fault(ready.span().start, "`ready`: expected a command, such as [\"redis-cli\", \"ping\"]"));
        }
        let image = self.at.read(&format!("needs.{name}.image"), &image)?;
        Ok((name, Need { image, port, env, ready: ready.into_inner(), provides }))
    }

    fn service(&self, name: String, offset: usize, raw: RawService) -> Result<Service, Fault> {
        let at = self.at;
        let RawService {
            title,
            image,
            dockerfile,
            target,
            context,
            paths,
            platforms,
            workflow,
            size_budget,
            run,
            test,
        } = raw;
        if RESERVED.contains(&name.as_str()) {
            return Err(at.fault(
                offset,
                format!("`services.{name}`: `docker {name}` is a command already; choose another name"),
            ));
        }
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_word) {
            return Err(at.fault(
                offset,
                format!("`services.{name}`: expected lower-case letters, digits and `-`, starting with a letter"),
            ));
        }
        let key = |field: &str| format!("services.{name}.{field}");
        let path = |field: &str, text: Option<Spanned<String>>, default: &str| match text {
            None => Ok(Utf8PathBuf::from(default)),
            Some(text) if is_inside(text.get_ref()) => Ok(glob::clean(text.get_ref()).into()),
            Some(text) => Err(
                at.fault(text.span().start, format!("`{}`: expected a path below the root, without `..`", key(field)))
            ),
        };
        let path_lines = paths.get_ref().iter().map(|text| at.line(text.span().start)).collect();
        Ok(Service {
            title: title.unwrap_or_else(|| name.clone()),
            image: at.read(&key("image"), &image)?,
            dockerfile: path("dockerfile", dockerfile, "Dockerfile")?,
            target_line: target.as_ref().map(|target| at.line(target.span().start)),
            target: target.map(Spanned::into_inner),
            context: path("context", context, ".")?,
            paths: self.filter(&key("paths"), paths)?,
            path_lines,
            platforms: match platforms {
                None => vec![Platform::of_this_machine()],
                Some(list) => list.iter().map(|text| at.read(&key("platforms"), text)).collect::<Result<_, _>>()?,
            },
            size_budget: size_budget.map(|text| at.read(&key("size-budget"), &text)).transpose()?,
            run: run.map(|run| self.run(&key("run"), run)).transpose()?,
            test: test
                .map(|RawTest { target, part, needs }| {
                    let part = part.unwrap_or_else(|| name.clone());
                    Ok::<_, Fault>(Test { target, part, needs: self.needs(&key("test.needs"), needs)? })
                })
                .transpose()?,
            workflow: match workflow {
                Some(text) => at.read::<WorkflowName>(&key("workflow"), &text)?.0,
                None => format!("{name}-docker-build"),
            },
            name,
        })
    }

    fn run(&self, key: &str, raw: RawRun) -> Result<Run, Fault> {
        let RawRun { port, health, roles, needs, env, up_env, pass_env, ready_seconds } = raw;
        if !health.get_ref().starts_with('/') {
            return Err(self
                .at
                .fault(health.span().start, format!("`{key}.health`: expected a path such as `/health`")));
        }
        let needs = self.needs(&format!("{key}.needs"), needs)?;
        Ok(Run { port, health: health.into_inner(), roles, needs, env, up_env, pass_env, ready_seconds })
    }

    fn needs(&self, key: &str, names: Vec<Spanned<String>>) -> Result<Vec<String>, Fault> {
        let known = self.needs.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        names
            .into_iter()
            .map(|name| {
                if self.needs.contains(name.get_ref()) {
                    return Ok(name.into_inner());
                }
                let message = format!("`{key}`: no table `[needs.{}]`; there are: {known}", name.get_ref());
                Err(self.at.fault(name.span().start, message))
            })
            .collect()
    }

    fn filter(&self, key: &str, texts: Spanned<Vec<Spanned<String>>>) -> Result<PathFilter, Fault> {
        let offset = texts.span().start;
        let patterns = texts
            .into_inner()
            .iter()
            .map(|text| {
                Pattern::parse(text.get_ref()).map_err(|why| {
                    self.at.fault(text.span().start, format!("`{key}`: pattern `{}`, {why}", text.get_ref()))
                })
            })
            .collect::<Result<_, _>>()?;
        PathFilter::new(patterns).map_err(|why| self.at.fault(offset, format!("`{key}`: {why}")))
    }
}

fn is_inside(path: &str) -> bool {
    let path = Utf8Path::new(path);
    !path.as_str().is_empty() && path.is_relative() && path.components().all(|part| part.as_str() != "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const GOOD: &str = r#"[project]
name = "demo"
registry = "ghcr.io"
owner = "demo"

[needs.redis]
image = "redis:7"
port = 6379
ready = ["redis-cli", "ping"]

[services.api]
image = "demo-api"
paths = ["api/**", "!api/tests/**"]

[services.api.run]
port = 80
health = "/health"
needs = ["redis"]
"#;

    fn refused(from: &str, to: &str, expected: &Expect) {
        assert!(GOOD.contains(from), "{from}");
        let fault = Project::parse("services.toml".into(), &GOOD.replace(from, to)).unwrap_err();
        assert_eq!(fault.code, fault::Code::Usage);
        expected.assert_eq(&fault.to_string());
    }

    #[test]
    fn a_right_file_is_read_with_its_defaults() {
        let project = Project::parse("services.toml".into(), GOOD).unwrap();
        let api = project.service("api").unwrap();
        assert_eq!((api.dockerfile.as_str(), api.context.as_str(), api.title.as_str()), ("Dockerfile", ".", "api"));
        assert_eq!(project.default_branch, "main");
        assert_eq!(api.path_lines, [13, 13]);
        assert!(project.service("ap").is_err());
    }

    #[test]
    fn errors_name_file_line_key_and_what_was_expected() {
        refused(
            "owner = \"demo\"",
            "ownr = \"demo\"",
            &expect![
                "services.toml:4: unknown field `ownr`, expected one of `name`, `registry`, `owner`, `default-branch`, `trust-bases`"
            ],
        );
        refused("image = \"demo-api\"", "", &expect!["services.toml:11: missing field `image`"]);
        refused(
            "api/**\"",
            "/api/**\"",
            &expect![
                "services.toml:13: `services.api.paths`: pattern `/api/**`, column 1: paths begin without `/`; leave it out"
            ],
        );
        refused(
            "\"api/**\", ",
            "",
            &expect![
                "services.toml:13: `services.api.paths`: the list has no pattern that includes; put one such as `**` before the `!` patterns"
            ],
        );
        refused(
            "demo-api",
            "Demo",
            &expect![
                "services.toml:12: `services.api.image`: `Demo` is not an image name: lower-case letters and digits, joined by single `.`, `_`, `__` or `-`; parts joined by `/`"
            ],
        );
        refused(
            "services.api",
            "services.test",
            &expect!["services.toml:11: `services.test`: `docker test` is a command already; choose another name"],
        );
        refused(
            "needs = [\"redis\"]",
            "needs = [\"kafka\"]",
            &expect!["services.toml:18: `services.api.run.needs`: no table `[needs.kafka]`; there are: redis"],
        );
        refused(
            "/health",
            "health",
            &expect!["services.toml:17: `services.api.run.health`: expected a path such as `/health`"],
        );
        refused(
            "port = 80\n",
            "port = 80000\n",
            &expect!["services.toml:16: invalid value: integer `80000`, expected u16"],
        );
        refused("[project]", "[project", &expect!["services.toml:1: unclosed table, expected `]`"]);
        refused(
            "paths =",
            "context = \"../x\"\npaths =",
            &expect!["services.toml:13: `services.api.context`: expected a path below the root, without `..`"],
        );
        refused(
            "paths =",
            "size-budget = \"big\"\npaths =",
            &expect![
                "services.toml:13: `services.api.size-budget`: `big` is not a size; write it as `160 MB` (B, kB, MB, GB, KiB, MiB, GiB)"
            ],
        );
        refused(
            "paths =",
            "platforms = [\"arm\"]\npaths =",
            &expect![
                "services.toml:13: `services.api.platforms`: `arm` is not a platform; one of: linux/amd64, linux/arm64, linux/arm/v7, linux/arm/v6, linux/386, linux/ppc64le, linux/s390x, linux/riscv64"
            ],
        );
        let twice = format!("{GOOD}\n[services.b]\nimage = \"demo-api\"\npaths = [\"b\"]\n");
        let fault = Project::parse("services.toml".into(), &twice).unwrap_err();
        expect!["services.toml:21: `services.b.image`: `demo-api` is the image of `api` already"]
            .assert_eq(&fault.to_string());
    }
}
