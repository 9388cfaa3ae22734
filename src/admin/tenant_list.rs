//! `GET /api/v1/tenants`: every row of the table with the counts of its records, in the order that the request asks for, a page at a
//! time.
//!
//! A page is found in one look at the rows, which reads of each no more than the query asks for. All counts are put together for the
//! tenants of the page alone.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::page_search::{self, FoundPage};
use super::query;
use super::tenant_state::{NamedTenant, ShownTenant, StreamsByTenant, TenantState, of_all_signals};
use crate::export::Fate;
use crate::receive::Outcome;
use crate::run::Router;
use crate::tenants::{TenantAccount, TenantIndex, TenantTotals};

/// Tenants listed if the query does not say how many.
const TENANTS: usize = 100;

/// The most tenants that are listed in one answer.
const MOST: usize = 1000;

/// The tenants that a request asks for, and their order.
#[derive(Debug)]
pub(super) struct WantedTenants {
    /// A part of the id or of the platform.
    text: Option<String>,
    state: Option<TenantState>,
    order: TenantOrder,
    /// Whether the order is the other way round.
    reversed: bool,
    limit: usize,
    after: Option<String>,
    /// Tenants between the start, or `after`, and the page.
    skip: usize,
}

/// The order of the list. Tenants that have not got what they are ordered by come last in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TenantOrder {
    /// By id.
    Id,
    /// The state that needs attention most first; of several states of a tenant the first one counts.
    State,
    /// The most pending bytes first.
    Pending,
    /// The oldest pending entry first.
    Oldest,
    /// The most bytes a second first.
    Rate,
    /// The most accepted records first.
    Received,
    /// The most delivered records first.
    Delivered,
    /// The most live streams first.
    Streams,
    /// The newest failure first.
    LastFailure,
}

/// A tenant of the list.
#[derive(Clone, Copy)]
struct ListedTenant<'t> {
    named: NamedTenant<'t>,
    account: Option<&'t Arc<TenantAccount>>,
}

/// A tenant that the query finds.
struct FoundTenant<'t> {
    /// The lower it is, the earlier the tenant comes; tenants of the same value are ordered by their names.
    value: u64,
    listed: ListedTenant<'t>,
}

impl TenantOrder {
    const ALL: [Self; 9] = [
        Self::Id,
        Self::State,
        Self::Pending,
        Self::Oldest,
        Self::Rate,
        Self::Received,
        Self::Delivered,
        Self::Streams,
        Self::LastFailure,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::State => "state",
            Self::Pending => "pending",
            Self::Oldest => "oldest",
            Self::Rate => "rate",
            Self::Received => "received",
            Self::Delivered => "delivered",
            Self::Streams => "streams",
            Self::LastFailure => "last_failure",
        }
    }

    /// Whether the order is by figures of live streams.
    const fn is_of_streams(self) -> bool {
        matches!(self, Self::State | Self::Oldest | Self::Streams)
    }

    /// The figure that tenants are ordered by, higher ones first. `began` is a moment before all others.
    fn weight(self, tenant: &ShownTenant<'_>, began: Instant) -> Option<u64> {
        let totals = tenant.totals();
        let figure = |of: &dyn Fn(&TenantTotals) -> u64| Some(totals.map_or(0, of));
        match self {
            Self::Id => Some(0),
            Self::State => {
                let first = tenant.first_state();
                TenantState::ALL.iter().rev().position(|state| *state == first).map(|at| at as u64)
            }
            Self::Pending => figure(&TenantTotals::pending_bytes),
            Self::Oldest => {
                let since = tenant.streams.oldest?.saturating_duration_since(began);
                Some(u64::MAX / 2 - since.as_micros() as u64)
            }
            Self::Rate => figure(&TenantTotals::rate),
            Self::Received => figure(&|totals| {
                of_all_signals(totals, |totals, signal| totals.received(signal, Outcome::Accepted))
            }),
            Self::Delivered => figure(&|totals| {
                of_all_signals(totals, |totals, signal| totals.ended(signal, Fate::Delivered))
            }),
            Self::Streams => Some(tenant.streams.count as u64),
            Self::LastFailure => {
                let at = totals.and_then(TenantTotals::last_failure_at)?;
                let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).ok();
                Some(since_epoch.map_or(0, |since| since.as_millis() as u64))
            }
        }
    }
}

