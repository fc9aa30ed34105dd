//! Whether a service's filter says the truth about its Dockerfile: it must
//! include whatever a stage can read, and should include nothing else.

use std::collections::BTreeMap;

use camino::Utf8Path;
use docker_context::dockerfile::inputs::{CopySource, Input, Inputs};
use docker_context::dockerignore::Dockerignore;
use path_filter::Pattern;

use crate::model::config::{FILE, Service};
use crate::model::diagnostic::Diagnostic;
use crate::model::heads::below;

/// A service's filter beside what its target can read.
#[derive(Debug)]
pub struct Coverage<'a> {
    /// The service.
    pub service: &'a Service,
    /// What its target reads from the context.
    pub inputs: &'a Inputs,
    /// What the context does not hold.
    pub ignore: &'a Dockerignore,
    /// Where that is said.
    pub ignore_file: Option<&'a Utf8Path>,
}

/// Why a file matters to a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputReader<'a> {
    /// It says how to build: the Dockerfile or its ignore file.
    Definition,
    /// An instruction reads it.
    Instruction(&'a Input),
}

impl<'a> Coverage<'a> {
    /// What reads the file at `path`, from the root.
    pub fn reader(&self, path: &str) -> Option<InputReader<'a>> {
        let Service { dockerfile, context, .. } = self.service;
        if path == dockerfile || self.ignore_file.is_some_and(|file| path == file) {
            return Some(InputReader::Definition);
        }
        self.input(in_context(context.as_str(), path)?).map(InputReader::Instruction)
    }

    /// The instruction that reads the file at `path`, from the context.
    fn input(&self, path: &str) -> Option<&'a Input> {
        let input = self.inputs.reads(path)?;
        (!self.ignore.excludes(path)).then_some(input)
    }

    /// Whether a stage has the file or folder at `path`, from the root, in its
    /// context and reads it, whatever it says besides.
    pub fn is_read(&self, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        in_context(self.service.context.as_str(), path).is_some_and(|path| self.input(path).is_some())
    }

    /// Whether a stage gets the file at `path`, from the root, without what is
    /// in it.
    pub fn is_emptied(&self, path: &str) -> bool {
        in_context(self.service.context.as_str(), path).is_some_and(|path| self.ignore.empties(path))
    }

    /// What paths begin with that are read: one of these.
    pub fn heads(&self) -> Vec<String> {
        self.of_root(self.inputs.heads()).chain(self.own().map(str::to_owned)).collect()
    }

    /// The files that say how it is built.
    fn own(&self) -> impl Iterator<Item = &'a str> {
        [self.service.dockerfile.as_str()].into_iter().chain(self.ignore_file.map(Utf8Path::as_str))
    }

    /// Beginnings of paths of the context, as they are from the root.
    fn of_root<'h>(&self, heads: impl Iterator<Item = &'h str>) -> impl Iterator<Item = String> {
        let below = match self.service.context.as_str().trim_end_matches('/') {
            "." | "" => String::new(),
            context => format!("{context}/"),
        };
        heads.map(move |head| format!("{below}{head}"))
    }

    /// Whether anything below `FOLDER/`, from the root, may be read. `true` may be
    /// wrong, `false` never is.
    pub fn may_read_below(&self, folder: &str) -> bool {
        let may = |head: String| folder.starts_with(&head) || head.starts_with(folder);
        let dir = in_context(self.service.context.as_str(), folder.trim_end_matches('/'));
        let is_kept_out = dir.is_some_and(|dir| self.ignore.excludes_below(dir));
        self.own().any(|file| file.starts_with(folder)) || !is_kept_out && self.of_root(self.inputs.heads()).any(may)
    }

    /// The files that are read and that the filter leaves out.
    pub fn missed<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Vec<(&'p str, InputReader<'a>)> {
        let left_out = paths.into_iter().filter(|path| !self.service.paths.includes(path));
        left_out.filter_map(|path| Some((path, self.reader(path)?))).collect()
    }
}

/// All that is wrong with a filter. `tracked` is what a checkout holds, `here`
/// what the working tree holds besides, below what is read; its folders end in
/// `/`. Both are in order, so that only what a filter or a stage names is looked at.
pub fn findings(coverage: &Coverage<'_>, tracked: &[&str], here: &[&str]) -> Vec<Diagnostic> {
    let mut found = left_out(coverage, tracked, here);
    found.extend(stale(coverage.service, tracked));
    found.extend(unread(coverage, tracked));
    found.extend(missing(coverage, tracked, here));
    found
}

