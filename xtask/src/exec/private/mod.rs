//! stub
use crate::ctx::Ctx;
/// stub
pub fn down(_: &Ctx, _: bool) -> anyhow::Result<()> {
    Ok(())
}
