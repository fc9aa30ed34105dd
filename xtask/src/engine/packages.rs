//! Downloads the engine's programs: Debian packages, unpacked into one folder.
//!
//! Debian 12's engine is too old (no containerd image store, no named build
//! contexts). Debian 13's engine is new enough, and except for runc it runs with
//! Debian 12's C library. So on Debian 12 the engine comes from 13 and runc from
//! 12. Nothing is installed: apt uses its own lists and cache, and `dpkg-deb -x`
//! only unpacks.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::archive::Archive;
use super::{EngineFolder, apt, removal};
use crate::ctx::Ctx;
use crate::exec::files::{self, trust};
use crate::exec::{program, run};
use crate::fault::{self, Fault};
use crate::model::text;
use crate::plan::step::Step;

/// The release whose engine is new enough and still runs on Debian 12.
const ENGINE_RELEASE: &str = "trixie";
/// The engine's packages.
const ENGINE: [&str; 4] = ["docker.io", "docker-cli", "docker-buildx", "containerd"];
/// The packages it needs from the host's own release.
const BESIDE: [&str; 4] = ["runc", "tini", "mmdebstrap", "debian-archive-keyring"];
/// Host tools that may be missing, and their packages.
const TOOLS: [(&str, &str); 2] = [("iptables", "iptables"), ("ip", "iproute2")];
/// The programs in a complete `<folder>/bin`.
const PROGRAMS: [&str; 4] = ["docker", "dockerd", "containerd", "runc"];

/// The Debian release of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// `bookworm`.
    pub codename: String,
    /// Whether its own engine is too old.
    pub old: bool,
}

/// The host's release, or advice if no private engine can run here.
pub fn release() -> Result<Release, Fault> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if std::env::consts::OS != "linux" {
        return Err(fault::failed("the private engine is for Debian only")
            .help("install Docker Desktop, or `brew install colima docker docker-buildx && colima start`"));
    }
    // The owner of our own /proc entry is the effective user.
    let is_root = fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0);
    of_os_release(&text, is_root)
}

/// The same for a task without root, such as unpacking one program.
fn any_user() -> Result<Release, Fault> {
    of_os_release(&fs::read_to_string("/etc/os-release").unwrap_or_default(), true)
}

fn of_os_release(text: &str, root: bool) -> Result<Release, Fault> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let (id, like, codename) = (field("ID"), field("ID_LIKE"), field("VERSION_CODENAME"));
    let number: u32 = field("VERSION_ID").parse().unwrap_or(u32::MAX);
    let debian = id == "debian" && !codename.is_empty();
    let packages = "sudo apt-get install docker.io docker-buildx";
    if !debian {
        let pretty = field("PRETTY_NAME");
        let fault = fault::failed(format!(
            "the private engine needs Debian's packages, and this is {}",
            if pretty.is_empty() { "another system" } else { &pretty }
        ));
        return Err(if id == "ubuntu" || like.split(' ').any(|id| id == "ubuntu") {
            fault.help(packages)
        } else if id == "fedora" || like.contains("fedora") {
            fault.help("sudo dnf install moby-engine docker-buildx && sudo systemctl start docker")
        } else {
            fault.help("install Docker Engine 23 or newer with buildx, and start it")
        });
    }
    match (number, root) {
        (..12, _) => Err(fault::failed(format!("Debian {number} is too old for a private engine"))
            .help("install Docker Engine 23 or newer with buildx, and start it")),
        (12, false) => Err(fault::failed("setting up a private engine needs root")
            .help("sudo -E env \"PATH=$PATH\" cargo xtask setup --yes")),
        (_, false) => Err(fault::failed("setting up a private engine needs root").help(format!(
            "sudo apt-get install docker.io docker-cli docker-buildx && {join}",
            join = "sudo usermod -aG docker $USER"
        ))),
        (_, true) => Ok(Release { codename, old: number == 12 }),
    }
}

