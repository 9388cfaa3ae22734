//! What is told of how a stream is sent: to the log, to those who look at the stream, its exporter or its tenant, and as metrics.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::field::display;
use tracing::{debug, error, info, warn};

use super::{Answer, AttemptOutcome, CircuitChange, Exporter, HoldScope, Target};
use crate::client::Secrets;
use crate::notice;
use crate::route::RoutingKey;
use crate::stream::{Batch, DecisionDetails, LastError, Stream, StreamAttempt};
use crate::tenants::TenantFailure;
use otlp::Signal;

/// What is paused waits for a change.
pub(super) const FOR_EVER: Duration = Duration::MAX;

/// Tells of one stream of an exporter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reporter<'e> {
    pub(super) exporter: &'e Exporter,
    pub(super) stream: &'e Stream,
}

/// An attempt that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnsweredAttempt<'a> {
    pub(super) target: &'a Target,
    pub(super) piece: &'a Batch,
    /// Whether it is a part of its batch.
    pub(super) is_part: bool,
    /// Which attempt at the piece it was, counted from 1.
    pub(super) number: u64,
    pub(super) answer: &'a Answer,
    pub(super) took: Duration,
}

/// Why a piece was not delivered, which is not for what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum DeliveryFailure {
    /// What ends by itself.
    Passing,
    /// The destination is wrong; the piece is held, or all of it was given back to its senders. Others may be held with it.
    Held { scope: HoldScope, given_back: bool },
    /// There is no destination.
    NoTarget { given_back: bool },
}

impl DeliveryFailure {
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

impl Reporter<'_> {
    /// Logs what is decided about the stream, for how long and for what reason, for those who want to know each time.
    pub(super) fn decision(&self, decision: &str, reason: Option<&str>, wait: Option<Duration>) {
        let wait = wait.filter(|wait| *wait != FOR_EVER);
        self.stream.log_decision(decision, DecisionDetails { reason, wait, ..DecisionDetails::default() });
    }

    /// Tells of an attempt, and how it went.
    pub(super) fn attempt(&self, attempt: &AnsweredAttempt<'_>) {
        let AnsweredAttempt { target, piece, is_part, number, answer, took } = *attempt;
        let (exporter, stream) = (self.exporter, self.stream);
        debug!(
            exporter = %exporter.name(), signal = %stream.name().signal, key = &*stream.name().key.text(),
            tenant = stream.name().key.tenant(), %target, attempt = number, bytes = piece.len(), records = piece.records(),
            code = &*answer.code, duration = ?took, outcome = answer.outcome.name(),
            "attempt made{}{}", if answer.detail.is_empty() { "" } else { ": " }, answer.detail
        );
        let is_delivered = matches!(answer.outcome, AttemptOutcome::Delivered { .. });
        exporter.counters().duration.observe(took.as_secs_f64());
        exporter.counters().count_attempt(answer.code.clone(), !is_delivered);
        let failed = !matches!(answer.outcome, AttemptOutcome::Delivered { rejected: 0, .. });
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
        if is_delivered {
            let at = SystemTime::now();
            stream.note(|history| history.last_success = Some(at));
            if let Some(account) = stream.account() {
                account.totals().note_success(at);
            }
        } else {
            stream.count_failed_attempt();
            if let Some(account) = stream.account() {
                account.totals().count_failed_attempt(stream.name().signal);
            }
        }
        if failed {
            self.error(error_of(target, answer));
        }
    }

