//! The host's own Debian archive, read from its apt sources.
//!
//! No host of any archive is written anywhere in this tool: the mirror that
//! this machine uses is the one that works from here. Entries of others
//! (vendors, PPAs, backports) are left out, so that a package can only come
//! from Debian.

use camino::Utf8Path;

/// One line's worth of an archive: what apt calls a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub uri: String,
    /// The suite, such as `bookworm-security`.
    pub suite: String,
    /// The keyring that signs it, when the host names one.
    pub signed_by: Option<String>,
}

impl Source {
    /// As a line of a sources.list.
    pub fn line(&self) -> String {
        let signed = self.signed_by.as_ref();
        let signed = signed.map_or(String::new(), |path| format!("[signed-by={path}] "));
        format!("deb {signed}{} {} main", self.uri, self.suite)
    }

    /// The same archive with the suite of another release, signed by `keyring`.
    pub fn of_release(&self, own: &str, release: &str, keyring: Option<&Utf8Path>) -> Self {
        Self {
            uri: self.uri.clone(),
            suite: self.suite.replacen(own, release, 1),
            signed_by: keyring.map_or(self.signed_by.clone(), |path| Some(path.to_string())),
        }
    }
}

/// The sources of Debian's own archive for release `codename` in the texts of
/// `/etc/apt/sources.list` and of its `.d` folder, each with its file name.
pub fn debian<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>, codename: &str) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for (name, text) in texts {
        let found = if name.ends_with(".sources") {
            text.split("\n\n").flat_map(stanza).collect()
        } else {
            text.lines().flat_map(one_line).collect::<Vec<_>>()
        };
        for source in found {
            if ours(&source, codename) && !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    // The release itself first: the others only add to it.
    sources.sort_by_key(|source| source.suite.len());
    sources
}

fn ours(source: &Source, codename: &str) -> bool {
    let folder = source.uri.trim_end_matches('/').rsplit('/').next();
    let rest = source.suite.strip_prefix(codename);
    folder.is_some_and(|name| name.starts_with("debian")) && matches!(rest, Some("" | "-updates" | "-security"))
}

/// `deb [options] URI SUITE COMPONENT…`
fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.trim_start_matches([' ', '\t']);
    if rest.len() + 3 == line.len() {
        return None; // deb-src
    }
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned);
        rest = after;
    }
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    words.any(|component| component == "main").then(|| Source {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        signed_by,
    })
}

/// One stanza of a deb822 file: several URIs and suites at once.
fn stanza(text: &str) -> Vec<Source> {
    let field = |name: &str| {
        let mut value = String::new();
        let mut within = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                if within {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((key, rest)) = line.split_once(':') {
                within = key.eq_ignore_ascii_case(name);
                if within {
                    value.push_str(rest.trim());
                }
            }
        }
        value
    };
    let has = |name: &str, word: &str| field(name).split_whitespace().any(|w| w == word);
    let disabled = matches!(field("Enabled").to_lowercase().as_str(), "no" | "false");
    if disabled || !has("Types", "deb") || !has("Components", "main") {
        return Vec::new();
    }
    // A key may stand in the file itself; then the host's trusted keys decide.
    let signed_by = Some(field("Signed-By")).filter(|path| path.starts_with('/'));
    let (uris, suites) = (field("URIs"), field("Suites"));
    let pairs = uris.split_whitespace().flat_map(|uri| suites.split_whitespace().map(move |suite| (uri, suite)));
    pairs
        .map(|(uri, suite)| Source { uri: uri.to_owned(), suite: suite.to_owned(), signed_by: signed_by.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_LINE: &str = "\
# deb http://a.example/debian bookworm main
deb http://a.example/debian bookworm main contrib # ours
deb-src http://a.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian-security/ bookworm-security main
deb http://a.example/debian bookworm-backports main
deb https://docker.example/linux/debian bookworm stable
deb https://vendor.example/debian/12/prod bookworm main
deb http://pg.example/repos/apt bookworm-pgdg main
deb
deb [x
";
    const DEB822: &str = "\
Types: deb deb-src
# a comment
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://b.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://a.example/debian-security
Suites: bookworm-security
Components:
 main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
";

    fn lines(texts: &[(&str, &str)]) -> Vec<String> {
        let sources = debian(texts.iter().copied(), "bookworm");
        sources.iter().map(Source::line).collect()
    }

    #[test]
    fn only_debians_own_entries_are_taken_from_one_line_files() {
        assert_eq!(
            lines(&[("sources.list", ONE_LINE)]),
            [
                "deb http://a.example/debian bookworm main",
                "deb [signed-by=/k.gpg] http://a.example/debian-security/ bookworm-security main",
            ]
        );
    }

    #[test]
    fn a_deb822_stanza_is_every_uri_with_every_suite() {
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        assert_eq!(
            lines(&[("debian.sources", DEB822)]),
            [
                format!("deb {key} http://a.example/debian bookworm main"),
                format!("deb {key} http://a.example/debian bookworm-updates main"),
                "deb http://a.example/debian-security bookworm-security main".to_owned(),
            ]
        );
    }

    #[test]
    fn another_release_keeps_the_mirror() {
        let [_, security] = &debian([("x.list", ONE_LINE)], "bookworm")[..] else { panic!("two entries") };
        let other = security.of_release("bookworm", "trixie", Some("/r.gpg".into()));
        assert_eq!(other.line(), "deb [signed-by=/r.gpg] http://a.example/debian-security/ trixie-security main");
    }

    #[test]
    fn rubbish_is_no_source_and_no_panic() {
        arbtest::arbtest(|u| {
            let text: String = u.arbitrary()?;
            let _ = debian([("a.list", text.as_str()), ("a.sources", &text)], "bookworm");
            Ok(())
        });
    }
}
