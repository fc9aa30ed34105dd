//! Go's regular expressions, as far as a line of `.dockerignore` can become one.
//! Docker translates the line and leaves `|`, `{`, `}`, `^`, `\` and brackets as
//! they are, so they keep their meaning in a regular expression.

/// The characters allowed at one position: those in the ranges, or all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Whether the ranges are excluded.
    pub negated: bool,
    /// First and last character of each range.
    pub ranges: Vec<(char, char)>,
}

/// A parsed regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regexp {
    /// One character.
    Class(Class),
    /// The start of the path.
    Start,
    /// The end of the path.
    End,
    /// A sequence.
    All(Vec<Regexp>),
    /// An alternative.
    Any(Vec<Regexp>),
    /// A repetition: at least so many times, and at most so many times, if there
    /// is a limit.
    Times(Box<Regexp>, usize, Option<usize>),
}

/// Go's limit for repetitions.
const MOST_TIMES: usize = 1000;

impl Class {
    /// Exactly this character.
    pub fn of(c: char) -> Self {
        Self { negated: false, ranges: vec![(c, c)] }
    }

    /// Every character but these.
    pub fn but(chars: &[char]) -> Self {
        Self { negated: true, ranges: chars.iter().map(|c| (*c, *c)).collect() }
    }

    /// Whether a character is allowed.
    pub fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }

    /// The same ranges without `negated`, to be combined with others.
    fn positive(self) -> Vec<(char, char)> {
        if !self.negated {
            return self.ranges;
        }
        let mut ranges = self.ranges;
        ranges.sort_unstable();
        let (mut result, mut next) = (Vec::new(), '\0');
        for (low, high) in ranges {
            if next < low {
                let before = char::from_u32(low as u32 - 1).unwrap_or('\u{D7FF}');
                result.push((next, before));
            }
            match high {
                char::MAX => return result,
                high if high >= next => next = char::from_u32(high as u32 + 1).unwrap_or('\u{E000}'),
                _ => {}
            }
        }
        result.push((next, char::MAX));
        result
    }
}

impl Regexp {
    /// A literal text.
    pub fn text(text: &str) -> Self {
        Self::All(text.chars().map(|c| Self::Class(Class::of(c))).collect())
    }

    /// Any number of any characters.
    pub fn anything() -> Self {
        Self::Times(Box::new(Self::Class(Class::but(&[]))), 0, None)
    }
}

