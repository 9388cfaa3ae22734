//! Where a configuration sends an entry, for commands that don't run it.

use std::sync::Arc;

use crate::otlp::{Entry, Signal};
use crate::route::{EntryOrigin, Hit, Miss, RequestHeaders, RouteTable, Unroutable};
use crate::tenants::{Table, Tenant};

/// The routes of a configuration, with the exporters and the tenants that they are for.
pub(super) struct EntryRoutes {
    pub(super) routes: RouteTable,
    /// By their positions.
    pub(super) exporters: Vec<Arc<str>>,
    pub(super) table: Table,
    /// What the request has of the headers that routes look at.
    pub(super) request: RequestHeaders,
}

impl EntryRoutes {
    fn origin<'o>(&'o self, tenant: Option<&'o Tenant>, receiver: Option<&'o str>) -> EntryOrigin<'o> {
        EntryOrigin { receiver, request: Some(&self.request), tenant, exporters: None }
    }

    /// What a receiver makes of an entry whose records go different ways, as [`RouteTable::partition`]; else the entry itself.
    pub(super) fn partition<'a>(
        &self,
        signal: Signal,
        entry: Entry<'a>,
        tenant: Option<&Tenant>,
        receiver: Option<&str>,
    ) -> Vec<Entry<'a>> {
        let origin = EntryOrigin { exporters: None, ..self.origin(tenant, receiver) };
        let parts =
            self.routes.partition(signal, &entry, &origin, &mut |_| true).expect("there is always room");
        parts.unwrap_or_else(|| vec![entry])
    }

    /// As [`RouteTable::route`], for an entry of this tenant that came by this receiver; by any, if none is named.
    pub(super) fn route(
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
