//! What a request has for one stream.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::decision::DecisionDetails;
use super::full::Full;
use super::ledger::Ledger;
use super::limit::{NotReserved, ReservedShares, StreamLimit};
use super::queue::{NewEntry, NewRequest};
use super::refused::Refused;
use super::registry::Registry;
use super::stream_count::NoStream;
use super::{QueueSettings, Stream, WhenFull};
use crate::telemetry::TraceContext;

/// The entries of a request for one stream.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) stream: Arc<Stream>,
    pub(super) registry: Arc<Registry>,
    pub(super) entries: SmallVec<[GroupEntry<'a>; 2]>,
    pub(super) bytes: u64,
    /// Whether the exporter has no queue. As it was when the request came: all that follows from it has to agree.
    pub(super) unqueued: bool,
    /// Whether all of the entries are what this process tells of itself.
    pub(super) is_own_telemetry: bool,
}

/// An entry, or a piece of one that is split for size.
#[derive(Debug)]
pub(super) struct GroupEntry<'a> {
    /// The entry's position in the request.
    pub(super) index: usize,
    pub(super) bytes: EntryBytes<'a>,
    pub(super) records: u64,
}

/// Bytes of the request's body, or made of them.
#[derive(Debug)]
pub(super) enum EntryBytes<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
    /// They stay in the [memory of the body](super::body_memory), behind a frame of so many bytes.
    InBody {
        framed: Bytes,
        frame: usize,
    },
}

impl Deref for EntryBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::InBody { framed, frame } => &framed[*frame..],
        }
    }
}

impl EntryBytes<'_> {
    /// The same, sharing the memory of the `body` that it borrows from.
    pub(super) fn share(self, body: &Bytes) -> Bytes {
        match self {
            Self::Borrowed(bytes) => body.slice_ref(bytes),
            Self::Owned(bytes) => bytes,
            Self::InBody { framed, frame } => framed.slice(frame..),
        }
    }

    /// With their frame, if they stay in the memory of the body.
    pub(super) fn in_body(&self) -> Option<&Bytes> {
        match self {
            Self::InBody { framed, .. } => Some(framed),
            Self::Borrowed(_) | Self::Owned(_) => None,
        }
    }
}

impl Group<'_> {
    /// Puts the entries into the queue, where there is room reserved; returns their numbers. With a ledger somebody waits for them.
    pub(super) fn append(&self, ledger: Option<&Arc<Ledger>>, trace: Option<TraceContext>) -> Range<u64> {
        let entries = self.entries.iter();
        let entries = entries.map(|GroupEntry { index, bytes, records }| NewEntry {
            bytes,
            in_body: bytes.in_body(),
            records: *records,
            index: *index,
        });
        self.stream.append(entries, self.entries.len(), NewRequest { ledger, trace: self.linked(trace) })
    }

    /// The span of its request that the attempts to send these entries are linked with.
    pub(super) fn linked(&self, trace: Option<TraceContext>) -> Option<TraceContext> {
        trace.filter(|_| !self.is_own_telemetry)
    }

    /// Whether the request's sender waits until these entries are settled; `all`: whatever the exporter's queue is.
    pub(super) fn waits(&self, all: bool) -> bool {
        all || self.unqueued
    }

    /// What the stream may hold with these entries: those whose sender waits must not pile up on disk either.
    fn limit(&self, of_request: &StreamLimit) -> StreamLimit {
        match *of_request {
            StreamLimit::OnDisk { most, queue } => StreamLimit::OnDisk { most, queue: self.waits(queue) },
            StreamLimit::InMemory => StreamLimit::InMemory,
        }
    }

    /// Whether what has no room here is left out.
    pub(super) fn sheds(&self) -> bool {
        self.settings().when_full == WhenFull::Shed
    }

    /// Logs what is decided about its entries.
    pub(super) fn log_decision(&self, decision: &fmt::Arguments<'_>) {
        let details = DecisionDetails { bytes: Some(self.bytes), ..DecisionDetails::default() };
        self.stream.log_decision(decision, details);
    }

    /// The request, as it met no room here.
    pub(super) fn refused(&self, full: Full) -> Refused {
        self.log_decision(&format_args!("request refused: {full}"));
        match full {
            Full::Stream | Full::Share => Refused::FullStream {
                full,
                exporter: self.registry.exporter().clone(),
                name: self.stream.name().clone(),
            },
            shared => Refused::Full(shared),
        }
    }

    /// Reserves room. A stream that is gone was forgotten as idle between its look-up and now: it is looked up again.
    pub(super) fn reserve(
        &mut self,
        of_request: &StreamLimit,
        shares: &mut ReservedShares,
    ) -> Result<(), Full> {
        let limit = self.limit(of_request);
        loop {
            match self.stream.reserve(self.bytes, &self.settings(), &limit, shares) {
                Ok(()) => return Ok(()),
                Err(NotReserved::Full) if limit.is_queue() => return Err(Full::Stream),
                Err(NotReserved::Full) => return Err(Full::Share),
                Err(NotReserved::OverLimit(full)) => return Err(full),
                Err(NotReserved::Gone) => {
                    self.stream = self.registry.successor(&self.stream).map_err(NoStream::full)?;
                }
            }
        }
    }

    /// Whether there would be room now.
    pub(super) fn has_room(&self, of_request: &StreamLimit) -> bool {
        self.stream.has_room(self.bytes, &self.settings(), &self.limit(of_request))
    }

    /// The same, sharing the memory of the `body` that it borrows from.
    pub(super) fn share(self, body: &Bytes) -> Group<'static> {
        let Group { stream, registry, entries, bytes, unqueued, is_own_telemetry } = self;
        let share = |GroupEntry { index, bytes, records }: GroupEntry<'_>| {
            let bytes = EntryBytes::Owned(bytes.share(body));
            GroupEntry { index, bytes, records }
        };
        let entries = entries.into_iter().map(share).collect();
        Group { stream, registry, entries, bytes, unqueued, is_own_telemetry }
    }

    fn settings(&self) -> arc_swap::Guard<Arc<QueueSettings>> {
        self.registry.settings()
    }
}
