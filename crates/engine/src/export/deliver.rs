//! Sending one stream, batch after batch: retries, the search for a record that the upstream refuses, the count of
//! how every record ended.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::future::maybe_done;
use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, error, info, warn};

use super::attempt_span::{AttemptMade, AttemptSpan};
use super::division::Division;
use super::exporter::Attempting;
use super::holds::HeldStream;
use super::pieces::{Pieces, Taken, Unreadable};
use super::tenant_row::{alternatives, is_given_up, lacking_row, row_changed};
use super::unanswered::note_unanswered;
use super::{
    Answer, Asker, Change, Conditions, Exporter, Fate, HoldScope, Outcome, Pass, Target, UndeliveredCause,
};
use crate::backoff::{AskedWait, Backoff, RetrySettings};
use crate::client::Secrets;
use crate::notice;
use crate::stream::{
    Activity, Batch, DecisionDetails, InFlight, LastError, Reservation, Stream, StreamAttempt,
};
use crate::telemetry::LogScope;
use crate::tenants::TenantFailure;

/// Takes batches from a stream until it has none.
pub(super) async fn consume(exporter: Arc<Exporter>, stream: Arc<Stream>) {
    let mut backoff = Some(Backoff::new());
    while let Some(next) = backoff {
        backoff = if stream.has_own_telemetry() {
            // Boxed and begun here, so that streams of others, which may be a million, hold no room for it.
            Box::pin(LogScope::Withheld.of(consume_next(&exporter, &stream, next))).await
        } else {
            consume_next(&exporter, &stream, next).await
        };
    }
}

/// Takes and delivers the next batch. Returns the backoff for the one behind it; `None` if there is none for now.
async fn consume_next(exporter: &Exporter, stream: &Arc<Stream>, backoff: Backoff) -> Option<Backoff> {
    let Some(in_flight) = stream.next().await else {
        log_decision(stream, None, None, "stream has nothing left to send");
        return None;
    };
    // Boxed, so that a stream that only waits for its batch to fill doesn't hold room for an attempt.
    let next = Box::pin(deliver(exporter, stream, in_flight, backoff)).await;
    if next.is_none() {
        log_decision(stream, None, None, "the journal keeps what is left of the stream");
    }
    next
}

/// Logs what is decided about a stream, for how long and for what reason, for those who want to know each time.
fn log_decision(stream: &Stream, reason: Option<&str>, wait: Option<Duration>, decision: &str) {
    let wait = wait.filter(|wait| *wait != FOR_EVER);
    stream.log_decision(decision, DecisionDetails { reason, wait, ..DecisionDetails::default() });
}

/// Batches that are given up are joined to letters of `max_size`, and of no more bytes than this.
const JOINED_LETTER: usize = 4 << 20;

/// The code of streams for which the exporter has no destination.
const NO_TARGET: &str = "no_destination";

/// The code of streams that wait for a row of their tenant.
const NO_ROW: &str = "no_row";

/// The reason of dead letters of a tenant that was removed.
pub const TENANT_REMOVED: &str = "its tenant was removed before it could be delivered";

/// What is paused waits for a change.
const FOR_EVER: Duration = Duration::MAX;

/// How long to wait before the journal is read again after an error.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// How one piece of a batch ended.
enum Settled {
    /// Taken, and what the upstream said about it.
    Delivered(Taken),
    /// Refused as bad: a smaller piece may pass.
    Bad(String),
    /// Refused for good.
    Refused(String, UndeliveredCause),
    /// The process ends; what is left is in the journal.
    Suspended,
    /// Nothing is left of the batch: those who waited for it do so no more.
    Withdrawn,
    /// The next piece was given back to the senders that waited for it, who are told why.
    GivenBack,
}

