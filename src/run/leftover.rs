//! What exporters have not delivered when the time is over: it becomes dead letters, as far as they are written in time.
//!
//! Exporters and the streams of each are given up in turn, a few at a time. All at once they would keep one another from being
//! written: what is given up last would get nothing of the time, and if there are many, all of the time would go into waking them.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::error;

use crate::dead_letters::DeadLetters;
use crate::export::{Exporter, Fate};
use crate::otlp::Signal;
use crate::stream::Stream;

/// Streams of an exporter that are given up at a time.
const AT_A_TIME: usize = 64;

/// How often it is looked which of them have ended.
const STEP: Duration = Duration::from_millis(1);

/// How often it is looked for streams that have got something since. There may be a million to look at.
const LOOK: Duration = Duration::from_millis(50);

/// Streams that are named.
const NAMED: usize = 5;

/// What could not be delivered by one exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The exporter.
    pub exporter: Arc<str>,
    /// Records that it had not delivered.
    pub records: u64,
    /// Of these, the ones that are in the dead-letter directory now. The others are lost.
    pub dead_lettered: u64,
    /// The letters that these are in.
    pub letters: u64,
    /// Why the others are lost, if there are any.
    pub loss: Option<LossCause>,
}

/// Why what was left is in no dead-letter directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossCause {
    /// There is none.
    #[error("`dead_letter.directory` is not set")]
    NoDirectory,
    /// It holds `dead_letter.max_size`.
    #[error("the dead-letter directory is full")]
    Full,
    /// The log says what the disk says.
    #[error("the dead-letter directory can't be written")]
    Unwritable,
    /// The disk is too slow.
    #[error("the dead-letter directory did not take them in time")]
    TooLate,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exporter, records, dead_lettered, letters, loss } = self;
        write!(f, "`{exporter}` could not deliver {records} records in time; ")?;
        if *loss == Some(LossCause::NoDirectory) {
            return write!(f, "they are lost ({})", LossCause::NoDirectory);
        }
        write!(f, "{dead_lettered} of them are in the dead-letter directory (letters: {letters})")?;
        match loss {
            Some(loss) => write!(f, ", {} are lost ({loss})", records.saturating_sub(*dead_lettered)),
            None => Ok(()),
        }
    }
}

/// What exporters had when the process began to give it up. A second signal may end that and begin it again: what is told then is
/// what has become of all of it, since the first time.
#[derive(Debug, Default)]
pub(super) struct GivingUp(OnceLock<Vec<ExporterBefore>>);

impl GivingUp {
    /// Begins with what these exporters have, unless it has begun.
    fn begin(&self, exporters: &[Arc<Exporter>]) -> &[ExporterBefore] {
        self.0.get_or_init(|| exporters.iter().map(ExporterBefore::now).collect())
    }
}

/// Gives up what these exporters have and what they get while something is still `receiving`, until nothing of it is left, or
/// until `deadline`. Returns what becomes of it: once no more letters are written, it can be [told](GivenUpExporter::leftover).
pub(super) async fn give_up_in_turn<'e>(
    giving_up: &'e GivingUp,
    exporters: &[Arc<Exporter>],
    receiving: impl Future<Output = ()>,
    deadline: Instant,
) -> Vec<GivenUpExporter<'e>> {
    let mut all: Vec<_> = giving_up.begin(exporters).iter().map(GivenUpExporter::begin).collect();
    let mut receiving = pin!(receiving);
    let mut has_received = false;
    while Instant::now() < deadline {
        for given_up in &mut all {
            given_up.go_on();
        }
        if has_received && all.iter().all(GivenUpExporter::is_over) {
            break;
        }
        tokio::select! {
            () = &mut receiving, if !has_received => has_received = true,
            () = sleep(STEP) => {}
        }
    }
    all
}

/// An exporter when the process begins to give up.
#[derive(Debug)]
struct ExporterBefore {
    exporter: Arc<Exporter>,
    /// How many streams had something, and the keys of some.
    streams: usize,
    named: Vec<String>,
    /// What had become of records.
    ended: EndedRecords,
}

/// An exporter that is given up.
pub(super) struct GivenUpExporter<'e> {
    before: &'e ExporterBefore,
    /// Streams that are still to be given up, and when it was looked for them.
    waiting: VecDeque<Arc<Stream>>,
    looked: Instant,
    /// Streams of which nothing has ended since they were given up.
    begun: Vec<GivenUpStream>,
}

/// A stream, and how far it was when it was given up.
struct GivenUpStream {
    stream: Arc<Stream>,
    before: StreamProgress,
}

/// How far a stream is.
#[derive(Clone, Copy)]
struct StreamProgress {
    pending_bytes: u64,
    ended_records: u64,
}

/// Records that have ended otherwise than delivered, and the letters that some are in.
#[derive(Debug)]
struct EndedRecords {
    letters: u64,
    dead_lettered: u64,
    dropped: u64,
    rejected: u64,
    /// Given back to their senders. They count as dropped, too.
    withdrawn: u64,
}

impl EndedRecords {
    fn by_now(exporter: &Exporter) -> Self {
        let of = |count: &dyn Fn(Signal) -> u64| Signal::ALL.iter().map(|signal| count(*signal)).sum();
        let counters = exporter.counters();
        Self {
            letters: counters.letters(),
            dead_lettered: of(&|signal| counters.exported(signal, Fate::DeadLettered)),
            dropped: of(&|signal| counters.exported(signal, Fate::Dropped)),
            rejected: of(&|signal| counters.exported(signal, Fate::Rejected)),
            withdrawn: of(&|signal| counters.withdrawn(signal)),
        }
    }
}

