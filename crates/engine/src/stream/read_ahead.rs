//! The queue of a stream, and what of its backlog is read before a consumer asks for it.
//!
//! As long as an upstream takes what it gets, the next batches are read while one is on its way. Two are read at once: that takes the
//! disk little longer than one.
//!
//! All of this stands behind the lock of the stream. A consumer takes a read out of here before it waits for it, so that nobody else
//! gets what it has read. What is withdrawn meanwhile is no longer in the queue, which therefore leaves it out of the batch.

use std::collections::VecDeque;
use std::mem;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use tokio::time::Instant;

use super::queue::{Queue, Spilled, Withdrawn};
use super::read_memory::{ReadMemory, ReadMemoryPermit};
use super::{Budget, Reservation};
use crate::journal::Chunk;

/// Batches that are read at once before they are asked for, if there is room.
const TOGETHER: usize = 2;

/// The queue of a stream, with the reads of its backlog that were begun before a consumer asks for them. `J` is what waits for such a
/// read.
#[derive(Debug)]
pub(super) struct StreamQueue<J> {
    queue: Queue,
    /// Without any there is no memory for them: there may be a million streams.
    read_ahead: Option<Box<ReadAhead<J>>>,
}

/// Reads that were begun or have ended, one behind the other in the backlog.
pub(super) type ReadAhead<J> = VecDeque<EarlyRead<J>>;

/// A read that was begun before a consumer asks for it.
#[derive(Debug)]
pub(super) struct EarlyRead<J> {
    pub(super) batches: EarlyBatches<J>,
    /// The number behind the last one that was on disk alone when it began.
    pub(super) end: u64,
    pub(super) room: ReadMemoryPermit,
    /// The memory that it takes, until it is a batch.
    pub(super) charged: Reservation,
}

#[derive(Debug)]
pub(super) enum EarlyBatches<J> {
    Reading(J),
    /// One batch.
    Read(Vec<Chunk>),
}

impl<J> Deref for StreamQueue<J> {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.queue
    }
}

impl<J> DerefMut for StreamQueue<J> {
    fn deref_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }
}

impl<J> StreamQueue<J> {
    pub(super) fn new(now: Instant) -> Self {
        Self { queue: Queue::new(now), read_ahead: None }
    }

    /// The read that comes first in the backlog.
    pub(super) fn take_early(&mut self) -> Option<EarlyRead<J>> {
        self.read_ahead.as_mut()?.pop_front()
    }

    /// Takes out all that was read ahead. Dropping that may take long, which is to happen behind the lock.
    pub(super) fn forget_ahead(&mut self) -> Option<Box<ReadAhead<J>>> {
        self.read_ahead.take()
    }

    /// As [`Queue::withdraw`]. Where nothing is left to be read, others may have the room that was taken to read it.
    pub(super) fn withdraw(&mut self, request: &Range<u64>) -> (Withdrawn, Option<Box<ReadAhead<J>>>) {
        let withdrawn = self.queue.withdraw(request);
        let read_ahead = if self.queue.has_backlog() { None } else { self.forget_ahead() };
        (withdrawn, read_ahead)
    }

    /// As [`Queue::spill`]: what is read next comes before all that was read ahead.
    pub(super) fn spill(&mut self) -> Option<(Spilled, Option<Box<ReadAhead<J>>>)> {
        let spilled = self.queue.spill()?;
        Some((spilled, self.forget_ahead()))
    }

    /// Goes on reading once a consumer has made a batch of the first of what was read. The `second` batch that was read with it, where
    /// there is one, waits for the next consumer: it was in the backlog up to a number, and both took so many bytes to read. Of the
    /// `room` of both the first one keeps little.
    ///
    /// What comes then is begun to be read in batches of `most` bytes, if there is room: `begin` reads these numbers as so many batches,
    /// or says that nothing is read ahead.
    pub(super) fn read_on(
        &mut self,
        second: Option<(Vec<Chunk>, u64, usize)>,
        room: &mut ReadMemoryPermit,
        most: usize,
        (memory, budget): (&ReadMemory, &Arc<Budget>),
        begin: impl FnOnce(Range<u64>, usize) -> Option<J>,
    ) {
        let Some(backlog) = self.queue.backlog() else {
            self.read_ahead = None;
            return;
        };
        let ahead = self.read_ahead.get_or_insert_default();
        if let Some((second, end, read)) = second.filter(|(second, ..)| !second.is_empty()) {
            let first = room.split(1).expect("it is room for a kibibyte at least");
            // The second goes last, and may keep the memory of both.
            let (room, charged) = (mem::replace(room, first), charged(budget, read));
            ahead.push_front(EarlyRead { batches: EarlyBatches::Read(second), end, room, charged });
        }
        let start = match ahead.back().map(|early| &early.batches) {
            None => backlog.start,
            Some(EarlyBatches::Read(chunks)) => chunks.last().map_or(u64::MAX, Chunk::end),
            Some(EarlyBatches::Reading(_)) => return,
        };
        if start >= backlog.end {
            return;
        }
        let enter = |batches: usize| Some((batches, memory.acquire_early(batches.saturating_mul(most))?));
        let Some((batches, room)) = enter(TOGETHER).or_else(|| enter(1)) else { return };
        let Some(reading) = begin(start..backlog.end, batches) else { return };
        let (batches, charged) =
            (EarlyBatches::Reading(reading), charged(budget, batches.saturating_mul(most)));
        ahead.push_back(EarlyRead { batches, end: backlog.end, room, charged });
    }

    #[cfg(test)]
    pub(super) fn early_reads(&self) -> usize {
        self.read_ahead.as_ref().map_or(0, |ahead| ahead.len())
    }
}

/// Memory that is taken whether there is room or not.
fn charged(budget: &Arc<Budget>, bytes: usize) -> Reservation {
    let mut charged = Reservation::empty(budget.clone());
    charged.charge_spare(bytes as u64);
    charged
}
