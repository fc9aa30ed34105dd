//! A Dockerfile that is parsed once and asked about many targets: a file with a
//! thousand stages would be parsed a thousand times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::graph::{Graph, Origin};
use super::inputs::Inputs;
use super::recipe::{self, Recipe};
use super::syntax::{is_dockers, knows_check};
use super::variables::Budget;
use super::{BaseConfig, BuildOptions, DockerfileError, cycles, frontend, lines, no_stage, stages};

/// A Dockerfile as a build with some options reads it.
pub struct ParsedDockerfile {
    text: Vec<u8>,
    build_args: BTreeMap<String, String>,
    platforms: Vec<String>,
    builder: Option<String>,
    bases: BTreeMap<String, BaseConfig>,
    /// One for each platform, because platforms set variables, with what parsing
    /// it has used of its budget.
    graphs: Vec<Result<(Graph, usize), DockerfileError>>,
}

impl ParsedDockerfile {
    /// Parses it. What is wrong with it is the answer to each question.
    pub fn new(text: &[u8], given: &BuildOptions<'_>) -> Self {
        let checks = frontend(text, given).is_some_and(|(_, syntax)| knows_check(&syntax));
        let graph = |platform| {
            let budget = Budget::new();
            let graph = Graph::read(text, checks, given, platform, &budget)?;
            Ok((graph, budget.used()))
        };
        let graphs = match given.platforms.as_slice() {
            [] => vec![graph(None)],
            some => some.iter().map(|platform| graph(Some(*platform))).collect(),
        };
        Self {
            text: text.to_vec(),
            build_args: given.build_args.clone(),
            platforms: given.platforms.iter().map(|platform| (*platform).to_owned()).collect(),
            builder: given.builder.map(str::to_owned),
            bases: given.bases.clone(),
            graphs,
        }
    }

