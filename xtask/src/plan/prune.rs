//! Decides what `ci prune` removes from a registry and what stays and why, from
//! facts, before anything is touched.
//!
//! A tag keeps an image. An image keeps all that it leads to and all that is said
//! about it: the manifests that an index lists, signatures and attestations, and
//! what is said about those. "Delete what has no tag" would take the platforms of
//! every image, and its signatures. So a single manifest that nobody could read
//! means that nothing is removed: who knows what it leads to?

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use path_filter::{PathFilter, Pattern};

use crate::model::config::Project;
use crate::model::manifest::{Manifest, attached_to};
use crate::model::release::Version;

/// The tags beside an image by which its fingerprint finds it. They keep nothing.
pub const FINGERPRINT: &str = "fp-";

/// What begins the tag of a layer cache that builds write and read.
const CACHE: &str = "buildcache-";

/// How long the registry's API can restore what was deleted, in seconds.
pub const RESTORABLE: u64 = 30 * 86_400;

/// A version of a package: a manifest with its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageVersion {
    /// The API's number of it.
    pub id: u64,
    /// The manifest's digest.
    pub digest: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it was pushed, in seconds since 1970.
    pub created: u64,
}

/// The manifests by their digests, or why one could not be read.
pub type Manifests = BTreeMap<String, Result<Manifest, String>>;

/// What stays.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How many of the newest releases.
    pub keep: usize,
    /// The images with such a tag.
    pub patterns: Option<PathFilter>,
    /// The images with the tag of a branch.
    pub branches: Vec<Pattern>,
    /// Images without a tag that were pushed later than that, in seconds since
    /// 1970: what is pushed by digest gets its tags when it is proved.
    pub young_since: u64,
}

/// Why a version stays or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is one of the newest releases.
    Release(String),
    /// A pattern keeps the tag.
    Pattern(String),
    /// The tag moves, with a branch or with every release.
    Moving(String),
    /// It has no tag yet.
    Young,
    /// An index that stays lists it.
    Child(String),
    /// It is about something that stays.
    Referrer(String),
    /// Its tag attaches it to something that stays.
    Attachment(String),
    /// Something that stays is about it.
    Subject(String),
    /// It goes: newer releases are enough.
    OldRelease(String),
    /// It goes: its tags keep nothing.
    Tags,
    /// It goes: what it was attached to goes, or is gone.
    Detached(String),
    /// It goes: nothing that stays leads to it.
    Unreachable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(tag) => write!(f, "`{tag}` is one of the newest releases"),
            Self::Pattern(tag) => write!(f, "`--keep-tag` keeps `{tag}`"),
            Self::Moving(tag) => write!(f, "`{tag}` is a tag that moves"),
            Self::Young => f.write_str("it is young and has no tag yet"),
            Self::Child(digest) => write!(f, "it is a part of {digest}"),
            Self::Referrer(digest) => write!(f, "it refers to {digest}"),
            Self::Attachment(digest) => write!(f, "it is attached to {digest}"),
            Self::Subject(digest) => write!(f, "{digest} refers to it"),
            Self::OldRelease(tag) => write!(f, "there are enough newer releases than `{tag}`"),
            Self::Tags => f.write_str("none of its tags keeps it"),
            Self::Detached(digest) => write!(f, "it is attached to {digest}, which does not stay"),
            Self::Unreachable => f.write_str("it has no tag, and nothing that stays leads to it"),
        }
    }
}

