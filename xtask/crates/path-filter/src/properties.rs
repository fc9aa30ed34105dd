//! Properties of every pattern and path, tried on random ones and compared with a
//! matcher that is slow and obviously right.

use arbtest::arbitrary::{Result, Unstructured};

use super::{PathFilter, Pattern};
use crate::cases::cases;

/// Characters with a meaning in the dialect, and some without.
const ALPHABET: [char; 17] = ['a', 'b', '/', '*', '*', '?', '+', '[', ']', '-', '.', '!', '\\', '^', 'é', '\n', ' '];

/// Pieces of patterns, each with texts that it matches.
const PARTS: [(&str, &[&str]); 15] = [
    ("a", &["a"]),
    ("b", &["b"]),
    ("/", &["/"]),
    ("*", &["", "a", "b-", "\n"]),
    ("**", &["", "a/b", "/", "b"]),
    ("**/", &["", "a/", "b/a/", "\n/"]),
    ("a?", &["", "a"]),
    ("b+", &["b", "bbb"]),
    ("[ab]", &["a", "b"]),
    ("[a-c]?", &["", "c"]),
    ("[b0]+", &["b", "b0b"]),
    (".a", &[".a"]),
    ("é?", &["", "é"]),
    ("é+", &["é", "éé"]),
    ("\n", &["\n"]),
];

/// Whether the pattern's text matches all of `path`: each feature as the
/// documentation describes it, by trying every split. Answers are kept, so that
/// long inputs finish.
fn describes(pattern: &[char], path: &[char], known: &mut [Vec<Option<bool>>]) -> bool {
    let (tokens, characters) = (pattern.len(), path.len());
    if let Some(answer) = known[tokens][characters] {
        return answer;
    }
    let mut rest_describes = |rest: &[char], from: usize| describes(rest, &path[from..], known);
    let answer = match pattern {
        [] => path.is_empty(),
        ['*', '*', '/', rest @ ..] => {
            (0..=path.len()).filter(|from| *from == 0 || path[from - 1] == '/').any(|from| rest_describes(rest, from))
        }
        ['*', '*', rest @ ..] => (0..=path.len()).any(|from| rest_describes(rest, from)),
        ['*', rest @ ..] => (0..=path.len())
            .take_while(|from| *from == 0 || path[from - 1] != '/')
            .any(|from| rest_describes(rest, from)),
        [first, ..] => {
            let end = if *first == '[' { pattern.iter().position(|c| *c == ']').unwrap() } else { 0 };
            let run = path.iter().take_while(|c| stands_in(**c, &pattern[..=end])).count();
            match &pattern[end + 1..] {
                ['?', rest @ ..] => (0..=run.min(1)).any(|from| rest_describes(rest, from)),
                ['+', rest @ ..] => (1..=run).any(|from| rest_describes(rest, from)),
                rest => run > 0 && rest_describes(rest, 1),
            }
        }
    };
    known[tokens][characters] = Some(answer);
    answer
}

/// Whether `c` is this character, or in this bracket.
fn stands_in(c: char, described: &[char]) -> bool {
    let ['[', list @ .., ']'] = described else { return described == [c] };
    let ranges = list.windows(3).filter(|range| range[1] == '-');
    list.contains(&c) && c != '-' || ranges.into_iter().any(|range| range[0] <= c && c <= range[2])
}

fn is_described(pattern: &str, path: &str) -> bool {
    let [pattern, path] = [pattern, path].map(|text| text.chars().collect::<Vec<_>>());
    describes(&pattern, &path, &mut vec![vec![None; path.len() + 1]; pattern.len() + 1])
}

/// A valid pattern, and a path that it matches or nearly matches.
fn pattern_and_path(u: &mut Unstructured, parts: usize) -> Result<(String, String)> {
    let (mut pattern, mut path) = (String::new(), String::new());
    for _ in 0..u.int_in_range(1..=parts)? {
        let (part, runs) = u.choose(&PARTS)?;
        let begins_name = pattern.is_empty() || pattern.ends_with('/');
        if !(part.starts_with('/') && begins_name || part.starts_with('*') && pattern.ends_with('*')) {
            pattern += part;
            path += u.choose(runs)?;
        }
    }
    if pattern.is_empty() || pattern.ends_with('/') {
        pattern.push('a');
        path.push('a');
    }
    let mut path: Vec<char> = path.chars().collect();
    for _ in 0..u.int_in_range(0..=2 + parts / 20)? {
        let at = u.choose_index(path.len() + 1)?;
        path.splice(at..(at + u.int_in_range(0..=1)?).min(path.len()), [*u.choose(&ALPHABET)?]);
    }
    Ok((pattern, path.into_iter().collect()))
}

fn text(u: &mut Unstructured, longest: usize) -> Result<String> {
    (0..u.int_in_range(0..=longest)?).map(|_| u.choose(&ALPHABET).copied()).collect()
}

