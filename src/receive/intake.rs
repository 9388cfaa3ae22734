//! From the bytes of one request to the queues: split, route, admit. Transports differ only in how they read a
//! request and how they word the verdict.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::acknowledge::{Acknowledge, BeingWritten, WAITING, Waiting};
use super::body::{BodyError, Received};
use super::burial::Remains;
use super::json::{self, Untranscoded};
use super::remarks::{Remarks, Why};
use super::tally::Tally;
use super::{Counters, Outcome, Transport, TransportCounters};
use crate::export::{DeadLetterBox, Encoding, Exporter};
use crate::journal::Journal;
use crate::notice;
use crate::otlp::{self, Malformed, Omitted, Signal};
use crate::route::{RouteTable, Unroutable, Unrouted};
use crate::stream::{Admission, Full, Loss, Misplaced, Placement, Refused, Reservation, StreamCount};

/// Memory that an entry takes on its way from the request to the queues, its own bytes not counted: more than its two
/// bytes at the least, so that a request of nothing but empty entries would take a hundred times its size.
const ENTRY_OVERHEAD: usize = 192;

/// Requests of up to this many entries take so little on their way that nobody counts it.
const ORDINARY_ENTRIES: usize = 64;

/// While a body is copied into queues it is there twice. Up to this size nobody counts that.
const ORDINARY_BODY: usize = 1024 * 1024;

/// Held while a larger body is copied that there is no room to count twice: one such at a time is what Sluice has room
/// for beside `limits.memory`.
static UNCOUNTED_COPY: Mutex<()> = Mutex::new(());

thread_local! {
    /// Where routing keys are put together.
    static SCRATCH: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Everything from the configuration that a request needs, immutable. A request uses one to its end.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every reload.
    pub version: u64,
    /// The compiled routes; exporters by position in `exporters`.
    pub routes: RouteTable,
    /// `max_streams` of each route.
    pub route_streams: Vec<Option<Arc<StreamCount>>>,
    /// In the order of the configuration.
    pub exporters: Vec<Arc<Exporter>>,
    /// When senders get their answers.
    pub acknowledge: Acknowledge,
}

impl Snapshot {
    /// Whether the configuration has this exporter: one that is being removed isn't in it.
    pub fn uses(&self, exporter: &Arc<Exporter>) -> bool {
        self.exporters.iter().any(|current| Arc::ptr_eq(current, exporter))
    }
}

/// What receivers hand requests to.
#[derive(Debug)]
pub struct Intake {
    /// Swapped by reloads.
    pub snapshot: ArcSwap<Snapshot>,
    /// What has been received.
    pub counters: Counters,
    /// Where requests are written before they are queued, if anywhere.
    pub journal: Option<Journal>,
    /// Where cut-out parts go.
    pub dead_letters: DeadLetterBox,
    /// Dead letters of cut-out parts that are being written, a task for each request; the shutdown waits for them.
    pub burials: TaskTracker,
    /// When requests that wait for their upstreams are answered whatever has come of them, because Sluice ends.
    pub closing: watch::Sender<Option<Instant>>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Verdict {
    /// All of it is queued.
    Accepted,
    /// It is queued but for `rejected` records (zero: only a warning), and why.
    Partly {
        /// Spans, data points or log records.
        rejected: u64,
        /// For people.
        message: String,
    },
    /// There is no room now; none of it is queued.
    Refused(Full),
    /// Its upstreams have not taken all of it in this time; what they have not taken, nor are being sent just now, is
    /// queued no more.
    Undelivered(Duration),
    /// There will never be room, and why; none of it is queued.
    TooLarge(&'static str),
    /// It is not OTLP, or nothing in it is valid.
    Malformed {
        /// The path of the first problem.
        field: String,
        /// For people.
        message: String,
    },
}

/// How the placing of an entry failed.
enum Trouble {
    /// Nobody can take this entry, and why.
    Entry(String),
    Refused(Refused),
}

impl From<Unroutable> for Trouble {
    fn from(error: Unroutable) -> Self {
        Self::Entry(error.to_string())
    }
}

/// What was admitted of a request, and what not.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) signal: Signal,
    pub(super) transport: Transport,
    /// Records of its valid entries.
    pub(super) total: u64,
    tally: Tally,
    remarks: Remarks,
    remains: Remains,
    nothing_valid: bool,
}

/// How far a request has come.
enum Progress {
    Over(Verdict),
    Waits(Box<Waiting>),
    Writes(Box<BeingWritten>),
}

impl From<Verdict> for Progress {
    fn from(verdict: Verdict) -> Self {
        Self::Over(verdict)
    }
}

impl Intake {
    /// Takes one request in: all that is valid and routed, or nothing. With `acknowledge: delivered` this waits for the
    /// upstreams, until the `deadline` of the sender at most, and if it is dropped meanwhile the request is withdrawn.
    pub async fn take(
        &self,
        signal: Signal,
        transport: Transport,
        received: Received,
        deadline: Option<Instant>,
    ) -> Verdict {
        let counters = self.counters.of(transport);
        counters.count_bytes(signal, received.bytes.len() as u64);
        match self.admit(transport, signal, received, None) {
            Progress::Over(verdict) => verdict,
            Progress::Waits(waiting) => waiting.verdict(self, deadline).await,
            Progress::Writes(request) => request.verdict(self, deadline).await,
        }
    }

