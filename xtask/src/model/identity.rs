//! The words that say whose something on an engine is: a checkout's, and a
//! run's. What can't be told of a run is never taken for its end.

use std::fmt;
use std::str::FromStr;

use hmac_sha256::Hash;

/// Letters that no hexadecimal number has: nobody takes the word for a commit.
const LETTERS: &[u8; 16] = b"zyxwvutsrqponmlk";

/// Twelve letters for a checkout, from what tells it from any other.
pub fn checkout(parts: &[&str]) -> String {
    let mut hash = Hash::new();
    for part in parts {
        hash.update(part.len().to_string());
        hash.update("\n");
        hash.update(part);
    }
    let nibbles = hash.finalize().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.take(12).map(|nibble| char::from(LETTERS[usize::from(nibble)])).collect()
}

/// Whether a word is a checkout's.
pub fn is_checkout(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|byte| LETTERS.contains(&byte))
}

/// One process of ours, wherever it runs: `BOOT-NAMESPACE-PID-START`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId {
    /// `BOOT-NAMESPACE`: where its number means something.
    pub space: String,
    /// Its number there.
    pub pid: u32,
    /// When it began, in ticks of that boot.
    pub start: u64,
}

/// What is known of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Its process is there.
    Lives,
    /// Its process is gone.
    Ended,
    /// It is of another machine or another namespace.
    Unknown,
}

impl RunId {
    /// What is known of the run in `space`, where `started` tells when the
    /// process of a number began.
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
        // Only what we write ourselves: no `+1`, no `007`.
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
    fn a_checkout_is_twelve_letters_and_its_parts_do_not_run_together() {
        let word = checkout(&["1", "23"]);
        assert!(is_checkout(&word), "{word}");
        assert_ne!(word, checkout(&["12", "3"]));
        for wrong in ["", "zyxwvutsrqpo1", "zyxwvutsrqp", "abcdefabcdef"] {
            assert!(!is_checkout(wrong), "{wrong}");
        }
    }
}
