//! Requests that wait a moment for room, see [`Patience`].

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;

use super::admit::{Committed, Progress};
use super::aside::aside;
use super::body::Received;
use super::copy::{COPYING, CopyLeave};
use super::intake::{Admitted, Intake, Snapshot, Verdict};
use super::parts::TenantParts;
use super::{Caller, Transport};
use crate::stream::{Admission, Full, Patience, Refused};
use otlp::{self, Omitted, Signal};

/// A request that there is no memory to look at.
pub(super) struct Unread {
    pub(super) transport: Transport,
    pub(super) signal: Signal,
    pub(super) caller: Caller,
    pub(super) received: Received,
    pub(super) omitted: Option<Omitted>,
    pub(super) lacking: Lacking,
}

/// What a request is short of before it is looked at.
pub(super) enum Lacking {
    /// Bytes of memory.
    Memory(u64),
    /// Leave to copy a large body without having room for that: another request has it.
    Copy,
}

/// A request that there is no room for in a stream, or no memory. Dropped, it counts as refused.
pub(super) struct Unadmitted<'i> {
    intake: &'i Intake,
    snapshot: Arc<Snapshot>,
    admission: Admission<'static>,
    body: Bytes,
    admitted: Option<Admitted>,
    refused: Refused,
}

impl Unread {
    /// Waits for what it is short of, and tries again.
    pub(super) async fn go_on<'i>(
        self: Box<Self>,
        intake: &'i Intake,
        patience: &mut Patience,
    ) -> Progress<'i> {
        let room = match self.lacking {
            Lacking::Memory(bytes) => self.received.reservation.room_soon(bytes, patience).await,
            Lacking::Copy => {
                sleep(COPYING).await;
                !patience.is_over()
            }
        };
        let Self { transport, signal, caller, received, omitted, .. } = *self;
        if !room {
            let counters = intake.counters.of(transport);
            let records = otlp::count_request(signal, &received.bytes);
            let parts = TenantParts::unread(&intake.tenants, &caller, records);
            return Intake::refused(counters, signal, &caller, &parts, &Refused::Full(Full::Memory)).into();
        }
        intake.admit(transport, signal, caller, received, omitted).await
    }
}

impl<'i> Unadmitted<'i> {
    pub(super) fn new(
        intake: &'i Intake,
        snapshot: Arc<Snapshot>,
        admission: Admission<'static>,
        body: Bytes,
        mut admitted: Admitted,
        refused: Refused,
    ) -> Self {
        // It may be as large as the request.
        intake.keep(&mut admitted.rest, Vec::new(), admission.budget());
        Self { intake, snapshot, admission, body, admitted: Some(admitted), refused }
    }

    /// Waits for room as long as there is patience.
    pub(super) async fn go_on(mut self: Box<Self>, patience: &mut Patience) -> Progress<'i> {
        while self.admission.room(patience).await {
            let takes_long =
                self.admitted.as_ref().is_some_and(|it| self.intake.takes_long(it.signal, &self.body));
            let committed = loop {
                match aside(takes_long, || self.attempt()).await {
                    None if patience.is_over() => break None,
                    None => sleep(COPYING).await,
                    committed => break committed,
                }
            };
            match committed {
                None => break,
                Some(Ok(committed)) => {
                    let admitted = self.admitted.take().expect("it is there until now");
                    let (intake, snapshot, budget) =
                        (self.intake, self.snapshot.clone(), self.admission.budget().clone());
                    drop(self);
                    return intake.after_commit(&snapshot, committed, admitted, &budget);
                }
                Some(Err(refused)) => self.refused = refused,
            }
        }
        self.refuse().expect("it has not been counted").into()
    }

    /// Tries once more; `None` while another large body is being copied.
    fn attempt(&mut self) -> Option<Result<Committed, Refused>> {
        let _alone = CopyLeave::take(self.body.len(), self.admission.reservation())?;
        let committed = self.intake.commit(&self.snapshot, &mut self.admission, &self.body);
        CopyLeave::end(self.body.len(), self.admission.reservation());
        Some(committed)
    }

    /// Counts it as refused, unless its end is known.
    fn refuse(&mut self) -> Option<Verdict> {
        let Admitted { signal, transport, caller, parts, .. } = self.admitted.take()?;
        let counters = self.intake.counters.of(transport);
        Some(Intake::refused(counters, signal, &caller, &parts, &self.refused))
    }
}

impl Drop for Unadmitted<'_> {
    fn drop(&mut self) {
        self.refuse();
    }
}
