//! docs/metrics.md says of each metric what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::support::eventful::Eventful;
use crate::support::eventually;

/// What takes a restart, `acknowledge: delivered` or a bug to have a series, so that its labels are not compared.
const WITHOUT_SERIES: [&str; 4] = [
    "sluice_panics_total",
    "sluice_recovered_records_total",
    "sluice_tenant_recovered_records_total",
    "sluice_withdrawn_records_total",
];

/// The kind of a metric and the names of its labels.
type Metric = (String, BTreeSet<String>);

/// What the tables of the page say of each metric.
fn documented() -> BTreeMap<String, Metric> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut metrics = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `sluice_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        // Rows of alerts have two.
        let [name, kind, labels, _unit, meaning] = cells[..] else { continue };
        assert!(!meaning.is_empty(), "{line}");
        let labels =
            labels.split(", ").filter(|label| !label.is_empty()).map(|label| label.trim_matches('`'));
        let metric = (kind.to_owned(), labels.map(ToOwned::to_owned).collect());
        let twice = metrics.insert(name.trim_matches('`').to_owned(), metric);
        assert!(twice.is_none(), "{name} is there twice");
    }
    metrics
}

/// What pages of metrics say of each, as far as it has series: of the others the labels are not known.
#[derive(Default)]
struct Scraped {
    kinds: BTreeMap<String, String>,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Scraped {
    fn read(&mut self, page: &str) {
        for line in page.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                self.kinds.insert(name, kind.to_owned());
            } else if !line.starts_with('#') && !line.is_empty() {
                self.read_sample(line);
            }
        }
    }

    fn read_sample(&mut self, line: &str) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let name = of_histogram.filter(|name| self.kinds.contains_key(*name)).unwrap_or(name);
        let names = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        let names: BTreeSet<String> = names.filter(|name| name != "le").collect();
        // What a page has of all, another may have of each tenant.
        let known = self.labels.entry(name.to_owned()).or_insert_with(|| names.clone());
        assert!(
            known.symmetric_difference(&names).all(|label| label == "tenant"),
            "{line}: series of one metric have other labels"
        );
        known.extend(names);
    }
}

#[tokio::test]
async fn the_reference_has_every_metric_with_its_type_and_labels_and_no_other() {
    let documented = documented();
    let eventful = Eventful::start().await;
    let mut scraped = Scraped::default();
    eventually("every metric has a series", async || {
        eventful.send_all_sorts().await;
        for path in ["/metrics", "/metrics/tenants"] {
            scraped.read(&eventful.sluice.get(path).await.text());
        }
        let missing: Vec<_> = documented
            .iter()
            .filter(|(name, (_, labels))| {
                scraped.labels.get(*name) != Some(labels) && !WITHOUT_SERIES.contains(&name.as_str())
            })
            .collect();
        if missing.is_empty() {
            return Some(());
        }
        println!("no series yet with the labels of {missing:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        None
    })
    .await;
    let kinds =
        documented.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect::<BTreeMap<_, _>>();
    assert_eq!(scraped.kinds, kinds, "what there is, and what docs/metrics.md says");
    for (name, labels) in &scraped.labels {
        assert_eq!(*labels, documented[name].1, "labels of {name}, and what docs/metrics.md says");
    }
}
