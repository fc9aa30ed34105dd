//! `docker clean`: removes our own things and nothing else. It never prunes,
//! because a prune once destroyed another project's volumes.
//! [`crate::plan::clean`] decides what to remove; this module collects the facts
//! and removes.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use camino::Utf8DirEntry;

use crate::cli::docker::CleanArgs;
use crate::cmd::image::record;
use crate::cmd::image::request::{cache_root, images_lock};
use crate::cmd::objects::docker::{CleanItem, CleanKind, Cleaned};
use crate::ctx::Ctx;
use crate::engine::search;
use crate::exec::atomic_output::AtomicOutput;
use crate::exec::engine::Engine;
use crate::exec::layers::Marker;
use crate::exec::{checkout, clock, container_guard, files, interrupt, run};
use crate::fault;
use crate::model::bytes::Bytes;
use crate::model::config::Project;
use crate::plan::clean::{CacheFolder, EngineObject, Fate, ImageFacts, Selection};
use crate::plan::step::Step;
use crate::plan::system;
use crate::standin;

/// How long the engine may take to remove images, and the disk to remove a
/// folder.
const PATIENCE: Duration = Duration::from_secs(600);

/// The result: what was removed, what stays, and what failed.
#[derive(Default)]
struct CleanReport {
    removed: Vec<CleanItem>,
    left: Vec<CleanItem>,
    failed: Vec<String>,
}

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &CleanArgs) -> anyhow::Result<()> {
    project.select(&args.services)?;
    let chosen = args.containers || args.images || args.cache;
    let all_kinds = args.all || !chosen;
    let checkout = checkout::identity(&ctx.root);
    let wanted = Selection {
        project,
        checkout: &checkout,
        services: &args.services,
        running: args.all,
        all_checkouts: args.all_checkouts,
        older_than: args.older_than.map(|age| age.0),
        now: clock::now().as_secs(),
    };
    let mut report = CleanReport::default();
    if all_kinds || args.containers || args.images {
        let engine = search::connect(ctx)?;
        let mut going = Vec::new();
        if all_kinds || args.containers {
            going = things(&engine, &wanted, &mut report)?;
        }
        if all_kinds || args.images {
            images(&engine, &wanted, &going, &mut report)?;
        }
    }
    if args.all || args.cache {
        folders(ctx, &wanted, &mut report)?;
    }
    let CleanReport { removed, left, failed } = report;
    let freed = Bytes(removed.iter().map(|item| item.bytes).sum());
    let cleaned = Cleaned { removed, left, freed_bytes: freed.0 };
    let delivered = ctx.result(&cleaned, || match (cleaned.removed.len(), ctx.dry_run) {
        (0, _) => "there is nothing to remove".into(),
        (n, true) => format!("would remove {n} things, {freed}"),
        (n, false) => format!("removed {n} things, freed {freed}"),
    });
    // Failures are reported even if nobody reads the result.
    match failed.as_slice() {
        [] => delivered,
        failed => Err(fault::failed(format!("some things could not be removed:\n{}", failed.join("\n"))).into()),
    }
}

impl CleanReport {
    /// Reports the decision about an item; returns whether to remove it.
    fn says(&mut self, ctx: &Ctx, item: &CleanItem, fate: Fate) -> bool {
        let id = item.id.trim_start_matches("sha256:");
        let (kind, name, id) = (item.kind, &item.name, id.get(..12).unwrap_or(id));
        match fate {
            Fate::Goes => ctx.say(format!("{kind:<10} {id:<12} {:>10}  {name}", Bytes(item.bytes).to_string())),
            Fate::Stays(why) => {
                ctx.say(format!("{kind:<10} {id:<12} {:>10}  {name}: {why}", "stays"));
                self.left.push(CleanItem { why: Some(why), ..item.clone() });
                return false;
            }
            Fate::Other => return false,
        }
        true
    }
}

/// Removes containers and networks; returns the ids of those removed.
fn things(engine: &Engine, wanted: &Selection<'_>, report: &mut CleanReport) -> anyhow::Result<Vec<String>> {
    let checkout = (!wanted.all_checkouts).then_some(wanted.checkout);
    let held = container_guard::held(engine, wanted.project, checkout, true)?;
    let mut going: Vec<EngineObject> = Vec::new();
    let mut items = Vec::new();
    for one in &held {
        let kind = if one.is_network { CleanKind::Network } else { CleanKind::Container };
        let item = CleanItem { kind, id: one.id.clone(), name: one.name.clone(), bytes: one.bytes, why: None };
        if report.says(&engine.ctx, &item, wanted.thing(one, &held)) {
            going.push(one.clone());
            items.push(item);
        }
    }
    let ids: Vec<String> = going.iter().map(|one| one.id.clone()).collect();
    for (step, _) in system::removal(&going) {
        engine.ctx.show(step);
    }
    let removed = if engine.ctx.dry_run { Ok(()) } else { container_guard::remove(engine, &going) };
    match removed {
        Ok(()) => report.removed.extend(items),
        Err(error) => report.failed.push(format!("{error:#}")),
    }
    interrupt::check()?;
    Ok(ids)
}

