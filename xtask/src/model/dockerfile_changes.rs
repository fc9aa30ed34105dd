//! How a change of a Dockerfile or its ignore file concerns one service: it
//! counts if it touches a part that the service's target reaches, or a file that
//! a stage copies. A doubt counts as a change.
//!
//! Pure: callers pass the texts of both sides and the paths of the newer one.

use std::collections::HashSet;

use camino::Utf8PathBuf;
use docker_context::dockerfile::{BuildOptions, DockerfileCache};
use docker_context::dockerignore::{self, Dockerignore};

use crate::model::config::Service;
use crate::model::coverage::in_context;
use crate::model::definition_changes::{Read, Sides};
use crate::model::doubt::Doubt;

/// The effect of such a change on a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The image stays the same.
    Nothing,
    /// The image changes; the text says why.
    Something(String),
}

/// The newer side, besides its texts.
pub struct Newer<'a> {
    /// The platforms of the build.
    pub platforms: Vec<&'a str>,
    /// Symbolic links and their targets.
    pub links: &'a [(String, String)],
    /// The files that git knows, from the root; `None` if they are unknown.
    pub files: &'a dyn Fn() -> Option<Vec<&'a str>>,
    /// The Dockerfiles of both sides, for all services that share them.
    pub parsed: &'a DockerfileCache,
}

/// The files that may define how a service is built: its Dockerfile, and its
/// possible ignore files.
pub fn definition(service: &Service) -> [Utf8PathBuf; 3] {
    let [first, second] = candidates(service);
    // Each in the spelling of a walk through the tree.
    [&service.dockerfile, &first, &second].map(|file| file.components().collect())
}

/// Where a service's ignore file may be. The first one that exists counts.
pub fn candidates(service: &Service) -> [Utf8PathBuf; 2] {
    dockerignore::candidates(service.dockerfile.as_str(), service.context.as_str()).map(Utf8PathBuf::from)
}

/// The effect of a change of the file at `path`; `None` if the file does not
/// define how the service is built.
pub fn touch(service: &Service, path: &str, sides: Sides<'_>, newer: &Newer<'_>) -> Option<Touch> {
    definition(service).iter().any(|file| file == path).then(|| match compare(service, path, sides, newer) {
        Ok(None) => Touch::Nothing,
        Ok(Some(what)) => Touch::Something(what),
        Err(why) => Touch::Something(why.to_string()),
    })
}

/// What differs; the error is a doubt.
fn compare(service: &Service, path: &str, sides: Sides<'_>, newer: &Newer<'_>) -> Result<Option<String>, Doubt> {
    let old = sides.old.ok_or("a list of files does not contain the older version")?;
    let sides = [(old, "older"), (sides.new, "newer")];
    let given = BuildOptions { platforms: newer.platforms.clone(), ..BuildOptions::NOTHING };
    let target = service.target.as_deref();
    let is_dockerfile = service.dockerfile.components().eq(camino::Utf8Path::new(path).components());
    let [older, text] = sides.map(|(read, which)| {
        let text = read_at(read, which, service.dockerfile.as_str())?;
        text.ok_or_else(|| format!("there is no {which} {}", service.dockerfile))
    });
    let (older, text) = (older?, text?);
    if is_dockerfile {
        let recipe = |text: &str, which: &str| {
            newer
                .parsed
                .parsed(text.as_bytes(), &given)
                .recipe(target)
                .map_err(|error| format!("the {which} one: {error}"))
        };
        if let Some(place) = recipe(&text, "newer")?.first_change(&recipe(&older, "older")?) {
            return Ok(Some(place.to_string()));
        }
    }
    let mut inputs = newer.parsed.parsed(text.as_bytes(), &given).inputs(target).map_err(|error| error.to_string())?;
    let context = service.context.as_str();
    let link = |(path, to): &'_ (String, String)| Some((in_context(context, path)?.to_owned(), to.clone()));
    let links: Vec<(String, String)> = newer.links.iter().filter_map(link).collect();
    inputs.follow(&links.iter().map(|(path, to)| (path.as_str(), to.as_str())).collect::<Vec<_>>());
    let [was, is] = sides.map(|(read, which)| rules(read, which, service));
    let (was, is) = (was?, is?);
    let is_read = |path: &str| inputs.reads(path).is_some();
    if in_context(context, path).is_some_and(|path| is_read(path) && !is.excludes(path)) {
        return Ok(Some("a stage reads it".into()));
    }
    if is_dockerfile || was == is {
        return Ok(None);
    }
    let files = (newer.files)().ok_or("the list of files is unknown")?;
    let mut seen = HashSet::new();
    for file in files.into_iter().filter_map(|file| in_context(context, file)) {
        // An empty folder is copied, too.
        let folders = file.match_indices('/').map(|(at, _)| &file[..at]);
        for path in folders.chain([file]).filter(|path| seen.insert(*path)) {
            match is_read(path).then(|| (was.excludes(path), is.excludes(path))) {
                Some((true, false)) => return Ok(Some(format!("lets in {path}"))),
                Some((false, true)) => return Ok(Some(format!("keeps out {path}"))),
                Some((false, false)) => match (was.empties(path), is.empties(path)) {
                    (true, false) => return Ok(Some(format!("lets in what {path} holds"))),
                    (false, true) => return Ok(Some(format!("makes {path} an empty file"))),
                    _ => {}
                },
                _ => {}
            }
        }
    }
    Ok(None)
}

