//! All rows as they are at one moment, and the indexes over them.
//!
//! A row stands at a place, such as a file, and claims an id and the credentials of its senders. No two rows hold the
//! same claim. A row that is broken, or claims what another row holds, keeps the tenant that it was before; if it never
//! was one, whoever is known to be its sender is not to be answered like a stranger, for it is not the sender's fault.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::credential::{CertificateNames, Credential};
use super::sharded::ShardedMap;
use super::tenant::Tenant;

/// All rows as they are at one moment. Copies share what is equal in them, so that one is made for every change.
#[derive(Clone, Debug, Default)]
pub struct Table {
    settings: Arc<TableSettings>,
    /// The rows by their places.
    rows: ShardedMap<Arc<str>, RowState>,
    /// All other fields follow from `rows`. The holder of each id, and the number of rows without a tenant that claim it.
    ids: ShardedMap<Arc<str>, Slot>,
    /// The holder of each credential, and the number of rows without a tenant that claim it.
    credentials: ShardedMap<Credential, Slot>,
    /// The places of rows that have a fault.
    faulty: Arc<BTreeSet<Arc<str>>>,
    /// Rows without a tenant of which not all credentials are known.
    uncertain: usize,
}

/// The settings of the table as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSettings {
    /// The resource attributes that name an entry's tenant, of which the first that is there counts. Without any, there is no
    /// table.
    pub attributes: Vec<String>,
    /// The attribute that is written into every resource of a sender who is known, with its tenant's id.
    pub stamp: Option<String>,
    /// The fate of entries whose tenant is not in the table.
    pub unknown: UnknownTenant,
}

/// The fate of entries whose tenant is not in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTenant {
    /// The sender is told by partial success.
    #[default]
    Reject,
    /// The entries become dead letters.
    DeadLetter,
    /// The entries are those of the tenant whose id is `default`.
    Default,
}

/// A change of a row.
#[derive(Debug)]
pub struct RowChange {
    /// Where it stands.
    pub place: Arc<str>,
    /// The content at that place now.
    pub content: RowContent,
}

/// The content at a place.
#[derive(Debug)]
pub enum RowContent {
    /// The place has no row any more.
    Gone,
    /// A row that can be used, if no other row holds what it claims.
    Row(Arc<Tenant>),
    /// A row that can't be used.
    Broken(BrokenRow),
}

/// A row that can't be used, and what is known of it.
#[derive(Debug)]
pub struct BrokenRow {
    /// Its id, if that could be read.
    pub id: Option<Arc<str>>,
    /// Its fault, without secrets.
    pub problem: String,
    /// Credentials that are its senders'.
    pub credentials: Vec<Credential>,
    /// Whether it has no others.
    pub complete: bool,
}

/// The fault of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProblem {
    /// In words, without secrets.
    pub text: String,
    /// Since when the row has had a fault.
    pub since: SystemTime,
}

/// Rows that have got another state by a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppliedRows {
    /// The places of rows that have come to have a problem, or another one.
    pub broken: Vec<Arc<str>>,
    /// The places of rows that had one.
    pub repaired: Vec<Arc<str>>,
}

/// The row that the table has under an id.
#[derive(Clone, Copy, Debug)]
pub enum TableRow<'a> {
    /// A tenant.
    Ready(&'a Arc<Tenant>),
    /// A row that is broken and never was a tenant.
    Broken,
}

impl TableRow<'_> {
    /// Whether two tables have the same under an id, even if its row has moved to another place.
    pub fn are_same(one: Option<Self>, other: Option<Self>) -> bool {
        match (one, other) {
            (Some(Self::Ready(one)), Some(Self::Ready(other))) => one == other,
            (Some(Self::Broken), Some(Self::Broken)) | (None, None) => true,
            _ => false,
        }
    }
}

/// The result of looking up a credential.
#[derive(Clone, Copy, Debug)]
pub enum SenderLookup<'a> {
    /// The credential is a sender's.
    Sender {
        /// The tenant whose sender it is.
        tenant: &'a Arc<Tenant>,
        /// The sender's position in the tenant's `senders`.
        position: usize,
    },
    /// No sender has the credential.
    Unknown,
    /// The credential has expired.
    Expired,
    /// The credential is, or may be, that of a row that is broken and never was a tenant.
    Unavailable,
}

#[derive(Clone, Debug, Default)]
struct RowState {
    tenant: Option<Arc<Tenant>>,
    fault: Option<Arc<RowFault>>,
}

#[derive(Debug)]
struct RowFault {
    id: Option<Arc<str>>,
    problem: RowProblem,
    credentials: Box<[Credential]>,
    complete: bool,
    /// The row as it would be used if others did not hold what it claims.
    wanted: Option<Arc<Tenant>>,
}

