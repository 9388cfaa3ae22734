//! Presets for known upstreams: `preset: NAME` in an exporter fills in the options that [`PRESETS`] has for that name, where the exporter
//! itself does not have them (`fill_in`).
//!
//! The table is plain data, and the one in `docs/configuration.md` is made from it. Options stand in it as they would be
//! written in a configuration. A fact that no source is known for does not stand in it: the default holds.

mod reference;

use crate::otlp::Signal;
use Signal::{Logs, Metrics, Traces};

pub use reference::preset_reference;

/// The preset of an upstream.
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// The name that its makers use.
    pub(super) upstream: &'static str,
    /// How it is reached by OTLP/HTTP, if it takes that.
    pub(super) http: Option<PresetAccess>,
    /// How it is reached by OTLP/gRPC, if it takes that.
    pub(super) grpc: Option<PresetAccess>,
    /// The signals that it takes.
    pub(super) signals: &'static [Signal],
    /// The header with the credential, if it has one.
    pub(super) credential: Option<PresetCredential>,
    pub(super) stream: PresetStream,
    /// Headers that it requires, and what each means. A user has to write those that the preset does not fill in.
    pub(super) needs: &'static [(&'static str, &'static str)],
    /// The size of the largest request that it takes.
    pub(super) largest: Option<&'static str>,
    /// Further facts, for the documentation.
    pub(super) note: &'static str,
    /// The sources of these facts.
    pub(super) sources: &'static [&'static str],
}

/// How an upstream is reached by one of the two protocols.
pub(super) struct PresetAccess {
    /// The `endpoint` where none is written. Without it one has to be written.
    pub(super) default: Option<&'static str>,
    /// An endpoint, with what differs from account to account in capitals.
    pub(super) example: &'static str,
    /// Globs that the endpoint's host matches. None if anybody may run the upstream anywhere.
    pub(super) hosts: &'static [&'static str],
    /// The path that an endpoint has, which is added where none is written.
    pub(super) path: &'static str,
    /// Keys of the exporter below each other, and their values.
    pub(super) options: &'static [(&'static [&'static str], &'static str)],
}

/// The header that a credential is sent in.
#[derive(Clone, Copy)]
pub(super) struct PresetCredential {
    pub(super) header: &'static str,
    pub(super) scheme: CredentialScheme,
    /// The upstream's name for the credential, for the documentation.
    pub(super) what: &'static str,
    /// Whether the upstream takes nothing without it.
    pub(super) needed: bool,
}

/// The scheme before a credential.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum CredentialScheme {
    /// Nothing.
    None,
    /// `Bearer`.
    Bearer,
    /// `Basic`, before user and password in Base64.
    Basic,
}

/// How the upstream tells streams apart.
pub(super) struct PresetStream {
    /// By this resource attribute, which it reads itself: a route's key has to be made of it.
    pub(super) attribute: Option<&'static str>,
    /// By these headers, which are templates over the key.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// The regular expression that a whole key has to match, and its meaning in words.
    pub(super) valid: Option<(&'static str, &'static str)>,
}

impl CredentialScheme {
    /// The text before the credential, with a space behind it.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bearer => "Bearer ",
            Self::Basic => "Basic ",
        }
    }
}

/// The preset of this name.
pub(super) fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// All names, in the order of the table.
#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    PRESETS.iter().map(|preset| preset.name).collect()
}

const ALL: &[Signal] = &Signal::ALL;

/// For upstreams without streams, or that tell them apart by the credential.
const NO_STREAM: PresetStream = PresetStream { attribute: None, headers: &[], valid: None };

const BEARER: PresetCredential = PresetCredential {
    header: "Authorization",
    scheme: CredentialScheme::Bearer,
    what: "API token",
    needed: true,
};

const BASIC: PresetCredential = PresetCredential {
    header: "Authorization",
    scheme: CredentialScheme::Basic,
    what: "`USER:PASSWORD`, or that in Base64",
    needed: true,
};

/// A tenant's id at Loki, Tempo and Mimir: neither `.` nor `..`.
const GRAFANA_TENANT: (&str, &str) = (
    r"[A-Za-z0-9!_*'()-][A-Za-z0-9!_*'().-]{0,149}|\.[A-Za-z0-9!_*'()-][A-Za-z0-9!_*'().-]{0,148}|\.\.[A-Za-z0-9!_*'().-]{1,148}",
    "a tenant's id has at most 150 letters, digits and characters of `!-_.*'()`",
);

