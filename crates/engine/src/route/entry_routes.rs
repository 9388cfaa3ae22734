//! Where a configuration sends an entry, for those who ask without a request that could be admitted.

use std::cell::Cell;
use std::sync::Arc;

use super::{EntryOrigin, Hit, Miss, RequestHeaders, RouteTable, Unroutable};
use crate::tenants::{Table, Tenant};
use otlp::{Entry, NoRoom, Signal};

/// Bytes that the copies of an entry may still take which routes and edits make of it.
#[derive(Debug)]
pub struct CopyAllowance(Cell<usize>);

impl CopyAllowance {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Cell::new(bytes))
    }

    /// Takes some of them, or none if they are too many.
    pub fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(self.0.get()));
        left.is_some()
    }
}

/// The routes of a configuration, with the exporters and the tenants that they are for.
#[derive(Clone, Debug)]
pub struct EntryRoutes {
    /// The routes.
    pub routes: Arc<RouteTable>,
    /// The names of the exporters, by their positions.
    pub exporters: Vec<Arc<str>>,
    /// The tenants.
    pub table: Arc<Table>,
    /// What the request has of the headers that routes look at.
    pub request: RequestHeaders,
}

impl EntryRoutes {
    fn origin<'o>(&'o self, tenant: Option<&'o Tenant>, receiver: Option<&'o str>) -> EntryOrigin<'o> {
        EntryOrigin { receiver, request: Some(&self.request), tenant, exporters: None }
    }

    /// What a receiver makes of an entry whose records go different ways, as [`RouteTable::partition`]; else the entry itself.
    pub fn partition<'a>(
        &self,
        signal: Signal,
        entry: Entry<'a>,
        tenant: Option<&Tenant>,
        receiver: Option<&str>,
        allowance: &CopyAllowance,
    ) -> Result<Vec<Entry<'a>>, NoRoom> {
        let origin = EntryOrigin { exporters: None, ..self.origin(tenant, receiver) };
        let room = &mut |bytes| allowance.take(bytes);
        Ok(self.routes.partition(signal, &entry, &origin, room)?.unwrap_or_else(|| vec![entry]))
    }

    /// As [`RouteTable::route`], for an entry of this tenant that came by this receiver; by any, if none is named.
    pub fn route(
        &self,
        signal: Signal,
        entry: &Entry<'_>,
        tenant: Option<&Tenant>,
        receiver: Option<&str>,
        mut hit: impl FnMut(Hit<'_>),
        miss: impl FnMut(usize, &dyn Fn() -> Miss),
    ) -> Result<bool, Unroutable> {
        let position = |name: &str| self.exporters.iter().position(|known| **known == *name);
        let of_row: Option<Vec<usize>> = tenant
            .and_then(|tenant| tenant.exporters.as_ref())
            .map(|names| names.iter().filter_map(|name| position(name)).collect());
        let origin = EntryOrigin { exporters: of_row.as_deref(), ..self.origin(tenant, receiver) };
        let hit = |found: Hit<'_>| {
            hit(found);
            Ok(())
        };
        self.routes.route(signal, entry, &origin, &mut String::new(), hit, miss)
    }
}
