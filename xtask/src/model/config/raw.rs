//! services.toml as parsed, before any check. Every value keeps its position, so
//! that an error can name its line.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A text with its position.
pub type Text = Spanned<String>;
/// Several texts, and the position of the list.
pub type Texts = Spanned<Vec<Text>>;
/// Environment variables.
pub type Pairs = BTreeMap<Text, Text>;
/// A number. Its range is checked later.
pub type Number = Spanned<i64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the tables of services.toml")]
pub struct RawFile {
    pub project: RawProject,
    pub ci: Option<RawCi>,
    #[serde(default)]
    pub needs: BTreeMap<Text, RawNeed>,
    pub services: BTreeMap<Text, RawService>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table, `[project]`")]
pub struct RawProject {
    pub name: Text,
    pub registry: Text,
    pub owner: Text,
    pub default_branch: Option<Text>,
    pub trust_bases: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table, `[ci]`")]
pub struct RawCi {
    pub branches: Texts,
    pub commands: Option<Text>,
    #[serde(default)]
    pub lint: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table, `[needs.NAME]`")]
pub struct RawNeed {
    pub image: Text,
    pub port: Number,
    #[serde(default)]
    pub env: Pairs,
    pub command: Option<Texts>,
    pub ready: Texts,
    #[serde(default)]
    pub provides: Pairs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table, `[services.NAME]`")]
pub struct RawService {
    pub title: Option<Text>,
    pub image: Text,
    pub dockerfile: Option<Text>,
    pub target: Option<Text>,
    pub context: Option<Text>,
    pub paths: Texts,
    pub platforms: Option<Texts>,
    #[serde(default)]
    pub emulate: bool,
    pub workflow: Option<Text>,
    pub size_budget: Option<Text>,
    pub run: Option<RawRun>,
    pub test: Option<RawTest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table, `[services.NAME.run]`")]
pub struct RawRun {
    pub port: Number,
    pub health: Text,
    #[serde(default)]
    pub roles: Vec<Text>,
    #[serde(default)]
    pub needs: Vec<Text>,
    #[serde(default)]
    pub env: Pairs,
    #[serde(default)]
    pub up_env: Pairs,
    #[serde(default)]
    pub pass_env: Vec<Text>,
    pub ready_seconds: Option<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table, `[services.NAME.test]`")]
pub struct RawTest {
    pub target: Text,
    pub part: Option<Text>,
    pub report: Option<Text>,
    #[serde(default)]
    pub needs: Vec<Text>,
}
