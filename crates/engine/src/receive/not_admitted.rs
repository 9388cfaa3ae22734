//! The parts of a request that are not admitted: parts that are not valid, entries that no route takes or whose tenants are not
//! in the table, and what `when_full: shed` cut out.
//!
//! These parts become dead letters once the request has its answer, and not if it is refused, since its sender then sends all of it
//! again.
//! Until the letters are written, their bytes are charged to the memory budget. An answer that promises that nothing is lost with the
//! process, and does not name these parts, waits until the letters are written.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::caller::Caller;
use super::counters::ReceiveCounters;
use super::verdict::Verdict;
use crate::dead_letters::{DeadLetter, DeadLetterOrigin};
use crate::encoding::Encoding;
use crate::export::{self, DeadLetterBox, Exporter, Fate, UndeliveredCause};
use crate::notice;
use crate::stream::{Budget, Reservation, Shed};
use crate::telemetry::LogScope;
use crate::tenants::Tenant;
use otlp::{self, Cut, Entry, Signal};

/// Memory that the unrouted entries of one dead letter take beside their bytes: the letter names their sender as well.
const UNROUTED_OVERHEAD: usize = 1024;

/// Bytes of unrouted entries that become one dead letter, but for the entry that was added last.
const LARGEST_UNROUTED: usize = 512 << 10;

/// The dead letters of a request that its answer waits for.
#[derive(Debug, Default)]
pub(super) struct PendingDeadLetters(Option<JoinHandle<()>>);

/// A request's verdict, which is told once the dead letters are written that its answer waits for.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) verdict: Verdict,
    pub(super) letters: PendingDeadLetters,
}

impl Finished {
    /// The verdict, if its answer waits for nothing.
    pub(super) fn at_once(self) -> Result<Verdict, Self> {
        if self.letters.0.is_none() { Ok(self.verdict) } else { Err(self) }
    }

    /// The verdict, once the dead letters are written or can't be, however long the disk takes. They are written even if the sender
    /// goes meanwhile.
    pub(super) async fn written(self) -> Verdict {
        if let Some(letters) = self.letters.0
            && let Err(error) = letters.await
            && error.is_panic()
        {
            resume_unwind(error.into_panic());
        }
        self.verdict
    }
}

/// The parts of a request that are not admitted.
#[derive(Debug)]
pub(super) struct NotAdmitted {
    encoding: Encoding,
    pub(super) sheds: Vec<Shed>,
    pub(super) cuts: Vec<Cut>,
    unrouted: UnroutedEntries,
    /// The reservation for the bytes of each kind; without it the bytes are not kept.
    for_sheds: Option<Reservation>,
    for_cuts: Option<Reservation>,
    for_unrouted: Option<Reservation>,
}

/// Entries that have no exporter, since no route takes them or their tenants are not in the table.
#[derive(Debug, Default)]
pub(super) struct UnroutedEntries {
    list: Vec<UnroutedBatch>,
    /// By their tenants and reasons, the ones to which there is room to add.
    open: HashMap<Option<Arc<str>>, HashMap<Arc<str>, usize>>,
}

/// Entries that are of one tenant and have no exporter for one reason.
#[derive(Debug)]
struct UnroutedBatch {
    tenant: Option<Arc<str>>,
    reason: Arc<str>,
    records: u64,
    /// As a request of its own.
    bytes: Vec<u8>,
}

impl UnroutedEntries {
    pub(super) fn add(&mut self, entry: &Entry<'_>, tenant: Option<&Arc<Tenant>>, reason: &str) {
        if entry.records == 0 {
            return;
        }
        let tenant = tenant.map(|tenant| tenant.id.clone());
        let open = self.open.get(&tenant).and_then(|open| open.get(reason)).copied();
        let at = open.filter(|at| self.list[*at].bytes.len() < LARGEST_UNROUTED).unwrap_or_else(|| {
            let (reason, at) = (Arc::<str>::from(reason), self.list.len());
            let bytes = Vec::with_capacity(otlp::frame_len(entry.bytes.len()));
            self.list.push(UnroutedBatch {
                tenant: tenant.clone(),
                reason: reason.clone(),
                records: 0,
                bytes,
            });
            self.open.entry(tenant).or_default().insert(reason, at);
            at
        });
        let batch = &mut self.list[at];
        otlp::put_frame(&mut batch.bytes, entry.bytes.len());
        batch.bytes.extend_from_slice(&entry.bytes);
        batch.records += entry.records;
    }

