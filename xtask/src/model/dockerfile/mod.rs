//! What a Dockerfile's target is made from: the stages that it reaches, the
//! images that those name, and what they read from the build context. Docker's
//! grammar is the parser crate's business.

mod expand;
pub mod inputs;
mod preparse;
mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use inputs::Inputs;
use stages::{Origin, Stage};

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

impl DockerfileError {
    fn of(error: &parse_dockerfile::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        Self { line, column, message: message.into() }
    }
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, " {}", self.message),
            line => write!(f, "{line}:{}: {}", self.column, self.message),
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
    let stages = stages::stages(text, build_args)?;
    let reached = reached(&stages, target)?;
    let origins = reached.iter().flat_map(|at| &stages[*at].origins);
    let mut images: Vec<String> = Vec::new();
    for origin in origins {
        match origin {
            Origin::Image(image) if !image.is_empty() && image != "scratch" && !images.contains(image) => {
                images.push(image.clone());
            }
            _ => {}
        }
    }
    Ok(images)
}

/// What the stages behind `target` read from the build context, before
/// `.dockerignore`. What can't be told widens to everything, with a warning.
///
/// Two things stand outside of the Dockerfile and are not seen: ONBUILD triggers
/// of an image, and an image's ENV of the name of an ARG with a value.
pub fn inputs(
    text: &str,
    target: Option<&str>,
    build_args: &BTreeMap<String, String>,
) -> Result<Inputs, DockerfileError> {
    let mut stages = stages::stages(text, build_args)?;
    let mut found = Inputs::default();
    for at in reached(&stages, target)? {
        let stage = &mut stages[at];
        found.stages.push(stage.name.clone().unwrap_or_else(|| at.to_string()));
        found.inputs.append(&mut stage.inputs);
        found.warnings.append(&mut stage.warnings);
        found.moving.append(&mut stage.moving);
    }
    // One trigger runs in many stages.
    let mut seen = Vec::new();
    found.warnings.retain(|warning| {
        !seen.contains(warning) && {
            seen.push(warning.clone());
            true
        }
    });
    Ok(found)
}

/// The stages that are built for `target`, in the order of the file.
fn reached(stages: &[Stage], target: Option<&str>) -> Result<BTreeSet<usize>, DockerfileError> {
    let whole = |message: String| DockerfileError { line: 0, column: 0, message };
    let last = stages.len().checked_sub(1).ok_or_else(|| whole("no FROM instruction".into()))?;
    let first = match target {
        None => last,
        Some(name) => stages::find(stages, name).ok_or_else(|| whole(no_stage(stages, name)))?,
    };
    let mut reached = BTreeSet::new();
    let mut queue = vec![first];
    while let Some(at) = queue.pop() {
        if reached.insert(at) {
            for origin in &stages[at].origins {
                match origin {
                    Origin::Stage(stage) => queue.push(*stage),
                    Origin::Unclear(stages) => queue.extend(stages),
                    Origin::Image(_) => {}
                }
            }
        }
    }
    Ok(reached)
}

fn no_stage(stages: &[Stage], name: &str) -> String {
    let known: Vec<&str> = stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    let nearest = known.iter().min_by_key(|known| distance(known, name));
    let nearest = nearest.filter(|known| distance(known, name) <= known.len().max(2) / 2);
    let hint = nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
    format!("no stage `{name}`; the stages are: {}{hint}", known.join(", "))
}

