//! `GET /api/v1/exporters`: each exporter and its counts, a page at a time, and `GET /api/v1/exporters/NAME`: all about one.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::attempt_row;
use super::query;
use super::stream_row::{self, operator_hold};
use super::tenant_list::named;
use crate::export::{Exporter, ExporterKind, Fate};
use crate::otlp::Signal;
use crate::receive::ConfigSnapshot;
use crate::rounded::seconds;
use crate::run::Router;
use crate::utc::rfc3339;

/// The most exporters that are listed in one answer, and how many are listed if the query has no `limit`.
const MOST: usize = 1000;

/// The most destinations that are listed of an exporter: its templates can make one for each routing key.
const DESTINATIONS: usize = 100;

/// The exporters that a request asks for, and their order.
#[derive(Debug)]
pub(super) struct WantedExporters {
    /// A part of the name.
    text: Option<String>,
    order: ExporterOrder,
    descending: bool,
    limit: usize,
    after: Option<String>,
    /// Exporters between the start, or what `after` says, and the page.
    skip: usize,
}

/// What exporters are ordered by; exporters that are equal in that are ordered by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExporterOrder {
    /// The order of the configuration; exporters that drain come last.
    Configuration,
    Name,
    Type,
    /// The age of the oldest pending entry; exporters without pending entries come last.
    Oldest,
    PendingBytes,
    PendingRecords,
    Streams,
    FailingStreams,
    HeldStreams,
    DeliveredRecords,
    NotDeliveredRecords,
    /// What most needs somebody is the largest.
    State,
}

/// What an exporter does, in a word, that which most needs somebody last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ExporterState {
    /// It has no streams.
    Idle,
    Ok,
    /// The configuration no longer has it.
    Draining,
    /// An operator or an answer of its upstream holds it, or all of its streams.
    Held,
    /// A stream of it fails, or a destination takes nothing.
    Failing,
}

/// An exporter with the figure that it is ordered by.
struct Ordered<'r> {
    exporter: &'r Arc<Exporter>,
    value: u64,
}

impl ExporterOrder {
    const ALL: [Self; 12] = [
        Self::Configuration,
        Self::Name,
        Self::Type,
        Self::Oldest,
        Self::PendingBytes,
        Self::PendingRecords,
        Self::Streams,
        Self::FailingStreams,
        Self::HeldStreams,
        Self::DeliveredRecords,
        Self::NotDeliveredRecords,
        Self::State,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Name => "name",
            Self::Type => "type",
            Self::Oldest => "oldest",
            Self::PendingBytes => "pending_bytes",
            Self::PendingRecords => "pending_records",
            Self::Streams => "streams",
            Self::FailingStreams => "failing_streams",
            Self::HeldStreams => "held_streams",
            Self::DeliveredRecords => "delivered_records",
            Self::NotDeliveredRecords => "not_delivered_records",
            Self::State => "state",
        }
    }

    /// The figure that the exporter at this place of the configuration in use is ordered by; `None` comes last.
    fn value(self, exporter: &Arc<Exporter>, place: usize, current: &ConfigSnapshot) -> Option<u64> {
        let registry = exporter.registry();
        let ended = |fates: &[Fate]| {
            let of = |signal| fates.iter().map(move |fate| exporter.counters().exported(signal, *fate));
            Some(Signal::ALL.into_iter().flat_map(of).sum())
        };
        match self {
            Self::Configuration => Some(place as u64),
            Self::Name | Self::Type => Some(0),
            Self::Oldest => {
                let began = registry.shared().began.0;
                registry.oldest().map(|oldest| oldest.saturating_duration_since(began).as_micros() as u64)
            }
            Self::PendingBytes => Some(registry.pending_bytes()),
            Self::PendingRecords => Some(registry.pending_records()),
            Self::Streams => Some(registry.len() as u64),
            Self::FailingStreams => Some(registry.failing_streams() as u64),
            Self::HeldStreams => Some(registry.held_streams() as u64),
            Self::DeliveredRecords => ended(&[Fate::Delivered]),
            Self::NotDeliveredRecords => ended(&[Fate::Rejected, Fate::DeadLettered, Fate::Dropped]),
            Self::State => Some(ExporterState::of(exporter, !current.uses(exporter)) as u64),
        }
    }
}

