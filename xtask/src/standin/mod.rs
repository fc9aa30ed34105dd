//! Where base images come from on this machine, and the stand-ins that are
//! made where no registry answers.
//!
//! A build never probes the network for that: `cargo xtask setup` does, once,
//! and leaves a record. When all stand-ins are there, no process is started.

mod host;
mod inputs;
mod registry;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use docker_context::dockerfile::BaseConfig;
use serde::{Deserialize, Serialize};

use self::host::Host;
pub use self::host::Loans;
pub use self::registry::probe_registry;
use crate::ctx::Ctx;
use crate::engine::{EngineFolder, network, packages};
use crate::exec::engine::{Engine, answers};
use crate::exec::{checkout, clock, files, program, run};
use crate::fault;
use crate::model::age::Age;
use crate::model::base::{self, Base, Bases, StandIn};
use crate::model::build_failure::BuildFailure;
use crate::model::config::Project;
use crate::model::reference::Image;
use crate::model::text;
use crate::plan::build::{PartialOutputs, Request, buildx};
use crate::plan::step::Step;

/// The release that stand-ins are made of.
const RELEASE: &str = "bookworm";
/// Security updates make an older root file system a bad start.
const ROOT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long it holds what registries answered.
const TRUST: Age = Age(Duration::from_secs(24 * 3600));
/// The label that says what a stand-in is taken for.
pub const STAND_IN: &str = "xtask.stand-in";
/// The label that holds the recipe's hash: another recipe, another image.
const RECIPE: &str = "xtask.recipe";
/// The label of the checkout that had it made: `docker clean --all` takes its
/// own, and no other project's.
pub const MAKER: &str = "xtask.checkout";

