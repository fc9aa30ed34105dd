//! The dialect: GitHub's own table, and the statements of its documentation.

use super::{PATTERNS, PathFilter, Pattern};
use crate::syntax::LENGTH;

fn selects(patterns: &[&str], path: &str) -> bool {
    let patterns = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    PathFilter::new(patterns).unwrap().includes(path)
}

/// GitHub's "Filter pattern cheat sheet", row by row.
#[test]
fn every_documented_row_holds() {
    let rows = include_str!("rows.txt");
    let mut count = 0;
    for row in rows.lines() {
        let [patterns, path, verdict] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let patterns: Vec<_> = patterns.split(" then ").collect();
        assert_eq!(selects(&patterns, path), verdict == "yes", "{row}");
        count += 1;
    }
    assert_eq!(count, 65);
}

#[test]
fn what_is_left_open_is_refused_with_its_column_and_a_way_out() {
    let rows = [
        ("", 1, "write a path such as"),
        ("!", 2, "write a path such as"),
        ("/a", 1, "paths begin without `/`"),
        ("/", 1, "leave it out"),
        ("./a", 1, "paths begin without `./`"),
        (".", 1, "write `**`"),
        ("a/./b", 3, "no path has a name `.`"),
        ("../a", 1, "from the repository's root"),
        ("a/..", 3, "from the repository's root"),
        ("a//b", 3, "write one `/`"),
        ("a/", 2, "write `/**`"),
        ("!a/", 3, "write `/**`"),
        ("**/", 3, "write `**`"),
        ("a/**/", 5, "write `**`"),
        ("a\0b", 2, "leave it out"),
        ("?a", 1, "`?` at the start means is not documented; write `*`"),
        ("!+a", 2, "`+` at the start"),
        ("a*?", 3, "`?` after `*` means is not documented; leave it out"),
        ("a**+", 4, "`+` after `*`"),
        ("a/+", 3, "`+` after `/`"),
        ("**/?a", 4, "`?` after `/`"),
        ("a?+", 3, "`+` after another quantifier"),
        ("a+?", 3, "`?` after another quantifier"),
        ("c++", 3, "part of a name, write `*`"),
        ("[ab]??", 6, "`?` after another quantifier"),
        ("ü?+", 3, "`+` after another quantifier"),
        ("***", 1, "write `**`"),
        ("a****", 2, "write `**`"),
        ("[^a]", 1, "a bracket holds"),
        ("[!a]", 1, "a bracket holds"),
        ("a[.]", 2, "a bracket holds"),
        ("a[/]b", 2, "a bracket holds"),
        ("[é]", 1, "a bracket holds"),
        ("[_]", 1, "a bracket holds"),
        ("[*]", 1, "a bracket holds"),
        ("[]", 1, "a bracket holds"),
        ("[]a]", 1, "a bracket holds"),
        ("[[a]", 1, "a bracket holds"),
        ("[-a]", 1, "a bracket holds"),
        ("[a-]", 1, "a bracket holds"),
        ("[a-c-e]", 1, "a bracket holds"),
        ("[z-a]", 1, "a bracket holds"),
        ("[A-z]", 1, "a bracket holds"),
        ("[a-Z]", 1, "a bracket holds"),
        ("[0-z]", 1, "a bracket holds"),
        ("x[a", 2, "close it"),
        ("a]", 2, "open it"),
        ("[a]]", 4, "open it"),
        ("a\\b", 2, "leave it out"),
        ("\\!a", 1, "leave it out"),
    ];
    for (text, column, way_out) in rows {
        let error = Pattern::parse(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(way_out), "{text}: {error}");
    }
}

#[test]
fn what_is_refused_is_told_by_its_column() {
    assert_eq!(Pattern::parse("a/").unwrap_err().to_string().split(':').next(), Some("column 2"));
}

#[test]
fn a_pattern_and_a_list_have_bounds() {
    let parse = |length: usize| Pattern::parse(&"a".repeat(length)).map_err(|error| error.column);
    assert!(parse(LENGTH).is_ok());
    assert_eq!((parse(LENGTH + 1).err(), parse(9 * LENGTH).err()), (Some(LENGTH + 1), Some(LENGTH + 1)));
    assert!(PathFilter::may_hold(PATTERNS).is_ok());
    assert!(PathFilter::may_hold(PATTERNS + 1).is_err() && PathFilter::may_hold(9 * PATTERNS).is_err());
}

