//! QEMU as the kernel knows it: the entries of binfmt_misc, and the line that makes
//! one. The kernel starts an interpreter for a program by the first bytes of the
//! program.

use crate::model::platform::Platform;

/// The architectures that QEMU runs, by its own name: whether they have 64 bits,
/// whether the lowest byte comes first, and their number in an ELF header.
const MACHINES: [(&str, bool, bool, u8); 7] = [
    ("x86_64", true, true, 62),
    ("i386", false, true, 3),
    ("aarch64", true, true, 183),
    ("arm", false, true, 40),
    ("ppc64le", true, true, 21),
    ("s390x", true, false, 22),
    ("riscv64", true, true, 243),
];

/// The start of a program for a platform.
fn magic(platform: &Platform) -> Option<[u8; 20]> {
    let (_, wide, little, machine) = MACHINES.into_iter().find(|(name, ..)| *name == platform.emulator())?;
    let mut magic = [0; 20];
    magic[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, if little { 1 } else { 2 }, 1]);
    // An executable; the mask lets a shared object through, which most of them are.
    let (kind, machine) = if little { ([2, 0], [machine, 0]) } else { ([0, 2], [0, machine]) };
    magic[16..18].copy_from_slice(&kind);
    magic[18..].copy_from_slice(&machine);
    Some(magic)
}

/// The line that registers an interpreter, as the kernel reads it; nothing for a
/// platform that QEMU does not run. `F`: the kernel opens the interpreter now, so
/// that containers need not have it. `P`: the program keeps its name.
pub fn registration(name: &str, platform: &Platform, interpreter: &str) -> Option<String> {
    let magic = magic(platform)?;
    let is_little = magic[5] == 1;
    let mut mask = [0xff; 20];
    mask[7] = 0;
    mask[if is_little { 16 } else { 17 }] = 0xfe;
    let escaped = |bytes: [u8; 20]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    Some(format!(":{name}:M::{}:{}:{interpreter}:OPF", escaped(magic), escaped(mask)))
}

/// Whether an entry starts an interpreter for programs of a platform.
pub fn runs(entry: &str, platform: &Platform) -> bool {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let Some(wanted) = magic(platform) else { return false };
    let magic = entry.lines().find_map(|line| line.strip_prefix("magic "));
    let Some(magic) = magic.map(str::trim).filter(|_| entry.lines().next() == Some("enabled")) else { return false };
    // What stands between may be masked, and others write it as they like.
    magic.starts_with(&hex(&wanted[..6])) && magic.get(36..40) == Some(hex(&wanted[18..]).as_str())
}

/// What our entries are named with, before what tells one folder's from another's.
pub const PREFIX: &str = "xtask-";

/// Whether we made an entry from a folder: by its name, and an interpreter in there.
pub fn is_ours(name: &str, entry: &str, folder: &str) -> bool {
    let interpreter = entry.lines().find_map(|line| line.strip_prefix("interpreter "));
    let below = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    name.starts_with(PREFIX) && interpreter.is_some_and(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(name: &str) -> Platform {
        name.parse().unwrap()
    }

    #[test]
    fn an_interpreter_is_registered_as_debian_does_it() {
        let line = |name| registration("qemu", &platform(name), "/e/aarch64-binfmt-P");
        assert_eq!(
            line("linux/arm64").unwrap(),
            r":qemu:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/e/aarch64-binfmt-P:OPF"
        );
        assert_eq!(
            line("linux/s390x").unwrap(),
            r":qemu:M::\x7f\x45\x4c\x46\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff:/e/aarch64-binfmt-P:OPF"
        );
        assert!(line("linux/arm/v7").unwrap().starts_with(r":qemu:M::\x7f\x45\x4c\x46\x01\x01\x01"));
        assert!(line("linux/386").unwrap().contains(r"\x02\x00\x03\x00:"));
    }

    const ENTRY: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_entry_runs_the_programs_that_it_is_enabled_for() {
        for (entry, name, expected) in [
            (ENTRY.to_owned(), "linux/arm64", true),
            (ENTRY.to_owned(), "linux/riscv64", false),
            (ENTRY.to_owned(), "linux/arm/v7", false),
            (ENTRY.replace("enabled", "disabled"), "linux/arm64", false),
            (ENTRY.replace("magic 7f454c46020101", "magic 7f454c46020100"), "linux/arm64", true),
            (ENTRY.replace("magic 7f45", "magic 7f46"), "linux/arm64", false),
            ("enabled\nextension .jar\n".to_owned(), "linux/arm64", false),
            (String::new(), "linux/arm64", false),
        ] {
            assert_eq!(runs(&entry, &platform(name)), expected, "{name} {entry}");
        }
    }

    #[test]
    fn ours_is_what_has_our_name_and_our_interpreter() {
        let entry = ENTRY.replace("/usr/libexec/qemu-binfmt", "/e/emulator");
        for (name, entry, expected) in [
            ("xtask-ff-aarch64", entry.as_str(), true),
            ("qemu-aarch64", &entry, false),
            ("xtask-ff-aarch64", ENTRY, false),
            ("xtask-ff-aarch64", &entry.replace("/e/", "/e2/"), false),
            ("xtask-ff-aarch64", "", false),
        ] {
            assert_eq!(is_ours(name, entry, "/e"), expected, "{name} {entry}");
        }
    }
}
