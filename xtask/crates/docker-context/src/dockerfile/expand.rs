//! Words as BuildKit's shell lexer reads them: quotes, escapes, `$A` and every
//! form of `${A…}`. A word without a certain value is an error, never a guess.

use std::cell::Cell;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::trim::{replace, trim};

/// How deep `${a:-${b:-…}}` may nest. Nobody writes more.
const DEPTH: usize = 32;
/// How long a word may become. Variables that double each other crash the engine.
const LONGEST: usize = 65_536;

/// What is known about a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgValue {
    /// Its value.
    Set(String),
    /// It is not set.
    Unset,
    /// Its value is unknown.
    Unknown,
}

/// Why a word has no certain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordError {
    /// BuildKit refuses it, or uses a rule that is not implemented here.
    Odd(String),
    /// The value of this variable is unknown.
    Unknown(String),
    /// It is longer than anybody needs.
    Endless,
    /// It crashes BuildKit, and the engine with it.
    Fatal(String),
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Odd(why) => f.write_str(why),
            Self::Unknown(name) => write!(f, "`${name}` has no certain value"),
            Self::Fatal(what) => {
                write!(f, "the engine crashes over `{what}`, where nothing is taken away; write what is")
            }
            Self::Endless => write!(f, "its variables make more than {LONGEST} bytes of it"),
        }
    }
}

/// The options for reading words.
pub struct Lexer<'s> {
    /// The escape character.
    pub escape: char,
    /// The variables.
    pub lookup: &'s dyn Fn(&str) -> ArgValue,
    /// Keeps quotes.
    pub raw_quotes: bool,
    /// Keeps escape characters.
    pub raw_escapes: bool,
    /// Keeps variables that have no value.
    pub keeps_unset: bool,
}

/// Splits the result into words, at blanks outside quotes.
#[derive(Default)]
struct Split {
    done: Vec<String>,
    word: String,
}

struct Reading<'l, 't> {
    lexer: &'l Lexer<'l>,
    chars: Peekable<Chars<'t>>,
    raw_escapes: bool,
    length: &'l Cell<usize>,
}

impl<'s> Lexer<'s> {
    /// Replaces variables and removes quotes.
    pub fn new(escape: char, lookup: &'s dyn Fn(&str) -> ArgValue) -> Self {
        Self { escape, lookup, raw_quotes: false, raw_escapes: false, keeps_unset: false }
    }

    /// Reads the text as one word.
    pub fn word(&self, text: &str) -> Result<String, WordError> {
        Ok(self.read(text)?.0)
    }

    /// Reads the text as several words.
    pub fn words(&self, text: &str) -> Result<Vec<String>, WordError> {
        let (_, mut split) = self.read(text)?;
        split.end();
        Ok(split.done)
    }

    fn read(&self, text: &str) -> Result<(String, Split), WordError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let length = Cell::new(0);
        let mut reading =
            Reading { lexer: self, chars: text.chars().peekable(), raw_escapes: self.raw_escapes, length: &length };
        reading.until(None, 0)
    }
}

impl Split {
    fn end(&mut self) {
        self.done.extend(Some(std::mem::take(&mut self.word)).filter(|word| !word.is_empty()));
    }

    fn add(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() { self.end() } else { self.word.push(c) }
        }
    }
}

fn odd<T>(why: &str) -> Result<T, WordError> {
    Err(WordError::Odd(why.into()))
}

impl Reading<'_, '_> {
    /// Reads to the end, or to `stop`.
    fn until(&mut self, stop: Option<char>, depth: usize) -> Result<(String, Split), WordError> {
        if depth > DEPTH {
            return odd("variables in variables, too deep to follow");
        }
        let (mut result, mut split) = (String::new(), Split::default());
        while let Some(c) = self.chars.peek().copied() {
            match c {
                c if Some(c) == stop => {
                    self.chars.next();
                    return Ok((result, split));
                }
                '$' => {
                    let value = self.dollar(depth)?;
                    result.push_str(&value);
                    split.add(&value);
                }
                '\'' | '"' => {
                    let text = if c == '"' { self.double_quoted(depth)? } else { self.single_quoted()? };
                    result.push_str(&text);
                    split.word.push_str(&text);
                }
                c => {
                    self.chars.next();
                    let mut raw = c;
                    if c == self.lexer.escape {
                        if self.raw_escapes {
                            result.push(c);
                            split.word.push(c);
                        }
                        let Some(next) = self.chars.next() else { break };
                        raw = next;
                        split.word.push(raw);
                    } else {
                        split.add(raw.encode_utf8(&mut [0; 4]));
                    }
                    result.push(raw);
                }
            }
        }
        match stop {
            Some(stop) => odd(&format!("`${{` without `{stop}`")),
            None => Ok((result, split)),
        }
    }

