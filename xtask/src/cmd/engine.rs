//! stub
use crate::{cli::EngineVerb, ctx::Ctx};
/// stub
pub fn run(_: &Ctx, _: &EngineVerb) -> anyhow::Result<()> {
    Ok(())
}