/// Removes our names from images; the engine deletes images without another name.
fn images(engine: &Engine, wanted: &Selection<'_>, going: &[String], report: &mut CleanReport) -> anyhow::Result<()> {
    let mut items = Vec::new();
    for image in candidates(engine, wanted.project, going)? {
        let (fate, names) = wanted.image(&image);
        let bytes = if names.len() == image.names.len() { image.bytes } else { 0 };
        let shown = if names.is_empty() { &image.names } else { &names };
        let item = CleanItem { kind: CleanKind::Image, id: image.id.clone(), name: shown.join(" "), bytes, why: None };
        if report.says(&engine.ctx, &item, fate) {
            items.push((item, if names.is_empty() { vec![image.id] } else { names }, image.checkout));
        }
    }
    if items.is_empty() {
        return Ok(());
    }
    let step = |names: Vec<&String>| Step::new("docker").args(["image", "rm"]).args(names).within(PATIENCE);
    if engine.ctx.dry_run {
        engine.ctx.show(step(items.iter().flat_map(|(_, names, _)| names).collect()));
        report.removed.extend(items.into_iter().map(|(item, ..)| item));
        return Ok(());
    }
    let _locks = locks(engine, wanted, items.iter().filter_map(|(.., checkout)| checkout.as_deref()))?;
    // While we waited, another image may have taken the name.
    let mut there = Vec::new();
    for (item, names, _) in &items {
        there.extend(still(engine, names, &item.id)?);
    }
    let mut said = String::new();
    if !there.is_empty() {
        let step = step(there);
        engine.ctx.show(&step);
        said = engine.words(&step);
    }
    let users = users(engine, going)?;
    for (item, names, _) in &items {
        match (still(engine, names, &item.id)?.as_slice(), users.get(&item.id)) {
            ([], _) => report.removed.push(item.clone()),
            (_, Some(users)) => {
                report.says(&engine.ctx, item, Fate::Stays(format!("{} uses it", users.join(", "))));
            }
            _ => report.failed.push(format!("image {}: {said}", item.name)),
        }
    }
    interrupt::check()?;
    Ok(())
}

/// Waits until no run is between building an image and running it.
fn locks<'a>(
    engine: &Engine,
    wanted: &Selection<'_>,
    checkouts: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Vec<File>> {
    let mut checkouts: Vec<&str> = checkouts.collect();
    checkouts.sort_unstable();
    checkouts.dedup();
    let lock = |of: &&str| {
        let file = images_lock(&engine.ctx, wanted.project, of);
        files::lock(&engine.ctx, &file, "a command that needs images is still running")
    };
    checkouts.iter().map(lock).collect()
}

/// Those of these names or ids that still belong to this image.
fn still<'a>(engine: &Engine, names: &'a [String], id: &str) -> anyhow::Result<Vec<&'a String>> {
    let mut still = Vec::new();
    for name in names {
        if engine.image(name)?.is_some_and(|image| image.id == id) {
            still.push(name);
        }
    }
    Ok(still)
}

/// The images with our labels.
fn candidates(engine: &Engine, project: &Project, going: &[String]) -> anyhow::Result<Vec<ImageFacts>> {
    let mut found = engine.labelled_images(&project.label("service"))?;
    found.extend(engine.labelled_images(standin::STAND_IN)?);
    let users = users(engine, going)?;
    let known = record::ids(&engine.ctx, project);
    let mut images = BTreeMap::new();
    for listed in found {
        let label = |key: &str| listed.labels.get(key).cloned();
        let id = &listed.id;
        let image = ImageFacts {
            service: label(&project.label("service")),
            // Labels of a pushed image don't name the checkout: otherwise the
            // image would differ between machines.
            checkout: label(&project.label("checkout")).or_else(|| known.get(id).cloned()),
            maker: listed.labels.contains_key(standin::STAND_IN).then(|| label(standin::MAKER).unwrap_or_default()),
            known: known.contains_key(id),
            users: users.get(id).cloned().unwrap_or_default(),
            created: listed.created(),
            bytes: listed.own_bytes(),
            names: listed.repo_tags,
            id: listed.id,
        };
        images.insert(image.id.clone(), image);
    }
    Ok(images.into_values().collect())
}

/// The containers created from each image, except for those that are removed.
fn users(engine: &Engine, going: &[String]) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in engine.containers()? {
        if !going.contains(&container.id) {
            let name = container.name().unwrap_or(&container.id).to_owned();
            users.entry(container.image).or_default().push(name);
        }
    }
    Ok(users)
}

/// The folders of `--cache local`.
fn folders(ctx: &Ctx, wanted: &Selection<'_>, report: &mut CleanReport) -> anyhow::Result<()> {
    let Ok(entries) = cache_root(ctx, wanted.project).read_dir_utf8() else { return Ok(()) };
    for entry in entries {
        // A name that is not UTF-8 is not one of ours, and a missing folder is
        // empty.
        let Ok(path) = entry.map(Utf8DirEntry::into_path) else { continue };
        let Ok(found) = path.symlink_metadata() else { continue };
        let name = path.file_name().unwrap_or_default().to_owned();
        // Other entries are our own records or locks, or hidden and incomplete.
        if found.is_file() || name.starts_with('.') {
            continue;
        }
        let written = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let marker = Marker::of(&path).filter(|marker| marker.project == wanted.project.name);
        let written = written.unwrap_or_default().as_secs();
        let mounted = files::removal::mounted(path.as_std_path());
        let folder = CacheFolder { service: marker.map(|marker| marker.service), written, mounted };
        // A folder that stays is not measured: it may be of any size.
        let fate = wanted.folder(&folder);
        let bytes = if fate == Fate::Goes { files::bytes_below(path.as_std_path()) } else { 0 };
        let item = CleanItem { kind: CleanKind::Cache, id: path.to_string(), name, bytes, why: None };
        if !report.says(ctx, &item, fate) {
            continue;
        }
        let step = Step::new("rm").args(["-rf", "--one-file-system", "--", path.as_str()]).within(PATIENCE);
        ctx.show(&step);
        if !ctx.dry_run {
            let _claim = AtomicOutput::new(ctx, &path)?;
            let said = run::words(ctx, &step);
            if path.symlink_metadata().is_ok() {
                report.failed.push(format!("cache {path}: {said}"));
                continue;
            }
        }
        report.removed.push(item);
        interrupt::check()?;
    }
    Ok(())
}
