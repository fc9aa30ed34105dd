//! Several builds, some of them side by side, with one view of their progress.
//!
//! Each is its own: what goes wrong with one, before it starts or while it
//! runs, is its result and no other's.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::cmd::image::explain::last_lines;
use crate::cmd::image::job::{Built, Job};
use crate::cmd::image::publish::Prover;
use crate::cmd::objects::docker::{BuildOutcome, Images, OneOfAll};
use crate::ctx::{Ctx, Format};
use crate::exec::build_progress::BuildProgress;
use crate::exec::engine::Engine;
use crate::exec::interrupt;
use crate::fault::{self, Code, Fault};
use crate::model::reference::Reference;
use crate::plan::build::{Output, Request};
use crate::plan::step::Step;

/// A service's build, or why there is none.
pub type Prepared<'a> = (&'a str, anyhow::Result<Job<'a>>);

/// Runs them all, so many at once; returns them where none failed.
pub fn run(
    engine: &Engine,
    jobs: Vec<Prepared<'_>>,
    at_once: Option<NonZeroUsize>,
    then_test: bool,
    prover: Prover<'_>,
) -> anyhow::Result<(Images, Vec<Built>)> {
    let names: Vec<String> = jobs.iter().map(|(name, _)| (*name).to_owned()).collect();
    let progress = BuildProgress::new(&engine.ctx, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let build = |(name, job): Prepared<'_>| {
        let result = job.and_then(|job| {
            let build = |step: &Step| {
                progress.line(name, &format!("$ {step}"));
                engine.stream(step, |line| progress.line(name, line))
            };
            job.run(build, prover)
        });
        progress.done(name, result.as_ref().map_or_else(|_| "failed".into(), Built::line));
        result
    };
    let results = side_by_side(jobs, at_once.unwrap_or_else(processors), build);
    drop(progress);
    interrupt::check()?;
    let object = |(result, name): (&anyhow::Result<Built>, &String)| match result {
        Ok(built) => OneOfAll::Image(Box::new(built.object.clone())),
        Err(error) => {
            OneOfAll::Failed { service: name.clone(), outcome: BuildOutcome::Failed, error: format!("{error:#}") }
        }
    };
    let object = Images { results: results.iter().zip(&names).map(object).collect(), test: None };
    let lines = results.iter().flatten().map(Built::line).collect::<Vec<_>>().join("\n");
    let failed = failed(&results, &names);
    // A program gets one object: that of the proofs to come.
    let later = then_test && failed.is_empty() && engine.ctx.format == Format::Json;
    let delivered = if later { Ok(()) } else { engine.ctx.result(&object, || lines) };
    for (name, error) in &failed {
        if !fault::said(error).is_empty() && engine.ctx.terminal {
            engine.ctx.say(format!("── {name}: the last lines\n{}", last_lines(fault::said(error), 40)));
        }
    }
    // What failed is told, whether anybody reads the results or not.
    verdict(&engine.ctx, &failed, names.len())?;
    delivered?;
    Ok((object, results.into_iter().collect::<Result<_, _>>()?))
}

/// What this machine has.
fn processors() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Those that failed, by name.
pub fn failed<'a, T>(results: &'a [anyhow::Result<T>], names: &'a [String]) -> Vec<(&'a str, &'a anyhow::Error)> {
    results.iter().zip(names).filter_map(|(result, name)| Some((name.as_str(), result.as_ref().err()?))).collect()
}

/// Says what went wrong with each, and how all of it ends.
pub fn verdict(ctx: &Ctx, failed: &[(&str, &anyhow::Error)], of: usize) -> anyhow::Result<()> {
    for (name, error) in failed {
        ctx.say(format!("── {name}\n{}", fault::render(error)));
    }
    let codes: Vec<Code> = failed.iter().map(|(_, error)| fault::code(error)).collect();
    Ok(end(&codes, of)?)
}

