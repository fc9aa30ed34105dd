//! The invariant beside the truth: random repositories, random Dockerfiles,
//! random changes; after each, what `docker app` and `ci plan` say is compared
//! with a raw `docker buildx build` of the same tree.
//!
//! Wrong is: an image called up to date that a build would make otherwise, a
//! change called without effect that has one, two different fingerprints of
//! one tree, a tree that builds and is refused.
//!
//! `cargo xtask test fuzz --seconds N --seed S` runs it for as long as one
//! likes; without that it ends after a fixed number of cases. Each case has a
//! seed of its own, which is printed when it goes wrong: `--seed` with that
//! number runs that case first.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod dockerfile;
mod git_moves;
mod moves;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::common::Dice;
use self::world::World;

/// Each costs about two seconds.
const CASES: u64 = 40;
/// Changes within a case.
const STEPS: usize = 3;

/// What was counted of one kind of change.
#[derive(Default)]
struct Count {
    steps: usize,
    reused: usize,
    unaffected: usize,
    failed: usize,
    wrong: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

#[test]
#[ignore = "needs a Docker Engine: cargo xtask test images, or cargo xtask test fuzz"]
fn what_is_said_of_a_change_is_what_a_build_shows() {
    let seed = number("XTASK_FUZZ_SEED").unwrap_or(1);
    let seconds = number("XTASK_FUZZ_SECONDS").map(Duration::from_secs);
    println!("seed {seed}");
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let counts: Mutex<BTreeMap<&str, Count>> = Mutex::default();
    let goes_on = |at: u64| seconds.map_or(at < CASES, |seconds| started.elapsed() < seconds);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(at) {
                        return;
                    }
                    case(seed.wrapping_add(at), &counts);
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    let sum = |of: fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
    for (kind, count) in &counts {
        let Count { steps, reused, unaffected, failed, wrong } = count;
        println!(
            "{kind:<44} {steps:>5} steps {reused:>5} up to date {unaffected:>5} unaffected {failed:>4} do not build {:>3} wrong",
            wrong.len()
        );
    }
    let (steps, reused, unaffected) = (sum(|c| c.steps), sum(|c| c.reused), sum(|c| c.unaffected));
    let wrong: Vec<&String> = counts.values().flat_map(|count| &count.wrong).collect();
    println!("{steps} steps, {reused} up to date, {unaffected} unaffected, {} wrong", wrong.len());
    let all = wrong.iter().map(|text| text.as_str()).collect::<Vec<_>>().join("\n\n");
    assert!(wrong.is_empty(), "{all}");
    assert!(seconds.is_some() || (reused > 5 && reused < steps), "too much or too little is reused: it proves little");
}

/// One repository and what happens to it.
fn case(seed: u64, counts: &Mutex<BTreeMap<&'static str, Count>>) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed, &mut dice);
    world.look(); // the first build, which all that follows is compared with
    let mut story = vec![world.told()];
    for _ in 0..STEPS {
        let mut kind = moves::change(&mut world, &mut dice);
        story.push(kind.to_owned());
        if dice.once_in(3) {
            kind = moves::change(&mut world, &mut dice);
            story.push(kind.to_owned());
        }
        let seen = world.look();
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(kind).or_default();
        count.steps += 1;
        count.reused += usize::from(seen.reused);
        count.unaffected += usize::from(seen.unaffected);
        count.failed += usize::from(seen.failed);
        let wrong = seen.wrong.iter().map(|what| format!("seed {seed}, {}: {what}", story.join(" → ")));
        count.wrong.extend(wrong.inspect(|what| println!("WRONG {what}\n")));
        if !seen.wrong.is_empty() {
            return; // what follows would only say it again
        }
        drop(counts);
        if seen.failed {
            world.simplify();
            story.push("(another Dockerfile)".into());
        }
    }
}
