//! Checks the machine for everything that the commands need. Changes nothing.

use camino::Utf8Path;

use crate::cmd::Sources;
use crate::cmd::objects::SetupItem;
use crate::ctx::Ctx;
use crate::engine::search::{self, EngineSearch};
use crate::engine::{emulator, packages};
use crate::exec::engine::Engine;
use crate::exec::{program, run};
use crate::fault::{self, Fault};
use crate::model::base::{self, Bases, StandIn};
use crate::model::bytes::Bytes;
use crate::model::platform::Platform;
use crate::plan;
use crate::plan::setup::Available;
use crate::plan::step::Plan;
use crate::plan::step::Step;
use crate::standin::{self, Loans, Record};

/// The first engine with named build contexts and everything else that we use.
const ENGINE: u32 = 23;
/// A build of both images with its caches takes about this much space.
const DISK: u64 = 5_000_000_000;
const SETUP: &str = "cargo xtask setup --yes";
const EMULATOR: &str = "cargo xtask setup --emulator";
/// The advice for an engine that can't be used.
pub const BESIDE: &str = "cargo xtask engine up && eval \"$(cargo xtask engine env)\"";

impl SetupItem {
    fn needed(name: &str) -> Self {
        Self { name: name.to_owned(), needed: true, ..Self::default() }
    }

