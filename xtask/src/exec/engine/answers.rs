//! The engine's answers, as far as we read them.
//!
//! A missing field is an error that names the request and the field
//! ([`crate::exec::api`]), because an empty default would decide something.
//! `null` is Go's empty list. A few fields are omitted if they are empty; those
//! say so.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Labels, by key.
pub type Labels = BTreeMap<String, String>;

/// What a registry has, by `GET /distribution/NAME/json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Distributed {
    /// Of the index or the manifest.
    pub descriptor: Descriptor,
}

/// What a digest is of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Descriptor {
    /// `sha256:…`.
    pub digest: String,
}

/// An image, from `GET /images/NAME/json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Image {
    /// The digest of its configuration; in the containerd image store that of its
    /// manifest or index.
    pub id: String,
    /// Its names.
    #[serde(deserialize_with = "or_empty")]
    pub repo_tags: Vec<String>,
    /// The configuration that containers and builds inherit.
    pub config: ImageConfig,
    os: String,
    architecture: String,
    /// Such as `v7`; most have none.
    #[serde(default)]
    variant: String,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
}

impl Image {
    /// The platform, such as `linux/amd64` or `linux/arm/v7`.
    pub fn platform(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
    }

    /// The digests of its unpacked layers, the lowest first.
    pub fn layers(&self) -> &[String] {
        &self.root_fs.layers
    }
}

/// The configuration of an image. Since version 29 the engine omits empty fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// Its labels.
    #[serde(default, deserialize_with = "or_empty")]
    pub labels: Labels,
    /// Its variables, `NAME=VALUE`.
    #[serde(default, deserialize_with = "or_empty")]
    pub env: Vec<String>,
    /// Its ONBUILD instructions.
    #[serde(default, deserialize_with = "or_empty")]
    pub on_build: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    /// Omitted if the image has none.
    #[serde(default, deserialize_with = "or_empty")]
    layers: Vec<String>,
}

/// An image in `GET /images/json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedImage {
    /// As [`Image::id`].
    pub id: String,
    /// Its names.
    #[serde(deserialize_with = "or_empty")]
    pub repo_tags: Vec<String>,
    /// Its labels.
    #[serde(deserialize_with = "or_empty")]
    pub labels: Labels,
    created: i64,
    size: i64,
    shared_size: i64,
}

impl ListedImage {
    /// When it was built, in seconds since 1970; Go's zero time is earlier.
    pub fn created(&self) -> u64 {
        self.created.max(0).unsigned_abs()
    }

    /// The bytes that no other image shares; `-1` if the engine has not measured
    /// them.
    pub fn own_bytes(&self) -> u64 {
        self.size.saturating_sub(self.shared_size.max(0)).max(0).unsigned_abs()
    }
}

/// A step in `GET /images/NAME/history`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Layer {
    /// Its unpacked size.
    pub size: u64,
}

/// A container, from `GET /containers/NAME/json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its state.
    pub state: State,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

impl Container {
    /// Whether its root file system is read-only.
    pub fn is_read_only(&self) -> bool {
        self.host_config.readonly_rootfs
    }

    /// The host's port where a TCP port is published, if it is.
    pub fn port(&self, port: u16) -> Option<u16> {
        self.network_settings.ports.get(&format!("{port}/tcp"))?.as_ref()?.first()?.host_port
    }
}

/// What a container takes on disk.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Sizes {
    /// All of it, the image included.
    #[serde(rename = "SizeRootFs")]
    pub root_fs: u64,
    /// What it has written itself; an engine leaves out what is nothing.
    #[serde(rename = "SizeRw", default)]
    pub written: u64,
}

/// The state of a container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// Whether its process runs.
    pub running: bool,
    /// The exit code of its process; 0 before it has ended.
    pub exit_code: i64,
    /// Whether the kernel killed it because memory ran out.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    readonly_rootfs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    /// Empty until it runs. A port that is not published has no bindings.
    #[serde(deserialize_with = "or_empty")]
    ports: BTreeMap<String, Option<Vec<Binding>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(deserialize_with = "port")]
    host_port: Option<u16>,
}

/// A container in `GET /containers/json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedContainer {
    /// 64 hexadecimal digits.
    pub id: String,
    #[serde(deserialize_with = "or_empty")]
    names: Vec<String>,
    /// The image that it was created from.
    #[serde(rename = "ImageID")]
    pub image: String,
    /// Its labels.
    #[serde(deserialize_with = "or_empty")]
    pub labels: Labels,
    /// What it does.
    pub state: Does,
    created: i64,
    /// The bytes it has written; omitted if there are none, or if they were not
    /// asked for.
    #[serde(default, rename = "SizeRw")]
    pub written: u64,
}

impl ListedContainer {
    /// Its name. A container that is being removed may have none.
    pub fn name(&self) -> Option<&str> {
        Some(self.names.first()?.trim_start_matches('/'))
    }

    /// When it was created, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created.max(0).unsigned_abs()
    }
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Does {
    /// It has not been started.
    Created,
    /// It is running.
    Running,
    /// It is paused.
    Paused,
    /// It is restarting.
    Restarting,
    /// It is being removed.
    Removing,
    /// It has ended.
    Exited,
    /// It could not be removed.
    Dead,
    /// A state that no known engine reports.
    #[serde(other)]
    Other,
}

impl Does {
    /// Whether it may be in use. An unknown state counts as in use.
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting | Self::Other)
    }
}

/// A network, in `GET /networks` and by `GET /networks/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    #[serde(deserialize_with = "or_empty")]
    pub labels: Labels,
    /// When it was created, in seconds since 1970.
    #[serde(deserialize_with = "time")]
    pub created: u64,
}

/// The processes of a container, by `GET /containers/NAME/top`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Top {
    /// The titles of the columns.
    #[serde(deserialize_with = "or_empty")]
    pub titles: Vec<String>,
    /// One row per process.
    #[serde(deserialize_with = "or_empty")]
    pub processes: Vec<Vec<String>>,
}

/// The engine, by `GET /info`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    #[serde(deserialize_with = "or_empty")]
    driver_status: Vec<(String, String)>,
    /// The folder of its images, on its own machine.
    pub docker_root_dir: String,
}

impl Info {
    /// Whether its images are in the containerd image store.
    pub fn is_containerd_store(&self) -> bool {
        self.driver_status.iter().any(|(_, value)| value.contains("io.containerd.snapshotter"))
    }
}

/// The engine, by `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// Such as `26.1.5+dfsg1`.
    pub version: String,
    os: String,
    arch: String,
}

impl Version {
    /// Its platform, such as `linux/amd64`.
    pub fn platform(&self) -> String {
        format!("{}/{}", self.os, self.arch)
    }
}

/// Go writes an empty list or map as `null` if it was never created.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A port as text; empty until the engine has chosen one.
fn port<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| D::Error::custom(format!("`{text}` is no port")))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    seconds(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no time like 2026-11-23T23:40:06Z")))
}

/// The seconds since 1970 of `2026-11-23T23:40:06…Z`.
fn seconds(time: &str) -> Option<u64> {
    let numbers = time.get(..19)?.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    let numbers: Vec<i64> = numbers.collect::<Option<_>>()?;
    let [year, month, day, hour, minute, second] = numbers[..] else { return None };
    // Years that start in March, so that the leap day comes last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    // Go's zero time is long before 1970.
    Some(u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).unwrap_or(0))
}

#[cfg(test)]
mod tests;
