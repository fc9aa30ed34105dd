//! A plan is plain data: it can be printed, compared and tested.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::model::text::{harmless, is_obeyed};

/// The placeholder for a secret in a text.
pub const SECRET: &str = "{password}";

/// The shell variable that holds the secret in printed lines.
const PASSWORD: &str = "NEED_PASSWORD";

/// Where the digest goes of an image that is only about to be built.
pub const DIGEST: &str = "{digest}";

/// The variable of a shell that has it.
const DIGEST_VARIABLE: &str = "DIGEST";

/// A text that never appears on a command line, in a log or in a printed plan.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(word: impl Into<String>) -> Self {
        Self(word.into())
    }

    /// Replaces [`SECRET`] in a text.
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
    /// The name of the program, as typed: `docker`, `cargo`, `mv`.
    pub tool: String,
    /// Its arguments, as they are printed.
    pub args: Vec<String>,
    /// The arguments to run with, if `args` can't be used: they contain paths
    /// that are gone when somebody pastes the line.
    pub own_args: Option<Vec<String>>,
    /// Variables to set. Never a secret, because they are printed.
    pub env: Vec<(String, String)>,
    /// The same for this run alone, which no line shows.
    pub own_env: Vec<(String, String)>,
    /// Variables to remove.
    pub unset: Vec<String>,
    /// The text for its stdin.
    pub stdin: Option<String>,
    /// The value of [`SECRET`] in that text. It is never printed.
    pub secret: Option<Secret>,
    /// Whether it writes JSON, which must stay valid.
    pub writes_json: bool,
    /// What to type if it fails.
    pub hint: Option<String>,
    /// The time limit for a step whose answer we wait for without showing it.
    pub limit: Option<Duration>,
    /// Words in front of it, on its line: the command that makes what it needs.
    /// Who runs it has made that already.
    pub through: Vec<String>,
    /// Whether [`DIGEST`] in its arguments stands for a digest.
    pub of_digest: bool,
}

impl Step {
    /// A command without arguments.
    pub fn new(tool: impl Into<String>) -> Self {
        Self { tool: tool.into(), ..Self::default() }
    }

    /// Sets whether it writes JSON.
    #[must_use]
    pub fn json(self, writes_json: bool) -> Self {
        Self { writes_json, ..self }
    }

    /// The step that `--setup` runs first.
    pub fn setup() -> Self {
        Self::new("cargo").args(["xtask", "setup", "--yes"])
    }

    /// Says what a pasted line has in front.
    #[must_use]
    pub fn through<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        Self { through: words.into_iter().map(Into::into).collect(), ..self }
    }

    /// Says that its arguments have a place for a digest.
    #[must_use]
    pub fn of_digest(self) -> Self {
        Self { of_digest: true, ..self }
    }

    /// With that digest in its place.
    #[must_use]
    pub fn on(&self, digest: &str) -> Self {
        let mut step = self.clone();
        if self.of_digest {
            let args = step.args.iter_mut().chain(step.own_args.iter_mut().flatten());
            args.for_each(|arg| *arg = arg.replace(DIGEST, digest));
            step.of_digest = false;
        }
        step
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

    /// Runs with the arguments of another step, but prints its own.
    #[must_use]
    pub fn run_as(mut self, own: Self) -> Self {
        self.own_args = Some(own.args);
        self
    }

    /// The arguments to run with.
    pub fn argv(&self) -> &[String] {
        self.own_args.as_ref().unwrap_or(&self.args)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets those that there are.
    #[must_use]
    pub fn envs<N: Into<String>, V: Into<String>>(self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        pairs.into_iter().fold(self, |step, (name, value)| step.env(name, value))
    }

    /// Sets the text for its stdin.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Sets a text with a secret for its stdin.
    #[must_use]
    pub fn stdin_with(mut self, text: impl Into<String>, secret: &Secret) -> Self {
        self.stdin = Some(text.into());
        self.secret = Some(secret.clone());
        self
    }

    /// The text for its stdin, secrets included.
    pub fn input(&self) -> Option<Cow<'_, str>> {
        let text = self.stdin.as_deref()?;
        Some(self.secret.as_ref().map_or(Cow::Borrowed(text), |secret| secret.fill(text).into()))
    }

    /// Sets the time limit.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets what to type if it fails.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.stdin {
            if self.secret.is_some() {
                // In a pasted line the shell variable must be set; otherwise the
                // shell reports that and starts nothing.
                write!(f, "test \"${{{PASSWORD}:?}}\" && ")?;
            }
            write!(f, "printf '%s\\n'")?;
            for line in text.lines() {
                match self.secret.is_some() && line.contains(SECRET) {
                    true => write!(f, " {}", with_variable(line, SECRET, PASSWORD))?,
                    false => write!(f, " {}", quote(line))?,
                }
            }
            write!(f, " | ")?;
        }
        if !self.unset.is_empty() {
            write!(f, "env ")?;
        }
        for name in &self.unset {
            write!(f, "-u {} ", quote(name))?;
        }
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quote(value))?;
        }
        for word in &self.through {
            write!(f, "{} ", quote(word))?;
        }
        write!(f, "{}", quote(&self.tool))?;
        for arg in &self.args {
            match self.of_digest && arg.contains(DIGEST) {
                true => write!(f, " {}", with_variable(arg, DIGEST, DIGEST_VARIABLE))?,
                false => write!(f, " {}", quote(arg))?,
            }
        }
        Ok(())
    }
}

