//! Receipts: how a request learns that every one of its entries has been settled, and takes back those that have not.
//!
//! What is counted are entries by their identity, which is the sequence number that each has in its stream; bytes would
//! not do, because pieces of an entry repeat its headers. A request that goes to several streams, or to one stream in
//! several pieces, has one receipt for all of them. Streams keep the other half of it, a [`Stub`], beside their queue and
//! not in it, so that it doesn't matter where the bytes are. Of requests that don't ask for a receipt nothing is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::behind::Amount;
use super::queue::Stream;
use super::{Batch, NumberSet, Reservation, StreamAddress, StreamName};
use crate::outcome::Fate;

/// Of how many exporters a sender is told what it waits for.
const MOST_CAUSES: usize = 4;

/// What an exporter has to do with it that a stream of its is not delivered yet, in words; `None` if it is something else.
type Cause = fn(&Stream, &str) -> Option<String>;

/// A request that wants to know what becomes of its entries. Dropped before they are settled, it withdraws what is left of
/// them.
#[derive(Debug)]
pub struct Receipt {
    ledger: Arc<Ledger>,
    /// Where its entries are, with the first sequence number that it has there.
    places: Vec<(Arc<Stream>, u64)>,
    /// For the request while it waits.
    _held: Reservation,
}

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

/// What is known of a request, shared by its receipt and the streams.
#[derive(Debug)]
pub(super) struct Ledger {
    account: Mutex<Account>,
    settled: Notify,
}

#[derive(Debug, Default)]
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

/// What a stream keeps of a request.
#[derive(Debug)]
pub(super) struct Stub {
    ledger: Arc<Ledger>,
    /// For each number: which entry of the request it is or is a piece of, and its records.
    entries: Box<[(usize, u64)]>,
    /// Framed bytes of all of them.
    bytes: u64,
    first: u64,
    admitted: Instant,
    pub(super) unsettled: NumberSet,
}

/// The stubs of a stream's requests, by the first number of each.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    by_first: BTreeMap<u64, Stub>,
}

impl Receipt {
    pub(super) fn new(ledger: Arc<Ledger>, places: Vec<(Arc<Stream>, u64)>, held: Reservation) -> Self {
        Self { ledger, places, _held: held }
    }

    /// Ready once all entries are settled. Returns what was not delivered of them, and what upstreams had to say: once. Or once
    /// any of them is given up for want of retries or time, and why: then the sender still has all of the request, and is to
    /// be told to send it again.
    pub async fn settled(&self) -> Result<Vec<Loss>, Arc<str>> {
        loop {
            // Made before asking, so that the last one is not missed.
            let settled = self.ledger.settled.notified();
            if let Some(ended) = self.ledger.closed() {
                return ended;
            }
            settled.await;
        }
    }

    /// Why what is left is not delivered yet: of each exporter that it waits for, what is wrong with its destination, or that
    /// it has not answered. Empty if it waits for none. For senders, without secrets.
    pub fn causes_of_delay(&self) -> String {
        // What is known best comes first, and an exporter is told of once.
        let causes: [Cause; 4] = [
            |stream, exporter| stream.destination_error().map(|message| format!("`{exporter}`: {message}")),
            |stream, exporter| stream.is_sending().then(|| format!("`{exporter}` has not answered yet")),
            |stream, exporter| stream.is_held().then(|| format!("for `{exporter}` it is held")),
            |_, exporter| Some(format!("`{exporter}` has not taken it yet")),
        ];
        let mut told: Vec<(&str, String)> = Vec::new();
        for cause in causes {
            for stream in self.waited_for() {
                let exporter = &**stream.registry().exporter();
                if told.len() < MOST_CAUSES
                    && told.iter().all(|(known, _)| *known != exporter)
                    && let Some(text) = cause(stream, exporter)
                {
                    told.push((exporter, text));
                }
            }
        }
        let told: Vec<String> = told.into_iter().map(|(_, text)| text).collect();
        told.join("; ")
    }

    /// The stream that it was given up in; else the first that it still waits for, if there is one.
    pub fn undelivered(&self) -> Option<StreamAddress> {
        if let Some(given_up) = &self.ledger.account.lock().given_up {
            return Some(given_up.stream.clone());
        }
        let stream = self.waited_for().next()?;
        Some(stream.address())
    }

