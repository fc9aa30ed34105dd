//! What a target of a Dockerfile is made from: the stages it reaches, the images
//! they name, and the files they read from the build context. It follows
//! BuildKit's frontend, whose rules are spread over many small files and mostly
//! undocumented, so tests compare the two on random Dockerfiles.

mod cycles;
mod expand;
mod graph;
mod heredoc;
pub mod inputs;
mod instruction;
mod lines;
pub mod mounts;
mod normalized;
mod parsed;
pub mod platforms;
mod recipe;
mod remote;
mod stages;
mod syntax;
mod trim;
mod variables;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use graph::Graph;
use inputs::Inputs;
pub use parsed::{DockerfileCache, ParsedDockerfile};
pub use recipe::{Recipe, StageLine};
use strsim::levenshtein;

/// Why a Dockerfile can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerfileError {
    /// The line, from 1; 0 where no single line is wrong.
    pub line: usize,
    /// The column, from 1; 0 where there is no line.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, " {}", self.message),
            line => write!(f, "{line}:{}: {}", self.column, self.message),
        }
    }
}

/// What a Dockerfile inherits from the configuration of its base image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseConfig {
    /// Its ENV, in order.
    pub env: Vec<(String, String)>,
    /// Its ONBUILD instructions, which run in the stage that is built on it.
    pub onbuild: Vec<String>,
}

/// Everything but files that a build is given.
#[derive(Clone, Debug)]
pub struct BuildOptions<'a> {
    /// `--build-arg`.
    pub build_args: &'a BTreeMap<String, String>,
    /// The platforms to build for, as BuildKit writes them (`linux/arm/v7`); empty
    /// if they are unknown.
    pub platforms: Vec<&'a str>,
    /// The builder's own platform, likewise; `None` if it is unknown.
    pub builder: Option<&'a str>,
    /// The configurations of base images, as far as they are known, by the name
    /// in FROM.
    pub bases: &'a BTreeMap<String, BaseConfig>,
}

impl BuildOptions<'_> {
    /// Nothing is known.
    pub const NOTHING: BuildOptions<'static> =
        BuildOptions { build_args: &BTreeMap::new(), platforms: Vec::new(), builder: None, bases: &BTreeMap::new() };
}

/// The images that the stages of `target` name in FROM, `COPY --from` and
/// `RUN --mount from=`: each once, in order. Without a target, the last stage is
/// meant. A name with a variable that has no value here is left to BuildKit.
///
/// # Errors
///
/// If BuildKit would refuse the Dockerfile, or if it has no such target.
pub fn base_images(
    text: &[u8],
    target: Option<&str>,
    given: &BuildOptions<'_>,
) -> Result<Vec<String>, DockerfileError> {
    ParsedDockerfile::new(text, given).base_images(target)
}

/// What the stages of `target` read from the build context, before
/// `.dockerignore` applies. Where that is uncertain, the whole context counts,
/// with a warning.
///
/// # Errors
///
/// If BuildKit would refuse the Dockerfile, or if it has no such target.
pub fn inputs(text: &[u8], target: Option<&str>, given: &BuildOptions<'_>) -> Result<Inputs, DockerfileError> {
    ParsedDockerfile::new(text, given).inputs(target)
}

/// How `target` is built. Two Dockerfiles give the same recipe if they differ
/// only in stages that the target does not reach, in comments and in blanks
/// between words.
///
/// # Errors
///
/// If BuildKit would refuse the Dockerfile, or if it has no such target.
pub fn recipe(text: &[u8], target: Option<&str>, given: &BuildOptions<'_>) -> Result<Recipe, DockerfileError> {
    ParsedDockerfile::new(text, given).recipe(target)
}

/// The frontend that the build asks for, and the line that does.
fn frontend(text: &[u8], given: &BuildOptions<'_>) -> Option<(usize, String)> {
    match given.build_args.get("BUILDKIT_SYNTAX") {
        Some(syntax) => Some((1, syntax.trim().split(' ').next().unwrap_or_default().to_owned())),
        None => lines::syntax(text),
    }
}

fn no_stage(graph: &Graph, name: &str) -> String {
    let known: Vec<&str> = graph.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    let nearest = known.iter().min_by_key(|known| levenshtein(known, name));
    let nearest = nearest.filter(|known| levenshtein(known, name) <= known.len().max(2) / 2);
    let hint = nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
    format!("no stage `{name}`; the stages are: {}{hint}", known.join(", "))
}

#[cfg(test)]
mod tests;
