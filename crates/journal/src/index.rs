//! The index of a segment: for each stream where its entries are.
//!
//! It is in memory as long as the segment is written, and brought into order when that is closed. Then it is written behind the
//! records; the segment is sealed:
//!
//! ```text
//! ... records | extents, 32 bytes each, by stream | rows, 64 bytes each, by stream | trailer, one block
//! ```
//!
//! Extents and rows are described in `row.rs`, the trailer in `trailer.rs`.
//!
//! Rows begin at a block, so that the one of a stream is found by reading a single block: in memory are the first
//! stream of each, and a checksum.

use std::collections::BTreeMap;
use std::io;

use super::disk::{BLOCK, DiskFile, is_lost};
use super::format::{FileHeader, whole_blocks};
use super::record::within_a_segment;
use super::row::{EXTENT, Extent, IndexRow, ROW};
use super::trailer::Trailer;

/// Rows that are written as one block.
pub(super) const ROWS_PER_BLOCK: usize = BLOCK / ROW;

/// Bytes that an index takes on disk.
pub(super) fn index_size(extents: u64, rows: u64) -> u64 {
    whole_blocks(extents * EXTENT as u64) + whole_blocks(rows * ROW as u64) + BLOCK as u64
}

/// Whether an error of reading an index is a reason to make it again from the records.
pub(super) fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData || is_lost(error)
}

/// How much of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EntryTotals {
    pub(super) entries: u64,
    /// Of the entries under their frames.
    pub(super) bytes: u64,
    /// That have such entries.
    pub(super) streams: u64,
}

/// The index of a segment that is being written.
#[derive(Debug, Default)]
pub(super) struct OpenIndex {
    rows: BTreeMap<u64, OpenRow>,
    pub(super) amount: EntryTotals,
    pub(super) extents: u64,
}

/// What it has of one stream.
#[derive(Debug, Default)]
struct OpenRow {
    /// Where the stream's key is; 0 if that is not known.
    key_at: u64,
    /// In the order in which they were written.
    extents: Vec<Extent>,
}

/// The index of a segment to which no more entries are written.
#[derive(Debug)]
pub(super) struct ClosedIndex {
    pub(super) trailer: Trailer,
    pub(super) rows: Rows,
    /// Sorted as the rows are, and those of a stream by sequence number; `None` if they are on disk, the segment being sealed.
    pub(super) extents: Option<Vec<Extent>>,
}

/// The rows of an index, sorted by stream. Those of a segment that is not sealed are in memory.
#[derive(Debug)]
pub(super) enum Rows {
    InMemory(Vec<IndexRow>),
    /// What is known of each block of rows.
    OnDisk(Vec<RowBlock>),
}

/// A block of rows that are left on disk.
#[derive(Debug)]
pub(super) struct RowBlock {
    /// The stream of its first row.
    pub(super) first: u64,
    /// CRC32C of the rows: the checksum in the trailer is of all, and they are read one block at a time.
    pub(super) crc: u32,
}

impl OpenIndex {
    /// Notes where the key of a stream is.
    pub(super) fn set_key(&mut self, stream: u64, at: u64) {
        self.rows.entry(stream).or_default().key_at = at;
    }

    /// Adds a record with entries.
    pub(super) fn add(&mut self, stream: u64, extent: Extent) {
        let row = self.rows.entry(stream).or_default();
        self.amount.streams += u64::from(row.extents.is_empty());
        self.amount.entries += u64::from(extent.entries);
        self.amount.bytes += extent.framed();
        self.extents += 1;
        row.extents.push(extent);
    }

    /// The extents of a stream that hold entries from `from` on.
    pub(super) fn extents(&self, stream: u64, from: u64) -> impl Iterator<Item = Extent> {
        let row = self.rows.get(&stream);
        row.into_iter().flat_map(|row| &row.extents).filter(move |extent| extent.end() > from).copied()
    }

    /// The index in order, of a segment whose records end at `end`; `predecessor` is what its opening says first.
    pub(super) fn close(self, end: u64, predecessor: Option<(u64, u64)>) -> ClosedIndex {
        let mut rows = Vec::with_capacity(self.rows.len());
        let mut extents = Vec::with_capacity(self.extents as usize);
        for (stream, OpenRow { key_at, extents: mut of_stream }) in self.rows {
            if !of_stream.is_empty() {
                of_stream.sort_by_key(|extent| extent.first);
                rows.push(IndexRow::of(stream, key_at, &of_stream, within_a_segment(extents.len() as u64)));
                extents.append(&mut of_stream);
            }
        }
        let EntryTotals { entries, bytes, streams } = self.amount;
        debug_assert_eq!((self.extents, streams), (extents.len() as u64, rows.len() as u64));
        debug_assert_eq!(entries, rows.iter().map(|row| row.entries).sum::<u64>());
        debug_assert_eq!(bytes, rows.iter().map(|row| row.bytes).sum::<u64>());
        let (counted, rows) = (extents.len() as u64, Rows::InMemory(rows));
        let trailer = Trailer {
            end,
            predecessor,
            extents: counted,
            rows: streams,
            entries,
            bytes,
            ..Trailer::default()
        };
        ClosedIndex { trailer, rows, extents: Some(extents) }
    }
}

