//! What stands in for GitHub: the machine's environment, the actions of others,
//! and the few lines that are not run as they stand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::common;
use crate::runner::{Machine, is_true};
use crate::world::{Event, World, git};

type Texts = BTreeMap<String, String>;

/// Where a machine keeps what `docker clean --all` would take.
const LIST: &str = "files/clean.json";

/// The environment of a job: this machine's tools and engine, and GitHub's names.
/// HOME stays: what stand-ins are made of hangs on it.
pub fn environment(world: &World, event: &Event, dir: &Path) -> Texts {
    let is_outside =
        |name: &String| ["GITHUB_", "CARGO", "XTASK_ROOT", "DOCKER_METADATA_"].iter().all(|it| !name.starts_with(it));
    let mut env: Texts = std::env::vars().filter(|(name, _)| is_outside(name)).collect();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (_, short) = event.reference.split_at(event.reference.find('/').unwrap() + 1);
    let short = short.split_once('/').unwrap().1;
    for (name, value) in [
        ("CI", "true".into()),
        ("GITHUB_ACTIONS", "true".into()),
        ("GITHUB_ACTOR", "somebody".into()),
        ("GITHUB_BASE_REF", event.base.clone()),
        ("GITHUB_HEAD_REF", event.head.clone()),
        ("GITHUB_EVENT_NAME", event.name.clone()),
        ("GITHUB_EVENT_PATH", path("files/event.json")),
        ("GITHUB_REF", event.reference.clone()),
        ("GITHUB_REF_NAME", short.into()),
        ("GITHUB_REPOSITORY", world.repository()),
        ("GITHUB_REPOSITORY_OWNER", world.owner().into()),
        ("GITHUB_RUN_NUMBER", event.run_number.to_string()),
        ("GITHUB_SHA", event.sha.clone()),
        ("GITHUB_WORKSPACE", path("work")),
        ("GITHUB_OUTPUT", path("files/output")),
        ("GITHUB_ENV", path("files/env")),
        ("GITHUB_PATH", path("files/path")),
        ("GITHUB_STEP_SUMMARY", path("files/summary")),
        ("RUNNER_OS", "Linux".into()),
        ("RUNNER_ARCH", "X64".into()),
        ("RUNNER_TEMP", path("tmp")),
        ("TMPDIR", path("tmp")),
        ("CARGO_HOME", path("cargo")),
        ("XDG_CACHE_HOME", path("cache")),
    ] {
        env.insert(name.into(), value);
    }
    std::fs::write(dir.join("files/event.json"), event.payload.to_string()).unwrap();
    env
}

/// A `run:` line as it is run here.
pub fn script(machine: &Machine<'_>, script: &str, env: &Texts) -> String {
    let built = format!("'{}'", env!("CARGO_BIN_EXE_xtask"));
    if env.get("CARGO_ALIAS_XTASK").is_some_and(|alias| alias.starts_with("run ")) {
        return script.replace("cargo xtask", &built);
    }
    let line = script.trim();
    let part = env.get("PART").map_or("", String::as_str);
    if line == "cargo xtask test \"$PART\"" && ["rust", "images"].contains(&part) {
        return format!("{line} --dry-run");
    }
    if line == "cargo xtask docker clean --all" {
        let names = machine.world.services().join(" ");
        let list = machine.dir.join(LIST);
        return format!("{line} --dry-run --format json >'{}'\n{line} {names}\n", list.display());
    }
    script.to_owned()
}

/// What `docker clean --all` would have taken must be this project's, or a
/// stand-in, which this machine's other work is built on.
pub fn check(machine: &Machine<'_>) {
    let Ok(list) = std::fs::read_to_string(machine.dir.join(LIST)) else { return };
    let list: Value = serde_json::from_str(&list).unwrap();
    for item in list["removed"].as_array().unwrap() {
        let name = item["name"].as_str().unwrap();
        let is_stand_in = item["kind"] == "image" && (name.is_empty() || name.starts_with("127.0.0.1:1/stand-in/"));
        let is_the_machines =
            item["kind"] == "cache" && Path::new(item["id"].as_str().unwrap()).starts_with(&machine.dir);
        assert!(is_stand_in || is_the_machines || name.contains(&machine.world.project), "{item}");
        if !is_stand_in && item["kind"] == "image" {
            // The images of linters belong to no service; one that is gone is no error.
            common::docker(&["image", "rm", "--force", item["id"].as_str().unwrap()]);
        }
    }
    std::fs::remove_file(machine.dir.join(LIST)).unwrap();
}

