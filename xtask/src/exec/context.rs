//! Chooses the path through which our build reaches its context.
//!
//! BuildKit keeps a copy of every context that it received, and then asks only
//! for files whose size or time differs. It finds the copy by the last part of
//! the context's path, so two folders called `repo` share one copy. Our build
//! therefore uses a link to the context, and the name of the link is unique.

use anyhow::Context as _;
use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::checkout;
use crate::exec::files::{self, Temporary};
use crate::model::identity;
use crate::plan::build::Request;

/// Creates a link to the context of a request, for one run. `copy` is the key of
/// BuildKit's copy of these files. `None`: we don't know what BuildKit has.
/// Other ignore rules, or another folder of the Dockerfile, need another copy as
/// well.
pub fn link(ctx: &Ctx, request: &Request, copy: Option<u64>, rules: &[u8]) -> anyhow::Result<Temporary> {
    let folder = ctx.root.join(&request.context).canonicalize_utf8();
    let folder = folder.with_context(|| format!("could not find the context {}", request.context))?;
    let name = name(&[
        &checkout::identity(&ctx.root),
        &copy.unwrap_or_else(files::random).to_string(),
        request.context.as_str(),
        request.dockerfile.parent().unwrap_or(Utf8Path::new("")).as_str(),
        &String::from_utf8_lossy(rules),
    ]);
    Temporary::link(&name, &folder)
}

/// `context-WORD`.
fn name(parts: &[&str]) -> String {
    format!("context-{}", identity::checkout(parts))
}
