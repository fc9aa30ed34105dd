//! Dockerfiles beside what BuildKit makes of them.

use super::*;

fn images_of(text: &str, target: Option<&str>, given: &BuildOptions<'_>) -> Vec<String> {
    base_images(text.as_bytes(), target, given).unwrap()
}

fn inputs_of(text: &str) -> Inputs {
    inputs(text.as_bytes(), None, &BuildOptions::NOTHING).unwrap()
}

const TEXT: &str = "ARG PY=3.11\nFROM python:${PY}-slim AS base\nFROM node:24 AS assets\nRUN true\n\
    FROM base AS Build\nCOPY --from=ghcr.io/astral-sh/uv:1 /uv /uv\nRUN --mount=type=bind,from=busybox:1,target=/b true\n\
    FROM base\nCOPY --from=build /x /x\nFROM nginx:1 AS web\nCOPY --from=1 /y /y\nFROM ${BUILDARCH}/x AS odd\n";

fn images(target: &str) -> Vec<String> {
    images_of(TEXT, Some(target), &BuildOptions::NOTHING)
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
    let given = BuildOptions { build_args: &args, ..BuildOptions::NOTHING };
    assert_eq!(images_of(TEXT, Some("base"), &given), ["python:3.12-slim"]);
}

#[test]
fn a_missing_target_lists_the_stages() {
    let error = base_images(TEXT.as_bytes(), Some("nope"), &BuildOptions::NOTHING).unwrap_err();
    assert_eq!(error.message, "no stage `nope`; the stages are: base, assets, build, web, odd");
}

#[test]
fn a_mistyped_target_is_answered_with_the_nearest() {
    let error = inputs(TEXT.as_bytes(), Some("bulid"), &BuildOptions::NOTHING).unwrap_err();
    assert!(error.message.ends_with("odd; did you mean `build`?"), "{error}");
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    let error = inputs(b"FROM a\n  COPY x\n", None, &BuildOptions::NOTHING).unwrap_err();
    assert_eq!(error.to_string(), "2:3: COPY requires at least two arguments");
    assert_eq!(
        inputs(b"# nothing\n", None, &BuildOptions::NOTHING).unwrap_err().to_string(),
        " no FROM instruction; write one, such as `FROM scratch`"
    );
}

#[test]
fn a_stage_that_a_variable_may_name_is_reached() {
    let text = "FROM a AS base-amd64\nFROM b AS base-arm64\nFROM c AS other\nFROM base-$TARGETARCH\nRUN true\n";
    assert_eq!(images_of(text, None, &BuildOptions::NOTHING), ["a", "b"]);
    let arch = BTreeMap::from([("TARGETARCH".to_owned(), "amd64".to_owned())]);
    let text = format!("ARG TARGETARCH\n{text}");
    assert_eq!(images_of(&text, None, &BuildOptions { build_args: &arch, ..BuildOptions::NOTHING }), ["a"]);
    let given = BuildOptions { platforms: vec!["linux/arm64"], ..BuildOptions::NOTHING };
    assert_eq!(images_of(&text[text.find('\n').unwrap() + 1..], None, &given), ["b"]);
}

