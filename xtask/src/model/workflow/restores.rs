//! Finds caches that a job with write permission restores: any job of the same
//! branch may have saved them, even one that runs the code of a pull request.
//! Unlike zizmor, it also reads local actions.

use crate::model::definition_changes::Read;
use crate::model::diagnostic::Diagnostic;
use crate::model::yaml::{self, YamlNode};

/// How deeply actions that use actions are followed.
const DEPTH: usize = 10;

/// When an action restores a cache.
enum When {
    /// Always.
    Always,
    /// Unless this input is `false`.
    Unless(&'static str),
    /// If this input is set.
    With(&'static str),
}

/// Actions that restore from GitHub's cache, or from another run.
const RESTORING: [(&str, When); 19] = [
    ("actions/cache", When::Always),
    ("actions/cache/restore", When::Always),
    ("actions/download-artifact", When::With("run-id")),
    ("actions/setup-dotnet", When::With("cache")),
    ("actions/setup-go", When::Unless("cache")),
    ("actions/setup-java", When::With("cache")),
    ("actions/setup-node", When::With("cache")),
    ("actions/setup-python", When::With("cache")),
    ("astral-sh/setup-uv", When::Unless("enable-cache")),
    ("awalsh128/cache-apt-pkgs-action", When::Always),
    ("dawidd6/action-download-artifact", When::Always),
    ("docker/build-push-action", When::With("cache-from")),
    ("docker/setup-buildx-action", When::Unless("cache-binary")),
    ("docker/setup-qemu-action", When::Unless("cache-image")),
    ("gradle/actions/setup-gradle", When::Always),
    ("mozilla-actions/sccache-action", When::Always),
    ("pnpm/action-setup", When::With("cache")),
    ("ruby/setup-ruby", When::With("bundler-cache")),
    ("swatinem/rust-cache", When::Always),
];

/// Everything that jobs with write permission restore.
pub fn findings(file: &str, root: &YamlNode, read: Read<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, job) in root.get("jobs").map(YamlNode::map).unwrap_or_default() {
        let permissions = job.get("permissions").or(root.get("permissions"));
        let Some(right) = permissions.and_then(writes) else { continue };
        for step in job.get("steps").map(YamlNode::list).unwrap_or_default() {
            if let Some(what) = restores(step, read, DEPTH) {
                let message = format!(
                    "job `{}` can write (`{right}`) and restores what another job saved: {what}",
                    name.text().unwrap_or_default()
                );
                let line = step.get("uses").or(step.get("run")).map_or(step.line, |node| node.line);
                let help = "download or compile it in this job, or do it in a job that can't write";
                found.push(Diagnostic::new(message).of(file).line(line).help(help));
            }
        }
    }
    found
}

/// What a job can write, if it can.
fn writes(permissions: &YamlNode) -> Option<String> {
    if permissions.text() == Some("write-all") {
        return Some("write-all".into());
    }
    let right = permissions.map().iter().find(|(_, value)| value.text() == Some("write"));
    right.map(|(name, _)| format!("{}: write", name.text().unwrap_or_default()))
}

/// What a step restores, and the file and line if it is elsewhere.
fn restores(step: &YamlNode, read: Read<'_>, depth: usize) -> Option<String> {
    if let Some(run) = step.get("run").and_then(YamlNode::text) {
        let words = ["type=gha", "--cache gha", "--cache=gha"];
        return words.into_iter().find(|words| run.contains(words)).map(|words| format!("`{words}`"));
    }
    let uses = step.get("uses").and_then(YamlNode::text)?;
    if let Some(place) = uses.strip_prefix("./").or(uses.strip_prefix("$/")) {
        return below(&docker_context::clean(place), read, depth.checked_sub(1)?);
    }
    let name = uses.split('@').next().unwrap_or_default();
    let (_, when) = RESTORING.iter().find(|(action, _)| action.eq_ignore_ascii_case(name))?;
    let input =
        |key: &str| step.get("with").and_then(|with| with.get(key)).and_then(YamlNode::text).unwrap_or_default();
    let is_off = |text: &str| text.is_empty() || text.eq_ignore_ascii_case("false");
    let does = match when {
        // It only looks up whether there is a cache.
        When::Always => is_off(input("lookup-only")),
        When::Unless(key) => !input(key).eq_ignore_ascii_case("false"),
        When::With(key) => !is_off(input(key)),
    };
    does.then(|| format!("`{uses}`"))
}

/// What a local action restores. Another check reports one that can't be read.
fn below(place: &str, read: Read<'_>, depth: usize) -> Option<String> {
    let names = ["action.yml", "action.yaml"].map(|name| format!("{place}/{name}"));
    let (file, text) =
        names.into_iter().find_map(|file| Some((read(&file).ok()??, file)).map(|(text, file)| (file, text)))?;
    let root = yaml::parse(&text).ok()??;
    let steps = root.get("runs").and_then(|runs| runs.get("steps"))?.list();
    steps.iter().find_map(|step| {
        let what = restores(step, read, depth)?;
        let line = step.get("uses").or(step.get("run")).map_or(step.line, |node| node.line);
        Some(format!("{what} in {file}:{line}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const TREE: [(&str, &str); 4] = [
        ("a/action.yml", "runs:\n  using: composite\n  steps:\n    - run: x\n    - uses: ./b\n"),
        ("b/action.yaml", "runs:\n  steps:\n    - uses: actions/cache/restore@v4\n"),
        ("circle/action.yml", "runs: {steps: [{uses: ./circle}]}"),
        ("clean/action.yml", "runs: {steps: [{uses: actions/checkout@v4}, {run: cargo build}]}"),
    ];

    fn told(permissions: &str, step: &str) -> Vec<String> {
        let text = format!("jobs:\n  one:\n    permissions: {permissions}\n    steps:\n      - {step}\n");
        let read = |file: &str| Ok(TREE.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned()));
        let root = yaml::parse(&text).unwrap().unwrap();
        findings("w.yml", &root, &read).into_iter().map(|it| format!("{}: {}", it.line.unwrap(), it.message)).collect()
    }

    #[test]
    fn what_a_job_that_can_write_restores_is_found_behind_any_number_of_actions() {
        let told = |step: &str| told("{contents: read, packages: write}", step).join("\n");
        expect!["5: job `one` can write (`packages: write`) and restores what another job saved: `actions/cache@v4`"]
            .assert_eq(&told("uses: actions/cache@v4"));
        expect!["5: job `one` can write (`packages: write`) and restores what another job saved: `actions/cache/restore@v4` in b/action.yaml:3 in a/action.yml:5"]
            .assert_eq(&told("uses: ./a/"));
        expect!["5: job `one` can write (`packages: write`) and restores what another job saved: `--cache gha`"]
            .assert_eq(&told("run: cargo xtask docker web --push --cache gha"));
        for step in [
            "uses: Actions/Cache@v4",
            "uses: Swatinem/rust-cache@v2",
            "uses: docker/setup-buildx-action@v4",
            "{uses: docker/setup-qemu-action@v4, with: {cache-image: true}}",
            "{uses: actions/setup-node@v4, with: {cache: pnpm}}",
            "{uses: actions/setup-go@v5, with: {go-version: 1.22}}",
            "{uses: actions/download-artifact@v4, with: {run-id: 1}}",
            "{uses: docker/build-push-action@v6, with: {cache-from: type=gha}}",
        ] {
            assert!(!told(step).is_empty(), "{step}");
        }
    }

    #[test]
    fn what_restores_nothing_or_can_not_write_is_right() {
        let write = "{packages: write}";
        for step in [
            "uses: actions/cache/save@v4",
            "{uses: actions/cache@v4, with: {lookup-only: true}}",
            "{uses: docker/setup-buildx-action@v4, with: {cache-binary: false}}",
            "{uses: docker/setup-qemu-action@v4, with: {cache-image: 'false'}}",
            "{uses: actions/setup-node@v4, with: {cache: ''}}",
            "{uses: actions/setup-go@v5, with: {cache: false}}",
            "uses: actions/download-artifact@v4",
            "uses: actions/checkout@v4",
            "uses: ./clean",
            "uses: ./gone",
            "uses: ./circle",
            "run: cargo xtask docker web --push --cache registry",
            "name: nothing",
        ] {
            assert_eq!(told(write, step), [""; 0], "{step}");
        }
        for permissions in ["{}", "read-all", "{contents: read, packages: none}"] {
            assert_eq!(told(permissions, "uses: actions/cache@v4"), [""; 0], "{permissions}");
        }
        for permissions in ["write-all", "{id-token: write}"] {
            assert_eq!(told(permissions, "uses: actions/cache@v4").len(), 1, "{permissions}");
        }
    }

    #[test]
    fn a_jobs_own_permissions_win_over_the_workflows() {
        let found = |text: &str| findings("w.yml", &yaml::parse(text).unwrap().unwrap(), &|_| Ok(None)).len();
        let steps = "steps: [{uses: actions/cache@v4}]";
        assert_eq!(found(&format!("permissions: write-all\njobs: {{a: {{{steps}}}}}")), 1);
        assert_eq!(found(&format!("permissions: write-all\njobs: {{a: {{permissions: {{}}, {steps}}}}}")), 0);
        assert_eq!(found(&format!("permissions: {{}}\njobs: {{a: {{permissions: write-all, {steps}}}}}")), 1);
    }
}
