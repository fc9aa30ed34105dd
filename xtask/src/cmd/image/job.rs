//! One build: what it needs, the run, its result.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use camino::Utf8Path;
use serde::Deserialize;

use crate::cmd::definition::{BuildSettings, Definition};
use crate::cmd::image::current::{self, CurrentInputs};
use crate::cmd::image::outputs::Outputs;
use crate::cmd::image::publish::{Prover, Publisher, Verdict};
use crate::cmd::image::publish_guard;
use crate::cmd::image::{BuiltImage, PlannedBuild, explain::explain, find, named, record, request, whole};
use crate::cmd::objects::docker::{self as objects, BuildOutcome};
use crate::cmd::shared_scan::SharedScan;
use crate::ctx::{Ctx, Format};
use crate::exec::engine::Engine;
use crate::exec::layers::Marker;
use crate::exec::lent_builder::LentBuilder;
use crate::exec::registry;
use crate::exec::runner::{self, Executor};
use crate::exec::{contents, context, files};
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::{Project, Service};
use crate::model::doubt::Answer;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::model::release::Published;
use crate::plan::build::{Output, Request, image};
use crate::plan::step::{Action, Plan, Step};
use crate::standin;

/// What there is now.
#[derive(Clone, Debug)]
pub struct Built {
    /// For a program.
    pub object: objects::ImageObject,
    /// Its first name, and what the engine may know it by.
    name: Reference,
    ids: Vec<String>,
}

/// What buildx says that it made.
#[derive(Deserialize)]
struct BuildMetadata {
    /// Of the index or the manifest.
    #[serde(rename = "containerimage.digest")]
    digest: Option<String>,
    #[serde(rename = "containerimage.config.digest")]
    config: Option<String>,
}

impl BuildMetadata {
    /// By what an engine may know it.
    fn ids(&self) -> Vec<String> {
        [&self.digest, &self.config].into_iter().flatten().cloned().collect()
    }
}

/// A base image is as large as it is.
const PULL: Duration = Duration::from_secs(1800);

/// A build that only waits to be run.
pub struct Job<'a> {
    /// What is built.
    pub service: &'a Service,
    engine: &'a Engine,
    project: &'a Project,
    request: Request,
    name: Reference,
    definition: Definition<'a>,
    look: &'a SharedScan<'a>,
    known: Option<CurrentInputs>,
}

impl<'a> Job<'a> {
    /// Asks the engine and the tree for what a request leaves open.
    pub fn new(
        engine: &'a Engine,
        project: &'a Project,
        service: &'a Service,
        mut request: Request,
        mode: Bases,
        look: &'a SharedScan<'a>,
    ) -> anyhow::Result<Self> {
        let ctx = &engine.ctx;
        let definition = look.definition(service)?;
        let setting = BuildSettings::new(ctx, &request.build_args, &request.platforms, &[]);
        let images = definition.images(request.target.as_deref(), &setting)?;
        let leaves = publish_guard::leaves_machine(&request);
        if leaves && standin::local(ctx, mode).is_some() {
            // Before minutes go into making them.
            let under: Vec<String> = images.iter().filter(|image| *image != "scratch").cloned().collect();
            publish_guard::check(&request, &service.name, &under)?;
        }
        let builder = engine.version()?.platform().parse()?;
        let needed = definition.platforms(request.target.as_deref(), &setting, &builder)?.images;
        request.bases = standin::resolve(engine, mode, &images, &needed)?;
        if request.pull && request.bases.iter().any(|base| base.stand_in.is_some()) {
            ctx.say("note: without `--pull`: no registry has a stand-in");
            request.pull = false;
        }
        request.labels.extend(standin::label(project, &request.bases));
        if leaves {
            publish_guard::check(&request, &service.name, &standin::stand_ins_under(engine, &request.bases)?)?;
        }
        let setting = BuildSettings::new(ctx, &request.build_args, &request.platforms, &request.bases);
        let foreign = definition.platforms(request.target.as_deref(), &setting, &builder)?.foreign;
        request::check_platforms(engine, &request, &foreign)?;
        let name = request.tags.first().cloned().ok_or_else(|| fault::usage("the image has no tag"))?;
        let mut job = Self { service, engine, project, request, name, definition, look, known: None };
        if job.request.target == service.target && has_bases(&job.request) {
            let mut known = job.known_now();
            if matches!(&known, Answer::Known(known) if job.pull_bases(known)) {
                job.request.bases = standin::resolve(engine, mode, &images, &needed)?;
                known = job.known_now();
            }
            let doubt = match &known {
                Answer::Known(known) => known.doubt.clone(),
                Answer::Doubt(why) => Some(why.to_string()),
            };
            if let Some(why) = doubt {
                ctx.say(format!("note: `{}` is built whether it is up to date or not: {why}", service.name));
            }
            job.known = known.known();
        }
        Ok(job)
    }

