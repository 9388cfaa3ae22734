//! A watch: what it has counted, and whether it fires.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::alertmanager::Alert;
use super::settings::{Threshold, WatchSettings};
use crate::query::Query;

/// The most tenants of which each is counted by itself; records of others count for the watch as a whole alone.
pub const MOST_TENANTS: usize = 10_000;

/// The steps in which the time of a watch passes: what leaves it does so at most one of them late.
const STEPS: u32 = 60;

/// Counts the records that match its query.
#[derive(Debug)]
pub struct RecordWatch {
    settings: WatchSettings,
    /// The query, among the records of its tenants.
    query: Query,
    /// Records that matched since it was configured.
    total: AtomicU64,
    /// The same of each tenant.
    of_tenants: DashMap<Arc<str>, Arc<AtomicU64>>,
    judged: Mutex<JudgedSeries>,
}

/// The series of a watch: those of its tenants can fire, or where it has none the whole.
#[derive(Debug)]
struct JudgedSeries {
    since: Instant,
    /// When the last step ended.
    last_step: Instant,
    /// All records together.
    whole: WatchedSeries,
    /// Each tenant's by themselves, in the order of their ids, if the watch is of tenants.
    of_tenants: Vec<WatchedSeries>,
}

/// A count over the time of the threshold: of all records, or of one tenant's.
#[derive(Debug)]
struct WatchedSeries {
    tenant: Option<Arc<str>>,
    /// The count at the end of each step, the oldest first: as many as the time has, or fewer at the beginning.
    steps: VecDeque<u64>,
    in_time: u64,
    /// Since when it fires.
    firing: Option<SystemTime>,
}

/// A series that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiringSeries {
    /// The tenant of the records, if each tenant's are counted by themselves.
    pub tenant: Option<Arc<str>>,
    /// Since when.
    pub since: SystemTime,
    /// Records in the time of the threshold.
    pub counted: u64,
}

/// The state of a watch, for people.
#[derive(Clone, Debug)]
pub struct WatchState {
    /// Records that matched since it was configured.
    pub total: u64,
    /// Records in the time of the threshold, of all tenants together.
    pub counted: u64,
    /// The tenant that is nearest to the threshold or farthest beyond it, with its records in that time, if each tenant's are counted
    /// by themselves: with the most of them for a watch above a number, with the fewest for one below.
    pub nearest: Option<(Arc<str>, u64)>,
    /// Whether it is too early to say that there are too few.
    pub is_waiting: bool,
    /// The series that fire.
    pub firing: Vec<FiringSeries>,
}

impl RecordWatch {
    /// A watch that has counted nothing yet.
    pub fn new(settings: WatchSettings) -> Self {
        let query = match &settings.tenants {
            Some(globs) => {
                let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
                settings.query.clone().of_tenants(globs.iter().map(String::as_str))
            }
            None => settings.query.clone(),
        };
        Self {
            settings,
            query,
            total: AtomicU64::new(0),
            of_tenants: DashMap::new(),
            judged: Mutex::new(JudgedSeries {
                since: Instant::now(),
                last_step: Instant::now(),
                whole: WatchedSeries::new(None),
                of_tenants: Vec::new(),
            }),
        }
    }

    /// The settings of the watch.
    pub fn settings(&self) -> &WatchSettings {
        &self.settings
    }

