//! Failed authentications: counted by receiver and cause, logged by cause and network, and answered late to networks that fail
//! again and again.
//!
//! Late answers cost little: the number of those that wait and of networks that are remembered is limited. A sender with a right
//! credential is not answered late, even at an address from which others guess.
//!
//! Late answers alone would not slow down somebody who sends many guesses at once, and gives each up that is not answered at once.
//! So of a network that has failed often, [`LOOKS`] requests in [`LATE`] are looked at, and the others are asked to come again, whatever
//! they show. If the right ones among them were taken, the refusal of all others would tell that they are wrong, at the pace of
//! the guesses. Where a right credential has come from the network within [`WITHIN`], all requests are looked at: others are
//! behind the same address, such as a proxy's, and neither a stranger nor a sender with an old token may keep them out. There, a
//! guess costs what a request costs, and what keeps a guesser from going through them all is the length of the credentials.
//! The refusal is one that every sender repeats, since some of those who get it may be right.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::AuthRefusal;
use crate::notice;
use crate::receive::caller::Caller;

/// A network that has failed so often [`WITHIN`] this time is answered [`LATE`] from then on.
const MANY: usize = 20;

/// See [`MANY`].
const WITHIN: Duration = Duration::from_secs(60);

/// The delay of late answers, and the time in which [`LOOKS`] are counted.
const LATE: Duration = Duration::from_secs(1);

/// The most requests in [`LATE`] whose credentials are checked, of a network that has failed often and shown no right credential.
const LOOKS: u32 = 64;

/// The most answers that wait at a time. A failure beyond them is answered at once.
const WAITING: usize = 1024;

/// Networks whose failures are remembered, in two halves: when the younger one is full, the older one is forgotten.
const REMEMBERED: usize = 4096;

/// Why the sender of a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// The request has no credential.
    Missing,
    /// The credential can't be parsed.
    Malformed,
    /// No sender has this credential.
    Unknown,
    /// The credential has expired.
    Expired,
    /// The credential can't be looked up now.
    Unavailable,
    /// The sender's tenant is paused.
    Paused,
    /// The credential is not checked, since its network has failed too often.
    TooManyFailures,
}

impl AuthFailure {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::Unavailable,
        Self::Paused,
        Self::TooManyFailures,
    ];

    /// The `cause` label of `sluice_receiver_auth_failures_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
            Self::Paused => "paused",
            Self::TooManyFailures => "too_many_failures",
        }
    }

    /// The message for a sender that is asked to retry; `None` if it is told that it is not authorized.
    pub(in crate::receive) const fn passes(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Malformed | Self::Unknown | Self::Expired => None,
            Self::Unavailable => Some("who sends can't be told now"),
            Self::Paused => Some("the tenant is paused"),
            Self::TooManyFailures => Some("too many requests from this address had no right credential"),
        }
    }

    /// The failure in words, for the log.
    pub(super) const fn problem(self) -> &'static str {
        match self {
            Self::Missing => "its sender shows no credential",
            Self::Malformed => "the header with the credential can't be read",
            Self::Unknown => "the credential is nobody's",
            Self::Expired => "the credential has expired",
            Self::Unavailable => "whose credential it is can't be told now",
            Self::Paused => "the tenant is paused",
            Self::TooManyFailures => {
                "so many from its network had no right credential that it is not looked at"
            }
        }
    }

    /// Advice for the operator, for the log.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Missing => {
                "write the credential into the headers of the sender's exporter, or let it send to a receiver without `auth`"
            }
            Self::Malformed => "send one header such as `Authorization: Bearer TOKEN`",
            Self::Unknown => {
                "compare what the sender shows with what the receiver's authenticator knows; a new credential has to be there \
                 before it is used"
            }
            Self::Expired => "give the sender a new one",
            Self::Unavailable => {
                "a row of the table of tenants is broken (`sluice check --tenants FILE` names it), or many passwords wait to be \
                 looked at"
            }
            Self::Paused => "its senders are asked to come again until it is resumed",
            Self::TooManyFailures => {
                "find out who sends so much from there; right ones are taken again as soon as that ends"
            }
        }
    }
}

/// The failures of all receivers.
#[derive(Debug)]
pub struct AuthFailures {
    /// By the receiver's name. Those come from the configuration, so that there are few.
    counts: Mutex<BTreeMap<Arc<str>, [u64; AuthFailure::ALL.len()]>>,
    networks: Mutex<RecentFailures>,
    waiting: Semaphore,
}

impl Default for AuthFailures {
    fn default() -> Self {
        Self { counts: Mutex::default(), networks: Mutex::default(), waiting: Semaphore::new(WAITING) }
    }
}

