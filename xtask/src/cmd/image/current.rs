//! Whether the image that would be built is there already.
//!
//! A build labels its image with the fingerprint of all that went in, and we
//! write down the image's id. When the engine still has an image that was built
//! here from the same, tags are put on it and nothing is built. Any doubt, a
//! build.

use std::borrow::Cow;

use crate::cmd::definition::{BuildSettings, Definition};
use crate::cmd::image::record;
use crate::cmd::shared_scan::{ServiceView, SharedScan};
use crate::ctx::Ctx;
use crate::engine::search;
use crate::exec::engine::{Engine, answers::Image};
use crate::model::base::Base;
use crate::model::config::{Project, Service};
use crate::model::coverage::{Coverage, in_context};
use crate::model::doubt::{Answer, Doubt};
use crate::model::environment;
use crate::model::fingerprint::{self, Fingerprint, FingerprintInputs};
use crate::plan::build::Request;
use crate::plan::step::Step;
use docker_context::dockerfile;

/// What a request would build now.
pub struct CurrentInputs {
    /// Of what the filter includes.
    pub fingerprint: Fingerprint,
    /// Why an image of this fingerprint may still be another.
    pub doubt: Option<String>,
    /// The bases that the engine does not have, so that nobody knows what
    /// their ONBUILD reads.
    pub unknown_bases: Vec<String>,
}

/// What a request would build now, or why nobody knows.
pub fn inputs(
    ctx: &Ctx,
    look: &SharedScan<'_>,
    definition: &Definition<'_>,
    request: &Request,
) -> Answer<CurrentInputs> {
    let (seen, inputs, fingerprint) = match made_of(ctx, look, definition, request) {
        Ok(made) => made,
        Err(why) => return Answer::Doubt(why),
    };
    let of_environment = environment::doubt(&request.build_args, &|name| ctx.variable(name));
    let doubt = of_environment.or_else(|| doubt(ctx, definition, &inputs, &seen));
    Answer::Known(CurrentInputs { fingerprint, doubt, unknown_bases: inputs.unknown_bases })
}

/// The fingerprint, with what it was made of.
fn made_of<'k>(
    ctx: &Ctx,
    look: &'k SharedScan<'_>,
    definition: &Definition<'_>,
    request: &Request,
) -> Result<(ServiceView<'k>, dockerfile::inputs::Inputs, Fingerprint), Doubt> {
    let (service, target) = (definition.service, request.target.as_deref());
    let seen = look.seen_by(definition)?;
    let setting = BuildSettings::new(ctx, &request.build_args, &request.platforms, &request.bases);
    let inputs = definition.inputs(target, &setting, &seen.links())?;
    let mut build_args = setting.build_args.clone();
    build_args.extend(proxies(ctx).map(|proxies| ("`proxies` of the client's configuration".to_owned(), proxies)));
    // No filter names a folder: where it lists files, those of the folder count
    // and the folder does not.
    let coverage = definition.coverage(&inputs);
    let heads = coverage.heads();
    let folders = seen.folders(&heads).filter(|folder| is_folder_read(definition, &inputs, &folder.path));
    let recipe = definition.recipe(target, &setting).map_err(|broken| broken.to_string())?;
    let fingerprint = fingerprint::fingerprint(&FingerprintInputs {
        service,
        target,
        recipe: &recipe,
        is_read: &|path| coverage.is_read(path),
        is_emptied: &|path| coverage.is_emptied(path),
        build_args: &build_args,
        platforms: &setting.platforms,
        bases: &request.bases,
        files: &seen.files(&service.paths.heads()),
        folders: &folders.map(Cow::into_owned).collect::<Vec<_>>(),
    });
    Ok((seen, inputs, fingerprint))
}

/// The proxies of the client's configuration: buildx makes build arguments of
/// them.
fn proxies(ctx: &Ctx) -> Option<String> {
    // What can't be read the client does not read either.
    Some(search::Client::read(ctx).ok()?.proxies?.to_string())
}

/// Whether a path is that of a folder that a stage reads.
pub fn is_folder_read(definition: &Definition<'_>, inputs: &dockerfile::inputs::Inputs, path: &str) -> bool {
    let path = path.strip_suffix('/').and_then(|path| in_context(definition.service.context.as_str(), path));
    path.is_some_and(|path| inputs.reads(path).is_some())
}

