//! Whether the image that would be built is there already.
//!
//! A build labels its image with the fingerprint of all that went in. When the
//! engine has an image of the same fingerprint, tags are put on it and nothing
//! is built. Any doubt, a build.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::cmd::build::request::cache_root;
use crate::cmd::definition::{Definition, Setting};
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::http::Route;
use crate::exec::run;
use crate::fault::Fault;
use crate::model::base::Base;
use crate::model::config::{Project, Service};
use crate::model::dockerfile;
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
    let setting = Setting::new(ctx, &request.build_args, &request.platforms, &request.bases);
    let inputs = definition.inputs(ctx, target, &setting, &files).map_err(|broken| Fault::from(broken).to_string())?;
    let fingerprint = fingerprint::fingerprint(&Inputs {
        service,
        target,
        build_args: &setting.build_args,
        platforms: &setting.platforms,
        bases: &request.bases,
        files: &files,
    });
    Ok(Known { fingerprint, doubt: doubt(ctx, definition, &inputs, &files) })
}

/// What goes into the build and does not count, or may be another tomorrow.
fn doubt(
    ctx: &Ctx,
    definition: &Definition<'_>,
    inputs: &dockerfile::inputs::Inputs,
    files: &[File],
) -> Option<String> {
    let service = definition.service;
    if let Some(path) = definition.linked(ctx) {
        return Some(format!("{path} lies behind a symbolic link (`cargo xtask ci check`)"));
    }
    if let Some(it) = inputs.moving.first() {
        return Some(format!("{}:{}: {}", service.dockerfile, it.line, it.message));
    }
    if let Some(image) = inputs.unknown_bases.first() {
        return Some(format!(
            "the engine does not have {image}: what its ONBUILD reads is not known (`docker pull {image}`)"
        ));
    }
    let coverage = definition.coverage(inputs);
    let (folders, plain): (Vec<&str>, Vec<&str>) =
        files.iter().map(|file| file.path.as_str()).partition(|path| path.ends_with('/'));
    if let Some((path, _)) = coverage.missed(plain).first() {
        return Some(format!("`services.{}.paths` leaves out {path} (`cargo xtask ci check`)", service.name));
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
        let images = definition.images(service.target.as_deref(), &Setting::plain())?;
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
    if !request.annotations.is_empty() || !trusted(&engine.ctx, project, service, request, wanted) {
        return Ok(None);
    }
    let mut near: Vec<String> = request.tags.iter().map(Reference::to_string).collect();
    near.push(format!("{}:local", service.image));
    let found = match find(engine, request, near)? {
        // The list costs ten times what a question for one name does.
        None => {
            let images = engine.labelled(Route::new(&["images", "json"]), &format!("{}={wanted}", label(project)))?;
            // What lost its name may have lost it because files changed while it was built.
            let name = |image: &Value| image["RepoTags"][0].as_str().map(str::to_owned);
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

/// Whether all bases are what they were: known to the byte, or looked up not
/// long ago by a build of the very same.
fn trusted(ctx: &Ctx, project: &Project, service: &Service, request: &Request, wanted: &str) -> bool {
    !request.bases.iter().any(Base::can_move)
        || young(&looked_up(ctx, project, service), project.trust_bases.0).iter().any(|(_, known)| known == wanted)
}

/// Remembers that a build of this fingerprint has just looked up its bases; what
/// other builds have looked up says nothing about it. Where that fails, the next
/// run builds.
pub fn remember(ctx: &Ctx, project: &Project, service: &Service, bases: &[Base], fingerprint: &Fingerprint) {
    if bases.iter().any(Base::can_move) {
        let file = looked_up(ctx, project, service);
        let mut known = young(&file, project.trust_bases.0);
        known.retain(|(_, known)| *known != fingerprint.to_string());
        known.push((now(), fingerprint.to_string()));
        let lines: String = known.iter().map(|(when, known)| format!("{when} {known}\n")).collect();
        let _ = std::fs::create_dir_all(cache_root(ctx, project));
        let _ = std::fs::write(file, lines);
    }
}

/// What was looked up not longer ago than `trust`: the second, since 1970, and
/// the fingerprint.
fn young(file: &Utf8Path, trust: Duration) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let entry = |line: &str| {
        let (when, known) = line.split_once(' ')?;
        Some((when.parse().ok()?, known.to_owned()))
    };
    // A time to come is of a clock that was set back: nobody knows how old it is.
    let is_young = |(when, _): &(u64, String)| now().checked_sub(*when).is_some_and(|age| age < trust.as_secs());
    text.lines().filter_map(entry).filter(is_young).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn looked_up(ctx: &Ctx, project: &Project, service: &Service) -> Utf8PathBuf {
    cache_root(ctx, project).join(format!("{}-bases", service.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_looked_up_not_long_ago_is_trusted() {
        let file =
            Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap().join(format!("bases-{}", std::process::id()));
        let now = now();
        std::fs::write(&file, format!("{} old\n{} young\n{} tomorrow\npython:3.11\n", now - 7200, now - 60, now + 999))
            .unwrap();
        let names =
            |trust| young(&file, Duration::from_secs(trust)).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(names(3600), ["young"]);
        assert_eq!(names(86_400), ["old", "young"]);
        assert_eq!(names(0), Vec::<String>::new());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(names(3600), Vec::<String>::new());
    }
}
