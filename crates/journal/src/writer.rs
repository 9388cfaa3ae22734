//! Writing records into one segment after the other. The log has a writer, and compaction has one.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::buffer::BlockBuffer;
use super::catalog::Catalog;
use super::disk::{BLOCK, DiskFile};
use super::format::{RECORDS_AT, encode_numbers, whole_blocks};
use super::index::index_size;
use super::record::{ALIGN, HEADER, Record, RecordKind, within_a_segment};
use super::row::Extent;
use super::segments::{Predecessors, Segment};
use super::types::StreamKey;

/// How much of its memory the buffer keeps when it is empty, in bytes.
const KEEP: usize = 4 << 20;

/// A segment that is ready to be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    /// Bytes of the file.
    pub(super) length: u64,
}

/// Writes records; they count once they are published.
#[derive(Debug, Default)]
pub(super) struct Writer {
    open: Option<OpenSegment>,
    /// What the opening of the next segment has to state.
    predecessors: Predecessors,
    buffer: BlockBuffer,
    staged: Vec<Staged>,
}

#[derive(Debug)]
struct OpenSegment {
    prepared: Prepared,
    /// Where the next write goes.
    at: u64,
    /// Up to here everything is published.
    good: u64,
    /// Streams whose keys stand in the segment.
    keys: HashSet<u64>,
    extents: u64,
}

#[derive(Debug)]
enum Staged {
    Opening(Predecessors),
    Key(u64, u64),
    Entries(u64, Extent),
}

/// A record that is being put together: where it begins in the buffer.
#[derive(Debug)]
pub(super) struct BegunRecord(usize);

impl Writer {
    /// A writer whose first segment has this predecessor, which ends at the offset.
    pub(super) fn behind(predecessor: Option<(u64, u64)>) -> Self {
        Self { predecessors: predecessor.into_iter().collect(), ..Self::default() }
    }

