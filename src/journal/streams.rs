//! The streams of a journal: their numbers, and how far each is settled.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use super::index::Row;
use super::positions::Moved;
use super::settled::Settled;
use super::types::{RecoveredStream, StreamId, StreamKey};

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) key: StreamKey,
    /// The sequence number of the next entry.
    pub(super) next: u64,
    pub(super) settled: Settled,
    /// Segments that have entries of it, settled ones included: as long as there are any, its position is needed.
    pub(super) segments: u32,
    /// How many hold its number.
    users: u32,
    /// Whether the position has moved since it was last taken to be written.
    dirty: bool,
}

/// All streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    numbers: HashMap<StreamKey, u32>,
    pub(super) table: BTreeMap<u32, StreamState>,
    /// The next number: never one that stands in any file.
    pub(super) next: u32,
    dirty: Vec<u32>,
    /// Streams with numbers that have been settled above their position since that was last taken to be written: of each
    /// range one.
    dirty_above: Vec<(u32, u64)>,
    /// Entries settled since the start.
    pub(super) settled: u64,
}

impl Streams {
    /// The number of a stream, for one more user.
    pub(super) fn number(&mut self, key: &StreamKey) -> StreamId {
        if let Some(number) = self.numbers.get(key) {
            self.table.get_mut(number).expect("numbers are those of the table").users += 1;
            return StreamId(*number);
        }
        self.number_anew(key)
    }

    /// A number above all others, for its first user. It is the one of the key from now on.
    pub(super) fn number_anew(&mut self, key: &StreamKey) -> StreamId {
        let number = self.next;
        self.next += 1;
        self.insert(number, key.clone(), Settled::default(), 0);
        self.table.get_mut(&number).expect("it was just inserted").users = 1;
        StreamId(number)
    }

    /// The number that a stream was found under, for one more user. If nothing is left of it, one that has nothing.
    pub(super) fn number_again(&mut self, found: &RecoveredStream) -> StreamId {
        let Some(state) = self.table.get_mut(&found.id.0) else { return self.number_anew(&found.key) };
        state.users += 1;
        found.id
    }

    /// Puts a stream there that was found on disk.
    pub(super) fn insert(&mut self, number: u32, key: StreamKey, settled: Settled, next: u64) {
        self.numbers.insert(key.clone(), number);
        // What is settled may be gone: its numbers would count as settled if they were given again.
        let next = next.max(settled.end());
        let state = StreamState { key, next, settled, segments: 0, users: 0, dirty: false };
        self.table.insert(number, state);
        self.next = self.next.max(number + 1);
    }

    /// One user less.
    pub(super) fn release(&mut self, stream: StreamId) {
        if let Some(state) = self.table.get_mut(&stream.0) {
            state.users = state.users.saturating_sub(1);
        }
        self.drop_if_unused(stream.0);
    }

    /// One segment less that has entries of it.
    pub(super) fn leave_segment(&mut self, number: u32) {
        if let Some(state) = self.table.get_mut(&number) {
            state.segments = state.segments.saturating_sub(1);
        }
        self.drop_if_unused(number);
    }

    fn drop_if_unused(&mut self, number: u32) {
        if self.table.get(&number).is_some_and(|state| state.users == 0 && state.segments == 0) {
            let state = self.table.remove(&number).expect("it was just there");
            if self.numbers.get(&state.key) == Some(&number) {
                self.numbers.remove(&state.key);
            }
        }
    }

    /// Notes that entries are settled. What is not there is left out.
    pub(super) fn settle(&mut self, stream: StreamId, sequences: &RangeInclusive<u64>) {
        let Some(state) = self.table.get_mut(&stream.0) else { return };
        let (first, end) = (*sequences.start(), sequences.end().saturating_add(1).min(state.next));
        let before = state.settled.position();
        let new = state.settled.add(first..end);
        if new == 0 {
            return;
        }
        self.settled += new;
        if state.settled.position() > before {
            if !state.dirty {
                state.dirty = true;
                self.dirty.push(stream.0);
            }
        } else {
            let range = state.settled.around(first);
            let known = self.dirty_above.last().filter(|(last, _)| *last == stream.0);
            // What settles in order makes one range, which is written once.
            if !known.is_some_and(|(_, number)| range.is_some_and(|range| range.contains(number))) {
                self.dirty_above.push((stream.0, first));
            }
        }
    }

    /// What is settled of a stream; one that is forgotten needs nothing any more.
    pub(super) fn settled(&self, number: u32) -> Settled {
        self.table.get(&number).map_or_else(|| Settled::below(u64::MAX), |state| state.settled.clone())
    }

    /// How many entries of a row may be live, and their bytes, as if all were alike. Entries below the position count until
    /// all of the row are settled: a stream that gets on is not worth being carried out of a segment that it soon leaves.
    pub(super) fn live_in(&self, row: &Row) -> (u64, u64) {
        let Some(StreamState { settled, .. }) = self.table.get(&row.stream) else { return (0, 0) };
        let open: u64 = settled.gaps(row.first..row.end).map(|gap| gap.end - gap.start).sum();
        if open == 0 {
            return (0, 0);
        }
        let entries = row.entries.min(open + settled.position().saturating_sub(row.first)).max(1);
        let bytes = u128::from(row.bytes) * u128::from(entries) / u128::from(row.entries.max(1));
        (entries, bytes as u64)
    }