/// Brings every record of a batch to its end, in order. Returns the backoff that the next batch begins with: after one
/// that was withdrawn the upstream is as it was. `None`: the process ends, and the rest stays in the journal.
async fn deliver(
    exporter: &Exporter,
    stream: &Stream,
    in_flight: InFlight,
    mut backoff: Backoff,
) -> Option<Backoff> {
    let signal = in_flight.batch().signal();
    if !in_flight.is_on_disk() {
        exporter.counters().batch_bytes.observe(in_flight.batch().len() as f64);
    }
    let copies = Reservation::empty(stream.registry().shared().budget.clone());
    let mut pieces = Pieces::of(in_flight, copies);
    let mut division = Division::default();
    let (mut any_delivered, mut any_failed) = (false, false);
    while !pieces.is_empty() {
        if let Some(early) = pieces.next_was_taken().cloned() {
            let records = pieces.next().map_or(0, Batch::records);
            if division.repeats_sample() && early.rejected < records {
                pieces.repeat_next();
            } else {
                delivered(exporter, stream, &mut pieces, early);
                continue;
            }
        }
        let started = Instant::now();
        // Until what it has come to is noted in the journal: that must not close before.
        let mut attempting = None;
        let settled = settle(exporter, stream, &mut pieces, &mut backoff, &mut attempting).await;
        let (reason, cause) = match settled {
            Settled::Delivered(said) if pieces.has_sample() => {
                division.sample_taken();
                pieces.sample_taken(said);
                any_delivered = true;
                backoff = backoff.for_next_piece();
                continue;
            }
            Settled::Delivered(said) => {
                any_delivered = true;
                division.delivered();
                delivered(exporter, stream, &mut pieces, said);
                backoff = backoff.for_next_piece();
                continue;
            }
            Settled::Refused(_, cause) if pieces.has_sample() && !cause.is_the_upstreams() => {
                // Says nothing about records. What is left meets the same in its turn.
                pieces.end_sample();
                continue;
            }
            Settled::Refused(reason, cause) if !pieces.has_sample() => {
                any_failed = true;
                // Nobody has refused it: a sender that waits still has it, and is to send it again.
                if !cause.is_the_upstreams() && give_back(exporter, stream, &mut pieces, &reason).await {
                    // What is next for this upstream waits on, and has its own time.
                    backoff = backoff.for_another();
                    continue;
                }
                if cause == UndeliveredCause::GivenUp {
                    // What waits behind it would meet the same: a letter for each batch would only take longer to write.
                    let most = stream.registry().settings().batch.max_size;
                    pieces.join_waiting(most.min(JOINED_LETTER));
                }
                bury(exporter, stream, &mut pieces, 1, &reason, cause).await;
                backoff = backoff.for_next_piece();
                continue;
            }
            Settled::Withdrawn => {
                backoff = backoff.for_another();
                break;
            }
            Settled::GivenBack => {
                backoff = backoff.for_another();
                continue;
            }
            Settled::Suspended => {
                pieces.put_back();
                return None;
            }
            Settled::Refused(reason, cause) => (reason, cause),
            Settled::Bad(reason) => (reason, UndeliveredCause::Refused),
        };
        let attempt = started.elapsed();
        backoff = backoff.for_next_piece();
        any_failed = true;
        division.refused(pieces.has_sample());
        if pieces.has_sample() {
            pieces.end_sample();
        } else if pieces.halve() {
            log_decision(stream, Some(&reason), None, "batch divided in halves");
        } else {
            bury(exporter, stream, &mut pieces, 1, &reason, cause).await;
        }
        if division.is_hopeless() {
            let reason = format!(
                "{reason} (everything else of the batch that was tried was refused, records from all over it among it)"
            );
            bury(exporter, stream, &mut pieces, usize::MAX, &reason, cause).await;
        } else if let Some(record) = division.next_sample(pieces.records()) {
            pieces.try_sample(record);
        }
        if let Some(pause) = division.pause(attempt) {
            let changed = pin!(exporter.changed().notified());
            wait_or(changed, pause, exporter, stream, &mut pieces).await;
        }
    }
    if !any_delivered {
        // All of it was refused, given up or given back: nothing shows that the next batch will fare better.
        if any_failed {
            stream.set_failing(true);
        }
    } else if stream.set_failing(false)
        && let key = &stream.name().key
        && let Some(suppressed) = notice::due_for_one_of_many(&(exporter.name(), signal, key), "recovered")
    {
        info!(exporter = %exporter.name(), %signal, key = &*key.text(), tenant = key.tenant(), suppressed, "stream delivers again");
    }
    Some(backoff.for_another())
}

/// Notes how an attempt went, for those who look at the stream, its exporter or its tenant.
fn note_attempt(
    exporter: &Exporter,
    stream: &Stream,
    target: &Target,
    piece: &Batch,
    is_part: bool,
    answer: &Answer,
    took: Duration,
) {
    let failed = !matches!(answer.outcome, Outcome::Delivered { rejected: 0, .. });
    stream.note_attempt(failed, || StreamAttempt {
        failed,
        stream: stream.address(),
        at: SystemTime::now(),
        code: answer.code.clone(),
        target: shown_target(target),
        took,
        bytes: piece.len() as u64,
        records: piece.records(),
        is_part,
        message: answer.detail.as_str().into(),
    });
    if let Outcome::Delivered { .. } = answer.outcome {
        let at = SystemTime::now();
        stream.note(|history| history.last_success = Some(at));
        if let Some(account) = stream.account() {
            account.totals().note_success(at);
        }
        if !failed {
            return;
        }
    } else {
        stream.count_failed_attempt();
        if let Some(account) = stream.account() {
            account.totals().count_failed_attempt(stream.name().signal);
        }
    }
    note_error(exporter, stream, error_of(target, answer));
}