/// Whether all programs are installed.
pub fn installed(folder: &EngineFolder) -> bool {
    PROGRAMS.iter().all(|name| folder.bin().join(name).exists())
}

/// The host's entries that may be Debian's archive.
fn candidates(release: &Release) -> Vec<apt::AptSource> {
    let mut files = vec![Utf8PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = Utf8Path::new("/etc/apt/sources.list.d").read_dir_utf8() {
        let mut more: Vec<_> = entries.flatten().map(|entry| entry.into_path()).collect();
        more.retain(|path| matches!(path.extension(), Some("list" | "sources")));
        more.sort();
        files.extend(more);
    }
    let texts: Vec<_> = files.iter().filter_map(|path| Some((path.as_str(), fs::read_to_string(path).ok()?))).collect();
    let texts = texts.iter().map(|(path, text)| (*path, text.as_str()));
    apt::debian(texts, &release.codename)
}

/// The keys of Debian's archive, from the host's own package.
pub fn keyring() -> anyhow::Result<Utf8PathBuf> {
    let known =
        ["gpg", "pgp"].map(|end| Utf8PathBuf::from(format!("/usr/share/keyrings/debian-archive-keyring.{end}")));
    let Some(keyring) = known.into_iter().find(|path| path.exists()) else {
        return Err(fault::failed("the keys of Debian's archive are not installed")
            .help("sudo apt-get install debian-archive-keyring")
            .into());
    };
    match trust::doubt(&trust::way(keyring.as_std_path())?, &[0]) {
        Some(why) => Err(fault::failed(format!("the keys of Debian's archive can't be trusted: {why}")).into()),
        None => Ok(keyring),
    }
}

/// The archive of the host's own release, with its lists in `home`.
fn archive(ctx: &Ctx, release: &Release, home: &Utf8Path) -> anyhow::Result<Archive> {
    Archive::open(ctx, home, candidates(release), &keyring()?, &release.codename)
}

/// Which entries were Debian's when the engine was installed. To ask again would
/// take as long as downloading the lists.
#[derive(Serialize, Deserialize)]
struct AskedSources {
    entries: Vec<apt::AptSource>,
    debian: Vec<apt::AptSource>,
}

/// It is next to the programs, which only we can write.
const ASKED: &str = "sources.json";

/// The sources for a root file system of release `name`.
pub fn lines(ctx: &Ctx, folder: &EngineFolder, name: &str) -> anyhow::Result<Vec<String>> {
    let release = release()?;
    let entries = candidates(&release);
    let text = files::read(&folder.dir.join("tree").join(ASKED)).unwrap_or_default();
    let known = serde_json::from_str::<AskedSources>(&text).ok().filter(|asked| asked.entries == entries);
    let debian = match known {
        Some(asked) => asked.debian,
        None => {
            let work = folder.dir.join("fetch.new");
            removal::tree(work.as_std_path())?;
            let found = archive(ctx, &release, &work).map(|archive| archive.sources);
            removal::tree(work.as_std_path())?;
            found?
        }
    };
    let keyring = keyring()?;
    Ok(debian.iter().map(|source| source.of_release(&release.codename, name).line(&keyring)).collect())
}

/// Refuses a folder whose name apt would split or can't read.
pub fn can_lie_in(folder: &EngineFolder) -> Result<(), Fault> {
    let is_odd = |c: char| c.is_whitespace() || text::is_obeyed(c);
    if !folder.dir.as_str().contains(is_odd) {
        return Ok(());
    }
    Err(fault::usage(format!("apt can't use a folder with a blank in its name: {:?}", folder.dir.as_str()))
        .help("name another one: export XTASK_ENGINE_DIR=/var/lib/xtask-engine"))
}

/// Downloads and unpacks everything, unless it is installed. The caller holds the
/// folder's lock.
pub fn install(ctx: &Ctx, folder: &EngineFolder) -> anyhow::Result<()> {
    if installed(folder) {
        return Ok(());
    }
    let release = release()?;
    ctx.say(format!("A private engine from Debian's packages, in {}", folder.dir));
    let work = folder.dir.join("install.new");
    removal::tree(work.as_std_path())?;
    let done = assemble(ctx, folder, &release, &work);
    // An incomplete tree is useless, and it may be what fills the disk.
    let removed = removal::tree(work.as_std_path());
    done.and(removed)
}

fn assemble(ctx: &Ctx, folder: &EngineFolder, release: &Release, work: &Utf8Path) -> anyhow::Result<()> {
    let tree = work.join("tree");
    fs::create_dir_all(&tree).with_context(|| format!("could not create {tree}"))?;
    let own = archive(ctx, release, &work.join("own"))?;
    let mut wanted: Vec<&str> = BESIDE.to_vec();
    for (tool, package) in TOOLS {
        if program::find_tool(ctx, tool).is_none() {
            wanted.push(package);
        }
    }
    if !release.old {
        wanted.extend(ENGINE);
    }
    own.missing(ctx, &wanted)?;
    own.these(ctx, &wanted)?;
    own.unpack(ctx, &tree)?;
    let mut names = own.names()?;

    if release.old {
        // The keyring from the host's own, verified packages knows the newer
        // release; the installed one may be too old.
        let keyring = tree.join("usr/share/keyrings/debian-archive-keyring.gpg");
        let newer = Archive::open(ctx, &work.join("newer"), own.newer(release), &keyring, ENGINE_RELEASE)?;
        newer.these(ctx, &ENGINE)?;
        newer.unpack(ctx, &tree)?;
        names.extend(newer.names()?);
    }
    names.sort();
    names.dedup();
    fs::write(tree.join("packages"), names.join("\n") + "\n")?;
    let asked = AskedSources { entries: candidates(release), debian: own.sources };
    files::write(&tree.join(ASKED), serde_json::to_string(&asked)?)?;
    place(ctx, folder, work, &tree)
}

impl Archive {
    /// The same mirrors, for the release of the engine.
    fn newer(&self, release: &Release) -> Vec<apt::AptSource> {
        let sources = self.sources.iter().filter(|source| !source.suite.ends_with("-updates"));
        sources.map(|source| source.of_release(&release.codename, ENGINE_RELEASE)).collect()
    }
}

/// Moves a complete tree to its final path.
fn place(ctx: &Ctx, folder: &EngineFolder, work: &Utf8Path, tree: &Utf8Path) -> anyhow::Result<()> {
    let plugin = "usr/libexec/docker/cli-plugins/docker-buildx";
    // If a program can't even print its version (the C library is too old, or a
    // library is missing), it would fail as a daemon with a worse message.
    run::read(ctx, &Step::new(tree.join("usr/sbin/dockerd")).arg("--version"))
        .context("the engine's programs do not run on this machine")?;
    // These need libraries from the tree, so they are for the daemons alone and
    // not on the client's PATH.
    let is_network_tool = |name: &str| name.starts_with("xtables-") || ["ip", "bridge"].contains(&name);
    let is_program = |name: &str| !name.contains("tables") && name != "nfnl_osf" && !is_network_tool(name);
    link_all(work, tree, "bin", ["usr/bin", "usr/sbin"], is_program)?;
    link_all(work, tree, "sbin", ["usr/sbin", "sbin"], is_network_tool)?;
    remove(&folder.dir.join("tree"))?;
    fs::rename(tree, folder.dir.join("tree"))?;
    for to in ["sbin", "bin"] {
        remove(&folder.dir.join(to))?;
        fs::rename(work.join(to), folder.dir.join(to))?;
    }
    let plugins = folder.dir.join("cli/cli-plugins");
    fs::create_dir_all(&plugins)?;
    link(&format!("../../tree/{plugin}"), &plugins.join("docker-buildx"))
}

/// Links those programs from some folders of the tree that are wanted.
fn link_all(
    work: &Utf8Path,
    tree: &Utf8Path,
    to: &str,
    from: [&str; 2],
    is_wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    fs::create_dir_all(work.join(to))?;
    for dir in from {
        let Ok(entries) = tree.join(dir).read_dir_utf8() else { continue };
        for entry in entries.flatten().filter(|entry| is_wanted(entry.file_name())) {
            let name = entry.file_name();
            link(&format!("../tree/{dir}/{name}"), &work.join(to).join(name))?;
        }
    }
    Ok(())
}

/// Unpacks single packages into `into` below the folder; with `newer`, from the
/// release of the engine. Needs no root.
pub fn fetch(ctx: &Ctx, folder: &EngineFolder, names: &[&str], newer: bool, into: &str) -> anyhow::Result<()> {
    let release = any_user()?;
    let work = folder.dir.join("fetch.new");
    removal::tree(work.as_std_path())?;
    let done = fetched(ctx, folder, &release, &work, names, newer, into);
    done.and(removal::tree(work.as_std_path()))
}

fn fetched(
    ctx: &Ctx,
    folder: &EngineFolder,
    release: &Release,
    work: &Utf8Path,
    names: &[&str],
    newer: bool,
    into: &str,
) -> anyhow::Result<()> {
    let tree = work.join("tree");
    fs::create_dir_all(&tree)?;
    let mut from = archive(ctx, release, &work.join("apt"))?;
    if newer && release.old {
        from = Archive::open(ctx, &work.join("newer"), from.newer(release), &from.keyring, ENGINE_RELEASE)?;
    }
    from.these(ctx, names)?;
    from.unpack(ctx, &tree)?;
    let target = folder.dir.join(into);
    removal::tree(target.as_std_path())?;
    fs::rename(&tree, &target).with_context(|| format!("could not create {target}"))
}

/// Removes a folder or a link, if it exists.
pub fn remove(path: &Utf8Path) -> anyhow::Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if found.is_dir() {
        return removal::tree(path.as_std_path());
    }
    let removed = fs::remove_file(path);
    removed.with_context(|| format!("could not remove {path}"))
}

