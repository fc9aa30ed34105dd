//! Where base images come from on this machine, and the stand-ins that are
//! made where no registry answers.
//!
//! A build never probes the network for that: `cargo xtask setup` does, once,
//! and leaves a record. When all stand-ins are there, no process is started.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::private::{Folder, network, packages};
use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::exec::{interrupt, run};
use crate::fault;
use crate::model::base::{self, Bases, StandIn, fnv};
use crate::plan::step::Step;

/// What the stand-ins are built from, by path in the build context.
const FILES: [(&str, &str); 10] = [
    ("Dockerfile", include_str!("../../bases/Dockerfile")),
    ("install", include_str!("../../bases/install")),
    ("node-entry.sh", include_str!("../../bases/node-entry.sh")),
    ("postgres-entry.sh", include_str!("../../bases/postgres-entry.sh")),
    ("redis-entry.sh", include_str!("../../bases/redis-entry.sh")),
    ("nginx/nginx.conf", include_str!("../../bases/nginx/nginx.conf")),
    ("nginx/default.conf", include_str!("../../bases/nginx/default.conf")),
    ("nginx/index.html", include_str!("../../bases/nginx/index.html")),
    ("nginx/50x.html", include_str!("../../bases/nginx/50x.html")),
    ("nginx/entry.sh", include_str!("../../bases/nginx/entry.sh")),
];

/// The release that stand-ins are made of.
const RELEASE: &str = "bookworm";
/// Security updates make an older root file system a bad start.
const ROOT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a registry may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The label that holds the recipe's hash: another recipe, another image.
const RECIPE: &str = "xtask.recipe";

/// What `setup` found out about registries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `local` or `upstream`.
    pub mode: Bases,
    /// When, as a date.
    pub when: String,
    /// What the registry, or the lack of one, said.
    pub why: String,
}

/// The record of the last `setup`, if there was one.
pub fn record(ctx: &Ctx) -> Option<Record> {
    serde_json::from_str(&fs::read_to_string(record_file(ctx)).ok()?).ok()
}

/// Writes the record.
pub fn remember(ctx: &Ctx, mode: Bases, why: &str) -> anyhow::Result<Record> {
    let record = Record { mode, when: today(), why: why.to_owned() };
    let folder = Folder::of(ctx)?;
    drop(folder.lock(ctx, "bases")?);
    fs::write(record_file(ctx), serde_json::to_string_pretty(&record)? + "\n")?;
    Ok(record)
}

fn record_file(ctx: &Ctx) -> Utf8PathBuf {
    ctx.engine_dir().join("bases.json")
}

/// Whether references are replaced by stand-ins, and why.
pub fn local(ctx: &Ctx, mode: Bases) -> Option<String> {
    match mode {
        Bases::Upstream => None,
        Bases::Local => Some("--bases local".to_owned()),
        Bases::Auto => record(ctx)
            .filter(|record| record.mode == Bases::Local)
            .map(|record| format!("no registry answered at setup on {}", record.when)),
    }
}

/// The stand-ins to bind: each reference with the image that replaces it. What
/// is missing is made. Empty when upstream's images are used.
pub fn contexts(
    ctx: &Ctx,
    engine: &Engine,
    mode: Bases,
    references: &[String],
) -> anyhow::Result<Vec<(String, String)>> {
    let Some(why) = local(ctx, mode) else { return Ok(Vec::new()) };
    let wanted = stand_ins(references)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    provide(ctx, engine, &wanted)?;
    let names: Vec<_> = wanted
        .iter()
        .map(|it| match &it.note {
            Some(note) => format!("{} ({note})", it.reference),
            None => it.reference.clone(),
        })
        .collect();
    ctx.say(format!("note: stand-ins instead of upstream images: {} ({why})", names.join(", ")));
    Ok(wanted.into_iter().map(|it| (it.reference, it.image)).collect())
}

/// What to run for a reference: itself, or its stand-in.
pub fn image_for(ctx: &Ctx, engine: &Engine, mode: Bases, reference: &str) -> anyhow::Result<String> {
    let mut pairs = contexts(ctx, engine, mode, &[reference.to_owned()])?;
    Ok(pairs.pop().map_or_else(|| reference.to_owned(), |(_, image)| image))
}

