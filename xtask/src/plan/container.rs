//! Containers as `docker` lines: how to run an image for tests and for
//! `docker up`.

use std::collections::BTreeMap;

use crate::model::config::{Need, Project, Run, Service, Test};
use crate::model::identity::{self, is_checkout};
use crate::plan::step::{SECRET, Secret, Step};

/// The containers and networks of one run. They are found again by their labels,
/// so nothing is lost if a command is interrupted.
#[derive(Clone, Debug)]
pub struct ContainerGroup<'a> {
    /// The project, for names and labels.
    pub project: &'a Project,
    /// The checkout they belong to.
    pub checkout: String,
    /// The group's id: the value of a label, and part of every name.
    pub id: String,
    /// The run that creates them, if they outlive it.
    pub by: Option<String>,
    /// The container that has a temporary name until all of them exist. If it
    /// still has that name when its run is gone, the system is incomplete.
    pub first: Option<String>,
    /// The password of its servers, generated for this run.
    pub password: Secret,
}

/// The run id in printed lines. It has no valid boot and namespace.
const PASTED: &str = "pasted-0-0-0";

/// The suffix of [`ContainerGroup::first`] until all containers exist.
pub const STARTING: &str = ".starting";

/// One container of a service.
#[derive(Clone, Debug)]
pub struct ContainerSpec<'a> {
    /// The service of the image.
    pub service: &'a Service,
    /// How to run it.
    pub run: &'a Run,
    /// Its argument.
    pub role: Option<&'a str>,
    /// The image.
    pub image: String,
    /// The platform, where the image has several.
    pub platform: Option<String>,
    /// Whether it joins the network and gets the variables of the needs.
    pub with_needs: bool,
    /// Additional environment variables (name, value).
    pub env: Vec<(String, String)>,
    /// Variables whose values come from our own environment, never from argv.
    pub pass: Vec<String>,
}

impl ContainerSpec<'_> {
    /// Its name within its group.
    pub fn what(&self) -> &str {
        self.role.unwrap_or(&self.service.name)
    }
}

/// The owner of a container or a network, as far as its labels can be trusted.
/// Labels are inherited from an image, and anybody can write one, so the name
/// must also be one that only we give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The checkout.
    pub checkout: String,
    /// The group's id.
    pub id: String,
    /// The run that created it, if it is known.
    pub by: Option<identity::RunId>,
}

impl Owner {
    /// Reads the labels; `None` if it belongs to somebody else.
    pub fn read(project: &Project, name: &str, labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |key| labels.get(&project.label(key)).map(String::as_str);
        let (checkout, id) = (label("checkout")?, label("run")?);
        let by = match id == up(checkout) {
            true => label("by").and_then(|by| by.parse().ok()),
            false => Some(id.parse().ok()?),
        };
        let rest = name.strip_prefix(&format!("{}-{id}", project.name))?;
        (is_checkout(checkout) && (rest.is_empty() || rest.starts_with('-'))).then(|| Self {
            checkout: checkout.to_owned(),
            id: id.to_owned(),
            by,
        })
    }

    /// Whether it belongs to a `docker up`, which outlives its run.
    pub fn is_up(&self) -> bool {
        self.id == up(&self.checkout)
    }
}

/// The tag of the images that a checkout built last.
pub fn pin(checkout: &str) -> String {
    format!("checkout-{checkout}")
}

fn up(checkout: &str) -> String {
    format!("up-{checkout}")
}

/// The report in a container that has ended.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// Its path in the container.
    pub path: String,
    /// The step that lists the files that the run has written.
    pub written: Step,
    /// The step that writes the report as the only file of a tar archive.
    pub copy: Step,
}

impl<'a> ContainerGroup<'a> {
    /// A group that ends with its run.
    pub fn of_run(project: &'a Project, checkout: String, run: String, password: Secret) -> Self {
        Self { project, checkout, id: run, by: None, first: None, password }
    }

    /// The group in printed lines. Its run id never counts as ended, so no sweep
    /// removes it meanwhile, and `docker clean --all` finds what is left.
    pub fn of_line(project: &'a Project, checkout: String) -> Self {
        Self::of_run(project, checkout, PASTED.into(), Secret::new(""))
    }

