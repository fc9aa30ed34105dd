//! The rules for values of options. A wrong value is refused on the command line,
//! not minutes later by a tool, and not silently.

use std::fmt::Display;
use std::str::FromStr;

use camino::Utf8PathBuf;

use super::config::values::{self, visible};
use super::reference::Name;

use crate::model::diagnostic::Diagnostic;

/// No file system has longer paths.
const PATH: usize = 4095;
/// No file name is longer, and each of these values names a file somewhere.
const NAME: usize = 255;

/// A file or a folder, which need not exist.
pub fn path(text: &str) -> Result<Utf8PathBuf, Diagnostic> {
    let example = "such as `target/cache`";
    if text.trim().is_empty() {
        return Err(format!("expected a path, {example}").into());
    }
    if text.len() > PATH || text.split('/').any(|part| part.len() > NAME) {
        return Err(format!("expected a path of at most {PATH} bytes, {NAME} between slashes, {example}").into());
    }
    visible(text).map_err(|why| format!("expected a path, {example}: {why}"))?;
    Ok(text.into())
}

/// The name of an image, without registry and tag.
pub fn image_name(text: &str) -> Result<Name, Diagnostic> {
    values::image_name(text)?;
    text.parse()
}

/// `oci=FILE`. BuildKit parses the rest of it as a list.
pub fn oci_file(text: &str) -> Result<Utf8PathBuf, Diagnostic> {
    let expected = "expected oci=FILE, a path without `,` and `\"`, such as `oci=target/web.tar`";
    match text.strip_prefix("oci=") {
        Some(file) if !file.contains([',', '"']) && !file.ends_with('/') => {
            path(file).map_err(|why| format!("{expected}; {why}").into())
        }
        _ => Err(expected.into()),
    }
}

