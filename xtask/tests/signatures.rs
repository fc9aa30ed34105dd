//! Signatures of published images: a real registry on loopback, and the real
//! cosign out of its stage of the Dockerfile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::PathBuf;
use std::process::{Command, Output};

use self::common::demo::Demo;
use self::common::registry::{Between, Registry, Treatment};
use self::common::{exit, json, root, shown, stderr};

/// A project with a registry, a cosign and two pairs of keys.
struct World {
    demo: Demo,
    registry: Registry,
    /// Outside of the context of the build.
    dir: PathBuf,
}

impl World {
    fn new(name: &str) -> Self {
        let demo = Demo::new(name);
        let registry = Registry::new(&demo);
        let demo = demo.simple("");
        let dir = std::env::temp_dir().join(format!("{}-keys", demo.name));
        std::fs::create_dir_all(&dir).unwrap();
        // The repository's own stages, as they are.
        let text = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
        let tools = text.split("# ── tools ──").nth(1).unwrap().split("# ── workflows ──").next().unwrap();
        let file = demo.dir.join("Dockerfile");
        let own = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{own}\n# {tools}")).unwrap();
        Self { demo, registry, dir }
    }

    /// Pushes another image under the tag; returns its digest.
    fn pushed(&self, tag: &str, line: &str) -> String {
        let file = self.demo.dir.join("server.py");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{line}\n{text}")).unwrap();
        let at = &self.registry.at;
        let push = ["docker", "app", "--push", "--no-test", "--tag", tag, "--registry", at, "--format", "json"];
        let output = self.demo.run(&push);
        exit(&output, 0);
        json(&output)["digest"].as_str().unwrap().to_owned()
    }

    fn repository(&self, at: &str) -> String {
        format!("{at}/{}-app", self.demo.name)
    }

    fn key(&self, file: &str) -> String {
        self.dir.join(file).to_str().unwrap().to_owned()
    }

    fn verify(&self, image: &str, key: &str) -> Output {
        let args = ["docker", "verify", image, "--registry", &self.registry.at, "--tag", "v", "--key", &self.key(key)];
        let mut command = self.demo.command(&args);
        command.args(["--format", "json"]).env("XDG_CACHE_HOME", self.dir.join("cache")).output().unwrap()
    }

    fn verified(&self, image: &str, key: &str) -> serde_json::Value {
        let output = self.verify(image, key);
        exit(&output, 0);
        let object = json(&output);
        assert_eq!((object["verified"].as_bool(), object["why"].is_null()), (Some(true), true), "{object}");
        object
    }

    fn refused(&self, image: &str, key: &str, words: &str) -> Output {
        let output = self.verify(image, key);
        exit(&output, 1);
        let object = json(&output);
        assert_eq!((object["verified"].as_bool(), object["signatures"].as_u64()), (Some(false), Some(0)), "{object}");
        assert!(object["why"].as_str().unwrap().contains(words), "{words}: {object}");
        assert!(stderr(&output).contains("is not verified: "), "{}", stderr(&output));
        output
    }

    fn cosign(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(program);
        let output = command.args(args).env("COSIGN_PASSWORD", "x").current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn verified_is_what_the_right_key_has_signed_and_nothing_else() {
    let world = World::new("verify");
    let digest = world.pushed("v", "");
    let image = format!("{}@{digest}", world.repository(&world.registry.at));
    std::fs::write(world.dir.join("any.pub"), "no key").unwrap();

    // What is no key verifies nothing; and the tool is made once.
    let output = world.refused("app", "any.pub", "");
    let made = |output: &Output| shown(output).iter().filter(|line| line.contains("--target tools-cosign")).count();
    assert_eq!(made(&output), 1, "{}", stderr(&output));
    let cosign = shown(&output).iter().find_map(|line| Some(line.split_once(" verify ")?.0.to_owned())).unwrap();
    for name in ["ours", "theirs"] {
        world.cosign(&cosign, &["generate-key-pair", "--output-key-prefix", name]);
    }
    assert_eq!(made(&world.refused("app", "ours.pub", "no signatures found")), 0);

    // Of the right key, and no signature: cosign itself would be content.
    world.cosign(&cosign, &["signing-config", "create", "--out", "config"]);
    world.cosign(&cosign, &["trusted-root", "create", "--out", "trusted"]);
    let by_ours = ["--yes", "--key", "ours.key", "--signing-config", "config", "--trusted-root", "trusted"];
    std::fs::write(world.dir.join("sbom"), r#"{"spdxVersion":"SPDX-2.3","name":"x"}"#).unwrap();
    let attest = [&["attest", "--type", "spdxjson", "--predicate", "sbom"], &by_ours[..], &[&image]].concat();
    world.cosign(&cosign, &attest);
    world.cosign(&cosign, &["verify", "--key", "ours.pub", "--insecure-ignore-tlog=true", &image]);
    world.refused("app", "ours.pub", "there is an attestation (https://spdx.dev/Document) and no signature");

    world.cosign(&cosign, &[&["sign"], &by_ours[..], &[&image]].concat());
    for name in ["app", &image, &format!("{}:v", world.repository(&world.registry.at))] {
        let object = world.verified(name, "ours.pub");
        assert_eq!((object["digest"].as_str(), object["signatures"].as_u64()), (Some(digest.as_str()), Some(1)));
    }
    world.refused("app", "theirs.pub", "");

    // A tag that was moved is on another image, and the older signatures count.
    let other = world.pushed("v", "x = 1");
    assert_ne!(other, digest);
    world.refused("app", "ours.pub", "no signatures found");
    world.verified(&image, "ours.pub");
    let of_other = format!("{}@{other}", world.repository(&world.registry.at));
    let old = ["--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"];
    world.cosign(&cosign, &[&["sign", "--yes", "--key", "theirs.key"], &old[..], &[&of_other]].concat());
    world.verified("app", "theirs.pub");
    world.refused("app", "ours.pub", "");

    // Where nothing can be found out, nothing is said of signatures.
    let broken = Between::new(&world.registry.at, |_| Treatment::Is("401 Unauthorized"));
    let output = world.verify(&format!("{}@{digest}", world.repository(&broken.at)), "ours.pub");
    exit(&output, 1);
    assert!(json(&output).get("verified").is_none() && stderr(&output).contains("docker login"), "{}", stderr(&output));
    let output = world.verify(&format!("{}:nothing", world.repository(&world.registry.at)), "ours.pub");
    exit(&output, 1);
    assert!(stderr(&output).contains("the registry has nothing of that name"), "{}", stderr(&output));
}
