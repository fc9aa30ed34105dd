//! The command line, as structs, without behaviour.
//!
//! A verb is a variant here, an arm in `main` and a file in `cmd`. Only the
//! services are unknown at compile time: they come from services.toml at run
//! time, each as a subcommand of `docker` with the same options.

pub mod ci;
pub mod docker;
pub mod signature;

use camino::Utf8PathBuf;
use clap::{Args, Command, CommandFactory as _, Parser, Subcommand};

use crate::ctx::Format;
use crate::model::base::Bases;
use crate::model::option;

/// Builds, proves and cleans up the images of this repository, from services.toml
#[derive(Parser, Clone, Debug)]
#[command(name = "xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The commands.
#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Build, prove and clean up images
    #[command(subcommand)]
    Docker(docker::Docker),
    /// What jobs run: which images a change affects, workflows that are right
    #[command(subcommand)]
    Ci(ci::CiVerb),
    /// What is needed, what is missing, and getting it
    Setup(SetupArgs),
    /// The private Docker Engine
    #[command(subcommand)]
    Engine(EngineVerb),
    /// Run every test of the repository, or some parts
    Test(TestArgs),
    /// Check formats and lints of the xtask and the workflows
    Lint(LintArgs),
    /// Measure our figures beside the raw tools
    Bench(BenchArgs),
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct GlobalArgs {
    /// What stdout speaks: text for people, or one JSON object; `github` for `ci plan` and `ci check`
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub format: Format,
    /// Print the plan as lines that paste into a shell; run and write nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Show every command and the whole build log
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// The folder with services.toml [default: this folder or the next above that has one]
    #[arg(long, global = true, value_name = "DIR", value_parser = option::path)]
    pub root: Option<Utf8PathBuf>,
}

/// `--setup`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct SetupFirst {
    /// First install whatever `cargo xtask setup` finds missing
    #[arg(id = "setup", long = "setup")]
    pub wanted: bool,
}

/// `--bases`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct BasesFrom {
    /// Where base images come from
    #[arg(id = "bases", long = "bases", value_name = "BASES", value_enum, default_value = "auto")]
    pub mode: Bases,
}

/// Options of `setup`.
#[derive(Args, Clone, Debug, Default)]
pub struct SetupArgs {
    /// Only look; exit 1 when something is missing
    #[arg(long, conflicts_with = "yes")]
    pub check: bool,
    /// Install what is missing without asking
    #[arg(short, long)]
    pub yes: bool,
    /// First register an emulator (QEMU) with the kernel, to run other platforms' images; `engine down` takes it back
    #[arg(long, conflicts_with = "check")]
    pub emulator: bool,
    /// With --yes: also what builds of all platforms need
    #[arg(long, requires = "yes")]
    pub multi_arch: bool,
}

/// Verbs of `engine`.
#[derive(Subcommand, Clone, Debug)]
pub enum EngineVerb {
    /// Start the private engine, installed first if need be
    Up,
    /// Stop it; nothing of it goes on running
    Down {
        /// Delete its folder too: programs, images, caches
        #[arg(long)]
        purge: bool,
    },
    /// Which engine is used, and how it does
    Status,
    /// The line that gives this shell the private engine: eval "$(cargo xtask engine env)"
    Env,
    /// Run a command with a builder that is the engine's own and pushes by digest, as the lines of `--push` do
    WithBuilder {
        /// The command
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

/// Options of `test`.
#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// Some parts instead of all: `rust`, `workflows`, `images`, those of the services, and `fuzz`, which `all` leaves out
    #[arg(value_name = "PART")]
    pub parts: Vec<String>,
    /// With `fuzz`: how long it tries random changes beside raw builds
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = |text: &str| option::number(text, 1, 604_800_u64))]
    pub seconds: u64,
    /// With `fuzz`: the first case; another one every time [default: the clock]
    #[arg(long, value_name = "S", value_parser = |text: &str| option::number(text, 0, u64::MAX))]
    pub seed: Option<u64>,
    /// `--setup`.
    #[command(flatten)]
    pub setup: SetupFirst,
}

