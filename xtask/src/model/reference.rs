//! Image references, by the grammar of the OCI distribution specification. A
//! wrong name is refused here, before a long build ends in a 400 response of the
//! registry.

use std::fmt;
use std::str::FromStr;

use crate::model::diagnostic::Diagnostic;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Diagnostic;
            fn from_str(text: &str) -> Result<Self, Diagnostic> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// A tag: up to 128 letters, digits, `_`, `.` and `-`, not starting with
    /// `.` or `-`.
    Tag,
    check_tag
);
text_newtype!(
    /// A repository name without a registry: `owner/name`.
    Name,
    check_name
);
text_newtype!(
    /// `HOST[:PORT][/PATH]`.
    Registry,
    check_registry
);
text_newtype!(
    /// A whole reference with a tag: `ghcr.io/owner/name:tag`.
    Reference,
    check_reference
);

text_newtype!(
    /// Any text that Docker accepts as an image:
    /// `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`, or an image id.
    Image,
    check_image
);

impl Reference {
    /// All before the tag.
    pub fn repository(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(repository, _)| repository)
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        self.0.rsplit_once(':').map_or("", |(_, tag)| tag)
    }
}

impl Tag {
    /// The tag of a build without `--tag`.
    pub fn local() -> Self {
        Self("local".to_owned())
    }
}

impl Default for Tag {
    fn default() -> Self {
        Self::local()
    }
}

impl Image {
    /// Without its tag and its digest.
    pub fn repository(&self) -> &str {
        let name = self.0.split_once('@').map_or(self.0.as_str(), |(name, _)| name);
        name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(repository, _)| repository)
    }

    /// The digest, if it names one.
    pub fn digest(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, digest)| digest)
    }

    /// The parts between slashes, none of them empty, `.` or `..`.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

fn check_tag(text: &str) -> Result<(), Diagnostic> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(word) && text.len() <= 128 && text.chars().all(|c| word(c) || c == '.' || c == '-') {
        return Ok(());
    }
    Err(format!(
        "`{text}` is not a tag: 1 to 128 letters, digits, `_`, `.`, `-`, starting with a letter, a digit or `_`, as in `v1.2`"
    ).into())
}

/// How Docker tells a host from a part of the name.
pub fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.contains(char::is_uppercase)
}

fn check_name(text: &str) -> Result<(), Diagnostic> {
    if !text.is_empty() && text.len() <= 255 && text.split('/').all(is_component) {
        return Ok(());
    }
    Err(format!(
        "`{text}` is not an image name: lower-case letters and digits, joined by single `.`, `_`, `__` or `-`; parts joined by `/`, as in `web`"
    ).into())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text
            .split(alphanumeric)
            .filter(|run| !run.is_empty())
            .all(|run| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-'))
}

fn check_registry(text: &str) -> Result<(), Diagnostic> {
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let host_is_right = !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
        && port.is_none_or(is_port)
        // Docker would read a host without a dot or a port as part of the name.
        && (name.contains('.') || port.is_some() || name == "localhost");
    if host_is_right && path.is_none_or(|path| check_name(path).is_ok()) {
        return Ok(());
    }
    Err(format!("`{text}` is not a registry: HOST[:PORT][/PATH], as in `ghcr.io/owner` or `127.0.0.1:5000`").into())
}

/// Only digits: `parse::<u16>` would accept a sign.
fn is_port(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn check_reference(text: &str) -> Result<(), Diagnostic> {
    let wrong = || format!("`{text}` is not an image reference with a tag, such as `ghcr.io/owner/name:tag`");
    let (repository, tag) = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).ok_or_else(wrong)?;
    check_tag(tag)?;
    match repository.split_once('/') {
        Some((host, name)) if check_registry(host).is_ok() => check_name(name),
        _ => check_name(repository),
    }
}

fn check_image(text: &str) -> Result<(), Diagnostic> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let tagged = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let (repository, tag) = tagged.map_or((rest, None), |(repository, tag)| (repository, Some(tag)));
    let is_right = match repository.split_once('/') {
        Some((host, name)) if is_host(host) => is_domain(host) && check_name(name).is_ok(),
        _ => check_name(repository).is_ok(),
    };
    if is_right && tag.is_none_or(|tag| check_tag(tag).is_ok()) && digest.is_none_or(is_digest) {
        return Ok(());
    }
    // Printed with `Debug`, so that a line break in it does not split the
    // message.
    Err(format!("{text:?} is not an image: expected [HOST[:PORT]/]NAME[:TAG][@DIGEST], as in `postgres:15`").into())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        let end = |c: char| c.is_ascii_alphanumeric();
        label.starts_with(end) && label.ends_with(end) && label.chars().all(|c| end(c) || c == '-')
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || c == ':'),
        None => host.split('.').all(is_label),
    };
    is_host && port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
}

