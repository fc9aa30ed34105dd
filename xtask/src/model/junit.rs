//! JUnit XML, as far as we need it to count tests. Pytest, Vitest and most other
//! runners write it. There is no crate for this, because only the nesting of
//! elements counts, and a truncated report must be an error and not a smaller
//! number.

use std::str::FromStr;

use crate::model::diagnostic::Diagnostic;
use crate::model::tally::Tally;

/// The path of a report in the container of its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPath(String);

impl ReportPath {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReportPath {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        // The engine lists paths in this form, and we compare them as text.
        let is_plain = |name: &str| !["", ".", ".."].contains(&name) && !name.contains(char::is_control);
        match text.strip_prefix('/') {
            Some(names) if names.split('/').all(is_plain) => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "{text:?} is not a file in a container: expected an absolute path, such as `/tmp/report.xml`"
            )
            .into()),
        }
    }
}

/// Counts the tests of a report. A test that is skipped, or fails as expected,
/// counts neither as passed nor as failed.
pub fn count(report: &str) -> Result<Tally, Diagnostic> {
    let mut reader = JunitReader { text: report.trim_start_matches('\u{feff}'), at: 0 };
    let mut tally = Tally::default();
    // The open elements, and the result of each so far.
    let mut open: Vec<(&str, CaseResult)> = Vec::new();
    let mut is_over = false;
    while let Some(piece) = reader.next().map_err(|why| reader.wrong(why))? {
        match piece {
            Piece::Text(text) if !text.trim().is_empty() && open.is_empty() => {
                reader.at -= text.trim_start().len();
                return Err(reader.wrong("text outside of all elements"));
            }
            Piece::Text(_) => {}
            Piece::Start { name, is_empty } => {
                let is_root = ["testsuites", "testsuite"].contains(&name);
                if open.is_empty() && (is_over || !is_root) {
                    return Err(reader.wrong(format!("`<{name}>` where one `<testsuites>` was expected")));
                }
                open.push((name, CaseResult::Passed));
                if is_empty {
                    tally += close(&mut open);
                }
            }
            Piece::End(name) => {
                if open.last().is_none_or(|(open, _)| *open != name) {
                    return Err(reader.wrong(format!("`</{name}>` closes nothing")));
                }
                tally += close(&mut open);
            }
        }
        is_over = open.is_empty() && (is_over || !matches!(piece, Piece::Text(_)));
    }
    match open.last() {
        Some((name, _)) => Err(reader.wrong(format!("it ends within `<{name}>`"))),
        None if !is_over => Err(reader.wrong("it is empty")),
        None => Ok(tally),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum CaseResult {
    Passed,
    Skipped,
    Failed,
}

/// Closes the innermost element and adds its result to its parent.
fn close(open: &mut Vec<(&str, CaseResult)>) -> Tally {
    let Some((name, outcome)) = open.pop() else { return Tally::default() };
    match name {
        "testcase" => match outcome {
            CaseResult::Passed => Tally { passed: 1, failed: 0 },
            CaseResult::Failed => Tally { passed: 0, failed: 1 },
            CaseResult::Skipped => Tally::default(),
        },
        "failure" | "error" | "skipped" => {
            let is_bad = name != "skipped";
            match open.last_mut() {
                Some(("testcase", around)) if is_bad => *around = CaseResult::Failed,
                Some(("testcase", around)) if *around == CaseResult::Passed => *around = CaseResult::Skipped,
                // A whole suite that could not be run.
                Some(("testsuite" | "testsuites", _)) if is_bad => return Tally { passed: 0, failed: 1 },
                _ => {}
            }
            Tally::default()
        }
        _ => Tally::default(),
    }
}

#[derive(Clone, Copy)]
enum Piece<'a> {
    Text(&'a str),
    Start { name: &'a str, is_empty: bool },
    End(&'a str),
}

struct JunitReader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JunitReader<'a> {
    fn wrong(&self, why: impl Into<String>) -> Diagnostic {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        Diagnostic::new(why).line(before.matches('\n').count() + 1)
    }

    /// The next piece. Comments, CDATA and processing instructions count as text.
    fn next(&mut self) -> Result<Option<Piece<'a>>, &'static str> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(markup) = rest.strip_prefix('<') else {
            let text = &rest[..rest.find('<').unwrap_or(rest.len())];
            self.at += text.len();
            return Ok(Some(Piece::Text(text)));
        };
        for (start, end) in [("<?", "?>"), ("<!--", "-->"), ("<![CDATA[", "]]>")] {
            if let Some(inside) = rest.strip_prefix(start) {
                let length = inside.find(end).ok_or("what began here has no end")?;
                self.at += start.len() + length + end.len();
                return Ok(Some(Piece::Text("")));
            }
        }
        if markup.starts_with('!') {
            return Err("a report declares nothing");
        }
        let length = end_of_tag(markup).ok_or("a tag without an end")?;
        let tag = &markup[..length];
        self.at += 1 + length + 1;
        let (tag, is_end) = tag.strip_prefix('/').map_or((tag, false), |tag| (tag, true));
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
        let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if !is_name || (is_end && (is_empty || tag.trim_end() != name)) {
            return Err("this is not a tag");
        }
        Ok(Some(if is_end { Piece::End(name) } else { Piece::Start { name, is_empty } }))
    }
}

/// The position of the `>` that ends a tag, outside the values of attributes.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    text.bytes().position(|byte| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            (None, b'>') => return true,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(report: &str, passed: u64, failed: u64) {
        assert_eq!(count(report), Ok(Tally { passed, failed }), "{report}");
    }

    #[test]
    fn a_test_is_what_stands_in_it() {
        let case = |inside: &str| {
            format!("<testsuites><testsuite><testcase name='a'>{inside}</testcase></testsuite></testsuites>")
        };
        for (inside, passed, failed) in [
            ("", 1, 0),
            ("<failure/>", 0, 1),
            ("<error message='x'>text</error>", 0, 1),
            ("<skipped/>", 0, 0),
            ("<skipped/><failure/>", 0, 1),
            ("<failure/><skipped/>", 0, 1),
            ("<failure/><error/>", 0, 1),
            ("<system-out>text</system-out>", 1, 0),
            ("<properties><failure/></properties>", 1, 0),
            ("<system-out><![CDATA[</testcase><failure/>]]></system-out>", 1, 0),
            ("<!-- <failure/> -->", 1, 0),
            ("<flakyFailure/>", 1, 0),
        ] {
            is(&case(inside), passed, failed);
        }
        is("<testsuite><testcase/><testcase name='/>'/><testcase name=\"a>b<'\" /></testsuite>", 3, 0);
        is("<testsuites><testsuite><error>could not start</error><testcase/></testsuite></testsuites>", 1, 1);
        is("<testsuites><testsuite><skipped/><testcase/></testsuite></testsuites>", 1, 0);
        is("<testsuites><_x/><testsuite><testcase/></testsuite></testsuites>", 1, 0);
        is("\u{feff}<?xml version='1.0'?>\n<!-- a --><testsuites/>\n<!-- b -->\n", 0, 0);
        is("<testsuite><testsuite><testcase></testcase></testsuite><testcase/></testsuite >", 2, 0);
    }

    #[test]
    fn a_report_that_is_not_whole_is_an_error_with_its_line() {
        let whole = "<testsuites>\n<testsuite name='a'>\n<testcase name='b'><failure/></testcase>\n<!-- c -->\n<testcase/>\n</testsuite>\n</testsuites>";
        assert!(count(whole).is_ok());
        for end in 0..whole.len() {
            assert!(count(&whole[..end]).is_err(), "{}", &whole[..end]);
        }
        for (report, line) in [
            ("", 1),
            ("\n\n", 3),
            ("<html></html>", 1),
            ("<testsuites/><testsuites/>", 1),
            ("<testsuites>\n</testsuite>", 2),
            ("<testsuites/>\nmore", 2),
            ("error\n<testsuites/>", 1),
            ("<!DOCTYPE x>\n<testsuites/>", 1),
            ("<testsuites>\n\n< testcase/></testsuites>", 3),
            ("<testsuites></testsuites/>", 1),
            ("<testsuites><testcase></testcase x></testsuites>", 1),
            ("{\"tests\": 1}", 1),
        ] {
            let why = count(report).unwrap_err();
            assert_eq!(why.line, Some(line), "{report}: {why}");
        }
    }

    #[test]
    fn whatever_is_read_ends_in_a_number_or_an_error() {
        let pieces = [
            "<testsuites>",
            "</testsuites>",
            "<testsuite a='>'>",
            "</testsuite>",
            "<testcase/>",
            "<testcase>",
            "</testcase>",
            "<failure/>",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "<",
            ">",
            "/",
            "'",
            "\"",
            "é",
            "\n",
            "<?",
            "?>",
            "&lt;",
        ];
        crate::model::cases::cases(2_000, |dice| {
            let length = dice.int_in_range(0..=12)?;
            let report: String = (0..length).map(|_| dice.choose(&pieces).copied()).collect::<Result<_, _>>()?;
            if let Ok(tally) = count(&report) {
                let cases = report.matches("<testcase").count() as u64;
                assert!(tally.passed <= cases, "{report}: {tally:?}");
            }
            Ok(())
        });
    }

    #[test]
    fn the_path_of_a_report_is_a_whole_one() {
        for good in ["/tmp/report.xml", "/r", "/a b/..c"] {
            assert_eq!(good.parse::<ReportPath>().unwrap().as_str(), good);
        }
        for bad in ["", "/", "report.xml", "/tmp/", "/tmp//r", "/tmp/../r", "/./r", "/tmp/\u{1b}r", "/tmp/r\nA /x"] {
            assert!(bad.parse::<ReportPath>().is_err(), "{bad:?}");
        }
    }
}
