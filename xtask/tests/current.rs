//! Up to date or not, on the real engine: `cargo xtask test images`.
//!
//! The images are `FROM scratch` where they can be, so that a build takes less
//! than a second and needs no base.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use self::common::{docker, exit, json, stderr, until_it_says};

const DOCKERFILE: &str = "FROM scratch AS app\nARG WHO\nCOPY src /src\nCOPY one /one-$WHO\n";
const PATHS: &str = r#"["src/**", "!src/skip/**", "one", "Dockerfile", ".dockerignore"]"#;

/// A repository with one service, that takes its images along when it goes.
struct Demo {
    dir: PathBuf,
    name: String,
}

impl Demo {
    fn new(name: &str, dockerfile: &str, paths: &str) -> Self {
        let name = format!("current-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join("xtask cürrent").join(&name);
        Self::at(dir, name, dockerfile, paths)
    }

    fn at(dir: PathBuf, name: String, dockerfile: &str, paths: &str) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let demo = Self { dir, name };
        demo.services(paths);
        demo.write("Dockerfile", dockerfile);
        demo.write(".dockerignore", "*\n!src\n!one\n!server.py\nsrc/skip\n");
        demo.write(".gitignore", ".env\n");
        for file in ["src/a", "src/b c/é", "src/b c/d", "src/skip/x", "docs/x", "one"] {
            demo.write(file, &format!("{file} of {}", demo.name));
        }
        demo.git(&["init", "--quiet"]);
        demo.git(&["add", "--all"]);
        demo
    }

