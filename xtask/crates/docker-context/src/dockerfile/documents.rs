//! Here-documents: which words of an instruction open one, and under which name.

use super::expand::{Lexer, Value};
use super::lines::{Statement, statement};
use super::words::json_list;

/// `<<NAME`, and what stands on the lines to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The word that ends it.
    pub name: String,
    /// `<<-`: tabs before the end don't count.
    pub chomp: bool,
    /// Its lines.
    pub content: String,
}

/// Those that a statement opens, in their order.
pub fn of(line: &Statement) -> Result<Vec<Document>, String> {
    if !line.whole.contains("<<") {
        return Ok(Vec::new());
    }
    let mut inner = None;
    if line.keyword.eq_ignore_ascii_case("onbuild") {
        inner = Some(statement(line.rest.as_bytes(), (line.line, line.column)));
    }
    let read = inner.as_ref().unwrap_or(line);
    let opens = ["add", "copy", "run"].iter().any(|known| read.keyword.eq_ignore_ascii_case(known));
    if !opens || matches!(json_list(&read.rest), Ok(Some(_))) {
        return Ok(Vec::new());
    }
    // A line whose quotes don't end opens none.
    let words = raw().words(&line.whole).unwrap_or_default();
    words.iter().filter_map(|word| named(word).transpose()).collect()
}

/// The here-document that a word is, if it is one.
pub fn named(word: &str) -> Result<Option<Document>, String> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let lexer = Lexer { raw_quotes: false, raw_escapes: false, ..raw() };
    let words = lexer.words(rest).map_err(|error| error.to_string())?;
    match words.as_slice() {
        [name] => Ok(Some(Document { name: name.clone(), chomp, content: String::new() })),
        _ => Ok(None),
    }
}

/// Splits into words and changes nothing else. BuildKit always takes `\` here.
fn raw() -> Lexer<'static> {
    Lexer { escape: '\\', lookup: &|_| Value::Unset, raw_quotes: true, raw_escapes: true, keeps_unset: true }
}
