//! Property tests that end by count: how much a slow machine tries is no less.

use std::hash::{BuildHasher as _, RandomState};

use arbtest::arbitrary::{Result, Unstructured};

/// Tries a property on so many random inputs, each other in every run; the seed
/// of a failure is printed.
#[track_caller]
pub fn cases(count: u64, mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let random = RandomState::new();
    for case in 0..count {
        let seed = (random.hash_one(case) << 32) | (64 + (case * 61) % 960);
        arbtest::arbtest(&mut property).seed(seed).run();
    }
}
