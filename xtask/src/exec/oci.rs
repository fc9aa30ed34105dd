//! An image as files: the index and the manifests of an OCI layout, as far as we
//! read them.

use std::error::Error;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use crate::model::diagnostic::Diagnostic;

/// A descriptor: it names a file of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Descriptor {
    /// `ALGORITHM:HEX`, of the file's bytes.
    pub digest: String,
    /// The size of the file in bytes.
    pub size: u64,
}

/// An index, a manifest, or the index of a layer cache, which lists layers as if
/// they were manifests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// The entries of an index.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// The layers of a manifest.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// The configuration of a manifest.
    pub config: Option<Descriptor>,
}

impl Manifest {
    /// Reads one from a layout.
    pub fn read(layout: &Utf8Path, path: &Utf8Path) -> Result<Self, Diagnostic> {
        let wrong = |error: &dyn Error| Diagnostic::new(error.to_string()).of(path.as_str());
        let text = std::fs::read_to_string(layout.join(path)).map_err(|error| wrong(&error))?;
        serde_json::from_str(&text).map_err(|error| wrong(&error))
    }

    /// The index of a layout.
    pub fn index(layout: &Utf8Path) -> Result<Self, Diagnostic> {
        Self::read(layout, "index.json".into())
    }

    /// All descriptors in it.
    pub fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().chain(&self.layers).chain(&self.config)
    }
}

impl Descriptor {
    /// The path of the file below the layout, if the digest is valid.
    pub fn path(&self) -> Result<Utf8PathBuf, Diagnostic> {
        let (kind, hash) = self.digest.split_once(':').unwrap_or_default();
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
        match is_word(kind) && is_word(hash) {
            true => Ok(format!("blobs/{kind}/{hash}").into()),
            false => Err(format!("`{}` is not a digest", self.digest).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_names_a_file_of_the_layout_and_none_elsewhere() {
        let path = |digest: &str| Descriptor { digest: digest.into(), size: 1 }.path().map(Utf8PathBuf::into_string);
        assert_eq!(path("sha256:0aF"), Ok("blobs/sha256/0aF".into()));
        for wrong in ["", "sha256", "sha256:", ":aa", "sha256:../x", "../x:aa", "sha256:a/b", "a:b:c"] {
            assert_eq!(path(wrong), Err(format!("`{wrong}` is not a digest").into()));
        }
    }

    #[test]
    fn what_has_no_size_is_no_descriptor() {
        let manifest = |text| serde_json::from_str::<Manifest>(text).map_err(|error| error.to_string());
        let it = r#"{"schemaVersion":2,"config":{"digest":"a:1","size":7},"layers":[{"digest":"a:2","size":8}]}"#;
        let sizes: Vec<u64> = manifest(it).unwrap().descriptors().map(|one| one.size).collect();
        assert_eq!(sizes, [8, 7]);
        assert_eq!(manifest("{}").unwrap().descriptors().count(), 0);
        let why = manifest(r#"{"manifests":[{"digest":"a:1"}]}"#).unwrap_err();
        assert!(why.starts_with("missing field `size`"), "{why}");
    }
}
