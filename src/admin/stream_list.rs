//! `GET /api/v1/streams`: the live streams, and those that were forgotten not long ago, in the order that the request asks for, a
//! page at a time.
//!
//! A page is found in one scan over the figures of all streams, or two if it is far behind the start, which keep few of them; the full
//! state is then read of the page's streams alone. The cursor of a page is the figure and the name of its last stream: so
//! the next page begins right behind it, whatever streams have come or gone meanwhile.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use memchr::memmem::Finder;
use serde_json::{Value, json};

use super::page_search::{self, FoundPage, PageRange, RowScan};
use super::query;
use super::stream_row::{self, ShownStream};
use super::tenant_list::named;
use crate::otlp::Signal;
use crate::route::RoutingKey;
use crate::run::Router;
use crate::stream::{History, ScannedStream, StreamActivity, StreamName, StreamState};

/// The most streams that are listed in one answer, and how many are listed if the query has no `limit`.
const MOST: usize = 1000;

/// The streams that a request asks for, and their order.
#[derive(Debug)]
pub(super) struct WantedStreams {
    exporter: Option<String>,
    tenant: Option<String>,
    /// A part of the routing key.
    key: Option<Finder<'static>>,
    signal: Option<Signal>,
    activity: Option<StreamActivity>,
    order: StreamOrder,
    descending: bool,
    limit: usize,
    after: Option<String>,
    /// Streams between the start, or what `after` says, and the page.
    skip: usize,
    /// Streams that were forgotten as well.
    past: bool,
}

/// What streams are ordered by. Streams without that figure come last in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamOrder {
    /// When the oldest pending entry was admitted.
    Oldest,
    Key,
    Exporter,
    Tenant,
    PendingBytes,
    DeliveredRecords,
    FailedAttempts,
    /// The time of the last error.
    LastError,
}

/// The streams that a page shows.
#[derive(Debug)]
pub(super) struct StreamPage(FoundPage<FoundStream>);

/// The place of a stream in the order: by its value, then by its text, then by its name.
#[derive(Clone, Copy, Debug)]
struct StreamPosition<'s> {
    /// The lower it is, the earlier the stream comes.
    value: u64,
    /// Empty in an order by a figure.
    text: &'s str,
    exporter: &'s str,
    name: &'s StreamName,
}

/// A stream that may be on the page.
#[derive(Clone, Debug)]
struct FoundStream {
    value: u64,
    /// The range of its text in the written form of its key.
    text: Range<usize>,
    exporter: Arc<str>,
    name: StreamName,
    /// The history of a stream that was forgotten.
    history: Option<Box<History>>,
}

impl StreamOrder {
    const ALL: [Self; 8] = [
        Self::Oldest,
        Self::Key,
        Self::Exporter,
        Self::Tenant,
        Self::PendingBytes,
        Self::DeliveredRecords,
        Self::FailedAttempts,
        Self::LastError,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Oldest => "oldest",
            Self::Key => "key",
            Self::Exporter => "exporter",
            Self::Tenant => "tenant",
            Self::PendingBytes => "pending_bytes",
            Self::DeliveredRecords => "delivered_records",
            Self::FailedAttempts => "failed_attempts",
            Self::LastError => "last_error",
        }
    }
}

/// Reads the parameters of the URL.
pub(super) fn wanted(text: &str) -> Result<WantedStreams, String> {
    let mut wanted = WantedStreams::all();
    for (name, value) in query::parameters(text) {
        match name {
            "exporter" => wanted.exporter = Some(value),
            "tenant" => wanted.tenant = Some(value),
            "key" => wanted.key = Some(Finder::new(&value).into_owned()),
            "signal" => wanted.signal = Some(named("signal", &Signal::ALL, Signal::name, &value)?),
            "state" => {
                wanted.activity = Some(named("state", &StreamActivity::ALL, StreamActivity::name, &value)?);
            }
            "sort" => {
                let order = value.strip_prefix('-');
                wanted.descending = order.is_some();
                wanted.order = named("sort", &StreamOrder::ALL, StreamOrder::name, order.unwrap_or(&value))?;
            }
            "limit" => wanted.limit = query::number("limit", &value)?.clamp(1, MOST),
            "after" => wanted.after = Some(value),
            "skip" => wanted.skip = query::number("skip", &value)?,
            _ => {
                return Err(format!(
                    "unknown parameter `{name}`: there are exporter, tenant, key, signal, state, sort, limit, after and skip"
                ));
            }
        }
    }
    Ok(wanted)
}

/// The page as JSON. Reads the figures of every stream.
pub(super) fn page(router: &Router, wanted: &WantedStreams) -> Result<Value, String> {
    let page = find(router, wanted)?;
    let next = page.0.rows.last().filter(|_| page.0.more).map(|last| wanted.cursor(router, last));
    Ok(json!({
        "total": page.0.total,
        "limit": router.shared().streams.limit(),
        "streams": page.rows(router, wanted),
        "next": next,
    }))
}

