//! How much work it is to admit a request.

use super::aside::MOST_OF_A_WORKER;
use super::snapshot::ConfigSnapshot;
use crate::tap::RecordObserver;
use otlp::{self, Signal};

/// Memory that an entry takes on its way from the request to the queues, its own bytes not counted: more than its two
/// bytes at the least, so that a request of nothing but empty entries would take a hundred times its size.
pub(super) const ENTRY_OVERHEAD: usize = 192;

/// The most bytes of a body of which a worker edits entries in any case. In few bytes an attribute can be there many times, and get the
/// value of another each time: of so many, three megabytes come of it at most, where that other takes half of them and each of these five.
const MOST_EDITED_BY_A_WORKER: usize = 8 * 1024;

/// Whether it takes more than a few milliseconds to split and edit a request, and to copy it into queues.
pub(super) fn takes_long(
    snapshot: &ConfigSnapshot,
    observer: &RecordObserver,
    signal: Signal,
    body: &[u8],
) -> bool {
    body.len() > MOST_OF_A_WORKER
        || otlp::count_entries(body) * ENTRY_OVERHEAD > MOST_OF_A_WORKER
        || snapshot.routes.most_matched(signal, body) > MOST_OF_A_WORKER
        || (body.len() > MOST_EDITED_BY_A_WORKER
            && snapshot.routes.most_edited(signal, body) > MOST_OF_A_WORKER)
        || (snapshot.routes.looks_at_records(signal)
            && otlp::most_partitioned(signal, body) > MOST_OF_A_WORKER)
        || is_long_observed(snapshot, observer, signal, body)
}

/// Whether it takes long to look at the records of a request for watches and taps, as it is edited and partitioned.
fn is_long_observed(
    snapshot: &ConfigSnapshot,
    observer: &RecordObserver,
    signal: Signal,
    body: &[u8],
) -> bool {
    let passes = observer.most_passes(signal);
    if passes == 0 {
        return false;
    }
    let mut bytes = body.len().max(snapshot.routes.most_edited(signal, body));
    if snapshot.routes.looks_at_records(signal) {
        bytes = bytes.max(otlp::most_partitioned(signal, body));
    }
    bytes.saturating_mul(passes) > MOST_OF_A_WORKER
}
