//! `GET /api/v1/history`: how much came in, went out and waited, step by step over the last minutes and hours.
//!
//! One task looks at the counters every [`STEP`] and adds a value for each figure to a ring; the steps of the last 15 minutes are kept
//! as they are, those of the last 24 hours as [`STEPS_TOGETHER`] of them together. Rings are as long as they will ever be from the
//! start: 32 KiB for the whole and 14 KiB for each of [`EXPORTERS`] exporters at most. They are in memory alone, and begin anew with the
//! process. A look reads some sixty counters and as many again for each exporter: a fifth of a millisecond with 100 exporters and 100 routes,
//! in an unoptimised build.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::query;
use super::sample::{CounterSample, ExporterTotals, per_second};
use crate::export::rfc3339;
use crate::rounded::rounded;
use crate::run::Router;

/// How often the counters are looked at.
const STEP: Duration = Duration::from_secs(5);

/// Steps that are kept as they are: 15 minutes.
const FINE: usize = 180;

/// So many of them are one of the longer steps, of two minutes.
const STEPS_TOGETHER: u64 = 24;

/// Longer steps that are kept: 24 hours.
const COARSE: usize = 720;

/// Exporters of which there is a history: those that come first in the configuration.
const EXPORTERS: usize = 100;

/// Looks that are kept as a whole, so that one of them is from about ten seconds ago.
const KEPT_SAMPLES: usize = 3;

/// Over about so long the overview's rates go.
const RATES_OVER: Duration = Duration::from_secs(10);

/// How the values of several steps make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FigureKind {
    /// How much a second: by their mean.
    Rate,
    /// How much there is: by the most.
    Level,
}

const OF_WHOLE: [(&str, FigureKind); 9] = [
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

const OF_EXPORTER: [(&str, FigureKind); 4] = [
    ("exported_records", FigureKind::Rate),
    ("pending_bytes", FigureKind::Level),
    ("failed_attempts", FigureKind::Rate),
    ("not_delivered_records", FigureKind::Rate),
];

/// How things were, step by step.
#[derive(Debug)]
pub struct MetricHistory {
    /// When it began, which is when the admin listener came up.
    pub(super) began: SystemTime,
    state: Mutex<HistoryState>,
}

#[derive(Debug)]
struct HistoryState {
    whole: Rings<{ OF_WHOLE.len() }>,
    exporters: BTreeMap<Arc<str>, Rings<{ OF_EXPORTER.len() }>>,
    /// The newest last.
    samples: VecDeque<CounterSample>,
    /// Steps so far, and when the last one ended.
    steps: u64,
    last_step: SystemTime,
}

/// The values of some figures.
#[derive(Debug)]
struct Rings<const N: usize> {
    figures: &'static [(&'static str, FigureKind); N],
    fine: Ring<N>,
    coarse: Ring<N>,
    /// Of the longer step that has not ended: sum or most, and of how many values.
    open: [(f32, u16); N],
}

/// The last values of some figures; what is not known is not a number.
#[derive(Debug)]
struct Ring<const N: usize> {
    steps: Box<[[f32; N]]>,
    /// Where the oldest one is, and the next goes.
    next: usize,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct WantedHistory {
    range: HistoryRange,
    exporter: Option<String>,
}

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HistoryRange {
    Minutes,
    Day,
}

/// Reads the query.
pub(super) fn wanted(text: &str) -> Result<WantedHistory, String> {
    let mut wanted = WantedHistory { range: HistoryRange::Minutes, exporter: None };
    for (name, value) in query::parameters(text) {
        match (name, value.as_str()) {
            ("range", "15m") => wanted.range = HistoryRange::Minutes,
            ("range", "24h") => wanted.range = HistoryRange::Day,
            ("range", _) => return Err(format!("`range` is one of 15m, 24h, not `{value}`")),
            ("exporter", _) => wanted.exporter = Some(value),
            _ => return Err(format!("unknown parameter `{name}`: there are range and exporter")),
        }
    }
    Ok(wanted)
}

impl HistoryRange {
    const fn name(self) -> &'static str {
        match self {
            Self::Minutes => "15m",
            Self::Day => "24h",
        }
    }

    fn step(self) -> Duration {
        match self {
            Self::Minutes => STEP,
            Self::Day => STEP * STEPS_TOGETHER as u32,
        }
    }

