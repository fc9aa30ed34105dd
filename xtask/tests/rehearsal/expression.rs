//! GitHub's expressions, as the runner evaluates them. What it refuses is
//! refused, and so is what this does not model, or what the runner and GitHub's
//! own package for editors do not agree about: nothing passes because it was
//! not understood. `oracle.rs` holds it against that package.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::syntax::{Tree, parse};

/// What an expression can see.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `github`, `inputs`, `needs`, `steps` … A context that is not in it is refused.
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

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// GitHub refuses it too.
    Wrong(String),
    /// What it means is not modelled here.
    Unmodelled(String),
}

impl Refusal {
    pub fn wrong(why: impl Into<String>) -> Self {
        Self::Wrong(why.into())
    }

    pub fn unmodelled(what: impl Into<String>) -> Self {
        Self::Unmodelled(what.into())
    }
}

/// A text with `${{ }}` in it; one expression alone keeps its type.
pub fn template(text: &str, scope: &Scope) -> Value {
    match &pieces(text.trim())[..] {
        [Piece::Expression(inner)] => evaluate(inner, scope),
        _ => json!(pieces(text).iter().map(|piece| written(piece, scope)).collect::<String>()),
    }
}

fn written(piece: &Piece<'_>, scope: &Scope) -> String {
    match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Expression(inner) => string(&evaluate(inner, scope)),
    }
}

enum Piece<'a> {
    Text(&'a str),
    Expression(&'a str),
}

/// A text, and what stands in `${{ }}`: those in a text of an expression end nothing.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${{") {
        let mut is_text = false;
        let end = behind.char_indices().find(|(at, c)| {
            is_text ^= *c == '\'';
            !is_text && behind[*at..].starts_with("}}")
        });
        let (end, _) = end.unwrap_or_else(|| panic!("`${{{{` without an end in {text:?}"));
        pieces.extend((!before.is_empty()).then_some(Piece::Text(before)));
        pieces.push(Piece::Expression(&behind[..end]));
        rest = &behind[end + 2..];
    }
    pieces.extend((!rest.is_empty()).then_some(Piece::Text(rest)));
    pieces
}

/// An `if:`. One that asks for no status means `success() && …`.
pub fn condition(text: &str, scope: &Scope) -> bool {
    let pieces = pieces(text.trim());
    let inner = match &pieces[..] {
        [Piece::Expression(inner)] => inner,
        [Piece::Text(text)] => text,
        _ => panic!("half an expression in `if: {text}`: GitHub takes its text for true"),
    };
    let (asks, value) =
        must(inner, read(inner, scope).and_then(|tree| Ok((asks_for_status(&tree), value(&tree, scope)?))));
    (asks || scope.status == Status::Success) && truthy(&value)
}

/// One expression; what has no value here panics.
pub fn evaluate(text: &str, scope: &Scope) -> Value {
    must(text, try_evaluate(text, scope))
}

pub fn try_evaluate(text: &str, scope: &Scope) -> Result<Value, Refusal> {
    value(&read(text, scope)?, scope)
}

/// A tree whose contexts and functions are there, also where they are not asked.
fn read(text: &str, scope: &Scope) -> Result<Tree, Refusal> {
    fn check(tree: &Tree, scope: &Scope) -> Result<(), Refusal> {
        match tree {
            Tree::Literal(_) => Ok(()),
            Tree::Context(name) => context(name, scope).map(drop),
            Tree::Not(inner) => check(inner, scope),
            Tree::Binary(_, left, right) | Tree::Index(left, right) => {
                check(left, scope)?;
                check(right, scope)
            }
            Tree::Call(name, arguments) => {
                let (least, most) = match name.as_str() {
                    "always" | "success" | "failure" | "cancelled" => (0, 0),
                    "contains" | "startswith" | "endswith" => (2, 2),
                    "fromjson" | "tojson" => (1, 1),
                    "join" => (1, 2),
                    "format" | "hashfiles" => (1, 255),
                    "case" => return Err(Refusal::unmodelled("`case`")),
                    _ => return Err(Refusal::wrong(format!("there is no `{name}`"))),
                };
                if !(least..=most).contains(&arguments.len()) {
                    return Err(Refusal::wrong(format!("`{name}` with {} arguments", arguments.len())));
                }
                arguments.iter().try_for_each(|argument| check(argument, scope))
            }
        }
    }
    let tree = parse(text)?;
    check(&tree, scope)?;
    Ok(tree)
}

