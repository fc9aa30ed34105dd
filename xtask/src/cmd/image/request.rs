//! From options, environment and services.toml to a [`Request`]: what is left
//! to decide when the engine is asked is nothing.

use std::fs::File;
use std::time::Duration;

use camino::Utf8PathBuf;
use docker_context::dockerfile::platforms::Foreign;

use crate::cli::docker::{BuildArgs, CacheKind};
use crate::cmd;
use crate::ctx::{Ctx, Format};
use crate::exec::engine::Engine;
use crate::exec::layers::Marker;
use crate::exec::{checkout, files, git, run};
use crate::fault::{self, Fault};
use crate::model::config::{Project, Service};
use crate::model::platform::Platform;
use crate::model::progress::Progress;
use crate::model::reference::{Reference, Tag, reference};
use crate::model::release::{self, Version};
use crate::model::{emulation, environment};
use crate::plan;
use crate::plan::build::{Cache, Output, PartialOutputs, Request};
use crate::plan::step::Step;

/// How long a build with a push may take: a registry that hangs holds BuildKit
/// for ever.
const PUSH: Duration = Duration::from_secs(2 * 3600);

/// All that can be known before the engine is asked.
pub fn resolve(ctx: &Ctx, project: &Project, service: &Service, args: &BuildArgs) -> anyhow::Result<Request> {
    let platforms = match args.multi_arch {
        true => service.platforms.clone(),
        false if args.platforms.is_empty() => default_platform(ctx)?,
        false => args.platforms.clone(),
    };
    let output = match (&args.output, args.push) {
        (Some(file), _) => Output::Oci(file.clone()),
        (None, true) => Output::Push,
        (None, false) => Output::Load,
    };
    let mut secrets = args.secrets.clone();
    if let Some(file) = cmd::ca_bundle(ctx) {
        secrets.push(format!("id=ca-bundle,src={file}"));
    }
    let chosen_by_action = |name: &str| ctx.env.get(name).filter(|_| args.tags.is_empty()).unwrap_or_default();
    let tags = tags(ctx, project, service, args, chosen_by_action("DOCKER_METADATA_OUTPUT_TAGS"))?;
    let run_labels: Vec<(String, String)> = chosen_by_action("DOCKER_METADATA_OUTPUT_LABELS")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let mut labels = vec![
        (project.label("service"), service.name.clone()),
        ("org.opencontainers.image.title".into(), service.title.clone()),
    ];
    // What leaves this machine is the same from every checkout.
    if output == Output::Load {
        labels.push((project.label("checkout"), checkout::identity(&ctx.root)));
    }
    // Whoever wants to move `latest` later reads there what it is on.
    let says_version = run_labels.iter().any(|(key, _)| key == release::VERSION_LABEL);
    if output != Output::Load && !says_version {
        let version = tags.iter().filter_map(|tag| Version::of(tag.tag())).max();
        labels.extend(version.map(|version| (release::VERSION_LABEL.to_owned(), version.to_string())));
    }
    let date = if output == Output::Load { None } else { commit_date(ctx) };
    let annotations = chosen_by_action("DOCKER_METADATA_OUTPUT_ANNOTATIONS");
    let has_index = output == Output::Push || platforms.len() > 1;
    let annotations = annotations.lines().flat_map(|line| annotation(line, has_index)).collect();
    let progress = args.progress.or(ctx.verbose.then_some(Progress::Plain));
    if args.progress == Some(Progress::Rawjson) && ctx.terminal && ctx.format == Format::Text {
        ctx.say("note: rawjson is for programs; `--progress plain` is the log for people");
    }
    Ok(Request {
        dockerfile: service.dockerfile.clone(),
        context: service.context.clone(),
        target: service.target.clone(),
        tags,
        labels,
        run_labels,
        annotations,
        cache: cache(ctx, project, service, args, &platforms)?,
        platforms,
        no_cache: args.no_cache,
        pull: args.pull,
        reuse: !(args.no_cache || args.pull || args.force),
        build_args: args.build_args.clone(),
        secrets,
        bases: Vec::new(),
        builder: args.builder.clone(),
        progress,
        metadata_file: None,
        unset: environment::set_aside(ctx.env.names()),
        partial: PartialOutputs::default(),
        host_network: false,
        date,
        limit: args.timeout.map(|age| age.0).or((output == Output::Push).then_some(PUSH)),
        proves: output == Output::Push && !args.no_test,
        force_tags: args.force_tags,
        output,
    })
}

