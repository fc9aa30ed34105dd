//! `test`: runs every test of the repository, and sums them up in one line.
//!
//! The applications' tests run in stages of the Dockerfile, next to real servers,
//! so a machine needs the engine, but not uv, Node and pnpm. `cargo test` alone
//! ignores the tests that need the engine (`#[ignore]`); here they run.

mod count;

use std::cell::Cell;

use crate::cli::TestArgs;
use crate::cmd;
use crate::cmd::objects::Tested;
use crate::cmd::test::count::Counted;
use crate::ctx::Ctx;
use crate::engine;
use crate::engine::search;
use crate::exec::container_guard::ContainerGuard;
use crate::exec::engine::Engine;
use crate::exec::{checkout, clock, interrupt, revision, run};
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service, Test};
use crate::model::definition_changes::is_the_tool;
use crate::model::reference::Tag;
use crate::model::tally::Tally;
use crate::plan;
use crate::plan::container::ContainerGroup;
use crate::plan::step::{Plan, Step};
use crate::plan::system;
use crate::standin;

/// A suite that can run alone.
#[derive(Clone, Copy)]
enum Suite<'a> {
    /// The xtask: formats, lints, unit and property tests, plans.
    Rust,
    /// .github: `ci check`, and the linters in their stages.
    Workflows,
    /// A service's own tests, in their stage.
    Service(&'a Service, &'a Test),
    /// The images and every verb, on a real engine.
    Images,
    /// Random changes compared with raw builds. It only runs if it is named.
    Fuzz {
        /// How long it runs.
        seconds: u64,
        /// The first case.
        seed: u64,
    },
}

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &TestArgs) -> anyhow::Result<()> {
    let parts = parts(ctx, project, args)?;
    if ctx.dry_run {
        let engine = if needs_engine(&parts) { cmd::asked(ctx)? } else { None };
        return cmd::print(ctx, engine.as_ref(), &plans(ctx, engine.as_ref(), project, &parts, args.setup.wanted)?);
    }
    // An engine that was started for the tests is stopped at the end.
    let engine = Started(ctx, Cell::new(false));
    if args.setup.wanted && needs_engine(&parts) {
        cmd::setup::ensure_telling(ctx, &cmd::sources(ctx, project)?, &engine.1)?;
    }
    let mut sum = Tally::default();
    let mut failed = Vec::new();
    for (name, part) in parts {
        ctx.say(format!("── {name}"));
        let (counted, result) = match part {
            Suite::Rust => rust(ctx),
            Suite::Workflows => workflows(ctx, project),
            Suite::Service(service, test) => staged(ctx, project, service, test),
            Suite::Images => count::cargo(ctx, &on_engine()),
            Suite::Fuzz { seconds, seed } => count::cargo(ctx, &fuzz(seconds, seed)),
        };
        interrupt::check()?;
        sum += counted;
        if let Err(error) = result {
            // A suite that fails before its runner counts tests is one failure.
            sum.failed += u64::from(counted.failed == 0);
            ctx.say(fault::render(&error));
            failed.push(name);
        }
    }
    let Tally { passed, failed: not } = sum;
    let tested = Tested { passed, failed: not, parts_failed: failed.iter().map(ToString::to_string).collect() };
    let delivered = ctx.result(&tested, || format!("{passed} passed, {not} failed"));
    // Failures are reported even if nobody reads the result.
    if failed.is_empty() {
        return delivered;
    }
    Err(fault::failed(format!("failed: {}", failed.join(", ")))
        .help(format!("`cargo xtask test {}` runs only this part", failed.join(" ")))
        .into())
}

/// The suites with these names, or all suites of the project.
fn parts<'a>(ctx: &Ctx, project: &'a Project, args: &TestArgs) -> anyhow::Result<Vec<(&'a str, Suite<'a>)>> {
    let names = &args.parts;
    let mut all = Vec::new();
    // Another project has no xtask of its own to test.
    let is_ours = match revision::here(ctx, "xtask/Cargo.toml") {
        Ok(text) => text.is_some_and(|text| is_the_tool(&text)),
        Err(_) => false,
    };
    all.extend(is_ours.then_some(("rust", Suite::Rust)));
    all.extend(project.ci.is_some().then_some(("workflows", Suite::Workflows)));
    let tested = project.services.values().filter_map(|service| Some((service, service.test.as_ref()?)));
    all.extend(tested.map(|(service, test)| (test.part.as_str(), Suite::Service(service, test))));
    all.extend(is_ours.then_some(("images", Suite::Images)));
    if is_ours && names.iter().any(|name| name == "fuzz") {
        all.push((
            "fuzz",
            Suite::Fuzz { seconds: args.seconds, seed: args.seed.unwrap_or_else(|| clock::now().as_secs()) },
        ));
    }
    if let Some(wrong) = names.iter().find(|name| all.iter().all(|(known, _)| known != name)) {
        let known = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(fault::usage(format!("there is no part `{wrong}`")).help(format!("the parts are: {known}")).into());
    }
    Ok(all.into_iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name)).collect())
}