#[test]
fn a_list_tells_its_patterns_and_what_its_paths_begin_with() {
    let texts = ["src/**", "!src/x", "*.md", "a/b", "docs/a?"];
    let filter = PathFilter::new(texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()).unwrap();
    assert_eq!(filter.patterns().iter().map(Pattern::text).collect::<Vec<_>>(), texts);
    assert_eq!(filter.heads(), ["src/", "", "a/b", "docs/"]);
    assert_eq!(filter.hits("src/x").collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn everything_else_is_itself() {
    for text in [
        "a.b",
        "a(b)",
        "a{b}|c",
        "{a,b}",
        "a@b^c$",
        "a b",
        " a ",
        "   ",
        "ü/é",
        ".github/x",
        "a,b",
        "a!b",
        "a-z",
        "~#%&=",
        "a\nb",
        "a\tb",
        "\u{7f}",
        "...",
        "a/.b/..c",
        "..a",
        "😀",
    ] {
        assert!(selects(&[text], text), "{text:?}");
        assert!(!selects(&[text], &format!("{text}x")), "{text:?}");
    }
    assert!(!selects(&["a.b"], "axb"));
    assert!(!selects(&["{a,b}"], "a"));
    assert!(!selects(&["README.md"], "readme.md"));
    assert!(!selects(&["\u{e9}"], "e\u{301}"), "no normalization");
}

#[test]
fn folders_begin_and_end_at_a_slash() {
    for (pattern, path, hit) in [
        ("**/a", "a", true),
        ("**/a", "b/c/a", true),
        ("**/a", "ba", false),
        ("**/a", "b/ca", false),
        ("x/**/a", "x/a", true),
        ("x/**/a", "x/y/a", true),
        ("x/**/a", "xa", false),
        ("x/**/a", "x/ya", false),
        ("a?b", "b", true),
        ("a?b", "ab", true),
        ("[ab]+c", "abac", true),
        ("[ab]+c", "c", false),
    ] {
        assert_eq!(selects(&[pattern], path), hit, "{pattern} {path}");
    }
}

#[test]
fn each_feature_is_read_as_it_is_worded() {
    for (pattern, path, hit) in [
        // The pattern matches the whole path, and a folder does not stand for its
        // files.
        ("docs", "docs/x", false),
        ("docs/**", "docs", false),
        ("docs/**", "docs/x", true),
        ("docs/*", "docs/a/b", false),
        ("**/docs", "docs", true),
        ("**/docs", "a/docs", true),
        ("**/docs", "a/docs/x", false),
        ("**/docs/**", "docs/x", true),
        ("**/docs/**", "mydocs/x", false),
        ("**/docs/**", "docs", false),
        // A name with a leading dot is an ordinary name.
        ("*", ".env", true),
        ("**", ".github/x", true),
        ("*/x", ".a/x", true),
        // `*` is zero or more characters, but never `/`.
        ("*", "a/b", false),
        ("a*b", "ab", true),
        ("*/*", "a/b", true),
        ("*/*", "a", false),
        ("*", "a\nb", true),
        ("a/*.md", "a/\n.md", true),
        // `**` is zero or more of any characters, anywhere.
        ("a**b", "ab", true),
        ("a**b", "a/x/b", true),
        ("**a", "x/ya", true),
        ("a/**b", "a/b", true),
        ("a/**b", "a/x/yb", true),
        ("a/**b", "ab", false),
        ("**/**", "a", true),
        ("**/*", "a", true),
        ("**/*", "a/b/c", true),
        ("**/*/*", "a", false),
        ("a/**/*", "a", false),
        ("a**/b", "ab", true),
        ("a**/b", "axx/b", true),
        // `?` and `+` are quantifiers, not wildcards.
        ("a?", "ab", false),
        ("a+", "aaa", true),
        ("a+", "", false),
        ("a+", "a+", false),
        ("ab+", "abab", false),
        ("é?x", "x", true),
        ("é+", "ééé", true),
        (" ?a", "a", true),
        ("(ab)?", "", false),
        ("(ab)?", "(ab", true),
        // A bracket matches one character.
        ("[ab]", "ab", false),
        ("[a-cx]", "x", true),
        ("[a-cx]", "d", false),
        ("[a-a]", "a", true),
        ("[abc]?x", "x", true),
        ("[A-Z]+", "AZ", true),
        ("[A-Z]+", "Az", false),
        ("[0-9]+x", "x", false),
    ] {
        assert_eq!(selects(&[pattern], path), hit, "{pattern} {path}");
    }
}

#[test]
fn the_order_decides_and_a_second_exclamation_mark_is_itself() {
    assert!(selects(&["!a", "**"], "a"));
    assert!(!selects(&["**", "!!a"], "!a"));
    assert!(selects(&["**", "!!a"], "a"));
    assert!(selects(&["a", "!*", "a"], "a"));
    let only_negated = PathFilter::new(vec![Pattern::parse("!a").unwrap()]);
    assert!(only_negated.unwrap_err().contains("put one such as `**` before"));
    assert!(PathFilter::new(Vec::new()).is_err());
}
