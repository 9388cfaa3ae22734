//! What is held for the answer to another stream. `statuses` can say that an answer is about more than the stream that got
//! it: about all streams of its tenant at this exporter (`hold_tenant`), or about all of the exporter (`hold_exporter`).
//!
//! A *hold* begins with such an answer, and nobody in its scope is let through to an attempt until its time is up. Then one
//! stream alone is let through to *try* it, while the others wait for what comes of that: another refusal of the same scope
//! renews the hold, for longer each time; anything else that the destination says of the attempt lifts it. One that was not
//! answered leaves its place to whoever comes next. A hold is lifted as well when an attempt in its scope succeeds that was
//! under way before, when the settings change, and when the row changes of the tenant whose stream was answered so.
//!
//! Beside these, people put streams and whole exporters on hold ([`OperatorHold`]). What is held so is tried by nobody until
//! somebody releases it or its time is up, whatever is answered and whatever changes.
//!
//! Nobody misses that a hold ends: every change of one wakes all who wait, and who waits asks for that before it looks.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::backoff::{AskedWait, Backoff, RetrySettings, Wait};
use crate::stream::{LastError, StreamName};
use crate::tenants::Tenant;
use crate::utc::rfc3339;

/// How long a hold is kept after its time, so that one stream tries it before others go on. Of what comes later none waits.
const KEPT: Duration = Duration::from_secs(60);

/// What is held for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldScope {
    /// The stream that got it.
    Stream,
    /// All streams of its tenant at the exporter.
    Tenant,
    /// All streams of the exporter.
    Exporter,
}

/// The holds of one exporter that are about more than one stream, and those of operators.
#[derive(Debug, Default)]
pub struct Holds {
    state: Mutex<HoldsState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct HoldsState {
    /// How often all holds were lifted: an attempt from before begins none.
    generation: u64,
    /// Holds so far, for their numbers.
    begun: u64,
    of_exporter: Option<Hold>,
    /// By tenant.
    of_tenants: HashMap<Box<str>, Hold>,
    by_operators: HoldsByOperators,
}

/// What operators hold of one exporter.
#[derive(Debug, Default)]
struct HoldsByOperators {
    of_exporter: Option<OperatorHold>,
    of_streams: HashMap<StreamName, OperatorHold>,
}

/// A hold that an operator has put on a stream, or on all of an exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorHold {
    /// When.
    pub since: SystemTime,
    /// When it is over; `None` if it lasts until somebody releases it.
    pub until: Option<SystemTime>,
    /// Who, in words such as "the write token, from 192.0.2.1"; `None` for one from before that was kept.
    pub by: Option<Arc<str>>,
}

/// Why a stream is held, if not for an answer that it has got itself and that is about it alone.
#[derive(Clone, Debug)]
pub enum StreamHold {
    /// An operator holds the stream, or the whole exporter.
    ByOperator {
        /// Which of the two.
        scope: HoldScope,
        /// The hold.
        hold: OperatorHold,
    },
    /// The row of its tenant says so.
    ByRow,
    /// All of its tenant's streams at the exporter are, for an answer to one of them.
    OfTenant(ShownHold),
    /// All of the exporter's streams are, for an answer to one of them.
    OfExporter(ShownHold),
}

/// One hold. Nobody in its scope makes an attempt before `until`, and then one does that tries it.
#[derive(Debug)]
struct Hold {
    /// No other hold has it.
    number: u64,
    /// When it began; each refusal of who tries it renews it.
    since: SystemTime,
    until: Instant,
    /// Whether a stream was let through to try it, which has not been answered yet.
    is_tried: bool,
    /// Its lengths.
    backoff: Backoff,
    /// The answer, which has the stream that got it.
    answer: LastError,
    /// The row of that stream's tenant at the attempt.
    row: Option<Arc<Tenant>>,
}

/// Why a stream is not let through, and for how long.
#[derive(Debug)]
pub(super) struct HeldStream {
    /// So long, unless a hold changes before; without end while another stream tries the hold.
    pub(super) wait: Duration,
    /// The answer for which it is held, and to whom; `None` if an operator holds it.
    pub(super) answer: Option<Box<LastError>>,
}

