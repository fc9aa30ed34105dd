//! Which images this machine has built, and from what.
//!
//! A label says what anybody wrote into it: whoever builds FROM our image, or
//! commits a container of it, has our labels on another image. So an image is
//! taken for up to date only where this record has its id, which is a hash of
//! all that is in it. What can't be read is no record, and that means a build.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::cmd::image::request::cache_root;
use crate::ctx::Ctx;
use crate::exec::files::trust;
use crate::exec::{checkout, clock, files};
use crate::model::age::Age;
use crate::model::config::Project;

/// In the place of a fingerprint, of what was pushed: nobody looks for it, and
/// what a push leaves in the engine is known as ours.
pub const PUSHED: &str = "pushed";

/// How many builds are remembered: the newest.
const BUILDS: usize = 500;

/// One build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// When it was done, in seconds since 1970: then its bases were looked up.
    pub when: u64,
    /// What went in.
    pub fingerprint: String,
    /// In which checkout.
    pub checkout: String,
    /// What came out, by the names that an engine may give it: the digest of
    /// its manifest, that of its configuration.
    pub ids: Vec<String>,
}

/// The builds of a fingerprint in this checkout, the newest first.
pub fn builds_of(ctx: &Ctx, project: &Project, fingerprint: &str) -> Vec<Build> {
    let here = checkout::identity(&ctx.root);
    let mut builds = parse(&text(ctx, project)).unwrap_or_default();
    builds.retain(|build| build.fingerprint == fingerprint && build.checkout == here);
    builds.reverse();
    builds
}

/// The ids of all images that this machine has built for the project, with the
/// checkout that has built each last.
pub fn ids(ctx: &Ctx, project: &Project) -> BTreeMap<String, String> {
    let of = |Build { checkout, ids, .. }: Build| ids.into_iter().map(move |id| (id, checkout.clone()));
    parse(&text(ctx, project)).unwrap_or_default().into_iter().flat_map(of).collect()
}

/// Remembers a build that has just ended. Where that fails, the next run builds.
pub fn add(ctx: &Ctx, project: &Project, fingerprint: &str, ids: Vec<String>) {
    let build = Build {
        when: clock::now().as_secs(),
        fingerprint: fingerprint.into(),
        checkout: checkout::identity(&ctx.root),
        ids,
    };
    let file = file(ctx, project);
    let lock = Utf8PathBuf::from(format!("{file}.lock"));
    let Ok(_lock) = files::lock(ctx, &lock, "another run writes down what it built") else {
        return;
    };
    if !trust::is_record_ours(ctx, &lock) {
        return;
    }
    let text = files::read(&file).unwrap_or_default();
    if let Some(text) = with(parse(&text).unwrap_or_default(), build) {
        let _ = files::write(&file, text);
    }
}

/// Whether a build was not longer ago than `trust`.
pub fn is_young(build: &Build, trust: Age) -> bool {
    Age::of(build.when, clock::now().as_secs()).is_some_and(|age| age < trust)
}

/// All that is written down. Who can put another file there can put an old one
/// back, which is ours in every word: nothing, then.
fn text(ctx: &Ctx, project: &Project) -> String {
    let file = file(ctx, project);
    if trust::is_record_ours(ctx, &file) { files::read(&file).unwrap_or_default() } else { String::new() }
}

fn file(ctx: &Ctx, project: &Project) -> Utf8PathBuf {
    cache_root(ctx, project).join("builds")
}

/// A build a line: `WHEN FINGERPRINT CHECKOUT ID ID`. Where one line is
/// nothing of ours, all is nothing of ours.
fn parse(text: &str) -> Option<Vec<Build>> {
    if !text.is_empty() && !text.ends_with('\n') {
        return None;
    }
    text.lines().map(line).collect()
}

fn line(text: &str) -> Option<Build> {
    let mut words = text.split(' ');
    let (when, fingerprint, checkout) = (words.next()?, words.next()?, words.next()?);
    let ids: Vec<String> = words.map(str::to_owned).collect();
    let right = !ids.is_empty() && ids.iter().all(|id| is_id(id)) && [fingerprint, checkout].iter().all(|w| is_word(w));
    right.then_some(Build { when: when.parse().ok()?, fingerprint: fingerprint.into(), checkout: checkout.into(), ids })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric())
}