    /// The streams that have not settled all that they have of it.
    fn waited_for(&self) -> impl Iterator<Item = &Stream> {
        let waiting = self.places.iter().filter(|(stream, first)| stream.is_waited_for_by(*first));
        waiting.map(|(stream, _)| &**stream)
    }

    /// What was not delivered of the entries that have ended by now, and the positions in the request of those that have not, or were
    /// given up. For whoever will not wait any longer.
    pub fn so_far(&self) -> (Vec<Loss>, BTreeSet<usize>) {
        let waiting = self.places.iter().flat_map(|(stream, first)| stream.unsettled_entries(*first));
        let mut unsettled: BTreeSet<usize> = waiting.collect();
        let mut account = self.ledger.account.lock();
        unsettled.extend(account.given_up.iter().flat_map(|given_up| &given_up.entries));
        (std::mem::take(&mut account.losses), unsettled)
    }

    /// Whether nothing is left to wait for.
    pub fn is_settled(&self) -> bool {
        self.ledger.account.lock().unsettled == 0
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.is_settled() {
            return;
        }
        for (stream, first) in &self.places {
            stream.withdraw(*first);
        }
    }
}

impl Ledger {
    /// For a request with so many entries in streams.
    pub(super) fn new(unsettled: u64) -> Self {
        Self { account: Mutex::new(Account { unsettled, ..Account::default() }), settled: Notify::new() }
    }

    /// The losses, if nothing can be added to them; or why the request was given up.
    fn closed(&self) -> Option<Result<Vec<Loss>, Arc<str>>> {
        let mut account = self.account.lock();
        match &account.given_up {
            Some(given_up) => Some(Err(given_up.reason.clone())),
            None => (account.unsettled == 0).then(|| Ok(std::mem::take(&mut account.losses))),
        }
    }

    fn give_up(&self, stream: &Stream, stub: &Stub, reason: &Arc<str>) {
        self.account.lock().given_up.get_or_insert_with(|| GivenUp {
            stream: stream.address(),
            reason: reason.clone(),
            entries: stub.unsettled_entries().collect(),
        });
        self.settled.notify_one();
    }

    fn settle(&self, entries: u64) {
        let mut account = self.account.lock();
        account.unsettled -= entries;
        if account.unsettled == 0 {
            self.settled.notify_one();
        }
    }
}

impl Stub {
    /// Of a request with these entries in the stream, each as its position in the request and its records; with their
    /// framed `bytes`.
    pub(super) fn new(ledger: Arc<Ledger>, entries: Box<[(usize, u64)]>, bytes: u64) -> Self {
        Self { ledger, entries, bytes, first: 0, admitted: Instant::now(), unsettled: NumberSet::default() }
    }

    /// What its entries are, if all of them have these numbers and none is settled.
    pub(super) fn all_in(&self, numbers: &Range<u64>) -> Option<Amount> {
        let whole = self.unsettled.len() == self.entries.len() as u64;
        (whole && numbers.start <= self.first && self.last() < numbers.end).then(|| {
            let records = self.entries.iter().map(|(_, records)| records).sum();
            Amount { bytes: self.bytes, records }
        })
    }

    /// The positions in the request of the entries that have not ended.
    fn unsettled_entries(&self) -> impl Iterator<Item = usize> {
        self.unsettled.iter().map(|number| self.entries[(number - self.first) as usize].0)
    }

    /// The last number that the request has in the stream.
    pub(super) fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    fn lose(&self, number: u64, (records, fate): (u64, Fate), stream: &Stream, reason: &Arc<str>) {
        let (index, _) = self.entries[(number - self.first) as usize];
        let mut account = self.ledger.account.lock();
        let exporter = stream.registry().exporter();
        let same = |last: &&mut Loss| {
            let same_end = last.fate == fate || last.records == 0 || records == 0;
            same_end && last.index == index && last.exporter == *exporter && last.name == *stream.name()
        };
        match account.losses.last_mut().filter(same) {
            // Another piece of the same entry; what was said first of a loss stays.
            Some(last) => {
                if last.records == 0 {
                    last.reason = reason.clone();
                    last.fate = fate;
                }
                last.records += records;
            }
            None => account.losses.push(Loss {
                exporter: exporter.clone(),
                name: stream.name().clone(),
                index,
                records,
                fate,
                reason: reason.clone(),
            }),
        }
    }
}