/// A text with such a place, as a word for a shell that has the variable.
fn with_variable(text: &str, place: &str, variable: &str) -> String {
    let parts: Vec<String> =
        text.split(place).map(|part| if part.is_empty() { String::new() } else { quote(part).into_owned() }).collect();
    parts.join(&format!("\"${variable}\""))
}

/// Quotes a word for a shell if necessary; `K=V` as an argument is not.
/// Characters that a terminal or a log would obey are escaped in a form that
/// bash, zsh, ksh and busybox understand.
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

/// One action of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Runs a command once.
    Run(Step),
    /// Runs a command until it succeeds.
    Until {
        /// The command.
        step: Step,
        /// The time limit.
        patience: Duration,
        /// What it waits for.
        what: String,
    },
    /// Runs a command that prints the digest of the image that was built.
    Learn(Step),
    /// Runs a command that must print that digest.
    Agree(Step),
}

impl From<Step> for Action {
    fn from(step: Step) -> Self {
        Self::Run(step)
    }
}

impl Action {
    /// The command.
    pub fn step(&self) -> &Step {
        match self {
            Self::Run(step) | Self::Until { step, .. } | Self::Learn(step) | Self::Agree(step) => step,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(step) => step.fmt(f),
            Self::Learn(step) => write!(f, "{DIGEST_VARIABLE}=$({step})"),
            Self::Agree(step) => write!(f, "test \"$({step})\" = \"${DIGEST_VARIABLE}\""),
            Self::Until { step, patience, .. } => {
                let again = format!("until {step}; do sleep 1; done");
                Step::new("timeout").args([&patience.as_secs().to_string(), "sh", "-c", &again]).fmt(f)
            }
        }
    }
}

/// Actions in order, and final steps that always run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Run in order; the first failure ends them.
    pub steps: Vec<Action>,
    /// Run afterwards, even after a failure or Ctrl-C.
    pub finally: Vec<Step>,
}

impl Plan {
    /// A plan of commands that leave nothing to clean up.
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().map(Action::Run).collect(), finally: Vec::new() }
    }

    /// Runs with the steps of another plan, which use paths of one run, but
    /// prints its own.
    #[must_use]
    pub fn run_as(mut self, own: Self) -> Self {
        for (act, own) in self.steps.iter_mut().zip(own.steps) {
            if let (Action::Run(step), Action::Run(own)) = (act, own) {
                *step = std::mem::take(step).run_as(own);
            }
        }
        self
    }

    /// All commands.
    pub fn commands(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().map(Action::step).chain(&self.finally)
    }
}

