//! From a resolved request to the `docker buildx build` line, and what has to
//! happen around it.

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::base::Base;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::plan::step::{Plan, Step};

/// Where the image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into the engine.
    Load,
    /// To the registries that the tags name.
    Push,
    /// Into a file, as an OCI archive.
    Oci(Utf8PathBuf),
}

/// A layer cache beyond the builder's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// None.
    None,
    /// A folder, written anew by each build: BuildKit never removes from one;
    /// and what a file in it says of whose it is.
    Local(Utf8PathBuf, String),
    /// An image in a registry.
    Registry(String),
    /// GitHub Actions' cache, under a scope.
    Gha(String),
}

/// The file in the folder of a local cache that says whose it is.
pub const CACHE_MARKER: &str = "xtask-cache.json";

/// All that a build is made of; nothing is looked up any more.
#[derive(Clone, Debug)]
pub struct Request {
    /// The Dockerfile, from the root.
    pub dockerfile: Utf8PathBuf,
    /// The context, from the root.
    pub context: Utf8PathBuf,
    /// The stage.
    pub target: Option<String>,
    /// The names that the image gets.
    pub tags: Vec<Reference>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Those that say of what commit and what run it is.
    pub run_labels: Vec<(String, String)>,
    /// Its annotations, as buildx takes them.
    pub annotations: Vec<String>,
    /// Its platforms; none: the builder's own.
    pub platforms: Vec<Platform>,
    /// Where it goes.
    pub output: Output,
    /// Nothing is taken from any cache.
    pub no_cache: bool,
    /// Base images are looked up again.
    pub pull: bool,
    /// An image that is there already will do.
    pub reuse: bool,
    /// The layer cache.
    pub cache: Cache,
    /// `K=V` each.
    pub build_args: Vec<String>,
    /// As buildx takes them; never a secret's value.
    pub secrets: Vec<String>,
    /// What the stages are built on, as far as it is known.
    pub bases: Vec<Base>,
    /// The builder; none: the current one.
    pub builder: Option<String>,
    /// How progress is shown.
    pub progress: Option<String>,
    /// Where buildx writes the digest for us to read.
    pub metadata_file: Option<Utf8PathBuf>,
    /// Where this run makes the archive and the cache; none: nobody runs it.
    pub beside: Beside,
    /// Variables that buildx must not see: they would change what is built.
    pub unset: Vec<String>,
}

/// Where something is made until it is whole.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The archive.
    pub archive: Option<Utf8PathBuf>,
    /// The local cache.
    pub cache: Option<Utf8PathBuf>,
}

/// All that a build does. What is half-made is removed at the end, whatever
/// happened.
pub fn plan(request: &Request) -> Plan {
    let mut plan = image(request);
    if let Some(Plan { steps, finally }) = keep(request) {
        plan.steps.extend(steps);
        plan.finally.extend(finally);
    }
    plan
}

/// The image.
pub fn image(request: &Request) -> Plan {
    let mut plan = Plan::of([buildx(request)]);
    if let Output::Oci(file) = &request.output {
        let new = new_archive(request, file);
        plan.steps.push(Step::new("mv").args([new.as_str(), file.as_str()]).into());
        plan.finally.push(Step::new("rm").args(["-f", new.as_str()]));
    }
    plan
}

