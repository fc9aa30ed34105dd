//! Turns a resolved request into the `docker buildx build` line and the steps
//! around it.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::base::Base;
use crate::model::environment;
use crate::model::platform::Platform;
use crate::model::progress::Progress;
use crate::model::reference::Reference;
use crate::plan::publish;
use crate::plan::step::{Plan, Step};

/// The destination of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// The engine.
    #[default]
    Load,
    /// The registries in the tags.
    Push,
    /// A file, as an OCI archive.
    Oci(Utf8PathBuf),
    /// A folder, as the files of the stage.
    Folder(Utf8PathBuf),
}

/// An additional layer cache, besides the builder's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// None.
    #[default]
    None,
    /// A folder, written from scratch by each build because BuildKit never
    /// removes files from one; and the content of its marker file.
    Local(Utf8PathBuf, String),
    /// An image in a registry.
    Registry(String),
    /// GitHub Actions' cache, under a scope.
    Gha(String),
}

/// The marker file in the folder of a local cache, which says whose it is.
pub const CACHE_MARKER: &str = "xtask-cache.json";

/// Everything that a build needs. Nothing is looked up later.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The path of the Dockerfile, from the root.
    pub dockerfile: Utf8PathBuf,
    /// The context, from the root.
    pub context: Utf8PathBuf,
    /// The target stage.
    pub target: Option<String>,
    /// The tags of the image.
    pub tags: Vec<Reference>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// The labels that name its commit and its run.
    pub run_labels: Vec<(String, String)>,
    /// Its annotations, in the syntax of buildx.
    pub annotations: Vec<String>,
    /// Its platforms; empty: the builder's own.
    pub platforms: Vec<Platform>,
    /// Its destination.
    pub output: Output,
    /// Use no cache.
    pub no_cache: bool,
    /// Ask the registry for the base images again.
    pub pull: bool,
    /// An existing up-to-date image is enough.
    pub reuse: bool,
    /// The layer cache.
    pub cache: Cache,
    /// `K=V` items.
    pub build_args: Vec<String>,
    /// In the syntax of buildx. Never the value of a secret.
    pub secrets: Vec<String>,
    /// The base images of the stages, as far as they are known.
    pub bases: Vec<Base>,
    /// The builder; `None`: the current one.
    pub builder: Option<String>,
    /// How to show the progress.
    pub progress: Option<Progress>,
    /// The file for buildx's metadata, from which we read the digest.
    pub metadata_file: Option<Utf8PathBuf>,
    /// Paths that only exist during this run; empty in a plan that is only
    /// printed.
    pub partial: PartialOutputs,
    /// Variables that buildx must not see, because they would change the image.
    pub unset: Vec<String>,
    /// Whether steps use the machine's network, for an engine without its own.
    pub host_network: bool,
    /// The date of all that the build makes, in seconds since 1970; none: that
    /// of the build, or what the environment says.
    pub date: Option<u64>,
    /// How long it may take; none: as long as it takes.
    pub limit: Option<Duration>,
    /// Whether what was pushed is proved before it gets its tags.
    pub proves: bool,
    /// Whether tags are put also where that breaks what they promise.
    pub force_tags: bool,
}

impl Request {
    /// A build into the engine, with defaults for everything else.
    pub fn new(dockerfile: impl Into<Utf8PathBuf>, context: impl Into<Utf8PathBuf>) -> Self {
        Self {
            dockerfile: dockerfile.into(),
            context: context.into(),
            target: None,
            tags: Vec::new(),
            labels: Vec::new(),
            run_labels: Vec::new(),
            annotations: Vec::new(),
            platforms: Vec::new(),
            output: Output::Load,
            no_cache: false,
            pull: false,
            reuse: false,
            cache: Cache::None,
            build_args: Vec::new(),
            secrets: Vec::new(),
            bases: Vec::new(),
            builder: None,
            progress: None,
            metadata_file: None,
            partial: PartialOutputs::default(),
            unset: Vec::new(),
            host_network: false,
            date: None,
            limit: None,
            proves: false,
            force_tags: false,
        }
    }

    /// The request with the fingerprint as a label, unless there is a doubt. An
    /// image labelled with one CI run must not be reused by another, so it gets
    /// no fingerprint.
    #[must_use]
    pub fn labelled(&self, key: &str, fingerprint: &str, doubt: Option<&str>) -> Self {
        let mut request = self.clone();
        if doubt.is_none() && self.run_labels.is_empty() {
            request.labels.push((key.to_owned(), fingerprint.to_owned()));
        }
        request
    }

    /// The fingerprint that allows to reuse an image. `None`: a build was asked
    /// for, or its result can't be found in the engine.
    pub fn instead(&self, key: &str) -> Option<&str> {
        let tells = self.output == Output::Load && self.platforms.len() <= 1 && self.annotations.is_empty();
        let label = self.labels.iter().find(|(name, _)| name == key);
        label.filter(|_| self.reuse && tells).map(|(_, fingerprint)| fingerprint.as_str())
    }

