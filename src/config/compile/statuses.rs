//! `statuses` of an exporter: what becomes of a batch by the status that answers it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::Context;
use crate::config::model::{self, RetryOnFailure};
use crate::config::node::{Entry, Node};
use crate::config::problem::nearest;
use crate::config::secrets::named;
use crate::export::{StatusAction, Statuses};
use crate::rpc::Code;

/// What an exporter speaks, and so whose statuses it can name.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ExporterProtocol {
    Http,
    Grpc,
}

/// What a key names.
enum NamedStatus {
    /// One status of HTTP, a range or a class.
    Http(RangeInclusive<u16>),
    /// A status of gRPC.
    Grpc(Code),
}

/// Compiles the `statuses` of the exporter at `node`.
pub(super) fn compile(
    protocol: ExporterProtocol,
    statuses: &BTreeMap<String, model::StatusAction>,
    retry: &RetryOnFailure,
    node: &Node,
    context: &mut Context<'_>,
) -> Statuses {
    let mut compiled = Statuses::retrying(retry.statuses.clone());
    for entry in node.get("statuses").map_or(&[][..], Node::entries) {
        let Some(action) = statuses.get(&entry.key) else { continue };
        let action = match action {
            model::StatusAction::Delivered => StatusAction::Delivered,
            model::StatusAction::Retry => StatusAction::Retry,
            model::StatusAction::Divide => StatusAction::Divide,
            model::StatusAction::Hold => StatusAction::Hold,
            model::StatusAction::DeadLetter => StatusAction::DeadLetter,
        };
        match read(&entry.key) {
            Some(key) => add(&mut compiled, protocol, key, action, entry, context),
            None => unknown(protocol, entry, context),
        }
    }
    compiled
}

/// Reads `404`, `520-530`, `5xx` and `NOT_FOUND`.
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
    Code::named(key).map(NamedStatus::Grpc)
}

fn add(
    compiled: &mut Statuses,
    protocol: ExporterProtocol,
    key: NamedStatus,
    action: StatusAction,
    entry: &Entry,
    context: &mut Context<'_>,
) {
    let (span, shown) = (entry.key_span, named(&entry.key));
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
        NamedStatus::Grpc(code) => return compiled.set_grpc(code, action),
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
    } else if let Err(other) = compiled.set(range, action) {
        let other = match (other.start(), other.end()) {
            (only, end) if only == end => only.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        report
            .error(span, format!("{shown} overlaps `{other}`, which is as wide, so that neither counts first"))
            .help("name each status once; a single status counts before a range, and a narrow range before a wide one");
    } else if action == StatusAction::Delivered && first < last {
        report
            .warn(span, format!("what is answered by any of {shown} is lost and counts as delivered"))
            .help("name the statuses alone that mean that the upstream has the data, such as `409`");
    }
}

/// A success that is to mean something else.
fn success(protocol: ExporterProtocol, entry: &Entry, context: &mut Context<'_>) {
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

fn unknown(protocol: ExporterProtocol, entry: &Entry, context: &mut Context<'_>) {
    let near = (protocol == ExporterProtocol::Grpc).then(|| nearest(&entry.key, Code::names())).flatten();
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => allowed(protocol).to_owned(),
    };
    context.report.error(entry.key_span, format!("{} is not a status", named(&entry.key))).help(help);
}

/// What may stand there.
fn allowed(protocol: ExporterProtocol) -> &'static str {
    match protocol {
        ExporterProtocol::Http => {
            "write a failure of HTTP such as `404`, a range such as `520-530` or a class such as `5xx`"
        }
        ExporterProtocol::Grpc => {
            "write a failure of gRPC such as `NOT_FOUND`, or, for answers without one, of HTTP: a status such as `404`, a \
             range such as `520-530` or a class such as `5xx`"
        }
    }
}