/// How several end of which these failed. That something was tried in vain says
/// more than that something else was wrong from the start.
fn end(codes: &[Code], of: usize) -> Result<(), Fault> {
    let what = format!("{} of {of} builds failed", codes.len());
    match [Code::Interrupted, Code::Failed, Code::Usage].into_iter().find(|code| codes.contains(code)) {
        None => Ok(()),
        Some(Code::Interrupted) => Err(fault::interrupted()),
        Some(Code::Usage) => Err(fault::usage(what)),
        Some(Code::Failed) => Err(fault::failed(what)),
    }
}

/// What comes of each, in their order; no more than so many at once.
fn side_by_side<T: Send, R: Send>(
    all: Vec<T>,
    at_once: NonZeroUsize,
    act: impl Fn(T) -> anyhow::Result<R> + Sync,
) -> Vec<anyhow::Result<R>> {
    let workers = at_once.get().min(all.len());
    let waiting = Mutex::new(all.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some((at, one)) = waiting.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
            let result = catch_unwind(AssertUnwindSafe(|| act(one)));
            let result = result.unwrap_or_else(|_| Err(fault::failed("the build ended in a panic").into()));
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Refuses requests of which one would take another's place: one archive, one
/// name.
pub fn check(requests: &[(&str, &Request)]) -> Result<(), Fault> {
    let mut taken: Vec<(String, &str)> = Vec::new();
    for (service, request) in requests {
        let mut theirs: Vec<String> = request.tags.iter().map(Reference::to_string).collect();
        if let Output::Oci(file) = &request.output {
            theirs.push(format!("oci={file}"));
        }
        for what in theirs {
            if let Some((_, other)) = taken.iter().find(|(known, other)| *known == what && other != service) {
                return Err(fault::usage(format!("`{other}` and `{service}` would both be {what}"))
                    .help("one after the other: `cargo xtask docker SERVICE` with a name or a file of its own"));
            }
            taken.push((what, service));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_worst_of_several_ends_decides() {
        use Code::{Failed, Interrupted, Usage};
        for (codes, expected) in [
            (&[][..], None),
            (&[Usage], Some(Usage)),
            (&[Usage, Usage], Some(Usage)),
            (&[Failed], Some(Failed)),
            (&[Usage, Failed], Some(Failed)),
            (&[Failed, Usage], Some(Failed)),
            (&[Usage, Interrupted, Failed], Some(Interrupted)),
        ] {
            let found = end(codes, 9).err();
            assert_eq!(found.as_ref().map(|fault| fault.code), expected, "{codes:?}");
            let counted = expected != Some(Interrupted);
            let said = found.map(|fault| fault.to_string()).filter(|_| counted);
            let what = format!("{} of 9 builds failed", codes.len());
            assert_eq!(said, expected.filter(|_| counted).map(|_| what), "{codes:?}");
        }
        let results = [Ok(1), Err(anyhow::anyhow!("no")), Ok(2)];
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(failed(&results, &names).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn so_many_at_once_and_no_more_and_each_for_itself() {
        for at_once in [1, 2, 3, 20] {
            let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            // The first ones wait until as many run as may.
            let gate = std::sync::Barrier::new(at_once.min(8));
            let results = side_by_side((0..8).collect(), NonZeroUsize::new(at_once).unwrap(), |number| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if number < at_once.min(8) {
                    gate.wait();
                }
                running.fetch_sub(1, Ordering::SeqCst);
                match number {
                    3 => panic!("one of them"),
                    5 => Err(fault::usage("wrong").into()),
                    _ => Ok(number),
                }
            });
            let said: Vec<String> =
                results.iter().map(|one| one.as_ref().map_or_else(ToString::to_string, ToString::to_string)).collect();
            assert_eq!(said, ["0", "1", "2", "the build ended in a panic", "4", "wrong", "6", "7"]);
            assert_eq!(most.load(Ordering::SeqCst), at_once.min(8));
        }
        assert!(side_by_side(Vec::<u8>::new(), NonZeroUsize::MIN, Ok).is_empty());
    }
}
