//! Statements as instructions, as far as they decide which files a build reads.
//! Instructions that only newer frontends know pass through. Text that every
//! frontend refuses is an error with its line.

use super::DockerfileError;
use super::heredoc;
use super::lines::{Statement, statement};
use super::normalized::Normalized;
use super::words::{at_blanks, json_list, words};

/// BuildKit only replaces variables in these.
const EXPANDED: [&str; 6] = ["expose", "label", "stopsignal", "user", "volume", "workdir"];
/// BuildKit leaves these as they are.
const PLAIN: [&str; 5] = ["cmd", "entrypoint", "healthcheck", "maintainer", "shell"];

/// One instruction, and where it is.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// The line, from 1.
    pub line: usize,
    /// As written, on one line.
    pub text: String,
    /// What it does.
    pub kind: InstructionKind,
    /// Its words.
    pub normalized: Normalized,
}

/// What an instruction does.
#[derive(Clone, Debug)]
pub enum InstructionKind {
    /// `FROM image AS name`.
    From {
        /// The image or stage, with its variables.
        image: String,
        /// The stage's own name.
        name: Option<String>,
    },
    /// `ARG name=default`.
    Arg(Vec<(String, Option<String>)>),
    /// `ENV name=value`.
    Env(Vec<(String, String)>),
    /// `COPY`, or `ADD`.
    Copy(Copy),
    /// `RUN`, by its mounts.
    Run(Vec<String>),
    /// `ONBUILD`: the trigger as the next build reads it.
    Trigger(String),
    /// Only its variables matter here.
    Expanded,
    /// Nothing about it matters here.
    Plain,
}

/// What COPY or ADD copies.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// Whether it is ADD, which can fetch URLs.
    pub add: bool,
    /// `--from`, if it is not empty.
    pub from: Option<String>,
    /// `--checksum`.
    pub checksum: String,
    /// Every `--exclude`.
    pub excluded: Vec<String>,
    /// `--parents`.
    pub parents: bool,
    /// Paths and URLs, without here-documents.
    pub sources: Vec<String>,
}

/// Parses a statement.
pub fn instruction(read: &Statement, escape: char) -> Result<Instruction, DockerfileError> {
    let kind = kind(read, escape);
    let text = read.whole.split_whitespace().collect::<Vec<_>>().join(" ");
    match kind {
        Ok(kind) => Ok(Instruction { line: read.line, text, kind, normalized: Normalized::of(read, escape) }),
        Err(message) => Err(DockerfileError { line: read.line, column: read.column, message }),
    }
}

fn kind(read: &Statement, escape: char) -> Result<InstructionKind, String> {
    let keyword = read.keyword.to_lowercase();
    let name = read.keyword.to_uppercase();
    Ok(match keyword.as_str() {
        "from" => from(&read.rest)?,
        "arg" => InstructionKind::Arg(args(&read.rest, escape)?),
        "env" => InstructionKind::Env(pairs(&read.rest, escape)?),
        "copy" | "add" => InstructionKind::Copy(copy(read, &name)?),
        "run" => {
            json_list(&read.rest)?;
            InstructionKind::Run(values(&read.flags, "mount").collect())
        }
        "onbuild" => {
            let inner = statement(read.rest.as_bytes(), (read.line, read.column));
            if ["onbuild", "from", "maintainer"].iter().any(|no| inner.keyword.eq_ignore_ascii_case(no)) {
                return Err(format!("ONBUILD takes no {}", inner.keyword.to_uppercase()));
            }
            kind_of_trigger(&inner, escape)?;
            let heredocs = read.heredocs.iter().map(|it| format!("\n{}{}", it.content, it.name));
            InstructionKind::Trigger(read.rest.clone() + &heredocs.collect::<String>())
        }
        known if EXPANDED.contains(&known) || PLAIN.contains(&known) => {
            if ["cmd", "entrypoint", "shell", "volume"].contains(&known) {
                json_list(&read.rest)?;
            }
            if PLAIN.contains(&known) { InstructionKind::Plain } else { InstructionKind::Expanded }
        }
        _ => return Err(format!("unknown instruction: `{name}`")),
    })
}

/// BuildKit only checks the grammar of a trigger before it runs.
fn kind_of_trigger(inner: &Statement, escape: char) -> Result<(), String> {
    match inner.keyword.to_lowercase().as_str() {
        "" => Err("ONBUILD requires at least one argument".into()),
        "env" => pairs(&inner.rest, escape).map(drop),
        _ => json_list(&inner.rest).map(drop),
    }
}

fn from(text: &str) -> Result<InstructionKind, String> {
    let name = |name: &str| {
        let name = name.to_lowercase();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        match name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain) {
            true => Ok(name),
            false => Err(format!("`{name}` is no name of a stage: letters, digits, `-`, `_`, `.`; a letter first")),
        }
    };
    match at_blanks(text).as_slice() {
        [image] => Ok(InstructionKind::From { image: (*image).to_owned(), name: None }),
        [image, word, stage] if word.eq_ignore_ascii_case("as") => {
            Ok(InstructionKind::From { image: (*image).to_owned(), name: Some(name(stage)?) })
        }
        _ => Err("FROM requires either one or three arguments".into()),
    }
}

fn args(text: &str, escape: char) -> Result<Vec<(String, Option<String>)>, String> {
    let words = words(text, escape);
    if words.is_empty() {
        return Err("ARG requires at least one argument".into());
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) => Err("ARG names can not be blank".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((word, None)),
    };
    words.into_iter().map(pair).collect()
}

fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = words(text, escape);
    let Some(first) = words.first() else { return Err("ENV requires at least one argument".into()) };
    if !first.contains('=') {
        // The old form: one name, and the rest of the line is its value.
        let blank = |c: char| matches!(c, '\t' | '\x0B' | '\x0C' | '\r' | ' ');
        let (name, value) = text.split_once(blank).ok_or("ENV must have two arguments")?;
        return Ok(vec![(name.to_owned(), value.trim_start_matches(blank).to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        None => Err(format!("`{word}` has no `=`; ENV takes NAME=VALUE")),
        Some(("", _)) => Err("ENV names can not be blank".into()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    };
    words.iter().map(pair).collect()
}

fn copy(read: &Statement, name: &str) -> Result<Copy, String> {
    let listed = json_list(&read.rest)?;
    let mut paths = listed.unwrap_or_else(|| at_blanks(&read.rest).into_iter().map(str::to_owned).collect());
    let last = paths.pop();
    let Some(last) = last.filter(|_| !paths.is_empty()) else {
        return Err(format!("{name} requires at least two arguments"));
    };
    if matches!(heredoc::named(&last), Ok(Some(_))) {
        return Err(format!("{name} takes no here-document as its destination"));
    }
    // Text in quotes is not a here-document but a path.
    paths.retain(|path| !matches!(heredoc::named(path), Ok(Some(_))));
    let value = |flag| values(&read.flags, flag).last().unwrap_or_default();
    Ok(Copy {
        add: name == "ADD",
        from: Some(value("from")).filter(|from| name == "COPY" && !from.is_empty()),
        checksum: value("checksum"),
        excluded: values(&read.flags, "exclude").collect(),
        parents: read.flags.iter().any(|flag| flag == "--parents" || flag.eq_ignore_ascii_case("--parents=true")),
        sources: paths,
    })
}

/// Every value that is given to a flag.
fn values<'f>(flags: &'f [String], name: &str) -> impl Iterator<Item = String> + 'f {
    let start = format!("--{name}=");
    flags.iter().filter_map(move |flag| flag.strip_prefix(start.as_str()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    fn read(text: &str) -> Result<InstructionKind, String> {
        let parsed = lines::parse(text.as_bytes(), false).unwrap();
        instruction(&parsed.statements[0], parsed.escape).map(|it| it.kind).map_err(|error| error.message)
    }

    fn sources(text: &str) -> Vec<String> {
        let Ok(InstructionKind::Copy(copy)) = read(text) else { panic!("{text}") };
        copy.sources
    }

    #[test]
    fn copies_are_read_in_both_forms() {
        assert_eq!(sources("COPY a  b\t/c"), ["a", "b"]);
        assert_eq!(sources("COPY [\"a b\", \"/c\"] and words"), ["a b"]);
        assert_eq!(sources("COPY [a /"), ["[a"]);
        assert_eq!(sources("ADD <<x k 3<<y <<-z /\nx\ny\nz\n"), ["k"]);
        assert_eq!(sources("COPY <<a<b /"), ["<<a<b"]);
        for text in ["COPY", "COPY a", "COPY [\"a\"]", "COPY [1, \"a\"]", "COPY a <<x\nx"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_from_that_is_empty_is_none() {
        for (text, from) in [("COPY --from= a /", None), ("COPY --from=x a /", Some("x")), ("ADD --from=x a /", None)] {
            let Ok(InstructionKind::Copy(copy)) = read(text) else { panic!("{text}") };
            assert_eq!(copy.from.as_deref(), from, "{text}");
        }
    }

    #[test]
    fn both_forms_of_env_and_what_arg_takes() {
        let Ok(InstructionKind::Env(pairs)) = read("ENV A  b c=d ") else { panic!() };
        assert_eq!(pairs, [("A".to_owned(), "b c=d".to_owned())]);
        let Ok(InstructionKind::Env(pairs)) = read("ENV A=\"b c\" D=") else { panic!() };
        assert_eq!(pairs, [("A".to_owned(), "\"b c\"".to_owned()), ("D".to_owned(), String::new())]);
        let Ok(InstructionKind::Arg(args)) = read("ARG A B=x=y") else { panic!() };
        assert_eq!(args, [("A".to_owned(), None), ("B".to_owned(), Some("x=y".to_owned()))]);
        for text in ["ENV", "ENV A", "ENV A=b C", "ENV =b", "ARG", "ARG =b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_no_frontend_accepts_is_an_error() {
        for text in [
            "FROM",
            "FROM a b",
            "FROM a b c",
            "FROM a AS 1",
            "FROM a AS b/c",
            "NOPE a",
            "ONBUILD",
            "ONBUILD FROM a",
            "ONBUILD ONBUILD RUN a",
            "ONBUILD COPY [1]",
            "RUN [1]",
            "CMD [null]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        for text in ["ENTRYPOINT []", "CMD [ ]", "RUN [\"a\"", "FROM a as B", "LABEL", "ONBUILD COPY a"] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_trigger_is_kept_as_the_next_build_reads_it() {
        let Ok(InstructionKind::Trigger(text)) = read("ONBUILD  COPY <<x a /\nhello\nx\n") else { panic!() };
        assert_eq!(text, "COPY <<x a /\nhello\nx");
    }
}
