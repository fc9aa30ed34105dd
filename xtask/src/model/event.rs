//! Which commits a GitHub event asks to compare, by GitHub's rules. It takes the
//! name and the payload, and does not look at a repository.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::doubt::Doubt;

/// The comparison that shows what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Two commits.
    Range(Range),
    /// None: everything counts as changed.
    Everything(Cause),
}

/// Two sides to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The older side; `None`: the default branch.
    pub base: Option<String>,
    /// The newer side; `None`: the working tree, with uncommitted and untracked
    /// files.
    pub head: Option<String>,
    /// Compares from the merge base of both, as GitHub's three dots do.
    pub three_dots: bool,
    /// Whether the merge base with the default branch may replace a base that is
    /// gone after a force push.
    pub replaceable: bool,
}

/// Why everything counts as changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The reason, for people.
    pub text: String,
    /// Whether it is a fallback because something is unknown; otherwise it is a
    /// rule.
    pub doubt: bool,
}

impl Cause {
    /// A cause that is a rule.
    pub fn rule(text: impl Into<String>) -> Self {
        Self { text: text.into(), doubt: false }
    }

    /// A cause that is a doubt.
    pub fn doubt(text: impl Into<String>) -> Self {
        Self { text: text.into(), doubt: true }
    }
}

/// What the event `name` asks to compare. `payload` is the text of the event
/// file, or why there is none. Events that don't need it never look at it.
pub fn compare(name: &str, payload: Result<String, Doubt>, default_branch: &str) -> Compare {
    let compare = match name {
        "push" => read(name, payload).and_then(|event: Push| push(&event, default_branch)),
        "pull_request" | "pull_request_target" => read(name, payload).and_then(|event: PullRequestEvent| {
            let PullRequest { base, head } = event.pull_request.unwrap_or_default();
            let base = commit(name, "pull_request.base.sha", base.and_then(|side| side.sha))?;
            range(base, commit(name, "pull_request.head.sha", head.and_then(|side| side.sha))?, true)
        }),
        "merge_group" => read(name, payload).and_then(|event: MergeGroupEvent| {
            let MergeGroup { base_sha, head_sha } = event.merge_group.unwrap_or_default();
            let base = commit(name, "merge_group.base_sha", base_sha)?;
            range(base, commit(name, "merge_group.head_sha", head_sha)?, false)
        }),
        "workflow_dispatch" => read(name, payload).map(|event: Dispatch| Compare::Everything(dispatch(&event))),
        "schedule" => Ok(Compare::Everything(Cause::rule("a scheduled run builds everything"))),
        other => Ok(Compare::Everything(Cause::rule(format!("the event `{other}` names no commits to compare")))),
    };
    compare.unwrap_or_else(|cause| Compare::Everything(Cause::doubt(cause)))
}

fn range(base: String, head: String, three_dots: bool) -> Result<Compare, Doubt> {
    Ok(Compare::Range(Range { base: Some(base), head: Some(head), three_dots, replaceable: false }))
}

fn push(event: &Push, default_branch: &str) -> Result<Compare, Doubt> {
    let name = field("push", "ref", event.name.clone())?;
    let (before, after) =
        (commit("push", "before", event.before.clone())?, commit("push", "after", event.after.clone())?);
    let rule = |text: String| Ok(Compare::Everything(Cause::rule(text)));
    if let Some(tag) = name.strip_prefix("refs/tags/") {
        return rule(format!("the tag `{tag}` was pushed"));
    }
    let branch = name.strip_prefix("refs/heads/").unwrap_or(&name);
    let is_default = branch == default_branch;
    if is_zero(&after) {
        return rule(format!("the branch `{branch}` was deleted"));
    }
    match (is_zero(&before), is_default) {
        // The merge base of the default branch with itself would hide every
        // change.
        (true, true) => rule(format!("the default branch `{branch}` is new")),
        (true, false) => {
            Ok(Compare::Range(Range { base: None, head: Some(after), three_dots: true, replaceable: false }))
        }
        (false, _) => Ok(Compare::Range(Range {
            base: Some(before),
            head: Some(after),
            three_dots: false,
            replaceable: !is_default,
        })),
    }
}

