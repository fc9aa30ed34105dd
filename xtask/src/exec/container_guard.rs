//! A guard for containers: whatever happens, they are removed when it is dropped.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::exec::engine::{Engine, answers};
use crate::exec::runner::{self, Executor};
use crate::exec::{checkout, interrupt};
use crate::fault::{self, Code};
use crate::model::config::Project;
use crate::model::identity::Liveness;
use crate::plan::clean::{self, EngineObject};
use crate::plan::container::{self, ContainerGroup, Owner};
use crate::plan::step::{Plan, Step};
use crate::plan::system;

/// How many ports are tried. Each engine on a machine counts up from the same
/// number, so two can choose the same port.
const PORTS: usize = 20;

/// How long the engine may take to remove something.
const REMOVE_PATIENCE: Duration = Duration::from_secs(20);

/// How long the engine may go on creating something after its client was ended.
const LATE: Duration = Duration::from_secs(5);
/// The same if a person watched: then the creation most likely finished long ago.
const WATCHED: Duration = Duration::from_secs(2);

/// How long a step may take, including the pull of a server's image.
const PULL_PATIENCE: Duration = Duration::from_secs(900);

/// The containers and networks of one run. They are removed when it is dropped.
pub struct ContainerGuard<'a> {
    /// Names and labels.
    pub group: ContainerGroup<'a>,
    engine: &'a Engine,
    keep: bool,
    /// The names of containers that may still appear because their client was
    /// ended, and how long to wait for each.
    late: Mutex<Vec<(String, Duration)>>,
}

impl<'a> ContainerGuard<'a> {
    /// The containers of this process; first removes those of dead runs.
    pub fn new(engine: &'a Engine, project: &'a Project, keep: bool) -> anyhow::Result<Self> {
        let checkout = checkout::identity(&engine.ctx.root);
        sweep(engine, project);
        let run = checkout::this_run().to_string();
        Ok(Self::of(ContainerGroup::of_run(project, checkout, run, checkout::password()?), engine, keep))
    }

    /// The containers of `docker up`: they stay when all have come up, and are
    /// removed otherwise.
    pub fn up(engine: &'a Engine, project: &'a Project, first: Option<String>) -> anyhow::Result<Self> {
        let by = checkout::this_run().to_string();
        let checkout = checkout::identity(&engine.ctx.root);
        Ok(Self::of(ContainerGroup::up(project, checkout, Some(by), first, checkout::password()?), engine, false))
    }

    fn of(group: ContainerGroup<'a>, engine: &'a Engine, keep: bool) -> Self {
        Self { group, engine, keep, late: Mutex::default() }
    }

    /// Leaves everything running.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Runs a plan. The guard itself cleans up at the end.
    pub fn perform(&self, plan: &Plan) -> anyhow::Result<()> {
        runner::perform(plan, self)
    }

    /// Runs a quick step without showing it; its error contains the command.
    pub fn run(&self, step: &Step) -> anyhow::Result<()> {
        // `docker run` pulls an image that the engine lacks.
        let step = &step.clone().within(PULL_PATIENCE);
        interrupt::check()?;
        let mut result = self.engine.make(step);
        for _ in 0..PORTS {
            let Some(name) = lost_port(step, &result) else { break };
            self.engine.tidy(&container::remove_containers([name]))?;
            result = self.engine.make(step);
        }
        if result.as_ref().is_err_and(was_ended) {
            self.expect(step, LATE);
        }
        result.map_err(|error| {
            let said = fault::said(&error).to_owned();
            error.context(format!("`{step}`: {said}"))
        })
    }

    /// Notes that a step with visible output was ended, so its container may
    /// still appear.
    pub fn broke_off(&self, step: &Step) {
        self.expect(step, WATCHED);
    }