/// The stand-ins of all references, each once; or all that there are none for.
pub fn stand_ins(references: &[String]) -> anyhow::Result<Vec<StandIn>> {
    let mut wanted: Vec<StandIn> = Vec::new();
    let mut wrong = Vec::new();
    for reference in references.iter().filter(|reference| *reference != "scratch") {
        match base::stand_in(reference) {
            Ok(it) if wanted.iter().all(|other| other.reference != it.reference) => wanted.push(it),
            Ok(_) => {}
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() {
        return Ok(wanted);
    }
    Err(fault::failed(wrong.join("\n"))
        .help("`--bases upstream` takes it from its registry; or name a base that there is a stand-in for")
        .into())
}

/// Those of the stand-ins that the engine lacks, or has of another recipe.
pub fn missing(ctx: &Ctx, engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<Vec<StandIn>> {
    let recipe = Inputs::of_host(ctx).recipe();
    let mut missing = Vec::new();
    for it in wanted {
        let image = engine.image(&it.image)?.unwrap_or_default();
        if image["Config"]["Labels"][RECIPE] != recipe.as_str() {
            missing.push(it.clone());
        }
    }
    Ok(missing)
}

/// Makes what is missing. How many that were.
pub fn provide(ctx: &Ctx, engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<usize> {
    if missing(ctx, engine, wanted)?.is_empty() {
        return Ok(0);
    }
    let folder = Folder::of(ctx)?;
    let _lock = folder.lock(ctx, "bases")?;
    // Somebody else may have made them while we waited for the lock.
    let missing = missing(ctx, engine, wanted)?;
    if missing.is_empty() {
        return Ok(0);
    }
    let platform = engine.platform()?;
    if platform != "linux/amd64" {
        return Err(fault::failed(format!("stand-ins are made for linux/amd64 only, and this engine is {platform}"))
            .help("`--bases upstream`, with a registry or a mirror that this machine reaches")
            .into());
    }
    let inputs = Inputs::of_host(ctx);
    for note in &inputs.notes {
        ctx.say(note);
    }
    let context = inputs.write(&folder)?;
    root(ctx, &folder, &context)?;
    let host_network = engine.private && network::remembered(&folder).is_some_and(|it| it.iptables.is_none());
    for it in &missing {
        let since = Instant::now();
        run::run(&engine.ctx, &build(it, &context, &inputs.recipe(), host_network))
            .with_context(|| format!("could not make the stand-in for {}", it.reference))?;
        ctx.say(format!("made {} in {:.0} s", it.image, since.elapsed().as_secs_f64()));
    }
    Ok(missing.len())
}

fn build(it: &StandIn, context: &Utf8Path, recipe: &str, host_network: bool) -> Step {
    let step = Step::new("docker")
        .args(["buildx", "build", "--load", "--provenance=false", "--target", it.kind.target()])
        .args(["--tag", &it.image])
        .each(
            "--label",
            [
                "xtask.managed=true".to_owned(),
                "xtask.kind=stand-in".to_owned(),
                format!("xtask.stand-in={}", it.reference),
                format!("{RECIPE}={recipe}"),
            ],
        )
        .hint("the network must reach Debian's mirror, PyPI and npm, the way that this machine's apt, pip and npm do");
    let step = if it.version.is_empty() { step } else { step.args(["--build-arg", &version(it)]) };
    let step = if host_network { step.arg("--network=host") } else { step };
    step.arg(context.as_str())
}

/// A version that is only a beginning asks for the newest that begins so.
fn version(it: &StandIn) -> String {
    let whole = it.version.split('.').count() >= 3;
    match it.kind {
        base::Kind::Uv | base::Kind::UvPython if !whole => format!("VERSION={}.*", it.version),
        _ => format!("VERSION={}", it.version),
    }
}

/// The root file system, as a file in the build context.
fn root(ctx: &Ctx, folder: &Folder, context: &Utf8Path) -> anyhow::Result<()> {
    let tar = context.join("debian.tar");
    let age = tar.metadata().ok().and_then(|found| found.modified().ok()?.elapsed().ok());
    if age.is_some_and(|age| age < ROOT_AGE) {
        return Ok(());
    }
    let release = packages::release()?;
    if !packages::on_path(ctx, "mmdebstrap") && !folder.bin().join("mmdebstrap").exists() {
        packages::fetch(ctx, folder, &["mmdebstrap"], false, "tools")?;
    }
    let sources: Vec<_> = packages::sources(&release)?
        .iter()
        .map(|source| source.of_release(&release.codename, RELEASE, None).line())
        .collect();
    let list = context.with_file_name("sources.list");
    fs::write(&list, sources.join("\n") + "\n")?;
    let new = context.with_file_name("debian.tar.new");
    let path = ctx.env.get("PATH").unwrap_or_default();
    let path = format!("{path}:{}:{}/tools/usr/bin:/usr/sbin:/sbin", folder.bin(), folder.dir);
    let mut options = vec!["--dpkgopt=force-unsafe-io".to_owned()];
    // What the host tells its apt about the way to the archive holds inside.
    options.extend(acquire(ctx).into_iter().map(|line| format!("--aptopt={line}")));
    for kind in ["man", "doc", "locale", "info", "lintian"] {
        options.push(format!("--dpkgopt=path-exclude=/usr/share/{kind}/*"));
    }
    options.push("--dpkgopt=path-include=/usr/share/doc/*/copyright".to_owned());
    let step = Step::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=minbase", "--include=ca-certificates"])
        .args(options)
        .args([RELEASE, new.as_str(), list.as_str()])
        .env("PATH", path);
    ctx.say("A Debian root file system for the stand-ins (half a minute)");
    ctx.show(&step);
    run::stream(ctx, &step, |line| eprintln!("{line}"))?;
    fs::rename(&new, &tar).with_context(|| format!("could not write {tar}"))
}

/// The host's `Acquire` options that matter in another root: how its mirror is
/// reached, and what its dates are worth.
fn acquire(ctx: &Ctx) -> Vec<String> {
    let text = run::probe(ctx, &Step::new("apt-config").args(["dump", "Acquire"])).unwrap_or_default();
    let useful = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        let check = name.starts_with("acquire::check-") || name.ends_with("::proxy") || name.ends_with("::cainfo");
        // A password must not end up in an image.
        check && !line.contains("\"\"") && !line.contains('@')
    };
    text.lines().filter(useful).map(str::to_owned).collect()
}

/// What of the host goes into stand-ins.
struct Inputs {
    bundle: Vec<u8>,
    local: Vec<(String, Vec<u8>)>,
    etc: Vec<(&'static str, String)>,
    notes: Vec<String>,
}

impl Inputs {
    fn of_host(ctx: &Ctx) -> Self {
        let named = ctx.env.get("SSL_CERT_FILE").and_then(|file| fs::read(file).ok());
        let bundle = named.or_else(|| fs::read("/etc/ssl/certs/ca-certificates.crt").ok());
        let mut local = Vec::new();
        if let Ok(entries) = Utf8Path::new("/usr/local/share/ca-certificates").read_dir_utf8() {
            for entry in entries.flatten().filter(|entry| entry.file_name().ends_with(".crt")) {
                if let Ok(bytes) = fs::read(entry.path()) {
                    local.push((entry.file_name().to_owned(), bytes));
                }
            }
        }
        local.sort();
        let mut inputs = Self { bundle: bundle.unwrap_or_default(), local, etc: Vec::new(), notes: Vec::new() };
        inputs.indexes(ctx);
        inputs
    }

    /// The package indexes that the host is told to use, for the stand-ins'
    /// own tools; what it uses by default they use by default.
    fn indexes(&mut self, ctx: &Ctx) {
        let home = ctx.env.get("HOME").unwrap_or("/root");
        let pip = ctx.env.get("PIP_INDEX_URL").map(str::to_owned).or_else(|| {
            let files =
                ["/etc/pip.conf".to_owned(), format!("{home}/.pip/pip.conf"), format!("{home}/.config/pip/pip.conf")];
            files.iter().rev().find_map(|file| setting(file, "index-url"))
        });
        if let Some(url) = pip.and_then(|url| self.public(url)) {
            self.etc.push(("pip.conf", format!("[global]\nindex-url = {url}\n")));
        }
        let uv = ["UV_DEFAULT_INDEX", "UV_INDEX_URL"].iter().find_map(|name| ctx.env.get(name));
        if let Some(url) = uv.map(str::to_owned).and_then(|url| self.public(url)) {
            self.etc.push(("uv/uv.toml", format!("[[index]]\nurl = {url:?}\ndefault = true\n")));
        }
        let npm = ["NPM_CONFIG_REGISTRY", "npm_config_registry"].iter().find_map(|name| ctx.env.get(name));
        let npm = npm.map(str::to_owned).or_else(|| setting(&format!("{home}/.npmrc"), "registry"));
        if let Some(url) = npm.and_then(|url| self.public(url)) {
            self.etc.push(("npmrc", format!("registry={url}\n")));
        }
    }

    /// A URL without a password in it: an image would carry that anywhere.
    fn public(&mut self, url: String) -> Option<String> {
        let user = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
        if user.is_some_and(|host| host.contains('@')) {
            self.notes.push(
                "note: this machine's package index has a password in its address; stand-ins are made without it"
                    .to_owned(),
            );
            return None;
        }
        Some(url)
    }

    /// The hash of all that stand-ins are made from, versions of packages aside.
    fn recipe(&self) -> String {
        let mut bytes = Vec::new();
        let mut add = |name: &str, text: &[u8]| {
            bytes.extend_from_slice(format!("{name} {}\n", text.len()).as_bytes());
            bytes.extend_from_slice(text);
        };
        for (name, text) in FILES {
            add(name, text.as_bytes());
        }
        add("bundle", &self.bundle);
        for (name, text) in &self.local {
            add(name, text);
        }
        for (name, text) in &self.etc {
            add(name, text.as_bytes());
        }
        format!("{:016x}", fnv(&bytes))
    }

    fn write(&self, folder: &Folder) -> anyhow::Result<Utf8PathBuf> {
        let context = folder.dir.join("bases/context");
        for name in ["ca", "etc", "nginx"] {
            packages::remove(&context.join(name))?;
        }
        let write = |name: &str, text: &[u8]| -> anyhow::Result<()> {
            let path = context.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, text).with_context(|| format!("could not write {path}"))
        };
        for (name, text) in FILES {
            write(name, text.as_bytes())?;
        }
        fs::create_dir_all(context.join("ca/local"))?;
        fs::create_dir_all(context.join("etc"))?;
        write("ca/bundle.crt", &self.bundle)?;
        for (name, text) in &self.local {
            write(&format!("ca/local/{name}"), text)?;
        }
        for (name, text) in &self.etc {
            write(&format!("etc/{name}"), text.as_bytes())?;
        }
        Ok(context)
    }
}

/// `key = value` in a file of a simple kind.
fn setting(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned());
    values.next().filter(|value| !value.is_empty())
}

/// Whether the registries of these references answer at all; else what came
/// instead. One reference a registry is asked for.
pub fn probe_registry(ctx: &Ctx, references: &[String]) -> Result<(), String> {
    let mut hosts: Vec<&str> = Vec::new();
    for reference in references.iter().filter(|reference| *reference != "scratch") {
        let host = reference.split_once('/').map(|(host, _)| host);
        let host = host.filter(|host| host.contains(['.', ':']) || *host == "localhost").unwrap_or("docker.io");
        if hosts.contains(&host) {
            continue;
        }
        hosts.push(host);
        inspect(ctx, reference).map_err(|why| format!("{host}: {why}"))?;
    }
    Ok(())
}

fn inspect(ctx: &Ctx, reference: &str) -> Result<(), String> {
    let mut command = duct::cmd("docker", ["buildx", "imagetools", "inspect", "--raw", reference])
        .stdin_null()
        .stdout_null()
        .stderr_capture()
        .unchecked();
    for (name, value) in &ctx.exports {
        command = command.env(name, value);
    }
    let child = command.start().map_err(|error| error.to_string())?;
    let since = Instant::now();
    let output = loop {
        match child.wait_timeout(Duration::from_millis(50)).map_err(|error| error.to_string())? {
            Some(output) => break output,
            None if since.elapsed() > PATIENCE || interrupt::raised() => {
                let _ = child.kill();
                return Err(format!("no answer within {} s", PATIENCE.as_secs()));
            }
            None => {}
        }
    };
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() || answered(&said) {
        return Ok(());
    }
    let last = said.lines().last().unwrap_or_default();
    Err(last.trim_start_matches("ERROR: ").chars().take(200).collect())
}

/// A registry that refuses one image is there all the same.
fn answered(said: &str) -> bool {
    let lower = said.to_lowercase();
    let words =
        ["manifest unknown", ": not found", "unauthorized", "insufficient_scope", "toomanyrequests", "429 too many"];
    words.iter().any(|word| lower.contains(word))
}

/// The date, in UTC.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    date(seconds / 86_400)
}

/// A day since 1970 as a date (Howard Hinnant's days_from_civil, backwards).
fn date(days: u64) -> String {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(20_780), "2026-11-23");
    }

    #[test]
    fn a_refusal_is_an_answer_and_silence_is_none() {
        assert!(answered("ERROR: docker.io/library/x:y: not found"));
        assert!(answered("pull access denied, insufficient_scope: authorization failed"));
        assert!(!answered("dial tcp: lookup registry.example: no such host"));
        assert!(!answered("failed to do request: Head \"https://r.example/v2/\": EOF"));
    }

    #[test]
    fn a_build_is_one_line_that_says_what_it_makes() {
        let it = base::stand_in("ghcr.io/astral-sh/uv:0.13").unwrap();
        expect_test::expect!["docker buildx build --load --provenance=false --target uv --tag xtask.local/stand-in/uv:0.13 --label 'xtask.managed=true' --label 'xtask.kind=stand-in' --label 'xtask.stand-in=ghcr.io/astral-sh/uv:0.13' --label 'xtask.recipe=ff' --build-arg 'VERSION=0.13.*' --network=host /c"]
            .assert_eq(&build(&it, "/c".into(), "ff", true).to_string());
    }
}
