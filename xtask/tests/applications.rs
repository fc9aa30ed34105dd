//! The applications' images, end to end: `cargo xtask test images`. Each test
//! builds this repository's own Dockerfile in a copy of the tree, under a
//! project name of its own, and cleans up after itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "applications/pasted.rs"]
mod pasted;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use self::common::{docker, exit, stderr};

/// The files that this repository has, in a folder of their own.
struct Copy {
    dir: PathBuf,
    name: String,
}

impl Copy {
    fn new(name: &str) -> Self {
        let name = format!("copy-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        let mut list = Command::new("git");
        list.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(common::root());
        let files = String::from_utf8(list.output().unwrap().stdout).unwrap();
        let copied = ["apps/", "package.json", "pnpm-", "Dockerfile", ".dockerignore", "services.toml"];
        for file in files.split_terminator('\0').filter(|file| copied.iter().any(|start| file.starts_with(start))) {
            let (from, to) = (common::root().join(file), dir.join(file));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            let _ = std::fs::copy(from, to);
        }
        let copy = Self { dir, name };
        copy.edit("services.toml", |text| text.replace("\"infinite-scribe", &format!("\"{}", copy.name)));
        copy
    }

    fn edit(&self, file: &str, edit: impl Fn(&str) -> String) {
        let path = self.dir.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        let after = edit(&before);
        assert_ne!(before, after, "{file} is as it was");
        std::fs::write(path, after).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        common::xtask(args).args(["--root", self.dir.to_str().unwrap()]).output().unwrap()
    }

    /// The word of this checkout.
    fn checkout(&self) -> String {
        xtask::exec::checkout::identity(self.dir.as_path().try_into().unwrap())
    }

    /// The image of the web server in a container, and where it listens.
    fn serve(&self, tag: &str) -> String {
        let (container, label) = (format!("{}-{tag}", self.name), format!("{}.run=up", self.name));
        let image = format!("{}-web:{tag}", self.name);
        let strictly = ["--read-only", "--tmpfs", "/tmp", "--publish", "127.0.0.1::8080"];
        docker(&[&["run", "--detach", "--name", &container, "--label", &label], &strictly[..], &[&image]].concat());
        docker(&["port", &container, "8080"]).trim().to_owned()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let containers = docker(&["ps", "--all", "--quiet", "--filter", &format!("name={}", self.name)]);
        for container in containers.lines() {
            docker(&["rm", "--force", "--volumes", container]);
        }
        let _ = self.run(&["docker", "clean", "--all", "backend", "web"]);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
    pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// What a page asks for.
fn assets(page: &str) -> Vec<String> {
    let names = page.split("\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
    names.map(|name| format!("/assets/{name}")).collect()
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_a_lock_file_does_not_know_is_not_built() {
    let copy = Copy::new("locked");
    copy.edit("apps/backend/pyproject.toml", |text| {
        text.replacen("dependencies = [\n", "dependencies = [\n  \"tomli\",\n", 1)
    });
    let output = copy.run(&["docker", "backend"]);
    exit(&output, 1);
    assert!(stderr(&output).contains("The lockfile at `uv.lock` needs to be updated"), "{}", stderr(&output));

    copy.edit("apps/frontend/package.json", |text| {
        text.replace("\"react\": \"", "\"happy-dom\": \"21.0.4\",\n    \"react\": \"")
    });
    let output = copy.run(&["docker", "web"]);
    exit(&output, 1);
    assert!(stderr(&output).contains("ERR_PNPM_OUTDATED_LOCKFILE"), "{}", stderr(&output));
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_checkout_that_nobody_else_may_read_gives_images_that_start() {
    let copy = Copy::new("umask");
    // As `umask 077` leaves it.
    fn close(path: &Path) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode & 0o700)).unwrap();
        if path.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| close(&entry.unwrap().path()));
        }
    }
    close(&copy.dir);
    let output = copy.run(&["docker", "test", "--role", "api-gateway", "backend"]);
    exit(&output, 0);
    let output = copy.run(&["docker", "web", "--test"]);
    exit(&output, 0);
    let at = copy.serve("local");
    let page = common::ask(&at, "GET /", "", "");
    for path in assets(&page).iter().map(String::as_str).chain(["/", "/favicon.svg"]) {
        assert_eq!(status(&common::ask(&at, &format!("GET {path}"), "", "")), "200", "{path}");
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_browser_that_comes_back_gets_the_new_release_whole() {
    let copy = Copy::new("release");
    exit(&copy.run(&["docker", "web", "--tag", "old"]), 0);
    copy.edit("apps/frontend/src/main.tsx", |text| text.replace("has no #root", "has no #loot"));
    copy.edit("apps/frontend/src/styles.css", |text| format!("{text}\n.new {{\n  color: red;\n}}\n"));
    copy.edit("apps/frontend/public/favicon.svg", |text| text.replacen("viewBox=\"0", "viewBox=\"1", 1));
    exit(&copy.run(&["docker", "web", "--tag", "new"]), 0);
    let (old, new) = (copy.serve("old"), copy.serve("new"));
    let get = |at: &str, path: &str, headers: &str| common::ask(at, &format!("GET {path}"), headers, "");
    let body = |answer: &str| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let (old_page, new_page) = (get(&old, "/", ""), get(&new, "/", ""));
    assert_eq!(body(&old_page).len(), body(&new_page).len(), "a length tells nothing");
    assert_ne!(assets(&old_page), assets(&new_page));

    for path in ["/", "/novels/n1", "/index.html", "/favicon.svg"] {
        let (was, is) = (get(&old, path, ""), get(&new, path, ""));
        assert_ne!(body(&was), body(&is), "{path}");
        assert_eq!(header(&was, "Cache-Control"), Some("no-cache"), "{path}");
        // What this release gave, and what those before it did: the image's time and the length.
        let epoch = "Thu, 01 Jan 1970 00:00:00 GMT".to_owned();
        let by_length = format!("\"0-{:x}\"", body(&was).len());
        for (etag, date) in [
            (header(&was, "ETag").map(str::to_owned), header(&was, "Last-Modified").map(str::to_owned)),
            (Some(by_length), Some(epoch)),
        ] {
            let etag = etag.map(|etag| format!("If-None-Match: {etag}\r\n")).unwrap_or_default();
            let date = date.map(|date| format!("If-Modified-Since: {date}\r\n")).unwrap_or_default();
            for headers in [format!("{etag}{date}"), etag, date] {
                let again = get(&new, path, &headers);
                assert_eq!((status(&again), body(&again)), ("200", body(&is)), "{path} {headers}");
            }
        }
    }
    for asset in assets(&new_page) {
        let answer = get(&new, &asset, "");
        assert_eq!(status(&answer), "200", "{asset}");
        assert_eq!(header(&answer, "Cache-Control"), Some("public, max-age=31536000, immutable"), "{asset}");
        let etag = format!("If-None-Match: {}\r\n", header(&answer, "ETag").unwrap());
        assert_eq!(status(&get(&new, &asset, &etag)), "304", "{asset}");
    }
    for asset in assets(&old_page).iter().filter(|asset| !assets(&new_page).contains(asset)) {
        let answer = get(&new, asset, "");
        assert_eq!((status(&answer), header(&answer, "Cache-Control")), ("404", Some("no-store")), "{asset}");
        assert!(!answer.contains("id=\"root\""), "a page in place of {asset}");
    }
}
