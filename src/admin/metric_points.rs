//! The metrics as OTLP has them: the page that Prometheus reads, read.
//!
//! What metrics there are is said in one place, the page, and so whoever gets them by OTLP gets the same ones with the same values. A
//! metric has the name of its family, which of a counter is without `_total`: where OTLP becomes Prometheus' again, that is added.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::{look, metrics};
use crate::run::Router;
use crate::telemetry::{attribute, text, unix_nanos};

/// All metrics of now that have a value, as a [`ReadMetrics`](crate::run::ReadMetrics).
pub fn read_metrics(router: Arc<Router>) -> Pin<Box<dyn Future<Output = Vec<Metric>> + Send>> {
    Box::pin(look::on_a_thread(move || {
        let began = router.shared().began.1;
        MetricsPage::read(&metrics::encode(&router), began, SystemTime::now())
    }))
}

/// A page that is being read.
struct MetricsPage {
    metrics: Vec<Metric>,
    /// Since when counters count, and when they were read.
    times: (u64, u64),
}

/// A line of a page.
struct Sample<'p> {
    name: &'p str,
    labels: Vec<(&'p str, String)>,
    value: f64,
}

impl MetricsPage {
    fn read(page: &str, began: SystemTime, now: SystemTime) -> Vec<Metric> {
        let mut read = Self { metrics: Vec::new(), times: (unix_nanos(began), unix_nanos(now)) };
        let mut help = "";
        for line in page.lines() {
            if let Some((_, described)) = line.strip_prefix("# HELP ").and_then(|it| it.split_once(' ')) {
                help = described.trim_end_matches('.');
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' '))
            {
                read.begin(name, kind, help);
            } else if let Some(sample) = Sample::read(line) {
                read.add(sample);
            }
        }
        read.metrics.retain(|metric| !is_empty(metric));
        read.metrics
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let aggregation_temporality = AggregationTemporality::Cumulative as i32;
        let data = match kind {
            "counter" => {
                Data::Sum(Sum { data_points: Vec::new(), aggregation_temporality, is_monotonic: true })
            }
            "histogram" => Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality }),
            _ => Data::Gauge(Gauge::default()),
        };
        self.metrics.push(Metric {
            name: name.to_owned(),
            description: help.to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }

    /// Adds a line to the metric that it belongs to, which is the one that has begun last.
    fn add(&mut self, sample: Sample<'_>) {
        let (start_time_unix_nano, time_unix_nano) = self.times;
        let Some(Metric { data: Some(data), .. }) = self.metrics.last_mut() else { return };
        let number = |sample: Sample<'_>, start_time_unix_nano| NumberDataPoint {
            attributes: sample.attributes(),
            start_time_unix_nano,
            time_unix_nano,
            value: Some(Value::AsDouble(sample.value)),
            ..NumberDataPoint::default()
        };
        match data {
            Data::Sum(sum) => sum.data_points.push(number(sample, start_time_unix_nano)),
            Data::Gauge(gauge) => gauge.data_points.push(number(sample, 0)),
            Data::Histogram(histogram) => {
                let attributes = sample.attributes();
                if histogram.data_points.last().is_none_or(|point| point.attributes != attributes) {
                    histogram.data_points.push(HistogramDataPoint {
                        attributes,
                        start_time_unix_nano,
                        time_unix_nano,
                        ..HistogramDataPoint::default()
                    });
                }
                let point = histogram.data_points.last_mut().expect("there is one now");
                sample.add_to_histogram(point);
            }
            Data::ExponentialHistogram(_) | Data::Summary(_) => {}
        }
    }
}

impl<'p> Sample<'p> {
    /// Reads a line, unless it is a comment.
    fn read(line: &'p str) -> Option<Self> {
        let line = Some(line).filter(|line| !line.starts_with('#'))?;
        let (series, value) = line.rsplit_once(' ')?;
        let (name, mut rest) = series.split_once('{').unwrap_or((series, ""));
        let mut labels = Vec::new();
        while let Some((label, quoted)) = rest.split_once("=\"") {
            let (value, behind) = unquoted(quoted)?;
            labels.push((label, value));
            rest = behind.trim_start_matches(',');
        }
        Some(Self { name, labels, value: value.parse().ok()? })
    }