impl Stubs {
    pub(super) fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// Whether the request that has its entries from this number on waits for any of them.
    pub(super) fn has(&self, first: u64) -> bool {
        self.by_first.contains_key(&first)
    }

    /// The positions in the request that has its entries from this number on of those that have not ended.
    pub(super) fn unsettled_entries(&self, first: u64) -> Vec<usize> {
        self.by_first.get(&first).map(|stub| stub.unsettled_entries().collect()).unwrap_or_default()
    }

    /// Adds the stub of a request whose entries got their numbers from `first` on.
    pub(super) fn add(&mut self, first: u64, mut stub: Stub) {
        stub.first = first;
        stub.unsettled = NumberSet::from(first..first + stub.entries.len() as u64);
        self.by_first.insert(first, stub);
    }

    pub(super) fn remove(&mut self, first: u64) -> Option<Stub> {
        self.by_first.remove(&first)
    }

    /// Tells the senders that wait for entries of these numbers of `stream` that they are given up, and why.
    /// Returns the first number of each request.
    pub(super) fn give_up(&self, numbers: &NumberSet, stream: &Stream, reason: &Arc<str>) -> Vec<u64> {
        let mut firsts: Vec<u64> = Vec::new();
        for number in numbers.iter() {
            if let Some(stub) = self.of(number).filter(|stub| firsts.last() != Some(&stub.first)) {
                stub.ledger.give_up(stream, stub, reason);
                firsts.push(stub.first);
            }
        }
        firsts
    }

    /// When the entry of this number was admitted, if somebody waits for it.
    pub(super) fn admitted(&self, number: u64) -> Option<Instant> {
        self.of(number).map(|stub| stub.admitted)
    }

    /// Notes that `lost` records of a piece were not delivered, how they have ended, and why; or none, if the upstream has only said
    /// something.
    ///
    /// Which records an upstream has rejected it doesn't say. Where those of several entries were sent together, each
    /// entry gets its share of them, so that together they are as many as the upstream says.
    pub(super) fn lose(&self, piece: &Batch, (lost, fate): (u64, Fate), stream: &Stream, reason: &Arc<str>) {
        let (mut before, all) = (0, piece.records());
        for number in piece.numbers().iter() {
            let Some(stub) = self.of(number) else { continue };
            let (_, records) = stub.entries[(number - stub.first) as usize];
            let after = (before + records).min(all);
            let own = share(lost, after, all) - share(lost, before, all);
            stub.lose(number, (own, fate), stream, reason);
            before = after;
        }
    }

    /// Notes that the entries of these numbers have ended. Of others than those that wait nothing is known.
    pub(super) fn settle(&mut self, numbers: &NumberSet) {
        let Some(last) = numbers.last() else { return };
        // Each request has its numbers in a row, so that one after the other is looked for.
        let mut from = numbers.first();
        while let Some(number) = from {
            let firsts = self.by_first.range(..=number).next_back().filter(|(_, stub)| stub.last() >= number);
            let next = || self.by_first.range(number..=last).next();
            let Some(first) = firsts.or_else(next).map(|(first, _)| *first) else { return };
            let stub = self.by_first.get_mut(&first).expect("it was found just now");
            let before = stub.unsettled.len();
            stub.unsettled = stub.unsettled.without(numbers);
            let settled = before - stub.unsettled.len();
            from = Some(stub.last() + 1).filter(|next| *next <= last);
            if settled > 0 {
                stub.ledger.settle(settled);
                if stub.unsettled.is_empty() {
                    self.by_first.remove(&first);
                }
            }
        }
    }

    fn of(&self, number: u64) -> Option<&Stub> {
        let (_, stub) = self.by_first.range(..=number).next_back()?;
        stub.unsettled.contains(number).then_some(stub)
    }
}

/// The part of `lost` that falls on the first `records` of `all`.
fn share(lost: u64, records: u64, all: u64) -> u64 {
    (u128::from(lost) * u128::from(records) / u128::from(all.max(1))) as u64
}
