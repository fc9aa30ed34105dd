//! The command line of `docker`: its verbs, and one subcommand per service.

use std::num::NonZeroUsize;

use camino::Utf8PathBuf;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum};

use super::{BasesFrom, SetupFirst};
use crate::model::age::Age;
use crate::model::diagnostic::Diagnostic;
use crate::model::option;
use crate::model::platform::Platform;
use crate::model::progress::Progress;
use crate::model::reference::{Name, Registry, Tag};
use crate::model::text::harmless;

/// What follows `docker`.
#[derive(Clone, Debug)]
pub enum Docker {
    /// One of the fixed verbs.
    Verb(DockerVerb),
    /// `docker SERVICE`.
    Service(String, BuildArgs),
    /// An unknown name, because services.toml can't be read.
    Unknown(String),
}

/// The fixed verbs.
#[derive(Subcommand, Clone, Debug)]
pub enum DockerVerb {
    /// Build the images of all services side by side
    All(AllArgs),
    /// Prove images: start, health, roles, stop, size
    Test(ProveArgs),
    /// Remove what is ours, and only that
    Clean(CleanArgs),
    /// Start the whole system on loopback, to look at
    Up(UpArgs),
    /// Stop what `up` started
    Down,
    /// Say whether a published image is signed, and by whom
    Verify(super::signature::VerifyArgs),
}

