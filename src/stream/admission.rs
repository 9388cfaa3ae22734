//! Admission in two steps: everything a request touches is reserved, or nothing; then it is appended.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::queue::{Bound, Room, Stream};
use super::receipt::{Ledger, Receipt, Stub};
use super::registry::{NoStream, Registry, StreamCount};
use super::writing::{self, Writing, WrittenGroup};
use super::{Reservation, StreamName, WhenFull};
use crate::journal::Journal;
use crate::otlp::{self, Signal};

/// Above this many streams in a request, the stream of an entry is no longer looked up by comparing them all.
const FEW: usize = 16;

/// A stream may have as many times what is left of the journal: so one that is stuck takes four fifths of it at most, many
/// take less each, and there is always some room for the others.
const SHARE: u64 = 4;

/// One request on its way into the queues. If it is not admitted, it leaves no trace.
#[derive(Debug)]
pub struct Admission<'a> {
    signal: Signal,
    groups: SmallVec<[Group<'a>; 4]>,
    by_stream: std::collections::HashMap<*const Stream, usize>,
    shed: Vec<Shed>,
    /// For the request: its body to begin with, its entries in the end.
    reservation: Reservation,
    /// The part of `reservation` that handling the request takes, whatever becomes of it.
    overhead: u64,
    /// Bytes of the pieces that entries were split into.
    pieces: u64,
}

/// The entries of a request for one stream.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) stream: Arc<Stream>,
    pub(super) registry: Arc<Registry>,
    pub(super) entries: SmallVec<[Piece<'a>; 2]>,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The entry's position in the request.
    pub(super) index: usize,
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) records: u64,
}

/// What an entry was not admitted for, under `when_full: shed`.
#[derive(Debug, Clone)]
pub struct Shed {
    /// The exporter that had no room.
    pub registry: Arc<Registry>,
    /// The entry's position in the request.
    pub index: usize,
    /// The stream that it was for.
    pub name: StreamName,
    /// Its records.
    pub records: u64,
    /// The entry under its frame, as a request of its own.
    pub bytes: Vec<u8>,
    /// What was full.
    pub full: Full,
}

/// What has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// `limits.memory`.
    #[error("the memory limit is reached")]
    Memory,
    /// `queue_size` of one stream.
    #[error("the queue of a stream is full")]
    Stream,
    /// `limits.streams` or `max_streams`.
    #[error("the limit of streams is reached")]
    Streams,
    /// `journal.max_size`.
    #[error("the journal is full")]
    Journal,
    /// The journal's disk does not take anything.
    #[error("the journal can't be written")]
    Disk,
}

/// Why a request was not admitted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now in what all streams share.
    Full(Full),
    /// There is no room now in one stream: [`Full::Stream`]. The first that was met.
    FullStream {
        /// The stream's exporter.
        exporter: Arc<str>,
        /// Which of its streams.
        name: StreamName,
    },
    /// There can never be room: the request needs more than `limits.memory`.
    TooLarge,
    /// There can never be room: the request is larger than what the journal may hold.
    TooLargeForJournal,
    /// There can never be room: the request names more streams than there may be.
    TooManyStreams,
}

/// Where an entry goes.
#[derive(Debug)]
pub struct Placement<'p> {
    /// The exporter.
    pub registry: &'p Arc<Registry>,
    /// The stream's identity.
    pub identity: &'p str,
    /// The names of the attributes in the identity.
    pub attributes: &'p Arc<[Box<str>]>,
    /// The route's own limit of streams.
    pub route: Option<&'p Arc<StreamCount>>,
}

/// Why one entry can't be placed.
#[derive(Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// The request has to be refused.
    Refused(Refused),
    /// The exporter can't send this entry, and why.
    Unfit(String),
}

impl<'a> Admission<'a> {
    /// A request without entries yet, with what is reserved for its body and for the `overhead` of handling it.
    pub fn new(signal: Signal, reservation: Reservation, overhead: u64) -> Self {
        Self {
            reservation,
            overhead,
            pieces: 0,
            signal,
            groups: SmallVec::new(),
            by_stream: std::collections::HashMap::new(),
            shed: Vec::new(),
        }
    }

