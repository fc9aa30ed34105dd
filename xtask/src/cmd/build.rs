//! `docker SERVICE` and `docker all`: an image from services.toml.

use std::time::Instant;

use anyhow::Context as _;
use camino::Utf8PathBuf;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{BuildArgs, CacheKind, Progress};
use crate::cmd;
use crate::ctx::{Ctx, Format};
use crate::exec::engine::Engine;
use crate::exec::{bases, board::Board, files, interrupt, run};
use crate::fault::{self, Fault};
use crate::model::base::Bases;
use crate::model::config::{Project, Service};
use crate::model::platform::Platform;
use crate::model::reference::{Reference, Tag, reference};
use crate::plan::build::{Cache, Output, Request, plan};
use crate::plan::step::{Plan, Step};

/// What a build made.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    service: String,
    image: String,
    tags: Vec<String>,
    digest: Option<String>,
    platforms: Vec<Platform>,
    size_bytes: Option<u64>,
    seconds: f64,
    outcome: &'static str,
    fingerprint: Option<String>,
}

/// Runs the verb; no names are all services, side by side.
pub fn run(ctx: &Ctx, project: &Project, names: &[String], args: &BuildArgs) -> anyhow::Result<()> {
    let services = project.select(names)?;
    let mut requests = services
        .iter()
        .map(|service| Ok((*service, request(ctx, project, service, args)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if ctx.dry_run {
        return dry_run(ctx, names, args, &requests);
    }
    let engine = cmd::engine(ctx, project, args.setup)?;
    for (service, request) in &mut requests {
        let images = cmd::base_images(ctx, service, request.target.as_deref(), &args.build_args)?;
        request.contexts = bases::contexts(&engine.ctx, &engine, args.bases, &images)?;
        check_platforms(&engine, request)?;
    }
    match requests.as_slice() {
        [(service, request)] => {
            let built = one(&engine, service, request, |step| run::run(&engine.ctx, step))?;
            ctx.result(&built, || built.line())?;
        }
        several => side_by_side(&engine, several)?,
    }
    if args.test {
        cmd::prove::prove(&engine, project, &services, &after_build(args))?;
    }
    Ok(())
}

/// The build alone, for verbs that need an image first.
pub fn image(
    engine: &Engine,
    project: &Project,
    service: &Service,
    target: Option<&str>,
    tag: &Tag,
    bases: Bases,
) -> anyhow::Result<Reference> {
    let args = BuildArgs { tags: vec![tag.clone()], bases, ..BuildArgs::default() };
    let mut request = request(&engine.ctx, project, service, &args)?;
    if let Some(target) = target {
        request.target = Some(target.to_owned());
        request.tags = vec![reference(None, &format!("{}-test", service.image).parse().map_err(fault::usage)?, tag)];
    }
    let images = cmd::base_images(&engine.ctx, service, request.target.as_deref(), &[])?;
    request.contexts = bases::contexts(&engine.ctx, engine, bases, &images)?;
    one(engine, service, &request, |step| run::run(&engine.ctx, step))?;
    request.tags.into_iter().next().context("the image has no tag")
}

/// The request of `docker SERVICE` without options.
pub fn plain(ctx: &Ctx, project: &Project, service: &Service) -> anyhow::Result<Request> {
    request(ctx, project, service, &BuildArgs::default())
}

fn after_build(args: &BuildArgs) -> crate::cli::ProveArgs {
    crate::cli::ProveArgs { tag: args.tags.first().cloned(), no_build: true, bases: args.bases, ..Default::default() }
}

fn dry_run(ctx: &Ctx, names: &[String], args: &BuildArgs, requests: &[(&Service, Request)]) -> anyhow::Result<()> {
    let mut whole = Plan::default();
    if args.setup {
        whole.steps.push(Step::new("cargo").args(["xtask", "setup", "--yes"]));
    }
    for (_, request) in requests {
        let Plan { steps, finally } = plan(request);
        whole.steps.extend(steps);
        whole.finally.extend(finally);
    }
    if args.test {
        whole.steps.push(
            Step::new("cargo")
                .args(["xtask", "docker", "test", "--no-build"])
                .each("--tag", args.tags.first().map(Tag::as_str))
                .args(names),
        );
    }
    cmd::print(ctx, &whole)
}

/// All that can be known before the engine is asked.
fn request(ctx: &Ctx, project: &Project, service: &Service, args: &BuildArgs) -> anyhow::Result<Request> {
    let platforms = if args.multi_arch { service.platforms.clone() } else { args.platforms.clone() };
    let output = match (&args.output, args.push) {
        (Some(file), _) => Output::Oci(file.clone()),
        (None, true) => Output::Push,
        (None, false) => Output::Load,
    };
    let mut secrets = args.secrets.clone();
    if let Some(file) = cmd::ca_bundle(ctx) {
        secrets.push(format!("id=ca-bundle,src={file}"));
    }
    let mut labels = vec![
        (project.label("service"), service.name.clone()),
        ("org.opencontainers.image.title".into(), service.title.clone()),
    ];
    let chosen_by_action = |name: &str| ctx.env.get(name).filter(|_| args.tags.is_empty()).unwrap_or_default();
    labels.extend(
        chosen_by_action("DOCKER_METADATA_OUTPUT_LABELS")
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let annotations = chosen_by_action("DOCKER_METADATA_OUTPUT_ANNOTATIONS").lines().map(str::to_owned).collect();
    let progress = match args.progress {
        Some(progress) => clap::ValueEnum::to_possible_value(&progress).map(|value| value.get_name().to_owned()),
        None if ctx.verbose => Some("plain".into()),
        None => None,
    };
    if args.progress == Some(Progress::Rawjson) && ctx.terminal && ctx.format == Format::Text {
        ctx.say("note: rawjson is for programs; `--progress plain` is the log for people");
    }
    Ok(Request {
        dockerfile: service.dockerfile.clone(),
        context: service.context.clone(),
        target: service.target.clone(),
        tags: tags(ctx, project, service, args, chosen_by_action("DOCKER_METADATA_OUTPUT_TAGS"))?,
        labels,
        annotations,
        cache: cache(ctx, project, service, args, &platforms)?,
        platforms,
        output,
        no_cache: args.no_cache,
        pull: args.pull,
        build_args: args.build_args.clone(),
        secrets,
        contexts: Vec::new(),
        builder: args.builder.clone(),
        progress,
        metadata_file: None,
    })
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
    let local = vec!["local".parse::<Tag>().map_err(fault::usage)?];
    let tags = if args.tags.is_empty() { &local } else { &args.tags };
    Ok(tags.iter().map(|tag| reference(registry.as_ref(), name, tag)).collect())
}

fn cache(
    ctx: &Ctx,
    project: &Project,
    service: &Service,
    args: &BuildArgs,
    platforms: &[Platform],
) -> anyhow::Result<Cache> {
    let here = [Platform::of_this_machine()];
    let platforms = if platforms.is_empty() { &here[..] } else { platforms };
    let slug = platforms.iter().map(Platform::slug).collect::<Vec<_>>().join("_");
    // One cache a service and platform: shared ones overwrite each other.
    let scope = format!("{}-{slug}", service.name);
    Ok(match args.cache {
        CacheKind::None => Cache::None,
        CacheKind::Gha => Cache::Gha(scope),
        CacheKind::Local => {
            let dir = args.cache_dir.clone().unwrap_or_else(|| cache_root(ctx, project));
            Cache::Local(dir.join(scope))
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

/// Where `--cache local` keeps its folders.
pub fn cache_root(ctx: &Ctx, project: &Project) -> Utf8PathBuf {
    let base = match (ctx.env.get("XDG_CACHE_HOME"), ctx.env.get("HOME")) {
        (Some(dir), _) => Utf8PathBuf::from(dir),
        (None, Some(home)) => Utf8PathBuf::from(home).join(".cache"),
        (None, None) => ctx.root.join("target"),
    };
    base.join("xtask").join(&project.name)
}

/// Refuses what the engine can't do, before it tries for minutes.
fn check_platforms(engine: &Engine, request: &Request) -> anyhow::Result<()> {
    let [first, rest @ ..] = request.platforms.as_slice() else { return Ok(()) };
    if !rest.is_empty() && request.output == Output::Load && !engine.holds_platforms()? {
        return Err(fault::usage("this engine's image store holds one platform a name, not several")
            .help("one `--platform`, `--push`, `--output oci=FILE`, or an engine with the containerd image store (docs/troubleshooting.md)")
            .into());
    }
    let own = engine.platform()?;
    if rest.is_empty() && first.to_string() == own {
        return Ok(());
    }
    let step = Step::new("docker").args(["buildx", "inspect"]).args(&request.builder);
    let builder = run::read(&engine.ctx, &step)?;
    let line = builder.lines().find_map(|line| line.strip_prefix("Platforms:")).unwrap_or_default();
    let runs =
        |platform: &Platform| line.split(',').any(|name| name.trim().trim_end_matches('*') == platform.to_string());
    match request.platforms.iter().find(|platform| !runs(platform)) {
        None => Ok(()),
        Some(platform) => Err(fault::failed(format!("the builder can't run {platform}: it runs{line}"))
            .help(format!(
                "an emulator (qemu-{}): `sudo apt-get install qemu-user-static binfmt-support`, or a builder on such a machine: `--builder NAME`",
                platform.emulator()
            ))
            .into()),
    }
}

/// One build, its files and its result.
fn one(
    engine: &Engine,
    service: &Service,
    request: &Request,
    build: impl Fn(&Step) -> anyhow::Result<()>,
) -> anyhow::Result<Built> {
    let started = Instant::now();
    let ctx = &engine.ctx;
    let metadata = files::Temporary::new(&format!("{}.json", service.name))?;
    let _lock = match &request.cache {
        Cache::Local(dir) => Some(files::lock(ctx, &format!("{dir}.lock").into(), "another build uses this cache")?),
        _ => None,
    };
    let request = Request { metadata_file: Some(metadata.path().to_owned()), ..request.clone() };
    run::plan(
        &plan(&request),
        |step| if step.tool == "docker" { steadily(ctx, step, &build) } else { run::run(ctx, step) },
        |step| run::tidy(ctx, step),
    )
    .map_err(|error| explain(engine, service, error))?;
    let answer: Value = serde_json::from_str(&std::fs::read_to_string(metadata.path())?)?;
    let name = request.tags.first().context("the image has no tag")?;
    // Asking costs a tenth of a cached build, so only who reads the answer asks.
    let asks = ctx.format == Format::Json;
    let in_engine = !matches!(request.output, Output::Oci(_));
    Ok(Built {
        service: service.name.clone(),
        image: service.image.to_string(),
        tags: request.tags.iter().map(Reference::to_string).collect(),
        digest: answer["containerimage.digest"].as_str().map(str::to_owned),
        size_bytes: if asks && in_engine { engine.image_bytes(name.as_str()).ok() } else { None },
        platforms: match request.platforms.as_slice() {
            [] if !asks => Vec::new(),
            [] => vec![engine.platform()?.parse().map_err(fault::failed)?],
            several => several.to_vec(),
        },
        seconds: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        outcome: "built",
        fingerprint: None,
    })
}

/// Builds, and once more where the containerd image store collected a layer of
/// the image that is being replaced while the new one was unpacked on it: a
/// race inside of the engine, and everything is cached by then.
fn steadily(ctx: &Ctx, step: &Step, build: impl Fn(&Step) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match build(step) {
        Err(error) if fault::said(&error).contains("parent snapshot") => {
            ctx.say("note: the engine lost a layer that it was unpacking on; building once more from its cache");
            build(step)
        }
        result => result,
    }
}

impl Built {
    /// For people: the name that they type next, and what it weighs.
    fn line(&self) -> String {
        let tags = self.tags.join(" ");
        format!("{}: {tags} {} in {:.1} s", self.service, self.outcome, self.seconds)
    }
}

fn side_by_side(engine: &Engine, requests: &[(&Service, Request)]) -> anyhow::Result<()> {
    let names: Vec<&str> = requests.iter().map(|(service, _)| service.name.as_str()).collect();
    let board = Board::new(&engine.ctx, &names);
    let results: Vec<anyhow::Result<Built>> = std::thread::scope(|scope| {
        let builds: Vec<_> = requests
            .iter()
            .map(|(service, request)| {
                let board = &board;
                scope.spawn(move || {
                    let name = service.name.as_str();
                    let result = one(engine, service, request, |step| {
                        board.line(name, &format!("$ {step}"));
                        run::stream(&engine.ctx, step, |line| board.line(name, line))
                    });
                    board.done(name, result.as_ref().map_or_else(|_| "failed".into(), Built::line));
                    result
                })
            })
            .collect();
        builds
            .into_iter()
            .map(|build| build.join().unwrap_or_else(|_| Err(fault::failed("a build ended in a panic").into())))
            .collect()
    });
    drop(board);
    interrupt::check()?;
    let json: Vec<Value> = results
        .iter()
        .zip(&names)
        .map(|(result, name)| match result {
            Ok(built) => serde_json::to_value(built),
            Err(error) => Ok(serde_json::json!({ "service": name, "outcome": "failed", "error": error.to_string() })),
        })
        .collect::<Result<_, _>>()?;
    let lines = results.iter().flatten().map(Built::line).collect::<Vec<_>>().join("\n");
    engine.ctx.result(&serde_json::json!({ "results": json }), || lines)?;
    let failed: Vec<_> =
        results.into_iter().zip(&names).filter_map(|(result, name)| Some((name, result.err()?))).collect();
    for (name, error) in &failed {
        if !fault::said(error).is_empty() && engine.ctx.terminal {
            engine.ctx.say(format!("── {name}: the last lines\n{}", last_lines(fault::said(error), 40)));
        }
        engine.ctx.say(fault::render(error));
    }
    match failed.len() {
        0 => Ok(()),
        n => Err(fault::failed(format!("{n} of {} builds failed", names.len())).into()),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// What to type next after a failed build, by what buildx and the engine say.
fn explain(engine: &Engine, service: &Service, error: anyhow::Error) -> anyhow::Error {
    if fault::code(&error) != fault::Code::Failed {
        return error;
    }
    let said = fault::said(&error).to_owned();
    let fault = fault::failed(format!("the build of `{}` failed: {error}", service.name)).said(&said);
    let help = if said.contains("no space left on device") {
        "the disk is full: `cargo xtask docker clean`, `docker builder prune`, or free some space".to_owned()
    } else if run::probe(&engine.ctx, &Step::new("docker").args(["buildx", "version"])).is_none() {
        "`docker buildx` is missing: `cargo xtask setup --yes` gets it".into()
    } else if [
        "failed to resolve source metadata",
        "failed to do request",
        "pull access denied",
        "no match for platform",
    ]
    .iter()
    .any(|words| said.contains(words))
    {
        "a base image can't be had; without a reachable registry: `cargo xtask setup --yes`, or `--bases local`".into()
    } else if api_is_gone(engine) {
        "the engine is gone: `cargo xtask engine status`, then `cargo xtask setup`".into()
    } else {
        "the failing step and its last lines are above; `--progress plain` shows the whole log".into()
    };
    fault.help(help).into()
}

fn api_is_gone(engine: &Engine) -> bool {
    engine.platform().is_err()
}