    /// Builds, unless the engine has the image already.
    pub fn run(&self, build: impl Fn(&Step) -> anyhow::Result<()>, prover: Prover<'_>) -> anyhow::Result<Built> {
        let started = Instant::now();
        let request = self.labelled();
        if let Some(id) = current::reuse(self.engine, self.project, &request)? {
            return self.built(BuildOutcome::UpToDate, vec![id], started);
        }
        let ctx = &self.engine.ctx;
        let publisher = Publisher { engine: self.engine, service: self.service, request: &request, prover };
        let pushes = request.output == Output::Push;
        let expected = publisher.expected();
        if pushes {
            // Before anything is built.
            publisher.tags(&expected)?;
        }
        let marker = Marker::new(&self.project.name, &self.service.name, &request.platforms);
        let places = Outputs::prepare(ctx, &request, marker)?;
        let lent = self.definition.lend(ctx, request.clone())?;
        let mut context = self.context(&lent, self.look.copy(&self.definition))?;
        let built = self.build(&lent, &places, context.path(), &build);
        // What was touched while it was built may be in it as it was before,
        // after or in between, whatever it is now; and so may BuildKit have it.
        let touched = self.look.touched(&self.definition);
        if touched.is_some() {
            contents::forget_copies(ctx);
        }
        let mut made = built?;
        let mut fingerprint = self.known.as_ref().map(|known| known.fingerprint.clone());
        if let Some(known) = self.known.as_ref().filter(|_| request.labels != self.request.labels) {
            if let Some(what) = touched {
                ctx.say(format!("note: {what} during the build: the image won't be taken for up to date"));
                let lent = self.definition.lend(ctx, self.request.clone())?;
                context = self.context(&lent, None)?;
                made = self.build(&lent, &places, context.path(), &build)?;
                fingerprint = None;
            } else if request.output == Output::Load {
                record::add(ctx, self.project, &known.fingerprint.to_string(), made.ids());
            }
        }
        let verdict = if pushes { self.publish(&publisher, &made, expected)? } else { Verdict::default() };
        let lost = places.keep_cache(ctx, &lent, context.path(), build)?;
        let warnings = lost.map(|why| format!("the layer cache of `{}` was not kept: {why}", self.service.name));
        warnings.iter().for_each(|warning| ctx.say(format!("warning: {warning}")));
        let mut built = self.built(BuildOutcome::Built, made.ids(), started)?;
        built.object.fingerprint = fingerprint.map(|fingerprint| fingerprint.to_string());
        built.object.warnings = warnings.into_iter().collect();
        built.object.test = verdict.proved;
        built.object.not_proved = verdict.not_proved;
        Ok(built)
    }

    /// Proves what was pushed, and puts its tags on it.
    fn publish(&self, publisher: &Publisher<'_>, made: &BuildMetadata, expected: Published) -> anyhow::Result<Verdict> {
        let digest = made.digest.as_ref().context("buildx does not tell the digest of what it pushed")?;
        let verdict = publisher.prove(digest)?;
        // Somebody may have moved one meanwhile.
        let tags = publisher.tags(&Published { digest: Some(digest.clone()), ..expected })?;
        publisher.tag(digest, &tags)?;
        Ok(verdict)
    }

