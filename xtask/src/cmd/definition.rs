//! How an image is built, read from the tree: a service's Dockerfile and the
//! ignore file that belongs to it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use docker_context::dockerfile::inputs::Inputs;
use docker_context::dockerfile::platforms::{Platforms, platforms};
use docker_context::dockerfile::{self, BaseConfig, BuildOptions, DockerfileError, Recipe};
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

/// The most that is read of a Dockerfile or an ignore file; real ones have a
/// thousandth of it.
const MOST_BYTES: u64 = 1 << 20;

/// How one service is built.
pub struct Definition<'a> {
    /// What is built.
    pub service: &'a Service,
    both: Arc<DefinitionFiles>,
}

/// The files that say it: services may share them.
#[derive(PartialEq, Eq)]
pub struct DefinitionFiles {
    text: Vec<u8>,
    /// The bytes of the ignore file.
    pub ignore_text: Vec<u8>,
    /// Whether the Dockerfile lies behind a link: then nobody is shown what it says.
    hidden: bool,
    /// The rules of the context.
    pub ignore: Dockerignore,
    /// The file that they stand in, if there is one.
    ignore_file: Option<Utf8PathBuf>,
    /// All files that it may be read from; each file of the tree is compared.
    pub files: [Utf8PathBuf; 3],
}

impl DefinitionFiles {
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
        Ok(Self { text, ignore_text, hidden, ignore, ignore_file, files: dockerfile_changes::definition(service) })
    }
}

/// What a build is given besides its files.
#[derive(Clone, Debug, Default)]
pub struct BuildSettings {
    /// `--build-arg`, with their values.
    pub build_args: BTreeMap<String, String>,
    /// What it is built for.
    pub platforms: Vec<Platform>,
    /// What is known of its base images, by the name in FROM.
    pub bases: BTreeMap<String, BaseConfig>,
}

impl BuildSettings {
    /// A build without options, on this machine.
    pub fn plain() -> Self {
        Self { platforms: vec![Platform::of_this_machine()], ..Self::default() }
    }

    /// Every build of a service that nobody gives an option to.
    pub fn of_service(service: &Service) -> Self {
        let mut setting = Self::plain();
        setting.platforms.extend(service.platforms.iter().filter(|it| **it != Platform::of_this_machine()).cloned());
        setting
    }

    /// All that is published of a service.
    pub fn published(service: &Service) -> Self {
        Self { platforms: service.platforms.clone(), ..Self::default() }
    }

    /// A build with these arguments, for these platforms or this machine.
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
    /// What a build may see, at this moment.
    pub fn stats(&self, ctx: &Ctx) -> Result<FileStats, Doubt> {
        file_stats::walk(ctx, &|path: &str| self.holds(path))
    }

    /// Whether both files say what they said when they were read.
    pub fn stands(&self, ctx: &Ctx) -> Result<(), Doubt> {
        let again = Self::read(ctx, self.service).map_err(|fault| fault.to_string())?;
        if again.both != self.both {
            return Err(format!("{} or its ignore file changed while it was read", self.service.dockerfile).into());
        }
        Ok(())
    }

    /// Reads them.
    pub fn read(ctx: &Ctx, service: &'a Service) -> Result<Self, Diagnostic> {
        is_folder(ctx, service)?;
        Ok(Self { service, both: Arc::new(DefinitionFiles::read(ctx, service)?) })
    }

    /// The same, where another service's files may be this one's too.
    pub fn sharing(ctx: &Ctx, service: &'a Service, both: Arc<DefinitionFiles>) -> Result<Self, Diagnostic> {
        is_folder(ctx, service)?;
        Ok(Self { service, both })
    }

    /// The files, for other services that may share them.
    pub fn both(&self) -> &Arc<DefinitionFiles> {
        &self.both
    }