impl ExporterState {
    /// A draining exporter is called that whatever else applies, and one that is held is not called failing for what holds it.
    fn of(exporter: &Exporter, draining: bool) -> Self {
        let (registry, holds) = (exporter.registry(), exporter.holds());
        let (streams, held) = (registry.len(), registry.held_streams());
        if draining {
            Self::Draining
        } else if holds.of_exporter().is_some()
            || holds.by_operator().is_some()
            || (held > 0 && held == streams)
        {
            Self::Held
        } else if registry.failing_streams() > 0
            || exporter.active().transport.circuits().iter().any(|(_, circuit)| circuit.name() != "closed")
        {
            Self::Failing
        } else if streams > 0 {
            Self::Ok
        } else {
            Self::Idle
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ok => "ok",
            Self::Draining => "draining",
            Self::Held => "held",
            Self::Failing => "failing",
        }
    }
}

/// Reads the query.
pub(super) fn wanted(text: &str) -> Result<WantedExporters, String> {
    let order = ExporterOrder::Configuration;
    let mut wanted =
        WantedExporters { text: None, order, descending: false, limit: MOST, after: None, skip: 0 };
    for (name, value) in query::parameters(text) {
        match name {
            "q" => wanted.text = Some(value),
            "sort" => {
                let order = value.strip_prefix('-');
                wanted.descending = order.is_some();
                wanted.order =
                    named("sort", &ExporterOrder::ALL, ExporterOrder::name, order.unwrap_or(&value))?;
            }
            "limit" => wanted.limit = query::number("limit", &value)?.clamp(1, MOST),
            "after" => wanted.after = Some(value),
            "skip" => wanted.skip = query::number("skip", &value)?,
            _ => {
                return Err(format!("unknown parameter `{name}`: there are q, sort, limit, after and skip"));
            }
        }
    }
    Ok(wanted)
}

/// The page. May scan every stream.
pub(super) fn page(router: &Router, wanted: &WantedExporters) -> Result<Value, String> {
    let exporters = router.exporters();
    let current = router.intake().snapshot.load();
    let ordered = |(place, exporter)| Ordered { exporter, value: wanted.value(exporter, place, &current) };
    let mut all: Vec<Ordered<'_>> = exporters.iter().enumerate().map(ordered).collect();
    all.sort_unstable_by(|one, other| wanted.compare(one, other));
    // `after` may name an exporter that the query leaves out: its place in the order is known all the same.
    let begin = match &wanted.after {
        None => 0,
        Some(after) => {
            let place = all.iter().position(|ordered| **ordered.exporter.name() == **after);
            1 + place.ok_or_else(|| {
                format!("`after` names an exporter that is not there (any more): `{after}`; begin again without it")
            })?
        }
    };
    let is_wanted = |ordered: &&Ordered<'_>| {
        wanted.text.as_ref().is_none_or(|text| ordered.exporter.name().contains(text.as_str()))
    };
    let total = all.iter().filter(is_wanted).count();
    let mut rest = all[begin..].iter().filter(is_wanted).skip(wanted.skip);
    let page: Vec<_> = rest.by_ref().take(wanted.limit).collect();
    let next = rest.next().and(page.last()).map(|last| &**last.exporter.name());
    let shown: Vec<Value> =
        page.iter().map(|ordered| row(ordered.exporter, !current.uses(ordered.exporter))).collect();
    Ok(json!({ "total": total, "exporters": shown, "next": next }))
}

/// All about the exporter of this name, if there is one. May scan every stream of it.
pub(super) fn shown(router: &Router, name: &str) -> Option<Value> {
    let exporters = router.exporters();
    let exporter = exporters.iter().find(|exporter| **exporter.name() == *name)?;
    let mut shown = row(exporter, !router.intake().snapshot.load().uses(exporter));
    shown["settings"] = settings(router, name);
    shown["held_by_operators"] = held_by_operators(exporter).into();
    shown["last_attempts"] = attempt_row::of_streams(&exporter.registry().attempts());
    shown["last_errors"] = exporter.last_errors().all().iter().map(stream_row::error).collect();
    Some(shown)
}

