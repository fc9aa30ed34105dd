//! One walk over the instructions, in their order: what each stage is built on,
//! takes from others, reads from the context, and which variables it has.

use std::collections::BTreeMap;
use std::ops::Range;

use parse_dockerfile::{Flag, FromInstruction, Instruction, Source as Written};

use super::expand::Scope;
use super::inputs::{Input, Source, Warning};
use super::{DockerfileError, preparse};
use crate::model::dockerignore::Dockerignore;
use crate::model::event::is_commit;

/// Where FROM, `--from` or a mount's `from` leads.
pub enum Origin {
    Stage(usize),
    Image(String),
    /// A variable stands in the way: these stages could be meant.
    Unclear(Vec<usize>),
}

/// What is known about one stage.
pub struct Stage {
    pub name: Option<String>,
    /// What it is built on first, then what it takes from.
    pub origins: Vec<Origin>,
    pub inputs: Vec<Input>,
    pub warnings: Vec<Warning>,
    pub moving: Vec<Warning>,
    scope: Scope,
}

/// Reads all stages.
pub fn stages(text: &str, build_args: &BTreeMap<String, String>) -> Result<Vec<Stage>, DockerfileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let directives = preparse::directives(text);
    let text = preparse::without_empty_lists(text);
    let blanked = preparse::blanked(&text, directives.escape)?;
    // Not `parse`, which refuses a name that is given twice; BuildKit takes the last.
    let instructions: Vec<_> = parse_dockerfile::parse_iter(&blanked)
        .and_then(Iterator::collect)
        .map_err(|error: parse_dockerfile::Error| DockerfileError::of(&error))?;
    let escape = directives.escape;
    let mut walk =
        Walk { text: &text, escape, build_args, globals: Scope::global(escape), stages: vec![], triggers: vec![] };
    for instruction in &instructions {
        match instruction {
            Instruction::From(from) => walk.open(from),
            Instruction::Arg(arg) if walk.stages.is_empty() => {
                walk.globals.arg(&arg.arguments.value, None, build_args);
            }
            Instruction::Onbuild(onbuild) => {
                if let Some(triggers) = walk.triggers.last_mut() {
                    triggers.push((onbuild.onbuild.span.start, &onbuild.instruction));
                }
            }
            other => walk.step(other, None),
        }
    }
    if let Some((line, syntax)) = directives.syntax.filter(|(_, syntax)| !is_dockers(syntax)) {
        for stage in &mut walk.stages {
            let instruction = format!("# syntax={syntax}");
            let message =
                format!("`{instruction}`: what this frontend reads is not known; taken as everything in the context");
            stage.inputs.push(Input { line, instruction, sources: vec![Source::everything(syntax)] });
            stage.warnings.push(Warning { line, message });
        }
    }
    Ok(walk.stages)
}

/// The stage of a name, the last one if there are several, or of a number.
pub fn find(stages: &[Stage], name: &str) -> Option<usize> {
    let named = |stage: &Stage| stage.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name));
    stages.iter().rposition(named).or_else(|| name.parse().ok().filter(|index| *index < stages.len()))
}

fn is_dockers(syntax: &str) -> bool {
    let name = syntax.strip_prefix("docker.io/").unwrap_or(syntax);
    ["docker/dockerfile", "docker/dockerfile-upstream"]
        .iter()
        .any(|known| name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@'])))
}

struct Walk<'t, 'i, 'x> {
    text: &'t str,
    escape: char,
    build_args: &'t BTreeMap<String, String>,
    globals: Scope,
    stages: Vec<Stage>,
    /// ONBUILD, by stage, with the place of the word.
    triggers: Vec<Vec<(usize, &'i Instruction<'x>)>>,
}