/// What goes into the build and does not count, or may be another tomorrow.
fn doubt(
    ctx: &Ctx,
    definition: &Definition<'_>,
    inputs: &dockerfile::inputs::Inputs,
    seen: &ServiceView<'_>,
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
    let files = seen.files(&coverage.heads());
    let plain = files.iter().map(|file| file.path.as_str()).filter(|path| !path.ends_with('/'));
    if let Some((path, _)) = coverage.missed(plain).first() {
        return Some(format!("`services.{}.paths` leaves out {path} (`cargo xtask ci check`)", service.name));
    }
    git_that_goes_in(ctx, &coverage, seen.git_folders())
}

/// Which `.git` a stage reads of. What is in there changes with every command
/// of git's.
pub fn git_that_goes_in<'p>(
    ctx: &Ctx,
    coverage: &Coverage<'_>,
    mut folders: impl Iterator<Item = &'p str>,
) -> Option<String> {
    let read = folders.find(|dir| goes_in(ctx, coverage, dir, &mut GIT_FILES.clone()))?;
    Some(format!("{read} goes into the build ({} in .dockerignore leaves it out)", read.trim_end_matches('/')))
}

/// Where there are more in a `.git`, nobody looks at each.
const GIT_FILES: usize = 20_000;

/// Whether a stage reads anything below a folder, or may, as far as one looks.
fn goes_in(ctx: &Ctx, coverage: &Coverage<'_>, dir: &str, left: &mut usize) -> bool {
    if coverage.reader(dir.trim_end_matches('/')).is_some() {
        return true;
    }
    if !coverage.may_read_below(dir) {
        return false;
    }
    let Ok(entries) = ctx.root.join(dir).read_dir_utf8() else { return true };
    for entry in entries {
        let Ok(entry) = entry else { return true };
        let path = format!("{dir}{}", entry.file_name());
        *left = left.saturating_sub(1);
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_read = coverage.reader(&path).is_some();
        if *left == 0 || is_read || is_dir && goes_in(ctx, coverage, &format!("{path}/"), left) {
            return true;
        }
    }
    false
}

/// The fingerprint of what `docker SERVICE` builds without options, on
/// upstream's bases.
pub fn of_service(ctx: &Ctx, look: &SharedScan<'_>, project: &Project, service: &Service) -> Option<Fingerprint> {
    let definition = look.definition(service).ok()?;
    let mut request = super::default_request(ctx, project, service).ok()?;
    let images = definition.images(service.target.as_deref(), &BuildSettings::plain()).ok()?;
    request.bases = images.iter().map(|image| Base::upstream(image)).collect();
    Some(made_of(ctx, look, &definition, &request).ok()?.2)
}

/// The label that holds a fingerprint.
pub fn label(project: &Project) -> String {
    project.label("fingerprint")
}

/// An image that a request would only build again: its id, after the request's
/// tags were put on it.
pub fn reuse(engine: &Engine, project: &Project, request: &Request) -> anyhow::Result<Option<String>> {
    let tag = |step: &Step| {
        engine.ctx.show(step);
        // Somebody may have removed the image meanwhile.
        engine.probe(step).is_some()
    };
    find(engine, project, request, |image| request.tag(&image.id, &image.repo_tags).iter().all(tag))
}

/// The same, with the steps that put the tags on it, and none of them done.
pub fn reusable(engine: &Engine, project: &Project, request: &Request) -> anyhow::Result<Option<(String, Vec<Step>)>> {
    let mut steps = Vec::new();
    let found = find(engine, project, request, |image| {
        steps = request.tag(&image.id, &image.repo_tags);
        true
    })?;
    Ok(found.map(|id| (id, steps)))
}

/// The id of the first image that will do, and is `taken`.
fn find(
    engine: &Engine,
    project: &Project,
    request: &Request,
    mut taken: impl FnMut(&Image) -> bool,
) -> anyhow::Result<Option<String>> {
    let Some(wanted) = request.instead(&label(project)) else { return Ok(None) };
    let moves = request.bases.iter().any(Base::can_move);
    for build in record::builds_of(&engine.ctx, project, wanted) {
        // Bases are known to the byte, or looked up not long ago by a build of the very same.
        if moves && !record::is_young(&build, project.trust_bases) {
            continue;
        }
        for id in &build.ids {
            let is_right = |image: &Image| request.is_met_by(&image.platform(), &image.config.labels);
            if let Some(image) = engine.image(id)?.filter(is_right)
                && taken(&image)
            {
                return Ok(Some(image.id));
            }
        }
    }
    Ok(None)
}
