//! Sending one stream, batch after batch: retries, the search for a record that the upstream refuses, the count of
//! how every record ended.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::attempt_span::{AttemptMade, AttemptSpan};
use super::consumer::Consumer;
use super::division::Division;
use super::exporter::Attempting;
use super::holds::{HeldStream, HoldPass};
use super::pieces::{BacklogUnreadable, Pieces, UpstreamWord};
use super::report::{AnsweredAttempt, DeliveryFailure, FOR_EVER, Reporter, error_of, is_of_credential};
use super::tenant_row::{alternatives, is_given_up, lacking_row};
use super::turn::Turn;
use super::unanswered::note_unanswered;
use super::waiter::Waiter;
use super::{
    Active, Answer, Asker, AttemptOutcome, Circuit, Conditions, Exporter, Fate, HoldScope, Pass, Target,
    UndeliveredCause, WithRow,
};
use crate::backoff::{AskedWait, Backoff, RetrySettings, Wait};
use crate::stream::{Batch, HeldBatch, InFlight, LastError, Reservation, Stream, StreamActivity, StreamName};
use crate::telemetry::LogScope;

/// Batches that are given up are joined to dead letters of `max_size`, and of no more bytes than this.
const JOINED_LETTER: usize = 4 << 20;

/// The code of streams for which the exporter has no destination.
const NO_TARGET: &str = "no_destination";

/// The code of streams that wait for a row of their tenant.
const NO_ROW: &str = "no_row";

/// The reason of dead letters of a tenant that was removed.
pub const TENANT_REMOVED: &str = "its tenant was removed before it could be delivered";

/// How long to wait before the journal is read again after an error.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Why a consumer takes no more batches.
#[derive(Debug)]
pub(super) enum Consumed {
    /// There are none for now.
    All,
    /// Others have to begin before the next one is taken.
    UntilNextTurn,
}

/// Takes batches from a stream until it has none, or until others have to begin before the next one.
pub(super) async fn consume(consumer: &Consumer) -> Consumed {
    let mut backoff = Some(Backoff::new());
    while let Some(next) = backoff {
        backoff = if consumer.stream.has_own_telemetry() {
            // Boxed and begun here, so that streams of others hold no room for it.
            Box::pin(LogScope::Withheld.of(consume_next(consumer, next))).await
        } else {
            consume_next(consumer, next).await
        };
        if backoff.as_ref().is_some_and(Backoff::is_new) && consumer.has_to_wait() {
            return Consumed::UntilNextTurn;
        }
    }
    Consumed::All
}

/// Takes and delivers the next batch. Returns the backoff for the one behind it; `None` if there is none for now.
async fn consume_next(consumer: &Consumer, backoff: Backoff) -> Option<Backoff> {
    let Consumer { exporter, stream, .. } = consumer;
    let report = Reporter { exporter, stream };
    let Some(in_flight) = InFlight::take(stream) else {
        report.decision("stream has nothing left to send", None, None);
        return None;
    };
    let next = Delivery::new(consumer, in_flight, backoff).deliver().await;
    if next.is_none() {
        report.decision("the journal keeps what is left of the stream", None, None);
    }
    next
}

/// A future whose size is that of a pointer.
type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// A batch on its way to the end of each of its records.
struct Delivery<'e> {
    exporter: &'e Exporter,
    stream: &'e Stream,
    turn: &'e Turn,
    report: Reporter<'e>,
    pieces: Pieces,
    backoff: Backoff,
    /// Until the batch may go on: while it only looks again whether it may, it is held as before.
    held: Option<HeldBatch<'e>>,
    /// An attempt, until what it has come to is noted in the journal: that must not close before.
    attempting: Option<Attempting<'e>>,
}

/// How one piece of a batch ended.
enum Settled {
    /// Answered as taken, and what the upstream said about it; `any_taken`: it has not rejected all records by partial success.
    Delivered { said: UpstreamWord, any_taken: bool },
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

/// The attempts at one piece.
#[derive(Default)]
struct Attempts {
    count: u64,
    last_code: Option<Cow<'static, str>>,
    /// Credentials of the row that were refused one after the other.
    refused_credentials: usize,
}

/// How a batch may be attempted: where it goes, and by which settings.
struct AttemptPlan<'e, T = Target> {
    active: Arc<Active>,
    target: T,
    hold_pass: HoldPass<'e>,
}