/// As short as a message of the log: what it is made of may come from senders.
fn shown_target(target: &Target) -> Box<str> {
    Secrets::default().clean(&target.to_string()).into()
}

/// What an answer that is no full success says, for those who look at the stream.
fn error_of(target: &Target, answer: &Answer) -> LastError {
    LastError {
        code: answer.code.clone(),
        message: answer.detail.as_str().into(),
        target: Some(shown_target(target)),
        at: SystemTime::now(),
        of_destination: matches!(answer.outcome, Outcome::Retry { .. } | Outcome::Hold { .. }),
        of_stream: None,
    }
}

/// Notes what went wrong, for those who look at the stream or at its tenant.
fn note_error(exporter: &Exporter, stream: &Stream, error: LastError) {
    if let Some(account) = stream.account() {
        account.totals().note_failure(TenantFailure {
            exporter: exporter.name().clone(),
            signal: stream.name().signal,
            code: error.code.clone(),
            message: error.message.clone(),
            at: error.at,
        });
    }
    exporter.last_errors().note(stream.name(), &error);
    stream.note(|history| history.last_error = Some(Box::new(error)));
}

/// Shows of a stream that is held for the answer to another why that is so. The stream that was answered has noted it already.
fn note_held(stream: &Stream, answer: Box<LastError>) {
    if answer.of_stream.as_ref() != Some(stream.name()) {
        stream.note(|history| history.last_error = Some(answer));
    }
}

/// Counts and ends the next piece, which the upstream has taken.
fn delivered(exporter: &Exporter, stream: &Stream, pieces: &mut Pieces, Taken { rejected, remark }: Taken) {
    // Not before the end of the attempts: what was withdrawn until the last of them is in it no more.
    let records = pieces.next().map_or(0, Batch::records);
    // What was withdrawn since a sample was taken may have been among the rejected.
    let rejected = rejected.min(records);
    exporter.count(stream.name(), Fate::Delivered, records - rejected);
    exporter.count(stream.name(), Fate::Rejected, rejected);
    stream.note(|history| {
        history.delivered_records += records - rejected;
        history.rejected_records += rejected;
    });
    let fate = if rejected > 0 { Fate::Rejected } else { Fate::Delivered };
    pieces.end((rejected, fate), &remark);
}

