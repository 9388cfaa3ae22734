//! The metrics as points of OTLP.
//!
//! A metric has the name of its family, which for a counter has no `_total`: what converts OTLP to Prometheus' format adds that.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};
use prometheus_client::metrics::MetricType;

use super::metric_writer::{AddPoint, MetricDescription, MetricFamilies, MetricValue, MetricWriter};
use super::{look, metrics};
use crate::export::HistogramCounts;
use crate::run::Router;
use crate::telemetry::{attribute, text, unix_nanos};

/// All metrics that have a value now, as a [`ReadMetrics`](crate::run::ReadMetrics).
pub fn read_metrics(router: Arc<Router>) -> Pin<Box<dyn Future<Output = Vec<Metric>> + Send>> {
    Box::pin(look::on_a_thread(move || {
        let mut writer = PointWriter::new(router.shared().began.1, SystemTime::now());
        metrics::write(&mut MetricFamilies(&mut writer), &router).expect("points are only collected");
        writer.metrics
    }))
}

/// Writes metrics as points of one moment.
struct PointWriter {
    metrics: Vec<Metric>,
    /// When the counters began.
    began: u64,
    /// When the metrics were read.
    now: u64,
}

impl PointWriter {
    fn new(began: SystemTime, now: SystemTime) -> Self {
        Self { metrics: Vec::new(), began: unix_nanos(began), now: unix_nanos(now) }
    }

    /// The start time of a point: counters and histograms begin with the process, gauges have none.
    fn number(&self, start_time_unix_nano: u64, value: Value) -> NumberDataPoint {
        let (time_unix_nano, value) = (self.now, Some(value));
        NumberDataPoint { start_time_unix_nano, time_unix_nano, value, ..NumberDataPoint::default() }
    }

    fn distribution(&self, counts: &HistogramCounts) -> HistogramDataPoint {
        let bounds = counts.buckets.iter().map(|(bound, _)| *bound);
        HistogramDataPoint {
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            count: counts.count(),
            sum: Some(counts.sum),
            bucket_counts: counts.buckets.iter().map(|(_, count)| *count).collect(),
            explicit_bounds: bounds.filter(|bound| bound.is_finite()).collect(),
            ..HistogramDataPoint::default()
        }
    }
}

impl MetricWriter for PointWriter {
    /// Leaves out a metric without points.
    fn write(
        &mut self,
        metric: &MetricDescription<'_>,
        add_all: &mut dyn FnMut(&mut AddPoint<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let (mut numbers, mut distributions) = (Vec::new(), Vec::new());
        add_all(&mut |labels, value| {
            let attributes = labels.iter().map(|(name, value)| attribute(*name, text(*value))).collect();
            let number = match value {
                MetricValue::Count(count) => {
                    let count = i64::try_from(*count).unwrap_or(i64::MAX);
                    self.number(self.began, Value::AsInt(count))
                }
                MetricValue::Amount(amount) => self.number(self.began, Value::AsDouble(*amount)),
                MetricValue::Gauge(gauge) => self.number(0, Value::AsDouble(*gauge)),
                MetricValue::Histogram(counts) => {
                    distributions.push(HistogramDataPoint { attributes, ..self.distribution(counts) });
                    return Ok(());
                }
            };
            numbers.push(NumberDataPoint { attributes, ..number });
            Ok(())
        })?;
        if numbers.is_empty() && distributions.is_empty() {
            return Ok(());
        }
        let aggregation_temporality = AggregationTemporality::Cumulative as i32;
        let data = match metric.kind {
            MetricType::Counter => {
                Data::Sum(Sum { data_points: numbers, aggregation_temporality, is_monotonic: true })
            }
            MetricType::Histogram => {
                Data::Histogram(Histogram { data_points: distributions, aggregation_temporality })
            }
            _ => Data::Gauge(Gauge { data_points: numbers }),
        };
        self.metrics.push(Metric {
            name: metric.name.to_owned(),
            description: metric.help.to_owned(),
            unit: unit(metric.name).to_owned(),
            data: Some(data),
            ..Metric::default()
        });
        Ok(())
    }
}

/// The unit of a metric as UCUM writes it; empty for counts and for metrics without a unit.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::export::Histogram as Observed;

