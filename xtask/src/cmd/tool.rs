//! How a program that publishing needs comes onto the machine: it is on the PATH
//! in a version that will do, or a stage of the Dockerfile, pinned by hash, makes
//! it. Then it is kept in the user's cache folder and run from there.

use camino::Utf8PathBuf;

use crate::cmd;
use crate::cmd::definition::{BuildSettings, Definition};
use crate::cmd::{image, lint};
use crate::ctx::Ctx;
use crate::exec::atomic_output::AtomicOutput;
use crate::exec::engine::Engine;
use crate::exec::{context, program, run};
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service};
use crate::model::environment;
use crate::model::platform::Platform;
use crate::model::tool::Tool;
use crate::plan;
use crate::plan::build::{PartialOutputs, Request, buildx};
use crate::plan::step::{Plan, Step};
use crate::standin;

/// A tool, ready to be run, or what makes it.
struct Wanted {
    /// What is run.
    path: Utf8PathBuf,
    /// Where its stage's files go; none: it is there.
    folder: Option<Utf8PathBuf>,
}

/// The path of a tool, which is made if it is missing.
pub fn ensure(engine: &Engine, project: &Project, tool: &Tool) -> anyhow::Result<Utf8PathBuf> {
    let ctx = &engine.ctx;
    let stage = lint::linter(project, tool.stage)?;
    let wanted = wanted(ctx, project, tool, &stage)?;
    let Some(folder) = wanted.folder else { return Ok(wanted.path) };
    let output = AtomicOutput::new(ctx, &folder)?;
    // Another run may have made it while this one waited.
    if wanted.path.is_file() {
        return Ok(wanted.path);
    }
    let definition = Definition::read(ctx, &stage)?;
    let machine = Platform::of_this_machine();
    let builder: Platform = engine.version()?.platform().parse()?;
    let mut request = request(ctx, tool, &folder, Some(&builder));
    let setting = BuildSettings::new(ctx, &[], std::slice::from_ref(&machine), &[]);
    let images = definition.images(Some(tool.stage), &setting)?;
    let needed = definition.platforms(Some(tool.stage), &setting, &builder)?.images;
    request.bases = standin::resolve(engine, Bases::Auto, &images, &needed)?;
    let lent = definition.lend(ctx, request)?;
    let link = context::link(ctx, &lent, None, &definition.both().ignore_text)?;
    let partial = PartialOutputs {
        archive: Some(output.new_path().to_owned()),
        context: Some(link.path().to_owned()),
        ..PartialOutputs::default()
    };
    let own = Request { partial, ..lent.clone() };
    engine.run(&buildx(&lent).run_as(buildx(&own)))?;
    if !output.new_path().join(tool.name).is_file() {
        return Err(fault::failed(format!("the stage `{}` of the Dockerfile has no /{}", tool.stage, tool.name)).into());
    }
    output.put()?;
    Ok(wanted.path)
}

/// What [`ensure`] would do, and what is run then.
pub fn plan_ensure(
    ctx: &Ctx,
    engine: Option<&Engine>,
    project: &Project,
    tool: &Tool,
) -> anyhow::Result<(Plan, Utf8PathBuf)> {
    let ctx = engine.map_or(ctx, |engine| &engine.ctx);
    let stage = lint::linter(project, tool.stage)?;
    let wanted = wanted(ctx, project, tool, &stage)?;
    let Some(folder) = wanted.folder else { return Ok((Plan::default(), wanted.path)) };
    let mut request = request(ctx, tool, &folder, None);
    if let Some(engine) = engine {
        let definition = Definition::read(ctx, &stage)?;
        let setting = BuildSettings::plain();
        let builder: Platform = engine.version()?.platform().parse()?;
        let images = definition.images(Some(tool.stage), &setting)?;
        let needed = definition.platforms(Some(tool.stage), &setting, &builder)?.images;
        request.bases = standin::resolve(engine, Bases::Auto, &images, &needed)?;
        request = definition.lent(ctx, request)?.0;
    }
    Ok((Plan::of([buildx(&request)]), wanted.path))
}

fn wanted(ctx: &Ctx, project: &Project, tool: &Tool, stage: &Service) -> anyhow::Result<Wanted> {
    let there = program::find(ctx, tool.name);
    let version = Step::new(tool.name).args(tool.version.iter().copied());
    let said = there.as_ref().and_then(|_| run::probe(ctx, &version));
    if said.as_deref().and_then(|said| tool.accepts(said)).is_some() {
        return Ok(Wanted { path: tool.name.into(), folder: None });
    }
    let machine = Platform::of_this_machine();
    let setting = BuildSettings::plain();
    let recipe = Definition::read(ctx, stage).and_then(|definition| definition.recipe(Some(tool.stage), &setting));
    let help = format!("install {}, or give the Dockerfile a stage `{}` that has it", tool.wanted(), tool.stage);
    let what = match there {
        Some(_) => format!("the `{}` on the PATH is not known to be {}", tool.name, tool.wanted()),
        None => format!("`{}` is not on the PATH", tool.name),
    };
    if !cfg!(target_os = "linux") {
        return Err(fault::failed(format!("{what}, and what a stage makes runs on Linux alone")).help(help).into());
    }
    let recipe = recipe.map_err(|why| fault::failed(format!("{what}, and no stage makes it: {why}")).help(help))?;
    let folder = plan::tool::folder(&image::request::cache_root(ctx, project), tool, &machine, recipe.forms());
    let path = folder.join(tool.name);
    let folder = (!path.is_file()).then_some(folder);
    Ok(Wanted { path, folder })
}

fn request(ctx: &Ctx, tool: &Tool, folder: &camino::Utf8Path, builder: Option<&Platform>) -> Request {
    let mut request = plan::tool::request(tool, folder, &Platform::of_this_machine(), builder);
    request.secrets.extend(cmd::ca_bundle(ctx).map(|file| format!("id=ca-bundle,src={file}")));
    request.unset = environment::set_aside(ctx.env.names());
    request
}
