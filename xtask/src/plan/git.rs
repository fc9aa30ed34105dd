//! Builds every git command that we run.
//!
//! A checkout is data that somebody may have sent. So its `.git/config` must not
//! run programs, the environment of a git hook must not lead git to another
//! repository, and reads must not use the network. What a person has set up for
//! git in general (identity, keys, their own configuration) stays.

use crate::plan::step::Step;

/// Options that stop git from running programs while it only reads.
const OFF: [&str; 2] = ["core.fsmonitor=false", "core.hooksPath=/dev/null"];

/// Variables that are set for reads only.
const LOOKS: &str = "GIT_NO_LAZY_FETCH";

/// Variables that a person or a machine sets for all repositories. All others
/// concern one repository or one command, or change git's output.
const KEPT: [&str; 11] = [
    "GIT_ALLOW_PROTOCOL",
    "GIT_ASKPASS",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_PROTOCOL_FROM_USER",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
];

/// More of them, by prefix.
const KEPT_FAMILIES: [&str; 7] = [
    "GIT_AUTHOR_",
    "GIT_COMMITTER_",
    "GIT_CONFIG_KEY_",
    "GIT_CONFIG_VALUE_",
    "GIT_HTTP_",
    "GIT_PROXY_SSL_",
    "GIT_SSL_",
];

/// Where git runs, and which variables it does not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Git {
    top: Option<String>,
    unset: Vec<String>,
}

impl Git {
    /// `up` is how many folders above the root `.git` is; `None`: git reports
    /// what is wrong. `names` are the names of all environment variables.
    pub fn new<'a>(up: Option<usize>, names: impl IntoIterator<Item = &'a str>) -> Self {
        let leaks = |name: &&str| {
            let kept = KEPT.contains(name) || KEPT_FAMILIES.iter().any(|family| name.starts_with(family));
            name.starts_with("GIT_") && !kept
        };
        let mut unset: Vec<String> = names.into_iter().filter(leaks).map(str::to_owned).collect();
        unset.sort();
        unset.dedup();
        let top = up.map(|up| if up == 0 { ".".to_owned() } else { vec![".."; up].join("/") });
        Self { top, unset }
    }

    /// The path to the folder with `.git`.
    pub fn top(&self) -> Option<&str> {
        self.top.as_deref()
    }

    /// A read: it takes no lock from a commit that runs meanwhile, and a partial
    /// clone downloads nothing.
    pub fn look(&self, args: &[&str]) -> Step {
        let step = self.step().args(args.iter().copied());
        step.env("GIT_OPTIONAL_LOCKS", "0").env(LOOKS, "1").env("GIT_ALLOW_PROTOCOL", "")
    }

    /// The same for file contents, which a partial clone downloads. Only used if
    /// a fetch was asked for.
    pub fn contents(&self, args: &[&str]) -> Step {
        let step = self.step().args(args.iter().copied());
        step.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0")
    }

    /// Fetches from the remote as the checkout is configured. It never asks for a
    /// password.
    pub fn fetch<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Step {
        let step = self.step().args(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"]);
        step.args(["--no-auto-maintenance"]).args(args).env("GIT_TERMINAL_PROMPT", "0")
    }

    fn step(&self) -> Step {
        let mut step = Step::new("git").arg("--no-pager").each("-c", OFF);
        if let Some(top) = &self.top {
            // Otherwise `core.worktree` would choose the working tree.
            step = step.arg(format!("--work-tree={top}"));
        }
        step.unset.clone_from(&self.unset);
        step
    }
}

/// Whether a command runs git in this checkout.
pub fn is_of_checkout(step: &Step) -> bool {
    step.tool == "git" && step.args.iter().any(|arg| arg.starts_with("--work-tree="))
}

/// Whether it uses no network, so that it is fast or hangs for ever.
pub fn is_look(step: &Step) -> bool {
    is_of_checkout(step) && step.env.iter().any(|(name, _)| name == LOOKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_where_it_is_and_runs_nothing_of_the_checkouts() {
        let names = ["GIT_INDEX_FILE", "HOME", "GIT_DIR", "GIT_SSH_COMMAND", "GIT_CONFIG_KEY_0", "GIT_DIR"];
        let git = Git::new(Some(2), names);
        let lines = [git.look(&["ls-files", "-z"]), git.fetch(["origin", "main"])].map(|step| step.to_string());
        expect_test::expect![[r#"
            env -u GIT_DIR -u GIT_INDEX_FILE GIT_OPTIONAL_LOCKS=0 GIT_NO_LAZY_FETCH=1 GIT_ALLOW_PROTOCOL='' git --no-pager -c core.fsmonitor=false -c core.hooksPath=/dev/null --work-tree=../.. ls-files -z
            env -u GIT_DIR -u GIT_INDEX_FILE GIT_TERMINAL_PROMPT=0 git --no-pager -c core.fsmonitor=false -c core.hooksPath=/dev/null --work-tree=../.. fetch --quiet --no-tags --no-recurse-submodules --no-auto-maintenance origin main"#]]
        .assert_eq(&lines.join("\n"));
        assert_eq!(Git::new(Some(0), []).top(), Some("."));
        let kinds = [git.look(&["status"]), git.contents(&["show"]), Git::new(None, []).look(&["status"])];
        assert_eq!(
            kinds.map(|step| (is_of_checkout(&step), is_look(&step))),
            [(true, true), (true, false), (false, false)]
        );
        let bare = Git::new(None, []).look(&["rev-parse", "HEAD"]).to_string();
        assert!(bare.starts_with("GIT_OPTIONAL_LOCKS=0") && !bare.contains("--work-tree"), "{bare}");
    }

    /// `git rev-parse --local-env-vars`, and variables that change git's output
    /// or run programs.
    #[test]
    fn what_leads_git_elsewhere_does_not_reach_it() {
        for name in [
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_ATTR_SOURCE",
            "GIT_COMMON_DIR",
            "GIT_CONFIG",
            "GIT_CONFIG_PARAMETERS",
            "GIT_DIFF_OPTS",
            "GIT_DIR",
            "GIT_EXTERNAL_DIFF",
            "GIT_GRAFT_FILE",
            "GIT_ICASE_PATHSPECS",
            "GIT_IMPLICIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_INTERNAL_SUPER_PREFIX",
            "GIT_LITERAL_PATHSPECS",
            "GIT_NAMESPACE",
            "GIT_NO_REPLACE_OBJECTS",
            "GIT_OBJECT_DIRECTORY",
            "GIT_PAGER",
            "GIT_PREFIX",
            "GIT_REPLACE_REF_BASE",
            "GIT_SHALLOW_FILE",
            "GIT_WORK_TREE",
        ] {
            assert_eq!(Git::new(None, [name]).unset, [name]);
        }
        for name in KEPT.into_iter().chain(["GIT_SSL_CAINFO", "GIT_CONFIG_VALUE_3", "PATH", "DIGIT_DIR"]) {
            assert_eq!(Git::new(None, [name]).unset, [""; 0], "{name}");
        }
    }
}
