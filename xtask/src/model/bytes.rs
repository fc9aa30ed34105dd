//! Sizes: `160 MB` in services.toml and on the screen. Units are decimal, as in
//! `docker images`, and binary if they are written as `MiB`.

use std::fmt;
use std::str::FromStr;

use crate::model::diagnostic::Diagnostic;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        let wrong =
            || Diagnostic::new(format!("`{text}` is not a size; write it as `160 MB` (B, kB, MB, GB, KiB, MiB, GiB)"));
        let (number, factor) =
            UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).ok_or_else(wrong)?;
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let bytes = number * factor as f64;
        // 2^53: above it, a float can't represent every integer.
        if bytes.is_finite() && (0.0..9.0e15).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
        match decimal.iter().find(|(_, factor)| self.0 >= *factor) {
            Some((unit, factor)) => write!(f, "{:.1} {unit}", self.0 as f64 / *factor as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes) in [("160 MB", 160_000_000), ("1.5GiB", 1_610_612_736), ("0 B", 0), ("12kB", 12_000)] {
            assert_eq!(text.parse::<Bytes>().unwrap().0, bytes, "{text}");
        }
        assert_eq!(Bytes(154_100_000).to_string(), "154.1 MB");
        assert_eq!(Bytes(999).to_string(), "999 B");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "12", "MB", "-1 MB", "nan MB", "inf GB", "1e300 GB", "12 mb"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
