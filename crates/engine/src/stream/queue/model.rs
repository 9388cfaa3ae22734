//! The queue against a model of it, with either log: what is taken, in which order, what those who wait learn, and what is left.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::journal::simulation::SimulatedDisk;
use crate::journal::{
    Journal, JournalEntry, JournalSettings, StreamEntries, StreamId, StreamKey, SyncPolicy,
};
use crate::route::RoutingKey;
use crate::stream::StreamName;

/// What happens next. Positions are taken modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    /// A request comes with entries of so many bytes. Whether somebody waits for it, and, with a journal, whether there is memory for it.
    Admit(Vec<usize>, bool, bool),
    /// The journal gives numbers away that are no part of the stream.
    Skip,
    Pass(u64),
    /// A consumer takes a batch, or reads what is on disk.
    Take,
    /// The upstream ends so many entries of a batch.
    End(usize, usize),
    /// A consumer looks what was withdrawn.
    Look(usize),
    /// A consumer has ended, whatever is left of its batch.
    Settle(usize),
    /// The only consumer leaves its batch on disk, and later reads it again.
    Spill,
    /// Somebody waits no longer.
    Withdraw(usize),
    /// A consumer gives all of its batch back to those who wait.
    GiveBack(usize),
    /// A consumer takes what waits into its batch.
    TakeMore(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(
        prop_oneof![
            8 => (vec(1..200_usize, 1..5), any::<bool>(), prop::bool::weighted(0.7))
                .prop_map(|(sizes, waits, memory)| Step::Admit(sizes, waits, memory)),
            1 => Just(Step::Skip),
            2 => (0..3000_u64).prop_map(Step::Pass),
            5 => Just(Step::Take),
            4 => (0..9_usize, 1..6_usize).prop_map(|(at, entries)| Step::End(at, entries)),
            2 => (0..9_usize).prop_map(Step::Look),
            4 => (0..9_usize).prop_map(Step::Settle),
            2 => Just(Step::Spill),
            3 => (0..99_usize).prop_map(Step::Withdraw),
            1 => (0..9_usize).prop_map(Step::GiveBack),
            1 => (0..9_usize, 0..800_usize).prop_map(|(at, room)| Step::TakeMore(at, room)),
        ],
        0..80,
    )
}

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fared {
    Pending,
    Ended,
    Withdrawn,
    /// Its consumer has gone without a word.
    Abandoned,
}

/// A batch in the hands of a consumer, and how many of its entries have ended.
#[derive(Debug)]
struct Held {
    batch: Batch,
    numbers: NumberSet,
    ended: usize,
    memory: u64,
}

struct Log {
    journal: Journal,
    id: StreamId,
}

struct World {
    queue: Queue,
    log: Option<Log>,
    settings: BatchSettings,
    consumers: usize,
    now: Instant,
    /// Each entry that was admitted, as it stands in a batch.
    entries: BTreeMap<u64, (Vec<u8>, Fared)>,
    requests: Vec<(Range<u64>, Arc<Ledger>)>,
    held: Vec<Held>,
    /// A consumer has the backlog in its hands.
    reads: bool,
    memory: u64,
    last_taken: u64,
}

fn address() -> StreamAddress {
    let name = StreamName { signal: Signal::Logs, key: RoutingKey::written("a") };
    StreamAddress { exporter: "up".into(), name }
}

impl World {
    fn new(with_journal: bool, consumers: usize, min_size: usize) -> Self {
        let log = with_journal.then(|| {
            let settings = JournalSettings {
                sync: SyncPolicy::Never,
                max_size: 4 << 20,
                segment_size: 64 << 10,
                ..JournalSettings::new("simulated")
            };
            let (journal, _) = Journal::open_by_hand(settings, SimulatedDisk::new(1).process()).unwrap();
            let id = journal.stream(&StreamKey::from(b"a".as_slice()));
            Log { journal, id }
        });
        let now = Instant::now();
        Self {
            queue: Queue::new(now),
            log,
            settings: BatchSettings { flush_timeout: Duration::from_secs(1), min_size, max_size: 400 },
            consumers,
            now,
            entries: BTreeMap::new(),
            requests: Vec::new(),
            held: Vec::new(),
            reads: false,
            memory: 0,
            last_taken: 0,
        }
    }