/// Reads the query.
pub(super) fn wanted(text: &str) -> Result<WantedTenants, String> {
    let mut wanted = WantedTenants {
        text: None,
        state: None,
        order: TenantOrder::Id,
        reversed: false,
        limit: TENANTS,
        after: None,
        skip: 0,
    };
    for (name, value) in query::parameters(text) {
        match name {
            "q" => wanted.text = Some(value),
            "state" => wanted.state = Some(named("state", &TenantState::ALL, TenantState::name, &value)?),
            "sort" => {
                let order = value.strip_prefix('-');
                wanted.reversed = order.is_some();
                wanted.order = named("sort", &TenantOrder::ALL, TenantOrder::name, order.unwrap_or(&value))?;
            }
            "limit" => wanted.limit = query::number("limit", &value)?.clamp(1, MOST),
            "after" => wanted.after = Some(value),
            "skip" => wanted.skip = query::number("skip", &value)?,
            _ => {
                return Err(format!(
                    "unknown parameter `{name}`: there are q, state, sort, limit, after and skip"
                ));
            }
        }
    }
    Ok(wanted)
}

/// The one of `all` that has this name.
pub(super) fn named<T: Copy>(
    parameter: &str,
    all: &[T],
    name: fn(T) -> &'static str,
    value: &str,
) -> Result<T, String> {
    all.iter().copied().find(|one| name(*one) == value).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        format!("`{parameter}` is one of {}, not `{value}`", names.join(", "))
    })
}

/// The page. Reads every row, and every stream, which takes a while if there are many.
pub(super) fn page(router: &Router, wanted: &WantedTenants) -> Result<Value, String> {
    let tenants = router.tenants();
    let index = tenants.index();
    // A tenant whose row was removed is listed for as long as something of it is pending.
    let mut gone = Vec::new();
    tenants.for_each_account(|account| {
        if !account.has_row() && account.totals().pending_bytes() > 0 {
            gone.push(account.clone());
        }
    });
    // An account may know of a table that is newer than the one that is listed.
    gone.retain(|account| index.table().tenant(account.id()).is_none());
    let table = index.table();
    let broken: Vec<_> = table
        .problems()
        .filter(|(place, ..)| !table.is_tenant(place))
        .map(|(place, id, problem)| {
            let named = NamedTenant::of_broken_row(place, id, problem);
            (named, id.and_then(|id| tenants.known_account(id)))
        })
        .collect();
    let all = all(&index, &broken, &gone);
    let streams =
        if wanted.needs_streams() { StreamsByTenant::of_all(router) } else { StreamsByTenant::default() };
    let look = |listed: &ListedTenant<'_>| wanted.look(router, &listed.shown(&streams));
    let begin = match &wanted.after {
        None => None,
        // The tenant may have been removed since the page before was read.
        Some(after) if wanted.order == TenantOrder::Id => Some((0, after.as_str())),
        Some(after) => {
            let known = all.binary_search_by(|listed| listed.named.name().cmp(after)).map_err(|_| {
                format!("`after` names a row that is not there (any more): `{after}`; begin again without it")
            })?;
            Some((look(&all[known]).0, after.as_str()))
        }
    };
    let is_everything = wanted.order == TenantOrder::Id && wanted.text.is_none() && wanted.state.is_none();
    let page = if is_everything {
        wanted.page_by_id(&all)
    } else {
        let (mut total, mut behind) = (0, Vec::new());
        for listed in all.iter().filter(|listed| wanted.has_text(&listed.named)) {
            let (value, is_wanted) = look(listed);
            if is_wanted {
                total += 1;
                let position = (value, listed.named.name());
                if begin.is_none_or(|begin| wanted.compare(position, begin) == Ordering::Greater) {
                    behind.push(FoundTenant { value, listed: *listed });
                }
            }
        }
        let page = page_search::part(behind, total, wanted.skip, wanted.limit, |one, other| {
            wanted.compare((one.value, one.listed.named.name()), (other.value, other.listed.named.name()))
        });
        let rows = page.rows.into_iter().map(|found| found.listed).collect();
        FoundPage { total: page.total, rows, more: page.more }
    };
    let next = page.rows.last().filter(|_| page.more).map(|last| last.named.name());
    let streams = if wanted.needs_streams() {
        streams
    } else {
        StreamsByTenant::of_some(router, page.rows.iter().filter_map(|listed| listed.account))
    };
    let rows: Vec<_> = page.rows.iter().map(|listed| listed.shown(&streams).summary()).collect();
    Ok(json!({ "total": page.total, "tenants": rows, "next": next }))
}

