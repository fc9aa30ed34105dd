//! Reads how an image is built: a service's Dockerfile and its ignore file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use docker_context::dockerfile::inputs::Inputs;
use docker_context::dockerfile::platforms::{Platforms, platforms};
use docker_context::dockerfile::{
    BaseConfig, BuildOptions, DockerfileCache, DockerfileError, ParsedDockerfile, Recipe,
};
use docker_context::dockerignore::Dockerignore;

use crate::ctx::Ctx;
use crate::exec::file_stats::{self, FileStats};
use crate::model::base::Base;
use crate::model::config::{FILE, Service};
use crate::model::coverage::{Coverage, in_context};
use crate::model::diagnostic::Diagnostic;
use crate::model::dockerfile_changes::{self, candidates};
use crate::model::doubt::Doubt;
use crate::model::environment;
use crate::model::platform::Platform;
use crate::model::visibility::Visibility;
use crate::plan::build::Request;
use crate::standin::Loans;

/// The largest Dockerfile or ignore file that is read. Real ones are a thousand
/// times smaller.
const MOST_BYTES: u64 = 1 << 20;

/// How one service is built.
pub struct Definition<'a> {
    /// The service.
    pub service: &'a Service,
    both: Arc<DefinitionFiles>,
}

/// The Dockerfile and the ignore file. Several services may share them.
pub struct DefinitionFiles {
    text: Vec<u8>,
    /// What it says, for all services that share it.
    parsed: DockerfileCache,
    /// The bytes of the ignore file.
    pub ignore_text: Vec<u8>,
    /// Whether the Dockerfile is behind a link; then messages must not quote it.
    hidden: bool,
    /// The rules for the context.
    pub ignore: Dockerignore,
    /// The ignore file, if there is one.
    ignore_file: Option<Utf8PathBuf>,
    /// All paths of possible definition files. Each file of the tree is compared
    /// with them.
    pub files: [Utf8PathBuf; 3],
}

impl DefinitionFiles {
    fn says_the_same(&self, other: &Self) -> bool {
        let Self { text, parsed: _, ignore_text, hidden, ignore: _, ignore_file, files } = self;
        (text, ignore_text, *hidden) == (&other.text, &other.ignore_text, other.hidden)
            && (ignore_file, files) == (&other.ignore_file, &other.files)
    }

    fn read(ctx: &Ctx, service: &Service) -> Result<Self, Diagnostic> {
        let help = || format!("`services.{}.dockerfile` in {FILE} names it", service.name);
        let text = bytes(&ctx.root, &service.dockerfile).map_err(|broken| broken.help(help()))?;
        let candidates = candidates(service);
        let ignore_file = candidates.into_iter().find(|file| ctx.root.join(file).exists());
        let ignore_text = ignore_file.as_ref().map(|file| bytes(&ctx.root, file)).transpose()?.unwrap_or_default();
        let ignore = match &ignore_file {
            Some(file) => Dockerignore::parse(&ignore_text).map_err(|(line, why)| {
                broken(file, line, if is_itself(&ctx.root, file) { why } else { HIDDEN.into() })
            })?,
            None => Dockerignore::default(),
        };
        let hidden = !is_itself(&ctx.root, &service.dockerfile);
        let (parsed, files) = (DockerfileCache::default(), dockerfile_changes::definition(service));
        Ok(Self { text, parsed, ignore_text, hidden, ignore, ignore_file, files })
    }
}

/// The options of a build, besides its files.
#[derive(Clone, Debug, Default)]
pub struct BuildSettings {
    /// The build arguments, with their values.
    pub build_args: BTreeMap<String, String>,
    /// The platforms.
    pub platforms: Vec<Platform>,
    /// The configurations of its base images, as far as they are known, by the
    /// name in FROM.
    pub bases: BTreeMap<String, BaseConfig>,
}

