//! The Docker Engine in use, and what we ask it.

pub mod answers;

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::ctx::Ctx;
use crate::exec::api::{self, Endpoint};
use crate::exec::http::Route;
use crate::exec::run;
use crate::fault;
use crate::model::reference::Image;
use crate::plan::step::{Step, quote};

/// An engine that answered, and everything that runs on it.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The context with the environment that leads child processes to this
    /// engine. Code with an engine uses no other context.
    pub ctx: Ctx,
    /// How it was found, for people.
    pub origin: String,
    /// Whether it is the private engine.
    pub private: bool,
    /// How to reach it.
    pub endpoint: Endpoint,
    /// Whether requests ignore the interrupt, as clean-up does.
    pub cleans_up: bool,
}

impl Engine {
    /// The same engine, for clean-up.
    pub fn to_clean_up(&self) -> Self {
        Self { cleans_up: true, ..self.clone() }
    }

    /// [`run::read`], with this engine.
    pub fn read(&self, step: &Step) -> anyhow::Result<String> {
        run::read(&self.ctx, step)
    }

    /// [`run::bytes`], with this engine.
    pub fn bytes(&self, step: &Step) -> anyhow::Result<Vec<u8>> {
        run::bytes(&self.ctx, step)
    }

    /// [`run::make`], with this engine.
    pub fn make(&self, step: &Step) -> anyhow::Result<()> {
        run::make(&self.ctx, step)
    }

    /// [`run::probe`], with this engine.
    pub fn probe(&self, step: &Step) -> Option<String> {
        run::probe(&self.ctx, step)
    }

    /// [`run::tidy`], with this engine.
    pub fn tidy(&self, step: &Step) -> anyhow::Result<String> {
        run::tidy(&self.ctx, step)
    }

    /// [`run::words`], with this engine.
    pub fn words(&self, step: &Step) -> String {
        run::words(&self.ctx, step)
    }

    /// [`run::run`], with this engine.
    pub fn run(&self, step: &Step) -> anyhow::Result<()> {
        run::run(&self.ctx, step)
    }

    /// [`run::stream`], with this engine.
    pub fn stream(&self, step: &Step, sink: impl Fn(&str)) -> anyhow::Result<()> {
        run::stream(&self.ctx, step, sink)
    }

    /// Whether it still answers.
    pub fn answers(&self) -> bool {
        api::ping(&self.ctx, &self.endpoint).is_ok()
    }

    /// Sends a request; `None` means a 404.
    fn get<T: DeserializeOwned>(&self, route: &Route) -> anyhow::Result<Option<T>> {
        api::get(&self.ctx, &self.endpoint, route, self.cleans_up)
    }

    /// Requests something that every engine has.
    fn must<T: DeserializeOwned>(&self, route: &Route) -> anyhow::Result<T> {
        let lacks = || fault::failed(format!("the engine at {} answered GET {} with 404", self.endpoint, route.path()));
        Ok(self.get(route)?.ok_or_else(lacks)?)
    }

    /// An image, by name or id.
    pub fn image(&self, reference: &str) -> anyhow::Result<Option<answers::Image>> {
        self.get(&of_image(reference, "json")?)
    }

    /// A container, by name or id.
    pub fn container(&self, name: &str) -> anyhow::Result<Option<answers::Container>> {
        self.get(&Route::new(&["containers", name, "json"]))
    }

    /// A network, by name or id.
    pub fn network(&self, name: &str) -> anyhow::Result<Option<answers::Network>> {
        self.get(&Route::new(&["networks", name]))
    }

    /// The processes of a container, with these columns of `ps`; with its default
    /// columns if there are none.
    pub fn top(&self, name: &str, columns: &str) -> anyhow::Result<Option<answers::Top>> {
        let route = Route::new(&["containers", name, "top"]);
        self.get(&if columns.is_empty() { route } else { route.query("ps_args", columns) })
    }

