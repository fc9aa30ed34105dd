//! Lints a workflow or a composite action: file, line, message and advice for all
//! errors in one run.

mod restores;
mod shape;

use std::collections::BTreeSet;

use path_filter::Pattern;

use crate::model::definition_changes::{Read, WORKFLOWS};
use crate::model::diagnostic::Diagnostic;
use crate::model::yaml::{self, YamlNode};

/// The optional rules.
#[derive(Clone, Copy, Default)]
pub struct Rules<'a> {
    /// All tracked files; empty: path filters are not checked.
    pub tracked: &'a [String],
    /// The required beginning of each `run:` line.
    pub commands: Option<&'a str>,
    /// Reads local actions, to see what they restore; `None`: they are not read.
    pub read: Option<Read<'a>>,
}

/// Actions that GitHub refuses below this major version, or runs on a version of
/// Node that it will remove.
const OLDEST: [(&str, u64); 9] = [
    ("actions/cache", 3),
    ("actions/checkout", 4),
    ("actions/delete-package-versions", 5),
    ("actions/download-artifact", 4),
    ("actions/setup-node", 4),
    ("actions/setup-python", 5),
    ("actions/upload-artifact", 4),
    ("actions/upload-pages-artifact", 3),
    ("github/codeql-action", 3),
];

/// The most patterns in a file. Each is compared with every tracked file.
const PATTERNS: usize = 1000;

/// All errors in a file, by line.
pub fn findings(file: &str, text: &str, rules: Rules<'_>) -> Vec<Diagnostic> {
    let mut look = Linter { file, text: text.lines().collect(), rules, found: BTreeSet::new(), patterns: 0 };
    match yaml::parse(text) {
        Err(error) => {
            look.add(
                error.line.unwrap_or(1),
                format!("YAML that does not parse: {}", error.message),
                "GitHub runs none of it",
            );
        }
        Ok(None) => look.add(1, "an empty file".into(), "delete it"),
        Ok(Some(root)) => look.root(&root),
    }
    let mut found: Vec<Diagnostic> = look.found.into_iter().collect();
    found.sort_by_key(|finding| finding.line);
    found
}

struct Linter<'a> {
    file: &'a str,
    text: Vec<&'a str>,
    rules: Rules<'a>,
    found: BTreeSet<Diagnostic>,
    patterns: usize,
}

