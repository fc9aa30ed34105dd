//! The fingerprint: equal fingerprints mean equal images.
//!
//! The filter that decides which changes affect a service also decides which
//! files count here. So for every tracked path: the filter includes it if and
//! only if a change of its bytes or its mode changes the fingerprint. The
//! Dockerfile and the ignore file count by their effect on the target: its
//! recipe, and the files that its stages have.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use docker_context::dockerfile::Recipe;
use hmac_sha256::Hash;

use crate::model::base::Base;
use crate::model::config::Service;
use crate::model::dockerfile_changes;
use crate::model::platform::Platform;

/// Format version. Bump it when the same inputs must give a new fingerprint.
const FORMAT: &str = "4";

/// Letters that are not hexadecimal digits, so that nobody mistakes it for a git
/// commit.
const ALPHABET: &[u8; 16] = b"zyxwvutsrqponmlk";

/// The fingerprint: 32 letters from k to z, 128 bits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file or a folder of the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Its path from the root; that of a folder ends in `/`.
    pub path: String,
    /// Its mode: `100644`, `100755` or other permissions; `40755` for a folder,
    /// `120000` for a link, `160000` for a submodule.
    pub mode: String,
    /// The id of its content.
    pub id: String,
}

/// Everything that determines an image.
#[derive(Clone)]
pub struct FingerprintInputs<'a> {
    /// Its definition: context, labels and the default target.
    pub service: &'a Service,
    /// The target, if it is not the service's own.
    pub target: Option<&'a str>,
    /// How the Dockerfile builds this target.
    pub recipe: &'a Recipe,
    /// Whether a stage has a file or folder in its context and reads it.
    pub is_read: &'a dyn Fn(&str) -> bool,
    /// Whether the context has a file, but empty.
    pub is_emptied: &'a dyn Fn(&str) -> bool,
    /// The build arguments, with their values.
    pub build_args: &'a BTreeMap<String, String>,
    /// The platforms.
    pub platforms: &'a [Platform],
    /// The base images.
    pub bases: &'a [Base],
    /// The files of the working tree. Those that the filter excludes don't count.
    pub files: &'a [Cow<'a, File>],
    /// Folders that a stage reads. They count whatever the filter says.
    pub folders: &'a [File],
}

/// The fingerprint of an image.
pub fn fingerprint(inputs: &FingerprintInputs<'_>) -> Fingerprint {
    // Exhaustive patterns, here and below, so that nobody forgets a new field.
    let FingerprintInputs {
        service,
        target,
        recipe,
        is_read,
        is_emptied,
        build_args,
        platforms,
        bases,
        files,
        folders,
    } = inputs;
    let Service {
        name,
        title,
        image: _, // where it goes, not what it is
        dockerfile,
        target: _, // the one above is what counts
        target_line: _,
        context,
        paths,
        path_lines: _,
        workflow: _,
        platforms: _, // as above
        emulate: _,
        size_budget: _,
        run: _,
        test: _,
        lines: _,
    } = service;
    let mut hash = Words(Hash::new());
    hash.list("format", [FORMAT]);
    hash.list("service", [name.as_str(), title, dockerfile.as_str(), context.as_str()]);
    hash.list("target", *target);
    hash.list("recipe", recipe.forms());
    for (key, value) in *build_args {
        hash.list("build argument", [key.as_str(), value]);
    }
    let mut names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    names.sort();
    hash.list("platforms", names.iter().map(String::as_str));
    for Base { reference, stand_in, id, config: _ } in *bases {
        hash.list("base", [Some(reference), stand_in.as_ref(), id.as_ref()].into_iter().flatten().map(String::as_str));
    }
    let definition = dockerfile_changes::definition(service);
    // A Dockerfile that is copied counts like any other file.
    let is_meant_only = |path: &str| definition.iter().any(|file| file == path) && !is_read(path);
    let counts = |file: &&File| paths.includes(&file.path) && !is_meant_only(&file.path);
    let files = files.iter().map(AsRef::as_ref).filter(counts);
    let mut counted: Vec<&File> = files.chain(*folders).collect();
    counted.sort();
    counted.dedup();
    for File { path, mode, id } in counted {
        let read = match is_read(path) {
            true if is_emptied(path) => "emptied",
            true => "read",
            false => "",
        };
        hash.list("file", [path.as_str(), mode, id, read]);
    }
    hash.end()
}

