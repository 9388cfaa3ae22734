//! What of a backlog is read before a consumer asks for it.
//!
//! As long as an upstream takes what it gets, the next batches are read while one is on its way. Two are read at once: that takes the
//! disk little longer than one.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::journal_place::{JournalPlace, ReadBatches};
use super::reading_room::{ReadingPlace, ReadingRoom};
use super::{Budget, Reservation};
use crate::journal::Chunk;

/// Batches that are read at once before they are asked for, if there is room.
const TOGETHER: usize = 2;

/// Reads that were begun or have ended, one behind the other in the backlog.
#[derive(Debug, Default)]
pub(super) struct ReadAhead(VecDeque<EarlyRead>);

/// One of them.
#[derive(Debug)]
pub(super) struct EarlyRead {
    pub(super) batches: EarlyBatches,
    /// The number behind the last one that was on disk alone when it began.
    pub(super) end: u64,
    pub(super) room: ReadingPlace,
    /// The memory that it takes, until it is a batch.
    pub(super) charged: Reservation,
}

#[derive(Debug)]
pub(super) enum EarlyBatches {
    Reading(JoinHandle<ReadBatches>),
    /// One.
    Read(Vec<Chunk>),
}

impl ReadAhead {
    /// The one that comes first in the backlog.
    pub(super) fn take_first(&mut self) -> Option<EarlyRead> {
        self.0.pop_front()
    }

    /// Keeps the second of two batches that were read together, of which the first is taken. It was in the backlog up to `end`; of the
    /// `room` of both the first one keeps little.
    pub(super) fn keep_second(
        &mut self,
        second: Vec<Chunk>,
        end: u64,
        room: &mut ReadingPlace,
        budget: &Arc<Budget>,
        read: usize,
    ) {
        let first = room.split(1).expect("it is room for a kibibyte at least");
        // It goes last, and may keep the memory of both.
        let (room, charged) = (mem::replace(room, first), charged(budget, read));
        self.0.push_front(EarlyRead { batches: EarlyBatches::Read(second), end, room, charged });
    }

    /// Begins to read what comes next of the backlog with these numbers, in batches of so many bytes: unless that is being done, or there
    /// is no room.
    pub(super) fn go_on(
        &mut self,
        place: &JournalPlace,
        backlog: Range<u64>,
        most: usize,
        room: &ReadingRoom,
        budget: &Arc<Budget>,
    ) {
        let start = match self.0.back().map(|early| &early.batches) {
            None => backlog.start,
            Some(EarlyBatches::Read(chunks)) => chunks.last().map_or(u64::MAX, Chunk::end),
            Some(EarlyBatches::Reading(_)) => return,
        };
        if start >= backlog.end {
            return;
        }
        let enter = |batches| Some((batches, room.enter_early(batches * most)?));
        let Some((batches, room)) = enter(TOGETHER).or_else(|| enter(1)) else { return };
        let Some(reading) = place.read_ahead(start..backlog.end, most, batches) else { return };
        let charged = charged(budget, batches * most);
        self.0.push_back(EarlyRead {
            batches: EarlyBatches::Reading(reading),
            end: backlog.end,
            room,
            charged,
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Memory that is taken whether there is room or not.
fn charged(budget: &Arc<Budget>, bytes: usize) -> Reservation {
    let mut charged = Reservation::empty(budget.clone());
    charged.charge_spare(bytes as u64);
    charged
}
