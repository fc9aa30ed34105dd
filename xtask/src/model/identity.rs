//! The ids of a checkout and of a run, which mark whom an object on an engine
//! belongs to. A run whose state is unknown never counts as ended.

use std::fmt;
use std::str::FromStr;

use hmac_sha256::Hash;

/// Letters that are not hexadecimal digits, so that nobody mistakes the id for a
/// commit.
const LETTERS: &[u8; 16] = b"zyxwvutsrqponmlk";

/// The id of a checkout: twelve letters, hashed from what distinguishes it from
/// others.
pub fn checkout(parts: &[&str]) -> String {
    let nibbles = hash(parts).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.take(12).map(|nibble| char::from(LETTERS[usize::from(nibble)])).collect()
}

/// A number that names something by its parts: the start of their SHA-256.
pub fn short_hash(parts: &[impl AsRef<[u8]>]) -> u64 {
    hash(parts)[..8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Each part with its length before it, so that parts never run together.
fn hash(parts: &[impl AsRef<[u8]>]) -> [u8; 32] {
    let mut hash = Hash::new();
    for part in parts.iter().map(AsRef::as_ref) {
        hash.update(part.len().to_string());
        hash.update("\n");
        hash.update(part);
    }
    hash.finalize()
}

/// Whether a text is the id of a checkout.
pub fn is_checkout(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|byte| LETTERS.contains(&byte))
}

/// One of our processes, on any machine: `BOOT-NAMESPACE-PID-START`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId {
    /// `BOOT-NAMESPACE`, within which the process id is valid.
    pub space: String,
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
}

/// Whether a run is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The process exists.
    Lives,
    /// The process is gone.
    Ended,
    /// It belongs to another machine or namespace.
    Unknown,
}

impl RunId {
    /// Whether this run is alive, seen from `space`. `started` tells when the
    /// process of an id started.
    pub fn life(&self, space: &str, started: impl Fn(u32) -> Option<u64>) -> Liveness {
        if self.space != space || space.ends_with("-0") {
            return Liveness::Unknown;
        }
        if started(self.pid) == Some(self.start) { Liveness::Lives } else { Liveness::Ended }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.space, self.pid, self.start)
    }
}

impl FromStr for RunId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('-').collect();
        let [boot, namespace, pid, start] = parts[..] else { return Err(()) };
        let run = Self {
            space: format!("{boot}-{namespace}"),
            pid: pid.parse().map_err(drop)?,
            start: start.parse().map_err(drop)?,
        };
        // Only the form that we write: no `+1`, no `007`.
        let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric());
        if plain(boot) && plain(namespace) && run.to_string() == text { Ok(run) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_the_same_namespace_is_ever_taken_for_ended() {
        let started = |pid| (pid == 7).then_some(100);
        for (run, space, expected) in [
            ("boot-a-7-100", "boot-a", Liveness::Lives),
            ("boot-a-7-99", "boot-a", Liveness::Ended),
            ("boot-a-8-100", "boot-a", Liveness::Ended),
            ("boot-b-8-100", "boot-a", Liveness::Unknown),
            ("other-a-8-100", "boot-a", Liveness::Unknown),
            ("boot-0-8-100", "boot-0", Liveness::Unknown),
        ] {
            assert_eq!(run.parse::<RunId>().unwrap().life(space, started), expected, "{run} in {space}");
        }
    }

    #[test]
    fn a_run_is_what_we_write_and_nothing_else() {
        assert_eq!("b00t-f0-7-100".parse::<RunId>().unwrap().to_string(), "b00t-f0-7-100");
        for wrong in
            ["", "up", "test", "a-b-c", "a-b-7-c", "a-b-7-100-1", "a-b-+7-100", "a-b-07-100", "-b-7-1", "a-b/c-7-1"]
        {
            assert_eq!(wrong.parse::<RunId>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_short_hash_is_the_start_of_a_sha_256_of_parts_that_stay_apart() {
        // printf '3\nabc1\nd' | sha256sum
        assert_eq!(format!("{:016x}", short_hash(&["abc", "d"])), "3037bceb59465170");
        assert_ne!(short_hash(&["ab", "cd"]), short_hash(&["abc", "d"]));
    }

    #[test]
    fn a_checkout_is_twelve_letters_and_its_parts_do_not_run_together() {
        let word = checkout(&["1", "23"]);
        assert!(is_checkout(&word), "{word}");
        assert_ne!(word, checkout(&["12", "3"]));
        for wrong in ["", "zyxwvutsrqpo1", "zyxwvutsrqp", "abcdefabcdef"] {
            assert!(!is_checkout(wrong), "{wrong}");
        }
    }
}
