//! Generates the workflows from services.toml: one per service. It holds the
//! triggers and the settings, and calls the shared workflow that builds.

use crate::model::ci::Ci;
use crate::model::config::{Project, Service};
use crate::model::definition_changes::WORKFLOWS;

/// The folder of workflows.
pub const FOLDER: &str = WORKFLOWS;

/// The first line of a generated file. Only a file with this line is overwritten.
pub const HEADER: &str = "# Written by `cargo xtask ci sync` from services.toml: change that, not this.";

/// The generated file of each service, and its text; none without a `[ci]` table.
pub fn callers(project: &Project) -> Vec<(&Service, String, String)> {
    let Some(ci) = &project.ci else { return Vec::new() };
    let file = |service: &Service| format!("{FOLDER}/{}.yml", service.workflow);
    project.services.values().map(|service| (service, file(service), caller(project, ci, service))).collect()
}

fn caller(project: &Project, ci: &Ci, service: &Service) -> String {
    let branches = ci.branches.iter().map(|branch| scalar(branch)).collect::<Vec<_>>().join(", ");
    let part = service.test.as_ref().map(|test| format!("\n      part: {}", scalar(&test.part))).unwrap_or_default();
    let (name, title) = (&service.name, scalar(&service.title));
    let (image, registry) = (scalar(service.image.as_str()), scalar(project.registry.as_str()));
    format!(
        r#"{HEADER}
name: {title}

on:
  push:
    branches: [{branches}]
    tags: ["v*"]
  pull_request:
  merge_group:
  schedule:
    - cron: "17 3 * * 1" # rebuild everything, with the fixes in the base images
  workflow_dispatch:
    inputs:
      tag_suffix:
        description: Image tag suffix (manual gives manual-<run number>)
        type: choice
        options: [manual, dev, staging, prod]
        default: manual
      force_rebuild:
        description: Force rebuild without cache
        type: boolean
        default: false

concurrency:
  group: ${{{{ github.workflow }}}}-${{{{ github.ref }}}}
  cancel-in-progress: ${{{{ github.event_name == 'pull_request' }}}}

permissions: {{}}

jobs:
  {name}:
    name: {name}
    uses: ./{FOLDER}/docker-image.yml
    permissions:
      contents: read
      packages: write # for the job that publishes; the others request less
    with:
      service: {name}
      title: {title}
      image: {image}
      registry: {registry}{part}
      tag: ${{{{ inputs.tag_suffix == 'manual' && format('manual-{{0}}', github.run_number) || inputs.tag_suffix }}}}
      no-cache: ${{{{ github.event_name == 'schedule' || inputs.force_rebuild == true }}}}
"#
    )
}

/// A YAML scalar with this value: plain if it can't be misread, otherwise as
/// JSON, because YAML is a superset of JSON.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./ ".contains(c);
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.ends_with(' ');
    if starts && !is_word && text.chars().all(is_plain) { text.to_owned() } else { serde_json::json!(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::workflow::{Rules, findings};
    use crate::model::yaml;

    const TOML: &str = "[project]\nname = \"demo\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
        [ci]\nbranches = [\"main\"]\n[services.api]\ntitle = \"An: Api # 1\"\nimage = \"demo-api\"\npaths = [\"api/**\"]\n";

    fn written(toml: &str) -> Vec<(String, String)> {
        let project = Project::parse("services.toml".into(), toml).unwrap();
        callers(&project).into_iter().map(|(_, file, text)| (file, text)).collect()
    }

    #[test]
    fn a_caller_is_valid_and_has_nothing_that_check_finds() {
        let [(file, text)] = &written(TOML)[..] else { panic!() };
        assert_eq!(file, ".github/workflows/api-docker-build.yml");
        let root = yaml::parse(text).unwrap().unwrap();
        assert_eq!(root.get("name").unwrap().text(), Some("An: Api # 1"));
        let job = root.get("jobs").and_then(|jobs| jobs.get("api")).unwrap();
        assert_eq!(job.get("with").unwrap().get("part"), None, "it has no tests");
        assert_eq!(findings(file, text, Rules::default()), []);
    }

    #[test]
    fn without_a_ci_table_nothing_is_written() {
        assert_eq!(written(&TOML.replace("[ci]\nbranches = [\"main\"]\n", "")), []);
    }

    #[test]
    fn a_scalar_is_read_back_as_it_was() {
        crate::model::cases::cases(1000, |u| {
            let text: String = u.arbitrary()?;
            // YAML refuses control characters even where JSON escapes them.
            if let Ok(Some(node)) = yaml::parse(&format!("k: {}\n", scalar(&text))) {
                assert_eq!(node.get("k").and_then(|node| node.text()), Some(text.as_str()));
            }
            Ok(())
        });
        for (text, expected) in [
            ("A b-c_d./e", "A b-c_d./e"),
            ("a ", "\"a \""),
            ("Yes", "\"Yes\""),
            ("1", "\"1\""),
            ("a: b", "\"a: b\""),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), expected);
        }
        for text in ["a", "A b", "", "- a", "yes", "1", "a: b", "a #b", "*a", "é", "\"", "a\nb"] {
            let node = yaml::parse(&format!("k: {}\n", scalar(text))).unwrap().unwrap();
            assert_eq!(node.get("k").and_then(|node| node.text()), Some(text));
        }
    }
}
