//! The one check that is required: red unless every job succeeded, or the plan
//! said that there is nothing to do for it.
//!
//! GitHub counts a skipped job as a success, and skips what follows a failed
//! one: whoever requires the last job alone requires nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::diagnostic::Diagnostic;

/// A job that came before, as `toJSON(needs)` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Need {
    /// `success`, `failure`, `cancelled` or `skipped`.
    pub result: String,
    /// What it put out.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
}

/// What is to be said of one job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// The job.
    pub job: String,
    /// How it ended.
    pub result: String,
    /// Whether that is right.
    pub right: bool,
    /// Why.
    pub why: &'static str,
}

/// The job that decides what the others do.
pub const PLAN: &str = "plan";

/// Reads `toJSON(needs)`.
pub fn needs(json: &str) -> Result<BTreeMap<String, Need>, Diagnostic> {
    let needs: BTreeMap<String, Need> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if needs.is_empty() { Err("no job is in it".into()) } else { Ok(needs) }
}

/// Every job's line. `may_skip` are those that this event has no use for.
pub fn verdict(needs: &BTreeMap<String, Need>, may_skip: &[&str]) -> Vec<Line> {
    let affected = needs
        .get(PLAN)
        .filter(|plan| plan.result == "success")
        .and_then(|plan| plan.outputs.get("affected"))
        .map(String::as_str);
    let judge = |job: &str, need: &Need| match (need.result.as_str(), affected) {
        ("success", None) if job == PLAN => (false, "it did not say whether anything is affected"),
        ("success", Some(_)) if job == PLAN && affected != Some("true") && affected != Some("false") => {
            (false, "it did not say whether anything is affected")
        }
        ("success", _) => (true, "it succeeded"),
        ("skipped", _) if job == PLAN => (false, "without a plan nothing may be skipped"),
        ("skipped", Some("false")) => (true, "the plan: not affected"),
        ("skipped", _) if may_skip.contains(&job) => (true, "not for this event"),
        ("skipped", _) => (false, "skipped, and not by the plan"),
        ("failure", _) => (false, "it failed"),
        ("cancelled", _) => (false, "it was cancelled"),
        _ => (false, "nobody knows this result"),
    };
    let line = |(job, need): (&String, &Need)| {
        let (right, why) = judge(job, need);
        Line { job: job.clone(), result: need.result.clone(), right, why }
    };
    needs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The jobs that are wrong, from `job=result` words; the plan's output is `affected`.
    fn wrong(jobs: &str, affected: Option<&str>, may_skip: &[&str]) -> Vec<String> {
        let need = |word: &str| {
            let (job, result) = word.split_once('=').unwrap();
            let outputs = affected.filter(|_| job == PLAN).map(|it| ("affected".to_owned(), it.to_owned()));
            (job.to_owned(), Need { result: result.into(), outputs: outputs.into_iter().collect() })
        };
        let needs = jobs.split(' ').map(need).collect();
        verdict(&needs, may_skip).into_iter().filter(|line| !line.right).map(|line| line.job).collect()
    }

    #[test]
    fn all_jobs_must_have_succeeded_or_been_skipped_by_the_plan() {
        let all = "plan=success test=success build=success publish=success";
        let skipped = "plan=success test=skipped build=skipped publish=skipped";
        let none: [&str; 0] = [];
        assert_eq!(wrong(all, Some("true"), &[]), none);
        assert_eq!(wrong(all, Some("false"), &[]), none);
        assert_eq!(wrong(skipped, Some("false"), &[]), none);
        assert_eq!(wrong(skipped, Some("true"), &[]), ["build", "publish", "test"]);
        assert_eq!(wrong(skipped, Some("true"), &["publish"]), ["build", "test"]);
    }

    #[test]
    fn a_skip_behind_a_failed_plan_is_wrong() {
        for result in ["failure", "cancelled", "skipped"] {
            let jobs = format!("plan={result} test=skipped build=skipped");
            // What a failed job had put out before is no plan.
            assert_eq!(wrong(&jobs, Some("false"), &[]), ["build", "plan", "test"]);
        }
        assert_eq!(wrong("plan=success test=skipped", None, &[]), ["plan", "test"]);
        assert_eq!(wrong("plan=success test=skipped", Some(""), &[]), ["plan", "test"]);
    }

    #[test]
    fn what_failed_is_wrong_whatever_the_plan_said() {
        for result in ["failure", "cancelled", "neutral", ""] {
            for affected in ["true", "false"] {
                let jobs = format!("plan=success test={result}");
                assert_eq!(wrong(&jobs, Some(affected), &["test"]), ["test"]);
            }
        }
    }

    #[test]
    fn without_a_plan_job_nothing_may_be_skipped() {
        assert_eq!(wrong("check=success test=skipped", None, &[]), ["test"]);
        assert_eq!(wrong("check=success test=success", None, &[]), [""; 0]);
    }

    #[test]
    fn what_github_writes_is_read_and_rubbish_refused() {
        let json =
            r#"{"plan":{"result":"success","outputs":{"affected":"true"}},"test":{"result":"skipped","outputs":{}}}"#;
        assert_eq!(needs(json).unwrap()["plan"].outputs["affected"], "true");
        for rubbish in ["", "{}", "[]", "null", "{\"a\":1}", "{\"a\":{}}"] {
            assert!(needs(rubbish).is_err(), "{rubbish}");
        }
    }
}
