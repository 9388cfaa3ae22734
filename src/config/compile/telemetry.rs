//! `telemetry`: the upstream of Sluice's own telemetry.

use super::Context;
use super::exporter_auth::ExporterAuths;
use super::exporters::own_upstream;
use super::headers;
use super::own_receivers::OwnReceivers;
use crate::config::model::{Duration, OtlpHttp, TelemetrySection};
use crate::config::node::Node;
use crate::config::quoting::named;
use crate::export::{ExporterKind, TelemetrySettings};
use crate::otlp::Signal;

/// How long the endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Compiles the section at `node`.
pub(super) fn compile(
    section: &TelemetrySection,
    own_receivers: &OwnReceivers<'_>,
    auths: &mut ExporterAuths<'_, '_>,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<TelemetrySettings> {
    let interval = context.above_zero(section.interval, node, "interval");
    let Some(endpoint) = endpoint(section, node, context) else {
        // A mistake in one hides none in the other.
        headers::compile(&section.headers, node.near(&["headers"]), context);
        return None;
    };
    let at = node.near(&["endpoint"]);
    let http = OtlpHttp {
        endpoint: Some(endpoint.to_owned()),
        headers: section.headers.clone(),
        tls: section.tls.clone(),
        timeout: TIMEOUT,
        ..OtlpHttp::default()
    };
    let upstream = own_upstream("telemetry", &http, auths, node, context);
    if upstream.reads().next().is_some() {
        context
            .report
            .error(node.span, "`telemetry` has a template, and there is no stream whose values it could have")
            .help("write URL and headers without `{{ }}`");
        return None;
    }
    if let ExporterKind::OtlpHttp(http) = &upstream.kind
        && let Some(own) = http.urls.iter().flatten().find_map(|url| own_receivers.listening_at(url))
        && !context.report.has_said(at.span)
    {
        let message = format!(
            "`telemetry` is sent to the own receiver {}: what it tells of a failure waits behind that failure",
            named(own)
        );
        context.report.warn(at.span, message).help("write the endpoint of a Collector or of a backend");
    }
    Some(TelemetrySettings { upstream, sampling: section.sampling, interval })
}

/// The endpoint, if it is valid.
fn endpoint<'s>(section: &'s TelemetrySection, node: &Node, context: &mut Context<'_>) -> Option<&'s str> {
    let Some(endpoint) = section.endpoint.as_ref().filter(|endpoint| !endpoint.is_empty()) else {
        if !context.is_excused(node, "endpoint") {
            context
                .report
                .error(node.span, "`telemetry` has no `endpoint`")
                .help("write `telemetry: { endpoint: http://collector:4318 }`, or leave it out");
        }
        return None;
    };
    let at = node.near(&["endpoint"]);
    if let Some(path) =
        Signal::ALL.map(Signal::path).into_iter().find(|path| endpoint.trim_end_matches('/').ends_with(path))
    {
        context
            .report
            .error(
                at.span,
                format!("`endpoint` ends in `{path}`, and the path of each signal is added to it"),
            )
            .help(format!("leave `{path}` out"));
        return None;
    }
    if endpoint.contains('?') {
        context
            .report
            .error(at.span, "`endpoint` has a query (`?`), behind which no path of a signal can stand")
            .help("leave the query out, and write what it says as one of `headers`");
        return None;
    }
    Some(endpoint)
}
