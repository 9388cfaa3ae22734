//! The table in use, which everybody shares.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::table::Table;

/// The table in use. It is swapped as a whole: whoever has loaded it sees one state of all rows.
#[derive(Debug)]
pub struct Tenants {
    table: ArcSwap<Table>,
    version: watch::Sender<u64>,
}

impl Default for Tenants {
    fn default() -> Self {
        Self { table: ArcSwap::default(), version: watch::Sender::new(0) }
    }
}

impl Tenants {
    /// The table of now, for as long as a decision takes.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Tells of every swap: the number grows with each.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Puts another table in its place. One at a time may do so: who has made it of the one before.
    pub fn swap(&self, table: Table) {
        self.table.store(Arc::new(table));
        self.version.send_modify(|version| *version += 1);
    }
}
