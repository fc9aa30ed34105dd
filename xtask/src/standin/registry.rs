//! Whether container registries can be reached from here.

use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::exec::engine::Engine;
use crate::exec::interrupt;
use crate::fault;
use crate::model::reference::Image;
use crate::plan::step::Step;

/// How long a registry may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Whether the registries of these references answer; otherwise what happened
/// instead. Each registry is asked for one reference.
pub fn probe_registry(engine: &Engine, references: &[String]) -> io::Result<()> {
    let mut hosts: Vec<&str> = Vec::new();
    for reference in references.iter().filter(|it| *it != "scratch" && it.parse::<Image>().is_ok()) {
        let host = reference.split_once('/').map(|(host, _)| host);
        let host = host.filter(|host| host.contains(['.', ':']) || *host == "localhost").unwrap_or("docker.io");
        if hosts.contains(&host) {
            continue;
        }
        hosts.push(host);
        inspect(engine, reference).map_err(|why| io::Error::other(format!("{host}: {why}")))?;
    }
    Ok(())
}

/// Whether an image in a registry has a label, for any platform. If the registry
/// does not answer, a build can't get the image either.
pub fn has_label(engine: &Engine, reference: &str, label: &str) -> bool {
    if reference == "scratch" || reference.parse::<Image>().is_err() {
        return false;
    }
    let words = ["buildx", "imagetools", "inspect", "--format", "{{json .Image}}", reference];
    let answer = engine.bytes(&Step::new("docker").args(words).within(PATIENCE)).unwrap_or_default();
    serde_json::from_slice(&answer).is_ok_and(|image| labels(&image, label))
}

/// One image, or one per platform.
fn labels(image: &Value, label: &str) -> bool {
    let has = |image: &Value| image["config"]["Labels"].get(label).is_some();
    has(image) || image.as_object().is_some_and(|platforms| platforms.values().any(has))
}

fn inspect(engine: &Engine, reference: &str) -> io::Result<()> {
    let step = Step::new("docker").args(["buildx", "imagetools", "inspect", "--raw", reference]).within(PATIENCE);
    let Err(error) = engine.bytes(&step) else { return Ok(()) };
    let said = fault::said(&error);
    Err(io::Error::other(match said.lines().last() {
        _ if answered(said) => return Ok(()),
        Some(last) => last.trim_start_matches("ERROR: ").chars().take(200).collect(),
        None if interrupt::raised() || is_late(&error) => format!("no answer within {} s", PATIENCE.as_secs()),
        None => format!("{error:#}"),
    }))
}

fn is_late(error: &anyhow::Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// A registry that refuses an image can be reached all the same.
fn answered(said: &str) -> bool {
    let lower = said.to_lowercase();
    let words =
        ["manifest unknown", ": not found", "unauthorized", "insufficient_scope", "toomanyrequests", "429 too many"];
    words.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_in_one_image_and_in_one_of_several() {
        let image = |label: &str| serde_json::json!({ "config": { "Labels": { label: "x" } }, "os": "linux" });
        for (answer, expected) in [
            (image("a"), true),
            (image("b"), false),
            (serde_json::json!({ "linux/amd64": image("b"), "linux/arm64": image("a") }), true),
            (serde_json::json!({ "linux/amd64": image("b") }), false),
            (serde_json::json!({ "config": {} }), false),
            (Value::Null, false),
        ] {
            assert_eq!(labels(&answer, "a"), expected, "{answer}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer_and_silence_is_none() {
        assert!(answered("ERROR: docker.io/library/x:y: not found"));
        assert!(answered("pull access denied, insufficient_scope: authorization failed"));
        assert!(!answered("dial tcp: lookup registry.example: no such host"));
        assert!(!answered("failed to do request: Head \"https://r.example/v2/\": EOF"));
    }
}