fn context<'a>(name: &str, scope: &'a Scope) -> Result<&'a Value, Refusal> {
    let found = scope.contexts.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).ok_or_else(|| Refusal::wrong(format!("there is no context `{name}`")))
}

fn must<T>(text: &str, result: Result<T, Refusal>) -> T {
    match result {
        Ok(value) => value,
        Err(Refusal::Wrong(why)) => panic!("{why}: {text}"),
        Err(Refusal::Unmodelled(what)) => panic!("the rehearsal does not model {what}: {text}"),
    }
}

/// As GitHub writes a value into a text.
pub fn string(value: &Value) -> String {
    must("a value in a text", text(value))
}

fn text(value: &Value) -> Result<String, Refusal> {
    Ok(match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(it) => it.to_string(),
        Value::Number(_) => number_text(number(value)?)?,
        _ => return Err(Refusal::unmodelled("`Object` or `Array` as a text")),
    })
}

/// Fifteen digits at most, as both write them: a person's numbers.
fn number_text(number: f64) -> Result<String, Refusal> {
    let text = number.to_string();
    let digits = text.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count();
    let is_plain = number == 0.0 || (1e-4..1e15).contains(&number.abs());
    let is_short = digits <= 15 && text.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= 15);
    if !is_plain || !is_short || (number == 0.0 && number.is_sign_negative()) {
        return Err(Refusal::unmodelled(format!("{number:e} as a text")));
    }
    Ok(text)
}

/// A number as a value.
#[allow(clippy::cast_possible_truncation)]
pub fn numeral(number: f64) -> Result<Value, Refusal> {
    if !number.is_finite() {
        return Err(Refusal::unmodelled(number.to_string()));
    }
    let is_whole = number.fract() == 0.0 && number.abs() < 1e15 && (number != 0.0 || number.is_sign_positive());
    Ok(if is_whole { json!(number as i64) } else { json!(number) })
}

fn asks_for_status(tree: &Tree) -> bool {
    match tree {
        Tree::Literal(_) | Tree::Context(_) => false,
        Tree::Call(name, arguments) => {
            ["always", "success", "failure", "cancelled"].contains(&name.as_str())
                || arguments.iter().any(asks_for_status)
        }
        Tree::Not(inner) => asks_for_status(inner),
        Tree::Binary(_, left, right) | Tree::Index(left, right) => asks_for_status(left) || asks_for_status(right),
    }
}

fn value(tree: &Tree, scope: &Scope) -> Result<Value, Refusal> {
    Ok(match tree {
        Tree::Literal(value) => value.clone(),
        Tree::Context(name) => context(name, scope)?.clone(),
        Tree::Index(of, index) => {
            let (object, index) = (value(of, scope)?, value(index, scope)?);
            let found = property(&object, &index)?;
            // Most of a run's own context is not made up here: what is asked for must be.
            if found.is_none() && matches!(&**of, Tree::Context(name) if name.eq_ignore_ascii_case("github")) {
                return Err(Refusal::unmodelled(format!("`github` with {index}")));
            }
            found.unwrap_or(Value::Null)
        }
        Tree::Call(name, arguments) => {
            let arguments = arguments.iter().map(|argument| value(argument, scope)).collect::<Result<Vec<_>, _>>()?;
            call(name, &arguments, scope)?
        }
        Tree::Not(inner) => json!(!truthy(&value(inner, scope)?)),
        Tree::Binary("&&", left, right) => {
            let left = value(left, scope)?;
            if truthy(&left) { value(right, scope)? } else { left }
        }
        Tree::Binary("||", left, right) => {
            let left = value(left, scope)?;
            if truthy(&left) { left } else { value(right, scope)? }
        }
        Tree::Binary(operator, left, right) => {
            let (left, right) = (value(left, scope)?, value(right, scope)?);
            json!(match *operator {
                "==" => equal(&left, &right)?,
                "!=" => !equal(&left, &right)?,
                ">" => order(&left, &right)? == Some(Ordering::Greater),
                "<" => order(&left, &right)? == Some(Ordering::Less),
                ">=" => equal(&left, &right)? || order(&left, &right)? == Some(Ordering::Greater),
                _ => equal(&left, &right)? || order(&left, &right)? == Some(Ordering::Less),
            })
        }
    })
}

