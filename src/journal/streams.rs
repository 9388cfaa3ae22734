//! The streams of a journal: their numbers, and how far each is settled.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use super::types::{RecoveredStream, StreamId, StreamKey};

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) key: StreamKey,
    /// The sequence number of the next entry.
    pub(super) next: u64,
    /// All entries below are settled.
    pub(super) position: u64,
    /// What is settled above the position: from the key up to, but not including, the value.
    above: BTreeMap<u64, u64>,
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
        self.insert(number, key.clone(), 0, 0);
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
    pub(super) fn insert(&mut self, number: u32, key: StreamKey, position: u64, next: u64) {
        self.numbers.insert(key.clone(), number);
        let state = StreamState {
            key,
            next: next.max(position),
            position,
            above: BTreeMap::new(),
            segments: 0,
            users: 0,
            dirty: false,
        };
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
        self.settled += state.settle(*sequences.start(), sequences.end().saturating_add(1));
        if state.advance() && !state.dirty {
            state.dirty = true;
            self.dirty.push(stream.0);
        }
    }

    /// The position of a stream; one that is forgotten needs nothing any more.
    pub(super) fn position(&self, number: u32) -> u64 {
        self.table.get(&number).map_or(u64::MAX, |state| state.position)
    }

    /// The positions that have moved since the last call.
    pub(super) fn take_dirty(&mut self) -> Vec<(u32, u64)> {
        let mut moved = Vec::with_capacity(self.dirty.len());
        for number in std::mem::take(&mut self.dirty) {
            if let Some(state) = self.table.get_mut(&number) {
                state.dirty = false;
                moved.push((number, state.position));
            }
        }
        moved
    }

    /// Every position that says something.
    pub(super) fn positions(&self) -> Vec<(u32, u64)> {
        let moved = self.table.iter().filter(|(_, state)| state.position > 0);
        moved.map(|(number, state)| (*number, state.position)).collect()
    }
}

impl StreamState {
    /// Adds a range, and returns how many of its entries were not settled before.
    fn settle(&mut self, start: u64, end: u64) -> u64 {
        let (mut start, mut end) = (start.max(self.position), end.min(self.next));
        if start >= end {
            return 0;
        }
        let mut new = end - start;
        // Ranges that touch this one become one with it.
        while let Some((&from, &to)) = self.above.range(..=end).next_back().filter(|(_, to)| **to >= start) {
            new -= to.min(end).saturating_sub(from.max(start));
            self.above.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.above.insert(start, end);
        new
    }

    /// Moves the position over what is settled; whether it moved.
    fn advance(&mut self) -> bool {
        match self.above.first_key_value() {
            Some((&start, &end)) if start <= self.position => {
                self.above.pop_first();
                self.position = end;
                true
            }
            _ => false,
        }
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
        streams.settle(a, &(10..=19));
        streams.settle(a, &(30..=39));
        assert_eq!((streams.position(a.0), streams.settled), (0, 20));
        assert_eq!(streams.take_dirty(), []);
        streams.settle(a, &(5..=34));
        assert_eq!((streams.position(a.0), streams.settled), (0, 35));
        streams.settle(a, &(0..=4));
        assert_eq!((streams.position(a.0), streams.settled), (40, 40));
        assert_eq!(streams.take_dirty(), [(a.0, 40)]);
        streams.settle(a, &(0..=39));
        streams.settle(a, &(99..=u64::MAX));
        assert_eq!((streams.position(a.0), streams.settled), (40, 41));
        streams.settle(a, &(40..=98));
        assert_eq!(streams.take_dirty(), [(a.0, 100)]);
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