/// People who start the workflow by hand want its images, changed or not.
fn dispatch(event: &Dispatch) -> Cause {
    let is_set = |value: &Value| value == &Value::Bool(true) || value == "true";
    let forced = event.inputs.iter().flatten().find(|(name, value)| {
        let name = name.replace('_', "-");
        (name.contains("force") || name.contains("no-cache")) && is_set(value)
    });
    Cause::rule(match forced {
        Some((input, _)) => format!("started by hand with `{input}`"),
        None => "started by hand".into(),
    })
}

fn is_zero(commit: &str) -> bool {
    commit.bytes().all(|digit| digit == b'0')
}

/// Whether `text` is the full name of a commit (SHA-1 or SHA-256).
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The payload of a `push`, as far as we read it.
#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    name: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Deserialize)]
struct PullRequestEvent {
    pull_request: Option<PullRequest>,
}

#[derive(Default, Deserialize)]
struct PullRequest {
    base: Option<PullRequestSide>,
    head: Option<PullRequestSide>,
}

#[derive(Deserialize)]
struct PullRequestSide {
    sha: Option<String>,
}

#[derive(Deserialize)]
struct MergeGroupEvent {
    merge_group: Option<MergeGroup>,
}

#[derive(Default, Deserialize)]
struct MergeGroup {
    base_sha: Option<String>,
    head_sha: Option<String>,
}

/// The author of the workflow chose the inputs.
#[derive(Deserialize)]
struct Dispatch {
    inputs: Option<BTreeMap<String, Value>>,
}

fn read<T: DeserializeOwned>(event: &str, text: Result<String, Doubt>) -> Result<T, Doubt> {
    let text = text?;
    if text.trim().is_empty() {
        return Err("the event file is empty".into());
    }
    serde_json::from_str(&text).map_err(|why| {
        let what = if why.is_data() { format!("not that of a `{event}`") } else { "not JSON".into() };
        format!("the event file is {what}: {why}").into()
    })
}

/// A value that GitHub always sends.
fn field(event: &str, key: &str, value: Option<String>) -> Result<String, Doubt> {
    value.ok_or_else(|| format!("the event file is not that of a `{event}`: it has no `{key}`").into())
}

