//! What the documents say is there: links, tests that are named as proof, dependencies, commands and YAML. Commands are run by
//! `tests/commands`, and the YAML of Sluice's own is read beside the code of `config`.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod blocks;
mod claims;
mod code;
mod dependencies;
mod links;
mod quotes;
mod targets;

use std::path::PathBuf;

use blocks::{pages, root};

/// The pages, and the list of changes.
pub(crate) fn documents() -> Vec<PathBuf> {
    let mut documents = pages();
    documents.push(root().join("CHANGELOG.md"));
    documents
}
