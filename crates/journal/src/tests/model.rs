//! Random lives of a journal against a model of a few lines: what was acknowledged and is not settled is all there, in
//! order and whole, after every crash; and nothing else is, but requests that were never answered.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::{self, JoinHandle};

use proptest::prelude::*;

use super::*;
use crate::simulation::DiskFaults;
use crate::stalling::{Stalled, StallingDisk};

const STREAMS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// One request: for some streams a number of entries, and their length.
    Append(Vec<(usize, u64, usize)>),
    /// Writes what waits.
    Commit,
    /// Of what is not settled in a stream, a part from the front, in 256ths.
    Settle(usize, u8),
    /// One entry somewhere.
    SettleOne(usize, u8),
    Read(usize, usize),
    /// So many streams come, with one entry each.
    Come(u64),
    /// Of these streams a part, in 256ths, is settled and goes.
    Go(u8),
    Tend,
    Kill,
    CutPower,
    /// A sync that never answers, until the process is killed or the power is cut.
    HangSync {
        cut_power: bool,
    },
    Close,
    Full(u64),
    ReadOnly,
    FailSyncs(u32),
    FailWrites(u32),
    NamesStay,
    Heal,
    /// Flips a bit of a segment while no process has it.
    Flip(u16, u32),
    LosePositions,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..STREAMS;
    let group = (stream.clone(), 1..6_u64, prop_oneof![8 => 20..3000_usize, 1 => 3000..40_000_usize]);
    prop_oneof![
        30 => prop::collection::vec(group, 1..4).prop_map(Step::Append),
        20 => Just(Step::Commit),
        12 => (stream.clone(), any::<u8>()).prop_map(|(stream, part)| Step::Settle(stream, part)),
        3 => (stream.clone(), any::<u8>()).prop_map(|(stream, part)| Step::SettleOne(stream, part)),
        6 => (stream, 1..200_000_usize).prop_map(|(stream, bytes)| Step::Read(stream, bytes)),
        3 => (1..200_u64).prop_map(Step::Come),
        4 => any::<u8>().prop_map(Step::Go),
        12 => Just(Step::Tend),
        2 => Just(Step::Kill),
        3 => Just(Step::CutPower),
        2 => any::<bool>().prop_map(|cut_power| Step::HangSync { cut_power }),
        2 => Just(Step::Close),
        2 => (0..300_000_u64).prop_map(Step::Full),
        1 => Just(Step::ReadOnly),
        2 => (1..4_u32).prop_map(Step::FailSyncs),
        2 => (1..4_u32).prop_map(Step::FailWrites),
        1 => Just(Step::NamesStay),
        8 => Just(Step::Heal),
    ]
}

fn damaging_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => step(),
        2 => (any::<u16>(), any::<u32>()).prop_map(|(segment, bit)| Step::Flip(segment, bit)),
        1 => Just(Step::LosePositions),
    ]
}

#[derive(Debug, Default)]
struct StreamModel {
    /// Acknowledged entries that may still be there.
    acknowledged: BTreeMap<u64, Bytes>,
    settled: BTreeSet<u64>,
    /// Those of them that were never acknowledged, but found after a crash.
    unsure: BTreeSet<u64>,
    /// Entries of requests that were never answered, or refused by a disk that failed, and of former lives.
    perhaps: BTreeSet<Bytes>,
    made: u64,
}

/// A stream that comes, has one entry, and goes.
#[derive(Debug)]
struct Passing {
    /// Its name in this life of the journal, if it is held.
    id: Option<StreamId>,
    end: Ended,
}

/// What is known of the entry of such a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It was acknowledged, and is not settled.
    Live,
    /// It may be there.
    Perhaps,
    /// It is not there: the journal had no room for it.
    Refused,
}

fn name_of_passing(n: u64) -> String {
    format!("p{n}")
}

type Answers = Arc<Mutex<Vec<(usize, Result<AssignedNumbers, NotWritten>)>>>;