/// Tries the next piece until the upstream has taken or refused it.
/// An attempt that has ended it is `attempting` still.
async fn settle<'e>(
    exporter: &'e Exporter,
    stream: &Stream,
    pieces: &mut Pieces,
    backoff: &mut Backoff,
    attempting: &mut Option<Attempting<'e>>,
) -> Settled {
    // Credentials of the row that were refused one after the other.
    let mut refused_credentials = 0;
    let (mut attempts, mut last_code) = (0, None::<Cow<'static, str>>);
    // Until the batch may go on: while it only looks again whether it may, it is held as before.
    let mut held = None;
    'again: loop {
        *attempting = None;
        let values = exporter.with_row(stream.name());
        // Made before anything is looked at, so that no change is missed.
        let reconfigured = exporter.changed().notified();
        let row_changed = row_changed(exporter.tenants(), stream, values.row.as_ref());
        // Ready for good once something has changed: who waits later must not miss what came during the attempt.
        let mut changed = pin!(maybe_done(async {
            tokio::select! {
                () = reconfigured => {}
                () = row_changed => {}
            }
        }));
        withdraw(exporter, stream, pieces);
        if pieces.is_empty() {
            return Settled::Withdrawn;
        }
        if exporter.is_suspended() {
            return Settled::Suspended;
        }
        // A tenant whose row is back is given up no more: its data is delivered.
        if is_given_up(&exporter.tenants().table(), stream) {
            return Settled::Refused(TENANT_REMOVED.to_owned(), UndeliveredCause::GivenUp);
        }
        if exporter.gives_up(stream) {
            return Settled::Refused(
                "given up before it could be delivered".to_owned(),
                UndeliveredCause::GivenUp,
            );
        }
        if exporter.is_paused() {
            drop(held.take());
            put_back(pieces);
            log_decision(stream, Some("its exporter was removed"), None, "stream paused");
            wait_blameless(changed.as_mut(), FOR_EVER, exporter, stream, pieces, backoff).await;
            continue;
        }
        if values.row.as_ref().is_some_and(|row| row.hold) {
            put_back(pieces);
            held = Some(stream.hold_batch());
            log_decision(stream, Some("the row of its tenant says so"), None, "stream held");
            wait_blameless(changed.as_mut(), FOR_EVER, exporter, stream, pieces, backoff).await;
            log_decision(stream, None, None, "stream looks again whether it may go on");
            continue;
        }
        let has_row = values.row.is_some();
        let lacking = if has_row { None } else { lacking_row(&exporter.tenants().table(), stream) };
        if let Some(lacking) = lacking {
            put_back(pieces);
            let (code, message, at) = (NO_ROW.into(), lacking.to_string().into(), SystemTime::now());
            let noted = LastError { code, message, target: None, at, of_destination: true, of_stream: None };
            log_decision(stream, Some(&noted.message), None, "stream held");
            stream.note(|history| history.last_error = Some(Box::new(noted)));
            held = Some(stream.begin_own_hold());
            wait_blameless(changed.as_mut(), FOR_EVER, exporter, stream, pieces, backoff).await;
            log_decision(stream, None, None, "stream looks again whether it may go on");
            continue;
        }
        // Made before looking, so that no change is missed.
        let holds_changed = exporter.holds().changed();
        // Before the settings are looked at, so that an answer to an attempt by former ones holds nobody.
        let hold_pass = match exporter.holds().pass(stream.name(), values.row.as_ref()) {
            Ok(hold_pass) => hold_pass,
            Err(HeldStream { wait, answer }) => {
                let reason = answer.as_ref().map_or("an operator holds it", |answer| &*answer.message);
                log_decision(stream, Some(reason), Some(wait), "stream held");
                if let Some(answer) = answer {
                    note_held(stream, answer);
                    let retries = exporter.active().settings.retry.enabled;
                    let reason =
                        "the stream is held because its destination has refused this stream or another one";
                    if !retries && stream.is_waited_for() && give_back(exporter, stream, pieces, reason).await
                    {
                        return Settled::GivenBack;
                    }
                }
                put_back(pieces);
                held = Some(stream.hold_batch());
                let changed = pin!(either(changed.as_mut(), holds_changed));
                wait_blameless(changed, wait, exporter, stream, pieces, backoff).await;
                log_decision(stream, None, None, "stream looks again whether it may go on");
                continue;
            }
        };
        let active = Arc::clone(&exporter.active());
        let retry = &active.settings.retry;
        let is_tenants = stream.account().is_some();
        let target = active.transport.target(&values).map_err(|error| match error {
            error if error.is_of_row() && is_tenants && !has_row => {
                format!("there is no row of this tenant, which the exporter reads: {error}")
            }
            error => error.to_string(),
        });
        let target = match target {
            Ok(target) => target,
            // There was one when it was admitted, so that a reload or a change of the row has taken it away, and another can
            // bring it back.
            Err(error) => {
                drop(hold_pass);
                let wait = backoff.hold_wait(retry, None).length;
                let noted = LastError {
                    code: NO_TARGET.into(),
                    message: error.as_str().into(),
                    target: None,
                    at: SystemTime::now(),
                    of_destination: true,
                    of_stream: None,
                };
                note_error(exporter, stream, noted);
                // What nobody waits for is not read from disk for that.
                let given_back = !retry.enabled
                    && stream.is_waited_for()
                    && give_back(exporter, stream, pieces, &error).await;
                failing(exporter, stream, None, Failure::NoTarget { given_back }, NO_TARGET, &error, wait);
                if given_back {
                    return Settled::GivenBack;
                }
                if pieces.hinder() {
                    put_back(pieces);
                }
                let wanted_now = stream.wanted_now();
                held = Some(stream.begin_own_hold());
                let ended = pin!(either(changed.as_mut(), wanted_now));
                wait_or(ended, wait, exporter, stream, pieces).await;
                continue;
            }
        };
        drop(held.take());
        let pass = {
            let mut leave = pin!(leave(&target, stream, retry));
            let mut expired = pin!(backoff.expired(retry));
            loop {
                // Made before looking, so that no withdrawal is missed.
                let withdrawal = stream.withdrawal().notified();
                withdraw(exporter, stream, pieces);
                if pieces.is_empty() {
                    return Settled::Withdrawn;
                }
                if stream.is_given_up() {
                    continue 'again;
                }
                tokio::select! {
                    biased;
                    pass = leave.as_mut() => break pass,
                    () = changed.as_mut() => continue 'again,
                    () = expired.as_mut() => {
                        *attempting = Some(exporter.attempting());
                        if exporter.is_suspended() {
                            continue 'again;
                        }
                        let reason = "given up: the destination did not answer for as long as it may".to_owned();
                        return Settled::Refused(reason, UndeliveredCause::Retries);
                    }
                    () = withdrawal => {}
                }
            }
        };
        match pieces.read().await {
            Ok(false) => {}
            Ok(true) => {
                withdraw(exporter, stream, pieces);
                exporter.counters().batch_bytes.observe(pieces.next().map_or(0, Batch::len) as f64);
            }
            Err(Unreadable) => {
                // Another stream may have something to send meanwhile.
                drop((pass, hold_pass));
                wait_blameless(changed.as_mut(), READ_AGAIN, exporter, stream, pieces, backoff).await;
                continue;
            }
        }
        let Some(piece) = pieces.next().cloned() else { continue };
        let (started, begun) = (Instant::now(), OnceLock::new());
        let before = (attempts, last_code.as_deref());
        let made = AttemptMade { exporter, stream, target: &target, piece: &piece, before };
        let span = AttemptSpan::new(&made, pieces.links());
        let conditions = Conditions {
            hanging: stream.hanging(),
            redaction: &stream.registry().shared().redaction,
            budget: &stream.registry().shared().budget,
            pass: pass.as_ref(),
            begun: &begun,
            span: span.as_ref().map(AttemptSpan::open),
        };
        *attempting = Some(exporter.attempting());
        stream.set_activity(Activity::Sending);
        let answer = {
            let mut attempt = pin!(active.transport.attempt(&target, &piece, conditions));
            let mut unanswered = pin!(note_unanswered(exporter, stream, &target, &begun));
            let mut has_changed = false;
            loop {
                let (withdrawal, paused) = (stream.withdrawal().notified(), exporter.changed().notified());
                let stands_in_line = begun.get().is_none();
                // Looked at now that whoever suspends it waits for the attempt.
                let stays = exporter.is_suspended() || exporter.is_paused();
                // After a change it goes by other settings, or by another row of its tenant. An attempt that has begun goes on:
                // the upstream may have the batch already.
                if stands_in_line && (stays || has_changed || pieces.next_is_withdrawn()) {
                    break None;
                }
                tokio::select! {
                    answer = attempt.as_mut() => break answer,
                    never = unanswered.as_mut() => match never {},
                    () = given_up(exporter, stream) => break None,
                    () = withdrawal, if stands_in_line => {}
                    () = paused, if stands_in_line => {}
                    // Only noted: the attempt may have begun while this was waited for.
                    () = changed.as_mut(), if stands_in_line => has_changed = true,
                }
            }
        };
        stream.set_activity(Activity::Waiting);
        // Given up, withdrawn or not to begin any more; or the circuit has opened while the attempt waited for its turn.
        let Some(answer) = answer else {
            // It may wait for long now, and those who are to try have to read.
            if pieces.hinder() && !exporter.gives_up(stream) {
                put_back(pieces);
            }
            continue;
        };
        let duration = started.elapsed();
        attempts += 1;
        if let Some(span) = span {
            span.answered(&answer);
        }
        last_code = Some(answer.code.clone());
        debug!(
            exporter = %exporter.name(), signal = %stream.name().signal, key = &*stream.name().key.text(),
            tenant = stream.name().key.tenant(), %target, attempt = attempts, bytes = piece.len(), records = piece.records(), code = &*answer.code, ?duration,
            outcome = answer.outcome.name(), "attempt made{}{}", if answer.detail.is_empty() { "" } else { ": " }, answer.detail
        );
        exporter.counters().duration.observe(duration.as_secs_f64());
        // The circuit may stand in for the wait after a stream's first failure, and after a probe. Not later: while others
        // are answered it may close again and again.
        let trusts_circuit = backoff.is_new() || pass.as_ref().is_some_and(Pass::is_probe);
        let credentials_of = values.row.as_ref().filter(|_| is_of_credential(&answer.code));
        let several = credentials_of.map_or(1, |row| alternatives(&active.settings, row));
        let has_another_credential = refused_credentials + 1 < several;
        let (least, mut held_scope) = (answer.least, HoldScope::Stream);
        let wait = match answer.outcome {
            Outcome::Delivered { .. } => {
                hold_pass.delivered();
                None
            }
            Outcome::Retry { after } => {
                drop(hold_pass);
                Some(backoff.next_wait(retry, AskedWait { after, least }))
            }
            Outcome::Hold { scope, after } => {
                let asked = AskedWait { after, least };
                // Others are held once all credentials were refused.
                let is_alone = scope.of(stream.name()) == HoldScope::Stream || has_another_credential;
                let of_all = if is_alone {
                    drop(hold_pass);
                    None
                } else {
                    hold_pass.refused(scope, retry, asked, error_of(&target, &answer))
                };
                if of_all.is_some() {
                    held_scope = scope;
                }
                Some(of_all.unwrap_or_else(|| backoff.hold_wait(retry, asked)))
            }
            Outcome::Bad | Outcome::Refused | Outcome::Unwanted => {
                hold_pass.answered();
                let is_time = backoff.has_failed_for(least);
                let wait = (!is_time).then(|| backoff.next_wait(retry, None));
                wait.filter(|wait| wait.worthwhile)
            }
        };
        if !matches!(answer.outcome, Outcome::Hold { .. } | Outcome::Retry { .. }) {
            stream.end_own_hold();
        }
        let wished = wait.is_some_and(|wait| wait.wished);
        let sign = answer.sign(wished);
        note_attempt(exporter, stream, &target, &piece, pieces.next_is_part(), &answer, duration);
        let failed = !matches!(answer.outcome, Outcome::Delivered { .. });
        exporter.counters().count_attempt(answer.code.clone(), failed);
        if let Some(pass) = pass {
            note_change(exporter, &target, pass.end(sign, answer.code.clone()), &answer.detail);
        }
        let (failure, wait) = match (answer.outcome, wait) {
            (Outcome::Delivered { rejected, warning }, _) => {
                if rejected > 0 || warning {
                    note(exporter, stream, &target, "partial success", &answer.detail, rejected);
                }
                let remark = if rejected > 0 {
                    format!(
                        "{rejected} of {} sent together were rejected: {}",
                        piece.records(),
                        answer.detail
                    )
                } else {
                    answer.detail
                };
                return Settled::Delivered(Taken { rejected, remark });
            }
            (Outcome::Bad, None) => return Settled::Bad(answer.detail),
            (Outcome::Refused, None) => return Settled::Refused(answer.detail, UndeliveredCause::Refused),
            (Outcome::Unwanted, None) => return Settled::Refused(answer.detail, UndeliveredCause::Unwanted),
            (Outcome::Bad | Outcome::Refused | Outcome::Unwanted, Some(wait)) => {
                (Failure::Passing, wait.length)
            }
            (Outcome::Retry { .. }, Some(wait)) if wait.worthwhile => (Failure::Passing, wait.length),
            (Outcome::Hold { .. }, Some(wait)) => {
                (Failure::Held { scope: held_scope, given_back: false }, wait.length)
            }
            (Outcome::Retry { .. } | Outcome::Hold { .. }, _) => {
                let why = if retry.enabled {
                    "given up after retries"
                } else {
                    "not delivered, and retries are off"
                };
                return Settled::Refused(format!("{why}: {}", answer.detail), UndeliveredCause::Retries);
            }
        };
        drop(piece);
        if let Some(row) = credentials_of {
            exporter.credentials().leave(row, values.choice.min(several - 1), several);
            if has_another_credential {
                refused_credentials += 1;
                let (name, signal, key) = (exporter.name(), stream.name().signal, &stream.name().key);
                if let Some(suppressed) = notice::due_for_one_of_many(&(name, &row.id), "next credential") {
                    info!(
                        exporter = %name, %signal, key = &*key.text(), tenant = &*row.id, %target, code = &*answer.code, suppressed,
                        "the destination refuses this credential of the tenant, so the next one is tried: {}", answer.detail
                    );
                }
                continue;
            }
        }
        refused_credentials = 0;
        // What is held is tried again although retries are off, but no sender waits for that.
        if let Failure::Held { scope, .. } = failure
            && !retry.enabled
            && give_back(exporter, stream, pieces, &answer.detail).await
        {
            let failure = Failure::Held { scope, given_back: true };
            failing(exporter, stream, Some(&target), failure, &answer.code, &answer.detail, wait);
            return Settled::GivenBack;
        }
        *attempting = None;
        // An open circuit knows better than this stream when to ask again, unless the upstream itself or the configuration has said
        // so.
        let is_own = !wished && least.is_zero();
        let by_circuit = trusts_circuit && is_own && matches!(answer.outcome, Outcome::Retry { .. });
        let probe = target.circuit().and_then(|circuit| circuit.state().until_probe()).filter(|_| by_circuit);
        failing(
            exporter,
            stream,
            Some(&target),
            failure,
            &answer.code,
            &answer.detail,
            probe.unwrap_or(wait),
        );
        if pieces.hinder() {
            put_back(pieces);
        }
        // Waits with the others.
        if let Failure::Held { scope: HoldScope::Tenant | HoldScope::Exporter, .. } = failure {
            continue;
        }
        if probe.is_none() {
            let wanted_now = stream.wanted_now();
            if matches!(failure, Failure::Passing) {
                stream.set_activity(Activity::BackingOff);
            } else {
                held = Some(stream.begin_own_hold());
            }
            let ended = pin!(either(changed.as_mut(), wanted_now));
            wait_or(ended, wait, exporter, stream, pieces).await;
            log_decision(stream, None, None, "stream goes on with its next attempt");
            stream.set_activity(Activity::Waiting);
        }
    }
}

