//! Checks the parsed services.toml: applies the rules of `values.rs` where they
//! belong, and collects all errors, so that one run shows them all.

mod need;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::Hash;
use std::str::FromStr;
use std::time::Duration;

use path_filter::{PathFilter, Pattern};

use super::raw::{Number, Pairs, RawCi, RawFile, RawNeed, RawProject, RawRun, RawService, RawTest, Text, Texts};
use super::values::{self, Ruling};
use super::{OUTPUTS, Project, Run, Service, ServiceLines, Test};
use crate::model::age::Age;
use crate::model::bytes::Bytes;
use crate::model::ci::{Ci, WorkflowName};
use crate::model::diagnostic::{Diagnostic, LineIndex};
use crate::model::platform::Platform;

/// The errors, by offset.
pub type Mistakes = Vec<(usize, String)>;

/// The existing needs, with the variables that they provide.
type Provided = BTreeMap<String, Vec<String>>;

/// The most patterns of all services together.
const PATTERNS: usize = 20_000;

/// Checks a whole file.
pub fn project(at: &LineIndex<'_>, raw: RawFile) -> Result<Project, Mistakes> {
    let checker = Checker { at, wrong: RefCell::default() };
    let project = checker.project(raw);
    let wrong = checker.wrong.into_inner();
    project.filter(|_| wrong.is_empty()).ok_or(wrong)
}

/// Every check returns `None` if something is wrong, and has then reported it.
pub(super) struct Checker<'a> {
    at: &'a LineIndex<'a>,
    wrong: RefCell<Mistakes>,
}

