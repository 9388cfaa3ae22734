//! A tap: shows the records that match a query to one reader.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::feed::{NoTap, TapFeed, TappedRecord};
use super::observer::RecordObserver;
use crate::panics::blocking_as_here;
use crate::query::Query;
use crate::stream::Reservation;

/// How often a reader is told how many records were left out.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// After so many ticks without an event the reader is told that there is none, so that it knows that the connection lives.
const QUIET: u32 = 15;

/// The largest record, in bytes, that is redacted by a worker of the runtime.
const LARGE: usize = 32 << 10;

/// An event of a tap.
#[derive(Clone, Debug, PartialEq)]
pub enum TapEvent {
    /// A record that matches.
    Record(Json),
    /// So many more records have matched, or were not looked at.
    LeftOut(u64),
    /// Nothing has matched for a while.
    Quiet,
}

/// The side of a tap that is read. Dropped, it closes the tap.
pub struct TapReader {
    feed: Arc<TapFeed>,
    records: mpsc::Receiver<TappedRecord>,
    ticks: Interval,
    /// Ticks since something was said.
    quiet: u32,
    observer: Arc<RecordObserver>,
    _memory: Reservation,
}

impl fmt::Debug for TapReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapReader").field("feed", &self.feed).finish_non_exhaustive()
    }
}

impl TapReader {
    /// Opens a tap that is shown at most `limit` records in a second.
    ///
    /// # Errors
    ///
    /// Why there can be none now.
    pub fn open(observer: &Arc<RecordObserver>, query: &Query, limit: u32) -> Result<Self, NoTap> {
        let memory = observer.reserve_tap()?;
        let (feed, records) = TapFeed::open(query, limit);
        let feed = Arc::new(feed);
        observer.add_tap(feed.clone())?;
        let mut ticks = interval_at(Instant::now() + TOLD_EVERY, TOLD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { feed, records, ticks, quiet: 0, observer: observer.clone(), _memory: memory })
    }

    /// The next event; `None` once the tap was ended.
    pub async fn next(&mut self) -> Option<TapEvent> {
        let event = loop {
            tokio::select! {
                biased;
                // First, so that records without a pause don't keep this event from being told.
                _ = self.ticks.tick() => match self.feed.take_left_out() {
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

    /// The redacted record.
    async fn shown(&self, record: TappedRecord) -> Json {
        let redaction = self.observer.redaction();
        if record.len() <= LARGE {
            return record.shown(&redaction);
        }
        blocking_as_here(move || record.shown(&redaction)).await
    }
}

impl Drop for TapReader {
    fn drop(&mut self) {
        self.observer.close(&self.feed);
    }
}
