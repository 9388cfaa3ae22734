//! The last attempts to send something, for people who ask why a stream, an exporter or a tenant suffers.
//!
//! An attempt is one of its stream, of that stream's exporter, and, if the stream holds a tenant's data, of that tenant. Each of
//! them may have a list of its last attempts:
//!
//! - A list begins with a failure or when somebody looks at it, and is kept until ten minutes after the last of both.
//! - Failures are noted in every list that there is. Successes are noted in a list for ten minutes after each look at it; in a
//!   stream's also for ten minutes after each failure, so that it shows how the stream went on. In an exporter's or a
//!   tenant's they are not: one stream that fails would have those of thousands of healthy ones noted.
//! - While as many lists of a kind are kept as there is room for, a failure begins no other, so that noting one stays cheap however
//!   many fail. A list that is looked at takes the place of the one that would be forgotten first.
//!
//! A success that nobody wants to know of takes no lock and allocates nothing:
//!
//! - Whether the list of its stream takes it is told by a flag among the figures of the stream. While a list takes successes, the
//!   flag of its stream is set if that lives: a look makes the list take them first and then sets the flag, and a stream that begins
//!   looks for its list. It may stay set for longer than needed, until the stream's next attempt.
//! - The exporters and tenants whose lists take successes are in [`NotedSuccesses`], which is replaced when a list begins to take them.
//!   Thousands of streams may have such a list in common, so it takes no more than [`EACH`] successes a second, which are counted there.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::StreamAddress;
use super::figures::StreamFigures;

/// Attempts in a list.
const EACH: usize = 20;

/// Successes in a list that is full, if it has failures as well: however many successes there are, they leave room for the last
/// failures.
const SUCCESSES: usize = EACH / 2;

/// Bytes that a list takes: it has fewer attempts if they have much to say.
const EACH_BYTES: usize = 12 << 10;

/// Lists of streams. With those of tenants and exporters, all lists together take less than 20 MiB.
const STREAMS: usize = 1_000;

/// Lists of tenants.
const TENANTS: usize = 500;

/// Lists of exporters.
const EXPORTERS: usize = 100;

/// How long a list is kept, and takes successes.
const KEPT: Duration = Duration::from_secs(600);

/// One attempt to send a batch, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAttempt {
    /// The stream that the batch is of.
    pub stream: StreamAddress,
    /// When it was answered.
    pub at: SystemTime,
    /// Whether it was no full success.
    pub failed: bool,
    /// As the `code` of `sluice_export_attempts_total`.
    pub code: Cow<'static, str>,
    /// Where it was sent, without what may be secret, at most some 256 characters.
    pub target: Box<str>,
    /// From when it asked for its turn to its answer.
    pub took: Duration,
    /// Protobuf bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Whether it was a part of a batch that is divided.
    pub is_part: bool,
    /// The upstream's words, without secrets, at most some 256 characters; empty if it has said nothing.
    pub message: Box<str>,
}

/// What is known of last attempts.
#[derive(Debug)]
pub(super) struct RecentAttempts {
    lists: Mutex<AttemptLists>,
    /// Whether the list of a stream may take successes, so that a stream that begins has to look for its own.
    streams_take_successes: AtomicBool,
    noted_successes: ArcSwap<NotedSuccesses>,
    /// What the seconds are counted from in which successes are counted.
    began: Instant,
}

/// The exporters and tenants whose lists take successes.
#[derive(Debug, Default)]
struct NotedSuccesses {
    exporters: SuccessCounts,
    tenants: SuccessCounts,
}

type SuccessCounts = HashMap<Arc<str>, Arc<SuccessCount>>;

/// How many successes a list has taken within the second of the last one: the second in the upper half, the count in the lower one.
#[derive(Debug, Default)]
struct SuccessCount(AtomicU64);

/// Which lists are to have an attempt.
#[derive(Clone, Copy, Debug)]
struct WantedBy {
    stream: bool,
    exporter: bool,
    tenant: bool,
}

/// What is not in a list any more, to be dropped once the lists are not locked.
type Forgotten = Vec<Arc<StreamAttempt>>;

#[derive(Debug)]
struct AttemptLists {
    streams: ListsOf<StreamAddress>,
    exporters: ListsOf<Arc<str>>,
    tenants: ListsOf<Arc<str>>,
}

