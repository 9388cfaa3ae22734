//! What exporters have not delivered when the time for deliveries is over becomes dead letters, as far as these are written in time.
//!
//! Exporters, and the streams of each, are given up in turn, a few streams at a time. If all were given up at once, they would keep one
//! another from writing: the last ones would get no time, and with many streams all of the time would go into waking them.

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

/// The most streams of an exporter that are given up at a time.
const AT_A_TIME: usize = 64;

/// How often streams that were given up are checked for progress.
const STEP: Duration = Duration::from_millis(1);

/// How often an exporter is scanned for streams that have got data since. It may have a million.
const LOOK: Duration = Duration::from_millis(50);

/// The most streams that the log names.
const NAMED: usize = 5;

/// What could not be delivered by one exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The exporter.
    pub exporter: Arc<str>,
    /// Records that the exporter had not delivered.
    pub records: u64,
    /// The part of these records that is in the dead-letter directory now. The others are lost.
    pub dead_lettered: u64,
    /// The number of dead letters that hold them.
    pub letters: u64,
    /// Why the others are lost, if there are any.
    pub loss: Option<LossCause>,
}

/// Why undelivered records are in no dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossCause {
    /// There is no dead-letter directory.
    #[error("`dead_letter.directory` is not set")]
    NoDirectory,
    /// The directory holds `dead_letter.max_size`.
    #[error("the dead-letter directory is full")]
    Full,
    /// The directory can't be written; the log has the system's error.
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

/// The undelivered data of exporters when the process began to give it up. A second signal may interrupt that and begin it again: the
/// report is then about all of the data, since the first time.
#[derive(Debug, Default)]
pub(super) struct GivingUp(OnceLock<Vec<ExporterBefore>>);

impl GivingUp {
    /// Notes what these exporters have, unless that was noted before.
    fn begin(&self, exporters: &[Arc<Exporter>]) -> &[ExporterBefore] {
        self.0.get_or_init(|| exporters.iter().map(ExporterBefore::now).collect())
    }
}

/// Gives up the data of these exporters, and the data that they get until `receiving` has ended, until nothing is left or until
/// `deadline`. The outcome can be [read](GivenUpExporter::leftover) once no more dead letters are written.
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
    /// The number of streams with pending data, and the keys of some.
    streams: usize,
    named: Vec<String>,
    /// The records that had ended by then.
    ended: EndedRecords,
}

/// An exporter that is given up.
pub(super) struct GivenUpExporter<'e> {
    before: &'e ExporterBefore,
    /// Streams that are still to be given up, and when the exporter was scanned for them.
    waiting: VecDeque<Arc<Stream>>,
    looked: Instant,
    /// Streams of which nothing has ended since they were given up.
    begun: Vec<GivenUpStream>,
}

/// A stream, and its progress when it was given up.
struct GivenUpStream {
    stream: Arc<Stream>,
    before: StreamProgress,
}

/// The progress of a stream.
#[derive(Clone, Copy)]
struct StreamProgress {
    pending_bytes: u64,
    ended_records: u64,
}

/// Records that have ended otherwise than delivered, and the number of dead letters that hold some of them.
#[derive(Debug)]
struct EndedRecords {
    letters: u64,
    dead_lettered: u64,
    /// Without those that their senders have withdrawn, who have them again.
    dropped: u64,
    rejected: u64,
}

impl EndedRecords {
    fn by_now(exporter: &Exporter) -> Self {
        let of = |count: &dyn Fn(Signal) -> u64| Signal::ALL.iter().map(|signal| count(*signal)).sum();
        let counters = exporter.counters();
        Self {
            letters: counters.letters(),
            dead_lettered: of(&|signal| counters.exported(signal, Fate::DeadLettered)),
            dropped: of(&|signal| counters.dropped_for_good(signal)),
            rejected: of(&|signal| counters.exported(signal, Fate::Rejected)),
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

    /// Whether none of its records have ended since.
    fn waits(&self) -> bool {
        !StreamProgress::of(&self.stream).has_gone_on(self.before)
    }
}

impl StreamProgress {
    fn of(stream: &Stream) -> Self {
        Self { pending_bytes: stream.pending_bytes(), ended_records: stream.ended_records() }
    }

    /// Whether records have ended since. Pending bytes alone do not tell, since a stream may get as much as ends; and records that their
    /// senders withdraw do not count as ended.
    fn has_gone_on(self, before: Self) -> bool {
        self.ended_records > before.ended_records || self.pending_bytes < before.pending_bytes
    }
}

impl<'e> GivenUpExporter<'e> {
    fn begin(before: &'e ExporterBefore) -> Self {
        let waiting = streams_with_data(&before.exporter);
        Self { before, waiting, looked: Instant::now(), begun: Vec::new() }
    }

    /// Gives up the next streams, in place of those whose records have begun to end.
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

    /// What the exporter could not deliver; `None` if all of it was delivered since, or withdrawn by its senders.
    pub(super) fn leftover(self, directory: Option<&DeadLetters>) -> Option<Leftover> {
        let ExporterBefore { exporter, streams, named, ended: before } = self.before;
        let ended = EndedRecords::by_now(exporter);
        let letters = ended.letters - before.letters;
        let dead_lettered = ended.dead_lettered - before.dead_lettered;
        let dropped = ended.dropped - before.dropped;
        // With a directory, records count as rejected only if an upstream rejected them by partial success.
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

/// Records that have not ended. Records of a letter that was stored just now are pending a moment longer.
fn not_ended(exporter: &Exporter) -> u64 {
    let ended = |signal: Signal| -> u64 {
        Fate::ALL.iter().map(|fate| exporter.counters().exported(signal, *fate)).sum()
    };
    let ended: u64 = Signal::ALL.iter().map(|signal| ended(*signal)).sum();
    let registry = exporter.registry();
    let routed: u64 = Signal::ALL.iter().map(|signal| registry.routed_records(*signal)).sum();
    (routed + registry.recovered_records()).saturating_sub(ended)
}

/// The streams with pending data.
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
