//! Whether ADD fetches a source or copies it, by BuildKit's rules, and whether a
//! fetched source may change.

/// The kind of an ADD source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A path in the context.
    No,
    /// A URL of a file.
    Http,
    /// A git repository.
    Git {
        /// Whether the fragment is a full commit id.
        pinned: bool,
    },
    /// A path that BuildKit may take for a repository.
    Maybe,
}

/// The kind of a source whose variables are replaced.
pub fn remote(source: &str) -> Remote {
    if source.starts_with("./") || source.starts_with("../") || source.starts_with("github.com/") {
        return Remote::No;
    }
    let (address, fragment) = source.split_once('#').unwrap_or((source, ""));
    let reference = fragment.split(':').next().unwrap_or_default();
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let git = Remote::Git { pinned: reference.len() == 40 && reference.bytes().all(is_digit) };
    // The path of a repository ends like this, once `%…` is decoded.
    let repository = |path: &str| path.contains('%') || path.split('?').next().is_some_and(|it| it.ends_with(".git"));
    if let Some((scheme, rest)) = source.split_once("://")
        && !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        let path = rest.split('#').next().and_then(|rest| rest.split_once('/'));
        return match scheme.to_ascii_lowercase().as_str() {
            "git" | "ssh" => git,
            "http" | "https" if path.is_some_and(|(_, path)| repository(path)) => git,
            // If the scheme is in capitals, BuildKit only recognises
            // repositories.
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
            // Only repositories have commits.
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