/// What an object has by a name, whose case does not matter, or an array by a number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn property(of: &Value, index: &Value) -> Result<Option<Value>, Refusal> {
    Ok(match of {
        Value::Object(map) if is_primitive(index) => {
            let index = text(index)?;
            let names = |(name, _): &(&String, &Value)| !name.is_ascii() && name.to_lowercase() == index.to_lowercase();
            if *index != *index.to_ascii_lowercase() && map.iter().any(|pair| names(&pair)) {
                return Err(Refusal::unmodelled("the case of letters beyond ASCII"));
            }
            map.iter().find(|(name, _)| name.eq_ignore_ascii_case(&index)).map(|(_, value)| value.clone())
        }
        Value::Array(items) => {
            let at = if is_primitive(index) { number(index)? } else { f64::NAN };
            if at.is_infinite() {
                return Err(Refusal::unmodelled("an infinite index"));
            }
            (at >= 0.0).then(|| items.get(at.floor() as usize).cloned()).flatten()
        }
        _ => None,
    })
}

fn call(name: &str, arguments: &[Value], scope: &Scope) -> Result<Value, Refusal> {
    Ok(match (name, arguments) {
        ("always", []) => json!(true),
        ("success", []) => json!(scope.status == Status::Success),
        ("failure", []) => json!(scope.status == Status::Failure),
        // Nobody cancels a rehearsal.
        ("cancelled", []) => json!(false),
        ("contains", [Value::Array(items), item]) => {
            let mut found = false;
            for it in items {
                found = found || equal(item, it)?;
            }
            json!(found)
        }
        ("contains" | "startswith" | "endswith", [left, right]) => {
            if !is_primitive(left) || !is_primitive(right) {
                return Ok(json!(false));
            }
            let (left, right) = (upper(&text(left)?)?, upper(&text(right)?)?);
            json!(match name {
                "contains" => left.contains(&right),
                "startswith" => left.starts_with(&right),
                _ => left.ends_with(&right),
            })
        }
        ("fromjson", [value]) => from_json(&text(value)?)?,
        ("tojson", [value]) => json!(to_json(value)?),
        ("format", [format, values @ ..]) => json!(formatted(&text(format)?, values)?),
        ("join", [value, separator @ ..]) if separator.len() < 2 => {
            let separator = match separator {
                [one] if is_primitive(one) => text(one)?,
                _ => ",".to_owned(),
            };
            match value {
                Value::Array(items) => json!(items.iter().map(text).collect::<Result<Vec<_>, _>>()?.join(&separator)),
                Value::Object(_) => json!(""),
                one => json!(text(one)?),
            }
        }
        ("hashfiles", patterns) => {
            let hash = scope.hash.ok_or_else(|| Refusal::wrong("hashFiles outside of a step"))?;
            json!(hash(&scope.workspace, &patterns.iter().map(text).collect::<Result<Vec<_>, _>>()?))
        }
        _ => return Err(Refusal::wrong(format!("there is no `{name}` with {} arguments", arguments.len()))),
    })
}

fn from_json(text: &str) -> Result<Value, Refusal> {
    // The runner's parser takes more than JSON.
    let value: Value = serde_json::from_str(text).map_err(|why| match why.to_string() {
        why if why.contains("out of range") => Refusal::unmodelled(why),
        why => Refusal::wrong(format!("fromJSON: {why}")),
    })?;
    plain(&value)
}

