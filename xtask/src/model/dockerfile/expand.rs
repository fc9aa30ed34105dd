//! Variables by Docker's rules: what ARG and ENV have said so far, and `$A`,
//! `${A:-b}` and quotes in a word. What has no certain value is an error, never
//! a guess.

use std::collections::BTreeMap;

/// Set by BuildKit from the platforms of a build; nobody here knows them.
const PLATFORM: [&str; 11] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETOSVERSION",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "BUILDOSVERSION",
];

/// `${a:-${b:-…}}`, no deeper than a person writes it.
const DEPTH: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Set(String),
    /// Declared, and without a value.
    Unset,
    Unknown,
}

/// The variables at one place of a Dockerfile.
#[derive(Clone, Debug)]
pub struct Scope {
    values: BTreeMap<String, (Value, bool)>,
    /// What a name that is not listed is: an image may set more than we see.
    other: Value,
    escape: char,
}

impl Scope {
    /// Before the first FROM.
    pub fn global(escape: char) -> Self {
        Self { values: BTreeMap::new(), other: Value::Unset, escape }
    }

    /// At the start of a stage on an image; on `scratch` nothing is set.
    pub fn on_image(escape: char, image: &str) -> Self {
        let other = if image == "scratch" { Value::Unset } else { Value::Unknown };
        Self { values: BTreeMap::new(), other, escape }
    }

    /// An ARG instruction, everything behind the word `ARG`.
    pub fn arg(&mut self, text: &str, globals: Option<&Self>, build_args: &BTreeMap<String, String>) {
        for word in words(text, self.escape) {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (word.as_str(), None),
            };
            let value = match (build_args.get(name), default) {
                (Some(value), _) => Value::Set(value.clone()),
                (None, Some(default)) => self.value_of(default),
                (None, None) => match globals.and_then(|globals| globals.values.get(name)) {
                    Some((value @ (Value::Set(_) | Value::Unknown), _)) => value.clone(),
                    _ if PLATFORM.contains(&name) => Value::Unknown,
                    _ if self.values.contains_key(name) => continue,
                    _ => self.other.clone(),
                },
            };
            // Documentation: ENV wins. BuildKit: whichever stands last.
            let value = match self.values.get(name) {
                Some((before, true)) if *before != value => Value::Unknown,
                _ => value,
            };
            let env = self.values.get(name).is_some_and(|(_, env)| *env);
            self.values.insert(name.to_owned(), (value, env));
        }
    }

    /// An ENV instruction, everything behind the word `ENV`.
    pub fn env(&mut self, text: &str) {
        let pairs = words(text, self.escape);
        let pairs: Vec<(String, String)> = if pairs.first().is_some_and(|word| word.contains('=')) {
            pairs.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
        } else {
            let (name, value) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
            vec![(name.into(), value.trim().into())]
        };
        // All values are read before the first is set.
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (self.expand(k), self.value_of(v))).collect();
        for (name, value) in pairs {
            match name {
                Ok(name) => _ = self.values.insert(name, (value, true)),
                // Any name may have been meant.
                Err(_) => *self = Self { values: BTreeMap::new(), other: Value::Unknown, escape: self.escape },
            }
        }
    }

    /// The word with its variables replaced and its quotes gone, or why not.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut chars = text.chars().collect::<Vec<_>>().into_iter().peekable();
        self.until(&mut chars, None, 0)
    }

    fn value_of(&self, text: &str) -> Value {
        self.expand(text).map_or(Value::Unknown, Value::Set)
    }

    fn lookup(&self, name: &str) -> &Value {
        match self.values.get(name) {
            Some((value, _)) => value,
            None if PLATFORM.contains(&name) => &Value::Unknown,
            None => &self.other,
        }
    }

    fn until(&self, chars: &mut Chars, stop: Option<char>, depth: usize) -> Result<String, String> {
        if depth > DEPTH {
            return Err("variables in variables, too deep to follow".into());
        }
        let mut result = String::new();
        while let Some(c) = chars.next() {
            match c {
                c if Some(c) == stop => return Ok(result),
                '$' => result.push_str(&self.dollar(chars, depth)?),
                '\'' => loop {
                    match chars.next() {
                        None => return Err("`'` without its second".into()),
                        Some('\'') => break,
                        Some(c) => result.push(c),
                    }
                },
                '"' => self.quoted(chars, &mut result, depth)?,
                c if c == self.escape => result.extend(chars.next()),
                c => result.push(c),
            }
        }
        if stop.is_some() { Err("`${` without `}`".into()) } else { Ok(result) }
    }

    fn quoted(&self, chars: &mut Chars, result: &mut String, depth: usize) -> Result<(), String> {
        loop {
            match chars.next() {
                None => return Err("`\"` without its second".into()),
                Some('"') => return Ok(()),
                Some('$') => result.push_str(&self.dollar(chars, depth)?),
                Some(c) if c == self.escape => match chars.peek() {
                    Some(&next) if ['"', '$', self.escape].contains(&next) => result.extend(chars.next()),
                    Some(_) => result.push(c),
                    None => {}
                },
                Some(c) => result.push(c),
            }
        }
    }

    /// Reads on behind `$`.
    fn dollar(&self, chars: &mut Chars, depth: usize) -> Result<String, String> {
        let braced = chars.next_if_eq(&'{').is_some();
        let name = name(chars);
        if !braced {
            return if name.is_empty() { Ok("$".into()) } else { self.set(&name) };
        }
        if name.is_empty() {
            return Err("`${` without a name".into());
        }
        let mut operator = chars.next();
        if operator == Some('}') {
            return self.set(&name);
        }
        let empty_counts = operator == Some(':');
        if empty_counts {
            operator = chars.next();
        }
        let operator = operator.filter(|c| ['-', '+', '?'].contains(c));
        let Some(operator) = operator else {
            return Err(format!("`${{{name}…}}` is more than is understood here"));
        };
        let word = self.until(chars, Some('}'), depth + 1);
        let value = match self.lookup(&name) {
            Value::Unknown => return Err(unknown(&name)),
            Value::Unset => None,
            Value::Set(value) if empty_counts && value.is_empty() => None,
            Value::Set(value) => Some(value.clone()),
        };
        match (operator, value) {
            ('-', None) | ('+', Some(_)) => word,
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => Err(unknown(&name)),
        }
    }

    fn set(&self, name: &str) -> Result<String, String> {
        match self.lookup(name) {
            Value::Set(value) => Ok(value.clone()),
            Value::Unset | Value::Unknown => Err(unknown(name)),
        }
    }
}

