//! `receivers`.

use http::HeaderName;

use super::address::{self, Addresses};
use super::extensions::Extensions;
use super::{Context, receiver_auth, server_tls};
use crate::config::model::{self, GrpcReceiver, HttpReceiver, Named, Receiver};
use crate::config::node::Node;
use crate::config::quoting::named;
use crate::otlp::Signal;
use crate::receive::{
    CorsSettings, Evicted, Http2Settings, ListenerSettings, MAX_CONCURRENT_STREAMS, Protocol,
};

pub(super) fn compile(
    receivers: &Named<Receiver>,
    extensions: &mut Extensions<'_>,
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
            // One that is indented too little stands beside the receivers, which has been said.
            if !context.is_excused(node, "protocols") && all.get("protocols").is_none() {
                let span = all.entry(name).map_or(node.span, |entry| entry.key_span);
                context
                    .report
                    .error(span, format!("the receiver {} has no protocol", named(name)))
                    .help("write `protocols:`, and below it `http:` or `grpc:`");
            }
            served = true;
        }
        if let Some(http) = &receiver.protocols.http {
            served = true;
            let node = protocols.near(&["http"]);
            listeners.extend(http_listener(name, http, extensions, node, addresses, context));
        }
        if let Some(grpc) = &receiver.protocols.grpc {
            served = true;
            let node = protocols.near(&["grpc"]);
            listeners.extend(grpc_listener(name, grpc, extensions, node, addresses, context));
        }
    }
    warn_of_open_ports(&listeners, receivers, root, context);
    if !served && !context.is_excused(root, "receivers") {
        context
            .section_error(root, "receivers", "there is no receiver, so nothing can come in")
            .help("write `receivers: { otlp: { protocols: { http: { endpoint: \"127.0.0.1:4318\" } } } }`");
    }
    listeners
}

/// Warns of each port of a receiver that other machines can reach without TLS, with the help in the first warning alone.
fn warn_of_open_ports(
    listeners: &[ListenerSettings],
    receivers: &Named<Receiver>,
    root: &Node,
    context: &mut Context<'_>,
) {
    let written_tls = |listener: &ListenerSettings| {
        let receiver =
            receivers.0.iter().find(|(name, _)| **name == *listener.name).map(|(_, receiver)| receiver);
        receiver.is_some_and(|receiver| match listener.protocol {
            Protocol::Http => receiver.protocols.http.as_ref().is_some_and(|http| http.tls.is_some()),
            Protocol::Grpc => receiver.protocols.grpc.as_ref().is_some_and(|grpc| grpc.tls.is_some()),
        })
    };
    let is_open =
        |listener: &&ListenerSettings| !listener.endpoint.ip().is_loopback() && !written_tls(listener);
    let mut open: Vec<_> = listeners
        .iter()
        .filter(is_open)
        .map(|listener| {
            let protocol = if listener.protocol == Protocol::Http { "http" } else { "grpc" };
            let node = root.near(&["receivers", &listener.name, "protocols", protocol, "endpoint"]);
            (node.span, listener.endpoint, listener.auth.is_some())
        })
        .collect();
    // In the order of the file, in which they are read.
    open.sort_by_key(|(span, ..)| span.start);
    for (index, (span, endpoint, authenticates)) in open.into_iter().enumerate() {
        let message = if authenticates {
            format!("what is sent to {endpoint} is not encrypted, nor are the credentials of its senders")
        } else {
            format!("whoever reaches {endpoint} can send, and what is sent is not encrypted")
        };
        let warning = context.report.warn(span, message);
        if index == 0 {
            warning.help("write `tls:`, or an endpoint on 127.0.0.1 if all senders are on this machine");
        }
    }
}