    /// Has the journal, if there is one, give the next entries their numbers.
    fn write(&mut self, bodies: &[Vec<u8>]) {
        let Some(Log { journal, id }) = &self.log else { return };
        let entries =
            bodies.iter().map(|body| JournalEntry { bytes: body.clone().into(), records: 1 }).collect();
        let (answer, answered) = std::sync::mpsc::channel();
        let done = move |result| answer.send(result).unwrap();
        journal.append(vec![StreamEntries { stream: *id, entries }], Box::new(done));
        while journal.commit_once() {}
        self.queue.skip_to(answered.recv().unwrap().unwrap().first[0]);
    }

    fn settle(&self, numbers: &NumberSet) {
        let Some(Log { journal, id }) = &self.log else { return };
        for range in numbers.ranges() {
            journal.settle(*id, range.start..=range.end - 1);
        }
    }

    fn wake(&mut self) {
        let rules = TakeRules { batch: &self.settings, consumers: self.consumers, hurry: None };
        self.queue.wake_as_scheduled(&rules, self.now);
    }

    fn admit(&mut self, sizes: &[usize], waits: bool, has_memory: bool) {
        let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| vec![self.entries.len() as u8; *size]).collect();
        self.write(&bodies);
        let ledger = waits.then(|| Arc::new(Ledger::new(bodies.len() as u64)));
        let new = |(index, body): (usize, &'_ Vec<u8>)| (index, otlp::frame_len(body.len()) as u64);
        let appended = if self.log.is_none() || (has_memory && self.queue.may_keep_in_memory()) {
            let entries = bodies.iter().enumerate();
            // Those of odd sizes stay in their body.
            let framed = |body: &Vec<u8>| {
                let mut framed = Vec::new();
                otlp::put_frame(&mut framed, body.len());
                framed.extend_from_slice(body);
                (body.len() % 2 == 1).then(|| Bytes::from(framed))
            };
            let in_body: Vec<Option<Bytes>> = bodies.iter().map(framed).collect();
            let entries = entries.zip(&in_body).map(|((index, body), in_body)| NewEntry {
                bytes: body,
                in_body: in_body.as_ref(),
                records: 1,
                index,
            });
            let request = NewRequest { ledger: ledger.as_ref(), trace: None };
            self.queue.append(entries, bodies.len(), request, &self.settings, self.now, |_| true)
        } else {
            let entries = bodies.iter().enumerate().map(new);
            let entries = entries.map(|(index, framed)| ClaimedEntry { index, framed, records: 1 });
            self.queue.append_on_disk(entries, bodies.len(), ledger.as_ref(), self.now)
        };
        self.memory += appended.memory;
        for (number, body) in appended.numbers.clone().zip(&bodies) {
            let mut framed = Vec::new();
            otlp::put_frame(&mut framed, body.len());
            framed.extend_from_slice(body);
            self.entries.insert(number, (framed, Fared::Pending));
        }
        if let Some(ledger) = ledger {
            self.requests.push((appended.numbers, ledger));
        }
        self.wake();
    }

    fn take(&mut self) {
        let rules = TakeRules { batch: &self.settings, consumers: self.consumers, hurry: None };
        if self.queue.consumers > self.queue.in_flight {
            match self.queue.take(Signal::Logs, &rules, self.now) {
                Taken::Batch(taken) => self.hold(taken.batch, taken.memory),
                Taken::Backlog => self.reads = true,
                Taken::Nothing => {}
            }
        } else if self.reads {
            self.read(1000);
        }
    }

