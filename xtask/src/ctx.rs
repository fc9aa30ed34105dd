//! The environment of a run, read once and passed as a value.
//!
//! Nothing below `main` reads the process's environment or asks for its terminal,
//! so a test can set both.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8PathBuf;

use crate::fault;
use crate::model::annotation::Command;
use crate::model::text;

/// The environment variables of the run. A value that is not UTF-8 is passed to
/// child processes unchanged; we only know that it exists.
#[derive(Clone, Debug, Default)]
pub struct Env(BTreeMap<String, Option<String>>);

impl Env {
    /// The process's own environment. Variables whose names are not UTF-8 are
    /// ignored.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()))).collect())
    }

    /// The value of a variable, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref().filter(|value| !value.is_empty())
    }

    /// A variable, even if it is empty: `None` if it is not set, `Some(None)` if
    /// its value is not UTF-8.
    pub fn set(&self, name: &str) -> Option<Option<&str>> {
        self.0.get(name).map(Option::as_deref)
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), Some(v.into()))).collect())
    }
}

/// The format of results on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// Text that a GitHub job's page shows too: as outputs and a summary (`ci plan`), beside the lines (`ci check`).
    Github,
}

/// A result for programs. docs/json.md documents them all.
pub trait Object: serde::Serialize {}

impl Object for fault::ErrorReport {}

/// The context of one run.
#[derive(Clone, Debug, Default)]
pub struct Ctx {
    /// The folder with services.toml. Every command runs there.
    pub root: Utf8PathBuf,
    /// The environment variables.
    pub env: Env,
    /// The format of results.
    pub format: Format,
    /// Print the plan, and run nothing.
    pub dry_run: bool,
    /// Show more details.
    pub verbose: bool,
    /// Whether stderr is a terminal.
    pub terminal: bool,
    /// Variables that every child process gets in addition to `env`: how to reach
    /// the chosen engine.
    pub exports: Vec<(String, String)>,
}

impl Ctx {
    /// Tells the person something on stderr. Results go to stdout.
    pub fn say(&self, line: impl AsRef<str>) {
        tell(line.as_ref());
    }

    /// Shows a command before it runs, as a line that pastes into a shell.
    pub fn show(&self, line: impl std::fmt::Display) {
        tell(&format!("$ {line}"));
    }

    /// Passes on an output line of a child process.
    pub fn line(&self, line: &str) {
        draw(&(text::line(line, self.terminal) + "\n"));
    }

    /// The same for a child process that writes JSON, which stays valid.
    pub fn json_line(&self, line: &str) {
        draw(&(text::json(line).into_owned() + "\n"));
    }

    /// Asks the person, and leaves the cursor on the line for the answer.
    pub fn ask(&self, question: &str) {
        draw(&text::harmless(question));
    }

    /// Prints the result once: `json` for programs, `text` for people.
    pub fn result(&self, json: &impl Object, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        GIVEN.store(true, Ordering::Relaxed);
        deliver(&match self.format {
            Format::Json => text::json(&serde_json::to_string(json)?).into_owned(),
            Format::Text | Format::Github => text::harmless(&text()).into_owned(),
        })
    }

    /// Prints lines that GitHub's runner obeys. Nothing else does.
    pub fn commands(&self, commands: &[Command]) -> anyhow::Result<()> {
        commands.iter().try_for_each(|command| deliver(&command.to_string()))
    }

    /// A variable as our child processes see it. We set those that lead to the
    /// engine. A value that is not UTF-8 reads as `None`.
    pub fn variable(&self, name: &str) -> Option<Option<String>> {
        match self.exports.iter().find(|(key, _)| key == name) {
            Some((_, value)) => Some(Some(value.clone())),
            None => Some(self.env.set(name)?.map(str::to_owned)),
        }
    }

    /// The folder with the docker client's configuration and plugins. Without
    /// HOME the client asks the user database, which says /root in containers.
    pub fn docker_config(&self) -> Utf8PathBuf {
        match self.variable("DOCKER_CONFIG").flatten().filter(|dir| !dir.is_empty()) {
            Some(dir) => dir.into(),
            None => self.default_docker_config(),
        }
    }

    /// The default folder.
    pub fn default_docker_config(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(self.env.get("HOME").unwrap_or("/root")).join(".docker")
    }

