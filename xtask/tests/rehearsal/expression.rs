//! GitHub's expressions, as far as our workflows use them. Whatever else is
//! written panics: nothing passes because it was not understood.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What an expression can see.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `github`, `inputs`, `needs`, `steps` … A context that is not in it panics.
    pub contexts: BTreeMap<&'static str, Value>,
    /// How what came before ended.
    pub status: Status,
    /// What `hashFiles` gives for its patterns.
    pub hash: Option<fn(&std::path::Path, &[String]) -> String>,
    /// The checkout that it looks at.
    pub workspace: std::path::PathBuf,
}

/// What the status functions ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// All went well.
    #[default]
    Success,
    /// Something failed.
    Failure,
    /// Something was skipped: that is neither.
    Skipped,
}

/// A text with `${{ }}` in it; one expression alone keeps its type.
pub fn template(text: &str, scope: &Scope) -> Value {
    let text_trimmed = text.trim();
    if let Some(inner) = text_trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains("${{")
    {
        return evaluate(inner, scope);
    }
    let mut parts = text.split("${{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once("}}").unwrap_or_else(|| panic!("`${{{{` without an end in {text:?}"));
        out += &string(&evaluate(inner, scope));
        out += rest;
    }
    json!(out)
}

/// An `if:`. One that asks for no status means `success() && …`.
pub fn condition(text: &str, scope: &Scope) -> bool {
    let text = text.trim();
    let inner = match text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
        Some(inner) => inner,
        None if text.contains("${{") => panic!("half an expression in `if: {text}`: GitHub takes its text for true"),
        None => text,
    };
    let tree = parse(inner);
    (asks_for_status(&tree) || scope.status == Status::Success) && truthy(&value(&tree, scope))
}

/// One expression.
pub fn evaluate(text: &str, scope: &Scope) -> Value {
    value(&parse(text), scope)
}

/// As GitHub writes a value into a text.
pub fn string(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        other => panic!("a text with `Object` or `Array` in it: {other}"),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Literal(Value),
    Context(Vec<String>),
    Call(String, Vec<Tree>),
    Not(Box<Tree>),
    Binary(&'static str, Box<Tree>, Box<Tree>),
}

fn asks_for_status(tree: &Tree) -> bool {
    match tree {
        Tree::Literal(_) | Tree::Context(_) => false,
        Tree::Call(name, arguments) => {
            ["always", "success", "failure", "cancelled"].contains(&name.as_str())
                || arguments.iter().any(asks_for_status)
        }
        Tree::Not(inner) => asks_for_status(inner),
        Tree::Binary(_, left, right) => asks_for_status(left) || asks_for_status(right),
    }
}

fn value(tree: &Tree, scope: &Scope) -> Value {
    match tree {
        Tree::Literal(value) => value.clone(),
        Tree::Context(path) => {
            let (root, rest) = path.split_first().unwrap();
            let Some(context) = scope.contexts.get(root.as_str()) else {
                panic!("the context `{}` is not there", path.join("."));
            };
            // Most of a run's own context is not made up here: what is asked for must be.
            let known = root != "github" || rest.first().is_some_and(|name| context.get(name).is_some());
            assert!(known, "the rehearsal has no `{}`", path.join("."));
            rest.iter().try_fold(context, |value, name| value.get(name)).cloned().unwrap_or(Value::Null)
        }
        Tree::Call(name, arguments) => {
            let arguments: Vec<Value> = arguments.iter().map(|argument| value(argument, scope)).collect();
            call(name, &arguments, scope)
        }
        Tree::Not(inner) => json!(!truthy(&value(inner, scope))),
        Tree::Binary("&&", left, right) => {
            let left = value(left, scope);
            if truthy(&left) { value(right, scope) } else { left }
        }
        Tree::Binary("||", left, right) => {
            let left = value(left, scope);
            if truthy(&left) { left } else { value(right, scope) }
        }
        Tree::Binary(operator, left, right) => {
            json!(equal(&value(left, scope), &value(right, scope)) == (*operator == "=="))
        }
    }
}

fn call(name: &str, arguments: &[Value], scope: &Scope) -> Value {
    match (name, arguments) {
        ("always", []) => json!(true),
        ("success", []) => json!(scope.status == Status::Success),
        ("failure", []) => json!(scope.status == Status::Failure),
        // Nobody cancels a rehearsal.
        ("cancelled", []) => json!(false),
        ("contains", [Value::Array(items), item]) => json!(items.iter().any(|it| equal(it, item))),
        ("contains", [text, part]) => json!(string(text).to_lowercase().contains(&string(part).to_lowercase())),
        ("fromJSON", [text]) => serde_json::from_str(&string(text)).unwrap_or_else(|error| panic!("fromJSON: {error}")),
        ("toJSON", [value]) => json!(serde_json::to_string_pretty(value).unwrap()),
        ("format", [text, values @ ..]) => json!(format(&string(text), values)),
        ("hashFiles", patterns) => {
            let hash = scope.hash.unwrap_or_else(|| panic!("hashFiles outside of a step"));
            json!(hash(&scope.workspace, &patterns.iter().map(string).collect::<Vec<_>>()))
        }
        _ => panic!("the rehearsal has no `{name}` with {} arguments", arguments.len()),
    }
}

fn format(text: &str, values: &[Value]) -> String {
    assert!(!text.contains("{{") && !text.contains("}}"), "format: escaped braces in {text:?}");
    let mut parts = text.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (index, rest) = part.split_once('}').unwrap_or_else(|| panic!("format: {text:?}"));
        let index: usize = index.parse().unwrap_or_else(|_| panic!("format: {text:?}"));
        out += &string(values.get(index).unwrap_or_else(|| panic!("format: {text:?} has no value {index}")));
        out += rest;
    }
    out
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Texts without regard to case; two kinds by their numbers, as in JavaScript.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.to_lowercase() == right.to_lowercase(),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            panic!("two objects are equal only if they are one: {left} == {right}")
        }
        _ => number(left) == number(right),
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Bool(it) => f64::from(u8::from(*it)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) if text.trim().is_empty() => 0.0,
        Value::String(text) => text.trim().parse().unwrap_or(f64::NAN),
        _ => 0.0,
    }
}

