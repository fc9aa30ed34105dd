//! The commands that install what a machine lacks.

use crate::plan::step::{Action, Plan, Step};

/// What exists of the things that commands need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// An engine that answers.
    pub engine: bool,
    /// buildx, a plugin of the docker client.
    pub buildx: bool,
    /// The base images: their registries answer, or the stand-ins exist.
    pub bases: bool,
}

/// Installs the rest. Only a machine with an engine asks whether registries
/// answer.
pub fn plan(there: Available) -> Plan {
    let Available { engine, buildx, bases } = there;
    let rest = (!engine || !buildx || !bases).then(Step::setup);
    let mut plan = engine_up(engine);
    plan.steps.extend(rest.map(Action::Run));
    plan
}

/// Starts the private engine, unless it runs.
pub fn engine_up(runs: bool) -> Plan {
    Plan::of((!runs).then(|| Step::new("cargo").args(["xtask", "engine", "up"])))
}

/// Registers an emulator, if that is asked for.
pub fn emulator(wanted: bool) -> Plan {
    Plan::of(wanted.then(|| Step::new("cargo").args(["xtask", "setup", "--emulator"])))
}

/// Stops it, and deletes its folder if asked to.
pub fn engine_down(is_there: bool, purge: bool) -> Plan {
    let step = || Step::new("cargo").args(["xtask", "engine", "down"]).args(purge.then_some("--purge"));
    Plan::of(is_there.then(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_that_is_there_goes_down() {
        let line = |plan: Plan| plan.commands().map(ToString::to_string).collect::<String>();
        assert_eq!(line(engine_down(true, false)), "cargo xtask engine down");
        assert_eq!(line(engine_down(true, true)), "cargo xtask engine down --purge");
        assert_eq!(line(engine_down(false, true)), "");
    }

    #[test]
    fn what_is_there_is_used_as_it_is() {
        let (up, rest) = ("cargo xtask engine up", "cargo xtask setup --yes");
        for (engine, buildx, bases, expected) in [
            (true, true, true, &[][..]),
            (true, false, true, &[rest]),
            (true, true, false, &[rest]),
            (false, false, false, &[up, rest]),
            (false, true, true, &[up, rest]),
        ] {
            let there = Available { engine, buildx, bases };
            let lines: Vec<String> = plan(there).commands().map(ToString::to_string).collect();
            assert_eq!(lines, expected, "{there:?}");
        }
    }
}