    fn services(&self, paths: &str) {
        let name = &self.name;
        let run = "port = 8000\nhealth = \"/health\"\nroles = [\"good\"]";
        let text = format!(
            "[project]\nname = \"{name}\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
             [services.app]\nimage = \"{name}\"\ntarget = \"app\"\npaths = {paths}\n[services.app.run]\n{run}\n"
        );
        self.write("services.toml", &text);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, args: &[&str]) {
        let pinned = [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")];
        assert!(Command::new("git").args(args).current_dir(&self.dir).envs(pinned).status().unwrap().success());
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = common::xtask(&["docker"]);
        command.args(args).current_dir(&self.dir).env("XDG_CACHE_HOME", self.dir.join(".cache"));
        for name in ["TAGS", "LABELS", "ANNOTATIONS"] {
            command.env_remove(format!("DOCKER_METADATA_OUTPUT_{name}"));
        }
        command.env_remove("SOURCE_DATE_EPOCH");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs `docker app ARGS`; its result.
    fn app(&self, args: &[&str]) -> Value {
        self.app_with(args, &[])
    }

    fn app_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Value {
        let output =
            self.command(&["app", "--format", "json"]).args(args).envs(environment.iter().copied()).output().unwrap();
        exit(&output, 0);
        let built = json(&output);
        let ran = stderr(&output).contains("docker buildx build");
        assert_eq!(ran, built["outcome"] == "built", "{built}: {}", stderr(&output));
        built
    }

    /// Lines with the one that says how the engine is reached.
    fn with_engine(&self, lines: &[String]) -> String {
        let exports = common::engine().ctx.exports;
        let exports = exports.iter().map(|(name, value)| format!("export {name}='{value}'"));
        exports.chain(lines.iter().cloned()).collect::<Vec<_>>().join("\n")
    }

    fn outcome(&self, args: &[&str]) -> String {
        self.app(args)["outcome"].as_str().unwrap().to_owned()
    }

    /// What the image holds by a path.
    fn held(&self, path: &str) -> String {
        self.out_of(path, &["-xO"])
    }

    /// What `tar` makes of a path of the image.
    fn out_of(&self, path: &str, tar: &[&str]) -> String {
        let id = docker(&["create", &format!("{}:local", self.name), "x"]).trim().to_owned();
        let envs = common::engine().ctx.exports;
        let copy = Command::new("docker").args(["cp", &format!("{id}:{path}"), "-"]).envs(envs).output().unwrap();
        docker(&["rm", &id]);
        assert!(copy.status.success(), "{}", stderr(&copy));
        let mut command = Command::new("tar").args(tar).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        command.stdin.take().unwrap().write_all(&copy.stdout).unwrap();
        String::from_utf8(command.wait_with_output().unwrap().stdout).unwrap()
    }

    fn inspect(&self, tag: &str, what: &str) -> String {
        docker(&["image", "inspect", "--format", what, &format!("{}:{tag}", self.name)]).trim().to_owned()
    }

    /// The image's files: what BuildKit made anew is another layer.
    fn layers(&self) -> String {
        self.inspect("local", "{{json .RootFS.Layers}}")
    }

    /// The images of this service, by id.
    fn images(&self) -> usize {
        let filter = format!("label={}.service=app", self.name);
        let ids = docker(&["image", "ls", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        ids.lines().collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.run(&["clean", "--all", "app"]);
        common::forget_images(&self.name);
        let _ = fs::remove_dir_all(&self.dir);
        let _ = self.dir.parent().map(fs::remove_dir);
    }
}

/// buildx asks git about a context by itself.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_build_runs_nothing_that_the_checkouts_git_names() {
    let demo = Demo::new("git", DOCKERFILE, PATHS);
    let ran = demo.dir.with_extension("ran");
    let trap = demo.dir.with_extension("trap");
    fs::write(&trap, format!("#!/bin/sh\ntouch '{}'\n", ran.display())).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    // Where there is no commit, buildx asks for nothing else.
    demo.git(&["-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "--message", "x"]);
    // A shell reads both, and there is a blank in them.
    let trap_line = format!("'{}'", trap.display());
    let url = format!("ext::{}", trap.display().to_string().replace(' ', "% "));
    for (key, value) in [
        ("core.fsmonitor", trap_line.as_str()),
        ("remote.origin.url", &url),
        ("remote.origin.promisor", "true"),
        ("protocol.ext.allow", "always"),
        ("extensions.partialClone", "origin"),
        ("core.repositoryFormatVersion", "1"),
    ] {
        demo.git(&["config", key, value]);
    }
    // What is missing, git gets the way that the checkout says.
    let tree = Command::new("git").args(["rev-parse", "HEAD^{tree}"]).current_dir(&demo.dir).output().unwrap().stdout;
    let (first, rest) = str::from_utf8(&tree).unwrap().trim().split_at(2);
    fs::remove_file(demo.dir.join(".git/objects").join(first).join(rest)).unwrap();
    exit(&demo.run(&["app"]), 0);
    let has_run = ran.exists();
    let _ = (fs::remove_file(&trap), fs::remove_file(&ran));
    assert!(!has_run);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_dry_run_says_what_the_run_does_and_does_nothing() {
    let demo = Demo::new("planned", DOCKERFILE, PATHS);
    let planned = |args: &[&str]| {
        let output = demo.command(&[&["app", "--dry-run"], args].concat()).output().unwrap();
        exit(&output, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.starts_with("export ")).map(str::to_owned).collect::<Vec<_>>()
    };
    // The engine's address is said alike by both.
    let ran = |args: &[&str]| {
        let output = demo.run(&[&["app"], args].concat());
        exit(&output, 0);
        common::shown(&output).into_iter().filter(|line| !line.starts_with("export ")).collect::<Vec<_>>()
    };
    let build = planned(&[]);
    assert!(build[0].contains(&format!("--label {}.fingerprint=", demo.name)), "{build:?}");
    assert!(!demo.dir.join(".cache").exists() && demo.images() == 0, "a dry run made something");
    assert_eq!(build, ran(&[]));
    let tag = planned(&["--tag", "other"]);
    assert!(tag.len() == 1 && tag[0].starts_with("docker tag sha256:"), "{tag:?}");
    assert!(planned(&[]).iter().all(String::is_empty), "it has all its tags");
    assert_eq!(tag, ran(&["--tag", "other"]));
    assert_eq!(demo.inspect("other", "{{.Id}}"), demo.inspect("local", "{{.Id}}"));

    // And each does the same again for whoever pastes it.
    docker(&["image", "rm", &format!("{}:other", demo.name)]);
    let output = common::paste(&demo.with_engine(&tag), &demo.dir);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(demo.inspect("other", "{{.Id}}"), demo.inspect("local", "{{.Id}}"));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn lines_that_were_shown_work_when_the_run_is_over() {
    let demo = Demo::new("shown", DOCKERFILE, PATHS);
    let layers = demo.dir.join("layers");
    let layers = layers.to_str().unwrap();
    for args in [
        &["app", "--force"][..],
        &["app", "--output", "oci=app.tar"],
        &["app", "--force", "--cache", "local", "--cache-dir", layers],
    ] {
        let output = demo.run(args);
        exit(&output, 0);
        let lines = common::shown(&output);
        assert!(lines.iter().any(|line| line.contains(" docker buildx build")), "{lines:?}");
        let _ = fs::remove_file(demo.dir.join("app.tar"));
        let again = common::paste(&lines.join("\n"), &demo.dir);
        assert!(again.status.success(), "{lines:#?}\n{}", stderr(&again));
        assert_eq!(demo.dir.join("app.tar").exists(), args.contains(&"--output"), "{lines:#?}");
        let half = |dir: &Path| {
            fs::read_dir(dir).unwrap().flatten().any(|it| it.path().extension() == Some("partial".as_ref()))
        };
        assert!(!half(&demo.dir), "{lines:#?}");
        let _ = fs::remove_file(demo.dir.join("app.tar"));
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn an_unchanged_tree_gets_its_tags_and_no_build() {
    let demo = Demo::new("same", DOCKERFILE, PATHS);
    let built = demo.app(&[]);
    assert_eq!((&built["outcome"], demo.images()), (&"built".into(), 1));
    let again = demo.app(&[]);
    assert_eq!(again["outcome"], "up-to-date");
    assert_eq!((&again["digest"], &again["fingerprint"]), (&built["digest"], &built["fingerprint"]));

    assert_eq!(demo.outcome(&["--tag", "b", "--tag", "c"]), "up-to-date");
    assert_eq!(demo.images(), 1, "no new image");
    for tag in ["b", "c"] {
        assert_eq!(demo.inspect(tag, "{{.Id}}"), demo.inspect("local", "{{.Id}}"));
    }
    // Neither the tag nor `:local` is there: found by its label.
    docker(&["image", "rm", &format!("{}:local", demo.name), &format!("{}:b", demo.name)]);
    assert_eq!(demo.outcome(&["--tag", "d"]), "up-to-date");
    assert_eq!(demo.inspect("d", "{{.Id}}"), demo.inspect("c", "{{.Id}}"));

    // Committing is no change; a commit beside the filter is none either.
    demo.write("docs/x", "more");
    demo.git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--all", "--message", "m"]);
    assert_eq!(demo.outcome(&[]), "up-to-date");
    docker(&["image", "rm", &format!("{}:local", demo.name), &format!("{}:c", demo.name), &format!("{}:d", demo.name)]);
    assert_eq!(demo.outcome(&[]), "up-to-date", "the checkout's own tag keeps it");
    docker(&["image", "rm", "--force", &demo.inspect("local", "{{.Id}}")]);
    assert_eq!(demo.outcome(&[]), "built", "the image is gone");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn another_request_is_another_image_and_some_always_build() {
    let demo = Demo::new("other", DOCKERFILE, PATHS);
    assert_eq!(demo.outcome(&[]), "built");
    for option in ["--force", "--no-cache", "--pull"] {
        assert_eq!(demo.outcome(&[option]), "built", "{option}");
    }
    assert_eq!(demo.outcome(&[]), "up-to-date");
    for (args, environment) in [
        (&["--build-arg", "WHO=me"][..], &[][..]),
        (&["--build-arg", "WHO"], &[("WHO", "you")]),
        (&[], &[("SOURCE_DATE_EPOCH", "1")]),
    ] {
        assert_eq!(demo.app_with(args, environment)["outcome"], "built", "{args:?} {environment:?}");
        assert_eq!(demo.app_with(args, environment)["outcome"], "up-to-date", "{args:?} {environment:?}");
    }
    // An image that says of what run it is, is no other run's.
    for name in ["ANNOTATIONS", "LABELS"] {
        let variable = format!("DOCKER_METADATA_OUTPUT_{name}");
        for _ in 0..2 {
            assert_eq!(demo.app_with(&[], &[(&variable, "a.b=c=d")])["outcome"], "built", "{name}");
        }
    }
    assert_eq!(demo.inspect("local", "{{index .Config.Labels \"a.b\"}}"), "c=d");
    assert_eq!(demo.outcome(&[]), "built", "without the labels of that run");
    assert_eq!(demo.inspect("local", "{{index .Config.Labels \"a.b\"}}"), "");
    // The same name, by somebody else.
    let image = format!("{}:local", demo.name);
    fs::create_dir(demo.dir.join("foreign")).unwrap();
    demo.write("foreign/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    docker(&["buildx", "build", "--quiet", "--load", "--tag", &image, demo.dir.join("foreign").to_str().unwrap()]);
    fs::remove_dir_all(demo.dir.join("foreign")).unwrap();
    assert_eq!(demo.inspect("local", "{{index .Config.Labels \"x\"}}"), "");
    demo.app(&[]);
    assert_eq!(demo.inspect("local", &format!("{{{{index .Config.Labels \"{}.service\"}}}}", demo.name)), "app");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_the_filter_can_not_vouch_for_is_always_built() {
    let demo = Demo::new("doubt", DOCKERFILE, r#"["one", "Dockerfile", ".dockerignore"]"#);
    for _ in 0..2 {
        let output = demo.run(&["app", "--format", "json"]);
        exit(&output, 0);
        assert_eq!(json(&output)["outcome"], "built");
        // What the filter includes has a fingerprint; the image can't carry it.
        assert_eq!(json(&output)["fingerprint"].as_str().map(str::len), Some(32));
        let labels = demo.inspect("local", "{{json .Config.Labels}}");
        assert!(!labels.contains(".fingerprint"), "{labels}");
        assert!(stderr(&output).contains("`services.app.paths` leaves out src/a"), "{}", stderr(&output));
    }
    demo.services(r#"["**"]"#);
    demo.write(".dockerignore", "");
    demo.write("Dockerfile", "FROM scratch AS app\nCOPY . /\n");
    for _ in 0..2 {
        let output = demo.run(&["app", "--format", "json"]);
        exit(&output, 0);
        assert_eq!(json(&output)["outcome"], "built");
        assert!(stderr(&output).contains(".git/ goes into the build"), "{}", stderr(&output));
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_file_that_changes_during_the_build_is_noted_and_built_next_time() {
    let dockerfile = "FROM python:3.11-slim-bookworm AS app\nARG WHEN\n\
                      RUN echo \"the step began $WHEN\" && sleep 2\nCOPY src /src\n";
    let demo = Demo::new("during", dockerfile, PATHS);
    let when = format!("WHEN={}", std::process::id());
    let args = ["app", "--build-arg", &when, "--progress", "plain", "--format", "json"];
    let mut child = demo.command(&args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    until_it_says(&mut child, &format!("the step began {}", std::process::id()));
    demo.write("src/a", "changed");
    let output = child.wait_with_output().unwrap();
    exit(&output, 0);
    assert_eq!(json(&output)["fingerprint"], Value::Null);
    let label = format!("{{{{index .Config.Labels \"{}.fingerprint\"}}}}", demo.name);
    assert_eq!(demo.inspect("local", &label), "", "it would be taken for something else");
    assert_eq!(demo.outcome(&["--build-arg", &when]), "built");
    assert_eq!(demo.outcome(&["--build-arg", &when]), "up-to-date");
}

/// Equal before and after says nothing of what was read in between.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_was_there_only_during_the_build_is_not_taken_for_what_is_there() {
    let dockerfile = "FROM python:3.11-slim-bookworm AS app\nARG WHEN\n\
                      RUN echo \"the step began $WHEN\" && sleep 2\nCOPY src /src\n";
    let demo = Demo::new("between", dockerfile, PATHS);
    let src = demo.dir.join("src");
    for round in 0..2 {
        let when = format!("{round}-{}", std::process::id());
        let arg = format!("WHEN={when}");
        let args = ["app", "--build-arg", &arg, "--progress", "plain", "--format", "json"];
        let mut child = demo.command(&args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        until_it_says(&mut child, &format!("the step began {when}"));
        match round {
            // To another state and back, as `git checkout` does it.
            0 => {
                let text = fs::read(src.join("a")).unwrap();
                let modified = src.join("a").metadata().unwrap().modified().unwrap();
                demo.write("src/a", "in between");
                fs::write(src.join("a"), text).unwrap();
                fs::File::open(src.join("a")).unwrap().set_modified(modified).unwrap();
            }
            // A file that comes and goes.
            _ => {
                demo.write("src/comes", "");
                fs::remove_file(src.join("comes")).unwrap();
            }
        }
        let output = child.wait_with_output().unwrap();
        exit(&output, 0);
        assert_eq!(json(&output)["fingerprint"], Value::Null);
        assert_eq!(demo.outcome(&["--build-arg", &arg]), "built", "round {round}");
        assert_eq!(demo.outcome(&["--build-arg", &arg]), "up-to-date", "round {round}");
    }
}

/// Whoever builds FROM our image, or commits a container of it, has our labels.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn an_image_with_our_labels_that_we_did_not_build_is_not_ours() {
    let demo = Demo::new("posing", DOCKERFILE, PATHS);
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "up-to-date"]);
    let ours = demo.inspect("local", "{{.Id}}");
    let labels = demo.inspect("local", "{{json .Config.Labels}}");
    let image = format!("{}:local", demo.name);
    // A port where nothing listens: BuildKit asks the name's registry first.
    let base = format!("127.0.0.1:1/{}:local", demo.name);
    docker(&["tag", &image, &base]);
    demo.write("foreign/Dockerfile", &format!("FROM {base}\nCOPY Dockerfile /evil\n"));
    docker(&["buildx", "build", "--quiet", "--load", "--tag", &image, demo.dir.join("foreign").to_str().unwrap()]);
    fs::remove_dir_all(demo.dir.join("foreign")).unwrap();
    docker(&["image", "rm", &base]);
    assert_ne!(demo.inspect("local", "{{.Id}}"), ours);
    assert_eq!(demo.inspect("local", "{{json .Config.Labels}}"), labels, "it has all of them");
    // Ours is gone with its last name, or is found: never the other.
    demo.app(&[]);
    assert!(!demo.layers().contains("evil"));
    assert_eq!(demo.inspect("local", "{{len .RootFS.Layers}}"), "2");
    // Without the record nothing is known, whatever the labels say.
    assert_eq!(demo.outcome(&[]), "up-to-date");
    let record = demo.dir.join(".cache/xtask").join(&demo.name).join("builds");
    let text = fs::read_to_string(&record).unwrap();
    assert_eq!(record.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for broken in ["", "x\n", &text[..text.len() - 2]] {
        fs::write(&record, broken).unwrap();
        assert_eq!(demo.outcome(&[]), "built", "{broken:?}");
    }
}

/// Folders have no line in `paths` where that lists files.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_folder_that_a_stage_reads_counts_where_paths_lists_files() {
    let demo = Demo::new("folders", DOCKERFILE, r#"["src/a", "src/b c/*", "one", "Dockerfile", ".dockerignore"]"#);
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "up-to-date"]);
    fs::create_dir(demo.dir.join("src/empty")).unwrap();
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "up-to-date"]);
    // Anything of what is git's.
    demo.write(".dockerignore", "");
    demo.write("Dockerfile", "FROM scratch AS app\nCOPY src /src\nCOPY .git/config /\n");
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "built"]);
    demo.write(".dockerignore", "*\n!src\n!.git/config\n");
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "built"]);
}

/// docs/environment.md: it counts, it is set aside, or it is a doubt.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_the_environment_adds_is_counted_set_aside_or_a_doubt() {
    use std::os::unix::ffi::OsStrExt as _;
    let demo = Demo::new("environment", DOCKERFILE, PATHS);
    let outcome = |args: &[&str], name: &str, value: &str| {
        demo.app_with(args, &[(name, value)])["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "up-to-date"]);
    let labels = demo.inspect("local", "{{json .Config.Labels}}");
    for (name, value) in [("BUILDX_GIT_LABELS", "full"), ("BUILDX_GIT_INFO", "1"), ("BUILDX_NO_DEFAULT_LOAD", "1")] {
        assert_eq!(outcome(&[], name, value), "up-to-date", "{name}");
        assert_eq!(outcome(&["--force"], name, value), "built", "{name}");
        assert_eq!(demo.inspect("local", "{{json .Config.Labels}}"), labels, "{name}");
    }
    // An argument that is empty is not one that is not there.
    let who = ["--build-arg", "WHO"];
    assert_eq!(demo.outcome(&who), "up-to-date");
    assert_eq!(outcome(&who, "WHO", ""), "built");
    assert_eq!(outcome(&who, "WHO", ""), "up-to-date");
    demo.app(&[]);
    let platform = format!("{}", xtask::model::platform::Platform::of_this_machine());
    assert_eq!(outcome(&[], "DOCKER_DEFAULT_PLATFORM", &platform), "up-to-date");
    let mut foreign = demo.command(&["app"]);
    // Nothing of this image runs while it is built: no emulator is needed.
    exit(&foreign.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x").output().unwrap(), 0);
    assert_eq!(demo.outcome(&[]), "built");
    demo.write("policy.json", "{\"rules\":[]}");
    let policy = demo.dir.join("policy.json");
    let name = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";
    assert_eq!([0, 1].map(|_| outcome(&[], name, policy.to_str().unwrap())), ["built", "built"]);
    let mut odd = demo.command(&["app", "--build-arg", "WHO"]);
    odd.env("WHO", std::ffi::OsStr::from_bytes(b"\xff"));
    for _ in 0..2 {
        let output = odd.output().unwrap();
        assert!(stderr(&output).contains("WHO is not UTF-8"), "{}", stderr(&output));
        assert!(stderr(&output).contains("docker buildx build"), "{}", stderr(&output));
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_base_that_was_built_here_counts_as_what_it_is_now() {
    // A port where nothing listens: BuildKit asks the name's registry first.
    let demo = Demo::new("based", "ARG BASE\nFROM $BASE AS app\nCOPY src /src\n", PATHS);
    let base = format!("127.0.0.1:1/{}-base:local", demo.name);
    let service = format!("{}.service=base", demo.name);
    let build = |text: &str| {
        demo.write("base/x", text);
        demo.write("base/Dockerfile", "FROM scratch\nCOPY x /\n");
        let dir = demo.dir.join("base");
        docker(&["buildx", "build", "--quiet", "--load", "--label", &service, "--tag", &base, dir.to_str().unwrap()]);
    };
    let arg = format!("BASE={base}");
    let app = || demo.outcome(&["--bases", "upstream", "--build-arg", &arg]);
    build("1");
    assert_eq!([app(), app()], ["built", "up-to-date"]);
    build("2");
    assert_eq!([app(), app()], ["built", "up-to-date"]);
    docker(&["image", "rm", &base]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_definition_behind_a_link_is_always_built() {
    let demo = Demo::new("linked", "FROM scratch AS app\nCOPY src /src\n", PATHS);
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "up-to-date"]);
    fs::rename(demo.dir.join("Dockerfile"), demo.dir.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", demo.dir.join("Dockerfile")).unwrap();
    assert_eq!([demo.outcome(&[]), demo.outcome(&[])], ["built", "built"]);
    let output = demo.run(&["app"]);
    assert!(stderr(&output).contains("Dockerfile lies behind a symbolic link"), "{}", stderr(&output));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_changed_and_kept_its_size_and_time_is_in_the_image() {
    let demo = Demo::new("unseen", DOCKERFILE, PATHS);
    // Beside the checkout: what lies in it is no place to remember it by.
    let cache = demo.dir.with_extension("cache");
    let run = || {
        let output = demo.command(&["app", "--format", "json"]).env("XDG_CACHE_HOME", &cache).output().unwrap();
        exit(&output, 0);
        json(&output)["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!([run(), run()], ["built", "up-to-date"]);
    let file = demo.dir.join("src/a");
    let time = file.metadata().unwrap().modified().unwrap();
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    };
    let text = fs::read_to_string(&file).unwrap();
    let [one, other] = [text.to_uppercase(), text.replace('s', "z")];
    for text in [&one, &other] {
        write(text);
        assert_eq!([run(), run()], ["built", "up-to-date"]);
        assert_eq!(demo.held("/src/a"), *text);
    }
    // What came in between was seen, and not built: the copy is older than it.
    fs::write(&file, "longer than it was before").unwrap();
    let mut plan = common::xtask(&["ci", "plan", "--format", "json"]);
    exit(&plan.current_dir(&demo.dir).env("XDG_CACHE_HOME", &cache).output().unwrap(), 0);
    write(&one);
    assert_eq!(run(), "built");
    assert_eq!(demo.held("/src/a"), one);
    // A folder's mode is no change of its time.
    for mode in ["drwx------", "drwxr-x---"] {
        let bits = if mode.contains("r-x") { 0o750 } else { 0o700 };
        fs::set_permissions(demo.dir.join("src/b c"), fs::Permissions::from_mode(bits)).unwrap();
        assert_eq!([run(), run()], ["built", "up-to-date"]);
        let list = demo.out_of("/src", &["-tv"]);
        assert!(list.lines().any(|line| line.starts_with(mode) && line.ends_with("src/b c/")), "{list}");
    }
    // Where nothing is remembered, nothing is known of what BuildKit has.
    fs::remove_dir_all(&cache).unwrap();
    write(&other);
    assert_eq!(run(), "built");
    assert_eq!(demo.held("/src/a"), other);
    fs::remove_dir_all(cache).unwrap();
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_file_of_another_checkout_whose_folder_has_the_same_name_is_in_no_image() {
    let demos = ["samename1", "samename2"].map(|name| {
        let name = format!("current-{name}-{}", std::process::id());
        let place = std::env::temp_dir().join(&name).join("repo");
        let demo = Demo::at(place, name, DOCKERFILE, PATHS);
        for file in ["src/a", "one", "Dockerfile"] {
            let file = fs::File::options().write(true).open(demo.dir.join(file)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
        }
        demo
    });
    for demo in &demos {
        demo.outcome(&[]);
        assert_eq!(demo.held("/src/a"), fs::read_to_string(demo.dir.join("src/a")).unwrap());
        assert_eq!(demo.held("/one-"), fs::read_to_string(demo.dir.join("one")).unwrap());
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn two_at_once_both_succeed() {
    let demo = Demo::new("twice", DOCKERFILE, PATHS);
    for _ in ["to build", "to reuse"] {
        let start =
            || demo.command(&["app", "--tag", "x"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        for child in [start(), start()] {
            exit(&child.wait_with_output().unwrap(), 0);
        }
    }
    assert_eq!(demo.outcome(&["--tag", "x"]), "up-to-date");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn docker_test_builds_only_what_is_out_of_date() {
    let dockerfile = "FROM python:3.11-slim-bookworm AS app\nCOPY server.py /\nUSER 1000:1000\n\
                      ENTRYPOINT [\"python\", \"/server.py\"]\n";
    let demo = Demo::new("proved", dockerfile, r#"["server.py", "Dockerfile", ".dockerignore"]"#);
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/demo/server.py");
    demo.write("server.py", &fs::read_to_string(server).unwrap());
    for builds in [true, false] {
        let output = demo.run(&["test", "app"]);
        exit(&output, 0);
        assert_eq!(stderr(&output).contains("docker buildx build"), builds, "{}", stderr(&output));
    }
}

/// design: what BuildKit builds anew is another fingerprint, always; and what
/// is called up to date is, file by file, what a build would have given.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_is_up_to_date_is_what_a_build_would_give() {
    let dockerfile = "FROM scratch AS lib\nCOPY --link lib/*.txt /lib/\n\
                      FROM scratch AS app\nCOPY src /src\nCOPY --from=lib /lib /lib\nADD one /\n";
    let paths = r#"["src/**", "!src/skip/**", "lib/*.txt", "one", "Dockerfile", ".dockerignore"]"#;
    let demo = Demo::new("random", dockerfile, paths);
    demo.write(".dockerignore", "*\n!src\n!lib/*.txt\n!one\nsrc/skip\n");
    for file in ["lib/a.txt", "lib/b.md", "lib/b.txt", "src/d/e/f"] {
        demo.write(file, file);
    }
    demo.git(&["add", "--all"]);
    let project = fs::read_to_string(demo.dir.join("services.toml")).unwrap();
    let project = xtask::model::config::Project::parse("services.toml".into(), &project).unwrap();
    let filter = &project.service("app").unwrap().paths;
    let mut dice = Dice(5);
    let mut before = demo.app(&[])["fingerprint"].clone();
    let mut layers = demo.layers();
    let (mut rebuilt, mut reused) = (0, 0);
    for round in 0..ROUNDS {
        let (what, touched) = change(&demo, &mut dice, round);
        let now = demo.app(&[]);
        let ours = demo.layers();
        demo.app(&["--force"]);
        let theirs = demo.layers();
        let told = format!("round {round}: {what} {touched:?}: {now}");
        assert_eq!(ours, theirs, "a build gives another image: {told}");
        let changed = now["fingerprint"] != before;
        assert!(changed || theirs == layers, "BuildKit built it anew: {told}");
        assert!(changed || now["outcome"] == "up-to-date", "{told}");
        if !touched.is_empty() {
            assert_eq!(changed, touched.iter().any(|path| filter.includes(path)), "{told}");
        }
        match theirs == layers {
            true => reused += 1,
            false => rebuilt += 1,
        }
        (before, layers) = (now["fingerprint"].clone(), theirs);
    }
    assert!(rebuilt > ROUNDS / 5 && reused > ROUNDS / 5, "{rebuilt} {reused}");
}

/// Each costs two builds.
const ROUNDS: usize = 24;

/// Changes something; what, and which files, if they are such that git records.
fn change(demo: &Demo, dice: &mut Dice, round: usize) -> (&'static str, Vec<String>) {
    const FOLDERS: [&str; 6] = ["src", "src/b c", "src/d/e", "src/skip", "docs", "lib"];
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&demo.dir).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    let fixed = ["services.toml", ".gitignore", ".dockerignore", "Dockerfile", "lib/a.txt", "one"];
    let there = |file: &&str| !fixed.contains(file) && demo.dir.join(file).symlink_metadata().is_ok();
    let files: Vec<&str> = files.split_terminator('\0').filter(there).collect();
    let file = files[dice.below(files.len())];
    let folder = FOLDERS[dice.below(FOLDERS.len())];
    let new = format!("{folder}/n\n{round} é.{}", ["txt", "md"][dice.below(2)]);
    let path = demo.dir.join(file);
    let is_link = path.is_symlink();
    fs::create_dir_all(demo.dir.join(folder)).unwrap();
    let chmod = |path: &Path, bits: u32| {
        let mode = path.metadata().unwrap().permissions().mode();
        fs::set_permissions(path, fs::Permissions::from_mode(mode ^ bits)).unwrap();
    };
    let (what, touched) = match dice.below(11) {
        0 | 1 if !is_link => {
            demo.write(file, &format!("{round}"));
            ("an edit", vec![file.to_owned()])
        }
        2 if !is_link => {
            chmod(&path, 0o111);
            ("an executable", vec![file.to_owned()])
        }
        3 if !is_link => {
            chmod(&path, 0o044);
            ("a private file", vec![file.to_owned()])
        }
        4 if !is_link => {
            let text = fs::read(&path).unwrap();
            fs::write(&path, text).unwrap();
            ("a touch", Vec::new())
        }
        5 => {
            fs::remove_file(&path).unwrap();
            ("a deletion", vec![file.to_owned()])
        }
        6 => {
            fs::rename(&path, demo.dir.join(&new)).unwrap();
            ("a rename", vec![file.to_owned(), new])
        }
        7 => {
            std::os::unix::fs::symlink("a.txt", demo.dir.join(&new)).unwrap();
            ("a link", vec![new])
        }
        8 => {
            fs::create_dir(demo.dir.join(folder).join(format!("empty {round}"))).unwrap();
            ("an empty folder", Vec::new())
        }
        9 => {
            demo.write(&format!("{folder}/.env"), &format!("{round}"));
            ("a file that git ignores", Vec::new())
        }
        _ => {
            demo.write(&new, "new");
            ("a new file", vec![new])
        }
    };
    if dice.below(2) == 0 {
        demo.git(&["add", "--all"]);
    }
    (what, touched)
}

/// A generator with a fixed seed: the same changes on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}
