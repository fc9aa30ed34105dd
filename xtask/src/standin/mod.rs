//! Where base images come from on this machine, and the stand-ins that are
//! made where no registry answers.
//!
//! A build never probes the network for that: `cargo xtask setup` does, once,
//! and leaves a record. When all stand-ins are there, no process is started.

mod held;
mod host;
mod inputs;
mod make;
mod registry;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use camino::Utf8PathBuf;
use docker_context::dockerfile::BaseConfig;
use serde::{Deserialize, Serialize};

pub use self::held::{MAKER, STAND_IN, missing};
use self::held::{found, images};
pub use self::host::Loans;
pub use self::make::provide;
pub use self::registry::probe_registry;
use crate::ctx::Ctx;
use crate::engine::EngineFolder;
use crate::exec::clock;
use crate::exec::engine::{Engine, answers};
use crate::fault;
use crate::model::age::Age;
use crate::model::base::{self, Base, Bases, StandIn};
use crate::model::config::Project;

/// How long it holds what registries answered.
const TRUST: Age = Age(Duration::from_secs(24 * 3600));
/// The answer of the registries, as `setup` recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `local` or `upstream`.
    pub mode: Bases,
    /// When, in seconds since 1970. A record without this is an old one.
    #[serde(default)]
    pub asked: u64,
    /// The answer of the registry, or the error.
    pub why: String,
}

/// The record of the last `setup`, if there is one.
pub fn record(ctx: &Ctx) -> Option<Record> {
    // Not from a folder where somebody else could have written it.
    let folder = EngineFolder::of(ctx).ok()?;
    serde_json::from_str(&fs::read_to_string(record_file(&folder)).ok()?).ok()
}

impl Record {
    /// How long ago the registries were asked; `None`: unknown.
    pub fn age(&self) -> Option<Age> {
        Age::of(self.asked, clock::now().as_secs())
    }

    fn is_young(&self, now: u64) -> bool {
        Age::of(self.asked, now).is_some_and(|age| age < TRUST)
    }
}

/// The record, unless it is more than a day old: then `setup` asks again.
pub fn fresh(ctx: &Ctx) -> Option<Record> {
    record(ctx).filter(|record| record.is_young(clock::now().as_secs()))
}

/// Writes the record.
pub fn remember(ctx: &Ctx, mode: Bases, why: &str) -> anyhow::Result<Record> {
    let record = Record { mode, asked: clock::now().as_secs(), why: why.to_owned() };
    let folder = EngineFolder::of(ctx)?;
    drop(folder.lock(ctx, "bases")?);
    fs::write(record_file(&folder), serde_json::to_string_pretty(&record)? + "\n")?;
    Ok(record)
}

fn record_file(folder: &EngineFolder) -> Utf8PathBuf {
    folder.dir.join("bases.json")
}

/// `, 3h ago`.
fn ago(age: Option<Age>) -> String {
    age.map(|age| format!(", {age} ago")).unwrap_or_default()
}

/// Whether references are replaced by stand-ins, and why.
pub fn local(ctx: &Ctx, mode: Bases) -> Option<String> {
    match mode {
        Bases::Upstream => None,
        Bases::Local => Some("--bases local".to_owned()),
        Bases::Auto => record(ctx)
            .filter(|record| record.mode == Bases::Local)
            .map(|record| format!("no registry answered at setup{}", ago(record.age()))),
    }
}

/// The base images behind these references: upstream's images, or stand-ins, of
/// which the missing ones are built.
pub fn resolve(
    engine: &Engine,
    mode: Bases,
    references: &[String],
    needed: &[(String, Vec<String>)],
) -> anyhow::Result<Vec<Base>> {
    let ctx = &engine.ctx;
    let Some(why) = local(ctx, mode) else {
        // If the engine has another image under the name, the base is another
        // one.
        let images = images(engine, references).unwrap_or_else(|_| vec![None; references.len()]);
        let base = |(reference, image): (&String, Option<answers::Image>)| match image {
            Some(image) => {
                Base { id: Some(image.id.clone()), config: Some(config(&image)), ..Base::upstream(reference) }
            }
            None => Base::upstream(reference),
        };
        return Ok(references.iter().zip(images).map(base).collect());
    };
    let wanted = stand_ins_for(engine, references, needed)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = found(engine, &wanted)?;
    if found.contains(&None) && !ctx.dry_run {
        provide(engine, &wanted)?;
        found = held::found(engine, &wanted)?;
    }
    let names: Vec<_> = wanted
        .iter()
        .map(|it| match &it.note {
            Some(note) => format!("{} ({note})", it.reference),
            None => it.reference.clone(),
        })
        .collect();
    ctx.say(format!("note: stand-ins instead of upstream images: {} ({why})", names.join(", ")));
    let base = |(it, image): (StandIn, Option<answers::Image>)| Base {
        reference: it.reference,
        stand_in: Some(it.image),
        id: image.as_ref().map(|image| image.id.clone()),
        config: image.as_ref().map(config),
    };
    Ok(wanted.into_iter().zip(found).map(base).collect())
}

