//! The totals of a tenant's records since the process began.
//!
//! They belong to the tenant, not to its streams, which end after a minute without data. For each tenant the same holds as for
//! each exporter: routed + recovered = delivered + rejected + dead-lettered + dropped + pending.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::last_minute::LastMinute;
use super::tenant::Sender;
use crate::outcome::{Fate, Outcome};
use otlp::Signal;

/// Failures that are kept: the newest, of which no two are of the same exporter and code.
const FAILURES: usize = 3;

/// The totals of a tenant's records since the process began. They take some 150 bytes, and more for each signal that the tenant has
/// sent, its senders, its last failures and the last minute.
#[derive(Debug)]
pub struct TenantTotals {
    /// The totals of the signals that the tenant has sent: few send every signal.
    signals: [OnceLock<Box<SignalTotals>>; Signal::ALL.len()],
    refused_requests: AtomicU64,
    pending_records: AtomicU64,
    pending_bytes: AtomicU64,
    latest: Mutex<Latest>,
}

/// The totals of one signal.
#[derive(Debug, Default)]
struct SignalTotals {
    received: [AtomicU64; Outcome::ALL.len()],
    received_bytes: AtomicU64,
    routed: AtomicU64,
    recovered: AtomicU64,
    ended: [AtomicU64; Fate::ALL.len()],
    failed_attempts: AtomicU64,
}

/// The latest events. Fields that few tenants need are boxed, to keep the struct small: there may be a hundred thousand.
#[derive(Debug, Default)]
struct Latest {
    /// When something last came.
    received: Option<SystemTime>,
    /// When an upstream has last taken something.
    success: Option<SystemTime>,
    /// `None` if nothing has come within it.
    minute: Option<Box<LastMinute>>,
    /// `None` until there is one.
    failures: Option<Box<LatestFailures>>,
    /// The last use of each credential.
    senders: Box<[KeptUse]>,
}

/// The last attempts that were no success.
#[derive(Debug, Default)]
struct LatestFailures {
    newest_first: Vec<TenantFailure>,
}

/// An attempt that was not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantFailure {
    /// The exporter that made it.
    pub exporter: Arc<str>,
    /// The signal of the batch.
    pub signal: Signal,
    /// As the `code` of `sluice_export_attempts_total`.
    pub code: Cow<'static, str>,
    /// The upstream's words, without secrets; at most some 256 characters.
    pub message: Box<str>,
    /// When the answer came.
    pub at: SystemTime,
}

/// When a sender was last known by its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderUse {
    /// When.
    pub at: SystemTime,
    /// The other side of its connection, which may be a proxy.
    pub from: Option<SocketAddr>,
}

/// A [`SenderUse`] as it is kept: in half of the memory, since there is one for nearly every tenant.
#[derive(Debug)]
struct KeptUse {
    credential: CredentialDigest,
    at: SystemTime,
    from: Option<(IpAddr, u16)>,
}

/// Tells the credentials of a tenant's senders apart, of which no two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CredentialDigest(u64);

impl TenantTotals {
    pub(super) fn new() -> Self {
        Self {
            signals: [const { OnceLock::new() }; Signal::ALL.len()],
            refused_requests: AtomicU64::new(0),
            pending_records: AtomicU64::new(0),
            pending_bytes: AtomicU64::new(0),
            latest: Mutex::default(),
        }
    }

    /// Frees the counts of the last minute, if nothing has come within it.
    pub(super) fn release_idle(&self) {
        let mut latest = self.latest.lock();
        if latest.minute.as_mut().is_some_and(|minute| minute.is_empty(Instant::now())) {
            latest.minute = None;
        }
    }

    fn signal(&self, signal: Signal) -> &SignalTotals {
        self.signals[signal.index()].get_or_init(Box::default)
    }

    /// The count that `count` selects of a signal; 0 of a signal that never came.
    fn read(&self, signal: Signal, count: impl FnOnce(&SignalTotals) -> &AtomicU64) -> u64 {
        self.signals[signal.index()].get().map_or(0, |totals| count(totals).load(Ordering::Acquire))
    }

    /// Counts bytes of protobuf that came, whatever becomes of them.
    pub fn count_bytes(&self, signal: Signal, bytes: u64) {
        self.signal(signal).received_bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = Instant::now();
        let mut latest = self.latest.lock();
        latest.minute.get_or_insert_with(|| Box::new(LastMinute::new(now))).add(bytes, now);
        latest.received = Some(SystemTime::now());
    }

