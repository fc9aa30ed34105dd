//! Which services a change affects, and why: compares the changed paths with the
//! filter of each service, and names the pattern and the file that decided.

use std::borrow::Cow;

use crate::model::config::Service;
use crate::model::definition_changes::{DefinitionChanges, Sides};
use crate::model::diagnostic::Diagnostic;
use crate::model::dockerfile_changes::Touch;
use crate::model::event::Cause;

/// Changed paths, from the root, separated by `/`.
///
/// In a name that is not UTF-8, each undecodable byte becomes U+FFFD. No pattern
/// can name such a byte, and `*` and `**` match any character, so the verdict
/// stays the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Each path ends with a NUL.
    text: String,
}

impl Paths {
    /// Reads a list that somebody else made. One path per line; or, if it
    /// contains a NUL, each path ends with one. A leading `./` is removed. A path
    /// that git has quoted is unquoted.
    pub fn of_list(bytes: Vec<u8>) -> Result<Self, Diagnostic> {
        if bytes.contains(&0) {
            return Ok(Self { text: utf8(bytes) });
        }
        let mut text = Vec::new();
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match line {
                [b'"', ..] => {
                    let wrong = || {
                        format!(
                            "line {} begins with a quote and is nothing that git quotes: {}",
                            at + 1,
                            utf8(line.to_vec())
                        )
                    };
                    text.extend(unquoted(line).ok_or_else(wrong)?);
                }
                plain => text.extend_from_slice(plain),
            }
            text.push(0);
        }
        Ok(Self { text: utf8(text) })
    }

    /// Appends the output of git with `-z`.
    #[must_use]
    pub fn and(mut self, bytes: Vec<u8>) -> Self {
        self.text.push_str(&utf8(bytes));
        self
    }

    /// Appends more paths.
    #[must_use]
    pub fn with(mut self, paths: impl IntoIterator<Item = String>) -> Self {
        for path in paths {
            self.text.push_str(&path);
            self.text.push('\0');
        }
        self
    }

    /// The paths, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split('\0').map(|path| path.strip_prefix("./").unwrap_or(path)).filter(|p| !p.is_empty())
    }
}

/// A quoted path as git writes it (`core.quotePath`), with C escapes.
fn unquoted(line: &[u8]) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut path = Vec::new();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, rest) {
            (b'"', _) => return None,
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                path.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = &rest[3..];
            }
            (b'\\', [escaped, behind @ ..]) => {
                let at = b"abtnvfr\"\\".iter().position(|known| known == escaped)?;
                path.push(b"\x07\x08\t\n\x0b\x0c\r\"\\"[at]);
                rest = behind;
            }
            (b'\\', []) => return None,
            (plain, _) => path.push(*plain),
        }
    }
    (!path.is_empty() && !path.contains(&0)).then_some(path)
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned())
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// The changed files, as far as they are known.
    pub paths: Paths,
    /// Why everything counts as changed, whatever the files are.
    pub everything: Option<Cause>,
}

/// A pattern of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRule<'a> {
    /// As written in services.toml.
    pub pattern: &'a str,
    /// Its line there.
    pub line: usize,
}

/// Why a service is affected, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// The first changed file that the filter includes.
    Path {
        /// The file.
        path: &'a str,
        /// The pattern that includes it.
        rule: PathRule<'a>,
    },
    /// A changed file outside `paths` that the service depends on anyway: its
    /// workflow, for example, or its tables in services.toml.
    Indirect {
        /// The file.
        path: &'a str,
        /// How the service depends on it.
        cause: Cause,
    },
    /// Everything is affected.
    Everything {
        /// Why, for people.
        cause: Cause,
        /// The file that caused it, if it was a file.
        path: Option<&'a str>,
    },
    /// None of the changed files concerns it.
    Nothing {
        /// The number of files compared.
        files: usize,
        /// The first file that a `!` pattern excluded.
        excluded: Option<(&'a str, PathRule<'a>)>,
        /// The first Dockerfile or ignore file that changed without effect on the
        /// service.
        same: Option<&'a str>,
    },
}

