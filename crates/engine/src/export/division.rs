//! The search for the records of a batch that the upstream refuses: when it goes on, how fast, and when it ends.
//!
//! A batch that was refused as bad is halved, and its halves in turn, until the refused records stand alone. That finds
//! `k` of `n` records with at most about `2k·log2(n/k) + 2k` attempts: just so many where `n` and `k` are powers of two and all
//! halves are equal, and some more otherwise (`docs/guarantees.md` has the bound). Pieces are attempted in their order, so
//! that what is delivered stays in order.
//!
//! An upstream that refuses everything, for a reason that has nothing to do with single records, would be asked twice
//! for each record. So once many pieces were refused and none was taken, single records are tried that lie spread over all
//! that is left, the last one first. If all of these *samples* are refused, too, the batch is given up as a whole. One that
//! is taken proves that the search is worth it, and then there are no more of them. It has left before its turn; if
//! something older than it is delivered afterwards, it is sent once more in its turn, so that whoever reads the upstream's
//! data in order misses nothing in it.

use std::time::Duration;

/// So many pieces may be refused, beside one for every [`RECORDS_FOR_A_PIECE`] records, before samples are taken.
const PIECES: u64 = 64;

/// See [`PIECES`].
const RECORDS_FOR_A_PIECE: u64 = 8;

/// How many records are tried before a batch is given up.
pub(super) const SAMPLES: u64 = 16;

/// The attempts of a division that follow one another at once. Behind them each is followed by a pause of a quarter of
/// its own time, in which its place at the destination is another stream's.
const AT_ONCE: u64 = 16;

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How the division of one batch goes.
#[derive(Debug, Default)]
pub(super) struct Division {
    /// Attempts so far that were refused as bad.
    refused: u64,
    /// Whether the upstream has taken anything of the batch.
    taken: bool,
    /// Samples that are still to be tried, once there are any.
    samples: Option<u64>,
    /// Whether something was delivered since a sample was taken.
    delivered_since: bool,
}

impl Division {
    /// Notes that a piece was delivered in its turn.
    pub(super) fn delivered(&mut self) {
        self.taken = true;
        self.delivered_since = true;
    }

    /// Notes that a sample was taken: there are no more of them.
    pub(super) fn sample_taken(&mut self) {
        debug_assert!(!self.taken, "samples are tried only while nothing was taken");
        self.taken = true;
        self.samples = None;
        self.delivered_since = false;
    }

    /// Notes that a piece was refused as bad, or a sample.
    pub(super) fn refused(&mut self, sample: bool) {
        self.refused += 1;
        if let Some(samples) = self.samples.as_mut().filter(|_| sample) {
            debug_assert!(*samples > 0, "no more samples are tried than there are");
            *samples = samples.saturating_sub(1);
        }
    }

    /// The record to try as a sample, of so many that are left; none, if it is not time for samples or they have all been
    /// refused. One that was not attempted, because it was withdrawn, is asked for again.
    pub(super) fn next_sample(&mut self, left: u64) -> Option<u64> {
        if self.samples.is_none() {
            let enough = self.refused > PIECES + left / RECORDS_FOR_A_PIECE;
            self.samples = (!self.taken && enough && left > SAMPLES).then_some(SAMPLES);
        }
        let samples = self.samples.filter(|samples| *samples > 0)?;
        // The last record for the first sample, and one sixteenth of the records before it for each one after.
        left.checked_sub(1).map(|last| last * samples / SAMPLES)
    }

    /// Whether every sample was refused: the upstream refuses what all records share.
    pub(super) fn is_hopeless(&self) -> bool {
        !self.taken && self.samples == Some(0)
    }

    /// Whether a record that was taken as a sample has to be sent again in its turn: something older has followed it.
    pub(super) fn repeats_sample(&self) -> bool {
        self.delivered_since
    }

    /// How long to wait after an attempt that took so long.
    pub(super) fn pause(&self, attempt: Duration) -> Option<Duration> {
        (self.refused > AT_ONCE).then(|| (attempt / 4).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(refused: u64) -> Division {
        Division { refused, ..Division::default() }
    }

    #[test]
    fn samples_are_spread_over_all_that_is_left_and_begin_with_the_last_record() {
        let mut division = after(1000);
        let refused = |division: &mut Division| {
            let sample = division.next_sample(1601);
            assert_eq!(division.next_sample(1601), sample, "until it has been attempted");
            division.refused(true);
            sample
        };
        let samples: Vec<u64> = (0..SAMPLES).filter_map(|_| refused(&mut division)).collect();
        assert_eq!(samples, (1..=16).rev().map(|sixteenth| sixteenth * 100).collect::<Vec<_>>());
        assert!(division.is_hopeless());
        assert_eq!(division.next_sample(1601), None);
    }

    #[test]
    fn nothing_is_tried_where_nothing_is_left() {
        let mut division = after(1000);
        assert!(division.next_sample(100).is_some());
        // All but one were withdrawn, and that one was refused.
        division.refused(false);
        assert_eq!(division.next_sample(0), None);
        assert!(!division.is_hopeless(), "no sample was refused");
    }

    #[test]
    fn samples_wait_until_many_pieces_were_refused_and_none_was_taken() {
        assert_eq!(after(64 + 128).next_sample(1024), None);
        assert_eq!(after(64 + 129).next_sample(1024), Some(1023));
        assert_eq!(after(1000).next_sample(SAMPLES), None, "what is as few is tried one by one");
        let mut division = after(1000);
        division.delivered();
        assert_eq!(division.next_sample(1024), None);
    }

    #[test]
    fn a_sample_that_was_taken_is_repeated_only_behind_what_was_delivered_after_it() {
        let mut division = after(1000);
        division.next_sample(100);
        division.sample_taken();
        assert!(!division.is_hopeless() && !division.repeats_sample());
        assert_eq!(division.next_sample(100), None);
        division.delivered();
        assert!(division.repeats_sample());
    }

    #[test]
    fn long_divisions_leave_their_place_to_others_between_two_attempts() {
        let attempt = Duration::from_millis(8);
        assert_eq!(after(AT_ONCE).pause(attempt), None);
        assert_eq!(after(AT_ONCE + 1).pause(attempt), Some(attempt / 4));
        assert_eq!(after(1000).pause(Duration::from_secs(9)), Some(LONGEST_PAUSE));
    }
}
