//! Whether the records of one (stream, sender) arrive with sequence numbers that grow by one.

use std::collections::BTreeMap;

/// The sequence numbers that have arrived from one sender in one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    /// One above the highest number that has arrived.
    next: u64,
    /// Ranges below `next` that have not arrived: first number to one past the last.
    missing: BTreeMap<u64, u64>,
}

/// How a number relates to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// One above the highest before it.
    InOrder,
    /// Above that: this many records are missing so far.
    Gap(u64),
    /// It was missing, and comes after its successor.
    Late,
    /// It had arrived before.
    Duplicate,
}

impl Sequence {
    /// One above the highest number that has arrived.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Takes the number of a record that has arrived.
    #[inline]
    pub(super) fn arrive(&mut self, number: u64) -> Arrival {
        if number == self.next {
            self.next += 1;
            return Arrival::InOrder;
        }
        self.arrive_out_of_order(number)
    }

    fn arrive_out_of_order(&mut self, number: u64) -> Arrival {
        if number > self.next {
            let gap = number - self.next;
            self.missing.insert(self.next, number);
            self.next = number + 1;
            return Arrival::Gap(gap);
        }
        match self.missing.range(..=number).next_back() {
            Some((&start, &end)) if number < end => {
                self.missing.remove(&start);
                if start < number {
                    self.missing.insert(start, number);
                }
                if number + 1 < end {
                    self.missing.insert(number + 1, end);
                }
                Arrival::Late
            }
            _ => Arrival::Duplicate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Duplicate, Gap, InOrder, Late};
    use super::*;

    fn arrivals(numbers: &[u64]) -> Vec<Arrival> {
        let mut sequence = Sequence::default();
        numbers.iter().map(|&number| sequence.arrive(number)).collect()
    }

    #[test]
    fn numbers_that_grow_by_one_are_in_order() {
        assert_eq!(arrivals(&[0, 1, 2]), [InOrder, InOrder, InOrder]);
    }

    #[test]
    fn a_swapped_pair_is_a_gap_that_a_late_record_fills() {
        assert_eq!(arrivals(&[0, 2, 1, 3]), [InOrder, Gap(1), Late, InOrder]);
    }

    #[test]
    fn a_missing_record_stays_a_gap() {
        assert_eq!(arrivals(&[0, 2, 3]), [InOrder, Gap(1), InOrder]);
        assert_eq!(arrivals(&[3]), [Gap(3)]);
    }

    #[test]
    fn a_record_that_comes_twice_is_a_duplicate_even_after_it_was_late() {
        assert_eq!(arrivals(&[0, 0]), [InOrder, Duplicate]);
        assert_eq!(arrivals(&[0, 2, 1, 1]), [InOrder, Gap(1), Late, Duplicate]);
    }

    #[test]
    fn a_gap_is_filled_from_any_side() {
        assert_eq!(arrivals(&[5, 2, 0, 4, 1, 3]), [Gap(5), Late, Late, Late, Late, Late]);
        assert_eq!(arrivals(&[5, 2, 2, 3, 3]), [Gap(5), Late, Duplicate, Late, Duplicate]);
    }
}
