//! Shows the steps of builds on stand-ins how this machine reaches package
//! registries: its trusted certificate authorities, indexes and mirrors. Steps
//! get these as secrets, so they are in no layer.

use std::fs;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use docker_context::dockerfile::mounts::{Mount, with_mounts};

use crate::ctx::Ctx;
use crate::engine::{EngineFolder, packages};
use crate::exec::{files, input, run};
use crate::model::identity;
use crate::plan::build::Request;
use crate::plan::step::Step;

/// Debian's file of trusted certificate authorities.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// BuildKit refuses a larger secret.
const LARGEST: u64 = 500 * 1024;

/// No build is still reading an older Dockerfile.
const LENT: Duration = Duration::from_secs(2 * 24 * 3600);

/// The settings of the host.
pub struct Host {
    loans: Vec<Loan>,
    /// Notes for people.
    pub notes: Vec<String>,
}

struct Loan {
    name: &'static str,
    target: &'static str,
    unless: &'static str,
    content: Vec<u8>,
}

impl Host {
    /// Reads the host's settings.
    pub fn read(ctx: &Ctx, folder: &EngineFolder) -> Self {
        let mut host = Self { loans: Vec::new(), notes: Vec::new() };
        let named = ctx.env.get("SSL_CERT_FILE").and_then(|file| {
            let read = input::read(file.into(), LARGEST);
            read.map_err(|error| host.notes.push(format!("note: SSL_CERT_FILE={file} is left out: {error}"))).ok()
        });
        if let Some(bundle) = named.or_else(|| input::read(BUNDLE.into(), LARGEST).ok()) {
            host.lend("authorities", BUNDLE, "ca-certificates", bundle);
        }
        host.indexes(ctx);
        host.mirror(ctx, folder);
        host
    }

    fn lend(&mut self, name: &'static str, target: &'static str, unless: &'static str, content: impl Into<Vec<u8>>) {
        self.loans.push(Loan { name, target, unless, content: content.into() });
    }

    /// The package indexes that the host is configured to use. A default needs no
    /// setting.
    fn indexes(&mut self, ctx: &Ctx) {
        let home = ctx.env.get("HOME").unwrap_or("/root");
        let pip = ctx.env.get("PIP_INDEX_URL").map(str::to_owned).or_else(|| {
            let files =
                ["/etc/pip.conf".to_owned(), format!("{home}/.pip/pip.conf"), format!("{home}/.config/pip/pip.conf")];
            files.iter().rev().find_map(|file| setting(file, "index-url"))
        });
        let index = pip.and_then(|url| self.public(url)).map(|url| format!("index-url = {url}\n")).unwrap_or_default();
        // pip has its own list of authorities; the host's are in another file.
        let pip = format!("[global]\ncert = {BUNDLE}\nroot-user-action = ignore\n{index}");
        self.lend("pip", "/etc/pip.conf", "pip.conf", pip);
        let uv = ["UV_DEFAULT_INDEX", "UV_INDEX_URL"].iter().find_map(|name| ctx.env.get(name));
        if let Some(url) = uv.map(str::to_owned).and_then(|url| self.public(url)) {
            self.lend("uv", "/etc/uv/uv.toml", "uv.toml", format!("[[index]]\nurl = {url:?}\ndefault = true\n"));
        }
        let npm = ["NPM_CONFIG_REGISTRY", "npm_config_registry"].iter().find_map(|name| ctx.env.get(name));
        let npm = npm.map(str::to_owned).or_else(|| setting(&format!("{home}/.npmrc"), "registry"));
        if let Some(url) = npm.and_then(|url| self.public(url)) {
            self.lend("npm", "/usr/local/etc/npmrc", "npmrc", format!("registry={url}\n"));
        }
    }

    /// The mirror of Debian's archive that the root file system came from, and
    /// its settings. The image itself says which keys sign it.
    fn mirror(&mut self, ctx: &Ctx, folder: &EngineFolder) {
        let acquire = acquire(ctx);
        if !acquire.is_empty() {
            self.lend("apt", "/etc/apt/apt.conf.d/99xtask", "99xtask", acquire.join("\n") + "\n");
        }
        // This file is ours and private; an older version left it readable.
        let sources = files::read(&folder.dir.join("bases/sources.list")).unwrap_or_default();
        let lines: Vec<String> = sources.lines().filter_map(|line| self.public_source(line)).collect();
        if !lines.is_empty() {
            self.lend("sources", "/etc/apt/sources.list", "sources.list", lines.join("\n") + "\n");
        }
    }

    /// A URL without its password, because a step may record where it downloaded
    /// from.
    fn public(&mut self, url: String) -> Option<String> {
        if names_user(&url) {
            self.notes.push(
                "note: this machine's package index has a password in its address; stand-ins are made without it"
                    .to_owned(),
            );
            return None;
        }
        Some(url)
    }

    /// The same for an apt source, whichever of its words is the address.
    fn public_source(&mut self, line: &str) -> Option<String> {
        let line = bare(line)?;
        let named = line.split_whitespace().find(|word| names_user(word)).map(str::to_owned);
        named.is_none_or(|word| self.public(word).is_some()).then_some(line)
    }

