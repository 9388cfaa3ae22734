//! Where the links of a document lead.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What stands between `open` and `close` in a line, as often as it does.
pub(crate) fn between<'a>(line: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
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

/// The links of a document that lead nowhere, each with the document.
pub(crate) fn broken_links(document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).expect("the document is there");
    let mut broken = Vec::new();
    for link in text.lines().flat_map(|line| between(line, "](", ')')) {
        if link.contains("://") {
            continue;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match path {
            "" => document.to_owned(),
            path => document.parent().expect("it is in a directory").join(path),
        };
        let leads = match fs::read_to_string(&target) {
            Ok(page) => anchor.is_empty() || anchors(&page).contains(anchor),
            Err(_) => anchor.is_empty() && target.exists(),
        };
        if !leads {
            broken.push(format!("{}: {link}", document.display()));
        }
    }
    broken
}
