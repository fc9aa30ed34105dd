//! Finds the paths that begin with one of a few heads, without looking at the
//! others.

/// The heads in order, without those that begin with another head.
pub fn apart<'h>(heads: impl IntoIterator<Item = &'h str>) -> Vec<&'h str> {
    let mut sorted: Vec<&str> = heads.into_iter().collect();
    sorted.sort_unstable();
    sorted.dedup_by(|next, before| next.starts_with(*before));
    sorted
}

/// The paths that begin with one of these heads, each once and in order. `paths`
/// must be in order.
pub fn below<'p, 'h>(paths: &[&'p str], heads: impl IntoIterator<Item = &'h str>) -> impl Iterator<Item = &'p str> {
    apart(heads).into_iter().flat_map(|head| {
        let start = paths.partition_point(|path| *path < head);
        let count = paths[start..].partition_point(|path| path.starts_with(head));
        paths[start..start + count].iter().copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_begins_with_another_is_part_of_it() {
        let apart = |heads: &[&'static str]| apart(heads.iter().copied()).join(" ");
        assert_eq!(apart(&["b", "a/", "a/b", "a", "ab", "b"]), "a b");
        assert_eq!(apart(&["b/c", "b/d", "b/c/e"]), "b/c b/d");
        assert_eq!(apart(&["b", "", "a"]), "");
    }

    #[test]
    fn each_path_below_one_of_them_comes_once_and_no_other() {
        let paths = ["a", "a/b", "a/c/d", "ab", "b", "c/a", "é"];
        let found = |heads: &[&'static str]| below(&paths, heads.iter().copied()).collect::<Vec<_>>().join(" ");
        assert_eq!(found(&["a/"]), "a/b a/c/d");
        assert_eq!(found(&["c/", "a/c", "a"]), "a a/b a/c/d ab c/a");
        assert_eq!(found(&[""]), paths.join(" "));
        assert_eq!(found(&["é", "b/", "0"]), "é");
        assert_eq!(found(&[]), "");
        crate::model::cases::cases(500, |u| {
            let word = |u: &mut arbtest::arbitrary::Unstructured<'_>| -> arbtest::arbitrary::Result<String> {
                (0..u.int_in_range(0..=4)?).map(|_| u.choose(&['a', 'b', '/']).copied()).collect()
            };
            let (mut paths, heads): (Vec<_>, Vec<_>) =
                (0..8).map(|_| Ok((word(u)?, word(u)?))).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
            paths.sort();
            paths.dedup();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let some = &heads[..u.int_in_range(0..=3)?];
            let is_below = |path: &&str| some.iter().any(|head| path.starts_with(head.as_str()));
            let expected: Vec<&str> = paths.iter().copied().filter(is_below).collect();
            assert_eq!(below(&paths, some.iter().map(String::as_str)).collect::<Vec<_>>(), expected, "{some:?}");
            Ok(())
        });
    }
}
