//! Runs apt without touching the host's own: with separate lists and a separate
//! cache, and only with Debian's archives.

use std::fs;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use super::apt::{self, AptOutcome};
use crate::ctx::Ctx;
use crate::exec::{files, interrupt, run};
use crate::fault;
use crate::model::text;
use crate::plan::step::Step;

/// Archives whose lists are downloaded and verified.
#[derive(Debug)]
pub struct Archive {
    home: Utf8PathBuf,
    /// The keys that signed the lists.
    pub keyring: Utf8PathBuf,
    /// The archives.
    pub sources: Vec<apt::AptSource>,
}

impl Archive {
    /// Downloads the lists of those entries that are Debian's, according to
    /// `keyring`. Each archive is tried by itself, so that a foreign one does not
    /// make all fail.
    pub fn open(
        ctx: &Ctx,
        home: &Utf8Path,
        candidates: Vec<apt::AptSource>,
        keyring: &Utf8Path,
        codename: &str,
    ) -> anyhow::Result<Self> {
        let archive = |home: Utf8PathBuf, sources| Self { home, keyring: keyring.to_owned(), sources };
        let mut asked = Vec::new();
        for (at, source) in candidates.into_iter().enumerate() {
            let one = archive(home.join(format!("asked/{at}")), vec![source.clone()]);
            let outcome = one.ask(ctx)?;
            asked.push((source, outcome, one));
        }
        let outcomes = asked.iter().map(|(source, outcome, _)| (source.clone(), outcome.clone())).collect();
        let (sources, notes) = apt::choose(outcomes, codename)?;
        for note in notes {
            ctx.say(note);
        }
        let all = archive(home.to_owned(), sources);
        all.prepare()?;
        for (_, _, one) in asked.iter().filter(|(_, outcome, _)| *outcome == AptOutcome::Debian) {
            for entry in one.lists().read_dir_utf8()?.flatten().filter(|entry| entry.path().is_file()) {
                fs::rename(entry.path(), all.lists().join(entry.file_name()))?;
            }
        }
        Ok(all)
    }

    fn lists(&self) -> Utf8PathBuf {
        self.home.join("lists")
    }

    fn archives(&self) -> Utf8PathBuf {
        self.home.join("archives")
    }

    fn prepare(&self) -> anyhow::Result<()> {
        for dir in [self.lists(), self.archives()] {
            fs::create_dir_all(dir.join("partial")).with_context(|| format!("could not create {dir}"))?;
        }
        let lines: Vec<_> = self.sources.iter().map(|source| source.line(&self.keyring)).collect();
        // The URL of a mirror may contain a password.
        files::write(&self.home.join("sources.list"), lines.join("\n") + "\n")?;
        let home = &self.home;
        // This is read after the host's own settings, from which only proxies and
        // the like matter. NoLocking: the host's lock protects its state, which
        // is only read. Error-Mode: a missing list is an error now, not a missing
        // package later.
        let conf = format!(
            "Dir::State \"{home}\";\nDir::State::lists \"{home}/lists\";\n\
             Dir::State::status \"/var/lib/dpkg/status\";\nDir::Cache \"{home}\";\n\
             Dir::Etc::sourcelist \"{home}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             APT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nDebug::NoLocking \"1\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::Check-Valid-Until \"true\";\nAcquire::Check-Date \"true\";\n\
             Acquire::AllowInsecureRepositories \"false\";\nAcquire::AllowWeakRepositories \"false\";\n\
             Acquire::AllowDowngradeToInsecureRepositories \"false\";\nAPT::Get::AllowUnauthenticated \"false\";\n"
        );
        fs::write(self.home.join("apt.conf"), conf)?;
        Ok(())
    }

    fn step(&self) -> Step {
        Step::new("apt-get").args(["-c", self.home.join("apt.conf").as_str(), "-qq"])
    }