/// The lists of one kind.
#[derive(Debug)]
struct ListsOf<Id> {
    most: usize,
    /// Whether a list takes successes after a failure, and not only after a look.
    shows_recovery: bool,
    lists: HashMap<Id, AttemptList>,
}

/// Of one stream, exporter or tenant.
#[derive(Debug)]
struct AttemptList {
    /// The newest last.
    attempts: VecDeque<Arc<StreamAttempt>>,
    /// What they take.
    bytes: usize,
    kept_until: Instant,
    takes_successes_until: Instant,
}

impl StreamAttempt {
    /// What it takes in a list, with what of it others may share.
    fn size(&self) -> usize {
        let (inner, pointers) = (size_of::<Self>(), 3 * size_of::<usize>());
        let key = self.stream.name.key.as_written();
        inner + pointers + self.code.len() + self.target.len() + self.message.len() + key.len()
    }
}

impl Default for AttemptLists {
    fn default() -> Self {
        Self {
            streams: ListsOf::new(STREAMS, true),
            exporters: ListsOf::new(EXPORTERS, false),
            tenants: ListsOf::new(TENANTS, false),
        }
    }
}

impl AttemptLists {
    /// Notes an attempt, and the tenant whose data the stream holds, if that is one's, in the lists that are to have it. Returns
    /// whether the stream's takes successes from now on.
    fn note(
        &mut self,
        tenant: Option<&Arc<str>>,
        attempt: &Arc<StreamAttempt>,
        by: WantedBy,
        forgotten: &mut Forgotten,
    ) -> bool {
        let (stream, now) = (&attempt.stream, Instant::now());
        if by.exporter {
            self.exporters.note(&stream.exporter, attempt, now, forgotten);
        }
        if by.tenant
            && let Some(tenant) = tenant
        {
            self.tenants.note(tenant, attempt, now, forgotten);
        }
        by.stream && self.streams.note(stream, attempt, now, forgotten)
    }

    /// Looks at the list of a stream. One that begins has what those of its exporter and its tenant know of the stream.
    fn look_at_stream(
        &mut self,
        stream: &StreamAddress,
        forgotten: &mut Forgotten,
    ) -> Vec<Arc<StreamAttempt>> {
        if !self.streams.lists.contains_key(stream) {
            let known = self.known_elsewhere(stream);
            self.streams.look(stream, forgotten);
            if let Some(list) = self.streams.lists.get_mut(stream) {
                for attempt in known {
                    list.push(attempt, forgotten);
                }
            }
        }
        self.streams.look(stream, forgotten).attempts
    }

    /// Attempts of a stream in the lists of its exporter and its tenant, the newest last.
    fn known_elsewhere(&self, stream: &StreamAddress) -> Vec<Arc<StreamAttempt>> {
        let of_tenant = stream.name.key.tenant().and_then(|tenant| self.tenants.lists.get(tenant));
        let lists = self.exporters.lists.get(&stream.exporter).into_iter().chain(of_tenant);
        let all = lists.flat_map(|list| &list.attempts).filter(|attempt| attempt.stream == *stream);
        let mut known: Vec<Arc<StreamAttempt>> = Vec::new();
        for attempt in all {
            if !known.iter().any(|other| Arc::ptr_eq(other, attempt)) {
                known.push(attempt.clone());
            }
        }
        known.sort_by_key(|attempt| attempt.at);
        known
    }

    fn sweep(&mut self, forgotten: &mut Forgotten) {
        self.streams.sweep(forgotten);
        self.exporters.sweep(forgotten);
        self.tenants.sweep(forgotten);
    }
}

/// What a look at a list has found.
struct ListLook {
    /// The newest first.
    attempts: Vec<Arc<StreamAttempt>>,
    /// Whether the list takes successes only from this look on.
    begins_to_take: bool,
}

impl<Id: Clone + Eq + Hash> ListsOf<Id> {
    fn new(most: usize, shows_recovery: bool) -> Self {
        Self { most, shows_recovery, lists: HashMap::new() }
    }

