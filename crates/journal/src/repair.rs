//! What is done about damage that is met while the journal runs: what is not what was written is kept in quarantine for people
//! to look at, and a damaged index is made again.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use sluice_notice as notice;

use super::disk::is_lost;
use super::quarantine;
use super::record::HEADER;
use super::run::Piece;
use super::segments::{ClosedIndex, Index, Segment};
use super::store::Store;
use super::survey::read_again;
use super::types::StreamId;

/// Repairs what readers and compaction find damaged.
#[derive(Debug)]
pub(super) struct Repairs {
    pub(super) store: Store,
}

impl Repairs {
    /// Keeps a copy of the entries of a stream that are not what was written, and counts them as settled. Not if it is another
    /// journal's: then they may be there still.
    pub(super) fn put_aside(&self, stream: u64, piece: &Piece) -> io::Result<()> {
        self.store.health.is_in_place()?;
        let Piece { segment, extent, from, end } = piece;
        let end_of_record = extent.offset + HEADER as u64 + u64::from(extent.length);
        self.quarantine(segment, &(extent.offset..end_of_record));
        self.store.catalog.lock().streams.settle(StreamId(stream), &(*from..=end - 1));
        Ok(())
    }

    /// Takes a segment's index from its records, because what is on disk is damaged. If they can't be read either, that is
    /// not tried again: it takes reading the whole segment, and each of its streams would do so each second.
    pub(super) fn make_index_again(&self, segment: &Segment) -> io::Result<()> {
        let (length, end) = {
            let catalog = self.store.catalog.lock();
            let Some(known) = catalog.segments.get(&segment.id()) else { return Ok(()) };
            let Some(index) = known.closed() else { return Ok(()) };
            if known.unreadable {
                return Err(io::Error::other("neither its index nor its records can be read"));
            }
            (known.length(), index.end())
        };
        self.store.health.is_in_place()?;
        let found = read_again(&*self.store.disk, segment, length, end);
        let mut catalog = self.store.catalog.lock();
        let Some(known) = catalog.segments.get_mut(segment.id()) else { return Ok(()) };
        let corrupt = match found {
            Ok((index, corrupt)) => {
                known.index = Index::Closed(ClosedIndex::Unsealed(Arc::new(index), end));
                corrupt
            }
            Err(error) => {
                known.unreadable = is_lost(&error);
                return Err(error);
            }
        };
        drop(catalog);
        // The new index doesn't have it, so nobody else would meet it.
        for range in &corrupt {
            self.quarantine(segment, range);
        }
        Ok(())
    }

    /// Keeps a copy of a part of a segment that is not what was written.
    fn quarantine(&self, segment: &Segment, range: &Range<u64>) {
        let (name, at, length) = (segment.name(), range.start, range.end - range.start);
        let kept = quarantine::keep(&*self.store.disk, &name, at, length);
        let mut catalog = self.store.catalog.lock();
        catalog.figures.quarantined += 1;
        catalog.figures.quarantined_bytes += length;
        drop(catalog);
        let Some(more) = notice::due("journal", "corrupt") else { return };
        match kept {
            Ok(kept) => tracing::error!(
                segment = name,
                at,
                kept,
                more,
                "a record of the journal is corrupt and was put aside"
            ),
            Err(error) => tracing::error!(
                segment = name, at, %error, more, "a record of the journal is corrupt, and no copy of it can be kept"
            ),
        }
    }
}
