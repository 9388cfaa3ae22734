//! From the bytes of one request to the queues: split, route, admit. Transports differ only in how they read a
//! request and how they word the verdict.
//!
//! A request is admitted by one function. If it has to wait for something, its [`Progress`] says for what, and holds what
//! is left to do: it waits a moment for memory or for room in its streams (see [`Patience`]), then for the journal, and with
//! `acknowledge: delivered` until all its entries are settled. If that takes too long, if its sender goes, or if Sluice is about to
//! end, what is left of it is withdrawn from the queues: its sender will send it again, and behind an upstream that is down the
//! copies would pile up.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::aside::aside;
use super::auth::AuthFailure;
use super::body::Received;
use super::caller::{Caller, instance};
use super::charge::{self, Charges};
use super::copy::{COPYING, CopyPermit};
use super::counters::{ReceiveCounters, RequestOutcome, RequestTransport, TransportCounters};
use super::flow::RequestFlow;
use super::json::{self, Untranscoded};
use super::not_admitted::{Finished, LetterStore, NotAdmitted, UnroutedEntries};
use super::owner::{self, Owner};
use super::partition::partition;
use super::parts::TenantParts;
use super::placing::{EntrySource, PlacingError, place};
use super::record_sample::{RecordSample, log_differing};
use super::refusals;
use super::remarks::{RemarkCause, Remarks, due_about_unrouted};
use super::sender::SenderIdentity;
use super::settings::ListenerSettings;
use super::snapshot::{Acknowledge, ConfigSnapshot};
use super::tally::{PlacedEntry, RequestTally};
use super::verdict::{Undelivered, Verdict};
use super::workload::{ENTRY_OVERHEAD, takes_long};
use crate::encoding::Encoding;
use crate::export::DeadLetterBox;
use crate::journal::Journal;
use crate::notice;
use crate::outcome::Outcome;
use crate::route::Unrouted;
use crate::stream::{Admission, Budget, Full, Loss, Patience, Receipt, Refused, Shed, Writing};
use crate::tap::RecordObserver;
use crate::telemetry::{LogScope, OwnTelemetry, RequestTrace, integer, text};
use crate::tenants::{RateExceeded, Tenants, UnknownTenant};
use otlp::{self, Entry, Omitted, Signal};

/// Requests of up to this many entries take so little on their way that nobody counts it.
const ORDINARY_ENTRIES: usize = 64;

/// Memory that a request takes while it waits, its entries not counted: its task, its connection's part in it, what
/// streams know of it.
const WAITING: u64 = 4096;

/// The refusal of a request whose head was read before a reload made routes look at other headers.
const RELOADED: &str = "the configuration has just changed; send it again";

/// Takes requests from receivers into the queues.
#[derive(Debug)]
pub struct Intake {
    /// Swapped by reloads.
    pub snapshot: ArcSwap<ConfigSnapshot>,
    /// The tenants: who may send, and where each tenant's data goes.
    pub tenants: Arc<Tenants>,
    /// The counts of requests, records and bytes received.
    pub counters: Arc<ReceiveCounters>,
    /// The journal that requests are written to before they are queued, if there is one.
    pub journal: Option<Journal>,
    /// The dead-letter directory for parts of requests that are not admitted, if there is one.
    pub dead_letters: DeadLetterBox,
    /// Dead letters of cut-out parts that are being written, a task for each request; the shutdown waits for them.
    pub dead_letter_tasks: TaskTracker,
    /// Chooses the entries whose records are compared with their resources, for hints in the log.
    pub sample: RecordSample,
    /// Shows admitted records to taps, watches and searches.
    pub observer: Arc<RecordObserver>,
    /// The spans that are recorded of requests.
    pub telemetry: Arc<OwnTelemetry>,
    /// The time at which requests that still wait for their upstreams are answered as undelivered, once Sluice ends.
    pub closing: watch::Sender<Option<Instant>>,
}

