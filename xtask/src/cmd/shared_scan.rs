//! One look at the tree for all services that a command asks about: git is
//! asked once, every file is looked at once, and each service sees of it what a
//! build of its own would.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::{Arc, OnceLock};

use camino::{Utf8Path, Utf8PathBuf};

use crate::cmd::definition::{Context, Definition};
use crate::ctx::Ctx;
use crate::exec::file_stats::{self, FileStats};
use crate::exec::worktree::{self, LINK, WorkTree};
use crate::model::config::Service;
use crate::model::content_cache::FileStat;
use crate::model::diagnostic::Diagnostic;
use crate::model::doubt::Doubt;
use crate::model::fingerprint::File;
use crate::model::heads::apart;
use crate::model::visibility::{self, View, Visibility};

/// Where the two files of a service stand, and where it copies from.
type DefinitionPaths<'a> = (&'a Utf8Path, &'a Utf8Path);

/// What a command looks at.
pub struct SharedScan<'a> {
    ctx: &'a Ctx,
    definitions: BTreeMap<DefinitionPaths<'a>, Definition<'a>>,
    known: OnceLock<Result<Scan, Doubt>>,
    /// Where something is wrong with what all see, each is looked at alone.
    alone: BTreeMap<DefinitionPaths<'a>, OnceLock<Result<Scan, Doubt>>>,
}

/// What was seen.
pub struct Scan {
    /// All of it.
    pub tree: WorkTree,
    /// As filters know it, in the order of the paths, each with its place among
    /// what lies there; none: it is the same.
    of_filters: Option<Vec<(File, Option<usize>)>>,
    folders: Vec<usize>,
    links: Vec<usize>,
    gits: Vec<usize>,
    /// What each context holds; none: there is one definition, which sees all.
    views: Option<BTreeMap<(String, String), OnceLock<ContextView>>>,
}

struct ContextView {
    view: View,
    /// Files with several names, as this view has them.
    twins: BTreeMap<usize, String>,
}

/// What one service sees.
pub struct ServiceView<'k> {
    known: &'k Scan,
    shared: Option<&'k ContextView>,
    /// Its own two files and the folders on the way, where its context lacks them.
    own: Vec<usize>,
}

