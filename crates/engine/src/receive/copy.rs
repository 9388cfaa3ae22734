//! Permission to have a body in memory twice for a moment.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::stream::Reservation;

/// While a body is copied, it is in memory twice. Copies up to this size are not counted.
const ORDINARY: usize = 1024 * 1024;

/// A large body is copied within milliseconds: a request without a permit asks again after this time.
pub(super) const COPYING: Duration = Duration::from_millis(1);

/// Held while a larger body is copied that there is no room to count twice: one such at a time is what Sluice has room
/// for beside `limits.memory`.
static UNCOUNTED: Mutex<()> = Mutex::new(());

/// Permission to copy a body, until this is dropped.
pub(super) struct CopyPermit {
    _alone: Option<MutexGuard<'static, ()>>,
}

impl CopyPermit {
    /// Makes sure that there is memory for a second copy of a body: counted where there is room, or alone.
    pub(super) fn take(len: usize, reservation: &mut Reservation) -> Option<Self> {
        if len <= ORDINARY {
            return Some(Self { _alone: None });
        }
        if reservation.budget().has_room(len as u64) {
            reservation.charge_spare(len as u64);
            return Some(Self { _alone: None });
        }
        UNCOUNTED.try_lock().map(|alone| Self { _alone: Some(alone) })
    }

    /// Gives back what [`CopyPermit::take`] has counted.
    pub(super) fn end(len: usize, reservation: &mut Reservation) {
        if len > ORDINARY {
            reservation.charge_spare(0);
        }
    }
}
