//! The streams of a journal: their numbers, and how far each is settled.
//!
//! A stream gets its number when its first entry has been written. Until then it has a stand-in for one, so that requests
//! which are refused use up no numbers: a sender can make up any number of streams, and nothing is written for them.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use super::number_set::NumberSet;
use super::positions::Moved;
use super::row::IndexRow;
use super::types::{RecoveredStream, StreamId, StreamKey};

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct KnownStream {
    pub(super) key: StreamKey,
    /// The sequence number of the next entry.
    pub(super) next: u64,
    pub(super) settled: NumberSet,
    /// Segments that have entries of it, settled ones included: as long as there are any, its position is needed.
    pub(super) segments: u64,
    /// Handles that have been given out and not given back, whether they are the number or a stand-in for it.
    users: u64,
    /// Whether the position has moved since it was last taken to be written.
    dirty: bool,
}

/// Set in what stands for a number that has not been given yet. No number is so high.
const STAND_IN: u64 = 1 << 63;

/// The stand-in for the number of a stream that had none when its handle was given out.
#[derive(Debug)]
struct StandInNumber {
    key: StreamKey,
    /// Handles that have been given out and not given back.
    users: u64,
    /// The number that was given since.
    number: Option<u64>,
}

/// All streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The handle of each key: its highest number, or a stand-in for one that will be higher.
    ids: HashMap<StreamKey, StreamId>,
    stand_ins: HashMap<u64, StandInNumber>,
    /// Stand-ins so far.
    stood_in: u64,
    /// The streams that have a number.
    pub(super) table: BTreeMap<u64, KnownStream>,
    /// The next number: never one that stands in any file.
    pub(super) next: u64,
    dirty: Vec<u64>,
    /// Streams with numbers that have been settled above their position since that was last taken to be written: of each
    /// range one.
    dirty_above: Vec<(u64, u64)>,
    /// Entries settled since the start.
    pub(super) settled: u64,
}

impl Streams {
    /// The handle of a stream, for one more user.
    pub(super) fn id(&mut self, key: &StreamKey) -> StreamId {
        let Some(id) = self.ids.get(key).copied() else { return self.stand_in(key) };
        if let Some(stand_in) = self.stand_ins.get_mut(&id.0) {
            stand_in.users += 1;
        }
        if let Some(state) = self.number(id).and_then(|number| self.table.get_mut(&number)) {
            state.users += 1;
        }
        id
    }

    /// A stand-in for the number of a stream that has none, for its first user. It is the handle of the key from now on.
    fn stand_in(&mut self, key: &StreamKey) -> StreamId {
        let id = StreamId(STAND_IN | self.stood_in);
        self.stood_in += 1;
        self.stand_ins.insert(id.0, StandInNumber { key: key.clone(), users: 1, number: None });
        self.ids.insert(key.clone(), id);
        id
    }

    /// The number that a stream was found under, for one more user. If nothing is left of it, one that has nothing.
    pub(super) fn id_again(&mut self, found: &RecoveredStream) -> StreamId {
        let Some(state) = self.table.get_mut(&found.id.0) else { return self.stand_in(&found.key) };
        state.users += 1;
        found.id
    }

    /// The number of a stream, if it has one.
    pub(super) fn number(&self, id: StreamId) -> Option<u64> {
        if id.0 & STAND_IN == 0 { Some(id.0) } else { self.stand_ins.get(&id.0)?.number }
    }

    /// The key of a stream that has no number yet.
    pub(super) fn unnumbered(&self, id: StreamId) -> Option<&StreamKey> {
        self.stand_ins.get(&id.0).filter(|stand_in| stand_in.number.is_none()).map(|stand_in| &stand_in.key)
    }

    /// The key of a stream, whether it has a number or not; `None` if it is not known.
    pub(super) fn key(&self, id: StreamId) -> Option<&StreamKey> {
        let numbered = || self.table.get(&self.number(id)?).map(|stream| &stream.key);
        self.unnumbered(id).or_else(numbered)
    }