/// The layer cache, by a second build: that finds everything in the builder and
/// only writes, and when it fails the image is there all the same.
pub fn keep(request: &Request) -> Option<Plan> {
    let to = match &request.cache {
        Cache::None => return None,
        Cache::Local(dir, _) => format!("type=local,dest={},mode=max", new_cache(request, dir)),
        Cache::Registry(image) => format!("type=registry,ref={image},mode=max,image-manifest=true,oci-mediatypes=true"),
        Cache::Gha(scope) => format!("type=gha,scope={scope},mode=max"),
    };
    let mut plan = Plan::of([compose(request, Some(&to))]);
    if let Cache::Local(dir, marker) = &request.cache {
        let new = new_cache(request, dir);
        plan.steps.insert(0, Step::new("mkdir").args(["-p", dir.parent().unwrap_or(dir).as_str()]).into());
        // BuildKit writes the index last. Never the old one away for a half one.
        let swap = "test -s \"$1/index.json\" && echo \"$3\" > \"$1/$4\" && rm -rf \"$2\" && mv \"$1\" \"$2\"";
        let words = ["-c", swap, "sh", new.as_str(), dir.as_str(), marker, CACHE_MARKER];
        plan.steps.push(Step::new("sh").args(words).into());
        plan.finally.push(Step::new("rm").args(["-rf", new.as_str()]));
    }
    Some(plan)
}

/// The one command.
pub fn buildx(request: &Request) -> Step {
    compose(request, None)
}

/// The command for the image, or for what keeps its cache.
fn compose(request: &Request, cache_to: Option<&str>) -> Step {
    // Exhaustive: a new field must be thought of here.
    let Request {
        dockerfile,
        context,
        target,
        tags,
        labels,
        run_labels,
        annotations,
        platforms,
        output,
        no_cache,
        pull,
        reuse: _, // asked before there is a build
        cache,
        build_args,
        secrets,
        bases,
        builder,
        progress,
        metadata_file,
        unset,
        beside: _,
    } = request;
    let bound = |base: &Base| Some(format!("{}=docker-image://{}", base.reference, base.stand_in.as_ref()?));
    let mut step = Step { unset: unset.clone(), ..Step::new("docker") }
        .args(["buildx", "build"])
        // An attestation holds the times of the run: no two builds would have one digest.
        .arg("--provenance=false")
        .each("--builder", builder)
        .args(["--file", dockerfile.as_str()])
        .each("--target", target);
    if cache_to.is_none() {
        step = step
            .each("--tag", tags.iter().map(Reference::as_str))
            .each("--label", labels.iter().chain(run_labels).map(|(key, value)| format!("{key}={value}")))
            .each("--annotation", annotations);
    }
    if !platforms.is_empty() {
        let list = platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(",");
        step = step.args(["--platform", &list]);
    }
    step = match (cache_to, output) {
        (Some(_), _) => step.args(["--output", "type=cacheonly"]),
        (None, Output::Load) => step.arg("--load"),
        // OCI media types: Docker's own have no room for annotations.
        (None, Output::Push) => step.args(["--output", "type=image,push=true,oci-mediatypes=true"]),
        (None, Output::Oci(file)) => step.args(["--output", &format!("type=oci,dest={}", new_archive(request, file))]),
    };
    // The image's build has just looked everything up and made it anew.
    if *no_cache && cache_to.is_none() {
        step = step.arg("--no-cache");
    }
    if *pull && cache_to.is_none() {
        step = step.arg("--pull");
    }
    let cache_from = match cache {
        Cache::None => None,
        Cache::Local(dir, _) => Some(format!("type=local,src={dir}")),
        Cache::Registry(image) => Some(format!("type=registry,ref={image}")),
        Cache::Gha(scope) => Some(format!("type=gha,scope={scope}")),
    };
    step.each("--cache-from", cache_from.filter(|_| !no_cache))
        .each("--cache-to", cache_to)
        .each("--build-arg", build_args)
        .each("--secret", secrets)
        .each("--build-context", bases.iter().filter_map(bound))
        .each("--progress", progress)
        .each("--metadata-file", metadata_file.iter().filter(|_| cache_to.is_none()).map(|file| file.as_str()))
        .arg(context.as_str())
}

fn new_archive(request: &Request, file: &Utf8Path) -> Utf8PathBuf {
    request.beside.archive.clone().unwrap_or_else(|| format!("{file}.partial").into())
}

fn new_cache(request: &Request, dir: &Utf8Path) -> Utf8PathBuf {
    request.beside.cache.clone().unwrap_or_else(|| format!("{dir}.partial").into())
}
