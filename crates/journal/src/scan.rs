//! Finding the records of a segment that has no index: one that was being written when the process ended, or whose
//! index is damaged.

use std::io;
use std::ops::Range;

use super::disk::BLOCK;
use super::format::whole_blocks;
use super::number_set::NumberSet;
use super::pieces::PiecewiseFile;
use super::record::{ALIGN, HEADER, Record, RecordCheck};

/// What was found beside records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
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
    pub(super) fn lost_end(&self, lost: &NumberSet) -> Option<Range<u64>> {
        let block = whole_blocks(self.end);
        let next = self.torn.clone().unwrap_or(block..block + 1);
        let lost = lost.ranges().find(|lost| lost.start < next.end && next.start < lost.end)?;
        Some(next.start.min(lost.start)..next.end.max(lost.end))
    }
}

/// Finds the records in a file, or in its beginning, and calls `each` for every whole one and where it begins, in order.
///
/// Behind something broken the search goes on at each place where a record may begin. With the salt in the checksums,
/// nothing that an entry holds, and nothing that the file held before, is taken for a record.
pub(super) fn scan(
    file: &mut PiecewiseFile<'_>,
    seed: u32,
    mut each: impl FnMut(&mut PiecewiseFile<'_>, u64, &Record) -> io::Result<()>,
) -> io::Result<Scan> {
    let mut at = BLOCK as u64;
    let mut scan = Scan { end: at, ..Scan::default() };
    loop {
        if let RecordCheck::Whole(record) = file.find(at, seed)? {
            each(file, at, &record)?;
            at += record.size();
            scan.end = at;
            continue;
        }
        let behind = behind_padding(file, at)?;
        let Some(next) = next_record(file, at, behind, seed)? else {
            scan.torn = torn(file, behind, seed)?;
            return Ok(scan);
        };
        let is_padding =
            next - at < BLOCK as u64 && next == whole_blocks(at) && file.is_zero(at, next - at)?;
        if !is_padding {
            scan.corrupt.push(behind..next);
        }
        at = next;
    }
}

/// Where the first whole record behind `at` begins. It is likely to be `behind` the padding there.
fn next_record(file: &mut PiecewiseFile<'_>, at: u64, behind: u64, seed: u32) -> io::Result<Option<u64>> {
    const BLOCK_LEN: u64 = BLOCK as u64;
    const STEP: u64 = ALIGN as u64;
    let is_whole = |file: &mut PiecewiseFile<'_>, at| {
        let found = file.find(at, seed)?;
        io::Result::Ok(matches!(found, RecordCheck::Whole(_)))
    };
    if behind > at && is_whole(file, behind)? {
        return Ok(Some(behind));
    }
    let mut next = at + STEP;
    while next + HEADER as u64 <= file.end() {
        if next.is_multiple_of(BLOCK_LEN) && file.is_zero(next, BLOCK_LEN)? {
            // A record has a kind, which is not zero. Only one that begins with the last bytes of a block has it elsewhere.
            next += BLOCK_LEN - STEP;
            continue;
        }
        if is_whole(file, next)? {
            return Ok(Some(next));
        }
        next += STEP;
    }
    Ok(None)
}

/// Where something may stand behind a record that ends at `at`: there, or behind zeros that fill the block.
fn behind_padding(file: &mut PiecewiseFile<'_>, at: u64) -> io::Result<u64> {
    let block = whole_blocks(at);
    Ok(if file.is_zero(at, block - at)? { block } else { at })
}

/// What stands at `at`, behind all whole records, if it can be told from what the file held before.
fn torn(file: &mut PiecewiseFile<'_>, at: u64, seed: u32) -> io::Result<Option<Range<u64>>> {
    let Some(rest) = file.end().checked_sub(at) else { return Ok(None) };
    let length = match file.find(at, seed)? {
        RecordCheck::Broken(record) => rest.min(record.size()),
        // The file ends in the middle of a header.
        _ if rest < HEADER as u64 && !file.is_zero(at, rest)? => rest,
        _ => return Ok(None),
    };
    Ok(Some(at..at + length))
}