/// The page. Reads the figures of every stream.
pub(super) fn find(router: &Router, wanted: &WantedStreams) -> Result<StreamPage, String> {
    let after = wanted.after.as_deref().map(|after| wanted.position_at(router, after)).transpose()?;
    let range = PageRange { after, skip: wanted.skip, limit: wanted.limit };
    let compare = |one: &FoundStream, other: &FoundStream| {
        wanted.compare(wanted.position_of(one), wanted.position_of(other))
    };
    Ok(StreamPage(page_search::find(&range, compare, |rows| wanted.scan(router, rows))))
}

impl WantedStreams {
    /// At most `limit` live streams of a tenant, those with the oldest pending entries first.
    pub(super) fn live_of(tenant: &str, limit: usize) -> Self {
        Self { tenant: Some(tenant.to_owned()), limit, past: false, ..Self::all() }
    }

    /// All streams, those with the oldest pending entries first.
    fn all() -> Self {
        Self {
            exporter: None,
            tenant: None,
            key: None,
            signal: None,
            activity: None,
            order: StreamOrder::Oldest,
            descending: false,
            limit: MOST,
            after: None,
            skip: 0,
            past: true,
        }
    }

    /// Looks at all streams that the request asks for.
    fn scan<C: Fn(&FoundStream, &FoundStream) -> Ordering>(
        &self,
        router: &Router,
        rows: &mut RowScan<'_, FoundStream, C>,
    ) {
        let mut room = String::new();
        for exporter in router.exporters().iter() {
            let exporter_name = exporter.name();
            if self.is_of(exporter_name) {
                exporter.registry().scan(|stream| {
                    let is_wanted = self.activity.is_none_or(|activity| stream.activity() == activity)
                        && self.takes(stream.name, &mut room);
                    if is_wanted {
                        self.look(rows, self.value(&stream), exporter_name, stream.name, || None);
                    }
                });
            }
        }
        if self.past && self.activity.is_none_or(|activity| activity == StreamActivity::Idle) {
            router.shared().past.for_each(|exporter_name, signal, key, history| {
                let name = StreamName { signal, key: key.clone() };
                if self.is_of(exporter_name) && self.takes(&name, &mut room) {
                    let value = self.value_of_past(history);
                    self.look(rows, value, exporter_name, &name, || Some(Box::new(history.clone())));
                }
            });
        }
    }

    /// Takes a stream of the scan that the request asks for.
    fn look<C: Fn(&FoundStream, &FoundStream) -> Ordering>(
        &self,
        rows: &mut RowScan<'_, FoundStream, C>,
        value: u64,
        exporter: &Arc<str>,
        name: &StreamName,
        history: impl FnOnce() -> Option<Box<History>>,
    ) {
        // Streams without the text come last.
        let (value, text) = self.text(&name.key).map_or((u64::MAX, 0..0), |text| (value, text));
        let position = self.position(value, &text, exporter, name);
        let found = || {
            let (exporter, name) = (exporter.clone(), name.clone());
            FoundStream { value, text: text.clone(), exporter, name, history: history() }
        };
        rows.look(|other| self.compare(position, self.position_of(other)), found);
    }

    fn is_of(&self, exporter: &str) -> bool {
        self.exporter.as_deref().is_none_or(|wanted| wanted == exporter)
    }

    /// Whether the request asks for a stream of this name; `room` is a buffer that is overwritten.
    fn takes(&self, name: &StreamName, room: &mut String) -> bool {
        self.signal.is_none_or(|signal| name.signal == signal)
            && self.tenant.as_deref().is_none_or(|tenant| name.key.tenant() == Some(tenant))
            && self.key.as_ref().is_none_or(|part| part.find(name.key.text_in(room).as_bytes()).is_some())
    }

    /// The value by which a live stream is ordered: lower values come first.
    fn value(&self, stream: &ScannedStream<'_>) -> u64 {
        let value = match self.order {
            StreamOrder::Key | StreamOrder::Exporter | StreamOrder::Tenant => return 0,
            StreamOrder::Oldest => stream.oldest_micros(),
            StreamOrder::PendingBytes => Some(stream.pending_bytes()),
            StreamOrder::DeliveredRecords => Some(stream.delivered_records()),
            StreamOrder::FailedAttempts => Some(stream.failed_attempts()),
            StreamOrder::LastError => stream.last_error_millis(),
        };
        value.map_or(u64::MAX - 1, |value| self.directed(value))
    }

    /// The value of a forgotten stream. Nothing is pending of it, so it comes behind live streams of which nothing is pending.
    fn value_of_past(&self, history: &History) -> u64 {
        let value = match self.order {
            StreamOrder::Key | StreamOrder::Exporter | StreamOrder::Tenant => return 0,
            StreamOrder::Oldest => return u64::MAX,
            StreamOrder::PendingBytes | StreamOrder::FailedAttempts => Some(0),
            StreamOrder::DeliveredRecords => Some(history.delivered_records),
            StreamOrder::LastError => history.last_error_millis(),
        };
        value.map_or(u64::MAX - 1, |value| self.directed(value))
    }