    /// The one group per checkout that `docker up` leaves running.
    pub fn up(
        project: &'a Project,
        checkout: String,
        by: Option<String>,
        first: Option<String>,
        password: Secret,
    ) -> Self {
        Self { project, id: up(&checkout), checkout, by, first, password }
    }

    /// Gives the first container its final name, which says that all exist.
    pub fn rename_first(&self) -> Option<Step> {
        let name = self.name(self.first.as_ref()?);
        Some(Step::new("docker").args(["rename", &name, name.strip_suffix(STARTING)?]))
    }

    fn labels(&self, service: Option<&Service>) -> Vec<String> {
        let label = |key, value: &str| format!("{}={value}", self.project.label(key));
        let of_service = service.map(|service| label("service", &service.name));
        let by = self.by.as_ref().map(|by| label("by", by));
        [label("checkout", &self.checkout), label("run", &self.id)].into_iter().chain(by).chain(of_service).collect()
    }

    /// The name of the network.
    pub fn network(&self) -> String {
        format!("{}-{}", self.project.name, self.id)
    }

    /// The name of a container.
    pub fn name(&self, what: &str) -> String {
        let starting = if self.first.as_deref() == Some(what) { STARTING } else { "" };
        format!("{}-{}-{what}{starting}", self.project.name, self.id)
    }

    /// Creates the network.
    pub fn create_network(&self) -> Step {
        Step::new("docker").args(["network", "create"]).each("--label", self.labels(None)).arg(self.network())
    }

    /// Starts a server that services need.
    pub fn start_need(&self, name: &str, need: &Need, image: &str, publish: bool) -> Step {
        let publish = publish.then(|| format!("127.0.0.1::{}", need.port));
        let step = Step::new("docker")
            .args(["run", "--detach", "--name", &self.name(name)])
            .args(["--network", &self.network(), "--network-alias", name])
            .each("--publish", publish)
            .each("--label", self.labels(None));
        self.environment(step, &need.env).arg(image).args(&need.command)
    }