/// Hashes lists of words without ambiguity.
struct Words(Hash);

impl Words {
    fn list<'a>(&mut self, name: &'a str, words: impl IntoIterator<Item = &'a str>) {
        let mut text = String::with_capacity(256);
        for word in [name].into_iter().chain(words) {
            number(&mut text, word.len());
            text.push(':');
            text.push_str(word);
        }
        text.push('\n');
        self.0.update(text);
    }

    fn end(self) -> Fingerprint {
        let letters = self.0.finalize().into_iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
        Fingerprint(letters.map(|nibble| char::from(ALPHABET[usize::from(nibble)])).collect())
    }
}

/// `write!` is ten times slower, and each file needs three numbers.
fn number(text: &mut String, number: usize) {
    if number > 9 {
        self::number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Project;
    use docker_context::dockerfile;

    fn project(paths: &str) -> Project {
        let text = format!(
            "[project]\nname = \"demo\"\nregistry = \"ghcr.io\"\nowner = \"demo\"\n\
             [services.api]\nimage = \"demo-api\"\npaths = {paths}\n"
        );
        Project::parse("services.toml".into(), &text).unwrap()
    }

    fn file(path: &str, mode: &str, id: &str) -> File {
        File { path: path.into(), mode: mode.into(), id: id.into() }
    }

    fn of(project: &Project, files: &[File]) -> String {
        let service = project.service("api").unwrap();
        let (build_args, platforms, bases) = (BTreeMap::new(), [Platform::of_this_machine()], [Base::upstream("a")]);
        let target = None;
        fingerprint(&FingerprintInputs {
            service,
            target,
            recipe: &Recipe::default(),
            is_read: &|path| path != ".dockerignore",
            is_emptied: &|_| false,
            build_args: &build_args,
            platforms: &platforms,
            bases: &bases,
            files: &files.iter().map(Cow::Borrowed).collect::<Vec<_>>(),
            folders: &[],
        })
        .to_string()
    }

    /// A length that is wrong lets one list be read as another.
    #[test]
    fn a_number_is_written_as_everybody_writes_it() {
        for number in [0, 1, 9, 10, 11, 19, 20, 99, 100, 101, 4096, usize::MAX] {
            let mut text = "a".to_owned();
            super::number(&mut text, number);
            assert_eq!(text, format!("a{number}"));
        }
    }

    #[test]
    fn it_can_not_be_taken_for_a_commit() {
        let word = of(&project("[\"**\"]"), &[]);
        assert_eq!(word.len(), 32);
        assert!(word.chars().all(|c| ('k'..='z').contains(&c)), "{word}");
    }

    /// The design's rule: the filter includes a path if and only if a change of
    /// its bytes or its mode changes the fingerprint.
    #[test]
    fn exactly_the_files_of_the_filter_count() {
        const NAMES: [&str; 7] = ["a", "b", "a/b", "a/t/b", "b/a", "é", "a b"];
        const PATTERNS: [&str; 6] = ["**", "a/**", "!a/t/**", "b*", "!**/a", "é"];
        let (mut counted, mut left_out) = (0, 0);
        crate::model::cases::cases(500, |u| {
            let mut patterns = vec!["a/**"];
            for _ in 0..u.int_in_range(0..=4)? {
                patterns.push(u.choose(&PATTERNS)?);
            }
            let project = project(&format!("{patterns:?}"));
            let mut files: Vec<File> = Vec::new();
            for name in NAMES {
                if u.arbitrary()? {
                    files.push(file(name, "100644", "1"));
                }
            }
            if files.is_empty() {
                return Ok(());
            }
            let before = of(&project, &files);
            let at = u.choose_index(files.len())?;
            let mut reversed = files.clone();
            reversed.reverse();
            assert_eq!(of(&project, &reversed), before, "the order of the list says nothing");
            let mut changed = files.clone();
            match u.int_in_range(0..=2)? {
                0 => changed[at].id = "2".into(),
                1 => changed[at].mode = "100755".into(),
                _ => _ = changed.remove(at),
            }
            let includes = project.service("api").unwrap().paths.includes(&files[at].path);
            assert_eq!(of(&project, &changed) != before, includes, "{patterns:?} {}", files[at].path);
            if includes {
                counted += 1;
            } else {
                left_out += 1;
            }
            Ok(())
        });
        assert!(counted > 20 && left_out > 20, "{counted} {left_out}");
    }

    #[test]
    fn what_says_how_it_is_built_counts_as_a_file_only_where_a_stage_copies_it() {
        let project = project("[\"**\"]");
        let (none, recipe) = (BTreeMap::new(), Recipe::default());
        let of = |path: &str, id: &str, is_read: &dyn Fn(&str) -> bool| {
            let files = [Cow::Owned(file(path, "100644", id))];
            let service = project.service("api").unwrap();
            let (platforms, bases) = ([Platform::of_this_machine()], []);
            fingerprint(&FingerprintInputs {
                service,
                target: None,
                recipe: &recipe,
                is_read,
                is_emptied: &|_| false,
                build_args: &none,
                platforms: &platforms,
                bases: &bases,
                files: &files,
                folders: &[],
            })
        };
        for path in ["Dockerfile", "Dockerfile.dockerignore", ".dockerignore"] {
            assert_eq!(of(path, "1", &|_| false), of(path, "2", &|_| false), "{path}");
            assert_ne!(of(path, "1", &|_| true), of(path, "2", &|_| true), "{path}");
        }
        assert_ne!(of("a/Dockerfile", "1", &|_| false), of("a/Dockerfile", "2", &|_| false));
        // What the ignore file includes or excludes.
        assert_ne!(of("a", "1", &|_| false), of("a", "1", &|_| true));
    }

    #[test]
    fn everything_else_that_makes_an_image_counts() {
        let project = project("[\"**\"]");
        let service = project.service("api").unwrap();
        let none = BTreeMap::new();
        let empty = BTreeMap::from([("K".to_owned(), String::new())]);
        let one = BTreeMap::from([("K".to_owned(), "1".to_owned())]);
        let [amd, arm]: [Platform; 2] = [("linux/amd64").parse().unwrap(), ("linux/arm64").parse().unwrap()];
        let [amd, arm] = [[amd], [arm]];
        let base =
            |reference: &str, id: Option<&str>| [Base { id: id.map(str::to_owned), ..Base::upstream(reference) }];
        let bases = [base("a", None), base("b", None), base("a", Some("1")), base("a", Some("2"))];
        let files = [];
        let folder = [file("a/", "40755", "")];
        let recipe =
            |text: &str| dockerfile::recipe(text.as_bytes(), None, &dockerfile::BuildOptions::NOTHING).unwrap();
        let recipes = [recipe("FROM a"), recipe("FROM b")];
        let plain = FingerprintInputs {
            service,
            target: None,
            recipe: &recipes[0],
            is_read: &|_| true,
            is_emptied: &|_| false,
            build_args: &none,
            platforms: &amd,
            bases: &bases[0],
            files: &files,
            folders: &[],
        };
        let titled = Service { title: "Other".into(), ..service.clone() };
        let elsewhere = Service { dockerfile: "Other".into(), ..service.clone() };
        let below = Service { context: "sub".into(), ..service.clone() };
        let renamed = Service { name: "other".into(), ..service.clone() };
        let all = [
            plain.clone(),
            FingerprintInputs { target: Some("x"), ..plain.clone() },
            FingerprintInputs { recipe: &recipes[1], ..plain.clone() },
            FingerprintInputs { folders: &folder, ..plain.clone() },
            FingerprintInputs { folders: &folder, is_read: &|_| false, ..plain.clone() },
            FingerprintInputs { folders: &folder, is_emptied: &|_| true, ..plain.clone() },
            FingerprintInputs { build_args: &empty, ..plain.clone() },
            FingerprintInputs { build_args: &one, ..plain.clone() },
            FingerprintInputs { platforms: &arm, ..plain.clone() },
            FingerprintInputs { bases: &bases[1], ..plain.clone() },
            FingerprintInputs { bases: &bases[2], ..plain.clone() },
            FingerprintInputs { bases: &bases[3], ..plain.clone() },
            FingerprintInputs { service: &titled, ..plain.clone() },
            FingerprintInputs { service: &elsewhere, ..plain.clone() },
            FingerprintInputs { service: &below, ..plain.clone() },
            FingerprintInputs { service: &renamed, ..plain.clone() },
        ];
        let words: std::collections::BTreeSet<String> = all.iter().map(|it| fingerprint(it).to_string()).collect();
        assert_eq!(words.len(), all.len());
    }
}
