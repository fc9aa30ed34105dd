//! Walks over the stages that a target reaches, in order, and collects what each
//! reads from the context. It keeps the variables up to date on the way.

use std::collections::{BTreeSet, HashMap};

use super::expand::WordError;
use super::graph::{Graph, Origin, StageUse};
use super::inputs::{CopySource, Input, Inputs, Warning};
use super::instruction::{Copy, Instruction, InstructionKind};
use super::remote::{Remote, remote};
use super::variables::{Budget, Variables};
use super::words::fields;
use super::{BaseConfig, BuildOptions, DockerfileError};
use crate::dockerignore::Dockerignore;

/// Reads the reached stages.
pub fn read(
    graph: &Graph,
    reached: &BTreeSet<usize>,
    given: &BuildOptions<'_>,
    budget: &Budget,
) -> Result<Inputs, DockerfileError> {
    let mut walk = StageWalk { graph, given, budget, found: Inputs::default() };
    let mut scopes: HashMap<usize, Variables> = HashMap::new();
    for at in reached {
        let stage = &graph.stages[*at];
        if let Some(error) = &stage.broken {
            return Err(error.clone());
        }
        walk.found.stages.push(stage.name.clone().unwrap_or_else(|| at.to_string()));
        let mut variables = match &stage.base.origin {
            Origin::Stage(below) => match scopes.get(below) {
                Some(variables) => variables.above(budget),
                None => Variables::on_image(graph.escape, None),
            },
            Origin::Image(image) if image == "scratch" => {
                Variables::on_image(graph.escape, Some(&BaseConfig::default()))
            }
            Origin::Image(image) => {
                if !given.bases.contains_key(image) && !walk.found.unknown_bases.contains(image) {
                    walk.found.unknown_bases.push(image.clone());
                }
                Variables::on_image(graph.escape, given.bases.get(image))
            }
            Origin::Unclear(_) => Variables::on_image(graph.escape, None),
        };
        for it in stage.origins() {
            walk.origin(it);
        }
        for step in &stage.steps {
            survived(step, &variables, budget).map_err(|error| DockerfileError {
                line: step.line,
                column: 1,
                message: error.to_string(),
            })?;
            walk.step(step, &mut variables);
            if budget.is_used_up() {
                let message = format!(
                    "`{}`: the variables up to here say more than {} MiB, which is the most that is followed",
                    shortened(&step.text),
                    Budget::MOST >> 20
                );
                return Err(DockerfileError { line: step.line, column: 1, message });
            }
        }
        scopes.insert(*at, variables);
    }
    Ok(walk.found)
}

/// Checks that the engine survives an instruction.
fn survived(step: &Instruction, variables: &Variables, budget: &Budget) -> Result<(), WordError> {
    let mounts = match &step.kind {
        InstructionKind::Trigger(_) | InstructionKind::Plain => return Ok(()),
        InstructionKind::Run(mounts) => mounts.as_slice(),
        _ => return variables.check(&step.text, false, budget),
    };
    mounts.iter().try_for_each(|mount| variables.check(mount, false, budget))?;
    variables.check(&step.text, true, budget)
}

struct StageWalk<'a> {
    graph: &'a Graph,
    given: &'a BuildOptions<'a>,
    budget: &'a Budget,
    found: Inputs,
}

