//! How metrics are written: each is described once, and a [`MetricWriter`] writes it in the format of its readers. The writer of
//! Prometheus' text format is here.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::export::HistogramCounts;
use crate::run::Router;

/// `OpenMetrics` text, which Prometheus reads.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the metrics of a Sluice.
pub(super) type WriteMetrics = fn(&mut MetricFamilies<'_>, &Arc<Router>) -> fmt::Result;

/// Takes metrics, one after another.
pub(super) trait MetricWriter {
    /// Takes a metric with the points that `add_all` adds to it.
    fn write(
        &mut self,
        metric: &MetricDescription<'_>,
        add_all: &mut dyn FnMut(&mut AddPoint<'_>) -> fmt::Result,
    ) -> fmt::Result;
}

/// Adds a point of a metric, with its labels.
pub(super) type AddPoint<'a> = dyn FnMut(&[(&str, &str)], &MetricValue) -> fmt::Result + 'a;

/// The description of a metric.
pub(super) struct MetricDescription<'d> {
    /// Its name, without the `_total` of a counter. If it has a unit, that is its last word: `seconds` or `bytes`.
    pub(super) name: &'d str,
    /// Its meaning, for people.
    pub(super) help: &'d str,
    pub(super) kind: MetricType,
}

/// The value of a point.
pub(super) enum MetricValue {
    /// A counter that counts in ones.
    Count(u64),
    /// A counter of anything else.
    Amount(f64),
    Gauge(f64),
    Histogram(HistogramCounts),
}

/// Metrics being written, one after another.
pub(super) struct MetricFamilies<'w>(pub(super) &'w mut dyn MetricWriter);

/// One metric being written, label set by label set.
pub(super) struct CounterFamily<'a>(&'a mut AddPoint<'a>);
pub(super) struct GaugeFamily<'a>(&'a mut AddPoint<'a>);
pub(super) struct HistogramFamily<'a>(&'a mut AddPoint<'a>);

impl CounterFamily<'_> {
    /// Adds a counter, unless it is 0: a series begins with its first event.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: u64) -> fmt::Result {
        if value == 0 { Ok(()) } else { (self.0)(labels, &MetricValue::Count(value)) }
    }
}

impl GaugeFamily<'_> {
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) -> fmt::Result {
        (self.0)(labels, &MetricValue::Gauge(value))
    }
}

impl HistogramFamily<'_> {
    pub(super) fn add(&mut self, labels: &[(&str, &str)], counts: HistogramCounts) -> fmt::Result {
        (self.0)(labels, &MetricValue::Histogram(counts))
    }
}

impl MetricFamilies<'_> {
    /// A counter; its name is without `_total`.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        mut fill: impl FnMut(&mut CounterFamily<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let metric = MetricDescription { name, help, kind: MetricType::Counter };
        self.0.write(&metric, &mut |add| fill(&mut CounterFamily(add)))
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        mut fill: impl FnMut(&mut GaugeFamily<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let metric = MetricDescription { name, help, kind: MetricType::Gauge };
        self.0.write(&metric, &mut |add| fill(&mut GaugeFamily(add)))
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        mut fill: impl FnMut(&mut HistogramFamily<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let metric = MetricDescription { name, help, kind: MetricType::Histogram };
        self.0.write(&metric, &mut |add| fill(&mut HistogramFamily(add)))
    }

    /// A counter without labels, which is written even if it is 0; its name is without `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: &MetricValue) -> fmt::Result {
        let metric = MetricDescription { name, help, kind: MetricType::Counter };
        self.0.write(&metric, &mut |add| add(&[], value))
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, help, |family| family.add(&[], value))
    }
}

/// Metrics of a Sluice as text.
pub(super) fn metrics_text(router: &Arc<Router>, write: WriteMetrics) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(TextPage { router: router.clone(), write }));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("writing to a String can't fail");
    text
}

#[derive(Debug)]
struct TextPage {
    router: Arc<Router>,
    write: WriteMetrics,
}

impl Collector for TextPage {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.write)(&mut MetricFamilies(&mut TextWriter(encoder)), &self.router)
    }
}

/// Writes metrics as text.
struct TextWriter<'t>(DescriptorEncoder<'t>);

impl MetricWriter for TextWriter<'_> {
    fn write(
        &mut self,
        metric: &MetricDescription<'_>,
        add_all: &mut dyn FnMut(&mut AddPoint<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
        add_all(&mut |labels, value| match labels {
            [] => put_value(&mut encoder, value),
            labels => put_value(&mut encoder.encode_family(&labels)?, value),
        })
    }
}

fn put_value(encoder: &mut MetricEncoder<'_>, value: &MetricValue) -> fmt::Result {
    match value {
        MetricValue::Count(count) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        MetricValue::Amount(amount) => encoder.encode_counter::<NoLabelSet, _, u64>(amount, None),
        MetricValue::Gauge(gauge) => encoder.encode_gauge(gauge),
        MetricValue::Histogram(counts) => {
            encoder.encode_histogram::<NoLabelSet>(counts.sum, counts.count(), &counts.buckets, None)
        }
    }
}
