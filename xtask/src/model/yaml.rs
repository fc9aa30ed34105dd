//! YAML as a tree in which every node knows its line.
//!
//! Keys stay text as written, so `on` is not a boolean. Duplicate keys are
//! refused, as GitHub refuses them. Nesting and aliases are limited, because this
//! reads any file in a checkout, even a hostile one.

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser, ScalarStyle};

use crate::model::diagnostic::Diagnostic;

/// Limits for the depth, the number of nodes, and the length of the text and of
/// all scalars. Each alias counts as much as the node it names. Real workflows
/// are far smaller.
const DEPTH: usize = 100;
const NODES: usize = 50_000;
const BYTES: usize = 1 << 20;

/// A node with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlNode {
    /// The line it starts on, from 1; for a block scalar, its first line of text.
    pub line: usize,
    /// The line that it ends on.
    pub end: usize,
    /// Its value.
    pub value: YamlValue,
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum YamlValue {
    /// A scalar, as text.
    Text(String),
    /// A sequence.
    List(Vec<YamlNode>),
    /// A mapping, in order.
    Map(Vec<(YamlNode, YamlNode)>),
}

impl YamlNode {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            YamlValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The nodes of a sequence; empty for any other value.
    pub fn list(&self) -> &[YamlNode] {
        match &self.value {
            YamlValue::List(nodes) => nodes,
            _ => &[],
        }
    }