/// An action of somebody else.
pub fn action(machine: &mut Machine<'_>, name: &str, with: &Texts, env: &Texts) -> Map<String, Value> {
    println!("uses {name}");
    match name {
        "actions/checkout" => checkout(machine, with),
        "actions/cache" => return cache(machine, with),
        // Each restores what it runs from the cache unless it is told not to.
        "docker/setup-qemu-action" => assert_eq!(*with, Texts::from([("cache-image".into(), "false".into())])),
        "docker/setup-buildx-action" => assert_eq!(*with, Texts::from([("cache-binary".into(), "false".into())])),
        // The registry lets anybody in.
        "docker/login-action" => assert_eq!(with["registry"], machine.world.registry()),
        "docker/metadata-action" => metadata(machine, with, env),
        other => panic!("the rehearsal has no action `{other}`"),
    }
    Map::new()
}

/// The commands of actions/checkout, by its own refspecs.
fn checkout(machine: &Machine<'_>, with: &Texts) {
    let known = ["persist-credentials", "fetch-depth", "filter"];
    assert!(with.keys().all(|key| known.contains(&key.as_str())), "{with:?}");
    assert_eq!(with.get("persist-credentials").map(String::as_str), Some("false"));
    let Event { reference, sha, .. } = machine.event;
    let dir = machine.dir.join("work");
    git(&dir, &["init", "--quiet"]);
    git(&dir, &["remote", "add", "origin", &machine.world.url()]);
    let local = match reference.strip_prefix("refs/heads/") {
        Some(branch) => format!("refs/remotes/origin/{branch}"),
        None => reference.replace("refs/pull/", "refs/remotes/pull/"),
    };
    let depth = with.get("fetch-depth").map_or("1", String::as_str);
    let filter = with.get("filter").map(|filter| format!("--filter={filter}"));
    let depth_option = format!("--depth={depth}");
    let refspec = format!("+{sha}:{local}");
    let mut fetch = vec!["fetch", "--quiet", "--prune", "--no-recurse-submodules"];
    fetch.extend(filter.as_deref());
    if depth == "0" {
        fetch.extend(["origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]);
        fetch.extend(reference.starts_with("refs/pull/").then_some(refspec.as_str()));
    } else {
        fetch.extend(["--no-tags", &depth_option, "origin", &refspec]);
    }
    git(&dir, &fetch);
    match reference.strip_prefix("refs/heads/") {
        Some(branch) => git(&dir, &["checkout", "--quiet", "--force", "-B", branch, &local]),
        None => git(&dir, &["checkout", "--quiet", "--force", &local]),
    };
    assert_eq!(git(&dir, &["rev-parse", "HEAD"]).trim(), sha);
}

/// A folder with a file a key; written when the job has ended well.
fn cache(machine: &mut Machine<'_>, with: &Texts) -> Map<String, Value> {
    assert!(!machine.can_write, "a job that can write runs what another may have saved");
    assert_eq!(with.keys().collect::<Vec<_>>(), ["key", "path"]);
    let path = PathBuf::from(&machine.env["CARGO_HOME"]).join(with["path"].strip_prefix("~/.cargo/").unwrap());
    let kept = machine.world.cache().join(&with["key"]);
    let is_hit = kept.is_file();
    if is_hit {
        std::fs::copy(&kept, &path).unwrap();
    } else {
        machine.to_cache.push((path, kept));
    }
    machine.world.hits.borrow_mut().push(is_hit);
    Map::from_iter([("cache-hit".to_owned(), json!(is_hit.to_string()))])
}

/// `hashFiles`: of what git has below the patterns, whole names or `FOLDER/**`.
pub fn hash_files(workspace: &Path, patterns: &[String]) -> String {
    let mut list = vec!["ls-files", "--stage", "--"];
    list.extend(patterns.iter().map(|pattern| pattern.strip_suffix("/**").unwrap_or(pattern)));
    assert!(!list.iter().any(|pattern| pattern.contains('*')), "{patterns:?}");
    let listed = git(workspace, &list);
    let file = workspace.join(".git/listed");
    std::fs::write(&file, &listed).unwrap();
    git(workspace, &["hash-object", ".git/listed"]).trim().to_owned()
}

/// The rules of docker/metadata-action that we use.
fn metadata(machine: &mut Machine<'_>, with: &Texts, env: &Texts) {
    let mut keys: Vec<&str> = with.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["annotations", "flavor", "images", "labels", "tags"]);
    assert_eq!(with["flavor"], "latest=false");
    let event = machine.event;
    let mut tags: Vec<(u32, String)> = with["tags"].lines().filter_map(|rule| tag(rule, event)).collect();
    tags.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let mut names: Vec<String> = Vec::new();
    for (_, tag) in &tags {
        let name = format!("{}:{tag}", with["images"].to_lowercase());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let version = tags.first().map(|(_, tag)| tag.clone()).unwrap_or_default();
    let mut labels: Texts = [
        ("title", machine.world.repository().split_once('/').unwrap().1.to_owned()),
        ("description", String::new()),
        ("url", machine.world.url()),
        ("source", machine.world.url()),
        ("version", version.clone()),
        ("revision", event.sha.clone()),
        ("licenses", String::new()),
    ]
    .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value))
    .into();
    let date = git(&machine.dir.join("work"), &["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"]);
    let given = |text: &str| -> Texts {
        let text = text.replace("{{commit_date 'YYYY-MM-DDTHH:mm:ss[Z]'}}", date.trim());
        assert!(!text.contains("{{"), "{text}");
        text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let mut annotations = labels.clone();
    labels.extend(given(&with["labels"]));
    annotations.extend(given(&with["annotations"]));
    let levels = &env["DOCKER_METADATA_ANNOTATIONS_LEVELS"];
    let lines = |texts: Texts, start: &str| {
        texts.iter().map(|(name, value)| format!("{start}{name}={value}")).collect::<Vec<_>>().join("\n")
    };
    for (name, value) in [
        ("TAGS", names.join("\n")),
        ("VERSION", version),
        ("LABELS", lines(labels, "")),
        ("ANNOTATIONS", lines(annotations, &format!("{levels}:"))),
    ] {
        machine.env.insert(format!("DOCKER_METADATA_OUTPUT_{name}"), value);
    }
}

/// A rule's tag and its priority.
fn tag(rule: &str, event: &Event) -> Option<(u32, String)> {
    let fields: BTreeMap<&str, &str> = rule.split(',').filter_map(|field| field.trim().split_once('=')).collect();
    assert!(fields.keys().all(|key| ["type", "event", "pattern", "value", "enable"].contains(key)), "{rule}");
    if fields.get("enable").is_some_and(|enable| !is_true(enable)) {
        return None;
    }
    let name = |start: &str| event.reference.strip_prefix(start).map(|name| name.replace('/', "-"));
    let version = || {
        let version = event.reference.strip_prefix("refs/tags/")?.trim_start_matches('v').to_owned();
        let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        assert!(numbers == 3 && version.split('.').count() == 3, "`{version}` is more than the rehearsal knows");
        Some(version)
    };
    Some(match (fields["type"], fields.get("event").or(fields.get("pattern")).copied().unwrap_or_default()) {
        ("raw", "") => (200, fields["value"].to_owned()),
        ("ref", "branch") => (600, name("refs/heads/")?),
        ("ref", "tag") => (600, name("refs/tags/")?),
        ("semver", "{{version}}") => (900, version()?),
        ("semver", "{{major}}.{{minor}}") => (900, version()?.rsplit_once('.')?.0.to_owned()),
        ("sha", "") => (100, format!("sha-{}", &event.sha[..7])),
        _ => panic!("the rehearsal has no rule `{rule}`"),
    })
}