    fn single_quoted(&mut self) -> Result<String, WordError> {
        let mut result = String::new();
        let quote = self.chars.next();
        result.extend(quote.filter(|_| self.lexer.raw_quotes));
        loop {
            match self.chars.next() {
                None => return odd("`'` without its second"),
                Some('\'') => {
                    result.extend(quote.filter(|_| self.lexer.raw_quotes));
                    return Ok(result);
                }
                Some(c) => result.push(c),
            }
        }
    }

    fn double_quoted(&mut self, depth: usize) -> Result<String, WordError> {
        let mut result = String::new();
        let quote = self.chars.next();
        result.extend(quote.filter(|_| self.lexer.raw_quotes));
        loop {
            match self.chars.peek().copied() {
                None => return odd("`\"` without its second"),
                Some('"') => {
                    self.chars.next();
                    result.extend(quote.filter(|_| self.lexer.raw_quotes));
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar(depth)?),
                Some(mut c) => {
                    self.chars.next();
                    if c == self.lexer.escape {
                        if self.raw_escapes {
                            result.push(c);
                        }
                        match self.chars.peek().copied() {
                            None => continue,
                            Some(next) if ['"', '$', self.lexer.escape].contains(&next) => {
                                self.chars.next();
                                c = next;
                            }
                            Some(_) => {}
                        }
                    }
                    result.push(c);
                }
            }
        }
    }

    fn dollar(&mut self, depth: usize) -> Result<String, WordError> {
        self.chars.next();
        let result = if self.chars.next_if_eq(&'{').is_some() {
            self.braced(depth)
        } else {
            match self.name() {
                name if name.is_empty() => Ok("$".into()),
                name => self.value(&name).map(|value| value.unwrap_or_else(|| self.unset(format!("${name}")))),
            }
        }?;
        self.length.set(self.length.get() + result.len());
        if self.length.get() > LONGEST { Err(WordError::Endless) } else { Ok(result) }
    }

    /// Reads on after `${`.
    fn braced(&mut self, depth: usize) -> Result<String, WordError> {
        if matches!(self.chars.peek(), None | Some('{' | '}' | ':')) {
            return odd("`${` without a name");
        }
        let name = self.name();
        let mut operator = self.chars.next();
        if operator == Some('}') {
            return Ok(self.value(&name)?.unwrap_or_else(|| self.unset(format!("${{{name}}}"))));
        }
        if operator == Some('/') {
            return self.replaced(&name, depth);
        }
        let empty_counts = operator == Some(':');
        if empty_counts {
            operator = self.chars.next();
        }
        let more = || odd(&format!("`${{{name}…}}` is more than is understood here"));
        let Some(operator) = operator.filter(|c| ['-', '+', '?', '#', '%'].contains(c)) else { return more() };
        let word = self.raw(['#', '%'].contains(&operator), |it| it.until(Some('}'), depth + 1))?.0;
        let value = self.value(&name);
        let keeps = self.lexer.keeps_unset && value == Ok(None);
        if word.is_empty() && ['#', '%'].contains(&operator) && !keeps {
            return Err(WordError::Fatal(format!("${{{name}{operator}}}")));
        }
        let value = value?;
        if keeps {
            let colon = if empty_counts { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let filled = value.clone().filter(|value| !(empty_counts && value.is_empty()));
        match (operator, filled) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('-' | '?', Some(value)) => Ok(value),
            ('?', None) => odd(&format!("`{name}` has to be set")),
            _ => trim(&word, &value.unwrap_or_default(), operator == '%').map_err(WordError::Odd),
        }
    }

    /// Reads `${A/what/with}`.
    fn replaced(&mut self, name: &str, depth: usize) -> Result<String, WordError> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let what = self.raw(true, |it| it.until(Some('/'), depth + 1))?.0;
        let with = self.raw(true, |it| it.until(Some('}'), depth + 1))?.0;
        match self.value(name)? {
            None if self.lexer.keeps_unset => Ok(format!("${{{name}/{what}/{with}}}")),
            value => replace(&what, &with, &value.unwrap_or_default(), all).map_err(WordError::Odd),
        }
    }

