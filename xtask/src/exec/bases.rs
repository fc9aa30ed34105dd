//! stub
use crate::{ctx::Ctx, exec::engine::Engine, model::base::Bases};
/// stub
pub fn contexts(_: &Ctx, _: &Engine, _: Bases, _: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    Ok(vec![])
}
/// stub
pub fn image_for(_: &Ctx, _: &Engine, _: Bases, r: &str) -> anyhow::Result<String> {
    Ok(r.into())
}
