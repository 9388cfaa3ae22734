//! `GET /api/v1/tenants/ID`: all that is known of one tenant, without secrets.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::attempt_row;
use super::stream_list::{self, WantedStreams};
use super::tenant_state::{NamedTenant, ShownTenant, StreamsByTenant, failure};
use super::watches;
use crate::export::Fate;
use crate::otlp::Signal;
use crate::receive::Outcome;
use crate::run::Router;
use crate::tenants::{Sender, TableRow, Tenant, TenantAccount, TenantTotals};
use crate::utc::rfc3339;

/// The most streams that are listed, those with the oldest pending entries first.
const STREAMS: usize = 20;

/// Stands for text that may be secret.
const REDACTED: &str = "[redacted]";

/// The tenant of this id, if it has a row or has ever had records.
pub(super) fn shown(router: &Router, id: &str) -> Option<Value> {
    let tenants = router.tenants();
    let table = tenants.table();
    let account = tenants.known_account(id);
    let id_known: Arc<str>;
    let tenant = match table.tenant(id) {
        Some(TableRow::Ready(row)) => NamedTenant::of_row(row, table.problem(&row.place)),
        Some(TableRow::Broken) => {
            let (place, id, problem) =
                table.problems().find(|(_, known, _)| known.is_some_and(|known| **known == *id))?;
            NamedTenant::of_broken_row(place, id, problem)
        }
        None => {
            id_known = account.as_ref()?.id().clone();
            NamedTenant::of_gone_row(&id_known)
        }
    };
    let streams = StreamsByTenant::of_some(router, account.iter());
    let tenant = ShownTenant::new(tenant, account.as_ref(), &streams);
    let mut shown = tenant.summary();
    let totals = tenant.totals();
    let signals: Map<_, _> =
        Signal::ALL.into_iter().map(|signal| (signal.name().to_owned(), of_signal(totals, signal))).collect();
    let wanted = WantedStreams::live_of(id, STREAMS);
    let last = stream_list::find(router, &wanted).map(|page| page.rows(router, &wanted)).unwrap_or_default();
    let failures = totals.map(TenantTotals::failures).unwrap_or_default();
    shown["signals"] = signals.into();
    shown["failures"] = failures.iter().map(failure).collect();
    shown["last_attempts"] = last_attempts(router, &tenant);
    shown["live_streams"] = last.into();
    shown["firing_watches"] = watches::firing_of(router, id).into();
    if let Some(row) = tenant.row {
        shown["paused"] = row.paused.into();
        shown["hold"] = row.hold.into();
        shown["exporters"] = json!(row.exporters);
        shown["senders"] = row.senders.iter().map(|sender| of_sender(sender, totals)).collect();
        shown["values"] = of_values(row);
        shown["limits"] = limits(row, tenant.account.map(|account| &**account));
    }
    Some(shown)
}

/// The last attempts to deliver data of the tenant, of all exporters.
fn last_attempts(router: &Router, tenant: &ShownTenant<'_>) -> Value {
    let attempts = tenant.id.map(|id| router.shared().attempts_of_tenant(id));
    attempt_row::of_streams(&attempts.unwrap_or_default())
}

fn of_signal(totals: Option<&TenantTotals>, signal: Signal) -> Value {
    let count = |of: &dyn Fn(&TenantTotals) -> u64| json!(totals.map_or(0, of));
    let received = Outcome::ALL
        .map(|outcome| (outcome.name().to_owned(), count(&|totals| totals.received(signal, outcome))));
    let mut records = Map::from_iter([
        ("routed".to_owned(), count(&|totals| totals.routed(signal))),
        ("recovered".to_owned(), count(&|totals| totals.recovered(signal))),
    ]);
    records
        .extend(Fate::ALL.map(|fate| (fate.name().to_owned(), count(&|totals| totals.ended(signal, fate)))));
    json!({
        "received": { "records": Map::from_iter(received), "bytes": count(&|totals| totals.received_bytes(signal)) },
        "records": records,
    })
}

fn of_sender(sender: &Sender, totals: Option<&TenantTotals>) -> Value {
    let used = totals.and_then(|totals| totals.sender_use(sender));
    let others = sender.may_send_for.as_ref();
    json!({
        "name": sender.name,
        "kind": sender.credential.kind(),
        "credential": sender.credential.masked(),
        "expires": sender.expires.map(rfc3339),
        "may_send_for": others.map(|globs| globs.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "last_used": used.as_ref().map(|used| rfc3339(used.at)),
        "last_used_from": used.and_then(|used| used.from).map(|from| from.to_string()),
    })
}

/// The names of the values, and how many texts each has.
fn of_values(row: &Tenant) -> Value {
    let names = row.values.names();
    let redacted = |name: &str| vec![REDACTED; row.values.get(name).map_or(0, <[_]>::len)];
    names.map(|name| (name.to_owned(), json!(redacted(name)))).collect::<Map<_, _>>().into()
}

/// The tenant's limits, and how much of each is used.
fn limits(row: &Tenant, account: Option<&TenantAccount>) -> Value {
    let limits = &row.limits;
    let usage = account.map(|account| account.quota().usage(limits)).unwrap_or_default();
    let rate = account.map_or(0, |account| account.totals().rate());
    json!({
        "rate": { "limit": limits.rate, "used": rate },
        "burst": { "limit": limits.rate().map(|rate| rate.burst), "used": usage.burst },
        "streams": { "limit": limits.streams, "used": usage.streams },
        "memory": { "limit": limits.memory, "used": usage.memory },
        "journal": { "limit": limits.journal, "used": usage.journal },
    })
}