    /// Counts records of one request.
    pub fn count_received(&self, signal: Signal, outcome: Outcome, records: u64) {
        if records > 0 {
            self.signal(signal).received[outcome as usize].fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Counts a request that was refused for what holds for this tenant or what it has sent, whether its records could be counted
    /// or not.
    pub fn count_refused_request(&self) {
        self.refused_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts records that a route has sent to an exporter: they are pending until [`TenantTotals::count_no_more_pending`].
    pub fn count_routed(&self, signal: Signal, records: u64, bytes: u64) {
        self.signal(signal).routed.fetch_add(records, Ordering::Relaxed);
        self.count_pending(records, bytes);
    }

    /// Counts records of before this process, which the journal had.
    pub fn count_recovered(&self, signal: Signal, records: u64, bytes: u64) {
        self.signal(signal).recovered.fetch_add(records, Ordering::Relaxed);
        self.count_pending(records, bytes);
    }

    fn count_pending(&self, records: u64, bytes: u64) {
        self.pending_records.fetch_add(records, Ordering::AcqRel);
        self.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Counts records as pending no more. How they have ended is counted by [`TenantTotals::count_ended`], which comes first.
    pub fn count_no_more_pending(&self, records: u64, bytes: u64) {
        self.pending_records.fetch_sub(records, Ordering::AcqRel);
        self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Counts records that have ended.
    pub fn count_ended(&self, signal: Signal, fate: Fate, records: u64) {
        self.signal(signal).ended[fate as usize].fetch_add(records, Ordering::AcqRel);
    }

    /// Counts an attempt of which an upstream has taken nothing.
    pub fn count_failed_attempt(&self, signal: Signal) {
        self.signal(signal).failed_attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that an upstream has taken something.
    pub fn note_success(&self, at: SystemTime) {
        self.latest.lock().success = Some(at);
    }

    /// Notes that an upstream has not taken something.
    pub fn note_failure(&self, failure: TenantFailure) {
        let mut latest = self.latest.lock();
        let failures = &mut latest.failures.get_or_insert_default().newest_first;
        failures.retain(|known| known.exporter != failure.exporter || known.code != failure.code);
        failures.truncate(FAILURES - 1);
        failures.insert(0, failure);
    }

    /// Notes that one of the tenant's `senders` has shown its credential. What is known of those that are no more of them is
    /// forgotten.
    pub fn note_sender(&self, sender: &Sender, senders: &[Sender], from: Option<SocketAddr>) {
        let (credential, at) = (CredentialDigest::of(sender), SystemTime::now());
        let from = from.map(|from| (from.ip(), from.port()));
        let mut latest = self.latest.lock();
        if let Some(known) = latest.senders.iter_mut().find(|known| known.credential == credential) {
            (known.at, known.from) = (at, from);
            return;
        }
        let mut known = std::mem::take(&mut latest.senders).into_vec();
        known.retain(|known| senders.iter().any(|other| known.credential == CredentialDigest::of(other)));
        known.push(KeptUse { credential, at, from });
        latest.senders = known.into();
    }

    /// Received records by outcome.
    pub fn received(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.read(signal, |totals| &totals.received[outcome as usize])
    }

    /// Bytes of protobuf that came, whatever became of them.
    pub fn received_bytes(&self, signal: Signal) -> u64 {
        self.read(signal, |totals| &totals.received_bytes)
    }

    /// Requests that were refused, whether their records could be counted or not.
    pub fn refused_requests(&self) -> u64 {
        self.refused_requests.load(Ordering::Relaxed)
    }

    /// Records that routes have sent to exporters.
    pub fn routed(&self, signal: Signal) -> u64 {
        self.read(signal, |totals| &totals.routed)
    }

    /// Records of before this process, which the journal had.
    pub fn recovered(&self, signal: Signal) -> u64 {
        self.read(signal, |totals| &totals.recovered)
    }

    /// Records with this fate.
    pub fn ended(&self, signal: Signal, fate: Fate) -> u64 {
        self.read(signal, |totals| &totals.ended[fate as usize])
    }

    /// Attempts of which an upstream has taken nothing.
    pub fn failed_attempts(&self, signal: Signal) -> u64 {
        self.read(signal, |totals| &totals.failed_attempts)
    }

    /// Records that have not ended.
    pub fn pending_records(&self) -> u64 {
        self.pending_records.load(Ordering::Acquire)
    }

    /// Framed bytes of what has not ended.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Acquire)
    }

    /// Bytes of protobuf a second, as the mean of the last minute.
    pub fn rate(&self) -> u64 {
        self.latest.lock().minute.as_mut().map_or(0, |minute| minute.rate(Instant::now()))
    }

    /// When something last came.
    pub fn last_received(&self) -> Option<SystemTime> {
        self.latest.lock().received
    }

    /// When an upstream has last taken something.
    pub fn last_success(&self) -> Option<SystemTime> {
        self.latest.lock().success
    }

    /// The last attempts that were no success, the newest first: of each exporter and code one.
    pub fn failures(&self) -> Vec<TenantFailure> {
        self.latest.lock().failures().to_vec()
    }

    /// The newest of [`TenantTotals::failures`].
    pub fn last_failure(&self) -> Option<TenantFailure> {
        self.latest.lock().failures().first().cloned()
    }

    /// When the last attempt was made that was no success.
    pub fn last_failure_at(&self) -> Option<SystemTime> {
        self.latest.lock().failures().first().map(|failure| failure.at)
    }

    /// When a sender was last known by the credential that it has now, if it was.
    pub fn sender_use(&self, sender: &Sender) -> Option<SenderUse> {
        let credential = CredentialDigest::of(sender);
        let latest = self.latest.lock();
        let known = latest.senders.iter().find(|known| known.credential == credential)?;
        Some(SenderUse { at: known.at, from: known.from.map(SocketAddr::from) })
    }
}

impl Latest {
    /// The newest first.
    fn failures(&self) -> &[TenantFailure] {
        self.failures.as_ref().map_or(&[], |failures| &failures.newest_first)
    }
}

impl CredentialDigest {
    /// The digest of the credential that the sender has now.
    fn of(sender: &Sender) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(HASHER.hash_one(&sender.credential))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::Credential;

    fn failure(exporter: &str, code: &'static str, message: &str) -> TenantFailure {
        let (exporter, message, at) = (exporter.into(), message.into(), SystemTime::now());
        TenantFailure { exporter, signal: Signal::Logs, code: code.into(), message, at }
    }

    #[test]
    fn the_newest_failure_of_each_exporter_and_code_is_kept_and_no_more_than_a_few() {
        let totals = TenantTotals::new();
        for (exporter, code, message) in
            [("a", "401", "1"), ("b", "401", "2"), ("a", "401", "3"), ("a", "503", "4"), ("a", "404", "5")]
        {
            totals.note_failure(failure(exporter, code, message));
        }
        let told: Vec<_> = totals.failures().into_iter().map(|failure| failure.message.to_string()).collect();
        assert_eq!(told, ["5", "4", "3"]);
        assert_eq!(&*totals.last_failure().unwrap().message, "5");
    }

    #[test]
    fn a_sender_that_the_row_has_no_more_is_forgotten() {
        let totals = TenantTotals::new();
        let sender = |name: &str| Sender {
            name: name.into(),
            credential: Credential::token(name.as_bytes()),
            expires: None,
            may_send_for: None,
        };
        let from = |port| Some(SocketAddr::from(([192, 0, 2, 1], port)));
        let senders = [sender("one"), sender("two")];
        totals.note_sender(&senders[0], &senders, from(1));
        totals.note_sender(&senders[1], &senders, from(2));
        totals.note_sender(&senders[1], &senders, from(3));
        let used = |name| totals.sender_use(&sender(name));
        assert_eq!(used("one").unwrap().from, from(1));
        assert_eq!(used("two").unwrap().from, from(3));
        let rotated = Sender { credential: Credential::token(b"new"), ..sender("two") };
        assert_eq!(totals.sender_use(&rotated), None, "its new credential was not used");
        totals.note_sender(&sender("three"), &[sender("two"), sender("three")], None);
        assert_eq!(used("one"), None);
        assert!(used("two").is_some() && used("three").is_some());
    }

    #[test]
    fn totals_of_a_tenant_take_little_memory() {
        assert!(size_of::<TenantTotals>() <= 152, "{}", size_of::<TenantTotals>());
        assert!(size_of::<KeptUse>() <= 48, "{}", size_of::<KeptUse>());
        assert!(size_of::<SignalTotals>() <= 96, "{}", size_of::<SignalTotals>());
    }
}
