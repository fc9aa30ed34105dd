//! Only Debian's archive counts as Debian's: asked of a mirror on loopback that
//! does all that a hostile one would, with keys made for the test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use xtask::ctx::Ctx;
use xtask::engine::apt;
use xtask::engine::archive::Archive;
use xtask::exec::files::Temporary;
use xtask::fault;

const TOOLS: [&str; 5] = ["apt-get", "dpkg-deb", "gpg", "sha256sum", "date"];
const TEST: &str = "a_hostile_mirror_gives_us_nothing_and_a_strange_one_does_no_harm";
const INSIDE: &str = "XTASK_TEST_INSIDE";
const NAME: &str = "debian-archive-keyring";
const PASSWORD: &str = "hunter2";

fn sh(dir: &Utf8Path, line: &str) -> String {
    // dpkg-deb refuses folders that nobody else may read.
    let output = Command::new("sh").args(["-ec", &format!("umask 022; {line}")]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Gives out the files below a folder, and nothing else.
fn serve(dir: Utf8PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let dir = dir.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                // A client may ask for one thing after another.
                while let Some(first) = lines.next() {
                    let _rest = lines.by_ref().take_while(|line| !line.is_empty()).count();
                    let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
                    let (status, body) = match std::fs::read(dir.join(path)) {
                        Ok(body) => ("200 OK", body),
                        Err(_) => ("404 Not Found", Vec::new()),
                    };
                    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

/// Mirrors below one folder, each with one package of one version.
struct World {
    dir: Utf8PathBuf,
    address: String,
    _place: Temporary,
}

impl World {
    fn new() -> Self {
        let place = Temporary::new("world").unwrap();
        let dir = place.path().to_owned();
        std::fs::create_dir_all(dir.join("gnupg")).unwrap();
        std::fs::set_permissions(dir.join("gnupg"), std::fs::Permissions::from_mode(0o700)).unwrap();
        for who in ["debian", "vendor"] {
            let gpg = "gpg --homedir gnupg --batch --quiet";
            sh(&dir, &format!("{gpg} --passphrase '' --quick-generate-key {who}@example.org ed25519 sign never 2>&1"));
            sh(&dir, &format!("{gpg} --export {who}@example.org > {who}.gpg"));
        }
        let address = serve(dir.clone());
        Self { dir, address, _place: place }
    }

    /// A mirror in folder `at`; what it says of itself, and who signs it.
    fn mirror(&self, at: &str, version: &str, signer: &str, fields: &str) {
        let tree = format!("{at}.tree");
        let control = format!(
            "Package: {NAME}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
        );
        std::fs::create_dir_all(self.dir.join(&tree).join("DEBIAN")).unwrap();
        std::fs::write(self.dir.join(&tree).join("DEBIAN/control"), &control).unwrap();
        std::fs::write(self.dir.join(&tree).join("who"), at).unwrap();
        let arch = sh(&self.dir, "dpkg --print-architecture");
        let index = format!("main/binary-{arch}/Packages");
        sh(
            &self.dir,
            &format!(
                "mkdir -p {at}/pool {at}/dists/bookworm/main/binary-{arch}
                chmod -R u=rwX,go=rX {tree}
                dpkg-deb --build --root-owner-group {tree} {at}/pool/k.deb >/dev/null
                {{ cat {tree}/DEBIAN/control; echo Filename: pool/k.deb; echo Size: $(stat -c %s {at}/pool/k.deb);
                   echo SHA256: $(sha256sum < {at}/pool/k.deb | cut -d' ' -f1); }} > {at}/dists/bookworm/{index}
                cd {at}/dists/bookworm
                {{ printf '{fields}Architectures: {arch}\\nComponents: main\\n'
                   [ -n \"$(printf '{fields}' | grep ^Date)\" ] || echo \"Date: $(LC_ALL=C date -u -R)\"
                   echo SHA256:; echo \" $(sha256sum < {index} | cut -d' ' -f1) $(stat -c %s {index}) {index}\"; }} > Release
                gpg --homedir ../../../gnupg --batch --yes --quiet --local-user {signer}@example.org --clearsign -o InRelease Release"
            ),
        );
    }

    /// What `sources.list` says, opened with Debian's keys.
    fn open(&self, list: &str, settings: &str) -> anyhow::Result<Archive> {
        let settings_file = self.dir.join("host.conf");
        std::fs::write(&settings_file, settings).unwrap();
        let ctx = Ctx {
            root: self.dir.clone(),
            // As settings of the host's that apt reads before ours.
            exports: vec![("APT_CONFIG".to_owned(), settings_file.into_string())],
            ..common::ctx()
        };
        let list = list.replace("URL", &self.address);
        let home = self.dir.join("apt");
        let _ = std::fs::remove_dir_all(&home);
        let candidates = apt::debian([("sources.list", list.as_str())], "bookworm");
        let archive = Archive::open(&ctx, &home, candidates, &self.dir.join("debian.gpg"), "bookworm")?;
        archive.these(&ctx, &[NAME])?;
        archive.unpack(&ctx, &home.join("tree"))?;
        Ok(archive)
    }

    fn got(&self) -> String {
        std::fs::read_to_string(self.dir.join("apt/tree/who")).unwrap()
    }

    fn refused(&self, list: &str, settings: &str) -> String {
        match self.open(list, settings) {
            Ok(_) => panic!("{list} was taken, and gave {}", self.got()),
            Err(error) => format!("{}\n{}", fault::render(&error), fault::said(&error)),
        }
    }
}

#[test]
fn a_hostile_mirror_gives_us_nothing_and_a_strange_one_does_no_harm() {
    let path = std::env::var("PATH").unwrap_or_default();
    let missing: Vec<_> = TOOLS.iter().filter(|tool| which::which_in(tool, Some(&path), ".").is_err()).collect();
    if !missing.is_empty() {
        common::left_out("archives that are not Debian's", &format!("{missing:?}"));
        return;
    }
    // In a process of its own: what apt and we say of it goes where it is read
    // only if something is wrong.
    if std::env::var_os(INSIDE).is_none() {
        let exe = std::env::current_exe().unwrap();
        let output = Command::new(exe).args(["--exact", TEST, "--nocapture"]).env(INSIDE, "1").output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = said(&output.stdout) + &said(&output.stderr);
        assert!(output.status.success(), "{said}");
        // Neither apt nor we write out a password where something fails.
        assert!(!said.contains(PASSWORD) && said.contains("/nowhere"), "{said}");
        return;
    }
    let world = World::new();
    let says = "Origin: Debian\\nSuite: stable\\nCodename: bookworm\\n";
    world.mirror("good", "1", "debian", says);
    let good = "deb URL/good bookworm main\n";
    world.open(good, "").unwrap();
    assert_eq!(world.got(), "good");

    // Somebody else's, laid out as Debian's, with a higher version of the keys:
    // signed by himself, or by Debian's keys for something else.
    world.mirror("debian", "9999", "vendor", says);
    world.mirror("vendor", "9999", "debian", "Origin: Vendor\\nSuite: stable\\nCodename: bookworm\\n");
    world.mirror("other", "9999", "debian", "Origin: Debian\\nSuite: testing\\nCodename: trixie\\n");
    let weak = "APT::Get::AllowUnauthenticated \"true\";\nAcquire::AllowInsecureRepositories \"true\";\n\
                Acquire::Check-Valid-Until \"false\";\nDir::Etc::sourceparts \"/etc/apt/sources.list.d\";\n";
    for (strange, options) in [
        ("debian", ""),
        ("debian", "[trusted=yes signed-by=/x/vendor.gpg] "),
        ("vendor", "[trusted=yes] "),
        ("other", "[trusted=yes] "),
    ] {
        let list = format!("deb {options}URL/{strange} bookworm main\n");
        world.refused(&list, weak);
        let archive = world.open(&format!("{list}{good}"), weak).unwrap();
        assert_eq!((world.got().as_str(), archive.sources.len()), ("good", 1), "{strange} {options}");
    }
    let keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
    let words = world.refused(&format!("deb {keys} URL/debian bookworm main\n{good}"), "");
    assert!(words.contains("can't be trusted as Debian's"), "{words}");
    // Not there at all.
    world.open(&format!("deb URL/nowhere bookworm main\n{good}"), "").unwrap();
    let address = world.address.replace("://", &format!("://us:{PASSWORD}@"));
    world.open(&format!("deb {address}/nowhere bookworm main\ndeb {address}/good bookworm main\n"), "").unwrap();
    let list = world.dir.join("apt/sources.list");
    assert!(std::fs::read_to_string(&list).unwrap().contains(PASSWORD));
    assert_eq!(list.metadata().unwrap().permissions().mode() & 0o777, 0o600, "anybody can read a password");
    let words = world.refused(&format!("deb {address}/nowhere bookworm main\n"), "");
    assert!(words.contains("/nowhere") && !words.contains(PASSWORD), "{words}");

    // Debian's, but of long ago.
    let old = "Date: Sat, 01 Jan 2022 00:00:00 UTC\\nValid-Until: Sat, 08 Jan 2022 00:00:00 UTC\\n";
    world.mirror("stale", "0.9", "debian", &format!("{says}{old}"));
    let words = world.refused("deb [check-valid-until=no] URL/stale bookworm main\n", weak);
    assert!(words.contains("expired") && words.contains("clock"), "{words}");

    // Debian's lists, and another package than they say.
    world.mirror("changed", "1", "debian", says);
    let deb = world.dir.join("changed/pool/k.deb");
    std::fs::copy(world.dir.join("vendor/pool/k.deb"), &deb).unwrap();
    let size = world.dir.join("good/pool/k.deb").metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&deb).unwrap().set_len(size).unwrap();
    let words = world.refused("deb URL/changed bookworm main\n", weak);
    assert!(words.contains("Hash Sum mismatch") || words.contains("unexpected size"), "{words}");
    // And lists that were changed after they were signed.
    sh(&world.dir, "cp -r good bent; sed -i 's/^Version: 1/Version: 2/' bent/dists/bookworm/main/*/Packages");
    world.refused("deb URL/bent bookworm main\n", weak);
    sh(
        &world.dir,
        "cp -r good cut; sed -i 's/^Origin: Debian/Origin: Debian /; s/Components/components/' cut/dists/bookworm/InRelease",
    );
    world.refused("deb URL/cut bookworm main\n", weak);
}