    fn records(&self) -> u64 {
        self.list.iter().map(|batch| batch.records).sum()
    }

    /// Bytes of memory that they take.
    fn memory(&self) -> u64 {
        let each = |batch: &UnroutedBatch| UNROUTED_OVERHEAD + batch.reason.len() + batch.bytes.capacity();
        self.list.iter().map(|batch| each(batch) as u64).sum()
    }
}

/// Where dead letters of requests are written.
pub(super) struct LetterStore<'i> {
    pub(super) directory: &'i DeadLetterBox,
    /// The tasks that write, for which the shutdown waits.
    pub(super) tasks: &'i TaskTracker,
    pub(super) counters: &'i Arc<ReceiveCounters>,
}

impl LetterStore<'_> {
    /// Whether there is a dead-letter directory now.
    pub(super) fn is_there(&self) -> bool {
        self.directory.load().is_some()
    }

    /// Memory for bytes that wait to be written as dead letters; `None` if there are none, no directory, or no memory.
    fn hold(&self, bytes: u64, budget: &Arc<Budget>) -> Option<Reservation> {
        let mut held = Reservation::empty(budget.clone());
        (bytes > 0 && self.is_there() && held.grow(bytes)).then_some(held)
    }

    /// Writes letters, for which there is memory `held`, at places that they have from now on: behind those of the requests that
    /// were answered before, so that a replay keeps the order in which they came.
    fn write(
        &self,
        signal: Signal,
        scope: LogScope,
        letters: Vec<DeadLetter>,
        held: Reservation,
    ) -> Option<JoinHandle<()>> {
        let Some(directory) = self.directory.load_full() else {
            if let Some(suppressed) = notice::due("dead_letter", "no directory") {
                let records: u64 = letters.iter().map(|letter| letter.records).sum();
                warn!(%signal, records, suppressed, "dead letters dropped: a reload has taken `dead_letter` away");
            }
            return None;
        };
        let counters = self.counters.clone();
        let placed: Vec<_> = letters.into_iter().map(|letter| (directory.take_place(), letter)).collect();
        Some(self.tasks.spawn(scope.of(async move {
            for (place, letter) in placed {
                let records = letter.records;
                if export::store_dead_letter_at(&directory, place, letter).await != Fate::DeadLettered {
                    break;
                }
                counters.count_dead_lettered(signal, records);
            }
            drop(held);
        })))
    }
}

impl NotAdmitted {
    /// The parts of a request that are not valid, and the entries that have no exporter.
    pub(super) fn of(encoding: Encoding, cuts: Vec<Cut>, unrouted: UnroutedEntries) -> Self {
        Self {
            encoding,
            sheds: Vec::new(),
            cuts,
            unrouted,
            for_sheds: None,
            for_cuts: None,
            for_unrouted: None,
        }
    }

    /// Keeps the parts that are not admitted, with their bytes if there is a dead-letter directory for them, and memory. More may
    /// come later.
    pub(super) fn keep(&mut self, store: &LetterStore<'_>, sheds: Vec<Shed>, budget: &Arc<Budget>) {
        let Self { cuts, for_cuts, .. } = self;
        if for_cuts.is_none() {
            *for_cuts = store.hold(cuts.iter().map(|cut| cut.bytes.len() as u64).sum(), budget);
            if for_cuts.is_none() {
                for cut in cuts {
                    cut.bytes = Vec::new();
                }
            }
        }
        self.for_sheds = store.hold(sheds.iter().map(|shed| shed.bytes.len() as u64).sum(), budget);
        self.sheds = sheds;
        if self.for_sheds.is_none() {
            for shed in &mut self.sheds {
                shed.bytes = Vec::new();
            }
        }
    }

