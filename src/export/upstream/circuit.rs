//! Whether a destination is worth asking.
//!
//! An upstream that dies under many streams would be asked by each of them, again and again: a storm that meets it
//! when it comes back. So all streams of a destination share a *circuit*. It is closed as long as the destination
//! lives, and opens when several streams in a row have met nothing there: no connection, no answer in time, or a
//! gateway's 502 to 504. While it is open streams wait, and now and then one of them probes, after pauses that grow as
//! those between the attempts at a batch do. The first sign of life closes it, and the streams go on in the order in
//! which they ask for the destination's allowance.
//!
//! One stream's trouble never opens it, nor that of several which hang beside others that are answered: a failure
//! counts only if the destination has given no sign of life since that attempt began. Should those others have been
//! silent for so long, they wait in a line of their own, whose first may probe soon after the last probe, however
//! long the pauses have become.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::export::{Backoff, RetrySettings};

/// So many different streams must have failed.
const SEVERAL: usize = 5;

/// Between two probes, whatever is configured for retries.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// How long a probe keeps those waiting that are in no trouble of their own.
const LONGEST_WAIT_OF_OTHERS: Duration = Duration::from_secs(1);

/// What an attempt has shown of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answers, whatever it says.
    Alive,
    /// There is nothing that answers.
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
    /// The streams that wait, those in trouble of their own in the second.
    lines: [Semaphore; 2],
}

#[derive(Debug, Default)]
struct State {
    /// The streams that have failed since the last sign of life.
    failed: SmallVec<[usize; SEVERAL]>,
    /// Since when it is open.
    since: Option<Instant>,
    /// When the first of either line may probe; none while it is closed.
    due: [Option<Instant>; 2],
    backoff: Backoff,
    /// Probes on their way.
    probes: usize,
}

/// What the API and the metrics show of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitState {
    /// Since when it is open, if it is.
    pub open_since: Option<Instant>,
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
                return self.leave(asker, false);
            }
            tokio::select! {
                biased;
                () = closed => {}
                probe = self.turn(usize::from(asker.in_trouble)) => return self.leave(asker, probe),
            }
        }
    }

    /// Stands in line until a probe is due; returns whether it still needs one.
    async fn turn(&self, line: usize) -> bool {
        let _first = self.lines[line].acquire().await.expect("the semaphore is never closed");
        loop {
            let due = {
                let mut state = self.state.lock();
                match state.due[line] {
                    None => return false,
                    Some(due) if due > Instant::now() => due,
                    Some(_) => {
                        state.probes += 1;
                        state.pause(&self.retry);
                        return true;
                    }
                }
            };
            sleep_until(due).await;
        }
    }

    fn leave(&self, asker: Asker, probe: bool) -> Pass<'_> {
        Pass { circuit: self, stream: asker.stream, began: Instant::now(), probe }
    }

    /// What is shown of it.
    pub fn state(&self) -> CircuitState {
        let state = self.state.lock();
        CircuitState {
            open_since: state.since,
            probing: state.since.is_some() && state.probes > 0,
            next_probe: state.due[1].filter(|_| state.since.is_some()),
        }
    }

    fn is_alive(&self) -> Change {
        self.alive.store(self.micros(Instant::now()), Ordering::Relaxed);
        if !self.suspected.load(Ordering::Acquire) {
            return Change::None;
        }
        let mut state = self.state.lock();
        state.failed.clear();
        (state.backoff, state.due) = (Backoff::new(), [None; 2]);
        self.suspected.store(false, Ordering::Release);
        if state.since.take().is_none() {
            return Change::None;
        }
        self.open.store(false, Ordering::Release);
        drop(state);
        self.closed.notify_waiters();
        Change::Closed
    }

    fn is_down(&self, stream: usize, began: Instant) -> Change {
        let mut state = self.state.lock();
        // Looked at under the lock: a sign of life after this clears what is noted here.
        if state.since.is_some() || self.alive.load(Ordering::Relaxed) > self.micros(began) {
            return Change::None;
        }
        self.suspected.store(true, Ordering::Release);
        if !state.failed.contains(&stream) {
            state.failed.push(stream);
        }
        if state.failed.len() < SEVERAL {
            return Change::None;
        }
        state.since = Some(Instant::now());
        state.pause(&self.retry);
        self.open.store(true, Ordering::Release);
        Change::Opened
    }

    /// Never 0, which means that there was none.
    fn micros(&self, at: Instant) -> u64 {
        at.duration_since(self.born).as_micros() as u64 + 1
    }
}

impl State {
    /// Puts off the next probe, for those in trouble longer every time.
    fn pause(&mut self, retry: &RetrySettings) {
        let now = Instant::now();
        let [soon, later] =
            [&mut Backoff::new(), &mut self.backoff].map(|waits| waits.hold_wait(retry, None));
        let soon = soon.min(LONGEST_WAIT_OF_OTHERS);
        self.due = [soon, later].map(|wait| Some(now + wait.max(SHORTEST_PAUSE)));
    }
}