/// A request that is admitted, or about to be, and the account of all its records: each is accepted, rejected or dropped once.
#[derive(Debug)]
struct AdmittedRequest {
    signal: Signal,
    transport: RequestTransport,
    caller: Caller,
    /// Its parts by tenants.
    parts: TenantParts,
    /// The bytes that its tenants are charged for it.
    charges: Charges,
    tally: RequestTally,
    /// The routes and exporters that its entries go through.
    flow: RequestFlow,
    remarks: Remarks,
    /// The parts of the request that are not admitted.
    rest: NotAdmitted,
    /// Whether the request has no valid entry.
    nothing_valid: bool,
    /// Whether each of its entries names a tenant that the sender may not send for.
    all_foreign: bool,
}

/// How far a request has come.
enum Progress<'i> {
    /// It has its verdict.
    Over(Verdict),
    /// There is no memory to look at it.
    Unread(Box<UnreadRequest>),
    /// There is no room for its entries.
    Full(Box<UncommittedRequest<'i>>),
    /// It is being written to the journal.
    Writes(Box<WritingRequest>),
    /// It waits until its upstreams have taken it.
    Waits(Box<WaitingRequest>),
    /// Its outcome is known; the dead letters that its answer waits for are being written.
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

/// A request that was just admitted: the entries that were shed, and what it waits for.
struct Committed {
    sheds: Vec<Shed>,
    next: AfterAdmission,
}

/// What an admitted request waits for.
enum AfterAdmission {
    Answer,
    Settle(Receipt),
    /// Until it is on disk; whether it then waits for its upstreams.
    Write {
        writing: Writing,
        waits: bool,
    },
}

impl Intake {
    /// Takes one request in: all that is valid and routed, or nothing. With `acknowledge: delivered` this waits for the
    /// upstreams, until the `deadline` of the sender at most, and if it is dropped meanwhile the request is withdrawn. For the
    /// journal and for dead letters that the answer promises it waits as long as the disk takes: an earlier answer would have data
    /// sent again that is kept.
    pub async fn take(
        self: &Arc<Self>,
        signal: Signal,
        transport: RequestTransport,
        caller: Caller,
        received: Received,
        deadline: Option<Instant>,
    ) -> Verdict {
        self.count_bytes(signal, transport, &caller, &received);
        let progress = self.admit(transport, signal, caller, received, None).await;
        self.verdict(progress, Patience::until(deadline), deadline).await
    }

    /// As [`Intake::take`], for a request that came as OTLP/JSON.
    pub async fn take_json(self: &Arc<Self>, signal: Signal, caller: Caller, received: Received) -> Verdict {
        self.count_bytes(signal, RequestTransport::Http, &caller, &received);
        let counters = self.counters.of(RequestTransport::Http);
        let mut patience = Patience::default();
        let progress = match json::transcode(signal, received, &mut patience).await {
            Ok((received, omitted)) => {
                self.admit(RequestTransport::Http, signal, caller, received, Some(omitted)).await
            }
            Err(Untranscoded::Malformed(malformed)) => {
                refusals::malformed(counters, signal, &caller, &malformed).into()
            }
            Err(Untranscoded::Refused(refused, records)) => {
                let parts = TenantParts::unread(&self.tenants, &caller, records);
                refusals::refused(counters, signal, &caller, &parts, &refused).into()
            }
        };
        self.verdict(progress, patience, None).await
    }

    fn count_bytes(&self, signal: Signal, transport: RequestTransport, caller: &Caller, received: &Received) {
        let bytes = received.bytes.len() as u64;
        self.counters.of(transport).count_bytes(signal, bytes);
        caller.trace().set("sluice.bytes", || integer(bytes));
    }

    /// Brings a request from where it is to its end.
    async fn verdict(
        self: &Arc<Self>,
        mut progress: Progress<'_>,
        mut patience: Patience,
        deadline: Option<Instant>,
    ) -> Verdict {
        loop {
            // Rare states are boxed, so that every connection's task is not as large as they are.
            progress = match progress {
                Progress::Over(verdict) => return verdict,
                Progress::Finished(finished) => return finished.written().await,
                Progress::Waits(waiting) => return waiting.verdict(self, deadline).await,
                Progress::Writes(request) => return request.verdict(self, deadline).await,
                Progress::Unread(request) => Box::pin(request.go_on(self, &mut patience)).await,
                Progress::Full(request) => Box::pin(request.go_on(&mut patience)).await,
            };
        }
    }

    /// Finds out who sends a request, where its receiver asks for that.
    pub(super) async fn authenticate(
        &self,
        settings: &ListenerSettings,
        head: &mut Parts,
    ) -> Result<Option<SenderIdentity>, AuthFailure> {
        let Some(authenticator) = settings.auth.as_deref() else { return Ok(None) };
        let failures = &self.counters.auth_failures;
        authenticator.authenticate(&settings.name, &self.tenants, failures, head).await
    }

    /// Refuses a request before its body is read, if all that it can hold is one tenant's, and that one has sent more than its
    /// rate.
    pub(super) fn refuse_unread(
        &self,
        signal: Signal,
        transport: RequestTransport,
        caller: &Caller,
    ) -> Option<RateExceeded> {
        let identity = caller.identity()?;
        let tenant = &identity.tenant;
        if identity.sender().may_send_for.is_some() {
            return None;
        }
        let rate = tenant.limits.rate()?;
        let account = self.tenants.account(&tenant.id);
        let exceeded = charge::exceeded(&account, rate)?;
        account.totals().count_refused_request();
        refusals::count_over_rate(self.counters.of(transport), signal, caller, None, &exceeded);
        Some(exceeded)
    }

    /// Ready when requests that wait have to be answered, since the process ends.
    pub async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        match closing.wait_for(Option::is_some).await.map(|deadline| *deadline) {
            Ok(deadline) => sleep_until(deadline.expect("that was waited for")).await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes in a request in protobuf. If it came as JSON, `omitted` is what was not valid there.
    async fn admit(
        &self,
        transport: RequestTransport,
        signal: Signal,
        caller: Caller,
        received: Received,
        omitted: Option<Omitted>,
    ) -> Progress<'_> {
        // The snapshot is not kept while the request waits for its turn: it is taken up by the one of then.
        let is_long = takes_long(&self.snapshot.load(), &self.observer, signal, &received.bytes);
        aside(is_long, || self.admit_at_once(transport, signal, caller, received, omitted)).await
    }

    fn admit_at_once(
        &self,
        transport: RequestTransport,
        signal: Signal,
        mut caller: Caller,
        received: Received,
        omitted: Option<Omitted>,
    ) -> Progress<'_> {
        let counters = self.counters.of(transport);
        let Received { bytes: body, mut reservation, own_memory } = received;
        let budget = reservation.budget().clone();
        let unread = |mut reservation, caller, omitted, shortage| {
            CopyPermit::end(body.len(), &mut reservation);
            let received = Received { bytes: body.clone(), reservation, own_memory };
            Progress::Unread(Box::new(UnreadRequest {
                transport,
                signal,
                caller,
                received,
                omitted,
                shortage,
            }))
        };
        let Some(_alone) = CopyPermit::take(body.len(), &mut reservation) else {
            return unread(reservation, caller, omitted, Shortage::Copy);
        };
        let snapshot = self.snapshot.load();
        if !caller.headers().cover(snapshot.routes.headers()) {
            // Routes look at headers that were not read off the request's head.
            let parts = TenantParts::unread(&self.tenants, &caller, otlp::count_request(signal, &body));
            return refusals::unavailable(counters, signal, &caller, &parts, RELOADED).into();
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
            return unread(reservation, caller, omitted, Shortage::Memory(overhead));
        }
        let mut split = match otlp::split(signal, &body) {
            Ok(split) => split,
            Err(malformed) => return refusals::malformed(counters, signal, &caller, &malformed).into(),
        };
        if !split.entries.is_empty() && split.entries.iter().all(|entry| self.is_own_telemetry(entry)) {
            caller.is_this_process();
        }
        // Entries that are not borrowed from the body take memory of their own, until they are copied into the queues.
        let table = self.tenants.table();
        // A copy, since `caller` is changed while the identity is borrowed.
        let identity = caller.identity().cloned();
        let mut owners = owner::owners(&table, identity.as_ref(), &mut split.entries);
        let copied = split.copied_bytes() as u64;
        if copied > 0 && copied + reservation.bytes() > budget.limit() {
            return self.too_large(counters, signal, &caller, &body);
        }
        if copied > 0 && !reservation.grow(copied) {
            drop(reservation.split_off(overhead));
            return unread(reservation, caller, omitted, Shortage::Memory(overhead + copied));
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
                return unread(reservation, caller, omitted, Shortage::Memory(overhead + lacking));
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
        let keeps_unrouted = self.letter_store().is_there();
        remarks.add_ignored(&split.ignored);
        let mut tally = RequestTally::default();
        // The first entry that no stream takes.
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
        // Bytes that are not charged to a tenant yet.
        let mut unowned = body.len() as u64;
        for (position, (entry, owner)) in split.entries.iter().zip(&owners).enumerate() {
            let part = parts.add(&self.tenants, &caller, owner, entry);
            let rest = position + 1..;
            let from = match owner {
                Owner::Nobody => EntrySource { caller: &caller, tenant: None },
                Owner::Tenant(tenant) => {
                    let bytes = otlp::frame_len(entry.bytes.len()) as u64;
                    charges.add(&self.tenants, tenant, bytes);
                    unowned = unowned.saturating_sub(bytes);
                    EntrySource { caller: &caller, tenant: Some(tenant) }
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
                    return refusals::unavailable(
                        counters,
                        signal,
                        &caller,
                        &parts,
                        &unavailable.to_string(),
                    )
                    .into();
                }
                not_taken => {
                    untaken.get_or_insert(entry.index);
                    parts.reject(part, entry.records);
                    let why = if matches!(not_taken, Owner::Foreign(_)) {
                        RemarkCause::Foreign
                    } else {
                        RemarkCause::Unfit
                    };
                    foreign += usize::from(why == RemarkCause::Foreign);
                    remarks.add(
                        why,
                        entry.records,
                        format_args!("{entry_field}[{}]: {not_taken}", entry.index),
                    );
                    continue;
                }
            };
            let placed = if partitioned.too_large.binary_search(&position).is_ok() {
                let error = "divided by its records, it would take more than `limits.memory`";
                Err(PlacingError::Entry(error.to_owned()))
            } else {
                let is_own =
                    matches!(caller.trace(), RequestTrace::OwnTelemetry) || self.is_own_telemetry(entry);
                admission.next_is_own_telemetry(is_own);
                let mut place = || place(&snapshot, signal, position, entry, from, &mut admission, &mut flow);
                if is_own { LogScope::Withheld.of_call(place) } else { place() }
            };
            let placed = placed.map(|(streams, unfit)| {
                // Not rejected, since another exporter has taken the entry; but the sender is told.
                if let Some(error) = unfit {
                    remarks.add(
                        RemarkCause::Unfit,
                        0,
                        format_args!("{entry_field}[{}]: {error}", entry.index),
                    );
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
                    remarks.add_with(RemarkCause::Unrouted, entry.records, |text| {
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
                Err(PlacingError::Entry(error)) => {
                    parts.reject(part, entry.records);
                    remarks.add(
                        RemarkCause::Unfit,
                        entry.records,
                        format_args!("{entry_field}[{}]: {error}", entry.index),
                    );
                }
                Err(PlacingError::Refused(refused)) => {
                    parts.add_all(&self.tenants, &caller, &owners[rest.clone()], &split.entries[rest]);
                    return refusals::refused(counters, signal, &caller, &parts, &refused).into();
                }
                Err(PlacingError::Unavailable(why)) => {
                    parts.add_all(&self.tenants, &caller, &owners[rest.clone()], &split.entries[rest]);
                    return refusals::unavailable(counters, signal, &caller, &parts, &why).into();
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
            refusals::count_over_rate(counters, signal, &caller, Some(parts.records()), &exceeded);
            return Verdict::OverRate(exceeded).into();
        }
        let all_foreign = foreign > 0 && foreign == split.entries.len() && split.cuts.is_empty();
        if untaken.is_some() || !remarks.is_empty() || !split.cuts.is_empty() {
            caller.look_for_service(&split.entries, untaken, &split.cuts);
        }
        let mut not_admitted = NotAdmitted::of(encoding, split.cuts, unrouted);
        // The request may wait for room, and these entries with it.
        not_admitted.keep_unrouted(&self.letter_store(), &budget);
        let nothing_valid = split.entries.is_empty();
        let admitted = AdmittedRequest {
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
                CopyPermit::end(body.len(), admission.reservation());
                let admission = admission.keep(&body);
                let snapshot = Guard::into_inner(snapshot);
                let request =
                    UncommittedRequest::new(self, snapshot, admission, body.clone(), admitted, refused);
                Progress::Full(Box::new(request))
            }
            Err(refused) => {
                refusals::refused(counters, signal, &admitted.caller, &admitted.parts, &refused).into()
            }
        }
    }

    /// Whether an entry is this process's own telemetry, whoever has sent it here. A Collector on the way may have put it into one
    /// request with other entries.
    fn is_own_telemetry(&self, entry: &Entry<'_>) -> bool {
        self.telemetry.is_enabled()
            && instance(entry.resource())
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
        refusals::refused(counters, signal, caller, &parts, &Refused::TooLarge).into()
    }

    /// Admits a request, unless there is no room for it.
    fn commit(
        &self,
        snapshot: &ConfigSnapshot,
        admission: &mut Admission<'_>,
        body: &Bytes,
    ) -> Result<Committed, Refused> {
        let all_wait = snapshot.acknowledge == Acknowledge::Delivered;
        let waits = admission.waits(all_wait);
        if let Some(journal) = self.journal.as_ref().filter(|_| !admission.is_empty()) {
            let (sheds, writing) = admission.commit_durably(journal, body, all_wait)?;
            return Ok(Committed { sheds, next: AfterAdmission::Write { writing, waits } });
        }
        if waits {
            let (sheds, receipt) = admission.commit_with_receipt(all_wait)?;
            let next =
                if receipt.is_settled() { AfterAdmission::Answer } else { AfterAdmission::Settle(receipt) };
            return Ok(Committed { sheds, next });
        }
        let sheds = admission.commit()?;
        Ok(Committed { sheds, next: AfterAdmission::Answer })
    }

    /// Charges and answers a request that was just admitted, or has it wait first.
    fn after_commit(
        &self,
        snapshot: &Arc<ConfigSnapshot>,
        Committed { sheds, next }: Committed,
        mut admitted: AdmittedRequest,
        budget: &Arc<Budget>,
    ) -> Progress<'_> {
        snapshot.flow.count(admitted.caller.receiver(), &admitted.flow);
        admitted.rest.keep(&self.letter_store(), sheds, budget);
        let timeout = snapshot.acknowledge_timeout;
        match next {
            AfterAdmission::Write { writing, waits } => {
                let (snapshot, timeout) = (snapshot.clone(), waits.then_some(timeout));
                Progress::Writes(Box::new(WritingRequest { writing, admitted, snapshot, timeout }))
            }
            AfterAdmission::Settle(receipt) => {
                admitted.charges.make();
                let snapshot = snapshot.clone();
                Progress::Waits(Box::new(WaitingRequest { receipt, admitted, snapshot, timeout }))
            }
            AfterAdmission::Answer => {
                admitted.charges.make();
                self.finish(snapshot, admitted, &[]).into()
            }
        }
    }

    fn letter_store(&self) -> LetterStore<'_> {
        LetterStore {
            directory: &self.dead_letters,
            tasks: &self.dead_letter_tasks,
            counters: &self.counters,
        }
    }

    /// Counts and logs a request whose outcome is known, and has the parts that were not admitted written as dead letters. `losses`
    /// are the admitted records that were not delivered.
    fn finish(&self, snapshot: &ConfigSnapshot, admitted: AdmittedRequest, losses: &[Loss]) -> Finished {
        let AdmittedRequest {
            signal,
            transport,
            caller,
            mut parts,
            mut tally,
            mut remarks,
            rest: not_admitted,
            ..
        } = admitted;
        let counters = self.counters.of(transport);
        tally.lose(&not_admitted.sheds, losses, &mut parts, &mut remarks);
        for cut in &not_admitted.cuts {
            remarks.add(
                RemarkCause::Invalid(cut.reason),
                cut.records,
                format_args!("{} at byte {}: {}", cut.path, cut.offset, cut.reason),
            );
            let part = tally.part_of(cut.index).or_else(|| parts.of_sender(&self.tenants, &caller));
            parts.cut_out(part, cut.records);
        }
        // Whether a route would take an invalid part can't be known.
        let no_route = snapshot.routes.unrouted() == Unrouted::Reject { whole_as_error: true }
            && not_admitted.cuts.is_empty()
            && remarks.unrouted() > 0
            && remarks.unrouted() == parts.records();
        let dropped = tally.without_exporter() + tally.shed;
        debug_assert_eq!(
            tally.accepted() + remarks.rejected() + dropped,
            parts.records() + not_admitted.cuts.iter().map(|cut| cut.records).sum::<u64>(),
            "each record of a request is accepted, rejected or dropped, and once"
        );
        parts.count_taken(signal);
        counters.count(signal, Outcome::Accepted, tally.accepted());
        counters.count(signal, Outcome::Rejected, remarks.rejected());
        counters.count(signal, Outcome::Dropped, dropped);
        counters.count_without_exporter(signal, tally.without_exporter());
        counters.count_ignored(signal, remarks.ignored() as u64);
        let missing = snapshot.routes.missing(signal);
        remarks.log(signal, missing, &caller);
        let log = |records: u64, due: &dyn Fn() -> Option<u64>, message: fmt::Arguments<'_>| {
            if records > 0
                && let Some(suppressed) = due()
            {
                let (peer, user_agent, service) = (caller.peer(), caller.user_agent(), caller.service());
                warn!(%signal, peer, user_agent, service, records, suppressed, "{message}");
            }
        };
        log(
            tally.unrouted,
            &|| notice::due(signal.name(), "dropped"),
            format_args!("records without a route dropped, as `unrouted: drop` says"),
        );
        log(
            tally.unrouted_letters,
            &|| due_about_unrouted(signal, &caller, "dead letter of unrouted data"),
            format_args!(
                "records without a route are kept as dead letters, as `unrouted: dead_letter` says: {missing}"
            ),
        );
        log(
            tally.unknown_letters,
            &|| notice::due(signal.name(), "unknown tenant"),
            format_args!(
                "records of unknown tenants are kept as dead letters, as `unknown: dead_letter` says"
            ),
        );
        let first = not_admitted.cuts.first().map(|cut| cut.path.clone());
        let is_durable = self.journal.is_some() || snapshot.acknowledge == Acknowledge::Delivered;
        let letters =
            not_admitted.dead_letter(&self.letter_store(), &snapshot.exporters, signal, &caller, is_durable);
        let (answered, verdict) = match (remarks.verdict(missing), first) {
            (Verdict::Partly { message, .. }, Some(field)) if admitted.nothing_valid => {
                (RequestOutcome::Rejected, Verdict::Malformed { field, message })
            }
            (Verdict::Partly { message, .. }, _) if admitted.all_foreign => {
                (RequestOutcome::Rejected, Verdict::Forbidden(message))
            }
            (Verdict::Partly { message, .. }, _) if no_route => {
                (RequestOutcome::Rejected, Verdict::Unrouted(message))
            }
            (verdict @ Verdict::Partly { .. }, _) => (RequestOutcome::Partial, verdict),
            (verdict, _) => (RequestOutcome::Accepted, verdict),
        };
        counters.count_request(signal, answered, caller.receiver());
        caller.trace().set("sluice.outcome", || text(answered.name()));
        Finished { verdict, letters }
    }
}

/// A request for which there is no memory to split it.
struct UnreadRequest {
    transport: RequestTransport,
    signal: Signal,
    caller: Caller,
    received: Received,
    omitted: Option<Omitted>,
    shortage: Shortage,
}

/// What a request lacks before it can be split.
enum Shortage {
    /// Bytes of memory.
    Memory(u64),
    /// The permit to copy a large body without memory for that: another request has it.
    Copy,
}

impl UnreadRequest {
    /// Waits for the memory that it lacks, and tries again.
    async fn go_on<'i>(self: Box<Self>, intake: &'i Intake, patience: &mut Patience) -> Progress<'i> {
        let room = match self.shortage {
            Shortage::Memory(bytes) => self.received.reservation.room_soon(bytes, patience).await,
            Shortage::Copy => {
                sleep(COPYING).await;
                !patience.is_over()
            }
        };
        let Self { transport, signal, caller, received, omitted, .. } = *self;
        if !room {
            let counters = intake.counters.of(transport);
            let records = otlp::count_request(signal, &received.bytes);
            let parts = TenantParts::unread(&intake.tenants, &caller, records);
            return refusals::refused(counters, signal, &caller, &parts, &Refused::Full(Full::Memory)).into();
        }
        intake.admit(transport, signal, caller, received, omitted).await
    }
}

/// A request for which there is no room in a stream, or no memory. Dropped, it counts as refused.
struct UncommittedRequest<'i> {
    intake: &'i Intake,
    snapshot: Arc<ConfigSnapshot>,
    admission: Admission<'static>,
    body: Bytes,
    admitted: Option<AdmittedRequest>,
    refused: Refused,
}

