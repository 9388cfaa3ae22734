//! Links lead somewhere.

use std::collections::BTreeSet;
use std::fs;

use crate::blocks::{pages, root};
use crate::{between, documents};

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
