//! Ranges of values.

use super::bound::QueryBound;
use super::{Comparison, FieldTest};

/// An interval of values. Each end is a value, and whether the value itself is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval<T> {
    from: Option<(T, bool)>,
    to: Option<(T, bool)>,
}

impl<T: PartialOrd + Copy> Interval<T> {
    /// All values.
    const ALL: Self = Self { from: None, to: None };

    /// Whether a value is in it.
    pub(super) fn contains(&self, value: T) -> bool {
        self.from.is_none_or(|(from, included)| value > from || (included && value == from))
            && self.to.is_none_or(|(to, included)| value < to || (included && value == to))
    }

    /// The values that are to `bound` as the comparison says.
    pub(super) fn compare(comparison: Comparison, bound: T) -> Self {
        let (from, to) = match comparison {
            Comparison::Equal => (Some((bound, true)), Some((bound, true))),
            Comparison::Below => (None, Some((bound, false))),
            Comparison::AtMost => (None, Some((bound, true))),
            Comparison::Above => (Some((bound, false)), None),
            Comparison::AtLeast => (Some((bound, true)), None),
        };
        Self { from, to }
    }

    /// The values that pass a test; `value` is what a bound of its field stands for.
    pub(super) fn of(test: &FieldTest, value: impl Fn(QueryBound) -> Option<T>) -> Self {
        let bound = |bound: Option<QueryBound>| bound.and_then(&value).map(|bound| (bound, true));
        match test {
            // `field:*`.
            FieldTest::Matches(_) => Self::ALL,
            FieldTest::Compare(comparison, bound) => {
                value(*bound).map_or(Self::ALL, |bound| Self::compare(*comparison, bound))
            }
            FieldTest::Between(from, to) => Self { from: bound(*from), to: bound(*to) },
        }
    }
}
