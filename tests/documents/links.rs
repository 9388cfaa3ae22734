//! Links lead somewhere.

use std::fs;

use crate::blocks::{pages, root};
use crate::documents;
use crate::targets::broken_links;

#[test]
fn every_link_leads_somewhere() {
    let broken: Vec<String> = documents().iter().flat_map(|document| broken_links(document)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_list_of_pages() {
    let list = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let missing: Vec<String> = pages()
        .iter()
        .filter_map(|page| page.strip_prefix(root().join("docs")).ok())
        .map(|page| page.display().to_string())
        .filter(|page| page != "SUMMARY.md" && !list.contains(&format!("({page})")))
        .collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md wants {missing:?}");
}