/// Leaves what is on disk there, or at least its room to read in to others.
fn put_back(pieces: &mut Pieces) {
    if !pieces.put_back() {
        pieces.leave_reading_room();
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
    let Some(suppressed) = notice::due_for_one_of_many(&(exporter, target.to_string()), cause) else {
        return;
    };
    if change == Change::Opened {
        warn!(
            %exporter, %target, suppressed,
            "the destination takes nothing, so its streams wait while now and then one of them probes: {detail}"
        );
    } else {
        info!(%exporter, %target, suppressed, "the destination takes data again, so its streams go on");
    }
}

/// Takes out of a batch, between two attempts, what nobody waits for any more.
fn withdraw(exporter: &Exporter, stream: &Stream, pieces: &mut Pieces) {
    count_withdrawn(exporter, stream, pieces.withdraw());
}

fn count_withdrawn(exporter: &Exporter, stream: &Stream, records: u64) {
    if records > 0 {
        exporter.withdraw(stream.name(), records);
    }
}

/// Waits, unless something that ends the wait has `changed` before, or the stream is given up. What is withdrawn meanwhile
/// doesn't wait as long; if nothing is left, the wait goes on all the same, since the next batch would only meet the same upstream.
async fn wait_or(
    changed: Pin<&mut impl Future<Output = ()>>,
    wait: Duration,
    exporter: &Exporter,
    stream: &Stream,
    pieces: &mut Pieces,
) {
    let mut waited = pin!(either(tokio::time::sleep(wait), changed));
    loop {
        let more = {
            // Made before looking, so that no withdrawal is missed.
            let withdrawal = stream.withdrawal().notified();
            withdraw(exporter, stream, pieces);
            if stream.is_given_up() {
                return;
            }
            tokio::select! {
                () = waited.as_mut() => false,
                () = withdrawal => true,
            }
        };
        if !more {
            return;
        }
    }
}

/// Ready once one of the two is.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// As [`wait_or`], for what the upstream is not to blame for: that time is none of `max_elapsed_time`.
async fn wait_blameless(
    changed: Pin<&mut impl Future<Output = ()>>,
    wait: Duration,
    exporter: &Exporter,
    stream: &Stream,
    pieces: &mut Pieces,
    backoff: &mut Backoff,
) {
    wait_or(changed, wait, exporter, stream, pieces).await;
    *backoff = std::mem::take(backoff).for_another();
}

/// Ready once the stream is given up, or all of its exporter.
async fn given_up(exporter: &Exporter, stream: &Stream) {
    loop {
        let (changed, withdrawal) = (exporter.changed().notified(), stream.withdrawal().notified());
        if exporter.gives_up(stream) {
            return;
        }
        tokio::select! {
            () = changed => {}
            () = withdrawal => {}
        }
    }
}

/// Why a piece was not delivered, which is not for what is in it.
#[derive(Clone, Copy)]
enum Failure {
    /// What ends by itself.
    Passing,
    /// The destination is wrong; the piece is held, or all of it was given back to its senders. Others may be held with it.
    Held { scope: HoldScope, given_back: bool },
    /// There is no destination.
    NoTarget { given_back: bool },
}

impl Failure {
    /// What becomes of the stream.
    const fn decision(self) -> &'static str {
        match self {
            Self::Passing => "stream waits before its next attempt",
            Self::Held { given_back: false, .. } | Self::NoTarget { given_back: false } => "stream held",
            Self::Held { given_back: true, .. } | Self::NoTarget { given_back: true } => {
                "batch given back to its senders"
            }
        }
    }
}

