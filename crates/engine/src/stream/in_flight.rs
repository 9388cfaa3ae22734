//! A batch in the hands of a consumer.

use std::sync::Arc;

use super::handle::{BacklogBatch, Stream};
use super::queue::{Taken, TakenBatch};
use super::read_memory::ReadMemoryPermit;
use super::{Batch, NumberSet};
use crate::outcome::Fate;
use crate::telemetry::BatchLinks;

/// A batch that a consumer has taken. Dropping it settles it: its bytes are given back, and the next batch of the
/// stream may follow. Whoever waits for an entry of it that has not [`InFlight::ended`] by then learns that it was not
/// delivered.
#[derive(Debug)]
pub struct InFlight {
    stream: Arc<Stream>,
    batch: Batch,
    /// Of all entries that were taken, those among them that have ended or were withdrawn since.
    numbers: NumberSet,
    /// Bytes of memory that it takes.
    memory: u64,
    /// If it was read from the journal, its part of the memory that there is for that.
    room: Option<ReadMemoryPermit>,
    /// The traced requests that have entries in it, if there are any. What was on disk alone has none.
    links: Option<Box<BatchLinks>>,
    /// It is what comes next in the backlog, and was not read.
    on_disk: bool,
}

impl InFlight {
    /// The next batch of a stream, in order, for a consumer that was started; `None` when there is nothing to send now, and with it the
    /// consumer is signed off and has to end.
    pub fn take(stream: &Arc<Stream>) -> Option<Self> {
        match stream.take() {
            Taken::Batch(taken) => Some(Self::new(stream.clone(), taken)),
            Taken::Backlog => Some(Self::on_disk(stream.clone())),
            Taken::Nothing => None,
        }
    }

    fn new(stream: Arc<Stream>, taken: TakenBatch) -> Self {
        let TakenBatch { batch, memory, links, .. } = taken;
        let numbers = batch.numbers().clone();
        Self { stream, batch, numbers, memory, room: None, links, on_disk: false }
    }

    /// A batch that has not been read.
    fn on_disk(stream: Arc<Stream>) -> Self {
        let batch = Batch::new(stream.signal(), Vec::new(), 0);
        Self {
            stream,
            batch,
            numbers: NumberSet::default(),
            memory: 0,
            room: None,
            links: None,
            on_disk: true,
        }
    }

    /// Whether it has to be read before it can be sent: until then it is empty.
    pub fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    /// Reads it, if it is on disk. It may be empty then: damage has taken what was there. Returns whether it is in memory now:
    /// not if the journal can't be read.
    pub async fn read(&mut self) -> bool {
        if self.on_disk
            && let Some(BacklogBatch { batch, room }) = self.stream.read_backlog().await
        {
            (self.numbers, self.memory) = (batch.numbers().clone(), batch.len() as u64);
            (self.batch, self.room, self.on_disk) = (batch, Some(room), false);
        }
        !self.on_disk
    }

    /// The traced requests that have entries in it, if there are any.
    pub fn links(&self) -> Option<&BatchLinks> {
        self.links.as_deref()
    }

    /// Whether it takes memory that others may need more.
    pub fn hinders(&self) -> bool {
        self.room.is_some() || self.stream.is_short_of_memory()
    }

    /// Lets go of its memory, and of what the stream has in memory behind it, if all of that is on disk. Nothing of it may
    /// have ended. Returns whether it is on disk only.
    pub fn put_back(&mut self) -> bool {
        if self.on_disk {
            self.stream.forget_ahead();
        } else if self.stream.spill() {
            self.stream.context().shared().budget.release(self.memory);
            self.batch = Batch::new(self.batch.signal(), Vec::new(), 0);
            (self.numbers, self.memory) = (NumberSet::default(), 0);
            (self.room, self.links, self.on_disk) = (None, None, true);
        }
        self.on_disk
    }

    /// Whether it was on disk, and all of it was withdrawn.
    pub fn is_gone(&self) -> bool {
        self.on_disk && !self.stream.has_backlog()
    }

    /// Gives the room to read in back, in which others may wait to read theirs. The batch counts as any other does.
    pub fn leave_reading_room(&mut self) {
        self.room = None;
    }

    /// The batch, without what was withdrawn from it.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Notes that a piece of the batch has ended, or all of it. `next` is the piece behind it, with which it may share an
    /// entry. Of its records so many as `lost` says were not delivered and ended otherwise, for a `reason` that senders may read; if
    /// there is a reason and none was lost, it is a warning.
    pub fn ended(&self, piece: &Batch, next: Option<&Batch>, lost: (u64, Fate), reason: &str) {
        match next {
            Some(next) => self.stream.end(piece, &piece.numbers().without(next.numbers()), lost, reason),
            None => self.stream.end(piece, piece.numbers(), lost, reason),
        }
    }

    /// Whether all entries of these numbers were withdrawn.
    pub fn is_withdrawn(&self, numbers: &NumberSet) -> bool {
        self.stream.is_withdrawn(numbers)
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
        let room = most.saturating_sub(self.batch.len());
        for TakenBatch { batch, memory, .. } in self.stream.take_more(room) {
            self.numbers = self.numbers.union(batch.numbers());
            self.memory += memory;
            self.batch = self.batch.followed_by(&batch);
        }
    }

    /// Takes out of the batch what was withdrawn, and returns which entries these were. Their room is given back; how
    /// their records have ended is for the caller to count.
    pub fn withdraw(&mut self) -> NumberSet {
        let left = self.stream.take_withdrawn(&self.numbers);
        if !left.numbers.is_empty() {
            let rest = self.batch.without_known(&left.numbers, left.volume.records);
            // Chunks have some room that nobody uses, and of some the memory is counted with a request's body. What is not known to be
            // free is given back with the last of them.
            let gone = (self.batch.len() - rest.len()) as u64;
            let memory = if rest.is_empty() {
                self.memory
            } else {
                gone.min(self.memory.saturating_sub(rest.len() as u64))
            };
            self.memory -= memory;
            self.stream.context().shared().budget.release(memory);
            self.batch = rest;
        }
        left.numbers
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.stream.settle(&self.numbers, self.memory, self.on_disk);
    }
}
