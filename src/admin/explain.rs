//! `POST /api/v1/explain`: what would become of the request in the body, by the configuration in use. It is taken in by nobody.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::server::{self, JSON};
use super::{body, query};
use crate::explain::{
    self, AskedRoute, Edits, ExplainedEntry, ExplainedPart, Explainer, Payload, RouteAnswer, TakenEnd,
    UnroutedPart,
};
use crate::otlp::Signal;
use crate::panics::blocking_as_here;
use crate::receive::{HttpResponse, UnreadBody, whole_body};
use crate::route::{EntryRoutes, RequestHeaders};
use crate::run::{Role, Router};
use crate::stream::{Budget, StreamName};

/// Bytes of a request that is explained.
const LARGEST: usize = 1 << 20;

/// Bytes of JSON after which no further entry is explained.
const MOST_SAID: usize = 1 << 20;

/// Parts of an entry that are explained, where routes look at records.
const MOST_PARTS: usize = 100;

/// Bytes that the copies of one entry may take.
const MOST_COPIED: usize = 16 << 20;

/// The media types of OTLP by HTTP.
const MEDIA_TYPES: [&str; 3] = [JSON, "application/x-protobuf", "application/protobuf"];

/// What is asked for beside the request.
#[derive(Debug, Default)]
struct Wanted {
    signal: Option<Signal>,
    tenant: Option<String>,
    receiver: Option<String>,
}

