//! Faults: the answers that a sink can be told to give instead of the right one.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use memchr::memmem;
use parking_lot::Mutex;
use tokio::time::Instant;

/// An answer, and which requests get it. A fault starts from one of the constructors; the methods narrow it.
///
/// ```
/// # use std::time::Duration;
/// # use rig::sink::{Fault, RetryAfter};
/// let overload = Fault::status(503).retry_after(RetryAfter::Seconds(2)).first(3);
/// let one_slow_tenant = Fault::hang().on_streams("tenant-7*");
/// let poison = Fault::status(400).on_text("poison");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    answer: FaultAnswer,
    delay: Duration,
    when: When,
    streams: Option<String>,
    text: Option<String>,
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FaultAnswer {
    Accept,
    PartialSuccess { rejected: i64, message: String },
    Status { status: StatusCode, retry_after: Option<RetryAfter>, message: String },
    Redirect { status: StatusCode, location: String },
    GarbageBody,
    NotHttp,
    CutBody { after: u64, reset: bool },
    CloseUnanswered,
    Hang,
}

/// The form of a `Retry-After` header (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// The date that is this far away when the answer is written.
    Date(Duration),
}

/// Which of the requests that a fault could hit it does hit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Always,
    First(u64),
    Ratio(f64),
    For(Duration),
}

impl Fault {
    fn new(answer: FaultAnswer) -> Self {
        Self { answer, delay: Duration::ZERO, when: When::Always, streams: None, text: None }
    }

    /// No fault: the request is taken and answered 200.
    pub fn none() -> Self {
        Self::new(FaultAnswer::Accept)
    }

    /// The request is taken, and answered 200 with a partial success that says `rejected` records were not.
    /// Nobody checks that `rejected` is true, or even possible.
    pub fn partial_success(rejected: i64, message: impl Into<String>) -> Self {
        Self::new(FaultAnswer::PartialSuccess { rejected, message: message.into() })
    }

    /// The request is refused with this HTTP status; a gRPC call with the code that stands for it:
    ///
    /// | status | code |
    /// |---|---|
    /// | 400, 422 | `INVALID_ARGUMENT` |
    /// | 401 | `UNAUTHENTICATED` |
    /// | 403 | `PERMISSION_DENIED` |
    /// | 404, 405, 415, 501 | `UNIMPLEMENTED` |
    /// | 408, 504 | `DEADLINE_EXCEEDED` |
    /// | 409 | `ABORTED` |
    /// | 413 | `RESOURCE_EXHAUSTED` |
    /// | 429 | `RESOURCE_EXHAUSTED`, always with `RetryInfo` |
    /// | 500 | `INTERNAL` |
    /// | 502, 503 | `UNAVAILABLE` |
    /// | others | `UNKNOWN` |
    ///
    /// # Panics
    ///
    /// If `status` is not between 100 and 999.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("an HTTP status has three digits");
        let message = format!("the sink was told to answer {status}");
        Self::new(FaultAnswer::Status { status, retry_after: None, message })
    }

    /// The request is refused with a redirect to `location`, a gRPC call too.
    ///
    /// # Panics
    ///
    /// If `status` is not between 100 and 999.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).expect("an HTTP status has three digits");
        Self::new(FaultAnswer::Redirect { status, location: location.into() })
    }

    /// The request is taken and answered 200, with a body that is neither protobuf nor what the head says.
    pub fn garbage_body() -> Self {
        Self::new(FaultAnswer::GarbageBody)
    }

    /// The request is read and answered with bytes that are not HTTP; then the connection is closed.
    pub fn not_http() -> Self {
        Self::new(FaultAnswer::NotHttp)
    }

    /// The connection is reset after `after` bytes of the body have been read. If the fault depends on streams
    /// or on text, the whole body has to be read first.
    pub fn reset_after(after: u64) -> Self {
        Self::new(FaultAnswer::CutBody { after, reset: true })
    }

    /// Like [`Fault::reset_after`], but the connection is closed in the ordinary way. (With unread bytes in its
    /// buffer, the kernel may still turn that into a reset.)
    pub fn close_after(after: u64) -> Self {
        Self::new(FaultAnswer::CutBody { after, reset: false })
    }

    /// The request is taken, but the connection is closed without an answer: a sender must assume that it was
    /// not, and send it again.
    pub fn cut_answer() -> Self {
        Self::new(FaultAnswer::CloseUnanswered)
    }

    /// The request is read and never answered.
    pub fn hang() -> Self {
        Self::new(FaultAnswer::Hang)
    }

    /// The answer comes this much later.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds `Retry-After` to a [`Fault::status`], `RetryInfo` in gRPC; no other fault has a place for it.
    #[must_use]
    pub fn retry_after(mut self, wait: RetryAfter) -> Self {
        if let FaultAnswer::Status { retry_after, .. } = &mut self.answer {
            *retry_after = Some(wait);
        }
        self
    }

    /// Replaces the message in the body of a [`Fault::status`].
    #[must_use]
    pub fn message(mut self, text: impl Into<String>) -> Self {
        if let FaultAnswer::Status { message, .. } = &mut self.answer {
            *message = text.into();
        }
        self
    }

    /// Only the first `requests` it could hit.
    #[must_use]
    pub fn first(mut self, requests: u64) -> Self {
        self.when = When::First(requests);
        self
    }

    /// Only this part of the requests it could hit, evenly spread: with 0.25 every fourth.
    #[must_use]
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.when = When::Ratio(ratio);
        self
    }

    /// Only for this long after the first request that it could hit.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.when = When::For(time);
        self
    }

    /// Only requests with an entry of a stream whose routing key matches `glob`, in which `*` is any text.
    #[must_use]
    pub fn on_streams(mut self, glob: impl Into<String>) -> Self {
        self.streams = Some(glob.into());
        self
    }

    /// Only requests whose decompressed body contains `text`.
    #[must_use]
    pub fn on_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    fn needs_body(&self) -> bool {
        self.streams.is_some() || self.text.is_some()
    }
}

