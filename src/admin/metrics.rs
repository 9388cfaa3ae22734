//! The metrics. The modules count for themselves; this reads their counters when somebody asks.
//!
//! Labels are exporters, signals, outcomes and codes, all of which are few; a routing key is never one. A series begins with
//! the first event that it tells of: of many exporters most have never seen most signals and outcomes, and series of nothing
//! but zeros would be most of the page. What is not there is 0; the names of all metrics are always there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use super::metric_writer::{MetricFamilies, MetricValue, metrics_text};
use crate::access::AdminRefusal;
use crate::descriptors::{Share, Use, descriptors};
use crate::export::{CircuitState, Exporter, Fate, Histogram};
use crate::otlp::Signal;
use crate::panics;
use crate::receive::{Misdirection, Outcome, RequestOutcome, RequestTransport};
use crate::run::Router;
use crate::telemetry::{OwnTelemetry, TelemetryOutcome};
use crate::watches::RecordWatch;

/// All metrics as text.
pub(super) fn encode(router: &Arc<Router>) -> String {
    metrics_text(router, write)
}

/// All metrics.
pub(super) fn write(metrics: &mut MetricFamilies<'_>, router: &Arc<Router>) -> fmt::Result {
    received(metrics, router)?;
    exported(metrics, &router.exporters())?;
    let shared = router.shared();
    metrics.gauge("sluice_memory_bytes", "Bytes reserved of limits.memory", shared.budget.used() as f64)?;
    metrics.gauge("sluice_memory_limit_bytes", "limits.memory", shared.budget.limit() as f64)?;
    metrics.gauge("sluice_streams", "Live streams", shared.streams.live() as f64)?;
    descriptors_of(metrics)?;
    let tasks = Handle::current().metrics().num_alive_tasks();
    metrics.gauge("sluice_tasks", "Tasks that run or wait: connections, streams that send", tasks as f64)?;
    let dead_letters = router.intake().dead_letters.load();
    let dead_letter_bytes = dead_letters.as_ref().map_or(0, |directory| directory.bytes());
    metrics.gauge(
        "sluice_dead_letter_bytes",
        "Bytes in the dead-letter directory",
        dead_letter_bytes as f64,
    )?;
    journal(metrics, router)?;
    certificates(metrics, router)?;
    watches(metrics, &router.intake().observer.watches())?;
    telemetry(metrics, &shared.telemetry)?;
    let loaded = since_epoch(router.report().loaded_at);
    let help = "When the configuration in use was loaded";
    metrics.gauge("sluice_config_last_success_timestamp_seconds", help, loaded)?;
    metrics.counters("sluice_config_reloads", "Reloads of the configuration", |family| {
        let reloads = router.reloads();
        family.add(&[("outcome", "succeeded")], reloads.succeeded.load(Ordering::Relaxed))?;
        family.add(&[("outcome", "failed")], reloads.failed.load(Ordering::Relaxed))
    })?;
    metrics.counters("sluice_panics", "Panics that have ended one connection alone", |family| {
        family.add(&[], panics::contained_panics())
    })?;
    metrics.gauges("sluice_build_info", "The version of this Sluice; always 1", |family| {
        family.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)
    })
}

/// Reads a figure of a share of the descriptors.
type Descriptors = fn(&Share) -> usize;

fn descriptors_of(metrics: &mut MetricFamilies<'_>) -> fmt::Result {
    let gauges: [(&str, &str, Descriptors); 2] = [
        ("sluice_descriptors", "Open files and sockets that are counted, by what for", Share::in_use),
        ("sluice_descriptors_limit", "How many of them there may be", Share::most),
    ];
    for (name, help, value) in gauges {
        metrics.gauges(name, help, |family| {
            Use::ALL
                .into_iter()
                .try_for_each(|of| family.add(&[("use", of.name())], value(descriptors().share(of)) as f64))
        })?;
    }
    Ok(())
}

fn watches(metrics: &mut MetricFamilies<'_>, watches: &[Arc<RecordWatch>]) -> fmt::Result {
    metrics.counters("sluice_watch_records", "Records that watches have counted", |family| {
        watches.iter().try_for_each(|watch| family.add(&[("watch", &watch.settings().name)], watch.total()))
    })?;
    metrics.gauges("sluice_watch_firing", "1 while a watch fires, for any tenant", |family| {
        watches.iter().try_for_each(|watch| {
            let fires = !watch.state().firing.is_empty();
            family.add(&[("watch", &watch.settings().name)], f64::from(u8::from(fires)))
        })
    })
}