/// A hold as the API shows it.
#[derive(Clone, Debug)]
pub struct ShownHold {
    /// When it began.
    pub since: SystemTime,
    /// When its time is up.
    pub until: Instant,
    /// The answer for which it began, or was last renewed, and to whom.
    pub answer: LastError,
}

/// The leave to make one attempt, of which what came is told by [`HoldPass::delivered`], [`HoldPass::answered`] or
/// [`HoldPass::refused`]. One that is dropped without leaves to others what it was to try.
#[derive(Debug)]
pub(super) struct HoldPass<'h> {
    holds: &'h Holds,
    name: &'h StreamName,
    row: Option<Arc<Tenant>>,
    generation: u64,
    /// The numbers of the holds that the attempt tries: the exporter's, the tenant's, or both.
    tries: SmallVec<[u64; 2]>,
}

impl HoldScope {
    /// What is held of a stream of this name: what is no tenant's has no other streams of that tenant.
    pub(super) fn of(self, name: &StreamName) -> Self {
        match self {
            Self::Tenant if name.key.tenant().is_none() => Self::Stream,
            scope => scope,
        }
    }
}

impl OperatorHold {
    /// How long it lasts yet; `None` if it is over.
    pub fn left(&self) -> Option<Duration> {
        match self.until.map(|until| until.duration_since(SystemTime::now())) {
            None => Some(Duration::MAX),
            Some(left) => left.ok().filter(|left| !left.is_zero()),
        }
    }
}

impl fmt::Display for OperatorHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held by an operator")?;
        if let Some(by) = &self.by {
            write!(f, " ({by})")?;
        }
        write!(f, " since {}, ", rfc3339(self.since))?;
        match self.until {
            Some(until) => write!(f, "until {}", rfc3339(until)),
            None => write!(f, "until it is released"),
        }
    }
}

impl HoldsByOperators {
    /// The hold of the stream, or else of the exporter, and how long it lasts.
    fn over(&self, name: &StreamName) -> Option<(HoldScope, OperatorHold, Duration)> {
        let of_stream = self.of_streams.get(name).map(|hold| (HoldScope::Stream, hold));
        let of_exporter = self.of_exporter.as_ref().map(|hold| (HoldScope::Exporter, hold));
        let both = of_stream.into_iter().chain(of_exporter);
        both.filter_map(|(scope, hold)| Some((scope, hold.clone(), hold.left()?)))
            .max_by_key(|(scope, _, left)| (*left, *scope == HoldScope::Stream))
    }
}

impl Hold {
    /// Whether those in its scope wait.
    fn holds(&self, now: Instant) -> bool {
        self.is_tried || self.until > now
    }

    fn shown(&self) -> ShownHold {
        ShownHold { since: self.since, until: self.until, answer: self.answer.clone() }
    }

    /// Whether it began with an answer to a stream of the same tenant, whose row said something else then.
    fn is_of_former_row(&self, name: &StreamName, row: Option<&Arc<Tenant>>) -> bool {
        let answered = self.answer.of_stream.as_ref().and_then(|stream| stream.key.tenant());
        answered.is_some() && answered == name.key.tenant() && self.row.as_ref() != row
    }
}

impl HoldsState {
    /// The holds in whose scope a stream of this name is.
    fn over<'s>(&'s mut self, name: &StreamName) -> impl Iterator<Item = &'s mut Hold> {
        let of_tenant = name.key.tenant().and_then(|tenant| self.of_tenants.get_mut(tenant));
        self.of_exporter.iter_mut().chain(of_tenant)
    }

    /// Lifts those of them of which `is_over` says so. Returns whether there are any.
    fn lift(&mut self, name: &StreamName, is_over: impl Fn(&Hold) -> bool) -> bool {
        let of_exporter = self.of_exporter.take_if(|hold| is_over(hold)).is_some();
        let of_tenant = name.key.tenant().is_some_and(|tenant| {
            self.of_tenants.get(tenant).is_some_and(is_over) && self.of_tenants.remove(tenant).is_some()
        });
        of_exporter || of_tenant
    }
}

