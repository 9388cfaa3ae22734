//! Sequence numbers of entries, as runs.
//!
//! A stream numbers its entries as they are admitted, from 0, without gaps. What lies together in a batch has been
//! admitted together, so that a batch names its entries by a single run, until some of them are withdrawn.

use std::ops::Range;

use smallvec::SmallVec;

/// The sequence numbers of some entries of one stream, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Ascending, none empty, with gaps between them.
    runs: SmallVec<[Range<u64>; 1]>,
}

impl Numbers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// The runs that they make, ascending, none of them empty and no two of them adjacent.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// One by one, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().cloned().flatten()
    }

    /// The lowest.
    pub fn first(&self) -> Option<u64> {
        self.runs.first().map(|run| run.start)
    }

    /// The highest.
    pub fn last(&self) -> Option<u64> {
        self.runs.last().map(|run| run.end - 1)
    }

    /// Whether `number` is among them.
    pub fn contains(&self, number: u64) -> bool {
        let after = self.runs.partition_point(|run| run.start <= number);
        self.runs[..after].last().is_some_and(|run| number < run.end)
    }

    /// Those that are in `other`, too.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        self.combined(other, |here, there| here && there)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.combined(other, |here, there| here && !there)
    }

    /// Those that are here or in `other`.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        self.combined(other, |here, there| here || there)
    }

    /// Those for which `keep` says so, given whether they are here and whether they are in `other`. Never what is in
    /// neither.
    fn combined(&self, other: &Self, keep: impl Fn(bool, bool) -> bool) -> Self {
        let mut edges: SmallVec<[u64; 8]> =
            self.runs.iter().chain(&other.runs).flat_map(|run| [run.start, run.end]).collect();
        edges.sort_unstable();
        let mut combined = Self::default();
        for edge in edges.windows(2) {
            if keep(self.contains(edge[0]), other.contains(edge[0])) {
                combined.push_run(edge[0]..edge[1]);
            }
        }
        combined
    }

    /// Adds numbers that follow all others.
    pub(super) fn push_run(&mut self, run: Range<u64>) {
        match self.runs.last_mut() {
            _ if run.is_empty() => {}
            Some(last) if last.end == run.start => last.end = run.end,
            _ => self.runs.push(run),
        }
    }

    /// The numbers of two parts of a batch that hold `first` and `second` entries, one after the other. If together
    /// these are one more than there are numbers, the parts share an entry, and its number.
    pub fn halved(&self, first: u64, second: u64) -> [Self; 2] {
        let all = self.len();
        debug_assert!(first + second == all || first + second == all + 1, "{first} + {second} of {all}");
        [self.part(0..first), self.part(all.saturating_sub(second)..all)]
    }

    /// Those at these positions.
    fn part(&self, positions: Range<u64>) -> Self {
        let mut part = Self::default();
        let mut before = 0;
        for run in &self.runs {
            let at = |position: u64| (run.start + position.saturating_sub(before)).min(run.end);
            part.push_run(at(positions.start)..at(positions.end));
            before += run.end - run.start;
        }
        part
    }
}

impl From<Range<u64>> for Numbers {
    fn from(range: Range<u64>) -> Self {
        let mut numbers = Self::default();
        numbers.push_run(range);
        numbers
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn numbers(of: impl IntoIterator<Item = u64>) -> Numbers {
        let mut numbers = Numbers::default();
        of.into_iter().for_each(|number| numbers.push_run(number..number + 1));
        numbers
    }

    #[test]
    fn neighbours_are_one_run() {
        assert_eq!(numbers([3, 4, 5, 7]).runs(), [3..6, 7..8]);
        assert_eq!(Numbers::from(3..6), numbers(3..6));
        assert!(Numbers::from(3..3).is_empty());
    }

    #[test]
    fn halves_of_an_entry_share_its_number() {
        let whole = Numbers::from(5..9);
        assert_eq!(whole.halved(1, 3), [Numbers::from(5..6), Numbers::from(6..9)]);
        assert_eq!(whole.halved(2, 3), [Numbers::from(5..7), Numbers::from(6..9)]);
        assert_eq!(Numbers::from(5..6).halved(1, 1), [Numbers::from(5..6), Numbers::from(5..6)]);
    }

    proptest! {
        #[test]
        fn sets_of_numbers_combine_as_sets_do(a in btree_set(0..40_u64, 0..30), b in btree_set(0..40_u64, 0..30)) {
            let (left, right) = (numbers(a.iter().copied()), numbers(b.iter().copied()));
            prop_assert_eq!(left.both(&right), numbers(a.intersection(&b).copied()));
            prop_assert_eq!(left.without(&right), numbers(a.difference(&b).copied()));
            prop_assert_eq!(left.with(&right), numbers(a.union(&b).copied()));
            prop_assert!((0..41).all(|number| left.contains(number) == a.contains(&number)));
            prop_assert_eq!((left.first(), left.last()), (a.first().copied(), a.last().copied()));
        }

        #[test]
        fn runs_are_the_numbers_that_they_stand_for(set in btree_set(0..40_u64, 0..30), at in 0..30_u64) {
            let all = numbers(set.iter().copied());
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(all.len(), set.len() as u64);
            let at = at.min(all.len());
            let [first, second] = all.halved(at, all.len() - at);
            prop_assert_eq!(first.iter().chain(second.iter()).collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(first.len(), at);
        }
    }
}
