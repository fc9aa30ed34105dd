//! What stand-ins are made from: our recipe, and what of the host goes in.

use std::fs;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::input;
use crate::exec::private::{Folder, packages};
use crate::model::base::fnv;

/// What the stand-ins are built from, by path in the build context.
const FILES: [(&str, &str); 11] = [
    ("Dockerfile", include_str!("../../../bases/Dockerfile")),
    ("install", include_str!("../../../bases/install")),
    ("install-python", include_str!("../../../bases/install-python")),
    ("node-entry.sh", include_str!("../../../bases/node-entry.sh")),
    ("postgres-entry.sh", include_str!("../../../bases/postgres-entry.sh")),
    ("redis-entry.sh", include_str!("../../../bases/redis-entry.sh")),
    ("nginx/nginx.conf", include_str!("../../../bases/nginx/nginx.conf")),
    ("nginx/default.conf", include_str!("../../../bases/nginx/default.conf")),
    ("nginx/index.html", include_str!("../../../bases/nginx/index.html")),
    ("nginx/50x.html", include_str!("../../../bases/nginx/50x.html")),
    ("nginx/entry.sh", include_str!("../../../bases/nginx/entry.sh")),
];

/// Debian's list of the authorities that are trusted.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// All authorities of the world are a quarter of a megabyte.
const AUTHORITIES: u64 = 16 << 20;

/// What of the host goes into stand-ins.
pub struct Inputs {
    bundle: Vec<u8>,
    local: Vec<(String, Vec<u8>)>,
    etc: Vec<(&'static str, String)>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

impl Inputs {
    /// Reads the host's.
    pub fn of_host(ctx: &Ctx) -> Self {
        let mut notes = Vec::new();
        let named = ctx.env.get("SSL_CERT_FILE").and_then(|file| {
            let read = input::read(file.into(), AUTHORITIES);
            read.map_err(|error| notes.push(format!("note: SSL_CERT_FILE={file} is left out: {error}"))).ok()
        });
        let bundle = named.or_else(|| input::read(BUNDLE.into(), AUTHORITIES).ok());
        let mut local = Vec::new();
        if let Ok(entries) = Utf8Path::new("/usr/local/share/ca-certificates").read_dir_utf8() {
            for entry in entries.flatten().filter(|entry| entry.file_name().ends_with(".crt")) {
                if let Ok(bytes) = input::read(entry.path(), AUTHORITIES) {
                    local.push((entry.file_name().to_owned(), bytes));
                }
            }
        }
        local.sort();
        let mut inputs = Self { bundle: bundle.unwrap_or_default(), local, etc: Vec::new(), notes };
        inputs.indexes(ctx);
        inputs
    }

    /// The package indexes that the host is told to use, for the stand-ins'
    /// own tools; what it uses by default they use by default.
    fn indexes(&mut self, ctx: &Ctx) {
        let home = ctx.env.get("HOME").unwrap_or("/root");
        let pip = ctx.env.get("PIP_INDEX_URL").map(str::to_owned).or_else(|| {
            let files =
                ["/etc/pip.conf".to_owned(), format!("{home}/.pip/pip.conf"), format!("{home}/.config/pip/pip.conf")];
            files.iter().rev().find_map(|file| setting(file, "index-url"))
        });
        let index = pip.and_then(|url| self.public(url)).map(|url| format!("index-url = {url}\n")).unwrap_or_default();
        // pip brings its own list of authorities; what the host trusts is in another.
        self.etc.push(("pip.conf", format!("[global]\ncert = {BUNDLE}\nroot-user-action = ignore\n{index}")));
        let uv = ["UV_DEFAULT_INDEX", "UV_INDEX_URL"].iter().find_map(|name| ctx.env.get(name));
        if let Some(url) = uv.map(str::to_owned).and_then(|url| self.public(url)) {
            self.etc.push(("uv/uv.toml", format!("[[index]]\nurl = {url:?}\ndefault = true\n")));
        }
        let npm = ["NPM_CONFIG_REGISTRY", "npm_config_registry"].iter().find_map(|name| ctx.env.get(name));
        let npm = npm.map(str::to_owned).or_else(|| setting(&format!("{home}/.npmrc"), "registry"));
        if let Some(url) = npm.and_then(|url| self.public(url)) {
            self.etc.push(("npmrc", format!("registry={url}\n")));
        }
    }

    /// A URL without a password in it: an image would carry that anywhere.
    fn public(&mut self, url: String) -> Option<String> {
        let user = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
        if user.is_some_and(|host| host.contains('@')) {
            self.notes.push(
                "note: this machine's package index has a password in its address; stand-ins are made without it"
                    .to_owned(),
            );
            return None;
        }
        Some(url)
    }

    /// The hash of all that stand-ins are made from, versions of packages aside.
    pub fn recipe(&self) -> String {
        let mut bytes = Vec::new();
        let mut add = |name: &str, text: &[u8]| {
            bytes.extend_from_slice(format!("{name} {}\n", text.len()).as_bytes());
            bytes.extend_from_slice(text);
        };
        for (name, text) in FILES {
            add(name, text.as_bytes());
        }
        add("bundle", &self.bundle);
        for (name, text) in &self.local {
            add(name, text);
        }
        for (name, text) in &self.etc {
            add(name, text.as_bytes());
        }
        format!("{:016x}", fnv(&bytes))
    }

    /// Writes the build context, all but the root file system.
    pub fn write(&self, folder: &Folder) -> anyhow::Result<Utf8PathBuf> {
        let context = folder.dir.join("bases/context");
        for name in ["host", "nginx"] {
            packages::remove(&context.join(name))?;
        }
        let write = |name: &str, text: &[u8]| -> anyhow::Result<()> {
            let path = context.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, text).with_context(|| format!("could not write {path}"))
        };
        for (name, text) in FILES {
            write(name, text.as_bytes())?;
        }
        write(&format!("host{BUNDLE}"), &self.bundle)?;
        for (name, text) in &self.local {
            write(&format!("host/usr/local/share/ca-certificates/{name}"), text)?;
        }
        for (name, text) in &self.etc {
            write(&format!("host/etc/{name}"), text.as_bytes())?;
        }
        Ok(context)
    }
}

/// `key = value` in a file of a simple kind.
fn setting(file: &str, key: &str) -> Option<String> {
    let text = input::text(file.into(), 1 << 20).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned());
    values.next().filter(|value| !value.is_empty())
}