    /// Adds variables; the last value for a name wins. They are read from stdin,
    /// because everybody can see a command line, and any value may be a password.
    fn environment<'b>(&self, step: Step, variables: impl IntoIterator<Item = (&'b String, &'b String)>) -> Step {
        let mut lines: Vec<(&String, String)> = Vec::new();
        for (key, value) in variables {
            lines.retain(|(known, _)| *known != key);
            lines.push((key, format!("{key}={value}")));
        }
        if lines.is_empty() {
            return step;
        }
        let text = lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        let step = step.args(["--env-file", "/dev/stdin"]);
        if text.contains(SECRET) { step.stdin_with(text, &self.password) } else { step.stdin(text) }
    }

    /// The variables that the servers with these names provide.
    fn provided(&self, needs: &[String]) -> impl Iterator<Item = (&String, &String)> {
        needs.iter().filter_map(|name| self.project.needs.get(name)).flat_map(|need| &need.provides)
    }

    /// Succeeds once the server is ready.
    pub fn is_ready(&self, name: &str, need: &Need) -> Step {
        Step::new("docker").args(["exec", &self.name(name)]).args(&need.ready)
    }

    /// Starts a container of a service with the restrictions of a strict
    /// production environment: not as root, nothing writable but /tmp, no
    /// capabilities.
    pub fn start(&self, container: &ContainerSpec<'_>) -> Step {
        let ContainerSpec { service, run, role, image, platform, with_needs, env, pass } = container;
        let what = container.what();
        let mut step = Step::new("docker")
            .args(["run", "--detach", "--name", &self.name(what)])
            .each("--platform", platform)
            .args(["--publish", &format!("127.0.0.1::{}", run.port)])
            .args(["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"])
            .each("--label", self.labels(Some(service)));
        if *with_needs {
            // The first role also answers under the name of the service.
            let is_first = run.roles.first().map(String::as_str) == *role;
            let alias = if is_first { service.name.as_str() } else { what };
            step = step.args(["--network", &self.network(), "--network-alias", alias]);
        }
        let provided = with_needs.then(|| self.provided(&run.needs)).into_iter().flatten();
        let own = env.iter().map(|(key, value)| (key, value));
        self.environment(step, provided.chain(&run.env).chain(own)).each("--env", pass).arg(image).args(*role)
    }

    /// Runs the command of a test stage next to the servers it needs. If it
    /// writes a report, the container stays, with the report in it.
    pub fn run_tests(&self, service: &Service, test: &Test, image: &str) -> Step {
        let step = Step::new("docker")
            .arg("run")
            .args(test.report.is_none().then_some("--rm"))
            .args(["--name", &self.name(&test.target), "--network", &self.network()])
            .each("--label", self.labels(Some(service)));
        self.environment(step, self.provided(&test.needs)).arg(image)
    }

    /// Runs the command of a stage that needs no server and leaves nothing.
    pub fn run_alone(&self, stage: &Service, image: &str) -> Step {
        Step::new("docker")
            .args(["run", "--rm", "--name", &self.name(&stage.name), "--network", "none"])
            .each("--label", self.labels(Some(stage)))
            .arg(image)
    }

    /// How to copy the report of a test stage out of its container: through the
    /// engine, which may run on another machine.
    pub fn report(&self, test: &Test) -> Option<TestReport> {
        let path = test.report.as_ref()?.as_str().to_owned();
        let name = self.name(&test.target);
        let written = Step::new("docker").args(["diff", &name]);
        let copy = Step::new("docker").args(["cp", &format!("{name}:{path}"), "-"]);
        Some(TestReport { path, written, copy })
    }

    /// Asks a container to end.
    pub fn terminate(&self, what: &str) -> Step {
        Step::new("docker").args(["kill", "--signal", "SIGTERM", &self.name(what)])
    }

    /// Shows the log of a container.
    pub fn log(&self, what: &str) -> Step {
        Step::new("docker").args(["logs", "--tail", "50", &self.name(what)])
    }
}

/// The name of the object that a step creates in the engine, if it creates one.
pub fn made(step: &Step) -> Option<&str> {
    let args: Vec<&str> = step.args.iter().map(String::as_str).collect();
    match args[..] {
        ["run", ..] => args.iter().skip_while(|arg| **arg != "--name").nth(1).copied(),
        ["network", "create", .., name] => Some(name),
        _ => None,
    }
}

/// Removes containers and their anonymous volumes.
pub fn remove_containers<S: Into<String>>(ids: impl IntoIterator<Item = S>) -> Step {
    Step::new("docker").args(["rm", "--force", "--volumes"]).args(ids)
}

