//! The rehearsal's expressions, held against GitHub's own package: random ones,
//! from everything that the grammar has, in a stage of the Dockerfile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use xtask::model::base::Bases;
use xtask::model::config::Project;

use crate::common::{self, Dice, engine};
use crate::expression::{Refusal, Scope, try_evaluate};

const COUNT: usize = 10_000;
const STAGE: &str = "workflows-expressions";

fn contexts() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("env", json!({ "EMPTY": "", "Name": "a Value", "hex": "0x1F", "n": " 12 " })),
        ("inputs", json!({ "flag": true, "no-cache": false, "part": "", "tag": "Dev", "times": 3 })),
        (
            "matrix",
            json!({ "half": 0.5, "list": ["a", "B", 1, true, null], "map": { "a": { "b": "c" } }, "none": [], "void": {} }),
        ),
        ("needs", json!({ "plan": { "outputs": { "affected": "true" }, "result": "success" } })),
    ])
}

struct Writer {
    dice: Dice,
    text: String,
}

impl Writer {
    fn pick(&mut self, of: &[&str]) {
        let one = self.dice.pick(of);
        self.text += one;
    }

    fn blank(&mut self) {
        if self.dice.once_in(8) {
            self.pick(&[" ", "  ", "\t", "\n"]);
        }
    }

    fn expression(&mut self, depth: usize) {
        self.blank();
        match self.dice.below(if depth == 0 { 8 } else { 20 }) {
            0..=2 => self.literal(),
            3..=7 => self.context(depth),
            8..=10 => {
                self.expression(depth - 1);
                self.blank();
                self.pick(&["==", "!=", ">", ">=", "<", "<=", "&&", "||", "&&", "||"]);
                self.expression(depth - 1);
            }
            11 => {
                self.text.push('!');
                self.expression(depth - 1);
            }
            12 | 13 => {
                self.text.push('(');
                self.expression(depth - 1);
                self.text.push(')');
                if self.dice.once_in(4) {
                    self.pick(&[".a", "['result']", "[0]"]);
                }
            }
            _ => self.call(depth - 1),
        }
        self.blank();
        if self.dice.once_in(150) {
            // What is wrong must be refused by both.
            self.pick(&[")", "'", "&", "= ", "..", "[", "!", ",", "$", "a b", "\"", "?", "-", "é", "1 2"]);
        }
    }

    fn literal(&mut self) {
        match self.dice.below(9) {
            0 => self.pick(&["true", "false", "null", "True", "NULL"]),
            1..=3 => self.pick(&[
                "0",
                "1",
                "-1",
                "+2",
                "007",
                "1.5",
                ".5",
                "5.",
                "-.25",
                "1e3",
                "1E-3",
                "1e999",
                "0x1f",
                "0xFF",
                "0X1F",
                "0o17",
                "0o8",
                "0b11",
                "0xfffffffff",
                "12.50",
                "1e15",
                "0.00001",
                "0.1",
                "123456789012345",
                "-0",
                "NaN",
                "Infinity",
                "-Infinity",
                "3.",
                "1_0",
                "0x",
                "1.2.3",
                "999999999999999999999",
            ]),
            _ => {
                self.text.push('\'');
                let (length, mut has_quote) = (self.dice.below(4), false);
                for _ in 0..length {
                    // GitHub's package takes the second quote of a text for two.
                    if !has_quote && self.dice.once_in(12) {
                        has_quote = true;
                        self.text += "''";
                    } else {
                        self.pick(&[
                            "a", "B", "dev", "1", "12", " ", "0x1f", "0o17", "1e3", ".5", "-", "{", "}", "{0}", "{{",
                            "}}", "true", "success", "_", "[", "é", "ı", "Infinity", "NaN", "\t", "{1}", "value",
                        ]);
                    }
                }
                self.text.push('\'');
            }
        }
    }

    fn context(&mut self, depth: usize) {
        self.pick(&["inputs", "matrix", "needs", "env", "INPUTS", "Needs", "eNv", "matrix", "inputs", "gone"]);
        let steps = self.dice.below(4);
        for _ in 0..steps {
            match self.dice.below(10) {
                0 => self.pick(&["[0]", "[1]", "[9]", "['1']", "[-1]", "[1.9]", "[true]", "[null]", "['A']", "[' 1']"]),
                1 if depth > 0 => {
                    self.text.push('[');
                    self.expression(depth - 1);
                    self.text.push(']');
                }
                2 => self.pick(&["['TAG']", "['Plan']", "['no-cache']", "['']", ".*", "[*]", ".true", "['0x1f']"]),
                _ => {
                    self.text.push('.');
                    self.pick(&[
                        "flag", "no-cache", "part", "tag", "TAG", "times", "plan", "PLAN", "outputs", "affected",
                        "result", "Result", "list", "map", "a", "b", "none", "void", "half", "n", "hex", "name",
                        "empty", "gone", "_x",
                    ]);
                }
            }
        }
    }