impl RetryAfter {
    /// The header, as of now.
    pub(super) fn to_header(self) -> HeaderValue {
        let text = match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date(away) => httpdate::fmt_http_date(SystemTime::now() + away),
        };
        HeaderValue::from_str(&text).expect("digits and dates are header values")
    }
}

/// The faults that are set, and how far each has come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    inner: Mutex<FaultPlan>,
}

#[derive(Debug, Default)]
struct FaultPlan {
    script: VecDeque<Fault>,
    active: Vec<ActiveFault>,
}

#[derive(Debug)]
struct ActiveFault {
    fault: Fault,
    /// When the first request came that it could have hit, for [`When::For`]: a sink may wait long for its sender.
    since: Option<Instant>,
    /// Requests it could have hit, for [`When::First`] and [`When::Ratio`].
    candidates: u64,
}

/// What is known about a request's fault when its head has arrived.
pub(super) enum AtHead {
    /// The script has a line for it.
    Scripted(FaultAnswer, Duration),
    /// Cut the body off; no fault ahead of this one depends on the body.
    Cut(FaultAnswer),
    /// To be decided once the body is there.
    Later,
}

impl Faults {
    pub(super) fn set(&self, faults: impl IntoIterator<Item = Fault>) {
        let active = faults.into_iter().map(ActiveFault::new).collect();
        self.inner.lock().active = active;
    }

    pub(super) fn add(&self, fault: Fault) {
        self.inner.lock().active.push(ActiveFault::new(fault));
    }

    pub(super) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner.lock().script.extend(faults);
    }

    /// Decides what can be decided without the body.
    pub(super) fn at_head(&self) -> AtHead {
        let mut inner = self.inner.lock();
        if let Some(Fault { answer, delay, .. }) = inner.script.pop_front() {
            return AtHead::Scripted(answer, delay);
        }
        for active in &mut inner.active {
            if active.fault.needs_body() || !matches!(active.fault.answer, FaultAnswer::CutBody { .. }) {
                break;
            }
            if active.due() {
                return AtHead::Cut(active.fault.answer.clone());
            }
        }
        AtHead::Later
    }

    /// The first fault that is due for a request with this body; `keys` are the routing keys of its entries.
    pub(super) fn at_end<'a>(
        &self,
        body: &[u8],
        keys: impl Fn() -> Vec<Vec<u8>> + 'a,
    ) -> (FaultAnswer, Duration) {
        let mut inner = self.inner.lock();
        let mut may_cut = false;
        for active in &mut inner.active {
            let Fault { answer, streams, text, .. } = &active.fault;
            may_cut |= active.fault.needs_body() || !matches!(answer, FaultAnswer::CutBody { .. });
            let in_streams = streams
                .as_ref()
                .is_none_or(|glob| keys().iter().any(|key| glob_matches(glob.as_bytes(), key)));
            let has_text = text.as_ref().is_none_or(|text| memmem::find(body, text.as_bytes()).is_some());
            // Cuts at the front of the list had their turn when the head arrived.
            if may_cut && in_streams && has_text && active.due() {
                return (active.fault.answer.clone(), active.fault.delay);
            }
        }
        (FaultAnswer::Accept, Duration::ZERO)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().active.is_empty()
    }
}