    fn read(&mut self, most: usize) {
        let Log { journal, id } = self.log.as_ref().unwrap();
        let backlog = self.queue.backlog().unwrap_or_default();
        let chunks = journal.read(*id, backlog.clone(), most).unwrap();
        let ReadBatch { batch, lost, found } =
            self.queue.take_read(Signal::Logs, chunks, backlog.end, address, "lost");
        assert_eq!((lost, found), (Volume::default(), Volume::default()), "the disk is well");
        self.reads = false;
        let memory = batch.len() as u64;
        self.memory += memory;
        self.hold(batch, memory);
    }

    fn hold(&mut self, batch: Batch, memory: u64) {
        let numbers = batch.numbers().clone();
        if let Some(first) = numbers.first() {
            assert!(first >= self.last_taken, "{first} comes in order");
            self.last_taken = numbers.last().unwrap() + 1;
        }
        let expected: Vec<u8> = numbers.iter().flat_map(|number| self.entries[&number].0.clone()).collect();
        assert_eq!(batch.to_bytes(), expected);
        for number in numbers.iter() {
            assert_eq!(self.entries[&number].1, Fared::Pending, "{number} is taken once");
        }
        self.held.push(Held { batch, numbers, ended: 0, memory });
    }

    /// Ends entries of a batch that have not been withdrawn, in order.
    fn end(&mut self, at: usize, entries: usize) {
        let held = &mut self.held[at];
        let ended: Vec<u64> = held.batch.numbers().iter().skip(held.ended).take(entries).collect();
        held.ended += ended.len();
        let mut numbers = NumberSet::default();
        for number in &ended {
            numbers.push(*number);
        }
        if numbers.is_empty() {
            return;
        }
        let piece = Batch::numbered(Signal::Logs, Vec::new(), numbers.len(), numbers.clone());
        self.queue.end(&piece, &numbers, (0, Fate::Delivered), address, "");
        self.settle(&numbers);
        for number in ended {
            self.entries.get_mut(&number).unwrap().1 = Fared::Ended;
        }
    }

    fn look(&mut self, at: usize) {
        let left = self.queue.take_withdrawn(&self.held[at].numbers);
        let held = &mut self.held[at];
        let ended: Vec<u64> = held.batch.numbers().iter().take(held.ended).collect();
        assert!(
            ended.iter().all(|number| !left.numbers.contains(*number)),
            "what has ended is not withdrawn"
        );
        (held.batch, _) = held.batch.without(&left.numbers);
        self.withdrawn(&left.numbers);
    }

    fn withdrawn(&mut self, numbers: &NumberSet) {
        self.settle(numbers);
        for number in numbers.iter() {
            let (_, fared) = self.entries.get_mut(&number).unwrap();
            assert_eq!(std::mem::replace(fared, Fared::Withdrawn), Fared::Pending);
        }
    }

    fn settle_one(&mut self, at: usize) {
        let held = self.held.swap_remove(at);
        self.queue.settle(&held.numbers, false, self.now, address, "broken off");
        self.memory -= held.memory;
        for number in held.batch.numbers().iter().skip(held.ended) {
            self.entries.get_mut(&number).unwrap().1 = Fared::Abandoned;
        }
        self.settle(held.batch.numbers());
        self.wake();
    }

    fn spill(&mut self) {
        if self.log.is_none() || self.held.iter().any(|held| held.ended > 0) {
            return;
        }
        let Some(spilled) = self.queue.spill() else { return };
        self.withdrawn(&spilled.withdrawn.numbers);
        let held = self.held.pop().expect("there is one consumer");
        self.memory -= held.memory + spilled.memory;
        self.last_taken = held.numbers.first().unwrap_or(self.last_taken);
        self.reads = true;
    }

    fn withdraw(&mut self, at: usize) {
        let (numbers, _) = self.requests.swap_remove(at);
        let withdrawn = self.queue.withdraw(&numbers);
        self.memory -= withdrawn.left.memory;
        self.withdrawn(&withdrawn.left.numbers);
    }

