//! Exporters and streams that operators hold. A hold is no failure, but the held data fills the queue, and whoever began the hold may
//! have forgotten it.

use std::sync::Arc;
use std::time::Duration;

use super::words::{ago, size, time};
use super::{Attention, AttentionSubject, Urgency};
use crate::export::{Exporter, OperatorHold};
use crate::run::Router;
use crate::stream::{StreamAddress, StreamName};

/// If more streams of an exporter are held than this, one sentence speaks of all of them.
const ONE_BY_ONE: usize = 5;

pub(super) fn found(router: &Router) -> Vec<Attention> {
    let mut all = Vec::new();
    for exporter in router.exporters().iter() {
        all.extend(exporter.holds().by_operator().map(|hold| of_exporter(exporter, &hold)));
        all.extend(of_streams(exporter));
    }
    all
}

fn of_exporter(exporter: &Exporter, hold: &OperatorHold) -> Attention {
    let (name, waits) = (exporter.name(), exporter.registry().pending_bytes());
    let text = format!("{name}: all its streams are {}", told(hold, waits));
    let subject = AttentionSubject::Exporter(name.to_string());
    Attention::new(Urgency::Info, "exporter_held", subject, text).since(Some(hold.since)).with_pending(waits)
}

fn of_streams(exporter: &Arc<Exporter>) -> Vec<Attention> {
    let mut held = exporter.holds().streams_held_by_operators();
    let pending =
        |name: &StreamName| exporter.registry().find(name).map_or(0, |stream| stream.state().pending_bytes);
    if held.len() > ONE_BY_ONE {
        let waits = held.iter().map(|(name, _)| pending(name)).sum();
        let text = format!(
            "{}: {} of its streams are held by operators, {} wait: its page lists them; release them there to send what waits.",
            exporter.name(),
            held.len(),
            size(waits)
        );
        let subject = AttentionSubject::Exporter(exporter.name().to_string());
        let first = held.iter().map(|(_, hold)| hold.since).min();
        return vec![
            Attention::new(Urgency::Info, "stream_held", subject, text).since(first).with_pending(waits),
        ];
    }
    held.sort_unstable_by(|(one, _), (other, _)| (&one.key, one.signal).cmp(&(&other.key, other.signal)));
    let one = |(name, hold): (StreamName, OperatorHold)| {
        let waits = pending(&name);
        let whose = match (name.key.tenant(), &*name.key.text()) {
            (None, "") => String::new(),
            (None, key) => format!(" `{key}`"),
            (Some(tenant), "") => format!(" of {tenant}"),
            (Some(tenant), key) => format!(" `{key}` of {tenant}"),
        };
        let text =
            format!("{}: its stream of {}{whose} is {}", exporter.name(), name.signal, told(&hold, waits));
        let subject = AttentionSubject::Stream(StreamAddress { exporter: exporter.name().clone(), name });
        Attention::new(Urgency::Info, "stream_held", subject, text)
            .since(Some(hold.since))
            .with_pending(waits)
    };
    held.into_iter().map(one).collect()
}

/// Who began the hold, how long it has lasted and will last, how much data waits, and how it is ended.
fn told(hold: &OperatorHold, waits: u64) -> String {
    let by = hold.by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
    let until = match hold.left() {
        Some(Duration::MAX) | None => "until somebody releases it".to_owned(),
        Some(left) => format!("and for {} more", time(left)),
    };
    format!(
        "held by an operator{by} for {}, {until}, {} wait: release it on its page to send what waits.",
        ago(hold.since),
        size(waits)
    )
}
