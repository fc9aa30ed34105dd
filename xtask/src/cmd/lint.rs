//! `lint`: formats and lints of the xtask, `ci check`, and the linters of
//! workflows. The linters run in stages of the Dockerfile, each in its pinned
//! version, so a machine only needs an engine. The applications' linters run in
//! their test stages, which have their tools.

use path_filter::{PathFilter, Pattern};

use crate::cli::LintArgs;
use crate::cmd;
use crate::cmd::image;
use crate::cmd::objects::Linted;
use crate::ctx::{Ctx, Format};
use crate::engine::search;
use crate::exec::container_guard::ContainerGuard;
use crate::exec::engine::Engine;
use crate::exec::runner::{self, Watched};
use crate::exec::{checkout, interrupt, program, run};
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service, ServiceLines};
use crate::model::reference::Tag;
use crate::plan;
use crate::plan::container::ContainerGroup;
use crate::plan::step::{Plan, Step};
use crate::plan::workflow::FOLDER;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &LintArgs) -> anyhow::Result<()> {
    if args.msrv {
        return msrv(ctx);
    }
    if ctx.dry_run {
        let engine = cmd::asked(ctx)?;
        let mut plans = vec![plan::lint::rust()];
        plans.push(cmd::sweep(engine.as_ref(), project)?);
        plans.extend(workflow_plans(ctx, engine.as_ref(), project)?);
        return cmd::print(ctx, engine.as_ref(), &plans);
    }
    runner::perform(&plan::lint::rust(), &Watched(ctx))?;
    check(ctx, project).unwrap_or(Ok(()))?;
    if !stages(project).is_empty() {
        match search::connect(ctx) {
            Ok(engine) => stages(project).iter().try_for_each(|stage| workflows(&engine, project, stage))?,
            Err(_) => without_engine(ctx)?,
        }
    }
    match ctx.format {
        Format::Json => ctx.result(&Linted { passed: true }, String::new),
        // People have seen the output already.
        Format::Text | Format::Github => Ok(()),
    }
}

fn msrv(ctx: &Ctx) -> anyhow::Result<()> {
    let plan = plan::lint::msrv(env!("CARGO_PKG_RUST_VERSION"));
    if ctx.dry_run {
        return cmd::print(ctx, None, &[plan]);
    }
    if program::find(ctx, "rustup").is_none() {
        return Err(fault::failed("`rustup`, which installs other versions of Rust, is not on the PATH")
            .help("install it: https://rustup.rs")
            .into());
    }
    runner::perform(&plan, &Watched(ctx))
}

/// Runs `ci check`, if this is a git repository.
pub fn check(ctx: &Ctx, project: &Project) -> Option<anyhow::Result<()>> {
    if ctx.root.join(".git").exists() {
        return Some(cmd::ci::check::nothing_is_wrong(ctx, project));
    }
    ctx.say("note: not a git checkout: `cargo xtask ci check` is left out");
    None
}

/// The stages whose commands lint .github.
pub fn stages(project: &Project) -> &[String] {
    project.ci.as_ref().map_or(&[], |ci| &ci.lint)
}

/// Runs one linter in its stage.
pub fn workflows(engine: &Engine, project: &Project, stage: &str) -> anyhow::Result<()> {
    let _images = image::request::hold_images(&engine.ctx, project)?;
    let linter = linter(project, stage)?;
    let image = image::ensure(engine, project, &linter, Some(stage), &Tag::local(), None, Bases::Auto)?;
    let guard = ContainerGuard::new(engine, project, false)?;
    let lint = plan::lint::stage(&guard.group, &linter, &image.id);
    let linted = engine.run(&lint);
    if interrupt::raised() {
        guard.broke_off(&lint);
    }
    linted
}

/// `ci check` and the linter of each stage, as plans.
pub fn workflow_plans(ctx: &Ctx, engine: Option<&Engine>, project: &Project) -> anyhow::Result<Vec<Plan>> {
    let group = ContainerGroup::of_line(project, checkout::identity(&ctx.root));
    let mut plans = vec![Plan::of([Step::new("cargo").args(["xtask", "ci", "check"])])];
    for stage in stages(project) {
        let linter = linter(project, stage)?;
        let image = image::plan_ensure(ctx, engine, project, &linter, Some(stage), &Tag::local(), None, Bases::Auto)?;
        plans.extend([image.plan, Plan::of([plan::lint::stage(&group, &linter, &image.image)])]);
    }
    Ok(plans)
}

/// A service that only has a linter's stage: it has nothing to run or to publish.
pub fn linter(project: &Project, stage: &str) -> anyhow::Result<Service> {
    let everything = Pattern::parse("**").map_err(|why| fault::failed(why.to_string()))?;
    Ok(Service {
        name: stage.to_owned(),
        title: stage.to_owned(),
        image: format!("{}-{stage}", project.name).parse().map_err(fault::usage)?,
        dockerfile: "Dockerfile".into(),
        // The image of a linter needs no fingerprint.
        target: None,
        target_line: None,
        context: ".".into(),
        paths: PathFilter::new(vec![everything]).map_err(fault::failed)?,
        path_lines: vec![1],
        platforms: Vec::new(),
        emulate: false,
        workflow: String::new(),
        size_budget: None,
        run: None,
        test: None,
        lines: ServiceLines::default(),
    })
}

/// Without an engine: runs the installed linters, in any version, and says which
/// are missing.
fn without_engine(ctx: &Ctx) -> anyhow::Result<()> {
    let workflows = cmd::ci::workflows::files(ctx)?.into_iter().filter(|file| file.starts_with(FOLDER));
    let schema = Step::new("check-jsonschema").args(["--builtin-schema", "vendor.github-workflows"]).args(workflows);
    let zizmor = "--strict-collection --offline --no-progress --min-severity low .github";
    let zizmor = Step::new("zizmor").args(zizmor.split(' '));
    for step in [Step::new("actionlint"), schema, zizmor] {
        let name = &step.tool;
        if program::find(ctx, name).is_some() {
            run::run(ctx, &step)?;
        } else {
            let without = "it did not check the workflows (`cargo xtask setup` gets an engine)";
            ctx.say(format!("note: no engine answers and `{name}` is not installed: {without}"));
        }
    }
    Ok(())
}
