//! Measures a repository with many files and many services, beside the git
//! commands that look at the same files.

use std::fmt::Write as _;

use camino::Utf8Path;

use crate::cmd::bench::{Bench, Clock, Figure, timed};
use crate::exec::{files, git};
use crate::model::config::FILE;

/// The number of services that share the files.
const SERVICES: u32 = 40;
/// The number of files with uncommitted changes.
const CHANGED: u32 = 1000;

impl Bench<'_> {
    /// Creates a repository and measures all figures in it.
    pub(super) fn scale(&mut self, count: u32, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
        let folder = files::Temporary::new("scale")?;
        let root = folder.path();
        std::fs::create_dir_all(&self.root)?;
        definitions(root)?;
        for number in 0..count {
            write(root, number, "before")?;
        }
        self.commit(root)?;
        let built = self.unchanged_images(root, count, figures);
        let cleaned = self.ours(root).and_then(|ours| self.time(&ours.args(["docker", "clean", "--images"])));
        built.and(cleaned)?;
        self.clock = Clock::Processor;
        self.plans_of_many(root, count, 0, figures)?;
        for number in (0..count).step_by((count / CHANGED).max(1) as usize) {
            write(root, number, "after")?;
        }
        self.plans_of_many(root, count, CHANGED, figures)
    }

    fn unchanged_images(&mut self, root: &Utf8Path, count: u32, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
        let docker = |what: &str| Ok::<_, anyhow::Error>(self.ours(root)?.args(["docker", what]));
        let (all, one) = (docker("all")?, docker(&name(0))?);
        self.time(&all)?;
        let pairs = self.in_turns(&all, std::slice::from_ref(&one), |_| Ok(()))?;
        let what = format!("docker all, {SERVICES} unchanged images of {count} files (raw: docker of one)");
        figures.push(timed(what, pairs));
        let status = git::elsewhere(&self.engine.ctx).look(&["-C", root.as_str(), "status", "--porcelain", "-z"]);
        let pairs = self.in_turns(&one, &[status], |_| Ok(()))?;
        figures.push(timed(format!("docker of one, an unchanged image of {count} files (raw: git status)"), pairs));
        Ok(())
    }

    /// In processor seconds: git runs as a child of ours as it does by itself.
    fn plans_of_many(
        &mut self,
        root: &Utf8Path,
        count: u32,
        changed: u32,
        figures: &mut Vec<Figure>,
    ) -> anyhow::Result<()> {
        let git =
            |args: &[&str]| git::elsewhere(&self.engine.ctx).look(&["-C", root.as_str()]).args(args.iter().copied());
        let (status, diff) = (git(&["status", "--porcelain", "-z"]), git(&["diff", "--name-only", "-z"]));
        let plan = ["ci", "plan", "--base", "HEAD", "--format"];
        let (text, json) = ([&plan[..], &["text"]].concat(), [&plan[..], &["json"]].concat());
        let (first, second) = (name(0), name(1));
        let few = [&json[..], &[first.as_str(), second.as_str()]].concat();
        let both = [status, diff];
        for (what, args, raw) in [
            ("ci plan in text".to_owned(), text, &both[..1]),
            ("ci plan as JSON, 2 services".to_owned(), few, &both[..]),
            (format!("ci plan as JSON, {SERVICES} services"), json, &both[..]),
            ("ci check".to_owned(), vec!["ci", "check"], &both[..1]),
        ] {
            let ours = self.ours(root)?.args(args);
            // Run it once first, so that xtask has recorded the contents of the
            // files.
            self.time(&ours)?;
            let pairs = self.in_turns(&ours, raw, |_| Ok(()))?;
            let raw = if raw.len() == 1 { "git status" } else { "git status, git diff" };
            let figure = format!("{what}, {count} files, {changed} changed, processor time (raw: {raw})");
            figures.push(timed(figure, pairs));
        }
        Ok(())
    }
}

fn name(number: u32) -> String {
    format!("service-{number:02}")
}

/// Creates a stage and a folder for each service.
fn definitions(root: &Utf8Path) -> anyhow::Result<()> {
    let mut toml = "[project]\nname = \"xtask-scale\"\nregistry = \"localhost\"\nowner = \"nobody\"\n".to_owned();
    let mut dockerfile = String::new();
    for name in (0..SERVICES).map(name) {
        write!(toml, "\n[services.{name}]\nimage = \"xtask-scale-{name}\"\ntarget = \"{name}\"\n")?;
        writeln!(toml, "paths = [\"services/{name}/**\", \"Dockerfile\", \".dockerignore\"]")?;
        write!(dockerfile, "FROM scratch AS {name}\nCOPY services/{name}/ /\n")?;
    }
    std::fs::create_dir_all(root)?;
    std::fs::write(root.join(FILE), toml)?;
    std::fs::write(root.join("Dockerfile"), dockerfile)?;
    Ok(std::fs::write(root.join(".dockerignore"), "*.log\n")?)
}

fn write(root: &Utf8Path, number: u32, text: &str) -> anyhow::Result<()> {
    let folder = root.join(format!("services/{}/src/part-{:04}", name(number % SERVICES), number / 1000));
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(format!("file-{number}.txt")), format!("{number} {text}\n"))?)
}