/// `ALGORITHM:HEX`, with the right number of digits for SHA-256.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let of_length = if algorithm == "sha256" { hex.len() == 64 } else { (32..=1024).contains(&hex.len()) };
    algorithm.split(['+', '.', '-', '_']).all(is_word) && of_length && hex.chars().all(|c| c.is_ascii_hexdigit())
}

/// `[registry/]name:tag`.
pub fn reference(registry: Option<&Registry>, name: &Name, tag: &Tag) -> Reference {
    Reference(match registry {
        Some(registry) => format!("{registry}/{name}:{tag}"),
        None => format!("{name}:{tag}"),
    })
}

/// Whether the registry of a reference is on this machine: a loopback address or
/// `localhost`, spelled exactly like this. A similar name may belong to anybody.
pub fn is_loopback(reference: &str) -> bool {
    let Some((host, _)) = reference.split_once('/') else { return false };
    if let Some((v6, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return v6 == "::1" && port.strip_prefix(':').is_none_or(is_port) && (port.is_empty() || port.starts_with(':'));
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    port.is_none_or(is_port) && (is_address || name == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_repository_whatever_follows_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, repository) in [("a", "a"), ("a:1", "a"), ("r:5/a/b", "r:5/a/b"), ("r:5/a/b:1", "r:5/a/b")] {
            let image: Image = name.parse().unwrap();
            assert_eq!((image.repository(), image.digest()), (repository, None), "{name}");
            let image: Image = format!("{name}@{digest}").parse().unwrap();
            assert_eq!((image.repository(), image.digest()), (repository, Some(digest.as_str())), "{name}");
        }
    }

    #[test]
    fn tags_follow_the_oci_grammar() {
        for tag in ["local", "v1.2.3", "_x", "A-b", &"a".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        for tag in ["", "-x", ".x", "a b", "a/b", "a:b", "ü", &"a".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }

    #[test]
    fn names_follow_the_oci_grammar() {
        for name in ["a", "a/b", "infinite-scribe", "a__b", "a---b", "a.b_c"] {
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
        for name in ["", "A", "a//b", "/a", "a/", "a___b", "a..b", "-a", "a-", "a b", "a:b"] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_registry_has_a_dot_a_port_or_is_localhost() {
        for registry in ["ghcr.io", "ghcr.io/owner", "127.0.0.1:5000", "localhost", "r:5000/a/b", "my-host.example"] {
            assert!(registry.parse::<Registry>().is_ok(), "{registry}");
        }
        for registry in [
            "",
            "owner",
            "ghcr.io/",
            "ghcr.io/Owner",
            "https://ghcr.io",
            "a.b:99999",
            "a.b:0",
            "a.b:+5",
            "a..b",
            "a_b.c",
        ] {
            assert!(registry.parse::<Registry>().is_err(), "{registry}");
        }
    }

    #[test]
    fn an_image_is_what_docker_takes_for_one() {
        let (hex, id) = ("0".repeat(64), "a1".repeat(32));
        for image in [
            "postgres",
            "postgres:15-alpine",
            "library/postgres",
            "127.0.0.1:5000/a/b_c__d--e.f:1",
            "localhost/x",
            "GHCR.io/x",
            "A/b", // in capitals: a host
            "a.b",
            "[::1]:5000/x:y",
            "a_b/c",
            "my-host.example/c",
            &id,
            &format!("sha256:{id}"),
            &format!("a.b/c:1@sha256:{hex}"),
            &format!("a@sha512:{hex}"),
            &format!("a@md5:{}", "0".repeat(32)),
            &format!("a@x+y:{}", "0".repeat(32)),
        ] {
            assert!(image.parse::<Image>().is_ok(), "{image}");
        }
        for image in [
            "",
            " ",
            "a b",
            "a\r\n\r\nPOST /containers/create HTTP/1.1",
            "a\n",
            "-a",
            "--privileged",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            "..",
            "../containers/x",
            "a?b=c",
            "a#b",
            "a%20b",
            "ü",
            "a:",
            "a:-x",
            ":x",
            "a:b:c/d:",
            "Abc",
            "a.b:/c",
            "a.b:5x/c",
            "-a.b/c",
            "http://a/b",
            "a_b.c/d",
            "[zz]:5000/x",
            "[]:5000/x",
            "a@",
            &format!("a@sha256:{}", "0".repeat(32)),
            &format!("a@sha512:{}", "0".repeat(31)),
            &format!("a@1x:{hex}"),
            &format!("a@x!:{hex}"),
            "a@sha256:00",
            &format!("a@sha256:{}", "g".repeat(64)),
            &format!("a@sha256:{hex}@sha256:{hex}"),
            &"a".repeat(256),
        ] {
            assert!(image.parse::<Image>().is_err(), "{image}");
        }
        let pieces =
            ["a", "B", "0", ".", "..", "/", ":", "@", "-", "_", "sha256:", " ", "\r\n", "\0", "ü", "%2f", "?", "[::1]"];
        let mut right = 0;
        crate::model::cases::cases(5000, |u| {
            let mut text = String::new();
            for _ in 0..u.int_in_range(0..=6)? {
                text.push_str(u.choose(&pieces)?);
            }
            if let Ok(image) = text.parse::<Image>() {
                right += 1;
                assert!(
                    image.as_str().bytes().all(|byte| byte.is_ascii_graphic()) && !text.starts_with('-'),
                    "{text:?}"
                );
                assert!(image.parts().all(|part| !matches!(part, "" | "." | "..")), "{text:?}");
            }
            Ok(())
        });
        // About one in fifty random texts is valid.
        assert!(right > 25, "{right}");
    }

    #[test]
    fn loopback_is_an_address_and_no_name_that_looks_like_one() {
        for reference in [
            "127.0.0.1:5000/n:1",
            "127.0.0.1/n:1",
            "127.255.3.4:1/a/b",
            "localhost/n:1",
            "localhost:5000/n",
            "[::1]:5000/n:1",
            "[::1]/n",
        ] {
            assert!(is_loopback(reference), "{reference}");
        }
        for reference in [
            "n:1",
            "localhost:1",
            "127.evil.example/n:1",
            "127.0.0.1.evil.example:5000/n",
            "localhost.evil.example/n",
            "evil.example/127.0.0.1/n",
            "127.0.0.1@evil.example/n",
            "127.1/n",
            "0127.0.0.1/n",
            "128.0.0.1:5000/n",
            "0.0.0.0:5000/n",
            "10.0.0.1:5000/n",
            "127.0.0.1:5000:6/n",
            "127.0.0.1:port/n",
            "[::2]:5000/n",
            "[::1]5000/n",
            "[::1].evil.example/n",
            "[::1]:x/n",
            "",
            "/n",
        ] {
            assert!(!is_loopback(reference), "{reference}");
        }
    }

    #[test]
    fn whole_references_need_a_tag() {
        for reference in ["a:b", "ghcr.io/o/n:v1", "127.0.0.1:5000/n:1"] {
            let read = reference.parse::<Reference>().unwrap();
            assert_eq!(format!("{}:{}", read.repository(), read.tag()), reference);
            assert!(!read.tag().contains(['/', ':']), "{reference}");
        }
        for reference in ["a", "127.0.0.1:5000/n", "ghcr.io/O/n:1", "a:", "A/b:1", "a_/b:1"] {
            assert!(reference.parse::<Reference>().is_err(), "{reference}");
        }
    }

    #[test]
    fn a_build_that_names_no_tag_is_local() {
        assert_eq!((Tag::local().as_str(), Tag::default().as_str()), ("local", "local"));
    }
}