    /// Keeps the entries that have no exporter from now on, if there is a dead-letter directory for them, and memory.
    pub(super) fn keep_unrouted(&mut self, store: &LetterStore<'_>, budget: &Arc<Budget>) {
        self.for_unrouted = store.hold(self.unrouted.memory(), budget);
        if self.for_unrouted.is_some() {
            return;
        }
        let records = std::mem::take(&mut self.unrouted).records();
        if records > 0
            && let Some(suppressed) = notice::due("dead_letter", "no memory for dead letters")
        {
            warn!(
                records,
                suppressed,
                "records dropped that no route takes, or whose tenants are unknown: there is no memory to keep them as dead letters, or no \
                 directory any more"
            );
        }
    }

    /// Ends the parts of a request of this caller, which came with these `exporters` in use. `is_durable`: its answer promises that
    /// nothing is lost with the process.
    pub(super) fn dead_letter(
        self,
        store: &LetterStore<'_>,
        exporters: &[Arc<Exporter>],
        signal: Signal,
        caller: &Caller,
        is_durable: bool,
    ) -> PendingDeadLetters {
        let Self { encoding, sheds, cuts, unrouted, for_sheds, for_cuts, for_unrouted } = self;
        let scope = caller.trace().log_scope();
        if !sheds.is_empty() {
            dead_letter_sheds(exporters, scope, sheds, for_sheds);
        }
        let letter = |encoding, tenant: Option<Arc<str>>, reason, records, bytes: Vec<u8>| DeadLetter {
            exporter: None,
            signal,
            encoding,
            key: None,
            origin: Some(DeadLetterOrigin {
                receiver: caller.receiver().to_string(),
                peer: caller.peer(),
                user_agent: caller.user_agent(),
                sender: caller.identity().map(|identity| identity.tenant.id.to_string()),
                tenant: tenant.map(|id| id.to_string()),
            }),
            reason,
            records,
            bytes: vec![bytes.into()],
            time: SystemTime::now(),
        };
        if let Some(held) = for_cuts {
            // There may have been no memory for a copy of a part of a JSON document.
            let cuts = cuts.into_iter().filter(|cut| !cut.bytes.is_empty());
            let letters = cuts.map(|cut| {
                let reason = format!("{} at byte {}: {}", cut.path, cut.offset, cut.reason);
                letter(encoding, None, reason, cut.records, cut.bytes)
            });
            store.write(signal, scope, letters.collect(), held);
        }
        let mut under_way = PendingDeadLetters::default();
        if let Some(held) = for_unrouted {
            let letters =
                unrouted.list.into_iter().map(|UnroutedBatch { tenant, reason, records, bytes }| {
                    letter(Encoding::Proto, tenant, reason.to_string(), records, bytes)
                });
            under_way.0 = store.write(signal, scope, letters.collect(), held);
        }
        // Parts that are cut out or shed are named to the sender.
        if is_durable { under_way } else { PendingDeadLetters::default() }
    }
}

/// Makes dead letters of the entries that `when_full: shed` cut out, if there is memory `held` for that, and else drops them. Their
/// exporter counts them as routed, and as pending while they are being written, so that its sum holds.
fn dead_letter_sheds(
    exporters: &[Arc<Exporter>],
    scope: LogScope,
    sheds: Vec<Shed>,
    held: Option<Reservation>,
) {
    let mut letters = Vec::new();
    for shed in sheds {
        let found = exporters.iter().find(|exporter| Arc::ptr_eq(exporter.registry(), &shed.registry));
        let exporter = found.expect("an entry is shed by an exporter of its snapshot").clone();
        let ending = exporter.registry().count_shed(&shed.name, shed.records, shed.bytes.len() as u64);
        if held.is_some() {
            letters.push((exporter, shed, ending));
        } else {
            exporter.drop_records(
                &shed.name,
                shed.records,
                &shed.full.to_string(),
                UndeliveredCause::Shed,
                None,
            );
        }
    }
    if letters.is_empty() {
        return;
    }
    // The shutdown waits for these letters, since it waits until nothing is pending.
    tokio::spawn(scope.of(async move {
        for (exporter, shed, ending) in letters {
            let reason = shed.full.to_string();
            exporter
                .dead_letter(
                    &shed.name,
                    vec![shed.bytes.into()],
                    shed.records,
                    &reason,
                    UndeliveredCause::Shed,
                    None,
                )
                .await;
            drop(ending);
        }
        drop(held);
    }));
}
