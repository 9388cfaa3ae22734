//! The newest log records of each tenant, in a bounded ring.
//!
//! Entries are kept as they were admitted. When there is no more room, the oldest entry of the tenant goes that has the most, so
//! that one who sends much does not push out those who send little. An entry takes its room for as long as anybody holds it: the
//! ring, or a search that began before the ring has let it go.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::shown;
use crate::query::{Query, QuerySet, QuerySight, RecordOrigin};
use crate::stream::{AdmittedEntry, Budget, Reservation};
use otlp::{Redaction, Signal, visit_records};

/// The bytes that an entry takes beside its own.
const OVERHEAD: u64 = 256;

/// Entries that a search holds at a time, at the most.
const HELD: usize = 256;

/// The most bytes of the entries that a search holds, unless one entry alone has more.
const HELD_BYTES: u64 = 1 << 20;

/// Newest entries, those without a tenant under an empty id.
#[derive(Debug)]
pub struct RecentRecords {
    /// The room of the ring, in which everything is reserved that is kept, or that a search holds; of 0 bytes: it is off.
    room: Arc<Budget>,
    /// The memory of the process, in which the same is reserved.
    memory: Arc<Budget>,
    kept: Mutex<KeptEntries>,
}

#[derive(Debug, Default)]
struct KeptEntries {
    /// The entries by numbers in the order in which they were admitted.
    entries: BTreeMap<u64, Arc<KeptEntry>>,
    of_tenants: HashMap<Arc<str>, OfTenant>,
    /// Tenants by the bytes that they have.
    by_size: BTreeSet<(u64, Arc<str>)>,
    next: u64,
}

/// The kept entries of one tenant.
#[derive(Debug, Default)]
struct OfTenant {
    /// The numbers of its entries, the oldest first.
    numbers: VecDeque<u64>,
    bytes: u64,
}

/// An entry that is kept.
#[derive(Debug)]
struct KeptEntry {
    tenant: Arc<str>,
    streams: Vec<(Box<str>, Box<str>)>,
    bytes: Box<[u8]>,
    /// When it was admitted, in nanoseconds since 1970.
    admitted: u64,
    reserved: EntryRoom,
}

/// The reservations for an entry, in the ring and in the process's memory.
#[derive(Debug)]
struct EntryRoom {
    of_ring: Reservation,
    _of_memory: Reservation,
}

/// The order in which records are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordOrder {
    /// The newest records come first.
    #[default]
    NewestFirst,
    /// The oldest records come first.
    OldestFirst,
}

/// The conditions of a search.
#[derive(Clone, Debug)]
pub struct RecentSearch {
    /// The query that records have to match.
    pub query: Query,
    /// The tenant whose records are searched; `None`: all.
    pub tenant: Option<String>,
    /// The earliest time of a record, in nanoseconds since 1970.
    pub from: Option<u64>,
    /// The latest time of a record, in nanoseconds since 1970.
    pub to: Option<u64>,
    /// Records of one page.
    pub batch_size: usize,
    /// The order of the records.
    pub order: RecordOrder,
    /// Where the page begins, as the page before has said.
    pub after: Option<SearchCursor>,
}

/// Where a page of a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchCursor {
    /// The number of an entry.
    pub entry: u64,
    /// Behind the record of it at this position; without one, the page begins with the entry.
    pub behind: Option<usize>,
}

/// The conditions that end a search before all entries were looked at.
#[derive(Clone, Copy)]
pub struct SearchEnd<'e> {
    /// No other entry is looked at after that.
    pub deadline: Instant,
    /// Whether somebody still waits for what is found.
    pub is_wanted: &'e dyn Fn() -> bool,
}

/// Records that were found.
#[derive(Clone, Debug, Default)]
pub struct SearchPage {
    /// In the order that was asked for.
    pub records: Vec<Json>,
    /// Where the next page begins, if there may be more.
    pub next: Option<SearchCursor>,
}

/// As it stands in a URL.
impl fmt::Display for SearchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.behind {
            Some(behind) => write!(f, "{}.{behind}", self.entry),
            None => write!(f, "{}", self.entry),
        }
    }
}

impl SearchCursor {
    /// Reads what a page before has said.
    pub fn read(text: &str) -> Option<Self> {
        let (entry, behind) = match text.split_once('.') {
            Some((entry, behind)) => (entry, Some(behind.parse().ok()?)),
            None => (text, None),
        };
        Some(Self { entry: entry.parse().ok()?, behind })
    }
}

