//! `docker clean`: removes what carries our labels, and nothing else. Never a
//! prune: that once destroyed another project's volumes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::CleanArgs;
use crate::cmd;
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::http::Route;
use crate::exec::{checkout, files, interrupt, run};
use crate::fault;
use crate::model::age::Age;
use crate::model::base;
use crate::model::bytes::Bytes;
use crate::model::config::Project;
use crate::model::identity::{Life, Run};
use crate::plan::container;
use crate::plan::step::Step;

/// One thing that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Item {
    kind: &'static str,
    id: String,
    name: String,
    bytes: u64,
}

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &CleanArgs) -> anyhow::Result<()> {
    let services: Vec<String> = project.select(&args.services)?.iter().map(|service| service.name.clone()).collect();
    let chosen = args.containers || args.images || args.cache;
    let all_kinds = args.all || !chosen;
    let mut items = Vec::new();
    if all_kinds || args.containers || args.images {
        let engine = Engine::connect(ctx)?;
        let list = List { engine: &engine, project, args, services: &services };
        if all_kinds || args.containers {
            items.extend(list.containers()?);
            items.extend(list.networks()?);
        }
        if all_kinds || args.images {
            items.extend(list.images()?);
        }
        remove(ctx, &items, |step| run::read(&engine.ctx, step).map(drop))?;
    }
    if args.all || args.cache {
        let caches = caches(ctx, project, args)?;
        remove(ctx, &caches, |step| run::read(ctx, step).map(drop))?;
        items.extend(caches);
    }
    let freed = Bytes(items.iter().map(|item| item.bytes).sum());
    ctx.result(&json!({ "removed": items, "freed_bytes": freed }), || match (items.len(), ctx.dry_run) {
        (0, _) => "nothing of ours is there".into(),
        (n, true) => format!("{n} things would go, {freed}"),
        (n, false) => format!("{n} things gone, {freed} freed"),
    })
}

/// Lists, then removes kind by kind; what fails does not stop the rest.
fn remove(ctx: &Ctx, items: &[Item], act: impl Fn(&Step) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for Item { kind, id, name, bytes } in items {
        let id = id.trim_start_matches("sha256:");
        ctx.say(format!("{kind:<10} {:<12} {:>10}  {name}", id.get(..12).unwrap_or(id), Bytes(*bytes).to_string()));
    }
    let mut failed = Vec::new();
    for kind in ["container", "network", "image", "cache"] {
        let ids: Vec<&str> = items.iter().filter(|item| item.kind == kind).map(|item| item.id.as_str()).collect();
        if ids.is_empty() {
            continue;
        }
        let step = match kind {
            "container" => container::remove_containers(ids),
            "network" => container::remove_networks(ids),
            "image" => Step::new("docker").args(["image", "rm", "--force"]).args(ids),
            _ => Step::new("rm").arg("-rf").args(ids),
        };
        if ctx.dry_run {
            ctx.show(step);
            continue;
        }
        ctx.show(&step);
        // Image after image: that takes its time.
        if let Err(error) = act(&step.within(Duration::from_secs(900))) {
            interrupt::check()?;
            failed.push(format!("{kind}: {}", fault::said(&error)));
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(fault::failed(format!("not all could be removed:\n{}", failed.join("\n"))).into()),
    }
}

fn of_images() -> Route {
    Route::new(&["images", "json"]).query("shared-size", "1")
}

struct List<'a> {
    engine: &'a Engine,
    project: &'a Project,
    args: &'a CleanArgs,
    services: &'a [String],
}