/// What stays and what goes, each version once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision<'a> {
    /// In the order of the versions.
    pub stays: Vec<(&'a PackageVersion, Reason)>,
    /// In the order in which they are removed. What points at another goes first,
    /// so that an end in the middle breaks nothing.
    pub goes: Vec<(&'a PackageVersion, Reason)>,
}

/// The tags that branches give their images.
pub fn branches(project: &Project) -> Result<Vec<Pattern>, String> {
    let all = project.ci.iter().flat_map(|ci| &ci.branches).chain([&project.default_branch]);
    // A tag has no slashes, so docker/metadata-action writes `-`.
    let parse = |branch: &String| {
        Pattern::parse(&branch.replace('/', "-")).map_err(|why| format!("`{branch}`: {}", why.message))
    };
    all.map(parse).collect()
}

/// What a version points at: by its manifest, and by what its tags name.
pub fn targets(version: &PackageVersion, manifests: &Manifests) -> Vec<String> {
    let manifest = manifests.get(&version.digest).and_then(|it| it.as_ref().ok());
    let led = manifest.into_iter().flat_map(|it| it.children.iter().chain(&it.subject).cloned());
    led.chain(version.tags.iter().filter_map(|tag| attached_to(tag))).collect()
}

/// Decides about all versions of a package; or why nothing may be removed.
pub fn decide<'a>(
    versions: &'a [PackageVersion],
    manifests: &'a Manifests,
    rules: &Rules,
) -> Result<Decision<'a>, Vec<String>> {
    let graph = Graph::new(versions, manifests)?;
    let kept = graph.reached_from(rules.roots(&graph));
    let broken: Vec<String> = versions.iter().filter_map(|version| graph.broken(version, &kept)).collect();
    if !broken.is_empty() {
        return Err(broken);
    }
    let stays = |version: &'a PackageVersion| Some((version, kept.get(version.digest.as_str())?.clone()));
    let goes = |version: &'a PackageVersion| (version, rules.without(version));
    Ok(Decision {
        stays: versions.iter().filter_map(stays).collect(),
        goes: graph.order(|digest| !kept.contains_key(digest)).into_iter().map(goes).collect(),
    })
}

/// Who points at whom.
struct Graph<'a> {
    versions: &'a [PackageVersion],
    all: &'a Manifests,
    manifests: BTreeMap<&'a str, &'a Manifest>,
    /// What is about a digest, and what a tag attaches to it.
    referrers: BTreeMap<&'a str, Vec<&'a str>>,
    attachments: BTreeMap<String, Vec<&'a str>>,
    /// What an index lists.
    listed: BTreeSet<&'a str>,
}

impl<'a> Graph<'a> {
    fn new(versions: &'a [PackageVersion], all: &'a Manifests) -> Result<Self, Vec<String>> {
        let (mut manifests, mut unread) = (BTreeMap::new(), Vec::new());
        for version in versions {
            match all.get(&version.digest) {
                Some(Ok(manifest)) => {
                    if manifests.insert(version.digest.as_str(), manifest).is_some() {
                        unread.push(format!("{} is listed twice", version.digest));
                    }
                }
                Some(Err(why)) => unread.push(format!("{} can't be read: {why}", version.digest)),
                None => unread.push(format!("{} was not read", version.digest)),
            }
        }
        if !unread.is_empty() {
            return Err(unread);
        }
        let (mut referrers, mut attachments) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let mut listed = BTreeSet::new();
        for (digest, manifest) in &manifests {
            listed.extend(manifest.children.iter().map(String::as_str));
            if let Some(subject) = &manifest.subject {
                referrers.entry(subject.as_str()).or_default().push(*digest);
            }
        }
        for version in versions {
            for to in version.tags.iter().filter_map(|tag| attached_to(tag)) {
                attachments.entry(to).or_default().push(version.digest.as_str());
            }
        }
        Ok(Self { versions, all, manifests, referrers, attachments, listed })
    }

