//! `cargo xtask`: reads the command line, runs the verb, reports the result.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use xtask::cli::Verb;
use xtask::cli::docker::{Docker, DockerVerb};
use xtask::ctx::{Ctx, Format};
use xtask::model::config::Project;
use xtask::{cmd, ctx, exec, fault, start};

fn main() -> ExitCode {
    let mut wants_json = start::wants_json();
    match run(&mut wants_json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !fault::is_quiet(&error) {
                ctx::tell(&fault::render(&error));
            }
            if wants_json {
                ctx::report(&error);
            }
            ExitCode::from(fault::code(&error) as u8)
        }
    }
}

fn run(wants_json: &mut bool) -> anyhow::Result<()> {
    exec::interrupt::install()?;
    let Some(start::Start { ctx, project, verb }) = start::read()? else { return Ok(()) };
    // Words after an unknown name are not parsed as options.
    if !matches!(verb, Verb::Docker(Docker::Unknown(_))) {
        *wants_json = ctx.format == Format::Json;
    }
    match verb {
        Verb::Docker(verb) => docker(&ctx, &project?, verb),
        Verb::Setup(args) => cmd::setup::run(&ctx, &args, &cmd::sources_of_setup(&ctx, &project?, args.multi_arch)?),
        Verb::Engine(verb) => cmd::engine::run(&ctx, &verb),
        Verb::Ci(verb) => cmd::ci::run(&ctx, project, &verb),
        Verb::Test(args) => cmd::test::run(&ctx, &project?, &args),
        Verb::Lint(args) => cmd::lint::run(&ctx, &project?, &args),
        Verb::Bench(args) => cmd::bench::run(&ctx, &project?, &args),
    }
}

fn docker(ctx: &Ctx, project: &Project, verb: Docker) -> anyhow::Result<()> {
    match verb {
        Docker::Service(name, args) => cmd::docker::one(ctx, project, name, &args),
        Docker::Verb(DockerVerb::All(args)) => cmd::docker::all(ctx, project, &args),
        Docker::Verb(DockerVerb::Test(args)) => cmd::prove::run(ctx, project, &args),
        Docker::Verb(DockerVerb::Clean(args)) => cmd::clean::run(ctx, project, &args),
        Docker::Verb(DockerVerb::Up(args)) => cmd::up::up(ctx, project, &args),
        Docker::Verb(DockerVerb::Down) => cmd::up::down(ctx, project),
        Docker::Verb(DockerVerb::Verify(args)) => cmd::verify::run(ctx, project, &args),
        // A name is only unknown if services.toml can't be read, and that is
        // reported before this point.
        Docker::Unknown(name) => Err(fault::usage(format!("no service `{name}`")).into()),
    }
}
