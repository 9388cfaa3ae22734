//! Finds the streams and tenants that have histories, and reads their counts.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::single::Subjects;
use crate::admin::sample::DeliveryTotals;
use crate::export::Exporter;
use crate::stream::{Stream, StreamAddress};
use crate::tenants::Tenants;

/// The live streams of all exporters.
pub(super) struct LiveStreams<'e>(HashMap<&'e str, &'e Exporter>);

/// Tenants that have sent, or have had streams.
pub(super) struct KnownTenants<'t>(pub(super) &'t Tenants);

impl<'e> LiveStreams<'e> {
    pub(super) fn of(exporters: &'e [Arc<Exporter>]) -> Self {
        Self(exporters.iter().map(|exporter| (&**exporter.name(), &**exporter)).collect())
    }

    fn find(&self, StreamAddress { exporter, name }: &StreamAddress) -> Option<Arc<Stream>> {
        self.0.get(&**exporter)?.registry().find(name)
    }
}

impl Subjects for LiveStreams<'_> {
    type Id = StreamAddress;

    fn totals(&self, id: &StreamAddress) -> Option<DeliveryTotals> {
        self.find(id).map(|stream| DeliveryTotals::of_stream(&stream))
    }

    fn counts_from_zero(&self, id: &StreamAddress) -> bool {
        self.find(id).is_some_and(|stream| !stream.continues_another())
    }

    fn others(&self, most: usize, known: impl Fn(&StreamAddress) -> bool) -> Vec<StreamAddress> {
        let mut others = Vec::new();
        for exporter in self.0.values() {
            if others.len() == most {
                break;
            }
            exporter.registry().scan_until(|stream| {
                let id = StreamAddress { exporter: exporter.name().clone(), name: stream.name.clone() };
                if !known(&id) {
                    others.push(id);
                }
                if others.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        others
    }
}

impl Subjects for KnownTenants<'_> {
    type Id = Arc<str>;

    fn totals(&self, id: &Arc<str>) -> Option<DeliveryTotals> {
        self.0.known_account(id).map(|account| DeliveryTotals::of_tenant(account.totals()))
    }

    fn counts_from_zero(&self, _: &Arc<str>) -> bool {
        true
    }

    fn others(&self, most: usize, known: impl Fn(&Arc<str>) -> bool) -> Vec<Arc<str>> {
        let mut others = Vec::new();
        self.0.for_each_account_until(|account| {
            if others.len() == most {
                return ControlFlow::Break(());
            }
            if !known(account.id()) {
                others.push(account.id().clone());
            }
            ControlFlow::Continue(())
        });
        others
    }
}
