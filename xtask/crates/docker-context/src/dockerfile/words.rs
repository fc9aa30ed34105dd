//! Splits the text of an instruction: at blanks, into words with quotes, as a
//! JSON list, or into the fields of a mount.

use serde_json::Value;

/// Bytes as text. Each byte that is not UTF-8 becomes U+FFFD.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{FFFD}'));
    }
    text
}

/// Splits at blanks and ignores quotes.
pub fn at_blanks(text: &str) -> Vec<&str> {
    let blank = |c: char| matches!(c, '\t' | '\x0B' | '\x0C' | '\r' | ' ');
    text.split(blank).filter(|word| !word.is_empty()).collect()
}

/// The words of ARG and ENV, with their quotes. A quoted or escaped blank does
/// not split.
pub fn words(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c != escape || quote == Some('\'') {
            word.push(c);
        } else if let Some(next) = chars.next() {
            word.extend([c, next]);
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// The JSON list of strings that a text starts with. Text after the list is
/// ignored. `None` means that the text is not JSON but words. BuildKit refuses a
/// list of other values.
pub fn json_list(text: &str) -> Result<Option<Vec<String>>, String> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let paired = lone_surrogates_replaced(text);
    match serde_json::Deserializer::from_str(&paired).into_iter::<Value>().next() {
        Some(Ok(Value::Array(items))) => {
            let texts = items.into_iter().map(|item| if let Value::String(text) = item { Some(text) } else { None });
            let texts: Option<Vec<String>> = texts.collect();
            texts.map(Some).ok_or_else(|| "a JSON list here holds strings and nothing else".into())
        }
        _ => Ok(None),
    }
}

/// Go decodes half of a surrogate pair as U+FFFD; serde_json refuses it.
fn lone_surrogates_replaced(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (mut result, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(escape) = text[at..].find('\\').map(|found| at + found) {
        result.push_str(&text[at..escape]);
        let length = match (unit(escape), unit(escape + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                result.push_str("\\ufffd");
                at = escape + 6;
                continue;
            }
            // Skips the backslash and the character it escapes.
            _ => 1 + text[escape + 1..].chars().next().map_or(0, char::len_utf8),
        };
        result.push_str(&text[escape..escape + length]);
        at = escape + length;
    }
    result + &text[at..]
}

/// The fields of a mount: CSV, so a quoted field may contain commas.
pub fn fields(text: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut rest) = (Vec::new(), text);
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, behind) = rest.split_once(',').map_or((rest, None), |(field, rest)| (field, Some(rest)));
            if field.contains('"') {
                return Err("a `\"` within a field of a mount".into());
            }
            fields.push(field.to_owned());
            match behind {
                None => return Ok(fields),
                Some(behind) => rest = behind,
            }
            continue;
        };
        let (mut field, mut chars) = (String::new(), quoted.char_indices().peekable());
        let end = loop {
            match chars.next() {
                None => return Err("a `\"` in a mount without its second".into()),
                Some((_, '"')) if chars.next_if(|(_, c)| *c == '"').is_some() => field.push('"'),
                Some((at, '"')) => break at + 1,
                Some((_, c)) => field.push(c),
            }
        };
        fields.push(field);
        match &quoted[end..] {
            "" => return Ok(fields),
            behind => rest = behind.strip_prefix(',').ok_or("a `\"` within a field of a mount")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_quotes_and_end_at_blanks() {
        assert_eq!(words("A=x  B=\"a b\" C=a\\ b\tD='a\\' b\\", '\\'), ["A=x", "B=\"a b\"", "C=a\\ b", "D='a\\'", "b"]);
        assert_eq!(words("A=`  B=\\ c", '`'), ["A=` ", "B=\\", "c"]);
        assert_eq!(at_blanks("a \t b\u{a0}c"), ["a", "b\u{a0}c"]);
    }

    #[test]
    fn a_json_list_ends_at_its_bracket_and_what_is_none_is_words() {
        let list = |text: &str| json_list(text).unwrap();
        assert_eq!(list("[\"a\", \"b\"] # why"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(list(" [ ]"), Some(vec![]));
        assert_eq!(list("[\"\\ud83d\\ude00\\ud83d\\\\u\"]"), Some(vec!["\u{1f600}\u{fffd}\\u".to_owned()]));
        for text in ["a", "[a", "['a']", "[\"a\",]", "[\"a\"", "[\"a\tb\"]"] {
            assert_eq!(list(text), None, "{text}");
        }
        for text in ["[1]", "[null, \"a\"]", "[[\"a\"]]x"] {
            assert!(json_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_in_quotes_may_hold_a_comma() {
        assert_eq!(fields("a=b,,\"c=d,\"\"e\",f").unwrap(), ["a=b", "", "c=d,\"e", "f"]);
        assert_eq!(fields("").unwrap(), [""]);
        for text in ["a=\"b\"", "\"a", "\"a\"b"] {
            assert!(fields(text).is_err(), "{text}");
        }
    }
}
