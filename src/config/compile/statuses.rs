//! `statuses` of an exporter: what becomes of a batch by the status that answers it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::Context;
use crate::config::model::{self, RetryOnFailure, StatusActionTimes, StatusRule};
use crate::config::node::{Node, NodeEntry};
use crate::config::quoting::{enumerated, named, nearest};
use crate::export::{HoldScope, StatusAction, Statuses, TimedAction};
use crate::rpc::Code;

/// The protocol of an exporter, which decides the statuses that its `statuses` can name.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ExporterProtocol {
    Http,
    Grpc,
}

/// The statuses that a key names.
enum NamedStatus {
    /// One status of HTTP, a range or a class.
    Http(RangeInclusive<u16>),
    /// A status of gRPC.
    Grpc(Code),
    /// All statuses that no other key names.
    Others,
}

/// The key for all statuses that no other key names.
const OTHERS: &str = "default";

/// Compiles the `statuses` of the exporter at `node`.
pub(super) fn compile(
    protocol: ExporterProtocol,
    statuses: &BTreeMap<String, StatusRule>,
    retry: &RetryOnFailure,
    node: &Node,
    context: &mut Context<'_>,
) -> Statuses {
    let mut compiled = Statuses::retrying(retry.statuses.clone());
    for entry in node.get("statuses").map_or(&[][..], Node::entries) {
        let Some(key) = read(&entry.key) else {
            unknown(protocol, entry, context);
            continue;
        };
        let action = match statuses.get(&entry.key) {
            Some(StatusRule::Word(word)) => Some(action(*word).into()),
            Some(StatusRule::Timed(times)) => timed(times, entry, context),
            None => None,
        };
        if let Some(action) = action {
            add(&mut compiled, protocol, key, action, entry, context);
        }
    }
    compiled
}

fn action(word: model::StatusActionWord) -> StatusAction {
    match word {
        model::StatusActionWord::Delivered => StatusAction::Delivered,
        model::StatusActionWord::Retry => StatusAction::Retry,
        model::StatusActionWord::Hold => StatusAction::Hold(HoldScope::Stream),
        model::StatusActionWord::HoldTenant => StatusAction::Hold(HoldScope::Tenant),
        model::StatusActionWord::HoldExporter => StatusAction::Hold(HoldScope::Exporter),
        model::StatusActionWord::Split | model::StatusActionWord::Divide => StatusAction::Split,
        model::StatusActionWord::DeadLetter => StatusAction::DeadLetter,
        model::StatusActionWord::Drop => StatusAction::Drop,
    }
}

/// The action of a map of one word to its least time; `None` if it is not one.
fn timed(times: &StatusActionTimes, entry: &NodeEntry, context: &mut Context<'_>) -> Option<TimedAction> {
    const INSTEAD: &str =
        "write one word, such as `hold`, or one with its least time, such as `{ hold: 1h }`";
    let (report, shown) = (&mut *context.report, named(&entry.key));
    let words = entry.value.entries();
    let [word] = words else {
        let names: Vec<_> = words.iter().map(|word| named(&word.key)).collect();
        let what = match words {
            [] => format!("{shown} says nothing of what becomes of a batch"),
            _ => format!("{shown} says several things of what becomes of a batch: {}", enumerated(&names)),
        };
        report.error(entry.value.span, what).help(INSTEAD);
        return None;
    };
    if times.delivered.is_some() {
        report
            .error(word.key_span, "`delivered` has no least time: what counts as delivered does so at once")
            .help(format!("write `{}: delivered`", entry.key));
        return None;
    }
    let known = [
        ("retry", StatusAction::Retry, times.retry),
        ("hold", StatusAction::Hold(HoldScope::Stream), times.hold),
        ("hold_tenant", StatusAction::Hold(HoldScope::Tenant), times.hold_tenant),
        ("hold_exporter", StatusAction::Hold(HoldScope::Exporter), times.hold_exporter),
        ("split", StatusAction::Split, times.split),
        ("dead_letter", StatusAction::DeadLetter, times.dead_letter),
        ("drop", StatusAction::Drop, times.drop),
    ];
    // What is wrong with any other word, or with a time, has been said.
    let (name, action, least) = known.into_iter().find(|(name, ..)| *name == word.key)?;
    if word.value.is_null() {
        report
            .error(word.key_span, format!("`{name}` has no least time"))
            .help(format!("write `{}: {name}`, or a time, such as `{{ {name}: 1h }}`", entry.key));
    }
    Some(TimedAction { action, least: least?.0 })
}

