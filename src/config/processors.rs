//! The processors of a Collector's file, of which Sluice runs two where a route names them.
//!
//! Any other processor that may drop, mask or change data is an error wherever a pipeline may run it: the data that it would drop or
//! mask would be sent on without it. The two that change nothing are left out with a warning that names the option with their purpose.
//! A processor that is defined, but that none of the file's pipelines names, is run by no Collector either, so that leaving it
//! out takes nothing away: it is a warning, too. Where there is no pipeline, as in a file of processors alone, nothing tells
//! that it is unused, and it is an error. One of the two that are run is an error where a pipeline may name it and no route does.

use super::model;

/// What Sluice does with a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Each route that names the processor runs it.
    Run,
    /// The processor, which drops and changes no data, is left out with a warning that names the option with the same purpose.
    LeftOut(&'static str),
    /// The processor is an error.
    Refused {
        /// What would become of the data without it.
        without: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

use Treatment::{LeftOut, Refused, Run};

const ELSEWHERE: &str = "let the senders, a Collector before this one or the upstream do it";

/// Processors by their present and former names, and what Sluice does with them.
pub(super) const TABLE: &[(&[&str], Treatment)] = &[
    (&["resource", "attributes"], Run),
    (&["batch"], LeftOut("batches are formed by `sending_queue.batch` of each exporter")),
    (&["memory_limiter"], LeftOut("`limits.memory` bounds what is held, and what is beyond it is refused")),
    (
        &["filter"],
        Refused {
            without: "what it drops would be sent on",
            instead: "to drop whole resources, write a `match` for each of `routes` and `unrouted: drop`; to drop single \
                      spans, data points or log records, let the senders, a Collector before this one or the upstream do it",
        },
    ),
    (
        &["probabilistic_sampler", "tail_sampling"],
        Refused {
            without: "what it leaves out would be sent on",
            instead: "let the senders sample, which SDKs do by `OTEL_TRACES_SAMPLER`, or let a Collector before this one do it",
        },
    ),
    (
        &["redaction", "transform"],
        Refused {
            without: "what it drops, masks or changes would be sent on as it came",
            instead: ELSEWHERE,
        },
    ),
    (
        &["resource_detection", "resourcedetection", "k8s_attributes", "k8sattributes"],
        Refused {
            without: "resources would be routed and sent on as they came",
            instead: "let the senders set the attributes, which SDKs do by `OTEL_RESOURCE_ATTRIBUTES`, or a processor `resource` that \
                      a route names",
        },
    ),
    (
        &["groupbyattrs"],
        Refused {
            without: "routes would not find the attributes that it moves to resources",
            instead: "let a Collector before this one do it",
        },
    ),
    (
        &["groupbytrace"],
        Refused {
            without: "spans would be sent on as they came, those that it discards among them",
            instead: "let a Collector before this one or the upstream do it",
        },
    ),
    (
        &["span", "geoip", "schema", "coralogix", "sumologic", "genainormalizer", "isolationforest"],
        Refused { without: "what it adds or changes would be sent on as it came", instead: ELSEWHERE },
    ),
    (
        &["drain", "logdedup", "unroll"],
        Refused { without: "log records would be sent on as they came", instead: ELSEWHERE },
    ),
    (
        &["cumulative_to_delta", "cumulativetodelta", "delta_to_cumulative", "deltatocumulative"],
        Refused {
            without: "metrics would be sent on as they came",
            instead: "let the senders choose, which SDKs do by `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`, or let a \
                      Collector before this one do it",
        },
    ),
    (
        &[
            "delta_to_rate",
            "deltatorate",
            "interval",
            "metric_start_time",
            "metricstarttime",
            "metrics_transform",
            "metricstransform",
            "metricsgeneration",
            "experimental_metricsgeneration",
            "cardinality_guardian",
        ],
        Refused { without: "metrics would be sent on as they came", instead: ELSEWHERE },
    ),
    (
        &["remotetap"],
        Refused {
            without: "what passes would be shown nowhere",
            instead: "name an exporter of the type `debug` or `file` beside the others of a route",
        },
    ),
];

/// What Sluice does with a processor that is not in the table.
pub(super) const ANY_OTHER: Treatment =
    Refused { without: "what it drops, masks or changes would be sent on as it came", instead: ELSEWHERE };

/// Whether a text is the name of a type of processor.
pub(super) fn is_type(text: &str) -> bool {
    types().any(|known| known == text)
}

/// Whether a processor changes no data and is left out.
pub(super) fn is_left_out(name: &str) -> bool {
    instead_of_harmless(model::type_of(name)).is_some()
}

/// Whether Sluice runs a processor itself.
pub(super) fn is_run(name: &str) -> bool {
    treatment(model::type_of(name)).unwrap_or(ANY_OTHER) == Run
}

/// The option with the purpose of a processor that changes nothing, by the processor's type.
pub(super) fn instead_of_harmless(r#type: &str) -> Option<&'static str> {
    match treatment(r#type)? {
        LeftOut(why) => Some(why),
        Run | Refused { .. } => None,
    }
}

/// For a type of processor that is known and not available: what would become of data without it, and what to do instead.
pub(super) fn not_available(r#type: &str) -> Option<(&'static str, &'static str)> {
    match treatment(r#type)? {
        Refused { without, instead } => Some((without, instead)),
        Run | LeftOut(_) => None,
    }
}

pub(super) fn types() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|(types, _)| types.iter().copied())
}

pub(super) fn treatment(r#type: &str) -> Option<Treatment> {
    TABLE.iter().find(|(types, _)| types.contains(&r#type)).map(|(_, treatment)| *treatment)
}
