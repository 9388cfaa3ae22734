//! Rows of the table of tenants: broken ones, those that pause or hold their tenant, and credentials that expire.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::words::{ended, size, time};
use super::{Attention, AttentionSubject, Urgency};
use crate::run::Router;
use crate::tenants::{RowProblem, Sender, Table, Tenant, TenantTotals};

/// If there are more findings of one kind than this, one sentence speaks of all of them.
const ONE_BY_ONE: usize = 5;

/// Names that such a sentence lists.
const NAMED: usize = 3;

/// A credential that expires within this time is reported, if it was used within the same time.
const NEAR: Duration = Duration::from_secs(24 * 3600);

/// The findings about the rows of a table. Tables are large and change seldom, so that each is read once.
#[derive(Debug, Default)]
pub(in crate::admin) struct TableFindings(Mutex<Option<(Weak<Table>, Arc<Findings>)>>);

/// See [`TableFindings`].
#[derive(Debug, Default)]
pub(in crate::admin) struct Findings {
    /// Rows that can be used.
    pub(in crate::admin) tenants: usize,
    paused: Vec<Arc<Tenant>>,
    held: Vec<Arc<Tenant>>,
    /// Rows with senders whose credentials expire at some time.
    expiring: Vec<Arc<Tenant>>,
}

impl TableFindings {
    /// The findings about the table in use.
    pub(in crate::admin) fn of(&self, table: &Arc<Table>) -> Arc<Findings> {
        let (mut known, table_of_now) = (self.0.lock(), Arc::downgrade(table));
        match &*known {
            Some((of, findings)) if Weak::ptr_eq(of, &table_of_now) => findings.clone(),
            _ => known.insert((table_of_now, Arc::new(Findings::of(table)))).1.clone(),
        }
    }
}

impl Findings {
    fn of(table: &Table) -> Self {
        let mut findings = Self::default();
        for tenant in table.tenants() {
            findings.tenants += 1;
            for (is_one, list) in [
                (tenant.paused, &mut findings.paused),
                (tenant.hold, &mut findings.held),
                (tenant.senders.iter().any(|sender| sender.expires.is_some()), &mut findings.expiring),
            ] {
                if is_one {
                    list.push(tenant.clone());
                }
            }
        }
        for list in [&mut findings.paused, &mut findings.held, &mut findings.expiring] {
            list.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        }
        findings
    }

    /// Whether the row of this tenant holds it.
    pub(super) fn are_held(&self, id: &str) -> bool {
        self.held.binary_search_by(|tenant| (*tenant.id).cmp(id)).is_ok()
    }
}

pub(super) fn found(router: &Router, findings: &Findings) -> Vec<Attention> {
    let mut all = of_broken(&router.tenants().table());
    let paused = "paused, so that their senders get 503";
    all.extend(of_switch(router, "tenant_paused", &findings.paused, paused, |_| {
        "paused by its row, so that its senders get 503; resume it to take them on again".to_owned()
    }));
    all.extend(of_switch(router, "tenant_held", &findings.held, "held by their rows", |waits| {
        format!("held by its row, {} wait; release it to deliver them", size(waits))
    }));
    all.extend(of_credentials(router, findings));
    all
}

fn of_broken(table: &Table) -> Vec<Attention> {
    let broken: Vec<_> = table.problems().take(ONE_BY_ONE + 1).collect();
    if broken.len() > ONE_BY_ONE {
        let text = format!(
            "{} rows of the table of tenants can't be used, such as `{}`: tenants that were there stay as they were, senders of others get \
             503. The page of tenants says what is wrong with each.",
            table.problems().count(),
            broken[0].0
        );
        let attention = Attention::new(Urgency::Error, "broken_rows", AttentionSubject::Configuration, text);
        return vec![attention.since(broken.iter().map(|(_, _, problem)| problem.since).min())];
    }
    let one = |(place, id, problem): (&Arc<str>, Option<&Arc<str>>, &RowProblem)| {
        let then = if table.is_tenant(place) { "it stays as it was before" } else { "its senders get 503" };
        let name = id.unwrap_or(place);
        let text = format!("{name}: its row `{place}` can't be used, and {then}: {}", ended(&problem.text));
        let subject = AttentionSubject::Tenant(name.to_string());
        Attention::new(Urgency::Error, "broken_row", subject, text).since(Some(problem.since))
    };
    broken.into_iter().map(one).collect()
}

/// Reports tenants that are paused or held. `one` is the sentence about a single tenant, given the bytes that wait.
fn of_switch(
    router: &Router,
    kind: &'static str,
    tenants: &[Arc<Tenant>],
    many: &str,
    one: impl Fn(u64) -> String,
) -> Vec<Attention> {
    if tenants.len() > ONE_BY_ONE {
        let text = format!("{} tenants are {many} ({}, …).", tenants.len(), named(tenants.iter()));
        return vec![Attention::new(Urgency::Info, kind, AttentionSubject::Configuration, text)];
    }
    let single = |tenant: &Arc<Tenant>| {
        let account = router.tenants().known_account(&tenant.id);
        let waits = account.map_or(0, |account| account.totals().pending_bytes());
        let text = format!("{}: {}.", tenant.id, one(waits));
        let subject = AttentionSubject::Tenant(tenant.id.to_string());
        Attention::new(Urgency::Info, kind, subject, text).with_pending(waits)
    };
    tenants.iter().map(single).collect()
}

/// The first of many tenants, by their names.
fn named<'t>(tenants: impl Iterator<Item = &'t Arc<Tenant>>) -> String {
    tenants.take(NAMED).map(|tenant| &*tenant.id).collect::<Vec<_>>().join(", ")
}

/// Credentials that expire soon and are still used: their senders do not have the next ones yet.
fn of_credentials(router: &Router, findings: &Findings) -> Vec<Attention> {
    let now = SystemTime::now();
    let ends = |sender: &Sender| {
        let left = sender.expires?.duration_since(now).ok()?;
        (left < NEAR).then_some(left)
    };
    let used = |totals: &TenantTotals, sender: &Sender| {
        let ago = now.duration_since(totals.sender_use(sender)?.at).ok()?;
        (ago < NEAR).then_some(ago)
    };
    let mut ending = Vec::new();
    for tenant in &findings.expiring {
        let Some(account) = router.tenants().known_account(&tenant.id) else { continue };
        let of_tenant = tenant
            .senders
            .iter()
            .filter_map(|sender| Some((tenant, sender, ends(sender)?, used(account.totals(), sender)?)));
        ending.extend(of_tenant);
    }
    let (urgency, kind) = (Urgency::Warning, "token_expires");
    if ending.len() > ONE_BY_ONE {
        let text = format!(
            "The credentials of {} senders end within a day and are used (of {}, …); give whoever sends with them the new ones before.",
            ending.len(),
            named(ending.iter().map(|(tenant, ..)| *tenant))
        );
        return vec![Attention::new(urgency, kind, AttentionSubject::Configuration, text)];
    }
    let one = |(tenant, sender, left, used): (&Arc<Tenant>, &Sender, Duration, Duration)| {
        let text = format!(
            "{}: the credential of its sender `{}` ends in {} and was used {} ago; give whoever sends with it the new one before.",
            tenant.id,
            sender.name,
            time(left),
            time(used)
        );
        Attention::new(urgency, kind, AttentionSubject::Tenant(tenant.id.to_string()), text)
    };
    ending.into_iter().map(one).collect()
}