/// Removes networks.
pub fn remove_networks<S: Into<String>>(ids: impl IntoIterator<Item = S>) -> Step {
    Step::new("docker").args(["network", "rm"]).args(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "[project]\nname = \"scribe\"\nregistry = \"ghcr.io\"\nowner = \"o\"\n\
        [services.app]\nimage = \"app\"\npaths = [\"**\"]\n";

    #[test]
    fn a_step_tells_the_name_of_what_it_makes() {
        for (line, expected) in [
            ("run --detach --name a --label name=b image --name c", Some("a")),
            ("run image", None),
            ("network create --label x=y n", Some("n")),
            ("network rm n", None),
            ("kill --signal SIGTERM a", None),
            ("rename a b", None),
        ] {
            assert_eq!(made(&Step::new("docker").args(line.split(' '))), expected, "{line}");
        }
    }

    #[test]
    fn no_value_of_a_variable_is_on_a_command_line() {
        let text = format!(
            "{PROJECT}[services.app.run]\nport = 1\nhealth = \"/\"\nneeds = [\"db\"]\n\
            env = {{ KEY = \"hunter2\", SHARED = \"of run\" }}\npass-env = [\"MINE\"]\n\
            [services.app.test]\ntarget = \"t\"\nneeds = [\"db\"]\n\
            [needs.db]\nimage = \"db\"\nport = 2\nready = [\"true\"]\n\
            env = {{ ROOT = \"hunter2\", WORD = \"{{password}}\" }}\n\
            provides = {{ URL = \"db://u:hunter2@db\", SHARED = \"of db\" }}\n"
        );
        let project = Project::parse("services.toml".into(), &text).unwrap();
        let service = &project.services["app"];
        let (run, test) = (service.run.as_ref().unwrap(), service.test.as_ref().unwrap());
        let group = ContainerGroup::of_run(&project, "c".into(), "r".into(), Secret::new("chance"));
        let container = |with_needs| ContainerSpec {
            service,
            run,
            role: None,
            image: "app".into(),
            platform: None,
            with_needs,
            env: vec![("KEY".into(), "of up, hunter2".into())],
            pass: vec!["MINE".into()],
        };
        for (step, read) in [
            (group.start_need("db", &project.needs["db"], "db", false), "ROOT=hunter2\nWORD=chance"),
            (group.start(&container(true)), "URL=db://u:hunter2@db\nSHARED=of run\nKEY=of up, hunter2"),
            (group.start(&container(false)), "SHARED=of run\nKEY=of up, hunter2"),
            (group.run_tests(service, test, "t"), "SHARED=of db\nURL=db://u:hunter2@db"),
        ] {
            assert_eq!(step.input().as_deref(), Some(read));
            assert!(step.args.iter().all(|arg| !arg.contains("hunter2")), "{step}");
        }
        assert!(group.start(&container(true)).to_string().contains(" --env MINE "));
    }

    #[test]
    fn what_is_ours_says_so_in_labels_that_nobody_inherits_and_in_its_name() {
        let project = Project::parse("services.toml".into(), PROJECT).unwrap();
        let (ours, run) = ("zzzzzzzzzzzz", "b00t-f0-7-100");
        let up = "up-zzzzzzzzzzzz";
        for (name, labels, expected) in [
            ("scribe-b00t-f0-7-100", &[("checkout", ours), ("run", run)][..], Some((run, Some(run)))),
            ("scribe-b00t-f0-7-100-web", &[("checkout", ours), ("run", run)], Some((run, Some(run)))),
            ("scribe-up-zzzzzzzzzzzz-web", &[("checkout", ours), ("run", up), ("by", run)], Some((up, Some(run)))),
            ("scribe-up-zzzzzzzzzzzz-web", &[("checkout", ours), ("run", up)], Some((up, None))),
            // Inherited from an image that was committed from our container.
            ("otherteam", &[("checkout", ours), ("run", run)], None),
            ("scribe-b00t-f0-7-1000", &[("checkout", ours), ("run", run)], None),
            // From a `docker run` of our image: it has the image's labels, but no
            // run.
            ("scribe-web", &[("checkout", ours), ("service", "web")], None),
            // Made up.
            ("scribe-mine-web", &[("checkout", ours), ("run", "mine")], None),
            ("scribe-b00t-f0-7-100-web", &[("run", run)], None),
            ("scribe-b00t-f0-7-100-web", &[("checkout", "latest"), ("run", run)], None),
            // The id of an `up` contains its checkout.
            ("scribe-up-kkkkkkkkkkkk-web", &[("checkout", ours), ("run", "up-kkkkkkkkkkkk")], None),
        ] {
            let labels = labels.iter().map(|(key, value)| (project.label(key), (*value).to_owned())).collect();
            let mark = Owner::read(&project, name, &labels);
            let found = mark.as_ref().map(|mark| (mark.id.as_str(), mark.by.as_ref().map(ToString::to_string)));
            assert_eq!(found, expected.map(|(id, by)| (id, by.map(str::to_owned))), "{name} {labels:?}");
            assert!(mark.is_none_or(|mark| mark.checkout == ours && mark.is_up() == name.contains("-up-")));
        }
    }

    #[test]
    fn the_end_of_a_containers_log_is_asked_by_its_name() {
        let project = Project::parse("services.toml".into(), PROJECT).unwrap();
        let group = ContainerGroup::of_run(&project, "c".into(), "r".into(), Secret::new(""));
        assert_eq!(group.log("app").to_string(), "docker logs --tail 50 scribe-r-app");
    }
}