    fn given(&self) -> BuildOptions<'_> {
        BuildOptions {
            build_args: &self.build_args,
            platforms: self.platforms.iter().map(String::as_str).collect(),
            builder: self.builder.as_deref(),
            bases: &self.bases,
        }
    }

    /// Whether it is this text, read with these options.
    fn is(&self, text: &[u8], given: &BuildOptions<'_>) -> bool {
        let BuildOptions { build_args, platforms, builder, bases } = given;
        self.text == text
            && self.build_args == **build_args
            && self.platforms == *platforms
            && self.builder.as_deref() == *builder
            && self.bases == **bases
    }

    /// As [`base_images`](super::base_images).
    ///
    /// # Errors
    ///
    /// If BuildKit would refuse the Dockerfile, or if it has no such target.
    pub fn base_images(&self, target: Option<&str>) -> Result<Vec<String>, DockerfileError> {
        let mut images: Vec<String> = Vec::new();
        self.for_each_platform(target, |graph, reached, _, _| {
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

    /// As [`inputs`](super::inputs()).
    ///
    /// # Errors
    ///
    /// If BuildKit would refuse the Dockerfile, or if it has no such target.
    pub fn inputs(&self, target: Option<&str>) -> Result<Inputs, DockerfileError> {
        let (given, mut found) = (self.given(), Inputs::default());
        self.for_each_platform(target, |graph, reached, _, budget| {
            found.add(stages::read(graph, reached, &given, budget)?);
            Ok(())
        })?;
        if let Some((line, syntax)) = frontend(&self.text, &given).filter(|(_, syntax)| !is_dockers(syntax)) {
            found.read_by_others(line, &syntax);
        }
        Ok(found)
    }

    /// As [`recipe`](super::recipe()).
    ///
    /// # Errors
    ///
    /// If BuildKit would refuse the Dockerfile, or if it has no such target.
    pub fn recipe(&self, target: Option<&str>) -> Result<Recipe, DockerfileError> {
        let (mut recipe, mut is_clear) = (Recipe::default(), true);
        self.for_each_platform(target, |graph, reached, _, _| {
            if let Some(error) = reached.iter().find_map(|at| graph.stages[*at].broken.as_ref()) {
                return Err(error.clone());
            }
            match recipe::parts(graph, reached) {
                Some(parts) => recipe.add(parts),
                None => is_clear = false,
            }
            Ok(())
        })?;
        let (text, asked) = (&self.text, frontend(&self.text, &self.given()));
        let is_ours = asked.as_ref().is_none_or(|(_, syntax)| is_dockers(syntax));
        // Bytes that are not UTF-8 are decoded, and two different texts may then look
        // the same. A frontend with `# check=` looks at the whole file.
        if !is_clear || !is_ours || std::str::from_utf8(text).is_err() || lines::checks(text) {
            return Ok(Recipe::whole(text));
        }
        recipe.asks(asked);
        Ok(recipe)
    }

    pub(super) fn for_each_platform(
        &self,
        target: Option<&str>,
        mut read: impl FnMut(&Graph, &BTreeSet<usize>, Option<&str>, &Budget) -> Result<(), DockerfileError>,
    ) -> Result<(), DockerfileError> {
        for (at, graph) in self.graphs.iter().enumerate() {
            let (graph, used) = graph.as_ref().map_err(Clone::clone)?;
            let whole = |message: String| DockerfileError { line: 0, column: 0, message };
            if graph.stages.is_empty() {
                return Err(whole("no FROM instruction; write one, such as `FROM scratch`".into()));
            }
            let first = graph.target(target).ok_or_else(|| whole(no_stage(graph, target.unwrap_or_default())))?;
            let reached = graph.reached(first);
            cycles::check(graph, &reached)?;
            read(graph, &reached, self.platforms.get(at).map(String::as_str), &Budget::after(*used))?;
        }
        Ok(())
    }
}

/// The Dockerfiles that were parsed last.
#[derive(Default)]
pub struct DockerfileCache(Mutex<Vec<Arc<ParsedDockerfile>>>);

/// How many it keeps: the same text with other build arguments, or for other
/// platforms, is another one.
const KEPT: usize = 16;

impl DockerfileCache {
    /// The Dockerfile with these options, parsed at most once in a row.
    pub fn parsed(&self, text: &[u8], given: &BuildOptions<'_>) -> Arc<ParsedDockerfile> {
        // Whoever else wants it waits until it is parsed.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.iter().find(|known| known.is(text, given)) {
            return Arc::clone(known);
        }
        let parsed = Arc::new(ParsedDockerfile::new(text, given));
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(Arc::clone(&parsed));
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_text_and_other_options_are_another_dockerfile() {
        let (text, nothing) = (b"ARG A=z\nFROM $A AS a\nCOPY x /\nFROM b AS b\n", BuildOptions::NOTHING);
        let (args, bases) = (
            BTreeMap::from([("A".to_owned(), "c".to_owned())]),
            BTreeMap::from([("b".to_owned(), BaseConfig { onbuild: vec!["COPY y /".into()], ..Default::default() })]),
        );
        let cache = DockerfileCache::default();
        let all = [
            cache.parsed(text, &nothing),
            cache.parsed(b"FROM scratch AS a\n", &nothing),
            cache.parsed(text, &BuildOptions { build_args: &args, ..nothing.clone() }),
            cache.parsed(text, &BuildOptions { platforms: vec!["linux/arm64"], ..nothing.clone() }),
            cache.parsed(text, &BuildOptions { builder: Some("linux/arm64"), ..nothing.clone() }),
            cache.parsed(text, &BuildOptions { bases: &bases, ..nothing.clone() }),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| !Arc::ptr_eq(one, other)), "{at}");
            assert!(Arc::ptr_eq(one, &cache.parsed(&one.text, &one.given())), "{at}");
        }
        assert_eq!(all[2].base_images(Some("a")).unwrap(), ["c"]);
        assert!(all[5].inputs(None).unwrap().reads("y").is_some());
        assert!(all[0].inputs(None).unwrap().reads("y").is_none());
        for number in 0..40 {
            cache.parsed(format!("FROM scratch AS s{number}\n").as_bytes(), &nothing);
        }
        assert_eq!(cache.0.lock().unwrap().len(), KEPT);
        assert!(!Arc::ptr_eq(&all[0], &cache.parsed(text, &nothing)), "it is long gone");
    }

    /// What one question uses of the budget is not missing for the next.
    #[test]
    fn each_question_is_answered_as_if_it_were_the_only_one() {
        let (long, copies) = ("x".repeat(60_000), "ENV B=$A\n".repeat(20));
        let text = format!("FROM scratch AS a\nARG A={long}\n{copies}COPY x /\n");
        let parsed = ParsedDockerfile::new(text.as_bytes(), &BuildOptions::NOTHING);
        let first = parsed.inputs(Some("a"));
        assert!(first.is_ok(), "{first:?}");
        (0..16).for_each(|_| assert_eq!(parsed.inputs(Some("a")), first));
        assert!(parsed.inputs(Some("b")).unwrap_err().message.starts_with("no stage `b`"));
        let broken = ParsedDockerfile::new(b"FROM", &BuildOptions::NOTHING);
        assert!(broken.inputs(None).is_err() && broken.recipe(None).is_err() && broken.base_images(None).is_err());
    }
}
