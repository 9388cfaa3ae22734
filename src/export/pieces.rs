//! What is left to send of a batch: the whole of it at first, then what it was halved into.

use crate::stream::{Batch, InFlight, Reservation};

/// The pieces of a batch that have not ended, in order.
#[derive(Debug)]
pub(super) struct Pieces {
    in_flight: InFlight,
    /// The next one last.
    rest: Vec<Batch>,
    /// Whether the pieces are copies of parts of the batch.
    halved: bool,
    /// For the copies.
    copies: Reservation,
}

/// The journal can't be read just now. The log says why.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Pieces {
    /// A batch that is whole, and possibly still on disk.
    pub(super) fn of(in_flight: InFlight, copies: Reservation) -> Self {
        let mut pieces = Self { in_flight, rest: Vec::new(), halved: false, copies };
        pieces.begin();
        pieces
    }

    fn begin(&mut self) {
        let batch = Some(self.in_flight.batch()).filter(|batch| !batch.is_empty());
        self.rest = batch.cloned().into_iter().collect();
    }

    /// Reads the batch if it is on disk; returns whether it was.
    pub(super) async fn read(&mut self) -> Result<bool, Unreadable> {
        let on_disk = self.in_flight.is_on_disk();
        if on_disk {
            if !self.in_flight.read().await {
                return Err(Unreadable);
            }
            self.begin();
        }
        Ok(on_disk)
    }

    /// Leaves the batch on disk, if it is there and whole; returns whether it is.
    pub(super) fn put_back(&mut self) -> bool {
        let put_back = !self.halved && self.in_flight.put_back();
        if put_back {
            self.rest.clear();
        }
        put_back
    }

    /// Lets others read what they have on disk, though the batch stays in memory.
    pub(super) fn leave_reading_room(&mut self) {
        self.in_flight.leave_reading_room();
    }

    /// Whether the batch takes memory that others may need more.
    pub(super) fn hinder(&self) -> bool {
        self.in_flight.hinders()
    }

    /// In the order in which they are sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.rest.iter().rev()
    }

    /// Whether all have ended.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty() && (!self.in_flight.is_on_disk() || self.in_flight.is_gone())
    }

    /// The piece to send next, if any is left and it has been read.
    pub(super) fn next(&self) -> Option<&Batch> {
        self.rest.last()
    }

    /// Whether all of the next piece was withdrawn meanwhile.
    pub(super) fn next_is_withdrawn(&self) -> bool {
        self.next().is_some_and(|piece| self.in_flight.is_withdrawn(piece.numbers()))
    }

    /// The next piece has ended; of its records `lost` were not delivered, for a reason that senders may read.
    pub(super) fn end(&mut self, lost: u64, reason: &str) {
        if let Some(piece) = self.rest.pop() {
            self.in_flight.ended(&piece, self.rest.last(), lost, reason);
        }
    }

    /// Halves the next piece, if it has more than one record or entry.
    pub(super) fn halve(&mut self) -> bool {
        let Some([first, second]) = self.rest.last().and_then(Batch::halve) else { return false };
        self.rest.pop();
        self.rest.extend([second, first]);
        self.halved = true;
        self.charge();
        true
    }

    /// Takes out what was withdrawn meanwhile. Returns how many records that were.
    pub(super) fn withdraw(&mut self) -> u64 {
        let gone = self.in_flight.withdraw();
        if gone.is_empty() {
            return 0;
        }
        let mut records = 0;
        for piece in &mut self.rest {
            // What is not a copy shares its memory with the batch, and has to let go of the same chunks.
            let (left, fewer) = if self.halved {
                piece.without(&gone)
            } else {
                let left = self.in_flight.batch().clone();
                let fewer = piece.records() - left.records();
                (left, fewer)
            };
            *piece = left;
            records += fewer;
        }
        self.rest.retain(|piece| !piece.is_empty());
        if self.halved {
            self.charge();
        }
        records
    }

    fn charge(&mut self) {
        self.copies.charge_spare(self.rest.iter().map(|piece| piece.len() as u64).sum());
    }
}

#[cfg(test)]
mod tests;
