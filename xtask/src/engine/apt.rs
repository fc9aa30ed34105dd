//! The host's Debian archive, from its apt sources.
//!
//! No mirror is written into this tool: the mirror that this machine uses is the
//! one that works. The URL of an entry proves nothing, since vendors' archives
//! have the same layout. An archive is Debian's if Debian's keys have signed it
//! and its Release file says that it is Debian's.

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault};
use crate::model::text;

/// One archive and suite, which apt calls a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AptSource {
    /// Where it is.
    pub uri: String,
    /// The suite, such as `bookworm-security`.
    pub suite: String,
    /// The keyring that signs it, if the host names one.
    pub signed_by: Option<String>,
}

impl AptSource {
    /// Its line in a sources.list. Only Debian's keys are accepted, whatever the
    /// host says.
    pub fn line(&self, keyring: &Utf8Path) -> String {
        format!("deb [signed-by={keyring}] {} {} main", self.uri, self.suite)
    }

    /// For people.
    fn name(&self) -> String {
        format!("{} {}", text::anonymous(&self.uri), self.suite)
    }

    /// The same archive, with the suite of another release.
    pub fn of_release(&self, own: &str, release: &str) -> Self {
        Self { suite: self.suite.replacen(own, release, 1), ..self.clone() }
    }

    /// Whether the host names a keyring, and whether that is Debian's.
    fn says_debian(&self) -> Option<bool> {
        let name = self.signed_by.as_deref().and_then(|path| path.rsplit('/').next());
        name.map(|name| name.starts_with("debian-archive-"))
    }
}

/// The result of downloading an archive's lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AptOutcome {
    /// The lists are Debian's.
    Debian,
    /// The archive belongs to somebody else.
    Strange(String),
    /// It did not answer, or its lists are too old.
    Failed(String),
}

impl AptOutcome {
    /// Interprets the messages of a failed apt.
    pub fn of_words(words: &str) -> Self {
        let signature =
            ["NO_PUBKEY", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "is not signed", "couldn't be verified", "Missing key"];
        let last = words.lines().rev().find(|line| line.starts_with("E:")).or(words.lines().last());
        let last = text::anonymous(last.unwrap_or_default());
        if signature.iter().any(|sign| words.contains(sign)) { Self::Strange(last) } else { Self::Failed(last) }
    }
}

/// Why a Release file that Debian signed is not for this suite: the keys sign
/// more than one release.
pub fn foreign(release: &str, suite: &str) -> Option<String> {
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).unwrap_or_default()
    };
    let (origin, codename) = (field("Origin"), field("Codename"));
    match () {
        () if origin != "Debian" => Some(format!("its origin is {origin:?}, not \"Debian\"")),
        () if codename != suite => Some(format!("it is {codename:?}, not {suite:?}")),
        () => None,
    }
}

/// Selects Debian's archives among the entries, and returns notes about the
/// others. If the host itself calls an archive Debian's, it must be; other
/// archives are left out. Without the release itself, or without its security
/// updates if the host has them, this fails.
pub fn choose(asked: Vec<(AptSource, AptOutcome)>, codename: &str) -> Result<(Vec<AptSource>, Vec<String>), Fault> {
    let suites = [codename.to_owned(), format!("{codename}-security")];
    let has = |suite: &str| asked.iter().any(|(source, what)| source.suite == suite && *what == AptOutcome::Debian);
    let mut notes = Vec::new();
    for (source, outcome) in &asked {
        let (why, is_signature) = match outcome {
            AptOutcome::Debian => continue,
            AptOutcome::Strange(why) => (why, true),
            AptOutcome::Failed(why) => (why, false),
        };
        let entry = source.name();
        if source.says_debian() == Some(true) || (suites.contains(&source.suite) && !has(&source.suite)) {
            let fault = fault::failed(format!("the archive {entry} can't be trusted as Debian's: {why}"));
            return Err(fault.help(help(why, is_signature)));
        }
        notes.push(format!("note: the archive {entry} is not Debian's, so it is ignored: {why}"));
    }
    if !has(codename) {
        return Err(fault::failed(format!(
            "no entry of Debian's own archive for `{codename}` in /etc/apt/sources.list or sources.list.d"
        ))
        .help("add the `deb … main` line of a Debian mirror that this machine reaches"));
    }
    let debian = asked.into_iter().filter(|(_, outcome)| *outcome == AptOutcome::Debian).map(|(source, _)| source);
    Ok((debian.collect(), notes))
}