impl RecentRecords {
    /// An empty ring of size 0, which keeps nothing. What it keeps later is reserved on `memory`.
    pub(super) fn new(memory: Arc<Budget>) -> Self {
        Self { room: Arc::new(Budget::new(0)), memory, kept: Mutex::default() }
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.room.limit() > 0
    }

    /// Bytes that are kept, or that a search holds.
    pub fn bytes(&self) -> u64 {
        self.room.used()
    }

    /// Bytes that may be kept.
    pub(super) fn set_limit(&self, limit: u64) {
        self.room.set_limit(limit);
        let mut kept = self.kept.lock();
        while self.room.used() > limit && kept.drop_oldest() {}
    }

    /// Keeps an entry, in place of older ones if there is no room: neither in the ring nor of memory. One that is larger than the ring
    /// is not kept.
    pub(super) fn keep(&self, entry: &AdmittedEntry<'_>) {
        let of_streams: usize = entry.streams.iter().map(|(exporter, key)| exporter.len() + key.len()).sum();
        let size = (entry.bytes.len() + of_streams) as u64 + OVERHEAD;
        if size > self.room.limit() {
            return;
        }
        let streams = entry.streams.iter().map(|(exporter, key)| ((*exporter).into(), (*key).into()));
        let (streams, bytes, admitted) = (streams.collect(), entry.bytes.into(), entry.at);
        let mut kept = self.kept.lock();
        let reserved = loop {
            if let Some(reserved) = self.reserve(size) {
                break reserved;
            }
            if !kept.drop_oldest() {
                return;
            }
        };
        let tenant = entry.tenant.unwrap_or_default();
        let tenant = match kept.of_tenants.get_key_value(tenant) {
            Some((known, _)) => known.clone(),
            None => tenant.into(),
        };
        kept.add(KeptEntry { tenant, streams, bytes, admitted, reserved });
    }

    fn reserve(&self, size: u64) -> Option<EntryRoom> {
        let reserve = |budget: &Arc<Budget>| {
            let mut reserved = Reservation::empty(budget.clone());
            reserved.grow(size).then_some(reserved)
        };
        Some(EntryRoom { of_ring: reserve(&self.room)?, _of_memory: reserve(&self.memory)? })
    }

    /// Looks for records until a page is full or `end` comes: then the page has what was found until there. At least one entry is looked
    /// at. That is nothing for a worker.
    pub fn search(&self, search: &RecentSearch, redaction: &Redaction, end: &SearchEnd<'_>) -> SearchPage {
        let queries = QuerySet::new([&search.query]);
        let mut page = SearchPage::default();
        let (mut from, mut has_looked) = (search.after.map(|cursor| cursor.entry), false);
        loop {
            let entries = self.kept.lock().some(search.order, from);
            let Some((last, _)) = entries.last() else { return page };
            from = match search.order {
                RecordOrder::NewestFirst => last.checked_sub(1),
                RecordOrder::OldestFirst => Some(last + 1),
            };
            for (number, entry) in entries {
                if !(end.is_wanted)() || (has_looked && Instant::now() >= end.deadline) {
                    page.next = Some(SearchCursor { entry: number, behind: None });
                    return page;
                }
                if search.tenant.as_ref().is_some_and(|tenant| **tenant != *entry.tenant) {
                    continue;
                }
                has_looked = true;
                let room = search.batch_size - page.records.len();
                let positions = entry.find(number, &queries, search, redaction, end);
                let positions = &positions[..positions.len().min(room)];
                entry.show(positions, redaction, &mut page.records);
                if page.records.len() == search.batch_size {
                    page.next = Some(SearchCursor { entry: number, behind: positions.last().copied() });
                    return page;
                }
            }
            if from.is_none() {
                return page;
            }
        }
    }
}

impl RecentSearch {
    /// Whether a record of an entry comes after those of the pages before.
    fn is_ahead(&self, number: u64, position: usize) -> bool {
        match self.after {
            Some(SearchCursor { entry, behind: Some(last) }) if entry == number => match self.order {
                RecordOrder::NewestFirst => position < last,
                RecordOrder::OldestFirst => position > last,
            },
            _ => true,
        }
    }

    /// Whether it looks for records of a time.
    fn is_of_time(&self, time: u64) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time <= to)
    }
}

