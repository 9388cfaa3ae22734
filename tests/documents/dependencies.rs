//! Every dependency has a reason, and is used.

use std::collections::BTreeSet;
use std::fs;

use crate::blocks::{files, root};

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
