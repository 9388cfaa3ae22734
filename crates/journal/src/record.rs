//! A record: a header of 48 bytes, and a payload. Records begin at multiples of eight bytes.

use bytes::{Buf as _, BufMut as _};

/// Bytes of a record's header.
pub(super) const HEADER: usize = 48;

/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;

/// What a record's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// Consecutive entries of a stream, each under its frame, and if there is more than one, behind them the number of
    /// records in each as 32 bits.
    Entries = 1,
    /// The key of a stream; stands before its first entries in a segment.
    Stream = 2,
    /// The first record of a segment: which segment its writer wrote before, and where that one ends, 64 bits each. So the
    /// end of a segment that was given up because the disk failed doesn't depend on what the disk made of the last
    /// writes. Behind it stand those whose first write failed, in the same way.
    Opening = 3,
    /// Positions: the number of a stream, all its entries below the number that follows are settled; 64 bits each.
    Positions = 4,
    /// Numbers of segments that have been freed, 64 bits each.
    Freed = 5,
    /// All positions, see [`super::positions`].
    Snapshot = 6,
    /// Entries that are settled above the position of their stream: its number, the first and the one behind the last, 64
    /// bits each.
    Settled = 7,
}

impl RecordKind {
    const ALL: [Self; 7] = [
        Self::Entries,
        Self::Stream,
        Self::Opening,
        Self::Positions,
        Self::Freed,
        Self::Snapshot,
        Self::Settled,
    ];

    fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == code)
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: RecordKind,
    /// The number of the stream, for entries and keys.
    pub(super) stream: u64,
    /// The sequence number of the first entry.
    pub(super) first: u64,
    pub(super) entries: u32,
    /// Spans, data points or log records in all entries.
    pub(super) records: u64,
    /// Bytes of the payload.
    pub(super) length: u32,
}

/// What stands where a record should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordCheck {
    /// A record, whole.
    Whole(Record),
    /// A record whose header is whole and whose payload is not, or not all there.
    Broken(Record),
    /// Nothing that was written with this seed.
    Nothing,
}

impl Record {
    /// A record without entries.
    pub(super) fn plain(kind: RecordKind, stream: u64, payload: &[u8]) -> Self {
        Self {
            kind,
            stream,
            first: 0,
            entries: 0,
            records: 0,
            length: within_a_segment(payload.len() as u64),
        }
    }

    /// The header, for a payload with this checksum (which began with `seed`).
    pub(super) fn encode(&self, payload_crc: u32, seed: u32) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut fields = &mut bytes[4..];
        fields.put_u32_le(payload_crc);
        fields.put_u32_le(self.length);
        fields.put_u32_le(self.kind as u32);
        fields.put_u64_le(self.stream);
        fields.put_u64_le(self.first);
        fields.put_u64_le(self.records);
        fields.put_u32_le(self.entries);
        let crc = crc32c::crc32c_append(seed, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The record whose header `bytes` begins with, and the checksum that its payload has to have.
    pub(super) fn header(bytes: &[u8], seed: u32) -> Option<(Self, u32)> {
        let mut fields = bytes.get(..HEADER)?;
        let (crc, checked) = (fields.get_u32_le(), fields);
        let payload_crc = fields.get_u32_le();
        let record = Self {
            length: fields.get_u32_le(),
            kind: RecordKind::from_code(fields.get_u32_le())?,
            stream: fields.get_u64_le(),
            first: fields.get_u64_le(),
            records: fields.get_u64_le(),
            entries: fields.get_u32_le(),
        };
        // Last, since damage is searched through byte by byte, and most of that has no kind.
        (crc32c::crc32c_append(seed, checked) == crc).then_some((record, payload_crc))
    }

    /// What `bytes` begins with.
    pub(super) fn find(bytes: &[u8], seed: u32) -> RecordCheck {
        let Some((record, crc)) = Self::header(bytes, seed) else { return RecordCheck::Nothing };
        let payload = bytes.get(HEADER..HEADER + record.length as usize);
        let whole = payload.is_some_and(|payload| crc32c::crc32c_append(seed, payload) == crc);
        if whole { RecordCheck::Whole(record) } else { RecordCheck::Broken(record) }
    }

    /// Bytes that it takes, up to where the next may begin.
    pub(super) fn size(&self) -> u64 {
        (HEADER as u64 + u64::from(self.length)).next_multiple_of(ALIGN as u64)
    }
}

/// A length, a place or a count in one segment, none of which needs more than 32 bits: see [`super::format::LARGEST`].
pub(super) fn within_a_segment(number: u64) -> u32 {
    u32::try_from(number).expect("a segment is smaller than 4 GiB")
}

/// Bytes of the numbers of records behind so many entries.
pub(super) const fn counts_len(entries: usize) -> usize {
    if entries > 1 { entries * 4 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8], seed: u32) -> Vec<u8> {
        let header = Record {
            kind: RecordKind::Entries,
            stream: 3,
            first: 40,
            entries: 1,
            records: 5,
            length: payload.len() as u32,
        };
        let mut bytes = header.encode(crc32c::crc32c_append(seed, payload), seed).to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_record_is_found_whole_only_with_every_bit_as_it_was_written() {
        let mut bytes = record(b"payload", 9);
        assert!(matches!(Record::find(&bytes, 9), RecordCheck::Whole(Record { first: 40, records: 5, .. })));
        assert_eq!(Record::find(&bytes, 8), RecordCheck::Nothing);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = Record::find(&bytes, 9);
            assert!(!matches!(found, RecordCheck::Whole(_)), "bit {bit}");
            assert_eq!(matches!(found, RecordCheck::Broken(_)), bit / 8 >= HEADER, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_record_that_is_cut_short_is_not_whole() {
        let bytes = record(b"payload", 9);
        for length in 0..bytes.len() {
            assert!(!matches!(Record::find(&bytes[..length], 9), RecordCheck::Whole(_)), "{length} bytes");
        }
    }
}