struct World {
    disk: SimulatedDisk,
    /// The disk of the process that lives.
    stalling: StallingDisk,
    journal: Option<Journal>,
    ids: Vec<StreamId>,
    streams: Vec<StreamModel>,
    /// Streams that came and may have gone, by the number in their names.
    passing: BTreeMap<u64, Passing>,
    /// Requests that are not answered yet: for each group the stream and its entries.
    waiting: BTreeMap<usize, Vec<(usize, Vec<Bytes>)>>,
    answers: Answers,
    requests: usize,
    /// Since the last start; each may have cost one stream something.
    flips: usize,
    /// Since the beginning.
    all_flips: usize,
    lossy: BTreeSet<usize>,
    /// Something may be wrong with the disk.
    faulty: bool,
    sync: SyncPolicy,
}

impl World {
    fn new(seed: u64, sync: SyncPolicy) -> Self {
        let disk = SimulatedDisk::new(seed);
        let mut world = Self {
            stalling: StallingDisk::new(disk.process()),
            disk,
            journal: None,
            ids: Vec::new(),
            streams: (0..STREAMS).map(|_| StreamModel::default()).collect(),
            passing: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answers: Answers::default(),
            requests: 0,
            flips: 0,
            all_flips: 0,
            lossy: BTreeSet::new(),
            faulty: false,
            sync,
        };
        world.open();
        world
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    fn open(&mut self) {
        let settings = JournalSettings { sync: self.sync, ..settings(24) };
        self.stalling = StallingDisk::new(self.disk.process());
        let opened = Journal::open_by_hand(settings.clone(), self.stalling.disk());
        let (journal, recovery) = opened.unwrap_or_else(|_| {
            // A disk that is full or fails: it is seen to.
            self.disk.set_faults(DiskFaults::default());
            self.disk.kill();
            self.stalling = StallingDisk::new(self.disk.process());
            Journal::open_by_hand(settings, self.stalling.disk()).unwrap()
        });
        self.ids = (0..STREAMS).map(|n| journal.stream(&key(&format!("s{n}")))).collect();
        self.journal = Some(journal);
        for stream in 0..STREAMS {
            let counted = recovery.streams.iter().find(|found| found.id == self.ids[stream]);
            // Before the first that is not settled there may be others that are.
            let from = counted.map_or(u64::MAX, |found| found.first);
            let all = read_from(self.journal(), self.ids[stream], from, 64 << 10);
            if self.all_flips == 0 {
                assert_eq!(counted.map_or(0, |found| found.entries), all.len() as u64);
                let bytes: usize = all.iter().map(|(_, bytes)| otlp::frame_len(bytes.len())).sum();
                assert_eq!(counted.map_or(0, |found| found.bytes), bytes as u64);
                assert_eq!(counted.map_or(0, |found| found.records), all.len() as u64);
            }
            self.check(stream, &all);
            let model = &mut self.streams[stream];
            // What is there now counts: also what nobody had been told of, which may still go when the power does. What
            // was settled and came back is live again.
            let all: BTreeMap<u64, Bytes> = all.into_iter().collect();
            model.unsure.retain(|n| all.contains_key(n));
            model.unsure.extend(all.keys().filter(|n| !model.acknowledged.contains_key(n)));
            // What is settled and gone comes back if the positions are lost, as long as it is on disk.
            let before = std::mem::replace(&mut model.acknowledged, all);
            model.perhaps.extend(before.into_values());
            model.settled.clear();
        }
        self.check_passing(&recovery);
        self.flips = 0;
        self.lossy.clear();
    }

    /// Of the streams that come and go those are found that should be, and no others.
    fn check_passing(&mut self, recovery: &Recovery) {
        let journal = self.journal.clone().unwrap();
        let mut found = BTreeMap::new();
        for stream in &recovery.streams {
            let name = std::str::from_utf8(stream.key.as_bytes()).unwrap();
            let Some(n) = name.strip_prefix('p').and_then(|n| n.parse::<u64>().ok()) else { continue };
            assert_eq!((stream.first, stream.last, stream.entries, stream.records), (0, 0, 1, 1), "{name}");
            let before = found.insert(n, journal.stream_again(stream));
            assert!(before.is_none(), "{name} is there twice");
        }
        for n in found.keys() {
            let known = self.passing.get(n).is_some_and(|passing| passing.end != Ended::Refused);
            assert!(known, "nobody appended anything to p{n}");
        }
        for (n, id) in found.iter().take(5).chain(found.iter().rev().take(5)) {
            let name = name_of_passing(*n);
            let all = read_all(&journal, *id);
            // It may have been damaged.
            assert!(
                all == filled(&name, 0..1, 40) || self.all_flips > 0 && all.is_empty(),
                "{name}: {all:?}"
            );
        }
        for (n, passing) in &mut self.passing {
            passing.id = found.get(n).copied();
            if passing.end == Ended::Live && passing.id.is_none() {
                self.lossy.insert(STREAMS + *n as usize);
                assert!(self.lossy.len() <= self.flips, "the entry of p{n} is lost");
                passing.end = Ended::Perhaps;
            }
        }
    }

    /// `all` is everything from the first live entry on.
    fn check(&mut self, stream: usize, all: &[(u64, Bytes)]) {
        assert!(all.is_sorted_by_key(|(n, _)| *n));
        let model = &self.streams[stream];
        let found: BTreeMap<u64, &Bytes> = all.iter().map(|(n, bytes)| (*n, bytes)).collect();
        for (n, bytes) in &found {
            match model.acknowledged.get(n) {
                Some(acknowledged) => {
                    assert_eq!(acknowledged, *bytes, "entry {n} of stream {stream} is another");
                }
                None => {
                    assert!(model.perhaps.contains(*bytes), "nobody appended entry {n} of stream {stream}");
                }
            }
        }
        let may_go = |n: &u64| model.settled.contains(n) || model.unsure.contains(n);
        let lost = model.acknowledged.keys().find(|n| !may_go(n) && !found.contains_key(n));
        if let Some(n) = lost {
            self.lossy.insert(stream);
            assert!(self.lossy.len() <= self.flips, "entry {n} of stream {stream} is lost");
        }
    }

    fn end(&mut self) {
        for groups in std::mem::take(&mut self.waiting).into_values() {
            for (stream, entries) in groups {
                self.streams[stream].perhaps.extend(entries);
            }
        }
        self.passing.values_mut().for_each(|passing| passing.id = None);
        self.journal = None;
        // What a dead process says is not heard.
        self.answers.lock().clear();
    }

    fn collect_answers(&mut self) {
        for (request, answer) in std::mem::take(&mut *self.answers.lock()) {
            let groups = self.waiting.remove(&request).expect("a request is answered once");
            match answer {
                Ok(appended) => {
                    for ((stream, entries), first) in groups.into_iter().zip(appended.first) {
                        let model = &mut self.streams[stream];
                        for (n, bytes) in (first..).zip(entries) {
                            let before = model.acknowledged.insert(n, bytes);
                            assert!(before.is_none(), "entry {n} of stream {stream} twice");
                        }
                    }
                }
                Err(NotWritten::Full) => {}
                Err(NotWritten::Disk(_)) => {
                    for (stream, entries) in groups {
                        self.streams[stream].perhaps.extend(entries);
                    }
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn live(&self, stream: usize) -> Vec<u64> {
        let model = &self.streams[stream];
        model.acknowledged.keys().filter(|n| !model.settled.contains(n)).copied().collect()
    }

    fn take(&mut self, step: Step) {
        self.faulty |=
            matches!(step, Step::Full(_) | Step::ReadOnly | Step::FailSyncs(_) | Step::FailWrites(_));
        match step {
            Step::Append(groups) => {
                let mut request = Vec::new();
                let mut waiting = Vec::new();
                for (stream, entries, length) in groups {
                    let model = &mut self.streams[stream];
                    let entries: Vec<Bytes> = (0..entries)
                        .map(|_| {
                            model.made += 1;
                            nth(&format!("s{stream}"), model.made, length)
                        })
                        .collect();
                    request.push(StreamEntries {
                        stream: self.ids[stream],
                        entries: entries.iter().map(|bytes| entry(bytes.clone(), 1)).collect(),
                    });
                    waiting.push((stream, entries));
                }
                self.requests += 1;
                let (number, answers) = (self.requests, self.answers.clone());
                self.waiting.insert(number, waiting);
                self.journal().append(request, Box::new(move |answer| answers.lock().push((number, answer))));
            }
            Step::Commit => {
                while self.journal().commit_once() {}
                self.collect_answers();
                assert!(self.waiting.is_empty());
            }
            Step::Settle(stream, part) => {
                let live = self.live(stream);
                let count = (live.len() * usize::from(part)).div_ceil(256);
                for n in &live[..count] {
                    self.journal().settle(self.ids[stream], *n..=*n);
                }
                self.streams[stream].settled.extend(&live[..count]);
            }
            Step::SettleOne(stream, part) => {
                let live = self.live(stream);
                if let Some(n) = live.get(live.len() * usize::from(part) / 256) {
                    self.journal().settle(self.ids[stream], *n..=*n);
                    self.streams[stream].settled.insert(*n);
                }
            }
            Step::Read(stream, bytes) => {
                if let Some(first) = self.live(stream).first() {
                    let all = read_from(self.journal(), self.ids[stream], *first, bytes);
                    self.check(stream, &all);
                }
            }
            Step::Come(count) => self.come(count),
            Step::Go(part) => self.go(part),
            Step::Tend => self.journal().tend_once(),
            Step::HangSync { cut_power } => {
                let hanging = self.hang_in_sync();
                if cut_power && self.sync == SyncPolicy::Always {
                    self.disk.cut_power();
                } else {
                    self.disk.kill();
                }
                // The thread of the dead process is let go.
                self.stalling.stall(Stalled::default());
                hanging.join().unwrap();
                self.end();
                self.open();
            }
            Step::CutPower if self.sync == SyncPolicy::Always => {
                self.disk.cut_power();
                self.end();
                self.open();
            }
            Step::Kill | Step::CutPower => {
                self.disk.kill();
                self.end();
                self.open();
            }
            Step::Close => {
                self.journal().close();
                self.collect_answers();
                self.end();
                self.disk.kill();
                let settled: Vec<_> = self.streams.iter().map(|model| model.settled.clone()).collect();
                self.open();
                for (model, settled) in self.streams.iter().zip(settled) {
                    let back = settled.into_iter().find(|n| model.acknowledged.contains_key(n));
                    assert!(self.faulty || self.all_flips > 0 || back.is_none(), "{back:?} comes again");
                }
            }
            Step::Full(more) => {
                let used: u64 = self.disk.files().iter().map(|(_, length)| length).sum();
                self.disk.set_faults(DiskFaults { capacity: Some(used + more), ..DiskFaults::default() });
            }
            Step::ReadOnly => self.disk.set_faults(DiskFaults { read_only: true, ..DiskFaults::default() }),
            Step::FailSyncs(failing_syncs) => {
                self.disk.set_faults(DiskFaults { failing_syncs, ..DiskFaults::default() });
            }
            Step::FailWrites(failing_writes) => {
                self.disk.set_faults(DiskFaults { failing_writes, ..DiskFaults::default() });
            }
            Step::NamesStay => {
                self.disk.set_faults(DiskFaults { names_stay: true, ..DiskFaults::default() });
            }
            Step::Heal => {
                self.disk.set_faults(DiskFaults::default());
                self.faulty = false;
                self.journal().tend_once();
            }
            Step::Flip(segment, bit) => {
                self.disk.kill();
                self.end();
                let segments = segments(&self.disk);
                if !segments.is_empty() {
                    let name = &segments[usize::from(segment) % segments.len()];
                    let bits = self.disk.content(name).len() * 8;
                    self.disk.flip(name, bit as usize % bits);
                    self.flips += 1;
                    self.all_flips += 1;
                }
                self.open();
            }
            Step::LosePositions => {
                self.disk.kill();
                self.end();
                self.disk.lose("positions-a");
                self.disk.lose("positions-b");
                // Among what comes back is what was damaged when nobody needed it any more.
                self.flips = self.all_flips;
                self.open();
            }
        }
    }

    /// New streams come, and all that waits is written.
    fn come(&mut self, count: u64) {
        self.take(Step::Commit);
        let first = self.passing.len() as u64;
        let journal = self.journal.clone().unwrap();
        let answers = Arc::new(Mutex::new(Vec::new()));
        for n in first..first + count {
            let name = name_of_passing(n);
            let id = journal.stream(&key(&name));
            self.passing.insert(n, Passing { id: Some(id), end: Ended::Perhaps });
            let entries = [entry(nth(&name, 0, 40), 1)].into_iter().collect();
            let answers = answers.clone();
            let done = move |answer: Result<AssignedNumbers, NotWritten>| answers.lock().push((n, answer));
            journal.append(vec![StreamEntries { stream: id, entries }], Box::new(done));
        }
        while journal.commit_once() {}
        assert_eq!(answers.lock().len() as u64, count);
        for (n, answer) in answers.lock().drain(..) {
            let passing = self.passing.get_mut(&n).unwrap();
            passing.end = match answer {
                Ok(appended) => {
                    assert_eq!(appended.first[..], [0]);
                    Ended::Live
                }
                Err(NotWritten::Full) => Ended::Refused,
                Err(NotWritten::Disk(_)) => Ended::Perhaps,
                Err(other) => panic!("{other}"),
            };
            if passing.end != Ended::Live {
                journal.forget(passing.id.take().unwrap());
            }
        }
    }

    /// Streams that are there, the oldest first, are settled and forgotten.
    fn go(&mut self, part: u8) {
        let journal = self.journal.clone().unwrap();
        let there: Vec<_> = self.passing.values_mut().filter(|passing| passing.id.is_some()).collect();
        let count = (there.len() * (usize::from(part) + 1)).div_ceil(256);
        for passing in there.into_iter().take(count) {
            let id = passing.id.take().unwrap();
            journal.settle(id, 0..=0);
            journal.forget(id);
            // Until the positions are durable it comes again.
            passing.end = Ended::Perhaps;
        }
    }

    /// Has the next sync never answer, in a thread that writes what waits and looks after the files. Whoever asks nothing of
    /// the disk goes on meanwhile.
    fn hang_in_sync(&mut self) -> JoinHandle<()> {
        self.stalling.stall(Stalled { syncs: true, ..Stalled::default() });
        let journal = self.journal.clone().unwrap();
        let hanging = thread::spawn(move || {
            while journal.commit_once() {}
            journal.tend_once();
        });
        while self.stalling.waiting() == 0 && !hanging.is_finished() {
            thread::yield_now();
        }
        // What was answered by now holds.
        self.collect_answers();
        assert!(self.journal().unwritten().requests >= self.waiting.len() as u64);
        self.journal().room_for(1000);
        self.take(Step::Settle(0, 100));
        self.take(Step::Read(1, 10_000));
        hanging
    }

    /// When the disk is well again, everything is there, and when all of it is settled, the room is free again.
    fn finish(mut self) {
        self.disk.set_faults(DiskFaults::default());
        self.take(Step::Commit);
        self.take(Step::Kill);
        for stream in 0..STREAMS {
            self.take(Step::Settle(stream, 255));
            let live = self.live(stream);
            for n in &live {
                self.journal().settle(self.ids[stream], *n..=*n);
            }
        }
        self.go(255);
        (0..3).for_each(|_| self.journal().tend_once());
        assert!(self.journal().state().segments <= 3, "{:?}", self.journal().state());
        assert!(self.journal().room_for(1000).is_some());
        self.disk.kill();
        self.journal = None;
        let (_, recovery) = Journal::open_by_hand(settings(24), self.disk.process()).unwrap();
        assert_eq!(recovery.streams, []);
        assert_eq!(recovery.damage, []);
    }
}

fn live(seed: u64, sync: SyncPolicy, steps: Vec<Step>) {
    let mut world = World::new(seed, sync);
    for step in steps {
        world.take(step);
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_in_crashes(seed: u64, steps in prop::collection::vec(step(), 1..150)) {
        live(seed, SyncPolicy::Always, steps);
    }

    #[test]
    fn a_killed_process_loses_nothing_without_syncs(seed: u64, steps in prop::collection::vec(step(), 1..100)) {
        live(seed, SyncPolicy::Never, steps);
    }

    #[test]
    fn damage_costs_no_more_than_what_is_damaged(
        seed: u64,
        steps in prop::collection::vec(damaging_step(), 1..150),
    ) {
        live(seed, SyncPolicy::Always, steps);
    }
}
