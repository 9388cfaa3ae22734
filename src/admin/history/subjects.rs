//! Where the streams and tenants are found of which there are histories.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::single::{Newcomer, Subjects};
use crate::admin::sample::DeliveryTotals;
use crate::export::Exporter;
use crate::stream::{Stream, StreamName};
use crate::tenants::Tenants;

/// The live streams of all exporters.
pub(super) struct LiveStreams<'e>(HashMap<&'e str, &'e Exporter>);

/// An exporter's name, and that of a stream there.
pub(super) type StreamId = (Arc<str>, StreamName);

/// Tenants that have sent, or have had streams.
pub(super) struct KnownTenants<'t>(pub(super) &'t Tenants);

impl<'e> LiveStreams<'e> {
    pub(super) fn of(exporters: &'e [Arc<Exporter>]) -> Self {
        Self(exporters.iter().map(|exporter| (&**exporter.name(), &**exporter)).collect())
    }

    fn find(&self, (exporter, name): &StreamId) -> Option<Arc<Stream>> {
        self.0.get(&**exporter)?.registry().find(name)
    }
}

impl Subjects for LiveStreams<'_> {
    type Id = StreamId;

    fn totals(&self, id: &StreamId) -> Option<DeliveryTotals> {
        self.find(id).map(|stream| DeliveryTotals::of_stream(&stream))
    }

    fn others(&self, most: usize, known: impl Fn(&StreamId) -> bool) -> Vec<Newcomer<StreamId>> {
        let mut others = Vec::new();
        for exporter in self.0.values() {
            if others.len() == most {
                break;
            }
            exporter.registry().scan_until(|stream| {
                let id = (exporter.name().clone(), stream.name.clone());
                if !known(&id) {
                    others.push(id);
                }
                if others.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        let newcomer = |id| {
            let stream = self.find(&id)?;
            let (totals, from_zero) = (DeliveryTotals::of_stream(&stream), !stream.continues_another());
            Some(Newcomer { id, totals, from_zero })
        };
        others.into_iter().filter_map(newcomer).collect()
    }
}

impl Subjects for KnownTenants<'_> {
    type Id = Arc<str>;

    fn totals(&self, id: &Arc<str>) -> Option<DeliveryTotals> {
        self.0.known_account(id).map(|account| DeliveryTotals::of_tenant(account.totals()))
    }

    fn others(&self, most: usize, known: impl Fn(&Arc<str>) -> bool) -> Vec<Newcomer<Arc<str>>> {
        let mut others = Vec::new();
        self.0.for_each_account_until(|account| {
            if others.len() == most {
                return ControlFlow::Break(());
            }
            if !known(account.id()) {
                let totals = DeliveryTotals::of_tenant(account.totals());
                others.push(Newcomer { id: account.id().clone(), totals, from_zero: true });
            }
            ControlFlow::Continue(())
        });
        others
    }
}
