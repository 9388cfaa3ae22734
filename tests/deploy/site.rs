//! The site that `make book` makes of the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{root, run, tools_directory};

/// The pages of HTML in a directory and below it.
fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|of| of == "html") {
            found.push(path);
        }
    }
}

/// The values of an attribute in HTML as mdBook writes it.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    html.split(&format!(" {attribute}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_link_of_the_site_leads_somewhere() {
    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("site");
    run(Command::new(root("deploy/book")).arg(&site).env("SLUICE_TOOLS", tools_directory()));
    let mut found = Vec::new();
    pages(&site.join("docs"), &mut found);
    found.push(site.join("index.html"));
    assert!(found.len() > 25, "{found:?}");
    let texts: BTreeMap<PathBuf, String> = found
        .into_iter()
        .map(|page| (page.canonicalize().unwrap(), fs::read_to_string(&page).unwrap()))
        .collect();
    let ids: BTreeMap<&Path, BTreeSet<&str>> =
        texts.iter().map(|(page, html)| (page.as_path(), values(html, "id").into_iter().collect())).collect();
    let mut broken = Vec::new();
    let mut count = 0;
    for (page, html) in &texts {
        // What is shown for a page that is not there has addresses from the top of the site.
        if page.ends_with("404.html") {
            continue;
        }
        for link in values(html, "href").into_iter().chain(values(html, "src")) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let leads = target.canonicalize().is_ok_and(|target| {
                anchor.is_empty() || ids.get(target.as_path()).is_none_or(|ids| ids.contains(anchor))
            });
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 1000, "{count}");
    assert!(broken.is_empty(), "{broken:#?}");
}
