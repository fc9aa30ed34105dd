//! `.dockerignore` by Docker's rules: the last matching rule decides, a rule that
//! matches a folder covers everything in it, and `!` includes again. Paths start
//! at the root of the build context.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::glob::automaton::PatternSet;
use crate::glob::{self, IgnorePattern, clean};

/// More rules than anybody writes.
const MOST_RULES: usize = 2_000;
/// BuildKit refuses a longer line.
const LONGEST: usize = 65_535;

/// The rules of one file, in order.
#[derive(Clone, Default)]
pub struct Dockerignore {
    rules: Vec<Line>,
    automaton: PatternSet,
    verdicts: Verdicts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    negated: bool,
    pattern: String,
}

/// The distinct sets of rules that cover a path, numbered as they come up. A
/// whole tree has few of them.
#[derive(Default)]
struct Verdicts(Mutex<Covers>);

#[derive(Default)]
struct Covers {
    numbers: HashMap<Vec<u32>, u32>,
    covers: Vec<Cover>,
    /// The next set, by the set of the folder and the rules that match the entry.
    next: HashMap<(u32, Arc<[u32]>), u32>,
    size: usize,
}

#[derive(Clone, Default)]
struct Cover {
    /// The rules that cover it, in order.
    rules: Vec<u32>,
    excluded: bool,
}

/// Where the rules for a Dockerfile may be. Only the first file that exists
/// counts, even if it is empty. Both arguments start at the same folder.
pub fn candidates(dockerfile: &str, context: &str) -> [String; 2] {
    [format!("{dockerfile}.dockerignore"), clean(&format!("{context}/.dockerignore"))]
}

impl Dockerignore {
    /// Parses a file.
    ///
    /// # Errors
    ///
    /// If BuildKit would refuse a line. The error comes with the line's number,
    /// from 1.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, (usize, String)> {
        let text = String::from_utf8_lossy(text.as_ref());
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (mut lines, mut rules) = (Vec::new(), Vec::new());
        for (line, number) in text.lines().zip(1..) {
            let fault = |message: String| (number, message);
            if line.len() > LONGEST {
                return Err(fault(format!("the line is longer than {LONGEST} bytes, which Docker does not read")));
            }
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            if rules.len() == MOST_RULES {
                return Err(fault(format!("more than {MOST_RULES} rules, which is the most that is compared")));
            }
            let (line, rule) = read(line).map_err(|error| fault(format!("`{line}`: {error}")))?;
            lines.push(line);
            rules.push(rule);
        }
        Self::new(lines, &rules).map_err(|error| (1, error))
    }

    /// The patterns of `COPY --exclude` or `--parents`, which have the same
    /// syntax.
    ///
    /// # Errors
    ///
    /// If BuildKit would refuse a pattern.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let (lines, rules): (Vec<_>, Vec<_>) =
            patterns.into_iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Self::new(lines, &rules)
    }

    fn new(rules: Vec<Line>, compiled: &[IgnorePattern]) -> Result<Self, String> {
        Ok(Self { rules, automaton: glob::compiled(compiled)?, verdicts: Verdicts::default() })
    }

    /// Whether the file at `path` is excluded from the context.
    pub fn excludes(&self, path: &str) -> bool {
        !self.rules.is_empty() && self.verdict(path, |cover| cover.excluded)
    }

    /// Whether the context includes the file at `path`, but empty.
    ///
    /// BuildKit applies the rules twice. While it walks the tree, it skips each
    /// rule that would not change the verdict on a folder, and such a rule does
    /// not cover the folder's content. When it opens a file to send it, it skips
    /// no rule. If the walk includes a file and the second check excludes it,
    /// BuildKit silently sends it empty.
    pub fn empties(&self, path: &str) -> bool {
        let mut exceptions = self.rules.iter().skip_while(|rule| !rule.negated);
        if exceptions.all(|rule| rule.negated) || self.excludes(path) {
            return false;
        }
        let mut last = None;
        self.automaton.run(path, |_, hits| {
            last = last.max(hits.iter().max().copied());
            true
        });
        last.is_some_and(|rule| !self.rules[rule as usize].negated)
    }

    /// Whether everything below the folder at `path` is excluded. Conservative:
    /// `false` may be wrong, `true` never is.
    pub fn excludes_below(&self, path: &str) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let Cover { rules, excluded } = self.verdict(path, Clone::clone);
        let last = rules.last().map_or(0, |last| *last as usize);
        let dir = format!("{path}/");
        let may_hit_below = |rule: &Line| {
            let head = glob::head(&rule.pattern);
            // A pattern with one of these may match any beginning.
            rule.pattern.contains(['|', '{']) || dir.starts_with(&head) || head.starts_with(&dir)
        };
        excluded && self.rules[last..].iter().all(|rule| !rule.negated || !may_hit_below(rule))
    }

    /// Whether everything below the folder at `path` is excluded, or everything
    /// is included, and no rule can change that for a single file.
    pub fn settled_below(&self, path: &str) -> Option<bool> {
        if self.rules.is_empty() {
            return Some(false);
        }
        (!self.automaton.goes_on(&format!("{path}/"))).then(|| self.excludes(path))
    }

    /// The rules that cover the path. It starts at the top, because a rule that
    /// was skipped for a folder (it would not have changed the verdict) does not
    /// cover the folder's content.
    fn verdict<T>(&self, path: &str, told: impl FnOnce(&Cover) -> T) -> T {
        let mut covers = self.verdicts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if covers.size > 1_000_000 {
            *covers = Covers::default();
        }
        if covers.covers.is_empty() {
            covers.number(Cover::default());
        }
        let mut cover = 0;
        self.automaton.run(path, |_, hits| {
            cover = covers.next(&self.rules, cover, hits);
            true
        });
        told(&covers.covers[cover as usize])
    }
}

