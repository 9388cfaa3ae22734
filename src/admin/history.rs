//! `GET /api/v1/history`: how much came in, went out and waited, step by step over the last minutes and hours.
//!
//! One task samples the counters every [`STEP`] and adds a value for each figure to a ring; the steps of the last 15 minutes are kept
//! singly, those of the last 24 hours are merged, [`STEPS_TOGETHER`] into one. Rings are as long as they will ever be from the
//! start: 32 KiB for the whole and 14 KiB for each of [`EXPORTERS`] exporters at most. Of streams and tenants, of which there may be far more, a bounded
//! number has a history of the last 15 minutes: [`single`]. All are in memory alone, and begin anew with the process. A sample reads
//! some sixty counters and as many again for each exporter: a fifth of a millisecond with 100 exporters and 100 routes, in an
//! unoptimised build; and those of the streams and tenants that have a history.

mod rings;
mod single;
mod subjects;
mod wanted;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

pub(super) use self::wanted::{HistorySubject, WantedHistory, wanted};

use self::rings::{COARSE, FigureKind, Figures, HistoryRange, Rings, STEP, STEPS_TOGETHER};
use self::single::{SingleHistories, Subjects as _};
use self::subjects::{KnownTenants, LiveStreams};
use super::sample::{CounterSample, DeliveryTotals, per_second};
use super::stream_detail::WrittenName;
use crate::run::Router;
use crate::stream::StreamAddress;
use crate::utc::rfc3339;

/// The most exporters that have a history: the first ones of the configuration.
const EXPORTERS: usize = 100;

/// Samples that are kept whole, so that one of them is about ten seconds old.
const KEPT_SAMPLES: usize = 3;

/// The time over which the rates of the overview are computed.
const RATES_OVER: Duration = Duration::from_secs(10);

const OF_WHOLE: Figures<9> = [
    ("received_records", FigureKind::Rate),
    ("received_bytes", FigureKind::Rate),
    ("received_requests", FigureKind::Rate),
    ("exported_records", FigureKind::Rate),
    ("not_delivered_records", FigureKind::Rate),
    ("pending_bytes", FigureKind::Level),
    ("memory_bytes", FigureKind::Level),
    ("journal_bytes", FigureKind::Level),
    ("failed_attempts", FigureKind::Rate),
];

/// The figures of an exporter, a stream or a tenant.
const OF_DELIVERY: Figures<4> = [
    ("exported_records", FigureKind::Rate),
    ("pending_bytes", FigureKind::Level),
    ("failed_attempts", FigureKind::Rate),
    ("not_delivered_records", FigureKind::Rate),
];

/// The figures of the last minutes and hours, step by step.
#[derive(Debug)]
pub struct MetricHistory {
    /// When the history began, which is when the admin listener came up.
    pub(super) began: SystemTime,
    state: Mutex<HistoryState>,
    streams: Mutex<SingleHistories<StreamAddress>>,
    tenants: Mutex<SingleHistories<Arc<str>>>,
}

/// The time between two samples of the counters.
#[derive(Clone, Copy, Debug)]
struct HistoryStep {
    began: SystemTime,
    ended: SystemTime,
    seconds: f64,
    /// Steps before it that had their time while the process did not run.
    missed: u64,
}

#[derive(Debug)]
struct HistoryState {
    whole: Rings<{ OF_WHOLE.len() }>,
    exporters: BTreeMap<Arc<str>, Rings<{ OF_DELIVERY.len() }>>,
    /// The newest last.
    samples: VecDeque<CounterSample>,
    /// Steps so far, and when the last one ended.
    steps: u64,
    last_step: SystemTime,
}

impl MetricHistory {
    fn new() -> Self {
        let began = SystemTime::now();
        let state = HistoryState {
            whole: Rings::new(&OF_WHOLE),
            exporters: BTreeMap::new(),
            samples: VecDeque::with_capacity(KEPT_SAMPLES),
            steps: 0,
            last_step: began,
        };
        let (streams, tenants) = (SingleHistories::new(began), SingleHistories::new(began));
        Self { began, state: Mutex::new(state), streams: Mutex::new(streams), tenants: Mutex::new(tenants) }
    }

