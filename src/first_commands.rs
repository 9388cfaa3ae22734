//! Commands that send what the configuration in use takes, for whoever has just started: `sluice run` prints them on a terminal, and the
//! dashboard shows them for as long as nothing has come in.
//!
//! Where senders have to say who they are, the commands read that from variables of the shell: secrets are known by their hashes alone.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::explain::{Explainer, RouteAnswer, TakenEnd};
use crate::otlp::{self, Signal, put_frame};
use crate::receive::{Authenticator, ConfigSnapshot, ListenerSettings};
use crate::route::{EntryRoutes, RequestHeaders};
use crate::stream::StreamName;
use crate::telemetry::{attribute, text};
use crate::tenants::{Credential, Table, Tenant};

/// Logs first: they are what people send by hand.
const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Traces, Signal::Metrics];

/// The value of attributes and headers that may have any, and so the stream, where the data names it.
const CURL: &str = "curl";

/// What the one record says.
const HELLO: &str = "hello from curl!";

/// What curl prints behind the answer, which is `{}` where all is well.
const ANSWERED: &str = r"\nHTTP %{http_code}\n";

/// The attribute that `sluice send` sets unless told otherwise.
const SEND_ATTRIBUTE: &str = "s2.stream";

/// Tenants that are tried, by their ids.
const TENANTS: usize = 20;

/// The variables of the shell that secrets are read from.
const TOKEN: &str = "SLUICE_TOKEN";
const USER: &str = "SLUICE_USER";
const CERTIFICATE: &str = "SLUICE_CERT";
const KEY: &str = "SLUICE_KEY";

/// What to try with one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstCommands {
    /// Sends one record by curl. `None` if no route takes anything that could be made up.
    pub(crate) curl: Option<String>,
    /// Sends for some seconds by `sluice send`, if that can send what a route takes.
    pub(crate) send: Option<String>,
    /// What has to be known to run them, as a sentence, if that is anything.
    pub(crate) secret: Option<String>,
}

/// A receiver that takes OTLP by HTTP.
pub(crate) struct ReceiverAt<'r> {
    /// Its URL, without a path.
    pub(crate) url: &'r str,
    /// Its settings.
    pub(crate) settings: &'r ListenerSettings,
}

/// How a sender says who it is.
struct Access {
    /// The tenant as whose sender it sends.
    tenant: Option<Arc<str>>,
    /// The attribute and the id by which a record says whose it is, where nobody else does.
    named: Option<(String, String)>,
    /// Options of curl and of `sluice send`; none where that can't send so.
    curl: String,
    send: Option<String>,
    secret: Option<String>,
}

impl FirstCommands {
    /// Those for a receiver; `program` is what calls Sluice in a shell.
    pub(crate) fn of(
        snapshot: &ConfigSnapshot,
        table: &Arc<Table>,
        receiver: &ReceiverAt<'_>,
        program: &str,
    ) -> Self {
        let trial = Trial { snapshot, table, receiver: &receiver.settings.name };
        let all = accesses(receiver.settings, table);
        // Whoever tries it has started what answers, and a test's certificate is seldom one for an address.
        let unchecked = |option: &'static str| if receiver.url.starts_with("https:") { option } else { "" };
        let mut commands = Self { curl: None, send: None, secret: None };
        let by_curl = all.iter().find_map(|access| {
            let (signal, resource, headers) =
                SIGNALS.into_iter().find_map(|signal| trial.by_curl(signal, access))?;
            Some((access, signal, resource, headers))
        });
        // Both are of the same sender, whose secret is told.
        let same = by_curl.as_ref().map(|(access, ..)| std::slice::from_ref(*access));
        let by_send = same.unwrap_or(&all).iter().find_map(|access| {
            let options = access.send.as_ref().filter(|_| access.named.is_none())?;
            let (signal, attribute) =
                SIGNALS.into_iter().find_map(|signal| Some((signal, trial.by_send(signal, access)?)))?;
            Some((access, options, signal, attribute))
        });
        if let Some((access, signal, resource, headers)) = by_curl {
            commands.secret.clone_from(&access.secret);
            commands.curl = Some(format!(
                "curl -sS{}{}{headers} -w '{ANSWERED}' -H 'Content-Type: application/json' -d {} {}{}",
                unchecked(" -k"),
                access.curl,
                quoted(&in_json(signal, resource)),
                receiver.url,
                signal.path(),
            ));
        }
        if let Some((access, options, signal, attribute)) = by_send {
            let option =
                if attribute == SEND_ATTRIBUTE { String::new() } else { format!(" --attribute {attribute}") };
            commands.secret = commands.secret.take().or_else(|| access.secret.clone());
            commands.send = Some(format!(
                "{program} send --endpoint {}{}{options} --signal {signal}{option} --streams 10 --duration 5s",
                receiver.url,
                unchecked(" --insecure-skip-verify"),
            ));
        }
        commands
    }
}

