//! The streams that a configuration sends an entry to, for explanations and replays, which admit no request.

use std::cell::Cell;
use std::sync::Arc;

use super::{EntryOrigin, Hit, Miss, RequestHeaders, RouteTable, Unroutable};
use crate::tenants::{Table, Tenant};
use otlp::{Entry, NoRoom, Signal};

/// The bytes that may still be taken by copies of an entry, which partitioning and edits make.
#[derive(Debug)]
pub struct CopyAllowance(Cell<usize>);

impl CopyAllowance {
    /// An allowance of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Cell::new(bytes))
    }

    /// Takes so many bytes, or none if fewer are left.
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
    /// The request's values of the headers that routes look at.
    pub request: RequestHeaders,
}

impl EntryRoutes {
    fn origin<'o>(&'o self, tenant: Option<&'o Tenant>, receiver: Option<&'o str>) -> EntryOrigin<'o> {
        EntryOrigin { receiver, request: Some(&self.request), tenant, exporters: None }
    }

    /// The entries that a receiver divides an entry into whose records go to different streams, as [`RouteTable::partition`]; else the
    /// entry itself.
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
