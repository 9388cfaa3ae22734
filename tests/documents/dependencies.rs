//! Every dependency has a reason, and is used.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::blocks::{files, root};

/// The directories of the workspace's own crates.
fn members() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).expect("the workspace has crates");
    [root().to_owned()].into_iter().chain(crates.map(|entry| entry.unwrap().path())).collect()
}

/// The crates of others below the `[…dependencies]` headers of one crate's `Cargo.toml`.
fn crates_of(member: &Path) -> BTreeSet<String> {
    let manifest = fs::read_to_string(member.join("Cargo.toml")).expect("a crate has a manifest");
    let mut listed = false;
    let mut crates = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            listed = line.ends_with("dependencies]") && !line.starts_with("[workspace.");
        } else if let (true, Some((name, _))) = (listed, line.split_once('=')) {
            crates.insert(name.trim().trim_end_matches(".workspace").to_owned());
        }
    }
    crates.retain(|name| !root().join("crates").join(name.trim_start_matches("sluice-")).exists());
    crates
}

/// The same of all crates of the workspace.
fn crates() -> BTreeSet<String> {
    members().iter().flat_map(|member| crates_of(member)).collect()
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
    for member in members() {
        let mut sources = vec![member.join("build.rs")];
        for directory in ["src", "tests", "benches", "examples"] {
            files(&member.join(directory), "rs", &mut sources);
        }
        let code: String = sources.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
        let unused: Vec<String> = crates_of(&member)
            .into_iter()
            .filter(|name| {
                let path = name.replace('-', "_");
                !code.contains(&format!("{path}::")) && !code.contains(&format!("#[{path}"))
            })
            .collect();
        assert!(unused.is_empty(), "nothing uses {unused:?}: remove them from {}", member.display());
    }
}
