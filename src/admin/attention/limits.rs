//! Limits that are reached or nearly so: of the journal, the memory, the dead-letter directory, open files. And a journal that fails.

use std::sync::Arc;
use std::time::Duration;

use super::words::{ago, counted, ended, size};
use super::{Attention, AttentionSubject, NEARLY_FULL, Urgency};
use crate::dead_letters::DeadLetters;
use crate::descriptors::{Use, descriptors};
use crate::journal::JournalState;
use crate::run::Router;

/// A journal beyond this part of its limit is nearly full: a single stream that is stuck gets no more than some 72 % of it.
pub(in crate::admin) const JOURNAL_NEARLY_FULL: f64 = 0.7;

/// Senders that were refused for want of room in the journal, this lately at most, still have what they could not send: they wait up to
/// a minute before they send it again.
const REFUSED_LATELY: Duration = Duration::from_secs(60);

pub(super) fn found(router: &Router) -> Vec<Attention> {
    let mut all = Vec::new();
    if let Some(journal) = &router.intake().journal {
        all.extend(of_journal(router, &journal.state()));
    }
    all.extend(of_memory(router));
    all.extend(of_streams(router));
    all.extend(router.intake().dead_letters.load().as_ref().and_then(of_dead_letters));
    all.extend(Use::ALL.into_iter().filter_map(of_descriptors));
    all
}

fn is_beyond(part: f64, used: u64, limit: u64) -> bool {
    used as f64 > part * limit as f64
}

fn of_journal(router: &Router, state: &JournalState) -> Vec<Attention> {
    let mut all = Vec::new();
    let about = |urgency, kind, text| Attention::new(urgency, kind, AttentionSubject::Journal, text);
    if let Some(failing) = &state.failing {
        let text = format!(
            "The journal can't be written for {}, so senders are refused with 503: {} It goes on by itself once its disk takes data again.",
            ago(failing.since),
            ended(&failing.why)
        );
        let failing = about(Urgency::Error, "journal_failing", text).since(Some(failing.since));
        all.push(failing.with_pending(state.live_bytes));
    } else {
        let refused = router.intake().counters.last_without_journal_room();
        let refuses = refused.is_some_and(|moment| moment.elapsed() <= REFUSED_LATELY);
        if refuses || is_beyond(JOURNAL_NEARLY_FULL, state.bytes_on_disk, state.max_size) {
            let (urgency, senders) = if refuses {
                (Urgency::Error, "senders are refused with 503")
            } else {
                (Urgency::Warning, "senders are refused with 503 once there is no more room")
            };
            let text = format!(
                "The journal takes {} of the {} that it may: {senders}. {}See why that exporter does not keep up, or raise \
                 `journal.max_size`.",
                size(state.bytes_on_disk),
                size(state.max_size),
                most_waits(router)
            );
            all.push(about(urgency, "journal_full", text).with_pending(state.live_bytes));
        }
    }
    if state.quarantined > 0 {
        let text = format!(
            "The journal's disk has damaged what was written, in {}: it is put aside, and the log says what it was. Check the disk.",
            counted(state.quarantined, "place", "places")
        );
        all.push(about(Urgency::Warning, "journal_damaged", text));
    }
    for unclaimed in router.unclaimed().iter().filter(|unclaimed| unclaimed.records > 0) {
        let text = format!(
            "{} ({}) wait in the journal for the exporter `{}`, which the configuration does not have: they are sent once it has an \
             exporter of this name again.",
            counted(unclaimed.records, "record", "records"),
            size(unclaimed.bytes),
            unclaimed.exporter
        );
        all.push(about(Urgency::Warning, "unclaimed", text).with_pending(unclaimed.bytes));
    }
    all
}

fn of_memory(router: &Router) -> Option<Attention> {
    let (used, limit) = (router.shared().budget.used(), router.shared().budget.limit());
    is_beyond(NEARLY_FULL, used, limit).then(|| {
        let text = format!(
            "{} of the {} of memory are taken that `limits.memory` allows: senders are refused with 503, or soon will be. {}See why that \
             exporter does not keep up, or raise the limit.",
            size(used),
            size(limit),
            most_waits(router)
        );
        Attention::new(Urgency::Error, "memory_full", AttentionSubject::Memory, text).with_pending(used)
    })
}

fn of_streams(router: &Router) -> Option<Attention> {
    let (live, limit) = (router.shared().streams.live(), router.shared().streams.limit());
    is_beyond(NEARLY_FULL, live as u64, limit as u64).then(|| {
        let text = format!(
            "{live} of the {limit} streams are alive that `limits.streams` allows: requests that begin others are refused with 503, or soon \
             will be. Raise the limit, or route by an attribute that has fewer values."
        );
        let urgency = if live < limit { Urgency::Warning } else { Urgency::Error };
        Attention::new(urgency, "streams_full", AttentionSubject::Memory, text)
    })
}

/// A sentence that names the exporter with the most pending data, with a space behind it.
fn most_waits(router: &Router) -> String {
    let exporters = router.exporters();
    let most = exporters.iter().max_by_key(|exporter| exporter.registry().pending_bytes());
    match most.map(|exporter| (exporter.name(), exporter.registry().pending_bytes())) {
        Some((name, bytes)) if bytes > 0 => format!("Most of it waits for `{name}` ({}). ", size(bytes)),
        _ => String::new(),
    }
}

fn of_dead_letters(directory: &Arc<DeadLetters>) -> Option<Attention> {
    let (bytes, most, path) = (directory.bytes(), directory.max_size(), directory.directory().display());
    let instead = "replay or delete letters, or raise `dead_letter.max_size`";
    let (urgency, text) = if directory.is_full() {
        let full = format!("The dead-letter directory `{path}` is full ({})", size(bytes));
        (Urgency::Error, format!("{full}, so that what no upstream takes is lost: {instead}."))
    } else if is_beyond(NEARLY_FULL, bytes, most) {
        let full = format!(
            "The dead-letter directory `{path}` has {} of the {} that it may",
            size(bytes),
            size(most)
        );
        (Urgency::Warning, format!("{full}, and what comes beyond that is lost: {instead}."))
    } else {
        return None;
    };
    Some(Attention::new(urgency, "dead_letters_full", AttentionSubject::Configuration, text))
}

fn of_descriptors(of: Use) -> Option<Attention> {
    let share = descriptors().share(of);
    let (taken, most) = (share.in_use(), share.most());
    is_beyond(NEARLY_FULL, taken as u64, most as u64).then(|| {
        let (what, then) = match of {
            Use::Receivers => ("connections of senders", "further senders wait, or idle ones are closed for them"),
            Use::Exporters => ("connections to upstreams", "deliveries wait for one"),
            Use::Files => ("files of `file` exporters", "files are closed and opened again"),
        };
        let text = format!(
            "{taken} of the {most} open files for {what} are taken; beyond that {then}. Raise `ulimit -n`, or `LimitNOFILE=` in a service \
             of systemd."
        );
        // Connections of senders and files make room for others.
        let waits = of == Use::Exporters && taken >= most;
        let urgency = if waits { Urgency::Error } else { Urgency::Warning };
        Attention::new(urgency, "open_files", AttentionSubject::Configuration, text)
    })
}
