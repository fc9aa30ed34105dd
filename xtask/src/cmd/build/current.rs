//! Whether the image that would be built is there already.
//!
//! A build labels its image with the fingerprint of all that went in. When the
//! engine has an image of the same fingerprint, tags are put on it and nothing
//! is built. Any doubt, a build.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde_json::Value;

use crate::cmd::build::request::cache_root;
use crate::cmd::definition::{Definition, build_args};
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::run;
use crate::model::base::Base;
use crate::model::config::{Project, Service};
use crate::model::coverage::Coverage;
use crate::model::fingerprint::{self, File, Fingerprint, Inputs};
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::plan::build::{Output, Request};
use crate::plan::step::Step;

/// What a request would build now.
#[derive(PartialEq, Eq)]
pub struct Known {
    /// Of what the filter includes.
    pub fingerprint: Fingerprint,
    /// Why an image of this fingerprint may still be another.
    pub doubt: Option<String>,
}

/// The fingerprint of what a request would build now, or why nobody knows.
pub fn fingerprint(ctx: &Ctx, definition: &Definition<'_>, request: &Request) -> Result<Known, String> {
    let (service, target) = (definition.service, request.target.as_deref());
    let files = definition.files(ctx)?;
    let build_args = build_args(ctx, &request.build_args);
    let inputs = definition
        .inputs(ctx, target, &build_args, &files)
        .map_err(|error| format!("{}:{error}", service.dockerfile))?;
    let here = [Platform::of_this_machine()];
    let fingerprint = fingerprint::fingerprint(&Inputs {
        service,
        target,
        build_args: &build_args,
        platforms: if request.platforms.is_empty() { &here } else { &request.platforms },
        bases: &request.bases,
        files: &files,
    });
    Ok(Known { fingerprint, doubt: doubt(&definition.coverage(&inputs), &files) })
}

/// A file that goes into the build and does not count.
fn doubt(coverage: &Coverage<'_>, files: &[File]) -> Option<String> {
    let (folders, plain): (Vec<&str>, Vec<&str>) =
        files.iter().map(|file| file.path.as_str()).partition(|path| path.ends_with('/'));
    if let Some((path, _)) = coverage.missed(plain).first() {
        return Some(format!("`services.{}.paths` leaves out {path} (`cargo xtask ci check`)", coverage.service.name));
    }
    // What is in there changes with every command of git's.
    let of_git = |dir: &&&str| **dir == ".git/" || dir.ends_with("/.git/");
    let read = folders.iter().filter(of_git).find(|dir| coverage.reader(&format!("{dir}HEAD")).is_some())?;
    Some(format!("{read} goes into the build ({} in .dockerignore leaves it out)", read.trim_end_matches('/')))
}

/// The same of what `docker SERVICE` builds without options, on upstream's
/// bases.
pub fn of_service(ctx: &Ctx, project: &Project, service: &Service) -> Result<Fingerprint, String> {
    let definition = Definition::read(ctx, service).map_err(|fault| fault.to_string())?;
    let attempt = || -> anyhow::Result<Request> {
        let mut request = super::plain(ctx, project, service)?;
        let images = definition.images(service.target.as_deref(), &BTreeMap::new())?;
        request.bases = images.iter().map(|image| Base::upstream(image)).collect();
        Ok(request)
    };
    let request = attempt().map_err(|error| format!("{error:#}"))?;
    Ok(fingerprint(ctx, &definition, &request)?.fingerprint)
}

/// The label that holds a fingerprint.
pub fn label(project: &Project) -> String {
    project.label("fingerprint")
}

/// An image that a request would only build again: its id, after the request's
/// tags were put on it.
pub fn reuse(
    engine: &Engine,
    project: &Project,
    service: &Service,
    request: &Request,
) -> anyhow::Result<Option<String>> {
    let one_platform = request.platforms.len() <= 1;
    let wanted = request.labels.iter().find(|(key, _)| *key == label(project));
    let (true, true, Output::Load, Some((_, wanted))) = (request.reuse, one_platform, &request.output, wanted) else {
        return Ok(None);
    };
    // An image in the engine does not tell its annotations.
    if !request.annotations.is_empty() || !trusted(&engine.ctx, project, service, request) {
        return Ok(None);
    }
    let mut near: Vec<String> = request.tags.iter().map(Reference::to_string).collect();
    near.push(format!("{}:local", service.image));
    let found = match find(engine, request, near)? {
        // The list costs ten times what a question for one name does.
        None => {
            let images = engine.labelled("/images/json?", &format!("{}={wanted}", label(project)))?;
            let name = |image: &Value| image["RepoTags"][0].as_str().or(image["Id"].as_str()).map(str::to_owned);
            find(engine, request, images.iter().filter_map(name).collect())?
        }
        found => found,
    };
    let Some((name, image)) = found else { return Ok(None) };
    let has: Vec<&str> = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for tag in request.tags.iter().map(Reference::as_str).filter(|tag| !has.contains(tag)) {
        let step = Step::new("docker").args(["tag", &name, tag]);
        engine.ctx.show(&step);
        // Somebody may have removed it meanwhile.
        if run::probe(&engine.ctx, &step).is_none() {
            return Ok(None);
        }
    }
    Ok(image["Id"].as_str().map(str::to_owned))
}

/// The first of these images that is right, with its name.
fn find(engine: &Engine, request: &Request, names: Vec<String>) -> anyhow::Result<Option<(String, Value)>> {
    for name in names {
        if let Some(image) = engine.image(&name)?.filter(|image| is_right(image, request)) {
            return Ok(Some((name, image)));
        }
    }
    Ok(None)
}

/// Whether an image is what the request asks for: its platform and, the
/// fingerprint among them, all its labels.
fn is_right(image: &Value, request: &Request) -> bool {
    let platform =
        format!("{}/{}", image["Os"].as_str().unwrap_or_default(), image["Architecture"].as_str().unwrap_or_default());
    let wanted = request.platforms.first().cloned().unwrap_or_else(Platform::of_this_machine);
    let labels = &image["Config"]["Labels"];
    platform == wanted.to_string() && request.labels.iter().all(|(key, value)| labels[key] == value.as_str())
}

/// Whether all bases are what they were: known to the byte, or looked up by a
/// build not long ago.
fn trusted(ctx: &Ctx, project: &Project, service: &Service, request: &Request) -> bool {
    let file = looked_up(ctx, project, service);
    let young = || file.metadata().ok()?.modified().ok()?.elapsed().ok().map(|age| age <= project.trust_bases.0);
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    let mut moving = request.bases.iter().filter(|base| base.can_move()).peekable();
    moving.peek().is_none()
        || (young() == Some(true) && moving.all(|base| known.lines().any(|line| line == base.reference)))
}

/// Remembers that a build has just looked up its bases. Where that fails, the
/// next run builds.
pub fn remember(ctx: &Ctx, project: &Project, service: &Service, bases: &[Base]) {
    let lines: Vec<String> =
        bases.iter().filter(|base| base.can_move()).map(|base| format!("{}\n", base.reference)).collect();
    if !lines.is_empty() {
        let file = looked_up(ctx, project, service);
        let _ = std::fs::create_dir_all(cache_root(ctx, project));
        let _ = std::fs::write(file, lines.concat());
    }
}

fn looked_up(ctx: &Ctx, project: &Project, service: &Service) -> Utf8PathBuf {
    cache_root(ctx, project).join(format!("{}-bases", service.name))
}
