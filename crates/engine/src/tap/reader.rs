//! A tap: from the walk over entries to whoever is shown what matches.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value as Json;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::observer::RecordObserver;
use super::shown;
use crate::panics::blocking_as_here;
use crate::query::{Query, RecordOrigin};
use crate::stream::Reservation;
use otlp::{RecordView, Redaction, Signal, visit_records};

/// Records that wait to be shown.
const MOST_WAITING: usize = 1024;

/// How often a reader is told what was left out.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How long nothing may be said, so that whoever listens knows that the connection lives.
const QUIET: u32 = 15;

/// A worker of the runtime looks for what is hidden in a record of so many bytes at most.
const LARGE: usize = 32 << 10;

/// Why there is no tap.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoTap {
    /// As many are open as may be.
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
pub(super) struct Tap {
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

/// What is shown in a second.
#[derive(Clone, Copy, Default)]
struct ShownOfSecond {
    second: u64,
    records: u32,
    bytes: usize,
}

/// A record that waits to be shown.
struct TappedRecord {
    signal: Signal,
    tenant: Option<Box<str>>,
    streams: Vec<(Box<str>, Box<str>)>,
    admitted: u64,
    /// An entry of this record alone.
    entry: Vec<u8>,
    _place: WaitingPlace,
}

/// What a record takes while it waits.
struct WaitingPlace {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Tap {
    /// Bytes that wait to be shown at most; a larger record is left out.
    pub(super) const MEMORY: u64 = 1 << 20;

    /// Bytes of records that are shown in a second at most: what is hidden is looked for in them, which takes its time.
    const MOST_BYTES: usize = 4 << 20;

    /// One that is shown at most `limit` records in a second, and who reads it.
    pub(super) fn open(
        query: &Query,
        limit: u32,
        memory: Reservation,
        observer: Arc<RecordObserver>,
    ) -> (Arc<Self>, TapReader) {
        let (sender, records) = mpsc::channel(MOST_WAITING);
        let tap = Arc::new(Self {
            query: query.clone(),
            limit,
            shown: parking_lot::Mutex::default(),
            started: Instant::now(),
            left_out: AtomicU64::new(0),
            waiting: Arc::default(),
            sender: parking_lot::Mutex::new(Some(sender)),
        });
        let mut ticks = interval_at(Instant::now() + TOLD_EVERY, TOLD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reader = TapReader { tap: tap.clone(), records, ticks, quiet: 0, observer, _memory: memory };
        (tap, reader)
    }

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// Notes records that nobody has looked at.
    pub(super) fn leave_out(&self, records: u64) {
        self.left_out.fetch_add(records, Ordering::Relaxed);
    }

    /// Nothing more is shown.
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
        // Held for no longer than that: others have records for this tap at the same time.
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

/// What a tap has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum TapEvent {
    /// A record that matches.
    Record(Json),
    /// So many more have matched, or were not looked at.
    LeftOut(u64),
    /// Nothing has matched for a while.
    Quiet,
}

/// The side of a tap that is read. Dropped, it closes the tap.
pub struct TapReader {
    tap: Arc<Tap>,
    records: mpsc::Receiver<TappedRecord>,
    ticks: Interval,
    /// Ticks since something was said.
    quiet: u32,
    observer: Arc<RecordObserver>,
    _memory: Reservation,
}

impl fmt::Debug for TapReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapReader").field("tap", &self.tap).finish_non_exhaustive()
    }
}

impl TapReader {
    /// What there is to say next; nothing once the tap was ended.
    pub async fn next(&mut self) -> Option<TapEvent> {
        let event = loop {
            tokio::select! {
                biased;
                // First, so that records without a pause don't keep it from being told.
                _ = self.ticks.tick() => match self.tap.left_out.swap(0, Ordering::Relaxed) {
                    0 if self.quiet + 1 >= QUIET => break TapEvent::Quiet,
                    0 => self.quiet += 1,
                    left_out => break TapEvent::LeftOut(left_out),
                },
                record = self.records.recv() => break TapEvent::Record(self.shown(record?).await),
            }
        };
        self.quiet = 0;
        Some(event)
    }

    /// The record without what is hidden.
    async fn shown(&self, record: TappedRecord) -> Json {
        let redaction = self.observer.redaction();
        if record.entry.len() <= LARGE {
            return record.shown(&redaction);
        }
        blocking_as_here(move || record.shown(&redaction)).await
    }
}

impl TappedRecord {
    fn shown(&self, redaction: &Redaction) -> Json {
        let Self { signal, tenant, streams, entry, admitted, .. } = self;
        let streams: Vec<(&str, &str)> =
            streams.iter().map(|(exporter, key)| (&**exporter, &**key)).collect();
        let (signal, tenant) = (*signal, tenant.as_deref());
        let origin = RecordOrigin { signal, tenant, streams: &streams, admitted: *admitted };
        let mut shown = Json::Null;
        // There is one.
        let _ = visit_records(signal, &redaction.apply(signal, entry), &mut |record| {
            shown = shown::record(record, &origin);
            ControlFlow::Break(())
        });
        shown
    }
}

impl Drop for TapReader {
    fn drop(&mut self) {
        self.observer.close(&self.tap);
    }
}
