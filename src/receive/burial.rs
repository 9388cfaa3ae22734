//! What is left of a request beside what was admitted: parts that are not valid, entries of tenants that are not in the table, and
//! what `when_full: shed` cut out.
//!
//! It becomes dead letters once the request is answered, and not if it is refused, since its sender then sends all of it
//! again. Until then, and until it is written, it takes memory that has to be there.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::warn;

use super::intake::{Intake, Snapshot};
use crate::export::{self, Encoding, Fate, Letter, SHED};
use crate::notice;
use crate::otlp::{self, Cut, Entry, Signal};
use crate::stream::{Budget, Reservation, Shed};

/// Memory that a stray takes beside its bytes.
const STRAY_OVERHEAD: usize = 256;

/// Bytes of strays that become one dead letter, but for the last that was begun.
const STRAYS_LETTER: usize = 512 << 10;

/// What is left of a request.
#[derive(Debug)]
pub(super) struct Remains {
    encoding: Encoding,
    pub(super) sheds: Vec<Shed>,
    pub(super) cuts: Vec<Cut>,
    strays: Strays,
    /// Memory for the bytes of each; without it there are none.
    for_sheds: Option<Reservation>,
    for_cuts: Option<Reservation>,
    for_strays: Option<Reservation>,
}

/// Entries whose tenants are not in the table.
#[derive(Debug, Default)]
pub(super) struct Strays(Vec<Stray>);

/// Entries that follow on each other and have no place for one reason.
#[derive(Debug)]
struct Stray {
    reason: String,
    records: u64,
    /// As a request of its own.
    bytes: Vec<u8>,
}

impl Strays {
    pub(super) fn add(&mut self, entry: &Entry<'_>, reason: &str) {
        if entry.records == 0 {
            return;
        }
        let last = self.0.last_mut().filter(|last| last.reason == reason && last.bytes.len() < STRAYS_LETTER);
        let stray = if let Some(last) = last {
            last
        } else {
            let bytes = Vec::with_capacity(otlp::frame_len(entry.bytes.len()));
            self.0.push(Stray { reason: reason.to_owned(), records: 0, bytes });
            self.0.last_mut().expect("it was just added")
        };
        otlp::put_frame(&mut stray.bytes, entry.bytes.len());
        stray.bytes.extend_from_slice(&entry.bytes);
        stray.records += entry.records;
    }

    fn records(&self) -> u64 {
        self.0.iter().map(|stray| stray.records).sum()
    }

    /// Bytes of memory that they take.
    fn memory(&self) -> u64 {
        let each = |stray: &Stray| STRAY_OVERHEAD + stray.reason.len() + stray.bytes.capacity();
        self.0.iter().map(|stray| each(stray) as u64).sum()
    }
}

impl Remains {
    /// What is not valid of a request, and whose tenants are not known.
    pub(super) fn of(encoding: Encoding, cuts: Vec<Cut>, strays: Strays) -> Self {
        Self { encoding, sheds: Vec::new(), cuts, strays, for_sheds: None, for_cuts: None, for_strays: None }
    }
}

impl Intake {
    /// Keeps what is left of a request, with its bytes if there is a directory for them, and memory. More may be left
    /// later.
    pub(super) fn keep(&self, remains: &mut Remains, sheds: Vec<Shed>, budget: &Arc<Budget>) {
        let Remains { cuts, for_cuts, .. } = remains;
        if for_cuts.is_none() {
            *for_cuts = self.hold(cuts.iter().map(|cut| cut.bytes.len() as u64).sum(), budget);
            if for_cuts.is_none() {
                for cut in cuts {
                    cut.bytes = Vec::new();
                }
            }
        }
        if remains.for_strays.is_none() {
            remains.for_strays = self.hold(remains.strays.memory(), budget);
            if remains.for_strays.is_none() {
                let records = remains.strays.records();
                if records > 0
                    && let Some(suppressed) = notice::due("tenants", "no memory for dead letters")
                {
                    warn!(
                        records,
                        suppressed,
                        "records of unknown tenants dropped: there is no memory to keep them as dead letters"
                    );
                }
                remains.strays = Strays::default();
            }
        }
        remains.for_sheds = self.hold(sheds.iter().map(|shed| shed.bytes.len() as u64).sum(), budget);
        remains.sheds = sheds;
        if remains.for_sheds.is_none() {
            for shed in &mut remains.sheds {
                shed.bytes = Vec::new();
            }
        }
    }

