//! How GitHub's expressions are written: text to tree. The lexer is that of the
//! runner: a number begins where a name can't, and ends where a name would.

use serde_json::{Value, json};

use crate::expression::{Refusal, number_of};

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Literal(Value),
    Context(String),
    Index(Box<Tree>, Box<Tree>),
    Call(String, Vec<Tree>),
    Not(Box<Tree>),
    Binary(&'static str, Box<Tree>, Box<Tree>),
}

/// How deep an expression may be: GitHub's bound is 50, counted in a way of its own.
const DEPTH: usize = 12;

pub fn parse(text: &str) -> Result<Tree, Refusal> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let tree = parser.or()?;
    match parser.tokens.get(parser.at) {
        None => Ok(tree),
        Some(rest) => Err(Refusal::wrong(format!("{rest:?} is one too many"))),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(String),
    Number(f64),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 16] = ["==", "!=", ">=", "<=", "&&", "||", "!", ">", "<", "(", ")", "[", "]", ",", ".", "*"];

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if " \n\r\t".contains(first) {
            rest = &rest[1..];
            continue;
        }
        // A `.` after what has properties is no number's.
        let is_behind = matches!(tokens.last(), Some(Token::Name(_) | Token::Sign("]" | ")" | "*")));
        let (token, length) = if first == '\'' {
            string(rest)?
        } else if "+-0123456789".contains(first) || (first == '.' && !is_behind) {
            number(rest)?
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            let word = word(rest, false);
            let is_inside = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            if !word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !word.chars().all(is_inside) {
                return Err(Refusal::wrong(format!("`{word}` is no name")));
            }
            (Token::Name(word.to_owned()), word.len())
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// Up to where a name or a number ends.
fn word(text: &str, with_dots: bool) -> &str {
    let ends = |c: char| c.is_whitespace() || (c == '.' && !with_dots) || "([)],!><=&|".contains(c);
    let first = text.chars().next().map_or(0, char::len_utf8);
    &text[..first + text[first..].find(ends).unwrap_or(text.len() - first)]
}

fn number(text: &str) -> Result<(Token, usize), Refusal> {
    let word = word(text, true);
    let number = number_of(word)?;
    if number.is_nan() {
        return Err(Refusal::wrong(format!("`{word}` is no number")));
    }
    Ok((Token::Number(number), word.len()))
}

fn string(text: &str) -> Result<(Token, usize), Refusal> {
    let mut out = String::new();
    let mut rest = &text[1..];
    while let Some((part, behind)) = rest.split_once('\'') {
        out += part;
        match behind.strip_prefix('\'') {
            Some(behind) => {
                out.push('\'');
                rest = behind;
            }
            None => return Ok((Token::Text(out), text.len() - behind.len())),
        }
    }
    Err(Refusal::wrong("a text without an end"))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn take(&mut self, sign: &'static str) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Refusal> {
        if self.take(sign) { Ok(()) } else { Err(Refusal::wrong(format!("a `{sign}` is missing"))) }
    }

    fn or(&mut self) -> Result<Tree, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Refusal::unmodelled("an expression so deep"));
        }
        let tree = self.level(0);
        self.depth -= 1;
        tree
    }

    /// Operators by how loosely they bind; each from left to right.
    fn level(&mut self, level: usize) -> Result<Tree, Refusal> {
        const LEVELS: [&[&str]; 4] = [&["||"], &["&&"], &["==", "!="], &[">", ">=", "<", "<="]];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.take(operator)) {
            left = Tree::Binary(operator, Box::new(left), Box::new(self.level(level + 1)?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Tree, Refusal> {
        let mut nots = 0;
        while self.take("!") {
            nots += 1;
        }
        if self.depth + nots > DEPTH {
            return Err(Refusal::unmodelled("an expression so deep"));
        }
        let mut tree = self.indexed()?;
        for _ in 0..nots {
            tree = Tree::Not(Box::new(tree));
        }
        Ok(tree)
    }

    fn indexed(&mut self) -> Result<Tree, Refusal> {
        let is_group = self.tokens.get(self.at) == Some(&Token::Sign("("));
        let mut tree = self.operand()?;
        let mut steps = 0;
        loop {
            let index = if self.take("[") {
                if self.take("*") {
                    return Err(Refusal::unmodelled("`[*]`"));
                }
                let index = self.or()?;
                self.expect("]")?;
                index
            } else if self.take(".") {
                match self.tokens.get(self.at).cloned() {
                    Some(Token::Name(name)) => {
                        self.at += 1;
                        Tree::Literal(json!(name))
                    }
                    Some(Token::Sign("*")) => return Err(Refusal::unmodelled("`.*`")),
                    other => return Err(Refusal::wrong(format!("{other:?} is no property"))),
                }
            } else {
                return Ok(tree);
            };
            if matches!(tree, Tree::Literal(_)) && !is_group {
                return Err(Refusal::wrong("a literal has no properties"));
            }
            steps += 1;
            if steps > DEPTH {
                return Err(Refusal::unmodelled("an expression so deep"));
            }
            tree = Tree::Index(Box::new(tree), Box::new(index));
        }
    }

    fn operand(&mut self) -> Result<Tree, Refusal> {
        let token = self.tokens.get(self.at).cloned().ok_or_else(|| Refusal::wrong("it ends too early"))?;
        self.at += 1;
        Ok(match token {
            Token::Text(text) => Tree::Literal(json!(text)),
            Token::Number(number) => Tree::Literal(crate::expression::numeral(number)?),
            Token::Sign("(") => {
                let inner = self.or()?;
                self.expect(")")?;
                inner
            }
            Token::Sign(sign) => return Err(Refusal::wrong(format!("`{sign}` is out of place"))),
            Token::Name(name) => match name.as_str() {
                "true" | "false" => Tree::Literal(json!(name == "true")),
                "null" => Tree::Literal(Value::Null),
                "NaN" | "Infinity" => return Err(Refusal::unmodelled(name)),
                _ if self.take("(") => Tree::Call(name.to_ascii_lowercase(), self.arguments()?),
                _ => Tree::Context(name),
            },
        })
    }

    fn arguments(&mut self) -> Result<Vec<Tree>, Refusal> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.or()?);
            if self.take(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
            if self.tokens.get(self.at) == Some(&Token::Sign(")")) {
                // The runner refuses it.
                return Err(Refusal::unmodelled("a comma behind the last argument"));
            }
        }
    }
}