impl<'a> SharedScan<'a> {
    /// Reads how the services are built; those that can't be read are looked at
    /// alone.
    pub fn new<'s>(ctx: &'a Ctx, services: impl IntoIterator<Item = &'s &'a Service>) -> Self
    where
        'a: 's,
    {
        let mut definitions = BTreeMap::new();
        for service in services {
            let place = place(service);
            if !definitions.contains_key(&place)
                && let Ok(definition) = Definition::read(ctx, service)
            {
                definitions.insert(place, definition);
            }
        }
        let alone = definitions.keys().map(|place| (*place, OnceLock::new())).collect();
        Self { ctx, definitions, known: OnceLock::new(), alone }
    }

    /// How a service is built, as it was read.
    pub fn definition(&self, service: &'a Service) -> Result<Definition<'a>, Diagnostic> {
        match self.definitions.get(&place(service)) {
            Some(known) => Definition::sharing(self.ctx, service, Arc::clone(known.both())),
            None => Definition::read(self.ctx, service),
        }
    }

    /// The tree as all of them see it together, or why nobody knows.
    pub fn tree(&self) -> Result<&WorkTree, Doubt> {
        self.known().map(|known| &known.tree)
    }

    /// The same without asking git, and without reading any file.
    pub fn stats(&self) -> Result<FileStats, Doubt> {
        file_stats::walk(self.ctx, &CombinedContexts::of(&self.definitions.values().collect::<Vec<_>>()))
    }

    /// The word of the copies that BuildKit has of what a service sees; none:
    /// nobody knows what it sees, as behind a link.
    pub fn copy(&self, definition: &Definition<'_>) -> Option<u64> {
        let seen = self.seen_by(definition).ok().filter(|_| definition.linked(self.ctx).is_none())?;
        Some(seen.known.tree.copy)
    }

    /// What of that a service sees was touched since, for people.
    pub fn touched(&self, definition: &Definition<'_>) -> Option<String> {
        let told = || {
            let before = &self.seen_by(definition)?.known.tree.stats;
            // Whether it was looked into in vain says nothing: what came or went has touched it.
            let name =
                |path: &str| path.strip_suffix('/').filter(|path| path.ends_with('/')).unwrap_or(path).to_owned();
            let named = |(path, stat): &(String, FileStat)| (name(path), *stat);
            let is_seen = |(path, _): &(String, FileStat)| path.is_empty() || definition.holds(path);
            let before = before.iter().map(named).filter(is_seen).collect();
            let now = definition.stats(self.ctx)?.iter().map(named).collect();
            Ok::<_, Doubt>(file_stats::touched(&before, &now))
        };
        told().unwrap_or_else(|why| Some(format!("nobody knows what changed ({why})")))
    }

    fn known(&self) -> Result<&Scan, Doubt> {
        let all: Vec<_> = self.definitions.values().collect();
        self.known.get_or_init(|| Scan::look(self.ctx, &all)).as_ref().map_err(Clone::clone)
    }

    /// What a service sees of it.
    pub fn seen_by(&self, definition: &Definition<'_>) -> Result<ServiceView<'_>, Doubt> {
        let of_look = self.definitions.get(&place(definition.service));
        if !of_look.is_some_and(|it| Arc::ptr_eq(it.both(), definition.both())) {
            return Err(
                format!("{} or its ignore file changed while it was read", definition.service.dockerfile).into()
            );
        }
        let known = self.known().or_else(|why| {
            let is_it = |(of, _): &(&DefinitionPaths<'_>, _)| **of == place(definition.service);
            let (_, alone) = self.alone.iter().find(is_it).filter(|_| self.alone.len() > 1).ok_or(why)?;
            alone.get_or_init(|| Scan::look(self.ctx, &[definition])).as_ref().map_err(Clone::clone)
        });
        known.map(|known| known.seen_by(definition))
    }
}

fn place(service: &Service) -> DefinitionPaths<'_> {
    (&service.dockerfile, &service.context)
}

impl Scan {
    fn look(ctx: &Ctx, definitions: &[&Definition<'_>]) -> Result<Self, Doubt> {
        let tree = worktree::look(ctx, &CombinedContexts::of(definitions))?;
        // What they say must not have changed since it was read.
        definitions.iter().try_for_each(|definition| definition.stands(ctx))?;
        let of_filters = tree.of_filters();
        let contexts: Vec<_> = definitions.iter().map(|definition| key(definition)).collect();
        let views = (contexts.len() != 1).then(|| contexts.into_iter().map(|key| (key, OnceLock::new())).collect());
        let mut known = Self { tree, of_filters, folders: Vec::new(), links: Vec::new(), gits: Vec::new(), views };
        let is_folder = |at: &usize| known.file(*at).path.ends_with('/');
        known.folders = (0..known.len()).filter(is_folder).collect();
        known.links = (0..known.tree.lying.len()).filter(|at| known.tree.lying[*at].mode == LINK).collect();
        known.gits = known.tree.gits().collect();
        Ok(known)
    }

    fn len(&self) -> usize {
        self.of_filters.as_ref().map_or(self.tree.lying.len(), Vec::len)
    }

    fn file(&self, at: usize) -> &File {
        self.of_filters.as_ref().map_or_else(|| &self.tree.lying[at], |files| &files[at].0)
    }

    /// Its place among what lies there.
    fn lying(&self, at: usize) -> Option<usize> {
        self.of_filters.as_ref().map_or(Some(at), |files| files[at].1)
    }

    fn seen_by(&self, definition: &Definition<'_>) -> ServiceView<'_> {
        let WorkTree { lying, walked, .. } = &self.tree;
        let shared = self.views.as_ref().and_then(|views| views.get(&key(definition))).map(|view| {
            view.get_or_init(|| {
                let context = definition.context();
                let view = View::of(lying, walked, context.folder, &context);
                let sees = |at: usize| self.tree.listed[at] || view.sees(at);
                let twins = self.tree.twins_as_seen(sees).into_iter().collect();
                ContextView { view, twins }
            })
        });
        let mut seen = ServiceView { known: self, shared, own: Vec::new() };
        if shared.is_some() {
            let mut own = BTreeSet::new();
            for file in &definition.both().files {
                let found = [file.as_str().to_owned(), format!("{file}/")];
                let mut found =
                    found.iter().filter_map(|path| visibility::position(lying, path)).filter(|at| walked[*at]);
                if let Some(at) = found.next() {
                    let above = file.as_str().match_indices('/').map(|(at, _)| &file.as_str()[..=at]);
                    own.extend(above.filter_map(|folder| visibility::position(lying, folder)).chain([at]));
                }
            }
            seen.own = own.into_iter().filter(|at| !seen.sees(*at)).collect();
        }
        seen
    }
}

/// Services that agree on these see the same but for their own two files.
fn key(definition: &Definition<'_>) -> (String, String) {
    (definition.service.context.to_string(), format!("{:?}", definition.context().ignore))
}

impl<'k> ServiceView<'k> {
    /// Whether what lies at this place is seen.
    fn sees(&self, at: usize) -> bool {
        let Some(shared) = self.shared else { return true };
        self.known.tree.listed[at] || shared.view.sees(at) || self.own.contains(&at)
    }

    /// Whether it sees a file, or a folder whose path ends in `/`.
    pub fn has(&self, path: &str) -> bool {
        visibility::position(&self.known.tree.lying, path).is_some_and(|at| self.sees(at))
    }

    /// The files whose paths begin with one of these, as filters know them, in
    /// the order of their paths.
    pub fn files(&self, heads: &[String]) -> Vec<Cow<'k, File>> {
        self.places(heads).into_iter().flatten().filter_map(|at| self.file(at)).collect()
    }

    /// Where those stand whose paths begin with one of these.
    fn places(&self, heads: &[String]) -> Vec<Range<usize>> {
        let (known, mut from) = (self.known, 0);
        let mut of_head = |head: &str| {
            let first = |is_before: &dyn Fn(&File) -> bool, from: usize| {
                let (mut low, mut high) = (from, known.len());
                while low < high {
                    let middle = usize::midpoint(low, high);
                    if is_before(known.file(middle)) { low = middle + 1 } else { high = middle }
                }
                low
            };
            let start = first(&|file| file.path.as_str() < head, from);
            from = first(&|file| file.path.starts_with(head), start);
            start..from
        };
        apart(heads.iter().map(String::as_str)).into_iter().map(&mut of_head).collect()
    }

    /// A file, if it is seen.
    fn file(&self, at: usize) -> Option<Cow<'k, File>> {
        let file = self.known.file(at);
        let Some(lying) = self.known.lying(at) else { return Some(Cow::Borrowed(file)) };
        if !self.sees(lying) {
            return None;
        }
        Some(match self.shared.and_then(|shared| shared.twins.get(&lying)) {
            None => Cow::Borrowed(file),
            Some(id) => {
                let tree = &self.known.tree;
                Cow::Owned(tree.of_filter(&File { id: id.clone(), ..tree.lying[lying].clone() }))
            }
        })
    }

    /// The folders whose paths begin with one of these.
    pub fn folders(&self, heads: &[String]) -> impl Iterator<Item = Cow<'k, File>> {
        let folders = &self.known.folders;
        let of = move |places: Range<usize>| {
            let start = folders.partition_point(|at| *at < places.start);
            let end = folders.partition_point(|at| *at < places.end);
            &folders[start..end]
        };
        self.places(heads).into_iter().flat_map(of).filter_map(|at| self.file(*at))
    }

    /// Git's own folders, of this repository and of others in it.
    pub fn git_folders(&self) -> impl Iterator<Item = &'k str> {
        let known = self.known;
        known.gits.iter().filter(|at| self.sees(**at)).map(|at| known.tree.lying[*at].path.as_str())
    }

    /// Where the symbolic links lead, as they say it.
    pub fn links(&self) -> Vec<(String, String)> {
        let lying = &self.known.tree.lying;
        let links = self.known.links.iter().filter(|at| self.sees(**at)).map(|at| lying[*at].clone());
        worktree::links(&links.collect::<Vec<_>>())
    }
}

