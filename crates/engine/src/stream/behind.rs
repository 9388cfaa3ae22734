//! What a stream has on disk only.
//!
//! Memory is for streams that get on. A stream whose entries are in the journal needs none to wait with: what there was no
//! memory for stays on disk, and what an upstream doesn't take goes back there. It is read when it is about to be sent, see
//! `reading.rs`.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::NumberSet;
use super::decision::DecisionDetails;
use super::open::ClosedBatch;
use super::queue::{Queue, Stream};
use super::reading::Ahead;
use super::receipt::Stub;

/// How many moments a backlog remembers, to know how old its oldest entry is.
const MOMENTS: usize = 64;

/// How far these are apart at the least.
const BETWEEN_MOMENTS: Duration = Duration::from_secs(1);

/// Entries that are on disk only: all that come after those in memory.
#[derive(Debug)]
pub(super) struct Behind {
    /// The sequence numbers of those that have not been read.
    pub(super) numbers: Range<u64>,
    /// Those of them that were withdrawn, and are settled. A read that began before may have them all the same.
    withdrawn: NumberSet,
    bytes: u64,
    records: u64,
    /// When entries from some numbers on came; of those that were recovered, when they were found.
    moments: VecDeque<(u64, Instant)>,
    /// A consumer has what comes next in its hands, read or not.
    pub(super) taken: bool,
    /// What comes next, read before a consumer asks for it: one behind the other.
    pub(super) ahead: VecDeque<Ahead>,
}

/// Entries that were on disk only, and that nobody waits for any more.
#[derive(Debug)]
pub(super) struct Forgotten {
    numbers: NumberSet,
    bytes: u64,
    records: u64,
    /// To be let go of where nobody waits for the queue.
    _ahead: VecDeque<Ahead>,
}

/// Framed bytes, and records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// How what was read differs from what was known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// It is not there: damage took it.
    pub(super) missing: Amount,
    /// Nobody had counted it.
    pub(super) surplus: Amount,
}

impl Behind {
    fn new(from: u64) -> Self {
        let moments = VecDeque::new();
        let (withdrawn, ahead) = (NumberSet::default(), VecDeque::new());
        Self { numbers: from..from, withdrawn, bytes: 0, records: 0, moments, taken: false, ahead }
    }

    /// What was withdrawn of those that have not been read.
    pub(super) fn withdrawn(&self) -> &NumberSet {
        &self.withdrawn
    }

    /// When the first of its entries came, about.
    pub(super) fn since(&self) -> Option<Instant> {
        self.moments.front().map(|(_, moment)| *moment)
    }

    fn came(&mut self, from: u64) {
        let now = Instant::now();
        if self.moments.back().is_some_and(|(_, last)| now.duration_since(*last) < BETWEEN_MOMENTS) {
            return;
        }
        if self.moments.len() == MOMENTS {
            let mut keep = false;
            self.moments.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.moments.push_back((from, now));
    }

    /// Takes off what has been read of the entries below `end`: up to the number `next`, if anything was there; if nothing
    /// is left, the stream is no longer behind.
    pub(super) fn read(behind: &mut Option<Self>, next: Option<u64>, read: Amount, end: u64) -> Difference {
        let mut difference = Difference::default();
        let Some(this) = behind.as_mut() else { return difference };
        this.taken = false;
        this.numbers.start = this.numbers.start.max(next.unwrap_or(0));
        difference.surplus.bytes = read.bytes.saturating_sub(this.bytes);
        difference.surplus.records = read.records.saturating_sub(this.records);
        this.bytes = this.bytes.saturating_sub(read.bytes);
        this.records = this.records.saturating_sub(read.records);
        let left = NumberSet::from(this.numbers.clone());
        this.withdrawn = this.withdrawn.intersection(&left);
        // What came while these were read is still to be read.
        let nothing_there = next.is_none() && this.numbers.end == end;
        if nothing_there || left.without(&this.withdrawn).is_empty() {
            difference.missing = Amount { bytes: this.bytes, records: this.records };
            *behind = None;
            return difference;
        }
        while this.moments.get(1).is_some_and(|(from, _)| *from <= this.numbers.start) {
            this.moments.pop_front();
        }
        difference
    }
}

impl Queue {
    /// Notes entries that are on disk only.
    pub(super) fn fall_behind(&mut self, numbers: Range<u64>, bytes: u64, records: u64) {
        let behind = self.behind.get_or_insert_with(|| Behind::new(numbers.start));
        behind.came(numbers.start);
        behind.numbers.end = numbers.end;
        behind.bytes += bytes;
        behind.records += records;
    }

    /// Takes off what is on disk only of a request that is withdrawn, if all of the request is: how much a part of it is,
    /// only reading tells. And takes off everything, if what is left is such parts.
    pub(super) fn withdraw_behind(&mut self, stub: Option<&Stub>) -> Option<Forgotten> {
        let behind = self.behind.as_mut()?;
        let all = NumberSet::from(behind.numbers.clone());
        let of_stub = stub.and_then(|stub| Some((&stub.unsettled, stub.all_in(&behind.numbers)?)));
        if let Some((numbers, _)) = of_stub {
            behind.withdrawn = behind.withdrawn.union(numbers);
        }
        let left = all.without(&behind.withdrawn);
        if all.is_empty() || !left.without(&self.withdrawn).is_empty() {
            let (numbers, Amount { bytes, records }) = of_stub?;
            // No more than is counted here, which after damage may be less than there is.
            let (bytes, records) = (bytes.min(behind.bytes), records.min(behind.records));
            behind.bytes -= bytes;
            behind.records -= records;
            self.end(numbers);
            return Some(Forgotten { numbers: numbers.clone(), bytes, records, _ahead: VecDeque::new() });
        }
        self.end(&all);
        let behind = self.behind.as_mut()?;
        let (bytes, records) = (mem::take(&mut behind.bytes), mem::take(&mut behind.records));
        let ahead = mem::take(&mut behind.ahead);
        if behind.taken {
            // It stays where it is, so that a consumer which has it in its hands keeps its place before what comes now.
            behind.numbers.start = behind.numbers.end;
            behind.withdrawn = NumberSet::default();
            behind.moments.clear();
        } else {
            self.behind = None;
        }
        Some(Forgotten { numbers: all, bytes, records, _ahead: ahead })
    }

