//! Counting and logging requests of which nothing is taken.

use tracing::warn;

use super::body::BodyError;
use super::intake::{Intake, Verdict};
use super::parts::TenantParts;
use super::{Answered, Caller, Outcome, Transport, TransportCounters};
use crate::notice;
use crate::stream::{Full, Refused};
use crate::tenants::RateExceeded;
use otlp::{Malformed, Signal};

impl Intake {
    /// Counts a request whose body was not read to its end. How many records it held is not known, so none is counted.
    pub(super) fn unread(&self, signal: Signal, transport: Transport, caller: &Caller, error: &BodyError) {
        let (answered, cause) = match error {
            BodyError::NoMemory => (Answered::Refused, "no memory"),
            BodyError::TooLarge(..) | BodyError::NeverFits(_) => (Answered::Rejected, "body too large"),
            BodyError::TimedOut(_) => (Answered::Rejected, "body too late"),
            BodyError::Aborted => (Answered::Rejected, "body ended"),
            BodyError::Framing(_) => (Answered::Rejected, "framing"),
            BodyError::Corrupt(..) => (Answered::Rejected, "encoding"),
        };
        self.counters.of(transport).count_request(signal, answered);
        if let Some(suppressed) = notice::due(signal.name(), cause) {
            let (peer, user_agent) = (caller.peer(), caller.user_agent());
            warn!(%signal, peer, user_agent, suppressed, "request not taken: {error}");
        }
    }

    /// Counts a request that is not OTLP: nobody can tell how many records it holds.
    pub(super) fn malformed(
        counters: &TransportCounters,
        signal: Signal,
        caller: &Caller,
        malformed: &Malformed,
    ) -> Verdict {
        counters.count_request(signal, Answered::Rejected);
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
        counters.count_request(signal, Answered::Refused);
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
        counters.count_request(signal, Answered::Refused);
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
                counters.count_request(signal, Answered::Refused);
                let due = |cause| notice::due(signal.name(), cause);
                let (tenant, due) = match full {
                    Full::Memory => (None, due("no memory")),
                    Full::Stream | Full::Streams => (None, due("no stream")),
                    Full::Share | Full::Journal => (None, due("no journal")),
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
                counters.count_request(signal, Answered::Refused);
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
        counters.count_request(signal, Answered::Rejected);
        if let Some(suppressed) = notice::due(signal.name(), "too large") {
            let (peer, user_agent) = (caller.peer(), caller.user_agent());
            warn!(%signal, peer, user_agent, records, suppressed, "request rejected: {never}");
        }
        Verdict::TooLarge(never)
    }
}
