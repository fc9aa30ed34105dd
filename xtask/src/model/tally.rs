//! How many tests passed and failed, read off the closing lines of the runners
//! that we call: libtest, pytest, Vitest.

/// Passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u64,
    /// Failed, errors included.
    pub failed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The sum of all closing lines; `None` when there is none: a run that does not
/// say what it did has not done it.
pub fn tally(output: &str) -> Option<Tally> {
    let mut sum: Option<Tally> = None;
    for line in output.lines().map(plain) {
        let line = line.trim();
        if is_closing(line) {
            let tally = Tally {
                passed: before(line, "passed"),
                failed: before(line, "failed") + before(line, "error") + before(line, "errors"),
            };
            *sum.get_or_insert_default() += tally;
        }
    }
    sum
}

/// A line without the escape sequences that colour it.
fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

fn is_closing(line: &str) -> bool {
    let libtest = line.starts_with("test result: ");
    let vitest = line.starts_with("Tests ");
    let pytest = line.trim_matches(['=', ' ']).ends_with('s') && line.contains(" in ") && {
        line.contains(" passed") || line.contains(" failed") || line.contains(" error")
    };
    libtest || vitest || pytest
}

/// The number in front of a word.
fn before(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.windows(2).filter(|pair| pair[1] == word).filter_map(|pair| pair[0].parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_each_runner_count() {
        for (output, expected) in [
            (
                "test result: ok. 22 passed; 0 failed; 3 ignored; 0 measured\n\ntest result: FAILED. 1 passed; 2 failed; 0 ignored",
                Some((23, 2)),
            ),
            ("======== 31 passed, 1 warning in 5.12s ========", Some((31, 0))),
            ("1 failed, 30 passed, 2 errors in 5.12s", Some((30, 3))),
            (" Test Files  3 passed (3)\n      Tests  1 failed | 11 passed (12)\n", Some((11, 1))),
            (
                "\x1b[2m      Tests \x1b[22m \x1b[1m\x1b[32m46 passed\x1b[39m\x1b[22m\x1b[90m (46)\x1b[39m",
                Some((46, 0)),
            ),
            ("compiled 30 files in 2s", None),
            ("", None),
        ] {
            let expected = expected.map(|(passed, failed)| Tally { passed, failed });
            assert_eq!(tally(output), expected, "{output}");
        }
    }
}
