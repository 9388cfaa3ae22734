//! `/metrics/tenants`: the metrics of each tenant, for Prometheus. They have a page of their own, and the configuration has to turn it
//! on, since it grows with the number of tenants.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::metric_writer::{MetricFamilies, metrics_text};
use super::metrics::since_epoch;
use super::tenant_state::StreamsByTenant;
use crate::export::Fate;
use crate::otlp::Signal;
use crate::receive::Outcome;
use crate::run::Router;
use crate::tenants::{TenantAccount, TenantTotals};
use crate::watches::RecordWatch;

/// The figures of every tenant that has sent or had streams since the process began, and of each whose credentials expire. Figures
/// that are 0 are left out.
pub(super) fn encode(router: &Arc<Router>) -> String {
    metrics_text(router, write)
}

/// Reads a count of a tenant.
type Count = fn(&TenantTotals) -> u64;

/// Reads a figure of a tenant that is absent until its first event.
type Moment = fn(&TenantTotals) -> Option<SystemTime>;

fn write(metrics: &mut MetricFamilies<'_>, router: &Arc<Router>) -> fmt::Result {
    let mut accounts = Vec::new();
    router.tenants().for_each_account(|account| accounts.push(account.clone()));
    accounts.sort_unstable_by(|one, other| one.id().cmp(other.id()));
    counts(metrics, &accounts)?;
    moments(metrics, &accounts)?;
    watches(metrics, &router.intake().observer.watches())?;
    streams(metrics, router, &accounts)?;
    credentials(metrics, router)
}

fn counts(metrics: &mut MetricFamilies<'_>, accounts: &[Arc<TenantAccount>]) -> fmt::Result {
    metrics.counters(
        "sluice_tenant_received_records",
        "Spans, data points and log records received of a tenant",
        |family| {
            for account in accounts {
                for outcome in Outcome::ALL {
                    let records = sum(account.totals(), |totals, signal| totals.received(signal, outcome));
                    family.add(&[("tenant", account.id()), ("outcome", outcome.name())], records)?;
                }
            }
            Ok(())
        },
    )?;
    metrics.counters("sluice_tenant_exported_records", "Records of a tenant that have ended", |family| {
        for account in accounts {
            for fate in Fate::ALL {
                let records = sum(account.totals(), |totals, signal| totals.ended(signal, fate));
                family.add(&[("tenant", account.id()), ("outcome", fate.name())], records)?;
            }
        }
        Ok(())
    })?;
    let counters: [(&str, &str, Count); 4] = [
        ("sluice_tenant_received_bytes", "Bytes of protobuf received of a tenant", |totals| {
            sum(totals, TenantTotals::received_bytes)
        }),
        (
            "sluice_tenant_refused_requests",
            "Requests of a tenant that were refused",
            TenantTotals::refused_requests,
        ),
        ("sluice_tenant_routed_records", "Records of a tenant that routes gave to exporters", |totals| {
            sum(totals, TenantTotals::routed)
        }),
        (
            "sluice_tenant_recovered_records",
            "Records of a tenant that were in the journal at the start",
            |totals| sum(totals, TenantTotals::recovered),
        ),
    ];
    for (name, help, count) in counters {
        metrics.counters(name, help, |family| {
            accounts
                .iter()
                .try_for_each(|account| family.add(&[("tenant", account.id())], count(account.totals())))
        })?;
    }
    let gauges: [(&str, &str, Count); 2] = [
        (
            "sluice_tenant_pending_records",
            "Records of a tenant that have not ended",
            TenantTotals::pending_records,
        ),
        (
            "sluice_tenant_pending_bytes",
            "Bytes of a tenant's records that have not ended",
            TenantTotals::pending_bytes,
        ),
    ];
    for (name, help, count) in gauges {
        metrics.gauges(name, help, |family| {
            let pending = accounts.iter().map(|account| (account, count(account.totals())));
            pending
                .filter(|(_, count)| *count > 0)
                .try_for_each(|(account, count)| family.add(&[("tenant", account.id())], count as f64))
        })?;
    }
    Ok(())
}