/// An attempt that was answered.
struct AnsweredPiece {
    piece: Batch,
    answer: Answer,
    took: Duration,
}

/// What follows from a look at a batch that waits: go on looking, or it has ended.
type LookResult = ControlFlow<Settled>;

/// Looks whether it may go on from the beginning.
const LOOK_AGAIN: LookResult = ControlFlow::Continue(());

impl<'e> Delivery<'e> {
    fn new(Consumer { exporter, stream, turn }: &'e Consumer, in_flight: InFlight, backoff: Backoff) -> Self {
        if !in_flight.is_on_disk() {
            exporter.counters().batch_bytes.observe(in_flight.batch().len() as f64);
        }
        let copies = Reservation::empty(stream.context().shared().budget.clone());
        let (report, pieces) = (Reporter { exporter, stream }, Pieces::of(in_flight, copies));
        Self { exporter, stream, turn, report, pieces, backoff, held: None, attempting: None }
    }

    /// Brings every record of the batch to its end, in order. Returns the backoff that the next batch begins with: after one
    /// that was withdrawn the upstream is as it was. `None`: the process ends, and the rest stays in the journal.
    async fn deliver(mut self) -> Option<Backoff> {
        let mut division = Division::default();
        let (mut any_delivered, mut any_failed, mut any_rejected) = (false, false, false);
        while !self.pieces.is_empty() {
            if let Some(early) = self.pieces.next_was_taken().cloned() {
                let records = self.pieces.next().map_or(0, Batch::records);
                if division.repeats_sample() && early.rejected < records {
                    self.pieces.repeat_next();
                } else {
                    self.end_delivered(early);
                    continue;
                }
            }
            let started = Instant::now();
            let settled = self.settle_next().await;
            // The turn ends also without an attempt, because a dead letter may have to wait until it is written.
            self.turn.end();
            self.held = None;
            let is_sample = self.pieces.has_sample();
            let (reason, cause) = match settled {
                Settled::Delivered { said, any_taken } => {
                    any_delivered |= any_taken;
                    any_rejected |= !any_taken;
                    if is_sample {
                        division.sample_taken();
                        self.pieces.sample_taken(said);
                    } else {
                        division.delivered();
                        self.end_delivered(said);
                    }
                    self.next_piece();
                    continue;
                }
                Settled::Refused(_, cause) if is_sample && !cause.is_the_upstreams() => {
                    // Says nothing about records. What is left meets the same in its turn.
                    self.pieces.end_sample();
                    continue;
                }
                Settled::Refused(reason, cause) if !is_sample => {
                    any_failed = true;
                    Box::pin(self.end_refused(&reason, cause)).await;
                    continue;
                }
                Settled::Withdrawn => {
                    self.next_batch();
                    break;
                }
                Settled::GivenBack => {
                    self.next_batch();
                    continue;
                }
                Settled::Suspended => {
                    self.pieces.put_back();
                    return None;
                }
                Settled::Refused(reason, cause) => (reason, cause),
                Settled::Bad(reason) => (reason, UndeliveredCause::Refused),
            };
            let attempt = started.elapsed();
            self.next_piece();
            any_failed = true;
            division.refused(is_sample);
            if is_sample {
                self.pieces.end_sample();
            } else if self.pieces.halve() {
                self.report.decision("batch divided in halves", Some(&reason), None);
            } else {
                Box::pin(self.end_undelivered(1, &reason, cause)).await;
            }
            if division.is_hopeless() {
                let reason = format!(
                    "{reason} (everything else of the batch that was tried was refused, records from all over it among it)"
                );
                Box::pin(self.end_undelivered(usize::MAX, &reason, cause)).await;
            } else if let Some(record) = division.next_sample(self.pieces.records()) {
                self.pieces.try_sample(record);
            }
            if let Some(pause) = division.pause(attempt) {
                let waiter = Waiter::new(self.exporter, self.stream, || None);
                let changes = self.exporter.changes();
                let exporter = self.exporter;
                self.wait(&waiter, sleep(pause), || exporter.changes() != changes).await;
            }
        }
        if !any_delivered {
            // All of it was refused, given up or given back: nothing shows that the next batch will fare better.
            if any_failed {
                self.stream.set_failing(true);
            } else if any_rejected {
                self.stream.set_rejected();
            }
        } else if self.stream.set_failing(false) {
            self.report.delivers_again();
        }
        Some(self.backoff.for_another())
    }

