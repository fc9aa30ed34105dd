//! Workflows from the outside: what `ci check` and `ci sync` do to a checkout,
//! and that every line which this repository's jobs run is a command line.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::FromArgMatches as _;
use xtask::model::config::Project;
use xtask::model::yaml::{self, YamlNode};

const TOML: &str = r#"[project]
name = "demo"
registry = "ghcr.io"
owner = "demo"

[ci]
branches = ["main"]

[services.api]
image = "demo-api"
target = "api"
paths = ["Dockerfile", "api/**"]

[services.web]
image = "demo-web"
target = "web"
paths = ["Dockerfile", "web/**"]
workflow = "site"
"#;

/// A workflow that somebody wrote.
const OWN: &str = "on: push\npermissions: {}\njobs: {a: {uses: ./.github/workflows/b.yml}}\n";

/// One that others call.
const CALLED: &str =
    "on: workflow_call\npermissions: {}\njobs: {a: {runs-on: x, timeout-minutes: 1, steps: [{run: x}]}}\n";

/// A repository that is gone when the test ends.
struct Checkout(PathBuf);

impl Checkout {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xtask-workflows-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let checkout = Self(dir);
        checkout.write("services.toml", TOML);
        checkout.write("Dockerfile", "FROM scratch AS api\nCOPY api /\nFROM scratch AS web\nCOPY web /\n");
        for name in ["docker-image", "b"] {
            checkout.write(&format!(".github/workflows/{name}.yml"), CALLED);
        }
        checkout.write("api/main.py", "");
        checkout.write("web/index.html", "");
        checkout.git(&["init", "--quiet"]);
        checkout.git(&["add", "."]);
        checkout
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn git(&self, args: &[&str]) {
        assert!(Command::new("git").args(args).current_dir(&self.0).status().unwrap().success());
    }

    fn ci(&self, verb: &str) -> Output {
        let mut command = common::xtask(&["--root", self.0.to_str().unwrap(), "ci", verb, "--format", "json"]);
        command.env_remove("GIT_DIR").output().unwrap()
    }

    /// `file:line` of every finding.
    fn findings(&self) -> Vec<String> {
        let output = self.ci("check");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = json["findings"].as_array().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())), "{output:?}");
        let place = |finding: &serde_json::Value| format!("{}:{}", finding["file"].as_str().unwrap(), finding["line"]);
        findings.iter().map(place).collect()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn check_holds_filters_against_their_dockerfile_whatever_else_is_wrong() {
    let checkout = Checkout::new("filters");
    checkout.ci("sync");
    assert_eq!(checkout.findings(), [""; 0]);
    checkout.write("shared/x", "");
    checkout.write("Dockerfile", "FROM scratch AS api\nCOPY api shared gone /\nFROM scratch AS web\nCOPY web /\n");
    // `shared/x` is left out, `gone` is not there.
    assert_eq!(checkout.findings(), ["Dockerfile:2", "services.toml:12"]);
    checkout.write("Dockerfile", "FROM scratch AS api\nCOPY api\n");
    assert_eq!(checkout.findings(), ["Dockerfile:2"], "once, for both services");
    checkout.write("Dockerfile", "FROM scratch AS api\nCOPY api /\n");
    assert_eq!(checkout.findings(), ["services.toml:16"], "there is no stage web");
    checkout.write("services.toml", &TOML.replace("image = \"demo-web\"", "context = \"gone\"\nimage = \"demo-web\""));
    assert_eq!(checkout.findings(), ["services.toml:15"], "there is no folder `gone`");
    checkout.write("services.toml", TOML);
    checkout.write(".dockerignore", "a\n[b\n");
    assert_eq!(checkout.findings(), [".dockerignore:2"]);
    std::fs::remove_file(checkout.0.join(".dockerignore")).unwrap();
    std::fs::remove_file(checkout.0.join("Dockerfile")).unwrap();
    assert_eq!(checkout.findings(), ["services.toml:11", "services.toml:16"]);
}