    const fn steps(self) -> usize {
        match self {
            Self::Minutes => FINE,
            Self::Day => COARSE,
        }
    }
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
        Self { began, state: Mutex::new(state) }
    }

    /// Begins the history of a router, which goes on for as long as that is there.
    pub fn begin(router: &Arc<Router>) -> Arc<Self> {
        let (history, router): (_, Weak<Router>) = (Arc::new(Self::new()), Arc::downgrade(router));
        tokio::spawn({
            let history = history.clone();
            async move { history.keep(|| router.upgrade().map(|router| CounterSample::of(&router))).await }
        });
        history
    }

    /// Adds a step whenever it is time, until there is nothing to look at any more.
    async fn keep(&self, mut look: impl FnMut() -> Option<CounterSample>) {
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let Some(sample) = look() else { return };
            self.state.lock().add(sample, SystemTime::now());
        }
    }

    /// What was counted about ten seconds ago, or when the process began if that is not so long ago.
    pub(super) fn sample_before(&self, now: Instant) -> Option<CounterSample> {
        let state = self.state.lock();
        let distance =
            |sample: &&CounterSample| now.saturating_duration_since(sample.at).abs_diff(RATES_OVER);
        state.samples.iter().min_by_key(distance).cloned()
    }

    /// What is asked for, unless it is of an exporter of which there is no history, and why.
    pub(super) fn shown(&self, wanted: &WantedHistory) -> Result<Value, String> {
        let state = self.state.lock();
        let range = wanted.range;
        let series = match &wanted.exporter {
            None => state.whole.shown(range),
            Some(name) => {
                let rings = state.exporters.get(name.as_str()).ok_or_else(|| {
                    format!(
                        "there is no history of an exporter of this name: it is not there, came within the last {} s, or is none of \
                         the first {EXPORTERS}",
                        STEP.as_secs()
                    )
                })?;
                rings.shown(range)
            }
        };
        // Of the longer step that goes on there is nothing yet.
        let open = if range == HistoryRange::Day { (state.steps % STEPS_TOGETHER) as u32 } else { 0 };
        let from = state.last_step - STEP * open - range.step() * range.steps() as u32;
        Ok(json!({
            "range": range.name(),
            "step_seconds": range.step().as_secs(),
            "from": rfc3339(from),
            "series": series,
        }))
    }
}

impl HistoryState {
    /// Adds what was counted by the end of a step, which is now.
    fn add(&mut self, sample: CounterSample, now: SystemTime) {
        let is_there = |name: &Arc<str>| sample.exporter(name).is_some();
        self.exporters.retain(|name, _| is_there(name));
        for (name, _) in &sample.exporters {
            if self.exporters.len() == EXPORTERS {
                break;
            }
            self.exporters.entry(name.clone()).or_insert_with(|| Rings::new(&OF_EXPORTER));
        }
        let Some(before) = self.samples.pop_back() else {
            // There is no step before the first look.
            self.last_step = now;
            return self.keep_sample(sample);
        };
        let passed = sample.at.saturating_duration_since(before.at);
        // A process that did not run has missed steps.
        let missed = (passed.as_secs_f64() / STEP.as_secs_f64()).round().max(1.0) as u64 - 1;
        for _ in 0..missed.min(STEPS_TOGETHER * COARSE as u64) {
            self.step(&|| [f32::NAN; OF_WHOLE.len()], &|_| [f32::NAN; OF_EXPORTER.len()]);
        }
        let seconds = passed.as_secs_f64();
        let of_exporter = |name: &Arc<str>| {
            let (now, before) = (sample.exporter(name), before.exporter(name));
            now.zip(before).map_or([f32::NAN; OF_EXPORTER.len()], |(now, before)| {
                values_of_exporter(now, before, seconds)
            })
        };
        self.step(&|| values_of_whole(&sample, &before, seconds), &of_exporter);
        self.last_step = now;
        self.keep_sample(before);
        self.keep_sample(sample);
    }

