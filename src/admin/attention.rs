//! What needs attention, in sentences that say what to do, the most urgent first.
//!
//! A sentence is for somebody who knows neither the code nor the configuration by heart: it names what is wrong, since when, how much
//! waits for it, and what ends it. Texts of upstreams and senders are not repeated: they are not trusted.

mod configuration;
mod holds;
mod limits;
mod queues;
mod rows;
mod streams;
mod telemetry;
mod watches;
mod words;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

pub(super) use self::configuration::first_problem;
pub(super) use self::limits::JOURNAL_NEARLY_FULL;
use self::rows::Findings;
pub(super) use self::rows::TableFindings;
use super::troubled::TroubledStreams;
use crate::run::Router;
use crate::stream::{StreamAddress, StreamName};
use crate::utc::rfc3339;

/// The most findings that are listed.
const LISTED: usize = 50;

/// Beyond this part of a limit, memory, streams, queues, dead letters and open files are nearly full.
const NEARLY_FULL: f64 = 0.9;

/// A failure is reported once it has lasted longer than this: most end with the next attempt.
const PASSING: Duration = Duration::from_secs(10);

/// Characters that are percent-encoded in a segment of a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Data waits or is lost.
    Error,
    /// Data will wait or be lost soon, or a watch fires.
    Warning,
    /// Somebody has asked for this state, such as by a hold.
    Info,
}

impl Urgency {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What a sentence is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AttentionSubject {
    Tenant(String),
    Exporter(String),
    Stream(StreamAddress),
    Journal,
    Memory,
    Configuration,
    /// Sluice's own telemetry.
    Telemetry,
    Watch(String),
    /// The certificate of a listener.
    Certificate(String),
    /// The client certificate of an exporter.
    ClientCertificate(String),
}

/// One thing that needs attention.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attention {
    urgency: Urgency,
    /// A word for tools.
    kind: &'static str,
    subject: AttentionSubject,
    since: Option<SystemTime>,
    pending_bytes: u64,
    text: String,
}

/// The findings, as many as are listed.
#[derive(Debug)]
pub(super) struct AttentionList {
    pub(super) listed: Vec<Value>,
    /// The number of findings, listed or not.
    pub(super) total: usize,
}

/// What needs attention now.
pub(super) fn attention(router: &Router, troubled: &[TroubledStreams], findings: &Findings) -> AttentionList {
    let mut all = limits::found(router);
    all.extend(configuration::found(router));
    let (full_queues, queues_left_out) = queues::found(router);
    all.extend(full_queues);
    let (of_streams, streams_left_out) = streams::found(router, troubled, findings);
    all.extend(of_streams);
    all.extend(holds::found(router));
    all.extend(rows::found(router, findings));
    all.extend(telemetry::found(router));
    all.extend(watches::found(router));
    all.sort_by_key(|one| (one.urgency, Reverse(one.pending_bytes), one.since));
    let listed = all.iter().take(LISTED).map(Attention::shown).collect();
    AttentionList { listed, total: all.len() + queues_left_out + streams_left_out }
}

impl Attention {
    /// A finding for which no data waits, and whose beginning is not known.
    fn new(urgency: Urgency, kind: &'static str, subject: AttentionSubject, text: String) -> Self {
        Self { urgency, kind, subject, since: None, pending_bytes: 0, text }
    }

    fn since(self, since: Option<SystemTime>) -> Self {
        Self { since, ..self }
    }

    /// The same finding, for which so many bytes wait.
    fn with_pending(self, pending_bytes: u64) -> Self {
        Self { pending_bytes, ..self }
    }

    fn shown(&self) -> Value {
        let (kind, name) = self.subject.named();
        json!({
            "severity": self.urgency.name(),
            "kind": self.kind,
            "subject": { "kind": kind, "name": name },
            "since": self.since.map(rfc3339),
            "pending_bytes": self.pending_bytes,
            "text": self.text,
            "href": self.subject.page(),
        })
    }
}

impl AttentionSubject {
    fn named(&self) -> (&'static str, Option<Cow<'_, str>>) {
        match self {
            Self::Tenant(id) => ("tenant", Some(id.into())),
            Self::Exporter(name) => ("exporter", Some(name.into())),
            Self::Stream(stream) => ("stream", Some(stream.name.key.text())),
            Self::Journal => ("journal", None),
            Self::Memory => ("memory", None),
            Self::Configuration => ("configuration", None),
            Self::Telemetry => ("telemetry", None),
            Self::Watch(name) => ("watch", Some(name.into())),
            Self::Certificate(name) | Self::ClientCertificate(name) => ("certificate", Some(name.into())),
        }
    }

    /// The page of the dashboard that shows more about the subject.
    fn page(&self) -> String {
        let path = |of: &str, name: &str| format!("/{of}/{}", utf8_percent_encode(name, IN_PATH));
        match self {
            Self::Tenant(id) => path("tenants", id),
            Self::Exporter(name) | Self::ClientCertificate(name) => path("exporters", name),
            Self::Stream(StreamAddress { exporter, name: StreamName { signal, key } }) => {
                let text = key.text();
                let tenant = key.tenant().map(|tenant| ("tenant", tenant));
                let all = [("exporter", &**exporter), ("signal", signal.name()), ("key", &text)]
                    .into_iter()
                    .chain(tenant);
                let all = all.map(|(field, value)| {
                    format!("{field}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
                });
                format!("/streams/one?{}", all.collect::<Vec<_>>().join("&"))
            }
            Self::Journal | Self::Memory => "/overview".to_owned(),
            Self::Watch(_) => "/watches".to_owned(),
            Self::Configuration | Self::Telemetry | Self::Certificate(_) => "/configuration".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Signal;
    use crate::route::RoutingKey;

    #[test]
    fn a_page_is_found_by_a_name_whatever_it_is() {
        let page = |subject: AttentionSubject| subject.page();
        assert_eq!(page(AttentionSubject::Exporter("otlp_http/s2".into())), "/exporters/otlp_http/s2");
        assert_eq!(page(AttentionSubject::Tenant("a?b c%".into())), "/tenants/a%3Fb%20c%25");
        let key = RoutingKey::of(Some("acme"), "a&b=c", std::iter::empty());
        assert_eq!(
            page(AttentionSubject::Stream(StreamAddress {
                exporter: "otlp_http/s2".into(),
                name: StreamName { signal: Signal::Logs, key },
            })),
            "/streams/one?exporter=otlp%5Fhttp%2Fs2&signal=logs&key=a%26b%3Dc&tenant=acme"
        );
    }
}