fn failing(
    exporter: &Exporter,
    stream: &Stream,
    target: Option<&Target>,
    failure: Failure,
    code: &str,
    detail: &str,
    wait: Duration,
) {
    stream.set_failing(true);
    log_decision(stream, Some(detail), Some(wait), failure.decision());
    let (name, signal, key) = (exporter.name(), stream.name().signal, &stream.name().key);
    // What a credential, a URL and an outage need are different things, so each code is a cause of its own.
    let Some(suppressed) = notice::due_for_one_of_many(&(name, signal, key), code) else { return };
    let (target, tenant) = (target.map(display), key.tenant());
    // Nobody reads more of it.
    let wait = Duration::from_millis(wait.as_millis() as u64);
    match failure {
        Failure::Passing => {
            warn!(exporter = %name, %signal, key = &*key.text(), tenant, target, code, ?wait, suppressed, "attempt failed and will be repeated: {detail}");
        }
        Failure::Held { scope, given_back: false } => error!(
            exporter = %name, %signal, key = &*key.text(), tenant, target, code, ?wait, suppressed,
            "the destination refuses us, not the data, so {}: check its {}: {detail}", held(scope), to_check(code)
        ),
        Failure::Held { scope: HoldScope::Stream, given_back: true } => error!(
            exporter = %name, %signal, key = &*key.text(), tenant, target, code, suppressed,
            "the destination refuses us, not the data, and retries are off, so the data was returned to its senders: check its {}: {detail}",
            to_check(code)
        ),
        Failure::Held { scope, given_back: true } => error!(
            exporter = %name, %signal, key = &*key.text(), tenant, target, code, ?wait, suppressed,
            "the destination refuses us, not the data, and retries are off, so the data was returned to its senders, and {}: check its {}: {detail}",
            held(scope), to_check(code)
        ),
        Failure::NoTarget { given_back: false } => error!(
            exporter = %name, %signal, key = &*key.text(), tenant, ?wait, suppressed,
            "the exporter has no destination for what is queued, so the stream is held: {detail}"
        ),
        Failure::NoTarget { given_back: true } => error!(
            exporter = %name, %signal, key = &*key.text(), tenant, suppressed,
            "the exporter has no destination for what is queued, and retries are off, so the data was returned to its senders: {detail}"
        ),
    }
}

