//! Scans the tree once for all services of a command: it asks git once and looks
//! at each file once. Each service then sees only what its own build would see.

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

/// The paths of a service's Dockerfile and of its context.
type DefinitionPaths<'a> = (&'a Utf8Path, &'a Utf8Path);

/// The scan that the services of one command share.
pub struct SharedScan<'a> {
    ctx: &'a Ctx,
    definitions: BTreeMap<DefinitionPaths<'a>, Definition<'a>>,
    known: OnceLock<Result<Scan, Doubt>>,
    /// If the shared scan fails, each definition is scanned alone.
    alone: BTreeMap<DefinitionPaths<'a>, OnceLock<Result<Scan, Doubt>>>,
}

/// The result of a scan.
pub struct Scan {
    /// The whole tree.
    pub tree: WorkTree,
    /// The files under the names that filters use, sorted by path, each with its
    /// index in `tree.lying`. `None`: `tree.lying` is this list already.
    of_filters: Option<Vec<(File, Option<usize>)>>,
    folders: Vec<usize>,
    links: Vec<usize>,
    gits: Vec<usize>,
    /// The view of each context. `None`: there is only one definition, and it
    /// sees everything.
    views: Option<BTreeMap<(String, String), OnceLock<ContextView>>>,
}

struct ContextView {
    view: View,
    /// Ids of files with several names, as this view sees them.
    twins: BTreeMap<usize, String>,
}

/// The part of a scan that one service sees.
pub struct ServiceView<'k> {
    known: &'k Scan,
    shared: Option<&'k ContextView>,
    /// The service's own Dockerfile and ignore file with their parent folders,
    /// if its context does not hold them.
    own: Vec<usize>,
}

impl<'a> SharedScan<'a> {
    /// Reads the definitions of the services. A definition that can't be read is
    /// left out of the shared scan.
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

    /// The definition of a service, from the same reading as the scan.
    pub fn definition(&self, service: &'a Service) -> Result<Definition<'a>, Diagnostic> {
        match self.definitions.get(&place(service)) {
            Some(known) => Definition::sharing(self.ctx, service, Arc::clone(known.both())),
            None => Definition::read(self.ctx, service),
        }
    }

    /// The tree as all services see it together. `Err` says why the scan failed.
    pub fn tree(&self) -> Result<&WorkTree, Doubt> {
        self.known().map(|known| &known.tree)
    }

    /// The same without asking git or reading a file.
    pub fn stats(&self) -> Result<FileStats, Doubt> {
        file_stats::walk(self.ctx, &CombinedContexts::of(&self.definitions.values().collect::<Vec<_>>()))
    }

    /// The key of BuildKit's copy of the files that a service sees. `None`: we
    /// don't know what it sees, for example behind a link.
    pub fn copy(&self, definition: &Definition<'_>) -> Option<u64> {
        let seen = self.seen_by(definition).ok().filter(|_| definition.linked(self.ctx).is_none())?;
        Some(seen.known.tree.copy)
    }

    /// A message about the files that a service sees and that changed since the
    /// scan.
    pub fn touched(&self, definition: &Definition<'_>) -> Option<String> {
        let told = || {
            let before = &self.seen_by(definition)?.known.tree.stats;
            // Ignore whether the walk found nothing in a folder: the folder's
            // times show what came or went.
            let name =
                |path: &str| path.strip_suffix('/').filter(|path| path.ends_with('/')).unwrap_or(path).to_owned();
            let named = |(path, stat): &(String, FileStat)| (name(path), *stat);
            let is_seen = |(path, _): &(String, FileStat)| path.is_empty() || definition.holds(path);
            let before = before.iter().map(named).filter(is_seen).collect();
            let now = definition.stats(self.ctx)?.iter().map(named).collect();
            Ok::<_, Doubt>(file_stats::touched(&before, &now))
        };
        told().unwrap_or_else(|why| Some(format!("the changes are unknown ({why})")))
    }

    fn known(&self) -> Result<&Scan, Doubt> {
        let all: Vec<_> = self.definitions.values().collect();
        self.known.get_or_init(|| Scan::look(self.ctx, &all)).as_ref().map_err(Clone::clone)
    }

    /// The part that a service sees.
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
        // The Dockerfiles and ignore files must not have changed since they were
        // read.
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

    /// The index in `tree.lying`.
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

/// Services with an equal key see the same files, apart from their own
/// Dockerfile and ignore file.
fn key(definition: &Definition<'_>) -> (String, String) {
    (definition.service.context.to_string(), format!("{:?}", definition.context().ignore))
}

impl<'k> ServiceView<'k> {
    /// Whether the service sees the file with this index.
    fn sees(&self, at: usize) -> bool {
        let Some(shared) = self.shared else { return true };
        self.known.tree.listed[at] || shared.view.sees(at) || self.own.contains(&at)
    }

    /// Whether the service sees this file, or this folder if the path ends in
    /// `/`.
    pub fn has(&self, path: &str) -> bool {
        visibility::position(&self.known.tree.lying, path).is_some_and(|at| self.sees(at))
    }

    /// The files whose paths begin with one of `heads`, under the names that
    /// filters use, sorted by path.
    pub fn files(&self, heads: &[String]) -> Vec<Cow<'k, File>> {
        self.places(heads).into_iter().flatten().filter_map(|at| self.file(at)).collect()
    }

    /// The indexes of the files whose paths begin with one of `heads`.
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

    /// The file with this index, if the service sees it.
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

    /// The folders whose paths begin with one of `heads`.
    pub fn folders(&self, heads: &[String]) -> impl Iterator<Item = Cow<'k, File>> {
        let folders = &self.known.folders;
        let of = move |places: Range<usize>| {
            let start = folders.partition_point(|at| *at < places.start);
            let end = folders.partition_point(|at| *at < places.end);
            &folders[start..end]
        };
        self.places(heads).into_iter().flat_map(of).filter_map(|at| self.file(*at))
    }

    /// The `.git` folders of this repository and of repositories inside it.
    pub fn git_folders(&self) -> impl Iterator<Item = &'k str> {
        let known = self.known;
        known.gits.iter().filter(|at| self.sees(**at)).map(|at| known.tree.lying[*at].path.as_str())
    }

    /// The symbolic links and their targets, as written in the link.
    pub fn links(&self) -> Vec<(String, String)> {
        let lying = &self.known.tree.lying;
        let links = self.known.links.iter().filter(|at| self.sees(**at)).map(|at| lying[*at].clone());
        worktree::links(&links.collect::<Vec<_>>())
    }
}

/// The files that several builds see. For each path, it asks only the contexts
/// that can contain it.
struct CombinedContexts<'d> {
    /// The Dockerfiles and ignore files of the builds.
    files: BTreeSet<String>,
    /// The folders where contexts begin.
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