impl<'i> UncommittedRequest<'i> {
    fn new(
        intake: &'i Intake,
        snapshot: Arc<ConfigSnapshot>,
        admission: Admission<'static>,
        body: Bytes,
        mut admitted: AdmittedRequest,
        refused: Refused,
    ) -> Self {
        // The parts that are not admitted may be as large as the request.
        admitted.rest.keep(&intake.letter_store(), Vec::new(), admission.budget());
        Self { intake, snapshot, admission, body, admitted: Some(admitted), refused }
    }

    /// Waits for room as long as there is patience.
    async fn go_on(mut self: Box<Self>, patience: &mut Patience) -> Progress<'i> {
        while self.admission.room(patience).await {
            let takes_long = self.admitted.as_ref().is_some_and(|it| {
                takes_long(&self.intake.snapshot.load(), &self.intake.observer, it.signal, &self.body)
            });
            let committed = loop {
                match aside(takes_long, || self.attempt()).await {
                    None if patience.is_over() => break None,
                    None => sleep(COPYING).await,
                    committed => break committed,
                }
            };
            match committed {
                None => break,
                Some(Ok(committed)) => {
                    let admitted = self.admitted.take().expect("it is there until now");
                    let (intake, snapshot, budget) =
                        (self.intake, self.snapshot.clone(), self.admission.budget().clone());
                    drop(self);
                    return intake.after_commit(&snapshot, committed, admitted, &budget);
                }
                Some(Err(refused)) => self.refused = refused,
            }
        }
        self.refuse().expect("it has not been counted").into()
    }

    /// Tries once more; `None` while another large body is being copied.
    fn attempt(&mut self) -> Option<Result<Committed, Refused>> {
        let _alone = CopyPermit::take(self.body.len(), self.admission.reservation())?;
        let committed = self.intake.commit(&self.snapshot, &mut self.admission, &self.body);
        CopyPermit::end(self.body.len(), self.admission.reservation());
        Some(committed)
    }

    /// Counts the request as refused, unless it has been counted.
    fn refuse(&mut self) -> Option<Verdict> {
        let AdmittedRequest { signal, transport, caller, parts, .. } = self.admitted.take()?;
        let counters = self.intake.counters.of(transport);
        Some(refusals::refused(counters, signal, &caller, &parts, &self.refused))
    }
}

