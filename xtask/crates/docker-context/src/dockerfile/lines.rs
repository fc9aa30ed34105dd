//! A Dockerfile as statements: parser directives, comments, continued lines and
//! here-documents, as BuildKit's frontend reads them. Like BuildKit it works on
//! bytes, because a comment may hold any bytes.

use super::DockerfileError;
use super::heredoc::{self, Heredoc};
use super::words::decode;

/// BuildKit refuses a longer line.
const LONGEST: usize = 65_535;
/// The parser directives. Newer frontends know one more.
const DIRECTIVES: [&str; 3] = ["escape", "syntax", "check"];

/// One instruction, with all of its lines.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its first line, from 1.
    pub line: usize,
    /// The column of its first letter, from 1.
    pub column: usize,
    /// The instruction's name as written.
    pub keyword: String,
    /// `--…`, without quotes and escapes.
    pub flags: Vec<String>,
    /// The text after the flags.
    pub rest: String,
    /// The whole instruction on one line.
    pub whole: String,
    /// The here-documents that it starts.
    pub heredocs: Vec<Heredoc>,
}

/// The statements of a file, and its escape character.
pub struct Parsed {
    /// The statements, in order.
    pub statements: Vec<Statement>,
    /// `\` or `` ` ``.
    pub escape: char,
}

/// The frontend that a file asks for (`# syntax=`), and the line that does.
pub fn syntax(text: &[u8]) -> Option<(usize, String)> {
    let hidden = usize::from(text.starts_with(b"#!"));
    let mut seen: Vec<String> = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate().skip(hidden) {
        let (name, value) = directive(line.strip_suffix(b"\r").unwrap_or(line))?;
        if !DIRECTIVES[..2].contains(&name.as_str()) || seen.contains(&name) {
            return None;
        }
        if name == "syntax" {
            return Some((at + 1, value.split(' ').next().unwrap_or_default().to_owned()));
        }
        seen.push(name);
    }
    None
}

/// Whether a file sets the checks of its frontend (`# check=`), or may.
pub fn checks(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut comments = text.split(|byte| *byte == b'\n').map(trim_start).take_while(|line| line.starts_with(b"#"));
    comments.any(|line| directive(line).is_some_and(|(name, _)| name == "check"))
}

/// Parses a file. `checks` says whether the frontend knows `# check=`.
pub fn parse(text: &[u8], checks: bool) -> Result<Parsed, DockerfileError> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut reader =
        LineReader { lines: text.split_inclusive(|byte| *byte == b'\n'), at: 0, escape: b'\\', known: vec![] };
    reader.known.extend(&DIRECTIVES[..if checks { 3 } else { 2 }]);
    let mut statements = Vec::new();
    while let Some(line) = reader.next()? {
        let start = reader.at;
        let bare = trim_newline(line);
        let first = trim_start(bare);
        let column = bare.len() - first.len() + 1;
        reader.directive(first)?;
        let (begun, mut open) = reader.continued(if first.starts_with(b"#") { b"" } else { first });
        if !open && begun.is_empty() {
            continue;
        }
        let mut whole = begun.to_vec();
        // Comments and empty lines do not end a continued line.
        while open && let Some(line) = reader.next()? {
            let bare = trim_newline(line);
            reader.directive(bare)?;
            if !matches!(trim_start(bare).first(), None | Some(b'#')) {
                let (begun, on) = reader.continued(bare);
                whole.extend_from_slice(begun);
                open = on;
            }
        }
        let fault = |message: String| DockerfileError { line: start, column, message };
        let mut statement = statement(&whole, (start, column));
        for mut heredoc in heredocs(&statement).map_err(fault)? {
            loop {
                let Some(line) = reader.next()? else {
                    let name = &heredoc.name;
                    let message = format!("the here-document `{name}` does not end; write `{name}` alone on a line");
                    return Err(fault(message));
                };
                let bare = trim_newline(line);
                let bare = if heredoc.chomp { trim_tabs(bare) } else { bare };
                if bare == heredoc.name.as_bytes() {
                    break;
                }
                heredoc.content.push_str(&decode(line));
            }
            statement.heredocs.push(heredoc);
        }
        statements.push(statement);
    }
    Ok(Parsed { statements, escape: reader.escape as char })
}