/// What is held, for people.
const fn held(scope: HoldScope) -> &'static str {
    match scope {
        HoldScope::Stream => "the stream is held",
        HoldScope::Tenant => "all streams of its tenant are held at this exporter",
        HoldScope::Exporter => "all streams of the exporter are held",
    }
}

/// Whether a destination that answers so refuses a credential.
fn is_of_credential(code: &str) -> bool {
    matches!(code, "401" | "403" | "UNAUTHENTICATED" | "PERMISSION_DENIED")
}

/// What is most likely wrong where a destination answers so.
fn to_check(code: &str) -> &'static str {
    match code {
        "402" => "account",
        "407" | "token_refused" => "credentials",
        code if is_of_credential(code) => "credentials",
        _ => "endpoint and protocol",
    }
}

fn note(
    exporter: &Exporter,
    stream: &Stream,
    target: &Target,
    cause: &'static str,
    detail: &str,
    rejected: u64,
) {
    let id = (exporter.name(), stream.name().signal, &stream.name().key);
    if let Some(suppressed) = notice::due_for_one_of_many(&id, cause) {
        warn!(
            exporter = %exporter.name(), signal = %stream.name().signal, key = &*stream.name().key.text(),
            tenant = stream.name().key.tenant(), %target, rejected, suppressed, "the upstream took the batch, with a remark: {detail}"
        );
    }
}