/// Reads `404`, `520-530`, `5xx`, `NOT_FOUND` and `default`.
fn read(key: &str) -> Option<NamedStatus> {
    let status = |text: &str| -> Option<u16> {
        let is_status = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_status.then(|| text.parse().ok()).flatten()
    };
    if let Some(status) = status(key) {
        return Some(NamedStatus::Http(status..=status));
    }
    if let Some((first, last)) = key.split_once('-') {
        return Some(NamedStatus::Http(status(first)?..=status(last)?));
    }
    if let [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] = key.as_bytes() {
        let first = u16::from(class - b'0') * 100;
        return Some(NamedStatus::Http(first..=first + 99));
    }
    if key == OTHERS {
        return Some(NamedStatus::Others);
    }
    Code::named(key).map(NamedStatus::Grpc)
}

fn add(
    compiled: &mut Statuses,
    protocol: ExporterProtocol,
    key: NamedStatus,
    timed: TimedAction,
    entry: &NodeEntry,
    context: &mut Context<'_>,
) {
    let (span, shown, action) = (entry.key_span, named(&entry.key), timed.action);
    let report = &mut *context.report;
    let range = match key {
        NamedStatus::Grpc(_) if protocol == ExporterProtocol::Http => {
            report
                .error(
                    span,
                    format!("{shown} is a status of gRPC, and the answers of this exporter have none"),
                )
                .help(allowed(protocol));
            return;
        }
        NamedStatus::Grpc(Code::Ok) => return success(protocol, entry, context),
        NamedStatus::Grpc(code) => return compiled.set_grpc(code, timed),
        NamedStatus::Others => {
            if action == StatusAction::Delivered {
                warn_of_loss(entry, context);
            }
            return compiled.set_otherwise(timed);
        }
        NamedStatus::Http(range) => range,
    };
    let (first, last) = (*range.start(), *range.end());
    if first > last {
        report
            .error(span, format!("the range {shown} begins above its end"))
            .help(format!("write `{last}-{first}`"));
    } else if (200..300).contains(&first) && action == StatusAction::Delivered && last < 300 {
        match protocol {
            ExporterProtocol::Http => {
                report.warn(span, format!("{shown} is delivered in any case")).help("leave it out");
            }
            ExporterProtocol::Grpc => success(protocol, entry, context),
        }
    } else if first < 300 && last >= 200 {
        success(protocol, entry, context);
    } else if first < 300 || last > 599 {
        report
            .error(span, format!("{shown} is not a status that a request fails with"))
            .help("write statuses from 300 to 599");
    } else if let Err(other) = compiled.set(range, timed) {
        let other = match (other.start(), other.end()) {
            (only, end) if only == end => only.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        report
            .error(span, format!("{shown} overlaps `{other}`, which is as wide, so that neither counts first"))
            .help("name each status once; a single status counts before a range, and a narrow range before a wide one");
    } else if action == StatusAction::Delivered && first < last {
        warn_of_loss(entry, context);
    }
}

/// Warns of ranges that are to count as delivered: most of their statuses don't mean that the upstream has the data.
fn warn_of_loss(entry: &NodeEntry, context: &mut Context<'_>) {
    let shown = named(&entry.key);
    context
        .report
        .warn(entry.key_span, format!("what is answered by any of {shown} is lost and counts as delivered"))
        .help("name the statuses alone that mean that the upstream has the data, such as `409`");
}

/// Reports a success that is to mean something else.
fn success(protocol: ExporterProtocol, entry: &NodeEntry, context: &mut Context<'_>) {
    let shown = named(&entry.key);
    let why = match protocol {
        ExporterProtocol::Http => "the upstream has taken the batch with it, and would get it twice",
        ExporterProtocol::Grpc => {
            "with `OK` the upstream has taken the batch, and a success of HTTP alone is no answer to a call"
        }
    };
    context
        .report
        .error(entry.key_span, format!("a success such as {shown} can't be changed: {why}"))
        .help(allowed(protocol));
}

fn unknown(protocol: ExporterProtocol, entry: &NodeEntry, context: &mut Context<'_>) {
    let codes = Code::names().filter(|_| protocol == ExporterProtocol::Grpc);
    let near = nearest(&entry.key, codes.chain([OTHERS]));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => allowed(protocol).to_owned(),
    };
    context.report.error(entry.key_span, format!("{} is not a status", named(&entry.key))).help(help);
}

/// The help about the keys that are allowed.
fn allowed(protocol: ExporterProtocol) -> &'static str {
    match protocol {
        ExporterProtocol::Http => {
            "write a failure of HTTP such as `404`, a range such as `520-530`, a class such as `5xx`, or `default` for all others"
        }
        ExporterProtocol::Grpc => {
            "write a failure of gRPC such as `NOT_FOUND`, or, for answers without one, of HTTP: a status such as `404`, a \
             range such as `520-530` or a class such as `5xx`; or `default` for all others"
        }
    }
}
