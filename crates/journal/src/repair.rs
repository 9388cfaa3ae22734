//! Repairs of damage that is met while the journal runs: corrupt records are kept in quarantine for people to look at, and a
//! damaged index is made again.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use sluice_notice as notice;

use super::disk::is_lost;
use super::quarantine;
use super::run::RecordPart;
use super::segments::{Index, Segment};
use super::store::Store;
use super::survey::read_again;
use super::types::StreamId;

/// Keeps a copy of the entries of a stream that are not what was written, and counts them as settled. Not if it is another
/// journal's: then they may be there still.
pub(super) fn put_aside(store: &Store, stream: u64, piece: &RecordPart) -> io::Result<()> {
    store.health.is_in_place()?;
    let RecordPart { segment, extent, from, end } = piece;
    keep(store, segment, &extent.span());
    store.catalog.lock().streams.settle(StreamId(stream), &(*from..=end - 1));
    Ok(())
}

/// Takes a segment's index from its records, because what is on disk is damaged. If they can't be read either, that is
/// not tried again: it takes reading the whole segment, and each of its streams would do so each second.
pub(super) fn make_index_again(store: &Store, segment: &Segment) -> io::Result<()> {
    let (length, end) = {
        let catalog = store.catalog.lock();
        let Some(known) = catalog.segments.get(&segment.id()) else { return Ok(()) };
        let Some(index) = known.closed() else { return Ok(()) };
        if known.unreadable {
            return Err(io::Error::other("neither its index nor its records can be read"));
        }
        (known.length(), index.trailer.end)
    };
    store.health.is_in_place()?;
    let found = read_again(&*store.disk, segment, length, end);
    let mut catalog = store.catalog.lock();
    let Some(known) = catalog.segments.get_mut(segment.id()) else { return Ok(()) };
    let mut found = found.inspect_err(|error| known.unreadable = is_lost(error))?;
    // What is known goes before what damaged records say.
    found.index.trailer.end = end;
    found.index.trailer.predecessor = known.predecessors.first().copied().or(found.index.trailer.predecessor);
    known.index = Index::Closed(Arc::new(found.index));
    drop(catalog);
    // The new index does not have the corrupt parts, so no reader would meet them.
    for range in &found.corrupt {
        keep(store, segment, range);
    }
    Ok(())
}

/// Keeps a copy of a part of a segment that is not what was written.
fn keep(store: &Store, segment: &Segment, range: &Range<u64>) {
    let (name, at, length) = (segment.name(), range.start, range.end - range.start);
    let kept = quarantine::keep(&*store.disk, &name, at, length);
    store.catalog.lock().count_quarantined(length);
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
