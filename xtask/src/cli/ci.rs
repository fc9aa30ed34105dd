//! The command line of `ci`, for CI jobs and for people.

use camino::Utf8PathBuf;
use clap::Args;

use crate::model::option;

/// Verbs of `ci`.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum CiVerb {
    /// Which services a change affects, and why
    ///
    /// In a GitHub job the event says what is compared. Elsewhere the working
    /// tree is, with what is not committed and not tracked, from its merge base
    /// with the default branch. `--format github` also writes the job's outputs
    /// and summary.
    Plan(PlanArgs),
    /// What is wrong with `paths` and the workflows, all of it in one run
    Check,
    /// Write the workflows that services.toml describes
    Sync,
    /// Put this program where `cargo built` finds it, for the other jobs
    Install,
    /// Whether all jobs went well: reads NEEDS, what toJSON(needs) gives, and MAY_SKIP
    Verdict,
}

/// Options of `ci plan`.
#[derive(Args, Clone, Debug, Default)]
pub struct PlanArgs {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Compare from the merge base with this commit [default: the default branch]
    #[arg(long, value_name = "REV", value_parser = option::revision)]
    pub base: Option<String>,
    /// Compare this commit [default: the working tree, with all that is in it]
    #[arg(long, value_name = "REV", value_parser = option::revision)]
    pub head: Option<String>,
    /// The changed paths, a line or NUL each, instead of git's; `-` is stdin
    #[arg(long, value_name = "FILE", value_parser = option::path, conflicts_with_all = ["base", "head"])]
    pub files_from: Option<Utf8PathBuf>,
    /// Get history that is missing from the remote first, as a job does by itself (CI)
    #[arg(long, conflicts_with = "files_from")]
    pub fetch: bool,
    /// Show every file under the pattern that included it
    #[arg(long)]
    pub explain: bool,
    /// Fail where nobody can tell what changed, instead of taking everything
    #[arg(long)]
    pub strict: bool,
}
