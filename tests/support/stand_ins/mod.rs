//! Imitations of the upstreams that presets are for, as strict as the real ones by what their documentation and their
//! source say: what a real one would refuse fails the test, unless the test expects it. Each keeps what it has taken, by
//! what it calls a stream.

mod better_stack;
mod exported;
mod highlight;
mod s2;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use sluice::otlp::Signal;
use tonic::Code;

use super::eventually;
use super::grpc::framed;
use super::scripted::{Asked, Said, Scripted};

pub use better_stack::BetterStack;
pub use exported::{Exported, ExportedRecord};
pub use highlight::Highlight;
pub use s2::{MOST_RECORDS, S2};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// What an upstream takes, and what it says.
pub trait Rules: Send + Sync + 'static {
    /// Judges a request. What it takes of it is told to `taken`.
    fn judge(&self, request: &Delivery, taken: &mut Taken) -> Result<(), Refusal>;
}

/// A request as it arrived, decompressed.
pub struct Delivery {
    pub signal: Signal,
    pub path: String,
    pub headers: HeaderMap,
    /// Bytes as they were on the wire.
    pub wire_size: usize,
    pub exported: Exported,
}

/// Why a request is refused, as the upstream says it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub body: String,
}

/// What an upstream has taken and what it has passed over.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// The texts of records, by stream and signal, in their order.
    streams: BTreeMap<(String, &'static str), Vec<String>>,
    /// The texts of those that were answered with success, and dropped.
    pub dropped: Vec<String>,
    /// Bytes of the largest request, before compression.
    pub largest: usize,
}

/// An upstream that listens, with what has come of it. Dropping it fails the test if it has refused or dropped anything that
/// the test does not expect, or has not what it expects.
pub struct StandIn<R: Rules> {
    pub rules: Arc<R>,
    up: Scripted,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    taken: Taken,
    /// What is answered next, whatever is asked.
    faults: VecDeque<(u16, Vec<(String, String)>)>,
    /// Statuses with which it was to refuse.
    expected: BTreeSet<u16>,
    /// Those with which it has refused.
    refused_by: BTreeSet<u16>,
    drops_expected: bool,
    /// What a real one would have refused, and why.
    refused: Vec<String>,
}

impl Refusal {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }
}

impl Taken {
    /// Adds a record to a stream.
    pub fn add(&mut self, stream: &str, signal: Signal, text: String) {
        self.streams.entry((stream.to_owned(), signal.name())).or_default().push(text);
    }

    /// The texts of a stream's records, in the order in which they came.
    pub fn of(&self, stream: &str, signal: Signal) -> Vec<String> {
        self.streams.get(&(stream.to_owned(), signal.name())).cloned().unwrap_or_default()
    }

    /// The names of all streams of any signal.
    pub fn streams(&self) -> BTreeSet<&str> {
        self.streams.keys().map(|(stream, _)| stream.as_str()).collect()
    }

    fn records(&self) -> usize {
        self.streams.values().map(Vec::len).sum()
    }
}

impl<R: Rules> StandIn<R> {
    /// Starts one with these rules.
    pub async fn start(rules: R) -> Self {
        let (rules, state) = (Arc::new(rules), Arc::new(Mutex::new(State::default())));
        let (judging, noting) = (rules.clone(), state.clone());
        let up = Scripted::new(move |asked| answer(&*judging, &mut noting.lock(), asked)).await;
        Self { rules, up, state }
    }

    /// Where it listens, as a URL without a path.
    pub fn url(&self) -> String {
        self.up.url()
    }

    /// Where it listens for gRPC: `endpoint` and `tls` of an exporter.
    pub fn grpc_options(&self) -> String {
        self.up.grpc_options()
    }

    /// Answers the next requests with these statuses, one each, and takes nothing of them.
    pub fn fail_next(&self, statuses: &[u16]) {
        self.state.lock().faults.extend(statuses.iter().map(|status| (*status, Vec::new())));
    }

    /// Answers the next request with a status and a header.
    pub fn fail_next_with(&self, status: u16, name: &str, value: &str) {
        self.state.lock().faults.push_back((status, vec![(name.to_owned(), value.to_owned())]));
    }

    /// That it refuses by this status is what the test is about.
    pub fn expect(&self, status: u16) {
        self.state.lock().expected.insert(status);
    }