impl Drop for UncommittedRequest<'_> {
    fn drop(&mut self) {
        self.refuse();
    }
}
/// A request that is being written to the journal.
struct WritingRequest {
    writing: Writing,
    admitted: AdmittedRequest,
    snapshot: Arc<ConfigSnapshot>,
    /// How long it may wait afterwards, if it waits for its upstreams.
    timeout: Option<Duration>,
}

/// Holds a request while it is written, since its sender may go meanwhile. The request is written all the same, and counted once that
/// has succeeded or failed. If it was to wait for its upstreams, it is withdrawn.
struct WritingGuard<'i> {
    intake: &'i Arc<Intake>,
    request: Option<Box<WritingRequest>>,
}

impl WritingRequest {
    /// The verdict, once it is known: when the request is on disk, or when its upstreams have taken it.
    async fn verdict(self: Box<Self>, intake: &Arc<Intake>, deadline: Option<Instant>) -> Verdict {
        let mut guard = WritingGuard { intake, request: Some(self) };
        let request = guard.request.as_mut().expect("it was put there");
        let written = request.writing.written().await;
        let request = guard.request.take().expect("it is there until now");
        let WritingRequest { mut admitted, snapshot, timeout, .. } = *request;
        if written.is_ok() {
            admitted.charges.make();
        }
        match (written, timeout) {
            (Ok(Some(receipt)), Some(timeout)) => {
                Box::new(WaitingRequest { receipt, admitted, snapshot, timeout })
                    .verdict(intake, deadline)
                    .await
            }
            (Ok(_), _) => intake.finish(&snapshot, admitted, &[]).written().await,
            (Err(refused), _) => {
                let counters = intake.counters.of(admitted.transport);
                refusals::refused(counters, admitted.signal, &admitted.caller, &admitted.parts, &refused)
            }
        }
    }
}

