//! Plans for containers that start and stop together: servers, a whole system,
//! the test of an image, a test stage.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::config::{Run, Service, Test};
use crate::plan::clean::EngineObject;
use crate::plan::container::{ContainerGroup, ContainerSpec, TestReport, remove_containers, remove_networks};
use crate::plan::step::{Action, Plan, Step};

/// How long a server of `[needs.*]` may take to become ready.
const NEED_PATIENCE: Duration = Duration::from_secs(60);

/// The roles of a service, or the requested one. A service without roles has one
/// container without an argument.
pub fn roles<'a>(run: &'a Run, only: Option<&str>) -> Vec<Option<&'a str>> {
    let roles = run.roles.iter().map(String::as_str);
    match only {
        Some(role) => roles.filter(|known| *known == role).map(Some).collect(),
        None if run.roles.is_empty() => vec![None],
        None => roles.map(Some).collect(),
    }
}

/// Starts the network and the servers in it, and waits until they are ready.
pub fn needs(group: &ContainerGroup<'_>, images: &BTreeMap<String, String>, publish: bool) -> Vec<Action> {
    let needs = || images.iter().filter_map(|(name, image)| Some((name, group.project.needs.get(name)?, image)));
    let start = needs().map(|(name, need, image)| group.start_need(name, need, image, publish).into());
    let serve = needs().map(|(name, need, _)| Action::Until {
        step: group.is_ready(name, need),
        patience: NEED_PATIENCE,
        what: name.clone(),
    });
    std::iter::once(group.create_network().into()).chain(start).chain(serve).collect()
}

/// A system that stays: servers, then the services, then the rename that says
/// that it is complete.
pub fn up(
    group: &ContainerGroup<'_>,
    images: &BTreeMap<String, String>,
    containers: &[ContainerSpec<'_>],
    publish_needs: bool,
) -> Plan {
    let mut steps = needs(group, images, publish_needs);
    steps.extend(containers.iter().map(|container| group.start(container).into()));
    steps.extend(group.rename_first().map(Action::Run));
    Plan { steps, finally: Vec::new() }
}

/// The containers that test an image in one role: without the servers it needs,
/// and with them if they run.
pub fn rounds<'a>(
    service: &'a Service,
    run: &'a Run,
    role: Option<&'a str>,
    image: &str,
    platform: Option<&str>,
    with_deps: bool,
) -> Vec<ContainerSpec<'a>> {
    let rounds: &[bool] = if with_deps && !run.needs.is_empty() { &[false, true] } else { &[false] };
    let container = |with_needs: &bool| ContainerSpec {
        service,
        run,
        role,
        image: image.to_owned(),
        platform: platform.map(str::to_owned),
        with_needs: *with_needs,
        env: Vec::new(),
        pass: Vec::new(),
    };
    rounds.iter().map(container).collect()
}

/// The plan for testing images. The questions between the start and the end of a
/// container are not steps.
pub fn proof(
    group: &ContainerGroup<'_>,
    images: Option<&BTreeMap<String, String>>,
    containers: &[ContainerSpec<'_>],
) -> Plan {
    let mut plan = Plan::default();
    if let Some(images) = images {
        plan.steps = needs(group, images, false);
        plan.finally = remove(group, images.keys().map(String::as_str));
    }
    for container in containers {
        let what = container.what();
        let steps = [group.start(container), group.terminate(what), remove_containers([group.name(what)])];
        plan.steps.extend(steps.map(Action::Run));
    }
    plan
}

/// Runs the command of a test stage next to the servers it needs, and copies its
/// report out of the container.
pub fn tests(
    group: &ContainerGroup<'_>,
    service: &Service,
    test: &Test,
    images: &BTreeMap<String, String>,
    image: &str,
) -> Plan {
    let mut steps = needs(group, images, false);
    steps.push(group.run_tests(service, test, image).into());
    let mut left: Vec<&str> = images.keys().map(String::as_str).collect();
    if let Some(TestReport { written, copy, .. }) = group.report(test) {
        steps.extend([written, copy].map(Action::Run));
        left.push(&test.target);
    }
    Plan { steps, finally: remove(group, left) }
}

/// Removes containers of a group, and its network.
fn remove<'s>(group: &ContainerGroup<'_>, names: impl IntoIterator<Item = &'s str>) -> Vec<Step> {
    let names: Vec<String> = names.into_iter().map(|name| group.name(name)).collect();
    let containers = (!names.is_empty()).then(|| remove_containers(names));
    containers.into_iter().chain([remove_networks([group.network()])]).collect()
}

/// The steps that remove objects from the engine, containers first, and which
/// objects each step removes.
pub fn removal(held: &[EngineObject]) -> Vec<(Step, Vec<&EngineObject>)> {
    let of = |is_network| -> Vec<&EngineObject> { held.iter().filter(|one| one.is_network == is_network).collect() };
    let ids = |things: &[&EngineObject]| -> Vec<String> { things.iter().map(|one| one.id.clone()).collect() };
    let (containers, networks) = (of(false), of(true));
    let steps = [(remove_containers(ids(&containers)), containers), (remove_networks(ids(&networks)), networks)];
    steps.into_iter().filter(|(_, things)| !things.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::Liveness;
    use crate::plan::container::Owner;

    #[test]
    fn containers_go_before_the_networks_that_they_are_in() {
        let thing = |id: &str, is_network| EngineObject {
            is_network,
            id: id.to_owned(),
            name: format!("name-of-{id}"),
            mark: Owner { checkout: "zzzzzzzzzzzz".into(), id: "run".into(), by: None },
            service: None,
            life: Liveness::Unknown,
            runs: false,
            created: 0,
            bytes: 0,
        };
        let lines = |held: &[EngineObject]| -> Vec<(String, usize)> {
            removal(held).into_iter().map(|(step, things)| (step.to_string(), things.len())).collect()
        };
        assert_eq!(lines(&[]), []);
        assert_eq!(lines(&[thing("n", true)]), [("docker network rm n".to_owned(), 1)]);
        let rm = |ids: &str, count| (format!("docker rm --force --volumes {ids}"), count);
        assert_eq!(lines(&[thing("a", false)]), [rm("a", 1)]);
        let all = [thing("a", false), thing("n", true), thing("b", false)];
        assert_eq!(lines(&all), [rm("a b", 2), ("docker network rm n".to_owned(), 1)]);
    }
}
