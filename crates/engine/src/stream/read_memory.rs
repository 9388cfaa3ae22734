//! The memory that backlogs may take when they are read.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The memory that backlogs may take when they are read: streams get it in the order in which they ask.
#[derive(Clone, Debug)]
pub(super) struct ReadMemory {
    free: Arc<Semaphore>,
    size: Arc<Mutex<MemorySize>>,
    /// Tells those who wait that there is more or less of it.
    changed: Arc<Notify>,
}

/// How much memory that is: free and taken kibibytes together are `kibibytes` and `excess`.
#[derive(Debug)]
struct MemorySize {
    kibibytes: u32,
    /// What is taken beyond that, since it has become less.
    excess: usize,
}

/// The leave to read so much of a backlog into memory, until this is dropped: a part of a [`ReadMemory`], or the place that an exporter
/// has beside it.
#[derive(Debug)]
pub(super) struct ReadMemoryPermit {
    permit: Option<OwnedSemaphorePermit>,
    /// What it is a part of; `None` for the place of an exporter.
    room: Option<ReadMemory>,
}

impl ReadMemoryPermit {
    /// A place of its own for so many of its kibibytes.
    pub(super) fn split(&mut self, kibibytes: usize) -> Option<Self> {
        let permit = self.permit.as_mut()?.split(kibibytes)?;
        Some(Self { permit: Some(permit), room: self.room.clone() })
    }
}

impl Drop for ReadMemoryPermit {
    fn drop(&mut self) {
        if let (Some(mut permit), Some(room)) = (self.permit.take(), &self.room) {
            let mut size = room.size.lock();
            let gone = size.excess.min(permit.num_permits());
            if let Some(gone) = permit.split(gone) {
                gone.forget();
            }
            size.excess -= gone;
        }
    }
}

/// A semaphore counts no further.
fn kibibytes(bytes: u64) -> u32 {
    (bytes / 1024).clamp(1, u64::from(u32::MAX)) as u32
}

impl ReadMemory {
    pub(super) fn new(bytes: u64) -> Self {
        let kibibytes = kibibytes(bytes);
        Self {
            free: Arc::new(Semaphore::new(kibibytes as usize)),
            size: Arc::new(Mutex::new(MemorySize { kibibytes, excess: 0 })),
            changed: Arc::default(),
        }
    }

    /// Changes how much there is; what is taken stays taken.
    pub(super) fn set_bytes(&self, bytes: u64) {
        let mut size = self.size.lock();
        let (before, now) = (size.kibibytes as usize, kibibytes(bytes) as usize);
        if now >= before {
            let settled = size.excess.min(now - before);
            size.excess -= settled;
            self.free.add_permits(now - before - settled);
        } else {
            size.excess += before - now - self.free.forget_permits(before - now);
        }
        size.kibibytes = kibibytes(bytes);
        drop(size);
        self.changed.notify_waiters();
    }

    /// Takes back of what is free now what is too much; and says how much there is. Those who waited for more than there was
    /// had a part of it already, and have let go of that.
    fn take_back_excess(&self) -> u32 {
        let mut size = self.size.lock();
        size.excess -= self.free.forget_permits(size.excess);
        size.kibibytes
    }

    #[cfg(test)]
    pub(super) fn free_kibibytes(&self) -> usize {
        self.free.available_permits()
    }

    fn part(&self, permit: OwnedSemaphorePermit) -> ReadMemoryPermit {
        ReadMemoryPermit { permit: Some(permit), room: Some(self.clone()) }
    }

    /// Waits for room for `bytes`, or for the `own` place of those who ask.
    pub(super) async fn acquire(&self, bytes: usize, own: &Arc<Semaphore>) -> ReadMemoryPermit {
        const OPEN: &str = "the semaphores are never closed";
        loop {
            // Made before looking, so that no change is missed.
            let changed = self.changed.notified();
            let most = self.take_back_excess();
            let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, most);
            tokio::select! {
                biased;
                permit = self.free.clone().acquire_many_owned(wanted) => return self.part(permit.expect(OPEN)),
                permit = own.clone().acquire_owned() => {
                    return ReadMemoryPermit { permit: Some(permit.expect(OPEN)), room: None };
                }
                () = changed => {}
            }
        }
    }

    /// Room for what nobody waits for yet; only as long as half of it all stays free for those who wait.
    pub(super) fn acquire_early(&self, bytes: usize) -> Option<ReadMemoryPermit> {
        let wanted = u32::try_from(bytes.div_ceil(1024)).ok()?;
        let left = self.free.available_permits().checked_sub(wanted as usize)?;
        if left < self.size.lock().kibibytes as usize / 2 {
            return None;
        }
        self.free.clone().try_acquire_many_owned(wanted).ok().map(|permit| self.part(permit))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KIB: usize = 1 << 10;

    fn own() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(0))
    }

    #[test]
    fn what_is_taken_when_the_memory_becomes_less_is_missed_when_it_comes_back() {
        let room = ReadMemory::new(100 << 10);
        let (mut large, small) =
            (room.acquire_early(40 * KIB).unwrap(), room.acquire_early(10 * KIB).unwrap());
        room.set_bytes(20 << 10);
        assert_eq!(room.free_kibibytes(), 0);
        assert!(room.acquire_early(1).is_none());
        drop(small);
        assert_eq!(room.free_kibibytes(), 0, "40 are taken of 20");
        let part = large.split(15).unwrap();
        drop(part);
        assert_eq!(room.free_kibibytes(), 0, "25 are taken of 20");
        drop(large);
        assert_eq!(room.free_kibibytes(), 20);
        room.set_bytes(50 << 10);
        assert_eq!(room.free_kibibytes(), 50);
    }

    #[test]
    fn what_there_is_always_comes_out_whatever_was_taken_meanwhile() {
        for (first, second) in [(10, 100), (100, 10), (1, 64), (64, 1), (30, 31)] {
            let room = ReadMemory::new(64 << 10);
            let taken = room.acquire_early(32 * KIB).unwrap();
            room.set_bytes(first << 10);
            room.set_bytes(second << 10);
            let size = room.size.lock();
            assert_eq!(room.free_kibibytes() + 32, size.kibibytes as usize + size.excess);
            drop(size);
            drop(taken);
            assert_eq!(room.free_kibibytes(), second as usize);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_more_than_there_is_now_gets_what_there_is() {
        let room = ReadMemory::new(100 << 10);
        let taken = room.acquire_early(50 * KIB).unwrap();
        let (waits, own) = (room.clone(), own());
        let waiting = tokio::spawn(async move { waits.acquire(80 * KIB, &own).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
        room.set_bytes(10 << 10);
        drop(taken);
        let place = waiting.await.unwrap();
        assert_eq!((room.free_kibibytes(), place.permit.as_ref().unwrap().num_permits()), (0, 10));
        drop(place);
        assert_eq!(room.free_kibibytes(), 10);
    }
}
