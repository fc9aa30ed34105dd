//! `--push`: what is pushed by its digest is proved, and only then gets its
//! tags. A proof that fails moves none.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::cmd::image::BuiltImage;
use crate::cmd::objects::docker::{NotProved, Proved};
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::runner::{self, Executor};
use crate::exec::{checkout, interrupt, registry};
use crate::fault;
use crate::model::config::{Project, Service};
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::model::release::{self, Promise, Published, VERSION_LABEL, Version};
use crate::plan::build::Request;
use crate::plan::container::ContainerGroup;
use crate::plan::publish;
use crate::plan::step::{Action, DIGEST, Plan, Step};
use crate::plan::system;

/// An emulated container takes so many times longer to be ready.
const EMULATED: u64 = 10;

/// The containers of one proof at a time: the guard of one removes all that is
/// this run's.
static PROVING: Mutex<()> = Mutex::new(());

/// Proves an image, and tells people of each container.
pub type Prover<'a> = &'a (dyn Fn(&Service, BuiltImage) -> anyhow::Result<Proved> + Sync);

/// One image on its way into a registry.
pub struct Publisher<'a> {
    /// The engine that proves it.
    pub engine: &'a Engine,
    /// Whose image it is.
    pub service: &'a Service,
    /// What it is made of, and where it goes.
    pub request: &'a Request,
    /// Who proves it.
    pub prover: Prover<'a>,
}

/// What was proved of an image, and of which platforms nothing was.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What its containers proved; none: nothing was asked of any.
    pub proved: Option<Proved>,
    /// Why not.
    pub not_proved: Vec<NotProved>,
}

impl Publisher<'_> {
    /// The image that will be, as far as it is known before it is built.
    pub fn expected(&self) -> Published {
        Published { digest: None, version: version(self.request), created: self.request.date }
    }

    /// The tags that have to be put on an image; an error where one would break
    /// what it promises. Asks for all of them side by side.
    pub fn tags(&self, new: &Published) -> anyhow::Result<Vec<Reference>> {
        let engine = self.engine;
        let held = |tag: &Reference| -> anyhow::Result<Option<Published>> {
            let Some(digest) = registry::digest(engine, tag.as_str())? else { return Ok(None) };
            let plain = Published { digest: Some(digest), ..Published::default() };
            if self.request.force_tags || plain.digest == new.digest || release::promise(tag.tag()) != Promise::Newest {
                return Ok(Some(plain));
            }
            registry::published(engine, tag.as_str())
        };
        let answers: Vec<anyhow::Result<Option<Published>>> = thread::scope(|scope| {
            let asked: Vec<_> = self.request.tags.iter().map(|tag| scope.spawn(move || held(tag))).collect();
            let panicked = || Err(fault::failed("the question for a tag ended in a panic").into());
            asked.into_iter().map(|answer| answer.join().unwrap_or_else(|_| panicked())).collect()
        });
        interrupt::check()?;
        let mut tags = Vec::new();
        for (tag, answer) in self.request.tags.iter().zip(answers) {
            let held = answer?;
            let moves = match release::put(tag.tag(), held.as_ref(), new) {
                Err(_) if self.request.force_tags => true,
                Err(why) => {
                    return Err(fault::failed(format!("{tag} can't be put there: {why}"))
                        .help("another tag; or, if it is meant so: `--force-tags`")
                        .into());
                }
                Ok(moves) => moves,
            };
            if moves {
                tags.push(tag.clone());
            }
        }
        Ok(tags)
    }

    /// Proves what a registry has under a digest, for each platform that this
    /// machine runs.
    pub fn prove(&self, digest: &str) -> anyhow::Result<Verdict> {
        let mut verdict = Verdict::default();
        let own: Platform = self.engine.version()?.platform().parse().map_err(fault::failed)?;
        let platforms = match self.request.platforms.as_slice() {
            [] => vec![own.clone()],
            several => several.to_vec(),
        };
        let mut results = Vec::new();
        for platform in &platforms {
            let why = match () {
                () if !self.request.proves => Some("`--no-test`"),
                () if self.service.run.is_none() => Some("no `run` table says how"),
                () if *platform != own && !self.emulates(platform) => Some("this machine does not run it"),
                () => None,
            };
            match why {
                Some(why) => {
                    self.engine.ctx.say(format!("note: {} for {platform} is not proved: {why}", self.service.name));
                    verdict.not_proved.push(NotProved { platform: platform.to_string(), why: why.to_owned() });
                }
                None => results.extend(self.proved(digest, platform, *platform != own)?.results),
            }
        }
        if !results.is_empty() {
            let proved = Proved { passed: results.iter().all(|proof| proof.passed), results };
            let failed = proved.failed();
            if failed > 0 {
                return Err(fault::failed(format!(
                    "{failed} of {} containers did not prove {}, so it gets no tag",
                    proved.results.len(),
                    self.image(digest)
                ))
                .help("what was expected and what came is above; no tag was moved")
                .into());
            }
            verdict.proved = Some(proved);
        }
        Ok(verdict)
    }

    fn proved(&self, digest: &str, platform: &Platform, is_emulated: bool) -> anyhow::Result<Proved> {
        let engine = self.engine;
        let _one = PROVING.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, name) = (self.image(digest), platform.to_string());
        let was_there = engine.image(&id)?.is_some();
        let pull = publish::pull(&by_digest(self.request), &name).on(digest);
        engine.ctx.show(&pull);
        registry::patiently(engine, || engine.make(&pull)).map_err(|error| registry::explained(&id, error))?;
        let mut service = self.service.clone();
        if let Some(run) = service.run.as_mut().filter(|_| is_emulated) {
            run.ready_seconds *= EMULATED;
            // It is that of the engine's own platform.
            service.size_budget = None;
        }
        let image = BuiltImage { name: self.request.tags[0].clone(), id: id.clone(), platform: Some(name) };
        let proved = (self.prover)(&service, image);
        if !was_there {
            let _ = engine.tidy(&remove(&id));
        }
        proved
    }

    /// Whether the engine runs a platform that is not its own.
    fn emulates(&self, platform: &Platform) -> bool {
        // The builder of a context has its name, and is the engine itself.
        let context = self.engine.probe(&Step::new("docker").args(["context", "show"]));
        let inspect = Step::new("docker").args(["buildx", "inspect"]).args(context);
        let said = self.engine.probe(&inspect).unwrap_or_default();
        let line = said.lines().find_map(|line| line.strip_prefix("Platforms:")).unwrap_or_default();
        line.split(',').any(|name| name.trim().trim_end_matches('*') == platform.to_string())
    }

    /// Puts tags on what has the digest, and reads each again.
    pub fn tag(&self, digest: &str, tags: &[Reference]) -> anyhow::Result<()> {
        runner::perform(&publish::tag(tags), &Tagging { engine: self.engine, digest })
    }

    fn image(&self, digest: &str) -> String {
        by_digest(self.request).replace(DIGEST, digest)
    }
}

