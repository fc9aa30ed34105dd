//! The stages of a Dockerfile and what each is built from: FROM, `COPY --from`
//! and `RUN --mount from=`, as BuildKit resolves them before it reads any file.

use std::collections::{BTreeSet, HashMap};

use super::expand::WordError;
use super::instruction::{Instruction, InstructionKind, instruction};
use super::normalized::MetaArg;
use super::variables::{Budget, MetaArgs};
use super::words::fields;
use super::{BuildOptions, DockerfileError, lines};

/// More stages than anybody writes; BuildKit itself takes minutes for them.
const MOST_STAGES: usize = 1_000;
/// A bound for the instructions of all stages, with inherited triggers.
const MOST_STEPS: usize = 2_000;

/// Where FROM, `--from` or `from` of a mount points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A stage, by its number.
    Stage(usize),
    /// An image, by its name.
    Image(String),
    /// Unknown because of a variable; these stages are possible.
    Unclear(Vec<usize>),
}

/// What a stage takes from another stage or image, and the line that says so.
#[derive(Clone, Debug)]
pub struct StageUse {
    /// The line, from 1.
    pub line: usize,
    /// As in `COPY --from=x`.
    pub text: String,
    /// Where it leads.
    pub origin: Origin,
}

/// One stage. Its files are not read yet.
pub struct Stage {
    /// Its name, in lower case.
    pub name: Option<String>,
    /// The line of its FROM.
    pub line: usize,
    /// The image or stage in FROM, as written.
    pub image: String,
    /// What precedes that word.
    pub flags: Vec<String>,
    /// The stage or image in FROM.
    pub base: StageUse,
    /// The other stages and images it takes files from.
    pub uses: Vec<StageUse>,
    /// The triggers it inherits, then its own instructions.
    pub steps: Vec<Instruction>,
    /// How many of them are inherited triggers.
    inherited: usize,
    /// Why the triggers can't run. It matters only where the stage is built.
    pub broken: Option<DockerfileError>,
    /// Its ONBUILD instructions, which run in stages built on it: line and text.
    pub triggers: Vec<(usize, String)>,
}

impl Stage {
    /// Everything it is built from, its base first.
    pub fn origins(&self) -> impl Iterator<Item = &StageUse> {
        std::iter::once(&self.base).chain(&self.uses)
    }
}

/// All stages, and what they share.
pub struct Graph {
    /// In the order of the file.
    pub stages: Vec<Stage>,
    /// The variables before the first FROM.
    pub meta_args: MetaArgs,
    /// The same, as written.
    pub args: Vec<MetaArg>,
    /// The escape character.
    pub escape: char,
    /// Stages by name. If two have the same name, the later one counts.
    names: HashMap<String, usize>,
}

impl Graph {
    /// Parses a file. `checks` says whether its frontend knows `# check=`.
    pub fn read(
        text: &[u8],
        checks: bool,
        given: &BuildOptions<'_>,
        platform: Option<&str>,
        budget: &Budget,
    ) -> Result<Self, DockerfileError> {
        let parsed = lines::parse(text, checks)?;
        let meta_args = MetaArgs::new(parsed.escape, given, platform);
        let mut graph = Self { stages: vec![], meta_args, args: vec![], escape: parsed.escape, names: HashMap::new() };
        let mut count = 0;
        for statement in &parsed.statements {
            let read = instruction(statement, parsed.escape)?;
            let fault = |message: String| DockerfileError { line: read.line, column: statement.column, message };
            let number = graph.stages.len();
            match (&read.kind, graph.stages.last_mut()) {
                (InstructionKind::From { .. }, _) if number == MOST_STAGES => {
                    return Err(fault(format!("more than {MOST_STAGES} stages, which is the most that is read here")));
                }
                (InstructionKind::From { .. }, _) => {
                    graph.open(read, statement.flags.clone(), given, budget)?;
                    count += graph.stages.last().map_or(0, |stage| stage.steps.len());
                }
                (InstructionKind::Arg(args), None) => {
                    graph.meta_args.arg(args, given.build_args, budget).map_err(|error| fault(error.to_string()))?;
                    let line = read.line;
                    let global = |(name, default): &(String, Option<String>)| MetaArg {
                        line,
                        name: name.clone(),
                        default: default.clone(),
                    };
                    graph.args.extend(args.iter().map(global));
                }
                (_, None) => return Err(fault("no instruction but ARG stands before the first FROM".into())),
                (InstructionKind::Trigger(text), Some(stage)) => stage.triggers.push((read.line, text.clone())),
                (_, Some(stage)) => stage.steps.push(read.clone()),
            }
            count += 1;
            let too_much = match () {
                () if count > MOST_STEPS => format!("more than {MOST_STEPS} instructions"),
                () if budget.is_used_up() => {
                    format!("the variables up to here say more than {} MiB", Budget::MOST >> 20)
                }
                () => continue,
            };
            let message = format!("{too_much}, which is the most that is read here");
            return Err(DockerfileError { line: statement.line, column: statement.column, message });
        }
        graph.link()?;
        Ok(graph)
    }