    /// The positions that have moved since the last call, and the ranges above them that have grown.
    pub(super) fn take_moved(&mut self) -> Moved {
        let mut moved = Moved::default();
        for number in std::mem::take(&mut self.dirty) {
            if let Some(state) = self.table.get_mut(&number) {
                state.dirty = false;
                moved.positions.push((number, state.settled.position()));
            }
        }
        let mut above = std::mem::take(&mut self.dirty_above);
        above.sort_unstable();
        for (stream, number) in above {
            let range = self.table.get(&stream).and_then(|state| state.settled.around(number));
            // The position may have moved over it since.
            if let Some(range) = range.map(|range| (stream, range))
                && moved.above.last() != Some(&range)
            {
                moved.above.push(range);
            }
        }
        moved
    }

    /// What is settled of every stream of which anything is.
    pub(super) fn all_settled(&self) -> BTreeMap<u32, Settled> {
        let moved = self.table.iter().filter(|(_, state)| !state.settled.is_empty());
        moved.map(|(number, state)| (*number, state.settled.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Signal;

    fn key(name: &str) -> StreamKey {
        StreamKey { exporter: "e".into(), signal: Signal::Logs, identity: name.into(), attributes: [].into() }
    }

    #[test]
    fn the_position_moves_when_everything_below_is_settled() {
        let mut streams = Streams::default();
        let a = streams.number(&key("a"));
        streams.table.get_mut(&a.0).unwrap().next = 100;
        let position = |streams: &Streams| streams.settled(a.0).position();
        streams.settle(a, &(10..=19));
        streams.settle(a, &(30..=39));
        assert_eq!((position(&streams), streams.settled), (0, 20));
        assert_eq!(streams.take_moved().positions, []);
        streams.settle(a, &(5..=34));
        assert_eq!((position(&streams), streams.settled), (0, 35));
        streams.settle(a, &(0..=4));
        assert_eq!((position(&streams), streams.settled), (40, 40));
        assert_eq!(streams.take_moved().positions, [(a.0, 40)]);
        streams.settle(a, &(0..=39));
        streams.settle(a, &(99..=u64::MAX));
        assert_eq!((position(&streams), streams.settled), (40, 41));
        streams.settle(a, &(40..=98));
        assert_eq!(streams.take_moved().positions, [(a.0, 100)]);
    }

    #[test]
    fn ranges_are_said_once_and_only_those_that_have_grown() {
        let mut streams = Streams::default();
        let [a, b] = ["a", "b"].map(|name| streams.number(&key(name)));
        for stream in [a, b] {
            streams.table.get_mut(&stream.0).unwrap().next = 1000;
        }
        (10..20).for_each(|n| streams.settle(a, &(n..=n)));
        assert_eq!(streams.dirty_above.len(), 1, "what settles in order needs no memory for each");
        (30..40).for_each(|n| [b, a].iter().for_each(|stream| streams.settle(*stream, &(n..=n))));
        let moved = streams.take_moved();
        assert_eq!(moved.above, [(a.0, 10..20), (a.0, 30..40), (b.0, 30..40)]);
        streams.settle(a, &(15..=35));
        streams.settle(a, &(50..=59));
        streams.settle(a, &(70..=79));
        streams.settle(a, &(0..=55));
        streams.settle(b, &(30..=39));
        let moved = streams.take_moved();
        assert_eq!((moved.positions, moved.above), (vec![(a.0, 60)], vec![(a.0, 70..80)]));
        assert_eq!(streams.take_moved(), Moved::default());
    }

    #[test]
    fn a_stream_goes_with_its_last_user_and_its_last_segment() {
        let mut streams = Streams::default();
        let a = streams.number(&key("a"));
        assert_eq!(streams.number(&key("a")), a);
        streams.table.get_mut(&a.0).unwrap().segments = 1;
        streams.release(a);
        streams.release(a);
        assert_eq!(streams.number(&key("a")), a);
        streams.release(a);
        streams.leave_segment(a.0);
        assert!(streams.table.is_empty());
        assert_ne!(streams.number(&key("a")), a, "a number is never given twice");
    }

    #[test]
    fn a_key_may_have_two_numbers_and_the_higher_one_is_its_own() {
        let mut streams = Streams::default();
        let (a, b) = (streams.number(&key("a")), streams.number(&key("b")));
        let again = streams.number_anew(&key("a"));
        assert!(a < b && b < again);
        assert_eq!(streams.number(&key("a")), again);
        streams.release(a);
        assert_eq!(streams.number(&key("a")), again, "it is not the first one's any more");
        for _ in 0..3 {
            streams.release(again);
        }
        assert!(streams.number(&key("a")) > again);
    }
}