    /// The pairs of a mapping; empty for any other value.
    pub fn map(&self) -> &[(YamlNode, YamlNode)] {
        match &self.value {
            YamlValue::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The value of a key in a mapping.
    pub fn get(&self, key: &str) -> Option<&YamlNode> {
        self.map().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    fn size(&self) -> Size {
        let (nodes, bytes) = match &self.value {
            YamlValue::Text(text) => (0, text.len()),
            YamlValue::List(nodes) => sum(nodes.iter()),
            YamlValue::Map(pairs) => sum(pairs.iter().flat_map(|(key, value)| [key, value])),
        };
        (1 + nodes, bytes)
    }
}

/// The number of nodes and the bytes of scalars.
type Size = (usize, usize);

fn sum<'a>(nodes: impl Iterator<Item = &'a YamlNode>) -> Size {
    nodes.map(YamlNode::size).fold((0, 0), |(nodes, bytes), (n, b)| (nodes + n, bytes + b))
}

const TOO_MUCH: &str = "too much for a workflow: more than 50,000 nodes or 1 MiB, with aliases expanded";

/// A collection that is not complete yet.
struct Open {
    node: YamlNode,
    anchor: usize,
    key: Option<YamlNode>,
    /// The keys so far.
    seen: BTreeSet<String>,
}

/// Parses the first document; `None` if there is none. An error has a line, but
/// no file.
pub fn parse(text: &str) -> Result<Option<YamlNode>, Diagnostic> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: BTreeMap<usize, YamlNode> = BTreeMap::new();
    // A node that is kept for aliases is copied, so it counts as well.
    let mut left = (NODES, BYTES);
    let mut take = |(nodes, bytes): Size| {
        left = (left.0.checked_sub(nodes)?, left.1.checked_sub(bytes)?);
        Some(())
    };
    if text.len() > BYTES {
        return Err(Diagnostic::new("larger than 1 MiB, the limit for a workflow").line(1));
    }
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Diagnostic::new(error.info()).line(error.marker().line().max(1)))?;
        let (mut line, mut end) = (span.start.line().max(1), span.end.line().max(1));
        if let Event::Scalar(text, ScalarStyle::Literal | ScalarStyle::Folded, ..) = &event {
            // The parser reports that a block starts after its blank lines and
            // ends where the next token starts.
            // where the next thing begins.
            line = line.saturating_sub(text.chars().take_while(|c| *c == '\n').count()).max(1);
            end = end.saturating_sub(1).max(line);
        }
        let wrong = |message: &str| Err(Diagnostic::new(message).line(line));
        let node = |value| YamlNode { line, end, value };
        let (done, anchor) = match event {
            Event::MappingStart(_, anchor, _) | Event::SequenceStart(_, anchor, _) => {
                if open.len() == DEPTH {
                    return wrong("nested too deeply");
                }
                if take((1, 0)).is_none() {
                    return wrong(TOO_MUCH);
                }
                let is_map = matches!(event, Event::MappingStart(..));
                let value = if is_map { YamlValue::Map(Vec::new()) } else { YamlValue::List(Vec::new()) };
                open.push(Open { node: node(value), anchor, key: None, seen: BTreeSet::new() });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open { node, anchor, .. }) => (YamlNode { end, ..node }, anchor),
                None => continue,
            },
            Event::Scalar(text, _, anchor, _) => {
                if take((1, text.len())).is_none() {
                    return wrong(TOO_MUCH);
                }
                (node(YamlValue::Text(text.into_owned())), anchor)
            }
            Event::Alias(anchor) => match anchors.get(&anchor) {
                Some(known) => {
                    if take(known.size()).is_none() {
                        return wrong(TOO_MUCH);
                    }
                    (YamlNode { line, end, ..known.clone() }, 0)
                }
                None => return wrong("an alias that contains itself"),
            },
            _ => continue,
        };
        if anchor > 0 {
            if take(done.size()).is_none() {
                return wrong(TOO_MUCH);
            }
            anchors.insert(anchor, done.clone());
        }
        let Some(parent) = open.last_mut() else { return Ok(Some(done)) };
        match (&mut parent.node.value, parent.key.take()) {
            (YamlValue::List(list), _) => list.push(done),
            (YamlValue::Map(pairs), Some(key)) => pairs.push((key, done)),
            (YamlValue::Map(_), None) => {
                if done.text().is_some_and(|text| !parent.seen.insert(text.to_owned())) {
                    return wrong(&format!("the key `{}` appears twice", done.text().unwrap_or_default()));
                }
                parent.key = Some(done);
            }
            (YamlValue::Text(_), _) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> YamlNode {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn every_node_knows_its_line() {
        let root = read(
            "# first\non:\n  push:\n    paths: [a, 'b']\njobs:\n  one:\n    run: |\n      x\n      y\n    env: {}\n",
        );
        let push = root.get("on").and_then(|on| on.get("push")).unwrap();
        assert_eq!(
            push.get("paths").unwrap().list()[1],
            YamlNode { line: 4, end: 4, value: YamlValue::Text("b".into()) }
        );
        let job = root.get("jobs").and_then(|jobs| jobs.get("one")).unwrap();
        let run = job.get("run").unwrap();
        assert_eq!((run.text(), run.line, run.end), (Some("x\ny\n"), 8, 9));
        assert_eq!(job.get("env").unwrap().line, 10);
    }

    #[test]
    fn a_block_starts_with_its_text_blank_lines_included() {
        let root = read("a: |\n\n  x\n\nb: >-\n  y\n  z\nc:\n  |\n  w\n");
        let place = |key: &str| root.get(key).map(|node| (node.line, node.end));
        assert_eq!(place("a"), Some((2, 4)));
        assert_eq!(place("b"), Some((6, 7)));
        assert_eq!(place("c"), Some((10, 10)));
    }

    #[test]
    fn an_alias_is_what_it_names_on_the_line_where_it_stands() {
        let root = read("a: &x [1]\nb: *x\n");
        let node = root.get("b").unwrap();
        assert_eq!((node.line, node.list().len()), (2, 1));
    }

    #[test]
    fn what_does_not_parse_names_its_line() {
        for (text, line) in [
            ("a: [1\nb: 2\n", 2),
            ("a: 1\n  b: 2\n", 2),
            ("a:\n\t- b\n", 2),
            ("a: 1\nb: 2\na: 3\n", 3),
            ("a: *x\n", 1),
            ("a: 1\nb: \"c\n", 2),
        ] {
            assert_eq!(parse(text).unwrap_err().line, Some(line), "{text}: {:?}", parse(text));
        }
        assert_eq!(parse("# nothing\n"), Ok(None));
    }

    #[test]
    fn what_only_an_attacker_writes_is_refused_in_time() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        let bomb = (1..30).fold("a0: &a0 [1,1]\n".to_owned(), |text, at| {
            let below = at - 1;
            format!("{text}a{at}: &a{at} [*a{below},*a{below}]\n")
        });
        assert_eq!(parse(&bomb).unwrap_err().message, TOO_MUCH);
        // Long texts instead of many nodes, and anchors inside anchors.
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(1000));
        assert_eq!(parse(&long).unwrap_err().message, TOO_MUCH);
        let nested = format!("{}{}", (0..90).map(|at| format!("&a{at} [")).collect::<String>(), "x,".repeat(40_000));
        assert_eq!(parse(&format!("{nested}{}", "]".repeat(90))).unwrap_err().message, TOO_MUCH);
        let keys: String = (0..24_000).map(|at| format!("k{at}: x\n")).collect();
        assert_eq!(read(&keys).map().len(), 24_000);
        assert!(parse(&format!("{keys}k7: y\n")).unwrap_err().message.contains("twice"));
        assert!(parse(&"# a\n".repeat(1 << 20)).unwrap_err().message.starts_with("larger than 1 MiB"));
        // Exactly so much is not too much; an alias counts as what it names.
        let comment = |bytes: usize| format!("a\n#{}", "x".repeat(bytes - 3));
        assert!(parse(&comment(BYTES)).is_ok());
        assert!(parse(&comment(BYTES + 1)).is_err());
        let nodes = |more: usize| {
            let (list, aliases) = (["x"; 99].join(","), ["*a"; 497].join(","));
            format!("a: &a [{list}]\nb: [{aliases}{}]\n", ",y".repeat(more))
        };
        assert!(parse(&nodes(96)).is_ok());
        assert_eq!(parse(&nodes(97)).unwrap_err().message, TOO_MUCH);
        let bytes = |aliases: usize| format!("a: &a [{}]\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(aliases));
        assert!(parse(&bytes(8)).is_ok());
        assert_eq!(parse(&bytes(9)).unwrap_err().message, TOO_MUCH);
    }

    #[test]
    fn no_text_panics() {
        crate::model::cases::cases(1000, |u| {
            let words: Vec<u8> = u.arbitrary()?;
            let parts =
                ["a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&x ", "*x", "|\n", "'", "\"", "#", "\t", "!t ", "ü"];
            let text: String = words.iter().map(|byte| parts[usize::from(*byte) % parts.len()]).collect();
            let _ = parse(&text);
            Ok(())
        });
    }
}