    /// Both as a commit has them: `read` gives the bytes of a file, none where it
    /// is not there.
    pub fn at(service: &'a Service, read: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self, Diagnostic> {
        let Some(text) = read(service.dockerfile.as_str()) else {
            return Err(broken(&service.dockerfile, 0, "it is not there".into()));
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
        Ok(Self { service, both: Arc::new(DefinitionFiles { text, ignore_text, hidden, ignore, ignore_file, files }) })
    }

    /// The files that it may be read from: one that comes or goes changes it.
    pub fn says(&self, path: &str) -> bool {
        self.both.files.iter().any(|file| file == path)
    }

    /// The request with what a build on stand-ins needs of this machine, which
    /// is written.
    pub fn lend(&self, ctx: &Ctx, mut request: Request) -> anyhow::Result<Request> {
        if stands_on_stand_ins(&request) {
            let loans = self.loans(ctx)?;
            loans.lend(&mut request);
            loans.write()?;
        }
        Ok(request)
    }

    /// The same, and nothing is written; whether a build finds all of it.
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

    /// Which of the Dockerfile, its ignore file and the context lies behind a
    /// symbolic link. A filter sees the link; a build reads what it leads to.
    pub fn linked(&self, ctx: &Ctx) -> Option<&Utf8Path> {
        let Service { dockerfile, context, .. } = self.service;
        let all = [Some(dockerfile), self.both.ignore_file.as_ref(), Some(context)];
        all.into_iter().flatten().map(Utf8PathBuf::as_path).find(|path| !is_itself(&ctx.root, path))
    }

    /// The images that a stage is built on.
    pub fn images(&self, target: Option<&str>, setting: &BuildSettings) -> Result<Vec<String>, Diagnostic> {
        dockerfile::base_images(&self.both.text, target, &setting.given()).map_err(|error| self.broken(error))
    }

    /// For which platforms it needs what, on a builder of this one.
    pub fn platforms(
        &self,
        target: Option<&str>,
        setting: &BuildSettings,
        builder: &Platform,
    ) -> Result<Platforms, Diagnostic> {
        platforms(&self.both.text, target, &setting.given(), builder.as_str()).map_err(|error| self.broken(error))
    }

    /// How a stage is made.
    pub fn recipe(&self, target: Option<&str>, setting: &BuildSettings) -> Result<Recipe, Diagnostic> {
        dockerfile::recipe(&self.both.text, target, &setting.given()).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: DockerfileError) -> Diagnostic {
        let DockerfileError { line, column, mut message } = error;
        if self.both.hidden && line > 0 {
            message = HIDDEN.into();
        }
        Diagnostic::new(message).of(self.service.dockerfile.as_str()).line(line).column(column)
    }

    /// What a stage reads from the context, where links lead there.
    pub fn inputs(
        &self,
        target: Option<&str>,
        setting: &BuildSettings,
        links: &[(String, String)],
    ) -> Result<Inputs, Diagnostic> {
        let mut inputs =
            dockerfile::inputs(&self.both.text, target, &setting.given()).map_err(|error| self.broken(error))?;
        let links: Vec<(&str, &str)> = links
            .iter()
            .filter_map(|(path, to)| Some((in_context(self.service.context.as_str(), path)?, to.as_str())))
            .collect();
        inputs.follow(&links);
        Ok(inputs)
    }

    /// Whether a build can see a file or a folder of the root, or of `FOLDER/`
    /// anything below it.
    pub fn holds(&self, path: &str) -> bool {
        let is_on_the_way = |file: &Utf8PathBuf| match path.ends_with('/') {
            true => file.as_str().starts_with(path),
            false => file == path,
        };
        self.both.files.iter().any(is_on_the_way) || self.context().holds(path)
    }

    /// What it can see of its context.
    pub fn context(&self) -> Context<'_> {
        Context { folder: self.service.context.as_str(), ignore: &self.both.ignore }
    }

    /// The file that the rules of the context stand in, if there is one.
    pub fn ignore_file(&self) -> Option<&Utf8PathBuf> {
        self.both.ignore_file.as_ref()
    }

    /// The service's filter beside what it must include.
    pub fn coverage<'b>(&'b self, inputs: &'b Inputs) -> Coverage<'b> {
        Coverage {
            service: self.service,
            inputs,
            ignore: &self.both.ignore,
            ignore_file: self.both.ignore_file.as_deref(),
        }
    }
}

/// A build context: what its rules leave of a folder.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// From the root.
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

/// Instead of words that may be a secret's: a link in a checkout that somebody
/// sent leads wherever that one likes.
const HIDDEN: &str = "this can't be read, and lies behind a symbolic link: what it says is not shown";

/// Whether a path of the root lies behind no symbolic link.
fn is_itself(root: &Utf8Path, path: &Utf8Path) -> bool {
    let place = root.join(path).canonicalize_utf8().ok();
    place.is_some() && place == root.canonicalize_utf8().ok().map(|root| root.join(path))
}

/// What a file holds. One that lies outside of the root is somebody else's: its
/// words have no business in our messages. And what is no file may never end.
fn bytes(root: &Utf8Path, file: &Utf8Path) -> Result<Vec<u8>, Diagnostic> {
    let place = root.join(file);
    let whole = |message: String| broken(file, 0, message);
    let real = place.canonicalize_utf8().map_err(|error| whole(error.to_string()))?;
    if !root.canonicalize_utf8().is_ok_and(|root| real.starts_with(root)) {
        return Err(whole("it leads out of the root, where nothing is read; put the file itself here".into()));
    }
    if !real.is_file() {
        return Err(whole("it is no file; put one there".into()));
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&real).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| whole(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(whole(format!("it has more than {MOST_BYTES} bytes, which is the most that is read")));
    }
    Ok(bytes)
}

/// Whether the context is a folder: docker takes a file for an archive.
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

/// Build arguments with their values, as buildx takes them.
pub fn build_args(ctx: &Ctx, args: &[String]) -> BTreeMap<String, String> {
    environment::build_args(args, &|name| ctx.variable(name))
}