    /// Whether an image is the requested one: its platform and all its labels,
    /// the fingerprint included.
    pub fn is_met_by(&self, platform: &str, labels: &BTreeMap<String, String>) -> bool {
        let wanted = self.platforms.first().cloned().unwrap_or_else(Platform::of_this_machine);
        platform.parse() == Ok(wanted) && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Adds the missing tags to the image, and takes them from other images.
    pub fn tag(&self, id: &str, names: &[String]) -> Vec<Step> {
        let lacks = self.tags.iter().map(Reference::as_str).filter(|tag| names.iter().all(|name| name != tag));
        lacks.map(|tag| Step::new("docker").args(["tag", id, tag])).collect()
    }
}

/// Paths of one run, where outputs are written until they are complete.
#[derive(Clone, Debug, Default)]
pub struct PartialOutputs {
    /// The archive, or the folder.
    pub archive: Option<Utf8PathBuf>,
    /// The local cache.
    pub cache: Option<Utf8PathBuf>,
    /// The path of the link to the context. BuildKit keeps a copy of each context
    /// under the last part of its path. Two folders called `repo` share a copy,
    /// and then BuildKit takes a file of equal size and time from the other one.
    pub context: Option<Utf8PathBuf>,
}

/// All steps of a build. Incomplete outputs are removed at the end, whatever
/// happened.
pub fn plan(request: &Request) -> Plan {
    let mut plan = image(request);
    if let Some(Plan { steps, finally }) = keep(request) {
        plan.steps.extend(steps);
        plan.finally.extend(finally);
    }
    plan
}

/// The steps for the image.
pub fn image(request: &Request) -> Plan {
    if request.output == Output::Push {
        let pasted = publish::metadata_file(&request.tags);
        let file = request.metadata_file.as_ref().map_or(pasted.as_str(), |file| file.as_str());
        let steps = vec![buildx(request).into(), publish::learn(file)];
        return Plan { steps, finally: vec![Step::new("rm").args(["-f", file])] };
    }
    let mut plan = Plan::of([buildx(request)]);
    if let Output::Oci(file) = &request.output {
        let new = new_archive(request, file);
        plan.steps.push(Step::new("mv").args([new.as_str(), file.as_str()]).into());
        plan.finally.push(Step::new("rm").args(["-f", new.as_str()]));
    }
    plan
}

/// The steps for the layer cache: a second build, which finds everything in the
/// builder and only writes. If it fails, the image still exists.
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
        // BuildKit writes the index last. An incomplete cache never replaces the
        // old one.
        let swap = "test -s \"$1/index.json\" && echo \"$3\" > \"$1/$4\" && rm -rf \"$2\" && mv \"$1\" \"$2\"";
        let words = ["-c", swap, "sh", new.as_str(), dir.as_str(), marker, CACHE_MARKER];
        plan.steps.push(Step::new("sh").args(words).into());
        plan.finally.push(Step::new("rm").args(["-rf", new.as_str()]));
    }
    Some(plan)
}

/// The build command.
pub fn buildx(request: &Request) -> Step {
    compose(request, None)
}

/// The command for the image, or the one that writes its layer cache.
fn compose(request: &Request, cache_to: Option<&str>) -> Step {
    // An exhaustive pattern, so that nobody forgets a new field.
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
        host_network,
        partial,
        date,
        limit,
        proves: _, // once it is pushed
        force_tags: _,
    } = request;
    let bound = |base: &Base| Some(format!("{}=docker-image://{}", base.reference, base.stand_in.as_ref()?));
    let mut step = Step { unset: unset.clone(), ..Step::new("docker") }
        // Otherwise buildx asks git about the context, and git may start a
        // program that the checkout's `.git/config` names.
        .env(environment::GIT_INFO, "false")
        .envs(date.map(|date| (environment::DATE, date.to_string())))
        .args(["buildx", "build"])
        // An attestation contains times, so no two builds would have the same
        // digest.
        .arg("--provenance=false")
        .each("--builder", builder)
        .args(["--file", dockerfile.as_str()])
        .each("--target", target);
    if cache_to.is_none() {
        // A digest has no tag: they are put on it when it is proved.
        let pushes = *output == Output::Push;
        step = step
            .each("--tag", tags.iter().filter(|_| !pushes).map(Reference::as_str))
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
        // An index also of one platform: a manifest alone has another digest as soon as
        // somebody signs it or joins it with others.
        (None, Output::Push) => {
            let step = step.through(publish::WITH_BUILDER).args(["--output", &publish::output(tags)]);
            step.args(["--build-arg", "BUILDKIT_MULTI_PLATFORM=1"])
        }
        (None, Output::Oci(file)) => step.args(["--output", &format!("type=oci,dest={}", new_archive(request, file))]),
        (None, Output::Folder(folder)) => {
            let new = request.partial.archive.as_ref().unwrap_or(folder);
            step.args(["--output", &format!("type=local,dest={new}")])
        }
    };
    // The build of the image has just refreshed everything.
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
    let pasted = (*output == Output::Push).then(|| publish::metadata_file(tags));
    let written = metadata_file.as_ref().map(|file| file.to_string()).or(pasted);
    step.limit = *limit;
    step.each("--cache-from", cache_from.filter(|_| !no_cache))
        .each("--cache-to", cache_to)
        .each("--build-arg", build_args)
        .each("--secret", secrets)
        .each("--build-context", bases.iter().filter_map(bound))
        .each("--progress", progress.map(|progress| progress.to_string()))
        .json(*progress == Some(Progress::Rawjson))
        .each("--metadata-file", written.filter(|_| cache_to.is_none()))
        .args(host_network.then_some("--network=host"))
        .arg(partial.context.as_ref().unwrap_or(context).as_str())
}