    /// The query whose records are counted.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Counts a record of this tenant.
    pub fn count(&self, tenant: Option<&str>) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let Some(tenant) = tenant else { return };
        if let Some(count) = self.of_tenants.get(tenant) {
            count.fetch_add(1, Ordering::Relaxed);
        } else if self.of_tenants.len() < MOST_TENANTS {
            self.of_tenants.entry(tenant.into()).or_default().fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that matched since it was configured.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// The records of each tenant that matched since the watch was configured.
    pub fn totals(&self) -> Vec<(Arc<str>, u64)> {
        let of_tenants = self.of_tenants.iter();
        of_tenants.map(|entry| (entry.key().clone(), entry.value().load(Ordering::Relaxed))).collect()
    }

    /// The step by which its time passes.
    fn step(&self) -> Duration {
        (self.settings.threshold.within() / STEPS).max(Duration::from_secs(1))
    }

    /// Whether it watches each of its tenants for silence, so that it has to know those who have sent nothing.
    pub fn watches_for_silence(&self) -> bool {
        self.settings.tenants.is_some() && matches!(self.settings.threshold, Threshold::Below { .. })
    }

    /// Makes a tenant known that has not sent anything that counts, if it is one of the watch's.
    pub fn expect(&self, tenant: &Arc<str>) {
        let globs = self.settings.tenants.as_deref().unwrap_or_default();
        if globs.iter().any(|glob| glob.matches(tenant))
            && !self.of_tenants.contains_key(tenant)
            && self.of_tenants.len() < MOST_TENANTS
        {
            self.of_tenants.entry(tenant.clone()).or_default();
        }
    }

    /// Forgets tenants that are not known any more, for a watch for silence: a tenant that is gone is not silent.
    pub fn forget(&self, is_known: impl Fn(&str) -> bool) {
        self.of_tenants.retain(|tenant, _| is_known(tenant));
    }

    /// Looks at the counts, which is to be done once in a second; returns the alerts of series that have begun or ceased to fire.
    pub fn judge(&self) -> Vec<Alert> {
        let threshold = self.settings.threshold;
        let mut judged = self.judged.lock();
        let is_waiting = self.is_waiting(&judged);
        let is_of_tenants = self.settings.tenants.is_some();
        let JudgedSeries { last_step, whole, of_tenants, .. } = &mut *judged;
        if is_of_tenants {
            self.follow_tenants(of_tenants);
        }
        let steps = threshold.within().div_duration_f64(self.step()).ceil() as usize;
        let ends_step = last_step.elapsed() >= self.step();
        if ends_step {
            *last_step = Instant::now();
        }
        let now = SystemTime::now();
        let mut changes = Vec::new();
        for series in std::iter::once(whole).chain(of_tenants) {
            let total = match &series.tenant {
                None => Some(self.total()),
                Some(tenant) => self.of_tenants.get(tenant).map(|count| count.load(Ordering::Relaxed)),
            };
            series.take(total.unwrap_or(0), ends_step.then_some(steps));
            let can_fire = total.is_some() && series.tenant.is_some() == is_of_tenants;
            let fires = can_fire && threshold.is_met(series.in_time) && !is_waiting;
            if fires != series.firing.is_some() {
                let since = series.firing.unwrap_or(now);
                series.firing = fires.then_some(now);
                let ended = (!fires).then_some(now);
                changes.push(self.alert(series.tenant.clone(), since, ended, series.in_time));
            }
        }
        changes
    }

    /// The series that fire now, as alerts.
    pub fn alerts(&self) -> Vec<Alert> {
        let firing = self.state().firing.into_iter();
        firing.map(|series| self.alert(series.tenant, series.since, None, series.counted)).collect()
    }

    /// The state of the watch.
    pub fn state(&self) -> WatchState {
        let judged = self.judged.lock();
        let of_tenants = judged.of_tenants.iter();
        let nearest = match self.settings.threshold {
            Threshold::Above { .. } => of_tenants.clone().rev().max_by_key(|series| series.in_time),
            Threshold::Below { .. } => of_tenants.clone().min_by_key(|series| series.in_time),
        };
        let firing = std::iter::once(&judged.whole).chain(of_tenants).filter_map(WatchedSeries::firing);
        WatchState {
            total: self.total(),
            counted: judged.whole.in_time,
            nearest: nearest.and_then(|series| Some((series.tenant.clone()?, series.in_time))),
            is_waiting: self.is_waiting(&judged),
            firing: firing.collect(),
        }
    }

    /// What fires for this tenant by itself.
    pub fn firing_of(&self, tenant: &str) -> Option<FiringSeries> {
        let judged = self.judged.lock();
        let place = judged.of_tenants.binary_search_by(|series| series.tenant.as_deref().cmp(&Some(tenant)));
        judged.of_tenants[place.ok()?].firing()
    }

    /// Whether the watch is younger than the time of its threshold, so that it can't say yet that there are too few records.
    fn is_waiting(&self, judged: &JudgedSeries) -> bool {
        let Threshold::Below { within, .. } = self.settings.threshold else { return false };
        judged.since.elapsed() < within
    }

    /// Gives each tenant that is known a series, in the order of their ids, and ends those of others.
    fn follow_tenants(&self, series: &mut Vec<WatchedSeries>) {
        // A tenant that is gone keeps its series for as long as that fires, which is until it is judged.
        series.retain(|series| {
            let tenant = series.tenant.as_ref().is_some_and(|tenant| self.of_tenants.contains_key(tenant));
            tenant || series.firing.is_some()
        });
        if self.of_tenants.len() == series.len() {
            return;
        }
        let known: std::collections::HashSet<Arc<str>> =
            series.iter().filter_map(|series| series.tenant.clone()).collect();
        for tenant in &self.of_tenants {
            if !known.contains(tenant.key()) {
                series.push(WatchedSeries::new(Some(tenant.key().clone())));
            }
        }
        series.sort_unstable_by(|one, other| one.tenant.cmp(&other.tenant));
    }

    fn alert(
        &self,
        tenant: Option<Arc<str>>,
        since: SystemTime,
        ended: Option<SystemTime>,
        counted: u64,
    ) -> Alert {
        let WatchSettings { name, shown_query, threshold, .. } = &self.settings;
        Alert {
            watch: name.clone(),
            tenant,
            since,
            ended,
            summary: format!("{threshold} match the watch {name}: {counted}"),
            query: shown_query.clone(),
        }
    }
}

impl WatchedSeries {
    fn new(tenant: Option<Arc<str>>) -> Self {
        // Before the first record that it counts there was none.
        Self { tenant, steps: VecDeque::from([0]), in_time: 0, firing: None }
    }

    fn firing(&self) -> Option<FiringSeries> {
        let since = self.firing?;
        Some(FiringSeries { tenant: self.tenant.clone(), since, counted: self.in_time })
    }