    fn expect(&self, step: &Step, patience: Duration) {
        if let Some(name) = container::made(step) {
            self.late.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), patience));
        }
    }

    /// Removes everything, and what appears late. It only removes what this run
    /// made: another `up` of this checkout has the same id.
    fn remove_all(&self) -> anyhow::Result<()> {
        let by = self.group.by.as_ref().unwrap_or(&self.group.id);
        let made = |one: &EngineObject| {
            one.mark.id == self.group.id && one.mark.by.as_ref().is_some_and(|made_by| made_by.to_string() == *by)
        };
        let engine = self.engine.to_clean_up();
        let mut late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        let started = Instant::now();
        loop {
            let held = held(&engine, self.group.project, Some(&self.group.checkout), false)?;
            let held: Vec<EngineObject> = held.into_iter().filter(made).collect();
            remove(&engine, &held)?;
            let waited = started.elapsed();
            late.retain(|(name, patience)| waited < *patience && held.iter().all(|one| one.name != *name));
            if late.is_empty() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The state of a container, from the engine's API.
    pub fn state(&self, what: &str) -> anyhow::Result<Option<answers::State>> {
        Ok(self.inspect(what)?.map(|container| container.state))
    }

    /// All properties of a container.
    pub fn inspect(&self, what: &str) -> anyhow::Result<Option<answers::Container>> {
        self.engine.container(&self.group.name(what))
    }

    /// The uncompressed size of its image.
    pub fn image_bytes(&self, what: &str) -> anyhow::Result<u64> {
        self.engine.container_bytes(&self.group.name(what))
    }

    /// The processes of a container, with these columns of `ps`.
    pub fn top(&self, what: &str, columns: &str) -> anyhow::Result<Option<answers::Top>> {
        self.engine.top(&self.group.name(what), columns)
    }

    /// The last lines of a container's log, for people.
    pub fn log(&self, what: &str) -> String {
        self.engine.words(&self.group.log(what))
    }

    /// The loopback port where a port of a container is published.
    pub fn port(&self, what: &str, port: u16) -> anyhow::Result<Option<u16>> {
        Ok(self.inspect(what)?.context("the container is gone")?.port(port))
    }

    /// Removes one container before the end.
    pub fn remove(&self, what: &str) {
        if !self.keep {
            let _ = self.engine.tidy(&container::remove_containers([self.group.name(what)]));
        }
    }
}

impl Executor for ContainerGuard<'_> {
    fn run(&self, step: &Step) -> anyhow::Result<()> {
        ContainerGuard::run(self, step)
    }

    fn tries(&self, step: &Step) -> bool {
        self.engine.probe(step).is_some()
    }

    fn has_ended(&self, what: &str) -> anyhow::Result<bool> {
        Ok(self.state(what)?.is_some_and(|state| !state.running))
    }

    fn words_of(&self, what: &str) -> String {
        self.log(what)
    }

    // The guard asks the engine what exists. After an interruption it knows more
    // than the plan.
    fn clean(&self, _step: &Step) {}
}

impl Drop for ContainerGuard<'_> {
    fn drop(&mut self) {
        if self.keep {
            self.engine.ctx.say("kept: `cargo xtask docker clean --containers` removes it");
            return;
        }
        if let Err(error) = self.remove_all() {
            self.engine.ctx.say(fault::render(&error));
        }
    }
}

/// Everything that the engine has of one checkout or of all, from the API rather
/// than from the output of commands. To measure sizes costs the engine time.
pub fn held(
    engine: &Engine,
    project: &Project,
    checkout: Option<&str>,
    weighed: bool,
) -> anyhow::Result<Vec<EngineObject>> {
    let key = project.label("checkout");
    let label = checkout.map_or(key.clone(), |checkout| format!("{key}={checkout}"));
    let life = |mark: &Owner| mark.by.as_ref().map_or(Liveness::Unknown, checkout::life);
    let service = |labels: &answers::Labels| labels.get(&project.label("service")).cloned();
    let mut held = Vec::new();
    for one in engine.labelled_containers(&label, weighed)? {
        let Some(name) = one.name() else { continue };
        let Some(mark) = Owner::read(project, name, &one.labels) else { continue };
        held.push(EngineObject {
            is_network: false,
            name: name.to_owned(),
            service: service(&one.labels),
            life: life(&mark),
            runs: one.state.runs(),
            created: one.created(),
            bytes: one.written,
            id: one.id,
            mark,
        });
    }
    for one in engine.labelled_networks(&label)? {
        let Some(mark) = Owner::read(project, &one.name, &one.labels) else { continue };
        held.push(EngineObject {
            is_network: true,
            name: one.name,
            service: service(&one.labels),
            life: life(&mark),
            runs: false,
            created: one.created,
            bytes: 0,
            id: one.id,
            mark,
        });
    }
    Ok(held)
}

