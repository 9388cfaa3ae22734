//! The row of a stream's tenant, as it is at an attempt: what templates read of it, and which of several credentials is in
//! use.

use std::sync::Arc;

use dashmap::DashMap;
use thiserror::Error;

use super::ExporterSettings;
use crate::route::{RoutingKey, TENANT_ID, TemplateValue, Values};
use crate::stream::Stream;
use crate::tenants::{Table, TableRow, Tenant, Tenants};
use otlp::Signal;

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

/// Whether the row of a stream's tenant says something else than `row`, or there is none and the tenant is given up; never for a
/// stream without a tenant.
pub(super) fn row_differs(tenants: &Tenants, stream: &Stream, row: Option<&Arc<Tenant>>) -> bool {
    stream.account().is_some() && {
        let table = tenants.table();
        is_given_up(&table, stream) || row_of(&table, &stream.name().key).as_ref() != row
    }
}

/// Whether a stream's tenant was removed for good: it is given up, and there is no row of it, not even a broken one.
pub(super) fn is_given_up(table: &Table, stream: &Stream) -> bool {
    let account = stream.account().filter(|account| account.is_given_up());
    account.is_some_and(|account| table.tenant(account.id()).is_none())
}

/// Why a tenant's stream waits, whatever its exporter reads of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum LackingRow {
    #[error(
        "the table has no row of this tenant, and the last one said `hold: true`, or is not known since a restart"
    )]
    Held,
    /// It may say that the tenant is held.
    #[error("the row of this tenant can't be used, and nothing is known of it from before")]
    Broken,
}

/// Why a stream waits whose tenant had no row when the attempt began; `None` if it is sent nevertheless, where its exporter can.
pub(super) fn lacking_row(table: &Table, stream: &Stream) -> Option<LackingRow> {
    let account = stream.account()?;
    match table.tenant(account.id()) {
        Some(TableRow::Broken) => Some(LackingRow::Broken),
        Some(TableRow::Ready(_)) | None => account.is_held().then_some(LackingRow::Held),
    }
}

/// Which text of values with several an exporter reads, for each row where it is not the first. A row that says something else
/// begins with the first again.
#[derive(Debug, Default)]
pub(super) struct CredentialChoices(DashMap<Arc<str>, CredentialChoice>);

#[derive(Debug)]
struct CredentialChoice {
    /// The row that it was made for.
    row: Arc<Tenant>,
    position: usize,
}

impl CredentialChoices {
    /// The position of the text in use.
    pub(super) fn of(&self, row: Option<&Arc<Tenant>>) -> usize {
        let Some(row) = row else { return 0 };
        self.0.get(&row.id).filter(|choice| choice.row == *row).map_or(0, |choice| choice.position)
    }

    /// Has the next of `several` texts be in use, unless another attempt has seen to that.
    pub(super) fn leave(&self, row: &Arc<Tenant>, refused: usize, several: usize) {
        debug_assert!(refused < several, "it is one of them");
        if several < 2 {
            return;
        }
        let first = || CredentialChoice { row: row.clone(), position: 0 };
        let mut choice = self.0.entry(row.id.clone()).or_insert_with(first);
        if choice.row != *row {
            *choice = first();
        }
        if choice.position == refused {
            choice.position = (refused + 1) % several;
        }
    }

    /// Forgets choices for rows that are not in the table any more.
    pub(super) fn forget_former(&self, table: &Table) {
        self.0.retain(
            |id, choice| matches!(table.tenant(id), Some(TableRow::Ready(now)) if *now == choice.row),
        );
        self.0.shrink_to_fit();
    }
}

/// How many texts there are to be tried in turn: of the values that the exporter reads, the most that one has.
pub fn alternatives(settings: &ExporterSettings, row: &Tenant) -> usize {
    let texts = settings.reads().filter_map(|read| match read {
        TemplateValue::Tenant(name) => row.values.get(name),
        _ => None,
    });
    texts.map(<[_]>::len).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::{TableSettings, TenantLimits, TenantValues};

    fn row(place: &str, tokens: &[&str]) -> Arc<Tenant> {
        let tokens = tokens.iter().map(|token| (*token).into()).collect();
        Arc::new(Tenant {
            id: "acme".into(),
            place: place.into(),
            platform: None,
            senders: Box::default(),
            values: TenantValues::new(vec![("token".into(), tokens)]),
            exporters: None,
            limits: TenantLimits::default(),
            paused: false,
            hold: false,
        })
    }

    #[test]
    fn a_choice_stays_while_the_row_says_the_same_and_is_forgotten_with_it() {
        let choices = CredentialChoices::default();
        let before = row("tenants.yaml:1:3", &["old", "new"]);
        choices.leave(&before, 0, 2);
        assert_eq!(choices.of(Some(&before)), 1);
        drop(before);
        let moved = row("tenants.yaml:2:3", &["old", "new"]);
        assert_eq!(choices.of(Some(&moved)), 1);
        let table = |row: &Arc<Tenant>| {
            Table::of(TableSettings::default(), std::slice::from_ref(row), &Table::default())
        };
        choices.forget_former(&table(&moved));
        assert_eq!(choices.of(Some(&moved)), 1);
        let changed = row("tenants.yaml:2:3", &["old", "newer"]);
        assert_eq!(choices.of(Some(&changed)), 0);
        choices.forget_former(&table(&changed));
        assert!(choices.0.is_empty());
    }
}
