//! Ages: `30m`, `12h`, `7d` on a command line and in services.toml.

use std::str::FromStr;
use std::time::Duration;

/// How long ago something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a number and a unit: 30m, 12h, 7d".to_owned();
        let unit = text.chars().last().ok_or_else(wrong)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
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
}
