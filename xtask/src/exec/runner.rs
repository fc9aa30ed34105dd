//! Runs a plan: its steps in order until one fails, then its final steps. An
//! `Executor` decides how: with visible output or without, and what is known
//! about something that a step waits for.

use std::time::{Duration, Instant};

use crate::ctx::Ctx;
use crate::exec::{interrupt, run};
use crate::fault;
use crate::plan::step::{Action, Plan, Step};

/// The pause between two attempts of a waiting step.
const PAUSE: Duration = Duration::from_millis(50);

/// Executes the steps of a plan.
pub trait Executor {
    /// Runs a step.
    fn run(&self, step: &Step) -> anyhow::Result<()>;

    /// Takes the digest that a step prints.
    fn learn(&self, step: &Step) -> anyhow::Result<()> {
        self.run(step)
    }

    /// Holds what a step prints against that digest.
    fn agree(&self, step: &Step) -> anyhow::Result<()> {
        self.run(step)
    }

    /// Tries a step that is repeated until it succeeds.
    fn tries(&self, step: &Step) -> bool {
        self.run(step).is_ok()
    }

    /// Whether the thing that a step waits for can no longer come.
    fn has_ended(&self, _what: &str) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// The output of the thing that did not come, for people.
    fn words_of(&self, _what: &str) -> String {
        String::new()
    }

    /// Runs a final step, whatever happened before. Its error is dropped, because
    /// it would hide an earlier one.
    fn clean(&self, step: &Step) {
        let _ = self.run(step);
    }
}

/// Runs steps with visible output.
pub struct Watched<'a>(pub &'a Ctx);

impl Executor for Watched<'_> {
    fn run(&self, step: &Step) -> anyhow::Result<()> {
        run::run(self.0, step)
    }
}

/// Runs a plan.
pub fn perform(plan: &Plan, hand: &impl Executor) -> anyhow::Result<()> {
    let result = plan.steps.iter().try_for_each(|act| one(act, hand));
    plan.finally.iter().for_each(|step| hand.clean(step));
    result
}

fn one(act: &Action, hand: &impl Executor) -> anyhow::Result<()> {
    let (step, patience, what) = match act {
        Action::Run(step) => return hand.run(step),
        Action::Learn(step) => return hand.learn(step),
        Action::Agree(step) => return hand.agree(step),
        Action::Until { step, patience, what } => (step, patience, what),
    };
    let started = Instant::now();
    while !hand.tries(step) {
        interrupt::check()?;
        let ended = hand.has_ended(what)?;
        if ended || started.elapsed() > *patience {
            let how = if ended { "ended" } else { "does not serve" };
            return Err(fault::failed(format!("`{what}` {how}; its log:\n{}", hand.words_of(what))).into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Records its steps. `fail` fails, and `third` fails twice.
    #[derive(Default)]
    struct Notes(RefCell<Vec<String>>, bool);

    impl Executor for Notes {
        fn run(&self, step: &Step) -> anyhow::Result<()> {
            self.0.borrow_mut().push(step.to_string());
            let tries = self.0.borrow().iter().filter(|line| **line == step.tool).count();
            match step.tool.as_str() {
                "fail" => Err(fault::failed("it failed").into()),
                "third" if tries < 3 => Err(fault::failed("not yet").into()),
                _ => Ok(()),
            }
        }
        fn has_ended(&self, _: &str) -> anyhow::Result<bool> {
            Ok(self.1)
        }
        fn words_of(&self, what: &str) -> String {
            format!("the last words of {what}")
        }
    }

    fn until(tool: &str, seconds: u64) -> Action {
        Action::Until { step: Step::new(tool), patience: Duration::from_secs(seconds), what: "db".into() }
    }

    fn of(steps: Vec<Action>, ended: bool) -> (String, String) {
        let hand = Notes(RefCell::default(), ended);
        let plan = Plan { steps, finally: vec![Step::new("rm"), Step::new("fail"), Step::new("rmdir")] };
        let said = perform(&plan, &hand).map_or_else(|error| error.to_string(), |()| String::new());
        (hand.0.take().join(" "), said)
    }

    #[test]
    fn the_first_failure_ends_the_steps_and_the_end_is_always_done() {
        let step = |tool: &str| Action::Run(Step::new(tool));
        assert_eq!(of(vec![step("a"), step("b")], false), ("a b rm fail rmdir".into(), String::new()));
        assert_eq!(
            of(vec![step("a"), step("fail"), step("b")], false),
            ("a fail rm fail rmdir".into(), "it failed".into())
        );
    }

    #[test]
    fn what_is_waited_for_is_tried_until_it_comes_or_can_not_any_more() {
        let late = "`db` does not serve; its log:\nthe last words of db";
        assert_eq!(of(vec![until("third", 60)], false), ("third third third rm fail rmdir".into(), String::new()));
        assert_eq!(of(vec![until("fail", 0)], false).1, late);
        assert_eq!(of(vec![until("fail", 60)], true).1, late.replace("does not serve", "ended"));
    }
}
