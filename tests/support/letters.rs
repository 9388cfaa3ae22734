//! The dead-letter directory, as people find it on disk.

use std::path::Path;

use super::eventually;

/// One dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its `.json`.
    pub note: serde_json::Value,
    /// Its `.pb` or `.jsonl`.
    pub bytes: Vec<u8>,
}

impl Letter {
    /// A text in the note; empty where it is null.
    pub fn text(&self, field: &str) -> &str {
        self.note[field].as_str().unwrap_or_default()
    }

    /// Its records, as the note says.
    pub fn records(&self) -> u64 {
        self.note["records"].as_u64().expect("a note counts records")
    }
}

/// All letters, in the order in which they were written.
pub fn letters(directory: &Path) -> Vec<Letter> {
    let files = std::fs::read_dir(directory).expect("the directory was made");
    let mut notes: Vec<_> = files
        .map(|file| file.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    notes.sort();
    notes
        .into_iter()
        .map(|path| Letter {
            note: serde_json::from_slice(&std::fs::read(&path).expect("a note can be read"))
                .expect("a note is JSON"),
            bytes: std::fs::read(path.with_extension("pb"))
                .or_else(|_| std::fs::read(path.with_extension("jsonl")))
                .expect("a note has its bytes"),
        })
        .collect()
}

/// Waits until there are that many letters. (Those of parts that were cut out are written after the answer.)
pub async fn wait_for_letters(directory: &Path, count: usize) -> Vec<Letter> {
    eventually(&format!("{count} dead letters"), async || {
        let found = letters(directory);
        (found.len() >= count).then_some(found)
    })
    .await
}
