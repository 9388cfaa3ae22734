//! Which streams a connection sends to, and how far each has come.

use super::template::EntryPlace;

/// The streams of one connection, taken in turn, and the next sequence number of each. Numbers are used up only when a
/// request has been taken: one that was refused is sent again with the same ones, so that a server that
/// keeps half of a refused request shows up as duplicates, and one that loses part of an accepted one as a gap.
#[derive(Debug)]
pub(super) struct Streams {
    /// The connection's first stream, and how far apart its streams are.
    first: usize,
    step: usize,
    /// The next sequence number of each.
    next: Vec<u64>,
    /// Whose turn it is.
    turn: usize,
    entries: usize,
    records: u64,
}

impl Streams {
    /// The streams of connection `index` of `connections`, if there are `streams` in all. A shared stream gets
    /// records from every connection; otherwise each belongs to one.
    pub(super) fn new(
        index: usize,
        connections: usize,
        streams: usize,
        shared: bool,
        (entries, records): (usize, usize),
    ) -> Self {
        let records = records as u64;
        if shared {
            // Each connection starts elsewhere, so that requests of one entry don't all go to the same stream.
            return Self {
                first: 0,
                step: 1,
                next: vec![0; streams],
                turn: index % streams,
                entries,
                records,
            };
        }
        let owned = streams.saturating_sub(index).div_ceil(connections);
        Self { first: index, step: connections, next: vec![0; owned], turn: 0, entries, records }
    }

    /// The places of the next request's entries.
    pub(super) fn places(&self) -> impl Iterator<Item = EntryPlace> {
        (0..self.entries).map(|entry| {
            let rounds = (entry / self.next.len()) as u64;
            let index = (self.turn + entry) % self.next.len();
            EntryPlace { stream: self.stream(index), first: self.next[index] + rounds * self.records }
        })
    }

    /// Uses up the numbers of a request that was taken.
    pub(super) fn advance(&mut self) {
        for entry in 0..self.entries {
            let index = (self.turn + entry) % self.next.len();
            self.next[index] += self.records;
        }
        self.turn = (self.turn + self.entries) % self.next.len();
    }

    /// Number of each stream, and how many of its records were taken.
    pub(super) fn taken(&self) -> impl Iterator<Item = (usize, u64)> {
        self.next.iter().enumerate().map(|(index, &next)| (self.stream(index), next))
    }

    fn stream(&self, index: usize) -> usize {
        self.first + index * self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(streams: &Streams) -> Vec<(usize, u64)> {
        streams.places().map(|place| (place.stream, place.first)).collect()
    }

    #[test]
    fn every_stream_belongs_to_one_connection() {
        let mut all: Vec<usize> = Vec::new();
        for index in 0..4 {
            all.extend(Streams::new(index, 4, 10, false, (1, 1)).taken().map(|(stream, _)| stream));
        }
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn entries_go_to_the_streams_in_turn() {
        let mut streams = Streams::new(1, 2, 6, false, (2, 5));
        assert_eq!(places(&streams), [(1, 0), (3, 0)]);
        streams.advance();
        assert_eq!(places(&streams), [(5, 0), (1, 5)]);
    }

    #[test]
    fn a_stream_that_occurs_twice_in_a_request_goes_on_counting() {
        let mut streams = Streams::new(0, 1, 2, false, (3, 5));
        assert_eq!(places(&streams), [(0, 0), (1, 0), (0, 5)]);
        streams.advance();
        assert_eq!(places(&streams), [(1, 5), (0, 10), (1, 10)]);
    }

    #[test]
    fn a_request_that_was_not_taken_keeps_its_numbers() {
        let streams = Streams::new(0, 1, 2, false, (1, 5));
        assert_eq!(places(&streams), places(&streams));
    }
}