/// Gives the next piece back to the senders that wait for it, as far as they do, and tells them why it was not delivered.
/// Returns whether all of it was theirs: then nothing of it is left.
async fn give_back(exporter: &Exporter, stream: &Stream, pieces: &mut Pieces, reason: &str) -> bool {
    read(exporter, stream, pieces).await;
    // A record that is tried before its turn is part of a piece that is given back in its turn.
    pieces.end_sample();
    let all = pieces.give_back_to_senders(&format!("`{}` did not deliver it: {reason}", exporter.name()));
    count_withdrawn(exporter, stream, pieces.take_out_withdrawn());
    all
}

/// Has all of the batch in memory but for what was withdrawn, however long the journal can't be read.
async fn read(exporter: &Exporter, stream: &Stream, pieces: &mut Pieces) {
    loop {
        match pieces.read().await {
            Ok(false) => return,
            Ok(true) => withdraw(exporter, stream, pieces),
            Err(Unreadable) => tokio::time::sleep(READ_AGAIN).await,
        }
    }
}

/// Ends the next `most` pieces, as one dead letter or for good.
async fn bury(
    exporter: &Exporter,
    stream: &Stream,
    pieces: &mut Pieces,
    most: usize,
    reason: &str,
    cause: UndeliveredCause,
) {
    read(exporter, stream, pieces).await;
    if pieces.is_empty() {
        return;
    }
    let buried: Vec<Batch> = pieces.iter().take(most).cloned().collect();
    let bytes = buried.iter().flat_map(Batch::chunks).cloned().collect();
    let records = buried.iter().map(Batch::records).sum();
    let target = exporter.target(stream.name()).ok();
    let name = stream.name();
    let fate = if cause == UndeliveredCause::Unwanted {
        exporter.drop_records(name, records, reason, cause, target.as_ref());
        Fate::Dropped
    } else {
        exporter.dead_letter(name, bytes, records, reason, cause, target.as_ref()).await
    };
    stream.note(|history| match fate {
        Fate::DeadLettered => history.dead_lettered_records += records,
        Fate::Dropped => history.dropped_records += records,
        Fate::Rejected => history.rejected_records += records,
        Fate::Delivered => unreachable!("what is given up is not delivered"),
    });
    for piece in buried {
        pieces.end((piece.records(), fate), reason);
    }
}