    /// Adds an entry for one stream. An entry is placed in a stream once, however many routes say so: returns whether this
    /// was the first time.
    #[expect(clippy::ptr_arg, reason = "a borrowed entry is kept borrowed, an owned one is cloned")]
    pub fn place(
        &mut self,
        index: usize,
        entry: &Cow<'a, [u8]>,
        records: u64,
        at: &Placement<'_>,
    ) -> Result<bool, Misplaced> {
        let (signal, settings) = (self.signal, at.registry.settings());
        let stream = match at.registry.stream(signal, at.identity, at.attributes, at.route) {
            Ok(stream) => stream,
            Err(NoStream::Unfit(error)) => return Err(Misplaced::Unfit(error)),
            Err(NoStream::TooMany) if settings.when_full == WhenFull::Refuse => {
                return Err(Misplaced::Refused(self.no_stream(at)));
            }
            Err(NoStream::TooMany) => {
                let again = self.shed.iter().rev().take_while(|shed| shed.index == index).any(|shed| {
                    Arc::ptr_eq(&shed.registry, at.registry) && **shed.name.identity() == *at.identity
                });
                if !again {
                    let name = StreamName::new(signal, at.identity.into(), at.attributes.clone());
                    self.shed.push(Shed::new(at.registry, index, name, records, entry, Full::Streams));
                }
                return Ok(!again);
            }
        };
        let at_group = self.group(stream, at.registry);
        let group = &mut self.groups[at_group];
        if group.entries.last().is_some_and(|last| last.index == index) {
            return Ok(false);
        }
        let mut add = |bytes: Cow<'a, [u8]>, records| {
            group.bytes += otlp::frame_len(bytes.len()) as u64;
            group.entries.push(Piece { index, bytes, records });
        };
        let max_size = settings.batch.max_size;
        if otlp::frame_len(entry.len()) <= max_size {
            add(entry.clone(), records);
            return Ok(true);
        }
        let mut room = true;
        otlp::split_to_size(signal, entry, max_size, &mut |piece, records| {
            if piece.len() == entry.len() {
                return add(entry.clone(), records);
            }
            // Each repeats the headers above it, so that together they may be several times the entry.
            self.pieces += otlp::frame_len(piece.len()) as u64;
            let beyond = (self.pieces + self.overhead).saturating_sub(self.reservation.bytes());
            room = room && self.reservation.grow(beyond);
            if room {
                add(Cow::Owned(piece.to_vec()), records);
            }
        });
        if room { Ok(true) } else { Err(Misplaced::Refused(self.no_memory())) }
    }

    /// Why there is no stream: not now, or never.
    fn no_stream(&self, at: &Placement<'_>) -> Refused {
        let among = |limit: &StreamCount, counted: &dyn Fn(&Stream) -> bool| {
            self.groups.iter().filter(|group| counted(&group.stream)).count() >= limit.limit()
        };
        let never = among(&at.registry.shared().streams, &|_| true)
            || at.route.is_some_and(|route| among(route, &|stream| stream.is_of(route)));
        if never { Refused::TooManyStreams } else { Refused::Full(Full::Streams) }
    }

    fn no_memory(&self) -> Refused {
        let never = self.pieces + self.overhead > self.reservation.budget().limit();
        if never { Refused::TooLarge } else { Refused::Full(Full::Memory) }
    }

    /// The position of the group for `stream`.
    fn group(&mut self, stream: Arc<Stream>, registry: &Arc<Registry>) -> usize {
        let known = if self.groups.len() <= FEW {
            self.groups.iter().position(|group| Arc::ptr_eq(&group.stream, &stream))
        } else {
            if self.by_stream.is_empty() {
                self.by_stream = self
                    .groups
                    .iter()
                    .enumerate()
                    .map(|(at, group)| (Arc::as_ptr(&group.stream), at))
                    .collect();
            }
            self.by_stream.get(&Arc::as_ptr(&stream)).copied()
        };
        known.unwrap_or_else(|| {
            if self.groups.len() > FEW {
                self.by_stream.insert(Arc::as_ptr(&stream), self.groups.len());
            }
            self.groups.push(Group {
                stream,
                registry: registry.clone(),
                entries: SmallVec::new(),
                bytes: 0,
            });
            self.groups.len() - 1
        })
    }

    /// Admits everything that was placed, or nothing; under `shed`, what has no room is left out and returned.
    /// What is reserved for the request is passed on to its entries or given back.
    pub fn commit(mut self) -> Result<Vec<Shed>, Refused> {
        self.reserve(&Bound::InMemory)?;
        for group in self.groups.drain(..) {
            group.append(None);
        }
        Ok(std::mem::take(&mut self.shed))
    }

    /// As [`Admission::commit`], for a request that waits until its entries are settled. What handling it takes stays
    /// reserved for as long.
    pub fn commit_with_receipt(mut self) -> Result<(Vec<Shed>, Receipt), Refused> {
        self.reserve(&Bound::InMemory)?;
        let entries = self.groups.iter().map(|group| group.entries.len() as u64).sum();
        let ledger = Arc::new(Ledger::new(entries));
        let mut places = Vec::with_capacity(self.groups.len());
        for group in self.groups.drain(..) {
            let entries = group.entries.iter().map(|piece| (piece.index, piece.records)).collect();
            let first = group.append(Some(Stub::new(ledger.clone(), entries)));
            places.push((group.stream, first));
        }
        let held = self.reservation.split_off(self.overhead);
        Ok((std::mem::take(&mut self.shed), Receipt::new(ledger, places, held)))
    }

    /// Whether nothing has been placed in any stream.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// As [`Admission::commit`], for a request that has to be in the `journal` first; `body` is what its entries borrow from.
    /// With `receipt`, it waits until they are settled.
    pub fn commit_durably(
        mut self,
        journal: &Journal,
        body: &Bytes,
        receipt: bool,
    ) -> Result<(Vec<Shed>, Writing), Refused> {
        let bytes = self.groups.iter().map(|group| group.bytes).sum();
        let Some(room) = journal.room_for(bytes) else {
            let full = if journal.state().failing.is_some() { Full::Disk } else { Full::Journal };
            return Err(Refused::Full(full));
        };
        self.reserve(&Bound::OnDisk { most: room.saturating_mul(SHARE), queue: receipt })?;
        let groups = self.groups.drain(..).map(|group| WrittenGroup::new(group, body)).collect();
        let sheds = std::mem::take(&mut self.shed);
        let reservation = self.reservation.split_off(self.reservation.bytes());
        Ok((sheds, writing::write(journal, groups, reservation, receipt)))
    }

    /// Reserves every group on its stream and all of them on the budget. On success the request's own
    /// reservation has become that.
    fn reserve(&mut self, bound: &Bound) -> Result<(), Refused> {
        let total: u64 = self.groups.iter().map(|group| group.bytes).sum();
        if total + self.overhead > self.reservation.budget().limit() {
            return Err(Refused::TooLarge);
        }
        let mut reserved_groups = 0;
        while let Some(group) = self.groups.get_mut(reserved_groups) {
            match group.reserve(bound) {
                Ok(()) => reserved_groups += 1,
                Err(full) if group.sheds() => {
                    let group = self.groups.remove(reserved_groups);
                    self.shed_group(&group, full);
                }
                Err(full) => {
                    let refused = group.refused(full);
                    self.roll_back(reserved_groups);
                    return Err(refused);
                }
            }
        }
        if self.take_over() { Ok(()) } else { self.without_memory() }
    }

    /// Turns what is reserved for the request into what its entries need, if the budget has room for what is missing.
    fn take_over(&mut self) -> bool {
        let needed: u64 = self.groups.iter().map(|group| group.bytes).sum();
        let beyond = (needed + self.overhead).saturating_sub(self.reservation.bytes());
        let room = self.reservation.grow(beyond);
        if room {
            self.reservation.leave(needed);
        }
        room
    }

    /// There is no memory for all: exporters that shed do without, if that leaves enough for those that refuse.
    fn without_memory(&mut self) -> Result<(), Refused> {
        for group in std::mem::take(&mut self.groups) {
            if group.sheds() {
                group.stream.unreserve(group.bytes);
                self.shed_group(&group, Full::Memory);
                group.registry.abandon(&group.stream);
            } else {
                self.groups.push(group);
            }
        }
        if self.take_over() {
            return Ok(());
        }
        self.roll_back(self.groups.len());
        Err(Refused::Full(Full::Memory))
    }

    /// Takes back what the first `groups` have reserved.
    fn roll_back(&self, groups: usize) {
        for group in &self.groups[..groups] {
            group.stream.unreserve(group.bytes);
        }
    }

    fn shed_group(&mut self, group: &Group<'_>, full: Full) {
        self.shed.extend(group.entries.iter().map(|piece| {
            let name = group.stream.name().clone();
            Shed::new(&group.registry, piece.index, name, piece.records, &piece.bytes, full)
        }));
    }
}

