//! Random Dockerfiles and ignore files: mostly such that they build, with what
//! BuildKit reads in ways that one would not guess.

use crate::common::Dice;

const SOURCES: [&str; 40] = [
    ".",
    "a",
    "b",
    "c/",
    "./a/",
    "/b/a",
    "a/../b",
    "*",
    "*.txt",
    "a/*",
    "a/*/*",
    "*/b*",
    "a*",
    "[ab]",
    "[^c]*",
    "*/[a-c]*.md",
    "r1.txt",
    "a/a1.txt",
    "a/b",
    "run.sh",
    ".hid",
    ".h*/l1",
    "é",
    "\"a\"",
    "'b'/a",
    "\\a",
    "$A",
    "${A}",
    "$A/a1.txt",
    "${NO:-b}",
    "${A:+c}",
    "$A*",
    "${A#x}",
    "${A%x}",
    "${A/x/y}",
    "docs",
    "${G}",
    "r?.*",
    "a/./b",
    "sub*",
];

/// A Dockerfile of a few stages on `scratch`, so that each is built in no time.
pub fn dockerfile(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.once_in(6) {
        text.push_str(dice.pick(&["# escape=`\n", "  # escape=`\n", "# check=skip=all\n", "# escape=\\\n"]));
    }
    // A global argument, which a stage has to name before it is set there.
    text.push_str(dice.pick(&["", "ARG G=a\n", "ARG G=b/a\n", "ARG G=a S=s0\n"]));
    let last = dice.below(3);
    for stage in 0..=last {
        let base = match dice.below(4) {
            0 | 1 if stage > 0 => format!("s{}", dice.below(stage)),
            _ => "scratch".into(),
        };
        text.push_str(&format!("{} {base} AS s{stage}\n", dice.pick(&["FROM", "FROM", "from"])));
        text.push_str("ARG A=a\n");
        for step in 0..=dice.below(4) {
            text.push_str(&instruction(dice, stage, step));
        }
        // An image without a file can't be loaded.
        text.push_str(&format!("COPY r1.txt /always{stage}\n"));
    }
    text
}

/// One instruction of a stage.
pub fn instruction(dice: &mut Dice, stage: usize, step: usize) -> String {
    let source = |dice: &mut Dice| dice.pick(&SOURCES);
    let to = format!("/s{stage}-{step}/");
    match dice.below(24) {
        0 => dice.pick(&["ENV A=a\n", "ENV A=b B=c\n", "ENV A a/b\n", "ENV B=$A\n", "ENV E=\n"]).into(),
        1 => dice.pick(&["ARG A=a\n", "ARG A=b B=$A\n", "ARG G\n", "ARG C\n", "ARG A=xa\n"]).into(),
        2 if stage > 0 => format!("COPY --from=s{} / /from{step}/\n", dice.below(stage)),
        3 if stage > 0 => format!("COPY --from={} / /from{step}/\n", dice.below(stage)),
        4 if stage > 0 => format!("COPY --from=\"{}\" / /from{step}/\n", dice.below(stage)),
        5 => format!("ONBUILD COPY {} {to}\n", source(dice)),
        6 => dice.pick(&["ONBUILD ARG A=c\n", "ONBUILD ENV A=b\n"]).into(),
        7 => format!("ADD {} {to}\n", source(dice)),
        8 => format!("COPY <<x {} {to}\nCOPY b /no/\nx\n", source(dice)),
        9 => format!("COPY 3<<EOF {to}\n$A\nEOF\n"),
        10 => format!("COPY [\"{}\", \"{to}\"]\n", dice.pick(&["a", "sp ace", "*", "$A", "b/a/f1.md", "[ab]"])),
        11 => format!("COPY [\"a\", \"{to}\"] \n"),
        12 => format!("COPY --link {} \\\n # a comment\n {} {to}\n", source(dice), source(dice)),
        13 => format!("COPY --chown=1:1 {} {to}\n", source(dice)),
        14 => format!("COPY --chmod=0644 {} {to}\n", dice.pick(&["r1.txt", "run.sh", "a/a1.txt"])),
        15 => format!("COPY \\\n\n  # nothing\n  {} {to}\n", source(dice)),
        16 => format!("WORKDIR /w{step}\nCOPY {} .{to}\n", source(dice)),
        17 => dice.pick(&["LABEL a=b\n", "CMD [\"x\"]\n", "USER 1\n", "EXPOSE 80\n", "# a comment\n", "\n"]).into(),
        18 => format!("COPY {} /$TARGETARCH/\n", source(dice)),
        19 => format!("copy {} {to}\n", source(dice)),
        20 => format!("COPY {} {to} # no comment\n", source(dice)),
        _ => format!("COPY {} {} {to}\n", source(dice), source(dice)),
    }
}

const LINES: [&str; 30] = [
    "b",
    "**/*.md",
    "a/b",
    "!a/b/b1.txt",
    "*.log",
    "**/*.log",
    "docs",
    ".git",
    "a/*",
    "!a/a1.txt",
    "*",
    "!r1.txt",
    "!a",
    "c/",
    "/b/a/",
    "./c",
    "**/b1*",
    "?1.txt",
    "[ab]/*.md",
    "a/../b",
    "# b",
    "  b/a",
    "!b/a/f1.md",
    "out",
    "é",
    "sp ace",
    "**",
    "!**/*.txt",
    "\\a",
    "a|b",
];

/// One rule.
pub fn ignore_line(dice: &mut Dice) -> &'static str {
    dice.pick(&LINES)
}

/// An ignore file, or an empty one.
pub fn ignore_file(dice: &mut Dice) -> String {
    // What git keeps for itself changes with every command of git's.
    let git = if dice.once_in(8) { "" } else { ".git\n" };
    if dice.once_in(3) {
        return git.to_owned();
    }
    let mut text = String::new();
    for _ in 0..=dice.below(4) {
        text.push_str(ignore_line(dice));
        text.push_str(dice.pick(&["\n", "\n", "\n", "\r\n", "\n\n"]));
    }
    // Without it no Dockerfile of ours builds.
    text + "!r1.txt\n" + git
}