    /// Begins the history of a router, which goes on for as long as the router exists. What is counted from now on is in its steps.
    pub fn begin(router: &Arc<Router>) -> Arc<Self> {
        let history = Arc::new(Self::new());
        // What comes before the first sample is in no step: so that sample is taken at once.
        history.look(router);
        let router: Weak<Router> = Arc::downgrade(router);
        tokio::spawn({
            let history = history.clone();
            async move {
                let look = || router.upgrade().map(|router| history.look(&router));
                keep_looking(look).await;
            }
        });
        history
    }

    /// Adds the present counts.
    fn look(&self, router: &Router) {
        let step = self.state.lock().add(CounterSample::of(router), SystemTime::now());
        let failing = router.shared().newly_failing.take();
        let tenants: HashSet<Arc<str>> =
            failing.iter().filter_map(|stream| stream.name.key.tenant().map(Arc::from)).collect();
        let exporters = router.exporters();
        self.streams.lock().add(&step, &LiveStreams::of(&exporters), failing.into_iter());
        self.tenants.lock().add(&step, &KnownTenants(router.tenants()), tenants.into_iter());
    }

    /// The history of the stream of this name, which is kept from now on; `None` if there is no such stream. May read all streams of
    /// the exporter.
    pub(super) fn of_stream(&self, router: &Router, name: &WrittenName) -> Result<Option<Value>, String> {
        let Some(id) = name.find(router)? else { return Ok(None) };
        let past = || router.shared().past.get(&id.exporter, &id.name).as_ref().map(DeliveryTotals::of_past);
        let exporters = router.exporters();
        let streams = LiveStreams::of(&exporters);
        let gone = streams.totals(&id).is_none().then(|| past().unwrap_or_default());
        Ok(Some(self.streams.lock().look_at(&id, &streams, gone)))
    }

    /// The history of the tenant of this id, which is kept from now on; `None` if there is no such tenant.
    pub(super) fn of_tenant(&self, router: &Router, id: &str) -> Option<Value> {
        let (tenants, id) = (KnownTenants(router.tenants()), id.into());
        let is_known = tenants.totals(&id).is_some();
        if !is_known && router.tenants().table().tenant(&id).is_none() {
            return None;
        }
        let gone = (!is_known).then(DeliveryTotals::default);
        Some(self.tenants.lock().look_at(&id, &tenants, gone))
    }

    /// What was counted about ten seconds ago, or when the process began if that is not so long ago.
    pub(super) fn sample_before(&self, now: Instant) -> Option<CounterSample> {
        let state = self.state.lock();
        let distance =
            |sample: &&CounterSample| now.saturating_duration_since(sample.at).abs_diff(RATES_OVER);
        state.samples.iter().min_by_key(distance).cloned()
    }

    /// The history of all data together.
    pub(super) fn of_whole(&self, range: HistoryRange) -> Value {
        let state = self.state.lock();
        state.shown(range, &state.whole.shown(range))
    }

    /// The history of an exporter, or why there is none.
    pub(super) fn of_exporter(&self, name: &str, range: HistoryRange) -> Result<Value, String> {
        let state = self.state.lock();
        let rings = state.exporters.get(name).ok_or_else(|| {
            format!(
                "there is no history of an exporter of this name: it is not there, came within the last {} s, or is none of the first \
                 {EXPORTERS}",
                STEP.as_secs()
            )
        })?;
        Ok(state.shown(range, &rings.shown(range)))
    }
}

