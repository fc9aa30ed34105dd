//! `docker verify`: whether a published image is signed by whom it should be.

use crate::cli::signature::VerifyArgs;
use crate::cmd;
use crate::cmd::objects::signature::VerifiedObject;
use crate::cmd::tool;
use crate::ctx::Ctx;
use crate::engine::search;
use crate::exec::engine::Engine;
use crate::exec::registry;
use crate::fault;
use crate::model::config::Project;
use crate::model::reference::{Image, reference};
use crate::model::registry_failure::RegistryFailure;
use crate::model::signature::{self, Signed};
use crate::model::tool::COSIGN;
use crate::plan::publish;
use crate::plan::signature::{Signer, verify};
use crate::plan::step::{Action, DIGEST, Plan, Step};

/// Runs the verb.
pub fn run(ctx: &Ctx, project: &Project, args: &VerifyArgs) -> anyhow::Result<()> {
    let image = image(ctx, project, args)?;
    let signer = signer(ctx, args)?;
    if ctx.dry_run {
        let engine = cmd::asked(ctx)?;
        let (make, cosign) = tool::plan_ensure(ctx, engine.as_ref(), project, &COSIGN)?;
        let mut plan = Plan::default();
        let by_digest = match image.digest() {
            Some(digest) => format!("{}@{digest}", image.repository()),
            None => {
                plan.steps.push(Action::Learn(publish::digest_of(image.as_str())));
                format!("{}@{DIGEST}", image.repository())
            }
        };
        plan.steps.push(verify(cosign.as_str(), &signer, &by_digest).into());
        return cmd::print(ctx, engine.as_ref(), &[make, plan]);
    }
    let engine = search::connect(ctx)?;
    let cosign = tool::ensure(&engine, project, &COSIGN)?;
    let digest = digest(&engine, &image)?;
    let by_digest = format!("{}@{digest}", image.repository());
    let signed = look(&engine, &verify(cosign.as_str(), &signer, &by_digest), &by_digest, &digest)?;
    let (signatures, why) = match signed {
        Signed::Verified(signatures) => (signatures, None),
        Signed::Not(why) => (0, Some(why)),
    };
    let verified = why.is_none();
    let object = VerifiedObject {
        image: image.to_string(),
        digest,
        verified,
        signatures,
        key: None,
        identity: None,
        issuer: None,
        why: why.clone(),
    }
    .by(&signer);
    let delivered = engine.ctx.result(&object, || object.line());
    match why {
        None => delivered,
        Some(why) => Err(fault::failed(format!("{image} is not verified: {why}"))
            .help("is it the right key or identity, and was this very image signed?")
            .into()),
    }
}

/// What cosign finds, judged by us. An error is where it could not look.
fn look(engine: &Engine, step: &Step, image: &str, digest: &str) -> anyhow::Result<Signed> {
    engine.ctx.show(step);
    match registry::patiently(engine, || engine.read(step)) {
        Ok(answer) => Ok(signature::judge(&answer, digest)),
        Err(error) => match registry::failure(&error) {
            RegistryFailure::Other | RegistryFailure::Missing if !fault::said(&error).is_empty() => {
                Ok(signature::refused(fault::said(&error)))
            }
            _ => Err(registry::explained(image, error)),
        },
    }
}

/// The image that is meant: a service's published one, or any.
fn image(ctx: &Ctx, project: &Project, args: &VerifyArgs) -> anyhow::Result<Image> {
    let Some(service) = project.services.get(args.image.as_str()) else {
        let image: Image = args.image.parse().map_err(fault::usage)?;
        if !args.image.contains(['/', ':', '@']) {
            // What looks like a service is a service that is misspelled.
            project.service(&args.image)?;
        }
        return Ok(image);
    };
    let registry = match &args.registry {
        Some(registry) => registry.clone(),
        None => project.published(ctx.env.get("GITHUB_REPOSITORY_OWNER"))?,
    };
    Ok(reference(Some(&registry), &service.image, &args.tag).as_str().parse().map_err(fault::usage)?)
}

fn signer(ctx: &Ctx, args: &VerifyArgs) -> anyhow::Result<Signer> {
    if let Some(key) = &args.key {
        if !ctx.root.join(key).is_file() {
            return Err(fault::usage(format!("--key {key}: there is no such file"))
                .help("the public half of the key, as `cosign generate-key-pair` writes it: cosign.pub")
                .into());
        }
        return Ok(Signer::Key(key.clone()));
    }
    let identity = args.identity.clone().unwrap_or_default();
    Ok(Signer::Identity { identity, issuer: args.issuer.clone() })
}

/// The digest that is meant, or that the registry has under the tag.
fn digest(engine: &Engine, image: &Image) -> anyhow::Result<String> {
    if let Some(digest) = image.digest() {
        return Ok(digest.to_owned());
    }
    registry::digest(engine, image.as_str())?.ok_or_else(|| {
        let host = image.as_str().split_once('/').map_or("docker.io", |(host, _)| host);
        fault::failed(format!("{image}: the registry has nothing of that name"))
            .help(RegistryFailure::Missing.help(host))
            .into()
    })
}
