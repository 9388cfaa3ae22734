//! Whether a destination is worth an attempt.
//!
//! An upstream that dies under many streams would be asked by each of them, again and again, and all at once
//! when it comes back. So all streams of a destination share a *circuit*, which is in one of three states:
//!
//! | state | an answer | a failure of the destination | a stream asks |
//! |---|---|---|---|
//! | **closed** | closed | suspected | goes on |
//! | **suspected**, with the streams that have failed | closed | one stream more; from [`SEVERAL`] on: open | goes on |
//! | **open**, with the time at which the next probe is due | closed, and all waiting streams go on | open | waits in a queue; its first goes as a probe once that is due |
//!
//! An *answer* is anything in the exporter's protocol, whatever it says. A *failure of the destination* is an attempt that has met
//! nothing there that could take its data: no connection, no answer in time, one in another protocol, or a gateway's 502 to
//! 504 or 520 to 530. It counts only if the destination has given no answer since that attempt began: so one stream's trouble
//! never opens the circuit, nor that of several which hang beside others that are answered. An attempt that shows neither
//! changes nothing.
//!
//! There are two queues, each with a due time of its own. In that of the *troubled*, whose own last attempt failed, one probe
//! is on its way at a time, and the pauses between them grow as those between the attempts at a batch do. Streams that are in
//! no trouble may have been silent for so long, and the circuit may be open for reasons that are none of theirs: one of them
//! a second may probe, however long the pauses of the others have become and whatever their probe does.
//!
//! All of this is decided by [`Breaker`], which knows no locks and no clock. [`Circuit`] has it behind one mutex. What waits
//! does so outside: for the circuit to close all wait for one `Notify`; and of each queue only the first stream waits for the
//! due time, since a hundred thousand that all slept until then would all wake for one probe.

use std::borrow::Cow;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::backoff::{Backoff, RetrySettings};

/// So many different streams must have failed.
const SEVERAL: usize = 5;

/// Between two probes of a queue, whatever is configured for retries.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, whatever is configured for retries: a probe is one request, and the streams that wait for it are many.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause between two probes of streams that are in no trouble of their own.
const LONGEST_UNTROUBLED_PAUSE: Duration = Duration::from_secs(1);

/// What an attempt has shown of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answers in the exporter's protocol, whatever it says.
    Alive,
    /// There is nothing that answers, or it speaks another protocol.
    Down,
    /// The attempt ended for reasons that are not the destination's.
    Unclear,
}

/// What an event has done to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitChange {
    /// Nothing.
    None,
    /// From now on streams wait.
    Opened,
    /// They go on.
    Closed,
}

/// The stream that asks for leave to make an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Whatever tells the destination's streams apart.
    pub stream: usize,
    /// Whether its own last attempt came to nothing.
    pub in_trouble: bool,
}

/// The queue that a stream waits in while the circuit is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeQueue {
    Untroubled,
    Troubled,
}

/// The states of the circuit and what changes them.
#[derive(Debug)]
struct Breaker {
    retry: RetrySettings,
    state: BreakerState,
    last_answer: Option<Instant>,
    /// The probes on their way, by [`ProbeQueue`]; they may be older than the state.
    probes: [usize; 2],
}

#[derive(Debug)]
enum BreakerState {
    Closed,
    Suspected {
        /// The streams that have failed since the last answer.
        failed: SmallVec<[usize; SEVERAL]>,
    },
    Open {
        since: Instant,
        /// The code of the newest failure.
        code: Cow<'static, str>,
        /// When the first stream of each queue may probe, by [`ProbeQueue`].
        due: [Instant; 2],
        /// The pauses of the troubled.
        backoff: Backoff,
    },
}

/// What a stream that asks is told.
#[derive(Debug, PartialEq, Eq)]
enum Leave {
    /// The attempt may be made.
    Go,
    /// The attempt may be made, as a probe.
    Probe,
    /// No attempt before this time, unless the circuit closes.
    WaitUntil(Instant),
    /// No attempt before the stream is the first in its queue, unless the circuit closes.
    WaitInQueue,
}

