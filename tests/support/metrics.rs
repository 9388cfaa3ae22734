//! Metrics as Prometheus reads them.

use std::collections::BTreeSet;

/// One page of metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text format; panics where it is broken.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample);
        Self { samples: samples.collect() }
    }

    /// The sum of all samples of `name` that have these labels: 0 if there are none, since what has never happened has no series.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(name, value)| sample.labels.iter().any(|(n, v)| n == name && v == value))
        };
        self.samples.iter().filter(has).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// Every name there is.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples.iter().map(|sample| &*sample.name).collect()
    }

    /// Every exporter that has a metric.
    pub fn exporters(&self) -> BTreeSet<String> {
        let labels = self.samples.iter().flat_map(|sample| &sample.labels);
        labels.filter(|(name, _)| name == "exporter").map(|(_, value)| value.clone()).collect()
    }

    /// Records of an exporter that ended so: `delivered`, `rejected`, `dead_lettered` or `dropped`.
    pub fn exported(&self, exporter: &str, outcome: &str) -> f64 {
        self.sum("sluice_exported_records_total", &[("exporter", exporter), ("outcome", outcome)])
    }

    /// How the records of an exporter don't add up, if they don't.
    pub fn imbalance(&self, exporter: &str) -> Option<String> {
        let of = |name| self.sum(name, &[("exporter", exporter)]);
        let came = of("sluice_routed_records_total") + of("sluice_recovered_records_total");
        let ended = of("sluice_exported_records_total");
        let pending = of("sluice_pending_records");
        let holds = (came - ended - pending).abs() < 0.5;
        (!holds).then(|| format!("{exporter}: {came} came, {ended} ended, {pending} are pending"))
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a sample ends with its value");
    let value = value.parse().expect("a value is a number");
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, labels)) => (name, labels_of(labels.strip_suffix('}').expect("labels end with a brace"))),
    };
    Sample { name: name.to_owned(), labels, value }
}

/// `a="b",c="d"`; label values here hold no escapes.
fn labels_of(text: &str) -> Vec<(String, String)> {
    text.split_terminator("\",")
        .map(|pair| {
            let (name, value) = pair.trim_end_matches('"').split_once("=\"").expect("a label has a value");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}
