//! Admission in two steps: everything a request touches is reserved, or nothing; then it is appended.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::body_memory::BodyMemory;
use super::full::Full;
use super::group::{EntryBytes, Group, GroupEntry};
use super::ledger::Ledger;
use super::limit::{ReservedShares, StreamLimit};
use super::observer::{self, AdmissionObserver};
use super::receipt::Receipt;
use super::refused::{Misplaced, Refused, Shed};
use super::registry::Registry;
use super::stream_count::{NoStream, StreamCount};
use super::wait_queue::{Patience, RoomWaiter, WaitQueue};
use super::writing::{self, Writing, WrittenGroup};
use super::{Budget, Reservation, Stream, StreamName, WhenFull};
use crate::journal::Journal;
use crate::route::RoutingKey;
use crate::telemetry::TraceContext;
use otlp::{self, RoomCheck, Signal};

/// Above this many streams in a request, the stream of an entry is no longer looked up by comparing them all.
const FEW: usize = 16;

/// A stream may have as many times what is left of the journal: so one that is stuck takes four fifths of it at most, many
/// take less each, and there is always some room for the others.
const SHARE: u64 = 4;

/// How many requests may wait for one stream, so that it leaves others their leave to wait.
const MOST_WAITING_FOR_STREAM: usize = 64;

/// One request on its way into the queues. If it is not admitted, it leaves no trace.
#[derive(Debug)]
pub struct Admission<'a> {
    signal: Signal,
    groups: SmallVec<[Group<'a>; 4]>,
    /// Groups by the address of their stream.
    by_stream: std::collections::HashMap<usize, usize>,
    shed: Vec<Shed>,
    /// For the request: its body to begin with, its entries in the end.
    reservation: Reservation,
    /// The part of `reservation` that handling the request takes, whatever becomes of it.
    overhead: u64,
    /// The memory of its body, if entries may stay in it.
    body: Option<BodyMemory>,
    /// Bytes of the pieces that entries were split into.
    pieces: u64,
    /// What its streams may hold, as it was last tried.
    limit: StreamLimit,
    /// What there was no room in when it was last tried, if there may be some soon.
    obstacle: Option<Obstacle>,
    /// Its place where it has waited, as the first there, until it is admitted: those behind it have to see what it leaves.
    waiter: Option<RoomWaiter<Obstacle>>,
    /// Who is told of what is admitted.
    observer: Option<Arc<dyn AdmissionObserver>>,
    /// The request's span, if it is traced.
    trace: Option<TraceContext>,
    /// Whether the entry that is placed next is what this process tells of itself.
    is_own_telemetry: bool,
}

/// What of a request has no room and is shed if the rest is admitted, and what was full.
type LeftOut<'a> = SmallVec<[(Group<'a>, Full); 1]>;

/// What has no room for a request, and may have some soon.
#[derive(Clone, Debug)]
enum Obstacle {
    Memory(Arc<Budget>),
    Stream(Arc<Stream>),
}

/// What a request finds that looks again for room.
enum Looked {
    /// There is room everywhere.
    Room,
    /// There is room where it has waited, but not there.
    OtherObstacle(Obstacle),
}

impl AsRef<WaitQueue> for Obstacle {
    fn as_ref(&self) -> &WaitQueue {
        match self {
            Self::Memory(budget) => budget.waiting(),
            Self::Stream(stream) => &stream.waiting,
        }
    }
}

impl Obstacle {
    /// Whether it is worth while to wait there.
    fn moves(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Stream(stream) => stream.moves(),
        }
    }

    /// A place among those who wait there, if it is worth while and not too many do.
    fn join(self) -> Option<RoomWaiter<Self>> {
        let most = if matches!(self, Self::Memory(_)) { usize::MAX } else { MOST_WAITING_FOR_STREAM };
        if self.moves() { RoomWaiter::join(self, most) } else { None }
    }

    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.as_ref(), other.as_ref())
    }
}

