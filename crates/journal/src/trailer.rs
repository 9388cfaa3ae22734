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

use super::disk::{BLOCK, DiskFile};
use super::format::{Header, VERSION, u32_at, u64_at};
use super::row::{EXTENT, Extent, ROW, Row};

const MAGIC: [u8; 8] = *b"sluiceix";

/// Bytes of the trailer that its checksum is of.
const BODY: usize = 104;

/// The last block of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the records end.
    pub(super) end: u64,
    /// What the segment's opening says: the segment before, and where that one ends.
    pub(super) predecessor: Option<(u64, u64)>,
    /// Where the extents begin, and how many there are.
    pub(super) extents_at: u64,
    pub(super) extents: u64,
    /// Where the rows begin, and how many there are.
    pub(super) rows_at: u64,
    pub(super) rows: u64,
    /// Of all rows.
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) rows_crc: u32,
}

impl Trailer {
    /// Writes it into the last block, which is zero.
    pub(super) fn encode(&self, header: &Header, block: &mut [u8]) {
        let mut bytes = Vec::with_capacity(BODY + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.rows_crc.to_le_bytes());
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
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(header.seed(), &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        block[..bytes.len()].copy_from_slice(&bytes);
    }

    /// Reads the last block of a file; `None` if it is not the trailer of this segment.
    fn decode(block: &[u8], header: &Header) -> Option<Self> {
        let body = &block[..BODY];
        let ours = body[..8] == MAGIC
            && u32_at(body, 8) == VERSION
            && crc32c::crc32c_append(header.seed(), body) == u32_at(block, body.len());
        let number = |at: usize| u64_at(body, 16 + at * 8);
        ours.then(|| Self {
            rows_crc: u32_at(body, 12),
            end: number(2),
            predecessor: (number(3) != u64::MAX).then(|| (number(3), number(4))),
            extents_at: number(5),
            extents: number(6),
            rows_at: number(7),
            rows: number(8),
            entries: number(9),
            bytes: number(10),
        })
    }

    /// The trailer of `file`, `length` bytes long, if there is a whole one.
    pub(super) fn read(file: &dyn DiskFile, length: u64, header: &Header) -> io::Result<Option<Self>> {
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

    /// All rows, or `None` if they or what they speak of are damaged.
    pub(super) fn read_rows(&self, file: &dyn DiskFile, header: &Header) -> io::Result<Option<Vec<Row>>> {
        const AT_ONCE: u64 = 4096;
        for from in (0..self.extents).step_by(AT_ONCE as usize) {
            let mut bytes = vec![0; AT_ONCE.min(self.extents - from) as usize * EXTENT];
            file.read_at(&mut bytes, self.extents_at + from * EXTENT as u64)?;
            if bytes.chunks_exact(EXTENT).any(|extent| Extent::decode(extent, header.seed()).is_err()) {
                return Ok(None);
            }
        }
        let mut bytes = vec![0; self.rows as usize * ROW];
        file.read_at(&mut bytes, self.rows_at)?;
        let whole = crc32c::crc32c_append(header.seed(), &bytes) == self.rows_crc;
        Ok(whole.then(|| bytes.chunks_exact(ROW).map(Row::decode).collect()))
    }
}
