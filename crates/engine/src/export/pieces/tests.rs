//! Receipts, halving and withdrawal together, in any order: what each request learns, what is sent, what is left.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use parking_lot::Mutex;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::stream::{
    Admission, BatchSettings, Budget, EngineState, InFlight, Loss, Outlet, Placement, QueueSettings, Receipt,
    Registry, Stream, StreamCount, StreamName, WhenFull,
};
use otlp::Signal;

const KEYS: [&str; 3] = ["a", "b", "c"];

/// What happens next. Positions are taken modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    /// A request comes: for each entry its stream and records. Whether it waits until it is settled.
    Admit(Vec<(usize, u64)>, bool),
    /// A consumer takes a batch.
    Take(usize),
    /// The upstream refuses the next piece of a batch as bad.
    Halve(usize),
    /// The upstream ends the next piece of a batch, and takes this part of it, in percent.
    Send(usize, u64),
    /// The upstream takes a record before its turn, or does not take it.
    Sample(usize, usize, bool),
    /// A consumer takes what waits behind its batch into it, as far as it then has no more than so many bytes.
    Join(usize, usize),
    /// A consumer looks between two attempts what was withdrawn.
    Look(usize),
    /// A sender goes.
    Leave(usize),
    /// A consumer is gone with its batch.
    Break(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entries = || vec((0..KEYS.len(), 1..6_u64), 1..4);
    vec(
        prop_oneof![
            6 => (entries(), prop::bool::weighted(0.8)).prop_map(|(entries, waits)| Step::Admit(entries, waits)),
            3 => (0..9_usize).prop_map(Step::Take),
            3 => (0..9_usize).prop_map(Step::Halve),
            4 => (0..9_usize, prop_oneof![Just(100), 0..100_u64]).prop_map(|(at, part)| Step::Send(at, part)),
            2 => (0..9_usize, 0..99_usize, any::<bool>()).prop_map(|(at, record, taken)| Step::Sample(at, record, taken)),
            2 => (0..9_usize, 0..1000_usize).prop_map(|(at, most)| Step::Join(at, most)),
            2 => (0..9_usize).prop_map(Step::Look),
            3 => (0..99_usize).prop_map(Step::Leave),
            1 => (0..9_usize).prop_map(Step::Break),
        ],
        0..60,
    )
}

#[derive(Clone, Debug, Default)]
struct Consumers {
    ready: Arc<Mutex<Vec<Arc<Stream>>>>,
    withdrawn: Arc<AtomicU64>,
}

impl Outlet<Stream> for Consumers {
    fn check(&self, _: &StreamName) -> Result<(), String> {
        Ok(())
    }

    fn start(&self, stream: Arc<Stream>) {
        self.ready.lock().push(stream);
    }

    fn count_lost(&self, _: &StreamName, _: u64) {}

    fn count_withdrawn(&self, _: &StreamName, records: u64) {
        self.withdrawn.fetch_add(records, Ordering::Relaxed);
    }
}

/// One exporter and those who send to it.
struct World {
    shared: Arc<EngineState>,
    registry: Arc<Registry>,
    consumers: Consumers,
    sending: Vec<(Arc<Stream>, Pieces)>,
    /// Senders that wait, each with the texts of its records.
    waiting: Vec<(Receipt, Vec<String>)>,
    /// Texts of those that don't wait any more.
    gone: HashSet<String>,
    /// Texts by stream, as they were admitted and as they were sent.
    admitted: BTreeMap<&'static str, Vec<String>>,
    sent: BTreeMap<String, Vec<String>>,
    ended: HashSet<String>,
    delivered: u64,
    lost: u64,
    /// Whether all losses are told to somebody, and exactly.
    exact: bool,
    /// Whether a consumer has gone: of an entry that it had sent in part, all is told to be lost.
    broken: bool,
}

fn texts(batch: &Batch) -> Vec<String> {
    let request = ExportLogsServiceRequest::decode(batch.to_bytes()).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|entry| entry.scope_logs);
    let bodies = scopes.flat_map(|scope| scope.log_records).map(|record| record.body.unwrap().value.unwrap());
    let text = |value| match value {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    };
    bodies.map(text).collect()
}

fn entry(texts: &[String]) -> Vec<u8> {
    let record = |text: &String| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue(text.clone())) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: texts.iter().map(record).collect(), ..ScopeLogs::default() };
    ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }.encode_to_vec()
}