    fn next_piece(&mut self) {
        self.backoff = std::mem::take(&mut self.backoff).for_next_piece();
    }

    fn next_batch(&mut self) {
        self.backoff = std::mem::take(&mut self.backoff).for_another();
    }

    /// Tries the next piece until the upstream has taken or refused it.
    async fn settle_next(&mut self) -> Settled {
        let (exporter, stream) = (self.exporter, self.stream);
        let mut attempts = Attempts::default();
        loop {
            self.attempting = None;
            let mut values = None;
            let waiter =
                Waiter::new(exporter, stream, || values.insert(exporter.with_row(stream.name())).row.clone());
            let values = values.expect("the waiter has asked for the row");
            if let Some(settled) = self.end_without_attempt() {
                return settled;
            }
            let AttemptPlan { active, target, hold_pass } = match self.way(&waiter, &values).await {
                Ok(way) => way,
                Err(ControlFlow::Continue(())) => continue,
                Err(ControlFlow::Break(settled)) => return settled,
            };
            self.held = None;
            let pass = match self.leave(&waiter, &active.settings.retry, &target).await {
                Ok(pass) => pass,
                Err(ControlFlow::Continue(())) => continue,
                Err(ControlFlow::Break(settled)) => return settled,
            };
            if !self.read_whole().await {
                // Another stream may have something to send meanwhile.
                drop((pass, hold_pass));
                self.wait_blameless(&waiter, sleep(READ_AGAIN)).await;
                continue;
            }
            let Some(piece) = self.pieces.next().cloned() else { continue };
            let began = Instant::now();
            let attempted = self.attempt(&waiter, (&active, &target), pass.as_ref(), &piece, &attempts);
            let Some(answer) = attempted.await else {
                // It may wait for long now, and those who are to try have to read.
                if self.pieces.hinder() && !exporter.gives_up(stream) {
                    self.put_back();
                }
                continue;
            };
            attempts.count += 1;
            attempts.last_code = Some(answer.code.clone());
            let answered = AnsweredPiece { piece, answer, took: began.elapsed() };
            let way = AttemptPlan { active, target: &target, hold_pass };
            let next = self.judge(&waiter, &values, way, pass, answered, &mut attempts).await;
            if let ControlFlow::Break(settled) = next {
                return settled;
            }
        }
    }

    /// How the batch ends without another attempt, if it does.
    fn end_without_attempt(&mut self) -> Option<Settled> {
        let (exporter, stream) = (self.exporter, self.stream);
        self.withdraw();
        if self.pieces.is_empty() {
            return Some(Settled::Withdrawn);
        }
        if exporter.is_suspended() {
            return Some(Settled::Suspended);
        }
        let given_up = |reason: &str| Settled::Refused(reason.to_owned(), UndeliveredCause::GivenUp);
        // A tenant whose row is back is given up no more: its data is delivered.
        if is_given_up(&exporter.tenants().table(), stream) {
            return Some(given_up(TENANT_REMOVED));
        }
        exporter.gives_up(stream).then(|| given_up("given up before it could be delivered"))
    }

