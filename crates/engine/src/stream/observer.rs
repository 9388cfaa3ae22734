//! Who is told of entries as they are admitted.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::group::Group;
use crate::telemetry::unix_nanos;
use otlp::Signal;

/// Is told of every entry that is admitted, on the task that admits it: whoever takes long here holds up senders.
pub trait AdmissionObserver: fmt::Debug + Send + Sync {
    /// There is room for the entry in all of its streams, where it is about to be appended.
    fn admitted(&self, signal: Signal, entry: &AdmittedEntry<'_>);
}

/// An entry, or a piece of one that was split for size, as it is sent: edited, where its route edits.
#[derive(Clone, Copy, Debug)]
pub struct AdmittedEntry<'e> {
    /// The encoded message.
    pub bytes: &'e [u8],
    /// Spans, log records or data points in it.
    pub records: u64,
    /// Whose it is.
    pub tenant: Option<&'e str>,
    /// The exporters that it goes to, and the routing key that it has there, as people write it. Where routes edit it in
    /// different ways, `bytes` are those that the first gets.
    pub streams: &'e [(&'e str, &'e str)],
    /// When it is admitted, in nanoseconds since 1970.
    pub at: u64,
}

/// Tells of each entry of a request once, however many streams it goes to.
pub(super) fn tell(observer: &dyn AdmissionObserver, signal: Signal, groups: &[Group<'_>]) {
    let names: SmallVec<[(&str, Cow<'_, str>); 4]> =
        groups.iter().map(|group| (&**group.registry.exporter(), group.stream.name().key.text())).collect();
    let pieces = groups.iter().enumerate().flat_map(|(at, group)| {
        group.entries.iter().enumerate().map(move |(nth, piece)| (piece.index, at, nth))
    });
    let mut pieces: SmallVec<[(usize, usize, usize); 16]> = pieces.collect();
    let at = unix_nanos(SystemTime::now());
    // In the order of the request; pieces of one entry in that of its streams.
    pieces.sort_unstable();
    for entry in pieces.chunk_by(|one, other| one.0 == other.0) {
        let first = entry[0].1;
        let mut streams: SmallVec<[(&str, &str); 2]> = SmallVec::new();
        for at in entry.chunk_by(|one, other| one.1 == other.1).map(|pieces| pieces[0].1) {
            let (exporter, key) = &names[at];
            streams.push((exporter, key));
        }
        for (_, _, nth) in entry.iter().filter(|(_, at, _)| *at == first) {
            let (group, piece) = (&groups[first], &groups[first].entries[*nth]);
            observer.admitted(
                signal,
                &AdmittedEntry {
                    bytes: &piece.bytes,
                    records: piece.records,
                    tenant: group.stream.name().key.tenant(),
                    streams: &streams,
                    at,
                },
            );
        }
    }
}