    /// The user's cache folder; `None` if the environment names none.
    pub fn cache_dir(&self) -> Option<Utf8PathBuf> {
        self.folder_of_user("XDG_CACHE_HOME").or_else(|| Some(self.folder_of_user("HOME")?.join(".cache")))
    }

    /// A relative path would be a different folder in each working directory, so
    /// locks in it would not work. The XDG specification also ignores it.
    fn folder_of_user(&self, variable: &str) -> Option<Utf8PathBuf> {
        self.env.get(variable).map(Utf8PathBuf::from).filter(|dir| dir.is_absolute())
    }

    /// The folder of the private engine and of the files for stand-ins:
    /// `XTASK_ENGINE_DIR`, or a folder in the user's data folder. It belongs to
    /// the machine and not to the checkout, so that all clones share it. Its name
    /// is short, because the path of a Unix socket has at most 108 bytes.
    pub fn engine_dir(&self) -> Utf8PathBuf {
        if let Some(dir) = self.env.get("XTASK_ENGINE_DIR") {
            return dir.into();
        }
        let home = || Some(self.folder_of_user("HOME")?.join(".local/share"));
        let data = self.folder_of_user("XDG_DATA_HOME").or_else(home).unwrap_or_else(|| "/var/lib".into());
        data.join("xtask-engine")
    }
}

/// Whether the one object of `--format json` has been printed, or was lost.
static GIVEN: AtomicBool = AtomicBool::new(false);

/// Tells a program how a command without a result ended. People see that on
/// stderr.
pub fn report(error: &anyhow::Error) {
    if !GIVEN.swap(true, Ordering::Relaxed) {
        // If this can't be written, the exit code still says it.
        let _ = serde_json::to_string(&fault::ErrorReport::of(error)).map(|report| deliver(&text::json(&report)));
    }
}

/// Prints a line on stderr. If it can't be written, the work goes on.
pub fn tell(text: &str) {
    draw(&(text::harmless(text).into_owned() + "\n"));
}

/// Writes to stderr unchanged, in one piece.
pub fn draw(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a result to stdout. An undelivered result is a failure. If the reader
/// has closed the pipe, it is a quiet one, as in other programs.
pub fn deliver(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written =
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => fault::unheard().into(),
        _ => fault::failed(format!("the result could not be written to stdout: {error}")).into(),
    })
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn of(env: &[(&str, &str)]) -> Ctx {
        Ctx { root: "/".into(), env: env.iter().copied().collect(), ..Ctx::default() }
    }

    #[test]
    fn a_folder_of_the_user_is_a_whole_path_or_passed_over() {
        for (cache, data, home, expected) in [
            ("/c", "/d", "/h", (Some("/c"), "/d/xtask-engine")),
            ("c", "./d", "/h", (Some("/h/.cache"), "/h/.local/share/xtask-engine")),
            ("-c", "d", "h", (None, "/var/lib/xtask-engine")),
            ("", "", "", (None, "/var/lib/xtask-engine")),
        ] {
            let ctx = of(&[("XDG_CACHE_HOME", cache), ("XDG_DATA_HOME", data), ("HOME", home)]);
            let found = (ctx.cache_dir(), ctx.engine_dir());
            assert_eq!((found.0.as_deref().map(Utf8Path::as_str), found.1.as_str()), expected, "{cache} {data} {home}");
        }
    }

    #[test]
    fn the_clients_folder_is_the_engines_then_the_chosen_then_the_users_own() {
        for (env, exported, expected) in [
            (&[("DOCKER_CONFIG", "/c"), ("HOME", "/h")][..], Some("/e/cli"), "/e/cli"),
            (&[("DOCKER_CONFIG", "/c"), ("HOME", "/h")], None, "/c"),
            // Docker ignores an empty value.
            (&[("DOCKER_CONFIG", ""), ("HOME", "/h")], None, "/h/.docker"),
            (&[("HOME", "/h")], None, "/h/.docker"),
            (&[], None, "/root/.docker"),
        ] {
            let mut ctx = of(env);
            ctx.exports.extend(exported.map(|dir| ("DOCKER_CONFIG".to_owned(), dir.to_owned())));
            assert_eq!(ctx.docker_config(), expected, "{env:?} {exported:?}");
        }
    }
}