impl BuildSettings {
    /// A build without options, on this machine.
    pub fn plain() -> Self {
        Self { platforms: vec![Platform::of_this_machine()], ..Self::default() }
    }

    /// Every build of a service without options.
    pub fn of_service(service: &Service) -> Self {
        let mut setting = Self::plain();
        setting.platforms.extend(service.platforms.iter().filter(|it| **it != Platform::of_this_machine()).cloned());
        setting
    }

    /// The builds of everything that is published for a service.
    pub fn published(service: &Service) -> Self {
        Self { platforms: service.platforms.clone(), ..Self::default() }
    }

    /// A build with these arguments, for these platforms or for this machine.
    pub fn new(ctx: &Ctx, args: &[String], platforms: &[Platform], bases: &[Base]) -> Self {
        let mut setting = Self { build_args: build_args(ctx, args), ..Self::plain() };
        if !platforms.is_empty() {
            setting.platforms = platforms.to_vec();
        }
        let known = |base: &Base| Some((base.reference.clone(), base.config.clone()?));
        setting.bases = bases.iter().filter_map(known).collect();
        setting
    }

    fn given(&self) -> BuildOptions<'_> {
        let platforms = self.platforms.iter().map(Platform::as_str).collect();
        BuildOptions { build_args: &self.build_args, platforms, builder: None, bases: &self.bases }
    }
}

impl<'a> Definition<'a> {
    /// The files that a build can see, with their current metadata.
    pub fn stats(&self, ctx: &Ctx) -> Result<FileStats, Doubt> {
        file_stats::walk(ctx, &|path: &str| self.holds(path))
    }

    /// Checks that neither file has changed since it was read.
    pub fn stands(&self, ctx: &Ctx) -> Result<(), Doubt> {
        let again = Self::read(ctx, self.service).map_err(|fault| fault.to_string())?;
        if !again.both.says_the_same(&self.both) {
            return Err(format!("{} or its ignore file changed while it was read", self.service.dockerfile).into());
        }
        Ok(())
    }

    /// Reads the files.
    pub fn read(ctx: &Ctx, service: &'a Service) -> Result<Self, Diagnostic> {
        is_folder(ctx, service)?;
        Ok(Self { service, both: Arc::new(DefinitionFiles::read(ctx, service)?) })
    }

    /// The same, with files that were read for another service.
    pub fn sharing(ctx: &Ctx, service: &'a Service, both: Arc<DefinitionFiles>) -> Result<Self, Diagnostic> {
        is_folder(ctx, service)?;
        Ok(Self { service, both })
    }

    /// The files, to share them with other services.
    pub fn both(&self) -> &Arc<DefinitionFiles> {
        &self.both
    }

    /// The files from a commit: `read` returns the bytes of a file, or `None` if
    /// it does not exist.
    pub fn at(service: &'a Service, read: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self, Diagnostic> {
        let Some(text) = read(service.dockerfile.as_str()) else {
            return Err(broken(&service.dockerfile, 0, "it does not exist".into()));
        };
        let candidates = candidates(service);
        let found = candidates.into_iter().find_map(|file| read(file.as_str()).map(|bytes| (file, bytes)));
        let (ignore_file, ignore_text) = found.map(|(file, bytes)| (Some(file), bytes)).unwrap_or_default();
        let ignore = match &ignore_file {
            Some(file) => Dockerignore::parse(&ignore_text).map_err(|(line, why)| broken(file, line, why))?,
            None => Dockerignore::default(),
        };
        let hidden = false;
        let files = dockerfile_changes::definition(service);
        let parsed = DockerfileCache::default();
        let both = DefinitionFiles { text, parsed, ignore_text, hidden, ignore, ignore_file, files };
        Ok(Self { service, both: Arc::new(both) })
    }

    /// All possible definition files: one that is added or removed changes the
    /// definition.
    pub fn says(&self, path: &str) -> bool {
        self.both.files.iter().any(|file| file == path)
    }

