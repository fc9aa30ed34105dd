//! Which tags stay where they are, and which may move to what.
//!
//! `1.2.3` names one image for ever. `latest`, `1` and `1.2` name the newest of
//! a line: whoever pulls them never wants an older one than they had. Every
//! other tag, a branch's among them, goes where its branch goes, and that may be
//! back.

use std::cmp::Ordering;
use std::fmt;

use crate::model::diagnostic::Diagnostic;

/// The label, and the annotation, that says which release an image is.
pub const VERSION_LABEL: &str = "org.opencontainers.image.version";

/// A release's number, by the rules of semantic versioning; a `v` may come
/// first. A tag has no room for what comes after `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; 3],
    /// What comes before the release of that number: `rc.1`.
    before: Vec<String>,
}

impl Version {
    /// Reads one; anything else is no release.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (numbers, before) = text.split_once('-').map_or((text, None), |(a, b)| (a, Some(b)));
        let numbers: Vec<u64> = numbers.split('.').map(number).collect::<Option<_>>()?;
        let before: Vec<String> = before.map_or_else(Vec::new, |before| before.split('.').map(str::to_owned).collect());
        let is_word = |word: &String| {
            let digits = word.bytes().all(|c| c.is_ascii_digit());
            let plain = word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
            !word.is_empty() && plain && (!digits || number(word).is_some())
        };
        before.iter().all(is_word).then_some(Self { numbers: numbers.try_into().ok()?, before })
    }
}

/// Digits, with no zero in front.
fn number(text: &str) -> Option<u64> {
    let is_one = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_one)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if self.before.is_empty() { Ok(()) } else { write!(f, "-{}", self.before.join(".")) }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // A number is less than a word, and fewer words are less.
        let word = |a: &String, b: &String| match (number(a), number(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.cmp(b),
        };
        let words = || {
            let pairs = self.before.iter().zip(&other.before);
            let first = pairs.map(|(a, b)| word(a, b)).find(|order| order.is_ne());
            first.unwrap_or_else(|| self.before.len().cmp(&other.before.len()))
        };
        self.numbers.cmp(&other.numbers).then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => words(),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a tag promises to whoever pulls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The same image for ever.
    Fixed,
    /// Never an older one than before.
    Newest,
    /// Nothing.
    Nothing,
}

/// What a tag promises: `1.2.3` is fixed; `latest`, `1` and `1.2` are the newest.
pub fn promise(tag: &str) -> Promise {
    let line = tag.strip_prefix('v').unwrap_or(tag);
    match () {
        () if Version::of(tag).is_some() => Promise::Fixed,
        () if tag == "latest" => Promise::Newest,
        () if line.split('.').count() <= 2 && line.split('.').all(|part| number(part).is_some()) => Promise::Newest,
        () => Promise::Nothing,
    }
}

/// An image of a registry, as far as it tells how old it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Its digest; none: it is not built yet.
    pub digest: Option<String>,
    /// The release that it says it is.
    pub version: Option<Version>,
    /// When it was made, in seconds since 1970; none: it does not say.
    pub created: Option<u64>,
}

/// Whether a tag has to be put on `new`, which is on `held` now; or why it may
/// not be.
pub fn put(tag: &str, held: Option<&Published>, new: &Published) -> Result<bool, Diagnostic> {
    let Some(held) = held else { return Ok(true) };
    if held.digest.is_some() && held.digest == new.digest {
        return Ok(false);
    }
    let digest = held.digest.as_deref().unwrap_or("another image");
    match promise(tag) {
        Promise::Nothing => Ok(true),
        // What is not built yet may come out as the very same.
        Promise::Fixed if new.digest.is_none() => Ok(true),
        Promise::Fixed => {
            Err(Diagnostic::new(format!("`{tag}` is a published release, {digest}, and this is another image")))
        }
        Promise::Newest => match age(held, new) {
            Some((_, _, Ordering::Less | Ordering::Equal)) => Ok(true),
            Some((held, new, Ordering::Greater)) => {
                Err(Diagnostic::new(format!("`{tag}` is on {held} now, and {new} is older")))
            }
            None => Err(Diagnostic::new(format!(
                "`{tag}` is on {digest} now, which says neither what release it is nor when it was made: nobody knows whether this is older"
            ))),
        },
    }
}

/// Both by what they are compared by, and how the first stands to the second.
fn age(held: &Published, new: &Published) -> Option<(String, String, Ordering)> {
    if let (Some(held), Some(new)) = (&held.version, &new.version) {
        return Some((held.to_string(), new.to_string(), held.cmp(new)));
    }
    let (held, new) = (held.created?, new.created?);
    Some((format!("an image of {}", date(held)), format!("one of {}", date(new)), held.cmp(&new)))
}

