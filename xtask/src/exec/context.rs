//! By what name a build of ours goes to its context.
//!
//! BuildKit keeps a copy of every context that it was sent, and asks again only
//! for what has another size or time. It finds the copy by the last part of the
//! context's path: two folders called `repo` share one. So a build goes to its
//! context through a link of its own, whose name is nobody else's.

use anyhow::Context as _;
use camino::Utf8Path;

use crate::ctx::Ctx;
use crate::exec::checkout;
use crate::exec::files::{self, Temporary};
use crate::model::identity;
use crate::plan::build::Request;

/// A link to the context of a request, for one run. `copy` is the word of the
/// copies that BuildKit has of these files; none: nobody knows what it has.
/// Where other rules or another Dockerfile's folder are sent along, it is
/// another copy as well.
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
