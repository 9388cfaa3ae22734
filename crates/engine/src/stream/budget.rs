//! The memory that everything in flight shares.

use std::sync::Arc;

// Not by name, since a test has this file compiled with other atomics.
use super::sync::{AtomicU64, Ordering};
use super::wait_queue::{Patience, RoomWaiter, WaitLimits, WaitPermit, WaitQueue};

/// `limits.memory`: bytes being read, bytes being decompressed and bytes in queues.
///
/// What is reserved is refused beyond the limit; what is charged afterwards (the spare room of a chunk) may
/// overshoot it by that much, and is paid by the next reservation.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    /// Requests that wait for memory.
    waiting: WaitQueue,
    /// What bounds all that wait, for memory or for a stream.
    wait_limits: WaitLimits,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            waiting: WaitQueue::default(),
            wait_limits: WaitLimits::default(),
        }
    }

    /// Bytes that may be reserved in all.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; what is already reserved stays reserved.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::SeqCst);
        self.waiting.room_freed();
    }

    /// Bytes reserved and charged.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Reserves `bytes`, or nothing.
    pub fn reserve(&self, bytes: u64) -> bool {
        self.reserve_beside(bytes, 0)
    }

    /// As [`Budget::reserve`], for someone whose charge of `spare` bytes is not held against him.
    fn reserve_beside(&self, bytes: u64, spare: u64) -> bool {
        let limit = self.limit().saturating_add(spare);
        // Not added first and taken back, which would refuse others in between.
        let grown = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }

    /// Whether `bytes` could be reserved now.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.limit()
    }

    /// Whether less than half of it is used: memory may be kept that could do without.
    pub fn is_ample(&self) -> bool {
        self.used() < self.limit() / 2
    }

    /// Takes `bytes` whether there is room or not.
    pub fn charge(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: u64) {
        let used = self.used.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(used >= bytes, "no more is given back than was taken");
        self.waiting.room_freed();
    }

    /// Waits until `look` finds room.
    async fn wait(
        &self,
        held: u64,
        unread: u64,
        patience: &mut Patience,
        mut look: impl FnMut() -> bool,
    ) -> bool {
        let Some(_permit) = self.wait_permit(held, unread) else { return false };
        let waiter = RoomWaiter::join(&self.waiting, usize::MAX).expect("there may be any number");
        waiter.until(patience.end(), || look().then_some(())).await.is_some()
    }

    /// Requests that wait for memory.
    pub(super) fn waiting(&self) -> &WaitQueue {
        &self.waiting
    }

    /// The leave to wait for one who has reserved `bytes`; see [`Reservation::grow_soon`] for `unread`.
    pub(super) fn wait_permit(&self, bytes: u64, unread: u64) -> Option<WaitPermit<'_>> {
        self.wait_limits.permit(bytes, unread, self.limit())
    }
}

/// Bytes reserved for as long as this lives; grows with what is being read.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
    spare: u64,
}

impl Reservation {
    /// Nothing reserved yet.
    pub fn empty(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0, spare: 0 }
    }

    /// Reserves `bytes` more, out of the spare room that is charged as far as it goes; or leaves everything as it was.
    ///
    /// Spare room is charged without asking, so that what is put into it has to fit under the limit by itself.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let filled = bytes.min(self.spare);
        let room = self.budget.reserve_beside(bytes - filled, self.spare - filled);
        if room {
            self.spare -= filled;
            self.bytes += bytes;
        }
        room
    }

    /// As [`Reservation::grow`]; but if there is no room, this waits for as long as there is `patience`, and if not too
    /// many wait already. What is reserved stays reserved meanwhile, and of what is being read `unread` bytes more may
    /// arrive and have to be put somewhere.
    pub async fn grow_soon(&mut self, bytes: u64, unread: u64, patience: &mut Patience) -> bool {
        let (budget, held) = (self.budget.clone(), self.bytes + self.spare);
        self.grow(bytes) || budget.wait(held, unread, patience, || self.grow(bytes)).await
    }

    /// Waits until there is room for so many bytes more, which are not reserved, for as long as there is `patience`.
    pub async fn room_soon(&self, bytes: u64, patience: &mut Patience) -> bool {
        let (budget, held) = (&self.budget, self.bytes + self.spare);
        budget.has_room(bytes) || budget.wait(held, 0, patience, || budget.has_room(bytes)).await
    }

    /// Charges the room that a buffer has beyond the bytes reserved for it, instead of what was charged before.
    pub fn charge_spare(&mut self, spare: u64) {
        let before = std::mem::replace(&mut self.spare, spare);
        if spare > before {
            self.budget.charge(spare - before);
        } else if spare < before {
            self.budget.release(before - spare);
        }
    }

    /// What it is reserved on.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Leaves so many bytes reserved: somebody else gives them back.
    pub fn leave(&mut self, bytes: u64) {
        self.bytes = self.bytes.checked_sub(bytes).expect("no more is left than is reserved");
    }

    /// A reservation of its own for so many of the bytes reserved.
    #[must_use]
    pub fn split_off(&mut self, bytes: u64) -> Self {
        self.leave(bytes);
        Self { budget: self.budget.clone(), bytes, spare: 0 }
    }

    /// All of it, spare room included, and nothing stays here.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let nothing = Self::empty(self.budget.clone());
        std::mem::replace(self, nothing)
    }

    /// Bytes reserved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes + self.spare > 0 {
            self.budget.release(self.bytes + self.spare);
        }
    }
}
