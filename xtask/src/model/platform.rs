//! `linux/amd64`, as OCI and BuildKit write it.

use std::fmt;
use std::str::FromStr;

use crate::model::diagnostic::Diagnostic;

/// A platform that an image can be built for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform(String);

/// The platforms that BuildKit and QEMU know, with the name of QEMU's emulator.
const KNOWN: [(&str, &str); 11] = [
    ("linux/amd64", "x86_64"),
    ("linux/amd64/v2", "x86_64"),
    ("linux/amd64/v3", "x86_64"),
    ("linux/amd64/v4", "x86_64"),
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

    /// The name in a form that fits into a file name: `linux-arm-v7`.
    pub fn slug(&self) -> String {
        self.0.replace('/', "-")
    }

    /// The platform of this program; containers are Linux everywhere.
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

impl Platform {
    /// Those of these that this machine takes an emulator for, one per emulator;
    /// where there is none, the platform that most people have beside theirs.
    pub fn foreign<'a>(platforms: impl IntoIterator<Item = &'a Self>) -> Vec<Self> {
        Self::beside(&Self::of_this_machine(), platforms)
    }

    fn beside<'a>(own: &Self, platforms: impl IntoIterator<Item = &'a Self>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        // What is of this machine's kind is run by itself.
        let kin = |one: &Self, other: &Self| {
            one.emulator() == other.emulator() || (one.emulator(), other.emulator()) == ("x86_64", "i386")
        };
        for platform in platforms {
            if !kin(own, platform) && found.iter().all(|known| known.emulator() != platform.emulator()) {
                found.push(platform.clone());
            }
        }
        if found.is_empty() {
            found.push(Self(if own.as_str() == "linux/arm64" { "linux/amd64" } else { "linux/arm64" }.to_owned()));
        }
        found
    }
}

impl FromStr for Platform {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        // BuildKit's normal form leaves out the lowest variants.
        let name = match text {
            "linux/amd64/v1" => "linux/amd64",
            "linux/arm64/v8" => "linux/arm64",
            "linux/arm" => "linux/arm/v7",
            other => other,
        };
        if KNOWN.iter().any(|(known, _)| *known == name) {
            return Ok(Self(name.to_owned()));
        }
        Err(format!("`{text}` is not a platform; one of: {}", KNOWN.map(|(known, _)| known).join(", ")).into())
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
    fn an_emulator_is_for_what_is_not_of_this_machines_kind() {
        for (own, platforms, expected) in [
            ("linux/amd64", "linux/amd64 linux/arm64", "linux/arm64"),
            (
                "linux/amd64",
                "linux/arm64 linux/amd64/v3 linux/386 linux/arm/v7 linux/arm/v6",
                "linux/arm64 linux/arm/v7",
            ),
            ("linux/amd64", "linux/amd64", "linux/arm64"),
            ("linux/arm64", "linux/amd64 linux/arm64", "linux/amd64"),
            ("linux/arm64", "linux/386", "linux/386"),
            ("linux/arm64", "", "linux/amd64"),
            ("linux/riscv64", "", "linux/arm64"),
        ] {
            let platforms: Vec<Platform> = platforms.split_whitespace().map(|name| name.parse().unwrap()).collect();
            let found: Vec<String> =
                Platform::beside(&own.parse().unwrap(), &platforms).iter().map(Platform::to_string).collect();
            assert_eq!(found.join(" "), expected, "{own}: {platforms:?}");
        }
    }
    #[test]
    fn platforms_are_read_in_their_normal_form() {
        assert_eq!("linux/arm64/v8".parse::<Platform>().unwrap().to_string(), "linux/arm64");
        assert_eq!("linux/arm/v7".parse::<Platform>().unwrap().slug(), "linux-arm-v7");
        assert_eq!("linux/arm".parse::<Platform>().unwrap().to_string(), "linux/arm/v7");
        assert_eq!("linux/amd64/v1".parse::<Platform>().unwrap().to_string(), "linux/amd64");
        assert_eq!("linux/amd64/v3".parse::<Platform>().unwrap().slug(), "linux-amd64-v3");
        let error = "arm64".parse::<Platform>().unwrap_err();
        assert!(error.message.contains("linux/arm64"), "{error}");
    }

    #[test]
    fn a_platform_has_one_name_and_its_emulators() {
        for (name, emulator) in [("linux/amd64", "x86_64"), ("linux/arm64", "aarch64"), ("linux/arm/v7", "arm")] {
            let platform: Platform = name.parse().unwrap();
            assert_eq!((platform.as_str(), platform.emulator()), (name, emulator));
        }
    }
}
