//! The rows of one page of a list that may have a million rows, in an order, without putting the list in order.
//!
//! The list is scanned, and of each scan few rows are kept. A page near the start is found in one scan, which keeps the first rows of
//! the order. For a page further down a first scan takes a sample, whose rows tell between which two of them the page is; a second
//! scan counts the rows before, and keeps those in between.

use std::cmp::Ordering;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The rows of the order that one scan may keep to find a page near its start.
const FIRST: usize = 8000;

/// The sample takes one row of so many.
const SAMPLED: u8 = 8;

/// The most rows of a sample. Twice as many are kept meanwhile.
const SAMPLE: usize = 4096;

/// The place of a page in a list.
#[derive(Debug)]
pub(super) struct PageRange<T> {
    /// The row behind which rows are counted, whether it is in the list or not; without one they are counted from the start.
    pub(super) after: Option<T>,
    /// The rows before the page.
    pub(super) skip: usize,
    /// The most rows of the page.
    pub(super) limit: usize,
}

/// The rows of a page.
#[derive(Debug)]
pub(super) struct FoundPage<T> {
    /// The rows on all pages.
    pub(super) total: usize,
    /// In their order.
    pub(super) rows: Vec<T>,
    /// Whether there are more behind these.
    pub(super) more: bool,
}

/// One scan of a list, which [`RowScan::look`] has to be given each row of.
pub(super) struct RowScan<'p, T, C> {
    after: Option<&'p T>,
    compare: &'p C,
    total: usize,
    kept: Vec<T>,
    keep: Keep<T>,
}

/// The rows that a scan keeps.
enum Keep<T> {
    /// The first so many of the order, and those that came since the last cut. After a cut the last of the first ones is the last of
    /// all that is kept up to there.
    First { most: usize, is_cut: bool },
    /// A sample, each row as likely as any other.
    Sample { random: Box<StdRng>, seen: usize },
    /// Those behind `from` up to `to`, each of which may be missing where it is an end of the list.
    Between { from: Option<T>, to: Option<T>, before: usize, beyond: usize },
}

/// Finds a page. `scan` gives all rows of the list to what it is called with, in any order; it is called more than once for pages
/// that are not near the start. If rows come or go meanwhile, a page may begin so many rows before or behind its place.
pub(super) fn find<T, C: Fn(&T, &T) -> Ordering>(
    range: &PageRange<T>,
    compare: C,
    mut scan: impl FnMut(&mut RowScan<'_, T, C>),
) -> FoundPage<T> {
    let end = range.skip.saturating_add(range.limit).saturating_add(1);
    if end <= FIRST {
        let rows = scanned(range, &compare, Keep::First { most: end, is_cut: false }, &mut scan);
        return part(rows.kept, rows.total, range.skip, range.limit, compare);
    }
    // The same numbers each time: a page is found the same way again.
    let random = Box::new(StdRng::seed_from_u64(0));
    let sampled = scanned(range, &compare, Keep::Sample { random, seen: 0 }, &mut scan);
    let mut seen = 0;
    if let Keep::Sample { seen: rows, .. } = sampled.keep {
        seen = rows * usize::from(SAMPLED);
    }
    let mut sample = sampled.kept;
    sample.sort_unstable_by(&compare);
    let mut margin = 4.0 * (sample.len() as f64).sqrt();
    loop {
        // Where rows of the list would be in the sample.
        let place = |row: usize| row as f64 / seen.max(1) as f64 * sample.len() as f64;
        let (low, high) = ((place(range.skip) - margin).floor(), (place(end) + margin).ceil() as usize);
        // The sample is needed again only if a margin was too small, which the next one is not.
        let to = (high < sample.len()).then(|| sample.swap_remove(high));
        let from = (low >= 0.0).then(|| (low as usize).min(sample.len().saturating_sub(1)));
        let from = from.filter(|from| *from < sample.len()).map(|from| sample.swap_remove(from));
        let rows = scanned(range, &compare, Keep::Between { from, to, before: 0, beyond: 0 }, &mut scan);
        let RowScan { kept, total, keep: Keep::Between { from, to, before, beyond }, .. } = rows else {
            unreachable!("a scan keeps what it was begun with")
        };
        let behind = before + kept.len() + beyond;
        if range.skip >= behind {
            return FoundPage { total, rows: Vec::new(), more: false };
        }
        if before <= range.skip && end.min(behind) <= before + kept.len() {
            return part(kept, total, range.skip - before, range.limit, compare);
        }
        sample.extend(from.into_iter().chain(to));
        sample.sort_unstable_by(&compare);
        margin = margin * 8.0 + 8.0;
    }
}

/// A page of rows that are all there.
pub(super) fn part<T>(
    mut rows: Vec<T>,
    total: usize,
    skip: usize,
    limit: usize,
    compare: impl Fn(&T, &T) -> Ordering,
) -> FoundPage<T> {
    if skip >= rows.len() {
        rows.clear();
    } else if skip > 0 {
        rows.select_nth_unstable_by(skip, &compare);
        rows.drain(..skip);
    }
    let more = rows.len() > limit;
    if more {
        rows.select_nth_unstable_by(limit, &compare);
        rows.truncate(limit);
    }
    rows.sort_unstable_by(&compare);
    FoundPage { total, rows, more }
}

fn scanned<'p, T, C: Fn(&T, &T) -> Ordering>(
    range: &'p PageRange<T>,
    compare: &'p C,
    keep: Keep<T>,
    scan: &mut impl FnMut(&mut RowScan<'_, T, C>),
) -> RowScan<'p, T, C> {
    let mut rows = RowScan { after: range.after.as_ref(), compare, total: 0, kept: Vec::new(), keep };
    scan(&mut rows);
    rows
}

