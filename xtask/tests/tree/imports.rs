//! What a file of Rust names: every `use`, nested as deep as it may be, and every
//! path of more than one word. What is there for tests only is left out.

/// One path that a file names, as written: `super::a::B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it stands.
    pub line: usize,
    /// Its words.
    pub path: Vec<String>,
    /// What a `use` calls it from then on; `*` for all that is in it.
    pub alias: Option<String>,
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

/// All that a file names.
pub fn named(text: &str) -> Vec<Named> {
    let tokens = without_tests(tokens(text));
    let mut named = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text.as_str());
        match tokens[at].text.as_str() {
            "use" if before != "::" => at = tree(&tokens, at + 1, &[], &mut named),
            first if is_word(first) && before != "::" && is(&tokens, at + 1, "::") => {
                let line = tokens[at].line;
                let mut path = vec![tokens[at].text.clone()];
                while is(&tokens, at + 1, "::") && tokens.get(at + 2).is_some_and(|next| is_word(&next.text)) {
                    path.push(tokens[at + 2].text.clone());
                    at += 2;
                }
                // `collect::<T>` is no path.
                if path.len() > 1 {
                    named.push(Named { line, path, alias: None });
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    named
}

/// The modules that a file has for tests only.
pub fn for_tests(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let marked = (0..tokens.len()).filter(|at| is_marked(&tokens, *at)).map(|at| at + MARK.len());
    marked.filter(|at| is(&tokens, *at, "mod")).filter_map(|at| Some(tokens.get(at + 1)?.text.clone())).collect()
}

/// Reads a tree of `use` that begins at a token; gives the token behind it.
fn tree(tokens: &[Token], mut at: usize, above: &[String], named: &mut Vec<Named>) -> usize {
    let mut path = above.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && !is(tokens, at, "}") {
                    at = tree(tokens, at, &path, named);
                    at += usize::from(is(tokens, at, ","));
                }
                return at + 1;
            }
            "as" => {
                let alias = tokens.get(at + 1).map(|token| token.text.clone());
                named.push(Named { line, path, alias });
                return at + 2;
            }
            word if is_word(word) || word == "*" => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    // `a::{self}` is `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let alias = path.last().cloned();
    if path.last().is_some_and(|last| last == "*") {
        path.pop();
    }
    named.push(Named { line, path, alias });
    at
}

fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

fn is_marked(tokens: &[Token], at: usize) -> bool {
    MARK.iter().enumerate().all(|(offset, text)| is(tokens, at + offset, text))
}

/// Leaves out each item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_marked(&tokens, at) {
            at = behind_item(&tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The token behind an item: behind its `;`, or behind what its `{` opens.
fn behind_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 && !is(tokens, at, ";") {
                    break;
                }
            }
            ";" if depth == 0 => break,
            _ => {}
        }
    }
    at
}

