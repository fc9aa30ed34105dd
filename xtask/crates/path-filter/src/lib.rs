//! One dialect of path filters, on its own: no crate for globs speaks it.
#![doc = include_str!("../README.md")]

mod automaton;
#[cfg(test)]
mod cases;

use std::fmt;

use automaton::Automaton;

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
    /// `**/`: nothing, or any run that ends in `/`.
    Folders,
}

/// The longest pattern, in characters: git knows no longer path.
const LENGTH: usize = 4096;

/// The most patterns of one list. Each file of a repository is held against all.
const PATTERNS: usize = 1000;

/// One checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    negated: bool,
    automaton: Automaton,
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

/// The place of what is refused, in characters from 0, and the message.
type Refusal = (usize, String);

impl Pattern {
    /// Reads a pattern, with its leading `!` if it has one.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let described = text.strip_prefix('!');
        let negated = described.is_some();
        let chars: Vec<char> = described.unwrap_or(text).chars().collect();
        let automaton = check_names(&chars).and_then(|()| tokens(&chars)).map(|tokens| Automaton::new(&tokens));
        match automaton {
            Ok(automaton) => Ok(Self { text: text.to_owned(), negated, automaton }),
            Err((at, message)) => Err(PatternError { column: at + 1 + usize::from(negated), message }),
        }
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a hit excludes.
    pub fn negated(&self) -> bool {
        self.negated
    }

    /// What each path begins with that is described.
    pub fn head(&self) -> &str {
        self.automaton.prefix()
    }

    /// Whether the whole of `path` is described; `!` is not looked at.
    pub fn hits(&self, path: &str) -> bool {
        self.automaton.matches(path)
    }
}

/// Refuses what no path of a repository can be.
fn check_names(chars: &[char]) -> Result<(), Refusal> {
    if chars.len() > LENGTH {
        return refuse(LENGTH, "no path is as long; write at most 4096 characters");
    }
    if chars.is_empty() {
        return refuse(0, "the pattern is empty; write a path such as `src/**`");
    }
    if let Some(at) = chars.iter().position(|c| *c == '\0') {
        return refuse(at, "no path holds the character NUL; leave it out");
    }
    let mut at = 0;
    for name in chars.split(|c| *c == '/') {
        let (first, last) = (at == 0, at + name.len() == chars.len());
        match name {
            [] if first => return refuse(at, "paths begin without `/`; leave it out"),
            [] if last && chars.ends_with(&['*', '*', '/']) => {
                return refuse(
                    at - 1,
                    "what a `**/` at the end means is not documented; write `**` for all files below",
                );
            }
            [] if last => return refuse(at - 1, "no file ends in `/`; write `/**` for all files below the folder"),
            [] => return refuse(at, "no path has `//`; write one `/`"),
            ['.'] if first && last => return refuse(at, "no file is `.`; write `**` for all files"),
            ['.'] if first => return refuse(at, "paths begin without `./`; leave it out"),
            ['.'] => return refuse(at, "no path has a name `.`; leave it out"),
            ['.', '.'] => return refuse(at, "no path has a name `..`; write the path from the repository's root"),
            _ => at += name.len() + 1,
        }
    }
    Ok(())
}

fn tokens(chars: &[char]) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let [c, ..] = &chars[at..] {
        let (token, length) = match c {
            '*' => stars(&chars[at..]),
            '[' => bracket(&chars[at..]),
            '?' | '+' => Err(quantifier_alone(*c, tokens.last())),
            ']' => Err("`]` without `[`; open it, as in `[0-9]`; for a `]` in a name write `*`".into()),
            '\\' => {
                Err("what `\\` means is not documented for paths; leave it out, or write `*` for what it was to escape"
                    .into())
            }
            c => Ok((Token::Literal(*c, Times::Once), 1)),
        }
        .map_err(|message| (at, message))?;
        at += length;
        let (token, length) = quantified(token, chars.get(at));
        at += length;
        tokens.push(token);
    }
    Ok(tokens)
}

