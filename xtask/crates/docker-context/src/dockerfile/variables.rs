//! Variables by BuildKit's rules, as set by ARG, ENV and the base image. The last
//! value wins. A stage inherits all variables of its base, and the ENV of the
//! base's image overrides them.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::expand::{ArgValue, Lexer, WordError};
use super::{BaseConfig, BuildOptions};

/// The PATH of an image that sets none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Values = HashMap<String, ArgValue>;

/// A bound for the total length of all values in a file: values can double each
/// other, and each stage carries those of the stages below it.
pub struct Budget(Cell<usize>);

impl Budget {
    /// A hundred times what anybody needs.
    pub const MOST: usize = 8 << 20;

    /// Nothing is used yet.
    pub fn new() -> Self {
        Self(Cell::new(0))
    }

    /// So much is used already.
    pub fn after(used: usize) -> Self {
        Self(Cell::new(used))
    }

    /// How much is used.
    pub fn used(&self) -> usize {
        self.0.get()
    }

    /// Whether the bound is exceeded.
    pub fn is_used_up(&self) -> bool {
        self.0.get() > Self::MOST
    }

    fn take(&self, count: usize) {
        self.0.set(self.0.get().saturating_add(count));
    }
}

/// The variables before the first FROM. BuildKit calls them meta args. Only FROM
/// sees them.
pub struct MetaArgs {
    values: Values,
    escape: char,
}

impl MetaArgs {
    /// Starts with the variables of the platform and of `--build-arg`.
    pub fn new(escape: char, given: &BuildOptions<'_>, platform: Option<&str>) -> Self {
        let mut values = Values::new();
        for (name, value) in platform.map(of_platform).unwrap_or_default() {
            values.insert(format!("TARGET{name}"), ArgValue::Set(value));
        }
        for (name, value) in given.builder.map(of_platform).unwrap_or_default() {
            values.insert(format!("BUILD{name}"), ArgValue::Set(value));
        }
        for kind in ["TARGET", "BUILD"] {
            for name in ["PLATFORM", "OS", "ARCH", "VARIANT"] {
                let name = format!("{kind}{name}");
                match given.build_args.get(&name) {
                    Some(value) => _ = values.insert(name, ArgValue::Set(value.clone())),
                    None => _ = values.entry(name).or_insert(ArgValue::Unknown),
                }
            }
        }
        Self { values, escape }
    }

    /// Reads an ARG. Each word sees the words before it.
    pub fn arg(
        &mut self,
        args: &[(String, Option<String>)],
        build_args: &BTreeMap<String, String>,
        budget: &Budget,
    ) -> Result<(), WordError> {
        for (name, default) in args {
            let value = match (build_args.get(name), default) {
                (Some(value), _) => ArgValue::Set(value.clone()),
                (None, None) => ArgValue::Unset,
                (None, Some(default)) => match self.expand(default, budget) {
                    Ok(value) => ArgValue::Set(value),
                    // BuildKit ignores words that it can't parse here.
                    Err(WordError::Odd(_)) => ArgValue::Set(String::new()),
                    Err(error @ WordError::Fatal(_)) => return Err(error),
                    Err(_) => ArgValue::Unknown,
                },
            };
            self.values.insert(name.clone(), value);
        }
        Ok(())
    }

    /// Expands a word of FROM.
    pub fn expand(&self, word: &str, budget: &Budget) -> Result<String, WordError> {
        let lookup = |name: &str| match self.values.get(name) {
            // Here a variable without a value is empty.
            Some(ArgValue::Unset) => ArgValue::Set(String::new()),
            value => value.cloned().unwrap_or(ArgValue::Unset),
        };
        counted(Lexer::new(self.escape, &lookup).word(word), word, budget)
    }
}

fn counted(result: Result<String, WordError>, word: &str, budget: &Budget) -> Result<String, WordError> {
    budget.take(word.len() + result.as_ref().map_or(0, String::len));
    result
}

/// Splits `OS/ARCH/VARIANT` into the values of the `TARGET…` variables.
fn of_platform(platform: &str) -> Vec<(&'static str, String)> {
    let mut parts = platform.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    vec![("OS", next()), ("ARCH", next()), ("VARIANT", next()), ("PLATFORM", platform.to_owned())]
}

