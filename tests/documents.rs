//! What the documents say is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The crates below a `[…dependencies]` header of `Cargo.toml`.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a crate has a manifest");
    let mut listed = false;
    let mut crates = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            listed = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (listed, line.split_once('=')) {
            crates.insert(name.trim().to_owned());
        }
    }
    crates
}

/// The crates that have a row of their own.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/dependencies.md")).expect("the page is there");
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    page.lines().filter_map(cell).collect()
}

/// The files below `directory` whose name ends in `.end`.
fn files(directory: &Path, end: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files(&path, end, found);
        } else if path.extension().is_some_and(|of| of == end) {
            found.push(path);
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    files(&root().join("docs"), "md", &mut found);
    found
}

/// What stands between `open` and `close` in a line, as often as it does.
fn between<'a>(line: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    line.split(open).skip(1).filter_map(move |rest| rest.split_once(close)).map(|(inside, _)| inside)
}

/// What a link to each heading of a page has behind `#`, as GitHub makes it.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let headings = page.lines().filter(|line| {
        in_code ^= line.starts_with("```");
        !in_code && line.starts_with('#')
    });
    let kept = |char: &char| char.is_alphanumeric() || " -_".contains(*char);
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.lines().flat_map(|line| between(line, "](", ')')) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let leads = match fs::read_to_string(&target) {
                Ok(page) => anchor.is_empty() || anchors(&page).contains(anchor),
                Err(_) => anchor.is_empty() && target.exists(),
            };
            if !leads {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

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
    for directory in ["src", "tests"] {
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

#[test]
fn every_dependency_says_what_it_is_for() {
    assert!(crates().contains("tokio"), "the manifest is not read: {:?}", crates());
    let missing: Vec<String> = crates().difference(&documented()).cloned().collect();
    assert!(missing.is_empty(), "docs/dependencies.md wants a row for {missing:?}");
    let stale: Vec<String> = documented().difference(&crates()).cloned().collect();
    assert!(stale.is_empty(), "docs/dependencies.md has rows for {stale:?}, which Cargo.toml doesn't");
}

#[test]
fn every_dependency_is_used() {
    let mut sources = vec![root().join("build.rs")];
    for directory in ["src", "tests", "benches"] {
        files(&root().join(directory), "rs", &mut sources);
    }
    let code: String = sources.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let unused: Vec<String> = crates()
        .into_iter()
        .filter(|name| {
            let path = name.replace('-', "_");
            !code.contains(&format!("{path}::")) && !code.contains(&format!("#[{path}"))
        })
        .collect();
    assert!(unused.is_empty(), "nothing uses {unused:?}: remove them from Cargo.toml");
}
