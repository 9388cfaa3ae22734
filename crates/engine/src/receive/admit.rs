//! Split, route, admit: what is done with a request at once. If it has to wait for something, [`Progress`] says for what,
//! and holds what is left to do.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use smallvec::SmallVec;

use super::acknowledge::{Acknowledge, BeingWritten, WAITING, WaitingRequest};
use super::aside::{MOST_OF_A_WORKER, aside};
use super::body::Received;
use super::caller;
use super::charge::Charges;
use super::copy::CopyLeave;
use super::edited::{EditedCopies, Uneditable};
use super::flow::{FlowVolume, RequestFlow};
use super::intake::{Admitted, Intake, Snapshot, Verdict};
use super::not_admitted::{Finished, NotAdmitted, UnroutedEntries};
use super::owner::{self, Owner};
use super::partition::{log_overridden, partition};
use super::parts::TenantParts;
use super::record_sample::log_differing;
use super::remarks::{Remarks, Why};
use super::room::{Lacking, Unadmitted, Unread};
use super::tally::{PlacedEntry, Tally};
use super::{Caller, Outcome, SenderIdentity, Transport, TransportCounters};
use crate::encoding::Encoding;
use crate::route::{EntryOrigin, Unroutable, Unrouted};
use crate::stream::{Admission, Budget, Misplaced, Placement, Receipt, Refused, Shed, Writing};
use crate::telemetry::{LogScope, RequestTrace, integer};
use crate::tenants::{Tenant, UnknownTenant};
use otlp::{self, Entry, Omitted, Signal};

/// Memory that an entry takes on its way from the request to the queues, its own bytes not counted: more than its two
/// bytes at the least, so that a request of nothing but empty entries would take a hundred times its size.
const ENTRY_OVERHEAD: usize = 192;

/// Requests of up to this many entries take so little on their way that nobody counts it.
const ORDINARY_ENTRIES: usize = 64;

/// The most bytes of a body of which a worker edits entries in any case. In few bytes an attribute can be there many times, and get the
/// value of another each time: of so many, three megabytes come of it at most, where that other takes half of them and each of these five.
const MOST_EDITED_BY_A_WORKER: usize = 8 * 1024;

/// Said to a sender whose request was on its way while routes came to look at other headers.
const RELOADED: &str = "the configuration has just changed; send it again";

thread_local! {
    /// Where routing keys are put together.
    static SCRATCH: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How far a request has come.
pub(super) enum Progress<'i> {
    Over(Verdict),
    /// There is no memory to look at it.
    Unread(Box<Unread>),
    /// There is no room for its entries.
    Full(Box<Unadmitted<'i>>),
    Writes(Box<BeingWritten>),
    Waits(Box<WaitingRequest>),
    /// What is left of it is being written as dead letters.
    Finished(Box<Finished>),
}

impl From<Verdict> for Progress<'_> {
    fn from(verdict: Verdict) -> Self {
        Self::Over(verdict)
    }
}

impl From<Finished> for Progress<'_> {
    fn from(finished: Finished) -> Self {
        finished.at_once().map_or_else(|finished| Self::Finished(Box::new(finished)), Self::Over)
    }
}

/// What a request has come to that is admitted.
pub(super) struct Committed {
    sheds: Vec<Shed>,
    next: Next,
}

/// What comes after admission.
enum Next {
    Answer,
    Settle(Receipt),
    /// Until it is on disk; whether it then waits for its upstreams.
    Write {
        writing: Writing,
        waits: bool,
    },
}

/// How the placing of an entry failed.
enum Trouble {
    /// Nobody can take this entry, and why.
    Entry(String),
    Refused(Refused),
    /// Its tenant can't be served now, and why.
    Unavailable(String),
}

impl From<Unroutable> for Trouble {
    fn from(error: Unroutable) -> Self {
        Self::Entry(error.to_string())
    }
}