/// Several plans in order, as lines that paste into a shell. If one needs a
/// password, the first line generates it.
pub fn lines(plans: &[Plan]) -> Vec<String> {
    let has_secret = plans.iter().flat_map(Plan::commands).any(|step| step.secret.is_some());
    let password = has_secret.then(|| format!("{PASSWORD}=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')"));
    let steps = plans.iter().flat_map(|plan| {
        let finally = plan.finally.iter().map(ToString::to_string);
        plan.steps.iter().map(ToString::to_string).chain(finally)
    });
    password.into_iter().chain(steps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pasted(line: &str) -> (bool, String) {
        let output = std::process::Command::new("sh").args(["-c", line]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn a_secret_is_read_by_the_command_and_shown_by_nobody() {
        let step = Step::new("cat").stdin_with("A={password}\nB=$x\"`\\\nC=a{password} b'", &Secret::new("hunter2"));
        assert_eq!(step.input().as_deref(), Some("A=hunter2\nB=$x\"`\\\nC=ahunter2 b'"));
        assert!(!format!("{step} {step:?}").contains("hunter2"));
        assert!(!step.to_string().contains('\n'), "a step is one line");
        let read = "A=mine\nB=$x\"`\\\nC=amine b'\n".to_owned();
        assert_eq!(pasted(&format!("NEED_PASSWORD=mine; {step}")), (true, read));
        assert_eq!(pasted(&format!("unset NEED_PASSWORD; {step}")), (false, String::new()), "nothing is started");
        let made = lines(&[Plan::of([step])]);
        let (ended, read) = pasted(&made.join("\n"));
        assert!(ended && read.starts_with("A=") && read.lines().next().unwrap().len() == 34, "{read}");
    }

    #[test]
    fn a_command_that_has_places_of_its_own_shows_those_that_paste() {
        let step = Step::new("echo").args(["a", "."]);
        let step = step.clone().run_as(step.args(["--metadata-file", "/tmp/gone"]));
        assert_eq!((step.to_string().as_str(), step.argv().len()), ("echo a .", 4));
        assert_eq!(Step::new("echo").arg("a").argv(), ["a"]);
    }

    #[test]
    fn a_step_that_waits_is_a_line_that_waits_and_not_for_ever() {
        let file = std::env::temp_dir().join(format!("until-{}", std::process::id()));
        let wait = |word: &str, seconds| Action::Until {
            step: Step::new("test").args([word, file.to_str().unwrap()]),
            patience: Duration::from_secs(seconds),
            what: "it".into(),
        };
        assert!(pasted(&format!("touch '{0}'; {1}; r=$?; rm '{0}'; exit $r", file.display(), wait("-e", 60))).0);
        assert!(!pasted(&wait("-e", 1).to_string()).0);
    }

    #[test]
    fn a_digest_is_learned_by_one_line_and_used_by_those_after_it() {
        let (hole, through) = (format!("a b/n@{DIGEST}"), ["sh", "-c", "exec \"$@\" through", "sh"]);
        let step = Step::new("echo").arg(&hole).of_digest().through(through);
        assert_eq!(step.to_string(), "sh -c 'exec \"$@\" through' sh echo 'a b/n@'\"$DIGEST\"");
        let plan = Plan {
            steps: vec![
                Action::Learn(Step::new("echo").arg("sha256:1")),
                step.clone().into(),
                Action::Agree(Step::new("echo").arg("sha256:1")),
                Action::Agree(Step::new("echo").arg("sha256:2")),
            ],
            finally: Vec::new(),
        };
        let lines = lines(&[plan]).join("\n");
        assert_eq!(pasted(&lines), (false, "a b/n@sha256:1 through\n".into()));
        assert!(pasted(lines.rsplit_once('\n').unwrap().0).0);
        let known = step.clone().run_as(step.clone().arg("own")).on("sha256:3");
        assert_eq!(
            (known.args, known.own_args.unwrap()[0].as_str()),
            (vec!["a b/n@sha256:3".to_owned()], "a b/n@sha256:3")
        );
        // Words that only look like it are anybody's.
        let other = Step::new("echo").arg(&hole);
        assert_eq!((other.on("sha256:3").args, other.to_string()), (vec![hole], "echo 'a b/n@{digest}'".to_owned()));
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

    #[test]
    fn a_step_keeps_what_it_is_told() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret");
        let step = Step::new("cat").stdin("A={password}").within(Duration::from_secs(7)).hint("look");
        assert_eq!((step.limit, step.hint.as_deref()), (Some(Duration::from_secs(7)), Some("look")));
        // Without a secret these are words like others.
        assert_eq!(pasted(&step.to_string()), (true, "A={password}\n".to_owned()));
    }

    #[test]
    fn a_plan_shows_one_form_of_itself_and_runs_another() {
        let plan = |word: &str| Plan::of([Step::new("echo").arg(word), Step::new("echo").arg("both")]);
        let plan = plan("shown").run_as(plan("run"));
        let shown: Vec<String> = plan.commands().map(Step::to_string).collect();
        assert_eq!(shown, ["echo shown", "echo both"]);
        let run: Vec<&[String]> = plan.commands().map(Step::argv).collect();
        assert_eq!(run, [["run"], ["both"]]);
    }
}
