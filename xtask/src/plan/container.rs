//! Containers as `docker` lines: how an image is run to be proved or looked at.

use crate::model::config::{Need, Project, Run, Service, Test};
use crate::plan::step::Step;

/// The run that containers and networks belong to. Everything is found again by
/// its label, so nothing is lost when a command is interrupted half-way.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// The project, for names and labels.
    pub project: &'a Project,
    /// The run's identity: the value of its label and part of every name.
    pub id: String,
}

/// One container of a service.
#[derive(Clone, Debug)]
pub struct Container<'a> {
    /// Whose image it is.
    pub service: &'a Service,
    /// How it is run.
    pub run: &'a Run,
    /// Its argument.
    pub role: Option<&'a str>,
    /// The image.
    pub image: String,
    /// Whether it joins the network and gets what the needs provide.
    pub with_needs: bool,
    /// More environment, as (name, value).
    pub env: Vec<(String, String)>,
    /// Variables whose values come from our own environment, never from argv.
    pub pass: Vec<String>,
}

impl Scene<'_> {
    /// The label key that all of our containers and networks carry.
    pub fn label(&self) -> String {
        self.project.label("run")
    }

    fn labels(&self, service: Option<&Service>) -> Vec<String> {
        let of_run = format!("{}={}", self.label(), self.id);
        let of_service = service.map(|service| format!("{}={}", self.project.label("service"), service.name));
        std::iter::once(of_run).chain(of_service).collect()
    }

    /// The network's name.
    pub fn network(&self) -> String {
        format!("{}-{}", self.project.name, self.id)
    }

    /// A container's name.
    pub fn name(&self, what: &str) -> String {
        format!("{}-{}-{what}", self.project.name, self.id)
    }

    /// Makes the network.
    pub fn create_network(&self) -> Step {
        Step::new("docker").args(["network", "create"]).each("--label", self.labels(None)).arg(self.network())
    }

    /// Starts a server that services need.
    pub fn start_need(&self, name: &str, need: &Need, image: &str, publish: bool) -> Step {
        let publish = publish.then(|| format!("127.0.0.1::{}", need.port));
        Step::new("docker")
            .args(["run", "--detach", "--name", &self.name(name)])
            .args(["--network", &self.network(), "--network-alias", name])
            .each("--publish", publish)
            .each("--label", self.labels(None))
            .each("--env", need.env.iter().map(|(key, value)| format!("{key}={value}")))
            .arg(image)
    }

    /// Succeeds as soon as the server serves.
    pub fn is_ready(&self, name: &str, need: &Need) -> Step {
        Step::new("docker").args(["exec", &self.name(name)]).args(&need.ready)
    }

    /// Starts a container of a service as strictly as it can be run in
    /// production: no root, nothing writable but /tmp, no capabilities.
    pub fn start(&self, container: &Container<'_>) -> Step {
        let Container { service, run, role, image, with_needs, env, pass } = container;
        let what = role.unwrap_or(&service.name);
        let mut step = Step::new("docker")
            .args(["run", "--detach", "--name", &self.name(what)])
            .args(["--publish", &format!("127.0.0.1::{}", run.port)])
            .args(["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"])
            .each("--label", self.labels(Some(service)));
        if *with_needs {
            // The first role answers for the service: others find it by its name.
            let is_first = run.roles.first().map(String::as_str) == *role;
            let alias = if is_first { service.name.as_str() } else { what };
            step = step.args(["--network", &self.network(), "--network-alias", alias]);
            let needs = run.needs.iter().filter_map(|name| self.project.needs.get(name));
            step =
                step.each("--env", needs.flat_map(|need| &need.provides).map(|(key, value)| format!("{key}={value}")));
        }
        step.each("--env", run.env.iter().map(|(key, value)| format!("{key}={value}")))
            .each("--env", env.iter().map(|(key, value)| format!("{key}={value}")))
            .each("--env", pass)
            .arg(image)
            .args(*role)
    }

    /// Runs the command of a test stage beside what it needs.
    pub fn run_tests(&self, service: &Service, test: &Test, image: &str) -> Step {
        let needs = test.needs.iter().filter_map(|name| self.project.needs.get(name));
        let provided = needs.flat_map(|need| &need.provides).map(|(key, value)| format!("{key}={value}"));
        Step::new("docker")
            .args(["run", "--rm", "--name", &self.name(&test.target), "--network", &self.network()])
            .each("--label", self.labels(Some(service)))
            .each("--env", provided)
            .arg(image)
    }

    /// What ends a container in good order.
    pub fn terminate(&self, what: &str) -> Step {
        Step::new("docker").args(["kill", "--signal", "SIGTERM", &self.name(what)])
    }

    /// A container's log.
    pub fn log(&self, what: &str) -> Step {
        Step::new("docker").args(["logs", "--tail", "50", &self.name(what)])
    }

    /// Lists what is left of the run.
    pub fn list(&self, kind: &str) -> Step {
        list(kind, &format!("{}={}", self.label(), self.id)).arg("--quiet")
    }

    /// Lists what is left of all runs of the project.
    pub fn list_all(&self, kind: &str) -> Step {
        list(kind, &self.label())
    }
}

fn list(kind: &str, label: &str) -> Step {
    let verb: &[&str] = if kind == "network" { &["network", "ls"] } else { &["ps", "--all"] };
    Step::new("docker").args(verb.iter().copied()).args(["--filter", &format!("label={label}")])
}

/// Removes containers with their anonymous volumes.
pub fn remove_containers<S: Into<String>>(ids: impl IntoIterator<Item = S>) -> Step {
    Step::new("docker").args(["rm", "--force", "--volumes"]).args(ids)
}

/// Removes networks.
pub fn remove_networks<S: Into<String>>(ids: impl IntoIterator<Item = S>) -> Step {
    Step::new("docker").args(["network", "rm"]).args(ids)
}