/// Words, `::` and single signs; no comments, and nothing of what is quoted.
fn tokens(text: &str) -> Vec<Token> {
    let all: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let begins = |at: usize, what: &str| what.chars().enumerate().all(|(n, c)| all.get(at + n) == Some(&c));
    while let Some(c) = all.get(at).copied() {
        let end = if begins(at, "//") {
            (at..all.len()).find(|at| all[*at] == '\n').unwrap_or(all.len())
        } else if begins(at, "/*") {
            let mut depth = 0;
            let mut end = at;
            while end < all.len() {
                let (opens, closes) = (begins(end, "/*"), begins(end, "*/"));
                depth += i32::from(opens) - i32::from(closes);
                end += if opens || closes { 2 } else { 1 };
                if depth == 0 {
                    break;
                }
            }
            end
        } else if let Some(end) = behind_quoted(&all, at) {
            end
        } else if c.is_alphabetic() || c == '_' {
            let end = (at..all.len()).find(|at| !all[*at].is_alphanumeric() && all[*at] != '_').unwrap_or(all.len());
            tokens.push(Token { line, text: all[at..end].iter().collect() });
            end
        } else {
            let end = at + if begins(at, "::") { 2 } else { 1 };
            if !c.is_whitespace() {
                tokens.push(Token { line, text: all[at..end].iter().collect() });
            }
            end
        };
        line += all[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

/// Behind the string or character that begins here, if one does.
fn behind_quoted(all: &[char], at: usize) -> Option<usize> {
    // A word that ends in `r` or `b` begins no string: those are read whole.
    let mut start = at;
    let is_raw = loop {
        match all.get(start)? {
            'b' | 'c' if start == at => start += 1,
            'r' => break true,
            _ => break false,
        }
    };
    if is_raw {
        let hashes = all[start + 1..].iter().take_while(|c| **c == '#').count();
        if all.get(start + 1 + hashes) != Some(&'"') {
            return None;
        }
        let closes = |from: usize| all[from] == '"' && (1..=hashes).all(|n| all.get(from + n) == Some(&'#'));
        return (start + 2 + hashes..all.len()).find(|from| closes(*from)).map(|from| from + 1 + hashes);
    }
    let quote = all[start];
    // `'a` alone is a lifetime.
    let is_char = quote == '\'' && (all.get(start + 1) == Some(&'\\') || all.get(start + 2) == Some(&'\''));
    if quote != '"' && !is_char {
        return None;
    }
    let mut end = start + 1;
    while all.get(end).is_some_and(|c| *c != quote) {
        end += if all[end] == '\\' { 2 } else { 1 };
    }
    Some((end + 1).min(all.len()))
}

#[test]
fn every_way_to_name_something_is_seen_and_nothing_else() {
    let told = |text: &str| -> Vec<String> {
        named(text)
            .iter()
            .map(|it| match &it.alias {
                Some(alias) => format!("{}: {} = {alias}", it.line, it.path.join("::")),
                None => format!("{}: {}", it.line, it.path.join("::")),
            })
            .collect()
    };
    for (text, expected) in [
        ("use crate::a::B;", &["1: crate::a::B = B"][..]),
        ("use crate::{a::{b, c::D as E}, f};", &["1: crate::a::b = b", "1: crate::a::c::D = E", "1: crate::f = f"]),
        ("pub(super) use crate::a::{\n    self,\n    B,\n};", &["2: crate::a = a", "3: crate::a::B = B"]),
        ("use super::super::x::*;", &["1: super::super::x = *"]),
        ("use self::child::X;\nuse std::fmt;", &["1: self::child::X = X", "2: std::fmt = fmt"]),
        (
            "fn f(x: super::y::Z) -> crate::a::b::C<self::d> { x.g::<crate::h::I>() }",
            &["1: super::y::Z", "1: crate::a::b::C", "1: self::d", "1: crate::h::I"],
        ),
        ("use crate::a;\nfn f() { a::b::c(); d::<e::F>(); }", &["1: crate::a = a", "2: a::b::c", "2: e::F"]),
        ("#[a::b] fn f() { let x: c::D = Vec::new(); }", &["1: a::b", "1: c::D", "1: Vec::new"]),
        ("// use crate::a;\n/* crate::b /* crate::c */ crate::d */ use crate::e;", &["2: crate::e = e"]),
        (r##"let x = "use crate::a; \" crate::b"; let y = r#"crate::c " super::d"#; crate::e();"##, &["1: crate::e"]),
        (r"let q = ['\'', '{', b'\\']; fn g<'a>(x: &'a str) { crate::e(x) }", &["1: crate::e"]),
        ("#[cfg(test)]\nmod tests { use super::*; fn a() { crate::b() } }\nuse crate::c;", &["3: crate::c = c"]),
        (
            "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nconst A: [u8; 1] = crate::b([1]);\nuse crate::c;",
            &["5: crate::c = c"],
        ),
        ("impl crate::a::T for U { fn s(&self) { self.x(); Self::y() } }", &["1: crate::a::T", "1: Self::y"]),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
}
