//! The workflows in a checkout: which exist, which are out of date, and what is
//! wrong with them.

use camino::Utf8PathBuf;

use crate::ctx::Ctx;
use crate::exec::revision;
use crate::model::config::{FILE, Project, Service};
use crate::model::diagnostic::Diagnostic;
use crate::model::workflow::{Rules, findings};
use crate::plan::workflow::{FOLDER, HEADER, callers};

/// All errors in them, in one run.
pub fn check(ctx: &Ctx, project: &Project, tracked: &[String]) -> anyhow::Result<Vec<Diagnostic>> {
    let commands = project.ci.as_ref().and_then(|ci| ci.commands.as_deref());
    let mut found = Vec::new();
    for (service, file, text) in callers(project) {
        let (line, message) = match find(ctx, &file) {
            WorkflowFile::Ours(there) if there == text => continue,
            WorkflowFile::Ours(there) => (differs_at(&there, &text), "differs from services.toml"),
            WorkflowFile::Nothing => (1, "missing, although services.toml describes it"),
            WorkflowFile::Theirs(why) => {
                found.push(taken(service, &file, &why));
                continue;
            }
        };
        found.push(Diagnostic::new(message).of(file).line(line).help("`cargo xtask ci sync` writes it"));
    }
    for file in orphans(ctx, project)? {
        let wrong = Diagnostic::new("generated, but no service uses this workflow any more");
        found.push(wrong.of(file).line(1).help("`cargo xtask ci sync` removes it"));
    }
    let read = |file: &str| revision::here(ctx, file);
    for file in files(ctx)? {
        found.extend(match read(&file) {
            Ok(Some(text)) => findings(&file, &text, Rules { tracked, commands, read: Some(&read) }),
            // The file has disappeared meanwhile.
            Ok(None) => Vec::new(),
            Err(why) => {
                let wrong = Diagnostic::new(format!("it can't be read: {why}")).of(file).line(1);
                vec![wrong.help("GitHub reads only UTF-8 files, and no links")]
            }
        });
    }
    found.sort();
    Ok(found)
}

/// The file at the path of a service's workflow.
pub enum WorkflowFile {
    /// There is none.
    Nothing,
    /// A generated file, up to date or not.
    Ours(String),
    /// A file that we have not generated, and how that shows. It is never
    /// overwritten.
    Theirs(String),
}

/// Looks at it.
pub fn find(ctx: &Ctx, file: &str) -> WorkflowFile {
    match revision::here(ctx, file) {
        Ok(None) => WorkflowFile::Nothing,
        Ok(Some(text)) if text.starts_with(HEADER) => WorkflowFile::Ours(text),
        Ok(Some(_)) => WorkflowFile::Theirs("`cargo xtask ci sync` did not write it".into()),
        Err(why) => WorkflowFile::Theirs(why.into()),
    }
}

/// A workflow that can't be generated, because another file is at its path.
pub fn taken(service: &Service, file: &str, why: &str) -> Diagnostic {
    Diagnostic::new(format!("`services.{}.workflow`: {file} already exists, and {why}", service.name))
        .of(FILE)
        .line(service.lines.workflow.unwrap_or(service.lines.table))
        .help(
            "name another one, `workflow = \"NAME\"`; or move that file away, so that the generated one can replace it",
        )
}

/// The first line in which two texts differ.
fn differs_at(there: &str, text: &str) -> usize {
    1 + there.lines().zip(text.lines()).take_while(|(there, text)| there == text).count()
}

/// The generated files without a service.
pub fn orphans(ctx: &Ctx, project: &Project) -> anyhow::Result<Vec<String>> {
    let wanted: Vec<String> = callers(project).into_iter().map(|(_, file, _)| file).collect();
    let mut orphans = Vec::new();
    if project.ci.is_some() {
        for file in files(ctx)?.into_iter().filter(|file| !wanted.contains(file)) {
            if matches!(find(ctx, &file), WorkflowFile::Ours(_)) {
                orphans.push(file);
            }
        }
    }
    Ok(orphans)
}

/// The workflows, and the repository's own actions.
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

/// The entries of a folder, from the root; none if it does not exist.
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
