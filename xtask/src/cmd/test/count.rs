//! Counts the tests of a run, and compares the counts with how the command ended.

use std::sync::Mutex;

use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::run;
use crate::fault;
use crate::model::tally::{self, Tally};
use crate::model::{archive, junit};
use crate::plan::container::TestReport;
use crate::plan::step::Step;

/// The counts, and the error if there was one.
pub type Counted = (Tally, anyhow::Result<()>);

/// Runs `cargo test` and counts its tests.
pub fn cargo(ctx: &Ctx, step: &Step) -> Counted {
    let (output, ended) = watch(ctx, step);
    settle(Ok(tally::libtest(&output)), ended)
}

/// Runs a service's tests and counts them: from their report, or from the closing
/// lines of a runner without a report.
pub fn service(engine: &Engine, tests: &Step, report: Option<&TestReport>) -> Counted {
    let (output, ended) = watch(&engine.ctx, tests);
    match report {
        // If the tests fail before they write a report, their output says why.
        Some(report) => settle(read(engine, report), ended),
        None => settle(Ok(tally::closing(&output)), ended),
    }
}

/// Runs a command with visible output, and keeps that output.
fn watch(ctx: &Ctx, step: &Step) -> (String, anyhow::Result<()>) {
    let output = Mutex::new(String::new());
    ctx.show(step);
    let ended = run::stream(ctx, step, |line| {
        ctx.line(line);
        if let Ok(mut output) = output.lock() {
            output.push_str(line);
            output.push('\n');
        }
    });
    (output.into_inner().unwrap_or_default(), ended)
}

/// The report, copied out of its container.
fn read(engine: &Engine, report: &TestReport) -> anyhow::Result<Option<Tally>> {
    let TestReport { path, written, copy } = report;
    let help = "`report` in services.toml is the file that the command of the test stage must write";
    let changes = engine.read(written)?;
    // A report that was in the image already says nothing about this run.
    if !changes.lines().any(|line| [format!("A {path}"), format!("C {path}")].contains(&line.to_owned())) {
        return Err(fault::failed(format!("the tests wrote no {path}")).help(help).into());
    }
    let tar = engine.bytes(copy)?;
    let text = archive::file(&tar).ok_or_else(|| fault::failed(format!("{path} is not a regular file")).help(help))?;
    let tally = junit::count(&String::from_utf8_lossy(text));
    tally.map(Some).map_err(|why| fault::failed(format!("{path} is not a JUnit report: {why}")).help(help).into())
}

/// No test is a failure, and so is a failed test if the command succeeded.
fn settle(counted: anyhow::Result<Option<Tally>>, ended: anyhow::Result<()>) -> Counted {
    let counted = match (counted, &ended) {
        (Ok(counted), _) => counted.unwrap_or_default(),
        (Err(_), Err(_)) => Tally::default(),
        (Err(why), Ok(())) => return (Tally::default(), Err(why)),
    };
    let Tally { passed, failed } = counted;
    let verdict = ended.and_then(|()| match (passed, failed) {
        (0, 0) => Err(fault::failed("the run counted no test").into()),
        (_, 0) => Ok(()),
        _ => Err(fault::failed(format!("{failed} failed, but the command succeeded"))
            .help("its exit code must report that: does something follow the runner, such as a pipe or `|| true`?")
            .into()),
    });
    (counted, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn green_is_what_counted_something_and_failed_nothing_and_ended_well() {
        let of = |passed, failed| Some(Tally { passed, failed });
        for (counted, ended_well, expected, green) in [
            (Some(of(80, 0)), true, (80, 0), true),
            (Some(of(80, 4)), false, (80, 4), false),
            (Some(of(80, 4)), true, (80, 4), false),
            (Some(of(80, 0)), false, (80, 0), false),
            (Some(of(0, 0)), true, (0, 0), false),
            (Some(None), true, (0, 0), false),
            (Some(None), false, (0, 0), false),
            (None, true, (0, 0), false),
            (None, false, (0, 0), false),
        ] {
            let failed = |what: &str| anyhow::Error::from(fault::failed(what));
            let ended = if ended_well { Ok(()) } else { Err(failed("the command failed")) };
            let (tally, verdict) = settle(counted.ok_or_else(|| failed("no report")), ended);
            assert_eq!((tally.passed, tally.failed, verdict.is_ok()), (expected.0, expected.1, green), "{counted:?}");
            if !ended_well {
                assert_eq!(verdict.unwrap_err().to_string(), "the command failed", "what came first is told");
            }
        }
    }
}