impl ActiveFault {
    fn new(fault: Fault) -> Self {
        Self { fault, since: None, candidates: 0 }
    }

    /// Counts a request that the fault could hit, and says whether it does.
    fn due(&mut self) -> bool {
        let before = self.candidates;
        self.candidates += 1;
        match self.fault.when {
            When::Always => true,
            When::First(requests) => before < requests,
            When::Ratio(ratio) => (self.candidates as f64 * ratio).floor() > (before as f64 * ratio).floor(),
            When::For(time) => self.since.get_or_insert_with(Instant::now).elapsed() < time,
        }
    }
}

/// Whether `text` matches `glob`, in which `*` stands for any bytes.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let mut parts = glob.split(|&byte| byte == b'*');
    let first = parts.next().expect("splitting gives one part at least");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = memmem::find(rest, part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(faults: &Faults, body: &[u8], keys: &[&str], requests: usize) -> Vec<FaultAnswer> {
        let keys = || keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        (0..requests).map(|_| faults.at_end(body, keys).0).collect()
    }

    fn with(fault: Fault) -> Faults {
        let faults = Faults::default();
        faults.add(fault);
        faults
    }

    #[test]
    fn a_glob_matches_the_whole_key() {
        for (glob, key, matches) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*", "", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*a", "a", false),
            ("a*c*e", "abde", false),
        ] {
            assert_eq!(glob_matches(glob.as_bytes(), key.as_bytes()), matches, "{glob} {key}");
        }
    }

    #[test]
    fn a_ratio_is_spread_evenly() {
        let hits = answers(&with(Fault::hang().ratio(0.25)), b"", &[], 8);
        let hit = |answer: &FaultAnswer| *answer == FaultAnswer::Hang;
        assert_eq!(
            hits.iter().map(hit).collect::<Vec<_>>(),
            [false, false, false, true, false, false, false, true]
        );
    }

    #[test]
    fn only_the_first_requests_of_the_named_streams_count() {
        let faults = with(Fault::hang().on_streams("slow-*").first(1));
        assert_eq!(
            answers(&faults, b"", &["fast-1"], 3),
            [FaultAnswer::Accept, FaultAnswer::Accept, FaultAnswer::Accept]
        );
        assert_eq!(answers(&faults, b"", &["fast-1", "slow-1"], 2), [FaultAnswer::Hang, FaultAnswer::Accept]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_lasts_begins_with_the_first_request_it_could_hit_and_ends_by_itself() {
        let faults = with(Fault::hang().on_streams("slow-*").lasting(Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(answers(&faults, b"", &["fast-1"], 1), [FaultAnswer::Accept]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(answers(&faults, b"", &["slow-1"], 1), [FaultAnswer::Hang]);
        tokio::time::advance(Duration::from_millis(4999)).await;
        assert_eq!(answers(&faults, b"", &["slow-1"], 1), [FaultAnswer::Hang]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(answers(&faults, b"", &["slow-1"], 1), [FaultAnswer::Accept]);
    }

    #[test]
    fn the_first_fault_that_is_due_wins() {
        let faults = with(Fault::hang().on_text("poison"));
        faults.add(Fault::cut_answer());
        assert_eq!(answers(&faults, b"some poison", &[], 1), [FaultAnswer::Hang]);
        assert_eq!(answers(&faults, b"water", &[], 1), [FaultAnswer::CloseUnanswered]);
    }

    #[test]
    fn a_script_is_played_before_anything_else() {
        let faults = with(Fault::hang());
        faults.script([Fault::cut_answer()]);
        assert!(matches!(faults.at_head(), AtHead::Scripted(FaultAnswer::CloseUnanswered, _)));
        assert!(matches!(faults.at_head(), AtHead::Later));
    }
}
