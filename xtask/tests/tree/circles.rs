//! The modules of a crate, and who of those that lie side by side names whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::imports::{Named, for_tests, named};

/// A module's way down from the root of its crate.
type Module = Vec<String>;

/// The modules of one crate with all that each names.
pub struct Crate(BTreeMap<Module, Vec<Named>>);

/// One module that names another, or something in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// Who names.
    pub from: Module,
    /// Who is named.
    pub to: Module,
    /// Where.
    pub line: usize,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} names {}", self.from.join("::"), self.line, self.to.join("::"))
    }
}

impl Crate {
    /// Reads the files of a crate, by their paths below `src`.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a Path, String)>) -> Self {
        let module = |path: &Path| -> Module {
            let words = path.with_extension("");
            let words = words.iter().map(|word| word.to_string_lossy().into_owned());
            words.filter(|word| !["lib", "mod"].contains(&word.as_str())).collect()
        };
        let files: BTreeMap<Module, String> = files.into_iter().map(|(path, text)| (module(path), text)).collect();
        let of_tests = |module: &Module| {
            let (name, parent) = module.split_last()?;
            Some(for_tests(files.get(parent)?).contains(name))
        };
        let kept = files.iter().filter(|(module, _)| of_tests(module) != Some(true));
        Self(kept.map(|(module, text)| (module.clone(), named(text))).collect())
    }

    /// Where a path leads that a module names, through all that is passed on;
    /// `None` is another crate.
    fn target(&self, from: &Module, path: &[String], patience: usize) -> Option<Module> {
        let mut words = path.iter();
        let mut at = match words.next()?.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            first => {
                let child = [from.as_slice(), &[first.to_owned()]].concat();
                if self.0.contains_key(&child) {
                    child
                } else {
                    // A word that a `use` of this file explains.
                    let it = self.passed_on(from, first, path).filter(|_| patience > 0)?;
                    let rest: Vec<String> = it.path.iter().chain(words).cloned().collect();
                    return self.target(from, &rest, patience - 1);
                }
            }
        };
        while let Some(word) = words.next() {
            let below = [at.as_slice(), std::slice::from_ref(word)].concat();
            if word == "super" {
                at.pop()?;
            } else if self.0.contains_key(&below) {
                at = below;
            } else {
                let Some(it) = self.passed_on(&at, word, path).filter(|_| patience > 0) else { break };
                let rest: Vec<String> = it.path.iter().chain(words).cloned().collect();
                return self.target(&at, &rest, patience - 1);
            }
        }
        Some(at)
    }

    /// The `use` by which a module has something under a name, unless that is the
    /// very path that asks.
    fn passed_on(&self, module: &Module, name: &str, path: &[String]) -> Option<&Named> {
        self.0.get(module)?.iter().find(|it| it.alias.as_deref() == Some(name) && it.path != path)
    }

    /// Every arrow from one module to another.
    pub fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (from, named) in &self.0 {
            for it in named {
                let to = self.target(from, &it.path, 8);
                arrows.extend(to.filter(|to| to != from).map(|to| Arrow { from: from.clone(), to, line: it.line }));
            }
        }
        arrows
    }

    /// The circles of modules that lie side by side, each with the arrows that
    /// make it. What is deep within one counts for it.
    pub fn circles(&self) -> Vec<Vec<Arrow>> {
        let mut levels: BTreeMap<Module, Vec<(String, String, Arrow)>> = BTreeMap::new();
        for arrow in self.arrows() {
            let common = arrow.from.iter().zip(&arrow.to).take_while(|(a, b)| a == b).count();
            // Who is above the other lies not beside it.
            if let (Some(from), Some(to)) = (arrow.from.get(common), arrow.to.get(common)) {
                let sides = (from.clone(), to.clone(), arrow.clone());
                levels.entry(arrow.from[..common].to_vec()).or_default().push(sides);
            }
        }
        levels.into_values().flat_map(|level| circles(&level)).collect()
    }
}

