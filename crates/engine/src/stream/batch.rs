//! What one upstream request carries: entries of one stream, framed and concatenated.

use std::sync::Arc;

use bytes::Bytes;

use super::NumberSet;
use otlp::{self, Signal};

/// A closed batch. Concatenated, its chunks are one `Export<Signal>ServiceRequest`; an entry never crosses from
/// one chunk to the next, so that every chunk is a request of its own, too. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    inner: Arc<BatchData>,
}

#[derive(Debug)]
struct BatchData {
    signal: Signal,
    chunks: Vec<Bytes>,
    len: usize,
    records: u64,
    numbers: NumberSet,
}

impl Batch {
    /// A batch of whole chunks that hold `records` records and come from no stream.
    pub fn new(signal: Signal, chunks: Vec<Bytes>, records: u64) -> Self {
        Self::numbered(signal, chunks, records, NumberSet::default())
    }

    /// A batch whose entries have these sequence numbers in their stream: each one of its own, in order.
    pub fn numbered(signal: Signal, chunks: Vec<Bytes>, records: u64, numbers: NumberSet) -> Self {
        let len = chunks.iter().map(Bytes::len).sum();
        Self { inner: Arc::new(BatchData { signal, chunks, len, records, numbers }) }
    }

    /// The signal of every entry.
    pub fn signal(&self) -> Signal {
        self.inner.signal
    }

    /// The encoded request, in pieces.
    pub fn chunks(&self) -> &[Bytes] {
        &self.inner.chunks
    }

    /// Bytes of the encoded request.
    pub fn len(&self) -> usize {
        self.inner.len
    }

    /// Whether all its entries were withdrawn. No batch is empty when it is attempted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spans, data points or log records in it.
    pub fn records(&self) -> u64 {
        self.inner.records
    }

    /// The sequence numbers of its entries in their stream, in order; none if it comes from no stream. What an entry was
    /// halved into has that entry's number in every piece.
    pub fn numbers(&self) -> &NumberSet {
        &self.inner.numbers
    }

    /// Two batches with about half of the records each, if there is more than one record or entry: [`otlp::halve`].
    pub fn halve(&self) -> Option<[Self; 2]> {
        let [first, second] = otlp::halve(self.signal(), &self.to_bytes())?;
        let entries = [&first, &second].map(|(bytes, _)| otlp::count_entries(bytes) as u64);
        let numbers = match self.numbers() {
            none if none.is_empty() => Default::default(),
            numbers => numbers.halved(entries[0], entries[1]),
        };
        let mut halves = [first, second].into_iter().zip(numbers);
        Some(std::array::from_fn(|_| {
            let ((bytes, records), numbers) = halves.next().expect("there are two");
            Self::numbered(self.signal(), vec![bytes.into()], records, numbers)
        }))
    }

    /// The batch with the entries of another behind its own, which come later in the same stream. Their chunks are shared, not copied.
    pub(super) fn followed_by(&self, later: &Self) -> Self {
        let chunks = [self.chunks(), later.chunks()].concat();
        let numbers = self.numbers().union(later.numbers());
        Self::numbered(self.signal(), chunks, self.records() + later.records(), numbers)
    }

    /// The batch without the entries of these numbers, and the records that are gone with them. Chunks without such an
    /// entry are shared, not copied. It is empty if none is left.
    pub(crate) fn without(&self, gone: &NumberSet) -> (Self, u64) {
        let mut chunks = self.chunks().to_vec();
        let records = remove(self.signal(), &mut chunks, self.numbers(), gone);
        let numbers = self.numbers().without(gone);
        (Self::numbered(self.signal(), chunks, self.records() - records, numbers), records)
    }

    /// The same, where it is known how many records are gone with them.
    pub(super) fn without_known(&self, gone: &NumberSet, records: u64) -> Self {
        let (rest, _) = self.without(gone);
        Self::numbered(
            self.signal(),
            rest.chunks().to_vec(),
            self.records() - records,
            rest.numbers().clone(),
        )
    }

