//! The engine's folder: which folder it is, that it is ours alone, and where
//! things are in it.
//!
//! Programs in it run as root, we connect to its socket, and in the end we delete
//! it. So first we make sure that nobody else could have written it, and that we
//! created it: it contains a marker.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::ctx::Ctx;
use crate::exec::files::trouble::Helped as _;
use crate::exec::files::{self, trust};
use crate::fault;

/// The longest path of a Unix socket: 108 bytes with the final zero.
const SOCKET_PATH: usize = 107;
/// The name of the marker, and its content.
const MARKER: &str = "xtask-engine";
const MARK: &str = "This folder holds the private engine of `cargo xtask`. It was made by it, and\n\
                    `cargo xtask engine down --purge` deletes it.\n";
/// The entries of our folder. They are deleted in this order, the marker last, so
/// that a partly deleted folder is still recognised.
pub const NAMES: [&str; 28] = [
    "install.new",
    "fetch.new",
    "data",
    "exec",
    "ctd-root",
    "ctd-state",
    "tmp",
    "docker.sock",
    "ctd.sock",
    "ctd.sock.ttrpc",
    "dockerd.pid",
    "containerd.pid",
    "log",
    "etc",
    "cli",
    "bin",
    "sbin",
    "tree",
    "tools",
    "emulator",
    "emulator.new",
    "buildx",
    "bases",
    "bases.json",
    "network.json",
    "bases.lock",
    "engine.lock",
    MARKER,
];
/// The programs that are run from the folder.
const RUN: [&str; 5] = ["bin/docker", "bin/dockerd", "bin/containerd", "bin/runc", "cli/cli-plugins/docker-buildx"];

/// The folder, and the paths in it.
#[derive(Clone, Debug)]
pub struct EngineFolder {
    /// Its absolute path, without links.
    pub dir: Utf8PathBuf,
}

/// What a folder contains.
#[derive(Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    Engine,
    /// An engine of a version without markers.
    Earlier,
    Strange(String),
}

/// Decides by the names in it, by its marker, and by the layout of engines
/// without a marker.
fn holds(names: &[String], mark: Option<&str>, earlier: bool) -> Holds {
    let mut rest = names.iter().filter(|name| *name != "lost+found");
    match mark {
        Some(MARK) => Holds::Engine,
        // An empty marker: the disk was full, or we were killed. The folder is
        // ours.
        Some(begun) if MARK.starts_with(begun) && rest.clone().all(|name| name == MARKER) => Holds::Nothing,
        Some(_) => Holds::Strange(MARKER.to_owned()),
        None => match rest.clone().find(|name| !NAMES.contains(&name.as_str())) {
            Some(strange) => Holds::Strange(strange.clone()),
            None if earlier => Holds::Earlier,
            None => rest.next().map_or(Holds::Nothing, |name| Holds::Strange(name.clone())),
        },
    }
}

/// Whether this is an engine without a marker, which its list of packages and the
/// target of its dockerd link tell, or the record that `setup` leaves for another
/// engine.
fn is_earlier(names: &[String], packages: &str, program: &Path, record: &str) -> bool {
    let is_engine = packages.lines().any(|name| name.starts_with("containerd_"))
        && program.as_os_str() == "../tree/usr/sbin/dockerd";
    let is_record = || serde_json::from_str::<serde_json::Value>(record).is_ok_and(|it| it["mode"].is_string());
    let beside = ["bases.json", "bases.lock", "engine.lock"];
    is_engine || (names.iter().all(|name| beside.contains(&name.as_str())) && is_record())
}

