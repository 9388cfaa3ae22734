//! From the bytes of one request to the queues: split, route, admit. Transports differ only in how they read a
//! request and how they word the verdict.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::acknowledge::Acknowledge;
use super::admit::Progress;
use super::body::Received;
use super::charge::Charges;
use super::flow::{FlowPaths, RequestFlow};
use super::json::{self, Untranscoded};
use super::not_admitted::{Finished, NotAdmitted};
use super::parts::TenantParts;
use super::record_sample::RecordSample;
use super::remarks::{Remarks, Why, due_about_unrouted};
use super::tally::Tally;
use super::{Answered, Caller, Counters, Outcome, Transport};
use crate::export::{DeadLetterBox, Exporter};
use crate::journal::Journal;
use crate::notice;
use crate::route::{RouteTable, Unrouted};
use crate::stream::{Full, Loss, Patience, StreamCount};
use crate::tap::RecordObserver;
use crate::telemetry::{OwnTelemetry, integer, text};
use crate::tenants::{RateExceeded, Tenants};
use otlp::Signal;

/// Everything from the configuration that a request needs, immutable. A request uses one to its end.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every reload.
    pub version: u64,
    /// The compiled routes; exporters by position in `exporters`.
    pub routes: Arc<RouteTable>,
    /// How much goes which way by them.
    pub flow: FlowPaths,
    /// `max_streams` of each route.
    pub route_streams: Vec<Option<Arc<StreamCount>>>,
    /// In the order of the configuration.
    pub exporters: Vec<Arc<Exporter>>,
    /// When senders get their answers.
    pub acknowledge: Acknowledge,
    /// `acknowledge_timeout`: how long those may wait that wait for their upstreams.
    pub acknowledge_timeout: Duration,
    /// Whether any exporter has no queue, so that senders wait for it in any case.
    pub unqueued: bool,
}

impl Snapshot {
    /// Whether the configuration has this exporter: one that is being removed isn't in it.
    pub fn uses(&self, exporter: &Arc<Exporter>) -> bool {
        self.exporters.iter().any(|current| Arc::ptr_eq(current, exporter))
    }
}

/// What receivers hand requests to.
#[derive(Debug)]
pub struct Intake {
    /// Swapped by reloads.
    pub snapshot: ArcSwap<Snapshot>,
    /// Who may send, and what is particular to each.
    pub tenants: Arc<Tenants>,
    /// What has been received.
    pub counters: Arc<Counters>,
    /// Where requests are written before they are queued, if anywhere.
    pub journal: Option<Journal>,
    /// Where cut-out parts go.
    pub dead_letters: DeadLetterBox,
    /// Dead letters of cut-out parts that are being written, a task for each request; the shutdown waits for them.
    pub dead_letter_tasks: TaskTracker,
    /// Of which entries the records are looked at beside what routes ask for.
    pub sample: RecordSample,
    /// Who looks at records as they are admitted.
    pub observer: Arc<RecordObserver>,
    /// What is told of requests.
    pub telemetry: Arc<OwnTelemetry>,
    /// When requests that wait for their upstreams are answered whatever has come of them, because Sluice ends.
    pub closing: watch::Sender<Option<Instant>>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Verdict {
    /// All of it is queued.
    Accepted,
    /// It is queued but for `rejected` records (zero: only a warning), and why.
    Partly {
        /// Spans, data points or log records.
        rejected: u64,
        /// For people.
        message: String,
    },
    /// There is no room now; none of it is queued.
    Refused(Full),
    /// Its upstreams have not taken all of it; what they have not taken, nor are being sent just now, is queued no more.
    Undelivered(Undelivered),
    /// Nobody can tell whose it is now, or its tenant is not served, and why; none of it is queued.
    Unavailable(String),
    /// All of it names tenants that its sender may not send for, and which.
    Forbidden(String),
    /// No route takes any of it, which `unrouted_status` makes an error, and what routes look at.
    Unrouted(String),
    /// A tenant has sent more than its rate; none of it is queued.
    OverRate(RateExceeded),
    /// There will never be room, and why; none of it is queued.
    TooLarge(&'static str),
    /// It is not OTLP, or nothing in it is valid.
    Malformed {
        /// The path of the first problem.
        field: String,
        /// For people.
        message: String,
    },
}

/// Why a sender that waited for its upstreams has to send again.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// It has waited for so long.
    #[error(
        "not delivered within {waited:?}{}: what was not sent has been taken back, send it again",
        in_brackets(causes)
    )]
    Late {
        /// `acknowledge_timeout`.
        waited: Duration,
        /// What each exporter that is waited for has to do with it, as [`Receipt::causes_of_delay`](crate::stream::Receipt) has
        /// it.
        causes: String,
    },
    /// An upstream did not take it, and there are no more retries.
    #[error("{0}; what was not delivered has been taken back, send it again")]
    GivenUp(Arc<str>),
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// What was admitted of a request, and what not.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) signal: Signal,
    pub(super) transport: Transport,
    pub(super) caller: Caller,
    /// What of it is whose.
    pub(super) parts: TenantParts,
    /// What its tenants are charged for it.
    pub(super) charges: Charges,
    pub(super) tally: Tally,
    /// Which way its entries go.
    pub(super) flow: RequestFlow,
    pub(super) remarks: Remarks,
    /// The parts of the request that are not admitted.
    pub(super) rest: NotAdmitted,
    pub(super) nothing_valid: bool,
    /// Whether each of its entries names a tenant that the sender may not send for.
    pub(super) all_foreign: bool,
}

