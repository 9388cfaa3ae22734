//! File descriptors as a budget of the process, like its memory.
//!
//! The system lets a process have so many files and sockets open at a time. They are divided at the start: a reserve for
//! what must always work (the runtime, listening sockets, the journal, configuration files, dead letters, admin and health),
//! and three shares, for connections of senders, connections to upstreams, and files of `file` exporters. Whoever opens one
//! of these takes it from its share first, so that none takes those of another, and there is one left for a probe whatever
//! happens.
//!
//! Half of a share is divided equally among those who use it, such as the exporters: nobody else gets these. The other half
//! goes to whoever comes first. Where there is none, those make room that do nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The fewest that Sluice starts with.
const FEWEST: usize = 128;

/// What is open all the time: standard streams, the runtime's own, listening sockets, and of the journal its lock, its
/// positions, the segment that is written and the one that is tidied up.
const STANDING: usize = 32;

/// What is open for a moment, and the connections of admin and health, at least and at most; in between a quarter of all
/// but [`STANDING`].
const PASSING: std::ops::RangeInclusive<usize> = 32..=2048;

/// Exporters get a quarter of what is left, and so do files; an eighth where that is more than these. Senders get the rest, of
/// whom there are most where the limit is high.
const ENOUGH_FOR_EXPORTERS: usize = 4096;
const ENOUGH_FOR_FILES: usize = 2048;

/// What a blocking thread has open at a time: two files, when it copies or reads the journal.
const OF_A_THREAD: usize = 2;

/// Threads for what blocks, where nothing limits them. The runtime's own default.
const MOST_THREADS: usize = 512;

/// Connections that the admin and the health listener each have, where nothing limits them.
const MOST_OF_PEOPLE: usize = 256;

/// How long those who were asked to make room are given, before they are asked again.
const PAUSE: Duration = Duration::from_millis(50);

static OF_THE_PROCESS: OnceLock<Descriptors> = OnceLock::new();

/// What descriptors are shared out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Connections that receivers accept.
    Receivers,
    /// Connections that exporters open.
    Exporters,
    /// Files that `file` exporters keep open.
    Files,
}

/// How the descriptors of a process are divided.
#[derive(Debug)]
pub struct Descriptors {
    /// What is divided; `None` without a limit.
    limit: Option<usize>,
    of_people: usize,
    blocking_threads: usize,
    /// By [`Use`].
    shares: [Arc<Share>; 3],
}

/// Why no descriptors can be divided.
#[derive(Debug, Error)]
#[error(
    "the limit of open files is `{0}`, and at least {FEWEST} are needed: raise it with `ulimit -n`, or with `LimitNOFILE=` in a \
     service of systemd"
)]
pub struct TooFew(usize);

/// What a configuration would like to have open at a time, for each use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    /// The `max_connections` of all receivers.
    pub receivers: usize,
    /// The `max_in_flight` of all exporters that connect.
    pub exporters: usize,
    /// The files of all `file` exporters.
    pub files: usize,
}

/// The descriptors of the process. Without a limit, until [`divide`] was called.
pub fn descriptors() -> &'static Descriptors {
    OF_THE_PROCESS.get_or_init(Descriptors::unlimited)
}

/// Divides the descriptors of the process, of which it may have `limit`; once, before any is taken.
pub fn divide(limit: usize) -> Result<&'static Descriptors, TooFew> {
    let divided = Descriptors::of(limit)?;
    let is_first = OF_THE_PROCESS.set(divided).is_ok();
    assert!(is_first, "descriptors are divided once, before any is taken");
    Ok(descriptors())
}

impl Use {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Receivers, Self::Exporters, Self::Files];

    /// The metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Receivers => "receivers",
            Self::Exporters => "exporters",
            Self::Files => "files",
        }
    }
}

impl Descriptors {
    fn unlimited() -> Self {
        Self {
            limit: None,
            of_people: MOST_OF_PEOPLE,
            blocking_threads: MOST_THREADS,
            shares: [(); 3].map(|()| Arc::new(Share::new(usize::MAX))),
        }
    }

