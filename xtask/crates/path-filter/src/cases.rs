//! Property tests that end by count, so that a slow machine tries as much as a
//! fast one. `docker-context` has a copy: each leaf crate can be published alone, with its
//! tests, and so depends on nothing of this repository.

use std::hash::{BuildHasher as _, RandomState};

use arbtest::arbitrary::{Result, Unstructured};

/// Tries a property on `count` random inputs, different ones in each run. A
/// failure prints its seed.
#[track_caller]
pub fn cases(count: u64, mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let random = RandomState::new();
    for case in 0..count {
        let seed = (random.hash_one(case) << 32) | (64 + (case * 61) % 960);
        arbtest::arbtest(&mut property).seed(seed).run();
    }
}
