//! The two path languages of Docker: Go's `filepath.Match`, which COPY speaks,
//! and the one of `.dockerignore`, which is compiled from it and adds `**`.
//! Neither is git's, GitHub's or a shell's.

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`: one character that is no `/`.
    One,
    /// `*`: any run within a name.
    Run,
    /// `[…]`: one character, `/` not excepted.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// The start of `**/`: into the folders, or past them.
    Enter,
    /// The folders of `**/`: left only behind a `/`.
    Folders,
    /// `**` at an end: any run, `/` included.
    Rest,
    /// `^` beside a wildcard, which Docker hands to its regular expressions.
    Start,
}

/// One compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    /// The plain text that it begins and ends with: most paths fail there.
    head: String,
    tail: String,
}

/// Whether Go would look for more than this one path.
pub fn has_wildcards(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => _ = chars.next(),
            _ => {}
        }
    }
    false
}

/// Go's `filepath.Clean`: no `.`, no `//`, `..` as far up as it goes.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".into(),
        (false, false) => parts.join("/"),
    }
}

/// The folders above a path and the path itself, the uppermost first.
pub fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

impl Glob {
    fn new(tokens: Vec<Token>) -> Self {
        let plain = |token: &Token| if let Token::Char(c) = token { Some(*c) } else { None };
        let head = tokens.iter().map_while(plain).collect();
        let tail: Vec<char> = tokens.iter().rev().map_while(plain).collect();
        Self { head, tail: tail.into_iter().rev().collect(), tokens }
    }

    /// Go's `filepath.Match`.
    pub fn go(text: &str) -> Result<Self, String> {
        let chars: Vec<char> = text.chars().collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            at += 1;
            tokens.push(match c {
                '*' => Token::Run,
                '?' => Token::One,
                '\\' => Token::Char(escaped(&chars, &mut at)?),
                '[' => class(&chars, &mut at)?,
                c => Token::Char(c),
            });
        }
        Ok(Self::new(tokens))
    }

    /// A line of `.dockerignore`, cleaned and without its `!`. What Docker
    /// accepts and then takes for something else is refused.
    pub fn docker(text: &str) -> Result<Self, String> {
        Self::go(text)?;
        let chars: Vec<char> = text.chars().collect();
        let regexp = is_regexp(&chars);
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            let first = at == 0;
            at += 1;
            match c {
                '*' if chars.get(at) == Some(&'*') => {
                    at += 1;
                    let slash = chars.get(at) == Some(&'/');
                    at += usize::from(slash);
                    if at == chars.len() || (first && !regexp && !slash) {
                        tokens.push(Token::Rest);
                    } else {
                        tokens.extend([Token::Enter, Token::Folders]);
                    }
                }
                '*' => tokens.push(Token::Run),
                '?' => tokens.push(Token::One),
                '\\' => {
                    let c = escaped(&chars, &mut at)?;
                    if c.is_alphanumeric() {
                        return Err(format!("Docker reads `\\{c}` as a regular expression; write `{c}`"));
                    }
                    tokens.push(Token::Char(c));
                }
                '[' => {
                    let start = at;
                    tokens.push(class(&chars, &mut at)?);
                    check_class(&chars[start..at - 1], tokens.last())?;
                }
                '^' if regexp => tokens.push(Token::Start),
                c => tokens.push(Token::Char(c)),
            }
        }
        Ok(Self::new(tokens))
    }

    /// Whether the whole of `path` is described.
    pub fn hits(&self, path: &str) -> bool {
        if self.tokens.iter().all(|token| matches!(token, Token::Char(_))) {
            return path == self.head;
        }
        if !path.starts_with(&self.head) || !path.ends_with(&self.tail) {
            return false;
        }
        // All positions in the pattern that the path read so far can be at.
        let mut here = vec![false; self.tokens.len() + 1];
        here[0] = true;
        self.close(&mut here, true);
        let mut next = vec![false; here.len()];
        for c in path.chars() {
            next.fill(false);
            for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| here[*at]) {
                let (on, stay) = match token {
                    Token::Char(literal) => (*literal == c, false),
                    Token::One => (c != '/', false),
                    Token::Class { negated, ranges } => {
                        (ranges.iter().any(|(a, z)| (*a..=*z).contains(&c)) != *negated, false)
                    }
                    Token::Run => (c != '/', c != '/'),
                    Token::Folders => (c == '/', true),
                    Token::Rest => (true, true),
                    Token::Enter | Token::Start => (false, false),
                };
                next[at + 1] |= on;
                next[at] |= stay;
            }
            self.close(&mut next, false);
            std::mem::swap(&mut here, &mut next);
        }
        here[self.tokens.len()]
    }

    /// Whether something below the folder at `dir` may be described; no is
    /// certain, yes is not.
    pub fn may_hit_below(&self, dir: &str) -> bool {
        let dir = format!("{dir}/");
        dir.starts_with(&self.head) || self.head.starts_with(&dir)
    }

    /// Adds the positions that are reached by reading nothing.
    fn close(&self, here: &mut [bool], start: bool) {
        for (at, token) in self.tokens.iter().enumerate() {
            if here[at] {
                match token {
                    Token::Run | Token::Rest => here[at + 1] = true,
                    Token::Start => here[at + 1] |= start,
                    Token::Enter => (here[at + 1], here[at + 2]) = (true, true),
                    _ => {}
                }
            }
        }
    }
}

