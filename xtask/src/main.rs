//! `cargo xtask`: read the command line, do the verb, tell how it ended.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use xtask::cli::Verb;
use xtask::{cmd, ctx, exec, fault, start};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !fault::is_quiet(&error) {
                ctx::tell(&fault::render(&error));
            }
            ExitCode::from(fault::code(&error) as u8)
        }
    }
}

fn run() -> anyhow::Result<()> {
    exec::interrupt::install()?;
    let Some(start::Start { ctx, project, verb }) = start::read()? else { return Ok(()) };
    match verb {
        Verb::Build(names, args) => cmd::image::run(&ctx, &project?, &names, &args),
        Verb::Prove(args) => cmd::prove::run(&ctx, &project?, &args),
        Verb::Clean(args) => cmd::clean::run(&ctx, &project?, &args),
        Verb::Up(args) => cmd::up::up(&ctx, &project?, &args),
        Verb::Down => cmd::up::down(&ctx, &project?),
        Verb::Setup(args) => cmd::setup::run(&ctx, &args, &cmd::all_images(&ctx, &project?)?),
        Verb::Engine(verb) => cmd::engine::run(&ctx, &verb),
        Verb::Ci(verb) => cmd::ci::run(&ctx, project, &verb),
        Verb::Test(args) => cmd::test::run(&ctx, &project?, &args),
        Verb::Lint => cmd::lint::run(&ctx, &project?),
        Verb::Bench(args) => cmd::bench::run(&ctx, &project?, &args),
    }
}
