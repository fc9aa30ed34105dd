//! How a target is built, in a normal form: two Dockerfiles that build the same
//! target have the same form. It holds the instructions that the target reaches,
//! word by word, and the variables before the first FROM that they name.
//!
//! Text that ends in the image stays as written, including blanks in a shell
//! command, because BuildKit puts it into the history and reruns the step if it
//! changes. Text that does not end in the image is left out: comments, blanks
//! between words, names and numbers of stages, and other targets. If the form is
//! uncertain, it is the whole text.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use super::graph::{Graph, Origin, Stage, froms};
use super::instruction::{Instruction, InstructionKind};
use super::normalized::MetaArg;

/// How a target is built. Equal recipes and equal files give equal images.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    parts: Vec<RecipePart>,
}

/// The part of a Dockerfile where a target changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageLine {
    /// The stage, by name or number; none before the first stage.
    pub stage: Option<String>,
    /// The line, from 1; none if the whole file counts.
    pub line: Option<usize>,
}

impl fmt::Display for StageLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.stage, self.line) {
            (Some(stage), Some(line)) => write!(f, "stage {stage}, line {line}"),
            (None, Some(line)) => write!(f, "line {line}"),
            (_, None) => f.write_str("all of it counts: what a change of it touches can't be told"),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct RecipePart {
    place: StageLine,
    normalized: String,
}

impl Recipe {
    /// The whole text, if it is uncertain which part counts.
    pub(super) fn whole(text: &[u8]) -> Self {
        let place = StageLine { stage: None, line: None };
        Self { parts: vec![RecipePart { place, normalized: text.escape_ascii().to_string() }] }
    }

    /// Adds how it is built for another platform, which is mostly the same.
    pub(super) fn add(&mut self, parts: Vec<RecipePart>) {
        let forms = |parts: &[RecipePart]| parts.iter().map(|part| part.normalized.clone()).collect::<Vec<_>>();
        if forms(&self.parts) != forms(&parts) {
            self.parts.extend(parts);
        }
    }

    /// The frontend counts, too.
    pub(super) fn asks(&mut self, frontend: Option<(usize, String)>) {
        let part = |(line, syntax): (usize, String)| RecipePart {
            place: StageLine { stage: None, line: Some(line) },
            normalized: format!("syntax {syntax:?}"),
        };
        self.parts.splice(0..0, frontend.map(part));
    }

    /// The parts of the form, to be hashed.
    pub fn forms(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.normalized.as_str())
    }

    /// The first place where this differs from the older recipe, if it does.
    pub fn first_change(&self, older: &Self) -> Option<StageLine> {
        let same = self.forms().zip(older.forms()).take_while(|(new, old)| new == old).count();
        if same == self.parts.len() && same == older.parts.len() {
            return None;
        }
        // If the end was removed, the place is the last part that is left.
        let part = self.parts.get(same).or(self.parts.last())?;
        Some(part.place.clone())
    }
}

/// The parts that the reached stages are built from, or nothing if that is
/// uncertain.
pub fn parts(graph: &Graph, reached: &BTreeSet<usize>) -> Option<Vec<RecipePart>> {
    let part = |stage: &str, line: usize, normalized: String| RecipePart {
        place: StageLine { stage: Some(stage.to_owned()), line: Some(line) },
        normalized,
    };
    let mut parts = Vec::new();
    for at in reached {
        let stage = &graph.stages[*at];
        let name = stage.name.clone().unwrap_or_else(|| at.to_string());
        let base = origin(&stage.base.origin, reached)?;
        parts.push(part(&name, stage.line, format!("FROM {:?} {base:?}", stage.flags)));
        let mut uses = stage.uses.iter();
        for step in &stage.steps {
            let mut origins = Vec::new();
            for (text, ..) in froms(&step.kind).iter().filter(|(text, ..)| !text.is_empty()) {
                // A trigger that takes files from a stage that does not exist
                // yet, or from no stage.
                let used = uses.next().filter(|it| (it.line, &it.text) == (step.line, text))?;
                origins.push(origin(&used.origin, reached)?);
            }
            parts.push(part(&name, step.line, step.normalized.text(&origins)));
        }
        for (line, trigger) in &stage.triggers {
            parts.push(part(&name, *line, format!("ONBUILD {trigger:?}")));
        }
    }
    let first = StageLine { stage: None, line: Some(1) };
    let mut head = vec![RecipePart { place: first, normalized: format!("escape {:?}", graph.escape) }];
    head.extend(meta_args(graph, reached));
    Some([head, parts].concat())
}