    /// Notes what went wrong, for those who look at the stream or at its tenant.
    pub(super) fn error(&self, error: LastError) {
        let (exporter, stream) = (self.exporter, self.stream);
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
    pub(super) fn held_for(&self, answer: Box<LastError>) {
        if answer.of_stream.as_ref() != Some(self.stream.name()) {
            self.stream.note(|history| history.last_error = Some(answer));
        }
    }

    /// Logs that the stream delivers again after it had failed.
    pub(super) fn delivers_again(&self) {
        let (name, signal, key) = self.names();
        if let Some(suppressed) = notice::due_for_one_of_many(&(name, signal, key), "recovered") {
            info!(exporter = %name, %signal, key = &*key.text(), tenant = key.tenant(), suppressed, "stream delivers again");
        }
    }

    /// Logs that a credential of the stream's tenant was refused, and the next one is tried.
    pub(super) fn next_credential(&self, tenant: &str, target: &Target, answer: &Answer) {
        let (name, signal, key) = self.names();
        if let Some(suppressed) = notice::due_for_one_of_many(&(name, tenant), "next credential") {
            info!(
                exporter = %name, %signal, key = &*key.text(), tenant, %target, code = &*answer.code, suppressed,
                "the destination refuses this credential of the tenant, so the next one is tried: {}", answer.detail
            );
        }
    }

    /// Logs what the upstream had to say of a batch that it took.
    pub(super) fn remark(&self, target: &Target, detail: &str, rejected: u64) {
        let (name, signal, key) = self.names();
        if let Some(suppressed) = notice::due_for_one_of_many(&(name, signal, key), "partial success") {
            warn!(
                exporter = %name, %signal, key = &*key.text(), tenant = key.tenant(), %target, rejected, suppressed,
                "the upstream took the batch, with a remark: {detail}"
            );
        }
    }

    /// Logs that the circuit of a destination has opened or closed.
    pub(super) fn circuit(&self, target: &Target, change: CircuitChange, detail: &str) {
        let exporter = self.exporter.name();
        let cause = match change {
            CircuitChange::None => return,
            CircuitChange::Opened => "circuit opened",
            CircuitChange::Closed => "circuit closed",
        };
        let Some(suppressed) = notice::due_for_one_of_many(&(exporter, target.to_string()), cause) else {
            return;
        };
        if change == CircuitChange::Opened {
            warn!(
                %exporter, %target, suppressed,
                "the destination takes nothing, so its streams wait while now and then one of them probes: {detail}"
            );
        } else {
            info!(%exporter, %target, suppressed, "the destination takes data again, so its streams go on");
        }
    }

    /// Marks the stream as failing, and logs why.
    pub(super) fn failing(
        &self,
        target: Option<&Target>,
        failure: DeliveryFailure,
        code: &str,
        detail: &str,
        wait: Duration,
    ) {
        self.stream.set_failing(true);
        self.decision(failure.decision(), Some(detail), Some(wait));
        let (name, signal, key) = self.names();
        // What a credential, a URL and an outage need are different things, so each code is a cause of its own.
        let Some(suppressed) = notice::due_for_one_of_many(&(name, signal, key), code) else { return };
        let (target, tenant) = (target.map(display), key.tenant());
        // Nobody reads more of it.
        let wait = Duration::from_millis(wait.as_millis() as u64);
        match failure {
            DeliveryFailure::Passing => {
                warn!(exporter = %name, %signal, key = &*key.text(), tenant, target, code, ?wait, suppressed, "attempt failed and will be repeated: {detail}");
            }
            DeliveryFailure::Held { scope, given_back: false } => error!(
                exporter = %name, %signal, key = &*key.text(), tenant, target, code, ?wait, suppressed,
                "the destination refuses us, not the data, so {}: check its {}: {detail}", held(scope), to_check(code)
            ),
            DeliveryFailure::Held { scope: HoldScope::Stream, given_back: true } => error!(
                exporter = %name, %signal, key = &*key.text(), tenant, target, code, suppressed,
                "the destination refuses us, not the data, and retries are off, so the data was returned to its senders: check its {}: {detail}",
                to_check(code)
            ),
            DeliveryFailure::Held { scope, given_back: true } => error!(
                exporter = %name, %signal, key = &*key.text(), tenant, target, code, ?wait, suppressed,
                "the destination refuses us, not the data, and retries are off, so the data was returned to its senders, and {}: check its {}: {detail}",
                held(scope), to_check(code)
            ),
            DeliveryFailure::NoTarget { given_back: false } => error!(
                exporter = %name, %signal, key = &*key.text(), tenant, ?wait, suppressed,
                "the exporter has no destination for what is queued, so the stream is held: {detail}"
            ),
            DeliveryFailure::NoTarget { given_back: true } => error!(
                exporter = %name, %signal, key = &*key.text(), tenant, suppressed,
                "the exporter has no destination for what is queued, and retries are off, so the data was returned to its senders: {detail}"
            ),
        }
    }

    fn names(&self) -> (&Arc<str>, Signal, &RoutingKey) {
        (self.exporter.name(), self.stream.name().signal, &self.stream.name().key)
    }
}

/// As short as a message of the log: what it is made of may come from senders.
fn shown_target(target: &Target) -> Box<str> {
    Secrets::default().clean(&target.to_string()).into()
}

/// What an answer that is no full success says, for those who look at the stream.
pub(super) fn error_of(target: &Target, answer: &Answer) -> LastError {
    LastError {
        code: answer.code.clone(),
        message: answer.detail.as_str().into(),
        target: Some(shown_target(target)),
        at: SystemTime::now(),
        of_destination: matches!(answer.outcome, AttemptOutcome::Retry { .. } | AttemptOutcome::Hold { .. }),
        of_stream: None,
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
pub(super) fn is_of_credential(code: &str) -> bool {
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
