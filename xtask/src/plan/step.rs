//! A plan is plain data: it can be printed, compared and tested, and it is
//! complete before the first process starts.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::model::text::{harmless, is_obeyed};

/// Where a secret goes in a text.
pub const SECRET: &str = "{password}";

/// A word that is never on a command line, in a log or in a plan.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(word: impl Into<String>) -> Self {
        Self(word.into())
    }

    /// Puts it where [`SECRET`] stands.
    pub fn fill(&self, text: &str) -> String {
        text.replace(SECRET, &self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The program's name, as typed: `docker`, `cargo`, `mv`.
    pub tool: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is added to its environment. Never a secret: it is shown.
    pub env: Vec<(String, String)>,
    /// What is taken out of its environment.
    pub unset: Vec<String>,
    /// What it reads.
    pub stdin: Option<String>,
    /// What [`SECRET`] stands for in what it reads; no line shows it.
    pub secret: Option<Secret>,
    /// What to type when it fails.
    pub hint: Option<String>,
    /// How long it may take where we wait for its answer and nobody sees it run.
    pub limit: Option<Duration>,
}

impl Step {
    /// A command without arguments yet.
    pub fn new(tool: impl Into<String>) -> Self {
        Self { tool: tool.into(), ..Self::default() }
    }

    /// What `--setup` does first.
    pub fn setup() -> Self {
        Self::new("cargo").args(["xtask", "setup", "--yes"])
    }

    /// Appends one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Appends several arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Appends `flag value` for each value.
    #[must_use]
    pub fn each<S: Into<String>>(mut self, flag: &str, values: impl IntoIterator<Item = S>) -> Self {
        for value in values {
            self.args.push(flag.into());
            self.args.push(value.into());
        }
        self
    }

    /// Sets an environment variable for the command.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Feeds the command.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Feeds the command a text with a secret in it.
    #[must_use]
    pub fn stdin_with(mut self, text: impl Into<String>, secret: &Secret) -> Self {
        self.stdin = Some(text.into());
        self.secret = Some(secret.clone());
        self
    }

    /// What the command reads, secrets included.
    pub fn input(&self) -> Option<Cow<'_, str>> {
        let text = self.stdin.as_deref()?;
        Some(self.secret.as_ref().map_or(Cow::Borrowed(text), |secret| secret.fill(text).into()))
    }

    /// Sets how long we wait for the command's answer.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets what to type when the command fails.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.unset.is_empty() {
            write!(f, "env ")?;
        }
        for name in &self.unset {
            write!(f, "-u {} ", quote(name))?;
        }
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quote(value))?;
        }
        write!(f, "{}", quote(&self.tool))?;
        for arg in &self.args {
            write!(f, " {}", quote(arg))?;
        }
        match (&self.stdin, &self.secret) {
            (Some(text), None) => write!(f, " <<< {}", quote(text)),
            (Some(text), Some(_)) => write!(f, " <<< \"{}\"", with_variable(text)),
            (None, _) => Ok(()),
        }
    }
}

/// A text with a secret for between a shell's double quotes. Whoever pastes the
/// line has a secret of his own, or is told by the shell that he has none.
fn with_variable(text: &str) -> String {
    let escape = |c: char| if "\\\"$`".contains(c) { format!("\\{c}") } else { c.to_string() };
    let text = text.chars().map(escape).collect::<String>().replace(SECRET, "${NEED_PASSWORD:?}");
    text.replace('\n', "\"$'\\n'\"")
}

/// Quotes a word for a shell, and only where it must be: `K=V` as an argument
/// is read as it stands. What a terminal or a log would obey is written by its
/// code, which bash, zsh, ksh and busybox read back.
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,./@%".contains(c);
    if !word.is_empty() && !word.starts_with(':') && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    if harmless(word) == word && !word.contains('\n') {
        return shell_words::quote(word);
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\\' | '\'' => quoted.extend(['\\', c]),
            '[' | ':' => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            _ if is_obeyed(c) => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| quoted.push_str(&format!("\\x{byte:02x}")));
            }
            _ => quoted.push(c),
        }
    }
    Cow::Owned(quoted + "'")
}

/// Commands in order, and those that run at the end whatever happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Run one after the other; the first failure ends them.
    pub steps: Vec<Step>,
    /// Run afterwards, also after a failure or Ctrl-C.
    pub finally: Vec<Step>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps.iter().chain(&self.finally) {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_by_the_command_and_shown_by_nobody() {
        let step = Step::new("cat").stdin_with("A={password}\nB=$x\"`\\", &Secret::new("hunter2"));
        assert_eq!(step.input().as_deref(), Some("A=hunter2\nB=$x\"`\\"));
        assert!(!format!("{step} {step:?}").contains("hunter2"));
        assert!(!step.to_string().contains('\n'), "a step is one line");
        let pasted = |line: String| {
            let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
            (output.status.success(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(pasted(format!("NEED_PASSWORD=mine; {step}")), (true, "A=mine\nB=$x\"`\\\n".to_owned()));
        assert!(!pasted(format!("unset NEED_PASSWORD; {step}")).0);
    }

    #[test]
    fn a_step_prints_as_a_line_that_a_shell_reads_back() {
        let step = Step::new("docker").args(["run", "a b", "it's", "$HOME", ""]).env("K", "x y");
        let words = shell_words::split(&step.to_string()).unwrap();
        assert_eq!(words, ["K=x y", "docker", "run", "a b", "it's", "$HOME", ""]);
    }

    #[test]
    fn what_a_log_would_obey_is_written_by_its_code() {
        for (word, expected) in [
            ("a:b", "a:b"),
            ("\x1b[31mit's", "$'\\x1b\\x5b31mit\\'s'"),
            ("\u{202e}\\n", "$'\\xe2\\x80\\xae\\\\n'"),
            ("a\n::error::x", "$'a\\n\\x3a\\x3aerror\\x3a\\x3ax'"),
            ("::error::x", "$'\\x3a\\x3aerror\\x3a\\x3ax'"),
            ("##[error]x", "$'##\\x5berror]x'"),
        ] {
            assert_eq!(quote(word), expected);
        }
        let words = ["\x1b[31mit's", "\u{202e}\\n\n\r\t\\'", "##[error]ü", "::x\u{200d}", "\\x41", "::", "$'x'"];
        let line = Step::new("printf").arg("%s|").args(words).to_string();
        assert_eq!(harmless(&line), line);
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), words.map(|word| format!("{word}|")).concat());
    }
}
