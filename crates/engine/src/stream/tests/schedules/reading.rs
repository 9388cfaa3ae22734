//! Reading a backlog ahead while parts of it are withdrawn, settled and appended: nothing is read twice or after it was settled, nothing
//! is lost, and whatever comes is sent.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread::{self, JoinHandle};
use tokio::time::{Duration, Instant};

use super::check;
use crate::journal::Chunk;
use crate::outcome::Fate;
use crate::route::RoutingKey;
use crate::stream::ledger::{ClaimedEntry, Ledger};
use crate::stream::queue::{RemovedRuns, TakeRules, Taken, Volume, Wake};
use crate::stream::read_ahead::{EarlyBatches, EarlyRead, StreamQueue};
use crate::stream::read_memory::ReadMemory;
use crate::stream::{BatchSettings, Budget, NumberSet, StreamAddress, StreamName};
use otlp::Signal;

const SIGNAL: Signal = Signal::Logs;

/// An entry under its frame.
const FRAME: &[u8] = b"\x0a\x00";

/// A batch has so many entries.
const BATCH: usize = 2;

type Batches = VecDeque<Vec<Chunk>>;

/// A stream whose entries are all on disk.
struct Stream {
    state: Mutex<StreamQueue<JoinHandle<Batches>>>,
    /// The numbers that the journal has.
    journal: Mutex<BTreeSet<u64>>,
    memory: ReadMemory,
    budget: std::sync::Arc<Budget>,
    settings: BatchSettings,
    consumers: usize,
    started: Mutex<Vec<JoinHandle<()>>>,
    delivered: Mutex<Vec<u64>>,
    withdrawn: Mutex<Vec<u64>>,
}

fn address() -> StreamAddress {
    let name = StreamName { signal: SIGNAL, key: RoutingKey::written("a") };
    StreamAddress { exporter: "up".into(), name }
}

impl Stream {
    fn new(consumers: usize) -> Arc<Self> {
        let size = BATCH * FRAME.len();
        Arc::new(Self {
            state: Mutex::new(StreamQueue::new(Instant::now())),
            journal: Mutex::default(),
            memory: ReadMemory::new(1 << 20),
            budget: std::sync::Arc::new(Budget::new(1 << 20)),
            settings: BatchSettings { flush_timeout: Duration::ZERO, min_size: size, max_size: size },
            consumers,
            started: Mutex::default(),
            delivered: Mutex::default(),
            withdrawn: Mutex::default(),
        })
    }

