//! The Docker Engine in use, and what it is asked.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::ctx::Ctx;
use crate::exec::api::{self, Endpoint};
use crate::exec::http::Route;
use crate::fault;
use crate::model::reference::Image;
use crate::plan::step::quote;

/// An engine that answered.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The surroundings with what a child needs to reach this engine.
    pub ctx: Ctx,
    /// Where it came from, for people.
    pub origin: String,
    /// Whether it is the private one.
    pub private: bool,
    /// How it is reached.
    pub endpoint: Endpoint,
    /// Whether no interrupt ends a question: what cleans up goes on.
    pub cleans_up: bool,
}

impl Engine {
    /// The same engine, for what cleans up.
    pub fn to_clean_up(&self) -> Self {
        Self { cleans_up: true, ..self.clone() }
    }

    /// Asks the engine; `None` is a 404.
    pub fn get(&self, route: &Route) -> anyhow::Result<Option<Value>> {
        api::get(&self.ctx, &self.endpoint, route, self.cleans_up)
    }

    /// An image's `inspect`, by name or id.
    pub fn image(&self, reference: &str) -> anyhow::Result<Option<Value>> {
        self.get(&of_image(reference, "json")?)
    }

    /// All that a list of the engine's has with a label: `KEY` or `KEY=VALUE`.
    pub fn labelled(&self, list: Route, label: &str) -> anyhow::Result<Vec<Value>> {
        let question = list.query("filters", &serde_json::json!({ "label": [label] }).to_string());
        // The containerd image store answers with 404 when one of the list goes
        // away while it is being made: somebody else removes things, too.
        for _ in 0..20 {
            if let Some(answer) = self.get(&question)? {
                return answer.as_array().cloned().context("the engine did not answer with a list");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(fault::failed(format!("the engine answered GET {} with 404, again and again", question.path())).into())
    }

    /// A container's `inspect`, by name or id.
    pub fn container(&self, name: &str) -> anyhow::Result<Option<Value>> {
        self.get(&Route::new(&["containers", name, "json"]))
    }

    /// The uncompressed size of an image: the sum of its layers as unpacked.
    /// Not `.Size`, in which the containerd image store counts the compressed
    /// blobs as well.
    pub fn image_bytes(&self, reference: &str) -> anyhow::Result<u64> {
        let history = self.get(&of_image(reference, "history")?)?;
        let layers = history.as_ref().and_then(Value::as_array).context("the engine has no history of the image")?;
        Ok(layers.iter().filter_map(|layer| layer["Size"].as_u64()).sum())
    }

    /// Whether the engine's image store holds several platforms under one
    /// name: the containerd image store does, the older one does not.
    pub fn holds_platforms(&self) -> anyhow::Result<bool> {
        let info = self.get(&Route::new(&["info"]))?.context("the engine does not describe itself")?;
        Ok(info["DriverStatus"].to_string().contains("io.containerd.snapshotter"))
    }

    /// The platform that the engine runs, such as `linux/amd64`.
    pub fn platform(&self) -> anyhow::Result<String> {
        let version = self.get(&Route::new(&["version"]))?.context("the engine does not tell its version")?;
        Ok(format!("{}/{}", version["Os"].as_str().unwrap_or("linux"), version["Arch"].as_str().unwrap_or("amd64")))
    }
}

/// What the engine is asked of an image. A name that is none would be a path to
/// something else.
fn of_image(reference: &str, what: &str) -> anyhow::Result<Route> {
    let image: Image = reference.parse().map_err(fault::usage)?;
    Ok(Route::new(&["images"].into_iter().chain(image.parts()).chain([what]).collect::<Vec<_>>()))
}

/// The line that gives a shell what our children get.
pub fn exports(ctx: &Ctx) -> String {
    let pairs = ctx.exports.iter().map(|(name, value)| match name.as_str() {
        // Ours goes in front of whatever the shell has.
        "PATH" => format!("PATH={}:\"$PATH\"", quote(value.split(':').next().unwrap_or_default())),
        _ => format!("{name}={}", quote(value)),
    });
    format!("export {}", pairs.collect::<Vec<_>>().join(" "))
}
