//! Counting and logging requests of which nothing is taken.

use tracing::field::display;
use tracing::warn;

use super::body::BodyReadError;
use super::caller::Caller;
use super::counters::{RequestOutcome, TransportCounters};
use super::parts::TenantParts;
use super::verdict::Verdict;
use crate::notice;
use crate::outcome::Outcome;
use crate::route::RoutingKey;
use crate::stream::{Full, Refused, StreamAddress};
use crate::tenants::RateExceeded;
use otlp::{Malformed, Signal};

/// Counts a request whose body was not read to its end. How many records it held is not known, so none is counted.
pub(super) fn unread(counters: &TransportCounters, signal: Signal, caller: &Caller, error: &BodyReadError) {
    let (answered, cause) = match error {
        BodyReadError::NoMemory => (RequestOutcome::Refused, "no memory"),
        BodyReadError::TooLarge(..) | BodyReadError::NeverFits(_) => {
            (RequestOutcome::Rejected, "body too large")
        }
        BodyReadError::TimedOut(_) => (RequestOutcome::Rejected, "body too late"),
        BodyReadError::Aborted => (RequestOutcome::Rejected, "body ended"),
        BodyReadError::Framing(_) => (RequestOutcome::Rejected, "framing"),
        BodyReadError::Corrupt(..) => (RequestOutcome::Rejected, "encoding"),
    };
    counters.count_request(signal, answered, caller.receiver());
    if let Some(suppressed) = notice::due(signal.name(), cause) {
        let (peer, user_agent) = (caller.peer(), caller.user_agent());
        warn!(%signal, peer, user_agent, suppressed, "request not taken: {error}");
    }
}

/// Counts a request that is not OTLP, and so has no number of records.
pub(super) fn malformed(
    counters: &TransportCounters,
    signal: Signal,
    caller: &Caller,
    malformed: &Malformed,
) -> Verdict {
    counters.count_request(signal, RequestOutcome::Rejected, caller.receiver());
    if let Some(suppressed) = notice::due(signal.name(), malformed.reason.text()) {
        let (peer, user_agent) = (caller.peer(), caller.user_agent());
        warn!(%signal, peer, user_agent, suppressed, "request rejected: {malformed}");
    }
    Verdict::Malformed { field: malformed.path.clone(), message: malformed.to_string() }
}

/// Counts a request that is not admitted since a tenant of it can't be served now, and its records.
pub(super) fn unavailable(
    counters: &TransportCounters,
    signal: Signal,
    caller: &Caller,
    parts: &TenantParts,
    why: &str,
) -> Verdict {
    let records = parts.records();
    counters.count(signal, Outcome::Refused, records);
    parts.count(signal, Outcome::Refused);
    counters.count_request(signal, RequestOutcome::Refused, caller.receiver());
    if let Some(suppressed) = notice::due_for_one_of_many(why, "tenant unavailable") {
        let (peer, user_agent) = (caller.peer(), caller.user_agent());
        warn!(%signal, peer, user_agent, records, suppressed, "request refused: {why}");
    }
    Verdict::Unavailable(why.to_owned())
}

/// Counts a request that is not admitted since a tenant has sent more than its rate, and its `records`, as far as these are
/// known.
pub(super) fn count_over_rate(
    counters: &TransportCounters,
    signal: Signal,
    caller: &Caller,
    records: Option<u64>,
    exceeded: &RateExceeded,
) {
    counters.count(signal, Outcome::Refused, records.unwrap_or(0));
    counters.count_request(signal, RequestOutcome::Refused, caller.receiver());
    if let Some(suppressed) = notice::due_for_one_of_many(&*exceeded.tenant, "rate") {
        let (tenant, peer, user_agent) = (&*exceeded.tenant, caller.peer(), caller.user_agent());
        warn!(%signal, tenant, peer, user_agent, records, suppressed, "request refused: {exceeded}");
    }
}

/// Counts a request that is not admitted, and its records.
pub(super) fn refused(
    counters: &TransportCounters,
    signal: Signal,
    caller: &Caller,
    parts: &TenantParts,
    refused: &Refused,
) -> Verdict {
    let records = parts.records();
    let never = match refused {
        Refused::TooLarge => "the request needs more than the memory limit, so it can never be taken",
        Refused::TooLargeForJournal => {
            "the request needs more than the journal may hold, so it can never be taken"
        }
        Refused::TooManyStreams => {
            "the request names more streams than the limit of streams, so it can never be taken: send it in parts"
        }
        Refused::Full(full) => {
            counters.count(signal, Outcome::Refused, records);
            parts.count(signal, Outcome::Refused);
            counters.count_request(signal, RequestOutcome::Refused, caller.receiver());
            let due = |cause| notice::due(signal.name(), cause);
            let (tenant, due) = match full {
                Full::Memory => (None, due("no memory")),
                Full::Stream | Full::Streams => (None, due("no stream")),
                Full::Share | Full::Journal => {
                    counters.note_without_journal_room();
                    (None, due("no journal"))
                }
                Full::Disk => (None, due("no disk")),
                Full::Tenant { tenant, limit } => {
                    (Some(&**tenant), notice::due_for_one_of_many(&**tenant, limit.name()))
                }
            };
            if let Some(suppressed) = due {
                warn!(%signal, tenant, records, suppressed, "request refused: {full}; the sender is asked to retry");
            }
            return Verdict::Refused(full.clone());
        }
        Refused::FullStream { full, exporter, name } => {
            counters.count(signal, Outcome::Refused, records);
            parts.count(signal, Outcome::Refused);
            counters.count_request(signal, RequestOutcome::Refused, caller.receiver());
            if matches!(full, Full::Share | Full::Journal) {
                counters.note_without_journal_room();
            }
            let key = &name.key;
            if let Some(suppressed) = notice::due_for_one_of_many(&(exporter, signal, key), "full") {
                warn!(
                    %exporter, %signal, key = &*key.text(), tenant = key.tenant(), records, suppressed,
                    "request refused: {full}; the sender is asked to retry"
                );
            }
            return Verdict::Refused(full.clone());
        }
    };
    counters.count(signal, Outcome::Rejected, records);
    parts.count(signal, Outcome::Rejected);
    counters.count_request(signal, RequestOutcome::Rejected, caller.receiver());
    if let Some(suppressed) = notice::due(signal.name(), "too large") {
        let (peer, user_agent) = (caller.peer(), caller.user_agent());
        warn!(%signal, peer, user_agent, records, suppressed, "request rejected: {never}");
    }
    Verdict::TooLarge(never)
}

/// Counts a request that was withdrawn, and names the stream that it waited for, one of them if there are several.
pub(super) fn undelivered(
    counters: &TransportCounters,
    signal: Signal,
    caller: &Caller,
    parts: &TenantParts,
    stream: Option<&StreamAddress>,
) {
    let records = parts.records();
    counters.count(signal, Outcome::Refused, records);
    parts.count(signal, Outcome::Refused);
    counters.count_request(signal, RequestOutcome::Refused, caller.receiver());
    let (exporter, key) = stream.map(|stream| (&*stream.exporter, &stream.name.key)).unzip();
    if let Some(suppressed) = notice::due_for_one_of_many(&(exporter, signal, key), "undelivered") {
        let (exporter, key) = (exporter.map(display), key.map(RoutingKey::text));
        warn!(exporter, %signal, key = key.as_deref(), records, suppressed, "request not delivered in time, or its sender has gone; it is to be sent again");
    }
}