const GRAFANA_STREAM: PresetStream =
    PresetStream { attribute: None, headers: &[("X-Scope-OrgID", "{{ key }}")], valid: Some(GRAFANA_TENANT) };

/// A whole number of 31 bits above zero, or a short word with a letter in it.
const HIGHLIGHT_PROJECT: (&str, &str) = (
    "[1-9][0-9]{0,8}|1[0-9]{9}|20[0-9]{8}|21[0-3][0-9]{7}|214[0-6][0-9]{6}|2147[0-3][0-9]{5}|21474[0-7][0-9]{4}|\
     214748[0-2][0-9]{3}|2147483[0-5][0-9]{2}|21474836[0-3][0-9]|214748364[0-7]|[0-9a-z]{0,15}[a-z][0-9a-z]{0,15}",
    "a project's id is a number from 1 to 2147483647, or a short word of small letters and digits",
);

/// A whole number of 32 bits.
const U32: (&str, &str) = (
    "[0-9]{1,9}|[1-3][0-9]{9}|4[01][0-9]{8}|42[0-8][0-9]{7}|429[0-3][0-9]{6}|4294[0-8][0-9]{5}|42949[0-5][0-9]{4}|\
     429496[0-6][0-9]{3}|4294967[01][0-9]{2}|42949672[0-8][0-9]|429496729[0-5]",
    "an account's id is a number from 0 to 4294967295",
);

/// An endpoint that somebody runs for themselves.
const fn own(example: &'static str, path: &'static str) -> PresetAccess {
    PresetAccess { default: None, example, hosts: &[], path, options: &[] }
}

