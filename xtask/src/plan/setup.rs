//! What a machine lacks, as the lines that get it.

use crate::plan::step::{Plan, Step};

/// What is there of all that commands need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    /// An engine that answers.
    pub engine: bool,
    /// buildx, a plugin of the client.
    pub buildx: bool,
    /// The bases: their registries answered, or the stand-ins are made.
    pub bases: bool,
}

/// Gets the rest. Whether registries answer is asked by a machine that has an
/// engine.
pub fn plan(there: There) -> Plan {
    let There { engine, buildx, bases } = there;
    let up = (!engine).then(|| Step::new("cargo").args(["xtask", "engine", "up"]));
    let rest = (!engine || !buildx || !bases).then(Step::setup);
    Plan::of(up.into_iter().chain(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let there = There { engine, buildx, bases };
            let lines: Vec<String> = plan(there).commands().map(ToString::to_string).collect();
            assert_eq!(lines, expected, "{there:?}");
        }
    }
}