/// Samples at the end of each step, of which the first begins now, until the history is dropped.
async fn keep_looking(mut look: impl FnMut() -> Option<()>) {
    let mut ticks = interval_at(Instant::now() + STEP, STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if look().is_none() {
            return;
        }
    }
}
impl HistoryState {
    /// Adds the counts at the end of a step, which is now.
    fn add(&mut self, sample: CounterSample, now: SystemTime) -> HistoryStep {
        let is_there = |name: &Arc<str>| sample.exporter(name).is_some();
        self.exporters.retain(|name, _| is_there(name));
        for (name, _) in &sample.exporters {
            if self.exporters.len() == EXPORTERS {
                break;
            }
            self.exporters.entry(name.clone()).or_insert_with(|| Rings::new(&OF_DELIVERY));
        }
        let Some(before) = self.samples.pop_back() else {
            // There is no step before the first look.
            self.last_step = now;
            self.keep_sample(sample);
            return HistoryStep { began: now, ended: now, seconds: 0.0, missed: 0 };
        };
        let passed = sample.at.saturating_duration_since(before.at);
        // A process that did not run has missed steps.
        let missed = (passed.as_secs_f64() / STEP.as_secs_f64()).round().max(1.0) as u64 - 1;
        for _ in 0..missed.min(STEPS_TOGETHER * COARSE as u64) {
            self.step(&|| [f32::NAN; OF_WHOLE.len()], &|_| [f32::NAN; OF_DELIVERY.len()]);
        }
        let seconds = passed.as_secs_f64();
        let of_exporter = |name: &Arc<str>| {
            let Some(now) = sample.exporter(name) else { return [f32::NAN; OF_DELIVERY.len()] };
            // One that was not there before, or was another of its name, has counted from zero.
            let before = now.counted_from(before.exporter(name).unwrap_or_default());
            delivery_values(now, before, seconds)
        };
        self.step(&|| values_of_whole(&sample, &before, seconds), &of_exporter);
        let step = HistoryStep { began: self.last_step, ended: now, seconds, missed };
        self.last_step = now;
        self.keep_sample(before);
        self.keep_sample(sample);
        step
    }

    fn step(
        &mut self,
        of_whole: &dyn Fn() -> [f32; OF_WHOLE.len()],
        of_exporter: &dyn Fn(&Arc<str>) -> [f32; OF_DELIVERY.len()],
    ) {
        self.steps += 1;
        let ends_longer = self.steps.is_multiple_of(STEPS_TOGETHER);
        self.whole.add(of_whole(), ends_longer);
        for (name, rings) in &mut self.exporters {
            rings.add(of_exporter(name), ends_longer);
        }
    }

    fn shown(&self, range: HistoryRange, series: &Value) -> Value {
        // Of the longer step that goes on there is nothing yet.
        let open = if range == HistoryRange::Day { (self.steps % STEPS_TOGETHER) as u32 } else { 0 };
        json!({
            "range": range.name(),
            "step_seconds": range.step().as_secs(),
            "from": rfc3339(self.last_step - STEP * open - range.length()),
            "series": series,
        })
    }

