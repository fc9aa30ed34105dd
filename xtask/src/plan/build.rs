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
    /// A folder, written anew by each build: BuildKit never removes from one.
    Local(Utf8PathBuf),
    /// An image in a registry.
    Registry(String),
    /// GitHub Actions' cache, under a scope.
    Gha(String),
}

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
}

/// The build, then what makes its files whole; `finally` removes half-made ones.
pub fn plan(request: &Request) -> Plan {
    let mut plan = Plan::default();
    if let Cache::Local(dir) = &request.cache {
        plan.steps.push(Step::new("mkdir").args(["-p", dir.parent().unwrap_or(dir).as_str()]));
    }
    plan.steps.push(buildx(request));
    if let Output::Oci(file) = &request.output {
        let half = partial(file);
        plan.steps.push(Step::new("mv").args([half.as_str(), file.as_str()]));
        plan.finally.push(Step::new("rm").args(["-f", half.as_str()]));
    }
    if let Cache::Local(dir) = &request.cache {
        let new = partial(dir);
        plan.steps.push(Step::new("rm").args(["-rf", dir.as_str()]));
        plan.steps.push(Step::new("mv").args([new.as_str(), dir.as_str()]));
        plan.finally.push(Step::new("rm").args(["-rf", new.as_str()]));
    }
    plan
}

/// The one command.
pub fn buildx(request: &Request) -> Step {
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
    } = request;
    let bound = |base: &Base| Some(format!("{}=docker-image://{}", base.reference, base.stand_in.as_ref()?));
    let mut step = Step::new("docker")
        .args(["buildx", "build"])
        // An attestation holds the times of the run: no two builds would have one digest.
        .arg("--provenance=false")
        .each("--builder", builder)
        .args(["--file", dockerfile.as_str()])
        .each("--target", target)
        .each("--tag", tags.iter().map(Reference::as_str))
        .each("--label", labels.iter().chain(run_labels).map(|(key, value)| format!("{key}={value}")))
        .each("--annotation", annotations);
    if !platforms.is_empty() {
        let list = platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(",");
        step = step.args(["--platform", &list]);
    }
    step = match output {
        Output::Load => step.arg("--load"),
        // OCI media types: Docker's own have no room for annotations.
        Output::Push => step.args(["--output", "type=image,push=true,oci-mediatypes=true"]),
        Output::Oci(file) => step.args(["--output", &format!("type=oci,dest={}", partial(file))]),
    };
    if *no_cache {
        step = step.arg("--no-cache");
    }
    if *pull {
        step = step.arg("--pull");
    }
    let (from, to) = match cache {
        Cache::None => (None, None),
        Cache::Local(dir) => {
            (Some(format!("type=local,src={dir}")), Some(format!("type=local,dest={},mode=max", partial(dir))))
        }
        Cache::Registry(image) => (
            Some(format!("type=registry,ref={image}")),
            Some(format!("type=registry,ref={image},mode=max,image-manifest=true,oci-mediatypes=true")),
        ),
        Cache::Gha(scope) => {
            (Some(format!("type=gha,scope={scope}")), Some(format!("type=gha,scope={scope},mode=max")))
        }
    };
    step.each("--cache-from", from.filter(|_| !no_cache))
        // A cache that can't be written is no reason to fail a build.
        .each("--cache-to", to.map(|to| format!("{to},ignore-error=true")))
        .each("--build-arg", build_args)
        .each("--secret", secrets)
        .each("--build-context", bases.iter().filter_map(bound))
        .each("--progress", progress)
        .each("--metadata-file", metadata_file.iter().map(|file| file.as_str()))
        .arg(context.as_str())
}

/// Where something is written until it is whole.
fn partial(path: &Utf8Path) -> Utf8PathBuf {
    format!("{path}.partial").into()
}