    /// Notes an attempt of what has this id. Returns whether its list takes successes.
    fn note(
        &mut self,
        id: &Id,
        attempt: &Arc<StreamAttempt>,
        now: Instant,
        forgotten: &mut Forgotten,
    ) -> bool {
        let failed = attempt.failed;
        if failed && self.lists.len() < self.most && !self.lists.contains_key(id) {
            self.lists.insert(id.clone(), AttemptList::new(now));
        }
        let Some(list) = self.lists.get_mut(id) else { return false };
        if failed {
            list.kept_until = now + KEPT;
            if self.shows_recovery {
                list.takes_successes_until = now + KEPT;
            }
        }
        let takes_successes = list.takes_successes(now);
        if failed || takes_successes {
            list.push(attempt.clone(), forgotten);
        }
        takes_successes
    }

    /// Looks at the list of this id; from now on it takes successes.
    fn look(&mut self, id: &Id, forgotten: &mut Forgotten) -> ListLook {
        if self.lists.len() >= self.most
            && !self.lists.contains_key(id)
            && let Some((first, _)) = self.lists.iter().min_by_key(|(_, list)| list.kept_until)
        {
            let first = first.clone();
            forgotten.extend(self.lists.remove(&first).into_iter().flat_map(|list| list.attempts));
        }
        let now = Instant::now();
        let list = self.lists.entry(id.clone()).or_insert_with(|| AttemptList::new(now));
        let begins_to_take = !list.takes_successes(now);
        list.kept_until = now + KEPT;
        list.takes_successes_until = now + KEPT;
        ListLook { attempts: list.attempts.iter().rev().cloned().collect(), begins_to_take }
    }

    fn sweep(&mut self, forgotten: &mut Forgotten) {
        let now = Instant::now();
        let over = self.lists.extract_if(|_, list| now >= list.kept_until);
        forgotten.extend(over.flat_map(|(_, list)| list.attempts));
        self.lists.shrink_to_fit();
    }
}

impl ListsOf<Arc<str>> {
    /// Of all that take successes, how many they have taken, where that was counted `before`.
    fn success_counts(&self, before: &SuccessCounts, now: Instant) -> SuccessCounts {
        let taking = self.lists.iter().filter(|(_, list)| list.takes_successes(now));
        taking.map(|(id, _)| (id.clone(), before.get(id).cloned().unwrap_or_default())).collect()
    }
}

impl AttemptList {
    fn new(now: Instant) -> Self {
        Self { attempts: VecDeque::new(), bytes: 0, kept_until: now, takes_successes_until: now }
    }

    fn takes_successes(&self, now: Instant) -> bool {
        now < self.takes_successes_until
    }

    fn push(&mut self, attempt: Arc<StreamAttempt>, forgotten: &mut Forgotten) {
        self.bytes += attempt.size();
        self.attempts.push_back(attempt);
        while self.attempts.len() > EACH || self.bytes > EACH_BYTES {
            let successes = self.attempts.iter().filter(|attempt| !attempt.failed).count();
            let first_success = || self.attempts.iter().position(|attempt| !attempt.failed);
            let at = if successes > SUCCESSES { first_success() } else { None };
            let Some(oldest) = self.attempts.remove(at.unwrap_or(0)) else { return };
            self.bytes -= oldest.size();
            forgotten.push(oldest);
        }
    }
}

