//! Whether a file is a workflow or an action at all. GitHub says nothing about a
//! file that is neither; it just runs nothing.

use crate::model::definition_changes::WORKFLOWS;
use crate::model::yaml::{YamlNode, YamlValue};

/// What is missing or has the wrong type: line, message, advice.
pub type ShapeError = (usize, String, &'static str);

/// All errors in the structure of a file.
pub fn wrong(file: &str, root: &YamlNode) -> Vec<ShapeError> {
    let is_map = |node: &YamlNode| matches!(node.value, YamlValue::Map(_));
    if !is_map(root) {
        let what = format!("{} is neither a workflow nor an action", kind(root));
        return vec![(root.line, what, "a mapping with `on:` and `jobs:`, or of an action with `runs:`")];
    }
    let mut wrong = Vec::new();
    if !file.starts_with(WORKFLOWS) {
        match root.get("runs") {
            Some(runs) if !is_map(runs) => wrong.push((runs.line, format!("`runs` is {}", kind(runs)), "a mapping")),
            None if file.contains(".github/actions/") => {
                wrong.push((
                    root.line,
                    "an action without `runs`".into(),
                    "`runs:` with `using: composite` and `steps:`",
                ));
            }
            _ => {}
        }
        return wrong;
    }
    if root.get("on").is_none() {
        wrong.push((root.line, "a workflow without `on`: it never starts".into(), "`on:` with its events"));
    }
    match root.get("jobs") {
        None => {
            wrong.push((root.line, "a workflow without `jobs`: it does nothing".into(), "`jobs:` with at least one"));
        }
        Some(jobs) if jobs.map().is_empty() => {
            let what = if is_map(jobs) { "`jobs` is empty".into() } else { format!("`jobs` is {}", kind(jobs)) };
            wrong.push((jobs.line, what, "a mapping of at least one job"));
        }
        Some(jobs) => jobs.map().iter().for_each(|(name, job)| look(&mut wrong, name, job)),
    }
    wrong
}

fn look(wrong: &mut Vec<ShapeError>, name: &YamlNode, job: &YamlNode) {
    let title = format!("job `{}`", name.text().unwrap_or_default());
    if !matches!(job.value, YamlValue::Map(_)) {
        wrong.push((job.line, format!("{title} is {}", kind(job)), "a mapping"));
        return;
    }
    let Some(steps) = job.get("steps") else {
        if job.get("uses").is_none() {
            wrong.push((name.line, format!("{title} has neither `steps` nor `uses`"), "what it does"));
        }
        return;
    };
    if job.get("runs-on").is_none() {
        wrong.push((name.line, format!("{title}: no `runs-on`"), "`runs-on: ubuntu-24.04`"));
    }
    if steps.list().is_empty() {
        wrong.push((steps.line, format!("{title}: `steps` is empty"), "a list of at least one"));
    }
    for step in steps.list().iter().filter(|step| step.get("run").is_none() && step.get("uses").is_none()) {
        wrong.push((step.line, format!("{title}: a step with neither `run` nor `uses`"), "one of both"));
    }
}

fn kind(node: &YamlNode) -> &'static str {
    match &node.value {
        YamlValue::Text(_) => "a scalar",
        YamlValue::List(_) => "a list",
        YamlValue::Map(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::yaml;

    fn told(file: &str, text: &str) -> Vec<String> {
        let root = yaml::parse(text).unwrap().unwrap();
        wrong(file, &root).into_iter().map(|(line, what, _)| format!("{line}: {what}")).collect()
    }

    #[test]
    fn a_workflow_has_events_and_jobs_with_steps() {
        let told = |text: &str| told(".github/workflows/a.yml", text).join("; ");
        let job = |job: &str| format!("on: push\njobs:\n  a: {job}\n");
        for (text, expected) in [
            ("text", "1: a scalar is neither a workflow nor an action"),
            ("# a\n- on: push", "2: a list is neither a workflow nor an action"),
            ("on: push", "1: a workflow without `jobs`: it does nothing"),
            ("name: x\njobs: {}", "1: a workflow without `on`: it never starts; 2: `jobs` is empty"),
            ("on: push\njobs: x", "2: `jobs` is a scalar"),
            ("on: push\njobs:\n  - a", "3: `jobs` is a list"),
            (&job("x"), "3: job `a` is a scalar"),
            (&job("{}"), "3: job `a` has neither `steps` nor `uses`"),
            (&job("{runs-on: x, steps: []}"), "3: job `a`: `steps` is empty"),
            (&job("{runs-on: x, steps: {run: x}}"), "3: job `a`: `steps` is empty"),
            (&job("{steps: [{run: x}]}"), "3: job `a`: no `runs-on`"),
            (
                &job("{runs-on: x, steps: [{name: x}, y]}"),
                "3: job `a`: a step with neither `run` nor `uses`; 3: job `a`: a step with neither `run` nor `uses`",
            ),
            (&job("{uses: ./x.yml}"), ""),
            (&job("{runs-on: x, steps: [{run: x}, {uses: y}]}"), ""),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn an_action_has_what_it_runs() {
        let file = ".github/actions/a/action.yml";
        assert_eq!(told(file, "name: x"), ["1: an action without `runs`"]);
        assert_eq!(told(file, "name: x\nruns: y"), ["2: `runs` is a scalar"]);
        assert_eq!(told(file, "- x"), ["1: a list is neither a workflow nor an action"]);
        assert_eq!(told(file, "runs: {using: composite, steps: []}"), [""; 0]);
    }
}
