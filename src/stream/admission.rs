//! Admission in two steps: everything a request touches is reserved, or nothing; then it is appended.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::queue::{Room, Stream};
use super::registry::{NoStream, Registry, StreamCount};
use super::{Budget, StreamName, WhenFull};
use crate::otlp::{self, Signal};

/// Above this many streams in a request, the stream of an entry is no longer looked up by comparing them all.
const FEW: usize = 16;

/// One request on its way into the queues. Dropping it without [`Admission::commit`] leaves no trace.
#[derive(Debug)]
pub struct Admission<'a> {
    signal: Signal,
    groups: SmallVec<[Group<'a>; 4]>,
    by_stream: std::collections::HashMap<*const Stream, usize>,
    shed: Vec<Shed>,
}

/// The entries of a request for one stream.
#[derive(Debug)]
struct Group<'a> {
    stream: Arc<Stream>,
    registry: Arc<Registry>,
    entries: SmallVec<[Piece<'a>; 2]>,
    bytes: u64,
}

#[derive(Debug)]
struct Piece<'a> {
    /// The entry's position in the request.
    index: usize,
    bytes: Cow<'a, [u8]>,
    records: u64,
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
}

/// Why a request was not admitted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now.
    Full(Full),
    /// There can never be room: the request needs more than `limits.memory`.
    TooLarge,
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
    /// A request without entries yet.
    pub fn new(signal: Signal) -> Self {
        Self {
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
                return Err(Misplaced::Refused(Refused::Full(Full::Streams)));
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
        let group = self.group(stream, at.registry);
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
        } else {
            otlp::split_to_size(signal, entry, max_size, &mut |piece, records| {
                add(Cow::Owned(piece.to_vec()), records);
            });
        }
        Ok(true)
    }

    fn group(&mut self, stream: Arc<Stream>, registry: &Arc<Registry>) -> &mut Group<'a> {
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
        let at = known.unwrap_or_else(|| {
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
        });
        &mut self.groups[at]
    }

    /// Admits everything that was placed, or nothing; under `shed`, what has no room is left out and returned.
    /// `budget` already holds `reserved` bytes for the request, which are given back or passed on.
    pub fn commit(mut self, budget: &Budget, reserved: u64) -> Result<Vec<Shed>, Refused> {
        let outcome = self.reserve(budget, reserved);
        if outcome.is_ok() {
            for group in &self.groups {
                let entries = group.entries.iter().map(|piece| (&*piece.bytes, piece.records));
                group.stream.append(entries, &group.registry.settings());
            }
        }
        outcome.map(|()| self.shed)
    }

    /// Reserves every group on its stream and all of them on the budget. On success `reserved` has become part of
    /// that; on failure it is still there.
    fn reserve(&mut self, budget: &Budget, reserved: u64) -> Result<(), Refused> {
        let total: u64 = self.groups.iter().map(|group| group.bytes).sum();
        if total > budget.limit() {
            return Err(Refused::TooLarge);
        }
        for mut group in std::mem::take(&mut self.groups) {
            match group.reserve() {
                Ok(()) => self.groups.push(group),
                Err(full) if group.sheds() => self.shed_group(&group, full),
                Err(full) => return Err(self.roll_back(full)),
            }
        }
        let needed: u64 = self.groups.iter().map(|group| group.bytes).sum();
        let room = needed <= reserved || budget.reserve(needed - reserved);
        if !room {
            return self.without_memory(budget, reserved);
        }
        budget.release(reserved.saturating_sub(needed));
        Ok(())
    }

    /// There is no memory for all: exporters that shed do without, if that leaves enough for those that refuse.
    fn without_memory(&mut self, budget: &Budget, reserved: u64) -> Result<(), Refused> {
        for group in std::mem::take(&mut self.groups) {
            if group.sheds() {
                group.stream.unreserve(group.bytes);
                self.shed_group(&group, Full::Memory);
            } else {
                self.groups.push(group);
            }
        }
        let needed: u64 = self.groups.iter().map(|group| group.bytes).sum();
        if needed > reserved && !budget.reserve(needed - reserved) {
            return Err(self.roll_back(Full::Memory));
        }
        budget.release(reserved.saturating_sub(needed));
        Ok(())
    }

    fn roll_back(&self, full: Full) -> Refused {
        for group in &self.groups {
            group.stream.unreserve(group.bytes);
        }
        Refused::Full(full)
    }

    fn shed_group(&mut self, group: &Group<'_>, full: Full) {
        self.shed.extend(group.entries.iter().map(|piece| {
            let name = group.stream.name().clone();
            Shed::new(&group.registry, piece.index, name, piece.records, &piece.bytes, full)
        }));
    }
}

impl Group<'_> {
    fn sheds(&self) -> bool {
        self.registry.settings().when_full == WhenFull::Shed
    }

    /// A stream that is gone was forgotten as idle between its look-up and now: it is looked up again.
    fn reserve(&mut self) -> Result<(), Full> {
        loop {
            match self.stream.reserve(self.bytes, &self.registry.settings()) {
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
