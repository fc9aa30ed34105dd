//! Here-documents: which words of an instruction open one, and under which name.

use super::expand::{ArgValue, Lexer};
use super::words::json_list;

/// `<<NAME`, and what stands on the lines to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// `<<-`: tabs before the end don't count.
    pub chomp: bool,
    /// Its lines.
    pub content: String,
}

/// Those that an instruction opens, in their order: its keyword, what stands
/// behind its flags, and the whole line that it is on.
pub fn of(keyword: &str, rest: &str, whole: &str) -> Result<Vec<Heredoc>, String> {
    let opens = ["add", "copy", "run"].iter().any(|known| keyword.eq_ignore_ascii_case(known));
    if !opens || !whole.contains("<<") || matches!(json_list(rest), Ok(Some(_))) {
        return Ok(Vec::new());
    }
    // A line whose quotes don't end opens none.
    let words = raw().words(whole).unwrap_or_default();
    words.iter().filter_map(|word| named(word).transpose()).collect()
}

/// The here-document that a word is, if it is one.
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

/// Splits into words and changes nothing else. BuildKit always takes `\` here.
fn raw() -> Lexer<'static> {
    Lexer { escape: '\\', lookup: &|_| ArgValue::Unset, raw_quotes: true, raw_escapes: true, keeps_unset: true }
}