/// Where an entry goes.
#[derive(Debug)]
pub struct Placement<'p> {
    /// The exporter.
    pub registry: &'p Arc<Registry>,
    /// The stream's routing key, as it is [written](RoutingKey::written).
    pub key: &'p str,
    /// The route's own limit of streams.
    pub route: Option<&'p Arc<StreamCount>>,
}

impl<'a> Admission<'a> {
    /// A request without entries yet, with what is reserved for its body and for the `overhead` of handling it.
    pub fn new(signal: Signal, reservation: Reservation, overhead: u64) -> Self {
        Self {
            reservation,
            overhead,
            body: None,
            pieces: 0,
            signal,
            groups: SmallVec::new(),
            by_stream: std::collections::HashMap::new(),
            shed: Vec::new(),
            limit: StreamLimit::InMemory,
            obstacle: None,
            waiter: None,
            observer: None,
            trace: None,
            is_own_telemetry: false,
        }
    }

    /// Says that the request's body is in memory of its own, of so many bytes, for all of which there is something reserved: large entries
    /// may wait there.
    pub fn keep_in_body(&mut self, body: &Bytes, memory: u64) {
        self.body = BodyMemory::of(body, memory);
    }

    /// Tells `observer` of every entry once it is admitted.
    pub fn observe(&mut self, observer: Arc<dyn AdmissionObserver>) {
        self.observer = Some(observer);
    }

    /// Says which span the request has, by which its entries are known while they wait to be sent.
    pub fn set_trace(&mut self, trace: Option<TraceContext>) {
        self.trace = trace;
    }

    /// Says whether the entries that are placed from now on are what this process tells of itself: of the streams that get them, and of how
    /// they are sent, nothing is told.
    pub fn next_is_own_telemetry(&mut self, is_own_telemetry: bool) {
        self.is_own_telemetry = is_own_telemetry;
    }

