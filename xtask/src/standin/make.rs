//! How stand-ins are made: a Debian root file system, and one build per kind on it;
//! for another platform one more, of what is there for this one.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use camino::Utf8Path;

use super::held::{self, MAKER, PLATFORMS, RECIPE, STAND_IN};
use super::host::{self, Host};
use super::inputs;
use crate::ctx::Ctx;
use crate::engine::{EngineFolder, network, packages};
use crate::exec::engine::Engine;
use crate::exec::{checkout, files, program, run};
use crate::fault;
use crate::model::base::{self, Base, StandIn};
use crate::model::build_failure::BuildFailure;
use crate::model::platform::Platform;
use crate::model::text;
use crate::plan::build::{PartialOutputs, Request, buildx};
use crate::plan::step::Step;

/// The release that stand-ins are made of.
const RELEASE: &str = "bookworm";
/// Security updates make an older root file system a bad start.
const ROOT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// What helps where a stand-in can't be made.
const HINT: &str =
    "the network must reach Debian's mirror, PyPI and npm, the way that this machine's apt, pip and npm do";

/// Builds the missing stand-ins, and returns how many there were.
pub fn provide(engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<usize> {
    if held::missing(engine, wanted)?.is_empty() {
        return Ok(0);
    }
    let ctx = &engine.ctx;
    let folder = EngineFolder::of(ctx)?;
    let _lock = folder.lock(ctx, "bases")?;
    // Another run may have built them while we waited for the lock.
    let missing = held::missing(engine, wanted)?;
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
    // What there is for another platform is made from what there is for this one.
    let own: Vec<StandIn> = missing.iter().map(|it| StandIn { foreign: Vec::new(), ..it.clone() }).collect();
    let own = held::missing(engine, &own)?;
    for it in own.iter().chain(missing.iter().filter(|it| !it.foreign.is_empty())) {
        let since = Instant::now();
        let request = request(it, &context, &secrets, &maker, host_network)?;
        let own = PartialOutputs { context: Some(link.path().to_owned()), ..PartialOutputs::default() };
        let step = buildx(&request).run_as(buildx(&Request { partial: own, ..request }));
        engine
            .run(&step.hint(HINT))
            .map_err(|error| explained(error, &format!("could not make the stand-in for {}", it.reference)))?;
        let also: String = it.foreign.iter().map(|it| format!(" for {it}, too,")).collect();
        ctx.say(format!("made {}{also} in {:.0} s", it.image, since.elapsed().as_secs_f64()));
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
    let mut platforms = Vec::new();
    if !it.foreign.is_empty() {
        platforms = [vec!["linux/amd64".parse().map_err(fault::failed)?], it.foreign.clone()].concat();
    }
    let names = platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(" ");
    let labels = [(STAND_IN, it.reference.as_str()), (RECIPE, recipe.as_str()), (MAKER, maker), (PLATFORMS, &names)];
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
    let native = Base { stand_in: Some(it.image.clone()), ..Base::upstream("native") };
    Ok(Request {
        target: Some(it.kind.target().to_owned()),
        tags: vec![it.image.parse().map_err(fault::failed)?],
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        bases: (!platforms.is_empty()).then_some(native).into_iter().collect(),
        platforms,
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
    fn a_build_is_one_line_that_says_what_it_makes() {
        let it = base::stand_in("ghcr.io/astral-sh/uv:0.13").unwrap();
        let request = request(&it, "/c".into(), &["id=a,src=/a".into()], "zz", true).unwrap();
        let line = buildx(&request).to_string();
        expect_test::expect!["BUILDX_GIT_INFO=false docker buildx build --provenance=false --file /c/Dockerfile --target uv --tag 127.0.0.1:1/stand-in/uv:0.13 --label xtask.stand-in=ghcr.io/astral-sh/uv:0.13 --label xtask.recipe=ff --label xtask.checkout=zz --load --build-arg 'VERSION=0.13.*' --secret id=a,src=/a --network=host /c"]
            .assert_eq(&line.replace(&inputs::recipe(), "ff"));
    }

    #[test]
    fn what_is_for_another_platform_is_made_from_what_is_for_this_one() {
        let it = base::stand_in("nginx:1").unwrap().for_platforms(&["linux/arm64".into()], "linux/amd64").unwrap();
        let line = buildx(&request(&it, "/c".into(), &[], "zz", false).unwrap()).to_string();
        expect_test::expect!["BUILDX_GIT_INFO=false docker buildx build --provenance=false --file /c/Dockerfile --target nginx --tag 127.0.0.1:1/stand-in/nginx:1 --label xtask.stand-in=nginx:1 --label xtask.recipe=ff --label xtask.checkout=zz --label 'xtask.platforms=linux/amd64 linux/arm64' --platform linux/amd64,linux/arm64 --load --build-context native=docker-image://127.0.0.1:1/stand-in/nginx:1 /c"].assert_eq(&line.replace(&inputs::recipe(), "ff"));
    }
}
