//! What is left to send of a batch: the whole of it at first, then what it was divided into, and a single record of it
//! that is tried before its turn.

use super::Fate;
use crate::stream::{Batch, InFlight, Reservation};
use crate::telemetry::BatchLinks;

/// The pieces of a batch that have not ended, in order.
#[derive(Debug)]
pub(super) struct Pieces {
    in_flight: InFlight,
    /// The next one last.
    rest: Vec<BatchPiece>,
    /// Whether the pieces are copies of parts of the batch.
    halved: bool,
    /// What is attempted instead of the next piece.
    sample: Option<SampledRecord>,
    /// For the copies.
    copies: Reservation,
}

/// A part of the batch.
#[derive(Debug)]
struct BatchPiece {
    batch: Batch,
    /// What the upstream has said, if it has taken the piece before its turn.
    taken: Option<UpstreamWord>,
}

/// A record that is tried before its turn, by its position among those that are left.
#[derive(Debug)]
struct SampledRecord {
    record: u64,
    batch: Batch,
}

/// What an upstream has said of a piece that it took.
#[derive(Clone, Debug)]
pub(super) struct UpstreamWord {
    /// Records that it rejected all the same.
    pub(super) rejected: u64,
    /// What it had to say.
    pub(super) remark: String,
}

impl From<Batch> for BatchPiece {
    fn from(batch: Batch) -> Self {
        Self { batch, taken: None }
    }
}

/// The journal can't be read just now. The log says why.
#[derive(Debug)]
pub(super) struct BacklogUnreadable;

impl Pieces {
    /// A batch that is whole, and possibly still on disk.
    pub(super) fn of(in_flight: InFlight, copies: Reservation) -> Self {
        let mut pieces = Self { in_flight, rest: Vec::new(), halved: false, sample: None, copies };
        pieces.begin();
        pieces
    }

    fn begin(&mut self) {
        let batch = Some(self.in_flight.batch()).filter(|batch| !batch.is_empty());
        self.rest = batch.cloned().map(BatchPiece::from).into_iter().collect();
    }

    /// Whether the batch is to be read before it can be attempted.
    pub(super) fn is_on_disk(&self) -> bool {
        self.in_flight.is_on_disk()
    }

    /// Reads the batch if it is on disk; returns whether it was.
    pub(super) async fn read(&mut self) -> Result<bool, BacklogUnreadable> {
        let on_disk = self.is_on_disk();
        if on_disk {
            if !Box::pin(self.in_flight.read()).await {
                return Err(BacklogUnreadable);
            }
            self.begin();
        }
        Ok(on_disk)
    }

    /// Takes what waits behind the batch in memory into it, if it is whole, as far as that then has no more than `most` bytes, and
    /// nobody waits for any of the stream.
    pub(super) fn join_waiting(&mut self, most: usize) {
        if !self.halved && self.rest.len() == 1 {
            self.in_flight.join_waiting(most);
            self.begin();
        }
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

    /// The traced requests that have entries in the batch, if there are any.
    pub(super) fn links(&self) -> Option<&BatchLinks> {
        self.in_flight.links()
    }

    /// Whether the batch takes memory that others may need more.
    pub(super) fn hinder(&self) -> bool {
        self.in_flight.hinders()
    }

    /// In the order in which they are sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.rest.iter().rev().map(|piece| &piece.batch)
    }

