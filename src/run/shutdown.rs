//! The shutdown: stop accepting, answer, flush, deliver, and report what is left.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::{error, info, warn};

use super::leftover::{GivenUpExporter, Leftover, give_up_in_turn};
use super::telemetry::LAST_TELEMETRY;
use super::{Router, service_manager};
use crate::export::{Exporter, Fate};
use crate::journal::{Failing, Journal, Unwritten};
use crate::otlp::Signal;

/// Time for writing dead letters, or for the last answers, once the deadline has passed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Time for writing dead letters after a second signal.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Time for dead letters whose writing has begun, once no more are begun.
const FINISHING: Duration = Duration::from_secs(1);

/// Time for all that has no limit of its own: tasks that end, lines of the log.
const BETWEEN: Duration = Duration::from_secs(1);

/// The part of `shutdown_timeout` that requests in progress may take.
const RECEIVING: f64 = 0.8;

/// The part of `shutdown_timeout` after which nothing that is in the journal is sent any more.
const DELIVERING: f64 = 0.5;

/// What could not be done in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// What exporters could not deliver.
    pub exporters: Vec<Leftover>,
    /// Requests whose invalid parts were cut out and did not get into the dead-letter directory.
    pub unwritten_cuts: usize,
    /// What the journal does not keep for certain.
    pub journal: Option<Unkept>,
}

/// Why the journal does not keep what was left to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unkept {
    /// The journal's disk did not answer in time.
    Hangs(Unwritten),
    /// The journal's directory is not where it was opened.
    Displaced {
        /// Records that were not delivered.
        records: u64,
        /// What is wrong, and what could be done about it.
        why: Arc<str>,
    },
}

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hangs(Unwritten { requests, records }) => write!(
                f,
                "the journal's disk did not answer in time: whether {records} records of {requests} requests are on it is \
                 not known (their senders were not told that they are), and what was delivered last may be sent again"
            ),
            Self::Displaced { records, why } => {
                write!(f, "{records} records were not delivered, and nothing keeps them: {why}")
            }
        }
    }
}

impl Leftovers {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.exporters.is_empty() && self.unwritten_cuts == 0 && self.journal.is_none()
    }
}

/// The longest time that a shutdown takes once `shutdown_delay` is over: all of the time to deliver; then the rest becomes dead letters
/// or, with a journal, the answers to attempts are awaited and after them the journal's disk; then the last dead letters and the last own
/// telemetry.
fn longest(shutdown_timeout: Duration, has_journal: bool, has_telemetry: bool) -> Duration {
    let journal = if has_journal { LAST_WORDS } else { Duration::ZERO };
    let telemetry = if has_telemetry { LAST_TELEMETRY } else { Duration::ZERO };
    shutdown_timeout + LAST_WORDS + journal + FINISHING + telemetry + BETWEEN
}

fn pending_records(router: &Router) -> u64 {
    router.exporters().iter().map(|exporter| exporter.registry().pending_records()).sum()
}

/// Empties the queues, within `shutdown_timeout` after `shutdown_delay`. Returns what was left: nothing, if everything
/// was delivered or is in the journal. Without journal and dead-letter directory what is left is lost.
pub async fn shut_down(router: &Arc<Router>) -> Leftovers {
    let (delay, timeout) = router.report().shutdown;
    router.begin_stopping();
    let has_journal = router.intake().journal.is_some();
    let longest = delay + longest(timeout, has_journal, router.telemetry().is_on());
    service_manager::tell_stopping(longest, pending_records(router));
    if !delay.is_zero() {
        info!(?delay, "shutting down: not ready any more, still accepting");
        tokio::time::sleep(delay).await;
    }
    let begun = Instant::now();
    info!(?timeout, "shutting down: delivering what is queued");
    // Before the last requests are in: a sender that takes all the time must not keep the data of others from being sent.
    flush(router);
    // Not all of the time, so that the last data can still be sent.
    router.stop_receiving(timeout.mul_f64(RECEIVING)).await;
    // A replay waits for its upstreams as senders do; so a letter that was delivered is removed before the process ends.
    let _ = timeout_at(begun + timeout.mul_f64(RECEIVING), router.dead_letters_underway().lock()).await;
    // Again: a reload that was under way may have brought new exporters.
    flush(router);
    let exporters = router.exporters();
    // What a journal keeps need not be delivered now. The time is better spent on waiting for the answers to what has
    // been sent, so that it is not sent again.
    let keeps = router.intake().journal.as_ref().is_some_and(|journal| !journal.is_failing());
    let patience = if keeps { timeout.mul_f64(DELIVERING) } else { timeout };
    let active = || exporters.iter().filter(|exporter| !exporter.is_paused());
    for exporter in active() {
        exporter.drained(begun + patience).await;
    }
    let pending = || -> u64 {
        let unclaimed = router.unclaimed();
        let unclaimed = unclaimed.iter().map(|unclaimed| unclaimed.records);
        active().map(|exporter| exporter.registry().pending_records()).chain(unclaimed).sum()
    };
    let deadline = begun + timeout + LAST_WORDS;
    let mut left = Leftovers::default();
    let given_up = if let Some(journal) = &router.intake().journal {
        left.journal = keep(&exporters, journal, deadline, pending).await;
        Vec::new()
    } else {
        give_up_in_turn(router.giving_up(), &exporters, std::future::ready(()), deadline).await
    };
    left.unwritten_cuts = finish_dead_letters(router, deadline).await;
    left.exporters = close_dead_letters(router, given_up).await;
    match pending() {
        0 if left.is_empty() => match not_delivered(&exporters) {
            0 => info!("shut down: everything was delivered, nothing is left"),
            not_delivered => info!(
                not_delivered,
                "shut down: nothing is left to deliver; records that were not delivered were logged when they ended"
            ),
        },
        records if left.exporters.is_empty() && left.journal.is_none() => {
            info!(records, "shut down: what is not delivered stays in the journal");
        }
        _ => (),
    }
    left
}