impl Holds {
    /// Ready once any hold has changed after this was called. Made before [`Holds::pass`], so that no change is missed.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Lets a stream through to an attempt, with the row that its tenant has for that, unless it is held.
    pub(super) fn pass<'h>(
        &'h self,
        name: &'h StreamName,
        row: Option<&Arc<Tenant>>,
    ) -> Result<HoldPass<'h>, HeldStream> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some((_, _, wait)) = state.by_operators.over(name) {
            return Err(HeldStream { wait, answer: None });
        }
        if state.lift(name, |hold| hold.is_of_former_row(name, row)) {
            self.changed.notify_waiters();
        }
        if let Some(hold) = state.over(name).find(|hold| hold.holds(now)) {
            let wait = if hold.is_tried { Duration::MAX } else { hold.until - now };
            return Err(HeldStream { wait, answer: Some(Box::new(hold.answer.clone())) });
        }
        let mut tries = SmallVec::new();
        for hold in state.over(name) {
            debug_assert!(!hold.is_tried && hold.until <= now, "one stream tries a hold, after its time");
            hold.is_tried = true;
            tries.push(hold.number);
        }
        let generation = state.generation;
        Ok(HoldPass { holds: self, name, row: row.cloned(), generation, tries })
    }

    /// Holds a stream, or without one all of the exporter, in place of the hold that an operator has put on it before. An attempt
    /// that is under way goes on.
    pub fn hold_for_operator(&self, stream: Option<&StreamName>, hold: OperatorHold) {
        let mut state = self.state.lock();
        match stream {
            Some(stream) => drop(state.by_operators.of_streams.insert(stream.clone(), hold)),
            None => state.by_operators.of_exporter = Some(hold),
        }
        self.changed.notify_waiters();
    }

    /// Ends the hold that an operator has put on a stream, or without one on the exporter.
    pub fn release_for_operator(&self, stream: Option<&StreamName>) {
        let mut state = self.state.lock();
        match stream {
            Some(stream) => drop(state.by_operators.of_streams.remove(stream)),
            None => state.by_operators.of_exporter = None,
        }
        self.changed.notify_waiters();
    }

    /// Has the time be up of what is held for an answer and has a stream of this name in its scope: whoever is the first to
    /// [look again](Self::look_again) tries it.
    pub(super) fn end_time_of(&self, name: &StreamName) {
        let now = Instant::now();
        for hold in self.state.lock().over(name) {
            hold.until = hold.until.min(now);
        }
    }

    /// Has all who wait look whether they are still held.
    pub(super) fn look_again(&self) {
        self.changed.notify_waiters();
    }

    /// Lifts all for answers: the settings have changed, and answers to attempts by those of before say nothing of others any more.
    pub(super) fn lift_all(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.of_exporter = None;
        state.of_tenants.clear();
        self.changed.notify_waiters();
    }

    /// Forgets holds whose time has long been up, and which nobody has come to try.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let is_kept = |hold: &Hold| hold.is_tried || now < hold.until + KEPT;
        let mut state = self.state.lock();
        // Nobody waits for one of them: its time being up is what they waited for.
        state.of_exporter.take_if(|hold| !is_kept(hold));
        state.of_tenants.retain(|_, hold| is_kept(hold));
        state.of_tenants.shrink_to_fit();
        let by_operators = &mut state.by_operators;
        by_operators.of_exporter.take_if(|hold| hold.left().is_none());
        by_operators.of_streams.retain(|_, hold| hold.left().is_some());
        by_operators.of_streams.shrink_to_fit();
    }

    /// The hold that an operator has put on the whole exporter.
    pub fn by_operator(&self) -> Option<OperatorHold> {
        self.state.lock().by_operators.of_exporter.clone().filter(|hold| hold.left().is_some())
    }

    /// The streams that operators hold, in no order.
    pub fn streams_held_by_operators(&self) -> Vec<(StreamName, OperatorHold)> {
        let state = self.state.lock();
        let all = state.by_operators.of_streams.iter().filter(|(_, hold)| hold.left().is_some());
        all.map(|(name, hold)| (name.clone(), hold.clone())).collect()
    }

    /// What a stream of this name is held for beside the row of its tenant.
    pub(super) fn over(&self, name: &StreamName) -> Option<StreamHold> {
        let now = Instant::now();
        let state = self.state.lock();
        if let Some((scope, hold, _)) = state.by_operators.over(name) {
            return Some(StreamHold::ByOperator { scope, hold });
        }
        let of_tenant = name.key.tenant().and_then(|tenant| state.of_tenants.get(tenant));
        let of_tenant = of_tenant.filter(|hold| hold.holds(now));
        let of_exporter = state.of_exporter.as_ref().filter(|hold| hold.holds(now));
        of_exporter
            .map(|hold| StreamHold::OfExporter(hold.shown()))
            .or_else(|| of_tenant.map(|hold| StreamHold::OfTenant(hold.shown())))
    }

    /// The hold of the whole exporter, if it is held.
    pub fn of_exporter(&self) -> Option<ShownHold> {
        let now = Instant::now();
        let state = self.state.lock();
        state.of_exporter.as_ref().filter(|hold| hold.holds(now)).map(Hold::shown)
    }

    /// How many tenants are held, each with all its streams here.
    pub fn held_tenants(&self) -> usize {
        let now = Instant::now();
        self.state.lock().of_tenants.values().filter(|hold| hold.holds(now)).count()
    }
}