impl Linter<'_> {
    fn add(&mut self, line: usize, message: String, help: impl Into<String>) {
        self.found.insert(Diagnostic::new(message).of(self.file).line(line).help(help));
    }

    fn root(&mut self, root: &YamlNode) {
        for (line, message, help) in shape::wrong(self.file, root) {
            self.add(line, message, help);
        }
        self.found.extend(restores::findings(self.file, root, self.rules.read.unwrap_or(&|_| Ok(None))));
        // A composite action has steps and no jobs.
        if let Some(runs) = root.get("runs") {
            self.steps(runs);
        }
        self.triggers(root);
        let has_permissions = root.get("permissions").is_some();
        for (name, job) in root.get("jobs").map(YamlNode::map).unwrap_or_default() {
            let title = name.text().unwrap_or_default();
            if !has_permissions && job.get("permissions").is_none() {
                self.add(
                    name.line,
                    format!("job `{title}`: no `permissions`: it gets the default permissions of the repository"),
                    "`permissions: {}` at the top, and in the job what it needs, such as `contents: read`",
                );
            }
            if let Some(uses) = job.get("uses") {
                self.uses(uses);
                continue;
            }
            if job.get("timeout-minutes").is_none() {
                self.add(
                    name.line,
                    format!("job `{title}`: no `timeout-minutes`: a job that hangs runs for six hours"),
                    "`timeout-minutes: 30`",
                );
            }
            self.steps(job);
        }
    }

    fn steps(&mut self, job: &YamlNode) {
        for step in job.get("steps").map(YamlNode::list).unwrap_or_default() {
            if let Some(uses) = step.get("uses") {
                self.uses(uses);
            }
            if let Some(run) = step.get("run") {
                self.run(run);
            }
            // dorny/paths-filter and its forks. In other actions the word means
            // something else.
            let is_filter = step.get("uses").and_then(YamlNode::text).is_some_and(|uses| uses.contains("filter"));
            if let Some(filters) = step.get("with").and_then(|with| with.get("filters")).filter(|_| is_filter) {
                self.filters(filters);
            }
        }
    }

    fn uses(&mut self, node: &YamlNode) {
        let Some(uses) = node.text() else { return };
        if let Some(place) = uses.strip_prefix("./").or(uses.strip_prefix("$/")) {
            self.local(node.line, uses, &docker_context::clean(place));
            return;
        }
        if uses.starts_with("docker://") {
            if !uses.contains("@sha256:") {
                self.add(node.line, format!("`{uses}` is not pinned to a digest"), "`docker://NAME@sha256:…`");
            }
            return;
        }
        let (name, reference) = uses.split_once('@').unwrap_or((uses, ""));
        let is_pinned = reference.len() == 40 && reference.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if !is_pinned {
            self.add(
                node.line,
                format!("`{uses}` is not pinned to a commit: anybody who moves the tag changes what runs here"),
                format!("`{name}@<40 hexadecimal digits> # <version>`"),
            );
        }
        let source = self.text.get(node.line.saturating_sub(1)).copied().unwrap_or_default();
        let comment = source.split_once(" #").map_or("", |(_, comment)| comment.trim());
        let version = if is_pinned { comment } else { reference };
        if is_pinned && version.is_empty() {
            self.add(
                node.line,
                format!("`{name}`: a commit does not show its version"),
                "add the version as a comment: `# v1.2.3`",
            );
        }
        let oldest =
            OLDEST.iter().find(|(old, _)| name == *old || name.strip_prefix(old).is_some_and(|it| it.starts_with('/')));
        if let (Some((_, oldest)), Some(major)) = (oldest, major(version))
            && major < *oldest
        {
            self.add(node.line, format!("`{name}` v{major} is deprecated"), format!("v{oldest} or newer"));
        }
    }

    /// A local workflow or action, which must exist.
    fn local(&mut self, line: usize, uses: &str, place: &str) {
        let Some(read) = self.rules.read else { return };
        let is_here = |file: &str| !matches!(read(file), Ok(None));
        let is_workflow = place.starts_with(WORKFLOWS) && (place.ends_with(".yml") || place.ends_with(".yaml"));
        let names = ["action.yml", "action.yaml", "Dockerfile"].map(|name| format!("{place}/{name}"));
        let (is_there, what) = match is_workflow {
            true => (is_here(place), "no such workflow"),
            false => (names.iter().any(|name| is_here(name)), "no action"),
        };
        if is_there {
            return;
        }
        self.add(line, format!("`{uses}`: {what} is there"), "write it, or name another one: the run fails here");
    }

    fn run(&mut self, node: &YamlNode) {
        let Some(run) = node.text() else { return };
        for line in node.line..=node.end.min(self.text.len()) {
            let source = self.text[line - 1];
            if source.contains("${{") {
                self.add(
                    line,
                    "`${{ }}` inside `run:`: its value becomes a part of the script, whoever wrote it".into(),
                    "set a variable in `env:` and write `\"$VARIABLE\"`",
                );
            }
            for (command, file) in [("::set-output", "GITHUB_OUTPUT"), ("::save-state", "GITHUB_STATE")] {
                if source.contains(command) {
                    self.add(line, format!("`{command}` is deprecated"), format!("append `name=value` to \"${file}\""));
                }
            }
        }
        let Some(commands) = self.rules.commands else { return };
        // A person types one command, so no second one may follow after an
        // operator.
        let operators = [";", "|", "&&", "`", "$("];
        let is_one = |line: &str| {
            let rest = line.strip_prefix(commands).filter(|rest| rest.is_empty() || rest.starts_with(' '));
            rest.is_some_and(|rest| !operators.iter().any(|operator| rest.contains(operator)))
        };
        let mut lines = run.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        if let Some(line) = Some(first).filter(|line| !is_one(line)).or(lines.next()) {
            self.add(
                node.line,
                format!("`run:` is not one `{commands}` line: `{line}`"),
                format!("one `{commands} …` per step, so that a person can type it; the rest belongs in the program"),
            );
        }
    }

    fn triggers(&mut self, root: &YamlNode) {
        for (event, settings) in root.get("on").map(YamlNode::map).unwrap_or_default() {
            for key in ["paths", "paths-ignore"] {
                let what = format!("`on.{}.{key}`", event.text().unwrap_or_default());
                for pattern in settings.get(key).map(YamlNode::list).unwrap_or_default() {
                    self.pattern(pattern.text().unwrap_or_default(), pattern.line, &what, true);
                }
            }
        }
    }

    /// A block of filters for dorny/paths-filter: YAML inside YAML.
    fn filters(&mut self, node: &YamlNode) {
        let Some(text) = node.text().filter(|text| text.contains('\n')) else { return };
        match yaml::parse(text) {
            Err(error) => self.add(
                node.line + error.line.unwrap_or(1) - 1,
                format!("a block of filters that is not valid YAML: {}", error.message),
                "quote patterns that begin with `*`, `!`, `[` or `{`",
            ),
            Ok(Some(root)) if !root.map().is_empty() => {
                for (name, patterns) in root.map() {
                    let what = format!("the filter `{}`", name.text().unwrap_or_default());
                    self.filter(patterns, node.line - 1, &what);
                }
            }
            Ok(_) => {
                self.add(node.line, "a block of filters without a filter".into(), "`name:` and a list of patterns");
            }
        }
    }

    fn filter(&mut self, node: &YamlNode, offset: usize, what: &str) {
        if let Some(text) = node.text() {
            self.pattern(text, offset + node.line, what, false);
        }
        node.list().iter().for_each(|item| self.filter(item, offset, what));
        // `added|modified: 'pattern'`.
        node.map().iter().for_each(|(_, patterns)| self.filter(patterns, offset, what));
    }

    /// A pattern that matches no tracked file. `is_github` says that the pattern
    /// is in GitHub's dialect. In another dialect it may mean more than we know.
    fn pattern(&mut self, text: &str, line: usize, what: &str, is_github: bool) {
        if self.rules.tracked.is_empty() {
            return;
        }
        self.patterns += 1;
        if self.patterns > PATTERNS {
            if self.patterns == PATTERNS + 1 {
                self.add(
                    line,
                    format!("more than {PATTERNS} patterns: this one and the rest are not checked"),
                    "name folders instead of their files",
                );
            }
            return;
        }
        match Pattern::parse(text) {
            Ok(_) if !is_github && text.contains(['{', '(', '|', '@']) => {}
            Ok(pattern) if self.rules.tracked.iter().any(|file| pattern.hits(file)) => {}
            Ok(_) => self.add(line, format!("{what}: `{text}` matches no tracked file"), "correct or delete it"),
            Err(why) if is_github => {
                self.add(line, format!("{what}: `{text}`, {why}"), "GitHub's documentation leaves it open");
            }
            Err(_) => {}
        }
    }
}