/// The references among these bases that are stand-ins, or images built on
/// stand-ins, which inherit the label. If the engine does not have an image, its
/// registry is asked.
pub fn stand_ins_under(engine: &Engine, bases: &[Base]) -> anyhow::Result<Vec<String>> {
    let mut under = Vec::new();
    for base in bases {
        let is_one = match (&base.stand_in, &base.id) {
            (Some(_), _) => true,
            (None, Some(id)) => engine.image(id)?.is_some_and(|image| image.config.labels.contains_key(STAND_IN)),
            (None, None) => registry::has_label(engine, &base.reference, STAND_IN),
        };
        if is_one {
            under.push(base.reference.clone());
        }
    }
    Ok(under)
}

/// The label of an image built on stand-ins, with their references. The inherited
/// label only tells about the last stage.
pub fn label(project: &Project, bases: &[Base]) -> Option<(String, String)> {
    let under: Vec<&str> =
        bases.iter().filter(|base| base.stand_in.is_some()).map(|base| base.reference.as_str()).collect();
    (!under.is_empty()).then(|| (project.label("stand-ins"), under.join(" ")))
}

/// The image of each of these servers of `[needs.*]`, by name.
pub fn images_for(
    engine: &Engine,
    project: &Project,
    names: &[String],
    mode: Bases,
) -> anyhow::Result<BTreeMap<String, String>> {
    let needs = names.iter().filter_map(|name| Some((name, project.needs.get(name)?)));
    let image = |image: &str| image_for(engine, mode, image);
    needs.map(|(name, need)| Ok((name.clone(), image(need.image.as_str())?))).collect()
}

/// The image to run for a reference: itself, or its stand-in.
pub fn image_for(engine: &Engine, mode: Bases, reference: &str) -> anyhow::Result<String> {
    let base = resolve(engine, mode, &[reference.to_owned()], &[])?.pop();
    Ok(base.and_then(|base| base.stand_in).unwrap_or_else(|| reference.to_owned()))
}

/// The same, for the platforms that each is needed for: what is not named is for
/// the engine's own.
pub fn stand_ins_for(
    engine: &Engine,
    references: &[String],
    needed: &[(String, Vec<String>)],
) -> anyhow::Result<Vec<StandIn>> {
    let wanted = stand_ins(references)?;
    let own = engine.version()?.platform();
    let of = |it: StandIn| {
        let platforms = needed.iter().find(|(reference, _)| *reference == it.reference).map(|(_, platforms)| platforms);
        it.for_platforms(platforms.map_or(&[], Vec::as_slice), &own)
    };
    let wanted = wanted.into_iter().map(of).collect::<Result<Vec<_>, _>>().map_err(|why| {
        fault::failed(why.to_string()).help("`--bases upstream`, with a registry or a mirror that this machine reaches")
    })?;
    if wanted.iter().any(|it| !it.foreign.is_empty()) && !engine.info()?.is_containerd_store() {
        return Err(fault::usage(
            "this engine's image store holds one platform per name, and a stand-in is needed for two",
        )
        .help("an engine with the containerd image store (docs/troubleshooting.md), or `--bases upstream`")
        .into());
    }
    Ok(wanted)
}

/// The stand-ins for all references, each once; or an error with all references
/// that have none.
pub fn stand_ins(references: &[String]) -> anyhow::Result<Vec<StandIn>> {
    let mut wanted: Vec<StandIn> = Vec::new();
    let mut wrong = Vec::new();
    for reference in references.iter().filter(|reference| *reference != "scratch") {
        match base::stand_in(reference) {
            Ok(it) if wanted.iter().all(|other| other.reference != it.reference) => wanted.push(it),
            Ok(_) => {}
            Err(why) => wrong.push(why.to_string()),
        }
    }
    if wrong.is_empty() {
        return Ok(wanted);
    }
    Err(fault::failed(wrong.join("\n"))
        .help("`--bases upstream` takes it from its registry; or name a base that there is a stand-in for")
        .into())
}

/// The configuration that a build inherits from it.
fn config(image: &answers::Image) -> BaseConfig {
    let pair = |text: &str| text.split_once('=').map_or((text.into(), String::new()), |(k, v)| (k.into(), v.into()));
    let env = image.config.env.iter().map(|text| pair(text)).collect();
    BaseConfig { env, onbuild: image.config.on_build.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_answered_holds_for_a_day() {
        let now = clock::now().as_secs();
        let record = |asked| Record { mode: Bases::Local, asked, why: String::new() };
        assert!(record(now).is_young(now) && record(now - 86_399).is_young(now));
        assert!(!record(now - 86_400).is_young(now) && !record(now + 1).is_young(now));
        assert_eq!(ago(record(now - 7300).age()), ", 2h ago");
        assert_eq!(ago(record(now + 1000).age()), "");
        let old: Record = serde_json::from_str(r#"{ "mode": "local", "when": "2026-11-23", "why": "" }"#).unwrap();
        assert!(old.mode == Bases::Local && !old.is_young(now));
    }
}
