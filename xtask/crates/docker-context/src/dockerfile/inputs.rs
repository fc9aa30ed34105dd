//! What instructions read from the build context, as data. All paths start at the
//! root of the context, which may be a folder of the repository.

use std::collections::{HashMap, HashSet};

use crate::dockerignore::Dockerignore;
use crate::glob::{Glob, clean, has_wildcards};

/// Something that the Dockerfile alone does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line in the Dockerfile, from 1.
    pub line: usize,
    /// What it is, and what is assumed.
    pub message: String,
}

/// What a target can read, by instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// In the order of the Dockerfile.
    pub inputs: Vec<Input>,
    /// Where the whole context is assumed.
    pub warnings: Vec<Warning>,
    /// What is fetched from elsewhere and may change from one build to the next.
    /// Base images with a known name are not listed.
    pub moving: Vec<Warning>,
    /// The images in FROM whose configuration is unknown. Their ENV may be in
    /// every word, and their ONBUILD may read every file.
    pub unknown_bases: Vec<String>,
    /// The stages that the target reaches, by name or number.
    pub stages: Vec<String>,
}

/// One COPY, ADD or bind mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The line in the Dockerfile, from 1.
    pub line: usize,
    /// The instruction as written, on one line.
    pub instruction: String,
    /// What it names in the context.
    pub sources: Vec<CopySource>,
}

/// One source of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// As written.
    pub text: String,
    place: SourcePath,
    /// `--parents`: limits what is copied.
    only: Option<Dockerignore>,
    /// `--exclude`: what is not copied.
    without: Option<Dockerignore>,
    /// The targets of symbolic links.
    linked: Vec<SourcePath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SourcePath {
    Everything,
    /// A file, or a folder and everything in it.
    Below(String),
    /// Every file or folder that matches the pattern.
    Matching(String, Box<Glob>),
}

impl Inputs {
    /// Adds what a build for another platform reads, which is mostly the same.
    pub fn add(&mut self, other: Self) {
        let name = |it: &Input| (it.line, it.instruction.clone());
        let mut known: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, input) in self.inputs.iter().enumerate() {
            known.entry(name(input)).or_default().push(at);
        }
        for input in other.inputs {
            let same = known.get(&name(&input)).into_iter().flatten().any(|at| self.inputs[*at] == input);
            if !same {
                self.inputs.push(input);
            }
        }
        let bases = other.unknown_bases.into_iter().filter(|it| !self.unknown_bases.contains(it)).collect::<Vec<_>>();
        self.unknown_bases.extend(bases);
        let stages = other.stages.into_iter().filter(|it| !self.stages.contains(it)).collect::<Vec<_>>();
        self.stages.extend(stages);
        // One ONBUILD trigger runs in many stages.
        for (warnings, more) in [(&mut self.warnings, other.warnings), (&mut self.moving, other.moving)] {
            warnings.extend(more);
            let mut seen = HashSet::new();
            warnings.retain(|it| seen.insert((it.line, it.message.clone())));
            warnings.sort_by_key(|it| it.line);
        }
    }

    /// Another frontend reads the Dockerfile, and its rules are unknown.
    pub fn read_by_others(&mut self, line: usize, syntax: &str) {
        let instruction = format!("# syntax={syntax}");
        let message =
            format!("`{instruction}`: what this frontend reads is not known; taken as everything in the context");
        self.inputs.push(Input { line, instruction, sources: vec![CopySource::everything(syntax)] });
        self.warnings.push(Warning { line, message });
    }

    /// The first instruction that reads the file at `path`.
    pub fn reads(&self, path: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.reads(path))
    }

    /// Every path that is read starts with one of these.
    pub fn heads(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().flat_map(|input| &input.sources).flat_map(CopySource::heads)
    }

    /// The sources that name a path of which the context holds nothing.
    pub fn missing(&self, is_there: impl Fn(&CopySource) -> bool) -> Vec<(&Input, &CopySource)> {
        let sources = self.inputs.iter().flat_map(|input| input.sources.iter().map(move |source| (input, source)));
        sources.filter(|(_, source)| !source.is_everything() && !is_there(source)).collect()
    }

    /// Adds the targets of the context's symbolic links (path, target) where a
    /// source names a link or passes through one. Links inside a copied folder
    /// are copied as links.
    pub fn follow(&mut self, links: &[(&str, &str)]) {
        let links: HashMap<&str, &str> = links.iter().copied().collect();
        for source in self.inputs.iter_mut().flat_map(|input| &mut input.sources) {
            source.follow(&links);
        }
    }
}

