//! Log lines about trouble: one for each cause in ten seconds, and no more than an allotment about all causes together.
//!
//! An upstream that is down fails thousands of attempts a minute, and a broken sender thousands of requests. One
//! line says it as well; the next one says how many were kept back. A cause is as fine as what somebody has to do about it:
//! a stream whose token has expired hides no other stream whose URL is wrong. So there can be as many causes as there are
//! streams and senders, and the bound on all of them is what keeps the log readable then. Lines about failed authentication have
//! an allotment of their own: anybody can cause any number of them, and they take no lines from the troubles of senders and
//! streams.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

/// The time between two lines about the same cause.
pub const WINDOW: Duration = Duration::from_secs(10);

/// The lines about all causes of a kind together.
#[derive(Debug)]
struct Allotment {
    /// Lines in a second, on average.
    a_second: u32,
    /// Lines at once, after a time without any.
    at_once: u32,
    /// The subject of the lines, in words.
    subject: &'static str,
}

const TROUBLE: Allotment = Allotment { a_second: 20, at_once: 60, subject: "trouble" };

const FAILED_AUTHENTICATION: Allotment =
    Allotment { a_second: 5, at_once: 20, subject: "failed authentication" };

/// How many of the lines about trouble that may come at once are kept for causes which are not one of many.
const LINES_FOR_FEW: u32 = 20;

/// How many causes are remembered. Their scopes may come from senders.
const CAUSES: usize = 10_000;

/// The notices about [`TROUBLE`].
static NOTICES: LazyLock<Mutex<Notices>> =
    LazyLock::new(|| Mutex::new(Notices::new(&TROUBLE, Instant::now())));

/// The notices about [`FAILED_AUTHENTICATION`].
static AUTHENTICATION_NOTICES: LazyLock<Mutex<Notices>> =
    LazyLock::new(|| Mutex::new(Notices::new(&FAILED_AUTHENTICATION, Instant::now())));

/// The causes that lines have been about, and how many lines may come now.
#[derive(Debug)]
struct Notices {
    allotment: &'static Allotment,
    /// By the hash of scope and cause.
    causes: HashMap<u64, NoticedCause>,
    hasher: RandomState,
    /// Lines that may come now, and since when that is so.
    allowed: f64,
    since: Instant,
    /// Lines that would have been due but for the bound on all together, since that was last said.
    left_out: u64,
    next_word_on_left_out: Instant,
}

#[derive(Debug)]
struct NoticedCause {
    next: Instant,
    suppressed: u64,
}

/// Whether a line about `cause` in `scope` may be logged now, and how many were not since the last one. The scope is whatever
/// tells apart those who have to be named: an exporter, one of its streams, a listener, a peer.
pub fn due(scope: &(impl Hash + ?Sized), cause: &str) -> Option<u64> {
    due_of(&NOTICES, 0, scope, cause)
}

/// As [`due`], in a scope of which there may be any number, such as a stream: however many of them are in trouble, lines are
/// left for the disk, an exporter or a listener.
pub fn due_for_one_of_many(scope: &(impl Hash + ?Sized), cause: &str) -> Option<u64> {
    due_of(&NOTICES, LINES_FOR_FEW, scope, cause)
}

/// As [`due`], about a request whose sender is not taken for one, or not now. The scope may be anybody's address: however many
/// there are, all other lines are left.
pub fn due_for_failed_authentication(scope: &(impl Hash + ?Sized), cause: &str) -> Option<u64> {
    due_of(&AUTHENTICATION_NOTICES, 0, scope, cause)
}

fn due_of(notices: &Mutex<Notices>, reserve: u32, scope: &(impl Hash + ?Sized), cause: &str) -> Option<u64> {
    let now = Instant::now();
    let mut notices = notices.lock();
    let due = notices.due(reserve, scope, cause, now);
    let left_out = notices.take_left_out(now);
    let Allotment { a_second, at_once, subject } = notices.allotment;
    drop(notices);
    if left_out > 0 {
        warn!(
            left_out,
            "lines about other {subject} were left out of this log, which gets {at_once} at once and then {a_second} a second about {subject}: metrics and \
             API have all of it"
        );
    }
    due
}

impl Notices {
    fn new(allotment: &'static Allotment, now: Instant) -> Self {
        Self {
            allotment,
            causes: HashMap::new(),
            hasher: RandomState::new(),
            allowed: f64::from(allotment.at_once),
            since: now,
            left_out: 0,
            next_word_on_left_out: now,
        }
    }

