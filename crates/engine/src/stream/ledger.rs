//! What is known of a request that waits until its entries are settled: shared by its receipt and by the streams that have them.
//!
//! What is counted are entries by their identity, which is the sequence number that each has in its stream; bytes would
//! not do, because pieces of an entry repeat its headers. A request that goes to several streams, or to one stream in
//! several pieces, has one ledger for all of them. Of requests that don't ask for a receipt nothing is kept.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{StreamAddress, StreamName};
use crate::outcome::Fate;

/// Records that a stream has not delivered, or something to say about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The exporter of the stream.
    pub exporter: Arc<str>,
    /// Which of its streams.
    pub name: StreamName,
    /// The position of their entry in the request.
    pub index: usize,
    /// How many records are lost; none, if the upstream has only warned.
    pub records: u64,
    /// How they have ended; delivered, if the upstream has only warned.
    pub fate: Fate,
    /// What the upstream says, or why there is no hope of asking it. Without secrets.
    pub reason: Arc<str>,
}

/// The entries of one request that are not settled, and what was not delivered of the others.
#[derive(Debug)]
pub(super) struct Ledger {
    account: Mutex<Account>,
    changed: Notify,
}

#[derive(Debug)]
struct Account {
    /// Entries in streams, the pieces that they were split into each by itself.
    unsettled: u64,
    losses: Vec<Loss>,
    given_up: Option<GivenUp>,
}

/// Where a request was given up first, and why.
#[derive(Debug)]
struct GivenUp {
    stream: StreamAddress,
    reason: Arc<str>,
    /// The positions of the entries that had not ended there.
    entries: Vec<usize>,
}

/// What a request that waits has in a run of its stream's queue.
#[derive(Debug)]
pub(super) struct RunClaim {
    /// `None` once the request was withdrawn.
    pub(super) ledger: Option<Arc<Ledger>>,
    /// The numbers of all entries that the request has in the stream.
    pub(super) request: Range<u64>,
    /// The entries of the run, in order.
    pub(super) entries: Vec<ClaimedEntry>,
    /// How many of them, from the first on, have ended.
    pub(super) ended: usize,
}

/// An entry that somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimedEntry {
    /// The position in the request of the entry that it is or is a piece of.
    pub(super) index: usize,
    /// Its bytes under its frame.
    pub(super) framed: u64,
    /// Its spans, log records or data points.
    pub(super) records: u64,
}

impl Ledger {
    /// For a request with so many entries in streams.
    pub(super) fn new(unsettled: u64) -> Self {
        let account = Account { unsettled, losses: Vec::new(), given_up: None };
        Self { account: Mutex::new(account), changed: Notify::new() }
    }

    /// Ready once all entries are settled, with what was not delivered of them, or once the request is given up, with why.
    pub(super) async fn closed(&self) -> Result<Vec<Loss>, Arc<str>> {
        loop {
            // Made before looking, so that the last change is not missed.
            let changed = self.changed.notified();
            {
                let mut account = self.account.lock();
                if let Some(given_up) = &account.given_up {
                    return Err(given_up.reason.clone());
                }
                if account.unsettled == 0 {
                    return Ok(std::mem::take(&mut account.losses));
                }
            }
            changed.await;
        }
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_settled(&self) -> bool {
        self.account.lock().unsettled == 0
    }

    /// The stream that the request was given up in.
    pub(super) fn given_up_in(&self) -> Option<StreamAddress> {
        self.account.lock().given_up.as_ref().map(|given_up| given_up.stream.clone())
    }

    /// What was not delivered of the entries that have ended by now; adds the positions of those that were given up.
    pub(super) fn so_far(&self, given_up: &mut BTreeSet<usize>) -> Vec<Loss> {
        let mut account = self.account.lock();
        given_up.extend(account.given_up.iter().flat_map(|given_up| &given_up.entries));
        std::mem::take(&mut account.losses)
    }

    /// Tells the sender that its request is given up: `entries` are the positions of those that have not ended in the stream.
    pub(super) fn give_up(&self, stream: StreamAddress, reason: &Arc<str>, entries: Vec<usize>) {
        let given_up = || GivenUp { stream, reason: reason.clone(), entries };
        self.account.lock().given_up.get_or_insert_with(given_up);
        self.changed.notify_one();
    }

    /// So many entries more have ended.
    fn settle(&self, entries: u64) {
        let mut account = self.account.lock();
        account.unsettled = account.unsettled.checked_sub(entries).expect("an entry ends once");
        if account.unsettled == 0 {
            self.changed.notify_one();
        }
    }

    /// Adds what was not delivered of an entry, or what was said of it.
    fn lose(&self, loss: Loss) {
        let mut account = self.account.lock();
        let same = |last: &&mut Loss| {
            let same_end = last.fate == loss.fate || last.records == 0 || loss.records == 0;
            same_end && last.index == loss.index && last.exporter == loss.exporter && last.name == loss.name
        };
        match account.losses.last_mut().filter(same) {
            // Another piece of the same entry; what was said first of a loss stays.
            Some(last) => {
                if last.records == 0 {
                    last.reason = loss.reason;
                    last.fate = loss.fate;
                }
                last.records += loss.records;
            }
            None => account.losses.push(loss),
        }
    }
}

impl RunClaim {
    /// Whether somebody waits for entries of it that have not ended.
    pub(super) fn is_waiting(&self) -> bool {
        self.ledger.is_some() && self.ended < self.entries.len()
    }

    /// Those that have not ended.
    pub(super) fn unended(&self) -> &[ClaimedEntry] {
        &self.entries[self.ended..]
    }

    /// So many more have ended.
    pub(super) fn end(&mut self, entries: usize) {
        self.ended += entries;
        debug_assert!(self.ended <= self.entries.len(), "an entry ends once");
        if let Some(ledger) = self.ledger.as_ref().filter(|_| entries > 0) {
            ledger.settle(entries as u64);
        }
    }

    /// Notes that so many records of the entry at this position of the run were not delivered.
    pub(super) fn lose(
        &self,
        at: usize,
        records: u64,
        fate: Fate,
        stream: &StreamAddress,
        reason: &Arc<str>,
    ) {
        let Some(ledger) = &self.ledger else { return };
        let StreamAddress { exporter, name } = stream.clone();
        let index = self.entries[at].index;
        ledger.lose(Loss { exporter, name, index, records, fate, reason: reason.clone() });
    }

    /// Ends all that have not, as dropped, for this reason.
    pub(super) fn drop_rest(&mut self, stream: &StreamAddress, reason: &Arc<str>) {
        for at in self.ended..self.entries.len() {
            self.lose(at, self.entries[at].records, Fate::Dropped, stream, reason);
        }
        self.end(self.entries.len() - self.ended);
    }

    /// Splits the entries from this position on off.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let entries = self.entries.split_off(at);
        let ended = self.ended.saturating_sub(at);
        self.ended = self.ended.min(at);
        Self { ledger: self.ledger.clone(), request: self.request.clone(), entries, ended }
    }
}

/// The part of `lost` records that falls on those from `before` up to `after` of `all`. The parts of all are `lost` together.
pub(super) fn share(lost: u64, (before, after): (u64, u64), all: u64) -> u64 {
    let up_to = |records: u64| (u128::from(lost) * u128::from(records) / u128::from(all.max(1))) as u64;
    up_to(after) - up_to(before)
}