    fn keep_sample(&mut self, sample: CounterSample) {
        if self.samples.len() == KEPT_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

fn values_of_whole(now: &CounterSample, before: &CounterSample, seconds: f64) -> [f32; OF_WHOLE.len()] {
    let rate = |of: &dyn Fn(&CounterSample) -> u64| per_second(of(now), of(before), seconds) as f32;
    [
        rate(&|sample| sample.received.iter().map(|received| received.records).sum()),
        rate(&|sample| sample.received.iter().map(|received| received.bytes).sum()),
        rate(&|sample| sample.received.iter().map(|received| received.requests).sum()),
        rate(&|sample| sample.exported.iter().sum()),
        rate(&|sample| sample.not_delivered.ended()),
        now.pending_bytes as f32,
        now.memory as f32,
        now.journal.map_or(f32::NAN, |bytes| bytes as f32),
        rate(&|sample| sample.failed_attempts),
    ]
}

fn delivery_values(now: DeliveryTotals, before: DeliveryTotals, seconds: f64) -> [f32; OF_DELIVERY.len()] {
    let rate = |of: &dyn Fn(&DeliveryTotals) -> u64| per_second(of(&now), of(&before), seconds) as f32;
    [
        rate(&|totals| totals.exported_records),
        now.pending_bytes as f32,
        rate(&|totals| totals.failed_attempts),
        rate(&|totals| totals.not_delivered_records),
    ]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::rings::FINE;
    use super::*;
    use crate::admin::sample::NotDelivered;

    fn sample(at: Instant) -> CounterSample {
        CounterSample {
            at,
            received: Default::default(),
            exported: [0; 3],
            not_delivered: NotDelivered::default(),
            pending_records: 0,
            pending_bytes: 0,
            failed_attempts: 0,
            memory: 0,
            journal: None,
            exporters: Vec::new(),
            flow: BTreeMap::new(),
            not_taken: BTreeMap::new(),
        }
    }

    fn shown(history: &MetricHistory, query: &str) -> Value {
        let WantedHistory { subject, range } = wanted(query).unwrap();
        match subject {
            HistorySubject::Exporter(name) => history.of_exporter(&name, range).unwrap(),
            _ => history.of_whole(range),
        }
    }

    /// The last values of a figure.
    fn last(shown: &Value, figure: &str, count: usize) -> Vec<Value> {
        let values = shown["series"][figure].as_array().unwrap();
        values[values.len() - count..].to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_is_added_every_five_seconds_and_a_longer_one_of_all_that_two_minutes_had() {
        let (history, looks) = (MetricHistory::new(), Cell::new(0));
        let look = || {
            looks.set(looks.get() + 1);
            let count = looks.get();
            let mut sample = sample(Instant::now());
            // Ten a second, and two hundred in the last five seconds of each two minutes.
            sample.exported[1] = (count - 1) * 50 + (count - 1) / STEPS_TOGETHER * 150;
            sample.pending_bytes = if count == 7 { 900 } else { 100 };
            (count <= 2 * STEPS_TOGETHER + 4).then_some(sample)
        };
        let begun = Instant::now();
        let add = |sample| _ = history.state.lock().add(sample, SystemTime::now());
        look().map(add).unwrap();
        keep_looking(|| look().map(add)).await;
        assert_eq!(begun.elapsed(), STEP * (2 * STEPS_TOGETHER as u32 + 4));
        let fine = shown(&history, "range=15m");
        assert_eq!((&fine["range"], &fine["step_seconds"]), (&json!("15m"), &json!(5)));
        assert_eq!(last(&fine, "exported_records", 5), [10.0, 40.0, 10.0, 10.0, 10.0].map(Value::from));
        assert_eq!(last(&fine, "journal_bytes", 1), [Value::Null]);
        let values = fine["series"]["pending_bytes"].as_array().unwrap();
        let known = values.iter().filter(|value| !value.is_null()).count();
        assert_eq!((values.len(), known), (FINE, 2 * STEPS_TOGETHER as usize + 3));

        let coarse = shown(&history, "range=24h");
        assert_eq!((&coarse["range"], &coarse["step_seconds"]), (&json!("24h"), &json!(120)));
        assert_eq!(last(&coarse, "exported_records", 3), [Value::Null, json!(11.25), json!(11.25)]);
        assert_eq!(last(&coarse, "pending_bytes", 2), [json!(900.0), json!(100.0)], "the most of each");
        assert_eq!(coarse["series"]["pending_bytes"].as_array().unwrap().len(), COARSE);
        // The longer steps have ended fifteen seconds before the last short one.
        let seconds = |shown: &Value| {
            let from = shown["from"].as_str().unwrap();
            time::OffsetDateTime::parse(from, &time::format_description::well_known::Rfc3339)
                .unwrap()
                .unix_timestamp()
        };
        let (fine_from, coarse_from) = (seconds(&fine), seconds(&coarse));
        let expected = (FINE as i64 * 5 - COARSE as i64 * 120) - 15;
        assert!((coarse_from - fine_from - expected).abs() <= 1, "{fine_from} {coarse_from}");
    }

    #[tokio::test(start_paused = true)]
    async fn rings_are_as_long_as_they_are_and_forget_what_is_older() {
        let history = MetricHistory::new();
        for _ in 0..=STEPS_TOGETHER * (COARSE as u64 + 10) {
            history.state.lock().add(sample(Instant::now()), SystemTime::now());
            tokio::time::advance(STEP).await;
        }
        for (query, len) in [("range=15m", FINE), ("range=24h", COARSE)] {
            let shown = shown(&history, query);
            let values = shown["series"]["memory_bytes"].as_array().unwrap();
            assert_eq!(
                (values.len(), values.iter().filter(|value| value.is_null()).count()),
                (len, 0),
                "{query}"
            );
        }
        assert_eq!(history.state.lock().samples.len(), KEPT_SAMPLES);
    }

    #[tokio::test(start_paused = true)]
    async fn of_steps_in_which_the_process_did_not_run_nothing_is_known() {
        let history = MetricHistory::new();
        let mut second = sample(Instant::now() + 4 * STEP);
        history.state.lock().add(sample(Instant::now()), SystemTime::now());
        second.exported[0] = 100;
        history.state.lock().add(second, SystemTime::now());
        let fine = shown(&history, "");
        assert_eq!(last(&fine, "exported_records", 4), [Value::Null, Value::Null, Value::Null, json!(5.0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_hundred_exporters_have_a_history_each_for_as_long_as_they_are_there() {
        let history = MetricHistory::new();
        let totals = |exported| DeliveryTotals {
            exported_records: exported,
            pending_bytes: 7,
            ..DeliveryTotals::default()
        };
        let of_exporters = |count: usize, exported: u64| {
            let mut sample = sample(Instant::now());
            sample.exporters =
                (0..count).map(|number| (number.to_string().into(), totals(exported))).collect();
            sample
        };
        for exported in [0, 50, 100] {
            history.state.lock().add(of_exporters(EXPORTERS + 5, exported), SystemTime::now());
            tokio::time::advance(STEP).await;
        }
        let of_first = shown(&history, "exporter=0");
        assert_eq!(last(&of_first, "exported_records", 3), [Value::Null, json!(10.0), json!(10.0)]);
        assert_eq!(of_first["series"].as_object().unwrap().len(), 4);
        let none = |name: &str| history.of_exporter(name, HistoryRange::Minutes).is_err();
        assert!(none("104") && none("nobody") && !none("99"));
        history.state.lock().add(of_exporters(1, 100), SystemTime::now());
        assert!(none("99") && !none("0"));
        // One that was not there before has counted from zero, as one does that comes again.
        for (count, exported) in [(2, 100), (2, 150), (1, 150), (2, 25)] {
            tokio::time::advance(STEP).await;
            history.state.lock().add(of_exporters(count, exported), SystemTime::now());
        }
        assert_eq!(last(&shown(&history, "exporter=1"), "exported_records", 2), [Value::Null, json!(5.0)]);
        assert_eq!(
            last(&shown(&history, "exporter=0"), "exported_records", 4),
            [0.0, 10.0, 0.0, 5.0].map(|rate| json!(rate))
        );
    }

    #[test]
    fn a_history_takes_as_much_memory_as_is_said() {
        let bytes = |figures: usize| (FINE + COARSE) * figures * size_of::<f32>();
        assert!(bytes(OF_WHOLE.len()) <= 32 << 10, "{}", bytes(OF_WHOLE.len()));
        assert!(bytes(OF_DELIVERY.len()) <= 15 << 10, "{}", bytes(OF_DELIVERY.len()));
    }

    #[tokio::test(start_paused = true)]
    async fn rates_go_over_ten_seconds_or_what_there_is() {
        let history = MetricHistory::new();
        assert!(history.sample_before(Instant::now()).is_none());
        let began = Instant::now();
        for _ in 0..4 {
            history.state.lock().add(sample(Instant::now()), SystemTime::now());
            tokio::time::advance(STEP).await;
        }
        // Looks were made after 5, 10 and 15 s, and the one at the beginning is kept no more.
        let before =
            |seconds: u64| history.sample_before(began + Duration::from_secs(seconds)).unwrap().at - began;
        assert_eq!([16, 19, 22].map(before), [5, 10, 10].map(Duration::from_secs));
    }
}
