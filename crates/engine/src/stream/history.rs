//! What has become of a stream so far: for people who look for the one that suffers, and why.
//!
//! A stream is forgotten when it has been idle for a minute, and one that begins again under the same name is another one.
//! Its history is not: [`Past`] keeps the last ones, so that totals go on and the last error can still be read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::{StreamAddress, StreamName};
use crate::route::RoutingKey;
use otlp::Signal;

/// Histories that are kept of streams that are gone are this many at least, and twice as many at most. One takes about 1 KiB
/// if it has an error, its key included, and 3 KiB at most.
const KEPT: usize = 2_000;

/// What a stream's records came to, and how its last attempts went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Entries that were admitted.
    pub admitted_entries: u64,
    /// Records that the upstream took.
    pub delivered_records: u64,
    /// Records that the upstream rejected by partial success, or for which there is no dead-letter directory.
    pub rejected_records: u64,
    /// Records that were dead-lettered after they had been queued.
    pub dead_lettered_records: u64,
    /// Records that were queued and that were dropped: for want of room among the dead letters, or by what `statuses` says.
    pub dropped_records: u64,
    /// When the upstream last took anything.
    pub last_success: Option<SystemTime>,
    /// The last attempt that was not a success.
    pub last_error: Option<Box<LastError>>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// As the `code` of `sluice_export_attempts_total`; of records that were rejected by partial success that of the success.
    pub code: Cow<'static, str>,
    /// The upstream's words, without secrets; at most some 256 characters.
    pub message: Box<str>,
    /// Where it was sent, without what may be secret, as logs have it, and at most some 256 characters; `None` if there
    /// was no destination.
    pub target: Option<Box<str>>,
    /// When the answer came.
    pub at: SystemTime,
    /// Whether it says something about the destination, and nothing about what was sent.
    pub of_destination: bool,
    /// The stream that was answered so, where that is another one, for whose answer this one is held.
    pub of_stream: Option<StreamName>,
}

/// What a stream is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamActivity {
    /// It holds nothing.
    #[default]
    Idle,
    /// For its batch to fill, for its destination's turn, or for a destination that does not answer to be tried by another.
    Waiting,
    /// An attempt is on its way.
    Sending,
    /// Until it tries again after an attempt that failed.
    BackingOff,
    /// Until it tries again after its destination refused it, or another stream for which it is held as well, for what is no fault of
    /// the data: a credential, a URL, an account. Or because its tenant is held, or it has no destination.
    Held,
}

impl History {
    /// Records that have ended otherwise than delivered, after they had been queued.
    pub const fn not_delivered_records(&self) -> u64 {
        self.rejected_records + self.dead_lettered_records + self.dropped_records
    }
}

impl StreamActivity {
    /// Every activity, by its number.
    pub const ALL: [Self; 5] = [Self::Idle, Self::Waiting, Self::Sending, Self::BackingOff, Self::Held];

    /// The word for it in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::BackingOff => "backing_off",
            Self::Held => "held",
        }
    }

    pub(super) fn numbered(number: u8) -> Self {
        Self::ALL[usize::from(number)]
    }
}

/// The histories of streams that are gone.
#[derive(Debug, Default)]
pub struct Past(Mutex<PastHistories>);

/// Histories by age: `older` goes as a whole once `newer` is full, which then takes its place.
#[derive(Debug, Default)]
struct PastHistories {
    newer: HashMap<StreamAddress, History>,
    older: HashMap<StreamAddress, History>,
}

impl Past {
    /// Keeps the history of a stream that goes.
    pub(super) fn keep(&self, stream: StreamAddress, history: History) {
        let mut kept = self.0.lock();
        if kept.newer.len() >= KEPT {
            kept.older = std::mem::take(&mut kept.newer);
        }
        kept.newer.insert(stream, history);
    }

    /// Takes out the history of a stream that begins again.
    pub(super) fn take(&self, stream: &StreamAddress) -> Option<History> {
        let mut kept = self.0.lock();
        let newer = kept.newer.remove(stream);
        // Also if there is a newer one: an old one must not come back later.
        let older = kept.older.remove(stream);
        newer.or(older)
    }

    /// The history of a stream that is gone.
    pub fn get(&self, exporter: &Arc<str>, name: &StreamName) -> Option<History> {
        let stream = StreamAddress { exporter: exporter.clone(), name: name.clone() };
        let kept = self.0.lock();
        kept.newer.get(&stream).or_else(|| kept.older.get(&stream)).cloned()
    }

    /// Looks at every history: exporter, signal, routing key.
    pub fn for_each(&self, mut look: impl FnMut(&Arc<str>, Signal, &RoutingKey, &History)) {
        let kept = self.0.lock();
        for (StreamAddress { exporter, name }, history) in kept.newer.iter().chain(&kept.older) {
            look(exporter, name.signal, &name.key, history);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_histories_are_kept_and_no_more_than_there_is_room_for() {
        let past = Past::default();
        let stream = |signal, number: usize| StreamAddress {
            exporter: "up".into(),
            name: StreamName { signal, key: RoutingKey::written(number.to_string()) },
        };
        let history = |number| History { admitted_entries: number as u64, ..History::default() };
        for number in 0..10 * KEPT {
            past.keep(stream(Signal::Logs, number), history(number));
        }
        let mut count = 0;
        past.for_each(|_, _, _, _| count += 1);
        assert!((KEPT..=2 * KEPT).contains(&count), "{count}");
        let last = 10 * KEPT - 1;
        assert_eq!(past.take(&stream(Signal::Traces, last)), None);
        assert_eq!(past.take(&stream(Signal::Logs, last)), Some(history(last)));
        assert_eq!(past.take(&stream(Signal::Logs, last)), None, "it is the stream's again");
        assert_eq!(past.take(&stream(Signal::Logs, 0)), None, "long gone");
    }

    #[test]
    fn every_activity_has_its_number() {
        for activity in StreamActivity::ALL {
            assert_eq!(StreamActivity::numbered(activity as u8), activity);
        }
    }
}
