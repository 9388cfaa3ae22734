//! Sending one stream, batch after batch: retries, the search for a record that the upstream refuses, the count of
//! how every record ended.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{
    Asker, Backoff, Change, Circuit, Conditions, Exporter, Fate, Outcome, Pass, RetrySettings, Target,
};
use crate::notice;
use crate::otlp;
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
        match otlp::halve(signal, &piece.to_bytes()) {
            Some(halves) => {
                let halves = halves.map(|(bytes, records)| Batch::new(signal, vec![bytes.into()], records));
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
    loop {
        // Made before anything is looked at, so that no change is missed.
        let mut changed = pin!(exporter.changed().notified());
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
                wait_or(changed.as_mut(), wait).await;
                continue;
            }
        };
        let pass = tokio::select! {
            biased;
            pass = leave(&target, stream, retry) => pass,
            () = changed.as_mut() => continue,
            () = backoff.expired(retry) => {
                let reason = "given up: the destination did not answer for as long as it may".to_owned();
                return Settled::Refused(reason, "retries");
            }
        };
        let started = Instant::now();
        let conditions = Conditions {
            hanging: stream.hanging(),
            budget: &stream.registry().shared().budget,
            pass: pass.as_ref(),
        };
        let attempt = active.transport.attempt(&target, piece, conditions);
        let answer = tokio::select! {
            answer = attempt => answer,
            () = given_up(exporter) => continue,
        };
        // The circuit has opened while the attempt waited for its turn.
        let Some(answer) = answer else { continue };
        exporter.counters().duration.observe(started.elapsed().as_secs_f64());
        let sign = answer.sign();
        exporter.counters().count_attempt(answer.code);
        if let Some(pass) = pass {
            note_change(exporter, &target, pass.end(sign), &answer.detail);
        }
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
        // An open circuit knows better than this stream when to ask again, unless the upstream itself has said so.
        let asked = matches!(answer.outcome, Outcome::Retry { after: Some(_) } | Outcome::Hold { .. });
        if asked || !target.circuit().is_some_and(Circuit::is_open) {
            wait_or(changed.as_mut(), wait).await;
        }
    }
}

/// Waits until the destination is worth an attempt, where there is somebody to ask about that. Without retries it is
/// asked in any case.
async fn leave<'a>(target: &'a Target, stream: &Stream, retry: &RetrySettings) -> Option<Pass<'a>> {
    let circuit = target.circuit().filter(|_| retry.enabled)?;
    let identity = std::ptr::from_ref(stream).addr();
    Some(circuit.pass(Asker { stream: identity, in_trouble: stream.is_failing() }).await)
}

fn note_change(exporter: &Exporter, target: &Target, change: Change, detail: &str) {
    let exporter = exporter.name();
    let cause = match change {
        Change::None => return,
        Change::Opened => "circuit opened",
        Change::Closed => "circuit closed",
    };
    let Some(suppressed) = notice::due(exporter, cause) else { return };
    if change == Change::Opened {
        warn!(
            %exporter, %target, suppressed,
            "the destination doesn't answer, so its streams wait while now and then one of them probes: {detail}"
        );
    } else {
        info!(%exporter, %target, suppressed, "the destination answers again, so its streams go on");
    }
}

/// Waits, unless the exporter changes before.
async fn wait_or(changed: Pin<&mut Notified<'_>>, wait: Duration) {
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