fn telemetry(metrics: &mut MetricFamilies<'_>, telemetry: &OwnTelemetry) -> fmt::Result {
    let help = "Spans, data points and log records about Sluice itself, by what became of them";
    metrics.counters("sluice_telemetry_records", help, |family| {
        for signal in Signal::ALL {
            for outcome in TelemetryOutcome::ALL {
                let labels = [("signal", signal.name()), ("outcome", outcome.name())];
                family.add(&labels, telemetry.counted(signal, outcome))?;
            }
        }
        Ok(())
    })
}

fn received(metrics: &mut MetricFamilies<'_>, router: &Router) -> fmt::Result {
    let counters = &router.intake().counters;
    metrics.counters("sluice_received_records", "Spans, data points and log records received", |family| {
        for signal in Signal::ALL {
            for transport in RequestTransport::ALL {
                for outcome in Outcome::ALL {
                    let labels = [
                        ("signal", signal.name()),
                        ("transport", transport.name()),
                        ("outcome", outcome.name()),
                    ];
                    family.add(&labels, counters.of(transport).records(signal, outcome))?;
                }
            }
        }
        Ok(())
    })?;
    metrics.counters("sluice_received_requests", "Requests in which OTLP was looked for", |family| {
        for signal in Signal::ALL {
            for transport in RequestTransport::ALL {
                for answered in RequestOutcome::ALL {
                    let labels = [
                        ("signal", signal.name()),
                        ("transport", transport.name()),
                        ("outcome", answered.name()),
                    ];
                    family.add(&labels, counters.of(transport).requests(signal, answered))?;
                }
            }
        }
        Ok(())
    })?;
    metrics.counters("sluice_received_bytes", "Bytes of request bodies, after decompression", |family| {
        for signal in Signal::ALL {
            for transport in RequestTransport::ALL {
                let labels = [("signal", signal.name()), ("transport", transport.name())];
                family.add(&labels, counters.of(transport).bytes(signal))?;
            }
        }
        Ok(())
    })?;
    let help = "Records of dead letters that never had an exporter";
    metrics.counters("sluice_received_dead_lettered_records", help, |family| {
        Signal::ALL
            .into_iter()
            .try_for_each(|signal| family.add(&[("signal", signal.name())], counters.dead_lettered(signal)))
    })?;
    let help = "Parts of requests without records, in which something unknown was ignored";
    metrics.counters("sluice_received_ignored_parts", help, |family| {
        for signal in Signal::ALL {
            for transport in RequestTransport::ALL {
                let labels = [("signal", signal.name()), ("transport", transport.name())];
                family.add(&labels, counters.of(transport).ignored(signal))?;
            }
        }
        Ok(())
    })?;
    let help = "Requests to a wrong path, by a wrong method or in a format that is not taken";
    metrics.counters("sluice_misdirected_requests", help, |family| {
        let (http, grpc) = (counters.of(RequestTransport::Http), counters.of(RequestTransport::Grpc));
        for how in Misdirection::ALL {
            let labels = [("transport", RequestTransport::Http.name()), ("code", how.code())];
            family.add(&labels, http.misdirected(how))?;
        }
        let unimplemented = Misdirection::ALL.into_iter().map(|how| grpc.misdirected(how)).sum();
        family
            .add(&[("transport", RequestTransport::Grpc.name()), ("code", "UNIMPLEMENTED")], unimplemented)?;
        Ok(())
    })?;
    let help = "Requests that the admin and health listeners have refused, by why";
    metrics.counters("sluice_admin_refused_requests", help, |family| {
        AdminRefusal::ALL.into_iter().try_for_each(|refusal| {
            family.add(&[("cause", refusal.name())], router.admin_access().refused(refusal))
        })
    })?;
    let help = "Connections that came to nothing, or were closed, for what they were";
    metrics.counters("sluice_connection_errors", help, |family| {
        for (receiver, error, count) in counters.connection_errors.all() {
            family.add(&[("receiver", &receiver), ("cause", error.name())], count)?;
        }
        Ok(())
    })?;
    let help = "Requests that were refused for the credentials that their senders have shown or not";
    metrics.counters("sluice_receiver_auth_failures", help, |family| {
        for (receiver, failure, count) in counters.auth_failures.all() {
            family.add(&[("receiver", &receiver), ("cause", failure.name())], count)?;
        }
        Ok(())
    })
}

