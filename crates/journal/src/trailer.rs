//! The last block of a sealed segment: where its index is, and that this is one.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `sluiceix` |
//! | 8..12 | version of the format |
//! | 12..16 | CRC32C of the rows |
//! | 16..32 | number and salt of the segment, as in its header |
//! | 32..40 | where the records end |
//! | 40..56 | the first pair of the segment's opening; number `u64::MAX` if it has none |
//! | 56..72 | where the extents begin, and how many there are |
//! | 72..88 | where the rows begin, and how many there are |
//! | 88..104 | entries and their bytes, of all rows |
//! | 104..108 | CRC32C of bytes 0..104 |

use std::io;

use bytes::{Buf as _, BufMut as _};

use super::disk::{BLOCK, DiskFile};
use super::format::{FileHeader, VERSION, decode_numbers};
use super::row::ROW;

const MAGIC: [u8; 8] = *b"sluiceix";

/// Bytes of the trailer that its checksum is of.
const BODY: usize = 104;

/// What a closed segment holds in all, and where its index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the records end.
    pub(super) end: u64,
    /// What the segment's opening says: the segment before, and where that one ends.
    pub(super) predecessor: Option<(u64, u64)>,
    /// Where the extents begin, which is 0 until the index is written; and how many there are.
    pub(super) extents_at: u64,
    pub(super) extents: u64,
    /// Where the rows begin, in the same way; and how many there are.
    pub(super) rows_at: u64,
    pub(super) rows: u64,
    /// Of all rows.
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) rows_crc: u32,
}

impl Trailer {
    /// What stands at the beginning of the last block, which is zero behind it.
    pub(super) fn encode(&self, header: &FileHeader) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY + 4);
        bytes.put_slice(&MAGIC);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(self.rows_crc);
        // No segment has the number `u64::MAX`: they count from 1.
        let (predecessor, predecessor_end) = self.predecessor.unwrap_or((u64::MAX, 0));
        for number in [
            header.id,
            header.salt,
            self.end,
            predecessor,
            predecessor_end,
            self.extents_at,
            self.extents,
            self.rows_at,
            self.rows,
            self.entries,
            self.bytes,
        ] {
            bytes.put_u64_le(number);
        }
        bytes.put_u32_le(crc32c::crc32c_append(header.seed(), &bytes));
        bytes
    }

    /// Reads the last block of a file; `None` if it is not the trailer of this segment.
    fn decode(block: &[u8], header: &FileHeader) -> Option<Self> {
        let (body, mut crc) = block.split_at(BODY);
        let mut fields = body.strip_prefix(&MAGIC)?;
        let (version, rows_crc) = (fields.get_u32_le(), fields.get_u32_le());
        if version != VERSION || crc32c::crc32c_append(header.seed(), body) != crc.get_u32_le() {
            return None;
        }
        let [_, _, end, segment, segment_end, extents_at, extents, rows_at, rows, entries, bytes] =
            decode_numbers(fields).next()?;
        let predecessor = (segment != u64::MAX).then_some((segment, segment_end));
        Some(Self { end, predecessor, extents_at, extents, rows_at, rows, entries, bytes, rows_crc })
    }

    /// The trailer of `file`, `length` bytes long, if there is a whole one.
    pub(super) fn read(file: &dyn DiskFile, length: u64, header: &FileHeader) -> io::Result<Option<Self>> {
        if length < 2 * BLOCK as u64 || !length.is_multiple_of(BLOCK as u64) {
            return Ok(None);
        }
        let mut block = vec![0; BLOCK];
        file.read_at(&mut block, length - BLOCK as u64)?;
        Ok(Self::decode(&block, header).filter(|trailer| {
            let rows =
                trailer.rows.checked_mul(ROW as u64).and_then(|rows| trailer.rows_at.checked_add(rows));
            rows.is_some_and(|end| end <= length)
        }))
    }
}