impl Covers {
    fn number(&mut self, cover: Cover) -> u32 {
        if let Some(number) = self.numbers.get(&cover.rules) {
            return *number;
        }
        let number = self.covers.len() as u32;
        self.size += cover.rules.len() + 1;
        self.numbers.insert(cover.rules.clone(), number);
        self.covers.push(cover);
        number
    }

    /// The rules that cover an entry of a folder, given the rules that match it.
    fn next(&mut self, rules: &[Line], folder: u32, hits: &Arc<[u32]>) -> u32 {
        if let Some(next) = self.next.get(&(folder, Arc::clone(hits))) {
            return *next;
        }
        let above = &self.covers[folder as usize].rules;
        let mut below = Cover::default();
        let (mut above, mut hits_left) = (above.iter().peekable(), hits.iter().peekable());
        while let Some(rule) = [above.peek(), hits_left.peek()].into_iter().flatten().min().map(|rule| **rule) {
            let covered = above.next_if_eq(&&rule).is_some();
            let hit = hits_left.next_if_eq(&&rule).is_some();
            let Line { negated, .. } = rules[rule as usize];
            if covered || (hit && negated == below.excluded) {
                below.rules.push(rule);
                below.excluded = !negated;
            }
        }
        let next = self.number(below);
        self.size += hits.len() + 1;
        self.next.insert((folder, Arc::clone(hits)), next);
        next
    }
}

impl Clone for Verdicts {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Dockerignore {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Dockerignore {}

impl fmt::Debug for Dockerignore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dockerignore").field(&self.rules).finish()
    }
}

