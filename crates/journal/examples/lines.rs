//! Keeps lines of text in named streams, in order, until they are taken.
//!
//! ```sh
//! cargo run -p sluice-journal --example lines -- /tmp/lines add greeting "hello" "again"
//! cargo run -p sluice-journal --example lines -- /tmp/lines take greeting
//! ```

use std::error::Error;
use std::sync::mpsc;

use sluice_journal::{Journal, JournalEntry, JournalSettings, Recovery, StreamEntries, StreamKey};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (directory, stream, lines) = match &words[..] {
        [directory, "add", stream, lines @ ..] if !lines.is_empty() => (directory, stream, lines),
        [directory, "take", stream] => (directory, stream, &[][..]),
        _ => return Err("usage: lines DIRECTORY add STREAM LINE... | lines DIRECTORY take STREAM".into()),
    };
    let settings =
        JournalSettings { max_size: 64 << 20, segment_size: 4 << 20, ..JournalSettings::new(*directory) };
    let (journal, recovery) = Journal::open(settings)?;
    let key = StreamKey::from(stream.as_bytes());
    if lines.is_empty() {
        take(&journal, &recovery, &key)?;
    } else {
        add(&journal, &key, lines)?;
    }
    journal.close();
    Ok(())
}

/// Appends all lines as one request, and waits until they are on disk.
fn add(journal: &Journal, key: &StreamKey, lines: &[&str]) -> Result<(), Box<dyn Error>> {
    let entries =
        lines.iter().map(|line| JournalEntry { bytes: line.as_bytes().to_vec().into(), records: 1 });
    let group = StreamEntries { stream: journal.stream(key), entries: entries.collect() };
    let (answer, answered) = mpsc::channel();
    journal.append(vec![group], Box::new(move |result| drop(answer.send(result))));
    println!("from number {} on", answered.recv()??.first[0]);
    Ok(())
}

/// Prints what is there of a stream, and settles it.
fn take(journal: &Journal, recovery: &Recovery, key: &StreamKey) -> Result<(), Box<dyn Error>> {
    let Some(found) = recovery.streams.iter().find(|found| found.key == *key) else {
        println!("nothing is there");
        return Ok(());
    };
    let mut next = found.first;
    loop {
        let chunks = journal.read(found.id, next..found.last + 1, 1 << 20)?;
        let Some(last) = chunks.last() else { return Ok(()) };
        next = last.sequences().end() + 1;
        for chunk in &chunks {
            for (number, (_, line)) in chunk.sequences().zip(otlp::frames(&chunk.bytes)) {
                println!("{number}: {}", String::from_utf8_lossy(line));
            }
            journal.settle(found.id, chunk.sequences());
        }
    }
}