    fn of(limit: usize) -> Result<Self, TooFew> {
        if limit < FEWEST {
            return Err(TooFew(limit));
        }
        let passing = ((limit - STANDING) / 4).clamp(*PASSING.start(), *PASSING.end());
        let (of_people, blocking_threads) = (passing / 8, passing / 2 / OF_A_THREAD);
        // The last quarter is for sockets that were accepted and wait for a place, and for listeners that a reload replaces.
        assert!(2 * of_people + OF_A_THREAD * blocking_threads <= passing * 3 / 4, "{passing}");
        let rest = limit - STANDING - passing;
        let part = |enough: usize| (rest / 4).min(enough.max(rest / 8));
        let (exporters, files) = (part(ENOUGH_FOR_EXPORTERS), part(ENOUGH_FOR_FILES));
        let shares = [rest - exporters - files, exporters, files];
        assert_eq!(STANDING + passing + shares.iter().sum::<usize>(), limit, "all are divided");
        Ok(Self {
            limit: Some(limit),
            of_people: of_people.min(MOST_OF_PEOPLE),
            blocking_threads: blocking_threads.min(MOST_THREADS),
            shares: shares.map(|most| Arc::new(Share::new(most))),
        })
    }

    /// The share for a use.
    pub fn share(&self, of: Use) -> &Arc<Share> {
        &self.shares[of as usize]
    }

    /// Connections that the admin and the health listener each may have.
    pub fn of_people(&self) -> usize {
        self.of_people
    }

    /// Threads that may do what blocks at a time, which mostly has files open.
    pub fn blocking_threads(&self) -> usize {
        self.blocking_threads
    }

    /// What a configuration wants and does not get, for people; `None` if there is enough.
    pub fn lowered(&self, wanted: Demand) -> Option<String> {
        let limit = self.limit?;
        let whats = [
            (Use::Receivers, wanted.receivers, "connections of senders (`max_connections`)"),
            (Use::Exporters, wanted.exporters, "connections to upstreams (`max_in_flight`)"),
            (Use::Files, wanted.files, "open files of `file` exporters"),
        ];
        let lowered: Vec<String> = whats
            .into_iter()
            .map(|(of, wanted, what)| (wanted, self.share(of).most, what))
            .filter(|(wanted, most, _)| wanted > most)
            .map(|(wanted, most, what)| format!("{what} from {wanted} to {most}"))
            .collect();
        (!lowered.is_empty()).then(|| {
            format!(
                "the limit of {limit} open files lowers {}: raise it with `ulimit -n`, or with `LimitNOFILE=` in a service of \
                 systemd",
                lowered.join(", ")
            )
        })
    }
}

/// Somebody who has descriptors that can be done without.
pub(crate) trait MakesRoom: Send + Sync {
    /// Begins to close what has done nothing for longest. Whether there was something.
    fn make_room(&self) -> bool;
}

/// Who has nothing that can be done without.
impl MakesRoom for () {
    fn make_room(&self) -> bool {
        false
    }
}

/// The descriptors for one use. Never are more taken than there are.
#[derive(Debug)]
pub struct Share {
    most: usize,
    taken: Mutex<ShareState>,
    /// Somebody has given some back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct ShareState {
    in_use: usize,
    next_user: u64,
    users: BTreeMap<u64, Usage>,
}

/// What one user has.
struct Usage {
    in_use: usize,
    /// Not there any more: what it has is still to be given back, and nothing is kept for it.
    gone: bool,
    room: Weak<dyn MakesRoom>,
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage")
            .field("in_use", &self.in_use)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

/// One that takes descriptors of a share, such as an exporter.
#[derive(Debug)]
pub(crate) struct User {
    share: Arc<Share>,
    id: u64,
}

/// Descriptors that were taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct TakenDescriptors {
    share: Arc<Share>,
    user: u64,
    count: usize,
}

impl Share {
    fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default(), freed: Notify::new() }
    }

    /// How many there are.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many are taken.
    pub fn in_use(&self) -> usize {
        self.taken.lock().in_use
    }

    /// One more user, whose `room` is asked when there is none left.
    pub(crate) fn user(self: &Arc<Self>, room: Weak<dyn MakesRoom>) -> User {
        let mut state = self.taken.lock();
        let id = state.next_user;
        state.next_user += 1;
        state.users.insert(id, Usage { in_use: 0, gone: false, room });
        User { share: Arc::clone(self), id }
    }

    fn give_back(&self, user: u64, count: usize) {
        let mut state = self.taken.lock();
        state.in_use -= count;
        let usage = state.users.get_mut(&user).expect("a user is known as long as it has something");
        usage.in_use -= count;
        let forgotten = if usage.gone && usage.in_use == 0 { state.users.remove(&user) } else { None };
        drop(state);
        drop(forgotten);
        self.freed.notify_one();
    }
}

impl ShareState {
    /// How many are kept for each user.
    fn kept(&self, most: usize) -> usize {
        let users = self.users.values().filter(|usage| !usage.gone).count();
        most / 2 / users.max(1)
    }

