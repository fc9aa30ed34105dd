//! Measures how long images take to build, start and stop, and how many bytes a
//! push sends.

use std::time::Instant;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::cmd;
use crate::cmd::bench::{AN_HOUR, Bench, median, plain, timed};
use crate::cmd::definition::{BuildSettings, Definition};
use crate::cmd::image::current;
use crate::cmd::objects::{Figure, Unit};
use crate::cmd::shared_scan::SharedScan;
use crate::exec::container_guard::ContainerGuard;
use crate::exec::oci::{Descriptor, Manifest};
use crate::exec::{container_checks, files, git, run};
use crate::fault;
use crate::model::config::Service;
use crate::model::doubt::Answer;
use crate::plan::build::{Output, Request, buildx};
use crate::plan::container::ContainerSpec;
use crate::standin;

impl Bench<'_> {
    pub(super) fn builds(&mut self, service: &Service, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
        let bases = clap::ValueEnum::to_possible_value(&self.args.bases.mode)
            .map_or_else(String::new, |value| value.get_name().to_owned());
        let unchanged = self.ours(&self.root)?.args(["docker", &service.name, "--bases", &bases]);
        let ours = unchanged.clone().arg("--force");
        let raw = [buildx(&self.request(service, Output::Load)?)];
        self.time(&raw[0])?;
        let pairs = self.in_turns(&ours, &raw, |_| Ok(()))?;
        figures.push(timed(format!("{}: nothing changed (--force)", service.name), pairs));
        let pairs = self.in_turns(&unchanged, &raw, |_| Ok(()))?;
        figures.push(timed(format!("{}: nothing changed", service.name), pairs));
        if let Some(file) = self.source(service) {
            let pairs = self.in_turns(&ours, &raw, |bench| bench.change(&file))?;
            figures.push(timed(format!("{}: one line changed, to a loaded image", service.name), pairs));
        }
        Ok(())
    }

    pub(super) fn bytes(&mut self, service: &Service, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
        let before = self.layers(service)?;
        let base = self.base_layers(service)?;
        let ours: u64 = before.layers.iter().skip(base).map(|layer| layer.size).sum();
        figures.push(plain(format!("{}: on top of the base, compressed", service.name), ours as f64, Unit::Bytes));
        if let Some(file) = self.source(service) {
            self.change(&file)?;
            let after = self.layers(service)?;
            let new: u64 =
                after.layers.iter().filter(|layer| !before.layers.contains(layer)).map(|layer| layer.size).sum();
            figures.push(plain(
                format!("{}: pushed after one changed line", service.name),
                (new + after.rest) as f64,
                Unit::Bytes,
            ));
        }
        Ok(())
    }

    pub(super) fn containers(&self, service: &Service, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
        let Some(run) = &service.run else { return Ok(()) };
        let (mut to_health, mut to_exit) = (Vec::new(), Vec::new());
        for _ in 0..self.args.runs {
            let guard = ContainerGuard::new(self.engine, self.project, false)?;
            let container = ContainerSpec {
                service,
                run,
                role: run.roles.first().map(String::as_str),
                image: format!("{}:local", service.image),
                platform: None,
                with_needs: false,
                env: Vec::new(),
                pass: Vec::new(),
            };
            let what = container.role.unwrap_or(&service.name).to_owned();
            let started = Instant::now();
            guard.run(&guard.group.start(&container))?;
            container_checks::first_answer(&guard, &container)?;
            to_health.push(started.elapsed().as_secs_f64());
            to_exit.push(container_checks::seconds_to_exit(&guard, &what)?);
        }
        figures.push(plain(
            format!("{}: docker run to the first answer of {}", service.name, run.health),
            median(to_health),
            Unit::Seconds,
        ));
        figures.push(plain(format!("{}: SIGTERM to exit", service.name), median(to_exit), Unit::Seconds));
        Ok(())
    }

    /// The request for the same build with the raw tool.
    fn request(&self, service: &Service, output: Output) -> anyhow::Result<Request> {
        let ctx = self.at_copy();
        let look = SharedScan::new(&ctx, &[service]);
        let definition = look.definition(service)?;
        let images = definition.images(service.target.as_deref(), &BuildSettings::plain())?;
        let mut request = cmd::image::default_request(&ctx, self.project, service)?;
        request.bases = standin::resolve(self.engine, self.args.bases.mode, &images, &[])?;
        request.labels.extend(standin::label(self.project, &request.bases));
        request.output = output;
        let known = match current::inputs(&ctx, &look, &definition, &request) {
            Answer::Known(known) => known,
            // If the two images had different labels, each build would take the
            // name from the other's image.
            Answer::Doubt(why) => {
                return Err(fault::failed(format!("`{}` can't be compared: {why}", service.name)).into());
            }
        };
        request.labels.push((current::label(self.project), known.fingerprint.to_string()));
        definition.lend(&ctx, request)
    }

    /// A source file that goes into the image.
    fn source(&self, service: &Service) -> Option<Utf8PathBuf> {
        let list = git::git(&self.engine.ctx).look(&["ls-files", "-z"]);
        let files = self.engine.read(&list).ok()?;
        let is_source = |file: &&str| {
            [".py", ".tsx"].iter().any(|end| file.ends_with(end))
                && file.contains("/src/")
                && !file.contains("test")
                && service.paths.includes(file)
        };
        files
            .split('\0')
            .filter(is_source)
            .max_by_key(|file| self.root.join(file).metadata().map_or(0, |data| data.len()))
            .map(|file| self.root.join(file))
    }

    fn change(&mut self, file: &Utf8Path) -> anyhow::Result<()> {
        self.changes += 1;
        let text = std::fs::read_to_string(file)?;
        let line = match file.extension() {
            Some("py") => format!("CHANGED = {}\n", self.changes),
            _ => format!("export const changed{} = {};\n", std::process::id(), self.changes),
        };
        let kept: String = text
            .lines()
            .filter(|line| !line.starts_with("CHANGED = ") && !line.starts_with("export const changed"))
            .map(|line| format!("{line}\n"))
            .collect();
        Ok(std::fs::write(file, kept + &line)?)
    }

    /// The image's layers in the form that a registry receives.
    fn layers(&self, service: &Service) -> anyhow::Result<Shipped> {
        let folder = files::Temporary::new("image.tar")?;
        let mut request = self.request(service, Output::Load)?;
        request.metadata_file = None;
        let mut step = buildx(&request);
        let load = step.args.iter().position(|arg| arg == "--load").context("no --load")?;
        let layout = folder.path().with_extension("d");
        step.args[load] = format!("--output=type=oci,tar=false,dest={layout}");
        run::read(&self.at_copy(), &step.within(AN_HOUR))?;
        let index = Manifest::index(&layout).map_err(fault::failed)?;
        let first = index.manifests.first().context("the image's index names no manifest")?;
        let path = first.path().map_err(fault::failed)?;
        let Manifest { layers, config, .. } = Manifest::read(&layout, &path).map_err(fault::failed)?;
        let config = config.context("the image's manifest names no configuration")?;
        Ok(Shipped { layers, rest: config.size + first.size })
    }

    /// The number of layers that an image shares with the base of its last
    /// stage.
    fn base_layers(&self, service: &Service) -> anyhow::Result<usize> {
        let ctx = self.at_copy();
        let ours = self.layer_ids(&format!("{}:local", service.image))?;
        let mut most = 0;
        for image in Definition::read(&ctx, service)?.images(service.target.as_deref(), &BuildSettings::plain())? {
            let image = standin::image_for(self.engine, self.args.bases.mode, &image)?;
            let base = self.layer_ids(&image).unwrap_or_default();
            if ours.starts_with(&base) {
                most = most.max(base.len());
            }
        }
        Ok(most)
    }

    fn layer_ids(&self, image: &str) -> anyhow::Result<Vec<String>> {
        let image = self.engine.image(image)?.with_context(|| format!("the engine has no image {image}"))?;
        Ok(image.layers().to_vec())
    }
}

/// What a registry receives: the layers, and the size of everything else.
struct Shipped {
    layers: Vec<Descriptor>,
    rest: u64,
}
