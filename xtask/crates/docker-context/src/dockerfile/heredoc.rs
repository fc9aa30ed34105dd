//! Here-documents: which words of an instruction start one, and its name.

use super::expand::{ArgValue, Lexer};
use super::words::json_list;

/// `<<NAME`, and the lines up to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// `<<-`: tabs before the end marker are ignored.
    pub chomp: bool,
    /// Its lines.
    pub content: String,
}

/// The here-documents that an instruction starts, in order. It takes the keyword,
/// the text after the flags, and the whole line.
pub fn of(keyword: &str, rest: &str, whole: &str) -> Result<Vec<Heredoc>, String> {
    let opens = ["add", "copy", "run"].iter().any(|known| keyword.eq_ignore_ascii_case(known));
    if !opens || !whole.contains("<<") || matches!(json_list(rest), Ok(Some(_))) {
        return Ok(Vec::new());
    }
    // A line with an unclosed quote starts none.
    let words = raw().words(whole).unwrap_or_default();
    words.iter().filter_map(|word| named(word).transpose()).collect()
}

/// The here-document that a word starts, if it starts one.
pub fn named(word: &str) -> Result<Option<Heredoc>, String> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let lexer = Lexer { raw_quotes: false, raw_escapes: false, ..raw() };
    let words = lexer.words(rest).map_err(|error| error.to_string())?;
    match words.as_slice() {
        [name] => Ok(Some(Heredoc { name: name.clone(), chomp, content: String::new() })),
        _ => Ok(None),
    }
}

/// Splits a line into words and changes nothing else. BuildKit always uses `\` as
/// the escape character here.
fn raw() -> Lexer<'static> {
    Lexer { escape: '\\', lookup: &|_| ArgValue::Unset, raw_quotes: true, raw_escapes: true, keeps_unset: true }
}