#[test]
fn check_says_where_an_edit_made_an_emulator_necessary() {
    let checkout = Checkout::new("emulated");
    let several = |more: &str| {
        let with = format!("target = \"api\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n{more}");
        checkout.write("services.toml", &TOML.replace("target = \"api\"\n", &with));
        checkout.ci("sync");
    };
    let web = "FROM scratch AS web\nCOPY web /\n";
    let copies = format!(
        "FROM --platform=$BUILDPLATFORM x AS made\nRUN make\nFROM y AS api\nCOPY --from=made /x /\nCOPY api /\n{web}"
    );
    several("");
    checkout.write("Dockerfile", &copies);
    assert_eq!(checkout.findings(), [""; 0]);
    // Whatever machine checks it.
    let runs = copies.replace("COPY --from=made", "RUN chmod 0755 /x\nCOPY --from=made");
    checkout.write("Dockerfile", &runs);
    assert_eq!(checkout.findings(), ["Dockerfile:4"]);
    checkout.write("Dockerfile", &copies.replace("--platform=$BUILDPLATFORM ", ""));
    assert_eq!(checkout.findings(), ["Dockerfile:2"]);
    several("emulate = true\n");
    assert_eq!(checkout.findings(), [""; 0], "it is meant");
    checkout.write("services.toml", TOML);
    checkout.ci("sync");
    assert_eq!(checkout.findings(), [""; 0], "one platform");
}

#[test]
fn sync_writes_what_check_misses_and_touches_nobody_elses_file() {
    let checkout = Checkout::new("sync");
    checkout.write(".github/workflows/own.yml", OWN);
    let both = [".github/workflows/api-docker-build.yml:1", ".github/workflows/site.yml:1"];
    assert_eq!(checkout.findings(), both);
    assert!(checkout.ci("sync").status.success());
    assert_eq!(checkout.findings(), [""; 0]);

    checkout.write("services.toml", TOML.split("\n[services.web]").next().unwrap());
    assert_eq!(checkout.findings(), [".github/workflows/site.yml:1"]);
    assert!(checkout.ci("sync").status.success());
    assert_eq!(checkout.findings(), [""; 0]);
    assert!(!checkout.0.join(".github/workflows/site.yml").exists());
    assert!(checkout.0.join(".github/workflows/own.yml").exists());
}

#[test]
fn a_file_that_somebody_else_wrote_is_refused_at_its_line_and_stays() {
    let checkout = Checkout::new("taken");
    let (site, outside) = (checkout.0.join(".github/workflows/site.yml"), checkout.0.join("outside"));
    let refused = |file: &str, words: &str| {
        assert!(checkout.findings().contains(&file.to_owned()), "{:?}", checkout.findings());
        let output = checkout.ci("sync");
        assert_eq!(output.status.code(), Some(2), "{}", common::stderr(&output));
        assert!(common::stderr(&output).contains(words), "{}", common::stderr(&output));
        let api = checkout.0.join(".github/workflows/api-docker-build.yml");
        assert!(!api.exists(), "nothing is written where something is wrong");
    };
    checkout.write(".github/workflows/site.yml", OWN);
    let taken = "services.toml:18: `services.web.workflow`: .github/workflows/site.yml already exists, and";
    refused("services.toml:18", &format!("{taken} `cargo xtask ci sync` did not write it"));
    assert_eq!(std::fs::read_to_string(&site).unwrap(), OWN);
    std::fs::write(&site, b"\xff").unwrap();
    refused("services.toml:18", &format!("{taken} not UTF-8"));
    // A link to what is ours, and one to nowhere: nothing is written through it.
    for target in ["", "# Written by `cargo xtask ci sync` from services.toml: change that, not this.\n"] {
        std::fs::remove_file(&site).unwrap();
        std::os::unix::fs::symlink(&outside, &site).unwrap();
        if !target.is_empty() {
            std::fs::write(&outside, target).unwrap();
        }
        refused("services.toml:18", taken);
        assert_eq!(outside.exists(), !target.is_empty());
    }
    std::fs::remove_file(&site).unwrap();
    assert!(Command::new("mkfifo").arg(&site).status().unwrap().success());
    refused("services.toml:18", &format!("{taken} neither a file nor a link to one"));
    // The folder itself leads elsewhere.
    std::fs::remove_dir_all(checkout.0.join(".github")).unwrap();
    std::fs::create_dir(outside.with_extension("d")).unwrap();
    std::os::unix::fs::symlink(outside.with_extension("d"), checkout.0.join(".github")).unwrap();
    let output = checkout.ci("sync");
    assert_eq!(output.status.code(), Some(1), "{}", common::stderr(&output));
    assert!(std::fs::read_dir(outside.with_extension("d")).unwrap().next().is_none());
}

