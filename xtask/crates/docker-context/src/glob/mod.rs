//! Docker's two path languages: COPY uses Go's `filepath.Match`, and
//! `.dockerignore` has its own, which Docker translates into a regular
//! expression. Both differ from the languages of git, GitHub and shells.

pub mod automaton;
mod regexp;

use std::fmt;

use automaton::PatternSet;
use regexp::{Class, Regexp};

/// A line of `.dockerignore`. It is compiled later, together with all others.
#[derive(Debug)]
pub struct IgnorePattern(Regexp);

/// A compiled pattern of COPY.
#[derive(Clone)]
pub struct Glob {
    text: String,
    /// Its literal beginning. Most paths already differ there.
    head: String,
    automaton: PatternSet,
}

/// Whether Go treats this as a pattern and not as a single path.
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

/// Go's `filepath.Clean`: removes `.` and `//`, and resolves `..` as far as
/// possible.
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

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Glob").field(&self.text).finish()
    }
}

impl Glob {
    /// Go's `filepath.Match`.
    pub fn go(text: &str) -> Result<Self, String> {
        let automaton = PatternSet::new([&go(text)?])?;
        Ok(Self { text: text.to_owned(), head: head(text), automaton })
    }

    /// The literal beginning of every path that matches, or that lies in a
    /// matching folder.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Whether the pattern matches all of `path`.
    pub fn hits(&self, path: &str) -> bool {
        let mut is_hit = false;
        self.run(path, |end, hit| {
            is_hit = hit && end == path.len();
            true
        });
        is_hit
    }

    /// The length of the topmost folder of `path` that matches, or of `path`
    /// itself.
    pub fn hits_prefix(&self, path: &str) -> Option<usize> {
        let mut found = None;
        self.run(path, |end, hit| {
            found = hit.then_some(end);
            !hit
        });
        found
    }

    fn run(&self, path: &str, mut told: impl FnMut(usize, bool) -> bool) {
        if path.starts_with(&self.head) {
            self.automaton.run(path, |end, hits| told(end, !hits.is_empty()));
        }
    }
}

impl IgnorePattern {
    /// Parses a line that is cleaned and has lost its `!`.
    pub fn docker(text: &str) -> Result<Self, String> {
        go(text)?;
        let translated = translated(text);
        let node = match translated.kind {
            MatchType::Exact => Regexp::text(text),
            MatchType::Prefix => Regexp::All(vec![Regexp::text(&text[..text.len() - 2]), Regexp::anything()]),
            MatchType::Suffix => {
                let suffix = &text[2..];
                let ends = Regexp::All(vec![Regexp::anything(), Regexp::text(suffix)]);
                match suffix.strip_prefix('/') {
                    Some(name) => Regexp::Any(vec![ends, Regexp::text(name)]),
                    None => ends,
                }
            }
            MatchType::Regexp => regexp::parse(&translated.regexp)?,
        };
        Ok(Self(node))
    }
}

/// Compiles patterns. Each is known by its position.
pub fn compiled(rules: &[IgnorePattern]) -> Result<PatternSet, String> {
    PatternSet::new(rules.iter().map(|rule| &rule.0))
}

/// The literal beginning of a pattern, in both languages.
pub fn head(text: &str) -> String {
    text.chars().take_while(|c| !"*?[]\\|{}^".contains(*c)).collect()
}

/// Parses a pattern of Go's `filepath.Match`.
fn go(text: &str) -> Result<Regexp, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut nodes = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        nodes.push(match c {
            '*' => Regexp::Times(Box::new(Regexp::Class(Class::but(&['/']))), 0, None),
            '?' => Regexp::Class(Class::but(&['/'])),
            '\\' => Regexp::Class(Class::of(escaped(&chars, &mut at)?)),
            '[' => Regexp::Class(class(&chars, &mut at)?),
            c => Regexp::Class(Class::of(c)),
        });
    }
    Ok(Regexp::All(nodes))
}

/// How Docker compares a line with a path.
enum MatchType {
    Exact,
    Prefix,
    Suffix,
    Regexp,
}

struct Translated {
    kind: MatchType,
    regexp: String,
}

