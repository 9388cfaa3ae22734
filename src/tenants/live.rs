//! The table in use, which everybody shares.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;

use super::account::TenantAccount;
use super::table::{Table, TableRow};
use super::tenant::TenantLimits;

/// The table in use. It is swapped as a whole: whoever has loaded it sees one state of all rows.
#[derive(Debug, Default)]
pub struct Tenants {
    table: ArcSwap<Table>,
    /// Of tenants that have sent, or have streams, since the process began.
    accounts: DashMap<Arc<str>, Arc<TenantAccount>>,
}

impl Tenants {
    /// The table of now, for as long as a decision takes.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// The account of a tenant, which is opened if there is none.
    pub fn account(&self, id: &str) -> Arc<TenantAccount> {
        if let Some(account) = self.accounts.get(id) {
            return account.clone();
        }
        let id = match self.table.load().tenant(id) {
            Some(TableRow::Ready(tenant)) => tenant.id.clone(),
            Some(TableRow::Broken) | None => id.into(),
        };
        let opened = || {
            let account = TenantAccount::new(id.clone());
            // Whoever swaps the table later finds the account, which nobody else does until it is in its place.
            if let Some(row) = self.table.load().tenant(&id) {
                account.note_row(row);
            }
            Arc::new(account)
        };
        self.accounts.entry(id.clone()).or_insert_with(opened).clone()
    }

    /// The account of a tenant, if one was opened.
    pub fn known_account(&self, id: &str) -> Option<Arc<TenantAccount>> {
        self.accounts.get(id).map(|account| account.clone())
    }

    /// Looks at the account of every tenant that has sent, or has streams, since the process began, in no order.
    pub fn for_each_account(&self, mut look: impl FnMut(&Arc<TenantAccount>)) {
        for account in &self.accounts {
            look(&account);
        }
    }

    /// How much a tenant may have, by its row as it is now. A tenant that has none any more is not limited in what is left of it.
    pub fn limits(&self, id: &str) -> TenantLimits {
        match self.table.load().tenant(id) {
            Some(TableRow::Ready(tenant)) => tenant.limits,
            Some(TableRow::Broken) | None => TenantLimits::default(),
        }
    }

    /// Puts another table in its place, and tells the accounts of tenants whose rows are others now. One at a time may do so: who
    /// has made it of the one before.
    pub fn swap(&self, table: Table) {
        let table = Arc::new(table);
        let former = self.table.swap(table.clone());
        // By account and not by table, so that a change of one row wakes the streams of that tenant alone.
        for account in &self.accounts {
            let row = table.tenant(account.id());
            if let Some(row) = row {
                account.note_row(row);
            }
            if !TableRow::are_same(former.tenant(account.id()), row) {
                account.row_changed().notify_waiters();
            }
        }
    }
}