/// How many letters are to be added, dropped or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
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
    fn a_mistyped_target_is_answered_with_the_nearest() {
        let error = inputs(TEXT, Some("bulid"), &BTreeMap::new()).unwrap_err();
        assert!(error.message.ends_with("odd; did you mean `build`?"), "{error}");
    }

    #[test]
    fn a_syntax_error_has_its_line_and_column() {
        let error = base_images("FROM a\n  COPY x\n", None, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "2:3: COPY instruction requires at least two arguments");
        assert_eq!(
            inputs("# nothing\n", None, &BTreeMap::new()).unwrap_err().to_string(),
            " expected at least one FROM instruction"
        );
    }

    #[test]
    fn a_stage_that_a_variable_may_name_is_reached() {
        let text = "FROM a AS base-amd64\nFROM b AS base-arm64\nFROM c AS other\nFROM base-$TARGETARCH\nRUN true\n";
        assert_eq!(base_images(text, None, &BTreeMap::new()).unwrap(), ["a", "b"]);
        let arch = BTreeMap::from([("TARGETARCH".to_owned(), "amd64".to_owned())]);
        let text = format!("ARG TARGETARCH\n{text}");
        assert_eq!(base_images(&text, None, &arch).unwrap(), ["a"]);
    }

    /// What a target reads, as `line: sources`, and its warnings.
    fn told(text: &str) -> (Vec<String>, Vec<String>) {
        let inputs = inputs(text, None, &BTreeMap::new()).unwrap();
        let source = |source: &inputs::Source| match source.is_everything() {
            true => "*".to_owned(),
            false => source.text.clone(),
        };
        let lines = inputs.inputs.iter().map(|input| {
            let sources: Vec<String> = input.sources.iter().map(source).collect();
            format!("{}: {}", input.line, sources.join(" "))
        });
        let warnings = inputs.warnings.iter().map(|warning| format!("{}: {}", warning.line, warning.message));
        (lines.collect(), warnings.collect())
    }

    fn reads(text: &str, path: &str) -> bool {
        inputs(text, None, &BTreeMap::new()).unwrap().reads(path).is_some()
    }

    #[test]
    fn every_form_of_an_instruction_is_read() {
        let text = "FROM scratch AS a\nCOPY lib /\nFROM scratch AS unused\nCOPY . /\nFROM scratch\n\
            COPY --link \\\n # why\n x y* \\\n  /z/\nCOPY [\"a b\", \"/c\"]\nCOPY --from=a /lib /\nADD https://x.y/z git@h:r.git d /\n\
            COPY <<EOF k /\nCOPY no no\nEOF\nRUN cat <<EOF >x\nCOPY no no\nEOF\n\
            RUN --mount=type=bind,source=s,target=/s --mount=type=cache,target=/c true\nRUN --mount=target=/all true\n\
            RUN --mount=type=bind,from=a,source=no,target=/s true\n";
        let (lines, warnings) = told(text);
        assert_eq!(lines, ["2: lib", "6: x y*", "10: a b", "12: d", "13: k", "19: s", "20: *"]);
        assert_eq!(warnings, Vec::<String>::new());
        let inputs = inputs(text, None, &BTreeMap::new()).unwrap();
        assert_eq!(inputs.stages, ["a", "2"]);
        assert_eq!(inputs.inputs[1].instruction, "COPY --link x y* /z/");
        assert_eq!(inputs.inputs[2].instruction, "COPY [\"a b\", \"/c\"]");
        assert_eq!(inputs.inputs[5].instruction, "RUN --mount=type=bind,source=s,target=/s");
        assert_eq!(inputs.reads("yes/a").map(|input| input.line), Some(6));
        assert_eq!(inputs.reads("lib/x").map(|input| input.line), Some(2));
        let missing = inputs.missing(&["lib/x", "x", "a b", "d", "s/t"]);
        assert_eq!(missing.iter().map(|(i, s)| (i.line, s.text.as_str())).collect::<Vec<_>>(), [(6, "y*"), (13, "k")]);
    }

    #[test]
    fn variables_are_followed_and_what_is_not_known_widens() {
        let text = "ARG APP=apps/x OTHER\nFROM scratch AS below\nARG APP\nENV SUB=src\nFROM below\n\
            COPY $APP/${SUB}/a ${NO:-b} /\nCOPY ${OTHER} /\nARG TARGETARCH\nADD bin-$TARGETARCH https://x/$NOPE /\n\
            RUN --mount=source=$SUB,target=/s --mount=target=/q,source=\"a,b\" true\nCOPY [x /\nCOPY a\\\\b c /\n";
        let (lines, warnings) = told(text);
        assert_eq!(lines, ["6: $APP/${SUB}/a ${NO:-b}", "7: *", "9: *", "10: $SUB", "10: *", "11: *", "12: * c"]);
        assert!(reads(&text[..text.find("COPY ${O").unwrap()], "apps/x/src/a/deep"));
        assert_eq!(warnings.len(), 5, "{warnings:?}");
        assert_eq!(warnings[0], "7: `${OTHER}`: `$OTHER` has no certain value; taken as everything in the context");
    }

    #[test]
    fn what_may_be_another_tomorrow_is_told_with_its_line() {
        let hash = "a".repeat(40);
        let text = format!(
            "FROM a AS unused\nADD https://x.y/u /\nFROM os-$TARGETARCH\nADD https://x.y/a b /\n\
             ADD --checksum=sha256:00 https://x.y/c /\nADD https://x.y/r.git#{hash}:sub /\nADD git@x.y:r.git#main /\n\
             COPY --from=t-$TARGETARCH /x /\n"
        );
        let moving = inputs(&text, None, &BTreeMap::new()).unwrap().moving;
        assert_eq!(moving.iter().map(|it| it.line).collect::<Vec<_>>(), [3, 4, 7, 8], "{moving:?}");
        assert_eq!(moving[1].message, "`ADD https://x.y/a`: what is there may change");
    }

    #[test]
    fn a_trigger_runs_in_the_stage_above_and_in_no_other() {
        let text = "FROM scratch AS a\nARG D=x\nONBUILD COPY $D /\nFROM a AS b\nENV D=y\nFROM b\n";
        assert_eq!(told(text).0, ["3: $D"]);
        assert!(reads(text, "x/1") && !reads(text, "y"));
        assert_eq!(inputs(text, None, &BTreeMap::new()).unwrap().inputs[0].instruction, "ONBUILD COPY $D /");
        assert_eq!(inputs(text, Some("a"), &BTreeMap::new()).unwrap().inputs, []);
    }

    #[test]
    fn the_escape_directive_counts_and_a_foreign_frontend_reads_everything() {
        let text = "# escape=`\nFROM scratch\nCOPY a `\n b /\nCOPY [\"c\\\\**\", \"/\"]\n";
        assert_eq!(told(text).0, ["3: a b", "5: c\\**"]);
        assert!(reads(text, "c*d") && !reads(text, "cd"));
        assert_eq!(told("# syntax=docker/dockerfile:1.7-labs\nFROM scratch\nCOPY a /").0, ["3: a"]);
        let (lines, warnings) = told("# syntax=ghcr.io/x/mopy\nFROM scratch\nCOPY a /");
        assert_eq!((lines, warnings.len()), (vec!["3: a".to_owned(), "1: *".to_owned()], 1));
    }

    #[test]
    fn a_from_that_is_empty_is_none() {
        let text = "FROM scratch\nCOPY --from= a /\nRUN --mount=from=,source=b,target=/b true\n";
        assert_eq!(told(text).0, ["2: a", "3: b"]);
        assert_eq!(base_images("FROM a AS x1\nFROM \"x${BUILDOS}\"\n", None, &BTreeMap::new()).unwrap(), ["a"]);
    }

    /// The examples of the Dockerfile reference, `COPY --exclude` and `--parents`.
    #[test]
    fn exclude_and_parents_are_as_documented() {
        let text = "FROM scratch\nCOPY --exclude=*.txt --exclude=*.md hom* /mydir/\n";
        assert!(reads(text, "home.rs") && !reads(text, "home.txt") && !reads(text, "home.md"));
        let text = "FROM scratch\nCOPY --exclude=*.txt --exclude=sub dir /\n";
        assert!(
            reads(text, "dir/a")
                && reads(text, "dir/x/a.txt")
                && !reads(text, "dir/a.txt")
                && !reads(text, "dir/sub/a")
        );
        assert!(reads("FROM scratch\nCOPY --exclude=$NO dir /\n", "dir/a"));

        let text = "FROM scratch\nCOPY --parents ./x/a.txt ./y/a.txt /parents/\n";
        assert!(reads(text, "x/a.txt") && reads(text, "y/a.txt") && !reads(text, "x/b.txt"));
        let text = "FROM scratch\nCOPY --parents ./x/./y/*.txt ./x/./**/*.md /parents/\n";
        assert!(reads(text, "x/y/a.txt") && reads(text, "x/z/q/a.md") && reads(text, "x/a.md"));
        assert!(!reads(text, "x/a.txt") && !reads(text, "y/a.txt") && !reads(text, "z/a.md"));
        let text = "FROM scratch\nCOPY --parents ./x/./*/c.txt /parents/\n";
        assert!(reads(text, "x/d/c.txt") && !reads(text, "x/c.txt") && !reads(text, "x/d/e/c.txt"));
        let text = "FROM scratch\nCOPY --parents src/**/package.json --exclude=no . /p/\n";
        assert!(reads(text, "src/a/b/package.json"), "a flag behind a source is a source");
        let text = "FROM scratch\nCOPY --parents --exclude=**/no **/package.json /p/\n";
        assert!(reads(text, "src/a/package.json") && reads(text, "package.json") && !reads(text, "no/package.json"));
        assert!(!reads(text, "src/package.json.bak"));
    }

    #[test]
    fn links_are_followed_where_a_source_names_them() {
        let text = "FROM scratch\nCOPY link/a glob* dir /\n";
        let mut inputs = inputs(text, None, &BTreeMap::new()).unwrap();
        inputs.follow(&[
            ("link", "/real"),
            ("globbed", "x/../other"),
            ("other", "third"),
            ("dir/inner", "no"),
            ("q", "no"),
        ]);
        let read = |path: &str| inputs.reads(path).is_some();
        assert!(read("real/a") && read("other/b") && read("third/c") && !read("no/d") && !read("dir2"));
    }

    #[test]
    fn no_text_panics() {
        const PARTS: [&str; 30] = [
            "FROM ",
            "a",
            " AS ",
            "b",
            "\n",
            "\n",
            "\nCOPY ",
            "\nADD ",
            "\nRUN ",
            "--from=",
            "--mount=",
            "type=bind,",
            "source=",
            " ",
            "<<",
            "EOF",
            "\nEOF\n",
            "[\"",
            "\"",
            "]",
            "$A",
            "${A:-",
            "}",
            "\\",
            "`",
            "# escape=`\n",
            "ü",
            "\nARG A=b ",
            "\nONBUILD ",
            "--parents ",
        ];
        arbtest::arbtest(|u| {
            let mut text = String::from(if u.arbitrary()? { "FROM scratch\n" } else { "" });
            for _ in 0..u.int_in_range(0..=40)? {
                text.push_str(u.choose::<&str>(&PARTS)?);
            }
            if let Ok(inputs) = inputs(&text, None, &BTreeMap::new()) {
                let _ = inputs.reads("a/b");
            }
            let _ = base_images(&u.arbitrary::<String>()?, None, &BTreeMap::new());
            Ok(())
        })
        .budget_ms(500);
    }
}