/// The claims of an id or a credential.
#[derive(Clone, Debug, Default)]
struct Slot {
    holder: Option<Arc<Tenant>>,
    /// Of a credential: the position of the holder's sender.
    position: u32,
    /// Rows without a tenant that claim it as well.
    others: u32,
}

/// A claim of a row: an id or a credential that no other row may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum RowClaim<'a> {
    Id(&'a Arc<str>),
    Credential(&'a Credential),
}

impl Table {
    /// A table of rows none of which claims what another does. Tenants of `before` that are equal and stand where they stood are
    /// shared with it.
    pub fn of(settings: TableSettings, tenants: &[Arc<Tenant>], before: &Self) -> Self {
        let mut table = Self { settings: Arc::new(settings), ..Self::default() };
        for tenant in tenants {
            let tenant = match before.tenant(&tenant.id) {
                Some(TableRow::Ready(same)) if *same == *tenant && same.place == tenant.place => same,
                _ => tenant,
            };
            table.set(&tenant.place.clone(), Some(RowState { tenant: Some(tenant.clone()), fault: None }));
        }
        table
    }

    /// A table of the same rows with other settings.
    #[must_use]
    pub fn with_settings(&self, settings: TableSettings) -> Self {
        Self { settings: Arc::new(settings), ..self.clone() }
    }

    /// Whether there is a table at all.
    pub fn is_configured(&self) -> bool {
        !self.settings.attributes.is_empty()
    }

    /// The resource attributes that name an entry's tenant, of which the first that is there counts.
    pub fn attributes(&self) -> &[String] {
        &self.settings.attributes
    }

    /// The attribute that is written into every resource of a sender who is known.
    pub fn stamp(&self) -> Option<&str> {
        self.settings.stamp.as_deref()
    }

    /// The fate of entries whose tenant is not in the table.
    pub fn unknown(&self) -> UnknownTenant {
        self.settings.unknown
    }

    /// The row of this id.
    pub fn tenant(&self, id: &str) -> Option<TableRow<'_>> {
        self.ids.get(id).map(|slot| slot.holder.as_ref().map_or(TableRow::Broken, TableRow::Ready))
    }

    /// Every tenant, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.rows.values().filter_map(|row| row.tenant.as_ref())
    }

    /// Every tenant and the problem of its row, if it has one, in no order.
    pub fn tenants_and_problems(&self) -> impl Iterator<Item = (&Arc<Tenant>, Option<&RowProblem>)> {
        self.rows
            .values()
            .filter_map(|row| Some((row.tenant.as_ref()?, row.fault.as_ref().map(|fault| &fault.problem))))
    }

    /// Every row that has a problem: its place, its id if that can be told, and the problem.
    pub fn problems(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<str>>, &RowProblem)> {
        self.faulty.iter().filter_map(|place| {
            let row = self.rows.get(&**place)?;
            let fault = row.fault.as_ref()?;
            let id = row.tenant.as_ref().map(|tenant| &tenant.id).or(fault.id.as_ref());
            Some((place, id, &fault.problem))
        })
    }

    /// The fault of the row at a place, if it has one.
    pub fn problem(&self, place: &str) -> Option<&RowProblem> {
        self.rows.get(place)?.fault.as_ref().map(|fault| &fault.problem)
    }

    /// Whether the row at a place is a tenant, be it one that its problem has not let change.
    pub fn is_tenant(&self, place: &str) -> bool {
        self.rows.get(place).is_some_and(|row| row.tenant.is_some())
    }

    /// Looks up a bearer token.
    pub fn by_token(&self, token: &[u8], now: SystemTime) -> SenderLookup<'_> {
        self.find(&Credential::token(token), now)
    }

    /// Looks up a user name and a password.
    pub fn by_basic(&self, username: &[u8], password: &[u8], now: SystemTime) -> SenderLookup<'_> {
        self.find(&Credential::basic(username, password), now)
    }

    /// Looks up a client certificate, by the first of its URIs, DNS names and common name that is a sender's.
    pub fn by_certificate(&self, names: &CertificateNames, now: SystemTime) -> SenderLookup<'_> {
        let mut best = if self.uncertain > 0 { SenderLookup::Unavailable } else { SenderLookup::Unknown };
        for credential in names.credentials() {
            match self.find(&credential, now) {
                found @ SenderLookup::Sender { .. } => return found,
                SenderLookup::Expired => best = SenderLookup::Expired,
                SenderLookup::Unavailable if !matches!(best, SenderLookup::Expired) => {
                    best = SenderLookup::Unavailable;
                }
                SenderLookup::Unavailable | SenderLookup::Unknown => {}
            }
        }
        best
    }

    fn find(&self, credential: &Credential, now: SystemTime) -> SenderLookup<'_> {
        match self.credentials.get(credential) {
            Some(Slot { holder: Some(tenant), position, .. }) => {
                let position = *position as usize;
                let expires = tenant.senders[position].expires;
                if expires.is_some_and(|expires| expires <= now) {
                    SenderLookup::Expired
                } else {
                    SenderLookup::Sender { tenant, position }
                }
            }
            Some(Slot { holder: None, .. }) => SenderLookup::Unavailable,
            None if self.uncertain > 0 => SenderLookup::Unavailable,
            None => SenderLookup::Unknown,
        }
    }

    /// The table with these changes, each of another place, and whose state they have changed.
    ///
    /// Of rows that claim the same, the one that holds it goes on holding it for as long as it claims it. If nobody holds it,
    /// the first by place gets it. A row that does not get all that it claims changes nothing; it is tried again whenever
    /// something changes.
    #[must_use]
    pub fn apply(&self, changes: Vec<RowChange>, now: SystemTime) -> (Self, AppliedRows) {
        let mut next = self.clone();
        let mut wanting: BTreeMap<Arc<str>, Arc<Tenant>> = BTreeMap::new();
        for place in self.faulty.iter() {
            let fault = self.rows.get(&**place).and_then(|row| row.fault.as_ref());
            if let Some(wanted) = fault.and_then(|fault| fault.wanted.clone()) {
                wanting.insert(place.clone(), wanted);
            }
        }
        let mut touched: BTreeSet<Arc<str>> = wanting.keys().cloned().collect();
        for RowChange { place, content } in changes {
            wanting.remove(&place);
            match content {
                RowContent::Gone => next.set(&place, None),
                RowContent::Broken(broken) => next.set_fault(&place, broken, None, now),
                RowContent::Row(tenant) => drop(wanting.insert(place.clone(), tenant)),
            }
            touched.insert(place);
        }
        loop {
            let losing = next.losing(&wanting);
            if losing.is_empty() {
                break;
            }
            for (place, problem) in losing {
                let Some(tenant) = wanting.remove(&place) else { continue };
                let broken = BrokenRow {
                    id: Some(tenant.id.clone()),
                    problem,
                    credentials: tenant.senders.iter().map(|sender| sender.credential.clone()).collect(),
                    complete: true,
                };
                next.set_fault(&place, broken, Some(tenant), now);
            }
        }
        // A row may claim what another gives up: so all rows are taken out before any is put in.
        for (place, tenant) in &mut wanting {
            let before = next.rows.get(&**place).and_then(|row| row.tenant.clone());
            next.set(place, None);
            if let Some(same) = before.filter(|before| *before == *tenant) {
                *tenant = same;
            }
        }
        for (place, tenant) in wanting {
            next.set(&place, Some(RowState { tenant: Some(tenant), fault: None }));
        }
        let mut applied = AppliedRows::default();
        for place in touched {
            let text = |table: &Self| table.problem(&place).map(|problem| problem.text.clone());
            match (text(self), text(&next)) {
                (before, Some(after)) if before.as_ref() != Some(&after) => applied.broken.push(place),
                (Some(_), None) if next.rows.get(&*place).is_some() => applied.repaired.push(place),
                _ => {}
            }
        }
        (next, applied)
    }

    /// Which of the rows that are to be used can't be, and why. The caller removes them and asks again, because then they keep the claims
    /// that they hold.
    fn losing(&self, wanting: &BTreeMap<Arc<str>, Arc<Tenant>>) -> Vec<(Arc<str>, String)> {
        let mut losing = Vec::new();
        for (place, tenant) in wanting {
            let held = claims(tenant).find_map(|(claim, sender)| {
                let slot = self.slot(claim)?;
                let holder = slot.holder.as_ref().filter(|holder| holder.place != *place)?;
                let keeps = wanting
                    .get(&holder.place)
                    .is_none_or(|next| claims(next).any(|(other, _)| other == claim));
                keeps.then(|| conflict(claim, (tenant, sender), (holder, slot.position)))
            });
            losing.extend(held.map(|problem| (place.clone(), problem)));
        }
        if !losing.is_empty() {
            return losing;
        }
        let mut taken: HashMap<RowClaim<'_>, (&Arc<Tenant>, u32)> = HashMap::new();
        for (place, tenant) in wanting {
            let earlier =
                claims(tenant).find_map(|(claim, sender)| Some((claim, sender, taken.get(&claim)?)));
            if let Some((claim, sender, (first, of_first))) = earlier {
                losing.push((place.clone(), conflict(claim, (tenant, sender), (first, *of_first))));
            } else {
                taken.extend(claims(tenant).map(|(claim, sender)| (claim, (tenant, sender))));
            }
        }
        losing
    }

    fn slot(&self, claim: RowClaim<'_>) -> Option<&Slot> {
        match claim {
            RowClaim::Id(id) => self.ids.get(&**id),
            RowClaim::Credential(credential) => self.credentials.get(credential),
        }
    }

    /// Sets the fault of a row; the tenant that it was stays.
    fn set_fault(
        &mut self,
        place: &Arc<str>,
        broken: BrokenRow,
        wanted: Option<Arc<Tenant>>,
        now: SystemTime,
    ) {
        let before = self.rows.get(&**place).cloned().unwrap_or_default();
        let BrokenRow { id, problem, credentials, complete } = broken;
        let since = before.fault.as_ref().map_or(now, |fault| fault.problem.since);
        let problem = RowProblem { text: problem, since };
        let fault = RowFault { id, problem, credentials: credentials.into(), complete, wanted };
        self.set(place, Some(RowState { tenant: before.tenant, fault: Some(Arc::new(fault)) }));
    }

    /// The only place that changes rows, and with them all that follows from rows.
    fn set(&mut self, place: &Arc<str>, state: Option<RowState>) {
        let before = match state.clone() {
            Some(state) => self.rows.insert(place.clone(), state),
            None => self.rows.remove(&**place),
        };
        if let Some(before) = before {
            self.count(place, &before, false);
        }
        if let Some(state) = state {
            self.count(place, &state, true);
        }
    }

    /// Adds or removes the claims and counts that follow from a row.
    fn count(&mut self, place: &Arc<str>, row: &RowState, enters: bool) {
        if row.fault.is_some() {
            let faulty = Arc::make_mut(&mut self.faulty);
            if enters {
                faulty.insert(place.clone())
            } else {
                faulty.remove(place)
            };
        }
        if let Some(tenant) = &row.tenant {
            let hold = |slot: &mut Slot, position: usize| {
                debug_assert!(slot.holder.is_none() == enters, "a claim has one holder");
                slot.holder = enters.then(|| tenant.clone());
                slot.position = position as u32;
            };
            change(&mut self.ids, &tenant.id, |slot| hold(slot, 0));
            for (position, sender) in tenant.senders.iter().enumerate() {
                change(&mut self.credentials, &sender.credential, |slot| hold(slot, position));
            }
        } else if let Some(fault) = &row.fault {
            let claim = |slot: &mut Slot| if enters { slot.others += 1 } else { slot.others -= 1 };
            if let Some(id) = &fault.id {
                change(&mut self.ids, id, claim);
            }
            for credential in &fault.credentials {
                change(&mut self.credentials, credential, claim);
            }
            if !fault.complete {
                if enters { self.uncertain += 1 } else { self.uncertain -= 1 }
            }
        }
    }
}