    /// All that is needed by, or says something of, what is in `queue`.
    fn reached_from(&self, roots: Vec<(&'a str, Reason)>) -> BTreeMap<&'a str, Reason> {
        let mut kept = BTreeMap::new();
        let mut queue = VecDeque::from(roots);
        while let Some((digest, reason)) = queue.pop_front() {
            let Some(manifest) = self.manifests.get(digest).filter(|_| !kept.contains_key(digest)) else { continue };
            kept.insert(digest, reason);
            let of = || digest.to_owned();
            queue.extend(manifest.children.iter().map(|child| (child.as_str(), Reason::Child(of()))));
            queue.extend(manifest.subject.iter().map(|subject| (subject.as_str(), Reason::Subject(of()))));
            let others = |all: Option<&Vec<&'a str>>| all.cloned().unwrap_or_default();
            queue.extend(others(self.referrers.get(digest)).into_iter().map(|it| (it, Reason::Referrer(of()))));
            queue.extend(others(self.attachments.get(digest)).into_iter().map(|it| (it, Reason::Attachment(of()))));
        }
        kept
    }

    /// What is wrong with a version that stays: a part of it is gone. A list of
    /// referrers may name one that somebody removed: no image needs it.
    fn broken(&self, version: &PackageVersion, kept: &BTreeMap<&str, Reason>) -> Option<String> {
        let reason = kept.get(version.digest.as_str())?;
        let children = &self.manifests.get(version.digest.as_str())?.children;
        let missing = children.iter().find(|child| !self.manifests.contains_key(child.as_str()))?;
        let name = version.tags.first().map(|tag| format!(" (`{tag}`)")).unwrap_or_default();
        (!matches!(reason, Reason::Attachment(_)))
            .then(|| format!("{}{name} stays and lists {missing}, which is not there", version.digest))
    }

    /// What the manifest of a version points at.
    fn leads_to(&self, version: &PackageVersion) -> impl Iterator<Item = &'a String> {
        let manifest = self.manifests.get(version.digest.as_str()).copied();
        manifest.into_iter().flat_map(|manifest| manifest.children.iter().chain(&manifest.subject))
    }

    /// The versions that go, each before all that it points at.
    fn order(&self, goes: impl Fn(&str) -> bool) -> Vec<&'a PackageVersion> {
        let mut left: BTreeMap<&'a str, &'a PackageVersion> = BTreeMap::new();
        let mut pointed: BTreeMap<String, usize> = BTreeMap::new();
        for version in self.versions.iter().filter(|version| goes(&version.digest)) {
            left.insert(&version.digest, version);
            targets(version, self.all).into_iter().for_each(|to| *pointed.entry(to).or_default() += 1);
        }
        let is_free = |digest: &str, pointed: &BTreeMap<String, usize>| pointed.get(digest).is_none_or(|n| *n == 0);
        let mut free: VecDeque<&str> = left.keys().copied().filter(|digest| is_free(digest, &pointed)).collect();
        let mut order = Vec::new();
        // Digests can't point at each other in a circle; names of tags can, and then
        // they don't count.
        let outside = |left: &BTreeMap<&'a str, &PackageVersion>| {
            let inside: BTreeSet<&String> = left.values().flat_map(|version| self.leads_to(version)).collect();
            left.keys().copied().find(|digest| !inside.iter().any(|it| it == digest))
        };
        while let Some(digest) = free.pop_front().or_else(|| outside(&left)) {
            let Some(version) = left.remove(digest) else { continue };
            order.push(version);
            for to in targets(version, self.all) {
                *pointed.entry(to.clone()).or_insert(1) -= 1;
                if is_free(&to, &pointed) {
                    free.extend(left.get_key_value(to.as_str()).map(|(digest, _)| *digest));
                }
            }
        }
        order
    }
}