    /// As [`Intake::take`], for a request that came as OTLP/JSON.
    pub async fn take_json(&self, signal: Signal, received: Received) -> Verdict {
        let counters = self.counters.of(Transport::Http);
        counters.count_bytes(signal, received.bytes.len() as u64);
        let progress = match json::transcode(signal, received).await {
            Ok((received, omitted)) => self.admit(Transport::Http, signal, received, Some(omitted)),
            Err(Untranscoded::Malformed(malformed)) => Self::malformed(counters, signal, &malformed).into(),
            Err(Untranscoded::Refused(refused)) => Self::refused(counters, signal, 1, &refused).into(),
        };
        match progress {
            Progress::Over(verdict) => verdict,
            Progress::Waits(waiting) => waiting.verdict(self, None).await,
            Progress::Writes(request) => request.verdict(self, None).await,
        }
    }

    /// Makes sure that there is memory for a second copy of a body: counted where there is room, or alone.
    fn allow_copy(
        len: usize,
        reservation: &mut Reservation,
    ) -> Result<Option<MutexGuard<'static, ()>>, Full> {
        if len <= ORDINARY_BODY {
            return Ok(None);
        }
        if reservation.budget().has_room(len as u64) {
            reservation.charge_spare(len as u64);
            return Ok(None);
        }
        UNCOUNTED_COPY.try_lock().map(Some).ok_or(Full::Memory)
    }