    /// A consumer no longer has in its hands what is on disk only.
    pub(super) fn leave_behind(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.taken = false;
            if behind.numbers.is_empty() {
                self.behind = None;
            }
        }
    }

    /// Takes what comes next of what is on disk only, if nothing is in memory that goes first, nor in the hands of another
    /// consumer; returns since when it is there.
    pub(super) fn take_behind(&mut self) -> Option<Instant> {
        if !self.closed.is_empty() || !self.open.is_empty() {
            return None;
        }
        let behind = self.behind.as_mut().filter(|behind| !behind.taken)?;
        behind.taken = true;
        Some(behind.since().unwrap_or_else(Instant::now))
    }

    /// From the first of all entries that are in memory to the first one that is on disk only. What is missing in between was
    /// withdrawn, and is settled: the journal leaves it out.
    fn in_memory(&self, in_flight: &ClosedBatch) -> Option<Range<u64>> {
        let first = in_flight.batch.numbers().first();
        let first = first.or_else(|| self.closed.front()?.batch.numbers().first());
        let first = first.or_else(|| self.open.numbers().first())?;
        let end = self.behind.as_ref().map_or(self.next_sequence, |behind| behind.numbers.start);
        Some(first..end)
    }
}

impl Stream {
    /// Whether a batch in the hands of a consumer takes memory that others may need more.
    pub(super) fn hinders(&self, in_flight: &ClosedBatch) -> bool {
        self.durable.is_some() && (in_flight.room.is_some() || self.registry().shared().is_short())
    }

    /// Lets go of all that is in memory, since it is on disk as well: the batch in the hands of the only consumer, and
    /// what comes after it. Whether that was possible.
    pub(super) fn put_back(&self, in_flight: &mut ClosedBatch) -> bool {
        if self.durable.is_none() {
            return false;
        }
        let signal = self.signal();
        let mut queue = self.queue();
        let Some(numbers) = queue.in_memory(in_flight).filter(|_| queue.in_flight == 1) else { return false };
        let opened = in_flight.opened;
        let open = queue.open.close(signal);
        let in_hand = mem::replace(in_flight, ClosedBatch::nothing(signal));
        let (mut bytes, mut records, mut capacity, mut requests) = (0, 0, 0, 0);
        let mut back = NumberSet::default();
        for closed in std::iter::once(in_hand).chain(queue.closed.drain(..)).chain(open) {
            back = back.union(closed.batch.numbers());
            bytes += closed.batch.len() as u64;
            records += closed.batch.records();
            capacity += closed.capacity;
            requests += closed.requests;
        }
        self.leave_memory(&mut queue, bytes);
        let behind = queue.behind.get_or_insert_with(|| Behind::new(numbers.end));
        behind.numbers.end = behind.numbers.end.max(numbers.end);
        behind.numbers.start = numbers.start;
        behind.withdrawn = behind.withdrawn.union(&NumberSet::from(numbers.clone()).without(&back));
        behind.bytes += bytes;
        behind.records += records;
        match behind.moments.front_mut() {
            Some((from, moment)) if *moment <= opened => *from = numbers.start,
            _ => behind.moments.push_front((numbers.start, opened)),
        }
        behind.taken = true;
        let ahead = mem::take(&mut behind.ahead);
        let forgotten = queue.withdraw_behind(None);
        drop(queue);
        drop(ahead);
        let (of_bytes, of_records) = (Some(bytes), Some(records));
        let details = DecisionDetails { bytes: of_bytes, records: of_records, ..DecisionDetails::default() };
        self.log_decision("entries are left on disk alone until they are sent", details);
        self.forget(forgotten);
        self.registry().shared().budget.release(capacity);
        self.requests.fetch_sub(requests, Ordering::SeqCst);
        self.line.freed();
        true
    }

    /// Lets go of what was read before it is asked for.
    pub(super) fn forget_ahead(&self) {
        let ahead = self.queue().behind.as_mut().map(|behind| mem::take(&mut behind.ahead));
        drop(ahead);
    }

    pub(super) fn has_nothing_on_disk(&self) -> bool {
        self.queue().behind.as_ref().is_none_or(|behind| behind.numbers.is_empty())
    }

    /// Ends what was on disk only and is withdrawn.
    pub(super) fn forget(&self, forgotten: Option<Forgotten>) {
        let Some(Forgotten { numbers, bytes, records, .. }) = forgotten else { return };
        if let Some(durable) = &self.durable {
            durable.settle(&numbers);
        }
        // Counted as ended before it is no longer pending, so that nothing is missing in between.
        self.registry().count_withdrawn(self.name(), records);
        self.registry().ended(self, records, bytes);
        self.let_go(bytes);
    }
}