/// What a stage reads and the filter leaves out, by what reads it.
fn left_out(coverage: &Coverage<'_>, tracked: &[&str], here: &[&str]) -> Vec<Diagnostic> {
    let Service { name, dockerfile, paths, .. } = coverage.service;
    let mut groups: Vec<(InputReader<'_>, Vec<&str>)> = Vec::new();
    let heads = coverage.heads();
    let read = |paths| below(paths, heads.iter().map(String::as_str));
    let files = read(tracked).chain(read(here)).filter(|path| !path.ends_with('/'));
    for (path, reader) in coverage.missed(files) {
        match groups.iter_mut().find(|(other, _)| *other == reader) {
            Some((_, files)) => files.push(path),
            None => groups.push((reader, vec![path])),
        }
    }
    let finding = |(reader, files): (InputReader<'_>, Vec<&str>)| {
        let by = paths.decider(files[0]);
        let which = by.map_or("`paths`".to_owned(), |at| format!("the pattern `{}`", paths.patterns()[at].text()));
        let what = match reader {
            InputReader::Definition => "which defines the build".to_owned(),
            InputReader::Instruction(input) => {
                format!("which {dockerfile}:{} `{}` reads", input.line, input.instruction)
            }
        };
        Diagnostic {
            file: Some(FILE.into()),
            line: Some(line(coverage.service, by.unwrap_or(0))),
            column: None,
            message: format!("`services.{name}.paths`: {which} leaves out {}, {what}", and_more(&files)),
            help: Some(match by {
                Some(_) => format!("put `{:?}` below it, or make it narrower", described(files[0])),
                None => format!("add `{:?}`, or its folder with `/**`", described(files[0])),
            }),
        }
    };
    groups.into_iter().map(finding).collect()
}

/// Patterns that describe no tracked file.
fn stale(service: &Service, tracked: &[&str]) -> Vec<Diagnostic> {
    let patterns = service.paths.patterns().iter().enumerate();
    let stale = patterns.filter(|(_, pattern)| !below(tracked, [pattern.head()]).any(|path| pattern.hits(path)));
    let finding = |(at, pattern): (usize, &Pattern)| Diagnostic {
        file: Some(FILE.into()),
        line: Some(line(service, at)),
        column: None,
        message: format!("`services.{}.paths`: `{}` matches no tracked file", service.name, pattern.text()),
        help: Some("correct the path, or delete the pattern".into()),
    };
    stale.map(finding).collect()
}

/// Patterns that include what no stage can read.
fn unread(coverage: &Coverage<'_>, tracked: &[&str]) -> Vec<Diagnostic> {
    let service = coverage.service;
    let mut by_pattern: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let heads = service.paths.heads();
    let included = below(tracked, heads.iter().map(String::as_str)).filter(|path| service.paths.includes(path));
    for path in included.filter(|path| coverage.reader(path).is_none()) {
        by_pattern.entry(service.paths.decider(path).unwrap_or(0)).or_default().push(path);
    }
    let finding = |(at, files): (usize, Vec<&str>)| {
        let text = service.paths.patterns()[at].text();
        let alone = text == files[0];
        Diagnostic {
            file: Some(FILE.into()),
            line: Some(line(service, at)),
            column: None,
            message: format!(
                "`services.{}.paths`: `{text}` includes {}, which no stage of its target reads",
                service.name,
                if alone { "a file".into() } else { and_more(&files) },
            ),
            help: Some(if alone {
                "delete it".into()
            } else {
                format!("put `{:?}` below it", format!("!{}", described(files[0])))
            }),
        }
    };
    by_pattern.into_iter().map(finding).collect()
}

/// Instructions that read what is not there.
fn missing(coverage: &Coverage<'_>, tracked: &[&str], here: &[&str]) -> Vec<Diagnostic> {
    let Service { dockerfile, context, .. } = coverage.service;
    // What the context holds of a source, and whether its rules let it in.
    let found = |source: &CopySource, lets_in: &dyn Fn(&str) -> bool| {
        let heads: Vec<String> = coverage.of_root(source.heads()).collect();
        let of = |paths| below(paths, heads.iter().map(String::as_str));
        // An empty folder is there as well.
        let all = of(tracked).chain(of(here)).map(|path| path.trim_end_matches('/'));
        all.filter_map(|path| in_context(context.as_str(), path)).any(|path| source.reads(path) && lets_in(path))
    };
    let finding = |(input, source): (&Input, &CopySource)| {
        let named = source.named();
        let ignored = found(source, &|_| true) || coverage.ignore.excludes(named);
        Diagnostic {
            file: Some(dockerfile.to_string()),
            line: Some(input.line),
            column: None,
            message: match ignored {
                true => {
                    format!("`{}`: {} keeps `{named}` out of the context", input.instruction, ignore_file(coverage))
                }
                false => format!("`{}`: the context has no `{named}`", input.instruction),
            },
            help: Some(match ignored {
                true => format!("include it again, at the end of {}: `!{named}`", ignore_file(coverage)),
                false => "correct the path, or add the file to git".into(),
            }),
        }
    };
    let is_there = |source: &CopySource| found(source, &|path| !coverage.ignore.excludes(path));
    coverage.inputs.missing(is_there).into_iter().map(finding).collect()
}

fn ignore_file<'a>(coverage: &Coverage<'a>) -> &'a str {
    coverage.ignore_file.map_or(".dockerignore", Utf8Path::as_str)
}