    /// That it answers with success and drops something is what the test is about.
    pub fn expect_drops(&self) {
        self.state.lock().drops_expected = true;
    }

    /// What it has taken and dropped.
    pub fn taken(&self) -> Taken {
        self.state.lock().taken.clone()
    }

    /// All requests so far, those that were refused among them.
    pub fn asked(&self) -> Vec<Asked> {
        self.up.asked()
    }

    /// Waits until it has taken so many records.
    pub async fn records(&self, records: usize) -> Taken {
        eventually("the records arrive", async || {
            Some(self.taken()).filter(|taken| taken.records() >= records)
        })
        .await
    }
}

impl<R: Rules> Drop for StandIn<R> {
    fn drop(&mut self) {
        let state = self.state.lock();
        if std::thread::panicking() {
            return;
        }
        assert_eq!(state.refused, [""; 0], "the real upstream would have refused that");
        assert_eq!(state.refused_by, state.expected, "it has refused nothing by what the test expects");
        let dropped = &state.taken.dropped;
        assert_eq!(state.drops_expected, !dropped.is_empty(), "what the real upstream drops: {dropped:?}");
    }
}

fn answer(rules: &impl Rules, state: &mut State, asked: &Asked) -> Said {
    let method = asked.path.starts_with("/opentelemetry.");
    if let Some((status, headers)) = state.faults.pop_front() {
        return fault(method, status, &headers);
    }
    let judged = Delivery::of(asked).and_then(|delivery| {
        let mut taken = state.taken.clone();
        rules.judge(&delivery, &mut taken)?;
        taken.largest = taken.largest.max(delivery.exported.size());
        Ok(taken)
    });
    match judged {
        Ok(taken) => {
            state.taken = taken;
            if method { Said::status(Code::Ok, &[]) } else { success(asked) }
        }
        Err(refusal) => {
            if state.expected.contains(&refusal.status) {
                state.refused_by.insert(refusal.status);
            } else {
                state.refused.push(format!("{}: {refusal:?}", asked.path));
            }
            if method {
                return Said::status(Code::InvalidArgument, &[]);
            }
            Said::new(refusal.status, &[("content-type", JSON)], refusal.body)
        }
    }
}

/// Success is answered in the encoding of the request.
fn success(asked: &Asked) -> Said {
    let is_json = asked.headers.get("content-type").is_some_and(|media_type| media_type == JSON);
    let (media_type, body) = if is_json { (JSON, "{}") } else { (PROTOBUF, "") };
    Said::new(200, &[("content-type", media_type)], body)
}

fn fault(method: bool, status: u16, headers: &[(String, String)]) -> Said {
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if !method {
        return Said::new(status, &headers, "not now");
    }
    let code = match status {
        503 => Code::Unavailable,
        429 => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Said::grpc(&[], framed(0, b""), &[("grpc-status", &(code as i32).to_string())])
}

impl Delivery {
    fn of(asked: &Asked) -> Result<Self, Refusal> {
        let header = |name: &str| {
            asked.headers.get(name).map_or("", |value| value.to_str().expect("headers are text"))
        };
        let path = asked.path.as_str();
        let (signal, body, encoding, is_json) = if let Some(signal) = Signal::from_method(path) {
            let framed = asked.body.split_at_checked(5);
            let (frame, message) = framed.ok_or(Refusal::new(400, "no message"))?;
            (signal, message, if frame[0] == 1 { header("grpc-encoding") } else { "" }, false)
        } else {
            let signal = Signal::ALL.into_iter().find(|signal| path.ends_with(signal.path()));
            let signal = signal.ok_or(Refusal::new(404, "no such path"))?;
            let media_type = header("content-type");
            if ![JSON, PROTOBUF].contains(&media_type) {
                return Err(Refusal::new(415, "neither protobuf nor JSON"));
            }
            (signal, &*asked.body, header("content-encoding"), media_type == JSON)
        };
        let plain = exported::decompressed(encoding, body).ok_or(Refusal::new(415, "not compressed so"))?;
        let exported = Exported::read(signal, &plain, is_json).ok_or(Refusal::new(400, "no request"))?;
        Ok(Self {
            signal,
            path: path.to_owned(),
            headers: asked.headers.clone(),
            wire_size: body.len(),
            exported,
        })
    }

    /// What stands in a header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are text"))
    }

    /// The token of `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization").strip_prefix("Bearer ")
    }
}
