//! One snapshot a command line that people type: the plan, or the error.
//!
//! `plans.txt` holds the lines and what they print; a line is added there, its
//! output by `UPDATE_EXPECT=1 cargo test`. So there are no orphans.

#![allow(clippy::unwrap_used)]

mod common;

use expect_test::expect_file;

#[test]
fn every_command_line_has_its_plan() {
    let file = include_str!("plans.txt");
    let mut actual = String::new();
    let mut count = 0;
    for line in file.lines() {
        let Some(typed) = line.strip_prefix("$ ") else {
            if line.starts_with('#') {
                actual.push_str(&format!("{line}\n"));
            }
            continue;
        };
        let mut words = shell_words::split(typed).unwrap();
        let mut variables = Vec::new();
        while let Some((name, value)) = words[0].split_once('=') {
            variables.push((name.to_owned(), value.to_owned()));
            words.remove(0);
        }
        assert_eq!(words[..2], ["cargo", "xtask"], "{line}");
        let args: Vec<&str> = words[2..].iter().map(String::as_str).collect();
        let output = common::pinned(&args).envs(variables).output().unwrap();
        actual.push_str(&format!("$ {typed}\n{}\n", common::transcript(&output)));
        count += 1;
    }
    assert!(count > 20, "the snapshot file was cut off");
    expect_file!["plans.txt"].assert_eq(&actual);
}
