//! Random Dockerfiles and ignore files: all of the grammar that BuildKit's own
//! frontend has for what a build reads.

/// xorshift: the same cases on every machine.
pub struct Random(pub u64);

impl Random {
    /// A number below this one.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    /// One of them.
    pub fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A few rules.
pub fn ignore_file(random: &mut Random) -> String {
    const PARTS: [&str; 38] = [
        "a|b",
        "{a,b}",
        "{1}",
        "\\a",
        "\\[c]",
        "[[:alpha:]]",
        "\\w",
        "b{1,2}",
        "[*]",
        "^a",
        "(a)",
        "a|",
        "[c]",
        "\\d",
        "a",
        "b",
        "c",
        "ab",
        "aa",
        "*",
        "*",
        "**",
        "**",
        "?",
        "a*",
        "*b",
        "?b",
        "[ab]",
        "[^a]",
        "*.txt",
        "*.md",
        "a1.txt",
        "..",
        ".",
        ".hid",
        "b?.*",
        "[a-c]1.*",
        "**a",
    ];
    let mut text = String::new();
    for _ in 0..=random.below(5) {
        text.push_str(random.pick(&["", "", "", "!", "!", "/", "!/", " ", "# ", "! "]));
        for at in 0..=random.below(3) {
            text.push_str(if at == 0 { "" } else { random.pick(&["/", "/", "/", "//", ""]) });
            text.push_str(random.pick(&PARTS));
        }
        text.push_str(random.pick(&["\n", "\n", "\n", "/\n", "\r\n", " \n", "/**\n"]));
    }
    text
}

const SOURCES: [&str; 69] = [
    "to-a/b",
    "to-*",
    "c/up/f1.md",
    "c/up/*.md",
    "rooted/c",
    "chain",
    "to-file",
    "bin-$TARGETARCH",
    "$TARGETPLATFORM",
    "${A#*/}",
    "${A%/*}",
    "${BASE/b/c}",
    "${BASE##*/}",
    "${BASE//[b]/a}",
    "$BASE",
    "$B/b",
    "[[]c]",
    "{a,b}",
    "a|b",
    "\"$A\"'/b'",
    "${B:-a}/h1",
    "\\{a,b}",
    "${NO:+x}${B}",
    "a",
    "b",
    "c/b",
    "a/b",
    "./a/",
    "/b/a",
    "a/../b",
    "../c",
    ".",
    "./",
    "*",
    "*.txt",
    "a/*",
    "a/*/*",
    "*/b",
    "**/b",
    "a*",
    "?",
    "[ab]",
    "[^a]*",
    "a/[ab]*",
    "*/[a-c]*.md",
    "r1.txt",
    "a/a1.txt",
    "a/b/c/c2",
    "nothing*",
    "aa/j*",
    ".hid",
    ".h*/a",
    "\"a\"",
    "'b'/a",
    "\\a",
    "$A",
    "${A}",
    "$A/b",
    "${B}/a",
    "${C:-aa}",
    "${C:+x}a",
    "$A*",
    "${E:-c}",
    "${A}${E}",
    "$G",
    "${B:+c/b}",
    "[[]a",
    "missing",
    "a/missing",
];

const THERE: [&str; 28] = [
    "a",
    "b*",
    "c/b",
    "a/b*",
    "$A*",
    "${A}/b*",
    "$B/*",
    "${B:-c}",
    "$G*",
    "*.txt",
    "[ab]*",
    "to-*",
    "to-a/b*",
    "c/up/*.md",
    "rooted/c*",
    "chain",
    "$BASE*",
    "${BASE##*/}*",
    "${BASE%/*}",
    "${A#*/}*",
    "${BASE//[b]/a}*",
    "bin-$TARGETARCH*",
    "a|b",
    "{a,b}",
    "[[]c]",
    "${NO:-aa}",
    "sp*",
    "?",
];

/// A few stages on each other, on a base image and on nothing.
pub fn dockerfile(random: &mut Random) -> Vec<u8> {
    let mut text =
        random.pick(&["", "", "", "  # escape=`\n", "# check=skip=all\n", "# escape=`\n", "# a comment\n"]).to_owned();
    text.push_str(random.pick(&["ARG G=aa\nARG P=s0\n", "ARG G=\"b\" P='s1'\n", "ARG P=s1 G=${P:+a}\n"]));
    let last = random.below(4);
    for stage in 0..=last {
        let base = match random.below(6) {
            0 | 1 if stage > 0 => format!("s{}", random.below(stage)),
            2 if stage > 1 => "$P".into(),
            3 | 4 => "base".into(),
            _ => "scratch".into(),
        };
        text.push_str(&format!("FROM {base} AS s{stage}\n"));
        for step in 0..=random.below(3) {
            text.push_str(&instruction(random, stage, step));
        }
    }
    // A byte that is no UTF-8.
    let mut bytes = text.into_bytes();
    if random.below(3) == 0 {
        bytes.extend(b"# caf\xE9\n");
    }
    bytes
}

fn instruction(random: &mut Random, stage: usize, step: usize) -> String {
    // What is not there ends a build, so most are, or are patterns.
    let source = |random: &mut Random| match random.below(5) {
        0 => random.pick(&SOURCES),
        _ => random.pick(&THERE),
    };
    let to = format!("/s{stage}-{step}/");
    match random.below(22) {
        0 => random
            .pick(&["ENV A=a\n", "ENV A=b B=c\n", "ENV A a/b\n", "ENV B=$A\n", "ENV E=\n", "ENV A=c/b C=$A\n"])
            .into(),
        1 => random
            .pick(&["ARG A=a\n", "ARG A=b B=$A\n", "ARG G\n", "ARG C TARGETARCH TARGETPLATFORM\n", "ARG B=\"b\"\n"])
            .into(),
        2 if stage > 0 => format!("COPY --from=s{} / /from{step}/\n", random.below(stage)),
        3 if stage > 0 => {
            format!("COPY --from={}{} / /from{step}/\n", random.pick(&["", "+", "0"]), random.below(stage))
        }
        16 if stage > 0 => format!("COPY --from=\"{}\" / /from{step}/\n", random.below(stage)),
        4 | 14 => format!("ONBUILD COPY {} {to}\n", source(random)),
        15 => random.pick(&["ONBUILD ARG A=c\n", "ONBUILD ENV B=aa\n"]).into(),
        5 => format!("ADD {} {to}\n", source(random)),
        6 => format!("COPY <<x {} {to}\nCOPY b /no/\nx\n", source(random)),
        7 => format!(
            "COPY [\"{}\", \"{to}\"]{}\n",
            random.pick(&["a", "sp ace", "*", "$A", "b/a/f1.md", "[ab]"]),
            random.pick(&["", " # why", " x"])
        ),
        8 => format!("COPY --link {} \\\n # a comment\n {} {to}\n", source(random), source(random)),
        17 => format!("COPY {} {to} \\\\\nCOPY {} {to}\n", source(random), source(random)),
        18 => format!("COPY 3<<-'x' {} {to}\n\tx\n", source(random)),
        19 => format!("COPY {} `\n {} {to}\n", source(random), source(random)),
        20 => format!("LABEL a=${{A#x}}\nCOPY --chown=1:1 {} \\\n\n {to}\n", source(random)),
        _ => format!("COPY {} {} {to}\n", source(random), source(random)),
    }
}
