//! The index at the end of a sealed segment: for each stream where its entries are.
//!
//! ```text
//! ... records | extents, 32 bytes each, by stream | rows, 64 bytes each, by stream | trailer, one block
//! ```
//!
//! Extents and rows are described in `row.rs`, the trailer in `trailer.rs`.
//!
//! Rows begin at a block, so that the one of a stream is found by reading a single block: in memory are the first
//! stream of each, and a checksum.

use std::io;
use std::sync::Arc;

use super::disk::{BLOCK, DiskFile, is_lost};
use super::format::{Header, whole_blocks};
use super::record::within_a_segment;
use super::row::{EXTENT, Extent, ROW, Row};
use super::trailer::Trailer;

const ROWS_PER_BLOCK: usize = BLOCK / ROW;

/// Bytes that an index takes on disk.
pub(super) fn index_size(extents: u64, rows: u64) -> u64 {
    whole_blocks(extents * EXTENT as u64) + whole_blocks(rows * ROW as u64) + BLOCK as u64
}

/// Lays out an index that begins at `offset` of the file, a multiple of a block. `streams` is sorted by number: each with
/// where its key is, and its extents by sequence number.
pub(super) fn encode_index<'a>(
    header: &Header,
    end: u64,
    predecessor: Option<(u64, u64)>,
    offset: u64,
    streams: impl Iterator<Item = (u64, u64, &'a [Extent])>,
) -> (Vec<u8>, Trailer, Vec<Row>) {
    let (mut bytes, mut rows, mut extents_so_far) = (Vec::new(), Vec::new(), 0_u64);
    for (stream, key_at, extents) in streams {
        rows.push(Row::of(stream, key_at, extents, within_a_segment(extents_so_far)));
        for extent in extents {
            extent.encode(header.seed(), &mut bytes);
        }
        extents_so_far += extents.len() as u64;
    }
    bytes.resize(whole_blocks(bytes.len() as u64) as usize, 0);
    let rows_from = bytes.len();
    for row in &rows {
        row.encode(&mut bytes);
    }
    let trailer = Trailer {
        end,
        predecessor,
        extents_at: offset,
        extents: extents_so_far,
        rows_at: offset + rows_from as u64,
        rows: rows.len() as u64,
        entries: rows.iter().map(|row| row.entries).sum(),
        bytes: rows.iter().map(|row| row.bytes).sum(),
        rows_crc: crc32c::crc32c_append(header.seed(), &bytes[rows_from..]),
    };
    let trailer_at = whole_blocks(bytes.len() as u64) as usize;
    bytes.resize(trailer_at + BLOCK, 0);
    trailer.encode(header, &mut bytes[trailer_at..]);
    (bytes, trailer, rows)
}

/// Whether an error of reading an index is a reason to make it again from the records.
pub(super) fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData || is_lost(error)
}

/// The index of a sealed segment.
#[derive(Debug)]
pub(super) struct SealedIndex {
    pub(super) trailer: Trailer,
    seed: u32,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    InMemory(Vec<Row>),
    /// What is known of each block of rows.
    OnDisk(Vec<RowBlock>),
}

/// A block of rows that are left on disk.
#[derive(Debug)]
struct RowBlock {
    /// The stream of its first row.
    first: u64,
    /// CRC32C of the rows: the checksum in the trailer is of all, and they are read one block at a time.
    crc: u32,
}

impl RowBlock {
    fn of(rows: &[Row], seed: u32) -> Self {
        let mut bytes = Vec::with_capacity(BLOCK);
        for row in rows {
            row.encode(&mut bytes);
        }
        Self { first: rows[0].stream, crc: crc32c::crc32c_append(seed, &bytes) }
    }
}

impl SealedIndex {
    /// An index with its rows, sorted by stream, in memory.
    pub(super) fn new(trailer: Trailer, seed: u32, rows: Vec<Row>) -> Self {
        Self { trailer, seed, rows: Rows::InMemory(rows) }
    }

    /// The same with its rows left on disk; `None` if they are not in memory.
    pub(super) fn without_rows(&self) -> Option<Self> {
        let Rows::InMemory(rows) = &self.rows else { return None };
        let blocks = rows.chunks(ROWS_PER_BLOCK).map(|rows| RowBlock::of(rows, self.seed)).collect();
        Some(Self { trailer: self.trailer, seed: self.seed, rows: Rows::OnDisk(blocks) })
    }

    /// All of it, read back; `key_at` and the extents of each stream.
    pub(super) fn read_all(&self, file: &dyn DiskFile) -> io::Result<Vec<(Row, Vec<Extent>)>> {
        let rows = match &self.rows {
            Rows::InMemory(rows) => rows.clone(),
            Rows::OnDisk(blocks) => self.read_rows(file, blocks, 0, usize::MAX)?,
        };
        rows.into_iter().map(|row| Ok((row, self.extents(file, &row, 0, u64::MAX)?.0))).collect()
    }

    /// How many rows are in memory.
    pub(super) fn rows_in_memory(&self) -> usize {
        if let Rows::InMemory(rows) = &self.rows { rows.len() } else { 0 }
    }

    /// The row of a stream. [`io::ErrorKind::InvalidData`] if the index is damaged. `open` opens the file; it is asked only
    /// if the rows are not in memory.
    pub(super) fn row(
        &self,
        open: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>,
        stream: u64,
    ) -> io::Result<Option<Row>> {
        match &self.rows {
            Rows::InMemory(rows) => {
                Ok(rows.binary_search_by_key(&stream, |row| row.stream).ok().map(|at| rows[at]))
            }
            Rows::OnDisk(blocks) => {
                let Some(block) = blocks.partition_point(|block| block.first <= stream).checked_sub(1) else {
                    return Ok(None);
                };
                let rows = self.read_rows(&*open()?, blocks, block * ROWS_PER_BLOCK, ROWS_PER_BLOCK)?;
                Ok(rows.into_iter().find(|row| row.stream == stream))
            }
        }
    }

