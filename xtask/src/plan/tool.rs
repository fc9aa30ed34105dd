//! How a tool is made: its stage of the Dockerfile, as files in a folder.

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::identity;
use crate::model::platform::Platform;
use crate::model::tool::Tool;
use crate::plan::build::{Output, Request};

/// Where a tool is kept. The name says what it was made of, so a new version is
/// another folder, and checkouts that have different ones don't disturb each other.
pub fn folder<'a>(
    cache: &Utf8Path,
    tool: &Tool,
    machine: &Platform,
    recipe: impl Iterator<Item = &'a str>,
) -> Utf8PathBuf {
    let recipe: Vec<&str> = recipe.collect();
    let word = identity::short_hash(&recipe);
    cache.join("tools").join(format!("{}-{}-{word:016x}", tool.name, machine.slug()))
}

/// The build of a tool for this machine, by a builder of this platform if it is
/// known.
pub fn request(tool: &Tool, folder: &Utf8Path, machine: &Platform, builder: Option<&Platform>) -> Request {
    let other = builder.is_some_and(|builder| builder != machine);
    Request {
        target: Some(tool.stage.to_owned()),
        output: Output::Folder(folder.to_owned()),
        platforms: if other { vec![machine.clone()] } else { Vec::new() },
        ..Request::new("Dockerfile", ".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tool::COSIGN;
    use crate::plan::build::{PartialOutputs, buildx};

    #[test]
    fn a_tool_has_a_folder_for_each_recipe_and_platform() {
        let of = |platform: &str, recipe: &[&str]| {
            folder("/c".into(), &COSIGN, &platform.parse().unwrap(), recipe.iter().copied())
        };
        let one = of("linux/amd64", &["FROM a", "RUN b"]);
        assert!(one.as_str().starts_with("/c/tools/cosign-linux-amd64-"), "{one}");
        assert_eq!(one, of("linux/amd64", &["FROM a", "RUN b"]));
        assert_ne!(one, of("linux/amd64", &["FROM a", "RUN c"]));
        assert_ne!(one, of("linux/amd64", &["FROM aRUN b"]));
        assert_ne!(one, of("linux/arm64", &["FROM a", "RUN b"]));
    }

    #[test]
    fn it_is_made_for_this_machine_whatever_the_builder_is() {
        let machine: Platform = "linux/arm64".parse().unwrap();
        let line = |builder: Option<&str>| {
            let builder = builder.map(|name| name.parse().unwrap());
            buildx(&request(&COSIGN, "/c/cosign".into(), &machine, builder.as_ref())).to_string()
        };
        let plain = "BUILDX_GIT_INFO=false docker buildx build --provenance=false --file Dockerfile --target tools-cosign --output type=local,dest=/c/cosign .";
        assert_eq!(line(None), plain);
        assert_eq!(line(Some("linux/arm64")), plain);
        assert!(line(Some("linux/amd64")).contains(" --platform linux/arm64 "));
        let partial = PartialOutputs { archive: Some("/c/new".into()), ..PartialOutputs::default() };
        let own = Request { partial, ..request(&COSIGN, "/c/cosign".into(), &machine, None) };
        assert!(buildx(&own).to_string().contains("type=local,dest=/c/new "));
    }
}
