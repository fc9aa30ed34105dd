//! Finds the Docker Engine to use, and checks that it answers.
//!
//! The engine itself is asked, because a `docker` on the PATH does not prove that
//! a daemon runs. The order is: `DOCKER_HOST`, the client's context, the default
//! socket, and the private engine that `cargo xtask setup` installs if there is
//! no other.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::{EngineFolder, Health, health, packages, up, was_up};
use crate::ctx::Ctx;
use crate::exec::api::{self, Endpoint};
use crate::exec::engine::{Engine, exports};
use crate::exec::{files, input, interrupt, program};
use crate::fault::{self, Fault};

/// The default socket of a Docker Engine.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// No configuration of a docker client is larger.
const CONFIG_LIMIT: u64 = 4 << 20;

/// Finds the engine and makes sure that it answers. A private engine that died is
/// restarted if the user may do so.
pub fn connect(ctx: &Ctx) -> anyhow::Result<Engine> {
    let found = match search(ctx)? {
        SearchResult::Died(..) if !ctx.dry_run && packages::release().is_ok() => {
            up(ctx)?;
            search(ctx)?
        }
        found => found,
    };
    let engine = found.or_fault()?;
    if !ctx.dry_run {
        files::sweep_dead();
    }
    if !engine.ctx.exports.is_empty() {
        engine.ctx.show(exports(&engine.ctx));
    }
    Ok(engine)
}

/// The result of a search.
enum SearchResult {
    Engine(Box<Engine>),
    /// The private engine was up and has died, for this reason.
    Died(EngineFolder, String),
    Nothing(Fault),
}

impl SearchResult {
    fn or_fault(self) -> Result<Engine, Fault> {
        match self {
            Self::Engine(engine) => Ok(*engine),
            Self::Nothing(fault) => Err(fault),
            Self::Died(folder, why) => {
                let may = packages::release().is_ok();
                let help =
                    if may { "cargo xtask engine up" } else { "sudo -E env \"PATH=$PATH\" cargo xtask engine up" };
                Err(fault::failed(format!("the private engine in {} has died: {why}", folder.dir)).help(help))
            }
        }
    }
}

/// Whether there is an engine.
#[derive(Debug)]
pub enum EngineSearch {
    /// The engine to use.
    Engine(Box<Engine>),
    /// There is none; the fault says what to do.
    Nothing(Fault),
}

impl EngineSearch {
    /// The engine, if there is one.
    pub fn engine(&self) -> Option<&Engine> {
        match self {
            Self::Engine(engine) => Some(engine),
            Self::Nothing(_) => None,
        }
    }
}

/// The engine, or the fault that says what to do. Errors have other causes.
pub fn find(ctx: &Ctx) -> anyhow::Result<EngineSearch> {
    Ok(match search(ctx)?.or_fault() {
        Ok(engine) => EngineSearch::Engine(Box::new(engine)),
        Err(fault) => EngineSearch::Nothing(fault),
    })
}

fn search(ctx: &Ctx) -> anyhow::Result<SearchResult> {
    let (endpoint, origin, chosen) = configured(ctx)?;
    let found = |ctx: &Ctx, origin: String, private, endpoint| {
        SearchResult::Engine(Box::new(Engine { ctx: ctx.clone(), origin, private, endpoint, cleans_up: false }))
    };
    let dir = ctx.engine_dir();
    // Inside `engine env`, the private engine is the named one.
    let is_private = |socket: &Utf8Path| {
        let real = |path: &Utf8Path| path.canonicalize_utf8().unwrap_or_else(|_| path.to_owned());
        socket.file_name() == Some("docker.sock") && socket.parent().map(real) == Some(real(&dir))
    };
    let named = matches!(&endpoint, Endpoint::Socket(socket) if is_private(socket));
    let mut why = io::Error::other("the private engine is not up");
    // An interrupt that came before the ping does not count as its result.
    interrupt::check()?;
    if !named {
        why = match api::ping(ctx, &endpoint) {
            Ok(()) if docker(ctx).is_some() => return Ok(found(ctx, origin, false, endpoint)),
            Ok(()) => {
                let fault = fault::failed(format!(
                    "an engine answers at {origin}, but there is no `docker` client on the PATH"
                ));
                return Ok(SearchResult::Nothing(fault.help(
                    "install one: `sudo apt-get install docker-cli`, or https://docs.docker.com/engine/install",
                )));
            }
            Err(error) => error,
        };
        interrupt::check()?;
        if chosen {
            // Somebody named this engine, so another one would be a surprise.
            return Ok(SearchResult::Nothing(
                fault::failed(format!("no Docker Engine answers at {origin}: {why}"))
                    .help("start it, or unset the variable or context that names it, and type `cargo xtask setup`"),
            ));
        }
    }
    if !dir.exists() {
        return Ok(SearchResult::Nothing(no_engine(ctx, &dir, &origin, &why)));
    }
    // The folder's owner is checked first, because the listener gets our sources.
    let folder = EngineFolder::of(ctx)?;
    if !folder.socket().exists() && !was_up(&folder) {
        return Ok(SearchResult::Nothing(no_engine(ctx, &folder.dir, &origin, &why)));
    }
    let health = health(ctx, &folder);
    // An interrupted ping gives no answer.
    interrupt::check()?;
    Ok(match health {
        Health::Well => {
            let endpoint = Endpoint::Socket(folder.socket());
            found(&within_private(ctx, &folder.dir), format!("the private engine in {}", folder.dir), true, endpoint)
        }
        Health::Dead(why) if was_up(&folder) => SearchResult::Died(folder, why),
        Health::Dead(_) => SearchResult::Nothing(no_engine(ctx, &folder.dir, &origin, &why)),
        Health::Mute(io::ErrorKind::PermissionDenied, _) => {
            let origin = format!("unix://{}", folder.socket());
            SearchResult::Nothing(no_engine(ctx, &folder.dir, &origin, &io::ErrorKind::PermissionDenied.into()))
        }
        Health::Mute(_, why) => SearchResult::Nothing(
            fault::failed(format!("the private engine in {} runs, but {why}", folder.dir))
                .help("cargo xtask engine down && cargo xtask engine up"),
        ),
    })
}

