//! Sets of numbers, as ranges: of sequence numbers of one stream, or of places in a file.
//!
//! A stream numbers its entries from 0 without gaps, and they are settled in order as long as one batch is sent at a time: so
//! most sets are a single range, of which there is one for each of a million idle streams. There are several ranges when a
//! batch is stuck and others pass it, or when senders withdraw what waits behind it.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use smallvec::SmallVec;

/// A set of numbers, all of them below `u64::MAX`. One range takes 24 bytes and no allocation; each further one takes
/// an entry of an ordered map. What changes or asks for a few numbers takes a time that grows with the logarithm of the
/// ranges, what combines two sets or counts one takes a time that grows with their ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberSet {
    /// The range with the lowest numbers; 0 to 0 in an empty set.
    lowest: Range<u64>,
    /// The other ranges, each from its key up to, but not including, its value: none empty, and with gaps between any two and in
    /// front of the first. `None` if there are none, as in an empty set.
    #[expect(
        clippy::box_collection,
        reason = "most sets have no others, and are smaller without room for a map"
    )]
    others: Option<Box<BTreeMap<u64, u64>>>,
}

const _: () = assert!(size_of::<NumberSet>() <= 24, "every stream has some");

/// How many numbers two ranges have in common.
fn common(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

impl NumberSet {
    /// Whether there are no numbers in it.
    pub fn is_empty(&self) -> bool {
        self.lowest.is_empty()
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.ranges().map(|range| range.end - range.start).sum()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.lowest.start)
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.end() - 1)
    }

    /// The number behind the highest one, or 0 if there is none.
    pub fn end(&self) -> u64 {
        self.others().last_key_value().map_or(self.lowest.end, |(_, end)| *end)
    }

    /// The lowest number that is not in the set: all below it are.
    pub fn position(&self) -> u64 {
        if self.lowest.start == 0 { self.lowest.end } else { 0 }
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.around(number).is_some()
    }

    /// The range that `number` is in.
    pub(crate) fn around(&self, number: u64) -> Option<Range<u64>> {
        let below = || self.others().range(..=number).next_back().map(|(start, end)| *start..*end);
        let near = if number < self.lowest.end { Some(self.lowest.clone()) } else { below() };
        near.filter(|range| range.contains(&number))
    }

    /// The numbers one by one, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.ranges().flatten()
    }

    /// The ranges, ascending; none is empty, and no two touch each other.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges_from(0)
    }

    /// Those that end behind `number`.
    fn ranges_from(&self, number: u64) -> impl Iterator<Item = Range<u64>> {
        let lowest = Some(self.lowest.clone()).filter(|lowest| lowest.end > number);
        let start = self.around(number).map_or(number, |range| range.start).max(self.lowest.end);
        lowest.into_iter().chain(self.others().range(start..).map(|(start, end)| *start..*end))
    }

    /// Those of `numbers` that are not in the set, as ranges, ascending; none is empty.
    pub(crate) fn gaps(&self, numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let (mut next, mut ranges) = (numbers.start, self.ranges_from(numbers.start));
        iter::from_fn(move || {
            while next < numbers.end {
                let range = ranges.next().unwrap_or(u64::MAX..u64::MAX);
                let gap = next..range.start.min(numbers.end);
                next = range.end;
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// Whether all of `numbers` are in the set.
    pub(crate) fn covers(&self, numbers: Range<u64>) -> bool {
        self.gaps(numbers).next().is_none()
    }

    /// Whether none of `numbers` is in the set.
    pub(crate) fn is_clear_of(&self, numbers: Range<u64>) -> bool {
        self.ranges_from(numbers.start).next().is_none_or(|range| common(&range, &numbers) == 0)
    }

    /// Adds numbers, and returns how many of them are new.
    pub fn insert(&mut self, numbers: Range<u64>) -> u64 {
        if numbers.is_empty() {
            return 0;
        }
        let (mut whole, mut known) = (numbers.clone(), 0);
        // Ranges that touch these numbers become one with them.
        while let Some(range) = self.take_touching(&numbers) {
            known += common(&range, &numbers);
            whole = whole.start.min(range.start)..whole.end.max(range.end);
        }
        self.put(whole);
        numbers.end - numbers.start - known
    }

    /// Takes numbers out, and returns how many of them there were.
    pub fn remove(&mut self, numbers: Range<u64>) -> u64 {
        if numbers.is_empty() {
            return 0;
        }
        let (mut removed, mut rest) = (0, SmallVec::<[Range<u64>; 4]>::new());
        while let Some(range) = self.take_touching(&numbers) {
            removed += common(&range, &numbers);
            rest.push(range.start..range.end.min(numbers.start));
            rest.push(range.start.max(numbers.end)..range.end);
        }
        rest.into_iter().for_each(|range| self.put(range));
        removed
    }

    /// Adds the number of an entry that follows all others.
    pub fn push(&mut self, number: u64) {
        debug_assert!(number >= self.end(), "{number} does not follow {self:?}");
        self.insert(number..number + 1);
    }

    /// The numbers that are in this set, in `other`, or in both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        for range in other.ranges() {
            union.insert(range);
        }
        union
    }

    /// The numbers that are in this set and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for range in other.ranges() {
            rest.remove(range);
        }
        rest
    }

    /// The numbers of two parts of a batch that hold `first` and `second` entries, one after the other. If together these are
    /// one more than there are numbers, the parts share an entry, and its number.
    pub fn halved(&self, first: u64, second: u64) -> [Self; 2] {
        let all = self.len();
        debug_assert!(first + second == all || first + second == all + 1, "{first} + {second} of {all}");
        [self.at_positions(0..first), self.at_positions(all.saturating_sub(second)..all)]
    }

    /// The numbers at these positions, counted from the lowest.
    fn at_positions(&self, positions: Range<u64>) -> Self {
        let (mut part, mut before) = (Self::default(), 0);
        for range in self.ranges() {
            let at =
                |position: u64| range.start.saturating_add(position.saturating_sub(before)).min(range.end);
            part.insert(at(positions.start)..at(positions.end));
            before += range.end - range.start;
        }
        part
    }

    fn others(&self) -> &BTreeMap<u64, u64> {
        static NONE: BTreeMap<u64, u64> = BTreeMap::new();
        self.others.as_deref().unwrap_or(&NONE)
    }

    /// Takes out one of the ranges that have numbers in common with these or follow each other with them, the highest first.
    fn take_touching(&mut self, numbers: &Range<u64>) -> Option<Range<u64>> {
        let touches = |range: &Range<u64>| range.start <= numbers.end && range.end >= numbers.start;
        if let Some(others) = &mut self.others {
            let near = others.range(..=numbers.end).next_back().map(|(start, end)| *start..*end);
            if let Some(range) = near.filter(touches) {
                others.remove(&range.start);
                return Some(range);
            }
        }
        if self.is_empty() || !touches(&self.lowest) {
            return None;
        }
        let next = self.others.as_mut().and_then(|others| others.pop_first());
        Some(std::mem::replace(&mut self.lowest, next.map_or(0..0, |(start, end)| start..end)))
    }

    /// Puts a range there that touches no other.
    fn put(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            debug_assert!(self.is_clear_of(range.start.saturating_sub(1)..range.end.saturating_add(1)));
            let is_lowest = self.is_empty() || range.start < self.lowest.start;
            let higher = if is_lowest { std::mem::replace(&mut self.lowest, range) } else { range };
            if !higher.is_empty() {
                self.others.get_or_insert_default().insert(higher.start, higher.end);
            }
        }
        if self.others().is_empty() {
            self.others = None;
        }
    }
}