    /// Whether all have ended.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty() && (!self.in_flight.is_on_disk() || self.in_flight.is_gone())
    }

    /// Records in all of them.
    pub(super) fn records(&self) -> u64 {
        self.iter().map(Batch::records).sum()
    }

    /// What to attempt next, if anything is left and it has been read: the sample if there is one, else the next piece.
    pub(super) fn next(&self) -> Option<&Batch> {
        self.sample.as_ref().map(|sample| &sample.batch).or(self.rest.last().map(|piece| &piece.batch))
    }

    /// Whether what is attempted next is a part of a batch that is divided.
    pub(super) fn next_is_part(&self) -> bool {
        self.halved || self.has_sample()
    }

    /// Has the record at this position among those that are left attempted before its turn.
    pub(super) fn try_sample(&mut self, record: u64) {
        let (at, within) = self.place_of(record);
        let batch = descend(&self.rest[at].batch, within, |_| {});
        self.sample = Some(SampledRecord { record, batch });
        self.charge();
    }

    /// Whether what is attempted next is a sample.
    pub(super) fn has_sample(&self) -> bool {
        self.sample.is_some()
    }

    /// Forgets the sample: the upstream has not taken it, and it is still to be attempted in its turn.
    pub(super) fn end_sample(&mut self) {
        self.sample = None;
        self.charge();
    }

    /// Notes that the upstream has taken the sample, which becomes a piece of its own, with those before and behind it
    /// in pieces around it.
    pub(super) fn sample_taken(&mut self, taken: UpstreamWord) {
        let Some(SampledRecord { record, batch }) = self.sample.take() else { return };
        let (at, within) = self.place_of(record);
        let (mut earlier, mut later) = (Vec::new(), Vec::new());
        descend(&self.rest[at].batch, within, |beside| match beside {
            Beside::Earlier(half) => earlier.push(BatchPiece::from(half)),
            Beside::Later(half) => later.push(BatchPiece::from(half)),
        });
        // In the order of `rest`, whose last is the next: what is far behind the sample, what is close behind it, the sample
        // itself, what is close before it, what is far before it.
        let parts = later.into_iter().chain([BatchPiece { batch, taken: Some(taken) }]);
        self.rest.splice(at..=at, parts.chain(earlier.into_iter().rev()));
        self.halved = true;
        self.charge();
    }

    /// In which piece of `rest` a record is, and its position there.
    fn place_of(&self, record: u64) -> (usize, u64) {
        let mut within = record;
        for (at, piece) in self.rest.iter().enumerate().rev() {
            if within < piece.batch.records() {
                return (at, within);
            }
            within -= piece.batch.records();
        }
        unreachable!("record {record} is one of those that are left")
    }

    /// What the upstream said of the next piece, if it has taken that before its turn.
    pub(super) fn next_was_taken(&self) -> Option<&UpstreamWord> {
        self.rest.last().and_then(|piece| piece.taken.as_ref())
    }

    /// Has the next piece attempted although the upstream has taken it before its turn.
    pub(super) fn repeat_next(&mut self) {
        if let Some(piece) = self.rest.last_mut() {
            piece.taken = None;
        }
    }

    /// Whether all of the next piece was withdrawn meanwhile, and may be taken out.
    pub(super) fn next_is_withdrawn(&self) -> bool {
        !self.halved && self.all_is_withdrawn()
    }

    fn all_is_withdrawn(&self) -> bool {
        self.next().is_some_and(|piece| self.in_flight.is_withdrawn(piece.numbers()))
    }

    /// The next piece has ended; of its records so many as `lost` says were not delivered and ended otherwise, for a reason that
    /// senders may read.
    pub(super) fn end(&mut self, lost: (u64, Fate), reason: &str) {
        debug_assert!(self.sample.is_none(), "a sample ends nothing");
        if let Some(piece) = self.rest.pop() {
            self.in_flight.ended(&piece.batch, self.rest.last().map(|next| &next.batch), lost, reason);
        }
    }

    /// Gives the next piece back to the senders that wait for it, as far as they do. Returns whether all of it is theirs, and
    /// nothing of it is left once it was [taken out](Self::take_out_withdrawn).
    pub(super) fn give_back_to_senders(&mut self, reason: &str) -> bool {
        let Some(piece) = self.rest.last() else { return true };
        self.in_flight.give_back_to_senders(piece.batch.numbers(), reason);
        self.all_is_withdrawn()
    }

    /// Halves the next piece, if it has more than one record or entry.
    pub(super) fn halve(&mut self) -> bool {
        let Some([first, second]) = self.rest.last().and_then(|piece| piece.batch.halve()) else {
            return false;
        };
        self.rest.pop();
        self.rest.extend([second, first].map(BatchPiece::from));
        self.halved = true;
        self.charge();
        true
    }

    /// Takes out what was withdrawn meanwhile, unless the batch is being divided: then it ends as it ends, as an attempt
    /// does that is under way. A search that takes longer than its senders wait would otherwise begin anew with each of their
    /// repetitions, and what stands behind the first refused records would never arrive. Returns how many records were taken
    /// out.
    pub(super) fn withdraw(&mut self) -> u64 {
        if self.halved { 0 } else { self.take_out_withdrawn() }
    }

    /// Takes out what was withdrawn meanwhile, also of a batch that is being divided. Returns how many records that were.
    pub(super) fn take_out_withdrawn(&mut self) -> u64 {
        let gone = self.in_flight.withdraw();
        if gone.is_empty() {
            return 0;
        }
        let mut records = 0;
        // Its position is not that of the same record any more.
        self.sample = None;
        for BatchPiece { batch: piece, .. } in &mut self.rest {
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
        self.rest.retain(|piece| !piece.batch.is_empty());
        if self.halved {
            self.charge();
        }
        records
    }

    fn charge(&mut self) {
        let sample = self.sample.as_ref().map_or(0, |sample| sample.batch.len());
        let pieces = if self.halved { self.iter().map(Batch::len).sum() } else { 0 };
        self.copies.charge_spare((sample + pieces) as u64);
    }
}

/// What a batch holds beside one of its records.
enum Beside {
    Earlier(Batch),
    Later(Batch),
}

/// Halves a batch until the record at this position in it stands alone, and returns that one. `beside` gets the halves
/// that it is not in, from the largest to the smallest.
fn descend(batch: &Batch, mut record: u64, mut beside: impl FnMut(Beside)) -> Batch {
    let mut alone = batch.clone();
    while let Some([first, second]) = alone.halve() {
        if record < first.records() {
            beside(Beside::Later(second));
            alone = first;
        } else {
            record -= first.records();
            beside(Beside::Earlier(first));
            alone = second;
        }
    }
    alone
}

#[cfg(test)]
mod tests;