impl Breaker {
    fn new(retry: &RetrySettings) -> Self {
        Self { retry: retry.clone(), state: BreakerState::Closed, last_answer: None, probes: [0; 2] }
    }

    /// A stream asks, as the first in its queue or not.
    fn ask(&mut self, queue: ProbeQueue, is_first: bool, now: Instant) -> Leave {
        match &mut self.state {
            BreakerState::Closed | BreakerState::Suspected { .. } => Leave::Go,
            BreakerState::Open { .. } if !is_first => Leave::WaitInQueue,
            BreakerState::Open { due, .. } if now < due[queue as usize] => {
                Leave::WaitUntil(due[queue as usize])
            }
            BreakerState::Open { due, backoff, .. } => {
                due[queue as usize] = now + queue.pause(backoff, &self.retry);
                self.probes[queue as usize] += 1;
                debug_assert!(self.probes[ProbeQueue::Troubled as usize] <= 1, "two probes of the troubled");
                Leave::Probe
            }
        }
    }

    /// The destination has answered.
    fn answered(&mut self, now: Instant) -> CircuitChange {
        let change = if self.is_open() { CircuitChange::Closed } else { CircuitChange::None };
        (self.last_answer, self.state) = (Some(now), BreakerState::Closed);
        change
    }

    /// The destination has failed, in an attempt of `stream` that began then.
    fn failed(
        &mut self,
        stream: usize,
        began: Instant,
        code: Cow<'static, str>,
        now: Instant,
    ) -> CircuitChange {
        let counts = self.last_answer.is_none_or(|answer| answer <= began);
        match &mut self.state {
            BreakerState::Closed | BreakerState::Suspected { .. } if !counts => CircuitChange::None,
            BreakerState::Closed => {
                self.state = BreakerState::Suspected { failed: SmallVec::from_slice(&[stream]) };
                CircuitChange::None
            }
            BreakerState::Suspected { failed } => {
                if !failed.contains(&stream) {
                    failed.push(stream);
                }
                if failed.len() < SEVERAL {
                    return CircuitChange::None;
                }
                let mut backoff = Backoff::new();
                let due = [ProbeQueue::Untroubled, ProbeQueue::Troubled]
                    .map(|queue| now + queue.pause(&mut backoff, &self.retry));
                self.state = BreakerState::Open { since: now, code, due, backoff };
                CircuitChange::Opened
            }
            BreakerState::Open { code: newest, .. } => {
                *newest = code;
                CircuitChange::None
            }
        }
    }

    /// A probe has ended, whatever it has shown.
    fn probe_ended(&mut self, queue: ProbeQueue) {
        self.probes[queue as usize] -= 1;
    }

    fn is_open(&self) -> bool {
        matches!(self.state, BreakerState::Open { .. })
    }

    fn shown(&self) -> CircuitState {
        match &self.state {
            BreakerState::Closed | BreakerState::Suspected { .. } => {
                CircuitState { open_since: None, failure: None, probing: false, next_probe: None }
            }
            BreakerState::Open { since, code, due, .. } => CircuitState {
                open_since: Some(*since),
                failure: Some(code.clone()),
                probing: self.probes != [0; 2],
                next_probe: Some(due[ProbeQueue::Troubled as usize]),
            },
        }
    }
}

impl ProbeQueue {
    const fn of(asker: Asker) -> Self {
        if asker.in_trouble { Self::Troubled } else { Self::Untroubled }
    }

    /// How long after this moment the next probe is due; of the troubled longer every time.
    fn pause(self, backoff: &mut Backoff, retry: &RetrySettings) -> Duration {
        let wait = match self {
            Self::Untroubled => Backoff::new().hold_wait(retry, None).length.min(LONGEST_UNTROUBLED_PAUSE),
            Self::Troubled => backoff.hold_wait(retry, None).length.min(LONGEST_PAUSE),
        };
        wait.max(SHORTEST_PAUSE)
    }
}

/// The circuit of one destination.
#[derive(Debug)]
pub struct Circuit {
    breaker: Mutex<Breaker>,
    closed: Notify,
    /// The places at the head of the queues, by [`ProbeQueue`], given to waiting streams in the order in which they came.
    heads: [Semaphore; 2],
}

