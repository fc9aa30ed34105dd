//! From the process's arguments to a verb, its context and the project.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use clap::FromArgMatches as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::ci::CiVerb;
use crate::cli::{self, Cli, Verb};
use crate::ctx::{self, Ctx, Env, Format};
use crate::exec::input;
use crate::fault;
use crate::model::config::{self, Project};
use crate::model::option;

/// Everything that `main` needs.
pub struct Start {
    /// The context.
    pub ctx: Ctx,
    /// The project, for verbs that need one; otherwise why it can't be read.
    pub project: anyhow::Result<Project>,
    /// The verb.
    pub verb: Verb,
}

/// Whether the unparsed command line asks for JSON.
pub fn wants_json() -> bool {
    cli::wants_json(&std::env::args_os().filter_map(|arg| arg.into_string().ok()).collect::<Vec<_>>())
}

/// Reads everything. `None`: help was asked for and is printed.
pub fn read() -> anyhow::Result<Option<Start>> {
    let args: Vec<String> = std::env::args_os()
        .map(|arg| arg.into_string().map_err(|arg| fault::usage(format!("the argument {arg:?} is not UTF-8"))))
        .collect::<Result<_, _>>()?;
    let args = without_cargos(args);
    let env = Env::of_process();
    said_where(&env)?;
    let given = cli::root(&args).or_else(|| env.get("XTASK_ROOT").map(Utf8PathBuf::from));
    let root = match given {
        Some(root) => {
            option::path(root.as_str()).map_err(|why| fault::usage(format!("--root {root}: {why}")))?;
            root.canonicalize_utf8().map_err(|error| fault::usage(format!("--root {root}: {error}")))?
        }
        None => nearest(&here()?),
    };
    let project = load(&root);
    let services = project.as_ref().ok().map(services);
    let read = cli::command(services.as_deref())
        .try_get_matches_from(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { global, verb } = match read {
        Ok(read) => read,
        Err(error) => {
            let of_docker = services.filter(|_| args.iter().any(|arg| arg == "docker"));
            return told(&error, of_docker.as_deref()).map(|()| None);
        }
    };
    if global.format == Format::Github && !matches!(verb, Verb::Ci(CiVerb::Plan(_) | CiVerb::Check)) {
        return Err(fault::usage("`--format github` is for `ci plan` and `ci check` only")
            .help("`--format text` or `--format json`")
            .into());
    }
    let ctx = Ctx {
        root,
        format: global.format,
        dry_run: global.dry_run,
        verbose: global.verbose,
        terminal: std::io::stderr().is_terminal() && env.get("CI").is_none(),
        exports: Vec::new(),
        env,
    };
    Ok(Some(Start { ctx, project, verb }))
}

/// Variables that choose the repository. To use them here would make commands act
/// elsewhere.
const WHERE: [&str; 5] = ["DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST", "XTASK_ENGINE_DIR", "XTASK_ROOT"];

fn said_where(env: &Env) -> anyhow::Result<()> {
    match WHERE.into_iter().find(|name| env.set(name) == Some(None)) {
        None => Ok(()),
        Some(name) => Err(fault::usage(format!("{name} is not UTF-8")).help(format!("unset {name}")).into()),
    }
}

/// Cargo passes the name of its subcommand twice: `cargo-built built ci plan`.
fn without_cargos(mut args: Vec<String>) -> Vec<String> {
    let name = args.first().and_then(|program| Utf8Path::new(program).file_stem()).unwrap_or_default();
    if args.get(1).is_some_and(|arg| name.strip_prefix("cargo-") == Some(arg)) {
        args.remove(1);
    }
    args
}

fn services(project: &Project) -> Vec<(String, String)> {
    project.services.values().map(|service| (service.name.clone(), service.title.clone())).collect()
}

fn here() -> anyhow::Result<Utf8PathBuf> {
    let dir = std::env::current_dir().context("the current folder is gone")?;
    Ok(Utf8PathBuf::from_path_buf(dir).map_err(|dir| fault::usage(format!("the path {dir:?} is not UTF-8")))?)
}

/// The nearest folder from `dir` upwards that has a services.toml; else `dir`.
fn nearest(dir: &Utf8Path) -> Utf8PathBuf {
    dir.ancestors().find(|dir| dir.join(config::FILE).exists()).unwrap_or(dir).to_owned()
}

fn load(root: &Utf8Path) -> anyhow::Result<Project> {
    let file = root.join(config::FILE);
    let bytes = input::read(&file, config::LIMIT).map_err(|error| {
        let fault = fault::usage(format!("{file}: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                fault.help("run in a checkout that has a services.toml, or name it: --root DIR (docs/services-toml.md)")
            }
            _ => fault.help("services.toml is a text of at most 1 MiB (docs/services-toml.md)"),
        }
    })?;
    // Errors name the file as a person at the root would type it.
    Ok(Project::parse(config::FILE.into(), &config::text(bytes)?)?)
}

/// clap's own message: help on stdout, an error on stderr, and for an unknown
/// service the list of services.
fn told(error: &clap::Error, services: Option<&[(String, String)]>) -> anyhow::Result<()> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return ctx::deliver(text.trim_end());
    }
    ctx::tell(text.trim_end_matches('\n'));
    let unknown = error.kind() == ErrorKind::InvalidSubcommand
        && matches!(error.get(ContextKind::InvalidSubcommand), Some(ContextValue::String(_)));
    let known = services.filter(|_| unknown).map(|services| {
        let names = services.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        format!("the services of {} are: {names}", config::FILE)
    });
    known.iter().for_each(|known| ctx::tell(&format!("help: {known}")));
    // clap's first paragraph is the error, and the rest is advice.
    let (what, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let fault = fault::told(fault::Code::Usage, what.trim_start_matches("error: ").trim());
    let rest = known.as_deref().unwrap_or(rest).trim();
    Err(if rest.is_empty() { fault } else { fault.help(rest) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_own_argument_is_skipped_and_no_other() {
        for (given, expected) in [
            (&["/c/bin/cargo-built", "built", "ci", "plan"][..], &["/c/bin/cargo-built", "ci", "plan"][..]),
            (&["cargo-built.exe", "built"], &["cargo-built.exe"]),
            (&["cargo-built", "ci", "built"], &["cargo-built", "ci", "built"]),
            (&["target/debug/xtask", "built"], &["target/debug/xtask", "built"]),
            (&["cargo-built"], &["cargo-built"]),
            (&[], &[]),
        ] {
            assert_eq!(without_cargos(given.iter().map(ToString::to_string).collect()), expected);
        }
    }
}
