//! How environment variables influence a build.
//!
//! docs/environment.md lists every variable that buildx, BuildKit's client and
//! git read, and how we treat it: it counts in the fingerprint, we remove it, or
//! it is a doubt. Unknown variables of buildx and BuildKit are removed.

use std::collections::BTreeMap;

/// The variables of buildx and BuildKit that only choose the builder or the
/// display. All others may change the image.
const KEPT: [&str; 8] = [
    "BUILDKIT_COLORS",
    "BUILDKIT_HOST",
    "BUILDKIT_PROGRESS",
    "BUILDKIT_TTY_LOG_LINES",
    "BUILDX_BUILDER",
    "BUILDX_CONFIG",
    "BUILDX_EXPERIMENTAL",
    "BUILDX_INSTANCE",
];

/// Whether buildx asks git about the context.
pub const GIT_INFO: &str = "BUILDX_GIT_INFO";
/// The default platform of buildx.
pub const DEFAULT_PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";
/// A file that may replace or refuse sources.
pub const SOURCE_POLICY: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";
/// A date that buildx passes on by itself.
pub const DATE: &str = "SOURCE_DATE_EPOCH";
/// The build argument that replaces the frontend.
const SYNTAX: &str = "BUILDKIT_SYNTAX";

/// Looks up a variable as a child process sees it: `None` if it is not set,
/// `Some(None)` if it is not UTF-8.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Option<String>>;

/// Those of these variables that our builds don't see.
pub fn set_aside<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let is_of_builds = |name: &&str| name.starts_with("BUILDX_") || name.starts_with("BUILDKIT_");
    let mut names: Vec<String> =
        names.into_iter().filter(is_of_builds).filter(|name| !KEPT.contains(name)).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Build arguments with their values, as buildx reads them: `K` alone takes the
/// value from the environment, even if that is empty, and is left out if it is
/// not set. A later one wins.
pub fn build_args(args: &[String], look: Lookup<'_>) -> BTreeMap<String, String> {
    let date = look(DATE).flatten().filter(|date| !date.is_empty()).map(|date| (DATE.to_owned(), date));
    let pair = |arg: &String| match arg.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.to_owned())),
        None => Some((arg.clone(), look(arg)??)),
    };
    date.into_iter().chain(args.iter().filter_map(pair)).collect()
}

/// Why the influence of the environment on a build is unknown, if it is.
pub fn doubt(args: &[String], look: Lookup<'_>) -> Option<String> {
    let named = args.iter().filter(|arg| !arg.contains('=')).map(String::as_str);
    let mut read = named.chain([DATE]);
    if let Some(name) = read.find(|name| look(name) == Some(None)) {
        return Some(format!("the environment's {name} is not UTF-8"));
    }
    if look(SOURCE_POLICY).is_some_and(|value| value.as_deref() != Some("")) {
        return Some(format!("{SOURCE_POLICY} may replace the named sources with others"));
    }
    let syntax = build_args(args, look).contains_key(SYNTAX);
    syntax.then(|| format!("`--build-arg {SYNTAX}` chooses another frontend"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(name: &str) -> Option<Option<String>> {
        match name {
            "SET" => Some(Some("1".into())),
            "EMPTY" => Some(Some(String::new())),
            "ODD" => Some(None),
            _ => None,
        }
    }

    #[test]
    fn what_buildx_reads_is_set_aside_unless_it_chooses_the_builder_or_the_display() {
        let names =
            ["PATH", "BUILDX_GIT_LABELS", "BUILDX_BUILDER", "BUILDX_GIT_INFO", "BUILDKIT_PROGRESS", "XBUILDX_A"];
        assert_eq!(set_aside(names), ["BUILDX_GIT_INFO", "BUILDX_GIT_LABELS"]);
        let new =
            ["BUILDX_NO_DEFAULT_ATTESTATIONS", "BUILDX_WHATEVER", "BUILDKIT_SYNTAX", "BUILDX_METADATA_PROVENANCE"];
        assert_eq!(set_aside(new).len(), 4);
        assert_eq!(set_aside(KEPT), [""; 0]);
    }

    #[test]
    fn an_argument_without_a_value_has_the_environments() {
        let args = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            let pairs = build_args(&args, &look);
            pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(args(&["SET", "EMPTY", "UNSET", "ODD", "K=v=w", "K2="]), ["EMPTY=", "K=v=w", "K2=", "SET=1"]);
        assert_eq!(args(&["A=1", "A=2"]), ["A=2"]);
        let dated = |value: &'static str| build_args(&[], &move |name| (name == DATE).then(|| Some(value.to_owned())));
        assert_eq!(dated("5").get(DATE).map(String::as_str), Some("5"));
        assert!(dated("").is_empty());
    }

    #[test]
    fn what_can_not_be_told_is_a_doubt() {
        let why = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            doubt(&args, &look)
        };
        assert_eq!(why(&["SET", "EMPTY", "UNSET", "ODD=1"]), None);
        assert_eq!(why(&["SET", "ODD"]).unwrap(), "the environment's ODD is not UTF-8");
        assert!(why(&["BUILDKIT_SYNTAX=x/y"]).unwrap().contains("another frontend"));
        let policy = |value: Option<&'static str>| {
            doubt(&[], &move |name| (name == SOURCE_POLICY).then(|| value.map(str::to_owned)))
        };
        assert!(policy(Some("/p")).is_some() && policy(None).is_some() && policy(Some("")).is_none());
        assert!(doubt(&[], &|name| (name == DATE).then_some(None)).is_some());
    }
}
