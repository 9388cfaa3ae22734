//! Entries and requests made smaller without losing a record: for size limits, and for finding the record that an
//! upstream refuses.
//!
//! Both take validated bytes and cut along scopes, records, and data points of a metric, in their order; every
//! part gets copies of the headers above it (resource, scope, the metric's name and unit, unknown fields).

use super::Signal;
use super::piece::{self, Child, EntryPiece, Header, Parts};
use super::schema::Message;
use super::wire::frame_len;

/// Splits an entry (without its key and length) into entries that, framed, take at most `max_framed` bytes each,
/// and gives each to `emit` together with its records. What can't be split further, such as a single record, goes
/// alone, whatever its size. So does what stands under headers that fill seven eighths of `max_framed` by
/// themselves: repeating those for every record would make a request thousands of times as large as it was.
pub fn split_to_size(signal: Signal, entry: &[u8], max_framed: usize, emit: &mut dyn FnMut(&[u8], u64)) {
    let message = Message::entry(signal);
    let mut packing = Packing { piece: EntryPiece::default(), max_framed, emit };
    match Parts::of(message, entry) {
        Some(parts) if frame_len(entry.len()) > max_framed && packing.has_room_under(&parts.header) => {
            packing.fill(1, parts);
            packing.flush();
        }
        _ => (packing.emit)(entry, piece::records(message, entry).unwrap_or_default()),
    }
}

struct Packing<'a> {
    piece: EntryPiece,
    max_framed: usize,
    emit: &'a mut dyn FnMut(&[u8], u64),
}

impl Packing<'_> {
    /// Puts the children of a message in as few pieces as it takes when only those are split that don't fit in a
    /// piece of their own. Leaves the message open.
    fn fill(&mut self, number: u32, parts: Parts<'_>) {
        let children = parts.children();
        self.piece.enter(number, parts.header);
        for child in children {
            if !self.fits(&child) {
                self.flush();
            }
            match if self.fits(&child) { None } else { self.separate(&child) } {
                Some(inner) => {
                    self.fill(child.field.number, inner);
                    self.piece.leave();
                }
                None => self.piece.put(&child.renumbered(), child.records().unwrap_or_default()),
            }
        }
    }

    fn fits(&self, child: &Child<'_>) -> bool {
        frame_len(self.piece.len_with(child.raw.len())) <= self.max_framed
    }

    /// The parts of a child, if it has any that can stand alone.
    fn separate<'c>(&self, child: &Child<'c>) -> Option<Parts<'c>> {
        if child.field.record {
            return None;
        }
        let parts = Parts::of(child.message(), child.bytes)?;
        (parts.children().next().is_some() && self.has_room_under(&parts.header)).then_some(parts)
    }

    fn has_room_under(&self, header: &Header) -> bool {
        self.piece.len_with(header.len()) <= self.max_framed / 8 * 7
    }

    fn flush(&mut self) {
        if let Some((entry, records)) = self.piece.take() {
            (self.emit)(&entry, records);
        }
    }
}

/// Halves a request of whole entries: between entries if more than one has records, else between scopes, else
/// between records, data points last; there where the halves are most alike in their records. So a record of `n` stands alone
/// after at most `log2(n)` halvings, rounded up, and two more for each level above the records. With each half come its
/// records: at least one, unless there are not as many. Then the entries are halved as they are, since one without records may
/// be what an upstream refuses, too. `None` if there is but one record or entry, or if the records can't be told apart (a
/// metric that states its data twice).
pub fn halve(signal: Signal, request: &[u8]) -> Option<[(Vec<u8>, u64); 2]> {
    let mut halves = [EntryPiece::default(), EntryPiece::default()];
    let message = Message::request(signal);
    if divide(1, message, request, &mut halves).is_none() {
        halves = divide_entries(message, request)?;
    }
    let [mut first, mut second] = halves;
    Some([first.take()?, second.take()?])
}

/// Puts the entries of a request in two halves of about as many entries.
fn divide_entries(message: &'static Message, request: &[u8]) -> Option<[EntryPiece; 2]> {
    let parts = Parts::of(message, request)?;
    let entries = parts.children().count();
    if entries < 2 {
        return None;
    }
    let mut halves = [EntryPiece::default(), EntryPiece::default()];
    for half in &mut halves {
        half.enter(1, parts.header.clone());
    }
    for (index, entry) in parts.children().enumerate() {
        halves[usize::from(index >= entries.div_ceil(2))].put(&entry.renumbered(), entry.records()?);
    }
    Some(halves)
}

/// Puts the children of a message in two halves with about as many records, descending where all records are in
/// one child. Leaves the message open in both.
fn divide(number: u32, message: &'static Message, bytes: &[u8], halves: &mut [EntryPiece; 2]) -> Option<()> {
    let parts = Parts::of(message, bytes)?;
    let total = piece::records(message, bytes).filter(|total| *total > 1)?;
    let middle = middle(&parts, total)?;
    for half in &mut *halves {
        half.enter(number, parts.header.clone());
    }
    let mut second = false;
    for (index, child) in parts.children().enumerate() {
        let records = child.records()?;
        if records == total {
            divide(child.field.number, child.message(), child.bytes, halves)?;
            halves.iter_mut().for_each(EntryPiece::leave);
            second = true;
            continue;
        }
        second |= middle > 0 && middle == index;
        halves[usize::from(second)].put(&child.renumbered(), records);
    }
    Some(())
}

/// The child with which the second half begins: as near to the middle of all `total` records as it can be, with records on
/// either side. Of two places that are as near, the one behind is it. 0, where no half begins, if one child has all records.
fn middle(parts: &Parts<'_>, total: u64) -> Option<usize> {
    let (mut before, mut found, mut nearest) = (0_u64, 0, u64::MAX);
    for (index, child) in parts.children().enumerate() {
        let records = child.records()?;
        let off = (2 * before).abs_diff(total);
        if before > 0 && records > 0 && off <= nearest {
            (found, nearest) = (index, off);
        }
        before += records;
    }
    Some(found)
}

#[cfg(test)]
mod tests;
