//! Property tests that end by count, so that a slow machine tries as much as a
//! fast one.

use std::hash::{BuildHasher as _, RandomState};

use arbtest::arbitrary::{Result, Unstructured};

/// Tries a property on `count` random inputs, different ones in each run. A
/// failure prints its seed. An input that is too short for the property does not
/// count.
#[track_caller]
pub fn cases(count: u64, mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let (random, mut tried, mut fit) = (RandomState::new(), 0, 0);
    while fit < count {
        let size = 32 + (tried * 61) % 2000;
        let seed = (random.hash_one(tried) << 32) | size;
        arbtest::arbtest(|u| {
            fit += u64::from(property(u).is_ok());
            Ok(())
        })
        .seed(seed)
        .run();
        tried += 1;
        assert!(tried < 100 + 10 * count, "only {fit} of {tried} inputs were long enough");
    }
}
