//! What the tests share: the binary, in surroundings that are pinned.

#![allow(clippy::unwrap_used, dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `xtask ARGS` in the repository, with the environment as it is.
pub fn xtask(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).current_dir(root()).env_remove("XTASK_ROOT");
    command
}

/// The same with no environment but what is said: a plan depends on nothing else.
pub fn pinned(args: &[&str]) -> Command {
    let mut command = xtask(args);
    command.env_clear().env("HOME", "/home/dev");
    command
}

/// What a command printed and how it ended, as the snapshots hold it.
pub fn transcript(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().map_or("a signal".into(), |code| code.to_string());
    let mut transcript = text(&output.stdout);
    if code != "0" {
        transcript.push_str(&format!("{}exit {code}\n", text(&output.stderr)));
    }
    // A snapshot holds for machines of either kind.
    transcript.replace("linux-arm64", "linux-amd64")
}