impl Input {
    /// Whether it reads the file at `path`.
    pub fn reads(&self, path: &str) -> bool {
        self.sources.iter().any(|source| source.reads(path))
    }
}

impl CopySource {
    /// The whole context.
    pub fn everything(text: &str) -> Self {
        Self { text: text.into(), place: SourcePath::Everything, only: None, without: None, linked: Vec::new() }
    }

    /// A source with its variables replaced.
    ///
    /// # Errors
    ///
    /// If BuildKit's rules for this pattern are unknown; the message says why.
    pub fn of(text: &str, expanded: &str, parents: bool) -> Result<Self, String> {
        let mut source = Self::everything(text);
        if parents {
            // The pivot point: nothing to the left of `/./` is a parent.
            let (base, pattern) = expanded.split_once("/./").unwrap_or(("", expanded));
            source.place = SourcePath::of(base)?;
            let pattern = clean(&format!("/{pattern}"));
            match pattern.trim_start_matches('/') {
                "" => {}
                pattern if pattern.starts_with('!') => return Err("`!` has no meaning here".into()),
                pattern => source.only = Some(Dockerignore::of([pattern])?),
            }
        } else {
            source.place = SourcePath::of(expanded)?;
        }
        Ok(source)
    }

    /// The source of a bind mount, which is a path and never a pattern.
    pub fn mounted(text: &str, expanded: &str) -> Self {
        Self { place: SourcePath::below(expanded), ..Self::everything(text) }
    }

    /// Applies `--exclude`.
    pub fn without(self, excluded: Option<Dockerignore>) -> Self {
        Self { without: excluded, ..self }
    }

    /// Whether it is the whole context, and so says nothing about a single file.
    pub fn is_everything(&self) -> bool {
        self.place == SourcePath::Everything && self.only.is_none()
    }

    /// The path or pattern in the context, with its variables replaced.
    pub fn named(&self) -> &str {
        match &self.place {
            SourcePath::Below(path) | SourcePath::Matching(path, _) => path,
            SourcePath::Everything => &self.text,
        }
    }

    /// What paths begin with that it covers: one of these.
    pub fn heads(&self) -> impl Iterator<Item = &str> {
        self.linked.iter().chain([&self.place]).map(SourcePath::head)
    }

    /// Whether it covers the file at `path`.
    pub fn reads(&self, path: &str) -> bool {
        if self.linked.iter().any(|place| place.rest(path).is_some()) {
            return true;
        }
        let Some(rest) = self.place.rest(path) else { return false };
        if self.only.as_ref().is_some_and(|only| !only.excludes(rest)) {
            return false;
        }
        let Some(without) = &self.without else { return true };
        match (&self.place, rest) {
            // `COPY --exclude=*.txt hom* /`: the pattern matches files themselves, so
            // their names are held against `--exclude`.
            (SourcePath::Matching(..), "") => !without.excludes(path.rsplit('/').next().unwrap_or_default()),
            (_, "") => true,
            (_, rest) => !without.excludes(rest),
        }
    }

    fn follow(&mut self, links: &HashMap<&str, &str>) {
        match &self.place {
            // `--parents` copies the folders on the way, and links among them are
            // not followed.
            place if self.only.is_some() => {
                let through = |path: &&&str| {
                    place.rest(path).is_some() || matches!(place, SourcePath::Below(place) if is_below(place, path))
                };
                let places: Vec<_> = links.keys().filter(through).flat_map(|path| resolved(path, links).0).collect();
                self.linked.extend(places.into_iter().map(|path| SourcePath::below(&path)));
            }
            SourcePath::Everything => {}
            SourcePath::Below(path) => {
                let (places, _) = resolved(path, links);
                self.linked.extend(places.iter().filter(|place| *place != path).map(|place| SourcePath::below(place)));
            }
            SourcePath::Matching(text, glob) => {
                // BuildKit follows links in the folders before the first
                // wildcard. From there on it matches what it finds and follows no
                // link.
                let plain =
                    text.split('/').take_while(|part| !has_wildcards(part)).map(|part| part.len() + 1).sum::<usize>();
                let (above, described) = (text[..plain].trim_end_matches('/'), &text[plain..]);
                let (mut places, end) = resolved(above, links);
                let moved = (!places.iter().all(|place| place == above)).then(|| {
                    places.pop();
                    SourcePath::of(&format!("{}/{described}", escaped(&end)))
                });
                let moved = moved.and_then(Result::ok);
                let glob = if let Some(SourcePath::Matching(_, glob)) = &moved { glob } else { glob };
                places.retain(|place| place != above);
                places.extend(links.keys().filter(|link| glob.hits(link)).flat_map(|link| resolved(link, links).0));
                self.linked.extend(places.iter().map(|place| SourcePath::below(place)));
                self.linked.extend(moved);
            }
        }
    }
}