    /// Reads a pattern, and keeps escape characters or removes them.
    fn raw<T>(&mut self, raw: bool, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.raw_escapes, raw);
        let result = read(self);
        self.raw_escapes = before;
        result
    }

    fn unset(&self, written: String) -> String {
        if self.lexer.keeps_unset { written } else { String::new() }
    }

    fn value(&self, name: &str) -> Result<Option<String>, WordError> {
        match (self.lexer.lookup)(name) {
            ArgValue::Set(value) => Ok(Some(value)),
            ArgValue::Unset => Ok(None),
            ArgValue::Unknown => Err(WordError::Unknown(name.to_owned())),
        }
    }

    fn name(&mut self) -> String {
        if let Some(special) = self.chars.next_if(|c| "@*#?-$!".contains(*c)) {
            return special.into();
        }
        let digits = self.chars.peek().is_some_and(char::is_ascii_digit);
        let mut name = String::new();
        let belongs = |c: &char| if digits { c.is_ascii_digit() } else { c.is_alphanumeric() || *c == '_' };
        while let Some(c) = self.chars.next_if(belongs) {
            name.push(c);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, WordError> {
        let lookup = |name: &str| match name {
            "A" => ArgValue::Set("a".into()),
            "E" => ArgValue::Set(String::new()),
            "S" => ArgValue::Set("x y".into()),
            "P" => ArgValue::Set("apps/api/src".into()),
            "UNKNOWN" => ArgValue::Unknown,
            _ => ArgValue::Unset,
        };
        Lexer::new('\\', &lookup).word(text)
    }

    #[test]
    fn words_are_expanded_as_buildkit_does() {
        for (word, result) in [
            ("$A/${A}b", Some("a/ab")),
            ("${A-a}${A?a}${A:?a}", Some("aaa")),
            ("\\$A", Some("$A")),
            ("'$A'\"$A\"", Some("$Aa")),
            ("\"\\$A\\b\\\"\"", Some("$A\\b\"")),
            ("${E:-w}${E-w}", Some("w")),
            ("${A:+w}${E:+w}${E+v}", Some("wv")),
            ("${NO:-${A}x}", Some("ax")),
            ("${NO+x}$NO", Some("")),
            ("$S", Some("x y")),
            ("a$", Some("a$")),
            ("$1b", Some("b")),
            ("\u{feff}a", Some("a")),
            ("${P#*/}", Some("api/src")),
            ("${P##*/}", Some("src")),
            ("${P%/*}", Some("apps/api")),
            ("${P%%/*}", Some("apps")),
            ("${P/a/b}", Some("bpps/api/src")),
            ("${P//a?/x}", Some("xps/xi/src")),
            ("${P/\\/*/\\}}", Some("apps\\}")),
            ("${NO#x}", Some("")),
            ("$UNKNOWN", None),
            ("${UNKNOWN:-x}", None),
            ("${A?x}${A", None),
            ("${NO?x}", None),
            ("${}", None),
            ("${A^}", None),
            ("'a", None),
            ("\"a", None),
        ] {
            assert_eq!(expand(word).ok().as_deref(), result, "{word}");
        }
    }

    #[test]
    fn what_is_deeper_than_anybody_writes_is_not_followed() {
        for (open, close) in [("${NO-", "}"), ("${A/a/", "}"), ("${A/", "/}")] {
            let nested = |depth| expand(&format!("{}b{}", open.repeat(depth), close.repeat(depth)));
            assert!(nested(DEPTH).is_ok() && nested(DEPTH + 1).is_err() && nested(9 * DEPTH).is_err(), "{open}");
        }
    }

    #[test]
    fn what_the_engine_crashes_over_is_told_apart() {
        for word in ["${A#}", "${A%}", "a${NO%$E}b", "\"${A:#}\"", "${UNKNOWN#}"] {
            assert!(matches!(expand(word), Err(WordError::Fatal(_))), "{word}");
        }
        assert_eq!(expand("'${A#}'${A##}\\${A%}").as_deref(), Ok("${A#}a${A%}"));
        let kept = Lexer { keeps_unset: true, ..Lexer::new('\\', &|_| ArgValue::Unset) };
        assert_eq!(kept.word("${A#}$A${A}${A-b}${A:+c}").as_deref(), Ok("${A#}$A${A}${A-b}${A:+c}"));
    }

    #[test]
    fn what_would_never_end_is_refused() {
        assert_eq!(expand(&"$P".repeat(10_000)), Err(WordError::Endless));
        assert!(expand(&"${A:+".repeat(100_000)).is_err());
    }

    #[test]
    fn words_are_cut_at_blanks_that_nothing_quotes() {
        let lexer = Lexer::new('\\', &|_| ArgValue::Set("p q".into()));
        assert_eq!(lexer.words(" a'b c' $X\\ y \"$X\" ").unwrap(), ["ab c", "p", "q y", "p q"]);
    }
}
