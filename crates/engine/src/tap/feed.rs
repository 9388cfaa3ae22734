//! The side of a tap that is offered the records that match its query.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde_json::Value as Json;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::shown;
use crate::query::{Query, RecordOrigin};
use otlp::{RecordView, Redaction, Signal, visit_records};

/// Records that wait to be shown.
const MOST_WAITING: usize = 1024;

/// Why there is no tap.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoTap {
    /// As many taps are open as may be.
    #[error("{most} taps are open, which is the most: close one first")]
    TooMany {
        /// The most.
        most: usize,
    },
    /// `limits.memory` is used up.
    #[error("there is no memory for a tap now: try again")]
    Memory,
}

/// The side of a tap that is offered records.
pub(super) struct TapFeed {
    query: Query,
    /// Records in a second.
    limit: u32,
    shown: parking_lot::Mutex<ShownOfSecond>,
    started: Instant,
    /// Records that matched, or may have, and are not shown.
    left_out: AtomicU64,
    /// Bytes that wait.
    waiting: Arc<AtomicUsize>,
    /// Taken to end it.
    sender: parking_lot::Mutex<Option<mpsc::Sender<TappedRecord>>>,
}

/// The records that were shown in a second.
#[derive(Clone, Copy, Default)]
struct ShownOfSecond {
    second: u64,
    records: u32,
    bytes: usize,
}

/// A record that waits to be shown.
pub(super) struct TappedRecord {
    signal: Signal,
    tenant: Option<Box<str>>,
    streams: Vec<(Box<str>, Box<str>)>,
    admitted: u64,
    /// An entry of this record alone.
    entry: Vec<u8>,
    _place: WaitingPlace,
}

/// The bytes that a record takes among those that wait.
struct WaitingPlace {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for TapFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapFeed").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl TapFeed {
    /// Bytes that wait to be shown at most; a larger record is left out.
    pub(super) const MEMORY: u64 = 1 << 20;

    /// The most bytes of records that are shown in a second, since redacting them takes time.
    const MOST_BYTES: usize = 4 << 20;

    /// A feed that is offered records for `query`, and takes at most `limit` of them in a second; and the receiver of these.
    pub(super) fn open(query: &Query, limit: u32) -> (Self, mpsc::Receiver<TappedRecord>) {
        let (sender, records) = mpsc::channel(MOST_WAITING);
        let feed = Self {
            query: query.clone(),
            limit,
            shown: parking_lot::Mutex::default(),
            started: Instant::now(),
            left_out: AtomicU64::new(0),
            waiting: Arc::default(),
            sender: parking_lot::Mutex::new(Some(sender)),
        };
        (feed, records)
    }

    /// Takes how many records were left out since this was asked last.
    pub(super) fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }

    /// The query that records have to match.
    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// Notes records that are not shown.
    pub(super) fn leave_out(&self, records: u64) {
        self.left_out.fetch_add(records, Ordering::Relaxed);
    }

    /// Ends the tap: no more records are shown.
    pub(super) fn end(&self) {
        self.sender.lock().take();
    }

    /// Takes a record that matches, if it is its turn and there is room; never waits.
    pub(super) fn offer(&self, record: &RecordView<'_, '_>, origin: &RecordOrigin<'_>) {
        let bytes = record.len_alone();
        if !self.has_turn(bytes) || !self.take(record, bytes, origin) {
            self.leave_out(1);
        }
    }

    /// Whether one more of so many bytes may be shown in this second.
    fn has_turn(&self, bytes: usize) -> bool {
        let second = self.started.elapsed().as_secs();
        let mut shown = self.shown.lock();
        if shown.second != second {
            *shown = ShownOfSecond { second, ..ShownOfSecond::default() };
        }
        let has_turn = shown.records < self.limit && shown.bytes + bytes <= Self::MOST_BYTES;
        if has_turn {
            shown.records += 1;
            shown.bytes += bytes;
        }
        has_turn
    }

    fn take(&self, record: &RecordView<'_, '_>, bytes: usize, origin: &RecordOrigin<'_>) -> bool {
        let most = Self::MEMORY as usize;
        let grown = |waiting: usize| Some(waiting + bytes).filter(|waiting| *waiting <= most);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_err() {
            return false;
        }
        let place = WaitingPlace { waiting: self.waiting.clone(), bytes };
        // The lock is held for no longer than that: other requests offer records at the same time.
        let sender = self.sender.lock().clone();
        let Some(permit) = sender.and_then(|sender| sender.try_reserve_owned().ok()) else { return false };
        let streams = origin.streams.iter().map(|(exporter, key)| ((*exporter).into(), (*key).into()));
        permit.send(TappedRecord {
            signal: origin.signal,
            tenant: origin.tenant.map(Into::into),
            streams: streams.collect(),
            admitted: origin.admitted,
            entry: record.alone(),
            _place: place,
        });
        true
    }
}

impl TappedRecord {
    /// Bytes of the entry that has this record alone.
    pub(super) fn len(&self) -> usize {
        self.entry.len()
    }

    /// The record as people are shown it.
    pub(super) fn shown(&self, redaction: &Redaction) -> Json {
        let Self { signal, tenant, streams, entry, admitted, .. } = self;
        let streams: Vec<(&str, &str)> =
            streams.iter().map(|(exporter, key)| (&**exporter, &**key)).collect();
        let (signal, tenant) = (*signal, tenant.as_deref());
        let origin = RecordOrigin { signal, tenant, streams: &streams, admitted: *admitted };
        let mut shown = Json::Null;
        // The entry has this one record.
        let _ = visit_records(signal, &redaction.apply(signal, entry), &mut |record| {
            shown = shown::record(record, &origin);
            ControlFlow::Break(())
        });
        shown
    }
}