    fn rules(&self) -> TakeRules<'_> {
        TakeRules { batch: &self.settings, consumers: self.consumers, hurry: None }
    }

    /// As [`crate::stream::Stream::append_written`], for entries that somebody waits for.
    fn append(self: &Arc<Self>, entries: usize) -> (Range<u64>, std::sync::Arc<Ledger>) {
        let ledger = std::sync::Arc::new(Ledger::new(entries as u64));
        let entry = ClaimedEntry { index: 0, framed: FRAME.len() as u64, records: 0 };
        let mut state = self.state.lock().unwrap();
        self.journal.lock().unwrap().extend(state.next()..state.next() + entries as u64);
        let now = Instant::now();
        let appended = state.append_on_disk(std::iter::repeat_n(entry, entries), entries, Some(&ledger), now);
        let wake = state.wake(&self.rules(), now);
        drop(state);
        self.start(wake);
        (appended.numbers, ledger)
    }

    fn start(self: &Arc<Self>, wake: Wake) {
        for _ in 0..wake.consumers {
            let stream = self.clone();
            let consumer = thread::spawn(move || while stream.send_next() {});
            self.started.lock().unwrap().push(consumer);
        }
    }

    /// As the journal reads batches, one behind the other.
    fn read(&self, numbers: Range<u64>, batches: usize) -> Batches {
        let journal = self.journal.lock().unwrap();
        let chunk = |first: &u64| Chunk { first: *first, counts: vec![0], bytes: Bytes::from_static(FRAME) };
        let chunks: Vec<Chunk> = journal.range(numbers).take(batches * BATCH).map(chunk).collect();
        chunks.chunks(BATCH).map(<[Chunk]>::to_vec).collect()
    }

    /// Takes the next batch, as a consumer does, and sends it; without any the consumer has ended.
    fn send_next(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock().unwrap();
        let taken = state.take(SIGNAL, &self.rules(), Instant::now());
        let is_over = matches!(taken, Taken::Nothing);
        let wake = if is_over { state.wake(&self.rules(), Instant::now()) } else { Wake::default() };
        drop(state);
        self.start(wake);
        if is_over {
            return false;
        }
        let mut numbers = self.read_backlog();
        while thread_rng().gen_bool(0.2)
            && let Some(left) = self.spill()
        {
            self.settle_withdrawn(&left);
            numbers = self.read_backlog();
        }
        let left = self.state.lock().unwrap().take_withdrawn(&numbers);
        self.settle_withdrawn(&left);
        let sent = numbers.without(&left.numbers);
        self.delivered.lock().unwrap().extend(sent.iter());
        self.journal.lock().unwrap().retain(|number| !sent.contains(*number));
        let mut state = self.state.lock().unwrap();
        let batch = crate::stream::Batch::numbered(SIGNAL, Vec::new(), 0, sent.clone());
        state.end(&batch, &sent, (0, Fate::Delivered), address, "");
        state.settle(&numbers, false, Instant::now(), address, "dropped");
        true
    }

    /// As [`crate::stream::Stream::read_backlog`]: returns the numbers of what was read.
    fn read_backlog(self: &Arc<Self>) -> NumberSet {
        let early = self.state.lock().unwrap().take_early();
        let (mut batches, end, mut room) = match early {
            Some(EarlyRead { batches: EarlyBatches::Read(chunks), end, room, .. }) => {
                ([chunks].into(), end, room)
            }
            Some(EarlyRead { batches: EarlyBatches::Reading(reading), end, room, .. }) => {
                (reading.join().unwrap(), end, room)
            }
            None => {
                let room = self.memory.acquire_early(1).expect("there is memory for a few");
                let backlog = self.state.lock().unwrap().backlog();
                let read = backlog.clone().map(|backlog| self.read(backlog, 1));
                (read.unwrap_or_default(), backlog.map_or(0, |backlog| backlog.end), room)
            }
        };
        let chunks = batches.pop_front().unwrap_or_default();
        let read_numbers: Vec<u64> = chunks.iter().map(|chunk| chunk.first).collect();
        let mut state = self.state.lock().unwrap();
        let read = state.take_read(SIGNAL, chunks, end, address, "lost");
        assert_eq!(
            (read.lost, read.found),
            (Volume::default(), Volume::default()),
            "the journal has all of it"
        );
        let numbers = read.batch.numbers().clone();
        for number in read_numbers {
            let is_withdrawn = self.withdrawn.lock().unwrap().contains(&number);
            assert!(numbers.contains(number) || is_withdrawn, "nothing is read that was read before");
        }
        for number in numbers.iter() {
            assert!(!self.delivered.lock().unwrap().contains(&number), "it is read once");
            assert!(
                !self.withdrawn.lock().unwrap().contains(&number),
                "it is not read once it was withdrawn"
            );
        }
        let second = batches.pop_front().map(|second| (second, end, 1));
        let most = BATCH * FRAME.len();
        state.read_on(second, &mut room, most, (&self.memory, &self.budget), |backlog, batches| {
            let stream = self.clone();
            Some(thread::spawn(move || stream.read(backlog, batches)))
        });
        let wake = state.wake(&self.rules(), Instant::now());
        drop(state);
        self.start(wake);
        numbers
    }

    /// As [`crate::stream::Stream::spill`].
    fn spill(&self) -> Option<RemovedRuns> {
        let mut state = self.state.lock().unwrap();
        let (spilled, ahead) = state.spill()?;
        self.withdrawn.lock().unwrap().extend(spilled.withdrawn.numbers.iter());
        drop(state);
        ahead.into_iter().flat_map(|ahead| *ahead).for_each(EarlyRead::wait);
        Some(spilled.withdrawn)
    }

    /// As [`crate::stream::Stream::withdraw`].
    fn withdraw(&self, request: &Range<u64>) {
        let mut state = self.state.lock().unwrap();
        let (withdrawn, ahead) = state.withdraw(request);
        self.withdrawn.lock().unwrap().extend(withdrawn.left.numbers.iter());
        drop(state);
        ahead.into_iter().flat_map(|ahead| *ahead).for_each(EarlyRead::wait);
        self.settle_withdrawn(&withdrawn.left);
    }

    fn settle_withdrawn(&self, left: &RemovedRuns) {
        self.withdrawn.lock().unwrap().extend(left.numbers.iter());
        self.journal.lock().unwrap().retain(|number| !left.numbers.contains(*number));
    }
}

impl EarlyRead<JoinHandle<Batches>> {
    /// Waits for what nobody wants any more, so that its thread ends with the test.
    fn wait(self) {
        if let EarlyBatches::Reading(reading) = self.batches {
            drop(reading.join());
        }
    }
}

/// Requests come and are sent, and one of them is withdrawn meanwhile.
fn a_backlog_is_read(consumers: usize) {
    let stream = Stream::new(consumers);
    let (kept, ledger) = stream.append(3);
    let (withdrawn, _) = stream.append(3);
    let withdraws = {
        let (stream, withdrawn) = (stream.clone(), withdrawn.clone());
        thread::spawn(move || stream.withdraw(&withdrawn))
    };
    let (last, last_ledger) = stream.append(2);
    withdraws.join().unwrap();
    loop {
        let consumer = stream.started.lock().unwrap().pop();
        let Some(consumer) = consumer else { break };
        consumer.join().unwrap();
    }
    let mut delivered = stream.delivered.lock().unwrap().clone();
    if consumers == 1 {
        assert!(delivered.is_sorted(), "{delivered:?}");
    }
    delivered.sort_unstable();
    assert!(ledger.is_settled() && last_ledger.is_settled());
    assert!(kept.chain(last).all(|number| delivered.binary_search(&number).is_ok()), "{delivered:?}");
    let withdrawn_ones = stream.withdrawn.lock().unwrap();
    assert!(
        withdrawn
            .into_iter()
            .all(|number| { delivered.binary_search(&number).is_ok() || withdrawn_ones.contains(&number) })
    );
    assert!(!stream.state.lock().unwrap().has_backlog());
    assert!(stream.journal.lock().unwrap().is_empty());
}

#[test]
fn what_is_read_ahead_is_read_once_and_never_once_it_was_settled() {
    check(|| a_backlog_is_read(1));
}

#[test]
fn two_consumers_of_a_backlog_read_different_parts_of_it() {
    check(|| a_backlog_is_read(2));
}