impl HoldPass<'_> {
    /// Notes that the attempt has succeeded: nothing holds its stream any more, nor others for the same.
    pub(super) fn delivered(self) {
        self.lift(|_| true);
    }

    /// Notes that the attempt was answered, by something that is about the data: what it has tried is lifted.
    pub(super) fn answered(self) {
        self.lift(|hold| self.tries.contains(&hold.number));
    }

    fn lift(&self, is_over: impl Fn(&Hold) -> bool) {
        let mut state = self.holds.state.lock();
        if state.lift(self.name, is_over) {
            self.holds.changed.notify_waiters();
        }
    }

    /// Notes that the attempt was refused, which holds all of this scope. Returns for how long at least; `None` if it holds
    /// nothing, since the settings have changed meanwhile, and an attempt by the new ones is worth it at once.
    pub(super) fn refused(
        self,
        scope: HoldScope,
        retry: &RetrySettings,
        asked: AskedWait,
        answer: LastError,
    ) -> Option<Wait> {
        let mut state = self.holds.state.lock();
        if state.generation != self.generation {
            return None;
        }
        let tenant = match scope {
            HoldScope::Tenant => Some(self.name.key.tenant().expect("a stream of no tenant is held alone")),
            HoldScope::Exporter => None,
            HoldScope::Stream => unreachable!("what holds one stream alone is left to that"),
        };
        let former = match tenant {
            Some(tenant) => state.of_tenants.remove(tenant),
            None => state.of_exporter.take(),
        };
        let now = Instant::now();
        let answer = LastError { of_stream: Some(self.name.clone()), ..answer };
        let row = self.row.clone();
        let (hold, wait) = match former {
            // Of several attempts that were under way when it began, each may lengthen it, as if it were alone.
            Some(hold) if !self.tries.contains(&hold.number) => {
                let wait = Backoff::new().hold_wait(retry, asked);
                let until = hold.until.max(now + wait.length);
                (Hold { until, answer, row, ..hold }, wait)
            }
            former => {
                state.begun += 1;
                let since = former.as_ref().map_or(answer.at, |hold| hold.since);
                let mut backoff = former.map(|hold| hold.backoff).unwrap_or_default();
                let wait = backoff.hold_wait(retry, asked);
                let (number, until) = (state.begun, now + wait.length);
                (Hold { number, since, until, is_tried: false, backoff, answer, row }, wait)
            }
        };
        debug_assert!(hold.until > now, "a hold lasts");
        match tenant {
            Some(tenant) => drop(state.of_tenants.insert(tenant.into(), hold)),
            None => state.of_exporter = Some(hold),
        }
        self.holds.changed.notify_waiters();
        Some(wait)
    }
}

