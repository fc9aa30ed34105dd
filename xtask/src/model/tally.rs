//! Counts passed and failed tests: for libtest from the lines between its runs,
//! for a runner without a report from its closing lines. JUnit XML is counted by
//! [`super::junit`].

/// The number of passed and failed tests.
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

/// The state of a libtest program.
#[derive(Clone, Copy)]
enum LibtestState {
    /// None is running.
    No,
    /// It runs so many tests.
    Of(u64),
    /// The same, and it prints the output of failed tests. That may be any text,
    /// even lines that look like its own.
    Failures(u64),
}

/// The sum of all libtest programs of a `cargo test`. A program that started and
/// never reported a result was aborted, and counts as one failure. `None` if
/// there was no program: a run without a report proves nothing.
pub fn libtest(output: &str) -> Option<Tally> {
    let mut sum = None;
    let mut run = LibtestState::No;
    for line in output.lines() {
        run = match (run, began(line), ended(line)) {
            (LibtestState::Of(tests), _, Some((_, tally, all))) if all == tests => {
                *sum.get_or_insert_default() += tally;
                LibtestState::No
            }
            (LibtestState::Failures(tests), _, Some((false, tally, all))) if all == tests => {
                *sum.get_or_insert_default() += tally;
                LibtestState::No
            }
            (LibtestState::Of(tests), ..) if line == "failures:" => LibtestState::Failures(tests),
            (LibtestState::Of(_), Some(tests), _) => {
                *sum.get_or_insert_default() += Tally { passed: 0, failed: 1 };
                LibtestState::Of(tests)
            }
            (LibtestState::No, Some(tests), _) => LibtestState::Of(tests),
            _ => run,
        };
    }
    if !matches!(run, LibtestState::No) {
        *sum.get_or_insert_default() += Tally { passed: 0, failed: 1 };
    }
    sum
}

/// `running N tests`.
fn began(line: &str) -> Option<u64> {
    let (count, what) = line.strip_prefix("running ")?.split_once(' ')?;
    ["test", "tests"].contains(&what).then(|| count.parse().ok())?
}