type Chars = std::iter::Peekable<std::vec::IntoIter<char>>;

fn unknown(name: &str) -> String {
    format!("`${name}` has no certain value")
}

fn name(chars: &mut Chars) -> String {
    let mut name = String::new();
    let digits = chars.peek().is_some_and(char::is_ascii_digit);
    if let Some(special) = chars.next_if(|c| "@*#?-$!".contains(*c)) {
        return special.into();
    }
    while let Some(c) = chars.next_if(|c| if digits { c.is_ascii_digit() } else { c.is_alphanumeric() || *c == '_' }) {
        name.push(c);
    }
    name
}

/// The words of a line, with their quotes: a quoted or escaped space is none.
pub fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let mut scope = Scope::on_image('\\', "scratch");
        scope.env("A=a E= S='x y'");
        scope.env("D=\"$A b\"");
        scope.arg("DECLARED TARGETARCH", None, &BTreeMap::new());
        scope
    }

    #[test]
    fn words_are_expanded_as_documented() {
        for (word, result) in [
            ("$A/${A}b", Some("a/ab")),
            ("\\$A", Some("$A")),
            ("'$A'\"$A\"", Some("$Aa")),
            ("\"\\$A\\b\\\"\"", Some("$A\\b\"")),
            ("${E:-w}${E-w}", Some("w")),
            ("${A:+w}${E:+w}${E+v}", Some("wv")),
            ("${NO:-${A}x}", Some("ax")),
            ("${NO+x}", Some("")),
            ("$S$D", Some("x ya b")),
            ("a$", Some("a$")),
            ("$E", Some("")),
            ("$NO", None),
            ("$DECLARED", None),
            ("${DECLARED:-d}", Some("d")),
            ("$TARGETARCH", None),
            ("${TARGETARCH:-x}", None),
            ("${A", None),
            ("${}", None),
            ("${A#a}", None),
            ("'a", None),
            ("\"a", None),
        ] {
            assert_eq!(scope().expand(word).ok().as_deref(), result, "{word}");
        }
    }

    #[test]
    fn an_image_may_set_what_the_dockerfile_does_not() {
        let mut scope = Scope::on_image('\\', "python:3");
        let mut globals = Scope::global('\\');
        globals.arg("G", None, &BTreeMap::new());
        scope.arg("X=x Y G", Some(&globals), &BTreeMap::new());
        assert_eq!(scope.expand("$X").as_deref(), Ok("x"));
        for word in ["$Y", "${Y:-y}", "${NO:-x}", "${G:-x}"] {
            assert!(scope.expand(word).is_err(), "{word}");
        }
    }

    #[test]
    fn the_order_of_precedence_is_dockers() {
        let args = BTreeMap::from([("B".to_owned(), "given".to_owned())]);
        let mut globals = Scope::global('\\');
        globals.arg("G=global B=default", None, &args);
        let mut scope = Scope::on_image('\\', "scratch");
        assert!(scope.expand("$G").is_err(), "not before it is declared");
        scope.arg("G", Some(&globals), &args);
        scope.arg("B=other", Some(&globals), &args);
        scope.arg("R=1", Some(&globals), &args);
        scope.arg("R=2", Some(&globals), &args);
        assert_eq!(scope.expand("$G$B$R").as_deref(), Ok("globalgiven2"));
        scope.env("G env value");
        assert_eq!(scope.expand("$G").as_deref(), Ok("env value"));
        scope.arg("G=late", Some(&globals), &args);
        assert!(scope.expand("$G").is_err(), "documentation and engine differ");
        scope.env("A=1 Z=$A");
        scope.env("A=2 C=$A");
        assert_eq!(scope.expand("$A$C").as_deref(), Ok("21"));
        scope.env("$NOPE=x");
        assert!(scope.expand("$A").is_err());
    }

    #[test]
    fn no_text_panics() {
        arbtest::arbtest(|u| {
            let mut text = String::new();
            for _ in 0..u.int_in_range(0..=20)? {
                text.push_str(u.choose::<&str>(&["$", "{", "}", "A", ":-", "\\", "'", "\"", " ", "=", "+", "ü"])?);
            }
            let mut scope = scope();
            let _ = scope.expand(&text);
            scope.env(&text);
            scope.arg(&text, None, &BTreeMap::new());
            let _ = scope.expand(&text);
            Ok(())
        });
        assert!(scope().expand(&"${A:+".repeat(100_000)).is_err());
    }
}
