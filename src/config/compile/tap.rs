//! `tap`: which attributes of records are shown, and how many records are kept.

use std::sync::LazyLock;

use super::Context;
use crate::config::model::{ByteSize, TapSection};
use crate::config::node::Node;
use crate::config::re2;
use crate::otlp::Redaction;
use crate::tap::TapSettings;

/// Compiles the section at `node`; `memory` is `limits.memory` in bytes.
pub(super) fn compile(
    section: &TapSection,
    memory: u64,
    node: &Node,
    context: &mut Context<'_>,
) -> TapSettings {
    // Compiled once: that takes longer than all else in a small configuration.
    static USUAL: LazyLock<Redaction> =
        LazyLock::new(|| Redaction::new(&TapSection::USUAL).expect("these are regular expressions"));
    let redaction = section.redact.as_ref().map_or_else(|| Ok(USUAL.clone()), |list| Redaction::new(list));
    let redaction = redaction.unwrap_or_else(|(position, error)| {
        let list = node.near(&["redact"]);
        let item = list.item(position).unwrap_or(list);
        context.report.error(item.span, "this is not a regular expression").help(re2::reason(&error));
        Redaction::default()
    });
    if section.recent.0 > memory / 2 {
        context
            .report
            .error(node.near(&["recent"]).span, "`recent` is more than half of `limits.memory`")
            .help(format!("write at most {}", ByteSize(memory / 2)));
    }
    TapSettings { redaction, recent: section.recent.0 }
}