/// When the commit was made, in seconds since 1970: what is built of it once
/// more has the same dates. Whoever sets a date has said another one.
fn commit_date(ctx: &Ctx) -> Option<u64> {
    if ctx.variable(environment::DATE).is_some() {
        return None;
    }
    let git = git::git(ctx);
    git.top()?;
    run::probe(ctx, &git.look(&["show", "--no-patch", "--format=%ct", "HEAD"]))?.trim().parse().ok()
}

/// What buildx would build for by itself, said out loud.
fn default_platform(ctx: &Ctx) -> anyhow::Result<Vec<Platform>> {
    let Some(names) = ctx.env.get(environment::DEFAULT_PLATFORM) else { return Ok(Vec::new()) };
    let wrong = |why| {
        fault::usage(format!("{}: {why}", environment::DEFAULT_PLATFORM)).help("such as `linux/amd64`, or unset it")
    };
    Ok(names.split(',').map(|name| name.parse().map_err(wrong)).collect::<Result<_, Fault>>()?)
}

/// `manifest,index:KEY=VALUE` as an annotation a level: an older buildx takes
/// several for a part of the key. What is loaded for one platform has no index to be
/// annotated.
fn annotation(line: &str, has_index: bool) -> Vec<String> {
    const LEVELS: [&str; 4] = ["manifest", "index", "manifest-descriptor", "index-descriptor"];
    match line.split_once(':') {
        Some((levels, rest)) if levels.split(',').all(|level| LEVELS.contains(&level)) => {
            let levels = levels.split(',').filter(|level| has_index || !level.starts_with("index"));
            levels.map(|level| format!("{level}:{rest}")).collect()
        }
        _ => vec![line.to_owned()],
    }
}

fn tags(
    ctx: &Ctx,
    project: &Project,
    service: &Service,
    args: &BuildArgs,
    from_action: &str,
) -> anyhow::Result<Vec<Reference>> {
    if !from_action.is_empty() {
        let wrong = |why| fault::usage(format!("DOCKER_METADATA_OUTPUT_TAGS: {why}"));
        return Ok(from_action
            .split([',', '\n'])
            .map(|tag| tag.trim().parse().map_err(wrong))
            .collect::<Result<_, Fault>>()?);
    }
    let registry = match &args.registry {
        Some(registry) => Some(registry.clone()),
        None if args.push => Some(project.published(ctx.env.get("GITHUB_REPOSITORY_OWNER"))?),
        None => None,
    };
    let name = args.name.as_ref().unwrap_or(&service.image);
    let local = vec![Tag::local()];
    let tags = if args.tags.is_empty() { &local } else { &args.tags };
    let mut names: Vec<_> = tags.iter().map(|tag| reference(registry.as_ref(), name, tag)).collect();
    if args.output.is_none() && !args.push {
        names.push(reference(None, &service.image, &pin(ctx)?));
    }
    Ok(names)
}

/// The tag that is this checkout's alone: where two have an image of one name,
/// the one that is built last takes it, and the engine forgets what has none.
pub fn pin(ctx: &Ctx) -> anyhow::Result<Tag> {
    Ok(plan::container::pin(&checkout::identity(&ctx.root)).parse().map_err(fault::usage)?)
}

fn cache(
    ctx: &Ctx,
    project: &Project,
    service: &Service,
    args: &BuildArgs,
    platforms: &[Platform],
) -> anyhow::Result<Cache> {
    // One cache per service and platform: shared ones overwrite each other.
    let marker = Marker::new(&project.name, &service.name, platforms);
    let slug = &marker.platforms;
    Ok(match args.cache {
        CacheKind::None => Cache::None,
        CacheKind::Gha => {
            // buildx leaves it out without a word.
            if ctx.env.get("ACTIONS_RUNTIME_TOKEN").is_none() && !ctx.dry_run {
                ctx.say("warning: `--cache gha` does nothing here: ACTIONS_RUNTIME_TOKEN is not set (GitHub gives it to actions, not to `run:` lines)");
            }
            Cache::Gha(format!("{}-{slug}", service.name))
        }
        CacheKind::Local => {
            let dir = args.cache_dir.clone().unwrap_or_else(|| cache_root(ctx, project));
            // From the root, where it lies below: BuildKit takes no cache by a path
            // that has letters outside of ASCII.
            let dir = dir.strip_prefix(&ctx.root).map_or(dir.clone(), ToOwned::to_owned);
            Cache::Local(dir.join(marker.folder()), serde_json::to_string(&marker)?)
        }
        CacheKind::Registry => {
            let registry = match &args.registry {
                Some(registry) => registry.clone(),
                None => project.published(ctx.env.get("GITHUB_REPOSITORY_OWNER"))?,
            };
            Cache::Registry(format!("{registry}/{}:buildcache-{slug}", service.image))
        }
    })
}