    /// Takes in a request in protobuf. If it came as JSON, `omitted` is what was not valid there.
    fn admit(
        &self,
        transport: Transport,
        signal: Signal,
        received: Received,
        omitted: Option<Omitted>,
    ) -> Progress {
        let counters = self.counters.of(transport);
        let Received { bytes: body, mut reservation } = received;
        let budget = reservation.budget().clone();
        let _alone = match Self::allow_copy(body.len(), &mut reservation) {
            Ok(alone) => alone,
            Err(full) => return Self::refused(counters, signal, 1, &Refused::Full(full)).into(),
        };
        let snapshot = self.snapshot.load();
        let entries = otlp::count_entries(&body);
        let mut overhead = if entries > ORDINARY_ENTRIES { (entries * ENTRY_OVERHEAD) as u64 } else { 0 };
        if let Acknowledge::Delivered { .. } = snapshot.acknowledge {
            overhead += WAITING;
        }
        if overhead + reservation.bytes() > budget.limit() {
            return Self::refused(counters, signal, 1, &Refused::TooLarge).into();
        }
        if !reservation.grow(overhead) {
            return Self::refused(counters, signal, 1, &Refused::Full(Full::Memory)).into();
        }
        let mut split = match otlp::split(signal, &body) {
            Ok(split) => split,
            Err(malformed) => return Self::malformed(counters, signal, &malformed).into(),
        };
        let (encoding, entry_field) = match omitted {
            None => (Encoding::Proto, signal.entry_field()),
            Some(omitted) => {
                omitted.restore(&mut split);
                (Encoding::Json, signal.json_entry_field())
            }
        };
        let total: u64 = split.entries.iter().map(|entry| entry.records).sum();
        let mut remarks = Remarks::default();
        let mut tally = Tally::default();
        let mut admission = Admission::new(signal, reservation, overhead);
        for entry in &split.entries {
            let placed = place(&snapshot, signal, entry, &mut admission).map(|(streams, unfit)| {
                // Not rejected, since another exporter has it; but whoever sends it should know.
                if let Some(error) = unfit {
                    remarks.add(Why::Unfit, 0, |text| {
                        write!(text, "{entry_field}[{}]: {error}", entry.index)
                            .expect("writing to a String can't fail");
                    });
                }
                streams
            });
            match placed {
                Ok(0) if snapshot.routes.unrouted() == Unrouted::Drop => tally.unrouted += entry.records,
                Ok(0) => remarks.add(Why::Unrouted, entry.records, |text| {
                    write!(text, "{entry_field}[{}]", entry.index).expect("writing to a String can't fail");
                    snapshot.routes.put_values(signal, entry.resource(), text);
                }),
                Ok(streams) => tally.placed.push((entry.index, entry.records, streams)),
                Err(Trouble::Entry(error)) => remarks.add(Why::Unfit, entry.records, |text| {
                    write!(text, "{entry_field}[{}]: {error}", entry.index)
                        .expect("writing to a String can't fail");
                }),
                Err(Trouble::Refused(refused)) => {
                    return Self::refused(counters, signal, total, &refused).into();
                }
            }
        }
        if let Some(journal) = self.journal.as_ref().filter(|_| !admission.is_empty()) {
            let timeout = match snapshot.acknowledge {
                Acknowledge::Queued => None,
                Acknowledge::Delivered { timeout } => Some(timeout),
            };
            let (sheds, writing) = match admission.commit_durably(journal, &body, timeout.is_some()) {
                Ok(committed) => committed,
                Err(refused) => return Self::refused(counters, signal, total, &refused).into(),
            };
            let nothing_valid = split.entries.is_empty();
            let remains = self.keep(encoding, sheds, split.cuts, &budget);
            let admitted = Admitted { signal, transport, total, tally, remarks, remains, nothing_valid };
            let snapshot = Guard::into_inner(snapshot);
            return Progress::Writes(Box::new(BeingWritten { writing, admitted, snapshot, timeout }));
        }
        let committed = match snapshot.acknowledge {
            Acknowledge::Queued => admission.commit().map(|sheds| (sheds, None)),
            Acknowledge::Delivered { timeout } => {
                let committed = admission.commit_with_receipt();
                committed.map(|(sheds, receipt)| (sheds, Some((receipt, timeout))))
            }
        };
        let (sheds, waits) = match committed {
            Ok(committed) => committed,
            Err(refused) => return Self::refused(counters, signal, total, &refused).into(),
        };
        let nothing_valid = split.entries.is_empty();
        let remains = self.keep(encoding, sheds, split.cuts, &budget);
        let admitted = Admitted { signal, transport, total, tally, remarks, remains, nothing_valid };
        match waits.filter(|(receipt, _)| !receipt.is_settled()) {
            Some((receipt, timeout)) => {
                let snapshot = Guard::into_inner(snapshot);
                Progress::Waits(Box::new(Waiting { receipt, admitted, snapshot, timeout }))
            }
            None => self.finish(&snapshot, admitted, &[]).into(),
        }
    }

    /// Counts a request whose end is known, says what there is to say, and buries what was not admitted of it. Of what was
    /// admitted `losses` were not delivered.
    pub(super) fn finish(&self, snapshot: &Snapshot, admitted: Admitted, losses: &[Loss]) -> Verdict {
        let Admitted { signal, transport, mut tally, mut remarks, remains, .. } = admitted;
        let counters = self.counters.of(transport);
        tally.lose(&remains.sheds, losses, &mut remarks);
        for cut in &remains.cuts {
            remarks.add(Why::Invalid(cut.reason), cut.records, |text| {
                write!(text, "{} at byte {}: {}", cut.path, cut.offset, cut.reason)
                    .expect("writing to a String can't fail");
            });
        }
        counters.count(signal, Outcome::Accepted, tally.accepted());
        counters.count(signal, Outcome::Rejected, remarks.rejected());
        counters.count(signal, Outcome::Dropped, tally.unrouted + tally.shed);
        counters.count_unrouted(signal, tally.unrouted);
        let missing = snapshot.routes.missing(signal);
        remarks.log(signal, missing);
        if tally.unrouted > 0
            && let Some(suppressed) = notice::due(signal.name(), "dropped")
        {
            let records = tally.unrouted;
            warn!(%signal, records, suppressed, "records without a route dropped, as `unrouted: drop` says");
        }
        let first = remains.cuts.first().map(|cut| cut.path.clone());
        self.bury(snapshot, signal, remains);
        match (remarks.verdict(missing), first) {
            (Verdict::Partly { message, .. }, Some(field)) if admitted.nothing_valid => {
                Verdict::Malformed { field, message }
            }
            (verdict, _) => verdict,
        }
    }