/// Changes the claims of a key; a key without claims has no slot.
fn change<K: Clone + Eq + std::hash::Hash>(
    slots: &mut ShardedMap<K, Slot>,
    key: &K,
    change: impl FnOnce(&mut Slot),
) {
    let mut slot = slots.get(key).cloned().unwrap_or_default();
    change(&mut slot);
    if slot.holder.is_none() && slot.others == 0 {
        slots.remove(key);
    } else {
        slots.insert(key.clone(), slot);
    }
}

/// The claims of a row, and the positions of the senders that they are for.
fn claims(tenant: &Tenant) -> impl Iterator<Item = (RowClaim<'_>, u32)> {
    let senders = tenant.senders.iter().map(|sender| RowClaim::Credential(&sender.credential)).zip(0..);
    std::iter::once((RowClaim::Id(&tenant.id), 0)).chain(senders)
}

/// Why a row can't have what it claims: names the place of the other row. The row's own is known to whoever reads it.
fn conflict(
    claim: RowClaim<'_>,
    (tenant, sender): (&Tenant, u32),
    (holder, of_holder): (&Tenant, u32),
) -> String {
    let place = &holder.place;
    match claim {
        RowClaim::Id(id) => format!("the id `{id}` is also that of `{place}`"),
        RowClaim::Credential(credential) => format!(
            "the {} of sender `{}` is also that of sender `{}` of tenant `{}` (`{place}`)",
            credential.kind(),
            tenant.senders[sender as usize].name,
            holder.senders[of_holder as usize].name,
            holder.id
        ),
    }
}

#[cfg(test)]
mod tests;
