//! The row of a stream's tenant, as it is at an attempt: what templates read of it, and which of several credentials is in
//! use.

use std::sync::{Arc, Weak};

use dashmap::DashMap;
use thiserror::Error;

use super::ExporterSettings;
use crate::otlp::Signal;
use crate::route::{RoutingKey, TENANT_ID, TemplateValue, Values};
use crate::stream::Stream;
use crate::tenants::{Table, TableRow, Tenant, Tenants};

/// A stream, or a dead letter of one, with the row of its tenant: what templates are filled with for an attempt.
#[derive(Debug)]
pub struct WithRow<'v, V> {
    values: &'v V,
    pub(super) row: Option<Arc<Tenant>>,
    /// Of a value with several texts, which is read.
    pub(super) choice: usize,
}

impl<'v, V: Values> WithRow<'v, V> {
    /// With the row in this table, if there is one, and the first text of each of its values.
    pub fn of(table: &Table, values: &'v V) -> Self {
        let row = values.key().and_then(|key| row_of(table, key));
        Self { values, row, choice: 0 }
    }
}

impl<V: Values> Values for WithRow<'_, V> {
    fn key(&self) -> Option<&RoutingKey> {
        self.values.key()
    }

    fn signal(&self) -> Signal {
        self.values.signal()
    }

    fn tenant(&self, name: &str) -> Option<&str> {
        if name == TENANT_ID {
            return self.key()?.tenant();
        }
        self.row.as_ref()?.values.text(name, self.choice)
    }
}

/// The row of the tenant that a key belongs to, if it belongs to one and the table has a row for it.
fn row_of(table: &Table, key: &RoutingKey) -> Option<Arc<Tenant>> {
    match table.tenant(key.tenant()?)? {
        TableRow::Ready(tenant) => Some(tenant.clone()),
        TableRow::Broken => None,
    }
}

/// Ready once the row of a stream's tenant is another one than `row`; never for a stream without a tenant.
pub(super) async fn row_changed(tenants: &Tenants, stream: &Stream, row: Option<&Arc<Tenant>>) {
    let Some(account) = stream.account() else { return std::future::pending().await };
    loop {
        // Made before looking, so that no change is missed.
        let changed = account.row_changed().notified();
        let same = match (row_of(&tenants.table(), &stream.name().key), row) {
            (Some(now), Some(row)) => Arc::ptr_eq(&now, row),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return;
        }
        changed.await;
    }
}

/// Why a tenant's stream waits, whatever its exporter reads of the row: it may be that the row would hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum LackingRow {
    #[error("the table has no row of this tenant any more")]
    Gone,
    #[error("the row of this tenant can't be used, and nothing is known of it from before")]
    Broken,
}

/// Why the stream of a tenant has no row in this table; `None` for a stream without a tenant, and where there is no table any more.
pub(super) fn lacking_row(table: &Table, stream: &Stream, row: Option<&Arc<Tenant>>) -> Option<LackingRow> {
    let tenant = stream.name().key.tenant().filter(|_| row.is_none() && table.is_configured())?;
    Some(match table.tenant(tenant) {
        Some(TableRow::Broken) => LackingRow::Broken,
        Some(TableRow::Ready(_)) | None => LackingRow::Gone,
    })
}

/// Which text of values with several an exporter reads, for each row where it is not the first. A changed row begins with the first
/// again.
#[derive(Debug, Default)]
pub(super) struct CredentialChoices(DashMap<Arc<str>, (Weak<Tenant>, usize)>);

impl CredentialChoices {
    /// The position of the text in use.
    pub(super) fn of(&self, row: Option<&Arc<Tenant>>) -> usize {
        let Some(row) = row else { return 0 };
        self.0.get(&row.id).filter(|choice| is(&choice.0, row)).map_or(0, |choice| choice.1)
    }

    /// Has the next of `several` texts be in use, unless another attempt has seen to that.
    pub(super) fn leave(&self, row: &Arc<Tenant>, refused: usize, several: usize) {
        debug_assert!(refused < several, "it is one of them");
        if several < 2 {
            return;
        }
        let mut choice = self.0.entry(row.id.clone()).or_default();
        if !is(&choice.0, row) {
            *choice = (Arc::downgrade(row), 0);
        }
        if choice.1 == refused {
            choice.1 = (refused + 1) % several;
        }
    }
}

/// Whether a choice was made for this row, which is not kept for that.
fn is(known: &Weak<Tenant>, row: &Arc<Tenant>) -> bool {
    std::ptr::eq(known.as_ptr(), Arc::as_ptr(row))
}

/// How many texts there are to be tried in turn: of the values that the exporter reads, the most that one has.
pub fn alternatives(settings: &ExporterSettings, row: &Tenant) -> usize {
    let texts = settings.reads().filter_map(|read| match read {
        TemplateValue::Tenant(name) => row.values.get(name),
        _ => None,
    });
    texts.map(<[_]>::len).max().unwrap_or(1)
}