/// Docker compares plain names, names with `**` at one end, and else makes a
/// regular expression: in that alone is `^` special.
fn is_regexp(chars: &[char]) -> bool {
    let mut kinds = (false, false);
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let first = at == 0;
        at += 1;
        match c {
            '*' if chars.get(at) == Some(&'*') => {
                at += 1;
                at += usize::from(chars.get(at) == Some(&'/'));
                match (first, at == chars.len()) {
                    (true, _) => kinds.0 = true,
                    (false, true) => kinds.1 = true,
                    (false, false) => return true,
                }
            }
            '*' | '?' | '\\' | '[' | ']' => return true,
            _ => {}
        }
    }
    kinds == (true, true)
}

fn escaped(chars: &[char], at: &mut usize) -> Result<char, String> {
    let c = chars.get(*at).copied().ok_or("`\\` at the end; write what it escapes, or leave it out")?;
    *at += 1;
    Ok(c)
}

/// Reads on behind `[`.
fn class(chars: &[char], at: &mut usize) -> Result<Token, String> {
    let bound = |at: &mut usize| match chars.get(*at).copied() {
        None => Err("`[` without `]`; close it, as in `[0-9]`".to_owned()),
        Some(c @ ('-' | ']')) => Err(format!("`{c}` where a character should be; write `\\{c}`")),
        Some(c) => {
            *at += 1;
            if c == '\\' { escaped(chars, at) } else { Ok(c) }
        }
    };
    let negated = chars.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        if chars.get(*at) == Some(&']') && !ranges.is_empty() {
            *at += 1;
            return Ok(Token::Class { negated, ranges });
        }
        let low = bound(at)?;
        let mut high = low;
        if chars.get(*at) == Some(&'-') {
            *at += 1;
            high = bound(at)?;
        }
        ranges.push((low, high));
    }
}

/// Refuses brackets that Docker's translation spoils.
fn check_class(inner: &[char], token: Option<&Token>) -> Result<(), String> {
    let spoilt = |pair: &[char]| match pair {
        ['\\', c] => c.is_alphanumeric(),
        ['[', ':'] => true,
        _ => false,
    };
    if inner.contains(&'*') || inner.contains(&'?') || inner.windows(2).any(spoilt) {
        return Err("Docker mistakes `*`, `?`, `[:` and escaped letters in a bracket; write them outside".into());
    }
    match token {
        Some(Token::Class { ranges, .. }) if ranges.iter().any(|(low, high)| low > high) => {
            Err("a range that runs backwards; write the lower end first, as in `[a-z]`".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_match_stays_within_a_name() {
        let rows = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "a.b", true),
            ("*", "a/b", false),
            ("**", "a/b", false),
            ("a/*", "a/b", true),
            ("a*/b", "a/b", true),
            ("?", "/", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]", "/", true),
            ("[!a]", "!", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("arr[[]0].txt", "arr[0].txt", true),
            ("ü?", "üé", true),
            ("]", "]", true),
            ("", "", true),
        ];
        for (pattern, path, hit) in rows {
            assert_eq!(Glob::go(pattern).unwrap().hits(path), hit, "{pattern} {path}");
        }
        for pattern in ["[", "[]", "[]a]", "[a-]", "[-a]", "[^]", "a\\", "[a\\"] {
            assert!(Glob::go(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn docker_adds_two_stars() {
        let rows = [
            ("**", "a/b", true),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("**/a", "xa", false),
            ("**a", "xa", true),
            ("**a*", "xab", false),
            ("**a*", "x/ab", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a**", "ab/c", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a**b", "axb", false),
            ("a**b", "ax/b", true),
            ("**/*.go", "x.go", true),
            ("**/*.go", "a/x.go", true),
            ("**/a/**", "x/a/b", true),
            ("a.b", "axb", false),
            ("a^", "a^", true),
            ("a^*", "a^", false),
            ("^*", "a", true),
            ("(a|b)$+", "(a|b)$+", true),
            ("***", "a", true),
        ];
        for (pattern, path, hit) in rows {
            assert_eq!(Glob::docker(pattern).unwrap().hits(path), hit, "{pattern} {path}");
        }
        for pattern in ["[", "\\d*", "[*]", "[z-a]", "[[:alpha:]]", "[\\w]", "a\\"] {
            assert!(Glob::docker(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, clean_path) in [
            ("", "."),
            ("./a//b/", "a/b"),
            ("/", "/"),
            ("/../a", "/a"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("a/./b/../c", "a/c"),
        ] {
            assert_eq!(clean(path), clean_path, "{path}");
        }
    }

    #[test]
    fn no_text_panics_and_a_literal_hits_itself_only() {
        arbtest::arbtest(|u| {
            let (text, path): (String, String) = u.arbitrary()?;
            for glob in [Glob::go(&text), Glob::docker(&text)].into_iter().flatten() {
                let hit = glob.hits(&path);
                if !text.contains(['*', '?', '[', '\\', '^', ']']) {
                    assert_eq!(hit, text == path);
                    assert!(glob.hits(&text));
                }
            }
            Ok(())
        });
    }
}
