//! Ages: `30m`, `12h`, `7d` on a command line and in services.toml.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::diagnostic::Diagnostic;

/// How long ago something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl Age {
    /// The time since `then`; both are seconds since 1970. A timestamp in the
    /// future means that the clock was set back, so the age is unknown.
    pub fn of(then: u64, now: u64) -> Option<Self> {
        now.checked_sub(then).map(Duration::from_secs).map(Self)
    }
}

/// In the largest unit that fits, rounded down.
impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, size) = UNITS.into_iter().rev().find(|(_, size)| seconds >= *size).unwrap_or(UNITS[0]);
        write!(f, "{}{unit}", seconds / size)
    }
}

const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

impl FromStr for Age {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        let wrong = || Diagnostic::new("expected a number and a unit: 30m, 12h, 7d");
        let unit = text.chars().last().ok_or_else(wrong)?;
        let (_, factor) = UNITS.into_iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?;
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        number.checked_mul(factor).map(Duration::from_secs).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_number_and_a_unit() {
        assert_eq!("7d".parse(), Ok(Age(Duration::from_secs(604_800))));
        for text in ["7", "", "d", "ü", "99999999999999999999d", "-1d"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_age_is_told_in_the_largest_unit_that_it_fills() {
        for (then, now, expected) in [
            (7, 7, Some("0s")),
            (0, 59, Some("59s")),
            (0, 60, Some("1m")),
            (100, 3699, Some("59m")),
            (100, 3700, Some("1h")),
            (0, 86_399, Some("23h")),
            (0, 604_800, Some("7d")),
            (8, 7, None),
        ] {
            assert_eq!(Age::of(then, now).map(|age| age.to_string()).as_deref(), expected, "{then} {now}");
        }
    }
}
