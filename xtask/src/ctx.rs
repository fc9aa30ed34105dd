//! What a run knows of its surroundings, read once and passed as a value.
//!
//! Nothing below `main` asks the process for its environment or its terminal,
//! so a test can pin both.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

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

/// The surroundings of one run.
#[derive(Clone, Debug)]
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
        eprintln!("{}", line.as_ref());
    }

    /// Shows a command before it runs, as a line that pastes into a shell.
    pub fn show(&self, line: impl std::fmt::Display) {
        eprintln!("$ {line}");
    }

    /// Prints the result: `json` for a program, `text` for a person.
    pub fn result<T: serde::Serialize>(&self, json: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self.format {
            Format::Json => println!("{}", serde_json::to_string(json)?),
            Format::Text | Format::Github => println!("{}", text()),
        }
        Ok(())
    }

    /// The folder of the private engine and of what stand-ins are made from:
    /// `XTASK_ENGINE_DIR`, else below the user's data folder. It is the
    /// machine's, not the checkout's, so that every clone shares it; and its
    /// name is short, because the path of a Unix socket ends at 108 bytes.
    pub fn engine_dir(&self) -> Utf8PathBuf {
        if let Some(dir) = self.env.get("XTASK_ENGINE_DIR") {
            return dir.into();
        }
        let data = match (self.env.get("XDG_DATA_HOME"), self.env.get("HOME")) {
            (Some(data), _) => Utf8PathBuf::from(data),
            (None, Some(home)) => Utf8PathBuf::from(home).join(".local/share"),
            (None, None) => "/var/lib".into(),
        };
        data.join("xtask-engine")
    }
}
