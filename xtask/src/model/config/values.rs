//! The rules for each kind of text in services.toml. A wrong text is refused
//! here, not minutes later by a tool, and not silently.

use camino::Utf8Path;

use super::{PROMISED, RESERVED};
use crate::model::diagnostic::Diagnostic;
use crate::model::reference::{Name, is_host};
use crate::model::text;

/// The result of a rule: the error says why a text is wrong.
pub type Ruling = Result<(), Diagnostic>;

/// Whether a character is invisible or ends a line.
pub fn is_hidden(c: char) -> bool {
    text::is_obeyed(c) || ['\n', '\t'].contains(&c)
}

/// For any text: no invisible characters.
pub fn visible(text: &str) -> Ruling {
    match text.chars().find(|c| is_hidden(*c)) {
        None => Ok(()),
        Some('\n' | '\r') => Err("it contains a line break; write one line".into()),
        Some('\t') => Err("it contains a tab; write a blank".into()),
        Some(c) => Err(format!("it contains an invisible character (U+{:04X}); leave it out", u32::from(c)).into()),
    }
}

/// For text that is written into a workflow, where GitHub would evaluate an
/// expression.
pub fn no_expression(text: &str) -> Ruling {
    if text.contains("${{") {
        return Err("`${{` would be an expression of the workflow that it is written into; leave it out".into());
    }
    Ok(())
}

/// For titles.
pub fn title(text: &str) -> Ruling {
    no_expression(text)?;
    if text.contains("{{") {
        return Err("`{{` would be an expression of docker/metadata-action; leave it out".into());
    }
    if text.trim().is_empty() || text.trim() != text {
        return Err("expected a title, without blanks at its ends".into());
    }
    Ok(())
}

/// A name that becomes a host name, a label or a part of one: of a service, a
/// need or a project.
pub fn host(text: &str) -> Ruling {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_right = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(is_word)
        && !text.ends_with('-')
        && text.len() <= 63;
    if text == "localhost" {
        return Err("in each container `localhost` is that container itself; choose another name".into());
    }
    if is_right {
        return Ok(());
    }
    Err("expected lower-case letters, digits and `-`, at most 63, starting with a letter and not ending in `-`".into())
}

/// Names that no service and no need may have, because both follow
/// `cargo xtask docker` or one of its verbs.
pub fn no_verb(name: &str) -> Ruling {
    match () {
        () if RESERVED.contains(&name) => {
            Err(format!("`docker {name}` is a command already; choose another name").into())
        }
        () if PROMISED.contains(&name) => {
            Err(format!("`docker {name}` is reserved for a future command; choose another name").into())
        }
        () => Ok(()),
    }
}

/// One part of an image name: the project name, which labels and containers begin
/// with.
pub fn component(text: &str) -> Ruling {
    text.parse::<Name>()?;
    if text.contains('/') || text.len() > 63 {
        return Err(format!(
            "`{text}` is not one word: it begins labels and names of containers; leave out `/`, at most 63 characters"
        )
        .into());
    }
    Ok(())
}

/// The part between a registry's host and an image's name.
pub fn registry_path(text: &str) -> Ruling {
    text.parse::<Name>().map(|_| ())
}

/// The name of one of our images, without registry and tag.
pub fn image_name(text: &str) -> Ruling {
    text.parse::<Name>()?;
    if let Some((_, rest)) = text.split_once('/').filter(|(first, _)| is_host(first)) {
        return Err(format!(
            "`{text}` names a registry; that is `--registry`, or `project.registry`: leave it out, as in `{rest}`"
        )
        .into());
    }
    if text == "scratch" || text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!("`{text}` means something else to docker; choose another name").into());
    }
    Ok(())
}

/// A stage that lints; its image is named after it.
pub fn lint_stage(text: &str) -> Ruling {
    stage(text)?;
    component(text)
}

/// A file below the root.
pub fn file(text: &str) -> Ruling {
    if matches!(text.rsplit('/').next(), Some("" | ".")) && !text.is_empty() {
        return Err(format!("`{text}` is a folder; expected a file below the root").into());
    }
    path(text)
}

/// A role: part of a container's name, and an argument that is not an option.
pub fn word(text: &str) -> Ruling {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_word) && text.len() <= 63 {
        return Ok(());
    }
    Err(format!(
        "`{text}` is not a name: letters, digits, `_`, `.` and `-`, at most 63, starting with a letter or a digit"
    )
    .into())
}

/// A stage of a Dockerfile, by name or by number.
pub fn stage(text: &str) -> Ruling {
    let is_number = !text.is_empty() && text.len() <= 4 && text.chars().all(|c| c.is_ascii_digit());
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if is_number || text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_word) {
        return Ok(());
    }
    Err(format!("`{text}` is not a stage: letters, digits, `_`, `.` and `-`, starting with a letter").into())
}