/// Options of `lint`.
#[derive(Args, Clone, Debug)]
pub struct LintArgs {
    /// Compile by the oldest Rust that Cargo.toml names, instead; `rustup` gets it
    #[arg(long)]
    pub msrv: bool,
}

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// How many runs a median is taken of
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = |text: &str| option::number(text, 1, 1000_u16))]
    pub runs: u16,
    /// Instead: plans and unchanged images of a repository with so many files (100,000 without a number) and 40
    /// services, beside git
    #[arg(long, value_name = "FILES", num_args = 0..=1, default_missing_value = "100000",
        value_parser = |text: &str| option::number(text, 1000, 10_000_000_u32))]
    pub scale: Option<u32>,
    /// `--bases`.
    #[command(flatten)]
    pub bases: BasesFrom,
}

/// The complete command, with all services as (name, title).
pub fn command(services: Option<&[(String, String)]>) -> Command {
    Cli::command().mut_subcommand("docker", |docker| docker::with_services(docker, services))
}

/// The value of `--root`, before parsing: the services and thus the command line
/// depend on it.
pub fn root(args: &[String]) -> Option<Utf8PathBuf> {
    value(args, "--root").map(Utf8PathBuf::from)
}

/// Whether an unparsed command line asks for JSON.
pub fn wants_json(args: &[String]) -> bool {
    value(args, "--format") == Some("json")
}

/// The value of an option in an unparsed command line.
fn value<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix(option) {
            Some("") => return args.next().map(String::as_str),
            Some(rest) if rest.starts_with('=') => return Some(&rest[1..]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_on_a_command_line_that_is_wrong() {
        for (line, expected) in [
            ("docker --nope --format json", true),
            ("--format=json", true),
            ("--format text", false),
            ("--format", false),
            ("--format= json", false),
            ("--formats json", false),
            ("json", false),
        ] {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(wants_json(&args), expected, "{line}");
        }
    }

    #[test]
    fn the_command_is_well_formed() {
        command(Some(&[("api".into(), "Api".into())])).debug_assert();
        command(None).debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does() {
        fn walk(command: &Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains("ptions of"), "{}: {about:?}", command.get_name());
            command.get_subcommands().for_each(walk);
        }
        walk(&command(Some(&[("api".into(), "Api".into())])));
    }

    /// A name for a service; services.toml is not read yet. An unknown one is
    /// refused later with a list of the known ones.
    /// `command` is run as it is.
    /// `image` is a service, or is parsed when the services are known.
    const LISTED: [&str; 5] = ["services", "parts", "role", "command", "image"];

    #[test]
    fn no_option_takes_a_value_that_is_empty_blank_hidden_or_endless() {
        fn walk(command: &Command, way: &[String], seen: &mut Vec<String>) {
            let takes_value = |arg: &&clap::Arg| arg.get_action().takes_values();
            for arg in
                command.get_arguments().filter(takes_value).filter(|arg| !LISTED.contains(&arg.get_id().as_str()))
            {
                let option = format!("--{}", arg.get_long().unwrap());
                for value in ["", " ", "a\u{7}b", "a\nb", "\u{202e}", &"a".repeat(5000)] {
                    let line = [way, &[format!("{option}={value}")]].concat();
                    let read = super::command(Some(&[("api".into(), "Api".into())])).try_get_matches_from(&line);
                    let Err(error) = read else { panic!("{way:?} takes {option}={value:?}") };
                    assert_eq!(error.exit_code(), 2);
                    let said = error.to_string();
                    assert!(said.contains(&option), "{said}");
                    let shows =
                        ["expected", "such as", "as in", "one of", "possible values", "is not in", "invalid digit"];
                    assert!(shows.iter().any(|words| said.contains(words)), "{option} {value:?}: {said}");
                }
                seen.push(option);
            }
            for below in command.get_subcommands() {
                walk(below, &[way, &[below.get_name().to_owned()]].concat(), seen);
            }
        }
        let mut command = command(Some(&[("api".into(), "Api".into())]));
        command.build();
        let mut seen = Vec::new();
        walk(&command, &["xtask".into()], &mut seen);
        for option in ["--builder", "--build-arg", "--cache-dir", "--files-from", "--root", "--runs", "--older-than"] {
            assert!(seen.iter().any(|it| it == option), "{option} was not tried");
        }
    }
}
