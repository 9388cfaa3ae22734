//! The tenants of the table in the order of their ids, each with its account, for whoever lists them.
//!
//! To look up the accounts of a hundred thousand tenants takes a tenth of a second, and to put their ids in order as long. So both are
//! done once for each table, when somebody lists it for the first time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::account::TenantAccount;
use super::table::{RowProblem, Table};
use super::tenant::Tenant;

/// The tenants of a table in the order of their ids.
#[derive(Debug)]
pub struct TenantIndex {
    table: Arc<Table>,
    tenants: Vec<IndexedTenant>,
    /// How many accounts had been opened when those of the tenants were last looked up.
    accounts: AtomicU64,
}

/// A tenant of the table.
#[derive(Debug)]
pub struct IndexedTenant {
    tenant: Arc<Tenant>,
    problem: Option<Box<RowProblem>>,
    account: OnceLock<Arc<TenantAccount>>,
}

impl TenantIndex {
    pub(super) fn new(table: Arc<Table>) -> Self {
        let indexed = |(tenant, problem): (&Arc<Tenant>, Option<&RowProblem>)| IndexedTenant {
            tenant: tenant.clone(),
            problem: problem.cloned().map(Box::new),
            account: OnceLock::new(),
        };
        let mut tenants: Vec<_> = table.tenants_and_problems().map(indexed).collect();
        tenants.sort_unstable_by(|one, other| one.tenant.id.cmp(&other.tenant.id));
        Self { table, tenants, accounts: AtomicU64::new(u64::MAX) }
    }

    /// Looks up the accounts that were not there before, if any were opened since: `opened` have been. An account is not forgotten while
    /// the table in use has a row of its tenant.
    pub(super) fn look_up(&self, opened: u64, account: impl Fn(&str) -> Option<Arc<TenantAccount>>) {
        if self.accounts.load(Ordering::Acquire) == opened {
            return;
        }
        for indexed in &self.tenants {
            if indexed.account.get().is_none()
                && let Some(found) = account(&indexed.tenant.id)
            {
                indexed.account.get_or_init(|| found);
            }
        }
        self.accounts.store(opened, Ordering::Release);
    }

    /// The table whose tenants these are.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Every tenant, in the order of the ids.
    pub fn tenants(&self) -> &[IndexedTenant] {
        &self.tenants
    }
}

impl IndexedTenant {
    /// The tenant.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The problem of its row, if it has one.
    pub fn problem(&self) -> Option<&RowProblem> {
        self.problem.as_deref()
    }

    /// Its account, if there was one when it was last looked up.
    pub fn account(&self) -> Option<&Arc<TenantAccount>> {
        self.account.get()
    }
}
