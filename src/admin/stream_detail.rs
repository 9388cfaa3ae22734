//! `GET /api/v1/streams/one`: all that is known of one stream, without secrets.

use serde_json::Value;

use super::attempt_row;
use super::exporters;
use super::query;
use super::stream_row::{self, ShownStream};
use super::tenant_list::named;
use crate::export::{Exporter, HoldScope, StreamHold};
use crate::otlp::Signal;
use crate::route::RoutingKey;
use crate::run::Router;
use crate::stream::{StreamAddress, StreamName, StreamState};

/// The name of a stream as the API writes it, with the routing key as a text.
#[derive(Debug, Default)]
pub(super) struct WrittenName {
    pub(super) exporter: Option<String>,
    pub(super) signal: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) key: Option<String>,
}

impl WrittenName {
    /// Reads the query.
    pub(super) fn of_query(text: &str) -> Result<Self, String> {
        let mut written = Self::default();
        for (name, value) in query::parameters(text) {
            match name {
                "exporter" => written.exporter = Some(value),
                "signal" => written.signal = Some(value),
                "tenant" => written.tenant = Some(value),
                "key" => written.key = Some(value),
                _ => {
                    return Err(format!(
                        "unknown parameter `{name}`: there are exporter, signal, tenant and key"
                    ));
                }
            }
        }
        Ok(written)
    }

    /// The exporter, and the parts of the stream's name. `key` may be left out: the stream of a route without a key has an empty one.
    fn asked(&self) -> Result<(&str, Signal, &str), String> {
        let exporter = self.exporter.as_deref().ok_or("`exporter` is missing")?;
        let signal = self.signal.as_deref().ok_or("`signal` is missing")?;
        let signal = named("signal", &Signal::ALL, Signal::name, signal)?;
        Ok((exporter, signal, self.key.as_deref().unwrap_or_default()))
    }

    /// The stream that is shown under this name: a live one, one that was forgotten lately, or one that an operator holds; `None`
    /// if there is none. May scan all streams of the exporter.
    pub(super) fn find(&self, router: &Router) -> Result<Option<StreamAddress>, String> {
        let (exporter, signal, key) = self.asked()?;
        let exporters = router.exporters();
        let Some(exporter) = exporters.iter().find(|known| **known.name() == *exporter) else {
            return Ok(None);
        };
        // A key that is one text is written so.
        let name =
            StreamName { signal, key: RoutingKey::of(self.tenant.as_deref(), key, std::iter::empty()) };
        let is_known = exporter.registry().find(&name).is_some()
            || router.shared().past.get(exporter.name(), &name).is_some()
            || is_held_by_operator(exporter, &name);
        let name = if is_known { Some(name) } else { self.of_parts(router, exporter, signal, key) };
        Ok(name.map(|name| StreamAddress { exporter: exporter.name().clone(), name }))
    }

    /// The stream whose key has parts and is shown as this text.
    fn of_parts(
        &self,
        router: &Router,
        exporter: &Exporter,
        signal: Signal,
        key: &str,
    ) -> Option<StreamName> {
        let mut found = None;
        let mut look = |signal_of: Signal, known: &RoutingKey| {
            if found.is_none()
                && signal_of == signal
                && known.tenant() == self.tenant.as_deref()
                && known.parts().next().is_some()
                && known.text() == key
            {
                found = Some(StreamName { signal, key: known.clone() });
            }
        };
        for (held, _) in exporter.holds().streams_held_by_operators() {
            look(held.signal, &held.key);
        }
        exporter.registry().scan(|stream| look(stream.name.signal, &stream.name.key));
        router.shared().past.for_each(|of, signal, known, _| {
            if of == exporter.name() {
                look(signal, known);
            }
        });
        found
    }
}

fn is_held_by_operator(exporter: &Exporter, name: &StreamName) -> bool {
    matches!(exporter.hold_of(name), Some(StreamHold::ByOperator { scope: HoldScope::Stream, .. }))
}

/// All about the stream of this name; `None` if there is none.
pub(super) fn shown(router: &Router, name: &WrittenName) -> Result<Option<Value>, String> {
    let Some(StreamAddress { exporter: exporter_name, name }) = name.find(router)? else {
        return Ok(None);
    };
    let exporters = router.exporters();
    let Some(exporter) = exporters.iter().find(|known| *known.name() == exporter_name) else {
        return Ok(None);
    };
    let live = exporter.registry().find(&name);
    let state = live.as_ref().map_or_else(
        || StreamState {
            history: router.shared().past.get(&exporter_name, &name).unwrap_or_default(),
            ..StreamState::default()
        },
        |stream| stream.state(),
    );
    let hold = exporter.hold_of(&name);
    let mut shown =
        stream_row::json(&ShownStream { exporter: &exporter_name, name: &name, state: &state, hold });
    let attempts = exporter.registry().attempts_of(&name);
    shown["live"] = live.is_some().into();
    shown["attempts"] = attempts.iter().map(|attempt| attempt_row::json(attempt)).collect();
    shown["dead_letters"] = state.history.dead_lettered_records.into();
    shown["settings"] = exporters::settings(router, &exporter_name);
    Ok(Some(shown))
}
