//! What stand-ins are made from: our recipe, and what of the host goes in.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

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
            let written = (|| {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(&path, text)?;
                // Modes end in the image, and under `umask 077` its users could read nothing.
                fs::set_permissions(&path, Permissions::from_mode(0o644))?;
                let folders = path.ancestors().skip(1).take_while(|folder| *folder != context);
                folders.into_iter().try_for_each(|folder| fs::set_permissions(folder, Permissions::from_mode(0o755)))
            })();
            written.with_context(|| format!("could not write {path}"))
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs itself again with the umask: that is a process's, not a thread's.
    #[test]
    fn what_is_written_can_be_read_by_everybody_under_any_umask() {
        const NAME: &str = "exec::bases::inputs::tests::what_is_written_can_be_read_by_everybody_under_any_umask";
        let Some(dir) = std::env::var_os("XTASK_TEST_UMASK") else {
            let dir = std::env::temp_dir().join(format!("xtask-umask-{}", std::process::id()));
            let mut again = Command::new("sh");
            again.args(["-c", "umask 077; exec \"$0\" --exact \"$1\""]).arg(std::env::current_exe().unwrap()).arg(NAME);
            let output = again.env("XTASK_TEST_UMASK", &dir).output().unwrap();
            fs::remove_dir_all(&dir).unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        };
        let folder = Folder { dir: Utf8PathBuf::from_path_buf(dir.into()).unwrap() };
        let inputs = Inputs {
            bundle: b"bundle".to_vec(),
            local: vec![("a.crt".into(), b"a".to_vec())],
            etc: vec![("pip.conf", "x".into())],
            notes: Vec::new(),
        };
        fs::create_dir_all(&folder.dir).unwrap();
        let context = inputs.write(&folder).unwrap();
        let mut open = vec![context.join("host"), context.join("nginx"), context.join("install")];
        let mut count = 0;
        while let Some(path) = open.pop() {
            let found = path.metadata().unwrap();
            let expected = if found.is_dir() { 0o755 } else { 0o644 };
            assert_eq!(found.permissions().mode() & 0o777, expected, "{path}");
            if found.is_dir() {
                open.extend(path.read_dir_utf8().unwrap().map(|entry| entry.unwrap().path().to_owned()));
            }
            count += 1;
        }
        assert!(count > 8, "{count} files");
    }
}