    /// Whether a user may take so many more: of those kept for it, or of those that are for all.
    fn allows(&self, user: u64, count: usize, most: usize) -> bool {
        if most - self.in_use < count {
            return false;
        }
        let kept = self.kept(most);
        let beyond = |usage: &Usage, more: usize| {
            (usage.in_use + more).saturating_sub(if usage.gone { 0 } else { kept })
        };
        let users = self.users.values().filter(|usage| !usage.gone).count();
        let all: usize =
            self.users.iter().map(|(id, usage)| beyond(usage, if *id == user { count } else { 0 })).sum();
        beyond(&self.users[&user], count) == 0 || all <= most - users * kept
    }
}

impl User {
    /// Takes so many, if there are.
    pub(crate) fn try_take(&self, count: usize) -> Option<TakenDescriptors> {
        let mut state = self.share.taken.lock();
        if !state.allows(self.id, count, self.share.most) {
            return None;
        }
        state.in_use += count;
        state.users.get_mut(&self.id).expect("it is known until it is dropped").in_use += count;
        debug_assert!(state.in_use <= self.share.most, "no more are taken than there are");
        Some(TakenDescriptors { share: Arc::clone(&self.share), user: self.id, count })
    }

    /// Takes so many, as soon as there are; others make room.
    pub(crate) async fn take(&self, count: usize) -> TakenDescriptors {
        loop {
            let mut freed = std::pin::pin!(self.share.freed.notified());
            freed.as_mut().enable();
            if let Some(taken) = self.try_take(count) {
                return taken;
            }
            self.make_room();
            // Others may have become idle when that time is over.
            let _ = timeout(PAUSE, freed).await;
        }
    }

    /// Asks this user, and if it has nothing to close, another that has more than is kept for it.
    fn make_room(&self) {
        let state = self.share.taken.lock();
        let kept = state.kept(self.share.most);
        let own = state.users[&self.id].room.clone();
        let others: Vec<Weak<dyn MakesRoom>> = state
            .users
            .iter()
            .filter(|(id, usage)| **id != self.id && (usage.gone || usage.in_use > kept))
            .map(|(_, usage)| usage.room.clone())
            .collect();
        // What they close is given back to the share.
        drop(state);
        let _ =
            std::iter::once(own).chain(others).filter_map(|room| room.upgrade()).any(|room| room.make_room());
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut state = self.share.taken.lock();
        let usage = state.users.get_mut(&self.id).expect("it is known until it is dropped");
        usage.gone = true;
        let forgotten = if usage.in_use == 0 { state.users.remove(&self.id) } else { None };
        drop(state);
        drop(forgotten);
        self.share.freed.notify_one();
    }
}

impl TakenDescriptors {
    /// Gives all but one back.
    pub(crate) fn keep_one(&mut self) {
        debug_assert!(self.count >= 1, "something was taken");
        let rest = std::mem::replace(&mut self.count, 1) - 1;
        self.share.give_back(self.user, rest);
    }
}