    fn directed(&self, value: u64) -> u64 {
        if self.descending { u64::MAX - 2 - value } else { value }
    }

    /// The range in the key of the text by which a stream is ordered; empty in orders by a figure or by the exporter's name. `None` if
    /// the key has no such text.
    fn text(&self, key: &RoutingKey) -> Option<Range<usize>> {
        match self.order {
            StreamOrder::Key => {
                let end = key.as_written().len();
                Some(end - key.without_tenant().len()..end)
            }
            StreamOrder::Tenant => key.tenant_within(),
            _ => Some(0..0),
        }
    }

    fn position<'s>(
        &self,
        value: u64,
        text: &Range<usize>,
        exporter: &'s str,
        name: &'s StreamName,
    ) -> StreamPosition<'s> {
        let text = match self.order {
            StreamOrder::Exporter => exporter,
            _ => name.key.as_written().get(text.clone()).unwrap_or_default(),
        };
        StreamPosition { value, text, exporter, name }
    }

    fn position_of<'s>(&self, found: &'s FoundStream) -> StreamPosition<'s> {
        self.position(found.value, &found.text, &found.exporter, &found.name)
    }

    fn compare(&self, one: StreamPosition<'_>, other: StreamPosition<'_>) -> Ordering {
        let directed = |order: Ordering| if self.descending { order.reverse() } else { order };
        let by_value = one.value.cmp(&other.value);
        by_value
            .then_with(|| directed(one.text.cmp(other.text)))
            .then_with(|| one.name.key.cmp(&other.name.key))
            .then_with(|| one.exporter.cmp(other.exporter))
            .then_with(|| one.name.signal.cmp(&other.name.signal))
    }

    /// The order as the parameter `sort` writes it.
    fn sort(&self) -> String {
        let direction = if self.descending { "-" } else { "" };
        format!("{direction}{}", self.order.name())
    }

    /// The value of `after` for the page that begins behind this stream.
    fn cursor(&self, router: &Router, last: &FoundStream) -> String {
        let (signal, key) = (last.name.signal.name(), &**last.name.key.as_written());
        let cursor = json!([self.sort(), last.value, *last.exporter, signal, key, began_at(router)]);
        BASE64_URL_SAFE_NO_PAD.encode(cursor.to_string())
    }

    /// The place that a value of `after` stands for.
    fn position_at(&self, router: &Router, cursor: &str) -> Result<FoundStream, String> {
        let unknown = || "`after` is not what `next` was on any page; begin again without it".to_owned();
        let text = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| unknown())?;
        let fields: (String, u64, String, String, String, u64) =
            serde_json::from_slice(&text).map_err(|_| unknown())?;
        let (sort, value, exporter, signal, key, began) = fields;
        let signal = Signal::from_name(&signal).ok_or_else(unknown)?;
        if sort != self.sort() {
            return Err(format!("`after` is of a page with sort={sort}; begin again without it"));
        }
        // Ages are counted from the start of the process.
        if self.order == StreamOrder::Oldest && began != began_at(router) {
            return Err("`after` is of before the last restart; begin again without it".to_owned());
        }
        let name = StreamName { signal, key: RoutingKey::written(key) };
        let text = self.text(&name.key).unwrap_or_default();
        Ok(FoundStream { value, text, exporter: exporter.into(), name, history: None })
    }
}

/// When the process began, in microseconds since 1970, which tells one run from others.
fn began_at(router: &Router) -> u64 {
    let since = router.shared().began.1.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

impl StreamPage {
    /// The streams as the API shows them. A stream that was forgotten since the scan, or whose state is no longer the one that the
    /// request asks for, is left out.
    pub(super) fn rows(&self, router: &Router, wanted: &WantedStreams) -> Vec<Value> {
        let exporters = router.exporters();
        let found = &self.0.rows;
        let live: HashSet<_> = found
            .iter()
            .filter(|found| found.history.is_none())
            .map(|found| (&found.exporter, &found.name))
            .collect();
        let row = |found: &FoundStream| {
            let exporter = exporters.iter().find(|exporter| *exporter.name() == found.exporter);
            let state = match &found.history {
                // The stream was forgotten during the scan, and found a second time among the forgotten ones.
                Some(_) if live.contains(&(&found.exporter, &found.name)) => return None,
                Some(history) => StreamState { history: (**history).clone(), ..StreamState::default() },
                None => exporter?.registry().find(&found.name)?.state(),
            };
            let shown = ShownStream {
                exporter: &found.exporter,
                name: &found.name,
                state: &state,
                hold: exporter.and_then(|exporter| exporter.hold_of(&found.name)),
            };
            wanted
                .activity
                .is_none_or(|activity| state.activity == activity)
                .then(|| stream_row::json(&shown))
        };
        found.iter().filter_map(row).collect()
    }
}