/// The token with the quantifier behind it, and that one's length.
fn quantified(token: Token, next: Option<&char>) -> (Token, usize) {
    let times = match next {
        Some('?') => Times::ZeroOrOne,
        Some('+') => Times::OneOrMore,
        _ => return (token, 0),
    };
    match token {
        Token::Literal(c, _) if c != '/' => (Token::Literal(c, times), 1),
        Token::Class(ranges, _) => (Token::Class(ranges, times), 1),
        token => (token, 0),
    }
}

/// Why a quantifier can't stand behind this token.
fn quantifier_alone(quantifier: char, before: Option<&Token>) -> String {
    let (place, way_out) = match before {
        None => ("at the start", "write `*` in its place"),
        Some(Token::Literal('/', _) | Token::Folders) => ("after `/`", "write `*` in its place"),
        Some(Token::Star | Token::DoubleStar) => ("after `*`", "leave it out: `*` takes in what it would"),
        Some(Token::Literal(..) | Token::Class(..)) => {
            ("after another quantifier", "keep one of the two; where it is part of a name, write `*`")
        }
    };
    format!("what `{quantifier}` {place} means is not documented; {way_out}")
}

fn stars(chars: &[char]) -> Result<(Token, usize), String> {
    match chars {
        ['*', '*', '*', ..] => {
            Err("what more than two `*` mean is not documented; write `**` for any run, `/` included".into())
        }
        ['*', '*', '/', ..] => Ok((Token::Folders, 3)),
        ['*', '*', ..] => Ok((Token::DoubleStar, 2)),
        _ => Ok((Token::Star, 1)),
    }
}

const BRACKET: &str = "a bracket holds letters, digits and ranges such as `a-z`, `A-Z`, `0-9`; nothing else is \
                       documented; list the patterns one by one, or write `*` for brackets in a name";

fn bracket(chars: &[char]) -> Result<(Token, usize), String> {
    let Some(end) = chars.iter().position(|c| *c == ']') else {
        return Err("`[` without `]`; close it, as in `[0-9]`; for a `[` in a name write `*`".into());
    };
    let mut ranges = Vec::new();
    let mut rest = &chars[1..end];
    while let [first, tail @ ..] = rest {
        let (last, tail) = if let ['-', last, tail @ ..] = tail { (last, tail) } else { (first, tail) };
        if !is_range(*first, *last) {
            break;
        }
        ranges.push((*first, *last));
        rest = tail;
    }
    if ranges.is_empty() || !rest.is_empty() {
        return Err(BRACKET.into());
    }
    Ok((Token::Class(ranges, Times::Once), end + 1))
}

fn is_range(first: char, last: char) -> bool {
    let kinds = [char::is_ascii_lowercase as fn(&char) -> bool, char::is_ascii_uppercase, char::is_ascii_digit];
    first <= last && kinds.iter().any(|kind| kind(&first) && kind(&last))
}

fn refuse(at: usize, message: &str) -> Result<(), Refusal> {
    Err((at, message.to_owned()))
}

/// An ordered list of patterns: the last that hits decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFilter(Vec<Pattern>);

