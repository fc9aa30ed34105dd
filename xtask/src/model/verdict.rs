//! The one required check. It fails unless every job succeeded, or the plan says
//! that the job has nothing to do.
//!
//! GitHub counts a skipped job as a success, and skips jobs after a failed one.
//! So if only the last job is required, without this check nothing is required.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::diagnostic::Diagnostic;

/// A job in `toJSON(needs)`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NeededJob {
    /// Its result.
    pub result: JobResult,
    /// Its outputs.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
}

/// The result of a job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobResult {
    /// It succeeded.
    Success,
    /// It failed.
    Failure,
    /// It was cancelled.
    Cancelled,
    /// It was skipped.
    Skipped,
    /// A result that is unknown to this program.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Other(word) => word,
        })
    }
}

/// The verdict on one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobVerdict {
    /// The job.
    pub job: String,
    /// Its result.
    pub result: JobResult,
    /// Whether that is right.
    pub right: bool,
    /// Why.
    pub why: &'static str,
}

/// The job whose outputs decide which other jobs run.
pub const PLAN: &str = "plan";

/// Parses `toJSON(needs)`.
pub fn needs(json: &str) -> Result<BTreeMap<String, NeededJob>, Diagnostic> {
    let needs: BTreeMap<String, NeededJob> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if needs.is_empty() { Err("it contains no job".into()) } else { Ok(needs) }
}

/// The verdict on every job. The jobs in `may_skip` are not needed for this
/// event.
pub fn verdict(needs: &BTreeMap<String, NeededJob>, may_skip: &[&str]) -> Vec<JobVerdict> {
    let plan = needs.get(PLAN).filter(|plan| plan.result == JobResult::Success);
    // Any other text means nothing.
    let affected: Option<bool> = plan.and_then(|plan| plan.outputs.get("affected")?.parse().ok());
    let judge = |job: &str, need: &NeededJob| match (&need.result, affected) {
        (JobResult::Success, None) if job == PLAN => (false, "it did not say whether anything is affected"),
        (JobResult::Success, _) => (true, "it succeeded"),
        (JobResult::Skipped, _) if job == PLAN => (false, "without a plan nothing may be skipped"),
        (JobResult::Skipped, Some(false)) => (true, "the plan: not affected"),
        (JobResult::Skipped, _) if may_skip.contains(&job) => (true, "not for this event"),
        (JobResult::Skipped, _) => (false, "skipped, and not by the plan"),
        (JobResult::Failure, _) => (false, "it failed"),
        (JobResult::Cancelled, _) => (false, "it was cancelled"),
        (JobResult::Other(_), _) => (false, "the result is unknown"),
    };
    let line = |(job, need): (&String, &NeededJob)| {
        let (right, why) = judge(job, need);
        JobVerdict { job: job.clone(), result: need.result.clone(), right, why }
    };
    needs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wrong jobs, from `job=result` words; the plan's output is `affected`.
    fn wrong(jobs: &str, affected: Option<&str>, may_skip: &[&str]) -> Vec<String> {
        let need = |word: &str| {
            let (job, result) = word.split_once('=').unwrap();
            let outputs = affected.filter(|_| job == PLAN).map(|it| ("affected".to_owned(), it.to_owned()));
            let result = serde_json::from_value(result.into()).unwrap();
            (job.to_owned(), NeededJob { result, outputs: outputs.into_iter().collect() })
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
            // The outputs of a failed job are not a plan.
            assert_eq!(wrong(&jobs, Some("false"), &[]), ["build", "plan", "test"]);
        }
        assert_eq!(wrong("plan=skipped test=skipped", None, &["plan", "test"]), ["plan"]);
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

    #[test]
    fn a_result_is_said_as_github_says_it() {
        for word in ["success", "failure", "cancelled", "skipped", "neutral"] {
            assert_eq!(serde_json::from_value::<JobResult>(word.into()).unwrap().to_string(), word);
        }
    }
}