/// `test result: ok. N passed; …`: whether all passed, the counts, and the number
/// of tests.
fn ended(line: &str) -> Option<(bool, Tally, u64)> {
    let (verdict, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let of = |word| counts.split("; ").find_map(|count| count.strip_suffix(word)?.parse::<u64>().ok());
    let tally = Tally { passed: of(" passed")?, failed: of(" failed")? };
    let all = tally.passed + tally.failed + of(" ignored")? + of(" measured")?;
    Some((verdict == "ok", tally, all))
}

/// The sum of all closing lines of libtest, pytest and Vitest; `None` if there is
/// none.
pub fn closing(output: &str) -> Option<Tally> {
    let text: Vec<String> = output.lines().map(plain).collect();
    let mut sum = libtest(&text.join("\n"));
    for tally in text.iter().filter_map(|line| pytest(line).or_else(|| vitest(line))) {
        *sum.get_or_insert_default() += tally;
    }
    sum
}

/// A line without its colour codes.
fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// `== 1 failed, 80 passed, 2 warnings in 74.03s (0:01:14) ==`, with or without
/// the `==`.
fn pytest(line: &str) -> Option<Tally> {
    let (counts, time) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
    let seconds = time.split_once(" (").map_or(time, |(seconds, _)| seconds).strip_suffix('s')?;
    seconds.parse::<f64>().ok()?;
    count(counts.split(", "), |what| match what {
        "passed" | "xpassed" => Some(true),
        "failed" | "error" | "errors" => Some(false),
        _ => None,
    })
}

/// `Tests  1 failed | 11 passed | 1 expected fail (13)`.
fn vitest(line: &str) -> Option<Tally> {
    let counts = line.trim().strip_prefix("Tests ")?.trim().strip_suffix(')')?.rsplit_once(" (")?.0;
    count(counts.split(" | "), |what| match what {
        "passed" | "expected fail" => Some(true),
        "failed" => Some(false),
        _ => None,
    })
}

/// The sum of `NUMBER WORDS` items; `None` if one has another form.
fn count<'a>(counts: impl Iterator<Item = &'a str>, passed: impl Fn(&str) -> Option<bool>) -> Option<Tally> {
    let mut sum = Tally::default();
    for item in counts {
        let (number, what) = item.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match passed(what) {
            Some(true) => sum.passed += number,
            Some(false) => sum.failed += number,
            None => {}
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::junit;

    fn of(passed: u64, failed: u64) -> Option<Tally> {
        Some(Tally { passed, failed })
    }

    /// Real output of the runners.
    macro_rules! real {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/counts/", $name))
        };
    }

    #[test]
    fn the_reports_that_pytest_and_vitest_write_are_counted() {
        for (report, passed, failed) in [
            (real!("pytest-good.xml"), 3, 0),
            (real!("pytest-slow.xml"), 2, 0),
            // Names such as `</testcase><failure/>`; a test that fails and whose
            // teardown fails counts twice.
            (real!("pytest-odd.xml"), 12, 6),
            (real!("pytest-import.xml"), 0, 1),
            (real!("pytest-none.xml"), 0, 0),
            (real!("pytest-sub.xml"), 0, 1),
            (real!("vitest-good.xml"), 3, 0),
            (real!("vitest-odd.xml"), 8, 1),
            (real!("vitest-import.xml"), 0, 1),
            (real!("vitest-none.xml"), 0, 1),
            // Vitest reports this only by its exit code.
            (real!("vitest-stray.xml"), 1, 0),
            (real!("vitest-all.xml"), 11, 2),
        ] {
            assert_eq!(junit::count(report).ok(), of(passed, failed), "{report}");
        }
    }

    #[test]
    fn cargo_test_is_counted_by_its_programs() {
        for (output, expected) in [
            (real!("cargo-good.txt"), of(3, 0)),
            // A failed test printed lines that look like libtest's, and the
            // remaining tests did not run.
            (real!("cargo-all.txt"), of(3, 1)),
            // One program was aborted.
            (real!("cargo-all-no-fail-fast.txt"), of(6, 2)),
            (real!("cargo-abort.txt"), of(0, 1)),
            (real!("cargo-broken.txt"), None),
            (real!("cargo-nothing.txt"), of(0, 0)),
            ("", None),
            ("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s", None),
            ("running 5 tests\ntest result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", of(0, 1)),
            ("running 1 test\nrunning 2 tests\ntest result: ok. 1 passed; 0 failed; 1 ignored; 0 measured", of(1, 1)),
            (
                "running 2 tests\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 1 measured; 9 filtered out",
                of(0, 1),
            ),
            ("running 4 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored; 1 measured; 9 filtered out", of(2, 0)),
            // What a failed test printed is no result.
            ("running 2 tests\nfailures:\ntest result: FAILED. 4 passed; 3 failed; 0 ignored; 0 measured", of(0, 1)),
        ] {
            assert_eq!(libtest(output), expected, "{output}");
        }
    }

    #[test]
    fn the_closing_lines_of_each_runner_count_where_there_is_no_report() {
        for (output, expected) in [
            (real!("pytest-slow.txt"), of(2, 0)),
            (real!("pytest-odd.txt"), of(13, 6)),
            (real!("pytest-quiet.txt"), of(16, 6)),
            (real!("pytest-import.txt"), of(0, 1)),
            (real!("pytest-none.txt"), of(0, 0)),
            (real!("vitest-stray.txt"), of(1, 0)),
            (real!("vitest-import.txt"), None),
            (real!("cargo-good.txt"), of(3, 0)),
            ("======== 31 passed, 1 warning in 5.12s ========", of(31, 0)),
            ("4 failed, 80 passed in 74.03s (0:01:14)", of(80, 4)),
            ("==== 2 failed, 1 passed, 1 rerun in 90061.00s (1 day, 1:01:01) ====", of(1, 2)),
            ("1 failed, 30 passed, 2 errors in 5.12s", of(30, 3)),
            ("no tests ran in 0.01s", None),
            (" Test Files  3 passed (3)\n      Tests  1 failed | 11 passed (12)\n", of(11, 1)),
            ("compiled 30 files in 2s", None),
            ("5 passed in time", None),
            ("it passed in 2s", None),
            ("", None),
        ] {
            assert_eq!(closing(output), expected, "{output}");
        }
    }
}