    /// Whether a segment is open that has room for records of so many bytes, `extents` of them with entries, of `streams`
    /// streams that it may not have yet.
    pub(super) fn fits(&self, bytes: u64, extents: u64, streams: u64) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let records = whole_blocks(open.at + self.buffer.len() as u64 + bytes);
            records + index_size(open.extents + extents, open.keys.len() as u64 + streams)
                <= open.prepared.length
        })
    }

    /// Bytes of a segment that holds such records and nothing else.
    pub(super) fn segment_for(bytes: u64, extents: u64, streams: u64) -> u64 {
        // The opening, and the padding of writes.
        const OWN: u64 = 2 * BLOCK as u64;
        RECORDS_AT + whole_blocks(bytes) + OWN + index_size(extents, streams)
    }

    /// Bytes that are left in the open segment, or 0.
    pub(super) fn room(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| {
            let index = index_size(open.extents, open.keys.len() as u64);
            open.prepared.length.saturating_sub(open.at + index)
        })
    }

    /// Whether the open segment has the key of this stream.
    pub(super) fn knows(&self, stream: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.keys.contains(&stream))
    }

    /// The segment that is open.
    pub(super) fn segment(&self) -> Option<&Arc<Segment>> {
        self.open.as_ref().map(|open| &open.prepared.segment)
    }

    /// Goes on in a new segment. What is known of the segments before is in `catalog`.
    pub(super) fn begin_segment(&mut self, prepared: Prepared, catalog: &Catalog) {
        let mut first = true;
        self.predecessors.retain(|(id, _)| {
            let segment = catalog.segments.get(id);
            let unsealed = segment.is_some_and(|segment| segment.sealed().is_none());
            std::mem::take(&mut first) || unsealed
        });
        self.open = Some(OpenSegment {
            prepared,
            at: RECORDS_AT,
            good: RECORDS_AT,
            keys: HashSet::new(),
            extents: 0,
        });
        if !self.predecessors.is_empty() {
            let payload = encode_numbers(self.predecessors.iter().map(|(id, end)| [*id, *end]));
            self.put_plain(RecordKind::Opening, 0, &payload);
            self.staged.push(Staged::Opening(self.predecessors.clone()));
        }
    }

    /// Puts the key of a stream into the segment.
    pub(super) fn put_key(&mut self, stream: u64, key: &StreamKey) {
        let at = self.put_plain(RecordKind::Stream, stream, key.as_bytes());
        self.staged.push(Staged::Key(stream, at));
        self.open_mut().keys.insert(stream);
    }

    fn put_plain(&mut self, kind: RecordKind, stream: u64, payload: &[u8]) -> u64 {
        let begun = self.begin();
        self.buffer.put(payload);
        self.end(&begun, Record::plain(kind, stream, payload))
    }

    /// Begins a record.
    pub(super) fn begin(&mut self) -> BegunRecord {
        self.buffer.pad(ALIGN);
        let begun = BegunRecord(self.buffer.len());
        self.buffer.put(&[0; HEADER]);
        begun
    }

    /// Adds an entry under its frame to the record.
    pub(super) fn put_entry(&mut self, entry: &[u8]) {
        let mut frame = [0; 16];
        let mut rest = &mut frame[..];
        otlp::put_frame(&mut rest, entry.len());
        let used = 16 - rest.len();
        self.buffer.put(&frame[..used]);
        self.buffer.put(entry);
    }

    /// Adds entries that are framed.
    pub(super) fn put_framed(&mut self, entries: &[u8]) {
        self.buffer.put(entries);
    }

    /// Bytes of the record so far, its header aside.
    pub(super) fn begun_len(&self, begun: &BegunRecord) -> usize {
        self.buffer.len() - begun.0 - HEADER
    }

    /// Ends a record of consecutive entries, which have so many records each.
    pub(super) fn end_entries(&mut self, begun: &BegunRecord, stream: u64, first: u64, counts: &[u32]) {
        if counts.len() > 1 {
            for count in counts {
                self.buffer.put(&count.to_le_bytes());
            }
        }
        let record = Record {
            kind: RecordKind::Entries,
            stream,
            first,
            entries: within_a_segment(counts.len() as u64),
            records: counts.iter().map(|count| u64::from(*count)).sum(),
            length: within_a_segment(self.begun_len(begun) as u64),
        };
        let at = self.end(begun, record);
        let extent = Extent::of(at, &record).expect("a record that is ended has entries");
        self.staged.push(Staged::Entries(stream, extent));
        self.open_mut().extents += 1;
    }

    fn end(&mut self, begun: &BegunRecord, record: Record) -> u64 {
        let open = self.open.as_ref().expect("records are put into an open segment");
        let seed = open.prepared.segment.header.seed();
        let payload = self.buffer.at(begun.0 + HEADER, record.length as usize);
        let crc = crc32c::crc32c_append(seed, payload);
        self.buffer.at(begun.0, HEADER).copy_from_slice(&record.encode(crc, seed));
        self.buffer.pad(ALIGN);
        open.at + begun.0 as u64
    }

    fn open_mut(&mut self) -> &mut OpenSegment {
        self.open.as_mut().expect("records are put into an open segment")
    }

    /// Bytes of the records that are not written yet.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Writes the records that have been put together.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.buffer.pad(BLOCK);
        if let Some(open) = self.open.as_mut().filter(|_| self.buffer.len() > 0) {
            open.prepared.file.write_at(self.buffer.as_slice(), open.at)?;
            open.at += self.buffer.len() as u64;
            self.buffer.clear(KEEP);
        }
        Ok(())
    }

    /// Makes the records that were written safe against a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| open.prepared.file.sync_data())
    }

    /// Notes the records that were written in the catalog, so that they can be read.
    pub(super) fn publish(&mut self, catalog: &mut Catalog) {
        let Some(open) = &mut self.open else { return };
        let id = open.prepared.segment.id();
        for staged in self.staged.drain(..) {
            match staged {
                Staged::Opening(predecessors) => {
                    catalog.segments.get_mut(id).expect("an open segment is there").predecessors =
                        predecessors;
                }
                Staged::Key(stream, at) => {
                    if let Some(stream) = catalog.streams.table.get_mut(&stream) {
                        stream.segments += 1;
                    }
                    let index = catalog.segments.open_index(id).expect("only its writer closes it");
                    index.set_key(stream, at);
                }
                Staged::Entries(stream, extent) => {
                    catalog.segments.open_index(id).expect("only its writer closes it").add(stream, extent);
                }
            }
        }
        open.good = open.at;
    }

    /// Ends the open segment where everything is published, and drops what is not.
    pub(super) fn finish(&mut self, catalog: &mut Catalog) {
        self.staged.clear();
        self.buffer.clear(KEEP);
        if let Some(open) = self.open.take() {
            let id = open.prepared.segment.id();
            if open.good > RECORDS_AT {
                self.predecessors.clear();
            }
            // Otherwise what its opening should have stated is still to be stated.
            self.predecessors.push((id, open.good));
            catalog.close_segment(id, open.good);
        }
    }
}