    /// Starts a stage, on an earlier stage or on an image.
    fn open(
        &mut self,
        from: Instruction,
        flags: Vec<String>,
        given: &BuildOptions<'_>,
        budget: &Budget,
    ) -> Result<(), DockerfileError> {
        let Instruction { line, text, kind: InstructionKind::From { image, name }, .. } = from else { return Ok(()) };
        let fault = |message: String| DockerfileError { line, column: 1, message };
        let origin = match self.meta_args.expand(&image, budget) {
            Ok(image) if image.is_empty() => return Err(fault(format!("`{text}` names no image"))),
            Ok(image) => self.names.get(&image).map_or(Origin::Image(image), |at| Origin::Stage(*at)),
            Err(error @ (WordError::Endless | WordError::Fatal(_))) => return Err(fault(format!("`{text}`: {error}"))),
            Err(_) => self.unclear(&image),
        };
        let inherited: Vec<(usize, String)> = match &origin {
            Origin::Stage(at) => self.stages[*at].triggers.clone(),
            Origin::Image(image) => {
                let config = given.bases.get(image).into_iter();
                config.flat_map(|config| &config.onbuild).map(|it| (line, it.clone())).collect()
            }
            Origin::Unclear(stages) => stages.iter().flat_map(|at| &self.stages[*at].triggers).cloned().collect(),
        };
        let (steps, broken) = match triggers(&inherited) {
            Ok(steps) => (steps, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if let Some(name) = &name {
            self.names.insert(name.clone(), self.stages.len());
        }
        let base = StageUse { line, text: format!("FROM {image}"), origin };
        let inherited = steps.len();
        // An image whose triggers come from the caller may have other triggers,
        // too.
        let left = |step: &Instruction| {
            if let InstructionKind::Trigger(text) = &step.kind { Some((line, text.clone())) } else { None }
        };
        let triggers = steps.iter().filter_map(left).collect();
        self.stages.push(Stage { name, line, image, flags, base, uses: vec![], steps, inherited, broken, triggers });
        Ok(())
    }

    /// Finds what each stage takes from others, earlier or later.
    fn link(&mut self) -> Result<(), DockerfileError> {
        // BuildKit numbers on after the last stage, in the order of the file.
        let mut images: Vec<String> = Vec::new();
        for at in 0..self.stages.len() {
            let mut uses = Vec::new();
            for (number, step) in self.stages[at].steps.iter().enumerate() {
                for (text, name, by_number) in froms(&step.kind) {
                    let origin = match self.origin(&name, by_number, &images) {
                        // A trigger runs late, so it can take files from any
                        // stage that is complete by then, its own included.
                        Ok(Origin::Stage(stage)) if number < self.stages[at].inherited && stage >= at => continue,
                        Err(_) if number < self.stages[at].inherited => continue,
                        Ok(origin) => origin,
                        Err(message) => {
                            let message = format!("`{text}`: {message}");
                            return Err(DockerfileError { line: step.line, column: 1, message });
                        }
                    };
                    if let Origin::Image(image) = &origin
                        && number >= self.stages[at].inherited
                    {
                        images.push(image.clone());
                    }
                    // A mount without `from` counts as one of an empty image.
                    if !text.is_empty() {
                        uses.push(StageUse { line: step.line, text, origin });
                    }
                }
            }
            self.stages[at].uses = uses;
        }
        Ok(())
    }

    fn origin(&self, name: &str, by_number: bool, images: &[String]) -> Result<Origin, String> {
        let digits = name.strip_prefix(['+', '-']).unwrap_or(name);
        if by_number && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = name.parse::<i64>().ok().and_then(|number| usize::try_from(number).ok());
            return match number {
                Some(number) if number < self.stages.len() => Ok(Origin::Stage(number)),
                Some(number) if number - self.stages.len() < images.len() => {
                    Ok(Origin::Image(images[number - self.stages.len()].clone()))
                }
                _ => Err(format!("no stage has this number; there are {}, the first is 0", self.stages.len())),
            };
        }
        Ok(match self.names.get(&name.to_lowercase()) {
            Some(at) => Origin::Stage(*at),
            None if name.contains('$') => self.unclear(name),
            None => Origin::Image(name.to_owned()),
        })
    }

    /// Checks the fixed text around the variables.
    fn unclear(&self, name: &str) -> Origin {
        let (start, _) = name.split_once('$').unwrap_or((name, ""));
        let end = name.rsplit('$').next().unwrap_or_default();
        let end = match end.rfind('}') {
            Some(at) => &end[at + 1..],
            None => end.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        };
        let (start, end) = (start.trim_start_matches(['"', '\'']), end.trim_end_matches(['"', '\'']));
        let (start, end) = (start.to_lowercase(), end.to_lowercase());
        let fits = |(_, stage): &(usize, &Stage)| {
            stage.name.as_deref().is_some_and(|known| known.starts_with(&start) && known.ends_with(&end))
        };
        Origin::Unclear(self.stages.iter().enumerate().filter(fits).map(|(at, _)| at).collect())
    }

    /// The stage that a target names; without a target, the last one.
    pub fn target(&self, target: Option<&str>) -> Option<usize> {
        match target {
            None => self.stages.len().checked_sub(1),
            Some(name) => self.names.get(&name.to_lowercase()).copied().or_else(|| {
                // Newer frontends also accept a number.
                name.parse().ok().filter(|at| *at < self.stages.len())
            }),
        }
    }

    /// The stages that are built for one stage, in the order of the file.
    pub fn reached(&self, first: usize) -> BTreeSet<usize> {
        let (mut reached, mut queue) = (BTreeSet::new(), vec![first]);
        while let Some(at) = queue.pop() {
            if reached.insert(at) {
                queue.extend(self.next(at, true).map(|(_, next)| next));
            }
        }
        reached
    }

    /// The stages that one stage needs directly, and the words that say so.
    pub fn next(&self, at: usize, base_too: bool) -> impl Iterator<Item = (&StageUse, usize)> {
        let uses = self.stages[at].origins().skip(usize::from(!base_too));
        uses.flat_map(|it| {
            let stages = match &it.origin {
                Origin::Stage(stage) => std::slice::from_ref(stage),
                Origin::Unclear(stages) => stages,
                Origin::Image(_) => &[],
            };
            stages.iter().map(move |stage| (it, *stage))
        })
    }
}

/// Parses triggers as the build that inherits them does.
fn triggers(texts: &[(usize, String)]) -> Result<Vec<Instruction>, DockerfileError> {
    let read = |(line, text): &(usize, String)| {
        let fault =
            |message: String| DockerfileError { line: *line, column: 1, message: format!("ONBUILD: {message}") };
        let parsed = lines::parse(text.as_bytes(), false).map_err(|error| fault(error.message))?;
        let [statement] = parsed.statements.as_slice() else {
            return Err(fault("a trigger is one instruction".into()));
        };
        let read = instruction(statement, parsed.escape).map_err(|error| fault(error.message))?;
        Ok(Instruction {
            line: *line,
            text: format!("ONBUILD {}", read.text),
            kind: read.kind,
            normalized: read.normalized,
        })
    };
    texts.iter().map(read).collect()
}

/// What an instruction takes from other stages: the words that say so, the name,
/// and whether it may be a number. BuildKit treats a mount without `from` as one
/// of `scratch`.
pub fn froms(kind: &InstructionKind) -> Vec<(String, String, bool)> {
    match kind {
        InstructionKind::Copy(copy) => {
            copy.from.iter().map(|from| (format!("COPY --from={from}"), from.clone(), true)).collect()
        }
        InstructionKind::Run(mounts) => {
            let from = |mount: &String| {
                let fields = fields(mount).unwrap_or_default();
                let named = |field: &String| {
                    field
                        .split_once('=')
                        .filter(|(key, _)| key.eq_ignore_ascii_case("from"))
                        .map(|(_, it)| it.to_owned())
                };
                fields.iter().rev().find_map(named).filter(|from| !from.is_empty())
            };
            let said = |from: Option<String>| match from {
                Some(from) => (format!("RUN --mount=from={from}"), from, false),
                None => (String::new(), "scratch".into(), false),
            };
            mounts.iter().map(|mount| said(from(mount))).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::dockerfile::{BuildOptions, base_images};

    #[test]
    fn a_number_is_a_stage_for_a_target_and_an_image_for_from_and_for_a_mount() {
        for (text, target, expected) in [
            ("FROM a\nFROM b\n", Some("0"), Some("a")),
            ("FROM a\nFROM b\n", Some("1"), Some("b")),
            ("FROM a\nFROM b\n", Some("2"), None),
            ("FROM a AS x\nFROM 0\n", None, Some("0")),
            ("FROM scratch\nRUN --mount=from=0,target=/m true\n", None, Some("0")),
        ] {
            let found = base_images(text.as_bytes(), target, &BuildOptions::NOTHING).ok();
            assert_eq!(found, expected.map(|image| vec![image.to_owned()]), "{text} {target:?}");
        }
    }

    #[test]
    fn of_a_name_with_a_variable_the_rest_counts() {
        let text = b"FROM a AS x-end\nFROM b AS y\nFROM scratch\nCOPY --from=$A_B-end /a /\n";
        assert_eq!(base_images(text, None, &BuildOptions::NOTHING).unwrap(), ["a"]);
    }
}