fn help(why: &str, is_signature: bool) -> &'static str {
    if is_signature {
        "sudo apt-get update && sudo apt-get install --only-upgrade debian-archive-keyring"
    } else if why.contains("expired") || why.contains("not valid yet") {
        "use another mirror, because this one is out of date; or check this machine's clock (`date`)"
    } else {
        "add the `deb … main` line of a Debian mirror that this machine reaches"
    }
}

/// The entries that may be Debian's archive for release `codename`, from the
/// texts of `/etc/apt/sources.list` and its `.d` folder, each with its file name.
pub fn debian<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>, codename: &str) -> Vec<AptSource> {
    let mut sources: Vec<AptSource> = Vec::new();
    for (name, text) in texts {
        let found = if name.ends_with(".sources") {
            text.split("\n\n").flat_map(stanza).collect()
        } else {
            text.lines().flat_map(one_line).collect::<Vec<_>>()
        };
        for source in found {
            if may_be(&source, codename) && !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    // The release itself comes first; the others only add to it.
    sources.sort_by_key(|source| source.suite.len());
    sources
}

/// A vendor with keys of its own does not claim to be Debian.
fn may_be(source: &AptSource, codename: &str) -> bool {
    let rest = source.suite.strip_prefix(codename);
    source.says_debian() != Some(false) && matches!(rest, Some("" | "-updates" | "-security"))
}

/// `deb [options] URI SUITE COMPONENT…`
fn one_line(line: &str) -> Option<AptSource> {
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
    words.any(|component| component == "main").then(|| AptSource {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        signed_by,
    })
}

/// One stanza of a deb822 file: several URIs and suites at once.
fn stanza(text: &str) -> Vec<AptSource> {
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
    // The entry may contain a key; then the host's trusted keys decide.
    let signed_by = Some(field("Signed-By")).filter(|path| path.starts_with('/'));
    let (uris, suites) = (field("URIs"), field("Suites"));
    let pairs = uris.split_whitespace().flat_map(|uri| suites.split_whitespace().map(move |suite| (uri, suite)));
    pairs
        .map(|(uri, suite)| AptSource { uri: uri.to_owned(), suite: suite.to_owned(), signed_by: signed_by.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_LINE: &str = "\
# deb http://a.example/debian bookworm main
deb http://a.example/debian bookworm main contrib # ours
deb-src http://a.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian-security/ bookworm-security main
deb http://a.example/debian bookworm-backports main
deb https://docker.example/linux/debian bookworm stable
deb [signed-by=/etc/apt/keyrings/vendor.gpg trusted=yes] https://vendor.example/debian bookworm main
deb [trusted=yes check-valid-until=no] http://mirror.example/d12 bookworm main
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
        sources.iter().map(|source| source.line("/k".into())).collect()
    }

    #[test]
    fn entries_that_may_be_debians_are_taken_with_debians_keys_and_no_options() {
        assert_eq!(
            lines(&[("sources.list", ONE_LINE)]),
            [
                "deb [signed-by=/k] http://a.example/debian bookworm main",
                "deb [signed-by=/k] http://mirror.example/d12 bookworm main",
                "deb [signed-by=/k] http://a.example/debian-security/ bookworm-security main",
            ]
        );
    }

    #[test]
    fn a_deb822_stanza_is_every_uri_with_every_suite() {
        assert_eq!(
            lines(&[("debian.sources", DEB822)]),
            [
                "deb [signed-by=/k] http://a.example/debian bookworm main",
                "deb [signed-by=/k] http://a.example/debian bookworm-updates main",
                "deb [signed-by=/k] http://a.example/debian-security bookworm-security main",
            ]
        );
    }

    #[test]
    fn another_release_keeps_the_mirror() {
        let found = debian([("x.list", ONE_LINE)], "bookworm");
        let other = found.last().unwrap().of_release("bookworm", "trixie");
        assert_eq!(
            other.line("/r".into()),
            "deb [signed-by=/r] http://a.example/debian-security/ trixie-security main"
        );
    }

    #[test]
    fn a_release_file_says_whose_and_which_it_is() {
        let text = |origin: &str, codename: &str| {
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: {origin}\nSuite: stable\nCodename: {codename}\nSHA256:\n a 1 b\n"
            )
        };
        assert_eq!(foreign(&text("Debian", "bookworm"), "bookworm"), None);
        assert_eq!(foreign(&text("Debian", "bookworm-security"), "bookworm-security"), None);
        for (origin, codename) in
            [("Debian Vendor", "bookworm"), ("", "bookworm"), ("Debian", "trixie"), ("Debian", "bookworm-updates")]
        {
            assert!(foreign(&text(origin, codename), "bookworm").is_some(), "{origin} {codename}");
        }
        assert!(foreign("", "bookworm").is_some());
    }

    #[test]
    fn what_the_host_calls_debians_must_be_and_a_stranger_is_left_out() {
        let debian_key = Some("/usr/share/keyrings/debian-archive-keyring.gpg");
        let entry = |uri: &str, suite: &str, key: Option<&str>| AptSource {
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            signed_by: key.map(str::to_owned),
        };
        let strange = || AptOutcome::Strange("NO_PUBKEY 1".to_owned());
        let failed = || AptOutcome::Failed("404".to_owned());
        let main = || (entry("a", "bookworm", None), AptOutcome::Debian);
        let security = |outcome| (entry("a-security", "bookworm-security", None), outcome);
        // The entries, and how many are accepted and left out; `None` is an
        // error.
        let rows = [
            (vec![main()], Some((1, 0))),
            (vec![main(), security(AptOutcome::Debian)], Some((2, 0))),
            (vec![main(), (entry("v", "bookworm", None), strange())], Some((1, 1))),
            (vec![(entry("v", "bookworm", None), failed()), main()], Some((1, 1))),
            (vec![main(), (entry("v", "bookworm-updates", None), strange())], Some((1, 1))),
            (vec![main(), (entry("d", "bookworm-updates", debian_key), strange())], None),
            (vec![main(), (entry("d", "bookworm", debian_key), failed())], None),
            // Nobody can suppress the security updates by breaking their
            // signature.
            (vec![main(), security(strange())], None),
            (vec![main(), security(failed())], None),
            (vec![(entry("v", "bookworm", None), strange())], None),
            (vec![security(AptOutcome::Debian)], None),
            (vec![], None),
        ];
        for (asked, expected) in rows {
            let found = choose(asked.clone(), "bookworm").ok().map(|(taken, notes)| (taken.len(), notes.len()));
            assert_eq!(found, expected, "{asked:?}");
        }
    }

    #[test]
    fn no_word_of_ours_has_a_password_in_it() {
        for (uri, name) in [
            ("https://a.example/debian", "https://a.example/debian s"),
            ("https://u:p@a.example:8080/d@b", "https://a.example:8080/d@b s"),
            ("http://u:p@@a.example", "http://a.example s"),
            ("cdrom:[x]/", "cdrom:[x]/ s"),
        ] {
            let source = AptSource { uri: uri.to_owned(), suite: "s".to_owned(), signed_by: None };
            assert_eq!(source.name(), name);
            for outcome in ["E: NO_PUBKEY http://u:p@a", "E: http://u:p@a 404"].map(AptOutcome::of_words) {
                let fault =
                    choose(vec![(AptSource { suite: "bookworm".to_owned(), ..source.clone() }, outcome)], "bookworm");
                let fault = fault.unwrap_err().to_string();
                assert!(!fault.contains("u:p"), "{fault}");
            }
        }
    }

    #[test]
    fn words_of_apt_tell_a_stranger_from_a_mirror_that_is_down_or_old() {
        let text = |outcome: AptOutcome| match outcome {
            AptOutcome::Strange(words) => format!("strange {words}"),
            AptOutcome::Failed(words) => format!("failed {words}"),
            AptOutcome::Debian => String::new(),
        };
        for (words, expected) in [
            ("W: x NO_PUBKEY 1\nE: The repository 'x' is not signed.", "strange E: The repository 'x' is not signed."),
            (
                "E: Release file for x is expired (invalid since 1d).",
                "failed E: Release file for x is expired (invalid since 1d).",
            ),
            ("E: Failed to fetch x  404  Not Found\nE: Some index files failed", "failed E: Some index files failed"),
            ("", "failed "),
        ] {
            assert_eq!(text(AptOutcome::of_words(words)), expected);
        }
        assert!(help("E: Release file is expired", false).contains("clock"));
        assert!(help("", true).contains("debian-archive-keyring"));
    }

    #[test]
    fn rubbish_is_no_source_and_no_panic() {
        crate::model::cases::cases(500, |u| {
            let text: String = u.arbitrary()?;
            let _ = debian([("a.list", text.as_str()), ("a.sources", &text)], "bookworm");
            let _ = foreign(&text, &text);
            Ok(())
        });
    }
}