impl StageWalk<'_> {
    fn step(&mut self, step: &Instruction, variables: &mut Variables) {
        match &step.kind {
            InstructionKind::Arg(args) => variables.arg(args, &self.graph.meta_args, self.given, self.budget),
            InstructionKind::Env(pairs) => variables.env(pairs, self.budget),
            InstructionKind::Copy(copy) if copy.from.is_none() => self.copy(step, copy, variables),
            InstructionKind::Run(mounts) => mounts.iter().for_each(|mount| self.mount(step.line, mount, variables)),
            _ => {}
        }
    }

    /// Collects sources that may change, and sources that may be meant.
    fn origin(&mut self, it: &StageUse) {
        let Origin::Unclear(stages) = &it.origin else { return };
        self.found
            .moving
            .push(Warning { line: it.line, message: format!("`{}` has no certain value", shortened(&it.text)) });
        let names: Vec<_> = stages.iter().filter_map(|at| self.graph.stages[*at].name.as_deref()).collect();
        if !names.is_empty() {
            let message = format!("`{}` has no certain value; taken as any of: {}", it.text, names.join(", "));
            self.found.warnings.push(Warning { line: it.line, message: shortened(&message) });
        }
    }

    fn copy(&mut self, step: &Instruction, copy: &Copy, variables: &Variables) {
        // If one exclusion is uncertain, BuildKit may ignore all of them.
        let excluded: Result<Vec<String>, _> =
            copy.excluded.iter().map(|it| variables.expand(it, self.budget)).collect();
        let excluded = excluded
            .ok()
            .filter(|excluded| !excluded.is_empty())
            .and_then(|excluded| Dockerignore::of(excluded.iter().map(String::as_str)).ok());
        let checked = variables.expand(&copy.checksum, self.budget).is_ok_and(|sum| !sum.is_empty());
        let mut sources = Vec::new();
        for text in &copy.sources {
            let expanded = variables.expand(text, self.budget);
            if copy.add {
                let may_change = match expanded.as_deref().map(remote) {
                    Ok(Remote::No) => None,
                    Ok(Remote::Git { pinned: true }) => continue,
                    Ok(Remote::Http) if checked => continue,
                    Ok(Remote::Http | Remote::Git { .. }) => Some(("what is there may change", false)),
                    Ok(Remote::Maybe) => {
                        Some(("BuildKit may take it for a repository; `./` before it is a path", true))
                    }
                    Err(_) => Some(("it may be a URL", true)),
                };
                if let Some((why, is_path_too)) = may_change {
                    let message = format!("`ADD {}`: {why}", shortened(text));
                    self.found.moving.push(Warning { line: step.line, message });
                    if !is_path_too {
                        continue;
                    }
                }
            }
            let source = expanded.map_err(|why| why.to_string()).and_then(|it| CopySource::of(text, &it, copy.parents));
            sources.push(source.map(|source| source.without(excluded.clone())).unwrap_or_else(|why| {
                self.widened(step.line, text, &why);
                CopySource::everything(text)
            }));
        }
        if !sources.is_empty() {
            self.found.inputs.push(Input { line: step.line, instruction: shortened(&step.text), sources });
        }
    }

    /// Reads `RUN --mount=`. A bind mount without `from` shows the context.
    fn mount(&mut self, line: usize, text: &str, variables: &Variables) {
        let instruction = format!("RUN --mount={text}");
        let source = match bound(text, |word| variables.expand(word, self.budget)) {
            Ok(None) => return,
            Ok(Some((written, expanded))) => CopySource::mounted(&written, &expanded),
            Err(why) => {
                self.widened(line, &instruction, &why);
                CopySource::everything(text)
            }
        };
        self.found.inputs.push(Input { line, instruction: shortened(&instruction), sources: vec![source] });
    }

    fn widened(&mut self, line: usize, text: &str, why: &str) {
        let message = format!("`{}`: {why}; taken as everything in the context", shortened(text));
        self.found.warnings.push(Warning { line, message });
    }
}

/// The source of a bind mount of the context, as written and with its variables
/// replaced; nothing for other mounts.
fn bound(text: &str, expand: impl Fn(&str) -> Result<String, WordError>) -> Result<Option<(String, String)>, String> {
    let (mut kind, mut source, mut from) = ("bind".to_owned(), (String::new(), String::new()), false);
    for field in fields(text)? {
        let Some((key, value)) = field.split_once('=') else { continue };
        let expanded = || expand(value).map_err(|why| why.to_string());
        match key.to_lowercase().as_str() {
            "type" => kind = expanded()?.to_lowercase(),
            "source" | "src" => source = (value.to_owned(), expanded()?),
            "from" => from = !value.is_empty(),
            _ => {}
        }
    }
    Ok((kind == "bind" && !from).then_some(source))
}

/// Shortens a text to fit into a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bind_mount_without_from_shows_the_context() {
        let told = |text: &str| bound(text, |word| Ok(word.replace("$A", "a")));
        assert_eq!(told("target=/x").unwrap(), Some((String::new(), String::new())));
        assert_eq!(told("type=BIND,src=$A/b,source=$A").unwrap(), Some(("$A".into(), "a".into())));
        assert_eq!(told("type=bind,from=,source=b,rw").unwrap(), Some(("b".into(), "b".into())));
        assert_eq!(told("\"source=a,b\",TARGET=/x").unwrap(), Some(("a,b".into(), "a,b".into())));
        for text in ["type=cache,target=/c", "from=x,source=b", "type=secret,id=x", "type=tmpfs,target=/t"] {
            assert_eq!(told(text).unwrap(), None, "{text}");
        }
        assert!(told("source=a\"b\"").is_err());
        assert!(bound("source=$X", |_| Err(WordError::Unknown("X".into()))).is_err());
    }

    #[test]
    fn a_long_text_is_shown_by_its_start() {
        assert_eq!(shortened("ab"), "ab");
        assert_eq!(shortened(&"é".repeat(500)).chars().count(), 401);
    }
}