/// `2026-11-24T18:00:00Z` of seconds since 1970.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of the year 0, of which a cycle of 400 years has 146097.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + cycle * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Seconds since 1970 of `2026-11-24T18:00:00Z`, fractions cut off. 1970 itself
/// is what an image has that does not tell.
pub fn seconds(date: &str) -> Option<u64> {
    let (day, time) = date.split_once('T')?;
    let time = time.strip_suffix('Z')?;
    let time = time.split('.').next()?;
    let three = |text: &str, sign| -> Option<[u64; 3]> {
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        let parts = text.split(sign).map(|part| part.parse().ok().filter(|_| is_digits(part)));
        parts.collect::<Option<Vec<u64>>>()?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (three(day, '-')?, three(time, ':')?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_as_semantic_versioning_orders_them() {
        let order = [
            "0.9.10",
            "1.0.0-0",
            "1.0.0-9",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.9",
            "1.0.10",
            "1.2.0",
            "v2.0.0",
        ];
        let versions: Vec<Version> = order.iter().map(|text| Version::of(text).unwrap()).collect();
        for (at, version) in versions.iter().enumerate() {
            for (other_at, other) in versions.iter().enumerate() {
                assert_eq!(version.cmp(other), at.cmp(&other_at), "{version} {other}");
            }
            assert_eq!(version.to_string(), order[at].trim_start_matches('v'));
        }
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "01.2.3",
            "1.2.03",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3-01",
            "+1.2.3",
            "1.2.3+a",
            "vv1.2.3",
            "main",
            "1.2.3-ä",
            "99999999999999999999.0.0",
        ] {
            assert_eq!(Version::of(text), None, "{text}");
        }
    }

    #[test]
    fn a_tag_promises_one_image_the_newest_or_nothing() {
        for (tag, expected) in [
            ("1.2.3", Promise::Fixed),
            ("v1.2.3", Promise::Fixed),
            ("1.2.3-rc.1", Promise::Fixed),
            ("latest", Promise::Newest),
            ("1", Promise::Newest),
            ("1.2", Promise::Newest),
            ("v1", Promise::Newest),
            ("v0.10", Promise::Newest),
            ("main", Promise::Nothing),
            ("v", Promise::Nothing),
            ("1.x", Promise::Nothing),
            ("sha-0123456", Promise::Nothing),
            ("latest-arm", Promise::Nothing),
            ("01", Promise::Nothing),
            ("local", Promise::Nothing),
        ] {
            assert_eq!(promise(tag), expected, "{tag}");
        }
    }

    #[test]
    fn no_tag_breaks_what_it_promises() {
        let image = |digest: &str, version: &str, created: u64| Published {
            digest: (!digest.is_empty()).then(|| digest.to_owned()),
            version: Version::of(version),
            created: (created > 0).then_some(created),
        };
        let (old, new) = (image("sha256:a", "1.2.3", 100), image("sha256:b", "1.2.4", 50));
        for (tag, held, then, expected) in [
            // Nothing is there, or the same.
            ("1.2.3", None, &new, Ok(true)),
            ("latest", None, &new, Ok(true)),
            ("main", None, &new, Ok(true)),
            ("1.2.3", Some(&old), &old, Ok(false)),
            ("latest", Some(&new), &new, Ok(false)),
            // What nobody knows the digest of is not the same.
            ("main", Some(&image("", "", 1)), &image("", "", 1), Ok(true)),
            // A release is another's for ever, whatever is newer.
            ("1.2.3", Some(&old), &new, Err("sha256:a")),
            ("v1.2.4", Some(&new), &image("sha256:c", "1.2.4", 0), Err("sha256:b")),
            ("v1.2.4", Some(&new), &image("", "1.2.4", 0), Ok(true)),
            // The newest: by release, whatever was made later.
            ("latest", Some(&old), &new, Ok(true)),
            ("1.2", Some(&old), &new, Ok(true)),
            ("latest", Some(&new), &old, Err("is on 1.2.4 now, and 1.2.3 is older")),
            ("1.2", Some(&new), &image("", "1.2.3", 900), Err("1.2.3 is older")),
            ("1", Some(&new), &image("", "1.2.4-rc.1", 900), Err("1.2.4-rc.1 is older")),
            ("1.2", Some(&old), &image("sha256:c", "1.2.3", 0), Ok(true)),
            // Where one is no release: by time.
            ("latest", Some(&image("sha256:m", "main", 100)), &image("", "main", 101), Ok(true)),
            ("latest", Some(&image("sha256:m", "", 100)), &image("", "", 100), Ok(true)),
            ("latest", Some(&image("sha256:m", "", 100)), &image("", "", 99), Err("of 1970-01-01T00:01:39Z is older")),
            ("latest", Some(&image("sha256:m", "main", 100)), &new, Err("is older")),
            ("latest", Some(&old), &image("", "main", 101), Ok(true)),
            // What can't be told is not done.
            ("latest", Some(&image("sha256:m", "", 0)), &image("", "", 9), Err("nobody knows")),
            ("1", Some(&image("sha256:m", "", 9)), &image("", "", 0), Err("nobody knows")),
            ("1", Some(&image("sha256:m", "", 0)), &image("", "1.0.0", 0), Err("nobody knows")),
            // Branches and commits go anywhere.
            ("main", Some(&new), &old, Ok(true)),
            ("sha-0123456", Some(&image("sha256:m", "", 0)), &old, Ok(true)),
        ] {
            let found = put(tag, held, then);
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{tag} {held:?} {then:?}"),
                (Err(why), Err(words)) => assert!(why.to_string().contains(words), "{tag}: {why}"),
                _ => panic!("{tag} {held:?} {then:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_date_is_read_and_written_in_utc_alone() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", 1),
            ("1999-12-31T23:59:59Z", 946_684_799),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!((seconds(text), date(expected).as_str()), (Some(expected), text));
        }
        assert_eq!(seconds("2023-11-14T22:13:20.999999999Z"), Some(1_700_000_000));
        for text in [
            "",
            "1970-01-01T00:00:00Z",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20+01:00",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-32T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01T00:00:61Z",
            "2023-01T00:00:00Z",
            "2023-01-01T00:00Z",
            "+2023-01-01T00:00:00Z",
            "2023-+1-01T00:00:00Z",
            "1969-12-31T00:00:00Z",
            "-1-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