/// A stage by its position among those that count, an image by its name.
fn origin(origin: &Origin, reached: &BTreeSet<usize>) -> Option<String> {
    match origin {
        Origin::Stage(at) => Some(format!("stage {}", reached.range(..at).count())),
        Origin::Image(image) => Some(format!("image {image}")),
        Origin::Unclear(_) => None,
    }
}

/// The variables that FROM or an ARG of these stages may use, and the variables
/// that their values use in turn.
fn meta_args(graph: &Graph, reached: &BTreeSet<usize>) -> Vec<RecipePart> {
    let mut meant: HashSet<&str> = HashSet::new();
    let mut any = false;
    for Stage { flags, image, steps, .. } in reached.iter().map(|at| &graph.stages[*at]) {
        flags.iter().chain([image]).for_each(|text| meant.extend(names(text)));
        for Instruction { kind, .. } in steps {
            let InstructionKind::Arg(args) = kind else { continue };
            for (name, _) in args {
                meant.extend(names(name));
                any |= !is_name(name);
            }
        }
    }
    let mut found = Vec::new();
    for MetaArg { line, name, default } in graph.args.iter().rev() {
        if any || !is_name(name) || meant.contains(name.as_str()) {
            meant.extend(default.iter().flat_map(|text| names(text)));
            let place = StageLine { stage: None, line: Some(*line) };
            found.push(RecipePart { place, normalized: format!("ARG {name:?} {default:?}") });
        }
    }
    found.reverse();
    found
}

/// Every word of a text that could be the name of a variable.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty())
}

fn is_name(text: &str) -> bool {
    names(text).eq([text])
}

#[cfg(test)]
mod tests {
    use super::super::{BaseConfig, BuildOptions, recipe};
    use super::*;

