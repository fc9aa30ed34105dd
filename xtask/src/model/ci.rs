//! The `[ci]` table of services.toml: settings that all workflows share.

use std::str::FromStr;

use crate::model::diagnostic::Diagnostic;

/// A valid `[ci]` table. If there is one, `ci sync` writes the workflows of the
/// services; otherwise people do.
#[derive(Clone, Debug)]
pub struct Ci {
    /// The branches whose pushes are built and published.
    pub branches: Vec<String>,
    /// The required beginning of each `run:` line; `None`: not checked.
    pub commands: Option<String>,
    /// The stages of the Dockerfile that lint .github.
    pub lint: Vec<String>,
}

/// The file name of a workflow, without its extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowName(pub String);

impl FromStr for WorkflowName {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 100 || !text.chars().all(is_word) {
            return Err(
                format!("`{text}` is not a workflow's name: letters, digits, `-` and `_`, without `.yml`").into()
            );
        }
        if text.eq_ignore_ascii_case("docker-image") {
            return Err("`docker-image` is the workflow that the others call; choose another name".into());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflows_name_is_a_files_name() {
        for good in ["frontend-docker-build", "A_1", &"a".repeat(100)] {
            assert_eq!(good.parse(), Ok(WorkflowName(good.into())));
        }
        for bad in ["", "a/b", "../a", "a.yml", "docker-image", "Docker-Image", "a b", &"a".repeat(101)] {
            assert!(bad.parse::<WorkflowName>().is_err(), "{bad}");
        }
    }
}
