//! The workflows in a checkout: which there are, which are out of date, and
//! what is wrong with them.

use camino::Utf8PathBuf;

use crate::ctx::Ctx;
use crate::exec::input;
use crate::fault;
use crate::model::config::Project;
use crate::model::finding::Finding;
use crate::model::workflow::{Rules, findings};
use crate::plan::workflow::{FOLDER, HEADER, callers};

/// All that is wrong with them, in one run.
pub fn check(ctx: &Ctx, project: &Project, tracked: &[String]) -> anyhow::Result<Vec<Finding>> {
    let commands = project.ci.as_ref().and_then(|ci| ci.commands.as_deref());
    let mut found = Vec::new();
    for (file, text) in callers(project) {
        let there = read(ctx, &file)?.unwrap_or_default();
        if there != text {
            let message = "not what services.toml describes".into();
            let help = "`cargo xtask ci sync` writes it".into();
            found.push(Finding { file, line: differs_at(&there, &text), message, help });
        }
    }
    for file in orphans(ctx, project)? {
        let message = "generated, and no service has this workflow any more".into();
        found.push(Finding { file, line: 1, message, help: "`cargo xtask ci sync` removes it".into() });
    }
    for file in files(ctx)? {
        found.extend(match read(ctx, &file)? {
            Some(text) => findings(&file, &text, Rules { tracked, commands }),
            None => {
                vec![Finding { file, line: 1, message: "not UTF-8".into(), help: "GitHub reads UTF-8 alone".into() }]
            }
        });
    }
    found.sort();
    Ok(found)
}

/// The first line in which two texts are not equal.
fn differs_at(there: &str, text: &str) -> usize {
    1 + there.lines().zip(text.lines()).take_while(|(there, text)| there == text).count()
}

/// The generated files that are not there, or not as they should be.
pub fn stale(ctx: &Ctx, project: &Project) -> anyhow::Result<Vec<String>> {
    let mut stale = Vec::new();
    for (file, text) in callers(project) {
        if read(ctx, &file)?.is_none_or(|there| there != text) {
            stale.push(file);
        }
    }
    Ok(stale)
}

/// The generated files that no service has any more.
pub fn orphans(ctx: &Ctx, project: &Project) -> anyhow::Result<Vec<String>> {
    let wanted: Vec<String> = callers(project).into_iter().map(|(file, _)| file).collect();
    let mut orphans = Vec::new();
    if project.ci.is_some() {
        for file in files(ctx)?.into_iter().filter(|file| !wanted.contains(file)) {
            if read(ctx, &file)?.is_some_and(|text| text.starts_with(HEADER)) {
                orphans.push(file);
            }
        }
    }
    Ok(orphans)
}

/// A file's text; none where it is not there or not UTF-8.
fn read(ctx: &Ctx, file: &str) -> anyhow::Result<Option<String>> {
    match input::read(&ctx.root.join(file), 4 << 20) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault::failed(format!("{file}: {error}")).into()),
    }
}

/// Workflows, and the actions of the repository's own.
pub fn files(ctx: &Ctx) -> anyhow::Result<Vec<String>> {
    let is_yaml = |file: &Utf8PathBuf| matches!(file.extension(), Some("yml" | "yaml"));
    let mut files: Vec<Utf8PathBuf> = entries(ctx, FOLDER)?.into_iter().filter(is_yaml).collect();
    for folder in entries(ctx, ".github/actions")? {
        let own = |file: &Utf8PathBuf| file.file_stem() == Some("action") && is_yaml(file);
        files.extend(entries(ctx, folder.as_str())?.into_iter().filter(own));
    }
    files.sort();
    Ok(files.into_iter().map(Utf8PathBuf::into_string).collect())
}

/// What lies in a folder, from the root; nothing where there is none.
fn entries(ctx: &Ctx, folder: &str) -> anyhow::Result<Vec<Utf8PathBuf>> {
    let Ok(entries) = ctx.root.join(folder).read_dir_utf8() else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(Utf8PathBuf::from(folder).join(entry?.file_name()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_told_by_its_first_changed_line() {
        for (there, line) in [("", 1), ("a\nx\n", 2), ("a\n", 2), ("a\nb\nc\n", 3)] {
            assert_eq!(differs_at(there, "a\nb\n"), line, "{there:?}");
        }
    }
}