/// A line as the regular expression that Docker translates it to. Docker escapes
/// `.`, `+`, `(`, `)` and `$`, and no other special character.
fn translated(text: &str) -> Translated {
    let mut regexp = String::from("^");
    let mut kind = MatchType::Exact;
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // `**/` means the same as `**`.
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    regexp.push_str("(.*/)?");
                    kind = MatchType::Regexp;
                } else if matches!(kind, MatchType::Exact) {
                    kind = MatchType::Prefix;
                } else {
                    regexp.push_str(".*");
                    kind = MatchType::Regexp;
                }
                if first {
                    kind = MatchType::Suffix;
                }
            }
            '*' => {
                regexp.push_str("[^/]*");
                kind = MatchType::Regexp;
            }
            '?' => {
                regexp.push_str("[^/]");
                kind = MatchType::Regexp;
            }
            '.' | '+' | '(' | ')' | '$' => regexp.extend(['\\', c]),
            '\\' => {
                regexp.push('\\');
                if let Some(next) = chars.next() {
                    regexp.push(next);
                    kind = MatchType::Regexp;
                }
            }
            '[' | ']' => {
                regexp.push(c);
                kind = MatchType::Regexp;
            }
            c => regexp.push(c),
        }
        first = false;
    }
    regexp.push('$');
    Translated { kind, regexp }
}

fn escaped(chars: &[char], at: &mut usize) -> Result<char, String> {
    let c = chars.get(*at).copied().ok_or("`\\` at the end; write what it escapes, or leave it out")?;
    *at += 1;
    Ok(c)
}

/// Reads on after `[`, like Go's `filepath.Match`.
fn class(chars: &[char], at: &mut usize) -> Result<Class, String> {
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
            return Ok(Class { negated, ranges });
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

    /// Whether a line matches a whole path.
    fn docker(pattern: &str) -> Result<impl Fn(&str) -> bool, String> {
        let automaton = compiled(&[IgnorePattern::docker(pattern)?])?;
        Ok(move |path: &str| {
            let mut is_hit = false;
            automaton.run(path, |end, hits| {
                is_hit = end == path.len() && !hits.is_empty();
                true
            });
            is_hit
        })
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
            // Next to a wildcard these keep the meaning they have in Go's regular
            // expressions.
            ("a|b*", "axy", true),
            ("a|b*", "x/y/bz", true),
            ("a|b*", "x", false),
            ("a|b", "a|b", true),
            ("*.{js,ts}", "a.js", false),
            ("*.{js,ts}", "a.{js,ts}", true),
            ("a{2}*", "aax", true),
            ("a{2}*", "ax", false),
            ("a{1,}?", "aab", true),
            ("(a)+*", "(a)+x", true),
            ("\\a", "a", false),
            ("\\a", "\u{7}", true),
            ("\\d*", "1x", true),
            ("\\d*", "x", false),
            ("\\.x*", ".xy", true),
            ("[*]", "^]", true),
            ("[*]", "*", false),
            ("[?]a", "/]a", true),
            ("[[:alpha:]]", "b]", false),
            ("[\\w]x", "bx", true),
            ("a\\z*", "a", true),
            ("\\Qa\\E*", "ab", true),
            ("**/a", "x\n/a", true),
            ("b/**/a", "b/x\n/a", false),
            ("*", "x\ny", true),
        ];
        for (pattern, path, hit) in rows {
            assert_eq!(docker(pattern).unwrap()(path), hit, "{pattern} {path}");
        }
        for pattern in ["[", "[z-a]", "a\\", "\\pL", "\\b", "a{2,1}*"] {
            assert!(docker(pattern).is_err(), "{pattern}");
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
    fn a_glob_is_its_text() {
        assert_eq!(Glob::go("a*").unwrap(), Glob::go("a*").unwrap());
        assert_ne!(Glob::go("a*").unwrap(), Glob::go("a?").unwrap());
    }

    #[test]
    fn no_text_panics_and_a_literal_hits_itself_only() {
        crate::cases::cases(1000, |u| {
            let (text, path): (String, String) = u.arbitrary()?;
            let plain = !text.contains(['*', '?', '[', '\\', '^', ']']);
            if let Ok(glob) = Glob::go(&text) {
                assert!(!plain || glob.hits(&path) == (text == path) && glob.hits(&text));
                let _ = (glob.hits(&path), glob.hits_prefix(&path));
            }
            if let Ok(hits) = docker(&text) {
                assert!(!plain || hits(&path) == (text == path) && hits(&text));
                let _ = hits(&path);
            }
            Ok(())
        });
    }
}