/// Whether anything has ever come to an exporter. Of one to which nothing has, every figure is 0.
fn has_been_used(exporter: &Exporter) -> bool {
    let registry = exporter.registry();
    registry.recovered_records() > 0
        || registry.pending_bytes() > 0
        || Signal::ALL.into_iter().any(|signal| registry.routed_records(signal) > 0)
}

/// Reads a figure of an exporter.
type Gauge = fn(&Exporter) -> f64;

/// Reads a histogram of an exporter.
type Distribution = fn(&Exporter) -> &Histogram;

fn exported(metrics: &mut MetricFamilies<'_>, exporters: &[Arc<Exporter>]) -> fmt::Result {
    metrics.counters("sluice_routed_records", "Records that routes sent to an exporter", |family| {
        for exporter in exporters {
            for signal in Signal::ALL {
                let labels = [("exporter", &**exporter.name()), ("signal", signal.name())];
                family.add(&labels, exporter.registry().routed_records(signal))?;
            }
        }
        Ok(())
    })?;
    metrics.counters("sluice_exported_records", "Records that have ended, by how", |family| {
        for exporter in exporters {
            for signal in Signal::ALL {
                for fate in Fate::ALL {
                    let labels = [
                        ("exporter", &**exporter.name()),
                        ("signal", signal.name()),
                        ("outcome", fate.name()),
                    ];
                    family.add(&labels, exporter.counters().exported(signal, fate))?;
                }
            }
        }
        Ok(())
    })?;
    let help =
        "Of the dropped records those that nobody waited for any more: senders were told to send them again";
    metrics.counters("sluice_withdrawn_records", help, |family| {
        for exporter in exporters {
            for signal in Signal::ALL {
                let labels = [("exporter", &**exporter.name()), ("signal", signal.name())];
                family.add(&labels, exporter.counters().withdrawn(signal))?;
            }
        }
        Ok(())
    })?;
    metrics.counters("sluice_recovered_records", "Records found in the journal at the start", |family| {
        exporters.iter().try_for_each(|exporter| {
            family.add(&[("exporter", exporter.name())], exporter.registry().recovered_records())
        })
    })?;
    let gauges: [(&str, &str, Gauge); 3] = [
        ("sluice_pending_records", "Records that have not ended", |exporter| {
            exporter.registry().pending_records() as f64
        }),
        ("sluice_pending_bytes", "Bytes that have not ended", |exporter| {
            exporter.registry().pending_bytes() as f64
        }),
        ("sluice_oldest_pending_seconds", "Age of the oldest entry that has not ended", |exporter| {
            exporter.registry().oldest().map_or(0.0, |since| since.elapsed().as_secs_f64())
        }),
    ];
    for (name, help, value) in gauges {
        metrics.gauges(name, help, |family| {
            exporters
                .iter()
                .filter(|exporter| has_been_used(exporter))
                .try_for_each(|exporter| family.add(&[("exporter", exporter.name())], value(exporter)))
        })?;
    }
    metrics.gauges("sluice_held_streams", "Streams that are held", |family| {
        for exporter in exporters {
            let held = exporter.registry().held_streams();
            if held > 0 {
                family.add(&[("exporter", exporter.name())], held as f64)?;
            }
        }
        Ok(())
    })?;
    let help = "Destinations (scheme, host, port) in use, by whether they are worth asking";
    metrics.gauges("sluice_destinations", help, |family| {
        for exporter in exporters {
            let circuits = exporter.active().transport.circuits();
            for name in CircuitState::NAMES {
                let count = circuits.iter().filter(|(_, circuit)| circuit.name() == name).count();
                if count > 0 {
                    family.add(&[("exporter", exporter.name()), ("circuit", name)], count as f64)?;
                }
            }
        }
        Ok(())
    })?;
    metrics.counters("sluice_export_attempts", "Attempts to deliver, by what came of them", |family| {
        for exporter in exporters {
            for (code, count) in exporter.counters().attempts() {
                family.add(&[("exporter", exporter.name()), ("code", &code)], count)?;
            }
        }
        Ok(())
    })?;
    let histograms: [(&str, &str, Distribution); 2] = [
        ("sluice_export_duration_seconds", "Duration of attempts", |exporter| &exporter.counters().duration),
        ("sluice_batch_bytes", "Protobuf bytes of batches", |exporter| &exporter.counters().batch_bytes),
    ];
    for (name, help, histogram) in histograms {
        metrics.histograms(name, help, |family| {
            exporters.iter().filter(|exporter| has_been_used(exporter)).try_for_each(|exporter| {
                family.add(&[("exporter", exporter.name())], histogram(exporter).counts())
            })
        })?;
    }
    Ok(())
}

