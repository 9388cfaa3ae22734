//! Replacements of parts of encoded bytes: they are collected on a walk through the bytes, and applied at its end.

use super::super::partition::NoRoom;
use super::super::wire::{self, WireField};
use super::memory::EditMemory;

/// The most bytes of a varint.
const LONGEST_VARINT: usize = 10;

/// Parts of encoded bytes that are replaced; all else stays as it is.
pub(super) struct Splices<'a> {
    old: &'a [u8],
    /// The replacements, one after the other.
    new: Vec<u8>,
    list: Vec<Splice>,
    /// How many bytes more there will be.
    growth: isize,
    /// Where in `new` what [`Splices::replace`] has written last begins and ends. Where it comes again, which it does where records
    /// get the same value, it is there once.
    last: (usize, usize),
    /// Bytes of memory that are taken for what [`Splices::finish`] makes.
    claimed: usize,
}

/// A part that is replaced.
#[derive(Clone, Copy)]
struct Splice {
    /// Where it begins in the old bytes.
    at: usize,
    /// How long it is there; of an insertion, 0.
    len: usize,
    /// Where the replacement begins and ends in `new` of [`Splices`].
    new: (usize, usize),
}

/// A field in which parts are being replaced.
pub(super) struct OpenField<'a> {
    /// Its encoded length.
    length: &'a [u8],
    /// That length.
    bytes: usize,
    /// Where in the list the splice of its length is.
    place: usize,
    /// The growth before anything in it was replaced.
    growth: isize,
}

impl<'a> Splices<'a> {
    pub(super) fn of(old: &'a [u8]) -> Self {
        Self { old, new: Vec::new(), list: Vec::new(), growth: 0, last: (0, 0), claimed: 0 }
    }

    /// Replaces a part, which may be empty, by what `write` writes, `most` bytes at most. Nothing is done if that is the same.
    pub(super) fn replace(
        &mut self,
        part: &[u8],
        most: usize,
        memory: &mut EditMemory<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NoRoom> {
        memory.reserve(&mut self.new, most)?;
        let from = self.new.len();
        write(&mut self.new);
        debug_assert!(self.new.len() - from <= most, "no more is written than was said");
        let written = &self.new[from..];
        if written == part {
            self.new.truncate(from);
            return Ok(());
        }
        let mut new = (from, self.new.len());
        if *written == self.new[self.last.0..self.last.1] {
            self.new.truncate(from);
            new = self.last;
        }
        if new.0 < new.1 {
            self.last = new;
        }
        memory.reserve(&mut self.list, 1)?;
        let splice = self.splice(part, new);
        self.list.push(splice);
        self.claim(memory)
    }

    /// Begins to replace parts within a length-delimited field.
    pub(super) fn open(
        &mut self,
        field: &WireField<'a>,
        bytes: &'a [u8],
        memory: &mut EditMemory<'_>,
    ) -> Result<OpenField<'a>, NoRoom> {
        // The length stands in front of what it is the length of.
        let length = &field.raw[key_len(field.raw)..field.raw.len() - bytes.len()];
        let place = self.list.len();
        memory.reserve(&mut self.list, 1)?;
        self.list.push(Splice { at: self.position(length), len: 0, new: (0, 0) });
        Ok(OpenField { length, bytes: bytes.len(), place, growth: self.growth })
    }

    /// Ends the replacements within that field, and replaces its length if that has changed.
    pub(super) fn close(&mut self, field: &OpenField<'_>, memory: &mut EditMemory<'_>) -> Result<(), NoRoom> {
        let growth = self.growth - field.growth;
        if self.list.len() == field.place + 1 {
            self.list.pop();
        } else if growth != 0 {
            memory.reserve(&mut self.new, LONGEST_VARINT)?;
            let from = self.new.len();
            wire::put_varint(&mut self.new, field.bytes.saturating_add_signed(growth) as u64);
            self.list[field.place] = self.splice(field.length, (from, self.new.len()));
            self.claim(memory)?;
        }
        Ok(())
    }

    /// The bytes with all replacements; `None` if there are none.
    pub(super) fn finish(mut self, memory: &mut EditMemory<'_>) -> Result<Option<Vec<u8>>, NoRoom> {
        if self.list.is_empty() {
            return Ok(None);
        }
        // Fields come in any order, so that what was found later may stand in front.
        if !self.list.is_sorted_by_key(|splice| splice.at) {
            memory.take(self.list.len() * size_of::<Splice>())?;
            self.list.sort_by_key(|splice| splice.at);
        }
        let mut out = Vec::with_capacity(self.finished_len());
        let mut copied = 0;
        for Splice { at, len, new: (from, to) } in self.list {
            out.extend_from_slice(&self.old[copied..at]);
            out.extend_from_slice(&self.new[from..to]);
            copied = at + len;
        }
        out.extend_from_slice(&self.old[copied..]);
        Ok(Some(out))
    }

    /// Takes the memory for the bytes with all replacements so far.
    fn claim(&mut self, memory: &mut EditMemory<'_>) -> Result<(), NoRoom> {
        let more = self.finished_len().saturating_sub(self.claimed);
        memory.take(more)?;
        self.claimed += more;
        Ok(())
    }

    fn finished_len(&self) -> usize {
        self.old.len().saturating_add_signed(self.growth)
    }

    fn splice(&mut self, part: &[u8], new: (usize, usize)) -> Splice {
        self.growth += (new.1 - new.0) as isize - part.len() as isize;
        Splice { at: self.position(part), len: part.len(), new }
    }

    fn position(&self, part: &[u8]) -> usize {
        part.as_ptr().addr() - self.old.as_ptr().addr()
    }
}

/// The bytes of the varint that is a field's key.
fn key_len(raw: &[u8]) -> usize {
    raw.iter().take_while(|byte| **byte >= 0x80).count() + 1
}
