//! The live streams of one exporter: which there are, how they begin, and how they are forgotten.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::attempts::StreamAttempt;
use super::context::StreamContext;
use super::decision::{self, DecisionDetails};
use super::engine_state::EngineState;
use super::history::History;
use super::journal_place::JournalPlace;
use super::queue::Volume;
use super::stream_count::{NoStream, StreamCount};
use super::stream_map::StreamMap;
use super::{QueueSettings, Stream, StreamAddress, StreamName};
use crate::journal::RecoveredStream;
use crate::route::RoutingKey;
use crate::tenants::TenantAccount;
use otlp::Signal;

/// A stream without entries is forgotten after this time.
pub const IDLE: Duration = Duration::from_secs(60);

/// The streams of one exporter, and, as what it is dereferenced to, what they share. It outlives reloads: an exporter is the same one as
/// long as the configuration has its name.
#[derive(Debug)]
pub struct Registry {
    context: Arc<StreamContext<Stream>>,
    streams: StreamMap<Stream>,
}

impl Deref for Registry {
    type Target = StreamContext<Stream>;

    fn deref(&self) -> &StreamContext<Stream> {
        &self.context
    }
}

/// Records that were shed and whose end is not yet counted. Until this is dropped they are pending.
#[derive(Debug)]
pub struct PendingShed {
    context: Arc<StreamContext<Stream>>,
    account: Option<Arc<TenantAccount>>,
    volume: Volume,
}

impl Drop for PendingShed {
    fn drop(&mut self) {
        self.context.count_ended(self.account.as_deref(), self.volume);
    }
}

impl Registry {
    /// A registry without streams; nothing is sent before [`StreamContext::attach`].
    pub fn new(exporter: Arc<str>, settings: QueueSettings, shared: Arc<EngineState>) -> Self {
        let context = Arc::new(StreamContext::new(exporter, settings, shared));
        Self { context, streams: StreamMap::new() }
    }

    /// Changes the settings; streams use them from their next batch, which may be due by them already.
    pub fn set_settings(&self, settings: QueueSettings) {
        if self.context.replace_settings(settings) {
            self.for_each(Stream::wake);
        }
    }

    /// The stream of this routing key, which is made if there is none. A known stream costs no allocation.
    pub fn stream(
        &self,
        signal: Signal,
        key: &str,
        route: Option<&Arc<StreamCount>>,
    ) -> Result<Arc<Stream>, NoStream> {
        if let Some(stream) = self.streams.find(signal, key) {
            return Ok(stream);
        }
        let name = StreamName { signal, key: RoutingKey::written(key) };
        self.context.check(&name).map_err(NoStream::Unfit)?;
        let (written, mut is_new) = (name.key.as_written().clone(), false);
        let stream = self.streams.find_or_make(signal, &written, || {
            is_new = true;
            self.make(name, route)
        })?;
        // Once nobody waits for the map.
        if is_new {
            stream.log_decision("stream opened", DecisionDetails::default());
        }
        Ok(stream)
    }

    fn make(&self, name: StreamName, route: Option<&Arc<StreamCount>>) -> Result<Arc<Stream>, NoStream> {
        let shared = self.shared();
        let account = shared.account_of(&name);
        shared.join(route, account.as_deref())?;
        let address = self.address(&name);
        let place = shared.journal.as_ref().map(|journal| JournalPlace::new(journal, &address));
        let history = shared.past.take(&address).unwrap_or_default();
        Ok(Arc::new(Stream::new(name, self.context.clone(), route.cloned(), account, place, history)))
    }

    /// The live stream of the same name as one that is gone.
    pub(super) fn successor(&self, gone: &Stream) -> Result<Arc<Stream>, NoStream> {
        let successor = self.stream(gone.signal(), gone.name().key.as_written(), gone.route())?;
        if gone.has_own_telemetry() {
            successor.note_own_telemetry();
        }
        Ok(successor)
    }

    /// Makes the streams that the journal had, before anything else is admitted. They count against the limits of streams, but are
    /// not refused for that, nor for templates that have no place for them: those wait for a reload.
    pub fn recover(&self, mut found: Vec<(StreamName, RecoveredStream)>) {
        // In the order in which they came to be.
        found.sort_unstable_by_key(|(_, stream)| stream.id);
        for (name, found) in found {
            let (shared, context) = (self.shared(), self.context.clone());
            let account = shared.account_of(&name);
            shared.join_anyway(None, account.as_deref());
            let place = shared.journal.as_ref().map(|journal| JournalPlace::again(journal, &found));
            let stream = Arc::new(Stream::new(name, context, None, account, place, History::default()));
            let details = DecisionDetails { records: Some(found.records), ..DecisionDetails::default() };
            stream.log_decision("stream opened with what the journal has of it", details);
            // Before anybody can find it: what is admitted comes behind.
            stream.recover(&found);
            // The journal has one stream of each name.
            let key = stream.name().key.as_written().clone();
            self.streams.add(stream.signal(), &key, stream);
        }
    }