    /// All containers.
    pub fn containers(&self) -> anyhow::Result<Vec<answers::ListedContainer>> {
        self.must(&all_containers())
    }

    /// The containers with a label: `KEY` or `KEY=VALUE`. To measure sizes costs
    /// the engine time.
    pub fn labelled_containers(&self, label: &str, weighed: bool) -> anyhow::Result<Vec<answers::ListedContainer>> {
        self.labelled(all_containers().query("size", if weighed { "1" } else { "0" }), label)
    }

    /// The networks with a label.
    pub fn labelled_networks(&self, label: &str) -> anyhow::Result<Vec<answers::Network>> {
        self.labelled(Route::new(&["networks"]), label)
    }

    /// The images with a label.
    pub fn labelled_images(&self, label: &str) -> anyhow::Result<Vec<answers::ListedImage>> {
        self.labelled(Route::new(&["images", "json"]).query("shared-size", "1"), label)
    }

    /// All objects of a list with a label.
    fn labelled<T: DeserializeOwned>(&self, list: Route, label: &str) -> anyhow::Result<Vec<T>> {
        let question = list.query("filters", &serde_json::json!({ "label": [label] }).to_string());
        // The containerd image store answers with 404 if an image is removed
        // while it makes the list, and other people remove images, too.
        for _ in 0..20 {
            if let Some(answer) = self.get(&question)? {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(fault::failed(format!("the engine answered GET {} with 404, again and again", question.path())).into())
    }

    /// The uncompressed size of an image: the sum of its unpacked layers. `.Size`
    /// is different: with the containerd image store it includes the compressed
    /// blobs.
    pub fn image_bytes(&self, reference: &str) -> anyhow::Result<u64> {
        let layers: Vec<answers::Layer> = self.must(&of_image(reference, "history")?)?;
        Ok(layers.iter().map(|layer| layer.size).sum())
    }

    /// The same for the image of a container. The engine tells it of one platform of
    /// several only there, and of a foreign one it has nothing unpacked before.
    pub fn container_bytes(&self, name: &str) -> anyhow::Result<u64> {
        let sizes: answers::Sizes = self.must(&Route::new(&["containers", name, "json"]).query("size", "1"))?;
        Ok(sizes.root_fs.saturating_sub(sizes.written))
    }

    /// The digest that a registry has under a name, where it shows that to
    /// anybody.
    pub fn distributed(&self, reference: &str) -> anyhow::Result<Option<String>> {
        let image: Image = reference.parse().map_err(fault::usage)?;
        let parts = ["distribution"].into_iter().chain(image.parts()).chain(["json"]);
        let found: Option<answers::Distributed> = self.get(&Route::new(&parts.collect::<Vec<_>>()))?;
        Ok(found.map(|found| found.descriptor.digest))
    }

    /// The answer to `GET /info`.
    pub fn info(&self) -> anyhow::Result<answers::Info> {
        self.must(&Route::new(&["info"]))
    }

    /// Its version and platform.
    pub fn version(&self) -> anyhow::Result<answers::Version> {
        self.must(&Route::new(&["version"]))
    }
}

fn all_containers() -> Route {
    Route::new(&["containers", "json"]).query("all", "1")
}

/// The route for an image. A name that is not an image reference would be the
/// path of something else.
fn of_image(reference: &str, what: &str) -> anyhow::Result<Route> {
    let image: Image = reference.parse().map_err(fault::usage)?;
    Ok(Route::new(&["images"].into_iter().chain(image.parts()).chain([what]).collect::<Vec<_>>()))
}

/// The lines that give a shell the environment of our child processes.
pub fn exports(ctx: &Ctx) -> String {
    let pairs = ctx.exports.iter().map(|(name, value)| match name.as_str() {
        // Our value goes in front of what the shell has.
        "PATH" => format!("PATH={}:\"$PATH\"", quote(value.split(':').next().unwrap_or_default())),
        _ => format!("{name}={}", quote(value)),
    });
    format!("export {}", pairs.collect::<Vec<_>>().join(" "))
}
