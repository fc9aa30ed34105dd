//! Decides what `docker clean` removes and what stays and why, from facts, before
//! anything is touched.
//!
//! A thing is ours if it says so and has not inherited that. A container or a
//! network needs a name that only we give ([`Owner`]). Images inherit the labels
//! of their base, so labels alone prove nothing: an image needs one of our names,
//! or its id must be in this machine's record of builds. A folder needs a marker.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::base;
use crate::model::config::Project;
use crate::model::identity::{Liveness, is_checkout};
use crate::plan::container::{Owner, STARTING, pin};

/// What the user asks to remove.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// The project.
    pub project: &'a Project,
    /// The checkout that asks.
    pub checkout: &'a str,
    /// Only the things of these services; empty: all services.
    pub services: &'a [String],
    /// Remove running things, too.
    pub running: bool,
    /// Remove the things of other checkouts, too.
    pub all_checkouts: bool,
    /// Only remove older things.
    pub older_than: Option<Duration>,
    /// The current time, in seconds since 1970.
    pub now: u64,
}

/// The decision about a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is removed.
    Goes,
    /// It is ours, or looks like it, and stays; why.
    Stays(String),
    /// It was not asked for, or belongs to somebody else.
    Other,
}

/// A container or a network in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineObject {
    /// Whether it is a network.
    pub is_network: bool,
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub mark: Owner,
    /// The service it belongs to.
    pub service: Option<String>,
    /// Whether the run that created it is alive.
    pub life: Liveness,
    /// Whether it is running.
    pub runs: bool,
    /// When it was created, in seconds since 1970.
    pub created: u64,
    /// How many bytes its removal frees.
    pub bytes: u64,
}

/// An image in the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The engine's id.
    pub id: String,
    /// Its tags.
    pub names: Vec<String>,
    /// The service in its label.
    pub service: Option<String>,
    /// The checkout in its label.
    pub checkout: Option<String>,
    /// For a stand-in: the checkout that created it, according to its label.
    pub maker: Option<String>,
    /// Whether our record says that this machine built it.
    pub known: bool,
    /// The containers that use it and stay.
    pub users: Vec<String>,
    /// When it was created, in seconds since 1970.
    pub created: u64,
    /// How many bytes its removal frees.
    pub bytes: u64,
}

/// A folder of `--cache local`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheFolder {
    /// The service in our marker; `None`: the folder has no marker, or the marker
    /// is not for this folder.
    pub service: Option<String>,
    /// When it was last written, in seconds since 1970.
    pub written: u64,
    /// Why it can't be removed, if something is mounted in it.
    pub mounted: Option<String>,
}

/// What to sweep: things of this checkout whose run is gone, an incomplete
/// `docker up` included.
pub fn swept(things: &[EngineObject], checkout: &str) -> Vec<EngineObject> {
    let is_left =
        |one: &&EngineObject| one.mark.checkout == checkout && one.life == Liveness::Ended && is_half(things, one);
    things.iter().filter(is_left).cloned().collect()
}

/// Whether a thing ends with its run. An `up` does, until it is complete.
fn is_half(things: &[EngineObject], one: &EngineObject) -> bool {
    let mut same = things.iter().filter(|other| other.mark.id == one.mark.id && !other.is_network);
    let is_empty = one.mark.is_up() && same.clone().next().is_none();
    !one.mark.is_up() || is_empty || same.any(|other| other.name.ends_with(STARTING) && other.mark.by == one.mark.by)
}