/// The full name of a commit: it becomes an argument of git.
fn commit(event: &str, key: &str, value: Option<String>) -> Result<String, Doubt> {
    let text = field(event, key, value)?;
    if is_commit(&text) {
        return Ok(text);
    }
    Err(format!("the event file's `{key}` is not a commit: {text:?}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    fn of(name: &str, payload: &Value) -> Compare {
        compare(name, Ok(payload.to_string()), "main")
    }

    fn pushed(name: &str, before: &str, after: &str) -> Compare {
        of("push", &json!({ "ref": name, "before": before, "after": after }))
    }

    fn commits(base: Option<&str>, head: &str, three_dots: bool, replaceable: bool) -> Compare {
        Compare::Range(Range { base: base.map(Into::into), head: Some(head.into()), three_dots, replaceable })
    }

    fn rule(text: &str) -> Compare {
        Compare::Everything(Cause::rule(text))
    }

    fn doubt(text: &str) -> Compare {
        Compare::Everything(Cause::doubt(text))
    }

    #[test]
    fn a_push_compares_what_was_with_what_is() {
        assert_eq!(pushed("refs/heads/main", A, B), commits(Some(A), B, false, false));
        assert_eq!(pushed("refs/heads/topic/x", A, B), commits(Some(A), B, false, true));
    }

    #[test]
    fn a_new_branch_compares_with_the_default_branch_and_a_new_default_branch_is_everything() {
        assert_eq!(pushed("refs/heads/topic", ZERO, B), commits(None, B, true, false));
        assert_eq!(pushed("refs/heads/main", ZERO, B), rule("the default branch `main` is new"));
    }

    #[test]
    fn a_tag_and_a_deleted_branch_are_everything() {
        assert_eq!(pushed("refs/tags/v1", ZERO, B), rule("the tag `v1` was pushed"));
        assert_eq!(pushed("refs/tags/v1", A, B), rule("the tag `v1` was pushed"));
        assert_eq!(pushed("refs/heads/topic", A, ZERO), rule("the branch `topic` was deleted"));
    }

    #[test]
    fn a_pull_request_means_three_dots_and_a_merge_group_two() {
        let pull = json!({ "pull_request": { "base": { "sha": A }, "head": { "sha": B } } });
        assert_eq!(of("pull_request", &pull), commits(Some(A), B, true, false));
        assert_eq!(of("pull_request_target", &pull), commits(Some(A), B, true, false));
        let group = json!({ "merge_group": { "base_sha": A, "head_sha": B } });
        assert_eq!(of("merge_group", &group), commits(Some(A), B, false, false));
    }

    #[test]
    fn what_is_started_by_hand_or_by_the_clock_is_everything() {
        let by_hand = |inputs: Value| of("workflow_dispatch", &json!({ "inputs": inputs }));
        assert_eq!(by_hand(json!({ "force_rebuild": "true" })), rule("started by hand with `force_rebuild`"));
        assert_eq!(by_hand(json!({ "no-cache": true })), rule("started by hand with `no-cache`"));
        assert_eq!(by_hand(json!({ "force-rebuild": "false" })), rule("started by hand"));
        assert_eq!(by_hand(Value::Null), rule("started by hand"));
        let missing = || Err("the event file is missing".into());
        assert_eq!(compare("schedule", missing(), "main"), rule("a scheduled run builds everything"));
        assert_eq!(of("release", &json!({})), rule("the event `release` names no commits to compare"));
    }

    #[test]
    fn a_payload_that_is_not_the_events_is_everything_and_says_what_is_wrong() {
        let missing = Err("the event file is missing".into());
        assert_eq!(compare("push", missing, "main"), doubt("the event file is missing"));
        assert_eq!(compare("push", Ok(" \n".into()), "main"), doubt("the event file is empty"));
        let pull = json!({ "pull_request": { "base": { "sha": A }, "head": { "sha": B } } });
        assert_eq!(of("push", &pull), doubt("the event file is not that of a `push`: it has no `ref`"));
        let expected = "the event file is not that of a `pull_request`: invalid type: string \"x\", expected struct \
            PullRequest at line 1 column 19";
        assert_eq!(of("pull_request", &json!({ "pull_request": "x" })), doubt(expected));
        let push = json!({ "ref": "refs/heads/main", "before": A, "after": B });
        let expected = doubt("the event file is not that of a `pull_request`: it has no `pull_request.base.sha`");
        assert_eq!(of("pull_request", &push), expected);
        assert_eq!(
            pushed("refs/heads/x", "--output=x", B),
            doubt("the event file's `before` is not a commit: \"--output=x\"")
        );
        let Compare::Everything(cause) = compare("push", Ok("{\"ref\":".into()), "main") else { panic!() };
        assert!(cause.doubt && cause.text.contains("not JSON") && cause.text.contains("line 1"), "{}", cause.text);
    }

    #[test]
    fn no_payload_panics() {
        crate::model::cases::cases(1000, |u| {
            let events = ["push", "pull_request", "merge_group", "workflow_dispatch", "schedule", "other"];
            let _ = compare(u.choose(&events)?, Ok(u.arbitrary()?), "main");
            let mut any = || Ok::<_, arbtest::arbitrary::Error>(u.choose(&[A, B, ZERO, "", "é", "-x"])?.to_string());
            let payload =
                json!({ "ref": any()?, "before": any()?, "after": any()?, "inputs": any()?, "pull_request": any()? });
            let _ = of("push", &payload);
            let _ = of("workflow_dispatch", &payload);
            Ok(())
        });
    }

    #[test]
    fn a_commit_is_named_by_all_of_its_digits() {
        for (text, expected) in [
            (A, true),
            ("0123456789abcdefABCDEF0123456789abcdef01", true),
            (&"a".repeat(64), true),
            (&A[1..], false),
            ("abc", false),
            ("", false),
            ("gaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(is_commit(text), expected, "{text}");
        }
    }
}
