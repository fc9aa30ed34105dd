//! The patterns of `${A#x}`, `${A%x}` and `${A/x/y}`: `*`, `?` and text.

/// A bound for the length of the pattern times the length of the text.
const MOST: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum PatternPart {
    Char(char),
    /// One character.
    One,
    /// Any number of characters.
    Run,
}

/// Removes the shortest match at the start or at the end; with a doubled
/// operator, the longest.
pub fn trim(pattern: &str, value: &str, end: bool) -> Result<String, String> {
    let operator = if end { '%' } else { '#' };
    let (pattern, longest) = pattern.strip_prefix(operator).map_or((pattern, false), |pattern| (pattern, true));
    let mut parts = parts(pattern)?;
    let mut chars: Vec<char> = value.chars().collect();
    if end {
        parts.reverse();
        chars.reverse();
    }
    let ends = ends(&parts, &chars)?;
    let cut = if longest { ends.last() } else { ends.first() };
    let mut rest = chars.split_off(cut.copied().unwrap_or(0));
    if end {
        rest.reverse();
    }
    Ok(rest.into_iter().collect())
}

/// Replaces the first match, or all matches.
pub fn replace(pattern: &str, with: &str, value: &str, all: bool) -> Result<String, String> {
    if all && with.contains('$') {
        return Err("a `$` in a replacement is not understood here".into());
    }
    let (parts, chars): (_, Vec<char>) = (parts(pattern)?, value.chars().collect());
    if parts.len().saturating_mul(chars.len()).saturating_mul(chars.len()) > MOST {
        return Err("too long to be compared here".into());
    }
    let (mut result, mut done, mut from) = (String::new(), 0, 0);
    while from <= chars.len() {
        let found = (from..=chars.len()).find_map(|at| Some((at, at + ends(&parts, &chars[at..]).ok()?.last()?)));
        let Some((start, end)) = found else { break };
        result.extend(&chars[done..start]);
        // An empty match right after another match does not count.
        if end > done || start == 0 {
            result.push_str(with);
        }
        done = end;
        from = end.max(from + 1);
        if !all {
            break;
        }
    }
    result.extend(chars.get(done..).unwrap_or_default());
    Ok(result)
}

fn parts(pattern: &str) -> Result<Vec<PatternPart>, String> {
    let mut chars = pattern.chars();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => PatternPart::Run,
            '?' => PatternPart::One,
            '\\' => match chars.next() {
                Some(c @ ('*' | '?' | '\\' | '}' | '/')) => PatternPart::Char(c),
                _ => return Err("a `\\` in a pattern escapes `*`, `?`, `\\`, `}` and `/`".into()),
            },
            c => PatternPart::Char(c),
        });
    }
    Ok(parts)
}

/// The possible ends of a match at the start, in order. Neither `?` nor `*`
/// matches a line break.
fn ends(parts: &[PatternPart], chars: &[char]) -> Result<Vec<usize>, String> {
    if parts.len().saturating_mul(chars.len()) > MOST {
        return Err("too long to be compared here".into());
    }
    let mut at = vec![false; chars.len() + 1];
    at[0] = true;
    for part in parts {
        let mut next = vec![false; at.len()];
        for here in 0..at.len() {
            match part {
                PatternPart::Run => next[here] = at[here] || (here > 0 && next[here - 1] && chars[here - 1] != '\n'),
                PatternPart::One => next[here] = here > 0 && at[here - 1] && chars[here - 1] != '\n',
                PatternPart::Char(c) => next[here] = here > 0 && at[here - 1] && chars[here - 1] == *c,
            }
        }
        at = next;
    }
    Ok(at.iter().enumerate().filter_map(|(here, is)| is.then_some(here)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_or_the_longest_goes() {
        for (pattern, value, end, rest) in [
            ("a", "aab", false, "ab"),
            ("b", "aab", false, "aab"),
            ("*a", "xaya", false, "ya"),
            ("#*a", "xayab", false, "b"),
            ("a*", "xaya", true, "xay"),
            ("%a*", "xaya", true, "x"),
            ("?", "é", true, ""),
            ("*", "a\nb", false, "a\nb"),
            ("#*", "a\nb", false, "\nb"),
            ("\\*", "*a", false, "a"),
        ] {
            assert_eq!(trim(pattern, value, end).as_deref(), Ok(rest), "{pattern} {value}");
        }
        for pattern in ["\\a", "a\\"] {
            assert!(trim(pattern, "a", false).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_first_or_all_are_replaced() {
        for (pattern, with, value, all, result) in [
            ("a", "x", "banana", false, "bxnana"),
            ("a", "x", "banana", true, "bxnxnx"),
            ("a*n", "x", "banana", true, "bxa"),
            ("", "x", "ab", true, "xaxbx"),
            ("*", "x", "ab", true, "x"),
            ("z", "x", "ab", true, "ab"),
            ("b", "", "ab", false, "a"),
        ] {
            assert_eq!(replace(pattern, with, value, all).as_deref(), Ok(result), "{pattern} {value}");
        }
        assert!(replace("a", "$1", "a", true).is_err());
    }
}