/// Numbers as they are kept here; no two names that differ by their case alone.
fn plain(value: &Value) -> Result<Value, Refusal> {
    Ok(match value {
        Value::Number(number) => numeral(number.as_f64().unwrap_or(f64::NAN))?,
        Value::Array(items) => json!(items.iter().map(plain).collect::<Result<Vec<_>, _>>()?),
        Value::Object(map) => {
            let mut names: Vec<String> = map.keys().map(|name| name.to_lowercase()).collect();
            names.sort_unstable();
            names.dedup();
            if names.len() != map.len() {
                return Err(Refusal::unmodelled("names that differ by their case"));
            }
            let pair = |(name, value): (&String, &Value)| Ok((name.clone(), plain(value)?));
            Value::Object(map.iter().map(pair).collect::<Result<Map<_, _>, _>>()?)
        }
        other => other.clone(),
    })
}

/// Names come in alphabetical order, not as they were given.
fn to_json(value: &Value) -> Result<String, Refusal> {
    fn check(value: &Value) -> Result<(), Refusal> {
        match value {
            Value::Number(_) => number_text(number(value)?).map(drop),
            Value::String(text) if text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{7f}']) => {
                Err(Refusal::unmodelled("a line separator in JSON"))
            }
            Value::Array(items) => items.iter().try_for_each(check),
            Value::Object(map) => map.values().try_for_each(check),
            _ => Ok(()),
        }
    }
    check(value)?;
    serde_json::to_string_pretty(value).map_err(|why| Refusal::wrong(why.to_string()))
}

/// `{0}`, and `{{` and `}}` for braces.
fn formatted(format: &str, values: &[Value]) -> Result<String, Refusal> {
    let wrong = || Refusal::wrong(format!("format: {format:?}"));
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        out += &rest[..at];
        let (brace, behind) = rest[at..].split_at(1);
        if let Some(behind) = behind.strip_prefix(brace) {
            out += brace;
            rest = behind;
            continue;
        }
        if brace == "}" {
            return Err(wrong());
        }
        let digits = behind.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let index: usize = behind[..digits].parse().map_err(|_| wrong())?;
        let Some(after) = behind[digits..].strip_prefix('}') else {
            // The runner knows no such thing; the package passes over it.
            return Err(Refusal::unmodelled("what stands behind the number in a format"));
        };
        out += &text(values.get(index).ok_or_else(wrong)?)?;
        rest = after;
    }
    Ok(out + rest)
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

fn is_primitive(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

/// Texts without regard to case; two kinds by their numbers, as in JavaScript.
fn equal(left: &Value, right: &Value) -> Result<bool, Refusal> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Ok(left == right || upper(left)? == upper(right)?),
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => {
            Err(Refusal::unmodelled("whether two objects are one"))
        }
        _ if !is_primitive(left) || !is_primitive(right) => Ok(false),
        _ => Ok(number(left)? == number(right)?),
    }
}

/// Which is the greater; none where they can't be compared.
fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, Refusal> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Ok(Some(upper(left)?.cmp(&upper(right)?))),
        _ if !is_primitive(left) || !is_primitive(right) => Ok(None),
        _ => Ok(number(left)?.partial_cmp(&number(right)?)),
    }
}

/// .NET and JavaScript fold the letters beyond ASCII each in its way.
fn upper(text: &str) -> Result<String, Refusal> {
    if text.is_ascii() {
        Ok(text.to_ascii_uppercase())
    } else {
        Err(Refusal::unmodelled("the case of letters beyond ASCII"))
    }
}

