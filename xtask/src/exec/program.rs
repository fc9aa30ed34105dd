//! Finds the program that a step would start.

use camino::Utf8PathBuf;

use crate::ctx::Ctx;

/// The program with this name on the PATH of our child processes.
pub fn find(ctx: &Ctx, name: &str) -> Option<Utf8PathBuf> {
    within(ctx, name, &ctx.variable("PATH").flatten()?)
}

/// The same, and also in the folders of system tools, which may be missing from a
/// PATH.
pub fn find_tool(ctx: &Ctx, name: &str) -> Option<Utf8PathBuf> {
    within(ctx, name, &format!("{}:/usr/sbin:/sbin", ctx.variable("PATH").flatten().unwrap_or_default()))
}

fn within(ctx: &Ctx, name: &str, path: &str) -> Option<Utf8PathBuf> {
    let found = which::which_in(name, Some(path), &ctx.root).ok()?;
    Some(found.to_string_lossy().into_owned().into())
}