    /// Forgets the streams that have been idle for [`IDLE`].
    pub fn sweep(&self) {
        if let Some(before) = Instant::now().checked_sub(IDLE) {
            self.forget(Some(before));
        }
    }

    /// Forgets every stream that holds nothing now.
    pub fn forget_idle(&self) {
        self.forget(None);
    }

    /// Forgets a stream that was made for a request which was then refused, unless another has used it meanwhile: it would
    /// keep its place under the limits for nothing.
    pub(super) fn abandon(&self, stream: &Stream) {
        let gone = self.streams.forget(stream.signal(), stream.name().key.as_written(), |known| {
            std::ptr::eq(&raw const **known, stream) && known.is_unused() && self.retire(known, None)
        });
        if let Some(gone) = gone {
            log_end(&gone);
        }
    }

    fn forget(&self, idle_since: Option<Instant>) {
        // To be logged once nobody waits for the map.
        let mut logged = Vec::new();
        self.streams.forget_all(|stream| {
            let gone = self.retire(stream, idle_since);
            if gone && decision::are_logged() {
                logged.push(stream.clone());
            }
            gone
        });
        for stream in &logged {
            log_end(stream);
        }
    }

    /// Retires a stream that holds nothing and was not used after `idle_since`, and keeps its history.
    fn retire(&self, stream: &Stream, idle_since: Option<Instant>) -> bool {
        let gone = stream.retire(idle_since);
        let history = stream.history();
        // Of one that was made for a request which was then refused there is nothing to tell.
        if gone && history != History::default() {
            self.shared().past.keep(stream.address(), history);
        }
        gone
    }

    /// Takes its streams off the limits: they wait on disk for an exporter that is not there.
    pub fn leave_limits(&self) {
        self.for_each(|stream| stream.leave_limits());
    }

    /// Has its streams count again.
    pub fn join_limits(&self) {
        self.for_each(|stream| stream.join_limits());
    }

    /// From now on batches are sent as soon as their stream is free, whatever their size and age.
    pub fn flush(&self) {
        self.context.set_flushing(true);
        self.for_each(Stream::wake);
    }

    /// From now on batches wait again until they are full or old enough.
    pub fn end_flush(&self) {
        self.context.set_flushing(false);
    }

    /// The live stream of this name, if there is one.
    pub fn find(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.streams.find(name.signal, name.key.as_written())
    }

    /// Looks at every live stream, and takes its time: what all of them together come to is counted, and found by
    /// [`StreamContext::scan`].
    pub fn for_each(&self, look: impl FnMut(&Arc<Stream>)) {
        self.streams.for_each(look);
    }

    /// Live streams.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there are no live streams.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts records that a route sent to a stream of this name and for which there was no room, with their framed bytes: as pending,
    /// until what is returned is dropped because they have ended.
    pub fn count_shed(&self, name: &StreamName, records: u64, bytes: u64) -> PendingShed {
        let (account, volume) = (self.shared().account_of(name), Volume { bytes, records });
        self.context.count_routed(account.as_deref(), name.signal, volume);
        PendingShed { context: self.context.clone(), account, volume }
    }

    /// The last attempts that are known of the stream of this name, the newest first. Once this was asked, all are noted that
    /// come within the next ten minutes.
    pub fn attempts_of(&self, name: &StreamName) -> Vec<Arc<StreamAttempt>> {
        let attempts = self.shared().attempts.of_stream(&self.address(name));
        if let Some(stream) = self.find(name) {
            stream.figures.set_notes_successes(true);
        }
        attempts
    }

    /// The same of all streams of the exporter, of whose successes no more than twenty a second are noted.
    pub fn attempts(&self) -> Vec<Arc<StreamAttempt>> {
        self.shared().attempts.of_exporter(self.exporter())
    }

    fn address(&self, name: &StreamName) -> StreamAddress {
        StreamAddress { exporter: self.exporter().clone(), name: name.clone() }
    }
}

/// Logs that a stream was forgotten.
fn log_end(stream: &Stream) {
    stream.log_decision("stream closed: it holds nothing", DecisionDetails::default());
}