fn is_id(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// The record with one build more; none where that build is nothing to look for.
fn with(mut builds: Vec<Build>, mut build: Build) -> Option<String> {
    build.ids.retain(|id| is_id(id));
    build.ids.dedup();
    if build.ids.is_empty() {
        return None;
    }
    builds
        .retain(|old| (&old.fingerprint, &old.checkout, &old.ids) != (&build.fingerprint, &build.checkout, &build.ids));
    builds.push(build);
    let old = builds.len().saturating_sub(BUILDS);
    let line = |Build { when, fingerprint, checkout, ids }: &Build| {
        format!("{when} {fingerprint} {checkout} {}\n", ids.join(" "))
    };
    Some(builds[old..].iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn id(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn build(when: u64, ids: &[String]) -> Build {
        Build { when, fingerprint: "kl".into(), checkout: "ab1".into(), ids: ids.to_vec() }
    }

    #[test]
    fn what_is_written_is_read_and_the_newest_stay() {
        let mut text = String::new();
        for when in 0..600 {
            let it = Build { fingerprint: format!("k{when}"), ..build(when, &[id('a'), id('b')]) };
            text = with(parse(&text).unwrap(), it).unwrap();
        }
        let builds = parse(&text).unwrap();
        assert_eq!((builds.len(), builds[0].when, builds[499].when), (500, 100, 599));
        assert_eq!(builds[499].ids, [id('a'), id('b')]);
        // The same once more is the same line, with another time.
        let again = with(vec![build(1, &[id('a')]), build(2, &[id('b')])], build(3, &[id('a')])).unwrap();
        assert_eq!(parse(&again).unwrap(), [build(2, &[id('b')]), build(3, &[id('a')])]);
    }

    #[test]
    fn a_record_where_somebody_else_can_put_an_older_one_says_nothing() {
        let place = files::Temporary::new("cache").unwrap();
        let above = place.path().parent().unwrap();
        let ctx = Ctx {
            root: "/".into(),
            env: [("XDG_CACHE_HOME", place.path().as_str())].into_iter().collect(),
            ..Ctx::default()
        };
        let text = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"o\"\n\
            [services.app]\nimage = \"app\"\npaths = [\"**\"]\n";
        let project = Project::parse("services.toml".into(), text).unwrap();
        let found = || (builds_of(&ctx, &project, "kl").len(), ids(&ctx, &project).len());
        add(&ctx, &project, "kl", vec![id('a')]);
        assert_eq!(found(), (1, 1));
        for dir in [above.to_owned(), place.path().to_owned(), place.path().join("xtask/x")] {
            let before = dir.metadata().unwrap().permissions();
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
            assert_eq!(found(), (0, 0), "{dir} is everybody's to write");
            add(&ctx, &project, "kl", vec![id('b')]);
            std::fs::set_permissions(&dir, before).unwrap();
            assert_eq!(found(), (1, 1), "nothing was added in {dir}");
        }
    }

    #[test]
    fn what_is_no_id_is_not_written() {
        assert_eq!(with(vec![], build(1, &["nice/tool:1".into()])), None);
        let text = with(vec![], build(1, &["x y".into(), id('a'), id('a')])).unwrap();
        assert_eq!(parse(&text).unwrap(), [build(1, &[id('a')])]);
    }

    #[test]
    fn one_line_that_is_not_ours_makes_it_no_record() {
        let good = with(vec![], build(1, &[id('a')])).unwrap();
        assert!(parse(&good).is_some() && parse("").is_some());
        for bad in ["\n", "1 kl ab\n", "x kl ab sha256:aa\n", "-1 kl ab1 ", "1 k/l ab1 "] {
            let bad = if bad.ends_with(' ') { format!("{bad}{}\n", id('a')) } else { bad.to_owned() };
            assert_eq!(parse(&format!("{good}{bad}")), None, "{bad}");
        }
        assert_eq!(parse(&good[..good.len() - 1]), None, "it was cut");
    }

    #[test]
    fn only_what_was_built_not_long_ago_is_young() {
        let now = clock::now().as_secs();
        let is_young = |when, trust: &str| is_young(&build(when, &[id('a')]), trust.parse().unwrap());
        assert!(is_young(now - 60, "1h"));
        assert!(!is_young(now - 7200, "1h"));
        assert!(!is_young(now, "0s"));
        assert!(!is_young(now + 999, "1d"));
    }
}