#[test]
fn a_workflow_that_is_none_or_restores_what_it_may_not_is_found() {
    let checkout = Checkout::new("shape");
    checkout.ci("sync");
    checkout.write(".github/workflows/list.yml", "- on: push\n");
    checkout.write(".github/workflows/scalar.yml", "on\n");
    checkout.write(".github/workflows/jobless.yml", "on: push\n");
    checkout.write(".github/actions/cached/action.yml", "runs: {using: composite, steps: [{uses: ./nested}]}\n");
    checkout.write("nested/action.yml", "runs:\n  steps:\n    - uses: actions/cache@v4\n");
    let job = "on: push\njobs:\n  a:\n    runs-on: x\n    timeout-minutes: 1\n    permissions: {packages: write}\n    steps:\n";
    checkout.write(".github/workflows/write.yml", &format!("{job}      - uses: ./.github/actions/cached\n"));
    std::os::unix::fs::symlink("/dev/zero", checkout.0.join(".github/workflows/endless.yml")).unwrap();
    let expected = ["endless.yml:1", "jobless.yml:1", "list.yml:1", "scalar.yml:1", "write.yml:8"];
    assert_eq!(checkout.findings(), expected.map(|place| format!(".github/workflows/{place}")));
}

#[test]
fn check_reports_all_of_it_in_one_run() {
    let checkout = Checkout::new("check");
    checkout.ci("sync");
    checkout.write("api/uv.lock", "");
    checkout.write(
        ".github/workflows/old.yml",
        "on:\n  push:\n    paths: ['api/**', uv.lock]\njobs:\n  a:\n    steps:\n      - uses: actions/checkout@v3\n      - run: echo ${{ github.ref }}\n",
    );
    checkout.write(".github/workflows/torn.yml", "on: push\njobs: [\n");
    checkout.git(&["add", "."]);
    let old = |line: u32| format!(".github/workflows/old.yml:{line}");
    // No permissions, no timeout and no runner in 5; not pinned and deprecated in 7.
    let expected = [old(3), old(5), old(5), old(5), old(7), old(7), old(8), ".github/workflows/torn.yml:2".into()];
    assert_eq!(checkout.findings(), expected);
}

#[test]
fn every_line_that_our_jobs_run_is_a_command_line_of_ours() {
    let toml = std::fs::read_to_string(common::root().join("services.toml")).unwrap();
    let project = Project::parse("services.toml".into(), &toml).unwrap();
    let services: Vec<_> = project.services.keys().map(|name| (name.clone(), String::new())).collect();
    let mut count = 0;
    for line in common::files(&common::root().join(".github"), "yml").iter().flat_map(|file| runs(file)) {
        for part in ["rust", "workflows", "images", "backend", "frontend"] {
            let line = line.replace("$PART", part).replace("$SERVICE", &services[0].0);
            let words = shell_words::split(&line).unwrap();
            assert_eq!(words[..2], ["cargo", "xtask"], "{line}");
            let matches = xtask::cli::command(Some(&services)).try_get_matches_from(&words[1..]);
            let matches = matches.unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(xtask::cli::Cli::from_arg_matches(&matches).is_ok(), "{line}");
        }
        count += 1;
    }
    assert!(count > 10, "the workflows were not found");
}