impl Intake {
    /// Takes one request in: all that is valid and routed, or nothing. With `acknowledge: delivered` this waits for the
    /// upstreams, until the `deadline` of the sender at most, and if it is dropped meanwhile the request is withdrawn. For the
    /// journal and for dead letters that the answer promises it waits as long as the disk takes: an earlier answer would have data
    /// sent again that is kept.
    pub async fn take(
        self: &Arc<Self>,
        signal: Signal,
        transport: Transport,
        caller: Caller,
        received: Received,
        deadline: Option<Instant>,
    ) -> Verdict {
        self.count_bytes(signal, transport, &caller, &received);
        let progress = self.admit(transport, signal, caller, received, None).await;
        self.verdict(progress, Patience::until(deadline), deadline).await
    }

    /// As [`Intake::take`], for a request that came as OTLP/JSON.
    pub async fn take_json(self: &Arc<Self>, signal: Signal, caller: Caller, received: Received) -> Verdict {
        self.count_bytes(signal, Transport::Http, &caller, &received);
        let counters = self.counters.of(Transport::Http);
        let mut patience = Patience::default();
        let progress = match json::transcode(signal, received, &mut patience).await {
            Ok((received, omitted)) => {
                self.admit(Transport::Http, signal, caller, received, Some(omitted)).await
            }
            Err(Untranscoded::Malformed(malformed)) => {
                Self::malformed(counters, signal, &caller, &malformed).into()
            }
            Err(Untranscoded::Refused(refused, records)) => {
                let parts = TenantParts::unread(&self.tenants, &caller, records);
                Self::refused(counters, signal, &caller, &parts, &refused).into()
            }
        };
        self.verdict(progress, patience, None).await
    }

    fn count_bytes(&self, signal: Signal, transport: Transport, caller: &Caller, received: &Received) {
        let bytes = received.bytes.len() as u64;
        self.counters.of(transport).count_bytes(signal, bytes);
        caller.trace().set("sluice.bytes", || integer(bytes));
    }

    /// Brings a request from where it is to its end.
    async fn verdict(
        self: &Arc<Self>,
        mut progress: Progress<'_>,
        mut patience: Patience,
        deadline: Option<Instant>,
    ) -> Verdict {
        loop {
            // Boxed is what is rare, so that a connection's task has no room for it all the time.
            progress = match progress {
                Progress::Over(verdict) => return verdict,
                Progress::Finished(finished) => return finished.written().await,
                Progress::Waits(waiting) => return waiting.verdict(self, deadline).await,
                Progress::Writes(request) => return request.verdict(self, deadline).await,
                Progress::Unread(request) => Box::pin(request.go_on(self, &mut patience)).await,
                Progress::Full(request) => Box::pin(request.go_on(&mut patience)).await,
            };
        }
    }