    const TEXT: &str = "\
ARG PY=3.11
ARG REST=1 NGINX=nginx:${REST}
FROM python:$PY AS base
ENV A=1  B=2
FROM base AS venv
ARG FLAGS
RUN pip  install \\
    x
FROM node AS dist
COPY --link web  /web/
RUN <<EOF
echo a
EOF
FROM base AS api
COPY --from=venv --chown=1 /opt /opt
COPY --from=1 /x /y
CMD [\"a\", \"b\"]
FROM $NGINX AS web
COPY --from=dist /web /srv
ONBUILD  RUN  a
";

    fn of(text: &str, target: &str) -> Recipe {
        recipe(text.as_bytes(), Some(target), &BuildOptions::NOTHING).unwrap()
    }

    /// What a change of one text does to `api` and to `web`.
    fn told(from: &str, to: &str) -> [String; 2] {
        assert!(TEXT.contains(from), "{from}");
        let text = TEXT.replacen(from, to, 1);
        ["api", "web"].map(|target| {
            let place = of(&text, target).first_change(&of(TEXT, target));
            place.map(|place| place.to_string()).unwrap_or_default()
        })
    }

    #[test]
    fn a_change_counts_for_whom_it_reaches_and_no_other() {
        for (from, to, api, web) in [
            ("nginx:", "caddy:", "", "line 2"),
            ("REST=1", "REST=2", "", "line 2"),
            ("PY=3.11", "PY=3.12", "line 1", ""),
            ("ENV A=1", "ENV A=0", "stage base, line 4", ""),
            ("RUN pip", "RUN uv", "stage venv, line 7", ""),
            ("ARG FLAGS\n", "", "stage venv, line 6", ""),
            ("COPY --link", "COPY", "", "stage dist, line 10"),
            ("echo a", "echo  a", "", "stage dist, line 11"),
            ("<<EOF\necho", "<<-EOF\necho", "", "stage dist, line 11"),
            ("chown=1", "chown=2", "stage api, line 15", ""),
            ("CMD [\"a\", \"b\"]\n", "", "stage api, line 16", ""),
            ("RUN  a", "RUN a", "", "stage web, line 20"),
            ("FROM node AS dist", "FROM --platform=linux/arm64 node AS dist", "", "stage dist, line 9"),
            ("FROM node AS dist", "FROM base AS dist", "", "line 1"),
            ("ARG PY", "# syntax=docker/dockerfile:1\nARG PY", "line 1", "line 1"),
            // The blanks of a shell's command are in the history.
            ("pip  install", "pip install", "stage venv, line 7", ""),
            ("    x", "  x", "stage venv, line 7", ""),
        ] {
            assert_eq!(told(from, to), [api, web], "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn comments_blanks_names_and_numbers_count_for_nobody() {
        for (from, to) in [
            ("ARG PY", "# a comment\n\n  ARG  PY"),
            ("ENV A=1  B=2", "  env A=1 B=2 \t"),
            ("install \\\n", "install \\\n# why\n\n"),
            ("web  /web/", "web \\\n /web/"),
            ("[\"a\", \"b\"]", "[ \"a\",\"b\" ]"),
            ("FROM $NGINX AS web", "FROM $NGINX as WEB"),
            ("ARG REST=1 NGINX", "ARG REST=1\nARG OTHER=2 NGINX"),
            ("--from=1", "--from=venv"),
            ("FROM node", "FROM scratch AS more\nCOPY x /\nFROM node"),
            ("FROM python", "FROM scratch AS more\nCOPY x /\nFROM python"),
        ] {
            // A stage above moves the numbers.
            let to = &to.to_owned();
            let text = TEXT.replacen(from, to, 1);
            let text = if to.ends_with("FROM python") { text.replace("--from=1", "--from=2") } else { text };
            assert!(TEXT.contains(from), "{from}");
            for target in ["api", "web"] {
                assert_eq!(of(&text, target).first_change(&of(TEXT, target)), None, "{from:?} -> {to:?}: {target}");
            }
        }
        let renamed = TEXT.replace("venv", "builder").replace("dist", "assets");
        assert_eq!(of(&renamed, "api").first_change(&of(TEXT, "api")), None);
        assert_eq!(of(&renamed, "web").first_change(&of(TEXT, "web")), None);
    }

    /// Built by BuildKit without a cache, both give one digest, history and all.
    #[test]
    fn two_spellings_are_one_recipe() {
        let plain = of(include_str!("spellings/plain.Dockerfile"), "api");
        assert_eq!(of(include_str!("spellings/odd.Dockerfile"), "api").first_change(&plain), None);
    }

    #[test]
    fn what_escapes_is_part_of_it() {
        let (plain, said) = ("FROM a AS t\nRUN a\n", ["# escape=\\\n", "# escape=`\n"]);
        let [same, other] = said.map(|line| of(&format!("{line}{plain}"), "t").first_change(&of(plain, "t")));
        assert_eq!((same, other.unwrap().to_string().as_str()), (None, "line 1"));
    }

    #[test]
    fn a_number_that_means_another_stage_counts() {
        let text = "FROM a\nFROM b\nFROM c AS x\nCOPY --from=1 /a /\n";
        let above = format!("FROM z\n{text}");
        let place = of(&above, "x").first_change(&of(text, "x"));
        assert_eq!(place.unwrap().to_string(), "stage 1, line 2");
        let last = |text: &str| recipe(text.as_bytes(), None, &BuildOptions::NOTHING).unwrap();
        assert!(last("FROM a\nFROM b\n").first_change(&last("FROM b\nFROM a\n")).is_some());
        assert!(last("FROM b\nFROM a\n").first_change(&last("FROM a\n")).is_none());
    }

    #[test]
    fn the_old_forms_are_told_from_the_new_and_a_list_from_words() {
        let rows = [
            "ENV A b c",
            "ENV A b  c",
            "ENV A=\"b  c\"",
            "ENV A=\"b c\"",
            "LABEL a b  c",
            "LABEL a b c",
            "LABEL a=b",
            "COPY a b /",
            "COPY [\"a\", \"b\", \"/\"]",
            "COPY [ a b /",
            "ADD a b /",
            "VOLUME /a /b",
            "VOLUME [\"/a\", \"/b\"]",
            "EXPOSE 1 2",
            "USER a  b",
            "USER a b",
            "WORKDIR a  b",
            "WORKDIR a b",
            "CMD a  b",
            "CMD a b",
            "CMD [\"a  b\"]",
            "ENTRYPOINT a",
            "SHELL [\"a\"]",
            "HEALTHCHECK NONE",
            "HEALTHCHECK  --retries=1 CMD a",
            "STOPSIGNAL 1",
            "MAINTAINER a",
            "RUN [\"a\"] b",
            "RUN [\"a\"]",
            "RUN --mount=type=tmpfs,target=/a a",
            "RUN a",
            "ARG A=\"b c\"",
            "ARG A=\"b  c\"",
            "ONBUILD RUN a",
            "COPY --from=x a /",
            "COPY --from=y a /",
            "RUN --mount=from=x,target=/a a",
        ];
        let recipes = rows.map(|row| of(&format!("FROM a AS t\n{row}\n"), "t"));
        for (at, one) in recipes.iter().enumerate() {
            for (other, second) in recipes.iter().enumerate() {
                assert_eq!(one.first_change(second).is_none(), at == other, "{} {}", rows[at], rows[other]);
            }
        }
    }

    #[test]
    fn where_nobody_can_tell_all_of_the_text_counts() {
        let all = "all of it counts: what a change of it touches can't be told";
        for text in [
            "# syntax=mine/own\nFROM a AS t\n",
            "# check=skip=all\nFROM a AS t\n",
            "# escape=`\n# check=error=true\nFROM a AS t\n",
            "FROM a AS x\nFROM b AS y\nFROM $TARGETARCH AS t\n",
            "FROM a AS t\nONBUILD COPY --from=t2 a /\nFROM t AS t2\n",
        ] {
            let target = if text.contains("t2") { "t2" } else { "t" };
            let place = of(&format!("{text}# more\n"), target).first_change(&of(text, target));
            assert_eq!(place.unwrap().to_string(), all, "{text}");
            assert_eq!(of(text, target).first_change(&of(text, target)), None);
        }
        // Both bytes are read as U+FFFD.
        let of = |text: &[u8]| recipe(text, None, &BuildOptions::NOTHING).unwrap();
        assert!(of(b"FROM a\nRUN \xE9\n").first_change(&of(b"FROM a\nRUN \xE8\n")).is_some());
    }

    #[test]
    fn any_variable_may_be_meant_where_its_name_is_made() {
        let of = |text: &str| of(text, "t");
        let rest = "FROM a AS t\n";
        let change = |from: &str, to: &str, rest: &str| {
            of(&format!("ARG {to}\n{rest}")).first_change(&of(&format!("ARG {from}\n{rest}"))).is_some()
        };
        assert!(!change("X=1", "X=2", rest));
        for more in ["ARG X", "ARG \"X\"", "ARG $Y", "ARG X\\Z", "ARG X=3"] {
            assert!(change("X=1", "X=2", &format!("{rest}{more}\n")), "{more}");
        }
        // A step that says the name and does not declare it has no such variable.
        assert!(!change("X=1", "X=2", &format!("{rest}RUN echo $X\n")));
        assert!(change("X=1", "X=2", "FROM --platform=${X:-b} a AS t\n"));
        assert!(change("X=1 Y=$X Z=${Y}", "X=2 Y=$X Z=${Y}", &format!("{rest}ARG Z\n")));
    }

    #[test]
    fn a_base_images_triggers_and_platforms_are_part_of_it() {
        let text = b"FROM --platform=$TARGETPLATFORM b AS t\nFROM x-${TARGETARCH} AS u\nCOPY --from=t /a /\n";
        let config = BaseConfig { env: vec![], onbuild: vec!["RUN a".into()] };
        let bases = std::collections::BTreeMap::from([("b".to_owned(), config)]);
        let of = |platforms: &[&'static str], known: bool| {
            let given = BuildOptions { platforms: platforms.to_vec(), ..BuildOptions::NOTHING };
            let given = if known { BuildOptions { bases: &bases, ..given } } else { given };
            recipe(text, None, &given).unwrap()
        };
        let (amd, both) = (of(&["linux/amd64"], false), of(&["linux/amd64", "linux/arm64"], false));
        assert!(both.first_change(&amd).is_some());
        assert_eq!(of(&["linux/amd64", "linux/amd64"], false).first_change(&amd), None);
        assert_eq!(of(&["linux/amd64"], true).first_change(&amd).unwrap().to_string(), "stage t, line 1");
    }
}
