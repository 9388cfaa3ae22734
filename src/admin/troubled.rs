//! The streams that need attention: those that are held, those of which an upstream has taken nothing since an attempt failed (they
//! have pending data, or all their data was refused), and those whose attempt has had no answer for long.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::export::Exporter;
use crate::run::Router;
use crate::stream::{LastError, StreamActivity, StreamName};

/// The streams in trouble of one exporter and one tenant.
#[derive(Debug)]
pub(super) struct TroubledStreams {
    pub(super) exporter: Arc<Exporter>,
    /// `None` for data of no tenant.
    pub(super) tenant: Option<Box<str>>,
    pub(super) failing: usize,
    /// Streams whose first attempt has had no answer for long, so that it is not known what is wrong.
    pub(super) unanswered: usize,
    /// When the oldest of their attempts that have had no answer for long began.
    pub(super) unanswered_since: Option<Instant>,
    /// Streams that are held, but not by an operator.
    pub(super) held: usize,
    /// Streams that an operator holds; the other figures leave these out.
    pub(super) held_by_operators: usize,
    /// Pending bytes of the streams that no operator holds.
    pub(super) pending_bytes: u64,
    /// When the oldest pending entry of the streams that no operator holds was admitted.
    pub(super) oldest: Instant,
    /// The stream that has that entry.
    longest: StreamName,
}

impl TroubledStreams {
    /// Whether operators hold all of them.
    pub(super) fn is_by_operators(&self) -> bool {
        self.held + self.failing + self.unanswered == 0
    }

    /// The last error of the stream with the oldest pending entry.
    pub(super) fn last_error(&self) -> Option<Box<LastError>> {
        self.exporter.registry().find(&self.longest)?.state().history.last_error
    }
}

/// Streams of one exporter and one tenant that have no pending data, because the last of it was refused for good.
#[derive(Debug)]
pub(super) struct RefusedStreams {
    pub(super) exporter: Arc<Exporter>,
    /// `None` for data of no tenant.
    pub(super) tenant: Option<Box<str>>,
    pub(super) streams: usize,
    /// One of these streams.
    stream: StreamName,
}

impl RefusedStreams {
    /// The last error of one of these streams.
    pub(super) fn last_error(&self) -> Option<Box<LastError>> {
        self.exporter.registry().find(&self.stream)?.state().history.last_error
    }
}

/// All streams whose data was refused and that have none pending, until they are forgotten. Scans every stream of an exporter that has
/// failing streams.
pub(super) fn refused_streams(router: &Router) -> Vec<RefusedStreams> {
    let mut all = Vec::new();
    for exporter in router.exporters().iter().filter(|exporter| exporter.registry().failing_streams() > 0) {
        // By tenant; streams of no tenant have the empty id, which no tenant has.
        let mut of_exporter: HashMap<Box<str>, RefusedStreams> = HashMap::new();
        exporter.registry().scan(|stream| {
            if stream.failed_attempts() == 0 || stream.oldest_micros().is_some() {
                return;
            }
            let tenant = stream.name.key.tenant();
            let refused =
                of_exporter.entry(tenant.unwrap_or_default().into()).or_insert_with(|| RefusedStreams {
                    exporter: exporter.clone(),
                    tenant: tenant.map(Into::into),
                    streams: 0,
                    stream: stream.name.clone(),
                });
            refused.streams += 1;
        });
        all.extend(of_exporter.into_values());
    }
    all
}

/// All streams in trouble that have pending data. Scans every stream of an exporter that has any in trouble.
pub(super) fn troubled_streams(router: &Router) -> Vec<TroubledStreams> {
    let (mut all, began) = (Vec::new(), router.shared().began.0);
    for exporter in router.exporters().iter() {
        let registry = exporter.registry();
        if registry.failing_streams() + registry.held_streams() + registry.unanswered_streams() == 0 {
            continue;
        }
        let holds = exporter.holds();
        let is_held_by_operator = holds.by_operator().is_some();
        let held_by_operators: HashSet<StreamName> =
            holds.streams_held_by_operators().into_iter().map(|(name, _)| name).collect();
        // By tenant; streams of no tenant have the empty id, which no tenant has.
        let mut of_exporter: HashMap<Box<str>, TroubledStreams> = HashMap::new();
        registry.scan(|stream| {
            let (failing, held) = (stream.failed_attempts() > 0, stream.activity() == StreamActivity::Held);
            let unanswered = stream.unanswered_micros().map(|micros| began + Duration::from_micros(micros));
            if !failing && !held && unanswered.is_none() {
                return;
            }
            let Some(oldest) = stream.oldest_micros() else { return };
            let oldest = began + Duration::from_micros(oldest);
            let tenant = stream.name.key.tenant();
            let id = tenant.unwrap_or_default();
            let troubled = match of_exporter.get_mut(id) {
                Some(known) => known,
                None => of_exporter.entry(id.into()).or_insert_with(|| TroubledStreams {
                    exporter: exporter.clone(),
                    tenant: tenant.map(Into::into),
                    failing: 0,
                    unanswered: 0,
                    unanswered_since: None,
                    held: 0,
                    held_by_operators: 0,
                    pending_bytes: 0,
                    oldest,
                    longest: stream.name.clone(),
                }),
            };
            if is_held_by_operator || held_by_operators.contains(stream.name) {
                troubled.held_by_operators += 1;
                return;
            }
            if troubled.is_by_operators() {
                (troubled.oldest, troubled.longest) = (oldest, stream.name.clone());
            }
            // A stream that is held has failed before, and is counted as held alone.
            troubled.held += usize::from(held);
            troubled.failing += usize::from(failing && !held);
            troubled.unanswered += usize::from(!failing && !held);
            troubled.unanswered_since = troubled.unanswered_since.into_iter().chain(unanswered).min();
            troubled.pending_bytes += stream.pending_bytes();
            if oldest < troubled.oldest {
                (troubled.oldest, troubled.longest) = (oldest, stream.name.clone());
            }
        });
        all.extend(of_exporter.into_values());
    }
    all
}