/// Where `--cache local` keeps its folders, and we what we remember.
pub fn cache_root(ctx: &Ctx, project: &Project) -> Utf8PathBuf {
    let base = ctx.cache_dir().unwrap_or_else(|| ctx.root.join("target"));
    base.join("xtask").join(&project.name)
}

/// Keeps the images that this checkout has built where they are: `clean` waits
/// until nobody is between building one and running it.
pub fn hold_images(ctx: &Ctx, project: &Project) -> anyhow::Result<File> {
    files::share(ctx, &images_lock(ctx, project, &checkout::identity(&ctx.root)), "`docker clean` removes images")
}

/// What [`hold_images`] holds, for a checkout.
pub fn images_lock(ctx: &Ctx, project: &Project, checkout: &str) -> Utf8PathBuf {
    cache_root(ctx, project).join(format!("images-{checkout}.lock"))
}

/// Refuses what the engine can't hold, and what the builder can't run, before it
/// tries for minutes.
pub fn check_platforms(engine: &Engine, request: &Request, foreign: &[Foreign]) -> anyhow::Result<()> {
    if request.platforms.len() > 1 && request.output == Output::Load && !engine.info()?.is_containerd_store() {
        return Err(fault::usage("this engine's image store holds one platform a name, not several")
            .help("one `--platform`, `--push`, `--output oci=FILE`, or an engine with the containerd image store (docs/troubleshooting.md)")
            .into());
    }
    if foreign.is_empty() {
        return Ok(());
    }
    let inspected = engine.read(&Step::new("docker").args(["buildx", "inspect"]).args(&request.builder))?;
    match emulation::refused(request.dockerfile.as_str(), foreign, &emulation::runs(&inspected)) {
        None => Ok(()),
        Some(refused) => Err(fault::failed(refused.to_string()).help(refused.help.unwrap_or_default()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &BuildArgs) -> Request {
        let text = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"o\"\n\
            [services.app]\nimage = \"app\"\npaths = [\"**\"]\n";
        let project = Project::parse("services.toml".into(), text).unwrap();
        let ctx = Ctx { root: "/".into(), ..Ctx::default() };
        resolve(&ctx, &project, &project.services["app"], args).unwrap()
    }

    #[test]
    fn an_image_that_is_there_will_do_unless_a_build_is_asked_for() {
        for (no_cache, pull, force, reuse) in [
            (false, false, false, true),
            (true, false, false, false),
            (false, true, false, false),
            (false, false, true, false),
            (true, true, true, false),
        ] {
            let args = BuildArgs { no_cache, pull, force, ..BuildArgs::default() };
            let request = of(&args);
            assert_eq!((request.reuse, request.no_cache, request.pull), (reuse, no_cache, pull), "{args:?}");
        }
    }

    #[test]
    fn what_leaves_this_machine_says_nothing_of_the_checkout() {
        for (push, file, output) in [
            (false, None, Output::Load),
            (true, None, Output::Push),
            (false, Some("a.tar"), Output::Oci("a.tar".into())),
        ] {
            let args = BuildArgs { push, output: file.map(Utf8PathBuf::from), ..BuildArgs::default() };
            let request = of(&args);
            let says = request.labels.iter().any(|(key, _)| *key == "x.checkout");
            let pinned = request.tags.iter().any(|tag| tag.as_str().contains(":checkout-"));
            assert_eq!((says, pinned), (output == Output::Load, output == Output::Load), "{args:?}");
            assert_eq!(request.output, output);
        }
    }

    #[test]
    fn an_annotation_of_several_levels_is_one_a_level() {
        let of = |line, has_index| annotation(line, has_index).join(" ");
        assert_eq!(of("manifest,index:a.b=c:d", true), "manifest:a.b=c:d index:a.b=c:d");
        assert_eq!(of("manifest,index:a.b=c", false), "manifest:a.b=c");
        assert_eq!(of("a.b=c:d", false), "a.b=c:d");
        assert_eq!(of("manifest[linux/amd64]:a=b", false), "manifest[linux/amd64]:a=b");
    }
}
