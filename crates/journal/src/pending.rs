//! The changes that a disk has been asked for and has not answered: by them a disk that hangs is told, which reports no error.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::layer::{Asked, Layer};
use super::types::Failing;

/// The changes that the disk has been asked for and has not answered, and since when.
#[derive(Debug)]
pub(super) struct PendingChanges {
    /// How long the disk may take for an answer before it counts as hanging.
    patience: Duration,
    inner: Mutex<AskedChanges>,
}

#[derive(Debug)]
struct AskedChanges {
    /// When each was asked for, and what it is in words, in the order in which they were asked for.
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
        let inner = AskedChanges { changes: BTreeMap::new(), next: 0, last_answer: now(), group: None };
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
}

impl Layer for PendingChanges {
    fn around<T>(&self, asked: Asked, ask: impl FnOnce() -> T) -> T {
        let what = match asked {
            Asked::Change(what) | Asked::Sync(what) => what,
            Asked::Identity => "say which file has a name",
            Asked::Look | Asked::Read(_) => return ask(),
        };
        let mut inner = self.inner.lock();
        let key = inner.next;
        inner.next += 1;
        inner.changes.insert(key, (now(), what));
        drop(inner);
        let done = ask();
        let mut inner = self.inner.lock();
        inner.changes.remove(&key);
        // The system may know which file has a name without asking the disk: that answer says nothing of it.
        if !matches!(asked, Asked::Identity) {
            inner.last_answer = now();
        }
        drop(inner);
        done
    }
}
