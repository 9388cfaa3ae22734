//! The copies of an entry that the edits of its routes make.

use std::sync::Arc;

use bytes::Bytes;

use crate::route::{self, EditError, Hit, RouteTable, TakenEntry};
use crate::stream::{Admission, Refused};
use crate::tenants::Tenant;
use otlp::{self, Signal};

/// An entry with the copy that the last of its routes has made of it: all exporters of a route get the same.
pub(super) struct EditedCopies<'e> {
    signal: Signal,
    entry: &'e otlp::Entry<'e>,
    tenant: Option<&'e Arc<Tenant>>,
    /// How many exporters it goes to in place of those of its route.
    exporters: Option<usize>,
    /// The route, and its copy; `None` where its edits leave the entry as it is.
    last: Option<(usize, Result<Option<Bytes>, EditError>)>,
}

/// Why there is no copy.
pub(super) enum Uneditable {
    /// A value that the edits need is missing, or the edited entry alone would take too much memory.
    Entry(EditError),
    /// There is no memory for the copy now.
    Refused(Refused),
}

impl<'e> EditedCopies<'e> {
    pub(super) fn of(
        signal: Signal,
        entry: &'e otlp::Entry<'e>,
        tenant: Option<&'e Arc<Tenant>>,
        exporters: Option<usize>,
    ) -> Self {
        Self { signal, entry, tenant, exporters, last: None }
    }

    /// The copy for the route that has taken the entry; `None` if it gets the entry as it is.
    pub(super) fn of_route(
        &mut self,
        routes: &RouteTable,
        hit: &Hit<'_>,
        admission: &mut Admission<'_>,
    ) -> Result<Option<Bytes>, Uneditable> {
        let edits = routes.edits(hit.route);
        if edits.is_empty() {
            return Ok(None);
        }
        if let Some((_, copy)) = self.last.as_ref().filter(|(route, _)| *route == hit.route) {
            return copy.clone().map_err(Uneditable::Entry);
        }
        let taken = TakenEntry {
            signal: self.signal,
            bytes: &self.entry.bytes,
            resource: self.entry.resource(),
            key: hit.key,
            tenant: self.tenant.map(|tenant| &**tenant),
        };
        let limit = admission.budget().limit();
        let queues = self.exporters.unwrap_or_else(|| routes.exporters(hit.route)) as u64;
        let mut fits_alone = true;
        let (copy, asked) = admission.make_copy(|room| {
            let copy = route::edited(edits, &taken, room)?;
            // The copy is in each queue in the end while this one still exists.
            let bytes = copy.as_ref().map_or(0, |copy| copy.len() as u64);
            fits_alone = (1 + queues) * bytes <= limit;
            if fits_alone { Ok(copy) } else { Err(EditError::NoRoom) }
        });
        fits_alone &= asked + taken.bytes.len() as u64 <= limit;
        if copy == Err(EditError::NoRoom) && fits_alone {
            return Err(Uneditable::Refused(admission.no_room_for(asked)));
        }
        self.last = Some((hit.route, copy.clone()));
        copy.map_err(Uneditable::Entry)
    }
}
