//! What is settled of a stream: everything below a position, and ranges above it.
//!
//! Entries settle in order as long as one batch is sent at a time. There are ranges when a batch is stuck and others pass
//! it, or when senders take back what waits behind it: as many as there are gaps between what waits.

use std::collections::BTreeMap;
use std::ops::Range;

/// Sequence numbers of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    position: u64,
    /// From the key up to, but not including, the value. No two touch each other, and none the position.
    above: BTreeMap<u64, u64>,
}

impl Settled {
    /// All numbers below `position`.
    pub(super) fn below(position: u64) -> Self {
        Self { position, above: BTreeMap::new() }
    }

    /// All numbers below are settled, and it is not itself.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The ranges above the position, ascending.
    pub(super) fn above(&self) -> impl Iterator<Item = Range<u64>> {
        self.above.iter().map(|(start, end)| *start..*end)
    }

    /// The range above the position that a number is in.
    pub(super) fn around(&self, number: u64) -> Option<Range<u64>> {
        let (start, end) = self.above.range(..=number).next_back()?;
        (number < *end).then_some(*start..*end)
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.end() == 0
    }

    /// The number behind the highest one.
    pub(super) fn end(&self) -> u64 {
        self.above.last_key_value().map_or(self.position, |(_, end)| *end)
    }

    /// Adds numbers, and returns how many of them are new.
    pub(super) fn add(&mut self, numbers: Range<u64>) -> u64 {
        let (mut start, mut end) = (numbers.start.max(self.position), numbers.end);
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
        if start == self.position {
            self.position = end;
        } else {
            self.above.insert(start, end);
        }
        new
    }

    /// What is not settled of these numbers, ascending.
    pub(super) fn gaps(&self, numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let start = numbers.start.max(self.position);
        let mut next = self.around(start).map_or(start, |range| range.end);
        let mut above = self.above.range(next..);
        std::iter::from_fn(move || {
            if next >= numbers.end {
                return None;
            }
            let (start, end) = above.next().map_or((u64::MAX, u64::MAX), |(start, end)| (*start, *end));
            let gap = next..start.min(numbers.end);
            next = end;
            Some(gap)
        })
    }

    /// Whether all of these numbers are settled.
    pub(super) fn covers(&self, numbers: Range<u64>) -> bool {
        self.gaps(numbers).next().is_none()
    }

    /// Whether none of these numbers is.
    pub(super) fn is_clear_of(&self, numbers: Range<u64>) -> bool {
        self.gaps(numbers.clone()).next() == Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_numbers_that_were_added(
            ranges in prop::collection::vec((0..60_u64, 0..9_u64), 0..30),
            (from, length) in (0..60_u64, 1..30_u64),
        ) {
            let (mut settled, mut model) = (Settled::default(), [false; 100]);
            for (start, length) in ranges {
                let numbers = start..start + length;
                let new = numbers.clone().filter(|n| !model[*n as usize]).count();
                numbers.clone().for_each(|n| model[n as usize] = true);
                prop_assert_eq!(settled.add(numbers), new as u64);
            }
            let position = model.iter().position(|there| !there).unwrap();
            let end = model.iter().rposition(|there| *there).map_or(0, |last| last + 1);
            prop_assert_eq!((settled.position(), settled.end()), (position as u64, end as u64));
            prop_assert!(settled.above().all(|range| range.start > settled.position() && !range.is_empty()));
            let numbers = from..from + length;
            let open: Vec<u64> = numbers.clone().filter(|n| !model[*n as usize]).collect();
            prop_assert_eq!(settled.gaps(numbers.clone()).flatten().collect::<Vec<_>>(), open.clone());
            prop_assert!(settled.gaps(numbers.clone()).all(|gap| !gap.is_empty()));
            prop_assert_eq!(settled.covers(numbers.clone()), open.is_empty());
            prop_assert_eq!(settled.is_clear_of(numbers), open.len() as u64 == length);
            for n in 0..100 {
                let above = model[n as usize] && n >= settled.position();
                prop_assert_eq!(settled.around(n).is_some_and(|range| range.contains(&n)), above);
            }
        }
    }
}
