//! Up to date or not, on the real engine: `cargo xtask test images`.
//!
//! The images are `FROM scratch` where they can be, so that a build takes less
//! than a second and needs no base.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
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

    fn outcome(&self, args: &[&str]) -> String {
        self.app(args)["outcome"].as_str().unwrap().to_owned()
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
        let _ = fs::remove_dir_all(&self.dir);
        let _ = self.dir.parent().map(fs::remove_dir);
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
        (&[], &[("DOCKER_METADATA_OUTPUT_LABELS", "a=b\nc=d=e")]),
        (&[], &[("SOURCE_DATE_EPOCH", "1")]),
    ] {
        assert_eq!(demo.app_with(args, environment)["outcome"], "built", "{args:?} {environment:?}");
        assert_eq!(demo.app_with(args, environment)["outcome"], "up-to-date", "{args:?} {environment:?}");
    }
    let annotated = [("DOCKER_METADATA_OUTPUT_ANNOTATIONS", "manifest:a=b")];
    for _ in 0..2 {
        assert_eq!(demo.app_with(&[], &annotated)["outcome"], "built", "nobody can look at an annotation");
    }
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
        assert_eq!(json(&output)["fingerprint"], Value::Null);
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

/// design: what BuildKit builds anew is another fingerprint, always.
#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_is_up_to_date_is_what_a_build_would_give() {
    let demo = Demo::new("random", DOCKERFILE, PATHS);
    let path = |path: &str| demo.dir.join(path);
    let mode = |file: &str, mode| fs::set_permissions(path(file), fs::Permissions::from_mode(mode)).unwrap();
    // What is changed, and whether the filter includes it; none: git does not track it.
    type Change<'a> = (&'a str, Option<&'a str>, &'a dyn Fn());
    let changes: [Change<'_>; 18] = [
        ("nothing", None, &|| {}),
        ("an edit", Some("src/a"), &|| demo.write("src/a", "2")),
        ("an edit beside", Some("docs/x"), &|| demo.write("docs/x", "2")),
        ("an edit that is ignored", Some("src/skip/x"), &|| demo.write("src/skip/x", "2")),
        ("an executable", Some("src/b c/é"), &|| mode("src/b c/é", 0o755)),
        ("an executable that is ignored", Some("src/skip/x"), &|| mode("src/skip/x", 0o755)),
        ("a private file", Some("src/b c/d"), &|| mode("src/b c/d", 0o600)),
        ("a private folder", None, &|| mode("src/b c", 0o700)),
        ("an empty folder", None, &|| fs::create_dir(path("src/empty")).unwrap()),
        ("a folder beside", None, &|| fs::create_dir(path("docs/empty")).unwrap()),
        ("a file that git ignores", None, &|| demo.write("src/.env", "1")),
        ("that file again", None, &|| demo.write("src/.env", "2")),
        ("a new file", Some("src/new\nline"), &|| demo.write("src/new\nline", "2")),
        ("a link", Some("src/link"), &|| std::os::unix::fs::symlink("a", path("src/link")).unwrap()),
        ("a rename", Some("src/a"), &|| fs::rename(path("src/a"), path("src/z")).unwrap()),
        ("a deletion", Some("src/z"), &|| fs::remove_file(path("src/z")).unwrap()),
        ("a touch", None, &|| demo.write("one", &fs::read_to_string(path("one")).unwrap())),
        ("a comment", Some("Dockerfile"), &|| demo.write("Dockerfile", &format!("# 2\n{DOCKERFILE}"))),
    ];
    let included = ["src/a", "src/b c/é", "src/b c/d", "src/new\nline", "src/link", "src/z", "Dockerfile"];
    let mut before = demo.app(&[])["fingerprint"].clone();
    let mut layers = demo.layers();
    let (mut rebuilt, mut reused) = (0, 0);
    for (what, tracked, change) in changes {
        change();
        let now = demo.app(&[]);
        let ours = demo.layers();
        demo.app(&["--force"]);
        let theirs = demo.layers();
        assert_eq!(ours, theirs, "{what}: a build gives another image");
        let changed = now["fingerprint"] != before;
        assert_eq!(now["outcome"] == "built", changed, "{what}: {now}");
        assert!(changed || theirs == layers, "{what}: BuildKit built it anew");
        if let Some(path) = tracked {
            assert_eq!(changed, included.contains(&path), "{what}: {now}");
        }
        match theirs == layers {
            true => reused += 1,
            false => rebuilt += 1,
        }
        (before, layers) = (now["fingerprint"].clone(), theirs);
    }
    assert!(rebuilt > 8 && reused > 5, "{rebuilt} {reused}");
}