impl World {
    fn new() -> Self {
        let settings = QueueSettings {
            enabled: true,
            num_consumers: 1,
            queue_bytes: 1 << 20,
            queue_requests: Some(1000),
            when_full: WhenFull::Refuse,
            // Entries of more than three records are split.
            batch: BatchSettings { flush_timeout: Duration::ZERO, min_size: 100, max_size: 120 },
        };
        let shared =
            Arc::new(EngineState::new(Arc::new(Budget::new(1 << 20)), Arc::new(StreamCount::new(10)), None));
        let registry = Arc::new(Registry::new("up".into(), settings, shared.clone()));
        let consumers = Consumers::default();
        registry.attach(Box::new(consumers.clone()));
        Self {
            shared,
            registry,
            consumers,
            sending: Vec::new(),
            waiting: Vec::new(),
            gone: HashSet::new(),
            admitted: BTreeMap::new(),
            sent: BTreeMap::new(),
            ended: HashSet::new(),
            delivered: 0,
            lost: 0,
            exact: true,
            broken: false,
        }
    }

    fn admit(&mut self, request: usize, entries: &[(usize, u64)], waits: bool) {
        let budget = self.shared.budget.clone();
        let mut all = Vec::new();
        let entries: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(index, (key, records))| {
                let texts: Vec<_> =
                    (0..*records).map(|record| format!("{request:03}.{index}.{record:04}")).collect();
                self.admitted.entry(KEYS[*key]).or_default().extend(texts.clone());
                all.extend(texts.clone());
                (KEYS[*key], entry(&texts), *records)
            })
            .collect();
        let mut admission = Admission::new(Signal::Logs, Reservation::empty(budget), 10);
        for (index, (key, entry, records)) in entries.iter().enumerate() {
            let at = Placement { registry: &self.registry, key, route: None };
            admission.place(index, &Cow::Borrowed(&entry[..]), *records, &at).unwrap();
        }
        if waits {
            let (_, receipt) = admission.commit_with_receipt(true).unwrap();
            self.waiting.push((receipt, all));
        } else {
            admission.commit().unwrap();
            self.exact = false;
        }
    }

    fn take(&mut self, at: usize) {
        let stream = {
            let mut ready = self.consumers.ready.lock();
            if ready.is_empty() {
                return;
            }
            let at = at % ready.len();
            ready.swap_remove(at)
        };
        if let Some(in_flight) = InFlight::take(&stream) {
            let copies = Reservation::empty(self.shared.budget.clone());
            self.sending.push((stream, Pieces::of(in_flight, copies)));
        }
    }

    fn look(&mut self, at: usize) {
        let records = self.sending[at].1.withdraw();
        self.consumers.withdrawn.fetch_add(records, Ordering::Relaxed);
        self.put_back_if_over(at);
    }

    /// One attempt, before which a consumer always looks.
    fn send(&mut self, at: usize, part: u64) {
        let records = self.sending[at].1.withdraw();
        self.consumers.withdrawn.fetch_add(records, Ordering::Relaxed);
        let (stream, pieces) = &mut self.sending[at];
        if let Some(piece) = pieces.next().cloned() {
            let texts = texts(&piece);
            assert_eq!(texts.len() as u64, piece.records());
            assert!(
                pieces.halved || texts.iter().all(|text| !self.gone.contains(text)),
                "what was withdrawn is sent: {texts:?}"
            );
            let taken = piece.records() * part / 100;
            let lost = piece.records() - taken;
            self.delivered += taken;
            self.lost += lost;
            self.ended.extend(texts.clone());
            self.sent.entry(stream.name().key.to_string()).or_default().extend(texts);
            pieces.end((lost, Fate::DeadLettered), if lost > 0 { "refused" } else { "" });
        }
        self.put_back_if_over(at);
    }

    /// A record that leaves before its turn changes nothing for the others, and is there once more when its turn comes.
    fn sample(&mut self, at: usize, record: usize, taken: bool) {
        let pieces = &mut self.sending[at].1;
        let all: Vec<String> = pieces.iter().flat_map(texts).collect();
        let records = pieces.records();
        assert_eq!(all.len() as u64, records);
        if records == 0 {
            return;
        }
        let record = record % all.len();
        pieces.try_sample(record as u64);
        assert_eq!(pieces.next().map(texts), Some(vec![all[record].clone()]));
        if taken {
            pieces.sample_taken(UpstreamWord { rejected: 0, remark: String::new() });
        } else {
            pieces.end_sample();
        }
        assert!(!pieces.has_sample());
        assert_eq!(pieces.iter().flat_map(texts).collect::<Vec<_>>(), all);
        assert!(!taken || pieces.iter().any(|piece| texts(piece) == all[record..=record]));
    }

    fn join(&mut self, at: usize, most: usize) {
        let (stream, pieces) = &mut self.sending[at];
        let before: Vec<String> = pieces.iter().flat_map(texts).collect();
        let bytes = pieces.iter().map(Batch::len).sum::<usize>();
        let is_waited_for = stream.is_waited_for();
        pieces.join_waiting(most);
        let after: Vec<String> = pieces.iter().flat_map(texts).collect();
        assert!(after.starts_with(&before) && (after == before || !is_waited_for));
        assert!(pieces.iter().map(Batch::len).sum::<usize>() <= bytes.max(most));
    }

    fn put_back_if_over(&mut self, at: usize) {
        if self.sending[at].1.is_empty() {
            let (stream, pieces) = self.sending.swap_remove(at);
            drop(pieces);
            self.consumers.ready.lock().push(stream);
        }
    }

    fn leave(&mut self, at: usize) {
        let (receipt, texts) = self.waiting.swap_remove(at % self.waiting.len());
        self.gone.extend(texts.into_iter().filter(|text| !self.ended.contains(text)));
        // What it has been told is not known any more.
        self.exact = false;
        drop(receipt);
    }

    fn break_off(&mut self, at: usize) {
        self.look(at);
        if self.sending.len() <= at {
            return;
        }
        let (stream, pieces) = self.sending.swap_remove(at);
        for piece in pieces.iter() {
            self.lost += piece.records();
            self.ended.extend(texts(piece));
        }
        drop(pieces);
        self.consumers.ready.lock().push(stream);
        (self.exact, self.broken) = (false, true);
    }

    fn step(&mut self, number: usize, step: &Step) {
        let some = |at: usize| at % self.sending.len().max(1);
        match step {
            Step::Admit(entries, waits) => self.admit(number, entries, *waits),
            Step::Take(at) => self.take(*at),
            Step::Leave(at) if !self.waiting.is_empty() => self.leave(*at),
            _ if self.sending.is_empty() => {}
            Step::Halve(at) => {
                let at = some(*at);
                self.sending[at].1.halve();
            }
            Step::Sample(at, record, taken) => {
                let at = some(*at);
                self.sample(at, *record, *taken);
            }
            Step::Send(at, part) => {
                let at = some(*at);
                self.send(at, *part);
            }
            Step::Join(at, most) => {
                let at = some(*at);
                self.join(at, *most);
            }
            Step::Look(at) => {
                let at = some(*at);
                self.look(at);
            }
            Step::Break(at) => {
                let at = some(*at);
                self.break_off(at);
            }
            Step::Leave(_) => {}
        }
        for (receipt, texts) in &self.waiting {
            let over = texts.iter().all(|text| self.ended.contains(text));
            assert_eq!(receipt.is_settled(), over, "{texts:?}");
        }
    }

    /// Sends the rest, and checks what has come of it all.
    async fn finish(mut self) {
        loop {
            if !self.sending.is_empty() {
                self.send(0, 100);
            } else if self.consumers.ready.lock().is_empty() {
                break;
            } else {
                self.take(0);
            }
        }
        let mut told = 0;
        for (receipt, texts) in &self.waiting {
            let losses: Vec<Loss> = receipt.settled().await.expect("nothing is given up for want of time");
            let records: u64 = losses.iter().map(|loss| loss.records).sum();
            assert!(self.broken || records <= texts.len() as u64, "{losses:?}");
            told += records;
        }
        if self.exact {
            assert_eq!(told, self.lost);
        }
        let withdrawn = self.consumers.withdrawn.load(Ordering::Relaxed);
        let routed = self.registry.routed_records(Signal::Logs);
        assert_eq!(routed, self.delivered + self.lost + withdrawn, "records are conserved");
        assert_eq!((self.registry.pending_records(), self.registry.pending_bytes()), (0, 0));
        self.waiting.clear();
        assert_eq!(self.shared.budget.used(), 0, "all memory was given back");
        self.registry.for_each(|stream| {
            let state = stream.state();
            assert_eq!((state.pending_bytes, state.in_flight, state.waiting_batches), (0, 0, 0));
        });
        for (key, admitted) in &self.admitted {
            let sent = self.sent.remove(*key).unwrap_or_default();
            let expected: Vec<_> = admitted.iter().filter(|text| sent.contains(text)).cloned().collect();
            assert_eq!(sent, expected, "once each, in the order of their admission");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_receipt_ends_once_and_nothing_is_lost_or_reordered(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for (number, step) in steps.iter().enumerate() {
                world.step(number, step);
            }
            world.finish().await;
        });
    }
}
