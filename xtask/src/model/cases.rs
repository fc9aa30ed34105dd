//! Property tests that end by count: how much a slow machine tries is no less.

use std::hash::{BuildHasher as _, RandomState};

use arbtest::arbitrary::{Result, Unstructured};

/// Tries a property on so many random inputs, each other in every run; the seed
/// of a failure is printed. An input that is too short for the property is none.
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
