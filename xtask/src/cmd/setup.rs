//! stub
use crate::{cli::SetupArgs, ctx::Ctx};
/// stub
pub fn run(_: &Ctx, _: &SetupArgs, _: &[String]) -> anyhow::Result<()> {
    Ok(())
}
/// stub
pub fn ensure(_: &Ctx, _: &[String]) -> anyhow::Result<bool> {
    Ok(false)
}
