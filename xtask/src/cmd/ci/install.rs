//! `ci install`: installs this program as `cargo built`, so that it is compiled
//! once for all jobs.
//!
//! `cargo run` takes a tenth of a second per call, and compiles if nothing is
//! compiled yet. With `CARGO_ALIAS_XTASK=built` in its environment, cargo runs
//! `cargo-built …` for `cargo xtask …`, and this verb installs that program next
//! to cargo.

use anyhow::Context as _;
use camino::Utf8PathBuf;

use crate::cmd::objects::ci::Installed;
use crate::ctx::Ctx;
use crate::fault;

/// Runs the verb.
pub fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let home = match (ctx.env.get("CARGO_HOME"), ctx.env.get("HOME").or(ctx.env.get("USERPROFILE"))) {
        (Some(home), _) => Utf8PathBuf::from(home),
        (None, Some(home)) => Utf8PathBuf::from(home).join(".cargo"),
        (None, None) => return Err(fault::usage("neither CARGO_HOME nor HOME is set").into()),
    };
    let own = std::env::current_exe().context("the path of this program is unknown")?;
    let to = home.join("bin").join(format!("cargo-built{}", std::env::consts::EXE_SUFFIX));
    if !ctx.dry_run {
        let dir = home.join("bin");
        std::fs::create_dir_all(&dir).with_context(|| format!("could not create {dir}"))?;
        // Atomically, because another process may start it meanwhile.
        let half = dir.join(format!(".cargo-built.{}", std::process::id()));
        let copied = std::fs::copy(&own, &half).and_then(|_| std::fs::rename(&half, &to));
        if copied.is_err() {
            let _ = std::fs::remove_file(&half);
        }
        copied.with_context(|| format!("could not write {to}"))?;
    }
    ctx.result(&Installed { installed: to.to_string() }, || {
        format!("{to}; `export CARGO_ALIAS_XTASK=built` makes `cargo xtask` call it")
    })
}
