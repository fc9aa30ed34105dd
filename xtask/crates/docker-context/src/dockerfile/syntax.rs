//! Which frontend a `# syntax=` line names: only Docker's own is known here.

/// The tag or digest of Docker's own frontend; `None` for any other frontend.
fn version(syntax: &str) -> Option<&str> {
    let name = syntax.strip_prefix("docker.io/").unwrap_or(syntax);
    ["docker/dockerfile-upstream", "docker/dockerfile"]
        .iter()
        .find_map(|known| name.strip_prefix(known).filter(|rest| rest.is_empty() || rest.starts_with([':', '@'])))
}

/// Whether it is Docker's own.
pub fn is_dockers(syntax: &str) -> bool {
    version(syntax).is_some()
}

/// Whether this is Docker's frontend 1.8 or later, or may be.
pub fn knows_check(syntax: &str) -> bool {
    let minor = |version: &str| version.strip_prefix(":1.")?.split(['.', '-', '@']).next()?.parse::<u32>().ok();
    version(syntax).is_some_and(|version| minor(version).is_none_or(|minor| minor >= 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_known_to_dockers_frontend_from_1_8_on_and_to_what_may_be_newer() {
        for (syntax, expected) in [
            ("docker/dockerfile:1", true),
            ("docker/dockerfile", true),
            ("docker/dockerfile:1.7", false),
            ("docker/dockerfile:1.7.1-labs", false),
            ("docker.io/docker/dockerfile:1.8", true),
            ("docker/dockerfile-upstream:1.10@sha256:00", true),
            ("docker/dockerfile:2", true),
            ("docker/dockerfile@sha256:00", true),
            ("somebody/dockerfile:1.8", false),
        ] {
            assert_eq!(knows_check(syntax), expected, "{syntax}");
        }
    }
}
