//! `GET /api/v1/tenants`: every row of the table with the counts of its records, a page at a time.

use std::cmp::Reverse;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::query;
use super::tenant_state::{ShownTenant, TenantState, streams_by_tenant};
use crate::run::Router;
use crate::tenants::TenantTotals;

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
    limit: usize,
    after: Option<String>,
}

/// The order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TenantOrder {
    /// By id.
    Id,
    /// The most pending bytes first.
    Pending,
    /// The oldest pending entry first.
    Oldest,
    /// The most bytes a second first.
    Rate,
    /// The newest failure first.
    LastFailure,
}

impl TenantOrder {
    const ALL: [Self; 5] = [Self::Id, Self::Pending, Self::Oldest, Self::Rate, Self::LastFailure];

    const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Pending => "pending",
            Self::Oldest => "oldest",
            Self::Rate => "rate",
            Self::LastFailure => "last_failure",
        }
    }

    /// The figure that tenants are ordered by: higher ones come first, equal ones are ordered by id.
    fn weight(self, tenant: &ShownTenant<'_>) -> u64 {
        let totals = tenant.totals();
        match self {
            Self::Id => 0,
            Self::Pending => totals.map_or(0, TenantTotals::pending_bytes),
            Self::Oldest => tenant.streams.oldest.map_or(0, |since| 1 + since.elapsed().as_millis() as u64),
            Self::Rate => totals.map_or(0, TenantTotals::rate),
            Self::LastFailure => {
                let at = totals.and_then(TenantTotals::last_failure_at);
                let since_epoch = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
                since_epoch.map_or(0, |since| since.as_millis() as u64)
            }
        }
    }
}

/// Reads the query.
pub(super) fn wanted(text: &str) -> Result<WantedTenants, String> {
    let mut wanted =
        WantedTenants { text: None, state: None, order: TenantOrder::Id, limit: TENANTS, after: None };
    for (name, value) in query::parameters(text) {
        match name {
            "q" => wanted.text = Some(value),
            "state" => wanted.state = Some(named("state", &TenantState::ALL, TenantState::name, &value)?),
            "sort" => wanted.order = named("sort", &TenantOrder::ALL, TenantOrder::name, &value)?,
            "limit" => wanted.limit = query::number("limit", &value)?.clamp(1, MOST),
            "after" => wanted.after = Some(value),
            _ => {
                return Err(format!("unknown parameter `{name}`: there are q, state, sort, limit and after"));
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

/// The page. Reads every row and every stream, which takes a while if there are many.
pub(super) fn page(router: &Router, wanted: &WantedTenants) -> Result<Value, String> {
    let (tenants, streams) = (router.tenants(), streams_by_tenant(router));
    let table = tenants.table();
    let ready = table
        .tenants()
        .map(|row| ShownTenant { problem: table.problem(&row.place), ..ShownTenant::of_row(row) });
    let broken = table
        .problems()
        .filter(|(place, ..)| !table.is_tenant(place))
        .map(|(place, id, problem)| ShownTenant::of_broken_row(place, id, problem));
    // A tenant whose row was removed is listed for as long as something of it is pending.
    let mut gone = Vec::new();
    tenants.for_each_account(|account| {
        if table.tenant(account.id()).is_none() && account.totals().pending_bytes() > 0 {
            gone.push(account.clone());
        }
    });
    let gone = gone.iter().map(|account| ShownTenant::of_gone_row(account.id()));
    let mut all = Vec::new();
    for mut tenant in ready.chain(broken).chain(gone) {
        if let Some(id) = tenant.id {
            tenant.account = tenants.known_account(id);
            tenant.streams = streams.get(&**id).copied().unwrap_or_default();
        }
        all.push((Reverse(wanted.order.weight(&tenant)), tenant));
    }
    let begin = match &wanted.after {
        None => None,
        // The tenant may have been removed since the page before was read.
        Some(after) if wanted.order == TenantOrder::Id => Some((Reverse(0), after.as_str())),
        Some(after) => {
            let known = all.iter().find(|(_, tenant)| tenant.name() == after);
            let (weight, _) = known.ok_or_else(|| {
                format!("`after` names a row that is not there (any more): `{after}`; begin again without it")
            })?;
            Some((*weight, after.as_str()))
        }
    };
    all.retain(|(_, tenant)| wanted.takes(tenant));
    let total = all.len();
    all.retain(|(weight, tenant)| begin.is_none_or(|begin| (*weight, tenant.name()) > begin));
    all.sort_unstable_by(|(weight, tenant), (other_weight, other)| {
        (weight, tenant.name()).cmp(&(other_weight, other.name()))
    });
    let more = all.len() > wanted.limit;
    all.truncate(wanted.limit);
    let next = all.last().filter(|_| more).map(|(_, tenant)| tenant.name());
    let page: Vec<_> = all.iter().map(|(_, tenant)| tenant.summary()).collect();
    Ok(json!({ "total": total, "tenants": page, "next": next }))
}

impl WantedTenants {
    fn takes(&self, tenant: &ShownTenant<'_>) -> bool {
        let has = |text: &str| {
            let platform = tenant.row.and_then(|row| row.platform.as_deref());
            [tenant.id.map(|id| &**id), platform].into_iter().flatten().any(|known| known.contains(text))
        };
        self.text.as_deref().is_none_or(has) && self.state.is_none_or(|state| tenant.is(state))
    }
}
