//! A plan is plain data: it can be printed, compared and tested, and it is
//! complete before the first process starts.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

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
        match &self.stdin {
            Some(text) => write!(f, " <<< {}", quote(text)),
            None => Ok(()),
        }
    }
}

/// Quotes a word for a shell, and only where it must be: `K=V` as an argument
/// is read as it stands.
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { Cow::Borrowed(word) } else { shell_words::quote(word) }
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
    fn a_step_prints_as_a_line_that_a_shell_reads_back() {
        let step = Step::new("docker").args(["run", "a b", "it's", "$HOME", ""]).env("K", "x y");
        let words = shell_words::split(&step.to_string()).unwrap();
        assert_eq!(words, ["K=x y", "docker", "run", "a b", "it's", "$HOME", ""]);
    }
}
