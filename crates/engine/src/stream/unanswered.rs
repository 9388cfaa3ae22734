//! Attempts that their destination has not answered for long.
//!
//! A stream with several consumers may have several of them at a time. It shows the oldest, until the last of them has ended. They
//! are kept by exporter and not by stream: a stream seldom has any, and there may be a million streams, while no more attempts are under
//! way than the exporter's destinations are asked at a time.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What tells a stream from the other live ones of its exporter: the number of a block in the table of figures, and that of a row in it.
pub(super) type RowPlace = (u32, u32);

/// When the attempts of one exporter began that have not been answered for long, by the stream that they are of.
#[derive(Debug, Default)]
pub(super) struct UnansweredAttempts(Mutex<HashMap<RowPlace, Vec<Instant>>>);

impl UnansweredAttempts {
    /// Adds an attempt of a stream, and has it `show` the oldest that it has now.
    pub(super) fn add(&self, stream: RowPlace, began: Instant, show: impl FnOnce(Option<Instant>)) {
        let mut all = self.0.lock();
        let of_stream = all.entry(stream).or_default();
        of_stream.push(began);
        show(of_stream.iter().min().copied());
    }

    /// Takes one away that was added, and has its stream `show` the oldest of the rest.
    pub(super) fn remove(&self, stream: RowPlace, began: Instant, show: impl FnOnce(Option<Instant>)) {
        let mut all = self.0.lock();
        let Some(of_stream) = all.get_mut(&stream) else { return };
        if let Some(at) = of_stream.iter().position(|known| *known == began) {
            of_stream.swap_remove(at);
        }
        show(of_stream.iter().min().copied());
        if of_stream.is_empty() {
            all.remove(&stream);
        }
    }

    /// Streams that have any.
    pub(super) fn streams(&self) -> usize {
        self.0.lock().len()
    }
}
