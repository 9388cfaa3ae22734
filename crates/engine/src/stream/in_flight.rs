//! A batch in the hands of a consumer.

use std::sync::Arc;

use super::open::ClosedBatch;
use super::queue::Stream;
use super::{Batch, NumberSet};
use crate::outcome::Fate;
use crate::telemetry::BatchLinks;

/// A batch that a consumer has taken. Dropping it settles it: its bytes are given back, and the next batch of the
/// stream may follow. Whoever waits for an entry of it that has not [`InFlight::ended`] by then learns that it was not
/// delivered.
#[derive(Debug)]
pub struct InFlight {
    stream: Arc<Stream>,
    closed: ClosedBatch,
    /// It is what comes next in the journal, and not in memory.
    on_disk: bool,
}

impl InFlight {
    pub(super) fn new(stream: Arc<Stream>, closed: ClosedBatch) -> Self {
        Self { stream, closed, on_disk: false }
    }

    /// A batch that has not been read.
    pub(super) fn on_disk(stream: Arc<Stream>) -> Self {
        let closed = ClosedBatch::nothing(stream.signal());
        Self { stream, closed, on_disk: true }
    }

    /// Whether it has to be read before it can be sent: until then it is empty.
    pub fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    /// Reads it, if it is on disk. It may be empty then: damage has taken what was there. Returns whether it is in memory now:
    /// not if the journal can't be read.
    pub async fn read(&mut self) -> bool {
        if self.on_disk
            && let Some(closed) = self.stream.read_on().await
        {
            self.closed = closed;
            self.on_disk = false;
        }
        !self.on_disk
    }

    /// The traced requests that have entries in it, if there are any.
    pub fn links(&self) -> Option<&BatchLinks> {
        self.closed.links.as_deref()
    }

    /// Whether it takes memory that others may need more.
    pub fn hinders(&self) -> bool {
        self.stream.hinders(&self.closed)
    }

    /// Lets go of its memory, and of what the stream has in memory behind it, if all of that is on disk. Nothing of it may
    /// have ended. Returns whether it is on disk only.
    pub fn put_back(&mut self) -> bool {
        if self.on_disk {
            self.stream.forget_ahead();
        } else {
            self.on_disk = self.stream.put_back(&mut self.closed);
        }
        self.on_disk
    }

    /// Whether it was on disk, and all of it was withdrawn.
    pub fn is_gone(&self) -> bool {
        self.on_disk && self.stream.has_nothing_on_disk()
    }

    /// Gives the room to read in back, in which others may wait to read theirs. The batch counts as any other does.
    pub fn leave_reading_room(&mut self) {
        self.closed.room = None;
    }

    /// The batch, without what was withdrawn from it.
    pub fn batch(&self) -> &Batch {
        &self.closed.batch
    }

    /// Notes that a piece of the batch has ended, or all of it. `next` is the piece behind it, with which it may share an
    /// entry. Of its records so many as `lost` says were not delivered and ended otherwise, for a `reason` that senders may read; if
    /// there is a reason and none was lost, it is a warning.
    pub fn ended(&self, piece: &Batch, next: Option<&Batch>, lost: (u64, Fate), reason: &str) {
        let ended = || match next {
            Some(next) => piece.numbers().without(next.numbers()),
            None => piece.numbers().clone(),
        };
        if let Some(durable) = &self.stream.durable {
            durable.settle(&ended());
        }
        let mut queue = self.stream.queue();
        if queue.stubs.is_empty() && queue.withdrawn.is_empty() {
            return;
        }
        if !reason.is_empty() {
            queue.stubs.lose(piece, lost, &self.stream, &reason.into());
        }
        queue.end(&ended());
    }

    /// Whether all entries of these numbers were withdrawn.
    pub fn is_withdrawn(&self, numbers: &NumberSet) -> bool {
        let queue = self.stream.queue();
        !queue.withdrawn.is_empty() && numbers.without(&queue.withdrawn).is_empty()
    }

    /// Gives entries of these numbers back to the senders that wait for them, and says why: what is not delivered for want of
    /// retries or time is theirs still. They are noted as withdrawn; entries that nobody waits for are not.
    pub fn give_back_to_senders(&self, numbers: &NumberSet, reason: &str) {
        self.stream.give_back_to_senders(numbers, &reason.into());
    }

    /// Takes what waits behind it in memory into the batch, as far as that then has no more than `most` bytes, and nobody waits for any
    /// of the stream.
    pub fn join_waiting(&mut self, most: usize) {
        if self.on_disk {
            return;
        }
        let room = most.saturating_sub(self.closed.batch.len());
        self.closed.join(self.stream.take_waiting(room));
    }

    /// Takes out of the batch what was withdrawn, and returns which entries these were. Their room is given back; how
    /// their records have ended is for the caller to count.
    pub fn withdraw(&mut self) -> NumberSet {
        let mut queue = self.stream.queue();
        if queue.withdrawn.is_empty() {
            return NumberSet::default();
        }
        let gone = queue.withdrawn.intersection(self.closed.batch.numbers());
        // A batch that was put back has given the places of its requests back already, and is read without them.
        let requests = queue.withdrawn_ends.intersection(&gone).len().min(self.closed.requests);
        queue.withdrawn = queue.withdrawn.without(&gone);
        queue.withdrawn_ends = queue.withdrawn_ends.without(&gone);
        drop(queue);
        if !gone.is_empty() {
            let mut removed = self.closed.remove(&gone);
            self.closed.requests -= requests;
            removed.requests = requests;
            self.stream.give_back(&removed);
            if let Some(durable) = &self.stream.durable {
                durable.settle(&gone);
            }
        }
        gone
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.stream.settle(&self.closed, self.on_disk);
    }
}