    /// Its labels, but for the bound of a bucket.
    fn attributes(&self) -> Vec<KeyValue> {
        let labels = self.labels.iter().filter(|(name, _)| *name != "le");
        labels.map(|(name, value)| attribute(*name, text(value))).collect()
    }

    /// A line of Prometheus' histogram counts what is in all buckets up to its own.
    fn add_to_histogram(&self, point: &mut HistogramDataPoint) {
        let bound = self.labels.iter().find(|(name, _)| *name == "le").map(|(_, bound)| bound);
        if let Some(bound) = bound {
            let below = point.bucket_counts.iter().sum::<u64>();
            point.bucket_counts.push((self.value as u64).saturating_sub(below));
            point.explicit_bounds.extend(bound.parse().ok().filter(|bound: &f64| bound.is_finite()));
        } else if self.name.ends_with("_sum") {
            point.sum = Some(self.value);
        } else {
            point.count = self.value as u64;
        }
    }
}

/// The value of a label up to its closing quote, and what stands behind that.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    None
}

fn is_empty(metric: &Metric) -> bool {
    match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.is_empty(),
        Some(Data::Gauge(gauge)) => gauge.data_points.is_empty(),
        Some(Data::Histogram(histogram)) => histogram.data_points.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
    use prometheus_client::metrics::histogram::Histogram as PrometheusHistogram;
    use prometheus_client::registry::Registry;

    use super::*;

    type Labels = Vec<(String, String)>;

    fn labels(value: &str) -> Labels {
        vec![("exporter".to_owned(), value.to_owned()), ("signal".to_owned(), "logs".to_owned())]
    }

    fn read(registry: &Registry) -> Vec<Metric> {
        let mut page = String::new();
        encode(&mut page, registry).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        MetricsPage::read(&page, at(1), at(2))
    }

    #[test]
    fn every_kind_of_metric_is_read_as_it_was_written() {
        let mut registry = Registry::default();
        let records = Family::<Labels, Counter>::default();
        let strange = "a\\b\"c,d=\"e\"}\n{ü";
        records.get_or_create(&labels(strange)).inc_by(7);
        records.get_or_create(&labels("up")).inc_by(2);
        registry.register("records", "Records that came", records);
        let streams = PrometheusGauge::<i64>::default();
        streams.set(-3);
        registry.register("streams", "Live streams", streams);
        let durations = Family::<Labels, PrometheusHistogram>::new_with_constructor(|| {
            PrometheusHistogram::new([0.5, 2.0])
        });
        for seconds in [0.1, 0.2, 1.0, 5.0] {
            durations.get_or_create(&labels("up")).observe(seconds);
        }
        registry.register("duration_seconds", "How long it took", durations);
        registry.register("unused", "Nothing yet", Family::<Labels, Counter>::default());

        let metrics = read(&registry);
        let names: Vec<_> = metrics.iter().map(|metric| (&*metric.name, &*metric.description)).collect();
        let expected = [
            ("records", "Records that came"),
            ("streams", "Live streams"),
            ("duration_seconds", "How long it took"),
        ];
        assert_eq!(names, expected);
        let attributes =
            |exporter: &str| vec![attribute("exporter", text(exporter)), attribute("signal", text("logs"))];
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        assert!(sum.is_monotonic && sum.aggregation_temporality == AggregationTemporality::Cumulative as i32);
        let mut counted: Vec<_> =
            sum.data_points.iter().map(|point| (point.attributes.clone(), point.value)).collect();
        counted.sort_by_key(|(attributes, _)| format!("{attributes:?}"));
        let seven = (attributes(strange), Some(Value::AsDouble(7.0)));
        assert_eq!(counted, [seven, (attributes("up"), Some(Value::AsDouble(2.0)))]);
        assert_eq!(sum.data_points[0].start_time_unix_nano, 1_000_000_000);
        assert_eq!(sum.data_points[0].time_unix_nano, 2_000_000_000);
        let Some(Data::Gauge(gauge)) = &metrics[1].data else { panic!("{:?}", metrics[1]) };
        assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(-3.0)));
        let Some(Data::Histogram(histogram)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
        let [point] = &histogram.data_points[..] else { panic!("{histogram:?}") };
        assert_eq!((&*point.bucket_counts, &*point.explicit_bounds), (&[2, 1, 1][..], &[0.5, 2.0][..]));
        assert_eq!((point.count, point.sum), (4, Some(6.3)));
        assert_eq!(point.attributes, attributes("up"));
    }
}