/// All presets.
pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "s2",
        upstream: "S2",
        http: Some(PresetAccess {
            default: None,
            example: "https://BASIN.b.s2.dev/otlp",
            hosts: &["*.b.s2.dev", "*.b.aws.s2.dev"],
            path: "/otlp",
            options: &[
                (&["compression"], "none"),
                (&["sending_queue", "num_consumers"], "1"),
                (&["sending_queue", "batch", "flush_timeout"], "50ms"),
                (&["sending_queue", "batch", "min_size"], "256KiB"),
                (&["sending_queue", "batch", "max_size"], "512KiB"),
                (&["retry_on_failure", "statuses"], "[408, 429, 500, 502, 503, 504]"),
                (&["statuses", "409"], "{ dead_letter: 10m }"),
                (&["statuses", "412"], "dead_letter"),
            ],
        }),
        grpc: None,
        signals: ALL,
        credential: Some(PresetCredential { what: "access token", ..BEARER }),
        stream: PresetStream { attribute: Some("s2.stream"), headers: &[], valid: None },
        needs: &[],
        largest: Some("1MiB"),
        note: "the basin needs create-stream-on-append for streams to appear by themselves; what is tried again after 408 or \
               500 may arrive twice",
        sources: &["https://s2.dev/docs/integrations/otlp"],
    },
    Preset {
        name: "highlight",
        upstream: "Highlight",
        http: Some(PresetAccess {
            default: Some("https://otel.highlight.io:4318"),
            ..own("https://otel.highlight.io:4318", "")
        }),
        grpc: Some(PresetAccess {
            default: Some("https://otel.highlight.io:4317"),
            ..own("https://otel.highlight.io:4317", "")
        }),
        signals: ALL,
        credential: None,
        stream: PresetStream {
            attribute: Some("highlight.project_id"),
            headers: &[],
            valid: Some(HIGHLIGHT_PROJECT),
        },
        needs: &[],
        largest: Some("20MiB"),
        note: "it answers 200 to what it drops, such as data of a project that it does not know",
        sources: &[
            "https://www.highlight.io/docs/getting-started/native-opentelemetry/overview",
            "https://github.com/highlight/highlight/blob/main/backend/otel/extract.go",
        ],
    },
    Preset {
        name: "better_stack",
        upstream: "Better Stack",
        http: Some(PresetAccess {
            default: None,
            example: "https://INGESTING_HOST",
            hosts: &["*.betterstack.com", "*.betterstackdata.com"],
            path: "",
            options: &[
                (&["sending_queue", "batch", "max_size"], "8MiB"),
                (&["statuses", "402"], "{ hold_tenant: 1h }"),
                (&["statuses", "406"], "split"),
            ],
        }),
        grpc: None,
        signals: ALL,
        credential: Some(PresetCredential { what: "source token", ..BEARER }),
        stream: NO_STREAM,
        needs: &[],
        largest: Some("10MiB"),
        note: "the token says which source it is; spans without an end time are skipped",
        sources: &[
            "https://betterstack.com/docs/logs/open-telemetry/",
            "https://betterstack.com/docs/logs/ingesting-data/http/logs/",
        ],
    },
    Preset {
        name: "loki",
        upstream: "Grafana Loki",
        http: Some(own("http://HOST:3100/otlp", "/otlp")),
        grpc: None,
        signals: &[Logs],
        credential: None,
        stream: GRAFANA_STREAM,
        needs: &[],
        largest: None,
        note: "",
        sources: &[
            "https://grafana.com/docs/loki/latest/send-data/otel/",
            "https://grafana.com/docs/loki/latest/operations/multi-tenancy/",
        ],
    },
    Preset {
        name: "tempo",
        upstream: "Grafana Tempo",
        http: Some(own("http://HOST:4318", "")),
        grpc: Some(own("http://HOST:4317", "")),
        signals: &[Traces],
        credential: None,
        stream: GRAFANA_STREAM,
        needs: &[],
        largest: None,
        note: "",
        sources: &["https://grafana.com/docs/tempo/latest/configuration/tenant-ids/"],
    },
    Preset {
        name: "mimir",
        upstream: "Grafana Mimir",
        http: Some(own("http://HOST:8080/otlp", "/otlp")),
        grpc: None,
        signals: &[Metrics],
        credential: None,
        stream: GRAFANA_STREAM,
        needs: &[],
        largest: None,
        note: "",
        sources: &[
            "https://grafana.com/docs/mimir/latest/configure/configure-otel-collector/",
            "https://grafana.com/docs/mimir/latest/configure/about-tenant-ids/",
        ],
    },
    Preset {
        name: "grafana_cloud",
        upstream: "Grafana Cloud",
        http: Some(PresetAccess {
            default: None,
            example: "https://otlp-gateway-ZONE.grafana.net/otlp",
            hosts: &["otlp-gateway-*.grafana.net"],
            path: "/otlp",
            options: &[(&["encoding"], "proto")],
        }),
        grpc: None,
        signals: ALL,
        credential: Some(PresetCredential { what: "`INSTANCE_ID:TOKEN`, or that in Base64", ..BASIC }),
        stream: NO_STREAM,
        needs: &[],
        largest: None,
        note: "the credential says which stack it is",
        sources: &["https://grafana.com/docs/grafana-cloud/send-data/otlp/send-data-otlp/"],
    },
    Preset {
        name: "honeycomb",
        upstream: "Honeycomb",
        http: Some(PresetAccess {
            default: Some("https://api.honeycomb.io"),
            example: "https://api.eu1.honeycomb.io",
            hosts: &["api.honeycomb.io", "api.*.honeycomb.io"],
            path: "",
            options: &[],
        }),
        grpc: Some(PresetAccess {
            default: Some("https://api.honeycomb.io:443"),
            example: "https://api.eu1.honeycomb.io:443",
            hosts: &["api.honeycomb.io", "api.*.honeycomb.io"],
            path: "",
            options: &[],
        }),
        signals: ALL,
        credential: Some(PresetCredential {
            header: "x-honeycomb-team",
            scheme: CredentialScheme::None,
            what: "API key",
            needed: true,
        }),
        stream: PresetStream {
            attribute: None,
            headers: &[("x-honeycomb-dataset", "{{ key }}")],
            valid: None,
        },
        needs: &[],
        largest: None,
        note: "",
        sources: &["https://docs.honeycomb.io/send-data/opentelemetry/"],
    },
    Preset {
        name: "axiom",
        upstream: "Axiom",
        http: Some(PresetAccess {
            default: Some("https://api.axiom.co"),
            example: "https://api.axiom.co",
            hosts: &["*.axiom.co"],
            path: "",
            options: &[],
        }),
        grpc: None,
        signals: ALL,
        credential: Some(BEARER),
        stream: PresetStream {
            attribute: None,
            headers: &[
                ("X-Axiom-Dataset", "{{ key }}-{{ signal }}"),
                ("X-Axiom-Metrics-Dataset", "{{ key }}-{{ signal }}"),
            ],
            valid: None,
        },
        needs: &[],
        largest: None,
        note: "a dataset holds one signal: `acme-logs` for the key `acme`",
        sources: &["https://axiom.co/docs/send-data/opentelemetry"],
    },
    Preset {
        name: "datadog",
        upstream: "Datadog",
        http: Some(PresetAccess {
            default: None,
            example: "https://otlp.DATADOG_SITE",
            hosts: &["otlp.*"],
            path: "",
            options: &[(&["encoding"], "proto")],
        }),
        grpc: None,
        signals: ALL,
        credential: Some(PresetCredential {
            header: "dd-api-key",
            scheme: CredentialScheme::None,
            what: "API key",
            needed: true,
        }),
        stream: NO_STREAM,
        needs: &[],
        largest: None,
        note: "the key says which organization it is; metrics have to be of delta temporality",
        sources: &["https://docs.datadoghq.com/opentelemetry/setup/otlp_ingest/"],
    },
    Preset {
        name: "new_relic",
        upstream: "New Relic",
        http: Some(PresetAccess {
            default: Some("https://otlp.nr-data.net"),
            example: "https://otlp.eu01.nr-data.net",
            hosts: &["otlp.nr-data.net", "otlp.*.nr-data.net", "gov-otlp.nr-data.net"],
            path: "",
            options: &[(&["encoding"], "proto")],
        }),
        grpc: Some(PresetAccess {
            default: Some("https://otlp.nr-data.net:4317"),
            example: "https://otlp.eu01.nr-data.net:4317",
            hosts: &["otlp.nr-data.net", "otlp.*.nr-data.net", "gov-otlp.nr-data.net"],
            path: "",
            options: &[],
        }),
        signals: ALL,
        credential: Some(PresetCredential {
            header: "api-key",
            scheme: CredentialScheme::None,
            what: "license key",
            needed: true,
        }),
        stream: NO_STREAM,
        needs: &[],
        largest: Some("1MB"),
        note: "the key says which account it is",
        sources: &[
            "https://docs.newrelic.com/docs/opentelemetry/best-practices/opentelemetry-otlp/",
            "https://docs.newrelic.com/docs/more-integrations/open-source-telemetry-integrations/opentelemetry/best-practices/opentelemetry-best-practices-compression/",
        ],
    },
    Preset {
        name: "dash0",
        upstream: "Dash0",
        http: Some(PresetAccess {
            default: None,
            example: "https://ingress.REGION.aws.dash0.com",
            hosts: &["ingress.*.dash0.com"],
            path: "",
            options: &[],
        }),
        grpc: Some(PresetAccess {
            default: None,
            example: "https://ingress.REGION.aws.dash0.com:4317",
            hosts: &["ingress.*.dash0.com"],
            path: "",
            options: &[],
        }),
        signals: ALL,
        credential: Some(PresetCredential { what: "auth token", ..BEARER }),
        stream: PresetStream { attribute: None, headers: &[("Dash0-Dataset", "{{ key }}")], valid: None },
        needs: &[],
        largest: None,
        note: "",
        sources: &[
            "https://www.dash0.com/hub/integrations/int_otlp/overview",
            "https://www.dash0.com/documentation/dash0/key-concepts/endpoints",
        ],
    },
    Preset {
        name: "signoz",
        upstream: "SigNoz",
        http: Some(own("https://ingest.REGION.signoz.cloud:443", "")),
        grpc: Some(own("https://ingest.REGION.signoz.cloud:443", "")),
        signals: ALL,
        credential: Some(PresetCredential {
            header: "signoz-ingestion-key",
            scheme: CredentialScheme::None,
            what: "ingestion key, in the cloud",
            needed: false,
        }),
        stream: NO_STREAM,
        needs: &[],
        largest: None,
        note: "the key says which account it is",
        sources: &["https://signoz.io/docs/ingestion/signoz-cloud/overview/"],
    },
    Preset {
        name: "openobserve",
        upstream: "OpenObserve",
        http: Some(own("https://HOST/api/ORGANIZATION", "")),
        grpc: Some(own("https://HOST:5081", "")),
        signals: ALL,
        credential: Some(BASIC),
        stream: PresetStream { attribute: None, headers: &[("stream-name", "{{ key }}")], valid: None },
        needs: &[],
        largest: None,
        note: "by gRPC, write `headers: { organization: … }`, too",
        sources: &["https://openobserve.ai/docs/ingestion/logs/otlp/"],
    },
    Preset {
        name: "victorialogs",
        upstream: "VictoriaLogs",
        http: Some(own("http://HOST:9428/insert/opentelemetry", "/insert/opentelemetry")),
        grpc: None,
        signals: &[Logs],
        credential: None,
        stream: PresetStream { attribute: None, headers: &[("AccountID", "{{ key }}")], valid: Some(U32) },
        needs: &[],
        largest: None,
        note: "where there is one account, write `headers: { AccountID: \"0\" }`; beside it, `ProjectID` (a number as well) names a project of the \
               account, and `VL-Stream-Fields` the attributes that tell VictoriaLogs' own streams apart",
        sources: &[
            "https://docs.victoriametrics.com/victorialogs/data-ingestion/opentelemetry/",
            "https://docs.victoriametrics.com/victorialogs/#multitenancy",
        ],
    },
    Preset {
        name: "parseable",
        upstream: "Parseable",
        http: Some(PresetAccess { options: &[(&["encoding"], "json")], ..own("https://HOST", "") }),
        grpc: None,
        signals: ALL,
        credential: Some(BASIC),
        stream: PresetStream {
            attribute: None,
            headers: &[("X-P-Stream", "{{ key }}"), ("X-P-Log-Source", "otel-{{ signal }}")],
            valid: None,
        },
        needs: &[("X-P-Stream", "the name of the stream")],
        largest: None,
        note: "",
        sources: &["https://www.parseable.com/docs/OpenTelemetry/logs"],
    },
    Preset {
        name: "uptrace",
        upstream: "Uptrace",
        http: Some(PresetAccess {
            default: Some("https://api.uptrace.dev"),
            ..own("https://api.uptrace.dev", "")
        }),
        grpc: Some(PresetAccess {
            default: Some("https://api.uptrace.dev:4317"),
            ..own("https://api.uptrace.dev:4317", "")
        }),
        signals: ALL,
        credential: Some(PresetCredential {
            header: "uptrace-dsn",
            scheme: CredentialScheme::None,
            what: "DSN",
            needed: true,
        }),
        stream: NO_STREAM,
        needs: &[],
        largest: None,
        note: "the DSN says which project it is",
        sources: &["https://uptrace.dev/ingest/collector"],
    },
    Preset {
        name: "greptimedb",
        upstream: "GreptimeDB",
        http: Some(PresetAccess {
            options: &[(&["encoding"], "proto")],
            ..own("https://HOST/v1/otlp", "/v1/otlp")
        }),
        grpc: None,
        signals: ALL,
        credential: Some(PresetCredential { needed: false, ..BASIC }),
        stream: PresetStream {
            attribute: None,
            headers: &[("X-Greptime-DB-Name", "{{ key }}")],
            valid: None,
        },
        needs: &[],
        largest: None,
        note: "for traces, write an exporter of their own with `headers: { x-greptime-pipeline-name: greptime_trace_v1 }`",
        sources: &["https://docs.greptime.com/user-guide/ingest-data/for-observability/otel-collector"],
    },
    Preset {
        name: "cloudwatch",
        upstream: "Amazon CloudWatch Logs",
        http: Some(PresetAccess {
            default: None,
            example: "https://logs.REGION.amazonaws.com",
            hosts: &["logs.*.amazonaws.com", "logs.*.amazonaws.com.cn"],
            path: "",
            options: &[(&["compression"], "gzip")],
        }),
        grpc: None,
        signals: &[Logs],
        credential: Some(BEARER),
        stream: PresetStream {
            attribute: None,
            headers: &[("x-aws-log-stream", "{{ key }}")],
            valid: Some((
                "[^:*]{1,512}",
                "a log stream's name has at most 512 characters, and no `:` and `*`",
            )),
        },
        needs: &[
            ("x-aws-log-group", "the name of the log group"),
            ("x-aws-log-stream", "the name of the log stream"),
        ],
        largest: None,
        note: "the log group has to let bearer tokens in",
        sources: &[
            "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html",
            "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_HTTP_Endpoints_OTLP.html",
        ],
    },
];