    fn points(write: impl FnOnce(&mut MetricFamilies<'_>) -> fmt::Result) -> Vec<Metric> {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut writer = PointWriter::new(at(1), at(2));
        write(&mut MetricFamilies(&mut writer)).unwrap();
        writer.metrics
    }

    #[test]
    fn every_kind_of_metric_has_its_points() {
        const STRANGE: &str = "a\\b\"c,d=\"e\"}\n{ü";
        let labels = |exporter| [("exporter", exporter), ("signal", "logs")];
        let durations = Observed::new([0.5, 2.0]);
        for seconds in [0.1, 0.2, 1.0, 5.0] {
            durations.observe(seconds);
        }
        let metrics = points(|metrics| {
            metrics.counters("records", "Records that came", |family| {
                family.add(&labels(STRANGE), 7)?;
                family.add(&labels("never"), 0)?;
                family.add(&labels("up"), 2)
            })?;
            metrics.counter("sync_seconds", "Time of syncs", &MetricValue::Amount(0.25))?;
            metrics.gauge("memory_bytes", "Memory", -3.0)?;
            metrics.histograms("duration_seconds", "How long it took", |family| {
                family.add(&labels("up"), durations.counts())
            })?;
            metrics.counters("unused", "Nothing yet", |_| Ok(()))
        });
        let described: Vec<_> =
            metrics.iter().map(|metric| (&*metric.name, &*metric.description, &*metric.unit)).collect();
        let expected = [
            ("records", "Records that came", ""),
            ("sync_seconds", "Time of syncs", "s"),
            ("memory_bytes", "Memory", "By"),
            ("duration_seconds", "How long it took", "s"),
        ];
        assert_eq!(described, expected);

        let attributes =
            |exporter: &str| vec![attribute("exporter", text(exporter)), attribute("signal", text("logs"))];
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        assert!(sum.is_monotonic && sum.aggregation_temporality == AggregationTemporality::Cumulative as i32);
        let counted: Vec<_> =
            sum.data_points.iter().map(|point| (point.attributes.clone(), point.value)).collect();
        let seven = (attributes(STRANGE), Some(Value::AsInt(7)));
        assert_eq!(counted, [seven, (attributes("up"), Some(Value::AsInt(2)))]);
        let times = |point: &NumberDataPoint| (point.start_time_unix_nano, point.time_unix_nano);
        assert_eq!(times(&sum.data_points[0]), (1_000_000_000, 2_000_000_000));
        let Some(Data::Sum(sum)) = &metrics[1].data else { panic!("{:?}", metrics[1]) };
        assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(0.25)));
        let Some(Data::Gauge(gauge)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
        assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(-3.0)));
        assert_eq!(times(&gauge.data_points[0]), (0, 2_000_000_000));
        let Some(Data::Histogram(histogram)) = &metrics[3].data else { panic!("{:?}", metrics[3]) };
        let [point] = &histogram.data_points[..] else { panic!("{histogram:?}") };
        assert_eq!((&*point.bucket_counts, &*point.explicit_bounds), (&[2, 1, 1][..], &[0.5, 2.0][..]));
        assert_eq!((point.count, point.sum), (4, Some(6.3)));
        assert_eq!(point.attributes, attributes("up"));
    }

    #[test]
    fn a_count_that_no_double_has_keeps_its_value() {
        const COUNT: u64 = (1 << 53) + 1;
        let metrics = points(|metrics| {
            metrics.counters("records", "Records", |family| {
                family.add(&[("signal", "logs")], COUNT)?;
                family.add(&[("signal", "traces")], u64::MAX)
            })
        });
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
        assert_eq!(values, [Some(Value::AsInt(COUNT as i64)), Some(Value::AsInt(i64::MAX))]);
    }
}
