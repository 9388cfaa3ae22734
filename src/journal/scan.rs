//! Finding the records of a segment that has no index: one that was being written when the process ended, or whose
//! index is damaged.

use std::ops::Range;

use super::disk::BLOCK;
use super::format::whole_blocks;
use super::record::{ALIGN, Found, HEADER, Record};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Whole records and where they begin, in order.
    pub(super) records: Vec<(u64, Record)>,
    /// What is neither a record nor the padding behind one, with whole records behind it.
    pub(super) corrupt: Vec<Range<u64>>,
    /// What the last write left behind the last whole record, if it did not end.
    pub(super) torn: Option<Range<u64>>,
    /// The end of the last whole record.
    pub(super) end: u64,
}

impl Scan {
    /// What may have stood behind the last whole record in parts of the file that can't be read. One write follows the
    /// other, so behind a block that was not written there is nothing.
    pub(super) fn lost_end(&self, lost: &[Range<u64>]) -> Option<Range<u64>> {
        let block = whole_blocks(self.end);
        let next = self.torn.clone().unwrap_or(block..block + 1);
        let lost = lost.iter().find(|lost| lost.start < next.end && next.start < lost.end)?;
        Some(next.start.min(lost.start)..next.end.max(lost.end))
    }
}

/// Finds the records in `file`, a whole file or its beginning, up to `limit`.
///
/// Behind something broken the search goes on at each place where a record may begin. With the salt in the checksums,
/// nothing that an entry holds, and nothing that the file held before, is taken for a record.
pub(super) fn scan(file: &[u8], seed: u32, limit: u64) -> Scan {
    let bytes = &file[..file.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
    let mut scan = Scan { end: BLOCK as u64, ..Scan::default() };
    let mut at = BLOCK;
    loop {
        let found = bytes.get(at..).map_or(Found::Nothing, |rest| Record::find(rest, seed));
        if let Found::Whole(record) = found {
            scan.records.push((at as u64, record));
            at += record.size();
            scan.end = at as u64;
            continue;
        }
        let Some(next) = next_record(bytes, at, seed) else {
            scan.torn = torn(bytes, behind_padding(bytes, at), seed);
            return scan;
        };
        let padding = next - at < BLOCK && next % BLOCK == 0 && bytes[at..next].iter().all(|byte| *byte == 0);
        if !padding {
            scan.corrupt.push(behind_padding(bytes, at) as u64..next as u64);
        }
        at = next;
    }
}

/// Where the first whole record behind `at` begins.
fn next_record(bytes: &[u8], at: usize, seed: u32) -> Option<usize> {
    let whole =
        |at: usize| bytes.get(at..).is_some_and(|rest| matches!(Record::find(rest, seed), Found::Whole(_)));
    let likely = behind_padding(bytes, at);
    if likely > at && whole(likely) {
        return Some(likely);
    }
    (at + ALIGN..bytes.len().saturating_sub(HEADER - 1)).step_by(ALIGN).find(|at| whole(*at))
}

/// Where something may stand behind a record that ends at `at`: there, or behind zeros that fill the block.
fn behind_padding(bytes: &[u8], at: usize) -> usize {
    let block = at.next_multiple_of(BLOCK);
    let padded = bytes.get(at..block).is_some_and(|padding| padding.iter().all(|byte| *byte == 0));
    if padded { block } else { at }
}

/// What stands at `at`, behind all whole records, if it can be told from what the file held before.
fn torn(bytes: &[u8], at: usize, seed: u32) -> Option<Range<u64>> {
    let rest = bytes.get(at..)?;
    let length = match Record::find(rest, seed) {
        Found::Broken(record) => rest.len().min(record.size()),
        // The file ends in the middle of a header.
        _ if rest.len() < HEADER && rest.iter().any(|byte| *byte != 0) => rest.len(),
        _ => return None,
    };
    Some(at as u64..(at + length) as u64)
}
