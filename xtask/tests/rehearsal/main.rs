//! The workflows, rehearsed: what CI will do has been done here.
//!
//! Each test pushes real commits to a bare remote, tells the workflows of that
//! commit of the event, and looks at which jobs ran, how they ended, and what
//! the registry holds afterwards.
//!
//! **Real**: the workflow files and the action, read from the commit of the
//! event; the callers, as `ci sync` writes them; `on:`, `needs`, `if`, inputs,
//! outputs, permissions of called workflows; every `run:` line, by bash, with
//! the environment and the files of a GitHub job, on a machine of its own for
//! each job: a fresh checkout, an empty CARGO_HOME, an empty TMPDIR; cargo
//! itself, which takes `cargo xtask` for the installed `cargo-built`; git, the
//! engine, Debian's docker-registry and every image in it.
//!
//! **Modelled** (`actions.rs`): actions/checkout is the git commands that it
//! runs; actions/cache a folder, written when a job has ended well;
//! docker/metadata-action the few rules that we use; docker/login-action and
//! the two set-ups, told to restore nothing, do nothing: the registry lets anybody in, and the engine's own
//! builder exports caches. Everything else panics.
//!
//! **Changed**: services.toml names this registry, another project, so that
//! nobody's images are touched, and one platform: stand-ins have no other. The
//! line that compiles the program (`ci install` behind `cargo run`) calls the
//! one that is compiled. `docker clean --all` takes the names of all services:
//! without them it would take this machine's stand-ins as well; that it would
//! take nothing beyond those is looked at. `cargo xtask test rust` and
//! `images`, in which this test is, print their plan only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actions;
#[path = "../common/mod.rs"]
mod common;
mod expression;
mod oracle;
mod runner;
mod syntax;
mod world;

use self::runner::Ran;
use self::world::World;

const ALL: &str = "plan=success test=success build=success publish=success verdict=success";
const NONE: &str = "plan=success test=skipped build=skipped publish=skipped verdict=success";
const PROVED: &str = "plan=success test=success build=success publish=skipped verdict=success";
const NO_TESTS: &str = "plan=success test=skipped build=success publish=success verdict=success";

const API: &str = "api-docker-build";
const SITE: &str = "site-docker-build";

fn job<'a>(jobs: &'a [Ran], name: &str) -> &'a Ran {
    jobs.iter().find(|job| job.name == name).unwrap()
}

