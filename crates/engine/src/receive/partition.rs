//! Entries whose records belong to different streams, divided before they are placed.

use smallvec::SmallVec;
use tracing::warn;

use super::caller::{Caller, printable};
use super::owner::Owner;
use crate::notice;
use crate::route::{EntryOrigin, Overridden, RouteTable};
use crate::stream::Reservation;
use otlp::{Entry, NoRoom, Signal};

/// The result of dividing the entries of a request.
#[derive(Default)]
pub(super) struct Partitioned {
    /// The memory that was reserved for it.
    pub(super) bytes: u64,
    /// The positions, in ascending order, of entries that were left whole and can't be placed: divided, each alone would take more
    /// than all memory.
    pub(super) too_large: Vec<usize>,
}

/// Puts in place of each entry that somebody can own those that routes make of it; their owners go along. What that takes
/// of memory is added to the reservation. If there is not enough for now, nothing is reserved, and the error is what was asked
/// for.
pub(super) fn partition(
    routes: &RouteTable,
    signal: Signal,
    caller: &Caller,
    entries: &mut SmallVec<[Entry<'_>; 4]>,
    owners: &mut SmallVec<[Owner<'_>; 4]>,
    reservation: &mut Reservation,
) -> Result<Partitioned, u64> {
    let mut partitioned = Partitioned::default();
    if !routes.looks_at_records(signal) {
        return Ok(partitioned);
    }
    let before = reservation.bytes();
    let (whole, whole_owners) = (std::mem::take(entries), std::mem::take(owners));
    for (entry, owner) in whole.into_iter().zip(whole_owners) {
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
        let mut asked = 0;
        let mut room = |bytes: usize| {
            asked += bytes as u64;
            reservation.grow(bytes as u64)
        };
        match routes.partition(signal, &entry, &origin, &mut room) {
            Ok(Some(parts)) => {
                partitioned.bytes += asked;
                owners.extend(std::iter::repeat_n(owner, parts.len()));
                entries.extend(parts);
            }
            Ok(None) => {
                partitioned.bytes += asked;
                owners.push(owner);
                entries.push(entry);
            }
            Err(NoRoom) if before + asked > reservation.budget().limit() => {
                drop(reservation.split_off(reservation.bytes() - before - partitioned.bytes));
                partitioned.too_large.push(entries.len());
                owners.push(owner);
                entries.push(entry);
            }
            Err(NoRoom) => {
                drop(reservation.split_off(reservation.bytes() - before));
                return Err(partitioned.bytes + asked);
            }
        }
    }
    Ok(partitioned)
}

/// Logs that the value of an attribute on records was used in place of the resource's, unless that was logged just now: the author of
/// the resource's value may not know.
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
            "the attribute `{name}` is `{resource}` on a resource and `{record}` on its records; the value on the records was used"
        );
    }
}
