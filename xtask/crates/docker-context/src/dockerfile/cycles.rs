//! Stages that depend on themselves. BuildKit finds some of these cycles. Others
//! overflow its stack and crash the engine, so no Dockerfile with a cycle reaches
//! it.

use std::collections::BTreeSet;

use super::DockerfileError;
use super::graph::{Graph, StageUse};

/// Refuses a cycle of stages, and a stage that takes files from a later one where
/// BuildKit can't do that.
pub fn check(graph: &Graph, reached: &BTreeSet<usize>) -> Result<(), DockerfileError> {
    // What BuildKit walks for this target, and what it looks at in every build.
    let all: BTreeSet<usize> = (0..graph.stages.len()).collect();
    for (among, base_too) in [(reached, true), (&all, false)] {
        if let Some(circle) = circle(graph, among, base_too) {
            return Err(told(graph, &circle));
        }
    }
    for at in reached {
        for (it, below) in graph.next(*at, true).filter(|(_, next)| next >= at) {
            if matches!(it.origin, super::graph::Origin::Stage(_)) {
                let message = format!(
                    "`{}`: stage {} stands below, at line {}; a stage takes only from those above it",
                    it.text,
                    name(graph, below),
                    graph.stages[below].line
                );
                return Err(DockerfileError { line: it.line, column: 1, message });
            }
        }
    }
    Ok(())
}

/// The first cycle, as the steps from a stage back to itself.
fn circle<'g>(graph: &'g Graph, among: &BTreeSet<usize>, base_too: bool) -> Option<Vec<(&'g StageUse, usize)>> {
    let next = |at: usize| {
        // An uncertain dependency is not treated as a cycle.
        let sure = |(it, _): &(&StageUse, usize)| matches!(it.origin, super::graph::Origin::Stage(_));
        graph.next(at, base_too).filter(sure)
    };
    let mut done = vec![false; graph.stages.len()];
    let mut open = vec![false; graph.stages.len()];
    for first in among {
        if done[*first] {
            continue;
        }
        // The stages on the path, each with the step that led to it.
        let mut way = vec![(None, *first, next(*first))];
        open[*first] = true;
        while let Some((_, at, steps)) = way.last_mut() {
            let at = *at;
            match steps.next() {
                Some((it, to)) if open[to] => {
                    let start = way.iter().position(|(_, on, _)| *on == to)?;
                    let mut circle: Vec<_> =
                        way[start + 1..].iter().filter_map(|(it, on, _)| Some(((*it)?, *on))).collect();
                    circle.push((it, to));
                    return Some(circle);
                }
                Some((_, to)) if done[to] => {}
                Some((it, to)) => {
                    open[to] = true;
                    way.push((Some(it), to, next(to)));
                }
                None => {
                    (open[at], done[at]) = (false, true);
                    way.pop();
                }
            }
        }
    }
    None
}

fn told(graph: &Graph, circle: &[(&StageUse, usize)]) -> DockerfileError {
    // The cycle closes where a stage takes files from itself or from a later one.
    let stages: Vec<usize> = circle.iter().map(|(_, to)| *to).collect();
    let from = |step: usize| stages[(step + stages.len() - 1) % stages.len()];
    let closing = (0..circle.len()).find(|step| circle[*step].1 >= from(*step)).unwrap_or(0);
    let (it, _) = circle[closing];
    let mut names: Vec<String> =
        (0..=circle.len()).map(|step| name(graph, from((closing + step) % circle.len()))).collect();
    // Of a cycle with hundreds of stages, the message shows both ends.
    if names.len() > 12 {
        names.splice(6..names.len() - 5, ["…".to_owned()]);
    }
    let message = format!("`{}`: a stage can't be made from itself: {}", it.text, names.join(" → "));
    DockerfileError { line: it.line, column: 1, message }
}

fn name(graph: &Graph, at: usize) -> String {
    graph.stages[at].name.as_ref().map_or(at.to_string(), |name| format!("`{name}`"))
}

#[cfg(test)]
mod tests {
    use super::super::{BuildOptions, inputs};

    fn refused(text: &str, target: Option<&str>) -> Option<String> {
        inputs(text.as_bytes(), target, &BuildOptions::NOTHING).err().map(|error| error.to_string())
    }

    #[test]
    fn a_circle_of_stages_is_refused_with_its_line() {
        for (text, expected) in [
            ("FROM a AS x\nCOPY --from=x a /", "2:1: `COPY --from=x`: a stage can't be made from itself: `x` → `x`"),
            ("FROM a\nCOPY --from=0 a /", "2:1: `COPY --from=0`: a stage can't be made from itself: 0 → 0"),
            ("FROM a\nCOPY --from=\"+0\" a /", "2:1: `COPY --from=+0`: a stage can't be made from itself: 0 → 0"),
            (
                "FROM a AS x\nCOPY --from=y a /\nFROM x AS y",
                "2:1: `COPY --from=y`: a stage can't be made from itself: `x` → `y` → `x`",
            ),
            (
                "FROM a AS x\nRUN --mount=from=Z,target=/z true\nFROM x AS y\nFROM scratch AS z\nCOPY --from=1 /a /",
                "2:1: `RUN --mount=from=Z`: a stage can't be made from itself: `x` → `z` → `y` → `x`",
            ),
            // If two stages have this name, the later one is meant.
            (
                "FROM a AS x\nFROM a AS y\nCOPY --from=x a /\nFROM y AS x\n",
                "3:1: `COPY --from=x`: a stage can't be made from itself: `y` → `x` → `y`",
            ),
        ] {
            assert_eq!(refused(text, None).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_stage_takes_from_those_above_it_alone() {
        let text = "FROM a AS x\nCOPY --from=y a /\nFROM b AS y\nFROM x\n";
        let expected =
            "2:1: `COPY --from=y`: stage `y` stands below, at line 3; a stage takes only from those above it";
        assert_eq!(refused(text, None).as_deref(), Some(expected));
        assert_eq!(refused(text, Some("y")), None, "what is not built does not matter");
        // FROM only looks at earlier stages, so the first `x` is an image.
        assert_eq!(refused("FROM x AS y\nFROM y AS x\n", None), None);
        // A trigger sees the stages that exist when it runs.
        assert_eq!(refused("FROM a AS x\nONBUILD COPY --from=y a /\nFROM x AS y\n", None), None);
        // BuildKit does not walk these stages, and it ignores cycles through
        // FROM.
        assert_eq!(refused("FROM a AS x\nCOPY --from=y a /\nFROM x AS y\nFROM b\n", None), None);
        assert!(refused("FROM a AS x\nCOPY --from=y a /\nFROM a AS y\nCOPY --from=x a /\nFROM b\n", None).is_some());
    }

    #[test]
    fn a_circle_of_hundreds_is_shown_by_its_ends() {
        let of = |stages: usize| {
            let from = |at: usize| format!("FROM s{} AS s{at}\n", at - 1);
            format!("FROM a AS s0\nCOPY --from=s{} a /\n", stages - 1) + &(1..stages).map(from).collect::<String>()
        };
        assert!(!refused(&of(11), None).unwrap().contains('…') && refused(&of(12), None).unwrap().contains('…'));
        let mut text = of(1000);
        let error = refused(&text, None).unwrap();
        assert!(error.starts_with("2:1: ") && error.contains("`s0` → `s999`") && error.len() < 250, "{error}");
        text.push_str("FROM a\n");
        assert!(refused(&text, None).unwrap().contains("more than 1000 stages"));
    }
}