    fn call(&mut self, depth: usize) {
        let (name, least, most) = [
            ("contains", 2, 2),
            ("Contains", 2, 2),
            ("startsWith", 2, 2),
            ("endsWith", 2, 2),
            ("format", 1, 4),
            ("FORMAT", 1, 4),
            ("join", 1, 2),
            ("toJSON", 1, 1),
            ("fromJSON", 1, 1),
            ("case", 3, 5),
        ][self.dice.below(10)];
        self.text += name;
        self.blank();
        self.text.push('(');
        let mut count = least + self.dice.below(most - least + 1);
        if self.dice.once_in(40) {
            count = self.dice.below(6);
        }
        for at in 0..count {
            if at > 0 {
                self.text.push(',');
            }
            let is_first = at == 0 && !self.dice.once_in(4);
            match name.to_ascii_lowercase().as_str() {
                "format" if is_first => self.format(),
                "fromjson" if is_first => self.pick(&[
                    "'[1,2,\"x\"]'",
                    "'{\"a\":1,\"b\":[]}'",
                    "'true'",
                    "'null'",
                    "'1.50'",
                    "'\"text\"'",
                    "' [ ] '",
                    "'{}'",
                    "'[0.1,1e2]'",
                    "'tru'",
                    "''",
                    "'{\"a\":1,\"A\":2}'",
                    "'-7'",
                    "toJSON(inputs)",
                    "toJSON(matrix.list)",
                    "'[\"a\\u0041\"]'",
                    "'01'",
                    "'[1,]'",
                    "'1e400'",
                ]),
                _ => self.expression(depth),
            }
        }
        if self.dice.once_in(60) {
            self.text.push(',');
        }
        self.text.push(')');
        if self.dice.once_in(8) {
            self.pick(&[".a", "[0]", "['b']", "[1]"]);
        }
    }

    fn format(&mut self) {
        self.text.push('\'');
        let pieces = self.dice.below(5);
        for _ in 0..pieces {
            self.pick(&[
                "{0}", "{1}", "{2}", "{{", "}}", "a", " ", "{", "}", "{0", "{00}", "{ 0}", "{0:x}", "{-1}", "é", "{}",
                "{a}",
            ]);
        }
        self.text.push('\'');
    }
}

/// What GitHub's package says of each.
fn ask(expressions: &[String]) -> Vec<Value> {
    let toml = std::fs::read_to_string(common::root().join("services.toml")).unwrap();
    let project = Project::parse("services.toml".into(), &toml).unwrap();
    let mut engine = engine();
    engine.ctx.root = camino::Utf8PathBuf::from_path_buf(common::root()).unwrap();
    let linter = xtask::cmd::lint::linter(&project, STAGE).unwrap();
    let tag = "local".parse().unwrap();
    let image = xtask::cmd::image::ensure(&engine, &project, &linter, Some(STAGE), &tag, None, Bases::Auto).unwrap();
    let label = format!("{}={STAGE}", project.label("service"));
    let mut node = Command::new("docker")
        .args(["run", "--rm", "--interactive", "--network", "none", "--label", &label, &image.id])
        .envs(engine.ctx.exports.clone())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = format!("{}\n", json!(contexts()));
    expressions.iter().for_each(|one| writeln!(lines, "{}", json!(one)).unwrap());
    let mut stdin = node.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Numbers by their values: 1 and 1.0 are one.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_an_expression_gives_here_it_gives_at_github() {
    let given = std::env::var("XTASK_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
    println!("XTASK_FUZZ_SEED={seed}");
    let mut writer = Writer { dice: Dice::new(seed), text: String::new() };
    let expressions: Vec<String> = (0..COUNT)
        .map(|_| {
            let depth = writer.dice.below(4);
            writer.expression(depth);
            std::mem::take(&mut writer.text)
        })
        .collect();
    let answers = ask(&expressions);
    assert_eq!(answers.len(), COUNT);

    let scope = Scope { contexts: contexts(), ..Scope::default() };
    let (mut wrong, mut values, mut errors, mut unmodelled) = (Vec::new(), 0, 0, 0);
    for (text, theirs) in expressions.iter().zip(&answers) {
        let ours = try_evaluate(text, &scope);
        let is_same = match (&ours, theirs.get("value")) {
            (Err(Refusal::Unmodelled(_)), _) => {
                unmodelled += 1;
                true
            }
            (Ok(ours), Some(theirs)) => {
                values += 1;
                same(ours, theirs)
            }
            (Err(Refusal::Wrong(_)), None) => {
                errors += 1;
                true
            }
            _ => false,
        };
        if !is_same {
            wrong.push(format!("{text:?}: {ours:?}, GitHub's: {theirs}"));
        }
    }
    println!("{COUNT} expressions: {values} values, {errors} errors, {unmodelled} not modelled");
    assert!(wrong.is_empty(), "{} of {COUNT}:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert!(values > COUNT / 2 && unmodelled < COUNT / 4, "too few that tell something");
}