    /// The way that the next attempt goes, unless something is in it: then the batch waits until that has changed.
    async fn way(
        &mut self,
        waiter: &Waiter<'e>,
        values: &WithRow<'e, StreamName>,
    ) -> Result<AttemptPlan<'e>, LookResult> {
        let (exporter, stream, report) = (self.exporter, self.stream, self.report);
        if exporter.is_paused() {
            self.held = None;
            self.put_back();
            report.decision("stream paused", Some("its exporter was removed"), None);
            self.wait_blameless(waiter, sleep(FOR_EVER)).await;
            return Err(LOOK_AGAIN);
        }
        if values.row.as_ref().is_some_and(|row| row.hold) {
            self.put_back();
            self.held = Some(stream.hold_batch());
            report.decision("stream held", Some("the row of its tenant says so"), None);
            self.wait_held(waiter, sleep(FOR_EVER)).await;
            return Err(LOOK_AGAIN);
        }
        let has_row = values.row.is_some();
        let lacking = if has_row { None } else { lacking_row(&exporter.tenants().table(), stream) };
        if let Some(lacking) = lacking {
            self.put_back();
            let noted = no_destination_error(NO_ROW, &lacking.to_string());
            report.decision("stream held", Some(&noted.message), None);
            stream.note(|history| history.last_error = Some(Box::new(noted)));
            self.held = Some(stream.begin_own_hold());
            self.wait_held(waiter, sleep(FOR_EVER)).await;
            return Err(LOOK_AGAIN);
        }
        // Made before looking, so that no change is missed.
        let holds_changed = exporter.holds().changed();
        // Before the settings are looked at, so that an answer to an attempt by former ones holds nobody.
        let hold_pass = match exporter.holds().pass(stream.name(), values.row.as_ref()) {
            Ok(hold_pass) => hold_pass,
            Err(HeldStream { wait, answer }) => {
                let reason = answer.as_ref().map_or("an operator holds it", |answer| &*answer.message);
                report.decision("stream held", Some(reason), Some(wait));
                if let Some(answer) = answer {
                    report.held_for(answer);
                    let retries = exporter.active().settings.retry.enabled;
                    let reason =
                        "the stream is held because its destination has refused this stream or another one";
                    if !retries && stream.is_waited_for() && self.give_back(reason).await {
                        return Err(ControlFlow::Break(Settled::GivenBack));
                    }
                }
                self.put_back();
                self.held = Some(stream.hold_batch());
                self.wait_held(waiter, either(sleep(wait), holds_changed)).await;
                return Err(LOOK_AGAIN);
            }
        };
        let active = Arc::clone(&exporter.active());
        let target = active.transport.target(values).map_err(|error| match error {
            error if error.is_of_row() && stream.account().is_some() && !has_row => {
                format!("there is no row of this tenant, which the exporter reads: {error}")
            }
            error => error.to_string(),
        });
        match target {
            Ok(target) => Ok(AttemptPlan { active, target, hold_pass }),
            // There was one when it was admitted, so that a reload or a change of the row has taken it away, and another can
            // bring it back.
            Err(error) => {
                drop(hold_pass);
                Err(self.wait_for_destination(waiter, &active.settings.retry, &error).await)
            }
        }
    }

    /// Waits until there may be a destination again, of which there is none for this reason.
    async fn wait_for_destination(
        &mut self,
        waiter: &Waiter<'e>,
        retry: &RetrySettings,
        error: &str,
    ) -> LookResult {
        let stream = self.stream;
        let wait = self.backoff.hold_wait(retry, None).length;
        self.report.error(no_destination_error(NO_TARGET, error));
        // What nobody waits for is not read from disk for that.
        let given_back = !retry.enabled && stream.is_waited_for() && self.give_back(error).await;
        self.report.failing(None, DeliveryFailure::NoTarget { given_back }, NO_TARGET, error, wait);
        if given_back {
            return ControlFlow::Break(Settled::GivenBack);
        }
        if self.pieces.hinder() {
            self.put_back();
        }
        let wanted_now = stream.wanted_now();
        self.held = Some(stream.begin_own_hold());
        self.wait(waiter, either(sleep(wait), wanted_now), || waiter.has_changed()).await;
        LOOK_AGAIN
    }

    /// Waits until the destination is worth an attempt, where there is somebody to ask about that. Without retries it is
    /// asked in any case.
    async fn leave<'t>(
        &mut self,
        waiter: &Waiter<'e>,
        retry: &RetrySettings,
        target: &'t Target,
    ) -> Result<Option<Pass<'t>>, LookResult> {
        let (exporter, stream) = (self.exporter, self.stream);
        let Self { pieces, backoff, .. } = self;
        let pass = async {
            let circuit = target.circuit().filter(|_| retry.enabled)?;
            let identity = std::ptr::from_ref(stream).addr();
            Some(circuit.pass(Asker { stream: identity, in_trouble: stream.is_failing() }).await)
        };
        let pass_or_expired = async {
            tokio::select! {
                biased;
                pass = pass => Some(pass),
                () = backoff.expired(retry) => None,
            }
        };
        let look = || {
            count_withdrawn(exporter, stream, pieces.withdraw());
            if pieces.is_empty() {
                return Some(ControlFlow::Break(Settled::Withdrawn));
            }
            (stream.is_given_up() || waiter.has_changed()).then_some(LOOK_AGAIN)
        };
        if target.circuit().is_some_and(Circuit::is_open) {
            self.turn.end();
        }
        // Boxed is what a batch that waits for its turn has no use for.
        let mut pass_or_expired = Box::pin(pass_or_expired);
        if let Some(pass) = waiter.until(pass_or_expired.as_mut(), look).await? {
            return Ok(pass);
        }
        self.attempting = Some(exporter.attempting());
        if exporter.is_suspended() {
            return Err(LOOK_AGAIN);
        }
        let reason = "given up: the destination did not answer for as long as it may".to_owned();
        Err(ControlFlow::Break(Settled::Refused(reason, UndeliveredCause::Retries)))
    }

    /// Has the batch in memory, if the journal can be read.
    async fn read_whole(&mut self) -> bool {
        if self.pieces.is_on_disk() {
            // The memory to read into may be taken by what waits for other upstreams.
            self.turn.end();
        }
        match self.pieces.read().await {
            Ok(false) => {}
            Ok(true) => {
                self.withdraw();
                let bytes = self.pieces.next().map_or(0, Batch::len);
                self.exporter.counters().batch_bytes.observe(bytes as f64);
            }
            Err(BacklogUnreadable) => return false,
        }
        true
    }

    /// Attempts a piece. Nothing comes of it if it is given up, withdrawn or not to begin any more, or if the circuit opens while it
    /// waits for its turn.
    async fn attempt(
        &mut self,
        waiter: &Waiter<'e>,
        (active, target): (&Active, &Target),
        pass: Option<&Pass<'_>>,
        piece: &Batch,
        attempts: &Attempts,
    ) -> Option<Answer> {
        let (exporter, stream) = (self.exporter, self.stream);
        let begun = OnceLock::new();
        let before = (attempts.count, attempts.last_code.as_deref());
        let made = AttemptMade { exporter, stream, target, piece, before };
        let span = AttemptSpan::new(&made, self.pieces.links()).map(Box::new);
        let shared = stream.context().shared();
        let conditions = Conditions {
            hanging: stream.hanging(),
            redaction: &shared.redaction,
            budget: &shared.budget,
            pass,
            begun: &begun,
            turn: Some(self.turn),
            span: span.as_deref().map(AttemptSpan::open),
        };
        self.attempting = Some(exporter.attempting());
        stream.set_activity(StreamActivity::Sending);
        let pieces = &self.pieces;
        let look = || {
            let waits_for_turn = begun.get().is_none();
            // After a change it goes by other settings, or by another row of its tenant. An attempt that has begun goes on:
            // the upstream may have the batch already.
            let stays = || exporter.is_suspended() || exporter.is_paused() || waiter.has_changed();
            let is_over =
                exporter.gives_up(stream) || waits_for_turn && (stays() || pieces.next_is_withdrawn());
            is_over.then_some(())
        };
        let attempt = async {
            let mut unanswered = pin!(note_unanswered(exporter, stream, target, &begun));
            tokio::select! {
                biased;
                answer = active.transport.attempt(target, piece, conditions) => answer,
                never = unanswered.as_mut() => match never {},
            }
        };
        let answer = {
            let attempt = pin!(attempt);
            waiter.until(attempt, look).await.ok().flatten()
        };
        stream.set_activity(StreamActivity::Waiting);
        let answer = answer?;
        if let Some(span) = span {
            span.answered(&answer);
        }
        Some(answer)
    }

    /// Notes how an attempt went, and decides what follows: the end of the piece, or another attempt, before which it waits here.
    async fn judge(
        &mut self,
        waiter: &Waiter<'e>,
        values: &WithRow<'e, StreamName>,
        AttemptPlan { active, target, hold_pass }: AttemptPlan<'e, &Target>,
        pass: Option<Pass<'_>>,
        AnsweredPiece { piece, answer, took }: AnsweredPiece,
        attempts: &mut Attempts,
    ) -> LookResult {
        let (exporter, stream, report) = (self.exporter, self.stream, self.report);
        let retry = &active.settings.retry;
        // The circuit may stand in for the wait after a stream's first failure, and after a probe. Not later: while others
        // are answered it may close again and again.
        let trusts_circuit = self.backoff.is_new() || pass.as_ref().is_some_and(Pass::is_probe);
        let credentials_of = values.row.as_ref().filter(|_| is_of_credential(&answer.code));
        let several = credentials_of.map_or(1, |row| alternatives(&active.settings, row));
        let has_another_credential = attempts.refused_credentials + 1 < several;
        let (wait, held_scope) = self.wait_after(&answer, target, hold_pass, retry, has_another_credential);
        if !matches!(answer.outcome, AttemptOutcome::Hold { .. } | AttemptOutcome::Retry { .. }) {
            stream.end_own_hold();
        }
        let wished = wait.is_some_and(|wait| wait.wished);
        report.attempt(&AnsweredAttempt {
            target,
            piece: &piece,
            is_part: self.pieces.next_is_part(),
            number: attempts.count,
            answer: &answer,
            took,
        });
        if let Some(pass) = pass {
            report.circuit(target, pass.end(answer.sign(wished), answer.code.clone()), &answer.detail);
        }
        let (failure, wait) = match (answer.outcome, wait) {
            (AttemptOutcome::Delivered { rejected, warning }, _) => {
                if rejected > 0 || warning {
                    report.remark(target, &answer.detail, rejected);
                }
                let all = piece.records();
                let remark = if rejected > 0 {
                    format!("{rejected} of {all} sent together were rejected: {}", answer.detail)
                } else {
                    answer.detail
                };
                let any_taken = rejected == 0 || rejected < all;
                return ControlFlow::Break(Settled::Delivered {
                    said: UpstreamWord { rejected, remark },
                    any_taken,
                });
            }
            (AttemptOutcome::Bad, None) => return ControlFlow::Break(Settled::Bad(answer.detail)),
            (AttemptOutcome::Refused, None) => {
                return ControlFlow::Break(Settled::Refused(answer.detail, UndeliveredCause::Refused));
            }
            (AttemptOutcome::Unwanted, None) => {
                return ControlFlow::Break(Settled::Refused(answer.detail, UndeliveredCause::Unwanted));
            }
            (AttemptOutcome::Bad | AttemptOutcome::Refused | AttemptOutcome::Unwanted, Some(wait)) => {
                (DeliveryFailure::Passing, wait.length)
            }
            (AttemptOutcome::Retry { .. }, Some(wait)) if wait.worthwhile => {
                (DeliveryFailure::Passing, wait.length)
            }
            (AttemptOutcome::Hold { .. }, Some(wait)) => {
                (DeliveryFailure::Held { scope: held_scope, given_back: false }, wait.length)
            }
            (AttemptOutcome::Retry { .. } | AttemptOutcome::Hold { .. }, _) => {
                let why = if retry.enabled {
                    "given up after retries"
                } else {
                    "not delivered, and retries are off"
                };
                let reason = format!("{why}: {}", answer.detail);
                return ControlFlow::Break(Settled::Refused(reason, UndeliveredCause::Retries));
            }
        };
        drop(piece);
        if let Some(row) = credentials_of {
            exporter.credentials().leave(row, values.choice.min(several - 1), several);
            if has_another_credential {
                attempts.refused_credentials += 1;
                report.next_credential(&row.id, target, &answer);
                return LOOK_AGAIN;
            }
        }
        attempts.refused_credentials = 0;
        // What is held is tried again although retries are off, but no sender waits for that.
        if let DeliveryFailure::Held { scope, .. } = failure
            && !retry.enabled
            && self.give_back(&answer.detail).await
        {
            let failure = DeliveryFailure::Held { scope, given_back: true };
            report.failing(Some(target), failure, &answer.code, &answer.detail, wait);
            return ControlFlow::Break(Settled::GivenBack);
        }
        self.attempting = None;
        // An open circuit knows better than this stream when to ask again, unless the upstream itself or the configuration has said
        // so.
        let is_own = !wished && answer.least.is_zero();
        let by_circuit = trusts_circuit && is_own && matches!(answer.outcome, AttemptOutcome::Retry { .. });
        let probe = target.circuit().and_then(|circuit| circuit.state().until_probe()).filter(|_| by_circuit);
        report.failing(Some(target), failure, &answer.code, &answer.detail, probe.unwrap_or(wait));
        if self.pieces.hinder() {
            self.put_back();
        }
        let waits_with_others =
            matches!(failure, DeliveryFailure::Held { scope: HoldScope::Tenant | HoldScope::Exporter, .. });
        if waits_with_others || probe.is_some() {
            return LOOK_AGAIN;
        }
        let wanted_now = stream.wanted_now();
        if matches!(failure, DeliveryFailure::Passing) {
            stream.set_activity(StreamActivity::BackingOff);
        } else {
            self.held = Some(stream.begin_own_hold());
        }
        self.wait(waiter, either(sleep(wait), wanted_now), || waiter.has_changed()).await;
        report.decision("stream goes on with its next attempt", None, None);
        stream.set_activity(StreamActivity::Waiting);
        LOOK_AGAIN
    }

    /// How long to wait after an attempt, if another may follow, and what is held meanwhile. Tells the other streams of the
    /// exporter what the answer means for them.
    fn wait_after(
        &mut self,
        answer: &Answer,
        target: &Target,
        hold_pass: HoldPass<'_>,
        retry: &RetrySettings,
        has_another_credential: bool,
    ) -> (Option<Wait>, HoldScope) {
        let least = answer.least;
        match answer.outcome {
            AttemptOutcome::Delivered { .. } => {
                hold_pass.delivered();
                (None, HoldScope::Stream)
            }
            AttemptOutcome::Retry { after } => {
                drop(hold_pass);
                (Some(self.backoff.next_wait(retry, AskedWait { after, least })), HoldScope::Stream)
            }
            AttemptOutcome::Hold { scope, after } => {
                let asked = AskedWait { after, least };
                // Others are held once all credentials were refused.
                let is_alone = scope.of(self.stream.name()) == HoldScope::Stream || has_another_credential;
                let of_all = if is_alone {
                    drop(hold_pass);
                    None
                } else {
                    hold_pass.refused(scope, retry, asked, error_of(target, answer))
                };
                let held = if of_all.is_some() { scope } else { HoldScope::Stream };
                (Some(of_all.unwrap_or_else(|| self.backoff.hold_wait(retry, asked))), held)
            }
            AttemptOutcome::Bad | AttemptOutcome::Refused | AttemptOutcome::Unwanted => {
                hold_pass.answered();
                let is_time = self.backoff.has_failed_for(least);
                let wait = (!is_time).then(|| self.backoff.next_wait(retry, None));
                (wait.filter(|wait| wait.worthwhile), HoldScope::Stream)
            }
        }
    }

    /// Waits for `goal`, unless the stream is given up or the wait is over for something else before. What is withdrawn meanwhile
    /// doesn't wait as long; if nothing is left, the wait goes on all the same, since the next batch would only meet the same upstream.
    ///
    /// Boxed, as are all rare waits: a batch that waits for its turn with a million others has no room for them.
    fn wait<'w>(
        &'w mut self,
        waiter: &'w Waiter<'e>,
        goal: impl Future<Output = ()> + Send + 'w,
        is_over: impl Fn() -> bool + Send + 'w,
    ) -> BoxFuture<'w, ()> {
        self.turn.end();
        let (exporter, stream, pieces) = (self.exporter, self.stream, &mut self.pieces);
        Box::pin(async move {
            let look = move || {
                count_withdrawn(exporter, stream, pieces.withdraw());
                (stream.is_given_up() || is_over()).then_some(())
            };
            // Whatever has ended the wait is looked at next.
            let _ = waiter.until(pin!(goal), look).await;
        })
    }

    /// Waits for `goal` or a change, for what the upstream is not to blame for: that time is none of `max_elapsed_time`.
    fn wait_blameless<'w>(
        &'w mut self,
        waiter: &'w Waiter<'e>,
        goal: impl Future<Output = ()> + Send + 'w,
    ) -> BoxFuture<'w, ()> {
        Box::pin(async move {
            self.wait(waiter, goal, || waiter.has_changed()).await;
            self.next_batch();
        })
    }

    /// The same while the batch is held.
    fn wait_held<'w>(
        &'w mut self,
        waiter: &'w Waiter<'e>,
        goal: impl Future<Output = ()> + Send + 'w,
    ) -> BoxFuture<'w, ()> {
        Box::pin(async move {
            self.wait_blameless(waiter, goal).await;
            self.report.decision("stream looks again whether it may go on", None, None);
        })
    }

    /// Leaves what is on disk there, or at least its room to read in to others.
    fn put_back(&mut self) {
        if !self.pieces.put_back() {
            self.pieces.leave_reading_room();
        }
    }

    /// Takes out of the batch, between two attempts, what nobody waits for any more.
    fn withdraw(&mut self) {
        count_withdrawn(self.exporter, self.stream, self.pieces.withdraw());
    }

    /// Gives the next piece back to the senders that wait for it, as far as they do, and tells them why it was not delivered.
    /// Returns whether all of it was theirs: then nothing of it is left.
    async fn give_back(&mut self, reason: &str) -> bool {
        self.turn.end();
        self.read().await;
        // A record that is tried before its turn is part of a piece that is given back in its turn.
        self.pieces.end_sample();
        let name = self.exporter.name();
        let all = self.pieces.give_back_to_senders(&format!("`{name}` did not deliver it: {reason}"));
        count_withdrawn(self.exporter, self.stream, self.pieces.take_out_withdrawn());
        all
    }

    /// Has all of the batch in memory but for what was withdrawn, however long the journal can't be read.
    async fn read(&mut self) {
        loop {
            match self.pieces.read().await {
                Ok(false) => return,
                Ok(true) => self.withdraw(),
                Err(BacklogUnreadable) => sleep(READ_AGAIN).await,
            }
        }
    }

    /// Counts and ends the next piece, which the upstream has taken.
    fn end_delivered(&mut self, UpstreamWord { rejected, remark }: UpstreamWord) {
        let (exporter, stream) = (self.exporter, self.stream);
        // Not before the end of the attempts: what was withdrawn until the last of them is in it no more.
        let records = self.pieces.next().map_or(0, Batch::records);
        // What was withdrawn since a sample was taken may have been among the rejected.
        let rejected = rejected.min(records);
        exporter.count(stream.name(), Fate::Delivered, records - rejected);
        exporter.count(stream.name(), Fate::Rejected, rejected);
        stream.note(|history| {
            history.delivered_records += records - rejected;
            history.rejected_records += rejected;
        });
        let fate = if rejected > 0 { Fate::Rejected } else { Fate::Delivered };
        self.pieces.end((rejected, fate), &remark);
    }

    /// Ends the next piece, which was refused as a whole or is given up.
    async fn end_refused(&mut self, reason: &str, cause: UndeliveredCause) {
        // Nobody has refused it: a sender that waits still has it, and is to send it again.
        if !cause.is_the_upstreams() && self.give_back(reason).await {
            // What is next for this upstream waits on, and has its own time.
            return self.next_batch();
        }
        if cause == UndeliveredCause::GivenUp {
            // What waits behind it would meet the same: a letter for each batch would only take longer to write.
            let most = self.stream.context().settings().batch.max_size;
            self.pieces.join_waiting(most.min(JOINED_LETTER));
        }
        self.end_undelivered(1, reason, cause).await;
        self.next_piece();
    }

    /// Ends the next `most` pieces, as one dead letter or for good.
    async fn end_undelivered(&mut self, most: usize, reason: &str, cause: UndeliveredCause) {
        let exporter = self.exporter;
        self.read().await;
        if self.pieces.is_empty() {
            return;
        }
        let ended: Vec<Batch> = self.pieces.iter().take(most).cloned().collect();
        let bytes = ended.iter().flat_map(Batch::chunks).cloned().collect();
        let records = ended.iter().map(Batch::records).sum();
        let name = self.stream.name();
        let target = exporter.target(name).ok();
        let fate = if cause == UndeliveredCause::Unwanted {
            exporter.drop_records(name, records, reason, cause, target.as_ref());
            Fate::Dropped
        } else {
            exporter.dead_letter(name, bytes, records, reason, cause, target.as_ref()).await
        };
        self.stream.note(|history| match fate {
            Fate::DeadLettered => history.dead_lettered_records += records,
            Fate::Dropped => history.dropped_records += records,
            Fate::Rejected => history.rejected_records += records,
            Fate::Delivered => unreachable!("what is given up is not delivered"),
        });
        for piece in ended {
            self.pieces.end((piece.records(), fate), reason);
        }
    }
}

fn count_withdrawn(exporter: &Exporter, stream: &Stream, records: u64) {
    if records > 0 {
        exporter.withdraw(stream.name(), records);
    }
}

/// Why a stream can't be sent anywhere, for those who look at it.
fn no_destination_error(code: &'static str, message: &str) -> LastError {
    LastError {
        code: code.into(),
        message: message.into(),
        target: None,
        at: SystemTime::now(),
        of_destination: true,
        of_stream: None,
    }
}

/// Ready once one of the two is.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}