    fn extra(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn found(mut self, version: impl Into<String>, place: impl Into<String>) -> Self {
        (self.found, self.version, self.place) = (true, Some(version.into()), Some(place.into()));
        self
    }

    fn missing(mut self, why: impl Into<String>, fix: impl Into<String>) -> Self {
        (self.found, self.version, self.fix) = (false, Some(why.into()), Some(fix.into()));
        self
    }
}

/// All items. Later ones depend on earlier ones.
pub fn items(ctx: &Ctx, references: &[String], foreign: &[Platform]) -> anyhow::Result<Vec<SetupItem>> {
    let found = search::find(ctx)?;
    let engine = found.engine();
    let ctx = engine.map_or(ctx, |engine| &engine.ctx);
    let mut items = vec![git(ctx)];
    match &found {
        EngineSearch::Engine(engine) => items.extend([client(ctx), server(engine)?]),
        EngineSearch::Nothing(fault) => {
            // If `--yes` can't install it here, the item says what can.
            let fix = match packages::release() {
                Ok(_) => SETUP.to_owned(),
                Err(other) => way_out(other),
            };
            items.push(SetupItem::needed("engine").missing(fault.to_string(), fix));
        }
    }
    items.push(match buildx(ctx) {
        Some((version, place)) => SetupItem::needed("buildx").found(version, place),
        None if engine.is_some() => SetupItem::needed("buildx").missing("no plugin of docker", SETUP),
        None => SetupItem::needed("buildx").missing("comes with the engine", SETUP),
    });
    items.extend(foreign.iter().map(emulator));
    items.extend(images(ctx, engine, references)?);
    items.extend(engine.map(disk).transpose()?.flatten());
    Ok(items)
}

/// The command that a fault tells the person to type.
fn way_out(fault: Fault) -> String {
    let text = fault::render(&fault.into());
    text.rsplit_once("help: ").map_or(SETUP, |(_, help)| help).to_owned()
}

fn git(ctx: &Ctx) -> SetupItem {
    let item = SetupItem::needed("git");
    match (run::probe(ctx, &Step::new("git").arg("--version")), program::find(ctx, "git")) {
        (Some(text), Some(place)) => item.found(text.trim_start_matches("git version "), place),
        _ => item.missing("", "sudo apt-get install git"),
    }
}

fn client(ctx: &Ctx) -> SetupItem {
    let item = SetupItem::needed("docker client");
    let step = Step::new("docker").args(["version", "--format", "{{.Client.Version}}"]);
    match (run::probe(ctx, &step), program::find(ctx, "docker")) {
        (Some(text), Some(place)) => item.found(text, place),
        _ => item.missing("", "sudo apt-get install docker-cli"),
    }
}

fn server(engine: &Engine) -> anyhow::Result<SetupItem> {
    let item = SetupItem::needed("engine");
    if let Some(why) = too_old(engine)? {
        return Ok(item.missing(why, BESIDE));
    }
    let store = if engine.info()?.is_containerd_store() { "containerd image store" } else { "classic image store" };
    Ok(item.found(format!("{} ({store})", engine.version()?.version), &engine.origin))
}

/// Why an engine can't be used, if it can't.
pub fn too_old(engine: &Engine) -> anyhow::Result<Option<String>> {
    let version = engine.version()?.version;
    Ok(is_too_old(&version)
        .then(|| format!("the engine at {} is {version}; {ENGINE} is the oldest that works", engine.origin)))
}

/// A version without a number is somebody's own: it may do.
fn is_too_old(version: &str) -> bool {
    let major = version.split('.').next().and_then(|number| number.parse::<u32>().ok());
    major.is_some_and(|major| major < ENGINE)
}

/// The version of buildx and its path, if it is installed.
pub fn buildx(ctx: &Ctx) -> Option<(String, String)> {
    let text = run::probe(ctx, &Step::new("docker").args(["buildx", "version"]))?;
    let version = text.split_whitespace().nth(1)?.to_owned();
    let config = ctx.docker_config();
    let folders = [
        config.as_str(),
        "/usr/libexec/docker",
        "/usr/local/libexec/docker",
        "/usr/lib/docker",
        "/usr/local/lib/docker",
    ];
    let plugins = folders.iter().map(|dir| format!("{dir}/cli-plugins/docker-buildx"));
    let place = plugins.into_iter().find(|file| Utf8Path::new(file).exists());
    Some((version, place.unwrap_or_else(|| "a plugin of docker".to_owned())))
}

fn emulator(platform: &Platform) -> SetupItem {
    let item = SetupItem::extra(&format!("emulator for {}", platform.as_str().trim_start_matches("linux/")));
    match emulator::registered(platform) {
        Some(entry) => item.found("registered", entry),
        None => {
            let fix = if packages::release().is_ok() { EMULATOR } else { emulator::BY_HAND };
            item.missing("only to run images of other platforms than this machine's", fix)
        }
    }
}

fn images(ctx: &Ctx, engine: Option<&Engine>, references: &[String]) -> anyhow::Result<Vec<SetupItem>> {
    let Some(engine) = engine else {
        return Ok(references
            .iter()
            .map(|name| SetupItem::needed(name).missing("not looked for: no engine", SETUP))
            .collect());
    };
    let record = standin::fresh(ctx);
    let answers = || standin::probe_registry(engine, references).is_ok();
    let mode = source(record.as_ref().map(|record| record.mode), buildx(ctx).is_some(), answers);
    let age = record.as_ref().and_then(Record::age);
    let when = age.map_or_else(|| "now".to_owned(), |age| format!("{age} ago"));
    let is_made = |it: &StandIn| Ok(standin::missing(engine, std::slice::from_ref(it))?.is_empty());
    references.iter().map(|reference| image(reference, mode, &when, is_made)).collect()
}

/// Where images come from, by what was found out last or else is found out now.
/// `Auto`: without buildx nobody can ask a registry.
fn source(known: Option<Bases>, has_buildx: bool, answers: impl FnOnce() -> bool) -> Bases {
    match known {
        Some(known) => known,
        None if !has_buildx => Bases::Auto,
        None if answers() => Bases::Upstream,
        None => Bases::Local,
    }
}

/// Whether a build finds an image that it takes from elsewhere.
fn image(
    reference: &str,
    mode: Bases,
    when: &str,
    is_made: impl FnOnce(&StandIn) -> anyhow::Result<bool>,
) -> anyhow::Result<SetupItem> {
    let item = SetupItem::needed(reference);
    Ok(match (mode, base::stand_in(reference)) {
        (Bases::Upstream, _) => item.found("upstream", format!("its registry answered ({when})")),
        (Bases::Auto, _) => item.missing("not checked: no buildx", SETUP),
        (Bases::Local, Err(_)) => {
            item.missing("no registry answers, and there is no stand-in", "cargo xtask docker SERVICE --bases upstream")
        }
        (Bases::Local, Ok(it)) if is_made(&it)? => item.found("stand-in", it.image),
        (Bases::Local, Ok(_)) => item.missing("no registry answers; the stand-in is not made", SETUP),
    })
}

fn disk(engine: &Engine) -> anyhow::Result<Option<SetupItem>> {
    let dir = &engine.info()?.docker_root_dir;
    // An engine elsewhere (a VM, another machine) has no folder here.
    if dir.is_empty() || !Utf8Path::new(dir).exists() {
        return Ok(None);
    }
    let text = engine.probe(&Step::new("df").args(["-Pk", dir.as_str()])).unwrap_or_default();
    Ok(room(&text, dir))
}

/// What `df -Pk` says of a folder, beside what builds take.
fn room(df: &str, dir: &str) -> Option<SetupItem> {
    let kib: u64 = df.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    let bytes = kib.saturating_mul(1024);
    let item = SetupItem::extra("disk space");
    if bytes < DISK {
        let why = format!("{} free in {dir}, and builds take about {}", Bytes(bytes), Bytes(DISK));
        return Some(item.missing(why, "cargo xtask docker clean --all"));
    }
    Some(item.found(format!("{} free", Bytes(bytes)), dir))
}

/// The plan of `--yes`.
pub fn plan(ctx: &Ctx, sources: &Sources) -> anyhow::Result<Plan> {
    let found = search::find(ctx)?;
    let local = standin::record(ctx).is_some_and(|record| record.mode == Bases::Local);
    let bases = match &found {
        EngineSearch::Engine(engine) if local => {
            let missing = standin::missing(engine, &standin::stand_ins_for(engine, &sources.images, &sources.needed)?)?;
            for it in &missing {
                ctx.say(format!("note: the stand-in for {} is not made", it.reference));
            }
            missing.is_empty() && sources.loans.iter().all(Loans::are_there)
        }
        // Without a record of today the registries are asked.
        EngineSearch::Engine(_) => standin::fresh(ctx).is_some(),
        EngineSearch::Nothing(why) => {
            ctx.say(format!("note: {why}"));
            false
        }
    };
    let engine = found.engine();
    let buildx = engine.is_some_and(|engine| buildx(&engine.ctx).is_some());
    let there = Available { engine: engine.is_some(), buildx, bases };
    Ok(plan::setup::plan(there))
}

/// The table, followed by the commands that install what is missing.
pub fn table(items: &[SetupItem]) -> String {
    let rows: Vec<[&str; 4]> = items
        .iter()
        .map(|item| {
            let found = if item.found {
                "yes"
            } else if item.needed {
                "MISSING"
            } else {
                "no"
            };
            [&item.name, found, item.version.as_deref().unwrap_or_default(), item.place.as_deref().unwrap_or_default()]
        })
        .collect();
    let head = ["what", "found", "version", "where"];
    // The last column needs no padding, because a long reason must not widen the
    // table.
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter(|row| column < 2 || !row[3].is_empty());
        cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let mut lines: Vec<String> = [&head]
        .into_iter()
        .chain(&rows)
        .map(|row| {
            let line = format!(
                "{:w0$}  {:w1$}  {:w2$}  {}",
                row[0],
                row[1],
                row[2],
                row[3],
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2]
            );
            line.trim_end().to_owned()
        })
        .collect();
    let mut fixes: Vec<&str> = items.iter().filter(|item| !item.found).filter_map(|item| item.fix.as_deref()).collect();
    fixes.dedup();
    if !fixes.is_empty() {
        lines.push(String::new());
        lines.push("what gets it:".to_owned());
        lines.extend(fixes.iter().map(|fix| format!("  {fix}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_an_item_and_a_line_a_fix() {
        let items = [
            SetupItem::needed("git").found("2.39.5", "/usr/bin/git"),
            SetupItem::needed("engine").missing("no Docker Engine answers at unix:///var/run/docker.sock", SETUP),
            SetupItem::needed("buildx").missing("comes with the engine", SETUP),
            SetupItem::extra("emulator").missing("", "sudo x"),
        ];
        expect_test::expect![[r#"
            what      found    version  where
            git       yes      2.39.5   /usr/bin/git
            engine    MISSING  no Docker Engine answers at unix:///var/run/docker.sock
            buildx    MISSING  comes with the engine
            emulator  no

            what gets it:
              cargo xtask setup --yes
              sudo x"#]]
        .assert_eq(&table(&items));
    }

    #[test]
    fn an_engine_is_too_old_by_its_major_number() {
        for (version, expected) in
            [("22.0.9", true), ("23.0.0", false), ("23", false), ("26.1.5+dfsg1", false), ("9", true), ("dev", false)]
        {
            assert_eq!(is_too_old(version), expected, "{version}");
        }
    }

    #[test]
    fn an_image_is_there_upstream_or_as_a_stand_in_that_is_made() {
        use Bases::{Auto, Local, Upstream};
        for (known, has_buildx, answers, expected) in [
            (Some(Local), true, true, Local),
            (Some(Upstream), false, false, Upstream),
            (None, false, true, Auto),
            (None, true, true, Upstream),
            (None, true, false, Local),
        ] {
            assert_eq!(source(known, has_buildx, || answers), expected, "{known:?} {has_buildx} {answers}");
        }
        for (reference, mode, is_made, found, said) in [
            ("node:20", Upstream, false, true, "upstream"),
            ("mine", Upstream, false, true, "upstream"),
            ("node:20", Auto, true, false, "not checked: no buildx"),
            ("node:20", Local, true, true, "stand-in"),
            ("node:20", Local, false, false, "no registry answers; the stand-in is not made"),
            ("mine", Local, true, false, "no registry answers, and there is no stand-in"),
        ] {
            let item = image(reference, mode, "now", |_| Ok(is_made)).unwrap();
            assert!(item.needed);
            assert_eq!((item.found, item.version.as_deref()), (found, Some(said)), "{reference} {mode:?}");
        }
    }

    #[test]
    fn there_is_room_where_a_build_with_its_caches_fits() {
        let df =
            |kib: u64| format!("Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 9 1 {kib} 1% /\n");
        for (text, found) in [
            (df(DISK / 1024 + 1), Some(true)),
            (df(DISK / 1024), Some(false)),
            (df(0), Some(false)),
            ("df: /x: No such file or directory\n".to_owned(), None),
            (String::new(), None),
        ] {
            let item = room(&text, "/x");
            assert!(item.as_ref().is_none_or(|item| !item.needed), "builds may do with less");
            assert_eq!(item.map(|item| item.found), found, "{text}");
        }
    }
}
