//! The engine's own BuildKit as a builder that pushes by digest.
//!
//! buildx refuses that of its `docker` driver, whose exporter gives every image
//! a tag. The BuildKit behind it can: spoken to as a remote one it has the same
//! cache and the same images. So there is a socket for the time of one build;
//! each connection to it is a `docker buildx dial-stdio`, which reaches the
//! engine whatever way the client reaches it. Who can connect is root on the
//! engine: the socket lies in a folder that is ours alone.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;

use crate::exec::engine::Engine;
use crate::exec::files::Temporary;
use crate::exec::spawn::{self, Call, Process};
use crate::fault;
use crate::plan::step::Step;

/// What it is called in a configuration that has no other.
const NAME: &str = "engine";

/// A builder for the time of a build.
#[derive(Debug)]
pub struct LentBuilder {
    place: Temporary,
    ends: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl LentBuilder {
    /// A builder that pushes by digest in the place of one that does not: of the
    /// current one, or the one of that name. None: that one does it itself.
    pub fn instead_of(engine: &Engine, builder: Option<&str>) -> anyhow::Result<Option<Self>> {
        let inspect = Step::new("docker").args(["buildx", "inspect"]).args(builder);
        let driver = engine.read(&inspect)?;
        let driver = driver.lines().find_map(|line| line.strip_prefix("Driver:")).unwrap_or_default().trim();
        if driver != "docker" {
            return Ok(None);
        }
        if !engine.info()?.is_containerd_store() {
            return Err(fault::usage("this engine's image store can't push an image by its digest")
                .help("a builder of its own: `docker buildx create --use`; or an engine with the containerd image store (docs/troubleshooting.md)")
                .into());
        }
        let place = Temporary::new("buildkit.sock")?;
        let listener =
            UnixListener::bind(place.path()).with_context(|| format!("could not listen at {}", place.path()))?;
        let ends = Arc::new(AtomicBool::new(false));
        let dial = Step::new("docker").args(["buildx", "dial-stdio"]).each("--builder", builder);
        let (ctx, until) = (engine.ctx.clone(), Arc::clone(&ends));
        let server = thread::spawn(move || {
            let mut dialled: Vec<Process> = Vec::new();
            for stream in listener.incoming() {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                // Who is not served sees the end of the stream.
                dialled.extend(stream.and_then(|stream| spawn::bridged(&Call::of(&ctx, &dial).apart(true), stream)));
            }
            dialled.iter().for_each(Process::end);
        });
        let lent = Self { place, ends, server: Some(server) };
        let create = Step::new("docker").args(["buildx", "create", "--name", NAME, "--driver", "remote"]);
        engine.read(&lent.lend(create.arg(format!("unix://{}", lent.place.path()))))?;
        Ok(Some(lent))
    }

    /// The step with this builder.
    pub fn lend(&self, step: Step) -> Step {
        Step { own_args: Some(without_builder(step.argv())), own_env: self.environment().into(), ..step }
    }

    /// What tells buildx about it.
    pub fn environment(&self) -> [(String, String); 2] {
        let config = self.place.path().with_file_name("buildx");
        [("BUILDX_CONFIG".into(), config.into_string()), ("BUILDX_BUILDER".into(), NAME.into())]
    }
}

impl Drop for LentBuilder {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It waits for somebody.
        let _ = UnixStream::connect(self.place.path());
        let _ = self.server.take().map(JoinHandle::join);
    }
}

/// The same words, with nobody else's builder among them.
fn without_builder(args: &[String]) -> Vec<String> {
    let mut words = args.iter();
    let mut left = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--builder" => _ = words.next(),
            _ => left.push(word.clone()),
        }
    }
    left
}

/// The builder that a command names.
pub fn builder_of(args: &[String]) -> Option<&str> {
    args.iter().skip_while(|word| *word != "--builder").nth(1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lent_builder_takes_the_place_of_the_one_that_is_named() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        for (args, left, builder) in [
            ("buildx build --builder mine .", "buildx build .", Some("mine")),
            ("buildx build .", "buildx build .", None),
        ] {
            assert_eq!(without_builder(&words(args)), words(left));
            assert_eq!(builder_of(&words(args)), builder);
        }
    }
}
