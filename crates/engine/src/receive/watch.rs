//! Watches the connections of a listener, and closes those with slow heads, idle ones, and ones that don't take their answers, and
//! all that are left when the listener ends.
//!
//! A timer per request would cost more than the request's routing. So a connection only notes, against a clock that
//! ticks once a second, since when it has been idle, in the middle of a head or in the middle of an answer, and one task per
//! listener closes the ones that are late, to the second.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::frames::Frames;
use super::opening::PREFACE;
use super::settings::{Evicted, ListenerSettings};
use crate::descriptors::MakesRoom;
use crate::stream::{Budget, Reservation};

/// A sender that is refused before its body is read may send for that much longer, so that it sees the answer.
pub(super) const DRAIN: Duration = Duration::from_secs(1);

/// The first part of an HTTP/1.1 head is read into a buffer of 8 KiB, the rest into larger ones.
const SMALL_HALF_HEAD: u32 = 8 * 1024;

/// The memory of an incomplete head beyond that: its buffer, which grows by doubling.
const HALF_HEAD: u64 = 32 * 1024;

/// The memory of the decoded part of an incomplete HTTP/2 head.
const HALF_HEAD_OF_FRAMES: u64 = 96 * 1024;

/// The memory of each concurrent request but the first on an HTTP/2 connection, beside what is reserved for the request itself: an
/// answer that refuses it and is not taken, 2 KiB, and afterwards the 1.1 KiB that h2 keeps for another request.
const SLOT: u64 = 2560;

/// The memory that the connections of a listener may take for concurrent requests beside `limits.memory` once that is reached, so that
/// their senders get an answer that asks them to wait. It is part of the 64 MiB that Sluice needs for itself.
const SPARE: u64 = 4 * 1024 * 1024;

/// Memory is short once less than this part of it is left.
const SHORT: u64 = 8;

/// When a listener is full, so many of its connections at a time make room, as one part of so many: looking for the ones
/// that have waited longest costs time, which many new ones share then.
const EVICTED_AT_ONCE: usize = 32;

/// The seconds that the other side has to begin, or to take more of its answer, before its place may go to another one.
const GRACE: u32 = 1;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Watch {
    /// Seconds since the listener began.
    clock: AtomicU32,
    /// The listener stops: what is answered from now on is the last of its connection.
    leaving: AtomicBool,
    /// The part of [`SPARE`] that is left.
    spare: Arc<Budget>,
    connections: DashMap<u64, Arc<ConnectionActivity>>,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionActivity {
    /// Requests being answered.
    in_progress: AtomicU32,
    /// Requests that still hold anything: they are being answered, or their answers are being sent.
    open: AtomicU32,
    /// On HTTP/2, the number of concurrent open requests that memory is reserved for, the first one not counted.
    slots: AtomicU32,
    /// Answers that have not been handed to the socket as a whole.
    untaken: AtomicU32,
    /// The clock when the last of these answers was handed over, or the first of them began, plus one; 0 if there are none.
    taken: AtomicU32,
    /// The clock since which the socket takes nothing more, plus one; 0 if it takes data.
    blocked: AtomicU32,
    /// The connection has begun a head that is not complete.
    in_head: AtomicBool,
    multiplexed: AtomicBool,
    /// There is no memory for an incomplete head.
    lacking: AtomicBool,
    /// At least one head has come whole.
    served: AtomicBool,
    /// The clock at the last change of its state.
    since: AtomicU32,
    /// Counts how often the connection's task has run.
    turn: AtomicU32,
    /// Why the connection has to be closed, as an [`End`], and 0 as long as it has not.
    end: AtomicU8,
    ending: Notify,
}

/// Why a connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The connection is idle, or its head comes too slowly.
    Late = 1,
    /// The other side does not take its answer.
    NotTaken = 2,
    /// Another connection needs its place.
    Evicted = 3,
    /// There is no memory for an incomplete head.
    NoMemory = 4,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            clock: AtomicU32::default(),
            leaving: AtomicBool::default(),
            spare: Arc::new(Budget::new(SPARE)),
            connections: DashMap::default(),
        }
    }
}