/// Explains the request in a body; `alone` is held meanwhile.
pub(super) async fn explain(
    router: &Arc<Router>,
    head: &Parts,
    body: Incoming,
    alone: &Arc<Mutex<()>>,
    budget: &Arc<Budget>,
) -> HttpResponse {
    let wanted = match wanted(head.uri.query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(error) => return server::problem(StatusCode::BAD_REQUEST, &error),
    };
    if let Some(receiver) = &wanted.receiver
        && let Err(error) = check_receiver(router, receiver).await
    {
        return server::problem(StatusCode::BAD_REQUEST, &error);
    }
    let media_type = body::media_type(head);
    if !MEDIA_TYPES.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        let error = "send an OTLP request with `Content-Type: application/json` or `application/x-protobuf`";
        return server::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, error);
    }
    let payload = match whole_body(head, body, LARGEST, body::PATIENCE, budget).await {
        Ok(payload) => payload,
        Err(UnreadBody { status, message }) => return server::problem(status, &message),
    };
    let (alone, router) = (alone.clone().lock_owned().await, router.clone());
    let explained = blocking_as_here(move || {
        // Also if whoever asked has gone.
        let _alone = alone;
        explained(&router, wanted, &payload.bytes)
    });
    match explained.await {
        Ok(explained) => server::json(StatusCode::OK, &explained),
        Err(error) => server::problem(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

fn wanted(text: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for (name, value) in query::parameters(text) {
        match name {
            "signal" => {
                let signal = Signal::from_name(&value);
                let signal =
                    signal.ok_or_else(|| format!("`signal` is traces, metrics or logs, not `{value}`"))?;
                wanted.signal = Some(signal);
            }
            "tenant" => wanted.tenant = Some(value),
            "receiver" => wanted.receiver = Some(value),
            _ => return Err(format!("unknown parameter `{name}`: there are signal, tenant and receiver")),
        }
    }
    Ok(wanted)
}

/// Nothing, if there is a receiver of this name; else which there are.
async fn check_receiver(router: &Router, wanted: &str) -> Result<(), String> {
    let mut known = router.receivers(Role::Otlp).await;
    known.extend(router.receivers(Role::OtlpGrpc).await);
    let known: Vec<&str> = known.iter().map(|(_, settings)| &*settings.name).collect();
    explain::check_receiver(wanted, &known)
}

fn explained(router: &Router, wanted: Wanted, payload: &[u8]) -> Result<Value, String> {
    let mut payload = Payload::new(payload, wanted.signal).map_err(|error| error.to_string())?;
    let snapshot = router.intake().snapshot.load_full();
    let routes = EntryRoutes {
        routes: snapshot.routes.clone(),
        exporters: snapshot.exporters.iter().map(|exporter| exporter.name().clone()).collect(),
        table: Arc::clone(&router.tenants().table()),
        request: RequestHeaders::default(),
    };
    let targets = |exporter: usize, stream: &StreamName| snapshot.exporters[exporter].target(stream);
    let mut explainer = Explainer::new(payload.signal(), routes, &targets);
    (explainer.tenant, explainer.receiver) = (wanted.tenant, wanted.receiver);
    (explainer.most_copied, explainer.most_parts) = (MOST_COPIED, MOST_PARTS);
    let (signal, field) = (payload.signal(), payload.entry_field());
    let split = payload.split();
    let (mut entries, mut said) = (Vec::new(), 0);
    for entry in &split.entries {
        if said >= MOST_SAID {
            break;
        }
        let entry = entry_json(&explainer.entry(entry));
        said += entry.to_string().len();
        entries.push(entry);
    }
    let cuts: Vec<Value> = split
        .cuts
        .iter()
        .map(|cut| {
            json!({ "path": cut.path, "offset": cut.offset, "reason": cut.reason.to_string(), "records": cut.records })
        })
        .collect();
    let report = router.report();
    let reached = explainer.reached();
    let presets: Vec<_> = report
        .presets
        .iter()
        .filter(|preset| reached.iter().any(|name| *preset.exporter == **name))
        .collect();
    Ok(json!({
        "version": snapshot.version,
        "signal": signal.name(),
        "field": field,
        "entries_total": split.entries.len(),
        "truncated": entries.len() < split.entries.len(),
        "entries": entries,
        "cuts": cuts,
        "ignored": split.ignored.sentences(),
        "presets": presets,
    }))
}

fn entry_json(entry: &ExplainedEntry) -> Value {
    json!({
        "index": entry.index,
        "records": entry.size.records,
        "bytes": entry.size.bytes,
        "tenant": entry.tenant.as_deref(),
        "not_taken": entry.not_taken,
        "parts": entry.parts.iter().map(part_json).collect::<Vec<_>>(),
        "parts_left_out": entry.left_out,
    })
}

fn part_json(part: &ExplainedPart) -> Value {
    let unrouted = part.unrouted.as_ref().map(|unrouted| match unrouted {
        UnroutedPart::Dropped => json!({ "outcome": "dropped", "why": "no route takes it" }),
        UnroutedPart::Rejected(why) => json!({ "outcome": "rejected", "why": why }),
        UnroutedPart::DeadLetter(why) => json!({ "outcome": "dead_lettered", "why": why }),
    });
    json!({
        "records": part.size.records,
        "bytes": part.size.bytes,
        "routes": part.routes.iter().map(route_json).collect::<Vec<_>>(),
        "hints": part.hints,
        "unrouted": unrouted,
    })
}

fn route_json(AskedRoute { route, answer }: &AskedRoute) -> Value {
    let (exporter, key, overridden, end) = match answer {
        RouteAnswer::Missed(why) => return json!({ "route": route, "outcome": "not_taken", "why": why }),
        RouteAnswer::Taken { exporter, key, overridden, end } => (exporter, key, overridden, end),
    };
    let mut shown = json!({
        "route": route,
        "exporter": &**exporter,
        "key": key.text(),
        "tenant": key.tenant(),
        "overridden": overridden,
    });
    let mut put = |name: &str, value: Value| shown[name] = value;
    match end {
        TakenEnd::Already(first) => {
            put("outcome", "already_in_stream".into());
            put("why", format!("it is in this stream by route `{first}`, whose copy counts").into());
        }
        TakenEnd::Unedited(why) => {
            put("outcome", "rejected".into());
            put("why", format!("the route can't edit it: {why}").into());
        }
        TakenEnd::Sent { edits, target } => {
            let target = format!("{target:#}");
            let mut lines = target.lines();
            put("outcome", "sent".into());
            put("edited_by", edits_json(edits.as_ref()));
            put("target", lines.next().into());
            put("headers", lines.collect());
        }
        TakenEnd::Held { edits, why } => {
            put("outcome", "held".into());
            put("edited_by", edits_json(edits.as_ref()));
            put("why", why.as_str().into());
        }
        TakenEnd::Rejected { edits, why } => {
            put("outcome", "rejected".into());
            put("edited_by", edits_json(edits.as_ref()));
            put("why", why.as_str().into());
        }
    }
    shown
}

/// The processors that edit a part, and whether they change it.
fn edits_json(edits: Option<&Edits>) -> Value {
    edits.map_or(Value::Null, |Edits { names, change }| json!({ "processors": names, "change": change }))
}
