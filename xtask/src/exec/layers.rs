//! The folders of `--cache local`: who made them, and whether they are complete.

use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::exec::files;
use crate::exec::oci::{Descriptor, Manifest};
use crate::fault;
use crate::model::diagnostic::Diagnostic;
use crate::model::platform::Platform;
use crate::plan::build::CACHE_MARKER;

/// The marker, which is written last, into a complete folder.
const MARKER: &str = CACHE_MARKER;

/// Which builds a layer cache belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    what: String,
    /// The name of the project.
    pub project: String,
    /// The name of the service.
    pub service: String,
    /// The platforms, as part of a file name.
    pub platforms: String,
}

impl Marker {
    /// The marker of a service for these platforms; for this machine's platform
    /// if there are none.
    pub fn new(project: &str, service: &str, platforms: &[Platform]) -> Self {
        let here = [Platform::of_this_machine()];
        let platforms = if platforms.is_empty() { &here[..] } else { platforms };
        let platforms = platforms.iter().map(Platform::slug).collect::<Vec<_>>().join("_");
        Self {
            what: "a layer cache of cargo xtask".to_owned(),
            project: project.to_owned(),
            service: service.to_owned(),
            platforms,
        }
    }

    /// The name of the folder. No service has an `@`, so two services never share
    /// a folder.
    pub fn folder(&self) -> String {
        format!("{}@{}", self.service, self.platforms)
    }

    /// The marker of a folder, if the folder is ours: it belongs to this user,
    /// and its name is the one that the marker gives.
    pub fn of(dir: &Utf8Path) -> Option<Self> {
        let file = dir.join(MARKER);
        let folder = dir.symlink_metadata().ok()?;
        if !folder.is_dir() || folder.uid() != files::user() {
            return None;
        }
        let marker: Self = serde_json::from_str(&files::read(&file)?).ok()?;
        (marker.what == Self::new("", "", &[]).what && dir.file_name() == Some(&marker.folder())).then_some(marker)
    }

    /// Writes the marker into a new folder, if the folder is complete.
    pub fn seal(&self, dir: &Utf8Path) -> anyhow::Result<()> {
        whole(dir).map_err(|why| fault::failed(format!("the new cache is incomplete: {why}")))?;
        files::write(&dir.join(MARKER), serde_json::to_string(self)? + "\n")
    }
}

/// All our layer caches in a folder, by their markers.
pub fn all(root: &Utf8Path) -> Vec<(Utf8PathBuf, Marker)> {
    let entries = root.read_dir_utf8().into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter_map(|entry| Some((entry.path().to_owned(), Marker::of(entry.path())?))).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Whether a layer cache has all blobs that its index names; the error names a
/// missing one.
fn whole(dir: &Utf8Path) -> Result<(), Diagnostic> {
    let mut count = 0;
    for manifest in Manifest::index(dir)?.descriptors() {
        for layer in Manifest::read(dir, &blob(dir, manifest)?)?.descriptors() {
            blob(dir, layer)?;
            count += 1;
        }
    }
    if count == 0 { Err("it has no layers".into()) } else { Ok(()) }
}

/// The file of a descriptor, if it exists with its full size.
fn blob(dir: &Utf8Path, descriptor: &Descriptor) -> Result<Utf8PathBuf, Diagnostic> {
    let path = descriptor.path()?;
    let length = dir.join(&path).metadata().map_err(|error| format!("{path}: {error}"))?.len();
    match descriptor.size == length {
        true => Ok(path),
        false => Err(format!("{path} has {length} bytes of {}", descriptor.size).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::exec::files::Temporary;
    use serde_json::json;

    fn marker() -> Marker {
        Marker::new("demo", "web", &["linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap()])
    }

    /// A cache with one layer.
    fn cache(dir: &Utf8Path) {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join("aa"), "layer").unwrap();
        fs::write(blobs.join("bb"), "{}").unwrap();
        let manifest =
            json!({ "manifests": [{ "digest": "sha256:aa", "size": 5 }, { "digest": "sha256:bb", "size": 2 }] });
        fs::write(blobs.join("cc"), manifest.to_string()).unwrap();
        let index = json!({ "manifests": [{ "digest": "sha256:cc", "size": manifest.to_string().len() }] });
        fs::write(dir.join("index.json"), index.to_string()).unwrap();
    }

    #[test]
    fn a_cache_is_whole_with_every_byte_and_else_it_is_not() {
        type Damage = fn(&Utf8Path);
        let damages: [(&str, Damage); 7] = [
            ("index.json", |dir| fs::remove_file(dir.join("index.json")).unwrap()),
            ("index.json", |dir| fs::write(dir.join("index.json"), "").unwrap()),
            ("no layers", |dir| fs::write(dir.join("index.json"), r#"{"manifests":[]}"#).unwrap()),
            ("blobs/sha256/cc", |dir| fs::remove_file(dir.join("blobs/sha256/cc")).unwrap()),
            ("blobs/sha256/aa", |dir| fs::remove_file(dir.join("blobs/sha256/aa")).unwrap()),
            ("4 bytes of 5", |dir| fs::write(dir.join("blobs/sha256/aa"), "laye").unwrap()),
            ("not a digest", |dir| {
                let bad = r#"{"manifests":[{"digest":"sha256:../../x","size":1}]}"#;
                fs::write(dir.join("index.json"), bad).unwrap();
            }),
        ];
        for (expected, damage) in damages {
            let folder = Temporary::new(&marker().folder()).unwrap();
            cache(folder.path());
            damage(folder.path());
            let why = marker().seal(folder.path()).unwrap_err().to_string();
            assert!(why.contains(expected), "{expected}: {why}");
            assert_eq!(Marker::of(folder.path()), None);
        }
        let folder = Temporary::new(&marker().folder()).unwrap();
        cache(folder.path());
        marker().seal(folder.path()).unwrap();
        assert_eq!(Marker::of(folder.path()), Some(marker()));
    }

    #[test]
    fn only_a_folder_with_our_marker_and_its_own_name_is_ours() {
        let folder = Temporary::new(&marker().folder()).unwrap();
        let dir = folder.path();
        let root = dir.parent().unwrap();
        cache(dir);
        assert_eq!(all(root), Vec::new());
        marker().seal(dir).unwrap();
        assert_eq!(all(root), vec![(dir.to_owned(), marker())]);
        // A copy with another name, a link to it, and a file that somebody else
        // wrote.
        std::os::unix::fs::symlink(dir, root.join("web@linux-amd64")).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        fs::copy(dir.join(MARKER), root.join("other").join(MARKER)).unwrap();
        for (name, text) in
            [("a@b", "{}"), ("c@d", "not JSON"), ("e@f", r#"{"what":"x","project":"","service":"e","platforms":"f"}"#)]
        {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join(MARKER), text).unwrap();
        }
        assert_eq!(all(root), vec![(dir.to_owned(), marker())]);
        assert_eq!(all(&root.join("nowhere")), Vec::new());
    }

    #[test]
    fn two_services_never_share_a_folder() {
        let amd64 = "linux/amd64".parse().unwrap();
        assert_eq!(Marker::new("p", "web", std::slice::from_ref(&amd64)).folder(), "web@linux-amd64");
        assert_eq!(Marker::new("p", "web-admin", &[amd64]).folder(), "web-admin@linux-amd64");
        let here = Marker::new("p", "web", &[Platform::of_this_machine()]);
        assert_eq!(Marker::new("p", "web", &[]).folder(), here.folder());
        assert_eq!(marker().folder(), "web@linux-amd64_linux-arm64");
    }
}