/// The rules for the context on one side.
fn rules(read: Read<'_>, which: &str, service: &Service) -> Result<Dockerignore, Doubt> {
    for file in candidates(service) {
        if let Some(text) = read_at(read, which, file.as_str())? {
            return Dockerignore::parse(&text)
                .map_err(|(line, why)| format!("the {which} {file}:{line}: {why}").into());
        }
    }
    Ok(Dockerignore::default())
}

fn read_at(read: Read<'_>, which: &str, file: &str) -> Result<Option<String>, Doubt> {
    read(file).map_err(|why| format!("the {which} {file} can't be read: {why}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Project;

    const DOCKERFILE: &str =
        "FROM a AS base\nCOPY api/src /src\nFROM base AS api\nCOPY api/*.lock ./\nFROM b AS web\nCOPY web /web\n";
    const FILES: [&str; 6] = ["api/src/a", "api/src/t/b", "api/uv.lock", "web/x", "docs/y", "sub/link"];

    type Tree<'a> = &'a [(&'a str, &'a str)];

    fn told(old: Option<Tree<'_>>, new: Tree<'_>, path: &str) -> [Option<Touch>; 2] {
        let text = "[project]\nname = \"demo\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
                    [services.api]\nimage = \"api\"\ntarget = \"api\"\npaths = [\"**\"]\n\
                    [services.web]\nimage = \"web\"\ntarget = \"web\"\npaths = [\"**\"]\n";
        let project = Project::parse("services.toml".into(), text).unwrap();
        let read = |tree: Tree<'_>, path: &str| match tree.iter().find(|(name, _)| *name == path) {
            Some((_, "?")) => Err("no".into()),
            found => Ok(found.map(|(_, text)| (*text).to_owned())),
        };
        let (old, new) = (old.map(|tree| move |path: &str| read(tree, path)), |path: &str| read(new, path));
        let old = old.as_ref().map(|old| old as Read<'_>);
        let newer = Newer {
            platforms: vec!["linux/amd64"],
            links: &[],
            files: &|| Some(FILES.to_vec()),
            parsed: &DockerfileCache::default(),
        };
        let of = |name: &str| touch(project.service(name).unwrap(), path, Sides { old, new: &new }, &newer);
        [of("api"), of("web")]
    }

    /// The effect of the change of one file on both services; an empty text means
    /// none.
    fn change(file: &str, from: &str, to: &str) -> [String; 2] {
        let tree = |text| [("Dockerfile", DOCKERFILE), (file, text)];
        let pick = |text| if file == "Dockerfile" { vec![("Dockerfile", text)] } else { tree(text).to_vec() };
        told(Some(&pick(from)), &pick(to), file).map(|touch| match touch {
            Some(Touch::Something(what)) => what,
            Some(Touch::Nothing) => String::new(),
            None => "none of its files".into(),
        })
    }

    #[test]
    fn a_stage_counts_for_whom_it_makes() {
        let edited = |from: &str, to: &str| change("Dockerfile", DOCKERFILE, &DOCKERFILE.replacen(from, to, 1));
        assert_eq!(edited("FROM b AS", "FROM c AS"), ["", "stage web, line 5"]);
        assert_eq!(edited("/src /src", "/src /s"), ["stage base, line 2", ""]);
        assert_eq!(edited("FROM base", "# more\n\nFROM  base"), ["", ""]);
        assert_eq!(told(Some(&[]), &[], "docs/y"), [None, None]);
    }

    #[test]
    fn a_rule_counts_for_whom_its_files_are_read() {
        let ignore = |from: &str, to: &str| change(".dockerignore", from, to);
        let (whole, emptied) = ("**\n!**/*.lock\n", "**\n!**/*.lock\n*\n");
        assert_eq!(ignore(whole, emptied), ["makes api/uv.lock an empty file", ""]);
        assert_eq!(ignore(emptied, whole), ["lets in what api/uv.lock holds", ""]);
        assert_eq!(ignore("", "**/t\n"), ["keeps out api/src/t", ""]);
        assert_eq!(ignore("**/t\n", ""), ["lets in api/src/t", ""]);
        assert_eq!(ignore("web\n", "*\n!api\n!web\n"), ["", "lets in web"]);
        assert_eq!(ignore("", "docs\n*.md\n"), ["", ""]);
        assert_eq!(ignore("web/*\n", "web\n"), ["", "keeps out web"]);
        // Files and folders are compared apart: a kept-out folder may contain an
        // included file.
        assert_eq!(ignore("api/src\n!api/src/a\n", "api/src\n!api/src/a\n# more\n"), ["", ""]);
        assert_eq!(ignore("", "api/*.lock\n"), ["keeps out api/uv.lock", ""]);
        let same = ignore("x", "[");
        assert!(same[0].starts_with("the newer .dockerignore:1: "), "{same:?}");
    }

    #[test]
    fn the_first_ignore_file_counts_and_the_other_does_not() {
        let (own, other) = ("Dockerfile.dockerignore", ".dockerignore");
        let old = [("Dockerfile", DOCKERFILE), (other, "web\n")];
        let nothing = [Some(Touch::Nothing), Some(Touch::Nothing)];
        let lets_in = || Some(Touch::Something("lets in web".into()));
        let new = [("Dockerfile", DOCKERFILE), (own, "docs\n"), (other, "web\n")];
        assert_eq!(told(Some(&old), &new, own), [Some(Touch::Nothing), lets_in()]);
        let same = [("Dockerfile", DOCKERFILE), (own, "web\n"), (other, "web\n")];
        assert_eq!(told(Some(&old), &same, own), nothing);
        let hidden = [("Dockerfile", DOCKERFILE), (own, "web\n"), (other, "api\n")];
        assert_eq!(told(Some(&same), &hidden, other), nothing);
    }

    #[test]
    fn a_file_that_a_stage_copies_counts_whatever_it_says() {
        let copies = |rest: &str| format!("FROM a AS api\nCOPY {rest} /\nFROM b AS web\n");
        let something = |what: &str| Some(Touch::Something(what.to_owned()));
        for (source, ignore, expected) in [
            (".", "", something("a stage reads it")),
            ("Dockerfile", "", something("a stage reads it")),
            (".", "Dockerfile\n", Some(Touch::Nothing)),
            ("docs", "", Some(Touch::Nothing)),
        ] {
            let (old, new) = (copies(source), format!("# more\n{}", copies(source)));
            let [old, new] = [&old, &new].map(|text| [("Dockerfile", text.as_str()), (".dockerignore", ignore)]);
            assert_eq!(told(Some(&old), &new, "Dockerfile"), [expected, Some(Touch::Nothing)], "{source}");
        }
    }

    #[test]
    fn what_nobody_can_tell_counts() {
        let tree = [("Dockerfile", DOCKERFILE)];
        for (old, new, expected) in [
            (None, &tree[..], "a list of files does not contain the older version"),
            (Some(&tree[..0]), &tree, "there is no older Dockerfile"),
            (Some(&tree), &tree[..0], "there is no newer Dockerfile"),
            (Some(&[("Dockerfile", "?")]), &tree, "the older Dockerfile can't be read: no"),
            (Some(&[("Dockerfile", "FROM")]), &tree, "the older one: 1:1: FROM requires either one or three arguments"),
            (Some(&[("Dockerfile", "FROM a\n")]), &tree, "the older one:  no stage `api`; the stages are: "),
        ] {
            assert_eq!(told(old, new, "Dockerfile")[0], Some(Touch::Something(expected.to_owned())));
        }
    }

    #[test]
    fn each_file_answers_for_itself_where_both_change() {
        let more = format!("# more\n{DOCKERFILE}");
        let (old, new) = ([("Dockerfile", DOCKERFILE)], [("Dockerfile", more.as_str()), (".dockerignore", "web\n")]);
        assert_eq!(told(Some(&old), &new, "Dockerfile"), [Some(Touch::Nothing), Some(Touch::Nothing)]);
        let out = Some(Touch::Something("keeps out web".into()));
        assert_eq!(told(Some(&old), &new, ".dockerignore"), [Some(Touch::Nothing), out]);
    }
}