/// The arrows between each two modules of which either leads to the other.
fn circles(level: &[(String, String, Arrow)]) -> Vec<Vec<Arrow>> {
    let mut circles: BTreeMap<BTreeSet<&String>, Vec<Arrow>> = BTreeMap::new();
    for (from, to, arrow) in level {
        let there = reached(level, to);
        if there.contains(from) {
            let members =
                reached(level, from).into_iter().filter(|other| reached(level, other).contains(from)).collect();
            circles.entry(members).or_default().push(arrow.clone());
        }
    }
    circles.into_values().collect()
}

/// All that one leads to, itself included.
fn reached<'a>(level: &'a [(String, String, Arrow)], from: &'a String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::from([from]);
    loop {
        let next: Vec<&String> =
            level.iter().filter(|(from, ..)| reached.contains(from)).map(|(_, to, _)| to).collect();
        let before = reached.len();
        reached.extend(next);
        if reached.len() == before {
            return reached;
        }
    }
}

#[test]
fn circles_are_found_at_every_depth_and_through_what_is_passed_on() {
    let told = |files: &[(&str, &str)]| -> Vec<String> {
        let files = files.iter().map(|(path, text)| (Path::new(*path), (*text).to_owned()));
        let circle = |arrows: Vec<Arrow>| {
            let arrow = |it: &Arrow| format!("{}:{} {}", it.from.join("::"), it.line, it.to.join("::"));
            arrows.iter().map(arrow).collect::<Vec<_>>().join(", ")
        };
        Crate::read(files).circles().into_iter().map(circle).collect()
    };
    let both = ("lib.rs", "pub mod a; pub mod b;");
    // One way is none, and neither is a module with what lies below it.
    assert!(told(&[both, ("a.rs", "use crate::b::X;"), ("b.rs", "use std::fmt;")]).is_empty());
    assert!(told(&[both, ("a/mod.rs", "use self::c::X;"), ("a/c.rs", "use super::Y;"), ("b.rs", "")]).is_empty());
    // In any spelling.
    assert_eq!(told(&[both, ("a.rs", "use crate::{b::X};"), ("b.rs", "\nuse super::a;")]), ["a:1 b, b:2 a"]);
    assert_eq!(told(&[both, ("a.rs", "fn f(x: crate::b::X)"), ("b.rs", "use crate::a::*;")]), ["a:1 b, b:1 a"]);
    assert_eq!(
        told(&[both, ("a.rs", "use crate as it; fn f() { it::b::g() }"), ("b.rs", "use crate::a as c;")]),
        ["a:1 b, b:1 a"]
    );
    // Deep below, over a third, and where only the tests are a circle.
    let deep =
        [("x/mod.rs", ""), ("x/p/mod.rs", ""), ("x/p/q.rs", "use crate::x::r::R;"), ("x/r.rs", "use super::p::q;")];
    assert_eq!(told(&deep), ["x::p::q:1 x::r, x::r:1 x::p::q"]);
    let three =
        [("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::a;"), ("d.rs", "use crate::a;")];
    assert_eq!(told(&three), ["a:1 b, b:1 c, c:1 a"]);
    assert!(told(&[both, ("a.rs", "use crate::b;"), ("b.rs", "#[cfg(test)] mod t { use crate::a; }")]).is_empty());
    assert!(
        told(&[("lib.rs", "mod a; #[cfg(test)] mod b;"), ("a.rs", "use crate::b;"), ("b.rs", "use crate::a;")])
            .is_empty()
    );
    // A parent that passes something on hides nobody, by its name or by another.
    let passed = [
        ("m/mod.rs", "pub use self::a::A as Z; mod a; mod b;"),
        ("m/a.rs", "use super::b;"),
        ("m/b.rs", "use super::Z;"),
    ];
    assert_eq!(told(&passed), ["m::a:1 m::b, m::b:1 m::a"]);
}
