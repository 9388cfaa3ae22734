//! The state of a tenant: its row, the counts of its records and its streams, put together for the pages that show tenants.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::export::Fate;
use crate::otlp::Signal;
use crate::receive::Outcome;
use crate::rounded::seconds;
use crate::run::Router;
use crate::stream::{ScannedStream, StreamActivity};
use crate::tenants::{RowProblem, Tenant, TenantAccount, TenantFailure, TenantTotals};
use crate::utc::rfc3339;

/// A tenant that has sent nothing for so long is silent.
const SILENT: Duration = Duration::from_secs(600);

/// A state of a tenant, which can be in several at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TenantState {
    /// Its row has a problem: the tenant is used as it was before, or not at all.
    Broken,
    /// Its row says `paused`.
    Paused,
    /// Its row says `hold`, or one of its streams is held for what its destination has answered.
    Held,
    /// It has a stream of which an upstream has taken nothing since an attempt failed.
    Failing,
    /// Data of it was refused or shed within the last minute, since it is at a limit of its row.
    OverLimit,
    /// Nothing has come from it for [`SILENT`], or since the process began.
    Silent,
    /// None of the others.
    Ok,
}

/// The live streams of one tenant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TenantStreams {
    pub(super) count: usize,
    pub(super) failing: usize,
    pub(super) held: usize,
    /// When the oldest entry that is not settled was admitted.
    pub(super) oldest: Option<Instant>,
}

/// What names a tenant: its row in the table, or what is left where that is broken or gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedTenant<'t> {
    /// Its id, unless its row is so broken that it can't be told.
    pub(super) id: Option<&'t Arc<str>>,
    /// Where its row stands, if it has one.
    pub(super) place: Option<&'t Arc<str>>,
    /// Its row as it is used.
    pub(super) row: Option<&'t Arc<Tenant>>,
    pub(super) problem: Option<&'t RowProblem>,
}

/// A tenant as it is at one moment.
pub(super) struct ShownTenant<'t> {
    named: NamedTenant<'t>,
    /// Its account, which it has once it has sent or has had streams.
    pub(super) account: Option<&'t Arc<TenantAccount>>,
    pub(super) streams: TenantStreams,
}

/// The live streams of tenants, by the [numbers](TenantAccount::number) of their accounts.
#[derive(Debug, Default)]
pub(super) struct StreamsByTenant(HashMap<usize, TenantStreams>);

impl TenantState {
    /// Every state, those that need attention first.
    pub(super) const ALL: [Self; 7] =
        [Self::Broken, Self::Failing, Self::OverLimit, Self::Paused, Self::Held, Self::Silent, Self::Ok];

    /// The word for it in the API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Failing => "failing",
            Self::OverLimit => "over_limit",
            Self::Silent => "silent",
            Self::Ok => "ok",
        }
    }
}

impl StreamsByTenant {
    /// The live streams of every tenant that has any. Scans all streams.
    pub(super) fn of_all(router: &Router) -> Self {
        let mut all: HashMap<usize, TenantStreams> = HashMap::new();
        scan(router, |number, stream, began| all.entry(number).or_default().add(stream, began));
        Self(all)
    }

    /// The live streams of the tenants with these accounts. Scans all streams, unless there are no accounts.
    pub(super) fn of_some<'a>(
        router: &Router,
        accounts: impl Iterator<Item = &'a Arc<TenantAccount>>,
    ) -> Self {
        let mut some: HashMap<_, _> =
            accounts.map(|account| (account.number(), TenantStreams::default())).collect();
        if !some.is_empty() {
            scan(router, |number, stream, began| {
                if let Some(streams) = some.get_mut(&number) {
                    streams.add(stream, began);
                }
            });
        }
        Self(some)
    }

    /// The live streams of one tenant.
    pub(super) fn of(&self, account: &Arc<TenantAccount>) -> TenantStreams {
        self.0.get(&account.number()).copied().unwrap_or_default()
    }
}

/// Scans every live stream that belongs to a tenant. `look` also gets the tenant's number, and the moment from which the stream's times
/// are counted.
fn scan(router: &Router, mut look: impl FnMut(usize, &ScannedStream<'_>, Instant)) {
    let began = router.shared().began.0;
    for exporter in router.exporters().iter() {
        exporter.registry().scan(|stream| {
            if let Some(number) = stream.account_number() {
                look(number, &stream, began);
            }
        });
    }
}

impl TenantStreams {
    fn add(&mut self, stream: &ScannedStream<'_>, began: Instant) {
        let oldest = stream.oldest_micros().map(|micros| began + Duration::from_micros(micros));
        self.count += 1;
        // Also of a stream of which nothing is pending any more because all of it was refused.
        self.failing += usize::from(stream.failed_attempts() > 0);
        self.held += usize::from(stream.activity() == StreamActivity::Held);
        self.oldest = [self.oldest, oldest].into_iter().flatten().min();
    }
}

impl<'t> NamedTenant<'t> {
    /// The tenant of a row that is used.
    pub(super) fn of_row(row: &'t Arc<Tenant>, problem: Option<&'t RowProblem>) -> Self {
        Self { id: Some(&row.id), place: Some(&row.place), row: Some(row), problem }
    }

    /// The tenant of a row that has been broken from the start.
    pub(super) fn of_broken_row(
        place: &'t Arc<str>,
        id: Option<&'t Arc<str>>,
        problem: &'t RowProblem,
    ) -> Self {
        Self { id, place: Some(place), row: None, problem: Some(problem) }
    }

    /// The tenant whose row was removed.
    pub(super) fn of_gone_row(id: &'t Arc<str>) -> Self {
        Self { id: Some(id), place: None, row: None, problem: None }
    }

    /// The name in the list: the id, or the place of a row whose id can't be read.
    pub(super) fn name(&self) -> &'t str {
        self.id.or(self.place).map_or("", |name| name)
    }
}