/// Tries a property a thousand times. Each verdict must occur at least once in
/// `rarest` cases, or the property shows little.
#[track_caller]
fn holds(rarest: u32, mut property: impl FnMut(&mut Unstructured) -> Result<bool>) {
    let mut verdicts = [0; 2];
    cases(1000, |u| {
        verdicts[usize::from(property(u)?)] += 1;
        Ok(())
    });
    let [no, yes] = verdicts;
    eprintln!("{yes} yes, {no} no");
    assert!(no.min(yes) * rarest >= no + yes, "{yes} yes, {no} no");
}

fn agrees_with_the_reference(parts: usize) {
    holds(8, |u| {
        let (pattern, path) = pattern_and_path(u, parts)?;
        let hit = Pattern::parse(&pattern).unwrap().hits(&path);
        assert_eq!(hit, is_described(&pattern, &path), "{pattern:?} {path:?}");
        Ok(hit)
    });
}

#[test]
fn short_patterns_agree_with_the_reference() {
    agrees_with_the_reference(8);
}

/// More than 64 tokens need several words of states.
#[test]
fn long_patterns_agree_with_the_reference() {
    agrees_with_the_reference(120);
}

#[test]
fn whatever_parses_agrees_with_the_reference() {
    holds(50, |u| {
        let (pattern, path) = (text(u, 7)?, text(u, 7)?);
        let Ok(checked) = Pattern::parse(&pattern) else { return Ok(false) };
        let described = pattern.strip_prefix('!').unwrap_or(&pattern);
        for path in [path.as_str(), described] {
            assert_eq!(checked.hits(path), is_described(described, path), "{pattern:?} {path:?}");
        }
        Ok(true)
    });
}

#[test]
fn a_literal_hits_itself_only() {
    holds(8, |u| {
        let mut name = || Ok(u.arbitrary::<String>()?.replace(['*', '?', '+', '[', ']', '\\', '\0', '/', '!'], "x"));
        let literal = format!("{}x/{}x", name()?, name()?);
        let mut other: Vec<char> = literal.chars().collect();
        let at = u.choose_index(other.len())?;
        other.splice(at..at + u.int_in_range(0..=1)?, u.arbitrary::<Option<char>>()?);
        let other: String = other.into_iter().collect();
        let pattern = Pattern::parse(&literal).unwrap();
        assert!(pattern.hits(&literal));
        assert_eq!(pattern.hits(&other), other == literal, "{literal:?} {other:?}");
        Ok(other != literal)
    });
}

#[test]
fn the_last_rule_that_hits_decides_and_others_change_nothing() {
    holds(8, |u| {
        let (first, path) = pattern_and_path(u, 8)?;
        let mut rules = vec![Pattern::parse(&first).unwrap()];
        let mut included = is_described(&first, &path);
        for _ in 0..u.int_in_range(1..=5)? {
            let (text, _) = pattern_and_path(u, 3)?;
            let negated = u.arbitrary()?;
            let before = PathFilter::new(rules.clone()).unwrap();
            rules.push(Pattern::parse(&if negated { format!("!{text}") } else { text.clone() }).unwrap());
            let after = PathFilter::new(rules.clone()).unwrap();
            if is_described(&text, &path) {
                included = !negated;
                assert_eq!(after.decider(&path), Some(rules.len() - 1));
            } else {
                assert_eq!(after.decider(&path), before.decider(&path));
            }
            assert_eq!(after.includes(&path), included);
            assert_eq!(after.hits(&path).next(), after.decider(&path));
            assert_eq!(after.hits(&path).count(), rules.iter().filter(|rule| rule.hits(&path)).count());
        }
        Ok(included)
    });
}

#[test]
fn no_text_panics() {
    cases(1000, |u| {
        let pattern = if u.arbitrary()? { u.arbitrary::<String>()? } else { text(u, 12)? };
        let path: String = u.arbitrary()?;
        let pattern = pattern.repeat(u.int_in_range(1..=40)?);
        match Pattern::parse(&pattern) {
            Ok(checked) => {
                checked.hits(&path);
                checked.hits(&pattern);
            }
            Err(error) => assert!((1..=pattern.chars().count() + 1).contains(&error.column), "{pattern:?} {error}"),
        }
        Ok(())
    });
}

/// A matcher that tries every split would never finish these.
#[test]
fn the_worst_patterns_end() {
    let (names, folders) = ("a".repeat(2000), "a/".repeat(1000));
    for (part, path, hit) in [
        ("*a", &names, true),
        ("**a", &names, true),
        ("[ab]+", &names, true),
        ("a?", &names, false),
        ("a?", &String::new(), true),
        ("[ab]?", &"ba".repeat(150), true),
        ("**/a?", &folders, true),
        ("*/**/", &folders, true),
    ] {
        let pattern = Pattern::parse(&(part.repeat(400) + "b")).unwrap();
        assert_eq!(pattern.hits(&format!("{path}b")), hit, "{part}");
        assert!(!pattern.hits(path), "{part}");
    }
}