    /// The path at which steps see it.
    pub fn mounts(&self) -> Vec<Mount> {
        let mount = |loan: &Loan| Mount { target: loan.target.to_owned(), id: id(loan.name), unless: loan.unless };
        self.loans.iter().map(mount).collect()
    }

    /// Writes it to the file that buildx reads, and returns the option for
    /// buildx.
    pub fn secrets(&self, folder: &EngineFolder) -> anyhow::Result<Vec<String>> {
        self.files(folder).iter().filter(|file| !file.is_there()).try_for_each(Written::write)?;
        Ok(self.specs(folder))
    }

    /// The files that buildx reads.
    fn files(&self, folder: &EngineFolder) -> Vec<Written> {
        let file = |loan: &Loan| Written { path: place(folder, loan.name), content: loan.content.clone() };
        self.loans.iter().map(file).collect()
    }

    /// The options for buildx.
    fn specs(&self, folder: &EngineFolder) -> Vec<String> {
        let spec = |loan: &Loan| format!("id={},src={}", id(loan.name), place(folder, loan.name));
        self.loans.iter().map(spec).collect()
    }
}

/// A file and its content.
struct Written {
    path: Utf8PathBuf,
    content: Vec<u8>,
}

impl Written {
    fn is_there(&self) -> bool {
        fs::read(&self.path).ok().as_ref() == Some(&self.content)
    }

    fn write(&self) -> anyhow::Result<()> {
        files::write(&self.path, &self.content)
    }
}

fn id(name: &str) -> String {
    format!("xtask-{name}")
}

fn place(folder: &EngineFolder, name: &str) -> Utf8PathBuf {
    folder.dir.join("bases/host").join(name)
}

/// Gives the steps of a build on stand-ins the host's settings, which the
/// stand-ins don't contain: a copy of the Dockerfile with the same lines, whose
/// RUN steps have them mounted.
pub struct Loans {
    dockerfile: Utf8PathBuf,
    secrets: Vec<String>,
    host: Vec<Written>,
    texts: Vec<Written>,
}

impl Loans {
    /// Collects what a Dockerfile and its ignore file need.
    pub fn new(ctx: &Ctx, text: &[u8], ignore: Option<&[u8]>) -> anyhow::Result<Self> {
        let folder = EngineFolder::of(ctx)?;
        let host = Host::read(ctx, &folder);
        let text = with_mounts(text, &host.mounts());
        // The name is a hash of the content, so that no other run changes the
        // file and the printed line can be pasted.
        let name = format!("{:016x}", identity::short_hash(&[text.as_slice(), ignore.unwrap_or_default()]));
        let dockerfile = folder.dir.join("bases/dockerfiles").join(name).join("Dockerfile");
        let mut texts = vec![Written { path: dockerfile.clone(), content: text }];
        // BuildKit looks for it there first.
        let beside = dockerfile.with_file_name("Dockerfile.dockerignore");
        texts.extend(ignore.map(|ignore| Written { path: beside, content: ignore.to_vec() }));
        Ok(Self { dockerfile, secrets: host.specs(&folder), host: host.files(&folder), texts })
    }

    /// Adds them to a request.
    pub fn lend(&self, request: &mut Request) {
        request.dockerfile = self.dockerfile.clone();
        request.secrets.extend(self.secrets.iter().cloned());
    }

    /// Whether the files exist.
    pub fn are_there(&self) -> bool {
        self.host.iter().chain(&self.texts).all(Written::is_there)
    }

    /// Writes the files.
    pub fn write(&self) -> anyhow::Result<()> {
        self.host.iter().filter(|file| !file.is_there()).try_for_each(Written::write)?;
        if let (false, Some(dir)) = (self.dockerfile.exists(), self.dockerfile.ancestors().nth(2)) {
            forget(dir);
        }
        // Existing ones, too, so that they don't count as old.
        self.texts.iter().try_for_each(Written::write)
    }
}

/// Removes old copies; each edit of a Dockerfile creates a new one.
fn forget(dir: &Utf8Path) {
    let entries = dir.read_dir_utf8().into_iter().flatten().flatten();
    let is_name = |name: &str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    for entry in entries.filter(|entry| is_name(entry.file_name())) {
        let age = entry.metadata().ok().and_then(|found| found.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > LENT) {
            let _ = packages::remove(entry.path());
        }
    }
}

/// Whether a URL contains a user name, with or without a password.
fn names_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.trim_start_matches('/').split('/').next().is_some_and(|host| host.contains('@'))
}

/// A line of a sources.list without its options.
fn bare(line: &str) -> Option<String> {
    let rest = line.strip_prefix("deb ")?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1.trim_start(),
        None => rest,
    };
    Some(format!("deb {rest}"))
}

/// `key = value` in a simple configuration file.
fn setting(file: &str, key: &str) -> Option<String> {
    value(&input::text(file.into(), 1 << 20).ok()?, key)
}

/// The first value of a key, unless that is empty.
fn value(text: &str, key: &str) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned());
    values.next().filter(|value| !value.is_empty())
}