impl PathFilter {
    /// A list with at least one pattern that includes.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, String> {
        Self::may_hold(patterns.len())?;
        if patterns.iter().all(Pattern::negated) {
            return Err("the list has no pattern that includes; put one such as `**` before the `!` patterns".into());
        }
        Ok(Self(patterns))
    }

    /// Whether a list may hold so many, before each of them is read.
    pub fn may_hold(patterns: usize) -> Result<(), String> {
        if patterns > PATTERNS {
            return Err(format!(
                "{patterns} patterns, of at most {PATTERNS}; name folders (`src/**`) instead of files"
            ));
        }
        Ok(())
    }

    /// The patterns, in their order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// What paths begin with that are included: one of these.
    pub fn heads(&self) -> Vec<String> {
        self.0.iter().filter(|pattern| !pattern.negated).map(|pattern| pattern.head().to_owned()).collect()
    }

    /// All patterns that hit `path`, by their places in the list, the last
    /// first: that one decides.
    pub fn hits(&self, path: &str) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().rev().filter_map(move |(at, pattern)| pattern.hits(path).then_some(at))
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
mod properties;

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
        let rows = include_str!("rows.txt");
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
    fn what_is_left_open_is_refused_with_its_column_and_a_way_out() {
        let rows = [
            ("", 1, "write a path such as"),
            ("!", 2, "write a path such as"),
            ("/a", 1, "paths begin without `/`"),
            ("/", 1, "leave it out"),
            ("./a", 1, "paths begin without `./`"),
            (".", 1, "write `**`"),
            ("a/./b", 3, "no path has a name `.`"),
            ("../a", 1, "from the repository's root"),
            ("a/..", 3, "from the repository's root"),
            ("a//b", 3, "write one `/`"),
            ("a/", 2, "write `/**`"),
            ("!a/", 3, "write `/**`"),
            ("**/", 3, "write `**`"),
            ("a/**/", 5, "write `**`"),
            ("a\0b", 2, "leave it out"),
            ("?a", 1, "`?` at the start means is not documented; write `*`"),
            ("!+a", 2, "`+` at the start"),
            ("a*?", 3, "`?` after `*` means is not documented; leave it out"),
            ("a**+", 4, "`+` after `*`"),
            ("a/+", 3, "`+` after `/`"),
            ("**/?a", 4, "`?` after `/`"),
            ("a?+", 3, "`+` after another quantifier"),
            ("a+?", 3, "`?` after another quantifier"),
            ("c++", 3, "part of a name, write `*`"),
            ("[ab]??", 6, "`?` after another quantifier"),
            ("ü?+", 3, "`+` after another quantifier"),
            ("***", 1, "write `**`"),
            ("a****", 2, "write `**`"),
            ("[^a]", 1, "a bracket holds"),
            ("[!a]", 1, "a bracket holds"),
            ("a[.]", 2, "a bracket holds"),
            ("a[/]b", 2, "a bracket holds"),
            ("[é]", 1, "a bracket holds"),
            ("[_]", 1, "a bracket holds"),
            ("[*]", 1, "a bracket holds"),
            ("[]", 1, "a bracket holds"),
            ("[]a]", 1, "a bracket holds"),
            ("[[a]", 1, "a bracket holds"),
            ("[-a]", 1, "a bracket holds"),
            ("[a-]", 1, "a bracket holds"),
            ("[a-c-e]", 1, "a bracket holds"),
            ("[z-a]", 1, "a bracket holds"),
            ("[A-z]", 1, "a bracket holds"),
            ("[a-Z]", 1, "a bracket holds"),
            ("[0-z]", 1, "a bracket holds"),
            ("x[a", 2, "close it"),
            ("a]", 2, "open it"),
            ("[a]]", 4, "open it"),
            ("a\\b", 2, "leave it out"),
            ("\\!a", 1, "leave it out"),
        ];
        for (text, column, way_out) in rows {
            let error = Pattern::parse(text).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.message.contains(way_out), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_refused_is_told_by_its_column() {
        assert_eq!(Pattern::parse("a/").unwrap_err().to_string().split(':').next(), Some("column 2"));
    }

    #[test]
    fn a_pattern_and_a_list_have_bounds() {
        let parse = |length: usize| Pattern::parse(&"a".repeat(length)).map_err(|error| error.column);
        assert!(parse(LENGTH).is_ok());
        assert_eq!((parse(LENGTH + 1).err(), parse(9 * LENGTH).err()), (Some(LENGTH + 1), Some(LENGTH + 1)));
        assert!(PathFilter::may_hold(PATTERNS).is_ok());
        assert!(PathFilter::may_hold(PATTERNS + 1).is_err() && PathFilter::may_hold(9 * PATTERNS).is_err());
    }

    #[test]
    fn a_list_tells_its_patterns_and_what_its_paths_begin_with() {
        let texts = ["src/**", "!src/x", "*.md", "a/b", "docs/a?"];
        let filter = PathFilter::new(texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()).unwrap();
        assert_eq!(filter.patterns().iter().map(Pattern::text).collect::<Vec<_>>(), texts);
        assert_eq!(filter.heads(), ["src/", "", "a/b", "docs/"]);
        assert_eq!(filter.hits("src/x").collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn everything_else_is_itself() {
        for text in [
            "a.b",
            "a(b)",
            "a{b}|c",
            "{a,b}",
            "a@b^c$",
            "a b",
            " a ",
            "   ",
            "ü/é",
            ".github/x",
            "a,b",
            "a!b",
            "a-z",
            "~#%&=",
            "a\nb",
            "a\tb",
            "\u{7f}",
            "...",
            "a/.b/..c",
            "..a",
            "😀",
        ] {
            assert!(selects(&[text], text), "{text:?}");
            assert!(!selects(&[text], &format!("{text}x")), "{text:?}");
        }
        assert!(!selects(&["a.b"], "axb"));
        assert!(!selects(&["{a,b}"], "a"));
        assert!(!selects(&["README.md"], "readme.md"));
        assert!(!selects(&["\u{e9}"], "e\u{301}"), "no normalization");
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
    fn each_feature_is_read_as_it_is_worded() {
        for (pattern, path, hit) in [
            // The whole path, and no folder stands for its files.
            ("docs", "docs/x", false),
            ("docs/**", "docs", false),
            ("docs/**", "docs/x", true),
            ("docs/*", "docs/a/b", false),
            ("**/docs", "docs", true),
            ("**/docs", "a/docs", true),
            ("**/docs", "a/docs/x", false),
            ("**/docs/**", "docs/x", true),
            ("**/docs/**", "mydocs/x", false),
            ("**/docs/**", "docs", false),
            // Dot names are names.
            ("*", ".env", true),
            ("**", ".github/x", true),
            ("*/x", ".a/x", true),
            // `*` is zero or more, and never `/`.
            ("*", "a/b", false),
            ("a*b", "ab", true),
            ("*/*", "a/b", true),
            ("*/*", "a", false),
            ("*", "a\nb", true),
            ("a/*.md", "a/\n.md", true),
            // `**` is zero or more of any, wherever it stands.
            ("a**b", "ab", true),
            ("a**b", "a/x/b", true),
            ("**a", "x/ya", true),
            ("a/**b", "a/b", true),
            ("a/**b", "a/x/yb", true),
            ("a/**b", "ab", false),
            ("**/**", "a", true),
            ("**/*", "a", true),
            ("**/*", "a/b/c", true),
            ("**/*/*", "a", false),
            ("a/**/*", "a", false),
            ("a**/b", "ab", true),
            ("a**/b", "axx/b", true),
            // `?` and `+` are quantifiers, never wildcards.
            ("a?", "ab", false),
            ("a+", "aaa", true),
            ("a+", "", false),
            ("a+", "a+", false),
            ("ab+", "abab", false),
            ("é?x", "x", true),
            ("é+", "ééé", true),
            (" ?a", "a", true),
            ("(ab)?", "", false),
            ("(ab)?", "(ab", true),
            // A bracket is one character.
            ("[ab]", "ab", false),
            ("[a-cx]", "x", true),
            ("[a-cx]", "d", false),
            ("[a-a]", "a", true),
            ("[abc]?x", "x", true),
            ("[A-Z]+", "AZ", true),
            ("[A-Z]+", "Az", false),
            ("[0-9]+x", "x", false),
        ] {
            assert_eq!(selects(&[pattern], path), hit, "{pattern} {path}");
        }
    }

    #[test]
    fn the_order_decides_and_a_second_exclamation_mark_is_itself() {
        assert!(selects(&["!a", "**"], "a"));
        assert!(!selects(&["**", "!!a"], "!a"));
        assert!(selects(&["**", "!!a"], "a"));
        assert!(selects(&["a", "!*", "a"], "a"));
        let only_negated = PathFilter::new(vec![Pattern::parse("!a").unwrap()]);
        assert!(only_negated.unwrap_err().contains("put one such as `**` before"));
        assert!(PathFilter::new(Vec::new()).is_err());
    }
}
