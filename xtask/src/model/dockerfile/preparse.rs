//! What the parser crate does not read as Docker does, put so that it does, byte
//! for byte: places stay. It knows here-documents of RUN at the start of a
//! command only and reads the lines of all others (`RUN cat <<EOF >x`) as
//! instructions; and it takes an empty list for an error.

use std::borrow::Cow;

use super::DockerfileError;
use super::expand::words;

/// What the first lines say to the parser: `# escape=` and `# syntax=`.
pub struct Directives<'t> {
    /// The character that escapes and continues lines.
    pub escape: char,
    /// The frontend that is asked for, with its line.
    pub syntax: Option<(usize, &'t str)>,
}

/// Reads the comments at the top.
pub fn directives(text: &str) -> Directives<'_> {
    let mut found = Directives { escape: '\\', syntax: None };
    for (at, line) in text.lines().enumerate() {
        let pair = line.trim().strip_prefix('#').and_then(|comment| comment.split_once('='));
        let Some((name, value)) = pair.map(|(name, value)| (name.trim().to_lowercase(), value.trim())) else { break };
        match name.as_str() {
            "escape" if value == "`" => found.escape = '`',
            "syntax" => found.syntax = Some((at + 1, value)),
            "escape" | "check" => {}
            _ => break,
        }
    }
    found
}

/// The text with `ENTRYPOINT []` and `CMD []` as a word each: Docker reads them
/// as "none", the crate as an error.
pub fn without_empty_lists(text: &str) -> Cow<'_, str> {
    let is_empty_list = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip_while(|word| word.eq_ignore_ascii_case("onbuild"));
        let keyword = words.next().unwrap_or_default();
        let list: String = words.collect();
        list == "[]" && ["ENTRYPOINT", "CMD"].iter().any(|known| keyword.eq_ignore_ascii_case(known))
    };
    if !text.lines().any(is_empty_list) {
        return text.into();
    }
    let line =
        |line: &str| if is_empty_list(line) { line.replace('[', "x").replace(']', " ") } else { line.to_owned() };
    text.split_inclusive('\n').map(line).collect::<String>().into()
}

/// The text with the here-documents of RUN blanked.
pub fn blanked(text: &str, escape: char) -> Result<Cow<'_, str>, DockerfileError> {
    if !text.contains("<<") {
        return Ok(text.into());
    }
    let mut result = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').zip(1..);
    while let Some((first, start)) = lines.next() {
        let opening = result.len();
        result.push_str(first);
        if matches!(first.trim_start().chars().next(), None | Some('#')) {
            continue;
        }
        let mut logical = String::new();
        let mut line = first;
        // Comments and empty lines don't end a continued line.
        while let Some(begun) = continued(line, escape) {
            logical.push_str(begun);
            loop {
                let Some((next, _)) = lines.next() else { return Ok(result.into()) };
                result.push_str(next);
                line = next;
                if !matches!(next.trim_start().chars().next(), None | Some('#')) {
                    break;
                }
            }
        }
        logical.push_str(line);
        let (run, names) = documents(&logical, escape);
        if run && !names.is_empty() {
            // Else the crate would go looking for the end of what is not there.
            let line = result[opening..].replace("<<", "  ");
            result.truncate(opening);
            result.push_str(&line);
        }
        for (name, tabs) in names {
            loop {
                let Some((line, _)) = lines.next() else {
                    let message = format!("the here-document `{name}` does not end; write `{name}` alone on a line");
                    return Err(DockerfileError { line: start, column: 1, message });
                };
                let bare = line.trim_end_matches(['\n', '\r']);
                let end = name == if tabs { bare.trim_start_matches('\t') } else { bare };
                if run {
                    result.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
                } else {
                    result.push_str(line);
                }
                if end {
                    break;
                }
            }
        }
    }
    Ok(result.into())
}

/// What stands before the escape character at the end of a line.
fn continued(line: &str, escape: char) -> Option<&str> {
    line.trim_end().strip_suffix(escape)
}

/// Whether a line is a RUN, and the here-documents that it opens.
fn documents(line: &str, escape: char) -> (bool, Vec<(String, bool)>) {
    let mut words = words(line, escape);
    if words.first().is_some_and(|word| word.eq_ignore_ascii_case("onbuild")) {
        words.remove(0);
    }
    let keyword = words.first().map(|word| word.to_uppercase()).unwrap_or_default();
    if !["RUN", "COPY", "ADD"].contains(&keyword.as_str()) {
        return (false, Vec::new());
    }
    let mut rest = words[1..].iter().skip_while(|word| word.starts_with("--")).peekable();
    if rest.peek().is_some_and(|word| word.starts_with('[') && is_json(line)) {
        return (false, Vec::new());
    }
    let names: Vec<_> = rest.filter_map(|word| document(word)).collect();
    (keyword == "RUN", names)
}

fn is_json(line: &str) -> bool {
    line.find('[').is_some_and(|at| serde_json::from_str::<Vec<String>>(line[at..].trim()).is_ok())
}

/// `<<EOF`, `<<-EOF`, `3<<"EOF"`: the name, and whether tabs are stripped.
fn document(word: &str) -> Option<(String, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let name: String = rest.chars().filter(|c| !['"', '\'', '\\'].contains(c)).collect();
    Some((name, tabs)).filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let result = blanked(text, '\\').unwrap();
        assert_eq!(result.len(), text.len());
        result.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn what_a_run_reads_is_no_instruction() {
        let text = "FROM a\nRUN cat <<EOF >x \\\n # no\n  3<<-'E2'\nCOPY ü b\nEOF\n\tE2\nCOPY c d\n";
        assert_eq!(lines(text), ["FROM a", "RUN cat   EOF >x \\", " # no", "  3  -'E2'", "COPY c d"]);
        let text = "ONBUILD RUN <<A\nA\nRUN true";
        assert_eq!(lines(text), ["ONBUILD RUN   A", "RUN true"]);
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for text in [
            "RUN a <<<b\nCOPY a b\n",
            "RUN echo $((1 << 2))\nCOPY a b\n",
            "RUN [\"sh\", \"<<EOF\"]\nCOPY a b\n",
            "RUN echo '<<EOF'\nCOPY a b\n",
            "# <<EOF\nCMD <<EOF\nCOPY a b\n",
            "COPY <<EOF /x\nRUN cat <<B\nEOF\nCOPY a b\n",
        ] {
            assert_eq!(blanked(text, '\\').unwrap(), text);
        }
    }

    #[test]
    fn one_without_an_end_is_an_error_at_its_line() {
        let error = blanked("FROM a\nRUN cat <<EOF\nx\n", '\\').unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        let text = "# syntax=a/b:1\n# escape=`\n# check=skip=all\nFROM a\n# escape=\\\n";
        let found = directives(text);
        assert_eq!((found.escape, found.syntax), ('`', Some((1, "a/b:1"))));
        assert_eq!(directives("# x\n# escape=`").escape, '\\');
    }

    #[test]
    fn an_empty_list_is_a_word_to_the_parser() {
        let text = "FROM a\nENTRYPOINT []\ncmd [ ]\nONBUILD CMD []\nCMD [\"[]\"]\nRUN x []";
        let expected = "FROM a\nENTRYPOINT x \ncmd x  \nONBUILD CMD x \nCMD [\"[]\"]\nRUN x []";
        assert_eq!(without_empty_lists(text), expected);
        assert!(parse_dockerfile::parse(expected).is_ok());
    }
}
