//! The stand-ins that the engine has, by the labels that say what they are.

use std::thread;

use super::inputs;
use crate::exec::engine::{Engine, answers};
use crate::model::base::StandIn;
use crate::model::reference::Image;

/// The label that says what a stand-in is taken for.
pub const STAND_IN: &str = "xtask.stand-in";
/// The label that holds the recipe's hash: another recipe, another image.
pub const RECIPE: &str = "xtask.recipe";
/// The label of what a stand-in is made for, where that is more than one platform.
pub const PLATFORMS: &str = "xtask.platforms";
/// The label of the checkout that had it made: `docker clean --all` takes its
/// own, and no other project's.
pub const MAKER: &str = "xtask.checkout";

/// The stand-ins that the engine lacks, or has from another recipe.
pub fn missing(engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<Vec<StandIn>> {
    let found = found(engine, wanted)?;
    Ok(wanted.iter().zip(found).filter(|(_, image)| image.is_none()).map(|(it, _)| it.clone()).collect())
}

/// The stand-ins that the engine has, from the current recipe.
pub fn found(engine: &Engine, wanted: &[StandIn]) -> anyhow::Result<Vec<Option<answers::Image>>> {
    let recipe = inputs::recipe();
    let found = images(engine, &wanted.iter().map(|it| it.image.clone()).collect::<Vec<_>>())?;
    let is_right = |image: &answers::Image, it: &StandIn| {
        let labels = &image.config.labels;
        let has = labels.get(PLATFORMS).map(String::as_str).unwrap_or_default();
        labels.get(RECIPE) == Some(&recipe) && it.foreign.iter().all(|it| has.split(' ').any(|has| has == it.as_str()))
    };
    Ok(found.into_iter().zip(wanted).map(|(image, it)| image.filter(|image| is_right(image, it))).collect())
}

/// The engine's images with these names. They are requested in parallel, because
/// this precedes every build.
pub fn images(engine: &Engine, names: &[String]) -> anyhow::Result<Vec<Option<answers::Image>>> {
    thread::scope(|scope| {
        // BuildKit will refuse an invalid reference and name its line.
        let ask = |name: &String| if name.parse::<Image>().is_ok() { engine.image(name) } else { Ok(None) };
        let asked: Vec<_> = names.iter().map(|name| scope.spawn(move || ask(name))).collect();
        asked.into_iter().map(|it| it.join().unwrap_or(Ok(None))).collect()
    })
}