impl Rules {
    /// What stays by its own tags, or because it is young.
    fn roots<'a>(&self, graph: &Graph<'a>) -> Vec<(&'a str, Reason)> {
        let mut releases: Vec<_> = graph
            .versions
            .iter()
            .filter_map(|it| release(it).map(|(release, _)| (release, it.created, &it.digest)))
            .collect();
        releases.sort_by(|a, b| b.cmp(a));
        let newest: BTreeSet<&String> = releases.into_iter().map(|(_, _, digest)| digest).take(self.keep).collect();
        let reason = |version: &'a PackageVersion| {
            let tag = |is_it: &dyn Fn(&str) -> bool| version.tags.iter().find(|tag| is_it(tag)).cloned();
            let is_moving = |tag: &str| {
                tag == "latest" || tag.starts_with(CACHE) || self.branches.iter().any(|branch| branch.hits(tag))
            };
            let is_named =
                |tag: &str| attached_to(tag).is_none() && self.patterns.as_ref().is_some_and(|it| it.includes(tag));
            let reason = match release(version) {
                Some((_, tag)) if newest.contains(&version.digest) => Some(Reason::Release(tag)),
                _ => None,
            };
            let reason = reason.or_else(|| tag(&is_moving).map(Reason::Moving));
            let reason = reason.or_else(|| tag(&is_named).map(Reason::Pattern));
            let reason = reason.or_else(|| self.is_young(version, graph).then_some(Reason::Young));
            Some((version.digest.as_str(), reason?))
        };
        graph.versions.iter().filter_map(reason).collect()
    }

    /// Whether somebody may be about to put a tag on it. What belongs to another
    /// version shares its fate.
    fn is_young(&self, version: &PackageVersion, graph: &Graph<'_>) -> bool {
        let subject = graph.manifests.get(version.digest.as_str()).and_then(|it| it.subject.as_deref());
        version.created > self.young_since
            && version.tags.iter().all(|tag| tag.starts_with(FINGERPRINT))
            && !graph.listed.contains(version.digest.as_str())
            && !subject.is_some_and(|subject| graph.manifests.contains_key(subject))
    }

    /// Why a version goes.
    fn without(&self, version: &PackageVersion) -> Reason {
        match (release(version), version.tags.as_slice()) {
            (Some((_, tag)), _) => Reason::OldRelease(tag),
            (None, []) => Reason::Unreachable,
            (None, tags) if tags.iter().all(|tag| attached_to(tag).is_some()) => {
                Reason::Detached(tags.iter().find_map(|tag| attached_to(tag)).unwrap_or_default())
            }
            (None, _) => Reason::Tags,
        }
    }
}

