//! The command line, as structs. No IO, no behaviour.
//!
//! The verbs are known when we compile; the services come from services.toml
//! when we run, each a subcommand of `docker` with the same options.

pub mod ci;

use std::num::NonZeroUsize;

use camino::Utf8PathBuf;
use clap::{ArgMatches, Args, Command, FromArgMatches as _, Subcommand as _, ValueEnum};

use crate::ctx::Format;
use crate::model::age::Age;
use crate::model::base::Bases;
use crate::model::platform::Platform;
use crate::model::reference::{Name, Registry, Tag};
use crate::model::text::harmless;

/// One command, read.
#[derive(Clone, Debug)]
pub enum Verb {
    /// `docker SERVICE` and `docker all` (no names).
    Build(Vec<String>, BuildArgs),
    /// `docker test`.
    Prove(ProveArgs),
    /// `docker clean`.
    Clean(CleanArgs),
    /// `docker up`.
    Up(UpArgs),
    /// `docker down`.
    Down,
    /// `ci`.
    Ci(ci::CiVerb),
    /// `setup`.
    Setup(SetupArgs),
    /// `engine`.
    Engine(EngineVerb),
    /// `test`.
    Test(TestArgs),
    /// `lint`.
    Lint,
    /// `bench`.
    Bench(BenchArgs),
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
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
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<Utf8PathBuf>,
}

/// Options of `docker SERVICE`.
#[derive(Args, Clone, Debug, Default)]
pub struct BuildArgs {
    /// A tag; may be repeated [default: local, or in CI what docker/metadata-action chose]
    #[arg(short, long = "tag", value_name = "TAG")]
    pub tags: Vec<Tag>,
    /// The image's name instead of services.toml's
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<Name>,
    /// The registry in front of the name [default with --push: services.toml's registry and owner]
    #[arg(short, long, value_name = "HOST[/PATH]")]
    pub registry: Option<Registry>,
    /// Platforms instead of this machine's
    #[arg(short, long = "platform", value_name = "P,…", value_delimiter = ',')]
    pub platforms: Vec<Platform>,
    /// All platforms of the service
    #[arg(long, conflicts_with = "platforms")]
    pub multi_arch: bool,
    /// Push to the registry instead of loading into the engine
    #[arg(long, conflicts_with = "output")]
    pub push: bool,
    /// Write an OCI archive instead: oci=FILE
    #[arg(long, value_name = "oci=FILE", value_parser = oci_file)]
    pub output: Option<Utf8PathBuf>,
    /// Use no cache of any kind and no up-to-date shortcut
    #[arg(long)]
    pub no_cache: bool,
    /// Look for newer base images
    #[arg(long)]
    pub pull: bool,
    /// A layer cache beside the builder's own
    #[arg(long, value_enum, default_value = "none")]
    pub cache: CacheKind,
    /// Where `--cache local` keeps its folders [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<Utf8PathBuf>,
    /// A build argument; K alone takes its value from the environment
    #[arg(long = "build-arg", value_name = "K=V")]
    pub build_args: Vec<String>,
    /// A secret for the build: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long = "secret", value_name = "SPEC", value_parser = secret)]
    pub secrets: Vec<String>,
    /// The buildx builder instead of the current one
    #[arg(long, value_name = "NAME")]
    pub builder: Option<String>,
    /// How the build shows its progress
    #[arg(long, value_enum)]
    pub progress: Option<Progress>,
    /// Prove the image afterwards, as `docker test` does
    #[arg(long, conflicts_with_all = ["push", "output"])]
    pub test: bool,
    /// First install whatever `cargo xtask setup` finds missing
    #[arg(long)]
    pub setup: bool,
    /// Where base images come from
    #[arg(long, value_enum, default_value = "auto")]
    pub bases: Bases,
    /// Build even if the image is up to date
    #[arg(long)]
    pub force: bool,
    /// How many builds run at once; none: as many as this machine has processors.
    #[arg(skip)]
    pub jobs: Option<NonZeroUsize>,
}

/// Options of `docker all` alone.
#[derive(Args, Clone, Debug)]
pub struct SeveralArgs {
    /// How many builds run at once [default: as many as this machine has processors]
    #[arg(short, long, value_name = "N", value_parser = at_least_one)]
    pub jobs: Option<NonZeroUsize>,
}

/// `--cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CacheKind {
    /// A folder a service and platform.
    Local,
    /// An image beside the published one.
    Registry,
    /// GitHub Actions' cache.
    Gha,
    /// None.
    #[default]
    None,
}

/// `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// By the terminal.
    Auto,
    /// Lines.
    Plain,
    /// Nothing.
    Quiet,
    /// JSON objects.
    Rawjson,
}

