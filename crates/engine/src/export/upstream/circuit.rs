//! Whether a destination is worth asking.
//!
//! An upstream that dies under many streams would be asked by each of them, again and again: a storm that meets it
//! when it comes back. So all streams of a destination share a *circuit*. It is closed as long as the destination
//! lives, and opens when several streams in a row have met nothing there that could take their data: no connection, no
//! answer in time, one in another protocol, or a gateway's 502 to 504 or 520 to 530. While it is open streams wait, and now
//! and then one of them probes, after pauses that grow as those between the attempts at a batch do. The first sign of life
//! closes it, and the streams go on in the order in which they ask for the destination's allowance.
//!
//! One stream's trouble never opens it, nor that of several which hang beside others that are answered: a failure
//! counts only if the destination has given no sign of life since that attempt began. Should those others have been
//! silent for so long, they wait in a line of their own, from which one a second may probe, however long the pauses of
//! the others have become and whatever their probe does.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::export::{Backoff, RetrySettings};

/// So many different streams must have failed.
const SEVERAL: usize = 5;

/// Between two probes, whatever is configured for retries.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, whatever is configured for retries: a probe is one request, and those who wait for it are many.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a probe keeps those waiting that are in no trouble of their own.
const LONGEST_WAIT_OF_OTHERS: Duration = Duration::from_secs(1);

/// What an attempt has shown of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answers in the exporter's protocol, whatever it says.
    Alive,
    /// There is nothing that answers, or it speaks another protocol.
    Down,
    /// Neither.
    Unclear,
}

/// The circuit of one destination.
#[derive(Debug)]
pub struct Circuit {
    retry: RetrySettings,
    born: Instant,
    /// Microseconds from `born` to the last sign of life, plus one; 0 if there was none.
    alive: AtomicU64,
    /// Whether anything is amiss: as long as it isn't, answers need no lock.
    suspected: AtomicBool,
    open: AtomicBool,
    state: Mutex<State>,
    closed: Notify,
    /// The streams that wait; those in trouble of their own in the second, where nobody probes before the last probe has
    /// ended.
    lines: [Semaphore; 2],
}

#[derive(Debug, Default)]
struct State {
    /// The streams that have failed since the last sign of life.
    failed: SmallVec<[usize; SEVERAL]>,
    /// The code of the newest attempt that has met nothing.
    failure: Cow<'static, str>,
    /// Since when it is open.
    since: Option<Instant>,
    /// When the first of either line may probe; none while it is closed.
    due: [Option<Instant>; 2],
    backoff: Backoff,
    /// Probes on their way.
    probes: usize,
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

/// Who asks for leave.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Whatever tells the destination's streams apart.
    pub stream: usize,
    /// Whether its own last attempt came to nothing.
    pub in_trouble: bool,
}

/// The leave to make one attempt. What that has shown is told by [`Pass::end`]; dropped without, it has shown nothing.
#[derive(Debug)]
pub struct Pass<'a> {
    circuit: &'a Circuit,
    stream: usize,
    began: Instant,
    probe: bool,
    /// The place at the head of the second line.
    _head: Option<SemaphorePermit<'a>>,
}

/// What a sign has done to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// From now on streams wait.
    Opened,
    /// They go on.
    Closed,
}

impl Circuit {
    /// A closed circuit, whose probes are as far apart as `retry` says of attempts.
    pub(in crate::export) fn new(retry: &RetrySettings) -> Self {
        Self {
            retry: retry.clone(),
            born: Instant::now(),
            alive: AtomicU64::new(0),
            suspected: AtomicBool::new(false),
            open: AtomicBool::new(false),
            state: Mutex::default(),
            closed: Notify::new(),
            lines: [const { Semaphore::const_new(1) }; 2],
        }
    }

