//! Measures `ci plan` beside the `git diff` that it needs.

use crate::cmd::bench::{Bench, timed};
use crate::cmd::objects::Figure;
use crate::exec::{files, git};
use crate::model::config::FILE;

/// The number of changed files.
const FILES: usize = 1000;

impl Bench<'_> {
    /// Compares two commits that differ in many files. No service uses any of
    /// the files, so every pattern must be checked.
    pub(super) fn plans(&mut self, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
        let folder = files::Temporary::new("history")?;
        let root = folder.path();
        for text in ["before", "after"] {
            for number in 0..FILES {
                let file = root.join(format!("library/part-{}/src/file-{number}.txt", number % 20));
                std::fs::create_dir_all(file.parent().unwrap_or(root))?;
                std::fs::write(file, format!("{number} {text}\n"))?;
            }
            std::fs::copy(self.engine.ctx.root.join(FILE), root.join(FILE))?;
            self.commit(root)?;
        }
        let ours = self.ours(root)?.args(["ci", "plan", "--base", "HEAD~1", "--head", "HEAD"]);
        let raw = git::elsewhere(&self.engine.ctx).look(&["-C", root.as_str()]).args([
            "diff",
            "--name-only",
            "--no-renames",
            "-z",
            "HEAD~1...HEAD",
        ]);
        self.engine.bytes(&raw)?;
        let pairs = self.in_turns(&ours, &[raw], |_| Ok(()))?;
        figures.push(timed(format!("ci plan: {FILES} changed files (raw: git diff)"), pairs));
        Ok(())
    }
}