impl EngineFolder {
    /// The folder for this run. It need not exist.
    pub fn of(ctx: &Ctx) -> anyhow::Result<Self> {
        let dir = ctx.engine_dir();
        let dir = if dir.is_absolute() { dir } else { ctx.root.canonicalize_utf8()?.join(dir) };
        // The path as it was given first, because a link on the way may belong to
        // somebody else.
        believe(ctx, &dir)?;
        let dir = dir.canonicalize_utf8().unwrap_or(dir);
        let longest = dir.join("ctd.sock.ttrpc");
        if longest.as_str().len() > SOCKET_PATH {
            return Err(fault::usage(format!(
                "{dir} is too long for an engine's folder: the path of a socket in it has {} bytes, and the limit is {SOCKET_PATH}",
                longest.as_str().len()
            ))
            .help("name a shorter one: export XTASK_ENGINE_DIR=/var/lib/xtask-engine")
            .into());
        }
        if dir.as_str().contains(['"', '\\', '\n', ':', ',']) {
            return Err(fault::usage(format!("an engine's folder can't be named {dir:?}"))
                .help("name another one: export XTASK_ENGINE_DIR=/var/lib/xtask-engine")
                .into());
        }
        let folder = Self { dir };
        if let Holds::Strange(name) = folder.holds(ctx)? {
            return Err(fault::usage(format!("{} holds other things than an engine: {name}", folder.dir))
                .help("set XTASK_ENGINE_DIR to an empty or a new folder")
                .into());
        }
        for name in NAMES {
            // The path up to here is checked; the target of a link is not.
            let path = folder.dir.join(name);
            match trust::look(path.as_std_path())? {
                Some(seen) if seen.kind != trust::FileKind::Link => relied_upon(&[seen], ctx)?,
                Some(_) => believe(ctx, &path)?,
                None => {}
            }
        }
        for name in RUN {
            believe(ctx, &folder.dir.join(name))?;
        }
        Ok(folder)
    }

    fn holds(&self, ctx: &Ctx) -> anyhow::Result<Holds> {
        // As bytes: names of other people's files need not be text.
        let Ok(entries) = fs::read_dir(&self.dir) else { return Ok(Holds::Nothing) };
        let names: Vec<_> = entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        let marker = self.dir.join(MARKER);
        let mark = match trust::look(marker.as_std_path())? {
            None => None,
            Some(seen) if seen.kind == trust::FileKind::File && trust::believed(ctx).contains(&seen.uid) => {
                Some(fs::read_to_string(&marker).with_context(|| format!("could not read {marker}"))?)
            }
            // Of somebody else, or no file: that is no beginning of our words.
            Some(_) => return Ok(Holds::Strange(MARKER.to_owned())),
        };
        Ok(holds(&names, mark.as_deref(), self.is_earlier(&names)))
    }

    fn is_earlier(&self, names: &[String]) -> bool {
        let text = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let program = fs::read_link(self.dir.join("bin/dockerd")).unwrap_or_default();
        is_earlier(names, &text("tree/packages"), &program, &text("bases.json"))
    }

    /// Creates the folder if necessary, and writes the marker.
    fn claim(&self, ctx: &Ctx) -> anyhow::Result<()> {
        let was_there = self.dir.exists();
        let parents = DirBuilder::new().recursive(true).mode(0o755).create(&self.dir);
        parents.helped(&self.dir, Some("XTASK_ENGINE_DIR"))?;
        believe(ctx, &self.dir)?;
        match self.holds(ctx)? {
            Holds::Engine => Ok(()),
            Holds::Strange(name) => {
                Err(fault::usage(format!("{} holds other things than an engine: {name}", self.dir)).into())
            }
            Holds::Nothing | Holds::Earlier => {
                let marker = self.dir.join(MARKER);
                // Another run that writes it at the same time writes the same
                // text.
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(false).mode(0o644).custom_flags(libc::O_NOFOLLOW);
                let written = options.open(&marker).and_then(|mut file| file.write_all(MARK.as_bytes()));
                if written.is_err() {
                    // An incomplete folder is removed, but not one that somebody
                    // else created.
                    let _ = fs::remove_file(&marker);
                    let _ = if was_there { Ok(()) } else { fs::remove_dir(&self.dir) };
                }
                written.helped(&marker, Some("XTASK_ENGINE_DIR"))
            }
        }
    }

