//! What the streams of all exporters share.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::attempts::{RecentAttempts, StreamAttempt};
use super::history::Past;
use super::newly_failing::NewlyFailing;
use super::read_memory::ReadMemory;
use super::stream_count::{NoStream, StreamCount};
use super::{Budget, StreamName};
use crate::journal::Journal;
use crate::telemetry::OwnTelemetry;
use crate::tenants::{TenantAccount, Tenants};
use otlp::Redaction;

/// The part of the memory that backlogs may take when they are read.
const READING: u64 = 4;

/// The part of the memory that may be taken before entries stay on disk alone.
const SPILL: u64 = 2;

/// What the streams of all exporters share.
#[derive(Debug)]
pub struct EngineState {
    /// `limits.memory`.
    pub budget: Arc<Budget>,
    /// `limits.streams`.
    pub streams: Arc<StreamCount>,
    /// Where entries are kept beside the memory, if anywhere.
    pub journal: Option<Journal>,
    /// The table of tenants.
    pub tenants: Arc<Tenants>,
    /// What is told of requests and attempts.
    pub telemetry: Arc<OwnTelemetry>,
    /// The histories of streams that are gone.
    pub past: Past,
    /// What of records is not shown, neither where they are shown nor where an upstream says them back.
    pub redaction: Arc<ArcSwap<Redaction>>,
    /// The last attempts of streams, exporters and tenants that fail, or that somebody has looked at.
    pub(super) attempts: RecentAttempts,
    /// Streams that have begun to fail.
    pub newly_failing: NewlyFailing,
    /// Since when streams live, by both clocks.
    pub began: (Instant, SystemTime),
    /// For backlogs, so that reading them does not take everybody's memory.
    pub(super) reading: ReadMemory,
}

impl EngineState {
    /// Memory, streams, and a journal if there is one; without tenants.
    pub fn new(budget: Arc<Budget>, streams: Arc<StreamCount>, journal: Option<Journal>) -> Self {
        Self::with_tenants(budget, streams, journal, Arc::default())
    }

    /// The same with a table of tenants.
    pub fn with_tenants(
        budget: Arc<Budget>,
        streams: Arc<StreamCount>,
        journal: Option<Journal>,
        tenants: Arc<Tenants>,
    ) -> Self {
        Self {
            reading: ReadMemory::new(budget.limit() / READING),
            budget,
            streams,
            journal,
            tenants,
            telemetry: Arc::default(),
            past: Past::default(),
            redaction: Arc::default(),
            attempts: RecentAttempts::default(),
            newly_failing: NewlyFailing::default(),
            began: (Instant::now(), SystemTime::now()),
        }
    }

    /// Forgets attempts that nobody wants to know of any more.
    pub fn sweep(&self) {
        self.attempts.sweep();
    }

    /// Changes `limits.memory`, and with it what backlogs may take when they are read.
    pub fn set_memory(&self, limit: u64) {
        self.budget.set_limit(limit);
        self.reading.set_bytes(limit / READING);
    }

    /// As [`Registry::attempts`](super::Registry::attempts), of all streams of a tenant, at whatever exporter.
    pub fn attempts_of_tenant(&self, id: &Arc<str>) -> Vec<Arc<StreamAttempt>> {
        self.attempts.of_tenant(id)
    }

    /// The account of the tenant whose data a stream of this name holds, if that is one's.
    pub(super) fn account_of(&self, name: &StreamName) -> Option<Arc<TenantAccount>> {
        name.key.tenant().map(|tenant| self.tenants.account(tenant))
    }

    /// Counts one more stream against all limits of streams that it falls under, or against none.
    pub(super) fn join(
        &self,
        route: Option<&Arc<StreamCount>>,
        account: Option<&TenantAccount>,
    ) -> Result<(), NoStream> {
        if !self.streams.join() {
            return Err(NoStream::TooMany);
        }
        if route.is_some_and(|route| !route.join()) {
            self.streams.leave();
            return Err(NoStream::TooMany);
        }
        let most = |account: &TenantAccount| self.tenants.limits(account.id()).streams;
        match account {
            Some(account) if !account.quota().join_stream(most(account)) => {
                self.leave(route, None);
                Err(NoStream::TenantHasTooMany(account.id().clone()))
            }
            _ => Ok(()),
        }
    }

    /// Counts one more stream, whatever the limits are.
    pub(super) fn join_anyway(&self, route: Option<&Arc<StreamCount>>, account: Option<&TenantAccount>) {
        self.streams.join_anyway();
        route.inspect(|route| route.join_anyway());
        account.inspect(|account| account.quota().join_stream_anyway());
    }

    /// Takes a stream off the limits again.
    pub(super) fn leave(&self, route: Option<&Arc<StreamCount>>, account: Option<&TenantAccount>) {
        self.streams.leave();
        route.inspect(|route| route.leave());
        account.inspect(|account| account.quota().leave_stream());
    }

    /// Whether so much memory is taken that entries which are on disk should stay there.
    pub(super) fn is_short(&self) -> bool {
        self.budget.used() > self.budget.limit() / SPILL
    }
}