    /// At most `count` rows, from the `from`th on. [`io::ErrorKind::InvalidData`] if the index is damaged.
    pub(super) fn rows(
        &self,
        open: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>,
        from: usize,
        count: usize,
    ) -> io::Result<Vec<Row>> {
        match &self.rows {
            Rows::InMemory(rows) => Ok(rows.iter().skip(from).take(count).copied().collect()),
            Rows::OnDisk(blocks) => self.read_rows(&*open()?, blocks, from, count),
        }
    }

    /// A row that lied about its stream or its numbers would have live entries freed or settled, so whole blocks are read
    /// and checked.
    fn read_rows(
        &self,
        file: &dyn DiskFile,
        blocks: &[RowBlock],
        from: usize,
        count: usize,
    ) -> io::Result<Vec<Row>> {
        let rows = self.trailer.rows as usize;
        if from >= rows {
            return Ok(Vec::new());
        }
        let (block, skip) = (from / ROWS_PER_BLOCK, from % ROWS_PER_BLOCK);
        let end = from.saturating_add(count).min(rows).next_multiple_of(ROWS_PER_BLOCK).min(rows);
        let mut bytes = vec![0; (end - block * ROWS_PER_BLOCK) * ROW];
        file.read_at(&mut bytes, self.trailer.rows_at + (block * BLOCK) as u64)?;
        for (bytes, block) in bytes.chunks(BLOCK).zip(&blocks[block..]) {
            if crc32c::crc32c_append(self.seed, bytes) != block.crc {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(bytes.chunks_exact(ROW).map(Row::decode).skip(skip).take(count).collect())
    }

    /// The extents of `row` that hold entries from `from` on, in order: at least one if there is any, and no more than it
    /// takes to have `max_bytes` of entries. The second says whether these are all. [`io::ErrorKind::InvalidData`] if the
    /// index is damaged.
    pub(super) fn extents(
        &self,
        file: &dyn DiskFile,
        row: &Row,
        from: u64,
        max_bytes: u64,
    ) -> io::Result<(Vec<Extent>, bool)> {
        const AT_ONCE: u64 = 512;
        let read = |at: u64, count: u64| {
            let mut bytes = vec![0; count as usize * EXTENT];
            file.read_at(
                &mut bytes,
                self.trailer.extents_at + (u64::from(row.extents_from) + at) * EXTENT as u64,
            )?;
            bytes
                .chunks_exact(EXTENT)
                .map(|extent| Extent::decode(extent, self.seed))
                .collect::<io::Result<Vec<_>>>()
        };
        let (mut low, mut high) = (0, u64::from(row.extents));
        while high - low > AT_ONCE {
            let middle = low.midpoint(high);
            // Extents that overlap would need more than a search by their ends; a segment has none.
            if read(middle, 1)?.iter().all(|extent| extent.end() > from) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        while low < u64::from(row.extents) {
            let count = AT_ONCE.min(u64::from(row.extents) - low);
            for extent in read(low, count)?.into_iter().filter(|extent| extent.end() > from) {
                if bytes >= max_bytes && !found.is_empty() {
                    return Ok((found, false));
                }
                bytes += extent.framed();
                found.push(extent);
            }
            low += count;
        }
        Ok((found, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Purpose;
    use crate::simulation::SimulatedDisk;

    #[test]
    fn rows_that_are_left_on_disk_are_checked_when_they_are_read() {
        const ROWS: usize = 3 * ROWS_PER_BLOCK / 2;
        let extent = Extent { offset: 4096, length: 10, entries: 2, first: 7, records: 3 };
        let header = Header { purpose: Purpose::Log, id: 1, salt: 2 };
        let streams = (0..ROWS as u64).map(|stream| (2 * stream, 8, std::slice::from_ref(&extent)));
        let (bytes, trailer, rows) = encode_index(&header, 8192, None, 0, streams);
        let index = SealedIndex::new(trailer, header.seed(), rows.clone()).without_rows().unwrap();
        let disk = SimulatedDisk::new(1);
        disk.put("index", bytes);
        let open = || disk.process().open_to_read("index");
        assert_eq!(index.rows(open, 0, usize::MAX).unwrap(), rows);
        assert_eq!(index.rows(open, 10, 3).unwrap(), rows[10..13]);
        assert_eq!(index.rows(open, 60, 10).unwrap(), rows[60..70]);
        assert_eq!(
            (index.rows(open, ROWS, 1).unwrap(), index.rows(open, 1000, 1).unwrap()),
            (vec![], vec![])
        );
        for stream in 0..2 * ROWS as u64 + 2 {
            let there = rows.iter().find(|row| row.stream == stream);
            assert_eq!(index.row(open, stream).unwrap(), there.copied());
        }
        // In the first row of the second block; the first one is as it was.
        for byte in 0..ROW {
            let at = (trailer.rows_at as usize + BLOCK + byte) * 8 + byte % 8;
            disk.flip("index", at);
            let damaged =
                |read: io::Result<()>| assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
            damaged(index.row(open, 2 * ROWS as u64 - 2).map(drop));
            damaged(index.rows(open, 0, usize::MAX).map(drop));
            damaged(index.rows(open, ROWS - 1, 1).map(drop));
            damaged(index.read_all(&*open().unwrap()).map(drop));
            assert_eq!(index.rows(open, 0, ROWS_PER_BLOCK).unwrap(), rows[..ROWS_PER_BLOCK]);
            disk.flip("index", at);
        }
    }
}
