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
//! Whether a success is to be noted is told by a flag among the figures of its stream, so that one that nobody wants to
//! know of costs a relaxed load. While a list takes successes, the flag of each live stream is set whose attempts belong into it:
//! a look makes the list take them first and then sets the flags, a stream that begins looks for lists once looks
//! find it, and a flag is taken back with the lists locked. It may stay set for longer than needed, until the stream's next attempt.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::queue::Stream;
use super::{Registry, Shared, StreamName};

/// Attempts in a list.
const EACH: usize = 20;

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
    pub stream: AttemptedStream,
    /// When it was answered.
    pub at: SystemTime,
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

/// A stream among those of all exporters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptedStream {
    /// The exporter's name.
    pub exporter: Arc<str>,
    /// Its name among the streams of the exporter.
    pub name: StreamName,
}

/// The lists that are kept.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<AttemptLists>);

#[derive(Debug)]
struct AttemptLists {
    streams: ListsOf<AttemptedStream>,
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
    /// Notes an attempt, and the tenant whose data the stream holds, if that is one's. Returns whether successes of the stream are to
    /// be noted from now on.
    fn note(&mut self, tenant: Option<&Arc<str>>, failed: bool, attempt: StreamAttempt) -> bool {
        let (attempt, now) = (Arc::new(attempt), Instant::now());
        let of_stream = self.streams.note(&attempt.stream, failed, &attempt, now);
        let of_exporter = self.exporters.note(&attempt.stream.exporter, failed, &attempt, now);
        let of_tenant = tenant.is_some_and(|tenant| self.tenants.note(tenant, failed, &attempt, now));
        of_stream || of_exporter || of_tenant
    }

    /// Whether a list takes successes of this stream.
    fn take_successes(&self, stream: &AttemptedStream, tenant: Option<&Arc<str>>) -> bool {
        let now = Instant::now();
        self.streams.take_successes(stream, now)
            || self.exporters.take_successes(&stream.exporter, now)
            || tenant.is_some_and(|tenant| self.tenants.take_successes(tenant, now))
    }

    fn sweep(&mut self) {
        self.streams.sweep();
        self.exporters.sweep();
        self.tenants.sweep();
    }
}

impl<Id: Clone + Eq + Hash> ListsOf<Id> {
    fn new(most: usize, shows_recovery: bool) -> Self {
        Self { most, shows_recovery, lists: HashMap::new() }
    }

    /// Notes an attempt of what has this id. Returns whether its list takes successes.
    fn note(&mut self, id: &Id, failed: bool, attempt: &Arc<StreamAttempt>, now: Instant) -> bool {
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
        let takes_successes = now < list.takes_successes_until;
        if failed || takes_successes {
            list.push(attempt.clone());
        }
        takes_successes
    }

    fn take_successes(&self, id: &Id, now: Instant) -> bool {
        self.lists.get(id).is_some_and(|list| now < list.takes_successes_until)
    }

    /// What is in the list of this id, the newest first; from now on it takes successes.
    fn look(&mut self, id: &Id) -> Vec<Arc<StreamAttempt>> {
        if self.lists.len() >= self.most
            && !self.lists.contains_key(id)
            && let Some((first, _)) = self.lists.iter().min_by_key(|(_, list)| list.kept_until)
        {
            let first = first.clone();
            self.lists.remove(&first);
        }
        let now = Instant::now();
        let list = self.lists.entry(id.clone()).or_insert_with(|| AttemptList::new(now));
        list.kept_until = now + KEPT;
        list.takes_successes_until = now + KEPT;
        list.attempts.iter().rev().cloned().collect()
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        self.lists.retain(|_, list| now < list.kept_until);
        self.lists.shrink_to_fit();
    }
}

impl AttemptList {
    fn new(now: Instant) -> Self {
        Self { attempts: VecDeque::new(), bytes: 0, kept_until: now, takes_successes_until: now }
    }

    fn push(&mut self, attempt: Arc<StreamAttempt>) {
        self.bytes += attempt.size();
        self.attempts.push_back(attempt);
        while self.attempts.len() > EACH || self.bytes > EACH_BYTES {
            let Some(oldest) = self.attempts.pop_front() else { return };
            self.bytes -= oldest.size();
        }
    }
}

impl Attempts {
    /// Forgets lists that nobody wants any more.
    pub(super) fn sweep(&self) {
        self.0.lock().sweep();
    }
}

impl Stream {
    /// Notes how an attempt went if it has `failed`, or if somebody has looked at this stream, its exporter or its tenant lately.
    pub fn note_attempt(&self, failed: bool, attempt: impl FnOnce() -> StreamAttempt) {
        if failed || self.figures.notes_successes() {
            let attempt = attempt();
            let mut lists = self.registry().shared().attempts.0.lock();
            let notes_successes = lists.note(self.tenant(), failed, attempt);
            self.figures.set_notes_successes(notes_successes);
        }
    }

    /// Has successes noted if somebody has looked lately. Looks at all streams must find it by now.
    pub(super) fn begin_to_note(&self) {
        let (exporter, name) = (self.registry().exporter().clone(), self.name().clone());
        let lists = self.registry().shared().attempts.0.lock();
        if lists.take_successes(&AttemptedStream { exporter, name }, self.tenant()) {
            self.figures.set_notes_successes(true);
        }
    }

    fn tenant(&self) -> Option<&Arc<str>> {
        self.account().map(|account| account.id())
    }
}

impl Registry {
    /// The last attempts that are known of the stream of this name, the newest first. Once this was asked, all are noted that
    /// come within the next ten minutes.
    pub fn attempts_of(&self, name: &StreamName) -> Vec<Arc<StreamAttempt>> {
        let stream = AttemptedStream { exporter: self.exporter().clone(), name: name.clone() };
        let attempts = self.shared().attempts.0.lock().streams.look(&stream);
        if let Some(stream) = self.find(name) {
            stream.figures.set_notes_successes(true);
        }
        attempts
    }

    /// The same of all streams of the exporter. It looks at each that lives.
    pub fn attempts(&self) -> Vec<Arc<StreamAttempt>> {
        let attempts = self.shared().attempts.0.lock().exporters.look(self.exporter());
        self.scan(|stream| stream.note_successes());
        attempts
    }
}

impl Shared {
    /// As [`Registry::attempts_of`], of all streams of a tenant. `registries` are those of all exporters: it looks at each
    /// of their streams.
    pub fn attempts_of_tenant<'r>(
        &self,
        id: &Arc<str>,
        registries: impl Iterator<Item = &'r Registry>,
    ) -> Vec<Arc<StreamAttempt>> {
        let attempts = self.attempts.0.lock().tenants.look(id);
        if let Some(account) = self.tenants.known_account(id) {
            for registry in registries {
                registry.scan(|stream| {
                    if stream.account_number() == Some(account.number()) {
                        stream.note_successes();
                    }
                });
            }
        }
        attempts
    }
}

#[cfg(test)]
pub(super) mod tests;
