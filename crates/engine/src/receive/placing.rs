//! The entries of a request in the streams that its routes name.

use std::cell::RefCell;
use std::sync::Arc;

use smallvec::SmallVec;

use super::caller::Caller;
use super::edited::{EditedCopies, Uneditable};
use super::flow::{FlowVolume, RequestFlow};
use super::partition::log_overridden;
use super::snapshot::ConfigSnapshot;
use crate::route::{EntryOrigin, Unroutable};
use crate::stream::{Admission, Misplaced, Placement, Refused};
use crate::tenants::Tenant;
use otlp::{self, Signal};

thread_local! {
    /// Where routing keys are put together.
    static SCRATCH: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How the placing of an entry failed.
pub(super) enum PlacingError {
    /// No stream can take this entry, for this reason.
    Entry(String),
    Refused(Refused),
    /// Its tenant can't be served now, for this reason.
    Unavailable(String),
}

impl From<Unroutable> for PlacingError {
    fn from(error: Unroutable) -> Self {
        Self::Entry(error.to_string())
    }
}

/// The origin of an entry: its request's caller, and its tenant.
#[derive(Clone, Copy)]
pub(super) struct EntrySource<'s> {
    pub(super) caller: &'s Caller,
    pub(super) tenant: Option<&'s Arc<Tenant>>,
}

impl EntrySource<'_> {
    /// The positions of the exporters that the tenant's row names in place of its route's.
    fn exporters(&self, snapshot: &ConfigSnapshot) -> Result<Option<SmallVec<[usize; 4]>>, PlacingError> {
        let Some((tenant, names)) = self.tenant.and_then(|tenant| Some((tenant, tenant.exporters.as_ref()?)))
        else {
            return Ok(None);
        };
        let position = |name: &str| snapshot.exporters.iter().position(|exporter| **exporter.name() == *name);
        let positions: Option<_> = names.iter().map(|name| position(name)).collect();
        // A reload has removed it since the row was read.
        positions.map(Some).ok_or_else(|| {
            PlacingError::Unavailable(format!(
                "the tenant `{}` can't be served now; send it again later",
                tenant.id
            ))
        })
    }
}

/// Places one entry, by its position among those that are left of the request, in every stream that its routes say, and returns how
/// many, and why there are not more. Which way it goes is added to `flow`.
pub(super) fn place<'a>(
    snapshot: &ConfigSnapshot,
    signal: Signal,
    position: usize,
    entry: &otlp::Entry<'a>,
    from: EntrySource<'_>,
    admission: &mut Admission<'a>,
    flow: &mut RequestFlow,
) -> Result<(usize, Option<String>), PlacingError> {
    let of_row = from.exporters(snapshot)?;
    let origin = EntryOrigin {
        receiver: Some(from.caller.receiver()),
        request: Some(from.caller.headers()),
        tenant: from.tenant.map(|tenant| &**tenant),
        exporters: of_row.as_deref(),
    };
    SCRATCH.with_borrow_mut(|scratch| {
        let mut streams = 0;
        let mut unfit = None;
        let mut last_route = None;
        let volume = FlowVolume { records: entry.records, bytes: otlp::frame_len(entry.bytes.len()) as u64 };
        let mut edited = EditedCopies::of(signal, entry, from.tenant, of_row.as_ref().map(SmallVec::len));
        snapshot.routes.route(
            signal,
            entry,
            &origin,
            scratch,
            |hit| {
                let exporter = &snapshot.exporters[hit.exporter];
                let (registry, name) = (exporter.registry(), exporter.name());
                let route = snapshot.route_streams[hit.route].as_ref();
                let at = Placement { registry, key: hit.key, route };
                if let Some(overridden) = &hit.overridden {
                    log_overridden(signal, origin.tenant.map(|tenant| &*tenant.id), overridden);
                }
                let placed = match edited.of_route(&snapshot.routes, &hit, admission) {
                    Ok(None) => admission.place(position, &entry.bytes, entry.records, &at),
                    Ok(Some(copy)) => admission.place_copy(position, &copy, entry.records, &at),
                    Err(Uneditable::Refused(refused)) => Err(Misplaced::Refused(refused)),
                    Err(Uneditable::Entry(error)) => {
                        let route = snapshot.routes.name(hit.route);
                        unfit = Some(format!("the route `{route}` can't edit it: {error}"));
                        return Ok(());
                    }
                };
                match placed {
                    Ok(true) => {
                        streams += 1;
                        let is_copy = last_route.replace(hit.route) == Some(hit.route);
                        flow.add(hit.route, hit.exporter, is_copy, volume);
                    }
                    Ok(false) => {}
                    Err(Misplaced::Refused(refused)) => return Err(PlacingError::Refused(refused)),
                    Err(Misplaced::Unfit(error)) => {
                        unfit = Some(format!("not for exporter `{name}`: {error}"));
                    }
                }
                Ok(())
            },
            |_, _| {},
        )?;
        match unfit {
            // An exporter that can take the entry gets it, whatever the others of its route can't.
            Some(error) if streams == 0 => Err(PlacingError::Entry(error)),
            unfit => Ok((streams, unfit)),
        }
    })
}
