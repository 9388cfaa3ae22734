//! `tenants`: the table as a whole, and rows that stand in the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use super::tenant_rows::{self, RowExporters};
use crate::config::model::{TenantAttribute, TenantsSection, UnlistedTenant};
use crate::config::node::{Node, NodeEntry};
use crate::tenants::{TableSettings, Tenant, UnknownTenant};

/// The table of tenants as the configuration has it: a file with rows has not been read yet.
#[derive(Clone)]
pub(in crate::config) struct WrittenTable {
    pub(in crate::config) settings: TableSettings,
    pub(in crate::config) rows: WrittenRows,
}

/// The place of the table's rows.
#[derive(Clone)]
pub(in crate::config) enum WrittenRows {
    Directory(PathBuf),
    File(PathBuf),
    Listed(Vec<Arc<Tenant>>),
}

/// The keys of which one names the place of the rows.
const PLACES: [&str; 3] = ["directory", "file", "list"];

/// Compiles the section at `node`. The rows of a `file` are read later.
pub(super) fn compile(
    section: &TenantsSection,
    node: &Node,
    exporters: &RowExporters<'_>,
    context: &mut Context<'_>,
) -> Option<WrittenTable> {
    let settings = TableSettings {
        attributes: attributes(&section.attribute, node.near(&["attribute"]), context),
        stamp: section.stamp.clone(),
        unknown: match section.unknown {
            UnlistedTenant::Reject => UnknownTenant::Reject,
            UnlistedTenant::DeadLetter => UnknownTenant::DeadLetter,
            UnlistedTenant::Default => UnknownTenant::Default,
        },
    };
    let written: Vec<&NodeEntry> =
        PLACES.iter().filter_map(|key| node.entry(key)).filter(|entry| !entry.value.is_null()).collect();
    if let [_, second, ..] = written.as_slice() {
        context
            .report
            .error(second.key_span, "the rows of the table stand in one place")
            .help("keep one of `directory`, `file` and `list`");
    }
    let rows = match (&section.directory, &section.file, &section.list) {
        (Some(directory), ..) => WrittenRows::Directory(directory.clone()),
        (None, Some(file), _) => WrittenRows::File(file.clone()),
        (None, None, Some(list)) => {
            WrittenRows::Listed(tenant_rows::compile_list(list, node.near(&["list"]), exporters, context))
        }
        (None, None, None) => {
            if !PLACES.iter().any(|key| context.report.has_error_within(node.near(&[key]).span)) {
                context
                    .report
                    .error(node.span, "`tenants` does not say where the rows of the table are")
                    .help("write `directory: ./tenants.d`, `file: tenants.yaml` or `list: […]`");
            }
            return None;
        }
    };
    Some(WrittenTable { settings, rows })
}

fn attributes(attribute: &TenantAttribute, node: &Node, context: &mut Context<'_>) -> Vec<String> {
    let names = match attribute {
        TenantAttribute::One(name) => std::slice::from_ref(name),
        TenantAttribute::FirstOf(names) => names.as_slice(),
    };
    let is_wrong = names.is_empty() || names.iter().any(String::is_empty);
    if is_wrong && !context.report.has_error_within(node.span) {
        context
            .report
            .error(node.span, "`attribute` must name a resource attribute")
            .help("write `attribute: tenant.id`, or leave it out");
    }
    names.to_vec()
}
