//! What of a build leaves this machine, and whether it may.
//!
//! A stand-in is made of this machine's packages, of the release that there is
//! and not of the one that was asked for. What is built on one is for working
//! here: to others it would be what it is not.

use crate::fault::{self, Fault};
use crate::model::reference::is_loopback;
use crate::plan::build::{Cache, Output, Request};

/// Whether anything of a build leaves this machine.
pub fn leaves_machine(request: &Request) -> bool {
    !ways(request).is_empty()
}

/// Refuses what would carry stand-ins away; `under` are the references that
/// they were taken for.
pub fn check(request: &Request, service: &str, under: &[String]) -> Result<(), Fault> {
    let ways = ways(request);
    let (Some(first), false) = (ways.first(), under.is_empty()) else { return Ok(()) };
    Err(fault::usage(format!(
        "`{service}` stands on stand-ins that were made on this machine ({}) and must not leave it: {}",
        under.join(", "),
        ways.iter().map(|way| way.what.as_str()).collect::<Vec<_>>().join(", "),
    ))
    .help(format!("on a machine that reaches the registries: `--bases upstream`; to try it here: {}", first.instead)))
}

/// A way out.
struct Way {
    what: String,
    instead: &'static str,
}

/// The ways on which a build leaves this machine. A registry on loopback is
/// none, and neither is what the engine or a folder keeps.
fn ways(request: &Request) -> Vec<Way> {
    let mut ways = Vec::new();
    match &request.output {
        Output::Load | Output::Folder(_) => {}
        Output::Push => {
            let away = request.tags.iter().map(|tag| tag.as_str()).filter(|tag| !is_loopback(tag));
            let instead = "a registry on loopback, `--registry 127.0.0.1:5000`";
            ways.extend(away.map(|tag| Way { what: format!("`--push` to {tag}"), instead }));
        }
        Output::Oci(file) => {
            ways.push(Way { what: format!("`--output oci={file}`"), instead: "without `--output`, into the engine" });
        }
    }
    match &request.cache {
        Cache::None | Cache::Local(..) => {}
        Cache::Registry(image) if is_loopback(image) => {}
        Cache::Registry(image) => {
            ways.push(Way { what: format!("`--cache registry` to {image}"), instead: "`--cache local`" });
        }
        Cache::Gha(_) => ways.push(Way { what: "`--cache gha`".into(), instead: "`--cache local`" }),
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(output: Output, tags: &[&str], cache: Cache) -> Request {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        Request { tags, output, cache, ..Request::new("Dockerfile", ".") }
    }

    #[test]
    fn stand_ins_stay_on_this_machine() {
        let registry = |image: &str| Cache::Registry(image.into());
        let oci = || Output::Oci("out.tar".into());
        for (output, tags, cache, expected) in [
            (Output::Load, vec!["ghcr.io/o/n:1"], Cache::None, ""),
            (Output::Load, vec!["n:1"], Cache::Local("/c".into(), String::new()), ""),
            (Output::Push, vec!["127.0.0.1:5000/n:1", "localhost:5000/n:2"], Cache::None, ""),
            (Output::Push, vec!["127.0.0.1:5000/n:1"], registry("127.0.0.1:5000/n:c"), ""),
            (Output::Push, vec!["ghcr.io/o/n:1"], Cache::None, "`--push` to ghcr.io/o/n:1"),
            (Output::Push, vec!["n:1"], Cache::None, "`--push` to n:1"),
            (
                Output::Push,
                vec!["127.0.0.1:5000/n:1", "127.evil.example/n:1"],
                Cache::None,
                "`--push` to 127.evil.example/n:1",
            ),
            (oci(), vec!["n:1"], Cache::None, "`--output oci=out.tar`"),
            (oci(), vec!["127.0.0.1:5000/n:1"], Cache::None, "`--output oci=out.tar`"),
            (Output::Load, vec!["n:1"], registry("ghcr.io/o/n:c"), "`--cache registry` to ghcr.io/o/n:c"),
            (Output::Load, vec!["n:1"], Cache::Gha("n".into()), "`--cache gha`"),
            (Output::Push, vec!["r.io/n:1"], Cache::Gha("n".into()), "`--push` to r.io/n:1, `--cache gha`"),
        ] {
            let request = request(output, &tags, cache);
            assert!(check(&request, "web", &[]).is_ok(), "upstream's bases go anywhere");
            let said = check(&request, "web", &["node:24".into()]).map_err(|fault| fault.to_string());
            match expected {
                "" => assert!(said.is_ok(), "{said:?}"),
                _ => assert_eq!(said.unwrap_err().rsplit_once("leave it: ").unwrap().1, expected),
            }
        }
    }
}
