//! What each fuzz target checks, on any bytes.
//!
//! The targets, below `fuzz/`, only hand their input over. The tests here hand over every seed, and every input that
//! has failed before, so that what fuzzing has found stays found. `fuzz/README.md` says what the files hold.

use crate::config::check_row;
use crate::otlp::{self, Signal, oracle};
use crate::query::check_query;
use crate::receive::{check_credential, check_decompression, check_framing};

/// Validator and splitter against prost and a plain walk. The first byte chooses the signal.
pub fn validate(input: &[u8]) {
    let Some((signal, request)) = signal(input) else { return };
    oracle::check(signal, request);
    if otlp::validate(signal, request).is_ok() {
        let mut json = Vec::new();
        otlp::write_request(signal, &[request], &mut json);
        let text = std::str::from_utf8(&json).expect("JSON is UTF-8");
        assert!(text.starts_with('{') && text.ends_with('}'));
    }
}

/// Partitioning by attributes of records, against what decoded messages say. The first byte chooses the signal; the attributes
/// are `a` and `b`.
pub fn partition(input: &[u8]) {
    if let Some((signal, request)) = signal(input) {
        oracle::check_partition(signal, request, &["a".to_owned(), "b".to_owned()]);
    }
}

/// Edits of the attributes `a`, `b` and `c`, against what decoded messages say. The first byte chooses the signal; then come
/// actions, as [`cuts`] has lengths.
pub fn edit(input: &[u8]) {
    if let Some((signal, input)) = signal(input)
        && let Some((actions, request)) = cuts(input)
    {
        oracle::check_edit(signal, actions, request);
    }
}

/// The reader of OTLP/JSON: what it takes is valid, and is written and read as the same again. The first byte chooses
/// the signal.
pub fn json(input: &[u8]) {
    if let Some((signal, json)) = signal(input) {
        oracle::check_json(signal, json);
    }
}

/// The framing of gRPC messages, read in pieces and at once. Lengths of pieces come first, as [`cuts`] has them.
pub fn grpc_framing(input: &[u8]) {
    if let Some((cuts, body)) = cuts(input) {
        check_framing(body, cuts);
    }
}

/// Decompression, in pieces and at once. The first byte chooses the coding, then come lengths of pieces.
pub fn decompression(input: &[u8]) {
    if let Some((coding, input)) = input.split_first()
        && let Some((cuts, body)) = cuts(input)
    {
        check_decompression(*coding, body, cuts);
    }
}

/// What is read of an `Authorization` header: the input is its value.
pub fn authorization(input: &[u8]) {
    check_credential(input);
}

/// The reader of rows of the table of tenants: it ends, shows no secret, and what it takes can be used.
pub fn rows(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        check_row(text);
    }
}

/// The reader of queries: what it takes is written and read as the same again, and what it refuses has a column.
pub fn query(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        check_query(text);
    }
}

/// A signal, so that one corpus serves all three: `0` for traces, `1` for metrics, `2` for logs.
fn signal(input: &[u8]) -> Option<(Signal, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((Signal::ALL[usize::from(*first) % Signal::ALL.len()], rest))
}

/// One byte that says how many lengths follow, the lengths, one byte each, and what they cut.
fn cuts(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = input.split_first()?;
    Some(rest.split_at(rest.len().min(usize::from(*count))))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn fuzz() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
    }

    /// The files of a directory, if it is there.
    fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Calls `check` with every seed of a target, and with every input that has failed.
    fn replay(target: &str, check: fn(&[u8])) {
        let seeds = files(&fuzz().join("seeds").join(target));
        assert!(seeds.len() > 5, "{target} has {} seeds", seeds.len());
        for file in seeds.into_iter().chain(files(&fuzz().join("regressions").join(target))) {
            eprintln!("{}", file.display());
            check(&std::fs::read(&file).unwrap());
        }
    }

    #[test]
    fn validate_holds_on_its_seeds() {
        replay("validate", validate);
    }

    #[test]
    fn partition_holds_on_its_seeds() {
        replay("partition", partition);
    }

    #[test]
    fn edit_holds_on_its_seeds() {
        replay("edit", edit);
    }

    #[test]
    fn json_holds_on_its_seeds() {
        replay("json", json);
    }

    #[test]
    fn grpc_framing_holds_on_its_seeds() {
        replay("grpc_framing", grpc_framing);
    }

    #[test]
    fn decompression_holds_on_its_seeds() {
        replay("decompression", decompression);
    }

    #[test]
    fn authorization_holds_on_its_seeds() {
        replay("authorization", authorization);
    }

    #[test]
    fn rows_holds_on_its_seeds() {
        replay("rows", rows);
    }

    #[test]
    fn query_holds_on_its_seeds() {
        replay("query", query);
    }

    #[test]
    fn every_target_is_replayed() {
        let source = include_str!("fuzzed.rs");
        let targets = files(&fuzz().join("fuzz_targets"));
        assert!(targets.len() >= 5, "{targets:?}");
        for target in targets {
            let name = target.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(source.contains(&format!("replay(\"{name}\", {name});")), "nothing replays `{name}`");
        }
    }
}
