//! The programs beside docker that publishing needs, and which versions of them
//! will do.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The name of the program.
    pub name: &'static str,
    /// The stage of the Dockerfile that has it, and nothing else, at its root.
    pub stage: &'static str,
    /// What follows its name to ask for its version.
    pub version: &'static [&'static str],
    /// The oldest version that will do.
    pub oldest: [u32; 3],
}

/// Signs and verifies. 3.0.4 closed GHSA-whqx-f9j3-ch6m; an older one does not see
/// the signatures that a newer one makes.
pub const COSIGN: Tool = Tool { name: "cosign", stage: "tools-cosign", version: &["version"], oldest: [3, 0, 4] };

impl Tool {
    /// The version that it says, if that one will do. A newer major version may
    /// have other options, and a build of an unknown version may be any.
    pub fn accepts(&self, said: &str) -> Option<String> {
        let (version, numbers) = said.split_whitespace().find_map(numbered)?;
        let [major, ..] = self.oldest;
        (numbers[0] == major && numbers >= self.oldest).then(|| version.to_owned())
    }

    /// What will do, for people.
    pub fn wanted(&self) -> String {
        let [major, minor, patch] = self.oldest;
        format!("{} {major}.{minor}.{patch} or a newer {major}.x", self.name)
    }
}

/// A word like `v3.1.1` or `1.3.3+Debian`. A release candidate is no release.
fn numbered(word: &str) -> Option<(&str, [u32; 3])> {
    let version = word.strip_prefix('v').unwrap_or(word);
    let release = version.split_once('+').map_or(version, |(release, _)| release);
    let mut parts = release.split('.').map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some((version, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_will_do_that_is_known_new_enough_and_of_the_same_major() {
        for (said, version) in [
            ("GitVersion:    v3.0.4\nGoVersion: go1.25.1", Some("3.0.4")),
            ("GitVersion:    v3.1.1\n", Some("3.1.1")),
            ("3.10.0+Debian", Some("3.10.0+Debian")),
            ("v3.0.3", None),
            ("v2.6.2", None),
            ("v4.0.0", None),
            ("v3.1.0-rc.1", None),
            ("v3.1", None),
            ("v3.1.1.1", None),
            ("GitVersion: devel\nGoVersion: go1.27.3", None),
            ("", None),
        ] {
            assert_eq!(COSIGN.accepts(said).as_deref(), version, "{said:?}");
        }
        assert_eq!(COSIGN.wanted(), "cosign 3.0.4 or a newer 3.x");
    }
}