fn link(to: &str, at: &Utf8Path) -> anyhow::Result<()> {
    remove(at)?;
    std::os::unix::fs::symlink(to, at).with_context(|| format!("could not link {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(text: &str, root: bool) -> String {
        fault::render(&of_os_release(text, root).unwrap_err().into())
    }

    #[test]
    fn an_engine_lies_where_apt_can_read() {
        let at = |dir: &str| can_lie_in(&EngineFolder { dir: dir.into() });
        assert!(at("/home/jürgen/.local/share/xtask-engine").is_ok());
        for dir in ["/my name/e", "/a\tb", "/a\u{1b}b", "/a\u{202e}b", "/a\u{a0}b"] {
            let error = at(dir).unwrap_err();
            assert!(error.code == fault::Code::Usage && error.to_string().contains(&format!("{dir:?}")), "{error}");
        }
    }

    #[test]
    fn each_system_gets_its_own_line() {
        let twelve = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        let thirteen = "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n";
        let sid = "ID=debian\nVERSION_CODENAME=forky\n";
        assert!(of_os_release(twelve, true).unwrap().old);
        assert!(!of_os_release(thirteen, true).unwrap().old);
        assert!(!of_os_release(sid, true).unwrap().old);
        assert!(help(twelve, false).contains("sudo -E env"));
        assert!(help(thirteen, false).contains("sudo apt-get install docker.io"));
        assert!(help("ID=debian\nVERSION_ID=11\nVERSION_CODENAME=bullseye", true).contains("too old"));
        assert!(help("ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME=\"Ubuntu 24.04\"", true).contains("docker-buildx"));
        assert!(help("ID=fedora", true).contains("dnf"));
        assert!(help("", true).contains("another system"));
    }
}
