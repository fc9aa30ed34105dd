//! What a manifest in a registry points at.

use serde::{Deserialize, Serialize};

/// What a manifest is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ManifestKind {
    /// An image of one platform.
    #[default]
    Image,
    /// A list of manifests, such as the platforms of an image.
    Index,
    /// Anything else: a signature, an attestation, an SBOM.
    Artifact,
}

/// A manifest, as far as it leads to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What it is.
    pub kind: ManifestKind,
    /// The digests that an index lists.
    pub children: Vec<String>,
    /// The digest that it is about: what it signs or attests.
    pub subject: Option<String>,
    /// What it says it is, if it is no image.
    pub artifact_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
}

/// The configurations that an image can have.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

impl Manifest {
    /// Reads a manifest; or what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|why| format!("it is not a manifest: {why}"))?;
        if raw.schema_version != 2 {
            return Err(format!("its schema is {} and not 2", raw.schema_version));
        }
        let says_index = raw.media_type.as_deref().map(|it| it.contains(".index.") || it.contains(".manifest.list."));
        let is_image = raw.layers.is_some() || raw.blobs.is_some();
        // A reader who sees the one and a reader who sees the other would disagree
        // about what it needs.
        if is_image == raw.manifests.is_some() || says_index.is_some_and(|says| says == is_image) {
            return Err("it is neither one image nor a list of manifests".into());
        }
        let digest = |it: Descriptor| match is_digest(&it.digest) {
            true => Ok(it.digest),
            false => Err(format!("{:?} in it is not a digest", it.digest)),
        };
        // The index of an old layer cache lists layers, which are nobody's version.
        let is_manifest = |it: &Descriptor| {
            !it.media_type
                .as_deref()
                .is_some_and(|it| ["layer", "rootfs", "cacheconfig"].iter().any(|word| it.contains(word)))
        };
        let config = raw.config.and_then(|config| config.media_type);
        let is_of_image =
            raw.artifact_type.is_none() && config.as_deref().is_some_and(|it| IMAGE_CONFIGS.contains(&it));
        let kind = match raw.manifests {
            Some(_) => ManifestKind::Index,
            None if is_of_image => ManifestKind::Image,
            None => ManifestKind::Artifact,
        };
        Ok(Self {
            kind,
            children: raw
                .manifests
                .unwrap_or_default()
                .into_iter()
                .filter(is_manifest)
                .map(digest)
                .collect::<Result<_, _>>()?,
            subject: raw.subject.map(digest).transpose()?,
            artifact_type: raw.artifact_type.or(config.filter(|_| kind == ManifestKind::Artifact)),
        })
    }
}

/// `sha256:` and 64 hexadecimal digits, as registries write them.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_hash)
}

