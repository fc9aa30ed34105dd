//! The files that stand-ins are built from.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use camino::Utf8Path;
use docker_context::dockerfile::mounts::{Mount, with_mounts};

use crate::engine::packages;
use crate::model::identity;

/// The files of the build context, by path.
const FILES: [(&str, &str); 13] = [
    ("Dockerfile", include_str!("../../bases/Dockerfile")),
    ("install", include_str!("../../bases/install")),
    ("install-python", include_str!("../../bases/install-python")),
    ("install-node", include_str!("../../bases/install-node")),
    ("foreign", include_str!("../../bases/foreign")),
    ("node-entry.sh", include_str!("../../bases/node-entry.sh")),
    ("postgres-entry.sh", include_str!("../../bases/postgres-entry.sh")),
    ("redis-entry.sh", include_str!("../../bases/redis-entry.sh")),
    ("nginx/nginx.conf", include_str!("../../bases/nginx/nginx.conf")),
    ("nginx/default.conf", include_str!("../../bases/nginx/default.conf")),
    ("nginx/index.html", include_str!("../../bases/nginx/index.html")),
    ("nginx/50x.html", include_str!("../../bases/nginx/50x.html")),
    ("nginx/entry.sh", include_str!("../../bases/nginx/entry.sh")),
];

/// Cleans the root file system before it is packed: it keeps nothing of this
/// machine, neither its name and resolver nor its mirror.
pub const HOOK: &str = r#"set -e; umask 022
rm -rf "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/apt/sources.list.d/*.list "$1"/var/log/apt
rm -f "$1"/var/log/*.log
echo localhost > "$1/etc/hostname"
: > "$1/etc/resolv.conf"
for suite in debian\ bookworm debian\ bookworm-updates debian-security\ bookworm-security; do
    echo "deb http://deb.debian.org/$suite main"
done > "$1/etc/apt/sources.list""#;

/// The hash of everything that stand-ins are built from, except for versions of
/// packages.
pub fn recipe() -> String {
    let parts: Vec<&str> = FILES.iter().chain(&[("hook", HOOK)]).flat_map(|(name, text)| [*name, *text]).collect();
    format!("{:016x}", identity::short_hash(&parts))
}

/// Writes the build context without the root file system. `mounts` are added to
/// the steps.
pub fn write(context: &Utf8Path, mounts: &[Mount]) -> anyhow::Result<()> {
    for name in ["host", "nginx", "debian.tar"] {
        packages::remove(&context.join(name))?;
    }
    for (name, text) in FILES {
        let path = context.join(name);
        let text = match name {
            "Dockerfile" => with_mounts(text.as_bytes(), mounts),
            _ => text.as_bytes().to_vec(),
        };
        place(context, &path, &text).with_context(|| format!("could not write {path}"))?;
    }
    Ok(())
}

fn place(context: &Utf8Path, path: &Utf8Path, text: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    // File modes end in the image: with `umask 077` its users could not read
    // anything.
    fs::set_permissions(path, Permissions::from_mode(0o644))?;
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != context);
    folders.into_iter().try_for_each(|folder| fs::set_permissions(folder, Permissions::from_mode(0o755)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use camino::Utf8PathBuf;

    use super::*;

    /// Runs this program again under the umask, which a process has, not a
    /// thread.
    #[test]
    fn what_is_written_can_be_read_by_everybody_under_any_umask() {
        const NAME: &str = "standin::inputs::tests::what_is_written_can_be_read_by_everybody_under_any_umask";
        let Some(dir) = std::env::var_os("XTASK_TEST_UMASK") else {
            let dir = std::env::temp_dir().join(format!("xtask-umask-{}", std::process::id()));
            let mut again = Command::new("sh");
            again.args(["-c", "umask 077; exec \"$0\" --exact \"$1\""]).arg(std::env::current_exe().unwrap()).arg(NAME);
            let output = again.env("XTASK_TEST_UMASK", &dir).output().unwrap();
            fs::remove_dir_all(&dir).unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        };
        let context = Utf8PathBuf::from_path_buf(dir.into()).unwrap().join("bases/context");
        write(&context, &[]).unwrap();
        let mut open: Vec<Utf8PathBuf> =
            context.read_dir_utf8().unwrap().map(|entry| entry.unwrap().path().to_owned()).collect();
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

    #[test]
    fn nothing_of_the_host_is_in_the_recipe() {
        let dockerfile = FILES.iter().find(|(name, _)| *name == "Dockerfile").unwrap().1;
        let copies = dockerfile.lines().filter(|line| line.starts_with("COPY") || line.starts_with("ADD"));
        assert!(copies.clone().count() > 5);
        for line in copies {
            assert!(!line.contains("host"), "{line}");
        }
    }
}
