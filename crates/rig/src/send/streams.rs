//! Which streams a connection sends to, and how far each has come.

use super::template::EntryPlace;

/// The streams of one connection, taken in turn, and the next sequence number of each. Numbers are used up only when a
/// request has been taken, or given up: one that was refused is sent again with the same ones, so that a server that
/// keeps half of a refused request shows up as duplicates, and one that loses part of an accepted one as a gap.
#[derive(Debug)]
pub(super) struct SenderStreams {
    /// The connection's first stream, and how far apart its streams are.
    first: usize,
    step: usize,
    /// The next sequence number of each.
    next: Vec<u64>,
    /// The ranges of numbers of each whose requests were given up.
    unknown: Vec<Vec<(u64, u64)>>,
    /// The position of the stream whose turn it is.
    turn: usize,
    entries: usize,
    records: u64,
}

impl SenderStreams {
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
                unknown: vec![Vec::new(); streams],
                turn: index % streams,
                entries,
                records,
            };
        }
        let owned = streams.saturating_sub(index).div_ceil(connections);
        let (next, unknown) = (vec![0; owned], vec![Vec::new(); owned]);
        Self { first: index, step: connections, next, unknown, turn: 0, entries, records }
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

    /// Uses up the numbers of a request of which nobody knows whether it was taken.
    pub(super) fn give_up(&mut self) {
        for place in self.places().collect::<Vec<_>>() {
            let unknown = &mut self.unknown[(place.stream - self.first) / self.step];
            let end = place.first + self.records;
            match unknown.last_mut() {
                Some(last) if last.1 == place.first => last.1 = end,
                _ => unknown.push((place.first, end)),
            }
        }
        self.advance();
    }

    /// Number of each stream, how many of its sequence numbers are used up, and the ranges of them that were given up.
    pub(super) fn taken(&self) -> impl Iterator<Item = (usize, u64, &[(u64, u64)])> {
        let unknown = self.unknown.iter().map(Vec::as_slice);
        let streams = self.next.iter().zip(unknown).enumerate();
        streams.map(|(index, (&next, unknown))| (self.stream(index), next, unknown))
    }

    fn stream(&self, index: usize) -> usize {
        self.first + index * self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(streams: &SenderStreams) -> Vec<(usize, u64)> {
        streams.places().map(|place| (place.stream, place.first)).collect()
    }

    #[test]
    fn every_stream_belongs_to_one_connection() {
        let mut all: Vec<usize> = Vec::new();
        for index in 0..4 {
            all.extend(SenderStreams::new(index, 4, 10, false, (1, 1)).taken().map(|(stream, ..)| stream));
        }
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn entries_go_to_the_streams_in_turn() {
        let mut streams = SenderStreams::new(1, 2, 6, false, (2, 5));
        assert_eq!(places(&streams), [(1, 0), (3, 0)]);
        streams.advance();
        assert_eq!(places(&streams), [(5, 0), (1, 5)]);
    }

    #[test]
    fn a_stream_that_occurs_twice_in_a_request_goes_on_counting() {
        let mut streams = SenderStreams::new(0, 1, 2, false, (3, 5));
        assert_eq!(places(&streams), [(0, 0), (1, 0), (0, 5)]);
        streams.advance();
        assert_eq!(places(&streams), [(1, 5), (0, 10), (1, 10)]);
    }

    #[test]
    fn a_request_that_was_given_up_uses_its_numbers_up() {
        let mut streams = SenderStreams::new(0, 1, 2, false, (3, 5));
        streams.advance();
        streams.give_up();
        streams.give_up();
        assert_eq!(places(&streams), [(1, 20), (0, 25), (1, 25)]);
        let taken: Vec<_> = streams.taken().collect();
        assert_eq!(taken, [(0, 25, &[(10, 25)][..]), (1, 20, &[(5, 20)][..])]);
        streams.advance();
        streams.give_up();
        let unknown: Vec<_> = streams.taken().map(|(.., unknown)| unknown.to_vec()).collect();
        assert_eq!(unknown, [vec![(10, 25), (30, 40)], vec![(5, 20), (30, 35)]]);
    }

    #[test]
    fn a_request_that_was_not_taken_keeps_its_numbers() {
        let streams = SenderStreams::new(0, 1, 2, false, (1, 5));
        assert_eq!(places(&streams), places(&streams));
    }
}