/// The here-documents that a line starts, or that the instruction in its ONBUILD
/// starts.
fn heredocs(line: &Statement) -> Result<Vec<Heredoc>, String> {
    let is_trigger = line.keyword.eq_ignore_ascii_case("onbuild");
    let inner = is_trigger.then(|| statement(line.rest.as_bytes(), (line.line, line.column)));
    let read = inner.as_ref().unwrap_or(line);
    heredoc::of(&read.keyword, &read.rest, &line.whole)
}

/// One logical line. `ONBUILD` contains another one.
pub fn statement(whole: &[u8], (line, column): (usize, usize)) -> Statement {
    let trimmed = trim(whole);
    let blank = |byte: &u8| b"\t\x0B\x0C\r ".contains(byte);
    let end = trimmed.iter().position(blank).unwrap_or(trimmed.len());
    let (keyword, behind) = trimmed.split_at(end);
    let (flags, rest) = flags(behind);
    Statement {
        line,
        column,
        keyword: decode(keyword),
        flags,
        rest: decode(trim(rest)),
        whole: decode(whole),
        heredocs: Vec::new(),
    }
}

/// Splits off the flags at the start of a line. BuildKit reads each of their
/// bytes as a character here, and always uses `\` as the escape character.
fn flags(line: &[u8]) -> (Vec<String>, &[u8]) {
    let (mut words, mut at) = (Vec::new(), 0);
    loop {
        at += line[at..].iter().take_while(|byte| (**byte as char).is_whitespace()).count();
        if !line[at..].starts_with(b"--") {
            return (words, &line[at..]);
        }
        let (mut word, mut quote, mut quoted) = (String::new(), None, false);
        while let Some(byte) = line.get(at) {
            at += 1;
            match *byte as char {
                c if quote == Some(c) => quote = None,
                c if quote.is_none() && c.is_whitespace() => {
                    at -= 1;
                    break;
                }
                c @ ('"' | '\'') if quote.is_none() => (quote, quoted) = (Some(c), true),
                '\\' => {
                    if let Some(byte) = line.get(at) {
                        word.push(*byte as char);
                        at += 1;
                    }
                }
                c => word.push(c),
            }
        }
        if word == "--" {
            return (words, &line[at..]);
        }
        if quoted || !word.is_empty() {
            words.push(word);
        }
    }
}

struct LineReader<'t, L: Iterator<Item = &'t [u8]>> {
    lines: L,
    at: usize,
    escape: u8,
    /// The directives that may still follow. None may, after any other line.
    known: Vec<&'static str>,
}

impl<'t, L: Iterator<Item = &'t [u8]>> LineReader<'t, L> {
    fn next(&mut self) -> Result<Option<&'t [u8]>, DockerfileError> {
        let Some(line) = self.lines.next() else { return Ok(None) };
        self.at += 1;
        if line.strip_suffix(b"\n").unwrap_or(line).len() > LONGEST {
            let message = format!("the line is longer than {LONGEST} bytes, which BuildKit does not read; continue it");
            return Err(DockerfileError { line: self.at, column: 1, message });
        }
        Ok(Some(line))
    }

    fn directive(&mut self, line: &[u8]) -> Result<(), DockerfileError> {
        if self.known.is_empty() {
            return Ok(());
        }
        let fault = |message: String| DockerfileError { line: self.at, column: 1, message };
        let Some((name, value)) = directive(line).filter(|(name, _)| DIRECTIVES.contains(&name.as_str())) else {
            self.known.clear();
            return Ok(());
        };
        let Some(at) = self.known.iter().position(|known| *known == name) else {
            // An unknown directive is a comment. A known one here is a repeated
            // one.
            if name == "check" {
                self.known.clear();
                return Ok(());
            }
            return Err(fault(format!("`# {name}=` a second time; leave one out")));
        };
        match (name.as_str(), value.as_bytes()) {
            ("escape", [escape @ (b'\\' | b'`')]) => self.escape = *escape,
            ("escape", _) => return Err(fault("`# escape=` takes `\\` or `` ` ``".into())),
            _ => {}
        }
        self.known.remove(at);
        Ok(())
    }

    /// The text before the escape character at the end of a line, and whether
    /// there is one. Two escape characters count as none.
    fn continued<'l>(&self, line: &'l [u8]) -> (&'l [u8], bool) {
        let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &line[..line.len() - blanks] {
            [before @ .., last] if *last == self.escape && before.last() != Some(&self.escape) => (before, true),
            _ => (line, false),
        }
    }
}