impl SourcePath {
    fn of(text: &str) -> Result<Self, String> {
        if has_wildcards(text) {
            let text = rooted(text);
            let glob = Glob::go(&text)?;
            return Ok(Self::Matching(text, Box::new(glob)));
        }
        if text.contains('\\') {
            return Err("a `\\` outside of a pattern is not understood here".into());
        }
        Ok(Self::below(text))
    }

    fn below(text: &str) -> Self {
        match rooted(text) {
            path if path.is_empty() => Self::Everything,
            path => Self::Below(path),
        }
    }

    fn head(&self) -> &str {
        match self {
            Self::Everything => "",
            Self::Below(place) => place,
            Self::Matching(_, glob) => glob.head(),
        }
    }

    /// The rest of the path below this place; nothing for the place itself.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let cut = |at: usize| path[at..].trim_start_matches('/');
        match self {
            Self::Everything => Some(path),
            Self::Below(place) => is_below(path, place).then(|| cut(place.len())),
            Self::Matching(_, glob) => glob.hits_prefix(path).map(cut),
        }
    }
}

/// The path from the root of the context, which `..` never leaves.
fn rooted(path: &str) -> String {
    clean(&format!("/{path}")).trim_start_matches('/').to_owned()
}

/// Where a path leads: the links on the way, and the final place, also alone.
fn resolved(path: &str, links: &HashMap<&str, &str>) -> (Vec<String>, String) {
    let (mut places, mut here) = (Vec::new(), String::new());
    let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => {}
            ".." => here.truncate(here.rfind('/').unwrap_or(0)),
            part => {
                let next = if here.is_empty() { part.to_owned() } else { format!("{here}/{part}") };
                match links.get(next.as_str()) {
                    // A link to itself leads nowhere.
                    Some(target) if places.len() < 64 => {
                        if target.starts_with('/') {
                            here.clear();
                        }
                        ahead.extend(target.split('/').rev().map(str::to_owned));
                        places.push(next);
                    }
                    _ => here = next,
                }
            }
        }
    }
    places.push(here.clone());
    (places, here)
}

/// A pattern that matches this one path.
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for c in path.chars() {
        text.extend("*?[\\".contains(c).then_some('\\'));
        text.push(c);
    }
    text
}

fn is_below(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::{BuildOptions, inputs};

    #[test]
    fn what_is_read_begins_with_one_of_the_heads() {
        let found = inputs(b"FROM a\nCOPY lib apps/*/x /d/\nADD *.txt /\n", None, &BuildOptions::NOTHING).unwrap();
        assert_eq!(found.heads().collect::<Vec<_>>(), ["lib", "apps/", ""]);
    }

    #[test]
    fn a_link_on_the_way_to_what_keeps_its_parents_is_read() {
        for (link, read) in [("p", "p"), ("p/a/b/x.c", "y"), ("p/a", "p/a")] {
            let mut found =
                inputs(b"FROM a\nCOPY --parents ./p/a/./b/*.c /d/\n", None, &BuildOptions::NOTHING).unwrap();
            found.follow(&[(link, "/y"), ("z", "/other")]);
            assert_eq!([read, "z", "other"].map(|path| found.reads(path).is_some()), [true, false, false], "{link}");
        }
    }

    /// The engine crashes on an empty pattern. In RUN the quotes belong to the
    /// pattern.
    #[test]
    fn quotes_are_something_to_cut_in_run_and_nothing_elsewhere() {
        let ends =
            |line: &str| inputs(format!("FROM a\nARG A=x\n{line}\n").as_bytes(), None, &BuildOptions::NOTHING).is_ok();
        assert!(ends("RUN echo ${A#''}") && !ends("RUN echo ${A#}") && !ends("ENV B=${A#''}"));
    }
}
