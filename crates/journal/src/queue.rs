//! The requests that wait to be written: put there by those who append, taken in groups by the committer.
//!
//! Requests are taken in the order in which they came. Once the queue is closed none is added, and those that wait are still
//! taken. So each request that was added is taken once, by whoever asks for groups until there is none, before
//! [`CommitQueue::wait`] says that there will be no more.

use std::collections::VecDeque;
use std::time::Duration;

// Not by name, since a test has this file compiled with other locks.
use super::sync::{Condvar, Mutex};
use crate::types::Unwritten;

/// A group takes no further request beyond this many bytes.
const GROUP: u64 = 4 << 20;

/// A queue of requests of any kind. Its lock is held for a moment only, and no other is taken meanwhile.
#[derive(Debug)]
pub(crate) struct CommitQueue<R> {
    inner: Mutex<QueueState<R>>,
    work: Condvar,
}

#[derive(Debug)]
struct QueueState<R> {
    waiting: VecDeque<QueuedRequest<R>>,
    /// Bytes that they take on disk.
    bytes: u64,
    /// Records in them.
    records: u64,
    /// Requests that were taken and are not answered, and their records.
    in_hand: Unwritten,
    is_closed: bool,
}

#[derive(Debug)]
struct QueuedRequest<R> {
    request: R,
    bytes: u64,
    records: u64,
}

impl<R> CommitQueue<R> {
    pub(crate) fn new() -> Self {
        let (waiting, in_hand) = (VecDeque::new(), Unwritten::default());
        let inner = QueueState { waiting, bytes: 0, records: 0, in_hand, is_closed: false };
        Self { inner: Mutex::new(inner), work: Condvar::new() }
    }

    /// Adds a request that takes so many bytes on disk and has so many records; gives it back if the queue is closed.
    pub(crate) fn push(&self, request: R, bytes: u64, records: u64) -> Result<(), R> {
        let mut inner = self.inner.lock();
        if inner.is_closed {
            return Err(request);
        }
        let was_empty = inner.waiting.is_empty();
        inner.bytes += bytes;
        inner.records += records;
        inner.waiting.push_back(QueuedRequest { request, bytes, records });
        drop(inner);
        // Whoever takes a group goes on until the queue is empty.
        if was_empty {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Waits until there is a request, or for `time`. Whether there may be requests from now on: not if the queue is closed and
    /// empty.
    pub(crate) fn wait(&self, time: Option<Duration>) -> bool {
        let mut inner = self.inner.lock();
        if inner.waiting.is_empty() && !inner.is_closed {
            match time {
                Some(time) => {
                    self.work.wait_for(&mut inner, time);
                }
                None => self.work.wait(&mut inner),
            }
        }
        !(inner.is_closed && inner.waiting.is_empty())
    }

    /// Takes the next requests, as many as are written together. They count as unwritten until [`CommitQueue::answered`] is
    /// called.
    pub(crate) fn take_group(&self) -> VecDeque<R> {
        let inner = &mut *self.inner.lock();
        debug_assert_eq!(inner.in_hand, Unwritten::default(), "one group is written after the other");
        let (mut group, mut bytes) = (VecDeque::new(), 0);
        while let Some(next) = inner.waiting.front() {
            if bytes > 0 && bytes + next.bytes > GROUP {
                break;
            }
            let next = inner.waiting.pop_front().expect("it was looked at");
            bytes += next.bytes;
            inner.in_hand.requests += 1;
            inner.in_hand.records += next.records;
            group.push_back(next.request);
        }
        inner.bytes -= bytes;
        inner.records -= inner.in_hand.records;
        debug_assert!(!inner.waiting.is_empty() || (inner.bytes, inner.records) == (0, 0));
        group
    }

    /// Notes that all requests that were taken have been answered.
    pub(crate) fn answered(&self) {
        self.inner.lock().in_hand = Unwritten::default();
    }

    /// Takes no more requests.
    pub(crate) fn close(&self) {
        self.inner.lock().is_closed = true;
        self.work.notify_all();
    }

    /// How many requests wait, and the bytes that they take on disk.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.waiting.len() as u64, inner.bytes)
    }

    /// All requests that have not been answered.
    pub(crate) fn unwritten(&self) -> Unwritten {
        let inner = self.inner.lock();
        Unwritten {
            requests: inner.in_hand.requests + inner.waiting.len() as u64,
            records: inner.in_hand.records + inner.records,
        }
    }
}
