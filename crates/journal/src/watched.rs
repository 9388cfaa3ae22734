//! A disk whose answers are waited for in sight of everybody: one that hangs says neither that it works nor that it doesn't.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, Identity};
use super::types::Failing;

/// What the disk has been asked to change and has not answered, and since when.
#[derive(Debug)]
pub(super) struct PendingChanges {
    /// How long the disk may take for an answer before it counts as hanging.
    patience: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What was asked, in the order in which it was.
    changes: BTreeMap<u64, (Instant, &'static str)>,
    next: u64,
    last_answer: Instant,
    /// Since when a group of requests has been being written.
    group: Option<Instant>,
}

/// The time of the machine, since what is measured is not waited for by a runtime, whose clock tests stop.
#[expect(clippy::disallowed_methods, reason = "the disk's threads are in no runtime")]
fn now() -> Instant {
    Instant::now()
}

impl PendingChanges {
    pub(super) fn new(patience: Duration) -> Self {
        let inner = Inner { changes: BTreeMap::new(), next: 0, last_answer: now(), group: None };
        Self { patience, inner: Mutex::new(inner) }
    }

    /// How long the disk may take for an answer.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Notes that a group of requests is being written, or is not any more.
    pub(super) fn set_writing_group(&self, writing: bool) {
        self.inner.lock().group = writing.then(now);
    }

    /// Whether the disk hangs, and since when: a group has been being written for too long; or something else has not been
    /// answered for as long, and neither has anything since.
    pub(super) fn hanging(&self) -> Option<Failing> {
        let inner = self.inner.lock();
        let is_late = |since: &Instant| since.elapsed() >= self.patience;
        let what = inner.changes.values().next().filter(|(since, _)| is_late(since));
        let group = inner.group.filter(is_late);
        let other = what.map(|(since, _)| *since).filter(|_| is_late(&inner.last_answer));
        let since = group.into_iter().chain(other).min()?;
        let why = what.map_or("the disk does not answer".to_owned(), |(_, what)| {
            format!("the disk does not answer: it was asked to {what}")
        });
        Some(Failing { since: SystemTime::now() - since.elapsed(), why: why.into() })
    }

    /// Has the disk change something.
    fn change<T>(&self, what: &'static str, change: impl FnOnce() -> T) -> T {
        let done = self.ask(what, change);
        self.inner.lock().last_answer = now();
        done
    }

    /// Asks the disk for something that it may know without asking anybody: an answer says nothing of it.
    fn ask<T>(&self, what: &'static str, ask: impl FnOnce() -> T) -> T {
        let mut inner = self.inner.lock();
        let key = inner.next;
        inner.next += 1;
        inner.changes.insert(key, (now(), what));
        drop(inner);
        let done = ask();
        self.inner.lock().changes.remove(&key);
        done
    }
}

/// Another disk. What is asked of it is in [`PendingChanges`] until it is answered.
#[derive(Debug)]
pub(super) struct WatchedDisk {
    disk: Arc<dyn Disk>,
    pending: Arc<PendingChanges>,
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    pending: Arc<PendingChanges>,
}

impl WatchedDisk {
    pub(super) fn new(disk: Arc<dyn Disk>, pending: Arc<PendingChanges>) -> Self {
        Self { disk, pending }
    }

    fn file(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(WatchedFile { file: file?, pending: self.pending.clone() }))
    }
}

impl Disk for WatchedDisk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock()
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.file(self.pending.change("make a file", || self.disk.create(name, len)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.file(self.pending.change("open a file", || self.disk.open(name)))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open_to_read(name)
    }

    fn open_to_read_directly(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open_to_read_directly(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.pending.change("rename a file", || self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.pending.change("remove a file", || self.disk.remove(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.pending.change("sync the directory", || self.disk.sync_directory())
    }

    fn nonce(&self) -> u64 {
        self.disk.nonce()
    }

    fn identity(&self, name: Option<&str>) -> io::Result<Option<Identity>> {
        self.pending.ask("say which file has a name", || self.disk.identity(name))
    }
}

impl DiskFile for WatchedFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(into, offset)
    }

    fn will_need(&self, offset: u64, length: u64) {
        self.file.will_need(offset, length);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.pending.change("write", || self.file.write_at(bytes, offset))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.pending.change("reserve room for a file", || self.file.allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.pending.change("sync a file", || self.file.sync_data())
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        self.file.identity()
    }
}