impl Drop for HoldPass<'_> {
    /// Leaves to others what it was to try and has not come to an end.
    fn drop(&mut self) {
        if self.tries.is_empty() {
            return;
        }
        let mut state = self.holds.state.lock();
        for hold in state.over(self.name).filter(|hold| self.tries.contains(&hold.number)) {
            debug_assert!(hold.is_tried, "nobody else has ended the trial of it");
            hold.is_tried = false;
        }
        self.holds.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use super::*;
    use crate::route::RoutingKey;
    use crate::tenants::{TenantLimits, TenantValues};
    use otlp::Signal;

    const SECOND: Duration = Duration::from_secs(1);

    fn stream(key: &str) -> StreamName {
        StreamName { signal: Signal::Logs, key: RoutingKey::written(key.to_owned()) }
    }

    fn stream_of(tenant: &str, key: &str) -> StreamName {
        let key = RoutingKey::of(Some(tenant), key, std::iter::empty());
        StreamName { signal: Signal::Logs, key }
    }

    fn row(tenant: &str, place: &str, token: &str) -> Arc<Tenant> {
        Arc::new(Tenant {
            id: tenant.into(),
            place: place.into(),
            platform: None,
            senders: Box::default(),
            values: TenantValues::new(vec![("token".into(), [token.into()].into())]),
            exporters: None,
            limits: TenantLimits::default(),
            paused: false,
            hold: false,
        })
    }

    fn answer(code: &'static str) -> LastError {
        LastError {
            code: code.into(),
            message: "not paid".into(),
            target: None,
            at: SystemTime::now(),
            of_destination: true,
            of_stream: None,
        }
    }

    fn pass<'h>(holds: &'h Holds, name: &'h StreamName) -> Option<HoldPass<'h>> {
        holds.pass(name, None).ok()
    }

    fn lets_through(holds: &Holds, name: &StreamName) -> bool {
        pass(holds, name).is_some()
    }

    fn refused(pass: HoldPass<'_>, scope: HoldScope, least: Duration) -> Option<Duration> {
        let asked = AskedWait { after: None, least };
        let wait = pass.refused(scope, &RetrySettings::without_jitter(), asked, answer("402"));
        wait.map(|wait| wait.length)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_of_a_tenant_is_about_all_its_streams_and_no_others_and_lasts_its_time() {
        let holds = Holds::default();
        let (one, two) = (stream_of("acme", "1"), stream_of("acme", "2"));
        let others = [stream_of("globex", "1"), stream("1")];
        let length = refused(pass(&holds, &one).unwrap(), HoldScope::Tenant, 60 * SECOND).unwrap();
        assert!((60 * SECOND..=66 * SECOND).contains(&length), "{length:?}");
        let held = holds.pass(&two, None).unwrap_err();
        let answer = held.answer.expect("it is held for an answer");
        assert_eq!((&*answer.code, answer.of_stream), ("402", Some(one.clone())));
        assert_eq!(held.wait, length);
        assert!(!lets_through(&holds, &one), "nor the stream itself");
        assert!(others.iter().all(|other| lets_through(&holds, other)));
        assert_eq!((holds.held_tenants(), holds.of_exporter().is_none()), (1, true));
        tokio::time::advance(length.mul_f64(0.99)).await;
        assert!(!lets_through(&holds, &two));
        tokio::time::advance(length.mul_f64(0.02)).await;
        assert_eq!(holds.held_tenants(), 0);
        assert!(lets_through(&holds, &two));
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_time_is_up_one_tries_and_the_others_go_on_once_it_is_answered() {
        let holds = Holds::default();
        let (one, two) = (stream("1"), stream_of("acme", "2"));
        for is_delivered in [true, false] {
            refused(pass(&holds, &one).unwrap(), HoldScope::Exporter, 60 * SECOND).unwrap();
            tokio::time::advance(70 * SECOND).await;
            let tries = pass(&holds, &two).unwrap();
            let held = holds.pass(&one, None).unwrap_err();
            assert_eq!(held.wait, Duration::MAX, "for what comes of it");
            assert!(holds.of_exporter().is_some(), "it is held still");
            if is_delivered {
                tries.delivered();
            } else {
                tries.answered();
            }
            assert!(holds.of_exporter().is_none());
            let (_both, other) = (pass(&holds, &one).unwrap(), lets_through(&holds, &two));
            assert!(other);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_answered_leaves_the_trial_to_another() {
        let holds = Holds::default();
        let (one, two) = (stream("1"), stream("2"));
        refused(pass(&holds, &one).unwrap(), HoldScope::Exporter, SECOND).unwrap();
        tokio::time::advance(2 * SECOND).await;
        let tries = pass(&holds, &one).unwrap();
        assert!(!lets_through(&holds, &two));
        let changed = holds.changed();
        drop(tries);
        changed.await;
        assert!(lets_through(&holds, &two));
    }

    #[tokio::test(start_paused = true)]
    async fn each_refusal_of_who_tries_lengthens_the_next_hold_whichever_stream_that_is() {
        let holds = Holds::default();
        let mut lengths = Vec::new();
        for number in 0..4 {
            let name = stream(&number.to_string());
            let length = refused(pass(&holds, &name).unwrap(), HoldScope::Exporter, Duration::ZERO).unwrap();
            lengths.push(length.as_secs());
            tokio::time::advance(length).await;
        }
        assert_eq!(lengths, [1, 2, 4, 8]);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_were_under_way_when_it_began_lengthen_it_or_lift_it_but_never_shorten_it() {
        let holds = Holds::default();
        let (one, two, three, four) = (stream("1"), stream("2"), stream("3"), stream("4"));
        let [first, second, third, fourth] =
            [&one, &two, &three, &four].map(|name| pass(&holds, name).unwrap());
        refused(first, HoldScope::Exporter, 60 * SECOND).unwrap();
        let until = holds.of_exporter().unwrap().until;
        refused(second, HoldScope::Exporter, SECOND).unwrap();
        assert_eq!(holds.of_exporter().unwrap().until, until);
        third.answered();
        assert!(holds.of_exporter().is_some(), "what is said of data says nothing of this");
        fourth.delivered();
        assert!(holds.of_exporter().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_whose_time_is_ended_is_tried_by_one_at_once_and_is_as_old_as_before_if_that_is_refused() {
        let holds = Holds::default();
        let (one, two) = (stream_of("acme", "1"), stream_of("acme", "2"));
        refused(pass(&holds, &one).unwrap(), HoldScope::Tenant, 60 * SECOND).unwrap();
        let since = |holds: &Holds| match holds.over(&one) {
            Some(StreamHold::OfTenant(hold)) => hold.since,
            other => panic!("it is held for its tenant: {other:?}"),
        };
        let (began, changed) = (since(&holds), holds.changed());
        holds.end_time_of(&stream_of("globex", "1"));
        assert!(!lets_through(&holds, &two), "another tenant's");
        holds.end_time_of(&one);
        holds.look_again();
        changed.await;
        let tries = pass(&holds, &two).unwrap();
        assert!(!lets_through(&holds, &one), "it waits for what comes of that");
        holds.end_time_of(&one);
        assert!(!lets_through(&holds, &one), "also if it is to be tried again");
        refused(tries, HoldScope::Tenant, Duration::ZERO).unwrap();
        assert_eq!(since(&holds), began);
    }

    #[tokio::test(start_paused = true)]
    async fn other_settings_lift_all_and_answers_to_attempts_by_former_ones_hold_nobody() {
        let holds = Holds::default();
        let (one, two) = (stream_of("acme", "1"), stream_of("acme", "2"));
        let before = pass(&holds, &one).unwrap();
        refused(pass(&holds, &two).unwrap(), HoldScope::Tenant, 60 * SECOND).unwrap();
        let changed = holds.changed();
        holds.lift_all();
        changed.await;
        assert!(lets_through(&holds, &two));
        assert_eq!(refused(before, HoldScope::Exporter, 60 * SECOND), None);
        assert!(lets_through(&holds, &two));
    }

    #[tokio::test(start_paused = true)]
    async fn another_row_of_the_tenant_that_was_refused_lifts_its_holds_and_the_exporters() {
        for scope in [HoldScope::Tenant, HoldScope::Exporter] {
            let holds = Holds::default();
            let name = stream_of("acme", "1");
            let (before, moved) = (row("acme", "rows:1", "old"), row("acme", "rows:2", "old"));
            let refusal = holds.pass(&name, Some(&before)).unwrap();
            refused(refusal, scope, 60 * SECOND).unwrap();
            assert!(holds.pass(&name, Some(&moved)).is_err(), "it says the same");
            let (globex, of_globex) = (stream_of("globex", "1"), row("globex", "rows:3", "other"));
            assert_eq!(holds.pass(&globex, Some(&of_globex)).is_ok(), scope == HoldScope::Tenant);
            assert!(holds.pass(&name, Some(&row("acme", "rows:1", "new"))).is_ok());
            assert!(holds.pass(&globex, Some(&of_globex)).is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn holds_that_nobody_tries_are_forgotten_and_none_that_lasts() {
        let holds = Holds::default();
        let (one, two) = (stream_of("acme", "1"), stream("2"));
        refused(pass(&holds, &one).unwrap(), HoldScope::Tenant, SECOND).unwrap();
        refused(pass(&holds, &two).unwrap(), HoldScope::Exporter, 3600 * SECOND).unwrap();
        tokio::time::advance(2 * SECOND + KEPT).await;
        holds.sweep();
        let state = holds.state.lock();
        assert!(state.of_tenants.is_empty() && state.of_exporter.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_operator_holds_is_let_through_once_it_is_released_and_for_nothing_else() {
        let holds = Holds::default();
        let (one, two) = (stream("1"), stream_of("acme", "2"));
        let under_way = pass(&holds, &one).unwrap();
        let hold = OperatorHold { since: SystemTime::now(), until: None, by: None };
        holds.hold_for_operator(Some(&one), hold.clone());
        under_way.delivered();
        holds.lift_all();
        holds.sweep();
        let held = holds.pass(&one, None).unwrap_err();
        assert_eq!((held.wait, held.answer), (Duration::MAX, None));
        assert!(lets_through(&holds, &two), "another stream");
        holds.hold_for_operator(None, hold.clone());
        assert!(!lets_through(&holds, &two) && holds.by_operator() == Some(hold));
        let changed = holds.changed();
        holds.release_for_operator(None);
        changed.await;
        assert!(lets_through(&holds, &two) && !lets_through(&holds, &one), "the stream is held by itself");
        holds.release_for_operator(Some(&one));
        assert!(lets_through(&holds, &one));
    }

    #[tokio::test]
    async fn what_an_operator_holds_for_a_time_goes_on_when_it_is_over() {
        let holds = Holds::default();
        let (one, now) = (stream("1"), SystemTime::now());
        let hold = |left| OperatorHold { since: now, until: Some(now + left), by: None };
        holds.hold_for_operator(Some(&one), hold(60 * SECOND));
        let wait = holds.pass(&one, None).unwrap_err().wait;
        assert!(wait <= 60 * SECOND && wait > 50 * SECOND, "{wait:?}");
        holds.hold_for_operator(Some(&one), hold(Duration::ZERO));
        assert!(lets_through(&holds, &one) && holds.over(&one).is_none());
        holds.sweep();
        assert!(holds.state.lock().by_operators.of_streams.is_empty());
    }

    /// Streams that are answered in every way, give up attempts, and wait as `deliver` does.
    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_streams_in_holds_of_every_scope_nobody_waits_for_ever_and_one_alone_tries() {
        let holds = Arc::new(Holds::default());
        let sent = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..1000_usize)
            .map(|number| {
                let (holds, sent) = (holds.clone(), sent.clone());
                tokio::spawn(async move {
                    let name = stream_of(["acme", "globex", "initech"][number % 3], &number.to_string());
                    for attempt in 0.. {
                        let changed = holds.changed();
                        let pass = match holds.pass(&name, None) {
                            Ok(pass) => pass,
                            Err(held) => {
                                tokio::select! {
                                    () = tokio::time::sleep(held.wait) => {}
                                    () = changed => {}
                                }
                                continue;
                            }
                        };
                        tokio::time::sleep(Duration::from_millis((number as u64 * 7) % 50)).await;
                        match (number + attempt) % 9 {
                            0 | 1 => drop(refused(pass, HoldScope::Tenant, SECOND)),
                            2 => drop(refused(pass, HoldScope::Exporter, SECOND)),
                            3 | 4 => drop(pass),
                            5 => pass.answered(),
                            _ => {
                                pass.delivered();
                                sent.fetch_add(1, Ordering::Relaxed);
                                return;
                            }
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let all = futures_util::future::join_all(tasks);
        let ended = tokio::time::timeout(3600 * 24 * SECOND, all).await.expect("somebody waits for ever");
        assert!(ended.iter().all(Result::is_ok));
        assert_eq!(sent.load(Ordering::Relaxed), 1000);
    }
}