/// A pattern of the filter that describes a path: what means something in one,
/// or can't stand in one, becomes `*`.
fn described(path: &str) -> String {
    let text: String = path.chars().map(|c| if "*?+[]\\".contains(c) { '*' } else { c }).collect();
    // More than two of them are refused, and a quantifier behind one.
    let mut short = String::new();
    for c in text.chars().filter(|c| *c != '\0') {
        if c != '*' || !short.ends_with('*') {
            short.push(c);
        }
    }
    match short.strip_prefix('!') {
        Some(rest) => format!("*{rest}"),
        None => short,
    }
}

fn line(service: &Service, pattern: usize) -> usize {
    service.path_lines.get(pattern).copied().unwrap_or(1)
}

fn and_more(files: &[&str]) -> String {
    match files {
        [file] => (*file).to_owned(),
        [file, rest @ ..] => format!("{file} (and {} more)", rest.len()),
        [] => String::new(),
    }
}

/// A path of the root as one of the context, if it is below it.
pub fn in_context<'p>(context: &str, path: &'p str) -> Option<&'p str> {
    match context {
        "." | "" => Some(path),
        context => path.strip_prefix(context.trim_end_matches('/'))?.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Project;
    use docker_context::dockerfile::{BuildOptions, inputs};
    use expect_test::expect;

    #[test]
    fn a_path_of_the_root_is_one_of_the_context_only_below_it() {
        assert_eq!(in_context(".", "a/b"), Some("a/b"));
        assert_eq!(in_context("a", "a/b"), Some("b"));
        assert_eq!(in_context("a/", "a/b"), Some("b"));
        assert_eq!(in_context("a", "ab/c"), None);
        assert_eq!(in_context("a", "a"), None);
    }

    const DOCKERFILE: &str = "FROM a AS base\nCOPY api/lock ./\nFROM base AS api\nCOPY api/src src\nCOPY shared gone ./\nFROM a AS other\nCOPY docs ./\n";

    /// Does something with a service, its context below the root or not.
    fn with<T>(context: &str, paths: &str, ignore: &str, then: impl FnOnce(&Coverage<'_>) -> T) -> T {
        let text = format!(
            "[project]\nname = \"demo\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
             [services.api]\nimage = \"demo-api\"\ntarget = \"api\"\npaths = [\n{paths}\n]\ncontext = \"{context}\"\n"
        );
        let project = Project::parse("services.toml".into(), &text).unwrap();
        let service = project.service("api").unwrap();
        let inputs = inputs(DOCKERFILE.as_bytes(), Some("api"), &BuildOptions::NOTHING).unwrap();
        let ignore = Dockerignore::parse(ignore).unwrap();
        let ignore_file = Some(Utf8Path::new(".dockerignore"));
        then(&Coverage { service, inputs: &inputs, ignore: &ignore, ignore_file })
    }

    fn found(paths: &str, ignore: &str, tracked: &[&str], here: &[&str]) -> String {
        found_in(".", paths, ignore, tracked, here)
    }

    fn found_in(context: &str, paths: &str, ignore: &str, tracked: &[&str], here: &[&str]) -> String {
        let (mut tracked, here) = (tracked.to_vec(), here);
        tracked.sort_unstable();
        let rows = with(context, paths, ignore, |coverage| findings(coverage, &tracked, here));
        rows.iter().map(|it| format!("{it}\n  {}\n", it.help.as_deref().unwrap_or_default())).collect()
    }

    #[test]
    fn a_path_of_the_root_is_read_and_emptied_as_one_of_the_context() {
        for (context, path, is_read) in [
            (".", "api/lock", true),
            (".", "api/src/", true),
            (".", "api/src/t", false),
            (".", "api/README", false),
            (".", "docs/y", false),
            // What says how to build is not read for that.
            (".", "Dockerfile", false),
            ("sub", "sub/api/lock", true),
            ("sub", "sub/docs/y", false),
            ("sub", "api/lock", false),
        ] {
            assert_eq!(with(context, "\"**\"", "**/t\n", |it| it.is_read(path)), is_read, "{context} {path}");
        }
        // As BuildKit walks: `*` is not asked about a folder that `**` has judged.
        let ignore = "**\n!**/*.txt\n*\n!r.txt\n";
        for (context, path, is_emptied) in [
            (".", "a/a.txt", true),
            (".", "r.txt", false),
            ("a", "a/a.txt", false),
            ("a", "a/b/b.txt", true),
            ("b", "a/a.txt", false),
        ] {
            assert_eq!(with(context, "\"**\"", ignore, |it| it.is_emptied(path)), is_emptied, "{context} {path}");
        }
    }

    #[test]
    fn what_is_read_begins_with_one_of_the_heads() {
        let own = ["Dockerfile", ".dockerignore"];
        for (context, heads) in [
            (".", ["api/lock", "api/src", "shared", "gone"]),
            ("sub", ["sub/api/lock", "sub/api/src", "sub/shared", "sub/gone"]),
        ] {
            let mut found = with(context, "\"**\"", "", |it| it.heads());
            let mut expected: Vec<&str> = heads.into_iter().chain(own).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_not_there_is_told_from_what_the_ignore_file_keeps_out() {
        let paths = "\"Dockerfile\",\n\".dockerignore\",\n\"api/**\",\n\"shared/*\"";
        let kept_out = "`COPY shared gone ./`: .dockerignore keeps `gone` out of the context";
        for (ignore, gone, expected) in [
            ("", "", "`COPY shared gone ./`: the context has no `gone`"),
            ("gone\n", "", kept_out),
            ("gone/*\n", "gone/a", kept_out),
            ("gone\n", "gone", kept_out),
        ] {
            let mut tracked = vec!["Dockerfile", ".dockerignore", "api/lock", "api/src/a", "shared/x"];
            tracked.extend(Some(gone).filter(|gone| !gone.is_empty()));
            tracked.sort_unstable();
            let found = with(".", paths, ignore, |it| findings(it, &tracked, &[]));
            let found: Vec<&str> = found.iter().map(|it| it.message.as_str()).collect();
            assert_eq!(found, [expected], "{ignore:?} {gone:?}");
        }
    }

    #[test]
    fn a_folder_that_nothing_is_read_of_is_told_without_looking_into_it() {
        let text = "[project]\nname = \"demo\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
                    [services.api]\nimage = \"api\"\npaths = [\"**\"]\ncontext = \"sub\"\n";
        let project = Project::parse("services.toml".into(), text).unwrap();
        for (source, rules, folder, expected) in [
            ("api", "", "sub/api/", true),
            ("api", "", "sub/api/b/", true),
            ("api/b/c", "", "sub/api/", true),
            ("api", "", "sub/.git/", false),
            ("api", "", "api/", false),
            (".", "", "sub/.git/", true),
            (".", "", ".git/", false),
            (".", "", "sub/", true),
            (".", "sub/.git", "sub/.git/", true),
            (".", ".git", "sub/.git/", false),
            (".", ".git", "sub/.git/x/", false),
            (".", ".git\n!.git/HEAD", "sub/.git/", true),
            (".", ".git\n!.git/HEAD", "sub/.git/x/", false),
            ("api/*.c", "", "sub/api/", true),
            ("*", "", "sub/.git/", true),
            ("api", ".git", "sub/how/", true),
            ("api", "how", "sub/how/", true),
        ] {
            let text = format!("FROM a\nCOPY {source} /\n");
            let inputs = inputs(text.as_bytes(), None, &BuildOptions::NOTHING).unwrap();
            let ignore = Dockerignore::parse(rules).unwrap();
            let (service, ignore_file) = (project.service("api").unwrap(), Some(Utf8Path::new("sub/how/ignore")));
            let coverage = Coverage { service, inputs: &inputs, ignore: &ignore, ignore_file };
            assert_eq!(coverage.may_read_below(folder), expected, "{source} {rules:?} {folder}");
        }
    }

    #[test]
    fn a_filter_that_says_the_truth_has_no_findings() {
        let tracked =
            ["Dockerfile", ".dockerignore", "api/lock", "api/src/a", "api/src/b", "shared/x", "gone", "docs/y"];
        let paths = "\"Dockerfile\",\n\".dockerignore\",\n\"api/**\",\n\"shared/*\",\n\"gone\"";
        assert_eq!(found(paths, "", &tracked, &[]), "");
    }

    #[test]
    fn what_is_left_out_stale_unread_or_missing_is_named_with_its_line() {
        let tracked =
            ["Dockerfile", ".dockerignore", "api/lock", "api/src/a", "api/src/b", "api/README", "shared/x", "docs/y"];
        let paths = "\"Dockerfile\",\n\"api/**\",\n\"!api/src/*\",\n\"old/**\",\n\"docs/y\"";
        expect![[r#"
            services.toml:9: `services.api.paths`: `paths` leaves out .dockerignore, which defines the build
              add `".dockerignore"`, or its folder with `/**`
            services.toml:11: `services.api.paths`: the pattern `!api/src/*` leaves out api/src/a (and 2 more), which Dockerfile:4 `COPY api/src src` reads
              put `"api/src/a"` below it, or make it narrower
            services.toml:9: `services.api.paths`: `paths` leaves out shared/x, which Dockerfile:5 `COPY shared gone ./` reads
              add `"shared/x"`, or its folder with `/**`
            services.toml:12: `services.api.paths`: `old/**` matches no tracked file
              correct the path, or delete the pattern
            services.toml:10: `services.api.paths`: `api/**` includes api/README, which no stage of its target reads
              put `"!api/README"` below it
            services.toml:13: `services.api.paths`: `docs/y` includes a file, which no stage of its target reads
              delete it
            Dockerfile:5: `COPY shared gone ./`: the context has no `gone`
              correct the path, or add the file to git
        "#]]
        .assert_eq(&found(paths, "", &tracked, &["api/src/new"]));
    }

    #[test]
    fn an_empty_folder_is_there_and_a_path_becomes_a_pattern_that_is_one() {
        let tracked = ["Dockerfile", ".dockerignore", "api/lock", "api/src/[id]", "shared/x"];
        let paths = "\"Dockerfile\",\n\".dockerignore\",\n\"api/lock\",\n\"shared/*\"";
        expect![[r#"
            services.toml:9: `services.api.paths`: `paths` leaves out api/src/[id], which Dockerfile:4 `COPY api/src src` reads
              add `"api/src/*id*"`, or its folder with `/**`
        "#]]
        .assert_eq(&found(paths, "", &tracked, &["gone/"]));
        for (path, pattern) in [("a/[b]c", "a/*b*c"), ("c++", "c*"), ("!a", "*a"), ("a[]?b", "a*b"), ("a b", "a b")] {
            assert_eq!(described(path), pattern);
            let pattern = Pattern::parse(pattern).unwrap();
            assert!(pattern.hits(path), "{path}");
        }
    }

    #[test]
    fn what_the_ignore_file_keeps_out_is_not_read_and_is_told_from_what_is_not_there() {
        let tracked = ["Dockerfile", ".dockerignore", "api/lock", "api/src/a", "api/src/t/b", "shared/x", "gone"];
        let paths = "\"Dockerfile\",\n\".dockerignore\",\n\"api/**\",\n\"shared/*\"";
        expect![[r#"
            services.toml:11: `services.api.paths`: `api/**` includes api/src/t/b, which no stage of its target reads
              put `"!api/src/t/b"` below it
            Dockerfile:5: `COPY shared gone ./`: .dockerignore keeps `gone` out of the context
              include it again, at the end of .dockerignore: `!gone`
        "#]]
        .assert_eq(&found(paths, "**/t\ngone\n", &tracked, &[]));
    }

    #[test]
    fn what_is_read_of_a_context_below_the_root_lies_below_it() {
        let tracked = ["Dockerfile", ".dockerignore", "api/lock", "sub/api/lock", "sub/api/src/a", "sub/shared/x"];
        let paths = "\"Dockerfile\",\n\".dockerignore\",\n\"sub/api/**\"";
        expect![[r#"
            services.toml:9: `services.api.paths`: `paths` leaves out sub/shared/x, which Dockerfile:5 `COPY shared gone ./` reads
              add `"sub/shared/x"`, or its folder with `/**`
            Dockerfile:5: `COPY shared gone ./`: the context has no `gone`
              correct the path, or add the file to git
        "#]]
        .assert_eq(&found_in("sub", paths, "", &tracked, &[]));
        assert!(!found_in("sub/", paths, "", &tracked, &["sub/gone/"]).contains("`gone`"));
    }
}