/// Removes these, containers first, and waits until the engine no longer knows
/// them. It is fine if somebody else removes some of them meanwhile.
pub fn remove(engine: &Engine, held: &[EngineObject]) -> anyhow::Result<()> {
    // Half a removal helps nobody, so an interrupt waits.
    let engine = &engine.to_clean_up();
    let mut left = Vec::new();
    for (step, things) in system::removal(held) {
        let said = engine.words(&step);
        let started = Instant::now();
        for one in things {
            while is_there(engine, one)? {
                if started.elapsed() > REMOVE_PATIENCE || !said.contains("in progress") {
                    left.push(format!("{} still exists: {said}", one.name));
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    match left.as_slice() {
        [] => Ok(()),
        left => Err(fault::failed(left.join("\n")).into()),
    }
}

fn is_there(engine: &Engine, one: &EngineObject) -> anyhow::Result<bool> {
    Ok(match one.is_network {
        true => engine.network(&one.id)?.is_some(),
        false => engine.container(&one.id)?.is_some(),
    })
}

/// What runs of this checkout left behind that were killed before their guard
/// could act.
pub fn left(engine: &Engine, project: &Project) -> anyhow::Result<Vec<EngineObject>> {
    let checkout = checkout::identity(&engine.ctx.root);
    Ok(clean::swept(&held(engine, project, Some(&checkout), false)?, &checkout))
}

fn sweep(engine: &Engine, project: &Project) {
    if let Err(error) = left(engine, project).and_then(|left| remove(engine, &left)) {
        engine.ctx.say(format!("note: the remains of an earlier run still exist: {error:#}"));
    }
}

/// Whether a command was ended by a signal or a time limit, so its effect is
/// unknown.
fn was_ended(error: &anyhow::Error) -> bool {
    let timed_out = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
    fault::code(error) == Code::Interrupted || error.downcast_ref().is_some_and(timed_out)
}

/// The name of the container that was created without a port, because somebody
/// else took the port that the engine chose.
fn lost_port<'s>(step: &'s Step, result: &anyhow::Result<()>) -> Option<&'s str> {
    let said = fault::said(result.as_ref().err()?);
    let name = container::made(step)?;
    said.contains("address already in use").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_somebody_took_is_worth_another_try() {
        let step = Step::new("docker").args(["run", "--detach", "--name", "demo-app", "image"]);
        let failed = |said: &str| Err(fault::failed("`docker run` ended").said(said).into());
        let taken = "listen tcp4 127.0.0.1:32779: bind: address already in use.";
        assert_eq!(lost_port(&step, &failed(taken)), Some("demo-app"));
        assert_eq!(lost_port(&step, &failed("no such image")), None);
        assert_eq!(lost_port(&step, &Ok(())), None);
        assert_eq!(lost_port(&Step::new("docker").arg("network"), &failed(taken)), None);
    }

    #[test]
    fn what_was_ended_may_still_come_and_what_failed_will_not() {
        let timed_out = io::Error::new(io::ErrorKind::TimedOut, "it did not end within 900 s");
        for (error, expected) in [
            (anyhow::Error::from(timed_out).context("could not run `docker run`"), true),
            (fault::interrupted().into(), true),
            (fault::failed("`docker run` ended with exit status: 125").into(), false),
            (io::Error::from(io::ErrorKind::NotFound).into(), false),
        ] {
            assert_eq!(was_ended(&error), expected, "{error:#}");
        }
    }
}