/// The host's `Acquire` options that also matter in another root: how to reach
/// its mirror.
pub fn acquire(ctx: &Ctx) -> Vec<String> {
    ways(&run::probe(ctx, &Step::new("apt-config").args(["dump", "Acquire"])).unwrap_or_default())
}

fn ways(dump: &str) -> Vec<String> {
    let useful = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        let way = name.ends_with("::proxy") || name.ends_with("::cainfo");
        // Options with a password are left out.
        way && !line.contains("\"\"") && !line.contains('@')
    };
    dump.lines().filter(useful).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_long_ago_is_forgotten_and_nothing_else() {
        let place = files::Temporary::new("dockerfiles").unwrap();
        let dir = place.path();
        let (old, new) = ("0".repeat(32), "f".repeat(32));
        for name in [&old, &new, "mine", "0123"] {
            fs::create_dir_all(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("Dockerfile"), "x").unwrap();
        }
        let long_ago = std::time::SystemTime::now() - LENT - Duration::from_secs(60);
        for name in [&old, "mine", "0123"] {
            fs::File::open(dir.join(name)).unwrap().set_modified(long_ago).unwrap();
        }
        forget(dir);
        assert!(!dir.join(old).exists());
        assert!(dir.join(new).exists() && dir.join("mine").exists() && dir.join("0123").exists());
        forget(&dir.join("nowhere"));
    }

    #[test]
    fn a_list_of_sources_that_was_open_to_everybody_is_closed() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = files::Temporary::new("e").unwrap();
        let folder = EngineFolder { dir: place.path().to_owned() };
        let list = folder.dir.join("bases/sources.list");
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        fs::write(&list, "deb [signed-by=/k] http://a.example/debian bookworm main\n").unwrap();
        fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
        let mut host = Host { loans: Vec::new(), notes: Vec::new() };
        host.mirror(&Ctx::default(), &folder);
        assert!(host.loans.iter().any(|loan| loan.name == "sources"));
        assert_eq!(list.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_source_is_lent_without_the_place_of_a_key_that_is_not_in_the_image() {
        let line = "deb [signed-by=/e/keys.pgp] http://a.example/debian bookworm main";
        assert_eq!(bare(line).unwrap(), "deb http://a.example/debian bookworm main");
        assert_eq!(bare("deb  http://a b main").unwrap(), "deb http://a b main");
        assert_eq!(bare("# deb http://a b main"), None);
        assert_eq!(bare("deb [x http://a b main"), None);
    }

    #[test]
    fn an_address_that_says_who_asks_is_not_lent() {
        for (url, expected) in [
            ("https://a.example/simple", false),
            ("https://a.example:8443/@scope/-/x", false),
            ("a.example/@scope", false),
            ("https://user:word@a.example/simple", true),
            ("https://user@a.example", true),
            ("//user:word@a.example/", true),
            ("user:word@a.example/simple", true),
        ] {
            assert_eq!(names_user(url), expected, "{url}");
        }
        let mut host = Host { loans: Vec::new(), notes: Vec::new() };
        assert_eq!(host.public("https://a.example/".into()).as_deref(), Some("https://a.example/"));
        assert!(host.notes.is_empty());
        assert_eq!(host.public("https://u:p@a.example/".into()), None);
        assert!(host.notes[0].contains("has a password in its address"));
        let source = |at: &str| format!("deb [signed-by=/k] http://{at}a.example/debian bookworm main");
        assert_eq!(host.public_source(&source("")).as_deref(), Some("deb http://a.example/debian bookworm main"));
        assert_eq!(host.public_source(&source("u:p@")), None);
        assert_eq!(host.notes.len(), 2);
        for line in ["deb [a] [b] http://u:p@a.example/ x main", "deb  [a]\thttp://u:p@a.example/ x main"] {
            assert_eq!(host.public_source(line), None, "{line}");
        }
    }

    #[test]
    fn of_apts_options_the_way_to_the_archive_is_lent_and_no_password() {
        let dump = "Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://proxy:3128\";\n\
            Acquire::HTTPS::CAInfo \"/etc/ca.pem\";\nAcquire::https::proxy \"\";\n\
            Acquire::http::proxy::a.example \"http://proxy:1\";\nAcquire::ftp::proxy \"http://u:p@proxy:1\";\n\
            Acquire::Retries \"3\";\n";
        assert_eq!(
            ways(dump),
            ["Acquire::http::Proxy \"http://proxy:3128\";", "Acquire::HTTPS::CAInfo \"/etc/ca.pem\";"]
        );
    }

    #[test]
    fn a_setting_is_the_first_of_its_key() {
        for (text, expected) in [
            ("[global]\nindex-url = https://a.example/?b=c\n", Some("https://a.example/?b=c")),
            ("extra-index-url = x\nindex-url=y\nindex-url=z\n", Some("y")),
            ("index-url =\nindex-url = z\n", None),
            ("#index-url = x\n", None),
            ("index-url\n", None),
            ("", None),
        ] {
            assert_eq!(value(text, "index-url").as_deref(), expected, "{text}");
        }
    }
}