impl AuthFailures {
    /// Whether the credential of a request from this network is checked, which counts towards [`LOOKS`].
    pub(super) fn looks_at(&self, network: IpAddr) -> bool {
        self.networks.lock().looks_at(network, Instant::now())
    }

    /// Notes that a network has shown a right credential.
    pub(super) fn note_right(&self, network: IpAddr) {
        self.networks.lock().note_right(network, Instant::now());
    }

    /// Counts a failure, tells of it unless that was done lately, and waits if its address has failed often.
    pub(super) async fn add(&self, caller: &Caller, refusal: AuthRefusal) {
        let failure = refusal.failure;
        self.counts.lock().entry(caller.receiver().clone()).or_default()[failure as usize] += 1;
        let network = caller.address().map(|address| network_of(address.ip()));
        Self::tell(caller, network, &refusal);
        // The sender of a paused tenant has shown a right credential; one that was not checked is no guess either.
        let is_guess = !matches!(failure, AuthFailure::Paused | AuthFailure::TooManyFailures);
        let late =
            network.is_some_and(|network| is_guess && self.networks.lock().add(network, Instant::now()));
        if late && let Ok(_place) = self.waiting.try_acquire() {
            sleep(LATE).await;
        }
    }

    /// Tells of a refusal, unless that was done lately: for each tenant that is paused, and for each network of all others.
    fn tell(caller: &Caller, network: Option<IpAddr>, refusal: &AuthRefusal) {
        let (cause, tenant) = (refusal.failure.name(), refusal.tenant.as_deref());
        let due = match tenant {
            Some(tenant) => notice::due_for_failed_authentication(tenant, cause),
            None => notice::due_for_failed_authentication(&network, cause),
        };
        let Some(suppressed) = due else { return };
        let (receiver, peer, user_agent) = (&**caller.receiver(), caller.peer(), caller.user_agent());
        if refusal.failure == AuthFailure::Paused {
            // An operator has paused the tenant.
            info!(receiver, peer, user_agent, cause, tenant, suppressed, "request not taken: {refusal}");
        } else {
            warn!(receiver, peer, user_agent, cause, tenant, suppressed, "request not taken: {refusal}");
        }
    }

    /// Every count that is not zero, by receiver and cause.
    pub fn all(&self) -> Vec<(Arc<str>, AuthFailure, u64)> {
        let counts = self.counts.lock();
        let of = |(receiver, counts): (&Arc<str>, &[u64; _])| {
            AuthFailure::ALL.map(|failure| (receiver.clone(), failure, counts[failure as usize]))
        };
        counts.iter().flat_map(of).filter(|(.., count)| *count > 0).collect()
    }
}

/// The networks that have failed lately, and those that have shown a right credential.
#[derive(Debug, Default)]
struct RecentFailures {
    failed: RecentNetworks<NetworkFailures>,
    /// When a network last showed a right credential, to the tenth part of [`WITHIN`].
    right: RecentNetworks<Option<Instant>>,
}

/// A value for each of the networks that sent last, [`REMEMBERED`] at most.
#[derive(Debug, Default)]
struct RecentNetworks<T> {
    younger: HashMap<IpAddr, T>,
    older: HashMap<IpAddr, T>,
}

impl<T: Default> RecentNetworks<T> {
    fn get(&mut self, network: IpAddr) -> Option<&mut T> {
        self.younger.get_mut(&network).or_else(|| self.older.get_mut(&network))
    }

    /// The value for a network that has just sent.
    fn enter(&mut self, network: IpAddr) -> &mut T {
        if self.younger.len() >= REMEMBERED / 2 && !self.younger.contains_key(&network) {
            self.older = std::mem::take(&mut self.younger);
        }
        let older = &mut self.older;
        self.younger.entry(network).or_insert_with(|| older.remove(&network).unwrap_or_default())
    }
}

/// The recent failures of a network.
#[derive(Debug, Default)]
struct NetworkFailures {
    /// The times of its last failures, [`MANY`] at most.
    times: VecDeque<Instant>,
    /// The requests whose credentials were checked in the period of [`LATE`] that began at this time, while the network had failed
    /// often and shown no right credential.
    looks: (Option<Instant>, u32),
}

impl NetworkFailures {
    /// Whether the network has failed [`MANY`] times within [`WITHIN`].
    fn are_many(&mut self, now: Instant) -> bool {
        while self.times.front().is_some_and(|time| now.duration_since(*time) >= WITHIN) {
            self.times.pop_front();
        }
        self.times.len() >= MANY
    }