impl<'i, 'x> Walk<'_, 'i, 'x> {
    /// Begins a stage: variables come from the stage below, and its triggers run.
    fn open(&mut self, from: &FromInstruction<'_>) {
        let origin = self.origin(&from.image.value, &self.stages);
        let (mut inherited, mut warnings, mut moving) = (Vec::new(), Vec::new(), Vec::new());
        let scope = match &origin {
            Origin::Stage(at) => {
                inherited.clone_from(&self.triggers[*at]);
                self.stages[*at].scope.clone()
            }
            Origin::Image(image) => Scope::on_image(self.escape, image),
            Origin::Unclear(stages) => {
                inherited.extend(stages.iter().flat_map(|at| self.triggers[*at].iter().copied()));
                warnings.extend(self.unclear(from.from.span.start, "FROM", &from.image.value, stages));
                moving.push(self.uncertain(from.from.span.start, "FROM", &from.image.value));
                Scope::on_image(self.escape, "")
            }
        };
        let name = from.as_.as_ref().map(|(_, name)| name.value.to_lowercase());
        self.stages.push(Stage { name, origins: vec![origin], inputs: vec![], warnings, moving, scope });
        self.triggers.push(Vec::new());
        for (start, trigger) in inherited {
            self.step(trigger, Some(start));
        }
    }

    /// One instruction of the last stage; a trigger comes with its ONBUILD.
    fn step(&mut self, instruction: &Instruction<'_>, onbuild: Option<usize>) {
        let Some(stage) = self.stages.last_mut() else { return };
        match instruction {
            Instruction::Arg(arg) => stage.scope.arg(&arg.arguments.value, Some(&self.globals), self.build_args),
            Instruction::Env(env) => stage.scope.env(&env.arguments.value),
            Instruction::Copy(copy) => {
                let start = onbuild.unwrap_or(copy.copy.span.start);
                self.copy(start..copy.dest.span.end, &copy.options, &copy.src, false);
            }
            Instruction::Add(add) => {
                let start = onbuild.unwrap_or(add.add.span.start);
                self.copy(start..add.dest.span.end, &add.options, &add.src, true);
            }
            Instruction::Run(run) => {
                for flag in run.options.iter().filter(|flag| flag.name.value == "mount") {
                    self.mount(flag);
                }
            }
            _ => {}
        }
    }

    fn copy(&mut self, span: Range<usize>, flags: &[Flag<'_>], written: &[Written<'_>], add: bool) {
        let value = |name: &'static str| values(flags, name);
        if let Some(from) = value("from").flatten().find(|from| !add && !from.is_empty()) {
            return self.take_from(span.start, "COPY --from", from);
        }
        let parents = value("parents").any(|value| value != Some("false"));
        let (line, mut sources, mut warnings) = (self.line(span.start), Vec::new(), Vec::new());
        let Some(stage) = self.stages.last_mut() else { return };
        // One that can't be read leaves out nothing, and neither do the others.
        let excluded: Option<Vec<String>> = value("exclude").map(|value| stage.scope.expand(value?).ok()).collect();
        let excluded = excluded
            .filter(|excluded| !excluded.is_empty())
            .and_then(|excluded| Dockerignore::of(excluded.iter().map(String::as_str)).ok());
        for source in written {
            let Written::Path(text) = source else { continue };
            let text = text.value.as_ref();
            let expanded = stage.scope.expand(text);
            let url = expanded.as_deref().unwrap_or(text);
            if add && is_remote(url) {
                if value("checksum").next().is_none() && !is_pinned(url) {
                    stage.moving.push(Warning { line, message: format!("`ADD {text}`: what is there may change") });
                }
                continue;
            }
            let source = match expanded {
                Ok(expanded) => Source::of(text, &expanded, parents),
                Err(why) => Err(why),
            };
            sources.push(source.map(|source| source.without(excluded.clone())).unwrap_or_else(|why| {
                warnings.push(Warning { line, message: widened(text, &why) });
                Source::everything(text)
            }));
        }
        stage.warnings.append(&mut warnings);
        if !sources.is_empty() {
            let instruction = self.on_one_line(span);
            self.push(Input { line, instruction, sources });
        }
    }

    /// `RUN --mount=`: without `from`, a bind mount shows the context.
    fn mount(&mut self, flag: &Flag<'_>) {
        let text = flag.value.as_ref().map(|value| value.value.as_ref()).unwrap_or_default();
        let (mut kind, mut source, mut from) = ("bind".to_owned(), "", None);
        for field in text.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key.to_lowercase().as_str() {
                "type" => kind = value.to_lowercase(),
                "source" | "src" => source = value,
                "from" => from = Some(value).filter(|from| !from.is_empty()),
                _ => {}
            }
        }
        let (span, instruction) = (flag.span(), format!("RUN --mount={text}"));
        if let Some(from) = from {
            self.take_from(span.start, "RUN --mount from", from);
        }
        // Quotes may hold a comma or a space: then the fields are others.
        let quoted = text.contains(['"', '\'', self.escape]);
        let line = self.line(span.start);
        let Some(stage) = self.stages.last_mut() else { return };
        let expanded = stage.scope.expand(source);
        let unsure = if quoted {
            "quotes in a mount are not understood here"
        } else if kind.contains('$') {
            "the type of a mount is a variable"
        } else if kind != "bind" || from.is_some() {
            return;
        } else if let Err(why) = &expanded {
            why
        } else {
            ""
        };
        let source = match &expanded {
            Ok(expanded) if unsure.is_empty() => Source::mounted(source, expanded),
            _ => {
                stage.warnings.push(Warning { line, message: widened(&instruction, unsure) });
                Source::everything(source)
            }
        };
        self.push(Input { line, instruction, sources: vec![source] });
    }

    fn take_from(&mut self, start: usize, what: &str, name: &str) {
        let Some(before) = self.stages.len().checked_sub(1) else { return };
        let origin = match find(&self.stages[..before], name) {
            Some(at) => Origin::Stage(at),
            None => self.origin(name, &self.stages[..before]),
        };
        let (warning, moving) = match &origin {
            Origin::Unclear(stages) => {
                (self.unclear(start, what, name, stages), Some(self.uncertain(start, what, name)))
            }
            _ => (None, None),
        };
        if let Some(stage) = self.stages.last_mut() {
            stage.origins.push(origin);
            stage.warnings.extend(warning);
            stage.moving.extend(moving);
        }
    }

    fn push(&mut self, input: Input) {
        if let Some(stage) = self.stages.last_mut() {
            stage.inputs.push(input);
        }
    }

    /// A name in FROM: only what stands before the first FROM is replaced.
    fn origin(&self, name: &str, before: &[Stage]) -> Origin {
        let Ok(name) = self.globals.expand(name) else {
            // What is written around the variables must fit.
            let (start, _) = name.split_once('$').unwrap_or((name, ""));
            let end = name.rsplit('$').next().unwrap_or_default();
            let end = match end.rfind('}') {
                Some(at) => &end[at + 1..],
                None => end.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
            };
            let (start, end) = (start.trim_start_matches(['"', '\'']), end.trim_end_matches(['"', '\'']));
            let fits = |known: &str| known.starts_with(&start.to_lowercase()) && known.ends_with(&end.to_lowercase());
            let stages = before.iter().enumerate();
            let stages = stages.filter(|(_, stage)| stage.name.as_deref().is_some_and(fits)).map(|(at, _)| at);
            return Origin::Unclear(stages.collect());
        };
        let named = |stage: &Stage| stage.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(&name));
        before.iter().rposition(named).map_or(Origin::Image(name.clone()), Origin::Stage)
    }

    fn unclear(&self, start: usize, what: &str, name: &str, stages: &[usize]) -> Option<Warning> {
        let names: Vec<_> = stages.iter().filter_map(|at| self.stages[*at].name.as_deref()).collect();
        let message = format!("`{what} {name}` has no certain value; taken as any of: {}", names.join(", "));
        (!names.is_empty()).then(|| Warning { line: self.line(start), message })
    }

    fn uncertain(&self, start: usize, what: &str, name: &str) -> Warning {
        Warning { line: self.line(start), message: format!("`{what} {name}` has no certain value") }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    /// The instruction to the end of its last line, without its breaks.
    fn on_one_line(&self, span: Range<usize>) -> String {
        let rest = self.text.get(span.end..).unwrap_or_default();
        let end = span.end + rest.find('\n').unwrap_or(rest.len());
        let lines = self.text.get(span.start..end).unwrap_or_default().lines().map(str::trim);
        let lines = lines.filter(|line| !line.starts_with('#')).map(|line| line.trim_end_matches(self.escape));
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    }
}

/// What is given to a flag, each time that it is given.
fn values<'f>(flags: &'f [Flag<'_>], name: &'static str) -> impl Iterator<Item = Option<&'f str>> {
    let named = flags.iter().filter(move |flag| flag.name.value == name);
    named.map(|flag| flag.value.as_ref().map(|value| value.value.as_ref()))
}

fn widened(text: &str, why: &str) -> String {
    format!("`{text}`: {why}; taken as everything in the context")
}

/// A URL or a git repository, which ADD fetches.
fn is_remote(text: &str) -> bool {
    let scheme = ["http://", "https://", "git://", "ssh://"].iter().any(|scheme| text.starts_with(scheme));
    let ssh = text.split_once(':').is_some_and(|(host, _)| {
        host.split_once('@').is_some_and(|(user, host)| {
            let plain = |part: &str| !part.is_empty() && !part.contains(['/', '$', '*', '?', '[']);
            plain(user) && plain(host)
        })
    });
    scheme || ssh
}

/// Whether a git repository is named at a commit, which never changes.
fn is_pinned(url: &str) -> bool {
    let reference = url.split_once('#').map_or("", |(_, rest)| rest.split(':').next().unwrap_or_default());
    is_commit(reference)
}