/// `K=V`, or `K` alone. The value may be anything.
pub fn build_arg(text: &str) -> Result<String, Diagnostic> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if name.is_empty() || name.len() > NAME || !name.chars().all(is_word) {
        return Err(
            "expected K=V, or K, whose value is in the environment: a name as `ARG` has it, such as `VERSION=1.2`"
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`, with an optional `type=`. Docker
/// parses it as a line of CSV.
pub fn secret(text: &str) -> Result<String, Diagnostic> {
    let expected = || {
        Diagnostic::new(
            "expected id=NAME,src=FILE or id=NAME,env=VARIABLE, such as `id=token,env=TOKEN`; the secret itself never \
             goes on a command line",
        )
    };
    let (mut ids, mut places, mut types) = (0, Vec::new(), Vec::new());
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or_else(expected)?;
        if value.trim().is_empty() || value.contains('"') || visible(value).is_err() || value.len() > PATH {
            return Err(expected());
        }
        match key {
            "id" => ids += 1,
            "src" | "source" => places.push("file"),
            "env" => places.push("env"),
            "type" => types.push(value),
            _ => return Err(expected()),
        }
    }
    let is_right = ids == 1 && places.len() == 1 && types.len() <= 1 && types.iter().all(|it| places.contains(it));
    if is_right { Ok(text.to_owned()) } else { Err(expected()) }
}

/// The name of a buildx builder, or of a Docker context.
pub fn builder(text: &str) -> Result<String, Diagnostic> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.+/".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_word) && text.len() <= NAME {
        return Ok(text.to_owned());
    }
    Err("expected a builder's name as `docker buildx ls` lists it, such as `default`".into())
}

/// A number within limits.
pub fn number<T: FromStr + PartialOrd + Display>(text: &str, least: T, most: T) -> Result<T, Diagnostic> {
    let number = text.parse().ok().filter(|number| *number >= least && *number <= most);
    number.ok_or_else(|| format!("expected a number from {least} to {most}, such as `{least}`").into())
}

/// A revision becomes an argument of git, so it must not be an option or a range.
pub fn revision(text: &str) -> Result<String, Diagnostic> {
    let is_wrong = text.trim().is_empty() || text.starts_with(['-', '^']) || text.contains("..");
    if is_wrong || text.len() > PATH || visible(text).is_err() {
        return Err("expected one commit: a name such as `origin/main`, `HEAD~3` or a hash".into());
    }
    Ok(text.to_owned())
}

/// Who signed, or who vouches for that: an address as certificates have it.
pub fn signer(text: &str) -> Result<String, Diagnostic> {
    if text.trim().is_empty() || text.len() > PATH || visible(text).is_err() {
        return Err(
            "expected what the certificate says, such as `https://github.com/OWNER/REPO/.github/workflows/FILE@REF`"
                .into(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = fn(&str) -> bool;

    const ALL: [(&str, Read); 8] = [
        ("signer", |text| signer(text).is_ok()),
        ("image_name", |text| image_name(text).is_ok()),
        ("path", |text| path(text).is_ok()),
        ("oci_file", |text| oci_file(text).is_ok()),
        ("build_arg", |text| build_arg(text).is_ok()),
        ("secret", |text| secret(text).is_ok()),
        ("builder", |text| builder(text).is_ok()),
        ("revision", |text| revision(text).is_ok()),
    ];

    #[test]
    fn nothing_takes_a_value_that_is_empty_blank_hidden_or_endless() {
        let endless = "a".repeat(5000);
        for (what, takes) in ALL {
            for text in ["", " ", "\t", "\n", "\u{7}", "a\u{7}b", "a\u{202e}b", "\u{feff}", endless.as_str()] {
                assert!(!takes(text), "{what} takes {text:?}");
                for prefix in ["oci=", "id=a,src=", "id=a,env="] {
                    assert!(
                        !takes(&format!("{prefix}{text}"))
                            || what == "path"
                            || what == "revision"
                            || what == "signer"
                            || what == "build_arg",
                        "{what} takes {prefix}{text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn each_takes_what_it_is_for_and_nothing_that_only_looks_like_it() {
        let rows: [(&str, &[&str], &[&str]); 7] = [
            (
                "image_name",
                &["web", "team/web", "a.b", "localhost", "a/b.c/d"],
                &["ghcr.io/x/y", "localhost/x", "127.0.0.1/x", "a.b/c", "scratch", "a:b", "Web"],
            ),
            ("path", &["a b/ü", "/", "../x", "a=b"], &[&"a".repeat(256)]),
            ("oci_file", &["oci=x.tar", "oci=a b/x"], &["oci=", "x.tar", "oci=a,b", "oci=a\"b", "oci=dir/", "tar=x"]),
            (
                "build_arg",
                &["K", "K=", "K=V=W", "k.a-b=a b\nc", "_=\"", "https_proxy=http://x"],
                &["=x", "=", " K=x", "K =x", "a b", "K\u{7}=x", "-é=x"],
            ),
            (
                "secret",
                &["id=a,env=B", "id=a,src=/x y", "source=x,id=a", "type=file,id=a,src=x", "id=a,env=B,type=env"],
                &[
                    "id=a",
                    "hunter2",
                    "id=,src=x",
                    "id=a,src=",
                    "id=a,id=b,src=x",
                    "id=a,src=x,env=B",
                    "id=a,src=x,",
                    "id=a,src=x,mode=1",
                    "id=a,src=x,type=env",
                    "id=a,src=x,type=file,type=file",
                    "id=a,src=\"x\"",
                    "id = a,src=x",
                    "src=x",
                ],
            ),
            ("builder", &["default", "a", "my.b-1", "ctx+x"], &["-x", "--force", "a b", "a,b", "é", "/x"]),
            (
                "revision",
                &["origin/main", "HEAD~3", "HEAD^{/a b}", "v1"],
                &["--output=x", "a..b", "^a", "a\n", "a...b"],
            ),
        ];
        for (what, right, wrong) in rows {
            let takes = ALL.iter().find(|(name, _)| *name == what).unwrap().1;
            right.iter().for_each(|text| assert!(takes(text), "{what} refuses {text:?}"));
            wrong.iter().for_each(|text| assert!(!takes(text), "{what} takes {text:?}"));
        }
    }

    #[test]
    fn the_longest_and_the_largest_are_taken_and_nothing_beyond() {
        let folders = |bytes: usize| "a/".repeat(bytes).chars().take(bytes).collect::<String>();
        let rows: [(&str, Read, String, bool); 10] = [
            ("path", |text| path(text).is_ok(), folders(PATH), true),
            ("path", |text| path(text).is_ok(), folders(PATH + 1), false),
            ("path", |text| path(text).is_ok(), "a".repeat(NAME), true),
            ("path", |text| path(text).is_ok(), format!("b/{}", "a".repeat(NAME + 1)), false),
            ("build_arg", |text| build_arg(text).is_ok(), "a".repeat(NAME), true),
            ("build_arg", |text| build_arg(text).is_ok(), "a".repeat(NAME + 1), false),
            ("secret", |text| secret(text).is_ok(), format!("id=a,src={}", "a".repeat(PATH)), true),
            ("secret", |text| secret(text).is_ok(), format!("id=a,src={}", "a".repeat(PATH + 1)), false),
            ("revision", |text| revision(text).is_ok(), "a".repeat(PATH), true),
            ("revision", |text| revision(text).is_ok(), "a".repeat(PATH + 1), false),
        ];
        for (what, takes, text, expected) in rows {
            assert_eq!(takes(&text), expected, "{what} of {} bytes", text.len());
        }
        for (text, expected) in [("1", Some(1)), ("9", Some(9)), ("0", None), ("10", None), ("x", None), ("", None)] {
            assert_eq!(number::<u32>(text, 1, 9).ok(), expected, "{text}");
        }
    }
}
