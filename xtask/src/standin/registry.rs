//! Whether a container registry answers from here.

use std::time::{Duration, Instant};

use crate::ctx::Ctx;
use crate::exec::interrupt;
use crate::model::reference::Image;

/// How long a registry may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Whether the registries of these references answer at all; else what came
/// instead. One reference a registry is asked for.
pub fn probe_registry(ctx: &Ctx, references: &[String]) -> Result<(), String> {
    let mut hosts: Vec<&str> = Vec::new();
    for reference in references.iter().filter(|it| *it != "scratch" && it.parse::<Image>().is_ok()) {
        let host = reference.split_once('/').map(|(host, _)| host);
        let host = host.filter(|host| host.contains(['.', ':']) || *host == "localhost").unwrap_or("docker.io");
        if hosts.contains(&host) {
            continue;
        }
        hosts.push(host);
        inspect(ctx, reference).map_err(|why| format!("{host}: {why}"))?;
    }
    Ok(())
}

fn inspect(ctx: &Ctx, reference: &str) -> Result<(), String> {
    let mut command = duct::cmd("docker", ["buildx", "imagetools", "inspect", "--raw", reference])
        .stdin_null()
        .stdout_null()
        .stderr_capture()
        .unchecked();
    for (name, value) in &ctx.exports {
        command = command.env(name, value);
    }
    let child = command.start().map_err(|error| error.to_string())?;
    let since = Instant::now();
    let output = loop {
        match child.wait_timeout(Duration::from_millis(50)).map_err(|error| error.to_string())? {
            Some(output) => break output,
            None if since.elapsed() > PATIENCE || interrupt::raised() => {
                let _ = child.kill();
                return Err(format!("no answer within {} s", PATIENCE.as_secs()));
            }
            None => {}
        }
    };
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() || answered(&said) {
        return Ok(());
    }
    let last = said.lines().last().unwrap_or_default();
    Err(last.trim_start_matches("ERROR: ").chars().take(200).collect())
}

/// A registry that refuses one image is there all the same.
fn answered(said: &str) -> bool {
    let lower = said.to_lowercase();
    let words =
        ["manifest unknown", ": not found", "unauthorized", "insufficient_scope", "toomanyrequests", "429 too many"];
    words.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_answer_and_silence_is_none() {
        assert!(answered("ERROR: docker.io/library/x:y: not found"));
        assert!(answered("pull access denied, insufficient_scope: authorization failed"));
        assert!(!answered("dial tcp: lookup registry.example: no such host"));
        assert!(!answered("failed to do request: Head \"https://r.example/v2/\": EOF"));
    }
}