    /// The encoded request in one piece; copies unless there is one chunk.
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks() {
            [only] => only.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

/// Takes the entries of some numbers out of chunks whose entries have `numbers`, and says how many records they had.
pub(super) fn remove(signal: Signal, chunks: &mut Vec<Bytes>, numbers: &NumberSet, gone: &NumberSet) -> u64 {
    let (mut numbers, last) = (numbers.iter(), gone.last());
    let (mut records, mut over) = (0, last.is_none());
    for chunk in chunks.iter_mut() {
        if over {
            break;
        }
        let mut kept = Vec::new();
        let mut kept_len = 0;
        for (framed, entry) in otlp::frames(chunk) {
            // Behind the last of them nothing is to be looked up.
            let number = if over { None } else { numbers.next() };
            over |= number >= last;
            if number.is_some_and(|number| gone.contains(number)) {
                records += otlp::count_records(signal, entry);
            } else {
                kept.push(framed);
                kept_len += framed.len();
            }
        }
        if kept_len < chunk.len() {
            *chunk = kept.concat().into();
        }
    }
    chunks.retain(|chunk| !chunk.is_empty());
    records
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use prost::Message as _;

    use super::*;

    /// A batch of entries with so many records, numbered from 10.
    fn batch(entries: &[usize]) -> Batch {
        let resource_logs = entries.iter().map(|records| {
            let scope = ScopeLogs { log_records: vec![LogRecord::default(); *records], ..Default::default() };
            ResourceLogs { scope_logs: vec![scope], ..Default::default() }
        });
        let request = ExportLogsServiceRequest { resource_logs: resource_logs.collect() };
        let records = entries.iter().sum::<usize>() as u64;
        let numbers = NumberSet::from(10..10 + entries.len() as u64);
        Batch::numbered(Signal::Logs, vec![request.encode_to_vec().into()], records, numbers)
    }

    fn numbers(halves: Option<[Batch; 2]>) -> [NumberSet; 2] {
        halves.expect("there is more than one record").map(|half| half.numbers().clone())
    }

    #[test]
    fn halves_divide_the_numbers_of_their_batch() {
        let parts = |first, second| [NumberSet::from(first), NumberSet::from(second)];
        assert_eq!(numbers(batch(&[1, 1, 1, 1]).halve()), parts(10..12, 12..14));
        assert_eq!(numbers(batch(&[5, 1, 1]).halve()), parts(10..11, 11..13));
    }

    #[test]
    fn below_an_entry_all_pieces_have_its_number() {
        let only = NumberSet::from(10..11);
        let halves = batch(&[4]).halve().unwrap();
        for half in [batch(&[4])].iter().chain(&halves) {
            assert_eq!(numbers(half.halve()), [only.clone(), only.clone()]);
        }
    }

    #[test]
    fn an_entry_that_is_divided_keeps_its_number_beside_those_without_records() {
        let parts = |first, second| [NumberSet::from(first), NumberSet::from(second)];
        assert_eq!(numbers(batch(&[0, 4, 0]).halve()), parts(10..12, 11..13));
        assert_eq!(numbers(batch(&[0, 1, 0]).halve()), parts(10..12, 12..13));
    }

    #[test]
    fn entries_are_taken_out_by_their_numbers() {
        let whole = batch(&[1, 2, 3, 4]);
        let (rest, records) = whole.without(&NumberSet::from(11..13));
        assert!(rest.numbers().ranges().eq([10..11, 13..14]));
        assert_eq!(records, 5);
        assert_eq!(
            (rest.to_bytes(), rest.records()),
            ([batch(&[1]).to_bytes(), batch(&[4]).to_bytes()].concat().into(), 5)
        );
        let (rest, records) = rest.without(&NumberSet::from(10..14));
        assert_eq!((rest.is_empty(), rest.records(), records, rest.chunks().len()), (true, 0, 5, 0));
        let (same, records) = whole.without(&NumberSet::from(20..30));
        assert_eq!(
            (same.to_bytes(), same.chunks()[0].as_ptr(), records),
            (whole.to_bytes(), whole.chunks()[0].as_ptr(), 0)
        );
    }

    #[test]
    fn a_batch_of_no_stream_has_no_numbers_in_its_halves_either() {
        let whole = batch(&[1, 1]);
        let strange = Batch::new(Signal::Logs, whole.chunks().to_vec(), 2);
        assert_eq!(numbers(strange.halve()), [NumberSet::default(), NumberSet::default()]);
    }
}