impl<'t> Deref for ShownTenant<'t> {
    type Target = NamedTenant<'t>;

    fn deref(&self) -> &NamedTenant<'t> {
        &self.named
    }
}

impl<'t> ShownTenant<'t> {
    /// A tenant with its account and what is known of its streams.
    pub(super) fn new(
        named: NamedTenant<'t>,
        account: Option<&'t Arc<TenantAccount>>,
        streams: &StreamsByTenant,
    ) -> Self {
        let streams = account.map(|account| streams.of(account)).unwrap_or_default();
        Self { named, account, streams }
    }

    pub(super) fn totals(&self) -> Option<&TenantTotals> {
        self.account.map(|account| account.totals())
    }

    /// The first of its states.
    pub(super) fn first_state(&self) -> TenantState {
        TenantState::ALL.into_iter().find(|state| self.is(*state)).unwrap_or(TenantState::Ok)
    }

    pub(super) fn is(&self, state: TenantState) -> bool {
        match state {
            TenantState::Broken => self.problem.is_some(),
            TenantState::Paused => self.row.is_some_and(|row| row.paused),
            TenantState::Held => self.row.is_some_and(|row| row.hold) || self.streams.held > 0,
            TenantState::Failing => self.streams.failing > 0,
            TenantState::OverLimit => {
                self.account.is_some_and(|account| account.quota().was_over_limit_recently())
            }
            TenantState::Silent => self.is_silent(),
            TenantState::Ok => {
                !TenantState::ALL.into_iter().any(|state| state != TenantState::Ok && self.is(state))
            }
        }
    }

    fn is_silent(&self) -> bool {
        let last = self.totals().and_then(TenantTotals::last_received);
        // If the clock was set back, no tenant counts as silent for that.
        last.is_none_or(|last| SystemTime::now().duration_since(last).is_ok_and(|passed| passed >= SILENT))
    }

    /// The tenant as a row of the list.
    pub(super) fn summary(&self) -> Value {
        let states: Vec<_> =
            TenantState::ALL.into_iter().filter(|state| self.is(*state)).map(TenantState::name).collect();
        let totals = self.totals();
        let sum = |of: &dyn Fn(&TenantTotals, Signal) -> u64| -> u64 {
            totals.map_or(0, |totals| of_all_signals(totals, of))
        };
        let received = Outcome::ALL.map(|outcome| {
            let records = sum(&|totals, signal| totals.received(signal, outcome));
            (outcome.name().to_owned(), json!(records))
        });
        let mut records = serde_json::Map::from_iter([
            ("routed".to_owned(), json!(sum(&TenantTotals::routed))),
            ("recovered".to_owned(), json!(sum(&TenantTotals::recovered))),
        ]);
        records.extend(
            Fate::ALL.map(|fate| {
                (fate.name().to_owned(), json!(sum(&|totals, signal| totals.ended(signal, fate))))
            }),
        );
        json!({
            "id": self.id.map(|id| &**id),
            "place": self.place.map(|place| &**place),
            "platform": self.row.and_then(|row| row.platform.as_deref()),
            "states": states,
            "problem": self.problem.map(|problem| json!({
                "text": problem.text, "since": rfc3339(problem.since),
            })),
            "received": {
                "records": serde_json::Map::from_iter(received),
                "bytes": sum(&TenantTotals::received_bytes),
                "refused_requests": totals.map_or(0, TenantTotals::refused_requests),
            },
            "records": records,
            "pending_records": totals.map_or(0, TenantTotals::pending_records),
            "pending_bytes": totals.map_or(0, TenantTotals::pending_bytes),
            "oldest_pending_seconds": self.streams.oldest.map(|since| seconds(since.elapsed())),
            "streams": self.streams.count,
            "failing_streams": self.streams.failing,
            "bytes_per_second": totals.map_or(0, TenantTotals::rate),
            "last_received": totals.and_then(TenantTotals::last_received).map(rfc3339),
            "last_success": totals.and_then(TenantTotals::last_success).map(rfc3339),
            "last_failure": totals.and_then(TenantTotals::last_failure).as_ref().map(failure),
        })
    }
}

/// The sum of a count over all signals.
pub(super) fn of_all_signals(totals: &TenantTotals, of: impl Fn(&TenantTotals, Signal) -> u64) -> u64 {
    Signal::ALL.into_iter().map(|signal| of(totals, signal)).sum()
}

/// A failed attempt.
pub(super) fn failure(failure: &TenantFailure) -> Value {
    json!({
        "exporter": *failure.exporter,
        "signal": failure.signal.name(),
        "code": failure.code,
        "message": failure.message,
        "at": rfc3339(failure.at),
    })
}
