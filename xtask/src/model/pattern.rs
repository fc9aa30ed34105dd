//! GitHub's filter dialect, exactly; what its documentation leaves open is
//! refused, with the column and what to write instead. Never a glob crate:
//! none of them speaks this dialect.

use std::fmt;

/// How often the character before may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    ZeroOrOne,
    OneOrMore,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// One character.
    Literal(char, Times),
    /// One character of these ranges.
    Class(Vec<(char, char)>, Times),
    /// `*`: any run within a name.
    Star,
    /// `**`: any run, `/` included.
    DoubleStar,
    /// The start of `**/`: into the folders, or past them.
    Enter,
    /// The folders of `**/`: left only behind a `/`.
    Folders,
}

/// One checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    negated: bool,
    tokens: Vec<Token>,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// The column, from 1, counted in characters.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl Pattern {
    /// Reads a pattern, with its leading `!` if it has one.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let negated = text.starts_with('!');
        let chars: Vec<char> = text.chars().skip(usize::from(negated)).collect();
        let offset = 1 + usize::from(negated);
        let wrong = |at: usize, message: &str| Err(PatternError { column: at + offset, message: message.into() });
        match chars.as_slice() {
            [] => return wrong(0, "the pattern is empty; write a path such as `src/**`"),
            ['!', ..] => return wrong(0, "`!` twice; write one `!`, or none to include"),
            ['/', ..] => return wrong(0, "paths begin without `/`; leave it out"),
            ['.', '/', ..] => return wrong(0, "paths begin without `./`; leave it out"),
            [.., '/'] => return wrong(chars.len() - 1, "no file ends in `/`; write `/**` for all below the folder"),
            _ => {}
        }
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            match c {
                '?' | '+' => match tokens.last_mut() {
                    Some(Token::Literal('/', _)) => {
                        return wrong(
                            at,
                            "what a quantifier means after `/` is not documented; use `*` or list the paths",
                        );
                    }
                    Some(Token::Literal(_, times) | Token::Class(_, times)) if *times == Times::Once => {
                        *times = if c == '?' { Times::ZeroOrOne } else { Times::OneOrMore };
                    }
                    _ => {
                        return wrong(
                            at,
                            "`?` and `+` repeat the one character or bracket before them; here there is none; for a run of any characters write `*`",
                        );
                    }
                },
                '*' => {
                    let stars = chars[at..].iter().take_while(|c| **c == '*').count();
                    match (stars, chars.get(at + 2)) {
                        (1, _) => tokens.push(Token::Star),
                        (2, Some('/')) => {
                            tokens.extend([Token::Enter, Token::Folders]);
                            at += 2;
                        }
                        (2, _) => {
                            tokens.push(Token::DoubleStar);
                            at += 1;
                        }
                        _ => return wrong(at, "more than two `*` in a row; write `**` for any run with `/`"),
                    }
                }
                '[' => {
                    let Some(length) = chars[at..].iter().position(|c| *c == ']') else {
                        return wrong(at, "`[` without `]`; close it, as in `[0-9]`");
                    };
                    let ranges = class(&chars[at + 1..at + length])
                        .map_err(|message| PatternError { column: at + offset, message })?;
                    tokens.push(Token::Class(ranges, Times::Once));
                    at += length;
                }
                ']' => return wrong(at, "`]` without `[`; open it, as in `[0-9]`"),
                '\\' => {
                    return wrong(
                        at,
                        "what `\\` means is not documented; write the path without it, or `*` in its place",
                    );
                }
                c => tokens.push(Token::Literal(c, Times::Once)),
            }
            at += 1;
        }
        Ok(Self { text: text.to_owned(), negated, tokens })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a hit excludes.
    pub fn negated(&self) -> bool {
        self.negated
    }

    /// Whether the whole of `path` is described; `!` is not looked at.
    pub fn hits(&self, path: &str) -> bool {
        // All positions in the pattern that the path read so far can be at.
        let mut here = vec![false; self.tokens.len() + 1];
        here[0] = true;
        self.close(&mut here);
        let mut next = vec![false; here.len()];
        for c in path.chars() {
            next.fill(false);
            for (at, token) in self.tokens.iter().enumerate() {
                if !here[at] {
                    continue;
                }
                let (hit, times) = match token {
                    Token::Literal(literal, times) => (*literal == c, *times),
                    Token::Class(ranges, times) => (ranges.iter().any(|(a, z)| (*a..=*z).contains(&c)), *times),
                    Token::Star => (c != '/', Times::OneOrMore),
                    Token::DoubleStar | Token::Folders => (true, Times::OneOrMore),
                    Token::Enter => continue,
                };
                if hit {
                    next[at + 1] |= !matches!(token, Token::Folders) || c == '/';
                    next[at] |= times == Times::OneOrMore;
                }
            }
            self.close(&mut next);
            std::mem::swap(&mut here, &mut next);
        }
        here[self.tokens.len()]
    }

    /// Adds the positions that are reached by reading nothing.
    fn close(&self, here: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            let past: &[usize] = match token {
                Token::Star | Token::DoubleStar => &[1],
                Token::Literal(_, Times::ZeroOrOne) | Token::Class(_, Times::ZeroOrOne) => &[1],
                Token::Literal(..) | Token::Class(..) | Token::Folders => &[],
                Token::Enter => &[1, 2],
            };
            if here[at] {
                past.iter().for_each(|skip| here[at + skip] = true);
            }
        }
    }
}