impl Drop for Admission<'_> {
    /// What is still here was not admitted.
    fn drop(&mut self) {
        for group in &self.groups {
            group.registry.abandon(&group.stream);
        }
    }
}

impl Group<'_> {
    fn append(&self, stub: Option<Stub>) -> u64 {
        let entries = self.entries.iter().map(|piece| (&*piece.bytes, piece.records));
        self.stream.append(entries, &self.registry.settings(), stub, None)
    }

    fn sheds(&self) -> bool {
        self.registry.settings().when_full == WhenFull::Shed
    }

    /// The request, as it met no room here.
    fn refused(&self, full: Full) -> Refused {
        match full {
            Full::Stream => Refused::FullStream {
                exporter: self.registry.exporter().clone(),
                name: self.stream.name().clone(),
            },
            shared => Refused::Full(shared),
        }
    }

    /// A stream that is gone was forgotten as idle between its look-up and now: it is looked up again.
    fn reserve(&mut self, bound: &Bound) -> Result<(), Full> {
        loop {
            match self.stream.reserve(self.bytes, &self.registry.settings(), bound) {
                Room::Reserved => return Ok(()),
                Room::Full => return Err(Full::Stream),
                Room::Gone => self.stream = self.stream.successor().map_err(|_| Full::Streams)?,
            }
        }
    }
}

impl Shed {
    fn new(
        registry: &Arc<Registry>,
        index: usize,
        name: StreamName,
        records: u64,
        entry: &[u8],
        full: Full,
    ) -> Self {
        let mut bytes = Vec::with_capacity(otlp::frame_len(entry.len()));
        otlp::put_frame(&mut bytes, entry.len());
        bytes.extend_from_slice(entry);
        Self { registry: registry.clone(), index, name, records, bytes, full }
    }
}