/// The tenants of the table, the rows that have been broken from the start, and the tenants whose rows are gone, by their names.
fn all<'t>(
    index: &'t TenantIndex,
    broken: &'t [(NamedTenant<'t>, Option<Arc<TenantAccount>>)],
    gone: &'t [Arc<TenantAccount>],
) -> Vec<ListedTenant<'t>> {
    let mut all = Vec::with_capacity(index.tenants().len() + broken.len() + gone.len());
    all.extend(index.tenants().iter().map(|indexed| ListedTenant {
        named: NamedTenant::of_row(indexed.tenant(), indexed.problem()),
        account: indexed.account(),
    }));
    let ready = all.len();
    all.extend(
        broken.iter().map(|(named, account)| ListedTenant { named: *named, account: account.as_ref() }),
    );
    let of_gone = |account: &'t Arc<TenantAccount>| ListedTenant {
        named: NamedTenant::of_gone_row(account.id()),
        account: Some(account),
    };
    all.extend(gone.iter().map(of_gone));
    if all.len() > ready {
        all.sort_by(|one, other| one.named.name().cmp(other.named.name()));
    }
    all
}

impl<'t> ListedTenant<'t> {
    fn shown(&self, streams: &StreamsByTenant) -> ShownTenant<'t> {
        ShownTenant::new(self.named, self.account, streams)
    }
}

impl WantedTenants {
    /// Whether the tenants' streams have to be known to find the page.
    fn needs_streams(&self) -> bool {
        let of_state = |state| matches!(state, TenantState::Held | TenantState::Failing | TenantState::Ok);
        self.order.is_of_streams() || self.state.is_some_and(of_state)
    }

    /// The page of all tenants by their ids, of which there are `all` in this order.
    fn page_by_id<'t>(&self, all: &[ListedTenant<'t>]) -> FoundPage<ListedTenant<'t>> {
        let after = self.after.as_deref();
        let behind = if self.reversed {
            all.partition_point(|listed| after.is_none_or(|after| listed.named.name() < after))
        } else {
            let before = |listed: &ListedTenant<'_>| after.is_some_and(|after| listed.named.name() <= after);
            all.len() - all.partition_point(before)
        };
        let left = behind.saturating_sub(self.skip);
        let rows = if self.reversed {
            all[..left].iter().rev().take(self.limit).copied().collect()
        } else {
            all[all.len() - left..].iter().take(self.limit).copied().collect()
        };
        FoundPage { total: all.len(), rows, more: left > self.limit }
    }

    fn has_text(&self, tenant: &NamedTenant<'_>) -> bool {
        let has = |text: &str| {
            let platform = tenant.row.and_then(|row| row.platform.as_deref());
            [tenant.id.map(|id| &**id), platform].into_iter().flatten().any(|known| known.contains(text))
        };
        self.text.as_deref().is_none_or(has)
    }

    /// The value of a tenant in the order, and whether it is in a state that is asked for.
    fn look(&self, router: &Router, tenant: &ShownTenant<'_>) -> (u64, bool) {
        let directed = |weight: u64| if self.reversed { weight } else { u64::MAX - 1 - weight };
        let value = self.order.weight(tenant, router.shared().began.0).map_or(u64::MAX, directed);
        let value = if self.order == TenantOrder::Id { 0 } else { value };
        (value, self.state.is_none_or(|state| tenant.is(state)))
    }

    fn compare(&self, one: (u64, &str), other: (u64, &str)) -> Ordering {
        let by_name = one.1.cmp(other.1);
        let is_reversed = self.order == TenantOrder::Id && self.reversed;
        one.0.cmp(&other.0).then(if is_reversed { by_name.reverse() } else { by_name })
    }
}