impl Checker<'_> {
    pub(super) fn refuse(&self, offset: usize, key: &str, why: impl Display) {
        self.wrong.borrow_mut().push((offset, format!("`{key}`: {why}")));
    }

    fn keep<T>(&self, offset: usize, key: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|why| self.refuse(offset, key, why)).ok()
    }

    fn read<T: FromStr<Err = Diagnostic>>(&self, key: &str, text: &Text) -> Option<T> {
        self.keep(text.span().start, key, text.get_ref().parse())
    }

    fn text(&self, key: &str, text: Text, rule: fn(&str) -> Ruling) -> Option<String> {
        self.keep(text.span().start, key, rule(text.get_ref())).map(|()| text.into_inner())
    }

    fn optional(&self, key: &str, text: Option<Text>, rule: fn(&str) -> Ruling) -> Option<Option<String>> {
        text.map_or(Some(None), |text| self.text(key, text, rule).map(Some))
    }

    /// Checks each item with the rule, and that no item occurs twice.
    fn texts(&self, key: &str, texts: Vec<Text>, rule: fn(&str) -> Ruling) -> Option<Vec<String>> {
        let once = self.once(key, &texts, |text| text.get_ref());
        let texts = all(texts.into_iter().map(|text| self.text(key, text, rule)))?;
        once.map(|()| texts)
    }

    fn once<'t, T: Eq + Hash + Display>(
        &self,
        key: &str,
        texts: &'t [Text],
        read: impl Fn(&'t Text) -> T,
    ) -> Option<()> {
        let mut seen = std::collections::HashSet::new();
        let again = texts.iter().filter(|text| !seen.insert(read(text))).collect::<Vec<_>>();
        for text in &again {
            self.refuse(text.span().start, key, format!("`{}` is listed twice", text.get_ref()));
        }
        again.is_empty().then_some(())
    }

    fn filled<'t>(&self, key: &str, texts: &'t Texts, example: &str) -> Option<&'t [Text]> {
        if texts.get_ref().is_empty() {
            self.refuse(texts.span().start, key, format!("an empty list; expected one such as `{example}`"));
            return None;
        }
        Some(texts.get_ref())
    }

    fn pairs(&self, key: &str, pairs: Pairs) -> Option<BTreeMap<String, String>> {
        let pair = |(name, value): (Text, Text)| Some((self.text(key, name, values::variable)?, value.into_inner()));
        all(pairs.into_iter().map(pair)).map(|pairs| pairs.into_iter().collect())
    }

    fn number<T: TryFrom<i64>>(&self, key: &str, number: &Number, range: std::ops::RangeInclusive<i64>) -> Option<T> {
        let expected = || format!("expected a number from {} to {}", range.start(), range.end());
        let value = Some(*number.get_ref()).filter(|value| range.contains(value));
        self.keep(number.span().start, key, value.and_then(|value| T::try_from(value).ok()).ok_or_else(expected))
    }

    fn port(&self, key: &str, number: &Number) -> Option<u16> {
        self.number(key, number, 1..=i64::from(u16::MAX))
    }

    fn project(&self, raw: RawFile) -> Option<Project> {
        let RawFile { project, ci, needs, services } = raw;
        let patterns: usize = services.values().map(|service| service.paths.get_ref().len()).sum();
        if patterns > PATTERNS {
            let what =
                format!("{patterns} patterns in all `paths`, of at most {PATTERNS}; name folders (`src/**`) instead");
            self.wrong.borrow_mut().push((0, what));
            return None;
        }
        self.names_differ(&needs, &services);
        self.no_two_share(&services);
        let RawProject { name, registry, owner, default_branch, trust_bases } = project;
        let name = self.text("project.name", name, values::component);
        let registry = self.read("project.registry", &registry);
        let owner = self.text("project.owner", owner, values::registry_path);
        let default_branch = self.optional("project.default-branch", default_branch, values::branch);
        let trust_bases = match trust_bases {
            Some(text) => self.read("project.trust-bases", &text),
            None => Some(Age(Duration::from_secs(24 * 3600))),
        };
        let ci = ci.map_or(Some(None), |ci| self.ci(ci, &services).map(Some));
        let provided = |need: &RawNeed| need.provides.keys().map(|name| name.get_ref().clone()).collect();
        let known: Provided = needs.iter().map(|(name, need)| (name.get_ref().clone(), provided(need))).collect();
        let needs = all(needs.into_iter().map(|(name, need)| self.need(name, need)));
        let needs: Option<BTreeMap<_, _>> = needs.map(|needs| needs.into_iter().collect());
        if services.is_empty() {
            self.wrong.borrow_mut().push((0, "no service; write at least one `[services.NAME]` table".into()));
        }
        let services = all(services.into_iter().map(|(name, raw)| self.service(name, raw, &known)));
        let services: BTreeMap<_, _> = services?.into_iter().map(|service| (service.name.clone(), service)).collect();
        Some(Project {
            name: name?,
            registry: registry?,
            owner: owner?,
            default_branch: default_branch?.unwrap_or_else(|| "main".into()),
            trust_bases: trust_bases?,
            ci: ci?,
            needs: needs?,
            services,
        })
    }

    fn ci(&self, raw: RawCi, services: &BTreeMap<Text, RawService>) -> Option<Ci> {
        let RawCi { branches, commands, lint } = raw;
        self.filled("ci.branches", &branches, "[\"main\"]")?;
        if branches.get_ref().iter().all(|branch| branch.get_ref().starts_with('!')) {
            self.refuse(branches.span().start, "ci.branches", "no branch is included, only branches are excluded");
        }
        for stage in &lint {
            if services.contains_key(stage) {
                self.refuse(stage.span().start, "ci.lint", format!("`{}` is a service already", stage.get_ref()));
            }
        }
        let branches = self.texts("ci.branches", branches.into_inner(), values::branches);
        let commands = self.optional("ci.commands", commands, values::command);
        let lint = self.texts("ci.lint", lint, values::lint_stage);
        Some(Ci { branches: branches?, commands: commands?, lint: lint? })
    }

    fn service(&self, name: Text, raw: RawService, needs: &Provided) -> Option<Service> {
        let RawService {
            title,
            image,
            dockerfile,
            target,
            context,
            paths,
            platforms,
            emulate,
            workflow,
            size_budget,
            run,
            test,
        } = raw;
        let (offset, name) = (name.span().start, name.into_inner());
        let key = |field: &str| format!("services.{name}.{field}");
        let named = self.keep(offset, &format!("services.{name}"), service_name(&name));
        let line = |text: &Option<Text>| text.as_ref().map(|text| self.at.line(text.span().start));
        let lines = ServiceLines { table: self.at.line(offset), context: line(&context), workflow: line(&workflow) };
        let target_line = line(&target);
        let path_lines = paths.get_ref().iter().map(|text| self.at.line(text.span().start)).collect();
        let title = self.optional(&key("title"), title, values::title);
        let image_text = self.text(&key("image"), image, values::image_name);
        let path = |field: &str, text: Option<Text>, rule: fn(&str) -> Ruling| {
            let clean = |text: Option<String>| text.map(|text| docker_context::clean(&text));
            self.optional(&key(field), text, rule).map(clean)
        };
        let dockerfile = path("dockerfile", dockerfile, values::file);
        let context = path("context", context, values::path);
        let target = self.optional(&key("target"), target, values::stage);
        let paths = self.filter(&key("paths"), &paths);
        let platforms = self.platforms(&key("platforms"), platforms);
        let size_budget = match size_budget {
            Some(text) => self.size(&key("size-budget"), &text).map(Some),
            None => Some(None),
        };
        let run = run.map_or(Some(None), |run| self.run(&key("run"), run, needs).map(Some));
        let test = test.map_or(Some(None), |test| self.test(&name, test, needs).map(Some));
        let workflow = match workflow {
            Some(text) => self.read::<WorkflowName>(&key("workflow"), &text).map(|name| name.0),
            None => Some(format!("{name}-docker-build")),
        };
        named?;
        Some(Service {
            title: title?.unwrap_or_else(|| name.clone()),
            image: image_text?.parse().ok()?,
            dockerfile: dockerfile?.unwrap_or_else(|| "Dockerfile".into()).into(),
            target: target?,
            target_line,
            context: context?.unwrap_or_else(|| ".".into()).into(),
            paths: paths?,
            path_lines,
            platforms: platforms?,
            emulate,
            workflow: workflow?,
            size_budget: size_budget?,
            run: run?,
            test: test?,
            lines,
            name,
        })
    }

    fn size(&self, key: &str, text: &Text) -> Option<Bytes> {
        let size = self.read::<Bytes>(key, text)?;
        if size.0 == 0 {
            self.refuse(
                text.span().start,
                key,
                "no image is that small; leave it out or write a size such as `160 MB`",
            );
            return None;
        }
        Some(size)
    }

    fn platforms(&self, key: &str, texts: Option<Texts>) -> Option<Vec<Platform>> {
        let Some(texts) = texts else { return Some(vec![Platform::of_this_machine()]) };
        let texts = self.filled(key, &texts, "[\"linux/amd64\"]")?;
        let platforms = all(texts.iter().map(|text| self.read::<Platform>(key, text)));
        let normal = |text: &Text| {
            text.get_ref().parse::<Platform>().map_or_else(|_| text.get_ref().clone(), |it| it.to_string())
        };
        let once = self.once(key, texts, normal);
        once.and(platforms)
    }

    fn run(&self, key: &str, raw: RawRun, known: &Provided) -> Option<Run> {
        let RawRun { port, health, roles, needs, env, up_env, pass_env, ready_seconds } = raw;
        let key = |field: &str| format!("{key}.{field}");
        for name in &pass_env {
            if let Some(field) = [("env", &env), ("up-env", &up_env)].iter().find(|(_, env)| env.contains_key(name)) {
                let why = format!("`{}` has a value in `{}` already", name.get_ref(), field.0);
                self.refuse(name.span().start, &key("pass-env"), why);
            }
        }
        let port = self.port(&key("port"), &port);
        let health = self.text(&key("health"), health, values::url_path);
        let roles = self.texts(&key("roles"), roles, values::word);
        let needs = self.needs(&key("needs"), needs, known);
        let env = self.pairs(&key("env"), env);
        let up_env = self.pairs(&key("up-env"), up_env);
        let pass_env = self.texts(&key("pass-env"), pass_env, values::variable);
        let ready_seconds = match ready_seconds {
            Some(number) => self.number(&key("ready-seconds"), &number, 1..=3600),
            None => Some(30),
        };
        Some(Run {
            port: port?,
            health: health?,
            roles: roles?,
            needs: needs?,
            env: env?,
            up_env: up_env?,
            pass_env: pass_env?,
            ready_seconds: ready_seconds?,
        })
    }

    fn test(&self, service: &str, raw: RawTest, known: &Provided) -> Option<Test> {
        let RawTest { target, part, needs, report } = raw;
        let key = |field: &str| format!("services.{service}.test.{field}");
        // Both become containers of one run, with these names.
        if needs.iter().any(|need| need.get_ref() == target.get_ref()) {
            let why = format!("`{}` is one of its needs; give the stage another name", target.get_ref());
            self.refuse(target.span().start, &key("target"), why);
        }
        let part = match part {
            Some(part) => self.text(&key("part"), part, values::part),
            None => self.keep(target.span().start, &key("part"), values::part(service)).map(|()| service.to_owned()),
        };
        let target = self.text(&key("target"), target, values::stage);
        let needs = self.needs(&key("needs"), needs, known);
        let report = report.map_or(Some(None), |path| self.read(&key("report"), &path).map(Some));
        Some(Test { target: target?, needs: needs?, part: part?, report: report? })
    }

    /// The needs must exist, and no two of them may provide the same variable.
    fn needs(&self, key: &str, names: Vec<Text>, known: &Provided) -> Option<Vec<String>> {
        let once = self.once(key, &names, |name| name.get_ref());
        let mut whose: BTreeMap<&str, &str> = BTreeMap::new();
        let need = |name: &Text| {
            let (offset, text) = (name.span().start, name.get_ref());
            let Some((need, provides)) = known.get_key_value(text) else {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let there_are =
                    if names.is_empty() { "there is none".into() } else { format!("there are: {}", names.join(", ")) };
                self.refuse(offset, key, format!("no table `[needs.{text}]`; {there_are}"));
                return None;
            };
            for variable in provides {
                if let Some(other) = whose.insert(variable, need).filter(|other| other != need) {
                    self.refuse(offset, key, format!("`{other}` and `{need}` both provide `{variable}`"));
                }
            }
            Some(need.clone())
        };
        let names = all(names.iter().map(need));
        once.and(names)
    }

    fn filter(&self, key: &str, texts: &Texts) -> Option<PathFilter> {
        self.keep(texts.span().start, key, PathFilter::may_hold(texts.get_ref().len()))?;
        let pattern = |text: &Text| {
            let pattern = Pattern::parse(text.get_ref()).map_err(|why| format!("pattern `{}`, {why}", text.get_ref()));
            self.keep(text.span().start, key, pattern)
        };
        let patterns = all(texts.get_ref().iter().map(pattern))?;
        self.keep(texts.span().start, key, PathFilter::new(patterns))
    }
}

fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    // Not `collect::<Option<_>>`, which would stop at the first error.
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

fn service_name(name: &str) -> Ruling {
    values::no_verb(name)?;
    if OUTPUTS.contains(&name) {
        return Err(format!("`{name}` is an output of `ci plan` already; choose another name").into());
    }
    values::host(name)
}