fn new_archive(request: &Request, file: &Utf8Path) -> Utf8PathBuf {
    request.partial.archive.clone().unwrap_or_else(|| format!("{file}.partial").into())
}

fn new_cache(request: &Request, dir: &Utf8Path) -> Utf8PathBuf {
    request.partial.cache.clone().unwrap_or_else(|| format!("{dir}.partial").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "x.fingerprint";

    fn request() -> Request {
        Request { reuse: true, labels: vec![("x.service".into(), "app".into())], ..Request::default() }
    }

    #[test]
    fn only_what_is_sure_and_no_single_runs_has_a_fingerprint() {
        let run = Request { run_labels: vec![("revision".into(), "1".into())], ..request() };
        for (request, doubt, expected) in
            [(request(), None, Some("kl")), (request(), Some("a link"), None), (run, None, None)]
        {
            let labelled = request.labelled(KEY, "kl", doubt);
            assert_eq!(labelled.instead(KEY), expected, "{doubt:?}");
            assert!(labelled.labels.starts_with(&request.labels));
        }
    }

    #[test]
    fn an_image_does_instead_of_a_build_that_only_the_engine_gets() {
        let sure = request().labelled(KEY, "kl", None);
        let amd: Platform = "linux/amd64".parse().unwrap();
        for (request, expected) in [
            (sure.clone(), Some("kl")),
            (Request { platforms: vec![amd.clone()], ..sure.clone() }, Some("kl")),
            (Request { platforms: vec![amd.clone(), "linux/arm64".parse().unwrap()], ..sure.clone() }, None),
            (Request { reuse: false, ..sure.clone() }, None),
            (Request { output: Output::Push, ..sure.clone() }, None),
            (Request { output: Output::Oci("a.tar".into()), ..sure.clone() }, None),
            (Request { annotations: vec!["a=b".into()], ..sure.clone() }, None),
            (request(), None),
        ] {
            assert_eq!(request.instead(KEY), expected, "{request:?}");
        }
    }

    #[test]
    fn the_right_image_has_the_platform_and_every_label() {
        let here = Platform::of_this_machine().to_string();
        let wanted = request().labelled(KEY, "kl", None);
        let foreign = Request { platforms: vec!["linux/riscv64".parse().unwrap()], ..wanted.clone() };
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let all = labels(&[("x.service", "app"), (KEY, "kl"), ("more", "")]);
        for (request, platform, labels, expected) in [
            (&wanted, here.as_str(), all.clone(), true),
            (&wanted, "linux/riscv64", all.clone(), false),
            (&wanted, "", all.clone(), false),
            (&foreign, "linux/riscv64", all.clone(), true),
            (&foreign, &here, all, false),
            (&wanted, &here, labels(&[("x.service", "app")]), false),
            (&wanted, &here, labels(&[("x.service", "app"), (KEY, "other")]), false),
            (&wanted, &here, labels(&[("x.service", "api"), (KEY, "kl")]), false),
        ] {
            assert_eq!(request.is_met_by(platform, &labels), expected, "{platform} {labels:?}");
        }
    }

    #[test]
    fn an_image_gets_the_names_that_it_lacks() {
        let request = Request { tags: vec!["app:a".parse().unwrap(), "app:b".parse().unwrap()], ..request() };
        let lines = |names: &[&str]| -> Vec<String> {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            request.tag("sha256:1", &names).iter().map(Step::to_string).collect()
        };
        assert_eq!(lines(&[]), ["docker tag sha256:1 app:a", "docker tag sha256:1 app:b"]);
        assert_eq!(lines(&["app:a", "other:b"]), ["docker tag sha256:1 app:b"]);
    }
}