fn http_listener(
    name: &str,
    http: &HttpReceiver,
    extensions: &mut Extensions<'_>,
    node: &Node,
    addresses: &mut Addresses,
    context: &mut Context<'_>,
) -> Option<ListenerSettings> {
    let what = format!("the HTTP receiver of {}", named(name));
    let endpoint = addresses.take(&http.endpoint, node.near(&["endpoint"]), &what, context);
    let max_request_body_size = match http.max_request_body_size.0 {
        0 => HttpReceiver::default().max_request_body_size.0,
        size => size,
    };

    let paths = [
        ("traces_url_path", &http.traces_url_path),
        ("metrics_url_path", &http.metrics_url_path),
        ("logs_url_path", &http.logs_url_path),
    ];
    let mut url_paths = [None, None, None];
    for (signal, (key, path)) in Signal::ALL.into_iter().zip(paths) {
        let Some(path) = path else { continue };
        // As the Collector does.
        let path = &if path.starts_with('/') { path.clone() } else { format!("/{path}") };
        let span = node.near(&[key]).span;
        let subject = context.subject(node.near(&[key]));
        if path.contains(['?', '#', ' ']) {
            context
                .report
                .error(span, format!("{subject} is not a URL path"))
                .help(format!("write a path such as `{}`", signal.path()));
        } else if let Some(other) =
            Signal::ALL.into_iter().find(|other| *other != signal && other.path() == path)
        {
            context.report.error(span, format!("`{path}` is already the path of {other}"));
        } else if url_paths.contains(&Some(path.clone())) {
            context.report.error(span, format!("{subject} is the path of another signal, too"));
        } else if path != signal.path() {
            url_paths[signal.index()] = Some(path.clone());
        }
    }

    let cors = http.cors.as_ref().and_then(|cors| {
        let node = node.near(&["cors"]);
        if cors.allowed_origins.is_empty() {
            // As in the Collector, `cors: {}` asks for nothing.
            if !cors.allowed_headers.is_empty() && !context.is_excused(node, "allowed_origins") {
                context
                    .report
                    .warn(node.span, "`cors` without `allowed_origins` lets no page send")
                    .help("write `allowed_origins: [\"https://app.example.com\"]`");
            }
            return None;
        }
        for (index, header) in cors.allowed_headers.iter().enumerate() {
            let item = node.near(&["allowed_headers"]).item(index).unwrap_or(node);
            if header != "*" && HeaderName::from_bytes(header.as_bytes()).is_err() {
                context.report.error(item.span, "this is not a header's name");
            }
        }
        Some(CorsSettings {
            allowed_origins: cors.allowed_origins.clone(),
            allowed_headers: cors.allowed_headers.clone(),
            max_age: cors.max_age,
        })
    });

    let auth = receiver_auth::compile(http.auth.as_ref(), extensions, node, context);
    let tls = http.tls.as_ref().map(|tls| server_tls::compile(tls, node.near(&["tls"]), context)).transpose();
    Some(ListenerSettings {
        name: name.into(),
        protocol: Protocol::Http,
        endpoint: endpoint?,
        hosts: address::host_name(&http.endpoint).into_iter().collect(),
        max_request_body_size,
        read_header_timeout: http.read_header_timeout.or_longest(),
        read_timeout: http.read_timeout.or_longest(),
        idle_timeout: http.idle_timeout.or_longest(),
        write_timeout: http.write_timeout.or_longest(),
        tls: tls.ok()?.flatten(),
        auth: auth.ok()?,
        http2: Http2Settings::default(),
        max_connections: http.max_connections,
        makes_room: Evicted::Headless,
        url_paths,
        cors,
    })
}

/// The settings of a listener for gRPC; a sender has as long to begin, and to take its answers, as one of HTTP.
fn grpc_listener(
    name: &str,
    grpc: &GrpcReceiver,
    extensions: &mut Extensions<'_>,
    node: &Node,
    addresses: &mut Addresses,
    context: &mut Context<'_>,
) -> Option<ListenerSettings> {
    let what = format!("the gRPC receiver of {}", named(name));
    let endpoint = addresses.take(&grpc.endpoint, node.near(&["endpoint"]), &what, context);
    let keepalive = &grpc.keepalive.server_parameters;
    let unless_zero = |duration: model::Duration, default: model::Duration| {
        if duration.0.is_zero() { default.0 } else { duration.0 }
    };
    let defaults = GrpcReceiver::default().keepalive.server_parameters;
    let http2 = Http2Settings {
        max_concurrent_streams: match grpc.max_concurrent_streams {
            0 => MAX_CONCURRENT_STREAMS,
            streams => streams,
        },
        keepalive_time: unless_zero(keepalive.time, defaults.time),
        keepalive_timeout: unless_zero(keepalive.timeout, defaults.timeout),
        max_connection_age: Some(keepalive.max_connection_age.0).filter(|age| !age.is_zero()),
        max_connection_age_grace: unless_zero(
            keepalive.max_connection_age_grace,
            defaults.max_connection_age_grace,
        ),
    };
    let auth = receiver_auth::compile(grpc.auth.as_ref(), extensions, node, context);
    let tls = grpc.tls.as_ref().map(|tls| server_tls::compile(tls, node.near(&["tls"]), context)).transpose();
    Some(ListenerSettings {
        name: name.into(),
        protocol: Protocol::Grpc,
        endpoint: endpoint?,
        hosts: address::host_name(&grpc.endpoint).into_iter().collect(),
        max_request_body_size: match grpc.max_recv_msg_size_mib {
            0 => GrpcReceiver::default().max_recv_msg_size_mib << 20,
            mebibytes => mebibytes << 20,
        },
        read_header_timeout: HttpReceiver::default().read_header_timeout.0,
        read_timeout: grpc.read_timeout.or_longest(),
        idle_timeout: keepalive.max_connection_idle.or_longest(),
        write_timeout: HttpReceiver::default().write_timeout.0,
        tls: tls.ok()?.flatten(),
        auth: auth.ok()?,
        http2,
        max_connections: grpc.max_connections,
        makes_room: Evicted::Headless,
        url_paths: [None, None, None],
        cors: None,
    })
}