/// The streams that operators hold, by their keys.
fn held_by_operators(exporter: &Exporter) -> Vec<Value> {
    let mut held = exporter.holds().streams_held_by_operators();
    held.sort_unstable_by(|(one, _), (other, _)| (&one.key, one.signal).cmp(&(&other.key, other.signal)));
    let shown = held.iter().take(MOST).map(|(name, hold)| {
        json!({
            "signal": name.signal.name(),
            "tenant": name.key.tenant(),
            "key": name.key.text(),
            "hold": operator_hold(hold),
        })
    });
    shown.collect()
}

/// An exporter's settings as they are written, secrets replaced; `null` for one that the configuration no longer has.
pub(super) fn settings(router: &Router, name: &str) -> Value {
    router.report().redacted["exporters"][name].clone()
}

impl WantedExporters {
    fn value(&self, exporter: &Arc<Exporter>, place: usize, current: &ConfigSnapshot) -> u64 {
        let directed = |value: u64| if self.descending { u64::MAX - 1 - value } else { value };
        self.order.value(exporter, place, current).map_or(u64::MAX, directed)
    }

    fn compare(&self, one: &Ordered<'_>, other: &Ordered<'_>) -> Ordering {
        let by_name = one.exporter.name().cmp(other.exporter.name());
        let order = match self.order {
            ExporterOrder::Name => by_name,
            ExporterOrder::Type => type_name(one.exporter).cmp(type_name(other.exporter)),
            _ => return one.value.cmp(&other.value).then(by_name),
        };
        let directed = if self.descending { order.reverse() } else { order };
        directed.then(by_name)
    }
}

fn type_name(exporter: &Exporter) -> &'static str {
    match exporter.active().settings.kind {
        ExporterKind::OtlpHttp(_) => "otlp_http",
        ExporterKind::OtlpGrpc(_) => "otlp_grpc",
        ExporterKind::File(_) => "file",
        ExporterKind::Debug(_) => "debug",
        ExporterKind::Nop => "nop",
    }
}

fn row(exporter: &Exporter, draining: bool) -> Value {
    let (registry, counters) = (exporter.registry(), exporter.counters());
    let records: Map<_, _> = Signal::ALL
        .into_iter()
        .map(|signal| {
            let mut counts = Map::new();
            counts.insert("routed".to_owned(), json!(registry.routed_records(signal)));
            for fate in Fate::ALL {
                counts.insert(fate.name().to_owned(), json!(counters.exported(signal, fate)));
            }
            (signal.name().to_owned(), Value::Object(counts))
        })
        .collect();
    let attempts: Map<_, _> =
        counters.attempts().into_iter().map(|(code, count)| (code.into_owned(), json!(count))).collect();
    let hold = exporter.holds().of_exporter();
    json!({
        "name": **exporter.name(),
        "type": type_name(exporter),
        "draining": draining,
        "state": ExporterState::of(exporter, draining).name(),
        "streams": registry.len(),
        "failing_streams": registry.failing_streams(),
        "held_streams": registry.held_streams(),
        "held_tenants": exporter.holds().held_tenants(),
        "held": hold.map(|hold| json!({
            "since": rfc3339(hold.since),
            "until": stream_row::until(&hold),
            "for": stream_row::error(&hold.answer),
        })),
        "hold": exporter.holds().by_operator().as_ref().map(operator_hold),
        "pending_records": registry.pending_records(),
        "pending_bytes": registry.pending_bytes(),
        "oldest_pending_seconds": registry.oldest().map(|since| seconds(since.elapsed())),
        "records": records,
        "attempts": attempts,
        "last_error": exporter.last_errors().all().first().map(stream_row::error),
        "destinations": destinations(exporter),
    })
}

/// The destinations in use, unreachable ones first.
fn destinations(exporter: &Exporter) -> Value {
    let mut circuits = exporter.active().transport.circuits();
    circuits.sort_unstable_by_key(|(origin, circuit)| {
        (circuit.open_since.is_none(), circuit.open_since, origin.clone())
    });
    let total = circuits.len();
    let shown: Vec<Value> = circuits
        .iter()
        .take(DESTINATIONS)
        .map(|(origin, circuit)| {
            json!({
                "origin": origin,
                "circuit": circuit.name(),
                "open_seconds": circuit.open_since.map(|since| seconds(since.elapsed())),
                "failure": circuit.failure,
                "next_probe_seconds": circuit.until_probe().map(seconds),
            })
        })
        .collect();
    json!({ "total": total, "shown": shown })
}