/// The ways to say who sends, those first that are tried first.
fn accesses(settings: &ListenerSettings, table: &Table) -> Vec<Access> {
    let mut all = accesses_by_secrets(settings, table);
    if settings.tls.as_ref().is_some_and(|tls| tls.demands_certificates()) {
        for access in &mut all {
            let files = format!(
                "`{CERTIFICATE}` and `{KEY}` are files: a client certificate that the receiver trusts, and its key."
            );
            access.curl = format!("{} --cert \"${CERTIFICATE}\" --key \"${KEY}\"", access.curl);
            access.send = None;
            access.secret =
                Some(access.secret.take().map_or(files.clone(), |secret| format!("{secret} {files}")));
        }
    }
    all
}

/// The same, but for certificates of connections.
fn accesses_by_secrets(settings: &ListenerSettings, table: &Table) -> Vec<Access> {
    let of = |tenant, named, curl: &str, send: Option<&str>, secret| Access {
        tenant,
        named,
        curl: curl.to_owned(),
        send: send.map(ToOwned::to_owned),
        secret,
    };
    let bearer = format!(" -H \"Authorization: Bearer ${TOKEN}\"");
    let send_bearer = format!(" --header \"Authorization: Bearer ${TOKEN}\"");
    let basic = format!(" -u \"${USER}\"");
    match settings.auth.as_deref() {
        None => {
            let whose = |tenant: &Arc<Tenant>| {
                let attribute = table.attributes().first()?.clone();
                Some(of(None, Some((attribute, tenant.id.to_string())), "", Some(""), None))
            };
            let nobodys = of(None, None, "", Some(""), None);
            [nobodys].into_iter().chain(first_tenants(table).iter().filter_map(whose)).collect()
        }
        Some(Authenticator::Bearer(tokens)) => {
            let is_usual = tokens.header() == http::header::AUTHORIZATION && tokens.scheme() == "Bearer";
            let secret = format!("`{TOKEN}` is a token of the receiver `{}`.", settings.name);
            if is_usual {
                return vec![of(None, None, &bearer, Some(&send_bearer), Some(secret))];
            }
            let is_plain =
                |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric() || "-_".contains(char));
            let (header, scheme) = (tokens.header().as_str(), tokens.scheme());
            if !is_plain(scheme) {
                return Vec::new();
            }
            let value = format!("{header}: {scheme}{}${TOKEN}", if scheme.is_empty() { "" } else { " " });
            vec![of(
                None,
                None,
                &format!(" -H \"{value}\""),
                Some(&format!(" --header \"{value}\"")),
                Some(secret),
            )]
        }
        Some(Authenticator::Basic(_)) => {
            let secret = format!(
                "`{USER}` is a user and a password of the receiver `{}`: `user:password`.",
                settings.name
            );
            vec![of(None, None, &basic, None, Some(secret))]
        }
        Some(Authenticator::Tenants) => {
            let now = SystemTime::now();
            let access = |tenant: &Arc<Tenant>| {
                // What would become of it is explained as of a sender of the tenant, all of which go the same way.
                let sender =
                    tenant.senders.iter().find(|sender| sender.expires.is_none_or(|end| end > now))?;
                let (id, whose) =
                    (Some(tenant.id.clone()), format!("the sender `{}` of {}", sender.name, tenant.id));
                match sender.credential {
                    Credential::Token(_) => {
                        let secret = format!("`{TOKEN}` is the token of {whose}.");
                        Some(of(id, None, &bearer, Some(&send_bearer), Some(secret)))
                    }
                    Credential::Basic(_) => {
                        let secret =
                            format!("`{USER}` is the user and the password of {whose}: `user:password`.");
                        Some(of(id, None, &basic, None, Some(secret)))
                    }
                    Credential::Certificate(_) => Some(of(id, None, "", None, None)),
                }
            };
            first_tenants(table).iter().filter_map(access).collect()
        }
    }
}

/// Some tenants that may send, the same ones each time.
fn first_tenants(table: &Table) -> Vec<Arc<Tenant>> {
    let mut all: Vec<_> = table.tenants().filter(|tenant| !tenant.paused).collect();
    all.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    all.into_iter().take(TENANTS).cloned().collect()
}

/// What would become of records that are made up here.
struct Trial<'t> {
    snapshot: &'t ConfigSnapshot,
    table: &'t Arc<Table>,
    receiver: &'t str,
}