/// Options of `docker test`.
#[derive(Args, Clone, Debug, Default)]
pub struct ProveArgs {
    /// The services [default: all that have a `run` table]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// One role instead of all
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Prove the image that is there
    #[arg(long)]
    pub no_build: bool,
    /// Also with what the service needs running beside it
    #[arg(long)]
    pub with_deps: bool,
    /// Leave failed containers for a look; `docker clean` removes them
    #[arg(long)]
    pub keep: bool,
    /// The tag to prove
    #[arg(short, long, default_value = "local")]
    pub tag: Option<Tag>,
    /// Where base images come from
    #[arg(long, value_enum, default_value = "auto")]
    pub bases: Bases,
    /// First install whatever `cargo xtask setup` finds missing
    #[arg(long)]
    pub setup: bool,
}

/// Options of `docker clean`.
#[derive(Args, Clone, Debug)]
pub struct CleanArgs {
    /// Only what belongs to these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Containers, with their networks and volumes
    #[arg(long)]
    pub containers: bool,
    /// Images
    #[arg(long)]
    pub images: bool,
    /// The folders of `--cache local`
    #[arg(long)]
    pub cache: bool,
    /// Only what is older: 30m, 12h, 7d
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<Age>,
    /// What is up, stand-ins and caches, too [default: containers whose run is over, and images]
    #[arg(long)]
    pub all: bool,
    /// What other checkouts of this project made, too: those that are gone can't clean up
    #[arg(long)]
    pub all_checkouts: bool,
}

/// Options of `docker up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// First install whatever `cargo xtask setup` finds missing
    #[arg(long)]
    pub setup: bool,
    /// Run the images that are there
    #[arg(long)]
    pub no_build: bool,
    /// Reach what services need from this machine, too: on loopback, with the password in a file of yours
    #[arg(long)]
    pub publish_needs: bool,
    /// Where base images come from
    #[arg(long, value_enum, default_value = "auto")]
    pub bases: Bases,
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
}

/// Verbs of `engine`.
#[derive(clap::Subcommand, Clone, Debug)]
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
}

/// Options of `test`.
#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// Some parts instead of all: `rust`, `workflows`, `images`, those of the services, and `fuzz`, which `all` leaves out
    #[arg(value_name = "PART")]
    pub parts: Vec<String>,
    /// With `fuzz`: how long it tries random changes beside raw builds
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub seconds: u64,
    /// With `fuzz`: the first case; another one every time [default: the clock]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// First install whatever `cargo xtask setup` finds missing
    #[arg(long)]
    pub setup: bool,
}

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// How many runs a median is taken of
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Where base images come from
    #[arg(long, value_enum, default_value = "auto")]
    pub bases: Bases,
}

/// The whole command, with the services that there are: (name, title).
pub fn command(services: Option<&[(String, String)]>) -> Command {
    let mut docker = Command::new("docker")
        .about("Build, prove and clean up images")
        .subcommand_required(true)
        .arg_required_else_help(true);
    for (name, title) in services.unwrap_or_default() {
        let about = format!("Build the image of {}", harmless(title));
        // Only for the one that is asked for: there may be thousands.
        docker = docker.subcommand(Command::new(name.clone()).about(about).defer(build_args));
    }
    docker = docker
        .subcommand(
            SeveralArgs::augment_args(BuildArgs::augment_args(Command::new("all")))
                .about("Build the images of all services side by side"),
        )
        .subcommand(
            ProveArgs::augment_args(Command::new("test")).about("Prove images: start, health, roles, stop, size"),
        )
        .subcommand(CleanArgs::augment_args(Command::new("clean")).about("Remove what is ours, and only that"))
        .subcommand(UpArgs::augment_args(Command::new("up")).about("Start the whole system on loopback, to look at"))
        .subcommand(Command::new("down").about("Stop what `up` started"))
        // Without a readable services.toml nobody knows the names; `main`
        // then reports the file, not the name.
        .allow_external_subcommands(services.is_none());
    let engine = EngineVerb::augment_subcommands(Command::new("engine"))
        .about("The private Docker Engine")
        .subcommand_required(true)
        .arg_required_else_help(true);
    let ci = ci::CiVerb::augment_subcommands(Command::new("ci"))
        .about("What jobs run: which images a change affects, workflows that are right")
        .subcommand_required(true)
        .arg_required_else_help(true);
    Global::augment_args(Command::new("xtask"))
        .bin_name("cargo xtask")
        .about("Builds, proves and cleans up the images of this repository, from services.toml")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(docker)
        .subcommand(ci)
        .subcommand(
            SetupArgs::augment_args(Command::new("setup")).about("What is needed, what is missing, and getting it"),
        )
        .subcommand(engine)
        .subcommand(
            TestArgs::augment_args(Command::new("test")).about("Run every test of the repository, or some parts"),
        )
        .subcommand(Command::new("lint").about("Check formats and lints of the xtask and the workflows"))
        .subcommand(BenchArgs::augment_args(Command::new("bench")).about("Measure our figures beside the raw tools"))
}