fn class(chars: &[char]) -> Result<Vec<(char, char)>, String> {
    let plain = |c: &char| c.is_ascii_alphanumeric();
    let mut ranges = Vec::new();
    let mut rest = chars;
    while let [first, tail @ ..] = rest {
        match tail {
            ['-', last, tail @ ..] if plain(first) && plain(last) && same_kind(*first, *last) && first <= last => {
                ranges.push((*first, *last));
                rest = tail;
            }
            tail if plain(first) => {
                ranges.push((*first, *first));
                rest = tail;
            }
            _ => ranges.clear(),
        }
        if ranges.is_empty() {
            break;
        }
    }
    if ranges.is_empty() {
        return Err("a bracket holds letters, digits and ranges such as `a-z`, `A-Z`, `0-9`; nothing else is documented; list the patterns one by one".into());
    }
    Ok(ranges)
}

fn same_kind(a: char, z: char) -> bool {
    a.is_ascii_digit() == z.is_ascii_digit() && a.is_ascii_lowercase() == z.is_ascii_lowercase()
}

/// An ordered list of patterns: the last that hits decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFilter(Vec<Pattern>);

impl PathFilter {
    /// A list with at least one pattern that includes.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, String> {
        if patterns.iter().all(Pattern::negated) {
            return Err("the list has no pattern that includes; put one such as `**` before the `!` patterns".into());
        }
        Ok(Self(patterns))
    }

    /// The patterns, in their order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// The pattern that decides about `path`, by its place in the list.
    pub fn decider(&self, path: &str) -> Option<usize> {
        self.0.iter().rposition(|pattern| pattern.hits(path))
    }

    /// Whether `path` is included.
    pub fn includes(&self, path: &str) -> bool {
        self.decider(path).is_some_and(|at| !self.0[at].negated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(patterns: &[&str], path: &str) -> bool {
        let patterns = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        PathFilter::new(patterns).unwrap().includes(path)
    }

    /// GitHub's "Filter pattern cheat sheet", row by row.
    #[test]
    fn every_documented_row_holds() {
        let rows = include_str!("pattern_rows.txt");
        let mut count = 0;
        for row in rows.lines() {
            let [patterns, path, verdict] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
            let patterns: Vec<_> = patterns.split(" then ").collect();
            assert_eq!(selects(&patterns, path), verdict == "yes", "{row}");
            count += 1;
        }
        assert_eq!(count, 65);
    }

    #[test]
    fn what_is_left_open_is_refused_with_its_column() {
        let rows = [
            ("", 1),
            ("!", 2),
            ("!!a", 2),
            ("/a", 1),
            ("./a", 1),
            ("a/", 2),
            ("!a/", 3),
            ("**/", 3),
            ("?a", 1),
            ("+a", 1),
            ("a*?", 3),
            ("a/+", 3),
            ("a?+", 3),
            ("a**+", 4),
            ("***", 1),
            ("[^a]", 1),
            ("[!a]", 1),
            ("a[.]", 2),
            ("[]", 1),
            ("[a-]", 1),
            ("[z-a]", 1),
            ("[a", 1),
            ("a]", 2),
            ("a\\b", 2),
            ("ü?+", 3),
            ("[A-z]", 1),
        ];
        for (text, column) in rows {
            let error = Pattern::parse(text).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
        }
    }

    #[test]
    fn everything_else_is_itself() {
        for text in ["a.b", "a(b)", "a{b}|c", "a@b^c$", "a b", "ü/é", ".github/x", "a,b"] {
            assert!(selects(&[text], text), "{text}");
        }
        assert!(!selects(&["a.b"], "axb"));
        assert!(!selects(&["README.md"], "readme.md"));
    }

    #[test]
    fn folders_begin_and_end_at_a_slash() {
        for (pattern, path, hit) in [
            ("**/a", "a", true),
            ("**/a", "b/c/a", true),
            ("**/a", "ba", false),
            ("**/a", "b/ca", false),
            ("x/**/a", "x/a", true),
            ("x/**/a", "x/y/a", true),
            ("x/**/a", "xa", false),
            ("x/**/a", "x/ya", false),
            ("a?b", "b", true),
            ("a?b", "ab", true),
            ("[ab]+c", "abac", true),
            ("[ab]+c", "c", false),
        ] {
            assert_eq!(selects(&[pattern], path), hit, "{pattern} {path}");
        }
    }

    #[test]
    fn no_text_panics_and_a_literal_hits_itself_only() {
        arbtest::arbtest(|u| {
            let text: String = u.arbitrary()?;
            let path: String = u.arbitrary()?;
            if let Ok(pattern) = Pattern::parse(&text) {
                let _ = pattern.hits(&path);
                if !text.contains(['*', '?', '+', '[', '!']) {
                    assert_eq!(pattern.hits(&path), text == path);
                    assert!(pattern.hits(&text));
                }
            }
            Ok(())
        });
    }
}
