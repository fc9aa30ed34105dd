//! What a run knows of its surroundings, read once and passed as a value.
//!
//! Nothing below `main` asks the process for its environment or its terminal,
//! so a test can pin both.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8PathBuf;

use crate::fault;
use crate::model::annotation::Command;
use crate::model::text;

/// The environment variables of the run. A value that is not UTF-8 is passed
/// to children untouched; of it we only know that it is there.
#[derive(Clone, Debug, Default)]
pub struct Env(BTreeMap<String, Option<String>>);

impl Env {
    /// The process's own environment; what has a name that is not UTF-8 is
    /// nothing that we look at.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()))).collect())
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref().filter(|value| !value.is_empty())
    }

    /// A variable that is set, also to nothing: its value, or none where that
    /// is not UTF-8.
    pub fn set(&self, name: &str) -> Option<Option<&str>> {
        self.0.get(name).map(Option::as_deref)
    }

    /// The names of all that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), Some(v.into()))).collect())
    }
}

/// How results are printed on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object, nothing else.
    Json,
    /// Text that a GitHub job's page shows too: as outputs and a summary (`ci plan`), beside the lines (`ci check`).
    Github,
}

/// What a verb prints for a program, in one piece: docs/json.md has them all.
pub trait Object: serde::Serialize {}

impl Object for fault::ErrorReport {}

/// The surroundings of one run.
#[derive(Clone, Debug, Default)]
pub struct Ctx {
    /// The folder that holds services.toml; every command runs there.
    pub root: Utf8PathBuf,
    /// The environment.
    pub env: Env,
    /// What stdout speaks.
    pub format: Format,
    /// Print the plan, run nothing.
    pub dry_run: bool,
    /// Show more of what is going on.
    pub verbose: bool,
    /// Whether a person watches stderr.
    pub terminal: bool,
    /// What every child gets on top of `env`: how the chosen engine is reached.
    pub exports: Vec<(String, String)>,
}

impl Ctx {
    /// Tells the person something. Never a result: those go to stdout.
    pub fn say(&self, line: impl AsRef<str>) {
        tell(line.as_ref());
    }

    /// Shows a command before it runs, as a line that pastes into a shell.
    pub fn show(&self, line: impl std::fmt::Display) {
        tell(&format!("$ {line}"));
    }

    /// Passes a line of a child on.
    pub fn line(&self, line: &str) {
        draw(&(text::line(line, self.terminal) + "\n"));
    }

    /// The same of a child that writes JSON, which stays JSON.
    pub fn json_line(&self, line: &str) {
        draw(&(text::json(line).into_owned() + "\n"));
    }

    /// Asks the person, on the same line as the answer.
    pub fn ask(&self, question: &str) {
        draw(&text::harmless(question));
    }

    /// Prints the result, once: `json` for a program, `text` for a person.
    pub fn result(&self, json: &impl Object, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        GIVEN.store(true, Ordering::Relaxed);
        deliver(&match self.format {
            Format::Json => text::json(&serde_json::to_string(json)?).into_owned(),
            Format::Text | Format::Github => text::harmless(&text()).into_owned(),
        })
    }

    /// Prints lines that GitHub's runner is to obey: the only ones.
    pub fn commands(&self, commands: &[Command]) -> anyhow::Result<()> {
        commands.iter().try_for_each(|command| deliver(&command.to_string()))
    }

    /// A variable as our children see it: what reaches the engine is ours to
    /// say. Set to what is not UTF-8, it has no value.
    pub fn variable(&self, name: &str) -> Option<Option<String>> {
        match self.exports.iter().find(|(key, _)| key == name) {
            Some((_, value)) => Some(Some(value.clone())),
            None => Some(self.env.set(name)?.map(str::to_owned)),
        }
    }

    /// The folder of the docker client's configuration and plugins. Where there is
    /// no HOME it asks the user database, which in containers says root.
    pub fn docker_config(&self) -> Utf8PathBuf {
        match self.variable("DOCKER_CONFIG").flatten().filter(|dir| !dir.is_empty()) {
            Some(dir) => dir.into(),
            None => self.default_docker_config(),
        }
    }

    /// The same where nobody chose another.
    pub fn default_docker_config(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(self.env.get("HOME").unwrap_or("/root")).join(".docker")
    }

    /// The user's folder for what can be made again; none: the environment
    /// names none.
    pub fn cache_dir(&self) -> Option<Utf8PathBuf> {
        self.folder_of_user("XDG_CACHE_HOME").or_else(|| Some(self.folder_of_user("HOME")?.join(".cache")))
    }

    /// What is no whole path would be another folder in each folder, and locks
    /// in it would hold nobody; the XDG specification passes over it as well.
    fn folder_of_user(&self, variable: &str) -> Option<Utf8PathBuf> {
        self.env.get(variable).map(Utf8PathBuf::from).filter(|dir| dir.is_absolute())
    }

    /// The folder of the private engine and of what stand-ins are made from:
    /// `XTASK_ENGINE_DIR`, else below the user's data folder. It is the
    /// machine's, not the checkout's, so that every clone shares it; and its
    /// name is short, because the path of a Unix socket ends at 108 bytes.
    pub fn engine_dir(&self) -> Utf8PathBuf {
        if let Some(dir) = self.env.get("XTASK_ENGINE_DIR") {
            return dir.into();
        }
        let home = || Some(self.folder_of_user("HOME")?.join(".local/share"));
        let data = self.folder_of_user("XDG_DATA_HOME").or_else(home).unwrap_or_else(|| "/var/lib".into());
        data.join("xtask-engine")
    }
}

/// Whether the one object of `--format json` was given, or lost on its way.
static GIVEN: AtomicBool = AtomicBool::new(false);

/// Tells a program how a command ended that came to no result. People have it
/// on stderr.
pub fn report(error: &anyhow::Error) {
    if !GIVEN.swap(true, Ordering::Relaxed) {
        // Without a reader it is an error all the same, and the process says so.
        let _ = serde_json::to_string(&fault::ErrorReport::of(error)).map(|report| deliver(&text::json(&report)));
    }
}

/// Tells people something on stderr. That nobody reads it, or that it can't be
/// written, is no reason to leave the work undone.
pub fn tell(text: &str) {
    draw(&(text::harmless(text).into_owned() + "\n"));
}

/// Writes to stderr as it is, in one piece.
pub fn draw(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a result to stdout. A result that nobody gets is a failure: quiet,
/// when the reader went away, as the end of a pipe is for every program.
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
            // Docker takes an empty word for none.
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