fn needs_engine(parts: &[(&str, Suite<'_>)]) -> bool {
    parts.iter().any(|(_, part)| !matches!(part, Suite::Rust))
}

/// Stops the private engine at the end, unless it ran before.
struct Started<'a>(&'a Ctx, Cell<bool>);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if self.1.get()
            && let Err(error) = engine::down(self.0, false)
        {
            self.0.say(fault::render(&error));
        }
    }
}

fn unit() -> Step {
    Step::new("cargo").args(["test", "--quiet", "--locked", "--no-fail-fast", "--workspace"])
}

fn on_engine() -> Step {
    Step::new("cargo").args([
        "test",
        "--quiet",
        "--locked",
        "--no-fail-fast",
        "--package",
        "xtask",
        "--test",
        "engine",
        "--test",
        "applications",
        "--test",
        "counts",
        "--test",
        "checkouts",
        "--test",
        "current",
        "--test",
        "oracle",
        "--test",
        "differential",
        "--test",
        "rehearsal",
        "--test",
        "network",
        "--test",
        "private",
        "--test",
        "refusals",
        "--",
        "--ignored",
        "--test-threads=2",
    ])
}

fn fuzz(seconds: u64, seed: u64) -> Step {
    Step::new("cargo")
        .args([
            "test",
            "--quiet",
            "--locked",
            "--package",
            "xtask",
            "--test",
            "differential",
            "--",
            "--ignored",
            "--nocapture",
        ])
        .env("XTASK_FUZZ_SECONDS", seconds.to_string())
        .env("XTASK_FUZZ_SEED", seed.to_string())
}

fn rust(ctx: &Ctx) -> Counted {
    for step in plan::lint::rust().commands() {
        // rustup's minimal profile has neither clippy nor rustfmt, so an error
        // says what to add.
        let verb = step.args.first().cloned().unwrap_or_default();
        if run::probe(ctx, &Step::new("cargo").args([verb.as_str(), "-h"])).is_none() {
            ctx.say(format!("note: `cargo {verb}` is not installed: left out (`rustup component add clippy rustfmt`)"));
            continue;
        }
        if let Err(error) = run::run(ctx, step) {
            return (Tally::default(), Err(error));
        }
    }
    count::cargo(ctx, &unit())
}

/// Runs a service's own tests in their stage.
fn staged(ctx: &Ctx, project: &Project, service: &Service, test: &Test) -> Counted {
    let attempt = || -> anyhow::Result<Counted> {
        let engine = search::connect(ctx)?;
        let _images = cmd::image::request::hold_images(&engine.ctx, project)?;
        let image =
            cmd::image::ensure(&engine, project, service, Some(&test.target), &Tag::local(), None, Bases::Auto)?;
        let needs = standin::images_for(&engine, project, &test.needs, Bases::Auto)?;
        let guard = ContainerGuard::new(&engine, project, false)?;
        guard.perform(&Plan { steps: system::needs(&guard.group, &needs, false), finally: Vec::new() })?;
        let tests = guard.group.run_tests(service, test, &image.id);
        let counted = count::service(&engine, &tests, guard.group.report(test).as_ref());
        if interrupt::raised() {
            guard.broke_off(&tests);
        }
        Ok(counted)
    };
    attempt().unwrap_or_else(|error| (Tally::default(), Err(error)))
}

/// Runs `ci check` and each linter of .github, as one test each.
fn workflows(ctx: &Ctx, project: &Project) -> Counted {
    let mut results: Vec<_> = cmd::lint::check(ctx, project).into_iter().collect();
    match search::connect(ctx) {
        Ok(engine) => {
            let stages = cmd::lint::stages(project).iter();
            results.extend(stages.map(|stage| cmd::lint::workflows(&engine, project, stage)));
        }
        Err(error) => results.push(Err(error)),
    }
    let failed = results.iter().filter(|result| result.is_err()).count() as u64;
    let tally = Tally { passed: results.len() as u64 - failed, failed };
    (tally, results.into_iter().collect())
}

fn plans(
    ctx: &Ctx,
    engine: Option<&Engine>,
    project: &Project,
    parts: &[(&str, Suite<'_>)],
    with_setup: bool,
) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    if with_setup && needs_engine(parts) {
        plans.push(Plan::of([Step::setup()]));
    }
    if parts.iter().any(|(_, part)| matches!(part, Suite::Service(..))) {
        plans.push(cmd::sweep(engine, project)?);
    }
    let group = ContainerGroup::of_line(project, checkout::identity(&ctx.root));
    for (_, part) in parts {
        match part {
            Suite::Rust => plans.extend([plan::lint::rust(), Plan::of([unit()])]),
            Suite::Images => plans.push(Plan::of([on_engine()])),
            Suite::Fuzz { seconds, seed } => plans.push(Plan::of([fuzz(*seconds, *seed)])),
            Suite::Workflows => plans.extend(cmd::lint::workflow_plans(ctx, engine, project)?),
            Suite::Service(service, test) => {
                let target = Some(test.target.as_str());
                let image =
                    cmd::image::plan_ensure(ctx, engine, project, service, target, &Tag::local(), None, Bases::Auto)?;
                let needs = cmd::need_images(engine, project, &test.needs, Bases::Auto)?;
                plans.extend([image.plan, system::tests(&group, service, test, &needs, &image.image)]);
            }
        }
    }
    Ok(plans)
}