/// Adds the options of a build, and keeps what the command says that it does.
fn build_args(command: Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    BuildArgs::augment_args(command).about(about)
}

/// What the matches of [`command`] mean, of the same services; `None` for a
/// service that nobody could know, because services.toml could not be read. Its
/// matches hold none of our options, and clap says so in debug builds only.
pub fn verb(matches: &ArgMatches, services: Option<&[(String, String)]>) -> Result<Option<Verb>, clap::Error> {
    let is_service = |name: &str| services.unwrap_or_default().iter().any(|(service, _)| service == name);
    let Some((name, matches)) = matches.subcommand() else { return Ok(None) };
    Ok(Some(match name {
        "docker" => match matches.subcommand() {
            Some(("all", matches)) => {
                let SeveralArgs { jobs } = SeveralArgs::from_arg_matches(matches)?;
                Verb::Build(Vec::new(), BuildArgs { jobs, ..BuildArgs::from_arg_matches(matches)? })
            }
            Some(("test", matches)) => Verb::Prove(ProveArgs::from_arg_matches(matches)?),
            Some(("clean", matches)) => Verb::Clean(CleanArgs::from_arg_matches(matches)?),
            Some(("up", matches)) => Verb::Up(UpArgs::from_arg_matches(matches)?),
            Some(("down", _)) => Verb::Down,
            Some((service, matches)) if is_service(service) => {
                Verb::Build(vec![service.to_owned()], BuildArgs::from_arg_matches(matches)?)
            }
            _ => return Ok(None),
        },
        "ci" => Verb::Ci(ci::CiVerb::from_arg_matches(matches)?),
        "setup" => Verb::Setup(SetupArgs::from_arg_matches(matches)?),
        "engine" => Verb::Engine(EngineVerb::from_arg_matches(matches)?),
        "test" => Verb::Test(TestArgs::from_arg_matches(matches)?),
        "lint" => Verb::Lint,
        "bench" => Verb::Bench(BenchArgs::from_arg_matches(matches)?),
        _ => return Ok(None),
    }))
}

/// The value of `--root` before anything else is read: the services, and with
/// them the rest of the command line, depend on it.
pub fn root(args: &[String]) -> Option<Utf8PathBuf> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--root" {
            return args.next().map(Utf8PathBuf::from);
        }
        if let Some(dir) = arg.strip_prefix("--root=") {
            return Some(dir.into());
        }
    }
    None
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number from 1 on".to_owned())
}

fn oci_file(text: &str) -> Result<Utf8PathBuf, String> {
    match text.strip_prefix("oci=") {
        Some(file) if !file.is_empty() && !file.contains(',') => Ok(file.into()),
        _ => Err("expected oci=FILE, a path without `,`".into()),
    }
}

fn secret(text: &str) -> Result<String, String> {
    let has = |key: &str| text.split(',').any(|pair| pair.strip_prefix(key).is_some_and(|value| !value.is_empty()));
    if has("id=") && (has("src=") || has("source=") || has("env=")) {
        return Ok(text.to_owned());
    }
    Err("expected id=NAME,src=FILE or id=NAME,env=VARIABLE; the secret itself never goes on a command line".into())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_service_is_known_by_services_toml_and_by_nothing_else() {
        let api = [("api".to_owned(), "Api".to_owned())];
        let read = |args: &[&str], services: Option<&[(String, String)]>| {
            let matches = command(services).try_get_matches_from([&["xtask", "docker"], args].concat()).unwrap();
            verb(&matches, services).unwrap()
        };
        assert!(
            matches!(read(&["api", "--push"], Some(&api)), Some(Verb::Build(names, args)) if names == ["api"] && args.push)
        );
        assert!(read(&["api"], None).is_none());
        assert!(read(&["api", "--multi-arch", "-t", "x"], None).is_none());
        assert!(matches!(read(&["all"], None), Some(Verb::Build(names, _)) if names.is_empty()));
        // Whatever clap lets through, debug build or not.
        let matches = command(None).try_get_matches_from(["xtask", "docker", "api"]).unwrap();
        assert!(verb(&matches, Some(&[])).unwrap().is_none());
    }

    #[test]
    fn values_of_our_own_grammar_are_checked() {
        assert!(oci_file("oci=").is_err() && oci_file("x.tar").is_err() && oci_file("oci=x.tar").is_ok());
        assert!(secret("id=a,env=B").is_ok() && secret("id=a").is_err() && secret("hunter2").is_err());
    }
}