    /// Counts a request whose body was not read to its end, as one record: how many it held is not known.
    pub(super) fn unread(&self, signal: Signal, transport: Transport, error: &BodyError) {
        let (outcome, cause) = match error {
            BodyError::NoMemory => (Outcome::Refused, "no memory"),
            BodyError::TooLarge(..) => (Outcome::Rejected, "body too large"),
            BodyError::TimedOut(_) => (Outcome::Rejected, "body too late"),
            BodyError::Aborted => (Outcome::Rejected, "body ended"),
            BodyError::Framing(_) => (Outcome::Rejected, "framing"),
            BodyError::Corrupt(..) => (Outcome::Rejected, "encoding"),
        };
        self.counters.of(transport).count(signal, outcome, 1);
        if let Some(suppressed) = notice::due(signal.name(), cause) {
            warn!(%signal, suppressed, "request not taken: {error}");
        }
    }

    fn malformed(counters: &TransportCounters, signal: Signal, malformed: &Malformed) -> Verdict {
        counters.count(signal, Outcome::Rejected, 1);
        if let Some(suppressed) = notice::due(signal.name(), malformed.reason.text()) {
            warn!(%signal, suppressed, "request rejected: {malformed}");
        }
        Verdict::Malformed { field: malformed.path.clone(), message: malformed.to_string() }
    }

    pub(super) fn refused(
        counters: &TransportCounters,
        signal: Signal,
        records: u64,
        refused: &Refused,
    ) -> Verdict {
        let never = match refused {
            Refused::TooLarge => "the request needs more than the memory limit, so it can never be taken",
            Refused::TooLargeForJournal => {
                "the request needs more than the journal may hold, so it can never be taken"
            }
            Refused::TooManyStreams => {
                "the request names more streams than the limit of streams, so it can never be taken: send it in parts"
            }
            Refused::Full(full) => {
                counters.count(signal, Outcome::Refused, records);
                let cause = match full {
                    Full::Memory => "no memory",
                    Full::Stream | Full::Streams => "no stream",
                    Full::Journal => "no journal",
                    Full::Disk => "no disk",
                };
                if let Some(suppressed) = notice::due(signal.name(), cause) {
                    warn!(%signal, records, suppressed, "request refused: {full}; the sender is asked to retry");
                }
                return Verdict::Refused(*full);
            }
            Refused::FullStream { exporter, name } => {
                counters.count(signal, Outcome::Refused, records);
                if let Some(suppressed) = notice::due(exporter, "full") {
                    let (key, full) = (name.routing_key(), Full::Stream);
                    warn!(
                        %exporter, %signal, key, records, suppressed,
                        "request refused: {full}; the sender is asked to retry"
                    );
                }
                return Verdict::Refused(Full::Stream);
            }
        };
        counters.count(signal, Outcome::Rejected, records);
        if let Some(suppressed) = notice::due(signal.name(), "too large") {
            warn!(%signal, records, suppressed, "request rejected: {never}");
        }
        Verdict::TooLarge(never)
    }
}

/// Places one entry in every stream that its routes say, and returns how many, and why there are not more.
fn place<'a>(
    snapshot: &Snapshot,
    signal: Signal,
    entry: &otlp::Entry<'a>,
    admission: &mut Admission<'a>,
) -> Result<(usize, Option<String>), Trouble> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut streams = 0;
        let mut unfit = None;
        snapshot.routes.route(
            signal,
            entry.resource(),
            scratch,
            |hit| {
                let exporter = &snapshot.exporters[hit.exporter];
                let (registry, name) = (exporter.registry(), exporter.name());
                let route = snapshot.route_streams[hit.route].as_ref();
                let identity = match hit.identity {
                    Ok(identity) => identity,
                    Err(error) => {
                        unfit = Some(format!("not for exporter `{name}`: {error}"));
                        return Ok(());
                    }
                };
                let at = Placement { registry, identity, attributes: hit.attributes, route };
                match admission.place(entry.index, &entry.bytes, entry.records, &at) {
                    Ok(first) => streams += usize::from(first),
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