    /// Gives a stream its number, which is the next one: its first entry has been written under it.
    pub(super) fn give_number(&mut self, id: StreamId, key: &StreamKey, number: u64) {
        debug_assert_eq!(number, self.next, "numbers are given in turn");
        debug_assert_eq!(self.number(id), None, "a stream gets one number");
        let named = self.ids.get(key).copied();
        self.insert(number, key.clone(), NumberSet::default(), 0);
        if let Some(named) = named.filter(|named| *named != id && self.number(*named).is_none()) {
            // The key has come to have another, which gets a higher number.
            self.ids.insert(key.clone(), named);
        }
        if let Some(stand_in) = self.stand_ins.get_mut(&id.0) {
            stand_in.number = Some(number);
            self.table.get_mut(&number).expect("it was just inserted").users = stand_in.users;
        }
    }

    /// Puts a stream there that was found on disk.
    pub(super) fn insert(&mut self, number: u64, key: StreamKey, settled: NumberSet, next: u64) {
        debug_assert_eq!(number & STAND_IN, 0, "no number is so high");
        self.ids.insert(key.clone(), StreamId(number));
        // What is settled may be gone: its numbers would count as settled if they were given again.
        let next = next.max(settled.end());
        let state = KnownStream { key, next, settled, segments: 0, users: 0, dirty: false };
        let before = self.table.insert(number, state);
        debug_assert!(before.is_none(), "no number is given twice");
        self.next = self.next.max(number + 1);
    }

    /// One user less.
    pub(super) fn release(&mut self, stream: StreamId) {
        let number = self.number(stream);
        if let Some(stand_in) = self.stand_ins.get_mut(&stream.0) {
            stand_in.users = stand_in.users.saturating_sub(1);
            if stand_in.users == 0
                && let Some(stand_in) = self.stand_ins.remove(&stream.0)
            {
                self.unname(&stand_in.key, stream);
            }
        }
        let Some(number) = number else { return };
        if let Some(state) = self.table.get_mut(&number) {
            state.users = state.users.saturating_sub(1);
        }
        self.drop_if_unused(number);
    }

    /// One segment less that has entries of it.
    pub(super) fn leave_segment(&mut self, number: u64) {
        if let Some(state) = self.table.get_mut(&number) {
            state.segments = state.segments.saturating_sub(1);
        }
        self.drop_if_unused(number);
    }

    fn drop_if_unused(&mut self, number: u64) {
        if self.table.get(&number).is_some_and(|state| state.users == 0 && state.segments == 0) {
            let state = self.table.remove(&number).expect("it was just there");
            self.unname(&state.key, StreamId(number));
        }
    }

    /// Takes the handle from a key, unless that has got another.
    fn unname(&mut self, key: &StreamKey, id: StreamId) {
        if self.ids.get(key) == Some(&id) {
            self.ids.remove(key);
        }
    }

    /// Notes that entries are settled. Numbers that have not been given are left out.
    pub(super) fn settle(&mut self, stream: StreamId, sequences: &RangeInclusive<u64>) {
        let Some(number) = self.number(stream) else { return };
        let Some(state) = self.table.get_mut(&number) else { return };
        let (first, end) = (*sequences.start(), sequences.end().saturating_add(1).min(state.next));
        let before = state.settled.position();
        let new = state.settled.insert(first..end);
        if new == 0 {
            return;
        }
        self.settled += new;
        if state.settled.position() > before {
            if !state.dirty {
                state.dirty = true;
                self.dirty.push(number);
            }
        } else {
            let range = state.settled.around(first);
            let known = self.dirty_above.last().filter(|(last, _)| *last == number);
            // What settles in order makes one range, which is written once.
            if !known.is_some_and(|(_, known)| range.is_some_and(|range| range.contains(known))) {
                self.dirty_above.push((number, first));
            }
        }
    }

    /// What is settled of a stream; one that is forgotten needs nothing any more.
    pub(super) fn settled(&self, number: u64) -> NumberSet {
        self.table.get(&number).map_or_else(|| NumberSet::from(0..u64::MAX), |state| state.settled.clone())
    }

