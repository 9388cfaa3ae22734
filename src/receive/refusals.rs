//! Counting and logging requests of which nothing is taken.

use tracing::warn;

use super::body::BodyError;
use super::intake::{Intake, Verdict};
use super::{Outcome, Transport, TransportCounters};
use crate::notice;
use crate::otlp::{Malformed, Signal};
use crate::stream::{Full, Refused};

impl Intake {
    /// Counts a request whose body was not read to its end, as one record: how many it held is not known.
    pub(super) fn unread(&self, signal: Signal, transport: Transport, error: &BodyError) {
        let (outcome, cause) = match error {
            BodyError::NoMemory => (Outcome::Refused, "no memory"),
            BodyError::TooLarge(..) | BodyError::NeverFits(_) => (Outcome::Rejected, "body too large"),
            BodyError::TimedOut(_) => (Outcome::Rejected, "body too late"),
            BodyError::Aborted => (Outcome::Rejected, "body ended"),
            BodyError::Framing(_) => (Outcome::Rejected, "framing"),
            BodyError::Corrupt(..) => (Outcome::Rejected, "encoding"),
        };
        self.counters.of(transport).count(signal, outcome, 1);
        if let Some(suppressed) = notice::due(signal.name(), cause) {
            warn!(%signal, suppressed, "request not taken: {error}");
        }
    }

    /// Counts a request that is not OTLP.
    pub(super) fn malformed(counters: &TransportCounters, signal: Signal, malformed: &Malformed) -> Verdict {
        counters.count(signal, Outcome::Rejected, 1);
        if let Some(suppressed) = notice::due(signal.name(), malformed.reason.text()) {
            warn!(%signal, suppressed, "request rejected: {malformed}");
        }
        Verdict::Malformed { field: malformed.path.clone(), message: malformed.to_string() }
    }

    /// Counts a request that is not admitted.
    pub(super) fn refused(
        counters: &TransportCounters,
        signal: Signal,
        records: u64,
        refused: &Refused,
    ) -> Verdict {
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
                let cause = match full {
                    Full::Memory => "no memory",
                    Full::Stream | Full::Streams => "no stream",
                    Full::Share | Full::Journal => "no journal",
                    Full::Disk => "no disk",
                };
                if let Some(suppressed) = notice::due(signal.name(), cause) {
                    warn!(%signal, records, suppressed, "request refused: {full}; the sender is asked to retry");
                }
                return Verdict::Refused(*full);
            }
            Refused::FullStream { full, exporter, name } => {
                counters.count(signal, Outcome::Refused, records);
                if let Some(suppressed) = notice::due(exporter, "full") {
                    let key = name.routing_key();
                    warn!(
                        %exporter, %signal, key, records, suppressed,
                        "request refused: {full}; the sender is asked to retry"
                    );
                }
                return Verdict::Refused(*full);
            }
        };
        counters.count(signal, Outcome::Rejected, records);
        if let Some(suppressed) = notice::due(signal.name(), "too large") {
            warn!(%signal, records, suppressed, "request rejected: {never}");
        }
        Verdict::TooLarge(never)
    }
}