    /// Takes the count of now, which may end a step: of so many the time consists.
    fn take(&mut self, total: u64, ends_step_of: Option<usize>) {
        if let Some(steps) = ends_step_of {
            self.steps.push_back(total);
            while self.steps.len() > steps + 1 {
                self.steps.pop_front();
            }
        }
        self.in_time = total.saturating_sub(self.steps.front().copied().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob::Glob;

    fn watch(threshold: Threshold, tenants: Option<&str>) -> RecordWatch {
        RecordWatch::new(WatchSettings {
            name: "errors".to_owned(),
            query: Query::parse("level:error").unwrap(),
            shown_query: "level:error".to_owned(),
            tenants: tenants.map(|glob| vec![Glob::new(glob)]),
            threshold,
        })
    }

    const MINUTE: Duration = Duration::from_secs(60);

    async fn pass(watch: &RecordWatch, time: Duration) -> Vec<Alert> {
        let mut changes = Vec::new();
        for _ in 0..time.as_secs() / watch.step().as_secs() {
            tokio::time::advance(watch.step()).await;
            changes.extend(watch.judge());
        }
        changes
    }

    #[tokio::test(start_paused = true)]
    async fn it_fires_above_its_number_and_no_more_once_the_time_has_passed() {
        let watch = watch(Threshold::Above { records: 2, within: MINUTE }, None);
        (0..2).for_each(|_| watch.count(None));
        assert_eq!(pass(&watch, Duration::from_secs(10)).await, []);
        watch.count(None);
        let fired = pass(&watch, Duration::from_secs(1)).await;
        assert_eq!(fired.len(), 1);
        assert_eq!(
            (fired[0].ended, &*fired[0].summary),
            (None, "more than 2 records in 60s match the watch errors: 3")
        );
        assert_eq!(pass(&watch, Duration::from_secs(45)).await, []);
        assert_eq!(watch.alerts().len(), 1);
        let resolved = pass(&watch, Duration::from_secs(10)).await;
        assert_eq!(resolved.len(), 1);
        assert!(resolved[0].ended.is_some());
        assert_eq!((watch.total(), watch.state().counted), (3, 1), "the third is younger");
    }

    #[tokio::test(start_paused = true)]
    async fn too_few_are_told_only_once_it_has_counted_for_the_whole_time() {
        let watch = watch(Threshold::Below { records: 1, within: MINUTE }, None);
        assert_eq!(pass(&watch, Duration::from_secs(59)).await, []);
        assert!(watch.state().is_waiting);
        assert_eq!(pass(&watch, Duration::from_secs(2)).await.len(), 1);
        watch.count(None);
        let resolved = pass(&watch, Duration::from_secs(1)).await;
        assert!(resolved[0].ended.is_some(), "{resolved:?}");
        assert_eq!(pass(&watch, Duration::from_secs(58)).await, []);
        assert_eq!(pass(&watch, Duration::from_secs(5)).await.len(), 1, "silent again");
    }

    #[tokio::test(start_paused = true)]
    async fn each_tenant_is_counted_and_fires_by_itself() {
        let watch = watch(Threshold::Above { records: 1, within: MINUTE }, Some("*"));
        (0..3).for_each(|_| watch.count(Some("acme")));
        watch.count(Some("globex"));
        let fired = pass(&watch, Duration::from_secs(1)).await;
        assert_eq!(fired.iter().map(|alert| alert.tenant.as_deref()).collect::<Vec<_>>(), [Some("acme")]);
        assert_eq!(watch.total(), 4);
        let state = watch.state();
        assert_eq!(
            (state.counted, state.nearest),
            (4, Some(("acme".into(), 3))),
            "all, and the largest tenant"
        );
        assert_eq!(state.firing.len(), 1, "the whole does not fire beside its tenants");
        assert_eq!(watch.firing_of("acme").map(|series| series.counted), Some(3));
        assert_eq!([watch.firing_of("globex"), watch.firing_of("nobody")], [None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_has_never_sent_is_silent_and_one_that_is_gone_is_not() {
        let watch = watch(Threshold::Below { records: 1, within: MINUTE }, Some("a*"));
        for tenant in ["acme", "globex"] {
            watch.expect(&tenant.into());
        }
        let fired = pass(&watch, Duration::from_secs(61)).await;
        assert_eq!(fired.iter().map(|alert| alert.tenant.as_deref()).collect::<Vec<_>>(), [Some("acme")]);
        watch.expect(&"apex".into());
        watch.count(Some("acme"));
        pass(&watch, Duration::from_secs(1)).await;
        let state = watch.state();
        assert_eq!(
            (state.counted, state.nearest),
            (1, Some(("apex".into(), 0))),
            "all, and the smallest tenant"
        );
        assert_eq!(watch.firing_of("acme"), None);
        watch.forget(|_| false);
        let resolved = pass(&watch, Duration::from_secs(1)).await;
        assert!(resolved.len() == 1 && resolved[0].ended.is_some(), "{resolved:?}");
    }
}