/// The verdict on one service.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// The service.
    pub service: &'a Service,
    /// Why it is or is not affected.
    pub reason: Reason<'a>,
    /// With `explain`: every pattern that includes files, with these files.
    pub hits: Vec<(PathRule<'a>, Vec<Hit<'a>>)>,
}

/// A file that counts for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// The file.
    pub path: &'a str,
    /// The part of the file that matters, if it is known.
    pub what: Option<String>,
}

/// How the change of a Dockerfile or an ignore file touches a service; `None` for
/// any other file.
pub type Redefined<'a> = &'a dyn Fn(&Service, &str) -> Option<Touch>;

impl Verdict<'_> {
    /// The doubt because of which the service counts as affected, if there is
    /// one.
    pub fn doubt(&self) -> Option<&Cause> {
        match &self.reason {
            Reason::Indirect { cause, .. } | Reason::Everything { cause, .. } => {
                Some(cause).filter(|cause| cause.doubt)
            }
            Reason::Path { .. } | Reason::Nothing { .. } => None,
        }
    }

    /// Whether the service must be built.
    pub fn affected(&self) -> bool {
        !matches!(self.reason, Reason::Nothing { .. })
    }
}

/// The verdict on each service. It only asks `sides` and `redefined` if the
/// changed files make that necessary: `sides` for the other things that services
/// depend on, `redefined` for Dockerfiles and ignore files that `paths` includes.
pub fn verdicts<'a>(
    services: &[&'a Service],
    scope: &'a ChangeSet,
    sides: Sides<'_>,
    redefined: Redefined<'_>,
    explain: bool,
) -> Vec<Verdict<'a>> {
    let paths = &scope.paths;
    let changes = scope.everything.is_none().then(|| DefinitionChanges::look(sides, || paths.iter()));
    let file =
        |changes: &DefinitionChanges<'_>| paths.iter().find_map(|path| Some((changes.of_all(path)?, Some(path))));
    let everything = match &scope.everything {
        Some(cause) => Some((cause.clone(), None)),
        None => changes.as_ref().and_then(file),
    };
    let verdict = |service: &&'a Service| Verdict {
        service,
        reason: match &everything {
            Some((cause, path)) => Reason::Everything { cause: cause.clone(), path: *path },
            None => match reason(service, paths, redefined) {
                nothing @ Reason::Nothing { .. } => {
                    let found = changes.as_ref().and_then(|changes| changes.of(service, paths.iter()));
                    found.map_or(nothing, |(path, cause)| Reason::Indirect { path, cause })
                }
                reason => reason,
            },
        },
        hits: if explain { hits(service, paths, redefined) } else { Vec::new() },
    };
    services.iter().map(verdict).collect()
}

/// Stops at the first file that decides.
fn reason<'a>(service: &'a Service, paths: &'a Paths, redefined: Redefined<'_>) -> Reason<'a> {
    let (mut files, mut excluded, mut same) = (0, None, None);
    for path in paths.iter() {
        files += 1;
        match service.paths.decider(path) {
            Some(at) if !service.paths.patterns()[at].negated() => match redefined(service, path) {
                Some(Touch::Nothing) => same = same.or(Some(path)),
                _ => return Reason::Path { path, rule: rule(service, at) },
            },
            Some(at) => excluded = excluded.or(Some((path, rule(service, at)))),
            None => {}
        }
    }
    Reason::Nothing { files, excluded, same }
}

