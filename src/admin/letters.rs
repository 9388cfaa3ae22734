//! `GET /api/v1/dead-letters`: what is in the dead-letter directory, newest first, a page at a time.

use serde_json::{Value, json};

use super::query;
use crate::export::{DeadLetters, ListedLetter};
use crate::route::Values as _;

/// Letters listed if the query does not say how many.
const LETTERS: usize = 100;

/// The most that are listed in one answer; each is a file to be opened.
const MOST: usize = 1000;

/// What is asked for.
pub(super) struct Wanted {
    limit: usize,
    after: Option<String>,
}

/// Reads `limit` and `after`.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted { limit: LETTERS, after: None };
    for (name, value) in query::parameters(text) {
        match name {
            "limit" => wanted.limit = query::number("limit", &value)?.clamp(1, MOST),
            "after" => wanted.after = Some(value),
            _ => return Err(format!("unknown parameter `{name}`: there are limit and after")),
        }
    }
    Ok(wanted)
}

/// The page that is asked for; an error is what the disk says.
pub(super) async fn page(directory: Option<&DeadLetters>, wanted: Wanted) -> Result<Value, String> {
    let Some(directory) = directory else {
        return Ok(json!({ "directory": null, "total": 0, "letters": [], "next": null }));
    };
    let path = directory.directory().display().to_string();
    let page = directory.page(wanted.after, wanted.limit).await;
    let page = page.map_err(|error| format!("can't read `{path}`: {error}"))?;
    Ok(json!({
        "directory": path,
        "bytes": directory.bytes(),
        "max_size": directory.max_size(),
        "full": directory.is_full(),
        "total": page.total,
        "letters": page.letters.iter().map(letter).collect::<Vec<_>>(),
        "next": page.letters.last().filter(|_| page.more).map(|last| &last.file),
    }))
}

fn letter(listed: &ListedLetter) -> Value {
    let file = &listed.file;
    match &listed.letter {
        Ok(letter) => json!({
            "file": file,
            "time": letter.time(),
            "exporter": letter.exporter(),
            "signal": letter.signal().name(),
            "key": letter.key().map(ToString::to_string),
            "tenant": letter.tenant(),
            "origin": letter.origin(),
            "reason": letter.reason(),
            "records": letter.records(),
            "bytes": letter.len(),
        }),
        Err(problem) => json!({ "file": file, "problem": problem }),
    }
}