fn parse(text: &str) -> Tree {
    let mut parser = Parser { tokens: tokens(text), at: 0, text };
    let tree = parser.or();
    assert_eq!(parser.at, parser.tokens.len(), "what follows is not understood: {text}");
    tree
}

fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = chars.get(at) {
        let start = at;
        at += 1;
        match first {
            ' ' | '\n' | '\t' => continue,
            '\'' => loop {
                match (chars.get(at), chars.get(at + 1)) {
                    (Some('\''), Some('\'')) => at += 2,
                    (Some('\''), _) => break at += 1,
                    (Some(_), _) => at += 1,
                    (None, _) => panic!("a text without an end: {text}"),
                }
            },
            '=' | '!' if chars.get(at) == Some(&'=') => at += 1,
            '&' | '|' if chars.get(at) == Some(&first) => at += 1,
            '!' | '(' | ')' | ',' | '.' => {}
            _ if first.is_ascii_alphanumeric() || first == '_' => {
                while chars.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)) {
                    at += 1;
                }
            }
            _ => panic!("`{first}` is not understood: {text}"),
        }
        tokens.push(chars[start..at].iter().collect());
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<String>,
    at: usize,
    text: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.get(self.at).is_some_and(|next| next == token);
        self.at += usize::from(is_next);
        is_next
    }

    fn or(&mut self) -> Tree {
        let mut left = self.and();
        while self.take("||") {
            left = Tree::Binary("||", Box::new(left), Box::new(self.and()));
        }
        left
    }

    fn and(&mut self) -> Tree {
        let mut left = self.equality();
        while self.take("&&") {
            left = Tree::Binary("&&", Box::new(left), Box::new(self.equality()));
        }
        left
    }

    fn equality(&mut self) -> Tree {
        let mut left = self.unary();
        while let Some(operator) = ["==", "!="].into_iter().find(|operator| self.take(operator)) {
            left = Tree::Binary(operator, Box::new(left), Box::new(self.unary()));
        }
        left
    }

    fn unary(&mut self) -> Tree {
        if self.take("!") {
            return Tree::Not(Box::new(self.unary()));
        }
        if self.take("(") {
            let inner = self.or();
            assert!(self.take(")"), "a `)` is missing: {}", self.text);
            return inner;
        }
        let token = self.name();
        if let Some(text) = token.strip_prefix('\'') {
            return Tree::Literal(json!(text.strip_suffix('\'').unwrap().replace("''", "'")));
        }
        match token.as_str() {
            "true" | "false" => return Tree::Literal(json!(token == "true")),
            "null" => return Tree::Literal(Value::Null),
            _ if token.starts_with(|c: char| c.is_ascii_digit()) => {
                let number: u64 = token.parse().unwrap_or_else(|_| panic!("not a number: {token}"));
                return Tree::Literal(json!(number));
            }
            _ => {}
        }
        if self.take("(") {
            return Tree::Call(token, self.arguments());
        }
        let mut path = vec![token];
        while self.take(".") {
            path.push(self.name());
        }
        Tree::Context(path)
    }

    fn arguments(&mut self) -> Vec<Tree> {
        let mut arguments = Vec::new();
        while !self.take(")") {
            assert!(arguments.is_empty() || self.take(","), "a `,` is missing: {}", self.text);
            arguments.push(self.or());
        }
        arguments
    }

    fn name(&mut self) -> String {
        let token = self.tokens.get(self.at).cloned().unwrap_or_else(|| panic!("it ends too early: {}", self.text));
        let is_name = token.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '\'');
        assert!(is_name, "`{token}` is out of place: {}", self.text);
        self.at += 1;
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(status: Status) -> Scope {
        let contexts = BTreeMap::from([
            ("inputs", json!({ "no-cache": true, "part": "", "tag": "Dev" })),
            ("needs", json!({ "plan": { "result": "success", "outputs": { "affected": "true" } } })),
            ("github", json!({ "event_name": "push", "ref": "refs/heads/main" })),
        ]);
        Scope { contexts, status, ..Scope::default() }
    }

    fn is(text: &str, expected: Value) {
        assert_eq!(evaluate(text, &scope(Status::Success)), expected, "{text}");
    }

    #[test]
    fn operators_give_their_operands_and_texts_have_no_case() {
        is("inputs.tag == 'dEV'", json!(true));
        is("inputs.tag != 'dev' || !inputs.no-cache", json!(false));
        is("inputs.part || inputs.tag", json!("Dev"));
        is("inputs.part && 'x' || 'y'", json!("y"));
        is("inputs.no-cache && 'x' || 'y'", json!("x"));
        is("inputs.gone", Value::Null);
        is("inputs.gone == ''", json!(true));
        is("inputs.gone == false", json!(true));
        is("'1' == 1 && true == 1", json!(true));
        is("'a' == 1", json!(false));
        is("'it''s'", json!("it's"));
        is("!(true && false) == true", json!(true));
        is("true || false && false", json!(true));
    }

    #[test]
    fn functions_do_what_githubs_do() {
        is("contains(fromJSON('[\"push\", \"schedule\"]'), github.event_name)", json!(true));
        is("contains('Hello', 'ELL')", json!(true));
        is("contains(fromJSON('[\"pushed\"]'), 'push')", json!(false));
        is("fromJSON(toJSON(inputs.no-cache)) == true", json!(true));
        is("format('refs/heads/{0}-{1}', 'a', 7)", json!("refs/heads/a-7"));
    }

    #[test]
    fn an_expression_alone_keeps_its_type_and_in_a_text_becomes_one() {
        let scope = scope(Status::Success);
        assert_eq!(template("${{ inputs.no-cache }}", &scope), json!(true));
        assert_eq!(template("a ${{ inputs.no-cache }} ${{ inputs.gone }}b", &scope), json!("a true b"));
        assert_eq!(template("plain", &scope), json!("plain"));
    }

    #[test]
    fn a_condition_that_asks_for_no_status_implies_success() {
        for (text, on_success, on_failure) in [
            ("true", true, false),
            ("inputs.no-cache", true, false),
            ("${{ !inputs.no-cache }}", false, false),
            ("always()", true, true),
            ("always() && inputs.part == ''", true, true),
            ("!cancelled() && needs.plan.outputs.affected == 'true'", true, true),
            ("success()", true, false),
            ("!success()", false, true),
            ("failure()", false, true),
        ] {
            assert_eq!(condition(text, &scope(Status::Success)), on_success, "{text}");
            assert_eq!(condition(text, &scope(Status::Failure)), on_failure, "{text}");
        }
        assert!(!condition("true", &scope(Status::Skipped)) && !condition("failure()", &scope(Status::Skipped)));
    }

    #[test]
    fn what_is_not_understood_panics() {
        for text in [
            "vars.x",
            "github.gone",
            "startsWith('a', 'a')",
            "always(1)",
            "inputs['tag']",
            "inputs.*",
            "1 < 2",
            "a &",
            "'a",
            "(true",
            "true true",
            "",
            "format('{1}', 'a')",
            "format('{{0}}', 'a')",
            "needs == needs",
            "inputs.tag == -1",
        ] {
            let result = std::panic::catch_unwind(|| evaluate(text, &scope(Status::Success)));
            assert!(result.is_err(), "{text} gave {result:?}");
        }
        assert!(std::panic::catch_unwind(|| condition("${{ true }} && false", &scope(Status::Success))).is_err());
        assert!(std::panic::catch_unwind(|| template("a ${{ needs }}", &scope(Status::Success))).is_err());
    }
}