/// Who puts the tags.
struct Tagging<'a> {
    engine: &'a Engine,
    digest: &'a str,
}

impl Executor for Tagging<'_> {
    fn run(&self, step: &Step) -> anyhow::Result<()> {
        let step = step.on(self.digest);
        self.engine.ctx.show(&step);
        let image = step.args.last().map_or("", String::as_str);
        // Half of the tags would be the worst: Ctrl-C waits for these few requests.
        let put = || self.engine.to_clean_up().make(&step);
        registry::patiently(self.engine, put).map_err(|error| registry::explained(image, error))
    }

    fn agree(&self, step: &Step) -> anyhow::Result<()> {
        let tag = step.args.last().map_or("", String::as_str);
        match registry::digest(self.engine, tag)? {
            Some(digest) if digest == self.digest => Ok(()),
            other => Err(fault::failed(format!(
                "{tag} was put on {}, and is on {} now",
                self.digest,
                other.as_deref().unwrap_or("nothing")
            ))
            .help("did somebody else push the same tag just now? `cargo xtask docker SERVICE --push` again")
            .into()),
        }
    }
}

/// What is pushed, by the digest that is not known yet.
fn by_digest(request: &Request) -> String {
    publish::by_digest(&request.tags)
}

fn remove(image: &str) -> Step {
    Step::new("docker").args(["image", "rm", image])
}

/// The release that an image will be: as it is labelled, else by its tags.
fn version(request: &Request) -> Option<Version> {
    let labels = request.run_labels.iter().chain(&request.labels);
    let labelled = labels.filter(|(key, _)| key == VERSION_LABEL).find_map(|(_, value)| Version::of(value));
    labelled.or_else(|| request.tags.iter().filter_map(|tag| Version::of(tag.tag())).max())
}

/// What happens to an image after it was pushed: what is asked of the registry,
/// and of each container between its start and its end, is no line.
pub fn plan(ctx: &Ctx, project: &Project, service: &Service, request: &Request) -> Plan {
    let image = by_digest(request);
    let group = ContainerGroup::of_line(project, checkout::identity(&ctx.root));
    let mut plan = Plan::default();
    let own = [Platform::of_this_machine()];
    let platforms = if request.platforms.is_empty() { &own[..] } else { &request.platforms };
    if let (Some(run), true) = (&service.run, request.proves) {
        for platform in platforms.iter().filter(|platform| own.contains(platform)).map(Platform::to_string) {
            let rounds = |role| system::rounds(service, run, role, &image, Some(&platform), false);
            let containers: Vec<_> = system::roles(run, None).into_iter().flat_map(rounds).collect();
            let proof = system::proof(&group, None, &containers);
            plan.steps.push(publish::pull(&image, &platform).into());
            plan.steps.extend(proof.steps.into_iter().map(|action| match action {
                Action::Run(step) if step.args.contains(&image) => Action::Run(step.of_digest()),
                action => action,
            }));
            plan.finally.extend(proof.finally);
        }
    }
    plan.steps.extend(publish::tag(&request.tags).steps);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_the_release_that_its_label_says_or_its_tags() {
        let tags = |tags: &[&str]| tags.iter().map(|tag| format!("r.io/n:{tag}").parse().unwrap()).collect();
        let label = |value: &str| vec![(VERSION_LABEL.to_owned(), value.to_owned())];
        for (names, label, expected) in [
            (&["latest", "1.2.3", "1.2"][..], Vec::new(), Some("1.2.3")),
            (&["1.2.3", "v1.2.4"], Vec::new(), Some("1.2.4")),
            (&["1.2.3"], label("2.0.0"), Some("2.0.0")),
            (&["1.2.3"], label("main"), Some("1.2.3")),
            (&["main"], label("main"), None),
            (&["main"], Vec::new(), None),
        ] {
            let request = Request { tags: tags(names), run_labels: label, ..Request::default() };
            assert_eq!(version(&request), expected.and_then(Version::of), "{names:?}");
        }
    }
}