fn watches(metrics: &mut MetricFamilies<'_>, watches: &[Arc<RecordWatch>]) -> fmt::Result {
    metrics.counters("sluice_watch_records", "Records of a tenant that watches have counted", |family| {
        for watch in watches {
            for (tenant, records) in watch.totals() {
                family.add(&[("watch", &watch.settings().name), ("tenant", &tenant)], records)?;
            }
        }
        Ok(())
    })?;
    metrics.gauges("sluice_watch_firing", "1 while a watch fires for a tenant", |family| {
        for watch in watches {
            for series in watch.state().firing {
                if let Some(tenant) = &series.tenant {
                    family.add(&[("watch", &watch.settings().name), ("tenant", tenant)], 1.0)?;
                }
            }
        }
        Ok(())
    })
}

fn moments(metrics: &mut MetricFamilies<'_>, accounts: &[Arc<TenantAccount>]) -> fmt::Result {
    let gauges: [(&str, &str, Moment); 3] = [
        (
            "sluice_tenant_last_received_timestamp_seconds",
            "When something last came of a tenant",
            TenantTotals::last_received,
        ),
        (
            "sluice_tenant_last_success_timestamp_seconds",
            "When an upstream has last taken something of a tenant",
            TenantTotals::last_success,
        ),
        (
            "sluice_tenant_last_failure_timestamp_seconds",
            "When an upstream has last not taken something of a tenant",
            TenantTotals::last_failure_at,
        ),
    ];
    for (name, help, moment) in gauges {
        metrics.gauges(name, help, |family| {
            for account in accounts {
                if let Some(moment) = moment(account.totals()) {
                    family.add(&[("tenant", account.id())], since_epoch(moment))?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn streams(
    metrics: &mut MetricFamilies<'_>,
    router: &Router,
    accounts: &[Arc<TenantAccount>],
) -> fmt::Result {
    let streams = StreamsByTenant::of_all(router);
    metrics.gauges("sluice_tenant_streams", "Live streams of a tenant", |family| {
        accounts
            .iter()
            .map(|account| (account, streams.of(account).count))
            .filter(|(_, count)| *count > 0)
            .try_for_each(|(account, count)| family.add(&[("tenant", account.id())], count as f64))
    })?;
    let help = "How long the oldest entry of a tenant has waited";
    metrics.gauges("sluice_tenant_oldest_pending_seconds", help, |family| {
        for account in accounts {
            if let Some(since) = streams.of(account).oldest {
                family.add(&[("tenant", account.id())], since.elapsed().as_secs_f64())?;
            }
        }
        Ok(())
    })
}

/// When credentials expire: those of a tenant all of whose credentials do, and each by itself; even if the tenant has never sent.
fn credentials(metrics: &mut MetricFamilies<'_>, router: &Router) -> fmt::Result {
    let table = router.tenants().table();
    let mut tenants: Vec<_> = table.tenants().collect();
    tenants.sort_unstable_by_key(|tenant| &tenant.id);
    let help = "When the last credential of a tenant's senders ends; not there where one has no end";
    metrics.gauges("sluice_tenant_credentials_expiry_timestamp_seconds", help, |family| {
        let mut ending = tenants.iter().filter_map(|tenant| Some((tenant, tenant.credentials_expiry()?)));
        ending.try_for_each(|(tenant, expiry)| family.add(&[("tenant", &tenant.id)], since_epoch(expiry)))
    })?;
    let help = "When the credential of a sender ends; not there where it has no end";
    metrics.gauges("sluice_tenant_sender_expiry_timestamp_seconds", help, |family| {
        for tenant in &tenants {
            for sender in &tenant.senders {
                if let Some(expiry) = sender.expires {
                    family.add(&[("tenant", &tenant.id), ("sender", &sender.name)], since_epoch(expiry))?;
                }
            }
        }
        Ok(())
    })
}

/// The sum over all signals.
fn sum(totals: &TenantTotals, of: impl Fn(&TenantTotals, Signal) -> u64) -> u64 {
    Signal::ALL.into_iter().map(|signal| of(totals, signal)).sum()
}