impl SuccessCount {
    /// Counts one more in this second, unless it has had as many as a list has room for.
    fn take(&self, second: u64) -> bool {
        let more = |counted: u64| match (counted >> 32 == second, counted & u64::from(u32::MAX)) {
            (true, count) if count >= EACH as u64 => None,
            (true, _) => Some(counted + 1),
            (false, _) => Some(second << 32 | 1),
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl WantedBy {
    const ALL: Self = Self { stream: true, exporter: true, tenant: true };

    const fn any(self) -> bool {
        self.stream || self.exporter || self.tenant
    }
}

impl Default for RecentAttempts {
    fn default() -> Self {
        Self {
            lists: Mutex::default(),
            streams_take_successes: AtomicBool::new(false),
            noted_successes: ArcSwap::default(),
            began: Instant::now(),
        }
    }
}

impl RecentAttempts {
    /// Forgets lists that nobody wants any more.
    pub(super) fn sweep(&self) {
        let mut forgotten = Forgotten::new();
        let mut lists = self.lists.lock();
        lists.sweep(&mut forgotten);
        let now = Instant::now();
        let streams_take_successes = lists.streams.lists.values().any(|list| list.takes_successes(now));
        self.streams_take_successes.store(streams_take_successes, Ordering::Relaxed);
        self.replace_noted_successes(&lists);
    }

    /// Which lists are to have a success, of which those of the exporter and the tenant count it. `stream` says whether that of the
    /// stream is.
    fn wanted_by(&self, stream: bool, exporter: &str, tenant: Option<&Arc<str>>) -> WantedBy {
        let noted_successes = self.noted_successes.load();
        let takes = |counts: &SuccessCounts, id: &str| {
            counts.get(id).is_some_and(|count| count.take(self.began.elapsed().as_secs()))
        };
        WantedBy {
            stream,
            exporter: takes(&noted_successes.exporters, exporter),
            tenant: tenant.is_some_and(|tenant| takes(&noted_successes.tenants, tenant)),
        }
    }

    /// The last attempts that are known of a stream, the newest first. Once this was asked, all are noted that come within the next
    /// ten minutes, if the stream is then told to note its successes.
    pub(super) fn of_stream(&self, stream: &StreamAddress) -> Vec<Arc<StreamAttempt>> {
        let mut forgotten = Forgotten::new();
        let mut lists = self.lists.lock();
        self.streams_take_successes.store(true, Ordering::Relaxed);
        lists.look_at_stream(stream, &mut forgotten)
    }

    /// The same of all streams of an exporter, of whose successes no more than twenty a second are noted.
    pub(super) fn of_exporter(&self, name: &Arc<str>) -> Vec<Arc<StreamAttempt>> {
        self.look(|lists| &mut lists.exporters, name)
    }

    /// The same of all streams of a tenant.
    pub(super) fn of_tenant(&self, id: &Arc<str>) -> Vec<Arc<StreamAttempt>> {
        self.look(|lists| &mut lists.tenants, id)
    }

    /// Looks at the list of an exporter or a tenant, which is of the kind that `of` says.
    fn look(
        &self,
        of: impl FnOnce(&mut AttemptLists) -> &mut ListsOf<Arc<str>>,
        id: &Arc<str>,
    ) -> Vec<Arc<StreamAttempt>> {
        let mut forgotten = Forgotten::new();
        let mut lists = self.lists.lock();
        let look = of(&mut lists).look(id, &mut forgotten);
        if look.begins_to_take {
            self.replace_noted_successes(&lists);
        }
        look.attempts
    }

    fn replace_noted_successes(&self, lists: &AttemptLists) {
        let (before, now) = (self.noted_successes.load(), Instant::now());
        self.noted_successes.store(Arc::new(NotedSuccesses {
            exporters: lists.exporters.success_counts(&before.exporters, now),
            tenants: lists.tenants.success_counts(&before.tenants, now),
        }));
    }

    /// Notes how an attempt of a stream went if it has `failed`, or if somebody has looked at the stream with these figures, its exporter or
    /// its tenant lately.
    pub(super) fn note(
        &self,
        figures: &StreamFigures,
        exporter: &Arc<str>,
        tenant: Option<&Arc<str>>,
        failed: bool,
        attempt: impl FnOnce() -> StreamAttempt,
    ) {
        let by =
            if failed { WantedBy::ALL } else { self.wanted_by(figures.notes_successes(), exporter, tenant) };
        if !by.any() {
            return;
        }
        let (attempt, mut forgotten) = (Arc::new(attempt()), Forgotten::with_capacity(3));
        let mut lists = self.lists.lock();
        let takes_successes = lists.note(tenant, &attempt, by, &mut forgotten);
        if by.stream {
            figures.set_notes_successes(takes_successes);
        }
        if takes_successes {
            self.streams_take_successes.store(true, Ordering::Relaxed);
        }
    }

    /// Has successes of a new stream noted if the list of its name takes some. A look at that list which comes too early to find the stream
    /// in its registry has set `streams_take_successes` by now.
    pub(super) fn begin(&self, figures: &StreamFigures, stream: impl FnOnce() -> StreamAddress) {
        if !self.streams_take_successes.load(Ordering::Relaxed) {
            return;
        }
        let lists = self.lists.lock();
        let list = lists.streams.lists.get(&stream());
        if list.is_some_and(|list| list.takes_successes(Instant::now())) {
            figures.set_notes_successes(true);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