    /// The request with everything that a build on stand-ins needs from this
    /// machine, which is written to files.
    pub fn lend(&self, ctx: &Ctx, mut request: Request) -> anyhow::Result<Request> {
        if stands_on_stand_ins(&request) {
            let loans = self.loans(ctx)?;
            loans.lend(&mut request);
            loans.write()?;
        }
        Ok(request)
    }

    /// The same without writing; returns whether all files exist.
    pub fn lent(&self, ctx: &Ctx, mut request: Request) -> anyhow::Result<(Request, bool)> {
        if !stands_on_stand_ins(&request) {
            return Ok((request, true));
        }
        let loans = self.loans(ctx)?;
        loans.lend(&mut request);
        Ok((request, loans.are_there()))
    }

    /// What a build on stand-ins is lent.
    pub fn loans(&self, ctx: &Ctx) -> anyhow::Result<Loans> {
        Loans::new(ctx, &self.both.text, self.both.ignore_file.as_ref().map(|_| self.both.ignore_text.as_slice()))
    }

    /// Which of the Dockerfile, its ignore file and the context is behind a
    /// symbolic link. A filter sees the link, but a build reads its target.
    pub fn linked(&self, ctx: &Ctx) -> Option<&Utf8Path> {
        let Service { dockerfile, context, .. } = self.service;
        let all = [Some(dockerfile), self.both.ignore_file.as_ref(), Some(context)];
        all.into_iter().flatten().map(Utf8PathBuf::as_path).find(|path| !is_itself(&ctx.root, path))
    }

    /// The base images of a stage.
    pub fn images(&self, target: Option<&str>, setting: &BuildSettings) -> Result<Vec<String>, Diagnostic> {
        self.parsed(setting).base_images(target).map_err(|error| self.broken(error))
    }

    /// What each platform needs, on a builder of this machine's platform.
    pub fn platforms(
        &self,
        target: Option<&str>,
        setting: &BuildSettings,
        builder: &Platform,
    ) -> Result<Platforms, Diagnostic> {
        platforms(&self.both.text, target, &setting.given(), builder.as_str()).map_err(|error| self.broken(error))
    }

    /// The recipe of a stage.
    pub fn recipe(&self, target: Option<&str>, setting: &BuildSettings) -> Result<Recipe, Diagnostic> {
        self.parsed(setting).recipe(target).map_err(|error| self.broken(error))
    }

    fn parsed(&self, setting: &BuildSettings) -> Arc<ParsedDockerfile> {
        self.both.parsed.parsed(&self.both.text, &setting.given())
    }

    fn broken(&self, error: DockerfileError) -> Diagnostic {
        let DockerfileError { line, column, mut message } = error;
        if self.both.hidden && line > 0 {
            message = HIDDEN.into();
        }
        Diagnostic::new(message).of(self.service.dockerfile.as_str()).line(line).column(column)
    }

    /// What a stage reads from the context, including the targets of links.
    pub fn inputs(
        &self,
        target: Option<&str>,
        setting: &BuildSettings,
        links: &[(String, String)],
    ) -> Result<Inputs, Diagnostic> {
        let mut inputs = self.parsed(setting).inputs(target).map_err(|error| self.broken(error))?;
        let links: Vec<(&str, &str)> = links
            .iter()
            .filter_map(|(path, to)| Some((in_context(self.service.context.as_str(), path)?, to.as_str())))
            .collect();
        inputs.follow(&links);
        Ok(inputs)
    }

    /// Whether a build can see a path from the root; for `FOLDER/`, whether it
    /// can see anything below.
    pub fn holds(&self, path: &str) -> bool {
        let is_on_the_way = |file: &Utf8PathBuf| match path.ends_with('/') {
            true => file.as_str().starts_with(path),
            false => file == path,
        };
        self.both.files.iter().any(is_on_the_way) || self.context().holds(path)
    }

