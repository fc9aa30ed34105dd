//! How an image gets into a registry: pushed by its digest, so that no tag
//! moves; proved; and only then tagged, by one request for each tag.

use std::time::Duration;

use crate::model::reference::Reference;
use crate::plan::step::{Action, DIGEST, Plan, Step};

/// What a line has in front that builds by a builder which pushes by digest:
/// `docker`'s own does not, although its BuildKit could.
pub const WITH_BUILDER: [&str; 5] = ["cargo", "xtask", "engine", "with-builder", "--"];

/// How long a registry may take for an answer, or for a tag.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a pull may take.
const PULL: Duration = Duration::from_secs(1800);

/// The repositories that tags are of, each with its tags.
pub fn repositories(tags: &[Reference]) -> Vec<(&str, Vec<&Reference>)> {
    let mut all: Vec<(&str, Vec<&Reference>)> = Vec::new();
    for tag in tags {
        match all.iter_mut().find(|(repository, _)| *repository == tag.repository()) {
            Some((_, tags)) => tags.push(tag),
            None => all.push((tag.repository(), vec![tag])),
        }
    }
    all
}

/// BuildKit's words for a push to the repositories of these tags.
pub fn output(tags: &[Reference]) -> String {
    let names: Vec<&str> = repositories(tags).iter().map(|(repository, _)| *repository).collect();
    let name = format!("name={}", names.join(","));
    // The words are CSV. OCI media types: Docker's own have no room for annotations.
    // The engine keeps no image of it: what is proved comes from the registry.
    let name = if names.len() > 1 { format!("\"{name}\"") } else { name };
    format!("type=image,{name},push=true,push-by-digest=true,name-canonical=true,oci-mediatypes=true,store=false")
}

/// Where buildx writes the digest for a line that was pasted.
pub fn metadata_file(tags: &[Reference]) -> String {
    let name = tags.first().map(Reference::repository).and_then(|name| name.rsplit('/').next()).unwrap_or("image");
    format!("/tmp/xtask-{name}.json")
}

/// Learns the digest of what buildx pushed from the file that it wrote.
pub fn learn(file: &str) -> Action {
    Action::Learn(Step::new("sed").args(["-n", r#"s/.*"containerimage.digest": "\(.*\)".*/\1/p"#, file]))
}

/// The image by its digest, in the repository of its first tag.
pub fn by_digest(tags: &[Reference]) -> String {
    format!("{}@{DIGEST}", tags.first().map_or("", Reference::repository))
}

/// Gets an image for a platform out of the registry.
pub fn pull(image: &str, platform: &str) -> Step {
    Step::new("docker").args(["pull", "--quiet", "--platform", platform, image]).of_digest().within(PULL)
}

/// Puts all of these tags on the image that has the digest: one call for each
/// repository, one request for each tag. Then each is read again.
pub fn tag(tags: &[Reference]) -> Plan {
    let of_repository = |(repository, tags): (&str, Vec<&Reference>)| {
        let create = Step::new("docker")
            .args(["buildx", "imagetools", "create", "--progress", "quiet"])
            .each("--tag", tags.iter().map(|tag| tag.as_str()))
            .arg(format!("{repository}@{DIGEST}"))
            .of_digest()
            .within(PATIENCE);
        let read = |tag: &Reference| Action::Agree(digest_of(tag.as_str()));
        std::iter::once(Action::Run(create)).chain(tags.into_iter().map(read)).collect::<Vec<_>>()
    };
    Plan { steps: repositories(tags).into_iter().flat_map(of_repository).collect(), finally: Vec::new() }
}

/// Asks what a tag is on.
pub fn digest_of(reference: &str) -> Step {
    Step::new("docker")
        .args(["buildx", "imagetools", "inspect", "--format", "{{print .Manifest.Digest}}", reference])
        .within(PATIENCE)
}

/// Asks for all that an image says of itself.
pub fn image_of(reference: &str) -> Step {
    Step::new("docker").args(["buildx", "imagetools", "inspect", "--format", "{{json .}}", reference]).within(PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(of: &[&str]) -> Vec<Reference> {
        of.iter().map(|tag| tag.parse().unwrap()).collect()
    }

    #[test]
    fn each_repository_gets_the_image_and_its_own_tags() {
        let tags = tags(&["a.b/o/n:1", "c.d/n:1", "a.b/o/n:2"]);
        assert!(output(&tags).starts_with("type=image,\"name=a.b/o/n,c.d/n\",push=true"), "{}", output(&tags));
        assert!(output(&tags[..1]).starts_with("type=image,name=a.b/o/n,push=true"));
        let lines: Vec<String> = tag(&tags).steps.iter().map(ToString::to_string).collect();
        let inspect = "test \"$(docker buildx imagetools inspect --format '{{print .Manifest.Digest}}'";
        assert_eq!(
            lines,
            [
                "docker buildx imagetools create --progress quiet --tag a.b/o/n:1 --tag a.b/o/n:2 a.b/o/n@\"$DIGEST\"",
                &format!("{inspect} a.b/o/n:1)\" = \"$DIGEST\""),
                &format!("{inspect} a.b/o/n:2)\" = \"$DIGEST\""),
                "docker buildx imagetools create --progress quiet --tag c.d/n:1 c.d/n@\"$DIGEST\"",
                &format!("{inspect} c.d/n:1)\" = \"$DIGEST\""),
            ]
        );
        assert_eq!(
            (by_digest(&tags).as_str(), metadata_file(&tags).as_str()),
            ("a.b/o/n@{digest}", "/tmp/xtask-n.json")
        );
    }

    #[test]
    fn the_digest_is_read_of_what_buildx_writes() {
        let file = std::env::temp_dir().join(format!("metadata-{}", std::process::id()));
        let file = camino::Utf8PathBuf::from_path_buf(file).unwrap();
        let text = "{\n  \"containerimage.config.digest\": \"sha256:b\",\n  \"containerimage.descriptor\": {\n    \"digest\": \"sha256:c\"\n  },\n  \"containerimage.digest\": \"sha256:a\",\n  \"image.name\": \"n\"\n}";
        std::fs::write(&file, text).unwrap();
        let learn = learn(file.as_str()).to_string();
        let output = std::process::Command::new("sh").args(["-c", &format!("{learn}; echo $DIGEST")]).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "sha256:a\n");
    }
}