impl From<Range<u64>> for NumberSet {
    fn from(range: Range<u64>) -> Self {
        let lowest = if range.is_empty() { 0..0 } else { range };
        Self { lowest, others: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn set(numbers: impl IntoIterator<Item = u64>) -> NumberSet {
        let mut set = NumberSet::default();
        numbers.into_iter().for_each(|number| set.push(number));
        set
    }

    #[test]
    fn neighbours_are_one_range() {
        assert!(set([3, 4, 5, 7]).ranges().eq([3..6, 7..8]));
        assert_eq!(NumberSet::from(3..6), set(3..6));
        assert_eq!(NumberSet::from(3..3), NumberSet::default());
    }

    #[test]
    fn halves_of_an_entry_share_its_number() {
        let whole = NumberSet::from(5..9);
        assert_eq!(whole.halved(1, 3), [NumberSet::from(5..6), NumberSet::from(6..9)]);
        assert_eq!(whole.halved(2, 3), [NumberSet::from(5..7), NumberSet::from(6..9)]);
        assert_eq!(NumberSet::from(5..6).halved(1, 1), [NumberSet::from(5..6), NumberSet::from(5..6)]);
    }

    #[test]
    fn all_numbers_there_are_can_be_in_a_set() {
        let mut all = NumberSet::from(0..u64::MAX);
        assert_eq!((all.len(), all.position(), all.last()), (u64::MAX, u64::MAX, Some(u64::MAX - 1)));
        assert!(all.covers(5..u64::MAX) && all.gaps(0..u64::MAX).next().is_none());
        assert_eq!((all.remove(7..9), all.insert(0..u64::MAX)), (2, 2));
        assert_eq!(all, NumberSet::from(0..u64::MAX));
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_inserted_and_not_removed_since(
            changes in vec((any::<bool>(), 0..60_u64, 0..9_u64), 0..40),
            (from, length) in (0..60_u64, 0..30_u64),
        ) {
            let (mut numbers, mut model) = (NumberSet::default(), BTreeSet::new());
            for (insert, start, length) in changes {
                let range = start..start + length;
                let there = model.range(range.clone()).count() as u64;
                if insert {
                    model.extend(range.clone());
                    prop_assert_eq!(numbers.insert(range), length - there);
                } else {
                    model.retain(|number| !range.contains(number));
                    prop_assert_eq!(numbers.remove(range), there);
                }
                prop_assert_eq!(&numbers, &set(model.iter().copied()), "sets of the same numbers are equal");
            }
            let ranges: Vec<_> = numbers.ranges().collect();
            prop_assert!(ranges.iter().all(|range| !range.is_empty()));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(numbers.iter().eq(model.iter().copied()));
            prop_assert_eq!((numbers.len(), numbers.is_empty()), (model.len() as u64, model.is_empty()));
            prop_assert_eq!((numbers.first(), numbers.last()), (model.first().copied(), model.last().copied()));
            prop_assert_eq!(numbers.end(), model.last().map_or(0, |last| last + 1));
            prop_assert_eq!(Some(numbers.position()), (0..100).find(|number| !model.contains(number)));
            for number in 0..100 {
                prop_assert_eq!(numbers.contains(number), model.contains(&number));
                let around = ranges.iter().find(|range| range.contains(&number));
                prop_assert_eq!(numbers.around(number), around.cloned());
            }
            let asked = from..from + length;
            let open: Vec<u64> = asked.clone().filter(|number| !model.contains(number)).collect();
            prop_assert!(numbers.gaps(asked.clone()).flatten().eq(open.iter().copied()));
            prop_assert!(numbers.gaps(asked.clone()).all(|gap| !gap.is_empty()));
            prop_assert_eq!(numbers.covers(asked.clone()), open.is_empty());
            prop_assert_eq!(numbers.is_clear_of(asked), open.len() as u64 == length);
        }

        #[test]
        fn sets_of_numbers_combine_as_sets_do(a in btree_set(0..40_u64, 0..30), b in btree_set(0..40_u64, 0..30)) {
            let (left, right) = (set(a.iter().copied()), set(b.iter().copied()));
            prop_assert_eq!(left.without(&right), set(a.difference(&b).copied()));
            prop_assert_eq!(left.union(&right), set(a.union(&b).copied()));
        }

        #[test]
        fn halves_are_the_lower_and_the_higher_numbers(numbers in btree_set(0..40_u64, 0..30), at in 0..30_u64) {
            let all = set(numbers.iter().copied());
            let at = at.min(all.len());
            let [first, second] = all.halved(at, all.len() - at);
            prop_assert!(first.iter().chain(second.iter()).eq(numbers.iter().copied()));
            prop_assert_eq!(first.len(), at);
        }
    }
}
