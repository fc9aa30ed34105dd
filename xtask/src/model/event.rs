//! What a GitHub event asks to compare, by GitHub's own rules: its name and
//! its payload in, a comparison out. Nothing here looks at a repository.

use serde_json::Value;

use crate::model::doubt::Doubt;

/// What is compared to learn what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Two sides.
    Range(Range),
    /// Nothing: everything counts as changed.
    Everything(Cause),
}

/// Two sides to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The older side; none: the default branch.
    pub base: Option<String>,
    /// The newer side; none: the working tree, with what is not committed and
    /// not tracked.
    pub head: Option<String>,
    /// From the merge base of both, as GitHub's three dots mean it.
    pub three_dots: bool,
    /// Whether the merge base with the default branch may stand in for a base
    /// that is gone: after a forced push.
    pub replaceable: bool,
}

/// Why everything counts as changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For people.
    pub text: String,
    /// Whether it is a fallback, because nobody could tell; otherwise a rule.
    pub doubt: bool,
}

impl Cause {
    /// A rule says so.
    pub fn rule(text: impl Into<String>) -> Self {
        Self { text: text.into(), doubt: false }
    }

    /// What changed can't be told.
    pub fn doubt(text: impl Into<String>) -> Self {
        Self { text: text.into(), doubt: true }
    }
}

/// What the event `name` asks to compare. The payload is the text of the event
/// file, or why there is none; an event that needs none never looks at it.
pub fn compare(name: &str, payload: Result<String, Doubt>, default_branch: &str) -> Compare {
    let json = || Payload::read(name, payload);
    let compare = match name {
        "push" => json().and_then(|payload| push(&payload, default_branch)),
        "pull_request" | "pull_request_target" => json().and_then(|payload| {
            range(payload.commit("/pull_request/base/sha")?, payload.commit("/pull_request/head/sha")?, true)
        }),
        "merge_group" => json().and_then(|payload| {
            range(payload.commit("/merge_group/base_sha")?, payload.commit("/merge_group/head_sha")?, false)
        }),
        "workflow_dispatch" => json().map(|payload| Compare::Everything(dispatch(&payload))),
        "schedule" => Ok(Compare::Everything(Cause::rule("a scheduled run builds everything"))),
        other => Ok(Compare::Everything(Cause::rule(format!("the event `{other}` names no commits to compare")))),
    };
    compare.unwrap_or_else(|cause| Compare::Everything(Cause::doubt(cause)))
}

fn range(base: &str, head: &str, three_dots: bool) -> Result<Compare, Doubt> {
    Ok(Compare::Range(Range { base: Some(base.into()), head: Some(head.into()), three_dots, replaceable: false }))
}

fn push(payload: &Payload<'_>, default_branch: &str) -> Result<Compare, Doubt> {
    let name = payload.text("/ref")?;
    let (before, after) = (payload.commit("/before")?, payload.commit("/after")?);
    let rule = |text: String| Ok(Compare::Everything(Cause::rule(text)));
    if let Some(tag) = name.strip_prefix("refs/tags/") {
        return rule(format!("the tag `{tag}` was pushed"));
    }
    let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
    let is_default = branch == default_branch;
    if is_zero(after) {
        return rule(format!("the branch `{branch}` was deleted"));
    }
    match (is_zero(before), is_default) {
        // The merge base of the default branch with itself would hide all of it.
        (true, true) => rule(format!("the default branch `{branch}` is new")),
        (true, false) => {
            Ok(Compare::Range(Range { base: None, head: Some(after.into()), three_dots: true, replaceable: false }))
        }
        (false, _) => Ok(Compare::Range(Range {
            base: Some(before.into()),
            head: Some(after.into()),
            three_dots: false,
            replaceable: !is_default,
        })),
    }
}

/// Somebody who starts the workflow by hand wants its images, changed or not.
fn dispatch(payload: &Payload<'_>) -> Cause {
    let is_set = |value: &Value| value == &Value::Bool(true) || value == "true";
    let forced = payload.json["inputs"].as_object().into_iter().flatten().find(|(name, value)| {
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

struct Payload<'a> {
    event: &'a str,
    json: Value,
}

impl<'a> Payload<'a> {
    fn read(event: &'a str, text: Result<String, Doubt>) -> Result<Self, Doubt> {
        let text = text?;
        if text.trim().is_empty() {
            return Err("the event file is empty".into());
        }
        let json = serde_json::from_str(&text).map_err(|why| format!("the event file is not JSON: {why}"))?;
        Ok(Self { event, json })
    }

    fn text(&self, pointer: &str) -> Result<&str, Doubt> {
        self.json.pointer(pointer).and_then(Value::as_str).ok_or_else(|| {
            let key = pointer.trim_start_matches('/').replace('/', ".");
            format!("the event file is not that of a `{}`: it has no `{key}`", self.event).into()
        })
    }

    /// A commit's full name: it goes on a command line of git's.
    fn commit(&self, pointer: &str) -> Result<&str, Doubt> {
        let text = self.text(pointer)?;
        if is_commit(text) {
            return Ok(text);
        }
        let key = pointer.trim_start_matches('/').replace('/', ".");
        Err(format!("the event file's `{key}` is not a commit: {text:?}").into())
    }
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
}