impl Pass<'_> {
    /// Whether it is still good: until the circuit opens, if it is no probe's.
    pub fn holds(&self) -> bool {
        self.probe || !self.circuit.is_open()
    }

    /// Tells what the attempt has shown.
    pub fn end(self, sign: Sign) -> Change {
        match sign {
            Sign::Alive => self.circuit.is_alive(),
            Sign::Down => self.circuit.is_down(self.stream, self.began),
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
mod tests {
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;

    fn circuit() -> Arc<Circuit> {
        Arc::new(Circuit::new(&RetrySettings::without_jitter()))
    }

    fn fresh(stream: usize) -> Asker {
        Asker { stream, in_trouble: false }
    }

    fn in_trouble(stream: usize) -> Asker {
        Asker { stream, in_trouble: true }
    }

    /// An attempt of each stream, all at the same time, that show the same after `time`.
    async fn attempts(circuit: &Circuit, streams: std::ops::Range<usize>, time: Duration, sign: Sign) {
        let mut passes = Vec::new();
        for stream in streams {
            passes.push(circuit.pass(fresh(stream)).await);
        }
        sleep(time).await;
        for pass in passes {
            pass.end(sign);
        }
    }

    async fn open() -> Arc<Circuit> {
        let circuit = circuit();
        attempts(&circuit, 0..SEVERAL, Duration::from_millis(1), Sign::Down).await;
        assert!(circuit.is_open());
        circuit
    }

    #[tokio::test(start_paused = true)]
    async fn several_streams_that_meet_nothing_open_it_and_fewer_do_not() {
        let circuit = circuit();
        for _ in 0..3 {
            attempts(&circuit, 0..SEVERAL - 1, Duration::from_millis(1), Sign::Down).await;
        }
        assert!(!circuit.is_open());
        let last = circuit.pass(fresh(99)).await;
        assert_eq!(last.end(Sign::Down), Change::Opened);
        assert_eq!(circuit.state().name(), "open");
    }

    #[tokio::test(start_paused = true)]
    async fn one_streams_failures_never_open_it() {
        let circuit = circuit();
        for _ in 0..1000 {
            attempts(&circuit, 7..8, Duration::from_millis(1), Sign::Down).await;
        }
        assert!(!circuit.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_between_the_failures_keeps_it_closed() {
        let circuit = circuit();
        for stream in 0..100 {
            attempts(&circuit, stream..stream + 1, Duration::from_millis(1), Sign::Down).await;
            if stream % 4 == 3 {
                attempts(&circuit, 1000..1001, Duration::from_millis(1), Sign::Alive).await;
            }
        }
        assert!(!circuit.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_hang_beside_one_that_is_answered_never_open_it() {
        let circuit = circuit();
        for _ in 0..10 {
            let hanging = attempts(&circuit, 0..1000, Duration::from_secs(30), Sign::Down);
            let healthy = async {
                sleep(Duration::from_secs(10)).await;
                attempts(&circuit, 1000..1001, Duration::from_millis(5), Sign::Alive).await;
            };
            tokio::join!(hanging, healthy);
        }
        assert!(!circuit.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_show_nothing_neither_open_nor_close_it() {
        let circuit = circuit();
        attempts(&circuit, 0..100, Duration::from_millis(1), Sign::Unclear).await;
        assert!(!circuit.is_open());
        let circuit = open().await;
        assert_eq!(circuit.pass(fresh(0)).await.end(Sign::Unclear), Change::None);
        assert!(circuit.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_is_open_streams_probe_one_by_one_after_growing_pauses() {
        let circuit = open().await;
        let start = Instant::now();
        let probes = Arc::new(Mutex::new(Vec::new()));
        for stream in 0..1000 {
            let (circuit, probes) = (circuit.clone(), probes.clone());
            tokio::spawn(async move {
                loop {
                    let pass = circuit.pass(in_trouble(stream)).await;
                    probes.lock().push(start.elapsed().as_secs());
                    pass.end(Sign::Down);
                }
            });
        }
        sleep(Duration::from_secs(100)).await;
        assert_eq!(*probes.lock(), [1, 3, 7, 15, 31, 61, 91]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_sign_of_life_lets_everybody_go_on() {
        let circuit = open().await;
        let waiting: Vec<_> = (0..100)
            .map(|stream| {
                let circuit = circuit.clone();
                tokio::spawn(async move { circuit.pass(in_trouble(stream)).await.end(Sign::Alive) })
            })
            .collect();
        let start = Instant::now();
        let mut closed = 0;
        for task in waiting {
            closed += usize::from(task.await.unwrap() == Change::Closed);
        }
        assert_eq!((closed, start.elapsed().as_secs()), (1, 1));
        assert_eq!(circuit.state().name(), "closed");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_half_open_while_a_probe_is_on_its_way() {
        let circuit = open().await;
        let pass = circuit.pass(in_trouble(0)).await;
        assert_eq!(circuit.state().name(), "half_open");
        drop(pass);
        assert_eq!(circuit.state().name(), "open");
        assert_eq!(circuit.state().until_probe(), Some(Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_in_no_trouble_of_its_own_does_not_wait_in_line_with_those_that_are() {
        let circuit = open().await;
        for stream in 0..1000 {
            let circuit = circuit.clone();
            tokio::spawn(async move {
                loop {
                    let pass = circuit.pass(in_trouble(stream)).await;
                    sleep(Duration::from_secs(30)).await;
                    pass.end(Sign::Down);
                }
            });
        }
        sleep(Duration::from_secs(500)).await;
        let start = Instant::now();
        let pass = circuit.pass(fresh(5000)).await;
        assert!(start.elapsed() <= LONGEST_WAIT_OF_OTHERS, "{:?}", start.elapsed());
        assert_eq!(pass.end(Sign::Alive), Change::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_end_with_whoever_made_them() {
        let circuit = open().await;
        for _ in 0..3 {
            let waits = tokio::time::timeout(Duration::from_millis(500), circuit.pass(in_trouble(1))).await;
            drop(waits);
        }
        drop(circuit.pass(in_trouble(2)).await);
        assert_eq!((circuit.state().name(), circuit.lines[1].available_permits()), ("open", 1));
    }
}