/// The newest release that a version is by its tags.
fn release(version: &PackageVersion) -> Option<(Version, String)> {
    version.tags.iter().filter_map(|tag| Some((Version::of(tag)?, tag.clone()))).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cases::cases;

    fn digest(name: char) -> String {
        format!("sha256:{}", format!("{:02x}", name as u32).repeat(32))
    }

    /// A version by its name, its tags with `@a` for what attaches to `a`, when it
    /// was pushed, what it lists and what it is about.
    type Row<'a> = (char, &'a [&'a str], u64, &'a str, &'a str);

    fn tag(text: &str) -> String {
        let Some(rest) = text.strip_prefix('@') else { return text.to_owned() };
        let (name, suffix) = rest.split_at(1);
        format!("{}{suffix}", digest(name.chars().next().unwrap()).replace(':', "-"))
    }

    fn read(rows: &[Row<'_>]) -> (Vec<PackageVersion>, Manifests) {
        let version = |(id, (name, tags, created, _, _)): (usize, &Row<'_>)| PackageVersion {
            id: id as u64,
            digest: digest(*name),
            tags: tags.iter().map(|text| tag(text)).collect(),
            created: *created,
        };
        let manifest = |(name, _, _, children, subject): &Row<'_>| {
            let children = children.chars().map(digest).collect();
            let subject = subject.chars().next().map(digest);
            (digest(*name), Ok(Manifest { children, subject, ..Manifest::default() }))
        };
        (rows.iter().enumerate().map(version).collect(), rows.iter().map(manifest).collect())
    }

    fn rules(keep: usize, patterns: &[&str]) -> Rules {
        let parsed: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        let branches = ["main", "release-**"].map(|text| Pattern::parse(text).unwrap()).to_vec();
        Rules { keep, patterns: PathFilter::new(parsed).ok(), branches, young_since: 1000 }
    }

    fn name(digest: &str) -> String {
        char::from(u8::from_str_radix(&digest[7..9], 16).unwrap()).to_string()
    }

    /// `a release 1.0.0, b child of a; c tags`.
    fn decided(rows: &[Row<'_>], rules: &Rules) -> String {
        let (versions, manifests) = read(rows);
        let why = |reason: &Reason| match reason {
            Reason::Release(tag) => format!("release {tag}"),
            Reason::Pattern(tag) => format!("pattern {tag}"),
            Reason::Moving(tag) => format!("moving {tag}"),
            Reason::Young => "young".into(),
            Reason::Child(of) => format!("child of {}", name(of)),
            Reason::Referrer(of) => format!("about {}", name(of)),
            Reason::Attachment(of) => format!("attached to {}", name(of)),
            Reason::Subject(of) => format!("subject of {}", name(of)),
            Reason::OldRelease(tag) => format!("old {tag}"),
            Reason::Tags => "tags".into(),
            Reason::Detached(of) => format!("detached from {}", name(of)),
            Reason::Unreachable => "unreachable".into(),
        };
        let all = |side: &[(&PackageVersion, Reason)]| {
            let each = side.iter().map(|(version, reason)| format!("{} {}", name(&version.digest), why(reason)));
            each.collect::<Vec<_>>().join(", ")
        };
        match decide(&versions, &manifests, rules) {
            Ok(decision) => format!("{}; {}", all(&decision.stays), all(&decision.goes)),
            Err(why) => format!("refused: {}", why.join(", ")),
        }
    }

    #[test]
    fn a_tag_keeps_its_image_and_all_that_is_needed_or_said_of_it() {
        let two = &rules(2, &[]);
        for (rows, rules, expected) in [
            (&[][..], two, "; "),
            // The newest releases by their number, whatever was pushed last.
            (
                &[
                    ('a', &["1.10.0"][..], 1, "", ""),
                    ('b', &["v1.9.0", "1.9"], 9, "", ""),
                    ('c', &["1.2.0"], 5, "", ""),
                ],
                two,
                "a release 1.10.0, b release v1.9.0; c old 1.2.0",
            ),
            (
                &[('a', &["1.0.0"], 1, "", ""), ('b', &["1.0.1-rc.1"], 1, "", ""), ('c', &["1.0.1"], 1, "", "")],
                two,
                "b release 1.0.1-rc.1, c release 1.0.1; a old 1.0.0",
            ),
            // One image counts once; of one number the later is newer.
            (
                &[
                    ('a', &["1.0.0", "v1.0.0", "0.9.0"], 1, "", ""),
                    ('b', &["v1.0.0"], 2, "", ""),
                    ('c', &["0.9.1"], 3, "", ""),
                ],
                two,
                "a release v1.0.0, b release v1.0.0; c old 0.9.1",
            ),
            (
                &[('a', &["1.0.0"], 1, "", ""), ('b', &["v1.0.0"], 2, "", ""), ('c', &["0.9.1"], 3, "", "")],
                &rules(1, &[]),
                "b release v1.0.0; a old 1.0.0, c old 0.9.1",
            ),
            (&[('a', &["1.0.0"], 1, "", "")], &rules(0, &[]), "; a old 1.0.0"),
            // Tags that move, patterns, and the rest.
            (
                &[
                    ('a', &["main"], 1, "", ""),
                    ('b', &["latest"], 1, "", ""),
                    ('c', &["release-1"], 1, "", ""),
                    ('d', &["mains", "sha-0"], 1, "", ""),
                    ('k', &["buildcache-linux-amd64"], 1, "", ""),
                    ('e', &["fp-0", "1.2"], 1, "", ""),
                ],
                two,
                "a moving main, b moving latest, c moving release-1, k moving buildcache-linux-amd64; d tags, e tags",
            ),
            (
                &[
                    ('a', &["pr-1"], 1, "", ""),
                    ('b', &["pr-2", "edge"], 1, "", ""),
                    ('c', &["@z"], 1, "", ""),
                    ('d', &["1.0.0", "x"], 1, "", ""),
                ],
                &rules(0, &["*", "!pr-2", "!edge"]),
                "a pattern pr-1, d pattern 1.0.0; b tags, c detached from z",
            ),
            // An index with its platforms and a nested one; signatures of all of them,
            // by subject and by tag; and what is said about those.
            (
                &[
                    ('i', &["1.0.0", "fp-1"], 1, "pn", ""),
                    ('p', &[], 1, "", ""),
                    ('n', &[], 1, "q", ""),
                    ('q', &[], 1, "", ""),
                    ('f', &["@i"], 1, "r", ""),
                    ('r', &[], 1, "", "i"),
                    ('s', &["@p.sig"], 1, "", ""),
                    ('t', &["@s.att"], 1, "", ""),
                    ('u', &["@q.sbom"], 1, "", ""),
                    ('v', &[], 1, "", "r"),
                    ('w', &[], 1, "", "q"),
                ],
                two,
                "i release 1.0.0, p child of i, n child of i, q child of n, f attached to i, r about i, s attached to p, \
                 t attached to s, u attached to q, v about r, w about q; ",
            ),
            // The same of what goes: each before what it points at.
            (
                &[
                    ('i', &["0.9.0", "fp-1"], 1, "pn", ""),
                    ('p', &[], 1, "", ""),
                    ('n', &[], 1, "q", ""),
                    ('q', &[], 1, "", ""),
                    ('f', &["@i"], 1, "r", ""),
                    ('r', &[], 1, "", "i"),
                    ('s', &["@p.sig"], 1, "", ""),
                    ('v', &[], 1, "", "r"),
                ],
                &rules(0, &[]),
                "; f detached from i, s detached from p, v unreachable, r unreachable, i old 0.9.0, p unreachable, \
                 n unreachable, q unreachable",
            ),
            // A platform that two images share stays with one of them.
            (
                &[
                    ('a', &["2.0.0"], 1, "p", ""),
                    ('b', &["x"], 1, "pq", ""),
                    ('p', &[], 1, "", ""),
                    ('q', &[], 1, "", ""),
                ],
                two,
                "a release 2.0.0, p child of a; b tags, q unreachable",
            ),
            // What stays keeps what it is about, and nothing by the name of its tags.
            (
                &[
                    ('a', &["latest"], 1, "", "b"),
                    ('b', &[], 1, "c", ""),
                    ('c', &[], 1, "", ""),
                    ('d', &[], 1, "", "z"),
                ],
                two,
                "a moving latest, b subject of a, c child of b; d unreachable",
            ),
            (
                &[('a', &["main"], 1, "", ""), ('b', &["x"], 1, "", ""), ('e', &["@a", "@b"], 1, "", "")],
                two,
                "a moving main, e attached to a; b tags",
            ),
            (&[('e', &["@b", "@a"], 1, "", ""), ('o', &["@z", "x"], 1, "", "")], two, "; e detached from b, o tags"),
            // Pushed by digest, and not tagged yet; what belongs to something shares its fate.
            (
                &[
                    ('a', &[], 1001, "b", ""),
                    ('b', &[], 1001, "", ""),
                    ('c', &["fp-1"], 1001, "", ""),
                    ('d', &[], 1000, "", ""),
                    ('e', &["x"], 1001, "f", ""),
                    ('f', &[], 1001, "", ""),
                    ('g', &[], 1001, "", "e"),
                    ('h', &[], 1001, "", "z"),
                    ('k', &["@e"], 1001, "", ""),
                ],
                two,
                "a young, b child of a, c young, h young; d unreachable, g unreachable, k detached from e, e tags, f unreachable",
            ),
            // A circle of names is no reason to keep anything, or to go round for ever.
            (&[('a', &["@b"], 1, "", ""), ('b', &["@a"], 1, "", "")], two, "; a detached from b, b detached from a"),
            (&[('a', &["@a"], 1, "", "")], two, "; a detached from a"),
            (&[('a', &[], 1, "", ""), ('b', &["@b"], 1, "a", "")], two, "; b detached from b, a unreachable"),
        ] {
            assert_eq!(decided(rows, rules), expected, "{rows:?}");
        }
    }

    #[test]
    fn one_manifest_that_nobody_read_means_that_nothing_goes() {
        let rules = rules(1, &[]);
        let rows: &[Row<'_>] = &[
            ('a', &["1.0.0"], 1, "b", ""),
            ('b', &[], 1, "", ""),
            ('c', &["x"], 1, "z", ""),
            ('d', &["@a"], 1, "z", ""),
        ];
        // What goes may lead to what is gone, and so may a list of referrers.
        assert_eq!(decided(rows, &rules), "a release 1.0.0, b child of a, d attached to a; c tags");
        let (mut versions, mut manifests) = read(rows);
        for row in rows {
            let manifest = manifests.insert(digest(row.0), Err("403".into())).unwrap();
            let expected = format!("{} can't be read: 403", digest(row.0));
            assert_eq!(decide(&versions, &manifests, &rules), Err(vec![expected]));
            manifests.remove(&digest(row.0));
            assert_eq!(decide(&versions, &manifests, &rules), Err(vec![format!("{} was not read", digest(row.0))]));
            manifests.insert(digest(row.0), manifest);
        }
        versions.push(versions[2].clone());
        assert_eq!(decide(&versions, &manifests, &rules), Err(vec![format!("{} is listed twice", digest('c'))]));
        versions.pop();
        versions.remove(1);
        let expected = format!("{} (`1.0.0`) stays and lists {}, which is not there", digest('a'), digest('b'));
        assert_eq!(decide(&versions, &manifests, &rules), Err(vec![expected]));
        versions[0].tags = vec![];
        versions[0].created = 1001;
        let expected = format!("{} stays and lists {}, which is not there", digest('a'), digest('b'));
        assert_eq!(decide(&versions, &manifests, &rules), Err(vec![expected]));
    }

    #[test]
    fn whatever_there_is_what_stays_never_points_at_what_is_removed() {
        const NAMES: &str = "abcdefghijkl";
        const TAGS: [&str; 9] = ["1.0.0", "1.1.0", "2.0.0", "latest", "main", "x", "fp-1", "keep-1", "1.0"];
        let all: Vec<char> = NAMES.chars().collect();
        let (mut kept_some, mut removed_some) = (0, 0);
        cases(2000, |u| {
            let count = u.int_in_range(1..=all.len())?;
            let (mut versions, mut manifests) = (Vec::new(), Manifests::new());
            for (at, &one) in all[..count].iter().enumerate() {
                let mut tags = Vec::new();
                if u.ratio(1, 4)? {
                    tags.push((*u.choose(&TAGS)?).to_owned());
                }
                if u.ratio(1, 4)? {
                    tags.push(tag(&format!("@{}{}", u.choose(&all)?, u.choose(&["", ".sig"])?)));
                }
                // A digest can only be known of what was there before; what points at
                // another may be pushed or listed in any order.
                let mut children = Vec::new();
                while at > 0 && children.len() < 3 && u.ratio(1, 3)? {
                    children.push(digest(*u.choose(&all[..at])?));
                }
                let subject = if at > 0 && u.ratio(1, 4)? { Some(digest(*u.choose(&all[..at])?)) } else { None };
                let created = u.int_in_range(990..=1010)?;
                versions.insert(
                    u.int_in_range(0..=versions.len())?,
                    PackageVersion { id: at as u64, digest: digest(one), tags, created },
                );
                manifests.insert(digest(one), Ok(Manifest { children, subject, ..Manifest::default() }));
            }
            let rules = rules(u.int_in_range(0..=2)?, &["keep-*"]);
            let decision = decide(&versions, &manifests, &rules).unwrap();
            let gone: Vec<&str> = decision.goes.iter().map(|(version, _)| version.digest.as_str()).collect();
            assert_eq!(decision.stays.len() + gone.len(), versions.len());
            kept_some += usize::from(!decision.stays.is_empty());
            removed_some += usize::from(!gone.is_empty());
            let points = |version: &PackageVersion, to: &str, with_names: bool| {
                let manifest = manifests[&version.digest].as_ref().unwrap();
                manifest.children.iter().chain(&manifest.subject).any(|it| it == to)
                    || (with_names && version.tags.iter().any(|tag| attached_to(tag).as_deref() == Some(to)))
            };
            for (version, reason) in &decision.stays {
                assert!(!gone.iter().any(|gone| points(version, gone, false)), "{version:?} {manifests:?}");
                // Nothing is kept for nothing.
                let is_stays = |digest: &str| decision.stays.iter().any(|(version, _)| version.digest == digest);
                match reason {
                    Reason::Child(of) | Reason::Referrer(of) | Reason::Attachment(of) | Reason::Subject(of) => {
                        assert!(is_stays(of) && of != &version.digest, "{version:?}");
                    }
                    _ => assert!(!version.tags.is_empty() || version.created > 1000, "{version:?}"),
                }
            }
            for (at, (version, _)) in decision.goes.iter().enumerate() {
                // What is said about what stays, stays.
                for (kept, _) in &decision.stays {
                    assert!(
                        !points(version, &kept.digest, true) || {
                            let children = &manifests[&version.digest].as_ref().unwrap().children;
                            children.contains(&kept.digest)
                        },
                        "{version:?} {kept:?}"
                    );
                }
                // An end in the middle leaves nothing that points at what is gone.
                let later = &decision.goes[at + 1..];
                assert!(!later.iter().any(|(later, _)| points(later, &version.digest, false)), "{version:?} {later:?}");
            }
            Ok(())
        });
        assert!(kept_some > 500 && removed_some > 500, "{kept_some} {removed_some}");
    }

    #[test]
    fn branches_give_tags_and_reasons_are_sentences() {
        let text = "[project]\nname = \"x\"\nregistry = \"ghcr.io\"\nowner = \"o\"\ndefault-branch = \"trunk\"\n\
            [ci]\nbranches = [\"main\", \"release/**\"]\n\
            [services.a]\nimage = \"a\"\npaths = [\"**\"]\n";
        let project = Project::parse("services.toml".into(), text).unwrap();
        let branches: Vec<String> = branches(&project).unwrap().iter().map(|it| it.text().to_owned()).collect();
        assert_eq!(branches, ["main", "release-**", "trunk"]);
        let of = || "1.0.0".to_owned();
        for (reason, expected) in [
            (Reason::Release(of()), "`1.0.0` is one of the newest releases"),
            (Reason::Pattern(of()), "`--keep-tag` keeps `1.0.0`"),
            (Reason::Moving(of()), "`1.0.0` is a tag that moves"),
            (Reason::Young, "it is young and has no tag yet"),
            (Reason::Child(of()), "it is a part of 1.0.0"),
            (Reason::Referrer(of()), "it refers to 1.0.0"),
            (Reason::Attachment(of()), "it is attached to 1.0.0"),
            (Reason::Subject(of()), "1.0.0 refers to it"),
            (Reason::OldRelease(of()), "there are enough newer releases than `1.0.0`"),
            (Reason::Tags, "none of its tags keeps it"),
            (Reason::Detached(of()), "it is attached to 1.0.0, which does not stay"),
            (Reason::Unreachable, "it has no tag, and nothing that stays leads to it"),
        ] {
            assert_eq!(reason.to_string(), expected);
        }
    }
}