/// Nothing of a receiver or exporter that shows no certificate.
fn certificates(metrics: &mut MetricFamilies<'_>, router: &Router) -> fmt::Result {
    let help = "When the certificate that a receiver shows ends, or one of its chain before it";
    metrics.gauges("sluice_receiver_certificate_expiry_timestamp_seconds", help, |family| {
        let expiries = router.certificate_expiries();
        expiries
            .iter()
            .try_for_each(|(receiver, expiry)| family.add(&[("receiver", receiver)], since_epoch(*expiry)))
    })?;
    let help = "When the certificate that an exporter shows ends, or one of its chain before it";
    metrics.gauges("sluice_exporter_certificate_expiry_timestamp_seconds", help, |family| {
        for exporter in router.exporters().iter() {
            if let Some(expiry) = exporter.active().transport.certificate_expiry() {
                family.add(&[("exporter", exporter.name())], since_epoch(expiry))?;
            }
        }
        Ok(())
    })
}

/// Nothing without a journal.
fn journal(metrics: &mut MetricFamilies<'_>, router: &Router) -> fmt::Result {
    let Some(journal) = &router.intake().journal else { return Ok(()) };
    let state = journal.state();
    let unclaimed = router.unclaimed().iter().map(|unclaimed| unclaimed.records).sum::<u64>();
    metrics.gauges(
        "sluice_journal_segments",
        "Segment files of the journal, by what they hold",
        |family| {
            family.add(&[("state", "used")], state.segments as f64)?;
            family.add(&[("state", "spare")], state.spare_segments as f64)
        },
    )?;
    let gauges = [
        ("sluice_journal_bytes", "Bytes of the journal's files", state.bytes_on_disk as f64),
        ("sluice_journal_limit_bytes", "journal.max_size", state.max_size as f64),
        ("sluice_journal_live_bytes", "Bytes of entries that may not have ended", state.live_bytes as f64),
        ("sluice_journal_streams", "Streams that the journal knows", state.streams as f64),
        ("sluice_journal_waiting_requests", "Requests that wait to be written", state.waiting as f64),
        ("sluice_journal_failing", "1 while nothing can be written", f64::from(state.failing.is_some())),
        (
            "sluice_journal_unclaimed_records",
            "Records kept for exporters that the configuration does not have",
            unclaimed as f64,
        ),
    ];
    for (name, help, value) in gauges {
        metrics.gauge(name, help, value)?;
    }
    let counters = [
        ("sluice_journal_written_requests", "Requests written to the journal", state.written.requests),
        ("sluice_journal_written_bytes", "Bytes of entries written to the journal", state.written.bytes),
        ("sluice_journal_commits", "Writes of the journal, each of a group of requests", state.commits),
        ("sluice_journal_syncs", "Syncs of the journal's log", state.syncs),
        ("sluice_journal_carried_bytes", "Bytes carried to newer segments", state.carried_bytes),
        ("sluice_journal_quarantined", "Corrupt places put aside", state.quarantined),
        ("sluice_journal_quarantined_bytes", "Bytes put aside as corrupt", state.quarantined_bytes),
    ];
    for (name, help, value) in counters {
        metrics.counter(name, help, &MetricValue::Count(value))?;
    }
    let help = "Time that writes of the journal took, syncs included";
    metrics.counter(
        "sluice_journal_commit_seconds",
        help,
        &MetricValue::Amount(state.commit_time.as_secs_f64()),
    )?;
    let help = "Time that syncs of the journal's log took";
    metrics.counter("sluice_journal_sync_seconds", help, &MetricValue::Amount(state.sync_time.as_secs_f64()))
}

/// A moment as Prometheus writes it.
pub(super) fn since_epoch(moment: SystemTime) -> f64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