/// Parses a regular expression. It may match anywhere in a path, unless it has
/// `^` and `$`.
pub fn parse(text: &str) -> Result<Regexp, String> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0, quoted: false };
    let node = parser.alternatives()?;
    if let Some(c) = parser.next() {
        return Err(format!("`{c}` without its other half"));
    }
    Ok(match node {
        // Most expressions match here, so the rest is skipped.
        Regexp::All(mut nodes) if nodes.first() == Some(&Regexp::Start) && nodes.last() == Some(&Regexp::End) => {
            nodes.pop();
            Regexp::All(nodes.split_off(1))
        }
        node => Regexp::All(vec![Regexp::anything(), node, Regexp::anything()]),
    })
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    /// Reads on after `\Q`.
    quoted: bool,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn take(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        let is = self.chars[self.at..].iter().copied().take(length).eq(text.chars());
        self.at += if is { length } else { 0 };
        is
    }

    fn alternatives(&mut self) -> Result<Regexp, String> {
        let mut all = vec![self.sequence()?];
        while self.peek() == Some('|') {
            self.at += 1;
            all.push(self.sequence()?);
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Regexp::Any(all) })
    }

    fn sequence(&mut self) -> Result<Regexp, String> {
        let mut nodes: Vec<Regexp> = Vec::new();
        let mut repeated = false;
        while let Some(c) = self.peek() {
            if self.quoted && self.take("\\E") {
                self.quoted = false;
                continue;
            }
            if !self.quoted && (c == '|' || c == ')') {
                break;
            }
            let times = match c {
                _ if self.quoted => None,
                '*' => Some((0, None, 1)),
                '?' => Some((0, Some(1), 1)),
                '{' => self.times()?,
                _ => None,
            };
            if let Some((least, most, length)) = times {
                self.at += length;
                if repeated {
                    return Err("a repetition of a repetition".into());
                }
                let last = nodes.pop().ok_or("a repetition of nothing")?;
                nodes.push(Regexp::Times(Box::new(last), least, most));
                repeated = true;
                continue;
            }
            self.at += 1;
            let before = nodes.len();
            nodes.extend(if self.quoted { Some(Regexp::Class(Class::of(c))) } else { self.one(c)? });
            // `\Q` and `\E` match nothing themselves.
            repeated = repeated && nodes.len() == before;
        }
        Ok(Regexp::All(nodes))
    }

    fn one(&mut self, c: char) -> Result<Option<Regexp>, String> {
        Ok(Some(match c {
            '^' => Regexp::Start,
            '$' => Regexp::End,
            '.' => Regexp::Class(Class::but(&['\n'])),
            '[' => Regexp::Class(self.class()?),
            '(' => {
                let inner = self.alternatives()?;
                if self.next() != Some(')') {
                    return Err("`(` without `)`".into());
                }
                inner
            }
            '\\' => match self.peek() {
                Some('A') => {
                    self.at += 1;
                    Regexp::Start
                }
                Some('z') => {
                    self.at += 1;
                    Regexp::End
                }
                Some('Q') => {
                    self.at += 1;
                    self.quoted = true;
                    return Ok(None);
                }
                _ => Regexp::Class(match self.group()? {
                    Some(class) => class,
                    None => Class::of(self.escape()?),
                }),
            },
            c => Regexp::Class(Class::of(c)),
        }))
    }

    /// `{2}`, `{2,}` or `{2,5}`: the counts, and the length of the text.
    /// Otherwise `{` is a literal.
    fn times(&self) -> Result<Option<(usize, Option<usize>, usize)>, String> {
        let rest: String = self.chars[self.at + 1..].iter().take_while(|c| **c != '}').collect();
        if self.chars.get(self.at + 1 + rest.chars().count()) != Some(&'}') {
            return Ok(None);
        }
        let number = |text: &str| {
            let plain =
                text == "0" || (!text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
            plain.then(|| text.parse::<usize>().unwrap_or(usize::MAX))
        };
        let (least, most) = match rest.split_once(',') {
            None => (number(&rest), Some(number(&rest))),
            Some((least, "")) => (number(least), None),
            Some((least, most)) => (number(least), Some(number(most))),
        };
        let (Some(least), false) = (least, most == Some(None)) else { return Ok(None) };
        let most = most.flatten();
        if least > MOST_TIMES || most.is_some_and(|most| most > MOST_TIMES || most < least) {
            return Err(format!("`{{{rest}}}` repeats more than {MOST_TIMES} times, or less than nothing"));
        }
        Ok(Some((least, most, rest.chars().count() + 2)))
    }

    /// Reads on after `[`.
    fn class(&mut self) -> Result<Class, String> {
        let negated = self.take("^");
        let mut ranges = Vec::new();
        let mut first = true;
        while first || self.peek() != Some(']') {
            first = false;
            if let Some(named) = self.named()? {
                ranges.extend(named.positive());
                continue;
            }
            if self.take("\\") {
                if let Some(group) = self.group()? {
                    ranges.extend(group.positive());
                    continue;
                }
                self.at -= 1;
            }
            let low = self.bound()?;
            let mut high = low;
            if self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']') {
                self.at += 1;
                high = self.bound()?;
            }
            if high < low {
                return Err("a range that runs backwards; write the lower end first, as in `[a-z]`".into());
            }
            ranges.push((low, high));
        }
        self.at += 1;
        Ok(Class { negated, ranges })
    }

    fn bound(&mut self) -> Result<char, String> {
        match self.next() {
            None => Err("`[` without `]`; close it, as in `[0-9]`".into()),
            Some('\\') => self.escape(),
            Some(c) => Ok(c),
        }
    }

    /// Reads `[:alpha:]`.
    fn named(&mut self) -> Result<Option<Class>, String> {
        let rest: String = self.chars[self.at..].iter().collect();
        let Some((name, _)) = rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else { return Ok(None) };
        self.at += name.chars().count() + 4;
        let (negated, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        let ranges: &[(char, char)] = match name {
            "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => &[('A', 'Z'), ('a', 'z')],
            "ascii" => &[('\0', '\x7F')],
            "blank" => &[('\t', '\t'), (' ', ' ')],
            "cntrl" => &[('\0', '\x1F'), ('\x7F', '\x7F')],
            "digit" => &[('0', '9')],
            "graph" => &[('!', '~')],
            "lower" => &[('a', 'z')],
            "print" => &[(' ', '~')],
            "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => &[('\t', '\r'), (' ', ' ')],
            "upper" => &[('A', 'Z')],
            "word" => &[('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
            "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
            name => return Err(format!("`[:{name}:]` is no class of Go's")),
        };
        Ok(Some(Class { negated, ranges: ranges.to_vec() }))
    }

    /// Reads `\d` and the like, after `\`.
    fn group(&mut self) -> Result<Option<Class>, String> {
        let Some(c) = self.peek() else { return Ok(None) };
        let ranges: &[(char, char)] = match c.to_ascii_lowercase() {
            'd' => &[('0', '9')],
            's' => &[('\t', '\n'), ('\x0C', '\r'), (' ', ' ')],
            'w' => &[('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
            'p' => return Err(format!("`\\{c}` is a class of Unicode's to Docker; list what is meant: `[a-zé]`")),
            'b' => return Err(format!("`\\{c}` is the end of a word to Docker; write `{c}`")),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(Class { negated: c.is_ascii_uppercase(), ranges: ranges.to_vec() }))
    }

    /// Reads the single character after `\`.
    fn escape(&mut self) -> Result<char, String> {
        let c = self.next().ok_or("`\\` at the end; write what it escapes, or leave it out")?;
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0C',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0B',
            'x' => return self.hexadecimal(),
            '0'..='7' => {
                let octal = |c: Option<char>| c.and_then(|c| c.to_digit(8));
                let mut code = octal(Some(c)).unwrap_or_default();
                if c != '0' && octal(self.peek()).is_none() {
                    return Err(format!("`\\{c}` is no character to Docker; write `{c}`"));
                }
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                char::from_u32(code).ok_or("no character has this number")?
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            c => return Err(format!("`\\{c}` is no character to Docker; write `{c}`")),
        })
    }

    fn hexadecimal(&mut self) -> Result<char, String> {
        let digits: String = if self.take("{") {
            let digits: String = self.chars[self.at..].iter().take_while(|c| **c != '}').collect();
            self.at += digits.chars().count();
            if !self.take("}") {
                return Err("`\\x{` without `}`".into());
            }
            digits
        } else {
            let digits: String = self.chars[self.at..].iter().take(2).collect();
            self.at += digits.chars().count();
            if digits.len() < 2 {
                return Err("`\\x` without two digits".into());
            }
            digits
        };
        let code = if digits.starts_with('+') { None } else { u32::from_str_radix(&digits, 16).ok() };
        code.and_then(char::from_u32).ok_or_else(|| format!("`\\x{digits}` is no character; write it itself"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negated_class_has_all_others() {
        for class in
            [Class::but(&[]), Class::but(&['a', 'z', 'b']), Class::but(&['\0', '\u{D7FF}', '\u{E000}', char::MAX])]
        {
            let ranges = class.clone().positive();
            let positive = Class { negated: false, ranges };
            for c in ['\0', '\x01', 'a', 'b', 'c', 'y', 'z', '\u{D7FE}', '\u{D7FF}', '\u{E000}', '\u{E001}', char::MAX]
            {
                assert_eq!(class.has(c), positive.has(c), "{class:?} {c:?}");
            }
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "a{1001}",
            "a{2,1}",
            "a{2}{3}",
            "a*{2}",
            "{2}",
            "a|{2}",
            "[a",
            "[z-a]",
            "[[:no:]]",
            "\\8",
            "\\1",
            "\\é",
            "\\e",
            "\\C",
            "\\xg0",
            "\\x{",
            "\\x{110000}",
            "\\p",
            "\\PL",
            "\\b",
            "[\\b]",
            "[\\Q]",
            "a\\",
            "(a",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in
            ["a{", "a{,2}", "a{02}", "a{x}", "{", "a}", "]", "\\_", "\\-", "[]a]", "[a-]", "\\Qa*\\E{2}", "^{2}"]
        {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_escape_is_the_character_that_it_stands_for() {
        for (escaped, plain) in [
            ("\\x41b", "Ab"),
            ("\\x{41}b", "Ab"),
            ("\\x{1F600}", "😀"),
            ("\\101b", "Ab"),
            ("\\0b", "\0b"),
            ("\\07b", "\x07b"),
            ("\\00101", "\x0101"),
            ("\\x4142", "A42"),
            ("[\\x41-\\x{43}]", "[A-C]"),
            ("[a-c]", "[\\x61-\\x63]"),
            ("\\s", "[\t-\n\\f-\r ]"),
            ("[\\d-]", "[0-9-]"),
            ("\\-", "-"),
            ("a{2,2}b", "a{2}b"),
        ] {
            assert_eq!(format!("{:?}", parse(escaped).unwrap()), format!("{:?}", parse(plain).unwrap()), "{escaped}");
        }
        for right in ["\\Aa", "a\\z", "a{1000}", "a{0,1000}", "a{1000,}"] {
            assert!(parse(right).is_ok(), "{right}");
        }
        for (wrong, why) in [
            ("\\pL", "class of Unicode"),
            ("\\b", "end of a word"),
            ("\\8", "is no character"),
            ("\\1", "is no character"),
            ("\\x{+41}", "is no character"),
            ("\\x{41", "without `}`"),
            ("\\x4", "without two digits"),
            ("a{1001,}", "more than 1000 times"),
            ("a{0,1001}", "more than 1000 times"),
            ("(a", "without `)`"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