/// All tags are one image.
fn same(world: &World, service: &str, tags: &[&str]) -> String {
    let mut digests: Vec<_> = tags.iter().map(|tag| world.digest(service, tag).expect(tag)).collect();
    digests.dedup();
    assert_eq!(digests.len(), 1, "{tags:?}: {digests:?}");
    digests.remove(0)
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_push_publishes_what_it_affects() {
    let world = World::small("push");
    world.edit("api/server.py", |text| text.replace("hello", "hello from main"));
    let event = world.push("main", "Greet from main");
    let (results, jobs) = world.run(&event, API);
    assert_eq!(results, ALL);
    assert_eq!(job(&jobs, "plan").outputs["affected"], "true");
    assert!(job(&jobs, "plan").summary.contains("api/server.py"), "{}", job(&jobs, "plan").summary);
    let sha = format!("sha-{}", &event.sha[..7]);
    assert_eq!(world.tags("api"), ["latest", "main", &sha]);
    let first = same(&world, "api", &["latest", "main", &sha]);
    let annotations = &world.manifest("api", "main")["annotations"];
    assert!(annotations["org.opencontainers.image.created"].is_string(), "{annotations}");
    assert_eq!(world.run(&event, SITE).0, NONE);
    assert_eq!(world.tags("site"), [""; 0]);
    let hits = world.hits.take();
    assert_eq!((hits[0], hits.len()), (false, 6), "a job that can't write asks the cache");
    assert!(hits[1..].iter().all(|hit| *hit), "compiled once: {hits:?}");

    world.edit("readme.md", |text| text.to_uppercase());
    let event = world.push("main", "Speak up");
    assert_eq!((world.run(&event, API).0.as_str(), world.run(&event, SITE).0.as_str()), (NONE, NONE));

    world.edit("api/server.py", |text| text.replace("from main", "from develop"));
    let event = world.push("develop", "Greet from develop");
    let cache = world.digest("api", "buildcache-linux-amd64").expect("the first publication wrote its cache");
    let (results, jobs) = world.run(&event, API);
    assert_eq!(results, ALL);
    let log = &job(&jobs, "publish").log;
    let image = format!("{}/{}:buildcache-linux-amd64", world.registry(), world.image("api"));
    assert!(log.contains(&format!("importing cache manifest from {image}")), "{log}");
    assert!(!log.contains("failed to configure registry cache importer"), "{log}");
    let written = world.digest("api", "buildcache-linux-amd64").unwrap();
    assert!(log.contains(&format!("writing cache image manifest {written}")) && written != cache, "{log}");
    assert_eq!(same(&world, "api", &["latest", "main"]), first, "develop moves no tag of main's");
    assert_ne!(same(&world, "api", &["develop", &format!("sha-{}", &event.sha[..7])]), first);

    world.edit("services.toml", |text| text.replace("[project]", "[project]\ntrust-bases = \"2d\""));
    let event = world.push("main", "Say so");
    assert_eq!((world.run(&event, API).0.as_str(), world.run(&event, SITE).0.as_str()), (ALL, NO_TESTS));
    assert!(world.digest("site", "latest").is_some());

    let event = world.push_head("topic");
    assert_eq!(world.run(&event, API).0, "not started");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_tag_a_hand_and_the_clock_publish_everything() {
    let world = World::small("all");
    let sha = format!("sha-{}", &world.head()[..7]);
    assert_eq!(world.run(&world.tag("v1.2.3"), API).0, ALL);
    assert_eq!(world.tags("api"), ["1.2", "1.2.3", &sha, "v1.2.3"], "and no `latest`");
    same(&world, "api", &["1.2", "1.2.3", "v1.2.3", &sha]);
    let no_cache = "--cache registry --no-cache --pull";
    let event = world.dispatch("manual", true);
    let manual = format!("manual-{}", event.run_number);
    let (results, jobs) = world.run(&event, SITE);
    assert_eq!(results, NO_TESTS);
    assert_eq!(world.tags("site"), [manual.as_str(), &sha]);
    let log = &job(&jobs, "publish").log;
    // A second build writes the cache, of what the first has made.
    let first = log.split(" docker buildx build ").nth(1).unwrap();
    assert!(log.contains(no_cache) && !first.contains("CACHED") && !log.contains("importing cache"), "{log}");
    assert!(job(&jobs, "build").log.contains("--test --no-cache --pull"));

    let (results, jobs) = world.run(&world.dispatch("dev", false), SITE);
    assert_eq!(results, NO_TESTS);
    assert_eq!(world.tags("site"), ["dev", &manual, &sha]);
    assert!(!job(&jobs, "publish").log.contains("--no-cache"));

    let (results, jobs) = world.run(&world.schedule(), API);
    assert_eq!(results, ALL);
    assert!(job(&jobs, "publish").log.contains(no_cache));
    same(&world, "api", &["main", "latest", &sha]);
    assert_eq!(world.left(), [""; 0]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn what_is_not_merged_is_proved_and_not_published() {
    let world = World::small("pull");
    world.edit("api/server.py", |text| text.replace("hello", "hello you"));
    let event = world.pull_request(7);
    let (results, jobs) = world.run(&event, API);
    assert_eq!(results, PROVED);
    assert!(job(&jobs, "build").log.contains("1 passed, 0 failed"), "{}", job(&jobs, "build").log);
    assert_eq!(world.run(&event, SITE).0, NONE);

    world.edit("readme.md", |text| text.to_uppercase());
    assert_eq!(world.run(&world.pull_request(8), API).0, NONE);

    world.edit("site/index.html", |text| text.replace("hello", "queued"));
    let event = world.merge_group();
    assert_eq!(world.run(&event, SITE).0, PROVED.replace("test=success", "test=skipped"));
    assert_eq!(world.run(&event, API).0, NONE);
    for service in ["api", "site"] {
        assert_eq!(world.tags(service), [""; 0]);
        assert_eq!(world.digest(service, "buildcache-linux-amd64"), None, "a pull request writes no cache");
    }
    assert_eq!(world.left(), [""; 0]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn whatever_fails_ends_in_a_red_verdict() {
    let world = World::small("red");
    world.edit("api/server.py", |text| text.replace("= \"hello\"", "= \"\""));
    let (results, jobs) = world.run(&world.push("main", "Break the test"), API);
    assert_eq!(results, "plan=success test=failure build=skipped publish=skipped verdict=failure");
    assert!(job(&jobs, "test").log.contains("0 passed, 1 failed"));

    world.edit("api/server.py", |text| text.replace("= \"\"", "= \"hello\"").replace("(200)", "(500)"));
    let (results, jobs) = world.run(&world.push("main", "Be unwell"), API);
    assert_eq!(results, "plan=success test=success build=failure publish=skipped verdict=failure");
    assert!(job(&jobs, "build").log.contains("expected 200 from /health within 3 s, got 500"));

    world.edit("Dockerfile", |text| text.replace("COPY site /", "COPY gone /"));
    let (results, _) = world.run(&world.push("main", "Copy what is not there"), SITE);
    assert_eq!(results, "plan=success test=skipped build=failure publish=skipped verdict=failure");

    let plan_failed = "plan=failure test=skipped build=skipped publish=skipped verdict=failure";
    world.edit("services.toml", |text| text.replace("health =", "wealth ="));
    let (results, jobs) = world.run(&world.push("main", "Misspell a key"), API);
    assert_eq!(results, plan_failed);
    assert!(job(&jobs, "plan").log.contains("wealth"), "{}", job(&jobs, "plan").log);
    assert_eq!(job(&jobs, "plan").outputs["affected"], "");
    assert_eq!(world.run(&world.pull_request(9), SITE).0, plan_failed);
    assert_eq!((world.tags("api"), world.tags("site")), (Vec::new(), Vec::new()));
    assert_eq!(world.left(), [""; 0]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_push_of_the_backend_tests_proves_and_publishes_it() {
    let world = World::whole("backend");
    world.edit("apps/backend/src/infinite_scribe/health.py", |text| format!("{text}\n\n# Rehearsed.\n"));
    let event = world.push("main", "Rehearse the backend");
    let (results, jobs) = world.run(&event, "backend-docker-build");
    assert_eq!(results, ALL);
    assert!(job(&jobs, "build").log.contains("11 passed, 0 failed"), "every role");
    let sha = format!("sha-{}", &event.sha[..7]);
    assert_eq!(world.tags("backend"), ["latest", "main", &sha]);
    same(&world, "backend", &["latest", "main", &sha]);
    assert_eq!(world.run(&event, "frontend-docker-build").0, NONE);
    assert_eq!(world.left(), [""; 0]);
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images"]
fn a_push_of_the_front_end_and_of_the_repositorys_own_tests() {
    let world = World::whole("web");
    world.edit("apps/frontend/src/main.tsx", |text| format!("{text}\n// Rehearsed.\n"));
    let event = world.push("main", "Rehearse the front end");
    assert_eq!(world.run(&event, "frontend-docker-build").0, ALL);
    let sha = format!("sha-{}", &event.sha[..7]);
    assert_eq!(world.tags("web"), ["latest", "main", &sha]);
    assert_eq!(world.run(&event, "backend-docker-build").0, NONE);

    let (results, jobs) = world.run(&event, "ci");
    assert_eq!(results, "check=success msrv=success test=success verdict=success");
    for line in ["--test rehearsal", "passed, 0 failed"] {
        assert!(job(&jobs, "test").log.contains(line), "no {line:?} in {}", job(&jobs, "test").log);
    }
    world.edit(".github/workflows/backend-docker-build.yml", |text| text.replace("v*", "x*"));
    let event = world.push("main", "Write where one should not");
    assert_eq!(world.run(&event, "ci").0, "check=failure msrv=skipped test=skipped verdict=failure");
    assert_eq!(world.left(), [""; 0]);
}
