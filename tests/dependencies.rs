//! `docs/dependencies.md` says of every crate in `Cargo.toml` what it is for, and every crate is used.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The crates below a `[…dependencies]` header of `Cargo.toml`.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
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
    let page = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    page.lines().filter_map(cell).collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
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
    let mut files = vec![root().join("build.rs")];
    for directory in ["src", "tests", "benches"] {
        sources(&root().join(directory), &mut files);
    }
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let unused: Vec<String> = crates()
        .into_iter()
        .filter(|name| {
            let path = name.replace('-', "_");
            !code.contains(&format!("{path}::")) && !code.contains(&format!("#[{path}"))
        })
        .collect();
    assert!(unused.is_empty(), "nothing uses {unused:?}: remove them from Cargo.toml");
}
