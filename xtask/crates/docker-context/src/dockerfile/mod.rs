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
pub mod platforms;
mod recipe;
mod remote;
mod stages;
mod trim;
mod variables;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use graph::{Graph, Origin};
use inputs::Inputs;
pub use recipe::{Recipe, StageLine};
use strsim::levenshtein;
use variables::Budget;

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
    let mut images: Vec<String> = Vec::new();
    for_each_platform(text, target, given, |graph, reached, _, _| {
        for it in reached.iter().flat_map(|at| graph.stages[*at].origins()) {
            match &it.origin {
                Origin::Image(image) if image != "scratch" && !images.contains(image) => images.push(image.clone()),
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok(images)
}

/// What the stages of `target` read from the build context, before
/// `.dockerignore` applies. Where that is uncertain, the whole context counts,
/// with a warning.
///
/// # Errors
///
/// If BuildKit would refuse the Dockerfile, or if it has no such target.
pub fn inputs(text: &[u8], target: Option<&str>, given: &BuildOptions<'_>) -> Result<Inputs, DockerfileError> {
    let mut found = Inputs::default();
    for_each_platform(text, target, given, |graph, reached, _, budget| {
        found.add(stages::read(graph, reached, given, budget)?);
        Ok(())
    })?;
    if let Some((line, syntax)) = frontend(text, given).filter(|(_, syntax)| !is_dockers(syntax)) {
        found.read_by_others(line, &syntax);
    }
    Ok(found)
}

/// How `target` is built. Two Dockerfiles give the same recipe if they differ
/// only in stages that the target does not reach, in comments and in blanks
/// between words.
///
/// # Errors
///
/// If BuildKit would refuse the Dockerfile, or if it has no such target.
pub fn recipe(text: &[u8], target: Option<&str>, given: &BuildOptions<'_>) -> Result<Recipe, DockerfileError> {
    let (mut recipe, mut is_clear) = (Recipe::default(), true);
    for_each_platform(text, target, given, |graph, reached, _, _| {
        if let Some(error) = reached.iter().find_map(|at| graph.stages[*at].broken.as_ref()) {
            return Err(error.clone());
        }
        match recipe::parts(graph, reached) {
            Some(parts) => recipe.add(parts),
            None => is_clear = false,
        }
        Ok(())
    })?;
    let asked = frontend(text, given);
    let is_ours = asked.as_ref().is_none_or(|(_, syntax)| is_dockers(syntax));
    // Bytes that are not UTF-8 are decoded, and two different texts may then look
    // the same. A frontend with `# check=` looks at the whole file.
    if !is_clear || !is_ours || std::str::from_utf8(text).is_err() || lines::checks(text) {
        return Ok(Recipe::whole(text));
    }
    recipe.asks(asked);
    Ok(recipe)
}

/// Reads a Dockerfile once for each platform, because platforms set variables.
fn for_each_platform(
    text: &[u8],
    target: Option<&str>,
    given: &BuildOptions<'_>,
    mut read: impl FnMut(&Graph, &BTreeSet<usize>, Option<&str>, &Budget) -> Result<(), DockerfileError>,
) -> Result<(), DockerfileError> {
    let checks = frontend(text, given).is_some_and(|(_, syntax)| knows_check(&syntax));
    let platforms: Vec<Option<&str>> = match given.platforms.as_slice() {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    };
    for platform in platforms {
        let budget = Budget::new();
        let graph = Graph::read(text, checks, given, platform, &budget)?;
        let whole = |message: String| DockerfileError { line: 0, column: 0, message };
        if graph.stages.is_empty() {
            return Err(whole("no FROM instruction; write one, such as `FROM scratch`".into()));
        }
        let first = graph.target(target).ok_or_else(|| whole(no_stage(&graph, target.unwrap_or_default())))?;
        let reached = graph.reached(first);
        cycles::check(&graph, &reached)?;
        read(&graph, &reached, platform, &budget)?;
    }
    Ok(())
}

/// The frontend that the build asks for, and the line that does.
fn frontend(text: &[u8], given: &BuildOptions<'_>) -> Option<(usize, String)> {
    match given.build_args.get("BUILDKIT_SYNTAX") {
        Some(syntax) => Some((1, syntax.trim().split(' ').next().unwrap_or_default().to_owned())),
        None => lines::syntax(text),
    }
}

/// The tag or digest of Docker's own frontend; `None` for any other frontend.
fn version(syntax: &str) -> Option<&str> {
    let name = syntax.strip_prefix("docker.io/").unwrap_or(syntax);
    ["docker/dockerfile-upstream", "docker/dockerfile"]
        .iter()
        .find_map(|known| name.strip_prefix(known).filter(|rest| rest.is_empty() || rest.starts_with([':', '@'])))
}

fn is_dockers(syntax: &str) -> bool {
    version(syntax).is_some()
}

/// Whether this is Docker's frontend 1.8 or later, or may be.
fn knows_check(syntax: &str) -> bool {
    let minor = |version: &str| version.strip_prefix(":1.")?.split(['.', '-', '@']).next()?.parse::<u32>().ok();
    version(syntax).is_some_and(|version| minor(version).is_none_or(|minor| minor >= 8))
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
