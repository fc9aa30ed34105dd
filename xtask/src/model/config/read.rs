//! Reads the text of services.toml: checks that apply to every table, then the
//! tables, then their rules.

use camino::Utf8Path;
use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::raw::RawFile;
use super::{FILE, LIMIT, Project, check, values};
use crate::model::diagnostic::{Diagnostic, LineIndex};

/// How many errors are reported at once.
const TOLD: usize = 20;

/// Parses and checks the text of a file; errors call it `file`.
pub fn project(file: &Utf8Path, text: &str) -> Result<Project, Diagnostic> {
    if text.len() as u64 > LIMIT {
        let what = format!("larger than {} MiB, which is the limit", LIMIT >> 20);
        return Err(Diagnostic::new(what).of(file.as_str()));
    }
    let at = LineIndex::new(file.as_str(), text);
    let broken = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        at.diagnostic(offset, error.message().trim())
    };
    let root = DeTable::parse(text).map_err(broken)?;
    let mut wrong = Vec::new();
    for (key, value) in root.get_ref().iter() {
        look(&mut wrong, String::new(), key, value);
    }
    if wrong.is_empty() {
        let raw = RawFile::deserialize(Deserializer::from(root)).map_err(broken)?;
        wrong = match check::project(&at, raw) {
            Ok(project) => return Ok(project),
            Err(wrong) => wrong,
        };
    }
    Err(told(&at, wrong))
}

/// The bytes of a file as text, or the advice to save it as UTF-8.
pub fn text(bytes: Vec<u8>) -> Result<String, Diagnostic> {
    let utf16 = bytes.starts_with(&[0xff, 0xfe])
        || bytes.starts_with(&[0xfe, 0xff])
        || bytes.iter().take(4).any(|byte| *byte == 0);
    if utf16 {
        return Err(Diagnostic::new("it is UTF-16, or not text")
            .of(FILE)
            .line(1)
            .help(format!("save it as UTF-8: `iconv --from-code UTF-16 --to-code UTF-8 {FILE}`")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let (before, byte) = (&error.as_bytes()[..good], error.as_bytes()[good]);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Diagnostic::new(format!("the byte 0x{byte:02X} is not UTF-8"))
            .of(FILE)
            .line(line)
            .help("save the file as UTF-8, the only encoding that TOML has")
    })
}

/// Checks every key and every text below a value for invisible characters, and
/// refuses arrays of tables, which no key accepts.
fn look(
    wrong: &mut check::Mistakes,
    parent: String,
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) {
    let name = key.get_ref();
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = if name.chars().all(is_bare) { name.to_string() } else { format!("{name:?}") };
    let path = if parent.is_empty() { name } else { format!("{parent}.{name}") };
    if let Err(why) = values::visible(key.get_ref()) {
        wrong.push((key.span().start, format!("the key `{path}`: {why}")));
    }
    texts(wrong, &path, value);
}

fn texts(wrong: &mut check::Mistakes, path: &str, value: &Spanned<DeValue<'_>>) {
    match value.get_ref() {
        DeValue::String(text) => {
            if let Err(why) = values::visible(text) {
                wrong.push((value.span().start, format!("`{path}`: {why}")));
            }
        }
        DeValue::Array(items) => {
            if let Some(table) = items.iter().find(|item| item.get_ref().is_table()) {
                let one = if path == "services" { "[services.NAME]".into() } else { format!("[{path}]") };
                let why = format!("`[[{path}]]` makes a list of tables; write `{one}`, with single brackets");
                wrong.push((table.span().start, why));
            }
            items.iter().for_each(|item| texts(wrong, path, item));
        }
        DeValue::Table(table) => table.iter().for_each(|(key, value)| look(wrong, path.to_owned(), key, value)),
        _ => {}
    }
}

/// Combines all errors into one, in the order of their lines.
fn told(at: &LineIndex<'_>, mut wrong: check::Mistakes) -> Diagnostic {
    wrong.sort();
    wrong.dedup();
    let mut lines: Vec<String> =
        wrong.iter().take(TOLD).map(|(offset, why)| at.diagnostic(*offset, why).to_string()).collect();
    if wrong.len() > TOLD {
        lines.push(format!("{}: and {} more", at.file, wrong.len() - TOLD));
    }
    lines.join("\n").into()
}
