//! Names the span of an attempt to the upstream, so that the spans of an upstream that makes some, such as another Sluice, belong to it.

use http::{HeaderMap, HeaderValue};

use crate::telemetry::TRACEPARENT;

/// Puts the `traceparent` of an attempt that has a span into the head of its request, unless the configuration has one there.
pub(in crate::export) fn set_traceparent(headers: &mut HeaderMap, traceparent: Option<&HeaderValue>) {
    if let Some(traceparent) = traceparent {
        headers.entry(TRACEPARENT).or_insert_with(|| traceparent.clone());
    }
}
