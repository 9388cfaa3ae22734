//! How a batch waits: for whatever it waits, it looks again at once when its exporter, its tenant or its senders have something to say.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::futures::Notified;

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

    /// Whether it has changed, or what the stream holds is to be ended without another attempt.
    pub(super) fn has_changed_or_is_given_up(&self) -> bool {
        self.exporter.gives_up(self.stream) || self.has_changed()
    }

    /// Ready once there is something that a batch which waits has to look at; to be made before it looks, so that nothing is missed.
    pub(super) fn events(&self) -> WaiterEvents<'_> {
        WaiterEvents {
            changed: self.exporter.changed().notified(),
            withdrawal: self.stream.withdrawal().notified(),
            row_changed: self.stream.account().map(|account| account.row_changed().notified()),
        }
    }

    /// Waits for `goal`; or until `look` finds anything, which is asked at first, and at each of the [events](Self::events).
    pub(super) async fn until<T, F>(
        &self,
        mut goal: Pin<&mut impl Future<Output = T>>,
        mut look: impl FnMut() -> Option<F>,
    ) -> Result<T, F> {
        loop {
            let mut events = pin!(self.events());
            if let Some(found) = look() {
                return Err(found);
            }
            tokio::select! {
                biased;
                reached = goal.as_mut() => return Ok(reached),
                () = events.as_mut() => {}
            }
        }
    }
}

pin_project! {
    /// Ready at the first event: the exporter has changed, or the row; something of the stream was withdrawn; it is to be attempted at once,
    /// or given up. One future of its own, because there may be a million: each part of it has its room once.
    #[derive(Debug)]
    pub(super) struct WaiterEvents<'w> {
        #[pin]
        changed: Notified<'w>,
        #[pin]
        withdrawal: Notified<'w>,
        #[pin]
        row_changed: Option<Notified<'w>>,
    }
}

impl Future for WaiterEvents<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let events = self.project();
        let row_changed = events.row_changed.as_pin_mut();
        let is_ready = events.changed.poll(context).is_ready()
            || events.withdrawal.poll(context).is_ready()
            || row_changed.is_some_and(|row_changed| row_changed.poll(context).is_ready());
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }
}