fn is_hash(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// The digest that a tag says something is attached to: `sha256-H`, where a
/// registry has no list of referrers, and cosign's `sha256-H.sig` and the like.
pub fn attached_to(tag: &str) -> Option<String> {
    let rest = tag.strip_prefix("sha256-")?;
    let (hex, suffix) = rest.split_once('.').map_or((rest, None), |(hex, suffix)| (hex, Some(suffix)));
    (is_hash(hex) && suffix != Some("")).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: char) -> String {
        format!("sha256:{}", n.to_string().repeat(64))
    }

    #[test]
    fn a_manifest_says_what_it_leads_to_or_what_is_wrong_with_it() {
        let (a, b) = (of('a'), of('b'));
        let config = |kind: &str| format!(r#""config":{{"mediaType":"{kind}","digest":"{a}"}},"layers":[]"#);
        let image = config(IMAGE_CONFIGS[0]);
        let index = format!(r#""manifests":[{{"digest":"{a}"}},{{"digest":"{b}"}}]"#);
        let manifest = |kind, children: &[&String], subject: Option<&String>, artifact_type: Option<&str>| {
            Ok(Manifest {
                kind,
                children: children.iter().map(ToString::to_string).collect(),
                subject: subject.cloned(),
                artifact_type: artifact_type.map(str::to_owned),
            })
        };
        let neither = "it is neither one image nor a list of manifests";
        use ManifestKind::{Artifact, Image, Index};
        for (text, expected) in [
            (image.clone(), manifest(Image, &[], None, None)),
            (config(IMAGE_CONFIGS[1]), manifest(Image, &[], None, None)),
            (
                format!(r#""mediaType":"application/vnd.oci.image.manifest.v1+json",{image}"#),
                manifest(Image, &[], None, None),
            ),
            (index.clone(), manifest(Index, &[&a, &b], None, None)),
            (
                format!(
                    r#""manifests":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{a}"}},
                    {{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{a}"}},
                    {{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{a}"}},
                    {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{b}"}}]"#
                ),
                manifest(Index, &[&b], None, None),
            ),
            (r#""manifests":[]"#.into(), manifest(Index, &[], None, None)),
            (
                format!(r#""mediaType":"application/vnd.oci.image.index.v1+json",{index}"#),
                manifest(Index, &[&a, &b], None, None),
            ),
            (
                format!(r#""mediaType":"application/vnd.docker.distribution.manifest.list.v2+json",{index}"#),
                manifest(Index, &[&a, &b], None, None),
            ),
            (
                format!(r#"{index},"subject":{{"digest":"{b}"}},"artifactType":"x/y""#),
                manifest(Index, &[&a, &b], Some(&b), Some("x/y")),
            ),
            (
                format!(r#"{image},"subject":{{"digest":"{b}"}},"artifactType":"x/y""#),
                manifest(Artifact, &[], Some(&b), Some("x/y")),
            ),
            (config("a/b"), manifest(Artifact, &[], None, Some("a/b"))),
            (
                format!(r#""blobs":[],"artifactType":"x/y","subject":{{"digest":"{a}"}}"#),
                manifest(Artifact, &[], Some(&a), Some("x/y")),
            ),
            (format!("{index},{image}"), Err(neither)),
            (r#""config":null"#.into(), Err(neither)),
            (format!(r#""mediaType":"application/vnd.oci.image.index.v1+json",{image}"#), Err(neither)),
            (format!(r#""mediaType":"application/vnd.oci.image.manifest.v1+json",{index}"#), Err(neither)),
            (r#""manifests":[{"digest":"sha256:0"}]"#.into(), Err("\"sha256:0\" in it is not a digest")),
            (r#""manifests":[],"subject":{"digest":"x"}"#.into(), Err("\"x\" in it is not a digest")),
        ] {
            let found = Manifest::parse(format!(r#"{{"schemaVersion":2,{text}}}"#).as_bytes());
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
        assert_eq!(Manifest::parse(br#"{"schemaVersion":1}"#), Err("its schema is 1 and not 2".into()));
        for text in ["", "<html>", "[]", "{}", r#"{"schemaVersion":2,"manifests":[{}]}"#] {
            assert!(Manifest::parse(text.as_bytes()).unwrap_err().starts_with("it is not a manifest: "), "{text}");
        }
    }

    #[test]
    fn a_tag_of_an_attachment_names_a_digest() {
        let hex = "0f".repeat(32);
        for suffix in ["", ".sig", ".att", ".sbom", ".x.y"] {
            assert_eq!(attached_to(&format!("sha256-{hex}{suffix}")), Some(format!("sha256:{hex}")), "{suffix}");
        }
        let (short, long, upper) = ("0f".repeat(31), "0f".repeat(33), "0F".repeat(32));
        for tag in ["sha256-".into(), format!("sha256-{short}"), format!("sha256-{long}"), format!("sha256-{upper}")] {
            assert_eq!(attached_to(&tag), None, "{tag}");
        }
        for tag in [format!("sha256-{hex}."), format!("sha256-{hex}-sig"), format!("sha256:{hex}"), hex] {
            assert_eq!(attached_to(&tag), None, "{tag}");
        }
    }
}