impl Drop for WritingGuard<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            // When the process ends there is no runtime any more, and nobody who reads the count.
            if let Ok(runtime) = Handle::try_current() {
                let scope = request.admitted.caller.trace().log_scope();
                runtime.spawn(scope.of(count_abandoned(self.intake.clone(), request)));
            }
        }
    }
}

/// Counts a request whose sender has gone, once writing it has succeeded or failed.
async fn count_abandoned(intake: Arc<Intake>, request: Box<WritingRequest>) {
    let WritingRequest { mut writing, mut admitted, snapshot, timeout } = *request;
    let ended = writing.ended().await;
    if ended.is_ok() {
        admitted.charges.make();
    }
    match (ended, timeout) {
        (Ok(receipt), Some(_)) => {
            let undelivered = receipt.as_ref().and_then(Receipt::undelivered);
            drop(receipt);
            let counters = intake.counters.of(admitted.transport);
            let AdmittedRequest { signal, caller, parts, .. } = &admitted;
            refusals::undelivered(counters, *signal, caller, parts, undelivered.as_ref());
        }
        (Ok(_), None) => {
            let (signal, records) = (admitted.signal, admitted.parts.records());
            intake.finish(&snapshot, admitted, &[]);
            if let Some(suppressed) = notice::due(signal.name(), "sender gone") {
                info!(
                    %signal, records, suppressed,
                    "a sender has gone before its request was on disk: it is delivered, and comes twice if it is sent again"
                );
            }
        }
        (Err(refused), _) => {
            refusals::refused(
                intake.counters.of(admitted.transport),
                admitted.signal,
                &admitted.caller,
                &admitted.parts,
                &refused,
            );
        }
    }
}

