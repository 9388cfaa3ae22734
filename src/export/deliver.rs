//! Sending one stream, batch after batch: retries, the search for a record that the upstream refuses, the count of
//! how every record ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Backoff, Conditions, Exporter, Fate, Outcome};
use crate::notice;
use crate::route::Values as _;
use crate::stream::{Batch, InFlight, Reservation, Stream};

/// If this many pieces of a halved batch have been refused and none taken, the upstream refuses something that all
/// records share; the rest is not tried one by one.
const HOPELESS: u32 = 16;

/// Takes batches from a stream until it has none.
pub(super) async fn consume(exporter: Arc<Exporter>, stream: Arc<Stream>) {
    while let Some(in_flight) = stream.next().await {
        // Boxed, so that a stream that only waits for its batch to fill doesn't hold room for an attempt.
        Box::pin(deliver(&exporter, &stream, in_flight)).await;
    }
}

/// How one piece of a batch ended.
enum Settled {
    /// Taken, but for `rejected` records.
    Delivered { rejected: u64 },
    /// Refused as bad: a smaller piece may pass.
    Bad(String),
    /// Refused for good.
    Refused(String, &'static str),
}

/// Brings every record of a batch to its end, in order.
async fn deliver(exporter: &Exporter, stream: &Stream, in_flight: InFlight) {
    let batch = in_flight.batch();
    let signal = batch.signal();
    exporter.counters().batch_bytes.observe(batch.len() as f64);
    let mut pieces = vec![batch.clone()];
    let mut copies = Reservation::empty(stream.registry().shared().budget.clone());
    let (mut refused, mut taken) = (0, false);
    while let Some(piece) = pieces.pop() {
        let reason = match settle(exporter, stream, &piece).await {
            Settled::Delivered { rejected } => {
                taken = true;
                exporter.count(signal, Fate::Delivered, piece.records() - rejected);
                exporter.count(signal, Fate::Rejected, rejected);
                stream.count_delivered(piece.records() - rejected);
                continue;
            }
            Settled::Refused(reason, cause) => {
                bury(exporter, stream, &[piece], &reason, cause).await;
                continue;
            }
            Settled::Bad(reason) => reason,
        };
        refused += 1;
        // The whole batch was the first try; only its pieces count.
        if !taken && refused > HOPELESS {
            pieces.push(piece);
            pieces.reverse();
            let reason = format!("{reason} (the first {HOPELESS} pieces of the batch were all refused)");
            bury(exporter, stream, &std::mem::take(&mut pieces), &reason, "refused").await;
            continue;
        }
        match piece.halve() {
            Some(halves) => {
                pieces.extend(halves.into_iter().rev());
                copies.charge_spare(pieces.iter().map(|piece| piece.len() as u64).sum());
            }
            None => bury(exporter, stream, &[piece], &reason, "refused").await,
        }
    }
    if stream.set_failing(false)
        && taken
        && let Some(suppressed) = notice::due(exporter.name(), "recovered")
    {
        let key = stream.name().routing_key();
        info!(exporter = %exporter.name(), %signal, key, suppressed, "stream delivers again");
    }
}

/// Tries one piece until the upstream has taken or refused it.
async fn settle(exporter: &Exporter, stream: &Stream, piece: &Batch) -> Settled {
    let mut backoff = Backoff::new();
    let conditions = Conditions { hanging: stream.hanging(), budget: &stream.registry().shared().budget };
    loop {
        // Made before anything is looked at, so that no change is missed.
        let changed = exporter.changed().notified();
        if exporter.is_given_up() {
            return Settled::Refused("given up before it could be delivered".to_owned(), "given_up");
        }
        let active = exporter.active_for(stream.name());
        let retry = &active.settings.retry;
        let target = match active.transport.target(stream.name()) {
            Ok(target) => target,
            // There was one when it was admitted, so that a reload has taken it away and another can bring it back.
            Err(error) => {
                let wait = backoff.hold_wait(retry, None);
                failing(exporter, stream, Failure::NoTarget, &error.to_string(), wait);
                wait_or(changed, wait).await;
                continue;
            }
        };
        let started = Instant::now();
        let attempt = active.transport.attempt(&target, piece, conditions);
        let answer = tokio::select! {
            answer = attempt => answer,
            () = given_up(exporter) => continue,
        };
        exporter.counters().duration.observe(started.elapsed().as_secs_f64());
        exporter.counters().count_attempt(answer.code);
        let (failure, wait) = match answer.outcome {
            Outcome::Delivered { rejected, warning } => {
                if rejected > 0 || warning {
                    note(exporter, stream, "partial success", &answer.detail, rejected);
                }
                return Settled::Delivered { rejected };
            }
            Outcome::Bad => return Settled::Bad(answer.detail),
            Outcome::Refused => return Settled::Refused(answer.detail, "refused"),
            Outcome::Retry { after } => match backoff.next_wait(retry, after) {
                Some(wait) => (Failure::Passing, wait),
                None => {
                    return Settled::Refused(format!("given up after retries: {}", answer.detail), "retries");
                }
            },
            Outcome::Hold { after } => (Failure::Held, backoff.hold_wait(retry, after)),
        };
        failing(exporter, stream, failure, &answer.detail, wait);
        wait_or(changed, wait).await;
    }
}

/// Waits, unless the exporter changes before.
async fn wait_or(changed: Notified<'_>, wait: Duration) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = changed => {}
    }
}

/// Ready once the exporter is given up.
async fn given_up(exporter: &Exporter) {
    loop {
        let changed = exporter.changed().notified();
        if exporter.is_given_up() {
            return;
        }
        changed.await;
    }
}

/// Why a piece is still there.
#[derive(Clone, Copy)]
enum Failure {
    /// What ends by itself.
    Passing,
    /// The destination is wrong.
    Held,
    /// There is no destination.
    NoTarget,
}

fn failing(exporter: &Exporter, stream: &Stream, failure: Failure, detail: &str, wait: Duration) {
    stream.set_failing(true);
    let cause = match failure {
        Failure::Passing => "retry",
        Failure::Held => "held",
        Failure::NoTarget => "target",
    };
    let Some(suppressed) = notice::due(exporter.name(), cause) else { return };
    let (name, signal, key) = (exporter.name(), stream.name().signal(), stream.name().routing_key());
    match failure {
        Failure::Passing => {
            warn!(exporter = %name, %signal, key, ?wait, suppressed, "attempt failed and will be repeated: {detail}");
        }
        Failure::Held => error!(
            exporter = %name, %signal, key, ?wait, suppressed,
            "the destination refuses us, not the data, so the stream is held: check its endpoint and credentials: {detail}"
        ),
        Failure::NoTarget => error!(
            exporter = %name, %signal, key, ?wait, suppressed,
            "since a reload the exporter has no destination for what is queued, so the stream is held: {detail}"
        ),
    }
}

fn note(exporter: &Exporter, stream: &Stream, cause: &'static str, detail: &str, rejected: u64) {
    if let Some(suppressed) = notice::due(exporter.name(), cause) {
        warn!(
            exporter = %exporter.name(), signal = %stream.name().signal(), key = stream.name().routing_key(),
            rejected, suppressed, "upstream answered with a reservation: {detail}"
        );
    }
}

/// Makes one dead letter of consecutive pieces.
async fn bury(exporter: &Exporter, stream: &Stream, pieces: &[Batch], reason: &str, cause: &'static str) {
    let bytes = pieces.iter().flat_map(Batch::chunks).cloned().collect();
    let records = pieces.iter().map(Batch::records).sum();
    exporter.bury(stream.name(), bytes, records, reason, cause).await;
}
