//! Makes untrusted text (names of files, keys, values, output of tools and
//! engines) safe for a terminal or the log of a job.
//!
//! A terminal obeys ESC, and U+202E reverses a line. GitHub's runner obeys a line
//! that begins with `::` after white space, and `##[` anywhere in a line. Such
//! characters are shown by their code.

use std::borrow::Cow;

/// The text made harmless, line by line.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    if text.bytes().all(is_plain) && !text.contains("::") && !text.contains("##[") {
        return Cow::Borrowed(text);
    }
    let mut out = Out::default();
    text.chars().for_each(|c| out.push(c));
    Cow::Owned(out.text)
}

/// A line of a child process made harmless. Its colours are kept if they are
/// wanted and hide nothing; they end with the line.
pub fn line(text: &str, colours: bool) -> String {
    let mut out = Out::default();
    let mut rest = text;
    let mut coloured = false;
    while let Some(c) = rest.chars().next() {
        match colour(rest) {
            Some((sequence, after)) => {
                if colours && hides_nothing(sequence) {
                    out.text.push_str(sequence);
                    coloured = true;
                }
                rest = after;
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    if coloured {
        out.text.push_str("\x1b[0m");
    }
    out.text
}

/// A line without the user name and password in URLs: apt prints them when it
/// fails.
pub fn anonymous(line: &str) -> String {
    let mut parts = line.split("://");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(part.len());
        let from = part[..end].rfind('@').map_or(0, |at| at + 1);
        out.push_str("://");
        out.push_str(&part[from..]);
    }
    out
}

/// A JSON text with such characters in strings escaped. Its meaning is the same.
pub fn json(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.contains("##[") && !text.contains('\x7f') {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut hashes = Hashes::default();
    for c in text.chars() {
        // JSON has none of these characters outside of strings.
        if is_obeyed(c) || hashes.end_in(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal obeys this character, or draws nothing for it.
pub fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Parts of characters that people use: emoji, Persian, Hindi.
        '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' => true,
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => c.is_control(),
    }
}

/// Whether this character is invisible, so that a runner's comparison by language
/// ignores it.
/// is not there.
fn is_transparent(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

#[derive(Default)]
struct Out {
    text: String,
    /// A visible character has occurred in this line.
    begun: bool,
    hashes: Hashes,
}

impl Out {
    fn push(&mut self, c: char) {
        let ends = self.hashes.end_in(c);
        match c {
            '\n' => self.begun = false,
            // Also after the first `#`: an invisible character may be in between.
            ':' if !self.begun => self.text.push('\\'),
            '[' if ends => self.text.push('\\'),
            _ => {}
        }
        self.begun |= c != '\n' && !c.is_whitespace() && !is_transparent(c);
        if is_obeyed(c) {
            self.text.extend(c.escape_default());
        } else {
            self.text.push(c);
        }
    }
}

/// How many `#` precede.
#[derive(Default)]
struct Hashes(usize);

impl Hashes {
    /// Whether this character completes `##[`.
    fn end_in(&mut self, c: char) -> bool {
        let ends = c == '[' && self.0 >= 2;
        match c {
            '#' => self.0 += 1,
            _ if is_transparent(c) => {}
            _ => self.0 = 0,
        }
        ends
    }
}

/// A colour code at the start of a text, `ESC [ numbers m`, and the rest.
fn colour(text: &str) -> Option<(&str, &str)> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then(|| text.split_at(2 + end + 1))
}

/// Whether text in this colour is readable: no background colour, no black,
/// nothing concealed.
/// text's own, no black, nothing concealed.
fn hides_nothing(sequence: &str) -> bool {
    let numbers = sequence.trim_start_matches("\x1b[").trim_end_matches('m');
    numbers.split(';').all(|number| {
        let number = if number.is_empty() { Ok(0) } else { number.parse::<u8>() };
        matches!(number, Ok(0..=4 | 22..=24 | 31..=36 | 39 | 90..=96))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_says_who_asks() {
        for (line, expected) in [
            ("E: http://u:p@a.example/nope 400", "E: http://a.example/nope 400"),
            ("http://u:p@@a", "http://a"),
            ("http://u:p@a", "http://a"),
            ("a@b http://c/d@e x://f@g h@i", "a@b http://c/d@e x://g h@i"),
            ("http://c:8080 d@e", "http://c:8080 d@e"),
            ("://ü@ä", "://ä"),
            ("", ""),
        ] {
            assert_eq!(anonymous(line), expected);
        }
    }
    use crate::model::cases::cases;

    #[test]
    fn what_would_be_obeyed_is_shown() {
        for (text, expected) in [
            ("plain, with\ttabs\nand lines: a::b ##", "plain, with\ttabs\nand lines: a::b ##"),
            ("ü 漢 🎉 👩\u{200d}💻 ⚠\u{fe0f} می\u{200c}خواهم", "ü 漢 🎉 👩\u{200d}💻 ⚠\u{fe0f} می\u{200c}خواهم"),
            ("\x1b]0;title\x07\x1b[2J", "\\u{1b}]0;title\\u{7}\\u{1b}[2J"),
            ("a\rb\u{9b}31m\u{85}\0\x7f", "a\\rb\\u{9b}31m\\u{85}\\u{0}\\u{7f}"),
            ("abc\u{202e}txt\u{2066}\u{200f}\u{61c}\u{feff}", "abc\\u{202e}txt\\u{2066}\\u{200f}\\u{61c}\\u{feff}"),
            ("a\u{2028}::x", "a\\u{2028}::x"),
            (
                "::error::x\n  ::set-output name=a::b\n\u{3000}::x\n\u{a0}\t::y",
                "\\::error::x\n  \\::set-output name=a::b\n\u{3000}\\::x\n\u{a0}\t\\::y",
            ),
            ("\u{200d}::x\n:\u{fe0f}:x", "\u{200d}\\::x\n\\:\u{fe0f}:x"),
            ("x ::error::y", "x ::error::y"),
            ("x ##[error]y ###[a] ##\u{200d}[b] # #[c]", "x ##\\[error]y ###\\[a] ##\u{200d}\\[b] # #[c]"),
        ] {
            assert_eq!(harmless(text), expected);
        }
    }

    #[test]
    fn a_childs_colours_stay_where_they_can_be_read() {
        for (text, with, without) in [
            ("\x1b[32mok\x1b[0m", "\x1b[32mok\x1b[0m\x1b[0m", "ok"),
            ("\x1b[1;36mvite\x1b[m", "\x1b[1;36mvite\x1b[m\x1b[0m", "vite"),
            ("\x1b[8mhidden\x1b[30;40mblack\x1b[38;5;0mx", "hiddenblackx", "hiddenblackx"),
            ("\x1b[2Jx\x1b[31", "\\u{1b}[2Jx\\u{1b}[31", "\\u{1b}[2Jx\\u{1b}[31"),
            ("\x1b[31m::error::x", "\x1b[31m\\::error::x\x1b[0m", "\\::error::x"),
            ("#\x1b[0m#\x1b[32m[error]x", "#\x1b[0m#\x1b[32m\\[error]x\x1b[0m", "##\\[error]x"),
            ("\x1b[256mx\x1b[0;300;31m", "x", "x"),
        ] {
            assert_eq!((line(text, true).as_str(), line(text, false).as_str()), (with, without), "{text:?}");
        }
    }

    #[test]
    fn json_means_the_same_without_them() {
        let value = serde_json::json!({ "\u{202e}": ["\x7f\u{9b}::\u{feff}", "##[error]x", "ü\u{e0041}"] });
        let text = value.to_string();
        assert_eq!(json(&text), r###"{"\u202e":["\u007f\u009b::\ufeff","##\u005berror]x","ü\udb40\udc41"]}"###);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&text)).unwrap(), value);
    }

    /// A line as the runner reads it: it begins with a command, or contains one.
    fn is_command(line: &str) -> bool {
        let seen: String = line.chars().filter(|c| !is_transparent(*c)).collect();
        seen.trim_start().starts_with("::") || seen.contains("##[")
    }

    #[test]
    fn whatever_comes_in_nothing_is_obeyed() {
        let pieces = [
            "::", ":", "##[", "#", "[", "]", "\n", "\r", " ", "\u{a0}", "\u{200d}", "\u{fe0f}", "\x1b[31m", "\x1b[8m",
            "\x1b", "m", "error", "\u{202e}", "\0", "ü",
        ];
        let mut dangerous = 0;
        cases(3000, |u| {
            let mut text = String::new();
            for _ in 0..u.int_in_range(0..=8)? {
                text.push_str(if u.ratio(9, 10)? { u.choose(&pieces)? } else { u.arbitrary::<&str>()? });
            }
            dangerous += usize::from(text.split(['\n', '\r']).any(is_command));
            let single = text.replace('\n', " ");
            for shown in [harmless(&text).into_owned(), line(&single, false)] {
                assert!(!shown.contains(is_obeyed), "{text:?} -> {shown:?}");
                assert!(!shown.lines().any(is_command), "{text:?} -> {shown:?}");
            }
            assert_eq!(harmless(&text).lines().count(), text.split_terminator('\n').count(), "{text:?}");
            let coloured = line(&single, true);
            let mut plain = coloured.clone();
            for colour in ["\x1b[31m", "\x1b[m", "\x1b[0m"] {
                plain = plain.replace(colour, "");
            }
            assert!(
                !plain.contains(is_obeyed) && !is_command(&coloured) && !is_command(&plain),
                "{text:?} -> {coloured:?}"
            );
            assert!(coloured == plain || coloured.ends_with("\x1b[0m"), "{text:?} -> {coloured:?}");
            let value = serde_json::Value::from(text);
            let written = value.to_string();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&written)).unwrap(), value);
            assert!(!json(&written).contains(is_obeyed) && !is_command(&json(&written)), "{written}");
            Ok(())
        });
        assert!(dangerous > 500, "{dangerous}");
    }
}