    /// What `run` would do, by what is known now. Asks, and changes nothing.
    pub fn planned(&self) -> anyhow::Result<PlannedBuild> {
        let ctx = &self.engine.ctx;
        let request = self.labelled();
        if let Some((image, steps)) = current::reusable(self.engine, self.project, &request)? {
            return Ok(PlannedBuild { plan: Plan::of(steps), image });
        }
        let (lent, is_lent) = self.definition.lent(ctx, request)?;
        // Stand-ins, and what is lent to builds on them.
        let several = self.request.platforms.iter().any(|it| *it != Platform::of_this_machine());
        let setup = (!is_lent || !has_bases(&self.request)).then(Step::setup);
        let setup = setup.map(|step| step.args(several.then_some("--multi-arch")));
        let pulls = self.known.iter().flat_map(|known| self.pulls(known));
        let steps = setup.into_iter().chain(pulls).map(Action::Run);
        let Plan { steps: build, finally } = whole(ctx, self.project, self.service, &lent);
        Ok(PlannedBuild { plan: Plan { steps: steps.chain(build).collect(), finally }, image: named(&lent) })
    }

    /// Lets the engine have the bases by name, where an image is to stay in it.
    /// BuildKit gets a base for itself, and nobody can ask it for the ONBUILD of
    /// one; what it has of the layers is not downloaded again. Whether one came.
    fn pull_bases(&self, known: &CurrentInputs) -> bool {
        let ctx = &self.engine.ctx;
        let pull = |step: &Step| {
            ctx.show(step);
            self.engine.probe(step).is_some()
        };
        let steps = if ctx.dry_run { Vec::new() } else { self.pulls(known) };
        steps.iter().map(pull).fold(false, |any, came| any | came)
    }

    fn pulls(&self, known: &CurrentInputs) -> Vec<Step> {
        let Request { platforms, output, .. } = &self.request;
        if *output != Output::Load || platforms.len() > 1 {
            return Vec::new();
        }
        let pull = |image: &String| {
            Step::new("docker")
                .args(["pull", "--quiet"])
                .each("--platform", platforms.iter().map(Platform::to_string))
                .arg(image)
                .within(PULL)
        };
        known.unknown_bases.iter().map(pull).collect()
    }

    fn known_now(&self) -> Answer<CurrentInputs> {
        current::inputs(&self.engine.ctx, self.look, &self.definition, &self.request)
    }

    /// The request with the label that says what went in.
    fn labelled(&self) -> Request {
        let Some(known) = &self.known else { return self.request.clone() };
        let fingerprint = known.fingerprint.to_string();
        self.request.labelled(&current::label(self.project), &fingerprint, known.doubt.as_deref())
    }

    /// The link by which a build goes to its context.
    fn context(&self, request: &Request, copy: Option<u64>) -> anyhow::Result<files::Temporary> {
        context::link(&self.engine.ctx, request, copy, &self.definition.both().ignore_text)
    }

    fn build(
        &self,
        request: &Request,
        places: &Outputs,
        context: &Utf8Path,
        build: &impl Fn(&Step) -> anyhow::Result<()>,
    ) -> anyhow::Result<BuildMetadata> {
        let ctx = &self.engine.ctx;
        let metadata = files::Temporary::new(&format!("{}.json", self.service.name))?;
        let metadata_file = Some(metadata.path().to_owned());
        let own = Request { metadata_file, partial: places.partial(ctx, context), ..request.clone() };
        let pushes = request.output == Output::Push;
        let lent = match pushes {
            true => LentBuilder::instead_of(self.engine, request.builder.as_deref())?,
            false => None,
        };
        let lent = lent.as_ref();
        let build = |step: &Step| match lent {
            Some(lent) => build(&lent.lend(step.clone())),
            None => build(step),
        };
        let patient = |step: &Step| match pushes {
            true => registry::patiently(self.engine, || build(step)),
            false => build(step),
        };
        let hand = Building { ctx, places, build: &patient };
        let built = runner::perform(&image(request).run_as(image(&own)), &hand);
        built.map_err(|error| explain(self.engine, self.service, error))?;
        let text = std::fs::read_to_string(metadata.path()).context("buildx does not tell what it made")?;
        serde_json::from_str(&text).context("buildx does not tell what it made as JSON of the usual shape")
    }

