//! What is left of a request beside what was admitted: parts that are not valid, and what `when_full: shed` cut out.
//!
//! It becomes dead letters once the request is answered, and not if it is refused, since its sender then sends all of it
//! again. Until then, and until it is written, it takes memory that has to be there.

use std::sync::Arc;
use std::time::SystemTime;

use super::intake::{Intake, Snapshot};
use crate::export::{self, Encoding, Fate, Letter, SHED};
use crate::otlp::{Cut, Signal};
use crate::stream::{Budget, Reservation, Shed};

/// What is left of a request.
#[derive(Debug)]
pub(super) struct Remains {
    encoding: Encoding,
    pub(super) sheds: Vec<Shed>,
    pub(super) cuts: Vec<Cut>,
    /// Memory for the bytes of either; without it there are none.
    for_sheds: Option<Reservation>,
    for_cuts: Option<Reservation>,
}

impl Remains {
    /// What is not valid of a request.
    pub(super) fn of(encoding: Encoding, cuts: Vec<Cut>) -> Self {
        Self { encoding, sheds: Vec::new(), cuts, for_sheds: None, for_cuts: None }
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
        let Remains { encoding, sheds, cuts, for_sheds, for_cuts } = remains;
        if !sheds.is_empty() {
            bury_sheds(snapshot, signal, sheds, for_sheds);
        }
        if let Some(held) = for_cuts {
            self.bury_cuts(signal, encoding, cuts, held);
        }
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
fn bury_sheds(snapshot: &Snapshot, signal: Signal, sheds: Vec<Shed>, held: Option<Reservation>) {
    let mut letters = Vec::new();
    for shed in sheds {
        let found =
            snapshot.exporters.iter().find(|exporter| Arc::ptr_eq(exporter.registry(), &shed.registry));
        let exporter = found.expect("an entry is shed by an exporter of its snapshot").clone();
        let ending = exporter.registry().count_shed(signal, shed.records, shed.bytes.len() as u64);
        if held.is_some() {
            letters.push((exporter, shed, ending));
        } else {
            exporter.drop_records(&shed.name, shed.records, &shed.full.to_string(), SHED);
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
