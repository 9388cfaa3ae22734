//! Taking entries back out of a queue: nobody waits for them any more, and whoever sent them was told to send them again.
//!
//! What is not being attempted leaves the queue at once, from the middle of batches, too, and its room is given back. The
//! order of the others doesn't change. What is on disk only leaves at once as well, without being read, and the journal
//! keeps that across a restart. What is in the hands of a consumer is only noted: the consumer takes it out before its next
//! attempt, or at once while it waits for that. So is what is left on disk of a request that has begun to be read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::NumberSet;
use super::open::ClosedBatch;
use super::queue::{Queue, Stream};
use super::receipt::Stub;
use otlp::Signal;

/// What was taken out of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    /// Framed bytes.
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// Memory that is free now; what else the entries took is given back with the rest of their batch.
    pub(super) capacity: u64,
    /// Requests whose last entry it was.
    pub(super) requests: u64,
}

impl Stream {
    /// Wakes those who hold a batch of which something may have been withdrawn, or which is to be attempted at once, or no more.
    pub fn withdrawal(&self) -> &Notify {
        &self.withdrawal
    }

    /// Takes back what is not settled of the request that has its entries from the number `first` on.
    pub(super) fn withdraw(&self, first: u64) {
        let mut queue = self.queue();
        let Some(stub) = queue.stubs.remove(first) else { return };
        let removed = queue.withdraw(&stub, self.signal());
        let forgotten = queue.withdraw_behind(Some(&stub));
        if let Some(durable) = &self.durable {
            durable.settle(&stub.unsettled.without(&queue.withdrawn));
        }
        // Also for those who have in their hands what is gone now.
        let in_flight = !queue.withdrawn.is_empty() || forgotten.is_some();
        drop(queue);
        self.forget(forgotten);
        if removed.bytes > 0 {
            // Counted as ended before it is no longer pending, so that nothing is missing in between.
            self.registry().count_withdrawn(self.name(), removed.records);
            self.give_back(&removed);
        }
        if in_flight {
            self.withdrawal.notify_waiters();
        }
    }

    /// Gives entries of these numbers back to the senders that wait for them, which are told to send them again, and why. All
    /// that their requests have here is withdrawn. Entries that nobody waits for stay.
    pub(super) fn give_back_to_senders(&self, numbers: &NumberSet, reason: &Arc<str>) {
        let firsts = self.queue().stubs.give_up(numbers, self, reason);
        for first in firsts {
            self.withdraw(first);
        }
    }

    /// Gives back the room of what was removed.
    pub(super) fn give_back(&self, removed: &Removed) {
        self.registry().removed(self, removed);
        self.requests.fetch_sub(removed.requests, Ordering::AcqRel);
        let mut queue = self.queue();
        self.leave_memory(&mut queue, removed.bytes);
        drop(queue);
        self.let_go(removed.bytes);
    }
}

impl Queue {
    fn withdraw(&mut self, stub: &Stub, signal: Signal) -> Removed {
        let mut removed = Removed::default();
        let mut rest = stub.unsettled.clone();
        let first = rest.first().unwrap_or_default();
        let mut at = self.closed.partition_point(|closed| closed.batch.numbers().last() < Some(first));
        while let Some(closed) = self.closed.get_mut(at) {
            let here = rest.intersection(closed.batch.numbers());
            if here.is_empty() {
                break;
            }
            if here.contains(stub.last()) {
                closed.requests -= 1;
                removed.requests = 1;
            }
            removed.add(closed.remove(&here));
            rest = rest.without(&here);
            match closed.batch.numbers().first() {
                None => _ = self.closed.remove(at),
                Some(first) => {
                    closed.opened = self.stubs.admitted(first).unwrap_or(closed.opened);
                    at += 1;
                }
            }
        }
        let here = rest.intersection(self.open.numbers());
        if !here.is_empty() {
            if here.contains(stub.last()) {
                self.open.take_request();
                removed.requests = 1;
            }
            removed.add(self.open.remove(&here, signal));
            if let Some(since) = self.open.numbers().first().and_then(|first| self.stubs.admitted(first)) {
                self.open.reopened(since);
            }
            rest = rest.without(&here);
        }
        if rest.contains(stub.last()) {
            self.withdrawn_ends = self.withdrawn_ends.union(&NumberSet::from(stub.last()..stub.last() + 1));
        }
        self.withdrawn = self.withdrawn.union(&rest);
        removed
    }
}

impl ClosedBatch {
    /// Takes out entries that it has.
    pub(super) fn remove(&mut self, gone: &NumberSet) -> Removed {
        let (rest, records) = self.batch.without(gone);
        let bytes = (self.batch.len() - rest.len()) as u64;
        // Chunks have some room that nobody uses. It is given back with the last of them.
        let capacity = if rest.is_empty() { self.capacity } else { bytes };
        self.capacity -= capacity;
        self.batch = rest;
        Removed { bytes, records, capacity, requests: 0 }
    }
}

impl Removed {
    fn add(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.records += more.records;
        self.capacity += more.capacity;
    }
}
