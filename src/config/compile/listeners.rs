//! `receivers`.

use http::HeaderName;

use super::Context;
use super::address::Addresses;
use crate::config::model::{HttpReceiver, Named, Receiver};
use crate::config::node::Node;
use crate::otlp::Signal;
use crate::receive::{CorsSettings, ListenerSettings};

pub(super) fn compile(
    receivers: &Named<Receiver>,
    root: &Node,
    addresses: &mut Addresses,
    context: &mut Context<'_>,
) -> Vec<ListenerSettings> {
    let all = root.near(&["receivers"]);
    let mut listeners = Vec::new();
    let mut served = false;
    for (name, receiver) in &receivers.0 {
        let node = root.near(&["receivers", name]);
        let protocols = node.near(&["protocols"]);
        if receiver.protocols.http.is_none() && receiver.protocols.grpc.is_none() {
            if !context.is_excused(node, "protocols") {
                let span = all.entry(name).map_or(node.span, |entry| entry.key_span);
                context
                    .report
                    .error(span, format!("the receiver `{name}` has no protocol"))
                    .help("write `protocols:`, and below it `http:`");
            }
            served = true;
        }
        if let Some(grpc) = &receiver.protocols.grpc {
            let what = format!("the gRPC receiver of `{name}`");
            addresses.take(&grpc.endpoint, protocols.near(&["grpc", "endpoint"]), &what, context);
            let span = protocols.entry("grpc").map_or(protocols.span, |entry| entry.key_span);
            context
                .report
                .warn(span, format!("{what} is not served yet; it comes with the next release"))
                .help("let senders use OTLP/HTTP: port 4318, `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`");
        }
        if let Some(http) = &receiver.protocols.http {
            served = true;
            listeners.extend(listener(name, http, protocols.near(&["http"]), addresses, context));
        }
    }
    if !served && !context.is_excused(root, "receivers") {
        context
            .section_error(root, "receivers", "there is no receiver for OTLP/HTTP, so nothing can come in")
            .help("write `receivers: { otlp: { protocols: { http: { endpoint: \"127.0.0.1:4318\" } } } }`");
    }
    listeners
}

fn listener(
    name: &str,
    http: &HttpReceiver,
    node: &Node,
    addresses: &mut Addresses,
    context: &mut Context<'_>,
) -> Option<ListenerSettings> {
    let what = format!("the HTTP receiver of `{name}`");
    let endpoint = addresses.take(&http.endpoint, node.near(&["endpoint"]), &what, context);
    if http.max_request_body_size.0 == 0 {
        let span = node.near(&["max_request_body_size"]).span;
        context.report.error(span, "`max_request_body_size` must be above zero");
    }

    let paths = [
        ("traces_url_path", &http.traces_url_path),
        ("metrics_url_path", &http.metrics_url_path),
        ("logs_url_path", &http.logs_url_path),
    ];
    let mut url_paths = [None, None, None];
    for (signal, (key, path)) in Signal::ALL.into_iter().zip(paths) {
        let Some(path) = path else { continue };
        let span = node.near(&[key]).span;
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            let written = node.near(&[key]).written(context.source);
            context
                .report
                .error(span, format!("{written} is not a URL path"))
                .help(format!("write a path such as `{}`", signal.path()));
        } else if let Some(other) =
            Signal::ALL.into_iter().find(|other| *other != signal && other.path() == path)
        {
            context.report.error(span, format!("`{path}` is already the path of {other}"));
        } else if url_paths.contains(&Some(path.clone())) {
            context.report.error(span, format!("`{path}` is the path of another signal, too"));
        } else if path != signal.path() {
            url_paths[signal.index()] = Some(path.clone());
        }
    }

    let cors = http.cors.as_ref().map(|cors| {
        let node = node.near(&["cors"]);
        if cors.allowed_origins.is_empty() && !context.is_excused(node, "allowed_origins") {
            let span = node.span;
            context
                .report
                .error(span, "`cors` without `allowed_origins` lets no page send")
                .help("write `allowed_origins: [\"https://app.example.com\"]`");
        }
        for (index, header) in cors.allowed_headers.iter().enumerate() {
            let item = node.near(&["allowed_headers"]).item(index).unwrap_or(node);
            if header != "*" && HeaderName::from_bytes(header.as_bytes()).is_err() {
                context.report.error(item.span, "this is not a header's name");
            }
        }
        CorsSettings {
            allowed_origins: cors.allowed_origins.clone(),
            allowed_headers: cors.allowed_headers.clone(),
            max_age: cors.max_age,
        }
    });

    Some(ListenerSettings {
        name: name.to_owned(),
        endpoint: endpoint?,
        max_request_body_size: http.max_request_body_size.0,
        read_header_timeout: http.read_header_timeout.or_longest(),
        read_timeout: http.read_timeout.or_longest(),
        idle_timeout: http.idle_timeout.or_longest(),
        max_connections: http.max_connections,
        url_paths,
        cors,
    })
}