impl Trial<'_> {
    /// A resource that is routed, and options of curl for the headers that this takes: a resource that has only a service name, as most
    /// have, else one that a route asks for.
    fn by_curl(&self, signal: Signal, access: &Access) -> Option<(Signal, Resource, String)> {
        let names = self.snapshot.routes.headers();
        let all: HeaderMap =
            names.iter().map(|name| (name.clone(), HeaderValue::from_static(CURL))).collect();
        let options: Vec<String> = names.iter().map(|name| format!(" -H '{name}: {CURL}'")).collect();
        let options = options.concat();
        for (headers, options) in [(HeaderMap::new(), String::new()), (all, options)] {
            let service = vec![("service.name", CURL.to_owned())];
            let examples = std::iter::once(service).chain(self.snapshot.routes.examples(signal, CURL));
            let mut examples = examples.map(|attributes| resource(&attributes, access));
            if let Some(resource) =
                examples.find(|resource| self.is_taken(signal, resource, access, &headers))
            {
                return Some((signal, resource, options));
            }
            if names.is_empty() {
                break;
            }
        }
        None
    }

    /// The attribute that `sluice send` has to set; it sets no other one.
    fn by_send(&self, signal: Signal, access: &Access) -> Option<&str> {
        let names = std::iter::once(SEND_ATTRIBUTE).chain(self.snapshot.routes.attributes());
        let plain =
            |name: &&str| name.chars().all(|char| char.is_ascii_alphanumeric() || "._-/".contains(char));
        let taken = |name: &&str| {
            let resource = resource(&[(*name, "stream-0".to_owned())], access);
            self.is_taken(signal, &resource, access, &HeaderMap::new())
        };
        names.filter(plain).find(taken)
    }

    /// Whether every exporter that is to get an entry with this resource can send it.
    fn is_taken(&self, signal: Signal, resource: &Resource, access: &Access, headers: &HeaderMap) -> bool {
        let request = request(signal, resource.clone());
        let split = otlp::split(signal, &request).expect("what is made here is OTLP");
        let entry = split.entries.first().expect("it is one entry");
        let routes = EntryRoutes {
            routes: self.snapshot.routes.clone(),
            exporters: self.snapshot.exporters.iter().map(|exporter| exporter.name().clone()).collect(),
            table: self.table.clone(),
            request: RequestHeaders::of(self.snapshot.routes.headers(), headers),
        };
        let targets = |exporter: usize, stream: &StreamName| self.snapshot.exporters[exporter].target(stream);
        let mut explainer = Explainer::new(signal, routes, &targets);
        explainer.tenant = access.tenant.as_ref().map(ToString::to_string);
        explainer.receiver = Some(self.receiver.to_owned());
        let explained = explainer.entry(entry);
        let is_sent = |end: &TakenEnd| matches!(end, TakenEnd::Sent { .. } | TakenEnd::Already(_));
        explained.not_taken.is_none()
            && explained.parts.iter().all(|part| {
                part.unrouted.is_none()
                    && part.routes.iter().all(|asked| match &asked.answer {
                        RouteAnswer::Missed(_) => true,
                        RouteAnswer::Taken { end, .. } => is_sent(end),
                    })
            })
    }
}

/// A resource with these attributes, and the one that says whose it is.
fn resource(attributes: &[(&str, String)], access: &Access) -> Resource {
    let named = access.named.iter().map(|(key, id)| (key.as_str(), id));
    let attributes = attributes.iter().map(|(key, value)| (*key, value));
    let attributes = attributes.chain(named).map(|(key, value)| attribute(key, text(value)));
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The request with one record, as people can read it and servers take it.
fn in_json(signal: Signal, resource: Resource) -> String {
    let mut json = Vec::new();
    otlp::write_request(signal, &[request(signal, resource)], &mut json);
    String::from_utf8(json).expect("JSON is text")
}

/// A request with one record.
fn request(signal: Signal, resource: Resource) -> Vec<u8> {
    let resource = Some(resource);
    let entry = match signal {
        Signal::Logs => {
            let record = LogRecord {
                severity_number: 9,
                severity_text: "INFO".to_owned(),
                body: Some(AnyValue { value: Some(text(HELLO)) }),
                ..LogRecord::default()
            };
            let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
            ResourceLogs { resource, scope_logs: vec![scope], ..ResourceLogs::default() }.encode_to_vec()
        }
        Signal::Traces => {
            let span = Span {
                trace_id: rand::random::<[u8; 16]>().to_vec(),
                span_id: rand::random::<[u8; 8]>().to_vec(),
                name: HELLO.to_owned(),
                ..Span::default()
            };
            let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
            ResourceSpans { resource, scope_spans: vec![scope], ..ResourceSpans::default() }.encode_to_vec()
        }
        Signal::Metrics => {
            let point = NumberDataPoint {
                value: Some(number_data_point::Value::AsInt(1)),
                ..NumberDataPoint::default()
            };
            let metric = Metric {
                name: HELLO.to_owned(),
                data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })),
                ..Metric::default()
            };
            let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
            ResourceMetrics { resource, scope_metrics: vec![scope], ..ResourceMetrics::default() }
                .encode_to_vec()
        }
    };
    let mut request = Vec::new();
    put_frame(&mut request, entry.len());
    request.extend_from_slice(&entry);
    request
}
