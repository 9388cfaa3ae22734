//! The last attempts of single streams, for people who ask why one of them suffers.
//!
//! They are kept of streams that fail, and of those that somebody has looked at: of a thousand at a time, and of each for ten
//! minutes after its last failure and the last look. A stream that is healthy and that nobody looks at costs nothing. While
//! more than a thousand fail, those that began first keep theirs; one that is looked at takes the place of the one about
//! which nobody has asked, and which has not failed, for longest.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::queue::Stream;
use super::{Registry, StreamName};

/// Attempts that are kept of a stream.
const EACH: usize = 20;

/// Streams whose attempts are kept: with all attempts, and the longest messages, 10 MiB.
const STREAMS: usize = 1_000;

/// How long those of a stream are kept.
const KEPT: Duration = Duration::from_secs(600);

/// One attempt to send a batch, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAttempt {
    /// When it was answered.
    pub at: SystemTime,
    /// As the `code` of `sluice_export_attempts_total`.
    pub code: Cow<'static, str>,
    /// From when it asked for its turn to its answer.
    pub took: Duration,
    /// Protobuf bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// The upstream's words, without secrets, at most some 256 characters; empty if it has said nothing.
    pub message: Box<str>,
}

/// The attempts that are kept of all exporters' streams.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<(Arc<str>, StreamName), StreamAttempts>>);

/// Of one stream.
#[derive(Debug)]
struct StreamAttempts {
    /// The newest last.
    all: VecDeque<StreamAttempt>,
    /// The last failure, or the last look.
    wanted: Instant,
}

impl StreamAttempts {
    fn new() -> Self {
        Self { all: VecDeque::new(), wanted: Instant::now() }
    }
}

impl Attempts {
    /// Notes an attempt of a stream of this exporter. Returns whether those of the stream are kept.
    fn note(&self, exporter: &Arc<str>, name: &StreamName, failed: bool, attempt: StreamAttempt) -> bool {
        let mut streams = self.0.lock();
        let id = (exporter.clone(), name.clone());
        if failed && streams.len() < STREAMS && !streams.contains_key(&id) {
            streams.insert(id.clone(), StreamAttempts::new());
        }
        let Some(kept) = streams.get_mut(&id) else { return false };
        if kept.all.len() == EACH {
            kept.all.pop_front();
        }
        kept.all.push_back(attempt);
        if failed {
            kept.wanted = Instant::now();
        }
        true
    }

    /// The attempts that are kept of a stream, the newest first; from now on they are kept.
    fn look(&self, exporter: &Arc<str>, name: &StreamName) -> Vec<StreamAttempt> {
        let mut streams = self.0.lock();
        let id = (exporter.clone(), name.clone());
        if streams.len() >= STREAMS
            && !streams.contains_key(&id)
            && let Some(unwanted) =
                streams.iter().min_by_key(|(_, kept)| kept.wanted).map(|(id, _)| id.clone())
        {
            streams.remove(&unwanted);
        }
        let kept = streams.entry(id).or_insert_with(StreamAttempts::new);
        kept.wanted = Instant::now();
        kept.all.iter().rev().cloned().collect()
    }

    /// Forgets those that nobody wants any more.
    pub(super) fn sweep(&self) {
        let mut streams = self.0.lock();
        streams.retain(|_, kept| kept.wanted.elapsed() < KEPT);
        streams.shrink_to_fit();
    }
}

impl Stream {
    /// Notes how an attempt went, if those of the stream are kept, or from now on, since it has `failed`.
    pub fn note_attempt(&self, failed: bool, attempt: impl FnOnce() -> StreamAttempt) {
        if failed || self.keeps_attempts.load(Ordering::Relaxed) {
            let attempts = &self.registry().shared().attempts;
            let kept = attempts.note(self.registry().exporter(), self.name(), failed, attempt());
            self.keeps_attempts.store(kept, Ordering::Relaxed);
        }
    }
}

impl Registry {
    /// The last attempts that are known of a stream of this name, the newest first. Once this was asked, all are kept that come
    /// within the next ten minutes.
    pub fn attempts(&self, name: &StreamName) -> Vec<StreamAttempt> {
        let attempts = self.shared().attempts.look(self.exporter(), name);
        if let Some(stream) = self.find(name) {
            stream.keeps_attempts.store(true, Ordering::Relaxed);
        }
        attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RoutingKey;
    use otlp::Signal;

    fn name(number: usize) -> StreamName {
        StreamName { signal: Signal::Logs, key: RoutingKey::written(number.to_string()) }
    }

    fn attempt(records: u64) -> StreamAttempt {
        StreamAttempt {
            at: SystemTime::UNIX_EPOCH,
            code: "503".into(),
            took: Duration::ZERO,
            bytes: 1,
            records,
            message: "".into(),
        }
    }

    /// The records of the attempts that are kept.
    fn records(attempts: &[StreamAttempt]) -> Vec<u64> {
        attempts.iter().map(|attempt| attempt.records).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_kept_from_a_failure_or_a_look_on_for_ten_minutes_the_newest_twenty() {
        let (attempts, up): (_, Arc<str>) = (Attempts::default(), "up".into());
        assert!(!attempts.note(&up, &name(0), false, attempt(1)), "of a healthy stream nothing is kept");
        assert!(attempts.note(&up, &name(0), true, attempt(2)));
        assert!(attempts.note(&up, &name(0), false, attempt(3)), "how it came to an end is kept");
        assert_eq!(records(&attempts.look(&up, &name(0))), [3, 2]);
        assert_eq!(records(&attempts.look(&"other".into(), &name(0))), [0; 0]);
        assert_eq!(records(&attempts.look(&up, &name(1))), [0; 0]);
        for number in 0..30 {
            assert!(attempts.note(&up, &name(1), false, attempt(number)), "somebody has looked");
        }
        let newest: Vec<u64> = (10..30).rev().collect();
        assert_eq!(records(&attempts.look(&up, &name(1))), newest);
        tokio::time::advance(KEPT / 2).await;
        attempts.look(&up, &name(1));
        tokio::time::advance(KEPT / 2).await;
        attempts.sweep();
        assert!(!attempts.note(&up, &name(0), false, attempt(1)));
        assert!(attempts.note(&up, &name(1), false, attempt(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_streams_than_there_is_room_for_are_kept_and_what_is_looked_at_is_among_them() {
        let (attempts, up): (_, Arc<str>) = (Attempts::default(), "up".into());
        let note = |number| attempts.note(&up, &name(number), true, attempt(1));
        for number in 0..STREAMS {
            assert!(note(number));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(!note(STREAMS) && note(0));
        assert!(attempts.look(&up, &name(STREAMS)).is_empty());
        assert!(note(STREAMS) && note(0), "the look was after what comes now");
        assert!(!note(1), "of that nothing was heard for longest");
        assert_eq!(attempts.0.lock().len(), STREAMS);
    }
}