/// A request that has been admitted and waits for its entries to be settled.
struct WaitingRequest {
    receipt: Receipt,
    admitted: AdmittedRequest,
    /// Keeps the exporters alive.
    snapshot: Arc<ConfigSnapshot>,
    timeout: Duration,
}

/// Counts a waiting request as refused if it is dropped before it has its verdict.
struct WaitingGuard<'i> {
    intake: &'i Intake,
    waiting: Option<Box<WaitingRequest>>,
}

impl WaitingRequest {
    /// The verdict, once it is known. If the future is dropped before, for instance because the sender has gone, entries that are
    /// not settled are withdrawn.
    async fn verdict(self: Box<Self>, intake: &Intake, deadline: Option<Instant>) -> Verdict {
        let own = Instant::now() + self.timeout;
        let deadline = deadline.map_or(own, |deadline| deadline.min(own));
        let mut unanswered = WaitingGuard { intake, waiting: Some(self) };
        let waiting = unanswered.waiting.as_ref().expect("it was put there");
        let late =
            || Err(Undelivered::Late { waited: waiting.timeout, causes: waiting.receipt.causes_of_delay() });
        let settled = tokio::select! {
            biased;
            settled = waiting.receipt.settled() => settled.map_err(Undelivered::GivenUp),
            () = sleep_until(deadline) => late(),
            () = intake.closed() => late(),
        };
        let losses = match settled {
            Ok(losses) => losses,
            Err(why) => {
                drop(unanswered);
                return Verdict::Undelivered(why);
            }
        };
        let waiting = unanswered.waiting.take().expect("it is there until now");
        intake.finish(&waiting.snapshot, waiting.admitted, &losses).written().await
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            let WaitingRequest { receipt, admitted, .. } = &*waiting;
            let counters = self.intake.counters.of(admitted.transport);
            let AdmittedRequest { signal, caller, parts, .. } = admitted;
            refusals::undelivered(counters, *signal, caller, parts, receipt.undelivered().as_ref());
        }
    }
}
