//! Whether ADD fetches a source instead of copying it, by BuildKit's own rules,
//! and whether what it fetches can be another tomorrow.

/// What a source of ADD is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A path of the context.
    No,
    /// A file behind a URL.
    Http,
    /// A git repository, at a commit or not.
    Git {
        /// Whether the fragment names a whole commit.
        pinned: bool,
    },
    /// BuildKit may take the path for a repository.
    Maybe,
}

/// What a source with its variables replaced is.
pub fn remote(source: &str) -> Remote {
    if source.starts_with("./") || source.starts_with("../") || source.starts_with("github.com/") {
        return Remote::No;
    }
    let (address, fragment) = source.split_once('#').unwrap_or((source, ""));
    let reference = fragment.split(':').next().unwrap_or_default();
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let git = Remote::Git { pinned: reference.len() == 40 && reference.bytes().all(is_digit) };
    // A repository's path ends so, once its `%…` are read.
    let repository = |path: &str| path.contains('%') || path.split('?').next().is_some_and(|it| it.ends_with(".git"));
    if let Some((scheme, rest)) = source.split_once("://")
        && !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        let path = rest.split('#').next().and_then(|rest| rest.split_once('/'));
        return match scheme.to_ascii_lowercase().as_str() {
            "git" | "ssh" => git,
            "http" | "https" if path.is_some_and(|(_, path)| repository(path)) => git,
            // Of a scheme in capitals BuildKit sees the repository alone.
            _ if source.starts_with("http://") || source.starts_with("https://") => Remote::Http,
            _ => Remote::No,
        };
    }
    if is_scp(source) {
        return git;
    }
    if address.contains('/') && repository(address) { Remote::Maybe } else { Remote::No }
}

/// `user@host:path`.
fn is_scp(source: &str) -> bool {
    let is_name = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || more.contains(c))
    };
    source.split_once('@').is_some_and(|(user, rest)| {
        is_name(user, "_") && rest.split_once(':').is_some_and(|(host, _)| is_name(host, "."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_is_told_from_what_is_copied() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let (git, pinned) = (Remote::Git { pinned: false }, Remote::Git { pinned: true });
        for (source, expected) in [
            ("a/b".to_owned(), Remote::No),
            ("http://x/y".into(), Remote::Http),
            ("https://x".into(), Remote::Http),
            // Only a repository has commits.
            (format!("https://x/y#{commit}"), Remote::Http),
            (format!("https://x/y.git#{commit}"), pinned),
            (format!("https://x/y.git#{commit}:sub"), pinned),
            (format!("https://x/y.git?a#{commit}"), pinned),
            (format!("https://x/y.git#{}", commit.to_uppercase()), git),
            (format!("https://x/y.git#{commit}0"), git),
            (format!("https://x/y.git#main:{commit}"), git),
            ("https://x/y.git".into(), git),
            ("https://x/y.git/".into(), Remote::Http),
            ("https://x/y%2Egit".into(), git),
            ("https://x.git".into(), Remote::Http),
            ("HTTPS://x/y.git".into(), git),
            ("HTTP://x/y".into(), Remote::No),
            ("git://x/y".into(), git),
            (format!("git@x:y#{commit}"), pinned),
            (format!("git@x-1.y:z/{commit}"), git),
            ("a b@x:y".into(), Remote::No),
            ("a/b@x:y".into(), Remote::No),
            ("ftp://x/y".into(), Remote::No),
            ("github.com/x/y.git".into(), Remote::No),
            ("vendor/y.git".into(), Remote::Maybe),
            ("example.com/x/y.git#main".into(), Remote::Maybe),
            ("./vendor/y.git".into(), Remote::No),
            ("y.git".into(), Remote::No),
        ] {
            assert_eq!(remote(&source), expected, "{source}");
        }
    }
}
