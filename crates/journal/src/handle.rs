//! The journal as the streams see it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle as TaskHandle};
use tokio::time::{Instant, timeout_at};

use super::buffer::ReadBuffers;
use super::catalog::SharedCatalog;
use super::checkpoint::Checkpoints;
use super::chunk::Chunk;
use super::closing::Closing;
use super::commit::Committer;
use super::compaction::Compactor;
use super::directory::JournalDirectory;
use super::disk::Disk;
use super::format::Purpose;
use super::health::DiskHealth;
use super::layer::LayeredDisk;
use super::maintenance::Maintenance;
use super::pending::PendingChanges;
use super::read::read_batches;
use super::recovery::{Recovered, last, recover};
use super::seal::seal_closed;
use super::store::Store;
use super::supply::SegmentSupply;
use super::types::{
    AppendCallback, Failing, JournalSettings, JournalState, OpenError, ReadError, RecoveredStream, Recovery,
    StreamEntries, StreamId, StreamKey, Unwritten,
};
use super::writer::Writer;

/// Keys, indexes and padding are small beside the entries, but they are there.
fn about_on_disk(bytes: u64) -> u64 {
    bytes + bytes / 16 + 4096
}

/// A queue on disk that many streams share. Clones are the same journal; the last one that goes closes it.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<OpenJournal>,
}

struct OpenJournal {
    objects: Arc<Objects>,
    /// None if the journal is driven by hand.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Whether somebody has begun to close it.
    closing: AtomicBool,
    by_hand: bool,
}

/// The objects that a journal consists of.
pub(super) struct Objects {
    settings: JournalSettings,
    pub(super) store: Store,
    supply: Arc<SegmentSupply>,
    committer: Committer,
    checkpoints: Arc<Checkpoints>,
    pub(super) maintenance: Maintenance,
    /// The directory is this process's as long as this is there.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// What a thread does until the journal is closed.
type ThreadBody = fn(&Objects);

impl fmt::Debug for OpenJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("settings", &self.objects.settings).finish_non_exhaustive()
    }
}

impl Objects {
    /// Recovers what is in a directory, and puts the objects together.
    fn open(
        settings: JournalSettings,
        disk: Arc<dyn Disk>,
        patience: Duration,
    ) -> Result<(Self, Recovery), OpenError> {
        let pending = Arc::new(PendingChanges::new(patience));
        let disk: Arc<dyn Disk> = Arc::new(LayeredDisk { disk, layer: pending.clone() });
        let Recovered { catalog, positions, segment_size, lock, recovery } = recover(&settings, &disk)?;
        let log = last(&catalog.segments, Purpose::Log);
        let copies = last(&catalog.segments, Purpose::Compacted);
        let catalog: SharedCatalog = Arc::new(Mutex::new(catalog));
        let path = settings.directory.display().to_string();
        let health = positions.identities().and_then(|files| {
            DiskHealth::new(disk.clone(), catalog.clone(), pending.clone(), path.clone(), files)
        });
        let health = Arc::new(health.map_err(|source| OpenError::Io { directory: path, source })?);
        let (closing, buffers) = (Arc::new(Closing::default()), Arc::new(ReadBuffers::default()));
        let store = Store { disk, catalog, health, pending, closing, buffers };
        let supply = Arc::new(SegmentSupply::new(store.clone(), settings.max_size, segment_size));
        // Without room for their indexes, segments are found by their records next time as well.
        seal_closed(&store);
        let checkpoints = Arc::new(Checkpoints {
            positions: Mutex::new(positions),
            store: store.clone(),
            supply: supply.clone(),
        });
        let compactor = Compactor {
            writer: Writer::behind(copies),
            left_alone: BTreeMap::new(),
            store: store.clone(),
            supply: supply.clone(),
            checkpoints: checkpoints.clone(),
        };
        let objects = Self {
            committer: Committer::new(log, settings.sync, store.clone(), supply.clone()),
            maintenance: Maintenance { compactor: Mutex::new(compactor) },
            lock: Mutex::new(Some(lock)),
            settings,
            store,
            supply,
            checkpoints,
        };
        Ok((objects, recovery))
    }

