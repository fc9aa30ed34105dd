//! stub
use crate::{cli::BenchArgs, ctx::Ctx, model::config::Project};
/// stub
pub fn run(_: &Ctx, _: &Project, _: &BenchArgs) -> anyhow::Result<()> {
    Ok(())
}