/// The variables at one point of a stage.
#[derive(Clone)]
pub struct Variables {
    values: Rc<Values>,
    /// The variables of the image: set by ENV, not by ARG.
    image: Rc<Values>,
    /// The value of a name that is not listed. It is unknown if the base image
    /// may set it.
    other: ArgValue,
    escape: char,
}

impl Variables {
    /// Starts a stage on an image whose ENV is known or unknown. `scratch` has
    /// none.
    pub fn on_image(escape: char, config: Option<&BaseConfig>) -> Self {
        let other = if config.is_some() { ArgValue::Unset } else { ArgValue::Unknown };
        let mut image = Values::new();
        for (name, value) in config.iter().flat_map(|config| &config.env) {
            image.insert(name.clone(), ArgValue::Set(value.clone()));
        }
        if config.is_some() {
            image.entry("PATH".into()).or_insert_with(|| ArgValue::Set(PATH.into()));
        }
        let image = Rc::new(image);
        Self { values: Rc::clone(&image), image, other, escape }
    }

    /// Starts a stage on this stage.
    pub fn above(&self, budget: &Budget) -> Self {
        let mut above = self.clone();
        budget.take(16 * self.values.len());
        if !Rc::ptr_eq(&self.values, &self.image) {
            let values = Rc::make_mut(&mut above.values);
            values.extend(self.image.iter().map(|(name, value)| (name.clone(), value.clone())));
            if self.other == ArgValue::Unknown {
                // The ENV of the image may override a value that an ARG set.
                values.retain(|name, _| self.image.contains_key(name));
            }
        }
        above
    }