    /// Memory for what waits to be written as dead letters; `None` if there is nothing, no directory, or no memory.
    fn hold(&self, bytes: u64, budget: &Arc<Budget>) -> Option<Reservation> {
        let mut held = Reservation::empty(budget.clone());
        (bytes > 0 && self.dead_letters.load().is_some() && held.grow(bytes)).then_some(held)
    }

    /// Ends what is left of a request.
    pub(super) fn bury(&self, snapshot: &Snapshot, signal: Signal, remains: Remains) {
        let Remains { encoding, sheds, cuts, strays, for_sheds, for_cuts, for_strays } = remains;
        if !sheds.is_empty() {
            bury_sheds(snapshot, sheds, for_sheds);
        }
        if let Some(held) = for_cuts {
            self.bury_cuts(signal, encoding, cuts, held);
        }
        if let Some(held) = for_strays {
            self.bury_strays(signal, strays, held);
        }
    }

    fn bury_strays(&self, signal: Signal, strays: Strays, held: Reservation) {
        let dead_letters = self.dead_letters.clone();
        self.burials.spawn(async move {
            for Stray { reason, records, bytes } in strays.0 {
                let (encoding, bytes, time) = (Encoding::Proto, vec![bytes.into()], SystemTime::now());
                let letter =
                    Letter { exporter: None, signal, encoding, key: None, reason, records, bytes, time };
                if export::bury(&dead_letters, letter).await != Fate::DeadLettered {
                    break;
                }
            }
            drop(held);
        });
    }

    fn bury_cuts(&self, signal: Signal, encoding: Encoding, cuts: Vec<Cut>, held: Reservation) {
        let dead_letters = self.dead_letters.clone();
        self.burials.spawn(async move {
            // Of a part of a JSON document there was perhaps no memory for a copy.
            for cut in cuts.into_iter().filter(|cut| !cut.bytes.is_empty()) {
                let letter = Letter {
                    exporter: None,
                    signal,
                    encoding,
                    key: None,
                    reason: format!("{} at byte {}: {}", cut.path, cut.offset, cut.reason),
                    records: cut.records,
                    bytes: vec![cut.bytes.into()],
                    time: SystemTime::now(),
                };
                if export::bury(&dead_letters, letter).await != Fate::DeadLettered {
                    break;
                }
            }
            drop(held);
        });
    }
}

/// Ends what `when_full: shed` cut out: as dead letters if there is memory `held` for that, else as dropped. An exporter
/// counts it as routed, too, and as pending while it is being written, so that its sum holds.
fn bury_sheds(snapshot: &Snapshot, sheds: Vec<Shed>, held: Option<Reservation>) {
    let mut letters = Vec::new();
    for shed in sheds {
        let found =
            snapshot.exporters.iter().find(|exporter| Arc::ptr_eq(exporter.registry(), &shed.registry));
        let exporter = found.expect("an entry is shed by an exporter of its snapshot").clone();
        let ending = exporter.registry().count_shed(&shed);
        if held.is_some() {
            letters.push((exporter, shed, ending));
        } else {
            exporter.drop_records(&shed.name, shed.records, &shed.full.to_string(), SHED, None);
        }
    }
    if letters.is_empty() {
        return;
    }
    // What waits for them waits until nothing is pending.
    tokio::spawn(async move {
        for (exporter, shed, ending) in letters {
            let reason = shed.full.to_string();
            exporter.bury(&shed.name, vec![shed.bytes.into()], shed.records, &reason, SHED, None).await;
            drop(ending);
        }
        drop(held);
    });
}