fn hits<'a>(service: &'a Service, paths: &'a Paths, redefined: Redefined<'_>) -> Vec<(PathRule<'a>, Vec<Hit<'a>>)> {
    let patterns = service.paths.patterns();
    let mut files = vec![Vec::new(); patterns.len()];
    for path in paths.iter() {
        if let Some(at) = service.paths.decider(path).filter(|at| !patterns[*at].negated()) {
            match redefined(service, path) {
                Some(Touch::Nothing) => {}
                Some(Touch::Something(what)) => files[at].push(Hit { path, what: Some(what) }),
                None => files[at].push(Hit { path, what: None }),
            }
        }
    }
    let hit = files.into_iter().enumerate().filter(|(_, files)| !files.is_empty());
    hit.map(|(at, files)| (rule(service, at), files)).collect()
}

fn rule(service: &Service, at: usize) -> PathRule<'_> {
    PathRule { pattern: service.paths.patterns()[at].text(), line: service.path_lines[at] }
}

/// A path as one unambiguous line. It is quoted if it contains control
/// characters, or text that a GitHub runner takes for a command.
pub fn shown(path: &str) -> Cow<'_, str> {
    if path.contains(char::is_control) || path.contains("##[") {
        return Cow::Owned(format!("{path:?}").replace("##[", "#\\u{23}["));
    }
    Cow::Borrowed(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Project;

    const TOML: &str = r#"[project]
name = "demo"
registry = "ghcr.io"
owner = "demo"

[services.api]
image = "demo-api"
paths = [
    "api/**",
    "!api/docs/**",
    "api/docs/openapi.json",
    "Dockerfile",
]

[services.web]
image = "demo-web"
paths = ["web/**", "!web/*.md", "Dockerfile"]
"#;

    fn project() -> Project {
        Project::parse("services.toml".into(), TOML).unwrap()
    }

    fn changed(paths: &[&str]) -> ChangeSet {
        ChangeSet { paths: Paths::default().with(paths.iter().map(ToString::to_string)), everything: None }
    }

    /// A tree with these files, on both sides.
    fn with_tree<T>(files: &[(&str, &str)], then: impl FnOnce(Sides<'_>) -> T) -> T {
        let read = |file: &str| Ok(files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned()));
        then(Sides { old: Some(&read), new: &read })
    }

    /// One line per service, for the assertions.
    fn told(scope: &ChangeSet) -> Vec<String> {
        with_tree(&[], |sides| told_in(sides, scope))
    }

    fn told_in(sides: Sides<'_>, scope: &ChangeSet) -> Vec<String> {
        let project = project();
        let services: Vec<_> = project.services.values().collect();
        let line = |verdict: &Verdict<'_>| match &verdict.reason {
            Reason::Path { path, rule } => format!("{path} {}:{}", rule.pattern, rule.line),
            Reason::Everything { cause, path } => format!("all: {} {path:?}", cause.text),
            Reason::Indirect { path, cause } => format!("{path}: {}", cause.text),
            Reason::Nothing { files, excluded, same } => {
                let same = same.map(|path| format!(" {path} is the same")).unwrap_or_default();
                format!("{files} {:?}{same}", excluded.map(|(path, rule)| (path, rule.pattern)))
            }
        };
        verdicts(&services, scope, sides, &|_, _| None, false).iter().map(line).collect()
    }

    #[test]
    fn the_first_file_that_a_filter_includes_is_the_reason() {
        assert_eq!(told(&changed(&["README.md", "api/a.py", "api/b.py"])), ["api/a.py api/**:9", "3 None"]);
        assert_eq!(told(&changed(&["Dockerfile"])), ["Dockerfile Dockerfile:12", "Dockerfile Dockerfile:17"]);
        assert_eq!(told(&changed(&["api/docs/openapi.json"]))[0], "api/docs/openapi.json api/docs/openapi.json:11");
    }

    #[test]
    fn a_file_that_says_how_it_is_built_counts_by_what_it_says() {
        let project = project();
        let services: Vec<_> = project.services.values().collect();
        let ask = |paths: &[&str]| {
            let scope = changed(paths);
            let redefined = |service: &Service, path: &str| match (service.name.as_str(), path) {
                ("api", "Dockerfile") => Some(Touch::Nothing),
                (_, "Dockerfile") => Some(Touch::Something("stage web, line 2".into())),
                _ => None,
            };
            let verdicts = with_tree(&[], |sides| verdicts(&services, &scope, sides, &redefined, true));
            let told = |verdict: &Verdict<'_>| {
                let hits = verdict.hits.iter().flat_map(|(_, hits)| hits);
                let hits: Vec<String> = hits.map(|Hit { path, what }| format!("{path} {what:?}")).collect();
                let reason = match verdict.reason {
                    Reason::Path { path, .. } => path.to_owned(),
                    Reason::Nothing { files, same, .. } => format!("{files} {same:?}"),
                    _ => "another".into(),
                };
                format!("{reason}: {}", hits.join(", "))
            };
            verdicts.iter().map(told).collect::<Vec<_>>()
        };
        let web = "Dockerfile: Dockerfile Some(\"stage web, line 2\")";
        assert_eq!(ask(&["x", "Dockerfile"]), ["2 Some(\"Dockerfile\"): ", web]);
        assert_eq!(ask(&["Dockerfile", "api/a"]), ["api/a: api/a None", web]);
    }

    #[test]
    fn what_is_not_affected_says_what_was_looked_at() {
        let expected = ["2 Some((\"api/docs/a.md\", \"!api/docs/**\"))", "2 None"];
        assert_eq!(told(&changed(&["api/docs/a.md", "x"])), expected);
        assert_eq!(told(&changed(&[])), ["0 None", "0 None"]);
    }

    #[test]
    fn a_file_that_all_are_made_of_is_everything_and_no_other_is() {
        let manifest = include_str!("../../Cargo.toml");
        for path in [
            "xtask/src/main.rs",
            "xtask/crates/path-filter/src/lib.rs",
            "Cargo.toml",
            "Cargo.lock",
            ".cargo/config.toml",
        ] {
            let told = |sides: Sides<'_>| told_in(sides, &changed(&["a", path]));
            let expected = format!("all: {path} changed, which is a source of this tool Some({path:?})");
            assert_eq!(with_tree(&[("xtask/Cargo.toml", manifest)], told), [expected.clone(), expected]);
            // In another project these are ordinary files.
            assert_eq!(with_tree(&[], told)[0], "2 None", "{path}");
        }
        let scope = ChangeSet { everything: Some(Cause::doubt("the base is gone")), ..ChangeSet::default() };
        assert_eq!(told(&scope), ["all: the base is gone None", "all: the base is gone None"]);
    }

    #[test]
    fn a_verdict_says_whether_to_build_and_whether_nobody_could_tell() {
        let project = project();
        let services: Vec<_> = project.services.values().collect();
        let all = |cause| ChangeSet { everything: Some(cause), ..ChangeSet::default() };
        let workflow = ".github/workflows/api-docker-build.yml";
        let (plain, blind) = ("jobs: {}", "a: {uses: ./.github/actions/gone}");
        let (no, yes, doubt) = ((false, false), (true, false), (true, true));
        for (text, scope, expected) in [
            (plain, changed(&["api/a"]), [yes, no]),
            (plain, changed(&["README.md"]), [no, no]),
            (plain, all(Cause::rule("a first build")), [yes, yes]),
            (plain, all(Cause::doubt("the base is gone")), [doubt, doubt]),
            (plain, changed(&[workflow]), [yes, no]),
            (plain, changed(&[".github/x"]), [no, no]),
            (blind, changed(&[".github/x"]), [doubt, no]),
        ] {
            let found = with_tree(&[(workflow, text)], |sides| {
                let verdicts = verdicts(&services, &scope, sides, &|_, _| None, false);
                verdicts.iter().map(|it| (it.affected(), it.doubt().is_some())).collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{scope:?}");
        }
    }

    #[test]
    fn what_a_service_is_made_of_beside_its_paths_affects_it_alone() {
        let tree = [(".github/workflows/api-docker-build.yml", "jobs: {}")];
        with_tree(&tree, |sides| {
            let told = told_in(sides, &changed(&["x", ".github/workflows/api-docker-build.yml"]));
            let expected = ".github/workflows/api-docker-build.yml: its workflow uses it";
            assert_eq!(told, [expected, "2 None"]);
            let told = told_in(sides, &changed(&[".github/workflows/api-docker-build.yml", "api/a"]));
            assert_eq!(told, ["api/a api/**:9", "2 None"], "a file of its own says more");
        });
    }

    #[test]
    fn explained_is_every_file_under_the_pattern_that_decided() {
        let project = project();
        let scope = changed(&["api/b", "Dockerfile", "api/a", "api/docs/x", "web/a.md"]);
        let verdicts = with_tree(&[], |sides| verdicts(&[&project.services["api"]], &scope, sides, &|_, _| None, true));
        let hits: Vec<_> =
            verdicts[0].hits.iter().map(|(rule, files)| (rule.pattern, rule.line, files.clone())).collect();
        let plain = |path| Hit { path, what: None };
        assert_eq!(
            hits,
            [("api/**", 9, vec![plain("api/b"), plain("api/a")]), ("Dockerfile", 12, vec![plain("Dockerfile")])]
        );
    }

    #[test]
    fn lists_end_in_newlines_or_in_nul() {
        let list = |text: &str| Paths::of_list(text.into()).unwrap().iter().map(ToOwned::to_owned).collect::<Vec<_>>();
        assert_eq!(list("a\n./b c\r\n\nd"), ["a", "b c", "d"]);
        assert_eq!(list("a\nb\0c\0"), ["a\nb", "c"]);
        assert_eq!(list(""), [""; 0]);
        assert_eq!(list("\"b\0\"a\0"), ["\"b", "\"a"], "with NUL, nothing is quoted");
        assert_eq!(list("\"\\303\\274 \\n\\\"\\\\.py\"\r\n./b\n"), ["ü \n\"\\.py", "b"]);
        for odd in ["\"a", "\"", "\"\"", "\"a\"b\"", "\"\\x\"", "\"\\\"", "\"\\400\"", "\"\\000\""] {
            assert!(Paths::of_list(odd.into()).is_err(), "{odd}");
        }
        let git = Paths::default().and(b"a\xff\0".into()).and(b"\xc3\xa9\n\0".into());
        assert_eq!(git.iter().collect::<Vec<_>>(), ["a\u{fffd}", "é\n"]);
    }

    #[test]
    fn a_path_is_shown_as_one_line_that_is_no_command() {
        assert_eq!(shown("a b/é"), "a b/é");
        assert_eq!(shown("a\n::warning::x"), "\"a\\n::warning::x\"");
        assert!(!shown("##[add-mask]x").contains("##["));
    }

    /// A file alone affects exactly the services that it affects among other
    /// files.
    #[test]
    fn a_service_is_affected_iff_one_of_the_files_alone_affects_it() {
        let names =
            ["api/a", "api/docs/a", "api/docs/openapi.json", "web/a.md", "web/x/a.md", "Dockerfile", "é", "x\ny"];
        let project = project();
        let services: Vec<_> = project.services.values().collect();
        let affected = |paths: &[&str]| -> Vec<bool> {
            with_tree(&[], |sides| {
                verdicts(&services, &changed(paths), sides, &|_, _| None, false).iter().map(Verdict::affected).collect()
            })
        };
        crate::model::cases::cases(100, |u| {
            let paths =
                (0..u.int_in_range(0..=6)?).map(|_| u.choose(&names).copied()).collect::<Result<Vec<_>, _>>()?;
            let mut expected = vec![false; services.len()];
            for path in &paths {
                expected.iter_mut().zip(affected(&[path])).for_each(|(any, one)| *any |= one);
            }
            assert_eq!(affected(&paths), expected, "{paths:?}");
            Ok(())
        });
    }
}
