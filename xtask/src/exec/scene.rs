//! Containers under a guard: whatever happens, they are gone when it ends.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use crate::exec::engine::Engine;
use crate::exec::{bases, interrupt, run};
use crate::fault;
use crate::model::base::Bases;
use crate::model::config::Project;
use crate::plan::container::{self, Scene};
use crate::plan::step::Step;

/// How long a server of `[needs.*]` may take.
const NEED_PATIENCE: Duration = Duration::from_secs(60);

/// How long a step may take, the pull of a server's image included.
const PULL_PATIENCE: Duration = Duration::from_secs(900);

/// A running scene.
pub struct Stage<'a> {
    /// Names and labels.
    pub scene: Scene<'a>,
    engine: &'a Engine,
    keep: bool,
}

impl<'a> Stage<'a> {
    /// A scene of this process, after sweeping away those of dead ones.
    pub fn new(engine: &'a Engine, project: &'a Project, keep: bool) -> Self {
        let stage = Self { scene: Scene { project, id: identity() }, engine, keep };
        stage.sweep();
        stage
    }

    /// A scene that stays when all of it has come up, and is struck otherwise.
    pub fn up(engine: &'a Engine, scene: Scene<'a>) -> Self {
        Self { scene, engine, keep: false }
    }

    /// Leaves everything running.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// The network and the servers in it, ready to serve.
    pub fn provide(&self, names: &[String], bases: Bases, publish: bool) -> anyhow::Result<()> {
        self.run(&self.scene.create_network())?;
        let needs = || names.iter().filter_map(|name| Some((name, self.scene.project.needs.get(name)?)));
        for (name, need) in needs() {
            let image = bases::image_for(&self.engine.ctx, self.engine, bases, &need.image)?;
            self.run(&self.scene.start_need(name, need, &image, publish))?;
        }
        for (name, need) in needs() {
            let started = Instant::now();
            while run::probe(&self.engine.ctx, &self.scene.is_ready(name, need)).is_none() {
                interrupt::check()?;
                let dead = self.state(name)?.is_some_and(|state| state["Running"] != true);
                if dead || started.elapsed() > NEED_PATIENCE {
                    let what = if dead { "ended" } else { "does not serve" };
                    return Err(fault::failed(format!("`{name}` {what}; its log:\n{}", self.log(name))).into());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Runs a quick step, quietly; its error carries the command.
    pub fn run(&self, step: &Step) -> anyhow::Result<()> {
        // `docker run` pulls an image that the engine lacks.
        let step = &step.clone().within(PULL_PATIENCE);
        run::read(&self.engine.ctx, step).map(drop).map_err(|error| {
            let said = fault::said(&error).to_owned();
            error.context(format!("`{step}`: {said}"))
        })
    }

    /// A container's state, straight from the engine.
    pub fn state(&self, what: &str) -> anyhow::Result<Option<Value>> {
        Ok(self.inspect(what)?.map(|container| container["State"].clone()))
    }

    /// All of a container.
    pub fn inspect(&self, what: &str) -> anyhow::Result<Option<Value>> {
        self.engine.container(&self.scene.name(what))
    }

    /// The last lines that a container wrote, for people.
    pub fn log(&self, what: &str) -> String {
        run::words(&self.engine.ctx, &self.scene.log(what))
    }

    /// The loopback port of a container's port.
    pub fn port(&self, what: &str, port: u16) -> anyhow::Result<Option<u16>> {
        let container = self.inspect(what)?.context("the container is gone")?;
        let binding = &container["NetworkSettings"]["Ports"][format!("{port}/tcp")][0]["HostPort"];
        Ok(binding.as_str().and_then(|port| port.parse().ok()))
    }

    /// Removes one container early.
    pub fn remove(&self, what: &str) {
        if !self.keep {
            let _ = run::tidy(&self.engine.ctx, &container::remove_containers([self.scene.name(what)]));
        }
    }

    /// Removes what runs of dead processes of this machine left behind: those
    /// were killed before their guard could.
    fn sweep(&self) {
        let format = format!("{{{{.ID}}}} {{{{.Label \"{}\"}}}}", self.scene.label());
        for (kind, remove) in KINDS {
            let list = self.scene.list_all(kind).args(["--format", &format]);
            let lines = run::probe(&self.engine.ctx, &list).unwrap_or_default();
            let dead: Vec<String> = lines
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter(|(_, id)| is_dead(id))
                .map(|(id, _)| id.to_owned())
                .collect();
            if !dead.is_empty() {
                let _ = run::tidy(&self.engine.ctx, &remove(dead));
            }
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if self.keep {
            self.engine.ctx.say("kept: `cargo xtask docker clean --containers` removes it");
            return;
        }
        strike(self.engine, &self.scene);
    }
}

/// What has an identity, and how it is removed.
const KINDS: [(&str, Remove); 2] =
    [("container", container::remove_containers), ("network", container::remove_networks)];

type Remove = fn(Vec<String>) -> Step;

/// Removes all of a scene, found by its label; says how much it was.
pub fn strike(engine: &Engine, scene: &Scene<'_>) -> usize {
    let mut count = 0;
    for (kind, remove) in KINDS {
        let Ok(left) = run::tidy(&engine.ctx, &scene.list(kind)) else { continue };
        let left: Vec<String> = left.lines().map(str::to_owned).collect();
        let found = left.len();
        if found > 0 && run::tidy(&engine.ctx, &remove(left)).is_ok() {
            count += found;
        }
    }
    count
}

/// `BOOT-PID-START`: this machine since it booted, this process since it began.
fn identity() -> String {
    let pid = std::process::id();
    format!("{}-{pid}-{}", boot(), started(pid).unwrap_or_default())
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.get(..8).unwrap_or("other").to_owned()
}

/// When a process began, in the kernel's ticks: a pid alone is used again.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).copied())?.map(str::to_owned)
}

/// Whether the process behind an identity is running on this machine.
pub fn is_running(identity: &str) -> bool {
    identity.starts_with(&boot()) && !is_dead(identity)
}

/// Whether the process behind an identity is known to be gone.
fn is_dead(identity: &str) -> bool {
    let [of_boot, pid, start] = identity.split('-').collect::<Vec<_>>()[..] else { return false };
    let Ok(pid) = pid.parse() else { return false };
    of_boot == boot() && started(pid).as_deref() != Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_others_only_if_they_do() {
        assert!(!is_dead(&identity()));
        assert!(is_dead(&format!("{}-{}-1", boot(), std::process::id())));
        assert!(!is_dead("elsewhere-1-1"), "what another machine runs is not ours to judge");
        assert!(!is_dead("up"));
    }
}