impl<T, C: Fn(&T, &T) -> Ordering> RowScan<'_, T, C> {
    /// Takes a row of the list: `to` tells how it compares to another, and `row` makes it what is kept.
    pub(super) fn look(&mut self, to: impl Fn(&T) -> Ordering, row: impl FnOnce() -> T) {
        self.total += 1;
        if let Keep::Sample { random, .. } = &mut self.keep
            && random.random_range(0..SAMPLED) > 0
        {
            return;
        }
        if self.after.is_some_and(|after| to(after) != Ordering::Greater) {
            return;
        }
        match &mut self.keep {
            Keep::First { most, is_cut } => {
                if *is_cut && to(&self.kept[*most - 1]) != Ordering::Less {
                    return;
                }
                self.kept.push(row());
                if self.kept.len() >= 2 * *most {
                    self.kept.select_nth_unstable_by(*most - 1, self.compare);
                    self.kept.truncate(*most);
                    *is_cut = true;
                }
            }
            Keep::Sample { random, seen } => {
                *seen += 1;
                if self.kept.len() < SAMPLE {
                    self.kept.push(row());
                } else if let Some(place) = self.kept.get_mut(random.random_range(0..*seen)) {
                    *place = row();
                }
            }
            Keep::Between { from, to: last, before, beyond } => {
                if from.as_ref().is_some_and(|from| to(from) != Ordering::Greater) {
                    *before += 1;
                } else if last.as_ref().is_some_and(|last| to(last) == Ordering::Greater) {
                    *beyond += 1;
                } else {
                    self.kept.push(row());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Rows in no order; of each number there are `same`.
    fn list(rows: usize, same: usize) -> Vec<(usize, usize)> {
        (0..rows).map(|at| at * 7919 % rows).map(|row| (row / same, row)).collect()
    }

    fn found(
        list: &[(usize, usize)],
        range: &PageRange<(usize, usize)>,
    ) -> (FoundPage<(usize, usize)>, usize) {
        let scans = Cell::new(0);
        let page = find(range, Ord::cmp, |rows| {
            scans.set(scans.get() + 1);
            for row in list {
                rows.look(|other| row.cmp(other), || *row);
            }
        });
        (page, scans.get())
    }

    #[test]
    fn every_page_is_found_wherever_it_begins_and_whatever_it_is_counted_from() {
        for (rows, same) in [(10, 1), (3000, 7), (30_011, 1), (30_011, 10_000)] {
            let list = list(rows, same);
            let mut sorted = list.clone();
            sorted.sort_unstable();
            let halves = [None, Some(rows / 2 - 1)];
            let skips =
                [0, 1, 7, rows / 3, rows / 2, rows - 1000.min(rows), rows - 1, rows, rows + 1, usize::MAX];
            for (after, skip, limit) in halves
                .into_iter()
                .flat_map(|after| skips.into_iter().map(move |skip| (after, skip)))
                .flat_map(|(after, skip)| [1, 1000].into_iter().map(move |limit| (after, skip, limit)))
            {
                let range = PageRange { after: after.map(|after| sorted[after]), skip, limit };
                let (page, scans) = found(&list, &range);
                let behind = &sorted[after.map_or(0, |after| after + 1)..];
                let expected: Vec<_> = behind.iter().skip(skip).take(limit).copied().collect();
                assert_eq!(page.rows, expected, "{rows} rows, {after:?}, {skip}, {limit}");
                assert_eq!(page.total, rows);
                assert_eq!(
                    page.more,
                    behind.len() > skip.saturating_add(limit),
                    "{rows} rows, {after:?}, {skip}, {limit}"
                );
                assert!(scans <= 2, "{scans} scans for {rows} rows, {after:?}, {skip}, {limit}");
            }
        }
    }

    #[test]
    fn a_page_far_down_keeps_few_rows() {
        let list = list(200_000, 1);
        let (made, scans) = (Cell::new(0), Cell::new(0));
        let range = PageRange { after: None, skip: 123_456, limit: 100 };
        let page = find(&range, Ord::cmp, |rows| {
            scans.set(scans.get() + 1);
            for row in &list {
                rows.look(
                    |other| row.cmp(other),
                    || {
                        made.set(made.get() + 1);
                        *row
                    },
                );
            }
        });
        assert_eq!((page.rows[0].1, page.rows.len(), scans.get()), (123_456, 100, 2));
        assert!(made.get() < list.len() / 4, "{}", made.get());
    }

    #[test]
    fn a_list_that_grows_during_the_scans_still_has_its_page() {
        let sorted: Vec<(usize, usize)> = (0..60_000).map(|row| (row, row)).collect();
        let scans = Cell::new(0);
        let range = PageRange { after: None, skip: 20_000, limit: 10 };
        let page = find(&range, Ord::cmp, |rows| {
            scans.set(scans.get() + 1);
            // At first there is the end of the list alone, so that the sample says nothing about the page.
            for row in if scans.get() == 1 { &sorted[30_000..] } else { &sorted[..] } {
                rows.look(|other| row.cmp(other), || *row);
            }
        });
        assert_eq!(page.rows, sorted[20_000..20_010]);
        assert!(scans.get() > 2);
    }
}