impl FromArgMatches for Docker {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some((name, options)) if !DockerVerb::has_subcommand(name) => {
                // If clap knows no such command, it keeps the words under an
                // empty name, and in a debug build it panics when options are
                // asked for.
                Ok(match options.try_contains_id("") {
                    Ok(true) => Self::Unknown(name.to_owned()),
                    _ => Self::Service(name.to_owned(), BuildArgs::from_arg_matches(options)?),
                })
            }
            _ => DockerVerb::from_arg_matches(matches).map(Self::Verb),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Only the verbs; [`with_services`] adds the rest.
impl Subcommand for Docker {
    fn augment_subcommands(command: Command) -> Command {
        // After the services, which are numbered from 0.
        DockerVerb::augment_subcommands(command.next_display_order(usize::MAX / 2))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        DockerVerb::has_subcommand(name)
    }
}

/// `docker` with all services as (name, title).
pub fn with_services(docker: Command, services: Option<&[(String, String)]>) -> Command {
    let service = |(name, title): &(String, String)| {
        let about = format!("Build the image of {}", harmless(title));
        // Only for the requested one, because there may be thousands.
        Command::new(name.clone()).about(about).defer(build_args)
    };
    // Without a readable services.toml the names are unknown. `main` then reports
    // the file, not the name.
    docker
        .next_display_order(0)
        .subcommands(services.unwrap_or_default().iter().map(service))
        .allow_external_subcommands(services.is_none())
}

/// Adds the options of a build, and keeps the command's description.
fn build_args(command: Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    BuildArgs::augment_args(command).about(about)
}

/// Options of `docker SERVICE`.
#[derive(Args, Clone, Debug, Default)]
pub struct BuildArgs {
    /// A tag; may be repeated [default: local, or in CI what docker/metadata-action chose]
    #[arg(short, long = "tag", value_name = "TAG")]
    pub tags: Vec<Tag>,
    /// The image's name instead of services.toml's
    #[arg(short, long, value_name = "NAME", value_parser = option::image_name)]
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
    /// With --push: put the tags on it without a proof
    #[arg(long, requires = "push")]
    pub no_test: bool,
    /// With --push: put the tags even where a release gets another image, or `latest`, `1` or `1.2` an older one
    #[arg(long, requires = "push")]
    pub force_tags: bool,
    /// Write an OCI archive instead: oci=FILE
    #[arg(long, value_name = "oci=FILE", value_parser = option::oci_file)]
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
    #[arg(long, value_name = "DIR", value_parser = option::path)]
    pub cache_dir: Option<Utf8PathBuf>,
    /// A build argument; K alone takes its value from the environment
    #[arg(long = "build-arg", value_name = "K=V", value_parser = option::build_arg)]
    pub build_args: Vec<String>,
    /// A secret for the build: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long = "secret", value_name = "SPEC", value_parser = option::secret)]
    pub secrets: Vec<String>,
    /// The buildx builder instead of the current one
    #[arg(long, value_name = "NAME", value_parser = option::builder)]
    pub builder: Option<String>,
    /// How long the build may take, and the push [default: 2h with --push]
    #[arg(long, value_name = "AGE")]
    pub timeout: Option<Age>,
    /// How the build shows its progress
    #[arg(long, value_enum)]
    pub progress: Option<Progress>,
    /// Prove the image afterwards, as `docker test` does
    #[arg(long, conflicts_with_all = ["push", "output"])]
    pub test: bool,
    /// `--setup`.
    #[command(flatten)]
    pub setup: SetupFirst,
    /// `--bases`.
    #[command(flatten)]
    pub bases: BasesFrom,
    /// Build even if the image is up to date
    #[arg(long)]
    pub force: bool,
}

/// Options of `docker all`.
#[derive(Args, Clone, Debug)]
pub struct AllArgs {
    /// Those of each build.
    #[command(flatten)]
    pub build: BuildArgs,
    /// How many builds run at once [default: as many as this machine has processors]
    #[arg(short, long, value_name = "N", value_parser = at_least_one)]
    pub jobs: Option<NonZeroUsize>,
}

/// `--cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CacheKind {
    /// One folder per service and platform.
    Local,
    /// An image next to the published one.
    Registry,
    /// GitHub Actions' cache.
    Gha,
    /// None.
    #[default]
    None,
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
    #[arg(short, long, default_value_t)]
    pub tag: Tag,
    /// Prove the image of this platform: linux/arm64 (a foreign one takes an emulator: `setup --emulator`)
    #[arg(short, long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// `--bases`.
    #[command(flatten)]
    pub bases: BasesFrom,
    /// `--setup`.
    #[command(flatten)]
    pub setup: SetupFirst,
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
    /// `--setup`.
    #[command(flatten)]
    pub setup: SetupFirst,
    /// Run the images that are there
    #[arg(long)]
    pub no_build: bool,
    /// Reach what services need from this machine, too: on loopback, with the password in a file of yours
    #[arg(long)]
    pub publish_needs: bool,
    /// `--bases`.
    #[command(flatten)]
    pub bases: BasesFrom,
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, Diagnostic> {
    text.parse().map_err(|_| "expected a number from 1 on, such as `2`".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Verb, command};

    fn read(args: &[&str], services: Option<&[(String, String)]>) -> Docker {
        let matches = command(services).try_get_matches_from([&["xtask", "docker"], args].concat()).unwrap();
        let Verb::Docker(docker) = Cli::from_arg_matches(&matches).unwrap().verb else { panic!("not `docker`") };
        docker
    }

    #[test]
    fn a_service_is_known_by_services_toml_and_by_nothing_else() {
        let api = [("api".to_owned(), "Api".to_owned())];
        assert!(
            matches!(read(&["api", "--push"], Some(&api)), Docker::Service(name, args) if name == "api" && args.push)
        );
        assert!(matches!(read(&["api"], None), Docker::Unknown(name) if name == "api"));
        assert!(matches!(read(&["api", "--multi-arch", "-t", "x"], None), Docker::Unknown(name) if name == "api"));
        assert!(command(Some(&[])).try_get_matches_from(["xtask", "docker", "api"]).is_err());
        for services in [None, Some(&api[..])] {
            let Docker::Verb(DockerVerb::All(args)) = read(&["all", "--jobs", "3", "--setup"], services) else {
                panic!("not `all`")
            };
            assert!(args.jobs.is_some_and(|jobs| jobs.get() == 3) && args.build.setup.wanted);
        }
    }

    #[test]
    fn no_service_can_have_the_name_of_a_verb() {
        let docker = DockerVerb::augment_subcommands(Command::new("docker"));
        let mut verbs: Vec<&str> = docker.get_subcommands().map(Command::get_name).chain(["help"]).collect();
        verbs.sort_unstable();
        assert_eq!(verbs, crate::model::config::RESERVED);
    }

    #[test]
    fn services_come_before_verbs_in_their_order() {
        let services = ["zeta", "all-of-it", "api"].map(|name| (name.to_owned(), "It".to_owned()));
        let help =
            command(Some(&services)).try_get_matches_from(["xtask", "docker", "--help"]).unwrap_err().to_string();
        let names: Vec<&str> = help
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .map_while(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(names[..5], ["zeta", "all-of-it", "api", "all", "test"]);
    }

    #[test]
    fn what_is_proved_has_the_tag_of_a_build_without_options() {
        let Docker::Verb(DockerVerb::Test(args)) = read(&["test"], None) else { panic!("not `test`") };
        assert_eq!((args.tag, ProveArgs::default().tag), (Tag::local(), Tag::local()));
    }
}
