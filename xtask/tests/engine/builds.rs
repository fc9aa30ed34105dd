//! What a build leaves beside the image, and what it leaves when it fails.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::common::{docker, exit, json, stderr, until_it_says};
use super::{Demo, interrupt};

/// A project whose image holds `megabytes` that nobody has, and stands on
/// nothing.
fn scratch(name: &str, megabytes: usize) -> Demo {
    let demo = Demo::new(name);
    std::fs::write(demo.dir.join("Dockerfile"), "FROM scratch AS app\nCOPY payload /\n").unwrap();
    payload(&demo, megabytes * 1024);
    demo
}

fn payload(demo: &Demo, kilobytes: usize) {
    let chance = format!("head -c {} /dev/urandom > payload", kilobytes * 1024);
    assert!(Command::new("sh").args(["-c", &chance]).current_dir(&demo.dir).status().unwrap().success());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every blob of an archive is what its name says.
fn is_whole(archive: &Path) -> bool {
    let script = r#"set -e; d=$(mktemp -d); trap 'rm -rf "$d"' EXIT; tar -xf "$1" -C "$d"; test -s "$d/index.json"
        cd "$d/blobs/sha256"; for f in *; do test "$(sha256sum < "$f")" = "$f  -"; done"#;
    Command::new("sh").args(["-c", script, "sh"]).arg(archive).status().unwrap().success()
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn two_archives_to_one_file_are_both_whole() {
    let demo = scratch("archives", 30);
    let before = names(&demo.dir);
    for _ in 0..2 {
        let run = || demo.command(&["docker", "app", "--output", "oci=out.tar"]).stderr(Stdio::null()).spawn().unwrap();
        let mut runs = [run(), run()];
        for run in &mut runs {
            assert_eq!(run.wait().unwrap().code(), Some(0));
        }
        assert!(is_whole(&demo.dir.join("out.tar")));
        std::fs::remove_file(demo.dir.join("out.tar")).unwrap();
    }
    assert_eq!(names(&demo.dir), before);
    let folder = demo.run(&["docker", "app", "--output", "oci=."]);
    exit(&folder, 2);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_cache_that_can_not_be_written_leaves_the_good_one_and_is_a_warning() {
    let demo = scratch("fulldisk", 1);
    let small = demo.dir.join("small");
    std::fs::create_dir(&small).unwrap();
    std::fs::write(demo.dir.join(".dockerignore"), "small\n").unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&small).status().unwrap();
    assert!(mounted.success(), "mounting needs root, as the private engine does");
    let result = std::panic::catch_unwind(|| {
        let args = ["docker", "app", "--force", "--cache", "local", "--cache-dir", "small", "--format", "json"];
        let first = demo.run(&args);
        exit(&first, 0);
        assert!(json(&first)["warnings"].is_null(), "{}", json(&first));
        let [cache] = &names(&small)[..] else { panic!("{:?}", names(&small)) };
        let cache = small.join(cache);
        let good = names(&cache.join("blobs/sha256"));
        payload(&demo, 2500);
        let second = demo.run(&args);
        exit(&second, 0);
        let said = json(&second)["warnings"][0].as_str().unwrap().to_owned();
        assert!(said.contains("no space left on device"), "{said}");
        assert!(stderr(&second).contains("warning: the layer cache of `app` was not kept"), "{}", stderr(&second));
        assert_eq!(names(&cache.join("blobs/sha256")), good);
        assert_eq!(names(&small), [cache.file_name().unwrap().to_str().unwrap()]);
        // With room enough the next one takes its place.
        payload(&demo, 100);
        exit(&demo.run(&args), 0);
        assert_ne!(names(&cache.join("blobs/sha256")), good);
    });
    assert!(Command::new("umount").arg(&small).status().unwrap().success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    // A registry that is not there.
    let lost =
        demo.run(&["docker", "app", "--force", "--cache", "registry", "--registry", "127.0.0.1:9", "--format", "json"]);
    exit(&lost, 0);
    assert!(json(&lost)["warnings"][0].as_str().unwrap().contains("connection refused"), "{}", json(&lost));
    // Somebody's folder is no cache.
    std::fs::create_dir_all(demo.dir.join("mine/app@linux-amd64")).unwrap();
    let refused = demo.run(&["docker", "app", "--force", "--cache", "local", "--cache-dir", "mine"]);
    exit(&refused, 2);
    assert!(demo.dir.join("mine/app@linux-amd64").is_dir());
}

/// The processes that a run has started.
fn children(of: &Child) -> Vec<u32> {
    let list = Command::new("pgrep").args(["--parent", &of.id().to_string()]).output().unwrap();
    String::from_utf8(list.stdout).unwrap().lines().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_a_killed_build_leaves_goes_with_the_next_and_an_interrupted_one_leaves_nothing() {
    let demo = Demo::new("killed");
    let slow = "FROM python:3.11-slim-bookworm AS slow\nARG WHEN\nRUN echo the slow step began $WHEN && sleep 600\n";
    std::fs::write(demo.dir.join("Dockerfile"), format!("{slow}FROM scratch AS app\nCOPY server.py /\n")).unwrap();
    let before = names(&demo.dir);
    let when = format!("WHEN={}", std::process::id());
    let args = ["--cache", "local", "--cache-dir", "."];
    let start = || {
        let mut command = demo.command(&["docker", "slow", "--build-arg", &when, "--progress", "plain"]);
        let mut run = command.args(args).stderr(Stdio::piped()).spawn().unwrap();
        until_it_says(&mut run, "the slow step began");
        run
    };
    let mut run = start();
    interrupt(&run);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(names(&demo.dir), before);

    let mut run = start();
    let builders = children(&run);
    run.kill().unwrap();
    run.wait().unwrap();
    xtask::exec::signal::send(xtask::exec::signal::Signal::Kill, builders.iter().copied());
    assert_ne!(names(&demo.dir), before, "SIGKILL leaves what is half-made");
    let next = demo.command(&["docker", "app"]).args(args).output().unwrap();
    exit(&next, 0);
    let left: Vec<String> = names(&demo.dir).into_iter().filter(|name| !before.contains(name)).collect();
    assert!(matches!(&left[..], [cache] if cache.starts_with("app@")), "{left:?}");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn an_archive_on_a_full_disk_is_not_there() {
    let demo = scratch("archive", 2);
    let small = demo.dir.join("small");
    std::fs::create_dir(&small).unwrap();
    std::fs::write(demo.dir.join(".dockerignore"), "small\n").unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).status().unwrap();
    assert!(mounted.success(), "mounting needs root, as the private engine does");
    let output = demo.run(&["docker", "app", "--output", "oci=small/out.tar"]);
    let left = names(&small);
    assert!(Command::new("umount").arg(&small).status().unwrap().success());
    exit(&output, 1);
    assert!(stderr(&output).contains("the disk is full"), "{}", stderr(&output));
    assert_eq!(left, Vec::<String>::new(), "half an archive was left");
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_is_wrong_with_one_service_is_not_what_the_others_come_to() {
    let demo = scratch("each", 1);
    std::fs::write(demo.dir.join("broken"), "FROM scratch AS app\nCOPY\n").unwrap();
    std::fs::write(demo.dir.join("strange"), "FROM strange.invalid/nothing:1 AS app\n").unwrap();
    let mut services = format!("[project]\nname = \"{}\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n", demo.name);
    for (name, dockerfile) in [
        ("app", "Dockerfile"),
        ("broken", "broken"),
        ("missing", "missing"),
        ("second", "Dockerfile"),
        ("strange", "strange"),
    ] {
        services.push_str(&format!(
            "[services.{name}]\nimage = \"{}-{name}\"\ndockerfile = \"{dockerfile}\"\ntarget = \"app\"\npaths = [\"**\"]\n",
            demo.name
        ));
    }
    std::fs::write(demo.dir.join("services.toml"), &services).unwrap();
    let said = |output: &std::process::Output| -> Vec<String> {
        let results = json(output)["results"].as_array().unwrap().clone();
        results.iter().map(|one| format!("{} {}", one["service"], one["outcome"]).replace('"', "")).collect()
    };
    for more in [&[][..], &["--jobs", "1"], &["--bases", "local"]] {
        let output = demo.command(&["docker", "all", "--format", "json"]).args(more).output().unwrap();
        let expected = ["app built", "broken failed", "missing failed", "second built", "strange failed"];
        assert_eq!(said(&output), expected, "{more:?}: {}", stderr(&output));
        exit(&output, 1);
        for words in ["broken:2", "missing: No such file", "strange.invalid/nothing:1", "3 of 5 builds failed"] {
            assert!(stderr(&output).contains(words), "no {words:?} in {}", stderr(&output));
        }
    }
    // Nothing was tried for those that failed.
    let without = services.split("[services.strange]").next().unwrap();
    std::fs::write(demo.dir.join("services.toml"), without).unwrap();
    let output = demo.run(&["docker", "all", "--format", "json"]);
    exit(&output, 2);
    assert_eq!(said(&output), ["app built", "broken failed", "missing failed", "second built"]);
    let planned = demo.run(&["docker", "all", "--dry-run"]);
    exit(&planned, 2);
    let builds = |line: &&str| line.contains(" docker buildx build");
    assert_eq!(String::from_utf8_lossy(&planned.stdout).lines().filter(builds).count(), 2);
    std::fs::write(demo.dir.join("services.toml"), services).unwrap();
    exit(&demo.run(&["docker", "clean", "--images", "app", "second"]), 0);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_stands_on_a_stand_in_does_not_leave_this_machine() {
    let demo = Demo::new("leaves");
    let refused = |args: &[&str], words: &str| {
        let output = demo.command(&["docker", "app", "--bases", "local"]).args(args).output().unwrap();
        exit(&output, 2);
        for words in [words, "python:3.11-slim-bookworm", "`--bases upstream`"] {
            assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
        }
    };
    refused(&["--push"], "`--push` to ghcr.io/demo");
    refused(&["--push", "--registry", "127.0.0.1.evil.invalid"], "evil.invalid");
    refused(&["--output", "oci=out.tar"], "`--output oci=out.tar`");
    refused(&["--cache", "registry"], "`--cache registry` to ghcr.io/demo");
    refused(&["--cache", "gha"], "`--cache gha`");
    assert!(!demo.dir.join("out.tar").exists());
    // What is built on such an image is no better, by whatever name.
    exit(&demo.run(&["docker", "app", "--bases", "local"]), 0);
    std::fs::write(demo.dir.join("Dockerfile"), format!("FROM {}-app:local AS rooted\n", demo.name)).unwrap();
    let output = demo.run(&["docker", "rooted", "--bases", "upstream", "--output", "oci=out.tar"]);
    exit(&output, 2);
    assert!(stderr(&output).contains("must not leave"), "{}", stderr(&output));
    // And what stands on nothing may go.
    std::fs::write(demo.dir.join("Dockerfile"), "FROM scratch AS app\nCOPY server.py /\n").unwrap();
    exit(&demo.run(&["docker", "app", "--bases", "local", "--output", "oci=out.tar"]), 0);
    assert!(is_whole(&demo.dir.join("out.tar")));
}

/// A registry that answers every request in one way.
fn registry(answer: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
        }
    });
    at
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_push_that_fails_says_what_is_wrong_with_the_push() {
    let demo = scratch("pushes", 1);
    let (denied, broken) = (registry("401 Unauthorized"), registry("500 Internal Server Error"));
    for (at, words) in [
        ("127.0.0.1:9", "the engine does not reach 127.0.0.1:9"),
        (&denied, "`docker login 127.0.0.1:"),
        (&broken, "has failed: see its log"),
    ] {
        let output = demo.run(&["docker", "app", "--push", "--registry", at]);
        exit(&output, 1);
        assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
        assert!(!stderr(&output).contains("base image"), "{}", stderr(&output));
    }
    for (from, words) in [("127.0.0.1:9", "`--bases local`"), (&denied, "`docker login 127.0.0.1:")] {
        std::fs::write(demo.dir.join("Dockerfile"), format!("FROM {from}/b:1 AS app\n")).unwrap();
        let output = demo.run(&["docker", "app", "--bases", "upstream"]);
        exit(&output, 1);
        assert!(stderr(&output).contains("a base image is not available"), "{}", stderr(&output));
        assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
    }
}

/// Which of these texts an image holds: in a layer, its configuration or a
/// manifest.
fn held(image: &str, texts: &[String], dir: &Path) -> String {
    std::fs::write(dir.join("texts"), texts.join("\n") + "\n").unwrap();
    let script = r#"set -e; mkdir saved; cd saved; docker save "$1" | tar -x; cd blobs/sha256
        for f in *; do zcat -f "$f"; done > ../../all; cd ../..; test $(wc -c < all) -gt 50000000
        grep -a -o -F -f ../texts all | sort -u || true"#;
    let engine = super::common::engine();
    let output =
        Command::new("sh").args(["-c", script, "sh", image]).current_dir(dir).envs(engine.ctx.exports).output();
    let output = output.unwrap();
    std::fs::remove_dir_all(dir.join("saved")).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn steps_see_how_this_machine_reaches_registries_and_no_image_holds_it() {
    let demo = Demo::new("lent");
    // Steps of a Dockerfile that knows nothing of us, one of them as a user. A
    // step that named the files would not see them: it may be about to make them.
    let sees = "grep -q lent-to-\"\"steps /etc/ssl/certs/ca-cert* && grep -q cert /etc/pip.con? && grep -q deb /etc/apt/sources.lis?";
    let dockerfile = format!(
        "FROM python:3.11-slim-bookworm AS app\nRUN {sees}\nUSER 1000\nRUN <<EOF\n{sees}\nEOF\nCOPY server.py /\n"
    );
    std::fs::write(demo.dir.join("Dockerfile"), dockerfile).unwrap();
    // The ignore file is the Dockerfile's own: it must count although another Dockerfile is built.
    std::fs::write(demo.dir.join("Dockerfile.dockerignore"), "*\n!server.py\n").unwrap();
    let bundle = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let authorities = demo.dir.join("authorities.pem");
    std::fs::write(&authorities, format!("# lent-to-steps\n{bundle}")).unwrap();
    let mut build = demo.command(&["docker", "app", "--bases", "local", "--force"]);
    exit(&build.env("SSL_CERT_FILE", &authorities).output().unwrap(), 0);

    let mut private = vec!["lent-to-steps".to_owned(), "id=xtask-".to_owned()];
    // What this machine trusts beyond Debian's list, line by line.
    for entry in std::fs::read_dir("/usr/local/share/ca-certificates").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        private.extend(text.lines().filter(|line| line.len() > 60).map(str::to_owned));
    }
    let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers =
        resolver.lines().filter_map(|line| line.strip_prefix("nameserver ")).filter(|at| !at.starts_with("127."));
    private.extend(servers.map(|at| format!("nameserver {at}")));
    assert_eq!(held(&format!("{}-app:local", demo.name), &private, &demo.dir), "");
    assert_ne!(held(&format!("{}-app:local", demo.name), &["stand-ins".to_owned()], &demo.dir), "", "it looks nowhere");
    let script = "ls /etc/pip.conf /etc/uv /usr/local/etc/npmrc /etc/apt/apt.conf.d/99* /usr/local/share/ca-certificates/* /run/secrets 2>/dev/null; cat /etc/hostname /etc/apt/sources.list";
    let files = docker(&[
        "run",
        "--rm",
        "--hostname",
        "x",
        "--entrypoint",
        "sh",
        &format!("{}-app:local", demo.name),
        "-c",
        script,
    ]);
    assert!(files.starts_with("x\ndeb http://deb.debian.org/debian bookworm main\n"), "{files}");
}