    /// Counts a request whose end is known, says what there is to say, and buries what was not admitted of it. Of what was
    /// admitted `losses` were not delivered.
    pub(super) fn finish(&self, snapshot: &Snapshot, admitted: Admitted, losses: &[Loss]) -> Finished {
        let Admitted {
            signal, transport, caller, mut parts, mut tally, mut remarks, rest: not_admitted, ..
        } = admitted;
        let counters = self.counters.of(transport);
        tally.lose(&not_admitted.sheds, losses, &mut parts, &mut remarks);
        for cut in &not_admitted.cuts {
            remarks.add(Why::Invalid(cut.reason), cut.records, |text| {
                write!(text, "{} at byte {}: {}", cut.path, cut.offset, cut.reason)
                    .expect("writing to a String can't fail");
            });
            let part = tally.part_of(cut.index).or_else(|| parts.of_sender(&self.tenants, &caller));
            parts.cut_out(part, cut.records);
        }
        // Of what is not valid nobody can tell whether a route would take it.
        let no_route = snapshot.routes.unrouted() == Unrouted::Reject { whole_as_error: true }
            && not_admitted.cuts.is_empty()
            && remarks.unrouted() > 0
            && remarks.unrouted() == parts.records();
        parts.count_taken(signal);
        counters.count(signal, Outcome::Accepted, tally.accepted());
        counters.count(signal, Outcome::Rejected, remarks.rejected());
        counters.count(signal, Outcome::Dropped, tally.without_exporter() + tally.shed);
        counters.count_without_exporter(signal, tally.without_exporter());
        counters.count_ignored(signal, remarks.ignored() as u64);
        let missing = snapshot.routes.missing(signal);
        remarks.log(signal, missing, &caller);
        if tally.unrouted > 0
            && let Some(suppressed) = notice::due(signal.name(), "dropped")
        {
            let records = tally.unrouted;
            let (peer, user_agent, service) = (caller.peer(), caller.user_agent(), caller.service());
            warn!(
                %signal, peer, user_agent, service, records, suppressed,
                "records without a route dropped, as `unrouted: drop` says"
            );
        }
        if tally.unrouted_letters > 0
            && let Some(suppressed) = due_about_unrouted(signal, &caller, "dead letter of unrouted data")
        {
            let records = tally.unrouted_letters;
            let (peer, user_agent, service) = (caller.peer(), caller.user_agent(), caller.service());
            warn!(
                %signal, peer, user_agent, service, records, suppressed,
                "records without a route are kept as dead letters, as `unrouted: dead_letter` says: {missing}"
            );
        }
        if tally.unknown_letters > 0
            && let Some(suppressed) = notice::due(signal.name(), "unknown tenant")
        {
            let records = tally.unknown_letters;
            let (peer, user_agent, service) = (caller.peer(), caller.user_agent(), caller.service());
            warn!(
                %signal, peer, user_agent, service, records, suppressed,
                "records of unknown tenants are kept as dead letters, as `unknown: dead_letter` says"
            );
        }
        let first = not_admitted.cuts.first().map(|cut| cut.path.clone());
        let letters = self.dead_letter(snapshot, signal, &caller, not_admitted);
        let (answered, verdict) = match (remarks.verdict(missing), first) {
            (Verdict::Partly { message, .. }, Some(field)) if admitted.nothing_valid => {
                (Answered::Rejected, Verdict::Malformed { field, message })
            }
            (Verdict::Partly { message, .. }, _) if admitted.all_foreign => {
                (Answered::Rejected, Verdict::Forbidden(message))
            }
            (Verdict::Partly { message, .. }, _) if no_route => {
                (Answered::Rejected, Verdict::Unrouted(message))
            }
            (verdict @ Verdict::Partly { .. }, _) => (Answered::Partial, verdict),
            (verdict, _) => (Answered::Accepted, verdict),
        };
        counters.count_request(signal, answered);
        caller.trace().set("sluice.outcome", || text(answered.name()));
        Finished { verdict, letters }
    }
}
