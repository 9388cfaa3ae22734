//! `POST /api/v1/streams/hold` and `/release`, `POST /api/v1/exporters/NAME/hold` and `/release`: what a request asks for, and what
//! it is told. Who asks may write, which has been checked; each change is logged with who that is.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tracing::field::display;
use tracing::info;

use super::change_author::ChangeAuthor;
use super::server::{self, JSON};
use super::stream_detail::WrittenName;
use super::stream_row::operator_hold;
use super::{body, look};
use crate::access::AdminCredential;
use crate::config::{self, LARGEST_ROW};
use crate::export::ReleasedStreams;
use crate::receive::HttpResponse;
use crate::run::{HeldName, OperatorHoldError, Router};
use crate::stream::StreamAddress;

/// The shortest time for which something is held: nobody could see a shorter one.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest time for which something is held; for longer, it is held without one.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Whether something is to be held or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldSwitch {
    Hold,
    Release,
}

/// Why nothing is held or released.
#[derive(Debug, thiserror::Error)]
enum HoldRefusal {
    #[error("{0}")]
    Body(String),
    #[error(transparent)]
    Hold(#[from] OperatorHoldError),
}

/// What a body says.
#[derive(Debug, Default)]
struct HoldBody {
    name: WrittenName,
    length: Option<Duration>,
}

impl HoldSwitch {
    /// The one of this name in a path.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Hold, Self::Release].into_iter().find(|switch| switch.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }
}

/// Holds or releases the exporter of this name, or the stream that the body names.
pub(super) async fn change(
    router: &Arc<Router>,
    exporter: Option<String>,
    switch: HoldSwitch,
    head: &Parts,
    body: Incoming,
    credential: AdminCredential,
) -> HttpResponse {
    let fields = match body::object(head, body, &[JSON], exporter.is_some(), LARGEST_ROW).await {
        Ok(fields) => fields,
        Err(problem) => return problem.answer(),
    };
    let author = ChangeAuthor::of(head, credential);
    // In a task of its own: an impatient client must not cancel a change half way.
    let changing = tokio::spawn(apply(router.clone(), exporter, switch, fields, author.in_words().into()));
    let (name, outcome) = changing.await.expect("holding and releasing don't panic");
    let stream = name.as_ref().and_then(|name| name.stream.as_ref());
    let (exporter, signal) = (
        name.as_ref().map(|name| name.exporter.escape_debug()).map(display),
        stream.map(|stream| display(stream.signal)),
    );
    let key = stream.map(|stream| stream.key.text());
    let (key, tenant) = (key.as_deref(), stream.and_then(|stream| stream.key.tenant()).map(display));
    let action = switch.name();
    let (answer, said) = match &outcome {
        Ok(shown) => (server::json(StatusCode::OK, shown), "what operators hold is changed".to_owned()),
        // It may have a name in it that somebody has made up.
        Err(refusal) => {
            let why = refusal.to_string().escape_debug().to_string();
            (refusal.answer(), format!("what operators hold is not changed: {why}"))
        }
    };
    let done = outcome.as_ref().unwrap_or(&Value::Null);
    let until = done["hold"]["until"].as_str();
    let [released, tried, away] = ["released", "tried", "away"].map(|name| done[name].as_u64());
    let (by, certificate, peer) = author.fields();
    info!(
        exporter,
        signal, key, tenant, action, until, released, tried, away, by, certificate, peer, "{said}"
    );
    answer
}

/// Does what is asked for; returns what that is about, if that is known.
async fn apply(
    router: Arc<Router>,
    exporter: Option<String>,
    switch: HoldSwitch,
    fields: Map<String, Value>,
    by: Arc<str>,
) -> (Option<HeldName>, Result<Value, HoldRefusal>) {
    let body = match HoldBody::of(fields, exporter.is_none(), switch) {
        Ok(body) => body,
        Err(error) => return (None, Err(HoldRefusal::Body(error))),
    };
    let name = match exporter {
        Some(exporter) => HeldName { exporter: exporter.into(), stream: None },
        None => match find(router.clone(), body.name).await {
            Ok(name) => name,
            Err(refusal) => return (None, Err(refusal)),
        },
    };
    let shown = switched(&router, &name, switch, body.length, by).await;
    (Some(name), shown.map_err(HoldRefusal::from))
}

/// Holds or releases it, and says what has come of that.
async fn switched(
    router: &Router,
    name: &HeldName,
    switch: HoldSwitch,
    length: Option<Duration>,
    by: Arc<str>,
) -> Result<Value, OperatorHoldError> {
    let stream = name.stream.as_ref();
    let mut shown = json!({
        "exporter": *name.exporter,
        "signal": stream.map(|stream| stream.signal.name()),
        "tenant": stream.and_then(|stream| stream.key.tenant()),
        "key": stream.map(|stream| stream.key.text()),
        "hold": null,
    });
    match switch {
        HoldSwitch::Hold => shown["hold"] = operator_hold(&router.hold(name.clone(), length, by).await?),
        HoldSwitch::Release => {
            put_released(&mut shown, router.release(name.clone()).await?);
        }
    }
    Ok(shown)
}

/// Adds how many streams go on after a release, and how many do not yet.
pub(super) fn put_released(shown: &mut Value, streams: ReleasedStreams) {
    let ReleasedStreams { released, tried, away } = streams;
    (shown["released"], shown["tried"], shown["away"]) = (released.into(), tried.into(), away.into());
}

async fn find(router: Arc<Router>, name: WrittenName) -> Result<HeldName, HoldRefusal> {
    let found = look::on_a_thread(move || name.find(&router)).await;
    let StreamAddress { exporter, name } =
        found.map_err(HoldRefusal::Body)?.ok_or(HoldRefusal::Hold(OperatorHoldError::UnknownStream))?;
    Ok(HeldName { exporter, stream: Some(name) })
}

impl HoldBody {
    fn of(fields: Map<String, Value>, of_stream: bool, switch: HoldSwitch) -> Result<Self, String> {
        let mut body = Self::default();
        for (field, value) in fields {
            let text = match value {
                Value::Null => None,
                Value::String(text) => Some(text),
                _ => return Err(format!("`{field}` is a text")),
            };
            match &*field {
                "exporter" if of_stream => body.name.exporter = text,
                "signal" if of_stream => body.name.signal = text,
                "tenant" if of_stream => body.name.tenant = text,
                "key" if of_stream => body.name.key = text,
                "for" if switch == HoldSwitch::Hold => {
                    body.length = text.as_deref().map(length).transpose()?;
                }
                _ => {
                    let known = match (of_stream, switch) {
                        (true, HoldSwitch::Hold) => "there are exporter, signal, tenant, key and for",
                        (true, HoldSwitch::Release) => "there are exporter, signal, tenant and key",
                        (false, HoldSwitch::Hold) => "there is for",
                        (false, HoldSwitch::Release) => "there is none",
                    };
                    return Err(format!("unknown key `{field}` in the body: {known}"));
                }
            }
        }
        Ok(body)
    }
}

/// For how long something is held.
fn length(text: &str) -> Result<Duration, String> {
    let length = config::duration(text).ok().filter(|length| (SHORTEST..=LONGEST).contains(length));
    length.ok_or_else(|| {
        "`for` is a duration such as \"10m\", from a second to a year; leave it out to hold until released".to_owned()
    })
}

impl HoldRefusal {
    fn answer(&self) -> HttpResponse {
        let status = match self {
            Self::Body(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Hold(OperatorHoldError::UnknownExporter(_) | OperatorHoldError::UnknownStream) => {
                StatusCode::NOT_FOUND
            }
            Self::Hold(OperatorHoldError::TooMany) => StatusCode::CONFLICT,
            Self::Hold(OperatorHoldError::File { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        server::problem(status, &self.to_string())
    }
}
