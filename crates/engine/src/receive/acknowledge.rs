//! When a sender gets its answer.
//!
//! With `acknowledge: delivered` a request waits until all its entries are settled. If that takes too long, if its sender
//! goes, or if Sluice is about to end, what is left of it is withdrawn from the queues: its sender will send it again, and
//! behind an upstream that is down the copies would pile up.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tracing::field::display;
use tracing::{info, warn};

use super::intake::{Admitted, Intake, Snapshot, Undelivered, Verdict};
use super::{Answered, Outcome};
use crate::notice;
use crate::route::RoutingKey;
use crate::stream::{Receipt, StreamAddress, Writing};

/// Memory that a request takes while it waits, its entries not counted: its task, its connection's part in it, what
/// streams know of it.
pub(super) const WAITING: u64 = 4096;

/// `acknowledge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Once its data is queued.
    Queued,
    /// Once the upstreams have taken it.
    Delivered,
}

/// A request that has been admitted and waits for its entries to be settled.
pub(super) struct WaitingRequest {
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

/// A request that is being written, and whose sender may go meanwhile: it is written all the same, and counted by what
/// becomes of that. If it was to wait for its upstreams, it is withdrawn.
struct Unheard<'i> {
    intake: &'i Arc<Intake>,
    request: Option<Box<BeingWritten>>,
}

impl BeingWritten {
    /// The verdict, once it is known: when the request is on disk, or when its upstreams have taken it.
    pub(super) async fn verdict(self: Box<Self>, intake: &Arc<Intake>, deadline: Option<Instant>) -> Verdict {
        let mut unheard = Unheard { intake, request: Some(self) };
        let request = unheard.request.as_mut().expect("it was put there");
        let written = request.writing.written().await;
        let request = unheard.request.take().expect("it is there until now");
        let BeingWritten { mut admitted, snapshot, timeout, .. } = *request;
        if written.is_ok() {
            admitted.charges.make();
        }
        match (written, timeout) {
            (Ok(Some(receipt)), Some(timeout)) => {
                Box::new(WaitingRequest { receipt, admitted, snapshot, timeout })
                    .verdict(intake, deadline)
                    .await
            }
            (Ok(_), _) => intake.finish(&snapshot, admitted, &[]).written().await,
            (Err(refused), _) => {
                let counters = intake.counters.of(admitted.transport);
                Intake::refused(counters, admitted.signal, &admitted.caller, &admitted.parts, &refused)
            }
        }
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            // At the very end there is no runtime any more, and nobody who reads the count.
            if let Ok(runtime) = Handle::try_current() {
                let scope = request.admitted.caller.trace().log_scope();
                runtime.spawn(scope.of(count_unheard(self.intake.clone(), request)));
            }
        }
    }
}

/// Counts a request whose sender has gone, once it is written or can't be.
async fn count_unheard(intake: Arc<Intake>, request: Box<BeingWritten>) {
    let BeingWritten { mut writing, mut admitted, snapshot, timeout } = *request;
    let ended = writing.ended().await;
    if ended.is_ok() {
        admitted.charges.make();
    }
    match (ended, timeout) {
        (Ok(receipt), Some(_)) => {
            let undelivered = receipt.as_ref().and_then(Receipt::undelivered);
            drop(receipt);
            count_undelivered(&intake, &admitted, undelivered.as_ref());
        }
        (Ok(_), None) => {
            let (signal, records) = (admitted.signal, admitted.parts.records());
            intake.finish(&snapshot, admitted, &[]);
            if let Some(suppressed) = notice::due(signal.name(), "unheard") {
                info!(
                    %signal, records, suppressed,
                    "a sender has gone before its request was on disk: it is delivered, and comes twice if it is sent again"
                );
            }
        }
        (Err(refused), _) => {
            Intake::refused(
                intake.counters.of(admitted.transport),
                admitted.signal,
                &admitted.caller,
                &admitted.parts,
                &refused,
            );
        }
    }
}

/// Counts a request that was withdrawn, and names the stream that it waited for, one of them if there are several.
fn count_undelivered(intake: &Intake, admitted: &Admitted, stream: Option<&StreamAddress>) {
    let (signal, records) = (admitted.signal, admitted.parts.records());
    let counters = intake.counters.of(admitted.transport);
    counters.count(signal, Outcome::Refused, records);
    admitted.parts.count(signal, Outcome::Refused);
    counters.count_request(signal, Answered::Refused);
    let (exporter, key) = stream.map(|stream| (&*stream.exporter, &stream.name.key)).unzip();
    if let Some(suppressed) = notice::due_for_one_of_many(&(exporter, signal, key), "undelivered") {
        let (exporter, key) = (exporter.map(display), key.map(RoutingKey::text));
        warn!(exporter, %signal, key = key.as_deref(), records, suppressed, "request not delivered in time, or its sender has gone; it is to be sent again");
    }
}

/// Counts a request as refused that ends without an answer.
struct Unanswered<'i> {
    intake: &'i Intake,
    waiting: Option<Box<WaitingRequest>>,
}

impl WaitingRequest {
    /// The verdict, once it is known. Dropped before, for instance because the sender has gone, it withdraws what is not
    /// settled.
    pub(super) async fn verdict(self: Box<Self>, intake: &Intake, deadline: Option<Instant>) -> Verdict {
        let own = Instant::now() + self.timeout;
        let deadline = deadline.map_or(own, |deadline| deadline.min(own));
        let mut unanswered = Unanswered { intake, waiting: Some(self) };
        let waiting = unanswered.waiting.as_ref().expect("it was put there");
        let late =
            || Err(Undelivered::Late { waited: waiting.timeout, causes: waiting.receipt.causes_of_delay() });
        let settled = tokio::select! {
            biased;
            settled = waiting.receipt.settled() => settled.map_err(Undelivered::GivenUp),
            () = sleep_until(deadline) => late(),
            () = intake.closed() => late(),
        };
        let losses = match settled {
            Ok(losses) => losses,
            Err(why) => {
                drop(unanswered);
                return Verdict::Undelivered(why);
            }
        };
        let waiting = unanswered.waiting.take().expect("it is there until now");
        intake.finish(&waiting.snapshot, waiting.admitted, &losses).written().await
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            count_undelivered(self.intake, &waiting.admitted, waiting.receipt.undelivered().as_ref());
        }
    }
}

impl Intake {
    /// Ready when requests that wait have to be answered, since the process ends.
    pub async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        match closing.wait_for(Option::is_some).await.map(|deadline| *deadline) {
            Ok(deadline) => sleep_until(deadline.expect("that was waited for")).await,
            Err(_) => std::future::pending().await,
        }
    }
}
