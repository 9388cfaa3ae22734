//! Tests that are named as proof of something are there, and run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::blocks::{files, root};
use crate::targets::between;

#[test]
fn every_promise_names_tests_that_run() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    // `[`name`](../file.rs)`, on one line.
    let named: Vec<(&str, &str)> = page
        .lines()
        .flat_map(|line| between(line, "[`", ')'))
        .filter_map(|link| link.split_once("`](../"))
        .filter(|(_, file)| Path::new(file).extension().is_some_and(|of| of == "rs"))
        .collect();
    assert!(named.len() > 30, "{named:?}");
    let absent: Vec<_> = named
        .iter()
        .filter(|(name, file)| {
            let code = fs::read_to_string(root().join(file)).unwrap_or_default();
            !tests(&code).contains(name)
        })
        .collect();
    assert!(absent.is_empty(), "docs/guarantees.md names tests that are not there: {absent:#?}");
}

#[test]
fn every_test_that_is_named_as_proof_is_there() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let named: BTreeSet<&str> = page.lines().flat_map(|line| between(line, "`tests/", '`')).collect();
    assert!(named.len() > 5, "{named:?}");
    let absent: Vec<&&str> = named.iter().filter(|name| !root().join("tests").join(name).exists()).collect();
    assert!(absent.is_empty(), "docs/architecture.md names tests that are not there: {absent:?}");
}

/// The names of the functions in `code` that `cargo test` runs.
fn tests(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    // Since the last item or statement.
    let (mut is_test, mut is_ignored) = (false, false);
    for line in code.lines().map(str::trim) {
        is_test |=
            line == "#[test]" || line.starts_with("#[tokio::test]") || line.starts_with("#[tokio::test(");
        is_ignored |= line.starts_with("#[ignore");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some((name, _)) = function.and_then(|function| function.split_once('(')) {
            names.extend((is_test && !is_ignored).then_some(name));
        }
        if line.ends_with(['{', '}', '(', ';']) && !line.starts_with('#') {
            (is_test, is_ignored) = (false, false);
        }
    }
    names
}

/// The numbers of OTLP's rules that names of tests in `code` carry: `rule_34_…`, `rules_4_and_32_…`, `rules_49_to_53_…`.
fn rules_in_names(code: &str) -> BTreeSet<u32> {
    let rule = |name: &'_ str| {
        let rule = name.strip_prefix("rule")?;
        Some(rule.strip_prefix('s').unwrap_or(rule).strip_prefix('_')?.to_owned())
    };
    let mut rules = BTreeSet::new();
    for name in tests(code).into_iter().filter_map(rule) {
        let (mut last, mut through) = (0, false);
        for word in name.split('_') {
            match word.parse::<u32>() {
                Ok(rule) => {
                    rules.extend(if through { last } else { rule }..=rule);
                    last = rule;
                }
                Err(_) if word == "and" || word == "to" => through = word == "to",
                Err(_) => break,
            }
        }
    }
    rules
}

#[test]
fn every_rule_of_otlp_has_a_test_that_carries_its_number() {
    let page = fs::read_to_string(root().join("docs/otlp-rules.md")).unwrap();
    let number = |line: &str| line.strip_prefix("| ")?.split_once(" |")?.0.parse().ok();
    let rules: Vec<u32> = page.lines().filter_map(number).collect();
    assert_eq!(rules, (1..=59).collect::<Vec<_>>(), "the rules of the page, in order");
    let mut sources = Vec::new();
    for directory in ["crates", "src", "tests"] {
        files(&root().join(directory), "rs", &mut sources);
    }
    let tested: BTreeSet<u32> =
        sources.iter().flat_map(|file| rules_in_names(&fs::read_to_string(file).unwrap())).collect();
    let untested: Vec<u32> = rules.into_iter().filter(|rule| !tested.contains(rule)).collect();
    assert!(untested.is_empty(), "no test has these rules in its name: {untested:?}");
}

#[test]
fn names_of_tests_that_run_carry_one_rule_or_more() {
    for (code, rules) in [
        ("    #[tokio::test]\n    async fn rule_24_http_2_is_spoken() {", vec![24]),
        ("#[tokio::test(start_paused = true)]\n/// Why.\nasync fn rules_4_and_32_what() {", vec![4, 32]),
        ("#[test]\n#[cfg(unix)]\nfn rules_15_21_and_22_what() {", vec![15, 21, 22]),
        ("proptest! {\n#[test]\nfn rules_49_to_53_what(\ninput in any::<u8>()) {", vec![49, 50, 51, 52, 53]),
        ("#[test]\nfn rule_of_thumb() {\n// rule_7_is_mentioned", vec![]),
        ("fn rule_7_is_no_test() {", vec![]),
        ("#[test]\nfn other() {\n}\n\nfn rule_7_is_no_test() {", vec![]),
        ("#[test]\n#[ignore = \"one day (maybe)\"]\nfn rule_7_is_not_run() {", vec![]),
        ("#[ignore]\n#[tokio::test]\nasync fn rule_7_is_not_run() {", vec![]),
    ] {
        assert_eq!(rules_in_names(code).into_iter().collect::<Vec<_>>(), rules, "{code}");
    }
}
