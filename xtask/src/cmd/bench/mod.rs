//! `bench`: measures xtask and the raw tool in the same run.
//!
//! A time on a shared machine says little. The ratio of two medians, measured in
//! turns, shows what xtask adds. Everything runs in a copy of the checkout, so
//! the benchmark changes nobody's work.

mod changes;
mod images;
mod scale;

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::BenchArgs;
use crate::cmd::objects::{Benched, Figure, Unit};
use crate::ctx::Ctx;
use crate::engine::search;
use crate::exec::engine::Engine;
use crate::exec::{files, git, interrupt, proc, run};
use crate::fault;
use crate::model::bytes::Bytes;
use crate::model::config::Project;
use crate::plan::step::Step;

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &BenchArgs) -> anyhow::Result<()> {
    if ctx.dry_run {
        return Err(fault::usage("`bench` measures; it has no plan to show").into());
    }
    let engine = search::connect(ctx)?;
    let copy = files::Temporary::new("checkout")?;
    let mut bench =
        Bench { engine: &engine, project, args, root: copy.path().to_owned(), changes: 0, clock: Clock::Wall };
    let mut figures = Vec::new();
    match args.scale {
        Some(count) => bench.scale(count, &mut figures)?,
        None => bench.of_project(&mut figures)?,
    }
    let benched = Benched { runs: args.runs.into(), figures };
    engine.ctx.result(&benched, || benched.figures.iter().map(Figure::line).collect::<Vec<_>>().join("\n"))
}

impl Figure {
    fn line(&self) -> String {
        let value = |value: f64| match self.unit {
            Unit::Bytes => Bytes(value as u64).to_string(),
            Unit::Seconds => format!("{value:.3} s"),
        };
        let raw = self.raw.map_or(String::new(), |raw| format!("raw {:<12}", value(raw)));
        let ratio = self.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}×"));
        format!("{:<56} {:<12} {raw} {ratio}", self.name, value(self.ours)).trim_end().to_owned()
    }
}

struct Bench<'a> {
    engine: &'a Engine,
    project: &'a Project,
    args: &'a BenchArgs,
    root: Utf8PathBuf,
    changes: u32,
    clock: Clock,
}

/// What is measured of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// The time until it ends: the engine's work counts.
    Wall,
    /// The time of its processes on a processor: other work on this machine does
    /// not count.
    Processor,
}

/// The time limit of a build.
const AN_HOUR: Duration = Duration::from_secs(3600);

impl Bench<'_> {
    fn of_project(&mut self, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
        self.copy()?;
        for service in self.project.services.values() {
            self.builds(service, figures)?;
            self.bytes(service, figures)?;
            self.containers(service, figures)?;
        }
        self.plans(figures)
    }

    /// Copies the checkout as it is, without ignored files.
    fn copy(&self) -> anyhow::Result<()> {
        let ctx = &self.engine.ctx;
        let list = git::git(ctx).look(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        for file in run::read(ctx, &list)?.split('\0').filter(|file| !file.is_empty()) {
            let to = self.root.join(file);
            std::fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
            // Skip a file that is deleted, but still in the index.
            if ctx.root.join(file).is_file() {
                std::fs::copy(ctx.root.join(file), to)?;
            }
        }
        // Add every file to git, as in a checkout.
        self.commit(&self.root)
    }

    /// Turns a folder into a repository and commits everything in it.
    fn commit(&self, dir: &Utf8Path) -> anyhow::Result<()> {
        let identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false"];
        let git = || git::elsewhere(&self.engine.ctx).look(&["-C", dir.as_str()]).args(identity);
        self.engine.read(&git().args(["init", "--quiet", "--initial-branch=main"]))?;
        // One pack, not a file for each object; and nothing at work on it later.
        let one_pack = ["-c", "core.bigFileThreshold=1", "-c", "gc.auto=0", "-c", "maintenance.auto=false"];
        self.engine.read(&git().args(one_pack).args(["add", "--all"]).within(AN_HOUR))?;
        self.engine
            .read(&git().args(one_pack).within(AN_HOUR).args(["commit", "--quiet", "--no-verify", "--message=all"]))
            .map(drop)
    }

    /// Our own program, called as CI calls it.
    fn ours(&self, root: &Utf8Path) -> anyhow::Result<Step> {
        let binary = Utf8PathBuf::from_path_buf(std::env::current_exe()?)
            .map_err(|_| fault::failed("our own path is not UTF-8"))?;
        Ok(Step::new(binary).args(["--root", root.as_str()]))
    }

    fn at_copy(&self) -> Ctx {
        Ctx { root: self.root.clone(), ..self.engine.ctx.clone() }
    }

    fn time(&self, step: &Step) -> anyhow::Result<f64> {
        interrupt::check()?;
        let (started, before) = (Instant::now(), proc::of_children());
        run::bytes(&self.at_copy(), &step.clone().within(AN_HOUR))?;
        let elapsed = match self.clock {
            Clock::Wall => started.elapsed(),
            Clock::Processor => {
                let spent = before.and_then(|before| proc::of_children()?.checked_sub(before));
                spent.ok_or_else(|| fault::failed("/proc/self/stat does not say what processes cost"))?
            }
        };
        Ok(elapsed.as_secs_f64())
    }

    /// Runs ours and the raw tool in turns, with the same preparation before
    /// each run.
    fn in_turns(
        &mut self,
        ours: &Step,
        raw: &[Step],
        mut prepare: impl FnMut(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<(f64, f64)> {
        let (mut of_ours, mut of_raw) = (Vec::new(), Vec::new());
        for _ in 0..self.args.runs {
            for (steps, times) in [(std::slice::from_ref(ours), &mut of_ours), (raw, &mut of_raw)] {
                prepare(self)?;
                times.push(steps.iter().map(|step| self.time(step)).sum::<anyhow::Result<f64>>()?);
            }
        }
        Ok((median(of_ours), median(of_raw)))
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn timed(name: String, (ours, raw): (f64, f64)) -> Figure {
    Figure { name, ours, raw: Some(raw), ratio: Some(ours / raw), unit: Unit::Seconds }
}

fn plain(name: String, ours: f64, unit: Unit) -> Figure {
    Figure { name, ours, raw: None, ratio: None, unit }
}
