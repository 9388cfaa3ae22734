//! What one upstream request carries: entries of one stream, framed and concatenated.

use std::sync::Arc;

use bytes::Bytes;

use crate::otlp::Signal;

/// A closed batch. Concatenated, its chunks are one `Export<Signal>ServiceRequest`; an entry never crosses from
/// one chunk to the next, so that every chunk is a request of its own, too. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    signal: Signal,
    chunks: Vec<Bytes>,
    len: usize,
    records: u64,
}

impl Batch {
    /// A batch of whole chunks that hold `records` records.
    pub fn new(signal: Signal, chunks: Vec<Bytes>, records: u64) -> Self {
        let len = chunks.iter().map(Bytes::len).sum();
        Self { inner: Arc::new(Inner { signal, chunks, len, records }) }
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
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.inner.len
    }

    /// Spans, data points or log records in it.
    pub fn records(&self) -> u64 {
        self.inner.records
    }

    /// The encoded request in one piece; copies unless there is one chunk.
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks() {
            [only] => only.clone(),
            chunks => chunks.concat().into(),
        }
    }
}
