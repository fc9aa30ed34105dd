//! What a registry has, and how patient we are with one.
//!
//! buildx asks, with the logins that the docker client knows. Where a digest is
//! all that is wanted, the engine is asked first: its answer takes milliseconds,
//! and needs no login where anybody may read. What it does not say, buildx says.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::exec::engine::Engine;
use crate::exec::interrupt;
use crate::fault;
use crate::model::registry_failure::RegistryFailure;
use crate::model::release::{Published, VERSION_LABEL, Version, seconds};
use crate::plan::publish;
use crate::plan::step::Step;

/// How long is waited before each further try of what may pass.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The digest that a registry has under a name; none: it has nothing there.
pub fn digest(engine: &Engine, reference: &str) -> anyhow::Result<Option<String>> {
    // Who has to log in is told that there is nothing: only what is there counts.
    let started = Instant::now();
    match engine.distributed(reference) {
        Ok(Some(digest)) => return Ok(Some(digest)),
        Err(error) if started.elapsed() >= publish::PATIENCE => {
            let late = io::Error::new(io::ErrorKind::TimedOut, format!("{error:#}"));
            return Err(explained(reference, late.into()));
        }
        _ => interrupt::check()?,
    }
    asked(engine, reference, &publish::digest_of(reference))
}

/// What a registry has under a name, as far as it says how old that is.
pub fn published(engine: &Engine, reference: &str) -> anyhow::Result<Option<Published>> {
    let Some(text) = asked(engine, reference, &publish::image_of(reference))? else { return Ok(None) };
    let inspected: Inspected = serde_json::from_str(&text)
        .map_err(|why| fault::failed(format!("buildx's answer about {reference} can't be read: {why}")))?;
    Ok(Some(inspected.published()))
}

/// Asks with patience; none where it has nothing of that name.
fn asked(engine: &Engine, reference: &str, step: &Step) -> anyhow::Result<Option<String>> {
    match patiently(engine, || engine.read(step)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if failure(&error) == RegistryFailure::Missing => Ok(None),
        Err(error) => Err(explained(reference, error)),
    }
}

/// Does something, and again after a while where the registry's answer may
/// pass: three times at most.
pub fn patiently<T>(engine: &Engine, act: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    for wait in WAITS {
        match act() {
            Err(error) if failure(&error).may_pass() => {
                let seconds = wait.as_secs();
                engine.ctx.say(format!("note: {}; trying again in {seconds} s", failure(&error)));
                let started = Instant::now();
                while started.elapsed() < wait {
                    interrupt::check()?;
                    thread::sleep(Duration::from_millis(20));
                }
            }
            result => return result,
        }
    }
    act()
}

/// What the error of a command says of the registry.
pub fn failure(error: &anyhow::Error) -> RegistryFailure {
    let is_late = error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut));
    if is_late { RegistryFailure::Late } else { RegistryFailure::of(fault::said(error)) }
}

/// The error with a way out.
pub fn explained(reference: &str, error: anyhow::Error) -> anyhow::Error {
    if fault::code(&error) != fault::Code::Failed {
        return error;
    }
    let failure = failure(&error);
    let host = reference.split_once('/').map_or("docker.io", |(host, _)| host);
    let said = fault::said(&error).lines().rev().find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    let what = if said.is_empty() { format!("{error:#}") } else { said };
    fault::failed(format!("{reference}: {failure}: {what}")).help(failure.help(host)).into()
}

/// What `imagetools inspect` says of one image, or of one for each platform.
#[derive(Deserialize)]
struct Inspected {
    manifest: Manifest,
    #[serde(default)]
    image: Images,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Images {
    One(Image),
    Several(BTreeMap<String, Image>),
    #[default]
    None,
}

#[derive(Deserialize)]
struct Image {
    /// Every image says this, and no platform is called so.
    architecture: String,
    created: Option<String>,
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

impl Inspected {
    fn published(self) -> Published {
        let images: Vec<Image> = match self.image {
            Images::One(image) => vec![image],
            Images::Several(images) => images.into_values().collect(),
            Images::None => Vec::new(),
        };
        // What attests an image is of no architecture that runs.
        let images = || images.iter().filter(|image| image.architecture != "unknown");
        let label = |image: &Image| image.config.as_ref()?.labels.as_ref()?.get(VERSION_LABEL).cloned();
        let annotated = self.manifest.annotations.as_ref().and_then(|all| all.get(VERSION_LABEL).cloned());
        let version = annotated.or_else(|| images().find_map(label));
        Published {
            digest: Some(self.manifest.digest),
            version: version.as_deref().and_then(Version::of),
            // The newest of its platforms.
            created: images().filter_map(|image| seconds(image.created.as_deref()?)).max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_how_old_it_is_by_labels_annotations_and_its_date() {
        let image = |date: &str, version: &str| {
            serde_json::json!({
                "created": date, "architecture": "amd64",
                "config": { "Labels": { "org.opencontainers.image.version": version } },
            })
        };
        let manifest = serde_json::json!({ "digest": "sha256:a" });
        let one = image("2000-02-29T12:00:00Z", "1.2.3");
        let other = image("2000-03-01T00:00:00.5Z", "main");
        let annotated = serde_json::json!({
            "digest": "sha256:a", "annotations": { "org.opencontainers.image.version": "v2.0.0" },
        });
        let unknown = serde_json::json!({ "architecture": "unknown", "created": "2001-01-01T00:00:00Z" });
        for (text, version, created) in [
            (serde_json::json!({ "manifest": manifest, "image": one }), Some("1.2.3"), Some(951_825_600)),
            (serde_json::json!({ "manifest": manifest, "image": other }), None, Some(951_868_800)),
            (
                serde_json::json!({ "manifest": manifest, "image": { "linux/amd64": one, "linux/arm64": other, "unknown/unknown": unknown } }),
                Some("1.2.3"),
                Some(951_868_800),
            ),
            (serde_json::json!({ "manifest": annotated, "image": one }), Some("2.0.0"), Some(951_825_600)),
            (serde_json::json!({ "manifest": manifest, "image": { "architecture": "amd64" } }), None, None),
            (serde_json::json!({ "manifest": manifest, "image": null }), None, None),
            (serde_json::json!({ "manifest": manifest }), None, None),
        ] {
            let found = serde_json::from_value::<Inspected>(text.clone()).unwrap().published();
            let expected =
                Published { digest: Some("sha256:a".into()), version: version.and_then(Version::of), created };
            assert_eq!(found, expected, "{text}");
        }
    }
}