    /// Writes the requests that wait, ends the threads, makes everything durable, and unlocks the directory.
    fn close(&self, threads: Vec<JoinHandle<()>>) {
        self.committer.queue.close();
        while self.committer.commit_once() {}
        self.store.closing.close();
        for thread in threads {
            // Its panic has been told where it happened.
            let _ = thread.join();
        }
        self.committer.finish();
        self.maintenance.finish();
        *self.lock.lock() = None;
    }
}

impl Journal {
    /// Takes the directory, recovers what is in it, and starts the journal's threads. Blocks.
    pub fn open(settings: JournalSettings) -> Result<(Self, Recovery), OpenError> {
        let disk = Arc::new(JournalDirectory::new(&settings.directory));
        Self::open_on_disk(settings, disk, JournalSettings::PATIENCE)
    }

    /// The same on any disk, which counts as hanging if it takes longer than `patience` for an answer.
    pub fn open_on_disk(
        settings: JournalSettings,
        disk: Arc<dyn Disk>,
        patience: Duration,
    ) -> Result<(Self, Recovery), OpenError> {
        let (journal, recovery) = Self::open_on(settings, disk, patience, false)?;
        let threads: [(&str, ThreadBody); 4] = [
            ("journal-commit", |objects| objects.committer.commit_until_closed()),
            ("journal-maintain", |objects| objects.maintenance.run_until_closed(&objects.store.closing)),
            ("journal-report", |objects| objects.store.health.report_until_closed(&objects.store.closing)),
            ("journal-check", |objects| objects.store.health.check_until_closed(&objects.store.closing)),
        ];
        for (name, run) in threads {
            let objects = journal.inner.objects.clone();
            let started = thread::Builder::new().name(name.to_owned()).spawn(move || run(&objects));
            let directory = || journal.inner.objects.settings.directory.display().to_string();
            let thread = started.map_err(|source| OpenError::Io { directory: directory(), source })?;
            journal.inner.threads.lock().push(thread);
        }
        Ok((journal, recovery))
    }

    /// The same on any disk, and without threads: nothing is written but by `Journal::commit_once`, nothing freed but by
    /// `Journal::tend_once`. For tests that decide what happens when.
    #[cfg(any(test, feature = "simulation"))]
    pub fn open_by_hand(
        settings: JournalSettings,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(settings, disk, JournalSettings::PATIENCE, true)
    }

    fn open_on(
        settings: JournalSettings,
        disk: Arc<dyn Disk>,
        patience: Duration,
        by_hand: bool,
    ) -> Result<(Self, Recovery), OpenError> {
        let (objects, recovery) = Objects::open(settings, disk, patience)?;
        let (threads, closing) = (Mutex::default(), AtomicBool::new(false));
        let inner = OpenJournal { objects: Arc::new(objects), threads, closing, by_hand };
        Ok((Self { inner: Arc::new(inner) }, recovery))
    }