/// Gives up what is queued, after a second signal: it becomes dead letters as far as that takes no more than a second. Returns what was
/// left. Not for a router with a journal, which keeps what is queued.
pub async fn give_up(router: &Router) -> Vec<Leftover> {
    let deadline = Instant::now() + AT_ONCE;
    service_manager::tell_stopping(AT_ONCE + FINISHING + BETWEEN, pending_records(router));
    let exporters = router.exporters();
    // Data that came from now on would be lost, too.
    let receiving = router.stop_receiving(Duration::ZERO);
    let given_up = give_up_in_turn(router.giving_up(), &exporters, receiving, deadline).await;
    finish_dead_letters(router, deadline).await;
    close_dead_letters(router, given_up).await
}

/// Begins no more dead letters, so that none is half written when the process ends, and returns what has become of the data that was
/// given up.
async fn close_dead_letters(router: &Router, given_up: Vec<GivenUpExporter<'_>>) -> Vec<Leftover> {
    let directory = router.intake().dead_letters.load_full();
    if let Some(directory) = &directory
        && timeout(FINISHING, directory.close()).await.is_err()
    {
        error!("dead letters are left half written: the disk does not answer");
    }
    given_up.into_iter().filter_map(|given_up| given_up.leftover(directory.as_deref())).collect()
}

/// Records that had ended with another fate than delivered.
fn not_delivered(exporters: &[Arc<Exporter>]) -> u64 {
    let fates = [Fate::Rejected, Fate::DeadLettered, Fate::Dropped];
    exporters.iter().flat_map(|exporter| fates.map(|fate| exported(exporter, fate))).sum()
}

fn flush(router: &Router) {
    for exporter in router.exporters().iter() {
        exporter.registry().flush();
    }
}

/// Leaves pending data in the journal. Attempts have until `deadline` to be answered: otherwise the next process repeats them. Returns
/// what the journal does not keep.
async fn keep(
    exporters: &[Arc<Exporter>],
    journal: &Journal,
    deadline: Instant,
    pending: impl Fn() -> u64,
) -> Option<Unkept> {
    for exporter in exporters {
        exporter.suspend();
    }
    for exporter in exporters {
        if !exporter.quiet(deadline).await {
            warn!(exporter = %exporter.name(), "attempts were not answered in time, and will be repeated");
        }
    }
    // Attempts may have taken all of the time, which is no reason to call the journal's disk late.
    let left = if journal.close_until(deadline.max(Instant::now() + LAST_WORDS)).await {
        let (Failing { why, .. }, records) = (journal.displaced()?, pending());
        if records == 0 {
            return None;
        }
        Unkept::Displaced { records, why }
    } else {
        Unkept::Hangs(journal.unwritten())
    };
    error!("{left}");
    Some(left)
}

/// Waits for the dead letters that receivers write, of parts that were cut out or not routed, until `deadline` at most. Returns how many
/// of them are not written.
async fn finish_dead_letters(router: &Router, deadline: Instant) -> usize {
    let dead_letter_tasks = &router.intake().dead_letter_tasks;
    dead_letter_tasks.close();
    if timeout_at(deadline, dead_letter_tasks.wait()).await.is_ok() {
        return 0;
    }
    let requests = dead_letter_tasks.len();
    error!(requests, "dead letters of parts that were cut out could not be written in time");
    requests
}

fn exported(exporter: &Exporter, fate: Fate) -> u64 {
    Signal::ALL.iter().map(|signal| exporter.counters().exported(*signal, fate)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../deploy/systemd/sluice.service");

    const MANIFESTS: [&str; 2] = [
        include_str!("../../deploy/kubernetes/gateway/statefulset.yaml"),
        include_str!("../../deploy/helm/sluice/values.yaml"),
    ];

    /// What stands in a file behind `name`, in seconds.
    fn seconds(text: &str, name: &str) -> Duration {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)).expect("it is there");
        Duration::from_secs(line.trim().trim_end_matches('s').parse().expect("it is a number"))
    }

    #[test]
    fn the_longest_shutdown_fits_into_the_time_that_units_and_manifests_give_it() {
        // `shutdown_timeout` is 25 s by default and in the manifests, which also have a `shutdown_delay` of 5 s.
        let longest = longest(Duration::from_secs(25), true, true);
        assert!(longest <= seconds(UNIT, "TimeoutStopSec="), "{longest:?}");
        for manifest in MANIFESTS {
            let given = seconds(manifest, "terminationGracePeriodSeconds:");
            assert!(longest + Duration::from_secs(5) <= given, "{longest:?} of {given:?}");
        }
        // What the documents tell everybody to add to both settings.
        assert!(longest <= Duration::from_secs(25 + 15), "{longest:?}");
    }
}