    /// Whether streams have to wait.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until the circuit is closed, or until it is this one's turn to probe.
    pub async fn pass(&self, asker: Asker) -> Pass<'_> {
        loop {
            // Made before the look, so that the closing is not missed.
            let closed = self.closed.notified();
            if !self.is_open() {
                return self.leave(asker, false, None);
            }
            tokio::select! {
                biased;
                () = closed => {}
                (probe, head) = self.turn(usize::from(asker.in_trouble)) => {
                    return self.leave(asker, probe, head.filter(|_| asker.in_trouble));
                }
            }
        }
    }

    /// Stands in line until a probe is due; returns whether it still needs one, and the place at the line's head.
    async fn turn(&self, line: usize) -> (bool, Option<SemaphorePermit<'_>>) {
        let head = self.lines[line].acquire().await.expect("the semaphore is never closed");
        loop {
            let due = {
                let mut state = self.state.lock();
                match state.due[line] {
                    None => return (false, None),
                    Some(due) if due > Instant::now() => due,
                    Some(_) => {
                        state.probes += 1;
                        state.pause(line, &self.retry);
                        return (true, Some(head));
                    }
                }
            };
            sleep_until(due).await;
        }
    }

    fn leave<'a>(&'a self, asker: Asker, probe: bool, head: Option<SemaphorePermit<'a>>) -> Pass<'a> {
        Pass { circuit: self, stream: asker.stream, began: Instant::now(), probe, _head: head }
    }

    /// What is shown of it.
    pub fn state(&self) -> CircuitState {
        let state = self.state.lock();
        CircuitState {
            open_since: state.since,
            failure: state.since.map(|_| state.failure.clone()),
            probing: state.since.is_some() && state.probes > 0,
            next_probe: state.due[1].filter(|_| state.since.is_some()),
        }
    }

    fn heard(&self) -> Change {
        self.alive.fetch_max(self.micros(Instant::now()), Ordering::SeqCst);
        if !self.suspected.load(Ordering::SeqCst) {
            return Change::None;
        }
        let mut state = self.state.lock();
        state.failed.clear();
        (state.backoff, state.due) = (Backoff::new(), [None; 2]);
        self.suspected.store(false, Ordering::SeqCst);
        if state.since.take().is_none() {
            return Change::None;
        }
        self.open.store(false, Ordering::Release);
        drop(state);
        self.closed.notify_waiters();
        Change::Closed
    }

    fn missed(&self, stream: usize, began: Instant, code: Cow<'static, str>) -> Change {
        let mut state = self.state.lock();
        state.failure = code;
        if state.since.is_some() {
            return Change::None;
        }
        // Before the look at the signs of life, in one order for all: one that is not seen here will see this, and clear
        // what is noted below.
        self.suspected.store(true, Ordering::SeqCst);
        if self.alive.load(Ordering::SeqCst) > self.micros(began) {
            return Change::None;
        }
        if !state.failed.contains(&stream) {
            state.failed.push(stream);
        }
        if state.failed.len() < SEVERAL {
            return Change::None;
        }
        state.since = Some(Instant::now());
        state.open(&self.retry);
        self.open.store(true, Ordering::Release);
        Change::Opened
    }

    /// Never 0, which means that there was none.
    fn micros(&self, at: Instant) -> u64 {
        at.duration_since(self.born).as_micros() as u64 + 1
    }
}

impl State {
    fn open(&mut self, retry: &RetrySettings) {
        for line in 0..self.due.len() {
            self.pause(line, retry);
        }
    }

    /// Puts off the next probe from a line, for those in trouble longer every time.
    fn pause(&mut self, line: usize, retry: &RetrySettings) {
        let wait = match line {
            0 => Backoff::new().hold_wait(retry, None).length.min(LONGEST_WAIT_OF_OTHERS),
            _ => self.backoff.hold_wait(retry, None).length.min(LONGEST_PAUSE),
        };
        self.due[line] = Some(Instant::now() + wait.max(SHORTEST_PAUSE));
    }
}

impl Pass<'_> {
    /// Whether it is still good: until the circuit opens, if it is no probe's.
    pub fn holds(&self) -> bool {
        self.probe || !self.circuit.is_open()
    }

    /// Whether it was given while the circuit was open.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Tells what the attempt has shown, and the code of its answer.
    pub fn end(self, sign: Sign, code: Cow<'static, str>) -> Change {
        match sign {
            Sign::Alive => self.circuit.heard(),
            Sign::Down => self.circuit.missed(self.stream, self.began, code),
            Sign::Unclear => Change::None,
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.circuit.state.lock().probes -= 1;
        }
    }
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