    fn built(&self, outcome: BuildOutcome, ids: Vec<String>, started: Instant) -> anyhow::Result<Built> {
        // Asking costs a tenth of a cached build, so only who reads the answer asks.
        let asks = self.engine.ctx.format == Format::Json;
        let pin = format!(":{}", request::pin(&self.engine.ctx)?);
        let in_engine = self.request.output == Output::Load;
        let object = objects::ImageObject {
            service: self.service.name.clone(),
            image: self.service.image.to_string(),
            // The checkout's own tag is for us.
            tags: self.request.tags.iter().map(Reference::to_string).filter(|tag| !tag.ends_with(&pin)).collect(),
            digest: ids.first().cloned(),
            size_bytes: if asks && in_engine { self.engine.image_bytes(self.name.as_str()).ok() } else { None },
            platforms: match self.request.platforms.as_slice() {
                [] if !asks => Vec::new(),
                [] => vec![self.engine.version()?.platform().parse().map_err(fault::failed)?],
                several => several.to_vec(),
            },
            seconds: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            outcome,
            fingerprint: self.known.as_ref().map(|known| known.fingerprint.to_string()),
            warnings: Vec::new(),
            test: None,
            not_proved: Vec::new(),
        };
        Ok(Built { object, name: self.name.clone(), ids })
    }
}

/// Whether all stand-ins are made. They are where more than the plan is wanted.
fn has_bases(request: &Request) -> bool {
    request.bases.iter().all(|base| base.stand_in.is_none() || base.id.is_some())
}

impl Built {
    /// For people: the name that they type next, and what it weighs.
    pub fn line(&self) -> String {
        let objects::ImageObject { service, tags, outcome, seconds, .. } = &self.object;
        format!("{service}: {} {outcome} in {seconds:.1} s", tags.join(" "))
    }

    /// The very image, as the engine holds it.
    pub fn image(&self, engine: &Engine) -> anyhow::Result<BuiltImage> {
        for id in &self.ids {
            if let Some(image) = find(engine, &self.name, id)? {
                return Ok(image);
            }
        }
        Err(fault::failed(format!("the engine no longer has the image of `{}` that was built", self.object.service))
            .help("another build may have taken all of its names; run the command again")
            .into())
    }
}

/// Makes the image; what is half-made goes with the place where it is made.
struct Building<'a, F> {
    ctx: &'a Ctx,
    places: &'a Outputs,
    build: &'a F,
}

impl<F: Fn(&Step) -> anyhow::Result<()>> Executor for Building<'_, F> {
    fn run(&self, step: &Step) -> anyhow::Result<()> {
        if step.tool == "docker" {
            return steadily(self.ctx, step, self.build);
        }
        self.ctx.show(step);
        self.places.put_archive()
    }

    // buildx has written it where we read it.
    fn learn(&self, _step: &Step) -> anyhow::Result<()> {
        Ok(())
    }

    fn clean(&self, _step: &Step) {}
}

/// Of races inside of the containerd image store: a layer of the image that is
/// being replaced was collected while the new one was unpacked on it; two
/// builds gave one name to an image at the same moment.
const RACES: [&str; 2] = ["parent snapshot", "\": already exists"];

/// Builds, and once more where the engine lost a race: everything is cached by
/// then.
fn steadily(ctx: &Ctx, step: &Step, build: impl Fn(&Step) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match build(step) {
        Err(error) if RACES.iter().any(|words| fault::said(&error).contains(words)) => {
            ctx.say("note: the engine tripped over another build of this image; building once more from its cache");
            build(step)
        }
        result => result,
    }
}