impl Selection<'_> {
    /// The decision about a container or a network, given all of them.
    pub fn thing(&self, one: &EngineObject, things: &[EngineObject]) -> Fate {
        // The services of a run share its network.
        let of_service = self.is_chosen(one.service.as_deref()) && (self.services.is_empty() || !one.is_network);
        if !self.is_of_checkout(Some(&one.mark.checkout)) || !of_service || !self.is_old(one.created) {
            return Fate::Other;
        }
        let runs = things.iter().any(|other| other.mark.id == one.mark.id && other.runs);
        match (one.mark.is_up(), one.life) {
            (_, Liveness::Ended) if is_half(things, one) => Fate::Goes,
            (true, Liveness::Lives) if is_half(things, one) => Fate::Stays("`docker up` is starting it".into()),
            (true, _) if !runs || self.running => Fate::Goes,
            (true, _) => Fate::Stays("it is up: `docker down` or `--all` ends it".into()),
            (false, Liveness::Lives) => Fate::Stays("the command that made it still runs".into()),
            (false, _) if self.running => Fate::Goes,
            (false, _) => Fate::Stays("its run may still be active elsewhere; `--all` removes it".into()),
        }
    }

    /// The decision about an image, and the tags that it loses; an empty list
    /// means that the whole image is removed by its id.
    pub fn image(&self, image: &ImageFacts) -> (Fate, Vec<String>) {
        if !self.is_old(image.created) {
            return (Fate::Other, Vec::new());
        }
        if image.maker.is_some() && image.names.iter().any(|name| name.starts_with(base::DOMAIN)) {
            return self.stand_in(image);
        }
        let says_so = image.service.is_some() && self.is_of_checkout(image.checkout.as_deref());
        if !says_so || !self.is_chosen(image.service.as_deref()) {
            return (Fate::Other, Vec::new());
        }
        let names: Vec<String> = image.names.iter().filter(|name| self.is_name(name, image)).cloned().collect();
        let fate = match (image.names.is_empty(), names.is_empty()) {
            (true, _) if !image.known => {
                Fate::Stays("it has no name, and this machine's record does not contain it".into())
            }
            (false, true) => Fate::Stays("it has our labels and none of our names: it may be built on ours".into()),
            // As long as it has a tag, the engine keeps the image.
            _ if names.len() == image.names.len() && !image.users.is_empty() => {
                Fate::Stays(format!("{} uses it", image.users.join(", ")))
            }
            _ => Fate::Goes,
        };
        (fate, names)
    }

    /// Stand-ins belong to the machine. The checkout that created one removes it
    /// with `--all`.
    fn stand_in(&self, image: &ImageFacts) -> (Fate, Vec<String>) {
        let is_ours = image.maker.as_deref() == Some(self.checkout);
        if !self.running || !self.services.is_empty() || !is_ours {
            return (Fate::Other, Vec::new());
        }
        match image.users.as_slice() {
            [] => (Fate::Goes, image.names.clone()),
            users => (Fate::Stays(format!("{} uses it", users.join(", "))), Vec::new()),
        }
    }

    /// The decision about a cache folder. All checkouts of the project share it.
    pub fn folder(&self, folder: &CacheFolder) -> Fate {
        match &folder.service {
            None => Fate::Stays("it does not contain our marker".into()),
            service if !self.is_chosen(service.as_deref()) || !self.is_old(folder.written) => Fate::Other,
            _ => folder.mounted.clone().map_or(Fate::Goes, Fate::Stays),
        }
    }

    fn is_chosen(&self, service: Option<&str>) -> bool {
        self.services.is_empty() || self.services.iter().any(|name| Some(name.as_str()) == service)
    }

    /// Older versions wrote no checkout into the label of an image.
    fn is_of_checkout(&self, checkout: Option<&str>) -> bool {
        checkout == Some(self.checkout) || (self.all_checkouts && checkout.is_none_or(is_checkout))
    }

    fn is_old(&self, created: u64) -> bool {
        self.older_than.is_none_or(|age| created.saturating_add(age.as_secs()) <= self.now)
    }

    /// Whether this is a tag that we give: to images of services, of their tests
    /// and of linters, and to everything next to the checkout's own tag.
    fn is_name(&self, name: &str, image: &ImageFacts) -> bool {
        let Some((repository, tag)) = name.rsplit_once(':') else { return false };
        let own = image.checkout.as_deref().map(pin);
        let is_pinned = own.as_deref() == Some(tag)
            || own.is_some_and(|own| image.names.iter().any(|other| *other == format!("{repository}:{own}")));
        let mut names: BTreeSet<String> = self
            .project
            .services
            .values()
            .flat_map(|service| [service.image.to_string(), format!("{}-test", service.image)])
            .collect();
        let stages = self.project.ci.iter().flat_map(|ci| &ci.lint);
        names.extend(stages.map(|stage| format!("{}-{stage}-test", self.project.name)));
        let published = self.project.published(None).map(|at| format!("{at}/")).unwrap_or_default();
        let bare = repository.strip_prefix(&published).filter(|_| !published.is_empty()).unwrap_or(repository);
        // We gave this machine's builds their tags, on any registry.
        let last = repository.rsplit('/').next().unwrap_or_default();
        // Anybody can copy a checkout's tag. We only use it for names without a
        // registry.
        let is_pinned = is_pinned && (image.known || !repository.contains('/'));
        is_pinned || names.contains(bare) || (image.known && names.contains(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "zzzzzzzzzzzz";
    const THEIRS: &str = "kkkkkkkkkkkk";
    const RUN: &str = "b00t-f0-7-100";

    fn project() -> Project {
        let service = |name: &str, image: &str| format!("[services.{name}]\nimage = \"{image}\"\npaths = [\"**\"]\n");
        let text = format!(
            "[project]\nname = \"scribe\"\nregistry = \"ghcr.io\"\nowner = \"o\"\n{}{}",
            service("web", "scribe-web"),
            service("web-admin", "scribe-web-admin")
        );
        Project::parse("services.toml".into(), &text).unwrap()
    }

    fn wanted(project: &Project) -> Selection<'_> {
        Selection {
            project,
            checkout: OURS,
            services: &[],
            running: false,
            all_checkouts: false,
            older_than: None,
            now: 1000,
        }
    }

    /// `Goes`, or the start of the reason why it stays, or an empty text.
    fn word(fate: &Fate) -> &str {
        match fate {
            Fate::Goes => "goes",
            Fate::Stays(why) => why,
            Fate::Other => "",
        }
    }

    fn thing(what: &str, id: &str, checkout: &str, life: Liveness) -> EngineObject {
        let mark = Owner { checkout: checkout.into(), id: id.into(), by: RUN.parse().ok() };
        let name = if what == "network" { format!("scribe-{id}") } else { format!("scribe-{id}-{what}") };
        let is_network = what == "network";
        let service = (!is_network).then(|| what.trim_end_matches(STARTING).to_owned());
        let runs = !is_network;
        EngineObject { is_network, id: name.clone(), name, mark, service, life, runs, created: 900, bytes: 1 }
    }

    #[test]
    fn a_container_goes_when_its_run_is_over_and_what_is_up_only_when_asked() {
        let project = project();
        let (up, theirs) = (format!("up-{OURS}"), format!("up-{THEIRS}"));
        let (up, theirs) = (up.as_str(), theirs.as_str());
        let (goes, other) = ("goes", "");
        let (lives, hidden, is_up) = ("the command", "its run may", "it is up");
        // A description and its fate: by default, with `--all`, with
        // `--all-checkouts`, with both.
        for (what, id, checkout, life, expected) in [
            ("web", RUN, OURS, Liveness::Ended, [goes, goes, goes, goes]),
            ("web", RUN, OURS, Liveness::Lives, [lives, lives, lives, lives]),
            ("web", RUN, OURS, Liveness::Unknown, [hidden, goes, hidden, goes]),
            ("web", RUN, THEIRS, Liveness::Ended, [other, other, goes, goes]),
            ("web", RUN, THEIRS, Liveness::Lives, [other, other, lives, lives]),
            ("web", RUN, THEIRS, Liveness::Unknown, [other, other, hidden, goes]),
            ("web", up, OURS, Liveness::Ended, [is_up, goes, is_up, goes]),
            ("web", up, OURS, Liveness::Lives, [is_up, goes, is_up, goes]),
            ("web", up, OURS, Liveness::Unknown, [is_up, goes, is_up, goes]),
            ("web", theirs, THEIRS, Liveness::Ended, [other, other, is_up, goes]),
            ("web.starting", up, OURS, Liveness::Ended, [goes, goes, goes, goes]),
            ("web.starting", up, OURS, Liveness::Lives, ["`docker up` is"; 4]),
            ("web.starting", theirs, THEIRS, Liveness::Ended, [other, other, goes, goes]),
            ("network", up, OURS, Liveness::Ended, [goes, goes, goes, goes]),
            ("network", RUN, OURS, Liveness::Ended, [goes, goes, goes, goes]),
        ] {
            let one = thing(what, id, checkout, life);
            for (at, expected) in expected.into_iter().enumerate() {
                let wanted = Selection { running: at % 2 == 1, all_checkouts: at > 1, ..wanted(&project) };
                let fate = wanted.thing(&one, std::slice::from_ref(&one));
                let found = word(&fate);
                assert!(
                    found.starts_with(expected) && found.is_empty() == expected.is_empty(),
                    "{one:?} {at}: {found}"
                );
            }
        }
    }

    #[test]
    fn a_system_is_one_thing_and_its_service_and_age_are_exact() {
        let project = project();
        let up = format!("up-{OURS}");
        let stopped = |what| EngineObject { runs: false, ..thing(what, &up, OURS, Liveness::Ended) };
        let network = thing("network", &up, OURS, Liveness::Ended);
        let whole = [network.clone(), stopped("web"), thing("web-admin", &up, OURS, Liveness::Ended)];
        let ended = [network.clone(), stopped("web"), stopped("web-admin")];
        let half = [network.clone(), stopped("web"), stopped("web-admin.starting")];
        for one in &whole {
            assert!(word(&wanted(&project).thing(one, &whole)).starts_with("it is up"), "{one:?}");
        }
        for one in ended.iter().chain(&half) {
            let all = if half.contains(one) { &half } else { &ended };
            assert_eq!(wanted(&project).thing(one, all), Fate::Goes, "{one:?}");
        }
        assert_eq!(swept(&whole, OURS), []);
        assert_eq!(swept(&ended, OURS), [], "who stopped it may want to look at it");
        assert_eq!(swept(&half, OURS), half);
        assert_eq!(swept(&half, THEIRS), []);
        let alone = [network];
        assert_eq!(swept(&alone, OURS), alone);
        let tests = [Liveness::Ended, Liveness::Lives, Liveness::Unknown].map(|life| thing("web", RUN, OURS, life));
        assert_eq!(swept(&tests, OURS), tests[..1]);

        let services = ["web".to_owned()];
        let only = Selection { services: &services, ..wanted(&project) };
        let old = |age| Selection { older_than: Some(Duration::from_secs(age)), ..wanted(&project) };
        for (what, fate) in [("web", Fate::Goes), ("web-admin", Fate::Other), ("network", Fate::Other)] {
            let one = thing(what, RUN, OURS, Liveness::Ended);
            assert_eq!(only.thing(&one, std::slice::from_ref(&one)), fate, "{what}");
        }
        let one = thing("web", RUN, OURS, Liveness::Ended);
        assert_eq!(old(100).thing(&one, std::slice::from_ref(&one)), Fate::Goes);
        assert_eq!(old(101).thing(&one, std::slice::from_ref(&one)), Fate::Other);
    }

    #[test]
    fn an_image_is_ours_by_its_label_and_its_name_and_by_no_label_alone() {
        let project = project();
        let pinned = format!("scribe-web:checkout-{OURS}");
        let old_pin = format!("gone-service:checkout-{OURS}");
        let copied = format!("otherteam/app:checkout-{OURS}");
        let (goes, other, inherits, nameless) = ("goes", "", "it has our labels", "it has no name");
        let web = Some("web");
        for (names, service, checkout, known, expected, removed) in [
            (&["scribe-web:local", &pinned][..], web, Some(OURS), false, [goes, goes], 2),
            (&["scribe-web:v1"], web, Some(OURS), false, [goes, goes], 1),
            (&["scribe-web-test:local"], web, Some(OURS), false, [goes, goes], 1),
            (&["ghcr.io/o/scribe-web:v1"], web, Some(OURS), false, [goes, goes], 1),
            (&[&old_pin, "gone-service:v1"], Some("gone"), Some(OURS), false, [goes, goes], 2),
            // Built on one of our images, so it has all our labels.
            (&["otherteam/app:latest"], web, Some(OURS), false, [inherits, inherits], 0),
            (&["scribe-web-fork:local"], web, Some(OURS), false, [inherits, inherits], 0),
            (&[&copied], web, Some(OURS), false, [inherits, inherits], 0),
            (&["127.0.0.1:5000/scribe-web:v1"], web, Some(OURS), false, [inherits, inherits], 0),
            (&["127.0.0.1:5000/scribe-web:v1"], web, Some(OURS), true, [goes, goes], 1),
            // One of our names, given by somebody else, is not ours.
            (&["scribe-web:local", "otherteam/copy:1"], web, Some(OURS), true, [goes, goes], 1),
            (&["otherteam/copy:1"], web, Some(OURS), true, [inherits, inherits], 0),
            // From another checkout, and from a version without checkouts in
            // labels.
            (&["scribe-web:local"], web, Some(THEIRS), false, [other, goes], 1),
            (&["scribe-web:local"], web, None, false, [other, goes], 1),
            (&["scribe-web:local"], web, Some("latest"), false, [other, other], 0),
            (&["otherteam/app:latest"], web, Some(THEIRS), false, [other, inherits], 0),
            (&["scribe-web:local"], None, Some(OURS), false, [other, other], 0),
            (&[], web, Some(OURS), true, [goes, goes], 0),
            (&[], web, Some(OURS), false, [nameless, nameless], 0),
        ] {
            let image = ImageFacts {
                id: "sha256:1".into(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                service: service.map(str::to_owned),
                checkout: checkout.map(str::to_owned),
                known,
                created: 900,
                ..ImageFacts::default()
            };
            for (at, expected) in expected.into_iter().enumerate() {
                let wanted = Selection { all_checkouts: at == 1, ..wanted(&project) };
                let (fate, gone) = wanted.image(&image);
                let found = word(&fate);
                assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{image:?}: {found}");
                assert_eq!(gone.len(), if fate == Fate::Goes { removed } else { 0 }, "{image:?}: {gone:?}");
            }
            if expected[0] == goes {
                let used = ImageFacts { users: vec!["app".into()], ..image.clone() };
                let all = removed == names.len();
                assert_eq!(word(&wanted(&project).image(&used).0), if all { "app uses it" } else { goes }, "{used:?}");
                let young = Selection { older_than: Some(Duration::from_secs(101)), ..wanted(&project) };
                assert_eq!(young.image(&image).0, Fate::Other);
                let services = ["web-admin".to_owned()];
                assert_eq!(Selection { services: &services, ..wanted(&project) }.image(&image).0, Fate::Other);
            }
        }
    }

    #[test]
    fn a_stand_in_goes_with_all_that_its_maker_has_and_with_nobody_else() {
        let project = project();
        let of = |maker: &str, name: &str| ImageFacts {
            names: vec![name.to_owned()],
            maker: Some(maker.to_owned()),
            ..ImageFacts::default()
        };
        let all = Selection { running: true, ..wanted(&project) };
        let name = format!("{}/python:3.11", base::DOMAIN);
        assert_eq!(all.image(&of(OURS, &name)), (Fate::Goes, vec![name.clone()]));
        let used = ImageFacts { users: vec!["x".into()], ..of(OURS, &name) };
        assert_eq!(word(&all.image(&used).0), "x uses it");
        let services = ["web".to_owned()];
        for (wanted, image) in [
            (wanted(&project), of(OURS, &name)),
            (all.clone(), of(THEIRS, &name)),
            (all.clone(), of("", &name)),
            (Selection { all_checkouts: true, ..all.clone() }, of(THEIRS, &name)),
            (Selection { services: &services, ..all.clone() }, of(OURS, &name)),
            (all.clone(), of(OURS, "otherteam/on-a-stand-in:1")),
        ] {
            assert_eq!(wanted.image(&image).0, Fate::Other, "{image:?}");
        }
    }

    #[test]
    fn a_folder_is_ours_by_its_marker_and_its_service_is_exact() {
        let project = project();
        let services = ["web".to_owned()];
        for (service, all, of_web, young) in [
            (Some("web"), "goes", "goes", ""),
            (Some("web-admin"), "goes", "", ""),
            (
                None,
                "it does not contain our marker",
                "it does not contain our marker",
                "it does not contain our marker",
            ),
        ] {
            let folder = CacheFolder { service: service.map(str::to_owned), written: 900, mounted: None };
            let some = Selection { services: &services, ..wanted(&project) };
            let old = Selection { older_than: Some(Duration::from_secs(101)), ..wanted(&project) };
            for (wanted, expected) in [(wanted(&project), all), (some, of_web), (old, young)] {
                let fate = wanted.folder(&folder);
                let found = word(&fate);
                assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{folder:?}: {found}");
                // Somebody mounted it, so it is theirs, and the folder around it
                // stays.
                let disk = "something is mounted at /mnt";
                let with = wanted.folder(&CacheFolder { mounted: Some(disk.into()), ..folder.clone() });
                assert_eq!(word(&with), if expected == "goes" { disk } else { found }, "{folder:?}");
            }
        }
    }
}
