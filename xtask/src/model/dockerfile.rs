//! What a Dockerfile's target is made from: the stages that it reaches and the
//! images that those name. Docker's grammar is the parser crate's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use parse_dockerfile::{Flag, Instruction, Stage};

/// Why a Dockerfile can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerfileError {
    /// The line, from 1; 0 where no single line is wrong.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, " {}", self.message),
            line => write!(f, "{line}: {}", self.message),
        }
    }
}

/// The images that the stages behind `target` name in FROM, `COPY --from` and
/// `RUN --mount from=`, each once, in order. Without a target: the last stage.
/// A name with a variable that has no value here is left to BuildKit.
pub fn base_images(
    text: &str,
    target: Option<&str>,
    build_args: &BTreeMap<String, String>,
) -> Result<Vec<String>, DockerfileError> {
    let dockerfile = parse_dockerfile::parse(text)
        .map_err(|error| DockerfileError { line: error.line(), message: error.to_string() })?;
    let mut args: BTreeMap<String, String> = BTreeMap::new();
    for arg in dockerfile.global_args() {
        for word in arg.arguments.value.split_whitespace() {
            let (name, default) = word.split_once('=').unwrap_or((word, ""));
            let value = build_args.get(name).cloned().or_else(|| expand(default.trim_matches(['"', '\'']), &args));
            args.insert(name.to_owned(), value.unwrap_or_default());
        }
    }
    let stages: Vec<Stage<'_, '_>> = dockerfile.stages().collect();
    let names: Vec<Option<String>> =
        stages.iter().map(|stage| stage.from.as_.as_ref().map(|(_, name)| name.value.to_lowercase())).collect();
    // A stage sees those before it only; the last of a name counts.
    let stage_before = |name: &str, end: usize| {
        let by_name = names[..end].iter().rposition(|known| known.as_deref() == Some(&name.to_lowercase()));
        by_name.or_else(|| name.parse().ok().filter(|index| *index < end))
    };
    let Some(last) = stages.len().checked_sub(1) else {
        return Err(DockerfileError { line: 0, message: "no FROM instruction".into() });
    };
    let first = match target {
        None => last,
        Some(name) => stage_before(name, stages.len()).ok_or_else(|| {
            let known = names.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
            DockerfileError { line: 0, message: format!("no stage `{name}`; the stages are: {known}") }
        })?,
    };
    let mut reached = BTreeSet::new();
    let mut queue = vec![first];
    let mut images: Vec<(usize, String)> = Vec::new();
    while let Some(at) = queue.pop() {
        if !reached.insert(at) {
            continue;
        }
        for name in sources(&stages[at]) {
            match stage_before(&name, at) {
                Some(stage) => queue.push(stage),
                None => images.extend(expand(&name, &args).filter(|image| image != "scratch").map(|image| (at, image))),
            }
        }
    }
    images.sort_by_key(|(at, _)| *at);
    let mut seen = BTreeSet::new();
    Ok(images
        .into_iter()
        .map(|(_, image)| image)
        .filter(|image| !image.is_empty() && seen.insert(image.clone()))
        .collect())
}

/// What a stage takes from elsewhere: stages, images and named contexts.
fn sources(stage: &Stage<'_, '_>) -> Vec<String> {
    let mut names = vec![stage.from.image.value.to_string()];
    for instruction in stage.instructions {
        let (flags, mounts): (&[Flag<'_>], bool) = match instruction {
            Instruction::Copy(copy) => (&copy.options, false),
            Instruction::Run(run) => (&run.options, true),
            _ => continue,
        };
        for flag in flags {
            let Some(value) = &flag.value else { continue };
            match flag.name.value.as_ref() {
                "from" if !mounts => names.push(value.value.to_string()),
                "mount" if mounts => {
                    names.extend(
                        value.value.split(',').filter_map(|pair| pair.strip_prefix("from=")).map(str::to_owned),
                    );
                }
                _ => {}
            }
        }
    }
    names
}

/// `$A`, `${A}`, `${A:-b}`; `None` where a variable has no value.
fn expand(text: &str, args: &BTreeMap<String, String>) -> Option<String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let (name, default, after) = match tail.strip_prefix('{') {
            Some(tail) => {
                let (inner, after) = tail.split_once('}')?;
                let (name, default) = inner.split_once(":-").map_or((inner, None), |(n, d)| (n, Some(d)));
                (name, default, after)
            }
            None => {
                let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
                (&tail[..end], None, &tail[end..])
            }
        };
        let value = args.get(name).map(String::as_str).filter(|value| !value.is_empty()).or(default)?;
        result.push_str(value);
        rest = after;
    }
    result.push_str(rest);
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ARG PY=3.11\nFROM python:${PY}-slim AS base\nFROM node:24 AS assets\nRUN true\n\
        FROM base AS Build\nCOPY --from=ghcr.io/astral-sh/uv:1 /uv /uv\nRUN --mount=type=bind,from=busybox:1,target=/b true\n\
        FROM base\nCOPY --from=build /x /x\nFROM nginx:1 AS web\nCOPY --from=1 /y /y\nFROM ${NOPE}/x AS odd\n";

    fn images(target: &str) -> Vec<String> {
        base_images(TEXT, Some(target), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_target_names_the_images_of_the_stages_that_it_reaches() {
        assert_eq!(images("build"), ["python:3.11-slim", "ghcr.io/astral-sh/uv:1", "busybox:1"]);
        assert_eq!(images("3"), ["python:3.11-slim", "ghcr.io/astral-sh/uv:1", "busybox:1"]);
        assert_eq!(images("web"), ["node:24", "nginx:1"]);
        assert_eq!(images("odd"), Vec::<String>::new());
    }

    #[test]
    fn a_build_argument_wins_over_its_default() {
        let args = BTreeMap::from([("PY".to_owned(), "3.12".to_owned())]);
        assert_eq!(base_images(TEXT, Some("base"), &args).unwrap(), ["python:3.12-slim"]);
    }

    #[test]
    fn a_missing_target_lists_the_stages() {
        let error = base_images(TEXT, Some("nope"), &BTreeMap::new()).unwrap_err();
        assert_eq!(error.message, "no stage `nope`; the stages are: base, assets, build, web, odd");
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let error = base_images("FROM a\nCOPY x\n", None, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.line, 2);
    }
}