    /// Locks the folder until the lock is dropped. The kernel releases it if the
    /// process dies.
    pub fn lock(&self, ctx: &Ctx, name: &str) -> anyhow::Result<File> {
        self.claim(ctx)?;
        let lock = files::lock(ctx, &self.dir.join(format!("{name}.lock")), "another xtask uses the folder")?;
        // Another run may have deleted everything while we waited.
        self.claim(ctx)?;
        Ok(lock)
    }

    /// The folder of the client, buildx and the daemons' programs.
    pub fn bin(&self) -> Utf8PathBuf {
        self.dir.join("bin")
    }

    /// The engine's socket.
    pub fn socket(&self) -> Utf8PathBuf {
        self.dir.join("docker.sock")
    }

    /// The pid file of a daemon.
    pub fn pid_file(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(format!("{name}.pid"))
    }

    /// The log of a daemon.
    pub fn log(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(format!("log/{name}.log"))
    }

    /// The environment of the daemons and network tools: our programs come first,
    /// and the libraries that the host lacks are added.
    pub fn env(&self, ctx: &Ctx) -> Vec<(String, String)> {
        let path = ctx.env.get("PATH").unwrap_or_default();
        let (bin, sbin) = (self.bin(), self.dir.join("sbin"));
        let mut env =
            vec![("PATH".to_owned(), format!("{bin}:{sbin}:{path}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"))];
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries: Vec<_> = ["usr/lib", "lib"]
            .iter()
            .map(|dir| self.dir.join("tree").join(dir).join(&triplet))
            .filter(|dir| dir.exists())
            .collect();
        if !libraries.is_empty() {
            let all: Vec<_> = libraries.iter().map(|dir| dir.as_str()).collect();
            env.push(("LD_LIBRARY_PATH".to_owned(), all.join(":")));
        }
        if let Some(dir) = libraries.iter().map(|dir| dir.join("xtables")).find(|dir| dir.exists()) {
            env.push(("XTABLES_LIBDIR".to_owned(), dir.into_string()));
        }
        env
    }
}

/// Refuses a path that somebody else could have replaced.
fn believe(ctx: &Ctx, path: &Utf8Path) -> anyhow::Result<()> {
    relied_upon(&trust::way(path.as_std_path())?, ctx)
}