/// The major version of `v4`, `v4.1.0` or `4`.
fn major(version: &str) -> Option<u64> {
    let word = version.split_whitespace().next()?;
    word.strip_prefix('v').unwrap_or(word).split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const PINNED: &str = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1";

    fn found(text: &str, commands: Option<&str>, expected: &Expect) {
        let tracked = ["apps/backend/uv.lock".to_owned(), "Dockerfile".to_owned()];
        let lines: Vec<String> = findings("w.yml", text, Rules { tracked: &tracked, commands, read: None })
            .into_iter()
            .map(|finding| format!("{}: {}\n", finding.line.unwrap(), finding.message))
            .collect();
        expected.assert_eq(&lines.concat());
    }

    fn job(steps: &str) -> String {
        format!("permissions: {{}}\njobs:\n  a:\n    timeout-minutes: 5\n    steps:\n{steps}")
    }

    #[test]
    fn a_right_workflow_has_no_finding() {
        let steps =
            format!("      - uses: {PINNED}\n      - uses: ./.github/actions/x\n      - run: cargo xtask lint\n");
        found(&job(&steps), Some("cargo xtask"), &expect![""]);
    }

    #[test]
    fn actions_are_pinned_named_and_young_enough() {
        let steps = "      - uses: actions/checkout@v3\n\
                     \x20     - uses: actions/checkout@main\n\
                     \x20     - uses: github/codeql-action/init@9e907b5e64f6b83e7804b09294d44122997950d6 # v2.1\n\
                     \x20     - uses: a/b@9e907b5e64f6b83e7804b09294d44122997950d6\n\
                     \x20     - uses: a/b@9e907b5\n\
                     \x20     - uses: docker://alpine:3\n";
        found(
            &job(steps),
            None,
            &expect![[r#"
            6: `actions/checkout@v3` is not pinned to a commit: anybody who moves the tag changes what runs here
            6: `actions/checkout` v3 is deprecated
            7: `actions/checkout@main` is not pinned to a commit: anybody who moves the tag changes what runs here
            8: `github/codeql-action/init` v2 is deprecated
            9: `a/b`: a commit does not show its version
            10: `a/b@9e907b5` is not pinned to a commit: anybody who moves the tag changes what runs here
            11: `docker://alpine:3` is not pinned to a digest
        "#]],
        );
    }

    #[test]
    fn the_oldest_major_of_an_action_is_young_enough_and_the_one_before_is_not() {
        for (name, oldest) in OLDEST {
            for (major, expected) in [(oldest, 0), (oldest - 1, 1)] {
                let step = format!("      - uses: {name}@9e907b5e64f6b83e7804b09294d44122997950d6 # v{major}\n");
                assert_eq!(findings("w.yml", &job(&step), Rules::default()).len(), expected, "{name} v{major}");
            }
        }
    }

    #[test]
    fn what_is_called_here_is_here() {
        let read = |file: &str| {
            Ok(["a/action.yaml", "b/Dockerfile", ".github/workflows/x.yml"].contains(&file).then(String::new))
        };
        let job = |uses: &str| format!("permissions: {{}}\njobs:\n  a:\n    uses: {uses}\n");
        let step = |uses: &str| self::job(&format!("      - uses: {uses}\n"));
        let told = |text: &str| {
            let rules = Rules { read: Some(&read), ..Rules::default() };
            findings("w.yml", text, rules)
                .into_iter()
                .map(|it| format!("{}: {}", it.line.unwrap(), it.message))
                .collect::<Vec<_>>()
        };
        for text in [step("./a"), step("$/b/"), job("./.github/workflows/x.yml")] {
            assert_eq!(told(&text), [""; 0], "{text}");
        }
        assert_eq!(told(&step("./c")), ["6: `./c`: no action is there"]);
        assert_eq!(told(&step("./x.yml")), ["6: `./x.yml`: no action is there"]);
        let gone = "./.github/workflows/y.yml";
        assert_eq!(told(&job(gone)), [format!("4: `{gone}`: no such workflow is there")]);
    }

    #[test]
    fn scripts_take_no_expressions_and_no_old_commands() {
        let steps = "      - run: |\n          echo a\n          echo ${{ x }}\n        env:\n          X: ${{ fine }}\n\
                     \x20     - run: echo ${{ y }}\n      - run: >-\n          echo\n          ::set-output name=a::b\n";
        found(
            &job(steps),
            None,
            &expect![[r#"
            8: `${{ }}` inside `run:`: its value becomes a part of the script, whoever wrote it
            11: `${{ }}` inside `run:`: its value becomes a part of the script, whoever wrote it
            14: `::set-output` is deprecated
        "#]],
        );
    }

    #[test]
    fn a_run_line_is_one_command_of_ours_where_that_is_the_rule() {
        let steps = "      - run: cargo xtask lint\n      - run: cargo xtasks\n      - run: |\n          cargo xtask a\n          cargo xtask b\n      - run: cargo xtask a && curl x\n";
        found(
            &job(steps),
            Some("cargo xtask"),
            &expect![[r#"
                7: `run:` is not one `cargo xtask` line: `cargo xtasks`
                9: `run:` is not one `cargo xtask` line: `cargo xtask b`
                11: `run:` is not one `cargo xtask` line: `cargo xtask a && curl x`
            "#]],
        );
        found(&job(steps), None, &expect![""]);
    }

    #[test]
    fn permissions_and_timeouts_are_there() {
        found(
            "jobs:\n  a:\n    steps: []\n  b:\n    permissions: {}\n    uses: o/r/.github/workflows/w.yml@main\n",
            None,
            &expect![[r#"
                2: job `a`: no `permissions`: it gets the default permissions of the repository
                2: job `a`: no `timeout-minutes`: a job that hangs runs for six hours
                6: `o/r/.github/workflows/w.yml@main` is not pinned to a commit: anybody who moves the tag changes what runs here
            "#]],
        );
    }

    #[test]
    fn filters_name_what_is_there() {
        let text = "on:\n  push:\n    paths: [Dockerfile, uv.lock, '!docs/**']\n  pull_request:\n    paths-ignore:\n      - /a\n".to_owned()
            + &job(
                "      - uses: dorny/paths-filter@9e907b5e64f6b83e7804b09294d44122997950d6 # v3\n        with:\n          filters: |\n\
                 \x20           backend:\n              - 'apps/**'\n              - pyproject.toml\n              - added|modified: 'x/**'\n              - '{a,b}/c'\n              - '/{a,b}'\n              - '/x'\n",
            );
        found(
            &text,
            None,
            &expect![[r#"
            3: `on.push.paths`: `!docs/**` matches no tracked file
            3: `on.push.paths`: `uv.lock` matches no tracked file
            6: `on.pull_request.paths-ignore`: `/a`, column 1: paths begin without `/`; leave it out
            17: the filter `backend`: `pyproject.toml` matches no tracked file
            18: the filter `backend`: `x/**` matches no tracked file
        "#]],
        );
    }

    #[test]
    fn so_many_patterns_that_nobody_waits_for_them_are_one_finding() {
        let of = |count: usize| {
            let patterns = "      - Dockerfile\n".repeat(count);
            let text = format!("on:\n  push:\n    paths:\n{patterns}{}", job("      - run: a\n"));
            let tracked = ["Dockerfile".to_owned()];
            findings("w.yml", &text, Rules { tracked: &tracked, ..Rules::default() }).len()
        };
        assert_eq!((of(PATTERNS), of(PATTERNS + 1)), (0, 1));
        let patterns: String = (0..3000).map(|_| "      - Dockerfile\n").collect();
        let text = format!("on:\n  push:\n    paths:\n{patterns}{}", job("      - run: a\n"));
        found(
            &text,
            None,
            &expect![[r#"
            1004: more than 1000 patterns: this one and the rest are not checked
        "#]],
        );
    }

    #[test]
    fn what_does_not_parse_is_one_finding_with_its_line() {
        found(
            "on: push\njobs: [\n",
            None,
            &expect![[r#"
            2: YAML that does not parse: unclosed bracket '['
        "#]],
        );
        let step = "      - uses: dorny/paths-filter@9e907b5e64f6b83e7804b09294d44122997950d6 # v3\n        with:\n          filters: |\n";
        found(
            &job(&format!("{step}            - a\n")),
            None,
            &expect![[r#"
            9: a block of filters without a filter
        "#]],
        );
        found(
            &job(&format!("{step}            a:\n              - **/x\n            b: y\n")),
            None,
            &expect![[r#"
                10: a block of filters that is not valid YAML: while parsing node, found unknown anchor
            "#]],
        );
        found(
            "",
            None,
            &expect![[r#"
            1: an empty file
        "#]],
        );
    }

    #[test]
    fn no_text_panics() {
        crate::model::cases::cases(300, |u| {
            let words: Vec<u8> = u.arbitrary()?;
            let parts = [
                "on:", "jobs:", "steps:", "run:", "uses:", "with:", "filters:", "paths:", "\n", "  ", "- ", " a",
                "@v1", "|", "${{", "[", "]",
            ];
            let text: String = words.iter().map(|byte| parts[usize::from(*byte) % parts.len()]).collect();
            findings("w.yml", &text, Rules { tracked: &["a".to_owned()], commands: Some("a"), read: None });
            Ok(())
        });
    }
}
