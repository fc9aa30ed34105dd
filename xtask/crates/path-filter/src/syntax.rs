//! The syntax of patterns. Where the documentation is unclear, the pattern is
//! refused, with the position and what to write instead.

/// How often the previous character may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    Once,
    ZeroOrOne,
    OneOrMore,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// One character.
    Literal(char, Times),
    /// One character out of these ranges.
    Class(Vec<(char, char)>, Times),
    /// `*`: any number of characters but `/`.
    Star,
    /// `**`: any number of characters, `/` included.
    DoubleStar,
    /// `**/`: nothing, or any text that ends in `/`.
    Folders,
}

/// The longest pattern, in characters. Git has no longer paths.
pub(crate) const LENGTH: usize = 4096;

/// The position of the error, in characters from 0, and the message.
pub(crate) type Refusal = (usize, String);

/// Parses a pattern without its leading `!`.
pub(crate) fn read(chars: &[char]) -> Result<Vec<Token>, Refusal> {
    check_names(chars)?;
    tokens(chars)
}

/// Refuses text that no path in a repository can contain.
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

/// The token with its quantifier, and the quantifier's length.
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

/// Why a quantifier can't follow this token.
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