/// What helps where a stand-in can't be made.
const HINT: &str =
    "the network must reach Debian's mirror, PyPI and npm, the way that this machine's apt, pip and npm do";

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
pub fn resolve(engine: &Engine, mode: Bases, references: &[String]) -> anyhow::Result<Vec<Base>> {
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
    let wanted = stand_ins(references)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = found(engine, &wanted)?;
    if found.contains(&None) && !ctx.dry_run {
        provide(engine, &wanted)?;
        found = self::found(engine, &wanted)?;
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
    let base = resolve(engine, mode, &[reference.to_owned()])?.pop();
    Ok(base.and_then(|base| base.stand_in).unwrap_or_else(|| reference.to_owned()))
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

/// The stand-ins that the engine lacks, or has from another recipe.
pub fn missing(engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<Vec<StandIn>> {
    let found = found(engine, wanted)?;
    Ok(wanted.iter().zip(found).filter(|(_, image)| image.is_none()).map(|(it, _)| it.clone()).collect())
}

/// The stand-ins that the engine has, from the current recipe.
fn found(engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<Vec<Option<answers::Image>>> {
    let recipe = inputs::recipe();
    let found = images(engine, &wanted.iter().map(|it| it.image.clone()).collect::<Vec<_>>())?;
    let is_right = |image: &answers::Image| image.config.labels.get(RECIPE) == Some(&recipe);
    Ok(found.into_iter().map(|image| image.filter(is_right)).collect())
}

/// The engine's images with these names. They are requested in parallel, because
/// this precedes every build.
fn images(engine: &Engine, names: &[String]) -> anyhow::Result<Vec<Option<answers::Image>>> {
    thread::scope(|scope| {
        // BuildKit will refuse an invalid reference and name its line.
        let ask = |name: &String| if name.parse::<Image>().is_ok() { engine.image(name) } else { Ok(None) };
        let asked: Vec<_> = names.iter().map(|name| scope.spawn(move || ask(name))).collect();
        asked.into_iter().map(|it| it.join().unwrap_or(Ok(None))).collect()
    })
}

/// The configuration that a build inherits from it.
fn config(image: &answers::Image) -> BaseConfig {
    let pair = |text: &str| text.split_once('=').map_or((text.into(), String::new()), |(k, v)| (k.into(), v.into()));
    let env = image.config.env.iter().map(|text| pair(text)).collect();
    BaseConfig { env, onbuild: image.config.on_build.clone() }
}

/// Builds the missing stand-ins, and returns how many there were.
pub fn provide(engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<usize> {
    if missing(engine, wanted)?.is_empty() {
        return Ok(0);
    }
    let ctx = &engine.ctx;
    let folder = EngineFolder::of(ctx)?;
    let _lock = folder.lock(ctx, "bases")?;
    // Another run may have built them while we waited for the lock.
    let missing = missing(engine, wanted)?;
    if missing.is_empty() {
        return Ok(0);
    }
    let platform = engine.version()?.platform();
    if platform != "linux/amd64" {
        return Err(fault::failed(format!("stand-ins are made for linux/amd64 only, and this engine is {platform}"))
            .help("`--bases upstream`, with a registry or a mirror that this machine reaches")
            .into());
    }
    let context = folder.dir.join("bases/context");
    root(ctx, &folder, &context)?;
    let host = Host::read(ctx, &folder);
    for note in &host.notes {
        ctx.say(note);
    }
    let secrets = host.secrets(&folder)?;
    inputs::write(&context, &host.mounts())?;
    let maker = checkout::identity(&ctx.root);
    let host_network = engine.private && network::remembered(&folder).is_some_and(|it| it.iptables.is_none());
    // All of them are built from one copy of the root file system.
    let link = files::Temporary::link(&format!("context-{:016x}", files::random()), &context)?;
    for it in &missing {
        let since = Instant::now();
        let request = request(it, &context, &secrets, &maker, host_network)?;
        let own = PartialOutputs { context: Some(link.path().to_owned()), ..PartialOutputs::default() };
        let step = buildx(&request).run_as(buildx(&Request { partial: own, ..request }));
        engine
            .run(&step.hint(HINT))
            .map_err(|error| explained(error, &format!("could not make the stand-in for {}", it.reference)))?;
        ctx.say(format!("made {} in {:.0} s", it.image, since.elapsed().as_secs_f64()));
    }
    Ok(missing.len())
}

/// The error with advice. A missing network is only the most likely cause.
fn explained(error: anyhow::Error, what: &str) -> anyhow::Error {
    match BuildFailure::of(fault::said(&error)) {
        Some(complaint) if fault::code(&error) == fault::Code::Failed => {
            let said = fault::said(&error).to_owned();
            fault::failed(format!("{what}: {error}")).said(&said).help(complaint.help()).into()
        }
        _ => error.context(what.to_owned()),
    }
}

fn request(
    it: &StandIn,
    context: &Utf8Path,
    secrets: &[String],
    maker: &str,
    host_network: bool,
) -> anyhow::Result<Request> {
    let recipe = inputs::recipe();
    let labels = [(STAND_IN, it.reference.as_str()), (RECIPE, recipe.as_str()), (MAKER, maker)];
    Ok(Request {
        target: Some(it.kind.target().to_owned()),
        tags: vec![it.image.parse().map_err(fault::failed)?],
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        secrets: secrets.to_vec(),
        build_args: (!it.version.is_empty()).then(|| version(it)).into_iter().collect(),
        host_network,
        ..Request::new(context.join("Dockerfile"), context)
    })
}

/// An incomplete version asks for the newest one that begins like this.
fn version(it: &StandIn) -> String {
    let whole = it.version.split('.').count() >= 3;
    match it.kind {
        base::StandInKind::Uv | base::StandInKind::UvPython if !whole => format!("VERSION={}.*", it.version),
        _ => format!("VERSION={}", it.version),
    }
}

/// The root file system, as a file in the build context.
fn root(ctx: &Ctx, folder: &EngineFolder, context: &Utf8Path) -> anyhow::Result<()> {
    let tar = context.join("root.tar");
    let found = tar.metadata().ok().filter(|found| found.is_file());
    let age = found.and_then(|found| found.modified().ok()?.elapsed().ok());
    if age.is_some_and(|age| age < ROOT_AGE) {
        return Ok(());
    }
    packages::release()?;
    if program::find_tool(ctx, "mmdebstrap").is_none() && !folder.bin().join("mmdebstrap").exists() {
        packages::fetch(ctx, folder, &["mmdebstrap"], false, "tools")?;
    }
    let sources = packages::lines(ctx, folder, RELEASE)?;
    fs::create_dir_all(context)?;
    let list = context.with_file_name("sources.list");
    // The URL of a mirror may contain a password.
    files::write(&list, sources.join("\n") + "\n")?;
    let new = context.with_file_name("root-new.tar");
    let path = ctx.env.get("PATH").unwrap_or_default();
    let path = format!("{path}:{}:{}/tools/usr/bin:/usr/sbin:/sbin", folder.bin(), folder.dir);
    let mut options = vec!["--dpkgopt=force-unsafe-io".to_owned()];
    // The host's settings for reaching the archive also apply here.
    options.extend(host::acquire(ctx).into_iter().map(|line| format!("--aptopt={line}")));
    for kind in ["man", "doc", "locale", "info", "lintian"] {
        options.push(format!("--dpkgopt=path-exclude=/usr/share/{kind}/*"));
    }
    options.push("--dpkgopt=path-include=/usr/share/doc/*/copyright".to_owned());
    options.push(format!("--customize-hook={}", inputs::HOOK));
    let step = Step::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--format=tar", "--variant=minbase", "--include=ca-certificates"])
        .args(options)
        .args([RELEASE, new.as_str(), list.as_str()])
        .env("PATH", path);
    ctx.say("A Debian root file system for the stand-ins (half a minute)");
    ctx.show(&step);
    if let Err(error) = run::stream(ctx, &step, |line| ctx.line(&text::anonymous(line))) {
        packages::remove(&new)?;
        return Err(explained(error, "could not make a Debian root file system"));
    }
    packages::remove(&tar)?;
    fs::rename(&new, &tar).with_context(|| format!("could not write {tar}"))
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

    #[test]
    fn a_build_is_one_line_that_says_what_it_makes() {
        let it = base::stand_in("ghcr.io/astral-sh/uv:0.13").unwrap();
        let request = request(&it, "/c".into(), &["id=a,src=/a".into()], "zz", true).unwrap();
        let line = buildx(&request).to_string();
        expect_test::expect!["BUILDX_GIT_INFO=false docker buildx build --provenance=false --file /c/Dockerfile --target uv --tag 127.0.0.1:1/stand-in/uv:0.13 --label xtask.stand-in=ghcr.io/astral-sh/uv:0.13 --label xtask.recipe=ff --label xtask.checkout=zz --load --build-arg 'VERSION=0.13.*' --secret id=a,src=/a --network=host /c"]
            .assert_eq(&line.replace(&inputs::recipe(), "ff"));
    }
}
