//! The files that a build leaves beside the image: an archive, a local cache.
//! One run at a time writes each, and it is whole or it is the old one.

use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::atomic_output::AtomicOutput;
use crate::exec::files::removal;
use crate::exec::interrupt;
use crate::exec::layers::Marker;
use crate::exec::runner::{self, Executor};
use crate::fault::{self, Fault};
use crate::plan::build::{Cache, Output, PartialOutputs, Request, keep};
use crate::plan::step::Step;

/// The right to write them.
pub struct Outputs {
    archive: Option<AtomicOutput>,
    cache: Option<(AtomicOutput, Marker)>,
}

impl Outputs {
    /// Waits for other runs that write the same; always in this order, so that
    /// no two wait for each other.
    pub fn prepare(ctx: &Ctx, request: &Request, marker: Marker) -> anyhow::Result<Self> {
        let archive = match &request.output {
            Output::Oci(file) => Some(archive(ctx, file)?),
            _ => None,
        };
        let cache = match &request.cache {
            Cache::Local(dir, _) => {
                let output = AtomicOutput::new(ctx, dir)?;
                check_cache(&ctx.root.join(dir), &marker)?;
                Some((output, marker))
            }
            _ => None,
        };
        Ok(Self { archive, cache })
    }

    /// Where a build makes them; from the root, where it lies below: BuildKit
    /// takes no cache by a path that has letters outside of ASCII.
    pub fn partial(&self, ctx: &Ctx, context: &Utf8Path) -> PartialOutputs {
        let from_root = |output: &AtomicOutput| {
            let new = output.new_path();
            new.strip_prefix(&ctx.root).unwrap_or(new).to_owned()
        };
        PartialOutputs {
            archive: self.archive.as_ref().map(from_root),
            cache: self.cache.as_ref().map(|(output, _)| from_root(output)),
            context: Some(context.to_owned()),
        }
    }

    /// The archive is whole.
    pub fn put_archive(&self) -> anyhow::Result<()> {
        self.archive.as_ref().map_or(Ok(()), AtomicOutput::put)
    }

    /// Keeps the layer cache of what was just built. The image is there: what
    /// goes wrong here is said and no failure.
    pub fn keep_cache(
        &self,
        ctx: &Ctx,
        request: &Request,
        context: &Utf8Path,
        build: impl Fn(&Step) -> anyhow::Result<()>,
    ) -> Result<Option<String>, Fault> {
        let own = Request { partial: self.partial(ctx, context), ..request.clone() };
        let (Some(plan), Some(own)) = (keep(request), keep(&own)) else { return Ok(None) };
        let Err(error) = runner::perform(&plan.run_as(own), &Keeping { ctx, places: self, build }) else {
            return Ok(None);
        };
        interrupt::check()?;
        let last = fault::said(&error).lines().rev().find_map(|line| line.strip_prefix("ERROR: "));
        Ok(Some(last.map_or_else(|| format!("{error:#}"), str::to_owned)))
    }
}

/// Keeps the layer cache; what is half-made goes with the place where it is made.
struct Keeping<'a, F> {
    ctx: &'a Ctx,
    places: &'a Outputs,
    build: F,
}

impl<F: Fn(&Step) -> anyhow::Result<()>> Executor for Keeping<'_, F> {
    fn run(&self, step: &Step) -> anyhow::Result<()> {
        match (step.tool.as_str(), &self.places.cache) {
            ("docker", _) => (self.build)(step),
            // What this line says, looking closer.
            ("sh", Some((output, marker))) => {
                self.ctx.show(step);
                marker.seal(output.new_path())?;
                output.put()
            }
            _ => Ok(()),
        }
    }

    fn clean(&self, _step: &Step) {}
}

fn archive(ctx: &Ctx, file: &Utf8Path) -> anyhow::Result<AtomicOutput> {
    if ctx.root.join(file).is_dir() {
        return Err(fault::usage(format!("--output oci={file}: that is a folder; expected the path of a file")).into());
    }
    AtomicOutput::new(ctx, file)
}

/// Refuses a folder that somebody else may need: it would be replaced.
fn check_cache(dir: &Utf8Path, marker: &Marker) -> Result<(), Fault> {
    if let Some(why) = removal::mounted(dir.as_std_path()) {
        return Err(fault::usage(format!("{dir} can't be replaced by a new layer cache: {why}"))
            .help("unmount it, or name another folder: `--cache-dir DIR`"));
    }
    if dir.symlink_metadata().is_err() || Marker::of(dir).as_ref() == Some(marker) {
        return Ok(());
    }
    let whose = match Marker::of(dir) {
        Some(other) => format!("the layer cache of project `{}`", other.project),
        None => "no layer cache of ours".to_owned(),
    };
    Err(fault::usage(format!("{dir} is {whose}, and a layer cache of `{}` is expected there", marker.service))
        .help("remove it if nobody needs it, or name another folder: `--cache-dir DIR`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::files::Temporary;

    #[test]
    fn a_cache_is_kept_where_nothing_is_or_its_own_predecessor() {
        let marker = |project: &str| Marker::new(project, "web", &["linux/amd64".parse().unwrap()]);
        let folder = Temporary::new(&marker("demo").folder()).unwrap();
        let dir = folder.path();
        assert!(check_cache(dir, &marker("demo")).is_ok());
        std::fs::create_dir(dir).unwrap();
        let why = |marker: &Marker| check_cache(dir, marker).unwrap_err().to_string();
        assert!(why(&marker("demo")).contains("no layer cache of ours"));
        std::fs::write(dir.join("xtask-cache.json"), serde_json::to_string(&marker("demo")).unwrap()).unwrap();
        assert!(check_cache(dir, &marker("demo")).is_ok());
        assert!(why(&marker("other")).contains("of project `demo`"));
    }
}
