//! `.dockerignore` by Docker's own rules: the last rule that matches decides, a
//! folder's match covers what is below, `!` takes something back in. The paths
//! are those of the build context.

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::glob::{Glob, clean, prefixes};

/// The rules of one file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerignore(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    negated: bool,
    glob: Glob,
}

/// Where the rules of a Dockerfile stand: the first of these files that exists
/// counts alone, even when it is empty. Both arguments start at the same folder.
pub fn candidates(dockerfile: &Utf8Path, context: &Utf8Path) -> [Utf8PathBuf; 2] {
    [format!("{dockerfile}.dockerignore").into(), clean(context.join(".dockerignore").as_str()).into()]
}

impl Dockerignore {
    /// Reads a file; an error comes with its line, from 1.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, (usize, String)> {
        let text = String::from_utf8_lossy(text.as_ref());
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut rules = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let line = line.trim();
            let (negated, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            if pattern.is_empty() && !negated {
                continue;
            }
            let rule = Rule::new(negated, pattern).map_err(|error| (at + 1, format!("`{line}`: {error}")))?;
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// The patterns of `COPY --exclude` or `--parents`, which speak the same.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let rules = patterns.into_iter().map(|pattern| match pattern.strip_prefix('!') {
            Some(pattern) => Rule::new(true, pattern),
            None => Rule::new(false, pattern),
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the context lacks the file at `path`.
    pub fn excludes(&self, path: &str) -> bool {
        self.verdict(path).0
    }

    /// Whether the context lacks whatever is below the folder at `path`. May
    /// say no where it does, never yes where it does not.
    pub fn excludes_below(&self, path: &str) -> bool {
        let (excluded, last) = self.verdict(path);
        excluded && self.0[last..].iter().all(|rule| !rule.negated || !rule.glob.may_hit_below(path))
    }

    /// The verdict, and the place of the last rule that covers the path.
    fn verdict(&self, path: &str) -> (bool, usize) {
        let mut excluded = false;
        let mut above = vec![false; self.0.len()];
        // From the top down, because a rule that was not asked about a folder
        // (its verdict stood already) does not cover what is below it.
        for path in prefixes(path) {
            excluded = false;
            for (rule, covered) in self.0.iter().zip(&mut above) {
                *covered = *covered || (rule.negated == excluded && rule.glob.hits(path));
                if *covered {
                    excluded = !rule.negated;
                }
            }
        }
        (excluded, above.iter().rposition(|covered| *covered).unwrap_or(0))
    }
}

impl Rule {
    fn new(negated: bool, given: &str) -> Result<Self, String> {
        let cleaned = clean(given);
        let pattern = match cleaned.strip_prefix('/') {
            Some("") if !negated => "/",
            Some(rest) => rest,
            None => &cleaned,
        };
        if negated && (given.is_empty() || pattern.is_empty()) {
            return Err("`!` alone takes nothing back; write a path behind it".into());
        }
        Ok(Self { negated, glob: Glob::docker(pattern)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Dockerignore::parse(text).unwrap();
        paths.iter().copied().filter(|path| ignore.excludes(path)).collect()
    }

    #[test]
    fn the_last_match_decides_and_a_folder_covers_what_is_below() {
        let paths = ["a", "b/a", "b/c/d", "c"];
        assert_eq!(excluded("b", &paths), ["b/a", "b/c/d"]);
        assert_eq!(excluded("*\n!b/c", &paths), ["a", "b/a", "c"]);
        assert_eq!(excluded("!b/c\n*", &paths), paths);
        assert_eq!(excluded("**/a", &paths), ["a", "b/a"]);
        assert_eq!(excluded("*/a", &paths), ["b/a"]);
        assert_eq!(excluded("/a/\n./b//c/../a", &paths), ["a", "b/a"]);
    }

    #[test]
    fn what_is_not_a_rule_is_passed_over() {
        assert_eq!(excluded("\u{feff}# a\n\n  \n a \r\n", &["a", "# a"]), ["a"]);
        assert_eq!(excluded(".\n/\n..\n../a", &["a", "b/a"]), Vec::<&str>::new());
        assert_eq!(excluded(" # a", &["a", "# a"]), ["# a"]);
    }

    #[test]
    fn an_exception_that_was_not_needed_covers_nothing() {
        // Of `b` itself nobody had said anything yet, so `!b` was not asked.
        assert_eq!(excluded("b/c\n!b", &["b/c/d", "b/a"]), ["b/c/d"]);
        assert_eq!(excluded("b\n!b", &["b/c/d", "b/a"]), Vec::<&str>::new());
    }

    #[test]
    fn a_folder_that_holds_nothing_is_known_without_a_look_into_it() {
        let ignore = Dockerignore::parse("*\n!apps/web\n!src/*.rs\n**/dist\n").unwrap();
        for dir in ["target", "target/debug", "apps/web/dist", "apps/web/x/dist", "apps/api"] {
            assert!(ignore.excludes_below(dir), "{dir}");
        }
        for dir in ["apps", "apps/web", "src", "src/x"] {
            assert!(!ignore.excludes_below(dir), "{dir}");
        }
    }

    #[test]
    fn what_is_below_an_excluded_folder_is_excluded() {
        const PARTS: [&str; 9] = ["a", "b", "*", "**", "?", "/", "/", "!", "\n"];
        let mut found = 0;
        arbtest::arbtest(|u| {
            let mut text = String::new();
            for _ in 0..u.int_in_range(1..=12)? {
                text.push_str(u.choose(&PARTS)?);
            }
            let mut path = String::from("a");
            for _ in 0..u.int_in_range(0..=3)? {
                path.push_str(u.choose(&["/a", "/b", "/ab"])?);
            }
            if let Ok(ignore) = Dockerignore::parse(&text)
                && ignore.excludes_below(&path)
            {
                for rest in ["a", "b", "a/b", "b/a/b", "ab"] {
                    assert!(ignore.excludes(&format!("{path}/{rest}")), "{text:?} {path} {rest}");
                }
                found += 1;
            }
            Ok(())
        });
        assert!(found > 20, "{found}");
    }

    #[test]
    fn what_is_wrong_has_its_line_and_a_way_out() {
        for (text, line, words) in [
            ("a\n[b\n", 2, "close it"),
            ("!", 1, "write a path behind it"),
            ("a\n\n!/\n", 3, "write a path behind it"),
            ("\\d*", 1, "write `d`"),
            ("x[*]", 1, "write them outside"),
        ] {
            let (at, message) = Dockerignore::parse(text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn the_file_beside_the_dockerfile_comes_first() {
        let names = candidates("apps/x/Dockerfile".into(), "apps".into());
        assert_eq!(names, ["apps/x/Dockerfile.dockerignore", "apps/.dockerignore"]);
    }

    #[test]
    fn a_rule_moves_verdicts_in_its_own_direction_only() {
        const PARTS: [&str; 12] = ["a", "b", "ab", "*", "**", "?", "[ab]", "a*", "*b", "/", "/", "!"];
        arbtest::arbtest(|u| {
            let mut text = String::new();
            for _ in 0..u.int_in_range(0..=4)? {
                for _ in 0..u.int_in_range(1..=6)? {
                    text.push_str(u.choose::<&str>(&PARTS)?);
                }
                text.push('\n');
            }
            let rule: String = (0..u.int_in_range(1..=5)?)
                .map(|_| u.choose::<&str>(&PARTS[..11]).copied())
                .collect::<Result<_, _>>()?;
            let path = ["a", "b", "ab", "a/b", "b/a/ab", "ab/ab/b", "a/a/a"][u.int_in_range(0..=6)?];
            let excludes = |text: &str| Dockerignore::parse(text).map(|ignore| ignore.excludes(path));
            if let (Ok(before), Ok(with), Ok(without)) =
                (excludes(&text), excludes(&format!("{text}!{rule}")), excludes(&format!("{text}{rule}")))
            {
                assert!(before || !with, "{text:?} !{rule} {path}");
                assert!(!before || without, "{text:?} {rule} {path}");
            }
            Ok(())
        });
    }

    #[test]
    fn no_text_panics() {
        arbtest::arbtest(|u| {
            let (text, path): (String, String) = u.arbitrary()?;
            if let Ok(ignore) = Dockerignore::parse(&text) {
                let _ = ignore.excludes(&path);
            }
            Ok(())
        });
    }
}