/// What several builds see. Only those are asked that a path can concern.
struct CombinedContexts<'d> {
    /// The files that say how they are built.
    files: BTreeSet<String>,
    /// Where contexts begin.
    begins: BTreeSet<String>,
    contexts: BTreeMap<&'d str, Vec<Context<'d>>>,
}

impl<'d> CombinedContexts<'d> {
    fn of(definitions: &[&'d Definition<'_>]) -> Self {
        let (mut files, mut begins) = (BTreeSet::new(), BTreeSet::new());
        let mut contexts: BTreeMap<&str, Vec<Context<'_>>> = BTreeMap::new();
        for definition in definitions {
            files.extend(definition.both().files.iter().map(Utf8PathBuf::to_string));
            let context = definition.context();
            begins.insert(format!("{}/", context.folder.trim_end_matches('/')));
            let of_folder = contexts.entry(context.folder.trim_end_matches('/')).or_default();
            if !of_folder.iter().any(|other| other.ignore == context.ignore) {
                of_folder.push(context);
            }
        }
        Self { files, begins, contexts }
    }

    fn contexts(&self, path: &str) -> impl Iterator<Item = &Context<'d>> {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]).chain([".", ""]);
        above.filter_map(|folder| self.contexts.get(folder)).flatten()
    }
}

impl Visibility for CombinedContexts<'_> {
    fn holds(&self, path: &str) -> bool {
        let is_on_the_way = |files: &BTreeSet<String>| {
            files
                .range::<str, _>((Bound::Included(path), Bound::Unbounded))
                .next()
                .is_some_and(|file| file.starts_with(path))
        };
        let is_own = match path.ends_with('/') {
            true => is_on_the_way(&self.files) || is_on_the_way(&self.begins),
            false => self.files.contains(path),
        };
        is_own || self.contexts(path).any(|context| context.holds(path))
    }

    fn holds_all(&self, folder: &str) -> bool {
        self.contexts(folder).any(|context| context.holds_all(folder))
    }
}