impl ClosedIndex {
    /// Reads an index by its trailer; `None` if its rows or its extents are damaged. The rows stay in memory.
    pub(super) fn read(
        file: &dyn DiskFile,
        header: &FileHeader,
        trailer: Trailer,
    ) -> io::Result<Option<Self>> {
        const AT_ONCE: u64 = 4096;
        for from in (0..trailer.extents).step_by(AT_ONCE as usize) {
            let count = AT_ONCE.min(trailer.extents - from);
            match read_extents(file, header, &trailer, from, count) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
                read => drop(read?),
            }
        }
        let mut bytes = vec![0; trailer.rows as usize * ROW];
        file.read_at(&mut bytes, trailer.rows_at)?;
        if crc32c::crc32c_append(header.seed(), &bytes) != trailer.rows_crc {
            return Ok(None);
        }
        let rows = Rows::InMemory(bytes.chunks_exact(ROW).map(IndexRow::decode).collect());
        Ok(Some(Self { trailer, rows, extents: None }))
    }

    /// All that is in the segment, settled or not.
    pub(super) fn amount(&self) -> EntryTotals {
        let Trailer { entries, bytes, rows: streams, .. } = self.trailer;
        EntryTotals { entries, bytes, streams }
    }

    /// Whether the index is on disk.
    pub(super) fn is_sealed(&self) -> bool {
        self.extents.is_none()
    }

    /// The bytes of an index that is not on disk, as they stand there from `offset` on, a multiple of a block; and the index
    /// once they do. `None` if it is there already.
    pub(super) fn seal(&self, header: &FileHeader, offset: u64) -> Option<(Vec<u8>, Self)> {
        let (Rows::InMemory(rows), Some(extents)) = (&self.rows, &self.extents) else { return None };
        let mut bytes = Vec::new();
        for extent in extents {
            extent.encode(header.seed(), &mut bytes);
        }
        pad_to_block(&mut bytes);
        let rows_from = bytes.len();
        bytes.extend(encode_rows(rows));
        let rows_crc = crc32c::crc32c_append(header.seed(), &bytes[rows_from..]);
        pad_to_block(&mut bytes);
        let rows_at = offset + rows_from as u64;
        let trailer = Trailer { extents_at: offset, rows_at, rows_crc, ..self.trailer };
        bytes.extend(trailer.encode(header));
        pad_to_block(&mut bytes);
        Some((bytes, Self { trailer, rows: Rows::InMemory(rows.clone()), extents: None }))
    }

    /// An index as if it had not been written, which it has been; its rows are in memory.
    pub(super) fn unsealed(&self, file: &dyn DiskFile, header: &FileHeader) -> io::Result<Option<Self>> {
        let Rows::InMemory(rows) = &self.rows else { return Ok(None) };
        let extents = read_extents(file, header, &self.trailer, 0, self.trailer.extents)?;
        let rows = Rows::InMemory(rows.clone());
        Ok(Some(Self { trailer: self.trailer, rows, extents: Some(extents) }))
    }

    /// A sealed index with its rows left on disk; `None` if they can't be, or are already.
    pub(super) fn without_rows(&self, header: &FileHeader) -> Option<Self> {
        let Rows::InMemory(rows) = &self.rows else { return None };
        let blocks = rows.chunks(ROWS_PER_BLOCK).map(|rows| {
            let crc = crc32c::crc32c_append(header.seed(), &encode_rows(rows));
            RowBlock { first: rows[0].stream, crc }
        });
        let rows = Rows::OnDisk(blocks.collect());
        self.is_sealed().then_some(Self { trailer: self.trailer, rows, extents: None })
    }

    /// How many rows are in memory.
    pub(super) fn rows_in_memory(&self) -> usize {
        if let Rows::InMemory(rows) = &self.rows { rows.len() } else { 0 }
    }
}

/// So many extents of a sealed segment, from the `from`th on. [`io::ErrorKind::InvalidData`] if one is damaged.
pub(super) fn read_extents(
    file: &dyn DiskFile,
    header: &FileHeader,
    trailer: &Trailer,
    from: u64,
    count: u64,
) -> io::Result<Vec<Extent>> {
    let mut bytes = vec![0; count as usize * EXTENT];
    file.read_at(&mut bytes, trailer.extents_at + from * EXTENT as u64)?;
    let seed = header.seed();
    bytes.chunks_exact(EXTENT).map(|extent| Extent::decode(extent, seed)).collect()
}

fn encode_rows(rows: &[IndexRow]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW);
    for row in rows {
        row.encode(&mut bytes);
    }
    bytes
}

fn pad_to_block(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}