    /// Does work that blocks, such as [`Journal::read`] and [`Journal::close`], on a thread of the runtime for such work, where it
    /// delays nobody. A journal that is driven by hand has no threads, and does it at once.
    pub async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        if self.inner.by_hand {
            return Ok(work(self));
        }
        self.begin_aside(work).await
    }

    /// Begins work that blocks and whose result will be asked for later. `None`, and nothing is begun, if the journal is driven by
    /// hand: there everything happens when it is told to.
    pub fn ahead<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<TaskHandle<T>> {
        (!self.inner.by_hand).then(|| self.begin_aside(work))
    }

    fn begin_aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> TaskHandle<T> {
        let journal = self.clone();
        tokio::task::spawn_blocking(move || work(&journal))
    }

    /// Writes one group of the requests that wait. Whether there was one.
    #[cfg(any(test, feature = "simulation"))]
    pub fn commit_once(&self) -> bool {
        self.inner.objects.committer.commit_once()
    }

    /// Does one round of maintenance. Afterwards the positions are durable, if the disk can be written.
    #[cfg(any(test, feature = "simulation"))]
    pub fn tend_once(&self) {
        self.inner.objects.maintenance.run_once(true);
    }

    /// The handle of a stream, which is made if it is not known. Nothing is written before its first entry, with which it gets
    /// its number. The handle is valid until it is given back: each call is followed by one of [`Journal::forget`], unless the
    /// process ends.
    pub fn stream(&self, key: &StreamKey) -> StreamId {
        self.inner.objects.store.catalog.lock().streams.id(key)
    }

    /// As [`Journal::stream`], for a stream that was recovered: the handle under which its backlog is read.
    pub fn stream_again(&self, found: &RecoveredStream) -> StreamId {
        self.inner.objects.store.catalog.lock().streams.id_again(found)
    }

    /// Gives a stream's handle back. When all of its handles have been given back, and none of its entries is on disk any more,
    /// the stream is forgotten, and its key begins anew.
    pub fn forget(&self, stream: StreamId) {
        self.inner.objects.store.catalog.lock().streams.release(stream);
    }

    /// Queues one request to be written. `done` is called on the journal's thread, for all requests in the order in
    /// which they stand in the log, once the request is durable as `sync` says, or with the reason why it was refused; then
    /// nothing of it is in the journal, and its sequence numbers go to others. Never blocks.
    ///
    /// There is one way in which something of a refused request can be there after all: if the disk failed, and the
    /// process ends before it works again.
    pub fn append(&self, request: Vec<StreamEntries>, done: AppendCallback) {
        self.inner.objects.committer.append(request, done);
    }

    /// Settles entries of a stream: they need not be kept any longer. In any order, usually rising. Never blocks.
    pub fn settle(&self, stream: StreamId, sequences: RangeInclusive<u64>) {
        self.inner.objects.store.catalog.lock().streams.settle(stream, &sequences);
    }

    /// The objects that the journal consists of.
    #[cfg(test)]
    pub(crate) fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    /// The number of a stream that has something on disk.
    #[cfg(test)]
    pub(crate) fn number(&self, stream: StreamId) -> u64 {
        self.inner.objects.store.catalog.lock().streams.number(stream).unwrap()
    }

    /// The sequence numbers of a stream from the first that is not settled to the last that was given; nothing if all are
    /// settled.
    #[cfg(any(test, feature = "simulation"))]
    pub fn unsettled(&self, stream: StreamId) -> Option<Range<u64>> {
        let catalog = self.inner.objects.store.catalog.lock();
        let known = catalog.streams.table.get(&catalog.streams.number(stream)?)?;
        let position = known.settled.position();
        (position < known.next).then_some(position..known.next)
    }

    /// The entries of a stream with these sequence numbers, in order: at most `max_bytes`, unless the first entry alone is
    /// larger. Settled entries are left out. Damaged ones are left out and settled, and so are numbers that no entry has in front
    /// of one that an entry has. Empty if there are no entries. Blocks.
    ///
    /// An entry can be read a moment before `done` of its request is called. A caller that must be told of it first ends `numbers`
    /// behind the last entry that it has been told of.
    pub fn read(
        &self,
        stream: StreamId,
        numbers: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Chunk>, ReadError> {
        Ok(self.read_batches(stream, numbers, max_bytes, 1)?.pop_front().unwrap_or_default())
    }

    /// The same as several batches, one behind the other; as many as there is enough for, and `batches` at most. They are read
    /// together, which takes a disk little longer than one.
    pub fn read_batches(
        &self,
        stream: StreamId,
        numbers: Range<u64>,
        max_bytes: usize,
        batches: usize,
    ) -> Result<VecDeque<Vec<Chunk>>, ReadError> {
        Ok(read_batches(&self.inner.objects.store, stream, numbers, max_bytes, batches)?)
    }

    /// How many bytes there is room for, if a request of `bytes` (its entries, for all streams) would be taken now, behind
    /// the requests that wait; `None` if it would not. `None` while the disk fails.
    pub fn room_for(&self, bytes: u64) -> Option<u64> {
        let Objects { store, supply, committer, .. } = &*self.inner.objects;
        let (requests, waiting) = committer.queue.waiting();
        if self.is_failing() {
            return None;
        }
        let catalog = store.catalog.lock();
        let wanted = waiting + about_on_disk(bytes) + requests * 512;
        let unused = supply.unused(&catalog);
        let more = catalog.ready_room + if unused < supply.segment_size() { 0 } else { unused };
        let log_room = catalog.log_room;
        drop(catalog);
        if wanted > log_room.max(more) {
            store.closing.report_shortage();
            return None;
        }
        Some((log_room + more).saturating_sub(waiting))
    }

    /// Whether nothing can be written now: the disk fails, hangs, or is not there any more.
    pub fn is_failing(&self) -> bool {
        self.inner.objects.store.health.failing().is_some()
    }

    /// How long a sender should wait for its request to be written.
    pub fn patience(&self) -> Duration {
        self.inner.objects.store.pending.patience()
    }

    /// The requests that have been appended and not answered: whether they are on disk, or will be, can't be said.
    pub fn unwritten(&self) -> Unwritten {
        self.inner.objects.committer.queue.unwritten()
    }

    /// Since when and why the journal is not where it was opened: nothing is kept there for the next process. `None` if it is.
    pub fn displaced(&self) -> Option<Failing> {
        self.inner.objects.store.health.displaced()
    }

    /// Whether a request of `bytes` would be taken if nothing else were there.
    pub fn would_ever_fit(&self, bytes: u64) -> bool {
        about_on_disk(bytes) <= self.inner.objects.supply.largest_segment()
    }

    /// The state of the journal.
    pub fn state(&self) -> JournalState {
        let Objects { settings, store, committer, .. } = &*self.inner.objects;
        let (waiting, _) = committer.queue.waiting();
        let failing = store.health.failing();
        JournalState { max_size: settings.max_size, waiting, failing, ..store.catalog.lock().state() }
    }

    /// Makes durable which entries are settled by now, so that none of them comes back after a crash. Blocks. A failure is logged, and
    /// tried again.
    pub fn make_settled_durable(&self) {
        self.inner.objects.checkpoints.write(true);
    }

    /// Writes the requests that wait, makes the positions durable, and ends the threads. Requests that are appended afterwards are
    /// refused with [`NotWritten::Closed`](super::NotWritten::Closed). Another process may take the directory then. Blocks, for ever if the
    /// disk does not answer. If somebody else has begun to close it, this does nothing.
    pub fn close(&self) {
        if let Some(close) = self.inner.closing() {
            close();
        }
    }

    /// The same, without blocking: whether it is closed by `deadline`. If not, it goes on being closed.
    pub async fn close_until(&self, deadline: Instant) -> bool {
        let (done, closed) = oneshot::channel();
        // Nobody waits any more, if it took too long.
        let begun = self.inner.close_aside(move || _ = done.send(()));
        !begun || matches!(timeout_at(deadline, closed).await, Ok(Ok(())))
    }
}

impl OpenJournal {
    /// What closes the journal, for the first who asks.
    fn closing(&self) -> Option<impl FnOnce() + Send + 'static> {
        if self.closing.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (objects, threads) = (self.objects.clone(), std::mem::take(&mut *self.threads.lock()));
        Some(move || objects.close(threads))
    }

    /// Has a thread of its own close the journal and then call `done`, for the first who asks: those of the runtime for such
    /// work may all wait for the same disk. A journal that is driven by hand has no threads, and closes at once.
    fn close_aside(&self, done: impl FnOnce() + Send + 'static) -> bool {
        let Some(close) = self.closing() else { return false };
        let close = move || {
            close();
            done();
        };
        if self.by_hand {
            close();
        } else {
            // If it can't be started, `done` goes with it, and whoever waits sees that.
            let _ = thread::Builder::new().name("journal-close".to_owned()).spawn(close);
        }
        true
    }
}

impl Drop for OpenJournal {
    fn drop(&mut self) {
        let (done, closed) = mpsc::channel();
        if self.close_aside(move || _ = done.send(())) {
            // A disk that hangs must not keep a process from ending.
            let _ = closed.recv_timeout(self.objects.store.pending.patience());
        }
    }
}