impl Watch {
    /// Notes a new connection, until the returned guard is dropped. What has come of its heads is reserved on `budget`.
    pub(super) fn enter(self: &Arc<Self>, id: u64, budget: Option<Arc<Budget>>) -> Watched {
        let activity = Arc::new(ConnectionActivity::default());
        activity.since.store(self.now(), Ordering::Relaxed);
        self.connections.insert(id, activity.clone());
        Watched {
            watch: self.clone(),
            id,
            activity,
            half_head: Mutex::new(budget.clone().map(Reservation::empty)),
            slots: Mutex::new(budget.map(|budget| Slots {
                counted: Reservation::empty(budget),
                spare: Reservation::empty(self.spare.clone()),
            })),
            half_head_come: AtomicU32::new(0),
            half_head_counted: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Makes every request the last of its connection.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Ticks and closes late connections until the listener's task ends it.
    pub(super) async fn run(
        self: Arc<Self>,
        budget: Option<Arc<Budget>>,
        settings: impl Fn() -> Arc<ListenerSettings>,
    ) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
            let settings = settings();
            let limit = |timeout: Duration| u32::try_from(timeout.as_secs().max(1)).unwrap_or(u32::MAX);
            let (head, idle) = (limit(settings.read_header_timeout), limit(settings.idle_timeout));
            let short = budget.as_ref().is_some_and(|budget| !budget.has_room(budget.limit() / SHORT));
            // Pages of the dashboard that are not read must not keep others from being answered. Senders have the configured time.
            let answer =
                if short && !settings.is_of_senders() { GRACE } else { limit(settings.write_timeout) };
            for activity in &self.connections {
                let age = now.saturating_sub(activity.since.load(Ordering::Relaxed));
                if activity.leaves_answers(now, answer) {
                    activity.close(End::NotTaken);
                } else if activity.is_idle()
                    && activity.lacking.load(Ordering::Relaxed)
                    && age > DRAIN.as_secs() as u32
                {
                    activity.close(End::NoMemory);
                } else if activity.is_idle()
                    && age > if activity.in_head.load(Ordering::Relaxed) { head } else { idle }
                {
                    activity.close(End::Late);
                } else if short && activity.keeps_slots() && age > 0 {
                    // Its sender connects again when it has more to send, and others can use its memory until then.
                    activity.close(End::Late);
                }
            }
        }
    }

    /// Closes some connections that have no request, or whose answers nobody takes. Whether there were such.
    ///
    /// A reader of a long answer waits for its network at times: it stays as long as there are silent connections to close,
    /// of which nobody has anything yet.
    pub(super) fn evict(&self, which: Evicted) -> bool {
        let now = self.now();
        let mut ending = false;
        let (mut silent, mut not_taking, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        let mut young = false;
        for activity in &self.connections {
            let end = activity.end.load(Ordering::Relaxed);
            if end != 0 {
                // A connection that is closed because it was idle may take its time, and makes no room at once.
                ending |= end == End::Evicted as u8;
                continue;
            }
            let since = activity.since.load(Ordering::Relaxed);
            let untaken = activity.untaken_since(now).filter(|_| which == Evicted::Idle);
            // What it is to be told apart by may not have shown yet.
            young |= !activity.served.load(Ordering::Relaxed) && now.saturating_sub(since) <= GRACE;
            let (of, since) = match (activity.is_idle(), activity.served.load(Ordering::Relaxed), untaken) {
                (true, false, _) => (&mut silent, since),
                (_, _, Some(untaken)) => (&mut not_taking, untaken),
                (true, true, None) => (&mut idle, since),
                (false, _, None) => continue,
            };
            // Connections of the same second rank in the order in which they came.
            of.push(((since, *activity.key()), activity.value().clone()));
        }
        let at_once = self.connections.len() / EVICTED_AT_ONCE + 1;
        let mut chosen = match which {
            Evicted::Headless => beyond_grace(silent, now).0,
            Evicted::Idle => [silent, not_taking]
                .into_iter()
                .map(|of| longest(of, now, at_once))
                .find(|longest| !longest.is_empty())
                // A few idle ones that take their answers stay until it has shown what all the young ones are.
                .unwrap_or(if ending || (young && idle.len() < at_once) { Vec::new() } else { idle }),
        };
        let evicted = chosen.len().min(at_once);
        if evicted < chosen.len() {
            chosen.select_nth_unstable_by_key(evicted, |(rank, _)| *rank);
        }
        for (_, activity) in &chosen[..evicted] {
            activity.close(End::Evicted);
        }
        evicted > 0
    }
}

/// Connections, each with the clock since which it is as it is, and its id.
type Ranked = Vec<((u32, u64), Arc<ConnectionActivity>)>;

/// The connections whose [`GRACE`] is over, and the others.
fn beyond_grace(connections: Ranked, now: u32) -> (Ranked, Ranked) {
    connections.into_iter().partition(|((since, _), _)| now.saturating_sub(*since) > GRACE)
}

/// The connections that may be closed: those whose [`GRACE`] is over. If there are none, too many have come within that time: then
/// all but the last so many, which may be about to send their requests.
fn longest(connections: Ranked, now: u32, spared: usize) -> Ranked {
    let (late, mut fresh) = beyond_grace(connections, now);
    if !late.is_empty() {
        return late;
    }
    fresh.sort_unstable_by_key(|(rank, _)| *rank);
    fresh.truncate(fresh.len().saturating_sub(spared));
    fresh
}

/// For receivers, whose connections share the file descriptors.
impl MakesRoom for Watch {
    fn make_room(&self) -> bool {
        self.evict(Evicted::Headless)
    }
}

impl ConnectionActivity {
    /// Whether there is no request.
    fn is_idle(&self) -> bool {
        self.in_progress.load(Ordering::Relaxed) == 0
    }

