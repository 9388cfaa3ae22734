//! How a batch waits: for whatever it waits, it looks again at once when its exporter, its tenant or its senders have something to say.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use super::Exporter;
use super::tenant_row::row_differs;
use crate::stream::Stream;
use crate::tenants::Tenant;

/// Waits for a batch, by the settings and the row of the tenant that there are when this is made.
#[derive(Debug)]
pub(super) struct Waiter<'e> {
    exporter: &'e Exporter,
    stream: &'e Stream,
    row: Option<Arc<Tenant>>,
    /// How often the exporter had changed.
    changes: u64,
}

impl<'e> Waiter<'e> {
    /// To be made before anything is looked at, so that no change is missed. `row` is that of the stream's tenant.
    pub(super) fn new(
        exporter: &'e Exporter,
        stream: &'e Stream,
        row: impl FnOnce() -> Option<Arc<Tenant>>,
    ) -> Self {
        let changes = exporter.changes();
        Self { exporter, stream, row: row(), changes }
    }

    /// Whether the exporter has changed since, or the row: a batch is to be looked at anew before it is attempted.
    pub(super) fn has_changed(&self) -> bool {
        self.exporter.changes() != self.changes
            || row_differs(self.exporter.tenants(), self.stream, self.row.as_ref())
    }

    /// Waits for `goal`; or until `look` finds anything, which is asked at first, and whenever the exporter or the row has changed,
    /// something of the stream was withdrawn, or it is to be attempted at once or given up.
    pub(super) async fn until<T, F>(
        &self,
        mut goal: Pin<&mut impl Future<Output = T>>,
        mut look: impl FnMut() -> Option<F>,
    ) -> Result<T, F> {
        loop {
            // Made before looking, so that nothing is missed.
            let (changed, withdrawal) =
                (self.exporter.changed().notified(), self.stream.withdrawal().notified());
            let row_changed = self.stream.account().map(|account| account.row_changed().notified());
            if let Some(found) = look() {
                return Err(found);
            }
            let row_changed = async {
                match row_changed {
                    Some(row_changed) => row_changed.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                reached = goal.as_mut() => return Ok(reached),
                () = changed => {}
                () = withdrawal => {}
                () = row_changed => {}
            }
        }
    }
}