    /// How many entries of a row may be live, and their bytes, as if all were alike. Entries below the position count until
    /// all of the row are settled: a stream that gets on is not worth being copied out of a segment that it soon leaves.
    pub(super) fn live_in(&self, row: &IndexRow) -> (u64, u64) {
        let Some(KnownStream { settled, .. }) = self.table.get(&row.stream) else { return (0, 0) };
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
            let range = range.filter(|range| range.start > 0);
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
    pub(super) fn all_settled(&self) -> BTreeMap<u64, NumberSet> {
        let moved = self.table.iter().filter(|(_, state)| !state.settled.is_empty());
        moved.map(|(number, state)| (*number, state.settled.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> StreamKey {
        StreamKey::from(name.as_bytes())
    }

    /// A stream with one user that has a number.
    fn numbered(streams: &mut Streams, name: &str) -> StreamId {
        let stand_in = streams.stand_in(&key(name));
        let number = streams.next;
        streams.give_number(stand_in, &key(name), number);
        let id = streams.id(&key(name));
        streams.release(stand_in);
        assert_eq!(id, StreamId(number));
        id
    }

    #[test]
    fn the_position_moves_when_everything_below_is_settled() {
        let mut streams = Streams::default();
        let a = numbered(&mut streams, "a");
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
        let [a, b] = ["a", "b"].map(|name| numbered(&mut streams, name));
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
        let a = numbered(&mut streams, "a");
        assert_eq!(streams.id(&key("a")), a);
        streams.table.get_mut(&a.0).unwrap().segments = 1;
        streams.release(a);
        streams.release(a);
        assert_eq!(streams.id(&key("a")), a);
        streams.release(a);
        streams.leave_segment(a.0);
        assert!(streams.table.is_empty() && streams.ids.is_empty() && streams.stand_ins.is_empty());
        assert_ne!(numbered(&mut streams, "a"), a, "a number is never given twice");
    }

    #[test]
    fn a_key_may_have_two_numbers_and_the_higher_one_is_its_own() {
        let mut streams = Streams::default();
        let (a, b) = (numbered(&mut streams, "a"), numbered(&mut streams, "b"));
        let stand_in = streams.stand_in(&key("a"));
        assert_eq!(streams.id(&key("a")), stand_in, "it will have the higher one");
        streams.give_number(stand_in, &key("a"), streams.next);
        let again = streams.id(&key("a"));
        assert_eq!(streams.number(stand_in), Some(again.0));
        assert!(a < b && b < again);
        streams.release(a);
        assert_eq!(streams.id(&key("a")), again, "it is not the first one's any more");
        for id in [again, again, stand_in, stand_in] {
            streams.release(id);
        }
        assert!(streams.stand_ins.is_empty());
        assert!(numbered(&mut streams, "a") > again);
    }

    #[test]
    fn a_stream_that_gets_no_entry_uses_up_no_number() {
        let mut streams = Streams::default();
        let before = streams.next;
        for n in 0..1000 {
            let id = streams.id(&key(&n.to_string()));
            assert_eq!(streams.id(&key(&n.to_string())), id, "it is one stream, with a number or without");
            streams.settle(id, &(0..=9));
            streams.release(id);
            streams.release(id);
        }
        assert!(streams.ids.is_empty() && streams.stand_ins.is_empty() && streams.table.is_empty());
        assert_eq!((streams.next, streams.settled), (before, 0));
    }

    #[test]
    fn numbers_go_on_beyond_32_bits() {
        let mut streams = Streams { next: u64::from(u32::MAX), ..Streams::default() };
        let [a, b] = ["a", "b"].map(|name| numbered(&mut streams, name));
        assert_eq!((a.0, b.0), (u64::from(u32::MAX), 1 << 32));
        streams.table.get_mut(&b.0).unwrap().next = 10;
        streams.settle(b, &(0..=9));
        assert_eq!((streams.settled(a.0).position(), streams.settled(b.0).position()), (0, 10));
    }
}