    fn due(&mut self, reserve: u32, scope: &(impl Hash + ?Sized), cause: &str, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        let Allotment { a_second, at_once, .. } = self.allotment;
        self.allowed = (self.allowed + passed * f64::from(*a_second)).min(f64::from(*at_once));
        if self.causes.len() >= CAUSES {
            self.causes.retain(|_, cause| now < cause.next);
        }
        let is_full = self.causes.len() >= CAUSES;
        let hash = self.hasher.hash_one((scope, cause));
        match self.causes.get_mut(&hash) {
            Some(known) if now < known.next => {
                known.suppressed += 1;
                None
            }
            known if self.allowed < f64::from(reserve) + 1.0 || (known.is_none() && is_full) => {
                if let Some(known) = known {
                    known.suppressed += 1;
                }
                self.left_out += 1;
                None
            }
            known => {
                self.allowed -= 1.0;
                let suppressed = known.map_or(0, |known| known.suppressed);
                self.causes.insert(hash, NoticedCause { next: now + WINDOW, suppressed: 0 });
                Some(suppressed)
            }
        }
    }

    /// How many lines were left out, if that is to be said now.
    fn take_left_out(&mut self, now: Instant) -> u64 {
        if self.left_out == 0 || now < self.next_word_on_left_out {
            return 0;
        }
        self.next_word_on_left_out = now + WINDOW;
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notices that begin now, and a clock for them in seconds.
    fn notices() -> (Notices, impl Fn(f64) -> Instant) {
        let start = Instant::now();
        (Notices::new(&TROUBLE, start), move |seconds| start + Duration::from_secs_f64(seconds))
    }

    #[test]
    fn one_line_per_cause_and_window_says_how_many_were_kept_back() {
        let (mut notices, at) = notices();
        assert_eq!(notices.due(0, "a", "retry", at(0.0)), Some(0));
        assert_eq!(notices.due(0, "a", "retry", at(1.0)), None);
        assert_eq!(notices.due(0, "a", "retry", at(9.9)), None);
        assert_eq!(notices.due(0, "b", "retry", at(9.9)), Some(0));
        assert_eq!(notices.due(0, "a", "retry", at(10.0)), Some(2));
        assert_eq!(notices.due(0, "a", "retry", at(20.0)), Some(0));
    }

    #[test]
    fn every_stream_and_every_code_has_a_line_of_its_own() {
        let (mut notices, at) = notices();
        for key in ["acme", "globex"] {
            for code in ["401", "403", "404"] {
                assert_eq!(notices.due(0, &("otlp_http/up", key), code, at(0.0)), Some(0), "{key} {code}");
            }
        }
        assert_eq!(notices.due(0, &("otlp_http/up", "acme"), "404", at(1.0)), None);
    }

    #[test]
    fn all_causes_together_are_bounded_and_what_is_left_out_is_counted() {
        let (mut notices, at) = notices();
        let lines = |notices: &mut Notices, second: u32| {
            let now = at(f64::from(second));
            (0..5000_u32).filter(|cause| notices.due(0, &(second, cause), "retry", now).is_some()).count()
                as u32
        };
        assert_eq!(lines(&mut notices, 0), TROUBLE.at_once);
        assert_eq!(notices.take_left_out(at(0.0)), 5000 - u64::from(TROUBLE.at_once));
        for second in 1..5 {
            assert_eq!(lines(&mut notices, second), TROUBLE.a_second);
        }
        assert_eq!(notices.take_left_out(at(4.0)), 0, "it was said just now");
        assert_eq!(notices.take_left_out(at(11.0)), 4 * (5000 - u64::from(TROUBLE.a_second)));
    }

    #[test]
    fn a_line_that_was_left_out_comes_as_soon_as_there_is_room() {
        let (mut notices, at) = notices();
        while notices.due(0, &notices.causes.len().clone(), "flood", at(0.0)).is_some() {}
        assert_eq!(notices.due(0, "a", "retry", at(0.0)), None);
        assert_eq!(notices.due(0, "a", "retry", at(0.1)), Some(0));
    }

    #[test]
    fn no_more_causes_are_remembered_than_there_is_room_for() {
        let (mut notices, at) = notices();
        for cause in 0..2 * CAUSES {
            notices.due(0, &cause, "retry", at(cause as f64));
        }
        assert!(notices.causes.len() <= CAUSES);
    }

    #[test]
    fn many_streams_leave_lines_to_causes_that_concern_all_of_them() {
        let (mut notices, at) = notices();
        for second in 0..100 {
            for stream in 0..100_u32 {
                notices.due(LINES_FOR_FEW, &(second, stream), "503", at(f64::from(second)));
            }
        }
        assert_eq!(notices.due(0, "journal", "failing", at(99.0)), Some(0));
    }
}
