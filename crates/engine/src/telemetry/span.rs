//! A span that has begun and not ended yet.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{BatchLinks, TraceContext, attribute, text, unix_nanos};

/// Said of a span whose parent is in another process.
const HAS_REMOTE_PARENT: u32 = SpanFlags::ContextIsRemoteMask as u32;

/// A span that has begun, or is about to.
#[derive(Debug)]
pub struct OpenSpan {
    kind: SpanKind,
    name: Cow<'static, str>,
    context: TraceContext,
    /// The span of the request's sender, in another process.
    parent: Option<RemoteParent>,
    /// The time by both clocks, since the system's clock may be set meanwhile.
    began: OnceLock<(SystemTime, Instant)>,
    attributes: Mutex<Vec<KeyValue>>,
    is_discarded: AtomicBool,
}

/// The span in another process that a span is below.
#[derive(Clone, Debug)]
pub(super) struct RemoteParent {
    pub(super) context: TraceContext,
    /// The `tracestate` that goes with all spans of the trace.
    pub(super) state: Option<String>,
}

/// How a span has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanEnd {
    /// The span has ended without an error of Sluice or of the upstream; a request that ends without an answer is no error.
    Well,
    /// The span has ended by this error: in words, without secrets.
    Failed(String),
}

impl OpenSpan {
    pub(super) fn new(
        kind: SpanKind,
        name: Cow<'static, str>,
        context: TraceContext,
        parent: Option<RemoteParent>,
    ) -> Self {
        let (began, is_discarded) = (OnceLock::new(), AtomicBool::new(false));
        Self { kind, name, context, parent, began, attributes: Mutex::default(), is_discarded }
    }

    /// Begins the span now, unless it has begun.
    pub fn begin(&self) {
        self.began.get_or_init(|| (SystemTime::now(), Instant::now()));
    }

    /// The context by which other spans name it.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Sets an attribute of the span.
    pub fn set(&self, key: &'static str, value: Value) {
        let mut attributes = self.attributes.lock();
        attributes.retain(|known| known.key != key);
        attributes.push(attribute(key, value));
    }

    /// Says that it is about a call of gRPC, by the path of what is called if that is known.
    pub fn set_call(&self, path: Option<&'static str>) {
        self.set("rpc.system", text("grpc"));
        if let Some((service, method)) = path.and_then(|path| path.trim_start_matches('/').split_once('/')) {
            self.set("rpc.service", text(service));
            self.set("rpc.method", text(method));
        }
    }

    /// Has the span not sent when it ends.
    pub fn discard(&self) {
        self.is_discarded.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_discarded(&self) -> bool {
        self.is_discarded.load(Ordering::Relaxed)
    }

    /// Lets the sender's span, if it names one, decide whether this span is sent.
    pub(super) fn trust_sender(&self) {
        if let Some(parent) = &self.parent {
            self.is_discarded.store(!parent.context.is_sampled(), Ordering::Relaxed);
        }
    }

    /// The span in OTLP, which ends now; none if it has not begun, or is discarded.
    pub(super) fn ended(&self, end: SpanEnd, links: Option<&BatchLinks>) -> Option<Span> {
        let (began, clock) = *self.began.get().filter(|_| !self.is_discarded())?;
        let parent = self.parent.as_ref();
        let (links, dropped_links_count) = links.map_or_else(Default::default, BatchLinks::as_otlp);
        let status = match end {
            SpanEnd::Well => None,
            SpanEnd::Failed(message) => Some(Status { message, code: StatusCode::Error as i32 }),
        };
        Some(Span {
            trace_id: self.context.trace_id().to_vec(),
            span_id: self.context.span_id().to_vec(),
            trace_state: parent.and_then(|parent| parent.state.clone()).unwrap_or_default(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.context.span_id().to_vec()),
            flags: self.context.local_flags() | if parent.is_some() { HAS_REMOTE_PARENT } else { 0 },
            name: self.name.clone().into_owned(),
            kind: self.kind as i32,
            start_time_unix_nano: unix_nanos(began),
            end_time_unix_nano: unix_nanos(began + clock.elapsed()),
            attributes: std::mem::take(&mut *self.attributes.lock()),
            links,
            dropped_links_count,
            status,
            ..Span::default()
        })
    }
}