/// One rule as Docker cleans it, which is twice. Between the two, a `!` may come
/// to the front.
fn read(given: &str) -> Result<(Line, IgnorePattern), String> {
    let trimmed = given.strip_prefix('!').map(str::trim);
    let cleaned = match trimmed.unwrap_or(given) {
        "" => String::new(),
        pattern => clean(pattern),
    };
    let rooted = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    let once = if trimmed.is_some() { format!("!{rooted}") } else { rooted.to_owned() };
    let twice = clean(once.trim());
    let (negated, pattern) = match twice.strip_prefix('!') {
        Some("") => return Err("`!` alone takes nothing back; write a path behind it".into()),
        Some(pattern) => (true, pattern),
        None => (false, twice.as_str()),
    };
    Ok((Line { negated, pattern: pattern.to_owned() }, IgnorePattern::docker(pattern)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::cases;

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
        // After the first cleaning, these begin with `!`.
        assert_eq!(excluded("*\n/!b\n./!c", &["a", "b", "c"]), ["a"]);
        assert_eq!(excluded("/ a", &["a", " a"]), ["a"]);
    }

    #[test]
    fn an_exception_that_was_not_needed_covers_nothing() {
        // No rule applied to `b` itself, so `!b` was skipped.
        assert_eq!(excluded("b/c\n!b", &["b/c/d", "b/a"]), ["b/c/d"]);
        assert_eq!(excluded("b\n!b", &["b/c/d", "b/a"]), Vec::<&str>::new());
    }

    /// The files that a real BuildKit sends.
    #[test]
    fn a_file_that_is_found_and_not_opened_is_empty() {
        let paths = ["r.txt", "a/a.txt", "a/b/b.txt", "a/c.md"];
        for (text, expected) in [
            ("**\n!**/*.txt\n*\n!r.txt\n", &["a/a.txt", "a/b/b.txt"][..]),
            ("**\n!**/*.txt\n!r.txt\n", &[]),
            ("!**/*.txt\n*\n!r.txt\n", &[]),
            ("*\n!a\na/b\n", &[]),
            ("a/b\n!a\n", &[]),
            ("**\n!a/a.txt\na\n", &["a/a.txt"]),
            ("", &[]),
        ] {
            let ignore = Dockerignore::parse(text).unwrap();
            let empty: Vec<&str> = paths.into_iter().filter(|path| ignore.empties(path)).collect();
            assert_eq!(empty, expected, "{text:?}");
        }
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
    fn below_a_folder_all_is_settled_where_no_rule_speaks_of_it() {
        for (text, settled) in [
            ("", [Some(false), Some(false), Some(false)]),
            ("a/b", [None, Some(true), Some(false)]),
            ("a\n!a/b/c", [None, None, Some(false)]),
            ("*\n!a/*", [None, Some(false), Some(true)]),
        ] {
            let ignore = Dockerignore::parse(text).unwrap();
            assert_eq!(["a", "a/b", "x"].map(|dir| ignore.settled_below(dir)), settled, "{text:?}");
        }
    }

    #[test]
    fn two_files_are_the_same_by_their_rules() {
        let parse = |text: &str| Dockerignore::parse(text).unwrap();
        assert_eq!(parse("# x\na\n!b"), parse("a/\n!b\n"));
        assert_ne!(parse("a"), parse("!a"));
    }

    #[test]
    fn a_line_is_no_longer_than_docker_reads_one() {
        let parse = |length: usize| Dockerignore::parse("a\n".to_owned() + &"b".repeat(length)).map_err(|(at, _)| at);
        assert!(parse(LONGEST).is_ok());
        assert_eq!((parse(LONGEST + 1).err(), parse(LONGEST + 9).err()), (Some(2), Some(2)));
    }

    #[test]
    fn what_is_below_an_excluded_folder_is_excluded() {
        const PARTS: [&str; 9] = ["a", "b", "*", "**", "?", "/", "/", "!", "\n"];
        let mut found = 0;
        cases(3000, |u| {
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
            ("a\n/!", 2, "write a path behind it"),
            ("a\n\n!/\n", 3, "write a path behind it"),
            ("a\n\\e*", 2, "write `e`"),
            ("x[z-a]", 1, "write the lower end first"),
            ("a{3}{4}*", 1, "a repetition of a repetition"),
        ] {
            let (at, message) = Dockerignore::parse(text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn the_file_beside_the_dockerfile_comes_first() {
        let names = candidates("apps/x/Dockerfile", "apps");
        assert_eq!(names, ["apps/x/Dockerfile.dockerignore", "apps/.dockerignore"]);
    }

    #[test]
    fn a_rule_moves_verdicts_in_its_own_direction_only() {
        const PARTS: [&str; 12] = ["a", "b", "ab", "*", "**", "?", "[ab]", "a*", "*b", "/", "/", "!"];
        cases(1000, |u| {
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
        cases(1000, |u| {
            let (text, path): (String, String) = u.arbitrary()?;
            if let Ok(ignore) = Dockerignore::parse(&text) {
                let _ = ignore.excludes(&path);
            }
            Ok(())
        });
    }
}
