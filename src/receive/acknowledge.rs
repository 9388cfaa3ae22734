//! When a sender gets its answer.
//!
//! With `acknowledge: delivered` a request waits until all its entries are settled. If that takes too long, if its sender
//! goes, or if Sluice is about to end, what is left of it is withdrawn from the queues: its sender will send it again, and
//! behind an upstream that is down the copies would pile up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::intake::{Admitted, Intake, Snapshot, Verdict};
use super::{Answered, Outcome};
use crate::notice;
use crate::stream::{Receipt, Writing};

/// Memory that a request takes while it waits, its entries not counted: its task, its connection's part in it, what
/// streams know of it.
pub(super) const WAITING: u64 = 4096;

/// `acknowledge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Once its data is queued.
    Queued,
    /// Once the upstreams have taken it.
    Delivered {
        /// `acknowledge_timeout`: how long that may take.
        timeout: Duration,
    },
}

/// A request that has been admitted and waits for its entries to be settled.
pub(super) struct Waiting {
    pub(super) receipt: Receipt,
    pub(super) admitted: Admitted,
    /// Holds the exporters, too.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) timeout: Duration,
}

/// A request that is being written to the journal.
pub(super) struct BeingWritten {
    pub(super) writing: Writing,
    pub(super) admitted: Admitted,
    pub(super) snapshot: Arc<Snapshot>,
    /// How long it may wait afterwards, if it waits for its upstreams.
    pub(super) timeout: Option<Duration>,
}

/// Counts a request whose sender goes while it is written. It is in the queues then, and its sender doesn't know; unless it
/// was to wait for its upstreams: then it is withdrawn.
struct Unheard<'i> {
    intake: &'i Intake,
    request: Option<Box<BeingWritten>>,
}

impl BeingWritten {
    /// The verdict, once it is known: when the request is on disk, or when its upstreams have taken it.
    pub(super) async fn verdict(self: Box<Self>, intake: &Intake, deadline: Option<Instant>) -> Verdict {
        let mut unheard = Unheard { intake, request: Some(self) };
        let request = unheard.request.as_mut().expect("it was put there");
        let written = request.writing.written().await;
        let request = unheard.request.take().expect("it is there until now");
        let BeingWritten { admitted, snapshot, timeout, .. } = *request;
        match (written, timeout) {
            (Ok(Some(receipt)), Some(timeout)) => {
                Box::new(Waiting { receipt, admitted, snapshot, timeout }).verdict(intake, deadline).await
            }
            (Ok(_), _) => intake.finish(&snapshot, admitted, &[]),
            (Err(refused), _) => {
                let counters = intake.counters.of(admitted.transport);
                Intake::refused(counters, admitted.signal, &admitted.sender, admitted.total, &refused)
            }
        }
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let BeingWritten { admitted, snapshot, timeout, .. } = *request;
            if timeout.is_some() {
                count_undelivered(self.intake, &admitted);
            } else {
                self.intake.finish(&snapshot, admitted, &[]);
            }
        }
    }
}

fn count_undelivered(intake: &Intake, admitted: &Admitted) {
    let (signal, records) = (admitted.signal, admitted.total);
    let counters = intake.counters.of(admitted.transport);
    counters.count(signal, Outcome::Refused, records);
    counters.count_request(signal, Answered::Refused);
    if let Some(suppressed) = notice::due(signal.name(), "undelivered") {
        warn!(%signal, records, suppressed, "request not delivered in time, or its sender has gone; it is to be sent again");
    }
}

/// Counts a request as refused that ends without an answer.
struct Unanswered<'i> {
    intake: &'i Intake,
    waiting: Option<Box<Waiting>>,
}

impl Waiting {
    /// The verdict, once it is known. Dropped before, for instance because the sender has gone, it withdraws what is not
    /// settled.
    pub(super) async fn verdict(self: Box<Self>, intake: &Intake, deadline: Option<Instant>) -> Verdict {
        let own = Instant::now() + self.timeout;
        let deadline = deadline.map_or(own, |deadline| deadline.min(own));
        let mut closing = intake.closing.subscribe();
        let mut unanswered = Unanswered { intake, waiting: Some(self) };
        let waiting = unanswered.waiting.as_ref().expect("it was put there");
        let settled = tokio::select! {
            biased;
            losses = waiting.receipt.settled() => Some(losses),
            () = sleep_until(deadline) => None,
            () = closed(&mut closing) => None,
        };
        let Some(losses) = settled else {
            let timeout = waiting.timeout;
            drop(unanswered);
            return Verdict::Undelivered(timeout);
        };
        let waiting = unanswered.waiting.take().expect("it is there until now");
        intake.finish(&waiting.snapshot, waiting.admitted, &losses)
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            count_undelivered(self.intake, &waiting.admitted);
        }
    }
}

/// Ready when requests that wait have to be answered.
async fn closed(closing: &mut watch::Receiver<Option<Instant>>) {
    match closing.wait_for(Option::is_some).await.map(|deadline| *deadline) {
        Ok(deadline) => sleep_until(deadline.expect("that was waited for")).await,
        Err(_) => std::future::pending().await,
    }
}