impl Intake {
    /// Takes in a request in protobuf. If it came as JSON, `omitted` is what was not valid there.
    pub(super) async fn admit(
        &self,
        transport: Transport,
        signal: Signal,
        caller: Caller,
        received: Received,
        omitted: Option<Omitted>,
    ) -> Progress<'_> {
        aside(self.takes_long(signal, &received.bytes), || {
            self.admit_at_once(transport, signal, caller, received, omitted)
        })
        .await
    }

    fn admit_at_once(
        &self,
        transport: Transport,
        signal: Signal,
        mut caller: Caller,
        received: Received,
        omitted: Option<Omitted>,
    ) -> Progress<'_> {
        let counters = self.counters.of(transport);
        let Received { bytes: body, mut reservation, own_memory } = received;
        let budget = reservation.budget().clone();
        let unread = |mut reservation, caller, omitted, lacking| {
            CopyLeave::end(body.len(), &mut reservation);
            let received = Received { bytes: body.clone(), reservation, own_memory };
            Progress::Unread(Box::new(Unread { transport, signal, caller, received, omitted, lacking }))
        };
        let Some(_alone) = CopyLeave::take(body.len(), &mut reservation) else {
            return unread(reservation, caller, omitted, Lacking::Copy);
        };
        let snapshot = self.snapshot.load();
        if !caller.headers().cover(snapshot.routes.headers()) {
            // Routes look at others than those that were read off its head.
            let parts = TenantParts::unread(&self.tenants, &caller, otlp::count_request(signal, &body));
            return Self::unavailable(counters, signal, &caller, &parts, RELOADED).into();
        }
        let entries = otlp::count_entries(&body);
        let mut overhead = if entries > ORDINARY_ENTRIES { (entries * ENTRY_OVERHEAD) as u64 } else { 0 };
        if snapshot.unqueued || snapshot.acknowledge == Acknowledge::Delivered {
            overhead += WAITING;
        }
        if overhead + reservation.bytes() > budget.limit() {
            return self.too_large(counters, signal, &caller, &body);
        }
        if !reservation.grow(overhead) {
            return unread(reservation, caller, omitted, Lacking::Memory(overhead));
        }
        let mut split = match otlp::split(signal, &body) {
            Ok(split) => split,
            Err(malformed) => return Self::malformed(counters, signal, &caller, &malformed).into(),
        };
        if !split.entries.is_empty() && split.entries.iter().all(|entry| self.is_own_telemetry(entry)) {
            caller.is_this_process();
        }
        // What is not borrowed from the body takes memory of its own, until it is copied into the queues.
        let table = self.tenants.table();
        // What is said of the sender stays as it is, while the caller learns more of the request.
        let identity = caller.identity().cloned();
        let mut owners = owner::owners(&table, identity.as_ref(), &mut split.entries);
        let copied = split.copied_bytes() as u64;
        if copied > 0 && copied + reservation.bytes() > budget.limit() {
            return self.too_large(counters, signal, &caller, &body);
        }
        if copied > 0 && !reservation.grow(copied) {
            drop(reservation.split_off(overhead));
            return unread(reservation, caller, omitted, Lacking::Memory(overhead + copied));
        }
        overhead += copied;
        let partitioned = match partition(
            &snapshot.routes,
            signal,
            &caller,
            &mut split.entries,
            &mut owners,
            &mut reservation,
        ) {
            Ok(partitioned) => partitioned,
            Err(lacking) if lacking + reservation.bytes() > budget.limit() => {
                return self.too_large(counters, signal, &caller, &body);
            }
            Err(lacking) => {
                drop(reservation.split_off(overhead));
                return unread(reservation, caller, omitted, Lacking::Memory(overhead + lacking));
            }
        };
        overhead += partitioned.bytes;
        let (encoding, entry_field) = match omitted {
            None => (Encoding::Proto, signal.entry_field()),
            Some(omitted) => {
                omitted.restore(&mut split);
                (Encoding::Json, signal.json_entry_field())
            }
        };
        let mut parts = TenantParts::new(split.entries.iter().map(|entry| entry.records).sum());
        caller.trace().set("sluice.records", || integer(parts.records()));
        let mut remarks = Remarks::default();
        let (mut foreign, mut unrouted) = (0, UnroutedEntries::default());
        let keeps_unrouted = self.dead_letters.load().is_some();
        remarks.add_ignored(&split.ignored);
        let mut tally = Tally::default();
        // The first entry that nothing takes.
        let mut untaken = None;
        let mut admission = Admission::new(signal, reservation, overhead);
        admission.set_trace(caller.trace().context());
        if let Some(memory) = own_memory {
            admission.keep_in_body(&body, memory);
        }
        if self.observer.is_needed(signal) {
            admission.observe(self.observer.clone());
        }
        let mut charges = Charges::default();
        let mut flow = RequestFlow::default();
        let mut is_sampled = self.sample.is_due(signal);
        // Bytes that are no tenant's yet.
        let mut unowned = body.len() as u64;
        for (position, (entry, owner)) in split.entries.iter().zip(&owners).enumerate() {
            let part = parts.add(&self.tenants, &caller, owner, entry);
            let rest = position + 1..;
            let from = match owner {
                Owner::Nobody => Source { caller: &caller, tenant: None },
                Owner::Tenant(tenant) => {
                    let bytes = otlp::frame_len(entry.bytes.len()) as u64;
                    charges.add(&self.tenants, tenant, bytes);
                    unowned = unowned.saturating_sub(bytes);
                    Source { caller: &caller, tenant: Some(tenant) }
                }
                Owner::Unknown(unknown) if table.unknown() == UnknownTenant::DeadLetter && keeps_unrouted => {
                    untaken.get_or_insert(entry.index);
                    tally.unknown_letters += entry.records;
                    parts.drop_records(part, entry.records);
                    unrouted.add(entry, None, &unknown.to_string());
                    continue;
                }
                Owner::Unavailable(unavailable) => {
                    parts.add_all(&self.tenants, &caller, &owners[rest.clone()], &split.entries[rest]);
                    return Self::unavailable(counters, signal, &caller, &parts, &unavailable.to_string())
                        .into();
                }
                not_taken => {
                    untaken.get_or_insert(entry.index);
                    parts.reject(part, entry.records);
                    let why = if matches!(not_taken, Owner::Foreign(_)) { Why::Foreign } else { Why::Unfit };
                    foreign += usize::from(why == Why::Foreign);
                    remarks.add(why, entry.records, |text| {
                        write!(text, "{entry_field}[{}]: {not_taken}", entry.index)
                            .expect("writing to a String can't fail");
                    });
                    continue;
                }
            };
            let placed = if partitioned.too_large.binary_search(&position).is_ok() {
                let error = "divided by its records, it would take more than `limits.memory`";
                Err(Trouble::Entry(error.to_owned()))
            } else {
                let is_own =
                    matches!(caller.trace(), RequestTrace::OwnTelemetry) || self.is_own_telemetry(entry);
                admission.next_is_own_telemetry(is_own);
                let mut place = || place(&snapshot, signal, position, entry, from, &mut admission, &mut flow);
                if is_own { LogScope::Withheld.of_call(place) } else { place() }
            };
            let placed = placed.map(|(streams, unfit)| {
                // Not rejected, since another exporter has it; but whoever sends it should know.
                if let Some(error) = unfit {
                    remarks.add(Why::Unfit, 0, |text| {
                        write!(text, "{entry_field}[{}]: {error}", entry.index)
                            .expect("writing to a String can't fail");
                    });
                }
                streams
            });
            if !matches!(placed, Ok(1..)) {
                untaken.get_or_insert(entry.index);
            }
            match placed {
                Ok(0) if snapshot.routes.unrouted() == Unrouted::Drop => {
                    tally.unrouted += entry.records;
                    parts.drop_records(part, entry.records);
                }
                Ok(0) if snapshot.routes.unrouted() == Unrouted::DeadLetter && keeps_unrouted => {
                    tally.unrouted_letters += entry.records;
                    parts.drop_records(part, entry.records);
                    unrouted.add(entry, from.tenant, snapshot.routes.missing(signal));
                }
                Ok(0) => {
                    parts.reject(part, entry.records);
                    remarks.add(Why::Unrouted, entry.records, |text| {
                        write!(text, "{entry_field}[{}]", entry.index)
                            .expect("writing to a String can't fail");
                        snapshot.routes.put_values(signal, entry, text);
                    });
                }
                Ok(streams) => {
                    if std::mem::take(&mut is_sampled) {
                        let tenant = from.tenant.map(|tenant| &*tenant.id);
                        log_differing(&snapshot.routes, signal, tenant, entry);
                    }
                    let (index, records) = (entry.index, entry.records);
                    tally.placed.push(PlacedEntry { position, index, records, streams, part });
                }
                Err(Trouble::Entry(error)) => {
                    parts.reject(part, entry.records);
                    remarks.add(Why::Unfit, entry.records, |text| {
                        write!(text, "{entry_field}[{}]: {error}", entry.index)
                            .expect("writing to a String can't fail");
                    });
                }
                Err(Trouble::Refused(refused)) => {
                    parts.add_all(&self.tenants, &caller, &owners[rest.clone()], &split.entries[rest]);
                    return Self::refused(counters, signal, &caller, &parts, &refused).into();
                }
                Err(Trouble::Unavailable(why)) => {
                    parts.add_all(&self.tenants, &caller, &owners[rest.clone()], &split.entries[rest]);
                    return Self::unavailable(counters, signal, &caller, &parts, &why).into();
                }
            }
        }
        if unowned > 0
            && let Some(SenderIdentity { tenant, .. }) = caller.identity()
        {
            charges.add(&self.tenants, tenant, unowned);
        }
        if let Some(exceeded) = charges.exceeded() {
            parts.count(signal, Outcome::Refused);
            Self::count_over_rate(counters, signal, &caller, Some(parts.records()), &exceeded);
            return Verdict::OverRate(exceeded).into();
        }
        let all_foreign = foreign > 0 && foreign == split.entries.len() && split.cuts.is_empty();
        if untaken.is_some() || !remarks.is_empty() || !split.cuts.is_empty() {
            caller.look_for_service(&split.entries, untaken, &split.cuts);
        }
        let mut not_admitted = NotAdmitted::of(encoding, split.cuts, unrouted);
        // The request may wait for room, and they with it.
        self.keep_unrouted(&mut not_admitted, &budget);
        let nothing_valid = split.entries.is_empty();
        let admitted = Admitted {
            signal,
            transport,
            caller,
            parts,
            charges,
            tally,
            flow,
            remarks,
            rest: not_admitted,
            nothing_valid,
            all_foreign,
        };
        match self.commit(&snapshot, &mut admission, &body) {
            Ok(committed) => {
                drop(admission);
                self.after_commit(&snapshot, committed, admitted, &budget)
            }
            Err(refused) if admission.may_wait() => {
                CopyLeave::end(body.len(), admission.reservation());
                let admission = admission.keep(&body);
                let snapshot = Guard::into_inner(snapshot);
                let request = Unadmitted::new(self, snapshot, admission, body.clone(), admitted, refused);
                Progress::Full(Box::new(request))
            }
            Err(refused) => {
                Self::refused(counters, signal, &admitted.caller, &admitted.parts, &refused).into()
            }
        }
    }

    /// Whether an entry is what this process tells of itself, wherever it comes from. Who passes it on may have put it into one request
    /// with entries of others.
    fn is_own_telemetry(&self, entry: &Entry<'_>) -> bool {
        self.telemetry.is_enabled()
            && caller::instance(entry.resource())
                .is_some_and(|instance| instance == self.telemetry.instance_id().published())
    }

    /// Refuses a request that takes more memory than there will ever be.
    fn too_large(
        &self,
        counters: &TransportCounters,
        signal: Signal,
        caller: &Caller,
        body: &[u8],
    ) -> Progress<'_> {
        let records = otlp::count_request(signal, body);
        let parts = TenantParts::unread(&self.tenants, caller, records);
        Self::refused(counters, signal, caller, &parts, &Refused::TooLarge).into()
    }

    /// Whether it takes more than a few milliseconds to split and edit a request and to copy it into queues.
    pub(super) fn takes_long(&self, signal: Signal, body: &[u8]) -> bool {
        let snapshot = self.snapshot.load();
        body.len() > MOST_OF_A_WORKER
            || otlp::count_entries(body) * ENTRY_OVERHEAD > MOST_OF_A_WORKER
            || snapshot.routes.most_matched(signal, body) > MOST_OF_A_WORKER
            || (body.len() > MOST_EDITED_BY_A_WORKER
                && snapshot.routes.most_edited(signal, body) > MOST_OF_A_WORKER)
            || (snapshot.routes.looks_at_records(signal)
                && otlp::most_partitioned(signal, body) > MOST_OF_A_WORKER)
            || self.is_long_observed(&snapshot, signal, body)
    }

    /// Whether it takes long to look at the records of a request for watches and taps, as it is edited and partitioned.
    fn is_long_observed(&self, snapshot: &Snapshot, signal: Signal, body: &[u8]) -> bool {
        let passes = self.observer.most_passes(signal);
        if passes == 0 {
            return false;
        }
        let mut bytes = body.len().max(snapshot.routes.most_edited(signal, body));
        if snapshot.routes.looks_at_records(signal) {
            bytes = bytes.max(otlp::most_partitioned(signal, body));
        }
        bytes.saturating_mul(passes) > MOST_OF_A_WORKER
    }

    /// Admits a request, unless there is no room for it.
    pub(super) fn commit(
        &self,
        snapshot: &Snapshot,
        admission: &mut Admission<'_>,
        body: &Bytes,
    ) -> Result<Committed, Refused> {
        let all_wait = snapshot.acknowledge == Acknowledge::Delivered;
        let waits = admission.waits(all_wait);
        if let Some(journal) = self.journal.as_ref().filter(|_| !admission.is_empty()) {
            let (sheds, writing) = admission.commit_durably(journal, body, all_wait)?;
            return Ok(Committed { sheds, next: Next::Write { writing, waits } });
        }
        if waits {
            let (sheds, receipt) = admission.commit_with_receipt(all_wait)?;
            let next = if receipt.is_settled() { Next::Answer } else { Next::Settle(receipt) };
            return Ok(Committed { sheds, next });
        }
        let sheds = admission.commit()?;
        Ok(Committed { sheds, next: Next::Answer })
    }

    /// What is left to do for a request that is admitted.
    pub(super) fn after_commit(
        &self,
        snapshot: &Arc<Snapshot>,
        Committed { sheds, next }: Committed,
        mut admitted: Admitted,
        budget: &Arc<Budget>,
    ) -> Progress<'_> {
        snapshot.flow.count(admitted.caller.receiver(), &admitted.flow);
        self.keep(&mut admitted.rest, sheds, budget);
        let timeout = snapshot.acknowledge_timeout;
        match next {
            Next::Write { writing, waits } => {
                let (snapshot, timeout) = (snapshot.clone(), waits.then_some(timeout));
                Progress::Writes(Box::new(BeingWritten { writing, admitted, snapshot, timeout }))
            }
            Next::Settle(receipt) => {
                admitted.charges.make();
                let snapshot = snapshot.clone();
                Progress::Waits(Box::new(WaitingRequest { receipt, admitted, snapshot, timeout }))
            }
            Next::Answer => {
                admitted.charges.make();
                self.finish(snapshot, admitted, &[]).into()
            }
        }
    }
}

