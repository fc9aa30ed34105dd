//! The `[ci]` table of services.toml: what the workflows have in common.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use crate::fault::{self, Fault};
use crate::model::config::{FILE, Service};

/// A right `[ci]` table. With one, the workflows of the services are written
/// by `ci sync`; without, they are somebody else's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ci {
    /// The branches whose pushes are built and published.
    pub branches: Vec<String>,
    /// What each `run:` line begins with; none: they are not looked at.
    pub commands: Option<String>,
    /// The stages of the Dockerfile that lint .github.
    #[serde(default)]
    pub lint: Vec<String>,
}

/// The name of a workflow's file, without its ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowName(pub String);

impl FromStr for WorkflowName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || !text.chars().all(is_word) {
            return Err(format!("`{text}` is no workflow's name: letters, digits, `-` and `_`, without `.yml`"));
        }
        if text == "docker-image" {
            return Err("`docker-image` is the workflow that the others call; choose another name".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// Two services in one file would overwrite each other.
pub fn no_two_share_a_workflow(services: &BTreeMap<String, Service>) -> Result<(), Fault> {
    let mut seen = BTreeMap::new();
    for service in services.values() {
        if let Some(other) = seen.insert(&service.workflow, &service.name) {
            let Service { name, workflow, .. } = service;
            let what = format!("{FILE}: `services.{name}.workflow`: `{workflow}` is the workflow of `{other}` already");
            return Err(fault::usage(what).help("name another one, without `.yml`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflows_name_is_a_files_name() {
        for good in ["frontend-docker-build", "A_1"] {
            assert_eq!(good.parse(), Ok(WorkflowName(good.into())));
        }
        for bad in ["", "a/b", "../a", "a.yml", "docker-image", "a b"] {
            assert!(bad.parse::<WorkflowName>().is_err(), "{bad}");
        }
    }
}
