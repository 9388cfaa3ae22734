//! Entries whose records belong to different streams, divided before they are placed.

use smallvec::SmallVec;
use tracing::warn;

use super::Caller;
use super::caller::printable;
use super::owner::Owner;
use crate::notice;
use crate::otlp::{Entry, NoRoom, Signal};
use crate::route::{EntryOrigin, Overridden, RouteTable};
use crate::stream::Reservation;

/// Puts in place of each entry that somebody can own those that routes make of it; their owners go along. What that takes
/// of memory is added to the reservation, and returned. If there is not enough, nothing is reserved, and the error is what was asked
/// for.
pub(super) fn partition(
    routes: &RouteTable,
    signal: Signal,
    caller: &Caller,
    entries: &mut SmallVec<[Entry<'_>; 4]>,
    owners: &mut SmallVec<[Owner<'_>; 4]>,
    reservation: &mut Reservation,
) -> Result<u64, u64> {
    if !routes.looks_at_records(signal) {
        return Ok(0);
    }
    let (before, mut asked) = (reservation.bytes(), 0);
    let (whole, whole_owners) = (std::mem::take(entries), std::mem::take(owners));
    for (entry, owner) in whole.into_iter().zip(whole_owners) {
        let mut room = |bytes: usize| {
            asked += bytes as u64;
            reservation.grow(bytes as u64)
        };
        let tenant = match owner {
            Owner::Nobody => None,
            Owner::Tenant(tenant) => Some(&**tenant),
            _ => {
                owners.push(owner);
                entries.push(entry);
                continue;
            }
        };
        let (receiver, request) = (Some(&**caller.receiver()), Some(caller.headers()));
        let origin = EntryOrigin { receiver, request, tenant, exporters: None };
        let parts = routes.partition(signal, &entry, &origin, &mut room);
        match parts {
            Ok(Some(parts)) => {
                owners.extend(std::iter::repeat_n(owner, parts.len()));
                entries.extend(parts);
            }
            Ok(None) => {
                owners.push(owner);
                entries.push(entry);
            }
            Err(NoRoom) => {
                drop(reservation.split_off(reservation.bytes() - before));
                return Err(asked);
            }
        }
    }
    Ok(asked)
}

/// Says that an attribute of records counted, unless that was said just now: whoever has written the resource's may not know.
pub(super) fn log_overridden(signal: Signal, tenant: Option<&str>, overridden: &Overridden<'_>) {
    let cause = "overridden by records";
    let due = match tenant {
        Some(tenant) => notice::due_for_one_of_many(&(signal.name(), tenant), cause),
        None => notice::due(signal.name(), cause),
    };
    if let Some(suppressed) = due {
        let Overridden { name, record, resource } = overridden;
        let (record, resource) = (printable(record), printable(resource));
        warn!(
            %signal, tenant, suppressed,
            "`{name}` is `{resource}` on a resource and `{record}` on records of it: that of the records counted"
        );
    }
}
