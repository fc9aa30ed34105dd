//! A small project of its own for each test, on the real engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A copy of the demo project that cleans up after itself.
pub struct Demo {
    /// Where it lies.
    pub dir: PathBuf,
    /// The project's name.
    pub name: String,
}

impl Demo {
    /// A project of this name.
    pub fn new(name: &str) -> Self {
        let name = format!("demo-{name}-{}", std::process::id());
        Self::of(name.clone(), &name)
    }

    /// Another checkout of the same project.
    pub fn again(&self) -> Self {
        let again = Self::of(self.name.clone(), &format!("{}-again", self.name));
        std::fs::copy(self.dir.join("services.toml"), again.dir.join("services.toml")).unwrap();
        again
    }

    /// Leaves the project one service, run in one role, and what is added.
    pub fn simple(self, more: &str) -> Self {
        let name = &self.name;
        let services = format!(
            "[project]\nname = \"{name}\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
            [services.app]\nimage = \"{name}-app\"\ntarget = \"app\"\npaths = [\"**\"]\n\
            [services.app.run]\nport = 8000\nhealth = \"/health\"\nroles = [\"good\"]\n{more}"
        );
        std::fs::write(self.dir.join("services.toml"), services).unwrap();
        self
    }

    fn of(name: String, folder: &str) -> Self {
        let dir = std::env::temp_dir().join("xtask tëst").join(folder);
        std::fs::create_dir_all(&dir).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/demo");
        for file in ["Dockerfile", "services.toml", "server.py", "registry.yml"] {
            let text = std::fs::read_to_string(fixture.join(file)).unwrap();
            let text = text.replace("\"demo-", &format!("\"{name}-")).replace("\"demo\"", &format!("\"{name}\""));
            std::fs::write(dir.join(file), text).unwrap();
        }
        Self { dir, name }
    }

    /// `cargo xtask ARGS` in it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = super::xtask(args);
        command.current_dir(&self.dir);
        command
    }

    /// The same, to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What the engine holds of this project.
    pub fn left(&self) -> Vec<String> {
        super::left(&self.name)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.command(&["docker", "down"]).output();
        let services: &[&str] = &["docker", "clean", "--all", "app", "rooted", "alias", "zeros", "registry"];
        for args in [services, &["docker", "clean", "--all", "app"]] {
            let _ = self.command(args).output();
        }
        super::forget_images(&self.name);
        let _ = std::fs::remove_dir_all(&self.dir);
        // The folder of all tests goes with the last of them.
        let _ = self.dir.parent().map(std::fs::remove_dir);
    }
}