impl List<'_> {
    fn containers(&self) -> anyhow::Result<Vec<Item>> {
        let label = self.project.label("run");
        let found =
            self.engine.labelled(Route::new(&["containers", "json"]).query("all", "1").query("size", "1"), &label)?;
        let found = found.iter().filter(|container| {
            let run = container["Labels"][&label].as_str().unwrap_or_default();
            if is_running(run) && !self.args.all {
                self.engine.ctx.say(format!(
                    "{}: left to the command that runs it now; `--all` takes it",
                    name(&container["Names"][0])
                ));
                return false;
            }
            self.is_chosen(container)
        });
        Ok(found
            .map(|container| Item {
                kind: "container",
                id: text(&container["Id"]),
                name: name(&container["Names"][0]),
                bytes: container["SizeRw"].as_u64().unwrap_or(0),
            })
            .collect())
    }

    fn networks(&self) -> anyhow::Result<Vec<Item>> {
        if !self.args.services.is_empty() {
            // A network is shared by the services of its run.
            return Ok(Vec::new());
        }
        let label = self.project.label("run");
        let found = self.engine.labelled(Route::new(&["networks"]), &label)?;
        let found = found.iter().filter(|network| {
            let run = network["Labels"][&label].as_str().unwrap_or_default();
            (self.args.all || !is_running(run)) && self.is_old(seconds(&text(&network["Created"])))
        });
        Ok(found
            .map(|network| Item { kind: "network", id: text(&network["Id"]), name: text(&network["Name"]), bytes: 0 })
            .collect())
    }

    fn images(&self) -> anyhow::Result<Vec<Item>> {
        let mut found = self.engine.labelled(of_images(), &self.project.label("service"))?;
        if self.args.services.is_empty() {
            let labelled = self.engine.labelled(of_images(), "xtask.stand-in")?;
            found.extend(labelled.into_iter().filter(is_stand_in));
        }
        let mut items: Vec<Item> = found
            .iter()
            .filter(|image| self.is_chosen(image))
            .map(|image| Item {
                kind: "image",
                id: text(&image["Id"]),
                name: image["RepoTags"]
                    .as_array()
                    .map_or(String::new(), |tags| tags.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
                bytes: image["Size"]
                    .as_i64()
                    .unwrap_or(0)
                    .saturating_sub(image["SharedSize"].as_i64().unwrap_or(0).max(0))
                    .max(0)
                    .unsigned_abs(),
            })
            .collect();
        items.sort_by(|a, b| a.id.cmp(&b.id));
        items.dedup_by(|a, b| a.id == b.id);
        Ok(items)
    }

    /// What carries a label, from the engine.
    fn is_chosen(&self, thing: &Value) -> bool {
        let service = thing["Labels"][self.project.label("service")].as_str().unwrap_or_default();
        let of_service = self.args.services.is_empty() || self.services.iter().any(|name| name == service);
        of_service && self.is_old(thing["Created"].as_u64().unwrap_or(0))
    }

    fn is_old(&self, created: u64) -> bool {
        self.args.older_than.is_none_or(|Age(age)| created.saturating_add(age.as_secs()) <= now())
    }
}

fn caches(ctx: &Ctx, project: &Project, args: &CleanArgs) -> anyhow::Result<Vec<Item>> {
    let Ok(entries) = cmd::build::request::cache_root(ctx, project).read_dir_utf8() else { return Ok(Vec::new()) };
    let mut items = Vec::new();
    for entry in entries {
        let entry = entry?;
        let of_service = |service: &String| entry.file_name().starts_with(&format!("{service}-"));
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if (args.services.is_empty() || args.services.iter().any(of_service))
            && args.older_than.is_none_or(|Age(old)| age >= old)
        {
            items.push(Item {
                kind: "cache",
                id: entry.path().to_string(),
                name: entry.file_name().to_owned(),
                bytes: files::bytes_below(entry.path())?,
            });
        }
    }
    Ok(items)
}

/// A label is inherited by what is built on a stand-in, anybody's project
/// included; the name is not. One that lost its name to a newer one has no
/// service either.
fn is_stand_in(image: &Value) -> bool {
    let tags: Vec<&str> = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let of_a_service =
        image["Labels"].as_object().is_some_and(|labels| labels.keys().any(|key| key.ends_with(".service")));
    tags.iter().any(|tag| tag.starts_with(base::DOMAIN)) || (tags.is_empty() && !of_a_service)
}

fn is_running(run: &str) -> bool {
    run.parse().is_ok_and(|run: Run| checkout::life(&run) != Life::Ended)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn name(value: &Value) -> String {
    text(value).trim_start_matches('/').to_owned()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The seconds since 1970 of `2026-11-23T23:40:06…Z`, as the engine writes it
/// for networks; 0 where it is not that.
fn seconds(time: &str) -> u64 {
    let numbers: Vec<i64> = time
        .get(..19)
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { return 0 };
    // Years that begin in March: the leap day comes last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_networks_are_seconds() {
        for (time, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600),
            ("2026-11-23T23:40:06.123456789Z", 1_795_477_206),
            ("nonsense", 0),
        ] {
            assert_eq!(seconds(time), expected, "{time}");
        }
    }
}
