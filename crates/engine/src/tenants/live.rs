//! The table in use, which everybody shares.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use parking_lot::Mutex;

use super::account::TenantAccount;
use super::index::TenantIndex;
use super::table::{Table, TableRow};
use super::tenant::TenantLimits;

/// The table in use. It is swapped as a whole: whoever has loaded it sees one state of all rows.
#[derive(Debug, Default)]
pub struct Tenants {
    table: ArcSwap<Table>,
    /// The accounts of tenants that have sent, or have had streams, and of which anything else is left.
    accounts: DashMap<Arc<str>, Arc<TenantAccount>>,
    /// How many accounts have been opened.
    opened: AtomicU64,
    /// Of the table in use, if somebody has asked for it.
    index: Mutex<Option<Arc<TenantIndex>>>,
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
            // A later swap of the table finds the account; nobody else does before it is in its place.
            account.note_row(self.table.load().tenant(&id));
            Arc::new(account)
        };
        let account = self.accounts.entry(id.clone()).or_insert_with(opened).clone();
        // Once it can be found. Two requests may count one account, which changes nothing for who compares.
        self.opened.fetch_add(1, Ordering::AcqRel);
        account
    }

    /// The account of a tenant, if one was opened.
    pub fn known_account(&self, id: &str) -> Option<Arc<TenantAccount>> {
        self.accounts.get(id).map(|account| account.clone())
    }

    /// Gives back memory that accounts of tenants that send nothing now have no use for, and forgets the accounts of tenants that have
    /// no row any more, of which nothing is pending, and which nobody uses, be it a stream or a request; and that were left so at the
    /// call before: a row that is taken away and put back at once keeps its totals.
    pub fn release_idle(&self) {
        let (table, before) = (self.table.load(), self.accounts.len());
        self.accounts.retain(|id, account| {
            account.release_idle();
            // No other user can appear meanwhile: accounts are handed out under the lock that is held here.
            let is_used = Arc::strong_count(account) > 1;
            let is_left_over =
                !is_used && table.tenant(id).is_none() && account.totals().pending_records() == 0;
            !account.note_left_over(is_left_over)
        });
        if self.accounts.len() < before {
            self.accounts.shrink_to_fit();
        }
    }

    /// The tenants of the table in use in the order of their ids, with the accounts that they have now. Takes long with many tenants, the
    /// first time after a change of the table or when accounts were opened.
    pub fn index(&self) -> Arc<TenantIndex> {
        let table = self.table.load_full();
        let known = self.index.lock().clone().filter(|index| Arc::ptr_eq(index.table(), &table));
        let index = known.unwrap_or_else(|| {
            let index = Arc::new(TenantIndex::new(table));
            let mut kept = self.index.lock();
            // A former table is not kept: `swap` has been here already.
            if Arc::ptr_eq(index.table(), &self.table.load()) {
                *kept = Some(index.clone());
            }
            index
        });
        index.look_up(self.opened.load(Ordering::Acquire), |id| self.known_account(id));
        index
    }

    /// Looks at every account there is, in no order.
    pub fn for_each_account(&self, mut look: impl FnMut(&Arc<TenantAccount>)) {
        self.for_each_account_until(|account| {
            look(account);
            ControlFlow::Continue(())
        });
    }

    /// Looks at every account there is, in no order, until `look` breaks.
    pub fn for_each_account_until(&self, mut look: impl FnMut(&Arc<TenantAccount>) -> ControlFlow<()>) {
        for account in &self.accounts {
            if look(&account).is_break() {
                return;
            }
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
        // It would keep the rows of the former table.
        let former_index = self.index.lock().take();
        drop(former_index);
        // By account and not by table, so that a change of one row wakes the streams of that tenant alone.
        for account in &self.accounts {
            let row = table.tenant(account.id());
            account.note_row(row);
            if !TableRow::are_same(former.tenant(account.id()), row) {
                account.row_changed().notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::{
        BrokenRow, IndexedTenant, RowChange, RowContent, TableSettings, Tenant, TenantValues,
    };
    use otlp::Signal;

    /// Tenants of which `acme` alone has a row.
    fn tenants() -> Tenants {
        let broken = BrokenRow {
            id: Some("acme".into()),
            problem: "it is broken".to_owned(),
            credentials: Vec::new(),
            complete: false,
        };
        let change = RowChange { place: "acme.yaml".into(), content: RowContent::Broken(broken) };
        let tenants = Tenants::default();
        tenants.swap(Table::default().apply(vec![change], std::time::SystemTime::UNIX_EPOCH).0);
        tenants
    }

    #[test]
    fn an_account_is_forgotten_once_there_is_nothing_else_of_its_tenant() {
        let tenants = tenants();
        for id in ["acme", "pending", "used", "left"] {
            tenants.account(id);
        }
        tenants.account("pending").totals().count_routed(Signal::Logs, 1, 10);
        let used = tenants.account("used");
        let known = |id| tenants.known_account(id).is_some();
        tenants.release_idle();
        assert!(known("left"), "its row may be put back at once");
        for _ in 0..3 {
            tenants.release_idle();
        }
        let found = ["acme", "pending", "used", "left"].map(known);
        assert_eq!(found, [true, true, true, false]);
        assert!(Arc::ptr_eq(&used, &tenants.account("used")), "who has it counts where others look");
        drop(used);
        tenants.account("pending").totals().count_no_more_pending(1, 10);
        tenants.release_idle();
        tenants.release_idle();
        assert_eq!(["acme", "pending", "used"].map(known), [true, false, false]);
    }

    #[test]
    fn the_index_is_of_the_table_in_use_and_has_the_accounts_that_there_are() {
        let rows = |ids: &[&str]| {
            let tenant = |id: &&str| {
                Arc::new(Tenant {
                    id: (**id).into(),
                    place: (**id).into(),
                    platform: None,
                    senders: Box::default(),
                    values: TenantValues::default(),
                    exporters: None,
                    limits: TenantLimits::default(),
                    paused: false,
                    hold: false,
                })
            };
            Table::of(
                TableSettings::default(),
                &ids.iter().map(tenant).collect::<Vec<_>>(),
                &Table::default(),
            )
        };
        let tenants = Tenants::default();
        let shown = || -> Vec<(String, bool)> {
            let index = tenants.index();
            let shown =
                |indexed: &IndexedTenant| (indexed.tenant().id.to_string(), indexed.account().is_some());
            index.tenants().iter().map(shown).collect()
        };
        let expected = |all: &[(&str, bool)]| -> Vec<(String, bool)> {
            all.iter().map(|(id, has_account)| ((*id).to_owned(), *has_account)).collect()
        };
        assert_eq!(shown(), []);
        tenants.swap(rows(&["b", "c", "a"]));
        assert_eq!(shown(), expected(&[("a", false), ("b", false), ("c", false)]));
        let account = tenants.account("b");
        assert_eq!(shown(), expected(&[("a", false), ("b", true), ("c", false)]));
        assert!(Arc::ptr_eq(tenants.index().tenants()[1].account().unwrap(), &account));
        assert!(Arc::ptr_eq(&tenants.index(), &tenants.index()), "it is made once");
        tenants.swap(rows(&["c", "b"]));
        assert!(tenants.index.lock().is_none(), "nothing is kept of rows that are gone");
        assert_eq!(shown(), expected(&[("b", true), ("c", false)]));
        assert!(account.has_row());
        tenants.swap(rows(&[]));
        assert_eq!(shown(), []);
        assert!(!account.has_row());
        drop(account);
        tenants.release_idle();
        tenants.release_idle();
        assert!(tenants.known_account("b").is_none(), "the index has not kept it");
    }

    #[test]
    fn an_account_that_is_used_between_two_looks_is_left_over_anew() {
        let tenants = tenants();
        tenants.account("left");
        tenants.release_idle();
        let used = tenants.account("left");
        tenants.release_idle();
        drop(used);
        tenants.release_idle();
        assert!(tenants.known_account("left").is_some());
        tenants.release_idle();
        assert!(tenants.known_account("left").is_none());
    }
}