    /// Whether the credential of one more request is checked, if the network has shown no right one lately.
    fn may_look(&mut self, now: Instant) -> bool {
        if !self.are_many(now) {
            return true;
        }
        let (began, looks) = &mut self.looks;
        if began.is_none_or(|began| now.duration_since(began) >= LATE) {
            (*began, *looks) = (Some(now), 0);
        }
        *looks += 1;
        *looks <= LOOKS
    }
}

impl RecentFailures {
    fn note_right(&mut self, network: IpAddr, now: Instant) {
        let is_told = |last: Instant| now.duration_since(last) < WITHIN / 10;
        if !self.right.get(network).is_some_and(|last| last.is_some_and(is_told)) {
            *self.right.enter(network) = Some(now);
        }
    }

    fn looks_at(&mut self, network: IpAddr, now: Instant) -> bool {
        let Some(failures) = self.failed.get(network) else { return true };
        let is_recent = |last: Instant| now.duration_since(last) < WITHIN;
        self.right.get(network).is_some_and(|last| last.is_some_and(is_recent)) || failures.may_look(now)
    }

    /// Adds a failure; whether there were [`MANY`] before it.
    fn add(&mut self, network: IpAddr, now: Instant) -> bool {
        let known = self.failed.enter(network);
        let many = known.are_many(now);
        if many {
            known.times.pop_front();
        }
        known.times.push_back(now);
        many
    }
}

/// The network within which a sender can have any address: the /64 of an IPv6 address.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + last).into()
    }

    #[test]
    fn the_21st_failure_of_a_minute_is_late_and_others_are_not() {
        let mut networks = RecentFailures::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..20 {
            assert!(!networks.add(v4(1), at(second)));
        }
        assert!(networks.add(v4(1), at(20)));
        assert!(!networks.add(v4(2), at(20)), "another address");
        assert!(networks.add(v4(1), at(59)));
        assert!(!networks.add(v4(1), at(200)), "a minute without a failure");
        // One in each three seconds is 20 in a minute, and never more.
        assert!((1..1000).all(|turn| !networks.add(v4(3), at(200 + 3 * turn))));
    }

    #[test]
    fn a_network_that_has_failed_often_is_looked_at_so_often_a_second_and_always_once_it_shows_something_right()
     {
        let mut networks = RecentFailures::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let looked_at =
            |networks: &mut RecentFailures, now| (0..1000).filter(|_| networks.looks_at(v4(1), now)).count();
        for _ in 0..MANY {
            assert!(networks.looks_at(v4(1), start), "it has not failed often");
            networks.add(v4(1), start);
        }
        for second in 0..3 {
            assert_eq!(looked_at(&mut networks, at(second)), LOOKS as usize);
            assert_eq!(looked_at(&mut networks, at(second)), 0);
        }
        assert!(networks.looks_at(v4(2), start), "another network");
        networks.note_right(v4(1), at(3));
        assert_eq!(looked_at(&mut networks, at(3)), 1000);
        for _ in 0..MANY {
            networks.add(v4(1), at(62));
        }
        assert_eq!(looked_at(&mut networks, at(62)), 1000);
        assert_eq!(looked_at(&mut networks, at(63)), LOOKS as usize, "nothing was right for a minute");
        assert_eq!(looked_at(&mut networks, at(122)), 1000, "nor wrong");
        // What is right counts also if it came before anything was wrong.
        networks.note_right(v4(3), at(200));
        for _ in 0..2 * MANY {
            networks.add(v4(3), at(201));
        }
        assert!((0..1000).all(|_| networks.looks_at(v4(3), at(202))));
    }

    #[test]
    fn all_addresses_of_a_network_of_ipv6_are_one() {
        let mut networks = RecentFailures::default();
        let now = Instant::now();
        let v6 =
            |subnet: u16, host: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, host));
        assert_eq!((0..40).filter(|host| networks.add(network_of(v6(1, *host)), now)).count(), 20);
        assert!(!networks.add(network_of(v6(2, 0)), now));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for_and_the_busiest_stay() {
        let mut networks = RecentFailures::default();
        let now = Instant::now();
        for turn in 0..100_000 {
            networks.add(v4(turn), now);
            if turn % 1000 == 0 {
                networks.add(v4(u32::MAX >> 9), now);
            }
            assert!(networks.failed.younger.len() + networks.failed.older.len() <= REMEMBERED);
        }
        assert!(networks.add(v4(u32::MAX >> 9), now));
        assert!(networks.failed.younger.values().all(|known| known.times.len() <= MANY));
    }
}
