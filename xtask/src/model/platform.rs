//! `linux/amd64`, as OCI and BuildKit write it.

use std::fmt;
use std::str::FromStr;

/// A platform that an image can be built for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform(String);

/// What BuildKit and QEMU know, with the name of QEMU's emulator.
const KNOWN: [(&str, &str); 8] = [
    ("linux/amd64", "x86_64"),
    ("linux/arm64", "aarch64"),
    ("linux/arm/v7", "arm"),
    ("linux/arm/v6", "arm"),
    ("linux/386", "i386"),
    ("linux/ppc64le", "ppc64le"),
    ("linux/s390x", "s390x"),
    ("linux/riscv64", "riscv64"),
];

impl Platform {
    /// QEMU's name for the architecture, as in `qemu-aarch64`.
    pub fn emulator(&self) -> &'static str {
        KNOWN.iter().find(|(name, _)| *name == self.0).map_or("unknown", |(_, qemu)| qemu)
    }

    /// The name: `linux/arm/v7`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one file name: `linux-arm-v7`.
    pub fn slug(&self) -> String {
        self.0.replace('/', "-")
    }

    /// What this program runs on, with Linux containers everywhere.
    pub fn of_this_machine() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "arm" => "arm/v7",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self(format!("linux/{arch}"))
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // BuildKit's own normal form has no v8.
        let name = text.strip_suffix("/v8").filter(|name| *name == "linux/arm64").unwrap_or(text);
        if KNOWN.iter().any(|(known, _)| *known == name) {
            return Ok(Self(name.to_owned()));
        }
        Err(format!("`{text}` is not a platform; one of: {}", KNOWN.map(|(known, _)| known).join(", ")))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_in_their_normal_form() {
        assert_eq!("linux/arm64/v8".parse::<Platform>().unwrap().to_string(), "linux/arm64");
        assert_eq!("linux/arm/v7".parse::<Platform>().unwrap().slug(), "linux-arm-v7");
        let error = "arm64".parse::<Platform>().unwrap_err();
        assert!(error.contains("linux/arm64"), "{error}");
    }
}
