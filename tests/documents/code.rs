//! Blocks of code say what they are, and cells of tables one thing each.

use regex::Regex;
use serde_json::Value;

use crate::blocks::{CodeBlock, blocks, pages};

#[test]
fn every_block_is_of_a_known_kind() {
    let all: Vec<CodeBlock> = pages().iter().flat_map(|page| blocks(page)).collect();
    assert!(all.len() > 100, "{}", all.len());
    let mistakes: Vec<String> = all.iter().filter_map(CodeBlock::mistake).collect();
    assert!(mistakes.is_empty(), "tests/documents/blocks.rs has the kinds of blocks: {mistakes:#?}");
}

/// Whatever more is asked of it: `tests/deploy` gives each program what it reads, and `tests/clients` a Collector.
#[test]
fn the_yaml_of_other_programs_is_yaml() {
    for block in pages().iter().flat_map(|page| blocks(page)) {
        // A template of Helm's is no YAML before Helm has rendered it, which `tests/deploy` has it do.
        if block.language == "yaml" && block.word.as_deref().is_some_and(|word| word != "helm") {
            let read: Result<Value, _> = serde_saphyr::from_str(&block.text);
            assert!(read.is_ok_and(|value| value.is_object() || value.is_array()), "{}", block.place);
        }
    }
}

/// But for a label in bold.
#[test]
fn a_cell_of_a_table_holds_one_sentence() {
    let code = Regex::new("`[^`]*`").unwrap();
    let label = Regex::new(r"^\*\*[^*]+\*\*").unwrap();
    let second = Regex::new(r"[.?!] +[A-Z*\[`]").unwrap();
    let mut longer = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            if is_code || !line.starts_with('|') {
                continue;
            }
            let plain = code.replace_all(line, "`").replace("\\|", "");
            let cells = plain.split('|').map(|cell| label.replace(cell.trim(), ""));
            if cells.into_iter().any(|cell| second.is_match(&cell)) {
                longer.push(format!("{}:{}", page.display(), number + 1));
            }
        }
    }
    assert!(longer.is_empty(), "more than a sentence in a cell: {longer:#?}");
}