impl Drop for TakenDescriptors {
    fn drop(&mut self) {
        self.share.give_back(self.user, self.count);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn nothing() -> Weak<dyn MakesRoom> {
        Weak::<()>::new()
    }

    #[test]
    fn all_descriptors_are_divided_whatever_the_limit_is() {
        for limit in (FEWEST..5000).chain([1 << 16, 1 << 20, 1 << 30]) {
            let divided = Descriptors::of(limit).unwrap();
            assert!(divided.shares.iter().all(|share| share.most() >= 16), "{limit}");
            assert!(divided.of_people() >= 4 && divided.blocking_threads() >= 8, "{limit}");
        }
        let most = |limit| Descriptors::of(limit).unwrap().shares.map(|share| share.most());
        assert_eq!(most(1024), [372, 186, 186]);
        assert_eq!(most(20_000), [11_584, 4096, 2240]);
        let large = Descriptors::of(1 << 20).unwrap();
        assert_eq!((large.of_people(), large.blocking_threads()), (MOST_OF_PEOPLE, MOST_THREADS));
    }

    #[test]
    fn a_limit_that_is_too_low_is_refused_with_what_is_needed() {
        let error = Descriptors::of(64).unwrap_err().to_string();
        assert!(error.contains("`64`") && error.contains("128") && error.contains("ulimit -n"), "{error}");
    }

    #[test]
    fn what_is_lowered_is_said_for_each_use() {
        let divided = Descriptors::of(1024).unwrap();
        let most = |of| divided.share(of).most();
        let fits = Demand {
            receivers: most(Use::Receivers),
            exporters: most(Use::Exporters),
            files: most(Use::Files),
        };
        assert_eq!(divided.lowered(fits), None);
        let said = divided.lowered(Demand { receivers: 10_000, ..fits }).unwrap();
        assert!(said.contains(&format!("from 10000 to {}", most(Use::Receivers))), "{said}");
        assert!(said.contains("max_connections") && !said.contains("max_in_flight"), "{said}");
        assert!(said.contains("LimitNOFILE="), "{said}");
        assert_eq!(Descriptors::unlimited().lowered(Demand { files: usize::MAX, ..fits }), None);
    }

    #[test]
    fn nobody_takes_what_is_kept_for_others() {
        let share = Arc::new(Share::new(20));
        let users: Vec<User> = (0..5).map(|_| share.user(nothing())).collect();
        let greedy: Vec<TakenDescriptors> = std::iter::from_fn(|| users[0].try_take(1)).collect();
        assert_eq!(greedy.len(), 2 + 10, "its own two, and the half that is for all");
        for user in &users[1..] {
            let own: Vec<TakenDescriptors> = std::iter::from_fn(|| user.try_take(1)).collect();
            assert_eq!(own.len(), 2);
            std::mem::forget(own);
        }
        assert_eq!(share.in_use(), 20);
    }

    #[test]
    fn one_that_is_alone_takes_all() {
        let share = Arc::new(Share::new(21));
        let user = share.user(nothing());
        let all: Vec<TakenDescriptors> = std::iter::from_fn(|| user.try_take(1)).collect();
        assert_eq!(all.len(), 21);
        drop(all);
        assert_eq!(share.in_use(), 0);
    }

    #[test]
    fn what_one_has_that_is_gone_is_counted_until_it_is_given_back() {
        let share = Arc::new(Share::new(10));
        let gone = share.user(nothing());
        let taken = gone.try_take(8).unwrap();
        drop(gone);
        let user = share.user(nothing());
        assert!(user.try_take(3).is_none());
        drop(taken);
        assert!(user.try_take(10).is_some());
        assert_eq!((share.in_use(), share.taken.lock().users.len()), (0, 1));
    }

    #[test]
    fn of_several_that_were_taken_all_but_one_can_be_given_back() {
        let share = Arc::new(Share::new(2));
        let user = share.user(nothing());
        let mut taken = user.try_take(2).unwrap();
        assert!(user.try_take(1).is_none());
        taken.keep_one();
        assert!(user.try_take(1).is_some());
        assert_eq!(share.in_use(), 1);
    }

    /// Gives back what it has when it is asked, once.
    #[derive(Default)]
    struct Idle {
        held: Mutex<Vec<TakenDescriptors>>,
        asked: AtomicBool,
    }

    impl MakesRoom for Idle {
        fn make_room(&self) -> bool {
            self.asked.store(true, Ordering::Relaxed);
            let closed = self.held.lock().pop();
            closed.is_some()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_more_than_is_kept_for_it_makes_room_and_who_has_not_is_not_asked() {
        let share = Arc::new(Share::new(12));
        let (rich, modest) = (Arc::<Idle>::default(), Arc::<Idle>::default());
        let weak = |idle: &Arc<Idle>| -> Weak<dyn MakesRoom> {
            Arc::downgrade(&(idle.clone() as Arc<dyn MakesRoom>))
        };
        let (modest_user, rich_user) = (share.user(weak(&modest)), share.user(weak(&rich)));
        let new = share.user(nothing());
        modest.held.lock().push(modest_user.try_take(1).unwrap());
        rich.held.lock().extend(std::iter::from_fn(|| rich_user.try_take(1)));
        let own = new.try_take(2).unwrap();
        assert!(new.try_take(1).is_none(), "the half for all is taken");
        let more = new.take(1).await;
        assert_eq!((more.count, own.count), (1, 2));
        assert!(rich.asked.load(Ordering::Relaxed) && !modest.asked.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_when_something_is_given_back() {
        let share = Arc::new(Share::new(1));
        let user = Arc::new(share.user(nothing()));
        let taken = user.take(1).await;
        let waiting = tokio::spawn({
            let user = user.clone();
            async move { user.take(1).await }
        });
        tokio::time::sleep(PAUSE * 10).await;
        assert!(!waiting.is_finished());
        drop(taken);
        assert_eq!(waiting.await.unwrap().count, 1);
    }
}
