//! What the page about trouble quotes of the log and of answers is what Sluice says.

use std::fs;

use crate::blocks::{files, root};

/// The texts in the code, as they are read once lines that go on are put together.
fn texts() -> String {
    let mut sources = Vec::new();
    for directory in ["crates", "src"] {
        files(&root().join(directory), "rs", &mut sources);
    }
    let mut all = String::new();
    for source in sources {
        let code = fs::read_to_string(source).expect("it is a source");
        let mut parts = code.split("\\\n");
        all.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| all.push_str(part.trim_start()));
    }
    all
}

/// Headings of the page quote in italics, with `…` for what varies.
#[test]
fn headings_about_trouble_quote_what_sluice_says() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page is there");
    let texts = texts();
    let quoted: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .flat_map(|line| line.split('*').skip(1).step_by(2))
        .flat_map(|quote| quote.split('…'))
        .map(|part| part.trim().trim_matches(','))
        .filter(|part| !part.is_empty())
        .collect();
    assert!(quoted.len() > 20, "{quoted:?}");
    let unsaid: Vec<_> = quoted.iter().filter(|part| !texts.contains(**part)).collect();
    assert!(unsaid.is_empty(), "docs/troubleshooting.md quotes what no code says: {unsaid:#?}");
}
