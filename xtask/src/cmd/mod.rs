//! One file a verb: the only layer that sees both the plan and the edge.

pub mod bench;
pub mod build;
pub mod clean;
pub mod engine;
pub mod lint;
pub mod prove;
pub mod setup;
pub mod test;
pub mod up;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::ctx::Ctx;
use crate::exec::engine::Engine;
use crate::fault;
use crate::model::config::{self, Project, Service};
use crate::model::dockerfile;
use crate::plan::step::Plan;

/// `--dry-run`: the plan on stdout, and nothing else happens.
fn print(ctx: &Ctx, plan: &Plan) -> anyhow::Result<()> {
    let lines: Vec<String> = plan.steps.iter().chain(&plan.finally).map(ToString::to_string).collect();
    ctx.result(&serde_json::json!({ "plan": lines }), || lines.join("\n"))
}

/// The images that a service's stage is built on.
fn base_images(ctx: &Ctx, service: &Service, target: Option<&str>, args: &[String]) -> anyhow::Result<Vec<String>> {
    let path = ctx.root.join(&service.dockerfile);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        fault::usage(format!("{}: {error}", service.dockerfile)).help(format!(
            "`services.{}.dockerfile` in {} names it",
            service.name,
            config::FILE
        ))
    })?;
    let args: BTreeMap<String, String> =
        args.iter().filter_map(|arg| arg.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
    let images = dockerfile::base_images(&text, target, &args)
        .map_err(|error| fault::usage(format!("{}:{error}", service.dockerfile)))?;
    Ok(images)
}

/// Every image that this project's commands take from elsewhere.
pub fn all_images(ctx: &Ctx, project: &Project) -> anyhow::Result<Vec<String>> {
    let mut images: Vec<String> = project.needs.values().map(|need| need.image.clone()).collect();
    for service in project.services.values() {
        images.extend(base_images(ctx, service, service.target.as_deref(), &[])?);
        if let Some(test) = &service.test {
            images.extend(base_images(ctx, service, Some(&test.target), &[])?);
        }
    }
    images.sort();
    images.dedup();
    Ok(images)
}

/// The CA bundle of this machine, where somebody set one: behind a proxy with
/// its own CA (many companies) no build stage reaches a package registry
/// without it. It goes in as a secret, so that no layer ever holds it.
fn ca_bundle(ctx: &Ctx) -> Option<Utf8PathBuf> {
    ctx.env.get("SSL_CERT_FILE").map(Utf8PathBuf::from).filter(|file| file.is_file())
}

/// The engine, after `--setup` where it was asked for.
fn engine(ctx: &Ctx, project: &Project, with_setup: bool) -> anyhow::Result<Engine> {
    if with_setup {
        setup::ensure(ctx, &all_images(ctx, project)?)?;
    }
    Engine::connect(ctx)
}