/// Where an entry comes from.
#[derive(Clone, Copy)]
struct Source<'s> {
    caller: &'s Caller,
    tenant: Option<&'s Arc<Tenant>>,
}

impl Source<'_> {
    /// The positions of the exporters that the tenant's row names in place of its route's.
    fn exporters(&self, snapshot: &Snapshot) -> Result<Option<SmallVec<[usize; 4]>>, Trouble> {
        let Some((tenant, names)) = self.tenant.and_then(|tenant| Some((tenant, tenant.exporters.as_ref()?)))
        else {
            return Ok(None);
        };
        let position = |name: &str| snapshot.exporters.iter().position(|exporter| **exporter.name() == *name);
        let positions: Option<_> = names.iter().map(|name| position(name)).collect();
        // A reload has removed it since the row was read.
        positions.map(Some).ok_or_else(|| {
            Trouble::Unavailable(format!(
                "the tenant `{}` can't be served now; send it again later",
                tenant.id
            ))
        })
    }
}

/// Places one entry, by its position among those that are left of the request, in every stream that its routes say, and returns how
/// many, and why there are not more. Which way it goes is added to `flow`.
fn place<'a>(
    snapshot: &Snapshot,
    signal: Signal,
    position: usize,
    entry: &otlp::Entry<'a>,
    from: Source<'_>,
    admission: &mut Admission<'a>,
    flow: &mut RequestFlow,
) -> Result<(usize, Option<String>), Trouble> {
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
                    Err(Misplaced::Refused(refused)) => return Err(Trouble::Refused(refused)),
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
            Some(error) if streams == 0 => Err(Trouble::Entry(error)),
            unfit => Ok((streams, unfit)),
        }
    })
}
