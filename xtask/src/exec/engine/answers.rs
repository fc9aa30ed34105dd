//! What the engine answers: of each answer the fields that we read.
//!
//! A field that is not there is an error that names question and field
//! ([`crate::exec::api`]): an empty word in its place would decide something.
//! `null` is Go's empty list, and means one. A few fields are left out where
//! they are empty; those say so.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Labels, by their keys.
pub type Labels = BTreeMap<String, String>;

/// An image, by `GET /images/NAME/json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Image {
    /// The digest of its configuration, or of its manifest or index in the
    /// containerd image store.
    pub id: String,
    /// Its names.
    #[serde(deserialize_with = "or_empty")]
    pub repo_tags: Vec<String>,
    /// What containers and builds inherit of it.
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
    /// Such as `linux/amd64` or `linux/arm/v7`.
    pub fn platform(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
    }

    /// The digests of its layers as unpacked, the lowest first.
    pub fn layers(&self) -> &[String] {
        &self.root_fs.layers
    }
}

/// An image's configuration. Since 29 the engine leaves out what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// Its labels.
    #[serde(default, deserialize_with = "or_empty")]
    pub labels: Labels,
    /// Its variables, `NAME=VALUE`.
    #[serde(default, deserialize_with = "or_empty")]
    pub env: Vec<String>,
    /// Instructions for a build on it.
    #[serde(default, deserialize_with = "or_empty")]
    pub on_build: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    /// Left out of an image that has none.
    #[serde(default, deserialize_with = "or_empty")]
    layers: Vec<String>,
}

/// An image, as `GET /images/json` lists it.
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
    /// When it was built, in seconds since 1970. Go's zero time is before that.
    pub fn created(&self) -> u64 {
        self.created.max(0).unsigned_abs()
    }

    /// What is no other image's; `-1` is a size that the engine has not added up.
    pub fn own_bytes(&self) -> u64 {
        self.size.saturating_sub(self.shared_size.max(0)).max(0).unsigned_abs()
    }
}

/// A step of `GET /images/NAME/history`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Layer {
    /// As unpacked.
    pub size: u64,
}

/// A container, by `GET /containers/NAME/json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// How it is.
    pub state: State,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

impl Container {
    /// Whether nothing can write to its root file system.
    pub fn is_read_only(&self) -> bool {
        self.host_config.readonly_rootfs
    }

    /// The port of the host that a TCP port is published on, once it is.
    pub fn port(&self, port: u16) -> Option<u16> {
        self.network_settings.ports.get(&format!("{port}/tcp"))?.as_ref()?.first()?.host_port
    }
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// Whether its process is there.
    pub running: bool,
    /// That of its process, 0 before that has ended.
    pub exit_code: i64,
    /// Whether the kernel ended it for want of memory.
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
    /// Empty until it runs; a port that is not published has no bindings.
    #[serde(deserialize_with = "or_empty")]
    ports: BTreeMap<String, Option<Vec<Binding>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(deserialize_with = "port")]
    host_port: Option<u16>,
}

/// A container, as `GET /containers/json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedContainer {
    /// 64 hexadecimal digits.
    pub id: String,
    #[serde(deserialize_with = "or_empty")]
    names: Vec<String>,
    /// The image that it was made from.
    #[serde(rename = "ImageID")]
    pub image: String,
    /// Its labels.
    #[serde(deserialize_with = "or_empty")]
    pub labels: Labels,
    /// What it does.
    pub state: Does,
    created: i64,
    /// What it has written: left out where that is nothing, or was not asked.
    #[serde(default, rename = "SizeRw")]
    pub written: u64,
}

impl ListedContainer {
    /// Its name. One that is being removed may have none.
    pub fn name(&self) -> Option<&str> {
        Some(self.names.first()?.trim_start_matches('/'))
    }

    /// When it was made, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created.max(0).unsigned_abs()
    }
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Does {
    /// It was never started.
    Created,
    /// It runs.
    Running,
    /// It is stopped in mid-air and can go on.
    Paused,
    /// It ended and is started again.
    Restarting,
    /// It is going.
    Removing,
    /// It ended.
    Exited,
    /// It could not be removed.
    Dead,
    /// What no engine that we know says.
    #[serde(other)]
    Other,
}

impl Does {
    /// Whether somebody may be using it. What nobody knows may be that, too.
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
    /// When it was made, in seconds since 1970.
    #[serde(deserialize_with = "time")]
    pub created: u64,
}

/// The processes of a container, by `GET /containers/NAME/top`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Top {
    /// The columns' titles.
    #[serde(deserialize_with = "or_empty")]
    pub titles: Vec<String>,
    /// A row for each process.
    #[serde(deserialize_with = "or_empty")]
    pub processes: Vec<Vec<String>>,
}

/// The engine, by `GET /info`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    #[serde(deserialize_with = "or_empty")]
    driver_status: Vec<(String, String)>,
    /// Where it keeps its images, on its own machine.
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
    /// What it runs, such as `linux/amd64`.
    pub fn platform(&self) -> String {
        format!("{}/{}", self.os, self.arch)
    }
}

/// Go writes an empty list or map as `null` where nobody has made one.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A port as a text; empty before the engine has chosen one.
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
    // Years that begin in March: the leap day comes last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    // Go's zero time is long before 1970.
    Some(u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).unwrap_or(0))
}

#[cfg(test)]
mod tests;