    /// What it can see in its context.
    pub fn context(&self) -> Context<'_> {
        Context { folder: self.service.context.as_str(), ignore: &self.both.ignore }
    }

    /// The ignore file, if there is one.
    pub fn ignore_file(&self) -> Option<&Utf8PathBuf> {
        self.both.ignore_file.as_ref()
    }

    /// The service's filter and what it must include.
    pub fn coverage<'b>(&'b self, inputs: &'b Inputs) -> Coverage<'b> {
        Coverage {
            service: self.service,
            inputs,
            ignore: &self.both.ignore,
            ignore_file: self.both.ignore_file.as_deref(),
        }
    }
}

/// A build context: a folder, with the rules that exclude files.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Its path from the root.
    pub folder: &'a str,
    /// The rules.
    pub ignore: &'a Dockerignore,
}

impl Visibility for Context<'_> {
    fn holds(&self, path: &str) -> bool {
        let Some(dir) = path.strip_suffix('/') else {
            return in_context(self.folder, path).is_some_and(|path| !self.ignore.excludes(path));
        };
        Utf8Path::new(self.folder).join("").as_str().starts_with(path)
            || in_context(self.folder, dir).is_some_and(|dir| !self.ignore.excludes_below(dir))
    }

    fn holds_all(&self, folder: &str) -> bool {
        let dir = in_context(self.folder, folder.trim_end_matches('/'));
        dir.is_some_and(|dir| self.ignore.settled_below(dir) == Some(false))
    }
}

fn stands_on_stand_ins(request: &Request) -> bool {
    request.bases.iter().any(|base| base.stand_in.is_some())
}

/// Shown instead of text that may be secret: a link in somebody else's checkout
/// can lead anywhere.
const HIDDEN: &str = "this can't be read, and lies behind a symbolic link: its text is not shown";

/// Whether no part of a path is a symbolic link.
fn is_itself(root: &Utf8Path, path: &Utf8Path) -> bool {
    let place = root.join(path).canonicalize_utf8().ok();
    place.is_some() && place == root.canonicalize_utf8().ok().map(|root| root.join(path))
}

/// The content of a file. A file outside of the root must not be quoted in
/// messages. Only a regular file is read, because others may never end.
fn bytes(root: &Utf8Path, file: &Utf8Path) -> Result<Vec<u8>, Diagnostic> {
    let place = root.join(file);
    let whole = |message: String| broken(file, 0, message);
    let real = place.canonicalize_utf8().map_err(|error| whole(error.to_string()))?;
    if !root.canonicalize_utf8().is_ok_and(|root| real.starts_with(root)) {
        return Err(whole("it leads out of the root, and we read nothing there; put the file itself here".into()));
    }
    if !real.is_file() {
        return Err(whole("it is not a file; put a file there".into()));
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&real).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| whole(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(whole(format!("it has more than {MOST_BYTES} bytes, which is the limit")));
    }
    Ok(bytes)
}

/// Whether the context is a folder. Docker takes a file for an archive.
fn is_folder(ctx: &Ctx, service: &Service) -> Result<(), Diagnostic> {
    let Service { name, context, lines, .. } = service;
    let what = match ctx.root.join(context).metadata() {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "is no folder".to_owned(),
        Err(error) => format!("is not there: {error}"),
    };
    Err(Diagnostic::new(format!("`services.{name}.context`: `{context}` {what}"))
        .of(FILE)
        .line(lines.context.unwrap_or(lines.table))
        .help("the folder that COPY reads from, from the root; `.` is the root"))
}

fn broken(file: &Utf8Path, line: usize, message: String) -> Diagnostic {
    Diagnostic::new(message).of(file.as_str()).line(line)
}

/// Build arguments with their values, as buildx reads them.
pub fn build_args(ctx: &Ctx, args: &[String]) -> BTreeMap<String, String> {
    environment::build_args(args, &|name| ctx.variable(name))
}
