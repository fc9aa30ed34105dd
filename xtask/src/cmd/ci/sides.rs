//! Where `ci plan` reads workflows and other files that services depend on: in
//! the commits that it compares, or in the working tree.

use crate::cli::ci::PlanArgs;
use crate::cmd::ci::comparison::Comparison;
use crate::ctx::Ctx;
use crate::exec::revision;
use crate::model::definition_changes::Sides;

/// Asks with both sides of the comparison. A file is only read if it is asked
/// for.
pub fn with<T>(ctx: &Ctx, outcome: &Comparison, args: &PlanArgs, ask: impl FnOnce(Sides<'_>) -> T) -> T {
    let fetch = args.fetch || ctx.env.get("CI").is_some();
    let new = |path: &str| match &outcome.head {
        Some(head) => revision::at(ctx, head, path, fetch),
        None => revision::here(ctx, path),
    };
    let Some(base) = &outcome.base else { return ask(Sides { old: None, new: &new }) };
    let old = |path: &str| match outcome.three_dots {
        true => {
            let base = revision::merge_base(ctx, base, outcome.head.as_deref().unwrap_or("HEAD"))?;
            revision::at(ctx, &base, path, fetch)
        }
        false => revision::at(ctx, base, path, fetch),
    };
    ask(Sides { old: Some(&old), new: &new })
}