fn no_engine(ctx: &Ctx, dir: &Utf8Path, origin: &str, why: &io::Error) -> Fault {
    let fault = fault::failed(match docker(ctx) {
        Some(client) => {
            format!("no Docker Engine answers at {origin}: {why}; `{client}` is only the client")
        }
        None => format!("no Docker Engine answers at {origin}: {why}"),
    });
    if why.kind() == io::ErrorKind::PermissionDenied {
        return fault.help("join the group that owns the socket (`sudo usermod -aG docker $USER`, then log in again)");
    }
    fault.help(if dir.join("bin/dockerd").exists() {
        "`cargo xtask engine up` starts the private engine; or start your own"
    } else {
        "`cargo xtask setup --yes` installs and starts one; or start your own"
    })
}

/// A copy of `ctx` whose child processes reach the private engine: its client and
/// buildx come first, and the user's registry logins stay.
pub fn within_private(ctx: &Ctx, dir: &Utf8Path) -> Ctx {
    let path = ctx.env.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
    let mut ctx = ctx.clone();
    ctx.exports = vec![
        ("PATH".into(), format!("{dir}/bin:{path}")),
        ("DOCKER_HOST".into(), format!("unix://{dir}/docker.sock")),
        ("DOCKER_CONFIG".into(), format!("{dir}/cli")),
    ];
    ctx
}

/// The client on the PATH.
fn docker(ctx: &Ctx) -> Option<Utf8PathBuf> {
    program::find(ctx, "docker")
}

/// The endpoint by the docker client's rules, its description, and whether
/// somebody chose it.
fn configured(ctx: &Ctx) -> anyhow::Result<(Endpoint, String, bool)> {
    if let Some(host) = ctx.env.get("DOCKER_HOST") {
        let endpoint = match host.strip_prefix("unix://") {
            Some(socket) => Endpoint::Socket(socket.into()),
            None => Endpoint::Client,
        };
        return Ok((endpoint, format!("DOCKER_HOST={host}"), true));
    }
    match context(ctx)? {
        Some(name) if name != "default" => Ok((Endpoint::Client, format!("docker context `{name}`"), true)),
        _ => Ok((Endpoint::Socket(DEFAULT_SOCKET.into()), format!("unix://{DEFAULT_SOCKET}"), false)),
    }
}

fn context(ctx: &Ctx) -> anyhow::Result<Option<String>> {
    if let Some(name) = ctx.env.get("DOCKER_CONTEXT") {
        return Ok(Some(name.to_owned()));
    }
    Ok(Client::read(ctx)?.current_context)
}

/// The part of the docker client's configuration that we read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    current_context: Option<String>,
    /// The settings that every build and container gets from it.
    pub proxies: Option<serde_json::Value>,
}

impl Client {
    /// The configuration of the client that our child processes would start.
    pub fn read(ctx: &Ctx) -> Result<Self, Fault> {
        let file = ctx.docker_config().join("config.json");
        let wrong = |why: String| fault::usage(format!("{file}: {why}"));
        match input::text(&file, CONFIG_LIMIT) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| wrong(error.to_string())),
            // The docker client also ignores a file that it may not read.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                Ok(Self::default())
            }
            Err(error) => Err(wrong(error.to_string())),
        }
    }
}