    /// Whether there is nothing but room for requests of which there were more at a time once.
    fn keeps_slots(&self) -> bool {
        self.is_idle() && self.open.load(Ordering::Relaxed) == 0 && self.slots.load(Ordering::Relaxed) > 1
    }

    /// The clock since which the other side takes nothing of its answers, if it leaves any.
    fn untaken_since(&self, now: u32) -> Option<u32> {
        let clock = |at: &AtomicU32| at.load(Ordering::Relaxed).checked_sub(1);
        // On HTTP/2 the other side may take all but the answers. On HTTP/1.1 a large answer is handed over as a whole, and what
        // counts is that its bytes are taken.
        let multiplexed = self.multiplexed.load(Ordering::Relaxed);
        // An answer of this second is on its way.
        let taken = clock(&self.taken).filter(|taken| multiplexed && *taken < now);
        clock(&self.blocked).into_iter().chain(taken).min()
    }

    /// Whether the other side has taken nothing of its answers for longer than so many seconds. There may be a request behind
    /// those, which waits as well.
    fn leaves_answers(&self, now: u32, patience: u32) -> bool {
        self.untaken_since(now).is_some_and(|since| now.saturating_sub(since) > patience)
    }

    fn close(&self, end: End) {
        self.end.store(end as u8, Ordering::Relaxed);
        self.ending.notify_one();
    }
}

/// A connection that is being watched.
#[derive(Debug)]
pub(super) struct Watched {
    watch: Arc<Watch>,
    id: u64,
    activity: Arc<ConnectionActivity>,
    /// The reservation for an incomplete head; `None` if nothing is counted.
    half_head: Mutex<Option<Reservation>>,
    /// Bytes of that head that have come, on HTTP/1.1.
    half_head_come: AtomicU32,
    /// Whether anything is reserved for that head.
    half_head_counted: AtomicBool,
    /// The reservation for concurrent requests; `None` if nothing is counted.
    slots: Mutex<Option<Slots>>,
}

/// The reservation for the most concurrent requests that an HTTP/2 connection has had, until it ends.
#[derive(Debug)]
struct Slots {
    counted: Reservation,
    /// Beside the limit.
    spare: Reservation,
}

impl Watched {
    /// Ready when the connection has to be closed.
    pub(super) async fn ended(&self) -> End {
        let activity = &self.activity;
        loop {
            activity.ending.notified().await;
            let end = match activity.end.load(Ordering::Relaxed) {
                end if end == End::NotTaken as u8 => return End::NotTaken,
                end if end == End::NoMemory as u8 => return End::NoMemory,
                end if end == End::Evicted as u8 => End::Evicted,
                _ => End::Late,
            };
            // A request may have begun since this was decided, or the answer may have been taken.
            let untaken = end == End::Evicted && activity.untaken_since(self.watch.now()).is_some();
            if activity.is_idle() || untaken {
                return end;
            }
            activity.end.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a request, until the returned guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InProgress {
        self.touch();
        self.activity.served.store(true, Ordering::Relaxed);
        self.end_head();
        self.activity.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(self.clone())
    }

    /// Whether there is neither a request beside this one nor an answer on its way.
    pub(super) fn is_alone(&self, open: &OpenRequest) -> bool {
        debug_assert!(Arc::ptr_eq(&open.0, &self.activity), "it is a request of this connection");
        self.activity.open.load(Ordering::Relaxed) == 1
    }

    /// Notes an answer that is on its way, until the returned guard is dropped.
    pub(super) fn answer(self: &Arc<Self>) -> UntakenAnswer {
        if self.activity.untaken.fetch_add(1, Ordering::SeqCst) == 0 {
            self.activity.taken.store(self.watch.now() + 1, Ordering::SeqCst);
        }
        UntakenAnswer(self.clone())
    }

    /// Notes a request of which something is held, until the returned guard is dropped.
    pub(super) fn open(&self) -> OpenRequest {
        self.activity.open.fetch_add(1, Ordering::Relaxed);
        OpenRequest(self.activity.clone())
    }

    /// Whether there is memory for requests of which so many heads have just come. What is reserved stays so until the
    /// connection ends, since h2 keeps room for as many requests as it has had at a time.
    fn has_slots(&self, heads: u32) -> bool {
        // Also heads of what h2 answers by itself, such as requests beyond `max_concurrent_streams`.
        let wanted = self.activity.open.load(Ordering::Relaxed) + heads;
        let had = self.activity.slots.load(Ordering::Relaxed).max(1);
        if wanted <= had {
            return true;
        }
        // The room that h2 keeps doubles.
        let wanted = wanted.next_power_of_two();
        let room = self.slots.lock().as_mut().is_none_or(|Slots { counted, spare }| {
            let bytes = u64::from(wanted - had) * SLOT;
            counted.grow(bytes) || spare.grow(bytes)
        });
        if room {
            self.activity.slots.store(wanted, Ordering::Relaxed);
        }
        room
    }

    /// Notes that the connection's task runs anew.
    pub(super) fn begin_turn(&self) {
        self.activity.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the connection has begun to say something.
    pub(super) fn begin_head(&self) {
        if !self.activity.in_head.swap(true, Ordering::Relaxed) {
            self.touch();
        }
    }

    fn end_head(&self) {
        self.activity.in_head.store(false, Ordering::Relaxed);
        self.half_head_come.store(0, Ordering::Relaxed);
        self.activity.lacking.store(false, Ordering::Relaxed);
        if self.half_head_counted.swap(false, Ordering::Relaxed)
            && let Some(half_head) = &mut *self.half_head.lock()
        {
            drop(half_head.take());
        }
    }

    /// Notes that the connection speaks HTTP/2.
    pub(super) fn multiplex(&self) {
        self.end_head();
        self.activity.multiplexed.store(true, Ordering::Relaxed);
        self.touch();
    }

    /// Whether the connection speaks HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.activity.multiplexed.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        self.activity.since.store(self.watch.now(), Ordering::Relaxed);
    }

    /// Notes what was read on HTTP/1.1.
    fn read(&self, len: usize) {
        if self.activity.is_idle() {
            self.begin_head();
            self.half_head_come.fetch_add(u32::try_from(len).unwrap_or(u32::MAX), Ordering::Relaxed);
        } else {
            self.touch();
        }
    }

    /// Notes what was read on HTTP/2.
    fn read_frames(&self, frames: &Frames) {
        if !self.activity.is_idle() {
            self.touch();
        }
        // Frames that begin no request, such as answers to our pings, keep no connection open.
        match (frames.in_head(), self.activity.in_head.load(Ordering::Relaxed)) {
            (true, false) => self.begin_head(),
            (false, true) => self.end_head(),
            _ => {}
        }
    }

    /// Whether there is memory for what has come of a head. Asked for when more is to be read: what was read before is known
    /// to be no whole head only then.
    fn has_room(&self, frames: Option<&Frames>) -> bool {
        let bytes = match frames {
            Some(frames) if frames.in_head() => HALF_HEAD_OF_FRAMES,
            None if self.half_head_come.load(Ordering::Relaxed) > SMALL_HALF_HEAD
                && self.activity.is_idle() =>
            {
                HALF_HEAD
            }
            _ => return true,
        };
        if self.half_head_counted.load(Ordering::Relaxed) {
            return true;
        }
        let room = self.half_head.lock().as_mut().is_none_or(|half_head| half_head.grow(bytes));
        self.half_head_counted.store(room, Ordering::Relaxed);
        // On HTTP/1.1 it may also be the rest of a body whose request was refused, which is passed over for a moment.
        self.activity.lacking.store(!room, Ordering::Relaxed);
        room || frames.is_none()
    }

    /// Whether the socket has not taken all that was to be written.
    fn is_blocked(&self) -> bool {
        self.activity.blocked.load(Ordering::Relaxed) != 0
    }

    /// Notes whether the socket took what was to be written.
    fn wrote(&self, taken: bool) {
        let blocked = &self.activity.blocked;
        if taken {
            blocked.store(0, Ordering::Relaxed);
        } else if blocked.load(Ordering::Relaxed) == 0 {
            blocked.store(self.watch.now() + 1, Ordering::Relaxed);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.connections.remove(&self.id);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Watched>);

impl InProgress {
    /// Whether the connection gets no more answers than this one.
    pub(super) fn is_last(&self) -> bool {
        self.0.watch.leaving.load(Ordering::Relaxed)
    }

    /// Notes a piece of its answer that is on its way, until the returned guard is dropped.
    pub(super) fn answer(&self) -> UntakenAnswer {
        self.0.answer()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.touch();
        let before = self.0.activity.in_progress.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a request ends once");
    }
}

/// A request of which something is held.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<ConnectionActivity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "what a request holds is released once");
    }
}

/// An answer that is on its way.
#[derive(Debug)]
pub(super) struct UntakenAnswer(Arc<Watched>);

impl Drop for UntakenAnswer {
    fn drop(&mut self) {
        let activity = &self.0.activity;
        let now = self.0.watch.now() + 1;
        let left = activity.untaken.fetch_sub(1, Ordering::SeqCst) - 1;
        activity.taken.store(if left == 0 { 0 } else { now }, Ordering::SeqCst);
        // Another answer may have come in between, and its time was overwritten.
        if left == 0 && activity.untaken.load(Ordering::SeqCst) > 0 {
            activity.taken.store(now, Ordering::SeqCst);
        }
    }
}

/// A socket whose reads and writes are noted.
#[derive(Debug)]
pub(super) struct WatchedIo<S> {
    socket: S,
    watched: Arc<Watched>,
    /// On HTTP/2, what comes in.
    frames: Option<Frames>,
    /// On HTTP/2, bytes that may be read in one turn of the connection's task, and those that still may in this one.
    at_once: usize,
    left: usize,
    turn: u32,
    /// On HTTP/2, nothing was read because the other side does not take what it is told.
    withheld: bool,
}

impl<S> WatchedIo<S> {
    /// HTTP/1.1: hyper reads what a request is ready to take.
    pub(super) fn new(socket: S, watched: Arc<Watched>) -> Self {
        Self { socket, watched, frames: None, at_once: 0, left: 0, turn: 0, withheld: false }
    }

    /// HTTP/2, the preface included: h2 reads whatever there is, heads and bodies, and only then do those get to run that they
    /// are for, and count what they hold. So they do after a read with a head in it, and after `at_once` bytes in any case.
    pub(super) fn multiplexed(socket: S, watched: Arc<Watched>, at_once: usize) -> Self {
        let frames = Some(Frames::behind(PREFACE.len()));
        Self { socket, watched, frames, at_once, left: at_once, turn: 0, withheld: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.watched.has_room(this.frames.as_ref()) {
            // The connection's task waits for this end, and closes the connection.
            this.watched.activity.close(End::NoMemory);
            return Poll::Pending;
        }
        if this.frames.is_some() {
            let turn = this.watched.activity.turn.load(Ordering::Relaxed);
            if std::mem::replace(&mut this.turn, turn) != turn {
                this.left = this.at_once;
            }
            // h2 keeps whatever it has to say of what is read, also what is no answer and counted by nobody.
            this.withheld = this.watched.is_blocked();
            if this.withheld {
                return Poll::Pending;
            }
            if this.left == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(cx, buf);
        let data = &buf.filled()[before..];
        if matches!(polled, Poll::Ready(Ok(()))) && !data.is_empty() {
            match &mut this.frames {
                None => this.watched.read(data.len()),
                Some(frames) => {
                    let heads = frames.follow(data);
                    this.left =
                        if heads > 0 || frames.in_head() { 0 } else { this.left.saturating_sub(data.len()) };
                    this.watched.read_frames(frames);
                    if heads > 0 && !this.watched.has_slots(heads) {
                        // h2 never sees what was read.
                        this.watched.activity.close(End::NoMemory);
                        return Poll::Pending;
                    }
                }
            }
        }
        polled
    }
}

impl<S> WatchedIo<S> {
    /// Notes what came of writing.
    fn note<T>(&mut self, cx: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.watched.wrote(polled.is_ready());
        if polled.is_ready() && std::mem::take(&mut self.withheld) {
            // The socket says only once that there is something to read.
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Not only bytes that were not written: TLS keeps what its socket did not take.
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        self.note(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::receive::ResponseBody;

    fn enter(watch: &Arc<Watch>, id: u64) -> Arc<Watched> {
        Arc::new(watch.enter(id, None))
    }

    /// A connection with an answer that the socket does not take, and the request behind that.
    fn not_taking(watch: &Arc<Watch>, id: u64) -> (Arc<Watched>, InProgress) {
        let connection = enter(watch, id);
        drop(connection.request());
        let behind = connection.request();
        connection.wrote(false);
        (connection, behind)
    }

    fn is_evicted(connection: &Watched) -> bool {
        connection.activity.end.load(Ordering::Relaxed) != 0
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_no_pages_goes_after_a_second_once_there_is_no_room_for_others_and_senders_stay() {
        for (listener, expected) in [(Evicted::Idle, true), (Evicted::Headless, false)] {
            let watch = Arc::<Watch>::default();
            let (reader, _answered) = not_taking(&watch, 1);
            let mut settings = ListenerSettings::for_people("x", "127.0.0.1:0".parse().unwrap());
            settings.makes_room = listener;
            let (settings, budget) = (Arc::new(settings), Arc::new(Budget::new(8 << 20)));
            tokio::spawn(watch.clone().run(Some(budget.clone()), move || settings.clone()));
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(!is_evicted(&reader), "there is room");
            assert!(budget.reserve(8 << 20));
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(is_evicted(&reader), expected);
        }
    }

    #[test]
    fn silent_connections_make_room_before_those_that_take_no_answers_and_these_before_idle_ones() {
        let watch = Arc::<Watch>::default();
        let [idle, silent, busy] = [1, 3, 4].map(|id| enter(&watch, id));
        drop(idle.request());
        let (not_taking, behind) = not_taking(&watch, 2);
        let _answered = busy.request();
        watch.clock.store(10, Ordering::Relaxed);
        let new = enter(&watch, 5);
        for expected in [[true, false], [true, true]] {
            assert!(watch.evict(Evicted::Idle));
            assert_eq!([is_evicted(&silent), is_evicted(&not_taking)], expected);
        }
        // These may take a moment to end.
        assert!(!watch.evict(Evicted::Idle));
        assert!(!is_evicted(&idle));
        drop((behind, not_taking, silent));
        assert!(watch.evict(Evicted::Idle));
        assert_eq!([is_evicted(&idle), is_evicted(&new), is_evicted(&busy)], [true, false, false]);
        drop(idle);
        watch.clock.store(12, Ordering::Relaxed);
        assert!(watch.evict(Evicted::Idle));
        assert_eq!([is_evicted(&new), is_evicted(&busy)], [true, false]);
    }

    #[test]
    fn a_reader_that_is_waited_for_stays_while_silent_connections_come_however_fast() {
        let watch = Arc::<Watch>::default();
        let (reader, _answered) = not_taking(&watch, 0);
        for second in 0..10 {
            watch.clock.store(second, Ordering::Relaxed);
            let silent: Vec<_> = (1..=200).map(|id| enter(&watch, id)).collect();
            for _ in 0..20 {
                assert!(watch.evict(Evicted::Idle));
            }
            assert!(!is_evicted(&reader), "it has been waited for for {second} s");
            let evicted = silent.iter().take_while(|silent| is_evicted(silent)).count();
            assert_eq!(evicted, silent.iter().filter(|silent| is_evicted(silent)).count(), "the first");
            assert!((100..200).contains(&evicted), "{evicted}");
        }
    }

    #[test]
    fn of_readers_that_are_waited_for_those_make_room_first_that_are_for_longer_than_a_second() {
        let watch = Arc::<Watch>::default();
        let first: Vec<_> = (1..=3).map(|id| not_taking(&watch, id)).collect();
        watch.clock.store(1, Ordering::Relaxed);
        let then: Vec<_> = (4..=6).map(|id| not_taking(&watch, id)).collect();
        let evicted = || [&first, &then].map(|of| of.iter().filter(|(reader, _)| is_evicted(reader)).count());
        // One that is idle is none of them.
        let idle = enter(&watch, 7);
        drop(idle.request());
        // None is late yet, and the last one is spared.
        assert!(watch.evict(Evicted::Idle));
        assert_eq!(evicted(), [1, 0]);
        watch.clock.store(2, Ordering::Relaxed);
        for expected in [[2, 0], [3, 0], [3, 1], [3, 2]] {
            assert!(watch.evict(Evicted::Idle));
            assert_eq!(evicted(), expected);
        }
        assert!(!watch.evict(Evicted::Idle) && !is_evicted(&idle), "there will be room");
    }

    #[test]
    fn the_most_requests_at_a_time_are_counted_until_their_connection_ends() {
        let budget = Arc::new(Budget::new(1 << 30));
        let watch = Arc::<Watch>::default();
        let connection = watch.enter(1, Some(budget.clone()));
        connection.multiplex();
        for (heads, expected) in [(1, 0), (2, 1), (3, 3), (4, 3), (5, 7), (99, 127), (2, 127)] {
            assert!(connection.has_slots(heads));
            assert_eq!(budget.used(), expected * SLOT, "{heads}");
        }
        let had: Vec<_> = (0..100).map(|_| connection.open()).collect();
        assert!(connection.has_slots(28));
        assert_eq!(budget.used(), 127 * SLOT);
        assert!(connection.has_slots(29));
        drop(had);
        assert!(connection.has_slots(1));
        assert_eq!(budget.used(), 255 * SLOT);
        drop(connection);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn without_memory_requests_at_a_time_take_what_is_spare_and_then_end_their_connection() {
        const MOST: u32 = 256;
        let watch = Arc::<Watch>::default();
        let budget = Arc::new(Budget::new(0));
        let connections: Vec<_> = (0..10)
            .map(|id| {
                let connection = watch.enter(id, Some(budget.clone()));
                connection.multiplex();
                connection
            })
            .collect();
        let fit = SPARE / (u64::from(MOST - 1) * SLOT);
        for (connection, index) in connections.iter().zip(0..) {
            assert!(connection.has_slots(1), "one at a time is always taken");
            assert_eq!(connection.has_slots(MOST), index < fit, "{index} beside it");
        }
        drop(connections);
        assert_eq!((budget.used(), watch.spare.used()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_that_had_many_requests_go_when_memory_is_short_and_no_others() {
        let budget = Arc::new(Budget::new(8 << 20));
        let watch = Arc::<Watch>::default();
        let settings = Arc::new(ListenerSettings::for_people("x", "127.0.0.1:0".parse().unwrap()));
        let enter = |id| {
            let connection = Arc::new(watch.enter(id, Some(budget.clone())));
            connection.multiplex();
            connection
        };
        let [many, one, busy] = [1, 2, 3].map(enter);
        assert!(many.has_slots(10) && one.has_slots(1) && busy.has_slots(10));
        let _request = busy.request();
        let going = |connection: &Watched| connection.activity.end.load(Ordering::Relaxed) != 0;
        tokio::spawn(watch.clone().run(Some(budget.clone()), move || settings.clone()));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!([&many, &one, &busy].iter().all(|connection| !going(connection)));
        assert!(budget.reserve(7 << 20));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!([&many, &one, &busy].map(|connection| going(connection)), [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_idle_as_long_as_an_answer_lasts_and_closed_if_that_is_not_taken() {
        let watch = Arc::<Watch>::default();
        let settings = Arc::new(ListenerSettings::for_people("x", "127.0.0.1:0".parse().unwrap()));
        let (idle, patience) = (settings.idle_timeout, settings.write_timeout);
        let connection = Arc::new(watch.enter(1, None));
        connection.multiplex();
        let going = || connection.activity.end.load(Ordering::Relaxed) != 0;
        let pieces = || {
            let pieces = futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"x"))));
            let mut body = ResponseBody::lasting_stream(StreamBody::new(pieces));
            body.keep_in_progress(connection.request());
            body
        };
        tokio::spawn(watch.clone().run(None, move || settings.clone()));
        let mut lasting = pieces();
        for _ in 0..2 * idle.as_secs() {
            assert!(lasting.frame().await.unwrap().unwrap().is_data(), "what is taken is asked for again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(!going());
        drop(lasting);
        tokio::time::sleep(idle + Duration::from_secs(3)).await;
        assert!(going());

        connection.activity.end.store(0, Ordering::Relaxed);
        let mut lasting = pieces();
        let untaken = lasting.frame().await;
        tokio::time::sleep(patience + Duration::from_secs(3)).await;
        assert_eq!(connection.activity.end.load(Ordering::Relaxed), End::NotTaken as u8);
        drop(untaken);
        watch.leave();
        assert!(lasting.frame().await.is_none(), "the listener stops");
    }

    /// A socket that always has something to read, and takes what is written when it is told to.
    struct NeverRead {
        takes: bool,
    }

    impl AsyncRead for NeverRead {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(&[0]);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for NeverRead {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if self.takes { Poll::Ready(Ok(buf.len())) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn nothing_is_read_of_http_2_while_nothing_is_taken_and_the_reader_is_woken_afterwards() {
        let watched = Arc::new(Arc::<Watch>::default().enter(1, None));
        let mut io = WatchedIo::multiplexed(NeverRead { takes: true }, watched, 1 << 20);
        let (waker, woken) = waker();
        let cx = &mut Context::from_waker(&waker);
        let read = |io: &mut WatchedIo<NeverRead>, cx: &mut Context<'_>| {
            let mut space = [0; 1];
            Pin::new(io).poll_read(cx, &mut ReadBuf::new(&mut space)).is_ready()
        };
        assert!(read(&mut io, cx));
        io.socket.takes = false;
        assert!(Pin::new(&mut io).poll_write(cx, b"x").is_pending());
        assert!(!read(&mut io, cx));
        io.socket.takes = true;
        assert!(!woken.load(Ordering::Relaxed));
        assert!(Pin::new(&mut io).poll_write(cx, b"x").is_ready());
        assert!(woken.load(Ordering::Relaxed) && read(&mut io, cx));
    }

    /// A waker, and whether it was used.
    fn waker() -> (std::task::Waker, Arc<AtomicBool>) {
        struct Flag(Arc<AtomicBool>);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let woken = Arc::<AtomicBool>::default();
        (Arc::new(Flag(woken.clone())).into(), woken)
    }
}