    fn give_back(&mut self, at: usize) {
        let requests = self.queue.give_up_requests(self.held[at].batch.numbers(), &address(), &"no".into());
        for request in requests {
            let at = self.requests.iter().position(|(numbers, _)| *numbers == request).unwrap();
            self.withdraw(at);
        }
    }

    fn step(&mut self, step: Step) {
        let held = self.held.len();
        match step {
            Step::Admit(sizes, waits, memory) => self.admit(&sizes, waits, memory),
            Step::Skip => {
                let before = self.queue.next();
                self.write(&[vec![0]]);
                if self.log.is_some() {
                    let next = self.queue.next();
                    self.settle(&NumberSet::from(next..next + 1));
                    self.queue.skip_to(next + 1);
                }
                assert!(self.queue.next() >= before);
            }
            Step::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                self.wake();
            }
            Step::Take => self.take(),
            Step::End(at, entries) if held > 0 => self.end(at % held, entries),
            Step::Look(at) if held > 0 => self.look(at % held),
            Step::Settle(at) if held > 0 => self.settle_one(at % held),
            Step::Spill => self.spill(),
            Step::Withdraw(at) if !self.requests.is_empty() => self.withdraw(at % self.requests.len()),
            Step::GiveBack(at) if held > 0 => self.give_back(at % held),
            Step::TakeMore(at, room) if held > 0 && self.held[at % held].ended == 0 => {
                for taken in self.queue.take_more(Signal::Logs, room) {
                    let held = &mut self.held[at % held];
                    assert!(held.numbers.last() < taken.batch.numbers().first());
                    held.numbers = held.numbers.union(taken.batch.numbers());
                    held.batch = held.batch.followed_by(&taken.batch);
                    held.memory += taken.memory;
                    self.last_taken = self.last_taken.max(held.numbers.last().unwrap() + 1);
                }
            }
            _ => {}
        }
        self.queue.check();
        let pending =
            |numbers: &NumberSet| numbers.iter().any(|number| self.entries[&number].1 == Fared::Pending);
        for (numbers, ledger) in &self.requests {
            let waits = pending(&NumberSet::from(numbers.clone()));
            assert_eq!((ledger.is_settled(), self.queue.is_waited_for_in(numbers)), (!waits, waits));
        }
    }

    /// Delivers all that is left.
    fn drain(&mut self) {
        for _ in 0..1000 {
            while !self.held.is_empty() {
                self.look(0);
                self.end(0, usize::MAX);
                self.settle_one(0);
            }
            self.now += Duration::from_secs(3600);
            self.wake();
            if self.queue.runs.is_empty() {
                break;
            }
            self.take();
        }
    }
}

proptest! {
    #[test]
    fn every_entry_is_taken_once_in_order_and_ends_once(
        steps in steps(),
        with_journal in any::<bool>(),
        consumers in 1..4_usize,
        min_size in prop_oneof![Just(0_usize), Just(100), Just(300)],
    ) {
        let mut world = World::new(with_journal, consumers, min_size);
        for step in steps {
            world.step(step);
        }
        if world.reads {
            world.read(usize::MAX);
        }
        world.drain();
        prop_assert!(world.queue.runs.is_empty());
        prop_assert!(world.entries.values().all(|(_, fared)| *fared != Fared::Pending));
        prop_assert!(world.requests.iter().all(|(_, ledger)| ledger.is_settled()));
        prop_assert_eq!((world.queue.in_memory, world.queue.claims, world.queue.in_flight), (0, 0, 0));
        // What was withdrawn beside others may leave an empty buffer to its batch.
        prop_assert_eq!(world.memory, world.queue.buffers.clear());
        if let Some(Log { journal, id }) = &world.log {
            prop_assert_eq!(journal.unsettled(*id), None);
        }
    }
}