/// What a target reads, as `line: sources`, and its warnings.
fn told(text: &str) -> (Vec<String>, Vec<String>) {
    let inputs = inputs_of(text);
    let source = |source: &inputs::CopySource| match source.is_everything() {
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
    inputs_of(text).reads(path).is_some()
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
    let inputs = inputs_of(text);
    assert_eq!(inputs.stages, ["a", "2"]);
    assert_eq!(inputs.inputs[1].instruction, "COPY --link x y* /z/");
    assert_eq!(inputs.inputs[2].instruction, "COPY [\"a b\", \"/c\"]");
    assert_eq!(inputs.inputs[5].instruction, "RUN --mount=type=bind,source=s,target=/s");
    assert_eq!(inputs.reads("yes/a").map(|input| input.line), Some(6));
    assert_eq!(inputs.reads("lib/x").map(|input| input.line), Some(2));
    let missing = inputs.missing(|source| ["lib/x", "x", "a b", "d", "s/t"].iter().any(|file| source.reads(file)));
    assert_eq!(missing.iter().map(|(i, s)| (i.line, s.text.as_str())).collect::<Vec<_>>(), [(6, "y*"), (13, "k")]);
}

#[test]
fn variables_are_followed_and_what_is_not_known_widens() {
    let text = "ARG APP=apps/x OTHER\nFROM scratch AS below\nARG APP\nENV SUB=src\nFROM below\n\
        COPY $APP/${SUB}/a ${NO:-b} /\nCOPY ${OTHER} /\nARG TARGETARCH\nADD bin-$TARGETARCH https://x/$NOPE /\n\
        RUN --mount=source=$SUB,target=/s --mount=target=/q,source=\"a,b\" true\nCOPY [x /\nCOPY a\\\\b c /\n";
    let (lines, warnings) = told(text);
    assert_eq!(lines, ["6: $APP/${SUB}/a ${NO:-b}", "7: *", "9: *", "10: $SUB", "10: a", "11: *", "12: * c"]);
    assert!(reads(&text[..text.find("COPY ${O").unwrap()], "apps/x/src/a/deep"));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let expected = "9: `bin-$TARGETARCH`: `$TARGETARCH` has no certain value; taken as everything in the context";
    assert_eq!(warnings[0], expected);
}

#[test]
fn what_may_be_another_tomorrow_is_told_with_its_line() {
    let hash = "a".repeat(40);
    let text = format!(
        "FROM a AS unused\nADD https://x.y/u /\nFROM os-$TARGETARCH\nADD https://x.y/a b /\n\
         ADD --checksum=sha256:00 https://x.y/c /\nADD https://x.y/r.git#{hash}:sub /\nADD git@x.y:r.git#main /\n\
         COPY --from=t-$TARGETARCH /x /\n"
    );
    let moving = inputs_of(&text).moving;
    assert_eq!(moving.iter().map(|it| it.line).collect::<Vec<_>>(), [3, 4, 7, 8], "{moving:?}");
    assert_eq!(moving[1].message, "`ADD https://x.y/a`: what is there may change");
}

/// What ADD fetches, on a base that sets `U`, or that nobody knows.
fn moves(source: &str, base_is_known: bool) -> bool {
    let text = format!("ARG S=https\nFROM base\nARG S\nENV E=https://x/y\nADD {source} /\n");
    let config = BaseConfig { env: vec![("U".into(), "https://x/z".into())], onbuild: vec![] };
    let known = BTreeMap::from([("base".to_owned(), config)]);
    let bases = if base_is_known { &known } else { &BTreeMap::new() };
    !inputs(text.as_bytes(), None, &BuildOptions { bases, ..BuildOptions::NOTHING }).unwrap().moving.is_empty()
}

#[test]
fn an_add_of_what_may_be_a_url_may_be_another_tomorrow() {
    let commit = "0".repeat(40);
    for source in [
        "$S://x/y",
        "${S}://x/y.git#main",
        "$E",
        "$U",
        "${NO:-https://x}/y",
        "--checksum= https://x/y",
        "--checksum=$NO https://x/y",
        "--checksum=sha256:00 https://x/y.git#main",
        &format!("https://x/y#{commit}"),
        &format!("https://x/y.git#{commit}0"),
        "vendor/y.git",
    ] {
        assert!(moves(source, true) && moves(source, false), "{source}");
    }
    for source in ["a", "$NO", "--checksum=$S https://x/y", &format!("$S://x/y.git#{commit}"), "./vendor/y.git"] {
        assert!(!moves(source, true), "{source}");
    }
    assert!(moves("$NO", false), "the image may set it");
}

#[test]
fn what_a_base_image_inherits_to_a_build_counts() {
    let config = BaseConfig {
        env: vec![("DIR".into(), "lib".into())],
        onbuild: vec!["COPY $DIR /".into(), "RUN --mount=source=sub,target=/s true".into(), "COPY <<x k /\nx\n".into()],
    };
    let bases = BTreeMap::from([("base".to_owned(), config)]);
    let given = BuildOptions { bases: &bases, ..BuildOptions::NOTHING };
    let text = b"FROM other AS unused\nFROM base\nCOPY $DIR$NO/x /\n";
    let found = inputs(text, None, &given).unwrap();
    let told = |it: &inputs::Input| format!("{}: {} {:?}", it.line, it.instruction, it.sources[0].text);
    assert_eq!(
        found.inputs.iter().map(told).collect::<Vec<_>>(),
        [
            "2: ONBUILD COPY $DIR / \"$DIR\"",
            "2: RUN --mount=source=sub,target=/s \"sub\"",
            "2: ONBUILD COPY <<x k / \"k\"",
            "3: COPY $DIR$NO/x / \"$DIR$NO/x\""
        ]
    );
    assert!(found.reads("lib/a").is_some() && found.reads("sub/a").is_some() && found.reads("a").is_none());
    assert_eq!((found.unknown_bases, found.warnings), (vec![], vec![]));
    let unknown = inputs(text, None, &BuildOptions::NOTHING).unwrap();
    assert_eq!(unknown.unknown_bases, ["base"]);
    let text = b"FROM base\nONBUILD RUN true\nCOPY --from=tool /x /\nFROM scratch\nCOPY --from=0 /x /\n";
    assert_eq!(
        inputs(text, None, &BuildOptions::NOTHING).unwrap().unknown_bases,
        ["base"],
        "nobody inherits from `tool`"
    );
    let broken = BaseConfig { onbuild: vec!["NOPE".into()], ..BaseConfig::default() };
    let bases = BTreeMap::from([("base".to_owned(), broken)]);
    assert!(inputs(b"FROM base", None, &BuildOptions { bases: &bases, ..BuildOptions::NOTHING }).is_err());
    assert!(inputs(b"FROM base\nFROM scratch", None, &BuildOptions { bases: &bases, ..BuildOptions::NOTHING }).is_ok());
}

#[test]
fn the_platforms_of_a_build_are_variables_of_it() {
    let text = b"FROM scratch\nARG TARGETARCH TARGETPLATFORM\nCOPY bin-$TARGETARCH $TARGETPLATFORM same /\n";
    let found =
        inputs(text, None, &BuildOptions { platforms: vec!["linux/amd64", "linux/arm/v7"], ..BuildOptions::NOTHING })
            .unwrap();
    for path in ["bin-amd64/x", "bin-arm", "linux/amd64/y", "linux/arm/v7", "same"] {
        assert!(found.reads(path).is_some(), "{path}");
    }
    for path in ["bin-arm64", "linux/arm", "bin-", "other"] {
        assert!(found.reads(path).is_none(), "{path}");
    }
    assert_eq!((found.warnings.len(), found.inputs.len(), found.stages), (0, 2, vec!["0".to_owned()]));
}

#[test]
fn a_stage_is_found_by_name_and_by_number() {
    for from in ["0", "\"0\"", "+0", "00", "A", "'a'"] {
        let text = format!("FROM scratch AS a\nCOPY a /\nFROM scratch\nCOPY --from={from} /a /\n");
        assert_eq!(told(&text).0, ["2: a"], "{from}");
    }
    // Behind the last stage BuildKit counts on with the images that are named before.
    let text = "FROM scratch\nCOPY --from=x /a /\nRUN --mount=target=/m true\nCOPY --from=2 /b /\n";
    assert_eq!(images_of(text, None, &BuildOptions::NOTHING), ["x"]);
    let error = inputs(b"FROM scratch\nCOPY --from=1 /a /\n", None, &BuildOptions::NOTHING).unwrap_err();
    assert_eq!(error.to_string(), "2:1: `COPY --from=1`: no stage has this number; there are 1, the first is 0");
    let error = inputs(b"RUN true\nFROM a\n", None, &BuildOptions::NOTHING).unwrap_err();
    assert!(error.to_string().starts_with("1:1: no instruction but ARG"), "{error}");
}

#[test]
fn what_the_engine_crashes_over_is_refused_in_every_instruction() {
    for step in [
        "COPY ${A#} /",
        "RUN echo ${A%}",
        "LABEL x=${NO#}",
        "USER ${A#$NO}",
        "RUN --mount=source=${NO#},target=/x true",
        "ENV B=\"${A%}\"",
        "ARG B=${A#}",
    ] {
        let text = format!("FROM scratch\nENV A=a\n{step}\n");
        let error = inputs(text.as_bytes(), None, &BuildOptions::NOTHING).unwrap_err().to_string();
        assert!(error.starts_with("3:1: the engine crashes over `${"), "{step}: {error}");
        assert!(inputs(format!("{text}FROM scratch\n").as_bytes(), None, &BuildOptions::NOTHING).is_ok(), "{step}");
    }
    assert!(inputs(b"ARG A=${B#}\nFROM a", None, &BuildOptions::NOTHING).is_err());
    assert!(inputs(b"FROM a${B#}", None, &BuildOptions::NOTHING).is_err());
    for step in [
        "RUN echo ${NO#} ${A#a} '${x'",
        "COPY '${A#}' \\${A%} /",
        "RUN echo ${#} $# %",
        "CMD echo ${A#}",
        "ONBUILD COPY ${A#} /",
    ] {
        assert!(
            inputs(format!("FROM scratch\nENV A=a\n{step}").as_bytes(), None, &BuildOptions::NOTHING).is_ok(),
            "{step}"
        );
    }
}

#[test]
fn what_never_ends_is_refused_with_its_bound() {
    let refused = |text: &str| inputs(text.as_bytes(), None, &BuildOptions::NOTHING).unwrap_err().to_string();
    let mut doubling = String::from("FROM scratch\nENV A=aaaaaaaaaa\n");
    (0..300).for_each(|_| doubling.push_str("ENV A=$A$A\n"));
    assert_eq!(inputs_of(&doubling).inputs, [], "a value too long is not known any more");
    let mut long = format!("FROM scratch\nENV A={}\n", "a".repeat(60_000));
    (0..300).for_each(|at| long.push_str(&format!("ENV B{at}=$A\n")));
    assert!(refused(&long).contains("say more than 8 MiB"));
    let global = format!("ARG A={}\n{}FROM scratch\n", "a".repeat(60_000), "ARG B=$A\n".repeat(300));
    assert!(refused(&global).contains("say more than 8 MiB"));
    let deep = format!("FROM scratch\nCOPY {}a /\n", "${A:-".repeat(10_000));
    assert_eq!(told(&deep).0, ["2: *"]);
    assert!(refused(&"FROM scratch\nRUN true\n".repeat(1001)).contains("more than 1000 stages"));
    assert!(refused(&format!("FROM a\n{}", "RUN x\n".repeat(2_001))).contains("more than 2000 instructions"));
    let inherited = format!("FROM a AS x\n{}{}", "ONBUILD RUN x\n".repeat(300), "FROM x\n".repeat(100));
    assert!(refused(&inherited).contains("more than 2000 instructions"));
}

#[test]
fn a_trigger_runs_in_the_stage_above_and_in_no_other() {
    let text = "FROM scratch AS a\nARG D=x\nONBUILD COPY $D /\nFROM a AS b\nENV D=y\nFROM b\n";
    assert_eq!(told(text).0, ["3: $D"]);
    assert!(reads(text, "x/1") && !reads(text, "y"));
    assert_eq!(inputs_of(text).inputs[0].instruction, "ONBUILD COPY $D /");
    assert_eq!(inputs(text.as_bytes(), Some("a"), &BuildOptions::NOTHING).unwrap().inputs, []);
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
    assert_eq!(images_of("FROM a AS x1\nFROM \"x${BUILDOS}\"\n", None, &BuildOptions::NOTHING), ["a"]);
}

/// The examples of the Dockerfile reference, `COPY --exclude` and `--parents`.
#[test]
fn exclude_and_parents_are_as_documented() {
    let text = "FROM scratch\nCOPY --exclude=*.txt --exclude=*.md hom* /mydir/\n";
    assert!(reads(text, "home.rs") && !reads(text, "home.txt") && !reads(text, "home.md"));
    let text = "FROM scratch\nCOPY --exclude=*.txt --exclude=sub dir /\n";
    assert!(
        reads(text, "dir/a") && reads(text, "dir/x/a.txt") && !reads(text, "dir/a.txt") && !reads(text, "dir/sub/a")
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
    let mut inputs = inputs_of(text);
    inputs.follow(&[
        ("link", "/real"),
        ("globbed", "x/../other"),
        ("other", "third"),
        ("dir/inner", "no"),
        ("q", "no"),
    ]);
    let read = |path: &str| inputs.reads(path).is_some();
    assert!(read("link") && read("real/a") && !read("real/b") && !read("link2"));
    assert!(read("globbed") && read("other") && read("third/c") && !read("no/d") && !read("dir2"));
    let mut inputs =
        inputs_of("FROM scratch\nCOPY up/x/*.md loop sub/to*/b /\nRUN --mount=source=file,target=/f true\n");
    inputs.follow(&[
        ("up", "./a*/../a*"),
        ("a*/x", "/deep"),
        ("loop", "loop"),
        ("sub/tool", "../a"),
        ("deep/l.md", "l"),
        ("file", "sub/../../real"),
        ("sub", "s/t"),
    ]);
    let read = |path: &str| inputs.reads(path).is_some();
    for path in ["up", "a*/x", "deep/a.md", "deep/l.md", "deep/l", "file", "real/x", "sub", "s/t/tom/b"] {
        assert!(read(path), "{path}");
    }
    for path in ["deep/a.txt", "deep", "a*/y.md", "ab/x/a.md", "a/b", "s/t/tom/c"] {
        assert!(!read(path), "{path}");
    }
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
    crate::cases::cases(3000, |u| {
        let mut text = String::from(if u.arbitrary()? { "FROM scratch\n" } else { "" });
        for _ in 0..u.int_in_range(0..=40)? {
            text.push_str(u.choose::<&str>(&PARTS)?);
        }
        if let Ok(inputs) = inputs(text.as_bytes(), None, &BuildOptions::NOTHING) {
            let _ = inputs.reads("a/b");
        }
        let _ = base_images(u.arbitrary::<&[u8]>()?, None, &BuildOptions::NOTHING);
        Ok(())
    });
}