    fn step(
        &mut self,
        of_whole: &dyn Fn() -> [f32; OF_WHOLE.len()],
        of_exporter: &dyn Fn(&Arc<str>) -> [f32; OF_EXPORTER.len()],
    ) {
        self.steps += 1;
        let ends_longer = self.steps.is_multiple_of(STEPS_TOGETHER);
        self.whole.add(of_whole(), ends_longer);
        for (name, rings) in &mut self.exporters {
            rings.add(of_exporter(name), ends_longer);
        }
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

fn values_of_exporter(now: ExporterTotals, before: ExporterTotals, seconds: f64) -> [f32; OF_EXPORTER.len()] {
    let rate = |of: &dyn Fn(&ExporterTotals) -> u64| per_second(of(&now), of(&before), seconds) as f32;
    [
        rate(&|totals| totals.exported_records),
        now.pending_bytes as f32,
        rate(&|totals| totals.failed_attempts),
        rate(&|totals| totals.not_delivered_records),
    ]
}

impl<const N: usize> Rings<N> {
    fn new(figures: &'static [(&'static str, FigureKind); N]) -> Self {
        Self { figures, fine: Ring::new(FINE), coarse: Ring::new(COARSE), open: [(0.0, 0); N] }
    }

    /// Adds a step, with which a longer one may end.
    fn add(&mut self, values: [f32; N], ends_longer: bool) {
        self.fine.push(values);
        for (((_, figure), value), (open, count)) in self.figures.iter().zip(values).zip(&mut self.open) {
            if value.is_nan() {
                continue;
            }
            *open = if *figure == FigureKind::Rate { *open + value } else { open.max(value) };
            *count += 1;
        }
        if ends_longer {
            let open = std::mem::replace(&mut self.open, [(0.0, 0); N]);
            self.coarse.push(std::array::from_fn(|at| match (open[at], self.figures[at].1) {
                ((_, 0), _) => f32::NAN,
                ((sum, count), FigureKind::Rate) => sum / f32::from(count),
                ((most, _), FigureKind::Level) => most,
            }));
        }
    }

    fn shown(&self, range: HistoryRange) -> Value {
        let ring = match range {
            HistoryRange::Minutes => &self.fine,
            HistoryRange::Day => &self.coarse,
        };
        let names = self.figures.iter().map(|(name, _)| (*name).to_owned());
        names.zip((0..N).map(|at| ring.shown(at))).collect::<Map<_, _>>().into()
    }
}

impl<const N: usize> Ring<N> {
    fn new(steps: usize) -> Self {
        Self { steps: vec![[f32::NAN; N]; steps].into(), next: 0 }
    }

    fn push(&mut self, values: [f32; N]) {
        self.steps[self.next] = values;
        self.next = (self.next + 1) % self.steps.len();
    }

    /// The values of one figure, the oldest first.
    fn shown(&self, figure: usize) -> Value {
        let (newer, older) = self.steps.split_at(self.next);
        older.iter().chain(newer).map(|values| shown_value(values[figure])).collect()
    }
}

/// A value to three places behind the point, or `null`.
fn shown_value(value: f32) -> Value {
    if value.is_nan() { Value::Null } else { json!(rounded(f64::from(value))) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

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
        }
    }

    fn shown(history: &MetricHistory, query: &str) -> Value {
        history.shown(&wanted(query).unwrap()).unwrap()
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
        history.keep(look).await;
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
        let totals = |exported| ExporterTotals {
            exported_records: exported,
            pending_bytes: 7,
            ..ExporterTotals::default()
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
        let none = |name: &str| history.shown(&wanted(&format!("exporter={name}")).unwrap()).is_err();
        assert!(none("104") && none("nobody") && !none("99"));
        history.state.lock().add(of_exporters(1, 100), SystemTime::now());
        assert!(none("99") && !none("0"));
        for exported in [100, 150] {
            history.state.lock().add(of_exporters(2, exported), SystemTime::now());
            tokio::time::advance(STEP).await;
        }
        assert_eq!(last(&shown(&history, "exporter=1"), "exported_records", 2), [Value::Null, json!(10.0)]);
    }

    #[test]
    fn a_history_takes_as_much_memory_as_is_said() {
        let bytes = |figures: usize| (FINE + COARSE) * figures * size_of::<f32>();
        assert!(bytes(OF_WHOLE.len()) <= 32 << 10, "{}", bytes(OF_WHOLE.len()));
        assert!(bytes(OF_EXPORTER.len()) <= 15 << 10, "{}", bytes(OF_EXPORTER.len()));
    }

    #[test]
    fn what_is_wrong_in_a_query_is_said() {
        for (query, error) in [
            ("range=1h", "`range` is one of 15m, 24h, not `1h`"),
            ("step=1", "unknown parameter `step`: there are range and exporter"),
        ] {
            assert_eq!(wanted(query).unwrap_err(), error);
        }
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