fn relied_upon(way: &[trust::PathStep], ctx: &Ctx) -> anyhow::Result<()> {
    let Some(why) = trust::doubt(way, &trust::believed(ctx)) else { return Ok(()) };
    let fault = fault::usage(format!("the engine's folder can't be trusted: {why}"));
    Err(fault
        .help(
            "whoever can write there could run programs as you; take it back (chown, chmod go-w), or name a folder of your own by XTASK_ENGINE_DIR",
        )
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_ours_by_our_words_and_not_by_a_name_in_it() {
        let strange = |name: &str| Holds::Strange(name.to_owned());
        let rows: [(&[&str], Option<&str>, bool, Holds); 14] = [
            (&[], None, false, Holds::Nothing),
            (&["lost+found"], None, false, Holds::Nothing),
            (&["engine.lock"], None, false, strange("engine.lock")),
            (&["engine.lock", "thesis.pdf"], None, false, strange("thesis.pdf")),
            (&["data", "engine.lock"], None, false, strange("data")),
            (&["engine.lock", "tree", "bin"], None, true, Holds::Earlier),
            (&["engine.lock", "tree", "bin", "thesis.pdf"], None, true, strange("thesis.pdf")),
            (&[MARKER, "engine.lock"], Some(MARK), false, Holds::Engine),
            (&[MARKER, "engine.lock"], Some("mine"), true, strange(MARKER)),
            (&[MARKER, "thesis.pdf"], Some(MARK), false, Holds::Engine),
            (&[MARKER], Some(""), false, Holds::Nothing),
            (&[MARKER, "lost+found"], Some("This folder holds"), false, Holds::Nothing),
            (&[MARKER, "thesis.pdf"], Some(""), false, strange(MARKER)),
            (&[MARKER], Some("mine"), false, strange(MARKER)),
        ];
        for (names, mark, earlier, expected) in rows {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            assert_eq!(holds(&names, mark, earlier), expected, "{names:?}");
        }
    }

    #[test]
    fn a_folder_without_our_words_is_an_engines_by_its_layout_alone() {
        let (packages, program, record) = ("a_1\ncontainerd_2\n", "../tree/usr/sbin/dockerd", r#"{"mode":"local"}"#);
        for (names, packages, program, record, expected) in [
            ("tree bin thesis.pdf", packages, program, "", true),
            ("tree bin", "a_1\nmycontainerd_2\n", program, "", false),
            ("tree bin", packages, "/usr/sbin/dockerd", "", false),
            ("", "", "", record, true),
            ("bases.json bases.lock engine.lock", "", "", record, true),
            ("bases.json data", "", "", record, false),
            ("bases.json", "", "", r#"{"mode":1}"#, false),
            ("bases.json", "", "", "", false),
        ] {
            let list: Vec<_> = names.split_whitespace().map(str::to_owned).collect();
            assert_eq!(is_earlier(&list, packages, program.as_ref(), record), expected, "{names} {record}");
        }
    }

    #[test]
    fn our_words_count_in_a_file_of_ours_and_not_behind_a_link() {
        let place = files::Temporary::new("marker").unwrap();
        fs::create_dir_all(place.path()).unwrap();
        let folder = EngineFolder { dir: place.path().join("engine") };
        let (ctx, marker) = (Ctx::default(), folder.dir.join(MARKER));
        let held = || folder.holds(&ctx).unwrap();
        assert_eq!(held(), Holds::Nothing, "there is no folder");
        fs::create_dir(&folder.dir).unwrap();
        assert_eq!(held(), Holds::Nothing);
        fs::write(&marker, MARK).unwrap();
        assert_eq!(held(), Holds::Engine);
        fs::rename(&marker, place.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(place.path().join("elsewhere"), &marker).unwrap();
        assert_eq!(held(), Holds::Strange(MARKER.into()));
        fs::remove_file(&marker).unwrap();
        fs::create_dir(&marker).unwrap();
        assert_eq!(held(), Holds::Strange(MARKER.into()));
    }

    #[test]
    fn a_folder_is_taken_that_its_sockets_fit_in_and_that_leads_nowhere_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = files::Temporary::new("folder").unwrap();
        fs::create_dir_all(place.path()).unwrap();
        let root = place.path().canonicalize_utf8().unwrap();
        let of = |dir: &Utf8Path| {
            let env = [("XTASK_ENGINE_DIR", dir.as_str())].into_iter().collect();
            let found = EngineFolder::of(&Ctx { env, ..Ctx::default() });
            found.map(|folder| folder.dir).map_err(|error| error.to_string())
        };
        let of_length = |length: usize| {
            let rest = length - root.as_str().len() - "//ctd.sock.ttrpc".len();
            root.join("a".repeat(rest))
        };
        let (longest, longer) = (of_length(SOCKET_PATH), of_length(SOCKET_PATH + 1));
        assert_eq!(of(&longest), Ok(longest));
        assert!(of(&longer).unwrap_err().contains("too long"));
        assert!(of(&root.join("a,b")).unwrap_err().contains("can't be named"));

        let (ours, anybodys) = (root.join("ours"), root.join("anybodys"));
        for dir in [&ours, &anybodys] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(ours.join(MARKER), MARK).unwrap();
        fs::create_dir(ours.join("data")).unwrap();
        assert_eq!(of(&ours), Ok(ours.clone()));
        fs::remove_dir(ours.join("data")).unwrap();
        std::os::unix::fs::symlink(&anybodys, ours.join("data")).unwrap();
        assert_eq!(of(&ours), Ok(ours.clone()));
        fs::set_permissions(&anybodys, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(of(&ours).unwrap_err().contains("can't be trusted"));
    }
}