impl ExporterBefore {
    fn now(exporter: &Arc<Exporter>) -> Self {
        let ended = EndedRecords::by_now(exporter);
        let streams = streams_with_data(exporter);
        let named = streams.iter().take(NAMED).map(|stream| stream.name().key.to_string()).collect();
        Self { exporter: exporter.clone(), streams: streams.len(), named, ended }
    }
}

impl GivenUpStream {
    fn begin(stream: Arc<Stream>) -> Self {
        let before = StreamProgress::of(&stream);
        stream.give_up();
        Self { stream, before }
    }

    /// Whether nothing of it has ended yet.
    fn waits(&self) -> bool {
        !StreamProgress::of(&self.stream).has_gone_on(self.before)
    }
}

impl StreamProgress {
    fn of(stream: &Stream) -> Self {
        Self { pending_bytes: stream.pending_bytes(), ended_records: stream.ended_records() }
    }

    /// Whether something has ended since. A stream may get as much as ends, so that what is pending alone does not tell; and what its
    /// senders take back does not count as ended.
    fn has_gone_on(self, before: Self) -> bool {
        self.ended_records > before.ended_records || self.pending_bytes < before.pending_bytes
    }
}

impl<'e> GivenUpExporter<'e> {
    fn begin(before: &'e ExporterBefore) -> Self {
        let waiting = streams_with_data(&before.exporter);
        Self { before, waiting, looked: Instant::now(), begun: Vec::new() }
    }

    /// Gives up the next streams, in place of those of which something has ended.
    fn go_on(&mut self) {
        self.begun.retain(GivenUpStream::waits);
        while self.begun.len() < AT_A_TIME {
            let Some(stream) = self.waiting.pop_front() else { break };
            if stream.pending_bytes() > 0 && !stream.is_given_up() {
                self.begun.push(GivenUpStream::begin(stream));
            }
        }
        if self.begun.is_empty() && !self.is_over() && self.looked.elapsed() >= LOOK {
            // Requests that were under way may have brought more.
            self.waiting = streams_with_data(&self.before.exporter);
            self.looked = Instant::now();
        }
    }

    fn is_over(&self) -> bool {
        self.before.exporter.registry().pending_bytes() == 0
    }

    /// What is told of it; nothing, if all of it was delivered since, or is its senders' again.
    pub(super) fn leftover(self, directory: Option<&DeadLetters>) -> Option<Leftover> {
        let ExporterBefore { exporter, streams, named, ended: before } = self.before;
        let ended = EndedRecords::by_now(exporter);
        let letters = ended.letters - before.letters;
        let dead_lettered = ended.dead_lettered - before.dead_lettered;
        let dropped = (ended.dropped - before.dropped).saturating_sub(ended.withdrawn - before.withdrawn);
        // With a directory, what is rejected meanwhile was refused by its upstream.
        let rejected = if directory.is_none() { ended.rejected - before.rejected } else { 0 };
        let lost = dropped + rejected + not_ended(exporter);
        let records = dead_lettered + lost;
        if records == 0 {
            return None;
        }
        let loss = (lost > 0).then(|| match directory {
            None => LossCause::NoDirectory,
            Some(directory) if dropped > 0 && directory.is_full() => LossCause::Full,
            Some(_) if dropped > 0 => LossCause::Unwritable,
            Some(_) => LossCause::TooLate,
        });
        error!(
            exporter = %exporter.name(), records, dead_lettered, letters, lost, streams,
            "not delivered in time; the first streams are {named:?}"
        );
        Some(Leftover { exporter: exporter.name().clone(), records, dead_lettered, letters, loss })
    }
}

/// Records that are not counted as ended in any way. Those in a letter that was stored just now are pending a moment longer.
fn not_ended(exporter: &Exporter) -> u64 {
    let ended = |signal: Signal| -> u64 {
        Fate::ALL.iter().map(|fate| exporter.counters().exported(signal, *fate)).sum()
    };
    let ended: u64 = Signal::ALL.iter().map(|signal| ended(*signal)).sum();
    let registry = exporter.registry();
    let routed: u64 = Signal::ALL.iter().map(|signal| registry.routed_records(*signal)).sum();
    (routed + registry.recovered_records()).saturating_sub(ended)
}

/// Streams that have something.
fn streams_with_data(exporter: &Exporter) -> VecDeque<Arc<Stream>> {
    let mut streams = VecDeque::new();
    exporter.registry().for_each(|stream| {
        if stream.pending_bytes() > 0 {
            streams.push_back(stream.clone());
        }
    });
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_gets_as_much_as_is_written_of_it_leaves_its_place_to_others() {
        let progress = |pending_bytes, ended_records| StreamProgress { pending_bytes, ended_records };
        let before = progress(1000, 7);
        assert!(!progress(1000, 7).has_gone_on(before));
        assert!(!progress(2000, 7).has_gone_on(before), "it has only got more");
        assert!(progress(1000, 9).has_gone_on(before), "a letter was written, and as much has come");
        assert!(progress(2000, 8).has_gone_on(before));
        assert!(progress(900, 7).has_gone_on(before), "its senders have taken some back");
    }
}
