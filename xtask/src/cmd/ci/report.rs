//! Prints `ci plan`: for a terminal, for a program, for the page of a run.

use crate::cmd::ci::comparison::Comparison;
use crate::cmd::objects::ci::{self as objects, LeftOut};
use crate::model::affected::{Hit, PathRule, Reason, Verdict, shown};
use crate::model::annotation::cell;
use crate::model::config::FILE;

/// One line per service, or with `explain` one per file.
pub fn text(outcome: &Comparison, verdicts: &[Verdict<'_>], explain: bool) -> String {
    let mut lines = vec![compared(outcome)];
    let width = verdicts.iter().map(|verdict| verdict.service.name.len()).max().unwrap_or(0);
    for verdict in verdicts {
        lines.push(format!("{:width$}  {:12}  {}", verdict.service.name, state(verdict), why(verdict)));
        if explain {
            explained(verdict, &mut lines);
        }
    }
    lines.join("\n")
}

/// A table for the page of the run.
pub fn markdown(outcome: &Comparison, verdicts: &[Verdict<'_>]) -> String {
    let row = |verdict: &Verdict<'_>| {
        format!("| {} | {} | {} |\n", cell(&verdict.service.name), state(verdict), cell(&why(verdict)))
    };
    let rows: String = verdicts.iter().map(row).collect();
    format!(
        "### What this change affects\n\n{}\n\n| service | | why |\n|---|---|---|\n{rows}\n",
        cell(&compared(outcome))
    )
}

/// The `reason` of the JSON object.
pub fn reason<'a>(verdict: &'a Verdict<'_>) -> objects::ReasonObject<'a> {
    match &verdict.reason {
        Reason::Path { path, rule } => objects::ReasonObject::Path { path, pattern: rule.pattern, line: rule.line },
        Reason::Indirect { path, cause } => objects::ReasonObject::Rule { path, cause: &cause.text },
        Reason::Everything { cause, path } => objects::ReasonObject::Everything { path: *path, cause: &cause.text },
        Reason::Nothing { excluded, .. } => {
            let left_out =
                excluded.as_ref().map(|(path, rule)| LeftOut { path, pattern: rule.pattern, line: rule.line });
            objects::ReasonObject::Nothing { cause: why(verdict), left_out }
        }
    }
}

/// The `explain` of the JSON object.
pub fn hits<'a>(verdict: &Verdict<'a>) -> Vec<objects::HitObject<'a>> {
    let hit = |(rule, files): &(PathRule<'a>, Vec<Hit<'a>>)| objects::HitObject {
        pattern: rule.pattern,
        line: rule.line,
        files: files.iter().map(|hit| hit.path).collect(),
    };
    verdict.hits.iter().map(hit).collect()
}

fn state(verdict: &Verdict<'_>) -> &'static str {
    if verdict.affected() { "affected" } else { "not affected" }
}

fn compared(outcome: &Comparison) -> String {
    let files = count(outcome.scope.paths.iter().count(), "changed file");
    match (&outcome.scope.everything, &outcome.range) {
        (Some(_), _) => "nothing was compared".into(),
        (None, Some(range)) => format!("{range}: {files}"),
        (None, None) => format!("a list: {files}"),
    }
}

fn why(verdict: &Verdict<'_>) -> String {
    match &verdict.reason {
        Reason::Path { path, rule } => format!("{} ← {}", place(rule), shown(path)),
        Reason::Indirect { path, cause } => format!("{} ← {}", cause.text, shown(path)),
        Reason::Everything { cause, .. } => format!("everything: {}", cause.text),
        Reason::Nothing { files, excluded, same } => {
            let patterns = count(verdict.service.paths.patterns().len(), "pattern");
            let looked = format!("{} against {patterns}", count(*files, "file"));
            let same = same.map(|path| format!("; the change of {} does not concern it", shown(path)));
            let left_out =
                excluded.as_ref().map(|(path, rule)| format!("; {} is left out by {}", shown(path), place(rule)));
            [Some(looked), same, left_out].into_iter().flatten().collect()
        }
    }
}

/// service ← pattern ← file. An arrow starts every line with a file, so that the
/// name of a file can't start a line that a runner takes for a command.
fn explained(verdict: &Verdict<'_>, lines: &mut Vec<String>) {
    for (rule, files) in &verdict.hits {
        lines.push(format!("  ← {}, {}", place(rule), count(files.len(), "file")));
        lines.extend(files.iter().map(|Hit { path, what }| match what {
            Some(what) => format!("      ← {}: {}", shown(path), shown(what)),
            None => format!("      ← {}", shown(path)),
        }));
    }
}

fn place(rule: &PathRule<'_>) -> String {
    format!("{} ({FILE}:{})", rule.pattern, rule.line)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