#[test]
fn no_call_of_cargo_goes_beyond_the_lock_file() {
    let mut files = common::files(&common::root().join(".github"), "yml");
    files.push(common::root().join(".cargo/config.toml"));
    let texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let aliases = texts.iter().flat_map(|text| text.lines()).filter(|line| line.contains("run --quiet"));
    let mut lines: Vec<String> = aliases.map(str::to_owned).collect();
    assert!(lines.len() > 1, "the aliases were not found");
    for args in [&["test", "--dry-run"][..], &["lint", "--dry-run"], &["lint", "--msrv", "--dry-run"]] {
        let output = common::pinned(args).output().unwrap();
        let plan = String::from_utf8(output.stdout).unwrap();
        let calls = plan.lines().filter_map(|line| line.find("cargo ").map(|at| &line[at..]));
        // Neither resolves anything.
        let calls = calls.filter(|line| !["cargo xtask ", "cargo fmt "].iter().any(|start| line.starts_with(start)));
        lines.extend(calls.map(str::to_owned));
    }
    assert!(lines.len() > 7, "the calls were not found: {lines:?}");
    for line in lines {
        assert!(line.contains(" --locked "), "{line}");
    }
}

/// A lock file that nobody looks at ages in silence.
#[test]
fn whatever_is_pinned_has_somebody_who_raises_it() {
    let text = std::fs::read_to_string(common::root().join(".github/dependabot.yml")).unwrap();
    let file = yaml::parse(&text).unwrap().unwrap();
    let looked_at: Vec<(String, String)> = file
        .get("updates")
        .unwrap()
        .list()
        .iter()
        .flat_map(|update| {
            let ecosystem = update.get("package-ecosystem").and_then(YamlNode::text).unwrap();
            let folders = update.get("directories").map_or_else(Vec::new, |list| list.list().iter().collect());
            let folders = folders.into_iter().chain(update.get("directory")).filter_map(YamlNode::text);
            folders.map(|folder| (ecosystem.to_owned(), folder.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let mut count = 0;
    let tracked = Command::new("git").args(["ls-files"]).current_dir(common::root()).output().unwrap();
    for path in String::from_utf8(tracked.stdout).unwrap().lines().map(Path::new) {
        let ecosystem = match path.file_name().unwrap().to_str().unwrap() {
            "Cargo.lock" => "cargo",
            "pnpm-lock.yaml" | "package-lock.json" => "npm",
            "uv.lock" | "requirements.txt" => "uv",
            "action.yml" => "github-actions",
            // Stand-ins name no image.
            "Dockerfile" if !path.starts_with("xtask") => "docker",
            _ => continue,
        };
        let folder = format!("/{}", path.parent().unwrap().display());
        let is_it = |(known, place): &(String, String)| {
            let is_there = *place == folder || place.strip_suffix("/*").is_some_and(|above| folder.starts_with(above));
            known == ecosystem && is_there
        };
        assert!(looked_at.iter().any(is_it), "{}: no {ecosystem} in {folder}", path.display());
        count += 1;
    }
    assert!(count > 5, "{count} files with pins");
    // The workflows' own folder goes by `/`.
    assert!(looked_at.contains(&("github-actions".to_owned(), "/".to_owned())));
}

/// Every `run:` of a workflow or an action.
fn runs(file: &Path) -> Vec<String> {
    fn walk(node: &YamlNode, found: &mut Vec<String>) {
        found.extend(node.get("run").and_then(YamlNode::text).map(str::to_owned));
        node.list().iter().for_each(|node| walk(node, found));
        node.map().iter().for_each(|(_, node)| walk(node, found));
    }
    let mut found = Vec::new();
    walk(&yaml::parse(&std::fs::read_to_string(file).unwrap()).unwrap().unwrap(), &mut found);
    found
}
