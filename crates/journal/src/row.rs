//! The rows of an index, one for each stream of a segment, and its extents, one for each record with entries.
//!
//! | bytes of an extent | one record with entries |
//! |---|---|
//! | 0..4 | where it begins in the file, in units of 8 bytes |
//! | 4..8 | length of its payload |
//! | 8..12 | entries |
//! | 12..20 | sequence number of the first |
//! | 20..28 | records in them |
//! | 28..32 | CRC32C of bytes 0..28 |
//!
//! | bytes of a row | what the segment has of one stream |
//! |---|---|
//! | 0..8 | number of the stream |
//! | 8..12 | how many extents; they are sorted by sequence number, and none has an entry that another has |
//! | 12..16 | the first of them, counted from the first of the segment |
//! | 16..24 | lowest sequence number |
//! | 24..32 | the number behind the highest one |
//! | 32..56 | entries, records, and bytes of entries under their frames |
//! | 56..64 | where the record with the stream's key begins; 0 if it is damaged |

use std::io;
use std::ops::Range;

use bytes::{Buf as _, BufMut as _};

use super::record::{ALIGN, HEADER, Record, RecordKind, counts_len, within_a_segment};

/// Bytes of an extent.
pub(super) const EXTENT: usize = 32;
/// Bytes of a row.
pub(super) const ROW: usize = 64;

/// Where one record with entries is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where the record's header begins in the file.
    pub(super) offset: u64,
    /// Bytes of its payload.
    pub(super) length: u32,
    pub(super) entries: u32,
    pub(super) first: u64,
    pub(super) records: u64,
}

impl Extent {
    /// The extent of a record at `offset`; `None` if it has no entries.
    pub(super) fn of(offset: u64, record: &Record) -> Option<Self> {
        let Record { kind, first, entries, records, length, .. } = *record;
        (kind == RecordKind::Entries && entries > 0).then_some(Self {
            offset,
            length,
            entries,
            first,
            records,
        })
    }

    /// The sequence number behind its last entry.
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.entries)
    }

    /// Where the record is in the file.
    pub(super) fn span(&self) -> Range<u64> {
        self.offset..self.offset + HEADER as u64 + u64::from(self.length)
    }

    /// Bytes of its entries under their frames.
    pub(super) fn framed(&self) -> u64 {
        u64::from(self.length).saturating_sub(counts_len(self.entries as usize) as u64)
    }

    pub(super) fn encode(&self, seed: u32, into: &mut Vec<u8>) {
        let start = into.len();
        into.put_u32_le(within_a_segment(self.offset / ALIGN as u64));
        into.put_u32_le(self.length);
        into.put_u32_le(self.entries);
        into.put_u64_le(self.first);
        into.put_u64_le(self.records);
        into.put_u32_le(crc32c::crc32c_append(seed, &into[start..]));
    }

    /// Each extent has a checksum of its own: one that lied about its numbers would have live entries settled.
    pub(super) fn decode(bytes: &[u8], seed: u32) -> io::Result<Self> {
        let crc = crc32c::crc32c_append(seed, &bytes[..EXTENT - 4]);
        let mut fields = bytes;
        let extent = Self {
            offset: u64::from(fields.get_u32_le()) * ALIGN as u64,
            length: fields.get_u32_le(),
            entries: fields.get_u32_le(),
            first: fields.get_u64_le(),
            records: fields.get_u64_le(),
        };
        if fields.get_u32_le() == crc { Ok(extent) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// What a segment has of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexRow {
    pub(super) stream: u64,
    /// How many extents, and the first of them among all of the segment.
    pub(super) extents: u32,
    pub(super) extents_from: u32,
    /// The lowest sequence number.
    pub(super) first: u64,
    /// The number behind the highest one. Between the two some may be missing.
    pub(super) end: u64,
    pub(super) entries: u64,
    pub(super) records: u64,
    /// Bytes of the entries under their frames.
    pub(super) bytes: u64,
    /// Where the record with the stream's key is; 0 if it is damaged.
    pub(super) key_at: u64,
}

impl IndexRow {
    /// The row for a stream's extents, of which there is at least one; they are sorted by sequence number.
    pub(super) fn of(stream: u64, key_at: u64, extents: &[Extent], extents_from: u32) -> Self {
        Self {
            stream,
            extents: within_a_segment(extents.len() as u64),
            extents_from,
            first: extents.iter().map(|extent| extent.first).min().unwrap_or(0),
            end: extents.iter().map(Extent::end).max().unwrap_or(0),
            entries: extents.iter().map(|extent| u64::from(extent.entries)).sum(),
            records: extents.iter().map(|extent| extent.records).sum(),
            bytes: extents.iter().map(Extent::framed).sum(),
            key_at,
        }
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        into.put_u64_le(self.stream);
        into.put_u32_le(self.extents);
        into.put_u32_le(self.extents_from);
        for number in [self.first, self.end, self.entries, self.records, self.bytes, self.key_at] {
            into.put_u64_le(number);
        }
    }

    pub(super) fn decode(mut fields: &[u8]) -> Self {
        Self {
            stream: fields.get_u64_le(),
            extents: fields.get_u32_le(),
            extents_from: fields.get_u32_le(),
            first: fields.get_u64_le(),
            end: fields.get_u64_le(),
            entries: fields.get_u64_le(),
            records: fields.get_u64_le(),
            bytes: fields.get_u64_le(),
            key_at: fields.get_u64_le(),
        }
    }
}