    /// The same request for a while: it shares the memory of the `body` that it borrows from.
    pub fn keep(mut self, body: &Bytes) -> Admission<'static> {
        Admission {
            signal: self.signal,
            groups: self.groups.drain(..).map(|group| group.share(body)).collect(),
            by_stream: std::collections::HashMap::new(),
            shed: std::mem::take(&mut self.shed),
            reservation: self.reservation.take(),
            overhead: self.overhead,
            body: self.body.take(),
            pieces: self.pieces,
            limit: self.limit,
            obstacle: self.obstacle.take(),
            waiter: self.waiter.take(),
            observer: self.observer.take(),
            trace: self.trace,
            is_own_telemetry: self.is_own_telemetry,
        }
    }

    /// What everything in flight shares.
    pub fn budget(&self) -> &Arc<Budget> {
        self.reservation.budget()
    }

    /// What is reserved for the request.
    pub fn reservation(&mut self) -> &mut Reservation {
        &mut self.reservation
    }

    /// Adds an entry for one stream. An entry is placed in a stream once, however many routes say so: returns whether this
    /// was the first time.
    #[expect(clippy::ptr_arg, reason = "a borrowed entry is kept borrowed, an owned one is copied")]
    pub fn place(
        &mut self,
        index: usize,
        entry: &Cow<'a, [u8]>,
        records: u64,
        at: &Placement<'_>,
    ) -> Result<bool, Misplaced> {
        self.put(index, entry, || entry.into(), records, at)
    }

    /// Reserves what `make` asks for while it makes an edited copy of an entry, which [`Admission::place_copy`] then takes for any
    /// number of streams, and returns the copy with the bytes that were asked for. Only what the copy itself takes stays reserved.
    pub fn make_copy<E>(
        &mut self,
        make: impl FnOnce(&mut RoomCheck<'_>) -> Result<Option<Vec<u8>>, E>,
    ) -> (Result<Option<Bytes>, E>, u64) {
        let (before, mut asked) = (self.reservation.bytes(), 0);
        let made = make(&mut |bytes: usize| {
            asked += bytes as u64;
            self.reservation.grow(bytes as u64)
        });
        // It is there beside the body until it is copied into the queues.
        let bytes = made.as_ref().map_or(0, |copy| copy.as_ref().map_or(0, |copy| copy.len() as u64));
        drop(self.reservation.split_off(self.reservation.bytes() - before - bytes));
        self.overhead += bytes;
        (made.map(|copy| copy.map(Bytes::from)), asked)
    }

    /// Why so many bytes more can't be reserved: not now, or never.
    pub fn no_room_for(&self, bytes: u64) -> Refused {
        let never = self.reservation.bytes().saturating_add(bytes) > self.reservation.budget().limit();
        if never { Refused::TooLarge } else { Refused::Full(Full::Memory) }
    }

    /// As [`Admission::place`], for a copy of the entry.
    pub fn place_copy(
        &mut self,
        index: usize,
        copy: &Bytes,
        records: u64,
        at: &Placement<'_>,
    ) -> Result<bool, Misplaced> {
        self.put(index, copy, || EntryBytes::Owned(copy.clone()), records, at)
    }

    /// Adds an entry, of which `whole` is all that is held, for one stream.
    fn put(
        &mut self,
        index: usize,
        entry: &[u8],
        whole: impl Fn() -> EntryBytes<'a>,
        records: u64,
        at: &Placement<'_>,
    ) -> Result<bool, Misplaced> {
        let (signal, settings) = (self.signal, at.registry.settings());
        let stream = match at.registry.stream(signal, at.key, at.route) {
            Ok(stream) => stream,
            Err(NoStream::Unfit(error)) => return Err(Misplaced::Unfit(error)),
            Err(too_many) if settings.when_full == WhenFull::Refuse => {
                return Err(Misplaced::Refused(self.no_stream(at, too_many)));
            }
            Err(too_many) => {
                let again = self.shed.iter().rev().take_while(|shed| shed.index == index).any(|shed| {
                    Arc::ptr_eq(&shed.registry, at.registry) && **shed.name.key.as_written() == *at.key
                });
                if !again {
                    let name = StreamName { signal, key: RoutingKey::written(at.key) };
                    self.shed.push(Shed::new(at.registry, index, name, records, entry, too_many.full()));
                }
                return Ok(!again);
            }
        };
        let at_group = self.group(stream, at.registry);
        let group = &mut self.groups[at_group];
        if self.is_own_telemetry {
            group.stream.note_own_telemetry();
        }
        group.is_own_telemetry &= self.is_own_telemetry;
        if group.entries.last().is_some_and(|last| last.index == index) {
            return Ok(false);
        }
        let mut add = |bytes: EntryBytes<'a>, records| {
            group.bytes += otlp::frame_len(bytes.len()) as u64;
            group.entries.push(GroupEntry { index, bytes, records });
        };
        let max_size = settings.batch.max_size;
        if otlp::frame_len(entry.len()) <= max_size {
            add(whole(), records);
            return Ok(true);
        }
        let mut room = true;
        otlp::split_to_size(signal, entry, max_size, &mut |piece, records| {
            if piece.len() == entry.len() {
                return add(whole(), records);
            }
            // Each repeats the headers above it, so that together they may be several times the entry.
            self.pieces += otlp::frame_len(piece.len()) as u64;
            let beyond = (self.pieces + self.overhead).saturating_sub(self.reservation.bytes());
            room = room && self.reservation.grow(beyond);
            if room {
                add(EntryBytes::Owned(Bytes::copy_from_slice(piece)), records);
            }
        });
        if room { Ok(true) } else { Err(Misplaced::Refused(self.no_memory())) }
    }

    /// Why there is no stream: not now, or never.
    fn no_stream(&self, at: &Placement<'_>, too_many: NoStream) -> Refused {
        let among = |limit: usize, counted: &dyn Fn(&Stream) -> bool| {
            self.groups.iter().filter(|group| counted(&group.stream)).count() >= limit
        };
        let shared = at.registry.shared();
        let never = match &too_many {
            NoStream::TenantHasTooMany(tenant) => {
                let most = shared.tenants.limits(tenant).streams;
                most.is_some_and(|most| among(most.get(), &|stream| stream.is_of_tenant(tenant)))
            }
            NoStream::TooMany | NoStream::Unfit(_) => {
                among(shared.streams.limit(), &|_| true)
                    || at.route.is_some_and(|route| among(route.limit(), &|stream| stream.is_of(route)))
            }
        };
        if never { Refused::TooManyStreams } else { Refused::Full(too_many.full()) }
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
                    .map(|(at, group)| (Arc::as_ptr(&group.stream).addr(), at))
                    .collect();
            }
            self.by_stream.get(&Arc::as_ptr(&stream).addr()).copied()
        };
        known.unwrap_or_else(|| {
            if self.groups.len() > FEW {
                self.by_stream.insert(Arc::as_ptr(&stream).addr(), self.groups.len());
            }
            self.groups.push(Group {
                stream,
                registry: registry.clone(),
                entries: SmallVec::new(),
                bytes: 0,
                unqueued: !registry.settings().enabled,
                is_own_telemetry: true,
            });
            self.groups.len() - 1
        })
    }

    /// Admits everything that was placed, or nothing; under `shed`, what has no room is left out and returned.
    /// What is reserved for the request is passed on to its entries or given back.
    ///
    /// If it is refused, it is as it was before, and [`Admission::room`] may tell when to try again.
    pub fn commit(&mut self) -> Result<Vec<Shed>, Refused> {
        self.reserve(&StreamLimit::InMemory)?;
        for group in self.groups.drain(..) {
            group.append(None, self.trace);
        }
        Ok(std::mem::take(&mut self.shed))
    }

    /// Whether the request's sender waits for anything that was placed, or would if `all` of it were to be waited for.
    pub fn waits(&self, all: bool) -> bool {
        self.groups.iter().any(|group| group.waits(all))
    }

    /// As [`Admission::commit`], for a request that waits until its entries are settled: `all` of them, or those alone whose
    /// exporters have no queue. What handling it takes stays reserved for as long.
    pub fn commit_with_receipt(&mut self, all: bool) -> Result<(Vec<Shed>, Receipt), Refused> {
        self.reserve(&StreamLimit::InMemory)?;
        let waiting = self.groups.iter().filter(|group| group.waits(all));
        let entries = waiting.map(|group| group.entries.len() as u64).sum();
        let ledger = Arc::new(Ledger::new(entries));
        let mut places = Vec::with_capacity(self.groups.len());
        for group in self.groups.drain(..) {
            if !group.waits(all) {
                group.append(None, self.trace);
                continue;
            }
            let numbers = group.append(Some(&ledger), self.trace);
            places.push((group.stream, numbers));
        }
        let held = self.reservation.split_off(self.overhead);
        Ok((std::mem::take(&mut self.shed), Receipt::new(ledger, places, held)))
    }

    /// Whether nothing has been placed in any stream.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// As [`Admission::commit`], for a request that has to be in the `journal` first; `body` is what its entries borrow from.
    /// It waits as with [`Admission::commit_with_receipt`], if there is anything to wait for.
    pub fn commit_durably(
        &mut self,
        journal: &Journal,
        body: &Bytes,
        all: bool,
    ) -> Result<(Vec<Shed>, Writing), Refused> {
        let bytes = self.groups.iter().map(|group| group.bytes).sum();
        if !journal.would_ever_fit(bytes) {
            return Err(Refused::TooLargeForJournal);
        }
        let Some(room) = journal.room_for(bytes) else {
            let full = if journal.is_failing() { Full::Disk } else { Full::Journal };
            return Err(Refused::Full(full));
        };
        self.reserve(&StreamLimit::OnDisk { most: room.saturating_mul(SHARE), queue: all })?;
        let groups = self.groups.drain(..);
        let groups = groups.map(|group| WrittenGroup::new(group, body, all, self.trace)).collect();
        let sheds = std::mem::take(&mut self.shed);
        let reservation = self.reservation.split_off(self.reservation.bytes());
        Ok((sheds, writing::write(journal, groups, reservation)))
    }

    /// Reserves every group on its stream and all of them on the budget. On success the request's own
    /// reservation has become that.
    fn reserve(&mut self, limit: &StreamLimit) -> Result<(), Refused> {
        self.obstacle = None;
        self.limit = *limit;
        let total: u64 = self.groups.iter().map(|group| group.bytes).sum();
        if total + self.overhead > self.reservation.budget().limit() {
            return Err(Refused::TooLarge);
        }
        let mut reserved_groups = 0;
        // Shed only if the request is admitted: otherwise there may be room for them at the next try.
        let mut left_out = LeftOut::new();
        let mut shares = ReservedShares::default();
        while let Some(group) = self.groups.get_mut(reserved_groups) {
            match group.reserve(limit, &mut shares) {
                Ok(()) => reserved_groups += 1,
                Err(full) if group.sheds() => left_out.push((self.groups.remove(reserved_groups), full)),
                Err(full) => {
                    // What the journal has no room for, or what all streams of a tenant hold, is not soon gone.
                    let may_move = full == Full::Stream;
                    let refused = group.refused(full);
                    if may_move {
                        self.obstacle = Some(Obstacle::Stream(group.stream.clone()));
                    }
                    self.roll_back(reserved_groups);
                    self.groups.extend(left_out.into_iter().map(|(group, _)| group));
                    return Err(refused);
                }
            }
        }
        if !self.take_over() {
            self.without_memory(&mut left_out)?;
        }
        for (group, full) in left_out {
            self.shed_group(&group, &full);
            // It may have been made for this request.
            if matches!(full, Full::Memory | Full::Tenant { .. }) {
                group.registry.abandon(&group.stream);
            }
        }
        if let Some(observer) = &self.observer {
            observer::tell(&**observer, self.signal, &self.groups);
        }
        self.waiter = None;
        Ok(())
    }

    /// Turns what is reserved for the request into what its entries need, if the budget has room for what is missing.
    fn take_over(&mut self) -> bool {
        if self.leave_in_body() {
            return true;
        }
        let needed: u64 = self.groups.iter().map(|group| group.bytes).sum();
        let room = self.reservation.grow(self.missing());
        if room {
            self.reservation.leave(needed);
        }
        room
    }

    /// As [`Self::take_over`], with large entries left in the memory of the body, which then stays reserved as long as they are there. Not
    /// if there are none, or if memory is not plenty.
    fn leave_in_body(&mut self) -> bool {
        let Some(body) = &self.body else { return false };
        if !self.reservation.budget().is_ample() {
            return false;
        }
        let (mut places, mut copied) = (SmallVec::<[_; 16]>::new(), 0);
        for (at, group) in self.groups.iter().enumerate() {
            copied += group.bytes;
            if !group.stream.moves() {
                continue;
            }
            for (nth, piece) in group.entries.iter().enumerate() {
                if let Some(place) = body.place(&piece.bytes) {
                    copied -= place.len() as u64;
                    places.push((at, nth, place));
                }
            }
        }
        let needed = copied + self.overhead + body.bytes();
        if places.is_empty() || !self.reservation.grow(needed.saturating_sub(self.reservation.bytes())) {
            return false;
        }
        self.reservation.leave(copied);
        let body = self.body.take().expect("it is there until now");
        let charged = self.reservation.split_off(body.bytes());
        let body = body.charged(charged);
        for (at, nth, place) in places {
            let bytes = &mut self.groups[at].entries[nth].bytes;
            let frame = place.len() - bytes.len();
            *bytes = EntryBytes::InBody { framed: body.slice(place), frame };
        }
        true
    }

    /// Bytes of the budget that the entries need beyond what is reserved.
    fn missing(&self) -> u64 {
        self.missing_for(|_| true)
    }

    /// The same without those that could be shed: the least that the request can be admitted with.
    fn least_missing(&self) -> u64 {
        self.missing_for(|group| !group.sheds())
    }

    fn missing_for(&self, counts: impl Fn(&Group<'_>) -> bool) -> u64 {
        let needed: u64 = self.groups.iter().filter(|group| counts(group)).map(|group| group.bytes).sum();
        (needed + self.overhead).saturating_sub(self.reservation.bytes())
    }

    /// There is no memory for all: exporters that shed do without, if that leaves enough for those that refuse.
    fn without_memory(&mut self, left_out: &mut LeftOut<'a>) -> Result<(), Refused> {
        for group in std::mem::take(&mut self.groups) {
            if group.sheds() {
                group.stream.unreserve(group.bytes);
                left_out.push((group, Full::Memory));
            } else {
                self.groups.push(group);
            }
        }
        if self.take_over() {
            return Ok(());
        }
        self.roll_back(self.groups.len());
        self.groups.extend(left_out.drain(..).map(|(group, _)| group));
        self.obstacle = Some(Obstacle::Memory(self.budget().clone()));
        Err(Refused::Full(Full::Memory))
    }

    /// Takes back what the first `groups` have reserved.
    fn roll_back(&self, groups: usize) {
        for group in &self.groups[..groups] {
            group.stream.unreserve(group.bytes);
        }
    }

    /// Whether it was refused for want of room that there may be soon.
    pub fn may_wait(&self) -> bool {
        self.obstacle.as_ref().is_some_and(Obstacle::moves)
    }

    /// Waits until another try is worth while, for as long as there is `patience`, and if not too many wait already.
    /// False: it has to be refused.
    pub async fn room(&mut self, patience: &mut Patience) -> bool {
        let (mut waiter, budget) = (self.waiter.take(), self.budget().clone());
        let Some(mut obstacle) = self.obstacle.take().filter(|_| !patience.is_over()) else { return false };
        let Some(_permit) = budget.wait_permit(self.reservation.bytes(), 0) else { return false };
        // Others need their places more, and they are easily had again.
        self.abandon_streams();
        loop {
            // Whom another request was faster than keeps its place. Elsewhere it is the last, and those behind it go on here.
            if !waiter.as_ref().is_some_and(|waiter| waiter.queue().is(&obstacle)) {
                drop(waiter.take());
                waiter = obstacle.join();
            }
            let Some(waiting) = &waiter else { return false };
            let look = || match self.obstacle_now(&budget) {
                None => Some(Looked::Room),
                Some(other) if !other.is(waiting.queue()) => Some(Looked::OtherObstacle(other)),
                Some(_) => None,
            };
            match waiting.until(patience.end(), look).await {
                None => return false,
                Some(Looked::Room) => {
                    self.waiter = waiter;
                    return true;
                }
                Some(Looked::OtherObstacle(other)) => obstacle = other,
            }
        }
    }

    /// What there is no room in now.
    fn obstacle_now(&self, budget: &Arc<Budget>) -> Option<Obstacle> {
        let full = |group: &&Group<'_>| !group.sheds() && !group.has_room(&self.limit);
        if let Some(group) = self.groups.iter().find(full) {
            return Some(Obstacle::Stream(group.stream.clone()));
        }
        (!budget.has_room(self.least_missing())).then(|| Obstacle::Memory(budget.clone()))
    }

    /// Forgets streams that were made for this request.
    fn abandon_streams(&self) {
        for group in &self.groups {
            group.registry.abandon(&group.stream);
        }
    }

    fn shed_group(&mut self, group: &Group<'_>, full: &Full) {
        group.log_decision(&format_args!("entries shed: {full}"));
        self.shed.extend(group.entries.iter().map(|piece| {
            let name = group.stream.name().clone();
            Shed::new(&group.registry, piece.index, name, piece.records, &piece.bytes, full.clone())
        }));
    }
}

impl Drop for Admission<'_> {
    /// What is still here was not admitted.
    fn drop(&mut self) {
        self.abandon_streams();
    }
}

impl<'a> From<&Cow<'a, [u8]>> for EntryBytes<'a> {
    fn from(entry: &Cow<'a, [u8]>) -> Self {
        match entry {
            Cow::Borrowed(bytes) => Self::Borrowed(bytes),
            Cow::Owned(bytes) => Self::Owned(Bytes::copy_from_slice(bytes)),
        }
    }
}
