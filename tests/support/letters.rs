//! The dead-letter directory, as people find it on disk.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::{Sluice, eventually};

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

/// `sluice replay` of the letters in [`LETTERS`](super::yaml::LETTERS), by the configuration as it is now.
pub fn replaying(sluice: &Sluice) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.arg("replay").arg(sluice.directory().join("letters")).arg("--config").arg(sluice.config());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end. Returns whether it has succeeded, and what it has printed.
pub async fn replay(sluice: &Sluice) -> (bool, String) {
    let output = replaying(sluice).output().await.expect("the binary was built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