    /// Checks that this archive is Debian's.
    fn ask(&self, ctx: &Ctx) -> anyhow::Result<AptOutcome> {
        self.prepare()?;
        let step = self.step().arg("update");
        ctx.show(&step);
        if let Err(error) = run::stream(ctx, &step, |_| {}) {
            interrupt::check()?;
            return match full(&self.home, fault::said(&error)) {
                Some(full) => Err(full),
                None => Ok(AptOutcome::of_words(fault::said(&error))),
            };
        }
        let mut releases =
            self.lists().read_dir_utf8()?.flatten().filter(|entry| entry.file_name().ends_with("Release"));
        let text = releases.next().map(|entry| fs::read_to_string(entry.path())).transpose()?.unwrap_or_default();
        let suite = self.sources.first().map(|source| source.suite.as_str()).unwrap_or_default();
        Ok(apt::foreign(&text, suite).map_or(AptOutcome::Debian, AptOutcome::Strange))
    }

    /// Downloads those of these packages and their dependencies that are not
    /// installed.
    pub fn missing(&self, ctx: &Ctx, names: &[&str]) -> anyhow::Result<()> {
        let step = self
            .step()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(["--no-upgrade", "--no-remove", "--download-only"])
            .args(names.iter().copied())
            .hint("`sudo apt-get --fix-broken install`, if apt says that packages are broken");
        self.run(ctx, &step)
    }

    /// Downloads these packages, installed or not, in the newest version.
    pub fn these(&self, ctx: &Ctx, names: &[&str]) -> anyhow::Result<()> {
        let archives = self.archives();
        let download = self.step().args(["-o", "Dir::State::status=/dev/null", "download"]);
        let step = Step::new("sh").args(["-c", "cd \"$0\" && exec apt-get \"$@\"", archives.as_str()]);
        self.run(ctx, &step.args(download.args).args(names.iter().copied()))
    }

    /// Unpacks all downloaded packages.
    pub fn unpack(&self, ctx: &Ctx, tree: &Utf8Path) -> anyhow::Result<()> {
        let script = "for deb in \"$0\"/*.deb; do dpkg-deb -x \"$deb\" \"$1\" || exit 1; done";
        self.run(ctx, &Step::new("sh").args(["-c", script, self.archives().as_str(), tree.as_str()]))
    }

    /// The downloaded files.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.archives().read_dir_utf8()?.flatten();
        let names = entries.map(|entry| entry.file_name().to_owned());
        Ok(names.filter(|name| name.ends_with(".deb")).collect())
    }

    fn run(&self, ctx: &Ctx, step: &Step) -> anyhow::Result<()> {
        ctx.show(step);
        run::stream(ctx, step, |line| ctx.line(&text::anonymous(line)))
            .map_err(|error| full(&self.home, fault::said(&error)).unwrap_or(error))
    }
}

/// An error about a full disk, if apt or dpkg report one.
fn full(home: &Utf8Path, words: &str) -> Option<anyhow::Error> {
    // Incomplete files are removed before anybody reads this.
    let new = home.ancestors().find(|dir| dir.extension() == Some("new"));
    let dir = new.and_then(Utf8Path::parent).unwrap_or(home);
    is_full(words).then(|| {
        fault::failed(format!("the disk of {dir} is full"))
            .help(format!("`df -h {dir}`; free some space, or set XTASK_ENGINE_DIR to a folder on another disk"))
            .into()
    })
}

fn is_full(words: &str) -> bool {
    let signs = ["No space left on device", "enough free space", "Disk quota exceeded", "write error (28"];
    signs.iter().any(|sign| words.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_fault_of_the_mirrors() {
        for (words, expected) in [
            ("E: Write error - write (28: No space left on device)", true),
            ("E: You don't have enough free space in /x/archives/.", true),
            ("dpkg-deb: error: unable to write: Disk quota exceeded", true),
            ("E: Failed to fetch http://x  Could not connect", false),
            ("", false),
        ] {
            assert_eq!(is_full(words), expected, "{words}");
        }
    }
}