fn number(value: &Value) -> Result<f64, Refusal> {
    Ok(match value {
        Value::Null => 0.0,
        Value::Bool(it) => f64::from(u8::from(*it)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => number_of(text)?,
        _ => f64::NAN,
    })
}

/// A text's number, as far as .NET and JavaScript agree about it.
pub fn number_of(text: &str) -> Result<f64, Refusal> {
    let differs = || Refusal::unmodelled(format!("the number of {text:?}"));
    if !text.is_ascii() || text.contains('\0') {
        return Err(differs());
    }
    let word = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let radix = |digits: &str, radix| match u64::from_str_radix(digits, radix) {
        // Behind that the runner's are negative, or none.
        Ok(number) => i32::try_from(number).map(f64::from).map_err(|_| differs()),
        Err(_) if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) => Ok(f64::NAN),
        Err(_) => Err(differs()),
    };
    match (word.get(..2), word) {
        (_, "") => Ok(0.0),
        (_, "Infinity") => Ok(f64::INFINITY),
        (_, "-Infinity") => Ok(f64::NEG_INFINITY),
        (_, "NaN") => Ok(f64::NAN),
        (Some("0x"), _) => radix(&word[2..], 16),
        (Some("0o"), _) => radix(&word[2..], 8),
        (Some("0X" | "0O" | "0b" | "0B"), _) => Err(differs()),
        _ if ["infinity", "nan"].contains(&word.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str()) => {
            Err(differs())
        }
        // Rust's own words are those of the line above; its grammar is else the same.
        _ if word.contains(|c: char| c.is_ascii_alphabetic() && !"eE".contains(c)) => Ok(f64::NAN),
        _ => Ok(word.parse().unwrap_or(f64::NAN)),
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
        is("FORMAT('{{{0}}} }}', 1.50)", json!("{1.5} }"));
        is("join(fromJSON('[1, \"a\", null]'), '-')", json!("1-a-"));
        is("startsWith('Hello', 'hE') && endsWith('Hello', 'LO')", json!(true));
    }

    #[test]
    fn numbers_are_read_and_written_as_the_runner_does() {
        for (text, number) in [("0x1f", 31), ("0o17", 15), ("007", 7), ("1e3", 1000), ("-1", -1), ("+2", 2), ("5.", 5)]
        {
            is(text, json!(number));
        }
        for (text, expected) in [
            ("'0x1F' == 31", true),
            ("'0o17' == 15", true),
            ("' 12 ' == 12", true),
            ("'1.0' == 1", true),
            ("'' == 0 && null == 0 && false == 0", true),
            ("'0x' == 0", false),
            ("2 > '1' && 'b' > 'A' && true > false", true),
            ("needs == 'x' || needs > 1", false),
        ] {
            is(text, json!(expected));
        }
        is("format('{0} {1} {2}', 1.0, 0.25, 1e3)", json!("1 0.25 1000"));
    }

    #[test]
    fn names_have_no_case_and_brackets_are_dots() {
        is("INPUTS.Tag", json!("Dev"));
        is("inputs['TAG']", json!("Dev"));
        is("needs['plan'].Outputs.affected", json!("true"));
        is("fromJSON('[\"a\", \"b\"]')[1]", json!("b"));
        is("fromJSON('[1]')[7]", Value::Null);
        is("GitHub.Event_Name", json!("push"));
    }

    #[test]
    fn an_expression_alone_keeps_its_type_and_in_a_text_becomes_one() {
        let scope = scope(Status::Success);
        assert_eq!(template("${{ inputs.no-cache }}", &scope), json!(true));
        assert_eq!(template("a ${{ inputs.no-cache }} ${{ inputs.gone }}b", &scope), json!("a true b"));
        assert_eq!(template("plain", &scope), json!("plain"));
        assert_eq!(template("${{ format('{0}}}', '}}') }} ${{ 'a' }}", &scope), json!("}}} a"));
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
            "lower('a')",
            "true || gone",
            "false && contains('a')",
            "'a' == 'é'",
            "0xffffffff",
            "0X1F",
            "'infinity' == 1",
            "format('}')",
            "format('{0:x}', 1)",
            "contains('a', 'b',)",
            "NaN",
            "case(true, 1, 2)",
            "toJSON(1e20)",
            "'a'.b",
            "always(1)",
            "inputs.*",
            "a &",
            "'a",
            "(true",
            "true true",
            "",
            "format('{1}', 'a')",
            "needs == needs",
            "inputs.tag == -a",
        ] {
            let result = std::panic::catch_unwind(|| evaluate(text, &scope(Status::Success)));
            assert!(result.is_err(), "{text} gave {result:?}");
        }
        assert!(std::panic::catch_unwind(|| condition("${{ true }} && false", &scope(Status::Success))).is_err());
        assert!(std::panic::catch_unwind(|| template("a ${{ needs }}", &scope(Status::Success))).is_err());
    }
}