    /// Reads an ENV instruction. All its words are expanded before the first one
    /// is set.
    pub fn env(&mut self, pairs: &[(String, String)], budget: &Budget) {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (self.expand(k, budget), self.value_of(v, budget))).collect();
        for (name, value) in pairs {
            let Ok(name) = name else {
                // Any name may be meant.
                *self = Self::on_image(self.escape, None);
                continue;
            };
            self.make_mut(budget).insert(name.clone(), value.clone());
            Rc::make_mut(&mut self.image).insert(name, value);
        }
    }

    /// Reads an ARG instruction, in the same way.
    pub fn arg(
        &mut self,
        args: &[(String, Option<String>)],
        meta_args: &MetaArgs,
        given: &BuildOptions<'_>,
        budget: &Budget,
    ) {
        let read = |(name, default): &(String, Option<String>)| {
            (self.expand(name, budget), default.as_ref().map(|default| self.value_of(default, budget)))
        };
        for (name, default) in args.iter().map(read).collect::<Vec<_>>() {
            let Ok(name) = name else {
                *self = Self::on_image(self.escape, None);
                continue;
            };
            let value = match (given.build_args.get(&name), default) {
                (Some(value), _) => ArgValue::Set(value.clone()),
                (None, Some(default)) => default,
                (None, None) => match meta_args.values.get(&name) {
                    None | Some(ArgValue::Unset) => continue,
                    Some(value) => value.clone(),
                },
            };
            self.make_mut(budget).insert(name, value);
        }
    }

    fn make_mut(&mut self, budget: &Budget) -> &mut Values {
        if Rc::strong_count(&self.values) > 1 {
            budget.take(16 * self.values.len());
        }
        Rc::make_mut(&mut self.values)
    }

    /// The word with its variables replaced and its quotes removed.
    ///
    /// # Errors
    ///
    /// If its value is uncertain.
    pub fn expand(&self, word: &str, budget: &Budget) -> Result<String, WordError> {
        let lookup = |name: &str| self.values.get(name).unwrap_or(&self.other).clone();
        counted(Lexer::new(self.escape, &lookup).word(word), word, budget)
    }

    /// Checks that the engine does not crash on an instruction. BuildKit expands
    /// each instruction once more to display it, RUN included.
    pub fn check(&self, text: &str, is_run: bool, budget: &Budget) -> Result<(), WordError> {
        if !text.contains(['#', '%']) || !text.contains("${") {
            return Ok(());
        }
        let lookup = |name: &str| match self.values.get(name).unwrap_or(&self.other) {
            // Whatever this variable is, the text after it is expanded, too.
            ArgValue::Unknown => ArgValue::Set(String::new()),
            value => value.clone(),
        };
        let lexer = Lexer { keeps_unset: is_run, raw_quotes: is_run, ..Lexer::new(self.escape, &lookup) };
        match counted(lexer.word(text), text, budget) {
            Err(error @ WordError::Fatal(_)) => Err(error),
            _ => Ok(()),
        }
    }

    fn value_of(&self, word: &str, budget: &Budget) -> ArgValue {
        self.expand(word, budget).map_or(ArgValue::Unknown, ArgValue::Set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        text.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    fn env(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn the_order_of_precedence_is_buildkits() {
        let build_args = BTreeMap::from([("B".to_owned(), "given".to_owned())]);
        let given = BuildOptions { build_args: &build_args, ..BuildOptions::NOTHING };
        let budget = Budget::new();
        let mut meta_args = MetaArgs::new('\\', &given, Some("linux/arm/v7"));
        meta_args
            .arg(
                &args(&[("G", Some("global")), ("B", Some("default")), ("H", Some("$G$B")), ("N", None)]),
                &build_args,
                &budget,
            )
            .unwrap();
        assert_eq!(
            meta_args.expand("$G$H$N${N-x}${NO-y}$TARGETPLATFORM", &budget).as_deref(),
            Ok("globalglobalgivenylinux/arm/v7")
        );
        let mut variables = Variables::on_image('\\', Some(&BaseConfig::default()));
        assert_eq!(variables.expand("$G$TARGETARCH", &budget).as_deref(), Ok(""), "not before it is declared");
        variables.arg(
            &args(&[("G", None), ("B", Some("other")), ("R", Some("1")), ("TARGETARCH", None), ("N", None)]),
            &meta_args,
            &given,
            &budget,
        );
        // Words of one ARG don't see each other.
        variables.arg(&args(&[("R", Some("2")), ("S", Some("$R"))]), &meta_args, &given, &budget);
        assert_eq!(
            variables.expand("$G $B $R $S $TARGETARCH ${N-none} $PATH", &budget),
            Ok(format!("global given 2 1 arm none {PATH}"))
        );
        variables.env(&env("G", "env"), &budget);
        assert_eq!(variables.expand("$G", &budget).as_deref(), Ok("env"));
        variables.arg(&args(&[("G", Some("late")), ("ONLY", Some("arg"))]), &meta_args, &given, &budget);
        assert_eq!(variables.expand("$G", &budget).as_deref(), Ok("late"), "whatever stands last");
        assert_eq!(
            variables.above(&budget).expand("$G $ONLY", &budget).as_deref(),
            Ok("env arg"),
            "the image's own on top"
        );
        variables.env(&env("A${X", "x"), &budget);
        assert!(variables.expand("$G", &budget).is_err(), "any name may have been set");
    }

    #[test]
    fn an_image_may_set_what_the_dockerfile_does_not() {
        let budget = Budget::new();
        let meta_args = MetaArgs::new('\\', &BuildOptions::NOTHING, None);
        assert!(meta_args.expand("$TARGETARCH", &budget).is_err());
        let mut variables = Variables::on_image('\\', None);
        variables.arg(&args(&[("X", Some("x")), ("Y", None)]), &meta_args, &BuildOptions::NOTHING, &budget);
        assert_eq!(variables.expand("$X", &budget).as_deref(), Ok("x"));
        for word in ["$Y", "${Y:-y}", "${NO:-x}", "$PATH"] {
            assert!(variables.expand(word, &budget).is_err(), "{word}");
        }
        assert!(variables.above(&budget).expand("$X", &budget).is_err(), "the image's ENV may take it back");
        let config = BaseConfig { env: vec![("X".into(), "base".into())], onbuild: vec![] };
        assert_eq!(Variables::on_image('\\', Some(&config)).expand("$X${Y-y}", &budget).as_deref(), Ok("basey"));
    }

    #[test]
    fn what_doubles_itself_uses_up_the_budget() {
        let budget = Budget::new();
        let mut variables = Variables::on_image('\\', Some(&BaseConfig::default()));
        variables.env(&env("A", &"x".repeat(60_000)), &budget);
        for _ in 0..200 {
            variables.env(&env("B", "$A"), &budget);
        }
        assert!(budget.is_used_up());
    }
}