/// The leave to make one attempt. What that has shown is told by [`Pass::end`]; dropped without, it has shown nothing.
#[derive(Debug)]
pub struct Pass<'a> {
    circuit: &'a Circuit,
    stream: usize,
    began: Instant,
    /// The queue that a probe has come from.
    probe: Option<ProbeQueue>,
    /// The place that the probe of a troubled stream keeps, so that no other of them probes before it has ended.
    _head: Option<SemaphorePermit<'a>>,
}

impl Circuit {
    /// A closed circuit, whose probes are as far apart as `retry` says of attempts.
    pub(super) fn new(retry: &RetrySettings) -> Self {
        Self {
            breaker: Mutex::new(Breaker::new(retry)),
            closed: Notify::new(),
            heads: [const { Semaphore::const_new(1) }; 2],
        }
    }

    /// Whether streams have to wait.
    pub fn is_open(&self) -> bool {
        self.breaker.lock().is_open()
    }

    /// Waits until the circuit is closed, or until it is this stream's turn to probe.
    pub async fn pass(&self, asker: Asker) -> Pass<'_> {
        let queue = ProbeQueue::of(asker);
        let mut head = None;
        loop {
            // Made before the stream asks, so that no closing after that is missed.
            let closed = self.closed.notified();
            let now = Instant::now();
            let leave = self.breaker.lock().ask(queue, head.is_some(), now);
            let probe = match leave {
                Leave::Go => None,
                Leave::Probe => Some(queue),
                Leave::WaitUntil(due) => {
                    tokio::select! { () = closed => {}, () = sleep_until(due) => {} }
                    continue;
                }
                Leave::WaitInQueue => {
                    tokio::select! {
                        biased;
                        () = closed => {}
                        first = self.heads[queue as usize].acquire() => {
                            head = Some(first.expect("the semaphore is never closed"));
                        }
                    }
                    continue;
                }
            };
            let head = head.filter(|_| probe == Some(ProbeQueue::Troubled));
            return Pass { circuit: self, stream: asker.stream, began: now, probe, _head: head };
        }
    }

    /// The state, for people.
    pub fn state(&self) -> CircuitState {
        self.breaker.lock().shown()
    }
}

impl Pass<'_> {
    /// Whether it is still good: until the circuit opens, if it is no probe's.
    pub fn holds(&self) -> bool {
        self.is_probe() || !self.circuit.is_open()
    }

    /// Whether it was given while the circuit was open.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Tells what the attempt has shown, and the code of its answer.
    pub fn end(self, sign: Sign, code: Cow<'static, str>) -> CircuitChange {
        let mut breaker = self.circuit.breaker.lock();
        let change = match sign {
            Sign::Alive => breaker.answered(Instant::now()),
            Sign::Down => breaker.failed(self.stream, self.began, code, Instant::now()),
            Sign::Unclear => CircuitChange::None,
        };
        drop(breaker);
        if change == CircuitChange::Closed {
            self.circuit.closed.notify_waiters();
        }
        change
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.probe {
            self.circuit.breaker.lock().probe_ended(queue);
        }
    }
}

/// What the API and the metrics show of a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitState {
    /// Since when it is open, if it is.
    pub open_since: Option<Instant>,
    /// While it is open: the code of the newest attempt that has met nothing, such as `connect` or `timeout`.
    pub failure: Option<Cow<'static, str>>,
    /// Whether a probe is on its way.
    pub probing: bool,
    /// When the next probe may go.
    pub next_probe: Option<Instant>,
}

impl CircuitState {
    /// Every word for it.
    pub const NAMES: [&str; 3] = ["closed", "open", "half_open"];

    /// The word for it: `half_open` is an open one while a probe is on its way.
    pub fn name(&self) -> &'static str {
        Self::NAMES[match (self.open_since, self.probing) {
            (None, _) => 0,
            (Some(_), false) => 1,
            (Some(_), true) => 2,
        }]
    }

    /// How long until the next probe.
    pub fn until_probe(&self) -> Option<Duration> {
        self.next_probe.map(|due| due.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests;