/// A file or a folder below the root. A value that buildx would not take for a
/// path is refused, whether such a path exists or not.
pub fn path(text: &str) -> Ruling {
    let clean = docker_context::clean(text);
    let path = Utf8Path::new(text);
    if text.is_empty() || path.is_absolute() || path.components().any(|part| part.as_str() == "..") {
        return Err("expected a path below the root, without `..`".into());
    }
    if text.trim() != text {
        return Err("expected a path below the root, without blanks at its ends".into());
    }
    if clean.starts_with('-') {
        return Err(format!("docker takes `{text}` for an option or for standard input; expected a path").into());
    }
    let first = clean.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("github.com") || first.contains(':') {
        return Err(format!("docker takes `{text}` for an address; expected a path below the root").into());
    }
    Ok(())
}

/// A branch, by git's rules for names.
pub fn branch(text: &str) -> Ruling {
    no_expression(text)?;
    let is_wrong = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_right = !text.contains(is_wrong)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.starts_with('-')
        && !text.ends_with('.')
        && text.split('/').all(part)
        && !["@", "HEAD"].contains(&text);
    if text.starts_with("refs/") {
        return Err(format!("`{text}` is not a branch: leave `refs/heads/` out").into());
    }
    if is_right {
        Ok(())
    } else {
        Err(format!("`{text}` is not a branch: a name such as `main`, as git has it").into())
    }
}

/// A branch or a pattern of branches, as GitHub's `on.push.branches` takes it.
pub fn branches(text: &str) -> Ruling {
    let pattern = text.strip_prefix('!').unwrap_or(text);
    if pattern.is_empty() || pattern.contains(char::is_whitespace) || pattern.starts_with('-') {
        return Err(format!("`{text}` is not a branch or a pattern of branches, such as `main` or `release/**`").into());
    }
    no_expression(text)
}

/// The name of an environment variable.
pub fn variable(text: &str) -> Ruling {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(is_word) {
        return Ok(());
    }
    Err(format!("`{text}` is not a variable's name: letters, digits and `_`, not starting with a digit").into())
}

/// A path of a URL.
pub fn url_path(text: &str) -> Ruling {
    let is_right = |c: char| c.is_ascii_graphic() && !"#\"<>\\^`{|}".contains(c);
    if text.starts_with('/') && text.chars().all(is_right) {
        return Ok(());
    }
    Err("expected a path such as `/health`, without blanks".into())
}

/// The required beginning of each `run:` line in workflows.
pub fn command(text: &str) -> Ruling {
    if text.trim().is_empty() || text.trim() != text {
        return Err("expected the beginning of a command, such as `cargo xtask`".into());
    }
    Ok(())
}

/// An argument of `cargo xtask test`.
pub fn part(text: &str) -> Ruling {
    if ["fuzz", "images", "rust", "workflows"].contains(&text) {
        return Err(format!("`cargo xtask test {text}` is a part already; choose another name").into());
    }
    word(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits of each rule: the last value that passes, and the first that
    /// fails.
    #[test]
    fn rules_end_where_they_say() {
        let (most, more) = (&*"a".repeat(63), &*"a".repeat(64));
        for (rule, right, wrong) in [
            (host as fn(&str) -> Ruling, &[most, "a-1", "localhost1"][..], &[more, "1a", "a_", "-a", "localhost"][..]),
            (word, &[most, "1.a_B-"], &[more, ".a", "_a", "a/b"]),
            (component, &[most, "a.b_c--d"], &[more, "a/b", "a..b"]),
            (stage, &["1234", "a.B_c-"], &["12345", "1a", "_a", "-a"]),
            (
                branch,
                &["a", "a/b.c", "x.locks", "a@b", "ü"],
                &[
                    "a.lock", "a.lock/b", ".a", "a/.b", "a//b", "/a", "a/", "a.", "@", "HEAD", "a@{b", "a~1", "a^",
                    "a:b", "a?b", "a*", "a[b", "a\\b", "a b",
                ],
            ),
            (branches, &["main", "!x", "release/**"], &["-x", "!-x", "!", "a\u{a0}b"]),
            (variable, &["_", "A1.b-c"], &["1A", "-A", ".A", "A=", "Ä"]),
            (url_path, &["/", "/a?b=%20"], &["", "a", "/ä", "/a\"b", "/a|b"]),
            (
                path,
                &["a", ".", "a/b:c", "a..b", "git", "github.com.d/x"],
                &["a/../b", "..", "a:b", "GitHub.com/a", "a/./../../b"],
            ),
            (file, &["Dockerfile", "a/b"], &["a/.", "./", ""]),
            (command, &["cargo xtask"], &["", " a", "a "]),
        ] {
            right.iter().for_each(|text| assert_eq!(rule(text), Ok(()), "{text}"));
            wrong.iter().for_each(|text| assert!(rule(text).is_err(), "{text}"));
        }
    }
}