impl KeptEntry {
    fn size(&self) -> u64 {
        self.reserved.of_ring.bytes()
    }

    /// The positions of the records that match, in the order of the search.
    fn find(
        &self,
        number: u64,
        queries: &QuerySet,
        search: &RecentSearch,
        redaction: &Redaction,
        end: &SearchEnd<'_>,
    ) -> Vec<usize> {
        let mut positions = Vec::new();
        self.with_origin(|origin| {
            let sight = QuerySight { redaction: Some(redaction), has_time: end.is_wanted };
            queries.evaluate(origin, &self.bytes, &sight, &mut |_, record| {
                let position = record.position();
                if search.is_ahead(number, position) && search.is_of_time(origin.time_of(&record.fields())) {
                    positions.push(position);
                }
            });
        });
        if search.order == RecordOrder::NewestFirst {
            positions.reverse();
        }
        positions
    }

    /// Adds the records at these positions, redacted, to `shown`.
    fn show(&self, positions: &[usize], redaction: &Redaction, shown: &mut Vec<Json>) {
        if positions.is_empty() {
            return;
        }
        let mut records: HashMap<usize, Json> = positions.iter().map(|at| (*at, Json::Null)).collect();
        let clean = redaction.apply(Signal::Logs, &self.bytes);
        self.with_origin(|origin| {
            let visited = visit_records(Signal::Logs, &clean, &mut |record| {
                if let Some(place) = records.get_mut(&record.position()) {
                    *place = shown::log(record, origin);
                }
                ControlFlow::Continue(())
            });
            debug_assert!(visited.is_continue(), "all records are looked at");
        });
        shown.extend(positions.iter().filter_map(|position| records.remove(position)));
    }

    fn with_origin(&self, look: impl FnOnce(&RecordOrigin<'_>)) {
        let streams: Vec<(&str, &str)> =
            self.streams.iter().map(|(exporter, key)| (&**exporter, &**key)).collect();
        let tenant = Some(&*self.tenant).filter(|tenant| !tenant.is_empty());
        look(&RecordOrigin { signal: Signal::Logs, tenant, streams: &streams, admitted: self.admitted });
    }
}

impl KeptEntries {
    fn add(&mut self, entry: KeptEntry) {
        let (size, number) = (entry.size(), self.next);
        self.next += 1;
        let of_tenant = self.of_tenants.entry(entry.tenant.clone()).or_default();
        self.by_size.remove(&(of_tenant.bytes, entry.tenant.clone()));
        of_tenant.bytes += size;
        of_tenant.numbers.push_back(number);
        self.by_size.insert((of_tenant.bytes, entry.tenant.clone()));
        self.entries.insert(number, Arc::new(entry));
    }

    /// Forgets the oldest entry of the tenant that has the most bytes, if there is any.
    fn drop_oldest(&mut self) -> bool {
        let Some((bytes, tenant)) = self.by_size.pop_last() else { return false };
        let of_tenant = self.of_tenants.get_mut(&tenant).expect("whoever has a size has entries");
        let number = of_tenant.numbers.pop_front().expect("a tenant without entries is not there");
        let entry = self.entries.remove(&number).expect("every number is that of an entry");
        let size = entry.size();
        of_tenant.bytes = bytes - size;
        if of_tenant.numbers.is_empty() {
            self.of_tenants.remove(&tenant);
        } else {
            self.by_size.insert((bytes - size, tenant));
        }
        true
    }

    /// The next entries from a number on, itself included: as many as a search may hold.
    fn some(&self, order: RecordOrder, from: Option<u64>) -> Vec<(u64, Arc<KeptEntry>)> {
        let mut bytes = 0;
        let may_be_held = |(_, entry): &(&u64, &Arc<KeptEntry>)| {
            let is_first = bytes == 0;
            bytes += entry.size();
            is_first || bytes <= HELD_BYTES
        };
        let owned = |(number, entry): (&u64, &Arc<KeptEntry>)| (*number, entry.clone());
        match order {
            RecordOrder::NewestFirst => {
                let entries = self.entries.range(..=from.unwrap_or(u64::MAX)).rev();
                entries.take(HELD).take_while(may_be_held).map(owned).collect()
            }
            RecordOrder::OldestFirst => {
                let entries = self.entries.range(from.unwrap_or(0)..);
                entries.take(HELD).take_while(may_be_held).map(owned).collect()
            }
        }
    }
}