/// `# NAME = VALUE`.
fn directive(line: &[u8]) -> Option<(String, String)> {
    let blank = |c: char| matches!(c, '\t' | '\n' | '\x0C' | '\r' | ' ');
    let text = decode(line.strip_prefix(b"#")?);
    let (name, value) = text.split_once('=')?;
    let name = name.trim_matches(blank);
    let value = match value.trim_matches(blank) {
        // If there are only blanks, the last one is the value.
        "" => value.get(value.len().checked_sub(1)?..)?,
        value => value,
    };
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    is_name.then(|| (name.to_ascii_lowercase(), value.to_owned()))
}

fn trim_newline(line: &[u8]) -> &[u8] {
    let end = line.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    &line[..line.len() - end]
}

fn trim_tabs(line: &[u8]) -> &[u8] {
    &line[line.iter().take_while(|byte| **byte == b'\t').count()..]
}

fn trim_start(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim_start().as_bytes(),
        Err(_) => line.trim_ascii_start(),
    }
}

fn trim(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => line.trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `line: KEYWORD flags | rest`, one line per statement.
    fn told(text: &str) -> Vec<String> {
        let statements = parse(text.as_bytes(), false).unwrap().statements;
        let told = |it: &Statement| format!("{}: {} {:?} {}", it.line, it.keyword, it.flags, it.rest);
        statements.iter().map(told).collect()
    }

    #[test]
    fn a_line_goes_on_behind_one_escape_and_not_behind_two() {
        assert_eq!(told("RUN a \\ \t\n\n # why\n  b\nRUN c"), ["1: RUN [] a   b", "5: RUN [] c"]);
        assert_eq!(told("RUN a \\\\\nCOPY b c"), ["1: RUN [] a \\\\", "2: COPY [] b c"]);
        assert_eq!(told("RUN a \\\\\\\nCOPY b c"), ["1: RUN [] a \\\\\\", "2: COPY [] b c"]);
        assert_eq!(told("\\\nRUN a\n"), ["1: RUN [] a"]);
        assert_eq!(
            told("# escape=`\nRUN a `\n b\nRUN ``\nRUN \\\n"),
            ["2: RUN [] a  b", "4: RUN [] ``", "5: RUN [] \\"]
        );
    }

    #[test]
    fn directives_stand_behind_blanks_too_and_end_at_the_first_other_line() {
        let escape = |text: &str, checks| parse(text.as_bytes(), checks).unwrap().escape;
        assert_eq!(escape(" \t# escape = `\nFROM a", false), '`');
        assert_eq!(escape("# syntax=a\n#EsCaPe=`\nFROM a", false), '`');
        assert_eq!(escape("# check=skip=all\n# escape=`\nFROM a", true), '`');
        for text in ["# x\n# escape=`\n", "\n# escape=`\n", "FROM a\n# escape=`\n", "# check=skip=all\n# escape=`\n"] {
            assert_eq!(escape(text, false), '\\', "{text}");
        }
        for text in ["# escape=`\n# escape=`", "# escape=x", "# escape= ", "# syntax=a\n# syntax=b"] {
            assert!(parse(text.as_bytes(), false).is_err(), "{text}");
        }
    }

    #[test]
    fn the_frontend_is_looked_for_without_blanks_before_it() {
        assert_eq!(syntax(b"# escape=`\n#syntax = a/b:1 x\nFROM a"), Some((2, "a/b:1".to_owned())));
        assert_eq!(syntax(b"#!/bin/x\n# syntax=a\n"), Some((2, "a".to_owned())));
        for text in
            ["FROM a\n# syntax=b", " # syntax=a", "\u{feff}# syntax=a", "# x\n# syntax=a", "# check=a\n# syntax=a"]
        {
            assert_eq!(syntax(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn flags_lose_quotes_and_escapes_and_end_at_the_first_other_word() {
        assert_eq!(
            told("COPY --from=\"0\" --chown='a b'c\\ d --x -- --y a b"),
            ["1: COPY [\"--from=0\", \"--chown=a bc d\", \"--x\"] --y a b"]
        );
        assert_eq!(told("COPY a --from=b c"), ["1: COPY [] a --from=b c"]);
    }

    #[test]
    fn a_here_document_is_no_instruction_and_has_its_end() {
        let text = "RUN cat <<EOF >x \\\n # no\n  3<<-'E2'\nCOPY a b\nEOF\n\tE2\nCOPY <<A 3<<B c/\nRUN x\nA\nB\nRUN y";
        let found = parse(text.as_bytes(), false).unwrap().statements;
        assert_eq!(found.iter().map(|it| it.line).collect::<Vec<_>>(), [1, 7, 11]);
        assert_eq!(found[0].heredocs[0].content, "COPY a b\n");
        assert_eq!(found[1].heredocs[0].content, "RUN x\n");
        let error = parse(b"FROM a\nRUN cat <<EOF\nx\n", false).err().unwrap();
        assert_eq!((error.line, error.message.contains("does not end")), (2, true));
        for text in [
            "RUN a <<<b\nX y",
            "RUN echo $((1 << 2))\nX y",
            "RUN [\"sh\", \"<<E\"]\nX y",
            "RUN echo '<<E'\nX y",
            "CMD <<E\nX y",
        ] {
            assert_eq!(parse(text.as_bytes(), false).unwrap().statements.len(), 2, "{text}");
        }
    }

    #[test]
    fn a_comment_holds_whatever_it_likes_and_a_line_has_its_bound() {
        let found = parse(b"# caf\xE9\nFROM a\nCOPY caf\xE9 /\n", false).unwrap().statements;
        assert_eq!(found[1].rest, "caf\u{fffd} /");
        let long = |length: usize| format!("FROM a\n#{}\n", "x".repeat(length - 1));
        assert!(parse(long(LONGEST).as_bytes(), false).is_ok());
        assert_eq!(parse(long(LONGEST + 1).as_bytes(), false).err().unwrap().line, 2);
    }

    #[test]
    fn flags_end_with_the_first_other_word_or_with_two_dashes() {
        for (line, words, rest) in [
            (" --a=b  --c d --e", &["--a=b", "--c"][..], "d --e"),
            ("--a -- --b", &["--a"], " --b"),
            ("--a='b c' \"--d\" e", &["--a=b c"], "\"--d\" e"),
            ("--a\\ b c", &["--a b"], "c"),
            ("", &[], ""),
        ] {
            let expected = (words.iter().map(ToString::to_string).collect::<Vec<_>>(), rest.as_bytes());
            assert_eq!(flags(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_here_document_ends_by_its_name_without_what_quotes_it() {
        for word in ["<<EOF", "3<<-EOF", "<<'EOF'", "<<\"E\"OF", "<<E\\OF"] {
            assert_eq!(heredoc::named(word).unwrap().map(|it| it.name).as_deref(), Some("EOF"), "{word}");
        }
    }
}
